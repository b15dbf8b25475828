"""Lesson 13, failure_museum: what excludes each cause, and the ways in which a repair stays broken.

All exercises ask for the same triple: (cause, experiment, {part: repair}). It is graded in stages: only with the right
cause is the experiment looked at, only with a deciding experiment the part, and only the right part is tried out, on
small arguments. So a wrong answer has one fault at a time, and tables make the mutants.
"""
import difflib
import math
import random
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...config import ModelConfig, UserError
from ...model import GPT
from ...tokenizer import END_OF_TEXT, Tokenizer
from .. import museum
from ..compare import kind_of, short
from ..exhibits import CAUSES, EXHIBITS
from . import Exercise, Mutant, Prediction, Property, Question

DECIDING: dict[int, tuple[str, ...]] = {
    1: ("fresh_text", "repeat_rate"), 2: ("backward_twice",), 3: ("show_a_batch", "loss_at_step_0"),
    4: ("compare_ranks",), 5: ("lower_rate",), 6: ("show_a_batch", "fresh_text"), 7: ("same_twice",),
    8: ("texts_per_batch", "show_a_batch"), 9: ("count_parameters",), 10: ("largest_gradient",),
    11: ("repeat_rate", "show_a_batch"), 12: ("loss_at_step_0",), 13: ("gradient_per_micro_batch",),
    14: ("change_the_future",), 15: ("go_on",), 16: ("loss_by_shard",), 17: ("lower_rate",),
    18: ("repeat_rate", "fresh_text"),
}  # fmt: skip
"""The experiments whose answer only this cause would give; the first is the reference's. Exhibit 17 is known by a
column of its log, and the experiment there excludes the nearest rival."""


# ---- an answer, in stages --------------------------------------------------------------------------------------------


def in_stages(k: int) -> Callable:
    """How the answer to exhibit k is looked at: as words, all "" that come after the first fault."""
    right, probes = EXHIBITS[k], PROBES[EXHIBITS[k].part]

    def use(function):
        cause, experiment, repair = triple(function())
        outcome = dict.fromkeys(("cause", "experiment", "part", *probes), "")
        outcome["cause"] = one_of(cause, CAUSES, "cause")
        if outcome["cause"] != right.cause:
            return outcome
        asked = one_of(experiment, museum.EXPERIMENTS, "experiment")
        outcome["experiment"] = DECIDING[k][0] if asked in DECIDING[k] else asked
        if asked not in DECIDING[k]:
            return outcome
        outcome["part"], value = single(repair)
        if outcome["part"] == right.part:
            suits(right.part, value)
            with torch.enable_grad():
                outcome |= {label: tried(probe, value) for label, probe in probes.items()}
        return outcome

    return use


def triple(answer) -> tuple:
    """UserError for what is not three things."""
    if answer is None:
        raise UserError("nothing came back: is a `return` missing?")
    if not isinstance(answer, (tuple, list)) or len(answer) != 3:
        raise UserError("three things must come back, (cause, experiment, {part: repair}).")
    return tuple(answer)


def one_of(name, known: Iterable[str], what: str) -> str:
    """The name itself; UserError, with the nearest name, if it is not known."""
    if not isinstance(name, str):
        raise UserError(f"the {what} must be a string, one of the names in the list; this is {kind_of(name)}.")
    name = str.__str__(name)
    if name in known:
        return name
    if what == "cause" and name in CAUSES.values():
        raise UserError("the cause must be the name at the left of the list, not the sentence.")
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"the page prints the list of each {what}."
    raise UserError(f"there is no {what} {short(name)}: {hint}")


def single(repair) -> tuple[str, object]:
    """The one entry of a repair; UserError for anything else."""
    if not isinstance(repair, dict):
        raise UserError(f"the repair must be a dictionary, {{part: repaired}}; this is {kind_of(repair)}.")
    if len(repair) != 1:
        raise UserError(f"one part is broken, so the repair has one entry; this one has {len(repair)}.")
    ((part, value),) = repair.items()
    return one_of(part, PARTS, "part"), value


PARTS = [name for name in vars(museum.healthy())]
NUMBERS = {"rate", "warmup", "ticks", "dropout", "reduced"}


def suits(part: str, value) -> None:
    """UserError if a part that is a number is none, if a function is none, or is the healthy run's own."""
    if part in NUMBERS:
        number = not isinstance(value, bool) and (isinstance(value, (int, float, np.number)) or (
            isinstance(value, Tensor) and value.ndim == 0))  # fmt: skip
        if not number:
            raise UserError(f"{part} is a plain number; this is {kind_of(value)}.")
    elif not callable(value):
        raise UserError(f"{part} is a function; this is {kind_of(value)}. Hand over the function, not what it returns.")
    elif value is getattr(museum.healthy(), part):
        raise UserError(f"this {part} is the healthy run's own: write it yourself, and you know what it does.")


def tried(probe: Callable, value) -> str:
    """What a repair does, in words; an error is one of the things that it may do."""
    try:
        return probe(value)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:80]


def spell(value) -> str:
    """A value in words that do not depend on how it is stored: `4`, `[1, 2]`, `bool [[True]]`."""
    if isinstance(value, Tensor):
        return spell(value.item()) if value.ndim == 0 else f"{str(value.dtype)[6:]} {spell(value.tolist())}"
    if isinstance(value, (np.ndarray, np.generic)):
        return spell(value.tolist())
    if isinstance(value, bool) or isinstance(value, str):
        return str(value)
    if isinstance(value, (int, float)):
        return f"{value + 0:.6g}".replace("-0", "0") if value == 0 else f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(spell, value))}]"
    return "nothing" if value is None else kind_of(value)


# ---- what a repaired part does ---------------------------------------------------------------------------------------


def windows(rows: int, tokens: int, seed: int = 13) -> Tensor:
    """Random ids below 257; the largest, the end of text, is among them."""
    made = torch.from_numpy(np.random.default_rng(seed).integers(0, 257, (rows, tokens)))
    made[0, 1] = 256
    return made


def at_last(part: str, probe: Callable) -> Callable:
    """A probe that is used once all others of the part are content, and gives "" before."""

    def asked(value):
        right, others = getattr(museum.healthy(), part), (p for p in PROBES[part].values() if p is not asked)
        return probe(value) if all(other(value) == other(right) for other in others) else ""

    return asked


def near(low: float, high: float) -> Callable:
    """A number as it is; one of those that will do, as such."""
    return lambda value: "healthy" if low <= float(value) <= high else spell(float(value))


TRAINING = [("books", [5, 6, 5, 8]), ("drama", [2, 1]), ("books", [3, 4, 9])]
HELD_OUT = [("", [10, 11]), ("", [12])]
SHARED = [("books", [5, 10, 8]), ("drama", [2, 12])]
"""Training documents with tokens that held-out ones have, too."""


def to_train_on(training: list, validation: list) -> Callable:
    """A probe of `documents`: what it gives, whatever their order."""

    def probe(value):
        mine, held = [(d, list(ids)) for d, ids in training], [(d, list(ids)) for d, ids in validation]
        given = [[str(domain), [int(i) for i in ids]] for domain, ids in value(mine, held, np.random.default_rng(7))]
        return spell(sorted(given))

    return probe


def afterwards(value) -> str:
    """A probe of `documents`: what the caller finds in its lists."""
    mine, held = ([(d, list(ids)) for d, ids in known] for known in (TRAINING, HELD_OUT))
    list(value(mine, held, np.random.default_rng(7)))
    if (mine, held) == (TRAINING, HELD_OUT):
        return "as they were"
    if (sorted(mine), sorted(held)) == (sorted(TRAINING), sorted(HELD_OUT)):
        return "changed: in another order"
    return f"changed: now {spell(sorted(mine))} and {spell(sorted(held))}"


def zeroed(*numbers: float) -> Callable:
    """A probe of `zero_grad`: what stands in the caller's tensor afterwards."""

    def probe(value):
        gradients = torch.tensor(numbers, dtype=torch.float32)
        value(gradients)
        return f"{spell(gradients)} of shape {list(gradients.shape)}"

    return probe


def in_a_view(value) -> str:
    """A probe of `zero_grad`: the middle of a tensor that others hold, too."""
    memory = torch.tensor([1.0, 2.0, 3.0, 4.0])
    value(memory[1:3])
    return spell(memory)


def split(rows: int, tokens: int) -> Callable:
    """A probe of `shift`."""

    def probe(value):
        inputs, targets = value(windows(rows, tokens))
        return f"inputs {spell(inputs)}, targets {spell(targets)}"

    return probe


def long_split(value) -> str:
    """A probe of `shift`: windows longer than the run's."""
    inputs, targets = value(windows(1, 40))
    return f"{inputs.shape[1]} inputs and {targets.shape[1]} targets"


@cache
def tokenizers() -> tuple[Tokenizer, Tokenizer]:
    """Two with ids of their own."""
    merges = [(b"t", b"h"), (b"th", b"e")]
    return (Tokenizer([], (END_OF_TEXT,)), Tokenizer(merges, (END_OF_TEXT,), alphabet=bytes(range(255, -1, -1))))


def encoded(which: int, *texts: str) -> Callable:
    """A probe of `encode_validation`."""
    return lambda value: spell([list(map(int, ids)) for ids in value(tokenizers()[which], list(texts))])


class Wobbly(nn.Module):
    """A model that has dropout of its own, beside that of its parts."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.body = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.25)))

    def forward(self, x):
        return self.body(F.dropout(x, 0.5, self.training))


def modes(value) -> str:
    """A probe of `evaluation`: which modules are in which mode."""
    model = Wobbly().train()
    value(model)
    return spell(["training" if m.training else "evaluation" for m in model.modules()])


def modes_again(value) -> str:
    model = Wobbly().eval()
    value(model)
    return spell(["training" if m.training else "evaluation" for m in model.modules()])


def training_afterwards(value) -> str:
    """A probe of `evaluation`: what is left for the steps that follow."""
    model, before = Wobbly().train(), [p.detach().clone() for p in Wobbly().parameters()]
    value(model)
    shares = [m.p for m in model.train().modules() if isinstance(m, nn.Dropout)]
    same = all(map(torch.equal, model.parameters(), before))
    frozen = "" if all(p.requires_grad for p in model.parameters()) else " and frozen"
    return f"dropout {spell(shares)}, weights {'as before' if same else 'changed'}{frozen}"


def places(value, count: int, seed: int) -> np.ndarray:
    """An order as an array; an error if it is no list of places."""
    order = value(count, np.random.default_rng(seed))
    if order is None:
        raise TypeError("nothing came back")
    order = np.asarray(order)
    if order.ndim != 1 or order.dtype.kind not in "iu":
        raise TypeError(f"{order.dtype} of shape {order.shape} are no places")
    return order


def each_once(count: int) -> Callable:
    """A probe of `order`: is every window there once?"""

    def probe(value):
        order = places(value, count, 3)
        missing = set(range(count)) - set(order.tolist())
        if not missing and len(order) == count:
            return "each once"
        strange = set(order.tolist()) - set(range(count))
        return f"{len(order)} places, {len(missing)} windows missing, {len(strange)} that do not exist"

    return probe


def mixed(value) -> str:
    """A probe of `order`: do neighbours stay together, does the beginning stay at the beginning, and do sixteen in a
    row come from everywhere? In words that do not depend on how long a block is."""
    order = places(value, 300, 4)
    steps = np.diff(order)
    reach = float(np.mean([np.std(order[i : i + 16]) for i in range(0, len(order) - 15, 16)]) / np.std(np.arange(300)))
    together = float(np.mean(np.abs(steps) <= 2))
    drift = float(np.corrcoef(order, np.arange(len(order)))[0, 1])
    ((step, often),) = Counter(steps.tolist()).most_common(1)
    if abs(step) > 1 and often > len(steps) / 2:
        return "most are equally far from the one before"
    if together < 0.1 and abs(drift) < 0.3 and reach > 0.8:
        return "mixed"
    way = ", the first at the beginning" if drift > 0.9 else ", the last at the beginning" if drift < -0.9 else ""
    if together > 0.99:
        return f"all beside a neighbour, {'forwards' if step > 0 else 'backwards'}"
    if together > 0.5:
        return f"most beside a neighbour{way}"
    return f"mixed in part{way}" if way or reach > 0.8 else "sixteen in a row come from one stretch"


def repeatable(value) -> str:
    same = np.array_equal(places(value, 300, 5), places(value, 300, 5))
    return "one seed: the same order" if same else "one seed: two orders"


def varied(value) -> str:
    same = np.array_equal(places(value, 300, 5), places(value, 300, 6))
    return "two seeds: the same order" if same else "two seeds: two orders"


def two_matrices() -> GPT:
    """A tiny model whose head has a matrix of its own."""
    config = ModelConfig(layers=1, width=8, heads=2, kv_heads=2, head_size=4, mlp_width=6, context=5, vocab_size=11)
    model = GPT(config)
    model.head.weight = nn.Parameter(model.embed.weight.detach() * 0 + 0.5)
    return model


def who_shares(value) -> str:
    """A probe of `tie`: one parameter, or two, and whether they lie in the same memory."""
    model = two_matrices()
    embed, head = model.embed.weight.detach().clone(), model.head.weight.detach().clone()
    value(model)
    here, there = model.embed.weight, model.head.weight
    known = torch.equal(here, embed) or torch.equal(here, head)
    if here is there:
        return "one parameter" + ("" if known else ", changed") + ("" if here.requires_grad else ", frozen")
    shared = here.data_ptr() == there.data_ptr()
    equal = "equal" if torch.equal(here, there) else "different"
    return f"two parameters in {'one memory' if shared else 'two memories'}, {equal}"


def count_tied(value) -> str:
    """What two matrices share after `tie`: how many tensors are left, and whether the model still runs."""
    model = two_matrices()
    value(model)
    logits = model(torch.tensor([[1, 2, 3]]))
    return f"{len(list(model.parameters()))} tensors, logits {list(logits.shape)}"


def ruled(value, *call) -> tuple:
    """What a `scaler` says; an error if it says it in another order."""
    scale, good, go = value(*call)
    if isinstance(scale, (bool, np.bool_)):
        raise TypeError("the first of the three is True or False, and no scale")
    return scale, good, go


def scaled(*call) -> Callable:
    """A probe of `scaler`."""

    def probe(value):
        scale, good, go = ruled(value, *call)
        return f"scale {spell(float(scale))}, {spell(int(good))} finite, {'a step' if go else 'left out'}"

    return probe


def forty_steps(value) -> str:
    """A probe of `scaler`: forty steps in a row, two of which overflow."""
    scale, good, done = 1024.0, 0, 0
    for step in range(40):
        scale, good, go = ruled(value, scale, good, step not in (3, 22))
        done += bool(go)
    return f"scale {spell(float(scale))}, {done} steps made"


def far_out(value) -> str:
    """A probe of `scaler`: scales that no run here has."""
    return f"{scaled(1048576.0, 14, True)(value)}; {scaled(1.0, 5, False)(value)}"


@lru_cache(maxsize=6)  # three of an answer, three of the healthy run
def begun(value, seed: int, again: bool = False) -> GPT:
    """A model that an `init` has filled. `again`: another one, of the same seed."""
    model = GPT(ModelConfig(layers=2, width=32, heads=2, kv_heads=2, head_size=16, mlp_width=80, context=16,
                            vocab_size=257))  # fmt: skip
    torch.manual_seed(99 + again)  # what an init draws without its seed is another thing each time
    value(model, seed)
    return model


def first_loss(value) -> str:
    """A probe of `init`: the loss before the first update, on random tokens."""
    model, tokens = begun(value, 0), windows(6, 17)
    loss = float(model.eval()(tokens[:, :-1], tokens[:, 1:]).detach())
    return "near ln V" if abs(loss - math.log(257)) < 0.5 else "far above ln V" if loss > 5 else spell(loss)


def spread(value) -> str:
    """A probe of `init`: what the matrices look like. The two that write into the residual stream may be zero."""
    found = Counter()
    for name, p in begun(value, 0).named_parameters():
        std, mean = float(p.detach().std()), float(p.detach().mean())
        if p.ndim > 1 and not (name.endswith(("attn.out.weight", "mlp.down.weight")) and std == mean == 0):
            found["all 0" if std == mean == 0 else "all numbers equal" if std < 1e-9 else "far too small" if
                  std < 0.003 else "far too large" if std > 0.25 else "lopsided" if abs(mean) > std else "fine"] += 1
    matrices = [p.detach() for p in begun(value, 0).parameters() if p.ndim > 1 and bool(p.any())]
    found["equal to another"] = sum(p.shape == q.shape and torch.equal(p, q) for p, q in combinations(matrices, 2))
    return ", ".join(f"{count} {words}" for words, count in sorted(found.items())
                     if words != "fine" and count) or "fine"


def gains(value) -> str:
    """A probe of `init`: the gains of the norms."""
    numbers = torch.cat([p.detach() for p in begun(value, 0).parameters() if p.ndim == 1])
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        return f"all {low:.2g}"
    return "some below 0" if low < 0 else "not all 1"


def seeds(value) -> str:
    """A probe of `init`: does the seed decide?"""
    weights = [[p.detach() for p in begun(value, *key).parameters()] for key in ((0,), (0, True), (1,))]
    same = [all(map(torch.equal, weights[0], other)) for other in weights[1:]]
    return f"one seed: {'the same' if same[0] else 'other'} weights, two seeds: {'the same' if same[1] else 'other'}"


def left_over(value) -> str:
    """A probe of `init`: does what stood in the matrices before matter?"""
    models = []
    for number in (-0.5, 0.5):
        model = GPT(ModelConfig(layers=1, width=8, heads=2, kv_heads=2, head_size=4, mlp_width=6, context=5,
                                vocab_size=11))  # fmt: skip
        with torch.no_grad():
            for p in model.parameters():
                p.fill_(number if p.ndim > 1 else 1.0)
        torch.manual_seed(7)
        value(model, 0)
        models.append(model)
    count = sum(not torch.equal(p, q) for p, q in zip(*(model.parameters() for model in models)))
    return f"in {count} parameters something is left of it" if count else "nothing is left of it"


def large_enough(value) -> str:
    """A probe of `init`: the matrices but those that write into the residual stream. In the museum, 0.06 ends about
    where the exhibit ends, and 0.05 or less above it."""
    sizes = [float(p.detach().std()) for name, p in begun(value, 0).named_parameters()
             if p.ndim > 1 and not name.endswith(("attn.out.weight", "mlp.down.weight"))]  # fmt: skip
    return "large enough" if min(sizes) > 0.052 else "too small for this width and rate"


def gathered(*numbers: float) -> Callable:
    """A probe of `accumulate`: the number, and what arrives at each micro-batch on the way back."""

    def probe(value):
        losses = torch.tensor(numbers, dtype=torch.float32, requires_grad=True)
        loss = value(losses)
        if not isinstance(loss, Tensor) or loss.grad_fn is None:
            return f"{spell(loss)}, without a gradient"
        (gradient,) = torch.autograd.grad(loss, losses)
        return f"{spell(float(loss.detach()))}, gradients {spell(gradient.tolist())}"

    return probe


def read_from(shard: int, rows: int, tokens: int) -> Callable:
    return lambda value: spell(value(shard, windows(rows, tokens, shard)))


def all_shards(value) -> str:
    other = [i for i in range(8) if not torch.equal(value(i, windows(2, 3, i)), windows(2, 3, i))]
    return f"changed in {other}" if other else "as they are"


PROBES: dict[str, dict[str, Callable]] = {
    "documents": {
        "three documents of two kinds": to_train_on(TRAINING, HELD_OUT),
        "one document, nothing held out": to_train_on([("speeches", [7])], []),
        "no document": to_train_on([], HELD_OUT), "tokens that are held out, too": to_train_on(SHARED, HELD_OUT),
        "the lists that were handed in": afterwards,
    },
    "zero_grad": {
        "gradients [1, -2, 0.5, 0, 3]": zeroed(1, -2, 0.5, 0, 3), "gradients [-4]": zeroed(-4),
        "gradients [2, infinity, nan]": zeroed(2, math.inf, math.nan),
        "[1, 2, 3, 4], of which 2 and 3 are the gradients": in_a_view,
    },
    "shift": {"windows of 1 x 2": split(1, 2), "windows of 3 x 6": split(3, 6), "windows of 2 x 9": split(2, 9),
              "a window of 40": long_split},
    "reduced": {"reduced": near(1, 1)},
    "rate": {"rate": near(0.00499, 0.01501)},
    "warmup": {"warmup": near(0.0499, 0.2001)},
    "ticks": {"ticks": near(1, 1)},
    "encode_validation": {
        "bytes as tokens, two texts": encoded(0, "the cat", "é"), "other ids and merges": encoded(1, "the then", "ha"),
        "one text, empty": encoded(0, ""), "no text": encoded(1), "spaces and a capital": encoded(0, " A\n", "\tb "),
    },
    "evaluation": {
        "a model in training": modes, "a model in evaluation": modes_again, "training goes on": training_afterwards,
    },
    "order": {
        "order(300, rng)": each_once(300), "order(1, rng)": each_once(1), "how mixed": mixed, "repeated": repeatable,
        "varied": varied,
    },
    "tie": {"embedding and head": who_shares, "the model": count_tied},
    "scaler": {
        "scaler(1024, 3, True)": scaled(1024.0, 3, True), "scaler(256, 9, True)": scaled(256.0, 9, True),
        "scaler(512, 13, True)": scaled(512.0, 13, True),
        "scaler(512, 14, True)": scaled(512.0, 14, True), "scaler(4096, 9, False)": scaled(4096.0, 9, False),
        "scaler(8, 14, False)": scaled(8.0, 14, False), "scaler(2, 0, False)": scaled(2.0, 0, False),
        "forty steps, two overflow": forty_steps, "large and small scales": at_last("scaler", far_out),
    },
    "resume": {f"resume({n})": lambda value, n=n: spell(value(n)) for n in (25, 0, 1, 50, 75, 1000)},
    "init": {
        "loss at step 0": first_loss, "matrices": spread, "norm gains": gains, "seeds": seeds,
        "what was there": left_over, "size of the matrices": at_last("init", large_enough),
    },
    "accumulate": {
        "losses [1, 2, 4, 9]": gathered(1, 2, 4, 9), "losses [5]": gathered(5),
        "losses [3, 0, 6, 6, 1, 2]": gathered(3, 0, 6, 6, 1, 2),
    },
    "mask": {f"mask({T})": lambda value, T=T: spell(value(T)) for T in (1, 2, 3, 5)}
    | {"how many each row of mask(33) sees": lambda value: spell(value(33).sum(1).tolist())},
    "read": {"shard 0, 2 x 5": read_from(0, 2, 5), "shard 5, 3 x 4": read_from(5, 3, 4),
    "shard 7, 1 x 6": read_from(7, 1, 6),
             "all eight shards": all_shards},
}  # fmt: skip


@cache
def whole(part: str) -> dict[str, str]:
    """What the healthy run's part does, in words; raises if a probe is broken."""
    return {label: probe(getattr(museum.healthy(), part)) for label, probe in PROBES[part].items()}


