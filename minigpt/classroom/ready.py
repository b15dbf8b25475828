"""Are you ready? Twelve questions, ten minutes, and for each topic what to do before the first lesson.

Code makes the questions, so that a second try asks for the idea and not for the numbers.
"""
import random
from collections.abc import Callable
from typing import NamedTuple

from ..config import UserError
from . import journal
from .bank import Question
from .console import interactive
from .review import put


class Topic(NamedTuple):
    """What the course takes for granted: a basic question and a harder one."""

    name: str
    section: int
    """Of the primer."""
    learn: str
    """What to learn first, if neither question goes well."""
    basic: Callable[[random.Random], Question]
    harder: Callable[[random.Random], Question]


def _numbers(rng: random.Random, n: int, low: int = 2, high: int = 9) -> list[int]:
    """n different whole numbers: with equal ones a wrong rule can give the right answer."""
    return rng.sample(range(low, high + 1), n)


def slice_of_a_string(rng):
    """What the colon takes and what it leaves out."""
    word = rng.choice(["pretraining", "vocabulary", "attention", "checkpoint", "gradient"])
    first = rng.randint(1, 3)
    last = first + rng.randint(2, 4)
    return Question(f'In Python, what is "{word}"[{first}:{last}]?', word[first:last],
                    f"Counting starts at 0, and position {last} is left out.")  # fmt: skip


def one_list_with_two_names(rng):
    """An assignment copies nothing."""
    n, new = rng.randint(2, 5), rng.randint(2, 4)
    values = [rng.randint(1, 9) for _ in range(n)]
    return Question(f"a = {values}\nb = a\nfor i in range({new}):\n    b.append(i)\nWhat is len(a)?", n + new,
                    "b = a gives the same list a second name; it copies nothing.")  # fmt: skip


def sum_over_a_dimension(rng):
    """A sum takes a dimension away."""
    a, b, c = _numbers(rng, 3)
    d = rng.randint(0, 2)
    shape = [n for i, n in enumerate((a, b, c)) if i != d]
    why = f"Dimensions are counted from 0; the one that is summed over, of size {(a, b, c)[d]}, is gone."
    return Question(f"A tensor x has the shape ({a}, {b}, {c}). What is the shape of x.sum(dim={d})?", shape, why)


def broadcasting(rng):
    """Shapes are lined up at their ends."""
    a, b, c = _numbers(rng, 3)
    why = "Shapes are lined up at their ends; a size of 1, or a missing one, is stretched to the other's."
    return Question(f"x has shape ({a}, 1, {c}) and y has shape ({b}, 1). What is the shape of x + y?", [a, b, c], why)


def entry_of_a_product(rng):
    """Row times column."""
    a, b, c, d = _numbers(rng, 4)
    return Question(
        f"The first row of A is [{a}, {b}]. The second column of B is [{c}, {d}], read downwards.\n"
        "What stands in the first row and second column of A @ B?", a * c + b * d,
        f"Row times column, entry by entry, added up: {a}·{c} + {b}·{d}.")  # fmt: skip


def multiplications(rng):
    """What a product costs."""
    a, b, c = (10 * n for n in _numbers(rng, 3))
    return Question(f"A is a matrix of {a} × {b}, B one of {b} × {c}. How many multiplications does A @ B take?",
                    a * b * c, f"There are {a}·{c} entries, and each is a sum of {b} products.")  # fmt: skip


def derivative(rng):
    """The slope of a polynomial."""
    a, b, x = _numbers(rng, 3)
    return Question(f"y = {a}x² + {b}x. What is the slope dy/dx at x = {x}?", 2 * a * x + b, f"dy/dx = {2 * a}x + {b}.")


def chain_rule(rng):
    """The slope of a composition."""
    a, b, x = _numbers(rng, 3, 2, 5)
    return Question(f"u = {a}x + {b} and y = u². What is dy/dx at x = {x}?", 2 * (a * x + b) * a,
                    f"dy/dx = dy/du · du/dx = 2u · {a}, and u = {a * x + b}.")  # fmt: skip


