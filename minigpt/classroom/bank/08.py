"""Lesson 08, training_loop: cases, and the wrong ideas that people have about it.

Sizes are pairwise distinct wherever an exercise allows it, and rates and decays are large: with a rate of 0.001 half of
these mistakes cannot be seen.
"""
import math
import random
from collections.abc import Callable

import torch

from . import Exercise, Mutant, Prediction, Property, Question, normal


# 08.1


def rate_twin(rng: random.Random) -> Question:
    steep = rng.choice([4, 5, 8, 10, 16, 20, 25, 40])
    low, middle = sorted(rng.sample(range(1, steep), 2))
    return Question(
        f"A bowl has the curvatures {middle}, {steep} and {low}. Above which rate does gradient descent diverge?",
        2 / steep, f"The steepest direction decides: 2/{steep}.", 0.01,
    )  # fmt: skip


STEEPEST = "max(curvatures)"
LIMIT = "2 / steepest"
WALL = "Which direction is the first to diverge when you raise the rate, the steep one or the flat one?"
JUMP = "By which factor is a weight multiplied in one step? May the factor be negative?"
ALL_ALIKE = "Add a second direction as steep as the first: does it change the factor of the first one's weight?"
SLIGHT = "Divide all curvatures by a million: what becomes of the rate? And how large is it where all of them are zero?"
LARGEST_RATE = Exercise(
    cases=lambda: [
        ([4.0],), ([1.0, 50.0],), ([3.0, 0.5, 7.0, 2.0],), ([0.0, 0.25],), ([5, 2, 8],), ([0.0],), ([0.0, 0.0, 0.0],),
        ([0.3, 0.1, 0.2],), ([6.0, 6.0, 6.0, 6.0, 6.0],), ([0.4, 0.0, 1.6, 0.0, 0.2, 0.9],),
        ([0.0, 1e-7],), ([1e-10, 4e-11, 0.0],), ([1e-13],),
    ],
    mutants=(
        Mutant("one", LIMIT, "1 / steepest",
               "the limit is taken where the weight lands in the middle in one step", JUMP),
        Mutant("four", LIMIT, "4 / steepest",
               "the rate is twice as large as the steepest direction bears", JUMP),
        Mutant("half", LIMIT, "0.5 / steepest",
               "half of 1/c is taken for the limit", JUMP),
        Mutant("flattest", STEEPEST, "min(curvatures)",
               "the flattest direction decides", WALL),
        Mutant("flattest_not_flat", STEEPEST, "min((c for c in curvatures if c > 0), default=0)",
               "the flattest direction decides that is not quite flat", WALL),
        Mutant("most_tolerant", "", """\
def largest_rate(curvatures):
    return max((2 / c for c in curvatures if c > 0), default=math.inf)""",
               "the flattest direction decides that is not quite flat", WALL),
        Mutant("mean", STEEPEST, "sum(curvatures) / len(curvatures)",
               "the mean curvature decides", WALL),
        Mutant("mean_of_limits", "", """\
def largest_rate(curvatures):
    limits = [2 / c for c in curvatures if c > 0]
    return sum(limits) / len(limits) if limits else math.inf""",
               "the limits of the directions are averaged", WALL),
        Mutant("median", STEEPEST, "sorted(curvatures)[len(curvatures) // 2]",
               "the curvature in the middle decides", WALL),
        Mutant("sum", STEEPEST, "sum(curvatures)",
               "the curvatures are added up", ALL_ALIKE),
        Mutant("norm", STEEPEST, "math.hypot(*curvatures)",
               "the root of the sum of squares stands for the steepest direction", ALL_ALIKE),
        Mutant("times_count", STEEPEST, "max(curvatures) * len(curvatures)",
               "the limit is divided by the number of directions", ALL_ALIKE),
        Mutant("over_count", STEEPEST, "max(curvatures) / len(curvatures)",
               "the loss is taken for a mean over the directions", ALL_ALIKE),
        Mutant("product", STEEPEST, "math.prod(curvatures)",
               "the curvatures are multiplied", ALL_ALIKE),
        Mutant("count", STEEPEST, "len(curvatures)",
               "the number of directions decides",
               "Make the bowl twice as steep: what should become of the rate?"),
        Mutant("first", STEEPEST, "curvatures[0]",
               "the first direction decides", WALL),
        Mutant("last", STEEPEST, "curvatures[-1]",
               "the last direction decides", WALL),
        Mutant("fastest", STEEPEST, "max(curvatures) + min(curvatures)",
               "the rate is the one that is fastest over all directions, not the largest that still converges",
               "At your rate, do all weights still shrink? Could you go a little higher?"),
        Mutant("spread", STEEPEST, "max(curvatures) - min(curvatures)",
               "the difference of the curvatures decides", ALL_ALIKE),
        Mutant("condition", LIMIT, "steepest / min(curvatures) if min(curvatures) else math.inf",
               "the ratio of the curvatures is returned",
               "In which unit is a rate, if its product with a curvature has none?"),
        Mutant("inverted", LIMIT, "steepest / 2",
               "numerator and denominator have changed places",
               "Make the bowl twice as steep: what should become of the rate?"),
        Mutant("curvature", LIMIT, "steepest",
               "the curvature itself is returned",
               "Make the bowl twice as steep: what should become of the rate?"),
        Mutant("squared", LIMIT, "2 / steepest**2",
               "the curvature is squared",
               "The gradient in direction i is c times w. How often does c occur in it?"),
        Mutant("root", LIMIT, "2 / steepest**0.5",
               "the root of the curvature is taken",
               "The gradient in direction i is c times w. How often does c occur in it?"),
        Mutant("whole", LIMIT, "2 // steepest",
               "the division rounds down to a whole number",
               "What is 2 // 8?"),
        Mutant("each", "return " + LIMIT + " if steepest > 0 else math.inf",
               "return [2 / c if c > 0 else math.inf for c in curvatures]",
               "each direction is given a rate of its own",
               "How many learning rates does gradient descent have?"),
        Mutant("no_flat", " if steepest > 0 else math.inf", "",
               "a bowl without any curvature leads to a division by zero",
               "What does your function do when all directions are flat?"),
        Mutant("flat_is_zero", "math.inf", "0.0",
               "in a bowl without any curvature no rate is allowed",
               "All directions are flat: which rate would make a weight grow?"),
        Mutant("flat_is_two", "math.inf", "2.0",
               "a bowl without any curvature is given some rate of its own",
               "All directions are flat: which rate would make a weight grow?"),
        Mutant("flat_is_none", "math.inf", "None",
               "in a bowl without any curvature nothing is returned",
               "All directions are flat: which rate would make a weight grow?"),
        *(Mutant(f"nearly_flat_{i}", "if steepest > 0", f"if steepest > {t}",
                 "a slope that is hardly curved is taken for a flat one", SLIGHT)
          for i, t in enumerate((1e-3, 1e-6, 1e-9, 1e-12))),
        *(Mutant(f"eps_{i}", "return 2 / steepest if steepest > 0 else math.inf", f"return 2 / (steepest + {t})",
                 "a small number is added to the curvature, so that nothing is divided by zero", SLIGHT)
          for i, t in enumerate((1e-6, 1e-8, 1e-12))),
        Mutant("any_flat", "if steepest > 0", "if min(curvatures) > 0",
               "one flat direction is enough to allow any rate",
               "One direction is flat, another one steep. May the rate be as large as you like?"),
        Mutant("sorted_in_place", f"steepest = {STEEPEST}", "curvatures.sort()\n    steepest = curvatures[-1]",
               "the list that was handed in is sorted",
               "Whose list is it, and what does the caller find in it afterwards?"),
    ),
    variants=("""\
def largest_rate(curvatures):
    return min(2 / c if c else math.inf for c in curvatures)""", """\
def largest_rate(curvatures):
    return float((2 / torch.tensor(curvatures, dtype=torch.float64)).min())""", """\
def largest_rate(curvatures):
    if not any(curvatures):
        return math.inf
    low, high = 0.0, 1.0
    while all(abs(1 - high * c) <= 1 for c in curvatures):
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        if all(abs(1 - middle * c) <= 1 for c in curvatures):
            low = middle
        else:
            high = middle
    return low""",
    ),
    properties=(
        Property(lambda rate, curvatures: not max(curvatures) or rate * max(curvatures) <= 2.001,
                 "At this rate the weight in the steepest direction grows."),
        Property(lambda rate, curvatures: not max(curvatures) or rate * max(curvatures) >= 1.999,
                 "At a rate a little larger than this, all weights still shrink."),
    ),
    twin=rate_twin,
)  # fmt: skip


# 08.2


def momentum_twin(rng: random.Random) -> Question:
    velocity, grad, beta = rng.choice([2, 4, 6, 8]), rng.randint(-5, 5), rng.choice([0.5, 0.75, 0.9])
    weight = rng.randint(1, 5)
    return Question(
        f"SGD with momentum {beta}, rate 0.1. A weight is {weight}, its velocity {velocity}, its gradient {grad}. "
        "What is the weight after the step?", weight - 0.1 * (beta * velocity + grad),
        f"The velocity becomes {beta} · {velocity} + {grad} = {beta * velocity + grad:g}; a tenth of it goes.", 0.001,
    )  # fmt: skip


def momentum_cases() -> list[tuple]:
    """weight, grad, velocity, lr, beta: of several shapes; at the start, without momentum, without a rate."""
    shapes = ((3,), (2, 5), (), (4, 1, 3), (7,), (6, 2))
    rates = ((0.5, 0.9), (0.3, 0.25), (0.8, 0.75), (0.2, 0.0), (0.0, 0.6), (1.5, 0.5))
    cases = [(*normal(80 + i, shape, shape, shape), *rate) for i, (shape, rate) in enumerate(zip(shapes, rates))]
    cases[1][2].zero_()
    cases[2][1].mul_(60)
    cases[4][2].mul_(40)
    return cases


FADES = "velocity = beta * velocity + grad"
MOVES = "return weight - lr * velocity, velocity"
FULL = "A gradient of 1 comes in every step. With beta = 0.9, towards which number should the velocity go?"
ONCE = "In which unit is the velocity: of a gradient, or of a step?"
NEW = "Which velocity moves the weight: the one from before this gradient, or the one that knows of it?"
BALL = "The gradient is positive, the velocity zero. In which direction should the weight go?"
MINE = "Whose tensors are these, and what does the caller find in them afterwards?"
MOMENTUM_STEP = Exercise(
    cases=momentum_cases,
    mutants=(
        Mutant("mean", FADES, "velocity = beta * velocity + (1 - beta) * grad",
               "the velocity is a running mean: the gradient enters with 1 - beta", FULL),
        Mutant("lerp", FADES, "velocity = torch.lerp(velocity, grad, 1 - beta)",
               "the velocity is a running mean: the gradient enters with 1 - beta", FULL),
        Mutant("mean_swapped", FADES, "velocity = (1 - beta) * velocity + beta * grad",
               "the velocity is a running mean, and the two shares have changed places", FULL),
        Mutant("share_swapped", FADES, "velocity = (1 - beta) * velocity + grad",
               "beta is taken for the share that the velocity loses",
               "With beta = 0.9, how much of the velocity should be left after a step?"),
        Mutant("beta_on_gradient", FADES, "velocity = velocity + beta * grad",
               "beta multiplies the gradient instead of the velocity",
               "Which of the two should fade, the past or the present?"),
        Mutant("beta_on_both", FADES, "velocity = beta * (velocity + grad)",
               "the gradient of this step fades as well",
               "With which factor does the gradient of this very step count?"),
        Mutant("no_fading", FADES, "velocity = velocity + grad",
               "the velocity never fades",
               "Where does your function use beta?"),
        Mutant("no_momentum", FADES, "velocity = grad",
               "nothing is remembered: this is plain gradient descent",
               "Where does your function use the velocity that it is given?"),
        Mutant("gradient_moves", MOVES, "return weight - lr * grad, velocity",
               "the weight moves by the gradient, and the velocity is kept for nothing", NEW),
        Mutant("old_moves", f"{FADES}\n    {MOVES}",
               "return weight - lr * velocity, beta * velocity + grad",
               "the weight moves by the velocity from before this gradient", NEW),
        Mutant("faded_moves", f"{FADES}\n    {MOVES}",
               "return weight - lr * beta * velocity, beta * velocity + grad",
               "the weight moves by what is left of the old velocity, without this gradient", NEW),
        Mutant("moves_and_gradient", MOVES, "return weight - lr * (velocity + grad), velocity",
               "this step's gradient moves the weight twice, by itself and in the velocity", NEW),
        Mutant("nesterov", MOVES, "return weight - lr * (grad + beta * velocity), velocity",
               "the step looks ahead, as Nesterov's does",
               "By what does the statement say the weight moves?"),
        Mutant("rate_inside", f"{FADES}\n    {MOVES}",
               "velocity = beta * velocity + lr * grad\n    return weight - velocity, velocity",
               "the rate is inside the velocity, which is then in units of a step", ONCE),
        Mutant("rate_inside_downhill", f"{FADES}\n    {MOVES}",
               "velocity = beta * velocity - lr * grad\n    return weight + velocity, velocity",
               "the velocity points downhill and holds the rate", ONCE),
        Mutant("rate_twice", FADES, "velocity = beta * velocity + lr * grad",
               "the rate multiplies twice", ONCE),
        Mutant("no_rate", MOVES, "return weight - velocity, velocity",
               "the rate is nowhere", "Where does your function use lr?"),
        Mutant("rate_returned", MOVES, "velocity = lr * velocity\n    return weight - velocity, velocity",
               "the velocity is handed back with the rate in it", ONCE),
        Mutant("downhill", f"{FADES}\n    {MOVES}",
               "velocity = beta * velocity - grad\n    return weight + lr * velocity, velocity",
               "the velocity points downhill: the gradient is subtracted from it",
               "What does the gradient do to the velocity: is it added or subtracted?"),
        Mutant("uphill", MOVES, "return weight + lr * velocity, velocity",
               "the weight climbs", BALL),
        Mutant("minus_gradient", FADES, "velocity = beta * velocity - grad",
               "the gradient is subtracted from the velocity, and the velocity from the weight", BALL),
        Mutant("minus_velocity", FADES, "velocity = grad - beta * velocity",
               "the old velocity is subtracted from the gradient",
               "The same gradient comes twice: should the second step be longer or shorter than the first?"),
        Mutant("only_weight", MOVES, "return weight - lr * velocity",
               "only the weight is returned",
               "What does the next step need from this one?"),
        Mutant("swapped_results", MOVES, "return velocity, weight - lr * velocity",
               "velocity and weight have changed places in the result", "Which of the two comes first?"),
        Mutant("old_velocity_back", f"{FADES}\n    {MOVES}",
               "return weight - lr * (beta * velocity + grad), velocity",
               "the velocity is handed back as it came", "What does the next step need from this one?"),
        Mutant("swapped_hypers", FADES, "lr, beta = beta, lr\n    velocity = beta * velocity + grad",
               "rate and beta have changed places", "In which order are lr and beta handed over?"),
        Mutant("swapped_tensors", FADES, "velocity = beta * grad + velocity",
               "beta multiplies the gradient instead of the velocity",
               "Which of the two should fade, the past or the present?"),
        Mutant("corrected", MOVES, "return weight - lr * (1 - beta) * velocity, velocity",
               "the step is made as long as that of a running mean", FULL),
        Mutant("weight_in_place", MOVES, "weight -= lr * velocity\n    return weight, velocity",
               "what was handed in is changed", MINE),
        Mutant("velocity_in_place", FADES, "velocity.mul_(beta).add_(grad)",
               "what was handed in is changed", MINE),
        Mutant("both_in_place", f"{FADES}\n    {MOVES}",
               "velocity.mul_(beta).add_(grad)\n    weight.sub_(lr * velocity)\n    return weight, velocity",
               "what was handed in is changed", MINE),
        Mutant("gradient_in_place", FADES, "velocity = grad.add_(velocity, alpha=beta)",
               "what was handed in is changed", MINE),
        Mutant("detour", FADES, "velocity = beta * velocity\n    weight = weight - lr * velocity\n"
               "    velocity = velocity + grad",
               "the weight moves twice, once before the gradient has come and once after it", NEW),
    ),
    variants=("""\
def momentum_step(weight, grad, velocity, lr, beta):
    new = velocity.clone().mul_(beta).add_(grad)
    return weight.clone().add_(new, alpha=-lr), new""", """\
def momentum_step(weight, grad, velocity, lr, beta):
    from torch.optim.sgd import sgd  # SGD itself takes seconds to load
    w, v = weight.clone(), velocity.clone()
    sgd([w], [grad], [v], weight_decay=0, momentum=beta, lr=lr, dampening=0, nesterov=False, maximize=False)
    return w, v if beta else grad.clone()""", """\
def momentum_step(weight, grad, velocity, lr, beta):
    rows = zip(weight.flatten().tolist(), grad.flatten().tolist(), velocity.flatten().tolist())
    pairs = [(w - lr * (beta * v + g), beta * v + g) for w, g, v in rows]
    return tuple(torch.tensor(column).view(weight.shape) for column in zip(*pairs))""", """\
def momentum_step(weight, grad, velocity, lr, beta):
    faded = torch.lerp(torch.zeros_like(velocity), velocity, beta)
    return [torch.sub(weight, lr * faded + lr * grad), grad + faded]""",
    ),
    twin=momentum_twin,
)  # fmt: skip


# 08.3


