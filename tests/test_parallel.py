"""Every layout trains as one process does. Real ranks, started by torchrun, talk through gloo."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from conftest import small_disk
from parallel_ranks import LAYOUTS, MODERN, PARTS, RECIPES, STEPS, TRADED
from safetensors.torch import load_file

from minigpt import GPT, ModelConfig, UserError, train_bpe
from minigpt.classroom import on_ranks
from minigpt.checkpoint import list_checkpoints, load_checkpoint
from minigpt.config import TrainConfig
from minigpt.files import child_environment
from minigpt.parallel import (Layout, StallWatch, check_copies, gradient_bytes, meeting_point, mesh_sizes, must_agree,
                              name_stragglers, place, own_windows, together)  # fmt: skip
from minigpt.shards import write_shards
from minigpt.text.sources import Document
from minigpt.tokenizer import END_OF_TEXT

HERE = Path(__file__).parent


def torchrun(ranks: int, *command, options: tuple = ()) -> dict:
    """What `subprocess.run` and `Popen` need to start so many ranks: args, env, cwd."""
    return {"args": [sys.executable, "-m", "torch.distributed.run", "--standalone", *options,
                     f"--nproc-per-node={ranks}", *map(str, command)],
            "env": child_environment(OMP_NUM_THREADS="1"),
            "cwd": HERE.parent, "text": True}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder whose data/ has many small shards: the last window of each is short, so ranks see unequal numbers of
    targets."""
    folder = tmp_path_factory.mktemp("parallel")
    draw = np.random.default_rng(0)
    words = ["".join(draw.choice(list("abcdefgh"), draw.integers(2, 6))) for _ in range(40)]
    documents = [Document(str(i), "words", " ".join(draw.choice(words, 120))) for i in range(60)]
    tokenizer = train_bpe([d.text for d in documents], 300, [END_OF_TEXT])
    write_shards(folder / "data", documents, tokenizer, is_val=lambda d: int(d.id) % 6 == 0, shard_tokens=80)
    tokenizer.save(folder / "data" / "tokenizer" / "tokenizer.json")
    return folder


@pytest.fixture(scope="module")
def found(data) -> dict[str, dict]:
    """What all layouts found, by "layout | recipe | accumulation"."""
    script, all_found = HERE / "parallel_ranks.py", {}
    for world in LAYOUTS:
        alone = {"args": [sys.executable, script, data], "env": child_environment()}
        start = torchrun(world, script, data) if world > 1 else alone | {"text": True}
        done = subprocess.run(**start, capture_output=True)
        assert not done.returncode, done.stderr[-3000:]
        all_found |= json.loads((data / f"found_{world}.json").read_text())
    return all_found


def several(worlds=(2, 4)):
    return [name for world in worlds for name in LAYOUTS[world]]


@pytest.mark.parametrize("recipe, parts", [(recipe, n) for recipe, parts in PARTS.items() for n in parts])
@pytest.mark.parametrize("layout", several())
def test_a_layout_trains_as_one_process_does(found, layout, recipe, parts):
    one, many = found[f"one | {recipe} | 1"], found[f"{layout} | {recipe} | {parts}"]
    assert len(many["loss"]) == STEPS and many["loss"][-1] < many["loss"][0] - 0.2
    np.testing.assert_allclose(many["loss"], one["loss"], rtol=1e-5)
    np.testing.assert_allclose(many["norm"], one["norm"], rtol=1e-4)
    assert many["val_bpb"] == pytest.approx(one["val_bpb"], rel=1e-5)


@pytest.mark.parametrize("way", ["unsharded", "selective", "full"])
@pytest.mark.parametrize("layout", TRADED)
def test_ways_to_trade_memory_change_no_number(found, layout, way):
    one, many = found["one | modern tied muon | 1"], found[f"{layout} | modern tied muon | {way}"]
    np.testing.assert_allclose(many["loss"], one["loss"], rtol=1e-5)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("layout", several())
def test_gradients_with_unequal_numbers_of_targets(found, data, layout, recipe):
    one = load_file(data / f"gradients_one_{recipe}.safetensors")
    many = load_file(data / f"gradients_{layout}_{recipe}.safetensors")
    assert one.keys() == many.keys()
    for name in one:
        assert (many[name] - one[name]).abs().max() <= 1e-6 * max(1, one[name].abs().max()), name