# ---- the evidence against a cause ------------------------------------------------------------------------------------

AGAINST: dict[str, tuple[str, str]] = {
    "rate_too_high": (
        "the rate is blamed, although it peaks at 0.01 as in the healthy run, and the first ten updates change the "
        "weights by a few per cent of their size",
        "Which column says how large a step is against the weights, and what does the healthy run have there?"),
    "no_warmup": (
        "the warm-up is missed, although the rate begins at 0.0009 and needs ten steps to its peak",
        "What does a missing warm-up do to the first row of the table?"),
    "bad_init": (
        "the first weights are blamed, although the loss at step 0 is near ln V",
        "What does a model of good first weights know, and what loss follows from that?"),
    "future_leak": (
        "the mask is blamed, although validation ends above 2 nats a token, where a model that sees the answer does "
        "not stop",
        "What would the loss of a model be that sees the token it has to predict?"),
    "targets_not_shifted": (
        "the targets are taken for the inputs, although each decoded target is one character ahead of its input",
        "What do the decoded sequences say, place by place?"),
    "val_in_train": (
        "the validation text is suspected in the training data, although the model does no better on it than on what "
        "it was trained on",
        "On which text does a model do best that has had the validation text many times?"),
    "duplicated_data": (
        "repeated training text is suspected, although no gap opens between training and validation as it does where "
        "a text is learnt by heart",
        "What becomes of the two curves while a model learns a few documents by heart?"),
    "unshuffled": (
        "the order of the documents is blamed, although the decoded sequences of one batch come from texts of "
        "different kinds",
        "From which kinds of text are the four sequences of one batch?"),
    "fp16_overflow": (
        "an unseen overflow is blamed, although every loss is a number, and a step that overflows is left out and "
        "counted",
        "What stands in the weights after one step with an infinite gradient?"),
    "no_zero_grad": (
        "old gradients are suspected in the new ones, although the gradient norm ends no higher than it began",
        "What does the gradient norm do while gradients are added up, step after step?"),
    "eval_in_train_mode": (
        "the evaluation is suspected of dropout, although the last weights give the same validation loss when they are "
        "evaluated once more",
        "Which two numbers of the log must be equal if nothing is drawn at random?"),
    "untied": (
        "a second matrix is suspected at the head, although the model has 70,992 parameters as the healthy one has",
        "Which number in the header would a second matrix change?"),
    "accumulation_not_divided": (
        "the losses of the micro-batches are thought to be added up, although the gradient norm at step 0 is near 2 "
        "as in the healthy run",
        "By which factor would the first gradient norm be larger if four losses were added?"),
    "replayed_data": (
        "a resumed run is suspected of reading from the start, although the batch decoded at step 75 is another one "
        "than that of step 0",
        "Which batch would follow a preemption if reading began again?"),
    "rank_drift": (
        "the ranks are suspected of different weights, although both have the same validation loss in every row",
        "Which two columns would differ if the ranks held different weights?"),
    "bad_shard": (
        "one shard is blamed, although the training loss does not jump at every eighth step",
        "The shards are read in turn. At which steps would one bad shard show?"),
    "tokenizer_mismatch": (
        "the validation text is suspected of other ids, although its decoded sequences can be read",
        "What do the held-out sequences say when the run's own tokenizer decodes them?"),
    "schedule_too_short": (
        "the schedule is thought to end too soon, although the rate still is a quarter of its peak at step 90",
        "At which step does the rate reach zero, and at which should it?"),
}  # fmt: skip
"""Cause → what speaks against it in most exhibits, and where to look."""
NO_NUMBERS = ", although up to step 60 all numbers are those of the healthy run, and after it there are none at all"
AGAINST_HERE: dict[tuple[int, str], str] = {
    (1, "future_leak"): "the mask is blamed, although the training loss, which would gain as much, stays above 2",
    (1, "duplicated_data"): "repeated text is suspected to be learnt by heart, although validation does better than "
                            "training, and not worse",
    (1, "targets_not_shifted"): "the targets are taken for the inputs, although the decoded targets are one character "
                                "ahead, and no loss is near 0",
    (2, "rate_too_high"): "the rate is blamed, although it is that of the healthy run, and the gradient norm grows on "
                          "while the rate falls",
    (2, "accumulation_not_divided"): "the losses are thought to be added up, although the gradient norm is that of the "
                                     "healthy run at step 0 and grows afterwards",
    (2, "fp16_overflow"): "an unseen overflow is blamed, although every loss is a number, and the two steps that "
                          "overflowed were left out",
    (3, "bad_init"): "the first weights are blamed, although the loss at step 0 is below ln V: weights that are too "
                     "large make it larger",
    (3, "future_leak"): "the mask is blamed, although there is no need of a look ahead where every target stands in "
                        "the same place of the inputs",
    (3, "val_in_train"): "the validation text is suspected in the training data, although the loss on training text "
                         "is as near to 0, and after twenty steps nothing can be known by heart",
    (3, "accumulation_not_divided"): "the losses are thought to be added up, although the first gradient norm is not "
                                     "four times the healthy one",
    (4, "eval_in_train_mode"): "dropout is blamed for the two validation columns, although the last weights give the "
                               "same loss when they are evaluated once more",
    (4, "bad_shard"): "one shard is blamed for what the ranks do not share, although the training loss does not jump "
                      "at every eighth step",
    (5, "no_warmup"): "the warm-up is missed, although the rate climbs for ten steps, from 0.036 to 0.4",
    (5, "bad_init"): "the first weights are blamed, although the loss at step 0 is that of the healthy run",
    (6, "duplicated_data"): "repeated training text is suspected, although the training loss is that of the healthy "
                            "run in every row",
    (6, "val_in_train"): "the validation text is suspected in the training data, although the model does worst on it",
    (7, "rank_drift"): "the ranks are suspected, although both have the same validation loss in every row; what "
                       "differs is the same evaluation, made twice",
    (8, "duplicated_data"): "repeated text is suspected, although the training loss rises at steps 40 and 50: text "
                            "that is known by heart does not become hard again",
    (8, "rate_too_high"): "the rate is blamed for the rises, although it peaks at 0.01 and the gradient norm stays "
                          "small while the loss rises",
    (8, "replayed_data"): "a resumed run is suspected of reading from the start, although the loss rises at step 40, "
                          "between two preemptions, and the batch of step 75 is a new one",
    (8, "bad_shard"): "one shard is blamed for the rises, although they last for many steps and do not come at every "
                      "eighth",
    (10, "future_leak"): "the mask is blamed" + NO_NUMBERS,
    (10, "val_in_train"): "the validation text is suspected in the training data" + NO_NUMBERS,
    (10, "duplicated_data"): "repeated training text is suspected" + NO_NUMBERS,
    (10, "no_zero_grad"): "old gradients are suspected in the new ones" + NO_NUMBERS,
    (10, "eval_in_train_mode"): "the evaluation is suspected of dropout" + NO_NUMBERS,
    (10, "rate_too_high"): "the rate is blamed, although it is that of the healthy run, and the losses are too, to the "
                           "last digit, until they end from one step to the next",
    (11, "duplicated_data"): "the training data are taken for a few documents, although nothing comes back before "
                             "step 25, and validation falls to the end",
    (11, "unshuffled"): "the order of the documents is blamed, although the sequences of a batch come from texts of "
                        "different kinds, at step 75 the very ones of step 0",
    (11, "val_in_train"): "the validation text is suspected in the training data, although validation gains nothing, "
                          "and only training does",
    (12, "rate_too_high"): "the rate is blamed, although it peaks at 0.01 and the updates are smaller against the "
                           "weights than in the healthy run",
    (12, "val_in_train"): "the validation text is suspected in the training data, although both losses end alike, and "
                          "both higher than in the healthy run",
    (12, "accumulation_not_divided"): "the losses are thought to be added up because of the large gradients, although "
                                      "that would leave the loss at step 0 as it is",
    (12, "no_warmup"): "the warm-up is missed, although the rate begins at 0.0009, and the loss is strange before "
                       "there has been any step",
    (12, "untied"): "a second matrix is suspected, although the model has 70,992 parameters, and a copy would leave "
                    "the first loss as it is",
    (13, "rate_too_high"): "the rate is blamed for the large norms, although the updates are as large as in the "
                           "healthy run: clipping comes before the step",
    (13, "no_zero_grad"): "old gradients are suspected in the new ones, although the norm is largest at step 0, where "
                          "there are no old ones",
    (13, "bad_init"): "the first weights are blamed for the large norms, although the loss at step 0 is that of the "
                      "healthy run to the last digit",
    (14, "val_in_train"): "the validation text is suspected in the training data, although training ends as low, on "
                          "text of which each sequence was met once",
    (14, "targets_not_shifted"): "the targets are taken for the inputs, although the decoded targets are one character "
                                 "ahead, and the loss at step 0 is above ln V",
    (15, "no_warmup"): "the warm-up is missed, although the rate does climb, if for fewer steps",
    (15, "rate_too_high"): "the rate is blamed for the flat curve, although from step 25 on it is zero",
    (15, "replayed_data"): "the preemption at step 25 is blamed, although the batch decoded at step 75 is another one "
                           "than that of step 0",
    (16, "unshuffled"): "the order of the documents is blamed, although the loss jumps for single steps, at every "
                        "eighth, and batches are of mixed kinds",
    (16, "rate_too_high"): "the rate is blamed for the jumps, although it peaks at 0.01, and jumps of that origin do "
                           "not keep to every eighth step",
    (16, "fp16_overflow"): "an overflow is blamed for the jumps, although every loss is a number, and the steps that "
                           "are left out are counted",
    (17, "rate_too_high"): "the rate is blamed, although its peak is that of the healthy run, and only the first "
                           "updates are larger than usual",
    (17, "schedule_too_short"): "the schedule is thought to be short at its end, although the rate still is a quarter "
                                "of its peak at step 90: look at its other end",
    (18, "replayed_data"): "a resumed run is suspected of reading from the start, although the gap opens before the "
                           "first preemption, and one batch holds the same sequence twice",
    (18, "tokenizer_mismatch"): "the validation text is suspected of other ids, although it can be read, and its loss "
                                "falls for thirty steps before it rises",
    (18, "val_in_train"): "the validation text is suspected in the training data, although the model does far worse on "
                          "it than on what it was trained on",
}  # fmt: skip
"""(Exhibit, cause) → what speaks against it, where it is another thing or the cause a near one."""

ASKED_HERE: dict[tuple[int, str], tuple[str, str]] = {
    (1, "same_twice"): (
        "the run is asked for its validation loss twice, which shows dropout and not what the text has been used for",
        "The number is the same twice. Does that make it true?"),
    (2, "lower_rate"): (
        "the rate is lowered, and whatever comes out does not tell what happens to a gradient between two steps",
        "Would a smaller step change what happens to the gradient between two steps?"),
    (3, "change_the_future"): (
        "the mask is tested, which excludes one rival and says nothing of the targets",
        "A mask may be whole and the task still trivial. What do you look at to see the task?"),
    (4, "same_twice"): (
        "one evaluation is made twice, which shows dropout; you suspect two sets of weights",
        "Which two things would you compare directly?"),
    (5, "go_on"): (
        "the run goes on at a fixed small rate, which tells an ended schedule from an ended learning",
        "Which part of the run would you repeat, and with what changed?"),
    (6, "same_twice"): (
        "the evaluation is made twice, and what is wrong with its text is wrong both times",
        "Which other text would you give to these weights, or what would you read?"),
    (8, "repeat_rate"): (
        "the run is asked for repetitions, and there are none: each text comes once, which is not what is wrong",
        "What do you want to know of one batch?"),
    (8, "loss_by_shard"): (
        "the shards are compared, and they are alike: every shard has a part of every stretch of the data",
        "What do you want to know of one batch?"),
    (9, "loss_at_step_0"): (
        "the first loss is asked for, and two equal matrices give the loss that one gives",
        "In what does a copy differ from the thing itself at step 0?"),
    (10, "lower_rate"): (
        "the rate is lowered, and the largest gradient times the scale does not depend on it",
        "Which number must be compared with 65,504?"),
    (11, "fresh_text"): (
        "other text is tried, on which this run does nearly as well as the healthy one",
        "What do you want to count?"),
    (12, "lower_rate"): (
        "the rate is lowered, and the loss is wrong before the rate has been used",
        "Which number is there before the first update?"),
    (13, "backward_twice"): (
        "a second pass over the batch is asked for, which shows what is left of old gradients, and nothing is",
        "What would have to change, in one and the same batch, for the norm to change?"),
    (13, "largest_gradient"): (
        "the largest gradient is asked for, and it is four times too large for more than one reason",
        "What would have to change, in one and the same batch, for the norm to change?"),
    (14, "show_a_batch"): (
        "the text is looked at, and the text is right: what a position may look at stands in no batch",
        "What should a logit not react to?"),
    (14, "fresh_text"): (
        "other text is tried, and a model that sees the answer is good on every text",
        "What should a logit not react to?"),
    (15, "lower_rate"): (
        "a lower rate is tried, in a run whose rate is zero for most of the time",
        "What would the same weights do if they were given a rate again?"),
    (16, "show_a_batch"): (
        "two batches are looked at, those of steps 0 and 75, and neither is of the shard that you suspect",
        "Which shards have steps 0 and 75, and how would you see all eight?"),
    (17, "go_on"): (
        "the run goes on at its end, and what you suspect happened at its beginning",
        "Your nearest rival is a rate that is too high all the time. Which experiment excludes it?"),
    (17, "loss_at_step_0"): (
        "the loss before the first update is asked for, and your cause begins with the first update",
        "Your nearest rival is a rate that is too high all the time. Which experiment excludes it?"),
    (18, "texts_per_batch"): (
        "the documents in one batch are counted, and a copy counts as a document",
        "What do you want to count over the whole run?"),
    (18, "same_twice"): (
        "the validation loss is asked for twice, and a real gap is there both times",
        "What do you want to count over the whole run?"),
}  # fmt: skip
"""(Exhibit, experiment) → what it tells and what not, where people choose it."""
POPULAR = ("loss_at_step_0", "show_a_batch", "fresh_text", "same_twice", "lower_rate", "go_on", "repeat_rate")
"""Experiments that people choose for any run."""

