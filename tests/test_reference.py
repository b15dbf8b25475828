"""Published curves, and ending a run that stays above one: here with a tiny curve of our own."""
import json
import math
import os
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from test_parallel import data, torchrun  # noqa: F401  (data is a fixture)
from test_report import make, metrics
from test_train import run, text, tiny  # noqa: F401  (text is a fixture)

from minigpt import report, train
from minigpt.__main__ import main
from minigpt.config import PRESETS, REFERENCES, Curve, UserError, reference


def test_a_curve_is_straight_over_the_logarithm_of_the_step():
    for curve in REFERENCES.values():
        steps, losses = zip(*curve.points)
        assert list(steps) == sorted(set(steps)) and list(losses) == sorted(losses, reverse=True)
        for step in (*steps, 333, 1234, 17_777, steps[-1] + 9):
            assert math.isclose(curve.at(step), np.interp(math.log(step), np.log(steps), losses), rel_tol=1e-12)
        assert curve.at(steps[0] - 1) is None and curve.source and curve.data == "FineWeb"


def test_the_presets_that_have_one():
    assert {name: reference(PRESETS[name]) for name in PRESETS} == dict.fromkeys(PRESETS) | REFERENCES
    known = REFERENCES["gpt2-124m"]  # as llm.c's log has it
    assert [round(known.at(step), 3) for step in (250, 1000, 4750, 19_560)] == [6.171, 4.317, 3.567, 3.272]
    for name in REFERENCES:
        ours = PRESETS[name]
        assert reference(replace(ours, optim=replace(ours.optim, lr=0.1))) is REFERENCES[name]
        assert reference(replace(ours, optim=replace(ours.optim, batch_tokens=262_144))) is None
        assert reference(replace(ours, model=replace(ours.model, vocab_size=4096))) is None


@pytest.fixture
def curve(text, tmp_path, monkeypatch):  # noqa: F811
    """Plants a curve for the tiny model of test_train.py, with evaluations at steps 4, 8, 12, …"""

    def plant(*points):
        like = tiny(text, tmp_path)
        like = replace(like, model=replace(like.model, vocab_size=300))
        monkeypatch.setitem(PRESETS, "planted", like)
        monkeypatch.setitem(REFERENCES, "planted", Curve("the sea", "nowhere", points))

    return plant


def evaluations(out) -> list[int]:
    return [row["step"] for row in train.read_metrics(out / "metrics.jsonl") if "val_loss" in row]


def test_it_ends_at_the_second_evaluation_above(text, tmp_path, curve, capsys):  # noqa: F811
    """Not before the first point, and saved first; a wrapper reads that trying again is no use."""
    curve((5, 0.5), (40, 0.4))
    with pytest.raises(train.Diverged, match=r"val_loss is .* at step 12, where the published curve has 0\.458"):
        run(tiny(text, tmp_path / "run", steps=40, stop_above=0.1))
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert (status["status"], status["retry"], status["step"]) == ("failed", False, 12)
    assert "published curve" in status["reason"] and evaluations(tmp_path / "run") == [4, 8, 12]
    assert (tmp_path / "run/checkpoints/step_000012/state.json").exists()
    done = run(tiny(text, tmp_path / "run", steps=40, resume=True))  # if you think it should go on
    assert done.summary["steps"] == 40


def test_one_evaluation_above_is_forgiven(text, tmp_path, curve):  # noqa: F811
    whole = run(tiny(text, tmp_path / "whole", steps=24))
    losses = {row["step"]: row["val_loss"] for row in whole.metrics if "val_loss" in row}
    kind = {8: 0.5, 16: 0.5}  # 0.5 below what it will be: above the curve, but not twice in a row
    curve(*((step, losses[step] - kind.get(step, 0.0)) for step in (4, 8, 12, 16, 20)))
    assert run(tiny(text, tmp_path / "run", steps=24, stop_above=0.1)).summary["steps"] == 24
    curve(*((step, losses[step] - (0.5 if step in (12, 16) else 0.0)) for step in (4, 8, 12, 16, 20)))
    with pytest.raises(train.Diverged, match="at step 16"):
        run(tiny(text, tmp_path / "again", steps=24, stop_above=0.49))
    assert run(tiny(text, tmp_path / "third", steps=24, stop_above=0.51)).summary["steps"] == 24


def test_a_loss_that_is_no_number_is_above():
    t = type("T", (), dict(step=300, above=1, config=replace(
        PRESETS["gpt2-124m"], train=replace(PRESETS["gpt2-124m"].train, stop_above=1.0))))()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(train.Diverged):
        patch.setattr(train, "try_to_save", lambda *_: None)
        train.end_if_above(t, float("nan"), print)


