"""The primer, tensors and gradients: cases, and the wrong ideas that people have about them."""
import math
import random

import torch

from . import Exercise, Mutant, Prediction, Property, Question, normal


# primer.1


def shape_twin(rng: random.Random) -> Question:
    a, b, c = rng.sample(range(2, 10), 3)
    left, right, shape = rng.choice([((a, 1, c), (b, 1), [a, b, c]), ((1, b), (a, 1, 1), [a, 1, b]),
                                     ((a, b), (c, 1, b), [c, a, b]), ((b, 1), (a,), [b, a])])  # fmt: skip
    return Question(
        f"x has the shape {left} and y the shape {right}. How many numbers does x + y hold?", math.prod(shape),
        f"Lined up at the right ends, a 1 takes the other's size: {tuple(shape)}, which is {math.prod(shape)} numbers.",
    )  # fmt: skip


PAIRS_OF_SHAPES = (
    ((5, 1), (3,)), ((4, 3), (4,)), ((4, 3), (3,)), ((2, 5, 3), (5, 1)), ((6, 1), (3, 2)), ((5, 2), (5, 2, 1)),
    ((), (2, 3)), ((1,), (7,)), ((3, 4), (3, 4)), ((2, 1, 4), (3, 1)), ((6,), (3,)), ((1, 1), (1,)), ((), ()),
    ((3,), (4, 2, 3)), ((2, 3, 4), (1, 5)), ((5,), (5, 1)), ((4, 2), (3, 4, 2)), ((3, 3, 2), (3, 1)),
    ((7, 2), (2, 7)), ((8, 1, 6, 1), (7, 1, 5)), ((4, 3, 2), (4, 1, 1)), ((4, 3, 2), (4,)), ((2, 4), (4, 4)),
    ((1, 3), (5, 1, 2)),
)  # fmt: skip
FILLED = "a, b = (1,) * (length - len(a)) + a, (1,) * (length - len(b)) + b"
ILLEGAL = "    if any(m != n and 1 not in (m, n) for m, n in zip(a, b)):\n        return None\n"
CLASH = "m != n and 1 not in (m, n)"
LARGER = "tuple(max(m, n) for m, n in zip(a, b))"
TABLE = "Look at the second row of the table in the statement: (4, 3) and (4,). What does your rule say, and why?"
RESULT_SHAPE = Exercise(
    cases=lambda: list(PAIRS_OF_SHAPES),
    mutants=(
        Mutant("left", FILLED, "a, b = a + (1,) * (length - len(a)), b + (1,) * (length - len(b))",
               "the shapes are lined up at their left ends", TABLE),
        Mutant("never_none", ILLEGAL, "",
               "nothing is ever an error: the larger size is taken everywhere",
               "A row of 3 numbers and a row of 4: which number should be added to the fourth?"),
        Mutant("same_length", FILLED, "if len(a) != len(b):\n        return None",
               "shapes of different length are an error",
               "What is the sum of a table (4, 3) and the single number 7, of shape ()?"),
        Mutant("cut", FILLED,
               "a, b = a[max(0, len(a) - min(len(a), len(b))) :], b[max(0, len(b) - min(len(a), len(b))) :]",
               "the result is only as long as the shorter shape",
               "A table of 4 rows and 3 columns plus a row of 3: how many rows does the result have?"),
        Mutant("cut_left", FILLED, "pass",
               "sizes are compared from the left, and only as far as the shorter shape goes", TABLE),
        Mutant("ones_clash", CLASH, "m != n",
               "a size of 1 fits only to a 1",
               "(4, 3) and (4, 1) are the third row of the table in the statement. What happens to the 1?"),
        Mutant("only_b_stretches", CLASH, "m != n and n != 1",
               "only the second shape is stretched", "Does a + b differ from b + a?"),
        Mutant("only_a_stretches", CLASH, "m != n and m != 1",
               "only the first shape is stretched", "Does a + b differ from b + a?"),
        Mutant("smaller", "max(m, n)", "min(m, n)",
               "the smaller size is taken instead of the larger",
               "A column of 5 and a row of 3: how many sums are there to write down?"),
        Mutant("first", LARGER, "a", "the result has the shape of the first tensor, filled up",
               "Does a + b differ from b + a?"),
        Mutant("longer", LARGER, "max(a, b, key=math.prod)",
               "the result has the shape of the larger tensor",
               "(2, 1) and (1, 7) are the fourth row of the table. Which of the two is larger, and what came out?"),
        Mutant("first_is_longer", FILLED, "b = ((1,) * (length - len(b)) + b)[length - len(a) :]",
               "the first shape is taken to be the longer one, and what the second has more of is lost",
               "What comes of () and (2, 3)? Does a + b differ from b + a?"),
        Mutant("number_is_error", FILLED, "if not a or not b:\n        return None\n    " + FILLED,
               "a single number is taken to fit nothing, since its shape has no sizes",
               "What is the sum of a table (4, 3) and the single number 7, of shape ()?"),
        Mutant("only_shorter_stretches", "", """\
def result_shape(a, b):
    if len(b) > len(a):
        a, b = b, a
    for m, n in zip(a[::-1], b[::-1]):
        if m != n and n != 1:
            return None
    return a""",
               "only the shape with fewer axes is stretched",
               "May a size of 1 in the longer shape be stretched as well? Try a column (5, 1) and a row (3,)."),
        Mutant("raises", "return None", "raise ValueError('shapes do not fit')",
               "an error is raised instead of returning None", "What should be returned where the shapes do not fit?"),
        Mutant("false", "return None", "return False",
               "False is returned where the shapes do not fit", "What should be returned where the shapes do not fit?"),
        Mutant("empty", "return None", "return ()",
               "() is returned where the shapes do not fit",
               "() is a shape as well: of what?"),
        Mutant("multiples", CLASH, "max(m, n) % min(m, n)",
               "a size may be repeated to fill a multiple of itself",
               "Which sizes may be stretched: all, or one in particular?"),
        Mutant("last_only", ILLEGAL,
               "    if a and b and a[-1] != b[-1] and 1 not in (a[-1], b[-1]):\n        return None\n",
               "only the last axis is compared",
               "Do (3, 4) and (2, 4) fit? Which row would be added to the third one?"),
        Mutant("all_but_last", "zip(a, b)):", "zip(a[:-1], b[:-1])):",
               "the last axis is not compared",
               "What do you say of (4,) and (3,)?"),
        Mutant("one_anywhere", CLASH, "m != n and 1 not in a + b",
               "a 1 anywhere in the two shapes makes everything fit",
               "Which sizes does a 1 make fit: its own pair, or all of them?"),
        Mutant("both_ones", CLASH, "(m != n and 1 not in (m, n)) or (m == n == 1 and length > 1)",
               "two sizes of 1 are an error", "Is there anything in a 1 over a 1 that does not fit?"),
        Mutant("ones_dropped", LARGER, "tuple(max(m, n) for m, n in zip(a, b) if max(m, n) > 1)",
               "axes of size 1 are dropped from the result",
               "What is the shape of a column (5, 1) plus the single number 7?"),
        Mutant("numbers", "return " + LARGER, "return math.prod(max(m, n) for m, n in zip(a, b))",
               "the numbers of the result are counted instead of giving its shape", "What should be returned?"),
        Mutant("joined", "", """\
def result_shape(a, b):
    return a + b""",
               "the two shapes are joined to one", "How many axes has the sum of (4, 3) and (3,)?"),
        Mutant("reversed", "return " + LARGER, "return " + LARGER + "[::-1]",
               "the sizes come in reverse order",
               "If you turned the shapes round to line them up, which end comes first in the result?"),
        Mutant("equal_only", "", """\
def result_shape(a, b):
    return a if a == b else None""",
               "only equal shapes fit", "Which rows of the table in the statement does your rule call an error?"),
        Mutant("matrix_product", "", """\
def result_shape(a, b):
    return a[:-1] + b[1:] if a and b and a[-1] == b[0] else None""",
               "this is the rule of the matrix product: inner sizes meet and vanish",
               "Does a sum make anything vanish?"),
    ),
    variants=("""\
def result_shape(a, b):
    try:
        return tuple(torch.broadcast_shapes(a, b))
    except RuntimeError:
        return None""", """\
def result_shape(a, b):
    from itertools import zip_longest
    sizes = []
    for m, n in zip_longest(reversed(a), reversed(b), fillvalue=1):
        if m == n or n == 1:
            sizes.append(m)
        elif m == 1:
            sizes.append(n)
        else:
            return None
    return tuple(sizes[::-1])""", """\
def result_shape(a, b):
    if len(a) < len(b):
        a, b = b, a
    out = list(a)
    for i in range(1, len(b) + 1):
        if out[-i] == 1:
            out[-i] = b[-i]
        elif b[-i] not in (1, out[-i]):
            return None
    return out""", """\
def result_shape(a, b):
    if not a or not b:
        return a or b
    head = result_shape(a[:-1], b[:-1])
    m, n = a[-1], b[-1]
    if head is None or (m != n and m != 1 and n != 1):
        return None
    return head + (max(m, n),)""",
    ),
    twin=shape_twin,
)  # fmt: skip


# primer.2


