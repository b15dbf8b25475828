"""The speedrun: clocks, the verdict, and what an entry may change."""
import doctest
import json
import math
from dataclasses import replace

import pytest

from minigpt import bench
from minigpt.__main__ import main
from minigpt.classroom import speedrun
from minigpt.config import UserError

PLAYS = "To be, or not to be, that is the question:\nWhether 'tis nobler in the mind to suffer\n" * 400


@pytest.fixture(autouse=True)
def short(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGPT_RUNS", str(tmp_path / "runs"))


def test_examples():
    assert doctest.testmod(speedrun).failed == 0 and doctest.testmod(speedrun).attempted >= 3


def test_time_to_the_target():
    curve = [[5, 1.0, 3.0], [10, 4.0, 2.0], [15, 6.0, 2.5], [20, 7.0, 1.0]]
    assert speedrun.time_to(curve, 2.25) == 1.0 + 0.75 * 3.0  # the first time, on the line between two evaluations
    assert speedrun.time_to(curve, 3.5) == 1.0  # there at the first evaluation: we do not know since when
    assert speedrun.time_to(curve, 0.5) == math.inf


@pytest.mark.parametrize("entry, word", [
    ([2.0, 2.1, 1.9], "faster"), ([4.0, 4.2, 3.8], "cannot tell"), ([8.0, 8.5, 7.5], "slower"),
    ([2.0, math.inf, 1.9], "missed the target"),
])  # fmt: skip
def test_verdict(entry, word):
    reference = [4.1, 4.0, 3.9]
    found = speedrun.verdict(reference, entry)
    assert found["verdict"] == word
    if word != "missed the target":  # Student's t for two degrees of freedom, by hand
        logs = [math.log(a / b) for a, b in zip(reference, entry)]
        mean = sum(logs) / 3
        half = 4.303 * math.sqrt(sum((x - mean) ** 2 for x in logs) / 2) / math.sqrt(3)
        assert found["interval"] == pytest.approx([math.exp(mean - half), math.exp(mean + half)], abs=2e-3)
        geometric = math.prod(a / b for a, b in zip(reference, entry)) ** (1 / 3)
        assert found["speedup"] == pytest.approx(geometric, abs=1e-3)


def test_an_attempt_is_a_run_of_the_trainer_and_change_is_called(tmp_path, monkeypatch):
    """The same numbers as `pretrain` gives, with a clock; and a file may replace what it likes."""
    from minigpt.train import pretrain

    monkeypatch.setattr(bench, "plays", lambda: PLAYS)
    train, val = speedrun.track(tmp_path)
    c = speedrun.REFERENCE
    c = replace(c, model=replace(c.model, vocab_size=300), data=replace(c.data, text=(train,), val_text=val),
                optim=replace(c.optim, steps=4),
                train=replace(c.train, out=str(tmp_path / "a"), eval_every=3))  # fmt: skip
    found = speedrun.attempt(c)
    assert [row[0] for row in found["curve"]] == [3, 4] and 0 < found["curve"][0][1] < found["curve"][1][1]
    theirs = pretrain(replace(c, train=replace(c.train, out=str(tmp_path / "b"))), say=lambda s: None).summary
    assert found["curve"][-1][2] == pytest.approx(theirs["val_bpb"], abs=1e-9)
    assert found["parameters"] == theirs["parameters"]

    (tmp_path / "entry.py").write_text("def change(t):\n    for o in t.optimizers:\n        o.param_groups.clear()\n")
    frozen = replace(c, train=replace(c.train, out=str(tmp_path / "c")))
    still = speedrun.in_own_process(frozen, str(tmp_path / "entry.py"))["curve"]
    assert still[0][2] == still[1][2] != found["curve"][-1][2], "without parameters nothing can have moved"
    (tmp_path / "entry.py").write_text("x = 1\n")
    with pytest.raises(UserError, match=r"entry.py defines no change\(training\)"):
        speedrun.in_own_process(replace(c, train=replace(c.train, out=str(tmp_path / "d"))), str(tmp_path / "entry.py"))


@pytest.fixture
def pretended(monkeypatch):
    """Runs whose time is a function of the matrix rate and the seed; what was run, in order."""
    ran = []

    def in_own_process(config, file=""):
        ran.append((config.optim.matrix_lr, config.optim.seed))
        seconds = (config.optim.seed + 9) * (1.0 if config.optim.matrix_lr == 0.03 else 0.5)
        return {"curve": [[5, seconds, 2.0]], "parameters": 7}

    monkeypatch.setattr(speedrun, "in_own_process", in_own_process)
    monkeypatch.setattr(speedrun, "track", lambda folder: ("train", "val"))
    return ran


def test_reference_and_entry_alternate_with_the_same_seeds(pretended, capsys):
    assert main(["speedrun", "--matrix-lr", "0.01", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert pretended == [(0.03, 0), (0.01, 0), (0.01, 1), (0.03, 1), (0.03, 2), (0.01, 2)]
    assert found["changed"] == {"matrix_lr": [0.03, 0.01]} and found["speedup"] == 2.0
    assert [row["seconds"] for row in found["entry"]] == [4.5, 5.0, 5.5]


def test_entries_are_counted_and_nothing_changed_is_said(pretended, capsys):
    for _ in range(4):
        assert main(["speedrun"]) == 0
    said = capsys.readouterr().out
    assert "what is changed: nothing" in said and "entry 4" in said and said.count("looks better than it is") == 1
    assert "1.00 times as fast (95 % interval 1.00 to 1.00, 3 seeds): cannot tell" in said


@pytest.mark.parametrize("arguments, sentence", [
    (["--seeds", "2"], "--seeds 2: a comparison needs three seeds or more"),
    (["--seeds", "many"], "--seeds many is not a number"),
    (["--file", "nowhere.py"], "there is no nowhere.py"),
    (["--text", "my.txt"], "--text is fixed: every entry runs on the same text"),
    (["--matrix-rate", "1"], "unknown flag --matrix-rate: did you mean --matrix-lr?"),
])  # fmt: skip
def test_mistakes_are_one_sentence(pretended, arguments, sentence, capsys):
    assert main(["speedrun", *arguments]) == 2
    assert sentence in capsys.readouterr().err and pretended == []
