"""Lesson 12, evaluation: cases, and the wrong ideas that people have about it.

Lengths are pairwise distinct wherever an exercise allows it, groups are uneven, and no mean is the same as another by
accident: with even groups half of these mistakes cannot be seen.
"""
import math
import random
from statistics import NormalDist

import numpy as np

from . import Exercise, Mutant, Prediction, Property, Question

# 12.1


def guesser(n: int, options: int, limit: float = 0.05) -> int:
    """The smallest k that a guesser reaches with at most this probability."""
    reached = 0.0
    for hits in range(n, -1, -1):
        reached += math.comb(n, hits) * (options - 1) ** (n - hits) / options**n
        if reached > limit:
            return hits + 1
    return 0


def hits_twin(rng: random.Random) -> Question:
    n, options = rng.randint(6, 40), rng.choice([2, 3, 4, 5])
    return Question(
        f"A test has {n} questions with {options} options each. How many right answers does a pure guesser reach or "
        "exceed with a probability of at most 0.05, at the least?", guesser(n, options),
        "Add up the probabilities of n, n − 1, … right answers until the next one would exceed 0.05.",
    )  # fmt: skip


TAIL = "reached += math.comb(n, hits) * p**hits * (1 - p) ** (n - hits)"
OVER = "if reached > 0.05:\n            return hits + 1"
HIGHER = "Which scores would you find at least as impressive as k? Are they in your sum?"
ONE_OF = "How probable is one right answer to a single question, by guessing?"
PLACES = "In how many ways can k of n answers be the right ones?"
LUCK = "Try n = 5, two options: what is the probability of five, and of four or five?"
EXACT = "Compute the probabilities for n = 5 by hand. Does a bell curve give the same?"
LEAST_HITS = Exercise(
    cases=lambda: [(5, 2), (3, 2), (20, 4), (1, 2), (12, 3), (33, 5), (60, 2), (7, 4), (2, 4), (1, 30), (4, 2),
                   (150, 4), (9, 7), (41, 2), (2, 5)],
    mutants=(
        Mutant("exactly", TAIL, TAIL.replace("+=", "="),
               "the probability of exactly k is taken, not that of k or more", HIGHER),
        Mutant("more_than_k", "return hits + 1", "return hits",
               "the probability of more than k right answers is taken, not that of k or more", LUCK),
        Mutant("one_too_high", "return hits + 1", "return hits + 2",
               "the number is one too high: one less is rare enough already", LUCK),
        Mutant("half", "p, reached = 1 / options, 0.0", "p, reached = 0.5, 0.0",
               "a guesser is taken to be right half of the time, whatever the options", ONE_OF),
        Mutant("wrong_share", "1 / options", "1 - 1 / options",
               "the probability of a wrong answer stands for that of a right one", ONE_OF),
        Mutant("one_less_option", "1 / options", "1 / max(options - 1, 1)",
               "only the wrong options are counted", ONE_OF),
        Mutant("no_ways", "math.comb(n, hits) * ", "",
               "it is not counted in how many ways k answers can be right", PLACES),
        Mutant("only_right", " * (1 - p) ** (n - hits)", "",
               "that the other answers are wrong is left out of the probability", PLACES),
        Mutant("two_sided", "reached > 0.05", "reached > 0.025",
               "the limit is halved, as for scores that may be too low or too high",
               "Which scores would make you say that a model knows something: low ones too?"),
        Mutant("one_percent", "reached > 0.05", "reached > 0.01",
               "the limit is 0.01", "Which probability does the statement allow?"),
        Mutant("ninety_five", "reached > 0.05", "reached > 0.95",
               "the low scores are made rare instead of the high ones", HIGHER),
        Mutant("from_below", "range(n, -1, -1)", "range(n + 1)",
               "the low scores are made rare instead of the high ones", HIGHER),
        Mutant("expected", "", """\
def least_hits(n, options):
    return math.floor(n / options) + 1""",
               "anything above what a guesser gets on average is taken for knowledge",
               "How often does a guesser do better than a guesser does on average?"),
        Mutant("normal", "", """\
def least_hits(n, options):
    p = 1 / options
    return math.ceil(n * p + 1.96 * math.sqrt(n * p * (1 - p)))""",
               "a bell curve stands for the exact distribution", EXACT),
        Mutant("normal_one_sided", "", """\
def least_hits(n, options):
    p = 1 / options
    return math.ceil(n * p + 1.645 * math.sqrt(n * p * (1 - p)))""",
               "a bell curve stands for the exact distribution", EXACT),
        Mutant("share", "return hits + 1", "return (hits + 1) / n",
               "a share is returned instead of a number", "Is the result a whole number or a share?"),
        Mutant("capped", "return hits + 1", "return min(n, hits + 1)",
               "where all right is not rare enough, n is returned all the same",
               "Three right answers of three, two options: how often does this happen to a guesser?"),
    ),
    variants=("""\
def least_hits(n, options):
    p = 1 / options
    share = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    return next(k for k in range(n + 2) if sum(share[k:]) <= 0.05)""", """\
def least_hits(n, options):
    k, below = 0, 0
    whole = options**n
    while k <= n and 20 * (whole - below) > whole:
        below += math.comb(n, k) * (options - 1) ** (n - k)
        k += 1
    return k""", """\
def least_hits(n, options):
    chance = np.array([1.0])
    for _ in range(n):
        chance = np.convolve(chance, [1 - 1 / options, 1 / options])
    tails = np.cumsum(chance[::-1])[::-1]
    return int((tails > 0.05).sum())""",
    ),
    properties=(
        Property(lambda k, n, options: isinstance(k, (int, np.integer)), "The result is no whole number."),
        Property(lambda k, n, options: n / options < k <= n + 1,
                 "The result must lie above what a guesser gets on average, and is n + 1 at most."),
    ),
    twin=hits_twin,
)  # fmt: skip


# 12.2


def pick_twin(rng: random.Random) -> Question:
    """Which of two options is taken, from their log-probabilities and lengths."""
    a, b = -rng.randint(4, 9), -rng.randint(10, 20)
    sizes = rng.randint(3, 6), rng.randint(9, 30)
    rates = a / sizes[0], b / sizes[1]
    if abs(rates[0] - rates[1]) < 0.05:
        sizes = sizes[0], sizes[1] + 20
        rates = a / sizes[0], b / sizes[1]
    best = "first" if rates[0] > rates[1] else "second"
    return Question(
        f"Two options have the log-probabilities {a} and {b} and {sizes[0]} and {sizes[1]} bytes. Which one is chosen "
        "byte for byte: first or second?", best,
        f"{a}/{sizes[0]} = {rates[0]:.2f} and {b}/{sizes[1]} = {rates[1]:.2f}: the larger one wins.",
    )  # fmt: skip


def pick_cases() -> list[tuple]:
    """Options of random lengths, and the example."""
    dice, cases = np.random.default_rng(122), []
    example = [-4.0, -6.0, -9.0], [4, 12, 10], [-6.0, -7.0, -14.0]
    tables = [example]
    for n in (2, 4, 5, 7, 3):
        sizes = dice.integers(3, 25, n)
        alone = np.round(-0.9 * sizes + dice.normal(0, 3, n) - 1, 2).clip(max=-0.5)
        after = np.round(alone + dice.normal(1, 4, n), 2).clip(max=-0.25)
        tables.append((after.tolist(), sizes.tolist(), alone.tolist()))
    tables.append(([-2.0, -2.0, -3.0, -2.0], [4, 4, 6, 4], [-3.0, -3.0, -5.0, -4.0]))  # ties
    for n in (3, 4, 5, 6, 4, 7, 3, 5):
        sizes, after, alone = dice.integers(2, 13, n), -dice.uniform(1, 20, n), -dice.uniform(1, 20, n)
        tables.append((np.round(after, 2).tolist(), sizes.tolist(), np.round(alone, 2).tolist()))
    tables.append(([-8.0, -2.0, -4.0], [8, 2, 4], [-9.0, -3.0, -5.0]))  # all rates and raises tie
    for table in tables:
        cases += [(*table, rule) for rule in ("sum", "byte", "alone")]
    return cases


