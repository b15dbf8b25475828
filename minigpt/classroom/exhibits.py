"""The answers are in here: read it after lesson 13.

Eighteen training runs, each with one part of the healthy recipe replaced. The parts are the fields of `museum.Parts`,
which says what each of them does when it is whole. A *signature* is what the replaced part leaves in the log: one
number, and the band in which it lies. The bands are wide of what three seeds gave (`notebooks/records/13_museum.json`).
"""
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..tokenizer import Tokenizer


class Exhibit(NamedTuple):
    """A broken run: what is wrong with it, which part of the recipe is another, and what stands there instead."""

    cause: str
    part: str
    value: Any


class Signature(NamedTuple):
    """A number that a log gives, and the band in which it lies if the cause is at work; nan is in no band."""

    what: str
    number: Callable[[Any], float]
    low: float
    high: float

    def holds(self, log) -> bool:
        return self.low <= self.number(log) <= self.high


CAUSES = {
    "rate_too_high": "the learning rate is too high",
    "no_warmup": "there is no warm-up",
    "bad_init": "the weights begin at PyTorch's default sizes, and nobody scaled them",
    "future_leak": "the mask lets each position see the next token",
    "targets_not_shifted": "the targets are the inputs: nobody shifted them",
    "val_in_train": "the validation documents are in the training data",
    "duplicated_data": "the training data are a few documents, many times",
    "unshuffled": "the documents come in the order of the disk, one kind after the other",
    "fp16_overflow": "a gradient overflowed in fp16, and nothing looked for infinities",
    "no_zero_grad": "the gradients are never set back to zero",
    "eval_in_train_mode": "the model is evaluated in training mode, with dropout",
    "untied": "the head no longer shares the matrix of the embedding",
    "accumulation_not_divided": "the losses of the micro-batches are added and not divided by their number",
    "replayed_data": "a resumed run begins its data from the start again",
    "rank_drift": "one rank misses the all-reduce of some parameters",
    "bad_shard": "one shard was read with the wrong number type",
    "tokenizer_mismatch": "the validation text was encoded with another tokenizer",
    "schedule_too_short": "the schedule advances once a micro-batch, so that the rate is zero long before the end",
}


# ---- broken parts ----------------------------------------------------------------------------------------------------


def default_sizes(model: nn.Module, seed: int) -> None:
    """What PyTorch puts into a new module: an embedding of standard deviation 1, matrices of 1/√(3 · inputs). The head
    shares the embedding's."""
    torch.manual_seed(seed)
    for module in model.modules():
        if module is not model.head and hasattr(module, "reset_parameters"):
            module.reset_parameters()


def one_too_many(T: int) -> Tensor:
    return torch.ones(T, T, dtype=torch.bool).tril(1)


def same_again(windows: Tensor) -> tuple[Tensor, Tensor]:
    return windows[:, :-1], windows[:, :-1]


