"""Lesson 23, tensor and pipeline parallel: cases, and the wrong ideas that people have about it.

All ranks are entries of lists in one process. Sizes are pairwise distinct wherever an exercise allows it, and more than
two ranks occur: with two of them half of these mistakes cannot be seen.
"""
import random

import torch

from . import Exercise, Mutant, Prediction, Property, Question, normal


# 23.1


def cut_twin(rng: random.Random) -> Question:
    n, width = rng.choice([2, 4, 8]), 64 * rng.randint(2, 24)
    return Question(
        f"A GPT-2 MLP has the width {width} and {4 * width} units, and is shared by {n} ranks with one sum. How many "
        "numbers of its two weights and two biases does a rank hold?", 8 * width * width // n + 4 * width // n + width,
        f"Both matrices and the first bias are cut by {n}; the second bias, {width} numbers, is whole.",
    )  # fmt: skip


LAID = {"norm1.weight": "whole", "attn.q.weight": "outputs", "attn.q.bias": "outputs", "attn.out.weight": "inputs",
        "attn.out.bias": "whole", "norm2.bias": "whole", "mlp.up.weight": "outputs", "mlp.up.bias": "outputs",
        "mlp.down.weight": "inputs", "mlp.down.bias": "whole"}  # fmt: skip
SECOND = ("attn.out.weight", "mlp.down.weight")
FIRST = ("attn.q.weight", "mlp.up.weight")
LATE = ("attn.out.bias", "mlp.down.bias")
EARLY = ("attn.q.bias", "mlp.up.bias")
NORMS = ("norm1.weight", "norm2.bias")


def laid(*changes: tuple[tuple[str, ...], str]) -> str:
    """The source of an answer with other words for some of the parameters."""
    table = LAID | {name: word for names, word in changes for name in names}
    return f"def which_cut():\n    return {table!r}"


LEAVES = "What does the first matrix leave on each rank, and what does the second one take?"
BEND = "What is the GELU of a sum, and what the sum of the GELUs?"
WHOSE = "Which rank holds the finished number to which this bias is added?"
TIMES_N = "If each rank adds this bias to its summand, how often is it in the sum?"
NORM = "Can a rank take the mean over all features of a token if it has some of them?"
WHICH_CUT = Exercise(
    cases=lambda: [()],
    mutants=(
        Mutant("all_outputs", "", laid((SECOND, "outputs")),
               "every matrix is cut by outputs, so that somebody must gather in between", LEAVES),
        Mutant("all_outputs_biases", "", laid((SECOND, "outputs"), (LATE, "outputs")),
               "every matrix is cut by outputs, so that somebody must gather in between", LEAVES),
        Mutant("all_inputs", "", laid((FIRST, "inputs")),
               "every matrix is cut by inputs, so that there is a sum before the nonlinearity as well", BEND),
        Mutant("all_inputs_biases", "", laid((FIRST, "inputs"), (EARLY, "whole")),
               "every matrix is cut by inputs, so that there is a sum before the nonlinearity as well", BEND),
        Mutant("swapped", "", laid((FIRST, "inputs"), (SECOND, "outputs")),
               "the first matrix of a pair is cut by inputs and the second by outputs", BEND),
        Mutant("swapped_biases", "", laid((FIRST, "inputs"), (SECOND, "outputs"), (EARLY, "whole"), (LATE, "outputs")),
               "the first matrix of a pair is cut by inputs and the second by outputs", BEND),
        Mutant("late_bias_inputs", "", laid((LATE, "inputs")),
               "the biases of the second matrices are cut like their weights, by inputs",
               "How many inputs has a bias?"),
        Mutant("late_bias_outputs", "", laid((LATE, "outputs")),
               "the biases of the second matrices are cut by outputs, though each rank has all outputs after the sum",
               WHOSE),
        Mutant("early_bias_whole", "", laid((EARLY, "whole")),
               "the biases of the first matrices are whole, so that a rank holds those of units that it has not",
               WHOSE),
        Mutant("all_biases_whole", "", laid((EARLY, "whole"), (("norm2.bias",), "whole")),
               "the biases of the first matrices are whole, so that a rank holds those of units that it has not",
               WHOSE),
        Mutant("all_biases_outputs", "", laid((LATE, "outputs"), (("norm2.bias",), "outputs")),
               "every bias is cut by outputs", WHOSE),
        Mutant("early_bias_inputs", "", laid((EARLY, "inputs")),
               "the biases of the first matrices are cut by inputs", "How many inputs has a bias?"),
        Mutant("biases_like_weights", "", laid((EARLY, "outputs"), (LATE, "inputs"), (NORMS, "outputs")),
               "each bias goes with its weight, and the norms are cut, too", TIMES_N),
        Mutant("norms_outputs", "", laid((NORMS, "outputs")),
               "the norms are cut by features", NORM),
        Mutant("norms_inputs", "", laid((NORMS, "inputs")),
               "the norms are cut by features", NORM),
        Mutant("norm_weight", "", laid((("norm1.weight",), "outputs")),
               "the gain of a norm is cut and its bias is whole", NORM),
        Mutant("norm_bias", "", laid((("norm2.bias",), "outputs")),
               "the bias of a norm is cut and its gain is whole", NORM),
        Mutant("attention_outputs", "", laid((("attn.out.weight",), "outputs")),
               "attention's second matrix is not cut like that of the MLP",
               "What lies between attention's two matrices: does it mix heads?"),
        Mutant("attention_outputs_bias", "", laid((("attn.out.weight", "attn.out.bias"), "outputs")),
               "attention's second matrix is not cut like that of the MLP",
               "What lies between attention's two matrices: does it mix heads?"),
        Mutant("mlp_outputs", "", laid((("mlp.down.weight",), "outputs")),
               "the MLP's second matrix is not cut like that of attention", LEAVES),
        Mutant("attention_swapped", "", laid((("attn.q.weight",), "inputs"), (("attn.out.weight",), "outputs")),
               "attention is cut the other way round than the MLP",
               "With q cut by inputs, has a rank a finished head?"),
        Mutant("mlp_swapped", "", laid((("mlp.up.weight",), "inputs"), (("mlp.down.weight",), "outputs")),
               "the MLP is cut the other way round than attention", BEND),
        Mutant("attention_whole", "", laid((("attn.q.weight", "attn.q.bias", "attn.out.weight"), "whole")),
               "attention is not cut at all", "Can two ranks compute different heads?"),
        Mutant("second_whole", "", laid((SECOND, "whole")),
               "the second matrices are whole, so that they need all units on every rank", LEAVES),
        Mutant("first_whole", "", laid((FIRST, "whole"), (EARLY, "whole")),
               "the first matrices are whole: each rank computes all units",
               "Which part of the work has been shared out?"),
        Mutant("nothing", "", laid((tuple(LAID), "whole")),
               "nothing is cut", "Which part of the work has been shared out?"),
        Mutant("names_swapped", "", laid((FIRST + EARLY, "inputs"), (SECOND, "outputs"), (LATE, "whole")),
               "\"outputs\" and \"inputs\" have changed places, the biases with them",
               "nn.Linear stores (outputs, inputs). What has a rank that holds some of the rows?"),
        Mutant("late_bias_one", "", laid((("attn.out.bias",), "inputs")),
               "the bias of attention's second matrix is cut and that of the MLP's is whole", TIMES_N),
        Mutant("down_bias_one", "", laid((("mlp.down.bias",), "outputs")),
               "the bias of the MLP's second matrix is cut and that of attention's is whole", TIMES_N),
        Mutant("late_bias_one_outputs", "", laid((("attn.out.bias",), "outputs")),
               "the bias of attention's second matrix is cut and that of the MLP's is whole", TIMES_N),
        Mutant("down_bias_one_inputs", "", laid((("mlp.down.bias",), "inputs")),
               "the bias of the MLP's second matrix is cut and that of attention's is whole", TIMES_N),
        Mutant("q_bias_whole", "", laid((("attn.q.bias",), "whole")),
               "the bias of q is whole and that of mlp.up is cut", WHOSE),
        Mutant("up_bias_whole", "", laid((("mlp.up.bias",), "whole")),
               "the bias of mlp.up is whole and that of q is cut", WHOSE),
        Mutant("mlp_outputs_bias", "", laid((("mlp.down.weight", "mlp.down.bias"), "outputs")),
               "the MLP's second matrix is not cut like that of attention", LEAVES),
        Mutant("attention_swapped_biases", "", laid((("attn.q.weight",), "inputs"), (("attn.q.bias",), "whole"),
                                                    (("attn.out.weight", "attn.out.bias"), "outputs")),
               "attention is cut the other way round than the MLP",
               "With q cut by inputs, has a rank a finished head?"),
        Mutant("mlp_swapped_biases", "", laid((("mlp.up.weight",), "inputs"), (("mlp.up.bias",), "whole"),
                                              (("mlp.down.weight", "mlp.down.bias"), "outputs")),
               "the MLP is cut the other way round than attention", BEND),
        Mutant("mlp_inputs", "", laid((("mlp.up.weight",), "inputs")),
               "both matrices of the MLP are cut by inputs", BEND),
        Mutant("mlp_inputs_bias", "", laid((("mlp.up.weight",), "inputs"), (("mlp.up.bias",), "whole")),
               "both matrices of the MLP are cut by inputs", BEND),
        Mutant("attention_inputs", "", laid((("attn.q.weight",), "inputs")),
               "both matrices of attention are cut by inputs", "With q cut by inputs, has a rank a finished head?"),
        Mutant("attention_inputs_bias", "", laid((("attn.q.weight",), "inputs"), (("attn.q.bias",), "whole")),
               "both matrices of attention are cut by inputs", "With q cut by inputs, has a rank a finished head?"),
        Mutant("q_whole", "", laid((("attn.q.weight", "attn.q.bias"), "whole")),
               "q is whole, so that every rank computes all heads",
               "Which heads does a rank hand to the second matrix?"),
    ),
    variants=("""\
def which_cut():
    table = {}
    for layer in ("attn.q", "mlp.up"):
        table[layer + ".weight"] = table[layer + ".bias"] = "outputs"
    for layer in ("attn.out", "mlp.down"):
        table |= {layer + ".weight": "inputs", layer + ".bias": "whole"}
    return table | {"norm1.weight": "whole", "norm2.bias": "whole"}""", """\
def which_cut():
    names = ["norm1.weight", "attn.q.weight", "attn.q.bias", "attn.out.weight", "attn.out.bias", "norm2.bias",
             "mlp.up.weight", "mlp.up.bias", "mlp.down.weight", "mlp.down.bias"]
    return dict(zip(names, "whole outputs outputs inputs whole whole outputs outputs inputs whole".split()))""", """\
def which_cut():
    cut = dict.fromkeys(["attn.q.weight", "attn.q.bias", "mlp.up.weight", "mlp.up.bias"], "outputs")
    cut.update(dict.fromkeys(["attn.out.weight", "mlp.down.weight"], "inputs"))
    cut.update(dict.fromkeys(["attn.out.bias", "mlp.down.bias", "norm1.weight", "norm2.bias"], "whole"))
    return cut""",
    ),
    properties=(
        Property(lambda table: set(table.values()) <= {"outputs", "inputs", "whole"},
                 "Each parameter lies in one of three ways: \"outputs\", \"inputs\" or \"whole\"."),
    ),
    twin=cut_twin,
)  # fmt: skip


# 23.2


def bias_twin(rng: random.Random) -> Question:
    n, bias, true = rng.choice([2, 4, 8]), rng.randint(1, 9), rng.randint(-20, 20)
    return Question(
        f"A layer is cut by its inputs over {n} ranks, and each rank adds the whole bias before the sum. One output "
        f"should be {true}, its bias is {bias}. What comes out?", true + (n - 1) * bias,
        f"The bias is in the sum {n} times instead of once.",
    )  # fmt: skip


def row_cases() -> list[tuple]:
    """xs, weights, bias: one to four ranks, with and without further axes, and uneven parts."""
    cases = []
    shapes = (((3,), 4, 5, 3), ((2, 7), 3, 6, 2), ((4,), 5, 2, 1), ((1,), 2, 3, 4), ((2, 3), 1, 4, 3))
    for i, (lead, part, out, n) in enumerate(shapes):
        xs = normal(310 + i, *[(*lead, part)] * n)
        weights = normal(320 + i, *[(out, part)] * n)
        (bias,) = normal(330 + i, (out,))
        cases.append((xs, weights, 3 * bias))
    cases.append((normal(340, (6, 2), (6, 4)), normal(341, (3, 2), (3, 4)), torch.zeros(3)))
    return cases


