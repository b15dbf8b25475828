"""Lesson 11, optimizers: cases, and the wrong ideas that people have about them."""
import math
import random
import warnings
from collections.abc import Callable

import torch

from . import Exercise, Mutant, Prediction, Property, Question, normal


def steps_above(start: float, bound: float) -> int:
    """How many steps of Jordan's polynomial a singular value needs to get above a bound."""
    steps = 0
    while start <= bound:
        start, steps = 3.4445 * start - 4.7750 * start**3 + 2.0315 * start**5, steps + 1
    return steps


MINE = "Whose data are these, and what does the caller find in them afterwards?"


# 11.1


def range_twin(rng: random.Random) -> Question:
    """A test of seven steps: falls, an explosion, and a large fall after it."""
    falls = rng.sample([1, 2, 3, 5, 8], 3)
    losses = [60]
    for fall in falls:
        losses.append(losses[-1] - fall)
    losses += [losses[-1] + 40, losses[-1] + 15]
    first = rng.choice([0.001, 0.002, 0.005])
    rates = [first * 2**i for i in range(len(losses))]
    pairs = ", ".join(f"{loss / 10:.1f} at {rate:g}" for rate, loss in zip(rates, losses))
    return Question(
        f"A range test; each loss was measured before the update with its rate: {pairs}. Which rate lowered the loss "
        "most, up to the lowest point?", rates[falls.index(max(falls))],
        f"The lowest loss is {losses[3] / 10:.1f}. Before it the largest fall is {max(falls) / 10:.1f}.", 0.001,
    )  # fmt: skip


def range_cases() -> list[tuple]:
    """Explosions, NaN, none at all, equal falls, a lowest loss that comes twice, a bump, losses below zero."""
    inf, nan = math.inf, math.nan
    curves = [
        (0.01, 2, [5.0, 4.75, 3.75, 3.5, 9.0, 6.0]),
        (0.02, 3, [5.0, 6.0, 8.0, inf, nan, nan, nan]),
        (0.5, 2, [4.0]),
        (0.1, 3, [4.0, 3.0]),
        (0.001, 10, [6.0, 5.875, 5.5, 3.25, 3.5, 7.0, nan, nan]),
        (0.03, 2, [8.0, 7.5, 6.5, 5.5, 5.25, 9.0, inf]),
        (0.02, 2, [6.0, 5.5, 4.5, 4.0, 7.0, 4.0, 8.0, inf, nan]),
        (0.05, 2, [6.0, 5.0, 6.75, 6.0, 5.25, 4.0, 10.0]),
        (0.2, 1.5, [9.0, 8.5, 7.0, 6.0, 5.75]),
        (0.01, 2, [16.0, 12.0, 9.5, 7.0, 4.0, 3.9375, 12.0, 40.0, inf, nan]),
        (0.04, 3, [1.0, 0.5, -1.0, -2.0, 3.0, 2.0]),
        (0.1, 2, [5.0, 4.0, 2.0, nan, nan]),
        (0.3, 2, [3.0, 3.0, 3.5]),
        (0.02, 2, [3.0, 3.25, 3.0, 2.75, 2.5, 6.0, 1000.0, 30.0]),
    ]
    return [(torch.tensor([first * factor**i for i in range(len(losses))]), torch.tensor(losses))
            for first, factor, losses in curves]  # fmt: skip


R_KNOWN = "known = torch.where(losses.isnan(), math.inf, losses)"
R_LOWEST = "lowest = int(known.argmin())"
R_GUARD = "if lowest == 0:\n        return math.nan"
R_CHANGES = "changes = known[1 : lowest + 1] - known[:lowest]"
R_RETURN = "return rates[int(changes.argmin())].item()"
R_STOPPED = "At the lowest loss the next update makes it larger. Was the rate of that update a good one?"
R_WHICH = "`losses[i]` was measured before the update with `rates[i]`. Which two losses show what this update did?"
R_AXIS = "The rates grow by a constant factor. How far apart are neighbours on a logarithmic axis?"
R_AFTER = "After an explosion the loss comes down by a lot. Has the model learnt with this rate?"
R_NONE = "No loss is below the first one. What does the test recommend?"
R_TIES = "Two updates lower the loss equally. Which of the rates does the statement take?"
RANGE_TEST = Exercise(
    cases=range_cases,
    mutants=(
        Mutant("lowest", R_RETURN, "return rates[lowest].item()",
               "the rate at the lowest loss is taken", R_STOPPED),
        Mutant("before_lowest", R_RETURN, "return rates[lowest - 1].item()",
               "the last rate before the lowest loss is taken", R_STOPPED),
        Mutant("tenth_of_lowest", R_RETURN, "return rates[lowest].item() / 10",
               "a tenth of the rate at the lowest loss is taken, as a rule of thumb says",
               "Which update lowered the loss most? Does your answer name one of the updates?"),
        Mutant("half_of_lowest", R_RETURN, "return rates[lowest].item() / 2",
               "half of the rate at the lowest loss is taken",
               "Which update lowered the loss most? Does your answer name one of the updates?"),
        Mutant("halfway", R_RETURN, "return rates[lowest // 2].item()",
               "the rate in the middle between the start and the lowest loss is taken",
               "Which update lowered the loss most? Does your answer look at the losses in between?"),
        Mutant("first", R_RETURN, "return rates[0].item()",
               "the first rate is taken", "Which update lowered the loss most?"),
        Mutant("after", R_RETURN, "return rates[int(changes.argmin()) + 1].item()",
               "the rate after the steepest fall is taken", R_WHICH),
        Mutant("before", R_RETURN, "return rates[max(int(changes.argmin()) - 1, 0)].item()",
               "the rate before the steepest fall is taken", R_WHICH),
        Mutant("between", R_RETURN, "k = int(changes.argmin())\n    return (rates[k] * rates[k + 1]).sqrt().item()",
               "the mean of the rates on both sides of the fall is taken", R_WHICH),
        Mutant("whole_curve", R_CHANGES, "changes = (known[1:] - known[:-1]).nan_to_num(nan=math.inf)",
               "falls after the lowest point count, too", R_AFTER),
        Mutant("whole_curve_raw", R_CHANGES, "changes = known.diff()\n"
               "    changes = torch.where(changes.isnan(), math.inf, changes)",
               "falls after the lowest point count, too", R_AFTER),
        Mutant("first_minimum", R_LOWEST, "lowest = next((i for i in range(len(known) - 1) if known[i + 1] >= known[i])"
               ", len(known) - 1)",
               "the search ends at the first rise, before the loss is at its lowest",
               "May a loss rise a little on its way down?"),
        Mutant("last_minimum", R_LOWEST, "lowest = len(known) - 1 - int(known.flip(0).argmin())",
               "of several lowest losses the last one counts", "The lowest loss comes twice. Which one counts?"),
        Mutant("one_too_few", R_CHANGES, "changes = known[1 : max(lowest, 2)] - known[: max(lowest - 1, 1)]",
               "the last fall, the one to the lowest loss, is left out",
               "Is the fall that leads to the lowest loss one of those that count?"),
        Mutant("later_tie", R_RETURN, "k = len(changes) - 1 - int(changes.flip(0).argmin())\n"
               "    return rates[k].item()",
               "of equal falls the last one counts", R_TIES),
        Mutant("linear_axis", R_CHANGES,
               "changes = (known[1 : lowest + 1] - known[:lowest]) / rates[: lowest + 1].diff()",
               "the slope is taken on a linear axis: falls are divided by the difference of the rates", R_AXIS),
        Mutant("per_rate", R_CHANGES, "changes = (known[1 : lowest + 1] - known[:lowest]) / rates[:lowest]",
               "the slope is taken on a linear axis: falls are divided by the difference of the rates", R_AXIS),
        Mutant("relative", R_CHANGES, "changes = known[1 : lowest + 1] / known[:lowest]",
               "falls are taken relative to the loss", "From 5 to 4, or from 2 to 1.5: which of the falls is larger?"),
        Mutant("relative_change", R_CHANGES,
               "changes = (known[1 : lowest + 1] - known[:lowest]) / known[:lowest].abs()",
               "falls are taken relative to the loss", "From 5 to 4, or from 2 to 1.5: which of the falls is larger?"),
        Mutant("rises", R_RETURN, "return rates[int(changes.argmax())].item()",
               "the smallest fall is taken, or the largest rise", "Which sign has a fall in your differences?"),
        Mutant("sizes", R_RETURN, "return rates[int(changes.abs().argmax())].item()",
               "the largest change counts, also a rise", "Is a rise a reason to like a rate?"),
        Mutant("reversed", R_CHANGES, "changes = known[:lowest] - known[1 : lowest + 1]",
               "the smallest fall is taken, or the largest rise", "Which sign has a fall in your differences?"),
        Mutant("from_start", R_CHANGES, "changes = (known[1 : lowest + 1] - known[0]) / torch.arange(1, lowest + 1)",
               "the mean fall since the start is taken", R_WHICH),
        Mutant("total", R_CHANGES, "changes = known[1 : lowest + 1] - known[0]",
               "the last rate before the lowest loss is taken", R_STOPPED),
        Mutant("centred", R_CHANGES, "padded = torch.cat([known[:1], known])\n"
               "    changes = (padded[2 : lowest + 2] - padded[:lowest]) / 2",
               "the fall is taken over two updates, the one before and this one", R_WHICH),
        Mutant("first_fall", R_RETURN, "return rates[int((changes < 0).int().argmax())].item()",
               "the first rate that lowers the loss is taken", "Which update lowered the loss most, not first?"),
        Mutant("last_fall", R_RETURN, "return rates[len(changes) - 1 - int((changes < 0).flip(0).int().argmax())]"
               ".item()", "the last rate before the lowest loss is taken", R_STOPPED),
        Mutant("index", R_RETURN, "return int(changes.argmin())",
               "the number of the step is returned, not its rate", "What is the result: a step or a rate?"),
        Mutant("loss", R_RETURN, "return known[int(changes.argmin())].item()",
               "a loss is returned, not a rate", "What is the result: a loss or a rate?"),
        Mutant("fall", R_RETURN, "return changes.min().item()",
               "the fall is returned, not the rate", "What is the result: a fall or a rate?"),
        Mutant("nan_lowest", R_KNOWN, "known = losses",
               "NaN is taken for the lowest loss", "What does argmin return if one of the numbers is NaN?"),
        Mutant("nan_is_zero", R_KNOWN, "known = losses.nan_to_num(nan=0.0)",
               "NaN is taken for a loss of 0", "How large is a loss that is NaN?"),
        Mutant("nan_is_minus", R_KNOWN, "known = torch.where(losses.isnan(), -math.inf, losses)",
               "NaN is taken for the lowest loss", "What does argmin return if one of the numbers is NaN?"),
        Mutant("no_guard", R_GUARD, "pass",
               "a curve that never falls is not provided for", R_NONE),
        Mutant("none_is_first", "return math.nan", "return rates[0].item()",
               "the first rate is recommended where the loss never falls", R_NONE),
        Mutant("none_is_zero", "return math.nan", "return 0.0",
               "0 is returned where the loss never falls", R_NONE),
        Mutant("none_is_none", "return math.nan", "return None",
               "None is returned where the loss never falls", R_NONE),
        Mutant("none_is_last", "return math.nan", "return rates[-1].item()",
               "the last rate is recommended where the loss never falls", R_NONE),
        Mutant("losses_in_place", R_KNOWN, "known = losses.nan_to_num_(nan=math.inf, posinf=math.inf)",
               "the losses that were handed in are changed", MINE),
    ),
    variants=("""\
def range_test(rates, losses):
    values = [math.inf if x != x else x for x in losses.tolist()]
    end = values.index(min(values))
    best, found = 0.0, math.nan
    for i in range(end):
        if values[i] - values[i + 1] > best:
            best, found = values[i] - values[i + 1], rates[i].item()
    return found""", """\
def range_test(rates, losses):
    losses = losses.nan_to_num(nan=3e38, posinf=3e38)
    end = (losses == losses.min()).nonzero()[0].item()
    falls = -losses[: end + 1].diff()
    return rates[falls.argmax()] if len(falls) else math.nan""", """\
def range_test(rates, losses):
    import numpy as np
    y = losses.numpy().copy()
    if np.isnan(y).all() or np.nanargmin(y) == 0:
        return float("nan")
    return float(rates[int(np.argmin(np.diff(y[: np.nanargmin(y) + 1])))])""",
    ),
    tolerance=1e-7,
    twin=range_twin,
)  # fmt: skip


# 11.2


def noise_twin(rng: random.Random) -> Question:
    """Squared gradient norms at two batch sizes: the noise scale."""
    small, times = rng.choice([10, 20, 50]), rng.choice([2, 4, 10])
    signal, part = rng.randint(1, 9), rng.randint(1, 9)
    noise = part * small * times  # tr Σ: `part` of it is left in the big batch
    return Question(
        f"The mean squared gradient length is {signal + part * times} in batches of {small} tokens and {signal + part} "
        f"in batches of {small * times}. What is the noise scale, in tokens?", noise / signal,
        f"The difference, {part * (times - 1)}, is tr Σ · (1/{small} − 1/{small * times}): tr Σ = {noise}, and "
        f"|G|² = {signal}.", 0.01,
    )  # fmt: skip


def noise_cases() -> list[tuple]:
    """A signal with noise that falls as 1/B; one batch of each; no noise; signal 0 or below; gradients of zero."""
    cases = [(10, 40, torch.tensor([[3.0, 1.0], [1.0, -3.0]]), torch.tensor([[2.0, 0.0]]))]
    for i, (small, big, K, M, P) in enumerate(((4, 32, 6, 3, 5), (100, 300, 7, 2, 40), (3, 5, 2, 9, 11),
                                               (64, 1024, 5, 5, 30), (1, 2, 8, 4, 25))):  # fmt: skip
        G, a, b = normal(1120 + i, (P,), (K, P), (M, P))
        spread = (2, 10, 1, 20, 0.5)[i]
        cases.append((small, big, 2 * G + spread * a / small**0.5, 2 * G + spread * b / big**0.5))
    cases += [
        (2, 16, torch.tensor([[3.0, 4.0, 0.0]]), torch.tensor([[0.0, 0.0, 3.0]])),  # 25 and 9: 18.3, 6.7
        (1, 4, torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])),  # the signal is exactly 0
        (8, 16, torch.tensor([[3.0, 0.0], [0.0, 5.0]]), torch.tensor([[1.0, 1.0]])),  # the signal is below 0
        (8, 64, torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 2.0], [0.0, 3.0]])),  # no noise is seen
        (5, 7, torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 1.0], [2.0, -1.0], [-1.0, 2.0]])),  # equal: exactly 0
        (2, 8, torch.zeros(3, 4), torch.zeros(2, 4)),
    ]
    return cases


N_SQUARES = "of_small, of_big = (g.square().sum(dim=1).mean().item() for g in (g_small, g_big))"
N_NOISE = "noise = (of_small - of_big) / (1 / small - 1 / big)"
N_SIGNAL = "signal = of_big - noise / big"
N_GUARD = "if signal <= 0:\n        return math.inf"
N_RETURN = "return max(0.0, noise / signal)"
N_LENGTH = "Two gradients of opposite sign: what is the mean of their squared lengths, and what does yours give?"
N_COUNT = "Someone hands you twice as many small batches. Should the estimate grow?"
N_LINE = "A line through the points (1/b, y) and (1/B, Y): what is its slope, and what is Y minus the slope over B?"
N_STILL = "Is there still noise in the gradient of the big batch?"
N_UNIT = "In which unit should the result be, and in which is yours?"
N_INF = "The estimate of |G|² is 0 or negative. What does that say of signal and noise?"
N_NONE = "The big batch's gradients are as long as the small ones'. How much noise was seen?"


def squares(text: str) -> str:
    """The line of the reference that averages squared lengths, with another way to do it."""
    return N_SQUARES.replace("g.square().sum(dim=1).mean().item()", text)


