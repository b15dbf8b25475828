"""Lesson 04, attention: cases, and the wrong ideas that people have about it.

Sizes are pairwise distinct wherever an exercise allows it: with T = S or H = T half of these mistakes cannot be seen.
"""
import math
import random

import torch
import torch.nn.functional as F

from . import Exercise, Mutant, Prediction, Property, Question, normal


def adds_up(rows: torch.Tensor) -> bool:
    return torch.allclose(rows.sum(-1), torch.ones(()), atol=1e-4)


# 04.1


def averaging_twin(rng: random.Random) -> Question:
    """One number of the matrix, from its first rows or its later ones."""
    n, t = rng.randint(3, 6), rng.randint(6, 12)
    t, s = (rng.randint(1, n - 2), 0) if rng.random() < 0.5 else (t, t - rng.randint(0, n - 1))
    size = min(n, t + 1)
    return Question(
        f"A matrix averages the last {n} positions, fewer at the start. Positions count from 0. "
        f"Which number stands in row {t}, column {s}?", 1 / size,
        f"Row {t} averages {size} positions, so that each of them gets 1/{size}.", 0.01,
    )  # fmt: skip


AVERAGING_MATRIX = Exercise(
    cases=lambda: [(6, 3), (5, 2), (4, 1), (3, 7), (1, 2), (7, 7)],
    mutants=(
        Mutant("sum", " / seen.sum(dim=1, keepdim=True)", "",
               "each row adds the positions up and never divides",
               "What would a vector that is the same at every position turn into?"),
        Mutant("divided_by_n", "seen.sum(dim=1, keepdim=True)", "n",
               "every row is divided by n, the early ones too",
               "How many positions does row 0 average when n is 3?"),
        Mutant("divided_by_T", "seen.sum(dim=1, keepdim=True)", "T",
               "every row is divided by T",
               "How many positions does row 0 average?"),
        Mutant("divided_by_age", "seen.sum(dim=1, keepdim=True)", "torch.arange(1, T + 1)[:, None]",
               "row t is divided by t + 1, as if it averaged all of its past",
               "How many ones are there in the last row when n is 2?"),
        Mutant("no_keepdim", "dim=1, keepdim=True", "dim=1",
               "the sums of the rows divide the columns",
               "A shape (T, T) is divided by (T,): with which axis of the first does PyTorch line up the T numbers?"),
        Mutant("columns", "dim=1", "dim=0",
               "each column is divided by its own sum",
               "Which numbers of A make the first row of A @ x: a row of A, or a column?"),
        Mutant("transposed", "return seen / seen.sum(dim=1, keepdim=True)",
               "return (seen / seen.sum(dim=1, keepdim=True)).T",
               "rows and columns have changed places",
               "Row t of A is the recipe for output t. Which positions may be in the recipe of output 0?"),
        Mutant("whole_past", ".triu(1 - n)", "",
               "all of the past is averaged, however small n is",
               "For n = 1, what should `A @ x` be?"),
        Mutant("ahead", ".tril().triu(1 - n)", ".triu().tril(n - 1)",
               "each position averages itself and what comes after it",
               "Which positions stand to the right of the diagonal, those before t or those after?"),
        Mutant("both_sides", ".tril()", ".tril(n - 1)",
               "the window reaches to both sides of a position",
               "When you predict what comes next, which side are you not allowed to look at?"),
        Mutant("one_ahead", ".tril()", ".tril(1)",
               "each position averages its next one as well",
               "Is the first number to the right of the diagonal past or future?"),
        Mutant("window_too_long", "1 - n", "-n",
               "the window holds n + 1 positions",
               "For n = 1 each position averages only itself. What does your matrix do?"),
        Mutant("window_too_short", "1 - n", "2 - n",
               "the window holds n - 1 positions",
               "For n = 1 each position averages only itself. What does your matrix do?"),
        Mutant("without_itself", ".tril().triu(1 - n)", ".tril(-1).triu(-n)",
               "a position is left out of its own average",
               "What is left for row 0 to average?"),
        Mutant("without_itself_zero", "", """\
def averaging_matrix(T, n):
    seen = torch.ones(T, T).tril(-1).triu(-n)
    return seen / seen.sum(dim=1, keepdim=True).clamp(min=1)""",
               "a position is left out of its own average",
               "What is left for row 0 to average?"),
        *(Mutant(f"rolled{name}", "torch.ones(T, T).tril().triu(1 - n)",
                 f"sum(torch.eye(T).roll(back, dims=0) for back in range({steps}))",
                 "roll hands what falls out at the end to the first rows",
                 "What does `torch.arange(4).roll(1)` hold at place 0, and which position comes before the first?")
          for name, steps in (("", "min(n, T)"), ("_n_times", "n"))),
        Mutant("slice_end", "", """\
def averaging_matrix(T, n):
    A = torch.zeros(T, T)
    for t in range(T):
        start = max(0, t - n + 1)
        A[t, start:t] = 1 / (t - start + 1)
    return A""",
               "a slice ends before position t, so that t itself gets nothing",
               "Which is the last index in `row[2:5]`?"),
        Mutant("slice_start", "", """\
def averaging_matrix(T, n):
    A = torch.zeros(T, T)
    for t in range(T):
        A[t, t - n + 1 : t + 1] = 1 / min(n, t + 1)
    return A""",
               "a slice begins at a negative index, which Python counts from the end",
               "What is `row[-2:1]` for a row of six numbers?"),
        Mutant("slice_start_n", "", """\
def averaging_matrix(T, n):
    A = torch.zeros(T, T)
    for t in range(T):
        A[t, t - n + 1 : t + 1] = 1 / n
    return A""",
               "a slice begins at a negative index, which Python counts from the end",
               "What is `row[-2:1]` for a row of six numbers?"),
        Mutant("slice_too_long", "", """\
def averaging_matrix(T, n):
    A = torch.zeros(T, T)
    for t in range(T):
        A[t, max(0, t - n) : t + 1] = 1 / min(n, t + 1)
    return A""",
               "the window holds n + 1 positions, but they are divided by n",
               "For n = 1 each position averages only itself. What does your matrix do?"),
        Mutant("slice_too_long_n", "", """\
def averaging_matrix(T, n):
    A = torch.zeros(T, T)
    for t in range(T):
        A[t, max(0, t - n) : t + 1] = 1 / n
    return A""",
               "the window holds n + 1 positions, but they are divided by n",
               "For n = 1 each position averages only itself. What does your matrix do?"),
        Mutant("no_tril", ".tril()", "",
               "the window has no end: it reaches into the future",
               "Which positions may row 0 look at?"),
        Mutant("first_n", ".triu(1 - n)", " * (torch.arange(T) < n)",
               "row t averages the first n positions instead of the last n",
               "For n = 2, which two positions should the last row average?"),
        Mutant("softmax_of_ones", "return seen / seen.sum(dim=1, keepdim=True)", "return torch.softmax(seen, dim=1)",
               "a softmax runs over ones and zeros",
               "Which weight does a softmax give to a score of 0, and which score would get none?"),
        Mutant("ones", "return seen / seen.sum(dim=1, keepdim=True)", "return torch.full((T, T), 1 / T)",
               "every row averages all T positions",
               "Which positions may row 0 look at?"),
        Mutant("wrong_sign", "1 - n", "n - 1",
               "the window begins n - 1 steps on the wrong side of the diagonal",
               "`triu(d)` keeps what is on or above diagonal d. Where is diagonal -1, left or right of the main one?"),
        Mutant("past_and_ahead", ".tril().triu(1 - n)", ".tril(n - 1)",
               "all of the past is averaged, and n - 1 positions ahead",
               "Which of `tril` and `triu` cuts off the future, and which cuts off what is too long ago?"),
        Mutant("mean", ".sum(dim=1", ".mean(dim=1",
               "each row is divided by its mean instead of its sum",
               "What should the numbers of one row add up to?"),
        Mutant("length", "seen.sum(dim=1, keepdim=True)", "seen.norm(dim=1, keepdim=True)",
               "each row is divided by its length as a vector instead of its sum",
               "What should the numbers of one row add up to?"),
        Mutant("all_columns", "dim=1, keepdim=True", "",
               "everything is divided by one number, the sum of the whole matrix",
               "What should the numbers of one row add up to?"),
        Mutant("edge_padding", "", """\
def averaging_matrix(T, n):
    A = torch.zeros(T, T)
    for t in range(T):
        for back in range(n):
            A[t, max(0, t - back)] += 1 / n
    return A""",
               "the first vector is counted again for each position that lies before the start",
               "How many vectors are there for row 1 to average when n is 3?"),
        Mutant("fading", "", """\
def averaging_matrix(T, n):
    eye = torch.eye(T)
    rows = [eye[0]]
    for t in range(1, T):
        count = min(t + 1, n)
        rows.append(rows[-1] + (eye[t] - rows[-1]) / count)
    return torch.stack(rows)""",
               "the oldest position fades instead of leaving: a running mean with a share of 1/n",
               "For n = 2, how much of the first vector should be left in the last row?"),
    ),
    variants=("""\
def averaging_matrix(T, n):
    A = torch.zeros(T, T)
    for t in range(T):
        start = max(0, t - n + 1)
        A[t, start : t + 1] = 1 / (t + 1 - start)
    return A""", """\
def averaging_matrix(T, n):
    distance = torch.arange(T)[:, None] - torch.arange(T)
    scores = torch.zeros(T, T).masked_fill((distance < 0) | (distance >= n), -math.inf)
    return F.softmax(scores, dim=-1)""", """\
def averaging_matrix(T, n):
    sums = torch.eye(T).cumsum(dim=0)
    sums[n:] -= sums[:-n].clone()
    return torch.einsum("ts,t->ts", sums, 1 / torch.arange(1, T + 1).clamp(max=n))""", """\
def averaging_matrix(T, n):
    rows = [[1 / min(t + 1, n) if 0 <= t - s < n else 0.0 for s in range(T)] for t in range(T)]
    return torch.tensor(rows)""",
    ),
    properties=(
        Property(lambda A, T, n: not A.triu(1).any(), "A position receives something from a later one."),
        Property(lambda A, T, n: adds_up(A), "The numbers of a row do not add up to one, so it is not a mean."),
    ),
    twin=averaging_twin,
)  # fmt: skip


# 04.2


def mask_twin(rng: random.Random) -> Question:
    T = rng.randint(5, 9)
    n = rng.randint(2, T - 1)
    return Question(
        f"A sequence has {n} real tokens and is filled up to T = {T} at the end. Its causal mask lets padding "
        "queries look at the real tokens. How many entries of its (T, T) table are True?",
        n * (n + 1) // 2 + (T - n) * n, f"The real queries see 1 + 2 + … + {n} keys, the {T - n} others {n} keys each.",
    )  # fmt: skip


