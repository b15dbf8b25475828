"""Lesson 07, generation: cases, and the wrong ideas that people have about it.

Probabilities are multiples of a power of two wherever a sum has to reach a bound exactly; elsewhere the sums stay away
from it, so that rounding cannot decide.
"""
import itertools
import math
import random

import torch

from minigpt.config import ModelConfig

from . import Exercise, Mutant, Prediction, Property, Question, normal


def shares(*rows: list[int]) -> torch.Tensor:
    """Rows of whole numbers, each divided by its sum: exact where the sum is a power of two."""
    counts = torch.tensor(rows, dtype=torch.float32)
    return counts / counts.sum(-1, keepdim=True)


def adds_up(rows: torch.Tensor) -> bool:
    return torch.allclose(rows.sum(-1), torch.ones(()), atol=1e-4)


# 07.1


def greedy_twin(rng: random.Random) -> Question:
    """The best of four pairs, with numbers that can be multiplied in one's head."""
    first, a, b = rng.choice([0.6, 0.7, 0.8]), rng.choice([0.5, 0.6]), rng.choice([0.8, 0.9, 1.0])
    return Question(
        f"The first token is x with probability {first} or y with {1 - first:.1f}. After x the likeliest next token "
        f"has probability {a}, after y {b}. How likely is the pair that greedy decoding writes?", first * a,
        f"Greedy takes x because {first} is the larger, and then its likeliest successor: {first} · {a}. Whether the "
        f"pair with y, {1 - first:.1f} · {b}, is likelier, it never asks.", 0.01,
    )  # fmt: skip


def pair_cases() -> list[tuple]:
    """Greedy best; the best under the second, the third and the least likely first token; one token."""
    random_1, random_2 = normal(71, (6,), (6, 6))
    return [
        (shares([5, 4, 1])[0], shares([4, 3, 3], [1, 9, 0], [2, 2, 6])),
        (shares([3, 1])[0], shares([3, 5], [1, 7])),
        (shares([4, 5, 3, 4])[0], shares([3, 2, 2, 1], [2, 2, 3, 1], [0, 8, 0, 0], [2, 4, 0, 2])),
        (shares([1])[0], shares([1])),
        (shares([1, 6, 5, 3, 1])[0], shares([0, 0, 0, 16, 0], [3, 3, 4, 3, 3], [3, 4, 3, 3, 3], [5, 2, 3, 2, 4],
                                            [0, 0, 16, 0, 0])),
        (shares([8, 7, 1])[0], shares([1, 1, 2], [0, 1, 3], [4, 0, 0])),  # greedy's best pair ends in another column
        (torch.softmax(random_1, -1), torch.softmax(3 * random_2, -1)),
    ]  # fmt: skip


FIRST, GREEDY, BEST = "first = int(p1.argmax())", "p1[first] * p2[first].max()", "(p1[:, None] * p2).max()"
WHICH_ROW = "In which row of p2 do the probabilities after token a stand, and with which number of p1 do they belong?"
GREEDY_IS_NOT_BEST = Exercise(
    cases=pair_cases,
    mutants=(
        Mutant("best_is_greedy", "return float(greedy), float(best)", "return float(greedy), float(greedy)",
               "the best pair is taken to be the one that greedy writes",
               "Could another first token be followed by something nearly certain?"),
        Mutant("largest_of_each", BEST, "p1.max() * p2.max()",
               "the largest number of p1 is multiplied by the largest of p2, wherever it stands",
               "After which first token does the largest number of p2 come?"),
        Mutant("greedy_largest", GREEDY, "p1.max() * p2.max()",
               "greedy's second step takes the largest number of all rows",
               "After its first token, which row of p2 can greedy choose from?"),
        Mutant("both_largest", "", """\
def greedy_is_not_best(p1, p2):
    return float(p1.max() * p2.max()), float((p1[:, None] * p2).max())""",
               "greedy's second step takes the largest number of all rows",
               "After its first token, which row of p2 can greedy choose from?"),
        Mutant("largest_for_both", "", """\
def greedy_is_not_best(p1, p2):
    return float(p1[p1.argmax()] * p2[p1.argmax()].max()), float(p1.max() * p2.max())""",
               "the largest number of p1 is multiplied by the largest of p2, wherever it stands",
               "After which first token does the largest number of p2 come?"),
        Mutant("columns", BEST, "(p1 * p2).max()",
               "p1 multiplies the columns of p2 instead of its rows", WHICH_ROW),
        Mutant("greedy_column", "p2[first].max()", "p2[:, first].max()",
               "greedy's second token is looked up in a column", WHICH_ROW),
        Mutant("transposed", "", """\
def greedy_is_not_best(p1, p2):
    p2 = p2.T
    first = int(p1.argmax())
    return float(p1[first] * p2[first].max()), float((p1[:, None] * p2).max())""",
               "rows and columns of p2 have changed places", WHICH_ROW),
        Mutant("same_token", GREEDY, "p1[first] * p2[first, first]",
               "greedy writes its first token twice",
               "After the first token, whose probabilities decide: p1 again, or a row of p2?"),
        Mutant("p1_twice", GREEDY, "p1[first] * p1.max()",
               "greedy draws its second token from p1 again",
               "After the first token, whose probabilities decide: p1 again, or a row of p2?"),
        Mutant("swapped", "float(greedy), float(best)", "float(best), float(greedy)",
               "the two results come in the wrong order",
               "Which of your two numbers can never be the smaller one?"),
        Mutant("sums", "", """\
def greedy_is_not_best(p1, p2):
    first = int(p1.argmax())
    return float(p1[first] + p2[first].max()), float((p1[:, None] + p2).max())""",
               "probabilities are added instead of multiplied",
               "Can the probability of a pair be larger than that of its first token?"),
        Mutant("means", "", """\
def greedy_is_not_best(p1, p2):
    first = int(p1.argmax())
    return float(p1[first] + p2[first].max()) / 2, float((p1[:, None] + p2).max()) / 2""",
               "probabilities are averaged instead of multiplied",
               "Can the probability of a pair be larger than that of its first token?"),
        Mutant("logs", "return float(greedy), float(best)", "return float(greedy.log()), float(best.log())",
               "logarithms of probabilities are returned",
               "What is the probability of a pair that is certain?"),
        Mutant("conditional", "", """\
def greedy_is_not_best(p1, p2):
    return float(p2[p1.argmax()].max()), float(p2.max())""",
               "only the second step counts",
               "Where does the probability of the first token come in?"),
        Mutant("best_conditional", BEST, "p2.max()",
               "the best pair is judged by its second step alone",
               "How likely is it to come to that row of p2 at all?"),
        Mutant("greedy_first_only", GREEDY, "p1[first]",
               "greedy's number is that of its first token alone",
               "How many tokens does greedy write?"),
        Mutant("ids", "return float(greedy), float(best)",
               "return (first, int(p2[first].argmax())), divmod(int((p1[:, None] * p2).argmax()), len(p1))",
               "the tokens of the pairs are returned",
               "Should you return what is written, or how likely it is?"),
        Mutant("two_beams", BEST, "max(p1[a] * p2[a].max() for a in p1.topk(min(2, len(p1))).indices)",
               "only the two likeliest first tokens are tried",
               "Could the third first token be followed by something certain?"),
        Mutant("no_greedy", BEST, "max([p1[a] * p2[a].max() for a in range(len(p1)) if a != first] or [greedy])",
               "greedy's own pair is left out of the search for the best",
               "May greedy be right?"),
        Mutant("worst", BEST, "(p1[:, None] * p2).min()",
               "the least likely pair is taken",
               "Which of your two numbers can never be the smaller one?"),
        Mutant("marginal", BEST, "(p1 @ p2).max()",
               "the probability of a second token is added up over all first tokens",
               "Is that the probability of one pair, or of several together?"),
        Mutant("greedy_marginal", GREEDY, "p1[first] * (p1 @ p2).max()",
               "greedy's second token is chosen as if the first one were not known",
               "After its first token, which row of p2 can greedy choose from?"),
        Mutant("greedy_likeliest_column", GREEDY, "p1[first] * p2[first, (p1 @ p2).argmax()]",
               "greedy's second token is chosen as if the first one were not known",
               "After its first token, which row of p2 can greedy choose from?"),
        Mutant("greedy_best_column", GREEDY, "p1[first] * p2[first, (p1[:, None] * p2).max(0).values.argmax()]",
               "greedy's second token is that of the best pair",
               "Which token is the likeliest in the row that greedy stands in?"),
        Mutant("last_two", BEST, "max(p1[a] * p2[a].max() for a in range(1, len(p1))) if len(p1) > 1 else greedy",
               "the search begins at token 1",
               "Ids count from 0. Which first token is never tried?"),
        Mutant("each_argmax", BEST, "p1[p2.max(dim=1).values.argmax()] * p2.max()",
               "the first token is chosen by its second step alone",
               "How likely is it to come to that row of p2 at all?"),
    ),
    variants=("""\
def greedy_is_not_best(p1, p2):
    V = len(p1)
    a = max(range(V), key=lambda i: p1[i])
    b = max(range(V), key=lambda i: p2[a][i])
    best = 0.0
    for i in range(V):
        for j in range(V):
            best = max(best, (p1[i] * p2[i, j]).item())
    return (p1[a] * p2[a, b]).item(), best""", """\
def greedy_is_not_best(p1, p2):
    row = p2.amax(dim=1)
    return p1.max() * row[p1.argmax()], (p1 * row).max()""", """\
def greedy_is_not_best(p1, p2):
    joint = torch.diag(p1) @ p2
    return joint[p1.argmax()].max().item(), joint.flatten().sort().values[-1].item()""", """\
def greedy_is_not_best(p1, p2):
    logs = p1.log().unsqueeze(1) + p2.log()
    return [logs[p1.argmax()].max().exp().item(), logs.max().exp().item()]""",
    ),
    properties=(
        Property(lambda y, p1, p2: y[0] <= y[1] + 1e-6, "Greedy's pair is likelier than the likeliest of all."),
        Property(lambda y, p1, p2: y[1] <= p1.max() + 1e-6, "The best pair is likelier than any first token."),
    ),
    twin=greedy_twin,
)  # fmt: skip


# 07.2


def nucleus_twin(rng: random.Random) -> Question:
    """How many tokens are in the nucleus of halves and quarters."""
    counts = rng.choice([[10, 5, 3, 2], [9, 6, 4, 1], [12, 4, 3, 1], [8, 6, 4, 2]])
    p = rng.choice([0.35, 0.55, 0.7, 0.85, 0.95])
    ahead = [sum(counts[:i]) / 20 for i in range(4)]
    kept = sum(a < p for a in ahead)
    return Question(
        f"Probabilities {', '.join(f'{count / 20:g}' for count in counts)}; top-p with p = {p}. With which "
        "probability is the first token drawn?", counts[0] / sum(counts[:kept]),
        f"The first {kept} reach {p}, with {sum(counts[:kept]) / 20:g} together; the first has "
        f"{counts[0] / 20:g} of that.", 0.01,
    )  # fmt: skip


def nucleus_cases() -> list[tuple]:
    """Exact bounds, ties, a sure row among unsure ones, zeros, one token."""
    a, b, c = normal(72, (3, 6), (1, 7), (4, 9))
    return [
        (shares([2, 4, 1, 1], [1, 1, 2, 4]), 0.7),
        (shares([8, 4, 2, 1, 1], [1, 2, 8, 1, 4], [4, 4, 4, 2, 2]), 0.5),
        (torch.softmax(2 * a, -1), 0.83),
        (shares([1, 1, 1, 1]), 0.6),
        (shares([1, 1, 1, 1, 4]), 0.75),
        (shares([1]), 0.3),
        (shares([0, 2, 0, 2, 4, 0], [4, 0, 1, 1, 0, 2]), 1.0),
        (shares([1, 15, 0], [6, 5, 5]), 0.7),
        (torch.softmax(b, -1), 0.31),
        (torch.softmax(3 * c, -1), 0.9),
        (shares([2, 1, 1]), 0.01),
    ]  # fmt: skip


