"""What the checker knows of each exercise: its cases, and the wrong ideas that people have about it.

One file a lesson, `bank/04.py`, with three names: EXERCISES (function name → Exercise), PREDICTIONS (id → Prediction)
and RECALL (functions of a random.Random that each make a Question). The statement, the hints and the reference solution
are not here: they are in `solutions/source/04.py`, which the learner's page is cut from.
"""
import importlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple


class Question(NamedTuple):
    """A question that code has made, with numbers of its own each time. The answer is a number, or a word."""

    text: str
    answer: Any
    why: str
    """Shown after the answer: how to find it."""
    tolerance: float = 0.0
    """Largest relative difference of a number that still counts as right."""


class Mutant(NamedTuple):
    """A wrong solution that people really write, made from the reference by replacing some of its text.

    >>> Mutant("no_scale", " / math.sqrt(q.shape[-1])", "", "the scores are not divided by the root of the head size",
    ...        "How large is a dot product of two random vectors of 64 numbers?")          # doctest: +SKIP
    """

    id: str
    right: str
    """Occurs exactly once in the reference; empty: `wrong` is the whole function."""
    wrong: str
    misconception: str
    """Completes "your result is what one gets when …"."""
    question: str
    """What to ask oneself; it leads to the idea and does not give the line away."""


class Property(NamedTuple):
    """Something that any right result has. `holds(result, *arguments)` is asked for each case."""

    holds: Callable[..., bool]
    broken: str
    """A sentence for the learner: what the result does and should not."""


@dataclass(frozen=True)
class Exercise:
    """How one exercise is checked. The reference runs beside the learner's function, on fresh arguments each time."""

    cases: Callable[[], list[tuple]]
    """Makes the arguments of each call, always the same. Sizes are pairwise distinct: square shapes hide mistakes."""
    mutants: tuple[Mutant, ...]
    twin: Callable[[random.Random], Question]
    """A question on the same idea with other numbers, for those who have looked at the solution."""
    variants: tuple[str, ...] = ()
    """Right solutions, each the source of a function, that look different: loops, einsum, a library call."""
    properties: tuple[Property, ...] = ()
    use: Callable = lambda function, *arguments: function(*arguments)
    """Puts the arguments to a function; for answers that are judged by what they do rather than by what they are."""
    tolerance: float = 1e-5
    """Largest difference of floats, relative to 1 + |expected|."""
    may_change_input: bool = False


class Prediction(NamedTuple):
    """A guess that the lesson asks for before an experiment."""

    text: str
    truth: Callable[[], Any] | None
    """Computes the answer: a number, a list of numbers or a word. None: the lesson hands over what it measured."""
    why: str
    tolerance: float = 0.05
    """Largest relative difference that counts as a hit."""


def normal(seed: int, *shapes: tuple[int, ...]) -> list:
    """Standard normal tensors, always the same ones for a seed; most cases are made of them."""
    import torch  # here: what reads a bank for its questions alone need not wait for it

    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


@dataclass(frozen=True)
class Bank:
    """All of a lesson's bank; empty for a lesson without a file."""

    exercises: dict[str, Exercise] = field(default_factory=dict)
    predictions: dict[str, Prediction] = field(default_factory=dict)
    recall: tuple[Callable[[random.Random], Question], ...] = ()


@cache
def load(lesson: str) -> Bank:
    """The bank of a lesson, by its number: load("04")."""
    try:
        module: ModuleType = importlib.import_module(f"{__name__}.{lesson}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{lesson}":
            raise
        return Bank()
    return Bank(module.EXERCISES, module.PREDICTIONS, module.RECALL)
