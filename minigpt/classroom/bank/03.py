"""Lesson 03, predicting the next token: cases, and the wrong ideas that people have about it."""
import math
import random

import torch

from . import Exercise, Mutant, Prediction, Property, Question


def tokens(seed: int, size: int, V: int) -> torch.Tensor:
    """A text of `size` tokens below V, small numbers more frequent; always the same one for a seed."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(size, generator=generator).square() * V).long()


def adds_up(rows: torch.Tensor) -> bool:
    return torch.allclose(rows.sum(-1), torch.ones(()), atol=1e-4)


def bigrams(ids: torch.Tensor, V: int) -> torch.Tensor:
    """The table of 03.1, for the cases of others."""
    return torch.bincount(ids[:-1] * V + ids[1:], minlength=V * V).view(V, V)


# 03.1


def counts_twin(rng: random.Random) -> Question:
    """How often one letter follows another in a short text."""
    text = "".join(rng.choice("aab") for _ in range(rng.randint(8, 14)))
    first, second = rng.choice(["aa", "ab", "ba"])
    answer = sum(pair == (first, second) for pair in zip(text, text[1:]))
    return Question(
        f"The text is {text}. How often does {second} stand right after {first}?", answer,
        f"It has {len(text) - 1} pairs of neighbours, which may overlap; {answer} of them are {first}{second}.",
    )  # fmt: skip


PAIRS = "pairs = ids[:-1] * V + ids[1:]"
COUNTED = "return torch.bincount(pairs, minlength=V * V).view(V, V)"
ONCE = "Three times a 0 comes after a 1. Which number should stand at [1, 0], and which does yours hold?"
LAST_PAIR = "Which pair of neighbours ends with the last token of the text?"
BIGRAM_COUNTS = Exercise(
    cases=lambda: [(tokens(1, 40, 5), 5), (torch.tensor([1, 0, 2, 2, 2, 0]), 4), (torch.tensor([2]), 3),
                   (torch.tensor([0, 1]), 2), (torch.tensor([3, 3, 3, 3, 3]), 6)],
    mutants=(
        Mutant("transposed", PAIRS, "pairs = ids[1:] * V + ids[:-1]",
               "rows and columns have changed places: the table says what came before",
               "In [a, b], which of the two tokens comes first in the text?"),
        Mutant("once", "", """\
def bigram_counts(ids, V):
    counts = torch.zeros(V, V, dtype=torch.int64)
    counts[ids[:-1], ids[1:]] += 1
    return counts""",
               "a place that is named several times is raised only once", ONCE),
        Mutant("once_transposed", "", """\
def bigram_counts(ids, V):
    counts = torch.zeros(V, V, dtype=torch.int64)
    counts[ids[1:], ids[:-1]] += 1
    return counts""",
               "rows and columns have changed places, and each place is raised only once", ONCE),
        Mutant("wraps", PAIRS, "pairs = ids.roll(1) * V + ids",
               "the last token of the text is followed by the first",
               "What comes before the first token of a text, and which element is ids[-1]?"),
        Mutant("wraps_transposed", PAIRS, "pairs = ids * V + ids.roll(1)",
               "the text is a ring, and rows and columns have changed places",
               "What comes before the first token of a text, and which element is ids[-1]?"),
        Mutant("last_pair", PAIRS, "pairs = ids[:-2] * V + ids[1:-1]",
               "the last pair is left out", LAST_PAIR),
        Mutant("first_pair", PAIRS, "pairs = ids[1:-1] * V + ids[2:]",
               "the first pair is left out", "Which pair of neighbours begins with the first token of the text?"),
        Mutant("itself", PAIRS, "pairs = ids * V + ids",
               "each token is paired with itself", "Which token stands to the right of token t?"),
        Mutant("two_on", PAIRS, "pairs = ids[:-2] * V + ids[2:]",
               "each token is paired with the next but one", "Which token stands right after token t?"),
        Mutant("no_overlap", PAIRS, "pairs = ids[:-1:2] * V + ids[1::2]",
               "the text is cut into pairs that do not overlap",
               "How many pairs of neighbours are there in a text of three tokens?"),
        Mutant("both_ways", "return torch.bincount(pairs, minlength=V * V).view(V, V)",
               "counts = torch.bincount(pairs, minlength=V * V).view(V, V)\n    return counts + counts.T",
               "each pair is counted in both directions",
               "Does 'q before u' say anything about 'u before q'?"),
        Mutant("not_in_between", PAIRS, "pairs = ids[:-1] * V + ids[1:]\n    pairs = pairs[ids[:-1] != ids[1:]]",
               "a token after itself is not counted", "What should stand at [0, 0] for the text 0, 0?"),
        Mutant("float", ".view(V, V)", ".view(V, V).float()",
               "the counts are floats", "Can a pair come half a time?"),
        Mutant("int32", ".view(V, V)", ".view(V, V).int()",
               "the counts are whole numbers of 32 bits", "Which dtype is asked for?"),
        Mutant("probabilities", COUNTED,
               "counts = torch.bincount(pairs, minlength=V * V).view(V, V)\n"
               "    return counts / counts.sum(dim=1, keepdim=True)",
               "the counts are divided by the sum of their row", "Are counts asked for, or shares?"),
        Mutant("from_one", COUNTED, COUNTED + " + 1",
               "every count begins at one", "How often has a pair been seen that never came?"),
        Mutant("seen_only", COUNTED,
               "size = int(ids.max()) + 1\n    return torch.bincount(ids[:-1] * size + ids[1:], minlength=size * size)"
               ".view(size, size)",
               "the table is as large as the largest token that occurs",
               "How many rows are asked for, if V is 6 and the text holds no token above 3?"),
        Mutant("flat", ".view(V, V)", "",
               "the counts come in one long row", "Which shape should the result have?"),
        Mutant("no_minlength", ", minlength=V * V", "",
               "the row of counts ends with the last pair that occurs",
               "How many places does the table have if only one pair of tokens occurs?"),
        Mutant("wrong_width", "ids[:-1] * V", "ids[:-1] * (V - 1)",
               "a row is taken to be V - 1 places long",
               "At which place of a long row does row 1 of the table begin, if row 0 has V places?"),
        Mutant("seen", COUNTED, "return torch.bincount(pairs, minlength=V * V).view(V, V).clamp(max=1)",
               "a place that is named several times is raised only once", ONCE),
        Mutant("cumulative", "", """\
def bigram_counts(ids, V):
    counts = torch.zeros(V, V, dtype=torch.int64)
    for i in range(len(ids)):
        for j in range(i + 1, len(ids)):
            counts[ids[i], ids[j]] += 1
    return counts""",
               "everything that comes later is counted, not only what comes next",
               "In the text 0, 1, 2: how often does 2 stand right after 0?"),
        Mutant("dictionary", COUNTED,
               "counts = {}\n    for a, b in zip(ids.tolist(), ids[1:].tolist()):\n"
               "        counts[a, b] = counts.get((a, b), 0) + 1\n    return counts",
               "the counts come in a dictionary", "Which type, and which shape, should the result have?"),
        Mutant("list", ".view(V, V)", ".view(V, V).tolist()",
               "the counts come in lists", "Which type should the result have?"),
        Mutant("lost_last", "", """\
def bigram_counts(ids, V):
    counts = torch.zeros(V, V, dtype=torch.int64)
    for i in range(len(ids) - 2):
        counts[ids[i], ids[i + 1]] += 1
    return counts""",
               "the last pair is left out", LAST_PAIR),
        Mutant("from_zero", "", """\
def bigram_counts(ids, V):
    counts = torch.zeros((V, V)).long()
    prev = 0
    for i in ids:
        counts[prev, i] += 1
        prev = i
    return counts""",
               "a token 0 is taken to stand before the text",
               "Which pair of neighbours does the first token come second in?"),
        Mutant("one_row", "", """\
def bigram_counts(ids, V):
    counts = [[0] * V] * V
    for a, b in zip(ids.tolist(), ids.tolist()[1:]):
        counts[a][b] += 1
    return torch.tensor(counts)""",
               "all rows of the table are one and the same list",
               "You change row 0 of `[[0] * 3] * 3`. What becomes of row 1?"),
        Mutant("string", "", """\
def bigram_counts(ids, V):
    s = "".join(chr(97 + i) for i in ids)
    return torch.tensor([[s.count(chr(97 + a) + chr(97 + b)) for b in range(V)] for a in range(V)])""",
               "a search goes on after the pair that it has found, so that pairs do not overlap",
               "How often does 'aa' stand in 'aaa'?"),
        Mutant("past_the_end", "", """\
def bigram_counts(ids, V):
    counts = torch.zeros(V, V, dtype=torch.int64)
    for i in range(len(ids)):
        counts[ids[i], ids[i + 1]] += 1
    return counts""",
               "the loop asks for a token after the last one",
               "How many pairs of neighbours are there in a text of N tokens?"),
    ),
    variants=("""\
def bigram_counts(ids, V):
    counts = torch.zeros(V, V, dtype=torch.int64)
    for a, b in zip(ids, ids[1:]):
        counts[a, b] += 1
    return counts""", """\
def bigram_counts(ids, V):
    counts = torch.zeros(V, V, dtype=torch.int64)
    one = torch.ones(len(ids) - 1, dtype=torch.int64)
    return counts.index_put_((ids[:-1], ids[1:]), one, accumulate=True)""", """\
def bigram_counts(ids, V):
    first = (ids[:-1, None] == torch.arange(V)).double()
    second = (ids[1:, None] == torch.arange(V)).double()
    return (first.T @ second).long()""", """\
def bigram_counts(ids, V):
    text = ids.tolist()
    pairs = list(zip(text[:-1], text[1:]))
    return torch.tensor([[pairs.count((a, b)) for b in range(V)] for a in range(V)])""", """\
def bigram_counts(ids, V):
    import numpy as np

    counts = np.zeros((V, V), dtype=np.int64)
    np.add.at(counts, (ids[:-1].numpy(), ids[1:].numpy()), 1)
    return torch.from_numpy(counts)""",
    ),
    properties=(
        Property(lambda counts, ids, V: counts.sum() == len(ids) - 1,
                 "The counts do not add up to the number of pairs of neighbours, N - 1."),
    ),
    twin=counts_twin,
)  # fmt: skip


# 03.2


def smoothing_twin(rng: random.Random) -> Question:
    """One probability of a row that was smoothed by adding k."""
    V, k = rng.randint(5, 40), rng.choice([0.1, 0.5, 2.0])
    total = rng.randint(4, 30)
    seen = rng.randint(1, total)
    return Question(
        f"After some context {total} tokens were counted, and {seen} of them were the same one. The vocabulary has {V} "
        f"tokens. Which probability does add-k smoothing with k = {k:g} give to it?", (seen + k) / (total + k * V),
        f"({seen} + {k:g}) / ({total} + {k:g} · {V}): k is added below once for each of the {V} tokens.", 0.01,
    )  # fmt: skip


def count_cases() -> list[tuple]:
    """Not square, with an unseen context; square; whole k; one context; one token."""
    wide, square = tokens(2, 12, 9).view(3, 4).clone(), bigrams(tokens(3, 30, 5), 6)
    wide[1] = 0
    return [(wide, 0.5), (square, 0.25), (wide.T.contiguous(), 2), (torch.tensor([[7, 0, 2]]), 1),
            (torch.tensor([[3], [0]]), 1.0), (torch.tensor([[1, 5], [4, 2]]), 3.0)]  # fmt: skip


ADDED = "What do the numbers of a row of yours add up to, for counts of 3 and 1 and k = 1?"
ADD_K = Exercise(
    cases=count_cases,
    mutants=(
        Mutant("not_below", "total = raised.sum", "total = counts.sum",
               "k is added above and not below", ADDED),
        Mutant("once_below", "total = raised.sum(dim=1, keepdim=True)", "total = counts.sum(dim=1, keepdim=True) + k",
               "k is added below only once", ADDED),
        Mutant("not_above", "return raised / total", "return counts / total",
               "k is added below and not above", "Which probability does a token get that never came?"),
        Mutant("rows_of_contexts", "total = raised.sum(dim=1, keepdim=True)",
               "total = counts.sum(dim=1, keepdim=True) + k * len(counts)",
               "k is added below once for each context instead of each token",
               "How many numbers of a row were raised by k?"),
        Mutant("no_keepdim", "dim=1, keepdim=True", "dim=1",
               "the sums of the rows divide the columns",
               "With which axis of (C, V) does PyTorch line up a shape (C,)?"),
        Mutant("columns", "dim=1", "dim=0",
               "each column is divided by its own sum",
               "Which numbers are the probabilities after one context: a row or a column?"),
        Mutant("one_total", "dim=1, keepdim=True", "",
               "everything is divided by one number, the sum of the whole table",
               "What should the numbers of one row add up to?"),
        Mutant("one", "raised = counts + k", "raised = counts + 1",
               "one is added, whatever k is", "Where does your function use k?"),
        Mutant("none", "raised = counts + k", "raised = counts",
               "nothing is added to a count of zero", "Which probability does a token get that never came?"),
        Mutant("none_uniform", "", """\
