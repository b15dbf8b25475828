"""The loop against plain loops: what a step computes, exact resume after any kind of stop, limits, and what is
refused."""
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from subprocess import DEVNULL, PIPE

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import small_disk
from torch.utils._python_dispatch import TorchDispatchMode

from minigpt import checkpoint, train
from minigpt.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig, UserError
from minigpt.model import GPT
from minigpt.optim import learning_rate
from minigpt.probes import probe, read_items

WORDS = "the sea was calm and no wind moved over a grey harbour where old boats slept until someone sang".split()


def some_text(words: int, seed: int) -> str:
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) for _ in range(words))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "sea.txt"
    file.write_text(some_text(6000, 1))
    return str(file)


def tiny(text: str, out: Path, *, steps=12, model=None, **train_fields) -> RunConfig:
    shape = dict(layers=2, width=32, heads=2, kv_heads=1, head_size=16, mlp_width=48, context=24, vocab_size=300)
    optim = OptimConfig(steps=steps, batch_tokens=24 * 6, lr=0.01, seed=3)
    settings = dict(device="cpu", precision="fp32", compile="off", out=str(out), samples=2, eval_every=4) | train_fields
    return RunConfig(ModelConfig(**(shape | (model or {}))), DataConfig(text=(text,)), optim, TrainConfig(**settings))


def silent(*_):
    pass


def run(config, **kwargs):
    return train.pretrain(config, say=silent, **kwargs)


def tensors_of(out) -> dict[str, torch.Tensor]:
    return checkpoint.load_latest(Path(out) / "checkpoints")[0]


def rows_of(out) -> list[dict]:
    """The metrics but for times."""
    rows = [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "tokens_per_second")} for row in rows]


def assert_same_run(a, b):
    ta, tb = tensors_of(a), tensors_of(b)
    assert ta.keys() == tb.keys() and len(ta) > 20
    assert all(torch.equal(ta[name], tb[name]) for name in ta)
    assert rows_of(a) == rows_of(b)


# ---- what a step computes --------------------------------------------------------------------------------------------


def test_training_equals_a_plain_loop(text, tmp_path):
    config = tiny(text, tmp_path / "run", steps=7)
    config = replace(config, optim=replace(config.optim, optimizer="adamw", clip=0.5, weight_decay=0.1))
    t = train.setup(config, say=silent)
    model = GPT(t.config.model, seed=3)
    decayed = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim == 1]
    plain = torch.optim.AdamW([dict(params=decayed, weight_decay=0.1), dict(params=rest, weight_decay=0.0)],
                              lr=0.01, betas=(0.9, 0.95), eps=1e-10, foreach=False)
    for step in range(7):
        inputs, targets = map(torch.from_numpy, t.data.read(t.data.batch(3, step, 6)))
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), ignore_index=-100)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        for group in plain.param_groups:
            group["lr"] = 0.01 * learning_rate(step, 7, t.config.optim)
        plain.step()
        plain.zero_grad()
        batch = train.next_batch(t)
        assert batch.step == step
        assert math.isclose(train.forward_backward(t, batch).item(), loss.item(), rel_tol=1e-5)
        assert math.isclose(float(train.optimizer_step(t)), float(norm), rel_tol=1e-4)
        t.step += 1
    t.batches.close()
    for (name, p), q in zip(t.model.named_parameters(), model.parameters()):
        assert torch.allclose(p, q, atol=2e-5), name


@pytest.mark.parametrize("micro", [1, 2, 3])
def test_accumulation_divides_by_the_valid_targets_of_the_whole_batch(text, tmp_path, micro):
    t = train.setup(tiny(text, tmp_path / "run", micro_batch=micro), say=silent)
    assert t.micro_batch == micro
    batch = train.next_batch(t)
    t.batches.close()
    inputs, targets = (torch.cat(part) for part in zip(*batch.micro))
    targets[0, 1:] = -100  # very unequal numbers of valid targets: averaging averages would show
    targets[1, 5:] = -100
    batch = train.Batch(0, list(zip(inputs.split(micro), targets.split(micro))), int((targets != -100).sum()))
    loss = train.forward_backward(t, batch)
    reference = GPT(t.config.model, seed=3)
    expected = F.cross_entropy(reference(inputs).flatten(0, 1), targets.flatten(), ignore_index=-100)
    expected.backward()
    assert math.isclose(loss.item(), expected.item(), rel_tol=1e-6)
    for p, q in zip(t.model.parameters(), reference.parameters()):
        assert torch.allclose(p.grad, q.grad, atol=1e-6, rtol=1e-4)