def center_twin(rng: random.Random) -> Question:
    a, b, c = rng.sample(range(2, 10), 3)
    return Question(f"x has the shape ({a}, {b}, {c}). How many numbers does x.mean(dim=-1) hold?", a * b,
                    f"One for each row; a row is what lies along the last axis, and there are {a} · {b} of them.")


CENTERED = "return x - x.mean(dim=-1, keepdim=True)"
MEAN = "x.mean(dim=-1, keepdim=True)"
ROWS = "For x of shape (4, 3): how many means should there be, and how many are yours?"
OWNER = "After the call, what does the caller's x hold?"
CENTER_ROWS = Exercise(
    cases=lambda: [(x + 3,) for x in normal(2, (4, 3), (5, 5), (2, 3, 4), (1, 6), (7, 1), (8,), (3, 3, 3),
                    (2, 4, 3, 5))],
    mutants=(
        Mutant("columns", "dim=-1, keepdim=True", "dim=0, keepdim=True",
               "the mean of each column is subtracted", ROWS),
        Mutant("columns_flat", "dim=-1, keepdim=True", "dim=0",
               "the mean of each column is subtracted", ROWS),
        Mutant("no_keepdim", "dim=-1, keepdim=True", "dim=-1",
               "the means of the rows are lined up with the columns",
               "Means of shape (4,) under a table (4, 3): with which axis are they lined up?"),
        Mutant("no_keepdim_1", "dim=-1, keepdim=True", "dim=1",
               "the mean over axis 1 has lost its axis",
               "Means of shape (4,) under a table (4, 3): with which axis are they lined up?"),
        Mutant("axis_1", "dim=-1", "dim=1",
               "the mean is taken along axis 1, which is the last one in tables only",
               "In a tensor (2, 3, 4), along which axis does a row lie?"),
        Mutant("in_place", CENTERED, "x -= x.mean(dim=-1, keepdim=True)\n    return x",
               "the rows are right, but the caller's x is changed", OWNER),
        Mutant("in_place_method", CENTERED, "return x.sub_(x.mean(dim=-1, keepdim=True))",
               "the rows are right, but the caller's x is changed", OWNER),
        Mutant("whole", MEAN, "x.mean()",
               "one mean of all numbers is subtracted from everything", "Does each row of your result add up to zero?"),
        Mutant("sum", "x.mean(", "x.sum(", "the sum of a row is subtracted instead of its mean",
               "What do you get for the row [4, 4]?"),
        Mutant("median", MEAN, "x.median(dim=-1, keepdim=True).values",
               "the median is subtracted instead of the mean", "What does a row of your result add up to?"),
        Mutant("largest", MEAN, "x.amax(dim=-1, keepdim=True)",
               "the largest number of a row is subtracted instead of its mean",
               "What does a row of your result add up to?"),
        Mutant("added", "x - x.mean", "x + x.mean", "the mean is added instead of subtracted",
               "What does a row of your result add up to?"),
        Mutant("wrong_way", "x - " + MEAN, MEAN + " - x", "x is subtracted from the mean",
               "Is a number above the mean positive or negative in your result?"),
        Mutant("divided", "x - x.mean", "x / x.mean", "each row is divided by its mean",
               "What does a row of your result add up to?"),
        Mutant("scaled", CENTERED, "x = x - x.mean(dim=-1, keepdim=True)\n    return x / x.std(dim=-1, keepdim=True)",
               "the rows are also divided by their spread", "What was asked for: to centre, or to scale as well?"),
        Mutant("only_means", "x - " + MEAN, MEAN, "the means are returned",
               "What should come back, and of which shape?"),
        Mutant("unsqueezed_front", MEAN, "x.mean(dim=-1).unsqueeze(0)",
               "the means of the rows are lined up with the columns",
               "Means of shape (1, 4) under a table (4, 3): with which axis are they lined up?"),
        Mutant("unsqueezed_1", MEAN, "x.mean(dim=-1).unsqueeze(1)",
               "the new axis of the means is number 1, which is the last one in tables only",
               "In a tensor (2, 3, 4), at which place must the means have their axis of size 1?"),
        Mutant("unsqueezed_1_for_tables", CENTERED,
               "mean = x.mean(dim=-1)\n    return x - (mean.unsqueeze(1) if x.dim() > 1 else mean)",
               "the new axis of the means is number 1, which is the last one in tables only",
               "In a tensor (2, 3, 4), at which place must the means have their axis of size 1?"),
        Mutant("none_1", MEAN, "x.mean(dim=-1)[:, None]",
               "the new axis of the means is number 1, which is the last one in tables only",
               "In a tensor (2, 3, 4), at which place must the means have their axis of size 1?"),
        Mutant("columns_turned", MEAN, "x.mean(dim=0)[:, None]",
               "the mean of each column is subtracted from a row",
               "Which axis do you want to be rid of: the one from row to row, or the one along a row?"),
        Mutant("twice", CENTERED, "x = x - x.mean(dim=-1, keepdim=True)\n    return x - x.mean(dim=0, keepdim=True)",
               "the columns are centred as well", "What was asked for: rows, columns or both?"),
        Mutant("returns_x", CENTERED, "x - x.mean(dim=-1, keepdim=True)\n    return x",
               "the difference is computed and thrown away", "Which name does the new tensor get in your function?"),
        Mutant("nothing", CENTERED, "x = x - x.mean(dim=-1, keepdim=True)",
               "nothing is returned", "In which line does the result leave your function?"),
        Mutant("rounded", MEAN, "x.mean(dim=-1, keepdim=True).round()",
               "the means are rounded to whole numbers", "What is the mean of 1 and 2?"),
        Mutant("off_by_one", MEAN, "x.sum(dim=-1, keepdim=True) / max(1, x.shape[-1] - 1)",
               "the sums are divided by one less than the length of a row", "What do you get for the row [4, 4]?"),
        Mutant("by_rows", MEAN, "x.sum(dim=-1, keepdim=True) / x.shape[0]",
               "the sums are divided by the number of rows", "How many numbers went into the sum of a row?"),
        Mutant("all_but_first", MEAN, "x.mean(dim=tuple(range(1, x.ndim)), keepdim=True) if x.ndim > 1 else x.mean()",
               "the mean is taken over all axes but the first, which is a row in tables only",
               "In a tensor (2, 3, 4), how many rows of 4 numbers are there?"),
    ),
    variants=("""\
def center_rows(x):
    return x - x.sum(-1, keepdim=True) / x.shape[-1]""", """\
def center_rows(x):
    return x - x.mean(-1)[..., None]""", """\
def center_rows(x):
    x = x.clone()
    x -= x.mean(dim=-1, keepdim=True)
    return x""", """\
def center_rows(x):
    rows = [row - row.mean() for row in x.reshape(-1, x.shape[-1])]
    return torch.stack(rows).view(x.shape)""", """\
def center_rows(x):
    C = x.shape[-1]
    return x @ (torch.eye(C) - torch.ones(C, C) / C)""",
    ),
    properties=(
        Property(lambda y, x: (y.sum(-1).abs() < 1e-3).all(), "A row of your result does not add up to zero."),
    ),
    twin=center_twin,
)  # fmt: skip


# primer.3


def log_softmax_twin(rng: random.Random) -> Question:
    n, gap = rng.choice([2, 4, 5, 8, 10]), rng.choice([0, 100, 1000])
    return Question(f"{n} scores are all equal to {gap}. What is log_softmax of the first (natural logarithm)?",
                    -math.log(n),
                    f"Each has the probability 1/{n}, whatever the score: minus the logarithm of {n}.",
                    0.01)  # fmt: skip


def score_cases() -> list[tuple]:
    """Ordinary scores; very large, very small, far apart within a row and from row to row."""
    plain, cube, one = normal(3, (4, 5), (2, 3, 6), (7,))
    far = torch.tensor([[0.0, -500.0, 3.0], [1000.0, 1000.0, 999.0], [-1000.0, -1001.0, -1000.0], [0.0, 400.0, 0.0]])
    return [(plain,), (3 * cube,), (one,), (far,), (torch.tensor([[-800.0]]),), (torch.tensor([5.0, 5.0]),),
            (torch.tensor([[0.0, -3000.0], [2.0, 3.0]]),),
            (torch.cat([plain + 2000, plain - 2000]),)]  # fmt: skip


