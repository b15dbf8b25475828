"""Hints, solutions, your own copy and your own parts, on a planted lesson; and how a person is talked to."""
import json
import subprocess
import sys

import pytest
from planted import keep, kept, line

from minigpt.classroom import console, hints, journal, lessons
from minigpt.config import UserError

NAME = "23.weighted_mean"
RIGHT = "def weighted_mean(values, weights):\n    return sum(v * w for v, w in zip(values, weights)) / sum(weights)\n"


def wrong(n=1):
    return [line("check", exercise=NAME, status="wrong")] * n


# ---- hints


def test_hints_come_in_order_and_the_last_after_two_attempts(root, capsys):
    levels = []
    for tried in ([], [], wrong(), [], wrong()):
        keep(root, *tried)
        try:
            levels.append(hints.next_hint(NAME)["level"])
        except UserError as error:
            levels.append(str(error))
    assert levels[:2] == [1, 2] and levels[4] == 3
    assert "2 different attempts" in levels[2] and "made 1" in levels[2] and levels[3] == levels[2]
    assert [e["level"] for e in kept(root) if e["kind"] == "hint"] == [1, 2, 3]
    assert hints.next_hint(NAME)["level"] == 3  # all seen: the last one again


def test_attempts_at_another_exercise_or_that_passed_do_not_open_it(root):
    keep(root, *[line("check", exercise="23.last_weight", status="wrong")] * 3)
    keep(root, *[line("check", exercise=NAME, status=status) for status in ("todo", "error", "passed", "wrong")])
    with pytest.raises(UserError, match="you have made 1"):
        hints.next_hint(NAME, 3)


def test_the_same_answer_twice_does_not_open_it(root):
    keep(root, *[line("check", exercise=NAME, status="wrong", answer="a1")] * 3)
    with pytest.raises(UserError, match="you have made 1"):
        hints.next_hint(NAME, 3)
    keep(root, line("check", exercise=NAME, status="error", answer="b2"))
    assert hints.next_hint(NAME, 3)["level"] == 3


def test_commands_are_told_as_a_shell_takes_them(root, capsys, monkeypatch):
    monkeypatch.setattr(hints, "ask", lambda prompt: "n")
    hints.solution(NAME)
    hints.hint("23.last_weight")
    with pytest.raises(UserError) as missing:
        hints.mine(NAME)
    said = capsys.readouterr().out + str(missing.value)
    for command in (f"hint {NAME}", "solution 23.last_weight", "start 23"):
        assert f"`python3 course.py {command}`" in said


def test_now_opens_the_last_and_a_level_can_be_asked_for(root):
    assert hints.next_hint(NAME, 3, now=True)["level"] == 3
    assert hints.next_hint(NAME, 3)["level"] == 3  # seen once, it stays open
    assert hints.next_hint(NAME)["level"] == 1
    for level in (4, -1):
        with pytest.raises(UserError, match="hints 1 to 3"):
            hints.next_hint(NAME, level)


def test_hint_prints_text_for_a_terminal_and_never_raises(root, capsys):
    hints.hint(NAME)
    assert "What do all the weights add up to?" in capsys.readouterr().out
    hints.hint(NAME, 3)
    assert "--now" in capsys.readouterr().out
    hints.hint("23.weighted_meen")
    assert "did you mean 23.weighted_mean" in capsys.readouterr().out
    with pytest.raises(UserError, match="did you mean 23.weighted_mean"):
        hints.hint_verb("23.weighted_meen")
    hints.hint("23.last_weight")
    assert "no hints" in capsys.readouterr().out


def test_code_in_a_hint_keeps_its_stars(root, capsys):
    hints.hint(NAME, 3, now=True)
    assert "rms = (sum(x**2 for x in xs) / len(xs))**0.5" in capsys.readouterr().out
    assert console.terminal("**Bold**, *soft*, `a**2 * b**2` and 3*4") == "Bold, soft, `a**2 * b**2` and 3*4"


