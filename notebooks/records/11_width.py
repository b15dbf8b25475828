"""Does the best learning rate of a narrow model suit a wide one? Four widths, the rate swept, under three rules.

The model is that of lesson 03 with two hidden layers: the last 8 bytes, embedded, through two layers of the width with
ReLU, to the next byte. It has no norms. (Two-layer GPTs of widths 32 and 128 were tried first: after a training this
short, their losses were nearly level over a factor of 10 or more in the rate, so that no best rate could be read off.)

`standard` gives every parameter the same rate, whatever the width. `muP` divides the rate of each matrix whose inputs
grow with the width (the second layer and the head) by width / 64, so that both rules agree at width 64. `muon` moves
the two layers by Muon at the swept rate, and the rest as in muP, at 1/64. AdamW without weight decay does all the rest.
All start alike: embeddings with variance 1, layers with variance 2 / inputs, the head at zero.
"""
from functools import cache
from itertools import islice

import torch
import torch.nn.functional as F

from minigpt import OptimConfig, learning_rate
from minigpt.optim import Muon
from minigpt.text.sources import builtin

WHAT = "A network of two hidden layers on the bytes of books, at four widths; the rate swept, under three rules."
AXES = "step", "loss on held-out text, nats per byte"
SEEDS = 0, 1, 2
FLOOR = 0.05  # another CPU adds its numbers in another order, and after some hundred steps that shows
LOOK_BACK, SIZE, BASE, BATCH, STEPS = 8, 16, 64, 256, 150
WIDTHS = 64, 128, 256, 512
RATES = {"standard": range(-11, -2), "muP": range(-11, -2), "muon": range(-9, 0)}
"""Exponents of 2."""
OTHER = 2.0**-6


def arms() -> dict[str, dict]:
    """ "standard 128, -7" → its settings; width 64 stands under `standard` for both rules."""
    cases = [("standard", width) for width in WIDTHS] + [("muP", width) for width in WIDTHS[1:]]
    cases += [("muon", width) for width in WIDTHS[::2]]
    found = {f"{rule} {width}, {k}": dict(rule=rule, width=width, rate=2.0**k)
             for rule, width in cases for k in RATES[rule]}  # fmt: skip
    first = "standard 64, -6"
    return {first: found.pop(first)} | found


def run(settings: dict, seed: int) -> dict:
    train, (inputs, targets) = text()
    generator = torch.Generator().manual_seed(seed)
    parameters = draw(settings["width"], generator)
    moving, plan, x, y = optimizers(parameters, **settings), OptimConfig(warmup=0.1, decay=0.5), [], []
    for step in range(STEPS):
        starts = torch.randint(len(train) - LOOK_BACK, (BATCH, 1), generator=generator)
        seen, wanted = train[starts + torch.arange(LOOK_BACK)], train[starts[:, 0] + LOOK_BACK]
        F.cross_entropy(forward(parameters, seen), wanted).backward()
        for optimizer in moving:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * learning_rate(step, STEPS, plan)
            optimizer.step()
            optimizer.zero_grad()
        if step + 1 in (STEPS // 2, STEPS):
            x.append(step + 1)
            with torch.no_grad():
                y.append(F.cross_entropy(forward(parameters, inputs), targets).item())
    return {"x": x, "y": y}


def draw(width: int, generator: torch.Generator) -> list[torch.Tensor]:
    """Embedding, first layer, second layer, head; a layer (rows, columns) has a row for each of its outputs."""
    def normal(rows: int, columns: int, variance: float) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator) * variance**0.5

    inputs = LOOK_BACK * SIZE
    made = normal(256, SIZE, 1), normal(width, inputs, 2 / inputs), normal(width, width, 2 / width)
    return [p.requires_grad_() for p in (*made, torch.zeros(256, width))]


def forward(parameters: list[torch.Tensor], seen: torch.Tensor) -> torch.Tensor:
    """Bytes (N, 8) → logits (N, 256)."""
    embedding, first, second, head = parameters
    hidden = torch.relu(embedding[seen].flatten(1) @ first.T)
    return torch.relu(hidden @ second.T) @ head.T


def optimizers(parameters: list, rule: str, width: int, rate: float) -> list[torch.optim.Optimizer]:
    """Every parameter with the peak rate that the rule gives it, as `peak_lr` of its group."""
    embedding, first, second, head = parameters
    rest, narrow = OTHER if rule == "muon" else rate, 1.0 if rule == "standard" else BASE / width
    groups = [dict(params=[embedding], lr=rest), dict(params=[head], lr=rest * narrow)]
    if rule != "muon":
        groups += [dict(params=[first], lr=rate), dict(params=[second], lr=rate * narrow)]
    made = [torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0, fused=True)]
    made += [Muon([first, second], rate, momentum=0.9)] if rule == "muon" else []
    for group in (group for optimizer in made for group in optimizer.param_groups):
        group["peak_lr"] = group["lr"]
    return made


@cache
def text():
    """(bytes to train on, held-out (inputs (N, 8), targets (N,))): a dozen books, the last of which is held out."""
    *documents, last = [torch.tensor(list(d.text[2000:80_000].encode())) for d in islice(builtin(["books"]), 12)]
    starts = torch.arange(4000)
    return torch.cat(documents), (last[starts[:, None] + torch.arange(LOOK_BACK)], last[starts + LOOK_BACK])
