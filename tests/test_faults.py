"""Ranks that are killed or told to stop, again and again at random moments: nothing is lost, and the run ends with the
same bits as one that nobody disturbed. MINIGPT_FAULTS=10 repeats each as often; 3 by default, for the sake of time."""
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from parallel_ranks import MODERN
from test_launch import starts, steps, wait_for
from test_parallel import (FIXED, MODEL, data, losses, ranks_of, run, same_bits, torchrun,  # noqa: F401
                           weights)  # fmt: skip

from minigpt import UserError, train_bpe
from minigpt.checkpoint import list_checkpoints
from minigpt.config import TrainConfig
from minigpt.parallel import join_ranks
from minigpt.report import read_metrics
from minigpt.shards import write_shards
from minigpt.text.sources import Document
from minigpt.tokenizer import END_OF_TEXT

TIMES = int(os.environ.get("MINIGPT_FAULTS", 3))
RANKS, EVERY, LENGTH = 4, 5, 40 + 20 * TIMES
TIMED = {"seconds", "tokens_per_second"}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds torchrun's ranks in /proc")


def command(data: Path, out: Path, save_every: int) -> list[str]:  # noqa: F811
    flags = ["--parallel", "fsdp", "--steps", LENGTH, "--save-every", save_every, *MODEL, *FIXED, "--eval-every", 10]
    return ["-m", "minigpt", "pretrain", "--data", data / "data", "--out", out, "--resume", *flags]


def rows(out: Path) -> list[dict]:
    """All of metrics.jsonl but the times: losses, rates, norms, evaluations."""
    return [{k: v for k, v in row.items() if k not in TIMED} for row in read_metrics(out / "metrics.jsonl")]


def begin(out: Path, *command, options: tuple = ()) -> subprocess.Popen:
    """Ranks whose output goes into a file: that of many attempts would fill a pipe, and hold them up."""
    with open(out.with_suffix(".log"), "a") as log:
        return subprocess.Popen(**torchrun(RANKS, *command, options=options), stdout=log, stderr=log)


@pytest.fixture(scope="module")
def calm(data) -> Path:  # noqa: F811
    assert begin(data / "calm", *command(data, data / "calm", 0)).wait(300) == 0
    return data / "calm"


def moments(seed: int) -> list[int]:
    """Random steps, rising, one in each part of the run."""
    draw, part = random.Random(seed), (LENGTH - 25) // TIMES
    return [8 + part * i + draw.randrange(part) for i in range(TIMES)]


def same_run(out: Path, calm: Path) -> bool:
    assert rows(out) == rows(calm) and [r["step"] for r in rows(out) if "lr" in r] == list(range(1, LENGTH + 1))
    return same_bits(weights(out, LENGTH), weights(calm, LENGTH))


@pytest.mark.slow
def test_ranks_killed_at_random_steps(data, calm, tmp_path):  # noqa: F811
    """kill -9 of one of four ranks: torchrun starts all again, each time from the newest checkpoint."""
    out, draw = tmp_path / "run", random.Random(1)
    process = begin(out, *command(data, out, EVERY), options=(f"--max-restarts={TIMES}",))
    for number, at in enumerate(moments(1), 2):
        wait_for(lambda: steps(out) >= at, process)
        status = json.loads((out / "status.json").read_text())  # what a wrapper finds if all is lost now
        assert (status["status"], status["retry"]) == ("running", True)
        os.kill(draw.choice(ranks_of(process)), signal.SIGKILL)
        wait_for(lambda: len(starts(out)) == number, process)
        assert starts(out)[-1] >= at - 2 * EVERY, "more is lost than what came after the last checkpoint"
    assert process.wait(300) == 0, out.with_suffix(".log").read_text()[-3000:]
    assert same_run(out, calm)