def logarithm(rng):
    """A product becomes a sum."""
    a, b = _numbers(rng, 2, 3, 9)
    return Question(f"What is log2({2**a} · {2**b})?", a + b,
                    f"A logarithm turns a product into a sum: 2^{a} · 2^{b} = 2^{a + b}.")  # fmt: skip


def bits_of_a_sequence(rng):
    """Probabilities multiply, their logarithms add."""
    a, b = _numbers(rng, 2, 1, 6)
    return Question(
        f"A model gives the first word the probability 1/{2**a} and, given that one, the next word 1/{2**b}.\n"
        "What is -log2 of the probability of both together?", a + b,
        f"Probabilities multiply, so their logarithms add: {a} + {b} bits.")  # fmt: skip


def folder(rng):
    """Two dots go up."""
    here, there = rng.sample(["books", "letters", "code", "plays"], 2)
    user = rng.choice(["ada", "alan", "grace"])
    text = f"You are in /home/{user}/{here} and type: cd ../{there}\nWhich folder are you in then? (whole path)"
    return Question(text, f"/home/{user}/{there}", ".. is the folder above.")


def megabytes(rng):
    """From numbers to bytes."""
    n, bits = rng.randint(3, 40), rng.choice([16, 32])
    return Question(f"A file holds {n} million whole numbers of {bits} bits each, and nothing else.\n"
                    "How many megabytes (millions of bytes) is it?", n * bits // 8,
                    f"A byte is 8 bits, so each number takes {bits // 8} bytes.")  # fmt: skip


TOPICS = (
    Topic("Python", 1, "Python up to functions, lists and dictionaries: the official tutorial, chapters 3 to 5",
          slice_of_a_string, one_list_with_two_names),
    Topic("shapes and broadcasting", 2, "arrays and their shapes: NumPy's guide for absolute beginners",
          sum_over_a_dimension, broadcasting),
    Topic("matrix products", 3, "vectors, matrices and their product: the first chapters of any linear algebra course",
          entry_of_a_product, multiplications),
    Topic("derivatives and the chain rule", 4, "derivatives of powers, sums and compositions: a first calculus course",
          derivative, chain_rule),
    Topic("logarithms and probability", 5, "logarithms, and the probability of two things together: school mathematics",
          logarithm, bits_of_a_sequence),
    Topic("bytes and the command line", 6, "files, folders and a terminal: any introduction to your system's shell",
          folder, megabytes),
)  # fmt: skip


def verdict(topic: Topic, basic: bool, harder: bool) -> str:
    """ "go", the section of the primer that helps, or what to learn before the course."""
    if basic and harder:
        return "go"
    return f"primer §{topic.section}" if basic or harder else f"first learn this: {topic.learn}"


def ready_verb(seed: int | None = None) -> int:
    """Find out whether you are ready for the course: twelve questions, about ten minutes.

    Args:
        seed: Seeds the numbers in the questions; by default they differ each time.
    """
    if not interactive():
        raise UserError("nobody can answer here: run `python3 course.py ready` in a terminal.")
    rng, verdicts = random.Random(seed), {}
    print("Twelve questions, about ten minutes; paper is welcome. Enter alone means: I do not know. Ctrl-D stops.")
    for topic in TOPICS:
        answers = []
        for make in (topic.basic, topic.harder):
            question = make(rng)
            print(f"\n{2 * len(verdicts) + len(answers) + 1} of {2 * len(TOPICS)} · {topic.name}\n{question.text}")
            answers.append(put(question))
            if answers[-1] is None:
                break
        if None in answers:
            break
        verdicts[topic.name] = verdict(topic, *answers)
        journal.append("ready", topic=topic.name, verdict=verdicts[topic.name])
    print()
    for name, said in verdicts.items():
        print(f"{name:<32}{said}")
    print("\n" + summary(verdicts))
    return 0


def summary(verdicts: dict[str, str]) -> str:
    """One sentence on what to do now."""
    if any(said.startswith("first") for said in verdicts.values()):
        return "Learn these first: the course will be a pleasure then, and a struggle now."
    if any(said.startswith("primer") for said in verdicts.values()):
        return "Read those sections of the primer when you come to need them; you can begin."
    if len(verdicts) < len(TOPICS):
        return f"{len(verdicts)} of {len(TOPICS)} topics seen: come back for the rest."
    return "You are ready."