def adamw_twin(rng: random.Random) -> Question:
    """The second step, after a gradient that is repeated or turned round."""
    lr, decay, weight = rng.choice([0.01, 0.02, 0.1]), rng.choice([0.1, 0.5, 1.0]), rng.randint(2, 9)
    grad = rng.choice([0.003, 0.2, 7.0, 90.0]) * rng.choice([1, -1])
    return Question(
        f"AdamW, rate {lr}, weight decay {decay}, tiny eps. A weight of {weight} makes its first step; its gradient is "
        f"{grad:g}. What is it afterwards?", weight * (1 - lr * decay) - math.copysign(lr, grad),
        f"The decay takes {lr} · {decay} of {weight}; corrected mean over corrected root is the gradient's sign: "
        f"the step itself is {lr} long.", 0.0005,
    )  # fmt: skip


def adamw_cases() -> list[tuple]:
    """The first step, and later ones with a state: shapes, a gradient of zero, a large eps, no decay, no mean."""
    shapes = ((5,), (2, 3), (), (4, 1, 3), (7,), (3, 2), (6,), (2, 5))
    steps = (None, None, 1, 2, 7, None, 40, 3)
    hypers = ((0.5, (0.9, 0.95), 1e-8, 0.4), (0.3, (0.8, 0.99), 0.1, 0.0), (0.2, (0.9, 0.999), 1e-8, 0.5),
              (0.4, (0.5, 0.9), 0.3, 0.7), (0.1, (0.9, 0.95), 1e-3, 2.0), (0.6, (0.0, 0.9), 1e-6, 0.3),
              (0.5, (0.95, 0.8), 0.05, 0.0), (0.7, (0.6, 0.0), 0.2, 0.9))  # fmt: skip
    cases = []
    for i, (shape, step, hyper) in enumerate(zip(shapes, steps, hypers)):
        weight, grad, mean, square = normal(830 + i, *[shape] * 4)
        state = None if step is None else (step, 0.5 * mean, 0.5 * square.square() + 0.01)
        cases.append((2 * weight, grad, state, *hyper))
    cases[5][1][0] = 0.0  # no gradient in the first step: nothing to divide by but eps
    cases[1][1].mul_(0.2)
    cases[3][1].mul_(30)
    cases[4][1].zero_()
    return cases


A_START = "step, mean, square = state or (0, torch.zeros_like(weight), torch.zeros_like(weight))"
A_MEAN = "mean = betas[0] * mean + (1 - betas[0]) * grad"
A_SQUARE = "square = betas[1] * square + (1 - betas[1]) * grad**2"
A_FIX_MEAN = "corrected_mean = mean / (1 - betas[0] ** step)"
A_FIX_SQUARE = "corrected_square = square / (1 - betas[1] ** step)"
A_UPDATE = "update = corrected_mean / (corrected_square.sqrt() + eps)"
A_WEIGHT = "weight = weight * (1 - lr * decay) - lr * update"
A_RETURN = "return weight, (step, mean, square)"
SHARE = "After one step with beta = 0.9, which share of the running mean comes from a real gradient?"
STORED = "The next step will correct what it gets. What must it be given, so that this happens once?"
COUNT = "`step` in the state is the number of steps done. What is the power of beta in the very first step?"
ROOT = "For a gradient that is always g, what should mean and root be, and what the one over the other?"
APART = "A weight has a gradient of zero and a decay of 0.5, at a rate of 0.1. What should be left of it?"
EPS = "The corrected square is 0 and the corrected mean 0.001. By what should you divide?"
LARGE_AND_SMALL = "Two equal weights, one with large gradients, one with small ones: which decays more, in yours?"
BEFORE = "Of which value does the weight lose a share: the one before the step, or the one after the update?"
IN_PLACE = "The caller keeps the old state and makes the step a second time. Is the result the same?"
PLAIN_MEAN = "A gradient of 1 comes in every step. Towards which number should the running mean go?"
ADAMW_STEP = Exercise(
    cases=adamw_cases,
    mutants=(
        Mutant("uncorrected", f"{A_FIX_MEAN}\n    {A_FIX_SQUARE}", "corrected_mean, corrected_square = mean, square",
               "neither mean is corrected for its start at zero", SHARE),
        Mutant("mean_uncorrected", A_FIX_MEAN, "corrected_mean = mean",
               "only the squares are corrected, not the mean", SHARE),
        Mutant("square_uncorrected", A_FIX_SQUARE, "corrected_square = square",
               "only the mean is corrected, not the squares", SHARE),
        Mutant("stored_corrected", A_RETURN, "return weight, (step, corrected_mean, corrected_square)",
               "the corrected means are stored in the state", STORED),
        Mutant("stored_mean_corrected", A_RETURN, "return weight, (step, corrected_mean, square)",
               "the corrected means are stored in the state", STORED),
        Mutant("stored_square_corrected", A_RETURN, "return weight, (step, mean, corrected_square)",
               "the corrected means are stored in the state", STORED),
        Mutant("multiplied", "mean / (1 - betas[0] ** step)", "mean * (1 - betas[0] ** step)",
               "the mean is multiplied by the share of real gradients instead of divided by it", SHARE),
        Mutant("both_multiplied", f"{A_FIX_MEAN}\n    {A_FIX_SQUARE}",
               "corrected_mean = mean * (1 - betas[0] ** step)\n    corrected_square = square * (1 - betas[1] ** step)",
               "the means are multiplied by the share of real gradients instead of divided by it", SHARE),
        Mutant("always_first", f"{A_FIX_MEAN}\n    {A_FIX_SQUARE}",
               "corrected_mean = mean / (1 - betas[0])\n    corrected_square = square / (1 - betas[1])",
               "every step is corrected as if it were the first", COUNT),
        Mutant("times_step", f"{A_FIX_MEAN}\n    {A_FIX_SQUARE}",
               "corrected_mean = mean / ((1 - betas[0]) * step)\n    corrected_square = square / ((1 - betas[1]) * "
               "step)",
               "the share of real gradients grows by the same amount in each step, without end",
               "Which share of a running mean comes from real gradients after a thousand steps?"),
        Mutant("inside_power", f"{A_FIX_MEAN}\n    {A_FIX_SQUARE}",
               "corrected_mean = mean / (1 - betas[0]) ** step\n    corrected_square = square / (1 - betas[1]) ** step",
               "the power is taken of 1 minus beta, not of beta",
               "Which part of the start at zero is left after t steps?"),
        Mutant("power_too_high", f"{A_FIX_MEAN}\n    {A_FIX_SQUARE}",
               A_FIX_MEAN.replace("step)", "(step + 1))") + "\n    " + A_FIX_SQUARE.replace("step)", "(step + 1))"),
               "the power of beta is one too high", COUNT),
        Mutant("power_too_low", f"{A_FIX_MEAN}\n    {A_FIX_SQUARE}",
               "before = max(step - 1, 1)\n    corrected_mean = mean / (1 - betas[0] ** before)\n"
               "    corrected_square = square / (1 - betas[1] ** before)",
               "the power of beta is one too low", COUNT),
        Mutant("counted_after", A_RETURN, "return weight, (step + 1, mean, square)",
               "the step is counted twice", COUNT),
        Mutant("never_counted", A_RETURN, "return weight, (step - 1, mean, square)",
               "the state is handed back with the old count of steps", COUNT),
        Mutant("not_counted", "step = step + 1", "step = max(step, 1)",
               "steps are not counted on", COUNT),
        Mutant("zero_power", "step = step + 1", "step = step",
               "the first step divides by 1 minus beta to the power 0",
               "What is 1 minus beta to the power 0, and what do you do with it?"),
        Mutant("no_root", "corrected_square.sqrt()", "corrected_square",
               "the mean is divided by the mean square instead of its root", ROOT),
        Mutant("root_before_correction", A_FIX_SQUARE,
               "corrected_square = (square.sqrt() / (1 - betas[1] ** step)) ** 2",
               "the root is taken first and then divided by the whole share", ROOT),
        Mutant("no_square", A_SQUARE, A_SQUARE.replace("grad**2", "grad.abs()"),
               "sizes are averaged instead of squares", ROOT),
        Mutant("sizes_divide", f"{A_SQUARE}\n    {A_FIX_MEAN}\n    {A_FIX_SQUARE}",
               f"{A_SQUARE.replace('grad**2', 'grad.abs()')}\n    {A_FIX_MEAN}\n"
               "    corrected_square = (square / (1 - betas[1] ** step)) ** 2",
               "sizes are averaged instead of squares", ROOT),
        Mutant("share_squared", A_SQUARE, "square = betas[1] * square + ((1 - betas[1]) * grad) ** 2",
               "the share 1 - beta is squared together with the gradient", ROOT),
        Mutant("square_of_mean", A_SQUARE, A_SQUARE.replace("grad**2", "mean**2"),
               "the running mean is squared instead of the gradient",
               "A gradient is +1, −1, +1, −1. How large is it usually, and what does your square say?"),
        Mutant("centred", A_SQUARE, A_SQUARE.replace("grad**2", "(grad - mean) ** 2"),
               "the variance around the running mean stands for the mean square",
               "A gradient that is always the same: by what do you divide?"),
        Mutant("one_for_all", A_SQUARE, A_SQUARE.replace("grad**2", "grad.square().mean()"),
               "one mean square is used for all weights of the tensor",
               "A weight's gradients are a thousand times smaller than its neighbour's. How far should it move?"),
        Mutant("sum_of_gradients", A_MEAN, "mean = betas[0] * mean + grad",
               "the gradient enters the mean in full, as in SGD's momentum", PLAIN_MEAN),
        Mutant("sum_of_squares", A_SQUARE, "square = betas[1] * square + grad**2",
               "the squared gradient enters in full",
               "A gradient of 1 comes in every step. Towards which number should the mean of squares go?"),
        Mutant("both_sums", f"{A_MEAN}\n    {A_SQUARE}",
               "mean = betas[0] * mean + grad\n    square = betas[1] * square + grad**2",
               "gradient and square enter in full, as in SGD's momentum", PLAIN_MEAN),
        Mutant("shares_swapped", f"{A_MEAN}\n    {A_SQUARE}",
               "mean = (1 - betas[0]) * mean + betas[0] * grad\n"
               "    square = (1 - betas[1]) * square + betas[1] * grad**2",
               "the running means keep 1 - beta of themselves and take beta from the gradient",
               "With beta = 0.9, how much of the old mean should be left?"),
        Mutant("betas_swapped", "step = step + 1", "step, betas = step + 1, (betas[1], betas[0])",
               "the two betas have changed places", "Which of the betas belongs to the mean of squares?"),
        Mutant("one_beta", A_SQUARE, "square = betas[0] * square + (1 - betas[0]) * grad**2",
               "the mean of squares fades with the first beta", "Which of the betas belongs to the mean of squares?"),
        Mutant("one_beta_all", "step = step + 1", "step, betas = step + 1, (betas[0], betas[0])",
               "the mean of squares fades and is corrected with the first beta",
               "Which of the betas belongs to the mean of squares?"),
        Mutant("corrections_swapped", f"{A_FIX_MEAN}\n    {A_FIX_SQUARE}",
               "corrected_mean = mean / (1 - betas[1] ** step)\n    corrected_square = square / (1 - betas[0] ** step)",
               "each mean is corrected with the other one's beta",
               "Which of the betas belongs to the mean of squares?"),
        Mutant("starts_with_gradient", A_START, "step, mean, square = state or (0, grad, grad**2)",
               "the means begin with the first gradient and are corrected all the same",
               "What do the means hold before the first step?"),
        Mutant("starts_with_one", A_START, A_START.replace("weight))", "weight) + 1)"),
               "the mean of squares begins at one", "What do the means hold before the first step?"),
        Mutant("eps_under_root", "(corrected_square.sqrt() + eps)", "(corrected_square + eps).sqrt()",
               "eps is added under the root", EPS),
        Mutant("eps_before_correction", A_UPDATE,
               "update = corrected_mean / ((square.sqrt() + eps) / (1 - betas[1] ** step) ** 0.5)",
               "eps is added before the correction, which then makes it larger",
               "To what is eps added: to the root of the running square, or to the root of the corrected one?"),
        Mutant("eps_floor", "(corrected_square.sqrt() + eps)", "corrected_square.sqrt().clamp(min=eps)",
               "eps is a floor instead of being added", EPS),
        Mutant("no_eps", " + eps", "",
               "eps is nowhere", EPS),
        Mutant("eps_of_its_own", "+ eps", "+ 1e-8",
               "eps is always the same, whatever is handed over", "Where in your function is eps used?"),
        Mutant("eps_on_top", A_UPDATE, "update = (corrected_mean + eps) / corrected_square.sqrt().clamp(min=1e-30)",
               "eps is added above the line, where it saves nothing", EPS),
        Mutant("l2", "step = step + 1", "step, grad = step + 1, grad + decay * weight",
               "the decay is added to the gradient, so that it enters the means",
               LARGE_AND_SMALL),
        Mutant("l2_too", "step = step + 1", "step, grad = step + 1, grad + decay * weight\n    decay = 0",
               "the decay is added to the gradient, so that it enters the means",
               LARGE_AND_SMALL),
        Mutant("decay_without_rate", A_WEIGHT, "weight = weight * (1 - decay) - lr * update",
               "the decay is not multiplied by the rate", APART),
        Mutant("decay_after", A_WEIGHT, "weight = (weight - lr * update) * (1 - lr * decay)",
               "the decay acts on the weight after its update", BEFORE),
        Mutant("decay_multiplies", A_WEIGHT, "weight = weight * lr * decay - lr * update",
               "the weight is multiplied by what it should lose", APART),
        Mutant("decay_grows", A_WEIGHT, "weight = weight * (1 + lr * decay) - lr * update",
               "the decay makes weights larger", APART),
        Mutant("no_decay", A_WEIGHT, "weight = weight - lr * update",
               "nothing decays", APART),
        Mutant("decay_subtracted", A_WEIGHT, "weight = weight - lr * decay - lr * update",
               "every weight loses the same amount, not the same share", APART),
        Mutant("decay_divided", A_UPDATE,
               "update = (corrected_mean + decay * weight) / (corrected_square.sqrt() + eps)\n    decay = 0",
               "the decay is divided by the size of the gradients",
               LARGE_AND_SMALL),
        Mutant("decay_twice", A_WEIGHT, "weight = weight * (1 - lr * decay) ** 2 - lr * update",
               "the weight decays twice in one step", APART),
        Mutant("gradient_moves", A_UPDATE, "update = grad / (corrected_square.sqrt() + eps)",
               "the gradient itself moves the weight, not its mean",
               "Where does your function use the corrected mean?"),
        Mutant("no_squares", A_UPDATE, "update = corrected_mean",
               "nothing divides the mean",
               "A weight's gradients are a thousand times smaller than its neighbour's. How far should it move?"),
        Mutant("sign", A_UPDATE, "update = corrected_mean.sign()",
               "every step is equally long, whatever the gradients before it were",
               "The gradient is +1, −1, +1, −1. How long should the steps become?"),
        Mutant("uphill", A_WEIGHT, A_WEIGHT.replace("- lr * update", "+ lr * update"),
               "the weight climbs", "The gradient is positive. In which direction does the loss fall?"),
        Mutant("no_rate", A_WEIGHT, A_WEIGHT.replace("- lr * update", "- update"),
               "the update is not multiplied by the rate", "Where does your function use lr?"),
        Mutant("old_mean", A_UPDATE.replace("\n", ""), "update = state[1] / (corrected_square.sqrt() + eps) "
               "if state else corrected_mean / (corrected_square.sqrt() + eps)",
               "the weight moves by the mean from before this gradient",
               "Does this step's gradient take part in this step?"),
        Mutant("no_update", A_WEIGHT, "weight = weight * (1 - lr * decay)",
               "the weight only decays", "Where does your function use the update?"),
        Mutant("old_state", A_RETURN, "return weight, state",
               "the state is handed back as it came", "What does the next step need from this one?"),
        Mutant("no_state", A_RETURN, "return weight",
               "only the weight is returned", "What does the next step need from this one?"),
        Mutant("flat_result", A_RETURN, "return weight, step, mean, square",
               "four things are returned instead of a pair", "What is the pair that the statement asks for?"),
        Mutant("state_order", A_RETURN, "return weight, (step, square, mean)",
               "mean and square have changed places in the state", "In which order does the state hold them?"),
        Mutant("state_first", A_RETURN, "return (step, mean, square), weight",
               "state and weight have changed places in the result", "What is the pair that the statement asks for?"),
        Mutant("step_last", A_RETURN, "return weight, (mean, square, step)",
               "the count of steps comes last in the state", "In which order does the state hold them?"),
        Mutant("root_stored", A_RETURN, "return weight, (step, mean, square.sqrt())",
               "the root is stored instead of the square", STORED),
        Mutant("weight_in_place", A_WEIGHT, "weight.mul_(1 - lr * decay).sub_(lr * update)",
               "what was handed in is changed", IN_PLACE),
        Mutant("means_in_place", f"{A_MEAN}\n    {A_SQUARE}",
               "mean.mul_(betas[0]).add_((1 - betas[0]) * grad)\n"
               "    square.mul_(betas[1]).add_((1 - betas[1]) * grad**2)",
               "what was handed in is changed", IN_PLACE),
        Mutant("one_mean_in_place", A_MEAN, "mean.lerp_(grad, 1 - betas[0])",
               "what was handed in is changed", IN_PLACE),
        Mutant("square_in_place", A_SQUARE, "square.mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])",
               "what was handed in is changed", IN_PLACE),
        Mutant("all_in_place",
               f"{A_MEAN}\n    {A_SQUARE}\n    {A_FIX_MEAN}\n    {A_FIX_SQUARE}\n    {A_UPDATE}\n    {A_WEIGHT}",
               "mean.mul_(betas[0]).add_((1 - betas[0]) * grad)\n"
               "    square.mul_(betas[1]).add_((1 - betas[1]) * grad**2)\n"
               f"    {A_FIX_MEAN}\n    {A_FIX_SQUARE}\n    {A_UPDATE}\n"
               "    weight.mul_(1 - lr * decay).sub_(lr * update)",
               "what was handed in is changed", IN_PLACE),
        Mutant("largest_square", A_SQUARE,
               A_SQUARE + "\n    square = torch.maximum(square, state[2]) if state else square",
               "the mean of squares never falls, as in AMSGrad",
               "A gradient becomes small for good. What should become of its mean of squares?"),
        Mutant("nesterov", A_UPDATE,
               "update = (betas[0] * corrected_mean + (1 - betas[0]) * grad / (1 - betas[0] ** step)) "
               "/ (corrected_square.sqrt() + eps)",
               "the step looks ahead, as Nesterov's does", "By what does the statement say the weight moves?"),
    ),
    variants=("""\
def adamw_step(weight, grad, state, lr, betas, eps, decay):
    from torch.optim.adamw import adamw  # AdamW itself takes seconds to load
    t, m, v = state or (0, torch.zeros_like(weight), torch.zeros_like(weight))
    t, w, m, v = torch.tensor(float(t)), weight.clone(), m.clone(), v.clone()
    adamw([w], [grad], [m], [v], [], [t], foreach=False, amsgrad=False, beta1=betas[0], beta2=betas[1], lr=lr,
          weight_decay=decay, eps=eps, maximize=False)
    return w, (int(t), m, v)""", """\
def adamw_step(weight, grad, state, lr, betas, eps, decay):
    if state is None:
        t, m, v = 1, grad * (1 - betas[0]), grad * grad * (1 - betas[1])
    else:
        t = state[0] + 1
        m = torch.lerp(state[1], grad, 1 - betas[0])
        v = torch.lerp(state[2], grad * grad, 1 - betas[1])
    length = lr * math.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t)
    small = eps * math.sqrt(1 - betas[1] ** t)
    return weight - length * m / (v.sqrt() + small) - lr * decay * weight, (t, m, v)""", """\
def adamw_step(weight, grad, state, lr, betas, eps, decay):
    n = weight.numel()
    t = 0 if state is None else state[0]
    means = [0.0] * n if state is None else state[1].flatten().tolist()
    squares = [0.0] * n if state is None else state[2].flatten().tolist()
    weights = weight.flatten().tolist()
    for i, g in enumerate(grad.flatten().tolist()):
        means[i] += (1 - betas[0]) * (g - means[i])
        squares[i] += (1 - betas[1]) * (g * g - squares[i])
        m, v = means[i] / (1 - betas[0] ** (t + 1)), squares[i] / (1 - betas[1] ** (t + 1))
        weights[i] -= lr * (m / (math.sqrt(v) + eps) + decay * weights[i])
    shaped = [torch.tensor(x).view(weight.shape) for x in (weights, means, squares)]
    return shaped[0], [t + 1, shaped[1], shaped[2]]""",
    ),
    twin=adamw_twin,
)  # fmt: skip


