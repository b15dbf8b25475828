"""The learner's journal: one JSON object a line, only ever added to, on the learner's own machine.

Every view of progress is derived from it, so a line that is lost or broken costs that line and nothing else. What is
written here holds no names of people and no paths; what a learner's code says inside of strings is kept as it is.

A check holds `answer`, a short hash of the code: who checks the same code again has made no new attempt.
"""
import json
import os
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

FIELDS = {
    "check": {"exercise": str, "status": str}, "hint": {"exercise": str, "level": int}, "solution": {"exercise": str},
    "start": {"lesson": str}, "reveal": {"id": str}, "review": {"item": str, "right": bool},
    "ready": {"topic": str, "verdict": str},
}  # fmt: skip
"""What the views need of each kind of entry."""
ANSWERED = ("passed", "wrong", "error")
"""The statuses of an answer; what is still to do is none."""


def home() -> Path:
    """The folder of the journal: MINIGPT_HOME, or the platform's folder for a user's data."""
    if chosen := os.environ.get("MINIGPT_HOME"):
        return Path(chosen)
    usual = "~/Library/Application Support" if sys.platform == "darwin" else "~/.local/share"
    base = os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA") or os.path.expanduser(usual)
    return Path(base) / "minigpt"  # Path.home() raises where a user has no home


def path() -> Path:
    """The journal itself, whether it is there yet or not."""
    return home() / "journal.jsonl"


def append(kind: str, **fields) -> None:
    """Add a line. Never raises: where nothing can be written, it says so once and goes on.

    Example: append("hint", exercise="04.causal_mask", level=1)
    """
    file = path()
    entry = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "kind": kind, **fields}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "ab+") as lines:
            # A write that was cut short must not swallow this line. One write, so that two kernels never mix theirs.
            start = b""
            if lines.tell():
                lines.seek(-1, os.SEEK_END)
                start = b"" if lines.read(1) == b"\n" else b"\n"
            line = json.dumps(entry, default=str, ensure_ascii=False).encode(errors="replace")
            os.write(lines.fileno(), start + line + b"\n")
    except (OSError, ValueError, TypeError, RecursionError) as error:  # the last three: what a guess may be
        _warn(str(file), getattr(error, "strerror", None) or str(error))


@cache
def _warn(path: str, why: str) -> None:
    remedy = "set MINIGPT_HOME to a folder of yours."
    print(f"minigpt: your progress is not kept, as {path} cannot be written ({why}): {remedy}", file=sys.stderr)


def read() -> list[dict]:
    """Your entries, in the order they were written; each `time` is a datetime in UTC. Damaged lines are left out."""
    return parse(contents())[0]


def contents() -> bytes:
    """The journal as it is; empty where it cannot be read."""
    try:
        return path().read_bytes()
    except OSError:
        return b""


def parse(data: bytes) -> tuple[list[dict], int]:
    """The entries of a journal, anyone's, and how many of its lines are damaged.

    A damaged line is no JSON, or lacks a field that the views need, or holds one of another type. It costs itself only.
    """
    lines = [line for line in data.split(b"\n") if line.strip()]
    found = [entry for entry in map(_entry, lines) if entry]
    return found, len(lines) - len(found)


def _entry(line: bytes) -> dict | None:
    try:
        entry = json.loads(line)
        json.dumps(entry, ensure_ascii=False).encode()  # a lone surrogate could be neither printed nor hashed
        time = datetime.fromisoformat(entry["time"])
        needed = FIELDS[entry["kind"]]
        if not all(isinstance(entry[field], type) for field, type in needed.items()):
            return None
        return entry | {"time": time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)}
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        return None


def attempts(past: list[dict], exercise: str) -> list[dict]:
    """The checks of an exercise that are attempts: each answer once, and none after the first that passed.

    Example: wrong, the same again, another wrong one, passed, wrong -> three of them: wrong, wrong, passed
    """
    found, seen = [], set()
    for entry in past:
        if entry["kind"] != "check" or entry["exercise"] != exercise or entry["status"] not in ANSWERED:
            continue
        passed, answer = entry["status"] == "passed", str(entry.get("answer") or len(found))  # an older line has none
        if passed or answer not in seen:
            found.append(entry)
        if passed:
            break
        seen.add(answer)
    return found