def test_json_is_one_object(root, capsys):
    assert hints.hint_verb(NAME, 2, json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "exercise": NAME,
        "level": 2,
        "of": 3,
        "text": "Divide by the weights, not by their number (section 1).",
    }


# ---- solutions


def test_solution_needs_a_yes_where_nobody_can_be_asked(root, capsys):
    with pytest.raises(UserError, match="--yes"):
        hints.solution_verb(NAME)
    hints.solution(NAME)  # in a notebook: a sentence
    out = capsys.readouterr().out
    assert "--yes" in out and "total" not in out and not kept(root)


def test_solution_asks_once(root, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(hints, "ask", lambda prompt: asked.append(prompt) or ("n" if len(asked) == 1 else "Y"))
    hints.solution(NAME)
    assert "total" not in capsys.readouterr().out and not kept(root)
    hints.solution(NAME)
    hints.solution(NAME)
    assert capsys.readouterr().out.count("return total / sum(weights)") == 2
    assert len(asked) == 2 and NAME in asked[0]
    assert [(e["kind"], e["exercise"]) for e in kept(root)] == [("solution", NAME)]


def test_solution_with_yes(root, capsys):
    assert hints.solution_verb(NAME, yes=True) == 0
    out = capsys.readouterr().out
    assert "return total / sum(weights)" in out and "###" not in out
    with pytest.raises(UserError, match="no exercise"):
        hints.solution_verb("23.nothing", yes=True)


def test_ask_reads_a_terminal_only(monkeypatch):
    monkeypatch.setattr("builtins.input", lambda prompt: " four ")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert console.ask("? ") is None
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert console.ask("? ") == "four"

    def ends(prompt):
        raise EOFError

    monkeypatch.setattr("builtins.input", ends)
    assert console.ask("? ") is None
    monkeypatch.setattr(sys, "stdin", None)  # as under pythonw
    assert console.ask("? ") is None


def helper():
    """Handed over where a name should be."""


@pytest.mark.parametrize("name", ["weighted_mean", "23.weighted_mean", "023.weighted_mean", 23, None, helper])
@pytest.mark.parametrize("level", [None, "2", 9])
def test_in_a_notebook_help_never_raises(root, capsys, name, level):
    hints.hint(name, level)
    hints.solution(name, yes=True)
    hints.start(name)
    hints.hint()
    assert "hint cannot go on (TypeError: " in capsys.readouterr().out


def test_a_lesson_may_be_named_without_its_zero(root, monkeypatch, capsys):
    monkeypatch.setitem(lessons.STEMS, "03", "03_planted")
    source = (root / "solutions/source/23.py").read_text(encoding="utf-8")
    (root / "solutions/source/03.py").write_text(source.replace("## 23.", "## 03."), encoding="utf-8")
    (root / "exercises/03_planted.ipynb").write_text("{}", encoding="utf-8")
    lessons.statements.cache_clear()
    assert hints.hint_verb("3.weighted_mean") == 0 and hints.solution_verb("3.last_weight", yes=True) == 0
    for name in ("3", "03_planted"):
        assert hints.start_verb(name) == 0
    hints.start(3)
    said = [e.get("exercise") or e["lesson"] for e in kept(root)]
    assert said == ["03.weighted_mean", "03.last_weight", "03"] and capsys.readouterr().out.count("already there") == 2


def test_half_a_character_is_printed_as_a_question_mark(capsys):
    console.say("half of \ud83d")
    hints.hint("\ud83d")
    assert capsys.readouterr().out.startswith("half of ?\nthere is no exercise")


# ---- start and mine


def test_start_copies_and_never_overwrites(root, capsys):
    page = root / "exercises" / f"{lessons.STEMS['23']}.ipynb"
    page.write_text("{}", encoding="utf-8")
    (root / "exercises/AGENTS.md").write_text("tutor", encoding="utf-8")
    assert hints.start_verb("23") == 0
    mine = root / "my" / page.name
    assert mine.read_text(encoding="utf-8") == "{}" and (root / "my/AGENTS.md").read_text(encoding="utf-8") == "tutor"
    mine.write_text("my work", encoding="utf-8")
    hints.start("23_tensor")
    assert mine.read_text(encoding="utf-8") == "my work" and "already there" in capsys.readouterr().out
    assert [(e["kind"], e["lesson"]) for e in kept(root)] == [("start", "23")]
    for lesson, says in (("99", "numbered like 04"), ("22", "no exercises yet"), ("../x", "numbered like 04")):
        with pytest.raises(UserError, match=says):
            hints.start_verb(lesson)
        hints.start(lesson)  # in a notebook: a sentence


def test_start_where_nothing_can_be_written(root):
    (root / "exercises" / f"{lessons.STEMS['23']}.ipynb").write_text("{}", encoding="utf-8")
    (root / "my").write_text("a file in the way", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be written"):
        hints.start_verb("23")


def test_mine_gives_the_learners_function(root):
    my = root / "my"
    my.mkdir()
    (my / f"{lessons.STEMS['23']}.py").write_text(RIGHT, encoding="utf-8")
    assert hints.mine(NAME)([1.0, 3.0], [1.0, 1.0]) == 2.0
    page = root / "exercises" / f"{lessons.STEMS['23']}.ipynb"
    page.write_text("{}", encoding="utf-8")
    assert hints.start_verb("23") == 0 and len(list(my.glob("*.ipynb"))) == 0  # an empty page would hide it
    cells = [{"cell_type": "code", "source": "raise SystemExit"}, {"cell_type": "code", "source": RIGHT + "MARK = 7"}]
    (my / f"{lessons.STEMS['23']}.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    assert hints.mine(NAME).__globals__["MARK"] == 7  # the notebook comes first


def test_mine_trains(root):
    import torch

    (root / "my").mkdir()
    (root / "my" / f"{lessons.STEMS['23']}.py").write_text(RIGHT, encoding="utf-8")
    weights = torch.tensor([1.0, 2.0, 5.0], requires_grad=True)
    hints.mine(NAME)(torch.tensor([3.0, 4.0, 6.0]), weights).backward()
    mean = (3 + 8 + 30) / 8
    torch.testing.assert_close(
        weights.grad, (torch.tensor([3.0, 4.0, 6.0]) - mean) / 8
    )  # d mean / d w = (v - mean) / sum


@pytest.mark.parametrize(
    "text, says",
    [
        (None, "start 23"),
        ("x = 1\n", "does not define weighted_mean"),
        ("def weighted_mean(values, weights:\n    pass\n", "SyntaxError"),
        (RIGHT.replace(" / sum(weights)", ""), "does not pass yet .wrong."),
        ("def weighted_mean(values, weights):\n    raise NotImplementedError\n", "does not pass yet .todo."),
    ],
)
def test_mine_says_what_is_missing(root, text, says):
    if text is not None:
        (root / "my").mkdir()
        (root / "my" / f"{lessons.STEMS['23']}.py").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=says) as raised:
        hints.mine(NAME)
    assert NAME in str(raised.value) and "start 23" in str(raised.value) and "\n" not in str(raised.value)


# ---- where nothing can be written


def test_a_home_that_cannot_be_written_costs_the_memory_only(root, monkeypatch, capsys):
    (root / "in_the_way").write_text("", encoding="utf-8")
    monkeypatch.setenv("MINIGPT_HOME", str(root / "in_the_way/home"))
    for _ in range(2):
        assert hints.hint_verb(NAME) == 0  # the first one each time: nothing is remembered
    assert capsys.readouterr().out.count("Hint 1 of 3") == 2
    assert journal.read() == []


@pytest.mark.parametrize("names", ["reveal, review", "progress, review, check", "mine, hint, progress, check, review"])
def test_the_package_gives_functions_whatever_is_loaded_first(names):
    """check, review and progress are also modules: importing one of those must not hide the function."""
    load = f"import minigpt.classroom.progress\nfrom minigpt.classroom import {names}"
    code = f"{load}\nassert all(map(callable, ({names})))"
    subprocess.run([sys.executable, "-c", code], check=True)