# 08.4


def schedule_twin(rng: random.Random) -> Question:
    decay, final = rng.choice([4, 5, 8, 10, 20]), rng.choice([0.0, 0.1, 0.2, 0.5])
    done, steps = rng.randint(1, decay - 1), 10 * rng.randint(4, 30)
    return Question(
        f"A run of {steps} steps; in the last {decay} of them the rate falls on a straight line from the peak at the "
        f"first of them, towards {final:g} of the peak at step {steps}, which is not made. Which fraction of the peak "
        f"has step {steps - decay + done}? (Steps count from 0.)", final + (1 - final) * (1 - done / decay),
        f"{done} of {decay} parts of the way from 1 to {final:g} are done.", 0.005,
    )  # fmt: skip


CURVES = ((10, 3, 4, 0.2), (7, 0, 3, 0.0), (6, 2, 0, 0.5), (9, 4, 5, 0.1), (5, 0, 0, 0.3), (1, 0, 1, 0.25),
          (8, 8, 0, 0.4), (4, 0, 4, 0.5), (11, 1, 2, 1.0), (12, 5, 6, 0.0))  # fmt: skip
CLIMBS = "return (step + 1) / (warmup + 1)"
BEGINS = "start = steps - decay"
DONE = "done = (step - start) / decay"
FALLS = "return final + (1 - final) * (1 - done)"
NOT_ZERO = "Which rate has step 0, and how far does the weight move in it?"
PEAK = "Which step is the first at the peak: the last one of the warm-up, or the one after it?"
JUMP_DOWN = "Which share of the decay is behind you at its first step?"
LINE = "What does the line give where nothing of the decay is done, and where all of it is?"
FIRST_OF_THEM = "Of 10 steps the last 4 decay. Which number has the first of them, counted from 0?"
SCHEDULE = Exercise(
    cases=lambda: [(step, *curve) for curve in CURVES for step in range(curve[0])],
    mutants=(
        Mutant("zero_start", CLIMBS, "return step / (warmup + 1)",
               "the warm-up begins at a rate of zero", NOT_ZERO),
        Mutant("jump", DONE, "done = step / steps",
               "the decay is measured from the beginning of the run", JUMP_DOWN),
        Mutant("too_high", FALLS, "return final + (1 - done)",
               "the line falls by 1 from a height above the peak", LINE),
        Mutant("zero_start_and_jump", f"{CLIMBS}\n    {BEGINS}\n    if step < start:\n        return 1.0\n    {DONE}",
               f"return step / (warmup + 1)\n    {BEGINS}\n    if step < start:\n        return 1.0\n"
               "    done = step / steps",
               "only the line's end is mended; two of the three faults are left", JUMP_DOWN),
        Mutant("jump_and_no_final", f"{DONE}\n    {FALLS}", "done = step / steps\n    return (1 - final) * (1 - done)",
               "only the warm-up is mended; two of the three faults are left", JUMP_DOWN),
        Mutant("zero_start_and_no_final", "", """\
def schedule(step, steps, warmup, decay, final):
    if step < warmup:
        return step / (warmup + 1)
    start = steps - decay
    if step < start:
        return 1.0
    return (1 - final) * (1 - (step - start) / decay)""",
               "only the jump is mended; two of the three faults are left", LINE),
        Mutant("peak_early", CLIMBS, "return (step + 1) / warmup",
               "the peak is reached within the warm-up, one step early", PEAK),
        Mutant("zero_start_peak_after", CLIMBS, "return step / warmup",
               "the warm-up begins at a rate of zero and reaches the peak after it", NOT_ZERO),
        Mutant("zero_start_peak_early", CLIMBS, "return step / max(1, warmup - 1)",
               "the warm-up begins at a rate of zero and reaches the peak within it", NOT_ZERO),
        Mutant("climb_of_run", CLIMBS, "return (step + 1) / steps",
               "the warm-up climbs as if it lasted for the whole run", PEAK),
        Mutant("no_warmup", CLIMBS, "return 1.0",
               "there is no warm-up", "Which rate should the very first step have?"),
        Mutant("squared_warmup", CLIMBS, "return ((step + 1) / (warmup + 1)) ** 2",
               "the warm-up is curved", "By how much does the rate rise from one step of the warm-up to the next?"),
        Mutant("reaches_final", DONE, "done = (step - start + 1) / decay",
               "the line already falls at the first step of the decay, and reaches its end in the last one", JUMP_DOWN),
        Mutant("reaches_final_late", DONE, "done = (step - start) / max(1, decay - 1)",
               "the line reaches its end at the last step that is made",
               "At which step number would the line reach `final`: at the last one, or at the one that is not made?"),
        Mutant("over_run", DONE, "done = (step - start) / steps",
               "the decay is divided by the length of the run",
               "How long is the decay, and which share of it is behind you at its last step?"),
        Mutant("from_warmup", DONE, "done = (step - warmup) / (steps - warmup)",
               "the decay is measured from the end of the warm-up", JUMP_DOWN),
        Mutant("to_zero", FALLS, "return 1 - done",
               "the line falls to zero, whatever `final` says", LINE),
        Mutant("floor", FALLS, "return max(final, 1 - done)",
               "the line falls towards zero and stops at `final`", LINE),
        Mutant("no_final", FALLS, "return (1 - final) * (1 - done)",
               "`final` is never added: the line begins below the peak and ends at zero", LINE),
        Mutant("final_times", FALLS, "return final * (1 - done)",
               "the line begins at `final`", LINE),
        Mutant("upwards", FALLS, "return final + (1 - final) * done",
               "the line rises from `final` to the peak", LINE),
        Mutant("wrong_share", FALLS, "return 1 - final * done",
               "the line falls by `final` instead of towards it", LINE),
        Mutant("cosine", FALLS, "return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2",
               "the rate falls along a cosine",
               "By how much does the rate fall from one step of the decay to the next?"),
        Mutant("exponential", FALLS, "return max(final, 1e-9) ** done",
               "the rate falls by the same factor in each step",
               "By how much does the rate fall from one step of the decay to the next?"),
        Mutant("root", FALLS, "return final + (1 - final) * (1 - done**0.5)",
               "the rate falls along a root",
               "By how much does the rate fall from one step of the decay to the next?"),
        Mutant("final_at_once", FALLS, "return final",
               "the rate falls to `final` at once", LINE),
        Mutant("no_decay", FALLS, "return 1.0",
               "nothing ever falls", LINE),
        Mutant("start_is_length", BEGINS, "start = decay",
               "the length of the decay is taken for the step at which it begins", FIRST_OF_THEM),
        Mutant("starts_early", f"{BEGINS}\n    if step < start:\n        return 1.0\n    {DONE}",
               "start = steps - decay - 1\n    if step < start:\n        return 1.0\n"
               "    done = (step - start) / (decay + 1)",
               "the decay begins one step early", FIRST_OF_THEM),
        Mutant("starts_early_short", BEGINS, "start = max(warmup, steps - decay - 1) if decay else steps",
               "the decay begins one step early and goes on as before", FIRST_OF_THEM),
        Mutant("starts_after_warmup", "if step < start:\n        return 1.0\n    " + DONE,
               "start = warmup\n    done = (step - start) / max(1, steps - warmup)",
               "the rate falls as soon as the warm-up is over",
               "What happens between the warm-up and the last `decay` steps?"),
        Mutant("stable_is_length", BEGINS, "start = steps - warmup - decay",
               "the length of the stable phase is taken for the step at which it ends", FIRST_OF_THEM),
        Mutant("counted_from_one", "if step < warmup", "step += 1\n    if step < warmup",
               "steps are counted from one everywhere", "Which number has the first step?"),
        Mutant("half", "return 1.0", "return 0.5",
               "the stable phase is not at the peak", "Which fraction of the peak is the peak?"),
    ),
    variants=("""\
def schedule(step, steps, warmup, decay, final):
    up = min(1.0, (step + 1) / (warmup + 1))
    left = min(1.0, (steps - step) / decay) if decay else 1.0
    return min(up, final + (1 - final) * left)""", """\
def schedule(step, steps, warmup, decay, final):
    from minigpt.config import OptimConfig
    from minigpt.optim import learning_rate
    config = OptimConfig(warmup=warmup / steps, decay=decay / steps, final_lr=final)
    return learning_rate(step, steps, config, decay_start=steps - decay)""", """\
def schedule(step, steps, warmup, decay, final):
    rates = [(i + 1) / (warmup + 1) for i in range(warmup)]
    rates += [1.0] * (steps - warmup - decay)
    rates += [1 + (final - 1) * i / decay for i in range(decay)]
    return rates[step]""",
    ),
    properties=(
        Property(lambda rate, *rest: rate <= 1 + 1e-9, "The rate is above its peak."),
        Property(lambda rate, *rest: rate > 0, "The rate is zero: the step moves nothing."),
    ),
    twin=schedule_twin,
)  # fmt: skip


# 08.5


def clip_twin(rng: random.Random) -> Question:
    a, b, c = rng.choice([(3, 4, 5), (6, 8, 10), (5, 12, 13), (8, 15, 17), (9, 12, 15), (7, 24, 25)])
    most = rng.choice([1, 2])
    return Question(
        f"Two parameter tensors: the gradient of the first has length {a}, that of the second {b}. Global clipping to "
        f"{most}. Which length has the second one's gradient afterwards?", b * most / c,
        f"Together they have length {c}; everything is multiplied by {most}/{c}.", 0.005,
    )  # fmt: skip


def clip_cases() -> list[tuple]:
    """grads, most: clipped and not, just at the limit, each short but not all together, zeros, nothing."""
    long, short, many = (normal(850 + i, *shapes) for i, shapes in enumerate((
        ((4, 3), (5,), (), (2, 1, 6)), ((2,), (3, 4)), ((7,), (2, 2), (5, 1), (3,)))))  # fmt: skip
    sized = [g / g.norm() * size for g, size in zip(many, (0.9, 0.5, 0.7, 0.2))]
    return [
        (long, 1.5), ([g * 0.05 for g in short], 2.0), (sized, 1.0),
        ([torch.tensor([3.0]), torch.tensor([[0.0, 4.0]])], 5.0),
        ([torch.zeros(3), torch.zeros(2, 4)], 1.0), ([], 1.0), ([torch.tensor([-6.0, 0.0, 8.0])], 0.5),
        ([torch.zeros(4), *(g * 20 for g in short)], 30.0),
        ([torch.full((6,), 0.1), torch.full((2, 5), -0.1)], 0.3), (sized[:3], 2.0),
        ([torch.tensor([3e-6]), torch.tensor([[0.0, 4e-6]])], 1e-6),
        ([torch.tensor([[3e-6]]), torch.tensor([4e-6, 0.0])], 5.5e-6),
        ([torch.tensor([4e-9, 0.0, 3e-9])], 2e-9),
    ]  # fmt: skip


def in_sight(function: Callable, grads: list, most: float):
    """What a function returns for gradients; tiny ones in units of `most`: the checker compares to five decimals."""
    result = function(grads, most)
    if most > TINY:
        return result
    try:
        clipped, norm = result
        return [grad / most for grad in clipped], norm / most
    except (TypeError, ValueError):  # not a pair, or not of these things
        return result


TINY = 1e-4
NORM = "norm = math.sqrt(sum(grad.square().sum().item() for grad in grads))"
FACTOR = "factor = most / norm if norm > most else 1.0"
CLIPPED = "return [grad * factor for grad in grads], norm"
TURNED = "One tensor is cut and the others are not. In which direction does the whole step point now?"
LENGTH = "The gradients are (3) and (0, 4). What is the length of (3, 0, 4)?"
SHORTEN = "A gradient is shorter than allowed. What should happen to it?"
REPORT = "You want to see in the log when a batch was wild. Which length tells you?"
ZEROS = "All gradients are zero: by what do you divide?"
OWN = "Whose tensors are these, and what does the caller find in them afterwards?"
ADDED = "a small number is added to the length before it divides, as PyTorch does"
SLIGHTLY = "All gradients and `most` are divided by a million. What should become of the factor, and what does yours?"
BY_ITSELF = """\
def clip(grads, most):
    norm = math.sqrt(sum(grad.square().sum().item() for grad in grads))
    return [grad * min(1.0, most / max(grad.norm().item(), 1e-30)) for grad in grads], norm"""
