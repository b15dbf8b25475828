"""How large should the vocabulary be? One body of a model, one number of training FLOPs, several vocabularies.

A larger vocabulary puts more text into a token, so that the same text needs fewer passes through the model. But each
pass costs more, because the head computes a number for every token, and each token is seen less often. FLOPs count both.

What the arms share: the two layers, the batch in tokens, the learning rates (tuned for none of them), the FLOPs, the
books. What differs with the vocabulary: the embedding (tied to the head), the text that a context of 128 tokens holds,
the number of steps, and the text that the model gets to read.
"""
import random
from functools import cache

import numpy as np
import torch

from minigpt import GPT, ModelConfig, OptimConfig, Tokenizer, bits_per_byte, build_optimizers, learning_rate, train_bpe
from minigpt.accounting import flops_per_token
from minigpt.text.sources import builtin, held_out
from minigpt.tokenizer import END_OF_TEXT

WHAT = "The same body and the same training FLOPs, with vocabularies of 257 (bytes) to 32,768 ids."
AXES = "training FLOPs, 10^12", "bits per byte of held-out text"
SEEDS = 0, 1, 2
FLOOR = 0.03  # another CPU adds its numbers in another order, and after some hundred steps that shows
FLOPS = 8e11
CONTEXT, BATCH = 128, 8
MEASURED = np.array([0.04, 0.08, 0.15, 0.25, 0.4, 0.6, 0.8, 0.9, 1.0])
"""Where a run is measured, as shares of its steps."""


def arms() -> dict[str, dict]:
    return {f"{size:,}": {"vocab_size": size} for size in (257, 512, 2048, 8192, 32_768)}


def run(settings: dict, seed: int) -> dict:
    vocab_size = settings["vocab_size"]
    train, unseen = texts()
    tokenizer = Tokenizer(merges(vocab_size)[: vocab_size - 257], (END_OF_TEXT,))  # 256 bytes and the end of a text
    ids = torch.from_numpy(np.concatenate([[tokenizer.eot, *a] for a in tokenizer.encode_batch(train)]).astype(np.int64))

    config = ModelConfig(layers=2, width=64, heads=1, kv_heads=1, head_size=64, mlp_width=192, context=CONTEXT,
                         vocab_size=vocab_size)  # fmt: skip
    steps = round(FLOPS / (flops_per_token(config) * BATCH * CONTEXT))
    rates = OptimConfig(seed=seed, steps=steps, batch_tokens=BATCH * CONTEXT)
    model = GPT(config, seed=seed)
    optimizers = build_optimizers(model, rates)
    draw, y = torch.Generator().manual_seed(seed), []
    measured = (MEASURED * steps).round().astype(int)
    for step in range(steps):
        starts = torch.randint(len(ids) - CONTEXT, (BATCH, 1), generator=draw)
        windows = ids[starts + torch.arange(CONTEXT + 1)]
        model(windows[:, :-1], windows[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * learning_rate(step, steps, rates)
            optimizer.step()
            optimizer.zero_grad()
        if step + 1 in measured:
            y.append(bits_per_byte(model, tokenizer, unseen))
    n_bytes = sum(len(text.encode()) for text in train)
    return {"x": MEASURED * FLOPS / 1e12, "y": y, "steps": steps, "bytes_per_token": n_bytes / len(ids),
            "bytes_read": steps * BATCH * CONTEXT * n_bytes / len(ids)}  # fmt: skip


@cache
def texts() -> tuple[list[str], str]:
    """The books to train on, and 40,000 characters from the middle of those that were held out."""
    documents = list(builtin(["books"]))
    random.Random(0).shuffle(documents)
    unseen = [d.text for d in documents if held_out(d.id)]
    return [d.text for d in documents if not held_out(d.id)], "\n".join(text[4000:8000] for text in unseen)


@cache
def merges(vocab_size: int) -> list[tuple[bytes, bytes]]:
    return train_bpe(texts()[0], vocab_size, [END_OF_TEXT]).merges
