"""Lesson 05, gpt: cases, and the wrong ideas that people have about it.

Sizes are pairwise distinct wherever an exercise allows it: with T = C or V = T half of these mistakes cannot be seen.
"""
import math
import random

import torch
import torch.nn.functional as F

from . import Exercise, Mutant, Prediction, Property, Question, normal


# 05.1


def stream_twin(rng: random.Random) -> Question:
    blocks, parts = rng.randint(6, 40), rng.choice([2, 3, 4, 5])
    return Question(
        f"A stream starts with variance 1. {blocks} blocks each add independent numbers of variance 1, "
        f"divided by {parts}. What is its variance at the end?", 1 + blocks / parts**2,
        f"Numbers divided by {parts} have a variance {parts**2} times smaller: 1 + {blocks} / {parts**2}.", 0.01,
    )  # fmt: skip


ADD = "total += scale**2 * variance"
STREAM_LOOP = "    for variance in variances:\n        total += scale**2 * variance\n        after.append(total)\n"
SQUARED = "Numbers are halved. By how much do their squares shrink, and of what is a variance the mean?"
ROOTS = "Two independent numbers of standard deviation 1 are added. Do they always point the same way?"
STREAM_VARIANCE = Exercise(
    cases=lambda: [
        ([1.0, 1.0, 1.0], 1.0),
        ([0.5, 2.0, 0.25, 3.0], 0.5),
        ([2.0], 3.0),
        ([], 0.7),
        ([1.5, 0.3], -0.4),
        ([4.0, 1.0, 9.0, 0.0, 2.0, 7.0], 0.1),
        ([3.0, 5.0], 0.0),
    ],
    mutants=(
        Mutant("not_squared", "scale**2", "scale",
               "the variance is multiplied by the scale instead of its square", SQUARED),
        Mutant("size_of_scale", "scale**2", "abs(scale)",
               "the variance is multiplied by the scale instead of its square", SQUARED),
        Mutant("no_scale", "scale**2 * variance", "variance",
               "the scale plays no part",
               "For a scale of 0, what should the stream's variance be after ten blocks?"),
        Mutant("root_scale", "scale**2", "abs(scale) ** 0.5",
               "the variance is multiplied by the root of the scale", SQUARED),
        Mutant("divided", "total += scale**2 * variance", "total += variance / scale**2 if scale else 0.0",
               "the variance is divided by the square of the scale",
               "The scale is one half. Does a block add more than without it, or less?"),
        Mutant("from_zero", "total, after = 1.0, []", "total, after = 0.0, []",
               "the stream starts empty",
               "What is the variance of the stream before the first block?"),
        Mutant("start_included", "total, after = 1.0, []", "total, after = 1.0, [1.0]",
               "the list begins with the variance before any block",
               "How many numbers should come back for three blocks?"),
        Mutant("before_each", "        total += scale**2 * variance\n        after.append(total)",
               "        after.append(total)\n        total += scale**2 * variance",
               "each number is the variance before its block",
               "After a first block of variance 1, what should the first number of the list be?"),
        Mutant("only_last", "return after", "return total",
               "only the variance at the end is returned",
               "How many numbers should come back for three blocks?"),
        Mutant("deviations", "return after", "return [v**0.5 for v in after]",
               "standard deviations are returned instead of variances",
               "Which is asked for, the variance or its root?"),
        Mutant("deviations_add", ADD, "total = (total**0.5 + abs(scale) * variance**0.5) ** 2",
               "standard deviations are added instead of variances", ROOTS),
        Mutant("deviations_add_signed", "", """\
def stream_variance(variances, scale):
    deviation, after = 1.0, []
    for variance in variances:
        deviation += scale * variance**0.5
        after.append(deviation**2)
    return after""",
               "standard deviations are added instead of variances", ROOTS),
        Mutant("deviations_add_up", "", """\
def stream_variance(variances, scale):
    total, after = 1.0, []
    for variance in variances:
        total += scale * variance**0.5
        after.append(total)
    return after""",
               "standard deviations are added, and never squared again", ROOTS),
        Mutant("multiplied", ADD, "total *= 1 + scale**2 * variance",
               "each block multiplies the variance that it finds instead of adding to it",
               "Does what a block computes grow with the stream, if all blocks have the variance that is given?"),
        Mutant("product", ADD, "total *= scale**2 * variance",
               "each block multiplies the variance that it finds instead of adding to it",
               "After a block of variance 0, what should the stream's variance be?"),
        Mutant("all_scaled", ADD, "total = scale**2 * (total + variance)",
               "the scale shrinks the whole stream, not only what is added",
               "What exactly is multiplied by the scale: the branch, or the sum?"),
        Mutant("stream_scaled", ADD, "total = scale**2 * total + variance",
               "the scale shrinks the stream, and what is added stays as it is",
               "What exactly is multiplied by the scale: the branch, or the stream?"),
        Mutant("not_cumulative", "after.append(total)", "after.append(1.0 + scale**2 * variance)",
               "each block is added to the fresh stream, as if there were none before it",
               "What does the third block find in the stream?"),
        Mutant("branches_only", "after.append(total)", "after.append(scale**2 * variance)",
               "the variance of what each block adds is returned, not that of the stream",
               "What is in the stream besides what the last block has added?"),
        Mutant("replaced", ADD, "total = scale**2 * variance",
               "the variance of what each block adds is returned, not that of the stream",
               "What is in the stream besides what the last block has added?"),
        Mutant("mean", "after.append(total)", "after.append(total / (len(after) + 2))",
               "the variances are averaged instead of added",
               "Is the stream a sum of what the blocks have written, or their mean?"),
        Mutant("variances_squared", "scale**2 * variance", "(scale * variance) ** 2",
               "the given variances are squared as if they were standard deviations",
               "Which of the two numbers is in units of the numbers, and which already in their squares?"),
        Mutant("scale_grows", ADD, "total += scale ** (2 * (len(after) + 1)) * variance",
               "the scale is applied once more in every block",
               "Is the branch of block 5 multiplied by the scale once, or five times?"),
        Mutant("scaled_at_the_end", "return after", "return [scale**2 * v for v in after]",
               "the whole stream is scaled, also what was there at the start",
               "For a scale of 0, what should be left of the stream?"),
        Mutant("one_less_at_the_end", ADD, "total += scale**2 * variance / len(variances)",
               "each block's variance is divided by the number of blocks",
               "Where does the statement divide by the depth?"),
        Mutant("same_variance", "scale**2 * variance", "scale**2 * variances[0]",
               "all blocks are given the variance of the first",
               "Which of the numbers in the list does your loop use?"),
        Mutant("correlated", ADD, "total += scale**2 * variance + 2 * abs(scale) * (total * variance) ** 0.5",
               "standard deviations are added instead of variances", ROOTS),
        Mutant("in_place", "", """\
def stream_variance(variances, scale):
    total = 1.0
    for i in range(len(variances)):
        total += scale**2 * variances[i]
        variances[i] = total
    return variances""",
               "the result is written over the list that was given",
               "Whose list is it, and what does the caller find in it afterwards?"),
    ),
    variants=("""\
def stream_variance(variances, scale):
    return [1 + scale * scale * sum(variances[: i + 1]) for i in range(len(variances))]""", """\
def stream_variance(variances, scale):
    from itertools import accumulate
    return list(accumulate((scale**2 * v for v in variances), initial=1.0))[1:]""", """\
def stream_variance(variances, scale):
    if not variances:
        return []
    return (1 + (torch.tensor(variances, dtype=torch.float64) * scale**2).cumsum(0)).tolist()""", """\
def stream_variance(variances, scale):
    stds, out = [1.0], []
    for v in variances:
        stds.append(abs(scale) * math.sqrt(v))
        out.append(math.hypot(*stds) ** 2)
    return out""",
    ),
    properties=(
        Property(lambda after, variances, scale: all(a >= 1 - 1e-9 for a in after),
                 "The stream has less variance than at the start, although blocks only add to it."),
        Property(lambda after, variances, scale: all(b >= a - 1e-9 for a, b in zip(after, after[1:])),
                 "The variance falls from one block to the next, although blocks only add to it."),
    ),
    twin=stream_twin,
)  # fmt: skip


# 05.2


def norm_twin(rng: random.Random) -> Question:
    mean, spread, gain, bias = rng.randint(3, 9), rng.randint(2, 6), rng.randint(2, 5), rng.randint(1, 9)
    return Question(
        f"A token has four features: {mean - spread}, {mean + spread}, {mean + spread}, {mean - spread}. A LayerNorm "
        f"has gain {gain} and bias {bias} everywhere, and its eps is tiny. What does the second feature become?",
        gain + bias, f"The mean is {mean} and the standard deviation {spread}: the feature becomes 1, times {gain}, "
        f"plus {bias}.", 0.01,
    )  # fmt: skip


def norm_cases() -> list[tuple]:
    """x, gain, bias, eps: of several shapes; tiny numbers, equal numbers, a mean far from zero."""
    shapes = ((2, 5, 7), (4, 6), (8,), (3, 9), (5, 1), (2, 3, 2, 11))
    tensors = [normal(520 + i, shape, shape[-1:], shape[-1:]) for i, shape in enumerate(shapes)]
    tensors[1][0].mul_(0.01)
    tensors[0][0].mul_(3.0).add_(2.0)
    tensors[3][0][1] = 2.0  # all features of a token equal
    return [(*three, eps) for three, eps in zip(tensors, (1e-5, 1e-5, 0.1, 1e-3, 1e-5, 1e-6))]