BYTE = "scores = [a / size for a, size in zip(logprobs, sizes)]"
ALONE = "scores = [a - b for a, b in zip(logprobs, alone)]"
BEST = "return scores.index(max(scores))"
SIGN = "Which is likelier, an option with the log-probability −2 or one with −5?"
RAISE = "An option costs 14 nats alone and 9 after the question. By how much did the question help?"
EACH = "Of each option, which length divides it: its own, or one that all share?"
PICK = Exercise(
    cases=pick_cases,
    mutants=(
        Mutant("least", BEST, "return scores.index(min(scores))",
               "the option with the lowest score is chosen", SIGN),
        Mutant("size_of_number", BEST, "sizes_of = [abs(s) for s in scores]\n    return sizes_of.index(max(sizes_of))",
               "the signs are dropped, and the largest amount wins", SIGN),
        Mutant("last_of_ties", BEST,
               "return len(scores) - 1 - scores[::-1].index(max(scores))",
               "of options that tie, the last is chosen", "Which of several equal options does the statement ask for?"),
        Mutant("score_itself", BEST, "return max(scores)",
               "the score is returned instead of the option's number", "What is asked for: how good, or which?"),
        Mutant("from_one", BEST, "return scores.index(max(scores)) + 1",
               "options are counted from 1", "Which number does the first option have?"),
        Mutant("times_size", BYTE, BYTE.replace("a / size", "a * size"),
               "the log-probability is multiplied by the bytes", EACH),
        Mutant("upside_down", BYTE, BYTE.replace("a / size", "size / a"),
               "bytes are divided by the log-probability", EACH),
        Mutant("root_of_size", BYTE, BYTE.replace("a / size", "a / math.sqrt(size)"),
               "the log-probability is divided by the root of the bytes", EACH),
        Mutant("mean_size", BYTE, BYTE.replace("a / size", "a / (sum(sizes) / len(sizes))"),
               "the bytes of the single option play no part under the rule `byte`", EACH),
        Mutant("minus_size", BYTE, BYTE.replace("a / size", "a - size"),
               "the bytes are subtracted", EACH),
        Mutant("no_byte", 'rule == "byte"', 'rule == "bytes"',
               "the bytes of the single option play no part under the rule `byte`", EACH),
        Mutant("sum_always", "", """\
def pick(logprobs, sizes, alone, rule):
    return logprobs.index(max(logprobs))""",
               "the rule is ignored: the sum always decides", "Where does your function use the rule?"),
        Mutant("byte_always", "", """\
def pick(logprobs, sizes, alone, rule):
    scores = [a / size for a, size in zip(logprobs, sizes)]
    return scores.index(max(scores))""",
               "the rule is ignored: bytes always divide", "Where does your function use the rule?"),
        Mutant("alone_added", ALONE, ALONE.replace("a - b", "a + b"),
               "the log-probability alone is added", RAISE),
        Mutant("alone_reversed", ALONE, ALONE.replace("a - b", "b - a"),
               "the difference has the wrong sign: before minus after", RAISE),
        Mutant("alone_ratio", ALONE, ALONE.replace("a - b", "a / b"),
               "log-probabilities are divided instead of subtracted", RAISE),
        Mutant("alone_by_byte", ALONE, "scores = [(a - b) / size for a, b, size in zip(logprobs, alone, sizes)]",
               "the raise is divided by the bytes as well",
               "Does the rule `alone` say anything of length?"),
        Mutant("only_alone", ALONE, "scores = list(alone)",
               "the question plays no part: the option that is likeliest alone wins", RAISE),
        Mutant("probabilities", ALONE, "scores = [math.exp(a) - math.exp(b) for a, b in zip(logprobs, alone)]",
               "probabilities are subtracted instead of their logarithms", RAISE),
    ),
    variants=("""\
def pick(logprobs, sizes, alone, rule):
    against = {"sum": lambda i: logprobs[i], "byte": lambda i: logprobs[i] / sizes[i],
               "alone": lambda i: logprobs[i] - alone[i]}[rule]
    return max(range(len(logprobs)), key=against)""", """\
def pick(logprobs, sizes, alone, rule):
    after = np.array(logprobs)
    if rule == "byte":
        after = after / np.array(sizes)
    elif rule == "alone":
        after = after - np.array(alone)
    return int(after.argmax())""", """\
def pick(logprobs, sizes, alone, rule):
    best, number = None, None
    for i, (a, size, b) in enumerate(zip(logprobs, sizes, alone)):
        score = a if rule == "sum" else a / size if rule == "byte" else a - b
        if best is None or score > best:
            best, number = score, i
    return number""",
    ),
    properties=(
        Property(lambda i, logprobs, *rest: isinstance(i, (int, np.integer)) and 0 <= i < len(logprobs),
                 "The result is not the number of an option, counted from 0."),
    ),
    twin=pick_twin,
)  # fmt: skip


# 12.3


def split_twin(rng: random.Random) -> Question:
    """On which side of a split by time a document is."""
    cut, day = rng.randint(10, 90), 0
    day = cut + rng.choice([-3, -1, 0, 2, 5])
    copy = rng.random() < 0.5
    other = cut + rng.randint(1, 9)
    word = "test" if day >= cut else "dropped" if copy else "train"
    said = f" A document of day {other} has the same text." if copy else ""
    return Question(
        f"A corpus is split by time: what is of day {cut} or later is tested. A document is of day {day}.{said} On "
        "which side is it: test, train or dropped?", word,
        "The day alone decides on the test set; a training document whose text is tested goes.",
    )  # fmt: skip


def split_cases() -> list[tuple]:
    """Documents with a source, a day and texts that repeat, in every kind of split."""
    rng, cases = random.Random(123), []
    for n, seed in ((3, 1), (11, 2), (17, 3)):
        rng = random.Random(seed)
        documents = [{"id": f"{seed}-{rng.randint(0, 10**6)}", "source": rng.choice(["web", "books", "code"]),
                      "day": rng.randint(1, 9), "text": f"text {rng.randint(0, n)}"} for _ in range(n)]
        cases += [(documents, "time", documents[1]["day"]), (documents, "source", "web"), (documents, "document", 0.4),
                  (documents, "document", 0.15), (documents, "time", 10), (documents, "time", 0),
                  (documents, "source", "letters")]  # fmt: skip
    a, b, c = ({"id": i, "source": s, "day": d, "text": t} for i, s, d, t in
               (("a", "web", 3, "one"), ("b", "web", 5, "two"), ("c", "books", 1, "two")))
    cases += [([a, b, c], "time", 5), ([a, b, c], "source", "books"), ([], "time", 3)]
    apart = [b | {"id": "x", "text": "Two"}, c, a | {"day": 5, "text": "one "}, a]
    return [*cases, (apart, "time", 5), ([b, b | {"id": "d"}, c], "time", 5)]


