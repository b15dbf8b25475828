"""course.py and the files it installs from. Nothing here reaches the network."""
import ast
import importlib.util
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ["requirements.txt", "requirements-test.txt"]
posix_only = pytest.mark.skipif(os.name == "nt", reason="the stand-in for Python is a script with a #! line")


def load():
    spec = importlib.util.spec_from_file_location("course", ROOT / "course.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def course():
    """A fresh copy of the module, so that a test may bend its globals."""
    return load()


def lines(name):
    """The requirements in a file, by pip's own parser of single requirements."""
    bare = (re.sub(r"(^|\s)#.*", "", line).strip() for line in (ROOT / name).read_text("utf-8").splitlines())
    return [Requirement(line) for line in bare if line and not line.startswith("-")]


# The file itself.

def test_parses_on_old_pythons_and_imports_only_the_standard_library():
    tree = ast.parse((ROOT / "course.py").read_text("utf-8"), feature_version=(3, 6))
    imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names
    at_the_top = {a.name for node in tree.body if isinstance(node, ast.Import) for a in node.names}
    assert "importlib.metadata" not in at_the_top  # Python 3.8


def test_an_old_python_is_told_so_in_one_sentence(course, monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    with pytest.raises(SystemExit) as stop:
        course.main(["pretrain"])
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and out == "" and err.count("\n") == 1 and "3.11 or newer" in err


def test_help_installs_nothing(course, monkeypatch, capsys):
    monkeypatch.setattr(course, "environment", lambda parts: pytest.fail("set-up for a help text"))
    assert course.main(["--help"]) == 0 and course.main([]) == 2
    assert "pretrain" in capsys.readouterr().out


@pytest.mark.parametrize("verb, args, expected", [
    ("pretrain", ["--seed", "1"], ["-m", "minigpt", "pretrain", "--seed", "1"]),
    ("doctor", [], ["-m", "minigpt", "doctor"]),
    ("test", ["-k", "bpe"], ["-m", "pytest", "-k", "bpe"]),
])
def test_commands(course, verb, args, expected):
    assert course.command(verb, args) == expected


def test_commands_with_defaults(course):
    assert course.command("test", [])[:2] == ["-m", "pytest"]
    lab = course.command("lab", ["--no-browser"])
    assert lab[:2] == ["-m", "jupyterlab"] and lab[-1] == "--no-browser"


def test_ci_calls_the_tests():
    run = ROOT / ".ci/run"
    assert "python3 course.py test" in run.read_text() and (os.name == "nt" or run.stat().st_mode & stat.S_IXUSR)


# Versions and requirement files, against the library that pip itself uses.

matches = load().matches
releases = st.lists(st.integers(0, 12), min_size=1, max_size=3).map(lambda numbers: ".".join(map(str, numbers)))


@given(releases, st.sampled_from(["", "+cu126", "+cpu"]), st.sampled_from([">=", "<=", "==", "!=", ">", "<"]), releases)
def test_versions_compare_like_pep_440(version, local, op, bound):
    expected = SpecifierSet(op + bound).contains(version + local, prereleases=True)
    assert matches(version + local, op + bound) is expected


@given(releases, st.sampled_from(["a0", "b1", "rc1", ".dev20", "a0+nv25.1"]), releases)
def test_a_pre_release_is_older_than_its_release(version, suffix, bound):
    expected = SpecifierSet(">=" + bound).contains(version + suffix, prereleases=True)
    assert matches(version + suffix, ">=" + bound) is expected


@pytest.mark.parametrize("name", REQUIREMENTS + ["requirements-data.txt", "constraints.txt"])
def test_requirement_files_are_read_as_pip_reads_them(course, name):
    expected = {course.canonical(r.name): r.specifier for r in lines(name)}
    found = {key: SpecifierSet(spec) for key, spec in course.parse((ROOT / name).read_text("utf-8")).items()}
    assert found == expected and found


def test_missing(course):
    wanted = {"torch": ">=2.6", "pytest": ">=8.2,<10", "tqdm": "", "tyro": ">=1.0"}
    assert course.missing(wanted, {"torch": "2.9.1+cu128", "pytest": "10.0", "tqdm": "4.1"}) == ["pytest", "tyro"]
    assert course.missing(wanted, {"torch": "2.5.1", "pytest": "9.0", "tqdm": "4.1", "tyro": "1.0.3"}) == ["torch"]


def test_only_constraints_pin_and_they_pin_every_direct_requirement():
    pins = {r.name: r.specifier for r in lines("constraints.txt")}
    assert all(len(spec) == 1 and str(spec).startswith("==") for spec in pins.values())
    assert next(iter(pins)) == "torch" and str(pins["torch"]) == "==2.13.0"
    direct = [r for name in REQUIREMENTS for r in lines(name)]
    for requirement in direct:
        assert requirement.name in pins, f"constraints.txt does not pin {requirement.name}"
        assert "==" not in str(requirement.specifier)
        assert requirement.specifier.contains(str(pins[requirement.name])[2:]), requirement
    torch = [r for r in direct if r.name == "torch"]
    assert [str(r.specifier) for r in torch] == [">=2.9"]  # a floor only


def test_requirements_and_pyproject_are_in_step(course):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    ours = {r.name: r.specifier for r in lines("requirements.txt")}
    package = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    assert {name: ours.get(name) for name in package} == package
    tools = {"jupyterlab", "ipykernel", "nbclient", "pytest", "nbval"}  # of the course, not of the package
    web = {r.name: r.specifier for r in map(Requirement, project["optional-dependencies"]["web"])}
    assert {name: ours.get(name) for name in web} == web
    assert set(ours) - set(package) - set(web) == tools
    assert project["requires-python"] == f">={course.dotted(course.OLDEST)}"
    assert re.search(r"^-e \.(\s|$)", (ROOT / "requirements.txt").read_text("utf-8"), flags=re.M)


# by ipykernel, nbclient, matplotlib and torch
BROUGHT = {"IPython", "jupyter_client", "psutil", "nbformat", "PIL", "fsspec"}
EXTRAS = {"huggingface_hub", "torchao", "wandb"}  # each asked for in one sentence where it is missing


def test_the_package_imports_nothing_undeclared():
    declared = {r.name for name in REQUIREMENTS for r in lines(name)}  # the tests' as peers in `bench`
    declared |= BROUGHT | EXTRAS
    for path in (ROOT / "minigpt").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else (
                [node.module] if isinstance(node, ast.ImportFrom) and not node.level else [])
            foreign = {n.split(".")[0] for n in names} - sys.stdlib_module_names - {"minigpt"}
            assert foreign <= declared, f"{path.relative_to(ROOT)} imports {foreign - declared}"


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_every_requirement_says_why(name):
    for line in (ROOT / name).read_text("utf-8").splitlines():
        assert line.startswith("#") or re.search(r"\S +# \S", line), line


@pytest.mark.parametrize("name", REQUIREMENTS + ["requirements-data.txt", "constraints.txt", "pyproject.toml",
                                                 "course.py", ".ci/run"])
def test_no_addresses_of_package_indexes(name):
    assert not re.search(r"://|--(extra-)?index-url|--find-links|^-[fi] ", (ROOT / name).read_text("utf-8"), flags=re.M)


# What is said before a download.

def test_the_download_is_announced_with_its_size(course):
    says = course.announcement(["torch", "tqdm"], linux=True, nvidia=False)
    assert "3.0 GB" in says[0] and "torch 3000" in says[0] and "--torch-backend=auto" in says[1]
    assert len(course.announcement(["torch", "tqdm"], linux=True, nvidia=True)) == 1
    assert "202 MB" in course.announcement(["torch", "tqdm"], linux=False, nvidia=False)[0]
    assert course.announcement(["numpy"], linux=True, nvidia=False) == [
        "setting up .venv, once: up to 17 MB to download (in MB: numpy 17)."]


def test_sizes_name_real_requirements(course):
    direct = {r.name for name in REQUIREMENTS for r in lines(name)}
    assert set(course.MEGABYTES) <= direct | {"text packages"}


# Installing, with a stand-in for the Python of .venv that writes down what it was asked for.

@pytest.fixture
def pip(course, tmp_path, monkeypatch):
    """pip(failures) plants the stand-in: {word in the command line: what it then says on stderr while failing}."""
    log = tmp_path / "calls.jsonl"

    def plant(failures):
        stand_in = tmp_path / "python"
        stand_in.write_text(f"#!{sys.executable}\nimport json, sys\n"
                            f"with open({str(log)!r}, 'a') as log: log.write(json.dumps(sys.argv[1:]) + '\\n')\n"
                            f"for word, message in {failures!r}.items():\n"
                            "    if word in sys.argv: sys.exit(message)\n")
        stand_in.chmod(0o755)
        monkeypatch.setattr(course, "VENV_PYTHON", stand_in)
        return stand_in

    plant.calls = lambda: [json.loads(line) for line in log.read_text().splitlines()]
    return plant


@posix_only
def test_a_vanished_text_package_is_a_warning(course, pip, capsys):
    python = pip({"gone==1": "ERROR: No matching distribution found for gone==1"})
    assert course.install_texts(python, ["first==2", "gone==1", "last==3"]) == ["gone==1"]
    assert [call[-2:] for call in pip.calls()] == [["--no-deps", p] for p in ("first==2", "gone==1", "last==3")]
    out, err = capsys.readouterr()
    assert "warning" in out and "gone==1" in out and "first" not in out and "No matching distribution" in err


def plan_of_install(course, monkeypatch, seen):
    monkeypatch.setattr(course, "packages_seen_by", lambda python: seen)
    monkeypatch.setattr(course, "text_packages", lambda: [])
    course.install(["requirements.txt"], ["requirements.txt"])


@posix_only
def test_plain_install(course, pip, monkeypatch):
    pip({})
    plan_of_install(course, monkeypatch, {"pip": ("23.2", True)})
    [call] = pip.calls()
    assert call[:3] == ["-m", "pip", "install"]
    assert call[-4:] == ["-r", "requirements.txt", "-c", str(ROOT / "constraints.txt")]


@posix_only
@pytest.mark.parametrize("seen, unpinned", [
    ({"torch": ("2.14.1+cpu", True), "numpy": ("2.1.0", True)}, {"torch"}),           # a torch you put into .venv
    ({"torch": ("2.9.1+cu128", False), "numpy": ("2.1.0", False)}, {"torch", "numpy"}),  # the machine's own packages
    ({"torch": ("2.5.1", False), "numpy": ("2.1.0", False)}, {"numpy"}),              # too old to be kept
])
def test_what_is_there_is_not_replaced(course, pip, monkeypatch, tmp_path, seen, unpinned):
    pip({})
    monkeypatch.setattr(course, "VENV", tmp_path)
    plan_of_install(course, monkeypatch, seen)
    used = Path(pip.calls()[0][-1])
    assert used == tmp_path / "constraints.txt"
    before = course.parse((ROOT / "constraints.txt").read_text("utf-8"))
    assert set(before) - set(course.parse(used.read_text("utf-8"))) == unpinned


@posix_only
def test_pins_that_do_not_fit_this_python_are_dropped(course, pip, monkeypatch, capsys):
    pip({"-c": "ERROR: No matching distribution found for torch==2.13.0 (from versions: 2.15.0)"})
    plan_of_install(course, monkeypatch, {})
    assert ["-c" in call for call in pip.calls()] == [True, False]
    assert "tested versions do not fit" in capsys.readouterr().out


@posix_only
def test_no_network_ends_with_pips_last_lines_and_one_sentence(course, pip, monkeypatch, capsys):
    pip({"-c": "from versions: none\nERROR: No matching distribution found for torch"})
    with pytest.raises(SystemExit) as stop:
        plan_of_install(course, monkeypatch, {})
    err = capsys.readouterr().err
    assert stop.value.code == 1 and len(pip.calls()) == 1
    assert "No matching distribution" in err and err.splitlines()[-1].startswith("course.py: pip could not install")


def test_a_python_without_venv_names_the_remedy(course, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(course, "VENV_PYTHON", tmp_path / "none")
    refuse = subprocess.CompletedProcess([], 1, stdout="... because ensurepip is not\navailable ...")
    monkeypatch.setattr(course.subprocess, "run", lambda *args, **kwargs: refuse)
    with pytest.raises(SystemExit) as stop:
        course.make_venv()
    err = capsys.readouterr().err
    assert stop.value.code == 2 and err.count("\n") == 1
    assert f"apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv" in err


# The whole of it, in a small course of its own on a machine whose Python has a torch.

def plant_package(site_packages, name, version, direct_url=None):
    info = site_packages / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if direct_url:
        (info / "direct_url.json").write_text(json.dumps({"url": direct_url, "dir_info": {"editable": True}}))
    return info


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A virtual environment, such as rented images have, with a pretended torch 9.9.0+cu999; -> (python, packages)."""
    home = tmp_path_factory.mktemp("machine") / "image"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.check_output([str(python), "-c", where], text=True).strip())
    plant_package(packages, "torch", "9.9.0+cu999")
    (packages / "torch.py").write_text(
        "class Stub:\n"
        "    def __getattr__(self, name): return lambda *args: self\n"
        "    def __repr__(self): return 'True'\n"
        "cuda = Stub()\ndef ones(n): return cuda\n")
    return python, packages


@pytest.fixture
def small_course(tmp_path):
    root = tmp_path / "a course"
    (root / "minigpt").mkdir(parents=True)
    shutil.copy(ROOT / "course.py", root)
    (root / "requirements.txt").write_text("torch>=2.6\n")
    (root / "constraints.txt").write_text("torch==2.13.0\n")
    (root / "minigpt/__main__.py").write_text(
        "import sys, time, torch\n"
        "if 'sleep' in sys.argv:\n"
        "    try: print('ready', flush=True); time.sleep(60)\n"
        "    except KeyboardInterrupt: sys.exit(75)\n"
        "print('RAN', sys.prefix, torch.__file__, sys.argv[1:])\nsys.exit(7)\n")
    return root


def start(machine, root, *args):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_", "VIRTUAL_ENV", "COV_"))}
    return subprocess.run([str(machine[0]), "course.py", *args], cwd=root, capture_output=True, text=True,
                          env=env | {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}, stdin=subprocess.DEVNULL)


def test_first_and_second_use_keep_the_torch_of_the_machine(machine, small_course):
    first = start(machine, small_course, "pretrain", "--seed", "1")
    assert first.returncode == 7, first.stderr
    assert "keeping this machine's torch 9.9.0+cu999." in first.stdout and "setting up .venv" in first.stdout
    ran = f"RAN {small_course / '.venv'} {machine[1] / 'torch.py'} ['pretrain', '--seed', '1']\n"
    assert first.stdout.endswith(ran)
    assert sorted(p.name for p in machine[1].iterdir() if p.name != "__pycache__") == [
        "torch-9.9.0+cu999.dist-info", "torch.py"]  # nothing was installed into the machine's own environment

    second = start(machine, small_course, "pretrain", "--seed", "1")
    assert second.stdout == ran and second.stderr == "" and second.returncode == 7

    (small_course / "requirements.txt").write_text("torch>=2.6\nnowhere-to-be-had>=1\n")  # what `git pull` may bring
    failed = start(machine, small_course, "pretrain")
    assert failed.returncode == 1 and "setting up" in failed.stdout and "RAN" not in failed.stdout
    assert "nowhere-to-be-had" in failed.stderr and "course.py: pip could not install" in failed.stderr
    assert start(machine, small_course, "pretrain").returncode == 1  # a failure leaves no stamp
    (small_course / "requirements.txt").write_text("torch>=2.6\n")
    assert start(machine, small_course, "x").stdout.endswith("['x']\n")

    if os.name == "posix":  # Ctrl-C reaches the child, which takes its time and chooses the exit code
        child = subprocess.Popen([str(machine[0]), "course.py", "sleep"], cwd=small_course, stdout=subprocess.PIPE,
                                 preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # we may run in a `&`
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=30) == 75


@pytest.mark.parametrize("this_folder", [True, False])
def test_an_active_environment_is_used_only_if_it_has_this_course(machine, small_course, this_folder):
    folder = small_course if this_folder else small_course.parent
    info = plant_package(machine[1], "minigpt_course", "0.1.0", direct_url=folder.as_uri())
    plant_package(small_course, "minigpt_course", "0.1.0")  # the trace that a build leaves beside course.py
    try:
        done = start(machine, small_course, "doctor")
    finally:
        shutil.rmtree(info)
    assert done.returncode == 7, done.stderr
    assert (small_course / ".venv").exists() is not this_folder
    assert (f"RAN {small_course / '.venv'} " in done.stdout) is not this_folder
