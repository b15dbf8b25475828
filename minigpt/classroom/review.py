"""Predictions that are kept, and questions that come back when you are about to forget them.

Three things come back: a prediction that missed; the twin of an exercise whose solution you have looked at; and the
recall questions of each lesson you have touched. An item is first due three days after it entered, then 7, 21 and 60
days after each right answer; a wrong one sends it back to three (the boxes of Leitner 1972; why spacing works: Cepeda
et al. 2006). The schedule is derived from the journal each time. Code makes each question anew, with its own numbers.
"""
import os
import random
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

from ..config import UserError
from . import journal, lessons
from .bank import Prediction, Question, load
from .console import ask, errors_as_sentences, interactive, say, terminal

DAYS = (3, 7, 21, 60)
"""From one asking to the next, after 0, 1, 2 and 3 or more right answers in a row."""
AT_ONCE = 5
"""Questions in one sitting: three minutes, so that it is done rather than put off."""

# ---- reading answers -------------------------------------------------------------------------------------------------

# A comma separates thousands and nothing else: "0,75" is refused rather than read as 75.
_NUMBER = r"[-+]?(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?|\d[\d_]*\.?\d*|\.\d+)(?:e[-+]?\d+)?"


def number(text: str) -> float | None:
    """A number as people write it; None if it is none.

    Example: number("1e6") -> 1000000.0; number("3/4") -> 0.75; number("75%") -> 0.75; number("2^16") -> 65536.0
    """
    text = text.strip().lower().replace("−", "-")
    match = re.fullmatch(rf"({_NUMBER})(?:\s*(/|\^|\*\*)\s*({_NUMBER}))?\s*(%?)", text)
    if not match:
        return None
    first, operation, second, percent = match.groups()
    value, other = (float(re.sub("[,_]", "", x)) if x else None for x in (first, second))
    try:
        value = value if other is None else value / other if operation == "/" else value**other
        value = float(value) / (100 if percent else 1)  # float(): a root of a negative number is complex
    except (ArithmeticError, TypeError):
        return None
    return value if abs(value) < float("inf") else None


