"""Lesson 20, a mixture of experts: cases, and the wrong ideas that people have about it.

N tokens, C features, E experts, k of them for each token: sizes are pairwise distinct wherever an exercise allows it.
"""
import math
import random

import torch

from ...config import ModelConfig
from . import Exercise, Mutant, Prediction, Property, Question, normal


def adds_up(rows: torch.Tensor) -> bool:
    return torch.allclose(rows.sum(-1), torch.ones(()), atol=1e-4)


# 20.1


def share_twin(rng: random.Random) -> Question:
    shared, expert, k = rng.randint(3, 30), rng.randint(5, 20), rng.randint(1, 4)
    E = k * rng.randint(2, 8)
    return Question(
        f"{shared} million parameters are shared, each of {E} experts has {expert} million, and a token uses {k}. "
        "Which share of all parameters works on a token, from 0 to 1?",
        (shared + k * expert) / (shared + E * expert),
        f"{shared} + {k} · {expert} million of {shared} + {E} · {expert} million.", 0.01,
    )  # fmt: skip


SHARED_TOO = "Which parts of a model does every token use, whatever its experts are?"
ONCE = "How many attentions and embeddings are there in a model with eight experts?"
ALL_PLACES = "What is 1/3 of 45 billion parameters, and what is 0.33 of them? Does the statement ask to round?"
ACTIVE_SHARE = Exercise(
    cases=lambda: [(20, 10, 8, 2), (5, 10, 4, 1), (7, 3, 9, 9), (0, 4, 6, 5), (100, 1, 64, 3), (12, 30, 1, 1)],
    mutants=(
        Mutant("experts_only", "active / total", "k / E",
               "only the experts are counted, as if nothing were shared", SHARED_TOO),
        Mutant("shared_not_active", "shared + k * expert", "k * expert",
               "the shared parameters are missing from what works on a token", SHARED_TOO),
        Mutant("shared_not_total", "shared + E * expert", "E * expert",
               "the shared parameters are missing from the whole", SHARED_TOO),
        Mutant("whole_models", "shared + E * expert", "E * (shared + expert)",
               "the shared parameters are counted once for each expert", ONCE),
        Mutant("shared_k_times", "shared + k * expert", "k * (shared + expert)",
               "the shared parameters are counted k times in what works on a token", ONCE),
        Mutant("one_expert", "k * expert", "expert",
               "a token is taken to use one expert, whatever k is",
               "How many experts see a token when k is 2?"),
        Mutant("inverted", "active / total", "total / active",
               "the whole is divided by the part",
               "May the share of a whole be larger than 1?"),
        Mutant("idle", "active / total", "1 - active / total",
               "the share is that of the parameters that do nothing for the token",
               "What should the share be when k is E?"),
        Mutant("active", "active / total", "active",
               "the active parameters themselves are returned",
               "Is your result between 0 and 1?"),
        Mutant("both", "active / total", "active, total",
               "both counts are returned instead of one divided by the other",
               "Which single number says how much of the model works?"),
        Mutant("per_cent", "active / total", "100 * active / total",
               "the share comes in per cent",
               "Which number stands for all of it, 1 or 100?"),
        Mutant("whole_division", "active / total", "active // total",
               "the division drops what comes after the point",
               "What is 15 // 45 in Python?"),
        Mutant("to_the_rest", "active / total", "active / (total - active) if total > active else math.inf",
               "the active part is divided by the idle part instead of the whole",
               "What should the share be when half of the parameters work?"),
        Mutant("dense_mlp_kept", "", """\
def active_share(shared, expert, E, k):
    return (shared + expert + k * expert) / (shared + expert + E * expert)""",
               "the old MLP is counted beside the experts",
               "Does a block keep its one MLP when the experts take its place?"),
        Mutant("of_one", "", """\
def active_share(shared, expert, E, k):
    return (shared + k * expert) / (shared + expert) / E""",
               "the shared parameters are counted once for each expert", ONCE),
        Mutant("compared_with_dense", "shared + E * expert", "shared + expert",
               "the whole has only one expert in it",
               "How many experts must the memory hold, those in use or all?"),
        Mutant("mean_of_shares", "active / total", "(1 + k / E) / 2",
               "the shares of the shared part and of the experts are averaged, whatever their sizes",
               "Are there as many shared parameters as there are in the experts?"),
        Mutant("shared_k_times_capped", "active / total", "min(1.0, k * (shared + expert) / total)",
               "the shared parameters are counted k times in what works on a token", ONCE),
        Mutant("rounded", "active / total", "round(active / total, 2)", "the share is rounded", ALL_PLACES),
        Mutant("rounded_3", "active / total", "round(active / total, 3)", "the share is rounded", ALL_PLACES),
        Mutant("rounded_4", "active / total", "round(active / total, 4)", "the share is rounded", ALL_PLACES),
    ),
    variants=("""\
def active_share(shared, expert, E, k):
    return 1 - (E - k) * expert / (shared + E * expert)""", """\
def active_share(shared, expert, E, k):
    sizes = [shared] + E * [expert]
    return sum(sizes[: k + 1]) / sum(sizes)""", """\
def active_share(shared, expert, E, k):
    used = torch.tensor([1.0] + [1.0] * k + [0.0] * (E - k))
    size = torch.tensor([float(shared)] + [float(expert)] * E)
    return (used @ size / size.sum()).item()""",
    ),
    properties=(
        Property(lambda share, *_: 0 <= share <= 1 + 1e-9, "A share lies between 0 and 1; yours does not."),
        Property(lambda share, shared, expert, E, k: k < E or abs(share - 1) < 1e-6,
                 "When every expert is used all parameters work, and your share is not 1."),
    ),
    twin=share_twin,
)  # fmt: skip


# 20.2


def route_twin(rng: random.Random) -> Question:
    a, b, c = sorted(rng.sample(range(2, 12), 3), reverse=True)
    return Question(
        f"A router has three experts, and gives a token the scores ln {c}, ln {a} and ln {b}. It uses two of them, "
        "with weights that add up to one. What is the larger weight?", a / (a + b),
        f"The probabilities are {c}, {a} and {b} parts of {a + b + c}; the two largest share one unit.", 0.01,
    )  # fmt: skip


def route_cases() -> list[tuple]:
    """Also N = k and N = E, where a missing keepdim passes; k = 1 and k = E; one token; scores that overflow an exp."""
    shapes = ((5, 7, 6, 2), (3, 4, 5, 3), (1, 5, 4, 2), (8, 3, 5, 1), (6, 2, 3, 3), (7, 8, 9, 4))
    cases = []
    for i, (N, C, E, k) in enumerate(shapes):
        x, w = normal(200 + i, (N, C), (E, C))
        cases.append((x, w, k))
    x, w = normal(209, (4, 6), (7, 6))
    cases.append((30 * x, w, 2))
    x, w = normal(210, (6, 6), (6, 6))
    cases.append((x, w, 3))
    return cases


PROBS = "probs = torch.softmax(x @ w.T, dim=-1)"
KEPT = "weights, experts = probs.topk(k, dim=-1)"
DIVIDED = "if k > 1:\n        weights = weights / weights.sum(dim=-1, keepdim=True)"
COMPETE = "Which numbers belong to one token: a row of the (N, E) table, or a column?"
UNIT = "What do the weights of one token add up to when k is 2?"
ROUTE = Exercise(
    cases=route_cases,
    mutants=(
        Mutant("not_divided", DIVIDED, "",
               "the kept probabilities are not divided by their sum", UNIT),
        Mutant("always_divided", "if k > 1:\n        weights", "if k > 0:\n        weights",
               "the one weight of k = 1 is divided by itself",
               "What is p / p, and how does it change when the router changes its mind?"),
        Mutant("always_divided_softmax", "", """\
def route(x, w, k):
    scores, experts = (x @ w.T).topk(k, dim=-1)
    return torch.softmax(scores, dim=-1), experts""",
               "the one weight of k = 1 is divided by itself",
               "What is p / p, and how does it change when the router changes its mind?"),
        Mutant("softmax_over_tokens", "x @ w.T, dim=-1", "x @ w.T, dim=0",
               "the softmax runs over the tokens instead of the experts", COMPETE),
        Mutant("tokens_everywhere", PROBS + "\n    " + KEPT, "probs = torch.softmax(x @ w.T, dim=0)\n"
               "    weights, experts = probs.T.topk(k, dim=0)\n    weights, experts = weights.T, experts.T",
               "the softmax runs over the tokens instead of the experts", COMPETE),
        Mutant("softmax_again", "weights = weights / weights.sum(dim=-1, keepdim=True)",
               "weights = torch.softmax(weights, dim=-1)",
               "a softmax is taken of what are probabilities already",
               "What does a softmax do to numbers that all lie between 0 and 1?"),
        Mutant("softmax_twice", PROBS, PROBS + ".softmax(dim=-1)",
               "a softmax is taken of probabilities before the choice",
               "What does a softmax do to numbers that all lie between 0 and 1?"),
        Mutant("scores", PROBS, "probs = x @ w.T",
               "the scores are used as if they were probabilities",
               "May a weight be negative?"),
        Mutant("exp_only", PROBS, "probs = (x @ w.T).exp()",
               "the exponentials are never divided by their sum over the experts",
               "What is exp(100) in float32, and what is the weight of k = 1?"),
        Mutant("sigmoid", PROBS, "probs = torch.sigmoid(x @ w.T)",
               "each score is squashed by itself, without looking at the other experts",
               "Where do the experts compete with each other?"),
        Mutant("log_softmax", "torch.softmax(", "torch.log_softmax(",
               "the probabilities are logarithms",
               "May a probability be negative?"),
        Mutant("scaled", "x @ w.T, dim", "x @ w.T / math.sqrt(x.shape[1]), dim",
               "the scores are divided by √C, as in attention",
               "Does the statement say that a router's score is scaled?"),
        Mutant("cosine", "x @ w.T, dim", "F.normalize(x, dim=-1) @ F.normalize(w, dim=-1).T, dim",
               "tokens and rows of the router are divided by their lengths first",
               "May the router be surer of a longer vector?"),
        Mutant("absolute", "x @ w.T, dim", "(x @ w.T).abs(), dim",
               "a very negative score counts as a high one",
               "Does a score of -5 say yes or no?"),
        Mutant("smallest", "topk(k, dim=-1)", "topk(k, dim=-1, largest=False)",
               "the least likely experts are chosen",
               "Which experts should a token be sent to?"),
        Mutant("ascending", "return weights, experts", "return weights.flip(-1), experts.flip(-1)",
               "the largest weight comes last",
               "In which order should the experts of a token come?"),
        Mutant("argsort_ascending", KEPT, "experts = probs.argsort(dim=-1)[:, -k:]\n    weights = probs.gather(-1, "
               "experts)",
               "the largest weight comes last",
               "Does argsort begin with the smallest or with the largest?"),
        Mutant("argsort_smallest", KEPT, "experts = probs.argsort(dim=-1)[:, :k]\n    weights = probs.gather(-1, "
               "experts)",
               "the least likely experts are chosen, the very least first",
               "Does argsort begin with the smallest or with the largest?"),
        Mutant("by_number", "return weights, experts",
               "experts, order = experts.sort(dim=-1)\n    return weights.gather(-1, order), experts",
               "the experts are in the order of their numbers instead of their weights",
               "In which order should the experts of a token come?"),
        Mutant("only_experts_sorted", "return weights, experts", "return weights, experts.sort(dim=-1).values",
               "the experts have been sorted and their weights have not moved along",
               "To which expert does the first weight of a row belong?"),
        Mutant("weights_by_number", KEPT, "experts = probs.topk(k, dim=-1).indices\n"
               "    weights = probs[:, :k]",
               "the weights are those of the first k experts, not of the chosen ones",
               "In which column of the probabilities does the weight of expert 5 stand?"),
        Mutant("divided_by_all_tokens", "sum(dim=-1, keepdim=True)", "sum(dim=0, keepdim=True)",
               "each column of the weights is divided by its sum over the tokens", UNIT),
        Mutant("divided_by_everything", "weights.sum(dim=-1, keepdim=True)", "weights.sum()",
               "all weights together add up to one, instead of those of each token", UNIT),
        Mutant("no_keepdim", "dim=-1, keepdim=True", "dim=-1",
               "the sums of the tokens are lined up with the columns",
               "A shape (N, k) is divided by (N,): with which axis does PyTorch line up the N numbers?"),
        Mutant("divided_by_largest", "weights.sum(dim=-1, keepdim=True)", "weights[:, :1]",
               "the weights are divided by the largest of them", UNIT),
        Mutant("divided_by_length", "weights.sum(dim=-1, keepdim=True)", "weights.norm(dim=-1, keepdim=True)",
               "the weights are divided by their length as a vector", UNIT),
        Mutant("divided_by_k", "weights.sum(dim=-1, keepdim=True)", "k",
               "the weights are divided by k", UNIT),
        Mutant("equal", "weights / weights.sum(dim=-1, keepdim=True)", "torch.full_like(weights, 1 / k)",
               "all k experts get the same weight",
               "How does the output tell that the router was surer of one expert than of another?"),
        Mutant("two", "topk(k, dim=-1)", "topk(2, dim=-1)",
               "two experts are chosen, whatever k is",
               "Where in your code does k come in?"),
        Mutant("one", "", """\
def route(x, w, k):
    weights, experts = torch.softmax(x @ w.T, dim=-1).max(dim=-1)
    return weights, experts""",
               "only the best expert is chosen, whatever k is",
               "Where in your code does k come in?"),
        Mutant("swapped", "return weights, experts", "return experts, weights",
               "the two results come in the wrong order",
               "Which of the two should come first?"),
        Mutant("only_experts", "return weights, experts", "return experts",
               "only the experts are returned",
               "Which two things should come back?"),
        Mutant("only_weights", "return weights, experts", "return weights",
               "only the weights are returned",
               "Which two things should come back?"),
        Mutant("float_experts", "return weights, experts", "return weights, experts.float()",
               "the numbers of the experts are floats",
               "Can `x[1.0]` be an index?"),
        Mutant("one_hot", "return weights, experts", "return torch.zeros_like(probs).scatter(-1, experts, weights), "
               "experts",
               "the weights come as a row of all E experts, with zeros",
               "Which shape should the weights have?"),
        Mutant("not_transposed", "x @ w.T", "x @ w",
               "the router's matrix is not transposed",
               "Is a row of `w` what one expert listens to, or a column?"),
        Mutant("reshaped", "x @ w.T", "x @ w.reshape(w.shape[1], w.shape[0])",
               "the router's matrix is reshaped where it should be transposed",
               "Does `reshape` move any number past another?"),
        Mutant("tokens_chosen", "topk(k, dim=-1)", "topk(k, dim=0)",
               "each expert chooses tokens instead of the other way round", COMPETE),
        Mutant("k_greater_divided_only", "if k > 1:", "if k > 2:",
               "with k = 2 the kept probabilities are not divided by their sum", UNIT),
    ),
    variants=("""\
def route(x, w, k):
    scores = torch.einsum("nc,ec->ne", x, w)
    top, experts = torch.topk(scores, k)
    if k == 1:
        return torch.exp(top - torch.logsumexp(scores, dim=-1, keepdim=True)), experts
    return F.softmax(top, dim=-1), experts""", """\
def route(x, w, k):
    weights, experts = [], []
    for row in F.linear(x, w):
        p = (row - row.max()).exp()
        p = (p / p.sum()).tolist()
        order = sorted(range(len(p)), key=lambda e: -p[e])[:k]
        total = sum(p[e] for e in order) if k > 1 else 1.0
        weights.append([p[e] / total for e in order])
        experts.append(order)
    return torch.tensor(weights), torch.tensor(experts)""", """\
def route(x, w, k):
    p = F.softmax(x.matmul(w.transpose(0, 1)), 1)
    experts = p.argsort(dim=1, descending=True)[:, :k]
    weights = torch.gather(p, 1, experts)
    return (weights, experts) if k == 1 else (F.normalize(weights, p=1, dim=1), experts)""", """\
def route(x, w, k):
    ordered = torch.softmax(x @ w.T, -1).sort(dim=-1, descending=True)
    weights, experts = ordered.values[:, :k], ordered.indices[:, :k]
    if k != 1:
        weights = weights / weights.sum(-1)[:, None]
    return [weights, experts]""",
    ),
    properties=(
        Property(lambda y, x, w, k: k == 1 or adds_up(y[0]), "The weights of a token do not add up to one."),
        Property(lambda y, x, w, k: k == 1 or (y[0][:, :-1] >= y[0][:, 1:]).all(),
                 "The weights of a token do not begin with the largest."),
        Property(lambda y, x, w, k: all(len(set(row)) == k for row in y[1].tolist()), "A token uses an expert twice."),
    ),
    twin=route_twin,
)  # fmt: skip


