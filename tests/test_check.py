"""The checker, on a lesson planted here: three exercises, their wrong ideas, and everything a learner may hand in."""
import importlib
import json
import math
import random
import sys
import time
from collections import Counter

import numpy as np
import pytest
import torch

from minigpt.classroom import bank, grade, journal, lessons, proof
from minigpt.classroom.compare import compare, short
from minigpt.classroom.learner import load_functions
from minigpt.config import UserError

checker = importlib.import_module("minigpt.classroom.check")  # the package's `check` is the function

SOURCE = '''
# %% [markdown]
# # 91 · Planted

# %% tags=["setup"]
import math

import torch

# %% [markdown]
# ## 91.1 scores: scaled scores
# *write · difficulty 2/5 · 10 min · core · idea: the variance of a dot product*
#
# Write `scores(q, k)`.

# %%
def scores(q, k):
    """(T, d), (S, d) → (T, S)."""
    ### BEGIN SOLUTION
    return q @ k.T / math.sqrt(q.shape[-1])
    ### END SOLUTION

# %% [markdown]
# ## 91.2 pieces: cut a list
# *fix · difficulty 2/5 · 10 min · core · answered · idea: the end of a range*

# %%
def pieces(items, n):
    ### BEGIN SOLUTION
    if n < 1:
        raise ValueError("n must be positive")
    return [items[i : i + n] for i in range(0, len(items), n)]
    ### STUB
    # if n < 1:
    #     raise ValueError("n must be positive")
    # return [items[i : i + n] for i in range(0, len(items) - n, n)]
    ### END SOLUTION

# %% [markdown]
# ## 91.3 first_loss: predict
# *predict · difficulty 1/5 · 5 min · core · idea: the loss of a uniform guess*

# %%
def first_loss():
    ### BEGIN SOLUTION
    return math.log(4096)
    ### END SOLUTION
'''

BANK = """
import math
import torch
from minigpt.classroom.bank import Exercise, Mutant, Property, Question

def cases():
    draw = torch.Generator().manual_seed(1)
    sizes = (3, 5, 7), (2, 4, 6)
    return [(torch.randn(t, d, generator=draw), torch.randn(s, d, generator=draw)) for t, s, d in sizes]

def twin(rng):
    n = rng.randint(5, 99)
    return Question(f"What is the root of {n}?", math.sqrt(n), "take the root", 0.01)

signs = Property(lambda r, q, k: bool(((r > 0) == (q @ k.T > 0)).all()), "a score must keep the sign of its product.")

EXERCISES = {
    "scores": Exercise(cases, (
        Mutant("no_scale", " / math.sqrt(q.shape[-1])", "", "the scores are not scaled", "How large is a dot product?"),
        Mutant("by_d", "math.sqrt(q.shape[-1])", "q.shape[-1]", "the scores are divided by {d}", "Or by its root?"),
        Mutant("times", "/ math", "* math", "the scores grow with d", "Should they grow?"),
        Mutant("transposed", "q @ k.T", "k @ q.T", "queries and keys trade places", "Which axis is the query's?"),
        Mutant("not_transposed", "k.T", "k", "the keys are not transposed", "Which axes meet?"),
        Mutant("in_place", "", "def scores(q, k):\\n    q /= math.sqrt(q.shape[-1])\\n    return q @ k.T",
               "the queries are scaled in place", "Whose tensor is it?"),
    ), twin, (
        "def scores(q, k):\\n    return torch.einsum('td,sd->ts', q, k) * q.size(-1) ** -0.5",
        "def scores(q, k):\\n    return torch.stack([(k @ row) / len(row) ** 0.5 for row in q])",
        "def scores(q, k):\\n    return torch.nn.functional.linear(q / q.shape[1] ** 0.5, k)",
    ), (signs,)),
    "pieces": Exercise(lambda: [([1, 2, 3, 4, 5], 2), (list("abcdef"), 3), ([], 4), ([1], 0)], (
        Mutant("last", "len(items), n", "len(items) - n, n", "the last piece is lost", "Where does range end?"),
        Mutant("overlap", "len(items), n)", "len(items))", "the pieces overlap", "How far is it to the next start?"),
        Mutant("shorter", "i + n", "i + n - 1", "the end is left out twice", "Is the end of a slice in it?"),
        Mutant("unchecked", 'raise ValueError("n must be positive")', "return []", "nonsense is let through", "And 0?"),
        Mutant("longer", "i + n", "i + n + 1", "each piece has one too many", "Is the end of a slice in it?"),
    ), twin, (
        "def pieces(items, n):\\n    assert_positive = 1 / max(n, 0) if n > 0 else int('?')\\n"
        "    return [items[i:i + n] for i in range(0, len(items), n)]",
        "def pieces(items, n):\\n    if n < 1:\\n        raise ValueError(n)\\n    out = []\\n"
        "    while items:\\n        out, items = out + [items[:n]], items[n:]\\n    return out",
        "def pieces(items, n):\\n    if n < 1:\\n        raise ValueError(n)\\n"
        "    return tuple(tuple(items[i * n:(i + 1) * n]) for i in range(-(-len(items) // n)))",
    )),
    "first_loss": Exercise(lambda: [()], (
        Mutant("bits", "math.log(", "math.log2(", "the loss is counted in bits", "Which logarithm does torch take?"),
        Mutant("probability", "math.log(4096)", "1 / 4096", "a probability is taken for a loss", "What is lost?"),
    ), twin, (
        "def first_loss():\\n    return 12 * math.log(2)",
        "def first_loss():\\n    return -math.log(1 / 4096)",
        "def first_loss():\\n    return torch.nn.functional.cross_entropy(torch.zeros(1, 4096), torch.tensor([3]))",
    ), tolerance=0.001),
}
PREDICTIONS, RECALL = {}, (twin,)
"""

