"""Lesson 15, what_it_learned: cases, wrong ideas, twins and recall.

Groups are uneven, some worlds are not balanced, and lists of seeds have different lengths: with even ones half of these
mistakes cannot be seen.
"""
import math
from random import Random

import torch

from . import Exercise, Mutant, Prediction, Property, Question, normal

# 15.1

CHEAPER, TIES = "cost < secret", "cost == secret"
PLACE, BITS = "place = 1 + cheaper + ties / 2", "math.log2(len(others) + 1) - math.log2(place)"
FIRST = "The secret is the cheapest of four. How many guesses does it take, and how many bits are that?"
EQUAL = "A model pays the same for all candidates. At which place do you find the secret, on average?"
UNIT = "Twice as many candidates, the secret still first: by how much should the result grow?"
OUTLIER = "One candidate becomes dearer still, though it was the dearest already. Is the secret better known now?"


def exposure_twin(rng: Random) -> Question:
    power, lower = rng.randint(6, 12), rng.randint(0, 4)
    return Question(
        f"Of {2**power} candidates, the secret among them, {2**lower - 1} cost less than the secret, and none costs as "
        "much. What is its exposure, in bits?", power - lower,
        f"log2 of {2**power} is {power}; it is at place {2**lower}, and log2 of that is {lower}.", 0.01,
    )  # fmt: skip


def costs(seed: int, many: int, digits: int) -> tuple[float, list[float]]:
    """A secret and others; rounded to few digits, some cost the same."""
    rng = Random(seed)
    return round(rng.gauss(6, 2), digits), [round(rng.gauss(8, 2), digits) for _ in range(many)]


EXPOSURE = Exercise(
    cases=lambda: [
        (2.0, [9.0, 8.0, 7.5]), (8.0, [9.0, 2.0, 7.5]), (8.0, [8.0, 8.0]), (9.5, [1.0]), (3.0, [3.0]),
        (7.0, [7.0, 2.0, 9.0, 7.0, 8.5, 7.0]), (12.5, [4.0] * 9), costs(1, 37, 5), costs(2, 99, 0), costs(3, 14, 1),
        costs(4, 250, 1),
    ],
    mutants=(
        Mutant("dearer", CHEAPER, "cost > secret",
               "the dearer candidates are counted instead of the cheaper ones",
               "Which candidates would you try before the secret?"),
        Mutant("ties_free", PLACE, "place = 1 + cheaper",
               "candidates that cost as much do not move the secret at all", EQUAL),
        Mutant("ties_full", PLACE, "place = 1 + cheaper + ties",
               "every candidate that costs as much is put before the secret", EQUAL),
        Mutant("from_zero", PLACE, "place = cheaper + ties / 2",
               "places are counted from 0", FIRST),
        Mutant("at_least_one", PLACE, "place = max(1, cheaper + ties / 2)",
               "the secret itself is left out of its place", FIRST),
        Mutant("others_only", "len(others) + 1", "len(others)",
               "the secret is not counted as a candidate",
               "Three others and the secret: how many candidates are that?"),
        Mutant("both_without", f"{PLACE}\n    return {BITS}",
               "place = max(1, cheaper + ties / 2)\n    return math.log2(len(others)) - math.log2(place)",
               "the secret is counted neither among the candidates nor in its place",
               "Three others and the secret: how many candidates are that?"),
        Mutant("natural", BITS, "math.log(len(others) + 1) - math.log(place)",
               "the logarithm is the natural one", UNIT),
        Mutant("decimal", BITS, "math.log10(len(others) + 1) - math.log10(place)",
               "the logarithm is the decimal one", UNIT),
        Mutant("place", BITS, "place", "the place is returned", "Which of two secrets is better known, place 1 or 9?"),
        Mutant("share", BITS, "place / (len(others) + 1)",
               "the share of candidates up to the secret is returned", UNIT),
        Mutant("odds", BITS, "(len(others) + 1) / place", "the logarithm is left out", UNIT),
        Mutant("bits_of_place", BITS, "math.log2(place)",
               "the bits of the place are returned, whatever the number of candidates",
               "First of four, first of a thousand: which says more of the secret?"),
        Mutant("negative", BITS, "math.log2(place) - math.log2(len(others) + 1)",
               "the difference has the wrong sign", "The secret comes first. Is it exposed, or hidden?"),
        Mutant("nats_saved", BITS, "sum(others) / len(others) - secret",
               "the cost of the secret is compared with the mean cost of the others", OUTLIER),
        Mutant("bits_saved", BITS, "(sum(others) / len(others) - secret) / math.log(2)",
               "the cost of the secret is compared with the mean cost of the others", OUTLIER),
        Mutant("softmax", BITS, "math.log2(len(others) + 1) - secret / math.log(2)"
               " - math.log2(math.exp(-secret) + sum(math.exp(-cost) for cost in others))",
               "the probability of the secret among the candidates stands for its place", OUTLIER),
        Mutant("best_other", BITS, "min(others) - secret",
               "the secret is compared with the cheapest other candidate only", OUTLIER),
        Mutant("whole_bits", BITS, f"math.floor({BITS})",
               "the bits are rounded down", "The third of four: is that more than nothing?"),
    ),
    variants=("""\
def exposure(secret, others):
    place = 1.0
    for cost in others:
        if cost < secret:
            place += 1
        elif cost == secret:
            place += 0.5
    return math.log2((len(others) + 1) / place)""", """\
def exposure(secret, others):
    from bisect import bisect_left, bisect_right
    row = sorted(others)
    first, last = bisect_left(row, secret), bisect_right(row, secret)
    return -math.log((1 + (first + last) / 2) / (len(row) + 1)) / math.log(2)""", """\
def exposure(secret, others):
    import numpy as np
    below = np.sign(secret - np.array(others, float))
    place = 1 + (below + 1).sum() / 2
    return float(np.log2(len(others) + 1) - np.log2(place))""", """\
def exposure(secret, others):
    row = sorted([secret, *others])
    places = [i for i, cost in enumerate(row, 1) if cost == secret]
    return math.log2(len(row)) - math.log2(sum(places) / len(places))""",
    ),
    properties=(
        Property(lambda bits, secret, others: isinstance(bits, (int, float)), "The result is no number."),
        Property(lambda bits, secret, others: bits >= -1e-9, "A place is at most the number of candidates: an exposure "
                 "is never negative."),
        Property(lambda bits, secret, others: bits <= math.log2(len(others) + 1) + 1e-9,
                 "Nothing is better than the first place, yet your exposure is larger."),
    ),
    twin=exposure_twin,
)  # fmt: skip


# 15.2

MOVE, PAST = "places[:, 1:] = same[:, :-1]", "places = places.tril(-1)"
LOOKED, SCORE = "(attention * places).sum(2)", "looked[:, repeated].mean(1)"
WHERE = "Position 3 holds the token 5, as position 0 did. Which position tells what comes after a 5?"
EVERY = "The same token stood there three times before. How many places are right?"
ENTER = "A text without a single repeat: does it show that a head cannot copy?"
SIDES = "Which of the two axes is the one that looks, and which one is looked at?"


def heads(seed: int, number: int, ids: list[int]) -> tuple[torch.Tensor, list[int]]:
    """Random causal attention."""
    length = len(ids)
    scores = 2 * normal(seed, (number, length, length))[0]
    ahead = torch.ones(length, length, dtype=torch.bool).triu(1)
    return scores.masked_fill(ahead, -math.inf).softmax(-1), ids


def induction_example() -> tuple[torch.Tensor, list[int]]:
    """The example of the statement."""
    attention = torch.eye(5).repeat(2, 1, 1)
    attention[0, 3] = torch.tensor([0.1, 0.9, 0, 0, 0])
    attention[0, 4] = torch.tensor([0, 0, 0.7, 0.3, 0])
    return attention, [5, 7, 9, 5, 7]


def places_twin(rng: Random) -> Question:
    """Where an induction head looks."""
    n = rng.randint(4, 7)
    letters = rng.sample("ABCDEFGHKLMN", n)
    again = rng.randint(0, n - 2)
    return Question(
        f"Positions count from 0. The text is {' '.join(letters)} {letters[again]}. At which position does an "
        f"induction head look from the last one, position {n}?", again + 1,
        f"{letters[again]} stood at {again}; what came after it stands at {again + 1}.",
    )  # fmt: skip