CENTRED = "centred = x - x.mean(dim=-1, keepdim=True)"
VARIANCE = "variance = centred.square().mean(dim=-1, keepdim=True)"
NORM_RETURN = "return centred / torch.sqrt(variance + eps) * gain + bias"
BESSEL = "The variance asked for is the mean of C squares. By what does `std` or `var` divide if you do not say?"
EPS = "Two features, both 0: where does eps have to stand, and what changes if the root comes first?"
NEIGHBOURS = "May the size of one token's vector depend on who stands beside it in the batch?"
LAYER_NORM = Exercise(
    cases=norm_cases,
    mutants=(
        Mutant("unbiased", VARIANCE, "variance = x.var(dim=-1, keepdim=True)",
               "the variance is divided by C - 1", BESSEL),
        Mutant("unbiased_by_hand", "centred.square().mean(dim=-1, keepdim=True)",
               "centred.square().sum(dim=-1, keepdim=True) / (x.shape[-1] - 1)",
               "the variance is divided by C - 1", BESSEL),
        Mutant("std_plus_eps", "torch.sqrt(variance + eps)", "(torch.sqrt(variance) + eps)",
               "eps is added to the standard deviation instead of the variance", EPS),
        Mutant("unbiased_std_plus_eps", NORM_RETURN,
               "return centred / (x.std(dim=-1, keepdim=True) + eps) * gain + bias",
               "the standard deviation divides by C - 1, and eps is added to it", BESSEL),
        Mutant("eps_squared", "variance + eps", "variance + eps**2",
               "eps is squared before it is added", EPS),
        Mutant("no_eps", "variance + eps", "variance",
               "nothing keeps the division from dividing by zero",
               "What does your function return where all features of a token are equal?"),
        Mutant("clamp", "variance + eps", "variance.clamp(min=eps)",
               "eps is a floor for the variance instead of being added to it",
               "The variance is 0.2 and eps 0.1. Under which root should you divide?"),
        Mutant("eps_fixed", "variance + eps", "variance + 1e-5",
               "a number of your own stands in for eps",
               "Where does your function use the eps that it is given?"),
        Mutant("eps_on_top", NORM_RETURN, "return (centred + eps) / torch.sqrt(variance) * gain + bias",
               "eps is added above the line, where it saves nothing", EPS),
        Mutant("no_root", "torch.sqrt(variance + eps)", "(variance + eps)",
               "the vectors are divided by their variance instead of its root",
               "A vector becomes ten times as large. What should become of the result?"),
        Mutant("not_centred", CENTRED, "centred = x",
               "the mean is never subtracted",
               "What does the vector (5, 5, 5) hold after a LayerNorm with gain one and bias zero?"),
        Mutant("not_centred_above", NORM_RETURN, "return x / torch.sqrt(variance + eps) * gain + bias",
               "the mean is left out above the line: the vector is divided, but not centred",
               "What should the mean of the result be, before gain and bias?"),
        Mutant("not_centred_below", VARIANCE, "variance = x.square().mean(dim=-1, keepdim=True)",
               "the vector is centred, but divided by its size before that",
               "Of which numbers is the variance the mean square?"),
        Mutant("only_centred", NORM_RETURN, "return centred * gain + bias",
               "the vectors are centred and never divided",
               "What should the variance of each vector be, before the gain?"),
        Mutant("no_gain", " * gain", "",
               "the gain is left out",
               "Where does your function use the gain?"),
        Mutant("no_bias", " + bias", "",
               "the bias is left out",
               "What should come out where all features of a token are equal?"),
        Mutant("no_gain_no_bias", " * gain + bias", "",
               "gain and bias are left out",
               "Which two things are learned in a LayerNorm?"),
        Mutant("gain_from_zero", "* gain", "* (1 + gain)",
               "the gain is taken as what is added to one",
               "A gain of 1: what should it change?"),
        Mutant("bias_first", NORM_RETURN, "return (centred / torch.sqrt(variance + eps) + bias) * gain",
               "the bias is added before the gain, so that the gain multiplies it too",
               "Which comes first, scaling or shifting?"),
        Mutant("swapped", "* gain + bias", "* bias + gain",
               "gain and bias have changed places",
               "Which of the two multiplies?"),
        Mutant("gain_inside", NORM_RETURN, "return centred / (torch.sqrt(variance + eps) * gain) + bias",
               "the result is divided by the gain",
               "A gain of 2: should the feature become larger or smaller?"),
        Mutant("minus_bias", "+ bias", "- bias",
               "the bias is subtracted",
               "What should come out where all features of a token are equal?"),
        Mutant("axis_0", "", """\
def layer_norm(x, gain, bias, eps):
    mean = x.mean(dim=0, keepdim=True)
    variance = x.var(dim=0, keepdim=True, correction=0)
    return (x - mean) / torch.sqrt(variance + eps) * gain + bias""",
               "mean and variance run over the first axis: each feature over the batch", NEIGHBOURS),
        Mutant("axis_1", "", """\
def layer_norm(x, gain, bias, eps):
    dim = 1 if x.ndim > 1 else 0
    mean = x.mean(dim=dim, keepdim=True)
    variance = x.var(dim=dim, keepdim=True, correction=0)
    return (x - mean) / torch.sqrt(variance + eps) * gain + bias""",
               "mean and variance run over axis 1, whatever that axis is",
               "Which axis is number 1 in (B, T, C), and which in (T, C)?"),
        Mutant("axis_tokens", "", """\
def layer_norm(x, gain, bias, eps):
    dim = -2 if x.ndim > 1 else -1
    mean = x.mean(dim=dim, keepdim=True)
    variance = x.var(dim=dim, keepdim=True, correction=0)
    return (x - mean) / torch.sqrt(variance + eps) * gain + bias""",
               "mean and variance run over the tokens instead of the features", NEIGHBOURS),
        Mutant("everything", "", """\
def layer_norm(x, gain, bias, eps):
    return (x - x.mean()) / torch.sqrt(x.var(correction=0) + eps) * gain + bias""",
               "one mean and one variance serve all tokens", NEIGHBOURS),
        Mutant("everything_unbiased", "", """\
def layer_norm(x, gain, bias, eps):
    return (x - x.mean()) / torch.sqrt(x.var() + eps) * gain + bias""",
               "one mean and one variance serve all tokens, and the variance is divided by one less", NEIGHBOURS),
        Mutant("one_sequence", "", """\
def layer_norm(x, gain, bias, eps):
    dims = (-2, -1) if x.ndim > 1 else (-1,)
    centred = x - x.mean(dim=dims, keepdim=True)
    variance = centred.square().mean(dim=dims, keepdim=True)
    return centred / torch.sqrt(variance + eps) * gain + bias""",
               "all tokens of a sequence share one mean and one variance", NEIGHBOURS),
        Mutant("all_but_the_first", "", """\
def layer_norm(x, gain, bias, eps):
    dims = tuple(range(1, x.ndim)) or (0,)
    centred = x - x.mean(dim=dims, keepdim=True)
    variance = centred.square().mean(dim=dims, keepdim=True)
    return centred / torch.sqrt(variance + eps) * gain + bias""",
               "mean and variance run over all axes but the first", NEIGHBOURS),
        Mutant("mean_of_rows_only", "", """\
def layer_norm(x, gain, bias, eps):
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean() + eps) * gain + bias""",
               "each token has its own mean, but all share one variance", NEIGHBOURS),
        Mutant("in_place", CENTRED, "centred = x\n    centred -= x.mean(dim=-1, keepdim=True)",
               "the work is done on the stream itself, and not on a copy",
               "After `a = b`, how many tensors are there, and who else still reads x?"),
        Mutant("in_place_gain", "", """\
def layer_norm(x, gain, bias, eps):
    x -= x.mean(dim=-1, keepdim=True)
    x /= torch.sqrt(x.square().mean(dim=-1, keepdim=True) + eps)
    x *= gain
    x += bias
    return x""",
               "the work is done on the stream itself, and not on a copy",
               "After `a = b`, how many tensors are there, and who else still reads x?"),
        Mutant("no_keepdim", "", """\
def layer_norm(x, gain, bias, eps):
    mean = x.mean(-1)
    variance = (x - mean).square().mean(-1)
    return (x - mean) / torch.sqrt(variance + eps) * gain + bias""",
               "the means have lost their last axis, and no longer line up with the vectors",
               "Which shape does `x.mean(-1)` have for x (4, 6), and with which axis of x does it line up?"),
        Mutant("length", "torch.sqrt(variance + eps)", "(centred.norm(dim=-1, keepdim=True) + eps)",
               "each vector gets length one instead of variance one",
               "A vector of C numbers with variance 1: how long is it?"),
        Mutant("length_under_root", "variance = centred.square().mean(", "variance = centred.square().sum(",
               "the squares are added up and never divided by C",
               "A vector of C numbers with variance 1: what is the sum of its squares?"),
        Mutant("absolute", "torch.sqrt(variance + eps)", "(centred.abs().mean(dim=-1, keepdim=True) + eps)",
               "the mean absolute deviation stands in for the standard deviation",
               "Where are the squares?"),
        Mutant("largest", "torch.sqrt(variance + eps)", "(centred.abs().amax(dim=-1, keepdim=True) + eps)",
               "each vector is divided by its largest deviation",
               "What should the variance of each vector be, before the gain?"),
        Mutant("multiplied", "centred / torch.sqrt", "centred * torch.sqrt",
               "the vectors are multiplied by their standard deviation",
               "A vector becomes ten times as large. What should become of the result?"),
        Mutant("only_normalised_twice", "variance + eps", "variance + 2 * eps",
               "eps is added twice", EPS),
        Mutant("median", CENTRED, "centred = x - x.median(dim=-1, keepdim=True).values",
               "the median is subtracted instead of the mean",
               "What should the mean of the result be, before gain and bias?"),
        Mutant("without_grad_scale", NORM_RETURN, "return torch.softmax(x, dim=-1) * gain + bias",
               "a softmax stands in for the norm",
               "May the result be negative, before gain and bias?"),
    ),
    variants=("""\
def layer_norm(x, gain, bias, eps):
    mean = x.mean(-1, keepdim=True)
    std = torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + eps)
    return gain * ((x - mean) / std) + bias""", """\
def layer_norm(x, gain, bias, eps):
    return F.layer_norm(x, x.shape[-1:], gain, bias, eps)""", """\
def layer_norm(x, gain, bias, eps):
    rows = x.reshape(-1, x.shape[-1])
    out = torch.empty_like(rows)
    for i, row in enumerate(rows):
        mean = sum(row) / len(row)
        variance = sum((value - mean) ** 2 for value in row) / len(row)
        out[i] = (row - mean) / (variance + eps) ** 0.5 * gain + bias
    return out.view(x.shape)""", """\
def layer_norm(x, gain, bias, eps):
    C = x.shape[-1]
    centre = torch.eye(C) - 1 / C
    y = x @ centre
    return torch.addcmul(bias, y * torch.rsqrt(torch.einsum("...c,...c->...", y, y)[..., None] / C + eps), gain)""",
    ),
    properties=(
        Property(lambda y, x, gain, bias, eps: torch.allclose(((y - bias) / gain).mean(-1), torch.zeros(()), atol=1e-3),
                 "Without gain and bias, a vector's features do not have the mean 0."),
    ),
    twin=norm_twin,
)  # fmt: skip


# 05.3


def block_twin(rng: random.Random) -> Question:
    x, a, m = rng.randint(3, 9), rng.randint(2, 5), rng.randint(2, 5)
    return Question(
        f"A toy block on one number: both norms halve, attention multiplies by {2 * a}, the MLP by {2 * m}. The stream "
        f"holds {x}. What does it hold after the block (pre-norm)?", x * (1 + a) * (1 + m),
        f"Attention adds {a} times the stream: {x * (1 + a)}. The MLP adds {m} times that.", 0.001,
    )  # fmt: skip


def parts(seed: int, T: int, C: int, M: int) -> tuple:
    """norm1, attn, norm2, mlp: four unlike functions of tensors (…, T, C)."""
    gain1, bias1, gain2, mix, value, up, down = normal(seed, (C,), (C,), (C,), (T, T), (C, C), (C, M), (M, C))

    def norm1(x):
        return F.layer_norm(x, x.shape[-1:], gain1, bias1)

    def attn(x):
        return mix.tril() / T @ (x @ value)

    def norm2(x):
        return F.rms_norm(x, x.shape[-1:], gain2) + 0.25

    def mlp(x):
        return torch.tanh(x @ up) @ down

    return norm1, attn, norm2, mlp


def block_cases() -> list[tuple]:
    plain = (lambda x: x, lambda x: 2 * x + 1, lambda x: x, lambda x: x * x)  # norms that hand on what they get
    sizes = (((2, 5, 7), 3), ((4, 6), 9), ((1, 3, 8), 5))
    return [
        *((normal(530 + i, shape)[0], *parts(540 + i, *shape[-2:], M)) for i, (shape, M) in enumerate(sizes)),
        (normal(535, (3, 2))[0], *plain),
    ]


READ_1, ADD_1 = "normed = norm1(x)\n", "x = x + attn(normed)"
READ_2, ADD_2 = "normed = norm2(x)\n", "x = x + mlp(normed)"
BLOCK_BODY = f"{READ_1}    {ADD_1}\n    {READ_2}    {ADD_2}"
KEPT = "Is the vector that came into the block still a term of the sum that leaves it?"
COPY = "Onto which of the two does the answer go: the stream, or the copy that was made for reading?"
FRESH = "What has attention written, and who reads it first?"
BLOCK = Exercise(
    cases=block_cases,
    mutants=(
        Mutant("attn_replaces", ADD_1, "x = attn(normed)",
               "attention's answer replaces the stream", KEPT),
        Mutant("mlp_replaces", ADD_2, "x = mlp(normed)",
               "the MLP's answer replaces the stream", KEPT),
        Mutant("both_replace", BLOCK_BODY, "x = attn(norm1(x))\n    x = mlp(norm2(x))",
               "both answers replace the stream", KEPT),
        Mutant("attn_onto_copy", ADD_1, "x = normed + attn(normed)",
               "attention's answer is added to the normalised copy", COPY),
        Mutant("norm_1_overwrites", BLOCK_BODY, "x = norm1(x)\n    x = x + attn(x)\n    x = x + mlp(norm2(x))",
               "attention's answer is added to the normalised copy", COPY),
        Mutant("mlp_onto_copy", ADD_2, "x = normed + mlp(normed)",
               "the MLP's answer is added to the normalised copy", COPY),
        Mutant("both_onto_copy", BLOCK_BODY, "x = norm1(x)\n    x = x + attn(x)\n    x = norm2(x)\n    x = x + mlp(x)",
               "both answers are added to the normalised copies, so that the stream itself is normalised", COPY),
        # What the shuffled lines make when a wrong twin is kept.
        Mutant("norm_1_lost", BLOCK_BODY, "normed = norm1(x)\n    x = norm1(x)\n    x = x + attn(normed)\n"
               "    normed = norm2(x)\n    x = x + mlp(normed)",
               "attention's answer is added to the normalised copy", COPY),
        Mutant("replaces_and_copy", BLOCK_BODY, "normed = norm1(x)\n    x = attn(normed)\n    normed = norm2(x)\n"
               "    x = normed + mlp(normed)",
               "attention's answer replaces the stream, and the MLP's is added to the copy", KEPT),
        Mutant("overwrites_and_copy", BLOCK_BODY, "x = norm1(x)\n    x = x + attn(x)\n    normed = norm2(x)\n"
               "    x = normed + mlp(normed)",
               "both answers are added to the normalised copies, so that the stream itself is normalised", COPY),
        Mutant("stale_copy", READ_2 + "    x = x + mlp", "x = x + mlp",
               "the MLP reads the copy that was made for attention", FRESH),
        Mutant("parallel", BLOCK_BODY, "x = x + attn(norm1(x)) + mlp(norm2(x))",
               "the MLP does not see what attention has written", FRESH),
        Mutant("parallel_lines", BLOCK_BODY, "first = attn(norm1(x))\n    second = mlp(norm2(x))\n"
               "    x = x + first + second",
               "the MLP does not see what attention has written", FRESH),
        Mutant("read_too_early", BLOCK_BODY, "normed = norm1(x)\n    x = x + attn(normed)\n    x = x + mlp(normed)\n"
               "    normed = norm2(x)",
               "the MLP reads the copy that was made for attention", FRESH),
        Mutant("mlp_first", BLOCK_BODY, "x = x + mlp(norm2(x))\n    x = x + attn(norm1(x))",
               "the MLP comes before attention",
               "Which of the two brings in news from other tokens, and which works on it?"),
        Mutant("mlp_first_norms_in_order", BLOCK_BODY, "x = x + mlp(norm1(x))\n    x = x + attn(norm2(x))",
               "the MLP comes before attention, each with the other's norm",
               "Which of the two brings in news from other tokens, and which works on it?"),
        Mutant("swapped_norms", BLOCK_BODY, "x = x + attn(norm2(x))\n    x = x + mlp(norm1(x))",
               "the two norms have changed places",
               "Each norm has a gain and a bias of its own. Whose are they?"),
        Mutant("one_norm", READ_2, "normed = norm1(x)\n",
               "both parts read through the first norm",
               "Each norm has a gain and a bias of its own. How many norms were you given?"),
        Mutant("second_norm_twice", READ_1, "normed = norm2(x)\n",
               "both parts read through the second norm",
               "Each norm has a gain and a bias of its own. How many norms were you given?"),
        Mutant("no_norms", BLOCK_BODY, "x = x + attn(x)\n    x = x + mlp(x)",
               "nothing is normalised",
               "What keeps the input of block 40 from being far larger than that of block 1?"),
        Mutant("first_not_normed", ADD_1, "x = x + attn(x)",
               "attention reads the stream as it is",
               "What keeps the input of block 40 from being far larger than that of block 1?"),
        Mutant("second_not_normed", ADD_2, "x = x + mlp(x)",
               "the MLP reads the stream as it is",
               "What keeps the input of block 40 from being far larger than that of block 1?"),
        Mutant("post_norm", BLOCK_BODY, "x = norm1(x + attn(x))\n    x = norm2(x + mlp(x))",
               "the norms come after the sums: post-norm, as in the first transformer",
               "Which vector is normalised, the one that a part reads or the stream itself?"),
        Mutant("norm_of_answers", BLOCK_BODY, "x = x + norm1(attn(x))\n    x = x + norm2(mlp(x))",
               "the answers are normalised instead of what is read",
               "What should be normalised: what goes into a part, or what comes out of it?"),
        Mutant("norm_of_copy", READ_2, "normed = norm2(normed)\n",
               "the second norm is applied to the first one's copy", FRESH),
        Mutant("chained", BLOCK_BODY, "y = attn(norm1(x))\n    x = x + mlp(norm2(y))",
               "one sum goes around both parts, so that attention's own answer is not in it",
               "How many times does a block write to the stream?"),
        Mutant("chained_sum", BLOCK_BODY, "y = attn(norm1(x))\n    x = x + y + mlp(norm2(y))",
               "the MLP reads attention's answer alone, without the stream",
               "What does the MLP read: one answer, or everything that has been written so far?"),
        Mutant("original_added_again", BLOCK_BODY, "y = x + attn(norm1(x))\n    x = x + mlp(norm2(y))",
               "the second sum starts from the stream as it came in: attention's answer is lost", KEPT),
        Mutant("original_twice", ADD_2, "x = x + normed + mlp(normed)",
               "the normalised copy is added to the stream as well",
               "Which tensors are added to the stream in a block? Count them."),
        Mutant("doubled", BLOCK_BODY, "y = x + attn(norm1(x))\n    x = x + y + mlp(norm2(y))",
               "the stream that came in is counted twice",
               "If both parts answer with zero, what should come out of the block?"),
        Mutant("final_norm", "return x", "return norm2(x)",
               "the stream is normalised on its way out",
               "If both parts answer with zero, what should come out of the block?"),
        Mutant("returns_copy", "return x", "return normed",
               "the copy is returned instead of the stream",
               "Which of your variables holds everything that has been written?"),
        Mutant("returns_answer", ADD_2 + "\n    return x", "return mlp(normed)",
               "the MLP's answer replaces the stream", KEPT),
        Mutant("no_mlp", f"    {READ_2}    {ADD_2}\n", "",
               "the MLP is left out",
               "How many parts does a block have?"),
        Mutant("no_attn", f"{READ_1}    {ADD_1}\n    ", "",
               "attention is left out",
               "How many parts does a block have?"),
        Mutant("in_place", BLOCK_BODY, "x += attn(norm1(x))\n    x += mlp(norm2(x))",
               "`+=` changes the tensor that was handed in",
               "Whose tensor is x, and is `x += y` the same as `x = x + y` for the one who owns it?"),
        Mutant("in_place_once", ADD_1, "x += attn(normed)",
               "`+=` changes the tensor that was handed in",
               "Whose tensor is x, and is `x += y` the same as `x = x + y` for the one who owns it?"),
        Mutant("averaged", BLOCK_BODY, "x = (x + attn(norm1(x))) / 2\n    x = (x + mlp(norm2(x))) / 2",
               "stream and answer are averaged instead of added",
               "If both parts answer with zero, what should come out of the block?"),
        Mutant("subtracted", BLOCK_BODY, "x = x - attn(norm1(x))\n    x = x - mlp(norm2(x))",
               "the answers are subtracted",
               "What does a block do to the stream?"),
        Mutant("multiplied", BLOCK_BODY, "x = x * attn(norm1(x))\n    x = x * mlp(norm2(x))",
               "the stream is multiplied by the answers",
               "If both parts answer with zero, what should come out of the block?"),
    ),
    variants=("""\
def block(x, norm1, attn, norm2, mlp):
    x = x + attn(norm1(x))
    return x + mlp(norm2(x))""", """\
def block(x, norm1, attn, norm2, mlp):
    for norm, part in ((norm1, attn), (norm2, mlp)):
        x = torch.add(part(norm(x)), x)
    return x""", """\
def block(x, norm1, attn, norm2, mlp):
    first = attn(norm1(x))
    return x + first + mlp(norm2(x + first))""", """\
def block(x, norm1, attn, norm2, mlp):
    stream = x.clone()
    stream += attn(norm1(stream))
    stream += mlp(norm2(stream))
    return stream""",
    ),
    twin=block_twin,
)  # fmt: skip