BLIND = "A query has no key to look at: a softmax over minus infinities only is NaN."
BATCHES = (([3, 5, 1], 6), ([2, 4], 4), ([7, 1, 6, 3], 8), ([3], 5), ([1], 1))
CAUSAL_MASK = Exercise(
    cases=lambda: [(torch.tensor(lengths), T) for lengths, T in BATCHES],
    mutants=(
        Mutant("inverted", "return past & real[:, None, :]", "return ~(past & real[:, None, :])",
               "the mask says True for hidden, and False for what may be seen",
               "What does True at [b, 0, 0] say about the first token and itself?"),
        Mutant("no_padding", "return past & real[:, None, :]", "return past.expand(len(lengths), T, T)",
               "padding is looked at like any other token",
               "Where in your result do the lengths matter?"),
        Mutant("no_past", "return past & real[:, None, :]", "return real[:, None, :].expand(-1, T, T)",
               "padding is hidden, but the future is not",
               "May query 0 look at key 1?"),
        Mutant("queries", "real[:, None, :]", "real[:, :, None]",
               "padding queries may look at nothing at all",
               "What is the softmax of a row in which every score is minus infinity?"),
        Mutant("square", "real[:, None, :]", "real[:, None, :] & real[:, :, None]",
               "padding queries may look at nothing at all",
               "What is the softmax of a row in which every score is minus infinity?"),
        Mutant("square_with_future", "return past & real[:, None, :]", "return real[:, :, None] & real[:, None, :]",
               "real tokens see all real tokens, the future among them, and padding queries see nothing",
               "May query 0 look at key 1?"),
        Mutant("length_too_long", "position < lengths", "position <= lengths",
               "the first padding position counts as a token",
               "Positions count from 0. In a sequence of 2 tokens, which is the position of the last one?"),
        Mutant("length_too_short", "position < lengths[:, None]", "position < lengths[:, None] - 1",
               "the last real token counts as padding",
               "Positions count from 0. In a sequence of 2 tokens, which is the position of the last one?"),
        Mutant("not_itself", "position <= position", "position < position",
               "a query may not look at its own position",
               "What is left for query 0 to look at?"),
        Mutant("one_ahead", "position <= position[:, None]", "position <= position[:, None] + 1",
               "each query may look one position ahead",
               "Which token is the model asked to predict at position t, and where does it stand?"),
        Mutant("future", "position <= position", "position >= position",
               "queries look forward instead of back",
               "In [b, t, s], which index is the query's, and which side of the diagonal is its past?"),
        Mutant("strict_future", "position <= position", "position > position",
               "the table of what is forbidden is used as the table of what is allowed",
               "`triu(1)` is True above the diagonal. Is that where a query may look?"),
        Mutant("or", "past & real", "past | real",
               "one of the two permissions is enough",
               "May a query look at a token that is real, but lies in the future?"),
        Mutant("padding_first", "position < lengths[:, None]", "position >= T - lengths[:, None]",
               "the padding is taken to be at the front",
               "At which end are the sequences filled up?"),
        Mutant("padding_seen", "position < lengths", "position >= lengths",
               "padding is allowed and the real tokens are hidden",
               "Is `position >= length` true for a token or for padding?"),
        Mutant("longest", "lengths[:, None]", "lengths.max().expand(len(lengths), 1)",
               "all sequences are given the length of the longest",
               "Which positions of the shortest sequence are padding?"),
        Mutant("shortest", "lengths[:, None]", "lengths.min().expand(len(lengths), 1)",
               "the padding of each sequence is cut out of all of them, as if they shared one table",
               "You change the mask of the first sequence. What becomes of the second one's?"),
        Mutant("first_length", "lengths[:, None]", "lengths[:1].expand(len(lengths))[:, None]",
               "all sequences are given the length of the first",
               "Does your result differ from sequence to sequence?"),
        Mutant("no_batch", "", """\
def causal_mask(lengths, T):
    return torch.ones(T, T, dtype=torch.bool).tril()""",
               "there is one table for all sequences, without their lengths",
               "Two sequences of different length: can one table serve both?"),
        Mutant("heads", "real[:, None, :]", "real[:, None, None, :]",
               "the table has one axis too many, as for heads",
               "How many axes should the result have, and which?"),
        Mutant("additive", "return past & real[:, None, :]",
               "return torch.zeros(len(lengths), T, T).masked_fill(~(past & real[:, None, :]), -math.inf)",
               "the mask holds 0 and minus infinity, to be added to scores",
               "Which dtype says \"may look: yes or no\"?"),
        Mutant("numbers", "return past & real[:, None, :]", "return (past & real[:, None, :]).float()",
               "the mask holds the numbers 0 and 1",
               "Which dtype says \"may look: yes or no\"?"),
        Mutant("whole_numbers", "return past & real[:, None, :]", "return (past & real[:, None, :]).long()",
               "the mask holds the numbers 0 and 1",
               "Which dtype says \"may look: yes or no\"?"),
        Mutant("padding_sees_itself", "", """\
def causal_mask(lengths, T):
    return torch.tensor([[[s == t or (s < t and s < length) for s in range(T)]
                          for t in range(T)]
                         for length in lengths.tolist()])""",
               "a padding query may look at itself, although it is padding",
               "Which keys must never be looked at, by any query?"),
    ),
    variants=("""\
def causal_mask(lengths, T):
    mask = torch.zeros(len(lengths), T, T, dtype=torch.bool)
    for b, n in enumerate(lengths.tolist()):
        for t in range(T):
            mask[b, t, : min(t + 1, n)] = True
    return mask""", """\
def causal_mask(lengths, T):
    mask = torch.ones(len(lengths), T, T, dtype=torch.bool).tril()
    for b, n in enumerate(lengths):
        mask[b, :, n:] = False
    return mask""", """\
def causal_mask(lengths, T):
    real = (torch.arange(T) < lengths.unsqueeze(-1)).int()
    return torch.einsum("ts,bs->bts", torch.ones(T, T).tril().int(), real) == 1""", """\
def causal_mask(lengths, T):
    t = torch.arange(T).view(1, T, 1)
    last = torch.minimum(t, lengths.view(-1, 1, 1) - 1)
    return torch.arange(T).view(1, 1, T) <= last""",
    ),
    properties=(
        Property(lambda mask, lengths, T: not mask.triu(1).any(), "A query may look at a later position."),
        Property(lambda mask, lengths, T: not any(m[:, n:].any() for m, n in zip(mask, lengths)),
                 "A query may look at padding."),
        Property(lambda mask, lengths, T: mask.any(-1).all(), BLIND),
    ),
    twin=mask_twin,
)  # fmt: skip


# 04.3


def attention_twin(rng: random.Random) -> Question:
    D, more = rng.choice([4, 16, 64]), rng.choice([0.5, 1.0, 1.5, 2.0])
    return Question(
        f"D = {D}. The dot product of a query with key a is {more * math.sqrt(D):g} larger than with key b. "
        "How many times as much weight does key a get?", math.exp(more),
        f"The scores differ by {more:g} after the division by √{D}; the weights by a factor of exp({more:g}).", 0.02,
    )  # fmt: skip


def attention_cases() -> list[tuple]:
    """q, k, v, mask: without a mask, with a mask of no order, and causal."""
    tensor = torch.Generator().manual_seed(43)
    any_mask = torch.rand(2, 1, 5, 7, generator=tensor) < 0.5
    any_mask[..., 0] = True  # every query has a key, every key a query
    any_mask[..., 4, :] = True
    causal = torch.ones(6, 6, dtype=torch.bool).tril()
    return [
        (*normal(40, (5, 4), (7, 4), (7, 6)), None),
        (*normal(41, (2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 8)), any_mask),
        (*normal(42, (4, 6, 9), (4, 6, 9), (4, 6, 3)), causal),
    ]