PARTIAL = "partial = [x @ w.T for x, w in zip(xs, weights)]"
TOTAL = "total = sum(partial) + bias"
COPIES = "return [total.clone() for _ in partial]"
ZERO_IN = "If all inputs are zero, what should the layer give on each rank, and what does it give?"
SAME_EVERYWHERE = "In which respect may the outputs of two ranks differ?"
SUMMANDS = "Each rank's product is a part of every output. How do parts become the whole?"
ROW_PARALLEL = Exercise(
    cases=row_cases,
    mutants=(
        Mutant("n_times", TOTAL, "total = sum(y + bias for y in partial)",
               "the bias is counted once for each rank", ZERO_IN),
        Mutant("once_too_many", PARTIAL, "partial = [x @ w.T + bias for x, w in zip(xs, weights)]",
               "the bias is added on each rank and once more to the sum", ZERO_IN),
        Mutant("halved", TOTAL, "total = sum(partial) + bias / 2",
               "the bias is halved, however many ranks there are", ZERO_IN),
        Mutant("halved_before", f"{PARTIAL}\n    {TOTAL}",
               "partial = [x @ w.T + bias / 2 for x, w in zip(xs, weights)]\n    total = sum(partial)",
               "each rank adds half of the bias, however many ranks there are",
               "How much of the bias must each of four ranks add?"),
        Mutant("divided_after", TOTAL, "total = sum(partial) + bias / len(xs)",
               "the bias is divided by the number of ranks after the sum", ZERO_IN),
        Mutant("no_bias", TOTAL, "total = sum(partial)",
               "the bias has been taken away and is added nowhere", ZERO_IN),
        Mutant("rank_0_after", f"{TOTAL}\n    {COPIES}",
               "total = sum(partial)\n    return [total + bias if r == 0 else total.clone() for r in range(len(xs))]",
               "only rank 0 adds the bias to its copy of the sum", SAME_EVERYWHERE),
        Mutant("last_rank_after", f"{TOTAL}\n    {COPIES}",
               "total = sum(partial)\n    n = len(xs)\n"
               "    return [total + bias if r == n - 1 else total.clone() for r in range(n)]",
               "only the last rank adds the bias to its copy of the sum", SAME_EVERYWHERE),
        Mutant("no_sum", f"{TOTAL}\n    {COPIES}", "return [y + bias for y in partial]",
               "nothing is added up over the ranks", SUMMANDS),
        Mutant("no_sum_no_bias", f"{TOTAL}\n    {COPIES}", "return partial",
               "nothing is added up over the ranks, and the bias is gone", SUMMANDS),
        Mutant("no_sum_rank_0", f"{TOTAL}\n    {COPIES}", "partial[0] = partial[0] + bias\n    return partial",
               "only rank 0 adds the bias, and nothing is added up over the ranks", SUMMANDS),
        Mutant("two_ranks", TOTAL, "total = partial[0] + partial[1] + bias",
               "two parts are added up, however many ranks there are", "How many ranks may share the layer?"),
        Mutant("first_only", TOTAL, "total = partial[0] + bias",
               "only the first rank's part counts", SUMMANDS),
        Mutant("last_only", TOTAL, "total = partial[-1] + bias",
               "only the last rank's part counts", SUMMANDS),
        Mutant("mean", TOTAL, "total = sum(partial) / len(partial) + bias",
               "the mean over the ranks is taken instead of the sum", SUMMANDS),
        Mutant("mean_with_bias", TOTAL, "total = (sum(partial) + bias) / len(partial)",
               "the sum and the bias are divided by the number of ranks", SUMMANDS),
        Mutant("mean_of_bug", f"{PARTIAL}\n    {TOTAL}",
               "partial = [x @ w.T + bias for x, w in zip(xs, weights)]\n    total = sum(partial) / len(partial)",
               "the mean over the ranks is taken instead of the sum", SUMMANDS),
        Mutant("side_by_side", TOTAL, "total = torch.cat(partial, -1)",
               "the ranks' parts are laid side by side, as for a layer cut by outputs",
               "How many outputs does each rank's product have?"),
        Mutant("one_tensor", COPIES, "return total",
               "one tensor is returned instead of a list", "What has each rank in the end?"),
        Mutant("only_rank_0", COPIES, "return [total] + [torch.zeros_like(total) for _ in partial[1:]]",
               "only rank 0 gets the sum, as from a reduce instead of an all-reduce", SAME_EVERYWHERE),
        Mutant("only_one", COPIES, "return [total]",
               "the list has an entry for one rank only", "What has each rank in the end?"),
        Mutant("cut_output", COPIES, "return list(total.chunk(len(partial), -1))",
               "each rank gets a part of the sum, as from a reduce-scatter",
               "How many outputs should each rank have?"),
        Mutant("minus", TOTAL, "total = sum(partial) - bias",
               "the bias is subtracted", ZERO_IN),
        Mutant("minus_extra", f"{PARTIAL}\n    {TOTAL}",
               "partial = [x @ w.T + bias for x, w in zip(xs, weights)]\n    total = sum(partial) - bias",
               "one bias is taken off the sum, which is enough for two ranks only",
               "How many biases are in the sum of four ranks?"),
        Mutant("bias_in_place", f"{PARTIAL}\n    {TOTAL}", "bias /= len(xs)\n"
               "    partial = [x @ w.T + bias for x, w in zip(xs, weights)]\n    total = sum(partial)",
               "the bias that was handed in is changed",
               "To whom does the bias belong, and what will be in it at the next step?"),
        Mutant("not_transposed", "x @ w.T", "x @ w",
               "the weight is not transposed", "In which order does nn.Linear store its axes?"),
    ),
    variants=("""\
def row_parallel(xs, weights, bias):
    n = len(xs)
    partial = [x @ w.T + bias / n for x, w in zip(xs, weights)]
    return [torch.stack(partial).sum(0) for _ in range(n)]""", """\
def row_parallel(xs, weights, bias):
    partial = [F.linear(x, w, bias if r == 0 else None) for r, (x, w) in enumerate(zip(xs, weights))]
    total = sum(partial)
    return [total] * len(xs)""", """\
def row_parallel(xs, weights, bias):
    y = F.linear(torch.cat(xs, -1), torch.cat(weights, -1), bias)
    return [y.clone() for _ in xs]""", """\
def row_parallel(xs, weights, bias):
    total = torch.zeros(*xs[0].shape[:-1], len(bias))
    for x, w in zip(xs, weights):
        total = total + torch.einsum("...c,oc->...o", x, w)
    return [total + bias for _ in xs]""",
    ),
    properties=(
        Property(lambda ys, xs, *_: len(ys) == len(xs), "There must be an output for each rank."),
        Property(lambda ys, *_: all(torch.equal(ys[0], y) for y in ys),
                 "The ranks hold different outputs of the same layer."),
    ),
    twin=bias_twin,
)  # fmt: skip


# 23.3


def gradients_twin(rng: random.Random) -> Question:
    layers = rng.randint(2, 48)
    kind, each = rng.choice((("without", 2), ("with", 4)))
    return Question(
        f"A modern GPT of {layers} layers, tensor parallel, {kind} sequence parallelism. Of how many parameter tensors "
        "of its blocks must the gradients be added up over the ranks?", each * layers,
        "q_norm and k_norm in each layer" + (", and norm1 and norm2, which see some positions only." * (each == 4)
                                             or "; all other whole ones work on whole activations."),
    )  # fmt: skip


HEADS = "names |= {\"attn.q_norm.weight\", \"attn.k_norm.weight\"}"
SLICED = "names |= {\"norm1.weight\", \"norm2.weight\"}"
BIASES = "names |= {\"norm1.bias\", \"norm2.bias\", \"attn.out.bias\", \"mlp.down.bias\"}"
WORKS_ON = "On which activations does this parameter work on one rank: all of them, some heads, or some positions?"
CUT_ONES = "Which other rank has a gradient of the same numbers of a matrix that is cut?"
ADDED_TWICE = "f has added up already. What comes out if you add up complete gradients of n ranks?"
OWN = "Which of these parameters exists in this family?"
CUT_NAMES = ("attn.q.", "attn.k.", "attn.v.", "attn.out.weight", "mlp.up.", "mlp.gate.", "mlp.down.weight")
NEEDS_A_SUM = Exercise(
    cases=lambda: [(family, cut) for family in ("gpt2", "modern") for cut in (False, True)],
    mutants=(
        Mutant("nothing", "", "def needs_a_sum(family, sequence_parallel):\n    return set()",
               "a whole parameter is taken to have a whole gradient", WORKS_ON),
        Mutant("no_heads", HEADS, "pass",
               "the norms of q and k are forgotten, which work on a rank's own heads", WORKS_ON),
        Mutant("only_heads", f"if sequence_parallel:\n        {SLICED}", "if False:\n        names = names",
               "sequence parallelism changes nothing", WORKS_ON),
        Mutant("norms_always", f"if sequence_parallel:\n        {SLICED}", f"{SLICED}\n    if sequence_parallel:",
               "the norms of the residual stream are added up although they have seen all of it", ADDED_TWICE),
        Mutant("norms_always_with_bias", "if sequence_parallel:", "if True:",
               "everything outside of attention and MLP is added up, whether positions are cut or not", ADDED_TWICE),
        Mutant("everything_whole", "if family == \"modern\":", "if sequence_parallel and family == \"modern\":",
               "the norms of q and k are added up only if positions are cut",
               "Are heads cut without sequence parallelism?"),
        Mutant("heads_without_only", "if family == \"modern\":", "if not sequence_parallel and family == \"modern\":",
               "with sequence parallelism the norms of q and k are no longer added up",
               "Inside attention, which positions and which heads has a rank with sequence parallelism?"),
        Mutant("one_head_norm", HEADS, "names |= {\"attn.q_norm.weight\"}",
               "only the norm of q is added up", "On what does the norm of k work?"),
        Mutant("no_late_biases", BIASES, "names |= {\"norm1.bias\", \"norm2.bias\"}",
               "the biases after the reduce-scatter are forgotten",
               "To how many positions does a rank add the bias of attn.out?"),
        Mutant("no_norm_biases", BIASES, "names |= {\"attn.out.bias\", \"mlp.down.bias\"}",
               "the biases of the norms are forgotten", "How many positions does a norm's bias meet on one rank?"),
        Mutant("no_biases", BIASES, "pass",
               "only gains are added up, and no biases", "How many positions does a bias meet on one rank?"),
        Mutant("one_norm", SLICED, "names |= {\"norm1.weight\"}",
               "only the first norm is added up", "On what does the second norm work?"),
        Mutant("no_gains", SLICED, "pass",
               "of the norms of the residual stream only the biases are added up",
               "How many positions does a norm's gain meet on one rank?"),
        Mutant("gpt2_head_norms", "if family == \"modern\":", "if True:",
               "GPT-2 is given norms of q and k", OWN),
        Mutant("gpt2_head_norms_only", "if family == \"modern\":", "if family == \"gpt2\":",
               "the norms of q and k are looked for in GPT-2 instead of the modern block", OWN),
        Mutant("modern_biases", "if family == \"gpt2\":", "if True:",
               "the modern block is given biases", OWN),
        Mutant("modern_biases_only", "if family == \"gpt2\":", "if family == \"modern\":",
               "the modern block is given the biases of GPT-2", OWN),
        Mutant("inner_biases", BIASES, BIASES[:-1] + ", \"mlp.up.bias\"}",
               "the bias of mlp.up is added up, though each rank has its own part of it", CUT_ONES),
        Mutant("all_biases", BIASES, BIASES[:-1] + ", \"mlp.up.bias\", \"attn.q.bias\", \"attn.k.bias\", "
               "\"attn.v.bias\"}",
               "all biases are added up, also those that are cut", CUT_ONES),
        Mutant("matrices", "names = set()", "names = {\"attn.q.weight\", \"attn.k.weight\", \"attn.v.weight\", "
               "\"attn.out.weight\", \"mlp.up.weight\", \"mlp.down.weight\"}\n    if family == \"modern\":\n"
               "        names |= {\"mlp.gate.weight\"}",
               "the cut matrices are added up as well", CUT_ONES),
        Mutant("row_matrices", SLICED, SLICED[:-1] + ", \"attn.out.weight\", \"mlp.down.weight\"}",
               "the matrices cut by inputs are added up, since their outputs are", CUT_ONES),
        Mutant("no_late_attention", BIASES, BIASES.replace("\"attn.out.bias\", ", ""),
               "one of the two biases behind a reduce-scatter is forgotten",
               "To how many positions does a rank add each of the two biases?"),
        Mutant("no_late_mlp", BIASES, BIASES.replace(", \"mlp.down.bias\"", ""),
               "one of the two biases behind a reduce-scatter is forgotten",
               "To how many positions does a rank add each of the two biases?"),
        Mutant("inner_instead", BIASES, "names |= {\"norm1.bias\", \"norm2.bias\", \"attn.q.bias\", "
               "\"attn.k.bias\", \"attn.v.bias\", \"mlp.up.bias\"}",
               "the biases inside of attention and MLP are added up instead of those behind them", CUT_ONES),
        Mutant("only_stream_norms", "", """\
def needs_a_sum(family, sequence_parallel):
    names = {"norm1.weight", "norm2.weight"} if sequence_parallel else set()
    return names | {"norm1.bias", "norm2.bias"} if names and family == "gpt2" else names""",
               "only the two norms of the residual stream are thought of", WORKS_ON),
        Mutant("late_biases_always", "names = set()",
               "names = {\"attn.out.bias\", \"mlp.down.bias\"} if family == \"gpt2\" else set()",
               "the biases after the sum are added up although all ranks have used them for the same numbers",
               ADDED_TWICE),
        Mutant("turned", "if sequence_parallel:", "if not sequence_parallel:",
               "the two cases of sequence parallelism have changed places",
               "In which of the two cases has a rank some of the positions only?"),
        Mutant("list", "return names", "return sorted(names)",
               "a list is returned instead of a set", "Which type should the result have?"),
    ),
    variants=("""\
def needs_a_sum(family, sequence_parallel):
    heads = {"attn.q_norm.weight", "attn.k_norm.weight"} if family == "modern" else set()
    stream = {"norm1.weight", "norm2.weight"}
    if family == "gpt2":
        stream = stream.union({"norm1.bias", "norm2.bias", "attn.out.bias", "mlp.down.bias"})
    return heads | stream if sequence_parallel else heads""", """\
def needs_a_sum(family, sequence_parallel):
    works_on = {"norm1.weight": "stream", "norm2.weight": "stream"}
    if family == "gpt2":
        works_on |= dict.fromkeys(["norm1.bias", "norm2.bias", "attn.out.bias", "mlp.down.bias"], "stream")
    else:
        works_on |= {f"attn.{x}_norm.weight": "heads" for x in "qk"}
    cut = {"heads", "stream"} if sequence_parallel else {"heads"}
    return {name for name, where in works_on.items() if where in cut}""", """\
def needs_a_sum(family, sequence_parallel):
    modern = ["attn.q_norm.weight", "attn.k_norm.weight"]
    table = {
        ("gpt2", False): [],
        ("gpt2", True): ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "attn.out.bias", "mlp.down.bias"],
        ("modern", False): modern,
        ("modern", True): modern + ["norm1.weight", "norm2.weight"],
    }
    return set(table[family, bool(sequence_parallel)])""",
    ),
    properties=(
        Property(lambda names, family, cut: family != "gpt2" or not any("q_norm" in n or "k_norm" in n for n in names),
                 "GPT-2 has no norms of q and k."),
        Property(lambda names, family, cut: family != "modern" or not any(n.endswith("bias") for n in names),
                 "The modern block has no biases."),
        Property(lambda names, *_: all(n.endswith((".weight", ".bias")) for n in names),
                 "A name is written as PyTorch writes it: attn.q.weight, not attn.q."),
        Property(lambda names, *_: not any(n.startswith(CUT_NAMES) for n in names),
                 "A parameter that is cut is among your names: no other rank has a gradient of the same numbers."),
    ),
    twin=gradients_twin,
)  # fmt: skip


# 23.4


def gradient_twin(rng: random.Random) -> Question:
    size, rank, v = rng.choice([100, 250, 400]), rng.randint(1, 6), rng.randint(0, 99)
    percent, N = rng.randint(5, 90), rng.choice([2, 4, 5, 10])
    return Question(
        f"Logits are cut by vocabulary, {size} tokens a rank. A position has the target {rank * size + v}, with a "
        f"probability of {percent / 100}; the loss is a mean over {N} positions. What does rank {rank} find as the "
        f"gradient of its logit number {v} (from 0) at this position?", (percent / 100 - 1) / N,
        f"It is the target: ({percent / 100} − 1) / {N}.", 0.01,
    )  # fmt: skip


def vocab_cases() -> list[tuple]:
    """parts, targets, top, total: one to five ranks; large logits; targets at the edges of ranks, and all on one."""
    cases = []
    for i, (N, size, n) in enumerate(((5, 3, 4), (7, 4, 2), (2, 6, 3), (3, 8, 1), (6, 2, 5), (4, 5, 3))):
        (z,) = normal(400 + i, (N, size * n))
        z = z * 3 + (290 if i == 2 else 0)
        generator = torch.Generator().manual_seed(i)
        targets = torch.randint(size * n, (N,), generator=generator)
        if i == 0:
            targets = torch.tensor([0, 2, 3, 11, 6])  # first and last of a rank
        if i == 5:
            targets = torch.tensor([9, 5, 5, 7])
        top = z.amax(1)
        cases.append((list(z.chunk(n, 1)), targets, top, torch.exp(z - top[:, None]).sum(1)))
    return cases


