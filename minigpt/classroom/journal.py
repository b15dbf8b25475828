"""The learner's journal: one JSON object a line, only ever added to, on the learner's own machine.

Every view of progress is derived from it, so a line that is lost or broken costs that line and nothing else. It holds
no names of people and no paths.
"""
import json
import os
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path


def home() -> Path:
    """The folder of the journal: MINIGPT_HOME, or the platform's folder for a user's data."""
    if chosen := os.environ.get("MINIGPT_HOME"):
        return Path(chosen)
    usual = "~/Library/Application Support" if sys.platform == "darwin" else "~/.local/share"
    base = os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA") or os.path.expanduser(usual)
    return Path(base) / "minigpt"  # Path.home() raises where a user has no home


def append(kind: str, **fields) -> None:
    """Add a line. Never raises: where nothing can be written, it says so once and goes on.

    Example: append("hint", exercise="04.causal_mask", level=1)
    """
    path = home() / "journal.jsonl"
    entry = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "kind": kind, **fields}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab+") as file:
            # A write that was cut short must not swallow this line. One write, so that two kernels never mix theirs.
            start = b""
            if file.tell():
                file.seek(-1, os.SEEK_END)
                start = b"" if file.read(1) == b"\n" else b"\n"
            os.write(file.fileno(), start + json.dumps(entry, default=str).encode() + b"\n")
    except OSError as error:
        _warn(str(path), error.strerror or str(error))


@cache
def _warn(path: str, why: str) -> None:
    remedy = "set MINIGPT_HOME to a folder of yours."
    print(f"minigpt: your progress is not kept, as {path} cannot be written ({why}): {remedy}", file=sys.stderr)


def read() -> list[dict]:
    """Every entry, oldest first; lines that cannot be read are left out."""
    try:
        lines = (home() / "journal.jsonl").read_bytes().split(b"\n")
    except OSError:
        return []
    return [entry for entry in map(_entry, lines) if entry]


def _entry(line: bytes) -> dict | None:
    try:
        entry = json.loads(line)
    except ValueError:  # also what bytes that are not UTF-8 raise
        return None
    return entry if isinstance(entry, dict) and {"time", "kind"} <= entry.keys() else None