SORTED = "ordered, order = probs.sort(dim=-1, descending=True, stable=True)"
AHEAD = "    ahead = ordered.cumsum(dim=-1) - ordered\n"
CUT = AHEAD + "    kept = ordered.masked_fill(ahead >= p, 0.0)\n"
SHARED = "    kept = kept / kept.sum(dim=-1, keepdim=True)\n"
CROSSING_CUT = CUT.replace(" - ordered", "").replace(">=", ">")
BACK = "torch.zeros_like(probs).scatter(-1, order, kept)"
EDGE = "The likeliest token has probability 0.9 and p is 0.7. Which tokens should be left?"
ONE = "What do the probabilities that you return add up to, row by row?"
PLACES = "Token 3 is the likeliest. Where in your result does its probability stand?"
TOP_P = Exercise(
    cases=nucleus_cases,
    mutants=(
        Mutant("planted", CUT + SHARED, CROSSING_CUT,
               "both mistakes are still there: the token that crosses p is dropped, and nothing is divided", EDGE),
        Mutant("crossing_dropped", CUT, CROSSING_CUT,
               "the token that crosses p is dropped", EDGE),
        Mutant("crossing_dropped_strict", CUT, CROSSING_CUT.replace(">", ">="),
               "the token that crosses p, or reaches it exactly, is dropped", EDGE),
        Mutant("crossing_dropped_clamped", CUT + SHARED, CROSSING_CUT + SHARED.replace(")\n", ").clamp(min=1e-9)\n"),
               "the token that crosses p is dropped, and the division by zero is only hidden", EDGE),
        Mutant("first_kept", CUT, CROSSING_CUT + "    kept[:, 0] = ordered[:, 0]\n",
               "the likeliest token is rescued, but elsewhere the one that crosses p is still dropped",
               "Probabilities 0.6 and 0.4, p = 0.7. Which tokens should be left?"),
        Mutant("first_kept_not_shared", CUT + SHARED, CROSSING_CUT + "    kept[:, 0] = ordered[:, 0]\n",
               "the likeliest token is rescued, but elsewhere the one that crosses p is still dropped, and nothing is "
               "divided", "Probabilities 0.6 and 0.4, p = 0.7. Which tokens should be left?"),
        Mutant("not_shared", SHARED, "",
               "the probabilities that are left are not divided by their sum", ONE),
        Mutant("one_too_many", ">= p", "> p",
               "one more token stays when p is reached exactly",
               "0.5 is reached by the first token, and p is 0.5. Is the second one needed?"),
        Mutant("one_too_many_planted", CUT,
               CUT.replace(" - ordered", "").replace("ahead >= p", "ahead.roll(1, dims=-1) > p"),
               "roll hands the last sum of a row to its first token",
               "What does `torch.arange(4).roll(1)` hold at place 0, and what should be ahead of the first token?"),
        Mutant("shifted_by_two", "ahead = ordered.cumsum(dim=-1) - ordered",
               "ahead = ordered.cumsum(dim=-1) - ordered\n    ahead[:, 1:] = ahead[:, :-1].clone()",
               "the token after the one that crosses p stays as well",
               "What is ahead of the second token: nothing, or the first one?"),
        Mutant("shared_by_batch", "kept.sum(dim=-1, keepdim=True)", "kept.sum()",
               "all rows together add up to one", ONE),
        Mutant("shared_by_p", "kept.sum(dim=-1, keepdim=True)", "p",
               "what is left is divided by p, as if it had been reached exactly", ONE),
        Mutant("columns_shared", "kept.sum(dim=-1, keepdim=True)", "kept.sum(dim=0, keepdim=True).clamp(min=1e-9)",
               "each column is divided by its own sum instead of each row", ONE),
        Mutant("softmax", "kept / kept.sum(dim=-1, keepdim=True)", "torch.softmax(kept, dim=-1)",
               "a softmax is taken of what are probabilities already",
               "Which weight does a softmax give to a token whose probability is 0?"),
        Mutant("softmax_of_kept", "kept / kept.sum(dim=-1, keepdim=True)",
               "torch.softmax(kept.masked_fill(kept == 0, -math.inf), dim=-1)",
               "a softmax is taken of what are probabilities already",
               "Of two tokens that stay, one was three times as likely as the other. And in your result?"),
        Mutant("sorted_returned", BACK, "kept",
               "the probabilities come back in sorted order", PLACES),
        Mutant("gathered", BACK, "kept.gather(-1, order)",
               "gather with `order` does not undo the sort: it sorts once more", PLACES),
        Mutant("ascending", "descending=True", "descending=False",
               "the least likely tokens are taken first",
               "Which token must never be missing from the nucleus?"),
        Mutant("over_rows", SORTED, SORTED.replace("dim=-1", "dim=0"),
               "the sort runs over the batch instead of the vocabulary",
               "Which numbers add up to one: those of a row, or of a column?"),
        Mutant("threshold", CUT, "    kept = ordered.masked_fill(ordered < p, 0.0)\n",
               "p is used as a bound for each probability instead of their sum",
               "A hundred tokens of probability 0.01 each: which stay with p = 0.9?"),
        Mutant("min_p", CUT, "    kept = ordered.masked_fill(ordered < p * ordered[:, :1], 0.0)\n",
               "tokens are compared with the likeliest one, which is min-p",
               "Two filters have one number p. Which of them adds up?"),
        Mutant("tail", CUT, "    ahead = ordered.cumsum(dim=-1)\n    kept = ordered.masked_fill(ahead < p, 0.0)\n",
               "the tail is kept and the nucleus is cut",
               "Which token must never be missing from the nucleus?"),
        Mutant("one_minus", "ahead >= p", "ahead >= 1 - p",
               "the cut is made at 1 − p",
               "With p = 0.9, is nearly everything kept, or nearly nothing?"),
        Mutant("unsorted", "", """\
def top_p(probs, p):
    ahead = probs.cumsum(dim=-1) - probs
    kept = probs.masked_fill(ahead >= p, 0.0)
    return kept / kept.sum(dim=-1, keepdim=True)""",
               "the tokens are taken in the order of their ids",
               "In which order does the nucleus fill up?"),
        Mutant("mask_places", "", """\
def top_p(probs, p):
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    ahead = ordered.cumsum(dim=-1) - ordered
    kept = probs.masked_fill(ahead >= p, 0.0)
    return kept / kept.sum(dim=-1, keepdim=True)""",
               "what was found out in sorted order is applied to the tokens where they stand", PLACES),
        Mutant("first_row", "", """\
def top_p(probs, p):
    ordered, order = probs[0].sort(descending=True, stable=True)
    out = order[ordered.cumsum(-1) - ordered >= p]
    kept = probs.clone()
    kept[:, out] = 0.0
    return kept / kept.sum(dim=-1, keepdim=True)""",
               "the nucleus of the first row is used for all of them",
               "Is the likeliest token the same in every row?"),
        Mutant("same_number", "", """\
def top_p(probs, p):
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    count = int((ordered.cumsum(-1) - ordered < p).sum(-1).max())
    kept = torch.zeros_like(probs).scatter(-1, order[:, :count], ordered[:, :count])
    return kept / kept.sum(dim=-1, keepdim=True)""",
               "all rows keep as many tokens as the row that needs most",
               "A sure row and an unsure one in the same batch: how many tokens should each keep?"),
        Mutant("in_place", "", """\
def top_p(probs, p):
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    out = torch.zeros_like(probs, dtype=torch.bool).scatter(-1, order, ordered.cumsum(dim=-1) - ordered >= p)
    probs[out] = 0.0
    return probs / probs.sum(dim=-1, keepdim=True)""",
               "the caller's own probabilities are cut",
               "Are `probs` in your function and outside of it two tensors, or two names of one?"),
        Mutant("ties", "", """\
def top_p(probs, p):
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    count = (ordered.cumsum(-1) - ordered < p).sum(-1, keepdim=True)
    kept = probs.masked_fill(probs < ordered.gather(-1, count - 1), 0.0)
    return kept / kept.sum(dim=-1, keepdim=True)""",
               "every token that is as likely as the last one kept stays too",
               "Four equally likely tokens and p = 0.6: how many are enough?"),
        Mutant("logs", BACK, BACK + ".log()",
               "logarithms of probabilities are returned",
               "What should the numbers of a row add up to?"),
        Mutant("infinity", BACK, "torch.full_like(probs, -math.inf).scatter(-1, order, kept.masked_fill("
               "kept == 0, -math.inf))",
               "tokens outside get minus infinity, which belongs to logits",
               "What is the probability of a token that cannot be drawn?"),
    ),
    variants=("""\
def top_p(probs, p):
    result = torch.zeros_like(probs)
    for b, row in enumerate(probs.tolist()):
        total = 0.0
        for token in sorted(range(len(row)), key=lambda i: -row[i]):
            if total >= p:
                break
            result[b, token] = row[token]
            total += row[token]
        result[b] /= total
    return result""", """\
def top_p(probs, p):
    ordered, order = torch.sort(probs, dim=-1, descending=True, stable=True)
    out = ordered.cumsum(-1) >= p
    out[:, 1:] = out[:, :-1].clone()
    out[:, 0] = False
    out = torch.zeros_like(out).scatter(1, order, out)
    kept = torch.where(out, 0.0, probs)
    return kept / kept.sum(1, keepdim=True)""", """\
def top_p(probs, p):
    order = probs.argsort(dim=-1, descending=True, stable=True)
    ordered = probs.gather(-1, order)
    ahead = torch.cat([torch.zeros(len(probs), 1), ordered.cumsum(-1)[:, :-1]], dim=1)
    ranks = order.argsort(dim=-1)
    kept = (ordered * (ahead < p)).gather(-1, ranks)
    return torch.nn.functional.normalize(kept, p=1, dim=-1)""", """\
def top_p(probs, p):
    rows = []
    for row in probs:
        ordered, order = row.sort(descending=True, stable=True)
        count = int(torch.searchsorted(ordered.cumsum(0), torch.tensor(p))) + 1
        new = torch.zeros(len(row))
        new[order[:count]] = row[order[:count]]
        rows.append(new / new.sum())
    return torch.stack(rows)""",
    ),
    properties=(
        Property(lambda y, probs, p: y.any(-1).all(), "A row is all zeros: there is nothing left to draw."),
        Property(lambda y, probs, p: adds_up(y), "A row does not add up to one, so it is not a distribution."),
        Property(lambda y, probs, p: (y.gather(-1, probs.argmax(-1, keepdim=True)) > 0).all(),
                 "The likeliest token of a row is missing."),
    ),
    twin=nucleus_twin,
)  # fmt: skip


# 07.3


def step_twin(rng: random.Random) -> Question:
    a, b = rng.sample([2, 3, 4, 5, 6], 2)
    return Question(
        f"The logits of three tokens are ln {a}, ln {b} and 0. Temperature 0.5, then top-k with k = 2. "
        "With which probability is the first token drawn?", a * a / (a * a + b * b),
        f"Divided by 0.5 the logits are doubled: e to their power is {a * a}, {b * b} and 1, and the last one is cut.",
        0.01,
    )  # fmt: skip


def step_cases() -> list[tuple]:
    """Logits, temperature, top_k, u: every u stays away from the ends of tokens."""
    a, b, c = (2 * x for x in normal(73, (7,), (5,), (11,)))
    small = torch.tensor([2.0, 8.0, 1.0, 4.0]).log()
    return [
        (small.clone(), 1.0, 2, 0.6), (small.clone(), 0.5, 3, 0.9), (small.clone(), 1.0, 4, 0.05),
        (small.clone(), 2.0, 3, 0.3), (small.clone(), 1.0, 2, 1e-6), (small.clone(), 1.0, 1, 1.0),
        *((a.clone(), temperature, k, u) for temperature, k, u in
          ((1.0, 7, 0.02), (0.7, 4, 0.35), (1.5, 3, 0.62), (0.9, 5, 0.97), (3.0, 6, 0.81), (1.0, 2, 1.0))),
        *((b.clone(), temperature, k, u) for temperature, k, u in ((1.2, 3, 0.11), (0.5, 2, 0.53), (2.5, 5, 0.74))),
        (c.clone(), 1.7, 8, 0.44), (c.clone(), 0.4, 11, 0.29),
        (torch.tensor([-3.0]), 0.8, 1, 0.7),
    ]  # fmt: skip


HOT, COLD = "logits * temperature", "logits / temperature"
CUT_LOGITS = "    logits = logits.masked_fill(logits < smallest, -math.inf)\n"
SOFTMAX = "    probs = torch.softmax(logits, dim=-1)\n"
CUT_PROBS = "    probs = probs.masked_fill(logits < smallest, 0.0)\n"
IDS, RANKS = "ends = probs.cumsum(dim=-1)", "ends = probs.sort(descending=True).values.cumsum(dim=-1)"
DRAW = "int((ends < u * ends[-1]).sum())"
LATE = SOFTMAX + CUT_PROBS
BODY = f"""\
def sample_step(logits, temperature, top_k, u):
    logits = {{}}
    smallest = logits.sort(descending=True).values[top_k - 1]
{{}}    {{}}
    token = {DRAW}
    return token, probs"""
HOT_IDEA = "the logits are multiplied by the temperature"
LATE_IDEA = "the cut comes after the softmax, so that the probabilities no longer add up to one"
RANK_IDEA = "the place of a token in the sorted order is returned instead of its id"
HOT_ASKS = "Should a temperature of 0.5 make the likeliest token likelier, or less likely?"
RANK_ASKS = "With u near 0 your function returns 0. Is token 0 the likeliest one?"
TEMPERATURE_IDEA = "the temperature has no effect: it comes too late, is not used, or is undone again"
NO_CUT_IDEA, NO_CUT_ASKS = "all tokens stay in the draw", "With top_k = 1, how many tokens should have a probability?"
NO_EFFECT = "Follow the temperature through your lines. Do the logits that reach the softmax depend on it?"
SUM_ASKS = "What do the probabilities that you return add up to?"
LINES = {"C": "logits = " + COLD, "H": "logits = " + HOT, "M": CUT_LOGITS.strip(), "L": CUT_PROBS.strip(), "I": IDS,
         "R": RANKS, "P": SOFTMAX.strip(), "S": "smallest = logits.sort(descending=True).values[top_k - 1]",
         "D": "token = " + DRAW}  # fmt: skip


def misordered() -> tuple[Mutant, ...]:
    """The shuffled lines in orders that run and are wrong as orders: one for each result that this can have.

    A line is a letter: Cold or Hot, bound S, Mask on logits or Late, softmax P, ends by Id or Rank, Draw.
    """
    found = {}
    for heat, cut, ends in itertools.product("CH", "ML", "IR"):
        for order in map("".join, itertools.permutations(heat + "S" + cut + "P" + ends)):
            heated, bound, masked, shared, laid = map(order.index, (heat, "S", cut, "P", ends))
            if bound > masked or shared > laid or (cut == "L" and shared > masked):
                continue  # a line needs what no line before it has made
            useless, no_cut = shared < heated, cut == "M" and shared < masked
            apart, early = bound < heated < masked and not no_cut, cut == "L" and laid < masked
            if not (useless or no_cut or apart or early):
                continue  # nothing wrong with the order
            ideas = [
                (useless and not apart, TEMPERATURE_IDEA, NO_EFFECT),
                (not useless and heat == "H", HOT_IDEA, HOT_ASKS),
                (no_cut, NO_CUT_IDEA, NO_CUT_ASKS),
                (apart, "the bound is taken before the temperature but compared with logits after it",
                 "Are `smallest` and the logits that you compare with it on the same side of the temperature?"),
                (early, "the ends are laid out before the cut, so that a token which is cut can still be drawn",
                 "With top_k = 1 and u near 0, which token do you draw?"),
                (cut == "L" and not early, LATE_IDEA, SUM_ASKS),
                (ends == "R", RANK_IDEA, RANK_ASKS),
            ]  # fmt: skip
            told = [(idea, asks) for holds, idea, asks in ideas if holds][:2]
            body = "".join(f"    {LINES[letter]}\n" for letter in order + "D")
            source = f"def sample_step(logits, temperature, top_k, u):\n{body}    return token, probs"
            result = useless or heat, cut, no_cut, apart and heat, early, ends
            found[result] = Mutant("order_" + order, "", source, ", and ".join(idea for idea, _ in told), told[0][1])
    return tuple(found.values())