SCALED = "scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])"
MASKED = "    if mask is not None:\n        scores = scores.masked_fill(~mask, -math.inf)\n"
SHARED = "    weights = torch.softmax(scores.float(), dim=-1).to(v.dtype)"
AFTER = "    if mask is not None:\n        weights = weights.masked_fill(~mask, 0.0)"
UNROOTED, WRONG_AXIS = SCALED.replace("math.sqrt(q.shape[-1])", "q.shape[-1]"), SHARED.replace("dim=-1", "dim=-2")
EARLY_ROWS = "What do the weights of the first query add up to when it may see one key of many?"
ATTENTION = Exercise(
    cases=attention_cases,
    mutants=(
        Mutant("no_scale", " / math.sqrt(q.shape[-1])", "",
               "the scores are not divided by √D",
               "How large is the dot product of two random vectors of D numbers, and what does that do to a softmax?"),
        Mutant("no_root", "math.sqrt(q.shape[-1])", "q.shape[-1]",
               "the scores are divided by D instead of its root",
               "A sum of D independent products has variance D. What is its standard deviation?"),
        Mutant("scale_queries", "math.sqrt(q.shape[-1])", "math.sqrt(q.shape[-2])",
               "the scores are divided by the root of the number of queries",
               "Which axis does the dot product add up, and how long is it?"),
        Mutant("scale_keys", "math.sqrt(q.shape[-1])", "math.sqrt(k.shape[-2])",
               "the scores are divided by the root of the number of keys",
               "Which axis does the dot product add up, and how long is it?"),
        Mutant("scale_axis_1", "math.sqrt(q.shape[-1])", "math.sqrt(q.shape[1])",
               "the scores are divided by the root of axis 1, whatever that axis is",
               "Which axis is number 1 in a tensor (B, H, T, D), and which in (T, D)?"),
        Mutant("scale_values", "math.sqrt(q.shape[-1])", "math.sqrt(v.shape[-1])",
               "the scores are divided by the root of the values' size",
               "Which vectors enter the dot product: queries and keys, or values?"),
        Mutant("scale_upwards", "/ math.sqrt", "* math.sqrt",
               "the scores are multiplied by √D",
               "Should the scores become larger or smaller as D grows?"),
        Mutant("scale_after", "return weights", "weights = weights / math.sqrt(q.shape[-1])\n    return weights",
               "the division by √D comes after the softmax too",
               "What do the weights of one query add up to in the end?"),
        Mutant("scale_only_after", "", """\
def attention(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, dim=-1) / math.sqrt(q.shape[-1])
    return weights @ v, weights""",
               "the division by √D comes after the softmax instead of before",
               "What do the weights of one query add up to in the end?"),
        Mutant("mask_after", MASKED + SHARED, SHARED + "\n" + AFTER,
               "the mask comes after the softmax", EARLY_ROWS),
        Mutant("mask_ignored", MASKED, "",
               "the mask changes nothing that the softmax sees",
               "In which line do your scores become different when a mask is given?"),
        Mutant("mask_inverted", "~mask", "mask",
               "the mask hides what may be seen and shows what is hidden",
               "`masked_fill` fills where its mask is True. What does True mean in ours?"),
        Mutant("mask_zero", "-math.inf", "0.0",
               "hidden scores are set to 0",
               "Which weight does a softmax give to a score of 0?"),
        Mutant("mask_minus_one", "-math.inf", "-1.0",
               "hidden scores are set to -1",
               "Which weight does a softmax give to a score of -1, and which score would get none?"),
        Mutant("mask_plus_infinity", "-math.inf", "math.inf",
               "hidden scores are set to plus infinity",
               "To which end does a score have to go for its weight to become 0?"),
        Mutant("mask_added", "scores.masked_fill(~mask, -math.inf)", "scores + mask",
               "the mask is added to the scores as 0 and 1",
               "By how much does a score have to fall for its weight to become 0?"),
        Mutant("mask_after_inverted", MASKED + SHARED, SHARED + "\n" + AFTER.replace("~mask", "mask"),
               "the mask comes after the softmax and is inverted",
               "What do the weights of one query add up to, and which of them should be 0?"),
        Mutant("over_queries", "dim=-1", "dim=-2",
               "the softmax runs over the queries instead of the keys",
               "One query shares one unit of weight among keys. Along which axis do the weights add up to one?"),
        Mutant("over_axis_1", "dim=-1", "dim=1",
               "the softmax runs over axis 1, whatever that axis is",
               "Which axis is number 1 in a tensor (B, H, T, S), and which in (T, S)?"),
        Mutant("over_axis_0", "dim=-1", "dim=0",
               "the softmax runs over axis 0",
               "One query shares one unit of weight among keys. Along which axis do the weights add up to one?"),
        Mutant("over_everything", "torch.softmax(scores.float(), dim=-1)", "scores.exp() / scores.exp().sum()",
               "all weights together add up to one, instead of those of each query",
               "How many units of weight are there to share: one for each query, or one in all?"),
        Mutant("only_exp", "torch.softmax(scores.float(), dim=-1).to(v.dtype)", "scores.exp()",
               "the exponentials are never divided by their sum",
               "What should the weights of one query add up to?"),
        Mutant("cosine", SCALED, "scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)",
               "queries and keys are divided by their own lengths, instead of the scores by √D",
               "May a query be more sure of what it looks for by being longer?"),
        Mutant("no_softmax", "torch.softmax(scores.float(), dim=-1).to(v.dtype)", "scores",
               "the scores themselves are used as weights",
               "May a weight be negative, and what should the weights of one query add up to?"),
        Mutant("sigmoid", "torch.softmax(scores.float(), dim=-1).to(v.dtype)", "torch.sigmoid(scores)",
               "each score is squashed by itself, without looking at the others",
               "What should the weights of one query add up to?"),
        Mutant("log_softmax", "torch.softmax(", "torch.log_softmax(",
               "the weights are logarithms",
               "May a weight be negative?"),
        Mutant("mixes_keys", "weights @ v", "weights @ k",
               "keys are mixed instead of values",
               "A query finds by keys. What does it take home?"),
        Mutant("output_unmasked", "return weights @ v, weights", "return torch.softmax("
               "q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1) @ v, weights",
               "the output was mixed before the mask came",
               "Which weights mixed your output: those that you return?"),
        Mutant("weights_unmasked", "weights @ v, weights",
               "weights @ v, torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1)",
               "the output is masked, but the weights that come with it are not",
               "Which weights mixed your output: those that you return?"),
        Mutant("output_before_mask", MASKED + SHARED + "\n    return weights @ v",
               SHARED + "\n    y = weights @ v\n" + AFTER + "\n    return y",
               "the output was mixed before the mask came",
               "Which weights mixed your output: those that you return?"),
        Mutant("softmax_twice", MASKED + SHARED, SHARED + "\n" + AFTER.replace("0.0)", "-math.inf)")
               + "\n    weights = torch.softmax(weights, dim=-1)",
               "a softmax is taken of what are weights already",
               "What does a softmax do to numbers that all lie between 0 and 1?"),
        Mutant("mask_after_infinite", MASKED + SHARED, SHARED + "\n" + AFTER.replace("0.0)", "-math.inf)"),
               "the mask comes after the softmax, where minus infinity is a weight",
               "What should the weight of a hidden key be, and in which line does it become a weight?"),
        Mutant("mask_after_unscaled", SCALED + "\n" + MASKED + SHARED,
               SCALED.replace(" / math.sqrt(q.shape[-1])", "") + "\n" + SHARED + "\n" + AFTER,
               "the mask comes after the softmax, and the scores are not divided by √D", EARLY_ROWS),
        Mutant("only_output", "weights @ v, weights", "weights @ v",
               "only the output is returned",
               "Which two things should come back?"),
        Mutant("swapped", "weights @ v, weights", "weights, weights @ v",
               "the two results come in the wrong order",
               "Which of the two should come first?"),
        Mutant("scores_returned", "weights @ v, weights", "weights @ v, scores",
               "the second result holds scores, not weights",
               "Can you tell from it how the output was mixed?"),
        # Two or three wrong twins of the shuffled lines at once.
        Mutant("after_and_axis", MASKED + SHARED, WRONG_AXIS + "\n" + AFTER,
               "the mask comes after the softmax, and the softmax runs over the queries", EARLY_ROWS),
        Mutant("after_and_root", SCALED + "\n" + MASKED + SHARED, UNROOTED + "\n" + SHARED + "\n" + AFTER,
               "the mask comes after the softmax, and the scores are divided by D instead of its root", EARLY_ROWS),
        Mutant("axis_and_root", SCALED + "\n" + MASKED + SHARED, UNROOTED + "\n" + MASKED + WRONG_AXIS,
               "the softmax runs over the queries, and the scores are divided by D instead of its root",
               "Along which axis do the weights of one query lie?"),
        Mutant("all_three", SCALED + "\n" + MASKED + SHARED, UNROOTED + "\n" + WRONG_AXIS + "\n" + AFTER,
               "all three wrong lines were kept instead of their twins",
               "For each pair of lines that look alike: what would the weights of one query add up to?"),
    ),
    variants=("""\
def attention(q, k, v, mask=None):
    scores = torch.einsum("...td,...sd->...ts", q, k) * k.shape[-1] ** -0.5
    if mask is not None:
        scores = torch.where(mask, scores, torch.tensor(-1e9))
    weights = F.softmax(scores, -1)
    return torch.einsum("...ts,...se->...te", weights, v), weights""", """\
def attention(q, k, v, mask=None):
    output = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    eye = torch.eye(k.shape[-2]).expand(*k.shape[:-1], k.shape[-2])
    return output, F.scaled_dot_product_attention(q, k, eye, attn_mask=mask)""", """\
def attention(q, k, v, mask=None):
    rows = []
    for t in range(q.shape[-2]):
        scores = (q[..., t : t + 1, :] * k).sum(-1) / q.shape[-1] ** 0.5
        if mask is not None:
            scores = scores + torch.log(mask[..., t, :].float())
        e = torch.exp(scores - scores.max(dim=-1, keepdim=True).values)
        rows.append(e / e.sum(-1, keepdim=True))
    weights = torch.stack(rows, dim=-2)
    return weights @ v, weights""", """\
def attention(q, k, v, mask=None):
    weights = torch.softmax(q @ k.mT / math.sqrt(q.size(-1)), dim=-1)
    if mask is not None:
        weights = weights * mask
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return weights @ v, weights""",
    ),
    properties=(
        Property(lambda y, q, k, v, mask: mask is None or not y[1].masked_fill(mask, 0.0).any(),
                 "A hidden key gets weight."),
        Property(lambda y, q, k, v, mask: adds_up(y[1]), "The weights of a query do not add up to one."),
    ),
    twin=attention_twin,
)  # fmt: skip


# 04.4


def effective_twin(rng: random.Random) -> Question:
    n, a = rng.choice([4, 9, 16, 25, 36, 49]), rng.choice([1, 2, 3])
    return Question(
        f"A query gives half of its weight evenly to {a} of the keys, and the other half evenly to {n * a} others. "
        "What is its effective number of keys?", 2 * a * math.sqrt(n),
        f"The entropy is ½ ln {2 * a} + ½ ln {2 * n * a}; its exponential is √({2 * a} · {2 * n * a}).", 0.02,
    )  # fmt: skip


def weights_cases() -> list[tuple]:
    """Weights with zeros from a mask, without any, and nearly all on one key."""
    causal = torch.ones(4, 6).tril(2).bool()
    scores, more = normal(44, (2, 3, 4, 6), (3, 7))
    sharp = torch.zeros(2, 5)
    sharp[0, 3], sharp[1, 1], sharp[1, 4] = 1.0, 0.875, 0.125
    return [
        (torch.softmax((2 * scores).masked_fill(~causal, -math.inf), -1),),
        (torch.softmax(more, -1),),
        (sharp,),
    ]


