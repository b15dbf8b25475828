"""The checks before a paid run, on two CPU ranks: all of it is the code that a GPU runs, with another device. What the
cards themselves do is in tests/gpu/."""
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import small_disk

from minigpt import RunConfig, UserError, preflight, preset
from minigpt.__main__ import main
from minigpt.accounting import memory, mfu, parameters
from minigpt.config import OptimConfig, TrainConfig
from minigpt.preflight import (MARKS, SMALL, Failed, append, bounded, bus_bandwidth, compared, is_well, last_words,
                               read_records, render, render_pages, run_job, trial, utilisation, write_data)  # fmt: skip
from minigpt.shards import Shards
from minigpt.tokenizer import Tokenizer

ROOT = Path(__file__).parent.parent
TINY = replace(SMALL, optim=replace(SMALL.optim, steps=24),
               train=replace(SMALL.train, micro_batch=2, precision="fp32", compile="off"))  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# ---- before a run ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_doctor_gpu_on_two_cpu_ranks(tmp_path, capsys):
    file = tmp_path / "config.json"
    file.write_text(TINY.to_json())
    command = ["doctor", "--gpu", "--device", "cpu", "--run-config", str(file), "--out", str(tmp_path / "new" / "run"),
               "--price", "7200", "--json"]  # fmt: skip
    code = main(command)
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert list(checks) == ["driver", "cards", "gloo", "all-reduce", "disk", "write speed", "first steps", "memory",
                            "speed", "whole run"]  # fmt: skip
    assert code == 0 and all(check["ok"] for check in checks.values()), checks
    assert "over 2 ranks" in checks["all-reduce"]["found"] and "ddp over 2 ranks" in checks["first steps"]["found"]
    first, last = (float(word) for word in checks["first steps"]["found"].split(";")[0].split()[1::2])
    assert first == pytest.approx(6.93, abs=0.2) and last < first  # ln 1024, of a model that knows nothing
    assert f"{memory(TINY.model, 2)['total'] / 2**30:.2f} GiB" in checks["memory"]["found"]
    rate = float(checks["speed"]["found"].split()[0].replace(",", ""))
    seconds = TINY.optim.steps * TINY.optim.batch_tokens / rate
    assert float(checks["whole run"]["found"].split("$")[1]) == pytest.approx(2 * seconds, rel=0.01, abs=0.01)
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("flags", [[], ["--full"], ["--json", "--preset", "tiny"]])
def test_without_a_gpu_one_sentence(flags, capsys):
    assert main(["doctor", "--gpu", *flags]) == 2
    said = capsys.readouterr()
    assert not said.out and said.err.startswith("minigpt: no usable GPU") and said.err.count("\n") == 1


@pytest.mark.parametrize("flags, words", [
    (["--run-config", "nowhere.json"], "--run-config nowhere.json is not a file"),
    (["--preset", "huge"], "unknown preset 'huge'"),
    (["--peer", "elsewhere"], "write --peer nanogpt=DIR"),
])  # fmt: skip
def test_mistakes_are_one_sentence(flags, words, capsys):
    assert main(["doctor", "--gpu", "--device", "cpu", *flags]) == 2
    assert words in capsys.readouterr().err