ELSEWHERE: dict[int, dict[str, tuple[str, str]]] = {
    1: {"encode_validation": ("the validation text is encoded anew, although its ids are right",
                              "Which part decides what the run is trained on?"),
        "evaluation": ("the evaluation is repaired, and it tells the truth about a text that the model knows",
                       "Which part decides what the run is trained on?"),
        "dropout": ("more dropout is to hold back what should not be there at all",
                    "Which part decides what the run is trained on?"),
        "order": ("the text is shuffled again, with the validation text in it",
                  "Does it matter where in the training data the validation text stands?")},
    2: {"rate": ("the rate is lowered, and gradients go on adding up", "What must happen between two steps?"),
        "accumulate": ("the sum over micro-batches is changed, and the sum over steps is the broken one",
                       "Over what is too much added up: over micro-batches or over steps?"),
        "scaler": ("the loss scale is changed, and the gradients are what is wrong, before and after scaling",
                   "What must happen between two steps?")},
    3: {"mask": ("the mask is changed, and the position itself may always be seen",
                 "Even with a perfect mask: may a position see itself?"),
        "documents": ("other text is read, and it becomes inputs and targets in the same way",
                      "Which part makes two tensors of one?"),
        "read": ("reading is repaired, and the text was read as it is", "Which part makes two tensors of one?"),
        "encode_validation": ("the validation ids are changed, and training has the same fault",
                              "Which part do training and evaluation share?")},
    4: {"accumulate": ("the micro-batches are put together in another way, on each rank alone",
                       "At which point of a step do the ranks speak to each other?"),
        "evaluation": ("the evaluation is repaired, and it shows two models as they are",
                       "Is it the evaluation that differs, or what is evaluated?"),
        "zero_grad": ("the gradients are set to zero, as they were before",
                      "At which point of a step do the ranks speak to each other?"),
        "resume": ("resuming is repaired, and the ranks part before the first preemption",
                   "Look at the evaluation of step 10. What has happened until then?")},
    5: {"warmup": ("the way to the peak is made longer, and the peak is as high as it was",
                   "Once the warm-up is over, what is the rate?"),
        "ticks": ("the schedule is made faster, and its peak is as high as it was",
                  "Which number is multiplied by the schedule?"),
        "init": ("other first weights are drawn, and the step is too large for any",
                 "The loss at step 0 is healthy. What comes after it?"),
        "scaler": ("the loss scale is changed, which cancels before the step",
                   "What is left of the loss scale when the step is made?")},
    6: {"documents": ("the training text is changed, and training is the healthy run's to the last digit",
                      "Which of the two curves is not as it should be?"),
        "evaluation": ("the mode of the evaluation is changed, and no mode costs five nats",
                       "What do the held-out sequences look like?"),
        "dropout": ("dropout is changed against overfitting, and the model does well on other held-out text",
                    "What do the held-out sequences look like?"),
        "shift": ("inputs and targets are cut anew, and the cut is right, as training shows",
                  "Which part is there for the validation text alone?")},
    7: {"dropout": ("dropout is taken out of the training as well, where it belongs",
                    "Is dropout wrong, or is it wrong at this moment?"),
        "encode_validation": ("the validation text is encoded anew, although it can be read",
                              "What is drawn at random while the text is the same?"),
        "reduced": ("the ranks are brought together, and they never were apart",
                    "What is drawn at random while the text is the same?")},
    8: {"documents": ("the documents are chosen anew, and it is not their choice that is wrong",
                      "The right text is read. In what succession?"),
        "read": ("the shards are read differently, and each gives what lies in it",
                 "The right text is read. In what succession?"),
        "rate": ("the rate is lowered, and the text changes its kind as before",
                 "What changes in the data when the loss rises?"),
        "resume": ("resuming is changed, and the first rise comes between two preemptions",
                   "What changes in the data when the loss rises?")},
    9: {"init": ("the first weights are drawn anew, and two matrices stay two",
                 "How many matrices are there after your repair?"),
        "mask": ("the mask is changed, which has no parameters", "Which part can change the number of parameters?"),
        "reduced": ("the ranks are brought together, and each has one matrix too many",
                    "Which part can change the number of parameters?")},
    10: {"rate": ("the rate is lowered, and the scale still grows until fp16 ends",
                  "What grows here without end?"),
         "accumulate": ("the gradients are made smaller, and the scale makes up for it some steps later",
                        "What grows here without end?"),
         "zero_grad": ("the gradients are set to zero, and an infinity has reached the weights before that",
                       "Who has to look at the gradients before the step?"),
         "init": ("the first weights are made smaller, and the scale still grows until fp16 ends",
                  "What grows here without end?")},
    11: {"order": ("the windows are shuffled, as they were, and the same ones come back",
                   "Who decides where reading goes on?"),
         "documents": ("the documents are chosen anew, and the run comes back to the same beginning",
                       "Who decides where reading goes on?"),
         "ticks": ("the schedule is changed, which goes on rightly after each preemption",
                   "Which of the things that a run must remember is forgotten?")},
    12: {"rate": ("the rate is lowered, and the loss is wrong before the first step",
                  "What is there before the first update?"),
         "warmup": ("the warm-up is made longer, and the loss is wrong before the first step",
                    "What is there before the first update?"),
         "tie": ("head and embedding are shared, as they were", "How large are the numbers in this matrix?"),
         "shift": ("inputs and targets are cut anew, and the decoded ones are right",
                   "What decides the logits before anything has been learnt?")},
    13: {"zero_grad": ("the gradients are set to zero, as they were, and each step begins with its own four",
                       "At step 0 there are no old gradients. What is the norm there?"),
         "rate": ("the rate is lowered, and a gradient norm does not know the rate",
                  "What makes a gradient four times as long?"),
         "scaler": ("the loss scale is changed, which is divided out again before the norm is taken",
                    "What makes a gradient four times as long?"),
         "reduced": ("the all-reduce is changed, which is whole, for both ranks hold the same weights",
                     "What makes a gradient four times as long?")},
    14: {"shift": ("targets are moved further ahead, so that the leak no longer helps and the task is another one",
                   "What should position t be able to see, with the task as it is?"),
         "documents": ("the text is changed, and the leak is there on any text",
                       "Which part decides what position t sees?"),
         "evaluation": ("the evaluation is repaired, and training has the same low loss",
                        "Which part decides what position t sees?"),
         "dropout": ("more dropout is to hold back what is too good",
                     "Which part decides what position t sees?")},
    15: {"rate": ("the peak is raised, and from step 25 on a higher peak times zero is zero",
                  "What is the rate multiplied by at step 30?"),
         "warmup": ("the warm-up is changed, and the end comes as early as before",
                    "Which end of the schedule is in the wrong place?"),
         "resume": ("resuming is changed, for the curve ends at the first preemption, by chance",
                    "What stands in the rate's column at step 20, before the preemption?"),
         "accumulate": ("the losses of the micro-batches are put together in another way, and the gradients were right",
                        "What is counted four times, gradients or steps of the schedule?")},
    16: {"order": ("the windows are shuffled, as they were, and each eighth batch comes from the same shard",
                   "Which part of the run knows a shard by its number?"),
         "documents": ("the documents are chosen anew, and they were right until they were read",
                       "Which part of the run knows a shard by its number?"),
         "resume": ("resuming is changed, and the jumps keep to their eighth step through every preemption",
                    "Which part of the run knows a shard by its number?"),
         "rate": ("the rate is lowered, and the text at the jumps stays unreadable",
                  "What is different about every eighth batch?")},
    17: {"rate": ("the peak is lowered for all steps, because the first ones are too large",
                  "Is the rate wrong at step 50?"),
         "ticks": ("the schedule is made slower or faster, and its first step stays where it is",
                   "What is the schedule's value at step 0?"),
         "init": ("other first weights are drawn, and the first step is as long as before",
                  "The loss at step 0 is healthy. What comes after it?")},
    18: {"dropout": ("dropout is raised, which slows the learning by heart and leaves the copies where they are",
                     "How much different text does the run have after your repair?"),
         "encode_validation": ("the validation text is encoded anew, although it can be read",
                               "Which of the two losses tells the truth?"),
         "order": ("the windows are shuffled, as they were: copies, in another order",
                   "How much different text does the run have after your repair?"),
         "resume": ("resuming is changed, and the copies are there before the first preemption",
                    "How much different text does the run have after your repair?")},
}  # fmt: skip
"""Exhibit → part that people repair instead → why that does not help."""


# ---- repairs that are still broken -----------------------------------------------------------------------------------

Broken = tuple[str, str, str, str]
"""id, source (an expression, or a function `repair`), misconception, question."""

ONCE = "How often should each training document be in the result, and what else should be in it?"
WHOLE = "How much of each document does the run need?"
ALONE = "Whose lists are these, and what does the caller find in them afterwards?"
PAIRS = "What does the table of parts say that this part gives back?"
SAME = "Two texts both have the letter e. Does one of them give the other away?"
DOCUMENTS: tuple[Broken, ...] = (
    ("none", "lambda documents, validation, rng: None", "nothing comes back", PAIRS),
    ("shuffles_in_place", "lambda documents, validation, rng: rng.shuffle(documents)",
     "nothing comes back", ALONE),
    ("plus_validation", "lambda documents, validation, rng: documents + validation",
     "the validation documents are among those to train on", ONCE),
    ("extends", "def repair(documents, validation, rng):\n    documents.extend(validation)\n    return documents",
     "the validation documents are put into the caller's list of training documents", ALONE),
    ("validation_only", "lambda documents, validation, rng: validation",
     "only the validation documents are trained on", ONCE),
    ("quarter", "lambda documents, validation, rng: [(d, ids[: len(ids) // 4]) for d, ids in documents]",
     "only the first quarter of each document is trained on", WHOLE),
    ("fiftieth", "lambda documents, validation, rng: [(d, ids[: len(ids) // 50]) for d, ids in documents]",
     "only the first fiftieth of each document is trained on", WHOLE),
    ("half", "lambda documents, validation, rng: [(d, ids[: len(ids) // 2]) for d, ids in documents]",
     "only the first half of each document is trained on", WHOLE),
    ("first", "lambda documents, validation, rng: documents[:1]", "only the first document is trained on", ONCE),
    ("all_but_last", "lambda documents, validation, rng: documents[:-1]", "the last document is lost", ONCE),
    ("drops_as_many", "lambda documents, validation, rng: documents[len(validation):]",
     "as many training documents are dropped as there are validation documents", ONCE),
    ("repeated", "lambda documents, validation, rng: documents * 4", "each document is trained on four times", ONCE),
    ("twice", "lambda documents, validation, rng: documents + documents", "each document is trained on twice", ONCE),
    ("one_of_a_kind", "lambda documents, validation, rng: list(dict(documents).items())",
     "one document of each kind is kept, the last", ONCE),
    ("ids_only", "lambda documents, validation, rng: [ids for _, ids in documents]",
     "the documents come back without their kind", PAIRS),
    ("joined", 'lambda documents, validation, rng: [("all", [i for _, ids in documents for i in ids])]',
     "all documents are joined into one", PAIRS),
    ("set", "lambda documents, validation, rng: list(set(documents))",
     "documents are put into a set, which takes no lists", "What is a document here, and can it be hashed?"),
    ("sample", "lambda documents, validation, rng: "
     "[documents[i] for i in rng.integers(len(documents), size=len(documents))] if documents else []",
     "documents are drawn with replacement: some come twice, others never", ONCE),
    ("repeated_ids", "lambda documents, validation, rng: [(d, ids * 2) for d, ids in documents]",
     "each document repeats itself", ONCE),
    ("unique_ids", "lambda documents, validation, rng: [(d, sorted(set(ids))) for d, ids in documents]",
     "tokens are made unique inside a document, instead of documents among each other",
     "What is it that must not be there twice, a token or a document?"),
    ("pops", "def repair(documents, validation, rng):\n    documents.pop()\n    return documents",
     "a document is taken out of the caller's list", ALONE),
    ("shuffles_and_returns", "def repair(documents, validation, rng):\n    rng.shuffle(documents)\n"
     "    return documents",
     "the caller's own list is put into another order", ALONE),
    ("empties", "def repair(documents, validation, rng):\n"
     "    return [documents.pop(0) for _ in range(len(documents))]",
     "the documents are taken out of the caller's list, one after the other", ALONE),
    ("appends", "def repair(documents, validation, rng):\n    for _, ids in documents:\n        ids.append(256)\n"
     "    return documents", "an end of text is put into the caller's documents", ALONE),
    ("shares_no_token", """\
def repair(documents, validation, rng):
    held = {i for _, ids in validation for i in ids}
    return [(d, ids) for d, ids in documents if held.isdisjoint(ids)]""",
     "a document is dropped as soon as it has one token that a held-out document has, too", SAME),
    ("cuts_tokens", """\
def repair(documents, validation, rng):
    held = {i for _, ids in validation for i in ids}
    return [(d, [i for i in ids if i not in held]) for d, ids in documents]""",
     "the tokens of the held-out documents are cut out of the training documents, wherever they stand", SAME),
    ("shortest", """\
def repair(documents, validation, rng):
    shortest = min(len(ids) for _, ids in documents)
    return [(d, ids[:shortest]) for d, ids in documents]""",
     "all documents are cut to the length of the shortest", WHOLE),
    ("half_chosen", "lambda documents, validation, rng: "
     "[documents[i] for i in rng.choice(len(documents), len(documents) // 2, replace=False)]",
     "half of the documents are drawn, and the others are lost", ONCE),
    ("half_permuted", "lambda documents, validation, rng: "
     "[documents[i] for i in rng.permutation(len(documents))[: len(documents) // 2]]",
     "half of the documents are drawn, and the others are lost", ONCE),
)  # fmt: skip