LATER = 'test = [d["day"] >= value for d in documents]'
DRAWN = 'test = [held_out(d["id"], value) for d in documents]'
TESTED = 'tested = {d["text"] for d, is_in in zip(documents, test) if is_in}'
SIDES = 'sides.append("test" if is_in else "dropped" if copied else "train")'
FIRST_DAY = "On which side is a document of the very day that was named?"
OWN = "Add a document in front of all others. May any other one change its side?"
GIVES_WAY = "A text is on both sides. Which of the two do you want to keep, for an honest test?"
SPLIT_BY = Exercise(
    cases=split_cases,
    mutants=(
        Mutant("later_only", LATER, LATER.replace(">=", ">"),
               "documents of the first day of the test period are trained on", FIRST_DAY),
        Mutant("earlier", LATER, LATER.replace(">=", "<"),
               "the early documents are tested and the late ones trained on",
               "In use, does a model read text from before or from after its training?"),
        Mutant("same_day", LATER, LATER.replace(">=", "=="),
               "only documents of that one day are tested", FIRST_DAY),
        Mutant("by_place", DRAWN, "test = [held_out(str(i), value) for i, d in enumerate(documents)]",
               "the place in the list decides, not the document", OWN),
        Mutant("by_text", DRAWN, DRAWN.replace('d["id"]', 'd["text"]'),
               "the text is hashed instead of the id",
               "A document is cleaned in another way. Should it change its side?"),
        Mutant("last_share", DRAWN, "test = [i >= len(documents) * (1 - value) for i, d in enumerate(documents)]",
               "the last part of the list is held out", OWN),
        Mutant("default_share", DRAWN, DRAWN.replace(", value", ""),
               "the share that was asked for is ignored", "Where does your function use the value of this rule?"),
        Mutant("not_source", '== value for d in documents]\n    elif', '!= value for d in documents]\n    elif',
               "everything but the named source is tested", "Which source is to be unseen?"),
        Mutant("drops_from_test", TESTED,
               TESTED.replace("tested =", "trained =").replace("if is_in", "if not is_in")
               + "\n    tested = trained\n    return [(\"dropped\" if d[\"text\"] in tested else \"test\") "
               "if is_in else \"train\"\n            for d, is_in in zip(documents, test)]",
               "copies are taken out of the test, not out of training", GIVES_WAY),
        Mutant("no_copies", 'copied = d["text"] in tested', "copied = False",
               "copies of tested texts stay in training",
               "The same text stands on both sides under two ids. Has the model seen it?"),
        Mutant("drops_both", SIDES, 'sides.append("dropped" if sum(e["text"] == d["text"] for e in documents) > 1 '
               'and copied else "test" if is_in else "train")',
               "a text that occurs twice is dropped on both sides", GIVES_WAY),
        Mutant("any_double", SIDES, 'sides.append("test" if is_in else "dropped" if '
               'sum(e["text"] == d["text"] for e in documents) > 1 else "train")',
               "training texts that occur twice are dropped, whether they are tested or not",
               "Two copies, both in training: whom do they deceive?"),
        Mutant("copies_become_test", SIDES, 'sides.append("test" if is_in or copied else "train")',
               "copies of tested texts are moved into the test set",
               "A split by time promises something of each test document. Does an old copy keep the promise?"),
        Mutant("all_words_tested", SIDES, 'sides.append("test" if is_in else "dropped")',
               "nothing is left to train on", "What is in the training set, when no text occurs twice?"),
        Mutant("ids_compared", TESTED + '\n    sides = []\n    for d, is_in in zip(documents, test):\n'
               '        copied = d["text"] in tested',
               TESTED.replace('d["text"]', 'd["id"]') + '\n    sides = []\n    for d, is_in in zip(documents, test):\n'
               '        copied = d["id"] in tested',
               "copies are looked for by their ids", "Do two copies of one text have the same id?"),
        Mutant("loose_copies", TESTED + '\n    sides = []\n    for d, is_in in zip(documents, test):\n'
               '        copied = d["text"] in tested',
               TESTED.replace('d["text"]', 'd["text"].strip().lower()')
               + '\n    sides = []\n    for d, is_in in zip(documents, test):\n'
               '        copied = d["text"].strip().lower() in tested',
               "texts that differ in case or white space are taken for copies",
               "What does the statement call a copy: the same text, or nearly the same?"),
        Mutant("removed", "return sides", 'return [side for side in sides if side != "dropped"]',
               "dropped documents are left out of the result, so that the others lose their place",
               "How long is the result, compared with the list of documents?"),
    ),
    variants=("""\
def split_by(documents, rule, value):
    is_test = {"source": lambda d: d["source"] == value, "time": lambda d: d["day"] >= value,
               "document": lambda d: held_out(d["id"], value)}[rule]
    texts = {d["text"] for d in documents if is_test(d)}
    return ["test" if is_test(d) else ("train", "dropped")[d["text"] in texts] for d in documents]""", """\
def split_by(documents, rule, value):
    sides = []
    for d in documents:
        if rule == "source":
            yes = d["source"] == value
        elif rule == "time":
            yes = not d["day"] < value
        else:
            yes = held_out(d["id"], fraction=value)
        sides.append("test" if yes else "train")
    for i, d in enumerate(documents):
        if sides[i] == "train" and any(e["text"] == d["text"] and s == "test" for e, s in zip(documents, sides)):
            sides[i] = "dropped"
    return sides""", """\
def split_by(documents, rule, value):
    def chosen(d):
        if rule == "document":
            return held_out(d["id"], value)
        return d["source"] == value if rule == "source" else d["day"] >= value

    by_text = {}
    for d in documents:
        by_text.setdefault(d["text"], []).append(chosen(d))
    return ["test" if chosen(d) else "dropped" if True in by_text[d["text"]] else "train" for d in documents]""",
    ),
    properties=(
        Property(lambda sides, documents, *rest: len(sides) == len(documents),
                 "There is not one word for each document."),
        Property(lambda sides, documents, *rest: not {d["text"] for d, s in zip(documents, sides) if s == "train"}
                 & {d["text"] for d, s in zip(documents, sides) if s == "test"},
                 "A text is in training and in the test."),
    ),
    twin=split_twin,
)  # fmt: skip


# 12.4


def bootstrap_twin(rng: random.Random) -> Question:
    n, better, worse = rng.choice([100, 200, 400]), rng.randint(12, 30), rng.randint(2, 11)
    return Question(
        f"Of {n} questions, {better} are answered right by the second model alone and {worse} by the first alone. "
        "What is the standard error of the difference of their scores?",
        math.sqrt(better + worse - (better - worse) ** 2 / n) / n,
        f"√(b + c − (b − c)²/n)/n with b = {better} and c = {worse}; a paired bootstrap gives the same.", 0.03,
    )  # fmt: skip


def bootstrap_cases() -> list[tuple]:
    """Two models on the same questions, of which some are hard for both."""
    dice, cases = np.random.default_rng(124), []
    for n, draws, shift in ((6, 40, 0.1), (11, 75, 0.3), (23, 130, -0.2), (9, 60, 0.0)):
        hard = dice.random(n)
        first = (dice.random(n) > hard).astype(float)
        second = (dice.random(n) > hard - shift).astype(float)
        cases.append((first, second, dice.integers(n, size=(draws, n))))
    first, second = dice.normal(2, 1, 7), dice.normal(2.5, 1, 7)
    cases.append((first, second, dice.integers(7, size=(50, 7))))
    cases.append((np.array([0.0, 1, 1, 0]), np.array([1.0, 1, 1, 0]),
                  np.array([[0, 0, 0, 0], [1, 2, 3, 3], [0, 1, 2, 3]])))  # fmt: skip
    return cases