def test_a_ring_sends_what_bus_bandwidth_says():
    for ranks in (2, 3, 8):
        size, sent = 840, 0
        for _ in ("reduce-scatter", "all-gather"):  # each rank passes a chunk on, n - 1 times
            sent += (ranks - 1) * (size // ranks)
        assert bus_bandwidth(size, 0.5, ranks) == pytest.approx(sent / 0.5)


def test_a_job_that_hangs_or_crashes_says_so(tmp_path):
    with pytest.raises(Failed, match="no answer in 0.05|no answer in 0 s"):
        run_job("time_all_reduce", 1, patience=0.05, device="cpu", mebibytes=1)
    config = trial(replace(SMALL, optim=replace(SMALL.optim, batch_tokens=1000)), tmp_path, "run", device="cpu")
    with pytest.raises(Failed, match="minigpt: batch_tokens 1000 must be a multiple of the context, 128"):
        run_job("first_steps", config=config, steps=1)


@pytest.mark.parametrize("said, word", [
    ("Traceback\n  File x\nValueError: no such thing\n\nroot cause: rank 1", "ValueError: no such thing"),
    ("[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried\n[rank1]: more\ntorch.distributed.elastic."
     "multiprocessing.errors.ChildFailedError: \n====", "torch.OutOfMemoryError: CUDA out of memory. Tried"),
    ("minigpt: unknown", "minigpt: unknown"), ("Killed\n", "Killed"), ("", "it ended without a word"),
])  # fmt: skip
def test_last_words(said, word):
    assert last_words(said) == word


def test_a_disk_that_is_too_small(tmp_path):
    model = preset("gpt2-124m").model
    with small_disk(tmp_path / "disk", "100m") as folder:
        room, rate = preflight.disk(model, folder / "runs" / "a", keep=2, mebibytes=8)
        assert not room[1] and f"{(3 * 12 * parameters(model) + (2 << 30)) / 2**30:.1f}" in room[2] and rate[1]
        *_, full = preflight.disk(model, folder, keep=2, mebibytes=200)
        assert not full[1] and "No space left" in full[2] and list(folder.iterdir()) == []


def test_first_steps_that_fail_are_a_check_that_is_not_ok(monkeypatch):
    def fail(*args, **kwargs):
        raise Failed("OutOfMemoryError: CUDA out of memory")

    monkeypatch.setattr(preflight, "run_job", fail)
    (check,) = preflight.rehearsal(SMALL, "cpu", 2, 0.0)
    assert check[:3] == ("first steps", False, "OutOfMemoryError: CUDA out of memory") and "--micro-batch" in check[3]
    name, ok, found, remedy = preflight.links("cpu", 2)
    assert not ok and "nvidia-smi topo" in remedy
    assert preflight.links("cuda", 1)[1]  # one card needs no network


def test_on_a_cpu_the_first_steps_are_short_and_it_says_so_first(monkeypatch, tmp_path):
    """Half a million tokens a step would take two CPU ranks hours; the price is still that of the whole run."""
    run, asked = preset("gpt2-124m"), []

    def answer(job, ranks, config, steps):
        asked.append((ranks, steps, config["optim"]["batch_tokens"]))
        raise Failed("enough")

    monkeypatch.setattr(preflight, "run_job", answer)
    monkeypatch.setattr(preflight, "links", lambda *args: ("all-reduce", True, "", ""))
    first, *_, last = preflight.examine(run, "cpu", 2, tmp_path)
    assert first[2].startswith("no GPU: 2 ranks on ") and "2,048 tokens a step" in first[2]
    assert asked == [(2, 5, 2048)] and last[:3] == ("first steps", False, "enough")
    assert bounded(run, "cuda", 8) == run and bounded(run, "cuda", 8, 2**18).optim.batch_tokens == 2**18
    assert bounded(TINY, "cpu", 2) == TINY  # what is short stays as it is
    assert bounded(run, "cpu", 3).optim.batch_tokens == 3 * 1024  # one sequence a rank, at least


@pytest.mark.parametrize("rate, limit, words", [(1000.0, 0.0, "2.78 hours, $8.33"),
                                                (1000.0, 3600.0, "1.00 hours, $3.00 (its time limit)")])  # fmt: skip
def test_what_the_run_will_cost(monkeypatch, rate, limit, words):
    answer = {"losses": [6.9, float("nan")], "precision": "bf16", "compile": True, "attention": "flash", "layout": "",
              "micro_batch": 8, "formula": 2**30, "peak": None, "tokens_per_second": rate}  # fmt: skip
    monkeypatch.setattr(preflight, "run_job", lambda *args, **kwargs: answer)
    optim, limited = OptimConfig(steps=1000, batch_tokens=10_000), TrainConfig(time_limit=limit)
    run = RunConfig(SMALL.model, optim=optim, train=limited)
    rows = {row[0]: row for row in preflight.rehearsal(run, "cpu", 1, 3.0)}
    assert rows["whole run"][2] == words
    assert not rows["first steps"][1]  # a loss is not finite


@pytest.mark.parametrize("card, peak", [
    ("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA A100-SXM4-80GB", 312e12),
    ("NVIDIA H200", 989e12), ("NVIDIA L4", 121e12), ("NVIDIA L40S", None), ("NVIDIA GeForce RTX 4090", 165e12),
    ("Tesla T4", 65e12), ("NVIDIA GeForce GTX 1080", None),
])  # fmt: skip
def test_utilisation_of_cards_by_name(monkeypatch, card, peak):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: card)
    c = preset("gpt2-124m").model
    assert utilisation(1e5, c, "cuda") == (peak and mfu(1e5, c, peak, "palm"))
    if peak == 989e12:  # 6 N + 12 L H D T, with N = 124,439,808
        assert utilisation(1e5, c, "cuda") == pytest.approx(1e5 * (6 * 124_439_808 + 12 * 12 * 768 * 1024) / 989e12)