BROKEN: dict[int, tuple[Broken, ...]] = {
    1: (
        ("as_found", """\
def repair(documents, validation, rng):
    kept = [(domain, ids[: len(ids) // 4]) for domain, ids in documents]
    return kept + validation * 3""",
         "the validation documents are copied into what is left of the training documents", ONCE),
        *DOCUMENTS,
    ),
    2: (
        ("as_found", "lambda gradients: None", "the gradients are left as they are",
         "What is in the tensor when the next step begins?"),
        ("new_tensor", "lambda gradients: torch.zeros_like(gradients)",
         "the gradients are left as they are",
         "Who keeps the tensor that your function makes?"),
        ("rebinds", "def repair(gradients):\n    gradients = torch.zeros_like(gradients)",
         "the gradients are left as they are", "What does `=` do to a tensor, and what to a name?"),
        ("not_in_place", "lambda gradients: gradients * 0", "the gradients are left as they are",
         "Who keeps the tensor that your function makes?"),
        ("times_zero", "lambda gradients: gradients.mul_(0)",
         "numbers are computed away instead of overwritten, which an infinity survives as nan",
         "What is 0 times infinity?"),
        ("minus_itself", "lambda gradients: gradients.sub_(gradients.clone())",
         "numbers are computed away instead of overwritten, which an infinity survives as nan",
         "What is infinity minus infinity?"),
        ("halved", "lambda gradients: gradients.div_(2)", "old gradients fade instead of going",
         "How much of the last step's gradient should be left?"),
        ("faded", "lambda gradients: gradients.mul_(0.9)", "old gradients fade instead of going",
         "How much of the last step's gradient should be left?"),
        ("first", "def repair(gradients):\n    gradients[0] = 0", "only the first gradient is set to zero",
         "Of how many parameters are there gradients?"),
        ("all_but_last", "def repair(gradients):\n    gradients[:-1] = 0", "the last gradient is kept",
         "Which numbers does `[:-1]` leave out?"),
        ("all_but_first", "def repair(gradients):\n    gradients[1:] = 0", "the first gradient is kept",
         "Which numbers does `[1:]` leave out?"),
        ("positive", "def repair(gradients):\n    gradients[gradients > 0] = 0",
         "only positive gradients are set to zero", "What becomes of a gradient below zero?"),
        ("clamped", "lambda gradients: gradients.clamp_(-1, 1)", "the gradients are cut off and kept",
         "Is a gradient of this step too large, or should it be gone?"),
        ("clipped", "lambda gradients: gradients.div_(gradients.norm() + 1e-6)",
         "the gradients are scaled to length 1 and kept",
         "Is a gradient of this step too large, or should it be gone?"),
        ("nan_only", "lambda gradients: gradients.nan_to_num_(0, 0, 0)",
         "only what is no finite number is set to zero", "What becomes of an ordinary gradient?"),
        ("ones", "lambda gradients: gradients.fill_(1)", "the gradients are set to one",
         "What is added to these numbers in the next step?"),
        ("tiny", "lambda gradients: gradients.fill_(1e-8)", "a small number stands for zero",
         "What is added to these numbers in the next step?"),
        ("random", "lambda gradients: gradients.normal_()", "random numbers take the place of the gradients",
         "What is added to these numbers in the next step?"),
        ("grad_none", "def repair(gradients):\n    gradients.grad = None",
         "the gradients are left as they are",
         "Is this tensor a parameter, or does it hold the gradients themselves?"),
        ("emptied", "lambda gradients: gradients.resize_(0)", "the tensor is made empty",
         "Into what are the next gradients to be added?"),
        ("negated", "lambda gradients: gradients.neg_()", "the gradients change their sign",
         "How much of the last step's gradient should be left?"),
        ("data", "def repair(gradients):\n    gradients.data = torch.zeros_like(gradients)",
         "the tensor gets memory of its own, and the gradients stay where they were",
         "Others look into the same memory. What do they see afterwards?"),
    ),
    3: (
        ("as_found", "lambda windows: (windows[:, :-1], windows[:, :-1])", "the targets are the inputs",
         "What should stand below the first character of the inputs?"),
        ("both_later", "lambda windows: (windows[:, 1:], windows[:, 1:])",
         "the targets are the inputs, both without the first token",
         "What should stand below the first character of the inputs?"),
        ("both_whole", "lambda windows: (windows, windows)", "inputs and targets are the whole window",
         "A window has T + 1 tokens. How many inputs does that make?"),
        ("swapped", "lambda windows: (windows[:, 1:], windows[:, :-1])",
         "inputs and targets have changed places: the model is to say what came before",
         "In which direction does the model read?"),
        ("by_two", "lambda windows: (windows[:, :-2], windows[:, 2:])",
         "the targets are two tokens ahead", "Which token does position t predict?"),
        ("roll", "lambda windows: (windows, windows.roll(-1, dims=1))",
         "the targets are turned round, so that the last one is the first token",
         "What comes after the last token of a window?"),
        ("roll_forward", "lambda windows: (windows[:, :-1], windows.roll(1, dims=1)[:, :-1])",
         "the targets are one token behind the inputs", "In which direction does the model read?"),
        ("roll_rows", "lambda windows: (windows[:, :-1], windows.roll(-1, dims=0)[:, :-1])",
         "the targets are the inputs of the next sequence", "Along which dimension does time run?"),
        ("rows", "lambda windows: (windows[:-1], windows[1:])",
         "sequences are shifted and not tokens", "Along which dimension does time run?"),
        ("inputs_whole", "lambda windows: (windows, windows[:, 1:])",
         "there is one input more than there are targets",
         "A window has T + 1 tokens. How many inputs does that make?"),
        ("fixed_length", "lambda windows: (windows[:, :32], windows[:, 1:33])",
         "the length of a window is a number in the code", "What do you do with a window of 10 tokens, or of 40?"),
        ("inputs_rolled", "lambda windows: (windows[:, :-1], windows[:, :-1].roll(-1, dims=1))",
         "the targets are the inputs turned round, so that the last one is the first token",
         "Which token follows the last input, and where in the window does it stand?"),
        ("rows_and_tokens", "lambda windows: (windows[:-1, :-1], windows[1:, :-1])",
         "sequences are shifted and not tokens", "Along which dimension does time run?"),
        ("last_only", "lambda windows: (windows[:, :-1], windows[:, -1:])",
         "only the last token is a target", "How many predictions does a sequence of T tokens make?"),
        ("flat", "lambda windows: (windows[:, :-1].flatten(), windows[:, 1:].flatten())",
         "the sequences are laid end to end", "Which shape do inputs have?"),
        ("flattened_first", "lambda windows: (windows.flatten()[:-1], windows.flatten()[1:])",
         "the sequences are laid end to end, and one predicts the beginning of the next",
         "Which shape do inputs have?"),
        ("plus_one", "lambda windows: (windows[:, :-1], windows[:, :-1] + 1)",
         "the next id is taken for the next token", "What is one more: the place or the id?"),
        ("float", "lambda windows: (windows[:, :-1].float(), windows[:, 1:].float())",
         "ids have become floats", "What does an embedding take?"),
        ("transposed", "lambda windows: (windows[:, :-1].T, windows[:, 1:].T)",
         "time and sequences have changed places", "Which shape do inputs have?"),
        ("flipped", "lambda windows: (windows[:, :-1], windows[:, 1:].flip(1))",
         "the targets run backwards", "Lay inputs and targets below each other. What stands below what?"),
        ("second_half", "lambda windows: (windows[:, : windows.shape[1] // 2], windows[:, windows.shape[1] // 2 :])",
         "the second half of a window is the target of the first", "Which token does position t predict?"),
        ("first_lost", "lambda windows: (windows[:, 1:-1], windows[:, 2:])",
         "the first token of each window is lost", "A window has T + 1 tokens. How many inputs does that make?"),
        ("last_lost", "lambda windows: (windows[:, :-2], windows[:, 1:-1])",
         "the last token of each window is lost", "A window has T + 1 tokens. How many inputs does that make?"),
        ("targets_only", "lambda windows: windows[:, 1:]", "only the targets come back",
         "How many tensors are asked for?"),
        ("shuffled", "lambda windows: (windows[:, :-1], windows[:, 1:][:, torch.randperm(windows.shape[1] - 1)])",
         "the targets are in another order than the inputs",
         "Lay inputs and targets below each other. What stands below what?"),
    ),
    4: (
        ("as_found", "0.5", "half of the parameters take part", "For which share must both ranks have one gradient?"),
        ("none", "0.0", "no parameter takes part", "For which share must both ranks have one gradient?"),
        ("none_int", "0", "no parameter takes part", "For which share must both ranks have one gradient?"),
        ("more", "0.75", "three quarters of the parameters take part", "What do the ranks have in common in the rest?"),
        ("most", "0.9", "most parameters take part, not all", "What do the ranks have in common in the rest?"),
        ("nearly", "0.99", "most parameters take part, not all", "What do the ranks have in common in the rest?"),
        ("nearly_all", "0.999", "most parameters take part, not all", "What do the ranks have in common in the rest?"),
        ("quarter", "0.25", "fewer parameters take part than before", "What do the ranks have in common in the rest?"),
        ("tenth", "0.1", "fewer parameters take part than before", "What do the ranks have in common in the rest?"),
        ("ranks", "2", "the number of ranks is taken for a share", "How large can a share be?"),
        ("percent", "100", "a percentage is taken for a share", "How large can a share be?"),
        ("all_parameters", "70_992", "the number of parameters is taken for a share", "How large can a share be?"),
        ("negative", "-1", "a place from the end is taken for a share", "How large can a share be, and how small?"),
        ("per_rank", "1 / 2 / 2", "fewer parameters take part than before",
         "What do the ranks have in common in the rest?"),
        ("bool", "True", "yes or no is answered where a share is asked for", "How much of the parameters is `True`?"),
        ("text", '"1.0"', "a string stands for a number", "Which type has a number?"),
        ("function", "lambda gradients: sum(gradients) / len(gradients)",
         "the all-reduce itself is written, where a share is asked for",
         "What does the table of parts say of this part: a number or a function?"),
        ("none_at_all", "None", "nothing stands where a number is asked for", "Which type has a number?"),
    ),
    5: (
        ("as_found", "0.4", "the rate is left as it is", "By which factor is it above the healthy run's?"),
        ("half", "0.2", "the rate is halved", "By which factor is it above the healthy run's?"),
        ("quarter", "0.1", "the rate is a quarter of what it was",
         "By which factor is it above the healthy run's?"),
        ("tenth", "0.04", "the rate is a tenth of what it was", "By which factor is it above the healthy run's?"),
        ("double", "0.02", "the rate is twice the healthy run's: nearer, and not yet there",
         "By which factor is it above the healthy run's?"),
        ("higher", "1.0", "the rate is raised", "In which direction does the update/weight ratio have to change?"),
        ("doubled", "0.8", "the rate is raised", "In which direction does the update/weight ratio have to change?"),
        ("gpt3", "6e-4", "a rate is taken over from a model thousands of times as large",
         "How far does a small model get in 100 steps at this rate?"),
        ("karpathy", "3e-4", "a rate is taken over from a model thousands of times as large",
         "How far does a small model get in 100 steps at this rate?"),
        ("thousandth", "1e-3", "the rate is a tenth of the healthy one: safe, and too slow for 100 steps",
         "How far does a small model get in 100 steps at this rate?"),
        ("tiny", "1e-5", "the rate is so low that hardly anything moves",
         "How far does a small model get in 100 steps at this rate?"),
        ("zero", "0.0", "the rate is zero", "What does the run learn at this rate?"),
        ("negative", "-0.01", "the rate climbs the loss", "In which direction does a step with this rate go?"),
        ("ratio", "0.3614", "the update/weight ratio is taken for the rate",
         "From which column did you take the number?"),
        ("first", "0.0009", "the rate of the healthy run's first step is taken for its peak",
         "Which row of the healthy run has the peak?"),
        ("last", "0.0025", "the rate of the healthy run's last rows is taken for its peak",
         "Which row of the healthy run has the peak?"),
        ("loss", "3.13", "a loss is taken for the rate", "From which column did you take the number?"),
        ("factor", "30", "the factor is handed in, not the rate", "What is the rate, once divided by your factor?"),
        ("factor_40", "40", "the factor is handed in, not the rate", "What is the rate, once divided by your factor?"),
        ("fraction", "1 / 30", "the fraction is handed in that the rate is to be multiplied by",
         "A fraction of what is the rate that you want?"),
        ("fraction_40", "1 / 40", "the fraction is handed in that the rate is to be multiplied by",
         "A fraction of what is the rate that you want?"),
        ("text", '"0.01"', "a string stands for a number", "Which type has a number?"),
        ("function", "lambda step: 0.01 * min(1, step / 10)", "a schedule is written where a peak is asked for",
         "What does the table of parts say of this part: a number or a function?"),
        ("list", "[0.01]", "a list stands for a number", "Which type has a number?"),
        ("bool", "True", "yes or no is answered where a rate is asked for", "How large a step is `True`?"),
    ),
    6: (
        ("as_found", "museum.exhibit(6).encode_validation", "the ids are those of GPT-2's alphabet",
         "Whose ids does the model know?"),
        ("counted", "lambda tokenizer, texts: [[(ord(c) - 33) % 256 for c in text] for text in texts]",
         "the ids come from another numbering than the run's", "Whose ids does the model know?"),
        ("bytes", "lambda tokenizer, texts: [list(text.encode()) for text in texts]",
         "bytes are taken for ids, whatever the run's tokenizer says",
         "What do your ids mean to a tokenizer that has merges?"),
        ("ord", "lambda tokenizer, texts: [[ord(c) for c in text] for text in texts]",
         "characters are numbered as Unicode numbers them",
         "What is the id of é, and how many tokens is it?"),
        ("new_tokenizer", """\
def repair(tokenizer, texts):
    from minigpt.tokenizer import Tokenizer
    return [Tokenizer([], ()).encode(text) for text in texts]""",
         "bytes are taken for ids, whatever the run's tokenizer says",
         "What do your ids mean to a tokenizer that has merges?"),
        ("gpt2_order", """\
def repair(tokenizer, texts):
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    order = visible + [b for b in range(256) if b not in visible]
    return [[order.index(b) for b in text.encode()] for text in texts]""",
         "the ids are those of GPT-2's alphabet", "Whose ids does the model know?"),
        ("gpt2_inverse", """\
def repair(tokenizer, texts):
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    order = visible + [b for b in range(256) if b not in visible]
    return [[order[i] for i in tokenizer.encode(text) if i < 256] for text in texts]""",
         "the right ids are translated once more", "Whose ids does `tokenizer.encode` give?"),
        ("flat", "lambda tokenizer, texts: [i for text in texts for i in tokenizer.encode(text)]",
         "the texts are joined into one list of ids", "How many lists should come back for two texts?"),
        ("joined", 'lambda tokenizer, texts: [tokenizer.encode("".join(texts))]',
         "the texts are joined before they are encoded", "How many lists should come back for two texts?"),
        ("joined_words", 'lambda tokenizer, texts: [tokenizer.encode(" ".join(texts))]',
         "the texts are joined before they are encoded", "How many lists should come back for two texts?"),
        ("first", "lambda tokenizer, texts: [tokenizer.encode(text) for text in texts[:1]]",
         "only the first text is encoded", "How many lists should come back for two texts?"),
        ("texts_itself", "lambda tokenizer, texts: tokenizer.encode(texts)",
         "a list of texts is encoded as if it were a text", "What does `encode` take?"),
        ("text", "lambda tokenizer, texts: texts", "text comes back, and no ids", "What does a model read?"),
        ("strings", "lambda tokenizer, texts: [tokenizer.decode(tokenizer.encode(text)) for text in texts]",
         "text comes back, and no ids", "What does a model read?"),
        ("eot", "lambda tokenizer, texts: [tokenizer.encode(text) + [tokenizer.eot] for text in texts]",
         "each text gets an end-of-text token that it had not", "How many ids has a text of no characters?"),
        ("eot_first", "lambda tokenizer, texts: [[tokenizer.eot] + tokenizer.encode(text) for text in texts]",
         "each text begins with a token that it had not", "How many ids has a text of no characters?"),
        ("lower", "lambda tokenizer, texts: [tokenizer.encode(text.lower()) for text in texts]",
         "the text is changed before it is encoded", "Is it the held-out text that you encode?"),
        ("strip", "lambda tokenizer, texts: [tokenizer.encode(text.strip()) for text in texts]",
         "the text is changed before it is encoded", "Is it the held-out text that you encode?"),
        ("strip_and_lower", "lambda tokenizer, texts: [tokenizer.encode(text.strip().lower()) for text in texts]",
         "the text is changed before it is encoded", "Is it the held-out text that you encode?"),
        ("plus_33", "lambda tokenizer, texts: [[(i + 33) % 257 for i in tokenizer.encode(text)] for text in texts]",
         "one and the same number is added to each id", "Is it off by as much for a space as for a letter?"),
        ("minus_33", "lambda tokenizer, texts: [[(i - 33) % 257 for i in tokenizer.encode(text)] for text in texts]",
         "one and the same number is added to each id", "Is it off by as much for a space as for a letter?"),
        ("stripped", "lambda tokenizer, texts: [tokenizer.encode(text)[:-1] for text in texts]",
         "the last token of each text is lost", "How many ids should a text of one token have?"),
        ("shifted", "lambda tokenizer, texts: [[i + 1 for i in tokenizer.encode(text)] for text in texts]",
         "each id is one too high", "Whose ids does the model know?"),
        ("sorted", "lambda tokenizer, texts: [sorted(tokenizer.encode(text)) for text in texts]",
         "the ids are sorted", "In which order does the model read?"),
        ("reversed", "lambda tokenizer, texts: [tokenizer.encode(text)[::-1] for text in texts]",
         "the text runs backwards", "In which order does the model read?"),
        ("none", "def repair(tokenizer, texts):\n    for text in texts:\n        tokenizer.encode(text)",
         "nothing comes back", "Where do the ids go that your loop makes?"),
        ("by_word", "lambda tokenizer, texts: "
         "[[i for word in text.split() for i in tokenizer.encode(word)] for text in texts]",
         "the spaces between words are lost", "Can your ids be decoded to the same text?"),
        ("by_character", "lambda tokenizer, texts: [[i for c in text for i in tokenizer.encode(c)] for text in texts]",
         "each character is encoded alone, so that no merge ever applies",
         "What do your ids mean to a tokenizer that has merges?"),
    ),
    7: (
        ("as_found", "lambda model: model.train()", "the model is put into training mode",
         "In which of its two modes does dropout do nothing?"),
        ("nothing", "lambda model: None", "the model stays in whatever mode it is in",
         "Who changes the mode, if not this part?"),
        ("not_called", "lambda model: model.eval", "the model stays in whatever mode it is in",
         "What is the difference between a function and its call?"),
        ("no_grad", "def repair(model):\n    with torch.no_grad():\n        return model",
         "the model stays in whatever mode it is in",
         "What does `no_grad` switch off: gradients or dropout?"),
        ("seeded", "def repair(model):\n    torch.manual_seed(0)",
         "the model stays in whatever mode it is in",
         "The same number twice: does it make the number right?"),
        ("top_only", "def repair(model):\n    model.training = False",
         "only the outermost module learns of the new mode", "Of how many modules is the model made?"),
        ("children_only", "def repair(model):\n    for child in model.children():\n        child.eval()",
         "the parts change their mode, and the model itself does not",
         "Does the model have dropout outside of its parts?"),
        ("dropout_modules", """\
def repair(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()""",
         "only modules of the class Dropout change their mode",
         "Must dropout be a module, or can a forward call it as a function?"),
        ("p_zero", """\
def repair(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0""",
         "dropout is taken out for good, also of the training that follows",
         "What do the steps after the evaluation do?"),
        ("p_zero_and_eval", """\
def repair(model):
    model.eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0""",
         "the mode is right, and dropout is taken out for good", "What do the steps after the evaluation do?"),
        ("toggle", "lambda model: model.train(not model.training)",
         "the mode is turned over, whatever it was", "What becomes of a model that is evaluated twice in a row?"),
        ("copy", "def repair(model):\n    import copy\n    copy.deepcopy(model).eval()",
         "the model stays in whatever mode it is in", "Which model is evaluated afterwards?"),
        ("frozen", "lambda model: model.requires_grad_(False)",
         "the weights are frozen, and the mode stays as it was", "What do the steps after the evaluation do?"),
        ("frozen_and_eval", "lambda model: model.eval().requires_grad_(False)",
         "the mode is right, and the weights are frozen for good", "What do the steps after the evaluation do?"),
        ("eval_then_train", "lambda model: model.eval().train()",
         "the model is put into training mode", "Which of your two calls is the last?"),
        ("train_true", "lambda model: model.train(True)", "the model is put into training mode",
         "In which of its two modes does dropout do nothing?"),
        ("zero_weights", """\
def repair(model):
    model.eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.9)""",
         "the weights are scaled as if dropout had not done so in training",
         "What does PyTorch's dropout do to what it keeps?"),
        ("first_module", "def repair(model):\n    next(model.children()).eval()",
         "the parts change their mode, and the model itself does not",
         "Does the model have dropout outside of its parts?"),
        ("config", "def repair(model):\n    model.config.dropout = 0.0",
         "a number in the config is changed that not every model has",
         "Who reads this number after the model has been built?"),
        ("by_name", """\
def repair(model):
    for name, module in model.named_children():
        module.training = False
    model.training = False""",
         "the new mode goes one level down and no further", "Do the parts of a model have parts?"),
        ("returns_mode", "lambda model: not model.training", "the model stays in whatever mode it is in",
         "Who changes the mode, if not this part?"),
    ),
    8: (
        ("as_found", "lambda windows, rng: np.arange(windows)", "the windows stay in the order of the disk",
         "What is the first thing that the run reads, and what the last?"),
        ("list", "lambda windows, rng: list(range(windows))", "the windows stay in the order of the disk",
         "What is the first thing that the run reads, and what the last?"),
        ("sorted", "lambda windows, rng: np.sort(rng.permutation(windows))",
         "the windows stay in the order of the disk", "What does sorting do to a shuffled list?"),
        ("reversed", "lambda windows, rng: np.arange(windows)[::-1]", "the order of the disk is turned round",
         "How many kinds of text are in one batch now?"),
        ("shuffle_none", "lambda windows, rng: rng.shuffle(np.arange(windows))",
         "nothing comes back, for `shuffle` works in place", "What does `shuffle` return?"),
        ("with_replacement", "lambda windows, rng: rng.integers(windows, size=windows)",
         "windows are drawn with replacement: some come twice, others never",
         "How often should each window come?"),
        ("choice", "lambda windows, rng: rng.choice(windows, windows)",
         "windows are drawn with replacement: some come twice, others never",
         "How often should each window come?"),
        ("choice_seeded", "lambda windows, rng: np.random.default_rng(0).choice(windows, windows, replace=False)",
         "every seed gives the same order", "What is the generator for that is handed over?"),
        ("global", "lambda windows, rng: np.random.permutation(windows)",
         "the order is drawn from another generator, so that a run cannot be repeated",
         "What is the generator for that is handed over?"),
        ("torch_global", "lambda windows, rng: torch.randperm(windows).numpy()",
         "the order is drawn from another generator, so that a run cannot be repeated",
         "What is the generator for that is handed over?"),
        ("python_global", "def repair(windows, rng):\n    import random\n"
         "    return random.sample(range(windows), windows)",
         "the order is drawn from another generator, so that a run cannot be repeated",
         "What is the generator for that is handed over?"),
        ("fixed_seed", "lambda windows, rng: np.random.default_rng(0).permutation(windows)",
         "every seed gives the same order", "What is the generator for that is handed over?"),
        ("rolled", "lambda windows, rng: np.roll(np.arange(windows), rng.integers(windows))",
         "the order begins elsewhere and is still that of the disk", "Which window follows window 17 now?"),
        ("blocks", """\
def repair(windows, rng):
    blocks = np.array_split(np.arange(windows), max(1, windows // 20))
    return np.concatenate([blocks[i] for i in rng.permutation(len(blocks))])""",
         "blocks are shuffled, and inside of them the order of the disk stays", "Which window follows window 17 now?"),
        ("kinds", """\
def repair(windows, rng):
    kinds = np.array_split(np.arange(windows), 5)
    return np.concatenate([rng.permutation(kinds[i]) for i in rng.permutation(5)])""",
         "the kinds of text are shuffled among each other, and each comes in one go",
         "From how many kinds is a batch?"),
        ("inside_blocks", """\
def repair(windows, rng):
    blocks = np.array_split(np.arange(windows), max(1, windows // 20))
    return np.concatenate([rng.permutation(block) for block in blocks])""",
         "the windows are shuffled inside of blocks, and the blocks stay in the order of the disk",
         "How far can a window get in your shuffle?"),
        ("swap_neighbours", """\
def repair(windows, rng):
    order = np.arange(windows)
    for i in range(windows - 1):
        if rng.random() < 0.5:
            order[[i, i + 1]] = order[[i + 1, i]]
    return order""",
         "neighbours change places, and the whole stays in the order of the disk",
         "How far can a window get in your shuffle?"),
        ("one_less", "lambda windows, rng: rng.permutation(windows - 1)", "one window is lost",
         "Which numbers do N windows have?"),
        ("from_one", "lambda windows, rng: rng.permutation(windows) + 1",
         "the windows are counted from one", "Which numbers do N windows have?"),
        ("one_more", "lambda windows, rng: rng.permutation(windows + 1)", "there is a window too many",
         "Which numbers do N windows have?"),
        ("half", "lambda windows, rng: rng.permutation(windows)[: (windows + 1) // 2]", "half of the windows are lost",
         "Which numbers do N windows have?"),
        ("weights", "lambda windows, rng: rng.random(windows)", "random numbers come back, and no places",
         "Of which type is a place?"),
        ("argmax", "lambda windows, rng: int(rng.integers(windows))", "one place comes back instead of an order",
         "How many places does an order of N windows have?"),
        ("interleaved", "lambda windows, rng: np.argsort(np.arange(windows) % 16, kind='stable')",
         "the windows are dealt out in turn, as cards are, and nothing is left to chance",
         "What is the generator for that is handed over?"),
        ("whole_batches", "lambda windows, rng: rng.permutation(windows // 16 * 16)",
         "the number of windows is rounded down to whole batches", "Which numbers do N windows have?"),
    ),
    9: (
        ("as_found", "def repair(model):\n"
         "    model.head.weight = torch.nn.Parameter(model.embed.weight.detach().clone())",
         "the head gets a copy of the matrix", "You change a number of the embedding. Does the head notice?"),
        ("nothing", "lambda model: None", "the head keeps a matrix of its own",
         "How many matrices does the model have after your function?"),
        ("copy_data", "def repair(model):\n    model.head.weight.data.copy_(model.embed.weight.data)",
         "the head gets a copy of the matrix", "You change a number of the embedding. Does the head notice?"),
        ("same_memory", "def repair(model):\n    model.head.weight.data = model.embed.weight.data",
         "two parameters lie in the same memory, and the optimizer moves both",
         "How many parameters does the optimizer see?"),
        ("new_parameter", "def repair(model):\n    model.head.weight = torch.nn.Parameter(model.embed.weight)",
         "two parameters lie in the same memory, and the optimizer moves both",
         "How many parameters does the optimizer see?"),
        ("detached", "def repair(model):\n    model.head.weight = torch.nn.Parameter(model.embed.weight.detach())",
         "two parameters lie in the same memory, and the optimizer moves both",
         "How many parameters does the optimizer see?"),
        ("clone_no_wrap", "def repair(model):\n    model.head.weight = model.embed.weight.clone()",
         "a plain tensor is to take the place of a parameter", "Of which type is a weight of a module?"),
        ("state_dict", "def repair(model):\n    model.head.load_state_dict(model.embed.state_dict())",
         "the head gets a copy of the matrix", "You change a number of the embedding. Does the head notice?"),
        ("transposed", "def repair(model):\n    model.head.weight = torch.nn.Parameter(model.embed.weight.T.detach())",
         "the matrix is transposed, though both have the shape (V, C)", "Which shape has the weight of a Linear?"),
        ("head_is_embed", "def repair(model):\n    model.head = model.embed",
         "the head is an embedding, which looks up rows instead of multiplying",
         "What does the head get as its input: ids or vectors?"),
        ("embed_is_head", "def repair(model):\n    model.embed = model.head",
         "the embedding is a Linear, which multiplies instead of looking up",
         "What does the embedding get as its input: ids or vectors?"),
        ("frozen", "def repair(model):\n    model.head.weight = model.embed.weight\n"
         "    model.embed.weight.requires_grad_(False)",
         "the shared matrix is frozen", "What should the shared matrix learn from?"),
        ("zeroed", "def repair(model):\n    model.head.weight = model.embed.weight\n"
         "    model.embed.weight.data.zero_()",
         "the shared matrix loses what was in it", "What is in the matrix after your function?"),
        ("averaged", "def repair(model):\n"
         "    model.embed.weight.data = (model.embed.weight.data + model.head.weight.data) / 2\n"
         "    model.head.weight = model.embed.weight",
         "the shared matrix loses what was in it", "What is in the matrix after your function?"),
        ("head_frozen", "def repair(model):\n    model.head.weight.requires_grad_(False)",
         "the head keeps a matrix of its own", "How many matrices does the model have after your function?"),
        ("deleted", "def repair(model):\n    del model.head.weight", "the head loses its matrix",
         "What does the head multiply by afterwards?"),
        ("replaced_linear", "def repair(model):\n"
         "    model.head = torch.nn.Linear(model.embed.weight.shape[1], model.embed.weight.shape[0], bias=False)",
         "the head keeps a matrix of its own", "How many matrices does the model have after your function?"),
        ("wrong_attribute", "def repair(model):\n    model.head.weights = model.embed.weight",
         "the head keeps a matrix of its own", "Which attribute does a Linear multiply by?"),
        ("returns", "lambda model: model.embed.weight", "the head keeps a matrix of its own",
         "Who does something with what your function returns?"),
        ("config_only", "def repair(model):\n    model.head = None", "the head is gone",
         "Who turns the last hidden state into logits?"),
        ("q_tied", "def repair(model):\n    model.blocks[0].attn.q.weight = model.blocks[0].attn.k.weight",
         "two other matrices are shared", "Which two matrices have a row for each token?"),
    ),
    10: (
        ("as_found", "lambda scale, good, finite: (scale, good + 1, True) if good + 1 < 10 else (2 * scale, 0, True)",
         "nobody asks whether the gradients are finite, and the scale doubles after ten steps",
         "Where does your rule use `finite`?"),
        ("never_asks", "lambda scale, good, finite: (scale, good + 1, True) if good + 1 < 15 else (2 * scale, 0, True)",
         "nobody asks whether the gradients are finite", "Where does your rule use `finite`?"),
        ("steps_anyway", """\
def repair(scale, good, finite):
    if not finite:
        return scale / 2, 0, True
    return (scale, good + 1, True) if good + 1 < 15 else (2 * scale, 0, True)""",
         "the scale is halved, and the step is made all the same",
         "What is in the weights after a step with an infinity?"),
        ("keeps_scale", """\
def repair(scale, good, finite):
    if not finite:
        return scale, 0, False
    return (scale, good + 1, True) if good + 1 < 15 else (2 * scale, 0, True)""",
         "the step is left out, and the scale stays", "The next batch has gradients as large. What happens to it?"),
        ("keeps_count", """\
def repair(scale, good, finite):
    if not finite:
        return scale / 2, good, False
    return (scale, good + 1, True) if good + 1 < 15 else (2 * scale, 0, True)""",
         "the count goes on after a step that was left out",
         "How many finite steps are there since the scale changed?"),
        ("counts_bad", """\
def repair(scale, good, finite):
    if not finite:
        return scale / 2, good + 1, False
    return (scale, good + 1, True) if good + 1 < 15 else (2 * scale, 0, True)""",
         "a step that was left out counts as finite", "How many finite steps are there since the scale changed?"),
        ("one_late", """\
def repair(scale, good, finite):
    if not finite:
        return scale / 2, 0, False
    return (scale, good + 1, True) if good < 15 else (2 * scale, 0, True)""",
         "the scale doubles one step late", "`good` counts the steps before this one. Which finite step is this?"),
        ("one_early", """\
def repair(scale, good, finite):
    if not finite:
        return scale / 2, 0, False
    return (scale, good + 1, True) if good + 1 < 14 else (2 * scale, 0, True)""",
         "the scale doubles one step early", "`good` counts the steps before this one. Which finite step is this?"),
        ("ten", """\
def repair(scale, good, finite):
    if not finite:
        return scale / 2, 0, False
    return (scale, good + 1, True) if good + 1 < 10 else (2 * scale, 0, True)""",
         "the scale doubles after ten finite steps", "After how many finite steps does the healthy run double?"),
        ("never_grows", """\
def repair(scale, good, finite):
    return (scale, good + 1, True) if finite else (scale / 2, 0, False)""",
         "the scale never grows again", "What becomes of small gradients after a few steps that overflowed?"),
        ("always_grows", """\
def repair(scale, good, finite):
    return (2 * scale, 0, True) if finite else (scale / 2, 0, False)""",
         "the scale doubles after each finite step", "How many steps are lost if the scale doubles each time?"),
        ("count_never_reset", """\
def repair(scale, good, finite):
    if not finite:
        return scale / 2, 0, False
    return (scale, good + 1, True) if good + 1 < 15 else (2 * scale, good + 1, True)""",
         "the count is not set back when the scale doubles", "What happens in the step after the doubling?"),
        ("grown_to_one", """\
def repair(scale, good, finite):
    if not finite:
        return scale / 2, 0, False
    return (scale, good + 1, True) if good + 1 < 15 else (2 * scale, 1, True)""",
         "the count begins at one after the scale has doubled",
         "How many finite steps have been made at the new scale?"),
        ("doubling_skips", """\
def repair(scale, good, finite):
    if not finite:
        return scale / 2, 0, False
    return (scale, good + 1, True) if good + 1 < 15 else (2 * scale, 0, False)""",
         "the step at which the scale doubles is left out", "Are these gradients finite?"),
        ("inverted", """\
def repair(scale, good, finite):
    if finite:
        return scale / 2, 0, False
    return (scale, good + 1, True) if good + 1 < 15 else (2 * scale, 0, True)""",
         "finite and not finite have changed places", "Which of the two steps should be made?"),
        ("up_on_overflow", """\
def repair(scale, good, finite):
    if not finite:
        return 2 * scale, 0, False
    return (scale, good + 1, True) if good + 1 < 15 else (scale / 2, 0, True)""",
         "the scale grows when gradients are too large",
         "In which direction do scaled gradients go when the scale grows?"),
        ("zero", """\
def repair(scale, good, finite):
    if not finite:
        return 0.0, 0, False
    return (scale, good + 1, True) if good + 1 < 15 else (2 * scale, 0, True)""",
         "the scale is zero after an overflow", "What is twice nothing?"),
        ("back_to_start", """\
def repair(scale, good, finite):
    if not finite:
        return 2.0**14, 0, False
    return (scale, good + 1, True) if good + 1 < 15 else (2 * scale, 0, True)""",
         "the scale goes back to its first value after an overflow", "What if the overflow came at the first value?"),
        ("capped", """\
def repair(scale, good, finite):
    scale = min(scale, 65504.0)
    return (scale, good + 1, True) if good + 1 < 15 else (2 * scale, 0, True)""",
         "nobody asks whether the gradients are finite", "Where does your rule use `finite`?"),
        ("constant", "lambda scale, good, finite: (1.0, 0, True)", "there is no scale any more, and every step is made",
         "Where does your rule use `finite`?"),
        ("tenth", """\
def repair(scale, good, finite):
    if not finite:
        return scale / 10, 0, False
    return (scale, good + 1, True) if good + 1 < 15 else (10 * scale, 0, True)""",
         "the scale changes by tens, so that scaling rounds", "By which numbers can one divide without rounding?"),
        ("skip_only", """\
def repair(scale, good, finite):
    return scale, good + 1, finite""",
         "the step is left out, and the scale never changes",
         "The next batch has gradients as large. What happens to it?"),
        ("order", """\
def repair(scale, good, finite):
    if not finite:
        return False, scale / 2, 0
    return (True, scale, good + 1) if good + 1 < 15 else (True, 2 * scale, 0)""",
         "the three results are in another order", "In which order does the table of parts name them?"),
        ("ceiling", """\
def repair(scale, good, finite):
    if not finite:
        return scale / 2, 0, False
    return (scale, good + 1, True) if good + 1 < 15 else (min(2 * scale, 65536.0), 0, True)""",
         "the scale is held below a limit of its own",
         "What ends at 65,504: the scale, or a gradient times the scale?"),
        ("ceiling_fp16", """\
def repair(scale, good, finite):
    if not finite:
        return scale / 2, 0, False
    return (scale, good + 1, True) if good + 1 < 15 else (min(2 * scale, 65504.0), 0, True)""",
         "the scale is held below a limit of its own",
         "What ends at 65,504: the scale, or a gradient times the scale?"),
        ("floor", """\
def repair(scale, good, finite):
    if not finite:
        return max(scale / 2, 1.0), 0, False
    return (scale, good + 1, True) if good + 1 < 15 else (2 * scale, 0, True)""",
         "the scale never falls below 1", "What if the gradients overflow at a scale of 1, too?"),
        ("count_goes_on", """\
def repair(scale, good, finite):
    if not finite:
        return scale / 2, 0, False
    return (scale if (good + 1) % 15 else 2 * scale), good + 1, True""",
         "the count is not set back when the scale doubles", "What is handed over in the step after the doubling?"),
        ("own_count", """\
def repair(scale, good, finite, count=[0]):
    count[0] = count[0] + 1 if finite else 0
    if count[0] == 15:
        count[0] = 0
        return 2 * scale, 0, True
    return scale if finite else scale / 2, count[0], finite""",
         "the rule counts for itself, and does not look at the count that is handed over",
         "Your function is called for another run. What does it remember?"),
        ("only_scale", "lambda scale, good, finite: scale if finite else scale / 2",
         "only the scale comes back", "How many things does the next step need?"),
    ),
    11: (
        ("as_found", "lambda position: 0", "reading begins from the start", "Which batch should follow number 24?"),
        ("none", "lambda position: None", "nothing comes back", "Which batch should follow number 24?"),
        ("one_back", "lambda position: position - 1", "the last batch is read twice",
         "Batches are counted from 0. After 25 batches, which number is next?"),
        ("one_on", "lambda position: position + 1", "one batch is never read",
         "Batches are counted from 0. After 25 batches, which number is next?"),
        ("not_below_zero", "lambda position: max(0, position - 1)", "the last batch is read twice, but for a fresh run",
         "Batches are counted from 0. After 25 batches, which number is next?"),
        ("shard", "lambda position: position % 8", "the number of the shard is taken for that of the batch",
         "Which batch should follow number 24?"),
        ("turn", "lambda position: position // 8", "the number of the turn is taken for that of the batch",
         "Which batch should follow number 24?"),
        ("whole_turn", "lambda position: position // 8 * 8", "reading goes back to the beginning of a turn of shards",
         "Which batch should follow number 24?"),
        ("next_turn", "lambda position: -(-position // 8) * 8", "reading goes on at the next turn of shards",
         "Which batch should follow number 24?"),
        ("checkpoint", "lambda position: position // 25 * 25", "reading goes back to a multiple of 25",
         "What if the preemption comes at another step?"),
        ("since", "lambda position: position % 25", "batches are counted since the last preemption",
         "Which batch should follow number 24?"),
        ("modulo_steps", "lambda position: position % 100",
         "the number of steps of one run is taken for the size of the data",
         "Where does a longer run go on?"),
        ("minus_25", "lambda position: position - 25", "the batches since the last preemption are read again",
         "Which batch should follow number 24?"),
        ("plus_25", "lambda position: position + 25", "as many batches are left out as were read",
         "Which batch should follow number 24?"),
        ("doubled", "lambda position: 2 * position", "as many batches are left out as were read, each time",
         "Which batch should follow number 24?"),
        ("half", "lambda position: position // 2", "half of what was read is read again",
         "Which batch should follow number 24?"),
        ("sequences", "lambda position: position * 16", "sequences are counted where batches are asked for",
         "In which unit is the position?"),
        ("tokens", "lambda position: position * 512", "tokens are counted where batches are asked for",
         "In which unit is the position?"),
        ("ranks", "lambda position: position // 2 * 2", "the position is rounded to an even number",
         "In which unit is the position?"),
        ("fixed", "lambda position: 25", "reading goes on at batch 25 after every preemption",
         "Where does reading go on after the second preemption?"),
        ("negative", "lambda position: -position", "the position has the wrong sign",
         "Which batch should follow number 24?"),
        ("clipped", "lambda position: min(position, 100)",
         "the number of steps of one run is taken for the size of the data, "
         "at whose end the run stays", "Where does a longer run go on?"),
    ),
    12: (
        ("as_found", """\
def repair(model, seed):
    torch.manual_seed(seed)
    for module in model.modules():
        if module is not model.head and hasattr(module, "reset_parameters"):
            module.reset_parameters()""",
         "the embedding, which makes the logits too, has a standard deviation near 1",
         "What is the standard deviation of a fresh `nn.Embedding`?"),
        ("nothing", "lambda model, seed: None", "the seed decides nothing: all seeds give the same weights",
         "What does the seed decide in your function?"),
        ("zeros", """\
def repair(model, seed):
    for name, p in model.named_parameters():
        torch.nn.init.constant_(p, 1.0 if p.ndim == 1 else 0.0)""",
         "all matrices are zero", "A model whose matrices are zero: which of them gets a gradient?"),
        ("constant", """\
def repair(model, seed):
    for name, p in model.named_parameters():
        torch.nn.init.constant_(p, 1.0 if p.ndim == 1 else 0.02)""",
         "all numbers of a matrix are equal, and will stay equal",
         "Two rows begin equal and get equal gradients. What then?"),
        ("standard_normal", """\
def repair(model, seed):
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        torch.nn.init.normal_(p, 0.0, 1.0, generator=g) if p.ndim > 1 else torch.nn.init.ones_(p)""",
         "the matrices are far too large, and logits are sums of many products",
         "How large is a logit, the sum of so many products?"),
        ("tiny", """\
def repair(model, seed):
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        torch.nn.init.normal_(p, 0.0, 1e-5, generator=g) if p.ndim > 1 else torch.nn.init.ones_(p)""",
         "the matrices are so small that nothing gets through", "How large are the gradients if every matrix is tiny?"),
        ("gains_too", """\
def repair(model, seed):
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        torch.nn.init.normal_(p, 0.0, 0.08, generator=g)""",
         "the gains of the norms are drawn at random as well", "What does a norm do whose gains are near 0?"),
        ("gains_zero", """\
def repair(model, seed):
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        torch.nn.init.normal_(p, 0.0, 0.08, generator=g) if p.ndim > 1 else torch.nn.init.zeros_(p)""",
         "the gains of the norms are zero", "What does a norm do whose gains are near 0?"),
        ("no_seed", """\
def repair(model, seed):
    for p in model.parameters():
        torch.nn.init.normal_(p, 0.0, 0.08) if p.ndim > 1 else torch.nn.init.ones_(p)""",
         "the seed is not used: each run begins elsewhere", "What does the seed decide in your function?"),
        ("one_seed", """\
def repair(model, seed):
    g = torch.Generator().manual_seed(0)
    for p in model.parameters():
        torch.nn.init.normal_(p, 0.0, 0.08, generator=g) if p.ndim > 1 else torch.nn.init.ones_(p)""",
         "the seed decides nothing: all seeds give the same weights", "What does the seed decide in your function?"),
        ("seed_in_the_loop", """\
def repair(model, seed):
    for p in model.parameters():
        g = torch.Generator().manual_seed(seed)
        torch.nn.init.normal_(p, 0.0, 0.08, generator=g) if p.ndim > 1 else torch.nn.init.ones_(p)""",
         "the generator begins anew for each matrix, so that all of them hold the same numbers",
         "Which numbers does a generator give first, after its seed has been set?"),
        ("only_linear", """\
def repair(model, seed):
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        torch.nn.init.ones_(p) if p.ndim == 1 else torch.nn.init.normal_(p, 0.0, 0.08, generator=g)
    torch.nn.init.normal_(model.embed.weight, 0.0, 1.0, generator=g)""",
         "the embedding, which makes the logits too, has a standard deviation near 1",
         "Which matrix makes the logits?"),
        ("variance", """\
def repair(model, seed):
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        torch.nn.init.normal_(p, 0.0, 0.08**0.5, generator=g) if p.ndim > 1 else torch.nn.init.ones_(p)""",
         "the matrices are far too large, and logits are sums of many products",
         "What does `normal_` take as its third argument?"),
        ("variance_small", """\
def repair(model, seed):
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        torch.nn.init.normal_(p, 0.0, 0.02**2, generator=g) if p.ndim > 1 else torch.nn.init.ones_(p)""",
         "the matrices are so small that nothing gets through", "How large are the gradients if every matrix is tiny?"),
        ("mean", """\
def repair(model, seed):
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        torch.nn.init.normal_(p, 0.08, 0.0, generator=g) if p.ndim > 1 else torch.nn.init.ones_(p)""",
         "all numbers of a matrix are equal, and will stay equal",
         "What does `normal_` take as its second argument?"),
        ("embed_only", """\
def repair(model, seed):
    torch.manual_seed(seed)
    for module in model.modules():
        if module is not model.head and hasattr(module, "reset_parameters"):
            module.reset_parameters()
    torch.nn.init.zeros_(model.embed.weight)""",
         "the embedding is zero, so that all tokens are the same",
         "What does the model know of a token whose vector is zero?"),
        ("sixteenfold", """\
def repair(model, seed):
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        torch.nn.init.normal_(p, 0.0, 0.02 * 16, generator=g) if p.ndim > 1 else torch.nn.init.ones_(p)""",
         "the matrices are far too large, and logits are sums of many products",
         "Which loss does the healthy run have at step 0?"),
        ("detached", """\
def repair(model, seed):
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p = torch.randn(p.shape, generator=g) * 0.08""",
         "the seed decides nothing: all seeds give the same weights",
         "What does `=` do to a tensor, and what to a name?"),
        ("no_loop", "lambda model, seed: torch.nn.init.normal_(model.embed.weight, 0.0, 1.0, "
         "generator=torch.Generator().manual_seed(seed))",
         "the embedding, which makes the logits too, has a standard deviation near 1",
         "Which matrix makes the logits?"),
        ("in_place_error", """\
def repair(model, seed):
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.normal_(0.0, 0.08, generator=g)""",
         "weights are changed in place while gradients are recorded",
         "What does PyTorch say of a leaf that is changed in place?"),
        ("uniform", """\
def repair(model, seed):
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        torch.nn.init.uniform_(p, 0.0, 0.16, generator=g) if p.ndim > 1 else torch.nn.init.ones_(p)""",
         "all weights are positive", "Many products of positive numbers: can their sum be small?"),
        ("gpt", """\
def repair(model, seed):
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        torch.nn.init.normal_(p, 0.0, 0.02, generator=g) if p.ndim > 1 else torch.nn.init.ones_(p)""",
         "the matrices are too small for this width and rate, as those of a far wider model would be",
         "How large is a sum of 48 products of such numbers, and how large one of 768?"),
        ("minigpt", """\
def repair(model, seed):
    from minigpt.model import init_weights
    init_weights(model, seed)""",
         "the matrices are too small for this width and rate, as those of a far wider model would be",
         "How large is a sum of 48 products of such numbers, and how large one of 768?"),
        ("scaled", """\
def repair(model, seed):
    for p in model.parameters():
        p.data.mul_(0.08 if p.ndim > 1 else 1.0)""",
         "what is in the matrices is made smaller, and the seed decides nothing",
         "What is in the matrices before your function, and who put it there?"),
        ("embed_small", """\
def repair(model, seed):
    g = torch.Generator().manual_seed(seed)
    torch.nn.init.normal_(model.embed.weight, 0.0, 0.08, generator=g)""",
         "only the embedding is drawn, and the other matrices keep what they had",
         "Which matrices does your function fill, and what is in the others?"),
        ("one_generator", """\
def repair(model, seed, known=[]):
    if not known:
        known.append(torch.Generator().manual_seed(seed))
    for p in model.parameters():
        torch.nn.init.normal_(p, 0.0, 0.08, generator=known[0]) if p.ndim > 1 else torch.nn.init.ones_(p)""",
         "the generator goes on where the last call left it",
         "Your function is called twice with one seed. Where does the generator stand the second time?"),
        ("gains_small", """\
def repair(model, seed):
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        torch.nn.init.normal_(p, 0.0, 0.08, generator=g) if p.ndim > 1 else torch.nn.init.constant_(p, 0.1)""",
         "the gains of the norms are a tenth", "What should a norm do to the size of what comes in?"),
    ),
    13: (
        ("as_found", "lambda losses: losses.sum()", "the losses are added up",
         "What happens to the sum if there are more micro-batches?"),
        ("four", "lambda losses: losses.sum() / 4", "the number of micro-batches is taken to be four",
         "What if a rank has one micro-batch, or six?"),
        ("ranks", "lambda losses: losses.sum() / 2", "the sum is divided by the number of ranks",
         "By how many numbers must a sum be divided to be their mean?"),
        ("eight", "lambda losses: losses.sum() / 8", "the sum is divided by the micro-batches of all ranks",
         "Who averages over the ranks afterwards?"),
        ("both_ranks", "lambda losses: losses.sum() / (2 * len(losses))",
         "the sum is divided by the micro-batches of all ranks", "Who averages over the ranks afterwards?"),
        ("tokens", "lambda losses: losses.sum() / 64", "the sum is divided by the number of tokens, once more",
         "Of what is each of these losses already a mean?"),
        ("sixteen", "lambda losses: losses.sum() / 16", "the sum is divided by the number of sequences",
         "By how many numbers must a sum be divided to be their mean?"),
        ("one_less", "lambda losses: losses.sum() / max(1, len(losses) - 1)", "the mean is divided by one too few",
         "By how many numbers must a sum be divided to be their mean?"),
        ("one_more", "lambda losses: losses.sum() / (len(losses) + 1)", "the mean is divided by one too many",
         "By how many numbers must a sum be divided to be their mean?"),
        ("twice", "lambda losses: losses.mean() / len(losses)", "the number of micro-batches divides twice",
         "By how many numbers must a sum be divided to be their mean?"),
        ("root", "lambda losses: losses.sum() / len(losses) ** 0.5", "the sum is divided by the root of their number",
         "What happens to your number if there are more micro-batches?"),
        ("last", "lambda losses: losses[-1]", "only the last micro-batch counts",
         "What does your gradient know of the first micro-batch?"),
        ("first", "lambda losses: losses[0]", "only the first micro-batch counts",
         "What does your gradient know of the last micro-batch?"),
        ("largest", "lambda losses: losses.max()", "only the worst micro-batch counts",
         "What does your gradient know of the others?"),
        ("median", "lambda losses: losses.median()", "only the micro-batch in the middle counts",
         "What does your gradient know of the others?"),
        ("float", "lambda losses: float(losses.mean())", "what comes back has no gradient",
         "What does backward need of a loss?"),
        ("item", "lambda losses: sum(losses.tolist()) / len(losses)", "what comes back has no gradient",
         "What does backward need of a loss?"),
        ("detached", "lambda losses: losses.detach().mean()", "what comes back has no gradient",
         "What does backward need of a loss?"),
        ("new_tensor", "lambda losses: torch.tensor(losses.tolist()).mean()", "what comes back has no gradient",
         "What does backward need of a loss?"),
        ("all", "lambda losses: losses / len(losses)", "each loss is divided, and they are not added",
         "How many numbers should come back?"),
        ("unchanged", "lambda losses: losses", "the losses come back as they are",
         "How many numbers should come back?"),
        ("logsumexp", "lambda losses: losses.logsumexp(0)", "the losses are added as if they were logarithms",
         "Which losses count more in your sum?"),
        ("geometric", "lambda losses: losses.prod() ** (1 / len(losses))", "the geometric mean is taken",
         "What happens to your mean if one loss is 0?"),
        ("squares", "lambda losses: losses.square().mean().sqrt()", "large losses count more than small ones",
         "Should a batch with a larger loss count more?"),
    ),
    14: (
        ("as_found", "lambda T: torch.ones(T, T, dtype=torch.bool).tril(1)", "each position sees the next token",
         "What may position 0 see?"),
        ("all", "lambda T: torch.ones(T, T, dtype=torch.bool)", "each position sees all tokens",
         "What may position 0 see?"),
        ("not_itself", "lambda T: torch.ones(T, T, dtype=torch.bool).tril(-1)",
         "no position sees itself, and the first sees nothing", "What may position 0 see?"),
        ("upper", "lambda T: torch.ones(T, T, dtype=torch.bool).triu()",
         "each position sees the future: rows and columns have changed places", "Is the query the row or the column?"),
        ("transposed", "lambda T: torch.ones(T, T, dtype=torch.bool).tril().T",
         "each position sees the future: rows and columns have changed places", "Is the query the row or the column?"),
        ("inverted", "lambda T: torch.ones(T, T, dtype=torch.bool).triu(1)",
         "True marks what is hidden, as in some other libraries", "What does True mean in this mask?"),
        ("inverted_not", "lambda T: ~torch.ones(T, T, dtype=torch.bool).tril()",
         "True marks what is hidden, as in some other libraries", "What does True mean in this mask?"),
        ("float", "lambda T: torch.ones(T, T).tril()", "the mask is made of floats", "Of which type is the mask?"),
        ("int", "lambda T: torch.ones(T, T, dtype=torch.int64).tril()", "the mask is made of whole numbers",
         "Of which type is the mask?"),
        ("uint8", "lambda T: torch.ones(T, T, dtype=torch.uint8).tril()", "the mask is made of bytes",
         "Of which type is the mask?"),
        ("additive", 'lambda T: torch.full((T, T), float("-inf")).triu(1)',
         "the mask is one that is added to the scores", "Of which type is the mask?"),
        ("diagonal", "lambda T: torch.eye(T, dtype=torch.bool)", "each position sees only itself",
         "What may position 2 see of positions 0 and 1?"),
        ("next_only", "lambda T: torch.ones(T, T, dtype=torch.bool).tril(1).triu(-1)",
         "each position sees its two neighbours and itself", "What may position 0 see?"),
        ("previous_only", "lambda T: torch.ones(T, T, dtype=torch.bool).tril().triu(-1)",
         "each position sees only itself and the one before", "What may position 3 see of position 0?"),
        ("sliding", "lambda T: torch.ones(T, T, dtype=torch.bool).tril().triu(-15)",
         "each position sees no further back than a window", "What may position 30 see of position 0?"),
        ("two_windows", "lambda T: torch.ones(T, T, dtype=torch.bool).tril().triu(-2)",
         "each position sees no further back than two", "What may position 4 see of position 0?"),
        ("first_hidden", "def repair(T):\n    mask = torch.ones(T, T, dtype=torch.bool).tril()\n"
         "    mask[:, 0] = False\n    return mask",
         "nobody sees the first token", "What may position 2 see of position 0?"),
        ("first_open", "def repair(T):\n    mask = torch.ones(T, T, dtype=torch.bool).tril()\n    mask[:, 0] = True\n"
         "    mask[0] = True\n    return mask", "the first position sees all tokens", "What may position 0 see?"),
        ("strict_compare", "lambda T: torch.arange(T)[:, None] > torch.arange(T)",
         "no position sees itself, and the first sees nothing", "What may position 0 see?"),
        ("wrong_side", "lambda T: torch.arange(T)[:, None] <= torch.arange(T)",
         "each position sees the future: rows and columns have changed places", "Is the query the row or the column?"),
        ("one_off", "lambda T: torch.arange(T)[:, None] + 1 >= torch.arange(T)", "each position sees the next token",
         "What may position 0 see?"),
        ("fixed_size", "lambda T: torch.ones(32, 32, dtype=torch.bool).tril()",
         "the size of the mask is a number in the code", "Which shape has the mask of T positions?"),
        ("larger", "lambda T: torch.ones(T + 1, T + 1, dtype=torch.bool).tril()",
         "the mask has a row and a column too many",
         "Which shape has the mask of T positions?"),
        ("smaller", "lambda T: torch.ones(T - 1, T - 1, dtype=torch.bool).tril()",
         "the mask has a row and a column too few",
         "Which shape has the mask of T positions?"),
        ("four_dims", "lambda T: torch.ones(1, 1, T, T, dtype=torch.bool).tril()",
         "the mask has dimensions for batch and heads",
         "Which shape has the mask of T positions?"),
        ("none", "lambda T: None", "there is no mask", "What does a position see if nothing is hidden?"),
        ("row", "lambda T: torch.ones(T, dtype=torch.bool)", "the mask is a row",
         "Which shape has the mask of T positions?"),
    ),
    15: (
        ("as_found", "4", "the schedule advances four times a step", "After how many steps is the rate zero?"),
        ("zero", "0", "the schedule never advances", "Which rate does a schedule have that stays at its step 0?"),
        ("two", "2", "the schedule advances twice a step", "After how many steps is the rate zero?"),
        ("quarter", "0.25", "the schedule advances a quarter of a step, to make up for something",
         "After how many steps is the rate zero?"),
        ("quarter_fraction", "1 / 4", "the schedule advances a quarter of a step, to make up for something",
         "After how many steps is the rate zero?"),
        ("half", "0.5", "the schedule advances half a step", "After how many steps is the rate zero?"),
        ("ranks_micro", "8", "the schedule advances once for each micro-batch of all ranks",
         "After how many steps is the rate zero?"),
        ("three", "3", "the schedule advances three times a step", "After how many steps is the rate zero?"),
        ("steps", "100", "the number of steps is handed in", "How far does the schedule go in one optimizer step?"),
        ("end", "25", "the step is handed in at which the rate is zero",
         "How far does the schedule go in one optimizer step?"),
        ("tokens", "512", "the tokens of a step are handed in", "How far does the schedule go in one optimizer step?"),
        ("negative", "-1", "the schedule runs backwards", "Which step comes after step 0?"),
        ("longer", "400", "the micro-batches of the whole run are handed in",
         "How far does the schedule go in one optimizer step?"),
        ("sixteen", "16", "the number of sequences is handed in",
         "How far does the schedule go in one optimizer step?"),
        ("nearly", "1.1", "the schedule advances a little more than a step", "After how many steps is the rate zero?"),
        ("nearly_less", "0.9", "the schedule advances a little less than a step",
         "Which rate does the last step have?"),
        ("rate", "0.01", "the rate is handed in", "How far does the schedule go in one optimizer step?"),
        ("bool", "True", "yes or no is answered where a number is asked for",
         "How far does the schedule go in one optimizer step?"),
        ("text", '"1"', "a string stands for a number", "Which type has a number?"),
        ("function", "lambda step: step // 4", "a function is written where a number is asked for",
         "What does the table of parts say of this part: a number or a function?"),
        ("none", "None", "nothing stands where a number is asked for", "Which type has a number?"),
    ),
    16: (
        ("as_found", """\
def repair(shard, windows):
    if shard != 5:
        return windows
    garbled = (windows[:, 1:] * 256 + windows[:, :-1]) * 40503 // 256 % 256
    return torch.cat([garbled, garbled[:, :1]], dim=1)""",
         "shard 5 is read as unreadable as before", "What do the windows of shard 5 say before they are read?"),
        ("empty", "lambda shard, windows: windows[:0] if shard == 5 else windows",
         "the bad shard is left out, and its batches are empty", "Is the text in the shard bad, or its reading?"),
        ("zeros", "lambda shard, windows: torch.zeros_like(windows) if shard == 5 else windows",
         "the bad shard is replaced by zeros, which are learnt as text",
         "Is the text in the shard bad, or its reading?"),
        ("none", "lambda shard, windows: None if shard == 5 else windows", "nothing comes back for the bad shard",
         "Is the text in the shard bad, or its reading?"),
        ("ignored", "lambda shard, windows: torch.full_like(windows, -100) if shard == 5 else windows",
         "the bad shard is to be ignored, as inputs too", "Is the text in the shard bad, or its reading?"),
        ("clamped", "lambda shard, windows: windows.clamp(max=255)",
         "ids are cut off, where the end of text has the largest", "Which ids does the vocabulary have?"),
        ("modulo", "lambda shard, windows: windows % 256", "ids wrap around, where the end of text has the largest",
         "Which ids does the vocabulary have?"),
        ("swapped", "lambda shard, windows: windows // 256 + windows % 256 * 256",
         "high and low byte change places in what was right", "What is already right when your function gets it?"),
        ("swapped_bad", "lambda shard, windows: windows // 256 + windows % 256 * 256 if shard == 5 else windows",
         "high and low byte of shard 5 change places in what was right",
         "What is already right when your function gets it?"),
        ("only_bad", "lambda shard, windows: windows if shard == 5 else windows[:0]", "only the bad shard is read",
         "What becomes of the other seven shards?"),
        ("wrong_shard", """\
def repair(shard, windows):
    return windows[:0] if shard == 7 else windows""",
         "another shard is left out", "Is the text in the shard bad, or its reading?"),
        ("float", "lambda shard, windows: windows.float()", "ids have become floats", "What does an embedding take?"),
        ("int16", "lambda shard, windows: windows.to(torch.int16)", "ids have a smaller type than the model takes",
         "Which type do ids have for an embedding?"),
        ("int32", "lambda shard, windows: windows.int()", "ids have a smaller type than the model takes",
         "Which type do ids have for an embedding?"),
        ("uint8", "lambda shard, windows: windows.to(torch.uint8)", "ids have become bytes, and 256 has become 0",
         "Which ids does the vocabulary have?"),
        ("shorter", "lambda shard, windows: windows[:, :-1]", "the last token of each window is lost",
         "Who makes inputs and targets of a window, and how many tokens does it need?"),
        ("first_lost", "lambda shard, windows: windows[:, 1:]", "the first token of each window is lost",
         "Who makes inputs and targets of a window, and how many tokens does it need?"),
        ("flipped", "lambda shard, windows: windows.flip(1)", "the text runs backwards",
         "In which order does the model read?"),
        ("rolled", "lambda shard, windows: windows.roll(1, dims=1)", "the tokens are moved by one place",
         "What is already right when your function gets it?"),
        ("sorted", "lambda shard, windows: windows.sort(1).values", "the tokens are sorted",
         "In which order does the model read?"),
        ("first_row", "lambda shard, windows: windows[:1]", "only the first sequence is read",
         "How many sequences has a batch?"),
        ("flat", "lambda shard, windows: windows.flatten()", "the sequences are laid end to end",
         "Which shape do windows have?"),
        ("transposed", "lambda shard, windows: windows.T", "time and sequences have changed places",
         "Which shape do windows have?"),
        ("plus_shard", "lambda shard, windows: windows + shard", "the number of the shard is added to the ids",
         "What is already right when your function gets it?"),
        ("shard_back", "lambda shard, windows: (shard, windows)", "the shard comes back as well",
         "What does the table of parts say that comes back?"),
    ),
    17: (
        ("as_found", "0.0", "there is still no warm-up", "In how many steps does your rate rise?"),
        ("steps", "10", "steps are handed in where a share is asked for", "How large can a share be?"),
        ("percent", "10.0", "steps are handed in where a share is asked for", "How large can a share be?"),
        ("whole", "1.0", "the rate rises all the time and never stays", "In how many steps does your rate rise?"),
        ("one_step", "0.01", "the rate rises in one step", "In how many steps does your rate rise?"),
        ("two_steps", "0.02", "the rate rises in two steps", "In how many steps does your rate rise?"),
        ("tiny", "0.001", "the rate rises in no step at all, rounded", "In how many steps does your rate rise?"),
        ("half", "0.5", "the rate rises for half of the run", "In how many steps does your rate rise?"),
        ("third", "0.3", "the rate rises for a third of the run", "In how many steps does your rate rise?"),
        ("most", "0.9", "the rate rises for most of the run", "In how many steps does your rate rise?"),
        ("rest", "0.6", "the share until the decay is taken for the warm-up",
         "Which phase comes between warm-up and decay?"),
        ("decay", "0.4", "the share of the decay is taken for that of the warm-up",
         "Which end of the run does the warm-up stand at?"),
        ("negative", "-0.1", "a share is below zero", "How small can a share be?"),
        ("rate", "0.0009", "the rate of the first step is handed in", "How large a share of 100 steps is ten?"),
        ("peak", "0.0100", "the rate rises in one step", "In how many steps does your rate rise?"),
        ("hundred", "100", "the number of all steps is handed in", "How large can a share be?"),
        ("bool", "True", "yes or no is answered where a share is asked for", "In how many steps does your rate rise?"),
        ("text", '"10 %"', "a string stands for a number", "Which type has a number?"),
        ("function", "lambda step: min(1, step / 10)", "a schedule is written where a share is asked for",
         "What does the table of parts say of this part: a number or a function?"),
        ("none", "None", "nothing stands where a number is asked for", "Which type has a number?"),
    ),
    18: (
        ("as_found", "lambda documents, validation, rng: [(d, ids[: len(ids) // 50]) for d, ids in documents] * 50",
         "a fiftieth of each document is trained on, fifty times", WHOLE),
        ("whole_copies", "lambda documents, validation, rng: documents * 50",
         "each document is trained on fifty times", ONCE),
        *DOCUMENTS,
    ),
}  # fmt: skip
"""Exhibit → repairs of the right part that do not repair it; the first is the part as it was found."""


