"""How many steps and how many tokens to the same loss, for batches from 256 to 8,192 tokens?

A small model with AdamW. The rate of a batch of B tokens is R · √(B / 2048) (Malladi et al. 2022), times 1/2, 1 or 2;
after the warm-up it is constant, so that a run may end wherever it reaches the target. The tokens are interpolated
between two evaluations. A run that never reaches the target counts with all of its tokens.
"""
from functools import cache

import numpy as np
import torch

from minigpt import GPT, ModelConfig, train_bpe
from minigpt.evaluate import token_losses
from minigpt.text.sources import builtin, held_out
from minigpt.tokenizer import END_OF_TEXT

WHAT = "Steps and tokens to one held-out loss, against the batch; AdamW, the rate grows with the root of the batch."
AXES = "tokens in a batch", "tokens to the target"
SEEDS = 0, 1, 2
FLOOR = 6000  # another CPU adds its numbers in another order, and after some hundred steps that shows
CONTEXT, TARGET = 32, 4.6
CONFIG = ModelConfig(layers=2, width=64, heads=2, kv_heads=2, head_size=32, mlp_width=176, context=CONTEXT,
                     vocab_size=512)  # fmt: skip
BATCHES = 256, 512, 1024, 2048, 4096, 8192
RATE, WARMUP = 0.01, 10


def arms() -> dict[str, dict]:
    return {f"{batch}, {times:g}": dict(batch=batch, times=times) for batch in BATCHES for times in (1, 0.5, 2)}


def run(settings: dict, seed: int) -> dict:
    ids, unseen = text()
    batch, model = settings["batch"], GPT(CONFIG, seed)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2 if p.ndim > 1 else 1)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    rate, draw = settings["times"] * RATE * (batch / 2048) ** 0.5, torch.Generator().manual_seed(seed)
    every, most = max(1, round(4 * (2048 / batch) ** 0.5)), 12 * 2**14 // batch + 60
    tokens, losses = [0], [token_losses(model, unseen[:, :-1], unseen[:, 1:]).mean()]
    for step in range(most):
        starts = torch.randint(len(ids) - CONTEXT, (batch // CONTEXT, 1), generator=draw)
        windows = ids[starts + torch.arange(CONTEXT + 1)]
        model(windows[:, :-1], windows[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / WARMUP)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % every == 0 or step + 1 == most:
            tokens.append((step + 1) * batch)
            losses.append(token_losses(model, unseen[:, :-1], unseen[:, 1:]).mean())
            if losses[-1] <= TARGET:
                break
    reached = losses[-1] <= TARGET
    needed = np.interp(-TARGET, -np.array(losses[-2:]), tokens[-2:]) if reached else tokens[-1]
    return {"x": [batch], "y": [needed], "reached": reached, "end": losses[-1]}


@cache
def text():
    """(ids to train on, held-out windows (N, 33)): every third book, which is enough, and soon read."""
    documents = list(builtin(["books"]))
    train = [d.text for d in documents if not held_out(d.id)][::3]
    unseen = [d.text[4000:5500] for d in documents if held_out(d.id)]
    tokenizer = train_bpe(train[::9], CONFIG.vocab_size, [END_OF_TEXT])
    encoded = [[tokenizer.eot, *a] for a in tokenizer.encode_batch(train)]
    rows = [row[i : i + CONTEXT + 1] for row in tokenizer.encode_batch(unseen) for i in range(0, 320, CONTEXT + 1)]
    rows = np.array([row for row in rows if len(row) == CONTEXT + 1], np.int64)
    return torch.from_numpy(np.concatenate(encoded).astype(np.int64)), rows
