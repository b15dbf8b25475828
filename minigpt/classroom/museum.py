"""The failure museum: eighteen broken training runs and a healthy one, to read before you know what is wrong.

    show(7)                                   # curves, a table, a decoded batch: what a real run leaves behind
    print(experiment(7, "same_twice"))        # one question to the run
    train(exhibit(7), seed=3).log             # run it yourself: about five seconds

The healthy recipe is made of small parts, the fields of `Parts`; an exhibit is the same recipe with one part replaced.
All share a tiny GPT whose tokens are bytes, and 100 steps of 512 tokens. Two ranks each have half of the batch, as four
micro-batches; their gradients are rounded to fp16 under a loss scale, averaged, clipped and given to AdamW. The data
lie in eight shards that are read in turn, and the run is preempted and resumed three times.

What is simulated: both ranks live in one process, and while their weights must be equal they are one model, whose
passes they share; the micro-batches go through it together, too (the gradient is the same); and a preempted run keeps
its weights in memory.

The names of the causes are in `exhibits.py`, and nothing here prints them.
"""
import difflib
import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from torch import Tensor, nn

from ..config import ModelConfig, OptimConfig, UserError
from ..files import write_atomic
from ..model import GPT, init_weights
from ..optim import build_optimizers, learning_rate
from ..text.sources import builtin, usable_domains
from ..tokenizer import END_OF_TEXT, Tokenizer
from .depends import bare_code
from .exhibits import EXHIBITS, SIGNATURES
from .shelf import RECORDS
from .viz import BLUE, GREEN, GREY, PURPLE, VERMILLION, figure, png
from .viz import show as display

STEPS, CONTEXT, VOCABULARY = 100, 32, 257
SEQUENCES, RANKS, MICRO = 16, 2, 4
"""Sequences in a batch, over all ranks; micro-batches of each rank."""
SHARDS = 8
PREEMPTED = 25, 50, 75
EVALUATE_EVERY = 10
DOMAINS = "books", "drama", "speeches"
DOCUMENTS, CHARACTERS = 4, 5_300
"""Training documents of each domain, and what is taken of each."""
VALIDATION = 300
"""Characters of one document of each domain that is held out, and of another that no run ever measures."""
CLIP = 1.0


# ---- the recipe ------------------------------------------------------------------------------------------------------