# 20.3 and 20.5


def bends(seed: int, E: int, C: int) -> list:
    """E experts that are not linear, and give something for a row of zeros too."""
    pairs = [normal(1000 * seed + e, (C, C), (C,)) for e in range(E)]
    return [lambda rows, a=a, b=b: torch.tanh(rows @ a) + b for a, b in pairs]


def mixture_cases() -> list[tuple]:
    """N, C, E, k: experts without tokens, the last among them, one with all of them, one token, k = 1, k = E, N = C."""
    cases = []
    sizes = ((7, 5, 4, 2), (5, 3, 6, 3), (1, 4, 3, 2), (6, 2, 5, 1), (4, 6, 3, 3), (3, 3, 9, 2))
    for seed, (N, C, E, k) in enumerate(sizes):
        x, scores = normal(300 + seed, (N, C), (N, E))
        if seed == 0:
            scores[:, 3] = -9.0  # the last expert gets nothing
            scores[:, 1] = 9.0  # and this one everything
        weights, experts = torch.softmax(scores, dim=-1).topk(k, dim=-1)
        cases.append((x, weights / weights.sum(-1, keepdim=True) if k > 1 else weights, experts, bends(seed, E, C)))
    x, weights = normal(310, (8, 4), (8, 2))
    experts = torch.tensor([[4, 2], [2, 4], [0, 4], [4, 0], [2, 0], [0, 2], [4, 2], [2, 0]])
    cases.append((x, torch.softmax(weights, dim=-1), experts, bends(9, 6, 4)))  # not the largest first
    return cases


def counted(function, x, weights, experts, mlps):
    """The output, and the rows that each expert has been given."""
    rows = [0] * len(mlps)

    def counting(e, mlp):
        def call(batch):
            rows[e] += batch.numel() // x.shape[1]
            return mlp(batch)

        return call

    output = function(x, weights, experts, [counting(e, mlp) for e, mlp in enumerate(mlps)])
    return {"output": output, "rows given to each expert": rows}


def mixture_twin(rng: random.Random) -> Question:
    a, b = rng.sample(range(2, 10), 2)
    x, part = rng.randint(2, 9), rng.choice([0.25, 0.75])
    return Question(
        f"A token is the number {x}. It has the weight {part} for an expert that multiplies by {a}, and {1 - part} for "
        f"one that squares and adds {b}. What does the layer say?", part * a * x + (1 - part) * (x * x + b),
        f"{part} · {a * x} + {1 - part} · {x * x + b}: the experts see the token as it is, then their outputs are "
        f"weighted.", 0.01,
    )  # fmt: skip


WHERE = "token, place = torch.where(experts == e)"
OUT = "out = weights[token, place, None] * mlp(x[token])"
LOOP = "        " + WHERE + "\n        " + OUT + "\n        y[token] += out"
OWN = "Which tokens have asked for this expert, and who pays for the others?"
WHOSE_WEIGHT = "Token n has k weights. Which of them belongs to this expert?"
SEVERAL = "A token has k experts. What is left of the first one's output when the second has been written?"
MOE_FORWARD = Exercise(
    cases=mixture_cases,
    use=counted,
    mutants=(
        Mutant("overwritten", "y[token] += out", "y[token] = out",
               "each expert overwrites what the ones before it have said", SEVERAL),
        Mutant("no_weight", "weights[token, place, None] * ", "",
               "the outputs of a token's experts are added without their weights",
               "How does the output tell which expert the router was surer of?"),
        Mutant("mean", "weights[token, place, None] * mlp(x[token])", "mlp(x[token]) / experts.shape[1]",
               "the outputs of a token's experts are averaged",
               "How does the output tell which expert the router was surer of?"),
        Mutant("weighted_input", OUT, "out = mlp(weights[token, place, None] * x[token])",
               "the input of the expert is weighted instead of its output",
               "Is twice the output the same as the output for twice the input?"),
        Mutant("first_place", "weights[token, place, None]", "weights[token, :1]",
               "every output gets the first weight of its token", WHOSE_WEIGHT),
        Mutant("last_place", "weights[token, place, None]", "weights[token, -1:]",
               "every output gets the last weight of its token", WHOSE_WEIGHT),
        Mutant("summed_weights", "weights[token, place, None]", "weights[token].sum(dim=-1, keepdim=True)",
               "every output gets the sum of its token's weights", WHOSE_WEIGHT),
        Mutant("mean_weight", "weights[token, place, None]", "weights[token].mean(dim=-1, keepdim=True)",
               "every output gets the mean of its token's weights", WHOSE_WEIGHT),
        Mutant("largest_weight", "weights[token, place, None]", "weights[token].amax(dim=-1, keepdim=True)",
               "every output gets the largest weight of its token", WHOSE_WEIGHT),
        Mutant("first_tokens", "weights[token, place, None]", "weights[:len(token)].gather(1, place[:, None])",
               "the weights are those of the first tokens, not of the expert's",
               "Row 0 of `x[token]`: which token is that, and where does its weight stand?"),
        Mutant("expert_column", "weights[token, place, None]", "weights[token, e % weights.shape[1], None]",
               "the number of the expert is used as the place of its weight", WHOSE_WEIGHT),
        Mutant("expert_column_raises", "weights[token, place, None]", "weights[token, e, None]",
               "the number of the expert is used as the place of its weight", WHOSE_WEIGHT),
        Mutant("only_first_choice", "torch.where(experts == e)", "torch.where(experts[:, :1] == e)",
               "only the first expert of each token is asked",
               "How many experts does a token have?"),
        Mutant("only_last_choice", LOOP, "        token = torch.where(experts[:, -1] == e)[0]\n"
               "        y[token] += weights[token, -1:] * mlp(x[token])",
               "only the last expert of each token is asked",
               "How many experts does a token have?"),
        Mutant("everyone", LOOP, "        mine = experts == e\n"
               "        y += (weights * mine).sum(dim=-1, keepdim=True) * mlp(x)",
               "every expert works on every token, and most of what they say is thrown away", OWN),
        Mutant("everyone_then_picked", OUT, "out = weights[token, place, None] * mlp(x)[token]",
               "every expert works on every token, and most of what they say is thrown away", OWN),
        Mutant("everyone_if_any", LOOP, "        mine = experts == e\n        if mine.any():\n"
               "            y += (weights * mine).sum(dim=-1, keepdim=True) * mlp(x)",
               "every expert that anyone has chosen works on every token", OWN),
        Mutant("rows_and_columns", WHERE, "place, token = torch.where(experts == e)",
               "the rows and the columns of the table have changed names",
               "`torch.where` of a table (N, k) returns two tensors. Which of them can hold numbers up to N - 1?"),
        Mutant("transposed_table", WHERE, "token, place = torch.where(experts.T == e)",
               "the rows and the columns of the table have changed names",
               "`torch.where` of a table (N, k) returns two tensors. Which of them can hold numbers up to N - 1?"),
        Mutant("places_of_y", "y[token] += out", "y[: len(out)] += out",
               "the outputs are added to the first tokens, not to those that asked",
               "Row 0 of `out`: to which token does it belong?"),
        Mutant("place_of_y", "y[token] += out", "y[place] += out",
               "the outputs are added to the places' numbers, not to the tokens",
               "What does `place` count: tokens, or the experts of one token?"),
        Mutant("first_inputs", "mlp(x[token])", "mlp(x[: len(token)])",
               "the expert is given the first tokens, not those that chose it",
               "Which rows of `x` have asked for this expert?"),
        Mutant("wrong_expert", "experts == e", "experts == e + 1",
               "the experts are counted from 1 in the table",
               "Which numbers does an index of E experts take?"),
        Mutant("previous_expert", "experts == e", "experts == (e + 1) % len(mlps)",
               "each expert works on the tokens of the next one",
               "Which entries of the table name expert e?"),
        Mutant("complement", "experts == e", "experts != e",
               "each expert works on the tokens that have not chosen it", OWN),
        Mutant("residual", "    return y", "    return y + x",
               "the token itself is added to the result",
               "Who adds the stream in a block: the layer, or the block around it?"),
        Mutant("residual_copy", "y = torch.zeros_like(x)", "y = x.clone()",
               "the token itself is added to the result",
               "Who adds the stream in a block: the layer, or the block around it?"),
        Mutant("in_place", "y = torch.zeros_like(x)", "y = x",
               "the outputs are written into the input, and later experts read them",
               "Are `x` and `y` two tensors, or two names of one?"),
        Mutant("softmax_again", OUT, "out = torch.softmax(weights, dim=-1)[token, place, None] * mlp(x[token])",
               "a softmax is taken of what are weights already",
               "What do the weights of a token add up to before you touch them?"),
        Mutant("divided_again", OUT, "out = (weights / weights.sum(-1, keepdim=True))[token, place, None] * "
               "mlp(x[token])",
               "the weights are divided by their sum once more, which makes the one weight of k = 1 a constant",
               "With k = 1 the weight is below 1. What becomes of it here?"),
        Mutant("divided_by_tokens", "y[token] += out", "y[token] += out / max(1, len(token))",
               "the outputs are divided by the number of the expert's tokens",
               "Should what a token gets depend on how many others chose the same expert?"),
        Mutant("mean_of_k", "    return y", "    return y / experts.shape[1]",
               "the sum over a token's experts is divided by k",
               "What do the weights of a token add up to already?"),
        Mutant("running_average", "y[token] += out", "y[token] = (y[token] + out) / 2",
               "the result is halved with every expert that adds to it",
               "What do the weights of a token add up to already?"),
        Mutant("scaled_up", "    return y", "    return y * len(mlps) / experts.shape[1]",
               "the result is scaled up by E/k, as dropout does",
               "What do the weights of a token add up to already?"),
        Mutant("only_several", OUT, "if len(token) < 2:\n            continue\n        " + OUT,
               "an expert with a single token is passed over",
               "What becomes of a token that is the only one to choose an expert?"),
        Mutant("summed_tokens", "y[token] += out", "y += out.sum(dim=0)",
               "what an expert says is added to every token",
               "Which tokens have asked for this expert?"),
        Mutant("nothing", "y[token] += out", "y[token].add_(out)",
               "the outputs are added to a copy, and the result stays zero",
               "Does indexing with a tensor return a view or a copy?"),
        Mutant("last_only", LOOP + "\n    return y", LOOP.replace("y[token] +=", "y = torch.zeros_like(x)\n        "
               "y[token] =")
               + "\n    return y",
               "the result starts again with every expert, so that only the last one is left", SEVERAL),
    ),
    variants=("""\
def moe_forward(x, weights, experts, mlps):
    y = torch.zeros_like(x)
    for n in range(x.shape[0]):
        for j in range(experts.shape[1]):
            y[n] = y[n] + weights[n, j] * mlps[int(experts[n, j])](x[n])
    return y""", """\
def moe_forward(x, weights, experts, mlps):
    y = torch.zeros_like(x)
    for e, mlp in enumerate(mlps):
        mine = experts == e
        token = mine.any(dim=-1)
        if token.any():
            y[token] += (weights * mine).sum(dim=-1, keepdim=True)[token] * mlp(x[token])
    return y""", """\
def moe_forward(x, weights, experts, mlps):
    y = torch.zeros_like(x)
    for e, mlp in enumerate(mlps):
        token, place = (experts == e).nonzero(as_tuple=True)
        if len(token) == 0:
            continue
        y.index_add_(0, token, torch.einsum("n,nc->nc", weights[token, place], mlp(x[token])))
    return y""", """\
def moe_forward(x, weights, experts, mlps):
    order = experts.flatten().argsort()
    token = order // experts.shape[1]
    sizes = [int((experts == e).sum()) for e in range(len(mlps))]
    out = torch.cat([mlp(rows) for mlp, rows in zip(mlps, x[token].split(sizes))])
    out = out * weights.flatten()[order].unsqueeze(1)
    return torch.zeros_like(x).index_put((token,), out, accumulate=True)""",
    ),
    twin=mixture_twin,
)  # fmt: skip