# 05.4


def mlp_twin(rng: random.Random) -> Question:
    C = 8 * rng.randint(2, 24)
    return Question(
        f"The stream is {C} wide. How many parameters has an MLP with a hidden layer of 4 times the width, biases "
        "counted?", 8 * C * C + 5 * C,
        f"Two matrices of {C} × {4 * C}, {4 * C} biases of the hidden layer and {C} on the way back.",
    )  # fmt: skip


def mlp_cases() -> list[tuple]:
    """x, up, up_bias, down, down_bias: hidden numbers near zero, and far out on both sides."""
    sizes = (((2, 5, 7), 3, 1.0), ((4, 6), 24, 0.3), ((5,), 8, 4.0), ((1, 1, 3), 2, 1.0))
    cases = []
    for i, (shape, M, scale) in enumerate(sizes):
        C = shape[-1]
        x, up, up_bias, down, down_bias = normal(550 + i, shape, (C, M), (M,), (M, C), (C,))
        cases.append((scale * x, up, up_bias, down, down_bias))
    return cases


INSIDE, BENT = "math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)", "0.5 * hidden * (1 + torch.tanh(inside))"
BACK = "return bent @ down + down_bias"
FORMULA = "Work out one number by hand, h = 1: what is inside the tanh, and what comes out?"
MLP = Exercise(
    cases=mlp_cases,
    mutants=(
        Mutant("erf", BENT, "F.gelu(hidden)",
               "GELU is taken in its exact form, without the tanh",
               "Which form of GELU does GPT-2 use, and which one does PyTorch use if you do not say?"),
        Mutant("erf_by_hand", BENT, "0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))",
               "GELU is taken in its exact form, without the tanh",
               "Which form of GELU does GPT-2 use, and which one does PyTorch use if you do not say?"),
        Mutant("relu", BENT, "torch.relu(hidden)",
               "a ReLU stands in for GELU",
               "What does GELU make of −1: zero, or a small negative number?"),
        Mutant("silu", BENT, "F.silu(hidden)",
               "h times its sigmoid stands in for GELU",
               "At h = 1 GELU is 0.84. What is yours?"),
        Mutant("quick", BENT, "hidden * torch.sigmoid(1.702 * hidden)",
               "the quick approximation with a sigmoid stands in for the one with tanh",
               "Where in your code is the cube?"),
        Mutant("tanh", BENT, "torch.tanh(hidden)",
               "a tanh stands in for GELU",
               "What should GELU make of 9?"),
        Mutant("sigmoid", BENT, "torch.sigmoid(hidden)",
               "a sigmoid stands in for GELU",
               "What should GELU make of 9?"),
        Mutant("no_activation", BENT, "hidden",
               "nothing is bent between the two matrices",
               "What do two matrices in a row amount to?"),
        Mutant("no_half", "0.5 * hidden", "hidden",
               "the half in front is missing",
               "What should GELU make of 9, and what is 1 + tanh of something large?"),
        Mutant("no_h", "0.5 * hidden * (1", "0.5 * (1",
               "the gate is returned without the number that it lets through",
               "What should GELU make of 9, and what is the most that your line can give?"),
        Mutant("no_one", "(1 + torch.tanh(inside))", "torch.tanh(inside)",
               "the 1 before the tanh is missing",
               "What should GELU make of −9, and what is tanh of something very negative?"),
        Mutant("one_minus", "1 + torch.tanh", "1 - torch.tanh",
               "the gate opens on the wrong side",
               "What should GELU make of 9, and what of −9?"),
        Mutant("no_cube", " + 0.044715 * hidden**3", "",
               "the cube is missing", FORMULA),
        Mutant("square", "hidden**3", "hidden**2",
               "h is squared where it should be cubed", FORMULA),
        Mutant("cube_outside", "(hidden + 0.044715 * hidden**3)", "hidden + 0.044715 * hidden**3",
               "the root multiplies only the first of the two terms", FORMULA),
        Mutant("cube_of_all", "(hidden + 0.044715 * hidden**3)", "(hidden + 0.044715 * hidden) ** 3",
               "the whole bracket is cubed", FORMULA),
        Mutant("constant_in_cube", "0.044715 * hidden**3", "(0.044715 * hidden) ** 3",
               "the constant is cubed together with h", FORMULA),
        Mutant("ten_times", "0.044715", "0.44715",
               "the constant has lost a zero", FORMULA),
        Mutant("tenth", "0.044715", "0.0044715",
               "the constant has a zero too many", FORMULA),
        Mutant("typo", "0.044715", "0.044175",
               "two digits of the constant have changed places", FORMULA),
        Mutant("rounded", INSIDE, "math.sqrt(2 / 3.14) * (hidden + 0.0447 * hidden**3)",
               "the constants are rounded",
               "Which digits does the statement give, and what does `math` know?"),
        Mutant("minus_cube", "hidden + 0.0", "hidden - 0.0",
               "the cube is subtracted", FORMULA),
        Mutant("no_root", "math.sqrt(2 / math.pi)", "2 / math.pi",
               "the root over 2/π is missing", FORMULA),
        Mutant("two_pi", "math.sqrt(2 / math.pi)", "math.sqrt(2 * math.pi)",
               "2 is multiplied by π instead of divided", FORMULA),
        Mutant("half_pi", "math.sqrt(2 / math.pi)", "math.sqrt(math.pi / 2)",
               "the fraction under the root is upside down", FORMULA),
        Mutant("root_of_two", "math.sqrt(2 / math.pi)", "(math.sqrt(2) / math.pi)",
               "only the 2 is under the root", FORMULA),
        Mutant("divided_by_root", "math.sqrt(2 / math.pi) *", "1 / math.sqrt(2 / math.pi) *",
               "the fraction under the root is upside down", FORMULA),
        Mutant("no_factor", "math.sqrt(2 / math.pi) * ", "",
               "the root of 2/π is left out", FORMULA),
        Mutant("sigmoid_gate", BENT, "hidden * torch.sigmoid(inside)",
               "a sigmoid of the same number stands where ½(1 + tanh) should",
               "½(1 + tanh(a)) is a sigmoid, but of which number?"),
        Mutant("half_inside", BENT, "hidden * (1 + torch.tanh(0.5 * inside))",
               "the half has moved into the tanh", FORMULA),
        Mutant("half_of_first", BENT, "hidden * (0.5 + torch.tanh(inside))",
               "the half multiplies only the 1, not the tanh", FORMULA),
        Mutant("tanh_of_h", "torch.tanh(inside)", "torch.tanh(hidden)",
               "the tanh is taken of h itself", FORMULA),
        Mutant("h_squared", "0.5 * hidden * (1", "0.5 * inside * (1",
               "the number let through is the one inside the tanh, not h", FORMULA),
        Mutant("no_down_bias", " + down_bias", "",
               "the bias of the way back is missing",
               "For hidden numbers of zero, what should come out?"),
        Mutant("no_up_bias", "hidden = x @ up + up_bias", "hidden = x @ up",
               "the bias of the hidden layer is missing",
               "For an input of zero, what should be in the hidden layer?"),
        Mutant("bias_after_bend", "", """\
def mlp(x, up, up_bias, down, down_bias):
    hidden = F.gelu(x @ up, approximate="tanh") + up_bias
    return hidden @ down + down_bias""",
               "the bias of the hidden layer is added after the bend",
               "Should the bias move the place where the curve bends?"),
        Mutant("bias_before_down", BACK, "return (bent + up_bias) @ down + down_bias",
               "the bias of the hidden layer is added twice",
               "How often does each bias enter?"),
        Mutant("residual", BACK, "return x + bent @ down + down_bias",
               "the stream is already added",
               "Whose business is the sum: the MLP's, or the block's?"),
        Mutant("bent_at_the_end", "", """\
def mlp(x, up, up_bias, down, down_bias):
    hidden = x @ up + up_bias
    return F.gelu(hidden @ down + down_bias, approximate="tanh")""",
               "the bend comes after the second matrix instead of before it",
               "May what the MLP adds to the stream be far below zero?"),
        Mutant("bent_twice", BACK, 'return F.gelu(bent @ down + down_bias, approximate="tanh")',
               "the result is bent once more",
               "May what the MLP adds to the stream be far below zero?"),
        Mutant("bent_first", "", """\
def mlp(x, up, up_bias, down, down_bias):
    hidden = F.gelu(x, approximate="tanh") @ up + up_bias
    return hidden @ down + down_bias""",
               "the input is bent instead of the hidden layer",
               "Which numbers does GELU work on: C of them, or M?"),
        Mutant("gelu_twice", BACK, 'return F.gelu(bent, approximate="tanh") @ down + down_bias',
               "the hidden layer is bent twice",
               "How often does GELU stand in the formula?"),
        Mutant("returns_hidden", BACK, "return bent",
               "the way back is missing",
               "Which shape does the stream have?"),
        Mutant("softmax", BENT, "torch.softmax(hidden, dim=-1)",
               "the hidden numbers compete in a softmax instead of being bent one by one",
               "Does GELU of one number depend on the others?"),
    ),
    variants=("""\
def mlp(x, up, up_bias, down, down_bias):
    hidden = x @ up + up_bias
    return F.gelu(hidden, approximate="tanh") @ down + down_bias""", """\
def mlp(x, up, up_bias, down, down_bias):
    hidden = x @ up + up_bias
    gate = torch.sigmoid(2 * math.sqrt(2 / math.pi) * hidden * (1 + 0.044715 * hidden.square()))
    return F.linear(hidden * gate, down.T, down_bias)""", """\
def mlp(x, up, up_bias, down, down_bias):
    h = torch.einsum("...c,cm->...m", x, up) + up_bias
    e = torch.exp(-2 * (2 / math.pi) ** 0.5 * (h + 0.044715 * torch.pow(h, 3)))
    return torch.einsum("...m,mc->...c", h / (1 + e), down) + down_bias""", """\
def mlp(x, up, up_bias, down, down_bias):
    hidden = x @ up + up_bias
    a = 0.7978845608028654 * (hidden + 0.044715 * hidden * hidden * hidden)
    out = down_bias
    for m in range(up.shape[1]):
        h, t = hidden[..., m : m + 1], torch.tanh(a[..., m : m + 1])
        out = out + (h / 2 + h / 2 * t) * down[m]
    return out""",
    ),
    twin=mlp_twin,
)  # fmt: skip


# 05.5


def loss_twin(rng: random.Random) -> Question:
    B, T = rng.randint(2, 9), rng.randint(5, 30)
    return Question(
        f"A batch of {B} texts of {T} tokens each, and nothing else. Over how many predictions is the mean loss taken?",
        B * (T - 1), f"Each text has {T - 1} positions whose next token is known: {B} · {T - 1}.",
    )  # fmt: skip


def loss_cases() -> list[tuple]:
    """logits (B, T, V) and tokens (B, T): few tokens, long texts, and a model so sure that exp underflows."""
    generator = torch.Generator().manual_seed(55)
    cases = []
    for B, T, V, scale in ((3, 5, 7, 1.0), (1, 2, 6, 2.0), (2, 4, 9, 80.0), (4, 8, 3, 1.5)):
        logits = scale * torch.randn(B, T, V, generator=generator)
        cases.append((logits, torch.randint(V, (B, T), generator=generator)))
    return cases