SAMPLE_STEP = Exercise(
    cases=step_cases,
    mutants=(
        Mutant("hot", COLD, HOT, HOT_IDEA, HOT_ASKS),
        Mutant("late", CUT_LOGITS + SOFTMAX, LATE, LATE_IDEA, SUM_ASKS),
        Mutant("ranks", IDS, RANKS, RANK_IDEA, RANK_ASKS),
        Mutant("hot_late", "", BODY.format(HOT, LATE, IDS), HOT_IDEA + ", and " + LATE_IDEA, HOT_ASKS),
        Mutant("hot_ranks", "", BODY.format(HOT, CUT_LOGITS + SOFTMAX, RANKS), HOT_IDEA + ", and " + RANK_IDEA,
               HOT_ASKS),
        Mutant("late_ranks", "", BODY.format(COLD, LATE, RANKS), LATE_IDEA + ", and " + RANK_IDEA, SUM_ASKS),
        Mutant("all_three", "", BODY.format(HOT, LATE, RANKS),
               "all three wrong lines were kept instead of their twins",
               "For each pair of lines that look alike: which numbers go in, and which should come out?"),
        Mutant("both_temperatures", COLD, COLD + " * temperature",
               TEMPERATURE_IDEA, NO_EFFECT),
        Mutant("no_temperature", "    logits = logits / temperature\n", "",
               TEMPERATURE_IDEA, NO_EFFECT),
        Mutant("temperature_on_probs", "probs = torch.softmax(logits, dim=-1)",
               "probs = torch.softmax(logits * temperature, dim=-1) / temperature",
               "probabilities are divided by the temperature instead of logits", SUM_ASKS),
        Mutant("no_cut", CUT_LOGITS, "",
               NO_CUT_IDEA, NO_CUT_ASKS),
        Mutant("late_unused", CUT_LOGITS, "    logits.masked_fill(logits < smallest, -math.inf)\n",
               NO_CUT_IDEA, "Does masked_fill change its tensor, or make a new one?"),
        Mutant("one_less", "logits < smallest", "logits <= smallest",
               "the k-th token is cut as well",
               "With top_k = 1, is the likeliest token left?"),
        Mutant("one_more", "[top_k - 1]", "[min(top_k, len(logits) - 1)]",
               "k + 1 tokens stay",
               "Places count from 0. At which place is the k-th largest number?"),
        Mutant("one_more_error", "[top_k - 1]", "[top_k]",
               "k + 1 tokens stay, and for k = V there is no such place",
               "Places count from 0. At which place is the k-th largest number?"),
        Mutant("ascending", "descending=True", "descending=False",
               "the k-th smallest logit is the bound",
               "With top_k = 1, how many tokens should have a probability?"),
        Mutant("negative_k", "values[top_k - 1]", "values[-top_k]",
               "the k-th smallest logit is the bound",
               "With top_k = 1, how many tokens should have a probability?"),
        Mutant("inverted", "logits < smallest", "logits > smallest",
               "the likeliest tokens are cut and the others stay",
               "With top_k = 1, which token should be left?"),
        Mutant("cut_to_zero", "-math.inf", "0.0",
               "tokens that are out get a logit of 0",
               "Which weight does a softmax give to a logit of 0?"),
        Mutant("late_shared", CUT_LOGITS + SOFTMAX + "    ends",
               LATE + "    probs = torch.softmax(probs, dim=-1)\n    ends",
               "a softmax is taken of what are probabilities already",
               "Which weight does a softmax give to a token whose probability is 0?"),
        Mutant("argmax", DRAW, "int(probs.argmax())",
               "the likeliest token is returned, whatever u is",
               "Where in your code does u come in?"),
        Mutant("one_further", DRAW, "min(int((ends < u * ends[-1]).sum()) + 1, len(ends) - 1)",
               "the token after the one that u lies in is returned",
               "u is nearly 0 and no token has been cut: which token is drawn?"),
        Mutant("one_before", DRAW, "max(int((ends < u * ends[-1]).sum()) - 1, 0)",
               "the token before the one that u lies in is returned",
               "u is 1: which token is drawn?"),
        Mutant("no_ends", DRAW, "int((probs < u).sum())",
               "u is compared with the probabilities instead of their running sum",
               "Where on the line does the second token begin?"),
        Mutant("last_below", DRAW, "int((ends > u * ends[-1]).sum())",
               "the tokens that end after u are counted instead of those before it",
               "u is nearly 0: which token is drawn, the first or the last?"),
        Mutant("not_before", DRAW, "int((ends <= u * ends[-1]).sum())",
               "a token that ends exactly at u is passed over, so that u = 1 draws a token that is not there",
               "u is 1. How many ends are at most 1, and which id is that?"),
        Mutant("from_the_end", IDS, "ends = probs.flip(0).cumsum(dim=-1)",
               "the line is filled from the last token to the first",
               "u is nearly 0: which token is drawn, the first or the last?"),
        Mutant("swapped", "return token, probs", "return probs, token",
               "the two results come in the wrong order", "Which of the two should come first?"),
        Mutant("only_token", "return token, probs", "return token",
               "only the token is returned", "Which two things should come back?"),
        Mutant("logits_returned", "return token, probs", "return token, logits",
               "the second result holds logits", SUM_ASKS),
        Mutant("unfiltered_returned", CUT_LOGITS + SOFTMAX + "    ends = probs.cumsum(dim=-1)\n",
               SOFTMAX + CUT_LOGITS + "    ends = torch.softmax(logits, dim=-1).cumsum(dim=-1)\n",
               "the probabilities that are returned are those from before the cut",
               "With top_k = 1, how many tokens should have a probability?"),
        *misordered(),
    ),
    variants=("""\
def sample_step(logits, temperature, top_k, u):
    smallest = logits.sort(descending=True).values[top_k - 1]
    logits = logits.masked_fill(logits < smallest, -math.inf)
    logits = logits / temperature
    probs = torch.softmax(logits, dim=-1)
    ends = probs.cumsum(dim=-1)
    token = int((ends < u * ends[-1]).sum())
    return token, probs""", """\
def sample_step(logits, temperature, top_k, u):
    values, ids = logits.topk(top_k)
    probs = torch.zeros(len(logits))
    probs[ids] = F.softmax(values / temperature, dim=0)
    total = 0.0
    for token, share in enumerate(probs.tolist()):
        total += share
        if total >= u * float(probs.double().sum()) - 1e-9 and share > 0:
            return token, probs""", """\
def sample_step(logits, temperature, top_k, u):
    from minigpt.sampling import filter_logits, sample
    kept = filter_logits(logits, temperature, top_k)
    return sample(logits[None], [u], temperature, top_k=top_k).item(), torch.softmax(kept, -1)""", """\
def sample_step(logits, temperature, top_k, u):
    weights = ((logits - logits.max()) / temperature).exp()
    kept = weights * (logits >= logits.topk(top_k).values.min())
    ends = kept.cumsum(0)
    return torch.searchsorted(ends, u * ends[-1]), kept / kept.sum()""",
    ),
    properties=(
        Property(lambda y, logits, *rest: adds_up(y[1]), "The probabilities do not add up to one."),
        Property(lambda y, logits, temperature, k, u: int((y[1] > 0).sum()) == k,
                 "Not exactly top_k tokens have a probability."),
        Property(lambda y, *rest: y[1][y[0]] > 0, "A token was drawn whose probability is 0."),
    ),
    twin=step_twin,
)  # fmt: skip


# 07.4


def decode_twin(rng: random.Random) -> Question:
    prompt, new = rng.randint(50, 400), rng.randint(20, 90)
    return Question(
        f"A model reads a prompt of {prompt} tokens and writes {new} more, with a KV cache. For how many positions "
        "altogether does each layer compute a key?", prompt + new - 1,
        f"The prompt once, and each new token once when it is fed back; the last one never is: {prompt} + {new} − 1.",
    )  # fmt: skip


def decode_cases() -> list[tuple]:
    """x, wq, wk, wv, cache for (B, C, D, E, L): one sequence, an empty cache, a single value."""
    sizes = ((2, 5, 4, 3, 6), (3, 7, 2, 5, 4), (1, 4, 3, 6, 5), (2, 6, 5, 4, 0), (4, 3, 6, 1, 2), (1, 5, 2, 3, 1),
             (5, 4, 9, 2, 3))  # fmt: skip
    cases = []
    for seed, (B, C, D, E, L) in enumerate(sizes):
        x, wq, wk, wv, k, v = normal(740 + seed, (B, C), (C, D), (C, D), (C, E), (B, L, D), (B, L, E))
        cases.append((x, wq, wk, wv, (k, v)))
    return cases


NEW_KEYS, NEW_VALUES = "torch.cat([cache[0], x @ wk], dim=1)", "torch.cat([cache[1], x @ wv], dim=1)"
SCORES = "(x @ wq) @ keys.transpose(1, 2) / math.sqrt(keys.shape[-1])"
WEIGHED = "torch.softmax(scores, dim=-1) @ values"
RESULT = "return y[:, 0], (keys, values)"
SELF = "May the new position look at itself, and how many keys does its query meet?"
HELD = "After this step, which keys does the next one need, and in which order?"
DECODE_STEP = Exercise(
    cases=decode_cases,
    mutants=(
        Mutant("past_only", "", """\
def decode_step(x, wq, wk, wv, cache):
    x = x[:, None]
    scores = (x @ wq) @ cache[0].transpose(1, 2) / math.sqrt(wq.shape[1])
    y = torch.softmax(scores, dim=-1) @ cache[1]
    return y[:, 0], (torch.cat([cache[0], x @ wk], dim=1), torch.cat([cache[1], x @ wv], dim=1))""",
               "the new position attends before it is in the cache, and does not see itself", SELF),
        Mutant("itself_only", SCORES, "(x @ wq) @ keys[:, -1:].transpose(1, 2) / math.sqrt(keys.shape[-1])\n"
               "    values, all_values = values[:, -1:], values",
               "the new position attends to itself only, and the old values are gone", SELF),
        Mutant("itself_only_kept", WEIGHED, "values[:, -1:]",
               "the new position attends to itself only", SELF),
        Mutant("causal_call", WEIGHED,
               "torch.nn.functional.scaled_dot_product_attention(x @ wq, keys, values, is_causal=True)",
               "a causal triangle lets the one query see the first key only",
               "`is_causal` counts queries and keys from the first of each. Which key does query 0 see?"),
        Mutant("tril", "scores = " + SCORES,
               "scores = " + SCORES + "\n    scores = scores.masked_fill("
               "torch.ones(1, keys.shape[1]).tril() == 0, -math.inf)",
               "a causal triangle lets the one query see the first key only",
               "What does `torch.ones(1, 4).tril()` look like, and at which position does the query stand?"),
        Mutant("no_scale", " / math.sqrt(keys.shape[-1])", "",
               "the scores are not divided by √D",
               "How large is the dot product of two random vectors of D numbers?"),
        Mutant("no_root", "math.sqrt(keys.shape[-1])", "keys.shape[-1]",
               "the scores are divided by D instead of its root",
               "A sum of D independent products has variance D. What is its standard deviation?"),
        Mutant("scale_width", "math.sqrt(keys.shape[-1])", "math.sqrt(x.shape[-1])",
               "the scores are divided by the root of C",
               "How many products does the dot product of a query and a key add up?"),
        Mutant("scale_length", "math.sqrt(keys.shape[-1])", "math.sqrt(keys.shape[1])",
               "the scores are divided by the root of the number of keys",
               "How many products does the dot product of a query and a key add up?"),
        Mutant("scale_values", "math.sqrt(keys.shape[-1])", "math.sqrt(values.shape[-1])",
               "the scores are divided by the root of the values' size",
               "Which vectors enter the dot product: queries and keys, or values?"),
        Mutant("old_cache", RESULT, "return y[:, 0], cache",
               "the old cache is returned, so that the new position is forgotten", HELD),
        Mutant("only_new", RESULT, "return y[:, 0], (x @ wk, x @ wv)",
               "the new key and value are returned alone, without the old ones", HELD),
        Mutant("new_first", "", """\
def decode_step(x, wq, wk, wv, cache):
    x = x[:, None]
    keys, values = torch.cat([x @ wk, cache[0]], dim=1), torch.cat([x @ wv, cache[1]], dim=1)
    y = torch.softmax((x @ wq) @ keys.mT / math.sqrt(wq.shape[1]), dim=-1) @ values
    return y[:, 0], (keys, values)""",
               "the new position is put before the old ones", HELD),
        Mutant("window", "", """\
def decode_step(x, wq, wk, wv, cache):
    x = x[:, None]
    keys, values = torch.cat([cache[0], x @ wk], dim=1), torch.cat([cache[1], x @ wv], dim=1)
    if cache[0].shape[1]:
        keys, values = keys[:, 1:], values[:, 1:]
    y = torch.softmax((x @ wq) @ keys.mT / math.sqrt(wq.shape[1]), dim=-1) @ values
    return y[:, 0], (keys, values)""",
               "the oldest position is dropped when a new one comes", "How long should the new cache be?"),
        Mutant("last_replaced", "", """\
def decode_step(x, wq, wk, wv, cache):
    x = x[:, None]
    keys = torch.cat([cache[0][:, :-1], x @ wk], dim=1)
    values = torch.cat([cache[1][:, :-1], x @ wv], dim=1)
    y = torch.softmax((x @ wq) @ keys.mT / math.sqrt(wq.shape[1]), dim=-1) @ values
    return y[:, 0], (keys, values)""",
               "the newest position of the cache is overwritten", "How long should the new cache be?"),
        Mutant("in_place", "", """\
def decode_step(x, wq, wk, wv, cache):
    x = x[:, None]
    keys = torch.cat([cache[0], x @ wk], dim=1)
    values = torch.cat([cache[1], x @ wv], dim=1)
    cache[0].zero_()
    y = torch.softmax((x @ wq) @ keys.mT / math.sqrt(wq.shape[1]), dim=-1) @ values
    return y[:, 0], (keys, values)""",
               "the old cache is changed", "Whom does the old cache belong to, and might they need it again?"),
        Mutant("batch_joined", "", """\
def decode_step(x, wq, wk, wv, cache):
    keys, values = torch.cat([cache[0], (x @ wk)[:, None]], dim=1), torch.cat([cache[1], (x @ wv)[:, None]], dim=1)
    scores = (x @ wq) @ keys.flatten(0, 1).T / math.sqrt(wq.shape[1])
    return torch.softmax(scores, dim=-1) @ values.flatten(0, 1), (keys, values)""",
               "each sequence attends to the keys of all sequences",
               "May one conversation look into another one of the same batch?"),
        Mutant("along_batch", "", """\
def decode_step(x, wq, wk, wv, cache):
    x = x[:, None]
    keys, values = torch.cat([cache[0], x @ wk], dim=0), torch.cat([cache[1], x @ wv], dim=0)
    y = torch.softmax((x @ wq) @ keys.mT / math.sqrt(wq.shape[1]), dim=-1) @ values
    return y[:, 0], (keys, values)""",
               "the new keys are appended along the batch",
               "Which axis of the cache counts positions?"),
        Mutant("over_batch", "dim=-1) @ values", "dim=0) @ values",
               "the softmax runs over the batch instead of the keys",
               "One query shares one unit of weight among keys. Along which axis do they lie?"),
        Mutant("over_queries", "dim=-1) @ values", "dim=1) @ values",
               "the softmax runs over the queries, of which there is only one",
               "One query shares one unit of weight among keys. Along which axis do they lie?"),
        Mutant("no_softmax", WEIGHED, "scores @ values",
               "the scores themselves are used as weights",
               "What should the weights of one query add up to?"),
        Mutant("swapped_matrices", "", """\
def decode_step(x, wq, wk, wv, cache):
    x = x[:, None]
    keys, values = torch.cat([cache[0], x @ wq], dim=1), torch.cat([cache[1], x @ wv], dim=1)
    y = torch.softmax((x @ wk) @ keys.mT / math.sqrt(wq.shape[1]), dim=-1) @ values
    return y[:, 0], (keys, values)""",
               "queries and keys have changed places: a query is kept, a key asks",
               "Which of wq and wk makes what is kept?"),
        Mutant("query_kept", NEW_KEYS, "torch.cat([cache[0], x @ wq], dim=1)",
               "the query is kept where the key should be",
               "Which of wq and wk makes what is kept?"),
        Mutant("key_asks", "(x @ wq) @", "(x @ wk) @",
               "the new key is compared with the keys instead of the new query",
               "What does the new position look for, and with which matrix is that made?"),
        Mutant("keys_mixed", "return y[:, 0], (keys, values)",
               "y = torch.softmax(scores, dim=-1) @ keys\n    return y[:, 0], (keys, values)",
               "keys are mixed instead of values", "A query finds by keys. What does it take home?"),
        Mutant("axis_kept", RESULT, "return y, (keys, values)",
               "the output still has an axis of length one for the position",
               "Which shape should the output have?"),
        Mutant("squeezed", RESULT, "return y.squeeze(), (keys, values)",
               "squeeze takes away every axis of length one, also a batch of one sequence",
               "What is `torch.zeros(1, 1, 6).squeeze().shape`?"),
        Mutant("swapped_cache", RESULT, "return y[:, 0], (values, keys)",
               "keys and values change places in the new cache", HELD),
        Mutant("only_output", RESULT, "return y[:, 0]",
               "only the output is returned", "What will the next step need?"),
        Mutant("three_results", RESULT, "return y[:, 0], keys, values",
               "three things are returned instead of two, of which the second is a pair",
               "What should the next call get as its `cache`?"),
        Mutant("inputs_kept", "", """\
def decode_step(x, wq, wk, wv, cache):
    x = x[:, None]
    keys, values = torch.cat([cache[0], x @ wk], dim=1), torch.cat([cache[1], x @ wv], dim=1)
    y = torch.softmax((x @ wq) @ keys.mT / math.sqrt(wq.shape[1]), dim=-1) @ values
    return y[:, 0], (torch.cat([cache[0], x @ wk], dim=1), torch.cat([cache[1], y], dim=1))""",
               "the output is kept where the value should be",
               "What does a later position take home when it finds this one?"),
        Mutant("value_missing", NEW_VALUES, "torch.cat([cache[1], torch.zeros(len(x), 1, wv.shape[1])], dim=1)",
               "the new position hands over nothing", "Which value belongs to the new key?"),
    ),
    variants=("""\
def decode_step(x, wq, wk, wv, cache):
    keys = torch.cat([cache[0], (x @ wk).unsqueeze(1)], 1)
    values = torch.cat([cache[1], (x @ wv).unsqueeze(1)], 1)
    scores = torch.einsum("bd,bsd->bs", x @ wq, keys) * wq.shape[1] ** -0.5
    return torch.einsum("bs,bse->be", scores.softmax(-1), values), (keys, values)""", """\
def decode_step(x, wq, wk, wv, cache):
    k, v = cache
    B, L, D = k.shape
    keys, values = torch.empty(B, L + 1, D), torch.empty(B, L + 1, v.shape[2])
    keys[:, :L], values[:, :L] = k, v
    keys[:, L], values[:, L] = x @ wk, x @ wv
    y = F.scaled_dot_product_attention((x @ wq)[:, None], keys, values)
    return y.squeeze(1), [keys, values]""", """\
def decode_step(x, wq, wk, wv, cache):
    outputs, keys, values = [], [], []
    for b in range(len(x)):
        k = torch.vstack([cache[0][b], x[b] @ wk])
        v = torch.vstack([cache[1][b], x[b] @ wv])
        e = torch.exp(k @ (x[b] @ wq) / k.shape[1] ** 0.5)
        outputs.append(e / e.sum() @ v)
        keys.append(k)
        values.append(v)
    return torch.stack(outputs), (torch.stack(keys), torch.stack(values))""",
    ),
    properties=(
        Property(lambda y, x, wq, wk, wv, cache: y[1][0].shape[1] == cache[0].shape[1] + 1,
                 "The new cache does not hold one position more than the old one."),
        Property(lambda y, x, wq, wk, wv, cache: (y[0] <= y[1][1].amax(1) + 1e-4).all()
                 and (y[0] >= y[1][1].amin(1) - 1e-4).all(),
                 "An output lies outside the values that it is mixed from: the weights do not add up to one."),
    ),
    twin=decode_twin,
)  # fmt: skip


