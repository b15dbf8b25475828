"""Lesson 06, the modern GPT: cases, and the wrong ideas that people have about its parts."""
import math
import random

import torch

from . import Exercise, Mutant, Prediction, Property, Question, normal


def near(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a.float(), b.float(), rtol=1e-3, atol=1e-4)


# 06.1


def score_twin(rng: random.Random) -> Question:
    a, b, n = rng.randint(2, 6), rng.randint(2, 6), rng.randint(3, 40)
    far, cosine = rng.choice([(1, 0.5), (2, -0.5), (3, -1.0), (6, 1.0)])
    return Question(
        f"Each position turns an arrow by 60 degrees. A query ({a}, 0) stands at position {n + far}, a key ({b}, 0) at "
        f"{n}. What is their dot product after the turns?", a * b * cosine,
        f"Only the distance of {far} matters: the arrows are {60 * far} degrees apart, so {a} · {b} · cos {60 * far}°.",
        0.01,
    )  # fmt: skip


ROTATED_SCORE = "return along * math.cos(turn) + across * math.sin(turn)"
ARROWS = """\
def same_score(q, k, m, n, angle):
    def turned(v, a):
        x, y = v
        c, s = math.cos(a), math.sin(a)
        {}

    (a, b), (c, d) = turned(q, m * angle), turned(k, n * angle)
    return a * c + b * d"""
SAME_WAY = "Query and key stand at the same position. By how much has the angle between them changed?"
SAME_SCORE = Exercise(
    cases=lambda: [
        ((1.0, 0.5), (0.25, -2.0), 7, 3, 0.3),
        ((-1.5, 2.0), (0.5, 1.0), 2, 9, 0.7),
        ((2.0, -1.0), (1.0, 3.0), 4, 4, 1.1),
        ((0.5, 0.25), (-1.0, 0.75), 0, 5, 0.4),
        ((3, 1), (2, -1), 6, 0, math.pi / 2),
        ((1.0, 0.5), (0.25, -2.0), 107, 103, 0.3),
        ((2, 0), (0, 1), 0, 0, 1.0),
    ],
    mutants=(
        Mutant("no_turn", ROTATED_SCORE, "return along",
               "nothing is turned",
               "Where in your code does a position matter?"),
        Mutant("angles_add", "(m - n)", "(m + n)",
               "one of the two arrows is turned the other way, so that the angles add up", SAME_WAY),
        Mutant("angles_add_back", "(m - n)", "-(m + n)",
               "one of the two arrows is turned the other way, so that the angles add up", SAME_WAY),
        Mutant("clockwise", "(m - n)", "(n - m)",
               "the turn goes clockwise, or the distance is taken from key to query",
               "A quarter turn of (1, 0): does it point up or down?"),
        Mutant("no_sign", "(m - n)", "abs(m - n)",
               "the distance has lost its sign",
               "Is a key three positions before a query the same as one three positions after it?"),
        Mutant("only_cosine", " + across * math.sin(turn)", "",
               "only the cosine is kept, as if the two arrows had pointed the same way at first",
               "Query (1, 0), key (0, 1): they share nothing. What if the query is turned by a quarter?"),
        Mutant("lengths_and_cosine", ROTATED_SCORE, "return math.hypot(*q) * math.hypot(*k) * math.cos(turn)",
               "the angle between the arrows is taken to be the turn alone",
               "What was the angle between the two before anything turned?"),
        Mutant("only_query", "(m - n)", "m",
               "only the query is turned", SAME_WAY),
        Mutant("only_key", "(m - n)", "(-n)",
               "only the key is turned", SAME_WAY),
        Mutant("one_more", "(m - n)", "(m - n + 1)",
               "the distance is one too large", SAME_WAY),
        Mutant("product", "(m - n)", "m * n",
               "the positions are multiplied", SAME_WAY),
        Mutant("once", "(m - n) * angle", "angle * (m != n)",
               "every distance turns by one angle, however far it is",
               "Two positions apart: by how many angles?"),
        Mutant("degrees", "(m - n) * angle", "math.radians((m - n) * angle)",
               "the angle is taken to be in degrees",
               "In which unit does `math.cos` want its angle, and in which unit is it given?"),
        Mutant("turns", "* angle", "* angle * 2 * math.pi",
               "the angle is taken to be in whole turns",
               "In which unit is the angle given?"),
        Mutant("swapped", ROTATED_SCORE, "return along * math.sin(turn) + across * math.cos(turn)",
               "sine and cosine have changed places",
               "What is left of each of them when nothing turns?"),
        Mutant("cross", ROTATED_SCORE, "return across * math.cos(turn) - along * math.sin(turn)",
               "the area between the arrows is computed instead of their dot product",
               "Which score do two arrows that point the same way get from you?"),
        Mutant("mixed_added", "q[0] * k[1] - q[1] * k[0]", "q[0] * k[1] + q[1] * k[0]",
               "the two mixed products are added",
               "Multiply the two turned arrows out for m = 1, n = 0. Which sign does each product get?"),
        Mutant("minus_sine", "+ across", "- across",
               "the turn goes clockwise, or the distance is taken from key to query",
               "A quarter turn of (1, 0): does it point up or down?"),
        Mutant("new_x", "", ARROWS.format("x = x * c - y * s\n        y = x * s + y * c\n        return x, y"),
               "the new y is computed from the new x",
               "After your first line, which x does the second line see?"),
        Mutant("both_plus", "", ARROWS.format("return x * c + y * s, x * s + y * c"),
               "a minus is missing in the turn",
               "How long is (1, 1) after your turn by a quarter, and how long should it be?"),
        Mutant("both_minus", "", ARROWS.format("return x * c - y * s, x * s - y * c"),
               "a minus too many mirrors the arrows",
               "What becomes of (0, 1) when you turn it by nothing?"),
        Mutant("each_by_cosine", "", ARROWS.format("return x * c, y * c"),
               "each number is multiplied by a cosine instead of turning the pair",
               "How long is (1, 0) after a quarter turn, and where does it point?"),
        Mutant("cosine_and_sine", "", ARROWS.format("return x * c, y * s"),
               "the first number is multiplied by a cosine and the second by a sine, and neither sees the other",
               "What becomes of (0, 1) when you turn it by nothing?"),
        Mutant("added", "", ARROWS.format("return x + a, y + a"),
               "the angle is added to the numbers of the arrow",
               "How long is an arrow after a turn?"),
        Mutant("added_circle", "", ARROWS.format("return x + c, y + s"),
               "a point on the circle is added to the arrow, instead of turning it",
               "How long is an arrow after a turn?"),
        Mutant("only_x", "", ARROWS.format("return x * c - y * s, 0"),
               "only the first numbers of the turned arrows are multiplied",
               "How many products does a dot product of two pairs add up?"),
        Mutant("cosine_similarity", ROTATED_SCORE, ROTATED_SCORE.replace("return ", "return (")
               + ") / math.hypot(*q) / math.hypot(*k)",
               "the lengths of the arrows are divided out",
               "May a query be more sure of what it looks for by being longer?"),
        Mutant("scaled", ROTATED_SCORE, ROTATED_SCORE.replace("return ", "return (") + ") / math.sqrt(2)",
               "the score is divided by √D, as attention does later on",
               "What is asked for: the score in attention, or the dot product?"),
        Mutant("rounded", ROTATED_SCORE, ROTATED_SCORE.replace("return ", "return round(") + ", 2)",
               "the score is rounded",
               "Who asked for two decimals?"),
        Mutant("arctangent", "", """\
def same_score(q, k, m, n, angle):
    aq = math.atan(q[1] / q[0]) + m * angle if q[0] else math.pi / 2 + m * angle
    ak = math.atan(k[1] / k[0]) + n * angle if k[0] else math.pi / 2 + n * angle
    return math.hypot(*q) * math.hypot(*k) * math.cos(aq - ak)""",
               "the arctangent of y/x takes (−1, −1) for (1, 1)",
               "Which angle does `math.atan(y / x)` give for (−1, 0), and which does `math.atan2` give?"),
        Mutant("angle_only", ROTATED_SCORE, "return math.atan2(k[1], k[0]) - math.atan2(q[1], q[0]) - turn",
               "the angle between the arrows is returned instead of their dot product",
               "Which score do two equal arrows of length 3 get?"),
    ),
    variants=(
        ARROWS.format("return x * c - y * s, x * s + y * c"),
        """\
def same_score(q, k, m, n, angle):
    import cmath

    a = complex(*q) * cmath.exp(1j * m * angle)
    b = complex(*k) * cmath.exp(1j * n * angle)
    return (a * b.conjugate()).real""",
        """\
def same_score(q, k, m, n, angle):
    between = math.atan2(q[1], q[0]) + m * angle - math.atan2(k[1], k[0]) - n * angle
    return math.hypot(*q) * math.hypot(*k) * math.cos(between)""",
        """\
def same_score(q, k, m, n, angle):
    def R(p):
        c, s = math.cos(p * angle), math.sin(p * angle)
        return torch.tensor([[c, -s], [s, c]])

    q, k = torch.tensor(q, dtype=torch.float32), torch.tensor(k, dtype=torch.float32)
    return ((R(m) @ q) @ (R(n) @ k)).item()""",
    ),
    twin=score_twin,
)  # fmt: skip


# 06.2