SUBTRACT = "difference = second - first"
DRAWS = "means = difference[draws].mean(axis=1)"
ENDS = "low, high = np.quantile(means, [0.025, 0.975])"
PER_DRAW = "How many pretended experiments are there, and how many numbers does each give?"
BOTH_ENDS = "Which part of the draws may lie outside, at both ends together?"
SAME = "When question 3 is drawn twice, for which of the two models does it count twice?"
BOOTSTRAP = Exercise(
    cases=bootstrap_cases,
    mutants=(
        Mutant("axis_0", DRAWS, DRAWS.replace("axis=1", "axis=0"),
               "each place is averaged over the draws, not each draw over its questions", PER_DRAW),
        Mutant("no_mean", DRAWS, "means = difference[draws].ravel()",
               "single questions are looked at instead of means of draws", PER_DRAW),
        Mutant("no_draws", DRAWS, "means = difference",
               "nothing is drawn: the quantiles are those of the single differences", PER_DRAW),
        Mutant("ninety", ENDS, ENDS.replace("0.025, 0.975", "0.05, 0.95"),
               "5 % are cut off at each end, so that 90 of 100 draws are left", BOTH_ENDS),
        Mutant("half", ENDS, ENDS.replace("0.025, 0.975", "0.25, 0.75"),
               "a quarter is cut off at each end", BOTH_ENDS),
        Mutant("one_sided", ENDS, ENDS.replace("0.025, 0.975", "0.0, 0.95"),
               "all 5 % are cut off at the upper end", BOTH_ENDS),
        Mutant("extremes", ENDS, "low, high = means.min(), means.max()",
               "the extreme draws are the ends", BOTH_ENDS),
        Mutant("first_mean", SUBTRACT, "difference = second - first.mean()",
               "the first model's mean is subtracted from the second's scores, so that nothing is paired", SAME),
        Mutant("both_means", SUBTRACT, "difference = second - second + second.mean() - first.mean()",
               "the means are subtracted before anything is drawn",
               "What varies from draw to draw, if every question has the same difference?"),
        Mutant("reversed", SUBTRACT, "difference = first - second",
               "first minus second", "Which sign has the result if the second model is better?"),
        Mutant("amounts", SUBTRACT, "difference = abs(second - first)",
               "the signs of the differences are lost", "Once the one is right, once the other. Is the second better?"),
        Mutant("second_only", SUBTRACT, "difference = second",
               "only the second model is looked at", "Where does your function use the first model?"),
        Mutant("not_paired", DRAWS, "means = second[draws].mean(axis=1) - first[draws[::-1]].mean(axis=1)",
               "the two models get different draws", SAME),
        Mutant("normal", ENDS,
               "middle, half = means.mean(), 1.96 * means.std()\n    low, high = middle - half, middle + half",
               "a bell curve is laid through the draws instead of counting them",
               "Are the draws of few questions symmetric about their middle?"),
        Mutant("swapped", "return float(low), float(high)", "return float(high), float(low)",
               "the ends have changed places", "In which order are they asked for?"),
        Mutant("width", "return float(low), float(high)", "return float(high - low)",
               "the width is returned instead of the two ends", "How many numbers are asked for?"),
    ),
    variants=("""\
def bootstrap_interval(first, second, draws):
    means = sorted(float((second[row] - first[row]).mean()) for row in draws)

    def quantile(share):
        place = share * (len(means) - 1)
        below = int(place)
        above = min(below + 1, len(means) - 1)
        return means[below] + (place - below) * (means[above] - means[below])

    return quantile(0.025), quantile(0.975)""", """\
def bootstrap_interval(first, second, draws):
    means = second[draws].mean(1) - first[draws].mean(1)
    return tuple(np.percentile(means, [2.5, 97.5]).tolist())""", """\
def bootstrap_interval(first, second, draws):
    counts = np.stack([np.bincount(row, minlength=len(first)) for row in draws])
    means = counts @ (second - first) / draws.shape[1]
    return np.quantile(means, 0.025), np.quantile(means, 0.975)""",
    ),
    properties=(
        Property(lambda ends, *rest: len(ends) == 2 and ends[0] <= ends[1],
                 "The lower end comes first, and is the lower."),
    ),
    twin=bootstrap_twin,
)  # fmt: skip


# 12.5


def needed_twin(rng: random.Random) -> Question:
    disagree, difference = rng.choice([0.1, 0.15, 0.2, 0.3, 0.4]), rng.choice([0.01, 0.02, 0.04, 0.05])
    z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    return Question(
        f"Two models disagree on {disagree:.0%} of the questions. About how many questions show a difference of "
        f"{difference}, with a power of 80 %?", z**2 * (disagree - difference**2) / difference**2,
        f"(1.96 + 0.84)² · ({disagree} − {difference}²) / {difference}².", 0.03,
    )  # fmt: skip


def needed_cases() -> list[tuple]:
    """Pilots of several sizes and shares of disagreement."""
    rng, cases = random.Random(125), []
    plans = ((10, 0.3, 0.1, 0.8), (37, 0.25, 0.05, 0.8), (50, 0.6, 0.03, 0.9), (23, 0.4, 0.2, 0.7),
             (64, 0.15, 0.01, 0.95), (18, 0.5, 0.3, 0.6), (29, 0.35, 0.15, 0.99))  # fmt: skip
    for n, flips, difference, power in plans:
        first = [int(rng.random() < 0.6) for _ in range(n)]
        second = [1 - a if rng.random() < flips else a for a in first]
        cases.append((first, second, difference, power))
    example = [1, 0, 1, 1, 0, 0, 1, 0, 1, 0], [1, 0, 0, 1, 0, 1, 1, 0, 1, 0]
    same = [1, 0, 1, 1, 0], [1, 0, 1, 1, 0]
    better = [0, 0, 1, 0, 1, 1, 0], [1, 0, 1, 1, 1, 1, 0]
    return [*cases, (*example, 0.1, 0.8), (*example, 0.05, 0.8), (*same, 0.1, 0.8), (*same, 0.5, 0.9),
            (*better, 0.05, 0.85), (*better[::-1], 0.4, 0.75), ([1], [0], 0.1, 0.8)]


SHARE = "disagree = sum(a != b for a, b in zip(first, second)) / len(first)"
FLOOR = "    disagree = max(disagree, difference)\n"
QUANTILES = "z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(power)"
PLAN = "return math.ceil(z**2 * (disagree - difference**2) / difference**2)"
ONLY_DISAGREE = "A question that both models get right: what does it say about which is better?"
FAR = "The truth lies 1.96 errors above zero. In what share of experiments is it seen?"
SQUARES = "A difference half as large: how many times as many questions?"
PROMISE = "14.2 questions would do exactly. Do 14?"
LITTLE = "In the pilot the models agree everywhere. Can they then still differ by 0.1 in the real test?"
ITEMS_NEEDED = Exercise(
    cases=needed_cases,
    mutants=(
        Mutant("from_scores", SHARE, "p = sum(first) / len(first)\n    q = sum(second) / len(second)\n"
               "    disagree = p * (1 - p) + q * (1 - q)",
               "the models are treated as if each had questions of its own", ONLY_DISAGREE),
        Mutant("score", SHARE, "disagree = sum(second) / len(second)",
               "the second model's score stands for the share of disagreement", ONLY_DISAGREE),
        Mutant("agreement", SHARE, SHARE.replace("!=", "=="),
               "the share of agreement is taken", ONLY_DISAGREE),
        Mutant("one_way", SHARE, SHARE.replace("a != b", "b > a"),
               "only questions that the second model wins are counted",
               "Do losses of the second model vary the difference?"),
        Mutant("pilot_difference", SHARE, SHARE + "\n    difference = abs(sum(second) - sum(first)) / len(first) or "
               "difference",
               "the difference that the pilot shows is planned with",
               "Which difference do you want to be able to see: this one, or the one that you named?"),
        Mutant("count", SHARE, SHARE.replace(" / len(first)", ""),
               "a number of questions stands for a share", "In which range does a share lie?"),
        Mutant("no_floor", FLOOR, "",
               "a pilot without enough disagreement leads to a variance of zero or less", LITTLE),
        Mutant("added_floor", FLOOR, "    disagree = disagree + difference\n",
               "the difference is added to the share of disagreement", LITTLE),
        Mutant("no_power", " + NormalDist().inv_cdf(power)", "",
               "the power is left out: the true difference lies on the line itself", FAR),
        Mutant("one_sided", "inv_cdf(0.975)", "inv_cdf(0.95)",
               "the limit is that of 90 of 100, not of 95", "How many standard errors does the statement call seeing?"),
        Mutant("two_sigma", "NormalDist().inv_cdf(0.975)", "2.0",
               "two standard errors stand for 1.96", "Which quantile does the statement ask for, exactly?"),
        Mutant("power_from_other_end", "inv_cdf(power)", "inv_cdf(1 - power)",
               "the quantile of the power has the wrong sign", FAR),
        Mutant("power_halved", "inv_cdf(power)", "inv_cdf((1 + power) / 2)",
               "the power is treated as two-sided", "On how many sides of zero is the experiment a success?"),
        Mutant("z_not_squared", "z**2 *", "z *",
               "the quantiles are not squared", SQUARES),
        Mutant("squares_of_each", QUANTILES, "z = math.hypot(NormalDist().inv_cdf(0.975), NormalDist().inv_cdf(power))",
               "the two quantiles are squared and added, instead of added and squared", FAR),
        Mutant("difference_once", "/ difference**2)", "/ difference)",
               "the difference is not squared", SQUARES),
        Mutant("no_mean_square", "(disagree - difference**2)", "disagree",
               "the square of the mean is not subtracted from the mean of squares",
               "What is the variance, if the second model wins every single question?"),
        Mutant("both_models", PLAN, PLAN.replace("z**2 *", "2 * z**2 *"),
               "the variance is counted once for each model", ONLY_DISAGREE),
        Mutant("rounded_down", "math.ceil", "math.floor",
               "the number is rounded down", PROMISE),
        Mutant("rounded", "math.ceil", "round",
               "the number is rounded to the nearest", PROMISE),
        Mutant("fraction", "math.ceil(z**2 * (disagree - difference**2) / difference**2)",
               "z**2 * (disagree - difference**2) / difference**2",
               "a fraction of a question is returned", PROMISE),
    ),
    variants=("""\
def items_needed(first, second, difference, power):
    apart = np.abs(np.array(second) - np.array(first)).mean()
    share = max(float(apart), difference)
    reach = NormalDist().inv_cdf(0.975) - NormalDist().inv_cdf(1 - power)
    return int(np.ceil((reach / difference) ** 2 * (share - difference**2)))""", """\
def items_needed(first, second, difference, power):
    changed = [a ^ b for a, b in zip(first, second)]
    variance = max(sum(changed) / len(changed), difference) - difference**2
    errors = sum(NormalDist().inv_cdf(q) for q in (0.975, power))
    n = 1
    while n * difference**2 < errors**2 * variance:
        n *= 2
    low, high = n // 2, n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle * difference**2 < errors**2 * variance else (low, middle)
    return high""", """\
def items_needed(first, second, difference, power):
    wins = sum(b > a for a, b in zip(first, second))
    losses = sum(b < a for a, b in zip(first, second))
    spread = math.sqrt(max((wins + losses) / len(first), difference) - difference * difference)
    z = NormalDist(0, spread)
    return math.ceil(((z.inv_cdf(0.975) + z.inv_cdf(power)) / difference) ** 2)""",
    ),
    properties=(
        Property(lambda n, *rest: isinstance(n, (int, np.integer)) and n >= 1,
                 "The result is no whole number of questions."),
    ),
    twin=needed_twin,
)  # fmt: skip