def test_a_step_that_is_not_finite_changes_nothing(text, tmp_path):
    t = train.setup(tiny(text, tmp_path / "run"), say=silent)
    for _ in range(2):
        train.forward_backward(t, train.next_batch(t))
        train.optimizer_step(t)
        t.step += 1
    before = {k: v.clone() for k, v in checkpoint_tensors(t).items()}
    train.forward_backward(t, train.next_batch(t))
    next(iter(t.model.parameters())).grad[0, 0] = float("nan")
    train.optimizer_step(t)
    after = checkpoint_tensors(t)
    assert all(torch.equal(before[k], after[k]) for k in before) and float(t.skipped) == 1
    train.forward_backward(t, train.next_batch(t))
    train.optimizer_step(t)
    assert float(t.skipped) == 0
    assert not torch.equal(before["model.norm.weight"], checkpoint_tensors(t)["model.norm.weight"])
    t.batches.close()


def checkpoint_tensors(t):
    train.save(t)
    return tensors_of(t.out)


def test_gives_up_after_too_many_steps_that_are_not_finite(text, tmp_path):
    config = tiny(text, tmp_path / "run", steps=30, patience=4)
    with pytest.raises(train.Diverged, match="4 steps in a row"):
        run(replace(config, optim=replace(config.optim, lr=float("inf"))))
    assert json.loads((tmp_path / "run/status.json").read_text())["status"] == "failed"


def test_fp16_scales_the_loss_and_trains(text, tmp_path):
    run(tiny(text, tmp_path / "half", precision="fp16", steps=20))
    run(tiny(text, tmp_path / "full", steps=20))
    half, full = (train.Run.load(tmp_path / name) for name in ("half", "full"))
    assert abs(half.summary["val_bpb"] - full.summary["val_bpb"]) < 0.05
    state = checkpoint.load_latest(tmp_path / "half/checkpoints")[1]
    assert state["scaler"]["scale"] >= 1.0


def test_a_step_that_logs_nothing_reads_nothing_back(text, tmp_path):
    """On an accelerator every such read makes the host wait; the same operators are counted here on a CPU."""

    class Reads(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.count += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default,
                                   torch.ops.aten.equal.default)
            return func(*args, **(kwargs or {}))

    t = train.setup(tiny(text, tmp_path / "run"), say=silent)
    batches = [train.next_batch(t) for _ in range(3)]
    t.batches.close()
    for step, batch in enumerate(batches):
        with Reads() as reads:
            loss = train.forward_backward(t, batch)
            norm = train.optimizer_step(t)
        assert reads.count == 0
        with Reads() as reads:
            float(loss), float(norm)
        assert reads.count == 2  # the counter counts


# ---- exact resume ----------------------------------------------------------------------------------------------------