CHILD = """
import importlib, json, sys
from pathlib import Path
from minigpt.classroom import bank, lessons
here = Path(__file__).parent
lessons.SOLUTIONS, lessons.STEMS["91"] = here / "solutions", "91_planted"
bank.__path__.append(str(here / "bank"))
sys.exit(importlib.import_module("minigpt.classroom.grade")._child(**json.loads(sys.argv[1])))
"""


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """The lesson 91 with its bank; check_file's process finds it too."""
    (tmp_path / "solutions" / "source").mkdir(parents=True)
    (tmp_path / "bank").mkdir()
    (tmp_path / "solutions" / "source" / "91.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "bank" / "91.py").write_text(BANK, encoding="utf-8")
    (tmp_path / "child.py").write_text(CHILD, encoding="utf-8")
    monkeypatch.setenv("MINIGPT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MINIGPT_EXPECT", raising=False)
    monkeypatch.setattr(lessons, "SOLUTIONS", tmp_path / "solutions")
    monkeypatch.setitem(lessons.STEMS, "91", "91_planted")
    monkeypatch.setattr(bank, "__path__", [*bank.__path__, str(tmp_path / "bank")])
    monkeypatch.setattr(grade, "COMMAND", [sys.executable, str(tmp_path / "child.py")])
    caches = lessons.statements, bank.load, checker.known, checker._page

    def forget():
        sys.modules.pop("minigpt.classroom.bank.91", None)
        for function in caches:
            function.cache_clear()

    forget()
    yield tmp_path
    forget()


def right(q, k):
    return q @ k.T / math.sqrt(q.shape[-1])


# the bank.


def test_the_bank_is_proven(planted):
    found = proof.self_test(["91"])
    assert proof.reached(found), found
    assert (found["exercises"], found["mutants"], found["variants"]) == (3, 13, 9)
    assert found["mutants"] == found["rejected"] == found["diagnosed"] and found["variants"] == found["accepted"]


@pytest.mark.parametrize(
    "old, new, where",
    [
        ('"i + n", "i + n - 1"', '"i + n", "n + i"', "not_rejected"),  # a mutant that is right
        ('"* math", "the scores grow', '"+ 0 * math", "the scores grow', "misdiagnosed"),  # two that are one
        ("** -0.5", "** -0.4", "refused"),
        ('"/ math"', '"/ maths"', "problems"),  # replaces nothing
        ('"bits", "math.log(", "math.log2("', '"bits", "", "def other(): return 1"', "problems"),
        ("(q @ k.T > 0)", "(q @ k.T < 0)", "problems"),  # a property that the reference breaks
        ("    ), tolerance=0.001),\n", "    )[:2], tolerance=0.001),\n", "problems"),  # two variants
        ('"pieces": Exercise', '"bits": Exercise', "problems"),  # no such exercise
    ],
)
def test_the_self_test_finds_what_is_wrong_with_a_bank(planted, old, new, where):
    assert BANK.count(old) == 1
    (planted / "bank" / "91.py").write_text(BANK.replace(old, new), encoding="utf-8")
    importlib.invalidate_caches()
    found = proof.self_test(["91"])
    assert found[where], found
    assert where == "problems" or found["rejected"] == found["mutants"] - (where == "not_rejected")
    if where != "misdiagnosed":
        assert not proof.reached(found)


def test_a_reference_that_changes_its_first_case_is_found(planted):
    source = planted / "solutions" / "source" / "91.py"
    right = "    return q @ k.T / math"
    source.write_text(SOURCE.replace(right, f"    if len(q) == 3:\n        q += 1\n{right}"), encoding="utf-8")
    lessons.statements.cache_clear()
    assert "changes its arguments in case 0." in " ".join(proof.self_test(["91"])["problems"])


def test_a_stub_that_is_not_to_do_is_found(planted):
    source = planted / "solutions" / "source" / "91.py"
    source.write_text(SOURCE.replace("core · answered", "core"), encoding="utf-8")
    lessons.statements.cache_clear()
    stub = checker.build("91.pieces", lessons.exercise("91.pieces").stub, "stub")
    assert checker.examine("91.pieces", stub).status == "todo"  # unchanged, whatever it returns
    said = lessons.exercise("91.pieces").stub.replace("n):\n", "n):\n    # not yet\n    'Cuts.'\n\n", 1)
    assert checker.examine("91.pieces", checker.build("91.pieces", said, "noted")).status == "todo"
    assert proof.self_test(["91"])["not_rejected"] == ["91.pieces last: not attempted yet."]  # so it can be no mutant
    source.write_text(SOURCE.replace("core · idea: the loss", "core · answered · idea: the loss"), encoding="utf-8")
    lessons.statements.cache_clear()
    assert "stub is todo" in " ".join(proof.self_test(["91"])["problems"])


# one answer.


def test_right_answers_pass_in_a_line(planted, capsys):
    checker.check("91.scores", right)
    assert capsys.readouterr().out == "[passed] 91.scores: right, on 2 cases.\n"
    assert checker.examine("91.scores", lambda q, k: right(q, k).requires_grad_()).status == "passed"
    assert checker.examine("91.first_loss", lambda: np.float32(8.3178)).status == "passed"


def test_a_check_is_fast(planted):
    checker.examine("91.scores", right)
    start = time.perf_counter()
    for _ in range(5):
        checker.examine("91.scores", lambda q, k: q @ k.T)
    assert (time.perf_counter() - start) / 5 < 0.2


@pytest.mark.parametrize(
    "answer, said",
    [
        (lambda q, k: None, "your result is None, and should be a tensor of shape (3, 5). Is a `return` missing?"),
        (lambda q, k: right(q, k).tolist(), "your result is a list, and should be a tensor"),
        (lambda q, k: right(q, k).numpy(), "your result is an array of shape (3, 5), and should be a tensor"),
        (lambda q, k: right(q, k)[0], "your result has shape (5,), and should have (3, 5)"),
        (lambda q, k: right(q, k).double(), "your result has dtype float64, and should have float32"),
        (lambda q, k: right(q, k).to("meta"), "your result is on the device meta, and should be on cpu"),
        (lambda q, k: right(q, k).where(torch.arange(len(k)) != 3, math.nan), "your result[0, 3] is NaN"),
        (lambda q, k: -right(q, k), "A score must keep the sign of its product.\nFor"),
        (lambda q, k: right(q, k) + torch.eye(*right(q, k).shape) * 1e-3, "your result[0, 0] is "),
        (lambda q, k: right(q.mul_(1), k.add_(1).sub_(1).mul_(2)) / 2, "your function changes its argument"),
    ],
)  # fmt: skip
def test_wrong_answers_are_told_what_is_wrong_first(planted, answer, said):
    result = checker.examine("91.scores", answer)
    assert (result.status, result.misconception) == ("wrong", None)
    assert said in result.message
    assert "sqrt" not in result.message


def test_the_order_of_feedback_holds_across_the_cases(planted):
    def answer(q, k):  # a wrong value in the first case, a wrong shape in the second
        return q @ k.T if len(q) == 3 else right(q, k)[:1]

    assert "has shape (1, 4), and should have (2, 4)" in checker.examine("91.scores", answer).message


def test_the_idea_behind_a_result_is_named(planted):
    result = checker.examine("91.scores", lambda q, k: torch.einsum("td,sd->ts", q, k) / q.shape[1])
    assert result.misconception == "by_d"
    assert result.message == ("Your result is what one gets when the scores are divided by {d}. "
                              "Ask yourself: Or by its root?")  # fmt: skip
    # after the sentence on its shape, when there is one
    result = checker.examine("91.scores", lambda q, k: right(k, q))
    assert result.misconception == "transposed" and "has shape" in result.message.splitlines()[0]
    # and with the wrong dtype as well; a wrong dtype alone is no idea
    assert checker.examine("91.scores", lambda q, k: (q @ k.T).double()).misconception == "no_scale"
    # an error, if it is the very same one in every case
    result = checker.examine("91.scores", lambda q, k: q @ k)
    assert (result.status, result.misconception) == ("error", "not_transposed")
    assert checker.examine("91.scores", lambda q, k: torch.zeros(2, 9) @ q).misconception is None
    # a function that should have raised
    result = checker.examine(
        "91.pieces", lambda items, n: [items[i : i + n] for i in range(0, len(items), n or 9)][: n * 9]
    )
    assert result.misconception == "unchecked" and "should raise ValueError, and returned []" in result.message
    # changing what belongs to the caller, with a right result
    result = checker.examine("91.scores", lambda q, k: right(q.mul_(2), k) / 2)
    assert (result.status, result.misconception) == ("wrong", "in_place")


def test_two_ideas_with_the_same_result_are_not_guessed_between(planted):
    text = BANK.replace('"* math", "the scores grow', '"+ 0 * math", "the scores grow')
    (planted / "bank" / "91.py").write_text(text, encoding="utf-8")
    importlib.invalidate_caches()
    assert checker.examine("91.scores", lambda q, k: q @ k.T).misconception is None
    text = text.replace("the scores grow with d", "the scores are not scaled")  # one text: one idea
    (planted / "bank" / "91.py").write_text(text + "\n", encoding="utf-8")
    sys.modules.pop("minigpt.classroom.bank.91")
    bank.load.cache_clear()
    assert checker.examine("91.scores", lambda q, k: q @ k.T).misconception == "no_scale"


def test_a_second_mistake_in_the_dtype_alone_names_nothing(planted):
    double = (
        'Mutant("double", "q @ k.T", "q.double() @ k.double().T", "doubles are used", "Which dtype is asked for?"),'
    )
    anchor = '        Mutant("by_d"'
    (planted / "bank" / "91.py").write_text(BANK.replace(anchor, f"        {double}\n{anchor}"), encoding="utf-8")
    importlib.invalidate_caches()
    assert checker.examine("91.scores", lambda q, k: right(q, k).double()).misconception == "double"
    assert checker.examine("91.scores", lambda q, k: right(q, k).to(torch.complex64)).misconception is None
    assert checker.examine("91.scores", lambda q, k: (q @ k.T).double()).misconception == "no_scale"


def test_an_answer_without_arguments_is_not_given_away(planted):
    message = checker.examine("91.first_loss", lambda: 7.5).message
    assert message == "Your result is 7.5, and that is not right."


def test_todo(planted):
    scope = {}
    for source in ('def scores(q, k):\n    raise NotImplementedError("your code here")',
                   "def scores(q, k):\n    if len(q):\n        raise NotImplementedError"):  # fmt: skip
        exec(source, scope)
        assert checker.examine("91.scores", scope["scores"]).status == "todo"
    # what torch has not implemented is an error, and no answer that is still to do
    result = checker.examine("91.scores", lambda q, k: torch.softmax(torch.ones(2, dtype=torch.int64), 0))
    assert result.status == "error" and "NotImplementedError" in result.message
    stub = checker.build("91.pieces", lessons.exercise("91.pieces").stub, "stub")
    result = checker.examine("91.pieces", stub)  # answered: diagnosed like any answer
    assert (result.status, result.misconception) == ("wrong", "last")


def test_the_course_expects_a_status(planted, monkeypatch):
    stub = checker.build("91.pieces", lessons.exercise("91.pieces").stub, "stub")
    monkeypatch.setenv("MINIGPT_EXPECT", "todo")
    checker.check("91.pieces", stub)
    with pytest.raises(AssertionError, match="should be todo and is passed"):
        checker.check("91.scores", right)
    monkeypatch.setenv("MINIGPT_EXPECT", "passed")
    checker.check("91.scores", right)
    with pytest.raises(AssertionError, match="should be passed and is wrong"):
        checker.check("91.pieces", stub)


# bad input.


def leaves(q, k):
    raise SystemExit(3)


def divides(q, k):
    nothing = len(q) - len(q)
    return q / (1 // nothing)


def interrupted(q, k):
    raise KeyboardInterrupt


def missing(q, k):
    import no_such_package

    return no_such_package.scores(q, k)


@pytest.mark.parametrize(
    "answer, said",
    [
        (leaves, "raised SystemExit: 3 (it asks Python to stop; return a value instead)"),
        (divides, "raised ZeroDivisionError"),
        (divides, "`return q / (1 // nothing)`"),
        (interrupted, "interrupted."),
        (missing, "No module named 'no_such_package'"),
        (lambda q: q, "takes 1 positional argument but 2 were given"),
        (right(torch.ones(2, 3), torch.ones(2, 3)), "hand over the function itself"),
        (None, "hand over the function itself"),
    ],
)
def test_errors_are_told_and_never_raised(planted, answer, said, capsys):
    checker.check("91.scores", answer)
    shown = capsys.readouterr().out
    assert shown.startswith("[error] 91.scores: ") and said in shown


def holds_itself(items, n):
    items.append(items)
    return items


def test_nothing_that_an_answer_does_makes_the_checker_fail(planted, capsys):
    for answer in (holds_itself, lambda items, n: print("half of \ud83d"), lambda items, n: {items[0]: "\ud83d"}):
        checker.check("91.pieces", answer)
    shown = capsys.readouterr().out
    assert shown.count("[wrong] ") == 2 and "Half" not in shown and "failed" not in shown
    for name in (holds_itself, None, 91, "91", "\ud83d"):
        checker.check(name, "91.pieces")
        assert checker.examine(name, holds_itself).status == "error"
    assert len(journal.read()) == 3  # what names no exercise is no attempt


def test_what_cannot_be_compared_is_wrong(planted):
    class Odd:
        def __eq__(self, other):
            raise RuntimeError("no")

        __hash__ = object.__hash__

    odd = Odd()
    assert checker.examine("91.scores", lambda q, k: odd).status == "wrong"
    assert checker.examine("91.pieces", lambda items, n: {odd: 1}).status == "wrong"
    assert checker.examine("91.pieces", lambda items, n: (x for x in items)).status == "wrong"


def test_an_unknown_exercise_names_the_nearest(planted, capsys):
    checker.check("91.score", right)
    assert "did you mean 91.scores" in capsys.readouterr().out
    with pytest.raises(UserError, match="91.scores"):
        grade.check_file("91.score")
    with pytest.raises(UserError, match="no exercises yet"):
        grade.check_file("24")


def test_what_a_function_prints_is_shown_in_part(planted, capsys):
    def talks(q, k):
        for i in range(20_000):
            print("line", i)
        print("aside", file=sys.stderr)
        return right(q, k)

    checker.check("91.scores", talks)
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith("[passed]") and lines[2] == "  line 0" and lines[-2] == "  line 19"
    assert lines[-1] == f"  … {2 * 20_001 - 20} more" and not captured.err


def test_random_numbers_go_on_as_if_nothing_had_been_drawn(planted):
    def draws():
        return random.random(), np.random.rand(), torch.rand(1).item()

    def seed():
        random.seed(5), np.random.seed(5), torch.manual_seed(5)

    seen = []
    seed()
    undisturbed = draws()
    seed()
    checker.examine("91.scores", lambda q, k: seen.append(draws()))
    assert draws() == undisturbed
    seed(), draws()
    checker.examine("91.scores", lambda q, k: seen.append(draws()))
    assert seen[:2] == seen[2:]  # each run of the function draws the same


# the journal.


def test_the_second_time_a_hint_is_offered(planted, capsys):
    checker.check("91.scores", lambda q, k: q @ k.T)
    assert "hint(" not in capsys.readouterr().out
    checker.check("91.scores", lambda q, k: q @ k.T / q.shape[1])
    assert "hint(" not in capsys.readouterr().out  # another idea
    checker.check("91.scores", lambda q, k: q @ k.T)
    assert "hint(" not in capsys.readouterr().out  # the same answer, checked again
    checker.check("91.scores", lambda q, k: (k @ q.T).T)
    assert 'A hint: hint("91.scores")' in capsys.readouterr().out
    (planted / "mine.py").write_text("def scores(q, k):\n    return q @ k.T\n", encoding="utf-8")
    (result,) = grade.check_file("91.scores", planted / "mine.py")  # from the command line
    assert result.message.endswith("A hint: python3 course.py hint 91.scores")


def test_a_wrong_answer_that_nothing_explains_is_kept(planted):
    def scores(q, k):
        """By Ada Lovelace."""
        return right(q, k) + 1  # Ada

    checker.check("91.scores", scores)
    checker.check("91.scores", right)
    checker.check("91.scores", lambda q, k: q @ k.T)
    unexplained, passed, named = journal.read()
    assert unexplained["code"] == "def scores(q, k):\n    return right(q, k) + 1"
    assert "code" not in passed and passed["status"] == "passed"
    assert "code" not in named and named["misconception"] == "no_scale"
    assert not any("test_check" in str(value) for entry in journal.read() for value in entry.values())


def test_so_is_one_that_raises_but_not_what_says_nothing_of_an_idea(planted, monkeypatch):
    def shifted(q, k):
        return q @ k[1:, 1:].T  # 7 columns against 6

    def imports(q, k):
        import not_there

    def parses(q, k):
        return eval("q @")

    def interrupted(q, k):
        raise KeyboardInterrupt

    for answer in (shifted, imports, parses, interrupted):
        checker.check("91.scores", answer)
    first, *others = journal.read()
    assert first["status"] == "error" and first["code"] == "def shifted(q, k):\n    return q @ k[1:, 1:].T"
    assert len(others) == 3 and not any("code" in entry for entry in others)
    (planted / "mine.py").write_text(
        "import time\ndef scores(q, k):\n    time.sleep(99)\ndef pieces(items, n):\n    return items[n\n"
    )
    grade.check_file("91", planted / "mine.py", limit=1.5)
    late = [entry for entry in journal.read()[4:] if entry["status"] == "error"]
    assert {entry["exercise"] for entry in late} == {"91.scores", "91.pieces"}
    assert not any("code" in entry for entry in late)


def test_the_hash_of_an_answer_is_that_of_its_code(planted, monkeypatch):
    def hashes(*sources):
        for source in sources:
            (planted / "mine.py").write_text(source, encoding="utf-8")
            grade.check_file("91.scores", planted / "mine.py", limit=1.5)
        return [entry["answer"] for entry in journal.read()[-len(sources) :]]

    same = hashes(
        "def scores(q, k):\n    return q @ k\n",
        'x = 1\n\n\ndef scores(q,k):\n    """Now with words."""\n    return (q @\n            k)  # and comments\n',
    )
    other = hashes("def scores(q, k):\n    return k @ q\n")
    assert same[0] == same[1] != other[0] and len(other[0]) == 10
    hangs = "def scores(q, k):\n    while True:\n        "
    one, two = hashes(hangs + "q = 1\n", hangs + "q = 2\n")
    assert one != two  # known before it hangs
    one, two = hashes(*["def scores(q, k:\n    pass\n"] * 2)
    assert one == two  # what is not defined: the same complaint


def test_a_home_that_cannot_be_written_changes_nothing(planted, monkeypatch, capsys):
    (planted / "file").write_text("")
    monkeypatch.setenv("MINIGPT_HOME", str(planted / "file"))
    checker.check("91.scores", right)
    assert capsys.readouterr().out.startswith("[passed]")


def test_a_corrupted_journal_changes_nothing(planted, capsys):
    checker.check("91.scores", lambda q, k: q @ k.T)
    with open(planted / "home" / "journal.jsonl", "ab") as file:
        file.write(b'\xff{"kind": "check"\n{"kind": "check", "time": 3}\n' + b"[" * 100_000 + b'\n{"time": "')
    checker.check("91.scores", lambda q, k: (k @ q.T).T)
    assert "A hint:" in capsys.readouterr().out


# a file.

NOTEBOOK = [
    ("markdown", "# Mine"),
    (
        "code",
        "%matplotlib inline\n!ls\nimport math\nimport torch\nimport not_there\nprint('noise' * 1000)\nraise SystemExit",
    ),
    ("code", "def scores(q, k):\n    print('inside')\n    return q @ k.T / math.sqrt(q.shape[-1])\n\nscores(1, 2)"),
    ("code", "def pieces(items, n):\n    out = [\n\n\ndef helper():\n    return 7.5"),
    ("code", "def first_loss():\n    return helper() + not_there.zero"),
    ("code", "check('91.first_loss', first_loss)"),
]


def write_notebook(path, cells):
    cells = [{"cell_type": kind, "source": source.splitlines(keepends=True), "metadata": {}} for kind, source in cells]
    path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}), encoding="utf-8")
    return path


