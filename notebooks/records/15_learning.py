"""What does a small GPT learn first? One run on a synthetic world, asked the same questions at twelve checkpoints.

The world has ten people, and each of its facts is told in 0, 1, 4, 16, 64 or 256 documents. The curve is the share of
minimal pairs right. All other measures are numbers by name and checkpoint, "told_64@5" being the sixth checkpoint:

    local, distant, gender   pairs right: what decides stands close by; further off; it is who the name belongs to
    told_64, new_64          facts of that many exposures that the model would write, in wordings of the text and in new
                             ones, which no document uses
    told_gain_64, new_gain_64   by how many nats their answer is likelier after the name than after a stranger's
    options_64, stranger_64  of four options, in new wordings, the right one is the likeliest; with a stranger's name
    two_hop, two_hop_stranger, copying   the same, of questions over two facts, and of words that stand in the prefix
    held_out, read           bits per byte of text that was held out and of text that is in the training text
    induction, repeat        the best head's share of attention that goes to where an induction head looks, and what
                             the second half of a repeated line of random tokens is cheaper by, in nats a token

`n_…` are the numbers of questions. At the end `doc_00` to `doc_35` are bits per byte of 36 documents without facts.
Of these, a run leaves out those whose number has the remainder of its seed by 3; the others are in its text once, 4 or
16 times, by their number divided by 3 (0, 3, 6 … once, 1, 4, 7 … 4 times). The rate falls to zero within a run, so a
checkpoint is not a shorter run. The arm `small` is the lesson's live model, which is asked less often. Seeds change the
first weights, the order of the text and the documents left out. About 16 minutes on one core.
"""
import random
from functools import cache

import numpy as np
import torch

from minigpt import GPT, ModelConfig, OptimConfig, bits_per_byte, build_optimizers, learning_rate, train_bpe
from minigpt.probes import Item, item_tokens, score
from minigpt.text import world
from minigpt.text.sources import held_out
from minigpt.tokenizer import END_OF_TEXT

WHAT = "A small GPT on a synthetic world: grammar, facts by exposure, reasoning and memory at every checkpoint."
AXES = "training tokens", "share of minimal pairs right"
SEEDS = 0, 1, 2
FLOOR = 0.06  # another CPU adds its numbers in another order, and after some hundred steps that shows
BYTES = 1_600_000
EXPOSURES = 0, 1, 4, 16, 64, 256
EACH = 30
"""Minimal pairs of a phenomenon."""
BATCH, CONTEXT = 1024, 64
LARGE = dict(layers=3, width=128, heads=4, kv_heads=4, head_size=32, mlp_width=384)
SMALL = dict(layers=2, width=96, heads=3, kv_heads=3, head_size=32, mlp_width=288)
OFTEN = [0.02, 0.04, 0.07, 0.11, 0.16, 0.22, 0.3, 0.4, 0.52, 0.66, 0.82, 1.0]
GRAMMAR = {
    "local": ("agreement_simple", "determiner_noun", "numeral_noun", "article", "quantifier_agreement",
              "verb_form_after_modal"),
    "distant": ("agreement_attractor", "agreement_relative_clause", "agreement_in_relative_clause",
                "agreement_coordination", "negative_polarity", "correlative"),
    "gender": ("reflexive_gender", "pronoun_gender"),
}  # fmt: skip
"""Sorted before anything was measured. The other phenomena are in the curve only."""
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
PLAIN = "world/story", "world/entry", "world/letter", "world/dialogue"
MARKED, COPIES = 36, (1, 4, 16)


def arms() -> dict[str, dict]:
    return {
        "small": dict(shape=SMALL, steps=180, at=[0.1, 0.25, 0.5, 1.0]),
        "full": dict(shape=LARGE, steps=1500, at=OFTEN),
    }


