"""The checker: it runs a learner's function beside the reference, and beside the wrong ideas that people have.

In a notebook, `check("04.causal_mask", causal_mask)` prints what it found and never raises. grade.py does the same for
a file, from the command line.

A wrong result is told in this order: its type, shape, dtype and device, NaN, the property that it breaks; then the idea
behind it, if exactly one mutant of the bank gives the same results; else the first value that differs.
"""
import contextlib
import hashlib
import io
import os
import random
import re
import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from ..config import UserError
from . import bank, journal, lessons
from .compare import KINDS, compare, data, short
from .console import errors_as_sentences, say
from .learner import Printed, file_of, place, remember, same_code, source_of, tidy


class Result(NamedTuple):
    """What the checker says of one exercise: status todo, wrong, error or passed."""

    name: str
    status: str
    misconception: str | None
    """The id of the mutant that explains the result, if exactly one does."""
    message: str
    seconds: float
    code: str | None = None
    """The learner's function, if it is wrong and no mutant explains it; without comments and docstrings."""
    answer: str | None = None
    """A short hash of the learner's function, whatever its layout and comments; None if its source is not known."""


class Outcome(NamedTuple):
    """What one call came to."""

    value: Any = None
    error: BaseException | None = None
    changed: tuple[int, ...] = ()
    """The arguments that the function changed, by number."""


@errors_as_sentences
def check(name: str, function: Callable) -> None:
    """Check your function and print what is found. Never raises, but in the course's own tests, which expect a status.

    Example: check("04.causal_mask", causal_mask)
    """
    result = keep(examine(name, function), 'hint("{}")')
    say(f"[{result.status}] {result.name}: {result.message}")
    _expect(result, os.environ.get("MINIGPT_EXPECT"))


def _expect(result, status):
    if status == "todo" and result.status == "wrong" and "answered" in lessons.exercise(result.name).flags:
        return
    if status and result.status != status:
        raise AssertionError(f"{result.name} should be {status} and is {result.status}: {result.message}")


def examine(name: str, function: Callable) -> Result:
    """The same, as a value. Never raises: whatever goes wrong, on either side, is a result of status "error"."""
    start, misconception, code, source = time.perf_counter(), None, None, None
    try:
        statement, exercise = lessons.exercise(name), _exercise(name)
        name = statement.name
        if not callable(function):
            raise UserError(f"hand over the function itself, without parentheses after it; this is {short(function)}.")
        source, right = source_of(function), known(name).outcomes
        if "answered" not in statement.flags and same_code(source, statement.stub, name):
            status, message = "todo", "not attempted yet."
        else:
            outcomes, printed = run(function, exercise)
            status, misconception, message = _judge(name, function, exercise, outcomes, right)
            unexplained = status in ("wrong", "error") and misconception is None
            if unexplained and source and not any(isinstance(outcome.error, NO_IDEA) for outcome in outcomes):
                code = tidy(source) or None
            if printed:
                message += "\nYour code printed:\n" + textwrap.indent(printed, "  ")
    except UserError as error:
        status, message = "error", str(error)
    except KeyboardInterrupt:
        status, message = "error", "interrupted."
    except Exception as error:  # ours, not the learner's: their errors are part of a result
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__} in {where.name}: {error}"
        status, message = "error", f"the checker itself failed ({said}). Please report it."
    seconds = round(time.perf_counter() - start, 3)
    return Result(name, status, misconception, message, seconds, code, fingerprint(source))


NO_IDEA = (SyntaxError, ImportError, KeyboardInterrupt)
"""Errors that say nothing of how one thinks about the exercise."""


def fingerprint(source: str | None) -> str | None:
    """A short hash of a function's syntax tree: what layout, comments and docstrings say does not change it."""
    code = tidy(source or "")
    return hashlib.sha256(code.encode()).hexdigest()[:10] if code else None


def _exercise(name: str) -> bank.Exercise:
    lesson, _, function = lessons.exercise(name).name.partition(".")  # says which are near, if there is none
    if function not in bank.load(lesson).exercises:
        raise UserError(f"{name} has no checker yet.")
    return bank.load(lesson).exercises[function]


def keep(result: Result, hint: str) -> Result:
    """Keep the check. Another answer with the same wrong idea is offered a hint: how to ask for it, with {}."""
    if result.status == "todo" or lessons.find(result.name) is None:
        return result
    # What is not defined has no source: the same complaint is the same answer.
    answer = result.answer or hashlib.sha256(result.message.encode(errors="replace")).hexdigest()[:10]
    if result.misconception:
        before = [e for e in journal.read() if e["kind"] == "check" and e["exercise"] == result.name]
        if any(e.get("misconception") == result.misconception and e.get("answer") != answer for e in before):
            result = result._replace(message=f"{result.message}\nA hint: {hint.format(result.name)}")
    fields = {"status": result.status, "misconception": result.misconception, "seconds": result.seconds}
    code = {"code": result.code} if result.code else {}
    journal.append("check", exercise=result.name, **fields, answer=answer, **code)
    return result