def dispatch_twin(rng: random.Random) -> Question:
    """Where a token's row goes when rows are sorted by expert."""
    N, k = rng.randint(3, 5), rng.choice([2, 3])
    E = rng.randint(k + 1, 5)
    table = [rng.sample(range(E), k) for _ in range(N)]
    flat = [e for row in table for e in row]
    order = sorted(range(len(flat)), key=lambda i: flat[i])
    at = rng.randrange(k, len(flat))
    return Question(
        f"The experts of {N} tokens are {table}. All choices are sorted by expert; among equal experts the earlier "
        f"token comes first. Whose choice is number {at}, counted from 0? (The number of a token, from 0.)",
        order[at] // k,
        f"Sorted, the choices are {order}. Number {at} is choice {order[at]} of the flattened table, and {order[at]} "
        f"// {k} is {order[at] // k}.",
    )  # fmt: skip


ORDER = "order = experts.flatten().argsort(stable=True)"
TOKEN = "token = order // experts.shape[1]"
SIZES = "sizes = torch.bincount(experts.flatten(), minlength=len(mlps)).tolist()"
WEIGHTED = "out = out * weights.flatten()[order, None]"
HOME = "return torch.zeros_like(x).index_add(0, token, out)"
RUN = "out = torch.cat([mlp(block) for mlp, block in zip(mlps, blocks)])"
IN_ORDER = "Row 0 of the outputs belongs to the first choice of expert 0. Which weight stands at place 0?"
WHOSE = "With k = 2, choices 0 and 1 are those of token 0, choices 2 and 3 those of token 1. Whose is choice 5?"
ALL_ROWS = "A token has k rows among the outputs. What should become of the second one?"
DISPATCH = Exercise(
    cases=mixture_cases,
    use=counted,
    mutants=(
        Mutant("weights_unsorted", WEIGHTED, "out = out * weights.flatten()[:, None]",
               "the weights are in the order of the tokens, beside outputs in the order of the experts", IN_ORDER),
        Mutant("remainder", TOKEN, "token = order % experts.shape[1]",
               "the place of a choice within its token is taken for the token", WHOSE),
        Mutant("remainder_n", TOKEN, "token = order % len(x)",
               "the choices are counted as if the table were stored column by column", WHOSE),
        Mutant("copied", HOME, "return torch.zeros_like(x).index_copy(0, token, out)",
               "each row overwrites what the token's other experts have said", ALL_ROWS),
        Mutant("plus_equals", HOME, "y = torch.zeros_like(x)\n    y[token] += out\n    return y",
               "each row overwrites what the token's other experts have said", ALL_ROWS),
        Mutant("weights_and_copy", WEIGHTED + "\n    " + HOME,
               "out = out * weights.flatten()[:, None]\n    return torch.zeros_like(x).index_copy(0, token, out)",
               "the weights are in the order of the tokens, and each row overwrites the token's others", IN_ORDER),
        Mutant("remainder_and_weights", TOKEN + "\n    " + SIZES + "\n    blocks = x[token].split(sizes)\n    " + RUN
               + "\n    " + WEIGHTED,
               "token = order % experts.shape[1]\n    " + SIZES + "\n    blocks = x[token].split(sizes)\n    " + RUN
               + "\n    out = out * weights.flatten()[:, None]",
               "the place of a choice is taken for its token, and the weights are in the order of the tokens", WHOSE),
        Mutant("remainder_and_copy", "", """\
def dispatch(x, weights, experts, mlps):
    order = experts.flatten().argsort(stable=True)
    token = order % experts.shape[1]
    sizes = torch.bincount(experts.flatten(), minlength=len(mlps)).tolist()
    blocks = x[token].split(sizes)
    out = torch.cat([mlp(block) for mlp, block in zip(mlps, blocks)])
    out = out * weights.flatten()[order, None]
    return torch.zeros_like(x).index_copy(0, token, out)""",
               "the place of a choice is taken for its token, and each row overwrites the token's others", WHOSE),
        Mutant("all_three", "", """\
def dispatch(x, weights, experts, mlps):
    order = experts.flatten().argsort(stable=True)
    token = order % experts.shape[1]
    sizes = torch.bincount(experts.flatten(), minlength=len(mlps)).tolist()
    blocks = x[token].split(sizes)
    out = torch.cat([mlp(block) for mlp, block in zip(mlps, blocks)])
    out = out * weights.flatten()[:, None]
    return torch.zeros_like(x).index_copy(0, token, out)""",
               "all three wrong lines were kept instead of their twins",
               "For each pair of lines that look alike: which one treats choice 5 of the example's table rightly?"),
        Mutant("weights_twice", WEIGHTED, WEIGHTED + "\n    out = out * weights.flatten()[:, None]",
               "both lines with weights were kept", IN_ORDER),
        Mutant("no_weights", WEIGHTED, "",
               "the outputs are added without their weights",
               "How does the output tell which expert the router was surer of?"),
        Mutant("divided_by_n", TOKEN, "token = order // len(x)",
               "the number of a choice is divided by the number of tokens", WHOSE),
        Mutant("divided_by_experts", TOKEN, "token = order // len(mlps)",
               "the number of a choice is divided by the number of experts", WHOSE),
        Mutant("first_weight", WEIGHTED, "out = out * weights[token, :1]",
               "every output gets the first weight of its token", WHOSE_WEIGHT),
        Mutant("weight_of_token_number", WEIGHTED, "out = out * weights.flatten()[token, None]",
               "the number of a token is used as the number of a choice", IN_ORDER),
        Mutant("order_of_inputs", "blocks = x[token]", "blocks = x.repeat_interleave(experts.shape[1], 0)",
               "the inputs are cut into blocks in the order of the tokens",
               "Which tokens lie in the first block, and which have asked for expert 0?"),
        Mutant("inverse_order", ORDER, "order = experts.flatten().argsort(stable=True).argsort()",
               "the places after the sort are used as the order before it",
               "`order[0]` should be the first choice of expert 0. What is it in your code?"),
        Mutant("home_unsorted", HOME, "return out.view(len(x), -1, x.shape[1]).sum(dim=1)",
               "k neighbouring rows are added up, as if they were still in the order of the tokens",
               "Which rows of `out` belong to token 0?"),
        Mutant("home_by_order", HOME, "return torch.zeros_like(x).index_add(0, order % len(x), out)",
               "the rows are sent home by the number of the choice instead of the token's", WHOSE),
        Mutant("residual", HOME, "return x.index_add(0, token, out)",
               "the token itself is added to the result",
               "Who adds the stream in a block: the layer, or the block around it?"),
        Mutant("descending", "argsort(stable=True)", "argsort(stable=True, descending=True)",
               "the choices are sorted from the last expert to the first, and handed out from the first to the last",
               "Which expert is given the first block?"),
        Mutant("column_by_column", "order = experts.flatten()", "order = experts.T.flatten()",
               "the table is read column by column in one line and row by row in the others", WHOSE),
        Mutant("weighted_input", "", """\
def dispatch(x, weights, experts, mlps):
    order = experts.flatten().argsort(stable=True)
    token = order // experts.shape[1]
    sizes = torch.bincount(experts.flatten(), minlength=len(mlps)).tolist()
    blocks = (x[token] * weights.flatten()[order, None]).split(sizes)
    out = torch.cat([mlp(block) for mlp, block in zip(mlps, blocks)])
    return torch.zeros_like(x).index_add(0, token, out)""",
               "the input of the experts is weighted instead of their output",
               "Is twice the output the same as the output for twice the input?"),
        Mutant("sizes_of_unique", SIZES, "sizes = experts.flatten().unique(return_counts=True)[1].tolist()",
               "experts without tokens have no block, so that the blocks move on to the next expert",
               "Expert 1 has no tokens. Who is given the second block?"),
        Mutant("everyone", "", """\
def dispatch(x, weights, experts, mlps):
    every = torch.stack([mlp(x) for mlp in mlps])
    table = torch.zeros(len(x), len(mlps)).scatter(1, experts, weights)
    return torch.einsum("ne,enc->nc", table, every)""",
               "every expert works on every token", OWN),
        Mutant("sorted_weights", WEIGHTED, "out = out * weights.flatten().sort(descending=True).values[:, None]",
               "the weights are sorted by themselves instead of being read in the order of the choices", IN_ORDER),
        Mutant("first_choice", "", """\
def dispatch(x, weights, experts, mlps):
    order = experts[:, 0].argsort(stable=True)
    sizes = torch.bincount(experts[:, 0], minlength=len(mlps)).tolist()
    blocks = x[order].split(sizes)
    out = torch.cat([mlp(block) for mlp, block in zip(mlps, blocks)])
    out = out * weights[order, :1]
    return torch.zeros_like(x).index_add(0, order, out)""",
               "only the first expert of each token is asked",
               "How many experts does a token have?"),
        Mutant("not_home", HOME, "return out",
               "the outputs are never put back",
               "Which shape should the result have?"),
    ),
    variants=("""\
def dispatch(x, weights, experts, mlps):
    N, k = experts.shape
    flat = experts.flatten()
    order = flat.argsort()
    blocks = x.repeat_interleave(k, dim=0)[order].split(torch.bincount(flat, minlength=len(mlps)).tolist())
    out = torch.cat([mlp(block) for mlp, block in zip(mlps, blocks)])[order.argsort()]
    return (out.view(N, k, -1) * weights[:, :, None]).sum(dim=1)""", """\
def dispatch(x, weights, experts, mlps):
    y = torch.zeros_like(x)
    for e in range(len(mlps)):
        token, place = torch.where(experts == e)
        y[token] += weights[token, place][:, None] * mlps[e](x[token])
    return y""", """\
def dispatch(x, weights, experts, mlps):
    order = experts.flatten().argsort(stable=True)
    weight = weights.flatten()[order].unsqueeze(1)
    sizes = torch.bincount(experts.flatten(), minlength=len(mlps)).tolist()
    token = torch.arange(len(x)).repeat_interleave(experts.shape[1])[order]
    out = torch.cat([mlp(block) for mlp, block in zip(mlps, x[token].split(sizes))]) * weight
    return torch.zeros_like(x).index_put((token,), out, accumulate=True)""", """\
def dispatch(x, weights, experts, mlps):
    rows = [torch.zeros_like(row) for row in x]
    for n, (ws, es) in enumerate(zip(weights.tolist(), experts.tolist())):
        for weight, e in zip(ws, es):
            rows[n] = rows[n] + weight * mlps[e](x[n : n + 1])[0]
    return torch.stack(rows)""",
    ),
    twin=dispatch_twin,
)  # fmt: skip