PROB = "grad = torch.exp(z - top[:, None]) / total[:, None]"
PLACE = "place = targets - rank * size"
MINE = "mine = ((place >= 0) & (place < size)).nonzero()[:, 0]"
TAKE_ONE = "grad[mine, place[mine]] -= 1"
MEAN = "grads.append(grad / len(targets))"
OWN_PART = "What do the probabilities of one position add up to over all ranks, and over yours alone?"
ONE_HOT = "On how many ranks is the target of a position?"
POSITIONS = "What has been cut here: positions or vocabulary? Over how many of them is the mean?"
LARGE = "What is exp(300) in float32?"
VOCAB_GRADIENT = Exercise(
    cases=vocab_cases,
    mutants=(
        Mutant("own_softmax", PROB, "grad = torch.softmax(z, dim=1)",
               "the softmax runs over a rank's own tokens only", OWN_PART),
        Mutant("own_sum", PROB, "grad = torch.exp(z - top[:, None])\n        grad = grad / grad.sum(1, keepdim=True)",
               "the softmax runs over a rank's own tokens only", OWN_PART),
        Mutant("own_max", "z - top[:, None]", "z - z.amax(1, keepdim=True)",
               "the exponentials are relative to the rank's own maximum, and the sum to that of all", OWN_PART),
        Mutant("modulo", f"{PLACE}\n        {MINE}\n        {TAKE_ONE}",
               "grad[torch.arange(len(targets)), targets % size] -= 1",
               "one is subtracted on every rank, at the same place of its part", ONE_HOT),
        Mutant("clamped", MINE, "place, mine = place.clamp(0, size - 1), torch.arange(len(targets))",
               "one is subtracted on every rank, at the nearest place of its part", ONE_HOT),
        Mutant("no_offset", PLACE, "place = targets",
               "the targets are taken for places in each rank's own part", ONE_HOT),
        Mutant("offset_by_rank", PLACE, "place = targets - rank",
               "the number of the rank is subtracted instead of the tokens before it",
               "How many tokens lie on the ranks before this one?"),
        Mutant("offset_next", PLACE, "place = targets - (rank + 1) * size",
               "the ranks are counted from one", "How many tokens lie on the ranks before rank 0?"),
        Mutant("backwards", PLACE, "place = targets - (len(parts) - 1 - rank) * size",
               "the ranks hold the vocabulary in reverse order", "Which tokens lie on rank 0?"),
        Mutant("dealt", f"{PLACE}\n        {MINE}", "place = targets // len(parts)\n"
               "        mine = (targets % len(parts) == rank).nonzero()[:, 0]",
               "tokens are dealt to the ranks like cards", "Which tokens lie on rank 0?"),
        Mutant("negative_places", "(place >= 0) & (place < size)", "place < size",
               "tokens of earlier ranks are counted from the end of the part",
               "What does Python do with the index -1?"),
        Mutant("first_left_out", "place >= 0", "place > 0",
               "the first token of a rank is never found to be the target",
               "Which place has the first token of a rank?"),
        Mutant("one_too_many", "place < size", "place < size - 1",
               "the last token of a rank is never found to be the target",
               "Which place has the last token of a rank?"),
        Mutant("no_target", f"{PLACE}\n        {MINE}\n        {TAKE_ONE}", "pass",
               "nothing is subtracted at the target", "What must the gradients of one position add up to?"),
        Mutant("only_target", PROB, "grad = torch.zeros_like(z)",
               "only the target gets a gradient", "What must the gradients of one position add up to?"),
        Mutant("sign", MEAN, "grads.append(-grad / len(targets))",
               "the sign is turned: one-hot minus softmax", "Should the logit of the target rise or fall?"),
        Mutant("plus", TAKE_ONE, "grad[mine, place[mine]] += 1",
               "one is added at the target", "What must the gradients of one position add up to?"),
        Mutant("whole_row", TAKE_ONE, "grad[mine] -= 1",
               "one is subtracted from all tokens of the rank that has the target", ONE_HOT),
        Mutant("all_pairs", TAKE_ONE, "grad[:, place[mine]] -= 1",
               "the target of one position is subtracted at every position",
               "Does `grad[:, places]` choose one place in each row, or all of them in every row?"),
        Mutant("not_divided", MEAN, "grads.append(grad)",
               "the gradient is that of the sum over positions instead of the mean", POSITIONS),
        Mutant("divided_by_ranks_too", MEAN, "grads.append(grad / (len(targets) * len(parts)))",
               "the gradient is divided by the number of ranks as well", POSITIONS),
        Mutant("divided_by_ranks", MEAN, "grads.append(grad / len(parts))",
               "the gradient is divided by the number of ranks instead of positions", POSITIONS),
        Mutant("divided_by_own", MEAN, "grads.append(grad / max(1, len(mine)))",
               "each rank divides by the number of targets that it holds", POSITIONS),
        Mutant("divided_by_size", MEAN, "grads.append(grad / grad.numel())",
               "the gradient is divided by all entries of the part", POSITIONS),
        Mutant("no_maximum", PROB, "grad = torch.exp(z) / (total * torch.exp(top))[:, None]",
               "the exponentials are taken without the maximum, and overflow", LARGE),
        Mutant("no_maximum_above", PROB, "grad = torch.exp(z) / total[:, None]",
               "the sum is relative to the maximum and the exponentials are not", LARGE),
        Mutant("not_normalised", PROB, "grad = torch.exp(z - top[:, None])",
               "the exponentials are never divided by their sum", OWN_PART),
        Mutant("axes", "top[:, None]) / total[:, None]", "top[:, None]) / total.sum()",
               "the sums of all positions are thrown together",
               "How many sums of exponentials are there: one, or one a position?"),
        Mutant("one_tensor", "return grads", "return torch.cat(grads, 1)",
               "the gradients come in one tensor instead of a list of parts", "What does each rank hold in the end?"),
        Mutant("local_targets_only", MEAN, "rest = torch.zeros_like(grad)\n        rest[mine] = grad[mine]\n"
               "        grads.append(rest / len(targets))",
               "a rank that has not the target of a position gives its tokens no gradient",
               "Should the logit of a wrong token fall only on the rank that has the right one?"),
        Mutant("softmax_twice", MEAN, "p = torch.exp(z - top[:, None]) / total[:, None]\n"
               "        grads.append(grad * p * (1 - p) / len(targets))",
               "the gradient is multiplied by the derivative of the softmax once more",
               "Softmax and logarithm together: what is the derivative of the loss by a logit?"),
        Mutant("ones_not_divided", TAKE_ONE, "grad[mine, place[mine]] -= len(targets)",
               "the probabilities are divided by the number of positions and the ones are not", POSITIONS),
        Mutant("divided_by_vocabulary", MEAN, "grads.append(grad / (size * len(parts)))",
               "the gradient is divided by the size of the vocabulary", POSITIONS),
        Mutant("total_inside", PROB, "grad = torch.exp(z - top[:, None] - total[:, None])",
               "the sum is subtracted inside of the exponential, as if it were a logarithm",
               "What must be subtracted from a logit so that its exponential is divided by the sum?"),
        Mutant("looked_for_everywhere", f"{MINE}\n        {TAKE_ONE}",
               "grad[torch.arange(len(targets)), place] -= 1",
               "each rank looks for the target in its own part, wherever it lies", ONE_HOT),
    ),
    variants=("""\
def vocab_parallel_gradient(parts, targets, top, total):
    N, size = parts[0].shape
    result = []
    for rank in range(len(parts)):
        tokens = torch.arange(rank * size, (rank + 1) * size)
        hot = (targets[:, None] == tokens).float()
        result.append((torch.exp(parts[rank] - (top + total.log())[:, None]) - hot) / N)
    return result""", """\
def vocab_parallel_gradient(parts, targets, top, total):
    grads = [(z - top.view(-1, 1)).exp() / total.view(-1, 1) / len(targets) for z in parts]
    for i, t in enumerate(targets.tolist()):
        rank, place = divmod(t, parts[0].shape[1])
        grads[rank][i, place] -= 1 / len(targets)
    return grads""", """\
def vocab_parallel_gradient(parts, targets, top, total):
    grads, start = [], 0
    for z in parts:
        size = z.size(1)
        local = targets - start
        outside = (local < 0) | (local >= size)
        hot = F.one_hot(local.masked_fill(outside, 0), size) * ~outside[:, None]
        grads.append(((z - top[:, None]).exp() / total[:, None] - hot) / targets.numel())
        start += size
    return grads""",
    ),
    properties=(
        Property(lambda grads, parts, *_: [g.shape for g in grads] == [z.shape for z in parts],
                 "Each rank's gradient has the shape of its logits."),
        Property(lambda grads, *_: not any(g.isnan().any() for g in grads), "A gradient is NaN."),
        Property(lambda grads, *_: sum(g.sum(1) for g in grads).abs().max() < 1e-4,
                 "Over all ranks the gradients of one position add up to zero; yours do not."),
    ),
    twin=gradient_twin,
)  # fmt: skip


# 23.5


def ahead_twin(rng: random.Random) -> Question:
    p, m = rng.randint(3, 12), rng.randint(2, 24)
    rank = rng.randint(0, p - 1)
    return Question(
        f"1F1B with {p} stages and {m} micro-batches. Of how many micro-batches does rank {rank} (from 0) keep "
        "activations, at most?", min(p - rank, m),
        f"It sends {p - 1 - rank} ahead, one for each stage behind it, and has one more in its hands; there are {m}.",
    )  # fmt: skip


AHEAD = "ahead = min(p - 1 - rank, m)"
FILL = "order = [(\"forward\", i) for i in range(ahead)]"
TURNS = "order.append((\"forward\", ahead + i))\n        order.append((\"backward\", i))"
DRAIN = "order += [(\"backward\", i) for i in range(m - ahead, m)]"
BEHIND = "How many stages are behind the last one, and how many micro-batches should it have sent ahead?"
COME = "Has the micro-batch been forward on this rank before it goes backward?"
ALL_BACK = "How many backward passes does each rank do in all?"
FEW = "What does your function do with two micro-batches on five stages?"
TURN = "After the first phase, what does a rank do between two forward passes?"
ONE_F_ONE_B = Exercise(
    cases=lambda: [(p, m, rank) for p, m in ((1, 3), (2, 5), (4, 7), (5, 2), (3, 3), (6, 9)) for rank in range(p)],
    mutants=(
        Mutant("one_too_many", AHEAD, "ahead = min(p - rank, m)",
               "a rank sends one micro-batch more ahead than there are stages behind it", BEHIND),
        Mutant("one_too_few", AHEAD, "ahead = min(max(p - 2 - rank, 0), m)",
               "a rank sends one micro-batch less ahead than there are stages behind it", BEHIND),
        Mutant("wrong_end", AHEAD, "ahead = min(rank, m)",
               "the stages before a rank are counted instead of those behind it", BEHIND),
        Mutant("same_for_all", AHEAD, "ahead = min(p - 1, m)",
               "every rank sends as many ahead as the first", BEHIND),
        Mutant("as_many_as_stages", AHEAD, "ahead = min(p, m)",
               "every rank sends as many ahead as there are stages", BEHIND),
        Mutant("none_ahead", AHEAD, "ahead = 0",
               "nothing is sent ahead", BEHIND),
        Mutant("no_min", AHEAD, "ahead = p - 1 - rank",
               "there are taken to be at least as many micro-batches as stages", FEW),
        Mutant("no_min_too_many", AHEAD, "ahead = p - rank",
               "one micro-batch too many is sent ahead, though there may not be so many", FEW),
        Mutant("all_ahead", AHEAD, "ahead = m",
               "all forward passes come first, as in GPipe", TURN),
        Mutant("gpipe", "", """\
def one_forward_one_backward(p, m, rank):
    return [("forward", i) for i in range(m)] + [("backward", i) for i in range(m)]""",
               "all forward passes come first, as in GPipe", TURN),
        Mutant("gpipe_backwards", "", """\
def one_forward_one_backward(p, m, rank):
    return [("forward", i) for i in range(m)] + [("backward", i) for i in reversed(range(m))]""",
               "all forward passes come first, and the last micro-batch goes backward first", TURN),
        Mutant("backward_first", TURNS,
               "order.append((\"backward\", i))\n        order.append((\"forward\", ahead + i))",
               "in the loop a rank goes backward before it goes forward", COME),
        Mutant("no_drain", f"    {DRAIN}\n", "",
               "the last micro-batches never go backward", ALL_BACK),
        Mutant("drain_before", f"{FILL}\n    for i in range(m - ahead):\n        {TURNS}\n    {DRAIN}",
               f"{FILL}\n    {DRAIN}\n    for i in range(m - ahead):\n        {TURNS}",
               "the last backward passes come before the turns", COME),
        Mutant("drain_first", f"{FILL}\n    for i in range(m - ahead):\n        {TURNS}\n    {DRAIN}",
               f"order = [(\"backward\", i) for i in range(m - ahead, m)]\n"
               f"    order += [(\"forward\", i) for i in range(ahead)]\n"
               f"    for i in range(m - ahead):\n        {TURNS}",
               "the last backward passes come first of all", COME),
        Mutant("drain_in_loop", f"    {DRAIN}\n", f"        {DRAIN}\n",
               "the last backward passes are repeated in each turn",
               "Which lines belong inside the loop, and which come once?"),
        Mutant("backward_after_loop", "    " + "order.append((\"backward\", i))", "order.append((\"backward\", i))",
               "only one backward pass follows all turns",
               "Which lines belong inside the loop, and which come once?"),
        Mutant("return_in_loop", f"    {DRAIN}\n    return order",
               f"        return order\n    {DRAIN}\n    return order",
               "the schedule is returned after the first turn", "How many turns are there?"),
        Mutant("no_fill", FILL, "order = []",
               "the forward passes that are sent ahead are missing",
               "How many forward passes does each rank do in all?"),
        Mutant("forward_numbers", "(\"forward\", ahead + i)", "(\"forward\", i)",
               "in the turns the forward passes begin again with micro-batch 0",
               "Which micro-batches has the rank sent ahead already?"),
        Mutant("backward_numbers", "order.append((\"backward\", i))", "order.append((\"backward\", ahead + i))",
               "a micro-batch goes backward in the same turn in which it came",
               "Which micro-batch comes back first to a rank that has sent three ahead?"),
        Mutant("drain_from_zero", "range(m - ahead, m)", "range(ahead)",
               "in the end the first micro-batches go backward again",
               "Which micro-batches have not been backward when the turns are over?"),
        Mutant("drain_reversed", DRAIN, "order += [(\"backward\", i) for i in reversed(range(m - ahead, m))]",
               "in the end the last micro-batch goes backward first",
               "In which order do gradients arrive from the stage behind?"),
        Mutant("fill_reversed", FILL, "order = [(\"forward\", i) for i in reversed(range(ahead))]",
               "the micro-batches that are sent ahead go in reverse order",
               "In which order should micro-batches go?"),
        Mutant("turns_m", "for i in range(m - ahead)", "for i in range(m)",
               "there are as many turns as micro-batches, though some have been sent ahead",
               "How many forward passes are left after those that were sent ahead?"),
        Mutant("only_kinds", "return order", "return [kind for kind, _ in order]",
               "the numbers of the micro-batches are missing", "What are the two things in each entry?"),
        Mutant("drain_all", DRAIN, "order += [(\"backward\", i) for i in range(m)]",
               "in the end all micro-batches go backward, also those that have been", ALL_BACK),
        Mutant("fill_one_more", FILL, "order = [(\"forward\", i) for i in range(min(p - rank, m))]",
               "one micro-batch that has been sent ahead comes again in the turns",
               "How many forward passes does each rank do in all?"),
        Mutant("ranks_from_one", AHEAD, "ahead = min(max(p - 1 - (rank + 1), 0), m)",
               "a rank sends one micro-batch less ahead than there are stages behind it", BEHIND),
    ),
    variants=("""\
def one_forward_one_backward(p, m, rank):
    ahead = min(p - 1 - rank, m)
    forward, backward = 0, 0
    order = []
    while backward < m:
        if forward < min(backward + ahead + 1, m):
            order.append(("forward", forward))
            forward += 1
        else:
            order.append(("backward", backward))
            backward += 1
    return order""", """\
def one_forward_one_backward(p, m, rank):
    behind = p - rank - 1
    order = []
    for i in range(m + behind):
        if i < m:
            order.append(("forward", i))
        if i >= behind:
            order.append(("backward", i - behind))
    return order""", """\
def one_forward_one_backward(p, m, rank):
    k = min(p - 1 - rank, m)
    middle = [pair for i in range(m - k) for pair in (("forward", k + i), ("backward", i))]
    ends = [("backward", i) for i in range(m)][m - k:]
    return [("forward", i) for i in range(k)] + middle + ends""", """\
def one_forward_one_backward(p, m, rank):
    ahead = min(p - rank, m)
    order = [("forward", i) for i in range(ahead)]
    for i in range(m - ahead):
        order.append(("backward", i))
        order.append(("forward", ahead + i))
    order += [("backward", i) for i in range(m - ahead, m)]
    return order""",
    ),
    properties=(
        Property(lambda order, p, m, rank: sorted(order) == sorted([(k, i) for k in ("forward", "backward")
                                                                    for i in range(m)]),
                 "Each micro-batch must go forward once and backward once."),
        Property(lambda order, p, m, rank: all(order.index(("forward", i)) < order.index(("backward", i))
                                               for i in range(m)),
                 "A micro-batch goes backward before it has been forward."),
    ),
    twin=ahead_twin,
)  # fmt: skip