LOGITS, ANSWERS = "logits[:, :-1]", "answers = tokens[:, 1:]"
PICKED = "picked = log_probs.gather(-1, answers[:, :, None])"
LOSS_BODY = f"log_probs = torch.log_softmax({LOGITS}, dim=-1)\n    {ANSWERS}\n    {PICKED}\n    return -picked.mean()"
KNOWS = "At position t, which token has the model read already, and which is it asked for?"
VOCABULARY = "A distribution over the next token: how many probabilities are in it, and along which axis?"
OUT_OF_RANGE = "What are exp(200) and exp(−200) in float32, and what is the logarithm of that?"
MEAN = "How many predictions are judged in this batch, and by what does a mean divide?"
NEXT_TOKEN_LOSS = Exercise(
    cases=loss_cases,
    mutants=(
        Mutant("not_shifted", LOSS_BODY, "log_probs = torch.log_softmax(logits, dim=-1)\n"
               "    return -log_probs.gather(-1, tokens[:, :, None]).mean()",
               "each position is asked for the token that it has just read", KNOWS),
        Mutant("last_dropped", ANSWERS, "answers = tokens[:, :-1]",
               "the last position is dropped, but each of the others is still asked for the token that it has read",
               KNOWS),
        Mutant("first_dropped", LOSS_BODY, LOSS_BODY.replace(LOGITS, "logits[:, 1:]"),
               "the first position is dropped, but each of the others is still asked for the token that it has read",
               KNOWS),
        Mutant("shifted_back", LOSS_BODY, LOSS_BODY.replace(LOGITS, "logits[:, 1:]").replace("1:]\n    picked",
                                                                                            ":-1]\n    picked"),
               "each position is asked for the token before the one that it reads", KNOWS),
        Mutant("rolled", LOSS_BODY,
               LOSS_BODY.replace(LOGITS, "logits").replace(ANSWERS, "answers = tokens.roll(-1, 1)"),
               "the last position is asked for the first token of its text",
               "What comes after the last token of a text that you have been given?"),
        Mutant("rolled_all", LOSS_BODY, LOSS_BODY.replace(LOGITS, "logits")
               .replace(ANSWERS, "answers = tokens.flatten().roll(-1).view_as(tokens)"),
               "the last position of a text is asked for the first token of the next text",
               "Do the texts of a batch belong together?"),
        Mutant("flattened_shift", LOSS_BODY, "flat = torch.log_softmax(logits, dim=-1).flatten(0, 1)\n"
               "    return F.nll_loss(flat[:-1], tokens.flatten()[1:])",
               "the end of one text is asked for the beginning of the next",
               "Do the texts of a batch belong together?"),
        Mutant("rolled_back", LOSS_BODY,
               LOSS_BODY.replace(LOGITS, "logits").replace(ANSWERS, "answers = tokens.roll(1, 1)"),
               "each position is asked for the token before it, and the first one for the last", KNOWS),
        Mutant("shifted_by_two", LOSS_BODY,
               "log_probs = torch.log_softmax(logits[:, : max(1, logits.shape[1] - 2)], dim=-1)\n"
               "    answers = tokens[:, 2:] if tokens.shape[1] > 2 else tokens[:, 1:]\n"
               "    return -log_probs.gather(-1, answers[:, :, None]).mean()",
               "each position is asked for the token after the next", KNOWS),
        Mutant("over_batch", LOSS_BODY, LOSS_BODY.replace(LOGITS, "logits[:-1]").replace("tokens[:, 1:]", "tokens[1:]"),
               "the shift is along the batch: a text is asked for the next text",
               "Which axis of tokens (B, T) is time?"),
        Mutant("axis_1", "dim=-1)", "dim=1)",
               "the shift is right, but the softmax runs over the positions", VOCABULARY),
        Mutant("axis_1_before_shift", LOSS_BODY, LOSS_BODY.replace("torch.log_softmax(logits[:, :-1], dim=-1)",
                                                                  "torch.log_softmax(logits, dim=1)[:, :-1]"),
               "the shift is right, but the softmax runs over the positions", VOCABULARY),
        Mutant("axis_0", "dim=-1)", "dim=0)",
               "the softmax runs over the batch", VOCABULARY),
        Mutant("over_everything", "torch.log_softmax(logits[:, :-1], dim=-1)",
               "logits[:, :-1] - logits[:, :-1].logsumexp(dim=(0, 1, 2))",
               "all numbers of the batch share one unit of probability",
               "How many units of probability are there: one for each prediction, or one in all?"),
        Mutant("both_planted", LOSS_BODY, "log_probs = torch.log_softmax(logits, dim=1)\n"
               "    return -log_probs.gather(-1, tokens[:, :, None]).mean()",
               "neither of the two places has been changed",
               "The loss begins at the logarithm of T. What does that say of the axis of the softmax?"),
        Mutant("axis_1_last_dropped", LOSS_BODY, LOSS_BODY.replace("dim=-1)", "dim=1)").replace("[:, 1:]", "[:, :-1]"),
               "the last position is dropped, but the answers are not shifted, and the softmax runs over the positions",
               KNOWS),
        Mutant("no_log", "log_softmax", "softmax",
               "probabilities are averaged, without a logarithm",
               "A certain and right model has a loss of 0. What is yours?"),
        Mutant("log_of_mean", LOSS_BODY, LOSS_BODY.replace("log_softmax", "softmax").replace("-picked.mean()",
                                                                                            "-picked.mean().log()"),
               "the logarithm is taken of the mean probability",
               "Two predictions of probability 1 and 0.01: what does each cost by itself?"),
        Mutant("no_softmax", "torch.log_softmax(logits[:, :-1], dim=-1)", "logits[:, :-1]",
               "the logits themselves are taken for log-probabilities", VOCABULARY),
        Mutant("underflow", "torch.log_softmax(logits[:, :-1], dim=-1)", "torch.softmax(logits[:, :-1], dim=-1).log()",
               "an exponential has left the range of float32 before its logarithm was taken", OUT_OF_RANGE),
        Mutant("overflow", "torch.log_softmax(logits[:, :-1], dim=-1)",
               "logits[:, :-1] - logits[:, :-1].exp().sum(dim=-1, keepdim=True).log()",
               "an exponential has left the range of float32 before its logarithm was taken", OUT_OF_RANGE),
        Mutant("epsilon", "torch.log_softmax(logits[:, :-1], dim=-1)",
               "torch.log(torch.softmax(logits[:, :-1], dim=-1) + 1e-8)",
               "a small number hides a probability that has become zero",
               "What should a token of probability e^(−200) cost, and what does it cost with yours?"),
        Mutant("twice", LOSS_BODY, "probs = torch.softmax(logits[:, :-1], dim=-1)\n"
               "    return F.cross_entropy(probs.flatten(0, 1), tokens[:, 1:].flatten())",
               "cross_entropy is given probabilities, and takes a second softmax of them",
               "What does F.cross_entropy expect: logits or probabilities?"),
        Mutant("positive", "-picked.mean()", "picked.mean()",
               "the minus sign is missing",
               "Is the logarithm of a probability above or below zero, and what should a loss be?"),
        Mutant("absolute", LOSS_BODY, LOSS_BODY.replace(LOGITS, "logits").replace("tokens[:, 1:]", "tokens")
               .replace("-picked", "picked[:, 1:].abs()"),
               "the first position is dropped, but each of the others is still asked for the token that it has read",
               KNOWS),
        Mutant("sum", "-picked.mean()", "-picked.sum()",
               "the loss is added up instead of averaged", MEAN),
        Mutant("mean_of_T", "-picked.mean()", "-picked.sum() / tokens.numel()",
               "the sum is divided by all positions, also by those that have no answer", MEAN),
        Mutant("zero_for_last", LOSS_BODY, "log_probs = torch.log_softmax(logits, dim=-1)\n"
               "    answers = F.pad(tokens[:, 1:], (0, 1))\n"
               "    picked = log_probs.gather(-1, answers[:, :, None])\n    return -picked.mean()",
               "the last position is asked for token 0, as if that followed",
               "What comes after the last token of a text that you have been given?"),
        Mutant("token_0_ignored", LOSS_BODY, "answers = F.pad(tokens[:, 1:], (0, 1))\n"
               "    return F.cross_entropy(logits.flatten(0, 1), answers.flatten(), ignore_index=0)",
               "token 0 marks the place without an answer, and so is ignored wherever it really comes",
               "Is 0 a token like any other? Which number could never be one?"),
        Mutant("per_text", "-picked.mean()", "-picked.sum() / len(tokens)",
               "the sum is divided by the number of texts", MEAN),
        Mutant("per_position", "-picked.mean()", "-picked.sum() / picked.shape[1]",
               "the sum is divided by the length of a text, not by the number of predictions", MEAN),
        Mutant("not_reduced", "-picked.mean()", "-picked.squeeze(-1)",
               "one loss is returned for each prediction",
               "Which shape should the result have?"),
        Mutant("one_per_text", "-picked.mean()", "-picked.mean(dim=(1, 2))",
               "one loss is returned for each text",
               "Which shape should the result have?"),
        Mutant("bits", "-picked.mean()", "-picked.mean() / math.log(2)",
               "the loss is in bits",
               "Which logarithm gives nats?"),
        Mutant("per_vocabulary", "-picked.mean()", "-picked.sum() / log_probs.numel()",
               "the sum is divided by the vocabulary as well", MEAN),
        Mutant("whole_vocabulary", PICKED, "picked = log_probs",
               "the log-probabilities of all tokens are averaged, not those of the tokens that came",
               "Where does your function look at the tokens?"),
        Mutant("best", PICKED, "picked = log_probs.amax(dim=-1)",
               "the most likely token is taken for the one that came",
               "What should a model pay that is sure of the wrong token?"),
        Mutant("last_only", PICKED, "picked = log_probs[:, -1].gather(-1, answers[:, -1:])",
               "only the last prediction of each text is judged", MEAN),
        Mutant("perplexity", "-picked.mean()", "torch.exp(-picked.mean())",
               "e to the power of the loss is returned: the perplexity",
               "A certain and right model has a loss of 0. What is yours?"),
        Mutant("transposed", LOSS_BODY,
               "V = logits.shape[-1]\n    flat = logits[:, :-1].transpose(0, 1).reshape(-1, V)\n"
               "    return F.cross_entropy(flat, tokens[:, 1:].flatten())",
               "the logits are laid out position by position, and the answers text by text",
               "Row 1 of your flat logits: which text does it belong to, and which does answer 1?"),
        Mutant("viewed", LOSS_BODY, "B, T, V = logits.shape\n    swapped = logits[:, :-1].reshape(B, V, T - 1)\n"
               "    return F.cross_entropy(swapped, tokens[:, 1:])",
               "a reshape is used to swap the axes of vocabulary and time",
               "Does a reshape move numbers past each other, or only cut the same row into other pieces?"),
    ),
    variants=("""\
def next_token_loss(logits, tokens):
    B, T, V = logits.shape
    return F.cross_entropy(logits[:, :-1].reshape(-1, V), tokens[:, 1:].reshape(-1))""", """\
def next_token_loss(logits, tokens):
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:])""", """\
def next_token_loss(logits, tokens):
    B, T = tokens.shape
    total = 0.0
    for b in range(B):
        for t in range(T - 1):
            total = total + torch.logsumexp(logits[b, t], dim=0) - logits[b, t, tokens[b, t + 1]]
    return total / (B * (T - 1))""", """\
def next_token_loss(logits, tokens):
    log_probs = torch.log_softmax(logits, dim=2)
    answers = F.one_hot(tokens, logits.shape[2])[:, 1:]
    return -(log_probs[:, :-1] * answers).sum(dim=2).mean()""", """\
def next_token_loss(logits, tokens):
    targets = tokens.roll(-1, dims=1)
    targets[:, -1] = -100
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())""",
    ),
    properties=(
        Property(lambda loss, logits, tokens: loss >= 0, "The loss is below zero: a probability would be above one."),
    ),
    twin=loss_twin,
)  # fmt: skip


# 05.6


def std_twin(rng: random.Random) -> Question:
    layers = rng.randint(2, 60)
    return Question(
        f"A GPT of the GPT-2 family has {layers} blocks. How many times smaller is the standard deviation of its "
        "mlp.down matrices at the start than that of its mlp.up matrices?", math.sqrt(2 * layers),
        f"Two additions to the stream in each block: √(2 · {layers}).", 0.01,
    )  # fmt: skip


def gpt2_names(*blocks: int) -> list[str]:
    """All names of the parameters outside the blocks, and of these blocks."""
    names = ["embed.weight", "position.weight"]
    for i in blocks:
        for part in ("norm1", "attn.q", "attn.k", "attn.v", "attn.out", "norm2", "mlp.up", "mlp.down"):
            names += [f"blocks.{i}.{part}.weight", f"blocks.{i}.{part}.bias"]
    return names + ["norm.weight", "norm.bias", "head.weight"]