SHIFTED = "x = x - x.max(dim=-1, keepdim=True).values"
LOGGED = "return x - x.exp().sum(dim=-1, keepdim=True).log()"
FAR = "What is the probability of the second word for the scores 0 and -500 in float32, and what is its logarithm?"
ONE_UNIT = "What should the exponentials of a row of your result add up to?"
LOG_SOFTMAX = Exercise(
    cases=score_cases,
    mutants=(
        Mutant("log_of_softmax", SHIFTED + "\n    " + LOGGED, "return torch.softmax(x, dim=-1).log()",
               "the logarithm is taken of a probability that may have been rounded to 0", FAR),
        Mutant("log_of_quotient", LOGGED, "return (x.exp() / x.exp().sum(dim=-1, keepdim=True)).log()",
               "the logarithm is taken of a probability that may have been rounded to 0", FAR),
        Mutant("no_shift", SHIFTED + "\n    ", "",
               "the exponentials of large scores overflow, and those of very low ones are all 0",
               "What is e to the power of 1000 in float32, and what is the logarithm of 0?"),
        Mutant("naive", SHIFTED + "\n    " + LOGGED, "return (x.exp() / x.exp().sum(dim=-1, keepdim=True)).log()",
               "softmax is written as the formula says, with overflow, and then its logarithm is taken",
               "What is infinity divided by infinity?"),
        Mutant("clamped", SHIFTED + "\n    " + LOGGED, "return torch.softmax(x, dim=-1).clamp(min=1e-30).log()",
               "very small probabilities are replaced by a small number before the logarithm", FAR),
        Mutant("plus_small", SHIFTED + "\n    " + LOGGED, "return (torch.softmax(x, dim=-1) + 1e-9).log()",
               "a small number is added to the probabilities before the logarithm", FAR),
        Mutant("plus_small_10", SHIFTED + "\n    " + LOGGED, "return (torch.softmax(x, dim=-1) + 1e-10).log()",
               "a small number is added to the probabilities before the logarithm", FAR),
        Mutant("plus_small_12", SHIFTED + "\n    " + LOGGED, "return (torch.softmax(x, dim=-1) + 1e-12).log()",
               "a small number is added to the probabilities before the logarithm", FAR),
        Mutant("plus_small_8", SHIFTED + "\n    " + LOGGED, "return (torch.softmax(x, dim=-1) + 1e-8).log()",
               "a small number is added to the probabilities before the logarithm", FAR),
        Mutant("whole_max", "x.max(dim=-1, keepdim=True).values", "x.max()",
               "the largest score of the whole tensor is subtracted, not that of each row",
               "One row lies near 1000, another near -1000. What is left of the second one's exponentials?"),
        Mutant("smallest", "x.max(", "x.min(",
               "what is subtracted first is not the largest score of the row",
               "After your shift, which sign do the scores have, and how large can their exponentials get?"),
        Mutant("mean_shift", "x.max(dim=-1, keepdim=True).values", "x.mean(dim=-1, keepdim=True)",
               "what is subtracted first is not the largest score of the row",
               "One score of 400 among zeros: how large is it after your shift?"),
        Mutant("forgot_to_add", SHIFTED + "\n    " + LOGGED,
               "m = x.max(dim=-1, keepdim=True).values\n    return x - (x - m).exp().sum(dim=-1, keepdim=True).log()",
               "the shift is undone nowhere: it is taken from the exponentials and kept in the scores",
               "You subtract m inside of the logarithm. Where does it come back?"),
        Mutant("added_inside", SHIFTED + "\n    " + LOGGED,
               "m = x.max(dim=-1, keepdim=True).values\n    "
               "return x - ((x - m).exp().sum(dim=-1, keepdim=True) + m).log()",
               "the shift is added inside of the logarithm",
               "log(e^m · s) is a sum. Of which two parts?"),
        Mutant("times", LOGGED, "return x / x.exp().sum(dim=-1, keepdim=True).log()",
               "the score is divided by the log-sum-exp", "Of what is the logarithm of a quotient made?"),
        Mutant("plus", "return x - ", "return x + ", "the log-sum-exp is added",
               "May the logarithm of a probability be positive?"),
        Mutant("wrong_way", LOGGED, "return x.exp().sum(dim=-1, keepdim=True).log() - x",
               "the signs are turned round: this is the loss", "May the logarithm of a probability be positive?"),
        Mutant("no_log", LOGGED, "return x - x.exp().sum(dim=-1, keepdim=True)",
               "the sum itself is subtracted, not its logarithm", ONE_UNIT),
        Mutant("softmax", LOGGED, "return x.exp() / x.exp().sum(dim=-1, keepdim=True)",
               "the probabilities are returned, not their logarithms", "May a result be positive?"),
        Mutant("only_shift", SHIFTED + "\n    " + LOGGED, "return x - x.max(dim=-1, keepdim=True).values",
               "the largest score is subtracted, and that is all", ONE_UNIT),
        Mutant("columns", "x.exp().sum(dim=-1", "x.exp().sum(dim=0",
               "the exponentials are added up along axis 0", ONE_UNIT),
        Mutant("columns_both", SHIFTED + "\n    " + LOGGED, "x = x - x.max(dim=0, keepdim=True).values\n    "
               "return x - x.exp().sum(dim=0, keepdim=True).log()",
               "everything runs along axis 0", "Which axis holds the scores that compete with each other?"),
        Mutant("axis_1", SHIFTED + "\n    " + LOGGED, "x = x - x.max(dim=1, keepdim=True).values\n    "
               "return x - x.exp().sum(dim=1, keepdim=True).log()",
               "everything runs along axis 1, which is the last one in tables only",
               "Which axis is the last one of (2, 3, 6), and which of (7,)?"),
        Mutant("no_keepdim", "sum(dim=-1, keepdim=True)", "sum(dim=-1)",
               "what belongs to each row has lost its axis",
               "Which shape have your sums, and with which axis are they lined up?"),
        Mutant("no_keepdim_max", "max(dim=-1, keepdim=True)", "max(dim=-1)",
               "what belongs to each row has lost its axis",
               "Which shape have the largest scores, and with which axis are they lined up?"),
        Mutant("everything", "x.exp().sum(dim=-1, keepdim=True)", "x.exp().sum()",
               "the exponentials of all rows are added up together", ONE_UNIT),
        Mutant("mean", "x.exp().sum(", "x.exp().mean(",
               "the mean of the exponentials is taken instead of their sum", ONE_UNIT),
        Mutant("log2", ".log()", ".log2()", "the logarithm has base 2, the exponential base e", ONE_UNIT),
        Mutant("bits", LOGGED, "return (x - x.exp().sum(dim=-1, keepdim=True).log()) / math.log(2)",
               "the result is in bits", "To which base should the logarithm be?"),
        Mutant("log10", ".log()", ".log10()", "the logarithm has base 10, the exponential base e", ONE_UNIT),
        Mutant("log1p", ".log()", ".log1p()", "one is added before the logarithm", ONE_UNIT),
        Mutant("in_place", SHIFTED, "x -= x.max(dim=-1, keepdim=True).values",
               "the result is right, but the caller's scores are changed",
               "After the call, what does the caller's x hold?"),
        Mutant("double", LOGGED, "x = x.double()\n    return x - x.exp().sum(dim=-1, keepdim=True).log()",
               "the result is in double precision", "Which dtype should come back?"),
        Mutant("double_unshifted", SHIFTED + "\n    " + LOGGED,
               "x = x.double()\n    return (x - x.exp().sum(dim=-1, keepdim=True).log()).float()",
               "double precision takes the place of the shift, which only moves the limit",
               "e to the power of which number is too large for float64?"),
        Mutant("double_mean_shift", SHIFTED + "\n    " + LOGGED,
               "x = x.double()\n    x = x - x.mean(dim=-1, keepdim=True)\n    "
               "return (x - x.exp().sum(dim=-1, keepdim=True).log()).float()",
               "double precision and the mean take the place of the largest score, which only moves the limit",
               "The scores 0 and -3000: how far above their mean is the larger one, and what is its exponential?"),
        Mutant("log_of_log", LOGGED, "return torch.softmax(x.log(), dim=-1)",
               "the logarithm is taken of the scores, before the softmax",
               "What is the logarithm of a negative score?"),
        Mutant("clamped_scores", SHIFTED, "x = x.clamp(-80, 80)",
               "large scores are cut off so that nothing overflows",
               "Do the scores 1000 and 999 still differ after that?"),
    ),
    variants=("""\
def log_softmax(x):
    m = x.amax(-1, keepdim=True)
    return x - (m + torch.log(torch.sum(torch.exp(x - m), -1, keepdim=True)))""", """\
def log_softmax(x):
    rows = []
    for row in x.reshape(-1, x.shape[-1]):
        m = row.max().item()
        total = math.log(sum(math.exp(v - m) for v in row.tolist()))
        rows.append([v - m - total for v in row.tolist()])
    return torch.tensor(rows).view(x.shape)""", """\
def log_softmax(x):
    return F.log_softmax(x, dim=-1)""", """\
def log_softmax(x):
    total = x[..., 0]
    for i in range(1, x.shape[-1]):
        total = torch.logaddexp(total, x[..., i])
    return x - total.unsqueeze(-1)""",
    ),
    properties=(
        Property(lambda y, x: torch.allclose(y.exp().sum(-1), torch.ones(()), atol=1e-4),
                 "The exponentials of a row do not add up to one: these are no logarithms of probabilities."),
        Property(lambda y, x: y.isfinite().all(),
                 "A logarithm is infinite, and every score here is an ordinary number."),
        Property(lambda y, x: torch.allclose(y - y[..., :1], x - x[..., :1], rtol=1e-3, atol=1e-2),
                 "Two logarithms of a row should be as far apart as their two scores, and yours are not."),
    ),
    twin=log_softmax_twin,
    tolerance=1e-3,  # near 1000, float32 has four decimals
)  # fmt: skip


# primer.4


def cross_entropy_twin(rng: random.Random) -> Question:
    a, b = rng.sample(range(1, 7), 2)
    return Question(
        f"In two predictions, the words that came had the probabilities 1/{2**a} and 1/{2**b}. "
        "What is the cross-entropy in bits?", (a + b) / 2, f"The mean of {a} and {b} bits.", 0.01,
    )  # fmt: skip