def test_targets_are_counted_without_reading(data):
    from minigpt.shards import Shards

    shards = Shards.open(data / "data", context=24)
    for step in range(5):
        windows = shards.batch(1, step, 16)
        counts = [(shards.read([w])[1] != -100).sum() for w in windows]
        assert shards.targets(windows) == sum(counts) and len(set(counts)) > 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_rank_holds_its_share(found, recipe):
    """Weights, gradients and optimizer states over four shards: within 2 % of a quarter."""
    one, four = found[f"one | {recipe} | 1"]["bytes"], found[f"fsdp4 | {recipe} | 2"]["bytes"]
    assert four == pytest.approx(one / 4, rel=0.02)


def test_initial_weights_are_the_same_in_every_layout(found):
    first = {name: row["loss"][0] for name, row in found.items() if "modern tied muon" in name}
    assert max(first.values()) - min(first.values()) < 1e-6


# ---- sizes -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def launched(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "8")


@pytest.mark.parametrize("flags, world, expected", [
    (dict(parallel="ddp"), 8, (8, 1, 1)),
    (dict(parallel="fsdp"), 8, (1, 8, 1)),
    (dict(parallel="fsdp", replicate=2), 8, (2, 4, 1)),
    (dict(parallel="fsdp", replicate=2, tp=2), 8, (2, 2, 2)),
    (dict(parallel="auto"), 1, (1, 1, 1)),
])  # fmt: skip
def test_mesh(launched, flags, world, expected):
    assert mesh_sizes(TrainConfig(**flags), MODERN, world) == expected


@pytest.mark.parametrize("flags, world, words", [
    (dict(parallel="fsdp", tp=3), 8, "--tp 3 does not divide the 8 ranks"),
    (dict(parallel="fsdp", tp=4), 8, "--tp 4 does not divide the model's kv_heads (2)"),
    (dict(parallel="fsdp", replicate=3), 8, "--replicate 3 does not divide the 8 ranks"),
    (dict(parallel="ddp", tp=2), 8, "--tp 2 goes with --parallel fsdp"),
    (dict(parallel="ddp", replicate=4), 8, "each of the 8 ranks is a copy"),
    (dict(parallel="none"), 8, "--parallel none uses one"),
])  # fmt: skip
def test_sizes_that_do_not_fit(launched, flags, world, words):
    with pytest.raises(UserError) as error:
        mesh_sizes(TrainConfig(**flags), MODERN, world)
    assert words in str(error.value)


def test_ranks_need_torchrun(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UserError, match="torchrun --nproc-per-node 2"):
        mesh_sizes(TrainConfig(parallel="ddp"), MODERN, 1)


def test_share_gives_every_window_to_one_rank():
    windows = list(range(100, 111))
    parts = [own_windows(windows, Layout(sizes=(2, 2, 1), place=(r, s, 0))) for r in range(2) for s in range(2)]
    assert {len(part) for part in parts} == {3}
    assert sorted(w for part in parts for w in part if w >= 0) == windows


BYTES = [
    (recipe, mode, sizes, micro, unsharded)
    for recipe in RECIPES for mode, sizes, micro, unsharded in (
        ("ddp", (8, 1, 1), 1, False), ("ddp", (64, 1, 1), 3, False), ("fsdp", (1, 8, 1), 1, False),
        ("fsdp", (1, 8, 1), 3, False), ("fsdp", (1, 8, 1), 3, True), ("fsdp", (1, 64, 1), 2, False),
        ("fsdp", (2, 4, 1), 2, False), ("fsdp", (8, 8, 1), 1, False), ("fsdp", (8, 8, 1), 2, True))
]  # fmt: skip


def test_bytes_of_gradients_are_those_of_the_formula():
    """At 8 and 64 pretended ranks, counted as they are handed to the collectives."""
    done = subprocess.run([sys.executable, HERE / "parallel_ranks.py", "bytes", json.dumps(BYTES)], text=True,
                          capture_output=True, env=child_environment())  # fmt: skip
    assert not done.returncode, done.stderr[-3000:]
    for (recipe, mode, sizes, micro, unsharded), counted in zip(BYTES, json.loads(done.stdout), strict=True):
        formula = gradient_bytes(RECIPES[recipe][0], mode, sizes, micro, unsharded)
        assert counted == formula > 0, (recipe, mode, sizes, micro, unsharded)