ENTROPY = "entropy = -(weights * logs).sum(dim=-1)\n    return entropy.exp()"
ZERO_LOG = "What does your computer say that 0 · log(0) is, and what should it be here?"
EFFECTIVE_KEYS = Exercise(
    cases=weights_cases,
    tolerance=1e-4,
    mutants=(
        Mutant("nan", ".clamp(min=1e-30)", "",
               "0 · log(0) is computed as it stands", ZERO_LOG),
        Mutant("entropy", "entropy.exp()", "entropy",
               "the entropy itself is returned",
               "A query that looks at one key has N = 1. What do you get for it?"),
        Mutant("bits", ENTROPY, "return -(weights * weights.clamp(min=1e-30).log2()).sum(dim=-1)",
               "the entropy itself is returned, in bits",
               "A query that looks at one key has N = 1. What do you get for it?"),
        Mutant("nan_to_one", ENTROPY,
               "return (-(weights * weights.log()).sum(dim=-1)).nan_to_num().exp()",
               "0 · log(0) spoils the whole row, and the NaN is painted over afterwards", ZERO_LOG),
        Mutant("nan_to_zero", ENTROPY,
               "return (-(weights * weights.log()).sum(dim=-1)).exp().nan_to_num()",
               "0 · log(0) spoils the whole row, and the NaN is painted over afterwards", ZERO_LOG),
        Mutant("exp_of_terms", ENTROPY, "return (-(weights * logs)).exp().sum(dim=-1)",
               "exp is taken of each term, before the sum",
               "For one key the sum is 0 and N is 1. What does each of your terms become?"),
        Mutant("axis_1", ".sum(dim=-1)", ".sum(dim=1)",
               "the sum runs over axis 1, whatever that axis is",
               "Which axis is number 1 in weights of shape (B, H, T, S)?"),
        Mutant("no_minus", "-(weights", "(weights",
               "the minus sign of the entropy is missing",
               "A logarithm of a number below one is negative. Can a query look at less than one key?"),
        Mutant("two_to_the_nats", "entropy.exp()", "2**entropy",
               "a sum of natural logarithms is undone by a power of two",
               "Which power undoes ln?"),
        Mutant("exp_of_bits", ".log()", ".log2()",
               "a sum of logarithms to base two is undone by exp",
               "Which power undoes log2?"),
        Mutant("exp_of_tens", ".log()", ".log10()",
               "a sum of logarithms to base ten is undone by exp",
               "Which power undoes log10?"),
        Mutant("mean", ".sum(dim=-1)", ".mean(dim=-1)",
               "the terms of the entropy are averaged over the keys instead of added",
               "For n equal weights the sum should be ln n. What is your value for n = 2?"),
        Mutant("over_queries", ".sum(dim=-1)", ".sum(dim=-2)",
               "the sum runs over the queries instead of the keys",
               "Along which axis do the weights add up to one?"),
        Mutant("one_number", ".sum(dim=-1)", ".sum()",
               "all queries are thrown together",
               "How many queries are there, and how many numbers should you return?"),
        Mutant("mean_of_queries", "return entropy.exp()", "return entropy.exp().mean()",
               "the queries are averaged to one number",
               "How many queries are there, and how many numbers should you return?"),
        Mutant("mean_entropy", "return entropy.exp()", "return entropy.mean().exp()",
               "the queries are averaged to one number",
               "How many queries are there, and how many numbers should you return?"),
        Mutant("keepdim", ".sum(dim=-1)", ".sum(dim=-1, keepdim=True)",
               "the summed axis is kept, with size one",
               "Which shape should the result have, and which does `keepdim` leave?"),
        Mutant("count", ENTROPY, "return (weights > 0).float().sum(dim=-1)",
               "every key that gets any weight at all counts fully",
               "How many keys does a query look at that gives 0.99 to one of two?"),
        Mutant("whole_count", ENTROPY, "return (weights > 0).sum(dim=-1)",
               "every key that gets any weight at all counts fully",
               "How many keys does a query look at that gives 0.99 to one of two?"),
        Mutant("squares", ENTROPY, "return 1 / weights.square().sum(dim=-1)",
               "one is divided by the sum of the squares: a good measure, but another one",
               "Where is the logarithm?"),
        Mutant("largest", ENTROPY, "return 1 / weights.max(dim=-1).values",
               "only the largest weight counts",
               "Do (½, ½, 0) and (½, ¼, ¼) look at the same number of keys?"),
        Mutant("share", "entropy.exp()", "entropy.exp() / weights.shape[-1]",
               "the number is divided by the number of all keys",
               "A query that spreads its weight evenly over n keys has N = n. What is yours?"),
        Mutant("relative_entropy", "entropy.exp()", "entropy / math.log(weights.shape[-1])",
               "the entropy is divided by its largest value",
               "A query that spreads its weight evenly over n keys has N = n. What is yours?"),
        Mutant("softmax_again", "logs = weights.clamp",
               "weights = torch.softmax(weights, dim=-1)\n    logs = weights.clamp",
               "a softmax is taken of what are weights already",
               "What do the rows that you are given add up to?"),
        Mutant("no_weights", "(weights * logs)", "logs",
               "the logarithms are added without their weights",
               "How much should a key count that is hardly looked at?"),
        Mutant("mean_log", "-(weights * logs).sum(dim=-1)", "-logs.mean(dim=-1)",
               "the logarithms are averaged without their weights",
               "How much should a key count that is hardly looked at?"),
        Mutant("exp_first", ENTROPY, "return -(weights * weights.exp()).sum(dim=-1)",
               "exp stands where the logarithm should",
               "What is w · ln w for w = 1, and what is it in your code?"),
        Mutant("nonzero_only", ENTROPY, "w = weights[weights > 0]\n    return (-(w * w.log()).sum(dim=-1)).exp()",
               "all queries are thrown together",
               "How many queries are there, and how many numbers should you return?"),
        Mutant("large_epsilon", ".clamp(min=1e-30).log()", ".add(1.0).log()",
               "one is added to every weight before the logarithm",
               "What should w · ln w be for w = ½?"),
    ),
    variants=("""\
def effective_keys(weights):
    return torch.special.entr(weights).sum(-1).exp()""", """\
def effective_keys(weights):
    terms = torch.where(weights > 0, weights * torch.log(weights), torch.zeros_like(weights))
    return torch.exp(-terms.sum(-1))""", """\
def effective_keys(weights):
    return torch.exp(-torch.einsum("...s,...s->...", weights, torch.log(weights + 1e-9)))""", """\
def effective_keys(weights):
    return 2 ** torch.distributions.Categorical(probs=weights).entropy().div(math.log(2))""", """\
def effective_keys(weights):
    rows = weights.reshape(-1, weights.shape[-1])
    numbers = [math.exp(-sum(w * math.log(w) for w in row.tolist() if w > 0)) for row in rows]
    return torch.tensor(numbers).view(weights.shape[:-1])""", """\
def effective_keys(weights):
    return (-(weights * weights.log()).nan_to_num().sum(dim=-1)).exp()""",
    ),
    properties=(
        Property(lambda N, w: (N > 0.999).all(), "A query looks at less than one key."),
        Property(lambda N, w: (N < w.shape[-1] + 1e-3).all(), "A query looks at more keys than there are."),
    ),
    twin=effective_twin,
)  # fmt: skip


# 04.5


def sees_twin(rng: random.Random) -> Question:
    T = rng.randint(6, 9)
    w = rng.randint(2, T - 2)
    return Question(
        f"A box averages the last {w} positions, itself among them and fewer at the start. "
        f"You measure who sees whom for T = {T}. How many entries are True?", sum(min(t + 1, w) for t in range(T)),
        f"Row t has min(t + 1, {w}) of them; add up {T} rows.",
    )  # fmt: skip


def attend_where(may, x, values=None):
    """Self-attention of x (T, C) with itself where `may` (T, T) allows."""
    scores = (x @ x.T / x.shape[1]).masked_fill(~may, -math.inf)
    return torch.softmax(scores, dim=-1) @ (x if values is None else values)


def band(T, back, ahead=0):
    """(T, T) bool: from `back` positions before to `ahead` positions after."""
    return torch.ones(T, T, dtype=torch.bool).tril(ahead).triu(-back)


def box_1(x):  # causal
    return attend_where(band(len(x), len(x)), x)


def box_2(x):  # the mask after the softmax; large values, so that the leak stays far above 1e-6
    return torch.softmax(x @ x.T / x.shape[1], dim=-1).tril() @ (20 * x)


def box_3(x):  # normalises each vector first, then looks two back; small, to hide rounding errors of a large x
    x = (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-8)
    return attend_where(band(len(x), 2), x) / 3000


def box_4(x):  # a head that sees only itself beside one that looks one ahead; neither reads the outermost features
    x = x[:, 1:-1]
    return torch.cat([x, attend_where(band(len(x), 1, ahead=1), x)], dim=-1)


def box_5(x):  # a head that sees all beside one that sees only the position before
    return torch.cat([attend_where(band(len(x), len(x), ahead=len(x)), x), x.roll(1, dims=0)], dim=-1)


def box_6(x):  # the output's features add up to zero
    y = attend_where(band(len(x), 1), x) / 8  # small, so that rounding stays far below 1e-6
    return y - y.mean(-1, keepdim=True)


def box_7(x):  # one number for each position, from sizes without their signs, two before; the first two have nothing
    return F.pad(x.abs().mean(-1, keepdim=True), (0, 0, 2, -2))


def box_8(x):  # hands on its input itself, not a copy
    return x


def box_9(x):  # every second feature, as a view of the same memory
    return x[:, 1::2]


def box_10(x):  # large numbers that hardly move: by far more than 1e-6, by far less than 1e-5 of themselves
    return 15 + 2e-5 * x.roll(-1, dims=0)


def box_11(x):  # squares: where x is zero the slope is zero, and yet the output depends on it
    return x.square().cumsum(0)


def boxes() -> list[tuple]:
    """Each box with its x; some rows of these are zero, one, or equal."""
    shapes = ((5, 7), (4, 6), (4, 9), (3, 8), (5, 10), (4, 11), (5, 9), (3, 5), (2, 8), (3, 7), (1, 6), (4, 5))
    inputs = normal(45, *shapes)
    inputs[0][2], inputs[0][4] = 0.0, 1.0
    inputs[4][3] = inputs[4][2]  # the same token twice
    inputs[11][1] = 0.0
    firsts = (box_1, box_2, box_3, box_4, box_5, box_6, box_7, box_8, box_9, box_10)
    return list(zip((*firsts, box_1, box_11), inputs))


