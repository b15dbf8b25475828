"""The banks, proven: is every mutant rejected and named as itself, and every right variant accepted?"""
from typing import Any

from . import bank, lessons
from .check import broken, build, cases_of, examine, known

FEWEST = {"write": 5, "fill": 5, "fix": 5}
"""Mutants of an exercise of that kind; two of the others."""


def self_test(ids: list[str]) -> dict[str, Any]:
    """Check the banks of lessons: is every mutant rejected and named as itself, every right variant accepted?

    Counts, and what fell short: names in not_rejected, misdiagnosed and refused, sentences in problems.
    """
    found = dict.fromkeys(("exercises", "mutants", "rejected", "diagnosed", "variants", "accepted"), 0)
    found |= {"not_rejected": [], "misdiagnosed": [], "refused": [], "problems": []}
    for id in ids:
        exercises = bank.load(id).exercises
        for name in exercises.keys() ^ lessons.statements(id).keys():
            missing = "no statement" if name in exercises else "no checker"
            found["problems"].append(f"{id}.{name} has {missing}.")
        for function, statement in lessons.statements(id).items():
            if function in exercises:
                _prove(statement, exercises[function], found)
    return found


def _prove(statement, exercise, found):
    name, problems = statement.name, found["problems"]
    found["exercises"] += 1
    fewest = FEWEST.get(statement.kind, 2)
    if len(exercise.mutants) < fewest:
        problems.append(f"{name} has {len(exercise.mutants)} mutants and needs {fewest}.")
    if len(exercise.variants) < 3:
        problems.append(f"{name} has {len(exercise.variants)} variants and needs 3.")
    outcomes, cases = known(name).outcomes, cases_of(exercise)
    if all(outcome.error for outcome in outcomes):
        problems.append(f"{name}: the reference raises in every case: {outcomes[0].error!r}.")
    if said := next(filter(None, (broken(exercise, o, c) for o, c in zip(outcomes, cases) if not o.error)), None):
        problems.append(f"{name}: the reference breaks a property: {said}")
    if (changed := next((i for i, outcome in enumerate(outcomes) if outcome.changed), None)) is not None:
        problems.append(f"{name}: the reference changes its arguments in case {changed}.")
    stub = examine(name, build(name, statement.stub, "stub"))
    if stub.status != ("wrong" if "answered" in statement.flags else "todo"):
        problems.append(f"{name}: its stub is {stub.status}: {stub.message}")

    def examined(label, make):
        try:
            return examine(name, make())
        except Exception as error:  # it cannot be made
            problems.append(f"{name}: {label}: {type(error).__name__}: {error}")

    texts = {mutant.id: mutant.misconception for mutant in exercise.mutants}
    for mutant in exercise.mutants:
        found["mutants"] += 1
        if result := examined(f"mutant {mutant.id}", lambda: known(name, mutant.id).function):
            rejected = result.status in ("wrong", "error")
            named = rejected and texts.get(result.misconception) == mutant.misconception
            found["rejected"] += rejected
            found["diagnosed"] += named
            if not named:
                kind = "misdiagnosed" if rejected else "not_rejected"
                found[kind].append(f"{name} {mutant.id}: {result.misconception or result.message}")
    for number, variant in enumerate(exercise.variants):
        found["variants"] += 1
        if result := examined(f"variant {number}", lambda: build(name, variant, f"variant {number}")):
            found["accepted"] += result.status == "passed"
            if result.status != "passed":
                found["refused"].append(f"{name} variant {number}: {result.message}")


def reached(found: dict[str, Any]) -> bool:
    """Does a self-test reach the bars?"""
    return (not found["problems"] and found["rejected"] == found["mutants"]
            and found["diagnosed"] >= 0.95 * found["mutants"] and found["accepted"] == found["variants"])  # fmt: skip