# 07.5


def cache_twin(rng: random.Random) -> Question:
    layers, kv_heads, size, tokens = rng.choice([8, 16, 24]), rng.choice([2, 4, 8]), rng.choice([64, 128]), 1024
    heads = kv_heads * rng.choice([2, 4])
    return Question(
        f"{layers} layers, {heads} query heads, {kv_heads} key/value heads of {size}, {tokens:,} tokens of one "
        "sequence, two bytes a number. How many MiB does the KV cache take?",
        2 * layers * kv_heads * size * tokens * 2 / 2**20,
        f"Keys and values, 2 · {layers} · {kv_heads} · {size} numbers of 2 bytes for each token; query heads share.",
        0.01,
    )  # fmt: skip


def cache_cases() -> list[tuple]:
    """Shapes with pairwise distinct sizes, plain, grouped and shared by all; several formats."""
    def shape(layers, width, heads, kv_heads, head_size):
        return ModelConfig(layers=layers, width=width, heads=heads, kv_heads=kv_heads, head_size=head_size,
                           mlp_width=64, vocab_size=300, context=96)  # fmt: skip

    return [
        (shape(3, 40, 4, 2, 10), 7, 1, torch.float32),
        (shape(5, 48, 12, 3, 8), 33, 4, torch.bfloat16),
        (shape(1, 20, 2, 1, 6), 1, 3, torch.float16),
        (shape(6, 32, 8, 8, 4), 500, 2, torch.float64),
        (shape(7, 90, 9, 3, 22), 11, 5, torch.int8),
    ]


NUMBERS = "2 * config.layers * sequences * config.kv_heads * tokens * config.head_size"
SHARE = "Several query heads share one key/value head. How many keys does a token leave in a layer?"
ONE_TOKEN = "For one token in one layer and one key/value head: which numbers are kept?"
CACHE_BYTES = Exercise(
    cases=cache_cases,
    mutants=(
        Mutant("keys_only", "numbers = 2 * ", "numbers = ",
               "only one of keys and values is counted", ONE_TOKEN),
        Mutant("with_queries", "numbers = 2 * ", "numbers = 3 * ",
               "queries are counted as well as keys and values",
               "Is a query needed again once its position has attended?"),
        Mutant("query_heads", "config.kv_heads", "config.heads",
               "query heads are counted instead of key/value heads", SHARE),
        Mutant("width", "config.kv_heads * tokens * config.head_size", "tokens * config.width",
               "keys are taken to be as long as the width of the model", SHARE),
        Mutant("all_heads", "config.kv_heads", "(config.heads + config.kv_heads)",
               "query heads are counted together with key/value heads", SHARE),
        Mutant("keys_by_query_heads", "2 * config.layers * sequences * config.kv_heads",
               "config.layers * sequences * (config.heads + config.kv_heads)",
               "keys are counted for each query head, and values for each key/value head", SHARE),
        Mutant("one_layer", "config.layers * ", "",
               "one layer is counted", "Do two layers have the same keys?"),
        Mutant("one_sequence", "sequences * ", "",
               "one sequence is counted", "Can two conversations share one cache?"),
        Mutant("one_token", " * tokens", "",
               "one token is counted", "Does the cache grow while the model writes?"),
        Mutant("one_head", "config.kv_heads * ", "",
               "one head is counted", ONE_TOKEN),
        Mutant("context", "* tokens", "* config.context",
               "the longest context is counted instead of the tokens that are asked for",
               "For how many tokens should there be room?"),
        Mutant("square", "* tokens", "* tokens * tokens",
               "the cache is taken to grow with the square of the tokens",
               "Attention weights exist for each pair of positions. And keys?"),
        Mutant("weights", "", """\
def cache_bytes(config, tokens, sequences, dtype):
    return config.layers * sequences * config.heads * tokens * tokens * dtype.itemsize""",
               "attention weights are counted instead of keys and values", ONE_TOKEN),
        Mutant("numbers", "numbers * dtype.itemsize", "numbers",
               "numbers are counted instead of bytes", "How many bytes is one number of this format?"),
        Mutant("bits", "numbers * dtype.itemsize", "numbers * dtype.itemsize * 8",
               "bits are counted instead of bytes", "How many bytes is one number of this format?"),
        Mutant("four_bytes", "dtype.itemsize", "4",
               "every number is taken for four bytes", "Does your result change with the format?"),
        Mutant("two_bytes", "dtype.itemsize", "2",
               "every number is taken for two bytes", "Does your result change with the format?"),
        Mutant("mebibytes", "numbers * dtype.itemsize", "numbers * dtype.itemsize / 2**20",
               "the result is in MiB", "In which unit is the result?"),
        Mutant("last_not_stored", "* tokens", "* (tokens - 1)",
               "the last token is left out, though there should be room for it",
               "How many tokens should there be room for?"),
        Mutant("group", "config.kv_heads", "config.heads // config.kv_heads",
               "the number of query heads in a group is used instead of the number of groups", SHARE),
        Mutant("size_by_width", "config.head_size", "(config.width // config.heads)",
               "the head size is taken to be the width divided by the heads",
               "The config says how long a key is. Does it have to be a share of the width?"),
        Mutant("width_divided", "config.kv_heads * tokens * config.head_size",
               "config.kv_heads * tokens * (config.width // config.kv_heads)",
               "keys are taken to be as long as the width of the model", SHARE),
        Mutant("hidden_states", "", """\
def cache_bytes(config, tokens, sequences, dtype):
    return (config.layers + 1) * sequences * tokens * config.width * dtype.itemsize""",
               "hidden states are counted instead of keys and values", ONE_TOKEN),
        Mutant("plus_layers", "config.layers *", "(config.layers + 1) *",
               "one more layer is counted", "Which layers have attention?"),
    ),
    variants=("""\
def cache_bytes(config, tokens, sequences, dtype):
    total = 0
    for layer in range(config.layers):
        for part in ("key", "value"):
            total += sequences * tokens * config.kv_heads * config.head_size * dtype.itemsize
    return total""", """\
def cache_bytes(config, tokens, sequences, dtype):
    shape = (config.layers, sequences, config.kv_heads, tokens, config.head_size)
    keys, values = torch.empty(2, *shape, dtype=dtype)
    return keys.nbytes + values.nbytes""", """\
def cache_bytes(config, tokens, sequences, dtype):
    from minigpt.model import KVCache
    cache = KVCache(config, sequences, tokens, dtype=dtype)
    return sum(t.numel() * t.element_size() for t in (cache.k, cache.v))""", """\
def cache_bytes(config, tokens, sequences, dtype):
    a_token = 2 * config.kv_heads * config.head_size * torch.empty((), dtype=dtype).element_size()
    return math.prod((a_token, tokens, sequences, config.layers))""",
    ),
    twin=cache_twin,
)  # fmt: skip


# 07.6


def padding_twin(rng: random.Random) -> Question:
    """Where a token of a padded row stands."""
    longest = rng.randint(7, 12)
    n = rng.randint(3, longest - 2)
    column = rng.randint(longest - n, longest - 1)
    return Question(
        f"Prompts of {longest} and {n} tokens in one batch, padded on the left. Columns and positions count from 0. "
        f"Which position has the token of the shorter prompt in column {column}?", column - (longest - n),
        f"Its padding is {longest - n} columns wide, and its first token has position 0.",
    )  # fmt: skip


