"""What do warm-up and decay buy? One small GPT, five shapes of the learning rate over the run, and two peak rates.

AdamW for all weights, without clipping, so that nothing but the schedule guards the first steps. Of the two peaks that
were tried by hand, 0.003 and 0.01, the lower one ended better and did not care about the start; most arms use the
higher one, where the start matters, and two arms the lower. Seeds change the first weights and the order of the text.
The arm `short` has a fourth of the steps, with warm-up and decay.
"""
from functools import cache

import numpy as np
import torch

from minigpt import GPT, ModelConfig, OptimConfig, learning_rate, train_bpe
from minigpt.text.sources import builtin, held_out
from minigpt.tokenizer import END_OF_TEXT

WHAT = "Five schedules of AdamW's learning rate, at a high peak and at a low one, on books."
AXES = "step", "held-out loss, nats per token"
SEEDS = 0, 1, 2
FLOOR = 0.04  # another CPU adds its numbers in another order, and at a high rate that soon shows
STEPS, SHORT = 600, 150
CONTEXT, BATCH = 64, 8
RATE, LOW = 1e-2, 3e-3
WOBBLE = 20
"""Last steps whose held-out loss is measured each: the text is the same, so what moves is the model."""

MODEL = ModelConfig("gpt2", 2, 64, 2, 2, 32, 256, CONTEXT, 1024, activation="gelu")


def arms() -> dict[str, dict]:
    wsd, cosine = dict(schedule="wsd", decay=0.4), dict(schedule="cosine")
    return {
        "short": dict(warmup=0.1, steps=SHORT, **wsd),
        "neither": dict(warmup=0.0, schedule="constant"),
        "warm-up": dict(warmup=0.1, schedule="constant"),
        "decay": dict(warmup=0.0, **wsd),
        "both": dict(warmup=0.1, **wsd),
        "cosine": dict(warmup=0.1, **cosine),
        "neither, low": dict(warmup=0.0, schedule="constant", rate=LOW),
        "both, low": dict(warmup=0.1, rate=LOW, **wsd),
    }


def run(settings: dict, seed: int) -> dict:
    """Train one model on one schedule; the held-out loss on the way, and the wobble of its end."""
    settings = {"steps": STEPS, "rate": RATE} | settings
    steps, rate = settings.pop("steps"), settings.pop("rate")
    shape = OptimConfig(steps=steps, final_lr=0.0, **settings)
    ids, inputs, targets = text()
    model = GPT(MODEL, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.1)
    draw, x, y = torch.Generator().manual_seed(seed), [], []
    measured = {round(share * steps) for share in np.linspace(1 / 30, 1, 30)}

    def held_out_loss():
        with torch.no_grad():
            return float(model(inputs, targets))

    last = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * learning_rate(step, steps, shape)
        starts = torch.randint(len(ids) - CONTEXT, (BATCH, 1), generator=draw)
        windows = ids[starts + torch.arange(CONTEXT + 1)]
        model(windows[:, :-1], windows[:, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step + 1 in measured:
            x.append(step + 1)
            y.append(held_out_loss())
        if step >= steps - WOBBLE:
            last.append(held_out_loss())
    return {"x": x, "y": y, "wobble": np.std(last, ddof=1), "steps": steps, "rate": rate}


@cache
def text():
    """(ids to train on, held-out inputs, targets): every third book, which is enough and soon read."""
    documents = list(builtin(["books"]))
    train = [d.text for d in documents if not held_out(d.id)][::3]
    unseen = [d.text[4000:5500] for d in documents if held_out(d.id)]
    tokenizer = train_bpe(train[::6], MODEL.vocab_size, [END_OF_TEXT])

    def encode(texts):
        return torch.from_numpy(np.concatenate([[tokenizer.eot, *a] for a in tokenizer.encode_batch(texts)])).long()

    found = encode(unseen)
    rows = (len(found) - 1) // CONTEXT
    cut = lambda start: found[start : start + rows * CONTEXT].view(rows, CONTEXT)
    return encode(train), cut(0), cut(1)