CHANGE = "changed[s] = torch.randn(x.shape[1])"
MOVED = "(attend(changed) - before).abs().amax(dim=-1) > 1e-6"
EXPERIMENT = f"changed = x.clone()\n        {CHANGE}\n        sees[:, s] = {MOVED}"
UNNOTICED = "A box may subtract the mean of each row first. What is then left of adding 1 to every feature?"
WHO_SEES_WHOM = Exercise(
    cases=boxes,
    mutants=(
        Mutant("transposed", "sees[:, s]", "sees[s]",
               "rows and columns have changed places",
               "One experiment changes input s and watches all outputs. Is that a row of [t, s], or a column?"),
        Mutant("cumulative", "    for s in range(len(x)):\n        changed = x.clone()",
               "    changed = x.clone()\n    for s in range(len(x)):",
               "the changes of earlier experiments are still there",
               "In the third experiment, how many rows of the input differ from x?"),
        Mutant("in_place", "changed = x.clone()", "changed = x",
               "the changes of earlier experiments are still there",
               "In the third experiment, how many rows of the input differ from x?"),
        Mutant("put_back", EXPERIMENT, EXPERIMENT.replace("changed = x.clone()", "changed, old = x, x[s].clone()")
               + "\n        changed[s] = old",
               "x itself is changed and put back, while the outputs before may lie in the same memory",
               "A box returns x as it is. You change x: what becomes of the output that you have kept?"),
        Mutant("relative", MOVED, "torch.tensor([not torch.allclose(y, z) for y, z in zip(attend(changed), before)])",
               "a change counts only if it is large beside the number that changes",
               "What does allclose call close for numbers near a thousand?"),
        Mutant("all_later", "changed[s] = torch.randn(x.shape[1])", "changed[s:] = torch.randn(len(x) - s, x.shape[1])",
               "everything from s on is changed at once",
               "If an output moves, which of the changed inputs did it?"),
        Mutant("zero", CHANGE, "changed[s] = 0.0",
               "x[s] is set to zero, which changes nothing where it was zero",
               "Which x would make your experiment no experiment?"),
        Mutant("negated", CHANGE, "changed[s] = -x[s]",
               "x[s] changes only its sign",
               "Could a function depend on x[s] and still not care about its sign?"),
        Mutant("ones", CHANGE, "changed[s] = 1.0",
               "x[s] is set to one, which changes nothing where it was one",
               "Which x would make your experiment no experiment?"),
        Mutant("row_before", CHANGE, "changed[s] = x[s - 1]",
               "x[s] is replaced by its neighbour, which may be equal",
               "Which x would make your experiment no experiment?"),
        Mutant("row_after", CHANGE, "changed[s] = x[(s + 1) % len(x)]",
               "x[s] is replaced by its neighbour, which may be equal",
               "Which x would make your experiment no experiment?"),
        Mutant("swapped", CHANGE, "changed[[s, s - 1]] = x[[s - 1, s]]",
               "two positions change places, so that two inputs change at once",
               "If an output moves, which of the changed inputs did it?"),
        Mutant("everything", CHANGE, "changed = torch.randn(x.shape)",
               "all of x is changed at once",
               "If an output moves, which of the changed inputs did it?"),
        Mutant("shift", CHANGE, "changed[s] += 1.0",
               "the same number is added to every feature of x[s]", UNNOTICED),
        Mutant("shift_a_little", CHANGE, "changed[s] += 1e-3",
               "the same number is added to every feature of x[s]", UNNOTICED),
        Mutant("noise_a_little", CHANGE, "changed[s] += 1e-3 * torch.randn(x.shape[1])",
               "x[s] is changed so little that the change of an output may fall below the threshold",
               "Must an output move as far as its input does?"),
        Mutant("double", CHANGE, "changed[s] *= 2.0",
               "x[s] is multiplied by a number: its direction stays, and zero stays zero", UNNOTICED),
        Mutant("one_feature", CHANGE, "changed[s, 0] += 1.0",
               "only one feature of x[s] is changed",
               "Does a box have to read every feature?"),
        Mutant("feature", CHANGE, "changed[:, s] = torch.randn(len(x))",
               "feature s of all positions is changed instead of position s",
               "What is `x[:, s]` in a tensor (T, C)?"),
        Mutant("not_a_number", CHANGE + "\n        sees[:, s] = " + MOVED,
               "changed[s] = math.nan\n        sees[:, s] = attend(changed).isnan().any(dim=-1)",
               "a NaN serves as a mark, and passes even through a weight of zero",
               "What is 0 · NaN?"),
        Mutant("signed_sum", ".abs().amax(dim=-1)", ".sum(dim=-1).abs()",
               "the features' changes are added up, so that they cancel",
               "Could one feature rise by as much as another falls?"),
        Mutant("only_up", ".abs()", "",
               "only a number that grows counts as moved",
               "In which direction may an output move?"),
        Mutant("all_features", MOVED, "((attend(changed) - before).abs() > 1e-6).all(dim=-1)",
               "a row counts as moved only if all of its features have",
               "Two heads side by side, and only one of them sees s: does the output depend on s?"),
        Mutant("first_feature", ".amax(dim=-1)", "[:, 0]",
               "only the first feature of the output is watched",
               "Two heads side by side, and only the second sees s: does the output depend on s?"),
        Mutant("last_feature", ".amax(dim=-1)", "[:, -1]",
               "only the last feature of the output is watched",
               "Two heads side by side, and only the first sees s: does the output depend on s?"),
        Mutant("any_row", MOVED, "bool(((attend(changed) - before).abs() > 1e-6).any())",
               "one answer is given for the whole output instead of one for each row",
               "Which of the T outputs has moved?"),
        Mutant("itself_only", "sees[:, s] = " + MOVED,
               "sees[s, s] = (attend(changed)[s] - before[s]).abs().amax() > 1e-6",
               "each position is only asked whether it sees itself",
               "Which outputs may move when x[s] changes?"),
        Mutant("past_only", "return sees", "return sees.tril()",
               "the future is never looked at, as if causality were certain",
               "How would you ever find a leak?"),
        Mutant("assumed", "return sees", "return torch.ones_like(sees).tril()",
               "a causal triangle is returned without measuring",
               "Who told you that the box is causal?"),
        Mutant("inverted", "> 1e-6", "<= 1e-6",
               "what stayed the same is marked with True",
               "What should [t, t] be for a box that hands on its input?"),
        Mutant("causal_or_not", "return sees", "return not sees.triu(1).any()",
               "one answer is given: causal or not",
               "How many questions \"does t depend on s?\" are there for T positions?"),
        Mutant("others", CHANGE, "changed = torch.randn(x.shape)\n        changed[s] = x[s]",
               "all inputs but s are changed",
               "If an output moves, which of the changed inputs did it?"),
        Mutant("derivative", "", """\
def who_sees_whom(attend, x):
    slopes = torch.autograd.functional.jacobian(attend, x)
    return slopes.abs().amax(dim=(1, 3)) > 1e-6""",
               "a derivative is taken, which can be zero where the output depends on the input all the same",
               "y = x². What is its slope at 0, and does y depend on x there?"),
    ),
    variants=("""\
def who_sees_whom(attend, x):
    before = attend(x)
    columns = []
    for s in range(x.shape[0]):
        other = x.clone()
        other[s] += torch.randn_like(x[s])
        columns.append((attend(other) != before).any(dim=1))
    return torch.stack(columns, dim=1)""", """\
def who_sees_whom(attend, x):
    T = len(x)
    sees = [[False] * T for _ in range(T)]
    for s in range(T):
        noise = torch.zeros(x.shape)
        noise[s] = torch.rand(x.shape[1]) + torch.randn(x.shape[1])
        y, z = attend(x), attend(x + noise)
        for t in range(T):
            sees[t][s] = not torch.allclose(y[t], z[t], rtol=0, atol=1e-6)
    return torch.tensor(sees)""", """\
def who_sees_whom(attend, x):
    inputs = x.repeat(len(x), 1, 1)
    i = torch.arange(len(x))
    inputs[i, i] = torch.randn(x.shape)
    outputs = torch.stack([attend(changed) for changed in inputs])
    return torch.linalg.vector_norm(outputs - attend(x), ord=math.inf, dim=-1).T > 1e-6""",
    ),
    twin=sees_twin,
)  # fmt: skip


# 04.6


def heads_twin(rng: random.Random) -> Question:
    H, D = rng.sample([3, 4, 5, 6, 8, 12], 2)
    column = rng.randrange(H * D)
    return Question(
        f"Queries of {H} heads of size {D} lie side by side in a tensor (B, T, {H * D}). "
        f"To which head, counted from 0, does column {column} belong?", column // D,
        f"Each head owns {D} neighbouring columns: {column} // {D}.",
    )  # fmt: skip


def heads_cases() -> list[tuple]:
    """x, wq, wk, wv, wo, heads for (B, T, C, H, D)."""
    sizes = ((2, 5, 7, 3, 4), (1, 6, 9, 2, 5), (3, 8, 5, 4, 2))
    shapes = [((B, T, C), *[(C, H * D)] * 3, (H * D, C)) for B, T, C, H, D in sizes]
    return [(*normal(46 + i, *s), sizes[i][3]) for i, s in enumerate(shapes)]