def add_k(counts, k):
    total = counts.sum(dim=1, keepdim=True)
    return torch.where(total > 0, counts / total.clamp(min=1), torch.full(counts.shape, 1 / counts.shape[1]))""",
               "only contexts that were never seen are smoothed",
               "Which probability does a token get that never came after a frequent context?"),
        Mutant("rows_with_zeros", "raised = counts + k",
               "raised = torch.where((counts == 0).any(dim=1, keepdim=True), counts + k, counts)",
               "only rows that hold a zero are smoothed",
               "As how many does a count of 3 count, if k is 1? Does it matter what else its row holds?"),
        Mutant("zeros_only", "counts + k", "torch.where(counts == 0, k, counts)",
               "only the counts of zero are raised", "As how many does a count of 3 count, if k is 1?"),
        Mutant("at_least", "counts + k", "counts.clamp(min=k)",
               "counts below k are set to k, and the others stay", "As how many does a count of 3 count, if k is 1?"),
        Mutant("shared_k", "counts + k", "counts + k / counts.shape[1]",
               "one k is shared among all tokens", "How much does each single token get?"),
        Mutant("times", "counts + k", "counts * k",
               "nothing is added to a count of zero", "What becomes of a count of zero?"),
        Mutant("mixed", "return raised / total",
               "seen = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)\n"
               "    return (1 - k) * seen + k / counts.shape[1]",
               "k is used as the weight of a uniform distribution",
               "Can k be 2? What does its size mean here: a weight, or a number of sightings?"),
        Mutant("softmax", "return raised / total", "return torch.softmax(counts + k, dim=1)",
               "a softmax is taken of the counts", "A softmax takes exponentials. What does adding k to all change?"),
        Mutant("seen_types", "total = raised.sum(dim=1, keepdim=True)",
               "total = counts.sum(dim=1, keepdim=True) + k * (counts > 0).sum(dim=1, keepdim=True)",
               "k is added below only for the tokens that were seen", ADDED),
        Mutant("minus_one", "total = raised.sum(dim=1, keepdim=True)",
               "total = counts.sum(dim=1, keepdim=True) + k * (counts.shape[1] - 1)",
               "k is added below for all tokens but one", ADDED),
        Mutant("empty_rows_zero", "return raised / total", "return raised / total * (counts.sum(1, keepdim=True) > 0)",
               "a context that was never seen gives nothing to anything",
               "What should a row of probabilities add up to, also if nothing was counted?"),
        Mutant("logarithms", "return raised / total", "return (raised / total).log()",
               "the result holds logarithms", "May a probability be negative?"),
        Mutant("transposed", "return raised / total", "return (raised / total).T",
               "rows and columns have changed places", "In which order do the axes of the result come?"),
        Mutant("mean", "raised.sum(", "raised.mean(",
               "each row is divided by its mean instead of its sum", "What should a row add up to?"),
        Mutant("largest", "raised.sum(dim=1, keepdim=True)", "raised.amax(dim=1, keepdim=True)",
               "each row is divided by its largest number", "What should a row add up to?"),
        Mutant("whole_k", "counts + k", "counts + int(k)",
               "k is rounded to a whole number", "What becomes of k = 0.5?"),
        Mutant("whole", "raised / total", "raised // total",
               "the division is rounded down", "Which number is 3 // 4?"),
        Mutant("raises_twice", "raised.sum(dim=1, keepdim=True)",
               "raised.sum(dim=1, keepdim=True) + k * counts.shape[1]",
               "k is added below twice, for the counts in the sum have it already",
               "Does `raised` hold k already, when you add it up?"),
        Mutant("in_place", "raised = counts + k", "counts += k\n    raised = counts",
               "the counts of the caller are raised in place",
               "Whose tensor is `counts`, and can one of whole numbers hold 0.5?"),
        Mutant("double", "counts + k", "counts.double() + k",
               "the result is in double precision", "Which dtype should the result have?"),
        Mutant("to_probabilities", "", """\
def add_k(counts, k):
    p = counts / counts.sum(1, keepdim=True)
    return (p + k) / (1 + k * counts.shape[1])""",
               "k is added to probabilities instead of counts",
               "What is a row of zeros divided by its sum, and what is k measured in: counts or shares?"),
        Mutant("one_each_below", "", """\
def add_k(counts, k):
    return (counts + k) / (counts.sum(dim=1, keepdim=True) + counts.shape[1])""",
               "one is added below for each token, and k above",
               ADDED),
        Mutant("uniform_by_contexts", "", """\
def add_k(counts, k):
    raised = counts + k
    total = raised.sum(dim=-1, keepdim=True)
    p = raised / total
    p[counts.sum(dim=1) == 0] = 1 / len(counts)
    return p""",
               "an unseen context gets 1/C, C being the number of contexts",
               "Among how many tokens does an unseen context share one?"),
    ),
    variants=("""\
def add_k(counts, k):
    V = counts.shape[1]
    return (counts + k) / (counts.sum(dim=1, keepdim=True) + k * V)""", """\
def add_k(counts, k):
    rows = []
    for row in counts.tolist():
        total = sum(row) + k * len(row)
        rows.append([(count + k) / total for count in row])
    return torch.tensor(rows)""", """\
def add_k(counts, k):
    C, V = counts.shape
    n = counts.sum(1, keepdim=True).float()
    trust = n / (n + k * V)
    return trust * counts / n.clamp(min=1) + (1 - trust) / V""", """\
def add_k(counts, k):
    return F.normalize(counts.float() + k, p=1, dim=-1)""", """\
def add_k(counts, k):
    raised = counts.float().add(k)
    return (raised.T / raised.sum(1)).T""",
    ),
    properties=(
        Property(lambda p, counts, k: (p > 0).all(), "A token has the probability 0, or less."),
        Property(lambda p, counts, k: adds_up(p), "The probabilities after a context do not add up to one."),
    ),
    twin=smoothing_twin,
)  # fmt: skip


# 03.3


def perplexity_twin(rng: random.Random) -> Question:
    a, b = sorted(rng.sample(range(1, 8), 2))
    if (a + b) % 2:
        b += 1
    return Question(
        f"Half of the tokens of a text get the probability 1/{2**a}, the other half 1/{2**b}. "
        "What is the perplexity?", 2 ** ((a + b) / 2),
        f"The losses are {a} and {b} bits, {(a + b) / 2:g} on average; 2 to this power.", 0.01,
    )  # fmt: skip


def log_prob_cases() -> list[tuple]:
    """Padding that holds 0, any number, and −∞; nothing but tokens; one token; tokens that were certain, impossible."""
    generator = torch.Generator().manual_seed(33)
    log_probs = torch.log_softmax(2 * torch.randn(4, 7, 5, generator=generator), -1)[..., 0]
    lengths = torch.tensor([7, 2, 4, 1])
    mask = torch.arange(7) < lengths[:, None]
    minus_infinity = log_probs.masked_fill(~mask, -math.inf)
    everywhere = torch.ones(2, 3, dtype=torch.bool)
    return [(log_probs, mask), (minus_infinity, mask), (log_probs[:2, :3].contiguous(), everywhere),
            (torch.tensor([[-0.5, -3.0]]), torch.tensor([[False, True]])),
            (torch.tensor([[-1.5, 0.0, -0.2], [0.0, -0.7, 0.0]]), torch.tensor([[True, True, False], [True] * 3])),
            (torch.tensor([[-1.0, -math.inf, -2.0]]), torch.tensor([[True, True, False]]))]  # fmt: skip


EXP_LAST = "With p = 1/2 and 1/8 the perplexity is 4. What is the mean of 2 and 8?"
ZERO_INFINITY = "What does your computer say that 0 · ∞ is?"
HOW_MANY = "By how many do you divide, and how many tokens are there?"
CERTAIN = "A model was certain of a token, and right. What is its loss there, and does the token count?"
PERPLEXITY = Exercise(
    cases=log_prob_cases,
    mutants=(
        Mutant("exp_first", "torch.exp(-log_probs[mask].mean())", "torch.exp(-log_probs[mask]).mean()",
               "the exponential is taken of each token, before the mean", EXP_LAST),
        Mutant("padding", "log_probs[mask]", "log_probs",
               "padding is averaged in as if it were text", "Where does your function use the mask?"),
        Mutant("padding_zero", "log_probs[mask]", "log_probs.masked_fill(~mask, 0.0)",
               "padding counts as tokens that were predicted with certainty", HOW_MANY),
        Mutant("times_zero", "log_probs[mask]", "(log_probs * mask)",
               "padding counts as tokens with a loss of zero, and −∞ times zero as NaN", ZERO_INFINITY),
        Mutant("times", "log_probs[mask].mean()", "(log_probs * mask).sum() / mask.sum()",
               "padding is multiplied by zero, which −∞ survives as NaN", ZERO_INFINITY),
        Mutant("times_painted", "log_probs[mask].mean()", "(log_probs * mask).sum().nan_to_num() / mask.sum()",
               "−∞ times zero is NaN, and the whole sum is painted over", ZERO_INFINITY),
        Mutant("exp_only_padding", "", """\
def perplexity(log_probs, mask):
    losses = -log_probs.masked_fill(~mask, 0.0)
    return losses.exp().mean()""",
               "the exponential is taken of each token, before the mean, and padding counts as certain", EXP_LAST),
        Mutant("exp_times_mask", "", """\
def perplexity(log_probs, mask):
    return (-log_probs).exp().masked_fill(~mask, 0.0).sum() / mask.sum()""",
               "the exponential is taken of each token, before the mean", EXP_LAST),
        Mutant("sequences", "torch.exp(-log_probs[mask].mean())",
               "torch.stack([torch.exp(-row[keep].mean()) for row, keep in zip(log_probs, mask) if keep.any()]).mean()",
               "each sequence has a perplexity, and these are averaged",
               "Does a sequence of one token have as much say as one of seven?"),
        Mutant("mean_of_means", "log_probs[mask].mean()",
               "torch.stack([row[keep].mean() for row, keep in zip(log_probs, mask) if keep.any()]).mean()",
               "each sequence has a mean loss, and these are averaged",
               "Does a sequence of one token have as much say as one of seven?"),
        Mutant("each_sequence", "torch.exp(-log_probs[mask].mean())",
               "torch.exp(-log_probs.masked_fill(~mask, 0.0).sum(dim=1) / mask.sum(dim=1))",
               "each sequence has a perplexity of its own", "How many numbers should come back?"),
        Mutant("no_minus", "-log_probs", "log_probs",
               "the minus sign is missing", "Can a model be less unsure than sure: what is the least perplexity?"),
        Mutant("base_two", "torch.exp(-log_probs[mask].mean())", "2 ** (-log_probs[mask].mean())",
               "a mean of natural logarithms is undone by a power of two", "Which power undoes ln?"),
        Mutant("loss", "torch.exp(-log_probs[mask].mean())", "-log_probs[mask].mean()",
               "the mean loss is returned", "A model that is certain has perplexity 1. What is its loss?"),
        Mutant("bits", "torch.exp(-log_probs[mask].mean())", "-log_probs[mask].mean() / math.log(2)",
               "the mean loss is returned, in bits", "A model that is certain has perplexity 1. What is its loss?"),
        Mutant("sum", ".mean()", ".sum()",
               "the losses are added up and not averaged",
               "Each token has p = 1/4. What is the perplexity of one of them, and what of two?"),
        Mutant("one_over_mean", "torch.exp(-log_probs[mask].mean())", "1 / log_probs[mask].exp().mean()",
               "one is divided by the mean probability", "The probabilities are 1/2 and 1/8. What is your result?"),
        Mutant("mean_p", "torch.exp(-log_probs[mask].mean())", "log_probs[mask].exp().mean()",
               "the mean probability is returned", "Can a perplexity be below 1?"),
        Mutant("median", ".mean()", ".median()",
               "the middle loss is taken instead of the mean", "What adds up to the cost of the text?"),
        Mutant("inverted", "[mask]", "[~mask]",
               "padding is judged and the text left out", "What does True say in this mask?"),
        Mutant("by_sequences", "log_probs[mask].mean()", "log_probs[mask].sum() / len(log_probs)",
               "the losses are divided by the number of sequences", HOW_MANY),
        Mutant("by_positions", "log_probs[mask].mean()", "log_probs[mask].sum() / log_probs.shape[1]",
               "the losses are divided by the length of a row", HOW_MANY),
        Mutant("by_all", "log_probs[mask].mean()", "log_probs[mask].sum() / log_probs.numel()",
               "padding counts as tokens that were predicted with certainty", HOW_MANY),
        Mutant("log_twice", "log_probs[mask].mean()", "log_probs[mask].exp().log2().mean()",
               "a mean of logarithms to base two is undone by exp", "Which power undoes log2?"),
        Mutant("one_less", "log_probs[mask].mean()", "log_probs[mask][1:].mean()",
               "the first token is left out", "Which token of the batch does not count?"),
        Mutant("finite", "log_probs[mask]", "log_probs[log_probs.isfinite()]",
               "everything that is finite counts as text", "Where does your function use the mask?"),
        Mutant("impossible_hidden", "log_probs[mask]", "log_probs[mask & log_probs.isfinite()]",
               "a token that the model held impossible is left out as if it were padding",
               "The model gave 0 to a token, and it came. What should it pay?"),
        Mutant("certain_hidden", "log_probs[mask]", "log_probs[mask & (log_probs != 0)]",
               "a loss of zero is taken for padding", CERTAIN),
        Mutant("certain_hidden_times", "", """\