def asked_after(steps: int, already: int = 0) -> Callable[[], bool]:
    """A `stop` that is True from step `steps` of this start on; each evaluation, after every fourth step, asks too."""
    return true_from(steps + (already + steps - 1) // 4 - already // 4)


def true_from(question: int) -> Callable[[], bool]:
    answers = chain([False] * (question - 1), repeat(True))
    return lambda: next(answers)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_interrupted_and_resumed_is_bit_equal(text, tmp_path, dropout):
    model = dict(dropout=dropout)
    run(tiny(text, tmp_path / "whole", model=model))
    first = run(tiny(text, tmp_path / "cut", model=model, resume=True), stop=asked_after(5))
    assert first.status["status"] == "preempted" and first.status["step"] == 5 and first.status["retry"]
    again = run(tiny(text, tmp_path / "cut", model=model, resume=True, micro_batch=6))
    assert again.status["status"] == "done"
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize("question, step", [(5, 4), (6, 4), (10, 8), (11, 8), (17, 12), (18, 12)])
def test_interrupted_in_an_evaluation(text, tmp_path, question, step):
    """`stop` is asked in steps 1 to 4, in the evaluation after them, and in the questions that follow; so once more;
    after step 12 come the last questions and the final evaluation. The next start begins with what was broken off."""
    asked = tmp_path / "asked.jsonl"
    asked.write_text('{"question": "the sea was", "options": ["calm", "someone"], "answer": 0}\n')
    config = tiny(text, tmp_path / "cut", resume=True, choices=(str(asked),))
    status = run(config, stop=true_from(question)).status
    assert (status["status"], status["reason"], status["retry"]) == ("preempted", "interrupted", True)
    assert status["step"] == step and not (tmp_path / "cut/summary.json").exists()
    assert run(config).status["status"] == "done"
    run(tiny(text, tmp_path / "whole", choices=(str(asked),)))
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_questions_are_turned_into_tokens_once(text, tmp_path, monkeypatch):
    asked = tmp_path / "asked.jsonl"
    asked.write_text('{"prefix": "the sea was", "options": ["calm", "someone"], "answer": 0}\n' * 3)
    t = train.setup(tiny(text, tmp_path / "run", choices=(str(asked),)), say=silent)
    t.batches.close()
    expected = probe(t.model, t.tokenizer, "choices", read_items("choices", asked))
    monkeypatch.setattr(type(t.tokenizer), "encode", None)
    assert train.choices_step(t)["asked"]["accuracy"] == expected["accuracy"]


# ---- what a run says of itself while it goes on, and what it has cost ------------------------------------------------


def test_status_follows_the_run(text, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "STATUS_EVERY", 0.0)
    seen = []

    def look():
        seen.append(train.Run(tmp_path / "run").status)
        return False

    run(tiny(text, tmp_path / "run", eval_every=99), stop=look)
    assert [s["step"] for s in seen] == [*range(12), 12]  # the last time in the final evaluation
    assert {(s["status"], s["retry"]) for s in seen} == {("running", True)}
    assert all(a["seconds"] < b["seconds"] for a, b in zip(seen, seen[1:]))


def test_what_was_lost_is_paid_for(text, tmp_path):
    """Two hours after its last checkpoint a run is killed; with a limit of $3 at $1 an hour one hour is left."""
    config = tiny(text, tmp_path / "run", resume=True, price=1.0, max_cost=3.0)
    run(config, stop=asked_after(5))
    file = tmp_path / "run/status.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"seconds": 7200.0}))
    t = train.setup(config, say=silent)
    t.batches.close()
    assert 7200 < t.seconds < 7210 and train.out_of_budget(t) is None
    t.reserve = 3700.0  # the final evaluation costs as well
    assert train.out_of_budget(t) == "cost limit"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"seconds": 3 * 3600.0}))
    s = run(config).status
    assert (s["status"], s["reason"], s["retry"], s["step"]) == ("preempted", "cost limit", False, 6)


@pytest.mark.parametrize("flag", [{"price": 1.0}, {"time_limit": 99.0}])
def test_the_final_evaluation_has_its_share_of_a_limit(text, tmp_path, flag):
    """On a resume as well, where the number of steps is known."""
    config = tiny(text, tmp_path / "run", resume=True, **flag)
    run(config, stop=asked_after(5))
    t = train.setup(config, say=silent)
    t.batches.close()
    assert t.reserve > train.Training.reserve


def command(text, out, *flags):
    shape = """--layers 2 --width 32 --heads 2 --kv-heads 1 --head-size 16 --mlp-width 48 --context 24 --vocab-size 300
        --batch-tokens 144 --steps 40 --time-limit 0 --samples 1 --eval-every 9 --device cpu""".split()
    return [sys.executable, "-m", "minigpt", "pretrain", "--resume", "--text", text, "--out", str(out), *shape, *flags]


FLAGS = {
    "fp32": ["--precision", "fp32", "--compile", "off"],
    "bf16-compiled": ["--precision", "bf16", "--compile", "on"],
}