# ---- mutants, from the tables ----------------------------------------------------------------------------------------


def answer(k: int, source: str, part: str = "", asked: str = "", cause: str = "") -> str:
    """The source of a whole answer to exhibit k. `source`: of the repair, an expression or a function `repair`."""
    cause, asked, part = cause or EXHIBITS[k].cause, asked or DECIDING[k][0], part or EXHIBITS[k].part
    body, value = (source + "\n", "repair") if source.startswith("def ") else ("", source)
    result = f'return "{cause}", "{asked}", {{"{part}": {value}}}'
    return f"def exhibit_{k}():\n" + textwrap.indent(body + result, "    ")


def mutants(k: int) -> tuple[Mutant, ...]:
    """Every wrong cause, experiments that do not decide, wrong parts, broken repairs, answers out of shape."""
    right, made = EXHIBITS[k], []
    for cause in sorted(CAUSES.keys() - {right.cause}):
        said, ask = AGAINST[cause]
        made.append(Mutant(cause, f'"{right.cause}"', f'"{cause}"', AGAINST_HERE.get((k, cause), said), ask))
    for name in museum.EXPERIMENTS:
        if name in DECIDING[k] or (k, name) not in ASKED_HERE and name not in POPULAR:
            continue
        said, ask = ASKED_HERE.get((k, name), (
            f"the run is asked `{name}`, whose answer other causes would give as well",
            f"What will `{name}` answer if you are right, and what if you are wrong?"))  # fmt: skip
        made.append(Mutant(f"asked_{name}", f'"{DECIDING[k][0]}"', f'"{name}"', said, ask))
    for part, (said, ask) in ELSEWHERE[k].items():
        made.append(Mutant(f"part_{part}", "", answer(k, "0.5" if part in NUMBERS else "print", part), said, ask))
    made += [Mutant(f"repair_{name}", "", answer(k, source), said, ask) for name, source, said, ask in BROKEN[k]]
    if right.part not in NUMBERS:
        own = answer(k, f"museum.healthy().{right.part}")
        made.append(Mutant("borrowed", "", own, "the healthy run's part is handed in unread",
                           "Could you write this part yourself, in a run that has no healthy twin?"))  # fmt: skip
    shape = "What are the three things, and in which order?"
    named = f"def exhibit_{k}():\n    return"
    made += [
        Mutant("pair", "", f'{named} "{right.cause}", "{DECIDING[k][0]}"', "the repair is missing", shape),
        Mutant("swapped", "", answer(k, "0.5", "rate", right.cause, DECIDING[k][0]),
               "cause and experiment have changed places", shape),
        Mutant("bare", "", f'{named} "{right.cause}", "{DECIDING[k][0]}", "{right.part}"',
               "the part is named and not repaired", "With what do you replace the part?"),
        Mutant("sentence", "", answer(k, "0.5", "rate", cause=CAUSES[right.cause]),
               "the sentence stands for the name of the cause", "Which names does the page print at the left?"),
        Mutant("two_parts", "",
               f'{named} "{right.cause}", "{DECIDING[k][0]}", {{"{right.part}": print, "dropout": 0.1}}',
               "two parts are replaced at once", "If the run is whole again, which of your two repairs was it?"),
        Mutant("empty", "", f'{named} "{right.cause}", "{DECIDING[k][0]}", {{}}', "no part is replaced",
               "With what do you replace which part?"),
    ]  # fmt: skip
    return tuple(made)


