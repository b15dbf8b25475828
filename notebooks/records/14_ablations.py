"""What is each step of a data recipe worth, at equal compute? One small model, one tokenizer, many training texts.

Four families of arms. All read the same number of tokens, and all are judged on the same held-out documents, of which
no training text holds a copy: `leak` is the share of their runs of 13 words that the training text of a run holds, too.

    steps      raw → extracted → deduplicated → filtered → mixed: a made-up crawl of books and speeches, as HTML, as
               main text, without copies, in English and by the rules, and with a quarter of plays, which it lacks
    epochs     the tokens are so and so many times the same ones, of books, speeches and plays
    mixtures   of books, code and a synthetic world, in several shares
    branches   one trunk at a constant rate on unfiltered web text with some of the world; from its end three decays, on
               the same mixture, on clean text, on many facts of the world. `trunk_…` are measured where they part

The mean of the judged domains, each with as many bytes as the others, is the curve; each domain by itself is a number.
A seed changes the first weights and which of the documents are read in which order. `bytes` are those that were read,
in thousands. `facts` and `never` are shares of right choices among four, of facts that the world tells at least 64
times and of facts that it never tells; `answer` is what a right answer costs, in nats. Of the arm `short` a lesson
runs one live: a twelfth of the steps, on a smaller crawl.

The sizes are chosen for two quiet cores and 25 minutes. On one core a step of 1,024 tokens takes 0.07 s and a
measurement 0.4 s; so 42 runs of 360 steps, three trunks of 216 and nine branches of 144 take about 22 minutes there.
"""
import json
import random
import tempfile
from copy import deepcopy
from functools import cache

import numpy as np
import torch

from minigpt import GPT, ModelConfig, OptimConfig, build_optimizers, learning_rate, train_bpe
from minigpt.evaluate import evaluate_windows, sliding_windows, to_bpb
from minigpt.mixture import shares_in_tokens
from minigpt.probes import choice, cloze, probe
from minigpt.text import world
from minigpt.text.crawl import make_crawl
from minigpt.text.dedup import drop_exact, drop_near, find_duplicates, signatures
from minigpt.text.pages import extract, in_languages, mend, read_warc
from minigpt.text.privacy import mask_all
from minigpt.text.quality import drop_bad
from minigpt.text.sources import Document, builtin, held_out
from minigpt.text.steps import Statistics
from minigpt.text.words import ngrams, words
from minigpt.tokenizer import END_OF_TEXT

WHAT = "One small model at equal compute: a crawl step by step, epochs, mixtures, and three decays from one trunk."
AXES = "step", "bits per byte of clean held-out text"
SEEDS = 0, 1, 2
FLOOR = 0.05  # another CPU adds its numbers in another order, and another Python has other files of code
CONTEXT, BATCH = 64, 16
STEPS, SHORT, TRUNK = 360, 30, 216
CRAWL, SMALL = 10_000_000, 1_500_000
"""Bytes of HTML."""
MODEL = ModelConfig("modern", 2, 96, 3, 3, 32, 256, CONTEXT, 1024)
MEASURED = np.array([0.25, 0.5, 0.75, 1.0])
"""Where a run is measured, as shares of its steps."""
PROSE, SOURCES = ["books", "speeches", "drama"], ["books", "code", "world"]
HELD = 16_000
"""Held-out bytes of each domain."""
FRACTION = {"drama": 0.15}
"""Of the documents that are held out; else a twentieth. There are few plays."""


def arms() -> dict[str, dict]:
    def once(judged, **shares):
        return dict(phases=[[STEPS, shares]], judged=judged)

    def branch(**shares):
        return dict(phases=[[TRUNK, dict(deduplicated=0.85, world=0.15)], [STEPS - TRUNK, shares]], judged=PROSE)

    third = 1 / 3
    return {
        "short": dict(phases=[[SHORT, dict(filtered=1)]], judged=PROSE, crawl=SMALL),
        "raw": once(PROSE, raw=1),
        "extracted": once(PROSE, extracted=1),
        "deduplicated": once(PROSE, deduplicated=1),
        "filtered": once(PROSE, filtered=1),
        "mixed": once(PROSE, filtered=0.75, drama=0.25),
        **{f"{epochs} epoch{'s' * (epochs > 1)}": once(PROSE, prose=1) | dict(epochs=epochs)
           for epochs in (1, 4, 16, 64)},
        "books": once(SOURCES, books=1),
        "code": once(SOURCES, code=1),
        "world": once(SOURCES, world=1),
        "thirds": once(SOURCES, books=third, code=third, world=third),
        "mostly books": once(SOURCES, books=0.6, code=0.2, world=0.2),
        "same": branch(deduplicated=0.85, world=0.15),
        "clean": branch(filtered=0.65, drama=0.2, world=0.15),
        "facts": branch(deduplicated=0.4, world=0.6),
    }  # fmt: skip


