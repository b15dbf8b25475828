"""The failure museum: a healthy run and eighteen broken ones, three seeds of each; the curve is the training loss.

The numbers of a run are the value of every signature, by the name of its cause, and the ends of its validation loss.
A run that ends in losses that are no numbers has its last finite ones as its curve, and `finite_steps` says how long it
was. The logs that the museum shows, all of seed 0, are in 13_museum.jsonl: python -m minigpt.classroom.museum.
"""
import math

import torch

from minigpt.classroom import museum
from minigpt.classroom.exhibits import SIGNATURES

WHAT = "A healthy run and eighteen broken ones: 100 steps of a tiny GPT on books, drama and speeches."
AXES = "step", "training loss, nats per byte"
SEEDS = 0, 1, 2
FLOOR = 0.15  # the loss of one batch; another CPU adds its numbers in another order
ABSENT = -1e9
"""Stands for a signature's number that cannot be computed from a run; it lies in no band."""


def arms() -> dict[str, int]:
    return {str(k): k for k in (0, *museum.NUMBERS)}


def run(settings: int, seed: int) -> dict:
    torch.set_num_threads(1)
    log = museum.train(museum.exhibit(settings), seed).log
    finite = next((i for i, loss in enumerate(log.train_loss) if not math.isfinite(loss)), len(log.steps))
    numbers = {cause: signature.number(log) for cause, signature in SIGNATURES.items()}
    numbers |= {"val_loss": log.val_loss[-1], "finite_steps": finite}
    numbers = {name: value if math.isfinite(value) else ABSENT for name, value in numbers.items()}
    return {"x": log.steps[:finite], "y": log.train_loss[:finite], **numbers}