NOISE_SCALE = Exercise(
    cases=noise_cases,
    mutants=(
        Mutant("mean_first", N_SQUARES, squares("g.mean(dim=0).square().sum().item()"),
               "the gradients are averaged before their length is squared", N_LENGTH),
        Mutant("lengths", N_SQUARES, squares("g.norm(dim=1).mean().item()"),
               "lengths are averaged instead of squared lengths",
               "Which of the two is a straight line in 1/B: the length or its square?"),
        Mutant("square_of_mean_length", N_SQUARES, squares("g.norm(dim=1).mean().item() ** 2"),
               "lengths are averaged first and squared afterwards",
               "Is the square of a mean the mean of the squares?"),
        Mutant("sum", N_SQUARES, squares("g.square().sum().item()"),
               "the squares of all batches are added up instead of averaged", N_COUNT),
        Mutant("wrong_axis", N_SQUARES, squares("g.square().sum(dim=0).mean().item()"),
               "the squares of all batches are added up instead of averaged", N_COUNT),
        Mutant("first_batch", N_SQUARES, squares("g[0].square().sum().item()"),
               "only the first batch of each kind is used", "How many gradients does your function look at?"),
        Mutant("median", N_SQUARES, squares("g.square().sum(dim=1).median().item()"),
               "the median stands for the mean", "Which average is linear in 1/B?"),
        Mutant("variance", N_NOISE, "noise = g_small.var(dim=0, correction=0).sum().item() * small",
               "the noise is taken from the scatter of the small batches alone",
               "Through which two points should the line go?"),
        Mutant("no_square", N_SQUARES, squares("g.abs().sum(dim=1).mean().item()"),
               "sizes are added up instead of squares", "What is the squared length of a vector?"),
        Mutant("largest", N_SQUARES, squares("g.square().sum(dim=1).max().item()"),
               "the longest gradient stands for the mean", "What is E in the formula?"),
        Mutant("signal_big", N_SIGNAL, "signal = of_big",
               "the big batch's squared length is taken for |G|²", N_STILL),
        Mutant("signal_small", N_SIGNAL, "signal = of_small",
               "the small batch's squared length is taken for |G|²", N_STILL),
        Mutant("naive_both", f"{N_NOISE}\n    {N_SIGNAL}",
               "signal = of_big\n    noise = (of_small - of_big) * small",
               "the big batch counts as free of noise, in both numbers", N_STILL),
        Mutant("signal_wrong_size", N_SIGNAL, "signal = of_big - noise / small",
               "the small batch's share of noise is taken from the big batch's length", N_LINE),
        Mutant("signal_wrong_length", N_SIGNAL, "signal = of_small - noise / big",
               "the big batch's share of noise is taken from the small batch's length", N_LINE),
        Mutant("signal_all_noise", N_SIGNAL, "signal = of_big - noise",
               "the noise of a single token is taken from the big batch's length", N_LINE),
        Mutant("signal_plus", N_SIGNAL, "signal = of_big + noise / big",
               "the noise is added to the big batch's length", N_LINE),
        Mutant("signal_difference", N_SIGNAL, "signal = of_small - of_big",
               "the difference of the two lengths is taken for |G|²", N_LINE),
        Mutant("mean_point", N_SIGNAL, "signal = (of_small + of_big) / 2",
               "the mean of both squared lengths is taken for |G|²", N_STILL),
        Mutant("no_division", N_NOISE, "noise = of_small - of_big",
               "the difference of the lengths is taken for tr Σ", N_UNIT),
        Mutant("noise_of_sizes", N_NOISE, "noise = (of_small - of_big) / (big - small)",
               "the difference is divided by that of the sizes, not of their inverses", N_LINE),
        Mutant("noise_times_sizes", N_NOISE, "noise = (of_small - of_big) * (big - small)",
               "the difference is multiplied by that of the sizes", N_LINE),
        Mutant("noise_plus", N_NOISE, "noise = (of_small - of_big) / (1 / small + 1 / big)",
               "the inverse sizes are added instead of subtracted", N_LINE),
        Mutant("noise_small", N_NOISE, "noise = (of_small - of_big) * small",
               "the big batch counts as free of noise when tr Σ is estimated", N_STILL),
        Mutant("noise_big", N_NOISE, "noise = (of_small - of_big) * big",
               "the difference is multiplied by the big batch's size", N_LINE),
        Mutant("noise_all", N_NOISE, "noise = of_small * small",
               "the small batch's whole length is taken for noise", N_LINE),
        Mutant("root_law", N_NOISE, "noise = (of_small - of_big) / (small**-0.5 - big**-0.5)",
               "the noise is taken to fall as the root of the batch",
               "Which falls as 1/B: the spread of the noise or its variance?"),
        Mutant("sign", N_NOISE, "noise = (of_big - of_small) / (1 / small - 1 / big)",
               "the slope has the wrong sign", N_LINE),
        Mutant("inverted", N_RETURN, "return max(0.0, signal / noise) if noise else 0.0",
               "numerator and denominator have changed places", N_UNIT),
        Mutant("root", N_RETURN, "return math.sqrt(max(0.0, noise / signal))",
               "the root of the noise scale is returned", N_UNIT),
        Mutant("only_noise", N_RETURN, "return max(0.0, noise)",
               "tr Σ itself is returned", "Which quotient is asked for?"),
        Mutant("in_batches", N_RETURN, "return max(0.0, noise / signal / small)",
               "the result is in small batches instead of tokens", N_UNIT),
        Mutant("in_big_batches", N_RETURN, "return max(0.0, noise / signal / big)",
               "the result is in big batches instead of tokens", N_UNIT),
        Mutant("rounded", N_RETURN, "return round(max(0.0, noise / signal))",
               "the result is rounded to whole tokens", "Does the statement ask for a whole number?"),
        Mutant("pair", N_RETURN, "return max(0.0, noise), signal",
               "both estimates are returned instead of their quotient", "Which quotient is asked for?"),
        Mutant("sizes_swapped", N_SQUARES, f"{N_SQUARES}\n    small, big = big, small",
               "the two sizes have changed places", "Which gradients came from the small batches?"),
        Mutant("gradients_swapped", "(g_small, g_big)", "(g_big, g_small)",
               "the two sizes have changed places", "Which gradients came from the small batches?"),
        Mutant("noise_not_clamped", N_RETURN, "return noise / signal",
               "the estimate of a variance may be negative", N_NONE),
        Mutant("noise_size", N_RETURN, "return abs(noise / signal)",
               "the sign of a negative estimate is dropped", N_NONE),
        Mutant("negative_is_inf", N_GUARD, "if signal <= 0 or noise < 0:\n        return math.inf",
               "a negative estimate of tr Σ counts as endless noise", N_NONE),
        Mutant("negative_is_nan", N_GUARD, "if noise < 0:\n        return math.nan\n    if signal <= 0:\n"
               "        return math.inf",
               "a negative estimate of tr Σ gives NaN", N_NONE),
        Mutant("nothing_is_zero", N_GUARD, "if noise <= 0:\n        return 0.0\n    " + N_GUARD,
               "0 is returned for gradients of zero, which have no noise, but no signal either", N_INF),
        Mutant("no_guard", N_GUARD, "if signal == 0:\n        return math.inf",
               "a signal below 0 is not noticed", N_INF),
        Mutant("zero_signal", "signal <= 0", "signal < 0",
               "a signal of exactly 0 is divided by", N_INF),
        Mutant("signal_size", N_SIGNAL, "signal = abs(of_big - noise / big)",
               "the sign of a negative signal is dropped", N_INF),
        Mutant("lost_is_zero", "return math.inf", "return 0.0",
               "0 is returned where the signal is lost", N_INF),
        Mutant("lost_is_nan", "return math.inf", "return math.nan",
               "NaN is returned where the signal is lost", N_INF),
        Mutant("lost_is_none", "return math.inf", "return None",
               "None is returned where the signal is lost", N_INF),
        Mutant("in_place", N_SQUARES, squares("g.square_().sum(dim=1).mean().item()"),
               "the gradients that were handed in are changed", MINE),
    ),
    variants=("""\
def noise_scale(small, big, g_small, g_big):
    a = sum((row**2).sum().item() for row in g_small) / len(g_small)
    b = sum((row**2).sum().item() for row in g_big) / len(g_big)
    signal = (big * b - small * a) / (big - small)
    noise = (a - b) * small * big / (big - small)
    return math.inf if signal <= 0 else max(noise, 0) / signal""", """\
def noise_scale(small, big, g_small, g_big):
    points = torch.tensor([[1 / small, 1.0], [1 / big, 1.0]], dtype=torch.float64)
    y = torch.stack([g_small.double().pow(2).mean(), g_big.double().pow(2).mean()])
    noise, signal = torch.linalg.solve(points, y)
    return math.inf if signal < 1e-12 else (noise / signal).clamp(min=0)""", """\
def noise_scale(small, big, g_small, g_big):
    one, two = (torch.einsum("kp,kp->", g, g).item() / g.shape[0] for g in (g_small, g_big))
    if two * big <= one * small:
        return math.inf
    return max(0.0, small * big * (one - two) / (two * big - one * small))""",
    ),
    tolerance=1e-4,
    twin=noise_twin,
)  # fmt: skip


# 11.3


def hyperbola_twin(rng: random.Random) -> Question:
    steps, critical = rng.choice([50, 100, 200, 400]), 2 ** rng.randint(9, 13)
    share = rng.choice([0.25, 0.5, 2, 4])
    return Question(
        f"At least {steps} steps and at least {steps * critical:,} tokens are needed. How many steps are they at "
        f"{critical * share:,.0f} tokens in a batch?", steps * (1 + 1 / share),
        f"S = S_min + E_min / B = {steps} + {steps / share:g}.", 0.005,
    )  # fmt: skip


T_STEPS = "steps = smallest_steps + smallest_tokens / batch"
T_RETURN = "return steps, steps * batch"
T_HUGE = "The batch becomes huge. Which number should the steps approach?"
T_TINY = "The batch becomes tiny. Which number should the tokens approach?"
T_CRITICAL = "At a batch of E_min / S_min, what should both numbers be, relative to their smallest?"
T_PRODUCT = "How are steps, tokens and batch connected, whatever the law says?"
TOKENS_TO_TARGET = Exercise(
    cases=lambda: [
        (500, 100, 200_000), (8000, 100, 200_000), (2000, 100, 200_000), (64, 7, 300), (0.5, 10, 3), (3, 250, 8000),
        (1_000_000, 12, 5000), (1, 1, 1), (24.0, 1.5, 90.0), (7, 40, 2), (0.3, 2.5, 7.1),
    ],
    mutants=(
        Mutant("only_tokens", T_STEPS, "steps = smallest_tokens / batch",
               "the tokens stay at their smallest, whatever the batch", T_HUGE),
        Mutant("only_steps", T_STEPS, "steps = smallest_steps",
               "the steps stay at their smallest, whatever the batch", T_TINY),
        Mutant("larger", T_STEPS, "steps = max(smallest_steps, smallest_tokens / batch)",
               "the larger of the two limits is taken, as if the bend were a corner", T_CRITICAL),
        Mutant("smaller", T_STEPS, "steps = min(smallest_steps, smallest_tokens / batch)",
               "the smaller of the two limits is taken", T_CRITICAL),
        Mutant("mean", T_STEPS, "steps = (smallest_steps + smallest_tokens / batch) / 2",
               "the two limits are averaged", T_CRITICAL),
        Mutant("root", T_STEPS, "steps = math.hypot(smallest_steps, smallest_tokens / batch)",
               "the two limits are added as squares", T_CRITICAL),
        Mutant("geometric", T_STEPS, "steps = math.sqrt(smallest_steps * smallest_tokens / batch)",
               "the geometric mean of the two limits is taken", T_CRITICAL),
        Mutant("harmonic", T_STEPS, "steps = 1 / (1 / smallest_steps + batch / smallest_tokens)",
               "the inverses of the limits are added", T_CRITICAL),
        Mutant("product", T_STEPS, "steps = smallest_steps * smallest_tokens / batch",
               "the two limits are multiplied", T_CRITICAL),
        Mutant("inverted", T_STEPS, "steps = smallest_steps * (1 + batch * smallest_steps / smallest_tokens)",
               "more tokens in a batch make more steps: B / B_crit and its inverse have changed places", T_HUGE),
        Mutant("critical_inverted", T_STEPS, "steps = smallest_steps * (1 + smallest_steps / smallest_tokens / batch)",
               "the critical batch is taken to be S_min / E_min", "In which unit is S_min / E_min, in which a batch?"),
        Mutant("rooted", T_STEPS,
               "steps = smallest_steps * (1 + math.sqrt(smallest_tokens / smallest_steps / batch))",
               "the root of B_crit / B is added", T_TINY),
        Mutant("squared", T_STEPS, "steps = smallest_steps * (1 + (smallest_tokens / smallest_steps / batch) ** 2)",
               "the square of B_crit / B is added", T_TINY),
        Mutant("no_one", T_STEPS, "steps = smallest_steps + smallest_tokens / batch - 1",
               "1 is subtracted from the steps", T_CRITICAL),
        Mutant("plus_one", T_STEPS, "steps = smallest_steps + smallest_tokens / batch + 1",
               "1 is added to the steps", T_CRITICAL),
        Mutant("difference", T_STEPS, "steps = abs(smallest_steps - smallest_tokens / batch)",
               "the limits are subtracted", T_CRITICAL),
        Mutant("double", T_STEPS, "steps = 2 * smallest_steps",
               "every batch is treated as the critical one", T_HUGE),
        Mutant("swapped_arguments", T_STEPS, "steps = smallest_tokens + smallest_steps / batch",
               "the smallest steps and tokens have changed places", T_HUGE),
        Mutant("rounded", T_STEPS, "steps = round(smallest_steps + smallest_tokens / batch)",
               "the steps are rounded", "Does the statement ask for whole steps?"),
        Mutant("rounded_up", T_STEPS, "steps = math.ceil(smallest_steps + smallest_tokens / batch)",
               "the steps are rounded up", "Does the statement ask for whole steps?"),
        Mutant("whole", T_STEPS, "steps = smallest_steps + smallest_tokens // batch",
               "the division rounds down", "Does the statement ask for whole steps?"),
        Mutant("critical_whole", T_STEPS,
               "steps = smallest_steps * (1 + smallest_tokens // smallest_steps / batch)",
               "the critical batch, E_min / S_min, is rounded down",
               "At least 40 steps and at least 60 tokens are needed. Which batch is the critical one?"),
        Mutant("tokens_smallest", T_RETURN, "return steps, smallest_tokens",
               "the tokens are always the smallest", T_PRODUCT),
        Mutant("tokens_added", T_RETURN, "return steps, smallest_tokens + batch",
               "one batch is added to the smallest tokens", T_PRODUCT),
        Mutant("tokens_limit", T_RETURN, "return steps, smallest_steps * batch",
               "the tokens are those of the smallest number of steps", T_PRODUCT),
        Mutant("tokens_same_factor", T_RETURN, "return steps, smallest_tokens * steps / smallest_steps",
               "steps and tokens are both raised by the same factor",
               "Which grows when the batch grows: the steps, the tokens, or both?"),
        Mutant("tokens_divided", T_RETURN, "return steps, steps / batch",
               "the steps are divided by the batch", T_PRODUCT),
        Mutant("tokens_whole", T_RETURN, "return steps, int(steps) * batch",
               "the tokens are those of whole steps", "Does the statement ask for whole steps?"),
        Mutant("swapped_results", T_RETURN, "return steps * batch, steps",
               "steps and tokens have changed places in the result", "Which of the two comes first?"),
        Mutant("only_one", T_RETURN, "return steps",
               "only the steps are returned", "How many numbers are asked for?"),
        Mutant("factors", T_RETURN, "return steps / smallest_steps, steps * batch / smallest_tokens",
               "both numbers are returned relative to their smallest",
               "In which units are the two numbers of the example?"),
    ),
    variants=("""\
def tokens_to_target(batch, smallest_steps, smallest_tokens):
    critical = smallest_tokens / smallest_steps
    return smallest_steps * (1 + critical / batch), smallest_tokens * (1 + batch / critical)""", """\
def tokens_to_target(batch, smallest_steps, smallest_tokens):
    tokens = smallest_tokens + smallest_steps * batch
    return [tokens / batch, tokens]""", """\
def tokens_to_target(batch, smallest_steps, smallest_tokens):
    low, high = smallest_steps, smallest_steps + 2 * smallest_tokens / batch
    for _ in range(200):
        S = (low + high) / 2
        if (S / smallest_steps - 1) * (S * batch / smallest_tokens - 1) < 1:
            low = S
        else:
            high = S
    return S, S * batch""",
    ),
    properties=(
        Property(lambda r, batch, *rest: abs(r[0] * batch - r[1]) <= 1e-4 * abs(r[1]),
                 "For some batch that was tried, steps times batch are not the tokens."),
        Property(lambda r, batch, s, e: r[0] >= s * 0.9999 and r[1] >= e * 0.9999,
                 "For some batch that was tried, steps or tokens come out below their smallest number."),
    ),
    twin=hyperbola_twin,
)  # fmt: skip