@pytest.mark.parametrize("kind", FLAGS)
def test_kill_minus_nine_at_random_steps(text, tmp_path, kind):
    flags = [*FLAGS[kind], "--save-every", "3"]
    subprocess.run(command(text, tmp_path / "whole", *flags), check=True, capture_output=True)
    rng, kills = random.Random(5), 0
    for _ in range(3):
        process = subprocess.Popen(command(text, tmp_path / "cut", *flags), stdout=DEVNULL, stderr=DEVNULL)
        at = rng.randrange(4, 36)
        while process.poll() is None:
            rows = train.read_metrics(tmp_path / "cut/metrics.jsonl")
            if rows and rows[-1]["step"] >= at:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.001)
        process.wait()
    assert kills >= 1
    subprocess.run(command(text, tmp_path / "cut", *flags), check=True, capture_output=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_kill_minus_nine_during_a_save(text, tmp_path):
    """The process dies after half of the checkpoint file, and in another try between the rename and the pointer."""
    flags = [*FLAGS["fp32"], "--save-every", "5"]
    subprocess.run(command(text, tmp_path / "whole", *flags), check=True, capture_output=True)
    half_a_file = """
import os, signal, sys
from minigpt import checkpoint
real, count = checkpoint.save_file, 0
def dying(tensors, path):
    global count
    count += 1
    real(tensors, path)
    if count == 3:
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save_file = dying
from minigpt.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
    before_the_pointer = """
import os, signal, sys
from minigpt import checkpoint
real, count = os.rename, 0
def dying(a, b):
    global count
    real(a, b)
    count += "step_" in str(b)
    if count == 3:
        os.kill(os.getpid(), signal.SIGKILL)
os.rename = dying
from minigpt.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
    for n, script in enumerate((half_a_file, before_the_pointer)):
        out = tmp_path / f"cut{n}"
        args = command(text, out, *flags)
        died = subprocess.run([args[0], "-c", script, *args[3:]], capture_output=True)
        assert died.returncode == -signal.SIGKILL
        subprocess.run(args, check=True, capture_output=True)
        assert_same_run(tmp_path / "whole", out)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_with_75(text, tmp_path, number):
    flags = [*FLAGS["fp32"], "--steps", "4000"]
    process = subprocess.Popen(command(text, tmp_path / "run", *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not train.read_metrics(tmp_path / "run/metrics.jsonl"):
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75 and b"Traceback" not in errors
    status = train.Run.load(tmp_path / "run").status
    assert status["status"] == "preempted" and status["retry"]
    assert checkpoint.load_latest(tmp_path / "run/checkpoints")[1]["step"] == status["step"] > 0


@pytest.mark.parametrize("resume, mistake", [(True, ["--no-such-flag", "1"]), (True, ["--layers", "many"]),
                                             (True, ["--preset", "none"]), (True, ["--heads", "3"]), (False, [])])
def test_a_mistake_in_the_command_is_told_in_the_status(text, tmp_path, resume, mistake):
    """A wrapper reads status.json: an earlier "done" must not stand for a start that came to nothing. But without
    --resume the run is somebody else's."""
    run(tiny(text, tmp_path / "run"))
    started = [*command(text, tmp_path / "run"), *mistake]
    done = subprocess.run([a for a in started if resume or a != "--resume"], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    status = train.Run(tmp_path / "run").status
    assert (status["status"], status["retry"]) == (("failed", False) if resume else ("done", False))
    assert not resume or status["reason"].removeprefix("UserError: ") in done.stderr


def test_a_mistake_leaves_no_status_in_a_folder_of_something_else(tmp_path):
    for flags in (["--out", str(tmp_path)], [f"--out={tmp_path}"], []):
        done = subprocess.run([sys.executable, "-m", "minigpt", "pretrain", "--oops", *flags], capture_output=True)
        assert done.returncode == 2 and not list(tmp_path.iterdir())


def test_two_signals_are_one_wish(text, tmp_path):
    """A process group is told by torchrun and by whoever told torchrun."""
    process = subprocess.Popen([*command(text, tmp_path / "run"), "--steps", "100000"], stdout=DEVNULL, stderr=PIPE)
    while not train.read_metrics(tmp_path / "run/metrics.jsonl"):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75 and b"Traceback" not in errors
    assert train.Run(tmp_path / "run").status["reason"] == "interrupted"


def test_a_complete_run_is_left_alone(text, tmp_path):
    run(tiny(text, tmp_path / "run"))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")}
    run(tiny(text, tmp_path / "run", resume=True))
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")}


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_it_used(text, tmp_path):
    run(tiny(text, tmp_path / "whole"))
    run(tiny(text, tmp_path / "cut", resume=True, save_every="4"), stop=asked_after(9))
    newest = tmp_path / "cut/checkpoints/step_000009" / checkpoint.TENSORS
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    said = []
    train.pretrain(tiny(text, tmp_path / "cut", resume=True), say=said.append)
    assert any(str(newest.parent) in line and "damaged" in line for line in said)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_pickle_is_never_read(text, tmp_path, monkeypatch):
    run(tiny(text, tmp_path / "run", resume=True), stop=asked_after(5))

    def refuse(*_, **__):
        raise AssertionError("unpickled")

    monkeypatch.setattr("pickle.load", refuse)
    monkeypatch.setattr("pickle.loads", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    assert run(tiny(text, tmp_path / "run", resume=True)).status["status"] == "done"


@pytest.mark.parametrize("change, named", [
    (dict(model=dict(width=64)), "model.width"),
    (dict(data=dict(val_fraction=0.1)), "data.val_fraction"),
    (dict(optim=dict(seed=4)), "optim.seed"),
    (dict(optim=dict(batch_tokens=288)), "optim.batch_tokens"),
    (dict(optim=dict(lr=0.02)), "optim.lr"),
])  # fmt: skip
def test_what_may_not_change_on_resume(text, tmp_path, change, named):
    config = tiny(text, tmp_path / "run", resume=True)
    run(config, stop=asked_after(5))
    for part, fields in change.items():
        config = replace(config, **{part: replace(getattr(config, part), **fields)})
    with pytest.raises(UserError, match=f"--resume cannot change {named}"):
        run(config)


def test_the_horizon_may_change_until_the_decay_begins(text, tmp_path):
    config = tiny(text, tmp_path / "run", resume=True, steps=20)
    run(config, stop=asked_after(5))
    longer = replace(config, optim=replace(config.optim, steps=30))
    run(longer, stop=asked_after(16, already=5))
    assert checkpoint.load_latest(tmp_path / "run/checkpoints")[1]["steps"] == 30
    assert checkpoint.load_latest(tmp_path / "run/checkpoints")[1]["decay_start"] == 18
    with pytest.raises(UserError, match="after its decay began"):
        run(replace(config, optim=replace(config.optim, steps=40)))


def test_one_stable_phase_serves_several_decays(text, tmp_path):
    run(tiny(text, tmp_path / "stable", steps=8, save_every="4", keep=9))
    config = tiny(text, tmp_path / "branch", steps=4)
    config = replace(config, optim=replace(config.optim, start_from=f"{tmp_path / 'stable'}@4", warmup=0.0, decay=1.0))
    t = train.setup(config, say=silent)
    t.batches.close()
    stored = checkpoint.load_checkpoint(tmp_path / "stable/checkpoints/step_000004")[0]
    assert all(torch.equal(p, stored[f"model.{name}"]) for name, p in t.model.named_parameters())
    other = tmp_path / "other.txt"
    other.write_text(some_text(6000, 1).replace("sea", "fog"))
    config = replace(config, data=DataConfig(text=(str(other),)), train=replace(config.train, out=str(tmp_path / "c")))
    with pytest.raises(UserError, match="another tokenizer"):
        train.setup(config, say=silent)


# ---- limits ----------------------------------------------------------------------------------------------------------


def test_time_limit_shapes_the_schedule_and_is_kept(text, tmp_path):
    start = time.perf_counter()
    config = tiny(text, tmp_path / "run", steps=0, time_limit=6.0)
    done = run(config, started=start)
    assert time.perf_counter() - start < 6.5
    rows = [row for row in done.metrics if "lr" in row]
    assert done.status["status"] in ("done", "preempted") and len(rows) > 20
    if done.status["status"] == "done":
        assert rows[-1]["lr"] < 0.1 * max(row["lr"] for row in rows)  # the decay ended inside the limit


def test_a_rehearsal_leaves_no_trace(text, tmp_path):
    t = train.setup(tiny(text, tmp_path / "run"), say=silent)
    before = {name: p.clone() for name, p in t.model.named_parameters()}
    train.rehearse(t)
    assert all(torch.equal(p, before[name]) for name, p in t.model.named_parameters())
    assert not any(o.state for o in t.optimizers)
    batch = train.next_batch(t)
    assert batch.step == 0
    train.forward_backward(t, batch)
    train.optimizer_step(t)
    before = {k: v.clone() for k, v in checkpoint_tensors(t).items()}
    train.rehearse(t)  # with optimizer state, as when a run resumes
    after = checkpoint_tensors(t)
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
    t.batches.close()


def test_target_and_cost_end_a_run(text, tmp_path):
    done = run(tiny(text, tmp_path / "target", steps=400, target_bpb=6.0))
    assert done.status["status"] == "done" and done.summary["reason"] == "target" and done.summary["steps"] < 400
    stopped = run(tiny(text, tmp_path / "cost", steps=4000, price=3600.0, max_cost=1.0))  # a dollar a second
    assert stopped.status["status"] == "preempted" and "cost" in stopped.status["reason"]
    again = run(tiny(text, tmp_path / "cost", steps=4000, price=3600.0, max_cost=1.0, resume=True))
    assert again.status["step"] <= stopped.status["step"] + 1  # what earlier starts spent counts


def test_a_full_disk_does_not_end_training(text, tmp_path, monkeypatch):
    real, said = checkpoint.save_file, []

    def full_at_first(tensors, path):
        if not said:
            path.write_bytes(b"half")
            said.append("full")
            raise OSError(28, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full_at_first)
    lines = []
    monkeypatch.setattr("tqdm.tqdm.write", lambda self, line: lines.append(line))
    done = run(tiny(text, tmp_path / "run", save_every="4"))
    assert done.status["status"] == "done" and any("No space left" in line for line in lines)
    names = sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir())
    assert names == ["latest", "step_000008", "step_000012"]


@pytest.mark.skipif(not sys.platform.startswith("linux") or os.geteuid() != 0, reason="mounting a disk needs root")
def test_a_really_full_disk(text, tmp_path):
    with small_disk(tmp_path / "disk", "700k") as disk:
        done = subprocess.run(command(text, disk / "run", *FLAGS["fp32"], "--save-every", "5", "--keep", "50"),
                              capture_output=True, text=True)  # fmt: skip
        assert "No space left" in done.stdout + done.stderr and "Traceback" not in done.stderr
        assert checkpoint.load_latest(disk / "run/checkpoints")[1]["step"] > 0


# ---- what a run leaves behind ----------------------------------------------------------------------------------------


def test_a_run_folder_holds_what_is_promised(text, tmp_path):
    done = run(tiny(text, tmp_path / "run"))
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert names == {"config.json", "metrics.jsonl", "summary.json", "status.json", "environment.json", "report.html",
                     "checkpoints", "tokenizer", "data"}  # fmt: skip
    rows = [row for row in done.metrics if "train_loss" in row]
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert [row["tokens"] for row in rows] == [144 * n for n in range(1, 13)]
    assert {"seconds", "lr", "grad_norm", "tokens_per_second"} <= rows[0].keys()
    assert [row["step"] for row in done.metrics if "val_bpb" in row] == [4, 8, 12]
    padding = done.config.model.padded_vocab - done.tokenizer.vocab_size
    assert done.summary["parameters"] == sum(p.numel() for p in done.model.parameters()) - padding * 32
    assert done.model(torch.tensor([[5, 6, 7]])).shape == (1, 3, done.tokenizer.vocab_size)
    entry = json.loads((tmp_path / "run/environment.json").read_text())[0]
    assert {"command", "commit", "dirty", "torch", "host", "tokenizer", "data"} <= entry.keys()


def test_val_bpb_is_what_bits_per_byte_says(text, tmp_path):
    from minigpt.evaluate import bits_per_byte

    done = run(tiny(text, tmp_path / "run"))
    whole = Path(text).read_text()
    held_out = whole[int(len(whole) * 0.9) :]
    assert math.isclose(done.summary["val_bpb"], bits_per_byte(done.model, done.tokenizer, held_out), rel_tol=1e-6)
    assert math.isclose(done.summary["domains"]["sea"], done.summary["val_bpb"], rel_tol=1e-9)


def test_the_model_learns(text, tmp_path):
    """The text is random words, so the best possible loss is known: log2(words) bits a word."""
    done = run(tiny(text, tmp_path / "run", steps=300))
    best = math.log2(len(WORDS)) / (np.mean([len(w) for w in WORDS]) + 1)
    assert best < done.summary["val_bpb"] < best * 1.15


def test_profile_writes_a_trace_of_the_steps_asked_for(text, tmp_path):
    said = []
    train.pretrain(tiny(text, tmp_path / "run", profile=2, steps=8), say=said.append)
    events = json.loads((tmp_path / "run/trace.json").read_text())["traceEvents"]
    steps = {event["name"] for event in events if str(event.get("name", "")).startswith("ProfilerStep")}
    assert len(steps) == 2 and any(event.get("name") == "aten::mm" for event in events)
    assert any("Self CPU" in line and "trace.json" in line for line in said)


def test_a_mistake_in_setup_is_in_the_status(text, tmp_path):
    """A wrapper that reads status.json must not try again, and somebody else's finished run stays as it was."""
    config = tiny(text, tmp_path / "run")
    with pytest.raises(UserError, match="must be a multiple"):
        run(replace(config, optim=replace(config.optim, batch_tokens=100)))
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert (status["status"], status["retry"]) == ("failed", False) and "multiple" in status["reason"]
    run(config)
    with pytest.raises(UserError, match="already a run"):
        run(config)
    assert json.loads((tmp_path / "run/status.json").read_text())["status"] == "done"