def run(settings: dict, seed: int) -> dict:
    """Train one model on one recipe; where it has two phases, the first is made once for all that share it."""
    settings = {"epochs": 1, "crawl": CRAWL} | settings
    phases, judged, crawl = settings["phases"], settings["judged"], settings["crawl"]
    steps, first = sum(count for count, _ in phases), phases[0][0] if len(phases) > 1 else 0
    numbers, begun = {}, None
    if first:
        begun, numbers = trunk(json.dumps(phases[0]), json.dumps(judged), steps, crawl, seed)
    taken = shares_in_tokens(phases[0][1], first * BATCH)
    rows = draw(phases[-1][1], (steps - first) * BATCH, crawl, seed, settings["epochs"], taken)
    model, optimizers = fresh(seed, steps, begun)
    places, y = (MEASURED * steps).round().astype(int), []
    for step in range(first, steps):
        train(model, optimizers, rows[(step - first) * BATCH :][:BATCH], step, steps)
        if step + 1 in places:
            found = measure(model, judged)
            y.append(found["mean"])
    numbers |= found | {"bytes": float(tokenizer().token_bytes[rows[:, 1:]].sum()) / 1000}
    numbers |= {"leak": leak(rows, judged), "train": bits_read(model, rows)}
    if first:
        numbers |= knows(model)
    return {"x": places[-len(y) :], "y": y, **numbers}


@cache
def trunk(phase: str, judged: str, steps: int, crawl: int, seed: int) -> tuple[list, dict]:
    """(states at the end of a first phase, what was measured there)."""
    (count, shares), (model, optimizers) = json.loads(phase), fresh(seed, steps)
    rows = draw(shares, count * BATCH, crawl, seed)
    for step in range(count):
        train(model, optimizers, rows[step * BATCH :][:BATCH], step, steps)
    found = measure(model, json.loads(judged)) | knows(model)
    states = [model.state_dict(), *(optimizer.state_dict() for optimizer in optimizers)]
    return deepcopy(states), {f"trunk_{name}": value for name, value in found.items()}


def fresh(seed: int, steps: int, states: list | None = None) -> tuple[GPT, list]:
    """A model and its optimizers, at the start or where a trunk ended."""
    model = GPT(MODEL, seed)
    optimizers = build_optimizers(model, plan(steps))
    for part, state in zip([model, *optimizers], deepcopy(states) or ()):
        part.load_state_dict(state)
    return model, optimizers


def plan(steps: int) -> OptimConfig:
    return OptimConfig(lr=0.01, matrix_lr=0.02, momentum=0.9, steps=steps, batch_tokens=BATCH * CONTEXT, warmup=0.05,
                       decay=1 - TRUNK / STEPS)  # fmt: skip


def train(model: GPT, optimizers: list, rows: np.ndarray, step: int, steps: int) -> None:
    """One step on rows (BATCH, CONTEXT + 1)."""
    windows = torch.from_numpy(rows)
    model(windows[:, :-1], windows[:, 1:]).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * learning_rate(step, steps, plan(steps))
        optimizer.step()
        optimizer.zero_grad()


# ---- measuring -------------------------------------------------------------------------------------------------------


def measure(model: GPT, judged: list[str]) -> dict[str, float]:
    """Bits per byte of the held-out text of each domain, and their mean."""
    found = {}
    for name in judged:
        ids = np.concatenate([[tokenizer().eot, *tokenizer().encode(text)] for text in unseen()[name]])
        counts = evaluate_windows(model, sliding_windows(ids, CONTEXT, CONTEXT, 64), tokenizer().token_bytes)
        found[name] = to_bpb(counts["nats"], counts["bytes"])
    return found | {"mean": sum(found.values()) / len(found)}


def bits_read(model: GPT, rows: np.ndarray) -> float:
    """Bits per byte of the first windows that were read: far below the held-out text's where known by heart."""
    counts = evaluate_windows(model, [(rows[:256, :-1], rows[:256, 1:])], tokenizer().token_bytes)
    return to_bpb(counts["nats"], counts["bytes"])


def knows(model: GPT) -> dict[str, float]:
    """What the model knows of the world's facts."""
    often = lambda item: item["exposures"] >= 64
    questions = list(world.choices(the_world(), languages=("english",)))
    right = {name: probe(model, tokenizer(), "choices", [choice(q) for q in questions if wanted(q)])["accuracy"]
             for name, wanted in (("facts", often), ("never", lambda item: item["exposures"] == 0))}  # fmt: skip
    told = [cloze(q) for q in world.cloze(the_world(), languages=("english",)) if often(q)]
    return right | {"answer": probe(model, tokenizer(), "cloze", told)["nats"]}


def leak(rows: np.ndarray, judged: list[str]) -> float:
    """The share of the held-out text's runs of 13 words that stand in what was read, too."""
    runs = lambda text: ngrams(words(text).hashes, 13)
    read = runs(tokenizer().decode(rows[np.unique(rows, axis=0, return_index=True)[1], 1:].ravel().tolist()))
    asked = np.concatenate([runs(text) for name in judged for text in unseen()[name]])
    return float(np.isin(asked, read).mean())


# ---- text ------------------------------------------------------------------------------------------------------------