WRITERS = 'name.endswith(("attn.out.weight", "mlp.down.weight"))'
CONSTANT = 'name.endswith("bias") or "norm" in name'
WRITER_STD = "stds[name] = 0.02 / math.sqrt(2 * layers)"
PLAIN = "        else:\n            stds[name] = 0.02\n"
TWO_SUMS = "How many times does one block add to the stream?"
VARIANCES_ADD = "Is it the standard deviations of independent numbers that add up, or their variances?"
WHO_WRITES = "Which two matrices are the last that a number goes through before a plus sign?"
INITIAL_STD = Exercise(
    cases=lambda: [
        (gpt2_names(0, 1), 2),
        (["embed.weight", "blocks.7.mlp.down.weight", "blocks.7.norm1.weight"], 8),
        (gpt2_names(3, 10, 11), 12),
        ([], 5),
        (["blocks.0.attn.out.weight", "blocks.0.attn.out.bias", "blocks.0.mlp.down.bias"], 1),
        (["head.weight"], 30),
    ],
    mutants=(
        Mutant("one_sum", "2 * layers", "layers",
               "one addition to the stream is counted for each block", TWO_SUMS),
        Mutant("no_root", "math.sqrt(2 * layers)", "(2 * layers)",
               "the standard deviation is divided by the number of additions instead of its root", VARIANCES_ADD),
        Mutant("no_root_layers", "math.sqrt(2 * layers)", "layers",
               "the standard deviation is divided by the number of blocks", VARIANCES_ADD),
        Mutant("root_of_two_only", "math.sqrt(2 * layers)", "math.sqrt(2)",
               "the depth of the model plays no part",
               "Where does L appear in your result?"),
        Mutant("root_too_short", "math.sqrt(2 * layers)", "(math.sqrt(2) * layers)",
               "only the 2 is under the root", VARIANCES_ADD),
        Mutant("two_outside", "math.sqrt(2 * layers)", "(2 * math.sqrt(layers))",
               "it is divided by 2√L, as if a block added four times to the stream", TWO_SUMS),
        Mutant("multiplied", "0.02 / math.sqrt", "0.02 * math.sqrt",
               "the writers start larger instead of smaller",
               "More blocks add to the stream. Must each of them write more, or less?"),
        Mutant("without_002", "0.02 / math.sqrt", "1 / math.sqrt",
               "the writers' standard deviation is not a share of 0.02",
               "For L = 8 a writer starts four times smaller than a plain matrix. What do you get?"),
        Mutant("own_depth", WRITER_STD, "block = int(name.split('.')[1])\n"
               "            stds[name] = 0.02 / math.sqrt(2 * (block + 1))",
               "each block's writers depend on its own place, not on the depth of the model",
               "Do the first block's additions stay in the stream to the end, like those of the last?"),
        Mutant("counted_from_names", WRITER_STD, "seen = {n.split('.')[1] for n in names if n.startswith('blocks')}\n"
               "            stds[name] = 0.02 / math.sqrt(2 * len(seen))",
               "the blocks in the list are counted, though it may hold only some of them",
               "A list has the names of one block. How deep is the model?"),
        Mutant("largest_block", WRITER_STD,
               "last = max(int(n.split('.')[1]) for n in names if n.startswith('blocks'))\n"
               "            stds[name] = 0.02 / math.sqrt(2 * last) if last else 0.02",
               "the number of the last block in the list is taken for the number of blocks",
               "Blocks are counted from 0, and the list may be a part. Which argument tells you L?"),
        Mutant("no_writers", f"        elif {WRITERS}:\n            {WRITER_STD}\n", "",
               "no matrix is treated as one that writes into the stream", WHO_WRITES),
        Mutant("attention_only", WRITERS, 'name.endswith("attn.out.weight")',
               "only attention is taken to write into the stream", WHO_WRITES),
        Mutant("mlp_only", WRITERS, 'name.endswith("mlp.down.weight")',
               "only the MLP is taken to write into the stream", WHO_WRITES),
        Mutant("up_and_out", '"mlp.down.weight"', '"mlp.up.weight"',
               "the MLP's first matrix is taken for the one that writes", WHO_WRITES),
        Mutant("values_write", '"attn.out.weight"', '"attn.v.weight"',
               "the values are taken for what attention writes", WHO_WRITES),
        Mutant("values_too", '("attn.out.weight", ', '("attn.v.weight", "attn.out.weight", ',
               "the matrix of the values is counted among the writers", WHO_WRITES),
        Mutant("whole_mlp", '"mlp.down.weight"', '"mlp.down.weight", "mlp.up.weight"',
               "both matrices of the MLP are counted among the writers", WHO_WRITES),
        Mutant("all_blocks", WRITERS, 'name.startswith("blocks")',
               "every matrix in a block is counted among the writers", WHO_WRITES),
        Mutant("head_too", WRITERS, 'name.endswith(("attn.out.weight", "mlp.down.weight", "head.weight"))',
               "the head is counted among the writers",
               "Does the head add to the stream, or only read it?"),
        Mutant("embeddings_too", WRITERS,
               'name.endswith(("attn.out.weight", "mlp.down.weight", "embed.weight", "position.weight"))',
               "the embeddings are counted among the writers",
               "The embeddings begin the stream. Which matrices add to it 2L times?"),
        Mutant("writers_biases", "", """\
def initial_std(names, layers):
    stds = {}
    for name in names:
        if "attn.out" in name or "mlp.down" in name:
            stds[name] = 0.02 / math.sqrt(2 * layers)
        elif name.endswith("bias") or "norm" in name:
            stds[name] = 0.0
        else:
            stds[name] = 0.02
    return stds""",
               "the biases of the writers are drawn like their matrices",
               "With what do all biases start, those of the writers too?"),
        Mutant("biases_random", CONSTANT, '"norm" in name',
               "biases are drawn like matrices",
               "With what do all biases start?"),
        Mutant("norms_random", CONSTANT, 'name.endswith("bias")',
               "gains are drawn like matrices",
               "With what does every gain start, and how spread out are numbers that are all equal?"),
        Mutant("gains_one", "stds[name] = 0.0\n", 'stds[name] = 0.0 if name.endswith("bias") else 1.0\n',
               "a gain's value is returned, not the spread of the gains",
               "All gains are 1. What is their standard deviation?"),
        Mutant("all_one", "stds[name] = 0.0\n", "stds[name] = 1.0\n",
               "constant numbers are given a spread of one",
               "How spread out are numbers that are all equal?"),
        Mutant("final_norm_forgotten", '"norm" in name', '".norm" in name',
               "the last norm is not recognised, because it is in no block",
               "Which names in the table contain `norm`, and which of them begin with it?"),
        Mutant("block_norm_only", '"norm" in name', '"norm1" in name or "norm2" in name',
               "the last norm is not recognised, because it is in no block",
               "Which names in the table contain `norm`, and which of them begin with it?"),
        Mutant("norm_biases", CONSTANT,
               '"norm" in name or name.endswith(("attn.q.bias", "attn.k.bias", "attn.v.bias"))',
               "only some of the biases start at zero",
               "Which layers have a bias, and with what do all of them start?"),
        Mutant("small_positions", PLAIN, "        else:\n"
               '            stds[name] = 0.01 if name == "position.weight" else 0.02\n',
               "the position embedding starts narrower than the statement says",
               "What does the rule say of matrices that do not write into the stream?"),
        Mutant("answers_overwritten", "", """\
def initial_std(names, layers):
    stds = {}
    for name in names:
        if name.endswith("bias") or "norm" in name:
            stds[name] = 0.0
        if name.endswith(("attn.out.weight", "mlp.down.weight")):
            stds[name] = 0.02 / math.sqrt(2 * layers)
        else:
            stds[name] = 0.02
    return stds""",
               "an `else` belongs to the last `if` only, and overwrites what the one before it has found",
               "Follow a bias through your lines: which of them does it pass, and which is the last to write?"),
        Mutant("wide_embeddings", PLAIN, "        else:\n"
               '            stds[name] = 1.0 if name in ("embed.weight", "position.weight") else 0.02\n',
               "embeddings are given a spread of one, PyTorch's default",
               "What does the rule say of matrices that do not write into the stream?"),
        Mutant("variances", "return stds", "return {name: std**2 for name, std in stds.items()}",
               "variances are returned instead of standard deviations",
               "Which of the two is 0.02?"),
        Mutant("a_list", "return stds", "return list(stds.values())",
               "a list is returned instead of a dictionary",
               "How would the caller find the number of one name?"),
        Mutant("skips_constants", "            stds[name] = 0.0\n", "            continue\n",
               "names of gains and biases are left out",
               "How many entries should the dictionary have?"),
        Mutant("one_block", WRITERS, 'name in ("blocks.0.attn.out.weight", "blocks.0.mlp.down.weight")',
               "only block 0 is recognised",
               "Which part of a name changes from block to block?"),
        Mutant("one_digit", WRITERS, 'name[9:] in ("attn.out.weight", "mlp.down.weight")',
               "the name is cut at a fixed place, as if no block had a number of two digits",
               "What is the name of the writer in block 10?"),
    ),
    variants=("""\
def initial_std(names, layers):
    def std(name):
        *_, part, kind = name.split(".")
        if kind == "bias" or part.startswith("norm"):
            return 0.0
        return 0.02 * (2 * layers) ** -0.5 if part in ("out", "down") else 0.02
    return {name: std(name) for name in names}""", """\
def initial_std(names, layers):
    stds = dict.fromkeys(names, 0.02)
    for name in stds:
        if "bias" in name or "norm" in name:
            stds[name] = 0
        elif "out" in name or "down" in name:
            stds[name] /= math.sqrt(layers * 2)
    return stds""", """\
def initial_std(names, layers):
    import re
    writer = math.sqrt(0.02**2 / (2 * layers))
    rules = [(r"bias$", 0.0), (r"norm\\d?\\.weight$", 0.0), (r"(out|down)\\.weight$", writer)]
    return {name: next((std for pattern, std in rules if re.search(pattern, name)), 0.02) for name in names}""",
    ),
    properties=(
        Property(lambda stds, names, layers: set(stds) == set(names), "The dictionary does not have exactly the names "
                                                                      "that were given."),
    ),
    tolerance=1e-7,
    twin=std_twin,
)  # fmt: skip


# 05.7


def parameters_twin(rng: random.Random) -> Question:
    C, L = rng.choice([10, 20, 30, 100]), rng.randint(2, 9)
    return Question(
        f"A GPT of the GPT-2 family is {C} wide. By how many parameters does it grow if it gets {L} more blocks?",
        L * (12 * C * C + 13 * C),
        f"Each block has 12 C² numbers in matrices and 13 C in biases and norms: {L} of them.",
    )  # fmt: skip


COUNT_NORM, COUNT_ATTENTION = "norm = 2 * width", "attention = 4 * (width * width + width)"
COUNT_MLP = "feed_forward = (width * 4 * width + 4 * width) + (4 * width * width + width)"
COUNT_BLOCK, COUNT_HEAD = "each_block = 2 * norm + attention + feed_forward", "head = 0 if tied else vocab * width"
COUNT_ALL = "return vocab * width + context * width + layers * each_block + norm + head"
ONE_C = "C numbers are missing in each block, as many as the bias of one layer that ends on the stream"
THREE_C = "3 C numbers are missing in each block: attention has one bias for four layers, or the wide layer's is C long"
FOUR_C = "4 C numbers are missing in each block: the biases of attention, the bias of the wide layer, or the two norms"
BIASES = "A linear layer from a to b features: how many biases has it, and how many layers and norms has a block?"
NORMS = "How many LayerNorms are there in a block, and how many outside of all blocks?"
GPT2_PARAMETERS = Exercise(
    cases=lambda: [
        (1, 2, 3, 5, True),
        (3, 8, 50, 16, False),
        (12, 768, 50257, 1024, True),
        (5, 12, 7, 30, True),
        (2, 6, 11, 4, False),
        (24, 1024, 50257, 2048, False),
    ],
    mutants=(
        Mutant("no_attention_biases", COUNT_ATTENTION, "attention = 4 * width * width",
               FOUR_C, BIASES),
        Mutant("no_mlp_biases", COUNT_MLP, "feed_forward = 8 * width * width",
               "the biases of the MLP are missing", BIASES),
        Mutant("no_layer_biases", f"{COUNT_ATTENTION}\n    {COUNT_MLP}",
               "attention = 4 * width * width\n    feed_forward = 8 * width * width",
               "no linear layer has a bias", BIASES),
        Mutant("no_norm_biases", COUNT_NORM, "norm = width",
               "a norm has a gain but no bias",
               "Which two things does a LayerNorm learn for each feature?"),
        Mutant("no_biases", f"{COUNT_NORM}\n    {COUNT_ATTENTION}\n    {COUNT_MLP}",
               "norm = width\n    attention = 4 * width * width\n    feed_forward = 8 * width * width",
               "biases are missing everywhere", BIASES),
        Mutant("no_norms", "2 * norm + ", "",
               FOUR_C, BIASES),
        Mutant("no_norms_at_all", COUNT_NORM, "norm = 0",
               "norms are taken to have nothing to learn",
               "Which two things does a LayerNorm learn for each feature?"),
        Mutant("one_norm", "2 * norm + attention", "norm + attention",
               "a block has only one norm", NORMS),
        Mutant("three_norms", "2 * norm + attention", "3 * norm + attention",
               "a block has three norms", NORMS),
        Mutant("no_final_norm", " + norm + head", " + head",
               "the norm after the last block is missing", NORMS),
        Mutant("final_norm_gain", " + norm + head", " + width + head",
               "the norm after the last block has a gain but no bias",
               "Which two things does a LayerNorm learn for each feature?"),
        Mutant("last_norm_in_each", COUNT_ALL,
               "return vocab * width + context * width + layers * (each_block + norm) + head",
               "the norm after the last block is counted in every block", NORMS),
        Mutant("shared_norm", COUNT_ALL,
               "return vocab * width + context * width + layers * (each_block - 2 * norm) + 3 * norm + head",
               "all blocks share their two norms", NORMS),
        Mutant("no_positions", " + context * width", "",
               "the position embedding is missing",
               "How does the model know that token 5 comes before token 6?"),
        Mutant("positions_per_block", COUNT_ALL,
               "return vocab * width + layers * (each_block + context * width) + norm + head",
               "every block has a position embedding of its own",
               "Where do positions enter: once at the bottom, or in each block?"),
        Mutant("positions_untrained", "context * width", "context",
               "a position is one number",
               "What is added to a token's vector to mark its position, a number or a vector?"),
        Mutant("always_head", COUNT_HEAD, "head = vocab * width",
               "the head is counted even where it is the embedding",
               "Two names for one matrix: how many numbers can training move?"),
        Mutant("never_head", COUNT_HEAD, "head = 0",
               "the head is never counted",
               "What is the last matrix of a model that is not tied?"),
        Mutant("tied_inverted", COUNT_HEAD, "head = vocab * width if tied else 0",
               "the head is counted where it is shared, and left out where it is not",
               "Two names for one matrix: how many numbers can training move?"),
        Mutant("head_bias", COUNT_HEAD, "head = vocab if tied else vocab * width + vocab",
               "the head has a bias",
               "What does the statement say of the head?"),
        Mutant("head_bias_untied", COUNT_HEAD, "head = 0 if tied else vocab * width + vocab",
               "the head has a bias",
               "What does the statement say of the head?"),
        Mutant("no_embedding", "vocab * width + context", "context",
               "the token embedding is missing",
               "A tied head is the embedding. How often is the matrix counted that both of them are?"),
        Mutant("three_matrices", COUNT_ATTENTION, "attention = 3 * (width * width + width)",
               "the matrix after the heads is missing",
               "What becomes of the heads' outputs before they are added to the stream?"),
        Mutant("three_biases", COUNT_ATTENTION, "attention = 4 * width * width + 3 * width",
               ONE_C, BIASES),
        Mutant("attention_bias_once", COUNT_ATTENTION, "attention = 4 * width * width + width",
               THREE_C, BIASES),
        Mutant("narrow_bias", "4 * width + 4 * width)", "4 * width + width)",
               THREE_C, BIASES),
        Mutant("wide_biases", COUNT_MLP, "feed_forward = 8 * width * width + 8 * width",
               "both biases of the MLP are 4C long", BIASES),
        Mutant("no_down_bias", COUNT_MLP, "feed_forward = 8 * width * width + 4 * width",
               ONE_C, BIASES),
        Mutant("no_up_bias", COUNT_MLP, "feed_forward = 8 * width * width + width",
               FOUR_C, BIASES),
        Mutant("one_mlp_matrix", COUNT_MLP, "feed_forward = 4 * width * width + 4 * width",
               "the MLP has only one matrix",
               "The hidden layer is 4C wide and the stream C. How does the MLP come back?"),
        Mutant("narrow_mlp", COUNT_MLP, "feed_forward = 2 * (width * width + width)",
               "the MLP is as wide as the stream",
               "How wide is the hidden layer?"),
        Mutant("square_mlp", COUNT_MLP, "feed_forward = 2 * (16 * width * width + 4 * width)",
               "both matrices of the MLP are 4C by 4C",
               "From how many features to how many does each of the two matrices go?"),
        Mutant("three_mlp_matrices", COUNT_MLP, "feed_forward = 12 * width * width + 9 * width",
               "the MLP has a third matrix, a gate",
               "How many matrices does the MLP of this family have?"),
        Mutant("folklore", COUNT_ALL, "return 12 * layers * width * width",
               "only the matrices of the blocks are counted",
               "What is below the first block, and above the last?"),
        Mutant("folklore_and_embedding", COUNT_ALL, "return 12 * layers * width * width + vocab * width",
               "only matrices and the token embedding are counted",
               "What has a model besides matrices, and where are its positions?"),
        Mutant("blocks_only", COUNT_ALL, "return layers * each_block",
               "only the blocks are counted",
               "What is below the first block, and above the last?"),
        Mutant("one_block", "layers * each_block", "each_block",
               "only one block is counted",
               "Do the blocks share their parameters?"),
        Mutant("one_block_less", "layers * each_block", "(layers - 1) * each_block",
               "one block too few is counted",
               "How often does the body of `for i in range(1, 12)` run?"),
        Mutant("one_block_more", "layers * each_block", "(layers + 1) * each_block",
               "one block too many is counted",
               "How many blocks has a model of L blocks?"),
        Mutant("mask_counted", " + norm + head", " + norm + head + context * context",
               "the causal mask is counted",
               "Does training move the causal mask?"),
        Mutant("padded", COUNT_ALL,
               "vocab = -(-vocab // 64) * 64\n    head = 0 if tied else vocab * width\n    " + COUNT_ALL,
               "the vocabulary is rounded up to a multiple of 64",
               "For how many tokens does the model have a vector?"),
        Mutant("whole_in_blocks", COUNT_ALL,
               "return layers * (vocab * width + context * width + each_block + norm + head)",
               "everything is counted once for each block",
               "Which parts are there only once, however deep the model is?"),
        Mutant("bytes", COUNT_ALL, COUNT_ALL.replace("return ", "return 4 * (") + ")",
               "bytes are counted instead of numbers",
               "What is asked for, numbers or bytes?"),
        Mutant("millions", COUNT_ALL, COUNT_ALL.replace("return ", "return round((") + ") / 1e6)",
               "the result is in millions",
               "What is asked for, and is it a whole number to the last digit?"),
    ),
    variants=("""\
def gpt2_parameters(layers, width, vocab, context, tied):
    return layers * (12 * width**2 + 13 * width) + 2 * width + width * (context + vocab * (1 if tied else 2))""", """\
def gpt2_parameters(layers, width, vocab, context, tied):
    C = width
    linear = lambda a, b: a * b + b
    total = vocab * C + context * C
    for _ in range(layers):
        total += 2 * C + sum(linear(C, C) for _ in range(4)) + 2 * C + linear(C, 4 * C) + linear(4 * C, C)
    total += 2 * C
    if not tied:
        total += C * vocab
    return total""", """\
def gpt2_parameters(layers, width, vocab, context, tied):
    shapes = [(vocab, width), (context, width), (width,), (width,)] + ([] if tied else [(vocab, width)])
    block = [(width,)] * 4 + [(width, 3 * width), (3 * width,), (width, width), (width,)]
    block += [(width, 4 * width), (4 * width,), (4 * width, width), (width,)]
    return sum(math.prod(shape) for shape in shapes + layers * block)""", """\
def gpt2_parameters(layers, width, vocab, context, tied):
    from minigpt import ModelConfig
    from minigpt.accounting import parameters
    shape = dict(layers=layers, width=width, heads=1, kv_heads=1, head_size=width, mlp_width=4 * width)
    return parameters(ModelConfig("gpt2", **shape, context=context, vocab_size=vocab, tied=tied, activation="gelu"))""",
    ),
    twin=parameters_twin,
)  # fmt: skip