# 23.6


def bubble_twin(rng: random.Random) -> Question:
    """From a log: how long did the ranks wait?"""
    p, m, forward, backward = rng.randint(2, 6), rng.randint(2, 12), rng.randint(1, 4), rng.randint(2, 8)
    wait = rng.randint(1, 9)
    span = m * (forward + backward) + wait
    return Question(
        f"A log of {p} ranks: each does {m} forward passes of {forward} s and {m} backward passes of {backward} s. The "
        f"first event starts at 100 s, the last one ends at {100 + span} s. Which share is the bubble, from 0 to 1?",
        wait / span, f"All ranks together have {p} · {span} s, and work {p} · {m} · {forward + backward} s.", 0.02,
    )  # fmt: skip


def order_1f1b(p: int, m: int, rank: int, ahead: int | None = None) -> list:
    """What a rank does under 1F1B, in order; `ahead`: forward passes before its first backward one."""
    ahead = min(p - 1 - rank if ahead is None else ahead, m)
    order = [("forward", i) for i in range(ahead)]
    for i in range(m - ahead):
        order += [("forward", ahead + i), ("backward", i)]
    return order + [("backward", i) for i in range(m - ahead, m)]


def log_of(p: int, m: int, ahead=None, slow: dict | None = None, start: float = 0.0, once=None, seed: int = 0) -> list:
    """Events of a schedule, shuffled. ahead: rank -> micro-batches sent ahead; slow: (rank, kind) -> factor; once:
    (rank, kind, number) of a single pass that takes five times as long."""
    queues = [order_1f1b(p, m, rank, ahead and ahead(rank)) for rank in range(p)]
    clock, done, events = [start] * p, {}, []
    while any(queues):
        count = len(events)
        for r in (r for r in range(p) if queues[r]):
            kind, i = queues[r][0]
            before = (kind, i, r - 1) if kind == "forward" else (kind, i, r + 1) if r < p - 1 else ("forward", i, r)
            if before not in done and (kind, r) != ("forward", 0):
                continue
            queues[r].pop(0)
            begin = max(clock[r], done.get(before, start))
            length = {"forward": 1.0, "backward": 2.0}[kind] * (slow or {}).get((r, kind), 1.0)
            clock[r] = done[kind, i, r] = begin + length * (5 if (r, kind, i) == once else 1)
            events.append((r, kind, begin, clock[r]))
        assert len(events) > count, "every rank waits for another one"
    random.Random(seed).shuffle(events)
    return events


def judge_cases() -> list[tuple]:
    """(events, p). Each verdict several times: alone, with others that come later, and nearly."""
    def gpipe(m):
        return lambda rank: m

    def few(rank):
        return max(0, 3 - rank - (rank == 0))

    hesitant = [(0, "forward", 7.0, 8.0), (1, "backward", 2.0, 4.0), (0, "backward", 13.0, 15.0),
                (1, "forward", 1.0, 2.0), (0, "backward", 4.0, 6.0), (1, "backward", 8.0, 10.0),
                (0, "forward", 0.0, 1.0), (1, "forward", 10.0, 11.0), (0, "forward", 6.0, 7.0),
                (1, "forward", 7.0, 8.0), (0, "backward", 10.0, 12.0), (1, "backward", 11.0, 13.0)]
    growing = [(1, "backward", 8.0, 10.0), (0, "forward", 6.0, 7.0), (0, "backward", 10.0, 12.0),
               (1, "forward", 1.0, 2.0), (0, "forward", 7.0, 8.0), (1, "backward", 2.0, 4.0),
               (0, "backward", 13.0, 15.0), (1, "forward", 4.0, 5.0), (0, "forward", 0.0, 1.0),
               (1, "backward", 11.0, 13.0), (0, "backward", 4.0, 6.0), (1, "forward", 7.0, 8.0),
               (0, "forward", 1.0, 2.0), (1, "forward", 10.0, 11.0), (0, "backward", 8.0, 10.0),
               (1, "backward", 5.0, 7.0)]
    return [
        (log_of(4, 8, start=5.0), 4),  # fine
        (log_of(4, 8, gpipe(8), start=2.0, seed=1), 4),  # keeps too much
        (log_of(4, 8, few, start=40.0, seed=2), 4),  # sends too few
        (log_of(4, 7, slow={(2, "forward"): 2.0, (2, "backward"): 2.0}, seed=3), 4),  # slow stage
        (log_of(5, 2, start=9.0, seed=4), 5),  # fine: few micro-batches, a large bubble
        (log_of(3, 3, gpipe(3), seed=5), 3),  # fine: all at once, and no more than p
        (log_of(3, 6, gpipe(6), slow={(0, "forward"): 1.8}, start=7.0, seed=6), 3),  # slow, and keeps too much
        (log_of(3, 9, slow={(1, "backward"): 3.0}, seed=7), 3),  # fine: only backward is slow
        (log_of(3, 8, once=(1, "forward", 4), start=1.0, seed=8), 3),  # fine: one long pass among eight
        (log_of(4, 9, lambda rank: (8, 8, 0, 0)[rank], start=3.0, seed=9), 4),  # too few, and too much: too much
        (log_of(5, 9, lambda rank: (4, 3, 2, 0, 0)[rank], seed=10), 5),  # a rank in the middle sends too few
        (log_of(3, 7, slow={(2, "forward"): 1.4}, start=6.0, seed=11), 3),  # fine: not slow enough
        (log_of(2, 5, slow={(1, "forward"): 4.0}, start=1.5, seed=12), 2),  # slow: the second of two
        (log_of(4, 9, lambda rank: (4, 3, 2, 1)[rank], start=8.0, seed=13), 4),  # one more ahead than needed: 5 > 4
        (log_of(4, 6, lambda rank: (3, 3, 1, 0)[rank], start=8.0, seed=14), 4),  # fine: one more, but not over p
        (log_of(4, 8, lambda rank: (1, 1, 1, 0)[rank], start=3.0, seed=15), 4),  # two too few
        (log_of(3, 8, lambda rank: 2, start=3.0, seed=16), 3),  # fine: as many on all ranks as on the first
        (log_of(4, 5, slow={(1, "forward"): 0.5}, start=2.0, seed=17), 4),  # fine: one is fast
        (log_of(4, 9, slow={(2, "forward"): 1.7}, start=2.0, seed=18), 4),  # slow
        (log_of(4, 9, slow={(1, "forward"): 3.0}, start=2.0, seed=19), 4),  # slow
        (hesitant, 2),  # too few at first, enough later
        (growing, 2),  # too much, but not at first
        (log_of(3, 3, once=(1, "forward", 1), start=4.0, seed=20), 3),  # slow: by the mean, not by the middle one
        (log_of(2, 5, slow={(1, "forward"): 1.8}, start=3.0, seed=21), 2),  # fine: below 1.5 times the mean of both
    ]


BUBBLE = "return 1 - busy / (p * span), verdict"
SPAN = "span = max(event[3] for event in events) - events[0][2]"
SLOW = "if max(lengths) > 1.5 * statistics.median(lengths):\n        verdict = \"slow stage\"\n    elif max(most) > p:"
KEEPS = "elif max(most) > p:"
SENDS = "elif any(count < min(p - rank, m) for rank, count in enumerate(first)):"
FIRST_START = "What does the clock show when the first event begins?"
EVERYONE = "How many ranks could have worked during the span?"
IN_ORDER = "In which order do the events come, and in which order must they be to be counted?"
SHARE_OF_ALL = "Which share of all time is it if half of everyone's time is waiting?"
ENOUGH = "How many micro-batches has the last stage when it begins its first backward pass, if all is well?"
KEPT = "How many micro-batches are under way on the first rank of 1F1B when m is a thousand?"
FIRST_VERDICT = "Which verdict counts if two apply?"
SMALL_M = "How many micro-batches can a rank have under way if there are two in all?"
JUDGE = Exercise(
    cases=judge_cases,
    mutants=(
        Mutant("span_from_zero", SPAN, "span = max(event[3] for event in events)",
               "the time is measured from zero instead of from the first start", FIRST_START),
        Mutant("bubble_of_rank_0", BUBBLE, "own = sum(e[3] - e[2] for e in events if e[0] == 0)\n"
               "    return 1 - own / span, verdict",
               "the bubble is that of the first rank only",
               "Is the share of waiting the same on all ranks when one of them is slow?"),
        Mutant("one_rank", BUBBLE, "return 1 - busy / span, verdict",
               "the work of all ranks is compared with the time of one", EVERYONE),
        Mutant("relative_to_work", BUBBLE, "return p * span / busy - 1, verdict",
               "the waiting is divided by the work instead of by all time", SHARE_OF_ALL),
        Mutant("busy_share", BUBBLE, "return busy / (p * span), verdict",
               "the share of work is returned instead of the share of waiting", SHARE_OF_ALL),
        Mutant("formula", BUBBLE, "return (p - 1) / (m + p - 1), verdict",
               "the bubble is taken from the formula instead of from the log",
               "What does your function say of a pipeline with a slow stage?"),
        Mutant("formula_ideal", BUBBLE, "return (p - 1) / m, verdict",
               "the bubble is taken from a formula, and relative to the ideal time",
               "What does your function say of a pipeline with a slow stage?"),
        Mutant("seconds", BUBBLE, "return p * span - busy, verdict",
               "the bubble comes in seconds", SHARE_OF_ALL),
        Mutant("not_sorted", "events = sorted(events, key=lambda event: event[2])",
               "span = max(event[3] for event in events) - min(event[2] for event in events)",
               "the events are not sorted, and the first one of the list is taken for the first in time", IN_ORDER),
        Mutant("not_sorted_right_span", f"events = sorted(events, key=lambda event: event[2])\n    {SPAN}",
               "span = max(event[3] for event in events) - min(event[2] for event in events)",
               "the events are not sorted before they are counted", IN_ORDER),
        Mutant("sorted_whole", "events = sorted(events, key=lambda event: event[2])",
               "events = sorted(events)",
               "the events are sorted by rank and kind before time",
               "By what does Python compare two tuples first?"),
        Mutant("many_micro_batches", KEEPS, "elif m > p:",
               "many micro-batches in all are taken for many under way", KEPT),
        Mutant("keeps_p", KEEPS, "elif max(most) >= p:",
               "p micro-batches under way are called too many", KEPT),
        Mutant("keeps_own", KEEPS, "elif any(k > p - rank for rank, k in enumerate(most)):",
               "a rank is blamed for more than p - r micro-batches under way",
               "Which limit does the statement give for keeping too much?"),
        Mutant("sends_p_minus_1", SENDS, "elif any(count < min(p - 1 - rank, m) for rank, count in enumerate(first)):",
               "one micro-batch less than needed passes for enough", ENOUGH),
        Mutant("sends_more", SENDS, "elif any(count < min(p - rank + 1, m) for rank, count in enumerate(first)):",
               "one micro-batch more than needed is asked for", ENOUGH),
        Mutant("sends_p", SENDS, "elif any(count < min(p, m) for count in first):",
               "every rank is asked to have p micro-batches under way", ENOUGH),
        Mutant("no_m", SENDS, "elif any(count < p - rank for rank, count in enumerate(first)):",
               "a rank is blamed although there are no more micro-batches", SMALL_M),
        Mutant("sends_first_rank", SENDS, "elif first[0] < min(p, m):",
               "only the first rank is asked how many it sends ahead", "Which ranks may send too few?"),
        Mutant("sends_most", SENDS, "elif any(k < min(p - rank, m) for rank, k in enumerate(most)):",
               "the most micro-batches under way are counted instead of those at the first backward pass",
               "At which moment does the statement count?"),
        Mutant("never_few", SENDS, "elif False:",
               "no pipeline is ever found to send too few", ENOUGH),
        Mutant("never_much", KEEPS, "elif False:",
               "no pipeline is ever found to keep too much", KEPT),
        Mutant("never_slow", "if max(lengths) > 1.5 * statistics.median(lengths):", "if False:",
               "no stage is ever found to be slow", "Where do you compare the ranks' lengths?"),
        Mutant("slow_by_bubble", "if max(lengths) > 1.5 * statistics.median(lengths):",
               "if 1 - busy / (p * span) > 1.01 * (p - 1) / (m + p - 1):",
               "any bubble above the formula's is put down to a slow stage",
               "Which other reasons are there for a large bubble?"),
        Mutant("slow_any_pass", "lengths.append(sum(forward) / len(forward))", "lengths.append(max(forward))",
               "a single long pass makes a slow stage", "Which length of a rank counts: the longest, or the mean?"),
        Mutant("slow_any_kind", "forward = [end - start for _, kind, start, end in own if kind == \"forward\"]",
               "forward = [end - start for _, _, start, end in own]",
               "backward passes count for the length of a stage as well", "Of which passes is the length compared?"),
        Mutant("slow_backward", "start, end in own if kind == \"forward\"]",
               "start, end in own if kind == \"backward\"]",
               "backward passes are compared instead of forward passes", "Of which passes is the length compared?"),
        Mutant("slow_mean", "statistics.median(lengths)", "(sum(lengths) / p)",
               "the slowest is compared with the mean, in which it is itself",
               "With two ranks, can one of them be far above the mean of both?"),
        Mutant("slow_fastest", "statistics.median(lengths)", "min(lengths)",
               "the slowest is compared with the fastest", "With which rank is the slowest compared?"),
        Mutant("slow_at_once", "1.5 * statistics", "1.0001 * statistics",
               "any stage that is slower than the middle one is called slow", "How much slower may a stage be?"),
        Mutant("slow_median_pass", "lengths.append(sum(forward) / len(forward))",
               "lengths.append(statistics.median(forward))",
               "the middle one of a rank's passes counts instead of their mean",
               "Which length of a rank counts: the middle one, or the mean?"),
        Mutant("slow_lower", "statistics.median(lengths)", "statistics.median_low(lengths)",
               "of an even number of ranks the lower of the two in the middle is taken for the median",
               "What is the median of two numbers?"),
        Mutant("slow_upper", "statistics.median(lengths)", "statistics.median_high(lengths)",
               "of an even number of ranks the upper of the two in the middle is taken for the median",
               "What is the median of two numbers?"),
        Mutant("most_at_first", KEEPS, "elif max(first) > p:",
               "only what is under way at the first backward pass is asked about",
               "May a rank have more under way later on than at its first backward pass?"),
        Mutant("after_backward", "first.append(kinds.index(\"backward\"))",
               "first.append(kinds.index(\"backward\") - 1)",
               "the micro-batch that goes backward is no longer counted when its backward pass begins",
               "Until when is a micro-batch under way?"),
        Mutant("own_spans", BUBBLE, "own = [[e for e in events if e[0] == r] for r in range(p)]\n"
               "    spans = [max(e[3] for e in es) - es[0][2] for es in own]\n"
               "    return 1 - busy / sum(spans), verdict",
               "each rank's time runs from its own first start to its own last end",
               "Does a rank wait that has not begun yet?"),
        Mutant("order_of_verdicts", SLOW, "if max(most) > p:\n        verdict = \"keeps too much\"\n"
               "    elif max(lengths) > 1.5 * statistics.median(lengths):\n        verdict = \"slow stage\"\n"
               "    elif False:",
               "keeping too much is asked before the slow stage", FIRST_VERDICT),
        Mutant("last_verdict", "elif any(", "if any(",
               "a later verdict replaces an earlier one", FIRST_VERDICT),
        Mutant("only_verdict", BUBBLE, "return verdict",
               "the bubble is missing", "Which two things should come back?"),
        Mutant("swapped", BUBBLE, "return verdict, 1 - busy / (p * span)",
               "verdict and bubble have changed places", "Which of the two should come first?"),
    ),
    variants=("""\
def judge_pipeline(events, p):
    first = min(e[2] for e in events)
    last = max(e[3] for e in events)
    waiting = sum(last - first - sum(e - s for r, _, s, e in events if r == rank) for rank in range(p))
    bubble = waiting / (p * (last - first))
    mean = {}
    for rank in range(p):
        mean[rank] = statistics.mean(e - s for r, kind, s, e in events if r == rank and kind == "forward")
    if max(mean.values()) / statistics.median(mean.values()) > 1.5:
        return bubble, "slow stage"
    most, before = 0, []
    for rank in range(p):
        now, seen = 0, None
        for _, kind in sorted((s, kind) for r, kind, s, _ in events if r == rank):
            if kind == "forward":
                now += 1
                most = max(most, now)
            else:
                seen = now if seen is None else seen
                now -= 1
        before.append(seen)
    if most > p:
        return bubble, "keeps too much"
    m = sum(r == 0 and kind == "forward" for r, kind, _, _ in events)
    wanted = [min(p - rank, m) for rank in range(p)]
    return bubble, "sends too few" if any(b < w for b, w in zip(before, wanted)) else "fine\"""", """\
def judge_pipeline(events, p):
    span = max(e for *_, e in events) - min(s for _, _, s, _ in events)
    bubble = 1 - sum(e - s for *_, s, e in events) / p / span
    passes = [{"forward": [], "backward": []} for _ in range(p)]
    for r, kind, s, e in sorted(events, key=lambda x: x[2]):
        passes[r][kind].append((s, e))
    means = torch.tensor([sum(e - s for s, e in own["forward"]) / len(own["forward"]) for own in passes])
    slow = means.max() > 1.5 * statistics.median(means.tolist())
    keeps = few = False
    for r, own in enumerate(passes):
        starts = [s for s, _ in own["backward"]]
        ahead = sum(s < starts[0] for s, _ in own["forward"])
        few |= ahead < min(p - r, len(starts))
        keeps |= any(i + 1 - sum(b < s for b in starts) > p for i, (s, _) in enumerate(own["forward"]))
    return bubble, "slow stage" if slow else "keeps too much" if keeps else "sends too few" if few else "fine\"""", """\
def judge_pipeline(events, p):
    ordered = sorted(events, key=lambda event: event[2:])
    begin, finish = ordered[0][2], max(event[3] for event in ordered)
    total = p * (finish - begin)
    bubble = (total - sum(event[3] - event[2] for event in ordered)) / total
    now, most, first, forward = [0] * p, [0] * p, [None] * p, [[] for _ in range(p)]
    for rank, kind, start, end in ordered:
        if kind == "forward":
            now[rank] += 1
            forward[rank].append(end - start)
        else:
            if first[rank] is None:
                first[rank] = now[rank]
            now[rank] -= 1
        most[rank] = max(most[rank], now[rank])
    m = len(forward[0])
    means = sorted(sum(lengths) / m for lengths in forward)
    middle = (means[p // 2] + means[(p - 1) // 2]) / 2
    if means[-1] > 1.5 * middle:
        return bubble, "slow stage"
    if any(count > p for count in most):
        return bubble, "keeps too much"
    if any(first[r] < p - r and first[r] < m for r in range(p)):
        return bubble, "sends too few"
    return bubble, "fine\"""",
    ),
    properties=(
        Property(lambda result, *_: 0 <= result[0] < 1, "A share of all time lies between 0 and 1."),
        Property(lambda result, *_: result[1] in ("slow stage", "keeps too much", "sends too few", "fine"),
                 "The verdict must be one of the four."),
    ),
    twin=bubble_twin,
)  # fmt: skip