# 20.4


def balance_twin(rng: random.Random) -> Question:
    a, p = rng.choice([0.1, 0.2, 0.3, 0.7, 0.8, 0.9]), rng.choice([0.25, 0.35, 0.65, 0.75])
    return Question(
        f"Two experts. The router gives every token the probabilities {p} and {1 - p:.2f}, and {a:.0%} of the "
        "choices go to the first. What is E · Σ f P?", 2 * (a * p + (1 - a) * (1 - p)),
        f"2 · ({a} · {p} + {1 - a:.1f} · {1 - p:.2f}): each share meets the probability of its own expert.", 0.01,
    )  # fmt: skip


def balance_cases() -> list[tuple]:
    """Experts without choices, the last among them; all to expert 0; even; one token; N = E; unlikely ones chosen."""
    cases = []
    for seed, (N, E, k) in enumerate([(9, 5, 2), (4, 7, 3), (1, 6, 2), (11, 3, 1), (6, 6, 4)]):
        scores, other = normal(400 + seed, (N, E), (N, E))
        wish = scores + other
        wish[:, -1] -= 9.0 * (seed == 0)  # the last expert is dead
        cases.append((torch.softmax(scores, dim=-1), wish.topk(k, dim=-1).indices))
    probs = torch.softmax(normal(410, (8, 4))[0], dim=-1)
    cases.append((probs, torch.zeros(8, 1, dtype=torch.long)))
    cases.append((torch.full((10, 5), 0.2), torch.arange(20).view(10, 2) % 5))
    return cases


def with_gradient(function, probs, chosen):
    """The loss, and its gradient for the probabilities."""
    leaf = probs.clone().requires_grad_()
    loss = function(leaf, chosen)
    gradient = None
    if isinstance(loss, torch.Tensor) and loss.requires_grad:
        (gradient,) = torch.autograd.grad(loss.sum(), leaf, allow_unused=True)
    return {"loss": loss, "gradient of probs": torch.zeros_like(probs) if gradient is None else gradient}


COUNTS = "counts = torch.bincount(chosen.flatten(), minlength=E)"
SHARE = "share = counts / chosen.numel()"
MEAN = "mean = probs.mean(dim=0)"
LOSS = "return E * (share * mean).sum()"
CONSTANT = "What does autograd know of what has been computed under no_grad?"
DEAD = "How many counts are there when the last expert has no tokens, and how many do you need?"
EVEN = "Every expert has the share 1/E and the probability 1/E. What do you get?"
CHOSEN = "Two routers have the same probabilities, but send their tokens elsewhere. Where does your loss see this?"
BALANCE_LOSS = Exercise(
    cases=balance_cases,
    use=with_gradient,
    mutants=(
        Mutant("still_constant", MEAN, "mean = probs.detach().mean(dim=0)",
               "the loss has no gradient for the probabilities: on the way something has become a constant", CONSTANT),
        Mutant("one_number", LOSS, "return float(E * (share * mean).sum())",
               "the loss has no gradient for the probabilities: on the way something has become a constant",
               "What can `backward` do with a Python float?"),
        Mutant("item", LOSS, "return torch.tensor((E * (share * mean).sum()).item(), requires_grad=True)",
               "the loss has no gradient for the probabilities: on the way something has become a constant",
               "`requires_grad=True` asks for a gradient. Along which path would it reach `probs`?"),
        Mutant("dead_experts", ", minlength=E", "",
               "the counts end at the last expert in use", DEAD),
        Mutant("padded_by_one", "minlength=E", "minlength=int(chosen.max()) + 1",
               "the counts end at the last expert in use", DEAD),
        Mutant("experts_in_use", COUNTS + "\n    " + SHARE + "\n    " + MEAN,
               "counts = torch.bincount(chosen.flatten())\n    E = len(counts)\n    share = counts / chosen.numel()\n"
               "    mean = probs.mean(dim=0)[:E]",
               "the number of experts is read from the counts, which end at the last expert in use",
               "How many experts are there when the last one has no tokens, and by how many do you multiply?"),
        Mutant("unique", COUNTS, "counts = chosen.unique(return_counts=True)[1]",
               "experts without tokens have no count, so that the counts move on to other experts", DEAD),
        Mutant("cut_means", LOSS, "return E * (share[: int(chosen.max())] * mean[: int(chosen.max())]).sum()",
               "the last expert in use is cut off",
               "Which is the last index in `row[:3]`?"),
        Mutant("per_token", "/ chosen.numel()", "/ len(chosen)",
               "the shares are divided by the number of tokens, so that they add up to k",
               "What should the shares of all experts add up to?"),
        Mutant("counts", SHARE, "share = counts.float()",
               "the counts are not divided at all",
               "What should the shares of all experts add up to?"),
        Mutant("per_expert", "/ chosen.numel()", "/ E",
               "the counts are divided by the number of experts",
               "What should the shares of all experts add up to?"),
        Mutant("by_largest", "/ chosen.numel()", "/ counts.max()",
               "the counts are divided by the largest of them",
               "What should the shares of all experts add up to?"),
        Mutant("no_experts", "return E * (", "return (",
               "the sum is not multiplied by the number of experts", EVEN),
        Mutant("squared_experts", "return E * (", "return E**2 * (",
               "the sum is multiplied by the square of the number of experts", EVEN),
        Mutant("mean_product", LOSS, "return (share * mean).mean()",
               "the products are averaged and not multiplied by E, so that E divides instead of multiplying", EVEN),
        Mutant("minus_one", LOSS, LOSS + " - 1",
               "one is subtracted, so that the even router costs nothing", EVEN),
        Mutant("only_probabilities", "share * mean", "mean * mean",
               "the mean probabilities are squared, and the choices are never looked at", CHOSEN),
        Mutant("only_counts", "share * mean", "share * share",
               "the shares are squared: they are counts, and have no gradient",
               "Which of your numbers can move a little when the router does?"),
        Mutant("likeliest", COUNTS, "counts = torch.bincount(probs.argmax(dim=-1), minlength=E)",
               "the likeliest experts are counted, not the chosen ones", CHOSEN),
        Mutant("likeliest_share", COUNTS + "\n    " + SHARE,
               "share = torch.bincount(probs.argmax(dim=-1), minlength=E) / len(probs)",
               "the likeliest experts are counted, not the chosen ones", CHOSEN),
        Mutant("first_choice", "chosen.flatten()", "chosen[:, 0]",
               "only the first choices are counted, but all are in the divisor",
               "How many choices does each token have?"),
        Mutant("first_choice_share", COUNTS + "\n    " + SHARE,
               "share = torch.bincount(chosen[:, 0], minlength=E) / len(chosen)",
               "only the first choice of each token is counted",
               "How many choices does each token have?"),
        Mutant("wrong_axis", "mean(dim=0)", "mean(dim=1)",
               "the probabilities are averaged over the experts, for each token",
               "How many means are there, and how many experts?"),
        Mutant("one_mean", "mean(dim=0)", "mean()",
               "the probabilities of all experts are averaged to one number, which is always 1/E",
               "What do the probabilities of one token add up to, and so all of them?"),
        Mutant("sums", "mean(dim=0)", "sum(dim=0)",
               "the probabilities are added up over the tokens instead of averaged",
               "What becomes of your loss when the batch is twice as long?"),
        Mutant("of_the_chosen", MEAN, "taken = torch.zeros_like(probs).scatter(1, chosen, 1.0)\n"
               "    mean = (probs * taken).sum(dim=0) / taken.sum(dim=0).clamp(min=1)",
               "the probability of an expert is averaged only over the tokens that chose it",
               "Over how many tokens does P average?"),
        Mutant("of_the_chosen_over_all", MEAN, "mean = (probs * torch.zeros_like(probs).scatter(1, chosen, "
               "1.0)).mean(dim=0)",
               "the probabilities of experts that were not chosen are left out of the mean",
               "Does an expert's probability count where it was not chosen?"),
        Mutant("softmax_again", MEAN, "mean = torch.softmax(probs, dim=-1).mean(dim=0)",
               "a softmax is taken of what are probabilities already",
               "What do the rows of `probs` add up to when they arrive?"),
        Mutant("softmax_of_mean", MEAN, "mean = torch.softmax(probs.mean(dim=0), dim=-1)",
               "a softmax is taken of the mean probabilities, which add up to one already",
               "What do the mean probabilities add up to?"),
        Mutant("whole_division", "counts / chosen", "counts // chosen",
               "the division of the counts drops what comes after the point",
               "What is 3 // 4?"),
        Mutant("presence", SHARE, "share = (counts > 0).float() / E",
               "every expert that was used at all counts the same",
               "Does an expert with one token count as much as one with a thousand?"),
        Mutant("distance", LOSS, "return E * (share - mean).square().sum()",
               "the loss measures how far shares and probabilities are apart",
               "What is your loss when all tokens go to one expert, with probability 1?"),
        Mutant("variance", LOSS, "return E * (mean - 1 / E).square().sum()",
               "the loss is the spread of the mean probabilities, and the choices are never looked at", CHOSEN),
        Mutant("entropy", LOSS, "return -(share * mean.log()).sum()",
               "the loss is a cross-entropy between shares and probabilities",
               "Which of the two should fall where the other is high, and does it in yours?"),
        Mutant("negative", LOSS, "return -E * (share * mean).sum()",
               "the sign is turned, so that training makes the router less even",
               "Which router should have the lower loss, the even one?"),
        Mutant("products_kept", LOSS, "return E * share * mean",
               "the products are not added up",
               "How many numbers is a loss?"),
    ),
    variants=("""\
def balance_loss(probs, chosen):
    N, E = probs.shape
    used = F.one_hot(chosen, E).float().sum(dim=1)
    return E * torch.dot(used.mean(dim=0) / chosen.shape[1], probs.mean(dim=0))""", """\
def balance_loss(probs, chosen):
    total = 0.0
    for e in range(probs.shape[1]):
        total = total + (chosen == e).float().mean() * probs[:, e].mean()
    return probs.shape[1] * total""", """\
def balance_loss(probs, chosen):
    share = torch.zeros(probs.shape[1]).index_add(0, chosen.flatten(), torch.ones(chosen.numel())) / chosen.numel()
    return probs.shape[-1] * (probs @ share).mean()""", """\
def balance_loss(probs, chosen):
    used = torch.zeros_like(probs).scatter(1, chosen, 1.0)
    return probs.shape[1] * (used.mean(dim=0) / chosen.shape[1] * probs.mean(dim=0)).sum()""", """\
def balance_loss(probs, chosen):
    E = probs.shape[1]
    with torch.no_grad():
        share = torch.bincount(chosen.flatten(), minlength=E) / chosen.numel()
    return E**2 * (share * probs.mean(dim=0)).mean()""",
    ),
    properties=(
        Property(lambda y, probs, chosen: bool(y["gradient of probs"].any()),
                 "The loss has no gradient for `probs`, so it cannot move the router."),
    ),
    twin=balance_twin,
)  # fmt: skip


# 20.6


def dropped_twin(rng: random.Random) -> Question:
    """How many choices a capacity drops."""
    counts = [rng.randint(1, 12) for _ in range(4)]
    capacity = rng.randint(4, 7)
    over = sum(max(0, n - capacity) for n in counts)
    return Question(
        f"Four experts are asked {counts} times. Each has {capacity} places. Which share of all choices is dropped, "
        "from 0 to 1?", over / sum(counts),
        f"{over} of {sum(counts)}: each expert drops what exceeds {capacity}, and the places left free elsewhere do "
        f"not help.", 0.01,
    )  # fmt: skip


def dropped_cases() -> list[tuple]:
    """k = 1 and more, uneven experts, none or all dropped, one token, an expert that nobody asks."""
    cases = []
    sizes = ((15, 5, 2, 4), (12, 4, 1, 3), (20, 6, 3, 7), (9, 7, 2, 0), (10, 3, 2, 50), (14, 5, 3, 5))
    for seed, ((N, E, k, capacity), tilt) in enumerate(zip(sizes, (2.0, 1.0, 3.0, 0.0, 1.0, 4.0))):
        (scores,) = normal(600 + seed, (N, E))
        cases.append(((scores + torch.linspace(0, tilt, E)).topk(k, dim=-1).indices, E, capacity))
    cases.append((torch.tensor([[2, 0, 1]]), 4, 1))
    cases.append((torch.tensor([[0], [0], [2], [0], [2], [2], [0]]), 3, 2))
    cases.append((torch.tensor([[0, 1], [1, 0], [2, 0], [0, 2], [1, 2]]), 5, 1))
    return cases


