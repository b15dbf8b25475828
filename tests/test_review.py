"""Predictions, the schedule of what comes back, and the questions of `ready`, whose answers others compute here."""
import ast
import importlib
import json
import math
import posixpath
import random
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import keep, kept, line

from minigpt.classroom import journal, ready
from minigpt.classroom.bank import Question
from minigpt.config import UserError

review = importlib.import_module("minigpt.classroom.review")  # the package gives the function of this name


def types(monkeypatch, answers):
    """Somebody types these answers, then leaves; returns the prompts."""
    left, prompts = list(answers), []
    monkeypatch.setattr(review, "interactive", lambda: True)
    monkeypatch.setattr(review, "ask", lambda prompt: prompts.append(prompt) or (left.pop(0) if left else None))
    return prompts


# ---- answers


@pytest.mark.parametrize(
    "text, value",
    [
        ("1e6", 1e6),
        ("3/4", 0.75),
        ("0.75", 0.75),
        ("75%", 0.75),
        (" 75 % ", 0.75),
        (".5", 0.5),
        ("-3", -3),
        ("1,234,567", 1234567),
        ("1_000", 1000),
        ("2^16", 65536),
        ("2**-3", 0.125),
        ("−4", -4),
        ("1/8%", 0.00125),
        ("7.", 7),
        ("1E-3", 0.001),
        ("", None),
        ("many", None),
        ("0,75", None),
        ("1,2", None),
        ("1/0", None),
        ("9**9999", None),
        ("(-8)", None),
        ("1e999", None),
        ("nan", None),
        ("inf", None),
        ("1 2", None),
        ("0,750", None),
        ("-8^0.5", None),
        ("__import__('os')", None),
    ],
)
def test_numbers_as_people_write_them(text, value):
    assert review.number(text) == (value if value is None else pytest.approx(value))


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 10**6))
def test_what_python_prints_is_read_back(x, n):
    assert review.number(repr(x)) == x and review.number(f"{n:,}") == n == review.number(str(n))


@pytest.mark.parametrize(
    "guess, truth, tolerance, right",
    [
        (104, 100, 0.05, True),
        (106, 100, 0.05, False),
        (-96, -100, 0.05, True),
        ("95.5", 100, 0.05, True),
        (0, 0, 0.0, True),
        (0.01, 0, 0.05, False),
        ("75%", 0.75, 0.0, True),
        ("75%", 75, 0.0, True),
        ("50%", 75, 0.0, False),
        ("many", 3, 1.0, None),
        ("Rows.", "rows", 0.0, True),
        ("  the   ROWS", "the rows", 0.0, True),
        ("columns", "rows", 0.0, False),
        (7, "7", 0.0, True),
        ([1, 2.05], [1, 2], 0.05, True),
        ((1, 3), [1, 2], 0.05, False),
        ([1], [1, 2], 0.0, False),
        ([1, 2, 3], [1, 2], 0.0, False),
        ("4, 3", [4, 3], 0.0, True),
        ("(4,3)", [4, 3], 0.0, True),
        ("4 3", (4, 3), 0.0, True),
        ("4, x", [4, 3], 0.0, None),
        (3, [4, 3], 0.0, None),
        ([3], 3, 0.0, None),
        (None, 3, 0.0, None),
        ("yes", True, 0.0, True),
        ("No", True, 0.0, False),
        (True, True, 0.0, True),
        ("maybe", True, 0.0, None),
        (float("nan"), 3, 0.5, False),
        ("", 3, 0.0, None),
    ],
)
def test_matches(guess, truth, tolerance, right):
    assert review.matches(guess, truth, tolerance) is right


def test_tensors_and_arrays_are_answers_too():
    import numpy as np
    import torch

    assert (
        review.matches(torch.tensor(0.5), 0.5)
        and review.matches(np.float32(2), 2)
        and review.matches(0.25, torch.tensor(0.25))
    )
    assert review.matches(torch.tensor([[1, 2, 3], [4, 5, 6]]), [[1, 2, 3], [4, 5, 6]])
    assert not review.matches(np.array([1, 2, 3]), [1, 2, 4])
    assert review.shown(torch.tensor([1.0, 0.333333])) == "1, 0.3333" and review.shown(1234567.0) == "1,234,567"


# ---- reveal


def test_reveal_keeps_guess_and_truth(root, capsys):
    review.reveal("23.p1", 1.02)
    review.reveal("23.p1", 1.2)
    review.reveal("23.p2", "90", truth=100)
    review.reveal("23.p3", [0.25, 0.75])
    out = capsys.readouterr().out
    assert "Hit: you said 1.02, and it is 1. Five fifths are one." in out
    assert "Miss: you said 1.2, and it is 1." in out and "Miss: you said 90, and it is 100. As measured." in out
    assert [(e["id"], e["guess"], e["truth"], e["hit"]) for e in kept(root)] == [
        ("23.p1", 1.02, 1.0, True),
        ("23.p1", 1.2, 1.0, False),
        ("23.p2", "90", 100, False),
        ("23.p3", [0.25, 0.75], [0.25, 0.75], True),
    ]


