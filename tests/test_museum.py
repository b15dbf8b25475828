"""The failure museum: each exhibit shows its own sign and no healthy run does, with a seed that set no band."""
import dataclasses
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from minigpt import GPT
from minigpt.__main__ import main
from minigpt.classroom import museum
from minigpt.classroom.exhibits import CAUSES, EXHIBITS, SIGNATURES
from minigpt.config import DataConfig, RunConfig, TrainConfig, UserError
from minigpt.optim import build_optimizers, first_decay_step
from minigpt.precision import Policy
from minigpt.text.sources import usable_domains
from minigpt.train import Batch, Training, forward_backward, optimizer_step

SEED = 7
needs_text = pytest.mark.skipif(bool(usable_domains(museum.DOMAINS)[1]), reason="needs the built-in books and plays")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def healthy():
    return museum.train(museum.healthy(), SEED)


# ---- signatures ------------------------------------------------------------------------------------------------------


@needs_text
def test_a_healthy_run_bears_no_signature(healthy):
    assert not any(museum.signatures(healthy.log).values())
    assert healthy.log.final_val_loss == healthy.log.val_loss[-1] < 3.0


@needs_text
@pytest.mark.parametrize("k", museum.NUMBERS)
def test_an_exhibit_bears_its_signature(k):
    log, cause = museum.train(museum.exhibit(k), SEED).log, EXHIBITS[k].cause
    signature = SIGNATURES[cause]
    assert signature.holds(log), (cause, signature.what, signature.number(log))
    others = {name for name, holds in museum.signatures(log).items() if holds} - {cause}
    assert not others, (cause, others)


def test_what_is_recorded_bears_its_signatures_too():
    assert not any(museum.signatures(museum.log(0)).values())
    for k in museum.NUMBERS:
        held = [name for name, holds in museum.signatures(museum.log(k)).items() if holds]
        assert held == [EXHIBITS[k].cause]


def test_what_is_recorded_is_of_this_code():
    first = museum.file().read_text(encoding="utf-8").splitlines()[0]
    assert museum.code_hash() in first, "python -m minigpt.classroom.museum"
    assert len(museum.file().read_bytes()) < 250_000


# ---- the recipe ------------------------------------------------------------------------------------------------------


def test_an_exhibit_is_the_healthy_recipe_but_for_one_part():
    whole = museum.healthy()
    for k, (cause, part, _) in EXHIBITS.items():
        broken = museum.exhibit(k)
        changed = [f.name for f in dataclasses.fields(whole) if getattr(whole, f.name) != getattr(broken, f.name)]
        assert changed == [part], cause
    assert sorted(cause for cause, *_ in EXHIBITS.values()) == sorted(CAUSES) == sorted(SIGNATURES)
    assert museum.exhibit(0) == whole and list(museum.NUMBERS) == sorted(EXHIBITS)


@needs_text
def test_the_healthy_recipe_is_minigpts_trainer():
    parts = replace(museum.healthy(), dropout=0.0)  # the ranks draw dropout in another order than one process would
    log, data, config = museum.train(parts, SEED, steps=6).log, museum.prepare(parts, SEED), museum.rates(parts)
    first = museum.build(parts, SEED)
    model = GPT(first.config)  # without the mask of the recipe: its own
    model.load_state_dict(first.state_dict())
    t = Training(
        RunConfig(first.config, DataConfig(), config, TrainConfig()), Path(), Policy("cpu", "fp32", False, ()), None,
        None, None, model, model, build_optimizers(model, config), torch.amp.GradScaler("cpu", enabled=False), 0.0,
        steps=museum.STEPS, decay_start=first_decay_step(museum.STEPS, config), skipped=torch.zeros(()),
    )  # fmt: skip
    for step in range(6):
        windows = museum.batch_at(data, parts, step)[2]
        pairs = [(rows[:, :-1], rows[:, 1:]) for rows in windows.split(2)]
        loss = forward_backward(t, Batch(step, pairs, windows[:, 1:].numel()))
        norm = optimizer_step(t)
        t.step += 1
        assert log.train_loss[step] == pytest.approx(float(loss), abs=2e-3)  # fp16 rounds the recipe's gradients
        assert log.grad_norm[step] == pytest.approx(float(norm), rel=2e-2)