PLACES = "asked[e] += 1\n            lost += asked[e] > capacity"
ALL_OF_THEM = "tokens += lost == len(row)"
RETURN = "return choices / chosen.numel(), tokens / len(chosen)"
FULL = "An expert has two places. Is the second choice of it dropped, or the third?"
WHOLE = "What is the whole of which the dropped choices are a part?"
LATE = "Who finds a place when there are two of them and three ask: the first two or the last two?"
DROPPED = Exercise(
    cases=dropped_cases,
    mutants=(
        Mutant("per_token", "choices / chosen.numel()", "choices / len(chosen)",
               "the dropped choices are divided by the number of tokens", WHOLE),
        Mutant("per_place", "choices / chosen.numel()", "choices / max(1, experts * capacity)",
               "the dropped choices are divided by the number of places", WHOLE),
        Mutant("one_too_few", "asked[e] > capacity", "asked[e] >= capacity",
               "an expert is full one place too early", FULL),
        Mutant("one_too_many", PLACES, "lost += asked[e] > capacity\n            asked[e] += 1",
               "an expert takes one choice more than it has places", FULL),
        Mutant("any_lost", ALL_OF_THEM, "tokens += lost > 0",
               "a token counts as lost as soon as one of its choices is",
               "Does a token leave the layer empty if one of its two experts has taken it?"),
        Mutant("first_lost", ALL_OF_THEM, "tokens += asked[row[0]] > capacity",
               "a token counts as lost if its first choice is",
               "Does a token leave the layer empty if its second expert has taken it?"),
        Mutant("last_lost", ALL_OF_THEM, "tokens += asked[row[-1]] > capacity",
               "a token counts as lost if its last choice is",
               "Does a token leave the layer empty if its first expert has taken it?"),
        Mutant("product", ALL_OF_THEM + "\n    " + RETURN,
               "pass\n    share = choices / chosen.numel()\n    return share, share ** chosen.shape[1]",
               "the second share is a power of the first, as if choices were lost independently",
               "All of an unlucky token's experts may be popular ones. Is being late at one independent of the other?"),
        Mutant("k_make_a_token", RETURN,
               "return choices / chosen.numel(), choices // chosen.shape[1] / len(chosen)",
               "any k dropped choices are taken for a lost token, whoever they belong to",
               "Two tokens lose one of their two choices each. How many tokens are lost?"),
        Mutant("all_or_nothing", "", """\
def dropped(chosen, experts, capacity):
    free, choices, tokens = [capacity] * experts, 0, 0
    for row in chosen.tolist():
        full = [e for e in row if free[e] == 0]
        choices += len(full)
        tokens += len(full) == len(row)
        for e in [] if full else row:
            free[e] -= 1
    return choices / chosen.numel(), tokens / len(chosen)""",
               "a token that finds one of its experts full takes no place at the others either",
               "Token 2 of the example finds expert 0 full. Which place does it still take?"),
        Mutant("from_the_end", "chosen.tolist()", "chosen.flip(0).tolist()",
               "the places are given out from the last token to the first", LATE),
        Mutant("first_choices_first", "", """\
def dropped(chosen, experts, capacity):
    asked, lost = [0] * experts, [0] * len(chosen)
    for column in chosen.T.tolist():
        for n, e in enumerate(column):
            asked[e] += 1
            lost[n] += asked[e] > capacity
    return sum(lost) / chosen.numel(), sum(n == chosen.shape[1] for n in lost) / len(chosen)""",
               "all first choices are served before any second one",
               "Does the second choice of token 0 come before or after the first choice of token 1?"),
        Mutant("one_buffer", PLACES, "asked[0] += 1\n            lost += asked[0] > capacity",
               "one buffer is filled for all experts together",
               "How many buffers are there?"),
        Mutant("one_buffer_of_all", PLACES, "asked[0] += 1\n            lost += asked[0] > capacity * experts",
               "all places are thrown together, as if an expert could lend its own to another",
               "Does it help a token of expert 0 that expert 1 has places left?"),
        Mutant("each_place_apart", "", """\
def dropped(chosen, experts, capacity):
    lost = torch.zeros(len(chosen), dtype=torch.long)
    for column in range(chosen.shape[1]):
        number = F.one_hot(chosen[:, column], experts).cumsum(0).gather(1, chosen[:, column : column + 1])[:, 0]
        lost += number > capacity
    return lost.sum().item() / chosen.numel(), (lost == chosen.shape[1]).float().mean().item()""",
               "first and second choices have buffers of their own",
               "How many buffers does one expert have?"),
        Mutant("only_first", "chosen.tolist()", "chosen[:, :1].tolist()",
               "only the first choices ask for a place",
               "How many places does a token with k = 2 ask for?"),
        Mutant("mean_over_experts", RETURN, "counts = torch.bincount(chosen.flatten(), minlength=experts)\n"
               "    refused = (counts - capacity).clamp(min=0) / counts.clamp(min=1)\n"
               "    return refused.mean().item(), tokens / len(chosen)",
               "each expert's refused part is averaged over the experts, however often they were asked",
               "Should an expert that was asked twice count as much as one that was asked a thousand times?"),
        Mutant("full_experts", RETURN, "full = sum(n > capacity for n in asked)\n"
               "    return full / experts, tokens / len(chosen)",
               "the share of experts that overflow is returned instead of that of dropped choices", WHOLE),
        Mutant("counts", RETURN, "return choices, tokens",
               "the numbers of choices and tokens are returned instead of their shares", WHOLE),
        Mutant("kept", RETURN, "return 1 - choices / chosen.numel(), 1 - tokens / len(chosen)",
               "the shares are those of what is kept",
               "What should both shares be when there is room for all?"),
        Mutant("kept_tokens", "tokens / len(chosen)", "1 - tokens / len(chosen)",
               "the second share is that of the tokens that are kept",
               "What should both shares be when there is room for all?"),
        Mutant("swapped", RETURN, "return tokens / len(chosen), choices / chosen.numel()",
               "the two shares come in the wrong order",
               "Which of the two should come first?"),
        Mutant("only_choices", RETURN, "return choices / chosen.numel()",
               "only the share of the choices is returned",
               "Which two numbers should come back?"),
        Mutant("per_cent", RETURN, "return 100 * choices / chosen.numel(), 100 * tokens / len(chosen)",
               "the shares come in per cent",
               "Which number stands for all of it, 1 or 100?"),
        Mutant("tokens_of_choices", "tokens / len(chosen)", "tokens / chosen.numel()",
               "the lost tokens are divided by the number of choices",
               "What is the whole of which the lost tokens are a part?"),
        Mutant("unsigned", "", """\
def dropped(chosen, experts, capacity):
    counts = torch.bincount(chosen.flatten(), minlength=experts)
    asked, tokens = [0] * experts, 0
    for row in chosen.tolist():
        lost = 0
        for e in row:
            asked[e] += 1
            lost += asked[e] > capacity
        tokens += lost == len(row)
    return (counts - capacity).sum().item() / chosen.numel(), tokens / len(chosen)""",
               "free places of one expert are set off against the overflow of another",
               "Does it help a token of expert 0 that expert 1 has places left?"),
        Mutant("largest_only", RETURN, "return max(0, max(asked) - capacity) / chosen.numel(), tokens / len(chosen)",
               "only the busiest expert's overflow is counted",
               "How many experts may overflow at once?"),
        Mutant("capacity_times_k", "asked[e] > capacity", "asked[e] > capacity * len(row)",
               "each expert has k times as many places as it should",
               "For whom are the `capacity` places: for each expert, or for each expert and choice?"),
        Mutant("capacity_factor", "asked[e] > capacity", "asked[e] > math.ceil(capacity * chosen.numel() / experts)",
               "the capacity is taken for a capacity factor",
               "Is `capacity` a number of places, or a multiple of the even share?"),
        Mutant("lost_when_tied", ALL_OF_THEM, "tokens += lost >= max(1, len(row) - 1)",
               "a token counts as lost when all but one of its choices are",
               "Does a token leave the layer empty if one of its experts has taken it?"),
    ),
    variants=("""\
def dropped(chosen, experts, capacity):
    flat = chosen.flatten()
    number = F.one_hot(flat, experts).cumsum(dim=0).gather(1, flat[:, None]).view(chosen.shape)
    lost = (number > capacity).float()
    return lost.mean().item(), (lost.amin(dim=1) == 1).float().mean().item()""", """\
def dropped(chosen, experts, capacity):
    free = {e: capacity for e in range(experts)}
    kept = torch.zeros(chosen.shape, dtype=torch.bool)
    for n in range(chosen.shape[0]):
        for j in range(chosen.shape[1]):
            e = int(chosen[n, j])
            if free[e] > 0:
                free[e] -= 1
                kept[n, j] = True
    return (~kept).float().mean(), (~kept.any(dim=1)).float().mean()""", """\
def dropped(chosen, experts, capacity):
    flat = chosen.flatten().tolist()
    k = chosen.shape[1]
    late = [flat[:i].count(e) >= capacity for i, e in enumerate(flat)]
    gone = [all(late[i : i + k]) for i in range(0, len(late), k)]
    return sum(late) / len(late), sum(gone) / len(gone)""",
    ),
    properties=(
        Property(lambda y, *_: all(0 <= float(share) <= 1 + 1e-6 for share in y), "A share lies between 0 and 1."),
        Property(lambda y, *_: y[1] <= y[0] + 1e-6, "More tokens than choices are lost: a lost token has lost k of "
                 "them."),
    ),
    twin=dropped_twin,
)  # fmt: skip


# 20.7


def parameters_twin(rng: random.Random) -> Question:
    dense, mlp, E = rng.randint(50, 120), rng.randint(20, 45), rng.randint(4, 16)
    k = rng.randint(2, 3)
    return Question(
        f"A dense model has {dense} million parameters, {mlp} million of them in its MLPs. Each MLP is replaced by "
        f"{E} experts of its shape, {k} active. How many million parameters work on a token? (Without routers.)",
        dense + (k - 1) * mlp,
        f"{dense} - {mlp} + {k} · {mlp}: the one MLP of the dense model makes room for {k}.", 0.005,
    )  # fmt: skip


def config_cases() -> list[tuple]:
    """Tied and not, SwiGLU and relu2, one layer, one expert, k = E, a padded vocabulary, sizes all different."""
    shapes = (  # layers, width, heads, kv_heads, head_size, mlp_width, vocab_size, tied, activation; E, k
        (2, 8, 2, 1, 4, 16, 10, True, "swiglu", 4, 1),
        (3, 24, 4, 2, 10, 56, 100, False, "swiglu", 8, 2),
        (5, 32, 2, 2, 12, 130, 70, True, "relu2", 6, 3),
        (1, 12, 3, 1, 8, 20, 33, True, "swiglu", 1, 1),
        (4, 20, 1, 1, 6, 36, 64, False, "swiglu", 7, 7),
        (32, 4096, 32, 8, 128, 14336, 32000, False, "swiglu", 8, 2),
    )
    names = ("layers", "width", "heads", "kv_heads", "head_size", "mlp_width", "vocab_size", "tied", "activation")
    return [(ModelConfig(**dict(zip(names, shape))), *shape[-2:]) for shape in shapes]