def draw(shares: dict, count: int, crawl: int, seed: int, epochs: int = 1, taken: dict | None = None) -> np.ndarray:
    """(count, CONTEXT + 1) int64: windows of the sources in these shares, spread evenly over the whole.

    Of a source, the first `taken` windows were read before; what follows is read `epochs` times, each time in another
    order.
    """
    rng, found, when = np.random.default_rng(seed), [], []
    for name, wanted in shares_in_tokens(shares, count).items():
        start, unique = (taken or {}).get(name, 0), -(-wanted // epochs)
        ids = np.array(stream(name, crawl, seed, (start + unique) * CONTEXT + 1), np.int64)[start * CONTEXT :]
        rows = np.lib.stride_tricks.sliding_window_view(ids, CONTEXT + 1)[::CONTEXT]
        order = np.concatenate([rng.permutation(unique) for _ in range(epochs)])[:wanted]
        found.append(rows[order])
        when.append((np.arange(wanted) + rng.random(wanted)) / max(1, wanted))
    return np.concatenate(found)[np.argsort(np.concatenate(when), kind="stable")]


def stream(name: str, crawl: int, seed: int, count: int) -> list[int]:
    """The first `count` tokens of a source whose documents are in the seed's order."""
    texts, ids = of_source(name, crawl), []
    for text in random.Random(f"{seed}/{name}").sample(texts, len(texts)):
        ids += [tokenizer().eot, *tokenizer().encode(text)]
        if len(ids) >= count:
            return ids[:count]
    raise ValueError(f"{name} has {len(ids):,} tokens, and {count:,} are to be read: make a larger crawl.")


def of_source(name: str, crawl: int) -> list[str]:
    """The training texts of a source."""
    if name in ("raw", "extracted", "deduplicated", "filtered"):
        return crawled(crawl)[name]
    return [piece for domain in (PROSE if name == "prose" else [name]) for piece in pieces(domain)]


@cache
def crawled(size: int) -> dict[str, list[str]]:
    """A crawl of so many bytes after each step. The order is that of the arms; `prepare` filters before it compares."""
    documents = [d._replace(text=d.text[:30_000]) for name in ("books", "speeches") for d in split(name)[0]]
    with tempfile.TemporaryDirectory() as folder:
        make_crawl(random.Random(14).sample(documents, len(documents)), folder, seed=14, size=size)
        pages = list(read_warc([folder], Statistics()))
    extracted = list(extract(mend(pages, Statistics()), Statistics()))
    unequal = list(drop_exact(extracted, Statistics()))
    single = list(drop_near(unequal, find_duplicates(signatures(d.text for d in unequal)), Statistics()))
    filtered = mask_all(drop_bad(in_languages(single, {"en"}, Statistics()), Statistics()), Statistics())
    steps = {"raw": pages, "extracted": extracted, "deduplicated": single, "filtered": filtered}
    return {name: [document.text for document in found] for name, found in steps.items()}


@cache
def split(name: str) -> tuple[list[Document], list[Document]]:
    """(to train on, held out) of a domain."""
    documents = [d for d in (world.documents(the_world(), 2_000_000) if name == "world" else builtin([name]))
                 if d.text.isascii() or name != "code"]  # fmt: skip
    apart = [held_out(document.id, FRACTION.get(name, 0.05)) for document in documents]
    return tuple([d for d, out in zip(documents, apart) if out is side] for side in (False, True))


@cache
def the_world() -> world.World:
    """Few people, few words and many tellings, so that a small model can learn some of its facts."""
    return world.World(seed=14, people=8, exposures=(0, 16, 64, 256), words=0.3)


@cache
def pieces(name: str) -> list[str]:
    """The training documents of a domain, cut at blank lines into parts of 2,000 characters or a little more: a page
    or two each, like those of a crawl."""
    found = []
    for document in split(name)[0]:
        part = ""
        for block in document.text.split("\n\n"):
            part += block + "\n\n"
            if len(part) >= 2000:
                found.append(part.strip("\n"))
                part = ""
        found += [part.strip("\n")] * bool(part.strip())
    return found


@cache
def unseen() -> dict[str, list[str]]:
    """Held-out text of every domain, HELD bytes in all, as much from each of at most twelve documents."""
    found = {}
    for name in dict.fromkeys([*PROSE, *SOURCES]):
        documents = split(name)[1]
        many = len(documents) if name == "world" else min(12, len(documents))
        chosen = random.Random(0).sample(documents, many)
        each = HELD if name == "world" else HELD // many
        texts, room = [], HELD
        for document in chosen:
            texts.append(document.text[len(document.text) // 3 * (name != "world") :][: min(each, room)])
            room -= len(texts[-1])
            if room <= 0:
                break
        found[name] = texts
    return found


@cache
def tokenizer():
    """Learnt from as much text of each domain: one for all arms."""
    sample = [text for name in dict.fromkeys([*PROSE, *SOURCES]) for text in random.Random(1).sample(pieces(name), 40)]
    return train_bpe(sample, MODEL.vocab_size, [END_OF_TEXT])
