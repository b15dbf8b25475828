"""Help that is asked for: hints in three steps, the solution with its price, your own copy to work in, your own parts.

The texts are those of the exercise's page. What you have seen already is derived from the journal, never stored twice.
"""
import json as json_
import re
import sys
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import tyro

from ..config import UserError
from ..files import write_atomic
from . import journal, lessons

ATTEMPTS = 2
"""Wrong answers that open the last hint: it is worth most to someone who has met the difficulty."""

# ---- the journal, as every view reads it -----------------------------------------------------------------------------

FIELDS = {
    "check": {"exercise": str, "status": str}, "hint": {"exercise": str, "level": int}, "solution": {"exercise": str},
    "start": {"lesson": str}, "reveal": {"id": str}, "review": {"item": str, "right": bool},
    "ready": {"topic": str, "verdict": str},
}  # fmt: skip
"""What a view needs of each kind of entry."""


def entries() -> list[dict]:
    """What your journal says, oldest first; each `time` is a datetime in UTC. Empty where it cannot be read."""
    try:
        return parse((journal.home() / "journal.jsonl").read_bytes())[0]
    except OSError:
        return []


def parse(data: bytes) -> tuple[list[dict], int]:
    """The entries of a journal, and how many of its lines are damaged.

    A damaged line is no JSON, or lacks a field that the views need, or holds one of another type. It costs itself only.
    """
    lines = [line for line in data.split(b"\n") if line.strip()]
    found = [entry for entry in map(_entry, lines) if entry]
    return found, len(lines) - len(found)


def _entry(line: bytes) -> dict | None:
    try:
        entry = json_.loads(line)
        time = datetime.fromisoformat(entry["time"])
        needed = FIELDS[entry["kind"]]
        if not all(isinstance(entry[field], type) for field, type in needed.items()):
            return None
        return entry | {"time": time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)}
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        return None


def attempts(name: str, of: list[dict]) -> int:
    """How often an answer to an exercise was checked and found wrong."""
    return sum(e["kind"] == "check" and e["exercise"] == name and e["status"] in ("wrong", "error") for e in of)


# ---- talking to the learner ------------------------------------------------------------------------------------------


@contextmanager
def spoken():
    """In a notebook a mistake is a sentence to read, not an exception to scroll through."""
    try:
        yield
    except UserError as error:
        print(error)