CLIP = Exercise(
    cases=clip_cases,
    use=in_sight,
    mutants=(
        Mutant("each_by_itself", "", BY_ITSELF,
               "each tensor is clipped by its own length", TURNED),
        Mutant("each_by_itself_norms", "",
               BY_ITSELF.replace("grads], norm", "grads], [g.norm().item() for g in grads]"),
               "each tensor is clipped by its own length, and all lengths are returned", TURNED),
        Mutant("each_share", "", BY_ITSELF.replace("most / max", "most / len(grads) ** 0.5 / max"),
               "each tensor is given an equal share of the length", TURNED),
        Mutant("clamped", CLIPPED, "return [grad.clamp(-most, most) for grad in grads], norm",
               "each number is clamped by itself",
               "A gradient of (3, 0.1) is clamped to 1. Does it still point the same way?"),
        Mutant("no_root", "math.sqrt(sum(grad.square().sum().item() for grad in grads))",
               "sum(grad.square().sum().item() for grad in grads)",
               "the root is forgotten: the square of the length is compared and divides", LENGTH),
        Mutant("sum_of_lengths", NORM, "norm = sum(grad.norm().item() for grad in grads)",
               "the lengths of the tensors are added up", LENGTH),
        Mutant("longest", NORM, "norm = max((grad.norm().item() for grad in grads), default=0.0)",
               "the longest tensor stands for all", LENGTH),
        Mutant("mean_length", NORM, "norm = sum(grad.norm().item() for grad in grads) / max(1, len(grads))",
               "the lengths of the tensors are averaged", LENGTH),
        Mutant("root_mean_square", NORM, NORM.replace("grads))", "grads) / max(1, sum(g.numel() for g in grads)))"),
               "the root of the mean square is taken instead of the sum",
               "A model twice as large has a gradient of the same numbers. Is it longer?"),
        Mutant("mean_over_tensors", NORM, NORM.replace("grads))", "grads) / max(1, len(grads)))"),
               "the squares are averaged over the tensors", LENGTH),
        Mutant("means_in_tensors", NORM, NORM.replace(".sum().item()", ".mean().item()"),
               "within a tensor squares are averaged instead of added",
               "A tensor is cut into two. Should the length of the whole change?"),
        Mutant("largest_number", NORM, "norm = max((grad.abs().max().item() for grad in grads), default=0.0)",
               "the largest number stands for the length", LENGTH),
        Mutant("sizes", NORM, "norm = sum(grad.abs().sum().item() for grad in grads)",
               "sizes are added up instead of squares", LENGTH),
        Mutant("signed", NORM, "norm = abs(sum(grad.sum().item() for grad in grads))",
               "numbers are added up with their signs, so that they cancel", LENGTH),
        Mutant("root_in_tensors", NORM, "norm = sum(math.sqrt(grad.square().sum().item()) for grad in grads)",
               "the lengths of the tensors are added up", LENGTH),
        Mutant("first_only", NORM, "norm = grads[0].norm().item() if grads else 0.0",
               "the first tensor's length decides for all", LENGTH),
        Mutant("last_only", NORM, "norm = grads[-1].norm().item() if grads else 0.0",
               "the last tensor's length decides for all", LENGTH),
        Mutant("spectral", NORM,
               "norm = math.sqrt(sum((torch.linalg.matrix_norm(g, 2) if g.ndim == 2 else g.norm()).item() "
               "** 2 for g in grads))",
               "a matrix is measured by its largest singular value, not by its numbers as one vector", LENGTH),
        Mutant("always", FACTOR, "factor = most / max(norm, 1e-30)",
               "short gradients are stretched to the greatest length", SHORTEN),
        Mutant("only_short", FACTOR, "factor = most / norm if 0 < norm < most else 1.0",
               "short gradients are stretched, and long ones are left", SHORTEN),
        Mutant("nan_for_zero", FACTOR, "factor = most / torch.tensor(norm).item() if norm else math.nan\n"
               "    factor = factor if norm > most or not norm else 1.0",
               "zero is divided by zero", ZEROS),
        Mutant("division_by_zero", FACTOR, "factor = min(1.0, most / norm)",
               "a length of zero divides", ZEROS),
        Mutant("inverted", "most / norm if", "norm / most if",
               "the factor is upside down", "The length is 5 and 1 is allowed. Is the factor above one or below?"),
        Mutant("divided_by_norm", "most / norm if", "1 / norm if",
               "long gradients get length one, whatever is allowed", "Where does your factor use `most`?"),
        Mutant("times_most", "most / norm if", "most if",
               "long gradients are multiplied by what is allowed", "Where does your factor use the length?"),
        Mutant("to_zero", "most / norm if", "0.0 if",
               "a gradient that is too long is thrown away",
               "Clipped to length `most`: how long should the result be?"),
        Mutant("squared_factor", "most / norm if", "(most / norm) ** 2 if",
               "the factor is squared", "Multiply a vector by 0.5: what becomes of its length?"),
        Mutant("root_factor", "most / norm if", "(most / norm) ** 0.5 if",
               "the root of the factor is taken", "Multiply a vector by 0.5: what becomes of its length?"),
        Mutant("softened", "most / norm if", "most / (norm + 1) if",
               "one is added to the length before it divides",
               "Clipped to length `most`: how long is your result?"),
        *(Mutant(f"pytorch_{i}", FACTOR, factor.format(t), ADDED, SLIGHTLY)
          for i, (factor, t) in enumerate((f, t) for t in (1e-6, 1e-8, 1e-12) for f in (
              "factor = min(1.0, most / (norm + {}))", "factor = most / (norm + {}) if norm > most else 1.0"))),
        *(Mutant(f"floor_{i}", FACTOR, f"factor = min(1.0, most / max(norm, {t}))",
                 "a tiny length is taken for a larger one, so that nothing is divided by zero", SLIGHTLY)
          for i, t in enumerate((1e-6, 1e-8))),
        Mutant("empty_cat", NORM, "norm = torch.cat([grad.flatten() for grad in grads]).norm().item()",
               "an empty list of gradients is joined to one vector", "Which length have no gradients at all?"),
        Mutant("norm_after", "grads], norm", "grads], norm * factor",
               "the length after clipping is returned", REPORT),
        Mutant("norm_capped", "grads], norm", "grads], min(norm, most)",
               "the length after clipping is returned", REPORT),
        Mutant("factor_returned", "grads], norm", "grads], factor",
               "the factor is returned in the place of the length", REPORT),
        Mutant("was_clipped", "grads], norm", "grads], norm > most",
               "it is returned whether something was clipped, instead of the length", REPORT),
        Mutant("squared_returned", "grads], norm", "grads], norm**2",
               "the square of the length is returned", REPORT),
        Mutant("no_norm", "[grad * factor for grad in grads], norm", "[grad * factor for grad in grads]",
               "the length is not returned", REPORT),
        Mutant("swapped_results", CLIPPED, "return norm, [grad * factor for grad in grads]",
               "length and gradients have changed places in the result", "Which of the two comes first?"),
        Mutant("flattened", CLIPPED, "return [grad.flatten() * factor for grad in grads], norm",
               "the gradients come back as flat vectors",
               "Which shape must a gradient have, so that the optimizer can use it?"),
        Mutant("one_vector", CLIPPED,
               "return (torch.cat([g.flatten() for g in grads]) * factor if grads else []), norm",
               "all gradients come back as one vector", "How many tensors does the optimizer expect?"),
        Mutant("in_place", CLIPPED, "for grad in grads:\n        grad.mul_(factor)\n    return grads, norm",
               "what was handed in is changed", OWN),
        Mutant("list_in_place", CLIPPED, "for i, grad in enumerate(grads):\n        grads[i] = grad * factor\n"
               "    return grads, norm",
               "what was handed in is changed", OWN),
        Mutant("first_clipped", CLIPPED,
               "return [grad * factor if i == 0 else grad for i, grad in enumerate(grads)], norm",
               "only the first tensor is shortened", TURNED),
        Mutant("long_ones_clipped", CLIPPED,
               "return [grad * factor if grad.norm() > most else grad for grad in grads], norm",
               "only tensors that are too long by themselves are shortened", TURNED),
        Mutant("squared_limit", FACTOR, "factor = most / norm if norm**2 > most else 1.0",
               "the square of the length is compared with what is allowed", SHORTEN),
        Mutant("one_limit", FACTOR, "factor = most / norm if norm > 1 else 1.0",
               "the length is compared with 1, whatever is allowed", SHORTEN),
    ),
    variants=("""\
def clip(grads, most):
    if not grads:
        return [], 0.0
    norm = torch.linalg.vector_norm(torch.cat([g.flatten() for g in grads]))
    return [g * (most / norm).clamp(max=1) for g in grads], norm""", """\
def clip(grads, most):
    norm = torch.nn.utils.get_total_norm(grads).item()
    return [g.mul(most / norm) if norm > most else g.clone() for g in grads], norm""", """\
def clip(grads, most):
    total = 0.0
    for grad in grads:
        for number in grad.flatten().tolist():
            total += number**2
    if total <= most**2:
        return list(grads), total**0.5
    return [grad / (total**0.5 / most) for grad in grads], total**0.5""", """\
def clip(grads, most):
    norm = math.hypot(*(torch.linalg.norm(g.reshape(-1)).item() for g in grads))
    return tuple(g.clone().div_(max(1.0, norm / most)) for g in grads), norm""",
    ),
    properties=(
        Property(lambda result, grads, most: math.hypot(*(g.norm().item() for g in result[0]))
                 <= 1.0001 * (most if most > TINY else 1),
                 "All gradients together are still longer than allowed."),
    ),
    twin=clip_twin,
)  # fmt: skip


# 08.6


def accumulate_twin(rng: random.Random) -> Question:
    many, few = 10 * rng.randint(5, 12), rng.randint(2, 30)
    a, b = rng.randint(2, 4), rng.randint(5, 9)
    return Question(
        f"Two micro-batches: a mean loss of {a} over {many} targets, and of {b} over {few}. What is the mean loss of "
        "the batch?", (a * many + b * few) / (many + few), f"({a} · {many} + {b} · {few}) / {many + few}.", 0.002,
    )  # fmt: skip


def accumulate_cases() -> list[tuple]:
    """losses, counts: uneven, with empty pieces, with a loss of zero, with a true NaN, with nothing at all."""
    nan = math.nan
    pieces = (
        ([2.0, 8.0], [300, 100]), ([2.0, nan, 8.0], [300, 0, 100]), ([2.0, nan], [300, 100]),
        ([1.5, 0.0, 4.0], [7, 30, 2]),
        ([nan, nan, nan], [0, 0, 0]), ([3.25], [12]), ([nan], [0]), ([nan, 5.0, 6.0, nan, 1.0], [0, 1, 4, 0, 50]),
        ([0.0, nan], [9, 0]), ([4.0, nan, nan], [3, 5, 0]), ([2.5, 2.5, 2.5, 2.5], [1, 20, 3, 40]),
        ([nan], [6]), ([9.0, 1.0, 3.0, 7.0, 2.0, 4.0], [5, 5, 5, 5, 5, 11]), ([0.5, math.inf, 1.0], [10, 2, 30]),
    )  # fmt: skip
    return [(torch.tensor(losses), torch.tensor(counts)) for losses, counts in pieces]


SOME = "some = counts > 0"
EMPTY = "    if not some.any():\n        return math.nan\n"
MEAN = "return (losses[some] * counts[some]).sum() / counts.sum()"
TOGETHER = "Micro-batches of 300 and 100 targets: how much did all the targets lose together, and how many are they?"
BROKEN = "A micro-batch has 100 targets that count, and its loss is NaN. What happened, and should anyone know?"
LEFT_OUT = "What is 0 times NaN?"
NOTHING = "No target counts in the whole batch. Is its mean loss a number?"
ACCUMULATE = Exercise(
    cases=accumulate_cases,
    mutants=(
        Mutant("mean", MEAN, "return losses.mean()",
               "the means are averaged, the empty ones too", TOGETHER),
        Mutant("nanmean", MEAN, "return losses.nanmean()",
               "the means are averaged, and every NaN is skipped", TOGETHER),
        Mutant("mean_of_some", MEAN, "return losses[some].mean()",
               "the means are averaged, large and small micro-batches alike", TOGETHER),
        Mutant("sum_over_pieces", MEAN, "return losses[some].sum() / len(losses)",
               "the means are added up and divided by the number of micro-batches, the empty ones too", TOGETHER),
        Mutant("sum", MEAN, "return losses[some].sum()",
               "the means are added up", TOGETHER),
        Mutant("total", MEAN, "return (losses[some] * counts[some]).sum()",
               "the total is returned and never divided", TOGETHER),
        Mutant("means_over_targets", MEAN, "return losses[some].sum() / counts.sum()",
               "the means are divided by the number of targets a second time", TOGETHER),
        Mutant("total_over_pieces", MEAN, "return (losses[some] * counts[some]).sum() / len(losses)",
               "the total is divided by the number of micro-batches", TOGETHER),
        Mutant("total_over_some", MEAN, "return (losses[some] * counts[some]).mean()",
               "the total is divided by the number of micro-batches that are not empty", TOGETHER),
        Mutant("nan_spreads", MEAN, "return (losses * counts).sum() / counts.sum()",
               "a single empty micro-batch makes the whole batch NaN", LEFT_OUT),
        Mutant("nan_to_num", MEAN, "return (losses.nan_to_num() * counts).sum() / counts.sum()",
               "every NaN is taken for a loss of zero, also where targets count", BROKEN),
        Mutant("nansum", MEAN, "return (losses * counts).nansum() / counts.sum()",
               "every NaN is taken for a loss of zero, also where targets count", BROKEN),
        Mutant("nan_skipped", SOME, "some = ~losses.isnan()",
               "every NaN is taken for a loss of zero, also where targets count", BROKEN),
        Mutant("nan_left_out", f"{SOME}\n{EMPTY}    {MEAN}",
               f"some = ~losses.isnan()\n{EMPTY}    return (losses[some] * counts[some]).sum() / counts[some].sum()",
               "every micro-batch whose loss is NaN is left out, also where targets count", BROKEN),
        Mutant("finite_only", f"{SOME}\n{EMPTY}    {MEAN}",
               f"some = losses.isfinite()\n{EMPTY}    return (losses[some] * counts[some]).sum() / counts[some].sum()",
               "every micro-batch whose loss is not finite is left out, also where targets count", BROKEN),
        Mutant("zero_left_out", f"{SOME}\n{EMPTY}    {MEAN}",
               f"some = (counts > 0) & (losses != 0)\n{EMPTY}"
               "    return (losses[some] * counts[some]).sum() / counts[some].sum()",
               "a loss of zero is taken for missing", "What does a loss of 0 over 30 targets say about the model?"),
        Mutant("more_than_one", f"{SOME}\n{EMPTY}    {MEAN}",
               f"some = counts > 1\n{EMPTY}    return (losses[some] * counts[some]).sum() / counts[some].sum()",
               "a micro-batch with a single target is left out",
               "How many targets does a micro-batch need to have a loss?"),
        Mutant("nothing_is_zero", "return math.nan", "return 0.0",
               "a batch without targets gets a loss of zero, which is perfection", NOTHING),
        Mutant("nothing_is_one", f"{EMPTY}    {MEAN}",
               "    " + MEAN.replace("counts.sum()", "counts.sum().clamp(min=1)"),
               "a batch without targets gets a loss of zero, which is perfection", NOTHING),
        Mutant("nothing_is_none", "return math.nan", "return None",
               "nothing is returned where no target counts", NOTHING),
        Mutant("nothing_is_infinite", "return math.nan", "return math.inf",
               "a batch without targets gets an infinite loss", NOTHING),
        Mutant("all_but_one", EMPTY, "    if not some.all():\n        return math.nan\n",
               "a single empty micro-batch makes the whole batch NaN",
               "One micro-batch is empty and the others are not. Is there a mean?"),
        Mutant("nan_first", EMPTY, "    if losses.isnan().any():\n        return math.nan\n",
               "a single empty micro-batch makes the whole batch NaN",
               "One micro-batch is empty and the others are not. Is there a mean?"),
        Mutant("empty_counts_one", f"{EMPTY}    {MEAN}", "    counts = counts.clamp(min=1)\n"
               "    return (losses.where(some, torch.zeros(())) * counts).sum() / counts.sum()",
               "an empty micro-batch counts as one target with a loss of zero",
               "How many targets of an empty micro-batch belong to the number that divides?"),
        Mutant("inverse_weights", MEAN, "return (losses[some] / counts[some]).sum() / (1 / counts[some]).sum()",
               "small micro-batches weigh more than large ones", TOGETHER),
        Mutant("divided", MEAN, "return (losses[some] / counts[some]).mean()",
               "the means are divided by their counts a second time", TOGETHER),
        Mutant("squared_weights", MEAN,
               "return (losses[some] * counts[some] ** 2).sum() / (counts[some] ** 2).sum()",
               "large micro-batches weigh with the square of their size", TOGETHER),
        Mutant("softmax_weights", MEAN,
               "return (losses[some] * torch.softmax(counts[some].float(), 0)).sum()",
               "a softmax makes weights of the counts", TOGETHER),
        Mutant("largest", MEAN, "return losses[some][counts[some].argmax()]",
               "the largest micro-batch speaks for all", TOGETHER),
        Mutant("last", MEAN, "return losses[some][-1]",
               "the last micro-batch speaks for all", TOGETHER),
        Mutant("first", MEAN, "return losses[some][0]",
               "the first micro-batch speaks for all", TOGETHER),
        Mutant("median", MEAN, "return losses[some].median()",
               "the median of the means is taken", TOGETHER),
        Mutant("pieces_times_mean", MEAN, "return (losses[some] * counts[some]).sum() / (len(losses) * counts.max())",
               "all micro-batches are taken to be as large as the largest", TOGETHER),
        Mutant("running", MEAN,
               "mean = losses[some][0]\n    for loss in losses[some][1:]:\n        mean = (mean + loss) / 2\n"
               "    return mean",
               "each loss is averaged with what came before it, so that late ones weigh more", TOGETHER),
        Mutant("perplexity", MEAN, "return ((losses[some] * counts[some]).sum() / counts.sum()).exp()",
               "the perplexity is returned", "In which unit is the result asked for?"),
        Mutant("one_element", MEAN, "return ((losses[some] * counts[some]).sum() / counts.sum())[None]",
               "the result is a tensor with one element, not a number", "How many axes has a number?"),
        Mutant("whole_numbers", MEAN, "return (losses[some] * counts[some]).sum() // counts.sum()",
               "the division rounds down to a whole number", "What is 10 // 4?"),
        Mutant("in_place", f"{EMPTY}    {MEAN}",
               "    losses[~some] = 0\n    return (losses * counts).sum() / counts.sum()",
               "the NaN of empty micro-batches is overwritten in the tensor that was handed in",
               "Whose tensor is it, and what does the log say of this micro-batch afterwards?"),
    ),
    variants=("""\
def accumulate(losses, counts):
    total, targets = 0.0, 0
    for loss, count in zip(losses.tolist(), counts.tolist()):
        if count:
            total += loss * count
            targets += count
    return total / targets if targets else float("nan")""", """\
def accumulate(losses, counts):
    filled = torch.where(counts == 0, 0.0, losses)
    return torch.dot(filled, counts.float()) / counts.sum()""", """\
def accumulate(losses, counts):
    sums = losses.double().masked_fill(counts == 0, 0) * counts
    return (sums.sum() / counts.sum()).item()""", """\
def accumulate(losses, counts):
    each = torch.repeat_interleave(losses, counts)
    return each.mean()""",
    ),
    properties=(
        Property(lambda mean, losses, counts: math.isnan(mean) or not losses[counts > 0].isnan().any(),
                 "A micro-batch whose targets count has a loss of NaN, and the result hides it."),
        Property(lambda mean, losses, counts: not counts.sum() or losses[counts > 0].isnan().any()
                 or losses[counts > 0].min() - 1e-4 <= mean <= losses[counts > 0].max() + 1e-4,
                 "The mean lies outside of what it is the mean of."),
    ),
    twin=accumulate_twin,
)  # fmt: skip