# 23.7


def ring_twin(rng: random.Random) -> Question:
    """The slowest rank of plain ring attention."""
    size = rng.choice([2, 4, 6, 8, 10, 12])
    n, pair = rng.randint(3, 6), rng.choice([1, 2, 5])
    own = size * (size + 1) // 2
    return Question(
        f"Ring attention with a causal mask over {n} ranks, each with a plain slice of {size} positions; {pair} s a "
        "pair of query and key, sending takes no time. How many seconds until all ranks are done?",
        pair * (own + (n - 1) * size * size),
        f"Step 0 takes {own} pairs, and in each of the {n - 1} others some rank has all {size} · {size} of them.",
    )  # fmt: skip


def plain(T: int, n: int) -> list:
    return list(torch.arange(T).chunk(n))


def zigzag(T: int, n: int) -> list:
    pieces = torch.arange(T).chunk(2 * n)
    return [torch.cat([pieces[r], pieces[2 * n - 1 - r]]) for r in range(n)]


def ring_cases() -> list[tuple]:
    """Ways: plain, zig-zag, strided, uneven, out of order; hops from nothing to all that counts; one rank."""
    shuffled = torch.randperm(18, generator=torch.Generator().manual_seed(7))
    return [
        ({"plain": plain(24, 4), "zigzag": zigzag(24, 4)}, 1.0, 0.0),
        ({"zigzag": zigzag(24, 3), "plain": plain(24, 3)}, 2.0, 3.0),
        ({"plain": plain(20, 5)}, 1.0, 0.0),
        ({"plain": plain(20, 5)}, 1.0, 3.5),
        ({"uneven": list(torch.arange(15).split([7, 5, 3]))}, 1.0, 2.0),
        ({"uneven": list(torch.arange(15).split([2, 4, 9]))}, 1.0, 9.0),
        ({"uneven": list(torch.arange(15).split([4, 9, 2]))}, 1.0, 20.0),
        ({"strided": [torch.arange(r, 24, 4) for r in range(4)]}, 3.0, 1.0),
        ({"any": list(shuffled.split([5, 6, 7]))}, 1.0, 4.0),
        ({"plain": plain(12, 3), "backward": [at.flip(0) for at in reversed(plain(12, 3))]}, 1.0, 100.0),  # a tie
        ({"one": [torch.arange(7)]}, 2.0, 50.0),
        ({"a": plain(16, 4), "b": list(torch.arange(16).split([7, 4, 3, 2])), "c": zigzag(16, 4)}, 1.0, 1.5),
        ({"plain": plain(9, 3)}, 0.3, 0.7),  # seconds that are not whole
    ]


PAIRS = "pairs = [int((k <= q[:, None]).sum()) for q, k in zip(places, keys)]"
SEND = "send = max(len(k) for k in keys) * hop if step < n - 1 else 0.0"
STEP = "total += max(max(pairs) * pair, send)"
KEYS = "keys = [places[(r - step) % n] for r in range(n)]"
BEST = "best = min(found, key=found.get)"
WAIT = "When may a rank begin the next step, if its neighbour is still computing?"
HIDDEN = "When are the keys under way: after computing, or meanwhile?"
TRAVEL = "Whose keys has rank 1 after one step, and are they earlier or later than its queries if slices are plain?"
LATER = "May a query look at a key that comes after it?"
BY_POSITION = "At which positions do the queries and keys of a strided slice lie?"
LAST = "Who needs the keys after the last step?"
RING_SECONDS = Exercise(
    cases=ring_cases,
    mutants=(
        Mutant("all_ranks", STEP, "total += max(sum(pairs) * pair, send)",
               "the pairs of all ranks are added up in each step, as if one did them all",
               "How many ranks work at the same time?"),
        Mutant("mean_rank", STEP, "total += max(sum(pairs) / n * pair, send)",
               "the mean rank decides how long a step takes", WAIT),
        Mutant("slowest_of_sums", STEP, "loads = [sum(x) for x in zip(loads, pairs)] if step else pairs\n"
               "            total = max(loads) * pair + (0.0 if step < n - 1 else 0.0)",
               "the busiest rank of the whole ring decides, and sending costs nothing", WAIT),
        Mutant("runs_ahead", "", """\
def ring_seconds(ways, pair, hop):
    found = {}
    for name, places in ways.items():
        n = len(places)
        totals = [0.0] * n
        for step in range(n):
            send = max(len(at) for at in places) * hop if step < n - 1 else 0.0
            for r in range(n):
                work = int((places[(r - step) % n] <= places[r][:, None]).sum()) * pair
                totals[r] += max(work, send)
        found[name] = max(totals)
    best = min(found, key=found.get)
    return best, found[best]""",
               "each rank goes on alone, and the slowest in the end decides", WAIT),
        Mutant("hidden_in_all", "", """\
def ring_seconds(ways, pair, hop):
    found = {}
    for name, places in ways.items():
        n = len(places)
        keys = [[places[(r - step) % n] for r in range(n)] for step in range(n)]
        work = sum(max(int((k <= q[:, None]).sum()) for q, k in zip(places, now)) * pair for now in keys)
        found[name] = max(work, (n - 1) * max(map(len, places)) * hop)
    best = min(found, key=found.get)
    return best, found[best]""",
               "all computing is compared with all sending, as if the keys of one step could come in another",
               "What must a rank have before it can begin the next step?"),
        Mutant("last_rank", STEP, "total += max(pairs[-1] * pair, send)",
               "only the last rank is asked for how long it computes", WAIT),
        Mutant("first_rank", STEP, "total += max(pairs[0] * pair, send)",
               "only the first rank is asked for how long it computes", WAIT),
        Mutant("fastest_rank", STEP, "total += max(min(pairs) * pair, send)",
               "a step is over as soon as the first rank is done", WAIT),
        Mutant("not_hidden", STEP, "total += max(pairs) * pair + send",
               "sending comes after computing instead of meanwhile", HIDDEN),
        Mutant("free_sending", STEP, "total += max(pairs) * pair",
               "sending takes no time", "Where does your function use `hop`?"),
        Mutant("only_sending", STEP, "total += send if hop else max(pairs) * pair",
               "if sending takes time, it is the only thing that does",
               "Which of the two decides how long a step takes?"),
        Mutant("shorter", STEP, "total += min(max(pairs) * pair, send) if send else max(pairs) * pair",
               "the shorter of computing and sending counts", "When is a step over?"),
        Mutant("sends_last", SEND, "send = max(len(k) for k in keys) * hop",
               "keys are handed on after the last step as well", LAST),
        Mutant("sends_last_not_first", SEND, "send = max(len(k) for k in keys) * hop if step > 0 else 0.0",
               "nothing is sent in the first step, but in the last", LAST),
        Mutant("sends_shortest", "max(len(k) for k in keys) * hop", "min(len(k) for k in keys) * hop",
               "the shortest slice decides how long sending takes", "When is a step over?"),
        Mutant("sends_first", "max(len(k) for k in keys) * hop", "len(places[0]) * hop",
               "the slice of rank 0 decides how long sending takes", "May another rank have a longer slice?"),
        Mutant("sends_mean", "max(len(k) for k in keys) * hop", "sum(len(k) for k in keys) / n * hop",
               "the mean slice decides how long sending takes", "May another rank have a longer slice?"),
        Mutant("sends_all", "max(len(k) for k in keys) * hop", "sum(len(k) for k in keys) * hop",
               "all ranks send one after the other", "Who sends at the same time?"),
        Mutant("sends_slice", "max(len(k) for k in keys) * hop", "hop",
               "a whole slice takes as long as one position", "For how much does `hop` stand?"),
        Mutant("no_mask", PAIRS, "pairs = [len(q) * len(k) for q, k in zip(places, keys)]",
               "all pairs are counted, also those with later keys", LATER),
        Mutant("not_oneself", "k <= q[:, None]", "k < q[:, None]",
               "a query does not look at its own position", "May a query look at its own key?"),
        Mutant("future", "k <= q[:, None]", "k >= q[:, None]",
               "queries look at later keys, or keys travel the other way round, which comes to the same", TRAVEL),
        Mutant("by_index", PAIRS,
               "pairs = [len(q) * (len(q) + 1) // 2 if step == 0 else len(q) * len(k) * (r >= step)\n"
               "                     for r, (q, k) in enumerate(zip(places, keys))]",
               "the slices are taken for plain ones, in order", BY_POSITION),
        Mutant("half", PAIRS, "pairs = [len(q) * len(k) / 2 for q, k in zip(places, keys)]",
               "half of all pairs are taken to be computed in each step", BY_POSITION),
        Mutant("own_keys", KEYS, "keys = places",
               "every rank has its own keys in every step", "What has been handed on after the first step?"),
        Mutant("other_way", "(r - step) % n", "(r + step) % n",
               "queries look at later keys, or keys travel the other way round, which comes to the same", TRAVEL),
        Mutant("one_step_late", "range(n):\n            keys", "range(1, n):\n            keys",
               "the first step, with a rank's own keys, is left out", "Whose keys does a rank see first?"),
        Mutant("one_step_short", "range(n):\n            keys", "range(max(1, n - 1)):\n            keys",
               "the last step is left out", "How many slices of keys must each query see?"),
        Mutant("one_step_more", "range(n):\n            keys", "range(n + 1):\n            keys",
               "there is one step too many", "How many slices of keys must each query see?"),
        Mutant("slowest_way", BEST, "best = max(found, key=found.get)",
               "the slowest way is returned", "Which way should be found?"),
        Mutant("last_of_ties", BEST, "best = min(reversed(list(found)), key=found.get)",
               "of equally fast ways the last one is returned", "Which one counts if two are equally fast?"),
        Mutant("by_name", BEST, "best = min(found)",
               "the way with the first name in the alphabet is returned", "By what should the ways be compared?"),
        Mutant("first_way", BEST, "best = next(iter(found))",
               "the first way is returned, however slow", "By what should the ways be compared?"),
        Mutant("only_name", "return best, found[best]", "return best",
               "the seconds are missing", "Which two things should come back?"),
        Mutant("only_seconds", "return best, found[best]", "return found[best]",
               "the name is missing", "Which two things should come back?"),
        Mutant("pairs_not_seconds", "max(pairs) * pair", "max(pairs)",
               "pairs are counted instead of seconds", "Where does your function use `pair`?"),
        Mutant("largest_step", STEP, "total = max(total, max(pairs) * pair, send)",
               "the longest step is returned instead of the sum of all", "How many steps must be waited for?"),
        Mutant("total_over_n", "found[name] = total", "found[name] = total / n",
               "the seconds are divided by the number of ranks", "Do all ranks wait at the same time?"),
    ),
    variants=("""\
def ring_seconds(ways, pair, hop):
    def seconds(places):
        n = len(places)
        send = max(map(len, places)) * hop
        work = torch.zeros(n, n, dtype=torch.float64)
        for r, q in enumerate(places):
            for s in range(n):
                work[s, r] = (places[r - s][None] <= q[:, None]).sum() * pair
        steps = work.amax(1)
        return float(steps[:-1].clamp(min=send).sum() + steps[-1])

    times = {name: seconds(places) for name, places in ways.items()}
    name = min(times, key=lambda name: times[name])
    return name, times[name]""", """\
def ring_seconds(ways, pair, hop):
    best, least = None, math.inf
    for name, places in ways.items():
        n = len(places)
        held, total = list(places), 0
        longest = max(len(at) for at in places)
        for step in range(n):
            counts = []
            for queries, keys in zip(places, held):
                keys = keys.sort().values
                counts.append(torch.searchsorted(keys, queries, right=True).sum().item())
            work = max(counts) * pair
            total += work if step == n - 1 else max(work, longest * hop)
            held = [held[r - 1] for r in range(n)]
        if total < least:
            best, least = name, total
    return best, least""", """\
def ring_seconds(ways, pair, hop):
    results = []
    for name, places in ways.items():
        n, lists = len(places), [at.tolist() for at in places]
        total = 0.0
        for step in range(n):
            work = max(sum(k <= q for q in lists[r] for k in lists[(r - step) % n]) for r in range(n)) * pair
            send = max(len(at) for at in lists) * hop
            total += max(work, send) if step + 1 < n else work
        results.append((total, name))
    total, name = min(results, key=lambda result: result[0])
    return name, total""",
    ),
    properties=(
        Property(lambda result, ways, *_: result[0] in ways, "The name must be one of those that were given."),
    ),
    twin=ring_twin,
)  # fmt: skip