def perplexity(log_probs, mask):
    losses = -log_probs * mask
    return losses[losses != 0].mean().exp()""",
               "a loss of zero is taken for padding, and −∞ times zero is NaN", CERTAIN),
        Mutant("in_place", "", """\
def perplexity(log_probs, mask):
    log_probs[~mask] = 0
    return torch.exp(-log_probs.sum() / mask.sum())""",
               "the padding of the caller is overwritten with zeros",
               "Whose tensor is `log_probs`?"),
    ),
    variants=("""\
def perplexity(log_probs, mask):
    total, n = 0.0, 0
    for row, keep in zip(log_probs.tolist(), mask.tolist()):
        for value, there in zip(row, keep):
            if there:
                total -= value
                n += 1
    return torch.tensor(math.exp(total / n))""", """\
def perplexity(log_probs, mask):
    losses = torch.where(mask, -log_probs, 0.0)
    return (losses.sum() / mask.sum()).exp()""", """\
def perplexity(log_probs, mask):
    return 1 / torch.exp(log_probs.masked_select(mask)).log().mean().exp()""", """\
def perplexity(log_probs, mask):
    n = mask.sum(dim=1)
    sums = log_probs.masked_fill(~mask, 0.0).sum(dim=1)
    return math.exp(-(sums.sum() / n.sum()).item())""",
    ),
    properties=(
        Property(lambda y, log_probs, mask: y >= 1 - 1e-4, "A perplexity below 1: better than certain."),
        Property(lambda y, log_probs, mask: y <= torch.exp(-log_probs[mask].min()) * 1.0001,
                 "The perplexity is larger than that of the worst token alone."),
    ),
    twin=perplexity_twin,
)  # fmt: skip


# 03.4


def bits_twin(rng: random.Random) -> Question:
    small, large = rng.randint(1, 3), rng.randint(5, 12)
    bits = rng.randint(4, 9)
    return Question(
        f"A text of two tokens: one has {small} {'byte' if small == 1 else 'bytes'} and costs {bits} bits, the other "
        f"has {large} bytes and costs {bits + 2} bits. How many bits per byte?", (2 * bits + 2) / (small + large),
        f"{2 * bits + 2} bits for {small + large} bytes. The mean of the two ratios is another number.", 0.01,
    )  # fmt: skip


def bits_cases() -> list[tuple]:
    """Tokens of all lengths, and some of none; the last in each kind of place; one token."""
    generator = torch.Generator().manual_seed(34)
    nats = 3 * torch.rand(11, generator=generator) + 0.1
    sizes = torch.tensor([3, 1, 0, 7, 2, 2, 0, 4, 1, 9, 5])
    return [(nats, sizes), (nats[:5].clone(), torch.tensor([0, 1, 4, 6, 2])), (nats[3:4].clone(), torch.tensor([6])),
            (nats[:2].clone(), torch.tensor([5, 0])), (torch.tensor([0.0, 2.0, 1.0]), torch.tensor([3, 1, 1]))]


TEXT_BYTES = "nats[text].sum() / math.log(2) / token_bytes[text].sum()"
UNITS = "A loss of ln 2 = 0.69 nats is one bit. Is the number of bits larger or smaller than that of nats?"
NO_TEXT = "A token of 0 bytes stands for no text. Should its loss count as a part of the text's?"
WHOLE_BITS = "A token costs half a bit. What does the statement say of rounding?"
RATIOS = "A token of 1 byte costs 4 bits, one of 9 bytes costs 6: how many bits is that for 10 bytes?"
BITS_PER_BYTE = Exercise(
    cases=bits_cases,
    mutants=(
        Mutant("mean_of_ratios", TEXT_BYTES, "(nats[text] / token_bytes[text]).mean() / math.log(2)",
               "each token has a ratio of its own, and these are averaged", RATIOS),
        Mutant("mean_of_ratios_all", TEXT_BYTES, "(nats / token_bytes).mean() / math.log(2)",
               "each token has a ratio of its own, and these are averaged; at 0 bytes it is infinite", RATIOS),
        Mutant("mean_of_ratios_clamped", TEXT_BYTES, "(nats / token_bytes.clamp(min=1)).mean() / math.log(2)",
               "each token has a ratio of its own, and tokens of no text count as one byte", RATIOS),
        Mutant("sum_of_ratios", TEXT_BYTES, "(nats[text] / token_bytes[text]).sum() / math.log(2)",
               "each token has a ratio of its own, and these are added up", RATIOS),
        Mutant("ratios_nats", TEXT_BYTES, "(nats[text] / token_bytes[text]).mean()",
               "each token has a ratio of its own, and these are averaged, in nats", RATIOS),
        Mutant("no_text_counts", "nats[text].sum()", "nats.sum()",
               "the loss at tokens that are no text counts too", NO_TEXT),
        Mutant("last_dropped", "nats[text].sum()", "(nats[:-1] if token_bytes[-1] == 0 else nats).sum()",
               "a token that is no text is sought at the end only, and the loss at the others counts", NO_TEXT),
        Mutant("whole_bits", "", """\
def bits_per_byte(nats, token_bytes):
    text = token_bytes > 0
    return (nats[text] / math.log(2)).ceil().sum() / token_bytes.sum()""",
               "the bits of each token are rounded up to whole ones", WHOLE_BITS),
        Mutant("whole_file", "", """\
def bits_per_byte(nats, token_bytes):
    text = token_bytes > 0
    return (nats[text].sum() / math.log(2)).ceil() / token_bytes.sum()""",
               "the bits of the text are rounded up to whole ones", WHOLE_BITS),
        Mutant("nats", " / math.log(2)", "",
               "the result is nats per byte", UNITS),
        Mutant("upside_down_units", "/ math.log(2)", "* math.log(2)",
               "nats are multiplied by ln 2 to make bits", UNITS),
        Mutant("both", TEXT_BYTES, "nats.sum() / token_bytes.sum()",
               "the result is nats per byte, and the loss at tokens that are no text counts too", UNITS),
        Mutant("log2_of_nats", TEXT_BYTES, "nats[text].log2().sum() / token_bytes[text].sum()",
               "a logarithm is taken of the losses, which are logarithms already", UNITS),
        Mutant("per_token", "token_bytes[text].sum()", "text.sum()",
               "the result is bits per token", "How long is a token? Where do you use it?"),
        Mutant("per_token_all", TEXT_BYTES, "nats.mean() / math.log(2)",
               "the result is bits per token, of all tokens", "How long is a token? Where do you use it?"),
        Mutant("total", " / token_bytes[text].sum()", "",
               "the result is the bits of the whole text", "Would a text twice as long give the same figure?"),
        Mutant("mean_bits_over_sum", "nats[text].sum()", "nats[text].mean()",
               "the mean of the losses is divided by the sum of the bytes",
               "A text is repeated twice. Should the figure change?"),
        Mutant("sum_over_mean", "token_bytes[text].sum()", "token_bytes[text].float().mean()",
               "the sum of the losses is divided by the mean of the bytes",
               "A text is repeated twice. Should the figure change?"),
        Mutant("mean_over_all", TEXT_BYTES, "nats[text].mean() / math.log(2) / token_bytes.float().mean()",
               "the mean bytes are taken over all tokens, and the mean loss over those with text",
               "Over which tokens do your two means go?"),
        Mutant("mean_all", TEXT_BYTES, "nats.mean() / math.log(2) / token_bytes[text].float().mean()",
               "the mean loss is taken over all tokens, and the mean bytes over those with text",
               "Over which tokens do your two means go?"),
        Mutant("bits_of_bits", "token_bytes[text].sum()", "(8 * token_bytes[text].sum())",
               "the bits are divided by eight times the bytes: the share of the file's size that is left",
               "How many bits per byte has a file that nobody has packed?"),
        Mutant("bytes_per_bit", TEXT_BYTES, "token_bytes[text].sum() / (nats[text].sum() / math.log(2))",
               "bytes are divided by bits", "Does a better model have a larger or a smaller figure?"),
        Mutant("log10", "math.log(2)", "math.log10(2)",
               "the losses are divided by the logarithm of 2 to base ten", "To which base are nats?"),
        Mutant("perplexity", TEXT_BYTES, "(nats[text].sum() / token_bytes[text].sum()).exp()",
               "the exponential is taken: a perplexity per byte", "How many bits is a loss of 0 nats?"),
        Mutant("weighted", TEXT_BYTES, "(nats * token_bytes).sum() / math.log(2) / token_bytes.sum()",
               "each loss is multiplied by the length of its token",
               "Is a loss per token or per byte what you are given?"),
        Mutant("clamped", "token_bytes[text].sum()", "token_bytes.clamp(min=1).sum()",
               "tokens of no text count as one byte", "How many bytes of text does `<|endoftext|>` stand for?"),
        Mutant("clamped_all", TEXT_BYTES, "nats.sum() / math.log(2) / token_bytes.clamp(min=1).sum()",
               "tokens of no text count as one byte, and their loss counts", NO_TEXT),
        Mutant("more_than_one", "token_bytes > 0", "token_bytes > 1",
               "tokens of one byte are left out too", "How many bytes has the letter a?"),
        Mutant("rounded", TEXT_BYTES, "nats[text].sum() / math.log(2) // token_bytes[text].sum()",
               "the division is rounded down", "What does `//` do?"),
        Mutant("each_token", TEXT_BYTES, "nats[text] / math.log(2) / token_bytes[text]",
               "each token has a ratio of its own", "How many numbers should come back?"),
        Mutant("mean_by_tokens", "", """\
def bits_per_byte(nats, token_bytes):
    keep = token_bytes > 0
    return nats[keep].mean() / math.log(2) / keep.sum()""",
               "the mean loss is divided by the number of tokens once more",
               "Where do you use how long each token is?"),
        Mutant("upside_down_units_all", "", """\
def bits_per_byte(nats, token_bytes):
    return nats.sum() / token_bytes.sum() / math.log2(math.e)""",
               "nats are multiplied by ln 2, and the loss at tokens that are no text counts too",
               UNITS),
    ),
    variants=("""\
def bits_per_byte(nats, token_bytes):
    bits = size = 0
    for loss, n in zip(nats.tolist(), token_bytes.tolist()):
        if n:
            bits += loss * math.log2(math.e)
            size += n
    return bits / size""", """\
def bits_per_byte(nats, token_bytes):
    each = torch.where(token_bytes > 0, nats, 0.0)
    return each.sum() / (math.log(2) * token_bytes.sum())""", """\
def bits_per_byte(nats, token_bytes):
    keep = token_bytes != 0
    return nats[keep].mean() / token_bytes[keep].float().mean() / 0.6931471805599453""", """\
def bits_per_byte(nats, token_bytes):
    return float(nats @ (token_bytes > 0).float() * math.log2(math.e)) / token_bytes.sum().item()""", """\