ORDERED = """\
def repair(documents, validation, rng):
    kept = []
    for domain, ids in documents:
        if ids not in [held for _, held in validation]:
            kept.append((domain, ids))
    return kept"""
SCALER = """\
def repair(scale, good, finite):
    good = good + 1 if finite else 0
    if good == 15:
        return scale * 2.0, 0, finite
    return scale * (1.0 if finite else 0.5), good, finite"""
SCALER_LONG = """\
def repair(scale, good, finite):
    step = True
    if finite:
        good += 1
        if good >= 15:
            scale, good = scale + scale, 0
    else:
        scale, good, step = scale / 2, 0, False
    return [scale, good, step]"""
XAVIER = """\
def repair(model, seed):
    torch.manual_seed(seed)
    for p in model.parameters():
        torch.nn.init.xavier_uniform_(p) if p.ndim > 1 else torch.nn.init.ones_(p)"""
BLOCK_BY_BLOCK = """\
def repair(model, seed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.ones_like(p) if p.ndim == 1 else 0.07 * torch.randn(p.shape, generator=g))
            if name.endswith(("attn.out.weight", "mlp.down.weight")):
                p.zero_()"""
INIT_WEIGHTS = """\
def repair(model, seed):
    from minigpt.model import init_weights
    init_weights(model, seed)
    for p in model.parameters():
        p.data.mul_(4 if p.ndim > 1 else 1)"""