SPLIT, MERGE = ".view(B, T, heads, -1).transpose(1, 2)", "y.transpose(1, 2).reshape(B, T, -1)"
FOR, MIX = " for w in (wq, wk, wv))\n", "    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)\n    return "
BODY = SPLIT + FOR + MIX + MERGE
CUT, GLUED = ".reshape(B, heads, T, -1)", "y.reshape(B, T, -1)"
INTERLEAVED, INTERLEAVED_BACK = ".view(B, T, -1, heads).permute(0, 3, 1, 2)", "y.permute(0, 2, 3, 1).reshape(B, T, -1)"
MEMORY = "What lies side by side in x @ wq: one head's at several positions, or one position's of several heads?"
SCRAMBLED = "positions and heads are named in the wrong order and then swapped: attention runs over scrambled heads"
SWAPPED_FIRST = "the axes are swapped before the cut, and then named in another order than memory holds them"
OVER_FEATURES = "attention runs over the features of a head instead of the positions"
MIXED_AXIS = "Attention mixes along the axis before the last. Which axis stands there?"
MULTI_HEAD = Exercise(
    cases=heads_cases,
    mutants=(
        Mutant("planted", BODY, CUT + FOR + MIX + GLUED,
               "both places still cut the numbers as memory holds them: each head is a stretch of the text", MEMORY),
        Mutant("split", SPLIT, CUT,
               "the split still cuts the text into stretches and calls them heads", MEMORY),
        Mutant("merge", MERGE, GLUED,
               "the way back puts numbers of several positions into one",
               "y has the shape (B, H, T, D). Which numbers of it lie next to each other in memory, and which should?"),
        Mutant("values_cut", BODY, SPLIT + FOR + "    v = (x @ wv)" + CUT + "\n" + MIX + MERGE,
               "queries and keys are split rightly, but the values are still cut as they lie in memory", MEMORY),
        Mutant("query_only", BODY, SPLIT + FOR + "    k, v = ((x @ w)" + CUT + " for w in (wk, wv))\n" + MIX + MERGE,
               "the queries are split rightly, but keys and values are still cut as they lie in memory", MEMORY),
        Mutant("over_heads", BODY, ".view(B, T, heads, -1)" + FOR + MIX + GLUED,
               "the heads of one position attend to each other instead of the positions", MIXED_AXIS),
        Mutant("over_heads_swapped", SPLIT, ".view(B, T, heads, -1)",
               "the heads of one position attend to each other, and the way back swaps them once more", MIXED_AXIS),
        Mutant("split_and_swap", SPLIT, CUT + ".transpose(1, 2)", SCRAMBLED, MEMORY),
        Mutant("split_and_swap_both", BODY, CUT + ".transpose(1, 2)" + FOR + MIX + GLUED, SCRAMBLED, MEMORY),
        Mutant("swap_then_cut", SPLIT, ".transpose(1, 2)" + CUT, SWAPPED_FIRST, MEMORY),
        Mutant("swap_then_cut_both", BODY, ".transpose(1, 2)" + CUT + FOR + MIX + GLUED, SWAPPED_FIRST, MEMORY),
        Mutant("split_features", SPLIT, ".view(B, heads, -1, T).transpose(2, 3)",
               "the split names its axes in an order in which memory does not hold them", MEMORY),
        Mutant("over_features", SPLIT, ".view(B, T, heads, -1).transpose(2, 3)", OVER_FEATURES, MIXED_AXIS),
        Mutant("over_features_moved", SPLIT, ".view(B, T, heads, -1).permute(0, 2, 3, 1)", OVER_FEATURES, MIXED_AXIS),
        Mutant("over_features_interleaved", SPLIT, ".view(B, T, -1, heads).transpose(1, 3)", OVER_FEATURES, MIXED_AXIS),
        Mutant("interleaved", SPLIT, INTERLEAVED,
               "each head takes every H-th column instead of D neighbouring ones",
               "Which columns of wq does head 0 own?"),
        Mutant("interleaved_both", BODY, INTERLEAVED + FOR + MIX + INTERLEAVED_BACK,
               "each head takes every H-th column instead of D neighbouring ones, on both ways",
               "Which columns of wq does head 0 own?"),
        Mutant("interleaved_back", MERGE, INTERLEAVED_BACK,
               "on the way back the heads are shuffled into each other feature by feature",
               "Which rows of wo does head 0 own?"),
        Mutant("features_first", MERGE, "y.transpose(2, 3).reshape(B, T, -1)",
               "on the way back features and positions are swapped instead of heads and positions",
               "y has the shape (B, H, T, D). Which two axes must change places before the heads lie side by side?"),
        Mutant("not_causal", ", is_causal=True", "",
               "every position sees the whole text",
               "What keeps position 0 from looking at position 1?"),
        Mutant("mask_after", "F.scaled_dot_product_attention(q, k, v, is_causal=True)",
               "torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=-1).tril() @ v",
               "the future is hidden after the softmax",
               "What do the weights of position 0 add up to?"),
        Mutant("no_output", " @ wo", "",
               "the heads' outputs are never mixed by wo",
               "Where is the fourth matrix used?"),
        Mutant("one_head", SPLIT, ".view(B, T, 1, -1).transpose(1, 2)",
               "there is one wide head, whatever `heads` says",
               "How many different softmaxes does each position have?"),
        Mutant("no_scale", "is_causal=True", "is_causal=True, scale=1.0",
               "the scores are not divided by √D",
               "How large is the dot product of two random vectors of D numbers?"),
        Mutant("wide_scale", "is_causal=True", "is_causal=True, scale=wq.shape[1] ** -0.5",
               "the scores are divided by the root of the width of all heads together",
               "How many numbers does the dot product of one head add up?"),
        Mutant("added_heads", MERGE + " @ wo", "y.sum(dim=1) @ wo.view(heads, -1, wo.shape[1]).sum(dim=0)",
               "the heads are added up before wo instead of laid side by side",
               "How many rows has wo, and which of them belong to head 0?"),
        Mutant("rows_split", "", """\
def multi_head(x, wq, wk, wv, wo, heads):
    C = x.shape[-1]
    q, k, v = (torch.einsum("btc,hcd->bhtd", x, w.reshape(heads, C, -1)) for w in (wq, wk, wv))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return torch.einsum("bhtd,hdc->btc", y, wo.reshape(heads, -1, C))""",
               "the rows of the weights are split among the heads instead of their columns",
               "Which axis of wq numbers the outputs: its rows or its columns?"),
        Mutant("width_by_heads", "", """\
def multi_head(x, wq, wk, wv, wo, heads):
    D = x.shape[-1] // heads
    out = torch.zeros_like(x)
    for h in range(heads):
        cols = slice(h * D, (h + 1) * D)
        q, k, v = x @ wq[:, cols], x @ wk[:, cols], x @ wv[:, cols]
        out = out + F.scaled_dot_product_attention(q, k, v, is_causal=True) @ wo[cols]
    return out""",
               "the head size is taken to be C / H, whatever the weights say",
               "Which axis of wq, and the number of heads, give you D?"),
    ),
    variants=("""\
def multi_head(x, wq, wk, wv, wo, heads):
    q, k, v = (torch.einsum("btc,chd->bhtd", x, w.view(len(w), heads, -1)) for w in (wq, wk, wv))
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) / math.sqrt(q.shape[-1])
    future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    return torch.einsum("bhts,bhsd,hdc->btc", weights, v, wo.view(heads, -1, wo.shape[1]))""", """\
def multi_head(x, wq, wk, wv, wo, heads):
    D = wq.shape[1] // heads
    outputs = []
    for h in range(heads):
        own = slice(h * D, (h + 1) * D)
        outputs.append(F.scaled_dot_product_attention(x @ wq[:, own], x @ wk[:, own], x @ wv[:, own], is_causal=True))
    return torch.cat(outputs, dim=-1) @ wo""", """\
def multi_head(x, wq, wk, wv, wo, heads):
    q, k, v = (torch.stack((x @ w).chunk(heads, dim=-1), dim=1) for w in (wq, wk, wv))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return torch.cat(y.unbind(1), dim=-1) @ wo""", """\
def multi_head(x, wq, wk, wv, wo, heads):
    B, T, C = x.shape
    q, k, v = (F.linear(x, w.T).reshape(B, T, heads, wq.shape[1] // heads).permute(0, 2, 1, 3) for w in (wq, wk, wv))
    mask = torch.full((T, T), -math.inf).triu(1)
    y = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5 + mask, dim=-1) @ v
    return y.permute(0, 2, 1, 3).flatten(2) @ wo""",
    ),
    twin=heads_twin,
)  # fmt: skip


# 04.7


def context_twin(rng: random.Random) -> Question:
    times = rng.randint(2, 12)
    if rng.random() < 0.5:
        return Question(
            f"Your context becomes {times} times as long. By which factor do the attention weights grow in memory?",
            times**2, "Queries and keys both become more: the pairs grow with the square.",
        )  # fmt: skip
    return Question(
        f"You rent {times**2} times as much memory for the attention weights. By which factor may the context grow?",
        times, "The weights grow with the square of the context: the context grows with the root of the memory.",
    )  # fmt: skip


PAIRS = "B * H * dtype.itemsize"
EXACT = "budget / (B * H * dtype.itemsize)"
SQUARE = "What shape do the weights of one head have, and what becomes of it when T doubles?"
LONGEST_CONTEXT = Exercise(
    cases=lambda: [
        (10_000, 2, 3, 5, torch.float32),
        (8 * 7 * 3 * 11 * 11, 7, 3, 16, torch.float64),  # exactly full
        (3 * 2**30, 8, 12, 64, torch.bfloat16),
        (99_999, 5, 2, 8, torch.float16),
        (2**33, 6, 20, 128, torch.float32),
        (100, 4, 3, 32, torch.float64),  # one token is all
        (40, 4, 3, 32, torch.float64),  # not even that
        (3872, 1, 2, 5, torch.float32),  # exactly full, and the root of a rounded number falls short
        (2**40, 1, 1, 8, torch.float16),
    ],
    mutants=(
        Mutant("linear", "math.isqrt(pairs)", "pairs",
               "memory grows with T instead of T²", SQUARE),
        Mutant("linear_fraction", "math.isqrt(pairs)", EXACT,
               "memory grows with T instead of T²", SQUARE),
        Mutant("linear_vectors", "budget // (" + PAIRS + ")  # pairs of a query and a key that each head may have\n"
               "    return math.isqrt(pairs)", "budget // (B * H * D * dtype.itemsize)\n    return pairs",
               "the size of the queries is counted, (B, H, T, D), instead of that of the weights",
               "Which tensor has one number for each pair of a query and a key?"),
        Mutant("features", PAIRS, "B * H * D * dtype.itemsize",
               "the head size D is counted too",
               "A query and a key of D features are compared. How many numbers come out?"),
        Mutant("no_heads", PAIRS, "B * dtype.itemsize",
               "all heads share one table of weights",
               "Does each head look at the same places?"),
        Mutant("no_batch", PAIRS, "H * dtype.itemsize",
               "all sequences share one table of weights",
               "Are the weights computed from the text?"),
        Mutant("one_table", PAIRS, "dtype.itemsize",
               "one table of weights is counted for all sequences and heads",
               "How many tables of T by T are there?"),
        Mutant("numbers", PAIRS, "B * H",
               "numbers are counted, not bytes",
               "How many bytes does one float32 take?"),
        Mutant("larger_numbers_fit_better", "budget // (" + PAIRS + ")", "budget * dtype.itemsize // (B * H)",
               "the budget is multiplied by the bytes of a number",
               "Do more float64 or more float16 fit into the same memory?"),
        Mutant("root_too_early", "math.isqrt(pairs)", "int(math.sqrt(budget / dtype.itemsize) / (B * H))",
               "the root is taken of the budget before it is shared out among sequences and heads",
               "Which of B, H and T stands in the size of the tensor as a square?"),
        Mutant("two_roots", "math.isqrt(pairs)", "math.isqrt(budget) // math.isqrt(" + PAIRS + ")",
               "two roots are rounded, each by itself, before one is divided by the other",
               "How much is lost when √24 is rounded down before anything is divided by it?"),
        Mutant("two_roots_shared", "math.isqrt(pairs)", "math.isqrt(budget // dtype.itemsize) // math.isqrt(B * H)",
               "two roots are rounded, each by itself, before one is divided by the other",
               "How much is lost when √24 is rounded down before anything is divided by it?"),
        Mutant("at_least_one", "math.isqrt(pairs)", "max(1, math.isqrt(pairs))",
               "one token is promised where none fits",
               "How many bytes does your T take?"),
        Mutant("root_first", "math.isqrt(pairs)", "int(math.sqrt(budget) / (B * H * dtype.itemsize))",
               "the root is taken of the budget before it is shared out among sequences and heads",
               "Which of B, H and T stands in the size of the tensor as a square?"),
        Mutant("four_bytes", "dtype.itemsize", "4",
               "every number takes four bytes, whatever its format",
               "What is the point of bfloat16?"),
        Mutant("two_bytes", "dtype.itemsize", "2",
               "every number takes two bytes, whatever its format",
               "How many bytes does one float32 take?"),
        Mutant("bits", "dtype.itemsize", "8 * dtype.itemsize",
               "the budget is taken to be in bits",
               "How many bits are there in a byte, and in which of them is the budget?"),
        Mutant("half", "math.isqrt(pairs)", "math.isqrt(2 * pairs)",
               "only the half of the weights that the mask leaves is counted",
               "A weight of zero: does the tensor leave it out?"),
        Mutant("triangle", "math.isqrt(pairs)", "(math.isqrt(8 * pairs + 1) - 1) // 2",
               "only the half of the weights that the mask leaves is counted",
               "A weight of zero: does the tensor leave it out?"),
        Mutant("two_tables", "math.isqrt(pairs)", "math.isqrt(pairs // 2)",
               "scores and weights are both counted",
               "What does the statement ask you to count?"),
        Mutant("three_tables", "math.isqrt(pairs)", "math.isqrt(pairs // 3)",
               "three tables are counted, as if q, k and v were T by T",
               "What does the statement ask you to count?"),
        Mutant("rounded_up", "math.isqrt(pairs)", "math.ceil(math.sqrt(" + EXACT + "))",
               "the root is rounded up",
               "Does the next larger T still fit?"),
        Mutant("rounded", "math.isqrt(pairs)", "round(math.sqrt(" + EXACT + "))",
               "the root is rounded to the nearest whole number",
               "Which way do you have to round so that it still fits?"),
        Mutant("fraction", "math.isqrt(pairs)", "math.sqrt(" + EXACT + ")",
               "a context may have a fraction of a token",
               "Which kind of number is T?"),
        Mutant("must_have_room", "math.isqrt(pairs)", "math.isqrt((budget - 1) // (" + PAIRS + "))",
               "a budget that is exactly full does not count as enough",
               "Do 600 bytes fit into 600 bytes?"),
        Mutant("one_less", "math.isqrt(pairs)", "math.isqrt(pairs) - 1",
               "the result is one token too short",
               "Does the next larger T still fit?"),
        Mutant("one_more", "math.isqrt(pairs)", "math.isqrt(pairs) + 1",
               "the result is one token too long",
               "How many bytes does your T take?"),
        Mutant("power_of_two", "math.isqrt(pairs)", "2 ** int(math.log2(math.sqrt(" + EXACT + ")))",
               "the context is rounded down to a power of two",
               "Does a context have to be a power of two?"),
        Mutant("squared", "math.isqrt(pairs)", "pairs**2",
               "the number of pairs is squared instead of its root taken",
               "T queries and T keys make T · T pairs. Which way do you have to go to find T?"),
        Mutant("halved", "math.isqrt(pairs)", "pairs // 2",
               "the number of pairs is halved instead of its root taken",
               "T queries and T keys make T · T pairs. Which way do you have to go to find T?"),
        Mutant("half_of_root", "math.isqrt(pairs)", "math.isqrt(pairs) // 2",
               "the root is halved",
               "How many bytes does your T take?"),
        Mutant("gibibytes", "budget // (", "budget * 2**30 // (",
               "the budget is taken to be in GiB",
               "In which unit is the budget?"),
        Mutant("logarithm", "math.isqrt(pairs)", "int(math.log2(" + EXACT + "))",
               "the logarithm of the number of pairs is taken instead of its root",
               "T queries and T keys make T · T pairs. Which way do you have to go to find T?"),
        Mutant("cube", "math.isqrt(pairs)", "int(pairs ** (1 / 3))",
               "memory grows with T³", SQUARE),
        Mutant("root_of_floats", "", """\
def longest_context(budget, B, H, D, dtype):
    return int(budget ** 0.5 / (B * H * dtype.itemsize) ** 0.5)""",
               "a rounded root is cut down, so that a budget that is exactly full may lose a token",
               "Is int(21.999999999999996) what you want, and how could whole numbers avoid it?"),
        Mutant("bound", "", """\
def longest_context(budget, B, H, D, dtype):
    low, high = 0, 65536
    while low < high:
        middle = (low + high + 1) // 2
        if B * H * middle * middle * dtype.itemsize <= budget:
            low = middle
        else:
            high = middle - 1
    return low""",
               "the search ends at a bound of its own",
               "Who says that the answer is below your largest number?"),
    ),
    variants=("""\
def longest_context(budget, B, H, D, dtype):
    return int((budget / (B * H * torch.empty(0, dtype=dtype).element_size())) ** 0.5)""", """\
def longest_context(budget, B, H, D, dtype):
    low, high = 0, budget + 1
    while high - low > 1:
        T = (low + high) // 2
        low, high = (T, high) if B * H * T * T * dtype.itemsize <= budget else (low, T)
    return low""", """\
def longest_context(budget, B, H, D, dtype):
    sizes = {torch.float64: 8, torch.float32: 4, torch.bfloat16: 2, torch.float16: 2}
    return math.floor(math.sqrt(budget // sizes[dtype] // H // B))""", """\
def longest_context(budget, B, H, D, dtype):
    T = 0
    while torch.empty(B, H, T + 1, T + 1, dtype=dtype, device="meta").nbytes <= budget:
        T += 1
    return T""",
    ),
    twin=context_twin,
)  # fmt: skip