def bits_per_byte(nats, token_bytes):
    keep = token_bytes.nonzero().squeeze(1)
    each = nats[keep] / token_bytes[keep] / math.log(2)
    return (each * token_bytes[keep]).sum() / token_bytes.sum()""",
    ),
    properties=(
        Property(lambda y, nats, sizes: 0 <= y <= (nats / sizes)[sizes > 0].max() / math.log(2) + 1e-4,
                 "The text costs more for a byte than its dearest token does."),
    ),
    twin=bits_twin,
)  # fmt: skip


# 03.5


def interpolate_twin(rng: random.Random) -> Question:
    """Two orders of counts, mixed."""
    share, short = rng.randint(1, 9) / 10, rng.randint(1, 9) / 10
    lam = rng.choice([0.2, 0.4, 0.6, 0.9])
    known = rng.random() < 0.7
    seen = "has been seen, and" if known else "was never seen. Had it been,"
    return Question(
        f"The shorter contexts give a token the probability {short:g}. The longer context {seen} its counts "
        f"{'give' if known else 'might have given'} {share:g}; its λ is {lam:g}. What is the interpolated probability?",
        lam * share + (1 - lam) * short if known else short,
        f"{lam:g} · {share:g} + {1 - lam:g} · {short:g}." if known else "An unseen context changes nothing.", 0.01,
    )  # fmt: skip


def count_tables(ids: list[int], V: int, longest: int) -> list[dict]:
    """For n = 0 … longest: {n tokens: (V,) counts of what came next}."""
    tables = [{} for _ in range(longest + 1)]
    for n, table in enumerate(tables):
        for i in range(n, len(ids)):
            table.setdefault(tuple(ids[i - n : i]), torch.zeros(V, dtype=torch.int64))[ids[i]] += 1
    return tables


def interpolate_cases() -> list[tuple]:
    """All orders known; longer context than needed; only the shortest known; one order; λ of 0 and 1."""
    tables = count_tables(tokens(5, 32, 4).tolist(), 5, 3)
    small = count_tables([0, 1, 0, 1, 1, 2], 3, 2)
    return [(tables, (0, 1, 0), [0.3, 0.6, 0.8, 0.7]), (tables, (2, 3, 1, 0, 0), [0.9, 0.2, 0.7, 0.4]),
            (tables, (1, 1, 4), [0.3, 0.6, 0.8, 0.7]), (small, (2, 0, 1), [0.5, 0.25, 0.9]),
            (small, (0, 2, 0), [0.5, 0.25, 0.9]), (small[:1], (1,), [0.75]), (small[:1], (), [0.75]),
            (small, (1, 0), [1.0, 0.0, 0.4])]


SEEN = "seen = context[len(context) - n :]"
LONGER = "longer = table[seen] / table[seen].sum()"
MIX = "p = lambdas[n] * longer + (1 - lambdas[n]) * p"
LONGER_ALL = "longer = table[seen] / sum(row.sum() for row in table.values())"
MIX_WRONG = "p = (1 - lambdas[n]) * longer + lambdas[n] * p"
SEEN_WRONG = "seen = context[:n]"
WHICH_END = "The text so far is 5, 3, 8. Which two tokens stand right before the next one?"
WHICH_TOTAL = "How often has this context been seen in training, and by how many do you divide?"
WHICH_WEIGHT = "λ is 0.9. Do you trust the longer context much, or little?"


def interpolate_lines(first: str = "for n, table in enumerate(counts_by_order):", start: str = "1 / V",
                      key: str = SEEN, longer: str = LONGER, mix: str = MIX, inside: bool = True) -> str:
    """The whole function, with some of its lines replaced."""
    lines = ["def interpolate(counts_by_order, context, lambdas):", "    V = len(counts_by_order[0][()])",
             f"    p = torch.full((V,), {start})", f"    {first}", f"        {key}", "        if seen in table:",
             f"            {longer}", f"            {mix}", "        return p" if inside else "    return p"]
    return "\n".join(lines)


INTERPOLATE = Exercise(
    cases=interpolate_cases,
    mutants=(
        Mutant("beginning", SEEN, SEEN_WRONG,
               "the first n tokens of the context are looked up instead of the last n", WHICH_END),
        Mutant("minus_n", SEEN, "seen = context[-n:]",
               "for n = 0 the whole context is looked up, because -0 is 0", "Which tokens are `context[-0:]`?"),
        Mutant("whole_context", SEEN, "seen = context",
               "the whole context is looked up for every n", "How long are the keys for n = 1?"),
        Mutant("joint", LONGER, LONGER_ALL,
               "the counts are divided by those of all contexts together", WHICH_TOTAL),
        Mutant("not_divided", LONGER, "longer = table[seen]",
               "counts are mixed with probabilities", "What do the numbers that you mix in add up to?"),
        Mutant("largest", LONGER, "longer = table[seen] / table[seen].max()",
               "the counts are divided by the largest of them", "What do the numbers that you mix in add up to?"),
        Mutant("swapped", MIX, MIX_WRONG,
               "λ is the weight of the shorter contexts", WHICH_WEIGHT),
        Mutant("added", MIX, "p = lambdas[n] * longer + p",
               "the shorter contexts keep all of their weight", "What does `p` add up to after one round?"),
        Mutant("longest_only", MIX, "p = longer",
               "the longest known context decides alone", "Where do the λ come in?"),
        Mutant("zero_start", "1 / V", "0.0",
               "nothing is there at the start, instead of the uniform distribution",
               "What does `p` add up to after the first round?"),
        Mutant("ones_start", "1 / V", "1.0",
               "the start is one for each token", "What does a uniform distribution over V tokens add up to?"),
        Mutant("one_back", SEEN, "seen = context[len(context) - n - 1 : -1]",
               "the last token is left out of every context", WHICH_END),
        Mutant("last_lambda", MIX, "p = lambdas[-1] * longer + (1 - lambdas[-1]) * p",
               "the same λ is used for all n", "Which λ belongs to which n?"),
        Mutant("longest_first", "enumerate(counts_by_order)", "reversed(list(enumerate(counts_by_order)))",
               "the longest context comes first and the shortest has the last word",
               "Whose word should be the last: that of the shortest context or the longest?"),
        Mutant("returns_early", "", interpolate_lines(inside=True),
               "the loop ends after its first round", "In which round of the loop does your function return?"),
        Mutant("stops", "        if seen in table:\n",
               "        if seen not in table:\n            return torch.full((V,), 1 / V)\n        if seen in table:\n",
               "one unknown context throws away what the shorter ones have said",
               "What do you know when the last three tokens are new, and the last two are not?"),
        Mutant("two_rounds", "enumerate(counts_by_order)", "enumerate(counts_by_order[:-1])",
               "the longest context is never asked", "How many dictionaries are there, and how many do you use?"),
        Mutant("no_shortest", "    for n, table in enumerate(counts_by_order):\n",
               "    for n, table in enumerate(counts_by_order):\n        if n == 0:\n            continue\n",
               "the counts without any context are never asked", "What is the context for n = 0?"),
        Mutant("one_loop_less", MIX, MIX + "\n        else:\n            p = (1 - lambdas[n]) * p",
               "an unknown context takes its share and gives it to nobody",
               "What does `p` add up to after a context that is unknown?"),
        Mutant("unknown_uniform", MIX, MIX + "\n        else:\n            p = lambdas[n] / V + (1 - lambdas[n]) * p",
               "an unknown context gives its share to all tokens alike",
               "By how much should a context that was never seen change what the shorter ones have said?"),
        Mutant("uniform_mix", MIX, "p = lambdas[n] * longer + (1 - lambdas[n]) / V",
               "the rest goes to the uniform distribution every time, not to the shorter contexts",
               "Where does what the shorter contexts have said enter your result?"),
        Mutant("greedy", "    return p", "    return p.argmax()",
               "the most probable token is returned", "Is one token asked for, or the probabilities of all?"),
        # Two or three wrong twins of the shuffled lines at once.
        Mutant("beginning_joint", "", interpolate_lines(key=SEEN_WRONG, longer=LONGER_ALL, inside=False),
               "the first n tokens are looked up, and the counts are divided by those of all contexts", WHICH_END),
        Mutant("beginning_swapped", "", interpolate_lines(key=SEEN_WRONG, mix=MIX_WRONG, inside=False),
               "the first n tokens are looked up, and λ is the weight of the shorter contexts", WHICH_END),
        Mutant("joint_swapped", "", interpolate_lines(longer=LONGER_ALL, mix=MIX_WRONG, inside=False),
               "the counts are divided by those of all contexts, and λ is the weight of the shorter ones", WHICH_TOTAL),
        Mutant("all_three", "", interpolate_lines(key=SEEN_WRONG, longer=LONGER_ALL, mix=MIX_WRONG, inside=False),
               "all three wrong lines were kept instead of their twins",
               "For each pair of lines that look alike: what does `p` add up to after it, and whose counts are they?"),
        *(Mutant(f"early_{name}", "", interpolate_lines(**lines),
                 "the loop ends after its first round, and a wrong line was kept",
                 "In which round of the loop does your function return?")
          for name, lines in (("swapped", {"mix": MIX_WRONG}),)),
        Mutant("reversed", "", """\
def interpolate(counts_by_order, context, lambdas):
    V = len(counts_by_order[0][()])
    p = torch.full((V,), 1 / V)
    for n, table in enumerate(counts_by_order):
        seen = context[::-1][:n]
        if seen in table:
            longer = table[seen] / table[seen].sum()
            p = lambdas[n] * longer + (1 - lambdas[n]) * p
    return p""",
               "the last n tokens are looked up in reverse order",
               "The text so far is 5, 3, 8. In which order do the last two tokens stand in the key?"),
        Mutant("normalised", "", """\
def interpolate(counts_by_order, context, lambdas):
    V = len(counts_by_order[0][()])
    p = torch.zeros(V)
    for n, table in enumerate(counts_by_order):
        seen = context[len(context) - n :]
        if seen in table:
            p = p + lambdas[n] * table[seen] / table[seen].sum()
    return p / p.sum()""",
               "the contexts' shares are added up with the weights λ, and divided by the sum at the end",
               "λ is 1 for the longest context. What should the shorter ones still have to say?"),
        Mutant("starts_anew", "", """\
def interpolate(counts_by_order, context, lambdas):
    V = len(counts_by_order[0][()])
    for n, table in enumerate(counts_by_order):
        p = torch.full((V,), 1 / V)
        seen = context[len(context) - n :]
        if seen in table:
            longer = table[seen] / table[seen].sum()
            p = lambdas[n] * longer + (1 - lambdas[n]) * p
    return p""",
               "every round begins with the uniform distribution again",
               "What does round 2 know of what round 1 has found?"),
        Mutant("mixed_once", "", """\
def interpolate(counts_by_order, context, lambdas):
    V = len(counts_by_order[0][()])
    p = torch.full((V,), 1 / V)
    for n, table in enumerate(counts_by_order):
        seen = context[len(context) - n :]
        if seen in table:
            longer = table[seen] / table[seen].sum()
    p = lambdas[n] * longer + (1 - lambdas[n]) * p
    return p""",
               "only the last known context is mixed in, after the loop",
               "Which line belongs into the loop, and how can you tell?"),
        Mutant("lambdas_reversed", "", """\
def interpolate(counts_by_order, context, lambdas):
    V = len(counts_by_order[0][()])
    p = torch.full((V,), 1 / V)
    for table, lam in zip(counts_by_order, reversed(lambdas)):
        n = len(next(iter(table)))
        seen = context[len(context) - n :]
        if seen in table:
            p = lam * table[seen] / table[seen].sum() + (1 - lam) * p
    return p""",
               "the λ are used from the last to the first",
               "Which λ belongs to which n?"),
        Mutant("divided_by_V", "", """\
def interpolate(counts_by_order, context, lambdas):
    V = len(counts_by_order[0][()])
    p = torch.full((V,), 1 / V)
    for n, table in enumerate(counts_by_order):
        seen = context[len(context) - n :]
        if seen in table:
            longer = table[seen] / V
            p = lambdas[n] * longer + (1 - lambdas[n]) * p
    return p""",
               "the counts are divided by the size of the vocabulary",
               WHICH_TOTAL),
    ),
    variants=("""\
def interpolate(counts_by_order, context, lambdas):
    def p(n):
        if n < 0:
            V = counts_by_order[0][()].numel()
            return torch.ones(V) / V
        row = counts_by_order[n].get(tuple(context[len(context) - n :]))
        if row is None:
            return p(n - 1)
        return lambdas[n] * row / row.sum() + (1 - lambdas[n]) * p(n - 1)

    return p(len(counts_by_order) - 1)""", """\
def interpolate(counts_by_order, context, lambdas):
    V = len(counts_by_order[0][()])
    result, rest = torch.zeros(V), 1.0
    for n in range(len(counts_by_order) - 1, -1, -1):
        key = context[len(context) - n :]
        if key in counts_by_order[n]:
            row = counts_by_order[n][key].float()
            result += rest * lambdas[n] * row / row.sum()
            rest *= 1 - lambdas[n]
    return result + rest / V""", """\
def interpolate(counts_by_order, context, lambdas):
    V = len(counts_by_order[0][()])
    p = torch.ones(V).div(V)
    for n, share in enumerate(lambdas):
        key = context[-n:] if n else ()
        if key not in counts_by_order[n]:
            continue
        p = torch.lerp(p, counts_by_order[n][key] / counts_by_order[n][key].sum(), share)
    return p""", """\