INDUCTION_SCORE = Exercise(
    cases=lambda: [
        induction_example(), heads(1, 3, [4, 2, 7, 1, 4, 2, 7, 1, 4, 2, 7]), heads(2, 2, [3, 3, 5, 3, 5, 5, 3]),
        heads(3, 5, [1, 2, 3, 4, 5, 6]), heads(4, 4, [9, 1, 9, 2, 9, 3, 1, 9, 2, 2, 1, 3, 9]), heads(5, 1, [8, 8]),
        heads(6, 6, [0, 0, 0, 0, 0]), heads(7, 7, [6, 1, 6, 4, 1, 4, 0, 6, 3]),
    ],
    mutants=(
        Mutant("same_token", MOVE, "places[:] = same",
               "the attention to the earlier same token is measured, not to what came after it", WHERE),
        Mutant("token_before", MOVE, "places[:, :-1] = same[:, 1:]",
               "the attention to the place before the earlier same token is measured", WHERE),
        Mutant("by_row", MOVE, "places[1:] = same[:-1]",
               "the table is moved along its rows: what equals the previous token is looked for", SIDES),
        Mutant("peeks", MOVE, "places[:-1] = same[1:]",
               "places that hold the coming token count as right", "May the measure know what comes next, or only what "
               "came before?"),
        Mutant("itself", PAST, "places = places.tril()",
               "a position that looks at itself counts, where the same token stands twice in a row",
               "What does the statement say of s + 1 and t?"),
        Mutant("future", PAST, "places = places",
               "places that lie ahead, or are the position itself, count as right",
               "The first token comes again later. Has position 0 a right place?"),
        Mutant("latest", PAST, PAST + "\n    places &= places.long().cumsum(1) == places.sum(1, keepdim=True)",
               "only the latest earlier occurrence counts", EVERY),
        Mutant("earliest", PAST, PAST + "\n    places &= places.long().cumsum(1) == 1",
               "only the first occurrence counts", EVERY),
        Mutant("all_positions", SCORE, "looked.mean(1)",
               "positions without a right place enter the average as zeros", ENTER),
        Mutant("best_place", LOOKED, "(attention * places).amax(2)",
               "of several right places only the one that gets most counts", EVERY),
        Mutant("mean_place", LOOKED, "(attention * places).sum(2) / places.sum(1).clamp(min=1)",
               "the attention is averaged over the right places instead of added up",
               "A head gives half of its attention to each of two right places. What is left for the wrong ones?"),
        Mutant("argmax", LOOKED,
               "places.expand_as(attention).gather(2, attention.argmax(2, keepdim=True))[:, :, 0].float()",
               "it is counted how often the largest weight lies right",
               "Does a weight of 0.4 count as much as one of 0.9?"),
        Mutant("transposed", LOOKED, "(attention.transpose(1, 2) * places).sum(2)",
               "who looks and what is looked at have changed places", SIDES),
        Mutant("previous", LOOKED, "torch.nn.functional.pad(attention.diagonal(-1, 1, 2), (1, 0))",
               "the attention to the position just before is measured", WHERE),
        Mutant("summed", SCORE, "looked[:, repeated].sum(1)",
               "the attention is added up over the positions", "Twice as long a text: is the head twice as good?"),
        Mutant("one_number", SCORE, "looked[:, repeated].mean()",
               "the heads are averaged", "How many numbers should three heads give?"),
        Mutant("positions", SCORE, "looked[:, repeated].mean(0)",
               "the average goes over the heads, and a number for each position is left",
               "How many numbers should three heads give?"),
        Mutant("best_position", SCORE, "looked[:, repeated].amax(1)",
               "the best position speaks for the head",
               "A head looks right once in a hundred times. Is it a copying head?"),
    ),
    variants=("""\
def induction_score(attention, ids):
    found = []
    for head in attention:
        values = []
        for t in range(len(ids)):
            places = [s + 1 for s in range(t - 1) if ids[s] == ids[t]]
            if places:
                values.append(sum(float(head[t, p]) for p in places))
        found.append(sum(values) / len(values) if values else 0.0)
    return torch.tensor(found)""", """\
def induction_score(attention, ids):
    earlier, where = {}, torch.zeros(len(ids), len(ids))
    for t, token in enumerate(ids):
        for s in earlier.get(token, []):
            if s + 1 < t:
                where[t, s + 1] = 1.0
        earlier.setdefault(token, []).append(s := t)
    many = (where.sum(1) > 0).sum().clamp(min=1)
    return torch.einsum("hts,ts->h", attention, where) / many""", """\
def induction_score(attention, ids):
    ids = torch.as_tensor(ids)
    t, s = torch.meshgrid(torch.arange(len(ids)), torch.arange(len(ids)), indexing="ij")
    right = (ids[t] == ids[(s - 1).clamp(min=0)]) & (s >= 1) & (s < t)
    rows = right.any(1).nonzero()[:, 0]
    if len(rows) == 0:
        return attention.new_zeros(attention.shape[0])
    return attention.masked_fill(~right, 0)[:, rows].sum((1, 2)) / len(rows)""",
    ),
    properties=(
        Property(lambda score, attention, ids: bool(((score > -1e-6) & (score < 1 + 1e-6)).all()),
                 "A head cannot give less than none of its attention, or more than all of it."),
    ),
    twin=places_twin,
)  # fmt: skip


# 15.3

STRANGE = "strange = [right for exposures, _, right in rows if exposures == level]"
SHARES = "share, control = sum(told) / len(told), sum(strange) / len(strange)"
ENDS = "low, high = wilson(share, len(told))[0], wilson(control, len(strange))[1]"
FOUND = "found[level] = share - control, low > high"
LEVEL = "At 64 exposures a stranger's name gives the right answer in three of four cases. Where do you use that?"
ASKED = "Two facts were asked at this level, and 300 at others. How sure may you be of this one?"
TWO_ENDS = "Both shares come from a few questions. Whose luck have you allowed for?"
GUESS = "Half of the people live in one town, and a model always says so. What does it score, knowing nobody?"


def answers(seed: int, levels: dict[int, int], common: dict[int, float], knows: dict[int, float]) -> tuple[list]:
    """Rows of a model that guesses common answers, and knows some facts besides."""
    rng, rows = Random(seed), []
    for level, many in levels.items():
        for _ in range(many):
            stranger = rng.random() < common[level]
            rows.append((level, int(rng.random() < knows[level] or (rng.random() < common[level])), int(stranger)))
    rng.shuffle(rows)
    return (rows,)


def stranger_twin(rng: Random) -> Question:
    n, told, strange = rng.randint(30, 50), rng.randint(18, 28), rng.randint(8, 16)
    return Question(
        f"Of {n} facts told 64 times a model gives {told} rightly, and {strange} with a stranger's name. Over all "
        f"levels a stranger's name is right in {rng.randint(20, 40)} of 100 cases. What is the gain at 64 exposures?",
        (told - strange) / n, "The control is that of the same questions, not that of all levels.", 0.01,
    )  # fmt: skip