# 12.6


def gain_twin(rng: random.Random) -> Question:
    inside, outside = rng.randint(8, 20), rng.randint(1, 7)
    return Question(
        f"A contaminated model beats a clean one by 0.{inside:02} on planted questions and by 0.{outside:02} on "
        "others. What were the copies worth?", (inside - outside) / 100,
        "What helped the others as well was not the copies: subtract it.", 0.001,
    )  # fmt: skip


def gain_cases() -> list[tuple]:
    """Planted questions that are easier than the others by themselves, and gains of both signs."""
    dice, cases = np.random.default_rng(126), []
    plans = ((9, 4, 0.5, 0.9, 0.1), (20, 7, 0.4, 0.3, 0.0), (40, 15, 0.5, 0.0, 0.0), (31, 22, 0.6, 0.9, 0.3),
             (50, 18, 0.3, -0.3, 0.2), (80, 33, 0.5, 0.15, 0.05), (26, 5, 0.5, 0.1, -0.3))  # fmt: skip
    for n, inside, p, gain, other in plans:
        planted = np.zeros(n, bool)
        planted[dice.permutation(n)[:inside]] = True
        easy = p + 0.15 * planted
        clean = (dice.random(n) < easy).astype(float)
        dirty = (dice.random(n) < easy + np.where(planted, gain, other)).astype(float)
        cases.append((clean, dirty, planted))
    cases.append((np.array([0.0, 0, 1, 1, 0, 1]), np.array([1.0, 1, 1, 1, 0, 0]),
                  np.array([True, True, True, False, False, False])))  # fmt: skip
    clean = np.array([0.0, 0, 0, 1, 0, 1, 0])
    cases.append((clean, np.array([1.0, 1, 1, 1, 0, 1, 0]), np.array([True, True, True, False, False, False, False])))
    cases.append((clean, clean.copy(), np.array([True, False, True, False, False, True, False])))
    cases.append((np.array([1.0, 1, 1, 0, 0]), np.array([0.0, 0, 0, 0, 0]), np.array([True, True, True, False, False])))
    return cases


APART = "difference = dirty - clean"
GROUPS = "inside, outside = difference[planted], difference[~planted]"
GAIN = "gain = inside.mean() - outside.mean()"
ERROR = "error = math.sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside))"
JUDGE = "if abs(gain) > 1.96 * error:"
CONTROL = "What did the contaminated text do to questions that were not in it?"
ADD = "Two independent means are subtracted. What becomes of their variances?"
TURNED = "Put in a model that the copies have helped: which sign has your gain?"
OWN_N = "By how many questions is each group's mean averaged?"
PLANTED_GAIN = Exercise(
    cases=gain_cases,
    mutants=(
        Mutant("no_control", GAIN, "gain = inside.mean()",
               "what helps all questions alike is counted as the copies' work", CONTROL),
        Mutant("no_clean", APART, "difference = dirty - 0 * clean",
               "the contaminated model alone is looked at, so that easier questions look like a gain",
               "Would the planted questions have been easier anyway?"),
        Mutant("all_questions", GAIN, "gain = difference.mean()",
               "the gain on all questions is taken", CONTROL),
        Mutant("minus_all", GAIN, "gain = inside.mean() - difference.mean()",
               "the planted questions are compared with all, themselves included", CONTROL),
        Mutant("added", GAIN, "gain = inside.mean() + outside.mean()",
               "the two differences are added", CONTROL),
        Mutant("clean_minus_dirty", APART, "difference = clean - dirty",
               "something is subtracted the wrong way round, so that a gain comes out negative", TURNED),
        Mutant("groups_swapped", GROUPS, "inside, outside = difference[~planted], difference[planted]",
               "something is subtracted the wrong way round, so that a gain comes out negative", TURNED),
        Mutant("sums", GAIN, "gain = inside.sum() - outside.sum()",
               "sums stand for means", OWN_N),
        Mutant("biased", ERROR, ERROR.replace("ddof=1", "ddof=0"),
               "the variances are divided by n instead of n − 1",
               "By what is a sum of squares divided in an estimate?"),
        Mutant("no_root", ERROR, ERROR.replace("math.sqrt(", "("),
               "the error is a variance", "In which unit is a standard error?"),
        Mutant("errors_added", ERROR, "error = inside.std(ddof=1) / math.sqrt(len(inside)) + outside.std(ddof=1) / "
               "math.sqrt(len(outside))",
               "standard errors are added instead of variances", ADD),
        Mutant("variances_subtracted", ERROR,
               "error = math.sqrt(abs(inside.var(ddof=1) / len(inside) - outside.var(ddof=1) / len(outside)))",
               "the variances are subtracted, as the means are", ADD),
        Mutant("inside_only", ERROR, "error = math.sqrt(inside.var(ddof=1) / len(inside))",
               "only the planted questions are taken to be uncertain", ADD),
        Mutant("all_n", ERROR, "error = math.sqrt((inside.var(ddof=1) + outside.var(ddof=1)) / len(difference))",
               "both variances are divided by the number of all questions", OWN_N),
        Mutant("of_all", ERROR, "error = difference.std(ddof=1) / math.sqrt(len(difference))",
               "one spread over all questions stands for those of the groups", OWN_N),
        Mutant("not_divided", ERROR, "error = math.sqrt(inside.var(ddof=1) + outside.var(ddof=1))",
               "the spread of single questions stands for that of means", OWN_N),
        Mutant("unpaired", ERROR, "error = math.sqrt(sum(x[g].var(ddof=1) / g.sum() for x in (clean, dirty) "
               "for g in (planted, ~planted)))",
               "the two models are treated as if they had been asked different questions",
               "What do the two models have in common on one question?"),
        Mutant("any_gain", JUDGE, "if gain != 0:",
               "every difference is judged to be real", "How large does the statement say a gain must be?"),
        Mutant("one_error", JUDGE, "if abs(gain) > error:",
               "one standard error is enough for a verdict", "How many errors does the statement ask for?"),
        Mutant("only_gains", JUDGE, "if gain > 1.96 * error:",
               "a loss is never found", "What if the copies have made it worse?"),
        Mutant("always_gain", 'verdict = "gain" if gain > 0 else "loss"', 'verdict = "gain"',
               "a loss is called a gain", "What if the copies have made it worse?"),
    ),
    variants=("""\
def planted_gain(clean, dirty, planted):
    means, variances = [], []
    for group in (planted, np.logical_not(planted)):
        d = (dirty - clean)[group]
        means.append(d.mean())
        variances.append(((d - d.mean()) ** 2).sum() / (len(d) - 1) / len(d))
    gain, error = float(means[0] - means[1]), float(np.sqrt(sum(variances)))
    return gain, error, "gain" if gain > 1.96 * error else "loss" if gain < -1.96 * error else "cannot tell"
""", """\
def planted_gain(clean, dirty, planted):
    inside = [b - a for a, b, p in zip(clean.tolist(), dirty.tolist(), planted.tolist()) if p]
    outside = [b - a for a, b, p in zip(clean.tolist(), dirty.tolist(), planted.tolist()) if not p]
    mean = lambda x: sum(x) / len(x)
    square = lambda x: sum((v - mean(x)) ** 2 for v in x) / (len(x) - 1) / len(x)
    gain, error = mean(inside) - mean(outside), math.sqrt(square(inside) + square(outside))
    if gain - 1.96 * error > 0:
        return gain, error, "gain"
    if gain + 1.96 * error < 0:
        return gain, error, "loss"
    return gain, error, "cannot tell"
""", """\
def planted_gain(clean, dirty, planted):
    gain = (dirty[planted].mean() - clean[planted].mean()) - (dirty[~planted].mean() - clean[~planted].mean())
    d = dirty - clean
    error = np.hypot(d[planted].std(ddof=1) / planted.sum() ** 0.5, d[~planted].std(ddof=1) / (~planted).sum() ** 0.5)
    words = ("loss", "cannot tell", "gain")
    return float(gain), float(error), words[1 + int(np.sign(gain)) * bool(abs(gain) > 1.96 * error)]
""",
    ),
    properties=(
        Property(lambda found, *rest: len(found) == 3 and found[1] >= 0,
                 "The second of three numbers is an error, not below 0."),
        Property(lambda found, *rest: (found[2] == "cannot tell") == (not abs(found[0]) > 1.96 * found[1]),
                 "The verdict does not follow from the gain and the error."),
    ),
    twin=gain_twin,
)  # fmt: skip