def interpolate(counts_by_order, context, lambdas):
    V = len(counts_by_order[0][()])
    p = [1 / V] * V
    for n, table in enumerate(counts_by_order):
        row = table.get(tuple(reversed(context[::-1][:n])))
        if row is not None:
            total = row.sum().item()
            p = [lambdas[n] * c / total + (1 - lambdas[n]) * old for c, old in zip(row.tolist(), p)]
    return torch.tensor(p)""",
    ),
    properties=(
        Property(lambda p, tables, context, lambdas: adds_up(p), "The probabilities do not add up to one."),
    ),
    twin=interpolate_twin,
)  # fmt: skip


# 03.6


def continuation_twin(rng: random.Random) -> Question:
    """In how many different contexts a symbol was seen."""
    before = [rng.choice("abcdefg") for _ in range(rng.randint(5, 9))]
    other = rng.randint(4, 12)
    different = len(set(before))
    return Question(
        f"In a text, z stands after {', '.join(before)} (each as often as it is named). The other tokens make {other} "
        "different pairs. What is the continuation probability of z?", different / (different + other),
        f"{different} different tokens come before z, of {different + other} different pairs in all.", 0.01,
    )  # fmt: skip


def pair_cases() -> list[tuple]:
    """Repeated pairs, pairs of a token with itself, both directions of one, tokens that never come second; one pair."""
    a, b, c = tokens(6, 50, 6), tokens(7, 9, 4), torch.tensor([4, 4, 4, 1, 4, 1, 4, 0])
    return [(torch.stack([text[:-1], text[1:]], dim=1), V) for text, V in ((a, 7), (b, 4), (c, 5))] + [
        (torch.tensor([[2, 1]]), 3), (torch.tensor([[0, 1], [0, 1], [0, 1], [0, 2], [1, 2], [3, 2], [2, 3]]), 5),
        (torch.tensor([[2, 2], [2, 2], [0, 2]]), 3),
        (torch.tensor([[1, 11], [11, 1], [2, 1], [1, 1], [11, 1]]), 13)]  # more than ten: 1·10 + 11 is 2·10 + 1


PLACES = "places = torch.bincount(different[:, 1], minlength=V)"
DOUBLED = "The text is doubled. Should the result change?"
NOT_ONE = "What do your numbers add up to?"
CONTINUATION = Exercise(
    cases=pair_cases,
    mutants=(
        Mutant("frequency", "torch.unique(pairs, dim=0)", "pairs",
               "it is counted how often each token comes, not after how many different ones",
               "A token comes a hundred times, always after the same one. How many different ones is that?"),
        Mutant("by_all_pairs", "places / len(different)", "places / len(pairs)",
               "the number of different pairs is divided by that of all pairs", NOT_ONE),
        Mutant("by_V", "places / len(different)", "places / V",
               "the number of different predecessors is divided by the size of the vocabulary", NOT_ONE),
        Mutant("by_largest", "places / len(different)", "places / places.max()",
               "the numbers are divided by the largest of them", NOT_ONE),
        Mutant("raw", "return places / len(different)", "return places",
               "the different predecessors are counted and not divided by anything", NOT_ONE),
        Mutant("raw_float", "return places / len(different)", "return places.float()",
               "the different predecessors are counted and not divided by anything", NOT_ONE),
        Mutant("first_column", "different[:, 1]", "different[:, 0]",
               "it is counted how many different tokens come after each, not before",
               "Which of the two columns holds the token whose probability you want?"),
        Mutant("frequency_first", "bincount(different[:, 1]", "bincount(pairs[:, 0]",
               "it is counted how often each token comes first",
               "Which of the two columns holds the token that comes?"),
        Mutant("no_minlength", ", minlength=V", "",
               "the result ends with the last token that occurs", "How many numbers should come back?"),
        Mutant("neighbours_only", "torch.unique(pairs, dim=0)", "torch.unique_consecutive(pairs, dim=0)",
               "only repetitions that follow one another are thrown away",
               "A pair comes at the beginning of the text and at its end. How often do you count it?"),
        Mutant("flat", "torch.unique(pairs, dim=0)", "torch.unique(pairs)[:, None].expand(-1, 2)",
               "the different tokens are counted instead of the different pairs", "How many rows has `torch.unique`?"),
        Mutant("columns", "dim=0", "dim=1",
               "equal columns are thrown away instead of equal rows", "Along which axis are the pairs lined up?"),
        Mutant("unordered", "torch.unique(pairs, dim=0)", "torch.unique(pairs.sort(dim=1).values, dim=0)",
               "(a, b) and (b, a) count as the same pair", "Is 'San Francisco' the same pair as 'Francisco San'?"),
        Mutant("once_only", PLACES,
               "different, times = torch.unique(pairs, dim=0, return_counts=True)\n"
               "    different = different[times == 1]\n    places = torch.bincount(different[:, 1], minlength=V)",
               "only pairs that come exactly once are counted",
               "A pair has come three times. Is its first token one of the different predecessors?"),
        Mutant("repeated_only", PLACES,
               "different, times = torch.unique(pairs, dim=0, return_counts=True)\n"
               "    different = different[times > 1]\n    places = torch.bincount(different[:, 1], minlength=V)",
               "only pairs that come more than once are counted",
               "A pair has come once. Is its first token one of the different predecessors?"),
        Mutant("not_itself", PLACES,
               "different = different[different[:, 0] != different[:, 1]]\n    " + PLACES,
               "a token after itself is not counted", "Is (2, 2) a pair of neighbours?"),
        Mutant("share_of_uses", "return places / len(different)",
               "uses = torch.bincount(pairs[:, 1], minlength=V)\n"
               "    return places / uses.clamp(min=1)",
               "each token's different predecessors are divided by how often it came",
               "Over which tokens do you add up, and what should come out?"),
        Mutant("shifted", "places / len(different)", "places / (len(different) + V)",
               "the denominator is raised as in smoothing, but no numerator is", NOT_ONE),
        Mutant("smoothed", "places / len(different)", "(places + 1) / (len(different) + V)",
               "one is added to each token", "Which number belongs to a token that was never second?"),
        Mutant("softmax", "places / len(different)", "torch.softmax(places.float(), dim=0)",
               "a softmax is taken of the counts", "Which number belongs to a token that was never second?"),
        Mutant("logarithm", "places / len(different)", "(places / len(different)).log()",
               "the result holds logarithms", "May a probability be negative?"),
        Mutant("rounded", "places / len(different)", "places // len(different)",
               "the division is rounded down", "Which number is 3 // 4?"),
        Mutant("double", "places / len(different)", "places.double() / len(different)",
               "the result is in double precision", "Which dtype should the result have?"),
        Mutant("distinct_successors_total", "places / len(different)",
               "places / (torch.bincount(different[:, 1], minlength=V) > 0).sum()",
               "the numbers are divided by how many tokens come second at all", NOT_ONE),
        Mutant("list", "return places / len(different)", "return (places / len(different)).tolist()",
               "the result is a list", "Which type should the result have?"),
        Mutant("keyed_by_sum", "torch.unique(pairs, dim=0)",
               "torch.stack(list({int(a) + int(b): row for row in pairs for a, b in [row]}.values()))",
               "two pairs with the same sum count as one", "Is (0, 2) the same pair as (1, 1)?"),
        Mutant("key_of_ten", "", """\
def continuation(pairs, V):
    keys = {int(a) * 10 + int(b) for a, b in pairs}
    out = torch.zeros(V)
    for key in keys: out[key % 10] += 1
    return out / len(keys)""",
               "two different pairs have the same key",
               "If a pair is written as 10 · a + b, how is (1, 11) written, and (2, 1)?"),
        Mutant("key_of_text", "", """\
def continuation(pairs, V):
    keys = {f"{a}{b}": int(b) for a, b in pairs.tolist()}
    out = torch.zeros(V)
    for b in keys.values(): out[b] += 1
    return out / len(keys)""",
               "two different pairs have the same key",
               "If a pair is written as the digits of a and of b, how is (1, 11) written, and (11, 1)?"),
    ),
    variants=("""\
def continuation(pairs, V):
    different = set(map(tuple, pairs.tolist()))
    places = [0] * V
    for a, b in different:
        places[b] += 1
    return torch.tensor([n / len(different) for n in places])""", """\
def continuation(pairs, V):
    counts = torch.zeros(V, V)
    counts[pairs[:, 0], pairs[:, 1]] = 1
    return counts.sum(dim=0) / counts.sum()""", """\
def continuation(pairs, V):
    before = [set() for _ in range(V)]
    for a, b in pairs:
        before[b].add(a.item())
    sizes = torch.tensor([len(s) for s in before], dtype=torch.float32)
    return sizes / sizes.sum()""", """\
def continuation(pairs, V):
    keys = (pairs[:, 0] * V + pairs[:, 1]).unique()
    return torch.histc((keys % V).float(), bins=V, min=0, max=V) / keys.numel()""",
    ),
    properties=(
        Property(lambda p, pairs, V: adds_up(p), "The result does not add up to one."),
    ),
    twin=continuation_twin,
)  # fmt: skip


# 03.7


def gradient_twin(rng: random.Random) -> Question:
    V, n, came = rng.choice([4, 5, 8, 10]), rng.randint(3, 9), 0
    came = rng.randint(1, n)
    return Question(
        f"All logits are zero, and V = {V}. A text has {n} predictions, all of them after token a; in {came} of them "
        "token b comes. What is the gradient of the mean loss with respect to W[a, b]?", 1 / V - came / n,
        f"Each prediction gives p - y: 1/{V}, less one where b came. Their mean is 1/{V} - {came}/{n}.", 0.01,
    )  # fmt: skip


def table_cases() -> list[tuple]:
    """Logits and texts; one prediction; a table with large logits; rows that are never used."""
    generator = torch.Generator().manual_seed(37)
    W = torch.randn(6, 6, generator=generator)
    return [(W, tokens(8, 30, 6)), (W[:3, :3].contiguous(), torch.tensor([2, 0])),
            (100 + 4 * W[:4, :4], tokens(9, 11, 3)), (W[:2, :2].contiguous(), torch.tensor([1, 1, 1, 1]))]


PULLED = "return torch.zeros_like(W).index_add_(0, before, pull) / len(after)"
SOFT = "torch.softmax(W[before], dim=-1)"
TARGETS = "    pull[torch.arange(len(after)), after] -= 1\n"
MEAN = "How many predictions are averaged?"
UNUSED = "A token does not occur in the text. How does the loss change when its logits do?"
BIGRAM_GRADIENT = Exercise(
    cases=table_cases,
    mutants=(
        Mutant("sum", " / len(after)", "",
               "the gradients are added up and not averaged", MEAN),
        Mutant("by_N", "/ len(after)", "/ len(ids)",
               "the sum is divided by the number of tokens instead of predictions", MEAN),
        Mutant("by_V", "/ len(after)", "/ len(W)",
               "the sum is divided by the size of the vocabulary", MEAN),
        Mutant("by_all", "/ len(after)", "/ pull.numel()",
               "the sum is divided by predictions times vocabulary",
               "Over what is the loss a mean: over predictions, or over logits too?"),
        Mutant("last_one", PULLED, "gradient = torch.zeros_like(W)\n    gradient[before] += pull\n"
               "    return gradient / len(after)",
               "a row that is used several times keeps only its last pull",
               "A token is read ten times. How many pulls does its row get?"),
        Mutant("last_set", PULLED, "gradient = torch.zeros_like(W)\n    gradient[before] = pull / len(after)\n"
               "    return gradient",
               "a row that is used several times keeps only its last pull",
               "A token is read ten times. How many pulls does its row get?"),
        Mutant("last_unscaled", PULLED, "gradient = torch.zeros_like(W)\n    gradient[before] += pull\n"
               "    return gradient",
               "a row that is used several times keeps only its last pull, and nothing is averaged",
               "A token is read ten times. How many pulls does its row get?"),
        Mutant("uphill", PULLED, "return torch.zeros_like(W).index_add_(0, before, -pull) / len(after)",
               "the sign is turned: y - p", "Does the loss rise or fall when the logit of the right token grows?"),
        Mutant("no_target", TARGETS, "",
               "the softmax is there, and what came is missing",
               "What is the gradient when the model is certain and right?"),
        Mutant("only_target", SOFT, "torch.zeros(len(before), len(W))",
               "what came is there, and the softmax is missing",
               "What is the gradient when the model is certain and right?"),
        Mutant("ones_at_target", "] -= 1", "] = -1",
               "the probability at the right token is overwritten with -1 instead of lowered by one",
               "The right token has p = 0.9. What is p - y there?"),
        Mutant("zero_at_target", "] -= 1", "] = 0",
               "the probability at the right token is set to zero",
               "The right token has p = 0.9. What is p - y there?"),
        Mutant("plus", "] -= 1", "] += 1",
               "one is added at the right token instead of subtracted",
               "Should the logit of the right token rise or fall in a step downhill?"),
        Mutant("columns", "dim=-1", "dim=0",
               "the softmax runs over the predictions instead of the vocabulary",
               "Along which axis do the probabilities of one prediction add up to one?"),
        Mutant("columns_of_W", SOFT, "torch.softmax(W, dim=0)[before]",
               "the softmax runs down the columns of W instead of along its rows",
               "Along which axis do the probabilities of one prediction add up to one?"),
        Mutant("logits", SOFT, "W[before].clone()",
               "the logits themselves are used as probabilities", "What turns logits into probabilities?"),
        Mutant("sigmoid", SOFT, "torch.sigmoid(W[before])",
               "each logit is squashed by itself", "What do the probabilities of one prediction add up to?"),
        Mutant("log_softmax", "torch.softmax", "torch.log_softmax",
               "logarithms of probabilities are used", "May a probability be negative?"),
        Mutant("only_exp", SOFT, "W[before].exp()",
               "the exponentials are never divided by their sum",
               "What do the probabilities of one prediction add up to?"),
        Mutant("swapped", "before, after = ids[:-1], ids[1:]", "before, after = ids[1:], ids[:-1]",
               "the text is predicted backwards", "Which of two neighbours chooses the row, and which is predicted?"),
        Mutant("itself", "before, after = ids[:-1], ids[1:]", "before, after = ids[:-1], ids[:-1]",
               "each token has to predict itself", "Which token must be predicted from token t?"),
        Mutant("ring", "before, after = ids[:-1], ids[1:]", "before, after = ids, ids.roll(-1)",
               "the last token has to predict the first", "How many predictions are there for N tokens?"),
        Mutant("rows_by_target", "index_add_(0, before, pull)", "index_add_(0, after, pull)",
               "the pull goes to the row of the token that came, not of the one before it",
               "Which row of W gave the logits of this prediction?"),
        Mutant("transposed", PULLED, PULLED.replace("return torch", "return (torch").replace("(after)", "(after)).T"),
               "rows and columns have changed places", "Whose logits are in row a?"),
        Mutant("each_row_its_mean", PULLED,
               "n = torch.bincount(before, minlength=len(W)).clamp(min=1)\n"
               "    return torch.zeros_like(W).index_add_(0, before, pull) / n[:, None]",
               "each row is divided by how often it was used",
               "Does a row that is used often weigh more in the mean loss, or the same?"),
        Mutant("all_rows", "", """\