def test_a_notebook_with_an_unfinished_cell_costs_that_cell_only(planted):
    scores, pieces, first_loss = grade.check_file("91", write_notebook(planted / "mine.ipynb", NOTEBOOK))
    assert scores.status == "passed" and scores.message.endswith("Your code printed:\n  inside\n  inside")
    assert pieces.status == "error"
    assert pieces.message == "line 2 of code cell 3: SyntaxError: '[' was never closed: `out = [`"
    assert first_loss.status == "error"
    assert "in line 2 of code cell 4: `return helper() + not_there.zero`" in first_loss.message
    assert "No module named 'not_there': `import not_there`" in first_loss.message
    assert [entry["status"] for entry in journal.read()] == ["passed", "error", "error"]


def test_a_python_file(planted):
    path = planted / "mine.py"
    path.write_text("import math\n\ndef scores(q, k):\n    return q @ k.T\n\n# %%\ndef first_loss()\n    return 1\n")
    scores, pieces, first_loss = grade.check_file("91", path)
    assert (scores.status, scores.misconception) == ("wrong", "no_scale")
    assert pieces.status == "todo" and "does not define pieces yet" in pieces.message
    assert first_loss.message == "line 7: SyntaxError: expected ':': `def first_loss()`"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not a notebook or a Python file"):
        grade.check_file("91", path)
    with pytest.raises(UserError, match="cannot be read"):
        grade.check_file("91.scores", planted / "none.ipynb")