# 11.4


def polynomial_twin(rng: random.Random) -> Question:
    value = rng.choice([0.1, 0.2, 0.3, 0.5, 0.6, 0.8])
    a, b = rng.choice([(1.5, -0.5), (2.0, -1.0), (3.0, -2.0), (2.5, -1.5)])
    return Question(
        f"A singular value of {value}. What becomes of it in one step of {a:g} X − {-b:g} X Xᵀ X?",
        a * value + b * value**3, f"{a:g} · {value} − {-b:g} · {value}³: only σ and its cube occur.", 0.005,
    )  # fmt: skip


JORDAN = (3.4445, -4.7750, 2.0315)
W_START = "values = singular_values / singular_values.norm().clamp(min=1e-30)"
W_LOOP = "for _ in range(steps):"
W_STEP = "values = sum(c * values ** (2 * k + 1) for k, c in enumerate(coefficients))"
W_DIVIDE = "By what does the statement divide, and how often?"
W_POWERS = "X Xᵀ X cubes the singular values. Which powers can be made of X and products like this?"
W_REPEAT = "To which values is the polynomial applied the second time?"
W_ORDER = "Which coefficient belongs to the first power?"
W_COUNT = "How often is the polynomial applied for steps = 0, and for steps = 1?"
W_GUARDED = "the divisor is kept above 0 by a small number, and tiny values are smaller than that"
W_TINY = "All values become a hundred million times smaller. Should the result change?"
W_ZERO = "All singular values are 0. What is divided by what?"
NEWTON_SCHULZ = Exercise(
    cases=lambda: [
        (torch.tensor([3.0, 4.0]), 0, (1.5, -0.5)), (torch.tensor([3.0, 4.0]), 1, (1.5, -0.5)),
        (torch.tensor([4.0, 3.0]), 1, (2.0, -1.5, 0.5)), (torch.tensor([0.1, 2.0, 0.7]), 3, (1.5, -0.5)),
        (torch.tensor([5.0, 0.0, 0.02, 1.0, 2.5]), 5, JORDAN), (torch.zeros(4), 2, (1.5, -0.5)),
        (torch.tensor([0.25]), 2, (0.5, 0.25, 1.0)), (torch.tensor([0.3, 0.1, 0.2, 0.4]), 2, (0.8,)),
        (torch.tensor([2.0, 0.3, 1.0, 0.3, 1.5, 0.9]), 1, (2.0, -2.0, 1.5, -0.5)),
        (torch.tensor([6.0, 1.0, 1.0]), 2, (3.0, -3.2, 1.2)), (torch.zeros(1), 0, (1.0,)),
        (torch.tensor([0.02, 0.01, 0.05, 0.03, 0.04, 0.06, 0.07]), 4, (1.875, -1.25, 0.375)),
        (torch.tensor([4.8e-9, 0.0, 6.4e-9]), 1, (1.5, -0.5)),
    ],
    mutants=(
        Mutant("not_divided", W_START, "values = singular_values",
               "nothing is divided at the beginning", W_DIVIDE),
        Mutant("by_largest", W_START, "values = singular_values / singular_values.max().clamp(min=1e-30)",
               "the values are divided by the largest of them", W_DIVIDE),
        Mutant("by_sum", W_START, "values = singular_values / singular_values.sum().clamp(min=1e-30)",
               "the values are divided by their sum", W_DIVIDE),
        Mutant("by_squares", W_START, "values = singular_values / singular_values.square().sum().clamp(min=1e-30)",
               "the values are divided by the sum of squares, without its root", W_DIVIDE),
        Mutant("by_rms", W_START, "values = singular_values / singular_values.square().mean().sqrt().clamp(min=1e-30)",
               "the values are divided by the root of the mean square", W_DIVIDE),
        Mutant("by_count", W_START, "values = singular_values / len(singular_values)",
               "the values are divided by their number", W_DIVIDE),
        Mutant("only_if_large", W_START, "values = singular_values / singular_values.norm().clamp(min=1)",
               "the values are divided only if the root of the sum of squares is above 1", W_DIVIDE),
        Mutant("plus_one", W_START, "values = singular_values / (singular_values.norm() + 1)",
               "1 is added to the divisor", W_DIVIDE),
        *(Mutant(f"plus_1e-{n}", W_START, f"values = singular_values / (singular_values.norm() + 1e-{n})",
                 W_GUARDED, W_TINY) for n in (6, 7, 8)),
        *(Mutant(f"at_least_1e-{n}", W_START, f"values = singular_values / singular_values.norm().clamp(min=1e-{n})",
                 W_GUARDED, W_TINY) for n in (6, 7, 8)),
        Mutant("each_step", W_STEP, W_STEP + "\n        values = values / values.norm().clamp(min=1e-30)",
               "the values are divided again after every step", W_DIVIDE),
        Mutant("divided_before_each", f"{W_START}\n    {W_LOOP}",
               f"{W_START}\n    {W_LOOP}\n        values = values / values.norm().clamp(min=1e-30)",
               "the values are divided again before every step", W_DIVIDE),
        Mutant("divided_at_the_end", W_STEP, W_STEP + "\n    values = values / values.norm().clamp(min=1e-30)",
               "the result is divided, too", W_DIVIDE),
        Mutant("all_powers", "(2 * k + 1)", "(k + 1)",
               "all powers from the first on are used", W_POWERS),
        Mutant("powers_from_zero", "(2 * k + 1)", "k",
               "all powers from zero on are used", W_POWERS),
        Mutant("even_powers", "(2 * k + 1)", "(2 * k)",
               "even powers are used", W_POWERS),
        Mutant("even_from_two", "(2 * k + 1)", "(2 * k + 2)",
               "even powers are used, from the second on", W_POWERS),
        Mutant("from_cube", "(2 * k + 1)", "(2 * k + 3)",
               "the first coefficient belongs to the cube", W_ORDER),
        Mutant("powers_of_three", "(2 * k + 1)", "(3**k)",
               "each term cubes the one before it",
               "(X Xᵀ)² X: to which power are the singular values taken?"),
        Mutant("reversed", "enumerate(coefficients)", "enumerate(coefficients[::-1])",
               "the first coefficient belongs to the highest power", W_ORDER),
        Mutant("first_three", "enumerate(coefficients)", "enumerate(coefficients[:3])",
               "at most three coefficients are used", "How many coefficients may there be?"),
        Mutant("first_two", "enumerate(coefficients)", "enumerate(coefficients[:2])",
               "at most two coefficients are used", "How many coefficients may there be?"),
        Mutant("exactly_three", W_STEP, "a, b, c = coefficients\n"
               "        values = a * values + b * values**3 + c * values**5",
               "exactly three coefficients are expected", "How many coefficients may there be?"),
        Mutant("from_start", f"{W_LOOP}\n        {W_STEP}",
               "start = values\n    for _ in range(steps):\n        " + W_STEP.replace("c * values", "c * start"),
               "only one step is made in the end, for each begins with the values of the start", W_REPEAT),
        Mutant("added", W_STEP, "values = values + sum(c * values ** (2 * k + 1) for k, c in enumerate(coefficients))",
               "the polynomial is added to the values instead of replacing them", W_REPEAT),
        Mutant("once", W_LOOP, "if steps:",
               "only one step is made in the end, for each begins with the values of the start", W_REPEAT),
        Mutant("one_more", "range(steps)", "range(steps + 1)",
               "the polynomial is applied once too often", W_COUNT),
        Mutant("one_less", "range(steps)", "range(steps - 1)",
               "the polynomial is applied once too rarely", W_COUNT),
        Mutant("at_least_once", "range(steps)", "range(max(steps, 1))",
               "the polynomial is applied even for 0 steps", W_COUNT),
        Mutant("one_term_a_step", W_STEP, "values = coefficients[_ % len(coefficients)] * values ** "
               "(2 * (_ % len(coefficients)) + 1)",
               "each step uses one term of the polynomial", "How many terms has the polynomial in every single step?"),
        Mutant("clipped", W_STEP, W_STEP + "\n        values = values.clamp(max=1)",
               "values above 1 are cut off", "Does the statement keep the values below 1 after the start?"),
        Mutant("horner_slip", W_STEP, "total = 0\n        for c in coefficients:\n"
               "            total = total * values**2 + c\n        values = total * values",
               "the first coefficient belongs to the highest power", W_ORDER),
        Mutant("sorted", W_START, "singular_values = singular_values.sort(descending=True).values\n    " + W_START,
               "the values are sorted", "In which order should the result be?"),
        Mutant("nan", ".clamp(min=1e-30)", "",
               "0 is divided by 0 where all singular values are 0", W_ZERO),
        Mutant("zeros_become_ones", "return values", "return torch.where(singular_values.sum() == 0, "
               "torch.ones_like(values), values)",
               "zeros are taken to 1", W_ZERO),
        Mutant("in_place", W_START, "values = singular_values.div_(singular_values.norm().clamp(min=1e-30))",
               "the values that were handed in are changed", MINE),
        Mutant("listed", "return values", "return values.tolist()",
               "a list is returned instead of a tensor", "Which type has the result in the example?"),
        Mutant("double", "return values", "return values.double()",
               "the result is float64", "Which dtype does the statement ask for?"),
    ),
    variants=("""\
def newton_schulz(singular_values, steps, coefficients):
    x = singular_values / (singular_values.square().sum().sqrt() + 1e-12)
    for _ in range(steps):
        square, total = x * x, torch.zeros_like(x)
        for c in reversed(coefficients):
            total = total * square + c
        x = total * x
    return x""", """\
def newton_schulz(singular_values, steps, coefficients):
    norm = math.sqrt(sum(s * s for s in singular_values.tolist()))
    out = []
    for s in singular_values.tolist():
        s = s / norm if norm else 0.0
        for _ in range(steps):
            s, power, old = 0.0, s, s
            for c in coefficients:
                s, power = s + c * power, power * old * old
        out.append(s)
    return torch.tensor(out)""", """\
def newton_schulz(singular_values, steps, coefficients):
    X = torch.diag(singular_values)
    X = X / X.norm() if X.any() else X
    for _ in range(steps):
        term, new = X, torch.zeros_like(X)
        for c in coefficients:
            new, term = new + c * term, X @ X.T @ term
        X = new
    return X.diagonal()""",
    ),
    tolerance=1e-4,
    twin=polynomial_twin,
)  # fmt: skip


# 11.5


def muon_twin(rng: random.Random) -> Question:
    """The length that the shape of a matrix gives to Muon's step."""
    columns, times = rng.choice([16, 32, 64]), rng.choice([1, 4, 9, 16])
    lr, turned = rng.choice([0.01, 0.02, 0.05]), rng.random() < 0.3
    shape = (columns, columns * times) if turned else (columns * times, columns)
    factor = 1 if turned else math.sqrt(times)
    return Question(
        f"Muon, rate {lr}, no weight decay, an exact orthogonalisation. A matrix of {shape[0]} rows and {shape[1]} "
        "columns, whose gradient is 1000 times as long as usual: how large are the singular values of the step?",
        lr * factor, "The length of the gradient is lost; what remains is the rate, times √(rows / columns) if tall.",
        0.005,
    )  # fmt: skip


def polar(matrix: torch.Tensor) -> torch.Tensor:
    """All singular values 1, but for those that are 0."""
    U, S, Vh = torch.linalg.svd(matrix, full_matrices=False)
    return (U * (S > 1e-6)) @ Vh


def nearly(matrix: torch.Tensor) -> torch.Tensor:
    """All singular values 0.9, as an iteration leaves them that stops early."""
    return 0.9 * polar(matrix)


def unit(matrix: torch.Tensor) -> torch.Tensor:
    """Length 1; for a single row or column this is orthogonalising."""
    return matrix / matrix.norm().clamp(min=1e-30)


def muon_cases() -> list[tuple]:
    """weight, grad, buffer, lr, momentum, decay, orthogonalize: wide, tall, first steps, no decay, only decay."""
    shapes = ((3, 5), (6, 2), (8, 2), (1, 7), (5, 1), (2, 4), (4, 9), (7, 3), (3, 8), (9, 4))
    hypers = ((0.3, 0.9, 0.5), (0.5, 0.75, 0.0), (0.2, 0.5, 0.8), (0.4, 0.8, 0.3), (0.6, 0.0, 0.4), (0.3, 0.6, 0.7),
              (0.5, 0.95, 0.6), (0.0, 0.7, 0.9), (0.25, 0.4, 1.5), (0.7, 0.85, 0.2))  # fmt: skip
    cases = []
    for i, (shape, hyper) in enumerate(zip(shapes, hypers)):
        weight, grad, buffer = normal(1150 + i, shape, shape, shape)
        orthogonalize = unit if min(shape) == 1 else nearly if i in (0, 7, 9) else polar
        cases.append((weight, grad * (1.0, 3.0, 0.2)[i % 3], buffer, *hyper, orthogonalize))
    cases[1][2].zero_()  # the first step
    cases[5][1].zero_(), cases[5][2].zero_()  # only decay is left
    cases[6][1].zero_()
    return cases