# 12.7


def signal_twin(rng: random.Random) -> Question:
    low, apart, s1, s2 = rng.randint(40, 70), rng.randint(2, 15), rng.randint(1, 4), rng.randint(5, 9)
    return Question(
        f"Two designs score 0.{low} and {(low + apart) / 100:.2f} on average; their seeds have standard deviations of "
        f"0.0{s1} and 0.0{s2}. What is the ratio of signal to noise?", apart / math.sqrt((s1**2 + s2**2) / 2),
        f"0.{apart:02} divided by the root of the mean of the two variances.", 0.01,
    )  # fmt: skip


def signal_cases() -> list[tuple]:
    """Seeds and checkpoints of two designs, with noise of either kind."""
    dice, cases = np.random.default_rng(127), []
    for s1, s2, k, apart, seed, wobble in ((3, 4, 5, 0.1, 0.03, 0.02), (5, 2, 3, -0.2, 0.02, 0.08),
                                           (4, 7, 6, 0.02, 0.05, 0.01), (6, 3, 2, 0.3, 0.1, 0.1),
                                           (2, 5, 1, 0.05, 0.04, 0.0)):  # fmt: skip
        worse = 0.5 + seed * dice.normal(size=(s1, 1)) + wobble * dice.normal(size=(s1, k))
        better = 0.5 + apart + 2 * seed * dice.normal(size=(s2, 1)) + wobble * dice.normal(size=(s2, k))
        cases.append((worse, better))
    cases.append((np.array([[0.5, 0.5], [0.7, 0.5]]), np.array([[0.7, 0.7], [0.7, 0.9]])))
    same = np.full((3, 4), 0.25)
    return [*cases, (same, same[:2] + 0.5), (same, same[:2].copy()), (same, dice.normal(size=(2, 4)))]


SIGNAL = "signal = abs(high.mean() - low.mean())"
NOISE = "noise = math.sqrt((low.var(ddof=1) + high.var(ddof=1)) / 2)"
RATIO = "ratio = signal / noise if noise > 0 else math.inf if signal > 0 else 0.0"
ROOT = "Variances 1 and 9: what is the root of their mean, and what the mean of their roots?"
ONE_RUN = "What varies here: a single run, or the mean of several?"
NONE = "All seeds of a design end at the same score. Is that a bad probe, or a perfect one?"
SIGNAL_TO_NOISE = Exercise(
    cases=signal_cases,
    mutants=(
        Mutant("signed", SIGNAL, "signal = high.mean() - low.mean()",
               "the signal has a sign", "Does it matter to the use of a probe, which way it is read?"),
        Mutant("best", SIGNAL, "signal = abs(high.max() - low.max())",
               "the best seeds are compared",
               "You run more seeds. What becomes of the best one, and what of the mean?"),
        Mutant("farthest", SIGNAL, "signal = max(high.max() - low.min(), low.max() - high.min())",
               "the seeds that are farthest apart are compared",
               "You run more seeds. What becomes of the largest distance?"),
        Mutant("median", SIGNAL, "signal = abs(np.median(high) - np.median(low))",
               "medians stand for means", "What does the statement say is apart?"),
        Mutant("relative", SIGNAL, "signal = abs(high.mean() - low.mean()) / low.mean()",
               "the signal is divided by the score", "In which unit is the noise?"),
        Mutant("biased", NOISE, NOISE.replace("ddof=1", "ddof=0"),
               "the variances are divided by the number of seeds instead of one less",
               "By what is a sum of squares divided in an estimate?"),
        Mutant("mean_of_deviations", NOISE, "noise = (low.std(ddof=1) + high.std(ddof=1)) / 2",
               "standard deviations are averaged instead of variances", ROOT),
        Mutant("variance", NOISE, "noise = (low.var(ddof=1) + high.var(ddof=1)) / 2",
               "the noise is a variance", "In which unit is the signal, and in which a variance?"),
        Mutant("added", NOISE, "noise = math.sqrt(low.var(ddof=1) + high.var(ddof=1))",
               "the variances are added up and not averaged",
               "Is the noise that of one run, or that of a difference of two?"),
        Mutant("pooled", NOISE, "noise = np.concatenate([low, high]).std(ddof=1)",
               "all runs are thrown together, so that the signal is in the noise as well",
               "Two designs far apart, each without noise: what should the noise be?"),
        Mutant("weighted", NOISE, "noise = math.sqrt((low.var(ddof=0) * len(low) + high.var(ddof=0) * len(high)) / "
               "(len(low) + len(high) - 2))",
               "the design with more seeds weighs more", "How does the statement weigh the two designs?"),
        Mutant("only_worse", NOISE, "noise = low.std(ddof=1)",
               "the noise is that of one design alone", "How does the statement weigh the two designs?"),
        Mutant("only_better", NOISE, "noise = high.std(ddof=1)",
               "the noise is that of one design alone", "How does the statement weigh the two designs?"),
        Mutant("of_means", NOISE, "noise = math.sqrt((low.var(ddof=1) / len(low) + high.var(ddof=1) / len(high)) / 2)",
               "the noise is that of a mean over seeds, so that it shrinks with every seed you run", ONE_RUN),
        Mutant("larger", NOISE, "noise = max(low.std(ddof=1), high.std(ddof=1))",
               "the noisier design decides", "How does the statement weigh the two designs?"),
        Mutant("over_checkpoints", NOISE,
               "noise = math.sqrt((worse.var(axis=1, ddof=min(1, worse.shape[1] - 1)).mean() + "
               "better.var(axis=1, ddof=min(1, better.shape[1] - 1)).mean()) / 2)",
               "the wobble over checkpoints is taken for the noise of seeds",
               "A seed moves all checkpoints of a run together. Is that in your noise?"),
        Mutant("inverted", "signal / noise if noise > 0", "noise / signal if signal > 0 and noise > 0",
               "noise is divided by signal", "Which of two probes with these ratios would you rather have?"),
        Mutant("zero", RATIO, "ratio = signal / noise if noise > 0 else 0.0",
               "a probe without any noise is called useless", NONE),
        Mutant("always_inf", RATIO, "ratio = signal / noise if noise > 0 else math.inf",
               "without noise the ratio is infinite, even if there is no signal", "Two designs score the same, always. "
               "Does the probe tell them apart?"),
        Mutant("eps", RATIO, "ratio = signal / (noise + 1e-3)",
               "a small number is added to the noise", NONE),
        Mutant("squared", RATIO, "ratio = (signal / noise) ** 2 if noise > 0 else math.inf if signal > 0 else 0.0",
               "the ratio is squared", "How many standard deviations are the designs apart?"),
    ),
    variants=("""\
def signal_to_noise(worse, better):
    def ratio(a, b):
        apart, spread = abs(a.mean() - b.mean()), np.sqrt(np.mean([a.var(ddof=1), b.var(ddof=1)]))
        if spread == 0:
            return 0.0 if apart == 0 else float("inf")
        return float(apart / spread)

    return ratio(worse[:, -1], better[:, -1]), ratio(worse.mean(1), better.mean(1))""", """\
def signal_to_noise(worse, better):
    found = []
    for columns in (slice(-1, None), slice(None)):
        ends = [[sum(row) / len(row) for row in scores[:, columns].tolist()] for scores in (worse, better)]
        means = [sum(e) / len(e) for e in ends]
        variances = [sum((x - m) ** 2 for x in e) / (len(e) - 1) for e, m in zip(ends, means)]
        signal, noise = abs(means[1] - means[0]), math.sqrt(sum(variances) / 2)
        found.append(signal / noise if noise else (math.inf if signal else 0.0))
    return found""", """\
def signal_to_noise(worse, better):
    ratios = []
    for low, high in ((worse[:, -1], better[:, -1]), (worse.mean(axis=1), better.mean(axis=1))):
        noise = np.hypot(low.std(ddof=1), high.std(ddof=1)) / math.sqrt(2)
        signal = max(high.mean() - low.mean(), low.mean() - high.mean())
        ratios.append(signal / noise if noise > 0 else (0.0, math.inf)[bool(signal > 0)])
    return tuple(ratios)""",
    ),
    properties=(
        Property(lambda pair, *rest: len(pair) == 2 and all(x >= 0 for x in pair), "A ratio must not be below 0."),
    ),
    twin=signal_twin,
)  # fmt: skip