def test_what_never_ends_is_ended_and_the_rest_goes_on(planted):
    path = planted / "mine.py"
    path.write_text(
        "import math, os\n"
        "def scores(q, k):\n    while True:\n        pass\n"
        "def pieces(items, n):\n    os._exit(7)\n"
        "def first_loss():\n    return math.log(4096)\n"
        "if math:\n    stuck = [1 for _ in iter(int, 1)]\n"
    )
    scores, pieces, first_loss = grade.check_file("91", path, limit=1)
    assert scores.status == "error" and "did not finish within 1 s: is there a loop without an end?" in scores.message
    assert pieces.status == "error" and "ended the whole process (exit code 7)" in pieces.message
    assert first_loss.status == "passed"


def test_what_a_file_defines_is_what_its_notebook_defines(planted):
    path = planted / "mine.py"
    path.write_text(
        "from __future__ import annotations\nimport contextlib, math\n"
        "with contextlib.suppress(KeyError):\n    length = 4096\n"
        "for factor in [2]:\n    length, power = 2048 * factor, 12\n"
        "def first_loss(x: Nowhere = 0):\n    return math.log(length)\n"
        "def pieces(items, n):\n    return power\n"
        "def scores(q, k):\n" + "    return " + "-" * 100_000 + "q\n"
    )  # fmt: skip
    scores, pieces, first_loss = grade.check_file("91", path)
    assert first_loss.status == "passed", first_loss.message
    assert pieces.message.endswith("line 5: a loop or `match` outside of a function is not run when a file is checked")
    assert scores.status == "error" and "line 11" in scores.message