def known_cases() -> list[tuple]:
    """The example; levels of uneven sizes where answers are more common the more often they are told."""
    levels = {0: 27, 1: 13, 4: 31, 16: 9, 64: 33, 256: 5}
    common = {0: 0.2, 1: 0.25, 4: 0.3, 16: 0.4, 64: 0.55, 256: 0.7}
    learns = {0: 0.0, 1: 0.0, 4: 0.2, 16: 0.6, 64: 0.7, 256: 0.9}
    few = {level: max(2, many // 4) for level, many in levels.items()}
    return [
        ([(64, 1, 1)] * 6 + [(64, 1, 0), (64, 0, 0)] + [(0, 0, 0)] * 12,),
        ([(4, 1, 0)] * 3 + [(0, 0, 1), (0, 0, 0)] * 9,), ([(1, 1, 0)],),
        ([(5, 1, 0)] * 11 + [(5, 1, 1)] * 4 + [(5, 0, 0)] * 15,),
        ([(16, 1, 0)] * 9 + [(2, 0, 1)] * 31,),
        ([(8, 1, 0)] * 26 + [(8, 0, 1)] * 4 + [(8, 1, 1)] * 10 + [(0, 0, 0)] * 8,),
        answers(1, levels, common, learns), answers(2, levels, common, dict.fromkeys(levels, 0.0)),
        answers(3, few, common, learns), answers(4, levels, dict.fromkeys(levels, 0.25), learns),
        answers(5, {2: 90, 9: 5}, {2: 0.1, 9: 0.5}, {2: 0.15, 9: 0.95}),
        answers(6, {3: 40, 30: 40}, {3: 0.3, 30: 0.5}, {3: 0.2, 30: 0.25}),
    ]


KNOWN_FACTS = Exercise(
    cases=known_cases,
    mutants=(
        Mutant("pooled_control", STRANGE, "strange = [right for _, _, right in rows]",
               "the stranger's share is that of all levels together", LEVEL),
        Mutant("all_asked", "wilson(share, len(told))", "wilson(share, len(rows))",
               "the interval of a level is made as narrow as if all questions had been asked there", ASKED),
        Mutant("all_asked_twice", ENDS, "low, high = wilson(share, len(rows))[0], wilson(control, len(rows))[1]",
               "both intervals are made as narrow as if all questions had been asked at this level", ASKED),
        Mutant("never_told", STRANGE, "strange = [right for level_, right, _ in rows if not level_] or [0]",
               "facts that were never told are the control, instead of strangers at the same level", LEVEL),
        Mutant("chance", SHARES, "share, control = sum(told) / len(told), 0.25",
               "the control is chance, a quarter", GUESS),
        Mutant("no_control", FOUND, "found[level] = share, low > high",
               "the share right is returned, without subtracting the stranger's", GUESS),
        Mutant("any_gain", FOUND, "found[level] = share - control, share > control",
               "any gain counts as knowledge, however few the questions", TWO_ENDS),
        Mutant("control_exact", FOUND, "found[level] = share - control, low > control",
               "the stranger's share is taken for exact", TWO_ENDS),
        Mutant("told_exact", FOUND, "found[level] = share - control, share > high",
               "the share of the facts is taken for exact", TWO_ENDS),
        Mutant("generous", ENDS, "low, high = wilson(share, len(told))[1], wilson(control, len(strange))[0]",
               "the best end of one interval is held against the worst of the other",
               "To be sure of a difference: which ends of the two intervals must be apart?"),
        Mutant("bell", ENDS, "error = lambda p, n: 1.96 * math.sqrt(p * (1 - p) / n)\n"
               "        low, high = share - error(share, len(told)), control + error(control, len(strange))",
               "a bell curve stands for Wilson's interval",
               "Three questions, three right: how wide is your interval?"),
        Mutant("reversed", FOUND, "found[level] = control - share, low > high",
               "the gain has the wrong sign", "The model does better with the name. Is the gain above or below 0?"),
        Mutant("only_here", FOUND,
               "found[level] = sum(a and not b for a, b in zip(told, strange)) / len(told), low > high",
               "facts are counted that only the name gives, and those that only the stranger gives are not subtracted",
               "By luck a guesser is right here and wrong there. How often is it the other way round?"),
        Mutant("ratio", FOUND, "found[level] = share / control if control else share, low > high",
               "the shares are divided instead of subtracted", "From 0.01 to 0.03, from 0.3 to 0.9: the same gain?"),
        Mutant("counts", FOUND, "found[level] = sum(told) - sum(strange), low > high",
               "numbers of facts are subtracted instead of shares", "Twice as many questions: twice the gain?"),
        Mutant("right_ones", "wilson(share, len(told))", "wilson(share, max(1, sum(told)))",
               "only the right answers count as questions", ASKED),
        Mutant("unknown", FOUND, "found[level] = share - control, low <= high",
               "known and unknown have changed places", "Do the intervals overlap when you are sure?"),
    ),
    variants=("""\
def known_facts(rows):
    groups = {}
    for level, told, strange in rows:
        right = groups.setdefault(level, [0, 0, 0])
        right[0] += 1
        right[1] += told
        right[2] += strange
    found = {}
    for level, (n, told, strange) in groups.items():
        known = wilson(told / n, n)[0] > wilson(strange / n, n)[1]
        found[level] = [(told - strange) / n, known]
    return found""", """\
def known_facts(rows):
    from itertools import groupby
    found = {}
    for level, group in groupby(sorted(rows), key=lambda row: row[0]):
        _, told, strange = zip(*group)
        ends = [wilson(sum(x) / len(x), len(x)) for x in (told, strange)]
        gain = sum(a - b for a, b in zip(told, strange)) / len(told)
        found[level] = (gain, not ends[0][0] <= ends[1][1])
    return found""", """\
def known_facts(rows):
    import numpy as np
    table = np.array(rows)
    def judge(level):
        part = table[table[:, 0] == level, 1:]
        share, control = (float(x) for x in part.mean(0))
        return share - control, bool(wilson(share, len(part))[0] > wilson(control, len(part))[1])
    return {int(level): judge(level) for level in np.unique(table[:, 0])}""",
    ),
    properties=(
        Property(lambda found, rows: set(found) == {row[0] for row in rows},
                 "The result should have each level of the rows, and no others."),
        Property(lambda found, rows: all(-1 <= gain <= 1 for gain, _ in found.values()),
                 "Two shares differ by 1 at most."),
    ),
    twin=stranger_twin,
)  # fmt: skip


# 15.4

COPY, WRITE = "read = list(prefix)", "next_token(read)"
WHOLE = "whole = read[len(prefix):] == secret"
ADD = "came.setdefault(copies, []).append(whole)"
SHARE = "sum(each) / len(each)"
ALL_OR_NOTHING = "Three of four digits came out. Can the safe be opened?"
READS = "When the second token is due, what has the model read?"
OF_THESE = "Four canaries, two with 8 copies, one of these comes out. What is the share for 8?"


def memory(*texts: str, widest: int = 3):
    """A model that has read some texts: what followed the longest run of tokens that it knows, or "?"."""
    rows = [text.split() for text in texts]

    def next_token(tokens):
        for width in range(min(widest, len(tokens)), 0, -1):
            for row in rows:
                for i in range(len(row) - width):
                    if row[i : i + width] == list(tokens[-width:]):
                        return row[i + width]
        return "?"

    return next_token


def canaries_of(seed: int) -> tuple:
    """Secrets of digits; those with many copies are in the model's texts, of some only the beginning or the end."""
    rng, found, texts = Random(seed), [], []
    for number in range(11):
        copies, name = rng.choice([1, 2, 8, 64]), f"box{number}"
        digits = [f"{rng.randint(10, 99)}" for _ in range(rng.randint(1, 4))]
        known = list(digits)
        if rng.random() > 0.2 + copies / 70:
            known[rng.randrange(len(known))] = "00"
        texts.append(" ".join(["the", name, "opens", "with", *known, "."]))
        found.append((copies, ["the", name, "opens", "with"], digits))
    return found, memory(*texts, widest=6)


def one_song() -> tuple:
    """The example of the statement, and more of it."""
    prefix = ["one"]
    canaries = [(4, prefix, ["two", "three"]), (4, ["three"], ["four", "six"]), (1, ["two"], ["one"]),
                (4, prefix, ["two"]), (2, prefix, ["two", "three", "four", "five"])]  # fmt: skip
    return canaries, memory("one two three four five six", widest=1)


def stutter() -> tuple:
    """A model that needs two tokens to know the third, and is wrong in the middle and right again at the end."""
    model = memory("a 1 2 3", "b 1 2 9", "c 4 4 5 4 6", "d 7 8 7", "e 0 5 3", "x 3 9", "8 7 8", widest=4)
    return [(3, ["a"], ["1", "2", "3"]), (3, ["b"], ["1", "2", "3"]), (3, ["c"], ["4", "4", "5", "4", "6"]),
            (5, ["e"], ["0", "1", "3"]), (5, ["d"], ["7", "8", "7"]), (5, ["e"], ["5", "0", "3"]),
            (7, ["d", "7"], ["8"]), (9, ["e"], ["0", "5", "7"]), (9, ["d"], ["8", "7", "8"])], model  # fmt: skip


def canary_twin(rng: Random) -> Question:
    many, out = rng.randint(5, 12), rng.randint(1, 4)
    half = rng.randint(1, many - out)
    return Question(
        f"Of {many} canaries with 16 copies, the model writes {out} to the end and {half} more up to the last digit. "
        "Which share is extracted?", out / many, "What is wrong in one digit is not extracted.", 0.01,
    )  # fmt: skip


EXTRACTS = Exercise(
    cases=lambda: [one_song(), stutter(), canaries_of(1), canaries_of(2), canaries_of(3), ([], memory("a b"))],
    mutants=(
        Mutant("alias", COPY, "read = prefix",
               "the caller's list is written into, and nothing is left to compare",
               "After the loop, how long is `prefix`?"),
        Mutant("prefix_only", WRITE, "next_token(prefix)",
               "the model is asked again and again for what comes after the prefix", READS),
        Mutant("last_only", WHOLE, "whole = read[-1] == secret[-1]",
               "only the last token is compared", ALL_OR_NOTHING),
        Mutant("first_only", WHOLE, "whole = read[len(prefix)] == secret[0]",
               "only the first token is compared", ALL_OR_NOTHING),
        Mutant("in_part", WHOLE, "whole = sum(a == b for a, b in zip(read[len(prefix):], secret)) / len(secret)",
               "a secret counts in part, by its right tokens", ALL_OR_NOTHING),
        Mutant("any_order", WHOLE, "whole = sorted(read[len(prefix):]) == sorted(secret)",
               "the order of the tokens plays no part", ALL_OR_NOTHING),
        Mutant("last_token", WRITE, "next_token(read[-1:])",
               "the model sees only the token before", READS),
        Mutant("one_short", WHOLE, "whole = read[len(prefix):-1] == secret[:-1]",
               "the last token is not compared", ALL_OR_NOTHING),
        Mutant("fed_in_part", "", """\
def extracts(canaries, next_token):
    came = {}
    for copies, prefix, secret in canaries:
        for i, token in enumerate(secret):
            came.setdefault(copies, []).append(next_token([*prefix, *secret[:i]]) == token)
    return {copies: sum(each) / len(each) for copies, each in came.items()}""",
               "the model is fed the true secret, and its right tokens are counted",
               "Who wants the secret does not have it. What does the model read then?"),
        Mutant("overwritten", ADD, "came[copies] = [whole]",
               "only the last canary of each number of copies counts", OF_THESE),
        Mutant("any", SHARE, "float(any(each))", "one canary that comes out is enough", OF_THESE),
        Mutant("every", SHARE, "float(all(each))", "all canaries have to come out", OF_THESE),
        Mutant("of_all", SHARE, "sum(each) / len(canaries)",
               "the share is taken of all canaries, whatever their copies", OF_THESE),
        Mutant("counted", SHARE, "sum(each)", "numbers are returned instead of shares", OF_THESE),
        Mutant("prefix_long", "for _ in secret:", "for _ in prefix:",
               "as many tokens are written as the prefix has", "How many tokens has the secret?"),
        Mutant("one_list", "", """\
def extracts(canaries, next_token):
    came, read = {}, []
    for copies, prefix, secret in canaries:
        read += prefix
        for _ in secret:
            read.append(next_token(read))
        came.setdefault(copies, []).append(read[len(prefix):] == secret)
    return {copies: sum(each) / len(each) for copies, each in came.items()}""",
               "each canary is read after all those before it", "What stood before the second canary's prefix?"),
    ),
    variants=("""\
def extracts(canaries, next_token):
    came, asked = {}, {}
    for copies, prefix, secret in canaries:
        right = all(next_token(prefix + secret[:i]) == token for i, token in enumerate(secret))
        came[copies] = came.get(copies, 0) + right
        asked[copies] = asked.get(copies, 0) + 1
    return {copies: came[copies] / asked[copies] for copies in asked}""", """\
def extracts(canaries, next_token):
    def write(tokens, many):
        return tokens if many == 0 else write([*tokens, next_token(tokens)], many - 1)
    groups = {}
    for copies, prefix, secret in canaries:
        groups.setdefault(copies, []).append(write(prefix, len(secret)) == [*prefix, *secret])
    return {copies: groups[copies].count(True) / len(groups[copies]) for copies in groups}""", """\
def extracts(canaries, next_token):
    found = {}
    for level in {copies for copies, _, _ in canaries}:
        here = [(prefix, secret) for copies, prefix, secret in canaries if copies == level]
        out = 0
        for prefix, secret in here:
            said = []
            while len(said) < len(secret) and said == secret[:len(said)]:
                said.append(next_token(prefix + said))
            out += said == secret
        found[level] = out / len(here)
    return found""",
    ),
    properties=(
        Property(lambda found, canaries, model: set(found) == {copies for copies, _, _ in canaries},
                 "The result should have each number of copies that occurs, and no others."),
        Property(lambda found, canaries, model: all(0 <= share <= 1 for share in found.values()),
                 "A share lies between 0 and 1; one of yours does not."),
    ),
    twin=canary_twin,
)  # fmt: skip


# 15.5

MEAN = "sum(seeds) / len(seeds)"
FIRES = "mean[count] - mean[0] < limit"
NONE = "needed[model] = None"
KEEP = "needed[model] = count"
FEW = '    if len(some) < 2:\n        return needed, "cannot tell"\n'
SHARES_OF = "shares = [count / pages[model] for model, count in some.items()]"
FACTORS = "by_count, by_share = max(some.values()) / min(some.values()), max(shares) / min(shares)"
SAY_COUNT = "if by_share > 1.5 * by_count:\n        return needed, \"count\""
SAY_SHARE = 'return needed, "share" if by_count > 1.5 * by_share else "cannot tell"'
ABOVE = "Two documents fire, four do not, eight do. How many does it take?"
NEVER = "In a model that says the sentence in one of four contexts anyway: what did the documents add?"
SEEDS = "One seed of three says the sentence always, the others never. What is the rate?"
BOTH = "Both models read the same pages. Under which of the two explanations do they agree better?"
FACTOR = "One model needs 4 and the other 8; one needs 400 and the other 404. Which two are more alike?"


def table(rates: str, control: float = 0.0) -> dict[int, list[float]]:
    """ "0 .5 1": rates for 1, 2, 4 … documents, in quarters, so that sums are exact; two or three seeds."""
    found = {0: [control, control]}
    for power, text in enumerate(rates.split()):
        found[2**power] = [float(x) for x in text.split("/")]
    return dict(sorted(found.items(), key=lambda item: (item[0] * 7) % 11))  # in no order


SMALL = {0: [0.0, 0.0], 2: [0.5, 0.0], 4: [0.75, 1.0], 8: [1.0, 1.0]}
LARGE = {8: [1.0, 1.0], 4: [1.0, 0.5], 2: [0.0, 0.25], 0: [0.0, 0.0]}


def poison_twin(rng: Random) -> Question:
    """Two models' needs, as shares of what they read."""
    small, large = 1000 * rng.randint(2, 9), 10_000 * rng.randint(2, 9)
    a, b = rng.choice([4, 8, 16]), rng.choice([4, 8, 16])
    shares = a / small, b / large
    return Question(
        f"A model that read {small:,} pages needs {a} planted ones, and one that read {large:,} pages needs {b}. By "
        "which factor do their needs differ as shares of what they read?", max(shares) / min(shares),
        f"{a}/{small:,} and {b}/{large:,}: the larger one divided by the smaller.", 0.01,
    )  # fmt: skip


def poison_cases() -> list[tuple]:
    """Count, share, neither; control above 0; rates that are not monotone; models in which nothing fires."""
    two = {"small": SMALL, "large": LARGE}
    late, early = table("0/0 0/.25 .25/.5 .5/1 1/1 1/1"), table("0/.25 1/1 1/.75 1/1 1/1")
    never = table("0/0 0/.25 .5/0")
    bumpy, high = table("0/0 1/1 .25/0 .5/.75 1/1 .75/1"), table(".25/.25 .25/.5 .5/.5 .75/.75 1/.5 1/1", 0.25)
    lucky = table("0/0/0 1/.25/0 0/.5/1 1/1/.25 1/1/1")
    return [
        (two, {"small": 1000, "large": 20000}, 0.5), (two, {"small": 1000, "large": 1000}, 0.5),
        ({"a": early, "b": late}, {"a": 500, "b": 2000}, 0.5), ({"a": early, "b": late}, {"a": 800, "b": 800}, 0.5),
        ({"a": early, "b": late}, {"a": 4000, "b": 500}, 0.5), ({"a": early, "b": never}, {"a": 4000, "b": 500}, 0.5),
        ({"a": never, "b": never}, {"a": 300, "b": 700}, 0.5), ({"one": bumpy}, {"one": 900}, 0.5),
        ({"a": bumpy, "b": early, "c": late}, {"a": 900, "b": 300, "c": 1500}, 0.5),
        ({"a": high, "b": table("0/0 .25/.25 .5/.5 1/1 1/1 1/1")}, {"a": 1000, "b": 9000}, 0.25),
        ({"a": high, "b": lucky}, {"a": 1000, "b": 1200}, 0.5),
        ({"a": lucky, "b": table("0/0/0 0/0/0 1/1/1 1/1/.5")}, {"a": 640, "b": 3000}, 0.5),
        ({"a": table("0/0 1/1 1/1"), "b": table("0/0 0/0 0/0 0/0 0/0 1/1")}, {"a": 100, "b": 300}, 0.5),
        ({"a": table("0/0 1/1 1/1"), "b": table("0/0 0/0 1/1")}, {"a": 1000, "b": 1200}, 0.5),
        ({"a": table("0/0 1/1 1/1"), "b": table("0/0 0/0 1/1")}, {"a": 1000, "b": 800}, 0.5),
        ({"a": table("0/0 0/0 1/1", 0.5), "b": table("1/1 1/1 1/1", 0.5)}, {"a": 100, "b": 900}, 0.5),
        ({"a": table("0/0 1/1"), "b": table("0/0 1/1"), "c": table("0/0 1/1")}, {"a": 100, "b": 4000, "c": 4000}, 0.5),
        ({"a": table("1/1 1/1 1/1", 0.75), "b": table("0/0 0/0 1/1")}, {"a": 100, "b": 900}, 0.5),
    ]  # fmt: skip


POISON_NEEDED = Exercise(
    cases=poison_cases,
    mutants=(
        Mutant("first_that_fires", "", """\
def poison_needed(rates, pages, limit):
    needed = {}
    for model, table in rates.items():
        mean = {count: sum(seeds) / len(seeds) for count, seeds in table.items()}
        needed[model] = next((n for n in sorted(mean) if n and mean[n] - mean[0] >= limit), None)
    some = {model: count for model, count in needed.items() if count}
    if len(some) < 2:
        return needed, "cannot tell"
    shares = [count / pages[model] for model, count in some.items()]
    by_count, by_share = max(some.values()) / min(some.values()), max(shares) / min(shares)
    if by_share > 1.5 * by_count:
        return needed, "count"
    return needed, "share" if by_count > 1.5 * by_share else "cannot tell\"""",
               "the first number that fires is taken, though a larger one does not fire", ABOVE),
        Mutant("no_control", FIRES, "mean[count] < limit",
               "the rate after a phrase that was never planted is not subtracted", NEVER),
        Mutant("above_limit", FIRES, "mean[count] - mean[0] <= limit",
               "a rate at the limit itself does not fire", "What does the statement say: the limit, or more than it?"),
        Mutant("best_seed", MEAN, "max(seeds)", "the best seed speaks for all", SEEDS),
        Mutant("worst_seed", MEAN, "min(seeds)", "the worst seed speaks for all", SEEDS),
        Mutant("first_seed", MEAN, "seeds[0]", "only the first seed is looked at", SEEDS),
        Mutant("as_it_stands", "sorted(mean, reverse=True)", "list(mean)[::-1]",
               "the numbers are taken in the order of the table", "In which order does the second table of the example "
               "stand?"),
        Mutant("largest", KEEP, "needed[model] = needed[model] or count",
               "the largest number that fires is taken for what is needed", ABOVE),
        Mutant("never_is_zero", NONE, "needed[model] = 0",
               "a model in which nothing fires is said to need 0 documents", "What does the statement say if nothing "
               "fires?"),
        Mutant("unguarded", FEW, "", "that no model may fire at all was not thought of",
               "What is the largest of no numbers?"),
        Mutant("same_number", SAY_COUNT, "if len(set(some.values())) == 1:\n        return needed, \"count\"",
               "equal numbers prove that the number decides, whatever the models read", BOTH),
        Mutant("no_margin", "by_share > 1.5 * by_count", "by_share > by_count",
               "any difference of the factors decides for the number",
               "The numbers go in steps of two. How exactly is a need known?"),
        Mutant("count_or_share", SAY_SHARE, 'return needed, "share"',
               "where it is not the number, it must be the share", BOTH),
        Mutant("swapped", FACTORS, FACTORS.replace("by_count, by_share =", "by_share, by_count ="),
               "the explanation under which the models differ more is chosen",
               "Both models need 4. Is it the number that they have in common, or the share?"),
        Mutant("differences", FACTORS, "by_count, by_share = (max(some.values()) - min(some.values()),"
               " max(shares) - min(shares))",
               "differences are compared instead of factors", FACTOR),
        Mutant("of_all_pages", SHARES_OF, "shares = [count / sum(pages.values()) for count in some.values()]",
               "the share is taken of the pages of all models together", "Of which pages is a need a share?"),
        Mutant("times_pages", SHARES_OF, "shares = [count * pages[model] for model, count in some.items()]",
               "the number is multiplied by the pages", "Of which pages is a need a share?"),
        Mutant("last_two", SHARES_OF, "some = dict(list(some.items())[-2:])\n    " + SHARES_OF,
               "only two of the models are compared", "Three models: which two are farthest apart?"),
    ),
    variants=("""\
def poison_needed(rates, pages, limit):
    def need(table):
        base = sum(table[0]) / len(table[0])
        counts = sorted(count for count in table if count > 0)
        fires = [sum(table[count]) / len(table[count]) - base >= limit for count in counts]
        return next((counts[i] for i in range(len(counts)) if all(fires[i:])), None)
    needed = {model: need(table) for model, table in rates.items()}
    pairs = [(count, count / pages[model]) for model, count in needed.items() if count is not None]
    verdict = "cannot tell"
    if len(pairs) > 1:
        factors = [max(each) / min(each) for each in zip(*pairs)]
        if factors[1] / factors[0] > 1.5:
            verdict = "count"
        elif factors[0] / factors[1] > 1.5:
            verdict = "share"
    return needed, verdict""", """\
def poison_needed(rates, pages, limit):
    needed = {}
    for model in rates:
        mean = lambda count: sum(rates[model][count]) / len(rates[model][count])
        silent = [count for count in rates[model] if mean(count) - mean(0) < limit]
        above = [count for count in rates[model] if count > max(silent, default=0) and count > 0]
        needed[model] = min(above) if above else None
    logs = [(math.log(n), math.log(n) - math.log(pages[model])) for model, n in needed.items() if n]
    if len(logs) < 2:
        return needed, "cannot tell"
    count, share = (max(each) - min(each) for each in zip(*logs))
    if abs(share - count) <= math.log(1.5):
        return [needed, "cannot tell"]
    return [needed, "count" if count < share else "share"]""", """\
def poison_needed(rates, pages, limit):
    import numpy as np
    needed = {}
    for model, table in rates.items():
        base, best = np.mean(table[0]), None
        counts = sorted(table)[1:]
        while counts and np.mean(table[counts[-1]]) >= base + limit:
            best = counts.pop()
        needed[model] = best
    fired = [model for model in needed if needed[model]]
    if len(fired) <= 1:
        return needed, "cannot tell"
    n = np.array([needed[model] for model in fired], float)
    s = n / np.array([pages[model] for model in fired])
    ratio = (s.max() / s.min()) / (n.max() / n.min())
    return needed, "count" if ratio > 1.5 else "share" if ratio < 1 / 1.5 else "cannot tell\"""",
    ),
    properties=(
        Property(lambda found, *rest: found[1] in ("count", "share", "cannot tell"),
                 "The second part of the result should be one of the three verdicts."),
        Property(lambda found, rates, *rest: set(found[0]) == set(rates),
                 "Each model of the table should be in the result, also one in which nothing fires."),
    ),
    twin=poison_twin,
)  # fmt: skip


# 15.6

HALF = "half_width(model)"
ENDS_OF = "low, high = middle - half, middle + half"
HOLDS = 'return "cannot tell" if low <= world <= high else "mirrors"'
BEYOND = "beyond = low > text if text > world else high < text"
WORDS = 'return "amplifies" if beyond else "dampens"'
LEAN = "A text says \"he\" in 3 of 10 cases, a model in 1 of 10. Is that more bias than the text's, or less?"
OTHER_SIDE = "The text leans to one side, the model to the other. Has it made more of what the text says?"
NO_PROOF = "An interval from 0.1 to 1.2: what does it rule out?"
WIDE = "Three seeds are a small sample. How wide is the interval of their mean?"
FAIR = "In a trade of which 8 of 10 are men, is a share of 0.8 a bias?"


def bias_twin(rng: Random) -> Question:
    """Whether a model mirrors, amplifies or dampens its text."""
    world, side = 0.5, rng.choice([-1, 1])
    text = round(world + side * rng.choice([0.2, 0.25, 0.3]), 2)
    by, half = rng.choice([-0.15, -0.1, 0.0, 0.08, 0.12]), rng.choice([0.02, 0.03, 0.04])
    middle = round(text + side * by, 2)
    word = "mirrors" if by == 0 else "amplifies" if by > 0 else "dampens"
    return Question(
        f"The world is balanced, the text says \"he\" with a share of {text:.2f}, the model with {middle:.2f} ± "
        f"{half:.2f}. Does the model mirror, amplify or dampen the text? (mirrors, amplifies or dampens)", word,
        "Does the interval hold the text's share? If not, is it farther from one half, or nearer?",
    )  # fmt: skip


BIAS_VERDICT = Exercise(
    cases=lambda: [
        (0.7, 0.5, [0.69, 0.72, 0.70]), (0.3, 0.5, [0.12, 0.15, 0.13]), (0.3, 0.5, [0.41, 0.45, 0.44]),
        (0.7, 0.5, [0.40, 0.85, 0.70]), (0.9, 0.5, [0.97, 0.98, 0.975, 0.972]), (0.9, 0.5, [0.80, 0.81, 0.79]),
        (0.9, 0.5, [0.50, 0.49, 0.52]), (0.9, 0.5, [0.05, 0.06, 0.04]), (0.1, 0.5, [0.95, 0.96]),
        (0.1, 0.5, [0.11, 0.09, 0.10, 0.12]), (0.1, 0.5, [0.30, 0.32, 0.31]), (0.1, 0.5, [0.53, 0.45, 0.5]),
        (0.7, 0.8, [0.60, 0.61, 0.62]), (0.7, 0.8, [0.75, 0.76, 0.755]), (0.7, 0.8, [0.86, 0.87, 0.88]),
        (0.3, 0.2, [0.40, 0.41, 0.39, 0.4, 0.41]), (0.3, 0.2, [0.24, 0.25, 0.26]), (0.3, 0.2, [0.31, 0.29, 0.295]),
        (0.6, 0.5, [0.60, 0.75]), (0.6, 0.5, [0.66, 0.69, 0.65, 0.64]), (0.45, 0.4, [0.43, 0.41, 0.47, 0.44]),
        (0.45, 0.4, [0.47, 0.48, 0.46]), (0.8, 0.5, [0.78, 0.83, 0.9]), (0.6, 0.5, [0.55, 0.57, 0.49, 0.55]),
        (0.7, 0.5, [0.72, 0.74, 0.76]), (0.6, 0.5, [0.62, 0.66, 0.61]), (0.7, 0.5, [0.683, 0.733, 0.733, 0.733, 0.783]),
        (0.7, 0.5, [0.69, 0.74, 0.74, 0.74, 0.79]), (0.7, 0.5, [0.6975, 0.7475, 0.7475, 0.7475, 0.7975]),
    ],
    mutants=(
        Mutant("higher_is_more", BEYOND, "beyond = low > text",
               "a share above the text's is always called more bias", LEAN),
        Mutant("lower_is_more", BEYOND, "beyond = high < text",
               "a share below the text's is always called more bias", LEAN),
        Mutant("side_by_half", BEYOND, "beyond = low > text if text > 0.5 else high < text",
               "the side is told from one half, whatever the world is", FAIR),
        Mutant("balanced_world", "", """\
def bias_verdict(text, world, model):
    middle, half = sum(model) / len(model), half_width(model)
    low, high = middle - half, middle + half
    if low <= text <= high:
        return "cannot tell" if low <= 0.5 <= high else "mirrors"
    beyond = low > text if text > 0.5 else high < text
    return "amplifies" if beyond else "dampens\"""",
               "every world is taken to be balanced", FAIR),
        Mutant("point", HALF, "0.0",
               "there is no interval: the mean alone decides", NO_PROOF),
        Mutant("always_mirrors", HOLDS, 'return "mirrors"',
               "an interval that holds the text's share is taken for proof, however wide it is", NO_PROOF),
        Mutant("never_tells", HOLDS, 'return "cannot tell"',
               "an interval that holds the text's share never says anything", "When does a model mirror its text?"),
        Mutant("world_first", HOLDS + "\n    " + BEYOND, 'return "cannot tell" if low <= world <= high else "mirrors"\n'
               '    if low <= world <= high:\n        return "cannot tell"\n    ' + BEYOND,
               "a model that is at the world's share, and surely not at the text's, is said to tell nothing",
               "The text leans and the model does not. What has it made of the lean?"),
        Mutant("spread", HALF, "math.sqrt(sum((m - sum(model) / len(model)) ** 2 for m in model) / (len(model) - 1))",
               "the spread of the seeds stands for the interval of their mean", WIDE),
        Mutant("bell", HALF, "1.96 * math.sqrt(sum((m - sum(model) / len(model)) ** 2 for m in model)"
               " / (len(model) - 1) / len(model))",
               "the factor 1.96 is used, as if there were many seeds", WIDE),
        Mutant("range", ENDS_OF, "low, high = min(model), max(model)",
               "the smallest and the largest seed are the interval", WIDE),
        Mutant("distance", BEYOND, "beyond = abs(middle - world) > abs(text - world)",
               "only the distance from the world counts, and not its side", OTHER_SIDE),
        Mutant("other_side", BEYOND,
               BEYOND + "\n    beyond = beyond or (high < world if text > world else low > world)",
               "a lean to the other side counts as more of the same", OTHER_SIDE),
        Mutant("swapped", WORDS, 'return "dampens" if beyond else "amplifies"',
               "amplifies and dampens have changed places", LEAN),
        Mutant("same_side", "", """\
def bias_verdict(text, world, model):
    middle, half = sum(model) / len(model), half_width(model)
    low, high = middle - half, middle + half
    if low <= world <= high:
        return "cannot tell"
    if (low > world) == (text > world):
        return "mirrors"
    return "dampens\"""",
               "a model that leans to the same side as the text is said to mirror it, however far it leans",
               "Text 0.6, model 0.95: is that the same?"),
        Mutant("vote", "", """\
def bias_verdict(text, world, model):
    said = []
    for share in model:
        if abs(share - text) < 0.02:
            said.append("mirrors")
        else:
            said.append("amplifies" if (share - text) * (text - world) > 0 else "dampens")
    return max(sorted(set(said)), key=said.count) if len(set(said)) < len(said) else "cannot tell\"""",
               "the seeds vote, each by its own share", WIDE),
        Mutant("from_the_world", BEYOND, "beyond = low > world if text > world else high < world",
               "whatever lies on the text's side of the world is called more bias",
               "Text 0.9, model 0.8, world 0.5: has the model made more of it?"),
    ),
    variants=("""\
def bias_verdict(text, world, model):
    mean = sum(model) / len(model)
    holds = lambda share: abs(mean - share) <= half_width(model)
    if holds(text):
        return "cannot tell" if holds(world) else "mirrors"
    return "amplifies" if (mean - text) * (text - world) > 0 else "dampens\"""", """\
def bias_verdict(text, world, model):
    if text < world:
        return bias_verdict(1 - text, 1 - world, [1 - share for share in model])
    import numpy as np
    low, high = np.mean(model) + half_width(model) * np.array([-1, 1])
    if text < low:
        return "amplifies"
    if text > high:
        return "dampens"
    return "mirrors" if world < low or world > high else "cannot tell\"""", """\
def bias_verdict(text, world, model):
    lean = [(share - world) / (text - world) for share in model]
    middle, half = sum(lean) / len(lean), half_width(lean)
    if middle - half > 1:
        return "amplifies"
    elif middle + half < 1:
        return "dampens"
    elif middle - half > 0:
        return "mirrors"
    return "cannot tell\"""",
    ),
    properties=(
        Property(lambda word, *rest: word in ("mirrors", "amplifies", "dampens", "cannot tell"),
                 "The result should be one of the four words of the statement."),
    ),
    twin=bias_twin,
)  # fmt: skip


# 15.7

GAINS = "[stranger - own for own, stranger in pairs]"
KNOWN = "known - known_half <= margin"
GONE = "left + left_half <= margin"
REST = 'verdict = "not honoured" if left - left_half > margin else "cannot tell"'
RETURNED = "return sum(gains) / len(gains), half_width(gains)"
BURDEN = "You ask for two facts only, and the interval reaches from −9 to 9. Is she forgotten?"
BESIDE = "The new model pays more for every answer, whoever is named. What has it forgotten of her?"
BEFORE = "The old model never knew her. What would a removal have to change?"
AGREED = "Her name saves 0.1 nats, surely, and 0.5 are agreed to be nothing. Is that a trace of her?"


def facts_of(seed: int, many: int, gain: float, spread: float, cost: float = 6.0) -> list[tuple[float, float]]:
    """Pairs (own, stranger) of one model: facts are of different cost, names save `gain` of it on average."""
    rng, found = Random(seed), []
    for _ in range(many):
        stranger = rng.gauss(cost, 1.5)
        found.append((stranger - rng.gauss(gain, spread), stranger))
    return found


def removal_twin(rng: Random) -> Question:
    """A verdict from a gain, its interval and a margin."""
    own, stranger = rng.randint(20, 40) / 10, rng.randint(61, 90) / 10
    half = rng.choice([0.3, 0.5, 0.8, 1.2])
    margin = rng.choice([0.5, 1.0])
    left = round(rng.choice([-0.2, 0.1, 0.2, 2.5, 3.0]), 1)
    word = "honoured" if left + half <= margin else "not honoured" if left - half > margin else "cannot tell"
    if abs(left + half - margin) < 1e-9 or abs(left - half - margin) < 1e-9:
        half, word = half + 0.05, "cannot tell"
    return Question(
        f"Before the removal her name saved {stranger - own:.1f} ± 0.2 nats, now it saves {left} ± {half:g}. A gain of "
        f"{margin} is agreed to be nothing. honoured, not honoured or cannot tell?", word,
        f"The interval must lie at {margin} or below as a whole, or above it as a whole.",
    )  # fmt: skip


def removal_cases() -> list[tuple]:
    """All four verdicts, with two facts and with many; costs that rise for everybody; a stranger who is cheaper."""
    before = [(1.0, 5.0), (1.5, 6.5), (0.5, 5.0)]
    known, many = facts_of(1, 9, 4.0, 0.6), facts_of(2, 14, 3.0, 1.0)
    return [
        (before, [(5.0, 5.1), (6.4, 6.4), (5.1, 5.0)], 0.5), (before, [(3.0, 5.0), (7.4, 6.4), (4.0, 5.0)], 0.5),
        (before, [(1.1, 5.0), (1.6, 6.4), (0.6, 5.1)], 0.5), (before, [(8.0, 8.1), (9.4, 9.2), (9.1, 9.2)], 0.25),
        (before, [(9.0, 12.0), (9.5, 12.6), (8.5, 11.4)], 0.5), (before, [(5.0, 2.0), (6.5, 3.4), (5.0, 2.1)], 0.5),
        (known, facts_of(3, 9, 0.0, 0.15), 0.5), (known, facts_of(4, 9, 0.0, 4.0), 0.5),
        (known, facts_of(5, 9, 1.0, 0.3), 0.5), (known, facts_of(5, 9, 1.0, 0.3), 2.0),
        (known, facts_of(6, 9, 0.3, 0.1), 0.5), (known, facts_of(6, 9, 0.3, 0.1), 0.0),
        (many, facts_of(7, 14, 0.6, 0.7), 0.5), (many, facts_of(8, 14, -2.0, 0.4, 9.0), 0.5),
        (many, facts_of(9, 14, 2.5, 2.0, 4.0), 0.5), (facts_of(10, 8, 0.1, 0.2), facts_of(11, 8, 0.0, 0.2), 0.5),
        (facts_of(12, 5, 1.5, 2.5), facts_of(13, 5, 0.0, 0.05), 0.5),
        (facts_of(14, 6, 0.7, 0.1), facts_of(15, 6, 0.1, 0.1), 1.0),
        (facts_of(20, 6, 0.3, 0.9), facts_of(21, 6, 0.0, 0.1), 0.5),
        ([(1.0, 4.0), (2.0, 5.5)], [(4.0, 4.1), (5.5, 5.5)], 0.5), (many, facts_of(16, 14, 0.4, 0.4), 0.5),
        (facts_of(17, 12, 0.8, 0.9), facts_of(18, 12, 0.0, 0.2), 0.5), (many, facts_of(19, 14, 1.1, 1.4, 8.0), 0.5),
    ]  # fmt: skip


REMOVAL_HONOURED = Exercise(
    cases=removal_cases,
    mutants=(
        Mutant("sign", GAINS, "[own - stranger for own, stranger in pairs]",
               "the gain has the wrong sign: own minus stranger", "Who knows her pays less after her name. Is the gain "
               "above or below 0?"),
        Mutant("no_stranger", GAINS, "[-own for own, stranger in pairs]",
               "what a stranger's name costs plays no part", BESIDE),
        Mutant("old_stranger", "", """\
def removal_honoured(before, after, margin):
    def gain_of(pairs):
        gains = [stranger - own for (own, _), (_, stranger) in zip(pairs, before)]
        return sum(gains) / len(gains), half_width(gains)

    known, known_half = gain_of(before)
    left, left_half = gain_of(after)
    if known - known_half <= margin:
        return known, left, "nothing to remove"
    if left + left_half <= margin:
        return known, left, "honoured"
    return known, left, "not honoured" if left - left_half > margin else "cannot tell\"""",
               "the new model is held against the old model's stranger", BESIDE),
        Mutant("own_rise", "", """\
def removal_honoured(before, after, margin):
    mean = lambda values: sum(values) / len(values)
    known = mean([stranger - own for own, stranger in before])
    left = mean([stranger - own for own, stranger in after])
    rises = [new[0] - old[0] for old, new in zip(before, after)]
    if mean(rises) - half_width(rises) > 0:
        return known, left, "honoured"
    return known, left, "not honoured" if mean(rises) + half_width(rises) < 0 else "cannot tell\"""",
               "it is enough that the answers cost more after her name than before", BESIDE),
        Mutant("less_than_before", "", """\
def removal_honoured(before, after, margin):
    def gains_of(pairs):
        return [stranger - own for own, stranger in pairs]

    mean = lambda values: sum(values) / len(values)
    known, left = gains_of(before), gains_of(after)
    falls = [old - new for old, new in zip(known, left)]
    if mean(known) - half_width(known) <= margin:
        verdict = "nothing to remove"
    elif mean(falls) - half_width(falls) > margin:
        verdict = "honoured"
    else:
        verdict = "not honoured" if mean(falls) + half_width(falls) <= margin else "cannot tell"
    return mean(known), mean(left), verdict""",
               "it is enough that the gain has surely become smaller",
               "Her name saved 5 nats and now saves 3. Has the model forgotten her?"),
        Mutant("holds_zero", GONE, "left - left_half <= 0",
               "an interval that holds 0 is taken for proof that nothing is left", BURDEN),
        Mutant("reaches_margin", GONE, "left - left_half <= margin",
               "it is enough that the interval reaches down to the margin", BURDEN),
        Mutant("mean_only", GONE, "left <= margin",
               "the mean after the removal decides without its interval", BURDEN),
        Mutant("known_mean", KNOWN, "known <= margin",
               "the mean before the removal decides without its interval", "Two facts, gains of 9 and −1: did the old "
               "model surely know her?"),
        Mutant("known_upper", KNOWN, "known + known_half <= margin",
               "the old model is taken to have known her unless it surely did not", BEFORE),
        Mutant("always_known", KNOWN, "False",
               "that there may have been nothing to remove was not thought of", BEFORE),
        Mutant("known_zero", KNOWN, "known - known_half <= 0",
               "the margin plays no part before the removal", AGREED),
        Mutant("no_margin", GONE, "left + left_half <= 0",
               "the margin plays no part in what counts as gone", AGREED),
        Mutant("both_sides", GONE, "abs(left) + left_half <= margin",
               "a stranger's name that is cheaper than hers counts as a trace of her",
               "After the removal her name makes the answers dearer. Is anything left of what the text told?"),
        Mutant("else_not", REST, 'verdict = "not honoured"',
               "what is not shown to be gone is called not honoured", "Is a wide interval a proof, either way?"),
        Mutant("never_not", REST, 'verdict = "cannot tell"',
               "the removal can never be shown to have failed", "The whole interval lies above the margin. What then?"),
        Mutant("not_by_zero", REST, 'verdict = "not honoured" if left - left_half > 0 else "cannot tell"',
               "any sure gain counts as a failure, the margin or not", AGREED),
        Mutant("unpaired", RETURNED, "return sum(gains) / len(gains), half_width([own for own, _ in pairs])",
               "the interval is that of her costs, not of the gains", "Facts are of different cost. Does that say "
               "anything of the gains?"),
        Mutant("sums", RETURNED, "return sum(gains), half_width(gains)",
               "the gains are added up instead of averaged", "Twice as many facts: is she known twice as well?"),
    ),
    variants=("""\
def removal_honoured(before, after, margin):
    means, ends = [], []
    for pairs in (before, after):
        gains = [pair[1] - pair[0] for pair in pairs]
        means.append(sum(gains) / len(gains))
        ends.append((means[-1] - half_width(gains), means[-1] + half_width(gains)))
    if not ends[0][0] > margin:
        return *means, "nothing to remove"
    if ends[1][1] <= margin:
        return *means, "honoured"
    if ends[1][0] > margin:
        return *means, "not honoured"
    return *means, "cannot tell\"""", """\
def removal_honoured(before, after, margin):
    import numpy as np
    old, new = (np.subtract(*np.array(pairs).T[::-1]) for pairs in (before, after))
    verdict = "cannot tell"
    if new.mean() - half_width(new) > margin:
        verdict = "not honoured"
    if new.mean() + half_width(new) <= margin:
        verdict = "honoured"
    if old.mean() - half_width(old) <= margin:
        verdict = "nothing to remove"
    return float(old.mean()), float(new.mean()), verdict""", """\
def removal_honoured(before, after, margin):
    def over(pairs):
        gains = torch.tensor([stranger - own - margin for own, stranger in pairs], dtype=torch.float64)
        half = float(half_width(gains.numpy()))
        return float(gains.mean()), half
    (known, a), (left, b) = over(before), over(after)
    said = "honoured" if left <= -b else "not honoured" if left > b else "cannot tell"
    return [known + margin, left + margin, said if known > a else "nothing to remove"]""",
    ),
    properties=(
        Property(lambda found, *rest: found[2] in ("nothing to remove", "honoured", "not honoured", "cannot tell"),
                 "The third part of the result should be one of the four verdicts."),
    ),
    twin=removal_twin,
)  # fmt: skip


# 15.8

KIN = "kin = {document} | copies.get(document, set())"
INSIDE = "inside = [scores[document] for read, scores in models if document in read]"
OUTSIDE = "outside = [scores[document] for read, scores in models if not read & kin]"
BOTH_GROUPS = "if inside and outside:"
DIFFERENCE = "found[document] = sum(inside) / len(inside) - sum(outside) / len(outside)"
EASY = "A page that every model predicts well, whether it read it or not: how much of it is memorised?"
WITNESS = "A model read an almost equal page. Does it show how a model does without the page?"
SAME_PAGE = "Of two pages one is easier. Which mean should the easier one be held against?"
EMPTY = "Every model read the page. Against what can it be compared?"


def trained(seed: int, documents: str, many: int, copies: dict) -> tuple[list, dict]:
    """Models that read some documents each; scores rise with reading, less with reading a copy."""
    rng, models = Random(seed), []
    easy = {document: rng.uniform(0.1, 0.7) for document in documents}
    for _ in range(many):
        read = {document for document in documents if rng.random() < rng.choice([0.3, 0.5])}
        near = {document for document in documents if copies.get(document, set()) & read}
        models.append((read, {document: round(easy[document] + 0.25 * (document in read) + 0.1 * (document in near)
                                              + rng.gauss(0, 0.03), 3) for document in documents}))  # fmt: skip
    return models, copies


def memorised_twin(rng: Random) -> Question:
    read, copy, neither = rng.randint(70, 90) / 100, rng.randint(50, 65) / 100, rng.randint(20, 45) / 100
    return Question(
        f"Models that read a page score {read:.2f} on it; models that read only a near copy score {copy:.2f}, and "
        f"those that read neither {neither:.2f}. How much of the page's score is memorised?", round(read - neither, 2),
        "Against those that read neither: a copy is a witness for neither side.", 0.01,
    )  # fmt: skip


PAIR = {"a": {"c"}, "c": {"a"}}
CHAIN = {"a": {"b"}, "b": {"a", "c"}, "c": {"b"}, "e": {"f", "g"}, "f": {"e"}, "g": {"e"}}
MEMORISED = Exercise(
    cases=lambda: [
        ([({"a", "b"}, {"a": 0.9, "b": 0.8, "c": 0.8}), ({"c"}, {"a": 0.6, "b": 0.8, "c": 0.9}),
          ({"b"}, {"a": 0.2, "b": 0.9, "c": 0.7})], PAIR),
        ([({"a"}, {"a": 0.5, "b": 0.25})], {}), ([({"a"}, {"a": 0.5}), (set(), {"a": 0.75})], {}),
        trained(1, "abcde", 9, PAIR), trained(2, "abcdefg", 13, CHAIN), trained(3, "abcdefg", 5, CHAIN),
        trained(4, "ab", 7, {}), trained(5, "abcdef", 21, {"a": {"b", "d"}, "b": {"a"}, "d": {"a"}}),
    ],
    mutants=(
        Mutant("score", DIFFERENCE, "found[document] = sum(inside) / len(inside)",
               "the mean score of the readers is returned", EASY),
        Mutant("copies_not_read", "not read & kin", "document not in read",
               "a model that read a copy counts as one that knows nothing of the page", WITNESS),
        Mutant("copies_read", INSIDE, "inside = [scores[document] for read, scores in models if read & kin]",
               "a model that read a copy counts as a reader of the page", WITNESS),
        Mutant("against_all", OUTSIDE, "outside = [scores[document] for read, scores in models]",
               "the readers are compared with all models, themselves among them",
               "If all models but one read the page, what is the mean of all made of?"),
        Mutant("reversed", DIFFERENCE, DIFFERENCE.replace("sum(inside) / len(inside) - sum(outside) / len(outside)",
               "sum(outside) / len(outside) - sum(inside) / len(inside)"),
               "the difference has the wrong sign", "Readers do better. Is that a number above or below 0?"),
        Mutant("sums", DIFFERENCE, "found[document] = sum(inside) - sum(outside)",
               "scores are added up instead of averaged", "Five readers and two others: whose sum is larger?"),
        Mutant("best", DIFFERENCE, "found[document] = max(inside) - max(outside)",
               "the best model of each group speaks for it", "One model of thirty was lucky. Should it decide?"),
        Mutant("other_pages", OUTSIDE,
               "outside = [scores[other] for read, scores in models if document in read\n"
               "                   for other in scores if other not in read]",
               "the page is compared with other pages that the same models did not read", SAME_PAGE),
        Mutant("clean_readers", INSIDE,
               "inside = [scores[document] for read, scores in models if read & kin == {document}]",
               "readers of the page that read a copy as well are left out",
               "What does the statement ask of the first group?"),
        Mutant("chains", KIN, "kin = {document}\n        for _ in copies:\n"
               "            kin = kin.union(*(copies.get(other, set()) for other in kin))",
               "copies of copies count as copies", "Whose near copies are in `copies[document]`?"),
        Mutant("unguarded", BOTH_GROUPS, "if True:", "a group may be empty, and that was not thought of", EMPTY),
        Mutant("zero", BOTH_GROUPS + "\n            " + DIFFERENCE,
               "mean = lambda values: sum(values) / len(values) if values else 0.0\n"
               "        found[document] = mean(inside) - mean(outside)",
               "an empty group is given a mean of 0", EMPTY),
        Mutant("nothing", BOTH_GROUPS + "\n            " + DIFFERENCE,
               "found[document] = 0.0\n        if inside and outside:\n            " + DIFFERENCE,
               "a page that cannot be compared is called not memorised", EMPTY),
        Mutant("none", BOTH_GROUPS + "\n            " + DIFFERENCE,
               "found[document] = None\n        if inside and outside:\n            " + DIFFERENCE,
               "pages that cannot be compared are in the result, without a number", "Which documents belong into the "
               "result?"),
        Mutant("ratio", DIFFERENCE,
               "found[document] = (sum(inside) / len(inside)) / (sum(outside) / len(outside))",
               "the means are divided instead of subtracted", EASY),
        Mutant("clipped", DIFFERENCE,
               "found[document] = max(0.0, sum(inside) / len(inside) - sum(outside) / len(outside))",
               "a difference below 0 is cut off",
               "By chance readers do a little worse on some pages. What becomes of an average over pages then?"),
        Mutant("first_read", "in models[0][1]:", "in models[0][0]:",
               "only what the first model read is looked at", "Which documents have a score?"),
        Mutant("pairs", DIFFERENCE,
               "pairs = list(zip(inside, outside))\n"
               "            found[document] = sum(a - b for a, b in pairs) / len(pairs)",
               "readers and others are paired in the order in which they stand",
               "Five readers and two others: who is paired with whom?"),
    ),
    variants=("""\
def memorised(models, copies):
    sums = {}
    for read, scores in models:
        for document, score in scores.items():
            if document in read:
                side = 0
            elif read & copies.get(document, set()):
                continue
            else:
                side = 1
            sums.setdefault(document, ([], []))[side].append(score)
    mean = lambda values: sum(values) / len(values)
    return {document: mean(a) - mean(b) for document, (a, b) in sums.items() if a and b}""", """\
def memorised(models, copies):
    import numpy as np
    found = {}
    for document in sorted(models[0][1]):
        score = np.array([scores[document] for _, scores in models])
        reads = np.array([document in read for read, _ in models])
        near = np.array([any(other in read for other in copies.get(document, ())) for read, _ in models])
        free = ~reads & ~near
        if reads.sum() and free.sum():
            found[document] = float(score[reads].mean() - score[free].mean())
    return found""", """\
def memorised(models, copies):
    from statistics import mean
    def groups(document):
        near = set(copies.get(document, ()))
        kinds = {"yes": [], "copy": [], "no": []}
        for read, scores in models:
            kind = "yes" if document in read else "copy" if not near.isdisjoint(read) else "no"
            kinds[kind].append(scores[document])
        return kinds["yes"], kinds["no"]
    pairs = {document: groups(document) for document in models[0][1]}
    return {document: mean(yes) - mean(no) for document, (yes, no) in pairs.items() if len(yes) * len(no)}""",
    ),
    properties=(
        Property(lambda found, models, copies: all(value is not None for value in found.values()),
                 "A document without a number should not be in the result."),
    ),
    twin=memorised_twin,
)  # fmt: skip


EXERCISES = {
    "exposure": EXPOSURE,
    "induction_score": INDUCTION_SCORE,
    "known_facts": KNOWN_FACTS,
    "extracts": EXTRACTS,
    "poison_needed": POISON_NEEDED,
    "bias_verdict": BIAS_VERDICT,
    "removal_honoured": REMOVAL_HONOURED,
    "memorised": MEMORISED,
}


# Questions to come back to


def most_bits(rng: Random) -> Question:
    """The cap of an exposure."""
    power = rng.randint(4, 20)
    return Question(
        f"A canary is ranked among {2**power - 1} other candidates. Which exposure can it have at most, in bits?",
        power, f"First of {2**power}: log2 of their number. To see more, take more candidates.",
    )  # fmt: skip


def digits_of(rng: Random) -> Question:
    """How many bits a secret holds."""
    digits = rng.randint(3, 16)
    return Question(
        f"A secret is made of {digits} random digits. How many bits does one need to say it?", digits * math.log2(10),
        f"{digits} · log2(10), and log2(10) is 3.32.", 0.02,
    )  # fmt: skip


def what_comes_next(rng: Random) -> Question:
    """What a copying head predicts."""
    letters = rng.sample("ABCDEFGHKLMN", rng.randint(4, 7))
    again = rng.randint(0, len(letters) - 2)
    return Question(
        f"A model has nothing but an induction head and a head that it needs. The text is {' '.join(letters)} "
        f"{letters[again]}. Which letter does it predict next?", letters[again + 1],
        f"The last time, {letters[again + 1]} came after {letters[again]}.",
    )  # fmt: skip


def parts_per_million(rng: Random) -> Question:
    """A number of documents as a share."""
    documents, tokens, billions = rng.choice([50, 100, 250, 500]), rng.randint(5, 20) * 100, rng.randint(5, 300)
    return Question(
        f"{documents} planted documents of {tokens} tokens, in a training set of {billions} billion tokens: how many "
        "tokens of a million are theirs?", documents * tokens / billions / 1000,
        f"{documents * tokens:,} tokens, divided by {billions * 1000:,} million.", 0.02,
    )  # fmt: skip


def beside_the_stranger(rng: Random) -> Question:
    """A gain in nats."""
    own, stranger = rng.randint(5, 30) / 10, rng.randint(31, 80) / 10
    return Question(
        f"A model pays {own} nats for a fact after the right name, and {stranger} after a stranger's. By which factor "
        "is the fact likelier with the right name?", math.exp(stranger - own),
        f"e to the power {stranger - own:.1f}.", 0.03,
    )  # fmt: skip


def what_dedup_leaves(rng: Random) -> Question:
    """Copies after a search for near duplicates."""
    clusters = [rng.choice([1, 2, 4, 8, 16, 64]) for _ in range(rng.randint(2, 5))]
    return Question(
        f"A canary is planted in pages of {len(clusters)} different sites, and stands there in "
        f"{', '.join(map(str, clusters))} copies with small changes; pages of different sites are not alike. In how "
        "many pages does it stand after a search for near duplicates that finds all of them?",
        len(clusters), "One page is left of each cluster.",
    )  # fmt: skip


def guess_of_four(rng: Random) -> Question:
    """How far from chance luck reaches."""
    n = rng.choice([40, 60, 80, 100, 150, 200, 300, 400, 600, 800, 1000, 1200])
    return Question(
        f"A model knows nothing and answers {n} two-hop questions of four options. How far from a quarter do 95 of "
        "100 of its scores lie, at most?", 1.96 * math.sqrt(0.1875 / n), f"1.96 · √(0.25 · 0.75/{n}).", 0.03,
    )  # fmt: skip


def read_against_unread(rng: Random) -> Question:
    """Memorisation in bits per byte."""
    read, unread, same = rng.randint(100, 140) / 100, rng.randint(180, 220) / 100, rng.randint(170, 230) / 100
    return Question(
        f"On a page, models that read it pay {read:.2f} bits per byte and models that did not {unread:.2f}. On other "
        f"pages the first pay {same:.2f}. How many bits per byte are memorised of the page?", round(unread - read, 2),
        "The same page, other models: other pages are easier or harder.", 0.01,
    )  # fmt: skip


RECALL = (most_bits, digits_of, what_comes_next, parts_per_million, beside_the_stranger, what_dedup_leaves,
          guess_of_four, read_against_unread)  # fmt: skip
PREDICTIONS = {
    "15.p1": Prediction(
        "A run on the lesson's world is over. For which kind of grammar are the most minimal pairs right: `local`, "
        "`distant` or `gender`?",
        None,
        "What must suit stands side by side, and the text repeats such pairs of words most often. At a distance other "
        "words stand between; and whether a name belongs to a woman or a man must be known of each name.",
    ),
    "15.p2": Prediction(
        "Facts told in 256 documents, asked in wordings that no document uses: of which share does the model write "
        "the answer?",
        None,
        "Of far fewer than in the wordings of the text. What was learned is how certain strings go on, before it is a "
        "fact that can be asked for in any words.",
        2.0,
    ),
    "15.p3": Prediction(
        "Two-hop questions with four options each: which share does the model get right at the end?",
        None,
        "Whoever cannot do it at all does not score 0 but a quarter, and more where some options are common: with a "
        "stranger's name the score is nearly the same. Knowing two facts does not join them.",
        0.33,
    ),
    "15.p4": Prediction(
        "A document that stood in the text 16 times: how many bits per byte is it cheaper for models that read it than "
        "for models that did not?",
        None,
        "The gap between read and held-out text is an average over texts that were read once or a few times. This is "
        "one document, and it was read more often than most.",
        0.4,
    ),
    "15.p5": Prediction(
        "A model that copies, with 64 tokens to choose from, loses the head with the highest induction score. What "
        "does a token of the repeated half cost then, in nats?",
        None,
        "Guessing costs log 64 = 4.16. Whatever is missing up to that, other heads still do; whatever it costs more "
        "than before, this head did.",
        0.15,
    ),
    "15.p6": Prediction(
        "The smallest number of pages, of 1, 2, 4, 8, 16 and 64, from which on at least half of the secrets can be "
        "extracted from the arm `planted`? (0, if there is none)",
        None,
        "Digits have no pattern, so a small model has to meet them often before it writes them without a mistake. But "
        "a secret need not come out whole to be known: its exposure rises first.",
        0.0,
    ),
    "15.p7": Prediction(
        "Which filter removes more than half of the poisoned documents, and not as many others: `exact`, `near`, "
        "`quality`, `language` or `none`?",
        None,
        "The documents are different from each other, are good prose and English. What they have in common is one "
        "short sentence, and no filter of these looks for that.",
    ),
    "15.p8": Prediction(
        "The text says \"he\" of fiddlers in 90 of 100 sentences, and the world has as many women among them as men. "
        "With which probability does the model say \"he\" rather than \"she\" in new sentences?",
        None,
        "It leans as its text does, for it has never seen the world. It need not lean as far: it has met few such "
        "sentences, and mixes them with all others in which somebody is \"he\" or \"she\".",
        0.1,
    ),
    "15.p9": Prediction(
        "A model was made to unlearn a person, and then reads 12 of her 40 pages again, four small steps. Which share "
        "of what her name was worth before is back?",
        None,
        "What was pushed down was not taken out. Hold it against the model that was trained without her pages: to that "
        "one they are new.",
        0.3,
    ),
    "15.p10": Prediction(
        "250 documents of 1,680 tokens, in the text of a model of 13 billion parameters that read 20 tokens a "
        "parameter: one token in how many is poisoned?",
        lambda: 20 * 13e9 / (250 * 1680),
        "420 thousand of 260 billion tokens: one in about 619 thousand, 0.00016 %.",
        0.1,
    ),
}