def bigram_gradient(W, ids):
    p = torch.softmax(W, dim=-1)
    counts = torch.zeros_like(W)
    for a, b in zip(ids[:-1], ids[1:]):
        counts[a, b] += 1
    return p - counts / (len(ids) - 1)""",
               "every row has its softmax in the result once, however often it is used", UNUSED),
        Mutant("all_rows_shares", "", """\
def bigram_gradient(W, ids):
    counts = torch.zeros_like(W)
    for a, b in zip(ids[:-1], ids[1:]):
        counts[a, b] += 1
    return torch.softmax(W, dim=-1) - counts / counts.sum(dim=1, keepdim=True).clamp(min=1)""",
               "every row has its softmax in the result once, however often it is used", UNUSED),
        Mutant("all_rows_nan", "", """\
def bigram_gradient(W, ids):
    counts = torch.zeros_like(W)
    for a, b in zip(ids[:-1], ids[1:]):
        counts[a, b] += 1
    return torch.softmax(W, dim=-1) - counts / counts.sum(dim=1, keepdim=True)""",
               "rows that are never used are divided by zero", UNUSED),
        Mutant("squared", TARGETS, TARGETS + "    pull = pull * W[before].softmax(-1) * (1 - W[before].softmax(-1))\n",
               "the slope of the softmax is multiplied in once more",
               "p - y is the gradient with respect to the logits. Which step have you taken twice?"),
        Mutant("loss", PULLED, "return -torch.log_softmax(W[before], dim=-1)[torch.arange(len(after)), after].mean()",
               "the loss is returned instead of its gradient", "Which shape has the gradient of W?"),
        Mutant("each_prediction", PULLED, "return pull / len(after)",
               "each prediction has a row in the result, instead of each token",
               "How many rows has W, and how many has your result?"),
        Mutant("in_place", "", """\
def bigram_gradient(W, ids):
    gradient = torch.zeros_like(W)
    for a, b in zip(ids[:-1], ids[1:]):
        W[a] = torch.softmax(W[a], dim=-1)
        gradient[a] += W[a]
        gradient[a, b] -= 1
    return gradient / (len(ids) - 1)""",
               "the logits of a row are overwritten with its probabilities, of which a softmax is taken again",
               "What does W hold after your function has run, and what before?"),
        Mutant("unstable", SOFT, "W[before].exp() / W[before].exp().sum(-1, keepdim=True)",
               "the exponential of a large logit is infinite", "What is e to the power of 100 in float32?"),
        Mutant("step", PULLED, "return W - torch.zeros_like(W).index_add_(0, before, pull) / len(after)",
               "a step is taken: the new table is returned instead of the gradient",
               "Is the change asked for, or what W becomes by it?"),
        Mutant("last_missing", "before, after = ids[:-1], ids[1:]", "before, after = ids[:-2], ids[1:-1]",
               "the last prediction is left out", "Which token is predicted last?"),
        Mutant("seen_or_not", "", """\
def bigram_gradient(W, ids):
    p = W.softmax(-1)
    y = torch.zeros_like(W)
    y[ids[:-1], ids[1:]] = 1
    return (p - y) / (len(ids) - 1)""",
               "each pair of tokens counts once, and each row too, however often it comes",
               "A token is read ten times. How many pulls does its row get?"),
        Mutant("softmax_once", "", """\
def bigram_gradient(W, ids):
    before, after = ids[:-1], ids[1:]
    gradient = torch.zeros_like(W)
    gradient[before] += W.softmax(-1)[before]
    for a, b in zip(before, after):
        gradient[a, b] -= 1
    return gradient / len(after)""",
               "a row gets its softmax once, however often it is used, but loses one at every token that came",
               "A token is read ten times. How often does its softmax come into the sum?"),
        Mutant("counts_no_keepdim", "", """\
def bigram_gradient(W, ids):
    p = W.softmax(-1)
    counts = torch.zeros_like(W)
    for a, b in zip(ids, ids[1:]): counts[a, b] += 1
    return p * counts.sum(1) / (len(ids) - 1) - counts / (len(ids) - 1)""",
               "how often each row is used multiplies the columns",
               "With which axis of (V, V) does PyTorch line up a shape (V,)?"),
        Mutant("small_steps", "", """\
def bigram_gradient(W, ids):
    eps = 1e-3
    g = torch.zeros_like(W)
    f = lambda M: F.cross_entropy(M[ids[:-1]], ids[1:])
    for i in range(len(W)):
        for j in range(len(W)):
            M = W.clone(); M[i, j] += eps
            g[i, j] = (f(M) - f(W)) / eps
    return g""",
               "the slope is measured with a small step instead of computed",
               "How exact is a difference of two losses in float32, divided by a small number?"),
        Mutant("all_targets", "", """\
def bigram_gradient(W, ids):
    x, y = ids[:-1], ids[1:]
    p = W[x].softmax(1)
    p[:, y] -= 1
    g = torch.zeros_like(W)
    g.index_add_(0, x, p)
    return g / len(x)""",
               "every prediction loses one at the targets of all predictions",
               "In which columns of row 0 does `pull[:, after]` subtract?"),
    ),
    variants=("""\
def bigram_gradient(W, ids):
    W = W.clone().requires_grad_()
    F.cross_entropy(W[ids[:-1]], ids[1:]).backward()
    return W.grad""", """\
def bigram_gradient(W, ids):
    gradient = torch.zeros_like(W)
    for a, b in zip(ids[:-1].tolist(), ids[1:].tolist()):
        gradient[a] += torch.softmax(W[a], dim=0)
        gradient[a, b] -= 1
    return gradient / (len(ids) - 1)""", """\
def bigram_gradient(W, ids):
    V, N = len(W), len(ids) - 1
    counts = torch.bincount(ids[:-1] * V + ids[1:], minlength=V * V).view(V, V)
    used = counts.sum(dim=1, keepdim=True)
    return (used * torch.softmax(W, dim=1) - counts) / N""", """\
def bigram_gradient(W, ids):
    x, y = F.one_hot(ids[:-1], len(W)).float(), F.one_hot(ids[1:], len(W)).float()
    e = torch.exp(x @ W - (x @ W).amax(dim=1, keepdim=True))
    p = e / e.sum(dim=1, keepdim=True)
    return torch.einsum("na,nb->ab", x, p - y) / len(x)""",
    ),
    properties=(
        Property(lambda g, W, ids: g.shape == W.shape and not g[torch.bincount(ids[:-1], minlength=len(W)) == 0].any(),
                 "A row of a token that nothing is predicted from has a gradient."),
        Property(lambda g, W, ids: torch.allclose(g.sum(-1), torch.zeros(()), atol=1e-4),
                 "A row of the gradient does not add up to zero, as p and y both add up to one."),
    ),
    twin=gradient_twin,
)  # fmt: skip


# 03.8


def best_k_twin(rng: random.Random) -> Question:
    """Which k a development text prefers."""
    seen, total, V = rng.randint(1, 6), rng.randint(8, 20), rng.choice([4, 8, 16])
    ks = sorted(rng.sample([0.5, 1, 2, 4, 8], 2))
    bits = {k: -math.log2((seen + k) / (total + k * V)) - math.log2((total - seen + k) / (total + k * V)) for k in ks}
    if abs(bits[ks[0]] - bits[ks[1]]) < 0.02:
        ks = [0.5, 50]
        bits = {k: -math.log2((seen + k) / (total + k * V)) - math.log2((total - seen + k) / (total + k * V))
                for k in ks}
    best = min(bits, key=bits.get)
    return Question(
        f"In training, {seen} times a and {total - seen} times b came after x, and nothing else; V = {V}. The "
        f"development text has x a and x b, once each. Which k is better for it, {ks[0]:g} or {ks[1]:g}?", best,
        f"k = {ks[0]:g} costs {bits[ks[0]]:.2f} bits for the two, k = {ks[1]:g} costs {bits[ks[1]]:.2f}.",
    )  # fmt: skip


def dev_cases() -> list[tuple]:
    """The best k in the middle, at either end, and with unseen pairs; unsorted lists; a list of one."""
    train, dev = tokens(10, 60, 7), tokens(11, 33, 7)
    counts, much = bigrams(train, 8), bigrams(tokens(12, 3000, 4), 4)
    return [(counts, dev, [8.0, 0.01, 0.5, 2.0]), (counts, tokens(13, 20, 8), [0.05, 0.3, 30.0, 5.0]),
            (much, tokens(14, 40, 4), [3.0, 200.0, 0.5]), (counts, dev[:2], [1.0]),
            (bigrams(tokens(15, 9, 5), 5), torch.tensor([4, 3, 4, 1, 0, 2, 4]), [0.1, 1, 100, 10])]  # fmt: skip


TABLE = "table = raised / raised.sum(dim=1, keepdim=True)"
COST = "bits[k] = -table[ids_dev[:-1], ids_dev[1:]].log2().mean().item()"
CHOICE = "best = min(bits, key=bits.get)\n    return best, bits[best]"
TRAINING = "(-table.log2() * counts_train).sum().item() / counts_train.sum().item()"
BEST_K = Exercise(
    cases=dev_cases,
    mutants=(
        Mutant("worst", "min(bits", "max(bits",
               "the k that costs most is chosen", "Are few bits good or bad?"),
        Mutant("training", COST, f"bits[k] = {TRAINING}",
               "the training text decides, and is judged", "Which text have the counts already seen?"),
        Mutant("training_decides", COST + "\n    " + CHOICE,
               COST + f"\n        bits[k] = (bits[k], {TRAINING})\n"
               "    best = min(bits, key=lambda k: bits[k][1])\n    return best, bits[best][0]",
               "the smallest k is chosen, as the training text would choose",
               "Which text have the counts already seen?"),
        Mutant("nats", ".log2()", ".log()",
               "the cost is in nats", "Which logarithm counts bits?"),
        Mutant("perplexity", "return best, bits[best]", "return best, 2 ** bits[best]",
               "a perplexity is returned", "How many bits does one token cost that has p = 1/4?"),
        Mutant("sum", ".mean()", ".sum()",
               "the bits of the whole text are returned", "Bits of what are asked for?"),
        Mutant("by_N", ".log2().mean().item()", ".log2().sum().item() / len(ids_dev)",
               "the sum is divided by the number of tokens instead of predictions",
               "How many tokens of the text are predicted?"),
        Mutant("mean_probability", COST, "bits[k] = -table[ids_dev[:-1], ids_dev[1:]].mean().log2().item()",
               "the logarithm is taken of the mean probability",
               "Which cost does a token of probability 0 have, and what would your mean make of it?"),
        Mutant("index", "return best, bits[best]", "return ks.index(best), bits[best]",
               "the place of k in the list is returned", "What is asked for, k or its place?"),
        Mutant("swapped_result", "return best, bits[best]", "return bits[best], best",
               "the two results come in the wrong order", "Which of the two should come first?"),
        Mutant("only_k", "return best, bits[best]", "return best",
               "only k is returned", "Which two things should come back?"),
        Mutant("only_bits", "return best, bits[best]", "return bits[best]",
               "only the bits are returned", "Which two things should come back?"),
        Mutant("all", "return best, bits[best]", "return best, list(bits.values())",
               "the bits of all k are returned", "How many numbers should come back?"),
        Mutant("backwards", "table[ids_dev[:-1], ids_dev[1:]]", "table[ids_dev[1:], ids_dev[:-1]]",
               "rows and columns have changed places: the text is predicted backwards",
               "In [a, b], which of the two tokens comes first in the text?"),
        Mutant("no_keepdim", "dim=1, keepdim=True", "dim=1",
               "the sums of the rows divide the columns",
               "With which axis of (V, V) does PyTorch line up a shape (V,)?"),
        Mutant("columns", "dim=1", "dim=0",
               "each column is divided by its own sum", "Which numbers are the probabilities after one token?"),
        Mutant("one_total", "dim=1, keepdim=True", "",
               "everything is divided by the sum of the whole table",
               "What do the probabilities after one token add up to?"),
        Mutant("not_below", TABLE, "table = raised / counts_train.sum(dim=1, keepdim=True)",
               "k is added above and not below", "What does a row of your table add up to?"),
        Mutant("once_below", TABLE, "table = raised / (counts_train.sum(dim=1, keepdim=True) + k)",
               "k is added below only once", "What does a row of your table add up to?"),
        Mutant("last", "best = min(bits, key=bits.get)", "best = ks[-1]",
               "the last k of the list is returned", "Where do you compare the costs?"),
        Mutant("first", "best = min(bits, key=bits.get)", "best = ks[0]",
               "the first k of the list is returned", "Where do you compare the costs?"),
        Mutant("smallest", "best = min(bits, key=bits.get)", "best = min(bits)",
               "the smallest k is chosen, as the training text would choose",
               "What does `min` compare when it goes through a dictionary?"),
        Mutant("last_bits", "return best, bits[best]", "return best, bits[k]",
               "the bits of the last k of the list are returned", "Which k is `k` after the loop?"),
        Mutant("stops_early", COST, COST + "\n        if len(bits) > 1 and bits[k] > list(bits.values())[-2]:\n"
               "            break",
               "the search ends when the cost rises for the first time", "Are the numbers in `ks` in order?"),
        Mutant("counts_dev", "raised = counts_train + k",
               "raised = torch.bincount(ids_dev[:-1] * len(counts_train) + ids_dev[1:], "
               "minlength=len(counts_train) ** 2).view_as(counts_train) + k",
               "the development text is counted, and then judged", "Which text makes the table?"),
        Mutant("accumulates", "", """\