def test_an_answer_that_holds_itself_ends_no_process(planted):
    path = planted / "mine.py"
    path.write_text("def pieces(items, n):\n    items.append(items)\n    return items\n", encoding="utf-8")
    (result,) = grade.check_file("91.pieces", path)
    assert result.status == "wrong" and "ended" not in result.message


def test_load_functions_gives_what_mine_needs(planted):
    namespace, errors = load_functions(write_notebook(planted / "mine.ipynb", NOTEBOOK))
    assert namespace["helper"]() == 7.5 and "pieces" not in namespace
    assert set(errors) == {"not_there", "pieces"}
    assert checker.examine("91.scores", namespace["scores"]).status == "passed"


def test_the_verb(planted, capsys):
    path = planted / "mine.py"
    path.write_text("import math\n\ndef scores(q, k):\n    return q @ k.T / math.sqrt(q.shape[-1])\n")
    assert grade.check_verb("91.scores", str(path), json=True) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert set(result) == {"name", "status", "misconception", "message", "seconds"}
    assert (result["name"], result["status"], result["misconception"]) == ("91.scores", "passed", None)
    assert grade.check_verb("91", str(path)) == 1
    assert "1 of 3 passed." in capsys.readouterr().out
    assert grade.check_verb("91_planted", str(path)) == 1 and "1 of 3" in capsys.readouterr().out
    with pytest.raises(UserError, match="91.scores"):
        grade.check_verb("91.scoers", str(path))
    for target, says in (("91.nope", "whole lesson: give its number, 91"), ("nope", "numbered like 04")):
        with pytest.raises(UserError, match=says):
            grade.check_verb(target, self_test=True)
    assert grade.check_verb("91", json=True, self_test=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"exercises", "mutants", "rejected", "diagnosed", "variants", "accepted"} <= set(found)