M_FACTOR = "factor = math.sqrt(max(1, rows / columns))"
M_BUFFER = "buffer = momentum * momentum_buffer + (1 - momentum) * grad"
M_AHEAD = "ahead = momentum * buffer + (1 - momentum) * grad"
M_UPDATE = "update = factor * orthogonalize(ahead)"
M_RETURN = "return weight * (1 - lr * decay) - lr * update, buffer"
M_SIZE = "Multiply what you hand to `orthogonalize` by 7. What becomes of its result?"
M_DECAY = "Gradient and buffer are 0. By how much should the weight change, and by how much does it?"
M_STATE = "What does the next step need: what looks ahead, or the plain running mean?"
M_LOOK = "Gradient g, old buffer 0, momentum 0.5. How much of g is in the buffer, and how much in what looks ahead?"
M_SHAPE = "For which shapes is the factor above 1, and how large is it with four times as many rows as columns?"
M_MEAN = "A gradient of 1 comes in every step. Towards which number should the buffer go?"
M_OWN = "The caller makes the step a second time with the same tensors. Is the result the same?"
MUON_STEP = Exercise(
    cases=muon_cases,
    mutants=(
        Mutant("factor_inside", M_UPDATE, "update = orthogonalize(factor * ahead)",
               "the factor for the shape is applied before orthogonalising, and is lost in it", M_SIZE),
        Mutant("no_factor", M_FACTOR, "factor = 1",
               "the factor for the shape is applied before orthogonalising, and is lost in it", M_SIZE),
        Mutant("decay_inside", f"{M_UPDATE}\n    {M_RETURN}",
               "update = factor * orthogonalize(ahead + decay * weight)\n    return weight - lr * update, buffer",
               "the decay goes through the orthogonalisation", M_DECAY),
        Mutant("decay_in_gradient", M_FACTOR, f"{M_FACTOR}\n    grad, decay = grad + decay * weight, 0",
               "the decay is added to the gradient and so to the momentum", M_DECAY),
        Mutant("decay_and_inside", M_UPDATE, "update = factor * orthogonalize(ahead + decay * weight)",
               "the decay acts twice, on the weight and through the orthogonalisation", M_DECAY),
        Mutant("ahead_stored", M_RETURN, M_RETURN.replace("update, buffer", "update, ahead"),
               "what looks ahead is stored as the buffer", M_STATE),
        Mutant("only_decay_mended", f"{M_AHEAD}\n    {M_UPDATE}\n    {M_RETURN}",
               "buffer = momentum * buffer + (1 - momentum) * grad\n"
               "    update = orthogonalize(factor * buffer)\n"
               "    return weight * (1 - lr * decay) - lr * update, buffer",
               "the factor is still inside, and what looks ahead is still stored", M_SIZE),
        Mutant("only_factor_mended", f"{M_AHEAD}\n    {M_UPDATE}\n    {M_RETURN}",
               "buffer = momentum * buffer + (1 - momentum) * grad\n"
               "    update = factor * orthogonalize(buffer + decay * weight)\n    return weight - lr * update, buffer",
               "the decay is still inside, and what looks ahead is still stored", M_DECAY),
        Mutant("only_state_mended", f"{M_UPDATE}\n    {M_RETURN}",
               "update = orthogonalize(factor * ahead + decay * weight)\n    return weight - lr * update, buffer",
               "factor and decay are still inside", M_SIZE),
        Mutant("no_look_ahead", M_AHEAD, "ahead = buffer",
               "nothing looks ahead: the buffer itself is orthogonalised", M_LOOK),
        Mutant("old_buffer_ahead", M_AHEAD, "ahead = momentum * momentum_buffer + (1 - momentum) * grad",
               "nothing looks ahead: the buffer itself is orthogonalised", M_LOOK),
        Mutant("full_gradient_ahead", M_AHEAD, "ahead = momentum * buffer + grad",
               "the gradient enters what looks ahead in full", M_LOOK),
        Mutant("ahead_shares_swapped", M_AHEAD, "ahead = (1 - momentum) * buffer + momentum * grad",
               "the two shares of what looks ahead have changed places", M_LOOK),
        Mutant("gradient_only", M_AHEAD, "ahead = grad",
               "only the gradient is orthogonalised, and the momentum is kept for nothing", M_LOOK),
        Mutant("old_buffer_only", M_AHEAD, "ahead = momentum_buffer",
               "the buffer from before this gradient is orthogonalised", M_LOOK),
        Mutant("sum", M_BUFFER, "buffer = momentum * momentum_buffer + grad",
               "the gradient enters the buffer in full, as in SGD", M_MEAN),
        Mutant("sum_both", f"{M_BUFFER}\n    {M_AHEAD}",
               "buffer = momentum * momentum_buffer + grad\n    ahead = momentum * buffer + grad",
               "the gradient enters the buffer in full, and what looks ahead too", M_MEAN),
        Mutant("shares_swapped", M_BUFFER, "buffer = (1 - momentum) * momentum_buffer + momentum * grad",
               "the buffer keeps 1 - momentum of itself",
               "With a momentum of 0.9, how much of the buffer should be left?"),
        Mutant("no_momentum", M_BUFFER, "buffer = grad",
               "nothing is remembered", "Where does your function use the buffer that it is given?"),
        Mutant("no_fading", M_BUFFER, "buffer = momentum_buffer + (1 - momentum) * grad",
               "the buffer never fades", M_MEAN),
        Mutant("factor_twice", M_FACTOR, "factor = max(1, rows / columns)",
               "the factor for the shape has no root", M_SHAPE),
        Mutant("factor_unbounded", M_FACTOR, "factor = math.sqrt(rows / columns)",
               "wide matrices are scaled down", M_SHAPE),
        Mutant("factor_turned", M_FACTOR, "factor = math.sqrt(max(1, columns / rows))",
               "wide matrices are scaled up instead of tall ones", M_SHAPE),
        Mutant("factor_smaller", M_FACTOR, "factor = math.sqrt(min(1, rows / columns))",
               "wide matrices are scaled down and tall ones left alone", M_SHAPE),
        Mutant("factor_larger", M_FACTOR, "factor = math.sqrt(max(rows, columns) / min(rows, columns))",
               "wide matrices are scaled up like tall ones", M_SHAPE),
        Mutant("factor_whole", M_FACTOR, "factor = math.sqrt(max(1, rows // columns))",
               "the quotient of the sides is rounded down", M_SHAPE),
        Mutant("factor_side", M_FACTOR, "factor = 0.2 * math.sqrt(max(rows, columns))",
               "the factor is the one of Liu et al. 2025", M_SHAPE),
        Mutant("factor_on_decay", M_RETURN, "return weight * (1 - factor * lr * decay) - lr * update, buffer",
               "the decay is scaled by the shape, too", M_DECAY),
        Mutant("no_decay", M_RETURN, "return weight - lr * update, buffer",
               "the weight does not decay", M_DECAY),
        Mutant("decay_without_rate", M_RETURN, "return weight * (1 - decay) - lr * update, buffer",
               "the weight loses the share `decay`, without the rate", M_DECAY),
        Mutant("decay_after", M_RETURN, "return (weight - lr * update) * (1 - lr * decay), buffer",
               "the decay is taken of the weight after the step",
               "Of which value does the weight lose a share: the one before the step or the one after it?"),
        Mutant("decay_grows", M_RETURN, "return weight * (1 + lr * decay) - lr * update, buffer",
               "the weight grows in place of decaying", M_DECAY),
        Mutant("decay_sign", M_RETURN, "return weight - lr * update - lr * decay * weight.sign(), buffer",
               "the weight loses a fixed amount instead of a share", M_DECAY),
        Mutant("uphill", M_RETURN, "return weight * (1 - lr * decay) + lr * update, buffer",
               "the weight climbs", "In which direction does the loss fall?"),
        Mutant("no_rate", M_RETURN, "return weight * (1 - lr * decay) - update, buffer",
               "the step is not multiplied by the rate", "Where does your function use lr?"),
        Mutant("orthogonal_first", f"{M_BUFFER}\n    {M_AHEAD}\n    {M_UPDATE}",
               "grad = orthogonalize(grad)\n    buffer = momentum * momentum_buffer + (1 - momentum) * grad\n"
               "    update = factor * (momentum * buffer + (1 - momentum) * grad)",
               "the gradient is orthogonalised before the momentum", "Of what should the singular values be 1?"),
        Mutant("orthogonal_stored", M_RETURN, M_RETURN.replace("update, buffer", "update, orthogonalize(buffer)"),
               "the buffer is stored orthogonalised", M_STATE),
        Mutant("update_stored", M_RETURN, M_RETURN.replace("update, buffer", "update, update"),
               "the update is stored as the buffer", M_STATE),
        Mutant("not_orthogonal", M_UPDATE, "update = factor * ahead",
               "nothing is orthogonalised", "Where does your function call `orthogonalize`?"),
        Mutant("signs", M_UPDATE, "update = factor * ahead.sign()",
               "signs take the place of orthogonalising", "Where does your function call `orthogonalize`?"),
        Mutant("length_kept", M_UPDATE, "update = factor * orthogonalize(ahead) * ahead.norm()",
               "the length of the gradient is put back", M_SIZE),
        Mutant("only_weight", M_RETURN, "return weight * (1 - lr * decay) - lr * update",
               "only the weight is returned", "What does the next step need from this one?"),
        Mutant("old_buffer", M_RETURN, M_RETURN.replace("update, buffer", "update, momentum_buffer"),
               "the buffer is handed back as it came", "What does the next step need from this one?"),
        Mutant("swapped_results", M_RETURN, "return buffer, weight * (1 - lr * decay) - lr * update",
               "weight and buffer have changed places in the result", "Which of the two comes first?"),
        Mutant("buffer_in_place", M_BUFFER, "buffer = momentum_buffer.lerp_(grad, 1 - momentum)",
               "what was handed in is changed", M_OWN),
        Mutant("weight_in_place", M_RETURN, "weight.mul_(1 - lr * decay).sub_(lr * update)\n    return weight, buffer",
               "what was handed in is changed", M_OWN),
        Mutant("gradient_in_place", M_AHEAD, "ahead = grad.lerp_(buffer, momentum)",
               "what was handed in is changed", M_OWN),
        Mutant("all_in_place", f"{M_BUFFER}\n    {M_AHEAD}\n    {M_UPDATE}\n    {M_RETURN}",
               "buffer = momentum_buffer.lerp_(grad, 1 - momentum)\n"
               "    update = factor * orthogonalize(grad.lerp(buffer, momentum))\n"
               "    weight.mul_(1 - lr * decay).sub_(lr * update)\n    return weight, buffer",
               "what was handed in is changed", M_OWN),
    ),
    variants=("""\
def muon_step(weight, grad, momentum_buffer, lr, momentum, decay, orthogonalize):
    buffer = torch.lerp(momentum_buffer, grad, 1 - momentum)
    update = orthogonalize(torch.lerp(grad, buffer, momentum))
    if len(weight) > weight.shape[1]:
        update = update * (len(weight) / weight.shape[1]) ** 0.5
    return weight - lr * (decay * weight + update), buffer""", """\
def muon_step(weight, grad, momentum_buffer, lr, momentum, decay, orthogonalize):
    weight, buffer = weight.clone(), momentum_buffer.clone()
    buffer.mul_(momentum).add_(grad, alpha=1 - momentum)
    direction = orthogonalize((buffer * momentum + grad * (1 - momentum)).T).T
    weight.mul_(1 - lr * decay)
    weight.add_(direction, alpha=-lr * max(1.0, weight.size(0) / weight.size(1)) ** 0.5)
    return [weight, buffer]""", """\
def muon_step(weight, grad, momentum_buffer, lr, momentum, decay, orthogonalize):
    keep, take = momentum, 1 - momentum
    ahead = keep * keep * momentum_buffer + (keep * take + take) * grad
    rate = lr * math.sqrt(max(weight.shape[0], weight.shape[1]) / weight.shape[1])
    new = weight - rate * orthogonalize(ahead) - lr * decay * weight
    return new, keep * momentum_buffer + take * grad""",
    ),
    properties=(
        Property(lambda r, w, grad, b, lr, momentum, *rest: torch.allclose(
                    r[1], momentum * b + (1 - momentum) * grad, atol=1e-4),
                 "The buffer is not the running mean that the next step needs."),
        Property(lambda r, w, grad, b, lr, momentum, decay, f: bool(grad.any() or b.any()) or torch.allclose(
                    r[0], w * (1 - lr * decay), atol=1e-4),
                 "Without gradient and momentum the weight should only decay."),
    ),
    tolerance=1e-4,
    twin=muon_twin,
)  # fmt: skip


# 11.6


