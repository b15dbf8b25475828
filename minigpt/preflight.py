"""What this machine's GPUs can do, before a run is paid for; and whether they compute the right thing.

    examine(…)           checks before a run, one after the other: cards, NCCL, all-reduce, disk, the run's first steps
    make_record(…)       what a card has seen: one record, a line of docs/gpu_runs.jsonl
    render(records)      what README and docs may say about GPUs: what is on record, and nothing else

Whatever could hang or crash runs in processes of its own (`python -m minigpt.preflight JOB FILE`, by torchrun where
there are several ranks), which are given up after a while. All of it takes the device as an argument: on a CPU the same
code runs over gloo, which is how it is tested.
"""
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import timedelta
from itertools import chain, count, islice, product
from pathlib import Path
from string import ascii_lowercase

import torch
import torch.distributed as dist

from . import parallel, train
from .accounting import memory, mfu, parameters
from .checkpoint import load_latest
from .config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig, UserError, preset
from .files import end_with_parent, run_child, write_atomic
from .precision import BACKENDS, attention_tolerance, attention_trial, device_name, refuse_fp8
from .shards import write_shards
from .text.sources import Document
from .tokenizer import END_OF_TEXT, Tokenizer

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "docs" / "gpu_runs.jsonl"
PEAKS = {r"H100 PCIe": 756e12, r"H100 NVL": 835e12, r"\b(H100|H200|GH200)": 989e12, r"\bB200": 2250e12,
         r"\bA100": 312e12, r"\bL4\b": 121e12, r"RTX 4090$": 165e12, r"\bT4\b": 65e12}  # fmt: skip
"""FLOP/s of dense products in bf16 (T4: fp16) with sums in fp32, by card, from NVIDIA's data sheets."""
CONVENTION = "palm"
"""Of accounting.mfu: 6 N + 12 L H D T a token."""
PATIENCE = {"time_all_reduce": 120.0, "first_steps": 900.0, "run_to_end": 240.0}
"""Seconds after which a job is given up."""
SLOW_SAVE = 120.0
"""Seconds of writing one checkpoint from which the disk is called slow."""
PARITY = {"fp32": 1e-5, "fp16": 2**-11, "bf16": 2**-8, "fp8": 2**-4}
"""How far a loss may be from the CPU's in fp32, relative, over the first steps of SMALL.

Weights, sums and the loss are in fp32 everywhere. In fp32 only the order of sums differs: 2^-24 a rounding, which the
steps of training amplify. In the other formats the factors of products are rounded, fp16 by 2^-11, bf16 by 2^-8, fp8 by
2^-4 (e4m3); the loss is a mean over many roundings, of both signs, so it stays below a single one. (CPUs that emulate
fp16 and bf16 differ by 1e-5 and 3e-5.) A forgotten mask or a gradient that is not added up moves it by more.
"""
SMALL = RunConfig(
    ModelConfig(layers=2, width=128, heads=2, kv_heads=1, head_size=64, mlp_width=192, context=128, vocab_size=1024),
    DataConfig(), OptimConfig(steps=40, batch_tokens=1024, lr=1e-3, matrix_lr=5e-3),
    TrainConfig(micro_batch=4, samples=0, eval_tokens=512, save_every="5"),
)  # fmt: skip
"""A run of seconds, with accumulation, for comparing numbers."""


class Failed(Exception):
    """A job that crashed, or gave no answer in time."""


# ---- jobs: what runs in processes of its own -------------------------------------------------------------------------


def run_job(job: str, ranks: int = 1, patience: float | None = None, **arguments):
    """The answer of a job (a function of JOBS) on so many ranks; Failed, with the last words of the one that failed."""
    patience = PATIENCE[job] if patience is None else patience
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    with tempfile.TemporaryDirectory(prefix="minigpt-job-", ignore_cleanup_errors=True) as folder:
        file, answer = Path(folder, "job.json"), Path(folder, "answer.json")
        file.write_text(json.dumps(arguments))
        try:
            _, said = run_child([sys.executable, *launcher, "-m", "minigpt.preflight", job, str(file)], patience)
        except subprocess.TimeoutExpired:
            raise Failed(f"no answer in {patience:.0f} s") from None
        if not answer.exists():
            raise Failed(last_words(said))
        return json.loads(answer.read_text())