@pytest.mark.slow
def test_torchrun_told_to_stop_at_random_steps(data, calm, tmp_path):  # noqa: F811
    """SIGTERM, as a spot instance or Slurm sends it: all ranks save once and stop; the same command goes on."""
    out = tmp_path / "run"
    for number, at in enumerate(moments(2), 1):
        process = begin(out, *command(data, out, 0))
        wait_for(lambda: steps(out) >= at, process)
        process.terminate()
        process.wait(60)
        status = json.loads((out / "status.json").read_text())
        assert (status["status"], status["reason"], status["retry"]) == ("preempted", "interrupted", True)
        newest, *others = list_checkpoints(out / "checkpoints")
        assert newest.name == f"step_{status['step']:06d}" and len(others) == number - 1
        assert status["step"] >= at and status["step"] == steps(out)
    assert begin(out, *command(data, out, 0)).wait(300) == 0
    assert starts(out)[1:] == [int(p.name[5:]) for p in reversed(list_checkpoints(out / "checkpoints")[1:])]
    assert same_run(out, calm)


def test_an_evaluation_and_a_checkpoint_in_the_same_step(data, tmp_path):  # noqa: F811
    """After an evaluation, which has no backward pass, FSDP leaves weights whole; a checkpoint needs the pieces."""
    done = run(2, data, tmp_path / "run", "--steps", 9, "--save-every", 3, "--eval-every", 3, "--parallel", "fsdp")
    assert done.returncode == 0, done.stderr[-2000:]
    assert [p.name for p in list_checkpoints(tmp_path / "run" / "checkpoints")] == [f"step_{n:06d}" for n in (9, 6, 3)]


# ---- what one rank has and the others have not -----------------------------------------------------------------------


@pytest.mark.parametrize("lines, sentence", [
    ("import torch; torch.__version__ = '2.0.1'", "rank 1 has another torch than rank 0"),
    ("os.chdir('other')", "rank 1: run is not the folder that rank 0 sees: all hosts need one disk for --out."),
])  # fmt: skip
def test_hosts_that_differ_are_named_before_the_first_step(data, tmp_path, lines, sentence):  # noqa: F811
    (tmp_path / "other").mkdir()
    (tmp_path / "sitecustomize.py").write_text(f"import os\nif os.environ.get('RANK') == '1':\n    {lines}\n")
    how = torchrun(2, *command(data, Path("run"), 0))
    path = f"{tmp_path}{os.pathsep}{how['env']['PYTHONPATH']}"
    how |= {"cwd": tmp_path, "env": how["env"] | {"PYTHONPATH": path}}
    done = subprocess.run(**how, capture_output=True, timeout=200)
    said = [line for line in done.stderr.splitlines() if line.startswith("minigpt:")]
    assert done.returncode == 0 and len(said) == 1 and sentence in said[0], done.stderr[-3000:]
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["status"], status["retry"]) == ("failed", False)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_gpus_without_nccl_are_one_sentence(monkeypatch):
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    with pytest.raises(UserError, match="built without NCCL, through which GPUs talk: use --device cpu"):
        join_ranks(TrainConfig(parallel="ddp"), MODERN)


def test_fewer_shards_than_ranks(tmp_path):
    """Ranks share windows, not files: one file serves two of them, with the losses of one process."""
    documents = [Document(str(i), "words", f"the {i}th word is {i * i} " * 30) for i in range(40)]
    tokenizer = train_bpe([d.text for d in documents], 300, [END_OF_TEXT])
    manifest = write_shards(tmp_path / "data", documents, tokenizer, is_val=lambda d: int(d.id) % 8 == 0)
    tokenizer.save(tmp_path / "data" / "tokenizer" / "tokenizer.json")
    assert len(manifest["splits"]["train"]["shards"]) == 1
    for ranks, out in ((1, tmp_path / "one"), (2, tmp_path / "two")):
        done = run(ranks, tmp_path, out, "--steps", 8, "--parallel", "fsdp" if ranks > 1 else "auto")
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == 8 and [two[s] for s in one] == pytest.approx(list(one.values()), rel=1e-5)