BATCHES = (
    ([[7, 8, 9], [5, 6]], 0),
    ([[4], [1, 2, 3, 4, 5], [6, 7]], 9),
    ([[0, 3, 0], [0], [2, 0, 0, 1]], 0),  # the id of the padding occurs as a token
    ([[5, 3, 8, 2]], 1),  # one row, no padding
    ([[2]], 3),
    ([[1, 2], [3, 4], [5, 6]], 8),
    ([[9, 9, 1, 9, 4, 2, 7], [3, 9], [9], [8, 8, 8, 9]], 9),
)
TOKENS = "[pad] * (T - len(prompt)) + list(prompt)"
MASK = "(real[:, :, None] == real[:, None, :]) & torch.ones(T, T, dtype=torch.bool).tril()"
CLAMPED = "places.clamp(min=0)"
RESULT_6 = f"return tokens, {CLAMPED}, mask"
EMPTY = "What is the softmax of a row in which every score is minus infinity?"
ALONE = "Which position does the first token of this prompt have when the prompt stands alone?"
BY_ID = "A prompt holds the padding's id as a token. How would you know?"
LEFT_PADDED = Exercise(
    cases=lambda: [([list(prompt) for prompt in prompts], pad) for prompts, pad in BATCHES],
    mutants=(
        Mutant("right", "", """\
def left_padded(prompts, pad):
    T = max(map(len, prompts))
    tokens = torch.tensor([prompt + [pad] * (T - len(prompt)) for prompt in prompts])
    places = torch.arange(T).expand(len(prompts), T)
    real = places < torch.tensor([len(prompt) for prompt in prompts])[:, None]
    mask = (real[:, :, None] == real[:, None, :]) & torch.ones(T, T, dtype=torch.bool).tril()
    return tokens, places * real, mask""",
               "the padding is on the right", "In which column do you read off the next token?"),
        Mutant("tokens_right", TOKENS, "list(prompt) + [pad] * (T - len(prompt))",
               "the padding is on the right, but positions and mask are made for the left",
               "In which column do you read off the next token?"),
        Mutant("zero", "[pad]", "[0]",
               "the padding is 0 instead of the id that was given", "Where in your code does `pad` come in?"),
        Mutant("columns", CLAMPED, "torch.arange(T).expand(len(prompts), T)",
               "positions are the numbers of the columns, padding included", ALONE),
        Mutant("columns_without_padding", CLAMPED, "torch.arange(T) * real",
               "positions are the numbers of the columns, padding included", ALONE),
        Mutant("columns_once", CLAMPED, "torch.arange(T)",
               "there is one row of positions for all prompts", ALONE),
        Mutant("negative", CLAMPED, "places",
               "positions of padding are negative", "Which row of an embedding is number −2?"),
        Mutant("minus_one", CLAMPED, "real.long().cumsum(-1) - 1",
               "padding has position −1", "Which row of an embedding is number −1?"),
        Mutant("from_one", CLAMPED, "real.long().cumsum(-1)",
               "positions count from 1", ALONE),
        Mutant("padding_one", CLAMPED, "(real.long().cumsum(-1) - 1).masked_fill(~real, 1)",
               "padding has position 1", "Which position does the statement give to padding?"),
        Mutant("shifted_wrongly", CLAMPED, "(torch.arange(T) + padding[:, None]) % T",
               "the padding is added to the column instead of subtracted", ALONE),
        Mutant("modulo", CLAMPED, "places % T",
               "positions of padding wrap round to the end",
               "Which position does the statement give to padding?"),
        Mutant("from_the_end", CLAMPED, "(T - 1 - torch.arange(T)) * real",
               "positions count from the end", ALONE),
        Mutant("causal_only", "mask = " + MASK, "mask = torch.ones(len(prompts), T, T, dtype=torch.bool).tril()",
               "tokens look at padding", "What does the first token of the shorter prompt see when it stands alone?"),
        Mutant("causal_once", "mask = " + MASK, "mask = torch.ones(T, T, dtype=torch.bool).tril()",
               "there is one mask for all prompts", "Is the padding equally wide in all rows?"),
        Mutant("no_future", MASK, "real[:, :, None] == real[:, None, :]",
               "tokens look ahead", "May position 0 look at position 1?"),
        Mutant("keys_only", "(real[:, :, None] == real[:, None, :])", "real[:, None, :]",
               "padding queries have nothing to look at", EMPTY),
        Mutant("both_real", "real[:, :, None] == real", "real[:, :, None] & real",
               "padding queries have nothing to look at", EMPTY),
        Mutant("queries_only", "(real[:, :, None] == real[:, None, :])", "real[:, :, None]",
               "padding is taken out among the queries instead of the keys",
               "Which of the two must a token not meet: padding as a query, or padding as a key?"),
        Mutant("padding_alone", "(real[:, :, None] == real[:, None, :])",
               "(real[:, None, :] | torch.eye(T, dtype=torch.bool))",
               "padding looks at itself alone, and not at the padding before it",
               "What may padding look at, by the statement?"),
        Mutant("padding_ahead", "mask = " + MASK,
               "mask = real[:, None, :] & torch.ones(T, T, dtype=torch.bool).tril() | ~real[:, :, None]",
               "padding may look ahead, at tokens too", "What may padding look at, by the statement?"),
        Mutant("transposed", "dtype=torch.bool).tril()", "dtype=torch.bool).triu()",
               "queries look forward instead of back",
               "In [b, t, s], which index is the query's, and which side of the diagonal is its past?"),
        Mutant("not_itself", ".tril()", ".tril(-1)",
               "a query does not see its own position", EMPTY),
        Mutant("inverted", RESULT_6, f"return tokens, {CLAMPED}, ~mask",
               "the mask says True for hidden", "What does True at [b, 0, 0] say about the first column and itself?"),
        Mutant("numbers", RESULT_6, f"return tokens, {CLAMPED}, mask.long()",
               "the mask holds the numbers 0 and 1", "Which dtype says \"may look: yes or no\"?"),
        Mutant("floats", RESULT_6, f"return tokens, {CLAMPED}, mask.float()",
               "the mask holds the numbers 0 and 1", "Which dtype says \"may look: yes or no\"?"),
        Mutant("keys_2d", RESULT_6, f"return tokens, {CLAMPED}, real",
               "the mask says which columns are tokens, not who may look at whom",
               "How many axes does \"query t may look at key s\" need?"),
        Mutant("heads", RESULT_6, f"return tokens, {CLAMPED}, mask[:, None]",
               "the mask has an axis of heads", "Which shape should the mask have?"),
        Mutant("by_id", "real = places >= 0", "real = tokens != pad",
               "whatever has the padding's id counts as padding", BY_ID),
        Mutant("by_id_positions", "", """\
def left_padded(prompts, pad):
    T = max(len(prompt) for prompt in prompts)
    tokens = torch.tensor([[pad] * (T - len(prompt)) + prompt for prompt in prompts])
    real = tokens != pad
    mask = (real[:, :, None] == real[:, None, :]) & torch.ones(T, T, dtype=torch.bool).tril()
    return tokens, (real.long().cumsum(-1) - 1).clamp(min=0), mask""",
               "whatever has the padding's id counts as padding", BY_ID),
        Mutant("by_id_keys", "", """\
def left_padded(prompts, pad):
    T = max(len(prompt) for prompt in prompts)
    tokens = torch.tensor([[pad] * (T - len(prompt)) + prompt for prompt in prompts])
    real = tokens != pad
    mask = real[:, None, :] & torch.ones(T, T, dtype=torch.bool).tril()
    return tokens, (real.long().cumsum(-1) - 1).clamp(min=0), mask""",
               "whatever has the padding's id counts as padding, and padding queries see nothing", BY_ID),
        Mutant("by_id_leading", "", """\
def left_padded(prompts, pad):
    T = max(len(prompt) for prompt in prompts)
    tokens = torch.tensor([[pad] * (T - len(prompt)) + prompt for prompt in prompts])
    real = (tokens != pad).cumsum(-1) > 0
    mask = (real[:, :, None] == real[:, None, :]) & torch.ones(T, T, dtype=torch.bool).tril()
    return tokens, (real.long().cumsum(-1) - 1).clamp(min=0), mask""",
               "whatever has the padding's id at the beginning of a row counts as padding",
               "A prompt begins with the padding's id. How would you know?"),
        Mutant("in_place", "", """\
def left_padded(prompts, pad):
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    T = int(lengths.max())
    for prompt in prompts:
        while len(prompt) < T:
            prompt.insert(0, pad)
    places = torch.arange(T) - (T - lengths)[:, None]
    real = places >= 0
    mask = (real[:, :, None] == real[:, None, :]) & torch.ones(T, T, dtype=torch.bool).tril()
    return torch.tensor(prompts), places.clamp(min=0), mask""",
               "the caller's own prompts are filled up",
               "Are the lists in your function and outside of it two, or two names of one?"),
        Mutant("cut", "max(len", "min(len",
               "T is the length of the shortest prompt", "Is there room for the longest prompt?"),
        Mutant("reversed", TOKENS, "[pad] * (T - len(prompt)) + list(prompt)[::-1]",
               "the prompts are turned round", "Which token of a prompt should stand in the last column?"),
        Mutant("one_more", "real = places >= 0", "real = places > 0",
               "the first token of each prompt counts as padding", "Which position does the first token have?"),
        Mutant("one_less", "real = places >= 0", "real = places >= -1",
               "the last padding before a prompt counts as a token", "Which position does the first token have?"),
        Mutant("swapped", RESULT_6, f"return tokens, mask, {CLAMPED}",
               "the results come in the wrong order", "Which of the three comes second?"),
        Mutant("lists", RESULT_6, f"return tokens.tolist(), {CLAMPED}.tolist(), mask.tolist()",
               "the results are lists", "What can be put into a model?"),
    ),
    variants=("""\
def left_padded(prompts, pad):
    B, T = len(prompts), max(map(len, prompts))
    tokens = torch.full((B, T), pad)
    positions = torch.zeros(B, T, dtype=torch.int64)
    mask = torch.zeros(B, T, T, dtype=torch.bool)
    for b, prompt in enumerate(prompts):
        n = T - len(prompt)
        tokens[b, n:] = torch.tensor(prompt)
        positions[b, n:] = torch.arange(len(prompt))
        for t in range(T):
            for s in range(t + 1):
                mask[b, t, s] = s >= n if t >= n else True
    return tokens, positions, mask""", """\
def left_padded(prompts, pad):
    from minigpt.sampling import left_pad
    tokens, positions, docs = left_pad([list(p) for p in prompts], "cpu")
    B, T = tokens.shape
    if docs is None:
        positions, docs = torch.arange(T).repeat(B, 1), torch.ones(B, T, dtype=torch.int64)
    tokens[docs == 0] = pad
    past = torch.arange(T)[:, None] >= torch.arange(T)
    return tokens, positions, ~(docs[:, :, None] != docs[:, None, :]) & past""",
    """\
def left_padded(prompts, pad):
    flipped = [torch.tensor(prompt).flip(0) for prompt in prompts]
    tokens = torch.nn.utils.rnn.pad_sequence(flipped, batch_first=True, padding_value=pad).flip(1)
    ones = [torch.ones(len(prompt), dtype=torch.long) for prompt in prompts]
    real = torch.nn.utils.rnn.pad_sequence(ones, batch_first=True).flip(1)
    positions = (real.cumsum(1) - 1) * real
    both = torch.einsum("bt,bs->bts", real, real) + torch.einsum("bt,bs->bts", 1 - real, 1 - real)
    return tokens, positions, both.tril() > 0""",
    ),
    properties=(
        Property(lambda y, prompts, pad: y[2].any(-1).all(),
                 "A query has no key to look at: a softmax over minus infinities only is NaN."),
        Property(lambda y, prompts, pad: not y[2].triu(1).any(), "A query may look ahead."),
        Property(lambda y, prompts, pad: y[1].min() >= 0, "A position is negative."),
    ),
    twin=padding_twin,
)  # fmt: skip


# 07.7


def accept_twin(rng: random.Random) -> Question:
    """With which probability a guess stays."""
    q = rng.choice([0.4, 0.5, 0.8])
    p = rng.choice([0.1, 0.2, 0.3])
    if rng.random() < 0.5:
        return Question(
            f"Two tokens. The draft gives the first one {q}, the large model {p}. What share of the draft's tokens is "
            "accepted?", 1 - q + p,
            f"The first is drafted {q} of the time and kept {p} of it all; the second, drafted {1 - q:.1f}, is always "
            "kept.", 0.01,
        )  # fmt: skip
    return Question(
        f"The draft gives a token the probability {q}, the large model {p}. The draft has drawn it. With which "
        "probability is it kept?", p / q, f"min(1, p/q) = {p}/{q}.", 0.01,
    )  # fmt: skip


def accept_cases() -> list[tuple]:
    """p, q, token, u, v: kept and rejected at exact bounds, zeros in p and in q, one-hot ones, and random ones."""
    p, q = shares([4, 2, 0, 6, 4], [2, 6, 4, 1, 3])  # p - q: 2, -4, -4, 5, 1 sixteenths, positive part 8
    cases = [(0, 1.0, 0.5), (1, 0.3, 0.1), (1, 0.5, 0.1), (1, 0.5, 0.5), (1, 0.5, 0.9), (1, 0.35, 1.0), (1, 1.0, 0.25),
             (2, 0.001, 0.27), (4, 1.0, 0.1), (4, 0.2, 0.6), (3, 0.8, 0.9), (2, 0.6, 1e-4), (2, 0.9, 0.7)]  # fmt: skip
    made = [(p.clone(), q.clone(), *rest) for rest in cases]
    p, q = shares([1, 2, 1], [0, 4, 0])  # a draft that is sure, as a greedy one is
    draws = ((0.4, 0.2), (0.5, 0.9), (0.75, 0.4), (0.75, 0.6), (0.9, 1.0))
    made += [(p.clone(), q.clone(), 1, *rest) for rest in draws]
    p, q = shares([0, 0, 4, 0], [1, 2, 0, 1])  # a large model that is sure
    made += [(p.clone(), q.clone(), token, 0.1, v) for token, v in ((0, 0.3), (1, 1.0), (3, 0.01))]
    p = shares([3, 4, 1])[0]
    made += [(p.clone(), p.clone(), 2, 1.0, 0.3), (torch.ones(1), torch.ones(1), 0, 1.0, 1.0)]
    rng = random.Random(7)
    for seed, V in ((77, 7), (79, 4)):
        p, q = torch.softmax(normal(seed, (2, V))[0], -1)
        made += [(p.clone(), q.clone(), rng.randrange(V), 1 - rng.random(), 1 - rng.random()) for _ in range(7)]
    return made


KEEP, MISSING = "u <= p[token] / q[token]", "missing = (p - q).clamp(min=0)"
REDRAW = "int((ends < v * ends[-1]).sum())"
AGAIN = "The draft says this token too often already. How does your second draw make sure that this is evened out?"
TOO_OFTEN = "The draft gives a token 0.6, the large model 0.2. How often should it be kept?"
ACCEPT = Exercise(
    cases=accept_cases,
    mutants=(
        Mutant("upside_down", KEEP, "u <= q[token] / p[token]",
               "the ratio is turned round: q/p instead of p/q", TOO_OFTEN),
        Mutant("inverted", KEEP, "u > p[token] / q[token]",
               "the token is kept when it should be rejected", TOO_OFTEN),
        Mutant("p_alone", KEEP, "u <= p[token]",
               "the token is kept with probability p, whatever the draft thinks",
               "Both models agree exactly. How often should a token be rejected?"),
        Mutant("q_alone", KEEP, "u <= q[token]",
               "the token is kept with probability q, whatever the large model thinks",
               "The large model gives the token 0. How often should it be kept?"),
        Mutant("never_by_chance", KEEP, "p[token] >= q[token]",
               "a token that the draft says too often is always rejected", TOO_OFTEN),
        Mutant("half", KEEP, "p[token] >= 0.5 * q[token]",
               "u is not used: a fixed bound decides", "Where in your code does u come in?"),
        Mutant("likelier", KEEP, "p[token] >= u * p.max()",
               "the token is compared with the likeliest one instead of the draft's opinion of it",
               "Both models agree exactly. How often should a token be rejected?"),
        Mutant("greedy", KEEP, "token == int(p.argmax())",
               "only the large model's likeliest token is kept, which is the greedy rule",
               "At temperature 1, may an unlikely token be written?"),
        Mutant("product", KEEP, "u <= p[token] * q[token]",
               "p and q are multiplied", "Both models agree exactly. How often should a token be rejected?"),
        Mutant("normalised", KEEP, "u <= p[token] / (p[token] + q[token])",
               "the token is kept with probability p/(p + q)",
               "Both models agree exactly. How often should a token be rejected?"),
        Mutant("difference", KEEP, "u <= 1 - (q - p).clamp(min=0)[token]",
               "the difference q − p is taken for the probability of a rejection", TOO_OFTEN),
        Mutant("strict", KEEP, "u < p[token] / q[token]",
               "a token with u equal to p/q is rejected, so that two equal models disagree when u is 1",
               "Both models agree exactly and u is 1. Should the token be kept?"),
        Mutant("from_p", MISSING, "missing = p",
               "after a rejection the draw is from p", AGAIN),
        Mutant("from_q", MISSING, "missing = q",
               "after a rejection the draw is from the draft's distribution once more", AGAIN),
        Mutant("from_p_without", MISSING, "missing = p.clone()\n    missing[token] = 0.0",
               "after a rejection the draw is from p without the rejected token",
               "Are there other tokens that the draft says too often?"),
        Mutant("from_difference_without", MISSING, "missing = (p - q).abs()\n    missing[token] = 0.0",
               "tokens that the draft says too often are drawn as well, by the size of the difference",
               "Which tokens does the draft say too rarely?"),
        Mutant("absolute", MISSING, "missing = (p - q).abs()",
               "tokens that the draft says too often are drawn as well, by the size of the difference",
               "Which tokens does the draft say too rarely?"),
        Mutant("wrong_side", MISSING, "missing = (q - p).clamp(min=0)",
               "the draw is from the positive part of q − p", "Which tokens does the draft say too rarely?"),
        Mutant("not_clamped", MISSING, "missing = p - q",
               "negative parts of p − q stay in the running sum",
               "How long is a token on the line for which p − q is negative?"),
        Mutant("square", MISSING, "missing = (p - q).square()",
               "the draw is from the squared difference", "Which tokens does the draft say too rarely?"),
        Mutant("softmax", MISSING, "missing = torch.softmax(p - q, dim=0)",
               "a softmax is taken of p − q", "Which weight does a softmax give to a token with p − q = 0?"),
        Mutant("where_p", MISSING, "missing = torch.where(p > q, p, 0.0)",
               "tokens that the draft says too rarely are drawn in proportion to p instead of what is missing of them",
               "The draft gives a token 0.3, the large model 0.4. How much of it is missing?"),
        Mutant("ratio", MISSING, "missing = (p / q - 1).clamp(min=0)",
               "ratios are compared instead of differences",
               "The draft gives a token 0.3, the large model 0.4. How much of it is missing?"),
        Mutant("smaller_one", MISSING, "missing = torch.minimum(p, q)",
               "the draw is from what both models agree on",
               "min(p, q) has been written by the kept tokens. What is still missing?"),
        Mutant("not_divided", REDRAW, "min(int((ends < v).sum()), len(ends) - 1)",
               "the missing part is not divided by its sum, so that most v lie behind its end",
               "What does the missing part add up to, and where does its line end?"),
        Mutant("not_divided_out", REDRAW, "int((ends < v).sum())",
               "the missing part is not divided by its sum, so that most v lie behind its end",
               "What does the missing part add up to, and where does its line end?"),
        Mutant("argmax", REDRAW, "int(missing.argmax())",
               "after a rejection the token that lacks most is always taken", "Where in your code does v come in?"),
        Mutant("argmax_p", REDRAW, "int(p.argmax())",
               "after a rejection the large model's likeliest token is always taken",
               "Where in your code does v come in?"),
        Mutant("u_again", REDRAW, "int((ends < u * ends[-1]).sum())",
               "u decides a second time, although it is known by now to be large",
               "After a rejection, which values can u still have?"),
        Mutant("u_rest", REDRAW, "int((ends < (1 - v) * ends[-1]).sum())",
               "the line is read from its far end", "v is nearly 0: which token is drawn?"),
        Mutant("one_further", REDRAW, "min(int((ends < v * ends[-1]).sum()) + 1, len(ends) - 1)",
               "the token after the one that v lies in is drawn", "v is nearly 0: which token is drawn?"),
        Mutant("not_before", REDRAW, "int((ends <= v * ends[-1]).sum())",
               "a token that ends exactly at v is passed over, so that v = 1 draws one that is not there",
               "v is 1. How many ends are at most 1, and which id is that?"),
        Mutant("not_before_clipped", REDRAW, "min(int((ends <= v * ends[-1]).sum()), len(ends) - 1)",
               "a token that ends exactly at v is passed over",
               "v is 1, and the last token is not missing. Which token ends exactly at 1?"),
        Mutant("no_sum", "missing.cumsum(dim=0)", "missing",
               "v is compared with the parts themselves instead of their running sum",
               "Where on the line does the second token begin?"),
        Mutant("rejected_written", "return " + REDRAW, "return token",
               "the draft's token is written even when it has been rejected",
               "What is written in place of a rejected token?"),
        Mutant("flags_swapped", "return token, True", "return token, False",
               "a kept token is reported as rejected", "What should the second result say of a kept token?"),
        Mutant("always_true", REDRAW + ", False", REDRAW + ", True",
               "a rejected token is reported as kept", "What should the second result say of a rejected token?"),
        Mutant("nothing", "return " + REDRAW, "return None",
               "nothing is written after a rejection", "What is written in place of a rejected token?"),
        Mutant("order", "return token, True", "return True, token",
               "the two results come in the wrong order", "Which of the two should come first?"),
        Mutant("from_average", MISSING, "missing = (p + q) / 2",
               "after a rejection the draw is from the mean of both models", AGAIN),
        Mutant("from_p_scaled", MISSING, "missing = (p - q * (p[token] / q[token])).clamp(min=0)",
               "the ratio at the rejected token scales the whole of q", "Which tokens does the draft say too rarely?"),
    ),
    variants=("""\
def accept(p, q, token, u, v):
    if u * q[token] <= p[token]:
        return int(token), True
    rest = torch.relu(p - q)
    ends = torch.cumsum(rest, 0)
    return int(torch.searchsorted(ends, v * ends[-1])), False""", """\
def accept(p, q, token, u, v):
    ratio = min(1.0, p[token].item() / q[token].item())
    kept = u <= ratio
    if not kept:
        rest = [max(0.0, a - b) for a, b in zip(p.tolist(), q.tolist())]
        total, reached = sum(rest), 0.0
        for token, length in enumerate(rest):
            reached += length / total
            if length > 0 and reached >= v:
                break
    return token, kept""", """\
def accept(p, q, token, u, v):
    if u <= torch.clamp(p[token] / q[token], max=1):
        return token, True
    missing = p - torch.minimum(p, q)
    share = missing / missing.sum()
    return (share.cumsum(0) >= v).int().argmax(), False""",
    ),
    properties=(
        Property(lambda y, p, q, *rest: p[y[0]] > 0, "A token is written whose probability is 0."),
        Property(lambda y, p, q, token, *rest: not y[1] or y[0] == token,
                 "Another token is written than the one that was kept."),
        Property(lambda y, p, q, token, *rest: y[1] or p[y[0]] > q[y[0]],
                 "After a rejection a token is drawn that the draft says often enough."),
    ),
    twin=accept_twin,
)  # fmt: skip