# 05.8


def batch_twin(rng: random.Random) -> Question:
    fixed, each, first, more = rng.randint(2, 8), rng.randint(1, 4), rng.randint(2, 5), rng.randint(6, 20)
    return Question(
        f"With {first} sequences a training step takes {fixed + first * each} GiB, {fixed} of them for weights, "
        f"gradients and optimizer. How many sequences fit into {fixed + more * each} GiB?", more,
        f"Each sequence takes {each} GiB; {more * each} GiB are left.",
    )  # fmt: skip


FIXED, EACH = "16 * parameters", "(peak - fixed) // batch"
FITS = "max(0, (budget - fixed) // each)"
BATCH_BODY = f"each = {EACH}\n    return {FITS}"
FOUR_NUMBERS = "Weight, gradient, and what AdamW keeps: how many numbers for each parameter, of how many bytes?"
MEASURED = "How many sequences were in the measured step, and in which unit is your result: sequences, or batches?"
LINE = "You double the batch. Do the weights double?"
LARGEST_BATCH = Exercise(
    cases=lambda: [
        (100, 2, 2600, 4100),
        (100, 2, 2600, 4099),
        (1_000, 3, 16_000 + 3 * 700, 16_000 + 11 * 700 + 350),
        (124_439_808, 8, 16 * 124_439_808 + 8 * 611_000_111, 24 * 2**30),
        (50, 1, 900, 850),  # room for the parameters, but for no sequence
        (50, 4, 1200, 300),  # not even for the parameters
        (7, 5, 112 + 5 * 13, 112 + 13 * 9),  # exactly full
        (2_000_000, 6, 33_200_000, 48 * 10**6),
        (10, 20, 160 + 20 * 9, 250),  # fewer than were measured
        (50, 3, 800 + 3 * 2, 800 + 2 * 5000),  # many
    ],
    mutants=(
        Mutant("proportional", BATCH_BODY, "return budget * batch // peak",
               "all memory is taken to grow with the batch", LINE),
        Mutant("proportional_rounded", BATCH_BODY, "return budget // (peak // batch)",
               "all memory is taken to grow with the batch", LINE),
        Mutant("slope_of_all", EACH, "peak // batch",
               "the fixed part is shared out among the sequences, and then counted a second time", LINE),
        Mutant("fixed_not_in_budget", "(budget - fixed) // each", "budget // each",
               "the whole budget is given to the sequences",
               "Where do the weights lie while the sequences are computed?"),
        Mutant("weights_only", FIXED, "4 * parameters",
               "only the weights are counted as fixed", FOUR_NUMBERS),
        Mutant("weights_and_gradients", FIXED, "8 * parameters",
               "only weights and gradients are counted as fixed", FOUR_NUMBERS),
        Mutant("one_mean", FIXED, "12 * parameters",
               "AdamW is taken to keep one number for each parameter", FOUR_NUMBERS),
        Mutant("one_byte", FIXED, "4 * 1 * parameters // 4",
               "parameters are counted instead of their bytes", FOUR_NUMBERS),
        Mutant("numbers", FIXED, "2 * parameters",
               "two bytes are counted for each parameter", FOUR_NUMBERS),
        Mutant("half_precision_copy", FIXED, "18 * parameters",
               "a copy of the weights in half precision is counted too", FOUR_NUMBERS),
        Mutant("five_numbers", FIXED, "20 * parameters",
               "five numbers are counted for each parameter", FOUR_NUMBERS),
        Mutant("fixed_per_sequence", EACH, "peak - fixed * batch",
               "each sequence is given weights of its own", LINE),
        Mutant("no_division", EACH, "(peak - fixed)",
               "the bytes of all measured sequences are taken for those of one", MEASURED),
        Mutant("multiplied", EACH, "(peak - fixed) * batch",
               "the bytes of the measured sequences are multiplied by their number",
               "How many sequences were in the measured step, and what does one of them take?"),
        Mutant("whole_multiples", BATCH_BODY, "return max(0, batch * ((budget - fixed) // (peak - fixed)))",
               "only whole multiples of the measured batch are allowed",
               "May a batch be one sequence larger than the one you have measured?"),
        Mutant("on_top", BATCH_BODY, f"each = {EACH}\n    return max(0, (budget - peak) // each)",
               "the result is what fits on top of the measured batch",
               "Is it asked how many sequences fit, or how many more?"),
        Mutant("not_below_measured", BATCH_BODY, f"each = {EACH}\n    return batch + max(0, (budget - peak) // each)",
               "the batch is never made smaller than the measured one",
               "Your budget is below the peak. How many sequences fit?"),
        Mutant("measured_or_nothing", FITS, f"0 if budget < peak else {FITS}",
               "nothing is taken to fit into less than was measured",
               "You measured with 20 sequences. Does one of them need as much?"),
        Mutant("towards_zero", BATCH_BODY, f"each = {EACH}\n    return max(0, batch + int((budget - peak) / each))",
               "what has to go from the measured batch is rounded towards zero, so that too little goes",
               "What is int(-0.5), and which way do you have to round so that the batch still fits?"),
        Mutant("negative", FITS, "(budget - fixed) // each",
               "a budget that is too small gives a negative number of sequences",
               "What should come out where not even the weights fit?"),
        Mutant("at_least_one", "max(0, ", "max(1, ",
               "one sequence is promised where none fits",
               "How many bytes does your batch take?"),
        Mutant("absolute", FITS, "abs(budget - fixed) // each",
               "what is missing counts like what is left",
               "What should come out where not even the weights fit?"),
        Mutant("rounded", FITS, "max(0, round((budget - fixed) / each))",
               "the number is rounded to the nearest one",
               "Which way do you have to round so that it still fits?"),
        Mutant("rounded_up", FITS, "max(0, -((fixed - budget) // each))",
               "the number is rounded up",
               "Which way do you have to round so that it still fits?"),
        Mutant("fraction", FITS, "max(0, (budget - fixed) / each)",
               "a part of a sequence is allowed",
               "Which kind of number is a batch?"),
        Mutant("must_have_room", "(budget - fixed) // each", "(budget - fixed - 1) // each",
               "a budget that is exactly full does not count as enough",
               "Do 4100 bytes fit into 4100 bytes?"),
        Mutant("one_less", FITS, "max(0, (budget - fixed) // each - 1)",
               "the result is one sequence too small",
               "Does one more still fit?"),
        Mutant("one_more", FITS, "max(0, (budget - fixed) // each + 1)",
               "the result is one sequence too large",
               "How many bytes does your batch take?"),
        Mutant("power_of_two", FITS, "2 ** int(math.log2(max(1, (budget - fixed) // each))) "
               "if budget >= fixed + each else 0",
               "the batch is rounded down to a power of two",
               "Does a batch have to be a power of two?"),
        Mutant("added", "(budget - fixed) // each", "(budget + fixed) // each",
               "the fixed part is added to the budget",
               "Do the weights make room, or take it?"),
        Mutant("gibibytes", "(budget - fixed)", "(budget * 2**30 - fixed)",
               "the budget is taken to be in GiB",
               "In which unit is the budget?"),
        Mutant("upside_down", "(budget - fixed) // each", "each // max(1, budget - fixed)",
               "the bytes of a sequence are divided by what is left",
               "More budget: more sequences, or fewer?"),
        Mutant("share", BATCH_BODY, f"each = {EACH}\n    return max(0, (budget - fixed) // each) // batch",
               "the bytes of all measured sequences are taken for those of one", MEASURED),
        Mutant("search_bound", "", """\
def largest_batch(parameters, batch, peak, budget):
    each = (peak - 16 * parameters) // batch
    best = 0
    for n in range(batch + 1):
        if 16 * parameters + n * each <= budget:
            best = n
    return best""",
               "the search ends at the measured batch",
               "Can the answer be larger than what you have measured?"),
    ),
    variants=("""\
def largest_batch(parameters, batch, peak, budget):
    fixed = parameters * 4 * 4
    per_sequence = (peak - fixed) / batch
    if budget < fixed:
        return 0
    return int((budget - fixed) / per_sequence)""", """\
def largest_batch(parameters, batch, peak, budget):
    state = 4 * parameters + 4 * parameters + 8 * parameters
    each, n = (peak - state) // batch, 0
    while state + (n + 1) * each <= budget:
        n += 1
    return n""", """\
def largest_batch(parameters, batch, peak, budget):
    left = budget - 16 * parameters
    return left * batch // (peak - 16 * parameters) if left > 0 else 0""", """\
def largest_batch(parameters, batch, peak, budget):
    each = (peak - 16 * parameters) // batch
    return max(0, batch + (budget - peak) // each)""",
    ),
    properties=(
        Property(lambda n, *_: n >= 0, "The number of sequences is negative."),
    ),
    twin=batch_twin,
)  # fmt: skip


# 05.9


def lens_twin(rng: random.Random) -> Question:
    """From which layer on the final token stays on top."""
    L = rng.randint(6, 10)
    stay, early = rng.randint(3, L - 1), rng.randint(0, 1)
    tops = ["dog" if i >= stay or i == early else "cat" for i in range(L + 1)]
    return Question(
        f"The top tokens of one position, from before the first block (layer 0) to after the last: {', '.join(tops)}. "
        "From which layer on is it decided?", stay,
        f"Read backwards: the last other word stands at layer {stay - 1}.",
    )  # fmt: skip


def lens_cases() -> list[tuple]:
    """Residuals, norm, head: of several depths and shapes; tokens come, go and come back."""
    cases = []
    sizes = ((6, (2, 5, 4), 3), (4, (7, 3), 5), (9, (3, 2, 6), 2), (1, (1, 8), 6), (0, (3, 5), 4))
    for i, (L, shape, V) in enumerate(sizes):
        first, gain, bias, weight = normal(590 + i, shape, shape[-1:], shape[-1:], (V, shape[-1]))
        steps = normal(600 + i, *[shape] * L)
        residuals = [first]
        for step in steps:
            residuals.append(residuals[-1] + 0.7 * step)
        cases.append((residuals, *reading(gain, bias, weight)))
    ones = torch.ones(4, 2, 3) * torch.tensor([1.0, 3.0, 2.0])  # decided from the beginning, everywhere
    return [*cases, (list(ones.split(1)), lambda x: x, lambda x: x)]


def reading(gain, bias, weight):
    """A final norm and a head."""

    def norm(x):
        return F.layer_norm(x, x.shape[-1:], gain, 2 * bias)

    def head(x):
        return 0.3 * x @ weight.T  # so little that hardly any token is more likely than not

    return norm, head


TOPS = "top = torch.stack([head(norm(x)).argmax(dim=-1) for x in residuals])"
LENS_REST = """\
    decided = torch.full_like(top[-1], len(residuals) - 1)
    for layer in reversed(range(len(residuals))):
        still = (decided == layer + 1) | (layer == len(residuals) - 1)  # an unbroken run to the end
        decided = torch.where(still & (top[layer] == top[-1]), layer, decided)
    return decided"""