REST = 'rest = sum(dense.values()) - dense["mlp"] + c.layers * E * c.width'
TOTALS = 'return rest + E * dense["mlp"], rest + k * dense["mlp"]'
ROUTERS = "A router scores all E experts for each token, in every layer. How many numbers do all routers hold?"
THERE_ALREADY = "How many MLPs does the dense count hold in each layer, and how many of them are left in the new model?"
MOE_PARAMETERS = Exercise(
    cases=config_cases,
    mutants=(
        Mutant("no_router", " + c.layers * E * c.width", "",
               "the routers are not counted", ROUTERS),
        Mutant("one_router", "c.layers * E * c.width", "E * c.width",
               "one router is counted for all layers together", ROUTERS),
        Mutant("router_k", TOTALS,
               'return rest + E * dense["mlp"], rest - c.layers * (E - k) * c.width + k * dense["mlp"]',
               "only the rows of the chosen experts are counted in the active router",
               "How does the router know that an expert should not be chosen, if it does not look at it?"),
        Mutant("router_not_active", TOTALS,
               'return rest + E * dense["mlp"], rest - c.layers * E * c.width + k * dense["mlp"]',
               "the router is counted in the total, but not as active",
               "Does a token that is sent to two experts pass the router?"),
        Mutant("router_bias", "c.layers * E * c.width", "c.layers * E * (c.width + 1)",
               "the router is given a bias for each expert",
               "What does the statement say that a router holds?"),
        Mutant("router_square", "c.layers * E * c.width", "c.layers * c.width**2",
               "the router is a matrix from the width to the width",
               "How many scores does the router give to a token?"),
        Mutant("router_heads", "c.layers * E * c.width", "c.layers * E * c.heads * c.head_size",
               "the router reads what the heads return instead of the stream",
               "What does the router see of a token: a vector of which size?"),
        Mutant("router_mlp_width", "c.layers * E * c.width", "c.layers * E * c.mlp_width",
               "the router reads the hidden layer of an MLP instead of the stream",
               "What does the router see of a token: a vector of which size?"),
        Mutant("dense_mlp_kept", REST, 'rest = sum(dense.values()) + c.layers * E * c.width',
               "the experts are added beside the old MLP instead of replacing it", THERE_ALREADY),
        Mutant("dense_mlp_kept_total", TOTALS, 'return rest + (E + 1) * dense["mlp"], rest + k * dense["mlp"]',
               "the old MLP is kept in the total, beside the experts", THERE_ALREADY),
        Mutant("dense_mlp_kept_active", TOTALS, 'return rest + E * dense["mlp"], rest + (k + 1) * dense["mlp"]',
               "the old MLP works beside the active experts", THERE_ALREADY),
        Mutant("whole_models", TOTALS, "return E * sum(dense.values()) + c.layers * E * c.width, "
               "k * sum(dense.values()) + c.layers * E * c.width",
               "the whole model is multiplied by the number of experts",
               "Which part of a block has become E parts: all of it?"),
        Mutant("whole_models_no_router", TOTALS, "return E * sum(dense.values()), k * sum(dense.values())",
               "the whole model is multiplied by the number of experts, and there is no router",
               "Which part of a block has become E parts: all of it?"),
        Mutant("share_of_total", TOTALS, 'total = rest + E * dense["mlp"]\n    return total, total * k // E',
               "the active parameters are k/E of the total",
               "Is the attention split up among the experts?"),
        Mutant("layers_twice", TOTALS,
               'return rest + c.layers * E * dense["mlp"], rest + c.layers * k * dense["mlp"]',
               "the MLPs are multiplied by the layers, which they hold already",
               "Is `\"mlp\"` in the dictionary for one layer, or for all?"),
        Mutant("one_layer", TOTALS, 'mlp = dense["mlp"] // c.layers\n    return rest + E * mlp, rest + k * mlp',
               "the experts of one layer only are counted",
               "How many layers have experts?"),
        Mutant("swapped", TOTALS, 'return rest + k * dense["mlp"], rest + E * dense["mlp"]',
               "the two numbers come in the wrong order",
               "Which of the two should come first?"),
        Mutant("only_total", TOTALS, 'return rest + E * dense["mlp"]',
               "only the total is returned",
               "Which two numbers should come back?"),
        Mutant("only_mlp", REST, "rest = c.layers * E * c.width",
               "only experts and routers are counted",
               "What does a token pass beside its experts?"),
        Mutant("only_experts", TOTALS, 'return E * dense["mlp"], k * dense["mlp"]',
               "only the experts are counted",
               "What does a token pass beside its experts?"),
        Mutant("embedding_idle", TOTALS,
               'return rest + E * dense["mlp"], rest - dense["embedding"] + k * dense["mlp"]',
               "the embedding is not counted as active",
               "What does the statement say of everything that is not an expert?"),
        Mutant("no_embedding", REST, REST.replace(" + c.layers", ' - dense["embedding"] + c.layers'),
               "the embedding is not counted at all",
               "What does the statement say of everything that is not an expert?"),
        Mutant("two_matrices", TOTALS, "mlp = 2 * c.layers * c.width * c.mlp_width\n"
               "    return rest + E * mlp, rest + k * mlp",
               "each expert has two matrices, also with SwiGLU",
               "How many matrices has a SwiGLU MLP?"),
        Mutant("two_matrices_added", TOTALS, "mlp = 2 * c.layers * c.width * c.mlp_width\n"
               "    base = rest + dense[\"mlp\"]\n    return base + (E - 1) * mlp, base + (k - 1) * mlp",
               "each expert has two matrices, also with SwiGLU",
               "How many matrices has a SwiGLU MLP?"),
        Mutant("three_matrices", TOTALS, "mlp = 3 * c.layers * c.width * c.mlp_width\n"
               "    return rest + E * mlp, rest + k * mlp",
               "each expert has three matrices, whatever its activation",
               "How many matrices has an MLP with relu2?"),
        Mutant("four_times", TOTALS, "mlp = 8 * c.layers * c.width**2\n    return rest + E * mlp, rest + k * mlp",
               "each expert is taken to be four times as wide as the stream",
               "Which field of the config says how wide an MLP is?"),
        Mutant("split", TOTALS, 'return rest + dense["mlp"], rest + k * dense["mlp"] // E',
               "the MLP is cut into E experts instead of being there E times",
               "Which shape has each expert: the MLP's, or an E-th of it?"),
        Mutant("one_active", "rest + k *", "rest + 1 *",
               "one expert is active, whatever k is",
               "Where in your code does k come in?"),
        Mutant("in_billions", TOTALS, 'return (rest + E * dense["mlp"]) / 1e9, (rest + k * dense["mlp"]) / 1e9',
               "the counts come in billions",
               "Which unit does the example use?"),
        Mutant("added_experts", TOTALS, 'return rest + (E - 1) * dense["mlp"], rest + (k - 1) * dense["mlp"]',
               "one expert is missing: E - 1 come on top of a count that no longer holds any MLP", THERE_ALREADY),
    ),
    variants=("""\
def moe_parameters(c, E, k):
    dense = parameter_breakdown(c)
    base = sum(dense.values()) + c.layers * E * c.width
    return base + (E - 1) * dense["mlp"], base + (k - 1) * dense["mlp"]""", """\
def moe_parameters(c, E, k):
    one = (3 if c.activation == "swiglu" else 2) * c.width * c.mlp_width
    attention = 2 * c.width * c.head_size * (c.heads + c.kv_heads)
    norms = 2 * c.width + 2 * c.head_size
    outside = c.vocab_size * c.width * (1 if c.tied else 2) + c.width
    counts = []
    for n in (E, k):
        counts.append(outside + sum(attention + norms + E * c.width + n * one for _ in range(c.layers)))
    return tuple(counts)""", """\
def moe_parameters(c, E, k):
    from minigpt.accounting import block_matrices, parameters
    expert = block_matrices(c)[1]
    total = parameters(c) + c.layers * ((E - 1) * expert + E * c.width)
    return [total, total - c.layers * (E - k) * expert]""",
    ),
    properties=(
        Property(lambda y, *_: y[1] <= y[0], "More parameters are active than there are."),
        Property(lambda y, c, E, k: k < E or y[0] == y[1], "All experts are active, and yet not all parameters."),
    ),
    twin=parameters_twin,
)  # fmt: skip


# 20.8


def healthy_twin(rng: random.Random) -> Question:
    """The effective number of experts."""
    E = rng.choice([8, 12, 16])
    few = rng.random() < 0.6
    n = rng.randint(2, E // 2 - 1) if few else rng.randint(E // 2 + 1, E - 1)
    fixed = rng.random() < 0.5
    who = "always the same ones" if fixed else "others each time, so that over the steps all get the same"
    word = ("collapsed" if fixed else "unstable") if few else "balanced"
    return Question(
        f"At every step {n} of {E} experts get equal shares and the rest nothing: {who}. "
        "What does the monitor of 20.8 say: collapsed, unstable or balanced?", word,
        f"Each step has the effective number {n}, their mean row has {n if fixed else E}, and half of the experts are "
        f"{E // 2}.",
    )  # fmt: skip


def health_cases() -> list[tuple]:
    """Good beginnings with bad ends and the reverse, dead experts, too few rows, numbers between thresholds."""
    (noise,) = normal(800, (12, 5))
    even = torch.softmax(0.3 * noise, dim=-1)
    one = torch.eye(5)[torch.tensor([2] * 12)]
    nearly = torch.softmax(6.0 * torch.eye(5)[[1] * 12] + noise, dim=-1)
    turns = torch.eye(5)[torch.arange(15) % 5]
    wide = torch.eye(9)
    four = (0.99 * wide[:4].mean(dim=0) + 0.01 / 9).repeat(6, 1)  # 4 of 9 experts and a little: N = 4.2
    five = wide[2:7].mean(dim=0).repeat(7, 1)  # 5 of 9
    blocks = torch.eye(4).repeat_interleave(4, dim=1) / 4  # (4, 16): each step another four of sixteen
    mixed = torch.stack([torch.eye(8)[i] if i % 2 else torch.full((8,), 0.125) for i in range(8)])
    loud = torch.softmax(2.0 * normal(801, (10, 6))[0], dim=-1)
    hump = torch.tensor([[0.8, 0.05, 0.05, 0.05, 0.05], [0.62, 0.095, 0.095, 0.095, 0.095]])  # N = 2.2 and 3.3
    return [
        (even, 4),
        (one, 3),
        (nearly, 5),
        (torch.cat([even, one[:5]]), 5),
        (torch.cat([one, even[:6]]), 6),
        (turns, 10),
        (turns, 1),
        (torch.cat([one, turns[:5]]), 5),
        (torch.cat([turns, one[:4]]), 4),
        (torch.cat([even[:8], one[:1]]), 8),
        (torch.cat([one[:7], even[:1]]), 8),
        (four, 6),
        (five, 4),
        (blocks, 4),
        (mixed, 8),
        (loud, 10),
        (even[:2], 30),
        (one[:1], 7),
        (torch.cat([turns[:5], even[:3]]), 3),
        (hump[:1].repeat(4, 1), 3),
        (hump[1:].repeat(3, 1), 3),
        (torch.cat([even[:3], one[:1]]), 1),
        (torch.cat([one[:3], even[:1]]), 2),
        (torch.cat([one[:1], even[:7]]), 8),
        (torch.ones(4, 1), 2),
        (torch.cat([even[:4], one[:1]]), 6),
        (torch.cat([torch.eye(8)[:5], torch.full((4, 8), 0.125)]), 9),
        (torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]]), 2),
        (torch.eye(7)[torch.tensor([0, 1, 2, 0, 1, 2])], 6),
    ]