# 07.8


def repeats_twin(rng: random.Random) -> Question:
    """The share of n-grams that came before."""
    period, times = rng.randint(3, 6), rng.randint(3, 6)
    n = rng.randint(2, 4)
    total = period * times - n + 1
    return Question(
        f"A text repeats the same {period} different tokens {times} times. Which share of its {n}-grams has occurred "
        "before?", (total - period) / total,
        f"It has {period} · {times} − {n} + 1 = {total} of them, and only {period} are different.", 0.01,
    )  # fmt: skip


def repeats_cases() -> list[tuple]:
    rng = random.Random(78)
    loop = [4, 8, 15, 16, 23]
    return [
        ([3, 1, 3, 1, 3, 1], 2), ([3, 1, 4, 1, 5], 2), ([3, 1, 4, 1, 5], 1), ([], 1), ([5], 2), ([7, 7, 7], 3),
        ([7, 7, 7, 7], 3), ([1, 12, 11, 2, 112], 2), ([1, 2, 1, 3, 2, 1], 2), ([1, 2, 9, 9, 1, 2], 2), ([6], 1),
        (loop * 4 + [42], 4), ([1, 2, 3, 1, 2, 4, 1, 2, 3], 3), ([2, 5, 2, 5], 5), ([10, 1, 0, 11, 0, 1], 2),
        *(([rng.randrange(size) for _ in range(length)], n) for size, length, n in
          ((3, 23, 2), (2, 31, 4), (9, 40, 1), (2, 17, 3))),
    ]  # fmt: skip


GRAMS = "[tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]"
RATIO = "return 1 - len(set(ngrams)) / len(ngrams)"
HOW_MANY = "How many n-grams has a text of 6 tokens for n = 2, and for n = 6?"
FIRST_ONE = "A pair stands three times in a text. How many of the three have occurred before?"
REPEATS = Exercise(
    cases=repeats_cases,
    mutants=(
        Mutant("one_missing", "len(tokens) - n + 1", "len(tokens) - n",
               "the last n-gram is left out", HOW_MANY),
        Mutant("one_too_many", "len(tokens) - n + 1", "len(tokens) - n + 2",
               "something shorter than n at the end counts as an n-gram", HOW_MANY),
        Mutant("tails", "len(tokens) - n + 1", "len(tokens)",
               "the number of tokens is taken for the number of n-grams", HOW_MANY),
        Mutant("by_length", RATIO, "return (len(ngrams) - len(set(ngrams))) / len(tokens)",
               "the number of tokens is taken for the number of n-grams", HOW_MANY),
        Mutant("new_by_length", RATIO, "return 1 - len(set(ngrams)) / len(tokens)",
               "the different n-grams are divided by the number of tokens", HOW_MANY),
        Mutant("by_kinds", RATIO, "return (len(ngrams) - len(set(ngrams))) / len(set(ngrams))",
               "repeats are divided by the number of different n-grams",
               "Can a share be larger than 1? What is the whole of which it is a part?"),
        Mutant("distinct", RATIO, "return len(set(ngrams)) / len(ngrams)",
               "the share of new n-grams is returned", "What should come out for a text in which nothing is repeated?"),
        Mutant("count", RATIO, "return len(ngrams) - len(set(ngrams))",
               "repeats are counted, but not divided", "What is the whole of which the result is a share?"),
        Mutant("percent", RATIO, RATIO.replace("return 1 -", "return 100 - 100 *"),
               "the result is in per cent", "What is a share of everything: 1 or 100?"),
        Mutant("all_occurrences", RATIO, "return sum(ngrams.count(g) > 1 for g in ngrams) / len(ngrams)",
               "the first occurrence of what comes again counts as a repeat, too", FIRST_ONE),
        Mutant("later", RATIO, "return sum(g in ngrams[i + 1 :] and g not in ngrams[:i] for i, g in enumerate(ngrams))"
               " / len(ngrams)",
               "each kind that is repeated counts once, however often it comes again", FIRST_ONE),
        Mutant("kinds", RATIO, "return sum(ngrams.count(g) > 1 for g in set(ngrams)) / len(set(ngrams))",
               "kinds of n-grams are counted instead of places in the text", FIRST_ONE),
        Mutant("neighbours", RATIO, "return sum(a == b for a, b in zip(ngrams, ngrams[1:])) / len(ngrams)",
               "an n-gram is compared only with the one right before it",
               "A loop of three sentences: is an n-gram ever equal to the one right before it?"),
        Mutant("n_back", RATIO, "return sum(ngrams[i] == ngrams[i - n] for i in range(n, len(ngrams))) / len(ngrams)",
               "an n-gram is compared only with the one n places before it",
               "How far back may the earlier occurrence lie?"),
        Mutant("pieces", GRAMS, "[tuple(tokens[i : i + n]) for i in range(0, len(tokens) - n + 1, n)]",
               "the text is cut into pieces of n tokens that do not overlap",
               "At how many places of a text of 6 tokens does a pair begin?"),
        Mutant("sets", "tuple(tokens[i : i + n])", "frozenset(tokens[i : i + n])",
               "the order of the tokens in an n-gram is lost", "Is (1, 2) the same n-gram as (2, 1)?"),
        Mutant("sorted", "tuple(tokens[i : i + n])", "tuple(sorted(tokens[i : i + n]))",
               "the order of the tokens in an n-gram is lost", "Is (1, 2) the same n-gram as (2, 1)?"),
        Mutant("sums", "tuple(tokens[i : i + n])", "sum(tokens[i : i + n])",
               "n-grams with the same sum count as the same", "Is (1, 2) the same n-gram as (2, 1)?"),
        Mutant("joined", "tuple(tokens[i : i + n])", "''.join(map(str, tokens[i : i + n]))",
               "ids are joined without a mark between them, so that 1, 12 and 11, 2 are the same",
               "How do you write ids 1 and 12, and how 11 and 2?"),
        Mutant("substring", "", """\
def repeats(tokens, n):
    text = " ".join(map(str, tokens))
    total = len(tokens) - n + 1
    if total < 1:
        return 0.0
    seen = 0
    for i in range(total):
        piece = " ".join(map(str, tokens[i : i + n]))
        if piece in " ".join(map(str, tokens[: i + n - 1])):
            seen += 1
    return seen / total""",
               "an id is found inside a longer one: text is searched instead of tokens",
               "Is \"1 0\" found in \"11 01\"?"),
        Mutant("not_overlapping", "", """\
def repeats(tokens, n):
    total = len(tokens) - n + 1
    if total < 1:
        return 0.0
    places = [tuple(tokens[i : i + n]) for i in range(total)]
    return sum(g in places[: max(0, i - n + 1)] for i, g in enumerate(places)) / total""",
               "an earlier occurrence that overlaps does not count",
               "In 7, 7, 7, 7 with n = 3: has the second n-gram occurred before?"),
        Mutant("tokens", GRAMS, "list(tokens)",
               "single tokens are counted, whatever n is", "Where in your code does n come in?"),
        Mutant("up_to_n", GRAMS,
               "[tuple(tokens[i : i + k]) for k in range(1, n + 1) for i in range(len(tokens) - k + 1)]",
               "shorter n-grams are counted as well", "How many tokens does an n-gram have?"),
        Mutant("too_long", "i + n]", "i + n + 1]",
               "the n-grams are n + 1 tokens long", "Which is the last index in `tokens[i : i + 2]`?"),
        Mutant("too_short", "i + n]", "i + n - 1]",
               "the n-grams are n − 1 tokens long", "Which is the last index in `tokens[i : i + 2]`?"),
        Mutant("empty_error", "    if not ngrams:\n        return 0.0\n", "",
               "a text without n-grams divides by zero", "What is a share of nothing, by the statement?"),
        Mutant("empty_nan", "        return 0.0", "        return math.nan",
               "a text without n-grams gets NaN", "What is a share of nothing, by the statement?"),
        Mutant("empty_one", "        return 0.0", "        return 1.0",
               "a text without n-grams counts as nothing but repeats", "What is a share of nothing, by the statement?"),
        Mutant("empty_by_max", "", """\
def repeats(tokens, n):
    ngrams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return 1 - len(set(ngrams)) / max(1, len(ngrams))""",
               "a text without n-grams counts as nothing but repeats", "What is a share of nothing, by the statement?"),
        Mutant("whole", "len(set(ngrams)) / len(ngrams)", "len(set(ngrams)) // len(ngrams)",
               "the result can only be 0 or 1: a share is rounded down, or never taken",
               "What is 3 // 5, and what should it be here?"),
        Mutant("rounded", RATIO, "return round(1 - len(set(ngrams)) / len(ngrams), 1)",
               "the share is rounded", "Does the statement ask for a rounded number?"),
        Mutant("once_at_most", RATIO, "return float(len(set(ngrams)) < len(ngrams))",
               "the result can only be 0 or 1: a share is rounded down, or never taken",
               "What is the whole of which the result is a share?"),
        Mutant("squares", RATIO, "return sum((ngrams.count(g) / len(ngrams)) ** 2 for g in set(ngrams))",
               "the chance that two n-grams are equal is returned",
               "What should come out for a text in which nothing is repeated?"),
    ),
    variants=("""\
def repeats(tokens, n):
    seen, again, total = set(), 0, 0
    for gram in zip(*(tokens[i:] for i in range(n))):
        again += gram in seen
        seen.add(gram)
        total += 1
    return again / total if total else 0.0""", """\
def repeats(tokens, n):
    from collections import Counter
    counts = Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
    return sum(c - 1 for c in counts.values()) / max(1, sum(counts.values()))""", """\
def repeats(tokens, n):
    if len(tokens) < n:
        return 0
    grams = torch.tensor(tokens).unfold(0, n, 1)
    return 1 - len(torch.unique(grams, dim=0)) / len(grams)""", """\
def repeats(tokens, n):
    starts = range(len(tokens) - n + 1)
    again = [any(tokens[j : j + n] == tokens[i : i + n] for j in range(i)) for i in starts]
    return sum(again) / len(again) if again else 0.0""",
    ),
    properties=(
        Property(lambda y, tokens, n: 0 <= y <= 1, "A share lies between 0 and 1."),
    ),
    twin=repeats_twin,
)  # fmt: skip


# 07.9


def allowed_twin(rng: random.Random) -> Question:
    """How many tokens keep an automaton alive."""
    width = rng.choice([2, 3, 4])
    pieces = rng.sample(["7", "12", "345", "6789", "1.", "2.3", "12.", ".", "x", "4x", "100."], 6)
    pattern = "".join("d" * width) + "."
    fits = [piece for piece in pieces if len(piece) <= len(pattern)
            and all(c.isdigit() if p == "d" else c == p for c, p in zip(piece, pattern))]  # fmt: skip
    return Question(
        f"A text must be {width} digits and then a full stop. Of the tokens {', '.join(f'“{p}”' for p in pieces)}, how "
        "many may come first?", len(fits),
        "A token may come if all of its characters can be read from the start: " + (", ".join(fits) or "none") + ".",
    )  # fmt: skip