def rms_twin(rng: random.Random) -> Question:
    """The root mean square of an orthogonalised update of some shape and rank."""
    side, times = rng.choice([16, 25, 36, 64, 100]), rng.choice([1, 4])
    rank = rng.choice([side, side, side // 4 or 1])
    rows, columns = rng.choice([(side, side * times), (side * times, side)])
    return Question(
        f"A matrix of {rows} rows and {columns} columns has {rank} singular values of 1, the others are 0. What is the "
        "root mean square of its numbers?", math.sqrt(rank / (rows * columns)),
        f"The squares of all numbers add up to {rank}; they are spread over {rows} · {columns} places.", 0.01,
    )  # fmt: skip


U_RMS = "rms = math.sqrt(rank / (rows * columns))"
U_TALL = "return rms * math.sqrt(max(1, rows / columns))"
U_MATCH = "return rms * 0.2 * math.sqrt(max(rows, columns))"
U_SUM = "The singular values are `rank` ones. What do the squares of all numbers add up to, and over how many places?"
U_RANK = "Only one direction of many is moved. Does your result know?"
U_SHAPED = "For which shapes is the factor of minigpt above 1, and how large is it with four times as many rows?"
U_MATCHED = "At full rank, what should Liu's factor make of the root mean square, for every shape?"
U_RULES = "Which factor belongs to which word?"
UPDATE_RMS = Exercise(
    cases=lambda: [
        (4, 9, 4, "none"), (4, 9, 1, "none"), (9, 4, 4, "tall"), (9, 4, 4, "match"), (4, 9, 4, "tall"),
        (5, 20, 3, "match"), (20, 5, 2, "match"), (7, 7, 7, "none"), (7, 7, 7, "match"), (6, 6, 2, "tall"),
        (1, 8, 1, "none"), (8, 1, 1, "tall"), (3, 2, 0, "match"), (2, 5, 0, "none"), (1, 1, 1, "match"),
        (10, 3, 2, "tall"), (3, 10, 2, "match"), (64, 256, 64, "none"),
    ],
    mutants=(
        Mutant("full_rank", U_RMS, "rms = math.sqrt(1 / max(rows, columns))",
               "all directions are taken to move, whatever the rank is", U_RANK),
        Mutant("full_rank_or_none", U_RMS, "rms = math.sqrt(1 / max(rows, columns)) if rank else 0.0",
               "all directions are taken to move, whatever the rank is, if it is not 0", U_RANK),
        Mutant("none_is_full", U_RMS, "rms = math.sqrt((rank or min(rows, columns)) / (rows * columns))",
               "a rank of 0 is taken for the full rank", "No direction is moved at all. How large is the step?"),
        Mutant("mean_square", U_RMS, "rms = rank / (rows * columns)",
               "the root of the mean square is missing", "Which letter of RMS stands for the root?"),
        Mutant("length", U_RMS, "rms = math.sqrt(rank)",
               "the length of the whole matrix is taken, not the root mean square", U_SUM),
        Mutant("one", U_RMS, "rms = 1.0",
               "an orthogonal matrix is taken to have numbers of size 1", U_SUM),
        Mutant("shorter_side", U_RMS, "rms = math.sqrt(1 / min(rows, columns))",
               "1 / √(the shorter side) is taken", U_SUM),
        Mutant("rank_unrooted", U_RMS, "rms = rank / math.sqrt(rows * columns)",
               "the rank is not under the root", U_SUM),
        Mutant("places_unrooted", U_RMS, "rms = math.sqrt(rank) / (rows * columns)",
               "the number of places is not under the root", U_SUM),
        Mutant("sum_of_sides", U_RMS, "rms = math.sqrt(rank / (rows + columns))",
               "the sides are added instead of multiplied", U_SUM),
        Mutant("over_rows", U_RMS, "rms = math.sqrt(rank / rows**2)",
               "the matrix is taken to be square, with the side `rows`", U_SUM),
        Mutant("over_columns", U_RMS, "rms = math.sqrt(rank / columns**2)",
               "the matrix is taken to be square, with the side `columns`", U_SUM),
        Mutant("over_longer", U_RMS, "rms = math.sqrt(rank / max(rows, columns) ** 2)",
               "the matrix is taken to be square, with the longer side", U_SUM),
        Mutant("share_of_rank", U_RMS, "rms = rank / min(rows, columns) / math.sqrt(max(rows, columns))",
               "the share of the directions is not under the root", U_SUM),
        Mutant("share_only", U_RMS, "rms = math.sqrt(rank / min(rows, columns))",
               "the share of the directions that move is taken", U_SUM),
        Mutant("inverse", U_RMS, "rms = math.sqrt(rows * columns / rank) if rank else 0.0",
               "numerator and denominator have changed places",
               "The same number of ones is spread over more places. What becomes of the numbers?"),
        Mutant("nonzero_rows", U_RMS, "rms = math.sqrt(rank / (max(rank, 1) * max(rows, columns)))",
               "all directions are taken to move, whatever the rank is, if it is not 0", U_RANK),
        Mutant("tall_bare", U_TALL, "return rms * math.sqrt(rows / columns)",
               "the factor of minigpt also shrinks wide matrices", U_SHAPED),
        Mutant("tall_unrooted", U_TALL, "return rms * max(1, rows / columns)",
               "the factor of minigpt has no root", U_SHAPED),
        Mutant("tall_turned", U_TALL, "return rms * math.sqrt(max(1, columns / rows))",
               "the factor of minigpt is above 1 for wide matrices", U_SHAPED),
        Mutant("tall_whole", U_TALL, "return rms * math.sqrt(max(1, rows // columns))",
               "the quotient of the sides is rounded down", U_SHAPED),
        Mutant("tall_below", U_TALL, "return rms * math.sqrt(min(1, rows / columns))",
               "the factor of minigpt is never above 1", U_SHAPED),
        Mutant("tall_missing", 'if rule == "tall":', 'if rule == "high":',
               "the factor of minigpt is left out", U_RULES),
        Mutant("tall_both", U_TALL, "return rms * math.sqrt(max(rows, columns) / min(rows, columns))",
               "the factor of minigpt is above 1 for wide matrices as well", U_SHAPED),
        Mutant("match_constant", U_MATCH, "return 0.2",
               "0.2 is returned for every matrix, also where directions are missing", U_RANK),
        Mutant("match_constant_zero", U_MATCH, "return 0.2 if rank else 0.0",
               "0.2 is returned for every matrix that moves, also where directions are missing", U_RANK),
        Mutant("match_shorter", U_MATCH, "return rms * 0.2 * math.sqrt(min(rows, columns))",
               "Liu's factor takes the shorter side", U_MATCHED),
        Mutant("match_rows", U_MATCH, "return rms * 0.2 * math.sqrt(rows)",
               "Liu's factor takes the rows", U_MATCHED),
        Mutant("match_columns", U_MATCH, "return rms * 0.2 * math.sqrt(columns)",
               "Liu's factor takes the columns", U_MATCHED),
        Mutant("match_unrooted", U_MATCH, "return rms * 0.2 * max(rows, columns)",
               "Liu's factor has no root", U_MATCHED),
        Mutant("match_places", U_MATCH, "return rms * 0.2 * math.sqrt(rows * columns)",
               "Liu's factor takes both sides", U_MATCHED),
        Mutant("match_no_size", U_MATCH, "return rms * math.sqrt(max(rows, columns))",
               "the 0.2 of Liu's factor is missing", U_MATCHED),
        Mutant("match_inside_root", U_MATCH, "return rms * math.sqrt(0.2 * max(rows, columns))",
               "the 0.2 of Liu's factor is under the root", U_MATCHED),
        Mutant("match_alone", U_MATCH, "return 0.2 * math.sqrt(max(rows, columns))",
               "Liu's factor alone is returned", "What is the factor multiplied by?"),
        Mutant("tall_alone", U_TALL, "return math.sqrt(max(1, rows / columns))",
               "the factor of minigpt alone is returned", "What is the factor multiplied by?"),
        Mutant("match_rank", U_MATCH, "return rms * 0.2 * math.sqrt(rows * columns / rank) if rank else 0.0",
               "0.2 is returned for every matrix that moves, also where directions are missing", U_RANK),
        Mutant("rules_swapped", U_RMS, U_RMS + '\n    rule = {"tall": "match", "match": "tall"}.get(rule, rule)',
               "the two rules have changed places", U_RULES),
        Mutant("no_rules", U_RMS, f"{U_RMS}\n    return rms",
               "the rule is not looked at", U_RULES),
        Mutant("rounded", U_RMS, "rms = round(math.sqrt(rank / (rows * columns)), 2)",
               "the result is rounded", "Does the statement ask for rounding?"),
    ),
    variants=("""\
def update_rms(rows, columns, rank, rule):
    factor = {"none": 1, "tall": max(1, rows / columns) ** 0.5, "match": 0.2 * max(rows, columns) ** 0.5}[rule]
    return factor * (rank / rows / columns) ** 0.5""", """\
def update_rms(rows, columns, rank, rule):
    step = torch.zeros(rows, columns)
    for i in range(rank):
        step[i, i] = 1.0
    if rule == "tall" and rows > columns:
        step *= math.sqrt(rows / columns)
    if rule == "match":
        step *= 0.2 * math.sqrt(max(rows, columns))
    return step.square().mean().sqrt()""", """\
def update_rms(rows, columns, rank, rule):
    square = rank / (rows * columns)
    if rule == "match":
        square *= 0.04 * max(rows, columns)
    elif rule == "tall" and rows > columns:
        square *= rows / columns
    return math.sqrt(square)""",
    ),
    twin=rms_twin,
)  # fmt: skip


# 11.7


def mup_twin(rng: random.Random) -> Question:
    """One number of the table for another width."""
    base, times = rng.choice([32, 64, 128]), rng.choice([4, 16])
    group, what = rng.choice([("matrices inside", 0), ("matrices inside", 1), ("head", 0), ("head", 1),
                              ("embedding", 1)])  # fmt: skip
    value = rng.choice([0.08, 0.16, 0.32]) if what == 0 else rng.choice([0.016, 0.032, 0.064])
    divisor = {"matrices inside": (math.sqrt(times), times), "head": (times, times), "embedding": (1, 1)}[group][what]
    name = ("standard deviation of the first weights", "rate of Adam")[what]
    return Question(
        f"µP: at width {base} the {name} of the {group} is {value}. What is it at width {base * times}?",
        value / divisor, f"It is divided by {divisor:g}.", 0.005,
    )  # fmt: skip


def mup_cases() -> list[tuple]:
    """Wider, narrower, the same; groups that are missing; a head that begins at zero; nothing at all."""
    full = {"embedding": (0.5, 0.03), "vectors": (0.2, 0.07), "matrices": (0.12, 0.02), "head": (0.08, 0.05)}
    return [
        (64, 256, {"embedding": (0.5, 0.02), "matrices": (0.12, 0.02), "head": (0.08, 0.02)}),
        (64, 576, dict(full)), (128, 32, dict(full)), (96, 96, dict(full)), (48, 120, dict(full)),
        (100, 30, {"head": (0.0, 0.04), "vectors": (0.3, 0.01)}), (1, 5, {"matrices": (0.7, 0.6)}),
        (40, 60, {"vectors": (0.9, 0.11), "embedding": (0.4, 0.3)}), (16, 400, {}),
        (256, 128, {"matrices": (0.05, 0.004), "head": (0.0, 0.003)}),
    ]


P_R = "r = width / base_width"
P_DIVISORS = 'divisors = {"matrices": (math.sqrt(r), r), "head": (r, r)}'
P_PAIR = "tuple(x / d for x, d in zip(pair, divisors.get(group, (1, 1))))"
P_RANDOM = "A sum of r times as many random terms: how many times as large is it?"
P_AGREE = "A sum of r times as many terms of one sign: how many times as large is it?"
P_LOOKUP = "Over how many rows is one number of an embedding's output summed?"
P_VECTORS = "A norm multiplies number by number. Does one of its outputs know how wide the model is?"
P_HEAD = "Which line of the table is the head's, and how does it differ from that of the matrices inside?"
P_DIRECTION = "The model becomes wider: should these numbers grow or shrink?"
P_MISSING = "Which groups does the result have?"
MUP_RATES = Exercise(
    cases=mup_cases,
    mutants=(
        Mutant("deviation_r", P_DIVISORS, P_DIVISORS.replace("math.sqrt(r), r)", "r, r)"),
               "the first weights of the matrices are divided by r instead of its root", P_RANDOM),
        Mutant("rate_root", P_DIVISORS, P_DIVISORS.replace("(math.sqrt(r), r)", "(math.sqrt(r), math.sqrt(r))"),
               "the rate of the matrices is divided by the root of r", P_AGREE),
        Mutant("matrices_swapped", P_DIVISORS, P_DIVISORS.replace("(math.sqrt(r), r)", "(r, math.sqrt(r))"),
               "standard deviation and rate of the matrices have changed places", P_RANDOM),
        Mutant("matrices_deviation_same", P_DIVISORS, P_DIVISORS.replace("(math.sqrt(r), r)", "(1, r)"),
               "the first weights of the matrices stay as they were", P_RANDOM),
        Mutant("matrices_rate_same", P_DIVISORS, P_DIVISORS.replace("(math.sqrt(r), r)", "(math.sqrt(r), 1)"),
               "the rate of the matrices stays as it was", P_AGREE),
        Mutant("standard", P_DIVISORS, 'divisors = {"matrices": (math.sqrt(r), 1), "head": (math.sqrt(r), 1)}',
               "only the first weights are adapted, with the root, and no rate", P_AGREE),
        Mutant("only_rates", P_DIVISORS, 'divisors = {"matrices": (1, r), "head": (1, r)}',
               "only the rates are adapted, and no first weights", P_RANDOM),
        Mutant("matrices_missing", P_DIVISORS, 'divisors = {"head": (r, r)}',
               "the matrices inside stay as they were", P_AGREE),
        Mutant("matrices_squared", P_DIVISORS, P_DIVISORS.replace("(math.sqrt(r), r)", "(r, r * r)"),
               "the matrices are divided by r and r²", P_AGREE),
        Mutant("head_root", P_DIVISORS, P_DIVISORS.replace('"head": (r', '"head": (math.sqrt(r)'),
               "the head is treated like the matrices inside", P_HEAD),
        Mutant("head_rate_root", P_DIVISORS, P_DIVISORS.replace('"head": (r, r)', '"head": (r, math.sqrt(r))'),
               "the rate of the head is divided by the root of r", P_HEAD),
        Mutant("head_deviation_same", P_DIVISORS, P_DIVISORS.replace('"head": (r, r)', '"head": (1, r)'),
               "the first weights of the head stay as they were", P_HEAD),
        Mutant("head_rate_same", P_DIVISORS, P_DIVISORS.replace('"head": (r, r)', '"head": (r, 1)'),
               "the rate of the head stays as it was", P_HEAD),
        Mutant("head_same", P_DIVISORS, 'divisors = {"matrices": (math.sqrt(r), r)}',
               "the head stays as it was, as if it were tied to the embedding", P_HEAD),
        Mutant("head_zero", P_DIVISORS, P_DIVISORS.replace('"head": (r, r)', '"head": (math.inf, r)'),
               "the head always begins at zero",
               "The recipe has a head that does not begin at zero. What is it at the width that was tuned?"),
        Mutant("everything", "divisors.get(group, (1, 1))", "divisors.get(group, (r, r))",
               "embedding and vectors are divided by r, too", P_LOOKUP),
        Mutant("every_rate", "divisors.get(group, (1, 1))", "divisors.get(group, (1, r))",
               "the rates of embedding and vectors are divided by r, too", P_LOOKUP),
        Mutant("all_like_matrices", "divisors.get(group, (1, 1))", "(math.sqrt(r), r)",
               "all groups are treated like the matrices inside", P_LOOKUP),
        Mutant("embedding_like_matrices", P_DIVISORS, P_DIVISORS.replace("}", ', "embedding": (math.sqrt(r), r)}'),
               "the embedding is treated like a matrix inside", P_LOOKUP),
        Mutant("embedding_rate", P_DIVISORS, P_DIVISORS.replace("}", ', "embedding": (1, r)}'),
               "the rate of the embedding is divided by r", P_LOOKUP),
        Mutant("embedding_deviation", P_DIVISORS, P_DIVISORS.replace("}", ', "embedding": (math.sqrt(r), 1)}'),
               "the first values of the embedding are divided by the root of r", P_LOOKUP),
        Mutant("vectors_rate", P_DIVISORS, P_DIVISORS.replace("}", ', "vectors": (1, r)}'),
               "the rate of norms and biases is divided by r", P_VECTORS),
        Mutant("vectors_like_matrices", P_DIVISORS, P_DIVISORS.replace("}", ', "vectors": (math.sqrt(r), r)}'),
               "norms and biases are treated like matrices", P_VECTORS),
        Mutant("multiplied", P_PAIR, P_PAIR.replace("x / d", "x * d"),
               "everything is multiplied instead of divided", P_DIRECTION),
        Mutant("r_turned", P_R, "r = base_width / width",
               "everything is multiplied instead of divided", P_DIRECTION),
        Mutant("r_whole", P_R, "r = max(1, width // base_width)",
               "the quotient of the widths is rounded down, and never below 1",
               "By which factor is a model of width 120 wider than one of 48?"),
        Mutant("r_whole_or_zero", P_R, "r = width // base_width",
               "the quotient of the widths is rounded down, and is 0 for a narrower model",
               "By which factor is a model of width 120 wider than one of 48, and one of width 32 than one of 128?"),
        Mutant("only_wider", P_R, "r = max(1, width / base_width)",
               "a narrower model is left as it was", "May the new width be smaller?"),
        Mutant("only_narrower", P_R, "r = min(1, width / base_width)",
               "a wider model is left as it was", "Does your function know that the model has become wider?"),
        Mutant("difference", P_R, "r = 1 + abs(width - base_width) / base_width",
               "a narrower model is treated like a wider one", "May the new width be smaller?"),
        Mutant("width_only", P_R, "r = width",
               "the new width itself divides, whatever the old one was", "For equal widths, what should change?"),
        Mutant("squared", P_R, "r = (width / base_width) ** 2",
               "the number of weights in a matrix takes the place of the width",
               "Over how many inputs does one output sum: over all weights of the matrix?"),
        Mutant("pair_turned", P_PAIR, P_PAIR.replace("zip(pair,", "zip(pair[::-1],"),
               "rate and standard deviation have changed places in the pairs", "Which of the two comes first?"),
        Mutant("divisor_turned", P_PAIR, P_PAIR.replace("(1, 1))))", "(1, 1))[::-1]))"),
               "standard deviation and rate of the matrices have changed places", P_RANDOM),
        Mutant("only_the_rate", P_PAIR, "pair[1] / divisors.get(group, (1, 1))[1]",
               "only the rates are returned", "What stands in the dictionary for each group?"),
        Mutant("all_groups", "for group, pair in base_rates.items()}",
               'for group in ("embedding", "vectors", "matrices", "head") for pair in [base_rates.get(group, (0, 0))]}',
               "groups are added that the recipe does not have", P_MISSING),
        Mutant("expects_all", "for group, pair in base_rates.items()}",
               'for group in ("embedding", "vectors", "matrices", "head") for pair in [base_rates[group]]}',
               "all four groups are expected", P_MISSING),
        Mutant("only_changed", "for group, pair in base_rates.items()}",
               "for group, pair in base_rates.items() if group in divisors}",
               "groups that do not change are left out", P_MISSING),
        Mutant("in_place", P_DIVISORS, P_DIVISORS + "\n    for group in base_rates:\n"
               "        base_rates[group] = tuple(x / d for x, d in zip(base_rates[group], "
               "divisors.get(group, (1, 1))))\n    return base_rates",
               "the recipe that was handed in is changed", MINE),
        Mutant("in_place_update", P_DIVISORS, P_DIVISORS + "\n    for group, (a, b) in divisors.items():\n"
               "        if group in base_rates:\n"
               "            base_rates[group] = (base_rates[group][0] / a, base_rates[group][1] / b)\n"
               "    return dict(base_rates)",
               "the recipe that was handed in is changed", MINE),
        Mutant("unchanged", P_DIVISORS, "divisors = {}",
               "nothing is changed", "Over how many inputs does one output of a wider matrix sum?"),
    ),
    variants=("""\
def mup_rates(base_width, width, base_rates):
    r, new = width / base_width, {}
    for group, (deviation, rate) in base_rates.items():
        if group == "matrices":
            deviation, rate = deviation / r**0.5, rate / r
        elif group == "head":
            deviation, rate = deviation / r, rate / r
        new[group] = (deviation, rate)
    return new""", """\
def mup_rates(base_width, width, base_rates):
    powers = {"embedding": (0, 0), "vectors": (0, 0), "matrices": (-0.5, -1), "head": (-1, -1)}
    r = width / base_width
    return {k: [v[0] * r ** powers[k][0], v[1] * r ** powers[k][1]] for k, v in base_rates.items()}""", """\
def mup_rates(base_width, width, base_rates):
    new = dict(base_rates)
    if "matrices" in new:
        s, lr = new["matrices"]
        new["matrices"] = s * math.sqrt(base_width / width), lr * base_width / width
    if "head" in new:
        new["head"] = tuple(x * base_width / width for x in new["head"])
    return new""",
    ),
    tolerance=1e-8,
    twin=mup_twin,
)  # fmt: skip


# 11.8


def verdict_twin(rng: random.Random) -> Question:
    a, b = rng.choice([(4, 1), (2, 0.5), (8, 0.5), (9, 1), (3, 0.75), (1, 0.25), (5, 0.2), (8, 2)])
    first, second = rng.randint(2, 9), rng.randint(2, 9)
    return Question(
        f"Reference: {first * a:g} and {second * b:g} seconds; the entry with the same seeds: {first} and {second}. "
        "How many times as fast is the entry, in the mean that lets twice as fast and half as fast cancel?",
        math.sqrt(a * b), f"The ratios are {a:g} and {b:g}; the root of their product.", 0.01,
    )  # fmt: skip


def verdict_cases() -> list[tuple]:
    """Clear ones, unclear ones, equal ones, one pair, none, runs that never arrived, many pairs, a slow machine."""
    inf = math.inf
    return [
        ([8.0, 18.0], [4.0, 9.0]), ([4.0, 6.0, 9.0], [8.0, 6.0, 4.5]), ([10.0], [5.0]), ([], []),
        ([20.0, 22.0, 21.0, 19.0], [15.0, 17.0, 15.5, 14.5]), ([10.0, 11.0, 12.0], [13.0, 14.5, 15.0]),
        ([30.0, 66.0, 33.0, 51.0, 40.0], [26.0, 55.0, 28.0, 42.0, 35.0]),  # only in pairs: faster
        ([5.0, 7.0, 6.0], [5.0, 7.0, 6.0]),
        ([10.0, 12.0, 11.0], [8.0, inf, 9.0]), ([inf, 12.0, 11.0], [8.0, 9.0, 9.0]), ([inf, 7.0], [inf, 6.0]),
        ([10.0, 10.0, 10.0], [9.0, 8.0, 10.5]),  # faster on average, and cannot tell
        ([12.0, 30.0, 14.0, 16.0, 15.0, 13.0], [10.0, 31.0, 12.5, 13.0, 13.5, 11.0]),
        ([9.0 + i % 4 for i in range(13)], [8.0 + i % 5 for i in range(13)]),
        ([1.0, 100.0, 10.0], [2.0, 90.0, 19.0]),  # the slow seed would decide alone
        ([10.0, 10.0, 10.0, 10.0], [9.0, 9.5, 9.2, 9.9]), ([6.0, 5.0], [4.0, 4.5]),
        ([7.0, 8.0, 9.0], [1.0, 9.0, 10.0]), ([20.0, 20.0, 20.0, 20.0], [19.0, 16.0, 18.5, 16.5]),
        ([10.0, 10.0, 10.0, 10.0], [9.7, 9.6, 9.8, 9.75]), ([10.0, 10.0, 10.0], [9.9, 9.2, 10.3]),
        ([2.0] * 12 + [1000.0], [1.0] * 12 + [1100.0]),  # faster, though the sum of its times is larger
        ([16.0, 19.0, 17.0], [20.0, 20.0, 20.5]), ([10.0, 10.0, 10.0], [11.0, 12.3, 10.2]),
    ]


def without_warnings(function: Callable, *arguments):
    """Call a verdict; the page's half_width would warn of infinite or too few numbers, and the result says it all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return function(*arguments)


V_GUARD = ('if len(entry) < 2 or math.inf in [*reference, *entry]:\n'
           '        return math.nan, math.nan, math.nan, "cannot tell"')  # fmt: skip
V_LOGS = "logs = [math.log(a / b) for a, b in zip(reference, entry)]"
V_MEAN = "mean, half = sum(logs) / len(logs), float(half_width(logs))"
V_ENDS = "low, high = math.exp(mean - half), math.exp(mean + half)"
V_WORD = 'word = "faster" if low > 1 else "slower" if high < 1 else "cannot tell"'
V_RETURN = "return math.exp(mean), low, high, word"
V_CANCEL = "One pair is twice as fast, one half as fast. What should the mean be, and what is yours?"
V_PAIRS = "The machine was busy in seed 2 and slowed both runs down. Should that move your verdict?"
V_LOSERS = "Three runs arrive and one never does. What do the three say of an optimizer?"
V_FEW = "Of a single pair, how large is the scatter?"
V_INTERVAL = "The mean is above 1 and the interval reaches from 0.8 to 1.6. What do you know?"
V_DIRECTION = "The entry takes half the time. Is the speed-up 2 or a half?"
V_BACK = "In which unit are the two ends: ratios or logarithms?"
V_WIDTH = "What does `half_width` already contain?"
VERDICT = Exercise(
    cases=verdict_cases,
    use=without_warnings,
    mutants=(
        Mutant("turned", V_LOGS, "logs = [math.log(b / a) for a, b in zip(reference, entry)]",
               "the quotient is turned: entry over reference", V_DIRECTION),
        Mutant("mean_of_ratios", f"{V_LOGS}\n    {V_MEAN}\n    {V_ENDS}",
               "ratios = [a / b for a, b in zip(reference, entry)]\n"
               "    mean, half = sum(ratios) / len(ratios), float(half_width(ratios))\n"
               "    low, high, mean = mean - half, mean + half, math.log(mean)",
               "the ratios themselves are averaged, not their logarithms", V_CANCEL),
        Mutant("mean_of_inverse", f"{V_LOGS}\n    {V_MEAN}\n    {V_ENDS}",
               "ratios = [b / a for a, b in zip(reference, entry)]\n"
               "    mean, half = sum(ratios) / len(ratios), float(half_width(ratios))\n"
               "    low, high, mean = 1 / (mean + half), 1 / (mean - half) if mean > half else math.inf, "
               "-math.log(mean)",
               "the inverse ratios are averaged, not the logarithms", V_CANCEL),
        Mutant("middle_of_ratios", V_RETURN,
               "return sum(a / b for a, b in zip(reference, entry)) / len(entry), low, high, word",
               "the speed-up is the mean of the ratios, and only the interval uses logarithms", V_CANCEL),
        Mutant("ratio_of_means", V_RETURN, "return sum(reference) / sum(entry), low, high, word",
               "the speed-up is the quotient of the mean times", V_PAIRS),
        Mutant("ratio_of_means_all", V_MEAN,
               "mean, half = math.log(sum(reference) / sum(entry)), float(half_width(logs))",
               "the interval is put around the quotient of the mean times", V_PAIRS),
        Mutant("median", V_MEAN, "mean, half = sorted(logs)[len(logs) // 2], float(half_width(logs))",
               "the middle ratio stands for the mean", "Around which mean is the interval?"),
        Mutant("best", V_MEAN, "mean, half = max(logs), float(half_width(logs))",
               "the best pair stands for the mean", "May you choose the seed that suits you?"),
        Mutant("differences", f"{V_LOGS}\n    {V_MEAN}\n    {V_ENDS}\n    {V_WORD}\n    {V_RETURN}",
               "gains = [a - b for a, b in zip(reference, entry)]\n"
               "    mean, half = sum(gains) / len(gains), float(half_width(gains))\n"
               "    word = 'faster' if mean > half else 'slower' if mean < -half else 'cannot tell'\n"
               "    return mean, mean - half, mean + half, word",
               "seconds are subtracted instead of divided", "One seed takes 100 s, another 1 s. Which decides?"),
        Mutant("unpaired", V_MEAN,
               "a, b = ([math.log(x) for x in side] for side in (reference, entry))\n"
               "    mean, half = sum(logs) / len(logs), math.hypot(half_width(a), half_width(b))",
               "the two sides are treated as independent samples", V_PAIRS),
        Mutant("sorted_pairs", V_LOGS,
               "logs = [math.log(a / b) for a, b in zip(sorted(reference), sorted(entry))]",
               "both sides are sorted first, which tears the pairs apart", V_PAIRS),
        Mutant("not_turned_back", V_RETURN, "return mean, mean - half, mean + half, word",
               "logarithms are returned instead of ratios", V_BACK),
        Mutant("ends_not_turned_back", V_RETURN, "return math.exp(mean), mean - half, mean + half, word",
               "the ends of the interval are logarithms", V_BACK),
        Mutant("half_as_ratio", V_ENDS, "low, high = math.exp(mean) - half, math.exp(mean) + half",
               "the half width of the logarithms is added to the ratio", V_BACK),
        Mutant("half_as_share", V_ENDS, "low, high = math.exp(mean) * (1 - half), math.exp(mean) * (1 + half)",
               "the half width is taken as a share of the ratio", V_BACK),
        Mutant("half_turned_back", V_ENDS,
               "low, high = math.exp(mean) - math.exp(half) + 1, math.exp(mean) + math.exp(half) - 1",
               "mean and half width are turned back separately and then added", V_BACK),
        Mutant("base_two", V_LOGS, "logs = [math.log2(a / b) for a, b in zip(reference, entry)]",
               "logarithms of base 2 are turned back with e", "Which function undoes your logarithm?"),
        Mutant("base_ten", V_LOGS, "logs = [math.log10(a / b) for a, b in zip(reference, entry)]",
               "logarithms of base 10 are turned back with e", "Which function undoes your logarithm?"),
        Mutant("divided_again", "float(half_width(logs))", "float(half_width(logs)) / math.sqrt(len(logs))",
               "the half width is divided by √n once more", V_WIDTH),
        Mutant("divided_by_two", "float(half_width(logs))", "float(half_width(logs)) / 2",
               "the half width is halved", V_WIDTH),
        Mutant("doubled", "float(half_width(logs))", "2 * float(half_width(logs))",
               "the half width is doubled", V_WIDTH),
        Mutant("normal", "float(half_width(logs))",
               "1.96 * torch.tensor(logs, dtype=torch.float64).std().item() / math.sqrt(len(logs))",
               "1.96 takes the place of Student's t", "How sure are you of a scatter that comes from three numbers?"),
        Mutant("standard_error", "float(half_width(logs))",
               "torch.tensor(logs, dtype=torch.float64).std().item() / math.sqrt(len(logs))",
               "the standard error takes the place of the interval",
               "In how many of 100 cases would it hold the truth?"),
        Mutant("deviation", "float(half_width(logs))", "torch.tensor(logs, dtype=torch.float64).std().item()",
               "the standard deviation takes the place of the interval", V_WIDTH),
        Mutant("range", V_ENDS, "low, high = math.exp(min(logs)), math.exp(max(logs))",
               "the smallest and the largest ratio take the place of the interval", V_WIDTH),
        Mutant("by_mean", V_WORD, 'word = "faster" if mean > 0 else "slower" if mean < 0 else "cannot tell"',
               "the mean decides, not the interval", V_INTERVAL),
        Mutant("either_end", V_WORD, 'word = "faster" if high > 1 else "slower" if low < 1 else "cannot tell"',
               "an interval that only reaches beyond 1 is enough", V_INTERVAL),
        Mutant("all_pairs", V_WORD,
               'word = "faster" if min(logs) > 0 else "slower" if max(logs) < 0 else "cannot tell"',
               "all pairs must agree, and the interval is not looked at", V_INTERVAL),
        Mutant("one_allowed", V_WORD, 'word = "faster" if low >= 1 else "slower" if high <= 1 else "cannot tell"',
               "two sides that are exactly equal get a winner", "low = high = 1: who is faster?"),
        Mutant("words_turned", V_WORD, 'word = "slower" if low > 1 else "faster" if high < 1 else "cannot tell"',
               "the two words have changed places", V_DIRECTION),
        Mutant("against_zero", V_WORD, 'word = "faster" if low > 0 else "slower" if high < 0 else "cannot tell"',
               "the ratio is compared with 0 instead of 1", "Which ratio means that nothing has changed?"),
        Mutant("only_faster", V_WORD, 'word = "faster" if low > 1 else "cannot tell"',
               "an entry that is slower is never called so", "The whole interval is below 1. Which word?"),
        Mutant("else_slower", V_WORD, 'word = "faster" if low > 1 else "slower"',
               "whoever is not clearly faster is called slower", V_INTERVAL),
        Mutant("five_percent", V_WORD,
               'word = "faster" if math.exp(mean) > 1.05 else "slower" if math.exp(mean) < 0.95 else "cannot tell"',
               "a fixed threshold decides, not the interval", V_INTERVAL),
        Mutant("ends_turned", V_RETURN, "return math.exp(mean), high, low, word",
               "the ends of the interval have changed places", "Which of the ends comes first?"),
        Mutant("gain", V_RETURN, "return math.exp(mean) - 1, low - 1, high - 1, word",
               "1 is subtracted: gains instead of ratios", "The entry takes half the time. What is the speed-up?"),
        Mutant("rounded", V_RETURN, "return round(math.exp(mean), 2), round(low, 2), round(high, 2), word",
               "the numbers are rounded", "Does the statement ask for rounding?"),
        Mutant("only_word", V_RETURN, "return word",
               "only the word is returned", "What are the four things that are asked for?"),
        Mutant("word_first", V_RETURN, "return word, math.exp(mean), low, high",
               "the word comes first", "In which order are the four things asked for?"),
        Mutant("interval_as_pair", V_RETURN, "return math.exp(mean), (low, high), word",
               "the interval is one thing instead of two", "What are the four things that are asked for?"),
        Mutant("no_guard", f"{V_GUARD}\n    ", "",
               "runs that never arrived and too few pairs are not provided for", V_LOSERS),
        Mutant("losers_dropped", V_GUARD,
               "pairs = [(a, b) for a, b in zip(reference, entry) if a < math.inf and b < math.inf]\n"
               "    reference, entry = [a for a, b in pairs], [b for a, b in pairs]\n"
               "    if len(entry) < 2:\n        return math.nan, math.nan, math.nan, \"cannot tell\"",
               "pairs with a run that never arrived are dropped", V_LOSERS),
        Mutant("only_entry", "math.inf in [*reference, *entry]", "math.inf in entry",
               "only the entry is looked at for runs that never arrived", "May the reference fail, too?"),
        Mutant("only_reference", "math.inf in [*reference, *entry]", "math.inf in reference",
               "only the reference is looked at for runs that never arrived", "May the entry fail, too?"),
        Mutant("all_failed", "math.inf in [*reference, *entry]", "(entry and min(entry) == math.inf)",
               "one run that arrived is enough for a ratio", V_LOSERS),
        Mutant("failed_is_slower", V_GUARD, 'if math.inf in entry:\n'
               '        return math.nan, math.nan, math.nan, "slower"\n    ' + V_GUARD,
               "an entry that did not always arrive is called slower", "Which word does the statement ask for?"),
        Mutant("failed_is_faster", V_GUARD, 'if math.inf in reference and math.inf not in entry:\n'
               '        return math.nan, math.nan, math.nan, "faster"\n    ' + V_GUARD,
               "a reference that did not always arrive makes the entry faster",
               "Which word does the statement ask for?"),
        Mutant("one_pair", "len(entry) < 2", "len(entry) < 1",
               "a single pair is enough for a ratio", V_FEW),
        Mutant("one_pair_ratio", V_GUARD, 'if len(entry) == 1 and math.inf not in [*reference, *entry]:\n'
               '        return reference[0] / entry[0], math.nan, math.nan, "cannot tell"\n    ' + V_GUARD,
               "a single pair is enough for a ratio", V_FEW),
        Mutant("three_pairs", "len(entry) < 2", "len(entry) < 3",
               "three pairs are demanded", "How many pairs does the statement demand?"),
        Mutant("nothing", "return math.nan, math.nan, math.nan, \"cannot tell\"", "return None",
               "nothing is returned where there is no ratio", "What does the statement ask for in that case?"),
        Mutant("ones", "return math.nan, math.nan, math.nan, \"cannot tell\"", "return 1.0, 1.0, 1.0, \"cannot tell\"",
               "a ratio of 1 is returned where there is none", "What does the statement ask for in that case?"),
        Mutant("sorted_in_place", V_LOGS, f"reference.sort(), entry.sort()\n    {V_LOGS}",
               "both sides are sorted first, which tears the pairs apart", V_PAIRS),
        Mutant("in_place", V_LOGS, "for i in range(len(entry)):\n        reference[i] /= entry[i]\n"
               "    logs = [math.log(x) for x in reference]",
               "the lists that were handed in are changed", MINE),
    ),
    variants=("""\
def verdict(reference, entry):
    nothing = (math.nan,) * 3 + ("cannot tell",)
    if len(reference) <= 1 or not all(math.isfinite(x) for x in reference + entry):
        return nothing
    a, b = torch.tensor(reference, dtype=torch.float64), torch.tensor(entry, dtype=torch.float64)
    logs = a.log() - b.log()
    half = torch.as_tensor(half_width(logs))
    middle, low, high = (x.exp().item() for x in (logs.mean(), logs.mean() - half, logs.mean() + half))
    if low > 1 + 1e-12:
        return middle, low, high, "faster"
    return middle, low, high, "slower" if high < 1 - 1e-12 else "cannot tell\"""", """\
def verdict(reference, entry):
    n = len(entry)
    if n < 2 or max(max(reference), max(entry)) == math.inf:
        return [math.nan, math.nan, math.nan, "cannot tell"]
    logs = [math.log2(reference[i]) - math.log2(entry[i]) for i in range(n)]
    mean, half = sum(logs) / n, float(half_width(logs))
    words = {1: "faster", -1: "slower", 0: "cannot tell"}
    return [2**mean, 2 ** (mean - half), 2 ** (mean + half), words[(mean - half > 0) - (mean + half < 0)]]""", """\
def verdict(reference, entry):
    if len(entry) < 2 or sum(reference) + sum(entry) == math.inf:
        return math.nan, math.nan, math.nan, "cannot tell"
    ratios = [a / b for a, b in zip(reference, entry)]
    middle = math.prod(ratios) ** (1 / len(ratios))
    factor = math.exp(half_width([math.log(r) for r in ratios]))
    if middle > factor * (1 + 1e-12):
        word = "faster"
    else:
        word = "slower" if middle * factor * (1 + 1e-12) < 1 else "cannot tell"
    return middle, middle / factor, middle * factor, word""",
    ),
    properties=(
        Property(lambda r, *lists: r[0] != r[0] or r[1] <= r[0] <= r[2], "The speed-up is not inside the interval."),
    ),
    twin=verdict_twin,
)  # fmt: skip


