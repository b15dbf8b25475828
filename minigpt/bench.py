"""How fast, as ratios to a peer measured in the same run: `python -m minigpt bench`.

A ratio above 1 means that we are faster. Peers that are installed (tokenizers, tiktoken) are found; nanoGPT is a folder
with its source: --peer nanogpt=DIR. Where there is no peer, the absolute figure stands alone. Times are the best of a
few tries, tries of the two sides alternating, since a machine that is busy for a moment should not decide.
"""
import json
import math
import pickle
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from .config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig, UserError, preset
from .text.sources import builtin


def result(name: str, unit: str, ours: float, theirs: float | None = None, peer: str = "", bar: float = 0.0) -> dict:
    """Print a line of the table, and return it. `ratio` says how many times as good ours is; `bar`, what this project
    promises to reach."""
    ratio = None if theirs is None else theirs / ours if unit == "s" else ours / theirs
    compared = f"; {peer} {theirs:,.3g} {unit}; ratio {ratio:.2f} (promised: {bar:.2f})" if ratio else ""
    print(f"{name}: {ours:,.3g} {unit}{compared}", file=sys.stderr)
    return dict(name=name, ours=ours, unit=unit, peer=peer, theirs=theirs, ratio=ratio, bar=bar)


def alternate(tries: int, *functions: Callable[[], float]) -> list[float]:
    """The smallest figure of each function, called in turn."""
    return [min(column) for column in zip(*([function() for function in functions] for _ in range(tries)))]


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def whole_process(command: list[str], cwd: Path | None = None) -> tuple[float, str]:
    """(seconds, output) of a command from start to exit."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{' '.join(command[:4])}… failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}.")
    return time.perf_counter() - start, done.stdout


def documents(domain: str, beginning: tuple[str, ...] = ("",)) -> list[str]:
    """The texts of a built-in domain, those whose id goes on with one of these beginnings."""
    return [d.text for d in builtin([domain]) if d.id.removeprefix(f"{domain}/").startswith(beginning)]


# ---- tokenizer -------------------------------------------------------------------------------------------------------


def bpe_training() -> dict:
    """10 MB of books, 8,192 tokens, the same split pattern, two processes or threads for both."""
    from .tokenizer import GPT2_PATTERN, train_bpe

    books = documents("books")

    def ours():
        return seconds(lambda: train_bpe(books, 8192, workers=2))

    if not find_spec("tokenizers"):
        return result("train BPE on 10 MB", "s", ours())
    import tokenizers
    from tokenizers import models, pre_tokenizers, trainers

    def theirs():
        tokenizer = tokenizers.Tokenizer(models.BPE())
        split = pre_tokenizers.Split(tokenizers.Regex(GPT2_PATTERN), "isolated")
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=8192, initial_alphabet=alphabet, show_progress=False)
        return seconds(lambda: tokenizer.train_from_iterator(books, trainer))

    times = alternate(3, ours, theirs)
    return result("train BPE on 10 MB", "s", *times, f"tokenizers {tokenizers.__version__}", 1 / 0.9)


def bpe_encoding() -> dict:
    """10 MB of books with a vocabulary of 4,096, one thread, against tiktoken called directly."""
    import tiktoken

    from .tokenizer import train_bpe

    text = "\n".join(documents("books"))
    tokenizer = train_bpe([text[:1_000_000]], 4096)
    bare = tiktoken.Encoding("bare", pat_str=tokenizer.pattern, mergeable_ranks=tokenizer.ranks, special_tokens={})
    a, b = alternate(3, lambda: seconds(lambda: tokenizer.encode_to_numpy(text)),
                     lambda: seconds(lambda: bare.encode_to_numpy(text)))  # fmt: skip
    megabytes = len(text.encode()) / 1e6
    return result("encode", "MB/s", megabytes / a, megabytes / b, f"tiktoken {tiktoken.__version__}", 0.95)


# ---- data ------------------------------------------------------------------------------------------------------------


def minhash() -> dict:
    """Signatures of 128 permutations of 3,000 passages of 300 words, from text on, one thread."""
    from .text.dedup import SHINGLE, signatures

    split = [text.split() for text in documents("speeches") or documents("docs")]
    texts = [" ".join(words[i : i + 300]) for words in split for i in range(0, len(words), 300)][:3000]
    megabytes = sum(map(len, texts)) / 1e6
    if not find_spec("datasketch"):
        return result("MinHash", "MB/s", megabytes / seconds(lambda: signatures(texts)))
    import datasketch

    def theirs():
        found = (text.lower().split() for text in texts)
        sets = ([" ".join(words[i : i + SHINGLE]).encode() for i in range(len(words) - SHINGLE + 1)] for words in found)
        datasketch.MinHash.bulk(sets, num_perm=128)

    a, b = alternate(3, lambda: seconds(lambda: signatures(texts)), lambda: seconds(theirs))
    return result("MinHash", "MB/s", megabytes / a, megabytes / b, f"datasketch {datasketch.__version__}", 10.0)


def open_200_gigabytes() -> dict:
    """A folder of 1,000 sparse shards of 100 M tokens."""
    from .shards import MANIFEST, VERSION, Shards

    with tempfile.TemporaryDirectory() as folder:
        tokens = 100_000_000
        counts = {"documents": 1, "tokens": tokens, "bytes": 4 * tokens}
        shards = [counts | {"file": f"train_{i:05d}.bin", "sha256": "0" * 64} for i in range(1000)]
        for shard in shards:
            with open(Path(folder, shard["file"]), "wb") as file:
                file.truncate(2 * tokens)
        split = {name: 1000 * count for name, count in counts.items()}
        split["domains"] = {"web": dict(split)}
        empty = dict.fromkeys(counts, 0) | {"domains": {}, "shards": []}
        manifest = {"version": VERSION, "dtype": "uint16", "vocab_size": 50257, "eot": 50256, "tokenizer": "0" * 64,
                    "split_rule": "", "splits": {"train": split | {"shards": shards}, "val": empty}}  # fmt: skip
        Path(folder, MANIFEST).write_text(json.dumps(manifest))
        took = seconds(lambda: Shards.open(folder, context=1024).batch(0, 12345, 512))
        return result("open 200 GB of shards and draw a batch", "s", took)


# ---- training --------------------------------------------------------------------------------------------------------

NANOGPT_SHAPE = ModelConfig("gpt2", layers=4, width=128, heads=4, kv_heads=4, head_size=32, mlp_width=512, context=64,
                            vocab_size=65, activation="gelu", norm_eps=1e-5)  # fmt: skip
NANOGPT_FLAGS = """--device=cpu --compile=False --eval_iters=20 --log_interval=1 --block_size=64 --batch_size=12
    --n_layer=4 --n_head=4 --n_embd=128 --max_iters={steps} --lr_decay_iters=2000 --dropout=0.0""".split()


def training_speed(nanogpt: Path | None) -> dict:
    """Tokens a second at nanoGPT's CPU shape, fp32, not compiled: whole steps with their batches, ours and theirs."""
    import torch

    from .optim import build_optimizers
    from .model import GPT

    model = GPT(NANOGPT_SHAPE)
    optimizers = build_optimizers(model, OptimConfig(optimizer="adamw"))
    data = torch.randint(NANOGPT_SHAPE.vocab_size, (1_000_000,))

    def ours(steps: int = 200) -> float:
        times = []
        for step in range(steps):
            start = time.perf_counter()
            rows = data[step * 12 * 65 : (step + 1) * 12 * 65].view(12, 65)
            (model(rows[:, :-1], rows[:, 1:], reduction="sum") / (12 * 64)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            times.append(time.perf_counter() - start)
        return sorted(times)[steps // 2] / (12 * 64)

    name = "training step at nanoGPT's CPU shape"
    if nanogpt is None:
        return result(name, "tokens/s", 1 / ours())

    def theirs() -> float:
        with tempfile.TemporaryDirectory() as folder:
            _, output = run_nanogpt(nanogpt, plays(), Path(folder), steps=200)
        times = sorted(float(ms) for ms in re.findall(r"iter \d+: .*time ([\d.]+)ms", output))
        return times[len(times) // 2] / 1000 / (12 * 64)

    a, b = alternate(3, ours, theirs)
    return result(name, "tokens/s", 1 / a, 1 / b, "nanoGPT", 1.0)


def plays() -> str:
    """1.1 MB of Shakespeare's plays."""
    return "\n\n".join(documents("drama", ("shakespeare/", "problemE/Esample01")))


def run_nanogpt(source: Path, text: str, folder: Path, steps: int) -> tuple[float, str]:
    """nanoGPT's CPU recipe (its README) on a text, as a whole process: (seconds, output). Its data is characters."""
    import numpy as np

    letters = sorted(set(text))
    ids = np.array([letters.index(c) for c in text], np.uint16)
    cut = int(len(ids) * 0.9)
    ids[:cut].tofile(folder / "train.bin")
    ids[cut:].tofile(folder / "val.bin")
    (folder / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": len(letters)}))  # nanoGPT's format; only it reads it
    flags = [flag.format(steps=steps) for flag in NANOGPT_FLAGS]
    command = [sys.executable, "train.py", "config/train_shakespeare_char.py", f"--dataset={folder}"]
    return whole_process([*command, f"--out_dir={folder / 'out'}", *flags], cwd=source)


def time_to_loss(nanogpt: Path | None, target: float = 2.7205) -> dict:
    """Seconds of whole process, imports, tokenizer and evaluation included, to the loss that nanoGPT's CPU recipe
    reaches (by default its published 1.8857 nats a character): 1.1 MB of plays, the first nine tenths for training."""
    text = plays()
    cut = int(len(text) * 0.9)
    with tempfile.TemporaryDirectory() as name:
        folder, theirs = Path(name), None
        if nanogpt is not None:
            theirs, output = run_nanogpt(nanogpt, text, folder, steps=2000)
            nats = float(re.findall(r"val loss ([\d.]+)", output)[-1])
            target = nats / math.log(2) * len(text[cut:]) / len(text[cut:].encode())
        (folder / "train.txt").write_text(text[:cut], encoding="utf-8")
        (folder / "val.txt").write_text(text[cut:], encoding="utf-8")
        command = [sys.executable, "-m", "minigpt", "pretrain", "--preset", "shakespeare"]
        command += [f"--target-bpb={target:.4f}", f"--text={folder}/train.txt", f"--val-text={folder}/val.txt"]
        ours = min(whole_process([*command, "--out", str(folder / f"run{i}")])[0] for i in range(3))
        found = json.loads((folder / "run0/summary.json").read_text())["val_bpb"]
    name = f"time to {target:.4f} bits per byte on plays (reached {found:.4f})"
    return result(name, "s", ours, theirs, "nanoGPT", 15.0)


def generation() -> dict:
    """Greedy tokens up to a context of 512, at the size of the default run: KV cache against recomputing everything."""
    from .sampling import generate
    from .model import GPT

    model, tokens = GPT(replace(preset("tiny").model, context=512)), {}

    def run(cache: bool) -> float:
        def go():
            tokens[cache] = generate(model, [[7]], max_tokens=511, temperature=0.0, cache=cache)

        return seconds(go)

    a, b = alternate(2, lambda: run(True), lambda: run(False))
    assert tokens[True] == tokens[False], "the cache changed the greedy tokens"
    return result("generate 511 tokens", "tokens/s", 511 / a, 511 / b, "the uncached loop", 5.0)


def continuous_batching() -> dict:
    """32 greedy answers of 1 to 128 tokens, eight at a time: slots that are refilled against batches that wait."""
    from .batching import Batcher, Request
    from .model import GPT
    from .sampling import generate

    model, lengths = GPT(preset("tiny").model), [1 + 97 * n % 128 for n in range(32)]
    prompts, answers = [[n + 1] for n in range(32)], {}

    def slots() -> float:
        def go():
            batcher = Batcher(model, 8)
            for prompt, n in zip(prompts, lengths):
                batcher.add(Request(prompt, n, knobs=dict(temperature=0.0)))
            answers["slots"] = batcher.run()

        return seconds(go)

    def batches() -> float:
        def go():
            rows = []
            for i in range(0, 32, 8):  # each batch runs until its longest answer ends
                rows += generate(model, prompts[i : i + 8], max_tokens=max(lengths[i : i + 8]), temperature=0.0)
            answers["batches"] = [row[:n] for row, n in zip(rows, lengths)]

        return seconds(go)

    a, b = alternate(2, slots, batches)
    assert answers["slots"] == answers["batches"], "sharing passes changed the greedy tokens"
    return result("32 answers, eight at a time", "tokens/s", sum(lengths) / a, sum(lengths) / b, "static batches", 1.2)


def number_formats() -> list[dict]:
    """Whole training steps of the default model on this CPU, in each number format, eager and compiled: the best of
    them against fp32 eager, and what `auto` chooses for a long run against the best.

    bf16 is tried unless a probe calls it hopeless, compiling where there is a compiler. Steps of all ways take turns.
    """
    import torch

    from .precision import Policy, bf16_speedup, choose, isolate_compile_cache, pick_compile

    compiler, _ = pick_compile("cpu", 3600.0)  # a long run is compiled wherever it can be
    formats = ["fp32"] + ["bf16"] * (bf16_speedup() > 0.1)
    ways = [(precision, compiled) for compiled in [False] + [True] * compiler for precision in formats]
    isolate_compile_cache()
    steps = {way: format_step(Policy("cpu", *way, ())) for way in ways}
    for step in steps.values():
        step()  # compiles
        step()
    tokens = preset("tiny").optim.batch_tokens
    times = alternate(5, *(lambda step=step: seconds(step) for step in steps.values()))
    rates = dict(zip(ways, (tokens / taken for taken in times)))
    for (precision, compiled), rate in rates.items():
        print(f"  {precision}{', compiled' if compiled else ''}: {rate:,.0f} tokens/s", file=sys.stderr)
    best, chosen = max(rates.values()), choose(TrainConfig(device="cpu"), 3600.0)
    promised = 2.0 if getattr(torch.cpu, "_is_avx512_bf16_supported", bool)() else 0.0
    name, auto = "training step of the default model", rates[chosen.precision, chosen.compile]
    return [
        result(f"{name}, best format", "tokens/s", best, rates["fp32", False], "fp32, not compiled", promised),
        result(f"{name}, format that auto chooses", "tokens/s", auto, best, "the best format", 0.95),
    ]


def format_step(policy) -> Callable[[], None]:
    """A function that trains the default model for one step in this way."""
    import torch

    from .model import GPT
    from .optim import build_optimizers

    run = preset("tiny")
    model, rows = GPT(run.model), run.optim.batch_tokens // run.model.context
    forward = torch.compile(model, dynamic=False) if policy.compile else model
    optimizers = build_optimizers(model, run.optim)
    tokens = torch.randint(run.model.vocab_size, (rows, run.model.context + 1))

    def step() -> None:
        with policy.autocast():
            loss = forward(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()

    return step


def asynchronous_save() -> dict:
    """Seconds for which a save holds up training on two CPU ranks with 230 MB of state: written while training goes on
    against waited for. The first save, which makes room for the copies, does not count."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", __name__]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "text.txt").write_text(plays()[:200_000], encoding="utf-8")
        whole_process([*command, folder])
        found = json.loads((Path(folder) / "found.json").read_text())
    name = f"training held up by a save of {found['megabytes']:.0f} MB, two ranks"
    return result(name, "s", min(found["now"]), min(found["waited"]), "waiting for it", 10.0)


def save_on_ranks(folder: Path) -> None:
    """What each rank of `asynchronous_save` does; rank 0 leaves found.json."""
    from . import parallel, train

    model = ModelConfig(layers=6, width=512, heads=8, kv_heads=8, head_size=64, mlp_width=1408, context=32,
                        vocab_size=300)  # fmt: skip
    how = TrainConfig(out=str(folder / "run"), device="cpu", precision="fp32", compile="off", parallel="fsdp")
    config = RunConfig(model, DataConfig((str(folder / "text.txt"),)),
                       OptimConfig(steps=99, batch_tokens=64, optimizer="adamw"), how)  # fmt: skip
    layout = parallel.join_ranks(how, model)
    t = train.setup(config, layout=layout)
    times = {True: [], False: []}
    for wait in (False, True) * 5:  # taking turns, since disks have moods
        train.forward_backward(t, train.next_batch(t))
        train.optimizer_step(t)
        t.step += 1
        parallel.gathered(layout, None)  # all ranks begin at once
        times[wait].append(seconds(lambda: train.save(t, wait)))
        train.saved(t)
    t.batches.close()
    slowest = {wait: [max(ranks) for ranks in zip(*parallel.gathered(layout, times[wait][1:]))] for wait in times}
    if layout.leads:
        size = 3 * 4 * sum(p.numel() for p in t.model.parameters()) / 1e6
        found = {"megabytes": size, "now": slowest[False], "waited": slowest[True]}
        (folder / "found.json").write_text(json.dumps(found))
    parallel.leave(layout)


def run_all(nanogpt: Path | None, only: str = "") -> list[dict]:
    """Run the benchmarks whose function's name contains `only`, printing each as it comes."""
    if nanogpt is not None and not (nanogpt / "train.py").exists():
        raise UserError(f"{nanogpt} does not hold nanoGPT's source: train.py is missing.")
    benches = [bpe_training, bpe_encoding, minhash, open_200_gigabytes, generation, continuous_batching, training_speed,
               number_formats, asynchronous_save, time_to_loss]  # fmt: skip
    rows = []
    for bench in benches:
        if only in bench.__name__:
            found = bench(nanogpt) if bench in (training_speed, time_to_loss) else bench()
            rows += found if isinstance(found, list) else [found]
    return rows


if __name__ == "__main__":  # python -m minigpt.bench FOLDER, started by torchrun
    save_on_ranks(Path(sys.argv[1]))
