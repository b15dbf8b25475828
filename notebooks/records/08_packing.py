"""Documents that are shorter than a window: pad them, pack them, or pack them and mask what is not the own document?

The documents are paragraphs of books, shuffled, so that a neighbour in a window has nothing to say about its neighbour.
All arms get the same number of windows, the same first weights, and for each seed the same order of the documents.
Held-out paragraphs are read alone, each from its own <|endoftext|>, as a model is used. With rotary positions a masked
document in a window gives exactly the numbers that it gives alone. `short` is `masked` with a sixth of the steps.
At the end the held-out paragraphs are also read packed, without the mask and with it.
"""
import time
from functools import cache

import numpy as np
import torch

from minigpt import GPT, ModelConfig, OptimConfig, build_optimizers, learning_rate, train_bpe
from minigpt.evaluate import to_bpb
from minigpt.text.sources import builtin, held_out
from minigpt.tokenizer import END_OF_TEXT

WHAT = "Padded, packed, and packed with a document mask, at equal numbers of windows, on paragraphs of books."
AXES = "step", "bits per byte of held-out paragraphs, each read alone"
SEEDS = 0, 1, 2
FLOOR = 0.04
STEPS, SHORT = 600, 100
CONTEXT, BATCH = 128, 4
MODEL = ModelConfig("modern", 2, 64, 2, 2, 32, 192, CONTEXT, 1024)
MEASURED = np.array([0.25, 0.5, 0.75, 1.0])
"""Where a run is measured, as shares of its steps."""


def arms() -> dict[str, dict]:
    return {
        "short": dict(how="masked", steps=SHORT),
        "padded": dict(how="padded"),
        "across": dict(how="across"),
        "masked": dict(how="masked"),
    }


def run(settings: dict, seed: int) -> dict:
    """Train on windows made in one of the three ways."""
    documents, unseen, sizes, eot = text()
    steps = settings.get("steps", STEPS)
    order = torch.randperm(len(documents), generator=torch.Generator().manual_seed(seed)).tolist()
    make = padded if settings["how"] == "padded" else packed
    inputs, targets = make([documents[i] for i in order], steps * BATCH, eot)
    doc_ids = (inputs == eot).cumsum(1) if settings["how"] == "masked" else None
    rates = OptimConfig(lr=5e-3, matrix_lr=1e-2, steps=steps, batch_tokens=BATCH * CONTEXT)
    model = GPT(MODEL, seed)
    optimizers = build_optimizers(model, rates)
    places, y, seconds = (MEASURED * steps).round().astype(int), [], []
    for step in range(steps):
        start = time.perf_counter()
        rows = slice(step * BATCH, (step + 1) * BATCH)
        model(inputs[rows], targets[rows], doc_ids=None if doc_ids is None else doc_ids[rows]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * learning_rate(step, steps, rates)
            optimizer.step()
            optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
        if step + 1 in places:
            y.append(read_alone(model, unseen, sizes, eot))
    return {"x": places, "y": y, "steps": steps, "padding": float((targets == -100).float().mean()),
            "seconds_step": float(np.median(seconds)), "targets": int((targets != -100).sum()),
            "read_across": read_packed(model, unseen, eot, False),
            "read_masked": read_packed(model, unseen, eot, True)}  # fmt: skip


def packed(documents: list[np.ndarray], count: int, eot: int) -> tuple[torch.Tensor, torch.Tensor]:
    """End to end, each after its <|endoftext|>, cut into `count` windows: inputs and targets (count, CONTEXT)."""
    stream = torch.from_numpy(np.concatenate([part for ids in documents for part in ([eot], ids)]).astype(np.int64))
    rows = stream[: count * CONTEXT + 1]
    return rows[:-1].view(count, CONTEXT), rows[1:].view(count, CONTEXT)


def padded(documents: list[np.ndarray], count: int, eot: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A document in a window of its own (a long one in several), the rest padding: (count, CONTEXT) twice."""
    inputs = torch.full((count, CONTEXT), eot)
    targets = torch.full((count, CONTEXT), -100)
    row = 0
    for ids in documents:
        whole = torch.from_numpy(np.concatenate([[eot], ids, [eot]]).astype(np.int64))
        for start in range(0, len(whole) - 1, CONTEXT):
            if row == count:
                return inputs, targets
            piece = whole[start : start + CONTEXT + 1]
            inputs[row, : len(piece) - 1], targets[row, : len(piece) - 1] = piece[:-1], piece[1:]
            row += 1
    return inputs[:row], targets[:row]


def read_alone(model: GPT, unseen: list[np.ndarray], sizes: int, eot: int) -> float:
    """Bits per byte of the held-out documents, each in windows of its own; its end is not counted."""
    inputs, targets = padded(unseen, sum(-(-(len(ids) + 1) // CONTEXT) for ids in unseen), eot)
    targets[targets == eot] = -100
    with torch.no_grad():
        nats = sum(float(model(*rows, reduction="sum")) for rows in zip(inputs.split(16), targets.split(16)))
    return to_bpb(nats, sizes)


def read_packed(model: GPT, unseen: list[np.ndarray], eot: int, masked: bool) -> float:
    """Nats per token of the held-out documents, packed into windows; their ends are not counted."""
    inputs, targets = packed([*unseen, np.array([], int)], sum(len(ids) + 1 for ids in unseen) // CONTEXT, eot)
    targets = targets.masked_fill(targets == eot, -100)
    doc_ids = (inputs == eot).cumsum(1) if masked else None
    with torch.no_grad():
        return float(model(inputs, targets, doc_ids=doc_ids))


@cache
def text():
    """(training documents, held-out documents, bytes of the held-out ones, eot): documents are arrays of ids."""
    books = list(builtin(["books"]))

    def paragraphs(of):
        return [p for book in of for p in book.text.split("\n\n") if len(p) >= 40]

    train = [book for book in books if not held_out(book.id)][::3]
    unseen = paragraphs(book for book in books if held_out(book.id))[::24]
    tokenizer = train_bpe([book.text for book in train[::6]], MODEL.vocab_size, [END_OF_TEXT])
    return (tokenizer.encode_batch(paragraphs(train)), tokenizer.encode_batch(unseen),
            sum(len(p.encode()) for p in unseen), tokenizer.eot)  # fmt: skip