# 23.8


def parcels_twin(rng: random.Random) -> Question:
    each, n = rng.randint(2, 8), rng.choice([4, 8, 16])
    expert = rng.randint(0, each * n - 1)
    return Question(
        f"{each * n} experts lie in order on {n} ranks. On which rank, counted from 0, is expert {expert}?",
        expert // each, f"There are {each} on each rank: {expert} // {each}.",
    )  # fmt: skip


def parcel_cases() -> list[tuple]:
    """chosen, experts, n: uneven numbers of tokens, one rank without any, nothing for the last rank, k from 1 to 3."""
    cases = []
    shapes = ((((5, 2), (4, 2), (7, 2)), 6, 3), (((3, 1), (6, 1)), 8, 2), (((2, 3), (4, 3), (1, 3), (5, 3)), 12, 4),
              (((4, 2), (0, 2), (3, 2)), 15, 3), (((6, 2),), 5, 1), (((9, 2), (8, 2), (7, 2), (3, 2), (2, 2)), 10, 5))
    for i, (sizes, experts, n) in enumerate(shapes):
        generator = torch.Generator().manual_seed(i)
        chosen = [torch.rand(rows, experts, generator=generator).topk(k, -1).indices for rows, k in sizes]
        cases.append((chosen, experts, n))
    cases.append(([torch.tensor([[0, 1], [2, 1]]), torch.tensor([[1, 0]])], 9, 3))
    cases[-1][0].append(torch.tensor([[0, 2], [4, 3], [1, 5]]))  # nothing for rank 2
    return cases


EACH = "each = experts // n"
GIVE = "give = [torch.bincount(own.flatten() // each, minlength=n).tolist() for own in chosen]"
TAKEN = "take = [[give[a][b] for a in range(n)] for b in range(n)]"
WHERE = "On which rank lies expert 2 of 6 on 2 ranks? And on 3 ranks?"
TURNED = "Rank b receives something from each of the others. Where in the table of `give` does it stand?"
EVERY_VISIT = "How many rows does a rank send if each of its tokens visits two experts?"
PLACE_FOR_ALL = "What stands in the row of a rank that sends nothing to the last one?"
PARCELS = Exercise(
    cases=parcel_cases,
    mutants=(
        Mutant("modulo", "own.flatten() // each", "own.flatten() % n",
               "experts are dealt to the ranks like cards", WHERE),
        Mutant("modulo_each", "own.flatten() // each", "own.flatten() % each",
               "the place of an expert on its rank is taken for the rank", WHERE),
        Mutant("by_ranks", EACH, "each = n",
               "the number of an expert is divided by the number of ranks", WHERE),
        Mutant("ceil", EACH, "each = experts // n + 1",
               "a rank is taken to hold one expert more than it does", WHERE),
        Mutant("by_expert", f"{EACH}\n    {GIVE}", "each = experts // n\n"
               "    give = [torch.bincount(own.flatten(), minlength=experts).tolist() for own in chosen]",
               "visits are counted by expert instead of by rank", WHERE),
        Mutant("reversed", "own.flatten() // each", "n - 1 - own.flatten() // each",
               "the first experts are looked for on the last rank", WHERE),
        Mutant("from_one", "own.flatten() // each", "((own.flatten() - 1).clamp(min=0) // each)",
               "experts are counted from one", WHERE),
        Mutant("not_turned", TAKEN, "take = give",
               "what a rank takes is said to be what it gives", TURNED),
        Mutant("not_turned_copy", TAKEN, "take = [list(row) for row in give]",
               "what a rank takes is said to be what it gives", TURNED),
        Mutant("sums", TAKEN, "take = [sum(give[a][b] for a in range(n)) for b in range(n)]",
               "only the sum of what a rank takes is returned", "How much comes from each single rank?"),
        Mutant("backwards", TAKEN, "take = [row[::-1] for row in give]",
               "the rows are turned round instead of the table", TURNED),
        Mutant("rows_backwards", TAKEN, "take = give[::-1]",
               "the order of the ranks is turned round instead of the table", TURNED),
        Mutant("first_choice", "own.flatten() // each", "own[:, 0] // each",
               "only the first expert of each token is counted", EVERY_VISIT),
        Mutant("last_choice", "own.flatten() // each", "own[:, -1] // each",
               "only the last expert of each token is counted", EVERY_VISIT),
        Mutant("once_a_rank", GIVE,
               "give = [[int((own // each == b).any(1).sum()) for b in range(n)] for own in chosen]",
               "a token that visits two experts of one rank is sent there once",
               "What does the statement say about a token with two experts of one rank?"),
        Mutant("no_minlength", ", minlength=n", "",
               "the rows are too short where nothing goes to the last ranks", PLACE_FOR_ALL),
        Mutant("no_minlength_zip", f"{GIVE}\n    {TAKEN}",
               "give = [torch.bincount(own.flatten() // each).tolist() for own in chosen]\n"
               "    take = [list(column) for column in zip(*give)]",
               "the rows are too short where nothing goes to the last ranks", PLACE_FOR_ALL),
        Mutant("unique", GIVE, "give = [(own.flatten() // each).unique(return_counts=True)[1].tolist() "
               "for own in chosen]\n    give = [row + [0] * (n - len(row)) for row in give]",
               "ranks without a visit have no place of their own in the row", PLACE_FOR_ALL),
        Mutant("own_left_out", TAKEN, f"give = [[0 if a == b else give[a][b] for b in range(n)] for a in range(n)]\n"
               f"    {TAKEN}",
               "what stays on its own rank is not counted",
               "What does the statement say about visits to the own rank?"),
        Mutant("elements", TAKEN, "give = [[len(own) for _ in range(n)] for own in chosen]\n    " + TAKEN,
               "every token is sent to every rank", "To which ranks must a token travel?"),
        Mutant("even", GIVE, "give = [[own.numel() // n] * n for own in chosen]",
               "the visits are taken to be shared out evenly", "Who decides where a token goes?"),
        Mutant("tensors", GIVE, "give = [torch.bincount(own.flatten() // each, minlength=n) for own in chosen]",
               "tensors are returned instead of lists of numbers", "Which type should a row have?"),
        Mutant("swapped", "return give, take", "return take, give",
               "the two tables have changed places", "Which of the two should come first?"),
        Mutant("only_give", "return give, take", "return give",
               "only one table is returned", "Which two things should come back?"),
    ),
    variants=("""\
def parcels(chosen, experts, n):
    give = [[0] * n for _ in range(n)]
    take = [[0] * n for _ in range(n)]
    for a, own in enumerate(chosen):
        for expert in own.flatten().tolist():
            b = expert * n // experts
            give[a][b] += 1
            take[b][a] += 1
    return give, take""", """\
def parcels(chosen, experts, n):
    table = torch.zeros(n, n, dtype=torch.long)
    for a, own in enumerate(chosen):
        place = own.reshape(-1) // (experts // n)
        table[a].index_add_(0, place, torch.ones_like(place))
    return table.tolist(), table.T.tolist()""", """\
def parcels(chosen, experts, n):
    counts = [torch.bincount(own.flatten(), minlength=experts).view(n, -1).sum(1) for own in chosen]
    give = [row.tolist() for row in counts]
    return give, [list(column) for column in zip(*give)]""",
    ),
    properties=(
        Property(lambda result, chosen, experts, n: [sum(row) for row in result[0]] == [c.numel() for c in chosen],
                 "What a rank gives must be all the visits of its tokens, k for each."),
        Property(lambda result, chosen, experts, n: all(result[1][b][a] == result[0][a][b]
                                                        for a in range(n) for b in range(n)),
                 "What b takes from a must be what a gives to b."),
    ),
    twin=parcels_twin,
)  # fmt: skip


# 23.9


def layout_twin(rng: random.Random) -> Question:
    tp, pp, dp = rng.choice([2, 4, 8]), rng.choice([2, 4, 8, 16]), rng.choice([2, 4, 8])
    m = rng.choice([4, 8, 16, 32])
    return Question(
        f"{tp * pp * dp} GPUs: {tp} ranks share a layer, {pp} stages share the stack, and the rest are copies. The "
        f"batch has {m * dp} sequences, one in each micro-batch. How large is the bubble, as a share of all time?",
        (pp - 1) / (m + pp - 1),
        f"There are {dp} copies with {m} micro-batches each: {pp - 1} / ({m} + {pp - 1}).", 0.02,
    )  # fmt: skip


def layout_cases() -> list[tuple]:
    def case(parameters, layers, heads, batch, gpus, per_machine, memory):
        return ({"parameters": parameters, "layers": layers, "heads": heads, "batch": batch},
                {"gpus": gpus, "per_machine": per_machine, "memory": memory})  # fmt: skip

    return [
        case(70e9, 80, 64, 512, 512, 8, 80e9),
        case(7e9, 32, 32, 96, 48, 8, 80e9),
        case(7e9, 30, 32, 1024, 64, 4, 40e9),
        case(70e9, 80, 64, 4096, 128, 8, 80e9),
        case(1e9, 24, 16, 256, 32, 8, 80e9),  # all copies
        case(7e9, 32, 32, 96, 4, 8, 80e9),
        case(70e9, 64, 48, 64, 64, 4, 80e9),  # few micro-batches
        case(13e9, 40, 40, 40, 16, 8, 40e9),
        case(30e9, 7, 48, 16, 16, 4, 80e9),  # layers that hardly divide: tp beyond a machine
        case(3e9, 36, 24, 36, 36, 8, 80e9),
        case(20e9, 44, 64, 64, 64, 8, 24e9),
        case(6e9, 28, 16, 30, 60, 8, 80e9),  # the batch does not divide by many numbers
        case(9e9, 12, 18, 24, 24, 6, 141e9),
        case(2e9, 12, 12, 100, 1, 8, 80e9),  # one GPU
        case(4e9, 24, 8, 60, 64, 4, 40e9),  # these four tell one wrong idea from another
        case(3e9, 36, 18, 10, 18, 4, 80e9),
        case(9e9, 36, 60, 20, 72, 2, 80e9),
        case(3e9, 24, 60, 90, 30, 8, 24e9),
        case(24e9, 9, 3, 8, 9, 2, 80e9),  # (1, 9, 1) and (3, 3, 1) are equally fast
        case(48e9, 18, 6, 98, 18, 4, 80e9),  # (2, 9, 1) and (3, 6, 1) as well
        case(13e9, 21, 6, 30, 21, 2, 24e9),  # these five tell apart other ideas about the cost
        case(6e9, 44, 24, 36, 4, 6, 40e9),
        case(4e9, 28, 4, 120, 24, 6, 80e9),
        case(9e9, 36, 12, 600, 36, 6, 24e9),
        case(1e9, 44, 20, 6, 8, 5, 24e9),
    ]