# 11.9


def steepest_twin(rng: random.Random) -> Question:
    """The largest overlap under one of the lengths, for a gradient of four numbers."""
    rows = [[rng.choice([-1, 1]) * x for x in pair] for pair in rng.sample([(3, 4), (6, 8), (5, 12), (8, 15)], 2)]
    numbers = [abs(x) for row in rows for x in row]
    what, answer, why = rng.choice([
        ("its largest number, without sign, is at most 1", sum(numbers), "the sum of all sizes"),
        ("the sizes of its numbers add up to at most 1", max(numbers), "the largest size"),
        ("its longest row has at most length 1", sum(math.hypot(*row) for row in rows), "the sum of the rows' lengths"),
        ("the sum of the lengths of its rows is at most 1", max(math.hypot(*row) for row in rows), "the longest row"),
    ])  # fmt: skip
    return Question(
        f"A gradient has the rows {rows[0]} and {rows[1]}. A step may be any matrix for which {what}. How large can "
        "its overlap with the gradient be?", answer, f"It is {why}.", 0.001,
    )  # fmt: skip


def steepest_cases() -> list[tuple]:
    """Six lengths; random, a row, a column, one number, zeros, a row of zeros, few directions, equal numbers."""
    norms = ("max", "sum", "frobenius", "row", "spectral", "nuclear")
    cases = [(torch.tensor([[3.0, 0.0], [-4.0, 0.0]]), norm) for norm in norms]
    shapes = ((3, 5), (5, 2), (4, 7), (6, 3), (2, 6), (7, 4))
    for i, norm in enumerate(norms):
        a, b, thin, wide, one = normal(1190 + i, shapes[i], shapes[i - 1], (4, 1), (1, 3), (1, 1))
        b[1] = 0.0
        b[0, 1] = 0.0
        cases += [(3 * a, norm), (0.1 * b, norm), (thin, norm), (wide, norm), (-one.abs(), norm)]
        cases.append((torch.zeros(shapes[i - 2]), norm))
    u, v, s, t = normal(1199, (5,), (3,), (5,), (3,))
    cases += [(torch.outer(u, v), norm) for norm in ("spectral", "nuclear", "row")]
    cases += [(1000 * (torch.outer(u, v) + 0.01 * torch.outer(s, t)), "spectral")]
    cases += [(torch.tensor([[1.0, -3.0, 0.5], [3.0, 2.0, -3.0]]), norm) for norm in ("sum", "max")]
    cases += [(torch.tensor([[-1.0, -2.0], [-0.5, -0.25], [-1.5, -0.75]]), norm) for norm in norms]
    tiny = 1e-9 * torch.tensor([[4.8, 6.4], [1.0, -2.0], [0.0, 0.0]])
    cases += [(tiny, norm) for norm in ("frobenius", "spectral")]
    cases += [(torch.tensor([[4.8e-9, 6.4e-9], [3.0, -4.0]]), "row")]
    return cases