def simple(value: Any) -> Any:
    """A value as JSON knows it: tensors, arrays and tuples become lists, their scalars numbers."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, (list, tuple)):
        return [simple(x) for x in value]
    return float(value) if isinstance(value, Fraction) else value


def matches(guess: Any, truth: Any, tolerance: float = 0.0) -> bool | None:
    """Whether an answer is right: numbers within `tolerance`, relative to the truth; words without regard to case.

    A list may be typed as "4, 3" or "(4, 3)". None: the answer cannot be read as what was asked for.

    Example: matches("75 %", 0.75) -> True; matches("Rows", "rows") -> True; matches("many", 3) -> None
    """
    guess, truth = simple(guess), simple(truth)
    if isinstance(truth, list):
        if isinstance(guess, str):
            guess = [part for part in re.split(r"[,;\s]+", guess.strip(" ()[]")) if part]
        if not isinstance(guess, list):
            return None
        parts = [matches(g, t, tolerance) for g, t in zip(guess, truth)]
        return None if None in parts else len(guess) == len(truth) and all(parts)
    if isinstance(truth, str):
        return _word(str(guess)) == _word(truth)
    if isinstance(truth, bool):
        words = {"yes": True, "true": True, "no": False, "false": False}
        said = guess if isinstance(guess, bool) else words.get(_word(str(guess)))
        return None if said is None else said == truth
    said = [number(guess), number(guess.rstrip("% "))] if isinstance(guess, str) else [guess]  # "75 %" is 0.75, or 75
    if not all(isinstance(value, (int, float)) for value in said):
        return None
    return any(abs(value - truth) <= tolerance * abs(truth) + 1e-9 * max(1, abs(truth)) for value in said)


def _word(text: str) -> str:
    return " ".join(text.lower().strip(" .!\"'`").split())


def shown(value: Any) -> str:
    """Example: shown(1234567) -> "1,234,567"; shown(0.33333) -> "0.3333"; shown([1, 0.5]) -> "1, 0.5" """
    value = simple(value)
    if isinstance(value, list):
        return ", ".join(f"({shown(x)})" if isinstance(x, list) else shown(x) for x in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


# ---- predictions -----------------------------------------------------------------------------------------------------


def prediction(id: str) -> Prediction:
    """ "04.p1" → what its lesson asks; UserError names those that there are."""
    lesson = str(id).partition(".")[0]
    known = load(lesson).predictions if lesson in lessons.STEMS else {}
    if id not in known:
        raise UserError(f"there is no prediction {id!r}: " + (f"choose from {', '.join(known)}." if known else
                        'they are named like 04.p1, and asked for with reveal("04.p1", guess).'))  # fmt: skip
    return known[id]


@errors_as_sentences
def reveal(id: str, guess: Any = None, truth: Any = None) -> None:
    """Compare your guess with the truth, and keep both; a miss comes back in `review`.

    `guess` is a number, a list of numbers or a word; None shows the truth without a score. `truth` is what the lesson
    has measured, where the bank cannot compute it. Never raises.

    Example: reveal("04.p1", 0.25)
    """
    asked = prediction(id)
    if guess is None and os.environ.get("MINIGPT_STATIC"):  # the stored page must not answer before its reader does
        print("What do you say? Set `guess`, run this cell, and it tells you.")
        return
    if truth is None and asked.truth is None:
        raise UserError(f'{id}: hand over what you measured: reveal("{id}", guess, truth).')
    truth = simple(asked.truth() if truth is None else truth)
    if not matches(truth, truth):  # not a number, say
        raise UserError(f"{id}: {truth!r} is nothing that a guess can be compared with.")
    hit = None if guess is None else matches(guess, truth, asked.tolerance)
    if guess is not None and hit is None:
        raise UserError(f"{id}: {guess!r} cannot be read as an answer: give {_form(truth)}.")
    if guess is None:
        print(f"It is {shown(truth)}. {terminal(asked.why)}")
        print("Next time, set a guess before you run the cell: a wrong one teaches more than none.")
    else:
        said = f"{'Hit' if hit else 'Miss'}: you said {shown(guess)}, and it is {shown(truth)}. {terminal(asked.why)}"
        say(said if hit else f"{said}\nGood to know now. `python3 course.py review` asks you again in three days.")
    journal.append("reveal", id=id, guess=simple(guess), truth=truth, hit=hit)


def _form(truth: Any) -> str:
    if isinstance(truth, list):
        return f"{len(truth)} values, like {shown([0] * len(truth))}"
    return {bool: "yes or no", str: "a word"}.get(type(truth), "a number, like 0.75 or 3/4")


# ---- what is due -----------------------------------------------------------------------------------------------------


class Item(NamedTuple):
    """Something that comes back: `make` builds its question, `due` is when."""

    name: str
    make: Callable[[random.Random], Question]
    due: datetime


def schedule(past: list[dict]) -> list[Item]:
    """Every item that a journal has brought into review, the most overdue first."""
    entered: dict[str, tuple[datetime, Callable]] = {}
    for entry in past:
        for name, make in _brings(entry):
            entered.setdefault(name, (entry["time"], make))
    items = []
    for name, (time, make) in entered.items():
        box = 0
        for entry in past:
            if entry["kind"] == "review" and entry["item"] == name:
                time, box = entry["time"], min(box + 1, len(DAYS) - 1) if entry["right"] else 0
        items.append(Item(name, make, time + timedelta(days=DAYS[box])))
    return sorted(items, key=lambda item: (item.due, item.name))


def _brings(entry: dict) -> list[tuple[str, Callable[[random.Random], Question]]]:
    """The items that one entry brings into review: their names and what makes their questions."""
    subject = next((entry[key] for key in ("exercise", "lesson", "id") if isinstance(entry.get(key), str)), "")
    lesson, _, name = subject.partition(".")
    if lesson not in lessons.STEMS or entry["kind"] not in ("check", "hint", "solution", "start", "reveal"):
        return []
    bank = load(lesson)
    items = [(f"recall:{lesson}.{make.__name__}", make) for make in bank.recall]
    if entry["kind"] == "solution" and name in bank.exercises:
        items.append((f"twin:{subject}", bank.exercises[name].twin))
    missed, truth = bank.predictions.get(subject), entry.get("truth")
    if entry["kind"] == "reveal" and entry.get("hit") is False and missed and matches(truth, truth):
        items.append((f"prediction:{subject}", lambda _: _again(missed, truth)))
    return items


def _again(asked: Prediction, truth: Any) -> Question:
    """The question of a prediction. `truth`, what it was then, counts where it cannot be computed (any more)."""
    with suppress(Exception):
        truth = asked.truth()
    return Question(asked.text, truth, asked.why, asked.tolerance)


@errors_as_sentences
def review() -> None:
    """Ask five questions that are due, spaced so that each comes back when you are about to forget it."""
    review_verb()


def review_verb(seed: int | None = None) -> int:
    """Answer five questions that are due; each comes back when you are about to forget it.

    Args:
        seed: Seeds the numbers in the questions; by default they differ each time.
    """
    items = schedule(journal.read())
    due = [item for item in items if item.due <= datetime.now(UTC)]
    if not due:
        print("Nothing is due. " + _when(items))
        return 0
    if not interactive():
        print(f"{_when(items)[:-1]}, in a terminal or a notebook: nobody can answer here.")
        return 0
    rng, answers = random.Random(seed), []
    for item in due[:AT_ONCE]:
        question = item.make(rng)
        print(f"\n{len(answers) + 1} of {min(len(due), AT_ONCE)} · {_about(item.name)}\n{terminal(question.text)}")
        right = put(question)
        if right is None:
            break
        journal.append("review", item=item.name, right=right)
        answers.append(right)
    print(f"\n{sum(answers)} of {len(answers)} right. " + _when(schedule(journal.read())))
    return 0


def put(question: Question) -> bool | None:
    """Ask one question and say whether the answer is right; None: nobody answers. Enter alone means "I do not know"."""
    while True:
        answer = ask("> ")
        if answer is None:
            return None
        right = matches(answer, question.answer, question.tolerance) if answer else False
        if right is None:
            print(f"That cannot be read: write {_form(simple(question.answer))}, or nothing if you do not know.")
            continue
        print(f"{'Right.' if right else f'It is {shown(question.answer)}.'} {terminal(question.why)}")
        return right


def _about(item: str) -> str:
    kind, _, subject = item.partition(":")
    stem = lessons.STEMS[subject.split(".")[0]].replace("_", " ")
    return {"recall": f"lesson {stem}", "twin": f"a twin of {subject}", "prediction": f"a guess in lesson {stem}"}[kind]


def _count(n: int) -> str:
    return f"{n} question is" if n == 1 else f"{n} questions are"


def _when(items: list[Item]) -> str:
    """When there is something to do again."""
    if not items:
        return "Questions come three days after you begin a lesson."
    waiting = sum(item.due <= datetime.now(UTC) for item in items)
    if waiting:
        return f"{_count(waiting)} due now: run `python3 course.py review`."
    return f"The next one is due on {items[0].due.astimezone():%Y-%m-%d, %H:%M}."