def loss_cases() -> list[tuple]:
    """N ≠ V; one prediction; the same target twice; scores too large for a plain exponential."""
    first, square, one, large = normal(4, (5, 3), (4, 4), (1, 6), (3, 7))
    return [(2 * first, torch.tensor([0, 2, 2, 1, 0])), (3 * square, torch.tensor([3, 0, 0, 2])),
        (one, torch.tensor([4])),
            (300 * large, torch.tensor([6, 1, 5])), (torch.zeros(6, 2), torch.tensor([0, 1, 1, 0, 1, 1]))]  # fmt: skip


SCORE = "score = logits[torch.arange(len(targets)), targets]"
LOSS = "return (total - score).mean()"
TOTAL = "total = torch.logsumexp(logits, dim=-1)  # (N,)\n    "
TABLE_N = "Which shape has `logits[:, targets]`, and which of its numbers do you want?"
CROSS_ENTROPY = Exercise(
    cases=loss_cases,
    mutants=(
        Mutant("all_pairs", SCORE, "score = logits[:, targets]",
               "every row is asked about every target", TABLE_N),
        Mutant("all_pairs_kept", SCORE + "\n    " + LOSS, "return (total[:, None] - logits[:, targets]).mean()",
               "every row is asked about every target", TABLE_N),
        Mutant("rows", SCORE, "score = logits[targets].max(dim=-1).values",
               "the targets choose rows instead of columns", "Which axis of the logits goes over the words?"),
        Mutant("indices_swapped", SCORE, "score = logits[targets, torch.arange(len(targets))]",
               "the targets choose rows, and the numbers of the rows choose columns",
               "Which axis of the logits goes over the words, and at which place of the brackets does it stand?"),
        Mutant("best", SCORE, "score = logits.max(dim=-1).values",
               "the best score of each row is taken, whatever came", "Where in your lines do the targets matter?"),
        Mutant("worst", SCORE, "score = logits.min(dim=-1).values",
               "the lowest score of each row is taken, whatever came", "Where in your lines do the targets matter?"),
        Mutant("sum", LOSS, "return (total - score).sum()", "the losses are added up and not averaged",
               "Should a text that is twice as long have twice the loss?"),
        Mutant("no_reduction", LOSS, "return total - score", "the losses of the N predictions are returned",
               "Which shape should the result have?"),
        Mutant("sign", "(total - score)", "(score - total)", "the sign is turned round: this is a log-likelihood",
               "Should a better model have a higher or a lower loss?"),
        Mutant("plus", "(total - score)", "(total + score)", "the score is added instead of subtracted",
               "If the score of what came rises, should the loss rise?"),
        Mutant("no_total", "(total - score)", "(-score)", "only the score of what came counts, not the others'",
               "What happens to your loss if 100 is added to all scores, and what to the probabilities?"),
        Mutant("no_score", "(total - score)", "(total)", "the score of what came is not subtracted",
               "Where in your lines do the targets matter?"),
        Mutant("probability", LOSS, "return -(score - total).exp().mean()",
               "the probabilities are averaged, without a logarithm",
               "What does a probability of 0.001 cost, and one of 0.1?"),
        Mutant("one_minus", LOSS, "return (1 - (score - total).exp()).mean()",
               "the loss is one minus the probability, without a logarithm",
               "What does a probability of 0.001 cost, and one of 0.1?"),
        Mutant("log_of_mean", LOSS, "return -(score - total).exp().mean().log()",
               "the probabilities are averaged first, and the logarithm is taken of that mean",
               "Two words have the probabilities 1 and 1/4. What is the mean of 0 and 2 bits?"),
        Mutant("bits", LOSS, "return (total - score).mean() / math.log(2)", "the loss is in bits",
               "To which base should the logarithm be?"),
        Mutant("perplexity", LOSS, "return (total - score).mean().exp()",
               "the perplexity is returned: e to the power of the loss",
               "What should the loss of a certain and right prediction be?"),
        Mutant("by_words", LOSS, "return (total - score).sum() / logits.shape[1]",
               "the sum is divided by the number of words to choose from", "How many predictions are averaged?"),
        Mutant("by_both", LOSS, "return (total - score).sum() / logits.numel()",
               "the sum is divided by N · V, as if each score were a prediction",
               "How many predictions are averaged?"),
        Mutant("off_by_one", SCORE, "score = logits[torch.arange(len(targets)), targets - 1]",
               "the words are counted from 1", "What is the number of the first word?"),
        Mutant("shifted", SCORE, "score = logits[torch.arange(len(targets)), targets.roll(-1)]",
               "each row is asked about the next row's target", "Which target belongs to row 0?"),
        Mutant("first_column", SCORE, "score = logits[:, 0]", "the first word's score is taken in every row",
               "Where in your lines do the targets matter?"),
        Mutant("diagonal", SCORE + "\n    " + LOSS,
               "score = logits.diagonal().repeat(len(total))[: len(total)]\n    return (total - score).mean()",
               "row i is asked about word i, whatever came", "Where in your lines do the targets matter?"),
        Mutant("over_rows", TOTAL + SCORE + "\n    " + LOSS, TOTAL.replace("dim=-1", "dim=0") + SCORE
               + "\n    return (total[targets] - score).mean()",
               "the log-sum-exp runs over the predictions instead of the words",
               "Which scores compete with each other: those of one prediction, or those of one word?"),
        Mutant("max_only", TOTAL, "total = logits.max(dim=-1).values\n    ",
               "the largest score stands for the log-sum-exp", "What should the loss be if all V scores are equal?"),
        Mutant("naive", LOSS, "return -(logits.exp() / logits.exp().sum(-1, keepdim=True))"
               "[torch.arange(len(targets)), targets].log().mean()",
               "the exponentials of large scores overflow", "What is e to the power of 300 in float32?"),
        Mutant("rounded_softmax", LOSS,
               "return -torch.softmax(logits, -1)[torch.arange(len(targets)), targets].log().mean()",
               "the logarithm is taken of a probability that may have been rounded to 0",
               "What is the softmax of a score that lies 500 below the best, and what is its logarithm?"),
        Mutant("plus_small", LOSS,
               "return -(torch.softmax(logits, -1)[torch.arange(len(targets)), targets] + 1e-9).log().mean()",
               "a small number is added to the probability before the logarithm",
               "What is the largest loss that your function can give?"),
        Mutant("softmax_first", TOTAL,
               "logits = torch.softmax(logits, dim=-1)\n    total = torch.logsumexp(logits, dim=-1)\n    ",
               "the softmax is taken twice: the scores are made into probabilities first, and then again",
               "What does `logsumexp` expect, scores or probabilities?"),
        Mutant("squared", LOSS, "return (total - score).square().mean()",
               "the losses are squared before they are averaged",
               "What should the loss be if all V scores are equal?"),
        Mutant("median", LOSS, "return (total - score).median()", "the median is taken instead of the mean",
               "What does your loss say of one terrible prediction among many?"),
        Mutant("number", LOSS, "return (total - score).mean().round(decimals=2)", "the loss is rounded",
               "Can a gradient pass through a rounded number?"),
    ),
    variants=("""\
def cross_entropy(logits, targets):
    return F.cross_entropy(logits, targets)""", """\
def cross_entropy(logits, targets):
    losses = [torch.logsumexp(row, 0) - row[t] for row, t in zip(logits, targets)]
    return torch.stack(losses).mean()""", """\
def cross_entropy(logits, targets):
    log_p = logits - torch.logsumexp(logits, dim=1, keepdim=True)
    return -log_p.gather(1, targets[:, None]).mean()""", """\
def cross_entropy(logits, targets):
    y = F.one_hot(targets, logits.shape[1]).float()
    return torch.logsumexp(logits, -1).mean() - (y * logits).sum() / len(targets)""", """\
def cross_entropy(logits, targets):
    return (torch.logsumexp(logits, -1) - logits[:, targets].diagonal()).mean()""",
    ),
    properties=(
        Property(lambda y, logits, targets: y.ndim == 0, "The loss is one number."),
        Property(lambda y, logits, targets: y >= -1e-4,
                 "The loss is negative: then a probability would be larger than one."),
    ),
    twin=cross_entropy_twin,
)  # fmt: skip


# primer.5


def order_twin(rng: random.Random) -> Question:
    n, m = rng.sample(range(2, 6), 2)
    return Question(
        f"a = {n}, b = a · a, L = {m} · b + a · b. A backward pass hands on from b as soon as the product {m} · b "
        f"has given b its "
        "share, and forgets what comes later. Which derivative does b hand on, instead of the right one?", m,
        f"{m} from the first product; right is {m} + a = {m + n}, but the share of a · b comes too late.",
    )  # fmt: skip


GRAPHS = (
    {"a": [], "L": ["b", "a"], "b": ["a", "a"]},
    {"x": []},
    {"d": ["z", "y"], "w": [], "z": ["u", "b"], "L": ["d"], "x": [], "u": ["w", "x"], "b": [], "y": []},
    {"L": ["p", "q"], "p": ["a"], "q": ["r"], "r": ["s"], "s": ["p"], "a": []},  # p is near L, and far
    {"m": ["n"], "n": ["k"], "k": [], "L": ["k", "m", "n"]},
    {"f": ["e", "c"], "c": ["b"], "e": ["d"], "d": ["c"], "b": ["a"], "a": [], "L": ["a", "f", "b"]},
    {"one": ["three"], "two": ["one", "three"], "three": [], "four": ["three", "two"], "five": ["four", "one"]},
    {"c": [], "b": ["a"], "L": ["a", "a", "b", "d", "c", "c"], "a": [], "d": ["c"]},  # a and c: twice by L, then again
    {"a": [], "M": ["b"], "L": ["a"], "b": ["a"], "k": []},  # two results, and an input that nobody uses
)