RUN = "    run = (top == top[-1]).int().flip(0).cumprod(0).sum(0)\n    return "
CAME_BACK = "A token was on top at layer 1, lost its place at 2 and came back at 3. From where on does it stay?"
HEAD_READS = "What has the head always been given in training: the stream, or the stream after the final norm?"
ONE_LOW = "the result is one layer too low: the last other token is returned, or the stream before block 0 is left out"
WHICH_LAYER = "Which layer has the number 0, and is the final token on top at the layer that you return?"
COUNT_FROM = "A text of one block, decided only by it: which number should come out, and which do you return?"
LOGIT_LENS = Exercise(
    cases=lens_cases,
    mutants=(
        Mutant("first_time", LENS_REST, "    return (top == top[-1]).int().argmax(dim=0)",
               "the first layer with the right token counts, even if it is lost again", CAME_BACK),
        Mutant("number_of_agreements", LENS_REST, "    return len(residuals) - (top == top[-1]).sum(dim=0)",
               "all layers with the right token are counted, wherever they are", CAME_BACK),
        Mutant("agreements", LENS_REST, "    return (top == top[-1]).sum(dim=0)",
               "the layers that agree with the last one are counted",
               "What is asked for, how many layers agree or from which one on?"),
        Mutant("run_length", LENS_REST, RUN + "run",
               "the length of the run is returned, not where it begins", COUNT_FROM),
        Mutant("before_the_end", LENS_REST, RUN + "run - 1",
               "layers are counted from the top", COUNT_FROM),
        Mutant("from_one", LENS_REST, RUN + "len(residuals) - run + 1",
               "layers are counted from 1", "Which number has the stream before the first block?"),
        Mutant("last_wrong", LENS_REST, RUN + "len(residuals) - run - 1",
               "the last layer with another token is returned",
               "At the layer that you return, is the token on top already the final one?"),
        Mutant("last_wrong_not_below_zero", LENS_REST, RUN + "(len(residuals) - run - 1).clamp(min=0)",
               ONE_LOW, WHICH_LAYER),
        Mutant("run_from_start", LENS_REST,
               "    run = (top == top[-1]).int().cumprod(0).sum(0)\n    return run",
               "the run is counted from the bottom", "From which end must the run be unbroken?"),
        Mutant("first_change", LENS_REST, "    return (top != top[0]).int().argmax(dim=0)",
               "the first layer that differs from the bottom is returned",
               "With which layer do you have to compare: the first or the last?"),
        Mutant("as_the_next", LENS_REST,
               "    same = torch.cat([(top[1:] == top[:-1]).int(), torch.ones_like(top[-1:])])\n"
               "    return same.argmax(dim=0)",
               "two layers in a row with the same token are taken for a decision", CAME_BACK),
        Mutant("two_in_a_row", LENS_REST, """\
    right = top == top[-1]
    both = torch.cat([right[:-1] & right[1:], torch.ones_like(right[-1:])])
    return both.int().argmax(dim=0)""",
               "two layers in a row with the final token are taken for a decision", CAME_BACK),
        Mutant("no_norm", "head(norm(x))", "head(x)",
               "the head reads the stream without the final norm", HEAD_READS),
        Mutant("norm_last_only", TOPS,
               "last = head(norm(residuals[-1])).argmax(-1)\n"
               "    top = torch.stack([*(head(x).argmax(-1) for x in residuals[:-1]), last])",
               "only the last layer is read through the norm", HEAD_READS),
        Mutant("last_not_normed", TOPS,
               "last = head(residuals[-1]).argmax(-1)\n"
               "    top = torch.stack([*(head(norm(x)).argmax(-1) for x in residuals[:-1]), last])",
               "the last layer is read without the norm, as if it had been applied already", HEAD_READS),
        Mutant("norm_twice", "head(norm(x))", "head(norm(norm(x)))",
               "the norm is applied twice", HEAD_READS),
        Mutant("norm_after_head", "head(norm(x))", "norm(head(x))",
               "the norm comes after the head",
               "How many numbers does the norm expect, C or V?"),
        Mutant("softmax_only", "head(norm(x))", "head(torch.softmax(x, dim=-1))",
               "a softmax stands where the norm should", HEAD_READS),
        Mutant("argmin", "argmax(dim=-1)", "argmin(dim=-1)",
               "the least likely token is taken",
               "Which logit belongs to the most likely token?"),
        Mutant("features", "head(norm(x)).argmax", "norm(x).argmax",
               "the largest feature of the stream is taken for a token",
               "What turns C features into V logits?"),
        Mutant("largest_size", "head(norm(x)).argmax", "head(norm(x)).abs().argmax",
               "a very negative logit is taken for a likely token",
               "Which logit belongs to the most likely token?"),
        Mutant("over_positions", "argmax(dim=-1)", "argmax(dim=-2)",
               "for each token the position with the largest logit is sought, instead of the reverse",
               "For each position, among what is the largest logit sought?"),
        Mutant("without_embedding", TOPS + "\n" + LENS_REST,
               TOPS.replace("in residuals", "in residuals[1:] or residuals")
               + "\n" + LENS_REST.replace("len(residuals)", "len(top)"),
               ONE_LOW, WHICH_LAYER),
        Mutant("without_last", TOPS + "\n" + LENS_REST,
               TOPS.replace("in residuals", "in residuals[:-1] or residuals")
               + "\n" + LENS_REST.replace("len(residuals)", "len(top)"),
               "the stream after the last block is left out",
               "How many tensors are in the list for L blocks, and which of them does the model itself read?"),
        Mutant("whole_text", LENS_REST, "    same = (top == top[-1]).flatten(1).all(dim=1)\n"
               "    run = same.int().flip(0).cumprod(0).sum()\n"
               "    return torch.full_like(top[-1], len(residuals) - int(run))",
               "one layer is given for all positions together",
               "May one position be decided earlier than another?"),
        Mutant("whole_sequence", LENS_REST, "    same = (top == top[-1]).all(dim=-1, keepdim=True)\n"
               "    run = same.int().flip(0).cumprod(0).sum(0)\n"
               "    return (len(residuals) - run).expand_as(top[-1])",
               "one layer is given for all positions of a text",
               "May one position be decided earlier than another?"),
        Mutant("one_number", LENS_REST, RUN + "(len(residuals) - run).float().mean()",
               "the layers are averaged over the positions",
               "How many positions are there, and how many numbers should come back?"),
        Mutant("fractions", LENS_REST, RUN + "(len(residuals) - run) / max(1, len(residuals) - 1)",
               "the layer is returned as a share of the depth",
               "Which kind of number is asked for?"),
        Mutant("sure", LENS_REST, "    last = len(residuals) - 1\n"
               "    chances = torch.stack([head(norm(x)).softmax(dim=-1) for x in residuals])\n"
               "    final = top[-1].expand_as(top)[..., None]\n"
               "    run = (chances.gather(-1, final)[..., 0] > 0.5).int().flip(0).cumprod(0).sum(0)\n"
               "    return (last + 1 - run).clamp(max=last)",
               "a token counts as decided only when it is more likely than all others together",
               "What makes a token the top one: more than a half, or more than any other?"),
        Mutant("tokens", LENS_REST, "    return top[-1]",
               "the final tokens are returned instead of layers",
               "What is asked for: which token, or since when?"),
        Mutant("all_tops", LENS_REST, "    return top",
               "the top tokens of all layers are returned",
               "What is asked for: which tokens, or since when?"),
        Mutant("one_lapse", LENS_REST, "    decided = torch.zeros_like(top[-1])\n"
               "    for layer in range(len(residuals)):\n"
               "        decided = torch.where(top[layer] == top[-1], decided, layer)\n    return decided",
               ONE_LOW, WHICH_LAYER),
        Mutant("stops_at_once", LENS_REST, "    for layer in reversed(range(len(residuals))):\n"
               "        if not (top[layer] == top[-1]).all():\n"
               "            return torch.full_like(top[-1], layer + 1)\n    return torch.zeros_like(top[-1])",
               "one layer is given for all positions together",
               "May one position be decided earlier than another?"),
        Mutant("lowest_of_all", LENS_REST, "    decided = torch.full_like(top[-1], len(residuals) - 1)\n"
               "    for layer in reversed(range(len(residuals))):\n"
               "        decided = torch.where(top[layer] == top[-1], layer, decided)\n    return decided",
               "the first layer with the right token counts, even if it is lost again", CAME_BACK),
        Mutant("neighbours", LENS_REST, "    changes = (top[1:] != top[:-1]).sum(dim=0)\n    return changes",
               "the changes of the top token are counted",
               "A token changes twice early and never again. From which layer on is it decided?"),
        Mutant("drift", TOPS, "tops = [head(norm(residuals[0])).argmax(dim=-1)]\n"
               "    for x, y in zip(residuals, residuals[1:]):\n"
               "        tops.append(head(norm(y - x)).argmax(dim=-1))\n    top = torch.stack(tops)",
               "what each block adds is read instead of the stream",
               "What does the list hold: the sum so far, or what was added last?"),
    ),
    variants=("""\
def logit_lens(residuals, norm, head):
    top = torch.stack([head(norm(x)).argmax(-1) for x in residuals])
    run = (top == top[-1]).int().flip(0).cumprod(dim=0).sum(dim=0)
    return len(residuals) - run""", """\
def logit_lens(residuals, norm, head):
    logits = head(norm(torch.stack(residuals)))
    top = torch.softmax(logits, dim=-1).topk(1, dim=-1).indices.squeeze(-1)
    wrong = top != top[-1]
    numbers = torch.arange(1, len(residuals) + 1).view(-1, *[1] * (top.ndim - 1))
    return (wrong * numbers).amax(dim=0)""", """\
def logit_lens(residuals, norm, head):
    tops = [head(norm(x)).argmax(dim=-1) for x in residuals]
    flat = [t.flatten().tolist() for t in tops]
    answer = []
    for p in range(len(flat[0])):
        layer = len(flat) - 1
        while layer > 0 and flat[layer - 1][p] == flat[-1][p]:
            layer -= 1
        answer.append(layer)
    return torch.tensor(answer).view(tops[0].shape)""", """\
def logit_lens(residuals, norm, head):
    final = head(norm(residuals[-1])).argmax(-1)
    since = torch.zeros_like(final)
    for layer, x in enumerate(residuals):
        other = head(norm(x)).argmax(-1) != final
        since[other] = layer + 1
    return since""",
    ),
    properties=(
        Property(lambda layer, residuals, *_: ((layer >= 0) & (layer < len(residuals))).all(),
                 "A layer is returned that the list does not have."),
    ),
    twin=lens_twin,
)  # fmt: skip


# 05.10


def parallel_twin(rng: random.Random) -> Question:
    C, H, D, M = rng.choice([32, 48, 64]), rng.randint(2, 5), rng.choice([8, 16, 24]), rng.choice([100, 150, 200])
    return Question(
        f"A parallel block is {C} wide, has {H} heads of {D} and a hidden layer of {M}, and no biases. How many "
        "numbers do its two matrices hold, the one that reads and the one that writes?",
        C * (3 * H * D + M) + (H * D + M) * C,
        f"{C} · (3 · {H * D} + {M}) to read and ({H * D} + {M}) · {C} to write.",
    )  # fmt: skip


def parallel_cases() -> list[tuple]:
    """x, gain, w_in, w_out, heads, head_size; one stream so small that eps is felt."""
    sizes = ((2, 5, 7, 3, 4, 11), (1, 1, 6, 2, 5, 3), (3, 6, 8, 2, 3, 9), (2, 4, 9, 1, 6, 2))
    cases = []
    for i, (B, T, C, H, D, M) in enumerate(sizes):
        shapes = ((B, T, C), (C,), (C, 3 * H * D + M), (H * D + M, C))
        x, gain, w_in, w_out = normal(610 + i, *shapes)
        cases.append((x * (0.003 if i == 2 else 1.0), gain, 0.7 * w_in, w_out / 2, H, D))
    return cases


