"""Do experts pay? A dense model, mixtures of experts of the same active size, and a dense model as large as they are.

All arms get the same training FLOPs, counted from the weights that a token really meets (the router is one of them),
the same AdamW at the same rate, and for each seed the same order of the text. A mixture has 8 experts: either 1 of the
dense MLP's width is active or 2 of half that width, so that a token pays for one MLP. The large dense model has an MLP
eight times as wide, which makes its tokens dearer, so that it sees fewer. One arm goes without the balance loss.

All matrices start four times as large as those of a GPT by default: 0.02 suits a width of about a thousand, and at 32
it makes a slow start, whose length is luck. The rate was chosen for the dense model, with half of the FLOPs, by its end
on seed 9, among 2e-3, 4e-3, 8e-3 and 16e-3. `seconds` are those of the processor, one thread, without evaluation.
"""
import time
from functools import cache

import numpy as np
import torch

from minigpt import GPT, ModelConfig, OptimConfig, Tokenizer, bits_per_byte, build_optimizers, learning_rate
from minigpt.moe import MoE, active_parameters, balance_loss, sparse
from minigpt.text.sources import builtin, held_out
from minigpt.tokenizer import END_OF_TEXT

WHAT = "A dense model, mixtures of 8 experts and a larger dense model, at equal training FLOPs, on books."
AXES = "training FLOPs, 10^12", "bits per byte of held-out text"
SEEDS = 0, 1, 2
FLOOR = 0.03  # another CPU adds its numbers in another order, and after some hundred steps that shows
FLOPS = 1.6e11
CONTEXT, BATCH = 64, 16
LAYERS, WIDTH, HEADS, MLP_WIDTH, EXPERTS = 2, 32, 2, 96, 8
RATE, BALANCE, INITIAL = 8e-3, 0.01, 4
MEASURED = np.array([0.1, 0.25, 0.5, 0.75, 1.0])
"""Where a run is measured, as shares of its steps."""


def arms() -> dict[str, dict]:
    return {
        "dense": {},
        "1 of 8": {"active": 1},
        "2 of 8": {"active": 2, "width": MLP_WIDTH // 2},
        "1 of 8, not balanced": {"active": 1, "balance": 0.0},
        "dense, wide": {"width": EXPERTS * MLP_WIDTH},
    }


def build(settings: dict, seed: int) -> GPT:
    width = settings.get("width", MLP_WIDTH)
    model = GPT(ModelConfig(layers=LAYERS, width=WIDTH, heads=HEADS, kv_heads=HEADS, head_size=WIDTH // HEADS,
                            context=CONTEXT, mlp_width=width, vocab_size=257), seed)  # fmt: skip
    if "active" in settings:
        sparse(model, EXPERTS, settings["active"], seed, width)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(INITIAL if p.ndim > 1 else 1)
    return model


def flops_of_a_token(model: GPT) -> int:
    """To train on it: 6 for each weight it meets (the embedding is also the head), and the scores and the mixing."""
    return 6 * active_parameters(model) + 12 * LAYERS * WIDTH * CONTEXT


def run(settings: dict, seed: int) -> dict:
    ids, tokenizer, unseen = text()
    model, balance = build(settings, seed), settings.get("balance", BALANCE if "active" in settings else 0.0)
    steps = round(FLOPS / (flops_of_a_token(model) * BATCH * CONTEXT))
    rates = OptimConfig(optimizer="adamw", lr=settings.get("rate", RATE), steps=steps, batch_tokens=BATCH * CONTEXT)
    (optimizer,) = build_optimizers(model, rates)
    draw, y, seconds = torch.Generator().manual_seed(seed), [], 0.0
    measured = (MEASURED * steps).round().astype(int)
    for step in range(steps):
        begin = time.process_time()
        starts = torch.randint(len(ids) - CONTEXT, (BATCH, 1), generator=draw)
        windows = ids[starts + torch.arange(CONTEXT + 1)]
        loss = model(windows[:, :-1], windows[:, 1:])
        if balance:
            loss = loss + balance * balance_loss(model)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * learning_rate(step, steps, rates)
        optimizer.step()
        optimizer.zero_grad()
        seconds += time.process_time() - begin
        if step + 1 in measured:
            y.append(bits_per_byte(model, tokenizer, unseen))
    tokens = steps * BATCH * CONTEXT
    return {"x": MEASURED * FLOPS / 1e12, "y": y, "steps": steps, "tokens": tokens, "seconds": seconds,
            "active_parameters": active_parameters(model), "parameters": sum(p.numel() for p in model.parameters()),
            "largest_share": largest_share(model, ids[: 64 * CONTEXT].view(64, CONTEXT))}  # fmt: skip


def largest_share(model: GPT, windows: torch.Tensor) -> float:
    """Of the visits on some text (B, T): what the busiest expert gets, averaged over layers; a dense model has one."""
    with torch.no_grad():
        model(windows)
    routed = [m for m in model.modules() if isinstance(m, MoE)]
    shares = [torch.bincount(m.chosen.flatten()).max().item() / m.chosen.numel() for m in routed]
    return sum(shares) / len(shares) if shares else 1.0


@cache
def text():
    """(ids to train on, their tokenizer, held-out text). A token is a byte: small models soon have enough of it."""
    documents = list(builtin(["books"]))
    train = "\n\n".join(d.text for d in documents if not held_out(d.id))
    unseen = "\n\n".join(d.text[4000:5500] for d in documents if held_out(d.id))
    tokenizer = Tokenizer([], (END_OF_TEXT,))
    return torch.from_numpy(np.frombuffer(train.encode(), np.uint8).astype(np.int64)), tokenizer, unseen