def in_order(order, graph: dict) -> bool:
    place = {node: i for i, node in enumerate(order)}
    return len(place) == len(order) and all(place[node] < place[p] for node in graph for p in graph[node])


def run_order(function, graph):
    """Any right order counts as the same one; a wrong one is shown as it is."""
    left, canonical = {node: list(parents) for node, parents in graph.items()}, []
    order = function(graph)
    if isinstance(order, (list, tuple)) and sorted(map(str, order)) == sorted(left) and in_order(order, left):
        while left:  # the first by name of those that nobody waits for
            canonical.append(min(n for n in left if not any(n in left[other] for other in left)))
            del left[canonical[-1]]
        return canonical
    return order


VISIT = """\
        if node in seen:
            return
        seen.add(node)
        for parent in graph[node]:
            visit(parent)
        order.append(node)
"""
GUARD = "        if node in seen:\n            return\n"
EARLY = "a node is put on the list when it is reached, before all it was made of"
LONG_WAY = "A node is reached by a short road and a long one. Has it received everything when you put it on the list?"
LEVELS = """\
def backward_order(graph):
    used = {p for parents in graph.values() for p in parents}
    order = [node for node in graph if node not in used]
    for node in order:
        for parent in graph[node]:
            if parent not in order:
                order.append(parent)
    return order"""
USERS_COUNTED = """\
def backward_order(graph):
    waiting = {{node: sum(node in parents for parents in graph.values()) for node in graph}}
    ready, order = [node for node in graph if waiting[node] == 0], []
    while ready:
        node = ready.pop({next})
        order.append(node)
        for p in graph[node]:
            waiting[p] -= 1
            if waiting[p] == 0:
                ready.append(p)
    return order"""
TWICE = "b = a · a: how many times does b hand something to a, and for how many times does your a wait?"
BACKWARD_ORDER = Exercise(
    cases=lambda: [({node: list(parents) for node, parents in graph.items()},) for graph in GRAPHS],
    use=run_order,
    mutants=(
        Mutant("not_reversed", "return order[::-1]", "return order",
               "the list begins with the inputs: this is the forward order",
               "At which end does a backward pass begin?"),
        Mutant("on_arrival_reversed", VISIT, VISIT.replace("        order.append(node)\n", "").replace(
               "        seen.add(node)\n", "        seen.add(node)\n        order.append(node)\n"),
               EARLY + ", and the list is then turned round", LONG_WAY),
        Mutant("on_arrival", "", """\
def backward_order(graph):
    order, seen = [], set()

    def visit(node):
        if node in seen:
            return
        seen.add(node)
        order.append(node)
        for parent in graph[node]:
            visit(parent)

    for node in graph:
        visit(node)
    return order""", EARLY, LONG_WAY),
        Mutant("no_guard", GUARD, "",
               "a node that was used twice is visited twice", "How often may a node be on the list?"),
        Mutant("all_nodes", "for parent in graph[node]", "for parent in graph",
               "the result is the dictionary's order: what was made of which plays no part",
               "Where does your order depend on which node was made of which?"),
        Mutant("dictionary_reversed", "", """\
def backward_order(graph):
    return list(graph)[::-1]""",
               "the result is the dictionary's order, turned round: what was made of which plays no part",
               "What does the statement say of the dictionary's order?"),
        Mutant("dictionary", "", """\
def backward_order(graph):
    return list(graph)""",
               "the result is the dictionary's order: what was made of which plays no part",
               "Where does your order depend on which node was made of which?"),
        Mutant("levels", "", LEVELS,
               "the nodes are taken level by level from the result, each when it is first met", LONG_WAY),
        Mutant("levels_from_first", "", """\
def backward_order(graph):
    order = list(graph)[:1]
    for node in order:
        order += [p for p in dict.fromkeys(graph[node]) if p not in order]
    return order""",
               "the walk begins at the dictionary's first node and reaches only what that was made of",
               "Is the dictionary's first node the result?"),
        Mutant("first_only", "    for node in graph:\n        visit(node)\n", "    visit(next(iter(graph)))\n",
               "only the dictionary's first node is visited, and what it was made of",
               "Is the dictionary's first node the result?"),
        Mutant("last_only", "    for node in graph:\n        visit(node)\n", "    visit(list(graph)[-1])\n",
               "only the dictionary's last node is visited, and what it was made of",
               "Is the dictionary's last node the result?"),
        Mutant("first_result_only", "    for node in graph:\n        visit(node)\n",
               "    used = {p for parents in graph.values() for p in parents}\n"
               "    visit(next(node for node in graph if node not in used))\n",
               "the walk begins at the first node that nothing was made of, and there may be several of these",
               "Must every node of a graph play a part in the same result?"),
        Mutant("users_counted", "", USERS_COUNTED.format(next="0"),
               "a node waits for as many arrivals as it has users, and one user that used it twice sends two", TWICE),
        Mutant("users_counted_last_first", "", USERS_COUNTED.format(next=""),
               "a node waits for as many arrivals as it has users, and one user that used it twice sends two", TWICE),
        Mutant("seen_first", GUARD + "        seen.add(node)\n", "        seen.add(node)\n" + GUARD,
               "a node is marked as seen before it is asked whether it was seen, so that none is ever new",
               "At its very first visit: what does `node in seen` say in your function?"),
        Mutant("no_inputs", "order.append(node)", "order += [node] * bool(graph[node])",
               "the inputs are missing", "Whose derivatives does one want in the end?"),
        Mutant("no_recursion", "visit(parent)", "order.append(parent)",
               "the parents are put on the list without visiting what they were made of",
               "How often may a node be on the list?"),
        Mutant("never_seen", "        seen.add(node)\n", "",
               "a node that was used twice is visited twice", "How often may a node be on the list?"),
        Mutant("alphabet", "return order[::-1]", "return sorted(order)",
               "the nodes are sorted by name", "Do the names say what was made of what?"),
        Mutant("most_parents", "", """\
def backward_order(graph):
    return sorted(graph, key=lambda node: -len(graph[node]))""",
               "the nodes are sorted by how many nodes they were made of",
               "Was a node with two parents always made later than one with a single parent?"),
        Mutant("most_used_last", "", """\
def backward_order(graph):
    used = [p for parents in graph.values() for p in parents]
    return sorted(graph, key=used.count)""",
               "the nodes are sorted by how often they were used",
               "May a node that was used once hand something to one that was used never?"),
        Mutant("shortest", "", """\
def backward_order(graph):
    used = {p for parents in graph.values() for p in parents}
    depth = {node: 0 for node in graph if node not in used}
    queue = list(depth)
    for node in queue:
        for p in graph[node]:
            if p not in depth:
                depth[p] = depth[node] + 1
                queue.append(p)
    return sorted(graph, key=depth.get)""",
               "the nodes are sorted by their shortest way from the result", LONG_WAY),
        Mutant("shortest_to_input", "", """\
def backward_order(graph):
    def height(node):
        return 1 + min(map(height, graph[node])) if graph[node] else 0
    return sorted(graph, key=height, reverse=True)""",
               "the nodes are sorted by their shortest way to an input", LONG_WAY),
        Mutant("pairs_kept", "", """\
def backward_order(graph):
    order = []
    for node in graph:
        for n in [node, *graph[node]]:
            if n not in order:
                order.append(n)
    return order""",
               "each node is followed by what it was made of, in the dictionary's order",
               "May a node that comes later in the dictionary have been made of one that is on your list already?"),
        Mutant("a_set", "return order[::-1]", "return seen",
               "a set is returned, which has no order", "What should come back?"),
        Mutant("nothing", "    return order[::-1]", "    order.reverse()",
               "nothing is returned", "In which line does the result leave your function?"),
        Mutant("reverse_none", "return order[::-1]", "return order.reverse()",
               "nothing is returned",
               "What does `[1, 2].reverse()` return?"),
        Mutant("last_lost", "order[::-1]", "order[:0:-1]",
               "the last node is lost when the list is turned round", "Where does the slice `[:0:-1]` stop?"),
        Mutant("emptied", "for parent in graph[node]:\n            visit(parent)",
               "while graph[node]:\n            visit(graph[node].pop(0))",
               "the order is right, but the graph is emptied on the way",
               "After the call, what does the caller's graph hold?"),
    ),
    variants=("""\
def backward_order(graph):
    waiting = {node: 0 for node in graph}
    for parents in graph.values():
        for p in parents:
            waiting[p] += 1
    ready = [node for node in graph if waiting[node] == 0]
    for node in ready:
        for p in graph[node]:
            waiting[p] -= 1
            if waiting[p] == 0:
                ready.append(p)
    return ready""", """\
def backward_order(graph):
    def height(node):
        return 1 + max(map(height, graph[node]), default=0)
    return sorted(graph, key=height, reverse=True)""", """\
def backward_order(graph):
    order = []
    def visit(node):
        if node not in order:
            for p in graph[node]:
                visit(p)
            order.insert(0, node)
    for node in sorted(graph):
        visit(node)
    return order""", """\
def backward_order(graph):
    from graphlib import TopologicalSorter
    return list(TopologicalSorter(graph).static_order())[::-1]""", """\
def backward_order(graph):
    left, order = dict(graph), ()
    while left:
        free = [n for n in left if all(n not in parents for parents in left.values())]
        order += tuple(free)
        left = {n: parents for n, parents in left.items() if n not in free}
    return order""",
    ),
    properties=(
        Property(lambda order, graph: sorted(order) == sorted(graph), "Not every node is on the list exactly once."),
        Property(lambda order, graph: in_order(order, graph),
                 "A node stands after one that it was made of, and hands something on to it too late. "
                 "(Other right orders than the one below are accepted too.)"),
    ),
    twin=order_twin,
)  # fmt: skip


