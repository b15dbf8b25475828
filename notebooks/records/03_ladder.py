"""What does each kind of model need for the same held-out text, and how does that fall with the text it has read?

Every arm reads the same books, in an order that the seed draws, and is measured on the text of the ladder after the
first 0.03, 0.1, … MB and after all of it. The unit is the byte, so that a bit per prediction is a bit per byte. What
was chosen (k, the orders, the network's sizes) was chosen on `development`, books that nobody trains on.

A counting model is made anew from the text up to there. The network is trained on three million positions, drawn from
all books without repetition, with a learning rate that falls to zero: its point at x has seen x million of them.
"""
import gzip
import lzma
import random
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F

from minigpt.classroom.ladder import text
from minigpt.text.sources import builtin, held_out

WHAT = "One held-out text under eleven kinds of model, while they read more and more books."
AXES = "training text read, MB", "bits per byte of the held-out text"
SEEDS = 0, 1, 2
FLOOR = 0.02  # another CPU adds in another order; compressors differ a little between versions
READ = (0.03, 0.1, 0.3, 1.0, 3.0)
"""In millions of bytes; the last point is all there is."""
V, NEWLINE = 256, 10
LONGEST = 7
CONTEXT, EMBEDDING, HIDDEN, BATCH, RATE, POSITIONS = 6, 16, 128, 512, 1e-2, 3_000_000


def arms() -> dict[str, dict]:
    kinds = {
        "uniform": "uniform", "unigram": "unigram", "bigram, add-k": "bigram", "gzip": "gzip",
        "gzip, primed": "gzip primed", "xz": "xz", "xz, primed": "xz primed", "trigram, backing off": "back-off 3",
        f"{LONGEST}-gram, backing off": f"back-off {LONGEST}", f"{LONGEST}-gram, Kneser–Ney": f"kneser-ney {LONGEST}",
        "MLP, 6 bytes": "mlp",
    }  # fmt: skip
    return {name: {"kind": kind} for name, kind in kinds.items()}


def run(settings: dict, seed: int) -> dict:
    kind, *order = settings["kind"].split()
    train, unseen = books(seed), as_ids(text())
    ends = [round(1e6 * mb) for mb in READ] + [len(train)]
    if kind == "mlp":
        y, parameters = mlp(train, unseen, ends[:-1], seed)
        return {"x": READ, "y": y, "parameters": parameters}
    if kind in ("gzip", "xz"):
        y = [packed(kind, end if order else 0) for end in ends]
    elif kind == "uniform":
        y = [np.log2(V)] * len(ends)
    else:
        models = {"unigram": lambda a: back_off(a, unseen, 1, 1), "bigram": lambda a: bigram(a, unseen, 0.03),
                  "back-off": lambda a: back_off(a, unseen, int(order[0]), 30),
                  "kneser-ney": lambda a: kneser_ney(a, unseen, int(order[0]))}  # fmt: skip
        y = [-np.log2(models[kind](train[:end])).mean() for end in ends]
    return {"x": [end / 1e6 for end in ends], "y": y}


@cache
def packed(kind: str, primed: int) -> float:
    """Bits per byte of the text behind the first `primed` bytes of training text, whose own size is taken off. The
    order of the books is always the first seed's: xz takes a minute for all of them."""
    pack = {"gzip": lambda data: gzip.compress(data, 9), "xz": lambda data: lzma.compress(data, preset=9)}[kind]
    head, tail = books(SEEDS[0])[:primed].tobytes(), text().encode()
    return 8 * (len(pack(head + tail)) - (len(pack(head)) if head else 0)) / len(tail)


# ---- text ------------------------------------------------------------------------------------------------------------


def as_ids(string: str) -> np.ndarray:
    """Its bytes, (N,) uint8."""
    return np.frombuffer(string.encode(), np.uint8)


@cache
def documents() -> tuple[list[str], list[str]]:
    """The books to train on, and those for choosing: 5 % of the rest, by a hash of their names."""
    rest = [d for d in builtin(["books"]) if not held_out(d.id)]
    dev = [held_out(d.id, salt="development") for d in rest]
    return [d.text for d, out in zip(rest, dev) if not out], [d.text for d, out in zip(rest, dev) if out]


def books(seed: int) -> np.ndarray:
    """All training text, its documents in an order that the seed draws."""
    order = documents()[0].copy()
    random.Random(seed).shuffle(order)
    return as_ids("\n\n".join(order))


def development() -> np.ndarray:
    return as_ids("\n\n".join(text[:30_000] for text in documents()[1]))


# ---- counting: an n-gram of bytes is a number below 256^n, at most 8 bytes in 64 bits ----------------------------------


def grams(ids: np.ndarray, n: int) -> np.ndarray:
    """For each position the n ids that end there, as one number, (N,) uint64; what lies before the text is newlines."""
    padded = np.concatenate([np.full(n - 1, NEWLINE, np.uint64), ids.astype(np.uint64)])
    keys = np.zeros(len(ids), np.uint64)
    for i in range(n):
        keys = keys << np.uint64(8) | padded[i : i + len(ids)]
    return keys