# ---- the command: resume, kill, stop ---------------------------------------------------------------------------------

MODEL = ("--family modern --layers 2 --width 64 --heads 4 --kv-heads 2 --head-size 16 --mlp-width 96 --context 24 "
         "--vocab-size 300 --batch-tokens 384 --lr 0.01 --matrix-lr 0.03 --seed 3").split()  # fmt: skip
FIXED = "--device cpu --precision fp32 --compile off --samples 0 --time-limit 0 --keep 99 --eval-every 1000".split()


def pretrain(data: Path, out: Path, *flags) -> list[str]:
    return ["-m", "minigpt", "pretrain", "--data", str(data / "data"), "--out", str(out), "--resume", *MODEL, *FIXED,
            *map(str, flags)]  # fmt: skip


def run(ranks: int, data: Path, out: Path, *flags) -> subprocess.CompletedProcess:
    command = pretrain(data, out, *flags)
    if ranks > 1:
        return subprocess.run(**torchrun(ranks, *command), capture_output=True, timeout=600)
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=HERE.parent,
                          env=child_environment(OMP_NUM_THREADS="1"))  # fmt: skip


def losses(out: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["train_loss"] for row in rows if "train_loss" in row}


def weights(out: Path, step: int) -> dict:
    return load_checkpoint(out / "checkpoints" / f"step_{step:06d}")[0]


def forget_after(out: Path, step: int) -> None:
    """As if the run had been stopped after this step."""
    for folder in list_checkpoints(out / "checkpoints"):
        if int(folder.name[5:]) > step:
            shutil.rmtree(folder)
    for name in ("status.json", "summary.json"):
        (out / name).unlink()


@pytest.fixture(scope="module")
def undisturbed(data) -> Path:
    """One process, 20 steps."""
    done = run(1, data, data / "undisturbed", "--steps", 20)
    assert done.returncode == 0, done.stderr[-2000:]
    return data / "undisturbed"


def test_resume_on_other_ranks_and_layouts(data, undisturbed, tmp_path):
    """4 ranks → 2 → 1 → 2 × 2 with tensor parallelism: the same order of data and the same losses. Nothing on the way
    may unpickle a file."""
    (tmp_path / "sitecustomize.py").write_text(
        "import pickle, torch\ndef refuse(*a, **k): raise RuntimeError('something unpickles a file')\n"
        "pickle.load = torch.load = refuse\n")  # fmt: skip
    out, expected = tmp_path / "run", losses(undisturbed)
    for ranks, flags, stop in ((4, ["--parallel", "fsdp"], 5), (2, ["--parallel", "ddp"], 10), (1, [], 15),
                               (4, ["--parallel", "fsdp", "--tp", "2"], 20)):  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(tmp_path))
            done = run(ranks, data, out, "--steps", 20, "--save-every", 5, "--eval-every", 19, *flags)
        assert done.returncode == 0 and (out / "summary.json").exists(), done.stderr[-3000:]
        assert (done.stdout + done.stderr).count("val_bpb") == 1  # one rank speaks for all
        found = losses(out)
        assert found.keys() == expected.keys()
        np.testing.assert_allclose([found[s] for s in found], [expected[s] for s in found], rtol=1e-5)
        if stop < 20:
            forget_after(out, stop)
    whole, pieces = weights(undisturbed, 20), weights(out, 20)
    assert whole.keys() == pieces.keys()
    assert all(torch.allclose(whole[name], pieces[name], atol=1e-4) for name in whole if name.startswith("model."))


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_torchrun_may_start_a_single_rank(data, undisturbed, tmp_path, mode):
    command = pretrain(data, tmp_path / "run", "--steps", 20, "--save-every", 15, "--parallel", mode)
    done = subprocess.run(**torchrun(1, *command), capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]
    forget_after(tmp_path / "run", 15)
    assert subprocess.run(**torchrun(1, *command), capture_output=True).returncode == 0
    found, expected = losses(tmp_path / "run"), losses(undisturbed)
    np.testing.assert_allclose([found[s] for s in expected], list(expected.values()), rtol=1e-5)