FITS = "if 18 * model[\"parameters\"] / (tp * pp) > 0.7 * room[\"memory\"]:"
DIVIDES = "if rest or model[\"heads\"] % tp or model[\"layers\"] % pp or model[\"batch\"] % dp:"
MICRO = "m = model[\"batch\"] // dp"
PRICE = "price = 0.03 if tp <= room[\"per_machine\"] else 0.3"
COST = "cost = (1 + price * (tp - 1)) * (m + pp - 1) / m"
BETTER = "if best is None or cost < best[0] - 1e-12:"
NO_STAGES = "stages cost nothing, so that the first layout that fits is taken"
MEMORY = "memory does not count, or copies share it as well, which comes to the same if the model fits on all GPUs"
SHARED_BY = "Which ranks share the weights of one copy, and which hold the same ones once more?"
PER_COPY = "How many micro-batches pass through one copy's pipeline?"
DIVIDE = "Can 32 heads be shared by 3 ranks? Which other numbers must divide which?"
ALL_OF_THEM = "What is tp · pp · dp?"
LINKS = "Over which links do the tensor ranks talk if there are more of them than a machine has GPUs?"
CHOOSE_LAYOUT = Exercise(
    cases=layout_cases,
    mutants=(
        Mutant("memory_by_all", "/ (tp * pp) >", "/ (tp * pp * dp) >",
               MEMORY, SHARED_BY),
        Mutant("memory_by_tp", "/ (tp * pp) >", "/ tp >",
               "stages do not share the memory", SHARED_BY),
        Mutant("memory_by_pp", "/ (tp * pp) >", "/ pp >",
               "tensor ranks do not share the memory", SHARED_BY),
        Mutant("memory_by_dp", "/ (tp * pp) >", "/ (pp * dp) >",
               "copies share the memory and tensor ranks do not", SHARED_BY),
        Mutant("no_memory", FITS, "if False:",
               MEMORY, SHARED_BY),
        Mutant("all_memory", "0.7 * room", "1.0 * room",
               "all of the memory is given to the weights", "What else needs memory?"),
        Mutant("two_bytes", "18 * model", "2 * model",
               "only the weights in 16 bits are counted", "What must be kept for each parameter in training?"),
        Mutant("sixteen_bytes", "18 * model", "16 * model",
               "a parameter is counted with 16 bytes", "How many bytes does the statement count for a parameter?"),
        Mutant("heads_any", " or model[\"heads\"] % tp", "",
               "tp need not divide the heads", DIVIDE),
        Mutant("layers_any", " or model[\"layers\"] % pp", "",
               "pp need not divide the layers", DIVIDE),
        Mutant("batch_any", f"{DIVIDES}\n                continue\n            {FITS}\n                continue\n"
               f"            {MICRO}",
               "if rest or model[\"heads\"] % tp or model[\"layers\"] % pp or dp > model[\"batch\"]:\n"
               f"                continue\n            {FITS}\n                continue\n            {MICRO}",
               "dp need not divide the batch", DIVIDE),
        Mutant("wrong_divisors", "model[\"heads\"] % tp or model[\"layers\"] % pp",
               "model[\"layers\"] % tp or model[\"heads\"] % pp",
               "tp divides the layers and pp the heads", DIVIDE),
        Mutant("not_all_gpus", "if rest or model", "if model",
               "some GPUs may be idle", ALL_OF_THEM),
        Mutant("m_is_batch", MICRO, "m = model[\"batch\"]",
               "every copy is given the whole batch", PER_COPY),
        Mutant("m_by_all", MICRO, "m = max(1, model[\"batch\"] // (dp * tp))",
               "the batch is shared out to the tensor ranks as well", PER_COPY),
        Mutant("m_is_dp", MICRO, "m = dp",
               "the number of copies is taken for the number of micro-batches", PER_COPY),
        Mutant("bubble_share", "(m + pp - 1) / m", "(1 + (pp - 1) / (m + pp - 1))",
               "the bubble's share of all time is added to one",
               "The bubble is half of all time: how many times as long does the step take?"),
        Mutant("no_bubble", " * (m + pp - 1) / m", "",
               NO_STAGES, "How long does the last stage wait for its first micro-batch?"),
        Mutant("bubble_p", "(m + pp - 1) / m", "(m + pp) / m",
               "p stages make a bubble of p micro-batches instead of p - 1", "How long is the bubble of one stage?"),
        Mutant("no_tensor_price", "(1 + price * (tp - 1)) * ", "",
               "tensor parallelism costs nothing", "How often do the tensor ranks talk in each layer?"),
        Mutant("one_price", PRICE, "price = 0.03",
               "tensor ranks in several machines are as cheap as in one", LINKS),
        Mutant("dear_everywhere", PRICE, "price = 0.3",
               "tensor ranks in one machine are as dear as in several", LINKS),
        Mutant("price_less", "tp <= room[\"per_machine\"]", "tp < room[\"per_machine\"]",
               "tensor ranks that just fill a machine are taken to lie in several", LINKS),
        Mutant("price_tp", "price * (tp - 1)", "price * tp",
               "a single tensor rank pays, too", "With whom does a single tensor rank talk?"),
        Mutant("price_beyond", f"{PRICE}\n            {COST}",
               "inside = min(tp, room[\"per_machine\"])\n"
               "            cost = (1 + 0.03 * (inside - 1) + 0.3 * (tp - inside)) * (m + pp - 1) / m",
               "only the tensor ranks beyond a machine pay the higher price", LINKS),
        Mutant("tp_in_machine", "for tp in range(1, room[\"gpus\"] + 1):",
               "for tp in range(1, min(room[\"gpus\"], room[\"per_machine\"]) + 1):",
               "more tensor ranks than a machine has GPUs are never considered",
               "Does the statement forbid it, or make it dear?"),
        Mutant("rule_of_thumb", "for tp in range(1, room[\"gpus\"] + 1):",
               "for tp in sorted(range(1, room[\"gpus\"] + 1), key=lambda t: t != "
               "min(room[\"per_machine\"], room[\"gpus\"])):\n        if best:\n            break",
               "tp is set to the size of a machine whenever this fits",
               "Is the size of a machine a limit or a target?"),
        Mutant("powers", "for tp in range(1, room[\"gpus\"] + 1):",
               "for tp in (2**i for i in range(11) if 2**i <= room[\"gpus\"]):",
               "only powers of two are considered for tp", "May six ranks share 18 heads?"),
        Mutant("first_that_fits", BETTER, "if best is None:",
               NO_STAGES, "What is better about the layout that you return?"),
        Mutant("last_that_fits", BETTER, "if True:",
               "the last layout that fits is taken", "What is better about the layout that you return?"),
        Mutant("slowest", BETTER, "if best is None or cost > best[0] + 1e-12:",
               "the slowest layout is taken", "Which cost is the best?"),
        Mutant("last_of_ties", BETTER, "if best is None or cost < best[0] + 1e-12:",
               "of equally fast layouts the one with the larger tp is taken",
               "Which one counts if two are equally fast?"),
        Mutant("added", COST, "cost = 1 + price * (tp - 1) + (pp - 1) / m",
               "what tensor ranks and what stages cost is added instead of multiplied",
               "Does the bubble grow if every micro-batch takes longer?"),
        Mutant("per_copy", COST, "cost = (1 + price * (tp - 1)) * (m + pp - 1)",
               "the cost is not divided by m, so that copies with few micro-batches seem fast",
               "How much work is there for each GPU, whatever the layout?"),
        Mutant("stages_in_machine", PRICE, "price = 0.03 if tp * pp <= room[\"per_machine\"] else 0.3",
               "stages are asked to lie in one machine, too",
               "Which of the ranks of a copy talk over the links that `c` is about?"),
        Mutant("room_is_machine", PRICE, "price = 0.03 if room[\"gpus\"] <= room[\"per_machine\"] else 0.3",
               "tensor ranks are dear as soon as there are several machines",
               "In how many machines do two tensor ranks lie if the room has six machines?"),
        Mutant("tp_divides_machine", PRICE, "price = 0.03 if room[\"per_machine\"] % tp == 0 else 0.3",
               "tensor ranks are dear if their number does not divide that of a machine",
               "Up to which number of tensor ranks does the statement give the low price?"),
        Mutant("m_by_stages", MICRO, "m = max(1, model[\"batch\"] // (dp * pp))",
               "the batch is shared out to the stages as well", PER_COPY),
        Mutant("most_copies", COST, "cost = -dp",
               "the layout with the most copies is taken", "What do many copies do to the number of micro-batches?"),
        Mutant("fewest_stages", COST, "cost = pp + tp / 1000",
               "the layout with the fewest stages is taken", "What does tensor parallelism cost?"),
        Mutant("order", "best = cost, (tp, pp, dp)", "best = cost, (dp, pp, tp)",
               "the triple comes in another order", "In which order should the three numbers come?"),
        Mutant("with_cost", "return best[1]", "return best",
               "the cost is returned as well", "What should the result be?"),
    ),
    variants=("""\
def choose_layout(model, room):
    gpus, found = room["gpus"], []
    sizes = [d for d in range(1, gpus + 1) if gpus % d == 0]
    for tp in sizes:
        for pp in sizes:
            if gpus % (tp * pp):
                continue
            dp = gpus // tp // pp
            divides = model["heads"] % tp == 0 and model["layers"] % pp == 0 and model["batch"] % dp == 0
            fits = 18 * model["parameters"] <= 0.7 * room["memory"] * tp * pp
            if divides and fits:
                m = model["batch"] / dp
                tensor = 1 + (0.3 if tp > room["per_machine"] else 0.03) * (tp - 1)
                found.append((round(tensor * (1 + (pp - 1) / m), 12), tp, pp, dp))
    return min(found)[1:]""", """\
def choose_layout(model, room):
    def cost(layout):
        tp, pp, dp = layout
        m = model["batch"] // dp
        c = 0.03 if tp <= room["per_machine"] else 0.3
        return round((1 + c * (tp - 1)) * (m + pp - 1) / m, 12), tp

    gpus = room["gpus"]
    layouts = [(tp, pp, gpus // (tp * pp)) for tp in range(1, gpus + 1) if model["heads"] % tp == 0
               for pp in range(1, gpus + 1) if model["layers"] % pp == 0 and gpus % (tp * pp) == 0]
    layouts = [x for x in layouts if model["batch"] % x[2] == 0]
    need = 18 * model["parameters"] / (0.7 * room["memory"])
    return min((x for x in layouts if x[0] * x[1] >= need), key=cost)""", """\
def choose_layout(model, room):
    best, answer = math.inf, None
    for dp in range(1, room["gpus"] + 1):
        if room["gpus"] % dp or model["batch"] % dp:
            continue
        ranks, m = room["gpus"] // dp, model["batch"] // dp
        if 18 * model["parameters"] / ranks > 0.7 * room["memory"]:
            continue
        for tp in range(1, ranks + 1):
            if ranks % tp or model["heads"] % tp or model["layers"] % (ranks // tp):
                continue
            pp = ranks // tp
            c = [0.03, 0.3][tp > room["per_machine"]]
            time = (1 + c * (tp - 1)) * (m + pp - 1) / m
            if time < best - 1e-12 or (abs(time - best) <= 1e-12 and tp < answer[0]):
                best, answer = time, (tp, pp, dp)
    return answer""",
    ),
    properties=(
        Property(lambda x, model, room: x[0] * x[1] * x[2] == room["gpus"], "tp · pp · dp is not the number of GPUs."),
        Property(lambda x, model, room: not (model["heads"] % x[0] or model["layers"] % x[1] or model["batch"] % x[2]),
                 "One of the three does not divide what it must divide."),
        Property(lambda x, model, room: 18 * model["parameters"] / (x[0] * x[1]) <= 0.7 * room["memory"],
                 "The model does not fit."),
    ),
    twin=layout_twin,
)  # fmt: skip


# 23.10


def norm_twin(rng: random.Random) -> Question:
    a, b = rng.sample(range(1, 9), 2)
    x, y = rng.randint(-9, 9), rng.randint(10, 30)
    return Question(
        f"Rank 0 has {a} features of a token, all of them {x}; rank 1 has {b}, all of them {y}. What is the mean over "
        "all features?", (a * x + b * y) / (a + b),
        f"({a} · {x} + {b} · {y}) / ({a} + {b}): sums add up, means do not.", 0.01,
    )  # fmt: skip


def norm_cases() -> list[tuple]:
    """parts, gains, biases, eps: uneven and even parts, one rank, a large eps, a large mean, equal features."""
    cases = []
    shapes = ((4, (3, 5, 2), 1e-5), (2, (6, 1), 0.5), (3, (4, 4, 4, 4), 0.1), (5, (7,), 0.2), (1, (2, 3), 1e-5),
              (6, (1, 1, 9, 2, 3), 2.0))  # fmt: skip
    for i, (B, widths, eps) in enumerate(shapes):
        parts = normal(500 + i, *[(B, w) for w in widths])
        cases.append(([2 * p + r for r, p in enumerate(parts)], normal(510 + i, *[(w,) for w in widths]),
                      normal(520 + i, *[(w,) for w in widths]), eps))  # fmt: skip
    parts = [3000 + part for part in normal(530, (4, 3), (4, 5), (4, 2))]
    cases.append((parts, normal(531, (3,), (5,), (2,)), normal(532, (3,), (5,), (2,)), 1e-5))
    return cases


def counted(function, parts, gains, biases, eps):
    """Hand over an all_reduce that keeps the rules: two calls, a number a token."""
    calls = 0

    def all_reduce(tensors):
        nonlocal calls
        calls += 1
        if calls > 2:
            raise RuntimeError("all_reduce was called a third time; two calls are allowed")
        if len(tensors) != len(parts):
            raise RuntimeError("all_reduce takes a list with one tensor for each rank")
        if any(t.dim() != 2 for t in tensors):
            raise ValueError("all_reduce takes tensors of shape (B, 1), with two axes")
        if any(tuple(t.shape) != (len(parts[0]), 1) for t in tensors):
            raise RuntimeError("all_reduce takes tensors of shape (B, 1), and was given another shape")
        total = sum(tensors)
        return [total.clone() for _ in tensors]

    result = function(parts, gains, biases, eps, all_reduce)
    if not calls:
        raise RuntimeError("all_reduce was never called: how does a rank know of the others' features?")
    return result