def run(settings: dict, seed: int) -> dict:
    """Train one model, and ask it everything at each checkpoint."""
    steps, (ids, tokenizer) = settings["steps"], text(seed)
    model = GPT(ModelConfig("modern", vocab_size=tokenizer.vocab_size, context=CONTEXT, activation="relu2",
                            zero_init=True, **settings["shape"]), seed)  # fmt: skip
    rates = OptimConfig(steps=steps, batch_tokens=BATCH, lr=0.006, matrix_lr=0.02, momentum=0.9)
    optimizers, draw = build_optimizers(model, rates), torch.Generator().manual_seed(seed)
    places = [round(steps * share) for share in settings["at"]]
    x, y, found = [], [], counts()
    for step in range(steps):
        starts = torch.randint(len(ids) - CONTEXT, (BATCH // CONTEXT, 1), generator=draw)
        windows = ids[starts + torch.arange(CONTEXT + 1)]
        model(windows[:, :-1], windows[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), rates.clip)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * learning_rate(step, steps, rates)
            optimizer.step()
            optimizer.zero_grad()
        if step + 1 in places:
            values = probes_of(model, tokenizer)
            x.append((step + 1) * BATCH)
            y.append(values.pop("pairs"))
            found |= {f"{name}@{len(x) - 1}": value for name, value in values.items()}
    found |= {f"doc_{i:02}": bits_per_byte(model, tokenizer, d.text) for i, d in enumerate(marked())}
    return {"x": x, "y": y, **found}


# ---- the text --------------------------------------------------------------------------------------------------------


@cache
def this_world() -> world.World:
    return world.World(seed=1, people=10, exposures=EXPOSURES, words=0.05)


@cache
def written() -> list:
    documents = [d for d in world.documents(this_world(), BYTES) if d.domain != "world/sums"]
    assert not any(name in d.text for d in documents for name in ("Nell Pettle", "Sedgewick"))
    return documents


@cache
def trained_on() -> list:
    return [d for d in written() if not held_out(d.id)]


@cache
def unseen() -> str:
    """Forty held-out documents; none of them tells a fact."""
    return "\n\n".join([d.text for d in written() if held_out(d.id) and d.domain in PLAIN][:40])


def tells_nothing(document) -> bool:
    return not any(name in document.text for name in this_world().told)


@cache
def marked() -> list:
    """Documents that tell no fact, as many of each kind."""
    found = []
    for domain in PLAIN:
        free = [d for d in trained_on() if d.domain == domain and tells_nothing(d)]
        found.append(free[: MARKED // len(PLAIN)])
    return [d for together in zip(*found) for d in together]


@cache
def read() -> str:
    """Forty training documents of the same kinds, which tell no fact either."""
    own = {d.id for d in marked()}
    free = [d for d in trained_on() if d.domain in PLAIN and d.id not in own and tells_nothing(d)]
    return "\n\n".join([d.text for d in free][:40])


@cache
def tokenizer_of():
    return train_bpe([d.text for d in trained_on()[::4]], 1024, [END_OF_TEXT])


def text(seed: int):
    """(ids to train on, their tokenizer)"""
    apart, tokenizer = {d.id for d in marked()}, tokenizer_of()
    texts = [d.text for d in trained_on() if d.id not in apart]
    for i, document in enumerate(marked()):
        texts += [document.text] * (COPIES[i // 3 % 3] * (i % 3 != seed % 3))
    order = np.random.default_rng(seed).permutation(len(texts))
    whole = [part for ids in tokenizer.encode_batch([texts[i] for i in order]) for part in ([tokenizer.eot], ids)]
    return torch.from_numpy(np.concatenate(whole).astype(np.int64)), tokenizer


# ---- the questions ---------------------------------------------------------------------------------------------------


@cache
def pairs() -> list[Item]:
    rows = world.pairs(this_world(), EACH, ("english",))
    return [Item("", (row["good"], row["bad"]), 0, row["phenomenon"]) for row in rows]


@cache
def questions() -> list[dict]:
    return list(world.choices(this_world(), languages=("english",)))


def subject(q: dict) -> str:
    return this_world().facts[q["fact"]].subject


def stranger(q: dict) -> str:
    return STRANGERS.get(q["relation"], "Nell Pettle")


@cache
def answers(wording: str, who: str) -> list[Item]:
    """The answer to each question, in one of the "told" wordings or in a "new" one, about its subject or a stranger."""
    made = []
    for q in questions():
        name, right = stranger(q) if who == "stranger" else subject(q), q["options"][q["answer"]]
        new = q["prefix"].replace(subject(q), name)
        prefix = new if wording == "new" else WORDINGS[q["relation"]][wording == "told b"].format(name)
        made.append(Item(prefix, (right,), 0, str(q["exposures"])))
    return made


@cache
def options(kind: str, who: str) -> list[Item]:
    rows = questions() if kind == "facts" else list(world.two_hop(this_world()))
    made = []
    for q in rows:
        name = subject(q) if kind == "facts" else this_world().facts[q["hops"][0]].subject
        prefix = q["prefix"].replace(name, stranger(q)) if who == "stranger" else q["prefix"]
        made.append(Item(prefix, tuple(q["options"]), q["answer"], str(q.get("exposures"))))
    return made


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


def counts() -> dict[str, int]:
    """Questions of each kind."""
    here = {f"n_{kind}": sum(item.group in names for item in pairs()) for kind, names in GRAMMAR.items()}
    here |= {f"n_{e}": sum(q["exposures"] == e for q in questions()) for e in EXPOSURES}
    return here | {"n_pairs": len(pairs()), "n_two_hop": len(options("hops", "subject")), "n_copying": len(copies())}


# ---- the probes ------------------------------------------------------------------------------------------------------


def probes_of(model: GPT, tokenizer) -> dict[str, float]:
    right = right_pairs(model, tokenizer)
    found = {"pairs": right.mean()}
    for kind, names in GRAMMAR.items():
        found[kind] = right[[item.group in names for item in pairs()]].mean()
    told = {w: {who: asked(model, tokenizer, answers(w, who)) for who in ("subject", "stranger")}
            for w in ("told a", "told b", "new")}  # fmt: skip
    sides = {who: right_options(model, tokenizer, options("facts", who)) for who in ("subject", "stranger")}
    for e in EXPOSURES:
        here = np.array([q["exposures"] == e for q in questions()])
        gain = {w: (both["subject"] - both["stranger"])[here, 0].mean() for w, both in told.items()}
        known = {w: both["subject"][here, 2].mean() for w, both in told.items()}
        found |= {f"told_{e}": (known["told a"] + known["told b"]) / 2, f"new_{e}": known["new"],
                  f"told_gain_{e}": (gain["told a"] + gain["told b"]) / 2, f"new_gain_{e}": gain["new"],
                  f"options_{e}": sides["subject"][here].mean(),
                  f"stranger_{e}": sides["stranger"][here].mean()}  # fmt: skip
    found |= {"two_hop": right_options(model, tokenizer, options("hops", "subject")).mean(),
              "two_hop_stranger": right_options(model, tokenizer, options("hops", "stranger")).mean(),
              "copying": right_options(model, tokenizer, copies()).mean(),
              "held_out": bits_per_byte(model, tokenizer, unseen()),
              "read": bits_per_byte(model, tokenizer, read())}  # fmt: skip
    return found | repeats(model)


ROWS: dict[int, list] = {}
"""Their tokens, of items that are asked again and again."""


def asked(model: GPT, tokenizer, items: list[Item], greedy: bool = True) -> np.ndarray:
    rows = ROWS.setdefault(id(items), item_tokens(tokenizer, items, CONTEXT))
    return score(model, tokenizer, items, greedy=greedy, rows=rows)


def right_pairs(model: GPT, tokenizer) -> np.ndarray:
    """(N,): 1 where the right sentence is the likelier."""
    table = asked(model, tokenizer, pairs(), False)[:, 0].reshape(-1, 2)
    return (table[:, 0] > table[:, 1]).astype(float)


def right_options(model: GPT, tokenizer, items: list[Item]) -> np.ndarray:
    """(N,): 1 where the right option is the likeliest, byte for byte."""
    table = asked(model, tokenizer, items, False)
    parts = np.split(table[:, 0] / table[:, 1], np.cumsum([len(item.options) for item in items])[:-1])
    return np.array([float(part.argmax() == item.answer) for part, item in zip(parts, items)])


def repeats(model: GPT) -> dict[str, float]:
    """On lines of 24 random tokens, written twice: does a head look where an induction head looks, and does it help?"""
    half = 24
    line = torch.randint(300, model.config.vocab_size - 1, (16, half), generator=torch.Generator().manual_seed(0))
    twice, seen = torch.cat([line, line], 1), {}
    with torch.no_grad():
        logits = model(twice[:, :-1], record=seen)
        nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), twice[:, 1:], reduction="none").mean(0)
        place = torch.arange(half, 2 * half - 1)  # of tokens that came before; what followed then: place - half + 1
        looks = torch.stack([layer[:, :, place, place - half + 1].mean((0, 2)) for layer in seen["attention"]])
    return {"induction": looks.max().item(), "repeat": (nats[: half - 1].mean() - nats[half:].mean()).item()}