# 04.8


def alibi_twin(rng: random.Random) -> Question:
    H = rng.choice([2, 4, 8, 16])
    h, distance = rng.randint(1, H), rng.randint(2, 30)
    return Question(
        f"ALiBi with {H} heads. By how much does head number {h} of 1 to {H} lower the score of a key "
        f"that lies {distance} tokens back?", distance * 2 ** (-8 * h / H),
        f"The slope of this head is 2^(-8 · {h} / {H}); times {distance}.", 0.02,
    )  # fmt: skip


def alibi_cases() -> list[tuple]:
    """q, k, v for (B, H, T, S, D, E)."""
    sizes = ((2, 3, 4, 6, 5, 7), (1, 4, 6, 6, 3, 2), (3, 2, 1, 8, 4, 5), (2, 6, 3, 9, 7, 4))
    shapes = [((B, H, T, D), (B, H, S, D), (B, H, S, E)) for B, H, T, S, D, E in sizes]
    return [tuple(normal(50 + i, *s)) for i, s in enumerate(shapes)]


PENALTY, SLOPES = "slopes[:, None, None] * distance", "2.0 ** (-8 * torch.arange(1, H + 1) / H)"
ALIBI_MASK = "scores.masked_fill(distance < 0, -math.inf)"
ALIBI_SHARED = "torch.softmax(" + ALIBI_MASK + ", dim=-1)"
HIDDEN_LATE = "torch.softmax(scores, dim=-1).masked_fill(distance < 0, 0.0)"
SUM_OF_SOME = "What do the weights of a query add up to when some of its keys lie in the future?"
WHERE = "The text has S tokens. At which position does the first of your T queries stand?"
EIGHT = "Which slopes do you get for two heads, and which does the formula give?"
ALIBI = Exercise(
    cases=alibi_cases,
    mutants=(
        Mutant("from_the_start", "torch.arange(S - T, S)", "torch.arange(T)",
               "the queries are taken to stand at the beginning of the text", WHERE),
        Mutant("one_early", "torch.arange(S - T, S)", "torch.arange(S - T - 1, S - 1)",
               "a query does not see its own position",
               "What is the distance of a query to the key at its own position?"),
        Mutant("one_late", "torch.arange(S - T, S)", "torch.arange(S - T + 1, S + 1)",
               "each query sees the next token too",
               "Which sign does the distance of the next token have?"),
        Mutant("no_penalty", " - " + PENALTY, "",
               "nothing is subtracted for the distance",
               "Does a key far back get the same weight as one nearby with the same dot product?"),
        Mutant("bonus", "- " + PENALTY, "+ " + PENALTY,
               "the distance is added, so that far keys are preferred",
               "Should a key that lies further back get more weight or less?"),
        Mutant("penalty_scaled", "q @ k.transpose(-2, -1) / math.sqrt(D) - " + PENALTY,
               "(q @ k.transpose(-2, -1) - " + PENALTY + ") / math.sqrt(D)",
               "the penalty is divided by √D together with the dot product",
               "Which of the two grows with D by itself?"),
        Mutant("no_scale", " / math.sqrt(D)", "",
               "the dot products are not divided by √D",
               "How large is the dot product of two random vectors of D numbers?"),
        Mutant("no_root", "math.sqrt(D)", "D",
               "the dot products are divided by D instead of its root",
               "A sum of D independent products has variance D. What is its standard deviation?"),
        Mutant("not_causal", ALIBI_MASK, "scores",
               "nothing hides the future, and its negative distance even becomes a bonus",
               "What is the penalty of a key that lies three tokens ahead?"),
        Mutant("both_ways", PENALTY + "\n    return " + ALIBI_SHARED,
               PENALTY + ".abs()\n    return torch.softmax(scores, dim=-1)",
               "the distance is punished in both directions, but the future stays visible",
               "Is there anything in your scores that makes a weight exactly zero?"),
        Mutant("mask_after", ALIBI_SHARED, HIDDEN_LATE,
               "the future is hidden after the softmax", SUM_OF_SOME),
        Mutant("mask_after_both_ways", PENALTY + "\n    return " + ALIBI_SHARED,
               PENALTY + ".abs()\n    return " + HIDDEN_LATE,
               "the future is hidden after the softmax", SUM_OF_SOME),
        Mutant("not_itself", "distance < 0", "distance <= 0",
               "a query does not see its own position",
               "What is the distance of a query to the key at its own position?"),
        Mutant("mask_inverted", "distance < 0", "distance >= 0",
               "the past is hidden and the future is shown",
               "Which sign does the distance of a key in the past have?"),
        Mutant("mask_zero", "-math.inf", "0.0",
               "hidden scores are set to 0",
               "Which weight does a softmax give to a score of 0?"),
        Mutant("penalty_after", ALIBI_SHARED,
               "(torch.softmax((q @ k.transpose(-2, -1) / math.sqrt(D)).masked_fill(distance < 0, -math.inf), dim=-1)\n"
               "            - slopes[:, None, None] * distance.clamp(min=0))",
               "the penalty is subtracted from the weights instead of the scores",
               "What should the weights of a query add up to, and may one of them be negative?"),
        Mutant("penalty_after_both_ways", ALIBI_SHARED,
               "(torch.softmax((q @ k.transpose(-2, -1) / math.sqrt(D)).masked_fill(distance < 0, -math.inf), dim=-1)\n"
               "            - slopes[:, None, None] * distance)",
               "the penalty is subtracted from the weights instead of the scores",
               "What should the weights of a query add up to, and may one of them be negative?"),
        Mutant("weights_shrunk", ALIBI_SHARED,
               "(torch.softmax((q @ k.transpose(-2, -1) / math.sqrt(D)).masked_fill(distance < 0, -math.inf), dim=-1)\n"
               "            * (1 - slopes[:, None, None] * distance))",
               "the weights shrink with the distance after the softmax",
               "What should the weights of a query add up to?"),
        Mutant("next_token_seen", "distance < 0", "distance < -1",
               "each query sees the next token too",
               "Which sign does the distance of the next token have?"),
        Mutant("heads_from_0", "torch.arange(1, H + 1)", "torch.arange(H)",
               "the heads are counted from 0 in the slopes",
               "What is the slope of the first head when there are eight?"),
        Mutant("reversed", SLOPES, "(" + SLOPES + ").flip(0)",
               "the slopes are given to the heads in reverse order",
               "Which head is the most short-sighted, the first or the last?"),
        Mutant("one_slope", SLOPES, "torch.full((H,), 2.0 ** (-8 / H))",
               "all heads have the slope of the first",
               "How do the heads come to see differently far?"),
        Mutant("only_eight_heads", "(-8 * torch.arange(1, H + 1) / H)", "-torch.arange(1, H + 1)",
               "the slopes are 1/2, 1/4, 1/8, …, which is right for eight heads only", EIGHT),
        Mutant("not_by_heads", "(-8 * torch.arange(1, H + 1) / H)", "(-8 * torch.arange(1, H + 1))",
               "the exponents are not divided by the number of heads", EIGHT),
        Mutant("whole_exponents", "torch.arange(1, H + 1) / H", "torch.arange(1, H + 1) // H",
               "the exponents are rounded to whole numbers", EIGHT),
        Mutant("whole_exponents_last", "-8 * torch.arange(1, H + 1) / H", "-8 * torch.arange(1, H + 1) // H",
               "the exponents are rounded to whole numbers", EIGHT),
        Mutant("growing", "(-8 * torch", "(8 * torch",
               "the exponents have lost their minus sign",
               "Is the slope of the first of eight heads 1/2 or 2?"),
        Mutant("base_e", SLOPES, "torch.exp(-8 * torch.arange(1, H + 1) / H)",
               "the slopes are powers of e instead of 2", EIGHT),
        Mutant("exponents", SLOPES, "8 * torch.arange(1, H + 1) / H",
               "the exponents themselves are used as slopes", EIGHT),
        Mutant("steps_by_head", SLOPES, "2.0 ** (-8 / torch.arange(1, H + 1))",
               "the exponents are -8 divided by the head's number", EIGHT),
        Mutant("no_eight", SLOPES, "2.0 ** (-torch.arange(1, H + 1) / H)",
               "the 8 is missing in the exponents", EIGHT),
        Mutant("no_slopes", PENALTY, "distance",
               "every head subtracts the whole distance, without a slope",
               "How do the heads come to see differently far?"),
        Mutant("plain", "", """\
def alibi(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)""",
               "nothing is subtracted for the distance, and the queries stand at the beginning of the text",
               "Where in your code do distance and position come in?"),
        Mutant("in_proportion", SLOPES, "2.0 ** (-8 / H) * torch.arange(1, H + 1)",
               "the head's number multiplies the slope instead of standing in the exponent", EIGHT),
        Mutant("wrong_way", "torch.arange(S - T, S)[:, None] - torch.arange(S)",
               "torch.arange(S) - torch.arange(S - T, S)[:, None]",
               "the distance is counted from query to key, so that past and future have changed places",
               "What is the distance of query 5 to key 3, and which sign should it have?"),
        Mutant("relative", PENALTY, PENALTY + " / S",
               "the distance is counted in parts of the text instead of tokens",
               "How far is the previous token, in tokens?"),
        Mutant("squared", PENALTY, PENALTY + " ** 2",
               "the distance is squared",
               "How much more does a key lose that lies twice as far back?"),
        Mutant("multiplied", "- " + PENALTY, "* " + PENALTY,
               "the scores are multiplied by the penalty",
               "What happens to a dot product of zero?"),
        Mutant("over_queries", "dim=-1)", "dim=-2)",
               "the softmax runs over the queries instead of the keys",
               "One query shares one unit of weight among keys. Along which axis do they lie?"),
        Mutant("weights_too", "return " + ALIBI_SHARED + " @ v",
               "weights = " + ALIBI_SHARED + "\n    return weights @ v, weights",
               "the weights are returned too",
               "What should come back?"),
        Mutant("only_weights", ", dim=-1) @ v", ", dim=-1)",
               "the weights are returned instead of what they mix",
               "What should come back, and which shape does it have?"),
        Mutant("in_place", "", """\
def alibi(q, k, v):
    B, H, T, D = q.shape
    S = k.shape[2]
    distance = (torch.arange(S - T, S)[:, None] - torch.arange(S)[None, :]).float()
    future = distance < 0
    outputs = []
    for h in range(1, H + 1):
        penalty = distance
        penalty *= 2 ** (-8 * h / H)
        scores = q[:, h - 1] @ k[:, h - 1].transpose(-2, -1) / math.sqrt(D) - penalty
        weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
        outputs.append(weights @ v[:, h - 1])
    return torch.stack(outputs, dim=1)""",
               "each head's slope is multiplied onto the slopes of the heads before it",
               "Are `penalty` and `distance` two tensors, or two names of one?"),
        Mutant("other_slopes", "", """\
def alibi(q, k, v):
    def get_slopes(n):
        if math.log2(n).is_integer():
            start = 2 ** (-8 / n)
            return [start ** (i + 1) for i in range(n)]
        closest = 2 ** math.floor(math.log2(n))
        return get_slopes(closest) + get_slopes(2 * closest)[0::2][:n - closest]

    H, T, S = q.shape[1], q.shape[2], k.shape[2]
    slopes = torch.tensor(get_slopes(H)).view(H, 1, 1)
    relative = torch.arange(S)[None, :] - torch.arange(S - T, S)[:, None]
    bias = (slopes * relative).masked_fill(relative > 0, -math.inf)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)""",
               "the slopes of another rule are used, which differs where H is no power of two",
               "What does the formula in the statement give for H = 3?"),
    ),
    variants=("""\
def alibi(q, k, v):
    H, T, S = q.shape[1], q.shape[2], k.shape[2]
    rows = []
    for h in range(H):
        bias = torch.full((T, S), -math.inf)
        for t in range(T):
            for s in range(S - T + t + 1):
                bias[t, s] = -((S - T + t) - s) * (2 ** (-8 / H)) ** (h + 1)
        rows.append(torch.softmax(q[:, h] @ k[:, h].mT / q.shape[-1] ** 0.5 + bias, -1) @ v[:, h])
    return torch.stack(rows, dim=1)""", """\
def alibi(q, k, v):
    H, T, S = q.shape[1], q.shape[2], k.shape[2]
    slopes = torch.tensor([2 ** (-8 * (h + 1) / H) for h in range(H)])
    distance = (S - T + torch.arange(T)).view(T, 1) - torch.arange(S).view(1, S)
    bias = torch.where(distance >= 0, -distance * slopes.view(H, 1, 1), float("-inf"))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)""", """\
def alibi(q, k, v):
    H, T, S = q.shape[1], q.shape[2], k.shape[2]
    slopes = torch.pow(0.5, torch.arange(1, H + 1) * 8 / H)
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) / math.sqrt(q.shape[-1])
    scores = scores + torch.einsum("h,s->hs", slopes, torch.arange(S).float())[:, None]   # each row shifted: the same
    allowed = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    return torch.einsum("bhts,bhse->bhte", scores.masked_fill(~allowed, -1e9).softmax(-1), v)""", """\
def alibi(q, k, v):
    H, T, S = q.shape[1], q.shape[2], k.shape[2]
    full = torch.cat([torch.zeros(q.shape[0], H, S - T, q.shape[3]), q], dim=2)
    distance = torch.arange(S)[:, None] - torch.arange(S)[None, :]
    slopes = 2 ** (torch.linspace(8 / H, 8, H) * -1)
    scores = full @ k.transpose(2, 3) / math.sqrt(k.shape[3]) - slopes.reshape(1, -1, 1, 1) * distance.abs()
    weights = torch.softmax(scores + torch.full((S, S), -math.inf).triu(1), dim=3)
    return torch.matmul(weights, v)[:, :, S - T :]""",
    ),
    properties=(
        Property(lambda y, q, k, v: (y <= v.amax(2, keepdim=True) + 1e-4).all(),
                 "An output is larger than any value that it is mixed from: the weights do not add up to one."),
        Property(lambda y, q, k, v: (y >= v.amin(2, keepdim=True) - 1e-4).all(),
                 "An output is smaller than any value that it is mixed from: the weights do not add up to one."),
    ),
    twin=alibi_twin,
)  # fmt: skip