@pytest.mark.parametrize("vocab_size", [300, 50257, 70_000])
def test_made_up_data_has_the_vocabulary_it_should(tmp_path, vocab_size):
    write_data(tmp_path, vocab_size, words=6000)
    tokenizer = Tokenizer.load(tmp_path / "tokenizer" / "tokenizer.json")
    assert tokenizer.vocab_size == vocab_size == len(set(tokenizer.vocab.values()))
    assert tokenizer.decode(tokenizer.encode("made up words")) == "made up words"
    data, val = (Shards.open(tmp_path, split, context=64) for split in ("train", "val"))
    assert data.windows > 20 and val.windows > 2 and data.read([0])[0].max() < vocab_size


# ---- what a card has seen --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return preflight.make_record(TINY, "cpu", 2, small=TINY, formats=("fp32", "bf16"), compiles=("off",), seconds=1e9,
                          say=lambda line: None)  # fmt: skip


@pytest.mark.slow
def test_a_record_of_this_cpu(record):
    assert is_well(record), record
    assert record["device"] == "cpu" and record["count"] == 2 and record["torch"] == torch.__version__
    assert len(record["commit"] or "0" * 40) == 40
    assert record["parity_fp32"]["difference"] == 0  # the same machine, twice: bit-equal
    assert 0 < record["parity_bf16"]["difference"] < record["parity_bf16"]["tolerance"]
    assert 0 < record["fsdp"]["difference"] < 1e-5
    killed = record["kill_and_resume"]
    assert killed["bit_equal"] and 0 < killed["resumed_at"] <= killed["killed_at"] == 15  # read a step late, of 16
    assert record["attention"]["cudnn"] is None and record["attention"]["flash"]["ms"] > 0
    speed = record["speed"]
    assert speed["parameters"] == parameters(TINY.model) and speed["mfu"] is None and speed["tokens_per_second"] > 0
    assert 0 <= speed["waits"]["data"] + speed["waits"]["loss"] <= 1
    assert json.loads(json.dumps(record)) == record


def test_a_part_that_fails_is_on_record_and_late_ones_are_skipped(monkeypatch):
    def fail(*args, **kwargs):
        raise Failed("RuntimeError: no")

    monkeypatch.setattr(preflight, "run_job", fail)
    monkeypatch.setattr(preflight, "kernels", lambda *args: {"ok": True})
    found = preflight.make_record(TINY, "cpu", 1, say=lambda line: None)
    assert found["parity_bf16_compiled"] == {"ok": False, "failed": "RuntimeError: no"} and not is_well(found)
    late = preflight.make_record(TINY, "cpu", 1, say=lambda line: None, seconds=-1.0)
    assert late["speed"] == {"skipped": "no time left"} and is_well(late)


def test_losses_that_differ_or_are_not_finite_are_not_equal():
    assert compared([2.0, 1.0], [2.0, 1.0], 0.0) == {"ok": True, "difference": 0.0, "tolerance": 0.0}
    assert compared([2.2, 1.0], [2.0, 1.0], 0.2)["difference"] == 0.1
    assert not compared([2.2, 1.0], [2.0, 1.0], 0.05)["ok"]
    for losses in ([2.0, float("nan")], [2.0]):
        assert not compared(losses, [2.0, 1.0], 0.1)["ok"]