# Running.


def run(function: Callable, exercise: bank.Exercise) -> tuple[list[Outcome], str]:
    """Call a function on every case: what it returned or raised, and the beginning of what it printed.

    Random numbers are the same in each run, and those of the caller go on as if nothing had been drawn.
    """
    printed, outcomes = Printed(), []
    with _random_state(), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        for arguments, before in zip(cases_of(exercise), cases_of(exercise)):
            _seed()
            value = error = None
            try:
                value = exercise.use(function, *arguments)
            except BaseException as raised:  # SystemExit and an interrupt too: a notebook goes on
                error = raised
            changed = ()
            if not exercise.may_change_input:
                pairs = enumerate(zip(arguments, before))
                changed = tuple(i for i, (now, old) in pairs if _changed(now, old))
            outcomes.append(Outcome(value, error, changed))
            if isinstance(error, KeyboardInterrupt):
                break
    return outcomes, printed.shown()


def _changed(now, old):
    try:
        return compare(data(now), data(old), 0.0) is not None
    except RecursionError:  # it holds itself by now
        return True


def cases_of(exercise: bank.Exercise) -> list[tuple]:
    """Fresh arguments, the same ones each time."""
    with _random_state():
        _seed()
        return exercise.cases()


@contextlib.contextmanager
def _random_state() -> Iterator[None]:
    """Leave the generators of Python, numpy and torch as they were; the last two only if they are loaded."""
    python, numpy, torch = random.getstate(), sys.modules.get("numpy"), sys.modules.get("torch")
    states = numpy and numpy.random.get_state(), torch and torch.default_generator.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        if numpy:
            numpy.random.set_state(states[0])
        if torch:
            torch.default_generator.set_state(states[1])


def _seed() -> None:
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.manual_seed(0)


# The reference, and what is made from it.


class Known(NamedTuple):
    """A function whose outcomes are known."""

    function: Callable
    outcomes: list[Outcome]


def reference(name: str) -> Callable:
    """The solution of an exercise, as a function.

    Example: reference("04.causal_mask")(3)
    """
    return known(name).function


@cache
def known(name: str, mutant: str = "") -> Known:
    """The reference of an exercise, or one of its mutants by id, with its outcomes. Computed once in a process."""
    exercise, source = _exercise(name), ""
    if mutant:
        source = mutated(name, next(m for m in exercise.mutants if m.id == mutant))
    function = build(name, source, mutant or "reference")
    return Known(function, run(function, exercise)[0])


def mutated(name: str, mutant: bank.Mutant) -> str:
    """The source of a mutant; UserError if the text that it replaces does not occur exactly once."""
    solution = lessons.exercise(name).solution
    if not mutant.right:
        return mutant.wrong
    if solution.count(mutant.right) != 1:
        raise UserError(f"{name}: mutant {mutant.id}: {mutant.right!r} occurs {solution.count(mutant.right)} times.")
    return solution.replace(mutant.right, mutant.wrong)


def build(name: str, source: str, label: str) -> Callable:
    """The exercise's function made from a source, which finds around it what the page and the solution define."""
    function = name.partition(".")[2]
    namespace = dict(_page(name))
    if source:
        if function not in lessons.defined(source):
            raise UserError(f"{name}: {label}: it does not define {function}.")
        _execute(source, f"<{name} {label}>", namespace)
    return namespace[function]


@cache
def _page(name: str) -> dict[str, Any]:
    statement, namespace = lessons.exercise(name), {"__name__": "exercise"}
    with _random_state(), contextlib.redirect_stdout(io.StringIO()):
        _execute(statement.setup, f"<{name} setup>", namespace)
        _execute(statement.solution, f"<{name} reference>", namespace)
    return namespace


def _execute(source, filename, namespace):
    remember(source, filename)
    exec(compile(source, filename, "exec"), namespace)


# Judging.