def test_the_command_exits_with_3(text, tmp_path, curve, capfd):  # noqa: F811
    curve((1, 0.5), (40, 0.4))
    run(tiny(text, tmp_path / "made", steps=1))  # its data and tokenizer
    shape = """--layers 2 --width 32 --heads 2 --kv-heads 1 --head-size 16 --mlp-width 48 --context 24 --vocab-size 300
        --batch-tokens 144 --steps 40 --seed 3 --time-limit 0 --samples 0 --eval-every 4 --device cpu""".split()
    flags = ["--data", str(tmp_path / "made/data"), "--out", str(tmp_path / "run"), *shape, "--stop-above", "0.1"]
    assert main(["pretrain", *flags]) == 3
    printed = capfd.readouterr()
    assert "for comparison: val_loss 0.4 at step 40 on the sea (nowhere)" in printed.out
    assert [line for line in printed.err.splitlines() if line.startswith("minigpt:")][0].endswith("before, too.")


def test_without_a_curve_it_is_a_mistake(text, tmp_path, capfd):  # noqa: F811
    assert main(["pretrain", "--preset", "modern-124m", "--stop-above", "0.2", "--out", str(tmp_path / "a")]) == 2
    assert main(["pretrain", "--text", text, "--stop-above", "-1", "--out", str(tmp_path / "a")]) == 2
    said = capfd.readouterr().err
    assert "only for gpt2-124m and gpt2-350m as they are" in said and "cannot be negative" in said
    assert not (tmp_path / "a").exists()
    with pytest.raises(UserError, match="there is none for this model"):
        run(tiny(text, tmp_path / "b", stop_above=0.1))


def test_many_ranks_end_together(data, tmp_path):  # noqa: F811
    """All ranks exit 0, because torchrun would start them again; status.json says failed."""
    (tmp_path / "sitecustomize.py").write_text("""
from dataclasses import replace
from minigpt import config
like = config.PRESETS["tiny"]
model = config.ModelConfig(layers=2, width=64, heads=4, kv_heads=2, head_size=16, mlp_width=96, context=24,
                           vocab_size=300)
config.PRESETS["planted"] = replace(like, model=model, optim=replace(like.optim, batch_tokens=384))
config.REFERENCES["planted"] = config.Curve("words", "nowhere", ((1, 0.5), (40, 0.4)))
""")
    flags = """-m minigpt pretrain --layers 2 --width 64 --heads 4 --kv-heads 2 --head-size 16 --mlp-width 96
        --context 24 --vocab-size 300 --batch-tokens 384 --steps 30 --device cpu --precision fp32 --compile off
        --samples 0 --time-limit 0 --eval-every 5 --parallel fsdp --stop-above 0.1 --resume --family modern""".split()
    start = torchrun(2, *flags, "--data", data / "data", "--out", tmp_path / "run")
    start["env"]["PYTHONPATH"] = os.pathsep.join([str(tmp_path), start["env"]["PYTHONPATH"]])
    done = subprocess.run(**start, capture_output=True, timeout=600)
    assert done.returncode == 0 and done.stderr.count("published curve") == 1, done.stderr[-3000:]
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert (status["status"], status["retry"], status["step"]) == ("failed", False, 10)


def test_the_report_draws_it(tmp_path):
    """The curve as far as the run has come, and the sentence that says when it may be compared."""
    ours = replace(PRESETS["gpt2-124m"], model=PRESETS["gpt2-124m"].model)
    rows = [row | {"step": row["step"] * 20} for row in metrics()]
    page = report.write(make(tmp_path / "a", rows, config=ours, summary=None)).read_text()
    assert 'class="line dotted" data-name="published"' in page
    assert f"published for this model at step 1,200: {REFERENCES['gpt2-124m'].at(1200):.2f}" in page
    assert "comparable only where your data, too, is FineWeb" in page
    page = report.write(make(tmp_path / "b", config=ours, summary=None)).read_text()  # 60 steps: too early
    assert "published" not in page
    page = report.write(make(tmp_path / "c", rows, config=PRESETS["tiny"], summary=None)).read_text()
    assert "published" not in page


# ---- time and price --------------------------------------------------------------------------------------------------


def test_time_and_price_are_measured(text, tmp_path):  # noqa: F811
    """Before the first step, from steps that were really made; without a price a CPU does not rehearse."""
    said = []
    train.pretrain(tiny(text, tmp_path / "run", steps=50, price=3600.0, samples=0), say=said.append)
    (line,) = [line for line in said if line.startswith("measured: ")]
    assert said.index(line) < next(i for i, line in enumerate(said) if line.startswith(f"training {tmp_path}"))
    speed, seconds, dollars = (float(line.split(word)[0].split()[-1].strip("$,").replace(",", ""))
                               for word in (" tokens a second", " seconds and", ", evaluations"))  # fmt: skip
    assert abs(dollars - seconds) < 0.06  # a dollar a second
    assert abs(50 * 144 / speed - seconds) < 0.06
    rows = [row for row in train.Run.load(tmp_path / "run").metrics if "tokens_per_second" in row]
    assert 0.1 < speed / np.median([row["tokens_per_second"] for row in rows]) < 10
    said.clear()
    train.pretrain(tiny(text, tmp_path / "free", steps=5), say=said.append)
    assert not any("measured" in line for line in said)