def count(keys: np.ndarray, weights=None) -> tuple[np.ndarray, np.ndarray]:
    """Different keys, sorted, and how often each occurs (or the sum of its weights)."""
    if weights is None:
        return np.unique(keys, return_counts=True)
    found, where = np.unique(keys, return_inverse=True)
    return found, np.bincount(where, weights)


def look_up(table: tuple[np.ndarray, np.ndarray], keys: np.ndarray) -> np.ndarray:
    """The count of each key, 0 where it never occurred."""
    found, counts = table
    at = np.searchsorted(found, keys).clip(max=len(found) - 1)
    return np.where(found[at] == keys, counts[at], 0)


def bigram(train: np.ndarray, unseen: np.ndarray, k: float) -> np.ndarray:
    """Probability of each byte of `unseen`, (N,): pairs counted, k added to each."""
    pairs = np.bincount(train[:-1].astype(int) * V + train[1:], minlength=V * V).reshape(V, V)
    probs = (pairs + k) / (pairs.sum(1, keepdims=True) + V * k)
    return probs[np.concatenate([[NEWLINE], unseen[:-1]]), unseen]


def back_off(train: np.ndarray, unseen: np.ndarray, longest: int, k: float) -> np.ndarray:
    """The same, (N,): each order counts, and borrows k observations from the order below; the lowest is uniform."""
    p = np.full(len(unseen), 1 / V)
    for n in range(1, longest + 1):
        table, keys = count(grams(train, n)), grams(unseen, n)
        contexts = count(table[0] >> np.uint64(8), table[1])
        p = (look_up(table, keys) + k * p) / (look_up(contexts, keys >> np.uint64(8)) + k)
    return p


def kneser_ney(train: np.ndarray, unseen: np.ndarray, longest: int) -> np.ndarray:
    """The same, (N,), with absolute discounts: below the highest order, a gram counts once for each byte before it."""
    p = np.full(len(unseen), 1 / V)
    for n in range(1, longest + 1):
        if n == longest:
            table = count(grams(train, n))
        else:
            table = count(count(grams(train, n + 1))[0] & np.uint64(256**n - 1))
        once, twice = ((table[1] == times).sum() for times in (1, 2))
        discount = once / (once + 2 * twice) if once and twice else 0.5
        contexts, keys = table[0] >> np.uint64(8), grams(unseen, n)
        total = look_up(count(contexts, table[1]), keys >> np.uint64(8))
        kinds = look_up(count(contexts), keys >> np.uint64(8))
        seen, safe = total > 0, np.maximum(total, 1)
        found = (look_up(table, keys) - discount).clip(min=0) / safe + discount * kinds / safe * p
        p = np.where(seen, found, p)
    return p


# ---- the network -----------------------------------------------------------------------------------------------------


def mlp(train: np.ndarray, unseen: np.ndarray, ends: list[int], seed: int) -> tuple[list[float], int]:
    """Bits per byte after each of `ends` positions, and the number of parameters."""
    g = torch.Generator().manual_seed(seed)
    shapes = (V, EMBEDDING), (CONTEXT * EMBEDDING, HIDDEN), (HIDDEN,), (HIDDEN, V), (V,)
    w = [torch.randn(s, generator=g) / (s[0] ** 0.5 if len(s) == 2 and s[0] != V else 1) for s in shapes]
    w[3] *= 0.1
    w = [(x if x.ndim == 2 else x * 0).requires_grad_() for x in w]
    optimizer = torch.optim.Adam(w, lr=RATE)

    def logits(windows: torch.Tensor) -> torch.Tensor:  # (B, CONTEXT) -> (B, V)
        E, A, a, B, b = w
        return torch.tanh(F.embedding(windows, E).flatten(1) @ A + a) @ B + b

    def windows_of(ids: np.ndarray) -> torch.Tensor:  # (N, CONTEXT + 1): what lies before the text is newlines
        padded = np.concatenate([np.full(CONTEXT, NEWLINE, np.uint8), ids])
        return torch.from_numpy(padded).unfold(0, CONTEXT + 1, 1)

    data, test = windows_of(train), windows_of(unseen).long()
    order, y = torch.randperm(len(train), generator=g)[:POSITIONS], []
    marks = {-(-end // BATCH) for end in ends}
    for step, rows in enumerate(order.split(BATCH), 1):
        batch = data[rows].long()
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - (step - 1) * BATCH / len(order))
        optimizer.zero_grad()
        F.cross_entropy(logits(batch[:, :-1]), batch[:, -1]).backward()
        optimizer.step()
        if step in marks:
            with torch.no_grad():
                nats = sum(F.cross_entropy(logits(part[:, :-1]), part[:, -1], reduction="sum").item()
                           for part in test.split(8192))  # fmt: skip
            y.append(nats / np.log(2) / len(unseen))
    return y, sum(x.numel() for x in w)