# ---- long evaluations ------------------------------------------------------------------------------------------------

SLOW = """import os, time
if os.environ.get("RANK"):
    import minigpt.evaluate as evaluate
    compute = evaluate.token_losses
    evaluate.token_losses = lambda *args: (time.sleep(1.0), compute(*args))[1]
"""


@pytest.fixture(scope="module")
def much_held_out(tmp_path_factory) -> Path:
    """A data set whose held-out text takes each of two ranks seven forward passes."""
    folder, draw = tmp_path_factory.mktemp("held_out"), random.Random(0)
    words = ["".join(draw.choices("abcdefgh", k=draw.randrange(2, 6))) for _ in range(40)]
    documents = [Document(str(i), "words", " ".join(draw.choices(words, k=400))) for i in range(240)]
    tokenizer = train_bpe([d.text for d in documents[:20]], 300, [END_OF_TEXT])
    write_shards(folder / "data", documents, tokenizer, is_val=lambda d: int(d.id) % 2 == 0)
    tokenizer.save(folder / "data" / "tokenizer" / "tokenizer.json")
    return folder


def start_slowly(folder: Path, out: Path, tmp_path: Path, *flags) -> subprocess.Popen:
    """Two ranks each of whose forward passes of an evaluation lasts a second."""
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    how = torchrun(2, "-m", "minigpt", "pretrain", "--data", folder / "data", "--out", out, "--resume", "--parallel",
                   "ddp", *MODEL, *FIXED, *flags, options=("--max-restarts=0",))  # fmt: skip
    how["env"]["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{how['env']['PYTHONPATH']}"
    return subprocess.Popen(**how, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_an_evaluation_longer_than_the_patience(much_held_out, tmp_path):
    """Each of its forward passes is a sign of life."""
    process = start_slowly(much_held_out, tmp_path / "run", tmp_path, "--steps", 4, "--stall", 4)
    _, errors = process.communicate(timeout=300)
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (process.returncode, status["status"]) == (0, "done"), errors[-3000:]
    assert status["seconds"] > 7


@pytest.mark.parametrize("eval_every, eval_tokens, step", [(3, 10**6, 3), (1000, 8192, 5)])
def test_told_to_stop_in_an_evaluation(much_held_out, tmp_path, eval_every, eval_tokens, step):
    """In one on the way, or in the final one: saved at once, and the next start goes on with that evaluation."""
    flags = ["--steps", 5, "--eval-every", eval_every, "--eval-tokens", eval_tokens]
    process = start_slowly(much_held_out, tmp_path / "run", tmp_path, *flags)
    wait_for(lambda: steps(tmp_path / "run") >= step - 1, process)  # metrics come a step late
    time.sleep(2.5)
    process.terminate()
    asked = time.monotonic()
    process.wait(60)
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["status"], status["reason"], status["retry"]) == ("preempted", "interrupted", True)
    assert status["step"] == step and time.monotonic() - asked < 5
    for name in ("run", "calm"):
        assert run(2, much_held_out, tmp_path / name, *flags, "--parallel", "ddp").returncode == 0
    assert rows(tmp_path / "run") == rows(tmp_path / "calm")
    assert same_bits(weights(tmp_path / "run", 5), weights(tmp_path / "calm", 5))


@pytest.mark.parametrize("mistake", [["--no-such-flag", 1], ["--heads", 3, "--tp", 2], ["--layers", "many"]])
def test_a_mistake_replaces_an_earlier_done(data, tmp_path, mistake):  # noqa: F811
    """Found while flags are read, or before ranks meet: torchrun returns 0, and only status.json tells."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "status.json").write_text('{"status": "done", "reason": "", "retry": false, "step": 7}\n')
    done = run(2, data, tmp_path / "run", "--steps", 5, "--parallel", "fsdp", *mistake)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["status"], status["retry"], status["step"]) == ("failed", False, 7)