def best_k(counts_train, ids_dev, ks):
    bits, raised = {}, counts_train.float()
    for k in ks:
        raised += k
        table = raised / raised.sum(dim=1, keepdim=True)
        bits[k] = -table[ids_dev[:-1], ids_dev[1:]].log2().mean().item()
    best = min(bits, key=bits.get)
    return best, bits[best]""",
               "each k is added on top of those before it", "What do your counts hold when the second k comes?"),
        Mutant("in_place", "", """\
def best_k(counts_train, ids_dev, ks):
    bits = {}
    for k in ks:
        counts_train += k
        table = counts_train / counts_train.sum(dim=1, keepdim=True)
        bits[k] = -table[ids_dev[:-1], ids_dev[1:]].log2().mean().item()
    best = min(bits, key=bits.get)
    return best, bits[best]""",
               "the counts of the caller are changed, and cannot hold a k that is not whole",
               "Whose tensor is `counts_train`?"),
        Mutant("different_pairs", COST,
               "different = torch.stack([ids_dev[:-1], ids_dev[1:]], dim=1).unique(dim=0)\n"
               "        bits[k] = -table[different[:, 0], different[:, 1]].log2().mean().item()",
               "each different pair is counted once", "Does a pair that comes ten times cost ten times as much?"),
        Mutant("whole_table", COST, "bits[k] = -table.log2().mean().item()",
               "the mean goes over the whole table", "Where does the development text come in?"),
        Mutant("block", COST, "bits[k] = -table[ids_dev[:-1]][:, ids_dev[1:]].log2().mean().item()",
               "every token is looked up after every other", "How many probabilities do you average?"),
        Mutant("seen_only", COST,
               "known = counts_train[ids_dev[:-1], ids_dev[1:]] > 0\n        p = table[ids_dev[:-1], ids_dev[1:]]\n"
               "        bits[k] = -p[known].log2().mean().item() if known.any() else 0.0",
               "pairs that training has not seen are left out", "Which pairs is smoothing for?"),
        Mutant("seen_only_nan", COST,
               "known = counts_train[ids_dev[:-1], ids_dev[1:]] > 0\n        p = table[ids_dev[:-1], ids_dev[1:]]\n"
               "        bits[k] = -p[known].log2().mean().item()",
               "pairs that training has not seen are left out", "Which pairs is smoothing for?"),
        Mutant("no_minus", "-table[", "table[",
               "the minus sign is missing", "Can a code have a negative length?"),
        Mutant("first_token_too", "bits[k] = -table[ids_dev[:-1], ids_dev[1:]]",
               "bits[k] = -table[ids_dev.roll(1), ids_dev]",
               "the first token is predicted from the last one", "What comes before the first token?"),
        Mutant("starts_at_zero", "", """\
def best_k(counts_train, ids_dev, ks):
    best, bits = ks[0], 0
    for k in ks:
        p = (counts_train + k) / (counts_train + k).sum(1, keepdim=True)
        b = -p[ids_dev[:-1], ids_dev[1:]].log2().mean().item()
        if b < bits: best, bits = k, b
    return best, bits""",
               "the best cost so far begins at zero, which no k can beat",
               "What do you compare the first cost with?"),
        Mutant("softmax_of_table", "", """\
def best_k(counts_train, ids_dev, ks):
    best, bits = None, math.inf
    for k in ks:
        p = (counts_train + k) / (counts_train + k).sum(1, keepdim=True)
        b = F.cross_entropy(p[ids_dev[:-1]], ids_dev[1:]).item() / math.log(2)
        if b < bits: best, bits = k, b
    return best, bits""",
               "a softmax is taken of probabilities",
               "Does `F.cross_entropy` want probabilities, or logits?"),
        Mutant("sorts", "", """\
def best_k(counts_train, ids_dev, ks):
    ks.sort()
    best, bits = None, math.inf
    for k in ks:
        p = (counts_train + k) / (counts_train + k).sum(1, keepdim=True)
        b = -p[ids_dev[:-1], ids_dev[1:]].log2().mean().item()
        if b < bits: best, bits = k, b
    return best, bits""",
               "the list of the caller is sorted in place",
               "What is the difference between `ks.sort()` and `sorted(ks)`?"),
        Mutant("joint", "", """\
def best_k(counts_train, ids_dev, ks):
    V = len(counts_train)
    costs = {}
    for k in ks:
        p = (counts_train + k) / (counts_train.sum() + k * V)
        costs[k] = -p[ids_dev[:-1], ids_dev[1:]].log2().mean().item()
    k = min(costs, key=costs.get)
    return k, costs[k]""",
               "each count is divided by the sum of all contexts",
               "What do the probabilities after one token add up to?"),
    ),
    variants=("""\
def best_k(counts_train, ids_dev, ks):
    V = counts_train.shape[1]
    rows = counts_train.tolist()
    text = ids_dev.tolist()
    best, fewest = None, math.inf
    for k in ks:
        total = 0.0
        for a, b in zip(text, text[1:]):
            total -= math.log2((rows[a][b] + k) / (sum(rows[a]) + k * V))
        if total / (len(text) - 1) < fewest:
            best, fewest = k, total / (len(text) - 1)
    return best, fewest""", """\
def best_k(counts_train, ids_dev, ks):
    def cost(k):
        p = F.normalize(counts_train.double() + k, p=1, dim=1)
        return F.nll_loss(p.log()[ids_dev[:-1]], ids_dev[1:]).item() / math.log(2)

    return min(((k, cost(k)) for k in ks), key=lambda pair: pair[1])""", """\
def best_k(counts_train, ids_dev, ks):
    k = torch.tensor(ks).view(-1, 1)
    a, b = ids_dev[:-1], ids_dev[1:]
    p = (counts_train[a, b] + k) / (counts_train[a].sum(1) + k * len(counts_train))
    bits = -p.log2().mean(dim=1)
    i = bits.argmin()
    return ks[i], bits[i].item()""", """\
def best_k(counts_train, ids_dev, ks):
    V = len(counts_train)
    dev = torch.bincount(ids_dev[:-1] * V + ids_dev[1:], minlength=V * V).view(V, V)
    costs = []
    for k in ks:
        logits = torch.log(counts_train + k)
        costs.append(-(dev * torch.log_softmax(logits, dim=1)).sum() / dev.sum() / math.log(2))
    i = min(range(len(ks)), key=lambda i: costs[i])
    return ks[i], costs[i]""",
    ),
    properties=(
        Property(lambda y, counts, ids, ks: y[0] in ks, "The first result is not a k of the list."),
        Property(lambda y, counts, ids, ks: y[1] >= 0, "A number of bits is negative."),
    ),
    twin=best_k_twin,
)  # fmt: skip


# 03.9


def cache_twin(rng: random.Random) -> Question:
    """What a mixture with a cache pays for one token."""
    n, share = rng.choice([4, 5, 8, 10]), rng.choice([0.2, 0.4, 0.5])
    times, p = rng.randint(0, 3), rng.choice([0.1, 0.2, 0.5])
    mixed = (1 - share) * p + share * times / n
    return Question(
        f"The table gives the token that comes a probability of {p:g}. It occurs {times} times among the last {n} "
        f"tokens, and the cache has a weight of {share:g}. How many bits does the token cost?", -math.log2(mixed),
        f"The mixture is {1 - share:g} · {p:g} + {share:g} · {times}/{n} = {mixed:.3g}; minus its log2.", 0.02,
    )  # fmt: skip


def cache_cases() -> list[tuple]:
    """Caches shorter than the text, longer than it, of one token; no share; two tokens of text."""
    generator = torch.Generator().manual_seed(39)
    table = torch.softmax(torch.randn(6, 6, generator=generator), dim=-1)
    uniform = torch.full((4, 4), 0.25)
    return [(table, tokens(16, 14, 6), 4, 0.3), (table, tokens(17, 8, 5), 30, 0.6), (table, tokens(18, 9, 6), 1, 0.45),
            (uniform, torch.tensor([3, 3, 1, 3, 3, 0]), 2, 0.5), (table, tokens(19, 7, 6), 3, 0.0),
            (uniform, torch.tensor([2, 2]), 5, 0.9)]  # fmt: skip


RECENT = "recent = ids[max(0, t - n) : t]"
CACHED = "cached = (recent == ids[t]).float().mean()"
MIXED = "p = (1 - share) * bigram[ids[t - 1], ids[t]] + share * cached"
LEAK = "You predict token t. Would your code length be the same if token t were not known yet?"
WINDOW = "For n = 1 the cache holds one token, the one before. What does yours hold?"
EARLY = "n is 100, and two tokens have been read. What do the cache's probabilities add up to?"
CACHE_MODEL = Exercise(
    cases=cache_cases,
    mutants=(
        Mutant("leak", "t - n) : t]", "t - n + 1) : t + 1]",
               "the cache already holds the token that it predicts", LEAK),
        Mutant("leak_longer", "t - n) : t]", "t - n) : t + 1]",
               "the cache already holds the token that it predicts, besides the n before it", LEAK),
        Mutant("one_more", "t - n)", "t - n - 1)",
               "the cache holds n + 1 tokens", WINDOW),
        Mutant("one_less", "t - n)", "t - n + 1)",
               "the cache holds n - 1 tokens", WINDOW),
        Mutant("one_late", "t - n) : t]", "t - n - 1) : t - 1]",
               "the cache ends one token too early", WINDOW),
        Mutant("one_less_empty", "", """\
def cache_model(bigram, ids, n, share):
    bits = []
    for t in range(1, len(ids)):
        recent = ids[max(0, t - n + 1) : t]
        cached = (recent == ids[t]).sum() / max(1, len(recent))
        p = (1 - share) * bigram[ids[t - 1], ids[t]] + share * cached
        bits.append(-p.log2())
    return torch.stack(bits)""",
               "the cache holds n - 1 tokens", WINDOW),
        Mutant("previous_left_out", "", """\
def cache_model(bigram, ids, n, share):
    bits = []
    for t in range(1, len(ids)):
        recent = ids[max(0, t - 1 - n) : t - 1]
        cached = (recent == ids[t]).sum() / max(1, len(recent))
        p = (1 - share) * bigram[ids[t - 1], ids[t]] + share * cached
        bits.append(-p.log2())
    return torch.stack(bits)""",
               "the cache ends one token too early, and begins empty", WINDOW),
        Mutant("by_n", CACHED, "cached = (recent == ids[t]).sum() / n",
               "the counts are divided by n, also while there are fewer tokens", EARLY),
        Mutant("by_n_leak", "", """\