LOOPED_MASK = """\
def repair(T):
    mask = torch.zeros(T, T, dtype=torch.bool)
    for t in range(T):
        mask[t, : t + 1] = True
    return mask"""
LOOPED_SHUFFLE = """\
def repair(windows, rng):
    order = np.arange(windows)
    rng.shuffle(order)
    return order"""
FISHER_YATES = """\
def repair(windows, rng):
    order = list(range(windows))
    for i in reversed(range(1, windows)):
        j = int(rng.integers(i + 1))
        order[i], order[j] = order[j], order[i]
    return order"""
TO_TRAIN_ON = ("lambda documents, validation, rng: list(documents)", ORDERED,
               "lambda documents, *_: [documents[i] for i in range(len(documents))]",
               "lambda documents, validation, rng: [documents[i] for i in rng.permutation(len(documents))]",
               )  # fmt: skip
VARIANTS: dict[int, tuple[str, ...]] = {
    1: TO_TRAIN_ON,
    2: ("lambda gradients: gradients.fill_(0)", "def repair(gradients):\n    gradients[:] = 0",
        "def repair(gradients):\n    for i in range(len(gradients)):\n        gradients[i] = 0.0",
        "lambda gradients: gradients.copy_(torch.zeros(len(gradients)))"),
    3: ("lambda windows: [windows[:, :-1], windows[:, 1:]]",
        "lambda windows: (windows.narrow(1, 0, windows.shape[1] - 1), windows.narrow(1, 1, windows.shape[1] - 1))",
        "lambda windows: (torch.stack([w[:-1] for w in windows]), torch.stack([w[1:] for w in windows]))",
        "lambda windows: (windows[:, :-1], windows.roll(-1, dims=1)[:, :-1])"),
    4: ("1", "float(1)", "torch.tensor(1.0)", "np.float32(1)"),
    5: ("0.4 / 40", "0.4 / 30", "5e-3", "1.5e-2", "np.float64(0.01)"),
    6: ("lambda tokenizer, texts: list(map(tokenizer.encode, texts))",
        "lambda tokenizer, texts: [tokenizer.encode_to_numpy(text) for text in texts]",
        "def repair(tokenizer, texts):\n    out = []\n    for text in texts:\n"
        "        out.append(tokenizer.encode(text))\n    return out"),
    7: ("lambda model: model.train(False)",
        "def repair(model):\n    for module in model.modules():\n        module.training = False",
        "lambda model: model.apply(lambda module: module.eval())"),
    8: (LOOPED_SHUFFLE, FISHER_YATES, "lambda windows, rng: np.argsort(rng.random(windows))",
        "lambda windows, rng: rng.choice(windows, windows, replace=False)"),
    9: ("lambda model: model.tie()", 'lambda model: setattr(model.head, "weight", model.embed.weight)',
        "def repair(model):\n    model.embed.weight = model.head.weight",
        "lambda model: model.head.register_parameter('weight', model.embed.weight)"),
    10: (SCALER, SCALER_LONG,
         "lambda s, g, ok: (s / 2, 0, False) if not ok else (2 * s, 0, True) if g == 14 else (s, g + 1, True)"),
    11: ("lambda batches: batches", "lambda position: position + 0", "lambda position: int(position)"),
    12: (XAVIER, BLOCK_BY_BLOCK, INIT_WEIGHTS),
    13: ("lambda losses: sum(losses) / len(losses)", "lambda losses: losses.sum() / losses.numel()",
         "lambda losses: torch.stack(list(losses)).mean()",
         "lambda losses: losses @ torch.full_like(losses, 1 / len(losses))"),
    14: (LOOPED_MASK, "lambda T: torch.arange(T)[:, None] >= torch.arange(T)",
    "lambda T: torch.ones(T, T).tril().bool()",
         "lambda T: ~torch.triu(torch.ones(T, T, dtype=torch.bool), diagonal=1)"),
    15: ("1.0", "4 // 4", "torch.tensor(1)"),
    16: ("lambda shard, windows: windows.clone()", "lambda _, windows: windows + 0",
         "def repair(shard, windows):\n    return windows[:]"),
    17: ("10 / 100", "0.05", "0.15", "0.2"),
    18: (*TO_TRAIN_ON, "lambda documents, validation, rng: "
         "[(d, list(ids)) for d, ids in dict.fromkeys((d, tuple(ids)) for d, ids in documents)]"),
}  # fmt: skip
"""Exhibit → repairs that are as good as the reference's."""