def last_words(said: str) -> str:
    """The line of a failed job's output that names the error.

    >>> last_words("Traceback …\\n  File …\\nValueError: no such thing\\n\\nroot cause: rank 1\\n")
    'ValueError: no such thing'
    """
    lines = [re.sub(r"^\[rank\d+\]:\s*", "", line.strip()) for line in said.splitlines() if line.strip()]
    names_it = r"minigpt: |(?!.*ChildFailedError)[\w.]*(Error|Exception|Interrupt|Failed)\b"
    errors = [line for line in lines if re.match(names_it, line)]
    return (errors or lines or ["it ended without a word"])[-1]


def time_all_reduce(device: str, mebibytes: int) -> dict:
    """Add up a tensor over all ranks: {"seconds": the best of five, "right": whether the sum is}."""
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if device.startswith("cuda"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("gloo" if device == "cpu" else "nccl", timeout=timedelta(minutes=2))
    times, right = [], True
    for _ in range(7):
        tensor = torch.full((mebibytes * 2**18,), rank + 1.0, device=device)
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(tensor)
        low, high = torch.aminmax(tensor)
        right &= low.item() == high.item() == world * (world + 1) / 2  # reading waits for the device
        times.append(time.perf_counter() - start)
    dist.destroy_process_group()
    return {"seconds": min(times[2:]), "right": right}


def bus_bandwidth(size: int, seconds: float, ranks: int) -> float:
    """Bytes a second that an all-reduce of `size` bytes moves over each rank's link, 2 (n - 1) / n · size / seconds.

    In a ring each rank sends that many bytes, whatever n, so the figure compares with the link's (NVIDIA, nccl-tests,
    doc/PERFORMANCE.md). Example: 8 ranks, 1 GB in 10 ms → 175 GB/s.
    """
    return 2 * (ranks - 1) / ranks * size / seconds


def first_steps(config: dict, steps: int) -> dict:
    """Take the first steps of a run as `train.pretrain` does, on all ranks, and measure.

    losses               of the whole batch, in nats a token; a list of `steps`, at least two
    tokens_per_second    over all ranks, without the first step
    peak, formula        bytes on the fullest rank (None on a CPU), and what accounting.memory says
    waits                shares of the time that the host waits: for data (the device may idle), and for the loss of the
                         step before (it does not: the next step is queued)
    """
    run = RunConfig.from_json(json.dumps(config))
    layout = parallel.join_ranks(run.train, run.model, lambda sentence: None)
    try:
        t, losses, reading = train.setup(run, say=lambda sentence: None, layout=layout), [], 0.0
        device, flags, peak = t.policy.device, dict.fromkeys(parallel.FLAGS, 0), None
        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(device)
        for number in range(steps):
            loss = train.forward_backward(t, train.next_batch(t))
            train.optimizer_step(t)
            t.step += 1
            losses.append(parallel.agree(layout, loss, flags)[0])
            start = time.perf_counter()
            losses[max(0, number - 1)].item()  # of the step before, as training does
            reading += time.perf_counter() - start
            if number == 0:  # it compiles, on a CPU, and is not counted
                began, reading, t.waited = time.perf_counter(), 0.0, 0.0
        losses = [loss.item() for loss in losses]
        elapsed = max(time.perf_counter() - began, 1e-9)
        t.batches.close()
        if device.startswith("cuda"):
            peak = max(parallel.gathered(layout, torch.cuda.max_memory_allocated(device)))
        formula = memory(run.model, t.micro_batch, t.policy.precision, run.optim.optimizer, math.prod(layout.sizes[1:]))
        return {"losses": losses, "micro_batch": t.micro_batch, "layout": str(layout), "precision": t.policy.precision,
                "compile": t.policy.compile, "attention": t.policy.attention, "peak": peak, "formula": formula["total"],
                "tokens_per_second": (steps - 1) * run.optim.batch_tokens / elapsed,
                "waits": {"data": round(t.waited / elapsed, 4), "loss": round(reading / elapsed, 4)}}  # fmt: skip
    finally:
        parallel.leave(layout)


def run_to_end(config: dict, kill_at: int | None = None) -> dict:
    """`train.pretrain`, killed with SIGKILL (where there is one) when it has been asked so many times whether to stop:
    once a step, if nothing is evaluated."""
    asked, deadly, run = count(), getattr(signal, "SIGKILL", signal.SIGTERM), RunConfig.from_json(json.dumps(config))
    return train.pretrain(run, lambda: next(asked) == kill_at and os.kill(os.getpid(), deadly)).status


JOBS: dict[str, Callable] = {"time_all_reduce": time_all_reduce, "first_steps": first_steps, "run_to_end": run_to_end}


# ---- runs to try things with -----------------------------------------------------------------------------------------


def write_data(folder: Path, vocab_size: int, words: int = 60_000) -> Path:
    """A data folder for trying: text of forty made-up words, a tokenizer of just `vocab_size` that nobody trained."""
    pairs = [bytes(two) for two in product(range(256), repeat=2)]
    longer = (a + bytes([b]) for a, b in product(pairs, range(256)))  # for vocabularies above 65,793
    merges = [(token[:-1], token[-1:]) for token in islice(chain(pairs, longer), vocab_size - 257)]
    tokenizer, draw = Tokenizer(merges, (END_OF_TEXT,)), random.Random(0)
    names = ["".join(draw.choices(ascii_lowercase, k=2 + i % 6)) for i in range(40)]
    documents = (Document(str(i), "made up", " ".join(draw.choices(names, k=500))) for i in range(words // 500))
    write_shards(folder, documents, tokenizer, is_val=lambda d: int(d.id) % 6 == 0)
    tokenizer.save(folder / "tokenizer" / "tokenizer.json")
    return folder


def trial(config: RunConfig, folder: Path, out: str, **changes) -> dict:
    """A config as it would run, but on made-up data and in `folder`/`out`; changes: fields of TrainConfig."""
    data = folder / f"data-{config.model.vocab_size}"
    if not data.exists():
        write_data(data, config.model.vocab_size)
    endless = {} if config.optim.steps or config.optim.tokens else {"steps": 1000}
    fresh = dict(out=str(folder / out), resume=False, time_limit=0.0, max_cost=0.0, profile=0)
    return asdict(RunConfig(config.model, DataConfig(data=str(data)), replace(config.optim, start_from="", **endless),
                            replace(config.train, **fresh | changes)))  # fmt: skip


def compared(losses: list[float], reference: list[float], tolerance: float) -> dict:
    """The largest relative difference of two lists of losses; infinite where one is not finite."""
    found = math.inf
    if len(losses) == len(reference) and all(map(math.isfinite, losses)):
        found = max(abs(a - b) / abs(b) for a, b in zip(losses, reference))
    return {"ok": found <= tolerance, "difference": float(f"{found:.3g}"), "tolerance": tolerance}


def bounded(config: RunConfig, device: str, ranks: int, most: float = math.inf) -> RunConfig:
    """A config with at most so many tokens a step; on a CPU about 2048, which takes hours for GPT-2's half million."""
    if device == "cpu":
        least = ranks * config.model.context
        most = least * max(1, 2048 // least)
    return replace(config, optim=replace(config.optim, batch_tokens=min(config.optim.batch_tokens, most)))


# ---- before a run ----------------------------------------------------------------------------------------------------


def examine(config: RunConfig, device: str, ranks: int, out: Path, price: float = 0.0) -> Iterator[tuple]:
    """(name, ok, found, remedy) of each check, as soon as it is known. `price`: dollars an hour of all cards."""
    yield cards(device, ranks, bounded(config, device, ranks).optim.batch_tokens)
    on_gpu = device != "cpu"
    there = dist.is_nccl_available() if on_gpu else dist.is_gloo_available()
    version = ".".join(map(str, torch.cuda.nccl.version())) if on_gpu and there else "there"
    yield ("NCCL" if on_gpu else "gloo", there, version if there else "not in this PyTorch",
           "install PyTorch's CUDA build; on several GPUs nothing runs without NCCL")  # fmt: skip
    yield links(device, ranks)
    yield from disk(config.model, out, config.train.keep)
    yield from rehearsal(config, device, ranks, price)


def cards(device: str, ranks: int, batch_tokens: int) -> tuple:
    """Which cards, and whether their memory is free; or that there are none."""
    if device == "cpu":
        return ("cards", True, f"no GPU: {ranks} ranks on {device_name(device)} try the checks themselves, with "
                f"{batch_tokens:,} tokens a step; time and price below are this CPU's", "")  # fmt: skip
    free = [torch.cuda.mem_get_info(i) for i in range(ranks)]
    names = sorted({torch.cuda.get_device_name(i) for i in range(ranks)})
    shown = ", ".join(f"{a / 2**30:.0f} of {b / 2**30:.0f}" for a, b in free)
    return ("cards", len(names) == 1 and all(a > 0.9 * b for a, b in free),
            f"{ranks} × {', '.join(names)}; GiB free: {shown}",
            "end what else runs on the cards (`nvidia-smi` lists it); cards of several kinds wait for the slowest")


def links(device: str, ranks: int, mebibytes: int = 0) -> tuple:
    """The bandwidth of an all-reduce over all ranks."""
    if ranks == 1:
        return "all-reduce", True, "one card, which has nobody to talk to", ""
    mebibytes = mebibytes or (256 if device != "cpu" else 8)
    remedy = "see `nvidia-smi topo -m`, and what NCCL_DEBUG=INFO says; NCCL_P2P_DISABLE=1 goes around a broken link"
    try:
        found = run_job("time_all_reduce", ranks, device=device, mebibytes=mebibytes)
    except Failed as error:
        return "all-reduce", False, str(error), remedy
    rate = bus_bandwidth(mebibytes << 20, found["seconds"], ranks)
    shown = f"{rate / 1e9:.3g} GB/s bus bandwidth for {mebibytes} MiB over {ranks} ranks"
    return ("all-reduce", found["right"] and rate > (2e9 if device != "cpu" else 0),
            shown + ", and the sum is wrong" * (not found["right"]), remedy)  # fmt: skip


def disk(c: ModelConfig, out: Path, keep: int, mebibytes: int = 64) -> Iterator[tuple]:
    """Room for the checkpoints of a run, and how long writing one takes."""
    room = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    size = 12 * parameters(c)  # weights and the two states of AdamW
    free, need = shutil.disk_usage(room).free, (keep + 1) * size + (2 << 30)
    yield ("disk", free > need, f"{free / 2**30:.0f} GiB free at {out}; {keep + 1} checkpoints and data need "
           f"{need / 2**30:.1f}", "make room, give --out on a larger disk, or keep fewer checkpoints (--keep 1)")
    block, start = os.urandom(1 << 20), time.perf_counter()
    try:
        with tempfile.TemporaryFile(dir=room) as file:
            file.writelines([block] * mebibytes)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        yield "write speed", False, f"{out} cannot be written to ({error.strerror})", "choose another --out"
        return
    rate = (mebibytes << 20) / (time.perf_counter() - start)
    yield ("write speed", size / rate < SLOW_SAVE, f"{rate / 1e6:,.0f} MB/s: a checkpoint takes {size / rate:.1f} s",
           "give --out on a local disk, or save less often (--save-every 30m)")  # fmt: skip


def rehearsal(config: RunConfig, device: str, ranks: int, price: float) -> Iterator[tuple]:
    """Five steps of the run as it would be, on made-up data: do they work, do they fit, what will it cost?"""
    with tempfile.TemporaryDirectory(prefix="minigpt-preflight-", ignore_cleanup_errors=True) as folder:
        try:
            short = trial(bounded(config, device, ranks), Path(folder), "run", device=device)
            found = run_job("first_steps", ranks, config=short, steps=5)
        except (Failed, UserError) as error:
            yield "first steps", False, str(error), "try a smaller --micro-batch, --compile off or --precision fp32"
            return
    losses, rate, peak = found["losses"], found["tokens_per_second"], found["peak"]
    way = f"{found['precision']}, {'' if found['compile'] else 'not '}compiled, {found['attention']} attention"
    yield ("first steps", all(map(math.isfinite, losses)), f"loss {losses[0]:.3f} → {losses[-1]:.3f}; {way}; "
           f"{found['layout']}, {found['micro_batch']} sequences at once",
           "lower --lr and --matrix-lr, or use --precision fp32")  # fmt: skip
    have = torch.cuda.mem_get_info()[1] if peak else 0
    measured = f"peak {peak / 2**30:.2f} of {have / 2**30:.0f} GiB" if peak else "not measured on a CPU"
    yield ("memory", not peak or peak < 0.92 * have, f"{measured}; the formula says {found['formula'] / 2**30:.2f} GiB "
           "for eager code", "give a smaller --micro-batch, or --activations selective")  # fmt: skip
    share = utilisation(rate / ranks, config.model, device)
    shown = f"MFU {share:.1%} (6 N + 12 L H D T)" if share else "MFU unknown: no peak on file for this device"
    yield "speed", True, f"{rate:,.0f} tokens/s, {shown}", ""
    limit = config.train.time_limit or math.inf
    needed = (config.optim.steps * config.optim.batch_tokens or config.optim.tokens) / rate or limit
    hours = min(needed, limit) / 3600
    yield ("whole run", True, f"{hours:,.2f} hours" + f", ${hours * price:,.2f}" * (price > 0)
           + " (its time limit)" * (needed >= limit), "")  # fmt: skip


def utilisation(tokens_per_second: float, c: ModelConfig, device: str) -> float | None:
    """MFU of one card, or None where its peak is not known."""
    if device == "cpu":
        return None
    peaks = [peak for name, peak in PEAKS.items() if re.search(name, torch.cuda.get_device_name())]
    return mfu(tokens_per_second, c, peaks[0], CONVENTION) if peaks else None


# ---- what a card has seen --------------------------------------------------------------------------------------------


def make_record(
    config: RunConfig, device: str, ranks: int, peer: Path | None = None, say: Callable[[str], None] = print,
    small: RunConfig = SMALL, formats=("fp32", "bf16", "fp16"), compiles=("off", "on"), seconds: float = 480.0,
) -> dict:  # fmt: skip
    """Run everything that a card should have seen, within about so many seconds, and return the record.

    `config` is what speed is measured with, in bf16 and the last of `compiles`; `small` what numbers are compared with.
    A part that fails is {"ok": False, "failed": why}; one for which no time was left {"skipped": …}.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="minigpt-full-", ignore_cleanup_errors=True) as name:
        folder, record, fast = Path(name), about(device, ranks), bounded(config, device, ranks, 2**18)
        with suppress(UserError):
            refuse_fp8(device, 1)
            formats = (*formats, "fp8")
        ways = [(precision, compile) for compile in compiles for precision in formats]
        parts = {"attention": lambda: kernels(config.model, device, "bf16"),
                 "speed": lambda: speed(fast, folder, device, ranks, compile=compiles[-1]),
                 "kill_and_resume": lambda: kill_and_resume(small, folder, device)}  # fmt: skip
        parts |= {f"parity_{precision}" + "_compiled" * (compile == "on"):
                  lambda way=(precision, compile): parity(small, folder, device, *way) for precision, compile in ways}
        if ranks > 1:
            parts |= {"all_reduce": lambda: dict(zip(("ok", "found"), links(device, ranks)[1:3])),
                      "fsdp": lambda: parity(small, folder, device, "fp32", "off", ranks=2)}  # fmt: skip
        if peer is not None:
            parts["nanogpt"] = lambda: against_nanogpt(peer, folder, device)
        for name, part in parts.items():
            if time.perf_counter() - started > seconds:
                record[name] = {"skipped": "no time left"}
                continue
            try:
                record[name] = part()
            except (Failed, UserError) as error:
                record[name] = {"ok": False, "failed": str(error)}
            say(f"{name}: {json.dumps(record[name])}")
    return record | {"seconds": round(time.perf_counter() - started, 1)}


def about(device: str, ranks: int) -> dict:
    """When, on what and with which code."""
    commit, dirty = train.git("rev-parse", "HEAD"), train.git("status", "--porcelain")
    return {"date": time.strftime("%Y-%m-%d"), "device": device.split(":")[0], "card": device_name(device),
            "count": ranks, "driver": "", "torch": torch.__version__, "cuda": torch.version.cuda, "commit": commit,
            "dirty": bool(dirty)}  # fmt: skip


def parity(config: RunConfig, folder: Path, device: str, precision: str, compile: str = "off", ranks: int = 1) -> dict:
    """The first losses on a device, in a format, against those of one CPU process in fp32; several ranks share out the
    model (FSDP)."""

    def losses(out: str, ranks: int = 1, **changes) -> list[float]:
        return run_job("first_steps", ranks, steps=8, config=trial(config, folder, out, **changes))["losses"]

    kept = folder / "reference.json"
    if not kept.exists():
        kept.write_text(json.dumps(losses("cpu", device="cpu", precision="fp32", compile="off")))
    layout = {"parallel": "fsdp", "micro_batch": 2} if ranks > 1 else {}
    found = losses(f"{precision}-{compile}-{ranks}", ranks, device=device, precision=precision, compile=compile,
                   **layout)  # fmt: skip
    return compared(found, json.loads(kept.read_text()), PARITY[precision])


def kernels(c: ModelConfig, device: str, precision: str, tokens: int = 16384) -> dict:
    """Each attention kernel at the shape of a config: milliseconds and error, or None where it does not run."""
    tolerance = attention_tolerance(precision)
    trials = {name: attention_trial(name, c, device, precision, tokens=tokens) for name in BACKENDS}
    return {"ok": any(trials.values()) and all(it[1] <= tolerance for it in trials.values() if it),
            "precision": precision, "tolerance": tolerance,
            **{name: it and {"ms": round(1e3 * it[0], 3), "error": float(f"{it[1]:.3g}")}
               for name, it in trials.items()}}  # fmt: skip


def speed(config: RunConfig, folder: Path, device: str, ranks: int, **changes) -> dict:
    """Tokens a second, MFU, memory and waits of a config in bf16, compiled, on all cards."""
    changes = {"precision": "bf16", "compile": "on"} | changes
    found = run_job("first_steps", ranks, steps=8, config=trial(config, folder, "speed", device=device, **changes))
    share = utilisation(found["tokens_per_second"] / ranks, config.model, device)
    return {"ok": found["losses"][-1] < found["losses"][0], "parameters": parameters(config.model),
            "context": config.model.context, "tokens_per_second": round(found["tokens_per_second"]),
            "mfu": share and round(share, 4), "convention": CONVENTION,
            **{name: found[name] for name in ("micro_batch", "layout", "attention", "peak", "formula", "waits")}}


def kill_and_resume(config: RunConfig, folder: Path, device: str) -> dict:
    """Kill a run past its first checkpoint, resume it, and compare all weights and optimizer states at its end with
    those of a run that nobody disturbed."""
    options = dict(device=device, precision="fp32", compile="off", eval_every=config.optim.steps)
    run_job("run_to_end", config=trial(config, folder, "whole", **options))
    cut = trial(config, folder, "cut", **options)
    with suppress(Failed):
        run_job("run_to_end", config=cut, kill_at=2 * config.optim.steps // 3)
    killed_at = max((row["step"] for row in train.read_metrics(folder / "cut" / "metrics.jsonl")), default=0)
    cut["train"]["resume"] = True
    run_job("run_to_end", config=cut)
    resumed_at = json.loads((folder / "cut" / "environment.json").read_text())[-1]["step"]
    (a, _), (b, _) = (load_latest(folder / out / "checkpoints") for out in ("whole", "cut"))
    largest = max((a[key].double() - b[key].double()).abs().max().item() for key in a)
    return {"ok": 0 < resumed_at <= killed_at < config.optim.steps and a.keys() == b.keys() and largest < 1e-3,
            "bit_equal": largest == 0, "largest_difference": largest, "killed_at": killed_at,
            "resumed_at": resumed_at}  # fmt: skip


def against_nanogpt(peer: Path, folder: Path, device: str) -> dict:
    """Tokens a second of GPT-2 124M with 12 sequences of 1024 a step, ours and nanoGPT's own bench.py, one after the
    other on one card, both compiled."""
    if not (peer / "bench.py").exists():
        raise UserError(f"{peer} does not hold nanoGPT's source: bench.py is missing.")
    command = [sys.executable, "bench.py", "--real_data=False", "--batch_size=12", "--block_size=1024",
               f"--device={device}"]  # fmt: skip
    done = subprocess.run(command, cwd=peer, capture_output=True, text=True)
    taken = re.search(r"time per iteration: ([\d.]+)ms", done.stdout)
    if not taken:
        raise Failed(f"nanoGPT's bench.py: {last_words(done.stderr or done.stdout)}")
    theirs = 12 * 1024 / (float(taken[1]) / 1e3)
    run = preset("gpt2-124m")
    run = replace(run, optim=replace(run.optim, batch_tokens=12 * 1024))
    ours = speed(run, folder, device, 1, micro_batch=12)["tokens_per_second"]
    return {"ok": True, "ours": ours, "theirs": round(theirs), "ratio": round(ours / theirs, 3)}


def is_well(record: dict) -> bool:
    """Whether no part of a record is wrong."""
    return all(part.get("ok", True) for part in record.values() if isinstance(part, dict))


# ---- what may be said about GPUs -------------------------------------------------------------------------------------

MARKS = "<!-- what a GPU has seen: written by python -m minigpt.preflight render -->", "<!-- end -->"


def append(record: dict, file: Path = RECORDS) -> None:
    """Add a line to the records; the file is replaced as a whole."""
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, before + json.dumps(record) + "\n")


def read_records(file: Path = RECORDS) -> list[dict]:
    """The records of runs on GPUs, oldest first."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    try:
        return [record for record in map(json.loads, filter(str.strip, lines)) if record["device"] == "cuda"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged ({type(error).__name__}: {error}): mend or delete that line.") from None


def render(records: list[dict]) -> str:
    """Markdown: the newest record of each card, number of cards, and commit's worth of figures."""
    if not records:
        return "The same code uses NCCL and CUDA; it has **not been run on a GPU yet**."
    rows = ["| card | when, commit | tokens/s | MFU (6 N + 12 L H D T) | memory: peak, formula | loss as on the CPU | "
            "killed and resumed | nanoGPT |", "|" + "---|" * 8]  # fmt: skip
    for r in {(record["card"], record["count"]): record for record in records}.values():
        fast, killed, peer = (r[name] if r.get(name, {}).keys() - {"ok", "failed", "skipped"} else {}
                              for name in ("speed", "kill_and_resume", "nanogpt"))  # fmt: skip
        same = [f"{name[7:].replace('_', ' ')} {part['difference']:.1g}" + " **NO**" * (not part["ok"])
                for name, part in r.items() if name.startswith("parity_") and "difference" in part]  # fmt: skip
        again = killed and ("bit-equal" if killed["bit_equal"] else f"within {killed['largest_difference']:.1g}")
        cells = [
            f"{r['count']} × {r['card']}",
            f"{r['date']}, {(r['commit'] or 'unknown')[:10]}" + " (changed)" * r["dirty"],
            fast and f"{fast['tokens_per_second']:,}", fast and (f"{fast['mfu']:.1%}" if fast["mfu"] else "unknown"),
            fast and f"{fast['peak'] / 2**30:.1f}, {fast['formula'] / 2**30:.1f} GiB",
            ", ".join(same), again, peer and f"{peer['ratio']:.2f} times",
        ]  # fmt: skip
        rows.append(f"| {' | '.join(cell or 'not run' for cell in cells)} |")
    if not any("difference" in record.get("parity_fp8", {}) for record in records):
        rows.append("\n`--precision fp8` has not been run on a GPU yet.")
    return "\n".join(rows)


def render_pages(root: Path = ROOT) -> list[Path]:
    """Bring what stands between MARKS in README.md and docs/*.md in step with the records; returns the pages that were
    not."""
    block, changed = render(read_records(root / "docs" / "gpu_runs.jsonl")), []
    begin, end = map(re.escape, MARKS)
    for page in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        old = page.read_text(encoding="utf-8")
        new = re.sub(f"({begin}\n).*?(\n{end})", lambda m: m[1] + block + m[2], old, flags=re.S)
        if new != old:
            write_atomic(page, new)
            changed.append(page)
    return changed


def main(argv: list[str]) -> int:
    """python -m minigpt.preflight JOB FILE: run a job, and leave answer.json beside FILE; or render."""
    if argv == ["render"]:
        print("\n".join(map(str, render_pages())) or "nothing to change")
        return 0
    end_with_parent()
    file = Path(argv[1])
    try:
        answer = JOBS[argv[0]](**json.loads(file.read_text()))
    except UserError as error:
        print(f"minigpt: {error}", file=sys.stderr)
        return 2
    if os.environ.get("RANK", "0") == "0":
        write_atomic(file.with_name("answer.json"), json.dumps(answer))
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads that still wait would abort a rank whose interpreter goes away