def machines() -> dict:
    """Automata: a b* c; two digits, a stop, two digits; a loop through state 0; numbers of states with gaps."""
    digits = "0123456789"
    date = {(i, d): i + 1 for i in (0, 1, 3, 4) for d in digits} | {(2, "."): 3}
    return {
        "abc": ({(0, "a"): 1, (1, "b"): 1, (1, "c"): 2}, {2}),
        "date": (date, {5}),
        "loop": ({(0, "x"): 3, (3, "y"): 0, (3, "z"): 3}, {0}),
        "gaps": ({(7, "n"): 40, (40, "o"): 9, (40, "i"): 12, (12, "l"): 9, (9, " "): 7, (9, "!"): 9}, {9, 12}),
    }


def allowed_cases() -> list[tuple]:
    """Automata, states and vocabularies."""
    letters = ["a", "b", "c", "ab", "bb", "bca", "bbc", "ac", "abbc", "ca", "bcb", None]
    parts = ["1", "12", "2.", "3.4", "12.34", "123", ".", ".5", "0", "45", "6.7", "x", "1x", "12.3", "12.345", None,
             "5."]  # fmt: skip
    loops = [None, "x", "xy", "xyx", "y", "zz", "zy", "xzzy", "yx", "xx", "xyy"]
    words = ["n", "no", "nil", "no ", "no!", "o", "i", "il", "l", " ", "!", "!!", " n", "on", None, "l no"]
    cases = [("abc", letters, state) for state in (0, 1, 2)]
    cases += [("date", parts, state) for state in (0, 1, 2, 3, 5)]
    cases += [("loop", loops, state) for state in (0, 3)]
    cases += [("gaps", words, state) for state in (7, 40, 12, 9)]
    cases += [("abc", ["bb", "c"], 1), ("date", ["7"], 4), ("loop", [None], 3), ("loop", ["q", None], 0)]
    return [(list(pieces), *machines()[name], state) for name, pieces, state in cases]


WALK = "            at = steps.get((at, character))  # None: stuck, and no step leads on from None\n"
ENDS = "state in final if piece is None else at is not None"
ALL = "From the state after the token's first character: can its second one be read?"
ALLOWED = Exercise(
    cases=allowed_cases,
    mutants=(
        Mutant("first_character", 'piece or ""', '(piece or "")[:1]',
               "only the first character of a token is looked at", ALL),
        Mutant("last_character", 'piece or ""', '(piece or "")[-1:]',
               "it only counts whether the last character can be read from `state`", ALL),
        Mutant("any_character", "", """\
def allowed(pieces, steps, final, state):
    return torch.tensor([state in final if piece is None else any((state, c) in steps for c in piece)
                         for piece in pieces])""",
               "a token is allowed as soon as one of its characters can be read", ALL),
        Mutant("same_state", WALK, WALK.replace("(at, ", "(state, "),
               "it only counts whether the last character can be read from `state`", ALL),
        Mutant("all_from_state", "", """\
def allowed(pieces, steps, final, state):
    return torch.tensor([state in final if piece is None else all((state, c) in steps for c in piece)
                         for piece in pieces])""",
               "every character is read from the same state", ALL),
        Mutant("state_kept", "", """\
def allowed(pieces, steps, final, state):
    may = []
    for piece in pieces:
        if piece is None:
            may.append(state in final)
            continue
        ok = True
        for character in piece:
            if (state, character) not in steps:
                ok = False
                break
            state = steps[state, character]
        may.append(ok)
    return torch.tensor(may)""",
               "the state that one token has reached is where the next token begins",
               "From which state does every token start?"),
        Mutant("from_zero", "at = state", "at = 0",
               "every token starts from state 0", "Where is the automaton now?"),
        Mutant("skips", WALK, WALK.replace("(at, character))", "(at, character), at)"),
               "a character that cannot be read is skipped", "What does a missing step mean?"),
        Mutant("must_end", ENDS, "state in final if piece is None else at in final",
               "a token must lead to a final state", "Can the text have a second token?"),
        Mutant("may_not_end", ENDS, "state in final if piece is None else at is not None and at not in final",
               "a token may not lead to a final state", "How would the text come to its end?"),
        Mutant("falsy", ENDS, "state in final if piece is None else bool(at)",
               "a token that leads to state 0 is taken for one that is stuck",
               "What does Python say to `if 0:`?"),
        Mutant("falsy_on_the_way", "", """\
def allowed(pieces, steps, final, state):
    may = []
    for piece in pieces:
        at = state
        for character in piece or "":
            at = steps.get((at, character))
            if not at:
                break
        may.append(state in final if piece is None else at is not None)
    return torch.tensor(may)""",
               "a token that passes through state 0 is not read to its end",
               "What does Python say to `if not 0:`?"),
        Mutant("falsy_both", "", """\
def allowed(pieces, steps, final, state):
    may = []
    for piece in pieces:
        at = state
        for character in piece or "":
            at = steps.get((at, character))
            if not at:
                break
        may.append(state in final if piece is None else bool(at))
    return torch.tensor(may)""",
               "a token that comes to state 0, on its way or at its end, is taken for one that is stuck",
               "What does Python say to `if not 0:`?"),
        Mutant("last_step", "", """\
def allowed(pieces, steps, final, state):
    may = []
    for piece in pieces:
        at, ok = state, False
        for character in piece or "":
            ok = (at, character) in steps
            at = steps.get((at, character), at)
        may.append(state in final if piece is None else ok)
    return torch.tensor(may)""",
               "a character that cannot be read is forgotten when a later one can be",
               "What does a missing step mean?"),
        Mutant("end_always", ENDS, "at is not None",
               "the end-of-text token is always allowed", "May a date end after its first digit?"),
        Mutant("end_never", ENDS, "piece is not None and at is not None",
               "the end-of-text token is never allowed", "How does the model say that it has finished?"),
        Mutant("end_inverted", "state in final if", "state not in final if",
               "the end-of-text token is allowed where the text may not end", "May a date end after its first digit?"),
        Mutant("only_end", ENDS, "state in final if piece is None else at is not None and state not in final",
               "where the text may end, it must end", "May a text go on from a final state?"),
        Mutant("end_if_stuck", "", """\
def allowed(pieces, steps, final, state):
    may = []
    for piece in pieces:
        at = state
        for character in piece or "":
            at = steps.get((at, character))
        may.append(at is not None and piece is not None)
    if not any(may):
        may = [piece is None for piece in pieces]
    return torch.tensor(may)""",
               "the end-of-text token is allowed only where nothing else is",
               "May a text end where it could also go on?"),
        Mutant("end_if_no_step", "", """\
def allowed(pieces, steps, final, state):
    may = []
    for piece in pieces:
        at = state
        for character in piece or "":
            at = steps.get((at, character))
        may.append(at is not None)
        if piece is None:
            may[-1] = state in final and all(start != state for start, _ in steps)
    return torch.tensor(may)""",
               "the end-of-text token is allowed only where nothing else is",
               "May a text end where it could also go on?"),
        Mutant("end_as_text", "", """\
def allowed(pieces, steps, final, state):
    may = []
    for piece in pieces:
        at = state
        for character in str(piece):
            at = steps.get((at, character))
        may.append(at is not None)
    return torch.tensor(may)""",
               "the end-of-text token is never allowed", "How does the model say that it has finished?"),
        Mutant("single_characters", ENDS,
               "state in final if piece is None else len(piece) == 1 and at is not None",
               "tokens of several characters are never allowed", ALL),
        Mutant("prefix", "", """\
def allowed(pieces, steps, final, state):
    may = []
    for piece in pieces:
        at = state
        for character in piece or "":
            if at in final:
                break
            at = steps.get((at, character))
        may.append(state in final if piece is None else at is not None)
    return torch.tensor(may)""",
               "what a token holds after a final state is not looked at",
               "The text may end in the middle of this token. Does the token end there?"),
        Mutant("stays_alive", "", """\
def allowed(pieces, steps, final, state):
    may = []
    for piece in pieces:
        at, ok = state, False
        for character in piece or "":
            if (at, character) in steps:
                at, ok = steps[at, character], True
        may.append(state in final if piece is None else ok)
    return torch.tensor(may)""",
               "a token is allowed as soon as one of its characters can be read", ALL),
        Mutant("no_state", "", """\
def allowed(pieces, steps, final, state):
    readable = {character for _, character in steps}
    return torch.tensor([state in final if piece is None else set(piece) <= readable for piece in pieces])""",
               "it is only asked whether a character occurs in the pattern at all",
               "May a date begin with a full stop?"),
        Mutant("inverted", "return torch.tensor(may)", "return ~torch.tensor(may)",
               "True means forbidden", "What does True stand for in the result?"),
        Mutant("list", "return torch.tensor(may)", "return may",
               "the result is a list", "What should come back, and of which type?"),
        Mutant("ids", "return torch.tensor(may)", "return torch.tensor([i for i, ok in enumerate(may) if ok])",
               "the ids of the allowed tokens are returned", "Which shape should the result have?"),
        Mutant("numbers", "return torch.tensor(may)", "return torch.tensor(may).float()",
               "the result holds the numbers 0 and 1", "Which dtype says \"yes or no\"?"),
        Mutant("whole_numbers", "return torch.tensor(may)", "return torch.tensor(may).long()",
               "the result holds the numbers 0 and 1", "Which dtype says \"yes or no\"?"),
        Mutant("infinities", "return torch.tensor(may)", "return torch.zeros(len(may)).masked_fill("
               "~torch.tensor(may), -math.inf)",
               "the result is something to be added to logits", "Which dtype says \"yes or no\"?"),
        Mutant("states", "return torch.tensor(may)", """\
return torch.tensor([s == state or ok for s, ok in enumerate(may)])""",
               "ids of tokens are mixed up with numbers of states", "What does place i of the result speak of?"),
        Mutant("end_where_it_leads", "state in final if piece is None", "bool(final) if piece is None",
               "the end-of-text token is always allowed", "May a date end after its first digit?"),
    ),
    variants=("""\
def allowed(pieces, steps, final, state):
    def readable(piece, at):
        if not piece:
            return True
        return (at, piece[0]) in steps and readable(piece[1:], steps[at, piece[0]])
    return torch.tensor([state in final if piece is None else readable(piece, state) for piece in pieces])""", """\
def allowed(pieces, steps, final, state):
    result = torch.zeros(len(pieces), dtype=torch.bool)
    for i, piece in enumerate(pieces):
        if piece is None:
            result[i] = state in final
            continue
        at = state
        for character in piece:
            if (at, character) not in steps:
                break
            at = steps[(at, character)]
        else:
            result[i] = True
    return result""", """\
def allowed(pieces, steps, final, state):
    from functools import reduce
    ends = [reduce(lambda at, c: steps.get((at, c), "dead"), piece or "", state) for piece in pieces]
    may = [end != "dead" for end in ends]
    if None in pieces:
        may[pieces.index(None)] = state in final
    return torch.BoolTensor(may)""",
    ),
    twin=allowed_twin,
)  # fmt: skip


# 07.10


def typical_twin(rng: random.Random) -> Question:
    n = rng.randint(5, 60)
    return Question(
        f"One token has probability ½, and {n} others share the rest evenly. How far, in nats, is the first token's "
        "surprise from the entropy?", 0.5 * math.log(n),
        f"Surprises are ln 2 and ln {2 * n}; the entropy is their mean, ½ ln 2 + ½ ln {2 * n}, which is ½ ln {n} more "
        "than ln 2.", 0.02,
    )  # fmt: skip


def typical_cases() -> list[tuple]:
    """The likeliest cut and kept, logits that are not normalised, minus infinities, one token."""
    a, b, c, d, e, wide = normal(80, (2, 5), (3, 8), (1, 12), (4, 7), (9, 6), (1, 26))
    holes = 2 * d
    holes[0, 2] = holes[2, 0] = holes[2, 5] = -math.inf
    sure = torch.full((2, 4), -math.inf)
    sure[0, 3], sure[1, 0], sure[1, 2] = 1.5, 0.3, -0.8
    tail = torch.tensor([[0.55, 0.2] + [0.005] * 50]) + torch.linspace(0, 1e-3, 52)
    flat = torch.tensor([[0.3] + [0.07] * 10]) + torch.linspace(0, 1e-3, 11)
    return [
        (torch.tensor([[0.1, 0.7, 0.04, 0.16]]).log(), 0.8),
        (torch.tensor([[0.4, 0.31, 0.18, 0.11], [0.05, 0.25, 0.1, 0.6]]).log(), 0.3),
        (2 * a + 3, 0.55), (1.5 * b - 1, 0.9), (2.5 * c, 0.2), (holes, 0.75), (sure, 0.6),
        (flat.log(), 0.5), (torch.tensor([[-2.0]]), 1.0), (3 * b, 0.02), (e, 0.4), (wide, 0.36), (tail.log(), 0.15),
    ]  # fmt: skip


