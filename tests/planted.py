"""A small lesson with its bank, planted where the classroom looks for lessons: 23, which needs no torch."""
import importlib.util
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from minigpt.classroom import bank, lessons

SOLUTIONS = '''\
# %% [markdown]
# # 23: exercises

# %% tags=["setup"]
import math

# %% [markdown]
# ## 23.1 weighted_mean: a mean with weights
#
# *write · difficulty 1/5 · 10 min · core · idea: divide by what you have added up*
#
# Write `weighted_mean(values, weights)`.
#
# <details><summary>Hint 1</summary>What do **all** the weights add up to?</details>
# <details><summary>Hint 2</summary>Divide by the *weights*, not by their number (section 1).</details>
# <details><summary>Hint 3</summary>The root of a mean square:
# ```python
# rms = (sum(x**2 for x in xs) / len(xs))**0.5
# ```
# </details>

# %%
def weighted_mean(values, weights):
    ### BEGIN SOLUTION
    total = sum(v * w for v, w in zip(values, weights))
    return total / sum(weights)
    ### END SOLUTION

# %% [markdown]
# ## 23.2 last_weight: the last one
#
# *measure · difficulty 1/5 · 5 min · core · unaided · idea: the end*

# %%
def last_weight(weights):
    ### BEGIN SOLUTION
    return weights[-1]
    ### END SOLUTION
'''
BANK = '''\
"""The bank of the planted lesson; naïve on purpose (a byte is not a column)."""
from minigpt.classroom.bank import Exercise, Mutant, Prediction, Question


def twin(rng):
    a, b = rng.randint(2, 9), rng.randint(11, 19)
    return Question(f"What is the mean of {a} and {b} with weights 1 and 3?", (a + 3 * b) / 4, "Add up, then divide.")


def recall_sum(rng):
    a, b = rng.randint(10, 99), rng.randint(100, 999)
    return Question(f"{a} + {b} = ?", a + b, "Add.")


def recall_word(rng):
    return Question("What does one divide by?", "weights", "Their sum.")


EXERCISES = {
    "weighted_mean": Exercise(
        cases=lambda: [([1.0, 2.0, 4.0], [1.0, 3.0, 2.0]), ([5.0, 7.0], [2.0, 0.5])],
        mutants=(
            Mutant("not_divided", " / sum(weights)", "", "the sum is not divided", "Is a sum a mean?"),
            Mutant("by_number", "sum(weights)", "len(weights)", "the sum is divided by the number of weights",
                   "What if all weights were 2?"),  # é: the commonest
        ),
        twin=twin,
    ),
    "last_weight": Exercise(
        cases=lambda: [([1, 2, 4],), ([5, 7],)], mutants=(Mutant("first", "-1", "0", "the first is taken", "Which?"),),
        twin=twin,
    ),
}
PREDICTIONS = {
    "23.p1": Prediction("The sum of five weights of 0.2?", lambda: 1.0, "Five fifths are one."),
    "23.p2": Prediction("How many steps did it take?", None, "As measured."),
    "23.p3": Prediction("Which row?", lambda: [0.25, 0.75], "One to three."),
    "23.p4": Prediction("Broken", lambda: 1 / 0, "Never."),
}
RECALL = (recall_sum, recall_word)
'''
WRONG = "def weighted_mean(values, weights):\n    '''By Ada.'''\n    return sum(values) / sum(weights)  # ada\n"
"""A wrong answer that the planted bank does not explain."""


def plant(root: Path, monkeypatch) -> Path:
    """Make the planted lesson the only one there is, under `root`, with an empty journal; returns the bank's file."""
    home = write(root)
    monkeypatch.setenv("MINIGPT_HOME", str(root / "home"))
    for name, folder in {"ROOT": root, "SOLUTIONS": root / "solutions", "EXERCISES": root / "exercises"}.items():
        monkeypatch.setattr(lessons, name, folder)
    spec = importlib.util.spec_from_file_location(f"{bank.__name__}.23", home)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, spec.name, module)
    forget()
    return home


def write(root: Path) -> Path:
    """The lesson's files."""
    for folder in ("solutions/source", "exercises", "minigpt/classroom/bank"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "solutions/source/23.py").write_text(SOLUTIONS, encoding="utf-8")
    file = root / "minigpt/classroom/bank/23.py"
    file.write_text(BANK, encoding="utf-8")
    return file


def forget() -> None:
    """Drop what was read of the lessons that were there before."""
    lessons.statements.cache_clear()
    bank.load.cache_clear()


def line(kind: str, days_ago: float = 0.0, **fields) -> str:
    """A line of a journal, so many days old."""
    time = datetime.now(UTC) - timedelta(days=days_ago)
    return json.dumps({"time": time.isoformat(timespec="seconds"), "kind": kind, **fields}) + "\n"


def keep(root: Path, *lines: str) -> Path:
    """Write lines into the planted journal."""
    file = root / "home/journal.jsonl"
    file.parent.mkdir(exist_ok=True)
    with open(file, "a", encoding="utf-8") as journal:
        journal.writelines(lines)
    return file


def kept(root: Path) -> list[dict]:
    """What the planted journal holds."""
    file = root / "home/journal.jsonl"
    return [json.loads(x) for x in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