# primer.6


def slope_twin(rng: random.Random) -> Question:
    a, x = rng.sample(range(2, 8), 2)
    return Question(f"f(x) = {a}x². What is its central difference at x = {x} with the step h = 1?", 2 * a * x,
                    f"({a}·{x + 1}² − {a}·{x - 1}²) / 2. Of a parabola a central difference is exact, {2 * a}x.")


def cubes(x):
    return (x**3).sum()


def by_row(x):
    return (x.sum(dim=-1) ** 3).sum()


def weighted(x):
    """Each number has a weight of its own, and neighbours meet."""
    weights = torch.arange(1, x.numel() + 1, dtype=x.dtype).view(x.shape)
    return (weights * x.sin()).sum() + (x.flatten()[1:] * x.flatten()[:-1]).sum()


def writes(x):
    """Writes into what it is given."""
    x *= 2
    return x.square().sum()


def bend(x):
    return x.abs().sum()


def untracked(x):
    return torch.tensor(math.fsum(v * v * v for v in x.flatten().tolist()), dtype=x.dtype)


def slope_cases() -> list[tuple]:
    generator = torch.Generator().manual_seed(6)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)
    return [(by_row, draw(3, 4), 1e-3), (weighted, draw(2, 3, 4), 1e-4), (cubes, draw(5), 0.5),
        (writes, draw(2, 3), 1e-3),
            (bend, torch.tensor([0.0, 2.0, -3.0], dtype=torch.float64), 0.25), (cubes, draw(), 0.2),
            (untracked, draw(4), 0.1)]  # fmt: skip


PLUS = "plus[i] += h"
QUOTIENT = "(f(plus.view(x.shape)) - f(minus.view(x.shape))) / (2 * h)"
COPIES = "plus, minus = x.flatten().clone(), x.flatten().clone()"
OTHERS = "In the second experiment, what do the numbers hold that moved in the first?"
CENTRAL = "By how much do the two points differ, at which you call f?"
NUMERIC_GRADIENT = Exercise(
    cases=slope_cases,
    mutants=(
        Mutant("forward", QUOTIENT, "(f(plus.view(x.shape)) - f(x.clone())) / h",
               "the difference is one-sided, to the right", "What does your quotient give for |x| at 0?"),
        Mutant("forward_direct", QUOTIENT, "(f(plus.view(x.shape)) - f(x)) / h",
               "the difference is one-sided, to the right", "What does your quotient give for |x| at 0?"),
        Mutant("backward", QUOTIENT, "(f(x.clone()) - f(minus.view(x.shape))) / h",
               "the difference is one-sided, to the left", "What does your quotient give for |x| at 0?"),
        Mutant("divided_by_h", "(2 * h)", "h", "the difference is divided by h instead of 2h", CENTRAL),
        Mutant("no_brackets", "/ (2 * h)", "/ 2 * h", "`/ 2 * h` divides by 2 and multiplies by h",
               "In which order does Python work through a / b * c?"),
        Mutant("multiplied", "/ (2 * h)", "* (2 * h)", "the difference is multiplied by 2h", CENTRAL),
        Mutant("half", "/ (2 * h)", "/ 2", "the difference is divided by 2, not by 2h", CENTRAL),
        Mutant("not_divided", " / (2 * h)", "", "the difference is not divided at all", CENTRAL),
        Mutant("squared_step", "(2 * h)", "h**2", "the difference is divided by h²", CENTRAL),
        Mutant("four", "(2 * h)", "(4 * h)", "the difference is divided by 4h", CENTRAL),
        Mutant("wrong_way", "plus[i] += h\n        minus[i] -= h", "plus[i] -= h\n        minus[i] += h",
               "the two sides are swapped, so that the sign is turned round", "Is the slope of x² at 3 positive?"),
        Mutant("half_step", "plus[i] += h\n        minus[i] -= h", "plus[i] += h / 2\n        minus[i] -= h / 2",
               "each side moves by h / 2, but the difference is divided by 2h", CENTRAL),
        Mutant("half_step_divided_by_h", "plus[i] += h\n        minus[i] -= h\n        gradient[i] = " + QUOTIENT,
               "plus[i] += h / 2\n        minus[i] -= h / 2\n        gradient[i] = "
               "(f(plus.view(x.shape)) - f(minus.view(x.shape))) / h",
               "each side moves by h / 2, half as far as asked for",
               "By how much should the number be larger at the right point?"),
        Mutant("own_step", "gradient = torch", "h = 1e-6\n    gradient = torch",
               "a step of its own takes the place of h", "Where in your function does the h of the caller matter?"),
        Mutant("relative", PLUS + "\n        minus[i] -= h\n        gradient[i] = " + QUOTIENT,
               "step = h * max(1.0, abs(x.flatten()[i].item()))\n        plus[i] += step\n        "
               "minus[i] -= step\n        "
               "gradient[i] = (f(plus.view(x.shape)) - f(minus.view(x.shape))) / (2 * step)",
               "the step grows with the number", "By how much should each number move?"),
        Mutant("all_at_once", PLUS + "\n        minus[i] -= h", "plus += h\n        minus -= h",
               "all numbers move at once", "How many numbers of x should differ between the two calls?"),
        Mutant("one_for_all", "", """\
def numeric_gradient(f, x, h):
    slope = (f(x + h) - f(x - h)) / (2 * h)
    return torch.full_like(x, slope.item())""",
               "all numbers move at once", "How many numbers of x should differ between the two calls?"),
        Mutant("direction", "", """\
def numeric_gradient(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)""",
               "all numbers move at once, and one slope is returned for them", "Which shape should the result have?"),
        Mutant("not_fresh", "    for i in range(x.numel()):\n        " + COPIES,
               "    " + COPIES + "\n    for i in range(x.numel()):",
               "the copies are made once, so that each number stays where it was moved", OTHERS),
        Mutant("aliased", COPIES, "plus = minus = x.flatten().clone()",
               "plus and minus are two names of one tensor, which moves there and back",
               "How many tensors are there after `plus = minus = x.clone()`?"),
        Mutant("in_place",
               "plus, minus = x.flatten().clone(), x.flatten().clone()\n        plus[i] += h\n        minus[i] -= h",
               "plus = x.view(-1)\n        plus[i] += h\n        "
               "minus = x.flatten().clone()\n        minus[i] -= 2 * h",
               "x itself is moved and not put back", OTHERS),
        Mutant("views", COPIES, "plus, minus = x.view(-1), x.view(-1)",
               "plus and minus are views of x, which moves there and back",
               "Does `view` copy the numbers?"),
        Mutant("flat", "return gradient.view(x.shape)", "return gradient", "the result is flat",
               "Which shape should the result have?"),
        Mutant("flat_calls", "f(plus.view(x.shape)) - f(minus.view(x.shape))", "f(plus) - f(minus)",
               "f is given flat copies", "May f depend on the shape of what it is given?"),
        Mutant("first_axis", "", """\
def numeric_gradient(f, x, h):
    gradient = torch.zeros_like(x)
    for i in range(len(x)):
        plus, minus = x.clone(), x.clone()
        plus[i] += h
        minus[i] -= h
        gradient[i] = (f(plus) - f(minus)) / (2 * h)
    return gradient""",
               "x[i] is taken for one number, and is a whole row in a table", "What is x[0] for an x of shape (3, 4)?"),
        Mutant("autograd", "", """\
def numeric_gradient(f, x, h):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(f(x), x)[0]""",
               "the gradient is computed by autograd instead of measured", "Where in your function does h matter?"),
        Mutant("autograd_untouched", "", """\
def numeric_gradient(f, x, h):
    x = x.clone().requires_grad_()
    y = f(x * 1)
    return torch.autograd.grad(y, x, allow_unused=True)[0] if y.requires_grad else torch.zeros_like(x)""",
               "the gradient is computed by autograd instead of measured", "Where in your function does h matter?"),
        Mutant("float32", "dtype=x.dtype", "dtype=torch.float32", "the result is kept in float32",
               "Which dtype should come back?"),
        Mutant("float32_all", "gradient = torch", "x = x.float()\n    gradient = torch",
               "everything is computed in float32, where small differences drown in rounding",
               "How many digits does float32 have, and in which digit does f change when a number moves by h?"),
        Mutant("list", "return gradient.view(x.shape)", "return gradient.tolist()", "a list is returned",
               "What should come back?"),
        Mutant("transposed", "return gradient.view(x.shape)", "return gradient.view(x.shape[::-1])",
               "the result has the shape of x turned round", "Which shape should the result have?"),
        Mutant("second", QUOTIENT, "(f(plus.view(x.shape)) - 2 * f(x.clone()) + f(minus.view(x.shape))) / h**2",
               "this is a second derivative", "What should come out for f(x) = 3x?"),
        Mutant("sum", QUOTIENT.replace(" / (2 * h)", ""), "(f(plus.view(x.shape)) + f(minus.view(x.shape)))",
               "the two values are added instead of subtracted", "What should come out if f does not depend on x?"),
        Mutant("absolute", QUOTIENT, "(" + QUOTIENT + ").abs()", "the sign of the slope is lost",
               "Is the slope of x² at −3 positive?"),
        Mutant("last_missing", "for i in range(x.numel())", "for i in range(x.numel() - 1)",
               "the last number is never moved", "Which is the last i in `range(n)`?"),
        Mutant("put_back", "", """\
def numeric_gradient(f, x, h):
    gradient, flat = torch.zeros_like(x), x.view(-1)
    for i in range(x.numel()):
        flat[i] += h
        up = f(x)
        flat[i] -= 2 * h
        down = f(x)
        flat[i] += h
        gradient.view(-1)[i] = (up - down) / (2 * h)
    return gradient""",
               "all calls share one tensor, and f may write into it",
               "f is given x itself. What may f do with it, and to whom does it belong?"),
        Mutant("one_copy", "", """\
def numeric_gradient(f, x, h):
    gradient, copy = torch.zeros_like(x), x.flatten().clone()
    for i in range(x.numel()):
        old = copy[i].item()
        copy[i] = old + h
        up = f(copy.view(x.shape)).item()
        copy[i] = old - h
        down = f(copy.view(x.shape)).item()
        copy[i] = old
        gradient.view(-1)[i] = (up - down) / (2 * h)
    return gradient""",
               "all calls share one tensor, and f may write into it",
               "What may f do with what it is given, and what does the next call then get?"),
        Mutant("one_copy_moved_back", "", """\
def numeric_gradient(f, x, h):
    gradient, copy = torch.zeros_like(x), x.flatten().clone()
    for i in range(x.numel()):
        copy[i] += h
        up = f(copy.view(x.shape)).item()
        copy[i] -= 2 * h
        down = f(copy.view(x.shape)).item()
        copy[i] += h
        gradient.view(-1)[i] = (up - down) / (2 * h)
    return gradient""",
               "all calls share one tensor, and f may write into it",
               "What may f do with what it is given, and what does the next call then get?"),
    ),
    variants=("""\
def numeric_gradient(f, x, h):
    gradient = torch.zeros_like(x)
    for index in torch.ones_like(x).nonzero().tolist():
        step = torch.zeros_like(x)
        step[tuple(index)] = h
        gradient[tuple(index)] = (f(x + step) - f(x - step)) / (2 * h)
    return gradient""", """\
def numeric_gradient(f, x, h):
    steps = h * torch.eye(x.numel(), dtype=x.dtype)
    slopes = [(f(x + s.view(x.shape)) - f(x - s.view(x.shape))) / 2 / h for s in steps]
    return torch.stack(slopes).reshape(x.shape)""", """\
def numeric_gradient(f, x, h):
    import itertools
    result = torch.empty_like(x)
    for index in itertools.product(*map(range, x.shape)):
        values = []
        for sign in (1, -1):
            moved = x.clone()
            moved[index] = moved[index] + sign * h
            values.append(f(moved).item())
        result[index] = (values[0] - values[1]) / (2 * h)
    return result""", """\
def numeric_gradient(f, x, h):
    y, out = x.clone(), []
    flat = y.view(-1)
    for i in range(x.numel()):
        old = flat[i].item()
        flat[i] = old + h
        up = float(f(y.clone()))
        flat[i] = old - h
        down = float(f(y.clone()))
        flat[i] = old
        out.append((up - down) * 0.5 / h)
    return torch.tensor(out, dtype=torch.float64).view(x.shape)""",
    ),
    twin=slope_twin,
)  # fmt: skip