def rms_twin(rng: random.Random) -> Question:
    """One number of a vector after RMSNorm."""
    nice = [(a, b) for b in range(2, 60) for a in range(1, b) if (a * a + b * b) % 2 == 0
            and math.isqrt((a * a + b * b) // 2) ** 2 == (a * a + b * b) // 2]  # the mean is a square
    a, b = rng.choice(nice)
    size = math.isqrt((a * a + b * b) // 2)
    return Question(
        f"RMSNorm with gains of 1 and no eps. What does the vector (−{a}, {b}) become? Give its second number.",
        b / size,
        f"The mean of {a * a} and {b * b} is {size * size}, its root {size}; the second number is {b}/{size}.", 0.01,
    )  # fmt: skip


def norm_cases() -> list[tuple]:
    """Vectors with a mean, without any size, tiny, on a square, and of one number."""
    x, square, deep = normal(62, (2, 7, 5), (4, 4), (2, 3, 2, 6))
    x = x + 0.75
    x[0, 2] = 0.0
    gains = normal(63, (5,), (4,), (6,))
    return [
        (x, gains[0], 1e-5),
        (square * 2, gains[1], 0.5),
        (deep * 1e-3, gains[2], 1e-6),
        (torch.tensor([3.0, -1.0, 2.0]), torch.tensor([1.0, 2.0, -0.5]), 0.1),
        (torch.tensor([[-2.0], [0.05]]), torch.tensor([3.0]), 0.1),
    ]


SQUARES = "x.square().mean(dim=-1, keepdim=True)"
RMS = "torch.sqrt(mean_square + eps)"
MEASURED = "    mean_square = " + SQUARES
NORMED = "return x / " + RMS + " * gain"
CENTRED = "What does your function make of (5, 5, 5), and what should it make of it?"
OWN_SIZE = "How many vectors are there in (2, 7, 5), and by how many numbers do you divide?"
ZEROS = "What becomes of a vector of zeros?"
RMS_NORM = Exercise(
    cases=norm_cases,
    mutants=(
        Mutant("layer_norm", MEASURED, "    x = x - x.mean(dim=-1, keepdim=True)\n" + MEASURED,
               "the mean is subtracted first, which is LayerNorm", CENTRED),
        Mutant("layer_norm_std", "", """\
def rms_norm(x, gain, eps):
    x = x - x.mean(dim=-1, keepdim=True)
    return x / (x.std(dim=-1, keepdim=True) + eps) * gain""",
               "the mean is subtracted, and the standard deviation divides", CENTRED),
        Mutant("layer_norm_var", "", """\
def rms_norm(x, gain, eps):
    x = x - x.mean(dim=-1, keepdim=True)
    return x / torch.sqrt(x.var(dim=-1, keepdim=True) + eps) * gain""",
               "the mean is subtracted, and the standard deviation divides", CENTRED),
        Mutant("std", RMS, "(x.std(dim=-1, keepdim=True) + eps)",
               "the standard deviation divides, which leaves out the mean and counts C − 1 numbers", CENTRED),
        Mutant("var", SQUARES, "x.var(dim=-1, keepdim=True)",
               "the variance is used, which leaves out the mean and counts C − 1 numbers", CENTRED),
        Mutant("var_biased", SQUARES, "x.var(dim=-1, keepdim=True, unbiased=False)",
               "the variance is used, the mean square of what is left after the mean", CENTRED),
        Mutant("std_biased", RMS, "(x.std(dim=-1, keepdim=True, unbiased=False) + eps)",
               "the standard deviation divides, which leaves out the mean", CENTRED),
        Mutant("mean_only", "x / " + RMS, "(x - x.mean(dim=-1, keepdim=True)) / " + RMS,
               "the mean is subtracted from the vector, but not from what divides it", CENTRED),
        Mutant("eps_outside", RMS, "(torch.sqrt(mean_square) + eps)",
               "eps is added after the root", "To what is eps added: the mean square, or its root?"),
        Mutant("no_eps", " + eps", "",
               "eps is nowhere", ZEROS),
        Mutant("no_eps_norm", NORMED, "return x / x.norm(dim=-1, keepdim=True) * x.shape[-1] ** 0.5 * gain",
               "eps is nowhere", ZEROS),
        Mutant("no_eps_normalize", NORMED, "return F.normalize(x, dim=-1) * x.shape[-1] ** 0.5 * gain",
               "the vectors get their length without eps",
               "By how much should a vector shrink whose mean square is as small as eps?"),
        *(Mutant(f"eps_{value}", "+ eps", f"+ {value}",
                 "eps is always the same, whatever is handed over", "Where in your code is the third argument used?")
          for value in ("1e-5", "1e-6", "1e-8")),
        Mutant("eps_squared", "+ eps", "+ eps**2",
               "eps is squared", "What is added to the mean square?"),
        Mutant("eps_smallest", "mean_square + eps", "mean_square.clamp(min=eps)",
               "eps is a lower bound instead of something added",
               "What is the divisor when the mean square equals eps?"),
        Mutant("eps_smallest_root", RMS, "torch.sqrt(mean_square).clamp(min=eps)",
               "eps is a lower bound instead of something added",
               "What is the divisor when the mean square equals eps?"),
        Mutant("eps_to_x", SQUARES, "(x + eps).square().mean(dim=-1, keepdim=True)",
               "eps is added to the numbers before they are squared",
               "To what is eps added?"),
        Mutant("eps_twice", SQUARES, "(x.square() + eps).mean(dim=-1, keepdim=True)",
               "eps is added twice", "In how many lines do you add eps?"),
        Mutant("eps_over_C", "+ eps", "+ eps / x.shape[-1]",
               "eps is added to the sum of the squares, so that it is divided by C with them",
               "To what is eps added: the sum of the squares, or their mean?"),
        Mutant("eps_subtracted", "+ eps", "- eps",
               "eps is subtracted", ZEROS),
        Mutant("sum", ".mean(", ".sum(",
               "the squares are added up and not averaged",
               "With gains of one, what should the mean of the squares of the result be?"),
        Mutant("length", NORMED, "return x / (x.norm(dim=-1, keepdim=True) + eps) * gain",
               "the vectors are brought to length one",
               "With gains of one, what should the mean of the squares of the result be?"),
        Mutant("normalize", NORMED, "return F.normalize(x, dim=-1) * gain",
               "the vectors are brought to length one",
               "With gains of one, what should the mean of the squares of the result be?"),
        Mutant("normalize_eps", NORMED, "return F.normalize(x, dim=-1, eps=eps) * gain",
               "the vectors are brought to length one",
               "With gains of one, what should the mean of the squares of the result be?"),
        Mutant("length_over_C", NORMED, "return x / (x.norm(dim=-1, keepdim=True) / x.shape[-1] + eps) * gain",
               "the vector's length is divided by C instead of its root",
               "With gains of one, what should the mean of the squares of the result be?"),
        Mutant("whole_sequence", NORMED, "flat = x.reshape(len(x), -1)\n    mean_square = flat.square().mean(dim=1, "
               "keepdim=True)\n    return (flat / torch.sqrt(mean_square + eps)).view(x.shape) * gain",
               "one size is used for all vectors of a sequence", OWN_SIZE),
        Mutant("less_one", SQUARES, "x.square().sum(dim=-1, keepdim=True) / (x.shape[-1] - 1)",
               "the sum of the squares is divided by C − 1", "Of how many squares is it the mean?"),
        Mutant("no_root", RMS, "(mean_square + eps)",
               "the mean square divides instead of its root",
               "Twice as large a vector should give the same result. What does yours give?"),
        Mutant("no_square", "x.square()", "x",
               "the numbers are not squared",
               "What is the mean of (3, −3), and does it say how large the vector is?"),
        Mutant("abs", SQUARES, "x.abs().mean(dim=-1, keepdim=True)",
               "sizes are averaged instead of squares, and the root is taken of that",
               "Twice as large a vector should give the same result. What does yours give?"),
        Mutant("mean_abs", RMS, "(x.abs().mean(dim=-1, keepdim=True) + eps)",
               "the mean of the sizes divides", "What do the letters R, M and S stand for?"),
        Mutant("square_of_mean", SQUARES, "x.mean(dim=-1, keepdim=True).square()",
               "the mean is squared instead of averaging the squares",
               "What do you divide (3, −3) by?"),
        Mutant("mean_of_root", RMS, "(x.square() + eps).sqrt().mean(dim=-1, keepdim=True)",
               "the root is taken of each square, before the mean",
               "What is the root of a number's square?"),
        Mutant("largest", RMS, "(x.abs().amax(dim=-1, keepdim=True) + eps)",
               "the largest number divides", "What do the letters R, M and S stand for?"),
        Mutant("no_gain", " * gain", "",
               "the gains are not used", "What does the second argument do?"),
        Mutant("gain_added", " * gain", " + gain",
               "the gains are added", "What becomes of a vector of zeros?"),
        Mutant("one_plus_gain", " * gain", " * (1 + gain)",
               "the gains are counted from one, as some models do",
               "With which gain should a feature pass unchanged?"),
        Mutant("gain_divides", " * gain", " / gain",
               "the gains divide", "What does a gain of 2 do to a feature?"),
        Mutant("gain_first", MEASURED + "\n    " + NORMED,
               "    x = x * gain\n" + MEASURED + "\n    return x / " + RMS,
               "the gains are multiplied in before the size is measured",
               "All gains are doubled. What happens to your result?"),
        Mutant("gain_column", " * gain", " * gain[:, None]",
               "the gains stand in a column: one for each token instead of one for each feature",
               "Which axis of x has C entries?"),
        Mutant("gain_product", " * gain", " @ gain",
               "the features are added up, weighted by the gains",
               "Which shape should the result have?"),
        Mutant("multiplied", "x / " + RMS, "x * " + RMS,
               "the vector is multiplied by its size", "Should a large vector become larger?"),
        Mutant("no_keepdim", "dim=-1, keepdim=True", "dim=-1",
               "the sizes lost their axis, and divide column by column where that is possible",
               "A shape (4, 4) is divided by (4,): with which axis does PyTorch line up the four numbers?"),
        Mutant("over_tokens", "dim=-1", "dim=-2",
               "the mean runs over the tokens", OWN_SIZE),
        Mutant("over_axis_0", "dim=-1", "dim=0",
               "the mean runs over axis 0, whatever that axis is", OWN_SIZE),
        Mutant("over_axis_1", "dim=-1", "dim=1",
               "the mean runs over axis 1, whatever that axis is", OWN_SIZE),
        Mutant("over_axis_2", "dim=-1", "dim=2",
               "the mean runs over axis 2, whatever that axis is",
               "Which is the axis of features in (4, 4), and in (2, 3, 2, 6)?"),
        Mutant("over_everything", SQUARES, "x.square().mean()",
               "one size is used for all vectors", OWN_SIZE),
        Mutant("size", NORMED, "return " + RMS,
               "the sizes are returned", "Which shape should the result have?"),
        Mutant("in_place", NORMED, "x /= " + RMS + "\n    return x * gain",
               "x itself is divided, which belongs to the caller",
               "Does `x /= y` make a new tensor?"),
    ),
    variants=("""\
def rms_norm(x, gain, eps):
    return x * torch.rsqrt(torch.mean(x**2, -1, keepdim=True) + eps) * gain""", """\
def rms_norm(x, gain, eps):
    return F.rms_norm(x, (x.shape[-1],), gain, eps)""", """\
def rms_norm(x, gain, eps):
    C = x.shape[-1]
    rows = []
    for row in x.reshape(-1, C):
        size = math.sqrt(sum(v.item() ** 2 for v in row) / C + eps)
        rows.append(torch.stack([v / size * g for v, g in zip(row, gain)]))
    return torch.stack(rows).view(x.shape)""", """\
def rms_norm(x, gain, eps):
    size = (torch.einsum("...c,...c->...", x, x) / x.size(-1) + eps) ** 0.5
    return gain * (x / size.unsqueeze(-1))""",
    ),
    properties=(
        Property(lambda y, x, gain, eps: not y[(x == 0).all(-1)].any(), "A vector of zeros does not stay zero."),
        Property(lambda y, x, gain, eps: ((y * x * gain) >= -1e-9).all(),
                 "A number has changed its sign although its gain is positive, or kept it although it is negative."),
    ),
    twin=rms_twin,
)  # fmt: skip


# 06.3


def rope_twin(rng: random.Random) -> Question:
    D, i = rng.choice([8, 16, 32]), rng.choice([1, 2])
    base, p = 2.0 ** (D // 2), rng.randint(3, 60) * 4
    return Question(
        f"Rotary embedding with D = {D} and base {base:,.0f}. By which angle, in radians, is pair {i} turned at "
        f"position {p}? (Pairs count from 0.)", p * base ** (-2 * i / D),
        f"{base:,.0f} to the power of −2 · {i}/{D} is 1/{2**i}; times the position {p}.", 0.01,
    )  # fmt: skip


def rope_cases() -> list[tuple]:
    """Distinct sizes, and two cases where a table on the wrong axes fits: H = T, and T = D/2."""
    tensors = normal(64, (2, 3, 5, 8), (1, 2, 4, 6), (3, 2, 1, 2), (2, 3, 3, 4), (1, 4, 5, 10))
    where = [torch.arange(5), torch.tensor([7, 3, 50, 2]), torch.tensor([9]), torch.tensor([4, 0, 4]),
             torch.arange(20, 25)]  # fmt: skip
    return list(zip(tensors, where, (100.0, 10000.0, 10.0, 500.0, 10000.0)))


SPEEDS = "base ** (-torch.arange(0, D, 2) / D)"
ANGLES = "positions[:, None] * speeds"
FIRST, SECOND = "first * cos - second * sin", "first * sin + second * cos"
HALVES = "first, second = x[..., : D // 2], x[..., D // 2 :]"
TOGETHER = f"return torch.cat([{FIRST}, {SECOND}], dim=-1)"
ROPE_PAIRS = """\
def rope(x, positions, base):
    D = x.shape[-1]
    angles = positions[:, None] * base ** (-torch.arange(0, D, 2) / D)
    angles = {angles}
    turned = {turned}
    return x * angles.cos() + turned * angles.sin()"""
TWICE, DOUBLED = "torch.cat([angles, angles], dim=-1)", "angles.repeat_interleave(2, dim=-1)"
HALF = "torch.cat([-x[..., D // 2 :], x[..., : D // 2]], dim=-1)"
NEXT = "torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)"
WHICH_PAIR = "D = 6: which number of the vector is the partner of number 0, and which is number 1's?"
SPEED = "D = 6, base 1000: what is the speed of each of the three pairs? Put i = 0, 1, 2 into the formula."
LENGTH = "How long is a pair before the turn, and how long after yours?"
ROPE = Exercise(
    cases=rope_cases,
    tolerance=5e-5,
    mutants=(
        Mutant("clockwise", TOGETHER,
               "return torch.cat([first * cos + second * sin, second * cos - first * sin], dim=-1)",
               "the pairs are turned clockwise",
               "A quarter turn, counter-clockwise, of the pair (1, 0): what should it be?"),
        Mutant("no_minus", FIRST, "first * cos + second * sin",
               "a minus is missing in the turn", LENGTH),
        Mutant("minus_in_both", SECOND, "second * cos - first * sin",
               "both halves subtract, so that the pair is not turned but sheared", LENGTH),
        Mutant("minus_in_second", SECOND, "first * sin - second * cos",
               "a minus too many mirrors the pairs", "What becomes of a pair at position 0?"),
        Mutant("interleaved", "", ROPE_PAIRS.format(angles=DOUBLED, turned=NEXT),
               "neighbours are paired, (0, 1), (2, 3), …, as some models do", WHICH_PAIR),
        Mutant("neighbours_to_halves", HALVES, "first, second = x[..., ::2], x[..., 1::2]",
               "neighbours are taken as pairs, and put back as halves", WHICH_PAIR),
        Mutant("halves_to_neighbours", TOGETHER, f"return torch.stack([{FIRST}, {SECOND}], dim=-1).flatten(-2)",
               "halves are taken as pairs, and put back as neighbours", WHICH_PAIR),
        Mutant("angles_of_neighbours", "", ROPE_PAIRS.format(angles=DOUBLED, turned=HALF),
               "the angles are laid out for neighbours and the pairs are halves, so that the two ends of an arrow turn "
               "differently", WHICH_PAIR),
        Mutant("angles_of_halves", "", ROPE_PAIRS.format(angles=TWICE, turned=NEXT),
               "the angles are laid out for halves and the pairs are neighbours, so that the two ends of an arrow turn "
               "differently", WHICH_PAIR),
        Mutant("halves_not_swapped", "", ROPE_PAIRS.format(
               angles=TWICE, turned="torch.cat([-x[..., : D // 2], x[..., D // 2 :]], dim=-1)"),
               "each number is mixed with itself instead of its partner",
               "At a quarter turn, where does the second number of a pair go?"),
        Mutant("flipped", "", ROPE_PAIRS.format(angles=TWICE, turned="-x.flip(-1) * torch.ones(D).index_fill("
                                                "0, torch.arange(D // 2, D), -1.0)"),
               "the vector is read backwards to find partners: 0 with D − 1, 1 with D − 2", WHICH_PAIR),
        Mutant("own_angle", "", """\
def rope(x, positions, base):
    D = x.shape[-1]
    angles = positions[:, None] * base ** (-torch.arange(D) / D)
    turned = torch.cat([-x[..., D // 2 :], x[..., : D // 2]], dim=-1)
    return x * angles.cos() + turned * angles.sin()""",
               "every number has an angle of its own, so that the two ends of an arrow turn differently",
               "How many different angles does a position have when D is 6?"),
        Mutant("output_swapped", TOGETHER, f"return torch.cat([{SECOND}, {FIRST}], dim=-1)",
               "the two halves of the result have changed places", "What should come out at position 0?"),
        Mutant("input_swapped", HALVES, "second, first = x[..., : D // 2], x[..., D // 2 :]",
               "the two halves of x have changed places", "What should come out at position 0?"),
        Mutant("counting_on", ANGLES, "torch.arange(x.shape[2])[:, None] * speeds",
               "the tokens are counted instead of using their positions",
               "Where in your code do the positions come in?"),
        Mutant("from_first", ANGLES, "(positions - positions[0])[:, None] * speeds",
               "the positions are counted from the first one given",
               "A query at position 9 meets keys that were turned earlier, from 0 on. From where must both count?"),
        Mutant("plus_one", ANGLES, "(positions[:, None] + 1) * speeds",
               "the positions are counted from one", "What should come out at position 0?"),
        Mutant("share_of_text", ANGLES, "positions[:, None] / len(positions) * speeds",
               "the positions are divided by the length of the text",
               "By which angle do two neighbours differ, in a short text and in a long one?"),
        Mutant("half_exponent", "torch.arange(0, D, 2) / D", "torch.arange(D // 2) / D",
               "the exponent is i/D instead of 2i/D", SPEED),
        Mutant("double_exponent", "torch.arange(0, D, 2) / D", "torch.arange(0, D, 2) / (D // 2)",
               "the exponent is 4i/D instead of 2i/D", SPEED),
        Mutant("reaches_base", "-torch.arange(0, D, 2) / D", "-torch.linspace(0, 1, D // 2)",
               "the exponents run up to one, so that the last speed is 1/base", SPEED),
        Mutant("from_one", "torch.arange(0, D, 2)", "torch.arange(2, D + 1, 2)",
               "the pairs are counted from one", SPEED),
        Mutant("faster", "-torch.arange", "torch.arange",
               "the exponents are positive, so that later pairs turn faster", SPEED),
        Mutant("reversed", SPEEDS, f"({SPEEDS}).flip(0)",
               "the last pair turns fastest instead of the first", SPEED),
        Mutant("one_speed", SPEEDS, "torch.ones(D // 2)",
               "all pairs turn equally fast", SPEED),
        Mutant("whole_division", SPEEDS, "base ** -(torch.arange(0, D, 2) // D)",
               "all pairs turn equally fast", SPEED),
        Mutant("floor_division", "-torch.arange(0, D, 2) / D", "-torch.arange(0, D, 2) // D",
               "the exponents are rounded down to whole numbers", SPEED),
        Mutant("fixed_base", SPEEDS, "10000.0 ** (-torch.arange(0, D, 2) / D)",
               "the base is always 10,000", "Where in your code does `base` come in?"),
        Mutant("exponential", SPEEDS, "torch.exp(-torch.arange(0, D, 2) / D)",
               "the base is e", "Where in your code does `base` come in?"),
        Mutant("linear_speeds", SPEEDS, "1 / (1 + (base - 1) * torch.arange(0, D, 2) / D)",
               "the periods grow along a straight line instead of by a factor", SPEED),
        Mutant("degrees", ANGLES, "torch.deg2rad(positions[:, None] * speeds)",
               "the angles are taken to be in degrees", "By how many radians does pair 0 turn from token to token?"),
        Mutant("whole_turns", ANGLES, "2 * math.pi * positions[:, None] * speeds",
               "the angles are taken to be in whole turns",
               "By how many radians does pair 0 turn from token to token?"),
        Mutant("swapped_functions", "angles.cos(), angles.sin()", "angles.sin(), angles.cos()",
               "sine and cosine have changed places", "What should come out at position 0?"),
        Mutant("new_first", TOGETHER,
               f"first = {FIRST}\n    second = {SECOND}\n    return torch.cat([first, second], dim=-1)",
               "the second half is computed from the new first half",
               "After your first line, which `first` does the second line see?"),
        Mutant("into_x", TOGETHER, f"x[..., : D // 2] = {FIRST}\n    x[..., D // 2 :] = {SECOND}\n    return x",
               "the second half is computed from the new first half",
               "Is `x[..., :4]` a copy?"),
        Mutant("x_changed", TOGETHER,
               f"turned = torch.cat([{FIRST}, {SECOND}], dim=-1)\n    x[:] = turned\n    return x",
               "x itself is overwritten, which belongs to the caller", "Who else may need the unturned x?"),
        Mutant("cosine_only", TOGETHER, "return torch.cat([first * cos, second * cos], dim=-1)",
               "each number is only multiplied by a cosine", LENGTH),
        Mutant("cosine_and_sine", TOGETHER, "return torch.cat([first * cos, second * sin], dim=-1)",
               "the first half is multiplied by cosines and the second by sines, and neither sees the other",
               "What should come out at position 0?"),
        Mutant("added", TOGETHER, "return x + torch.cat([sin, cos], dim=-1)",
               "the position is added instead of turning anything, as in the first transformers", LENGTH),
        Mutant("added_to_angles", ANGLES, "positions[:, None] + speeds",
               "position and speed are added", "By which angle does position 0 turn?"),
        Mutant("heads_first", ANGLES, "positions[:, None, None] * speeds",
               "the positions are laid along the axis of heads",
               "Which axis of (B, H, T, D) counts tokens, and with which axes of x does a table (T, 1, D/2) line up?"),
        Mutant("table_transposed", ANGLES, "speeds[:, None] * positions",
               "the table of angles is (D/2, T)", "With which axes of (B, H, T, D/2) must the table line up?"),
        Mutant("squared", ANGLES, "positions[:, None] ** 2 * speeds",
               "the position is squared", "By which angle do positions 3 and 4 differ, and by which 8 and 9?"),
        Mutant("scaled", TOGETHER, TOGETHER + " / math.sqrt(D)",
               "the result is divided by √D", LENGTH),
        Mutant("quarter_of_pairs", "", """\
def rope(x, positions, base):
    D = x.shape[-1]
    rot = D // 2
    speeds = base ** (-torch.arange(0, rot, 2) / rot)
    angles = positions[:, None] * speeds
    h = len(speeds)
    first, second, rest = x[..., :h], x[..., h : 2 * h], x[..., 2 * h :]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, first * sin + second * cos, rest], dim=-1)""",
               "only part of the vector is turned", "How many of the D numbers belong to a pair?"),
    ),
    variants=(
        ROPE_PAIRS.format(angles=TWICE, turned=HALF),
        """\
def rope(x, positions, base):
    D = x.shape[-1]
    z = torch.complex(x[..., : D // 2].contiguous(), x[..., D // 2 :].contiguous())
    angles = torch.outer(positions.float(), 1 / base ** (torch.arange(0, D, 2).float() / D))
    z = z * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([z.real, z.imag], dim=-1)""",
        """\
def rope(x, positions, base):
    D = x.shape[-1]
    y = torch.empty_like(x)
    for t, p in enumerate(positions.tolist()):
        for i in range(D // 2):
            a = p * base ** (-2 * i / D)
            y[:, :, t, i] = x[:, :, t, i] * math.cos(a) - x[:, :, t, i + D // 2] * math.sin(a)
            y[:, :, t, i + D // 2] = x[:, :, t, i] * math.sin(a) + x[:, :, t, i + D // 2] * math.cos(a)
    return y""",
        """\
def rope(x, positions, base):
    D = x.shape[-1]
    speeds = torch.exp(-math.log(base) * torch.arange(0, D, 2) / D)
    a = torch.einsum("t,i->ti", positions.to(x.dtype), speeds)
    R = torch.stack([torch.stack([a.cos(), -a.sin()]), torch.stack([a.sin(), a.cos()])])   # (2, 2, T, D/2)
    pairs = x.unflatten(-1, (2, D // 2))                                                   # (B, H, T, 2, D/2)
    return torch.einsum("uvti,bhtvi->bhtui", R, pairs).flatten(-2)""",
    ),
    properties=(
        Property(lambda y, x, positions, base: near(y.norm(dim=-1), x.norm(dim=-1)),
                 "A vector has changed its length: a turn does not."),
        Property(lambda y, x, positions, base: near(y[:, :, positions == 0], x[:, :, positions == 0]),
                 "At position 0 the vectors have changed: an angle of zero turns nothing."),
    ),
    twin=rope_twin,
)  # fmt: skip


# 06.4


def swiglu_twin(rng: random.Random) -> Question:
    C, M = rng.choice([6, 8, 12, 16]), rng.choice([20, 24, 32, 40])
    return Question(
        f"A SwiGLU MLP without biases reads vectors of {C} numbers and has a width of {M}. How many parameters has it?",
        3 * C * M, f"Three matrices, gate, up and down, of {C} · {M} numbers each.",
    )  # fmt: skip


def swiglu_cases() -> list[tuple]:
    """A batch, a single vector, a width of 1, and the example."""
    a = normal(65, (2, 7, 5), (5, 11), (5, 11), (11, 5))
    b = normal(66, (3,), (3, 4), (3, 4), (4, 3))
    c = normal(67, (4, 6), (6, 1), (6, 1), (1, 6))
    return [tuple(a), tuple(b), tuple(c), (torch.tensor([2.0]), *[torch.ones(1, 1)] * 3)]


HIDDEN = "opened * torch.sigmoid(opened) * passing"
WHICH_BENT = "Which of the two goes through the nonlinearity, and which passes as it is?"
SILU = "For z = 2 the sigmoid is 0.881. What is SiLU of 2?"
ONLY_ONE = "How many of the three matrices does your result depend on?"
SWIGLU = Exercise(
    cases=swiglu_cases,
    mutants=(
        Mutant("glu", HIDDEN, "torch.sigmoid(opened) * passing",
               "the gate is a sigmoid, without its input as a factor (that is GLU)", SILU),
        Mutant("swapped", HIDDEN, "F.silu(passing) * opened",
               "the two have changed places: `up` goes through SiLU and the gate passes", WHICH_BENT),
        Mutant("glu_swapped", HIDDEN, "torch.sigmoid(passing) * opened",
               "the two have changed places, and the sigmoid lacks its input as a factor", WHICH_BENT),
        Mutant("gelu", HIDDEN, "F.gelu(opened) * passing",
               "GELU stands in the place of SiLU (that is GEGLU)", SILU),
        Mutant("gelu_tanh", HIDDEN, 'F.gelu(opened, approximate="tanh") * passing',
               "GELU stands in the place of SiLU (that is GEGLU)", SILU),
        Mutant("quick_gelu", HIDDEN, "opened * torch.sigmoid(1.702 * opened) * passing",
               "GELU's approximation by a sigmoid stands in the place of SiLU", SILU),
        Mutant("relu", HIDDEN, "torch.relu(opened) * passing",
               "ReLU stands in the place of SiLU (that is ReGLU)", SILU),
        Mutant("relu2", HIDDEN, "torch.relu(opened).square() * passing",
               "the square of ReLU stands in the place of SiLU", SILU),
        Mutant("tanh", HIDDEN, "torch.tanh(opened) * passing",
               "a tanh is the gate", SILU),
        Mutant("z_tanh", HIDDEN, "opened * torch.tanh(opened) * passing",
               "tanh stands in the place of the sigmoid", SILU),
        Mutant("softmax", HIDDEN, "torch.softmax(opened, dim=-1) * passing",
               "the gates of a token share one unit among themselves",
               "Does one gate of a token know of the others?"),
        Mutant("softplus", HIDDEN, "F.softplus(opened) * passing",
               "softplus stands in the place of SiLU", SILU),
        Mutant("bilinear", HIDDEN, "opened * passing",
               "the two are multiplied and nothing is bent",
               "Where in your line is the nonlinearity?"),
        Mutant("added", HIDDEN, "F.silu(opened) + passing",
               "the gate is added instead of multiplied",
               "A gate is shut, at zero. What should pass?"),
        Mutant("silu_of_product", HIDDEN, "F.silu(opened * passing)",
               "the product goes through SiLU, instead of the gate alone", WHICH_BENT),
        Mutant("silu_of_sum", HIDDEN, "F.silu(opened + passing)",
               "the sum of the two goes through SiLU", WHICH_BENT),
        Mutant("both_silu", HIDDEN, "F.silu(opened) * F.silu(passing)",
               "both go through SiLU", WHICH_BENT),
        Mutant("silu_and_sigmoid", HIDDEN, "F.silu(opened) * torch.sigmoid(passing)",
               "both are bent", WHICH_BENT),
        Mutant("only_gate", HIDDEN, "F.silu(opened)",
               "there is no gate: one of the two is not used", ONLY_ONE),
        Mutant("only_up", HIDDEN, "F.silu(passing)",
               "there is no gate: the other of the two is not used", ONLY_ONE),
        Mutant("gated_by_itself", HIDDEN, "torch.sigmoid(opened) * opened",
               "there is no gate: one of the two is not used", ONLY_ONE),
        Mutant("wrong_sign", HIDDEN, "opened * torch.sigmoid(-opened) * passing",
               "the sigmoid falls instead of rising",
               "Towards which value does the sigmoid of a large number go?"),
        Mutant("no_inverse", HIDDEN, "opened * (1 + torch.exp(-opened)) * passing",
               "the sigmoid's fraction is upside down",
               "The sigmoid lies between 0 and 1. Does yours?"),
        Mutant("extra_factor", HIDDEN, "opened * F.silu(opened) * passing",
               "SiLU is multiplied by its input once more", SILU),
        Mutant("sigmoid_squared", HIDDEN, "torch.sigmoid(opened) * F.silu(opened) * passing",
               "there is a sigmoid too many", SILU),
        Mutant("negative_cut", HIDDEN, "F.silu(opened).clamp(min=0) * passing",
               "negative values are cut off after SiLU",
               "What is SiLU of −1?"),
        Mutant("halved", HIDDEN, HIDDEN + " / 2",
               "the product is halved", "Which factor is one too many?"),
        Mutant("normed", HIDDEN, HIDDEN + " / math.sqrt(opened.shape[-1])",
               "the product is divided by the root of the width", "Which factor is one too many?"),
        Mutant("up_as_gate_too", "x @ gate, x @ up", "x @ up, x @ up",
               "`up` is used for both, and `gate` for nothing", ONLY_ONE),
        Mutant("gate_as_up_too", "x @ gate, x @ up", "x @ gate, x @ gate",
               "`gate` is used for both, and `up` for nothing", ONLY_ONE),
    ),
    variants=("""\
def swiglu(x, gate, up, down):
    return (F.silu(x @ gate) * (x @ up)) @ down""", """\
def swiglu(x, gate, up, down):
    opened, passing = x @ gate, x @ up
    hidden = passing * opened / (1 + torch.exp(-opened))
    return hidden @ down""", """\
def swiglu(x, gate, up, down):
    both = x @ torch.cat([gate, up], dim=1)
    z, passing = both.chunk(2, dim=-1)
    return torch.einsum("...m,mc->...c", z * z.sigmoid() * passing, down)""", """\
def swiglu(x, gate, up, down):
    total = torch.zeros(*x.shape[:-1], down.shape[1])
    for m in range(gate.shape[1]):
        z = (x * gate[:, m]).sum(-1)
        hidden = z / (1 + (-z).exp()) * (x * up[:, m]).sum(-1)
        total = total + hidden[..., None] * down[m]
    return total""",
    ),
    twin=swiglu_twin,
)  # fmt: skip


# 06.5


def half_twin(rng: random.Random) -> Question:
    """Where one row of a head arrives; never the first pair, whose first row stays."""
    D, h = rng.choice([6, 8, 10, 12]), rng.randint(1, 4)
    i, second = rng.randint(1, D // 2 - 1), rng.randint(0, 1)
    row = h * D + 2 * i + second
    return Question(
        f"Heads of D = {D} rows, from neighbours (2i, 2i + 1) to halves (i, i + D/2). Rows and heads count from 0. "
        f"At which row of the result does row {row} of the matrix arrive?", h * D + i + second * D // 2,
        f"It is row {2 * i + second} of head {h}, the {'second' if second else 'first'} member of pair {i}: place "
        f"{i + second * D // 2} of that head.",
    )  # fmt: skip


def half_cases() -> list[tuple]:
    """Matrices and biases, one head and several; D = 2 and D = 4, where wrong orders are right, and a square."""
    W, V, one = normal(68, (18, 5), (24, 2), (4, 7))
    square = normal(69, (12, 12))[0]
    numbers = torch.arange(20.0)
    return [(W, 3), (numbers[:16], 2), (one, 1), (numbers[:10], 1), (V, 3), (numbers.view(4, 5), 2), (square, 2)]


ROWS = "rows = torch.cat([h * D + order for h in range(heads)])"
ORDER = ".view(D // 2, 2).T.flatten()"
INVERSE = "the rows go from halves to neighbours, the inverse of what is asked for"
INVERSE_ASK = "D = 6: which row should stand at place 1 of the result, and which stands there now?"
OFFSET = "At which row does head 1 begin when D is 6?"
ONE_HEAD = "Which rows of the result belong to head 0 when there are two heads of six rows?"
HALF_FROM_INTERLEAVED = Exercise(
    cases=half_cases,
    mutants=(
        Mutant("one_bug_left", ORDER, ".view(2, D // 2).T.flatten()", INVERSE, INVERSE_ASK),
        Mutant("other_bug_left", "h * D + order", "h + order",
               "each head begins one row after the one before it", OFFSET),
        Mutant("offset_left_out", "h * D + order", "order",
               "the first head is taken for all of them", OFFSET),
        Mutant("offset_heads", "h * D", "h * heads",
               "the start of a head is counted in heads instead of rows", OFFSET),
        Mutant("offset_half", "h * D", "h * D // 2",
               "the start of a head is counted in pairs instead of rows", OFFSET),
        Mutant("offset_factor", "h * D + order", "h * order",
               "the rows are multiplied by the head's number", OFFSET),
        Mutant("scattered", "return W[rows]", "new = torch.empty_like(W)\n    new[rows] = W\n    return new",
               INVERSE, INVERSE_ASK),
        Mutant("not_transposed", ".T.flatten()", ".flatten()",
               "the order of the rows is what it was", INVERSE_ASK),
        Mutant("wrong_view_not_transposed", ORDER, ".view(2, D // 2).flatten()",
               "the order of the rows is what it was", INVERSE_ASK),
        Mutant("across_heads", ROWS, "rows = torch.arange(len(W)).view(-1, 2).T.flatten()",
               "the first members of all heads come first, and the second members of all heads after them", ONE_HEAD),
        Mutant("across_heads_inverse", ROWS, "rows = torch.arange(len(W)).view(2, -1).T.flatten()",
               "the whole matrix is taken for one head, and its rows go from halves to neighbours", ONE_HEAD),
        Mutant("odd_first", ORDER, ".view(D // 2, 2).flip(1).T.flatten()",
               "the second members come before the first", "Which row stands at place 0 of the result, for D = 6?"),
        Mutant("pairs_swapped", ORDER, ".view(D // 2, 2).flip(1).flatten()",
               "the two members of each pair have changed places, and the pairs stayed where they were", INVERSE_ASK),
        Mutant("pairs_backwards", ORDER, ".view(D // 2, 2).flip(0).T.flatten()",
               "the pairs are in reverse order", "Which pair turns fastest, and where does it stand in the result?"),
        Mutant("second_backwards", ORDER, ".view(D // 2, 2).T.clone().flatten()[list(range(D // 2)) + "
               "list(range(D - 1, D // 2 - 1, -1))]",
               "the second members are in reverse order", "Where should the partner of row 0 stand?"),
        Mutant("half_swap", ORDER, ".roll(D // 2)",
               "the two halves of a head have changed places", INVERSE_ASK),
        Mutant("fours", "", """\
def half_from_interleaved(W, heads):
    return W.reshape(len(W) // 4, 2, 2, -1).transpose(1, 2).reshape(W.shape)""",
               "every four rows are reordered as if D were 4", INVERSE_ASK),
        Mutant("columns", "return W[rows]", "return W[:, rows]",
               "the columns are reordered", "x @ W.T: which axis of W makes the numbers of a query?"),
        Mutant("rows_and_columns", "return W[rows]", "return W[rows][..., rows] if W.ndim == 2 else W[rows]",
               "the columns are reordered as well", "Does anything change in the vectors that the matrix reads?"),
        Mutant("needs_columns", "", """\
def half_from_interleaved(W, heads):
    return W.view(heads, -1, 2, W.shape[1]).transpose(1, 2).reshape(W.shape)""",
               "W is taken to have columns, which a bias has not",
               "Which shape has a bias, and what is its `shape[1]`?"),
        Mutant("needs_columns_last", "", """\
def half_from_interleaved(W, heads):
    return W.view(heads, -1, 2, W.shape[-1]).transpose(1, 2).reshape(W.shape)""",
               "the last axis is taken for the columns, which a bias has not",
               "Which shape has a bias, and what is its `shape[-1]`?"),
        Mutant("D_from_columns", "len(W) // heads", "W.shape[-1] // heads",
               "the head size is taken from the columns", "Which axis of W has H · D entries?"),
        Mutant("D_all", "len(W) // heads", "len(W)",
               "the head size is taken to be the number of all rows", ONE_HEAD),
        Mutant("D_heads", "len(W) // heads", "heads",
               "heads and head size are taken for each other", "How many rows has a head if 18 rows make 3 heads?"),
        Mutant("first_head_only", ROWS, "rows = torch.cat([order, torch.arange(D, len(W))])",
               "only the first head is reordered", ONE_HEAD),
        Mutant("last_head_lost", "range(heads)", "range(heads - 1)",
               "the last head is lost", "Which is the last number of `range(3)`?"),
        Mutant("first_head_lost", "range(heads)", "range(1, heads)",
               "the first head is lost", "Which is the first number of `range(1, 3)`?"),
        Mutant("heads_innermost", ROWS, "rows = torch.cat([heads * order + h for h in range(heads)])",
               "row r is taken to belong to head r mod H", "Which rows make head 0 in the matrix that is given?"),
        Mutant("heads_mixed_back", ROWS, "rows = torch.stack([h * D + order for h in range(heads)], dim=1).flatten()",
               "the heads are shuffled into one another", ONE_HEAD),
        Mutant("heads_reversed", "range(heads)", "reversed(range(heads))",
               "the heads are in reverse order", "Which rows come first?"),
        Mutant("rows_returned", "return W[rows]", "return rows",
               "the numbers of the rows are returned, not the rows", "What should come back: an order, or weights?"),
        Mutant("in_place", "return W[rows]", "W[:] = W[rows]\n    return W",
               "W itself is overwritten, which belongs to the caller",
               "What does a second conversion of the same matrix give?"),
        Mutant("twice", "return W[rows]", "return W[rows][rows]",
               "the rows are reordered twice", INVERSE_ASK),
        Mutant("floats", ".flatten()", ".flatten().float()",
               "the numbers of the rows are fractions", "Of which type must an index be?"),
    ),
    variants=("""\
def half_from_interleaved(W, heads):
    return W.reshape(heads, -1, 2, *W.shape[1:]).transpose(1, 2).reshape(W.shape)""", """\
def half_from_interleaved(W, heads):
    D = len(W) // heads
    pieces = []
    for head in W.split(D):
        pieces += [head[0::2], head[1::2]]
    return torch.cat(pieces)""", """\
def half_from_interleaved(W, heads):
    D, new = len(W) // heads, torch.zeros_like(W)
    for h in range(heads):
        for i in range(D // 2):
            new[h * D + i] = W[h * D + 2 * i]
            new[h * D + i + D // 2] = W[h * D + 2 * i + 1]
    return new""", """\
def half_from_interleaved(W, heads):
    D = len(W) // heads
    to = torch.arange(D).view(2, D // 2).T.flatten()
    new = torch.empty_like(W)
    new[torch.cat([h * D + to for h in range(heads)])] = W
    return new""",
    ),
    properties=(
        Property(lambda new, W, heads: near(new.flatten().sort().values, W.flatten().sort().values),
                 "Some rows are there twice, and others are missing."),
        Property(lambda new, W, heads: near(new.view(heads, -1).sum(1), W.view(heads, -1).sum(1)),
                 "Rows have moved from one head to another."),
    ),
    twin=half_twin,
)  # fmt: skip


# 06.6


def kv_twin(rng: random.Random) -> Question:
    K, D, layers = rng.choice([1, 2, 4]), rng.choice([32, 64]), rng.randint(4, 12)
    tokens = rng.choice([500, 1000, 2000])
    return Question(
        f"A model has {layers} layers, 8 query heads and {K} key and value head{'s' * (K > 1)} of {D} numbers, each of "
        f"2 bytes. How many kilobytes (of 1,000 bytes) are the keys and values of {tokens:,} tokens?",
        2 * layers * K * D * tokens * 2 / 1000,
        f"2 vectors · {layers} layers · {K} (not the query heads) · {D} numbers · {tokens:,} tokens · 2 bytes.",
        0.01,
    )  # fmt: skip


KEPT = "min(tokens, window) if window else tokens for window in windows"
BYTES = "2 * batch * kept * kv_heads * head_size * dtype.itemsize"
WHAT_KEPT = "Which vectors of an old token does a new token still need: its query, its key, its value?"
ZERO_MEANS = "What does a window of 0 mean?"
SHORT_TEXT = "What does a layer with a window of 100 keep of a text of 30 tokens?"
EACH_LAYER = "The windows are 0 and 10, the text has 100 tokens. How many does each of the two layers keep?"
BYTES_OF = "How many bytes does one number take in the given format?"
KV_BYTES = Exercise(
    cases=lambda: [
        (1, 100, 8, 2, 16, [0], torch.float32),
        (3, 50, 12, 4, 20, [0, 10, 0, 64, 11], torch.bfloat16),
        (2, 7, 6, 6, 10, [5, 7, 8], torch.float64),
        (5, 1, 8, 1, 32, [0, 1, 3], torch.float16),
        (1, 40, 9, 3, 8, [40, 41, 39], torch.bfloat16),
        (2, 33, 15, 5, 6, [16, 16, 16, 16], torch.float32),
        (7, 30, 4, 2, 12, [0, 0], torch.float8_e4m3fn),
    ],
    mutants=(
        Mutant("query_heads", "kept * kv_heads", "kept * heads",
               "query heads are counted", WHAT_KEPT),
        Mutant("all_heads", "2 * batch * kept * kv_heads", "batch * kept * (heads + 2 * kv_heads)",
               "the queries are kept too", WHAT_KEPT),
        Mutant("three", "2 * batch", "3 * batch",
               "three vectors are kept for each key and value head", WHAT_KEPT),
        Mutant("query_and_keys", "2 * batch * kept * kv_heads", "batch * kept * (heads + kv_heads)",
               "keys have one number of heads and values another", "How many heads have values?"),
        Mutant("group_size", "kept * kv_heads", "kept * (heads // kv_heads)",
               "the size of a group is taken for the number of key and value heads",
               "8 query heads share 2 key heads. How many keys has a token in a layer?"),
        Mutant("heads_over_two", "2 * batch * kept * kv_heads", "2 * batch * kept * heads // 2",
               "half of the query heads are counted", WHAT_KEPT),
        Mutant("no_heads", "kept * kv_heads * head_size", "kept * head_size",
               "the number of heads is left out", WHAT_KEPT),
        Mutant("only_keys", "2 * batch", "batch",
               "only keys are counted, or only values", WHAT_KEPT),
        Mutant("no_batch", "2 * batch * kept", "2 * kept",
               "only one sequence is counted", "Do two sequences share their keys?"),
        Mutant("no_head_size", " * head_size", "",
               "the numbers of a key are counted as one", "How many numbers is a key?"),
        Mutant("head_size_squared", "head_size *", "head_size**2 *",
               "the head size is squared", "How many numbers is a key?"),
        Mutant("elements", " * dtype.itemsize", "",
               "numbers are counted, not bytes", BYTES_OF),
        Mutant("four_bytes", "dtype.itemsize", "4",
               "every number takes four bytes", BYTES_OF),
        Mutant("two_bytes", "dtype.itemsize", "2",
               "every number takes two bytes", BYTES_OF),
        Mutant("bits", "dtype.itemsize", "dtype.itemsize * 8",
               "bits are counted", BYTES_OF),
        Mutant("mebibytes", BYTES, BYTES + " / 2**20",
               "the result is in MiB", "In which unit is the result asked for?"),
        Mutant("no_windows", KEPT, "tokens for window in windows",
               "the windows are ignored", EACH_LAYER),
        Mutant("shared_window", "", """\
def kv_bytes(batch, tokens, heads, kv_heads, head_size, windows, dtype):
    kept = sum(min(batch * tokens, window) if window else batch * tokens for window in windows)
    return 2 * kept * kv_heads * head_size * dtype.itemsize""",
               "all sequences of the batch share one window", "Does each sequence have a window of its own?"),
        Mutant("unclipped", "min(tokens, window) if", "window if",
               "a window is kept in full, even if the text is shorter", SHORT_TEXT),
        Mutant("zero_is_zero", KEPT, "min(tokens, window) for window in windows",
               "a window of 0 keeps nothing", ZERO_MEANS),
        Mutant("sum_of_windows", KEPT, "windows",
               "the windows are added up as they are", ZERO_MEANS),
        Mutant("larger", "min(tokens", "max(tokens",
               "the larger of text and window is taken", SHORT_TEXT),
        Mutant("shorter_window", "min(tokens, window)", "min(tokens, window - 1)",
               "a window keeps one token too few", "How many tokens does a layer with a window of 1 keep?"),
        Mutant("longer_window", "min(tokens, window)", "min(tokens, window + 1)",
               "a window keeps one token too many", "How many tokens does a layer with a window of 1 keep?"),
        Mutant("first_window", KEPT, "min(tokens, windows[0] or tokens) for _ in windows",
               "all layers have the window of the first", EACH_LAYER),
        Mutant("last_window", KEPT, "min(tokens, windows[-1] or tokens) for _ in windows",
               "all layers have the window of the last", EACH_LAYER),
        Mutant("largest_window", KEPT, "min(tokens, max(windows) or tokens) for _ in windows",
               "all layers have the largest window", EACH_LAYER),
        Mutant("smallest_window", KEPT, "min(tokens, min(windows) or tokens) for _ in windows",
               "all layers have the smallest window", EACH_LAYER),
        Mutant("any_zero", KEPT, "tokens if 0 in windows else min(tokens, window) for window in windows",
               "one layer without a window makes all layers keep everything", EACH_LAYER),
        Mutant("one_layer", f"sum({KEPT})", f"max({KEPT})",
               "one layer is counted, the one that keeps most", EACH_LAYER),
        Mutant("mean_layer", f"sum({KEPT})", f"sum({KEPT}) / len(windows)",
               "the layers are averaged instead of added", EACH_LAYER),
        Mutant("layers_twice", "2 * batch", "2 * len(windows) * batch",
               "the layers are counted twice", EACH_LAYER),
        Mutant("windowed_only", KEPT, "min(tokens, window) if window else 0 for window in windows",
               "a window of 0 keeps nothing", ZERO_MEANS),
        Mutant("distinct", "window in windows", "window in set(windows)",
               "layers with the same window are counted once", EACH_LAYER),
        Mutant("squared", KEPT, f"tokens * ({KEPT.split(' for')[0]}) for window in windows",
               "attention weights are counted: something for each pair of tokens", WHAT_KEPT),
        Mutant("what_is_left", KEPT, "tokens - window if window < tokens else 0 for window in windows",
               "the tokens outside of the window are counted", EACH_LAYER),
    ),
    variants=("""\
def kv_bytes(batch, tokens, heads, kv_heads, head_size, windows, dtype):
    total = 0
    for window in windows:
        kept = tokens if window == 0 or window > tokens else window
        keys = batch * kept * kv_heads * head_size
        total += (keys + keys) * dtype.itemsize
    return total""", """\
def kv_bytes(batch, tokens, heads, kv_heads, head_size, windows, dtype):
    kept = [torch.empty(2, batch, kv_heads, min(tokens, w or tokens), head_size, dtype=dtype) for w in windows]
    return sum(t.numel() * t.element_size() for t in kept)""", """\
def kv_bytes(batch, tokens, heads, kv_heads, head_size, windows, dtype):
    w = torch.tensor(windows)
    kept = torch.where(w == 0, tokens, w).clamp(max=tokens).sum().item()
    return kept * batch * kv_heads * head_size * 2 * torch.empty(0, dtype=dtype).element_size()""", """\
def kv_bytes(batch, tokens, heads, kv_heads, head_size, windows, dtype):
    group = heads // kv_heads
    a_token = 2 * (heads // group) * head_size * dtype.itemsize
    return batch * a_token * sum(sorted([tokens, w])[0] if w > 0 else tokens for w in windows)""",
    ),
    twin=kv_twin,
)  # fmt: skip


# 06.7


def window_twin(rng: random.Random) -> Question:
    w, S = rng.randint(3, 6), rng.randint(9, 16)
    return Question(
        f"A causal mask with a window of {w} tokens, over {S} positions, as many queries as keys. How many entries of "
        "the table are True?", w * (w + 1) // 2 + (S - w) * w,
        f"The first {w} queries see 1 to {w} keys, the other {S - w} see {w} each.",
    )  # fmt: skip


WINDOW = "past & (distance < window) if window else past"
STARTS = "At which position does the first query stand when T is 2 and S is 5?"
FUTURE = "Which sign does the distance to a key in the future have, and is it smaller than the window?"
WINDOW_ONE = "A window of 1: what may a query look at?"
NO_WINDOW = "What does a window of 0 mean?"
BOOLEAN = "Which dtype says \"may look: yes or no\"?"
WINDOW_MASK = Exercise(
    cases=lambda: [(2, 5, 3), (4, 4, 2), (5, 5, 0), (3, 7, 1), (1, 6, 4), (1, 1, 1), (3, 8, 20), (6, 9, 0), (2, 9, 8),
                   (5, 8, 4), (1, 3, 0)],  # fmt: skip
    mutants=(
        Mutant("one_too_many", "distance < window", "distance <= window",
               "the window holds one token too many", WINDOW_ONE),
        Mutant("one_too_few", "distance < window", "distance < window - 1",
               "the window holds one token too few", WINDOW_ONE),
        Mutant("starts_at_0", "torch.arange(S - T, S)", "torch.arange(T)",
               "the queries stand at the beginning of the text", STARTS),
        Mutant("starts_one_late", "torch.arange(S - T, S)", "torch.arange(S - T + 1, S + 1)",
               "the queries stand one position too late", STARTS),
        Mutant("starts_one_early", "torch.arange(S - T, S)", "torch.arange(S - T - 1, S - 1)",
               "the queries stand one position too early", STARTS),
        Mutant("future_seen", "past & (distance < window)", "distance < window",
               "the window bounds the past, and nothing hides the future", FUTURE),
        Mutant("future_seen_always", WINDOW, "distance < window if window else torch.ones_like(past)",
               "nothing hides the future, with a window or without", FUTURE),
        Mutant("both_sides", "past & (distance < window)", "distance.abs() < window",
               "the window reaches to both sides", FUTURE),
        Mutant("forward", "torch.arange(S - T, S)[:, None] - torch.arange(S)",
               "torch.arange(S) - torch.arange(S - T, S)[:, None]",
               "the distance is counted from query to key, so that past and future have changed places",
               "What is the distance of the query at position 3 to the key at 1, and which sign should it have?"),
        Mutant("one_ahead", "distance >= 0", "distance >= -1",
               "each query sees the next token too", FUTURE),
        Mutant("not_itself", "distance >= 0", "distance > 0",
               "a query does not see its own position", WINDOW_ONE),
        Mutant("zero_hides", WINDOW, "past & (distance < window)",
               "a window of 0 hides everything", NO_WINDOW),
        Mutant("zero_shows", "else past", "else torch.ones_like(past)",
               "a window of 0 shows the future as well", NO_WINDOW),
        Mutant("zero_is_one", WINDOW, "past & (distance < max(window, 1))",
               "a window of 0 leaves only the query itself", NO_WINDOW),
        Mutant("no_window", WINDOW, "past",
               "the window is ignored", "How many keys should the last query see with a window of 3?"),
        Mutant("inverted", "return " + WINDOW, "return ~(" + WINDOW + ")",
               "the mask says True for hidden", "What does True mean in a mask of this course?"),
        Mutant("outside", "past & (distance < window)", "past & (distance >= window)",
               "what lies outside of the window is shown, and what lies inside is hidden", WINDOW_ONE),
        Mutant("or", "past & (", "past | (",
               "one of the two permissions is enough", FUTURE),
        Mutant("blocks", "(distance < window)",
               "(torch.arange(S - T, S)[:, None] // window == torch.arange(S) // window)",
               "the text is cut into blocks of the window's size, and a query sees its own block",
               "With a window of 3, how many keys does the query at position 3 see?"),
        Mutant("first_keys", "(distance < window)", "(torch.arange(S) < window)",
               "each query sees the first tokens of the text instead of the nearest",
               "Which keys should the last query see with a window of 2?"),
        Mutant("last_keys", "(distance < window)", "(torch.arange(S) >= S - window)",
               "all queries share the window of the last one",
               "Which keys should the first query see with a window of 2?"),
        Mutant("square_keys", "torch.arange(S - T, S)", "torch.arange(S)",
               "there is a row for every position of the text", "How many queries are there?"),
        Mutant("square_queries", "torch.arange(S - T, S)[:, None] - torch.arange(S)",
               "torch.arange(T)[:, None] - torch.arange(T)",
               "there are only as many keys as queries", "How many keys are there to look at?"),
        Mutant("last_keys_only", "torch.arange(S - T, S)[:, None] - torch.arange(S)",
               "torch.arange(S - T, S)[:, None] - torch.arange(S - T, S)",
               "there are only as many keys as queries", "How many keys are there to look at?"),
        Mutant("transposed", "return " + WINDOW, "return (" + WINDOW + ").T",
               "rows and columns have changed places", "Which of T and S counts the rows?"),
        Mutant("numbers", "return " + WINDOW, "return (" + WINDOW + ").float()",
               "the mask holds the numbers 0 and 1", BOOLEAN),
        Mutant("whole_numbers", "return " + WINDOW, "return (" + WINDOW + ").int()",
               "the mask holds the numbers 0 and 1", BOOLEAN),
        Mutant("additive", "return " + WINDOW,
               "return torch.zeros(T, S).masked_fill(~(" + WINDOW + "), -math.inf)",
               "the mask holds 0 and minus infinity, to be added to scores", BOOLEAN),
        Mutant("batch", "return " + WINDOW, "return (" + WINDOW + ")[None, None]",
               "the table has axes for batch and heads", "Which shape should the result have?"),
        Mutant("tril_without_offset", "", """\
def window_mask(T, S, window):
    mask = torch.ones(T, S, dtype=torch.bool).tril()
    return mask.triu(1 - window) if window else mask""",
               "the queries stand at the beginning of the text", STARTS),
        Mutant("triu_without_offset", "", """\
def window_mask(T, S, window):
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    return mask.triu(1 - window) if window else mask""",
               "the future begins at the right place, but the window's far end is counted from the start of the text",
               STARTS),
        Mutant("tril_only_without_offset", "", """\
def window_mask(T, S, window):
    mask = torch.ones(T, S, dtype=torch.bool).tril()
    return mask.triu(S - T + 1 - window) if window else mask""",
               "the window's far end is at the right place, but the future is counted from the start of the text",
               STARTS),
        Mutant("negative_slice", "", """\
def window_mask(T, S, window):
    mask = torch.zeros(T, S, dtype=torch.bool)
    for t in range(T):
        p = S - T + t
        mask[t, p - (window or S) + 1 : p + 1] = True
    return mask""",
               "a slice begins at a negative index, which Python counts from the end",
               "What is `row[-2:1]` of a row of six?"),
        Mutant("negative_slice_window", "", """\
def window_mask(T, S, window):
    mask = torch.zeros(T, S, dtype=torch.bool)
    for t in range(T):
        end = S - T + t + 1
        mask[t, end - window if window else 0 : end] = True
    return mask""",
               "a slice begins at a negative index, which Python counts from the end",
               "What is `row[-2:1]` of a row of six?"),
        Mutant("counting_back", "", """\
def window_mask(T, S, window):
    mask = torch.zeros(T, S, dtype=torch.bool)
    for t in range(T):
        for back in range(window or S - T + t + 1):
            mask[t, S - T + t - back] = True
    return mask""",
               "the count back goes on past the beginning of the text, where an index is negative",
               "What does `row[-1]` mean?"),
        Mutant("zero_is_T", WINDOW, "past & (distance < (window or T))",
               "a window of 0 is taken to reach as far back as there are queries", NO_WINDOW),
        Mutant("slice_end", "", """\
def window_mask(T, S, window):
    mask = torch.zeros(T, S, dtype=torch.bool)
    for t in range(T):
        p = S - T + t
        mask[t, max(0, p - (window or S) + 1) : p] = True
    return mask""",
               "a query does not see its own position", "Which is the last index in `row[2:5]`?"),
        Mutant("needs_full_window", WINDOW,
               "past & (distance < window) & (torch.arange(S - T, S)[:, None] >= window - 1)",
               "queries near the beginning, with less than a window before them, see nothing",
               "What may the query at position 0 look at with a window of 3?"),
        Mutant("window_from_T", "distance < window", "distance < min(window, T)",
               "the window is cut to the number of queries",
               "One query, six keys, a window of 4: how many keys does it see?"),
    ),
    variants=("""\
def window_mask(T, S, window):
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    return mask.triu(S - T - window + 1) if window else mask""", """\
def window_mask(T, S, window):
    rows = []
    for p in range(S - T, S):
        start = max(0, p - window + 1) if window > 0 else 0
        rows.append([start <= s <= p for s in range(S)])
    return torch.tensor(rows)""", """\
def window_mask(T, S, window):
    window = window or S
    i = torch.arange(S)
    full = (i[None, :] <= i[:, None]) & (i[None, :] > i[:, None] - window)
    return full[-T:]""", """\
def window_mask(T, S, window):
    distance = (S - T + torch.arange(T)).unsqueeze(1) - torch.arange(S).unsqueeze(0)
    limit = float("inf") if window == 0 else window
    return torch.logical_and(distance.ge(0), distance.lt(limit))""",
    ),
    properties=(
        Property(lambda mask, T, S, window: not mask.triu(S - T + 1).any(), "A query may look at a later position."),
        Property(lambda mask, T, S, window: mask.any(-1).all(),
                 "A query has no key to look at: a softmax over minus infinities only is NaN."),
        Property(lambda mask, T, S, window: not window or (mask.sum(-1) <= window).all(),
                 "A query may look at more tokens than the window holds."),
    ),
    twin=window_twin,
)  # fmt: skip


# 06.8


def grouped_twin(rng: random.Random) -> Question:
    K, G = rng.choice([2, 3, 4]), rng.choice([2, 3, 4, 5])
    h = rng.randint(1, K * G - 1)
    return Question(
        f"{K * G} query heads share {K} key and value heads, neighbours sharing one. Heads count from 0. Which key "
        f"head does query head {h} use?", h // G,
        f"A group has {K * G}/{K} = {G} neighbours; {h} // {G} is its number.",
    )  # fmt: skip


def grouped_cases() -> list[tuple]:
    """(B, H, T, D), (B, K, T, D): the group's size may equal K, K may be 1 or H."""
    sizes = ((2, 6, 2, 5, 4), (1, 4, 2, 3, 6), (3, 4, 4, 2, 5), (2, 3, 1, 4, 7), (1, 6, 3, 7, 2))
    return [tuple(normal(70 + i, (B, H, T, D), (B, K, T, D), (B, K, T, D)))
            for i, (B, H, K, T, D) in enumerate(sizes)]  # fmt: skip


Q_CUT, Q_WRONG = "q = q.reshape(B, K, H // K, T, D)", "q = q.reshape(B, H // K, K, T, D)"
KV_CUT, KV_WRONG = "k, v = k[:, :, None], v[:, :, None]", "k, v = k[:, None], v[:, None]"
JOIN = "return (weights @ v).reshape(B, H, T, D)"
JOIN_WRONG = "return (weights @ v).transpose(1, 2).reshape(B, H, T, D)"
IN_TURN = "query head h uses key head h mod K, as with `repeat`, instead of sharing it with its neighbours"
SHARE = "torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)"
GROUPS = "Six query heads, two key heads: which query heads share key head 0, and how are 0 to 5 cut into 2 groups?"
FITS = "Write down the shapes of q and k before their product. Which axis of k has size 1, and what does q have there?"
JOINED = "In which order do the heads lie in memory after the product, and which order is asked for?"
LINES = {"B": "B, H, T, D = q.shape", "K": "K = k.shape[1]", "q": Q_CUT, "Q": Q_WRONG, "v": KV_CUT, "V": KV_WRONG,
         "s": "scores = q @ k.transpose(-2, -1) / math.sqrt(D)",
        "f": "future = torch.ones(T, T, dtype=torch.bool).triu(1)",
         "w": "weights = " + SHARE, "j": JOIN, "J": JOIN_WRONG}  # fmt: skip
NO_PLACES, NO_PLACES_KV = ("q has no axis for the places within a group when it meets k",
                           "k and v have no axis for the places within a group when q meets k")  # fmt: skip
K_LATE = "K is read from k after k has got its new axis"
MISORDERED = [  # a line is a letter; ends are j or J
    ("BsKqvfw", "the scores are computed before q and k have their new axes", FITS),
    ("BsKqVfw", "the scores are computed before q and k have their new axes", FITS),
    ("BKVsqfw", NO_PLACES, FITS),
    ("BKQsvfw", NO_PLACES_KV, FITS), ("BKqsVfw", NO_PLACES_KV, FITS), ("BKQsVfw", NO_PLACES_KV, FITS),
    ("BVKqsfw", K_LATE, "Which number of (B, 1, K, T, D) does `k.shape[1]` name?"),
    ("BVKQsfw", K_LATE, "Which number of (B, 1, K, T, D) does `k.shape[1]` name?"),
]  # fmt: skip
FIRST_QUERY = "What do the weights of the first query add up to?"
GROUPED_ATTENTION = Exercise(
    cases=grouped_cases,
    mutants=(
        # The wrong twins of the shuffled lines, alone and together.
        Mutant("q_wrong", Q_CUT, Q_WRONG,
               "the axis of places within a group comes before the axis of groups", FITS),
        Mutant("kv_wrong", KV_CUT, KV_WRONG,
               "the axis of size 1 stands where q has its groups, not where it has the places within a group", FITS),
        Mutant("join_wrong", JOIN, JOIN_WRONG,
               "the heads of different groups are shuffled at the end", JOINED),
        Mutant("q_kv_wrong", Q_CUT + "\n    " + KV_CUT, Q_WRONG + "\n    " + KV_WRONG,
               IN_TURN, GROUPS),
        Mutant("repeat", "", """\
def grouped_attention(q, k, v):
    G = q.shape[1] // k.shape[1]
    return F.scaled_dot_product_attention(q, k.repeat(1, G, 1, 1), v.repeat(1, G, 1, 1), is_causal=True)""",
               IN_TURN, GROUPS),
        Mutant("all_wrong", "", """\
def grouped_attention(q, k, v):
    B, H, T, D = q.shape
    K = k.shape[1]
    q = q.reshape(B, H // K, K, T, D)
    k, v = k[:, None], v[:, None]
    scores = q @ k.transpose(-2, -1) / math.sqrt(D)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
    return (weights @ v).transpose(1, 2).reshape(B, H, T, D)""",
               "all three wrong lines were kept: key heads go round in turn, and the outputs are shuffled", GROUPS),
        Mutant("q_join_wrong", "", """\
def grouped_attention(q, k, v):
    B, H, T, D = q.shape
    K = k.shape[1]
    q = q.reshape(B, H // K, K, T, D)
    k, v = k[:, :, None], v[:, :, None]
    scores = q @ k.transpose(-2, -1) / math.sqrt(D)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
    return (weights @ v).transpose(1, 2).reshape(B, H, T, D)""",
               "q is cut the wrong way and the heads are shuffled at the end", FITS),
        Mutant("kv_join_wrong", "", """\
def grouped_attention(q, k, v):
    B, H, T, D = q.shape
    K = k.shape[1]
    q = q.reshape(B, K, H // K, T, D)
    k, v = k[:, None], v[:, None]
    scores = q @ k.transpose(-2, -1) / math.sqrt(D)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
    return (weights @ v).transpose(1, 2).reshape(B, H, T, D)""",
               "k has its axis of size 1 in the wrong place and the heads are shuffled at the end", FITS),
        # Lines in a wrong order, or left out.
        *(Mutant(f"order_{order}{end}", "", "def grouped_attention(q, k, v):\n    "
                 + "\n    ".join(LINES[letter] for letter in order + end), idea, asks)
          for order, idea, asks in MISORDERED for end in "jJ"),
        Mutant("kv_not_cut", "    " + KV_CUT + "\n", "",
               NO_PLACES_KV, FITS),
        Mutant("q_not_cut", "    " + Q_CUT + "\n", "",
               NO_PLACES, FITS),
        Mutant("K_after_kv", "    K = k.shape[1]\n    " + Q_CUT + "\n    " + KV_CUT,
               "    " + KV_CUT + "\n    K = k.shape[2]\n    " + Q_CUT,
               K_LATE, "Which axis of (B, K, 1, T, D) counts the key heads?"),
        Mutant("no_mask", "scores.masked_fill(future, -math.inf)", "scores",
               "nothing hides the future", "May the first query see the second key?"),
        Mutant("mask_after", SHARE, "torch.softmax(scores, dim=-1).masked_fill(future, 0.0)",
               "the future is hidden after the softmax", FIRST_QUERY),
        Mutant("mask_zero", "-math.inf", "0.0",
               "hidden scores are set to 0", "Which weight does a softmax give to a score of 0?"),
        Mutant("mask_added", "scores.masked_fill(future, -math.inf)", "scores + (~future)",
               "the mask is added to the scores as 0 and 1",
               "By how much does a score have to fall for its weight to become 0?"),
        Mutant("mask_itself", ".triu(1)", ".triu()",
               "a query may not see its own position", "What is left for the first query?"),
        Mutant("mask_one_ahead", ".triu(1)", ".triu(2)",
               "each query sees the next token too", "What is on the first diagonal above the main one?"),
        Mutant("mask_past", ".triu(1)", ".tril(-1)",
               "the past is hidden instead of the future", "Which side of the diagonal is the future?"),
        Mutant("no_scale", " / math.sqrt(D)", "",
               "the scores are not divided by √D",
               "How large is the dot product of two random vectors of D numbers?"),
        Mutant("no_root", "math.sqrt(D)", "D",
               "the scores are divided by D instead of its root",
               "A sum of D independent products has variance D. What is its standard deviation?"),
        Mutant("scale_group", "math.sqrt(D)", "math.sqrt(D * H // K)",
               "the scores are divided by the root of a whole group's size",
               "How many products does one score add up?"),
        Mutant("scale_T", "math.sqrt(D)", "math.sqrt(T)",
               "the scores are divided by the root of the number of tokens",
               "How many products does one score add up?"),
        Mutant("over_queries", "-math.inf), dim=-1", "-math.inf), dim=-2",
               "the softmax runs over the queries instead of the keys", FIRST_QUERY),
        Mutant("over_group", "-math.inf), dim=-1", "-math.inf), dim=2",
               "the softmax runs over the members of a group", FIRST_QUERY),
        Mutant("keys_mixed", "weights @ v", "weights @ k",
               "keys are mixed instead of values", "A query finds by keys. What does it take home?"),
        # Other ideas of what a group is.
        Mutant("first_head", "", """\
def grouped_attention(q, k, v):
    B, H, T, D = q.shape
    k, v = k[:, :1].expand(B, H, T, D), v[:, :1].expand(B, H, T, D)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)""",
               "all query heads use the first key and value head", GROUPS),
        Mutant("mean_head", "", """\
def grouped_attention(q, k, v):
    k, v = (t.mean(dim=1, keepdim=True).expand_as(q) for t in (k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)""",
               "all query heads use the mean of the key and value heads", GROUPS),
        Mutant("queries_averaged", "", """\
def grouped_attention(q, k, v):
    B, H, T, D = q.shape
    q = q.reshape(B, k.shape[1], -1, T, D).mean(dim=2)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)""",
               "the queries of a group are averaged, and the result has K heads",
               "How many heads should the result have?"),
        Mutant("first_queries", "", """\
def grouped_attention(q, k, v):
    return F.scaled_dot_product_attention(q[:, : k.shape[1]], k, v, is_causal=True)""",
               "only the first K query heads are used", "How many heads should the result have?"),
        Mutant("only_keys_grouped", "", """\
def grouped_attention(q, k, v):
    G = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(G, dim=1), v.repeat(1, G, 1, 1)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)""",
               "keys are shared by neighbours, but values go round in turn", GROUPS),
        Mutant("only_values_grouped", "", """\
def grouped_attention(q, k, v):
    G = q.shape[1] // k.shape[1]
    k, v = k.repeat(1, G, 1, 1), v.repeat_interleave(G, dim=1)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)""",
               "values are shared by neighbours, but keys go round in turn", GROUPS),
        Mutant("head_over_K", "", """\
def grouped_attention(q, k, v):
    K, heads = k.shape[1], []
    for h in range(q.shape[1]):
        heads.append(F.scaled_dot_product_attention(q[:, h], k[:, h // K], v[:, h // K], is_causal=True))
    return torch.stack(heads, dim=1)""",
               "the head's number is divided by the number of groups instead of their size", GROUPS),
        Mutant("wrong_order_of_heads", "", """\
def grouped_attention(q, k, v):
    G = q.shape[1] // k.shape[1]
    outputs = [F.scaled_dot_product_attention(q[:, i::G], k, v, is_causal=True) for i in range(G)]
    return torch.cat(outputs, dim=1)""",
               "the heads of different groups are shuffled at the end", JOINED),
        Mutant("interleaved_wrong_axis", "", """\
def grouped_attention(q, k, v):
    G = q.shape[1] // k.shape[1]
    k, v = (t.repeat_interleave(G, dim=2).reshape(q.shape) for t in (k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)""",
               "the tokens are repeated instead of the heads", FITS),
        Mutant("side_by_side", JOIN, "return (weights @ v).reshape(B, H, T, D).transpose(1, 2).reshape(B, T, H * D)",
               "the heads of a token are laid side by side, which comes later", "Which shape should the result have?"),
        Mutant("groups_kept", JOIN, "return weights @ v",
               "the axis of groups is still there", "Which shape should the result have?"),
        Mutant("weights_too", JOIN, "return (weights @ v).reshape(B, H, T, D), weights",
               "the weights are returned too", "What should come back?"),
        Mutant("weights_only", JOIN, "return weights.reshape(B, H, T, T)",
               "the weights are returned instead of what they mix", "What should come back?"),
    ),
    variants=("""\
def grouped_attention(q, k, v):
    G = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(G, dim=1), v.repeat_interleave(G, dim=1)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)""", """\
def grouped_attention(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)""", """\
def grouped_attention(q, k, v):
    H, T, K = q.shape[1], q.shape[2], k.shape[1]
    mask = torch.ones(T, T, dtype=torch.bool).tril()
    heads = []
    for h in range(H):
        g = h * K // H
        scores = q[:, h] @ k[:, g].mT / q.shape[-1] ** 0.5
        heads.append(scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v[:, g])
    return torch.stack(heads, 1)""", """\
def grouped_attention(q, k, v):
    K, T = k.shape[1], q.shape[2]
    grouped = q.unflatten(1, (K, -1))
    scores = torch.einsum("bkgtd,bksd->bkgts", grouped, k) * q.shape[-1] ** -0.5
    scores = scores + torch.full((T, T), -1e9).triu(1)
    return torch.einsum("bkgts,bksd->bkgtd", scores.softmax(-1), v).flatten(1, 2)""",
    ),
    properties=(
        Property(lambda y, q, k, v: near(y[:, :, 0], v[:, :, 0].repeat_interleave(q.shape[1] // v.shape[1], dim=1)),
                 "The first token sees only itself, so that each head should hand over the first value of its group."),
    ),
    twin=grouped_twin,
)  # fmt: skip


# 06.9


def verdict_twin(rng: random.Random) -> Question:
    a, b = rng.randint(2, 9), rng.randint(1, 4)
    differences = [-(a - b) / 100, -a / 100, -(a + b) / 100]
    return Question(
        f"Three pairs of runs differ by {differences[0]:.2f}, {differences[1]:.2f} and {differences[2]:.2f} bits per "
        "byte. The 97.5 % quantile of t with 2 degrees of freedom is 4.303. What is the half-width of the 95 % "
        "interval of the mean difference?", 4.303 * b / 100 / math.sqrt(3),
        f"The standard deviation of the three is {b / 100:.2f}; 4.303 · {b / 100:.2f} / √3.", 0.03,
    )  # fmt: skip


def verdict_cases() -> list[tuple]:
    """Better, worse, cannot tell; other orders, missing runs, one pair, no spread at all."""
    base = {0: 1.52, 1: 1.61, 2: 1.47, 3: 1.58, 4: 1.66}
    return [
        (base, {4: 1.63, 2: 1.45, 0: 1.48, 3: 1.56, 1: 1.58}),  # better, in another order
        (base, {2: 1.52, 1: 1.64, 9: 0.9, 0: 1.57}),  # worse, runs missing on both sides
        ({7: 1.5, 8: 1.9, 5: 1.7}, {5: 1.66, 7: 1.49, 8: 1.91}),  # cannot tell, although the mean is lower
        ({3: 1.5, 1: 2.5}, {1: 2.25, 2: 1.0}),  # one pair
        ({1: 1.5, 2: 1.75}, {2: 1.75, 1: 1.5}),  # no difference at all
        ({1: 1.5, 2: 1.75, 3: 2.0}, {3: 1.75, 2: 1.5, 1: 1.25}),  # better, without any spread
        ({1: 1.5, 2: 1.25}, {1: 1.75, 2: 1.5, 4: 1.0}),  # worse, without any spread
        ({0: 1.0, 1: 1.25, 2: 1.5, 3: 1.75}, {0: 1.02, 1: 1.26, 2: 1.51, 3: 1.8}),  # all four worse, and cannot tell
        ({s: 1.4 + 0.03 * s for s in range(10)}, {s: 1.4 + 0.03 * s - 0.002 * (s % 4) for s in range(9, -1, -1)}),
    ]  # fmt: skip


PAIRED = "[change[seed] - baseline[seed] for seed in baseline if seed in change]"
VARIANCE = "sum((d - mean) ** 2 for d in differences) / (n - 1)"
HALF_WIDTH = "T975[n - 1] * math.sqrt(variance / n)"
PAIRS = "Which two numbers belong together: those at the same place, or those of the same seed?"
SAME_SPREAD = "The seeds differ by more than any change does, in both arms alike. What does a difference see of that?"
SPREAD = "The example in the statement has s = 0.25 and n = 3. Which half-width do you get?"
LOWER = "Bits per byte fall. Is that better or worse, and which sign has change minus baseline?"
LONE = "What is the spread of one number?"
ZERO_IN = "Zero lies in the interval. Can you tell which of the two is better?"
UNPAIRED = """\
def verdict(baseline, change):
    {common}
    n = len(b)
    mb, mc = sum(b) / n, sum(c) / len(c)
    mean = mc - mb
    if n < 2 or len(c) < 2:
        return "cannot tell", mean, math.inf
    vb, vc = sum((x - mb) ** 2 for x in b) / (n - 1), sum((x - mc) ** 2 for x in c) / (len(c) - 1)
    half = {half}
    if abs(mean) <= half:
        return "cannot tell", mean, half
    return "better" if mean < 0 else "worse", mean, half"""
COMMON = ("seeds = [s for s in baseline if s in change]\n"
          "    b, c = [baseline[s] for s in seeds], [change[s] for s in seeds]")  # fmt: skip
VERDICT = Exercise(
    cases=verdict_cases,
    tolerance=1e-6,
    mutants=(
        Mutant("by_place", PAIRED, "[c - b for b, c in zip(baseline.values(), change.values())]",
               "the runs are paired by their place, not by their seed", PAIRS),
        Mutant("by_place_common", PAIRED, "[c - b for b, c in zip([baseline[s] for s in baseline if s in change], "
               "[change[s] for s in change if s in baseline])]",
               "the runs that both have are paired by their place in the dictionaries", PAIRS),
        Mutant("mean_of_all", "", """\
def verdict(baseline, change):
    differences = [change[seed] - baseline[seed] for seed in baseline if seed in change]
    mean, n = sum(change.values()) / len(change) - sum(baseline.values()) / len(baseline), len(differences)
    if n < 2:
        return "cannot tell", mean, math.inf
    middle = sum(differences) / n
    half = T975[n - 1] * math.sqrt(sum((d - middle) ** 2 for d in differences) / (n - 1) / n)
    return "cannot tell" if abs(mean) <= half else "better" if mean < 0 else "worse", mean, half""",
               "the mean is taken over all runs, also those that have no partner",
               "A seed is missing on one side. Which mean does it still enter?"),
        Mutant("sorted_values", PAIRED, "[c - b for b, c in zip(sorted(baseline.values()), sorted(change.values()))]",
               "the runs are paired by their rank: best with best", PAIRS),
        Mutant("sorted_seeds", PAIRED, "[change[c] - baseline[b] for b, c in zip(sorted(baseline), sorted(change))]",
               "both lists are sorted by seed and paired by place, although runs are missing", PAIRS),
        Mutant("all_seeds", PAIRED, "[change[seed] - baseline[seed] for seed in baseline]",
               "every seed of the baseline is looked up, although some are missing on the other side",
               "What should happen to a seed that only one of the two has?"),
        Mutant("missing_is_zero", PAIRED, "[change.get(seed, 0) - baseline[seed] for seed in baseline]",
               "a missing run counts as one of zero bits per byte",
               "What should happen to a seed that only one of the two has?"),
        Mutant("missing_is_even", PAIRED, "[change.get(seed, baseline[seed]) - baseline[seed] for seed in baseline]",
               "a missing run counts as one without a difference",
               "What should happen to a seed that only one of the two has?"),
        Mutant("unpaired", "", UNPAIRED.format(common=COMMON, half="T975[n - 1] * math.sqrt(vb / n + vc / n)"),
               "the spread of the runs is used, instead of the spread of their differences",
               SAME_SPREAD),
        Mutant("unpaired_all", "", UNPAIRED.format(
               common="b, c = list(baseline.values()), list(change.values())",
               half="T975[min(n, len(c)) - 1] * math.sqrt(vb / n + vc / len(c))"),
               "all runs are averaged on each side, and seeds play no role", PAIRS),
        Mutant("unpaired_df", "", UNPAIRED.format(
               common=COMMON, half="T975[min(9, 2 * n - 2)] * math.sqrt(vb / n + vc / n)"),
               "the spread of the runs is used, as in a test of two separate groups",
               SAME_SPREAD),
        Mutant("baseline_minus_change", "change[seed] - baseline[seed]", "baseline[seed] - change[seed]",
               "the difference is baseline minus change, so that both sign and word turn round", LOWER),
        Mutant("mean_turned", '"better" if mean < 0 else "worse", mean', '"better" if mean < 0 else "worse", -mean',
               "the mean that is returned has the other sign", LOWER),
        Mutant("baseline_minus_change_right_word", "", """\
def verdict(baseline, change):
    d = [baseline[s] - change[s] for s in baseline if s in change]
    n = len(d)
    mean = sum(d) / n
    if n == 1:
        return "cannot tell", mean, math.inf
    half = T975[n - 1] * math.sqrt(sum((x - mean) ** 2 for x in d) / (n - 1) / n)
    if abs(mean) <= half:
        return "cannot tell", mean, half
    return "better" if mean > 0 else "worse", mean, half""",
               "the mean is baseline minus change", LOWER),
        Mutant("higher_is_better", "mean < 0", "mean > 0",
               "more bits per byte count as better", LOWER),
        Mutant("normal", "T975[n - 1]", "1.96",
               "1.96 is used, as if there were many pairs", SPREAD),
        Mutant("two", "T975[n - 1]", "2",
               "two standard errors are taken, as if there were many pairs", SPREAD),
        Mutant("no_t", "T975[n - 1] * ", "",
               "the half-width is one standard error", SPREAD),
        Mutant("df_n", "T975[n - 1]", "T975.get(n, 2.228)",
               "t has n degrees of freedom", SPREAD),
        Mutant("df_n_2", "T975[n - 1]", "T975[max(1, n - 2)]",
               "t has n − 2 degrees of freedom", SPREAD),
        Mutant("df_3", "T975[n - 1]", "T975[2]",
               "t is that of three pairs, however many there are", "What does the table give for five pairs?"),
        Mutant("population", "(n - 1)\n", "n\n",
               "the variance is divided by n instead of n − 1", SPREAD),
        Mutant("no_root_n", "math.sqrt(variance / n)", "math.sqrt(variance)",
               "the spread of one difference is taken for the spread of their mean", SPREAD),
        Mutant("divided_by_n", "math.sqrt(variance / n)", "math.sqrt(variance) / n",
               "the spread is divided by n instead of its root", SPREAD),
        Mutant("root_n_less_one", "math.sqrt(variance / n)", "math.sqrt(variance / (n - 1))",
               "the spread is divided by the root of n − 1", SPREAD),
        Mutant("variance", "math.sqrt(variance / n)", "variance / n",
               "the root is missing", SPREAD),
        Mutant("multiplied", "math.sqrt(variance / n)", "math.sqrt(variance * n)",
               "the spread is multiplied by the root of n", "Should more seeds make you more sure, or less?"),
        Mutant("full_width", HALF_WIDTH, "2 * " + HALF_WIDTH,
               "the whole width of the interval is returned", SPREAD),
        Mutant("half_of_half", HALF_WIDTH, HALF_WIDTH + " / 2",
               "the half-width is halved again", SPREAD),
        Mutant("around_zero", "(d - mean) ** 2", "d**2",
               "the spread is measured around zero instead of the mean",
               "All differences are equal. How large is their spread?"),
        Mutant("absolute", PAIRED, "[abs(change[seed] - baseline[seed]) for seed in baseline if seed in change]",
               "the differences have lost their signs",
               "One seed is better by 0.1 and another is worse by 0.1. What is the mean difference?"),
        Mutant("relative", PAIRED, "[change[seed] / baseline[seed] - 1 for seed in baseline if seed in change]",
               "the differences are shares of the baseline", "In which unit should the mean be?"),
        Mutant("median", "sum(differences) / n, math.inf", "sorted(differences)[n // 2], math.inf",
               "the median stands in the place of the mean", "What is the mean of −3, 0 and 0?"),
        Mutant("range", VARIANCE, "((max(differences) - min(differences)) / 2) ** 2",
               "half of the range stands in the place of the standard deviation", SPREAD),
        Mutant("always_a_word", "abs(mean) <= half", "n == 1",
               "the sign of the mean decides, however wide the interval is", ZERO_IN),
        Mutant("all_agree", "abs(mean) <= half",
               "not (all(d < 0 for d in differences) or all(d > 0 for d in differences))",
               "it is enough that all pairs agree", ZERO_IN),
        Mutant("most_agree", "abs(mean) <= half", "n == 1 or mean == 0 or 2 * sum(d < 0 for d in differences) == n",
               "the sign of the mean decides, however wide the interval is", ZERO_IN),
        Mutant("strict", "abs(mean) <= half", "abs(mean) < half",
               "an end of the interval at zero counts as outside",
               "Two arms are equal to the last digit. What should the word be?"),
        Mutant("one_sided", "abs(mean) <= half", "mean >= -half",
               "a change for the worse is never noticed", "What is the word for a mean of 0.5 ± 0.1?"),
        Mutant("no_abs", "abs(mean) <= half", "mean <= half",
               "an improvement is never noticed", "What is the word for a mean of −0.5 ± 0.1?"),
        Mutant("by_deviation", "abs(mean) <= half", "n == 1 or abs(mean) <= math.sqrt(variance)",
               "the mean is compared with the standard deviation instead of the half-width", ZERO_IN),
        Mutant("fixed_bar", "abs(mean) <= half", "n == 1 or abs(mean) <= 0.01",
               "a fixed threshold decides", ZERO_IN),
        Mutant("inverted", "abs(mean) <= half", "abs(mean) > half",
               "the word is given exactly where one cannot tell", ZERO_IN),
        Mutant("lone_word", "abs(mean) <= half", "n > 1 and abs(mean) <= half",
               "one pair is enough for a word", LONE),
        Mutant("two_are_few", "if n > 1:", "if n > 2:",
               "two pairs are taken to have no spread", "How many degrees of freedom do two differences have?"),
        Mutant("seeds_from_0", "for seed in baseline if", "for seed in range(len(baseline)) if seed in baseline and",
               "the seeds are taken to be 0, 1, 2, …", "What are the keys of the dictionaries?"),
        Mutant("deleted", PAIRED, "[]\n    for seed in list(change):\n        if seed not in baseline:\n            "
               "del change[seed]\n    differences = [change[seed] - baseline[seed] for seed in change]",
               "runs are deleted from a dictionary that belongs to the caller",
               "What does a second call with the same dictionaries see?"),
        Mutant("no_spread_no_word", "abs(mean) <= half", "half == 0 or abs(mean) <= half",
               "differences without any spread are taken to say nothing",
               "Every pair differs by exactly −0.25. Is that better?"),
        Mutant("no_spread_inf", "if n > 1:", "if len(set(differences)) > 1:",
               "differences without any spread are taken to say nothing",
               "Every pair differs by exactly −0.25. Is that better?"),
        Mutant("lone_zero", "sum(differences) / n, math.inf", "sum(differences) / n, 0.0",
               "one pair is taken to have no uncertainty", LONE),
        Mutant("lone_nan", "sum(differences) / n, math.inf", "sum(differences) / n, math.nan",
               "the half-width of one pair is NaN, and no comparison with NaN holds", LONE),
        Mutant("lone_error", "if n > 1:", "if True:",
               "the spread of one pair is computed like any other", LONE),
        Mutant("lone_none", "    n = len(differences)", "    n = len(differences)\n    if n == 1:\n        return "
               '"cannot tell", differences[0], None',
               "the half-width of one pair is None", "How wide is an interval that excludes nothing?"),
        Mutant("no_effect", '"cannot tell"', '"same"',
               "an interval that holds zero is read as \"no effect\"",
               "The interval is −0.01 ± 0.5. Has the change no effect?"),
        Mutant("half_first", 'else "worse", mean, half', 'else "worse", half, mean',
               "mean and half-width come in the wrong order", "Which of the two comes second?"),
        Mutant("interval", 'else "worse", mean, half', 'else "worse", mean - half, mean + half',
               "the ends of the interval are returned", "What should the second and third value be?"),
        Mutant("only_word", 'return "better" if mean < 0 else "worse", mean, half',
               'return "better" if mean < 0 else "worse"',
               "only the word is returned", "How many things should come back?"),
    ),
    variants=("""\
def verdict(baseline, change):
    import statistics

    seeds = sorted(set(baseline) & set(change))
    d = [change[s] - baseline[s] for s in seeds]
    mean = statistics.fmean(d)
    half = T975[len(d) - 1] * statistics.stdev(d) / len(d) ** 0.5 if len(d) > 1 else float("inf")
    if mean + half < 0:
        return ("better", mean, half)
    if mean - half > 0:
        return ("worse", mean, half)
    return ("cannot tell", mean, half)""", """\
def verdict(baseline, change):
    d = torch.tensor([change[s] - baseline[s] for s in change if s in baseline], dtype=torch.float64)
    mean = d.mean().item()
    half = math.inf
    if len(d) > 1:
        half = T975[len(d) - 1] * d.std().item() / math.sqrt(len(d))
    word = "cannot tell"
    if abs(mean) > half:
        word = "worse" if mean > 0 else "better"
    return word, mean, half""", """\
def verdict(baseline, change):
    n = total = squares = 0
    seeds = [s for s in baseline if s in change]
    for s in seeds:
        n += 1
        total += change[s] - baseline[s]
    mean = total / n
    for s in seeds:
        squares += (change[s] - baseline[s] - mean) * (change[s] - baseline[s] - mean)
    if n == 1:
        return ["cannot tell", mean, float("inf")]
    half = T975[n - 1] * (squares / (n * (n - 1))) ** 0.5
    return [("cannot tell" if mean - half <= 0 <= mean + half else "better" if mean < 0 else "worse"), mean, half]""",
    ),
    properties=(
        Property(lambda y, baseline, change: y[2] >= 0, "A half-width is negative, or is not a number."),
        Property(lambda y, baseline, change: (y[0] == "cannot tell") == (abs(y[1]) <= y[2]),
                 "The word does not fit the interval that comes with it."),
    ),
    twin=verdict_twin,
)  # fmt: skip


# 06.10


def stretched_twin(rng: random.Random) -> Question:
    """A stretch that is needed, capped, or 1."""
    trained = rng.choice([100, 200, 400])
    factor, length = rng.choice([2.0, 4.0, 8.0]), trained * rng.choice([1, 2, 3, 6, 10]) // 2
    stretch = min(max(length / trained, 1.0), factor)
    return Question(
        f"A model was trained on {trained} tokens and may be stretched by up to {factor:g}. A text has {length} "
        "tokens. A pair that makes less than one turn over the trained length: by what is its speed divided?", stretch,
        f"Needed is {length}/{trained}, but not less than 1 and not more than {factor:g}.", 0.01,
    )  # fmt: skip


def stretched_cases() -> list[tuple]:
    """Needed and capped, a text that fits, out of order, long training so that pairs stay, one pair, one token more."""
    return [
        (torch.tensor([100, 511]), 4, 10000.0, 8.0, 128),
        (torch.tensor([0, 5, 127]), 6, 10000.0, 4.0, 128),
        (torch.tensor([3000, 10, 700, 0, 55]), 16, 10000.0, 2.0, 512),
        (torch.tensor([900, 4300, 120]), 10, 500000.0, 16.0, 4096),
        (torch.tensor([40]), 2, 100.0, 3.0, 16),
        (torch.tensor([1, 128]), 12, 1000.0, 5.0, 128),
        (torch.tensor([3]), 8, 10.0, 2.0, 300),
        (torch.arange(58, 28, -2), 6, 50.0, 4.0, 10),
    ]


TURNS = "trained * speeds / (2 * math.pi)"
STAYS = "((turns - 1) / (32 - 1)).clamp(0, 1)"
NEEDED = "(positions.max().item() + 1) / trained"
STRETCH = "min(max(needed, 1), factor)"
BLEND = "(stays * speeds + (1 - stays) * speeds / stretch)"
COUNT_TURNS = "Speed 0.1, trained on 128 tokens: how many whole turns of 2π does the pair make?"
RAMP = "Which share stays at 1 turn, at 16.5 turns, at 32 turns, and at 40?"
FOR_TEXT = "Trained on 100 tokens, a factor of 4: which stretch do texts of 50, 200 and 1,000 tokens need?"
WHICH_STAYS = "A pair that made 500 turns in training, and one that made half a turn: which of them is slowed down?"
STRETCHED_ANGLES = Exercise(
    cases=stretched_cases,
    tolerance=2e-5,
    mutants=(
        Mutant("plain", BLEND, "speeds",
               "nothing is stretched", "What becomes of a pair that makes half a turn over the trained text?"),
        Mutant("all_slowed", BLEND, "speeds / stretch",
               "all pairs are slowed down, as in plain interpolation", WHICH_STAYS),
        Mutant("all_slowed_by_factor", BLEND, "speeds / factor",
               "all pairs are slowed down by the whole factor, as in plain interpolation", WHICH_STAYS),
        Mutant("always_factor", STRETCH, "factor",
               "every text is stretched by the whole factor", FOR_TEXT),
        Mutant("no_cap", STRETCH, "max(needed, 1)",
               "the stretch has no upper bound", FOR_TEXT),
        Mutant("below_one", STRETCH, "min(needed, factor)",
               "a short text is squeezed: the stretch falls below 1", FOR_TEXT),
        Mutant("as_needed", STRETCH, "needed",
               "the stretch has neither a lower nor an upper bound", FOR_TEXT),
        Mutant("all_or_nothing", STRETCH, "factor if needed > 1 else 1",
               "a text that is too long is stretched by the whole factor at once", FOR_TEXT),
        Mutant("bounds_swapped", STRETCH, "max(min(needed, 1), factor)",
               "every text is stretched by the whole factor", FOR_TEXT),
        Mutant("times_factor", STRETCH, "max(needed, 1) * factor",
               "what is needed is multiplied by the factor", FOR_TEXT),
        Mutant("whole_stretch", STRETCH, "min(max(math.ceil(needed), 1), factor)",
               "the stretch is rounded up to a whole number", FOR_TEXT),
        Mutant("floor_stretch", "+ 1) / trained", "+ 1) // trained",
               "the stretch is rounded down to a whole number", FOR_TEXT),
        Mutant("length_off", NEEDED, "positions.max().item() / trained",
               "the text is taken to be as long as its largest position",
               "How many tokens has a text whose last is at 127?"),
        Mutant("count", NEEDED, "len(positions) / trained",
               "the positions are counted, instead of looking for the largest",
               "One token at position 9,000: how long is its text?"),
        Mutant("last_position", NEEDED, "(positions[-1].item() + 1) / trained",
               "the last position is taken for the largest", "In which order may the positions come?"),
        Mutant("span", NEEDED, "(positions.max().item() - positions.min().item() + 1) / trained",
               "the length is measured from the smallest position given",
               "One token at position 9,000: how long is its text?"),
        Mutant("needed_upside_down", NEEDED, "trained / (positions.max().item() + 1)",
               "trained and needed length have changed places", FOR_TEXT),
        Mutant("own_stretch", BLEND, "(stays * speeds + (1 - stays) * speeds / ((positions[:, None] + 1) / trained)"
               ".clamp(1, factor))",
               "every position has a stretch of its own",
               "Two tokens are 5 apart. Does the angle between them depend on where they stand?"),
        Mutant("stretch_multiplies", "speeds / stretch", "speeds * stretch",
               "the pairs are sped up instead of slowed down",
               "Should the angle at position 511 become larger or smaller?"),
        Mutant("shares_swapped", BLEND, "((1 - stays) * speeds + stays * speeds / stretch)",
               "the fast pairs are slowed down and the slow ones stay", WHICH_STAYS),
        Mutant("shares_missing", BLEND, "(stays * speeds + speeds / stretch)",
               "the two shares do not add up to one", "A text that fits: what should become of the speeds?"),
        Mutant("only_staying", BLEND, "(stays * speeds)",
               "what does not stay is lost", "What becomes of a pair with a share of zero?"),
        Mutant("periods", BLEND, "speeds / (stays + (1 - stays) * stretch)",
               "the periods are mixed instead of the speeds",
               "Half of speed 1 and half of speed 1/4: what is the new speed?"),
        Mutant("geometric", BLEND, "speeds * stretch ** (stays - 1)",
               "the two speeds are mixed by their logarithms",
               "Half of speed 1 and half of speed 1/4: what is the new speed?"),
        Mutant("no_two_pi", " / (2 * math.pi)", "",
               "radians are counted, not turns", COUNT_TURNS),
        Mutant("half_turns", "(2 * math.pi)", "math.pi",
               "half turns are counted", COUNT_TURNS),
        Mutant("times_two_pi", "/ (2 * math.pi)", "* (2 * math.pi)",
               "2π multiplies instead of dividing", COUNT_TURNS),
        Mutant("degrees", "(2 * math.pi)", "360",
               "turns are counted as if the speed were in degrees", COUNT_TURNS),
        Mutant("turns_of_text", TURNS, "(positions.max().item() + 1) * speeds / (2 * math.pi)",
               "the turns are counted over the text that is read, instead of the one trained on",
               "What has the model seen in training?"),
        Mutant("turns_of_full_length", TURNS, "trained * factor * speeds / (2 * math.pi)",
               "the turns are counted over the longest text, instead of the one trained on",
               "What has the model seen in training?"),
        Mutant("turns_slowed", STAYS, "((turns / factor - 1) / (32 - 1)).clamp(0, 1)",
               "the turns are counted with the slowed speeds", "What has the model seen in training?"),
        Mutant("wavelength", TURNS, "2 * math.pi / (trained * speeds)",
               "the fraction of turns is upside down", COUNT_TURNS),
        Mutant("no_clamp", ".clamp(0, 1)", "",
               "the ramp goes on outside of its ends", RAMP),
        Mutant("no_upper", ".clamp(0, 1)", ".clamp(min=0)",
               "the ramp goes on above 32 turns", RAMP),
        Mutant("no_lower", ".clamp(0, 1)", ".clamp(max=1)",
               "the ramp goes on below one turn", RAMP),
        Mutant("ramp_from_0", "(turns - 1) / (32 - 1)", "turns / 32",
               "the ramp begins at zero turns", RAMP),
        Mutant("ramp_jumps", STAYS, "torch.where(turns <= 1, 0.0, (turns / 32).clamp(max=1))",
               "the share jumps at one turn: the ramp is r/32, which is not 0 there", RAMP),
        Mutant("ramp_32", "(32 - 1)", "32",
               "the ramp is 32 turns long, and ends at 33", RAMP),
        Mutant("ramp_31", "(32 - 1)", "(31 - 1)",
               "the ramp ends at 31 turns", RAMP),
        Mutant("ramp_down", "(turns - 1) / (32 - 1)", "(32 - turns) / (32 - 1)",
               "the fast pairs are slowed down and the slow ones stay", WHICH_STAYS),
        Mutant("step_at_1", STAYS, "(turns > 1).float()",
               "there is no ramp: a pair stays as soon as it turns once", RAMP),
        Mutant("step_at_32", STAYS, "(turns >= 32).float()",
               "there is no ramp: a pair is slowed down unless it turns 32 times", RAMP),
        Mutant("log_ramp", STAYS, "(turns.log() / math.log(32)).clamp(0, 1)",
               "the ramp is straight in the logarithm of the turns", RAMP),
        Mutant("smooth_ramp", STAYS, "(3 * " + STAYS + " ** 2 - 2 * " + STAYS + " ** 3)",
               "the ramp is bent", RAMP),
        Mutant("pair_ramp", STAYS, "1 - torch.linspace(0, 1, D // 2)",
               "the ramp runs along the numbers of the pairs", RAMP),
        Mutant("period_ramp", STAYS, "((1 / turns - 1) / (1 / 32 - 1)).clamp(0, 1)",
               "the ramp is straight in the periods, not in the turns", RAMP),
        Mutant("whole_turns", STAYS, "((turns.floor() - 1) / (32 - 1)).clamp(0, 1)",
               "only whole turns are counted", RAMP),
        Mutant("over_the_cap", STRETCH, "needed if 1 < needed < factor else 1",
               "a text beyond the cap is not stretched at all", FOR_TEXT),
        Mutant("new_base", BLEND, "(base * stretch ** (D / max(D - 2, 1))) ** (-torch.arange(0, D, 2) / D)",
               "a larger base is used for all pairs instead of a share for each", WHICH_STAYS),
        Mutant("exponent", "torch.arange(0, D, 2) / D", "torch.arange(D // 2) / D",
               "the exponent is i/D instead of 2i/D", "D = 4: what are the two exponents?"),
        Mutant("whole_vector", "return positions[:, None] * " + BLEND,
               "angles = positions[:, None] * " + BLEND + "\n    return torch.cat([angles, angles], dim=-1)",
               "every angle is there twice, once for each member of a pair", "Which shape should the result have?"),
        Mutant("no_positions", "positions[:, None] * " + BLEND, BLEND,
               "the speeds are returned, not the angles", "Which shape should the result have?"),
        Mutant("transposed", "return positions[:, None] * " + BLEND, "return (positions[:, None] * " + BLEND + ").T",
               "the axes have changed places", "Which shape should the result have?"),
        Mutant("counted_positions", "positions[:, None] *", "torch.arange(len(positions))[:, None] *",
               "the tokens are counted instead of using their positions",
               "What is the angle of pair 0 at position 100?"),
        Mutant("cosines", "return positions[:, None] * " + BLEND, "return (positions[:, None] * " + BLEND + ").cos()",
               "cosines are returned", "What should come back: angles, or what is made of them?"),
        Mutant("modulo", "return positions[:, None] * " + BLEND,
               "return (positions[:, None] * " + BLEND + ") % (2 * math.pi)",
               "whole turns are taken off the angles", "What is 0.719 times 511?"),
        Mutant("clipped", "positions[:, None] *", "positions.clamp(max=trained - 1)[:, None] *",
               "positions beyond the trained length are all taken for its last",
               "Can two far tokens still be told apart?"),
        Mutant("positions_divided", "return positions[:, None] * " + BLEND,
               "return positions[:, None] / stretch * " + BLEND,
               "the positions are divided by the stretch as well", "How often is a slow pair slowed down?"),
    ),
    variants=("""\
def stretched_angles(positions, D, base, factor, trained):
    length = max(positions.tolist()) + 1
    g = 1.0 if length <= trained else min(length / trained, factor)
    rows = []
    for p in positions.tolist():
        row = []
        for i in range(D // 2):
            f = base ** (-2 * i / D)
            r = trained * f / (2 * math.pi)
            s = 0.0 if r <= 1 else 1.0 if r >= 32 else (r - 1) / 31
            row.append(p * (s * f + (1 - s) * f / g))
        rows.append(row)
    return torch.tensor(rows)""", """\
def stretched_angles(positions, D, base, factor, trained):
    f = 1 / base ** (torch.arange(D // 2) * 2 / D)
    wavelengths = 2 * math.pi / f
    s = torch.clamp((trained / wavelengths - 1) / 31, 0, 1)
    g = ((positions.max() + 1) / trained).clamp(1, factor)
    return torch.outer(positions.float(), torch.lerp(f / g, f, s))""", """\
def stretched_angles(positions, D, base, factor, trained):
    f = torch.exp(torch.arange(0, D, 2, dtype=torch.float64) * (-math.log(base) / D))
    r = trained * f / math.tau
    s = torch.where(r <= 1, 0.0, torch.where(r >= 32, 1.0, (r - 1) / 31))
    g = max(1.0, min(float(factor), (int(positions.max()) + 1) / trained))
    return torch.einsum("t,i->ti", positions.double(), f * (s + (1 - s) / g)).float()""",
    ),
    properties=(
        Property(lambda y, positions, D, base, factor, trained: positions.max() >= trained
                 or near(y[positions > 0] / positions[positions > 0, None], y[positions > 0][:, :1]
                         / positions[positions > 0, None] * base ** (-torch.arange(0, D, 2) / D)),
                 "A text that fits the trained length is not read as it always was."),
    ),
    twin=stretched_twin,
)  # fmt: skip


EXERCISES = {
    "same_score": SAME_SCORE,
    "rms_norm": RMS_NORM,
    "rope": ROPE,
    "swiglu": SWIGLU,
    "half_from_interleaved": HALF_FROM_INTERLEAVED,
    "kv_bytes": KV_BYTES,
    "window_mask": WINDOW_MASK,
    "grouped_attention": GROUPED_ATTENTION,
    "verdict": VERDICT,
    "stretched_angles": STRETCHED_ANGLES,
}


def same_distance(rng: random.Random) -> Question:
    n, far, shift = rng.randint(0, 9), rng.randint(1, 9), rng.randint(20, 200)
    m = n + far
    return Question(
        f"With rotary positions, a query at {m} gives a key at {n} the score 1.5. The same query vector stands at "
        f"{m + shift}. At which position must the same key vector stand for the same score?", n + shift,
        f"The score depends on the distance, {far}: {m + shift} − {far}.",
    )  # fmt: skip


def gated_width(rng: random.Random) -> Question:
    width = 96 * rng.randint(2, 40)
    return Question(
        f"An MLP with two matrices has a width of {width:,}. Which width gives a gated MLP, with three matrices, the "
        "same number of parameters?", width * 2 // 3,
        f"Two thirds of {width:,}: three narrower matrices instead of two.",
    )  # fmt: skip


def shared_heads(rng: random.Random) -> Question:
    K = rng.randint(1, 8)
    H = K * rng.randint(2, 8)
    return Question(
        f"{H} query heads share {K} key and value head{'s' * (K > 1)}. By what factor is what generation must keep "
        "smaller than with one key and value head for each query head?", H // K,
        f"Kept are keys and values only: {H} / {K}.",
    )  # fmt: skip


def reach(rng: random.Random) -> Question:
    layers, window = rng.randint(2, 8), rng.randint(3, 12)
    return Question(
        f"{layers} layers, each with a sliding window of {window} tokens. How many tokens, its own included, can the "
        "last output depend on?", layers * (window - 1) + 1,
        f"Each layer reaches {window - 1} further back: {layers} · {window - 1} + 1.",
    )  # fmt: skip


def interpolated(rng: random.Random) -> Question:
    factor = rng.choice([2, 4, 8])
    p = factor * rng.randint(20, 120)
    return Question(
        f"Position interpolation by a factor of {factor}: at which position of the trained model do the angles of "
        f"position {p} occur?", p / factor,
        f"All angles are divided by {factor}, as if the token stood at {p} / {factor}.", 0.001,
    )  # fmt: skip


def capped(rng: random.Random) -> Question:
    cap, times = rng.choice([10, 15, 30, 50]), rng.choice([0.5, 1.0, 2.0, 10.0])
    return Question(
        f"A soft-cap of {cap}: {cap} · tanh(logit / {cap}). What becomes of a logit of {cap * times:g}?",
        cap * math.tanh(times), f"tanh({times:g}) is {math.tanh(times):.3f}, times {cap}; it never exceeds {cap}.",
        0.02,
    )  # fmt: skip


def without_mean(rng: random.Random) -> Question:
    a = rng.randint(2, 99)
    return Question(
        f"All numbers of a vector are {a}. What is each of them after RMSNorm, with gains of 1 and a tiny eps?", 1.0,
        f"The mean square is {a * a}, its root {a}. LayerNorm would give 0: it subtracts the mean.", 0.01,
    )  # fmt: skip


RECALL = (same_distance, gated_width, shared_heads, reach, interpolated, capped, without_mean)
PREDICTIONS = {
    "06.p1": Prediction(
        "Which single change buys most at equal compute here? (Write the name of an arm.)",
        None,
        "The record trained all arms on the same data with the same number of operations, three seeds each. A ranking "
        "from papers with larger models need not hold at this size, and arms whose intervals overlap are not ranked.",
    ),
    "06.p2": Prediction(
        "A query stands at position 7 and a key at 3. The same two vectors stand at 107 and 103. By what factor does "
        "their score after the rotation change?",
        lambda: 1.0,
        "The rotations leave one turn by the distance between the two, and the distance is 4 both times.",
    ),
    "06.p3": Prediction(
        "A GELU MLP has two matrices and a width of 1,536. SwiGLU has three. Which width gives it as many parameters?",
        lambda: 1024.0,
        "Three matrices of two thirds of the width hold what two of the whole width hold: 1,536 · 2 / 3.",
    ),
    "06.p4": Prediction(
        "8 query heads share 2 key and value heads. By what factor do the keys and values that generation must keep "
        "shrink?",
        lambda: 4.0,
        "Only keys and values are kept, and there are 2 heads of them instead of 8: 8 / 2.",
    ),
    "06.p5": Prediction(
        "Exhibit 14 of the museum: a held-out loss of 0.15 nats a byte. Is it the rate, mask, data or norm?",
        lambda: "mask",
        "Each position may look at the one after it, so that the answer is in the input.",
    ),
}