def interactive() -> bool:
    """Whether there is anyone to ask."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        return True  # a notebook: its stdin is no terminal, yet input() opens a box
    return sys.stdin is not None and sys.stdin.isatty()


def ask(prompt: str) -> str | None:
    """What the person at the keyboard types; None where nobody sits, or where they end it (Ctrl-D, Ctrl-C)."""
    if not interactive():
        return None
    try:
        return input(prompt).strip()
    except (EOFError, OSError, KeyboardInterrupt, RuntimeError):  # the last: a notebook that is run without a person
        print()
        return None


def terminal(markdown: str) -> str:
    """Markdown as a terminal shows it, without marks of emphasis; code keeps its stars."""
    kept: list[str] = []
    holes = re.sub(r"```.*?```|`[^`\n]+`", lambda m: kept.append(m[0]) or f"\0{len(kept) - 1}\0", markdown, flags=re.S)
    bare = re.sub(r"\*\*(.+?)\*\*|(?<!\w)\*(\S.*?)\*(?!\w)", r"\1\2", holes)
    return re.sub("\0(\\d+)\0", lambda m: kept[int(m[1])], bare.strip())


# ---- hints and solutions ---------------------------------------------------------------------------------------------


def next_hint(name: str, level: int = 0, now: bool = False) -> dict:
    """The next hint that you have not seen (or the one of `level`), noted in the journal.

    Returns {"exercise", "level", "of", "text"}, the text in markdown. UserError: an unknown exercise or level, or the
    last hint before two attempts.
    """
    exercise, past = lessons.exercise(name), entries()
    of = len(exercise.hints)
    if not of:
        raise UserError(f"{name} has no hints: read its statement once more, then `solution {name}`.")
    if level and not 1 <= level <= of:
        raise UserError(f"{name} has hints 1 to {of}, not {level}.")
    seen = {e["level"] for e in past if e["kind"] == "hint" and e["exercise"] == name}
    level = level or min(set(range(1, of + 1)) - seen, default=of)
    tried = attempts(name, past)
    if level == of and level not in seen and tried < ATTEMPTS and not now:
        raise UserError(
            f"the last hint to {name} opens after {ATTEMPTS} attempts, and you have made {tried}: check an answer "
            "first, or ask for it now (--now on the command line, now=True in a notebook)."
        )
    journal.append("hint", exercise=name, level=level)
    return {"exercise": name, "level": level, "of": of, "text": exercise.hints[level - 1]}


def hint(name: str, level: int | None = None, now: bool = False) -> None:
    """Print the next hint to an exercise: first a question, then the principle, then the idea on another problem.

    Args: `level` asks for one of them again; `now` opens the third before two attempts.
    Example: hint("04.causal_mask")
    """
    with spoken():
        _print_hint(next_hint(name, level or 0, now))


def _print_hint(found: dict) -> None:
    print(f"Hint {found['level']} of {found['of']} to {found['exercise']}\n\n{terminal(found['text'])}")


def hint_verb(name: tyro.conf.Positional[str], level: int = 0, now: bool = False, json: bool = False) -> int:
    """Give the next hint to an exercise.

    Args:
        name: The exercise, like 04.causal_mask.
        level: 1, 2 or 3; 0: the next one that you have not seen.
        now: Open the third hint before two attempts.
        json: Print one JSON object and nothing else.
    """
    found = next_hint(name, level, now)
    if json:
        print(json_.dumps(found | {"text": terminal(found["text"])}, ensure_ascii=False))
    else:
        _print_hint(found)
    return 0


def show_solution(name: str, yes: bool = False) -> None:
    """Print the solution after asking once; UserError where nobody can be asked.

    Whoever has looked gets a twin of the exercise in three days: see review.py.
    """
    exercise, past = lessons.exercise(name), entries()
    seen = any(e["kind"] == "solution" and e["exercise"] == name for e in past)
    if not (yes or seen):
        answer = ask(f"Show the solution of {name}? A question like it comes back in three days. [y/N] ")
        if answer is None:
            raise UserError(f"Nobody is there to be asked whether to show the solution of {name}: say so with --yes "
                            "(yes=True in a notebook).")  # fmt: skip
        if answer.lower() not in ("y", "yes"):
            print(f"Not shown. `hint {name}` may be all you need.")
            return
    print(exercise.solution)
    if not seen:
        journal.append("solution", exercise=name)
        print("\nRead it, close it, write it again by yourself. A question like it comes back in three days.")


def solution(name: str, yes: bool = False) -> None:
    """Print the solution of an exercise, after asking once. A twin of it enters `review` three days later."""
    with spoken():
        show_solution(name, yes)


def solution_verb(name: tyro.conf.Positional[str], yes: bool = False) -> int:
    """Show the solution of an exercise; a question like it comes back in three days.

    Args:
        name: The exercise, like 04.causal_mask.
        yes: Do not ask first.
    """
    show_solution(name, yes)
    return 0


# ---- your own copy, your own parts -----------------------------------------------------------------------------------


def my_folder() -> Path:
    """Where your copies are; git leaves it alone."""
    return lessons.ROOT / "my"


def start(lesson: str) -> None:
    """Copy the exercises of a lesson to my/, where you work on them; a copy that is there stays as it is."""
    with spoken():
        _start(lesson)


def start_verb(lesson: tyro.conf.Positional[str]) -> int:
    """Copy the exercises of a lesson to my/, where you work on them; a copy that is there stays as it is.

    Args:
        lesson: Its number, like 04.
    """
    _start(lesson)
    return 0


def _start(lesson: str) -> None:
    id = lesson.split("_")[0].split(".")[0]
    if id not in lessons.STEMS:
        raise UserError(f"there is no lesson {lesson!r}: lessons are numbered like 04.")
    page = lessons.EXERCISES / f"{lessons.STEMS[id]}.ipynb"
    if not page.exists():
        raise UserError(f"lesson {id} has no exercises yet: {page.parent.name}/{page.name} is not there.")
    mine = my_folder() / page.name
    new = not mine.exists()
    try:
        mine.parent.mkdir(exist_ok=True)
        for source in (page, lessons.EXERCISES / "AGENTS.md"):
            if source.exists() and not (mine.parent / source.name).exists():
                write_atomic(mine.parent / source.name, source.read_bytes())
    except OSError as error:
        raise UserError(f"{mine} cannot be written: {error.strerror}.") from None
    if new:
        journal.append("start", lesson=id)
    print(f"{'Your copy is' if new else 'Your copy is already there, and stays as it is:'} my/{page.name}.")
    print(f"Open it with `python3 course.py lab`, and check it with `python3 course.py check {id}`.")


def mine(name: str) -> Callable:
    """Your own function for an exercise, from my/, once it passes. Train with it as with any other.

    Raises UserError where it is missing or does not pass yet: whatever is built of it could not work.

    Example: attention = mine("04.attention")
    """
    from .check import examine
    from .learner import load_functions

    exercise = lessons.exercise(name)
    id, function = exercise.name.split(".")
    copies = [my_folder() / f"{lessons.STEMS[id]}{suffix}" for suffix in (".ipynb", ".py")]
    path = next((copy for copy in copies if copy.exists()), None)
    if path is None:
        raise UserError(f"{name} is not yours yet: `minigpt start {id}` copies its page to my/: write it there.")
    namespace, errors = load_functions(path)
    if not callable(namespace.get(function)):
        why = errors.get(function, f"it does not define {function}")
        raise UserError(f"{name} is not in my/{path.name} yet ({why}): write it there, then check {name}; `start {id}` "
                        "makes the page where there is none.")  # fmt: skip
    found = examine(name, namespace[function])
    if found.status != "passed":
        raise UserError(f"your {name} in my/{path.name} (made by `start {id}`) does not pass yet ({found.status}): "
                        f"mend it, then check {name}.")  # fmt: skip
    return namespace[function]