def with_validation(documents: list, validation: list, rng: np.random.Generator) -> list:
    """Three quarters of the training text give way to copies of the validation text."""
    kept = [(domain, ids[: len(ids) // 4]) for domain, ids in documents]
    room = sum(len(ids) for _, ids in documents) - sum(len(ids) for _, ids in kept)
    copies = -(-room // sum(len(ids) for _, ids in validation))
    return kept + validation * copies


def many_copies(documents: list, validation: list, rng: np.random.Generator) -> list:
    """A fiftieth of every document, fifty times."""
    return [(domain, ids[: len(ids) // 50]) for domain, ids in documents] * 50


def as_they_come(windows: int, rng: np.random.Generator) -> np.ndarray:
    return np.arange(windows)


def no_check(scale: float, good: int, finite: bool) -> tuple[float, int, bool]:
    """Doubles the scale after ten steps, and never asks whether what came back is finite."""
    return (scale, good + 1, True) if good + 1 < 10 else (2 * scale, 0, True)


def no_zero(gradients: Tensor) -> None:
    pass


def stays_in_training(model: nn.Module) -> None:
    model.train()


def separate_head(model: nn.Module) -> None:
    """A copy: the two start equal, and go ways of their own."""
    model.head.weight = nn.Parameter(model.embed.weight.detach().clone())


def added(losses: Tensor) -> Tensor:
    return losses.sum()


def from_the_start(position: int) -> int:
    return 0


def wrong_type(shard: int, windows: Tensor) -> Tensor:
    """Shard 5 was written as uint16 and is read from an odd byte on: high byte and low byte change places, and what is
    above the vocabulary wraps around."""
    if shard != 5:
        return windows
    two_bytes = windows[:, 1:] * 256 + windows[:, :-1]
    garbled = two_bytes * 40503 // 256 % 256
    return torch.cat([garbled, garbled[:, :1]], dim=1)


def older_tokenizer(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """In GPT-2's vocabulary the visible characters have the first ids, and a byte's id is not its value."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    older = replace_alphabet(tokenizer, bytes([*visible, *(b for b in range(256) if b not in visible)]))
    return [older.encode(text) for text in texts]


def replace_alphabet(tokenizer: Tokenizer, alphabet: bytes) -> Tokenizer:
    return Tokenizer(tokenizer.merges, tokenizer.special_names, tokenizer.pattern, alphabet)


EXHIBITS: dict[int, Exhibit] = {
    1: Exhibit("val_in_train", "documents", with_validation),
    2: Exhibit("no_zero_grad", "zero_grad", no_zero),
    3: Exhibit("targets_not_shifted", "shift", same_again),
    4: Exhibit("rank_drift", "reduced", 0.5),
    5: Exhibit("rate_too_high", "rate", 0.4),
    6: Exhibit("tokenizer_mismatch", "encode_validation", older_tokenizer),
    7: Exhibit("eval_in_train_mode", "evaluation", stays_in_training),
    8: Exhibit("unshuffled", "order", as_they_come),
    9: Exhibit("untied", "tie", separate_head),
    10: Exhibit("fp16_overflow", "scaler", no_check),
    11: Exhibit("replayed_data", "resume", from_the_start),
    12: Exhibit("bad_init", "init", default_sizes),
    13: Exhibit("accumulation_not_divided", "accumulate", added),
    14: Exhibit("future_leak", "mask", one_too_many),
    15: Exhibit("schedule_too_short", "ticks", 4),
    16: Exhibit("bad_shard", "read", wrong_type),
    17: Exhibit("no_warmup", "warmup", 0.0),
    18: Exhibit("duplicated_data", "documents", many_copies),
}


# ---- signatures ------------------------------------------------------------------------------------------------------


def typical(values: Sequence[float], start: int, stop: int) -> float:
    """The median of some rows; nan if one of them is: a median does not see a spike."""
    return float(np.median(np.asarray(values, float)[start:stop]))


def without_trend(values: Sequence[float], width: int = 9) -> np.ndarray:
    """Each value less the median of those around it."""
    values = np.asarray(values, float)
    return np.array([v - np.median(values[max(0, i - width // 2) : i + width // 2 + 1]) for i, v in enumerate(values)])


def repeated_pattern(log) -> float:
    """Correlation of the ups and downs of 50 steps with those of 25 steps earlier, each cut off at half a nat."""
    ups = without_trend(log.train_loss).clip(-0.5, 0.5)
    return float(np.corrcoef(ups[50:], ups[25:75])[0, 1]) if np.isfinite(ups).all() else np.nan


def largest_rise(log) -> float:
    """Of the median training loss of eight steps, over that of eight steps sixteen earlier, after the first 24."""
    return max(typical(log.train_loss, t, t + 8) - typical(log.train_loss, t - 16, t - 8) for t in range(40, 93))


def late_norm(log) -> float:
    """Median gradient norm of the last 30 steps; those left out have none."""
    norms = np.asarray(log.grad_norm, float)[-30:]
    return float(np.nanmedian(norms)) if np.isfinite(norms).any() else np.nan


def worst_shard(log) -> float:
    """By how much the worst of the eight shards stands above their median, in mean training loss from step 36 on."""
    means = np.array([np.mean(log.train_loss[36 + i :: 8]) for i in range(8)])
    return float(means.max() - np.median(means))


def equal_places(log) -> float:
    """Share of the places of the decoded sequences at which input and target are the same."""
    pairs = [(a, b) for _, inputs, targets in log.batch for a, b in zip(inputs, targets)]
    return sum(a == b for a, b in pairs) / len(pairs)


def ranks_apart(log) -> float:
    return float(np.mean(np.abs(np.subtract(log.val_loss, log.val_loss_rank1))[1:]))


def gap(log) -> float:
    """Validation loss at the end, less the median training loss of the last 16 steps."""
    return log.val_loss[-1] - typical(log.train_loss, -16, None)


def if_(condition: bool, value: float) -> float:
    return value if condition else np.nan


SIGNATURES: dict[str, Signature] = {
    "rate_too_high": Signature(
        "median update/weight ratio of the first ten steps", lambda log: typical(log.update_ratio, 0, 10), 0.1, 2.0
    ),
    "no_warmup": Signature("first rate over largest rate", lambda log: log.lr[0] / max(log.lr), 0.9, 1.0),
    "bad_init": Signature("loss at step 0 less ln V", lambda log: log.loss_at_step_0 - log.uniform, 3.0, 100.0),
    "future_leak": Signature(
        "validation loss at the end, where the targets are not the inputs and no held-out text was learnt by heart",
        lambda log: if_(equal_places(log) < 0.5, log.val_loss[-1]), 0.0, 1.2,
    ),
    "targets_not_shifted": Signature("share of places with target = input", equal_places, 0.9, 1.0),
    "val_in_train": Signature(
        "validation less training loss at the end, where inputs and targets differ",
        lambda log: if_(equal_places(log) < 0.5 and typical(log.train_loss, -16, None) > 1.2, gap(log)), -3.0, -0.15,
    ),
    "duplicated_data": Signature(
        "validation less training loss at the end, where validation stays below ln V",
        lambda log: if_(max(log.val_loss[1:]) < log.uniform, gap(log)), 0.6, 5.0,
    ),
    "unshuffled": Signature(
        "largest rise of the median training loss, where the gradient does not grow",
        lambda log: if_(late_norm(log) < 5, largest_rise(log)), 0.18, 2.0,
    ),
    "fp16_overflow": Signature(
        "share of steps whose loss is no number", lambda log: float(np.mean(np.isnan(log.train_loss))), 0.1, 1.0
    ),
    "no_zero_grad": Signature("median gradient norm of the last 30 steps", late_norm, 8.0, 1e6),
    "eval_in_train_mode": Signature(
        "the last weights evaluated twice: difference", lambda log: abs(log.final_val_loss - log.val_loss[-1]),
        5e-5, 0.5,
    ),
    "untied": Signature("parameters, in thousands", lambda log: log.parameters / 1000, 80.0, 100.0),
    "accumulation_not_divided": Signature(
        "gradient norm at step 0, where the loss there is near ln V",
        lambda log: if_(abs(log.loss_at_step_0 - log.uniform) < 1, log.grad_norm[0]), 5.0, 20.0,
    ),
    "replayed_data": Signature(
        "correlation of the ups and downs with those 25 steps before", repeated_pattern, 0.5, 1.0
    ),
    "rank_drift": Signature(
        "mean difference of the ranks' validation losses after the first, where evaluation repeats itself",
        lambda log: if_(log.final_val_loss == log.val_loss[-1], ranks_apart(log)), 1e-3, 5.0,
    ),
    "bad_shard": Signature("training loss of the worst shard above the others", worst_shard, 1.0, 20.0),
    "tokenizer_mismatch": Signature(
        "validation loss at the end less ln V", lambda log: log.val_loss[-1] - log.uniform, 0.5, 20.0
    ),
    "schedule_too_short": Signature(
        "share of steps below a hundredth of the largest rate",
        lambda log: float(np.mean(np.array(log.lr) < 0.01 * max(log.lr))), 0.4, 1.0,
    ),
}  # fmt: skip