EFFECTIVE = "return torch.special.entr(p).sum(dim=-1).exp()"
ROWS = "rows = shares[-last:]"
COLLAPSED = 'if effective(rows.mean(dim=0)) < half:\n        return "collapsed"'
UNSTABLE = 'return "unstable" if effective(rows).mean() < half else "balanced"'
ZERO = "What does the machine say that 0 · ln 0 is, and is NaN smaller than anything?"
LATELY = "A run begins even and collapses. What do its last rows say, and what do all rows together?"
TWO_QUESTIONS = "What do the mean row and the single rows of `torch.eye(4)` look like?"
HEALTHY = Exercise(
    cases=health_cases,
    mutants=(
        Mutant("nan", EFFECTIVE, "return (-(p * p.log()).sum(dim=-1)).exp()",
               "0 · ln 0 is computed as it stands, and NaN is not smaller than anything", ZERO),
        Mutant("large_epsilon", EFFECTIVE, "return (-(p * (p + 0.1).log()).sum(dim=-1)).exp()",
               "a tenth is added to every share before the logarithm",
               "How large is what you add beside a share of 1/E?"),
        Mutant("entropy", ".sum(dim=-1).exp()", ".sum(dim=-1)",
               "the entropy itself is compared with a number of experts",
               "What is the entropy of E equal shares, and what should N be?"),
        Mutant("bits", ".sum(dim=-1).exp()", ".sum(dim=-1) / math.log(2)",
               "the entropy itself, in bits, is compared with a number of experts",
               "What is the entropy of E equal shares, and what should N be?"),
        Mutant("half_of_entropy", ".sum(dim=-1).exp()", ".sum(dim=-1) / math.log(shares.shape[1]) * shares.shape[1]",
               "the entropy is compared with half of its largest value",
               "Is √E experts the same as E / 2?"),
        Mutant("two_to_the_nats", "torch.special.entr(p).sum(dim=-1).exp()", "2 ** torch.special.entr(p).sum(dim=-1)",
               "a sum of natural logarithms is undone by a power of two",
               "Which power undoes ln?"),
        Mutant("no_minus", EFFECTIVE, "return (-torch.special.entr(p)).sum(dim=-1).exp()",
               "the minus sign of the entropy is missing",
               "Can a row use less than one expert?"),
        Mutant("all_rows", ROWS, "rows = shares",
               "all rows are looked at, not only the last ones", LATELY),
        Mutant("first_rows", ROWS, "rows = shares[:last]",
               "the first rows are looked at instead of the last", LATELY),
        Mutant("without_first", ROWS, "rows = shares[last:] if last < len(shares) else shares",
               "the first rows are left out, and all the others are looked at",
               "How many rows does `shares[5:]` keep of a hundred?"),
        Mutant("last_row", ROWS, "rows = shares[-1:]",
               "only the very last row is looked at",
               "Where in your code does `last` come in?"),
        Mutant("one_row_more", ROWS, "rows = shares[-last - 1 :]",
               "one row too many is looked at",
               "How many rows does `shares[-3:]` have?"),
        Mutant("one_row_less", ROWS, "rows = shares[-last:-1] if len(shares) > 1 and last > 1 else shares[-last:]",
               "the very last row is left out",
               "Which is the last row in `shares[-3:-1]`?"),
        Mutant("only_mean", UNSTABLE, 'return "balanced"',
               "only the mean row is looked at, so that nothing is ever unstable", TWO_QUESTIONS),
        Mutant("only_rows", COLLAPSED, "pass",
               "a collapsed router is called unstable, because its single rows are bad as well", TWO_QUESTIONS),
        Mutant("rows_first", COLLAPSED + "\n    " + UNSTABLE,
               'if effective(rows).mean() < half:\n        return "unstable"\n'
               '    return "collapsed" if effective(rows.mean(dim=0)) < half else "balanced"',
               "a collapsed router is called unstable, because its single rows are bad as well",
               "A router sends everything to expert 0 at every step. Which of the two questions does it fail?"),
        Mutant("collapsed_by_rows", "effective(rows.mean(dim=0)) < half", "effective(rows).mean() < half",
               "bad single rows count as a collapse", TWO_QUESTIONS),
        Mutant("questions_swapped", COLLAPSED + "\n    " + UNSTABLE,
               'if effective(rows).mean() < half:\n        return "collapsed"\n'
               '    return "unstable" if effective(rows.mean(dim=0)) < half else "balanced"',
               "bad single rows count as a collapse", TWO_QUESTIONS),
        Mutant("entropy_averaged", "effective(rows).mean()", "effective(rows).log().mean().exp()",
               "the entropies of the rows are averaged before the exponential",
               "What is the mean of 1 and 8, and what is the exponential of the mean of ln 1 and ln 8?"),
        Mutant("worst_row", "effective(rows).mean()", "effective(rows).min()",
               "the worst row decides instead of the mean of all",
               "May one bad step among many good ones make a run unstable, by this rule?"),
        Mutant("best_row", "effective(rows).mean()", "effective(rows).max()",
               "the best row decides instead of the mean of all",
               "May one good step among many bad ones make a run balanced, by this rule?"),
        Mutant("majority", "effective(rows).mean() < half", "(effective(rows) < half).float().mean() > 0.5",
               "the rows vote, and most of them decide",
               "What is the mean of 1, 1 and 8, and what do most of them say?"),
        Mutant("negative_start", ROWS, "rows = shares[len(shares) - last :]",
               "a slice begins at a negative index when there are too few rows, and Python counts that from the end",
               "What is `row[5 - 6 :]` of a list of five?"),
        Mutant("last_row_unstable", "effective(rows).mean()", "effective(rows[-1])",
               "only the last row is asked whether it is even",
               "Of which rows is the second number a mean?"),
        Mutant("wrong_axis", "rows.mean(dim=0)", "rows.mean(dim=1)[: shares.shape[1]]",
               "each step is averaged over the experts, which always gives 1/E",
               "What is the mean of a row that adds up to one?"),
        Mutant("summed", "rows.mean(dim=0)", "rows.sum(dim=0)",
               "the rows are added up instead of averaged",
               "What do the numbers of the mean row add up to?"),
        Mutant("half_of_steps", "shares.shape[1] / 2", "len(rows) / 2",
               "the effective numbers are compared with half of the steps",
               "Half of what, of the steps or of the experts?"),
        Mutant("all_experts", "shares.shape[1] / 2", "0.99 * shares.shape[1]",
               "the effective numbers are compared with the number of all experts",
               "Half of what?"),
        Mutant("whole_half", "shares.shape[1] / 2", "shares.shape[1] // 2",
               "half of the experts is rounded down",
               "What is 9 // 2, and how many experts are half of nine?"),
        Mutant("two", "shares.shape[1] / 2", "2",
               "the effective numbers are compared with two",
               "Half of how many experts?"),
        Mutant("share_half", "shares.shape[1] / 2", "0.5",
               "the effective numbers are compared with one half",
               "What is the smallest effective number that there is?"),
        Mutant("above", "effective(rows.mean(dim=0)) < half", "effective(rows.mean(dim=0)) > half",
               "many experts in use count as a collapse",
               "What is the effective number of an even row?"),
        Mutant("largest", 'effective(rows.mean(dim=0)) < half', "rows.mean(dim=0).max() > 0.5",
               "an expert with more than half of the tokens is looked for",
               "Four of nine experts have a quarter each. Which is the largest share, and what is N?"),
        Mutant("dead", 'effective(rows.mean(dim=0)) < half', "rows.mean(dim=0).min() < 1e-3",
               "one expert without tokens is enough for a collapse",
               "Eight of nine experts share everything evenly. What is N?"),
        Mutant("inverse_square", EFFECTIVE, "return 1 / p.square().sum(dim=-1)",
               "one is divided by the sum of the squares: a good measure, but another one",
               "Where is the logarithm?"),
        Mutant("count", EFFECTIVE, "return (p > 0).float().sum(dim=-1)",
               "every expert that gets anything at all counts fully",
               "One expert has 0.8, four have 0.05 each. How many work?"),
        Mutant("spread_over_steps", UNSTABLE,
               'return "unstable" if rows.std(dim=0, unbiased=False).max() > 0.25 else "balanced"',
               "the spread of the shares over the steps is looked at instead of the effective number of each step",
               "Where does the second number of the rule appear in your code?"),
        Mutant("capitals", "\"collapsed\"\n", "\"Collapsed\"\n",
               "a word is written otherwise than in the statement",
               "Which three words may come back, letter by letter?"),
        Mutant("flags", COLLAPSED + "\n    " + UNSTABLE,
               "return bool(effective(rows.mean(dim=0)) < half), bool(effective(rows).mean() < half)",
               "the answers to both questions are returned instead of a word",
               "Which three words may come back?"),
    ),
    variants=("""\
def healthy(shares, last):
    rows = shares[max(0, len(shares) - last) :]
    def N(p):
        return math.exp(-sum(q * math.log(q) for q in p if q > 0))
    E = shares.shape[1]
    if N(rows.mean(dim=0).tolist()) < E / 2:
        return "collapsed"
    numbers = [N(row) for row in rows.tolist()]
    if sum(numbers) / len(numbers) < E / 2:
        return "unstable"
    return "balanced\"""", """\
def healthy(shares, last):
    rows = shares[-last:]
    both = torch.cat([rows, rows.mean(dim=0, keepdim=True)])
    N = torch.exp(-(both * both.clamp(min=1e-12).log()).sum(dim=1))
    enough = 2 * N >= 0.99999 * shares.shape[1]
    if not enough[-1]:
        return "collapsed"
    return "balanced" if 2 * N[:-1].mean() >= shares.shape[1] else "unstable\"""", """\
def healthy(shares, last):
    N = lambda p: torch.distributions.Categorical(probs=p).entropy().exp()
    rows, E = shares[-last:].double(), shares.shape[1]
    if N(rows.mean(0)) < E / 2:
        return "collapsed"
    return ["balanced", "unstable"][int(N(rows).mean() < E / 2)]""", """\
def healthy(shares, last):
    last = min(last, shares.shape[0])
    window = shares[shares.shape[0] - last :]
    def effective(p):
        terms = torch.nan_to_num(p * torch.log(p), nan=0.0)
        return torch.exp(-terms.sum(-1))
    average = window.sum(0) / last
    if effective(average).item() < shares.shape[1] / 2:
        return "collapsed"
    if effective(window).mean().item() < shares.shape[1] / 2:
        return "unstable"
    return "balanced\"""",
    ),
    properties=(
        Property(lambda word, *_: word in ("collapsed", "unstable", "balanced"),
                 "Only \"collapsed\", \"unstable\" and \"balanced\" may come back."),
    ),
    twin=healthy_twin,
)  # fmt: skip


# 20.9


def choice_twin(rng: random.Random) -> Question:
    """How many experts take a token when experts choose."""
    N, capacity = rng.randint(7, 8), rng.randint(2, 3)
    probs = rng.sample(range(5, 96, 3), N)
    first, second = sorted(probs)[-capacity:], sorted(probs)[:capacity]
    asked = rng.choice([first[0], second[-1], sorted(probs)[capacity]])
    return Question(
        f"Two experts choose among {N} tokens, {capacity} each. The router's probabilities for the first are "
        f"{[p / 100 for p in probs]}. How many experts work on the token with {asked / 100}?",
        (asked in first) + (asked in second),
        f"The first takes {[p / 100 for p in first]}. The second, whose probabilities are one minus these, takes "
        f"{[p / 100 for p in second]}.",
    )  # fmt: skip


def choice_cases() -> list[tuple]:
    """No group axis, one, two; N = E; more places than tokens; one place, one token."""
    shapes = ((7, 4), (3, 5, 4), (2, 3, 6, 5), (5, 5), (4, 3, 7), (2, 1, 3), (6, 2), (8, 3))
    capacities = (3, 2, 1, 2, 9, 1, 6, 4)
    return [(2 * normal(900 + i, shape)[0], n) for i, (shape, n) in enumerate(zip(shapes, capacities))]