def cache_model(bigram, ids, n, share):
    bits = []
    for t in range(1, len(ids)):
        recent = ids[max(0, t - n + 1) : t + 1]
        p = (1 - share) * bigram[ids[t - 1], ids[t]] + share * (recent == ids[t]).sum() / n
        bits.append(-p.log2())
    return torch.stack(bits)""",
               "the cache already holds the token that it predicts, and the counts are divided by n", LEAK),
        Mutant("negative_slice", "ids[max(0, t - n) : t]", "ids[t - n : t]",
               "a slice begins at a negative index, which Python counts from the end",
               "What is `x[-2:1]` for a row of six numbers?"),
        Mutant("negative_slice_n", RECENT + "\n        " + CACHED,
               "recent = ids[t - n : t]\n        cached = (recent == ids[t]).sum() / n",
               "a slice begins at a negative index, and the counts are divided by n",
               "What is `x[-2:1]` for a row of six numbers?"),
        Mutant("negative_slice_guarded", RECENT + "\n        " + CACHED,
               "recent = ids[t - n : t]\n        cached = (recent == ids[t]).sum() / max(1, len(recent))",
               "a slice begins at a negative index, so that the cache is empty near the beginning",
               "What is `x[-2:1]` for a row of six numbers?"),
        Mutant("late_start", MIXED, "p = bigram[ids[t - 1], ids[t]] if t < n else " + MIXED.removeprefix("p = "),
               "the cache is not asked before it is full", "What should happen at the second token?"),
        Mutant("whole_past", "max(0, t - n)", "0",
               "the cache holds the whole past, however small n is", "Where does your function use n?"),
        Mutant("whole_text", RECENT, "recent = ids",
               "the cache holds the whole text, the future too", LEAK),
        Mutant("first_n", RECENT, "recent = ids[: min(n, t)]",
               "the cache holds the first n tokens of the text, not the last n", "Which tokens are recent for t = 50?"),
        Mutant("swapped_share", MIXED, "p = share * bigram[ids[t - 1], ids[t]] + (1 - share) * cached",
               "share is the weight of the table instead of the cache", "What should happen with share = 0?"),
        Mutant("added", "(1 - share) * bigram", "bigram",
               "the cache's share is added without taking it from the table",
               "What do the probabilities of all tokens add up to?"),
        Mutant("unweighted", MIXED, "p = (bigram[ids[t - 1], ids[t]] + cached) / 2",
               "both models always have the same weight", "Where does your function use share?"),
        Mutant("lengths_mixed", MIXED + "\n        bits.append(-p.log2())",
               "bits.append(-(1 - share) * bigram[ids[t - 1], ids[t]].log2() - share * cached.clamp(min=1e-9).log2())",
               "code lengths are mixed instead of probabilities",
               "One of the models gives p = 0. What does the mixture of the probabilities say, and what yours?"),
        Mutant("lengths_mixed_infinite", MIXED + "\n        bits.append(-p.log2())",
               "bits.append(-(1 - share) * bigram[ids[t - 1], ids[t]].log2() - share * cached.log2())",
               "code lengths are mixed instead of probabilities",
               "One of the models gives p = 0. What does the mixture of the probabilities say, and what yours?"),
        Mutant("larger", MIXED, "p = torch.maximum(bigram[ids[t - 1], ids[t]], cached)",
               "the larger of the two probabilities is taken", "What do the probabilities of all tokens add up to?"),
        Mutant("if_cached", MIXED, MIXED + "\n        p = p if cached > 0 else bigram[ids[t - 1], ids[t]]",
               "the cache takes its share only when it holds the token",
               "What do the probabilities of all tokens add up to?"),
        Mutant("nats", ".log2()", ".log()",
               "the lengths are in nats", "Which logarithm counts bits?"),
        Mutant("no_minus", "-p.log2()", "p.log2()",
               "the minus sign is missing", "Can a code have a negative length?"),
        Mutant("probabilities", "-p.log2()", "p",
               "probabilities are returned", "How long is the code of a token with p = 1/4?"),
        Mutant("mean", "torch.stack(bits)", "torch.stack(bits).mean()",
               "the mean is returned", "How many numbers should come back?"),
        Mutant("total", "torch.stack(bits)", "torch.stack(bits).sum()",
               "the sum is returned", "How many numbers should come back?"),
        Mutant("transposed", "bigram[ids[t - 1], ids[t]]", "bigram[ids[t], ids[t - 1]]",
               "rows and columns of the table have changed places",
               "In [a, b], which of the two tokens comes first in the text?"),
        Mutant("next", "bigram[ids[t - 1], ids[t]]", "bigram[ids[t], ids[min(t + 1, len(ids) - 1)]]",
               "the table predicts one token, and the cache another", "Which token do both models have to predict?"),
        Mutant("previous", CACHED, "cached = (recent == ids[t - 1]).float().mean()",
               "the token before is looked for in the cache", "Which token's probability is asked of the cache?"),
        Mutant("set", CACHED, "cached = torch.tensor(float(ids[t] in recent)) / len(recent.unique())",
               "the cache holds each token once", "In 3, 3, 1, how large is the share of 3?"),
        Mutant("occurs", CACHED, "cached = (recent == ids[t]).any().float()",
               "the cache gives the probability 1 to every token that it holds",
               "What do the cache's probabilities add up to?"),
        Mutant("counts", CACHED, "cached = (recent == ids[t]).sum()",
               "counts are mixed with probabilities", "What do the numbers of the cache add up to?"),
        Mutant("smoothed", CACHED, "cached = ((recent == ids[t]).sum() + 1) / (len(recent) + len(bigram))",
               "the cache is smoothed by one", "What does the cache give to a token that it does not hold?"),
        Mutant("first_too", "range(1, len(ids))", "range(len(ids))",
               "the first token is predicted too, from the last one", "What comes before the first token?"),
        Mutant("last_missing", "range(1, len(ids))", "range(1, len(ids) - 1)",
               "the last token is not predicted", "How many of N tokens are predicted?"),
        Mutant("list", "return torch.stack(bits)", "return [b.item() for b in bits]",
               "the result is a list", "Which type should the result have?"),
        Mutant("blocks", RECENT, "recent = ids[(t - 1) // n * n : t]",
               "the cache is emptied after every n tokens", "How many tokens does the cache hold for t = n + 1?"),
        Mutant("fading", CACHED,
               "weights = torch.arange(1, len(recent) + 1).float()\n"
               "        cached = (weights * (recent == ids[t])).sum() / weights.sum()",
               "recent tokens of the cache count more than older ones",
               "In 3, 1, 1, 1, how large is the share of 3?"),
        Mutant("bigram_cache", CACHED,
               "follows = recent[1:][recent[:-1] == ids[t - 1]]\n"
               "        cached = (follows == ids[t]).float().mean().nan_to_num()",
               "the cache counts pairs instead of single tokens", "Which of the two models knows about pairs?"),
        Mutant("leak_list", "", """\
def cache_model(bigram, ids, n, share):
    out = []
    cache = []
    for a, b in zip(ids, ids[1:]):
        cache = (cache + [b.item()])[-n:]
        out.append(-torch.log2((1 - share) * bigram[a, b] + share * cache.count(b.item()) / len(cache)))
    return torch.stack(out)""",
               "the cache already holds the token that it predicts",
               LEAK),
        Mutant("softmax", "", """\
def cache_model(bigram, ids, n, share):
    out = []
    for t in range(1, len(ids)):
        c = torch.bincount(ids[max(0, t - n):t], minlength=len(bigram)).float()
        p = (1 - share) * bigram[ids[t - 1]] + share * c.softmax(0)
        out.append(-p[ids[t]].log2())
    return torch.stack(out)""",
               "a softmax is taken of the counts in the cache",
               "What does the cache give to a token that it does not hold?"),
        Mutant("distinct", "", """\
def cache_model(bigram, ids, n, share):
    out, cache = [], []
    for a, b in zip(ids.tolist(), ids.tolist()[1:]):
        if a not in cache: cache.append(a)
        cache = cache[-n:]
        c = cache.count(b) / len(cache)
        out.append(-math.log2((1 - share) * bigram[a, b] + share * c))
    return torch.tensor(out)""",
               "the cache holds each token once",
               "In 3, 3, 1, how large is the share of 3?"),
        Mutant("drops_early", "", """\
def cache_model(bigram, ids, n, share):
    counts = torch.zeros(len(bigram)); out = []
    for t in range(1, len(ids)):
        counts[ids[t - 1]] += 1
        if t > n: counts[ids[t - n]] -= 1
        p = (1 - share) * bigram[ids[t - 1]] + share * counts / counts.sum()
        out.append(-p[ids[t]].log2())
    return torch.stack(out)""",
               "a token leaves the cache one step too early",
               "For n = 1 the cache holds one token. Which of those before has left it when you predict token 2?"),
    ),
    variants=("""\
def cache_model(bigram, ids, n, share):
    N, V = len(ids), len(bigram)
    table = bigram[ids[:-1], ids[1:]]
    sums = torch.cat([torch.zeros(1, V), F.one_hot(ids, V).float().cumsum(0)])
    t = torch.arange(1, N)
    start = (t - n).clamp(min=0)
    held = (sums[t] - sums[start])[torch.arange(N - 1), ids[1:]]
    return -torch.log2((1 - share) * table + share * held / (t - start))""", """\
def cache_model(bigram, ids, n, share):
    from collections import deque

    text, cache, bits = ids.tolist(), deque(maxlen=n), []
    for before, now in zip(text, text[1:]):
        cache.append(before)
        p = (1 - share) * bigram[before, now].item() + share * cache.count(now) / len(cache)
        bits.append(-math.log2(p))
    return torch.tensor(bits)""", """\
def cache_model(bigram, ids, n, share):
    N = len(ids)
    back = torch.arange(N)[:, None] - torch.arange(N)
    held = ((back >= 1) & (back <= n))[1:]
    same = ids[1:, None] == ids
    cached = (held & same).sum(1) / held.sum(1)
    mixture = torch.lerp(bigram[ids[:-1], ids[1:]], cached, share)
    return -mixture.log2()""", """\
def cache_model(bigram, ids, n, share):
    out = torch.zeros(len(ids) - 1)
    for i in range(len(ids) - 1):
        recent = ids[: i + 1][-n:]
        distribution = torch.bincount(recent, minlength=len(bigram)) / len(recent)
        p = share * distribution + (1 - share) * bigram[ids[i]]
        out[i] = -torch.log(p[ids[i + 1]]) / math.log(2)
    return out""",
    ),
    properties=(
        Property(lambda bits, bigram, ids, n, share: len(bits) == len(ids) - 1,
                 "There is not one code length for each token but the first."),
        Property(lambda bits, bigram, ids, n, share: (bits >= -1e-5).all(), "A code has a negative length."),
        Property(lambda bits, bigram, ids, n, share: (
                     bits <= -torch.log2((1 - share) * bigram[ids[:-1], ids[1:]]) + 1e-4).all(),
                 "A token costs more than the table's own share allows."),
    ),
    twin=cache_twin,
)  # fmt: skip


EXERCISES = {
    "bigram_counts": BIGRAM_COUNTS,
    "add_k": ADD_K,
    "perplexity": PERPLEXITY,
    "bits_per_byte": BITS_PER_BYTE,
    "interpolate": INTERPOLATE,
    "continuation": CONTINUATION,
    "bigram_gradient": BIGRAM_GRADIENT,
    "best_k": BEST_K,
    "cache_model": CACHE_MODEL,
}


# Recall


def ngram_table(rng: random.Random) -> Question:
    V, n = rng.choice([27, 30, 50, 64, 80, 100, 200, 256]), rng.choice([2, 3, 4])
    return Question(
        f"The vocabulary has {V} tokens. How many different pieces of {n} tokens are there to count?", V**n,
        f"{V} possibilities at each of {n} places: {V}^{n}. Most of them never occur in any text.",
    )  # fmt: skip


def perplexity_to_bits(rng: random.Random) -> Question:
    power, size = rng.randint(3, 9), rng.choice([1.5, 2, 3, 4, 5])
    return Question(
        f"A model has a perplexity of {2**power} per token, and a token has {size:g} bytes on average. "
        "How many bits per byte?", power / size,
        f"A perplexity of {2**power} is {power} bits per token; divide by the {size:g} bytes.", 0.01,
    )  # fmt: skip


def unseen_after_smoothing(rng: random.Random) -> Question:
    V, k, total = rng.choice([100, 500, 1000]), rng.choice([0.01, 0.1, 1]), rng.randint(2, 9) * 10
    return Question(
        f"A context was seen {total} times; V = {V}, and add-k smoothing uses k = {k:g}. Which probability does a "
        "token get that never came after it?", k / (total + k * V),
        f"k / (count of the context + k · V) = {k:g} / ({total} + {k * V:g}).", 0.01,
    )  # fmt: skip


def gradient_at_target(rng: random.Random) -> Question:
    """One entry of p - y."""
    p = rng.randint(1, 19) / 20
    right = rng.random() < 0.5
    which = "the token that came" if right else "a token that did not come"
    return Question(
        f"A model gives {which} a probability of {p:g}. What is the gradient of the cross-entropy with respect to this "
        "token's logit?", p - 1 if right else p, f"p - y: y is {int(right)} here.", 0.01,
    )  # fmt: skip


def packed_size(rng: random.Random) -> Question:
    bits, kilobytes = rng.choice([1, 1.5, 2, 2.5, 3, 4]), rng.randint(2, 30) * 100
    return Question(
        f"A model needs {bits:g} bits per byte for a text of {kilobytes} kB. As a code, how many kB does it take?",
        kilobytes * bits / 8, f"{bits:g} of the 8 bits of each byte are left: {kilobytes} · {bits:g} / 8.", 0.01,
    )  # fmt: skip


def interpolation(rng: random.Random) -> Question:
    lam, long, short = rng.choice([0.25, 0.5, 0.75]), rng.randint(0, 5) / 5, rng.randint(1, 5) / 10
    return Question(
        f"A trigram gives a token {long:g}, the bigram gives it {short:g}; the trigram's weight is {lam:g}, the rest "
        "is the bigram's. What is the mixture's probability?", lam * long + (1 - lam) * short,
        f"{lam:g} · {long:g} + {1 - lam:g} · {short:g}. Even a trigram that says 0 cannot forbid the token.", 0.01,
    )  # fmt: skip


RECALL = (ngram_table, perplexity_to_bits, unseen_after_smoothing, gradient_at_target, packed_size, interpolation)
PREDICTIONS = {
    "03.p1": Prediction(
        "In English books, what share of the letters that follow a q are u?",
        None,
        "Almost nothing else ever follows. A model that has counted pairs of letters knows it, and pays next to "
        "nothing for this u.",
        0.05,
    ),
    "03.p2": Prediction(
        "You list every piece of six symbols that occurs in the training text. What share of the six-symbol pieces of "
        "the held-out text is in the list?",
        None,
        "A model that only counts gives a probability of zero to each of the others, so that one of them alone makes "
        "its held-out loss infinite. On its training text nothing is missing.",
        0.1,
    ),
    "03.p3": Prediction(
        "A model has a perplexity of 20 per token, and a token is 4 bytes long on average. How many bits per byte?",
        lambda: math.log2(20) / 4,
        "A perplexity of 20 is log2(20) = 4.32 bits per token; divide them by 4 bytes.",
        0.02,
    ),
    "03.p4": Prediction(
        "gzip packs the held-out text alone. How many bits does it need for each byte of the text?",
        None,
        "It finds pieces that it has seen, but only those of the last 32 KiB, and it begins without knowing any "
        "English.",
        0.1,
    ),
}