S_MAX = "return grad.sign()"
S_CHOSEN = "chosen = torch.arange(len(flat)) == flat.abs().argmax()"
S_SUM = "return (flat.sign() * chosen).view_as(grad)"
S_FROBENIUS = "return grad / grad.norm().clamp(min=tiny)"
S_ROW = "return grad / grad.norm(dim=1, keepdim=True).clamp(min=tiny)"
S_KEPT = "kept = (S > 1e-5 * S[0]).float()"
S_FIRST = 'if norm == "nuclear":\n        kept[1:] = 0'
S_RETURN = "return (U * kept) @ Vh"
S_COMPETE = "Does a unit that one number gets take anything away from the others?"
S_LIMIT = "How long is your step, in the length that was asked for?"
S_BETTER = "Is there another step of the same length whose overlap with the gradient is larger?"
S_SIGN = "A number of the gradient is negative. Which sign should the step have there?"
S_ZERO = "The gradient is 0 there. What should the step be?"
S_GUARDED = "divisors are kept above 0 by a small number, and a tiny gradient or row is smaller than that"
S_TINY = "The gradient becomes a hundred million times smaller. Does the best step of length 1 change?"
S_DIRECTIONS = "A direction has no singular value in the gradient. Which should it have in the step?"
S_WORDS = "Which line of the table belongs to which word?"


def scaled(norm: str) -> str:
    """The gradient, divided by its own length."""
    return {
        "max": "return grad / grad.abs().max().clamp(min=tiny)",
        "sum": "return grad / grad.abs().sum().clamp(min=tiny)",
        "row": "return grad / grad.norm(dim=1).max().clamp(min=tiny)",
    }[norm]


STEEPEST = Exercise(
    cases=steepest_cases,
    mutants=(
        Mutant("max_scaled", S_MAX, scaled("max"),
               'for "max", the gradient is scaled until its largest number is 1', S_BETTER),
        Mutant("max_unscaled", S_MAX, "return grad.clone()",
               'for "max", the gradient itself is returned', S_LIMIT),
        Mutant("max_zero_up", S_MAX, "return torch.where(grad < 0, -1.0, 1.0)",
               'for "max", numbers of 0 get a step of 1', S_ZERO),
        Mutant("max_no_sign", S_MAX, "return (grad != 0).float()",
               'for "max", the signs are lost', S_SIGN),
        Mutant("max_downhill", S_MAX, "return -grad.sign()",
               'for "max", the step points against the gradient', "Is the overlap of your step positive?"),
        Mutant("max_shared", S_MAX, "return grad.sign() / grad.numel()",
               'for "max", the signs are divided by how many they are', S_COMPETE),
        Mutant("max_length", S_MAX, "return grad.sign() / math.sqrt(grad.numel())",
               'for "max", the signs are scaled to a root of squares of 1', S_COMPETE),
        Mutant("max_one", S_MAX, "return grad.sign() * (grad.abs() == grad.abs().max())",
               'for "max", only the largest number moves', S_COMPETE),
        Mutant("sum_scaled", S_SUM, scaled("sum"),
               'for "sum", the gradient is scaled until its sizes add up to 1', S_BETTER),
        Mutant("sum_shared", S_SUM, "return grad.sign() / grad.numel()",
               'for "sum", all numbers get an equal share', S_BETTER),
        Mutant("sum_no_sign", S_SUM, "return (chosen * (flat != 0)).float().view_as(grad)",
               'for "sum", the sign is lost', S_SIGN),
        Mutant("sum_always_one", S_SUM, "return chosen.float().view_as(grad)",
               'for "sum", the sign is lost, and a gradient of zeros gets a step', S_SIGN),
        Mutant("sum_highest", S_CHOSEN, "chosen = torch.arange(len(flat)) == flat.argmax()",
               'for "sum", the highest number is chosen, not the one of largest size', S_SIGN),
        Mutant("sum_smallest", S_CHOSEN, "chosen = torch.arange(len(flat)) == flat.abs().argmin()",
               'for "sum", the smallest number is chosen', S_BETTER),
        Mutant("sum_all_ties", S_CHOSEN, "chosen = flat.abs() == flat.abs().max()",
               'for "sum", all equally large numbers get a full step', S_LIMIT),
        Mutant("sum_shared_ties", f"{S_CHOSEN}\n        {S_SUM}",
               "chosen = (flat.abs() == flat.abs().max()).float()\n"
               "        return (flat.sign() * chosen / chosen.sum()).view_as(grad)",
               'for "sum", equally large numbers share the step',
               "Of several equally large numbers, which one is asked for?"),
        Mutant("sum_last_tie", S_CHOSEN,
               "chosen = torch.arange(len(flat)) == len(flat) - 1 - flat.abs().flip(0).argmax()",
               'for "sum", the last of equally large numbers is chosen',
               "Of several equally large numbers, which one is asked for?"),
        Mutant("sum_value", S_SUM, "return (flat * chosen).view_as(grad)",
               'for "sum", the largest number keeps its size', S_LIMIT),
        Mutant("sum_each_row", S_SUM,
               "big = grad.abs().argmax(dim=1, keepdim=True)\n"
               "        return torch.zeros_like(grad).scatter(1, big, grad.gather(1, big).sign())",
               'for "sum", each row gets a unit of its own', S_LIMIT),
        Mutant("sum_flat", S_SUM, "return flat.sign() * chosen",
               'for "sum", the shape is lost', "Which shape should the result have?"),
        Mutant("sum_zero_up", S_SUM, "return (torch.where(flat < 0, -1.0, 1.0) * chosen).view_as(grad)",
               'for "sum", a gradient of zeros gets a step', S_ZERO),
        Mutant("frobenius_squared", S_FROBENIUS, "return grad / grad.square().sum().clamp(min=tiny)",
               'for "frobenius", the gradient is divided by the sum of squares, without its root', S_LIMIT),
        Mutant("frobenius_unscaled", S_FROBENIUS, "return grad.clone()",
               'for "frobenius", the gradient itself is returned', S_LIMIT),
        Mutant("frobenius_rms", S_FROBENIUS, "return grad / grad.square().mean().sqrt().clamp(min=tiny)",
               'for "frobenius", the root mean square is set to 1', S_LIMIT),
        Mutant("frobenius_sign", S_FROBENIUS, "return grad.sign() / grad.sign().norm().clamp(min=tiny)",
               'for "frobenius", signs take the place of the gradient', S_BETTER),
        Mutant("frobenius_clipped", S_FROBENIUS, "return grad / grad.norm().clamp(min=1)",
               'for "frobenius", a short gradient is not stretched', S_BETTER),
        Mutant("frobenius_spectral", S_FROBENIUS, "return grad / torch.linalg.matrix_norm(grad, ord=2).clamp(min=tiny)",
               'for "frobenius", the gradient is divided by its largest singular value', S_LIMIT),
        Mutant("frobenius_nan", S_FROBENIUS, "return grad / grad.norm()",
               'for "frobenius", a gradient of zeros becomes NaN', S_ZERO),
        Mutant("row_columns", S_ROW, S_ROW.replace("dim=1", "dim=0"),
               'for "row", columns are scaled instead of rows', "Which numbers make up a row?"),
        Mutant("row_longest_only", S_ROW, scaled("row"),
               'for "row", all rows are divided by the length of the longest', S_COMPETE),
        Mutant("row_one", S_ROW, "long = grad.norm(dim=1, keepdim=True)\n"
               "        return grad / long.clamp(min=tiny) * (long == long.max())",
               'for "row", only the longest row moves', S_COMPETE),
        Mutant("row_sum", S_ROW, "return grad / grad.abs().sum(dim=1, keepdim=True).clamp(min=tiny)",
               'for "row", sizes are added up instead of squares', S_LIMIT),
        Mutant("row_max", S_ROW, "return grad / grad.abs().amax(dim=1, keepdim=True).clamp(min=tiny)",
               'for "row", each row is divided by its largest number', S_LIMIT),
        Mutant("row_rms", S_ROW, "return grad / grad.square().mean(dim=1, keepdim=True).sqrt().clamp(min=tiny)",
               'for "row", the root mean square of each row is set to 1', S_LIMIT),
        Mutant("row_shared", S_ROW, S_ROW + " / math.sqrt(len(grad))",
               'for "row", the rows share one unit', S_COMPETE),
        Mutant("row_sign", S_ROW, "return grad.sign() / grad.sign().norm(dim=1, keepdim=True).clamp(min=tiny)",
               'for "row", signs take the place of the row', S_BETTER),
        Mutant("row_clipped", S_ROW, S_ROW.replace("min=tiny", "min=1"),
               'for "row", short rows are not stretched', S_BETTER),
        Mutant("row_nan", S_ROW, "return grad / grad.norm(dim=1, keepdim=True)",
               'for "row", a row of zeros becomes NaN', S_ZERO),
        *(Mutant(f"frobenius_plus_1e-{n}", S_FROBENIUS, f"return grad / (grad.norm() + 1e-{n})",
                 'for "frobenius", a small number is added to the divisor, and a tiny gradient is smaller than that',
                 S_TINY) for n in (6, 7, 8)),
        *(Mutant(f"row_plus_1e-{n}", S_ROW, f"return grad / (grad.norm(dim=1, keepdim=True) + 1e-{n})",
                 'for "row", a small number is added to the divisor, and a tiny row is smaller than that', S_TINY)
          for n in (6, 7, 8)),
        *(Mutant(f"both_plus_1e-{n}", f'{S_FROBENIUS}\n    if norm == "row":\n        {S_ROW}',
                 f"return grad / (grad.norm() + 1e-{n})\n"
                 f'    if norm == "row":\n        return grad / (grad.norm(dim=1, keepdim=True) + 1e-{n})',
                 S_GUARDED, S_TINY) for n in (6, 7, 8)),
        *(Mutant(f"both_at_least_1e-{n}", "tiny = 1e-30", f"tiny = 1e-{n}",
                 S_GUARDED, S_TINY) for n in (6, 7, 8)),
        Mutant("spectral_scaled", S_KEPT, 'kept = (S > 1e-5 * S[0]).float()\n    if norm == "spectral":\n'
               "        kept = S / S[0].clamp(min=tiny)",
               'for "spectral", the gradient is divided by its largest singular value', S_BETTER),
        Mutant("spectral_first", S_FIRST, "kept[1:] = 0",
               'for "spectral", only the first direction moves', S_COMPETE),
        Mutant("spectral_shared", S_RETURN, 'return (U * kept) @ Vh / (len(S) if norm == "spectral" else 1)',
               'for "spectral", the directions share one unit', S_COMPETE),
        Mutant("spectral_frobenius", S_RETURN,
               'return (U * kept) @ Vh / (math.sqrt(len(S)) if norm == "spectral" else 1)',
               'for "spectral", the step is scaled to a root of squares of 1', S_COMPETE),
        Mutant("all_directions", S_KEPT, "kept = torch.ones_like(S)",
               "directions without a singular value move as well", S_DIRECTIONS),
        Mutant("all_unless_zero", S_KEPT, "kept = torch.ones_like(S) * bool(grad.any())",
               "directions without a singular value move as well, unless the whole gradient is 0", S_DIRECTIONS),
        Mutant("above_zero", S_KEPT, "kept = (S > 0).float()",
               "directions without a singular value move as well, unless the whole gradient is 0", S_DIRECTIONS),
        Mutant("large_only", S_KEPT, "kept = (S > 0.1 * S[0]).float()",
               "directions of a small singular value do not move", S_DIRECTIONS),
        Mutant("absolute_bound", S_KEPT, "kept = (S > 0.3).float()",
               "a direction moves if its singular value is above a fixed bound", S_DIRECTIONS),
        Mutant("kept_size", S_KEPT, "kept = S * (S > 1e-5 * S[0])",
               "the singular values stay as they were", S_LIMIT),
        Mutant("not_turned", S_RETURN, "return (U * kept) @ Vh.flip(0)",
               "the directions of input and output are put together wrongly",
               "Which input direction belongs to which output direction?"),
        Mutant("nuclear_scaled", S_FIRST, 'if norm == "nuclear":\n        kept = S / S.sum().clamp(min=tiny)',
               'for "nuclear", the gradient is scaled until its singular values add up to 1', S_BETTER),
        Mutant("nuclear_shared", S_FIRST, 'if norm == "nuclear":\n        kept = kept / kept.sum().clamp(min=1)',
               'for "nuclear", all directions get an equal share', S_BETTER),
        Mutant("nuclear_all", f"{S_FIRST}\n    ", "",
               'for "nuclear", all directions get a full step', S_LIMIT),
        Mutant("nuclear_last", S_FIRST, 'if norm == "nuclear":\n        kept[:-1] = 0',
               'for "nuclear", the last direction is chosen', S_BETTER),
        Mutant("nuclear_value", S_FIRST, 'if norm == "nuclear":\n        kept[1:] = 0\n        kept = kept * S',
               'for "nuclear", the first direction keeps its size', S_LIMIT),
        Mutant("max_sum_swapped", "tiny = 1e-30  # keeps 0 / 0 at 0",
               'tiny = 1e-30\n    norm = {"max": "sum", "sum": "max"}.get(norm, norm)',
               '"max" and "sum" have changed places', S_WORDS),
        Mutant("spectral_nuclear_swapped", "tiny = 1e-30  # keeps 0 / 0 at 0",
               'tiny = 1e-30\n    norm = {"spectral": "nuclear", "nuclear": "spectral"}.get(norm, norm)',
               '"spectral" and "nuclear" have changed places', S_WORDS),
        Mutant("all_scaled", "", """\
def steepest(grad, norm):
    s = torch.linalg.svdvals(grad)
    length = {"max": grad.abs().max(), "sum": grad.abs().sum(), "frobenius": grad.norm(),
              "row": grad.norm(dim=1).max(), "spectral": s[0], "nuclear": s.sum()}[norm]
    return grad / length.clamp(min=1e-30)""",
               "the gradient is scaled to the length that was asked for", S_BETTER),
        Mutant("downhill", "tiny = 1e-30  # keeps 0 / 0 at 0", "tiny, grad = 1e-30, -grad",
               "the step points against the gradient", "Is the overlap of your step positive?"),
        Mutant("always_frobenius", "tiny = 1e-30  # keeps 0 / 0 at 0", 'tiny, norm = 1e-30, "frobenius"',
               "every length is treated like the root of the sum of squares", S_WORDS),
        Mutant("always_spectral", "tiny = 1e-30  # keeps 0 / 0 at 0", 'tiny, norm = 1e-30, "spectral"',
               "every length is treated like the largest singular value", S_WORDS),
        Mutant("double", S_RETURN, "return ((U * kept) @ Vh).double()",
               "the result is float64", "Which dtype does the statement ask for?"),
        Mutant("in_place", S_MAX, "return grad.sign_()",
               "the gradient that was handed in is changed", MINE),
        Mutant("in_place_scaled", f"{S_FROBENIUS}", "return grad.div_(grad.norm().clamp(min=tiny))",
               "the gradient that was handed in is changed, by dividing it", MINE),
    ),
    variants=("""\
def steepest(grad, norm):
    if not grad.any():
        return torch.zeros_like(grad)
    if norm == "max":
        return (grad > 0).float() - (grad < 0).float()
    if norm == "sum":
        D, best = torch.zeros_like(grad), 0.0
        for i, row in enumerate(grad.tolist()):
            for j, x in enumerate(row):
                if abs(x) > best:
                    best, place = abs(x), (i, j)
        D[place] = math.copysign(1.0, grad[place])
        return D
    if norm == "frobenius":
        return grad / grad.square().sum().sqrt()
    if norm == "row":
        return torch.nn.functional.normalize(grad, dim=1)
    U, S, Vh = torch.linalg.svd(grad)
    n = 1 if norm == "nuclear" else int((S > 1e-5 * S.max()).sum())
    return sum(torch.outer(U[:, i], Vh[i]) for i in range(n))""", """\
def steepest(grad, norm):
    D = torch.zeros_like(grad)
    if norm == "max":
        D[grad > 0], D[grad < 0] = 1.0, -1.0
    elif norm == "sum":
        i, j = divmod(int(grad.abs().argmax()), grad.shape[1])
        D[i, j] = grad[i, j].sign()
    elif norm in ("frobenius", "row"):
        for part in [slice(None)] if norm == "frobenius" else range(len(grad)):
            if grad[part].any():
                D[part] = grad[part] / grad[part].norm()
    else:
        U, S, Vh = torch.linalg.svd(grad.double(), full_matrices=False)
        for i in range(len(S)):
            if S[i] > 1e-5 * S[0] and (i == 0 or norm == "spectral"):
                D += (U[:, i : i + 1] @ Vh[i : i + 1]).float()
    return D""", """\
def steepest(grad, norm):
    divide = lambda x, by: torch.nan_to_num(x / by)
    if norm == "max":
        return divide(grad, grad.abs())
    if norm == "sum":
        place = grad.abs().argmax()
        one_hot = torch.nn.functional.one_hot(place, grad.numel()).view(grad.shape)
        return one_hot * divide(grad, grad.abs())
    if norm == "frobenius":
        return divide(grad, torch.linalg.matrix_norm(grad))
    if norm == "row":
        return divide(grad, torch.linalg.vector_norm(grad, dim=1)[:, None])
    values, vectors = torch.linalg.eigh(grad.double().mT @ grad.double())
    keep = values > 1e-10 * values[-1]
    if norm == "nuclear":
        keep[:-1] = False
    root = torch.where(keep, values.clamp(min=1e-30).rsqrt(), 0.0)
    return (grad.double() @ (vectors * root) @ vectors.mT).float()""",
    ),
    properties=(
        Property(lambda D, grad, norm: not D.isnan().any(), "The step holds NaN."),
        Property(lambda D, grad, norm: float(length_of(D, norm)) <= 1.001,
                 "The length of the step is above 1."),
        Property(lambda D, grad, norm: float((D * grad).sum()) >= 0.999 * float(best_overlap(grad, norm)),
                 "There is a step of length 1 with a larger overlap."),
    ),
    tolerance=1e-4,
    twin=steepest_twin,
)  # fmt: skip