EXERCISES = {
    "averaging_matrix": AVERAGING_MATRIX,
    "causal_mask": CAUSAL_MASK,
    "attention": ATTENTION,
    "effective_keys": EFFECTIVE_KEYS,
    "who_sees_whom": WHO_SEES_WHOM,
    "multi_head": MULTI_HEAD,
    "longest_context": LONGEST_CONTEXT,
    "alibi": ALIBI,
}


def leftover_weight(rng: random.Random) -> Question:
    T = rng.randint(5, 12)
    t = rng.randint(0, T - 2)
    return Question(
        f"All scores of {T} positions are equal, and someone masks after the softmax. Positions count from 0. "
        f"What do the weights of query {t} add up to?", (t + 1) / T,
        f"The softmax gives 1/{T} to each key; the mask leaves {t + 1} of them.", 0.01,
    )  # fmt: skip


def spread_of_scores(rng: random.Random) -> Question:
    D = rng.randint(3, 16) ** 2
    return Question(
        f"Queries and keys of {D} numbers, each independent with mean 0 and variance 1. "
        "What is the standard deviation of their dot product, before any division?", math.sqrt(D),
        f"{D} products of variance 1 add up to variance {D}; the standard deviation is its root.", 0.01,
    )  # fmt: skip


def pairs_seen(rng: random.Random) -> Question:
    T = rng.randint(5, 20)
    return Question(
        f"A causal mask of {T} positions: how many pairs of a query and a key does it allow?", T * (T + 1) // 2,
        f"Query 0 sees one key, the last one {T}: 1 + 2 + … + {T}.",
    )  # fmt: skip


def shape_of_weights(rng: random.Random) -> Question:
    B, H, T, D = rng.sample(range(2, 12), 4)
    return Question(
        f"q, k and v have the shape (B, H, T, D) = ({B}, {H}, {T}, {D}). "
        "How many numbers do the attention weights of this layer hold?", B * H * T * T,
        f"One for each sequence, head, query and key: {B} · {H} · {T} · {T}. D does not appear.",
    )  # fmt: skip


def who_notices(rng: random.Random) -> Question:
    T = rng.randint(6, 12)
    s = rng.randint(1, T - 2)
    return Question(
        f"A layer of causal attention reads {T} positions, counted from 0. You replace the input at position {s}. "
        f"How many of the {T} outputs may change?", T - s, f"Positions {s} to {T - 1} can see it; those before cannot.",
    )  # fmt: skip


RECALL = (leftover_weight, spread_of_scores, pairs_seen, shape_of_weights, who_notices)
PREDICTIONS = {
    "04.p1": Prediction(
        "A matrix A makes A @ x the average of each row of x with all rows before it. T = 5. What is its third row?",
        lambda: [1 / 3, 1 / 3, 1 / 3, 0, 0],
        "Row 2 is position 2, which sees positions 0, 1 and 2: a third of each, and nothing of what comes later.",
    ),
    "04.p2": Prediction(
        "Eight cards, each with a letter and one of ten digits; a model sees only their average. Asked for the "
        "digit of one "
        "letter, what share of its answers is right?",
        None,
        "It can do no better than name the commonest digit on the table. With eight cards and ten digits that "
        "digit is on "
        "between two and three of the eight.",
        0.25,
    ),
    "04.p3": Prediction(
        "Two vectors of D = 64 numbers, drawn with mean 0 and variance 1. What is the standard deviation of their "
        "dot product?",
        lambda: 8.0,
        "It is a sum of 64 products of variance 1, so its variance is 64 and its standard deviation √64.",
    ),
    "04.p4": Prediction(
        "The context grows from 1,024 to 2,048 tokens. By what factor does the memory for attention weights grow?",
        lambda: 4.0,
        "There is a weight for each pair of positions, so twice the positions make four times the weights.",
    ),
}
