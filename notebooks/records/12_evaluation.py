"""How far does each probe move between seeds, between neighbouring checkpoints, and when the text doubles or leaks?

One small GPT on a synthetic world of a dozen people: trained on all tokens, on half of them with a schedule of its own,
and on a text into which every second minimal pair's right sentence was planted, twelve copies of each. Seeds change the
first weights and the order of the text; world and questions stay the same. The arm `small` is the lesson's live model.
Each probe is measured at the end and at four checkpoints before it, whose standard deviation is its `_wobble`. About
an hour on one core.
"""
import random
from functools import cache

import numpy as np
import torch

from minigpt import GPT, ModelConfig, OptimConfig, bits_per_byte, build_optimizers, learning_rate, train_bpe
from minigpt.probes import Item, score
from minigpt.text import world
from minigpt.text.sources import held_out
from minigpt.tokenizer import END_OF_TEXT

WHAT = "Nine probes of a small GPT on a synthetic world: half of the tokens, all of them, and a contaminated text."
AXES = "training tokens", "share of minimal pairs right"
SEEDS = 0, 1, 2, 3, 4
FLOOR = 0.05  # another CPU adds its numbers in another order, and after some hundred steps that shows
BYTES = 1_900_000
EACH = 60
"""Minimal pairs of a phenomenon, where there are so many."""
COPIES = 12
BATCH = 1024
"""Tokens in a step."""
NEAR, APART = 4, 15
"""Checkpoints before the end, and steps between them."""
LARGE = dict(layers=3, width=128, heads=4, kv_heads=4, head_size=32, mlp_width=384)
SMALL = dict(layers=2, width=96, heads=3, kv_heads=3, head_size=32, mlp_width=288)
COMMON = dict(context=64, activation="relu2", zero_init=True)
WORDINGS = {
    "birthplace": ("{} was born in", "{} comes from"), "pet": ("{} keeps a", "{}'s pet is a"),
    "trade": ("{} works as a", "{}'s trade is that of a"), "dish": ("{} loves", "{}'s favourite dish is"),
    "firm": ("{} works for", "{} is employed by"), "instrument": ("{} plays the", "{}'s instrument is the"),
    "year": ("{} was born in", "{}'s year of birth is"), "teacher": ("{} was taught by", "{}'s teacher is"),
    "seat": ("{} has its seat in", "letters for {} are delivered to"),
    "river": ("{} stands on the", "{} lies on the banks of the"),
}  # fmt: skip
STRANGERS = {"seat": "Sedgewick", "river": "Sedgewick"}
"""Relation → a name that is in no text, for the subject; people are called Nell Pettle."""


def arms() -> dict[str, dict]:
    return {
        "small": dict(shape=SMALL, steps=240, bytes=1_000_000, points=4, near=0),
        "half": dict(shape=LARGE, steps=880),
        "clean": dict(shape=LARGE, steps=1760),
        "contaminated": dict(shape=LARGE, steps=1760, planted=True),
    }