def test_questions_during_training_get_the_same_answers(data, tmp_path):
    rows = [{"question": q, "options": options, "answer": 0, "group": q} for q, options in
            (("abc", ["def", "g", "hhh ab"]), ("ab cd", ["ef", "gh"]), ("h" * 20, ["a", "bb"]))]  # fmt: skip
    (tmp_path / "asked.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = []
    for ranks, flags in ((1, []), (2, ["--parallel", "fsdp"]), (2, ["--parallel", "fsdp", "--tp", "2"])):
        out = tmp_path / f"{ranks} {len(flags)}"
        flags += ["--steps", 5, "--choices", tmp_path / "asked.jsonl", "--choices-every", 2, "--save-every", 2]
        done = run(ranks, data, out, *flags)
        assert done.returncode == 0, done.stderr[-3000:]
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        found.append([(row["step"], row["choices"]["asked"]) for row in lines if "choices" in row])
    assert [step for step, _ in found[0]] == [2, 4] and found[0][0][1]["items"] == 3
    assert found[0] == found[1] == found[2]


def test_a_killed_rank_costs_nothing(data, tmp_path):
    """torchrun starts all ranks again, and the run ends with the same bits as one that nobody killed."""
    flags = ["--steps", 24, "--save-every", 4, "--parallel", "fsdp"]
    assert run(2, data, tmp_path / "calm", *flags).returncode == 0
    process = start(2, pretrain(data, tmp_path / "killed", *flags), "--max-restarts=2")
    wait_for_step(tmp_path / "killed", 9, process)
    os.kill(ranks_of(process)[1], signal.SIGKILL)
    assert process.wait(300) == 0, process.stderr.read()[-3000:]
    assert same_bits(weights(tmp_path / "calm", 24), weights(tmp_path / "killed", 24))
    assert losses(tmp_path / "calm") == losses(tmp_path / "killed")


def test_a_machine_that_is_taken_away(data, tmp_path):
    """SIGTERM to torchrun, as a spot instance or Slurm sends it: all ranks save once, and the same command goes on."""
    flags = ["--steps", 24, "--save-every", 0, "--parallel", "ddp"]
    assert run(2, data, tmp_path / "calm", *flags).returncode == 0
    process = start(2, pretrain(data, tmp_path / "taken", *flags))
    wait_for_step(tmp_path / "taken", 7, process)
    process.terminate()
    process.wait(60)
    status = json.loads((tmp_path / "taken" / "status.json").read_text())
    assert (status["status"], status["reason"], status["retry"]) == ("preempted", "interrupted", True)
    assert [p.name for p in list_checkpoints(tmp_path / "taken" / "checkpoints")] == [f"step_{status['step']:06d}"]
    assert run(2, data, tmp_path / "taken", *flags).returncode == 0
    assert same_bits(weights(tmp_path / "calm", 24), weights(tmp_path / "taken", 24))


def start(ranks: int, command: list[str], *options) -> subprocess.Popen:
    return subprocess.Popen(**torchrun(ranks, *command, options=options), stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE)  # fmt: skip


def ranks_of(process: subprocess.Popen) -> list[int]:
    """Process ids of torchrun's ranks."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("needs /proc")
    found = [int(pid) for pid in children.read_text().split()]
    return [pid for pid in found if b"pretrain" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def wait_for_step(out: Path, step: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()[-3000:]
        with suppress(OSError, ValueError):
            if max(losses(out), default=0) >= step:
                return
        time.sleep(0.02)
    raise AssertionError("the run did not come so far")


def same_bits(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_mistakes_end_all_ranks_with_one_sentence(data, tmp_path):
    """torchrun would start a failed rank again, so ranks exit 0 and status.json says that trying again is no use."""
    done = run(2, data, tmp_path / "run", "--steps", 5, "--parallel", "fsdp", "--batch-tokens", 24 * 3)
    assert done.returncode == 0
    said = [line for line in done.stderr.splitlines() if line.startswith("minigpt:")]
    assert said == ["minigpt: a batch of 3 sequences cannot be shared equally by 2 devices: change batch_tokens or the "
                    "number of devices."]  # fmt: skip
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["status"], status["retry"]) == ("failed", False) and "shared equally" in status["reason"]


# ---- what goes wrong between ranks -----------------------------------------------------------------------------------

IMPORTS = """
from dataclasses import replace
from minigpt import GPT, ModelConfig, UserError
from minigpt.parallel import StallWatch, check_copies, must_agree, name_stragglers, place, together
"""


def one_bit_flips(rank, world):
    layout = place("ddp", (world, 1, 1))
    model = GPT(ModelConfig(layers=1, width=32, heads=1, kv_heads=1, head_size=32, mlp_width=48, vocab_size=70))
    check_copies(model, layout, 6)  # equal so far
    if rank == 1:
        weight = model.blocks[0].mlp.up.weight.data.view(torch.int32)
        weight[3, 5] ^= 1
    try:
        check_copies(model, layout, 7)
    except RuntimeError as error:
        return str(error)


def test_of_two_copies_nobody_can_tell_which_is_right():
    for said in on_ranks(2, one_bit_flips, IMPORTS):
        assert said.startswith("at step 7 rank 0, 1 hold different weights")


def test_a_copy_that_differs_in_one_bit_is_named():
    for said in on_ranks(3, one_bit_flips, IMPORTS):
        assert said.startswith("at step 7 rank 1 holds other weights than its copies")


def waits_and_disagrees(rank, world):
    layout, said, errors = place("ddp", (world, 1, 1)), [], []
    name_stragglers(layout, 9.0 if rank == 2 else 0.1, said.append)

    def same(**facts):
        try:
            must_agree(layout, **facts)
        except UserError as error:
            errors.append(str(error))

    same(torch="2.13", config="seed 3")
    same(torch="2.13", config="seed 4" if rank == 1 else "seed 3")
    same(torch="2.12" if rank == 2 else "2.13", config="seed 3")
    try:
        with together(layout):
            if rank == 1:
                raise UserError("there is no text here.")
    except UserError as error:
        errors.append(str(error))
    return said, errors


def test_stragglers_and_ranks_that_differ_are_named():
    found = on_ranks(3, waits_and_disagrees, IMPORTS)
    assert any("rank 2 waits for its data" in line for line in found[0][0]) and not found[1][0]
    for _, errors in found:
        assert len(errors) == 3
        assert errors[0].startswith("rank 1 has another config than rank 0") and "seed 4" in errors[0]
        assert errors[1].startswith("rank 2 has another torch than rank 0")
        assert errors[2] == "rank 1: there is no text here."


def hangs(rank, world):
    layout = replace(place("ddp", (world, 1, 1)), store=dist.distributed_c10d._get_default_store())
    watch = StallWatch(layout, 1.5)
    for step in range(5):
        watch.beat(step)
        if rank == 1 and step == 4:
            time.sleep(60)
        dist.barrier()


def test_a_collective_that_hangs_is_ended_and_the_rank_named():
    with pytest.raises(RuntimeError, match=r"rank 0 has waited 2 s in step 4 \(train\)\. Behind: "):
        on_ranks(2, hangs, IMPORTS, timeout=50)


def test_a_busy_port_is_one_sentence(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for name, value in (("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", taken.getsockname()[1])):
            monkeypatch.setenv(name, str(value))
        monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
        with pytest.raises(UserError, match="rank 0 found no place to meet at 127.0.0.1:.*is the port taken"):
            meeting_point(0, 2)


def test_a_full_disk_does_not_end_many_ranks(data, tmp_path):
    with small_disk(tmp_path / "disk", "3m") as disk:
        done = run(2, data, disk / "run", "--steps", 12, "--save-every", 2, "--parallel", "fsdp")
        assert done.returncode == 0 and "could not save step" in done.stdout + done.stderr, done.stderr[-2000:]
        assert max(losses(disk / "run")) == 12
        newest = list_checkpoints(disk / "run" / "checkpoints")[0]
        assert load_checkpoint(newest)[1]["step"] > 0