@needs_text
def test_one_model_for_both_ranks_is_two_models_that_agree():
    one = replace(museum.healthy(), dropout=0.0)
    two = replace(one, reduced=1 - 1e-9)  # rounds to all parameters, and has two replicas
    shared, apart = museum.train(one, SEED, steps=5), museum.train(two, SEED, steps=5)
    assert len(shared.models) == 1 and len(apart.models) == 2
    assert apart.log.train_loss == pytest.approx(shared.log.train_loss, abs=1e-3)
    assert np.allclose(apart.log.rank_loss, shared.log.rank_loss, atol=1e-3)
    assert apart.log.val_loss == apart.log.val_loss_rank1


@needs_text
def test_data_are_dealt_once_and_in_turn():
    parts = museum.healthy()
    data = museum.prepare(parts, SEED)
    batches = [museum.batch_at(data, parts, position) for position in range(museum.STEPS)]
    places = np.concatenate([places for _, places, _ in batches])
    assert len(set(places)) == len(places) == museum.STEPS * museum.SEQUENCES  # no sequence twice
    assert all((where % museum.SHARDS == shard).all() and shard == step % museum.SHARDS
               for step, (shard, where, _) in enumerate(batches))  # fmt: skip
    assert data.windows.shape[1] == museum.CONTEXT + 1
    held = {tuple(row) for row in data.validation.tolist()}
    assert not held & {tuple(row) for row in data.windows.tolist()}


def test_the_loss_scale_skips_and_halves():
    assert museum.dynamic_scale(8.0, 3, False) == (4.0, 0, False)
    assert museum.dynamic_scale(8.0, 3, True) == (8.0, 4, True)
    assert museum.dynamic_scale(8.0, 14, True) == (16.0, 0, True)


@needs_text
def test_the_same_seed_gives_the_same_run(healthy):
    again = museum.train(museum.healthy(), SEED, steps=4).log
    assert again.train_loss == healthy.log.train_loss[:4]
    assert museum.train(museum.healthy(), SEED + 1, steps=1).log.train_loss != again.train_loss[:1]


# ---- what a visitor sees ---------------------------------------------------------------------------------------------


@needs_text
def test_the_quick_experiments_run_live(healthy):
    slow = {"lower_rate", "go_on"}
    for name in museum.EXPERIMENTS.keys() - slow:
        text, numbers = museum.run_experiment(healthy, name)
        assert numbers and all(math.isfinite(value) for value in numbers.values()), name
        assert "{" not in text


def test_every_exhibit_answers_every_experiment():
    for name in museum.EXPERIMENTS:
        for k in (0, *museum.NUMBERS):
            assert museum.finding(k, name).numbers.keys() == museum.finding(0, name).numbers.keys()
        text = museum.experiment(3, name)
        assert "exhibit 3: " in text and "healthy run: " in text and museum.EXPERIMENTS[name] in text
        assert museum.experiment(0, name).count("healthy run: ") == 1


def test_nothing_on_show_names_a_cause(capsys):
    museum.gallery()
    for k in museum.NUMBERS:
        museum.show(k)
    shown = capsys.readouterr().out + museum.visit()
    for cause, sentence in CAUSES.items():
        assert cause not in shown and sentence not in shown
    source = Path(museum.__file__).read_text(encoding="utf-8")
    assert not [cause for cause in CAUSES if re.search(rf"\b{cause}\b", source)]


def test_the_verb(capfd, tmp_path):
    assert main(["museum"]) == 0 and "18 broken runs" in capfd.readouterr().out
    assert main(["museum", "4", "--png", str(tmp_path / "four.png")]) == 0
    assert "Exhibit 4" in capfd.readouterr().out and (tmp_path / "four.png").read_bytes().startswith(b"\x89PNG")
    assert main(["museum", "4", "--experiment", "same_twice"]) == 0
    assert "two times" in capfd.readouterr().out
    for argv, words in ((["99"], "no exhibit 99"), (["-3"], "no exhibit -3"),
                        (["4", "--experiment", "same_twise"], "did you mean same_twice?"),
                        (["4", "--png", str(tmp_path / "no" / "x.png")], "no folder"),
                        (["4", "--lives"], "unknown flag --lives")):  # fmt: skip
        assert main(["museum", *argv]) == 2
        error = capfd.readouterr().err
        assert words in error and error.count("\n") == 1


def test_only_seed_0_is_on_record():
    with pytest.raises(UserError, match="only seed 0"):
        museum.log(3, seed=1)