# comparing.


@pytest.mark.parametrize(
    "got, expected",
    [
        (3, 3.0), (np.float32(3), 3), (torch.tensor(3), 3), (3, torch.tensor(3.0)), (np.bool_(True), True),
        (math.nan, math.nan), (math.inf, math.inf), ([1, (2, 3)], ([1], [2, 3])[:0] + ((1), [2, 3])), ("a", "a"),
        (1.000009, 1.0), (Counter("aab"), {"b": 1, "a": 2}), (b"\xff", b"\xff"), (6e20, 6 * 10**20), ({1, 2}, {2, 1}),
        (torch.tensor([1.0, math.nan, -math.inf]), torch.tensor([1.0, math.nan, -math.inf])),
        (torch.ones(2, requires_grad=True), torch.ones(2)), (torch.nn.Parameter(torch.ones(2)), torch.ones(2)),
        (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16)), (None, None),
    ],
)  # fmt: skip
def test_the_same(got, expected):
    assert compare(got, expected) is None


@pytest.mark.parametrize(
    "got, expected, kind",
    [
        (3, 4, "value"), (100_001, 100_000, "value"), (3.1, 3, "value"), (1, True, "type"), ("3", 3, "type"),
        (1.0, math.inf, "value"), (math.nan, 1.0, "nan"), ([1, 2], [1, 2, 3], "shape"), ([1, [2]], [1, 2], "type"),
        (b"a", "a", "type"), ("ab", "ac", "value"), ({"a": 1}, {"a": 1, "b": 2}, "shape"), (None, 0, "type"),
        (torch.zeros(1), 0, "type"), (torch.zeros(1), torch.tensor(0.0), "shape"), (1.00003, 1.0, "value"),
        (torch.zeros(2, dtype=torch.int32), torch.zeros(2, dtype=torch.int64), "dtype"),
        (torch.zeros(2, 3), torch.zeros(3, 2), "shape"), (torch.tensor([1, 2]), torch.tensor([1, 3]), "value"),
        (torch.tensor([7.0, -math.inf]), torch.tensor([7.0, math.inf]), "value"),
        (torch.tensor([7.0, 1.0]), torch.tensor([7.0, math.inf]), "value"),
        ([0, math.nan, "x"], [1, 2.0, 3], "type"), ([0, math.nan], [1, 2.0], "nan"),  # the first worth telling
        (torch.zeros((), device="meta"), 0.0, "device"),
    ],
)  # fmt: skip
def test_different(got, expected, kind):
    assert compare(got, expected).kind == kind