def shuffled(windows: int, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(windows)


def as_given(documents: list, validation: list, rng: np.random.Generator) -> list:
    return documents


def unchanged(shard: int, windows: Tensor) -> Tensor:
    return windows


def shifted(windows: Tensor) -> tuple[Tensor, Tensor]:
    """Windows (B, T + 1) → inputs and targets, (B, T): what stands at t is to be predicted from all before it."""
    return windows[:, :-1], windows[:, 1:]


def own_tokenizer(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [tokenizer.encode(text) for text in texts]


def as_saved(position: int) -> int:
    return position


def four_times(model: GPT, seed: int) -> None:
    """The weights that minigpt draws, four times as large: 0.02 suits a width of about a thousand; this one is 48."""
    init_weights(model, seed)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(4 if p.ndim > 1 else 1)


def share_matrix(model: nn.Module) -> None:
    model.tie()


def causal(T: int) -> Tensor:
    return torch.ones(T, T, dtype=torch.bool).tril()


def averaged(losses: Tensor) -> Tensor:
    return losses.mean()


def set_to_zero(gradients: Tensor) -> None:
    gradients.zero_()


def dynamic_scale(scale: float, good: int, finite: bool) -> tuple[float, int, bool]:
    """(scale, finite steps since it changed, whether all gradients are finite) → (both for the next step, step?).

    Doubles after 15 finite steps; a step that is not finite is left out, and halves it.
    """
    if not finite:
        return scale / 2, 0, False
    return (scale, good + 1, True) if good + 1 < 15 else (2 * scale, 0, True)


def in_evaluation(model: nn.Module) -> None:
    model.eval()


@dataclass(frozen=True)
class Parts:
    """A training run, in parts: numbers and plain functions. Shapes: B sequences, T tokens, N windows, M micro-batches.

    `documents` are lists of (domain, token ids).
    """

    rate: float = 0.01
    """Peak learning rate of AdamW."""
    warmup: float = 0.1
    """Share of the steps in which the rate rises."""
    ticks: int = 1
    """How far the schedule advances in one optimizer step."""
    dropout: float = 0.1
    init: Callable[[GPT, int], None] = four_times
    """(model, seed): fills the weights."""
    tie: Callable[[GPT], None] = share_matrix
    """What the head does with the matrix of the embedding."""
    mask: Callable[[int], Tensor] = causal
    """T → (T, T) bool, True where the query of the row may look at the key of the column."""
    documents: Callable[[list, list, np.random.Generator], list] = as_given
    """(training documents, validation documents, random numbers) → the documents to train on."""
    order: Callable[[int, np.random.Generator], np.ndarray] = shuffled
    """N, random numbers → the order of the N windows into which the documents were cut, (N,)."""
    read: Callable[[int, Tensor], Tensor] = unchanged
    """(shard, windows (B, T + 1) that lie in it) → what reading gives."""
    shift: Callable[[Tensor], tuple[Tensor, Tensor]] = shifted
    """Windows (B, T + 1) → inputs (B, T), targets (B, T); in training and in evaluation."""
    encode_validation: Callable[[Tokenizer, Sequence[str]], list[list[int]]] = own_tokenizer
    """(the run's tokenizer, the held-out texts) → their ids."""
    resume: Callable[[int], int] = as_saved
    """Batches read before a preemption → where reading goes on after it."""
    accumulate: Callable[[Tensor], Tensor] = averaged
    """Mean losses of the micro-batches (M,) → what a rank computes the gradient of, ()."""
    reduced: float = 1.0
    """Share of the parameters, from the first on, for which rank 1 takes part in the all-reduce; for the rest it keeps
    its own gradient."""
    scaler: Callable[[float, int, bool], tuple[float, int, bool]] = dynamic_scale
    """The rule of the loss scale; see dynamic_scale."""
    zero_grad: Callable[[Tensor], None] = set_to_zero
    """What happens to a rank's gradients (P,), of all parameters in a row, after the step."""
    evaluation: Callable[[nn.Module], None] = in_evaluation
    """Sets the mode in which the model is evaluated."""


NUMBERS = range(1, max(EXHIBITS) + 1)


def healthy() -> Parts:
    return Parts()


def exhibit(k: int) -> Parts:
    """The healthy recipe with the one part of exhibit k replaced; 0 is the healthy one. UserError for other numbers."""
    if k == 0:
        return Parts()
    if k not in EXHIBITS:
        raise UserError(f"the museum has no exhibit {k}: choose from 1 to {max(NUMBERS)}, or 0, the healthy run.")
    return replace(Parts(), **{EXHIBITS[k].part: EXHIBITS[k].value})


# ---- the data --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """Tokenizer and texts that all runs share."""

    tokenizer: Tokenizer
    documents: list[tuple[str, list[int]]]
    validation: list[str]
    fresh: list[str]
    """Other held-out text of the same kinds."""


@cache
def source() -> Source:
    """Reads the beginnings of six documents of each domain: about a second, once a process."""
    missing = set(DOMAINS) - set(usable_domains(DOMAINS)[0])
    if missing:
        raise UserError(f"a live run of the museum needs the built-in text {', '.join(sorted(missing))}, which is not "
                        "installed here; the recorded views need none.")  # fmt: skip
    train, validation, fresh = [], [], []
    for domain in DOMAINS:
        first, second, *rest = (d.text for d in islice(builtin([domain]), DOCUMENTS + 2))
        validation.append(first[3000 : 3000 + VALIDATION])
        fresh.append(second[3000 : 3000 + VALIDATION])
        train += [(domain, text[500 : 500 + CHARACTERS]) for text in rest]
    tokenizer = Tokenizer([], (END_OF_TEXT,))
    return Source(tokenizer, [(d, tokenizer.encode(text)) for d, text in train], validation, fresh)


def cut(ids: Sequence[int]) -> np.ndarray:
    """Windows of T inputs and one more token: (N, T + 1) int64. The last token of one is the first of the next."""
    count = (len(ids) - 1) // CONTEXT
    return np.asarray(ids[: count * CONTEXT + 1])[np.arange(count)[:, None] * CONTEXT + np.arange(CONTEXT + 1)]


@dataclass(frozen=True)
class Data:
    """What one run reads."""

    windows: Tensor
    """(N, T + 1), in the order in which they were dealt to the shards: window i lies in shard i % 8."""
    document: np.ndarray
    """(N,): which document each window is from."""
    validation: Tensor
    """(N', T + 1)."""


def prepare(parts: Parts, seed: int) -> Data:
    """Cut, shuffle and deal the documents as the recipe says."""
    s, rng = source(), np.random.default_rng(seed)
    val = [("", s.tokenizer.encode(text)) for text in s.validation]
    pieces = [cut(ids) for _, ids in parts.documents(s.documents, val, rng)]
    document = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    order = parts.order(len(document), rng)
    held = np.concatenate([cut(ids) for ids in parts.encode_validation(s.tokenizer, s.validation)])
    return Data(torch.from_numpy(np.concatenate(pieces)[order]), document[order], torch.from_numpy(held))


def batch_at(data: Data, parts: Parts, position: int) -> tuple[int, np.ndarray, Tensor]:
    """The batch after `position` others: (its shard, places of its windows (B,), the windows as read (B, T + 1)).

    Shards are read in turn, one batch each, so that batch p lies in shard p % 8. The data last for all steps.
    """
    shard, turn = position % SHARDS, position // SHARDS
    places = (shard + SHARDS * (turn * SEQUENCES + np.arange(SEQUENCES))) % len(data.windows)
    return shard, places, parts.read(shard, data.windows[places])


# ---- a run -----------------------------------------------------------------------------------------------------------


@dataclass
class Log:
    """What a run leaves behind, as a metrics file would hold it. Numbers that are not finite are nan."""

    seed: int
    vocabulary: int = VOCABULARY
    parameters: int = 0
    loss_at_step_0: float = math.nan
    final_val_loss: float = math.nan
    """The last weights, evaluated once more after the run."""
    steps: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    update_ratio: list[float] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    skipped: list[float] = field(default_factory=list)
    rank_loss: list[list[float]] = field(default_factory=lambda: [[], []])
    val_steps: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_loss_rank1: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    batch: list[tuple[int, str, str]] = field(default_factory=list)
    """(step, inputs, targets) of some sequences, as text."""
    val_batch: list[tuple[str, str]] = field(default_factory=list)
    """(inputs, targets) of some held-out sequences, as text."""

    @property
    def uniform(self) -> float:
        """The loss of a model that gives every token the same probability: ln V."""
        return math.log(self.vocabulary)


@dataclass
class Trained:
    """A finished run: its log, its two replicas, its data."""

    parts: Parts
    seed: int
    data: Data
    models: list[GPT]
    log: Log
    used: list[int]
    """Which batch of the data each step read."""


def build(parts: Parts, seed: int) -> GPT:
    """The model of a recipe, with its first weights."""
    model = GPT(ModelConfig(layers=2, width=48, heads=2, kv_heads=2, head_size=24, mlp_width=128, context=CONTEXT,
                            vocab_size=VOCABULARY, dropout=parts.dropout))  # fmt: skip
    parts.init(model, seed)
    parts.tie(model)
    mask = parts.mask(CONTEXT)

    def with_mask(module, args):
        x, rope, _, kv_cache, record = args
        return x, rope, mask[: x.shape[1], : x.shape[1]], kv_cache, record

    for block in model.blocks:
        block.attn.register_forward_pre_hook(with_mask)
    return model.train()


def rates(parts: Parts) -> OptimConfig:
    return OptimConfig(optimizer="adamw", lr=parts.rate, warmup=parts.warmup, decay=0.4, steps=STEPS, clip=CLIP,
                       batch_tokens=SEQUENCES * CONTEXT)  # fmt: skip


class Replica:
    """A copy of the weights, the gradients gathered for it, (P,) for its P parameters in a row, and an optimizer."""

    def __init__(self, parts: Parts, seed: int):
        self.model = build(parts, seed)
        self.params = list(self.model.parameters())
        self.gradients = torch.zeros(sum(p.numel() for p in self.params))
        (self.optimizer,) = build_optimizers(self.model, rates(parts))

    def backward(self, parts: Parts, windows: Tensor, scale: float) -> tuple[list[float], Tensor]:
        """One pass over the windows of one or more ranks: their mean losses, and the mean of what they compute as
        gradient, (P,): of the scaled loss, rounded to fp16, scaled back."""
        inputs, targets = parts.shift(windows)
        losses = self.model(inputs, targets, reduction="none").view(-1, MICRO, SEQUENCES // RANKS // MICRO * CONTEXT)
        of_ranks = [parts.accumulate(of_rank.mean(1)) for of_rank in losses]
        gradients = torch.autograd.grad(sum(of_ranks) / len(of_ranks) * scale, self.params)
        fp16 = torch.cat([g.flatten() for g in gradients]).half()
        return losses.detach().mean((1, 2)).tolist(), fp16.float() / scale

    def step(self, rate: float) -> float:
        """Clip a copy of the gradients and update the weights; returns the norm before clipping."""
        norm = self.gradients.norm()
        clipped = self.gradients * (CLIP / (norm + 1e-6)).clamp(max=1.0)
        for p, g in zip(self.params, clipped.split([p.numel() for p in self.params])):
            p.grad = g.view_as(p)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * rate
        self.optimizer.step()
        return float(norm)

    def weights(self) -> Tensor:
        """(P,), a copy."""
        return torch.cat([p.detach().flatten() for p in self.params])


def all_reduce(gradients: list[Tensor], share: float) -> list[Tensor]:
    """Gradients of the replicas → the mean for each; a second one gets it for this share of the parameters only."""
    if len(gradients) == 1:
        return gradients  # one model has computed for both ranks, and its gradient is their mean
    zero, one = gradients
    mean, taken = (zero + one) / 2, round(share * len(one))
    return [mean, torch.cat([mean[:taken], one[taken:]])]


def mean_loss(parts: Parts, model: GPT, windows: Tensor) -> float:
    """Nats per token of windows (N, T + 1), in the mode that the recipe evaluates in."""
    parts.evaluation(model)
    with torch.no_grad():
        loss = float(model(*parts.shift(windows)))
    model.train()
    return loss


def train(parts: Parts, seed: int = 0, say: Callable[[str], None] | None = None, steps: int = STEPS) -> Trained:
    """Run a recipe. Deterministic on one machine. `say` gets a sentence now and then; fewer `steps` stop it early."""
    data, log, config = prepare(parts, seed), Log(seed), rates(parts)
    replicas = [Replica(parts, seed) for _ in range(1 if parts.reduced == 1 else RANKS)]
    first, position, scale, good, skipped, used = replicas[0], 0, 2.0**14, 0, 0, []
    log.parameters = len(first.gradients)

    def evaluate(step):
        losses = [mean_loss(parts, replica.model, data.validation) for replica in replicas]
        for values, value in zip((log.val_steps, log.val_loss, log.val_loss_rank1), (step, losses[0], losses[-1])):
            values.append(value)
        if say:
            say(f"step {step} of {STEPS}: validation loss {losses[0]:.2f}")

    for step in range(steps):
        if step in PREEMPTED:
            position = parts.resume(position)
            log.notes.append(f"step {step}: preempted, and resumed from the checkpoint of step {step}")
        torch.manual_seed(seed * 1_000_003 + step)  # of dropout, as in minigpt.train
        if step % EVALUATE_EVERY == 0:
            evaluate(step)
            torch.manual_seed(seed * 1_000_003 + step)
        used.append(position)
        windows = batch_at(data, parts, position)[2]
        position += 1
        found = [r.backward(parts, rows, scale) for r, rows in zip(replicas, windows.chunk(len(replicas)))]
        reduced = all_reduce([gradients for _, gradients in found], parts.reduced)
        log.scale.append(scale)
        scale, good, go = parts.scaler(scale, good, all(bool(g.isfinite().all()) for g in reduced))
        rate, before, norms = learning_rate(step * parts.ticks, STEPS, config), first.weights(), [math.nan]
        if go:
            for replica, gradients in zip(replicas, reduced):
                replica.gradients += gradients
            norms = [replica.step(rate) for replica in replicas]
            for replica in replicas:
                parts.zero_grad(replica.gradients)
        skipped += not go
        losses = [loss for of_ranks, _ in found for loss in of_ranks]
        row = dict(steps=step, tokens=(step + 1) * SEQUENCES * CONTEXT, train_loss=sum(losses) / RANKS,
                   grad_norm=norms[0], lr=parts.rate * rate, skipped=skipped,
                   update_ratio=float((first.weights() - before).norm() / before.norm()))  # fmt: skip
        for name, value in row.items():
            getattr(log, name).append(value)
        for values, loss in zip(log.rank_loss, losses):
            values.append(loss)
    evaluate(steps)
    log.loss_at_step_0 = log.train_loss[0]
    log.final_val_loss = mean_loss(parts, first.model, data.validation)
    trained = Trained(parts, seed, data, [replica.model for replica in replicas], log, used)
    decode_some(trained)
    return trained


def decode_some(t: Trained) -> None:
    """Put into the log what some sequences say: four at the start, four after the last preemption, three held out."""
    t.log.batch, last = [], min(PREEMPTED[-1], len(t.used) - 1)
    for step in (0, last):
        inputs, targets = t.parts.shift(batch_at(t.data, t.parts, t.used[step])[2][:4])
        t.log.batch += [(step, as_text(i), as_text(o)) for i, o in zip(inputs, targets)]
    inputs, targets = t.parts.shift(t.data.validation[[0, 9, 18]])
    t.log.val_batch = [(as_text(i), as_text(o)) for i, o in zip(inputs, targets)]


def as_text(ids: Tensor) -> str:
    """One character for each byte: · is a space, ⏎ a line's end, □ what cannot be shown."""
    text = "".join(chr(i) if 32 <= i < 127 else "⏎" if i == 10 else "□" for i in ids.tolist())
    return text.replace(" ", "·")


# ---- experiments -----------------------------------------------------------------------------------------------------


class Finding(NamedTuple):
    """What an experiment found: a sentence, and its numbers."""

    text: str
    numbers: dict[str, float]


def found(text: str, **numbers: float) -> Finding:
    """The text with the numbers put into it. Example: found("loss {a:.1f}", a=2.04) -> "loss 2.0"."""
    return Finding(text.format(**numbers), {name: float(value) for name, value in numbers.items()})


def fresh_replica(t: Trained) -> tuple[Replica, Tensor]:
    """The model as it was before the first step, and its first batch (B, T + 1)."""
    return Replica(t.parts, t.seed), batch_at(t.data, t.parts, t.used[0])[2]


def loss_at_step_0(t: Trained) -> Finding:
    return found("loss before the first update {loss:.2f}; a uniform guess over {V:.0f} tokens costs {uniform:.2f}",
                 loss=t.log.loss_at_step_0, V=VOCABULARY, uniform=t.log.uniform)  # fmt: skip


def show_a_batch(t: Trained) -> Finding:
    """The log's decoded sequences, with the share of places at which the target is the input itself."""
    rows = [f"  step {step:<3} {inputs}\n        → {targets}" for step, inputs, targets in t.log.batch]
    rows += [f"  held out {inputs}\n        → {targets}" for inputs, targets in t.log.val_batch]
    inputs, targets = t.parts.shift(batch_at(t.data, t.parts, t.used[0])[2])
    return found("\n" + "\n".join(rows).replace("{", "(").replace("}", ")") + "\n  input and target are equal at "
                 "{equal:.0%} of the places", equal=(inputs == targets).float().mean())  # fmt: skip


def change_the_future(t: Trained) -> Finding:
    """Change everything after position 15, and see whether the logits up to it move."""
    replica, windows = fresh_replica(t)
    model, inputs = replica.model.eval(), windows[:, :-1].clone()
    with torch.no_grad():
        before = model(inputs)
        inputs[:, 16:] = (inputs[:, 16:] + 1) % 256
        moved = (model(inputs) - before)[:, :16].abs().amax((0, 2))
    return found("after a change of all tokens from position 16 on, the logits of the positions before move by at most "
                 "{moved:.4f}; they move at {places:.0f} of 16 positions", moved=moved.max(),
                 places=(moved > 1e-4).sum())  # fmt: skip


def fresh_text(t: Trained) -> Finding:
    """The run's own evaluation, on three texts."""
    s, model = source(), t.models[0]
    fresh = torch.from_numpy(np.concatenate([cut(s.tokenizer.encode(text)) for text in s.fresh]))
    seen = torch.cat([batch_at(t.data, t.parts, t.used[step])[2][:4] for step in range(0, len(t.used), 16)])
    return found("loss of the last weights: validation text {val:.2f}, other text of the same kinds {fresh:.2f}, "
                 "text it was trained on {seen:.2f}", val=mean_loss(t.parts, model, t.data.validation),
                 fresh=mean_loss(t.parts, model, fresh), seen=mean_loss(t.parts, model, seen))  # fmt: skip


def same_twice(t: Trained) -> Finding:
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        losses.append(mean_loss(t.parts, t.models[0], t.data.validation))
    return found("the same weights on the same text, two times: {first:.4f} and {second:.4f}",
                 first=losses[0], second=losses[1])  # fmt: skip


def lower_rate(t: Trained) -> Finding:
    """The first thirty steps again, with a thirtieth of the rate."""
    lower = train(replace(t.parts, rate=t.parts.rate / 30), t.seed, steps=30).log
    mean = lambda values: sum(values[25:30]) / 5
    return found("training loss over steps 25 to 29: {own:.2f} at its own rate, {lower:.2f} at a thirtieth of it",
                 own=mean(t.log.train_loss), lower=mean(lower.train_loss))  # fmt: skip


def go_on(t: Trained) -> Finding:
    """Fifteen more steps at a fifth of the usual peak rate, on the data of the first steps, from the last weights."""
    replica, before = Replica(t.parts, t.seed), mean_loss(t.parts, t.models[0], t.data.validation)
    replica.model.load_state_dict(t.models[0].state_dict())
    for group in replica.optimizer.param_groups:
        group["peak_lr"] = Parts().rate
    for step in range(15):
        torch.manual_seed(step)
        _, replica.gradients = replica.backward(t.parts, batch_at(t.data, t.parts, t.used[step])[2], 1024.0)
        replica.step(0.2)
    return found("validation loss {before:.2f}; after fifteen more steps at a rate of {rate:.3f} {after:.2f}",
                 before=before, rate=0.2 * Parts().rate,
                 after=mean_loss(t.parts, replica.model, t.data.validation))  # fmt: skip


def gradient_per_micro_batch(t: Trained) -> Finding:
    """One batch, cut into more and more micro-batches; dropout is off."""
    replica, windows = fresh_replica(t)
    inputs, targets = t.parts.shift(windows[:8])
    losses, norms = replica.model.eval()(inputs, targets, reduction="none"), {}
    for pieces in (1, 2, 4, 8):
        loss = t.parts.accumulate(losses.view(pieces, -1).mean(1))
        gradients = torch.autograd.grad(loss, replica.params, retain_graph=True)
        norms[f"in_{pieces}"] = float(torch.nn.utils.get_total_norm(gradients))
    return found("gradient norm of one and the same batch, in 1 micro-batch {in_1:.2f}, in 2 {in_2:.2f}, in 4 "
                 "{in_4:.2f}, in 8 {in_8:.2f}", **norms)  # fmt: skip


def backward_twice(t: Trained) -> Finding:
    """Backward, what the recipe does after a step, and backward again, without an update between."""
    replica, windows = fresh_replica(t)
    norms = []
    for _ in range(3):
        torch.manual_seed(0)
        replica.gradients += replica.backward(t.parts, windows, 1024.0)[1]
        norms.append(float(replica.gradients.norm()))
        t.parts.zero_grad(replica.gradients)
    return found("three passes over one batch without an update between them: gradient norms {first:.2f}, "
                 "{second:.2f}, {third:.2f}", first=norms[0], second=norms[1], third=norms[2])  # fmt: skip


def compare_ranks(t: Trained) -> Finding:
    zero, one = (torch.cat([p.detach().flatten() for p in model.parameters()]) for model in (t.models[0], t.models[-1]))
    apart = (zero - one).norm() / zero.norm() if t.models[0] is not t.models[-1] else 0.0
    return found("weights of rank 0 and rank 1 differ by {apart:.1%} of their size", apart=apart)


def repeat_rate(t: Trained) -> Finding:
    """How often training met a sequence that it had met before, and whether it met the validation text."""
    seen, repeats, total = set(), 0, 0
    for position in t.used:
        for row in batch_at(t.data, t.parts, position)[2].tolist():
            repeats, total = repeats + (tuple(row) in seen), total + 1
            seen.add(tuple(row))
    held = sum(tuple(row) in seen for row in t.data.validation.tolist()) / len(t.data.validation)
    return found("{repeated:.0%} of the training sequences had been trained on before; {held:.0%} of the validation "
                 "sequences occur in the training data", repeated=repeats / total, held=held)  # fmt: skip


def texts_per_batch(t: Trained) -> Finding:
    counts = [len(set(t.data.document[batch_at(t.data, t.parts, position)[1]].tolist())) for position in t.used]
    return found("a batch of {sequences:.0f} sequences comes from {documents:.1f} documents on average",
                 sequences=SEQUENCES, documents=sum(counts) / len(counts))  # fmt: skip


def loss_by_shard(t: Trained) -> Finding:
    """The last weights, by the run's own evaluation, on a batch of each shard as the run reads it."""
    losses = {f"s{i}": mean_loss(t.parts, t.models[0], batch_at(t.data, t.parts, i)[2]) for i in range(SHARDS)}
    return found("loss on a batch of each shard: " + ", ".join(f"{i}: {{s{i}:.2f}}" for i in range(SHARDS)), **losses)


def count_parameters(t: Trained) -> Finding:
    c = t.models[0].config
    return found("{count:,.0f} parameters in {tensors:.0f} tensors; one matrix of {rows:.0f} by {width:.0f} has "
                 "{matrix:,.0f}", count=t.log.parameters, tensors=len(list(t.models[0].parameters())),
                 rows=c.padded_vocab, width=c.width, matrix=c.padded_vocab * c.width)  # fmt: skip


def largest_gradient(t: Trained) -> Finding:
    """How near the scaled gradients of the first weights come to fp16's end, at the first and the largest scale."""
    replica, windows = fresh_replica(t)
    inputs, targets = t.parts.shift(windows)
    loss = t.parts.accumulate(replica.model.eval()(inputs, targets, reduction="none").view(MICRO, -1).mean(1))
    largest = max(float(g.abs().max()) for g in torch.autograd.grad(loss, replica.params))
    lost = sum(not math.isfinite(loss) for loss in t.log.train_loss)
    return found("largest gradient of the first weights, times the first scale {first:,.0f}, times the largest scale "
                 "of the run {last:,.0f}; fp16 ends at 65,504. Steps left out: {skipped:.0f}; steps whose loss is no "
                 "number: {lost:.0f}", first=largest * t.log.scale[0], last=largest * max(t.log.scale),
                 skipped=t.log.skipped[-1], lost=lost)  # fmt: skip


EXPERIMENTS = {
    "loss_at_step_0": "What is the loss before the first update?",
    "show_a_batch": "What do inputs, targets and validation text say?",
    "change_the_future": "Do logits move when only later tokens change?",
    "fresh_text": "How does the model do on other held-out text, and on what it has seen?",
    "same_twice": "Does the same evaluation give the same number twice?",
    "lower_rate": "How do the first steps go at a thirtieth of the rate?",
    "go_on": "Does the run still learn if it goes on at a fixed rate?",
    "gradient_per_micro_batch": "Does the gradient depend on how the batch is cut?",
    "backward_twice": "Does a second pass over the same batch give the same gradient?",
    "compare_ranks": "Do both ranks hold the same weights?",
    "repeat_rate": "How often does the run meet what it has met before?",
    "texts_per_batch": "From how many documents is a batch?",
    "loss_by_shard": "How does the model do on each shard?",
    "count_parameters": "How many parameters are there?",
    "largest_gradient": "How near do the gradients come to the end of fp16?",
}
"""Name → the question that the experiment puts to a run; the functions of these names above answer it."""


def run_experiment(t: Trained, name: str) -> Finding:
    """Put one question to a finished run."""
    state = torch.get_rng_state()
    torch.manual_seed(0)
    try:
        return globals()[name](t)
    finally:
        torch.set_rng_state(state)


# ---- the record of seed 0 --------------------------------------------------------------------------------------------


def file() -> Path:
    """A line of JSON for each exhibit: its log and what all experiments found, with seed 0."""
    return RECORDS / "13_museum.jsonl"


def code_hash() -> str:
    """Of all that decides a run here: what is recorded is stale when this has changed."""
    code = bare_code(Path(__file__)) + bare_code(Path(__file__).with_name("exhibits.py"))
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def as_row(k: int, t: Trained) -> str:
    """What is kept of a run: five significant digits, null where a number is not finite."""

    def short(value):
        if isinstance(value, (list, tuple)):
            return [short(v) for v in value]
        if isinstance(value, float):
            if not math.isfinite(value):
                return None
            rounded = value if value.is_integer() else float(f"{value:.5g}")
            return int(rounded) if rounded.is_integer() else rounded
        return value

    row = {"exhibit": k, "log": {name: short(value) for name, value in asdict(t.log).items()}, "experiments": {}}
    for name in EXPERIMENTS:
        text, numbers = run_experiment(t, name)
        row["experiments"][name] = [text, {n: short(v) for n, v in numbers.items()}]
    return json.dumps(row, separators=(",", ":"), ensure_ascii=False)


def record(say: Callable[[str], None] = print) -> None:
    """Run all exhibits with seed 0 and every experiment on each, and write the file."""
    torch.set_num_threads(1)
    rows = []
    for k in (0, *NUMBERS):
        begin = time.perf_counter()
        rows.append(as_row(k, train(exhibit(k))))
        say(f"exhibit {k}: {time.perf_counter() - begin:.0f} s")
    write_atomic(file(), "\n".join([json.dumps({"code": code_hash()}), *rows]) + "\n")


@cache
def recorded_rows() -> dict[int, dict]:
    """Exhibit → its row of the file."""
    if not file().exists():
        raise UserError("the museum has not been recorded yet: python -m minigpt.classroom.museum")
    rows = [json.loads(line) for line in file().read_text(encoding="utf-8").splitlines()[1:]]
    return {row["exhibit"]: row for row in rows}


def log(k: int, live: bool = False, seed: int = 0) -> Log:
    """The log of an exhibit: as recorded with seed 0, or of a run now. UserError for a number that is not there."""
    parts = exhibit(k)
    if live:
        return train(parts, seed, print).log
    if seed:
        raise UserError(f"only seed 0 is on record: say live=True to run exhibit {k} with seed {seed}.")
    not_finite = lambda v: math.nan if v is None else [not_finite(x) for x in v] if isinstance(v, list) else v
    return Log(**{name: not_finite(value) for name, value in recorded_rows()[k]["log"].items()})


def finding(k: int, name: str, live: bool = False) -> Finding:
    """What an experiment finds in exhibit k: as recorded, or in a run now. UserError for an unknown experiment."""
    parts = exhibit(k)
    if name not in EXPERIMENTS:
        near = difflib.get_close_matches(name, EXPERIMENTS, 1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(EXPERIMENTS)}."
        raise UserError(f"there is no experiment {name!r}: {hint}")
    if live:
        return run_experiment(train(parts), name)
    if name not in recorded_rows()[k]["experiments"]:
        raise UserError(f"{name} has not been recorded for exhibit {k}: python -m minigpt.classroom.museum")
    text, numbers = recorded_rows()[k]["experiments"][name]
    return Finding(text, {n: math.nan if v is None else float(v) for n, v in numbers.items()})


def experiment(k: int, name: str, live: bool = False) -> str:
    """The question, what the exhibit answers, and what the healthy run does. One of EXPERIMENTS."""
    answers = [f"exhibit {n}: {finding(n, name, live).text}" if n else
               f"healthy run: {finding(n, name, live).text}" for n in dict.fromkeys((k, 0))]  # fmt: skip
    kind = "Live, seed 0" if live else "Recorded, seed 0"
    return "\n".join([f"{EXPERIMENTS[name]} ({kind})", *answers])


def signatures(log: Log) -> dict[str, bool]:
    """Which signatures a log bears: cause → yes or no. The names are answers."""
    return {cause: signature.holds(log) for cause, signature in SIGNATURES.items()}


# ---- views -----------------------------------------------------------------------------------------------------------


def header(k: int, log: Log) -> str:
    """What stands above the table: all that all runs share, and the single numbers of this one."""
    name = f"Exhibit {k}" if k else "The healthy run"
    return "\n".join([
        f"{name}, seed {log.seed}: a GPT of 2 layers, width 48, context {CONTEXT}, dropout 0.1; bytes as tokens; AdamW",
        f"{log.parameters:,} parameters; {STEPS} steps of {SEQUENCES * CONTEXT} tokens, 2 ranks with {MICRO} "
        f"micro-batches each, 8 shards in turn, clip {CLIP:g}",
        f"vocabulary {log.vocabulary}, ln V = {log.uniform:.2f}; loss at step 0: {log.loss_at_step_0:.2f}; the last "
        f"weights evaluated once more: {log.final_val_loss:.4f}",
        *log.notes,
    ])  # fmt: skip


def table(log: Log, every: int = 10) -> str:
    """Every tenth line of the metrics; the validation columns are of the weights before that step."""
    lines = ["step   train   rank 0  rank 1  val     val, rank 1  grad norm  rate     update/weight  scale     skipped"]
    val = {step: pair for step, *pair in zip(log.val_steps, log.val_loss, log.val_loss_rank1)}
    for i in range(0, len(log.steps), every):
        zero, one = val.get(log.steps[i], (math.nan, math.nan))
        lines.append(f"{log.steps[i]:<6.0f} {log.train_loss[i]:<7.3f} {log.rank_loss[0][i]:<7.3f} "
                     f"{log.rank_loss[1][i]:<7.3f} {zero:<7.3f} {one:<12.3f} {log.grad_norm[i]:<10.3g} "
                     f"{log.lr[i]:<8.4f} {log.update_ratio[i]:<14.4f} {log.scale[i]:<9.0f} {log.skipped[i]:.0f}")
    lines.append(f"{log.val_steps[-1]:<6.0f} {'':<23} {log.val_loss[-1]:<7.3f} {log.val_loss_rank1[-1]:<12.3f} the end")
    return "\n".join(lines)


def sequences(log: Log) -> str:
    """Decoded sequences: inputs and, below, targets."""
    rows = [(f"step {step}", inputs, targets) for step, inputs, targets in log.batch]
    rows += [("held out", inputs, targets) for inputs, targets in log.val_batch]
    return "\n".join(f"{name:<9} inputs  {inputs}\n{'':<9} targets {targets}" for name, inputs, targets in rows)


def curves(k: int, log: Log) -> tuple[Figure, str]:
    """Losses, gradient norm and learning rate, and a sentence that says what there is to see and no more."""
    fig, (left, middle, right) = figure(10, 3.2, 3, width_ratios=[2.2, 1.4, 1])
    left.plot(log.steps, log.train_loss, color=BLUE, linewidth=1, label="training")
    left.plot(log.val_steps, log.val_loss, "o--", color=VERMILLION, markersize=3, label="validation")
    left.axhline(log.uniform, color=GREY, linestyle=":", linewidth=1, label="ln V")
    left.legend(frameon=False, fontsize=8)
    left.set(xlabel="step", ylabel="loss, nats per token", ylim=(0, None), title=f"exhibit {k}" if k else "healthy")
    middle.semilogy(log.steps, log.grad_norm, color=GREEN, linewidth=1)
    middle.axhline(CLIP, color=GREY, linestyle=":", linewidth=1)
    middle.set(xlabel="step", title="gradient norm; dots: clip")
    middle.yaxis.set_major_formatter("{x:g}")
    middle.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    middle.yaxis.set_minor_formatter(NullFormatter())
    right.plot(log.steps, log.lr, color=PURPLE)
    right.set(xlabel="step", title="learning rate", ylim=(0, None))
    for step in PREEMPTED:
        left.axvline(step, color="#dddddd", linewidth=1, zorder=0)
    alt = (f"Three panels against the step. Left: training loss from {log.train_loss[0]:.2f} to "
           f"{tail(log.train_loss):.2f}, validation loss from {log.val_loss[0]:.2f} to {log.val_loss[-1]:.2f}; ln V is "
           f"{log.uniform:.2f}. Middle: gradient norm, at first {log.grad_norm[0]:.2f}, at the end "
           f"{tail(log.grad_norm):.2f}. Right: the rate, at first {log.lr[0]:.4f}, at most {max(log.lr):.4f}, at the "
           f"end {log.lr[-1]:.4f}.")  # fmt: skip
    return fig, alt.replace("nan", "not a number")


def tail(values: Sequence[float], count: int = 8) -> float:
    """The mean of the last values: a turn through all shards."""
    return sum(values[-count:]) / count


def show(k: int, live: bool = False) -> None:
    """All that is known of exhibit k but its cause: curves, header, table, decoded sequences. From the record, or of a
    run now."""
    known = log(k, live)
    fig, alt = curves(k, known)
    display(fig, alt)
    print(evidence(k, known, live))


def evidence(k: int, log: Log, live: bool = False) -> str:
    """Header, table and decoded sequences."""
    kind = "Live: one run just now" if live else "Recorded"
    return f"{kind}. {header(k, log)}\n\n{table(log)}\n\n{sequences(log)}"


def visit(k: int = -1, live: bool = False, experiment_: str = "", file_: str = "") -> str:
    """What the command line prints: the catalogue, an exhibit's evidence, or the answer of an experiment."""
    if k == -1:
        return "\n".join([
            f"{len(NUMBERS)} broken runs, exhibits 1 to {max(NUMBERS)}; 0 is the healthy one. Each has one cause.",
            "Read an exhibit, write down a cause, then put one question to the run:", "",
            "  museum 7                              curves as numbers, notes, decoded sequences",
            "  museum 7 --png curves.png             also the curves, as a picture",
            "  museum 7 --experiment same_twice      one question; the healthy run answers beside it",
            "  museum 7 --live                       train it now", "",
            *(f"  {name:<25} {question}" for name, question in EXPERIMENTS.items()),
        ])  # fmt: skip
    exhibit(k)
    if experiment_:
        return experiment(k, experiment_, live)
    known = log(k, live)
    text = evidence(k, known, live)
    if not file_:
        return text
    if not Path(file_).resolve().parent.is_dir():
        raise UserError(f"--png {file_}: there is no folder {Path(file_).parent}; make it first.")
    fig, alt = curves(k, known)
    write_atomic(Path(file_), png(fig))
    return f"{text}\n\n{file_}: {alt}"


def gallery() -> None:
    """The losses of all exhibits on one sheet, as recorded."""
    fig, axes = figure(11, 6.2, 6, 3, sharex=True, sharey=True)
    for k, ax in zip(NUMBERS, axes.flat):
        known = log(k)
        ax.plot(known.steps, known.train_loss, color=BLUE, linewidth=0.9)
        ax.plot(known.val_steps, known.val_loss, "--", color=VERMILLION, linewidth=1.4)
        ax.axhline(known.uniform, color=GREY, linestyle=":", linewidth=1)
        ax.set(ylim=(0, 9))
        ax.set_title(str(k), fontsize=10, loc="left")
    fig.supxlabel("step", fontsize=10)
    fig.supylabel("loss, nats per token (above 9 is cut off)", fontsize=10)
    display(fig, "Eighteen small panels with the exhibits' numbers: training loss as a thin line, validation loss as "
                 "a dashed one, ln V as dots, all on one scale from 0 to 9 nats. One seed each, from the record.")


if __name__ == "__main__":  # python -m minigpt.classroom.museum
    record()