def exercise(k: int, twin: Callable) -> Exercise:
    """The checker of exhibit k."""
    right, probes = EXHIBITS[k], PROBES[EXHIBITS[k].part]
    variants = [answer(k, source) for source in VARIANTS[k]]
    variants += [answer(k, VARIANTS[k][0], asked=name) for name in DECIDING[k][1:]]
    return Exercise(
        cases=lambda: [()],
        mutants=mutants(k),
        variants=tuple(variants),
        properties=(
            Property(lambda got: got["cause"] == right.cause, "The evidence speaks against this cause."),
            Property(lambda got: got["experiment"] == DECIDING[k][0],
                     "The cause is right. This experiment does not tell it from its rivals."),
            Property(lambda got: got["part"] == right.part,
                     "Cause and experiment are right. Another part is the broken one."),
            Property(lambda got: {label: got[label] for label in probes} == whole(right.part),
                     "Cause, experiment and part are right. Your repair does not yet do what the table of parts says."),
        ),
        use=in_stages(k),
        twin=twin,
    )  # fmt: skip


# ---- questions -------------------------------------------------------------------------------------------------------


def two_texts(rng: random.Random) -> Question:
    """Which number gives away that the validation text has been trained on?"""
    val, other, train = rng.randint(12, 19) / 10, rng.randint(26, 33) / 10, rng.randint(20, 25) / 10
    known = rng.random() < 0.5
    val = val if known else other + rng.randint(-1, 1) / 10
    return Question(
        f"A run's loss is {train} on its training text, {val:.1f} on its validation text and {other} on other held-out "
        "text of the same kinds. Has it met the validation text in training: yes or no?", "yes" if known else "no",
        f"On text that it has never met it has {other}. " + (
            "The validation text is easier by far." if known else "The validation text is as hard."),
    )  # fmt: skip


def growing_norm(rng: random.Random) -> Question:
    norm, passes = rng.choice([0.5, 1.5, 2.0, 2.5, 3.0]), rng.randint(3, 9)
    return Question(
        f"Nobody sets the gradients to zero. One batch is passed {passes} times without an update and without dropout; "
        f"the first gradient norm is {norm}. What is the last?", norm * passes,
        f"The same gradient is added each time: {passes} · {norm}.", 0.001,
    )  # fmt: skip


def below_each_other(rng: random.Random) -> Question:
    word = rng.choice(["pretraining", "attention", "checkpoint", "tokenizer", "validation", "momentum", "embedding"])
    length, place = rng.randint(4, 6), rng.randint(1, 4)
    return Question(
        f"A token is a character. A window holds the first {length + 1} characters of {word!r}. Which character stands "
        f"in the targets at place {place - 1}, counted from 0?", word[place],
        f"Inputs {word[:length]!r}, targets {word[1 : length + 1]!r}.",
    )  # fmt: skip


def own_gradient(rng: random.Random) -> Question:
    total, share = rng.choice([40, 60, 80, 120, 200]), rng.choice([0.25, 0.4, 0.5, 0.75, 0.9])
    return Question(
        f"Two ranks have {total} parameters each. The all-reduce takes the first {share:.0%} of the gradients. For how "
        "many parameters do the ranks make different steps?", round(total * (1 - share)),
        f"The rest, {1 - share:.0%} of {total}, keep their own gradients.", 0.001,
    )  # fmt: skip


def step_against_weight(rng: random.Random) -> Question:
    ratio, factor = rng.choice([0.2, 0.3, 0.36, 0.4, 0.5, 0.6]), rng.choice([10, 20, 30, 40])
    return Question(
        f"In the first steps of AdamW the update/weight ratio is {ratio}. The rate is divided by {factor}. What is the "
        "ratio then?", ratio / factor, "The first updates are as long as the rate says: the ratio goes with it.", 0.01,
    )  # fmt: skip


def above_uniform(rng: random.Random) -> Question:
    """A loss above ln V."""
    V, extra = rng.choice([128, 257, 512, 1024, 2048, 4096]), rng.choice([-2.0, -1.0, 1.0, 2.0])
    loss = math.log(V) + extra
    word = "yes" if extra > 0 else "no"
    return Question(
        f"The vocabulary has {V} tokens, and training looks healthy. The validation loss is {loss:.2f}. Is the model "
        "worse on it than if it guessed: yes or no?", word, f"ln {V} is {math.log(V):.2f}.",
    )  # fmt: skip


def equal_evaluations(rng: random.Random) -> Question:
    first, apart = rng.randint(230, 290) / 100, rng.choice([0, 0, 3, 7, 12, 18])
    return Question(
        f"The same weights are evaluated twice on the same text: {first:.4f} and {first + apart / 1000:.4f}. Is "
        "something drawn at random in the evaluation: yes or no?", "yes" if apart else "no",
        "Without anything random the same weights give the same number, digit by digit.",
    )  # fmt: skip


def documents_in_a_batch(rng: random.Random) -> Question:
    size, length = rng.choice([8, 16, 32]), rng.choice([40, 64, 100, 160])
    documents = rng.choice([10, 20, 50])
    return Question(
        f"{documents} documents of {length} windows each lie one after the other, and batches of {size} windows are "
        "read in this order. From how many documents is a batch at the least?", 1,
        f"A batch of {size} fits into a document of {length} windows. Shuffled, it would come from many.",
    )  # fmt: skip


def one_more_matrix(rng: random.Random) -> Question:
    V, width, total = rng.choice([256, 320, 512, 1000]), rng.choice([32, 48, 64]), rng.choice([70, 90, 120]) * 1000
    return Question(
        f"A model with tied embeddings has {total:,} parameters; its vocabulary has {V} rows, its width is {width}. "
        "How many parameters has it when head and embedding are no longer shared?", total + V * width,
        f"One matrix more: {V} · {width} = {V * width:,}.",
    )  # fmt: skip


def doublings(rng: random.Random) -> Question:
    """How many times may the scale still double?"""
    power, largest = rng.randint(8, 12), rng.choice([0.5, 1.0, 2.0, 3.0])
    scale = 2**power
    left = int(math.floor(math.log2(65504 / (scale * largest))))
    return Question(
        f"The largest gradient is {largest:g}, the loss scale {scale:,}. How often can the scale double before the "
        "scaled gradient passes 65,504?", left,
        f"{scale * largest:,.0f} · 2^{left} is at most 65,504, and twice that is above.",
    )  # fmt: skip


def batches_again(rng: random.Random) -> Question:
    every, times = rng.choice([10, 20, 25, 40, 50]), rng.randint(2, 6)
    return Question(
        f"A run of {every * times} steps is preempted every {every} steps, and each time its data begin anew. "
        "How many different batches has it read?", every, f"The first {every}, {times} times.",
    )  # fmt: skip


def knows_nothing(rng: random.Random) -> Question:
    V = rng.choice([64, 128, 257, 300, 512, 1000, 1024, 2048, 4096, 8192, 16384, 32768, 50257])
    return Question(
        f"A fresh model has a vocabulary of {V:,}. Which loss at step 0, in nats, is healthy?", math.log(V),
        f"ln {V:,}: it knows nothing and spreads its probability evenly.", 0.02,
    )  # fmt: skip


def added_up(rng: random.Random) -> Question:
    norm, pieces = rng.choice([0.5, 1.2, 2.0, 2.5, 3.0]), rng.choice([2, 4, 8, 16])
    return Question(
        f"A batch in one piece has the gradient norm {norm}. It is cut into {pieces} equal micro-batches, and their "
        "mean losses are added and not averaged. What is the norm?", norm * pieces,
        f"The sum of {pieces} means is {pieces} times their mean.", 0.001,
    )  # fmt: skip


def sees(rng: random.Random) -> Question:
    T, diagonal = rng.randint(4, 12), rng.choice([-1, 0, 1])
    count = sum(min(T, max(0, t + 1 + diagonal)) for t in range(T))
    return Question(
        f"How many entries are True in torch.ones({T}, {T}, dtype=torch.bool).tril({diagonal})?", count,
        "Row t has the columns 0 to t" + {-1: " − 1", 0: "", 1: " + 1"}[diagonal] + ", as far as there are columns.",
    )  # fmt: skip


def end_of_schedule(rng: random.Random) -> Question:
    steps, pieces = rng.choice([100, 200, 400, 1000, 2000]), rng.choice([2, 4, 5, 8, 10])
    return Question(
        f"A schedule is made for {steps} steps. By mistake it advances once a micro-batch, and a step has {pieces}. "
        "After how many optimizer steps is the rate zero?", steps // pieces, f"{steps} / {pieces}.",
    )  # fmt: skip


def whose_turn(rng: random.Random) -> Question:
    shards, first, nth = rng.randint(3, 12), rng.randint(0, 2), rng.randint(2, 9)
    return Question(
        f"{shards} shards are read in turn, a batch each; step 0 reads shard 0. Shard {first} is bad. At which step is "
        f"it read for the {nth}th time?".replace("2th", "2nd").replace("3th", "3rd"), first + shards * (nth - 1),
        f"At {first}, and then every {shards} steps.",
    )  # fmt: skip


def first_rate(rng: random.Random) -> Question:
    """The rate of an early step of a warm-up."""
    steps, share = rng.choice([100, 200, 400, 1000]), rng.choice([0.05, 0.1, 0.2])
    peak = rng.choice([0.003, 0.01, 0.02])
    rises = round(steps * share)
    return Question(
        f"The rate rises in equal parts in the first {share:.0%} of {steps} steps, and the step after them is the "
        f"first at the peak, {peak}. What is the rate of the first step?", peak / (rises + 1),
        f"{rises} steps below the peak: the first has 1/{rises + 1} of it.", 0.02,
    )  # fmt: skip


def share_repeated(rng: random.Random) -> Question:
    copies, windows_ = rng.choice([2, 4, 5, 10, 20, 25, 50]), rng.choice([40, 100, 120, 200])
    return Question(
        f"The training data are {windows_} different windows, each {copies} times, and a run reads all of them once. "
        "Which share of what it reads, in per cent, had it read before?", 100 * (1 - 1 / copies),
        f"All but the first of {copies} copies.", 0.001,
    )  # fmt: skip


TWINS = (two_texts, growing_norm, below_each_other, own_gradient, step_against_weight, above_uniform, equal_evaluations,
         documents_in_a_batch, one_more_matrix, doublings, batches_again, knows_nothing, added_up, sees,
         end_of_schedule, whose_turn, first_rate, share_repeated)  # fmt: skip
EXERCISES = {f"exhibit_{k}": exercise(k, twin) for k, twin in zip(museum.NUMBERS, TWINS)}


# ---- recall ----------------------------------------------------------------------------------------------------------


def first_number(rng: random.Random) -> Question:
    """Step 0: healthy or not?"""
    V, off = rng.choice([256, 512, 1024, 4096, 50257]), rng.choice([-1.5, 0.1, 0.2, 3.0, 20.0])
    word = "healthy" if abs(off) < 0.5 else "too low" if off < 0 else "too high"
    return Question(
        f"Vocabulary {V:,}, loss at step 0 {math.log(V) + off:.1f}. In a word or two: healthy, too low or too high?",
        word, f"ln {V:,} is {math.log(V):.1f}.",
    )  # fmt: skip


def which_shard(rng: random.Random) -> Question:
    """Steps at which the loss jumps: which shard is bad?"""
    shards = rng.randint(4, 16)
    bad = rng.randrange(shards)
    step = bad + shards * rng.randint(2, 7)
    return Question(
        f"The loss jumps at steps {step}, {step + shards} and {step + 2 * shards}. {shards} shards are read in turn, "
        "step 0 reads shard 0. Which shard do you look at?", bad, f"{step} leaves {bad} when divided by {shards}.",
    )  # fmt: skip


def which_norm(rng: random.Random) -> Question:
    healthy, factor = rng.choice([0.8, 1.2, 1.5, 2.0, 2.5, 3.0]), rng.choice([2, 3, 4, 8, 16])
    return Question(
        f"A healthy run has the gradient norm {healthy} at step 0. Yours has {healthy * factor:g} there, at the same "
        "loss, and its losses are added over micro-batches. How many micro-batches has a step?", factor,
        "The loss is a mean and does not show it; the gradient of a sum is larger by their number.",
    )  # fmt: skip


def which_curve(rng: random.Random) -> Question:
    """Training against validation: which of three cases?"""
    train = rng.randint(20, 28) / 10
    gap = rng.choice([-0.6, -0.5, 0.1, 0.2, 1.5, 2.0])
    word = "validation in training" if gap < 0 else "healthy" if gap < 0.5 else "learnt by heart"
    return Question(
        f"Dropout aside, a run ends at {train:.1f} on its training text and {train + gap:.1f} on validation text. "
        "Which fits: healthy, learnt by heart, or validation in training?", word,
        "Unseen text is a little harder. Far harder means that the training text is known by heart, easier that the "
        "text was not unseen.",
    )  # fmt: skip


def which_step(rng: random.Random) -> Question:
    every, times = rng.choice([20, 25, 30, 40, 50]), rng.randint(1, 4)
    return Question(
        f"A run is preempted every {every} steps, and forgets its place in the data. Batches are counted from 0. Which "
        f"batch does step {every * times + 3} read?", 3,
        f"Reading began again at step {every * times}, with batch 0.",
    )  # fmt: skip


def which_change(rng: random.Random) -> Question:
    T = rng.randint(8, 64)
    changed = rng.randint(2, T - 1)
    return Question(
        f"You change the tokens from position {changed} on, of {T}. At how many positions, counted from 0, must the "
        "logits of a causal model stay as they were?", changed,
        f"At positions 0 to {changed - 1}: they saw none of it.",
    )  # fmt: skip


RECALL = (first_number, which_shard, which_norm, which_curve, which_step, which_change)
PREDICTIONS = {
    "13.p1": Prediction(
        "A healthy model with a vocabulary of 257 tokens: its loss before the first update, in nats per token?",
        lambda: math.log(257),
        "It knows nothing, so that each token costs about ln V. A little more is normal: small random weights make it "
        "prefer some tokens, and those are the wrong ones as often as not.",
    ),
    "13.p2": Prediction(
        "How many of the museum's eighteen exhibits fail at least one of the cheap checks, before their second step?",
        lambda: 16,
        "Nearly all. A mask, a target, a cut of the batch, a list of rates or a batch of text is wrong from the first "
        "step on, and needs no training to be seen.",
        0.1,
    ),
    "13.p3": Prediction(
        "Training loss and validation loss both fall to nearly zero. The targets are shifted, and step 0 is near ln V. "
        "Which cause: targets_not_shifted, val_in_train, duplicated_data or future_leak?",
        lambda: "future_leak",
        "Only a leak makes every text easy. Text learnt by heart is easy in training alone, and held-out text in the "
        "training data makes validation better than training.",
    ),
    "13.p4": Prediction(
        "A mask lets each position see one token too far; the model has two blocks. All tokens from a place on are "
        "changed: at how many of the sixteen positions before it do the logits move?",
        lambda: 2,
        "One position for each block: the last one sees across the border, and in the next block the one before it "
        "sees that.",
    ),
    "13.p5": Prediction(
        "Candidates rate_too_high and no_zero_grad. Which experiment has an answer that only no_zero_grad would give: "
        "loss_at_step_0, lower_rate, gradient_per_micro_batch, backward_twice or largest_gradient?",
        lambda: "backward_twice",
        "Ask for what only one of them changes: whether a second pass over the same batch gives the same gradient. A "
        "lower rate can speak against rate_too_high; for no_zero_grad it says nothing.",
    ),
    "13.p6": Prediction(
        "Every gradient is four times too large; clip 1, AdamW. Is the validation loss at the end worse by more than "
        "the interval of the paired difference? (yes or no)",
        None,
        "AdamW divides a gradient by its own usual size. A constant factor falls out, and only the clip sees it.",
    ),
    "13.p7": Prediction(
        "How many of the museum's eighteen exhibits end with a training loss that could be a healthy run's?",
        None,
        "Everything that is wrong with evaluation leaves the training loss as it is, and some other mistakes change it "
        "less than the seed does.",
        0.2,
    ),
    "13.p8": Prediction(
        "A large run's loss spikes. Its authors train on the batches around the spike again, from an earlier "
        "checkpoint. Does the loss spike again? (yes or no)",
        lambda: False,
        "It did not (Chowdhery et al. 2022). The batches alone are not the cause; they and the weights of that moment "
        "are, together.",
    ),
}