def length_of(D: torch.Tensor, norm: str) -> torch.Tensor:
    """The length of a step."""
    if norm in ("spectral", "nuclear"):
        values = torch.linalg.svdvals(D)
        return values[0] if norm == "spectral" else values.sum()
    return {"max": D.abs().max(), "sum": D.abs().sum(), "frobenius": D.norm(), "row": D.norm(dim=1).max()}[norm]


def best_overlap(grad: torch.Tensor, norm: str) -> torch.Tensor:
    """The largest overlap of a step of length 1: the dual norm of the gradient."""
    dual = {"max": "sum", "sum": "max", "frobenius": "frobenius", "spectral": "nuclear", "nuclear": "spectral"}
    return grad.norm(dim=1).sum() if norm == "row" else length_of(grad, dual[norm])


EXERCISES = {
    "range_test": RANGE_TEST,
    "noise_scale": NOISE_SCALE,
    "tokens_to_target": TOKENS_TO_TARGET,
    "newton_schulz": NEWTON_SCHULZ,
    "muon_step": MUON_STEP,
    "update_rms": UPDATE_RMS,
    "mup_rates": MUP_RATES,
    "verdict": VERDICT,
    "steepest": STEEPEST,
}


# Questions to come back to


def critical_batch(rng: random.Random) -> Question:
    steps, tokens = rng.randint(2, 9) * 100, rng.randint(2, 9) * 100_000
    return Question(
        f"At least {steps} steps and at least {tokens:,} tokens are needed. What is the critical batch size?",
        tokens / steps, f"{tokens:,} / {steps}: there both numbers are twice their smallest.", 0.01,
    )  # fmt: skip


def share_of_luck(rng: random.Random) -> Question:
    scale, times = 2 ** rng.randint(8, 14), rng.choice([0.25, 0.5, 1, 2, 4])
    return Question(
        f"The noise scale is {scale:,} tokens, a batch has {scale * times:,.0f}. Which share of the squared length of "
        "its gradient is noise, on average? (from 0 to 1)", 1 / (1 + times),
        f"Signal to noise is as batch to noise scale, {times:g} to 1.", 0.01,
    )  # fmt: skip


def small_direction(rng: random.Random) -> Question:
    start, steps = rng.choice([1e-6, 2e-6, 5e-6, 1e-5]), rng.randint(2, 5)
    return Question(
        f"A singular value of {start:g} goes through {steps} steps of 3.4445 σ − 4.7750 σ³ + 2.0315 σ⁵. What is it "
        "afterwards, to 2 per cent?", start * 3.4445**steps,
        f"So small that only the first term counts: {start:g} · 3.4445 to the power {steps}.", 0.03,
    )  # fmt: skip


def cost_of_muon(rng: random.Random) -> Question:
    width, tokens = 2 ** rng.randint(6, 12), 2 ** rng.randint(13, 22)
    return Question(
        f"A square matrix of width {width:,}, {tokens:,} tokens in a batch. Five steps of Newton-Schulz cost 30 · "
        "width³ FLOPs. How many per cent of forward and backward through this matrix is that?",
        500 * width / tokens, "Forward and backward cost 6 · tokens · width²: five times the width over the tokens.",
        0.02,
    )  # fmt: skip


def orthogonal_number(rng: random.Random) -> Question:
    rows, columns = rng.sample([16, 25, 36, 64, 100, 144, 256, 400], 2)
    return Question(
        f"An orthogonalised matrix of {rows} × {columns}, all its singular values 1. What is the root mean square of "
        "its numbers?", 1 / math.sqrt(max(rows, columns)), "1 / √(the longer side).", 0.01,
    )  # fmt: skip


def wider_rate(rng: random.Random) -> Question:
    base, times, rate = rng.choice([32, 64, 128]), rng.choice([2, 4, 8, 16]), rng.choice([0.008, 0.016, 0.032])
    return Question(
        f"µP and Adam: at width {base} the best rate of the matrices inside is {rate}. Which one do you take at width "
        f"{base * times}?", rate / times, f"The model is {times} times as wide, and each output sums over as many more "
        "numbers that agree.", 0.01,
    )  # fmt: skip


def gap_in_ratios(rng: random.Random) -> Question:
    up, down = rng.choice([(2, 0.5), (4, 0.25), (3, 3), (8, 0.5), (9, 4), (1, 0.25), (16, 1), (5, 0.2), (2, 8)])
    seconds = rng.randint(2, 9)
    return Question(
        f"Two pairs of runs; one entry takes {seconds} s and its reference {seconds * up:g} s, the other entry "
        f"{seconds} s and its reference {seconds * down:g} s. By which factor is the entry faster, on the geometric "
        "mean?", math.sqrt(up * down), f"√({up:g} · {down:g}).", 0.01,
    )  # fmt: skip


def momentum_memory(rng: random.Random) -> Question:
    momentum, steps = rng.choice([0.5, 0.8, 0.9, 0.95]), rng.randint(1, 8)
    return Question(
        f"Muon's buffer is a running mean with momentum {momentum} and begins at 0. Every gradient is G. What multiple "
        f"of G is in the buffer after {steps} steps?", 1 - momentum**steps,
        f"1 − {momentum} to the power {steps}. Muon does not correct it: orthogonalising drops the size anyway.", 0.01,
    )  # fmt: skip


RECALL = (
    critical_batch, share_of_luck, small_direction, cost_of_muon, orthogonal_number, wider_rate, gap_in_ratios,
    momentum_memory,
)  # fmt: skip

PREDICTIONS = {
    "11.p1": Prediction(
        "The momentum of an MLP matrix with 64 directions, after 60 steps of training. The sum of its squared singular "
        "values, divided by the largest: how many directions count?",
        None,
        "Gradients of a batch share their main directions: what is wrong with nearly all tokens points the same way. "
        "So a few directions hold most of the squares, and the count is far below 64.",
        0.5,
    ),
    "11.p2": Prediction(
        "When is the gradient noise scale larger: `early`, before the first step, or `late`, after some hundred?",
        None,
        "At first every batch shows the same large gradient. Later that part is learnt: the mean gradient is short, "
        "and most of what is left differs from batch to batch.",
    ),
    "11.p3": Prediction(
        "From 2,048 tokens in a batch to 8,192: by what factor does the number of steps to the same loss shrink?",
        None,
        "Well below the critical batch it would be 4, far above it 1. With S = S_min (1 + B_crit / B) you can compute "
        "what lies between.",
        0.2,
    ),
    "11.p4": Prediction(
        "A singular value of 0.01 and the coefficients (3.4445, -4.7750, 2.0315). After how many steps is it above "
        "0.5?",
        lambda: steps_above(0.01, 0.5),
        "Small values grow by 3.4445 a step: 0.034, 0.12, 0.40, and the next step takes 0.40 above 1.",
        0.0,
    ),
    "11.p5": Prediction(
        "A 768 × 768 matrix, 524,288 tokens in a batch. How many percent does the Newton-Schulz iteration of five "
        "steps add to forward and backward?",
        lambda: 100 * 5 * (4 * 768**3 + 2 * 768**3) / (6 * 524_288 * 768**2),
        "5 · 6 · 768³ FLOPs against 6 · 524,288 · 768²: five times the width, divided by the tokens in the batch.",
        0.15,
    ),
    "11.p6": Prediction(
        "AdamW at its best rates trains for 100 steps. In how many steps does Muon, at its best, get to the same loss "
        "(on the small model of the record)?",
        None,
        "Each of Muon's runs has its whole schedule; between two of them the loss is interpolated. A run of 100 steps "
        "that is stopped early would not do, for its rate would still be high.",
        0.1,
    ),
    "11.p7": Prediction(
        "Adam with one rate for everything: by what factor is the best rate at width 512 smaller than at width 64?",
        None,
        "If only the matrices inside and the head mattered, it would be 8, as the width. The embedding and the first "
        "layer have no sum over the width and want the old rate, so that one rate for all is a compromise.",
        0.3,
    ),
    "11.p8": Prediction(
        "20 useless changes, three paired seeds each; one pair's difference has standard deviation 1. How large is the "
        "best one's apparent gain, on average?",
        lambda: 1.08,
        "A mean of three has standard deviation 0.58, and the largest of 20 normal numbers lies 1.87 standard "
        "deviations out on average.",
        0.1,
    ),
    "11.p9": Prediction(
        "A run from the failure museum. What happened: `no_warmup`, `schedule_too_short`, `rate_too_high`, "
        "`no_zero_grad` or `bad_init`?",
        lambda: "rate_too_high",
        "The loss falls to about what the frequencies of the letters give, hangs there, and not even the decay frees "
        "it: early steps of 0.4 have ruined the weights. The sweep of section 2 ends on the same level. The experiment "
        "is the same run at a lower rate.",
    ),
}