def _judge(name, function, exercise, outcomes, right) -> tuple[str, str | None, str]:
    """(status, misconception, message); `right`: the outcomes of the reference."""
    cases = cases_of(exercise)
    errors = [outcome.error for outcome in outcomes]
    if any(isinstance(error, KeyboardInterrupt) for error in errors):
        return "error", None, "interrupted."
    if any(isinstance(error, NotImplementedError) and str(error) in ("", "your code here") for error in errors):
        return "todo", None, "not attempted yet."
    found = [_difference(got, want, exercise.tolerance) for got, want in zip(outcomes, right)]
    if not any(found):
        return "passed", None, f"right, on {len(cases)} cases." if len(cases) > 1 else "right."

    mutant = _diagnose(name, exercise, outcomes, right)
    idea = mutant and f" is what one gets when {mutant.misconception}. Ask yourself: {mutant.question}"
    raised = [i for i, (got, want) in enumerate(zip(outcomes, right)) if got.error and not want.error]
    if raised:
        call = _call(function, cases[raised[0]])
        said = _error(outcomes[raised[0]].error, function)
        return "error", mutant and mutant.id, _paragraph(f"{call} raised {said}", idea and "That" + idea)

    case = min((i for i, difference in enumerate(found) if difference), key=lambda i: found[i].rank)
    rank, property = found[case].rank, ""
    if rank == VALUE:  # a property that is broken says more than a number, of the case that breaks it
        breaks = ((i, broken(exercise, outcomes[i], cases[i])) for i, difference in enumerate(found) if difference)
        case, property = next(((i, said) for i, said in breaks if said), (case, ""))
    told = found[case].sentence(secret=not cases[case])
    told = (f"For {_call(function, cases[case])}: " if cases[case] else "") + told
    told = _paragraph(property, "" if idea and rank == VALUE else told)
    also = CHANGES if rank != CHANGED and not idea and any(outcome.changed for outcome in outcomes) else ""
    return "wrong", mutant and mutant.id, _paragraph(told, also, idea and "Your result" + idea)


class Found(NamedTuple):
    """Something wrong with an outcome: the lower the rank, the earlier it is told; `sentence` takes secret=."""

    rank: int
    sentence: Callable[..., str]


RAISES, VALUE = -1, KINDS.index("value")
CHANGED = VALUE + 1
CHANGES = "your function changes its argument, which belongs to the caller: work on a copy, or make a new one."


def _difference(got: Outcome, want: Outcome, tolerance: float) -> Found | None:
    if want.error and isinstance(got.error, type(want.error)):
        return None
    if want.error or got.error:
        did = f"raised {type(got.error).__name__}" if got.error else f"returned {short(got.value)}"
        return Found(RAISES, lambda secret: f"it should raise {type(want.error).__name__}, and {did}.")
    if different := compare(got.value, want.value, tolerance):
        return Found(KINDS.index(different.kind), different.sentence)
    return Found(CHANGED, lambda secret: f"the result is right, but {CHANGES}") if got.changed else None


def broken(exercise: bank.Exercise, outcome: Outcome, arguments: tuple) -> str:
    """The first property that a result breaks, in a sentence; one that cannot even be asked is broken."""
    for property in exercise.properties:
        try:
            holds = bool(property.holds(outcome.value, *arguments))
        except Exception:
            holds = False
        if not holds:
            return property.broken
    return ""


def _diagnose(name, exercise, outcomes, right) -> bank.Mutant | None:
    """The mutant with the same outcomes; none if there are several that say different things."""
    for loose in (False, True):
        same = [mutant for mutant in exercise.mutants
                if _alike(outcomes, known(name, mutant.id).outcomes, right, exercise.tolerance, loose)]  # fmt: skip
        if same:
            return same[0] if len({mutant.misconception for mutant in same}) == 1 else None
    return None


def _alike(outcomes, theirs, right, tolerance, loose):
    """Do all outcomes equal a mutant's? `loose`: the dtype aside, a second mistake; then the values must tell."""
    if loose and all(_same(a, b, tolerance, loose) for a, b in zip(theirs, right)):
        return False
    if not all(_same(a, b, tolerance, loose) for a, b in zip(outcomes, theirs)):
        return False
    # Where every call raises, the kind of error is too little to know an idea by.
    return not all(o.error for o in theirs) or [str(o.error) for o in outcomes] == [str(o.error) for o in theirs]


def _same(got, want, tolerance, loose):
    if got.error or want.error:
        return type(got.error) is type(want.error)
    return set(want.changed) <= set(got.changed) and not compare(got.value, want.value, tolerance, loose)


def _call(function, arguments):
    return f"{getattr(function, '__name__', 'your function')}({', '.join(map(short, arguments))})"


def _error(error: BaseException, function: Callable) -> str:
    """An error and the learner's own line that led to it."""
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    said = said if len(said) <= 300 else said[:299] + "…"
    if isinstance(error, SystemExit):
        said += " (it asks Python to stop; return a value instead)"
    file = file_of(function)
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{said}\nin line {own[-1].lineno}{place(file)}: `{own[-1].line}`" if own else said


def _paragraph(*sentences):
    return "\n".join(sentence[0].upper() + sentence[1:] if not re.match(r"\w+\(", sentence) else sentence
                     for sentence in sentences if sentence)  # fmt: skip