# primer.7


def layer_twin(rng: random.Random) -> Question:
    """A gradient of one layer, by hand."""
    x, w, g = rng.sample(range(2, 9), 3)
    b = rng.choice([-x * w - 1, 1])
    passed = x * w + b > 0
    return Question(
        f"y = relu(x · w + b) with x = {x}, w = {w}, b = {b}, and dL/dy = {g}. What is dL/dw?", g * x if passed else 0,
        f"The ReLU is given {x * w + b}: " + (f"it passes {g} on, times x." if passed else "it stops what comes back."),
    )  # fmt: skip


def layer_cases() -> list[tuple]:
    """Sizes pairwise distinct; one row; one column; a ReLU that is given exactly 0; whole numbers, for exact zeros."""
    cases = [tuple(normal(7, (5, 4), (4, 3), (3,), (5, 3))), tuple(normal(8, (1, 6), (6, 2), (2,), (1, 2))),
             tuple(normal(9, (7, 2), (2, 5), (5,), (7, 5))),
                   tuple(normal(10, (4, 4), (4, 4), (4,), (4, 4)))]  # fmt: skip
    x = torch.tensor([[1.0, 2.0], [-1.0, 0.0], [3.0, 1.0]])
    W, b = torch.tensor([[1.0, 0.0, 2.0, -1.0], [1.0, 0.0, -1.0, 1.0]]), torch.tensor([-3.0, 0.0, 1.0, -1.0])
    return [*cases, (x, W, b, torch.arange(-5.0, 7.0).view(3, 4) + 0.5)]