# 12.8


def clustered_twin(rng: random.Random) -> Question:
    texts, each = rng.choice([20, 30, 40, 50, 80]), rng.choice([2, 3, 4, 5, 8])
    return Question(
        f"A test has {texts} texts with {each} questions each, and a model answers all questions of a text alike. How "
        "many independent questions is the test worth?", texts,
        f"One for each text: the {texts * each} answers hold {texts} independent observations.",
    )  # fmt: skip


def clustered_cases() -> list[tuple]:
    """Questions in clusters of many sizes, shuffled."""
    rng, cases = random.Random(128), []
    for sizes in ((1, 1, 1, 1, 1), (2, 3, 1), (5, 1, 4, 2, 7), (3, 3, 3, 3), (9, 2), (1, 6, 1, 2, 1, 1, 3)):
        groups = [f"t{i}" for i, size in enumerate(sizes) for _ in range(size)]
        level = {g: rng.random() for g in groups}
        scores = [float(rng.random() < level[g]) for g in groups]
        if len(set(scores)) == 1:
            scores[0] = 1 - scores[0]
        order = list(range(len(groups)))
        rng.shuffle(order)
        cases.append(([scores[i] for i in order], [groups[i] for i in order]))
    cases.append(([1, 1, 0, 0], ["a", "b", "c", "d"]))
    cases.append(([1, 1, 0, 0], ["a", "a", "b", "b"]))
    cases.append(([1, 0, 1, 0], ["a", "a", "b", "b"]))
    cases.append(([0.3, 2.5, -1.0, 0.0, 4.0, 1.5], [2, 7, 2, 2, 7, 5]))
    cases.append(([1, 1, 1, 1, 1], ["a", "b", "a", "b", "a"]))
    return cases


MEAN = "mean, sums = sum(scores) / len(scores), {}"
COLLECT = "sums[group] = sums.get(group, 0.0) + value - mean"
SQUARED = "squares = sum(total**2 for total in sums.values())"
CORRECT = "correction = len(sums) / (len(sums) - 1)"
CLUSTER = "return math.sqrt(squares * correction) / len(scores)"
INDEPENDENT = "Which things are independent: the questions, or the texts? And which ones do you square?"
WEIGHT = "A text with nine questions and one with two: do they weigh the same in the mean score?"
FEW = "With two texts only, how many independent deviations from the mean are there?"
ROUGH = "Every question is a group of its own. Do you get s/√n?"
CLUSTERED_ERROR = Exercise(
    cases=clustered_cases,
    mutants=(
        Mutant("ignored", "", """\
def clustered_error(scores, groups):
    mean = sum(scores) / len(scores)
    return math.sqrt(sum((s - mean) ** 2 for s in scores) / (len(scores) - 1) / len(scores))""",
               "the groups are ignored, as if all questions were independent", INDEPENDENT),
        Mutant("squared_first", COLLECT, "sums[group] = sums.get(group, 0.0) + (value - mean) ** 2",
               "deviations are squared before they are added up within a group", INDEPENDENT),
        Mutant("amounts", COLLECT, "sums[group] = sums.get(group, 0.0) + abs(value - mean)",
               "signs are dropped within a group", "A text has one right answer and one wrong. Do they not cancel?"),
        Mutant("group_means", "", """\
def clustered_error(scores, groups):
    by = {}
    for value, group in zip(scores, groups):
        by.setdefault(group, []).append(value)
    means = [sum(v) / len(v) for v in by.values()]
    return float(np.std(means, ddof=1) / math.sqrt(len(means)))""",
               "groups are averaged first, and all averages weigh the same", WEIGHT),
        Mutant("own_means", "", """\
def clustered_error(scores, groups):
    by = {}
    for value, group in zip(scores, groups):
        by.setdefault(group, []).append(value)
    squares = sum(sum((x - sum(v) / len(v)) ** 2 for x in v) for v in by.values())
    return math.sqrt(squares * len(by) / (len(by) - 1)) / len(scores)""",
               "deviations are taken from each group's own mean",
               "A model understands one text and not another. Where is that, if each text is compared with itself?"),
        Mutant("no_mean", COLLECT, "sums[group] = sums.get(group, 0.0) + value",
               "the mean is not subtracted", "All scores are 1. How uncertain is their mean?"),
        Mutant("mean_of_groups", MEAN, MEAN.replace("sum(scores) / len(scores)",
               "sum(sum(s for s, g in zip(scores, groups) if g == h) / groups.count(h) for h in set(groups)) / "
               "len(set(groups))"),
               "the mean of the groups' means is subtracted, not that of all scores", WEIGHT),
        Mutant("last_of_group", COLLECT, "sums[group] = value - mean",
               "only the last question of each group is kept", INDEPENDENT),
        Mutant("neighbours", "for value, group in zip(scores, groups):",
               "run, before = 0, None\n    for value, name in zip(scores, groups):\n        run += name != before\n"
               "        before, group = name, run",
               "only questions that stand next to each other are taken together",
               "The questions are shuffled. Should the error change?"),
        Mutant("no_correction", CORRECT, "correction = 1.0",
               "the correction for few groups is left out", FEW),
        Mutant("correction_of_items", CORRECT, "correction = len(scores) / (len(scores) - 1)",
               "the correction counts questions instead of groups", FEW),
        Mutant("correction_upside_down", CORRECT, "correction = (len(sums) - 1) / len(sums)",
               "the correction makes the error smaller", FEW),
        Mutant("correction_outside", CLUSTER, "return math.sqrt(squares) * correction / len(scores)",
               "the correction stands outside the root", ROUGH),
        Mutant("over_groups", CLUSTER, "return math.sqrt(squares * correction) / len(sums)",
               "the sum is divided by the number of groups", "Of how many numbers is the mean score the mean?"),
        Mutant("over_root", CLUSTER, "return math.sqrt(squares * correction / len(scores))",
               "the number of questions stands under the root", ROUGH),
        Mutant("no_root", CLUSTER, "return squares * correction / len(scores) ** 2",
               "the error is a variance", "In which unit is a standard error?"),
        Mutant("not_divided", CLUSTER, "return math.sqrt(squares * correction)",
               "the error is that of the sum, not of the mean", "Of how many numbers is the mean score the mean?"),
        Mutant("sum_squared", SQUARED, "squares = sum(sums.values()) ** 2",
               "the group sums are added up before they are squared", INDEPENDENT),
        Mutant("divided_by_size", SQUARED,
               "squares = sum(total**2 / groups.count(group) for group, total in sums.items())",
               "each group's square is divided by its size", ROUGH),
        Mutant("interval", CLUSTER, "return 1.96 * math.sqrt(squares * correction) / len(scores)",
               "the half-width of an interval is returned", "What was asked for: the error, or an interval?"),
    ),
    variants=("""\
def clustered_error(scores, groups):
    off = np.array(scores, float) - np.mean(scores)
    names = np.array([str(g) for g in groups])
    totals = np.array([off[names == name].sum() for name in sorted(set(names.tolist()))])
    return float(np.sqrt((totals**2).sum() * len(totals) / (len(totals) - 1)) / len(off))""", """\
def clustered_error(scores, groups):
    n, mean = len(scores), sum(scores) / len(scores)
    covariance = sum((scores[i] - mean) * (scores[j] - mean)
                     for i in range(n) for j in range(n) if groups[i] == groups[j])
    many = len(set(groups))
    return math.sqrt(max(covariance, 0.0) / n**2 * many / (many - 1))""", """\
def clustered_error(scores, groups):
    from collections import defaultdict
    total, size = defaultdict(float), defaultdict(int)
    for s, g in zip(scores, groups):
        total[g] += s
        size[g] += 1
    mean = sum(total.values()) / sum(size.values())
    parts = [(total[g] - size[g] * mean) / len(scores) for g in total]
    G = len(parts)
    return math.hypot(*parts) * math.sqrt(G / (G - 1))""",
    ),
    properties=(
        Property(lambda error, *rest: error >= 0, "A standard error must not be below 0."),
        Property(lambda error, scores, groups: len(set(scores)) > 1 or error < 1e-9,
                 "All scores are equal, and yet their mean is uncertain."),
    ),
    twin=clustered_twin,
)  # fmt: skip