WIDTH = "width = sum(part.shape[1] for part in parts)"
SUMS = "sums = all_reduce([part.sum(1, keepdim=True) for part in parts])"
CENTRED = "centred = [part - total / width for part, total in zip(parts, sums)]"
SQUARES = "squares = all_reduce([c.square().sum(1, keepdim=True) for c in centred])"
ROOTS = "roots = [torch.rsqrt(s / width + eps) for s in squares]"
RESULT = "return [c * r * g + b for c, r, g, b in zip(centred, roots, gains, biases)]"
ALL_FEATURES = "Over how many features of a token is the mean taken, and how many of them has one rank?"
UNEVEN = "One rank has a single feature and another has nine. Do their means count the same?"
DIGITS = "How many digits has float32, and what is left of them when two numbers of nine million are subtracted?"
EPS = "To what is eps added, and before or after the root?"
TALK = "What must a rank know of the others' features: all of them, or a few sums?"
SPLIT_LAYERNORM = Exercise(
    cases=norm_cases,
    use=counted,
    tolerance=2e-3,
    mutants=(
        Mutant("own_features", f"{CENTRED}\n    {SQUARES}\n    {ROOTS}\n    {RESULT}",
               "return [F.layer_norm(x, x.shape[1:], g, b, eps) for x, g, b in zip(parts, gains, biases)]",
               "each rank norms its own features", ALL_FEATURES),
        Mutant("own_mean", CENTRED, "centred = [part - part.mean(1, keepdim=True) for part in parts]",
               "each rank subtracts the mean of its own features", ALL_FEATURES),
        Mutant("own_variance", SQUARES, "squares = [c.square().sum(1, keepdim=True) for c in centred]",
               "each rank takes the squares of its own features only", ALL_FEATURES),
        Mutant("own_mean_square", f"{SQUARES}\n    {ROOTS}", "squares = [c.square().mean(1, keepdim=True) "
               "for c in centred]\n    roots = [torch.rsqrt(s + eps) for s in squares]",
               "each rank divides by the variance of its own features", ALL_FEATURES),
        Mutant("mean_of_means", f"{SUMS}\n    {CENTRED}",
               "sums = all_reduce([part.mean(1, keepdim=True) for part in parts])\n"
               "    centred = [part - total / len(parts) for part, total in zip(parts, sums)]",
               "the means of the ranks are averaged, however many features each has", UNEVEN),
        Mutant("mean_of_variances", f"{SQUARES}\n    {ROOTS}",
               "squares = all_reduce([c.square().mean(1, keepdim=True) for c in centred])\n"
               "    roots = [torch.rsqrt(s / len(parts) + eps) for s in squares]",
               "the mean squares of the ranks are averaged, however many features each has", UNEVEN),
        Mutant("mean_of_both", f"{SUMS}\n    {CENTRED}\n    {SQUARES}\n    {ROOTS}",
               "sums = all_reduce([part.mean(1, keepdim=True) for part in parts])\n"
               "    centred = [part - total / len(parts) for part, total in zip(parts, sums)]\n"
               "    squares = all_reduce([c.square().mean(1, keepdim=True) for c in centred])\n"
               "    roots = [torch.rsqrt(s / len(parts) + eps) for s in squares]",
               "means and mean squares of the ranks are averaged, however many features each has", UNEVEN),
        Mutant("sum_of_means", f"{SUMS}\n    {CENTRED}",
               "sums = all_reduce([part.mean(1, keepdim=True) for part in parts])\n"
               "    centred = [part - total for part, total in zip(parts, sums)]",
               "the means of the ranks are added up", UNEVEN),
        Mutant("own_width_mean", CENTRED,
               "centred = [part - total / part.shape[1] for part, total in zip(parts, sums)]",
               "the sum over all features is divided by the number of a rank's own", ALL_FEATURES),
        Mutant("own_width_variance", ROOTS,
               "roots = [torch.rsqrt(s / part.shape[1] + eps) for s, part in zip(squares, parts)]",
               "the squares of all features are divided by the number of a rank's own", ALL_FEATURES),
        Mutant("own_width", f"{CENTRED}\n    {SQUARES}\n    {ROOTS}",
               "centred = [part - total / part.shape[1] for part, total in zip(parts, sums)]\n    " + SQUARES +
               "\n    roots = [torch.rsqrt(s / part.shape[1] + eps) for s, part in zip(squares, parts)]",
               "sums over all features are divided by the number of a rank's own", ALL_FEATURES),
        Mutant("even_width", WIDTH, "width = len(parts) * parts[0].shape[1]",
               "all ranks are taken to have as many features as the first", UNEVEN),
        Mutant("one_formula", f"{SQUARES}\n    {ROOTS}",
               "squares = all_reduce([part.square().sum(1, keepdim=True) for part in parts])\n    roots = "
               "[torch.rsqrt((s / width - (t / width).square()).clamp(min=0) + eps) for s, t in zip(squares, sums)]",
               "the variance is E[x²] − mean², and its digits are gone where the mean is large", DIGITS),
        Mutant("one_formula_no_clamp", f"{SQUARES}\n    {ROOTS}",
               "squares = all_reduce([part.square().sum(1, keepdim=True) for part in parts])\n    roots = "
               "[torch.rsqrt(s / width - (t / width).square() + eps) for s, t in zip(squares, sums)]",
               "the variance is E[x²] − mean², and its digits are gone where the mean is large", DIGITS),
        Mutant("not_centred_squares", "c.square().sum(1, keepdim=True) for c in centred",
               "part.square().sum(1, keepdim=True) for part in parts",
               "the squares are taken before the mean is subtracted",
               "Distances from what make up a variance?"),
        Mutant("rms_norm", RESULT, "return [x * r * g + b for x, r, g, b in zip(parts, roots, gains, biases)]",
               "the mean is subtracted for the variance, and not from the features",
               "What is the mean of a token's features after a LayerNorm without gain?"),
        Mutant("unbiased", "s / width + eps", "s / (width - 1) + eps",
               "the variance is divided by one less than the number of features",
               "By what does the statement say that the variance is divided?"),
        Mutant("not_divided", "s / width + eps", "s + eps",
               "the sum of squares is not divided by the number of features",
               "What is the difference between a sum and a mean of squares?"),
        Mutant("eps_outside", ROOTS, "roots = [1 / ((s / width).sqrt() + eps) for s in squares]",
               "eps is added to the root", EPS),
        Mutant("no_eps", " + eps", "",
               "eps plays no part", EPS),
        Mutant("eps_each", f"{SQUARES}\n    {ROOTS}",
               "squares = all_reduce([c.square().sum(1, keepdim=True) + eps for c in centred])\n"
               "    roots = [torch.rsqrt(s / width) for s in squares]",
               "every rank adds eps to its sum", EPS),
        Mutant("eps_before_division", "torch.rsqrt(s / width + eps)", "torch.rsqrt((s + eps) / width)",
               "eps is added to the sum of squares, before the division", EPS),
        Mutant("eps_squared", "+ eps)", "+ eps**2)",
               "the square of eps is added", EPS),
        Mutant("no_root", "torch.rsqrt(s / width + eps)", "1 / (s / width + eps)",
               "the features are divided by the variance instead of its root",
               "In which unit is a variance if the features are metres?"),
        Mutant("times_root", "torch.rsqrt(s / width + eps)", "torch.sqrt(s / width + eps)",
               "the features are multiplied by the root",
               "How large should a feature be after a norm?"),
        Mutant("gain_first", f"{SQUARES}\n    {ROOTS}\n    {RESULT}",
               "centred = [c * g for c, g in zip(centred, gains)]\n    " + SQUARES + "\n    " + ROOTS +
               "\n    return [c * r + b for c, r, b in zip(centred, roots, biases)]",
               "the gain is applied before the variance is taken",
               "Should a gain of 10 make the features ten times as large, or not at all?"),
        Mutant("no_gain", "c * r * g + b", "c * r + b",
               "the gains are not used", "Where does your function use `gains`?"),
        Mutant("no_bias", "c * r * g + b for", "c * r * g for",
               "the biases are not used", "Where does your function use `biases`?"),
        Mutant("bias_inside", "c * r * g + b", "(c * r + b) * g",
               "the bias is multiplied by the gain", "What comes first, gain or bias?"),
        Mutant("gains_of_rank_0", "c * r * g + b", "c * r * gains[0][:1] + b",
               "the first gain is used for all features", "To which features does `gains[r]` belong?"),
        Mutant("gathers", "", """\
def split_layernorm(parts, gains, biases, eps, all_reduce):
    width, start, padded = sum(part.shape[1] for part in parts), 0, []
    for part in parts:
        whole = torch.zeros(len(part), width)
        whole[:, start : start + part.shape[1]] = part
        padded.append(whole)
        start += part.shape[1]
    whole = all_reduce(padded)[0]
    y = F.layer_norm(whole, (width,), torch.cat(gains), torch.cat(biases), eps)
    return list(y.split([part.shape[1] for part in parts], 1))""",
               "more than one number a token is handed to all_reduce", TALK),
        Mutant("two_at_once", f"{SUMS}\n    {CENTRED}\n    {SQUARES}\n    {ROOTS}",
               "both = all_reduce([torch.cat([p.sum(1, keepdim=True), p.square().sum(1, keepdim=True)], 1) "
               "for p in parts])\n    centred = [p - t[:, :1] / width for p, t in zip(parts, both)]\n"
               "    roots = [torch.rsqrt(t[:, 1:] / width - (t[:, :1] / width) ** 2 + eps) for t in both]",
               "more than one number a token is handed to all_reduce", TALK),
        Mutant("one_axis", SUMS, "sums = all_reduce([part.sum(1) for part in parts])",
               "the sums that are handed to all_reduce have lost their second axis",
               "Which option of `sum` keeps an axis of length one?"),
        Mutant("pooled", SQUARES,
               "squares = all_reduce([part.var(1, unbiased=False, keepdim=True) * part.shape[1] for part in parts])",
               "the ranks' variances are put together, and how far their means lie apart is forgotten",
               "All features of a rank are equal, but each rank has others. What is the variance over all?"),
        Mutant("by_ranks", WIDTH, "width = len(parts)",
               "the sums over features are divided by the number of ranks", ALL_FEATURES),
        Mutant("third_call", WIDTH, "width = all_reduce([torch.full((len(part), 1), float(part.shape[1])) "
               "for part in parts])[0]",
               "the number of features is asked for by an exchange of its own",
               "Which of the numbers that you need is known to everyone?"),
        Mutant("no_talk", "", """\
def split_layernorm(parts, gains, biases, eps, all_reduce):
    y = F.layer_norm(torch.cat(parts, 1), (sum(p.shape[1] for p in parts),), torch.cat(gains), torch.cat(biases), eps)
    return list(y.split([part.shape[1] for part in parts], 1))""",
               "the parts of other ranks are used without an exchange", "What may a rank see without an all-reduce?"),
        Mutant("rank_0_mean", CENTRED, "centred = [part - parts[0].mean(1, keepdim=True) for part in parts]",
               "all ranks subtract the mean of rank 0", ALL_FEATURES),
        Mutant("one_tensor", RESULT, "return torch.cat([c * r * g + b for c, r, g, b in "
               "zip(centred, roots, gains, biases)], 1)",
               "one tensor is returned instead of a list", "What does each rank hold in the end?"),
        Mutant("over_tokens", f"{SUMS}\n    {CENTRED}",
               "sums = all_reduce([part.sum(1, keepdim=True) for part in parts])\n"
               "    centred = [part - total.mean() / width for part, total in zip(parts, sums)]",
               "the mean is taken over tokens as well", "Whose features has a token to do with?"),
        Mutant("in_place", CENTRED, "for part, total in zip(parts, sums):\n        part -= total / width\n"
               "    centred = parts",
               "the features that were handed in are changed",
               "To whom do the features belong, and what will be in them afterwards?"),
    ),
    variants=("""\
def split_layernorm(parts, gains, biases, eps, all_reduce):
    C = sum(g.numel() for g in gains)
    mean = [s / C for s in all_reduce([p.sum(-1, keepdim=True) for p in parts])]
    var = [s / C for s in all_reduce([((p - m) ** 2).sum(-1, keepdim=True) for p, m in zip(parts, mean)])]
    return [(p - m) / (v + eps).sqrt() * g + b for p, m, v, g, b in zip(parts, mean, var, gains, biases)]""", """\
def split_layernorm(parts, gains, biases, eps, all_reduce):
    widths = [p.shape[1] for p in parts]
    C = sum(widths)
    own = [p.mean(1, keepdim=True) for p in parts]
    means = all_reduce([m * w / C for m, w in zip(own, widths)])
    spread = [p.var(1, unbiased=False, keepdim=True) for p in parts]
    spread = [w * (v + (m - mean) ** 2) / C for w, v, m, mean in zip(widths, spread, own, means)]
    total = all_reduce(spread)
    return [torch.addcmul(b, (p - mean) / torch.sqrt(v + eps), g)
            for p, mean, v, g, b in zip(parts, means, total, gains, biases)]""", """\
def split_layernorm(parts, gains, biases, eps, all_reduce):
    n, C = len(parts), sum(p.shape[1] for p in parts)
    sums = all_reduce([p.double().sum(1, keepdim=True) for p in parts])
    squares = all_reduce([p.double().square().sum(1, keepdim=True) for p in parts])
    out = []
    for r in range(n):
        mean = sums[r] / C
        variance = squares[r] / C - mean**2
        y = (parts[r] - mean) / (variance + eps) ** 0.5
        out.append((y * gains[r] + biases[r]).float())
    return out""",
    ),
    properties=(
        Property(lambda ys, parts, *_: [y.shape for y in ys] == [p.shape for p in parts],
                 "Each rank must get its own features back."),
        Property(lambda ys, *_: not any(y.isnan().any() for y in ys), "A feature has become NaN."),
    ),
    twin=norm_twin,
)  # fmt: skip


EXERCISES = {
    "which_cut": WHICH_CUT,
    "row_parallel": ROW_PARALLEL,
    "needs_a_sum": NEEDS_A_SUM,
    "vocab_parallel_gradient": VOCAB_GRADIENT,
    "one_forward_one_backward": ONE_F_ONE_B,
    "judge_pipeline": JUDGE,
    "ring_seconds": RING_SECONDS,
    "parcels": PARCELS,
    "choose_layout": CHOOSE_LAYOUT,
    "split_layernorm": SPLIT_LAYERNORM,
}


# Questions to come back to


def sums_of_a_step(rng: random.Random) -> Question:
    layers = rng.randint(2, 96)
    return Question(
        f"A GPT of {layers} layers, tensor parallel without sequence parallelism. How many all-reduces of the size of "
        "the residual stream do its blocks need in a forward and a backward pass together?", 4 * layers,
        "Two forward and two backward in each layer: at the end of attention and MLP, and where they begin.",
    )  # fmt: skip


def bubble_of_a_pipeline(rng: random.Random) -> Question:
    p, m = rng.randint(2, 16), rng.choice([2, 4, 8, 16, 32, 64])
    return Question(
        f"1F1B with {p} stages and {m} micro-batches. Which share of their time do the ranks wait, from 0 to 1?",
        (p - 1) / (m + p - 1), f"{p - 1} / ({m} + {p - 1}), as in GPipe.", 0.02,
    )  # fmt: skip


def kept_by_gpipe(rng: random.Random) -> Question:
    p, m = rng.randint(2, 8), rng.choice([12, 16, 24, 32, 48, 64])
    return Question(
        f"A pipeline of {p} stages and {m} micro-batches. How many times as many micro-batches does the first stage "
        "keep under GPipe as under 1F1B, at most?", m / p, f"All {m}, against one for each of {p} stages.", 0.02,
    )  # fmt: skip


def sequence_slices(rng: random.Random) -> Question:
    t = rng.choice([2, 4, 8, 16])
    gigabytes = rng.randint(3, 60)
    return Question(
        f"With fused attention, a layer keeps {gigabytes} units of activations on one rank, of which 10 of 34 parts "
        f"lie outside of the matrices and heads that tensor parallelism cuts. How many units on each of {t} ranks, "
        "without sequence parallelism?", gigabytes * (10 + 24 / t) / 34,
        f"10 parts stay whole, 24 are divided by {t}: {gigabytes} · (10 + 24/{t}) / 34.", 0.02,
    )  # fmt: skip


def groups_of_copies(rng: random.Random) -> Question:
    tp, pp, cp, dp = rng.choice([4, 8]), rng.choice([4, 8, 16]), rng.choice([1, 2, 4]), rng.choice([2, 4, 8, 16, 32])
    return Question(
        f"{tp * pp * cp * dp} GPUs, TP {tp}, CP {cp}, PP {pp}. How many data-parallel groups are there?", dp,
        f"The product of all dimensions is the number of GPUs: {tp * pp * cp * dp} / ({tp} · {cp} · {pp}).",
    )  # fmt: skip


def place_in_the_mesh(rng: random.Random) -> Question:
    copies, shards, tensor = rng.choice([2, 3]), rng.choice([2, 4, 5]), rng.choice([2, 4, 8])
    c, s, t = rng.randrange(copies), rng.randrange(shards), rng.randrange(tensor)
    return Question(
        f"A mesh of {copies} copies × {shards} shards × {tensor} tensor ranks, the last changing fastest. Which rank "
        f"stands at ({c}, {s}, {t})?", (c * shards + s) * tensor + t, f"({c} · {shards} + {s}) · {tensor} + {t}.",
    )  # fmt: skip


def busiest_expert(rng: random.Random) -> Question:
    n, mine = rng.choice([4, 8]), rng.randint(20, 60)
    return Question(
        f"Experts lie on {n} ranks, and one rank gets {mine} % of all visits. How many times as long as with an even "
        "router does the layer take, if only the experts' work counts?", mine * n / 100,
        f"All wait for the busiest: {mine} % against an even share of {100 / n:g} %.", 0.02,
    )  # fmt: skip


RECALL = (
    sums_of_a_step, bubble_of_a_pipeline, kept_by_gpipe, sequence_slices, groups_of_copies, place_in_the_mesh,
    busiest_expert,
)  # fmt: skip
PREDICTIONS = {
    "23.p1": Prediction(
        "A block's matrices are cut over ranks in the best way. How many times in a forward pass do its ranks talk?",
        lambda: 2,
        "Columns then rows need one sum: one at the end of attention, one at the end of the MLP.",
    ),
    "23.p2": Prediction(
        "Logits are cut by vocabulary. How many numbers for each position must the ranks add up or compare to get the "
        "loss?",
        lambda: 3,
        "The maximum, the sum of the exponentials, and the target's logit, whatever the size of the vocabulary.",
    ),
    "23.p3": Prediction(
        "A ring all-reduce is replaced by a reduce-scatter and an all-gather. Does a rank send more bytes, fewer, or "
        "the same? (more, fewer or same)",
        lambda: "same",
        "An all-reduce is a reduce-scatter and an all-gather, one behind the other.",
    ),
    "23.p4": Prediction(
        "A pipeline of 4 stages and 8 micro-batches, GPipe: which share of their time do the ranks wait?",
        lambda: 3 / 11,
        "Each rank works in 8 of 11 units of time and waits in p - 1 = 3.",
        0.02,
    ),
    "23.p5": Prediction(
        "The same 4 stages and 8 micro-batches under 1F1B: of how many micro-batches does the first stage keep "
        "activations, at most?",
        lambda: 4,
        "It has sent p of them when the first comes back; from then on each new one takes the place of one that is "
        "done.",
    ),
    "23.p6": Prediction(
        "A causal sequence is cut into 4 long slices over 4 ranks, in order. How many times as many pairs of query and "
        "key does the last rank compute as the first?",
        lambda: 7,
        "In units of a slice's square: the first has half a square, the last three and a half.",
        0.15,
    ),
    "23.p7": Prediction(
        "16,384 GPUs with TP 8, CP 1 and PP 16: how many data-parallel groups are there?",
        lambda: 128,
        "The product of all dimensions is the number of GPUs: 16,384 / (8 · 16).",
    ),
}