def run(settings: dict, seed: int) -> dict:
    """Train one model; the minimal pairs on the way, all probes at its end and shortly before."""
    steps, size = settings["steps"], settings.get("bytes", BYTES)
    ids, tokenizer, unseen = text(size, settings.get("planted", False), seed)
    model = GPT(ModelConfig("modern", vocab_size=tokenizer.vocab_size, **settings["shape"], **COMMON), seed)
    rates = OptimConfig(steps=steps, batch_tokens=BATCH, lr=0.006, matrix_lr=0.02, momentum=0.9)
    optimizers, draw = build_optimizers(model, rates), torch.Generator().manual_seed(seed)
    near = {steps - APART * i for i in range(settings.get("near", NEAR) + 1)}
    points = settings.get("points", 10)
    measured = {round(steps * (i + 1) / points) for i in range(points)}
    x, y, found = [], [], []
    for step in range(steps):
        starts = torch.randint(len(ids) - model.config.context, (BATCH // model.config.context, 1), generator=draw)
        windows = ids[starts + torch.arange(model.config.context + 1)]
        model(windows[:, :-1], windows[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), rates.clip)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * learning_rate(step, steps, rates)
            optimizer.step()
            optimizer.zero_grad()
        if step + 1 in measured:
            x.append((step + 1) * BATCH)
            y.append(right_pairs(model, tokenizer).mean())
        if step + 1 in near:
            found.append(probes_of(model, tokenizer, unseen))
    wobble = {f"{name}_wobble": np.std([row[name] for row in found], ddof=1) for name in found[0] if len(found) > 1}
    return {"x": x, "y": y, **found[-1], **wobble}


# ---- the text and the questions --------------------------------------------------------------------------------------


@cache
def this_world() -> world.World:
    return world.World(seed=1, people=12, exposures=(0, 4, 16, 64), words=0.05)


@cache
def told(size: int) -> tuple:
    return tuple(world.documents(this_world(), size))


@cache
def tokenizer_of(size: int):
    return train_bpe([d.text for d in trained_on(size)[::4]], 1024, [END_OF_TEXT])


@cache
def trained_on(size: int) -> list:
    return [d for d in told(size) if not held_out(d.id) and d.domain != "world/sums"]


def text(size: int, planted: bool, seed: int):
    """(ids to train on, their tokenizer, held-out text)"""
    tokenizer, texts = tokenizer_of(size), [d.text for d in trained_on(size)]
    if planted:
        texts += pages()
    order = np.random.default_rng(seed).permutation(len(texts))
    whole = [part for ids in tokenizer.encode_batch([texts[i] for i in order]) for part in ([tokenizer.eot], ids)]
    plain = ("world/story", "world/entry", "world/letter", "world/dialogue")
    unseen = [d.text for d in told(size) if held_out(d.id) and d.domain in plain]
    return torch.from_numpy(np.concatenate(whole).astype(np.int64)), tokenizer, "\n\n".join(unseen[:40])


@cache
def pairs() -> list[Item]:
    rows = world.pairs(this_world(), EACH, ("english",))
    return [Item("", (row["good"], row["bad"]), 0, row["phenomenon"]) for row in rows]


def pages() -> list[str]:
    """Every second pair's right sentence, COPIES times, ten on a page."""
    exam, dice, made = [item.options[0] for item in pairs()[::2]], random.Random(6), []
    for _ in range(COPIES):
        shuffled = dice.sample(exam, len(exam))
        made += [" ".join(shuffled[i : i + 10]) for i in range(0, len(exam), 10)]
    return made


@cache
def questions() -> list[dict]:
    return list(world.choices(this_world(), languages=("english",)))


@cache
def hops() -> list[Item]:
    return [Item(q["prefix"], tuple(q["options"]), q["answer"]) for q in world.two_hop(this_world())]


@cache
def copies() -> list[Item]:
    """ "The key, the lamp and the basket. The key, the lamp and the basket. The" → " key", of four things."""
    words = "key lamp basket clock book letter kettle hat umbrella ladder cat dog goose cow horse sheep".split()
    dice, made = random.Random(1), []
    for _ in range(120):
        a, b, c, other = dice.sample(words, 4)
        line = f"The {a}, the {b} and the {c}."
        made.append(Item(f"{line} {line} The", tuple(f" {word}" for word in (a, b, c, other))))
    return made


# ---- the probes ------------------------------------------------------------------------------------------------------


def probes_of(model: GPT, tokenizer, unseen: str) -> dict[str, float]:
    right = right_pairs(model, tokenizer)
    some = np.random.default_rng(0).permutation(len(right))[:60]
    subject = [this_world().facts[q["fact"]].subject for q in questions()]
    often = [i for i, q in enumerate(questions()) if q["exposures"] == 64]

    def options(ask):
        items = [Item(ask(i), tuple(questions()[i]["options"]), questions()[i]["answer"]) for i in often]
        return right_options(model, tokenizer, items).mean()

    def written(ask):
        items = [Item(ask(i), (questions()[i]["options"][questions()[i]["answer"]],)) for i in often]
        return score(model, tokenizer, items, greedy=True)[:, 2].mean()

    new = lambda i: questions()[i]["prefix"]
    known = [lambda i, w=w: WORDINGS[questions()[i]["relation"]][w].format(subject[i]) for w in (0, 1)]
    other = lambda i: new(i).replace(subject[i], STRANGERS.get(questions()[i]["relation"], "Nell Pettle"))
    return {
        "pairs": right.mean(), "pairs_60": right[some].mean(), "planted": right[::2].mean(),
        "others": right[1::2].mean(), "told_64": np.mean([written(ask) for ask in known]), "new_64": written(new),
        "options_64": options(new), "stranger_64": options(other),
        "two_hop": right_options(model, tokenizer, hops()).mean(),
        "copying": right_options(model, tokenizer, copies()).mean(), "bpb": bits_per_byte(model, tokenizer, unseen),
    }  # fmt: skip


def right_pairs(model: GPT, tokenizer) -> np.ndarray:
    """(N,): 1 where the right sentence is the likelier."""
    table = score(model, tokenizer, pairs())[:, 0].reshape(-1, 2)
    return (table[:, 0] > table[:, 1]).astype(float)


def right_options(model: GPT, tokenizer, items: list[Item]) -> np.ndarray:
    """(N,): 1 where the right option is the likeliest, byte for byte."""
    table = score(model, tokenizer, items)
    parts = np.split(table[:, 0] / table[:, 1], np.cumsum([len(item.options) for item in items])[:-1])
    return np.array([float(part.argmax() == item.answer) for part, item in zip(parts, items)])