def test_the_place_of_a_difference_is_told():
    assert compare([1, {"a": torch.eye(2)}], [1, {"a": torch.ones(2, 2)}]).sentence() == (
        "your result[1]['a'][0, 1] is 0, and should be 1.")  # fmt: skip
    assert compare([1], [1, 2]).sentence() == "your result has 1 item, and should have 2."
    assert compare(0.1 + 2e-9, 0.1, 1e-9).sentence() == "your result is 0.100000002, and should be 0.1."
    long = compare("a" * 90 + "bc", "a" * 90 + "bd").sentence()
    assert long == "your result[76:126] is 'aaaaaaaaaaaaaabc', and should be 'aaaaaaaaaaaaaabd'."


def test_sets_are_told_by_what_they_hold():
    many = set(range(100, 160))
    assert compare(many | {7}, many).sentence() == "your result holds 7, and should not hold it."
    assert compare(many | {7}, many).sentence(secret=True) == "your result holds 7, and that is not right."
    assert compare(many - {100}, many).sentence() == "your result holds 59 of its items, and should hold 60."
    assert compare(frozenset("ab"), {"b", "a"}) is None and compare(["a"], {"a"}).kind == "type"


def test_a_small_dictionary_is_told_whole():
    words = {("a", "b"): 3, ("c", "d", "e"): 7, ("f", "a", "b"): 2, ("c", "c"): 11}
    assert 40 < len(repr(words)) < 200 and short(words) == repr(words)
    assert short([1] * 50) == "[" + "1, " * 12 + "1,…" and len(short({0: "x" * 300})) == 200