def test_without_a_guess_there_is_no_score(root, capsys):
    review.reveal("23.p1", None)
    out = capsys.readouterr().out
    assert "It is 1. Five fifths are one." in out and "set a guess before" in out and "Miss" not in out
    assert [e["hit"] for e in kept(root)] == [None]
    assert not [item for item in review.schedule(journal.read()) if item.name.startswith("prediction")]


@pytest.mark.parametrize(
    "id, guess, says",
    [
        ("23.p9", 1, "choose from 23.p1"),
        ("p1", 1, "no prediction"),
        (0.25, "23.p1", 'reveal("04.p1", guess)'),
        ([], 1, "reveal cannot go on (TypeError: unhashable"),
        ("23.p1", "half of \ud83d", "a number"),
        ("77.p1", 1, "no prediction"),
        ("23.p1", "a lot", "a number"),
        ("23.p3", 0.5, "2 values"),
        ("23.p2", 5, 'hand over what you measured: reveal("23.p2", guess, truth)'),
        ("23.p4", 5, "ZeroDivisionError"),
        ("", 1, "no prediction"),
    ],
)
def test_reveal_never_raises_and_scores_nothing_it_cannot_read(root, capsys, id, guess, says):
    review.reveal(id, guess)
    assert says in capsys.readouterr().out and not kept(root)


def test_a_truth_that_equals_nothing_is_refused(root, capsys):
    for truth in (math.nan, {}, [None]):
        review.reveal("23.p2", 5, truth)
    assert capsys.readouterr().out.count("nothing that a guess can be compared with") == 3 and not kept(root)


# ---- the schedule


def due_in_days(root, name):
    (item,) = [item for item in review.schedule(journal.read()) if item.name == name]
    return (item.due - datetime.now(UTC)).total_seconds() / 86400