ENTROPY = "torch.special.entr(probs).sum(dim=-1, keepdim=True)"
DISTANCE = "(-probs.log() - entropy).abs()"
ORDERED = "ordered = probs.gather(-1, order)"
OUT = "ordered.cumsum(dim=-1) - ordered >= mass"
PUT_BACK = "torch.zeros_like(out).scatter(-1, order, out)"
NEAREST = "Write down the entropy, and each token's surprise and distance. Is the likeliest token always the nearest?"
BACK_IN_PLACE = "What is at place 0 of `out`: token 0, or the token that is nearest to the entropy?"
TYPICAL = Exercise(
    cases=typical_cases,
    mutants=(
        Mutant("top_p", DISTANCE, "-probs",
               "the least surprising tokens are taken first: that is top-p", NEAREST),
        Mutant("signed", DISTANCE, "-probs.log() - entropy",
               "the least surprising tokens are taken first: that is top-p", NEAREST),
        Mutant("signed_back", DISTANCE, "entropy + probs.log()",
               "the most surprising tokens are taken first", NEAREST),
        Mutant("farthest", "distance.argsort(dim=-1)", "distance.argsort(dim=-1, descending=True)",
               "the tokens farthest from the entropy are taken first", NEAREST),
        Mutant("no_entropy", DISTANCE, "-probs.log()",
               "the least surprising tokens are taken first: that is top-p", NEAREST),
        Mutant("entropy_negative", ENTROPY, "-" + ENTROPY,
               "the least surprising tokens are taken first: that is top-p", NEAREST),
        Mutant("entropy_plus", DISTANCE, "(-probs.log() + entropy).abs()",
               "the least surprising tokens are taken first: that is top-p", NEAREST),
        Mutant("entropy_nan", ENTROPY, "-(probs * probs.log()).sum(dim=-1, keepdim=True)",
               "0 · ln 0 is computed as it stands, and is NaN",
               "What does your computer say that 0 · log(0) is, and what should it be here?"),
        Mutant("entropy_bits", ENTROPY, ENTROPY + " / math.log(2)",
               "the entropy is in bits and the surprise in nats", "In which unit are your two numbers?"),
        Mutant("entropy_mean", ENTROPY, "torch.special.entr(probs).mean(dim=-1, keepdim=True)",
               "the least surprising tokens are taken first: that is top-p", NEAREST),
        Mutant("mean_surprise", ENTROPY, "(-probs.log()).masked_fill(probs == 0, 0.0).mean(dim=-1, keepdim=True)",
               "surprises are averaged without their probabilities",
               "How much should a token count for the expected surprise that hardly ever comes?"),
        Mutant("one_entropy", ENTROPY, "torch.special.entr(probs).sum()",
               "the entropies of all rows are added up", "How many entropies are there?"),
        Mutant("first_entropy", ENTROPY, "torch.special.entr(probs[:1]).sum()",
               "the entropy of the first row is used for all of them", "How many entropies are there?"),
        Mutant("mean_entropy", ENTROPY, "torch.special.entr(probs).sum(dim=-1).mean()",
               "the mean entropy of all rows is used", "How many entropies are there?"),
        Mutant("over_batch", ENTROPY, "torch.special.entr(probs).sum(dim=0, keepdim=True)",
               "the entropy is summed over the batch", "Which numbers belong to one distribution?"),
        Mutant("of_logits", "probs = logits.softmax(dim=-1)", "probs = logits.exp()",
               "logits are taken for logarithms of probabilities", "What does e to the power of the logits add up to?"),
        Mutant("raw_surprise", DISTANCE, "(-logits - entropy).abs()",
               "logits are taken for logarithms of probabilities", "What does e to the power of the logits add up to?"),
        Mutant("softmax_over_batch", "logits.softmax(dim=-1)", "logits.softmax(dim=0)",
               "the softmax runs over the batch", "Which numbers belong to one distribution?"),
        Mutant("probability_distance", DISTANCE, "(probs - (-entropy).exp()).abs()",
               "distances are measured between probabilities instead of surprises",
               "Is a token of half the typical probability as far away as one of twice?"),
        Mutant("terms", DISTANCE, "(torch.special.entr(probs) - entropy).abs()",
               "−p ln p is taken for the surprise", "How surprising is a token of probability p?"),
        Mutant("effective", DISTANCE, "(1 / probs - entropy.exp()).abs()",
               "distances are measured between 1/p and exp(H) instead of their logarithms",
               "Is a token of half the typical probability as far away as one of twice?"),
        Mutant("squared_probability", DISTANCE, "(probs - probs.square().sum(dim=-1, keepdim=True)).abs()",
               "tokens are compared with the mean probability instead of the entropy",
               "Where in your code is a logarithm?"),
        Mutant("crossing_dropped", OUT, "ordered.cumsum(dim=-1) > mass",
               "the token that crosses the mass is dropped",
               "The nearest token has probability 0.7 and mass is 0.5. Which tokens should be left?"),
        Mutant("crossing_dropped_reached", OUT, "ordered.cumsum(dim=-1) >= mass",
               "the token that crosses the mass, or reaches it exactly, is dropped",
               "The nearest token has probability 0.7 and mass is 0.5. Which tokens should be left?"),
        Mutant("crossing_dropped_but_first", "out = " + OUT,
               "out = ordered.cumsum(dim=-1) > mass\n    out[:, 0] = False",
               "the nearest token is rescued, but elsewhere the one that crosses the mass is dropped",
               "Probabilities 0.4 and 0.3 come first, mass is 0.5. Which tokens should be left?"),
        Mutant("one_too_many", "out = " + OUT,
               "out = ordered.cumsum(dim=-1) - ordered >= mass\n    out[:, 1:] = out[:, :-1].clone()\n"
               "    out[:, 0] = False",
               "one token more than needed stays", "When those ahead have reached the mass, is one more needed?"),
        Mutant("distance_summed", ORDERED, "ordered = distance.gather(-1, order)",
               "distances are added up instead of probabilities",
               "Of what should the tokens that stay have enough together?"),
        Mutant("distance_bound", "out = " + OUT, "out = distance.gather(-1, order) > mass",
               "every token stays that is nearer than `mass`",
               "Of what should the tokens that stay have enough together?"),
        Mutant("not_ordered", ORDERED, "ordered = probs",
               "the probabilities are added up in the order of the ids",
               "In which order do the tokens have to be for the running sum?"),
        Mutant("by_probability", ORDERED, "ordered = probs.sort(dim=-1, descending=True).values",
               "the probabilities are sorted by themselves, and no longer belong to the order of the distances",
               "Which token's probability is at place 0?"),
        Mutant("not_put_back", PUT_BACK, "out",
               "what was found out in sorted order is applied to the tokens where they stand", BACK_IN_PLACE),
        Mutant("gathered_back", PUT_BACK, "out.gather(-1, order)",
               "gather with `order` does not undo the sort", BACK_IN_PLACE),
        Mutant("scattered_to", ORDERED, "ordered = torch.zeros_like(probs).scatter(-1, order, probs)",
               "scatter does not bring the probabilities into order, it is the way back",
               "Which of gather and scatter reads from the places that it is given?"),
        Mutant("sorted_returned", "return logits.masked_fill(" + PUT_BACK + ", -math.inf)",
               "return logits.gather(-1, order).masked_fill(out, -math.inf)",
               "the logits come back in the order of the distances", BACK_IN_PLACE),
        Mutant("first_rows", "order = distance.argsort(dim=-1)",
               "order = distance[:1].argsort(dim=-1).expand_as(distance)",
               "the order of the first row is used for all of them", "Is the nearest token the same in every row?"),
        Mutant("argsort_batch", "distance.argsort(dim=-1)", "distance.argsort(dim=0)",
               "the order is that of the batch instead of the vocabulary",
               "Which numbers have to be sorted: of a row, or of a column?"),
        Mutant("likeliest_kept", "return logits.masked_fill(" + PUT_BACK + ", -math.inf)",
               "kept = logits.masked_fill(" + PUT_BACK + ", -math.inf)\n"
               "    best = logits.argmax(dim=-1, keepdim=True)\n"
               "    return kept.scatter(-1, best, logits.gather(-1, best))",
               "the likeliest token is always kept", "May a very likely token be cut?"),
        Mutant("inverted", "-math.inf)", "math.inf)",
               "tokens that are out get plus infinity", "Which logit has probability 0?"),
        Mutant("zero", ", -math.inf)", ", 0.0)",
               "tokens that are out get a logit of 0", "Which probability does a softmax give to a logit of 0?"),
        Mutant("complement", PUT_BACK, "~" + PUT_BACK,
               "what should stay is cut, and the rest stays", NEAREST),
        Mutant("probs_returned", "return logits.masked_fill(" + PUT_BACK + ", -math.inf)",
               "return probs.masked_fill(" + PUT_BACK + ", 0.0)",
               "probabilities are returned instead of logits", "What should come back?"),
        Mutant("shared_returned", "return logits.masked_fill(" + PUT_BACK + ", -math.inf)",
               "kept = probs.masked_fill(" + PUT_BACK + ", 0.0)\n    return kept / kept.sum(dim=-1, keepdim=True)",
               "probabilities are returned instead of logits", "What should come back?"),
        Mutant("logs_returned", "return logits.masked_fill", "return probs.log().masked_fill",
               "logarithms of probabilities are returned instead of the logits as they were",
               "Should the logits of the tokens that stay change?"),
        Mutant("in_place", "return logits.masked_fill(", "return logits.masked_fill_(",
               "the caller's own logits are cut", "What does the underscore at the end of a method's name mean?"),
        Mutant("same_number", "    return logits",
               "    count = int((~out).sum(dim=-1).max())\n"
               "    out = torch.arange(out.shape[1]).expand_as(out) >= count\n"
               "    return logits",
               "all rows keep as many tokens as the row that needs most",
               "A sure row and an unsure one in the same batch: how many tokens should each keep?"),
    ),
    variants=("""\
def typical(logits, mass):
    result = torch.full_like(logits, -math.inf)
    for b, row in enumerate(torch.softmax(logits, dim=-1).tolist()):
        H = -sum(p * math.log(p) for p in row if p > 0)
        total = 0.0
        for i in sorted((i for i, p in enumerate(row) if p > 0), key=lambda i: abs(-math.log(row[i]) - H)):
            if total >= mass:
                break
            result[b, i] = logits[b, i]
            total += row[i]
    return result""", """\
def typical(logits, mass):
    logs = torch.log_softmax(logits, dim=-1)
    H = -(logs * logs.exp()).nansum(-1, keepdim=True)
    shifted = (-logs - H).abs()
    order = torch.sort(shifted, dim=-1).indices
    sums = logits.gather(-1, order).softmax(-1).cumsum(-1)
    last = (sums < mass).sum(-1, keepdim=True).clamp(max=logits.shape[-1] - 1)
    bound = shifted.gather(-1, order).gather(-1, last)
    return torch.where(shifted > bound, -math.inf, logits)""", """\
def typical(logits, mass):
    d = torch.distributions.Categorical(logits=logits)
    gap = (d.logits + d.entropy()[:, None]).abs()
    order = gap.argsort(-1)
    p = d.probs.gather(-1, order)
    ahead = torch.nn.functional.pad(p, (1, 0))[:, :-1].cumsum(-1)
    stays = (ahead < mass).gather(-1, order.argsort(-1))
    kept = logits.clone()
    kept[~stays] = -math.inf
    return kept""",
    ),
    properties=(
        Property(lambda y, logits, mass: (y > -math.inf).any(-1).all(), "A row has no token left to draw."),
        Property(lambda y, logits, mass: ((y == logits) | (y == -math.inf)).all(),
                 "A logit is neither what it was nor minus infinity."),
    ),
    twin=typical_twin,
)  # fmt: skip


EXERCISES = {
    "greedy_is_not_best": GREEDY_IS_NOT_BEST,
    "top_p": TOP_P,
    "sample_step": SAMPLE_STEP,
    "decode_step": DECODE_STEP,
    "cache_bytes": CACHE_BYTES,
    "left_padded": LEFT_PADDED,
    "accept": ACCEPT,
    "repeats": REPEATS,
    "allowed": ALLOWED,
    "typical": TYPICAL,
}


def tempered(rng: random.Random) -> Question:
    """A probability at another temperature."""
    p, temperature = rng.randint(11, 19) / 20, rng.choice([0.5, 2.0])
    a, b = p ** (1 / temperature), (1 - p) ** (1 / temperature)
    what = "squared" if temperature == 0.5 else "replaced by its root"
    return Question(
        f"Two tokens with probabilities {p:g} and {1 - p:.2g}. With temperature {temperature:g}, which probability "
        "has the first?", a / (a + b), f"Each probability is {what}, and the two are divided by their sum.", 0.01,
    )  # fmt: skip


def kept_by_min_p(rng: random.Random) -> Question:
    """How many tokens min-p keeps."""
    counts = sorted(rng.sample(range(2, 40), 6), reverse=True)
    total, bar = sum(counts), rng.choice([0.1, 0.2, 0.3, 0.5])
    kept = sum(count + 1e-9 >= bar * counts[0] for count in counts)
    return Question(
        f"Probabilities {', '.join(f'{count}/{total}' for count in counts)}. How many tokens does min-p with {bar} "
        "keep?", kept, f"Those with at least {bar} times the largest, {bar * counts[0]:g}/{total}.",
    )  # fmt: skip


def bytes_of_a_token(rng: random.Random) -> Question:
    layers, kv_heads, size = rng.choice([6, 12, 28, 36]), rng.choice([2, 4, 8]), rng.choice([64, 128])
    return Question(
        f"{layers} layers, {kv_heads} key/value heads of {size}, two bytes a number. By how many bytes does the KV "
        "cache of one sequence grow with each token?", 2 * layers * kv_heads * size * 2,
        f"A key and a value in each layer: 2 · {layers} · {kv_heads} · {size} numbers, of 2 bytes.",
    )  # fmt: skip


def tokens_a_pass(rng: random.Random) -> Question:
    alpha, ahead = rng.choice([0.5, 0.6, 0.7, 0.9]), rng.randint(2, 5)
    return Question(
        f"A draft proposes {ahead} tokens; each is accepted with probability {alpha}, independently, until the first "
        "that is not. How many tokens does one pass of the large model give on average?",
        (1 - alpha ** (ahead + 1)) / (1 - alpha),
        f"1 + {alpha} + … + {alpha}^{ahead}: the large model adds a token of its own after those that were accepted.",
        0.02,
    )  # fmt: skip


def accepted_share(rng: random.Random) -> Question:
    """How often a guess stays: the sum of min(p, q)."""
    p, q = (rng.sample([1, 2, 3, 4, 5], 3) for _ in range(2))
    a, b = ([x / sum(w) for x in w] for w in (p, q))
    shown = "; ".join(", ".join(f"{x}/{sum(w)}" for x in w) for w in (p, q))
    return Question(
        f"Three tokens: the large model and the draft give them the probabilities {shown}. Which share of the draft's "
        "tokens is accepted?", sum(map(min, a, b)),
        "A token is drafted and kept with probability min(p, q); add them up.", 0.01,
    )  # fmt: skip


def wasted_slots(rng: random.Random) -> Question:
    lengths = rng.sample(range(5, 60), 4)
    longest = max(lengths)
    return Question(
        f"Four answers of {', '.join(map(str, lengths))} tokens are written in one static batch, which ends with the "
        "longest. How many of the steps of its four rows are wasted?", 4 * longest - sum(lengths),
        f"Each row takes {longest} steps, and {sum(lengths)} of the {4 * longest} give a token that is wanted.",
    )  # fmt: skip


RECALL = (tempered, kept_by_min_p, bytes_of_a_token, tokens_a_pass, accepted_share, wasted_slots)
PREDICTIONS = {
    "07.p1": Prediction(
        "A temperature of 0.5 is applied to the probabilities 0.8 and 0.2. What does the first become?",
        lambda: 0.8**2 / (0.8**2 + 0.2**2),
        "Logits divided by 0.5 are logits doubled, so that each probability is squared: 0.64 and 0.04. Divided by "
        "their sum, 0.68, the first is 0.94.",
        0.02,
    ),
    "07.p2": Prediction(
        "Greedy decoding writes 100 tokens. Which share of its 4-grams has occurred before in them?",
        None,
        "Once a phrase has come back, the last tokens are the same as one round before. They decide what comes next, "
        "so the same token follows, and greedy decoding never tries anything else.",
        0.15,
    ),
    "07.p3": Prediction(
        "A KV cache for one sequence: 12 layers, 12 heads of 64, fp16, 1,024 tokens. How many MiB is it?",
        lambda: 2 * 12 * 12 * 64 * 1024 * 2 / 2**20,
        "A key and a value, each of 12 · 64 numbers of 2 bytes, in 12 layers: 36 KiB a token, and 1,024 tokens.",
        0.02,
    ),
    "07.p4": Prediction(
        "A draft proposes 4 tokens, each is accepted with probability 0.8, independently. How many tokens does a pass "
        "of the large model give on average?",
        lambda: (1 - 0.8**5) / (1 - 0.8),
        "The first token always comes, the second with probability 0.8, the third with 0.8², …, the fifth with 0.8⁴: "
        "the sum is (1 − 0.8⁵) / 0.2 = 3.36.",
        0.05,
    ),
    "07.p5": Prediction(
        "Exhibit 7 of the museum: two evaluations of the same weights differ. Is it the seed, dropout, the temperature "
        "or the batch?",
        lambda: "dropout",
        "The model was evaluated in training mode, and dropout chooses anew each time.",
    ),
}