DZ = "dz = g * (x @ W + b > 0)"
BACK = "return dz @ W.T, x.T @ dz, dz.sum(dim=0)"
WHAT_DECIDES = "The ReLU was given −5. Does anything come back through it, whatever g is?"
USED = "W[c, d] is used once in each of N rows. How do N contributions come together?"
LAYER_GRADIENTS = Exercise(
    cases=layer_cases,
    mutants=(
        Mutant("no_relu", DZ, "dz = g", "the ReLU is forgotten on the way back", WHAT_DECIDES),
        Mutant("mask_g", "(x @ W + b > 0)", "(g > 0)", "what decides is the sign of g", WHAT_DECIDES),
        Mutant("relu_g", DZ, "dz = torch.relu(g)", "what decides is the sign of g", WHAT_DECIDES),
        Mutant("no_bias", "x @ W + b > 0", "x @ W > 0", "what decides is x W without b", "What was the ReLU given?"),
        Mutant("at_zero", "> 0", ">= 0", "the slope at exactly 0 counts as 1",
               "What does the statement say of exactly 0?"),
        Mutant("inverted", "> 0", "<= 0", "what was stopped is let through, and the other way round", WHAT_DECIDES),
        Mutant("times_y", DZ, "dz = g * torch.relu(x @ W + b)",
               "g is multiplied by y instead of by the slope of the ReLU",
               "What is the slope of max(0, z) at z = 7?"),
        Mutant("times_z", DZ, "dz = g * (x @ W + b)",
               "g is multiplied by what the ReLU was given, instead of by its slope",
               "What is the slope of max(0, z) at z = 7?"),
        Mutant("relu_of_product", DZ, "dz = torch.relu(g * (x @ W + b))",
               "the ReLU is applied to g times what it was given",
               "What is the slope of max(0, z) at z = 7?"),
        Mutant("sign", DZ, "dz = g * torch.sign(x @ W + b)", "where the ReLU stops, g comes back with a minus sign",
               WHAT_DECIDES),
        Mutant("leaky", DZ, "dz = g * torch.where(x @ W + b > 0, 1.0, 0.01)",
               "a hundredth comes back through what was stopped", WHAT_DECIDES),
        Mutant("row_mask", "(x @ W + b > 0)", "(x @ W + b > 0).any(dim=1, keepdim=True)",
               "a whole row is let through if one of its numbers was", "Is each number of z bent by itself?"),
        Mutant("db_mean", "dz.sum(dim=0)", "dz.mean(dim=0)", "db is a mean over the rows instead of a sum", USED),
        Mutant("all_mean", BACK, "N = len(x)\n    return dz @ W.T, x.T @ dz / N, dz.mean(dim=0)",
               "dW and db are divided by the number of rows", USED),
        Mutant("all_mean_too", DZ, DZ + " / len(x)", "everything is divided by the number of rows", USED),
        Mutant("dW_mean", "x.T @ dz,", "x.T @ dz / len(x),", "dW is divided by the number of rows", USED),
        Mutant("db_axis", "dz.sum(dim=0)", "dz.sum(dim=1)", "db is summed over the columns",
               "Which shape has b, and which has db?"),
        Mutant("db_all", "dz.sum(dim=0)", "dz.sum()", "db is one number", "Which shape has b, and which has db?"),
        Mutant("db_keepdim", "dz.sum(dim=0)", "dz.sum(dim=0, keepdim=True)", "db has an axis too many",
               "Which shape has b, and which has db?"),
        Mutant("db_not_summed", "dz.sum(dim=0)", "dz", "db is not summed: there is one for each row",
               "Which shape has b, and which has db?"),
        Mutant("db_ones", "dz.sum(dim=0)", "torch.ones_like(b)",
               "db is the slope of z, without what arrives from above",
               "Does your db depend on g?"),
        Mutant("db_of_g", "dz.sum(dim=0)", "g.sum(dim=0)", "the ReLU is forgotten on the way to b",
               "Between g and b: what lies on the way?"),
        Mutant("dW_of_g", "x.T @ dz", "x.T @ g", "the ReLU is forgotten on the way to W",
               "Between g and W: what lies on the way?"),
        Mutant("dx_of_g", "dz @ W.T", "g @ W.T", "the ReLU is forgotten on the way to x",
               "Between g and x: what lies on the way?"),
        Mutant("only_dx_bent", BACK, "return dz @ W.T, x.T @ g, g.sum(dim=0)",
               "the ReLU is forgotten on the way to W and b",
               "Between g and W: what lies on the way?"),
        Mutant("dW_turned", "x.T @ dz", "dz.T @ x", "dW is turned round", "Which shape has W, and which has dW?"),
        Mutant("dW_of_y", "x.T @ dz", "x.T @ torch.relu(x @ W + b)", "dW is made of y instead of what comes back",
               "Does your dW depend on g?"),
        Mutant("dx_not_turned", "dz @ W.T", "dz @ W", "W is not turned round on the way back",
               "dz is (N, D) and dx is (N, C). Which shape must stand between them?"),
        Mutant("dx_viewed", "dz @ W.T", "dz @ W.reshape(W.shape[1], W.shape[0])",
               "W is cut into another shape instead of turned round", "Does `reshape` swap rows and columns?"),
        Mutant("order", BACK, "return x.T @ dz, dz @ W.T, dz.sum(dim=0)", "the results come in another order",
               "Which of the three should come first?"),
        Mutant("order_2", BACK, "return x.T @ dz, dz.sum(dim=0), dz @ W.T", "the results come in another order",
               "Which of the three should come first?"),
        Mutant("bent_twice", "dz @ W.T", "(dz @ W.T) * (x > 0)", "what comes out on the way to x is bent once more",
               "How many ReLUs lie between x and y?"),
        Mutant("dx_relu", "dz @ W.T", "torch.relu(dz @ W.T)",
               "the ReLU is applied to dx as well", "How many ReLUs lie between x and y?"),
        Mutant("dx_masked_only", "(x @ W + b > 0)", "1.0\n    bent = (x @ W + b > 0)",
               "the ReLU is forgotten on the way back", WHAT_DECIDES),
        Mutant("sum_loss", DZ, "dz = (x @ W + b > 0).float()", "g is taken to be 1 everywhere",
               "Does your result depend on g?"),
        Mutant("mean_loss", DZ, "dz = g * (x @ W + b > 0) / g.numel()",
               "everything is divided by how many numbers y has",
               "Is the mean of the loss not already in g?"),
        Mutant("sigmoid", DZ, "p = torch.sigmoid(x @ W + b)\n    dz = g * p * (1 - p)",
               "the slope of another function, the sigmoid, is used",
               "What is the slope of max(0, z) at z = 7?"),
        Mutant("in_place", DZ, "dz = g\n    dz *= x @ W + b > 0", "the result is right, but the caller's g is changed",
               "How many tensors are there after `dz = g`?"),
        Mutant("double", DZ, "dz = g.double() * (x @ W + b > 0)\n    x, W = x.double(), W.double()",
               "the results are in double precision", "Which dtype should come back?"),
        Mutant("step_taken", BACK, "return x - dz @ W.T, W - x.T @ dz, b - dz.sum(dim=0)",
               "a step of training is taken instead of returning the gradients",
               "What should come back: gradients, or new weights?"),
        Mutant("with_y", BACK, "return torch.relu(x @ W + b), dz @ W.T, x.T @ dz, dz.sum(dim=0)",
               "y is returned as well", "Which three things should come back?"),
    ),
    variants=("""\
def layer_gradients(x, W, b, g):
    leaves = [t.detach().clone().requires_grad_() for t in (x, W, b)]
    torch.relu(leaves[0] @ leaves[1] + leaves[2]).backward(g)
    return tuple(t.grad for t in leaves)""", """\
def layer_gradients(x, W, b, g):
    N, C, D = len(x), *W.shape
    dx, dW, db = torch.zeros_like(x), torch.zeros_like(W), torch.zeros_like(b)
    for n in range(N):
        for d in range(D):
            if sum((x[n, c] * W[c, d]).item() for c in range(C)) + b[d].item() > 0:
                dx[n] += g[n, d] * W[:, d]
                dW[:, d] += g[n, d] * x[n]
                db[d] += g[n, d]
    return dx, dW, db""", """\
def layer_gradients(x, W, b, g):
    z = torch.einsum("nc,cd->nd", x, W) + b
    dz = torch.where(z > 0, g, torch.zeros_like(g))
    return [torch.einsum("nd,cd->nc", dz, W), torch.einsum("nc,nd->cd", x, dz), torch.einsum("nd->d", dz)]""", """\
def layer_gradients(x, W, b, g):
    y = F.relu(F.linear(x, W.T, b))
    dz = g.masked_fill(y <= 0, 0.0)
    ones = torch.ones(1, len(x))
    return F.linear(dz, W), (dz.T @ x).T, (ones @ dz)[0]""",
    ),
    properties=(
        Property(lambda y, x, W, b, g: [t.shape for t in y] == [x.shape, W.shape, b.shape],
                 "A gradient has the shape of what it belongs to: those of x, W and b, in this order."),
    ),
    twin=layer_twin,
)  # fmt: skip


EXERCISES = {
    "result_shape": RESULT_SHAPE,
    "center_rows": CENTER_ROWS,
    "log_softmax": LOG_SOFTMAX,
    "cross_entropy": CROSS_ENTROPY,
    "backward_order": BACKWARD_ORDER,
    "numeric_gradient": NUMERIC_GRADIENT,
    "layer_gradients": LAYER_GRADIENTS,
}


def product_shape(rng: random.Random) -> Question:
    B, T, C, D = rng.sample(range(2, 12), 4)
    return Question(
        f"How many numbers does a product of tensors of the shapes ({B}, {T}, {C}) and ({C}, {D}) hold?", B * T * D,
        f"The inner sizes, {C}, meet and vanish: ({B}, {T}, {D}).",
    )  # fmt: skip


def lost_comparison(rng: random.Random) -> Question:
    T = rng.randint(5, 30)
    return Question(
        f"Predictions have the shape ({T}, 1) and the answers the shape ({T},). How many squared differences does the "
        "mean run over?", T * T, f"({T}, 1) − ({T},) is ({T}, {T}): each prediction is compared with every answer.",
    )  # fmt: skip


def push(rng: random.Random) -> Question:
    p = rng.choice([0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.6, 0.7, 0.9])
    came = rng.random() < 0.5
    return Question(
        f"A softmax gives a word the probability {p:g}, and {'this word' if came else 'another word'} came. What is "
        "the derivative of the cross-entropy with respect to the score of that word?", p - came,
        f"p − y, and y is {int(came)} here.", 0.01,
    )  # fmt: skip


def two_roads(rng: random.Random) -> Question:
    a, k = rng.sample(range(2, 9), 2)
    return Question(f"L = a · a + {k} · a. What is dL/da at a = {a}?", 2 * a + k,
                    f"Two contributions of {a} from the product and one of {k}: where roads meet, they add up.")


def shift(rng: random.Random) -> Question:
    p, c = rng.choice([0.1, 0.2, 0.35, 0.6, 0.8]), rng.choice([5, 50, 200, 500])
    return Question(f"A softmax gives a word the probability {p:g}. Now {c} is added to all scores. What is it now?",
                    p, "Only differences of scores matter: the factor cancels above and below the line.",
                    0.01)  # fmt: skip


def bytes_of(rng: random.Random) -> Question:
    a, b = rng.sample(range(3, 20), 2)
    size, name = rng.choice([(4, "float32"), (2, "bfloat16"), (8, "int64")])
    return Question(f"How many bytes do the numbers of a tensor ({a}, {b}) in {name} take?", a * b * size,
                    f"{a * b} numbers of {size} bytes.")  # fmt: skip


RECALL = (product_shape, lost_comparison, push, two_roads, shift, bytes_of)
PREDICTIONS = {
    "primer.p1": Prediction(
        "a has the shape (5, 1) and b the shape (3,). Which shape has a + b?",
        lambda: [5, 3],
        "Lined up at their right ends: (5, 1) over (1, 3). Both sizes of 1 are stretched.",
    ),
    "primer.p2": Prediction(
        "w = 3, x = 2, u = w · x, z = u − 4, d = z − 5, L = d². What is dL/dw?",
        lambda: -12,
        "d is −3, so the square has the slope −6; the subtractions have the slope 1, the product the slope x = 2.",
    ),
    "primer.p3": Prediction(
        "Two words, both with the score 1000. What is the softmax of the first?",
        lambda: 0.5,
        "Only differences of scores matter, and these two do not differ. Who computes e to the power of 1000 gets nan.",
    ),
    "primer.p4": Prediction(
        "A model gives the word that comes the probability 1/8. What is its loss on that word, in bits?",
        lambda: 3,
        "Minus the logarithm to base 2 of 1/8: three halvings, three bits.",
    ),
}