PROBABILITIES = "probs = torch.softmax(scores, dim=-1)"
BEST = "best = probs.topk(min(capacity, probs.shape[-2]), dim=-2)"
WRITTEN = "return torch.zeros_like(probs).scatter(-2, best.indices, best.values)"
WHO = "The softmax and the choice run along an axis each. Who competes with whom in them?"
GROUPS = "May the choice in one group change what happens in another?"
EXPERT_CHOICE = Exercise(
    cases=choice_cases,
    mutants=(
        Mutant("softmax_over_tokens", PROBABILITIES, "probs = torch.softmax(scores, dim=-2)",
               "the softmax runs over the tokens instead of the experts", WHO),
        Mutant("softmax_over_axis_0", PROBABILITIES, "probs = torch.softmax(scores, dim=0)",
               "the softmax runs over axis 0, whatever that axis is",
               "Which axis is number 0 in (B, N, E), and which in (N, E)?"),
        Mutant("softmax_over_axis_1", PROBABILITIES, "probs = torch.softmax(scores, dim=1)",
               "the softmax runs over axis 1, whatever that axis is",
               "Which axis is number 1 in (B, N, E), and which in (N, E)?"),
        Mutant("token_choice", BEST + "\n    " + WRITTEN,
               "best = probs.topk(min(capacity, probs.shape[-1]), dim=-1)\n"
               "    return torch.zeros_like(probs).scatter(-1, best.indices, best.values)",
               "the tokens choose experts, as in 20.2", WHO),
        Mutant("token_choice_and_softmax", PROBABILITIES + "\n    " + BEST + "\n    " + WRITTEN,
               "probs = torch.softmax(scores, dim=-2)\n    best = probs.topk(min(capacity, probs.shape[-1]), dim=-1)\n"
               "    return torch.zeros_like(probs).scatter(-1, best.indices, best.values)",
               "softmax and choice have changed axes", WHO),
        Mutant("axis_0", "", """\
def expert_choice(scores, capacity):
    probs = torch.softmax(scores, dim=-1)
    best = probs.topk(min(capacity, probs.shape[0]), dim=0)
    return torch.zeros_like(probs).scatter(0, best.indices, best.values)""",
               "the experts choose along axis 0, whatever that axis is",
               "Which axis is number 0 in (B, N, E), and which in (N, E)?"),
        Mutant("scores_chosen", BEST, "places = scores.topk(min(capacity, scores.shape[-2]), dim=-2).indices\n"
               "    best = type('Best', (), {'indices': places, 'values': probs.gather(-2, places)})",
               "the experts choose by scores instead of probabilities",
               "A token has high scores for all experts. How large are its probabilities?"),
        Mutant("scores_written", PROBABILITIES, "probs = scores",
               "there is no softmax at all",
               "May a weight be negative?"),
        Mutant("scores_as_weights", "best.values)", "scores.gather(-2, best.indices))",
               "the scores of the chosen tokens are returned instead of their probabilities",
               "May a weight be negative?"),
        Mutant("softmax_of_chosen", "", """\
def expert_choice(scores, capacity):
    best = scores.topk(min(capacity, scores.shape[-2]), dim=-2).indices
    chosen = torch.zeros_like(scores, dtype=torch.bool).scatter(-2, best, True)
    return torch.softmax(scores.masked_fill(~chosen, -1e9), dim=-1) * chosen""",
               "the experts choose by scores, and the softmax runs only over the experts that have chosen a token",
               "In which order do softmax and choice come?"),
        Mutant("divided_by_token", WRITTEN, "kept = torch.zeros_like(probs).scatter(-2, best.indices, best.values)\n"
               "    return kept / kept.sum(dim=-1, keepdim=True).clamp(min=1e-9)",
               "the weights of a token are divided by their sum",
               "What does the statement say about a division?"),
        Mutant("divided_by_token_nan", WRITTEN, "kept = torch.zeros_like(probs).scatter(-2, best.indices, "
               "best.values)\n"
               "    return kept / kept.sum(dim=-1, keepdim=True)",
               "the weights of a token are divided by their sum, which is zero for one that nobody has chosen",
               "What does the statement say about a division?"),
        Mutant("divided_by_expert", WRITTEN, "kept = torch.zeros_like(probs).scatter(-2, best.indices, best.values)\n"
               "    return kept / kept.sum(dim=-2, keepdim=True)",
               "the weights of an expert are divided by their sum",
               "What does the statement say about a division?"),
        Mutant("no_limit", "min(capacity, probs.shape[-2])", "capacity",
               "more tokens are asked for than there are",
               "What does `topk(9)` do with three tokens?"),
        Mutant("limited_by_experts", "probs.shape[-2]", "probs.shape[-1]",
               "an expert takes no more tokens than there are experts",
               "Of which is there a limited number to take: tokens or experts?"),
        Mutant("one_less", "min(capacity, probs.shape[-2])", "max(1, min(capacity, probs.shape[-2]) - 1)",
               "an expert takes one token less than it has places",
               "How many tokens does an expert with three places take?"),
        Mutant("one_more", "min(capacity, probs.shape[-2])", "min(capacity + 1, probs.shape[-2])",
               "an expert takes one token more than it has places",
               "How many tokens does an expert with one place take?"),
        Mutant("capacity_shared", "", """\
def expert_choice(scores, capacity):
    probs = torch.softmax(scores, dim=-1)
    flat = probs.flatten(-2)
    best = flat.topk(min(capacity * probs.shape[-1], flat.shape[-1]), dim=-1)
    return torch.zeros_like(flat).scatter(-1, best.indices, best.values).view_as(probs)""",
               "the experts of a group fill one common list of places",
               "How many tokens does each single expert take?"),
        Mutant("groups_together", "", """\
def expert_choice(scores, capacity):
    probs = torch.softmax(scores, dim=-1)
    flat = probs.reshape(-1, probs.shape[-1])
    best = flat.topk(min(capacity, flat.shape[0]), dim=0)
    return torch.zeros_like(flat).scatter(0, best.indices, best.values).view_as(probs)""",
               "the tokens of all groups compete for the same places", GROUPS),
        Mutant("groups_together_in_proportion", "", """\
def expert_choice(scores, capacity):
    probs = torch.softmax(scores, dim=-1)
    flat = probs.reshape(-1, probs.shape[-1])
    groups = len(flat) // probs.shape[-2]
    best = flat.topk(min(capacity * groups, flat.shape[0]), dim=0)
    return torch.zeros_like(flat).scatter(0, best.indices, best.values).view_as(probs)""",
               "the places of all groups are thrown together", GROUPS),
        Mutant("smallest", "dim=-2)\n", "dim=-2, largest=False)\n",
               "the experts take the tokens that they want least",
               "Which probabilities should an expert look for?"),
        Mutant("scattered_along_experts", "scatter(-2,", "scatter(-1,",
               "the chosen are written along the axis of the experts",
               "What do the indices count that `topk` along the tokens returns?"),
        Mutant("first_rows", WRITTEN, "kept = torch.zeros_like(probs)\n"
               "    kept[..., : best.values.shape[-2], :] = best.values\n    return kept",
               "the probabilities are written into the first rows instead of those of the chosen tokens",
               "Which row of the result belongs to token 5?"),
        Mutant("only_values", WRITTEN, "return best.values",
               "the list of the largest probabilities is returned",
               "Which shape should the result have, and how would one see from it which tokens were chosen?"),
        Mutant("only_places", WRITTEN, "return best.indices",
               "the numbers of the chosen tokens are returned",
               "Which shape should the result have?"),
        Mutant("ones", WRITTEN, "return torch.zeros_like(probs).scatter(-2, best.indices, 1.0)",
               "every chosen token gets the weight 1",
               "How does the output tell how much an expert wanted a token?"),
        Mutant("boolean", WRITTEN, "return torch.zeros_like(probs).scatter(-2, best.indices, 1.0).bool()",
               "it is only said who was chosen, not with which weight",
               "How does the output tell how much an expert wanted a token?"),
        Mutant("once_each", "", """\
def expert_choice(scores, capacity):
    probs = torch.softmax(scores, dim=-1)
    kept = torch.zeros_like(probs)
    for e in range(probs.shape[-1]):
        free = probs[..., e].masked_fill(kept.sum(dim=-1) > 0, -1.0)
        best = free.topk(min(capacity, probs.shape[-2]), dim=-1)
        kept[..., e].scatter_(-1, best.indices, best.values.clamp(min=0.0))
    return kept""",
               "a token that one expert has taken is not free for the next",
               "May two experts choose the same token?"),
        Mutant("best_expert_only", WRITTEN, "kept = torch.zeros_like(probs).scatter(-2, best.indices, best.values)\n"
               "    return kept * (kept == kept.amax(dim=-1, keepdim=True))",
               "a token stays only with the expert that wants it most",
               "May two experts choose the same token?"),
        Mutant("favourites_only", WRITTEN,
               "kept = torch.zeros_like(probs).scatter(-2, best.indices, best.values)\n"
               "    return kept * (probs == probs.amax(dim=-1, keepdim=True))",
               "an expert gets only those of its tokens that want no other expert more",
               "Who chooses here? May an expert take a token that would rather go to another?"),
        Mutant("nobody_left_out", WRITTEN, "kept = torch.zeros_like(probs).scatter(-2, best.indices, best.values)\n"
               "    first = torch.zeros_like(probs).scatter(-1, probs.argmax(-1, keepdim=True), probs.amax(-1, "
               "keepdim=True))\n"
               "    return torch.where(kept.sum(dim=-1, keepdim=True) > 0, kept, first)",
               "a token that nobody has chosen is sent to its own favourite",
               "May a token be chosen by no one?"),
        Mutant("sigmoid", PROBABILITIES, "probs = torch.sigmoid(scores)",
               "each score is squashed by itself, without looking at the other experts", WHO),
        Mutant("log", "torch.softmax(", "torch.log_softmax(",
               "the probabilities are logarithms",
               "May a probability be negative?"),
        Mutant("softmax_again", "best.values)", "torch.softmax(best.values, dim=-2))",
               "an expert's chosen probabilities pass through a second softmax",
               "What does a softmax do to numbers that all lie between 0 and 1?"),
        Mutant("in_place", "", """\
def expert_choice(scores, capacity):
    scores -= scores.amax(dim=-1, keepdim=True)
    scores.exp_()
    scores /= scores.sum(dim=-1, keepdim=True)
    best = scores.topk(min(capacity, scores.shape[-2]), dim=-2)
    return torch.zeros_like(scores).scatter(-2, best.indices, best.values)""",
               "the scores themselves are overwritten with probabilities",
               "To whom do the scores belong, and what will they find in them afterwards?"),
        Mutant("loop_over_first_axis", "", """\
def expert_choice(scores, capacity):
    probs = torch.softmax(scores, dim=-1)
    kept = torch.zeros_like(probs)
    for e in range(probs.shape[1]):
        for n in probs[:, e].argsort(descending=True)[:capacity].tolist():
            kept[n, e] = probs[n, e]
    return kept""",
               "a group axis is not expected",
               "Which axis is number 1 in (B, N, E), and which in (N, E)?"),
    ),
    variants=("""\
def expert_choice(scores, capacity):
    p = F.softmax(scores, -1).transpose(-1, -2)
    rank = p.argsort(dim=-1, descending=True).argsort(dim=-1)
    return torch.where(rank < capacity, p, 0.0).transpose(-1, -2)""", """\
def expert_choice(scores, capacity):
    *groups, N, E = scores.shape
    flat = torch.softmax(scores.reshape(-1, N, E), dim=-1)
    kept = torch.zeros_like(flat)
    for g in range(flat.shape[0]):
        for e in range(E):
            for n in sorted(range(N), key=lambda n: -flat[g, n, e].item())[:capacity]:
                kept[g, n, e] = flat[g, n, e]
    return kept.reshape(scores.shape)""", """\
def expert_choice(scores, capacity):
    probs = torch.softmax(scores, dim=-1)
    c = min(capacity, probs.size(-2))
    threshold = probs.sort(dim=-2, descending=True).values[..., c - 1 : c, :]
    return probs * (probs >= threshold)""", """\
def expert_choice(scores, capacity):
    if scores.dim() > 2:
        return torch.stack([expert_choice(group, capacity) for group in scores])
    probs = (scores - scores.logsumexp(dim=1, keepdim=True)).exp()
    result = torch.zeros_like(probs)
    for e, column in enumerate(probs.unbind(dim=1)):
        n = column.topk(min(capacity, len(column))).indices
        result[n, e] = column[n]
    return result""",
    ),
    properties=(
        Property(lambda y, scores, capacity: ((y != 0).sum(-2) == min(capacity, scores.shape[-2])).all(),
                 "An expert has taken more or fewer tokens than it has places for."),
        Property(lambda y, *_: (y >= 0).all() and (y <= 1).all(), "A weight is no probability."),
    ),
    twin=choice_twin,
)  # fmt: skip


EXERCISES = {
    "active_share": ACTIVE_SHARE,
    "route": ROUTE,
    "moe_forward": MOE_FORWARD,
    "balance_loss": BALANCE_LOSS,
    "dispatch": DISPATCH,
    "dropped": DROPPED,
    "moe_parameters": MOE_PARAMETERS,
    "healthy": HEALTHY,
    "expert_choice": EXPERT_CHOICE,
}


def experts_flops(rng: random.Random) -> Question:
    k = rng.randint(2, 4)
    E, narrow = k * rng.choice([4, 8, 16]), rng.choice([2, 4])
    return Question(
        f"An MLP is replaced by {E} experts, each with 1/{narrow} of its hidden width; a token uses {k}. By what "
        "factor do the FLOPs of this layer per token change? (Without the router.)", k / narrow,
        f"{k} experts work, each for 1/{narrow} of the price. That there are {E} of them costs memory only.", 0.01,
    )  # fmt: skip


def renormalised(rng: random.Random) -> Question:
    a, b = sorted((rng.randint(10, 45), rng.randint(10, 45)), reverse=True)
    return Question(
        f"The two largest of a token's router probabilities are {a / 100} and {b / 100}. With k = 2, which weight "
        "does the first of these experts get?", a / (a + b),
        f"The kept ones share one unit: {a / 100} / ({a / 100} + {b / 100}).", 0.01,
    )  # fmt: skip


def collapsed_loss(rng: random.Random) -> Question:
    E = rng.randint(3, 64)
    return Question(
        f"{E} experts, one active. Every token goes to expert 0, with probability 1. What is E · Σ f P?", E,
        f"Only one term is not zero: 1 · 1, times {E}. An even router has 1.",
    )  # fmt: skip


def places_of_an_expert(rng: random.Random) -> Question:
    N, E, k = rng.choice([512, 1024, 4096]), rng.choice([8, 16, 32]), rng.randint(1, 2)
    factor = rng.choice([1.0, 1.25, 1.5, 2.0])
    return Question(
        f"{N} tokens, {E} experts, {k} active, a capacity factor of {factor}. How many places has each expert's "
        f"buffer?",
        math.ceil(factor * N * k / E), f"{factor} · {N} · {k} / {E}: an even share of all choices, times the factor.",
    )  # fmt: skip


def memory_of_experts(rng: random.Random) -> Question:
    rest, expert, E = rng.randint(2, 9), rng.randint(3, 12), rng.choice([8, 16, 64])
    return Question(
        f"A model has {rest} billion shared parameters and {E} experts of {expert} billion each (all layers together); "
        "a token uses 2 of them. In bf16, how many GB (1e9 bytes) do its weights take in memory?",
        2 * (rest + E * expert),
        f"Any token may need any expert, so all are there: 2 bytes times {rest} + {E} · {expert} billion.", 0.01,
    )  # fmt: skip


def pushed_hardest(rng: random.Random) -> Question:
    N, E, count = rng.choice([50, 100, 200]), rng.choice([4, 8]), rng.randint(10, 40)
    return Question(
        f"{N} tokens, {E} experts, one active; expert 0 was chosen {count} times. What is the derivative of E · Σ f "
        "P with respect to one token's probability for expert 0?", E * count / N / N,
        f"E · f / N = {E} · ({count}/{N}) / {N}: P is a mean over {N} tokens, and f is a constant.", 0.01,
    )  # fmt: skip


RECALL = (experts_flops, renormalised, collapsed_loss, places_of_an_expert, memory_of_experts, pushed_hardest)
PREDICTIONS = {
    "20.p1": Prediction(
        "A block's MLP is replaced by 8 experts of the same size, and each token is sent to 2 of them. By what factor "
        "do the FLOPs of the MLP per token grow?",
        lambda: 2.0,
        "A token is multiplied by two experts and never meets the other six. (The router adds a product with a (C, 8) "
        "matrix, which is small beside them.)",
    ),
    "20.p2": Prediction(
        "8 experts, trained with nothing that balances them. After training, which share of the tokens goes to the "
        "busiest expert? (Even would be 0.125.)",
        None,
        "An expert that is chosen more often is trained more often, gets better, and is chosen more often still; "
        "nothing pulls the other way.",
        0.3,
    ),
    "20.p3": Prediction(
        "f_i is the share of tokens that go to expert i, P_i the router's mean probability for it. With 8 experts all "
        "of them are 1/8. What is E · Σ f_i P_i?",
        lambda: 1.0,
        "The sum is 8 · 1/8 · 1/8 = 1/8, and E = 8 makes it 1, whatever the number of experts.",
    ),
    "20.p4": Prediction(
        "Mixtral 8x7B has 32 layers, each with 8 experts of 3 · 4096 · 14336 parameters. How many billions of "
        "parameters has it in total, attention and embeddings among them?",
        lambda: 46.7,
        "The experts alone have 32 · 8 · 176.2 million = 45.1 billion; attention, embeddings and the rest add 1.6. It "
        "is not 8 · 7 = 56, since the experts share all but their MLPs.",
    ),
    "20.p5": Prediction(
        "Exhibit 4 of the museum: in which row of the table, by its step, do two columns differ that should be equal?",
        lambda: 10.0,
        "The held-out losses of rank 0 and rank 1: equal at step 0, and different from step 10 on.",
        0.01,
    ),
}