P_SPLIT = "q, k, v, hidden = (normed @ w_in).split([wide, wide, wide, w_in.shape[1] - 3 * wide], dim=-1)"
P_HEADS = "q, k, v = (t.view(B, T, heads, head_size).transpose(1, 2) for t in (q, k, v))"
P_LOOKED = "looked = F.scaled_dot_product_attention(q, k, v, is_causal=True)"
P_GLUED = "looked = looked.transpose(1, 2).reshape(B, T, wide)"
P_NORMED = "normed = F.layer_norm(x, (C,), gain, eps=1e-5)"
P_BENT = 'bent = F.gelu(hidden, approximate="tanh")'
P_RETURN = "return x + torch.cat([looked, bent], dim=-1) @ w_out"
ORDER = "In which order does the statement list the columns of w_in and the rows of w_out?"
VIEWS = "Which numbers lie next to each other in memory: those of one head at several positions, or of one position?"
OWN_SIZE = "Is the head size that you are given C / H?"
PARALLEL_BLOCK = Exercise(
    cases=parallel_cases,
    tolerance=2e-5,
    mutants=(
        Mutant("one_after_the_other", P_BENT + "\n    " + P_RETURN,
               "x = x + looked @ w_out[:wide]\n    normed = F.layer_norm(x, (C,), gain, eps=1e-5)\n"
               '    hidden = normed @ w_in[:, 3 * wide :]\n'
               '    return x + F.gelu(hidden, approximate="tanh") @ w_out[wide:]',
               "the MLP reads the stream after attention has written to it",
               "From which copy of the stream does the MLP read?"),
        Mutant("mlp_of_attention", P_BENT + "\n    " + P_RETURN,
               "x = x + looked @ w_out[:wide]\n    hidden = x @ w_in[:, 3 * wide :]\n"
               '    return x + F.gelu(hidden, approximate="tanh") @ w_out[wide:]',
               "the MLP reads the stream after attention has written to it, without a norm",
               "From which copy of the stream does the MLP read?"),
        Mutant("mlp_first", P_NORMED, P_NORMED + "\n"
               '    x = x + F.gelu(normed @ w_in[:, 3 * heads * head_size :], approximate="tanh")'
               " @ w_out[heads * head_size :]\n    normed = F.layer_norm(x, (C,), gain, eps=1e-5)\n"
               "    w_out = torch.cat([w_out[: heads * head_size], torch.zeros_like(w_out[heads * head_size :])])",
               "attention reads the stream after the MLP has written to it",
               "From which copy of the stream does attention read?"),
        Mutant("mlp_not_normed", P_BENT, 'bent = F.gelu(x @ w_in[:, 3 * wide :], approximate="tanh")',
               "only attention reads the normalised copy",
               "From which copy of the stream does the MLP read?"),
        Mutant("attention_not_normed", P_HEADS,
               "q, k, v = (x @ w_in[:, : 3 * wide]).split(wide, dim=-1)\n    " + P_HEADS,
               "only the MLP reads the normalised copy",
               "From which copy of the stream does attention read?"),
        Mutant("no_norm", P_NORMED, "normed = x",
               "nothing is normalised",
               "What do both branches read?"),
        Mutant("rms", P_NORMED, "normed = F.rms_norm(x, (C,), gain, eps=1e-5)",
               "the mean is not subtracted in the norm",
               "What is the copy of (3, 1)?"),
        Mutant("no_gain", "(C,), gain, eps", "(C,), eps",
               "the gain of the norm is left out",
               "Where does your function use the gain?"),
        Mutant("gain_from_zero", "(C,), gain, eps", "(C,), 1 + gain, eps",
               "the gain is taken as what is added to one",
               "A gain of 1: what should it change?"),
        Mutant("gain_as_bias", "(C,), gain, eps", "(C,), None, gain, eps",
               "the gain is added instead of multiplied",
               "What does a gain do to a feature?"),
        Mutant("unbiased", P_NORMED, "centred = x - x.mean(dim=-1, keepdim=True)\n"
               "    normed = centred / torch.sqrt(x.var(dim=-1, keepdim=True) + 1e-5) * gain",
               "the variance is divided by C - 1",
               "By what does `var` divide if you do not say?"),
        Mutant("std_plus_eps", P_NORMED, "centred = x - x.mean(dim=-1, keepdim=True)\n"
               "    normed = centred / (x.std(dim=-1, keepdim=True, correction=0) + 1e-5) * gain",
               "eps is added to the standard deviation instead of the variance",
               "To which of the two does the statement add 1e-5?"),
        Mutant("other_eps", "eps=1e-5", "eps=1e-6",
               "eps is another one than in the statement",
               "How much does the statement add to the variance?"),
        Mutant("no_eps", "eps=1e-5", "eps=0.0",
               "nothing is added to the variance",
               "How much does the statement add to the variance?"),
        Mutant("norm_of_text", P_NORMED, "normed = F.layer_norm(x, (T, C), eps=1e-5) * gain",
               "one mean and one variance serve all tokens of a text",
               "May the size of one token's vector depend on its neighbours?"),
        Mutant("normed_stream", "return x +", "return normed +",
               "the answers are added to the normalised copy",
               "Is the vector that came into the block still a term of the sum that leaves it?"),
        Mutant("no_residual", "return x +", "return",
               "the answers replace the stream",
               "Is the vector that came into the block still a term of the sum that leaves it?"),
        Mutant("two_residuals", "return x +", "return 2 * x +",
               "the stream is added once for each branch",
               "If w_out is zero, what should come out?"),
        Mutant("in_place", P_RETURN, "x += torch.cat([looked, bent], dim=-1) @ w_out\n    return x",
               "`+=` changes the stream that was handed in",
               "Whose tensor is x?"),
        Mutant("mean_of_branches", P_RETURN, "return x + torch.cat([looked, bent], dim=-1) @ w_out / 2",
               "the two answers are averaged instead of added",
               "What does the formula do with the two answers?"),
        Mutant("not_causal", "is_causal=True", "is_causal=False",
               "positions see what comes after them",
               "May position 0 know of position 1?"),
        Mutant("mask_after", P_LOOKED,
               "looked = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(head_size), dim=-1).tril() @ v",
               "the mask comes after the softmax",
               "What do the weights of the first query add up to?"),
        Mutant("over_heads", f"{P_HEADS}\n    {P_LOOKED}\n    {P_GLUED}",
               P_HEADS.replace(".transpose(1, 2)", "") + f"\n    {P_LOOKED}\n    looked = looked.reshape(B, T, wide)",
               "attention runs over the heads of one position instead of over positions",
               "Which axis has to stand before the last one when attention is called?"),
        Mutant("whole_scale", P_LOOKED, P_LOOKED.replace("is_causal", "scale=wide**-0.5, is_causal"),
               "the scores are divided by the root of all heads' features together",
               "How many numbers does one dot product add up?"),
        Mutant("stream_scale", P_LOOKED, P_LOOKED.replace("is_causal", "scale=C**-0.5, is_causal"),
               "the scores are divided by the root of the stream's width",
               "How many numbers does one dot product add up?"),
        Mutant("share_scale", P_LOOKED, P_LOOKED.replace("is_causal", "scale=(C / heads) ** -0.5, is_causal"),
               "the scores are divided by the root of C / H", OWN_SIZE),
        Mutant("share_scale_whole", P_LOOKED, P_LOOKED.replace("is_causal", "scale=(C // heads) ** -0.5, is_causal"),
               "the scores are divided by the root of C / H", OWN_SIZE),
        Mutant("no_scale", P_LOOKED, P_LOOKED.replace("is_causal", "scale=1.0, is_causal"),
               "the scores are not divided by √D",
               "How large is a dot product of two random vectors of D numbers?"),
        Mutant("no_root", P_LOOKED, P_LOOKED.replace("is_causal", "scale=1 / head_size, is_causal"),
               "the scores are divided by D instead of its root",
               "A sum of D independent products has variance D. What is its standard deviation?"),
        Mutant("one_head", "view(B, T, heads, head_size)", "view(B, T, 1, wide)",
               "all heads are one",
               "How many sets of weights does a position have?"),
        Mutant("stretches", "t.view(B, T, heads, head_size).transpose(1, 2)", "t.reshape(B, heads, T, head_size)",
               "the text is cut into stretches instead of heads", VIEWS),
        Mutant("stretches_back", P_GLUED, "looked = looked.reshape(B, T, wide)",
               "the heads are glued back without bringing positions to the front", VIEWS),
        Mutant("stretches_both", f"{P_HEADS}\n    {P_LOOKED}\n    {P_GLUED}",
               P_HEADS.replace("view(B, T, heads, head_size).transpose(1, 2)", "reshape(B, heads, T, head_size)")
               + f"\n    {P_LOOKED}\n    looked = looked.reshape(B, T, wide)",
               "the text is cut into stretches, and each of them is taken for a head", VIEWS),
        Mutant("features_first", "t.view(B, T, heads, head_size).transpose(1, 2)",
               "t.view(B, T, head_size, heads).permute(0, 3, 1, 2)",
               "the heads' columns are taken to lie interleaved",
               "Which columns belong to head 0: the first D, or every H-th?"),
        Mutant("features_first_both", f"{P_HEADS}\n    {P_LOOKED}\n    {P_GLUED}",
               P_HEADS.replace("view(B, T, heads, head_size).transpose(1, 2)",
                               "view(B, T, head_size, heads).permute(0, 3, 1, 2)")
               + f"\n    {P_LOOKED}\n    looked = looked.permute(0, 2, 3, 1).reshape(B, T, wide)",
               "the heads' columns are taken to lie interleaved",
               "Which columns belong to head 0: the first D, or every H-th?"),
        Mutant("head_by_head", f"{P_SPLIT}\n    {P_HEADS}",
               "qkv, hidden = (normed @ w_in).split([3 * wide, w_in.shape[1] - 3 * wide], dim=-1)\n"
               "    q, k, v = qkv.view(B, T, heads, 3 * head_size).transpose(1, 2).chunk(3, dim=-1)",
               "each head's query, key and value are taken to lie side by side", ORDER),
        Mutant("mlp_columns_first", P_SPLIT,
               "hidden, q, k, v = (normed @ w_in).split([w_in.shape[1] - 3 * wide, wide, wide, wide], dim=-1)",
               "the columns of the hidden layer are taken to come first", ORDER),
        Mutant("mlp_rows_first", "[looked, bent]", "[bent, looked]",
               "the rows of the hidden layer are taken to come first in w_out", ORDER),
        Mutant("keys_first", "q, k, v, hidden = (", "k, q, v, hidden = (",
               "queries and keys have changed places", ORDER),
        Mutant("values_first", "q, k, v, hidden = (", "v, q, k, hidden = (",
               "the values are taken to come first", ORDER),
        Mutant("values_second", "q, k, v, hidden = (", "q, v, k, hidden = (",
               "keys and values have changed places", ORDER),
        Mutant("keys_values_swapped_all", "q, k, v, hidden = (", "k, v, q, hidden = (",
               "the queries are taken to come last", ORDER),
        Mutant("no_gelu", P_BENT, "bent = hidden",
               "the hidden layer is not bent",
               "What do two matrices in a row amount to?"),
        Mutant("erf", P_BENT, "bent = F.gelu(hidden)",
               "GELU is taken in its exact form, without the tanh",
               "Which form of GELU does the statement ask for?"),
        Mutant("relu", P_BENT, "bent = F.relu(hidden)",
               "a ReLU stands in for GELU",
               "What does GELU make of −1?"),
        Mutant("silu", P_BENT, "bent = F.silu(hidden)",
               "h times its sigmoid stands in for GELU",
               "What is GELU of 2, and what is yours?"),
        Mutant("all_bent", P_RETURN,
               'return x + F.gelu(torch.cat([looked, hidden], dim=-1), approximate="tanh") @ w_out',
               "the heads' outputs are bent too",
               "Which of the two branches has an activation?"),
        Mutant("bent_early", P_SPLIT, P_SPLIT.replace("(normed @ w_in)", 'F.gelu(normed @ w_in, approximate="tanh")')
               + "\n    hidden = (normed @ w_in)[..., 3 * wide :]",
               "queries, keys and values are bent too",
               "Which of the two branches has an activation?"),
        Mutant("bent_late", f"{P_BENT}\n    {P_RETURN}",
               'return x + F.gelu(torch.cat([looked, hidden], dim=-1) @ w_out, approximate="tanh")',
               "the sum of the answers is bent instead of the hidden layer",
               "On how many numbers of a token does GELU work: C, M, or more?"),
        Mutant("attention_only", P_RETURN, "return x + looked @ w_out[:wide]",
               "the MLP's answer is missing",
               "Whose rows are at the bottom of w_out?"),
        Mutant("mlp_only", P_RETURN, "return x + bent @ w_out[wide:]",
               "attention's answer is missing",
               "Whose rows are at the top of w_out?"),
        Mutant("own_head_size", "wide = heads * head_size", "head_size = C // heads\n    wide = heads * head_size",
               "the head size is taken to be C / H",
               "Where does your function use the head size that it is given?"),
        Mutant("answers_only", P_RETURN, "return torch.cat([looked, bent], dim=-1)",
               "the way back is missing",
               "Which shape does the stream have?"),
    ),
    variants=("""\
def parallel_block(x, gain, w_in, w_out, heads, head_size):
    mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
    h = (x - mean) * torch.rsqrt(var + 1e-5) * gain
    n = heads * head_size
    wq, wk, wv, up = w_in[:, :n], w_in[:, n : 2 * n], w_in[:, 2 * n : 3 * n], w_in[:, 3 * n :]
    future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
    y = x + F.gelu(h @ up, approximate="tanh") @ w_out[n:]
    for i in range(heads):
        own = slice(i * head_size, (i + 1) * head_size)
        scores = (h @ wq[:, own]) @ (h @ wk[:, own]).mT / math.sqrt(head_size)
        y = y + scores.masked_fill(future, -math.inf).softmax(-1) @ (h @ wv[:, own]) @ w_out[own]
    return y""", """\
def parallel_block(x, gain, w_in, w_out, heads, head_size):
    n = heads * head_size
    h = F.layer_norm(x, x.shape[-1:], weight=gain, bias=torch.zeros_like(gain))
    both = torch.einsum("btc,cn->btn", h, w_in)
    q, k, v = both[..., : 3 * n].reshape(*x.shape[:2], 3, heads, head_size).unbind(2)
    scores = torch.einsum("bthd,bshd->bhts", q, k) / head_size**0.5
    scores = scores + torch.full(scores.shape[-2:], -math.inf).triu(1)
    looked = torch.einsum("bhts,bshd->bthd", torch.softmax(scores, -1), v).flatten(2)
    m = both[..., 3 * n :]
    bent = 0.5 * m * (1 + torch.tanh(math.sqrt(2 / math.pi) * (m + 0.044715 * m**3)))
    return x + looked @ w_out[:n] + bent @ w_out[n:]""", """\
def parallel_block(x, gain, w_in, w_out, heads, head_size):
    B, T, C = x.shape
    n = heads * head_size
    normed = F.layer_norm(x, [C], eps=1e-5) * gain
    parts = normed @ w_in
    q, k, v = (torch.stack(parts[..., i * n : (i + 1) * n].split(head_size, dim=-1), dim=1) for i in range(3))
    mask = torch.ones(T, T, dtype=torch.bool).tril()
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    side_by_side = [y[:, h] for h in range(heads)] + [F.gelu(parts[..., 3 * n :], approximate="tanh")]
    return torch.addmm(x.reshape(-1, C), torch.cat(side_by_side, -1).reshape(B * T, -1), w_out).view(B, T, C)""",
    ),
    twin=parallel_twin,
)  # fmt: skip


EXERCISES = {
    "stream_variance": STREAM_VARIANCE,
    "layer_norm": LAYER_NORM,
    "block": BLOCK,
    "mlp": MLP,
    "next_token_loss": NEXT_TOKEN_LOSS,
    "initial_std": INITIAL_STD,
    "gpt2_parameters": GPT2_PARAMETERS,
    "largest_batch": LARGEST_BATCH,
    "logit_lens": LOGIT_LENS,
    "parallel_block": PARALLEL_BLOCK,
}


# Questions to come back to


def size_of_the_stream(rng: random.Random) -> Question:
    layers = rng.randint(3, 60)
    return Question(
        f"A stream starts with variance 1; each of {layers} blocks adds two independent answers of variance 1. What is "
        "the standard deviation of its numbers at the end?", math.sqrt(1 + 2 * layers),
        f"The variance is 1 + 2 · {layers}; the standard deviation is its root.", 0.01,
    )  # fmt: skip


def fresh_loss(rng: random.Random) -> Question:
    vocab = 64 * rng.randint(4, 900)
    return Question(
        f"A fresh GPT with a vocabulary of {vocab:,} starts training. At about which loss, in nats per token?",
        math.log(vocab), f"It gives each token about 1/{vocab}; −ln of that is ln {vocab:,}.", 0.02,
    )  # fmt: skip


def share_of_the_mlp(rng: random.Random) -> Question:
    times = rng.randint(2, 20)
    return Question(
        f"The MLP of a block is {times} times as wide as the stream, with two matrices; attention has four matrices of "
        "C × C. Which share of the block's matrix parameters is the MLP's?", 2 * times / (2 * times + 4),
        f"{2 * times} C² against 4 C²: {2 * times} of {2 * times + 4}.", 0.01,
    )  # fmt: skip


def state_of_training(rng: random.Random) -> Question:
    millions = rng.randint(5, 900)
    return Question(
        f"A model of {millions} million parameters trains in float32 with AdamW. How many megabytes (a million bytes) "
        "take weights, gradients and optimizer together?", 16 * millions,
        f"Four numbers of four bytes for each parameter: 16 · {millions}.", 0.01,
    )  # fmt: skip


def saved_by_tying(rng: random.Random) -> Question:
    vocab, width = 1000 * rng.randint(1, 60), rng.choice([64, 128, 256])
    return Question(
        f"A vocabulary of {vocab:,}, a stream {width} wide. How many parameters does it save to tie the head to the "
        "embedding?", vocab * width, f"One of two matrices of {vocab:,} × {width}.",
    )  # fmt: skip


def order_without_positions(rng: random.Random) -> Question:
    length = rng.randint(8, 40)
    a, b = sorted(rng.sample(range(length - 1), 2))
    return Question(
        f"A GPT without position embeddings and without a mask reads a text of {length} tokens; then the same text "
        f"with tokens {a} and {b} exchanged. Does the output at the last position change? (yes or no)", "no",
        "Attention is a weighted sum over the tokens, and a sum does not know an order.",
    )  # fmt: skip


RECALL = (
    size_of_the_stream, fresh_loss, share_of_the_mlp, state_of_training, saved_by_tying, order_without_positions,
)  # fmt: skip
PREDICTIONS = {
    "05.p1": Prediction(
        "Each of 24 blocks adds an independent vector of variance 1 to a stream that starts at variance 1. What is "
        "its variance at the end?",
        lambda: 25.0,
        "Variances of independent numbers add up: 1 + 24 · 1. (The standard deviation is its root, 5.)",
    ),
    "05.p2": Prediction(
        "A fresh GPT has a vocabulary of 2,048 and has learned nothing. What is its loss, in nats per token?",
        lambda: math.log(2048),
        "Its logits are all near zero, so that each token gets a probability of about 1/2048, and −ln(1/2048) is 7.62.",
        0.02,
    ),
    "05.p3": Prediction(
        "A block has attention with four matrices of C × C, and an MLP that is 4C wide. Which share of the block's "
        "matrix parameters is in the MLP?",
        lambda: 2 / 3,
        "Attention has 4 · C², the MLP two matrices of C × 4C, that is 8 · C²: eight twelfths.",
    ),
    "05.p4": Prediction(
        "Training in fp32 with AdamW: how many bytes for each parameter, activations left out?",
        lambda: 16.0,
        "Four numbers of four bytes: the weight, its gradient, and AdamW's two running means.",
    ),
    "05.p5": Prediction(
        "Exhibit 12 of the museum: how many times as large as it should be is the loss before the first update? (A "
        "whole number.)",
        lambda: 8.0,
        "A model that knows nothing has a loss of ln V = 5.55, and this one 43: its first logits are far too large.",
        0.1,
    ),
}