def test_nanogpt_is_measured_by_its_own_benchmark(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="bench.py is missing"):
        preflight.against_nanogpt(tmp_path, tmp_path, "cpu")
    (tmp_path / "bench.py").write_text("import sys\nassert '--real_data=False' in sys.argv\nprint('19/20 loss: 10.8')\n"
                                       "print('time per iteration: 61.4400ms, MFU: 35.10%')\n")  # fmt: skip
    monkeypatch.setattr(preflight, "speed", lambda config, *args, **kwargs: {
        "tokens_per_second": 20 * config.optim.batch_tokens})  # fmt: skip
    assert preflight.against_nanogpt(tmp_path, tmp_path, "cpu") == {
        "ok": True, "ours": 245_760, "theirs": 200_000, "ratio": 1.229}  # fmt: skip
    (tmp_path / "bench.py").write_text("raise MemoryError('too small')")
    with pytest.raises(Failed, match="nanoGPT's bench.py: MemoryError: too small"):
        preflight.against_nanogpt(tmp_path, tmp_path, "cpu")


# ---- what may be said about GPUs -------------------------------------------------------------------------------------

PLANTED = {
    "date": "2031-05-04", "device": "cuda", "card": "Some Card", "count": 3, "driver": "9.9", "torch": "9.1",
    "cuda": "19.0", "commit": "0123456789abcdef", "dirty": True,
    "speed": {"ok": True, "tokens_per_second": 123_456, "mfu": 0.4321, "peak": 3 << 30, "formula": 4 << 30},
    "parity_fp32": {"ok": True, "difference": 2e-7, "tolerance": 1e-5},
    "parity_bf16_compiled": {"ok": False, "difference": 0.25, "tolerance": 2**-8},
    "kill_and_resume": {"ok": True, "bit_equal": False, "largest_difference": 3e-6},
}  # fmt: skip


def test_without_a_record_nothing_is_claimed(tmp_path):
    append(PLANTED | {"device": "cpu"}, tmp_path / "docs" / "runs.jsonl")
    records = read_records(tmp_path / "docs" / "runs.jsonl")
    assert records == [] and "not been run on a GPU yet" in render(records)


def test_a_record_is_rendered(tmp_path):
    file = tmp_path / "runs.jsonl"
    append(PLANTED | {"date": "2030-01-01"}, file)
    append(PLANTED, file)
    append(PLANTED | {"card": "Other Card", "speed": {"ok": False, "failed": "no"}, "kill_and_resume": {}}, file)
    _, _, row, other, *rest = render(read_records(file)).splitlines()
    for words in ("3 × Some Card", "2031-05-04, 0123456789 (changed)", "123,456", "43.2%", "3.0, 4.0 GiB",
                  "fp32 2e-07, bf16 compiled 0.2 **NO**", "within 3e-06", "not run |"):  # fmt: skip
        assert words in row
    assert other.count("not run") == 5 and "fp8` has not been run" in rest[-1] and "2030" not in row
    file.write_text(file.read_text() + "{oh")
    with pytest.raises(UserError, match="runs.jsonl is damaged"):
        read_records(file)


def test_pages_say_what_the_records_say(tmp_path):
    """After a new record: python -m minigpt.preflight render."""
    ours = tmp_path / "ours"
    shutil.copytree(ROOT / "docs", ours / "docs")
    shutil.copy(ROOT / "README.md", ours)
    pages = [page for page in (ours / "README.md", *(ours / "docs").glob("*.md")) if MARKS[0] in page.read_text()]
    assert {page.name for page in pages} == {"README.md", "benchmarks.md"} and render_pages(ours) == []
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(f"before\n{MARKS[0]}\nold\nwords\n{MARKS[1]}\nafter\n")
    append(PLANTED, tmp_path / "docs" / "gpu_runs.jsonl")
    assert render_pages(tmp_path) == [tmp_path / "README.md"] and render_pages(tmp_path) == []
    assert "Some Card" in (tmp_path / "README.md").read_text() and "old" not in (tmp_path / "README.md").read_text()