# 08.7


def packed_twin(rng: random.Random) -> Question:
    lengths = rng.sample(range(2, 9), 3)
    return Question(
        f"A window holds exactly three documents, of {lengths[0]}, {lengths[1]} and {lengths[2]} tokens, each with its "
        "<|endoftext|> in front and counted in. How many entries of the document mask are True?",
        sum(n * (n + 1) // 2 for n in lengths),
        "Each document has a causal triangle of its own: " + " + ".join(f"{n} · {n + 1} / 2" for n in lengths) + ".",
    )  # fmt: skip


WINDOWS = (
    ([5, 0, 7, 7, 0, 9], 0), ([0, 4, 4, 1], 0), ([3, 8, 1, 0, 2], 7), ([7], 7), ([2], 7), ([7, 7, 7], 7),
    ([1, 2, 3, 4, 5, 6, 9], 9), ([9, 1, 0, 9, 9, 3, 2, 9, 1], 9), ([4, 4, 4, 2, 4, 4, 4, 4], 2),
    ([6, 3, 6, 3, 0, 6, 3, 6, 3, 0, 0], 0), ([1, 5, 5, 0, 1, 2, 3, 0, 5, 5], 5),
)  # fmt: skip
NUMBERS = "document = (tokens == eot).cumsum(dim=0)"
SQUARES = "same = document[:, None] == document"
TRIANGLE = "return same.tril()"
ANNOUNCES = "The token after an `eot` is to be predicted. From what, if it may not look at the `eot`?"
STRANGER = "The window begins in the middle of a document. May this rest be looked at by the document after it?"
FUTURE = "May position 0 look at position 1?"
ITSELF = "What is left to look at for the first token of a window?"
KIND = "Which dtype says \"may look: yes or no\"?"
NUMBER = "Write the number of the document under each token of the example: at which token does it change?"
DOCUMENT_MASK = Exercise(
    cases=lambda: [(torch.tensor(tokens), eot) for tokens, eot in WINDOWS],
    mutants=(
        Mutant("eot_ends", NUMBERS, "ends = tokens == eot\n    document = ends.cumsum(dim=0) - ends.long()",
               "the eot belongs to the document before it", ANNOUNCES),
        Mutant("eot_ends_shifted", NUMBERS, "document = (tokens == eot).roll(1).cumsum(dim=0)",
               "the eot belongs to the document before it", ANNOUNCES),
        Mutant("eot_alone", NUMBERS, "ends = tokens == eot\n    document = 2 * ends.cumsum(dim=0) - ends.long()",
               "each eot is a document of its own", ANNOUNCES),
        Mutant("eot_hidden", SQUARES, "same = (document[:, None] == document) & (tokens != eot)",
               "nobody may look at an eot, not even the eot itself", ANNOUNCES),
        Mutant("eot_hidden_to_others", TRIANGLE,
               "return (same & (tokens != eot)).tril() | torch.eye(len(tokens), dtype=torch.bool)",
               "each eot is a document of its own", ANNOUNCES),
        Mutant("eot_blind", SQUARES, "same = (document[:, None] == document) & (tokens != eot)[:, None]",
               "an eot may not look at anything", ITSELF),
        Mutant("eot_seen_by_all", SQUARES, "same = (document[:, None] == document) | (tokens == eot)",
               "every eot may be looked at by all that comes after it",
               "Two documents further on, does an old eot still tell anything about this text?"),
        Mutant("eot_sees_all", SQUARES, "same = (document[:, None] == document) | (tokens == eot)[:, None]",
               "an eot may look at all that came before it",
               "To which document does an eot belong, and what does it begin?"),
        Mutant("not_causal", TRIANGLE, "return same",
               "documents are kept apart, but tokens see the future", FUTURE),
        Mutant("anti_causal", TRIANGLE, "return same.triu()",
               "tokens look forward instead of back", FUTURE),
        Mutant("not_itself", TRIANGLE, "return same.tril(-1)",
               "a token may not look at itself", ITSELF),
        Mutant("one_ahead", TRIANGLE, "return same.tril(1)",
               "each token may look one position ahead", FUTURE),
        Mutant("only_causal", TRIANGLE, "return torch.ones_like(same).tril()",
               "everyone may look at all of the past, across documents",
               "Where does your mask depend on the tokens?"),
        Mutant("inverted", TRIANGLE, "return ~same.tril()",
               "True says what is hidden", "What does True at [0, 0] say about a token and itself?"),
        Mutant("other_documents", "] == document", "] != document",
               "tokens see the documents before theirs, and not their own", ITSELF),
        Mutant("earlier_too", "] == document", "] >= document",
               "everyone may look at all of the past, across documents", STRANGER),
        Mutant("first_hidden", SQUARES, "same = (document[:, None] == document) & (document > 0)",
               "the rest of an earlier document is hidden from itself", ITSELF),
        Mutant("first_hidden_but_itself", TRIANGLE,
               "return (same & (document > 0)).tril() | torch.eye(len(tokens), dtype=torch.bool)",
               "in the rest of an earlier document each token sees only itself",
               "Why should the tokens before the first eot not see each other?"),
        Mutant("first_joined", NUMBERS, "document = (tokens == eot).cumsum(dim=0).clamp(min=1)",
               "the rest of an earlier document is joined to the first document that begins", STRANGER),
        Mutant("only_first_boundary", NUMBERS, "document = (tokens == eot).cumsum(dim=0).clamp(max=1)",
               "only the first eot counts as a boundary",
               "How many documents may a window hold?"),
        Mutant("only_last_boundary", NUMBERS,
               "document = ((tokens == eot).flip(0).cumsum(0).flip(0) > 0).long()\n"
               "    at = (tokens == eot).nonzero().flatten()\n    document[at[-1:]] = 0",
               "only the last eot counts as a boundary",
               "How many documents may a window hold?"),
        Mutant("from_the_right", NUMBERS, "document = (tokens == eot).flip(0).cumsum(dim=0).flip(0)",
               "the eot belongs to the document before it", ANNOUNCES),
        Mutant("not_counted", NUMBERS, "document = (tokens == eot).long()",
               "boundaries are marked and never counted", NUMBER),
        Mutant("odd_and_even", NUMBERS, "document = (tokens == eot).cumsum(dim=0) % 2",
               "documents are only told from their neighbours", NUMBER),
        Mutant("ids_compared", NUMBERS, "document = tokens",
               "equal tokens may look at each other", NUMBER),
        Mutant("eot_is_zero", "(tokens == eot)", "(tokens == 0)",
               "the eot is taken to be token 0", "Where does your function use the second argument?"),
        Mutant("not_eot", "(tokens == eot)", "(tokens != eot)",
               "the document changes at every token but the eot", NUMBER),
        Mutant("positions_after", "(tokens == eot)", "(tokens >= eot)",
               "every token with a larger id begins a document", NUMBER),
        Mutant("neighbours_merge", NUMBERS, "starts = tokens == eot\n    starts[1:] &= tokens[:-1] != eot\n"
               "    document = starts.cumsum(dim=0)",
               "an eot right after another one is not counted",
               "A document without any text: how many tokens does it have, and whose are they?"),
        Mutant("numbers", TRIANGLE, "return same.tril().float()",
               "the mask holds the numbers 0 and 1", KIND),
        Mutant("whole_numbers", TRIANGLE, "return same.tril().int()",
               "the mask holds the numbers 0 and 1", KIND),
        Mutant("additive", TRIANGLE, "return torch.zeros(same.shape).masked_fill(~same.tril(), -math.inf)",
               "the mask holds 0 and minus infinity, to be added to scores", KIND),
        Mutant("document_numbers", TRIANGLE, "return document",
               "the numbers of the documents are returned, not who sees whom", "Which shape is asked for?"),
        Mutant("batched", TRIANGLE, "return same.tril()[None]",
               "the mask has an axis too many", "Which shape is asked for?"),
        Mutant("sum_not_cumsum", NUMBERS, "document = (tokens == eot).sum(dim=0).expand(len(tokens))",
               "everyone may look at all of the past, across documents", NUMBER),
        Mutant("slices_skip_first", "", """\
def document_mask(tokens, eot):
    T = len(tokens)
    mask = torch.zeros(T, T, dtype=torch.bool)
    starts = [i for i, token in enumerate(tokens.tolist()) if token == eot] + [T]
    for a, b in zip(starts, starts[1:]):
        mask[a:b, a:b] = torch.ones(b - a, b - a, dtype=torch.bool).tril()
    return mask""",
               "the rest of an earlier document is hidden from itself", ITSELF),
        Mutant("slices_skip_last", "", """\
def document_mask(tokens, eot):
    T = len(tokens)
    mask = torch.zeros(T, T, dtype=torch.bool)
    starts = [0] + [i for i, token in enumerate(tokens.tolist()) if token == eot]
    for a, b in zip(starts, starts[1:]):
        mask[a:b, a:b] = torch.ones(b - a, b - a, dtype=torch.bool).tril()
    return mask""",
               "the last document of the window is forgotten: no boundary ends it",
               "Where does the last document of the window end?"),
        Mutant("slices_too_long", "", """\
def document_mask(tokens, eot):
    T = len(tokens)
    mask = torch.zeros(T, T, dtype=torch.bool)
    starts = [0] + [i for i, token in enumerate(tokens.tolist()) if token == eot] + [T]
    for a, b in zip(starts, starts[1:]):
        b = min(T, b + 1)
        mask[a:b, a:b] |= torch.ones(b - a, b - a, dtype=torch.bool).tril()
    return mask""",
               "an eot sees the document before it as well as its own", NUMBER),
        Mutant("slices_too_short", "", """\
def document_mask(tokens, eot):
    T = len(tokens)
    mask = torch.zeros(T, T, dtype=torch.bool)
    starts = [0] + [i for i, token in enumerate(tokens.tolist()) if token == eot] + [T]
    for a, b in zip(starts, starts[1:]):
        mask[a : b - 1, a : b - 1] = torch.ones(max(0, b - 1 - a), max(0, b - 1 - a), dtype=torch.bool).tril()
    return mask""",
               "the last token of each document is cut off", "Which is the last index in `row[2:5]`?"),
        Mutant("stops_at_first_text", "", """\
def document_mask(tokens, eot):
    T = len(tokens)
    mask = torch.zeros(T, T, dtype=torch.bool)
    for t in range(T):
        for s in range(t, -1, -1):
            if tokens[s] == eot and s < t:
                break
            mask[t, s] = True
    return mask""",
               "the eot belongs to the document before it",
               ANNOUNCES),
        Mutant("stops_at_eot", "", """\
def document_mask(tokens, eot):
    T = len(tokens)
    mask = torch.zeros(T, T, dtype=torch.bool)
    for t in range(T):
        for s in range(t, -1, -1):
            if tokens[s] == eot:
                break
            mask[t, s] = True
    return mask""",
               "nobody may look at an eot, not even the eot itself", ANNOUNCES),
    ),
    variants=("""\
def document_mask(tokens, eot):
    T = len(tokens)
    mask = torch.zeros(T, T, dtype=torch.bool)
    for t in range(T):
        for s in range(t, -1, -1):
            mask[t, s] = True
            if tokens[s] == eot:
                break
    return mask""", """\
def document_mask(tokens, eot):
    position = torch.arange(len(tokens))
    start = torch.where(tokens == eot, position, 0).cummax(0).values
    return (position <= position[:, None]) & (position >= start[:, None])""", """\
def document_mask(tokens, eot):
    starts = sorted({0, *(tokens == eot).nonzero().flatten().tolist()}) + [len(tokens)]
    return torch.block_diag(*(torch.ones(b - a, b - a).tril() for a, b in zip(starts, starts[1:]))).bool()""", """\
def document_mask(tokens, eot):
    begun = torch.stack([(tokens[: t + 1] == eot).sum() for t in range(len(tokens))])
    past = torch.ones(len(tokens), len(tokens), dtype=torch.bool).tril()
    return torch.logical_and(past, torch.eq(begun.unsqueeze(0), begun.unsqueeze(1)))""",
    ),
    properties=(
        Property(lambda mask, tokens, eot: not mask.triu(1).any(), "A token may look at a later one."),
        Property(lambda mask, tokens, eot: mask.diagonal().all(), "A token may not even look at itself."),
    ),
    twin=packed_twin,
)  # fmt: skip


# 08.8


def windows_twin(rng: random.Random) -> Question:
    spread, parts = rng.choice([0.02, 0.03, 0.05, 0.08, 0.1]), rng.choice([2, 4, 5, 8, 10])
    difference = spread / parts
    return Question(
        f"The losses of two models differ from window to window with a standard deviation of {spread}. How many "
        f"windows does it take until the standard error of the mean difference is half of {difference:g}?",
        (2 * parts) ** 2,
        f"Half of {difference:g} is {spread} divided by {2 * parts}, and s/√m is that for m = {2 * parts}².", 0.001,
    )  # fmt: skip


def windows_cases() -> list[tuple]:
    """losses, difference: correlated rows, a shift that is the same everywhere, few windows, large and tiny answers."""
    cases = []
    for seed, n, shared, own, difference in ((1, 6, 0.4, 0.05, 0.02), (2, 9, 0.5, 0.2, 0.1), (3, 4, 0.3, 0.3, 0.25),
                                             (4, 25, 0.6, 0.02, 0.005), (5, 3, 1.0, 0.1, 0.01), (6, 12, 0.2, 0.5, 3.0)):
        hard, first, second = normal(880 + seed, (n,), (n,), (n,))
        cases.append((torch.stack([3 + shared * hard + own * first, 2.9 + shared * hard + own * second]), difference))
    same = torch.tensor([[2.0, 5.0, 3.5], [2.25, 5.25, 3.75]])
    two = torch.tensor([[2.0, 3.0], [2.5, 3.0]])
    example = torch.tensor([[2.0, 5.0, 3.5, 4.0], [2.5, 5.0, 4.5, 4.0]])
    whole = torch.tensor([[2.0, 3.0, 4.0], [3.0, 3.0, 3.0]])  # s is exactly 1: 16 windows are just enough
    odd = torch.tensor([[2.0, 3.5, 5.0], [3.5, 3.5, 3.5]])  # s is exactly 1.5: 9 windows
    return [*cases, (same, 0.1), (two, 0.21), (example, 0.25), (two.flip(0), 0.3), (same[[0, 0]], 0.01), (whole, 0.5),
            (odd, 1.0)]  # fmt: skip


SPREAD = "spread = (losses[1] - losses[0]).std().item()"
NEEDED = "return max(1, math.ceil((2 * spread / difference) ** 2))"
PAIRED = "A window is hard for both models. Does that make the difference between them less certain?"
BESSEL = "By what is the sum of squares divided when a spread is estimated from n numbers?"
HALF = "Which standard error is allowed: the whole difference, or half of it?"
SQUARE = "Four times as many windows: by how much does the standard error fall?"
ROUND = "14.7 windows would do exactly. Do 14?"
AT_LEAST = "The two models differ by the same amount everywhere. On how many windows do you have to look?"
UNPAIRED = "(losses[0].var() + losses[1].var()).sqrt().item()"
WINDOWS_NEEDED = Exercise(
    cases=windows_cases,
    mutants=(
        Mutant("unpaired", SPREAD, f"spread = {UNPAIRED}",
               "the two models are treated as if they had been measured on different windows", PAIRED),
        Mutant("unpaired_mean", SPREAD, "spread = ((losses[0].var() + losses[1].var()) / 2).sqrt().item()",
               "the spread of the losses is taken, averaged over the models, not that of their differences", PAIRED),
        Mutant("first_model", SPREAD, "spread = losses[0].std().item()",
               "the spread of one model's losses is taken", PAIRED),
        Mutant("second_model", SPREAD, "spread = losses[1].std().item()",
               "the spread of one model's losses is taken", PAIRED),
        Mutant("all_losses", SPREAD, "spread = losses.std().item()",
               "the spread over all losses of both models is taken", PAIRED),
        Mutant("difference_of_spreads", SPREAD, "spread = abs(losses[1].std() - losses[0].std()).item()",
               "the spreads are subtracted instead of the losses", PAIRED),
        Mutant("sum_of_spreads", SPREAD, "spread = (losses[1].std() + losses[0].std()).item()",
               "the spreads of the two models are added up", PAIRED),
        Mutant("sums", SPREAD, "spread = (losses[1] + losses[0]).std().item()",
               "the losses are added instead of subtracted", PAIRED),
        Mutant("ratios", SPREAD, "spread = (losses[1] / losses[0]).std().item()",
               "ratios are taken instead of differences", "In which unit is `difference`?"),
        Mutant("sizes", SPREAD, "spread = (losses[1] - losses[0]).abs().std().item()",
               "the signs of the differences are lost",
               "Once the one model is better by 0.1, once the other. Is there no spread?"),
        Mutant("sorted", SPREAD, "spread = (losses[1].sort().values - losses[0].sort().values).std().item()",
               "each model's losses are sorted first, so that the pairs are torn apart",
               "What do two losses of one pair have in common?"),
        Mutant("wrong_axis", SPREAD, "spread = (losses[1:] - losses[:1]).std(dim=0, correction=0).mean().item() or "
               "losses.std(dim=0).mean().item()",
               "the spread is taken over the two models, within a window",
               "Over what is the mean difference averaged: models or windows?"),
        Mutant("biased", ".std()", ".std(correction=0)",
               "the spread is divided by n instead of n - 1", BESSEL),
        Mutant("mean_difference", SPREAD, "spread = abs((losses[1] - losses[0]).mean().item())",
               "the mean difference stands for the spread",
               "Both differences are 0.5: how large is their spread?"),
        Mutant("root_mean_square", SPREAD, "spread = (losses[1] - losses[0]).square().mean().sqrt().item()",
               "the differences are measured from zero, not from their mean",
               "The models differ by exactly 0.25 everywhere: how large is the spread?"),
        Mutant("mean_size", SPREAD,
               "apart = losses[1] - losses[0]\n    spread = (apart - apart.mean()).abs().mean().item()",
               "the mean distance from the mean is taken instead of the standard deviation",
               "Of what is the variance the mean: of distances, or of their squares?"),
        Mutant("range", SPREAD, "apart = losses[1] - losses[0]\n    spread = (apart.max() - apart.min()).item()",
               "the range of the differences stands for their spread",
               "You measure more windows. What becomes of the range, and what of the standard deviation?"),
        Mutant("variance", ".std()", ".var()",
               "the variance stands for the standard deviation, and is squared again",
               "In which unit is a variance, and in which one `difference`?"),
        Mutant("already_a_mean", SPREAD, SPREAD.replace(".std().item()", ".std().item() / losses.shape[1] ** 0.5"),
               "the standard error of the sample stands for the spread of a single window",
               "Does the spread of one window depend on how many others you have measured?"),
        Mutant("whole_difference", "2 * spread", "spread",
               "the standard error may be as large as the difference itself", HALF),
        Mutant("half_spread", "2 * spread / difference", "spread / (2 * difference)",
               "the standard error may be twice as large as the difference", HALF),
        Mutant("two_outside", "(2 * spread / difference) ** 2", "2 * (spread / difference) ** 2",
               "the factor of 2 is left out of the square", HALF),
        Mutant("two_sigma_again", "2 * spread", "4 * spread",
               "half of the difference is halved once more", HALF),
        Mutant("normal_quantile", "2 * spread", "1.96 * spread",
               "the quantile of the normal distribution is used instead of the half that is asked for", HALF),
        Mutant("both_models_noisy", "2 * spread", "2 * math.sqrt(2) * spread",
               "the spread of the difference is counted once for each model",
               "Of how many lists of numbers is the standard error computed, once they are subtracted?"),
        Mutant("not_squared", NEEDED, "return max(1, math.ceil(2 * spread / difference))",
               "the standard error is taken to fall as 1/m", SQUARE),
        Mutant("root", NEEDED, "return max(1, math.ceil((2 * spread / difference) ** 0.5))",
               "a root is taken where a square is needed", SQUARE),
        Mutant("fourth", NEEDED, "return max(1, math.ceil((2 * spread / difference) ** 4))",
               "the square is taken twice", SQUARE),
        Mutant("upside_down", NEEDED, "return max(1, math.ceil((difference / (2 * spread)) ** 2) if spread else 1)",
               "the ratio is upside down", "A smaller difference: does it take more windows or fewer?"),
        Mutant("difference_not_squared", NEEDED, "return max(1, math.ceil((2 * spread) ** 2 / difference))",
               "the difference is left out of the square", SQUARE),
        Mutant("product", NEEDED, "return max(1, math.ceil((2 * spread * difference) ** 2))",
               "spread and difference are multiplied", "A smaller difference: does it take more windows or fewer?"),
        Mutant("rounded_down", "math.ceil(", "int(",
               "the number is rounded down", ROUND),
        Mutant("rounded", "math.ceil(", "round(",
               "the number is rounded to the nearest", ROUND),
        Mutant("more_than_enough", NEEDED, "return int((2 * spread / difference) ** 2) + 1",
               "where the number comes out whole, one window is added",
               "Does one window fewer keep the promise as well?"),
        Mutant("one_more", NEEDED, "return max(1, math.ceil((2 * spread / difference) ** 2 * (1 + 1e-9)) + 1)",
               "one window is added, as if a degree of freedom had to be paid for",
               "Does one window fewer keep the promise as well?"),
        Mutant("not_rounded", NEEDED, "return max(1.0, (2 * spread / difference) ** 2)",
               "the result is not a whole number", ROUND),
        Mutant("none_at_all", NEEDED, "return math.ceil((2 * spread / difference) ** 2)",
               "no window at all is asked for where the models differ by the same amount everywhere", AT_LEAST),
        Mutant("at_least_two", "max(1,", "max(2,",
               "at least two windows are asked for", AT_LEAST),
        Mutant("at_least_measured", "max(1,", "max(losses.shape[1],",
               "never fewer windows are asked for than have been measured already",
               "Does the number that is needed depend on how many you happen to have?"),
        Mutant("at_most_measured", NEEDED,
               "return max(1, min(losses.shape[1], math.ceil((2 * spread / difference) ** 2)))",
               "never more windows are asked for than have been measured already",
               "Does the number that is needed depend on how many you happen to have?"),
        Mutant("added_to_measured", NEEDED,
               "return max(1, math.ceil((2 * spread / difference) ** 2) - losses.shape[1])",
               "what has been measured already is subtracted",
               "Does the statement ask for all windows of the real experiment, or for how many are missing?"),
        Mutant("times_n", NEEDED, "return max(1, math.ceil((2 * spread / difference) ** 2 * losses.shape[1]))",
               "the result is multiplied by the number of windows measured",
               "Does the spread of one window depend on how many others you have measured?"),
    ),
    variants=("""\
def windows_needed(losses, difference):
    a, b = losses.double().tolist()
    apart = [y - x for x, y in zip(a, b)]
    mean = sum(apart) / len(apart)
    variance = sum((d - mean) ** 2 for d in apart) / (len(apart) - 1)
    return math.ceil(4 * variance / difference**2) or 1""", """\
def windows_needed(losses, difference):
    import statistics
    spread = statistics.stdev((losses[0] - losses[1]).tolist())
    m = 1
    while spread / math.sqrt(m) > difference / 2:
        m += 1
    return m""", """\
def windows_needed(losses, difference):
    covariance = torch.cov(losses.double())
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return int(torch.ceil(variance / (difference / 2) ** 2).clamp(min=1))""", """\
def windows_needed(losses, difference):
    s = torch.diff(losses, dim=0).squeeze(0).var()
    return max(-int(-(s * 4 / difference / difference) // 1), 1)""",
    ),
    twin=windows_twin,
)  # fmt: skip


# 08.9


def lost_twin(rng: random.Random) -> Question:
    """A comparison of two logs, told in words."""
    step, later = 10 * rng.randint(3, 60), rng.randint(2, 30)
    story, word, why = rng.choice([
        ("window, loss and rate of that step are equal, and the loss differs {n} steps later, before all else",
        "moments",
         "Text, weights and rate were right; what the update used besides is the optimizer's memory."),
        ("the window is the same and the loss is not", "weights",
         "The loss before an update knows only text and weights."),
        ("the window is another one, and so is the loss", "data",
         "Other text has another loss, whatever the weights are."),
        ("everything is equal until the rate differs {n} steps later", "schedule",
         "The rate is the first to differ, and what differs after it follows from it."),
    ])
    return Question(
        f"A run resumes at step {step}. Compared with its undisturbed twin, " + story.format(n=later)
        + ". What was lost: data, weights, schedule or moments?", word, why,
    )


def log_of(steps: int, seed: int) -> list[dict]:
    """The log of an undisturbed run: shuffled windows, a falling loss, a rate that is stable and then decays."""
    rng = random.Random(seed)
    windows = rng.sample(range(steps), steps)
    return [{"step": i, "window": 16 * windows[i], "loss": 4.0 / (1 + i) ** 0.3 + 0.01 * rng.random(),
             "lr": 0.003 * min(1.0, (steps - i) / 4), "seconds": 0.25 * i + 0.01 * rng.random()}
            for i in range(steps)]  # fmt: skip


def resumed_at(log: list[dict], first: int, changes: dict[tuple[int, str], float] | None = None,
               end: int | None = None) -> list[dict]:
    """The same lines from a step on, with another clock; changes: (line, column) → what is added from there on."""
    lines = [line | {"seconds": line["seconds"] + 7.5} for line in log[first:end]]
    for (at, column), amount in (changes or {}).items():
        for line in lines[at:] if amount > 1e-3 or column != "loss" else lines[at : at + 1]:
            line[column] += amount
    return lines


def log_cases() -> list[tuple]:
    """log, resumed: each way to fail, early and late, large and tiny, alone and with others behind it."""
    log, small, one_text = log_of(11, 89), log_of(4, 90), [line | {"window": 0} for line in log_of(5, 91)]
    plans = (
        (5, {}), (4, {(0, "window"): 16, (0, "loss"): 0.2}), (3, {(2, "window"): 32, (2, "loss"): 0.1}),
        (6, {(0, "loss"): 0.3}), (5, {(1, "loss"): 0.05}), (2, {(8, "loss"): 0.02}), (4, {(3, "loss"): 1e-7}),
        (5, {(0, "lr"): 0.002, (1, "loss"): 0.04}), (2, {(5, "lr"): 0.001, (6, "loss"): 0.03}),
        (6, {(0, "window"): 48, (0, "loss"): 0.5, (0, "lr"): 0.001}), (4, {(0, "loss"): 0.4, (0, "lr"): 0.001}),
        (3, {(3, "loss"): 0.06, (5, "lr"): 0.001}), (3, {(1, "lr"): 0.001, (2, "loss"): 0.2, (3, "window"): 16}),
        (2, {(1, "loss"): 0.1, (3, "window"): 16}), (5, {(0, "loss"): 1e-7}), (7, {(0, "lr"): 1e-9}),
        (4, {(0, "loss"): 0.2, (2, "window"): 16}), (8, {(0, "window"): 16}), (1, {(9, "window"): 16}),
        (6, {(2, "loss"): 0.1, (2, "lr"): 0.001}), (3, {(4, "window"): 16, (4, "lr"): 0.001}), (10, {(0, "lr"): 0.001}),
        (3, {(7, "lr"): 1e-9}), (9, {(0, "loss"): 0.1}), (10, {}), (2, {(4, "loss"): 1e-9}),
    )  # fmt: skip
    cases = [(log, resumed_at(log, first, changes)) for first, changes in plans]
    cases += [(log, resumed_at(log, 3, end=6)), (log, resumed_at(log, 4, {(2, "loss"): 0.1}, end=7)),
              (log[:7], resumed_at(log, 4)), (log[:6], resumed_at(log, 3, {(3, "loss"): 0.1})),
              (log[:6], resumed_at(log, 3, {(2, "lr"): 0.001})), (log[:9], resumed_at(log, 5, {(1, "window"): 16})),
              (log, log[6:]), (one_text, resumed_at(one_text, 2, end=4)),
              (small, resumed_at(small, 1, {(1, "loss"): 0.1})), (small, resumed_at(small, 3))]  # fmt: skip
    replayed = [line | {"step": i} for i, line in enumerate(resumed_at(log, 0, end=5), start=5)]
    downwards = [line | {"loss": line["loss"] - 0.5 * (i > 1)} for i, line in enumerate(resumed_at(log, 4))]
    slower = [line | {"lr": line["lr"] / 2} for line in resumed_at(log, 4)]
    swapped = resumed_at(log, 4)
    swapped[1]["window"], swapped[2]["window"] = swapped[2]["window"], swapped[1]["window"]
    blip, drift = resumed_at(log, 3), resumed_at(log, 2)
    blip[2]["loss"] += 0.3
    for line in drift[3:]:
        line["loss"] += 2e-7
    backwards = resumed_at(log, 6, {(0, "window"): -16})
    cases += [(log, replayed), (log, downwards), (log, slower), (log, swapped), (log, blip), (log, drift),
              (log, backwards)]  # fmt: skip
    return [([dict(line) for line in a], [dict(line) for line in b]) for a, b in cases]


D_FOUND = 'undisturbed = {line["step"]: line for line in log}'
D_OVER = 'if line["step"] not in undisturbed:\n            break'
D_WINDOW = 'if line["window"] != twin["window"]:\n            return "data"'
D_LOSS = 'if line["loss"] != twin["loss"]:\n            return "weights" if line is resumed[0] else "moments"'
D_RATE = 'if line["lr"] != twin["lr"]:\n            return "schedule"'
D_ALL = f"{D_WINDOW}\n        {D_LOSS}\n        {D_RATE}"
D_BODY = f"""\
    {D_FOUND}
    for line in resumed:
        {D_OVER}
        twin = undisturbed[line["step"]]
        {D_ALL}
    return "exact\""""
CAUSE = "In one step, which comes first: the text that is read, the loss on it, or the update with its rate?"
EARLIEST = "Two things differ, at different steps. Which of them can be the cause of the other?"
UPDATED = "At the first step after the resume, how many updates has the optimizer made?"
BIT = "The log shows a difference in the ninth decimal. Was the resume exact to the last bit?"
BY_STEP = "The resumed log begins at step 5. Which line of the other log belongs to its first line?"
CLOCK = "Does the clock say anything about whether the computation was the same?"
BOTH_HAVE = "One of the runs has ended earlier. What do you know about the steps that only the other one has?"
COLUMNS = """\
def what_differs(log, resumed):
    pairs = [(line, log[line["step"]]) for line in resumed if line["step"] < len(log)]
    differs = {column: [a[column] != b[column] for a, b in pairs] for column in ("window", "loss", "lr")}
"""
WHAT_DIFFERS = Exercise(
    cases=log_cases,
    mutants=(
        Mutant("loss_first", f"{D_WINDOW}\n        {D_LOSS}", f"{D_LOSS}\n        {D_WINDOW}",
               "the loss is asked before the text that it is the loss of", CAUSE),
        Mutant("rate_first", D_ALL, f"{D_RATE}\n        {D_WINDOW}\n        {D_LOSS}",
               "the rate is asked before text and loss", CAUSE),
        Mutant("rate_before_loss", f"{D_LOSS}\n        {D_RATE}", f"{D_RATE}\n        {D_LOSS}",
               "the rate is asked before the loss, which was computed before the rate was used", CAUSE),
        Mutant("backwards", D_ALL, f"{D_RATE}\n        {D_LOSS}\n        {D_WINDOW}",
               "the three are asked in the opposite order", CAUSE),
        Mutant("loss_rate_window", D_ALL, f"{D_LOSS}\n        {D_RATE}\n        {D_WINDOW}",
               "the text is asked last", CAUSE),
        Mutant("columns", "", COLUMNS + """\
    if any(differs["window"]):
        return "data"
    if any(differs["loss"]):
        return "weights" if differs["loss"][0] else "moments"
    return "schedule" if any(differs["lr"]) else "exact\"""",
               "one column after the other is searched, whatever differs earlier in another", EARLIEST),
        Mutant("columns_rate_before_moments", "", COLUMNS + """\
    if any(differs["window"]):
        return "data"
    if differs["loss"][0]:
        return "weights"
    if any(differs["lr"]):
        return "schedule"
    return "moments" if any(differs["loss"]) else "exact\"""",
               "one column after the other is searched, whatever differs earlier in another", EARLIEST),
        Mutant("columns_rate_first", "", COLUMNS + """\
    if any(differs["window"]):
        return "data"
    if any(differs["lr"]):
        return "schedule"
    if any(differs["loss"]):
        return "weights" if differs["loss"][0] else "moments"
    return "exact\"""",
               "text and rate are searched to the end before the loss is looked at", EARLIEST),
        Mutant("columns_loss_first", "", COLUMNS + """\
    if any(differs["loss"]):
        return "weights" if differs["loss"][0] else "moments"
    if any(differs["window"]):
        return "data"
    return "schedule" if any(differs["lr"]) else "exact\"""",
               "the loss is searched to the end before anything else is looked at", EARLIEST),
        Mutant("columns_rate_then_data", "", COLUMNS + """\
    if any(differs["lr"]):
        return "schedule"
    if any(differs["window"]):
        return "data"
    if any(differs["loss"]):
        return "weights" if differs["loss"][0] else "moments"
    return "exact\"""",
               "the rate is searched to the end before anything else is looked at", EARLIEST),
        Mutant("last_difference", f"    for line in resumed:\n        {D_OVER}", "    for line in reversed(resumed):\n"
               '        if line["step"] not in undisturbed:\n            continue',
               "the lines are read from the end", EARLIEST),
        Mutant("first_line_only", "for line in resumed:", "for line in resumed[:1]:",
               "only the first line after the resume is compared", UPDATED),
        Mutant("two_lines_only", "for line in resumed:", "for line in resumed[:2]:",
               "only the first two lines are compared",
               "Could a resume be right for two steps and wrong at the third?"),
        Mutant("last_line_only", f"    for line in resumed:\n        {D_OVER}",
               "    for line in [line for line in resumed if line[\"step\"] in undisturbed][-1:]:",
               "only the last line that both have is compared", EARLIEST),
        Mutant("first_line_skipped", "for line in resumed:", "for line in resumed[1:]:",
               "the first line after the resume is skipped",
               "Which of the five words can only be found in the first line?"),
        Mutant("never_weights", '"weights" if line is resumed[0] else "moments"', '"moments"',
               "every other loss is blamed on the moments", UPDATED),
        Mutant("never_moments", '"weights" if line is resumed[0] else "moments"', '"weights"',
               "every other loss is blamed on the weights",
               "The first loss was right. Were the weights?"),
        Mutant("weights_moments_swapped", '"weights" if line is resumed[0] else "moments"',
               '"moments" if line is resumed[0] else "weights"',
               "weights and moments have changed places", UPDATED),
        Mutant("weights_in_two_lines", "line is resumed[0]", 'line["step"] <= resumed[0]["step"] + 1',
               "the loss of the second step is blamed on the weights too",
               "Between the first and the second loss lies an update. What did it use?"),
        *(Mutant(f"tolerance_{i}", f"{D_LOSS}\n        {D_RATE}",
                 f"if abs(line['loss'] - twin['loss']) > {t}:\n"
                 "            return 'weights' if line is resumed[0] else 'moments'\n"
                 f"        if abs(line['lr'] - twin['lr']) > {t}:\n            return 'schedule'",
                 "small differences are taken for none", BIT)
          for i, t in enumerate((1e-3, 1e-5, 1e-6, 1e-8))),
        Mutant("isclose", D_LOSS, 'if not math.isclose(line["loss"], twin["loss"], rel_tol=1e-6):\n'
               '            return "weights" if line is resumed[0] else "moments"',
               "small differences are taken for none", BIT),
        Mutant("isclose_default", D_ALL, D_ALL.replace('line["loss"] != twin["loss"]',
               'not math.isclose(line["loss"], twin["loss"])').replace('line["lr"] != twin["lr"]',
               'not math.isclose(line["lr"], twin["lr"])'),
               "small differences are taken for none", BIT),
        Mutant("rounded", D_LOSS, 'if round(line["loss"], 4) != round(twin["loss"], 4):\n'
               '            return "weights" if line is resumed[0] else "moments"',
               "small differences are taken for none", BIT),
        Mutant("only_worse", 'line["loss"] != twin["loss"]', 'line["loss"] > twin["loss"]',
               "only a higher loss counts as a difference", "Is a resume exact whose loss is lower than its twin's?"),
        Mutant("only_higher_rate", 'line["lr"] != twin["lr"]', 'line["lr"] > twin["lr"]',
               "only a higher rate counts as a difference", "Is a resume exact whose rate is lower than its twin's?"),
        Mutant("earlier_window", 'line["window"] != twin["window"]', 'line["window"] < twin["window"]',
               "only text with a smaller number counts as other text",
               "Windows are shuffled. What does their order say?"),
        Mutant("later_window", 'line["window"] != twin["window"]', 'line["window"] > twin["window"]',
               "only text with a larger number counts as other text",
               "Windows are shuffled. What does their order say?"),
        Mutant("by_place", D_FOUND,
               'undisturbed = {line["step"]: log[i] for i, line in enumerate(resumed[: len(log)])}',
               "lines are compared by their place in the list", BY_STEP),
        Mutant("by_place_from_the_end", D_FOUND,
               'undisturbed = {line["step"]: other for line, other in zip(resumed, log[-len(resumed):])}',
               "lines are paired from the end of both logs, even where the logs end at different steps", BY_STEP),
        Mutant("one_off", D_FOUND, 'undisturbed = {line["step"] + 1: line for line in log}',
               "each line is compared with the step before it", BY_STEP),
        Mutant("whole_lines", D_RATE, f'{D_RATE}\n        if line != twin:\n            return "moments"',
               "whole lines are compared, with the clock in them", CLOCK),
        Mutant("clock_is_schedule", D_RATE, f'{D_RATE}\n        if line["seconds"] != twin["seconds"]:\n'
               '            return "schedule"',
               "another time on the clock is taken for another schedule", CLOCK),
        Mutant("no_end", D_OVER, "pass",
               "a step that only one of the logs has is looked up all the same", BOTH_HAVE),
        Mutant("end_is_data", D_OVER, 'if line["step"] not in undisturbed:\n            return "data"',
               "a step that only one of the logs has counts as a difference", BOTH_HAVE),
        Mutant("end_is_schedule", D_OVER, 'if line["step"] not in undisturbed:\n            return "schedule"',
               "a step that only one of the logs has counts as a difference of the schedule", BOTH_HAVE),
        Mutant("length", D_FOUND, f'{D_FOUND}\n    if resumed[-1]["step"] != log[-1]["step"]:\n        return "data"',
               "logs that end at different steps count as different text", BOTH_HAVE),
        Mutant("length_schedule", D_FOUND,
               f'{D_FOUND}\n    if resumed[-1]["step"] != log[-1]["step"]:\n        return "schedule"',
               "logs that end at different steps count as different schedules", BOTH_HAVE),
        Mutant("no_windows", f"{D_WINDOW}\n        ", "",
               "the text is never compared", CAUSE),
        Mutant("no_rates", D_RATE, "pass",
               "the rate is never compared", "Where does your function look at the rate?"),
        Mutant("no_losses", f"{D_LOSS}\n        ", "",
               "the loss is never compared", "Where does your function look at the loss?"),
        Mutant("only_losses", D_ALL, D_LOSS,
               "only the loss is compared", CAUSE),
        Mutant("first_window_only", D_WINDOW, D_WINDOW.replace("if ", "if line is resumed[0] and "),
               "the text is compared in the first line only", "Could the text go wrong later, where an epoch ends?"),
        Mutant("first_rate_only", D_RATE, D_RATE.replace("if ", "if line is resumed[0] and "),
               "the rate is compared in the first line only", "Could the rate go wrong later, where the decay begins?"),
        Mutant("first_settings_only", f"{D_WINDOW}\n        {D_LOSS}\n        {D_RATE}",
               D_WINDOW.replace("if ", "if line is resumed[0] and ") + "\n        " + D_LOSS + "\n        "
               + D_RATE.replace("if ", "if line is resumed[0] and "),
               "text and rate are compared in the first line only", "Could they go wrong later?"),
        Mutant("none", 'return "exact"', "return None",
               "nothing is returned where nothing differs", "Which word says that nothing differs?"),
        Mutant("true", 'return "exact"', "return True",
               "True is returned where nothing differs", "Which word says that nothing differs?"),
        Mutant("always_exact", f"for line in resumed:\n        {D_OVER}", "for line in []:",
               "nothing is compared", "Which of the lines does your loop reach?"),
        Mutant("replayed", D_WINDOW, 'if line["window"] != twin["window"] and line["window"] in [x["window"] for x in '
               'log[: resumed[0]["step"]]]:\n            return "data"',
               "other text counts only if it has been read before the resume",
               "Text that comes too early: is it the text that the twin reads?"),
        Mutant("lasting", D_LOSS, 'if line["loss"] != twin["loss"] and resumed[-1]["loss"] != '
               'undisturbed.get(resumed[-1]["step"], {}).get("loss"):\n'
               '            return "weights" if line is resumed[0] else "moments"',
               "a difference counts only if it lasts to the end of the log", BIT),
        Mutant("windows_as_set", D_WINDOW,
               'if line["window"] not in [x["window"] for x in log[resumed[0]["step"] :]]:\n'
               '            return "data"',
               "the text has to come somewhere in the rest of the log, in whatever order",
               "The twin reads the same windows, but the next two in the other order. Is that the same data?"),
    ),
    variants=("""\
def what_differs(log, resumed):
    steps = sorted({line["step"] for line in log} & {line["step"] for line in resumed})
    a, b = ({line["step"]: line for line in lines} for lines in (log, resumed))
    for step in steps:
        for column, word in (("window", "data"), ("loss", "moments"), ("lr", "schedule")):
            if a[step][column] != b[step][column]:
                return "weights" if column == "loss" and step == steps[0] else word
    return "exact\"""", """\
def what_differs(log, resumed):
    first = resumed[0]["step"]
    for i, (twin, line) in enumerate(zip(log[first:], resumed)):
        if twin["window"] != line["window"]:
            return "data"
        if i == 0 and twin["loss"] != line["loss"]:
            return "weights"
        if twin["loss"] != line["loss"]:
            return "moments"
        if twin["lr"] != line["lr"]:
            return "schedule"
    return "exact\"""", """\
def what_differs(log, resumed):
    first = resumed[0]["step"]
    order = {"window": 0, "loss": 1, "lr": 2}
    found = []
    for line in resumed:
        if line["step"] < len(log):
            found += [(line["step"], order[c], c) for c in order if line[c] != log[line["step"]][c]]
    if not found:
        return "exact"
    step, _, column = min(found)
    if column == "loss":
        return "weights" if step == first else "moments"
    return {"window": "data", "lr": "schedule"}[column]""",
    ),
    twin=lost_twin,
)  # fmt: skip


# 08.10


def factored_twin(rng: random.Random) -> Question:
    """The estimate at one place, from the margins of a table."""
    rows = [rng.randint(1, 9) for _ in range(3)]
    shares = rng.choice([(1, 3), (1, 1), (3, 1)])
    columns = [sum(rows) / 3 * s / (sum(shares) / 2) for s in shares]
    i, j = rng.randrange(3), rng.randrange(2)
    return Question(
        f"The mean squares of a matrix's three rows are {rows[0]}, {rows[1]} and {rows[2]}, those of its two columns "
        f"{columns[0]:.4g} and {columns[1]:.4g}. What does Adafactor's rule estimate for row {i + 1}, column {j + 1}?",
        rows[i] * columns[j] / (sum(rows) / 3),
        f"{rows[i]} · {columns[j]:.4g}, divided by the mean of the rows, {sum(rows) / 3:.4g}.", 0.01,
    )  # fmt: skip


def factored_cases() -> list[tuple]:
    """weight, grad, state, lr, beta, eps: first and later steps, rows of zeros, only zeros, one row, one column."""
    shapes = ((2, 3), (4, 7), (5, 2), (1, 6), (3, 1), (3, 5), (2, 4), (6, 4))
    steps = (None, None, 1, 4, 9, None, 2, 30)
    hypers = ((0.5, 0.75, 1e-8), (0.3, 0.95, 0.1), (0.4, 0.9, 0.2), (0.2, 0.8, 1e-6), (0.6, 0.6, 0.05),
              (0.5, 0.9, 1e-8), (0.3, 0.5, 1e-4), (0.7, 0.99, 0.3))  # fmt: skip
    cases = []
    for i, (shape, step, hyper) in enumerate(zip(shapes, steps, hypers)):
        weight, grad, table = normal(8100 + i, shape, shape, shape)
        table = table.square() * 2
        state = None if step is None else (step, table.mean(1), table.mean(0))
        cases.append((weight, grad * (1.0, 0.3, 2.0)[i % 3], state, *hyper))
    cases[1][1][2] = 0.0  # a row that no gradient reaches
    cases[1][1][:, 4] *= 0.01  # a column whose gradients are far below eps
    cases[5][1].zero_()
    zeros = torch.zeros(2, 5)
    cases.append((normal(8120, (2, 5))[0], zeros.clone(), (3, torch.zeros(2), torch.zeros(5)), 0.5, 0.9, 1e-6))
    cases[6][1].zero_()
    return cases


F_START = "step, rows, columns = state or (0, torch.zeros(R), torch.zeros(C))"
F_ROWS = "rows = beta * rows + (1 - beta) * grad.square().mean(dim=1)"
F_COLUMNS = "columns = beta * columns + (1 - beta) * grad.square().mean(dim=0)"
F_SHARE = "share = 1 - beta**step"
F_OVERALL = "overall = (rows / share).mean().clamp(min=1e-30)"
F_ESTIMATE = "estimate = torch.outer(rows / share, columns / share) / overall"
F_RETURN = "return weight - lr * grad / (estimate.sqrt() + eps), (step, rows, columns)"
F_MARGINS = "All squares of a matrix are 4. What are its rows' and columns' numbers, and what should the estimate be?"
F_SHAPES = "Which shape has the number of a row, and along which axis must it be the same?"
F_SHARES = "All gradients of the first step are 3. What should the estimate be, whatever beta is?"
F_STORED = "The next step will correct what it gets. What must it be given, so that this happens once?"
F_ZERO = "All gradients are zero. What is divided by what?"
F_EPS = "The estimate is 0.04 and eps is 0.1. By what should the gradient be divided?"
F_SIZE = "All gradients become ten times as large. What should become of the first step?"
F_OWN = "The caller keeps the old state and makes the step a second time. Is the result the same?"
F_LEAVES = "a gradient of zeros leaves early: its step is not counted, and rows and columns do not fade"
F_PASSES = "The gradient is zero in this step. What should the running means keep of themselves?"
FACTORED_STEP = Exercise(
    cases=factored_cases,
    mutants=(
        Mutant("sums", f"{F_ROWS}\n    {F_COLUMNS}",
               f"{F_ROWS.replace('.mean(', '.sum(')}\n    {F_COLUMNS.replace('.mean(', '.sum(')}",
               "rows and columns hold sums of squares instead of means", F_MARGINS),
        Mutant("row_sums", F_ROWS, F_ROWS.replace(".mean(", ".sum("),
               "the rows hold sums of squares instead of means", F_MARGINS),
        Mutant("column_sums", F_COLUMNS, F_COLUMNS.replace(".mean(", ".sum("),
               "the columns hold sums of squares instead of means", F_MARGINS),
        Mutant("overall_sum", F_OVERALL, F_OVERALL.replace(".mean()", ".sum()"),
               "the product is divided by the sum of the rows' numbers instead of their mean", F_MARGINS),
        Mutant("not_divided", F_ESTIMATE, "estimate = torch.outer(rows / share, columns / share)",
               "the product of row and column is not divided by anything", F_MARGINS),
        Mutant("geometric_mean", F_ESTIMATE, "estimate = torch.outer(rows / share, columns / share).sqrt()",
               "the root of the product stands for the estimate", F_MARGINS),
        Mutant("divided_by_square", F_ESTIMATE,
               "whole = (overall * columns.mean() / share).clamp(min=1e-30)\n"
               "    estimate = torch.outer(rows / share, columns / share) / whole",
               "the product is divided by both means, of rows and of columns", F_MARGINS),
        Mutant("root_of_overall", F_OVERALL, F_OVERALL.replace(".clamp", ".sqrt().clamp"),
               "the product is divided by the root of the mean", F_MARGINS),
        Mutant("added", F_ESTIMATE, "estimate = (rows / share)[:, None] + (columns / share)",
               "row and column are added instead of multiplied", F_MARGINS),
        Mutant("averaged", F_ESTIMATE, "estimate = ((rows / share)[:, None] + (columns / share)) / 2",
               "row and column are averaged instead of multiplied", F_MARGINS),
        Mutant("larger", F_ESTIMATE, "estimate = torch.maximum((rows / share)[:, None], columns / share)",
               "the larger of row and column is taken", F_MARGINS),
        Mutant("smaller", F_ESTIMATE, "estimate = torch.minimum((rows / share)[:, None], columns / share)",
               "the smaller of row and column is taken", F_MARGINS),
        Mutant("rows_only", F_ESTIMATE, "estimate = (rows / share)[:, None]",
               "only the rows take part in the estimate", F_SHAPES),
        Mutant("columns_only", F_ESTIMATE, "estimate = columns / share",
               "only the columns take part in the estimate", F_SHAPES),
        Mutant("overall_only", F_ESTIMATE, "estimate = overall",
               "one number stands for the whole matrix", F_SHAPES),
        Mutant("full_table", F_ESTIMATE, "estimate = grad.square()",
               "the squares of this step are used themselves, and nothing that was remembered",
               "Where does the estimate use rows and columns?"),
        Mutant("transposed", F_ESTIMATE,
               "estimate = (torch.outer(columns / share, rows / share) / overall).reshape(R, C)",
               "rows and columns have changed places in the table", F_SHAPES),
        Mutant("axes_swapped", f"{F_ROWS}\n    {F_COLUMNS}",
               f"{F_ROWS.replace('dim=1', 'dim=0')}\n    {F_COLUMNS.replace('dim=0', 'dim=1')}",
               "the means run along the wrong axes", "(R, C) is averaged over dim 0. Which shape is left?"),
        Mutant("mean_then_square", f"{F_ROWS}\n    {F_COLUMNS}",
               f"{F_ROWS.replace('grad.square().mean(dim=1)', 'grad.mean(dim=1).square()')}\n    "
               f"{F_COLUMNS.replace('grad.square().mean(dim=0)', 'grad.mean(dim=0).square()')}",
               "gradients are averaged before they are squared, so that they cancel",
               "A row holds 3 and −3. What is its mean square?"),
        Mutant("sizes", f"{F_ROWS}\n    {F_COLUMNS}",
               f"{F_ROWS.replace('square', 'abs')}\n    {F_COLUMNS.replace('square', 'abs')}",
               "sizes are averaged instead of squares", F_SIZE),
        Mutant("largest", f"{F_ROWS}\n    {F_COLUMNS}",
               f"{F_ROWS.replace('.mean(', '.amax(')}\n    {F_COLUMNS.replace('.mean(', '.amax(')}",
               "the largest square of a row or column stands for its mean",
               "One gradient of a row is huge. What becomes of the row's mean, and what of its largest?"),
        Mutant("uncorrected", F_SHARE, "share = 1.0",
               "the estimate is not corrected for the start at zero", F_SHARES),
        Mutant("corrected_twice", F_OVERALL, F_OVERALL.replace("rows / share", "rows"),
               "the product is corrected twice, and what divides it not at all", F_SHARES),
        Mutant("rows_uncorrected", F_ESTIMATE, F_ESTIMATE.replace("columns / share", "columns"),
               "the estimate is not corrected for the start at zero", F_SHARES),
        Mutant("multiplied", F_ESTIMATE,
               "estimate = torch.outer(rows * share, columns * share) / (overall * share * share)",
               "the share of real gradients multiplies instead of dividing", F_SHARES),
        Mutant("always_first", F_SHARE, "share = 1 - beta",
               "every step is corrected as if it were the first", F_SHARES),
        Mutant("power_too_low", F_SHARE, "share = 1 - beta ** max(1, step - 1)",
               "the power of beta is one too low", "What is the power of beta in the second step?"),
        Mutant("power_too_high", F_SHARE, "share = 1 - beta ** (step + 1)",
               "the power of beta is one too high", "What is the power of beta in the first step?"),
        Mutant("stored_corrected", F_RETURN, F_RETURN.replace("(step, rows, columns)",
               "(step, rows / share, columns / share)"),
               "the corrected numbers are stored in the state", F_STORED),
        Mutant("step_not_counted", F_RETURN, F_RETURN.replace("(step,", "(step - 1,"),
               "the state is handed back with the old count of steps", F_STORED),
        Mutant("step_counted_twice", F_RETURN, F_RETURN.replace("(step,", "(step + 1,"),
               "the step is counted twice", F_STORED),
        Mutant("shares_swapped", f"{F_ROWS}\n    {F_COLUMNS}",
               "rows = (1 - beta) * rows + beta * grad.square().mean(dim=1)\n"
               "    columns = (1 - beta) * columns + beta * grad.square().mean(dim=0)",
               "the running means keep 1 - beta of themselves",
               "With beta = 0.9, how much of the old mean should be left?"),
        Mutant("in_full", f"{F_ROWS}\n    {F_COLUMNS}",
               "rows = beta * rows + grad.square().mean(dim=1)\n"
               "    columns = beta * columns + grad.square().mean(dim=0)",
               "the squares enter the running means in full",
               "A gradient of 1 comes in every step. Towards which number should the mean go?"),
        Mutant("nothing_remembered", f"{F_ROWS}\n    {F_COLUMNS}",
               "rows = (1 - beta) * grad.square().mean(dim=1)\n    columns = (1 - beta) * grad.square().mean(dim=0)",
               "the old rows and columns are forgotten", "Where does your function use the state?"),
        Mutant("zero_leaves", F_START, f"{F_START}\n    if not grad.any():\n"
               "        return weight.clone(), (step, rows, columns)", F_LEAVES, F_PASSES),
        Mutant("zero_leaves_state", F_START, f"if not grad.any():\n        return weight.clone(), state\n    {F_START}",
               F_LEAVES, F_PASSES),
        Mutant("starts_with_squares", F_START,
               "step, rows, columns = state or (0, grad.square().mean(dim=1), grad.square().mean(dim=0))",
               "rows and columns begin with the first squares and are corrected all the same",
               "What do they hold before the first step?"),
        Mutant("old_margins", F_ESTIMATE, "r, c = (state[1], state[2]) if state else (rows, columns)\n"
               "    estimate = torch.outer(r, c) / share / r.mean().clamp(min=1e-30)",
               "the estimate is made of rows and columns from before this step",
               "Does this step's gradient take part in this step?"),
        Mutant("no_root", "estimate.sqrt()", "estimate",
               "the gradient is divided by the estimate instead of its root", F_SIZE),
        Mutant("eps_under_root", "(estimate.sqrt() + eps)", "(estimate + eps).sqrt()",
               "eps is added under the root", F_EPS),
        Mutant("eps_floor", "(estimate.sqrt() + eps)", "estimate.sqrt().clamp(min=eps)",
               "eps is a floor instead of being added", F_EPS),
        Mutant("no_eps", "(estimate.sqrt() + eps)", "estimate.sqrt().clamp(min=1e-30)",
               "eps plays no part", F_EPS),
        Mutant("eps_of_its_own", "+ eps", "+ 1e-8",
               "eps plays no part", "Where in your function is eps used?"),
        Mutant("eps_in_squares", f"{F_ROWS}\n    {F_COLUMNS}",
               "squares = grad.square() + eps\n    rows = beta * rows + (1 - beta) * squares.mean(dim=1)\n"
               "    columns = beta * columns + (1 - beta) * squares.mean(dim=0)",
               "eps is added to the squares as well, and stays in the running means", F_EPS),
        Mutant("nan", ".clamp(min=1e-30)", "",
               "zero is divided by zero where no gradient has come yet", F_ZERO),
        Mutant("overall_plus_eps", F_OVERALL, "overall = (rows / share).mean() + eps",
               "eps is added to the mean of the rows", F_ZERO),
        Mutant("overall_floor_eps", "min=1e-30", "min=eps",
               "the mean of the rows is never allowed below eps", F_SIZE),
        Mutant("overall_large_floor", "min=1e-30", "min=1.0",
               "the mean of the rows is never allowed below 1", F_SIZE),
        Mutant("overall_of_columns_sum", F_OVERALL, "overall = (columns / share).sum().clamp(min=1e-30)",
               "the product is divided by the sum of the columns' numbers", F_MARGINS),
        Mutant("roots_first", f"{F_OVERALL}\n    {F_ESTIMATE}",
               "r, c = (rows / share).sqrt(), (columns / share).sqrt()\n"
               "    estimate = (torch.outer(r, c) / r.mean().clamp(min=1e-30)).square()",
               "roots are taken of rows and columns first, and the mean of the roots divides",
               "Is the root of a mean the mean of the roots?"),
        Mutant("sign", F_RETURN, F_RETURN.replace("grad / (estimate.sqrt() + eps)", "grad.sign()"),
               "every step is equally long", "Where does your function use the estimate?"),
        Mutant("uphill", "weight - lr", "weight + lr",
               "the weight climbs", "The gradient is positive. In which direction does the loss fall?"),
        Mutant("no_rate", "- lr * grad", "- grad",
               "the step is not multiplied by the rate", "Where does your function use lr?"),
        Mutant("no_division", F_RETURN, "return weight - lr * grad, (step, rows, columns)",
               "nothing divides the gradient", F_SIZE),
        Mutant("only_weight", F_RETURN, "return weight - lr * grad / (estimate.sqrt() + eps)",
               "only the weight is returned", "What does the next step need from this one?"),
        Mutant("old_state", F_RETURN, "return weight - lr * grad / (estimate.sqrt() + eps), state",
               "the state is handed back as it came", "What does the next step need from this one?"),
        Mutant("state_order", F_RETURN, F_RETURN.replace("(step, rows, columns)", "(step, columns, rows)"),
               "columns and rows have changed places in the state", "In which order does the state hold them?"),
        Mutant("state_flat", F_RETURN, F_RETURN.replace("(step, rows, columns)", "step, rows, columns"),
               "four things are returned instead of a pair", "What is the pair that the statement asks for?"),
        Mutant("kept_axes", f"{F_ROWS}\n    {F_COLUMNS}",
               "rows = beta * rows.view(R, 1) + (1 - beta) * grad.square().mean(dim=1, keepdim=True)\n"
               "    columns = beta * columns.view(1, C) + (1 - beta) * grad.square().mean(dim=0, keepdim=True)\n"
               "    rows, columns, flat = rows, columns, (rows.flatten(), columns.flatten())\n"
               "    return weight - lr * grad / ((flat[0][:, None] * flat[1] / (1 - beta**step) / "
               "flat[0].mean().clamp(min=1e-30)).sqrt() + eps), (step, rows, columns)",
               "rows and columns are stored with an axis of size one", "Which shapes does the state have?"),
        Mutant("weight_in_place", F_RETURN,
               "weight.sub_(lr * grad / (estimate.sqrt() + eps))\n    return weight, (step, rows, columns)",
               "what was handed in is changed", F_OWN),
        Mutant("state_in_place", f"{F_ROWS}\n    {F_COLUMNS}",
               "rows.mul_(beta).add_((1 - beta) * grad.square().mean(dim=1))\n"
               "    columns.mul_(beta).add_((1 - beta) * grad.square().mean(dim=0))",
               "what was handed in is changed", F_OWN),
        Mutant("rows_in_place", F_ROWS, "rows.lerp_(grad.square().mean(dim=1), 1 - beta)",
               "what was handed in is changed", F_OWN),
    ),
    variants=("""\
def factored_step(weight, grad, state, lr, beta, eps):
    t, r, c = (0, 0.0, 0.0) if state is None else state
    squares, t = grad * grad, t + 1
    r = beta * r + (1 - beta) * squares.mean(1)
    c = beta * c + (1 - beta) * squares.mean(0)
    table = r[:, None] * c[None, :] / r.mean() / (1 - beta**t)
    return weight - lr * grad / (torch.nan_to_num(table).sqrt() + eps), (t, r, c)""", """\
def factored_step(weight, grad, state, lr, beta, eps):
    R, C = grad.shape
    t = 1 if state is None else state[0] + 1
    old_r = [0.0] * R if state is None else state[1].tolist()
    old_c = [0.0] * C if state is None else state[2].tolist()
    g = grad.tolist()
    r = [beta * old_r[i] + (1 - beta) * sum(x * x for x in g[i]) / C for i in range(R)]
    c = [beta * old_c[j] + (1 - beta) * sum(g[i][j] ** 2 for i in range(R)) / R for j in range(C)]
    whole, new = sum(r) / R, weight.tolist()
    for i in range(R):
        for j in range(C):
            v = r[i] * c[j] / whole / (1 - beta**t) if whole else 0.0
            new[i][j] -= lr * g[i][j] / (math.sqrt(v) + eps)
    return torch.tensor(new), (t, torch.tensor(r), torch.tensor(c))""", """\
def factored_step(weight, grad, state, lr, beta, eps):
    R, C = weight.shape
    if state is None:
        state = (0, weight.new_zeros(R), weight.new_zeros(C))
    t = state[0] + 1
    r = state[1].lerp(torch.einsum("rc,rc->r", grad, grad) / C, 1 - beta)
    c = state[2].lerp(torch.einsum("rc,rc->c", grad, grad) / R, 1 - beta)
    real = 1 - beta**t
    if not c.any():
        return weight.clone(), (t, r, c)
    root = torch.outer((r / real).sqrt(), (c / real).sqrt()) / (c / real).mean().sqrt()
    return weight - lr * grad.div(root + eps), (t, r, c)""",
    ),
    properties=(
        Property(lambda result, *arguments: not result[0].isnan().any(), "A weight has become NaN."),
    ),
    twin=factored_twin,
)  # fmt: skip


EXERCISES = {
    "largest_rate": LARGEST_RATE,
    "momentum_step": MOMENTUM_STEP,
    "adamw_step": ADAMW_STEP,
    "schedule": SCHEDULE,
    "clip": CLIP,
    "accumulate": ACCUMULATE,
    "document_mask": DOCUMENT_MASK,
    "windows_needed": WINDOWS_NEEDED,
    "what_differs": WHAT_DIFFERS,
    "factored_step": FACTORED_STEP,
}


# Questions to come back to


def speed_of_momentum(rng: random.Random) -> Question:
    beta, grad = rng.choice([0.5, 0.75, 0.8, 0.9, 0.95, 0.98]), rng.randint(2, 9)
    return Question(
        f"SGD with momentum {beta}, as PyTorch writes it. The gradient is {grad} in every step. Which velocity does it "
        "approach?", grad / (1 - beta), f"{grad} · (1 + {beta} + {beta}² + …) = {grad} / (1 − {beta}).", 0.01,
    )  # fmt: skip


def first_step_of_adam(rng: random.Random) -> Question:
    lr, size = rng.choice([1e-3, 3e-3, 0.01, 0.02]), rng.choice([1e-4, 0.03, 5, 200])
    return Question(
        f"Adam without weight decay, rate {lr}, tiny eps. A weight's first gradient is {size:g}. How far does it "
        "move in "
        "the first step?", lr, "The corrected mean is g and the corrected root |g|: the step is the rate.", 0.001,
    )  # fmt: skip


def uncorrected_adam(rng: random.Random) -> Question:
    b1, b2 = rng.choice([0.5, 0.8, 0.9]), rng.choice([0.9, 0.95, 0.98, 0.99, 0.995, 0.999])
    return Question(
        f"Adam with betas {b1} and {b2}, but somebody has left out the bias corrections. How many times as long is the "
        "first step?", (1 - b1) / math.sqrt(1 - b2),
        f"The mean is {1 - b1:g} · g, the root of the mean square √{1 - b2:g} · |g|.", 0.02,
    )  # fmt: skip


def only_decay(rng: random.Random) -> Question:
    lr, decay, steps = rng.choice([0.001, 0.01, 0.02]), rng.choice([0.1, 0.5, 1.0]), 100 * rng.randint(1, 9)
    return Question(
        f"AdamW, rate {lr}, weight decay {decay}. A weight of 1 has gradients of zero for its first {steps} steps. "
        "What "
        "is left of it?", (1 - lr * decay) ** steps, f"It loses the share {lr} · {decay} in each step.", 0.02,
    )  # fmt: skip


def warming_up(rng: random.Random) -> Question:
    warmup = rng.randint(4, 50)
    step = rng.randint(0, warmup - 1)
    return Question(
        f"The warm-up of minigpt takes {warmup} steps, in equal parts, and the step after it is the first at the peak. "
        f"Which fraction of the peak has step {step}, counted from 0?", (step + 1) / (warmup + 1),
        f"Part {step + 1} of {warmup + 1}: step 0 is not wasted on a rate of zero.", 0.01,
    )  # fmt: skip


def clipped_number(rng: random.Random) -> Question:
    norm, most, number = rng.choice([2, 4, 5, 8, 10, 20]), rng.choice([0.5, 1.0]), rng.randint(1, 9) / 10
    return Question(
        f"All gradients together have length {norm}, clipping allows {most}. What becomes of a gradient of {number}?",
        number * most / norm, f"Everything is multiplied by {most} / {norm}.", 0.01,
    )  # fmt: skip


def more_windows(rng: random.Random) -> Question:
    n, times = 10 * rng.randint(2, 90), rng.choice([2, 3, 4, 5, 10])
    return Question(
        f"A loss on {n} windows has a standard error that is {times} times too large. How many windows do you need?",
        n * times**2, f"The error falls as 1/√n: {times}² times as many.",
    )  # fmt: skip


def last_piece(rng: random.Random) -> Question:
    many, few = 100 * rng.randint(2, 9), rng.randint(5, 50)
    return Question(
        f"Two micro-batches have {many} and {few} targets that count, and the two mean losses are averaged. How many "
        "times "
        "as much does a target of the smaller one weigh?", many / few,
        f"Each target has the weight 1 / (2 · its count): {many} / {few}.", 0.01,
    )  # fmt: skip


RECALL = (
    speed_of_momentum, first_step_of_adam, uncorrected_adam, only_decay, warming_up, clipped_number, more_windows,
    last_piece,
)  # fmt: skip
PREDICTIONS = {
    "08.p1": Prediction(
        "A ravine with curvatures 1 and 30. Above which learning rate does gradient descent diverge?",
        lambda: 2 / 30,
        "A step multiplies the weight of a direction by 1 - rate · curvature. The steep one grows as soon as this is "
        "below -1, at a rate of 2/30.",
    ),
    "08.p2": Prediction(
        "Adam with betas 0.9 and 0.999, without bias correction: how many times as long as with it is the first step?",
        lambda: 0.1 / math.sqrt(0.001),
        "The mean holds a tenth of the gradient, the square a thousandth of its square: 0.1 divided by the root of "
        "0.001. The small square weighs more than the small mean.",
    ),
    "08.p3": Prediction(
        "Adam's first update, over all weights that have a gradient: its root mean square, in units of the rate?",
        lambda: 1.0,
        "Corrected, the mean is the gradient and the root of the square is its size. The quotient is 1 or -1 in every "
        "weight, however small its gradient.",
    ),
    "08.p4": Prediction(
        "Two micro-batches with 100 and with 10 targets that count, their mean losses averaged. How many times as much "
        "does a target of the second weigh?",
        lambda: 10.0,
        "A target weighs one half of 1/100 in the first, and one half of 1/10 in the second.",
    ),
    "08.p5": Prediction(
        "Each paragraph in windows of 64 tokens of its own: what share of all places is padding?",
        None,
        "Only the last window of a document has padding, half of it on average, and many documents have only one or "
        "two windows.",
        0.15,
    ),
    "08.p6": Prediction(
        "To halve the standard error of a mean over windows, how many times as many windows do you need?",
        lambda: 4.0,
        "The standard error is s/√n: four times n, half of it.",
    ),
    "08.p7": Prediction(
        "After a resume, weights and step are right, and Adam's moments are gone. Is the first training loss different "
        "from the undisturbed run's? (yes or no)",
        lambda: False,
        "The loss of a step is computed before its update, from weights and batch, and both are right. The moments "
        "show one step later.",
    ),
    "08.p8": Prediction(
        "What happened in the run of exhibit 11? (no_warmup, schedule_too_short, accumulation_not_divided, "
        "replayed_data, bad_shard or rate_too_high)",
        lambda: "replayed_data",
        "The sequences that it reads at step 75, just after a resume, are those of step 0: the data begins anew at "
        "each resume. Training runs ahead of validation from then on, for it sees the same text again.",
    ),
}
