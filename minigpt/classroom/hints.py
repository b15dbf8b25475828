"""Help that is asked for: hints in three steps, the solution with its price, your own copy to work in, your own parts.

The texts are those of the exercise's page. What you have seen already is derived from the journal, never stored twice.
"""
import json as json_
from collections.abc import Callable

import tyro

from ..config import UserError
from ..files import write_atomic
from . import journal, lessons
from .check import examine
from .console import ask, errors_as_sentences, terminal
from .learner import load_functions

ATTEMPTS = 2
"""Different wrong answers that open the last hint: it is worth most to someone who has met the difficulty."""

# ---- hints and solutions ---------------------------------------------------------------------------------------------


def next_hint(name: str, level: int = 0, now: bool = False) -> dict:
    """The next hint that you have not seen (or the one of `level`), noted in the journal.

    Returns {"exercise", "level", "of", "text"}, the text in markdown. UserError: an unknown exercise or level, or the
    last hint before two attempts.
    """
    exercise, past = lessons.exercise(name), journal.read()
    name, of = exercise.name, len(exercise.hints)
    if not of:
        raise UserError(f"{name} has no hints: read its statement once more, then `python3 course.py solution {name}`.")
    if level and not 1 <= level <= of:
        raise UserError(f"{name} has hints 1 to {of}, not {level}.")
    seen = {e["level"] for e in past if e["kind"] == "hint" and e["exercise"] == name}
    level = level or min(set(range(1, of + 1)) - seen, default=of)
    tried = sum(entry["status"] != "passed" for entry in journal.attempts(past, name))
    if level == of and level not in seen and tried < ATTEMPTS and not now:
        raise UserError(
            f"the last hint to {name} opens after {ATTEMPTS} different attempts, and you have made {tried}: check a "
            "new answer first, or ask for it now (--now on the command line, now=True in a notebook)."
        )
    journal.append("hint", exercise=name, level=level)
    return {"exercise": name, "level": level, "of": of, "text": exercise.hints[level - 1]}


@errors_as_sentences
def hint(name: str, level: int | None = None, now: bool = False) -> None:
    """Print the next hint to an exercise: first a question, then the principle, then the idea on another problem.

    Args: `level` asks for one of them again; `now` opens the third before two attempts.
    Example: hint("04.causal_mask")
    """
    hint_verb(name, level or 0, now)


def hint_verb(name: tyro.conf.Positional[str], level: int = 0, now: bool = False, json: bool = False) -> int:
    """Give the next hint to an exercise.

    Args:
        name: The exercise, like 04.causal_mask.
        level: 1, 2 or 3; 0: the next one that you have not seen.
        now: Open the third hint before two different attempts.
        json: Print one JSON object and nothing else.
    """
    found = next_hint(name, level, now)
    if json:
        print(json_.dumps(found | {"text": terminal(found["text"])}, ensure_ascii=False))
    else:
        print(f"Hint {found['level']} of {found['of']} to {found['exercise']}\n\n{terminal(found['text'])}")
    return 0


@errors_as_sentences
def solution(name: str, yes: bool = False) -> None:
    """Print the solution of an exercise, after asking once. A twin of it enters `review` three days later."""
    solution_verb(name, yes)


def solution_verb(name: tyro.conf.Positional[str], yes: bool = False) -> int:
    """Show the solution of an exercise; a question like it comes back in three days.

    Args:
        name: The exercise, like 04.causal_mask.
        yes: Do not ask first.
    """
    exercise = lessons.exercise(name)
    name = exercise.name
    seen = any(e["kind"] == "solution" and e["exercise"] == name for e in journal.read())
    if not (yes or seen):
        answer = ask(f"Show the solution of {name}? A question like it comes back in three days. [y/N] ")
        if answer is None:
            raise UserError(f"Nobody is there to be asked whether to show the solution of {name}: say so with --yes "
                            "(yes=True in a notebook).")  # fmt: skip
        if answer.lower() not in ("y", "yes"):
            print(f"Not shown. `python3 course.py hint {name}` may be all you need.")
            return 0
    print(exercise.solution)
    if not seen:
        journal.append("solution", exercise=name)
        print("\nRead it, close it, write it again by yourself. A question like it comes back in three days.")
    return 0


# ---- your own copy, your own parts -----------------------------------------------------------------------------------


@errors_as_sentences
def start(lesson: str) -> None:
    """Copy the exercises of a lesson to my/, where you work on them; a copy that is there stays as it is."""
    start_verb(lesson)


def start_verb(lesson: tyro.conf.Positional[str]) -> int:
    """Copy the exercises of a lesson to my/, where you work on them; a copy that is there stays as it is.

    Args:
        lesson: Its number, like 04.
    """
    id = lessons.number(lesson)
    page = lessons.EXERCISES / f"{lessons.STEMS[id]}.ipynb"
    if not page.exists():
        raise UserError(f"lesson {id} has no exercises yet: {page.parent.name}/{page.name} is not there.")
    mine = lessons.my_copy(id)
    new = not mine.exists()
    try:
        mine.parent.mkdir(exist_ok=True)
        for source, copy in ((page, mine), (lessons.EXERCISES / "AGENTS.md", mine.with_name("AGENTS.md"))):
            if source.exists() and not copy.exists():
                write_atomic(copy, source.read_bytes())
    except OSError as error:
        raise UserError(f"{mine} cannot be written: {error.strerror}.") from None
    if new:
        journal.append("start", lesson=id)
    print(f"{'Your copy is' if new else 'Your copy is already there, and stays as it is:'} my/{mine.name}.")
    print(f"Open it with `python3 course.py lab`, and check it with `python3 course.py check {id}`.")
    return 0


def mine(name: str) -> Callable:
    """Your own function for an exercise, from my/, once it passes. Train with it as with any other.

    Raises UserError where it is missing or does not pass yet: whatever is built of it could not work.

    Example: attention = mine("04.attention")
    """
    name = lessons.exercise(name).name
    id, function = name.split(".")
    path = lessons.my_copy(id)
    if not path.exists():
        raise UserError(f"{name} is not yours yet: write it in my/ (`python3 course.py start {id}` copies its page).")
    namespace, errors = load_functions(path)
    if not callable(namespace.get(function)):
        why = errors.get(function, f"it does not define {function}")
        raise UserError(f"{name} is not in my/{path.name} yet ({why}): write it there, then `python3 course.py check "
                        f"{name}`; `python3 course.py start {id}` makes the page where there is none.")  # fmt: skip
    found = examine(name, namespace[function])
    if found.status != "passed":
        raise UserError(f"your {name} in my/{path.name} (made by `python3 course.py start {id}`) does not pass yet "
                        f"({found.status}): mend it, then `python3 course.py check {name}`.")  # fmt: skip
    return namespace[function]