EXERCISES = {
    "least_hits": LEAST_HITS,
    "pick": PICK,
    "split_by": SPLIT_BY,
    "bootstrap_interval": BOOTSTRAP,
    "items_needed": ITEMS_NEEDED,
    "planted_gain": PLANTED_GAIN,
    "signal_to_noise": SIGNAL_TO_NOISE,
    "clustered_error": CLUSTERED_ERROR,
}


# Questions to come back to


def coin(rng: random.Random) -> Question:
    n = rng.choice([25, 36, 49, 64, 100, 144, 225, 400, 900]) + rng.randint(0, 3)
    return Question(
        f"A coin answers {n} minimal pairs. What is the standard deviation of its score?", 0.5 / math.sqrt(n),
        f"The root of 1/2 · 1/2, divided by √{n}.", 0.02,
    )  # fmt: skip


def all_right(rng: random.Random) -> Question:
    n = rng.randint(5, 60)
    return Question(
        f"A model gets {n} of {n} questions right. What is the lower end of Wilson's 95 % interval?", n / (n + 1.96**2),
        "With a share of 1 the roots are 1 and n/(n + z²), z = 1.96.", 0.01,
    )  # fmt: skip


def half_the_difference(rng: random.Random) -> Question:
    n, times = 100 * rng.randint(2, 30), rng.choice([2, 3, 4, 5, 10])
    return Question(
        f"{n:,} questions show a difference of 0.1. About how many show one that is {times} times smaller?",
        n * times**2,
        f"The error falls as 1/√n: {times}² times as many.", 0.01,
    )  # fmt: skip


def copies_of_items(rng: random.Random) -> Question:
    times, n = rng.choice([2, 3, 4, 9, 16]), 10 * rng.randint(5, 90)
    return Question(
        f"Somebody copies each of {n} questions {times} times and treats all as independent. By which factor is the "
        "standard error too small?", math.sqrt(times), f"√{times}: nothing new was asked.", 0.01,
    )  # fmt: skip


def doubly_different(rng: random.Random) -> Question:
    a, b, c, d = (rng.randint(50, 69), rng.randint(70, 95), rng.randint(50, 69), rng.randint(60, 80))
    return Question(
        f"Planted questions: clean 0.{a}, contaminated 0.{b}. Others: clean 0.{c}, contaminated 0.{d}. What were the "
        "copies worth?", (b - a - d + c) / 100, "The difference on the planted ones, minus that on the others.", 0.001,
    )  # fmt: skip


def by_bytes(rng: random.Random) -> Question:
    size, nats = rng.randint(3, 30), rng.randint(4, 40)
    return Question(
        f"An option of {size} bytes has the log-probability −{nats} nats. What is its score byte for byte?",
        -nats / size,
        "Divided by its own bytes.", 0.01,
    )  # fmt: skip


def disagreement(rng: random.Random) -> Question:
    n, b, c = 100 * rng.randint(1, 9), rng.randint(15, 40), rng.randint(3, 14)
    return Question(
        f"Of {n} questions one model alone gets {b} right, the other alone {c}. What is the standard error of the "
        "difference of their scores?", math.sqrt(b + c - (b - c) ** 2 / n) / n,
        "√(b + c − (b − c)²/n)/n: questions on which they agree do not enter.", 0.02,
    )  # fmt: skip


def of_a_range(rng: random.Random) -> Question:
    """Whether the difference of two single runs is beyond their noise."""
    apart, sd = rng.randint(2, 12), rng.randint(2, 9)
    ratio = apart / (math.sqrt(2) * sd)
    word = "yes" if ratio > 1.96 else "no"
    return Question(
        f"One run of each of two recipes: the scores differ by 0.0{apart:02}. Runs of the same recipe have a standard "
        f"deviation of 0.00{sd}. Is the difference larger than 1.96 standard errors of a difference? (yes or no)", word,
        f"A difference of two runs varies by √2 · 0.00{sd}; this one is {ratio:.2f} times as large.",
    )  # fmt: skip


RECALL = (coin, all_right, half_the_difference, copies_of_items, doubly_different, by_bytes, disagreement, of_a_range)
PREDICTIONS = {
    "12.p1": Prediction(
        "A coin answers 30 minimal pairs. How far from 0.5 do 95 of 100 of its scores lie, at most?",
        lambda: 1.96 * math.sqrt(0.25 / 30),
        "The standard deviation of a share is √(p(1 − p)/n), here 0.09, and 95 of 100 lie within 1.96 of these.",
        0.15,
    ),
    "12.p2": Prediction(
        "A model that knows no answers has a favourite letter. The right option is always put at that letter. What "
        "does it score?",
        None,
        "It goes on choosing its favourite letter nearly always, and is nearly always right.",
        0.15,
    ),
    "12.p3": Prediction(
        "Which share of planted sentences does a search for runs of 13 or 8 words find?",
        None,
        "It finds the sentences of eight words and more, and not one of the shorter ones.",
        0.25,
    ),
    "12.p4": Prediction(
        "To see a difference half as large, how many times as many questions do you need, about?",
        lambda: 4.0,
        "The standard error falls as one over the root of their number.",
    ),
    "12.p5": Prediction(
        "What happened in the run of exhibit 1? (val_in_train, duplicated_data, eval_in_train_mode, "
        "tokenizer_mismatch, unshuffled or future_leak)",
        lambda: "val_in_train",
        "The validation loss falls with the training loss, below what the healthy run reaches, while fresh text of the "
        "same kind does not follow: the documents on which it is measured are in the training data.",
    ),
    "12.p6": Prediction(
        "How many questions show a difference of three points, with a power of 80 % and a variance of 1/9? (100, "
        "1000 or 10000)",
        lambda: 1000,
        "(1.96 + 0.84)² is about 8; 8 · (1/9) / 0.0009 is about 1,000.",
        0.1,
    ),
}
