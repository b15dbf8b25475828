"""Trained on 128 tokens, read on 512. What happens past the trained length, and what mends it?

One small model in Qwen3's style is trained on windows of 128 tokens. Then it reads held-out windows of 512, with its
rotary angles as they are or changed in one of three ways; before or after it has trained a tenth longer, with the
changed angles, on windows of 512. Three arms to compare with: a model that was trained for a third of the FLOPs; the
same model with a sliding window of 128; and a model that was trained on windows of 512 from the start, for the same
FLOPs.
"""
from dataclasses import replace
from functools import cache

import numpy as np
import torch

from minigpt import GPT, ModelConfig, OptimConfig, build_optimizers, learning_rate, train_bpe
from minigpt.accounting import flops_per_token
from minigpt.evaluate import to_bpb, token_losses
from minigpt.text.sources import builtin, held_out
from minigpt.tokenizer import END_OF_TEXT

WHAT = "Trained on 128 tokens, read on 512: bits per byte by position, for several ways to stretch the angles."
AXES = "position in the text, tokens", "bits per byte of held-out text"
SEEDS = 0, 1, 2
FLOOR = 0.05  # another CPU adds its numbers in another order, and after some hundred steps that shows
SHORT, LONG, FACTOR = 128, 512, 4.0
FLOPS, MORE = 1.2e12, 0.1
"""Of the training, and of the continued training as a share of it."""
BATCH = 1024
"""Tokens in a step."""
EDGES = np.arange(0, LONG + 1, 32)
WINDOWS = 96
"""How many held-out windows of 512 are read."""
CONFIG = ModelConfig(layers=2, width=128, heads=4, kv_heads=4, head_size=32, mlp_width=341, context=SHORT,
                     vocab_size=1024)  # fmt: skip


def arms() -> dict[str, dict]:
    ways = {
        "plain": {},
        "base": {"rope_base": CONFIG.rope_base * FACTOR ** (CONFIG.head_size / (CONFIG.head_size - 2))},
        "linear": {"rope": "linear", "rope_factor": FACTOR},
        "yarn": {"rope": "yarn", "rope_factor": FACTOR},
    }
    more = {f"{name} +10%": change | {"more": MORE} for name, change in ways.items()}
    third = {"plain, a third": {"share": 1 / 3}}
    return third | ways | more | {"window": {"window": SHORT}, "long from the start": {"from_start": True}}


def run(settings: dict, seed: int) -> dict:
    changes = dict(settings)
    more, from_start = changes.pop("more", 0.0), changes.pop("from_start", False)
    share = changes.pop("share", 1.0)
    model = GPT(replace(CONFIG, context=LONG, **changes), seed)
    if from_start:
        train(model, FLOPS, seed)
    else:
        model.load_state_dict(trained(seed, share))
        if more:
            train(model, more * FLOPS, seed + 1000, rate=0.1)
    x, y = by_position(model)
    return {"x": x, "y": y, "inside": y[: SHORT // 32].mean(), "outside": y[SHORT // 32 :].mean()}


@cache
def trained(seed: int, share: float) -> dict:
    """The weights of the model that was trained on short windows, for a share of the FLOPs."""
    model = GPT(CONFIG, seed)
    train(model, share * FLOPS, seed)
    return model.state_dict()


def train(model: GPT, flops: float, seed: int, rate: float = 1.0) -> None:
    """On windows of the model's context; `rate` multiplies the learning rates."""
    ids, context = text()[0], model.config.context
    rates = OptimConfig(steps=round(flops / (flops_per_token(model.config) * BATCH)), lr=0.01 * rate,
                        matrix_lr=0.03 * rate, momentum=0.8)  # fmt: skip
    optimizers, draw = build_optimizers(model, rates), torch.Generator().manual_seed(seed)
    for step in range(rates.steps):
        starts = torch.randint(len(ids) - context, (BATCH // context, 1), generator=draw)
        windows = ids[starts + torch.arange(context + 1)]
        model(windows[:, :-1], windows[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * learning_rate(step, rates.steps, rates)
            optimizer.step()
            optimizer.zero_grad()


def by_position(model: GPT) -> tuple[np.ndarray, np.ndarray]:
    """(middles of the intervals, bits per byte inside each)."""
    _, tokenizer, unseen = text()
    nats, sizes = np.zeros(LONG), np.zeros(LONG)
    for rows in np.split(unseen, len(unseen) // 4):
        nats += token_losses(model, rows[:, :-1], rows[:, 1:]).sum(0)
        sizes += tokenizer.token_bytes[rows[:, 1:]].sum(0)
    parts = [slice(a, b) for a, b in zip(EDGES, EDGES[1:])]
    return (EDGES[:-1] + EDGES[1:]) / 2, np.array([to_bpb(nats[part].sum(), sizes[part].sum()) for part in parts])


@cache
def text():
    """(ids to train on, their tokenizer, held-out windows (N, 513)): every third book, which is enough."""
    documents = list(builtin(["books"]))
    train = [d.text for d in documents if not held_out(d.id)][::3]
    tokenizer = train_bpe(train[::3], CONFIG.vocab_size, [END_OF_TEXT])
    encoded = [[tokenizer.eot, *a] for a in tokenizer.encode_batch(train)]
    rows = []
    for tokens in tokenizer.encode_batch([d.text[2000:30_000] for d in documents if held_out(d.id)]):
        rows += [tokens[i : i + LONG + 1] for i in range(0, len(tokens) - LONG, LONG + 1)]
    every = len(rows) // WINDOWS  # of all held-out books, some
    unseen = np.array(rows[::every][:WINDOWS], np.int64)
    return torch.from_numpy(np.concatenate(encoded).astype(np.int64)), tokenizer, unseen