@given(st.lists(st.booleans(), max_size=8))
def test_right_answers_lengthen_the_wait_and_a_wrong_one_goes_back_to_three_days(answers):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    past = [{"time": start, "kind": "solution", "exercise": "04.x"}]
    past += [
        {"time": start + timedelta(days=100 * (i + 1)), "kind": "review", "item": "twin:04.x", "right": right}
        for i, right in enumerate(answers)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(review, "_brings", lambda e: [("twin:04.x", None)] if e["kind"] == "solution" else [])
        (item,) = review.schedule(past)
    in_a_row = len("".join("xo"[right] for right in answers).rpartition("x")[2])
    assert item.due - past[-1]["time"] == timedelta(days=[3, 7, 21, 60][min(in_a_row, 3)])


def test_a_twin_comes_three_days_after_the_solution(root):
    keep(root, line("solution", 1, exercise="23.weighted_mean"))
    assert due_in_days(root, "twin:23.weighted_mean") == pytest.approx(2, abs=0.01)
    keep(root, line("solution", 0, exercise="23.weighted_mean"))
    assert due_in_days(root, "twin:23.weighted_mean") == pytest.approx(2, abs=0.01)  # looking again changes nothing


def test_a_missed_prediction_comes_back_and_a_hit_does_not(root):
    keep(
        root,
        line("reveal", 5, id="23.p1", guess=3, truth=1.0, hit=False),
        line("reveal", id="23.p3", guess=[], truth=[], hit=True),
    )
    keep(root, line("reveal", 4, id="23.p2", guess=3, truth=77, hit=False))
    names = [item.name for item in review.schedule(journal.read())]
    assert "prediction:23.p1" in names and "prediction:23.p2" in names and "prediction:23.p3" not in names
    (measured,) = [item for item in review.schedule(journal.read()) if item.name == "prediction:23.p2"]
    assert measured.make(random.Random(0)).answer == 77  # what the lesson measured then


def test_a_truth_that_is_damaged_or_cannot_be_computed_stops_nobody(root, monkeypatch, capsys):
    for i, truth in enumerate((None, {}, [None], "77")):
        keep(root, line("reveal", 5 + i, id="23.p2" if i < 3 else "23.p4", guess=3, truth=truth, hit=False))
    keep(root, line("reveal", 5, id="23.p2", guess=3, hit=False))
    names = [item.name for item in review.schedule(journal.read())]
    assert [name for name in names if name.startswith("prediction")] == ["prediction:23.p4"]
    types(monkeypatch, ["77", "", ""])
    assert review.review_verb() == 0  # p4's truth raises: what it was then counts
    assert [e["right"] for e in kept(root) if e["kind"] == "review"] == [True, False, False]


@pytest.mark.parametrize(
    "entry",
    [
        dict(kind="start", lesson="23"),
        dict(kind="check", exercise="23.last_weight", status="todo"),
        dict(kind="reveal", id="23.p1", guess=None, truth=1, hit=None),
    ],
)
def test_recall_questions_enter_with_the_first_trace_of_a_lesson(root, entry):
    assert review.schedule(journal.read()) == []
    keep(root, line(days_ago=3, **entry))
    assert [item.name for item in review.schedule(journal.read())] == ["recall:23.recall_sum", "recall:23.recall_word"]
    assert due_in_days(root, "recall:23.recall_sum") == pytest.approx(0, abs=0.01)


def test_an_entry_of_something_that_is_gone_brings_nothing(root):
    keep(
        root,
        line("start", lesson="99"),
        line("solution", exercise="nothing"),
        line("ready", topic="Python", verdict="go"),
        line("review", item="recall:23.recall_sum", right=True),
    )
    assert review.schedule(journal.read()) == []


# ---- review


def full(root):
    """Six items, due since 1 to 6 days; the most overdue is the twin."""
    for name in ("weighted_mean", "last_weight"):
        keep(root, line("solution", 9, exercise=f"23.{name}"))
    for id, days in (("23.p1", 8), ("23.p2", 7)):
        keep(root, line("reveal", days, id=id, guess=3, truth=77, hit=False))
    keep(
        root,
        line("review", 5, item="recall:23.recall_word", right=False),
        line("review", 4, item="recall:23.recall_sum", right=False),
    )


def test_review_asks_the_five_most_overdue(root, monkeypatch, capsys):
    full(root)
    prompts = types(monkeypatch, ["0", "", "nonsense", "1.0", "77", "Weights", "never reached"])
    assert review.review_verb(seed=1) == 0
    asked = [(e["item"], e["right"]) for e in kept(root)[6:]]
    assert asked == [
        ("twin:23.last_weight", False),
        ("twin:23.weighted_mean", False),
        ("prediction:23.p1", True),
        ("prediction:23.p2", True),
        ("recall:23.recall_word", True),
    ]
    out = capsys.readouterr().out
    assert (
        "3 of 5 right. 1 question is due now" in out
        and "That cannot be read: write a number" in out
        and len(prompts) == 6
    )
    assert [item.name for item in review.schedule(journal.read())][0] == "recall:23.recall_sum"


def test_who_leaves_keeps_what_was_answered(root, monkeypatch, capsys):
    full(root)
    types(monkeypatch, ["0"])
    assert review.review_verb() == 0
    assert len(kept(root)) == 7 and "0 of 1 right. 5 questions are due now" in capsys.readouterr().out


def test_review_where_nobody_can_answer(root, capsys):
    full(root)
    assert review.review_verb() == 0
    assert "6 questions are due now: run `python3 course.py review`, in a terminal" in capsys.readouterr().out
    assert len(kept(root)) == 6


def test_nothing_due_says_when(root, capsys):
    assert review.review_verb() == 0
    assert "Nothing is due" in capsys.readouterr().out
    keep(root, line("start", 1, lesson="23"))
    assert review.review() is None
    when = (datetime.now(UTC) + timedelta(days=2)).astimezone()
    assert f"due on {when:%Y-%m-%d}" in capsys.readouterr().out


def test_questions_are_made_anew(root, monkeypatch, capsys):
    keep(root, line("start", 4, lesson="23"))
    texts = set()
    for _ in range(5):
        types(monkeypatch, [])
        review.review()
        texts.add(capsys.readouterr().out)
    assert len(texts) > 1


def test_deleting_a_line_loses_only_what_it_said(root):
    full(root)
    lines = [json.dumps(entry) for entry in kept(root)]
    whole = {item.name: item.due for item in review.schedule(journal.read())}
    file = root / "home/journal.jsonl"
    for index, gone in enumerate(
        ["twin:23.weighted_mean", "twin:23.last_weight", "prediction:23.p1", "prediction:23.p2"]
    ):
        file.write_text("\n".join(lines[:index] + ["{"] + lines[index + 1 :]), encoding="utf-8")
        left = {item.name: item.due for item in review.schedule(journal.read())}
        assert left == {name: due for name, due in whole.items() if name != gone}


# ---- ready


def numbers(text):
    return [int(n) for n in re.findall(r"\d+", text)]


def by_sum(text):
    import torch

    *shape, d = numbers(text)
    return list(torch.zeros(shape).sum(dim=d).shape)


def by_broadcasting(text):
    import torch

    shapes = [ast.literal_eval(s) for s in re.findall(r"\(.*?\)", text)]
    return list((torch.zeros(shapes[0]) + torch.zeros(shapes[1])).shape)


def by_matmul(text):
    import torch

    a, b, c, d = numbers(text)
    return float((torch.tensor([[a, b]]) @ torch.tensor([[0, c], [0, d]]))[0, 1])


def by_counting(text):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    a, b, _, c = numbers(text)
    with FlopCounterMode(display=False) as counter:
        torch.zeros(a, b) @ torch.zeros(b, c)
    return counter.get_total_flops() / 2  # torch counts the additions too


def by_autograd(make):
    import torch

    def slope(text):
        *coefficients, at = [n for n in numbers(text) if "²" not in str(n)]
        x = torch.tensor(float(at), requires_grad=True)
        make(x, *coefficients).backward()
        return float(x.grad)

    return slope


def by_running(text):
    _, *lines, _ = ["", *text.splitlines()]
    space = {}
    exec("\n".join(lines), space)
    return len(space["a"])


SOLVERS = {
    ready.slice_of_a_string: lambda text: eval(text.removeprefix("In Python, what is ").removesuffix("?")),
    ready.one_list_with_two_names: by_running,
    ready.sum_over_a_dimension: by_sum,
    ready.broadcasting: by_broadcasting,
    ready.entry_of_a_product: by_matmul,
    ready.multiplications: by_counting,
    ready.derivative: by_autograd(lambda x, a, b: a * x**2 + b * x),
    ready.chain_rule: by_autograd(lambda x, a, b: (a * x + b) ** 2),
    ready.logarithm: lambda text: math.log2(math.prod(numbers(text)[1:])),
    ready.bits_of_a_sequence: lambda text: -math.log2(math.prod(1 / n for n in numbers(text)[1:4:2])),
    ready.folder: lambda text: posixpath.normpath(
        posixpath.join(re.search(r"in (/\S+)", text)[1], re.search(r"cd (\S+)", text)[1])
    ),
    ready.megabytes: lambda text: len(bytes(numbers(text)[1] // 8) * numbers(text)[0]),
}


@pytest.mark.parametrize("topic", ready.TOPICS, ids=lambda topic: topic.name)
def test_the_questions_of_ready_have_the_answers_that_others_compute(topic):
    for make in (topic.basic, topic.harder):
        questions = [make(random.Random(seed)) for seed in range(30)]
        for question in questions:
            assert review.matches(SOLVERS[make](question.text), question.answer) is True, question
            assert review.matches(review.shown(question.answer), question.answer), (
                question
            )  # it can be typed as it is shown
        assert len({question.text for question in questions}) > 10


def test_ready_has_twelve_questions_on_six_topics():
    assert len(ready.TOPICS) == 6 and [topic.section for topic in ready.TOPICS] == [1, 2, 3, 4, 5, 6]


def run_ready(monkeypatch, right):
    """`right` says of each question whether it is answered well."""
    put, count = [], iter(right)

    def answer(question: Question):
        put.append(question)
        return next(count, None)

    monkeypatch.setattr(ready, "interactive", lambda: True)
    monkeypatch.setattr(ready, "put", answer)
    assert ready.ready_verb(seed=3) == 0
    return put


def test_a_verdict_for_each_topic(root, monkeypatch, capsys):
    put = run_ready(monkeypatch, [True, True, True, False, False, True, False, False, True, True, True, True])
    assert len(put) == 12
    verdicts = [e["verdict"] for e in kept(root)]
    assert verdicts[:3] == ["go", "primer §2", "primer §3"] and verdicts[3].startswith("first learn this: derivatives")
    assert verdicts[4:] == ["go", "go"] and [e["topic"] for e in kept(root)] == [topic.name for topic in ready.TOPICS]
    out = capsys.readouterr().out
    assert re.search(r"shapes and broadcasting +primer §2", out) and "Learn these first" in out


def test_ready_that_is_broken_off_keeps_whole_topics(root, monkeypatch, capsys):
    run_ready(monkeypatch, [True, True, True])
    assert [(e["topic"], e["verdict"]) for e in kept(root)] == [("Python", "go")]
    assert "1 of 6 topics" in capsys.readouterr().out


def test_ready_where_nobody_can_answer(root):
    with pytest.raises(UserError, match="in a terminal"):
        ready.ready_verb()
    assert not kept(root)


def test_the_same_seed_asks_the_same(root, monkeypatch):
    first = run_ready(monkeypatch, [False] * 12)
    assert run_ready(monkeypatch, [False] * 12) == first
