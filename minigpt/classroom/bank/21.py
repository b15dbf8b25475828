"""Lesson 21, data parallel training: cases, and the wrong ideas that people have about it.

Everything is a list per rank in one process: no case starts another. The numbers of ranks, micro-batches, parameters
and features are pairwise distinct wherever an exercise allows it.
"""
import math
import random
from itertools import pairwise

import torch

from . import Exercise, Mutant, Prediction, Property, Question, normal

NAN = math.nan


# 21.1


def busiest_twin(rng: random.Random) -> Question:
    n, size = rng.randint(3, 12), rng.randint(2, 9)
    return Question(
        f"{n} ranks have gradients of {size} MB each. All others send theirs to rank 0, which adds up and sends each "
        "of them the sum. How many MB pass through rank 0's wire, both directions together?", 2 * (n - 1) * size,
        f"{n - 1} messages of {size} MB come in, and as many go out.",
    )  # fmt: skip


ITSELF = "What does rank 0 have to send to itself?"
OWN_COPY = "A wire leads to one rank. How many of them are waiting for the sum?"
WHOLE_VECTORS = "Which part of its gradient does a rank send to rank 0 here: all of it, or a piece?"
LARGE_AS_ONE = "How many numbers has the sum of four gradients of six numbers each?"
BUSIEST_RANK = Exercise(
    cases=lambda: [(2, 100), (4, 6), (8, 1000), (3, 7), (64, 4_000_000_000), (1, 12), (5, 1)],
    mutants=(
        Mutant("itself", "messages = n - 1", "messages = n",
               "rank 0 sends a message to itself as well", ITSELF),
        Mutant("receives_own", "[messages * size,", "[n * size,",
               "rank 0 receives its own gradient too", ITSELF),
        Mutant("sends_own", ", messages * size]", ", n * size]",
               "rank 0 sends the sum to itself too", ITSELF),
        Mutant("already_summed", "messages = n - 1", "messages = min(1, n - 1)",
               "one message comes in and one goes out, as if somebody on the way added and copied",
               "Who adds up the gradients, and how do they all get there?"),
        Mutant("one_broadcast", ", messages * size]", ", min(1, messages) * size]",
               "one message with the sum reaches everybody", OWN_COPY),
        Mutant("one_comes_in", "[messages * size,", "[min(1, messages) * size,",
               "the gradients of all others come in as one message",
               "Who could have added them up before they arrive at rank 0?"),
        Mutant("pieces", "messages = n - 1", "messages = (n - 1) / n",
               "each rank sends only its nth part", WHOLE_VECTORS),
        Mutant("ring", "messages = n - 1", "messages = 2 * (n - 1) / n",
               "the bytes are those of a ring, in which pieces travel", WHOLE_VECTORS),
        Mutant("sum_larger", ", messages * size]", ", messages * n * size]",
               "the sum of n gradients is taken to be n times as large as one", LARGE_AS_ONE),
        Mutant("all_gradients_back", ", messages * size]", ", messages * messages * size]",
               "rank 0 sends on the gradients of the others, one by one, instead of their sum", LARGE_AS_ONE),
        Mutant("all_pairs", "messages = n - 1", "messages = n * (n - 1)",
               "everybody sends to everybody",
               "To whom does rank 3 send its gradient?"),
        Mutant("messages_only", "[messages * size, messages * size]", "[messages, messages]",
               "messages are counted, not their bytes",
               "How many bytes has one message?"),
        Mutant("doubled", "messages = n - 1", "messages = 2 * (n - 1)",
               "both directions are counted in each of the two numbers",
               "Which messages come in, and which go out?"),
        Mutant("one_number", "return [messages * size, messages * size]", "return 2 * messages * size",
               "both directions are added up to one number",
               "Which two numbers should come back?"),
        Mutant("tree", "messages = n - 1", "messages = (n - 1).bit_length()",
               "the messages are those of a tree, in which others add up on the way",
               "Who adds up here, and how many messages does it take until rank 0 has everything?"),
    ),
    variants=("""\
def busiest_rank(n, size):
    received = sum(size for rank in range(n) if rank != 0)
    return received, received""", """\
def busiest_rank(n, size):
    return [n * size - size] * 2""", """\
def busiest_rank(n, size):
    wire = {"in": 0, "out": 0}
    for _ in range(1, n):
        wire["in"] += size
        wire["out"] += size
    return list(wire.values())""",
    ),
    properties=(
        Property(lambda found, n, size: n > 1 or list(found) == [0, 0],
                 "A single rank has nobody to send to, and in yours it does."),
    ),
    twin=busiest_twin,
)  # fmt: skip


# 21.2


def loss_twin(rng: random.Random) -> Question:
    a, b = rng.sample(range(2, 8), 2)
    few, many = rng.choice([10, 20, 30]), rng.choice([50, 60, 90])
    return Question(
        f"Rank 0 has the mean loss {a} over {few} targets, rank 1 the mean loss {b} over {many}. What is the mean over "
        "all targets?", (a * few + b * many) / (few + many),
        f"({a} · {few} + {b} · {many}) / ({few} + {many}): sums and counts add up, means do not.", 0.01,
    )  # fmt: skip


LOSS_SUM = "total = sum(mean * count for mean, count in zip(means, counts) if count > 0)"
LOSS_RETURN = "return total / sum(counts)"
LOSS_BODY = LOSS_SUM + "\n    " + LOSS_RETURN
ALIKE = "A rank has 10 targets, another 1000. How much should one target of the first count, beside one of the second?"
EMPTY = "What is NaN times 0, and what is NaN plus 1?"
GLOBAL_LOSS = Exercise(
    cases=lambda: [([2.0, 4.0], [30, 10]), ([2.0, NAN], [30, 0]), ([2.0, 3.0, 5.0], [10, 30, 20]),
                   ([7.0, 0.5, NAN, 1.25, NAN], [1, 900, 0, 333, 0]), ([3.0], [17]),
                   ([NAN, 6.0, 1.0, 2.5], [0, 12, 400, 400])],
    mutants=(
        Mutant("mean_of_means", LOSS_BODY,
               "means = [m for m in means if m == m]\n    return sum(means) / len(means)",
               "the means of the ranks that have one are averaged, however many targets they had", ALIKE),
        Mutant("mean_of_means_nan", LOSS_BODY, "return sum(means) / len(means)",
               "the means of all ranks are averaged, also those without targets", ALIKE),
        Mutant("nan_is_zero", LOSS_BODY, "return sum(m for m in means if m == m) / len(means)",
               "a rank without targets counts as one with a loss of 0",
               "A rank that has nothing to say: should it make the loss smaller?"),
        Mutant("nan_spreads", " if count > 0", "",
               "the NaN of a rank without targets gets into the sum", EMPTY),
        Mutant("by_ranks", "/ sum(counts)", "/ len(counts)",
               "the sum over targets is divided by the number of ranks",
               "How many losses have been added up in your sum?"),
        Mutant("by_ranks_with_targets", "/ sum(counts)", "/ sum(c > 0 for c in counts)",
               "the sum over targets is divided by the number of ranks that have some",
               "How many losses have been added up in your sum?"),
        Mutant("by_largest", "/ sum(counts)", "/ max(counts)",
               "the sum is divided by the largest count, so that the weights add up to more than 1",
               "All ranks have the loss 2. What should come out, and what does?"),
        Mutant("sum_only", LOSS_RETURN, "return total",
               "the sum over all targets is returned, and not the mean",
               "All ranks have the loss 2. What should come out, and what does?"),
        Mutant("divided_twice", LOSS_SUM, "total = sum(mean for mean, count in zip(means, counts) if count > 0)",
               "the means are added up without their counts, and divided by the count of all",
               "What is the sum of the losses of a rank with a mean of 2 over 30 targets?"),
        Mutant("divided_by_count", "mean * count for", "mean / count for",
               "a mean is divided by its count a second time",
               "What is the sum of the losses of a rank with a mean of 2 over 30 targets?"),
        Mutant("rank_0", LOSS_BODY, "return next(m for m, c in zip(means, counts) if c > 0)",
               "the loss of the first rank that has one is taken for that of all",
               "What do the targets of the other ranks have to do with your number?"),
        Mutant("median", LOSS_BODY,
               "means = sorted(m for m in means if m == m)\n    return means[len(means) // 2]",
               "the rank in the middle stands for all",
               "Which part of the targets does the number come from?"),
        Mutant("largest_rank", LOSS_BODY, "return max(zip(counts, means))[1]",
               "the loss of the rank with the most targets stands for all",
               "Which part of the targets does the number come from?"),
        Mutant("perplexity", LOSS_BODY,
               "total = sum(math.exp(m) * c for m, c in zip(means, counts) if c > 0)\n"
               "    return math.log(total / sum(counts))",
               "the perplexities are averaged instead of the losses",
               "Which of the two adds up over targets: the loss, or its exponential?"),
        Mutant("mean_count", "/ sum(counts)", "/ (sum(counts) / len(counts))",
               "the sum is divided by the mean count of a rank",
               "How many losses have been added up in your sum?"),
    ),
    variants=("""\
def global_loss(means, counts):
    share = [count / sum(counts) for count in counts]
    return sum(s * m for s, m in zip(share, means) if s)""", """\
def global_loss(means, counts):
    sums = torch.nan_to_num(torch.tensor(means, dtype=torch.float64)) * torch.tensor(counts)
    return (sums.sum() / sum(counts)).item()""", """\
def global_loss(means, counts):
    numerator = denominator = 0
    for m, c in zip(means, counts):
        if c == 0:
            continue
        numerator, denominator = numerator + m * c, denominator + c
    return numerator / denominator""", """\
def global_loss(means, counts):
    pairs = [(m, c) for m, c in zip(means, counts) if m == m]
    return sum(m * c for m, c in pairs) / sum(c for _, c in pairs)""",
    ),
    properties=(
        Property(lambda loss, means, counts: min(m for m in means if not math.isnan(m)) - 1e-6 <= loss
                 <= max(m for m in means if not math.isnan(m)) + 1e-6,
                 "A mean lies between the smallest and the largest of what it is made of, and yours does not."),
    ),
    twin=loss_twin,
)  # fmt: skip


# 21.3

A, B, C, D = ("all_reduce", 64), ("barrier", 0), ("all_reduce", 32), ("broadcast", 64)


def hang_cases() -> list[tuple]:
    return [([[A, B], [A, B], [A, B]],), ([[A, B], [A, C], [A, B]],), ([[A, B], [B], [A, B]],),
            ([[A], [A, B], [A, B]],), ([[A, B, C], [A, C, B], [A, B, C], [A, B, C]],),
            ([[A, C, B], [A, A, B]],), ([[C, A, B], [A, A, B], [A, A, B]],), ([[A, B, A], [A, B, A, A]],),
            ([[A, B, D], [A, B, C], [A, B, C], [A, B, D], [A, B, A]],), ([[], [], []],), ([[A, B]],),
            ([[A, A, B], [A, B], [A, A, B], [A, B], [A, A, B]],),
            ([[B, A, C, D], [B, A, C, A], [B, A, C, D], [B, D, C, D]],), ([[], [A], []],),
            ([[A, B], [A, B], [A, B, D], [A, B]],), ([[D, A], [A, D], [A, D], [D, A], [A, D]],),
            ([[A, D, C], [A, D, C], [A, A, C], [A, B, C], [A, C, D]],),
            ([[A], [A, B], [A, D], [A, B]],)]  # fmt: skip


def hang_twin(rng: random.Random) -> Question:
    """Rank `odd` leaves out one call that differs from the next."""
    names = ["all_reduce", "barrier", "all_gather", "broadcast"]
    program = rng.sample(names, 4)
    odd, left = rng.randrange(3), rng.randrange(3)
    mine = program[:left] + program[left + 1 :]
    return Question(
        f"Two of three ranks call {', '.join(program)}; rank {odd} calls {', '.join(mine)}. At which call, counted "
        "from 0, does the run stop?", left,
        f"Call {left} is {program[left]} on two ranks and {mine[left]} on rank {odd}: there they first differ.",
    )  # fmt: skip


HANG_NOW = "now = [c[i] if i < len(c) else None for c in calls]"
HANG_RIGHT = "right = Counter(now).most_common(1)[0][0]  # of equals the one met first: the lowest rank's"
HANG_BLAMED = "blamed = [rank for rank, call in enumerate(now) if call != right]"
HANG_ALL = """\
    for i in range(max(map(len, calls), default=0)):
        now = [c[i] if i < len(c) else None for c in calls]
        right = Counter(now).most_common(1)[0][0]
        blamed = [rank for rank, call in enumerate(now) if call != right]
        if blamed:
            return [i, blamed]
    return None"""
BY_PLACE = "All ranks make a barrier and an all-reduce, rank 2 in the other order. Do its calls meet their partners?"
SIZES = "One rank hands over 64 numbers, another 32. Is that the same call?"
ENDED = "One rank has run out of data and ended its loop. What do the others do at their next call?"
WAITING = "Which ranks do what they should: those that wait, or the one that does not come?"
RANK_0 = "What does your code say when rank 0 is the one that goes astray?"
FIRST = "What still happens on a rank after the first call at which it hangs?"
TIE = "Two ranks make one call, two make another. What does the statement say about equally many?"
WHO_HANGS = Exercise(
    cases=hang_cases,
    mutants=(
        Mutant("sets", "", "def who_hangs(calls):\n    if len({frozenset(c) for c in calls}) == 1:\n"
               "        return None\n" + HANG_ALL,
               "it is only asked whether all ranks make the same calls at some time, in any order", BY_PLACE),
        Mutant("sorted", "", "def who_hangs(calls):\n    calls = [sorted(c) for c in calls]\n" + HANG_ALL,
               "the calls are sorted first, as if they found their partners by name", BY_PLACE),
        Mutant("counts", "", "def who_hangs(calls):\n    if len({tuple(sorted(c)) for c in calls}) <= 1:\n"
               "        return None\n" + HANG_ALL,
               "it is only asked whether all ranks make the same calls equally often, in any order", BY_PLACE),
        Mutant("names_only", HANG_NOW, "now = [c[i][0] if i < len(c) else None for c in calls]",
               "the names are compared and not the sizes", SIZES),
        Mutant("sizes_only", HANG_NOW, "now = [c[i][1] if i < len(c) else None for c in calls]",
               "the sizes are compared and not the names",
               "A broadcast of 64 numbers and an all-reduce of 64 numbers: can they meet?"),
        Mutant("shortest", "max(map(len, calls), default=0)", "min(map(len, calls), default=0)",
               "the walk ends with the shortest list, so that a rank which ends early goes unnoticed", ENDED),
        Mutant("ended_ignored", HANG_NOW + "\n        " + HANG_RIGHT + "\n        " + HANG_BLAMED,
               "now = {rank: c[i] for rank, c in enumerate(calls) if i < len(c)}\n"
               "        right = Counter(now.values()).most_common(1)[0][0]\n"
               "        blamed = [rank for rank, call in now.items() if call != right]",
               "a rank that has ended is left out of the comparison", ENDED),
        Mutant("ended_no_vote", HANG_RIGHT,
               "right = Counter(c for c in now if c is not None).most_common(1)[0][0]",
               "a rank that has ended has no vote, so that even many of them are blamed",
               "Three of five ranks have ended. Which call do most ranks make?"),
        Mutant("ended_alone", HANG_BLAMED, HANG_BLAMED + "\n        if blamed and None in now:\n"
               "            blamed = [rank for rank, call in enumerate(now) if call is None]",
               "where one has ended, those that have ended are blamed, and nobody else",
               "Three of five ranks have ended. Which call do most ranks make?"),
        Mutant("lengths_only", "", """\
def who_hangs(calls):
    lengths = [len(c) for c in calls]
    usual = Counter(lengths).most_common(1)[0][0]
    blamed = [rank for rank, length in enumerate(lengths) if length != usual]
    return [min(lengths), blamed] if blamed else None""",
               "only the numbers of calls are compared",
               "Two programs make two calls each. Must they be the same?"),
        Mutant("waiting", "call != right]", "call == right]\n        blamed = blamed if len(blamed) < len(now) else []",
               "the ranks that wait are named instead of those that make another call", WAITING),
        Mutant("rank_0_right", HANG_RIGHT, "right = now[0]",
               "rank 0 is always taken for right", RANK_0),
        Mutant("last_difference", "", """\
def who_hangs(calls):
    found = None
    for i in range(max(map(len, calls), default=0)):
        now = [c[i] if i < len(c) else None for c in calls]
        right = Counter(now).most_common(1)[0][0]
        blamed = [rank for rank, call in enumerate(now) if call != right]
        if blamed:
            found = [i, blamed]
    return found""",
               "the last difference is told instead of the first", FIRST),
        Mutant("all_differences", "", """\
def who_hangs(calls):
    found = []
    for i in range(max(map(len, calls), default=0)):
        now = [c[i] if i < len(c) else None for c in calls]
        right = Counter(now).most_common(1)[0][0]
        blamed = [rank for rank, call in enumerate(now) if call != right]
        if blamed:
            found.append([i, blamed])
    return found or None""",
               "every difference is told, also those after the first", FIRST),
        Mutant("blame_of_all_places", "", """\
def who_hangs(calls):
    first, ranks = None, set()
    for i in range(max(map(len, calls), default=0)):
        now = [c[i] if i < len(c) else None for c in calls]
        right = Counter(now).most_common(1)[0][0]
        blamed = [rank for rank, call in enumerate(now) if call != right]
        if blamed:
            first = i if first is None else first
            ranks |= set(blamed)
    return None if first is None else [first, sorted(ranks)]""",
               "ranks are blamed for what their programs would have called after the run has stopped", FIRST),
        Mutant("first_rank_only", "return [i, blamed]", "return [i, blamed[:1]]",
               "only the first of the ranks to blame is named",
               "How many ranks may go astray at the same place?"),
        Mutant("rarest", "call != right]",
               "call == Counter(now).most_common()[-1][0] and call != right]",
               "only the ranks with the rarest call are blamed",
               "Five ranks make four different calls. How many of them make the right one?"),
        Mutant("tie_highest", HANG_RIGHT, "right = Counter(now[::-1]).most_common(1)[0][0]",
               "of two equally frequent calls the highest rank's is taken for right", TIE),
        Mutant("tie_smallest", HANG_RIGHT,
               "right = min(Counter(now).items(), key=lambda pair: (-pair[1], str(pair[0])))[0]",
               "of two equally frequent calls the first in the alphabet is taken for right", TIE),
        Mutant("tie_nobody", "blamed:\n",
               "blamed:\n            votes = Counter(now).most_common()\n"
               "            blamed = [] if votes[0][1] == votes[1][1] else blamed\n",
               "nobody is blamed when two calls are equally frequent", TIE),
        Mutant("from_one", "return [i, blamed]", "return [i + 1, blamed]",
               "the calls are counted from 1", "Which index has the first call of a list?"),
        Mutant("last_right", "return [i, blamed]", "return [i - 1, blamed]",
               "the last call that worked is told", "Which index has the first call of a list?"),
        Mutant("call", "return [i, blamed]", "return [now[blamed[0]], blamed]",
               "the call is told and not its index", "Which two things should come back?"),
        Mutant("ranks_only", "return [i, blamed]", "return blamed",
               "only the ranks are returned", "Which two things should come back?"),
        Mutant("index_only", "return [i, blamed]", "return i",
               "only the index is returned", "Which two things should come back?"),
        Mutant("empty_list", "return None", "return []",
               "an empty list stands for a run without a hang",
               "What should come back when all ranks agree to the end?"),
    ),
    variants=("""\
def who_hangs(calls):
    from itertools import zip_longest

    for i, now in enumerate(zip_longest(*calls)):
        if len(set(now)) > 1:
            right = max(now, key=now.count)
            return i, [r for r in range(len(now)) if now[r] != right]""", """\
def who_hangs(calls):
    longest = max([len(c) for c in calls] + [0])
    padded = [list(c) + [None] * (longest - len(c)) for c in calls]
    for i in range(longest):
        groups = {}
        for rank, program in enumerate(padded):
            groups.setdefault(program[i], []).append(rank)
        if len(groups) > 1:
            right = max(groups.values(), key=lambda ranks: (len(ranks), -ranks[0]))
            return [i, sorted(r for ranks in groups.values() if ranks is not right for r in ranks)]
    return None""", """\
def who_hangs(calls):
    def at(rank, i):
        return calls[rank][i] if i < len(calls[rank]) else None

    i, ranks = 0, range(len(calls))
    while any(i < len(c) for c in calls):
        votes = [sum(at(r, i) == at(s, i) for s in ranks) for r in ranks]
        winner = at(votes.index(max(votes)), i)
        if min(votes) < len(calls):
            return [i, [r for r in ranks if at(r, i) != winner]]
        i += 1
    return None""",
    ),
    twin=hang_twin,
)  # fmt: skip


# 21.4


def ring_twin(rng: random.Random) -> Question:
    n = rng.randint(4, 9)
    rank, k = rng.randrange(n), rng.randint(1, n - 2)
    return Question(
        f"A ring of {n} ranks, as in the lesson: in round 0 rank r sends piece r. Which piece does rank {rank} send in "
        f"round {k}, counted from 0?", (rank - k) % n,
        f"What it received in the round before: {rank} - {k} modulo {n}.",
    )  # fmt: skip


RING_SEND = "send = (rank + first - step) % n"
RING_RECEIVE = "receive = (rank + first - step - 1) % n"
RING_STAGES = "((0, True), (1, False))"
COMPLETE = "After the n - 1 rounds that add, which piece has everybody's numbers on rank r? Which did it receive last?"
AGAINST = "Rank 2 has received piece 1 in the first round. Which piece does it send in the second?"
NEIGHBOUR = "What does my left neighbour send in this round? Write down its `send`."
ROUNDS = "n ranks: how often must others add to a piece until all are in it?"
MODULO = "What comes below piece 0?"


def forms_a_ring(rounds, n, rank) -> bool:
    """Are the numbers those of pieces?"""
    return all(0 <= send < n and 0 <= receive < n for send, receive, _ in rounds)


RING_PIECES = Exercise(
    cases=lambda: [(2, 0), (3, 1), (2, 1), (4, 0), (4, 3), (5, 2), (7, 6), (1, 0), (8, 5)],
    mutants=(
        Mutant("second_stage_unshifted", RING_STAGES, "((0, True), (0, False))",
               "the second stage begins again with piece r, which is not complete", COMPLETE),
        Mutant("shifted_down", RING_STAGES, "((0, True), (-1, False))",
               "the second stage begins one piece below the first instead of one above", COMPLETE),
        Mutant("both_shifted", RING_STAGES, "((1, True), (2, False))",
               "rank r begins with piece r + 1",
               "Which piece does the statement let rank r send in the first round?"),
        Mutant("upwards", f"{RING_SEND}\n            {RING_RECEIVE}",
               RING_SEND.replace("-", "+") + "\n            receive = (rank + first + step - 1) % n",
               "the numbers go up from round to round, so that pieces are sent on that have not come in", AGAINST),
        Mutant("upwards_and_right", f"{RING_SEND}\n            {RING_RECEIVE}",
               RING_SEND.replace("-", "+") + "\n            receive = (rank + first + step + 1) % n",
               "the ring runs the other way, from right to left",
               "From whom does rank 1 receive: from rank 0 or from rank 2?"),
        Mutant("n_rounds", "range(n - 1)", "range(n)",
               "each stage has n rounds", ROUNDS),
        Mutant("n_minus_2", "range(n - 1)", "range(n - 2)",
               "each stage has a round too few", ROUNDS),
        Mutant("adds_n_rounds", "return rounds",
               "return [(send, receive, k < n) for k, (send, receive, _) in enumerate(rounds)]",
               "the first round that should copy adds as well", ROUNDS),
        Mutant("one_round_more", "", """\
def ring_pieces(n, rank):
    return [((rank - k) % n, (rank - k - 1) % n, k < n) for k in range(2 * n - 1)]""",
               "there is one round too many, and it adds", ROUNDS),
        Mutant("one_stage", RING_STAGES, "((0, True),)",
               "the rounds end when each rank has one complete piece",
               "After the rounds that add, how many complete pieces has a rank?"),
        Mutant("no_modulo", f"{RING_SEND}\n            {RING_RECEIVE}",
               "send = rank + first - step\n            receive = rank + first - step - 1",
               "pieces get numbers below 0 or above n - 1", MODULO),
        Mutant("receive_no_modulo", RING_RECEIVE, "receive = send - 1",
               "a piece below 0 is received", MODULO),
        Mutant("always_adds", RING_STAGES, "((0, True), (1, True))",
               "complete pieces are added to what is there instead of taking its place",
               "A complete piece arrives at a rank that has a part of its sum. What should be there afterwards?"),
        Mutant("always_copies", RING_STAGES, "((0, False), (1, False))",
               "nothing is ever added",
               "What should become of a rank's own numbers when the first piece arrives?"),
        Mutant("copies_first", RING_STAGES, "((0, False), (1, True))",
               "the rounds that copy come before those that add",
               "What is there to copy before anything was added up?"),
        Mutant("receives_from_right", RING_RECEIVE, "receive = (rank + first - step + 1) % n",
               "what arrives is what the right neighbour sends", NEIGHBOUR),
        Mutant("stops_moving", "return rounds",
               "return [(send if k == 0 else (rank - 1) % n, (rank - 1) % n, adds)\n"
               "            for k, (send, _, adds) in enumerate(rounds)]",
               "after the first round the same piece is received and sent in every round", AGAINST),
        Mutant("receives_fixed", RING_RECEIVE, "receive = (rank - 1) % n",
               "a rank receives the same piece in every round", NEIGHBOUR),
        Mutant("receives_the_same", RING_RECEIVE, "receive = (rank + first - step) % n",
               "a rank receives the piece that it sends", NEIGHBOUR),
        Mutant("receive_unshifted", RING_RECEIVE, "receive = (rank - step - 1) % n",
               "what is received does not move on with the second stage", NEIGHBOUR),
        Mutant("swapped", "(send, receive, adds)", "(receive, send, adds)",
               "what is sent and what is received stand in the wrong order",
               "Which of the three numbers comes first?"),
        Mutant("no_flag", "(send, receive, adds)", "(send, receive)",
               "it is not said whether a piece is added or copied",
               "Which three things belong to a round?"),
        Mutant("own_piece", RING_SEND, "send = rank",
               "a rank sends its own piece in every round", AGAINST),
        Mutant("rank_forgotten", f"{RING_SEND}\n            {RING_RECEIVE}",
               "send = (first - step) % n\n            receive = (first - step - 1) % n",
               "all ranks send the same piece at the same time",
               "If all send piece 0 in the first round, who works on the others?"),
        Mutant("starts_below", RING_STAGES, "((-1, True), (0, False))",
               "rank r begins with piece r - 1",
               "Which piece does the statement let rank r send in the first round?"),
    ),
    variants=("""\
def ring_pieces(n, rank):
    return [((rank - k) % n, (rank - k - 1) % n, k < n - 1) for k in range(2 * n - 2)]""", """\
def ring_pieces(n, rank):
    send, rounds = rank, []
    while len(rounds) < 2 * (n - 1):
        receive = send - 1 if send > 0 else n - 1
        rounds.append([send, receive, len(rounds) < n - 1])
        send = receive
    return rounds""", """\
def ring_pieces(n, rank):
    sends = [[r] for r in range(n)]
    for k in range(2 * (n - 1)):
        for r, last in enumerate([s[-1] for s in sends]):
            sends[(r + 1) % n].append(last)
    mine, left = sends[rank], sends[rank - 1]
    return [(mine[k], left[k], k < n - 1) for k in range(2 * (n - 1))]""",
    ),
    properties=(
        Property(lambda rounds, n, rank: n == 1 or rounds[0][0] == rank, "In the first round rank r sends piece r."),
        Property(forms_a_ring, "A piece has a number from 0 to n - 1, and one of yours has not."),
        Property(lambda rounds, n, rank: all(b[0] == a[1] for a, b in pairwise(rounds)),
                 "A rank passes on what it received in the round before, and yours sends something else."),
    ),
    twin=ring_twin,
)  # fmt: skip


# 21.5


def step_cases() -> list[tuple]:
    """Micro-batches of unequal lengths; clips that bind and clips that do not; one rank, and one micro-batch."""
    cases = []
    for i, (features, lengths, clip, rate) in enumerate((
        (1, [[1], [2]], 9.0, 0.5), (3, [[2, 5], [3, 4]], 0.5, 0.1), (4, [[1, 2, 6], [3, 1, 1]], 1e3, 0.2),
        (2, [[3], [1], [5]], 0.25, 0.3), (5, [[2, 1, 4]], 1e3, 0.05), (3, [[4, 1], [1, 7], [2, 2], [6, 1]], 1.0, 1.0),
    )):  # fmt: skip
        tensors = normal(2150 + i, (features,), *[s for own in lengths for b in own for s in ((b, features), (b,))])
        w, rest = tensors[0], iter(tensors[1:])
        micros = [[(next(rest), 2 + 3 * next(rest)) for _ in own] for own in lengths]
        cases.append((w, micros, clip, rate))
    return cases


def clip_twin(rng: random.Random) -> Question:
    """Two ranks, each with one number of a gradient of two."""
    a, b = rng.choice([(3, 4), (6, 8), (5, 12), (8, 15), (9, 12), (12, 16), (7, 24)])
    clip = rng.choice([1, 2, 2.5, 4])
    length = math.hypot(a, b)
    return Question(
        f"Rank 0 has the gradient ({a}, 0), rank 1 (0, {b}); the losses were divided by the count of both. The "
        f"gradient is to be clipped to the length {clip}. What is its first number in the update?", clip * a / length,
        f"The sum ({a}, {b}) has the length {length:.0f} and is multiplied by {clip} / {length:.0f}. Clipped at home, "
        f"it would have been another direction.", 0.01,
    )  # fmt: skip


VALID = "valid = sum(len(y) for own in micros for x, y in own)"
ZEROS = "grads = [torch.zeros_like(w) for own in micros]"
ADDED = "grad += x.T @ (x @ w - y) / valid"
TOTAL = "total = torch.stack(grads).sum(0)"
CLIPPED = "total = total * min(1.0, clip / total.norm().item())"
NEW = "return [w - rate * total for own in micros]"
AT_HOME = "Two ranks have gradients of length 10 and of length 1. After yours, how much does each of them count?"
GLOBAL_COUNT = "Over how many targets is the loss of the whole batch a mean?"
NO_FURTHER = "By what were the losses divided already?"
WHOLE_SUM = "Which micro-batches has a single device seen that had to do all the work?"
BOUND = "What should the clip do to a gradient that is shorter than it?"
ORDER_STEP = Exercise(
    cases=step_cases,
    mutants=(
        Mutant("clip_at_home", f"{TOTAL}\n    {CLIPPED}",
               "grads = [g * min(1.0, clip / g.norm().item()) for g in grads]\n    " + TOTAL,
               "each rank clips its own gradient before the sum", AT_HOME),
        Mutant("clip_twice", TOTAL,
               "grads = [g * min(1.0, clip / g.norm().item()) for g in grads]\n    " + TOTAL,
               "each rank clips its own gradient, and the sum is clipped again", AT_HOME),
        Mutant("clip_share_at_home", f"{TOTAL}\n    {CLIPPED}",
               "grads = [g * min(1.0, clip / len(grads) / g.norm().item()) for g in grads]\n    " + TOTAL,
               "each rank clips its own gradient to its share of the length", AT_HOME),
        Mutant("mean", TOTAL, "total = torch.stack(grads).mean(0)",
               "the sum over ranks is divided by their number once more", NO_FURTHER),
        Mutant("mean_after_clip", CLIPPED, CLIPPED + "\n    total = total / len(grads)",
               "the clipped gradient is divided by the number of ranks", NO_FURTHER),
        Mutant("micro_batches", VALID, "valid = sum(len(own) for own in micros)",
               "the losses are divided by the number of micro-batches instead of targets", GLOBAL_COUNT),
        Mutant("mean_and_micro_batches", VALID + "\n    " + ZEROS,
               "valid = sum(len(own) for own in micros) * len(micros)\n    " + ZEROS,
               "the losses are divided by the number of micro-batches, and the sum by that of the ranks", GLOBAL_COUNT),
        Mutant("all_wrong_lines", "", """\
def order_step(w, micros, clip, rate):
    valid = sum(len(own) for own in micros)
    grads = [torch.zeros_like(w) for own in micros]
    for grad, own in zip(grads, micros):
        for x, y in own:
            grad += x.T @ (x @ w - y) / valid
    grads = [g * min(1.0, clip / g.norm().item()) for g in grads]
    total = torch.stack(grads).mean(0)
    return [w - rate * total for own in micros]""",
               "all three wrong lines were kept instead of their twins",
               "For each pair of lines that look alike: which one would a single device agree with?"),
        Mutant("micro_batches_clip_at_home", "", """\
def order_step(w, micros, clip, rate):
    valid = sum(len(own) for own in micros)
    grads = [torch.zeros_like(w) for own in micros]
    for grad, own in zip(grads, micros):
        for x, y in own:
            grad += x.T @ (x @ w - y) / valid
    grads = [g * min(1.0, clip / g.norm().item()) for g in grads]
    total = torch.stack(grads).sum(0)
    return [w - rate * total for own in micros]""",
               "the losses are divided by the number of micro-batches, and each rank clips its own gradient", AT_HOME),
        Mutant("clip_at_home_and_mean", "", """\
def order_step(w, micros, clip, rate):
    valid = sum(len(y) for own in micros for x, y in own)
    grads = [torch.zeros_like(w) for own in micros]
    for grad, own in zip(grads, micros):
        for x, y in own:
            grad += x.T @ (x @ w - y) / valid
    grads = [g * min(1.0, clip / g.norm().item()) for g in grads]
    total = torch.stack(grads).mean(0)
    return [w - rate * total for own in micros]""",
               "each rank clips its own gradient, and the sum is divided by the number of ranks", AT_HOME),
        Mutant("own_count", VALID + "\n    " + ZEROS + "\n    for grad, own in zip(grads, micros):\n",
               ZEROS + "\n    for grad, own in zip(grads, micros):\n        valid = sum(len(y) for x, y in own)\n",
               "each rank divides by the count of its own targets", GLOBAL_COUNT),
        Mutant("own_count_and_mean", "", """\
def order_step(w, micros, clip, rate):
    grads = [torch.zeros_like(w) for own in micros]
    for grad, own in zip(grads, micros):
        valid = sum(len(y) for x, y in own)
        for x, y in own:
            grad += x.T @ (x @ w - y) / valid
    total = torch.stack(grads).mean(0)
    total = total * min(1.0, clip / total.norm().item())
    return [w - rate * total for own in micros]""",
               "each rank divides by its own count, and then the gradients are averaged",
               "A rank has 10 targets, another 2. How much does a target of the first one count, and of the other?"),
        Mutant("mean_of_micro_batch", "/ valid", "/ len(y)",
               "each micro-batch is divided by its own count", GLOBAL_COUNT),
        Mutant("no_division", "/ valid", "",
               "the sum of the losses is used instead of their mean", GLOBAL_COUNT),
        Mutant("last_micro", ADDED, "grad[:] = x.T @ (x @ w - y) / valid",
               "only the last micro-batch of each rank is left", WHOLE_SUM),
        Mutant("rank_0_only", TOTAL, "total = grads[0]",
               "the gradient of rank 0 is taken for that of all", WHOLE_SUM),
        Mutant("never_sent", f"{TOTAL}\n    {CLIPPED}\n    {NEW}",
               "grads = [g * min(1.0, clip / g.norm().item()) for g in grads]\n"
               "    return [w - rate * g for g in grads]",
               "every rank makes a step of its own",
               "What must be equal on all ranks, so that the replicas stay equal?"),
        Mutant("never_clipped", CLIPPED, "",
               "nothing is clipped", "Which length may the gradient have in the end?"),
        Mutant("always_scaled", "min(1.0, clip / total.norm().item())", "(clip / total.norm().item())",
               "a short gradient is made longer", BOUND),
        Mutant("clamped", CLIPPED, "total = total.clamp(-clip, clip)",
               "each number is limited by itself, and not the length",
               "Does the gradient point where it did before?"),
        Mutant("uphill", "w - rate * total", "w + rate * total",
               "the step goes uphill", "In which direction does the loss grow?"),
        Mutant("no_rate", "w - rate * total", "w - total",
               "the learning rate is forgotten", "What are the four arguments for?"),
        Mutant("one_vector", NEW, "return w - rate * total",
               "the new weights are returned once, and not for each rank",
               "How many replicas are there, and what has each of them in the end?"),
        Mutant("gradient", NEW, "return [total for own in micros]",
               "the gradient is returned instead of the new weights",
               "What does the optimizer make of the gradient?"),
        Mutant("in_place", NEW, "w -= rate * total\n    return [w.clone() for own in micros]",
               "the weights that were handed in are changed",
               "The caller wants to make the same step again. From which weights does it begin?"),
        Mutant("after_each_micro", "", """\
def order_step(w, micros, clip, rate):
    valid = sum(len(y) for own in micros for x, y in own)
    replicas = [w.clone() for own in micros]
    for same in zip(*micros):
        total = sum(x.T @ (x @ v - y) / valid for v, (x, y) in zip(replicas, same))
        total = total * min(1.0, clip / total.norm().item())
        replicas = [v - rate * total for v in replicas]
    return replicas""",
               "there is an update after each micro-batch",
               "How many updates does an optimizer step with three micro-batches make?"),
    ),
    variants=("""\
def order_step(w, micros, clip, rate):
    x = torch.cat([x for own in micros for x, _ in own])
    y = torch.cat([y for own in micros for _, y in own])
    g = x.T @ (x @ w - y) / len(y)
    if g.norm() > clip:
        g = g / g.norm() * clip
    return [w - rate * g for _ in micros]""", """\
def order_step(w, micros, clip, rate):
    valid, total = sum(y.numel() for own in micros for _, y in own), 0
    for own in micros:
        for x, y in own:
            v = w.clone().requires_grad_()
            (g,) = torch.autograd.grad(((x @ v - y) ** 2).sum() / 2 / valid, v)
            total = total + g
    scale = clip / max(total.norm().item(), clip)
    return [w - rate * scale * total] * len(micros)""", """\
def order_step(w, micros, clip, rate):
    grads, counts = [], []
    for own in micros:
        grads.append(sum(x.T @ (x @ w - y) for x, y in own))
        counts.append(sum(len(y) for _, y in own))
    total = sum(grads) / sum(counts)
    length = total.square().sum().sqrt()
    total = total * torch.clamp(clip / length, max=1.0)
    return [w - rate * total for _ in range(len(micros))]""",
    ),
    properties=(
        Property(lambda new, *_: all(torch.allclose(v, new[0], atol=1e-6) for v in new),
                 "The replicas are not equal after your step."),
        Property(lambda new, w, micros, clip, rate: (new[0] - w).norm() <= rate * clip * (1 + 1e-4),
                 "The weights have moved further than the clip allows, or the gradient was clipped too early."),
    ),
    twin=clip_twin,
)  # fmt: skip


# 21.6


def micro_cases() -> list[tuple]:
    cases = []
    for i, (ranks, micros, shapes) in enumerate((
        (2, 2, [(1,)]), (3, 2, [(4,), (2, 5)]), (2, 4, [(3,), (), (5, 2)]), (4, 1, [(2,)]), (1, 3, [(3, 2)]),
        (2, 3, [(6,), (2, 2)]),
    )):  # fmt: skip
        rest = iter(normal(2160 + i, *shapes * (ranks * micros)))
        cases.append(([[[next(rest) for _ in shapes] for _ in range(micros)] for _ in range(ranks)],))
    return cases


def in_own_memory(function, micro_grads):
    """The gradients, and how many tensors share their memory with another's of the result."""
    found = function(micro_grads)
    try:
        memory = [g.data_ptr() for rank in found for g in rank]
    except Exception:  # no list of lists of tensors: the comparison will say so
        memory = []
    return {"gradients": found, "tensors that ranks share": len(memory) - len(set(memory))}


def micro_twin(rng: random.Random) -> Question:
    a, b, c, d = (rng.randint(1, 30) for _ in range(4))
    return Question(
        f"Two ranks, two micro-batches: rank 0 has the gradients {a} and {b}, rank 1 {c} and {d}; the losses were "
        "divided by the count of the whole batch. With which gradient should rank 1 make its update?", a + b + c + d,
        f"One device would have added up all four: {a} + {b} + {c} + {d}.",
    )  # fmt: skip


OWN = "own = [[sum(g) for g in zip(*micros)] for micros in micro_grads]"
OVER_RANKS = "total = [sum(g) for g in zip(*own)]"
COPIES = "return [[t.clone() for t in total] for _ in micro_grads]"
EARLIER = "How does rank 1 learn of what rank 0 found in its first micro-batch?"
DIVIDED = "By which count were the losses divided? What is left to divide by?"
SHARED = "Rank 0 clips its gradients in place. What happens to those of rank 1?"
OFTEN = "Rank 0's first micro-batch has the gradient 1, all others 0, on two ranks. What should come out, what does?"
REDUCED_GRADIENTS = Exercise(
    cases=micro_cases,
    use=in_own_memory,
    mutants=(
        Mutant("last_only", "", """\
def reduced_gradients(micro_grads):
    total = [sum(g) for g in zip(*(micros[-1] for micros in micro_grads))]
    own = [[sum(g[:-1]) for g in zip(*micros)] for micros in micro_grads]
    return [[mine + t for mine, t in zip(rank, total)] for rank in own]""",
               "only the last micro-batch is sent, and the earlier ones stay at home", EARLIER),
        Mutant("planted", "", """\
def reduced_gradients(micro_grads):
    ranks = len(micro_grads)
    total = [sum(g) / ranks for g in zip(*(micros[-1] for micros in micro_grads))]
    own = [[sum(g[:-1]) for g in zip(*micros)] for micros in micro_grads]
    return [[mine + t for mine, t in zip(rank, total)] for rank in own]""",
               "the earlier micro-batches stay at home, and the last one is averaged over ranks", EARLIER),
        Mutant("mean", OVER_RANKS, "total = [sum(g) / len(g) for g in zip(*own)]",
               "the sum over ranks is divided by their number", DIVIDED),
        Mutant("mean_of_micros", OWN, OWN.replace("sum(g)", "sum(g) / len(g)"),
               "the micro-batches of a rank are averaged instead of added up", DIVIDED),
        Mutant("mean_of_both", OWN + "\n    " + OVER_RANKS, OWN.replace("sum(g)", "sum(g) / len(g)")
               + "\n    total = [sum(g) / len(g) for g in zip(*own)]",
               "both sums are averages", DIVIDED),
        Mutant("sent_every_time", "", """\
def reduced_gradients(micro_grads):
    running = [[torch.zeros_like(g) for g in micros[0]] for micros in micro_grads]
    for k in range(len(micro_grads[0])):
        running = [[r + g for r, g in zip(mine, micros[k])] for mine, micros in zip(running, micro_grads)]
        total = [sum(g) for g in zip(*running)]
        running = [[t.clone() for t in total] for _ in micro_grads]
    return running""",
               "after every micro-batch the sum so far is all-reduced again, so that early ones count several times",
               OFTEN),
        Mutant("averaged_every_time", "", """\
def reduced_gradients(micro_grads):
    running = [[torch.zeros_like(g) for g in micros[0]] for micros in micro_grads]
    for k in range(len(micro_grads[0])):
        running = [[r + g for r, g in zip(mine, micros[k])] for mine, micros in zip(running, micro_grads)]
        total = [sum(g) / len(g) for g in zip(*running)]
        running = [[t.clone() for t in total] for _ in micro_grads]
    return running""",
               "the sum over ranks is divided by their number", DIVIDED),
        Mutant("last_thrown", OWN, "own = [micros[-1] for micros in micro_grads]",
               "all but the last micro-batch is forgotten", EARLIER),
        Mutant("first_only", OWN, "own = [micros[0] for micros in micro_grads]",
               "all but the first micro-batch is forgotten", EARLIER),
        Mutant("never_sent", f"{OVER_RANKS}\n    {COPIES}", "return own",
               "every rank keeps its own gradients",
               "What must be equal on all ranks, so that the replicas stay equal?"),
        Mutant("sent_and_own", COPIES, "return [[t + g for t, g in zip(total, mine)] for mine in own]",
               "a rank adds the sum of all to its own, which is in it already",
               "Which share of the sum did this rank bring along itself?"),
        Mutant("last_counted_twice", COPIES,
               "return [[t + g for t, g in zip(total, micros[-1])] for micros in micro_grads]",
               "a rank's own last micro-batch is added once more",
               "Which share of the sum did this rank bring along itself?"),
        Mutant("others_only", COPIES, "return [[t - g for t, g in zip(total, mine)] for mine in own]",
               "a rank gets the sum of the others, without its own",
               "Has a single device left out the rows of this rank?"),
        Mutant("shared", COPIES, "return [total for _ in micro_grads]",
               "all ranks are given one and the same tensor", SHARED),
        Mutant("shared_tensors", "[t.clone() for t in total]", "[t for t in total]",
               "all ranks are given one and the same tensor", SHARED),
        Mutant("shared_list", COPIES, "return [[t.clone() for t in total]] * len(micro_grads)",
               "all ranks are given one and the same tensor", SHARED),
        Mutant("rank_0", COPIES, "return [t.clone() for t in total]",
               "the gradients are returned once, and not for each rank",
               "How many lists should come back?"),
        Mutant("only_on_rank_0", COPIES,
               "return [[(t if r == 0 else g).clone() for t, g in zip(total, own[r])] for r in range(len(own))]",
               "rank 0 alone gets the sum, and the others keep their own",
               "What must be equal on all ranks, so that the replicas stay equal?"),
        Mutant("own_plus_others_last", "", """\
def reduced_gradients(micro_grads):
    own = [[sum(g) for g in zip(*micros)] for micros in micro_grads]
    last = [micros[-1] for micros in micro_grads]
    n = range(len(own))
    return [[sum((last[s][i] for s in n if s != r), own[r][i]) + 0 for i in range(len(own[r]))] for r in n]""",
               "only the last micro-batch is sent, and the earlier ones stay at home", EARLIER),
        Mutant("in_place", "", """\
def reduced_gradients(micro_grads):
    for micros in micro_grads:
        for later in micros[1:]:
            for g, more in zip(micros[0], later):
                g += more
    total = [sum(g) for g in zip(*(micros[0] for micros in micro_grads))]
    return [[t.clone() for t in total] for _ in micro_grads]""",
               "the gradients that were handed in are changed",
               "What does the caller find in its first micro-batch afterwards?"),
        Mutant("parameters_mixed", COPIES, "return [[sum(t.sum() for t in total)] * len(total) for _ in micro_grads]",
               "the gradients of all parameters are added up to one number",
               "Which shape has the gradient of a parameter?"),
    ),
    variants=("""\
def reduced_gradients(micro_grads):
    ranks, micros, parameters = len(micro_grads), len(micro_grads[0]), len(micro_grads[0][0])
    result = []
    for _ in range(ranks):
        mine = []
        for p in range(parameters):
            total = torch.zeros_like(micro_grads[0][0][p])
            for r in range(ranks):
                for m in range(micros):
                    total += micro_grads[r][m][p]
            mine.append(total)
        result.append(mine)
    return result""", """\
def reduced_gradients(micro_grads):
    every = [gradients for micros in micro_grads for gradients in micros]
    return [[torch.stack(same).sum(0) for same in zip(*every)] for _ in micro_grads]""", """\
def reduced_gradients(micro_grads):
    import copy

    shapes = [g.shape for g in micro_grads[0][0]]
    flat = torch.stack([torch.cat([g.reshape(-1) for g in m]) for rank in micro_grads for m in rank]).sum(0)
    parts = [p.view(s) for p, s in zip(flat.split([s.numel() for s in shapes]), shapes)]
    return [[p.clone() for p in copy.copy(parts)] for _ in range(len(micro_grads))]""",
    ),
    twin=micro_twin,
)  # fmt: skip


# 21.7


def odd_cases() -> list[tuple]:
    return [([[7, 7, 7], [4, 4, 4]],), ([[7, 7, 7], [4, 9, 4], [8, 1, 3]],), ([[5, 6]],), ([[5, 3, 3, 8]],),
            ([[2, 2], [9, 9], [1, 1]],), ([[6, 6, 6, 6], [1, 2, 2, 2], [3, 4, 5, 4]],), ([[8, 8, 3, 3]],),
            ([[1, 1, 1, 1, 1], [9, 9, 2, 2, 2], [9, 5, 2, 2, 2]],), ([[4, 4, 4], [1, 2, 3], [5, 5, 6]],), ([],),
            ([[10**18 + 1, 10**18, 10**18]],), ([[3, 3, 3], [6, 6, 1], [7, 2, 2], [7, 2, 2]],),
            ([[0, 0, 7, 7, 7, 2], [1, 1, 1, 1, 1, 1]],), ([[5], [6]],), ([[9, 9, 2, 2, 7]],),
            ([[1, 1, 8, 8, 8, 8], [2, 2, 2, 2, 2, 3]],), ([[2, 8, 8, 9, 9, 9], [4, 4, 4, 4, 4, 4]],)]  # fmt: skip


def odd_twin(rng: random.Random) -> Question:
    """Checksums of some ranks, one of which differs."""
    good, bad = rng.sample(range(1000, 10_000), 2)
    ranks = rng.randint(3, 6)
    odd = rng.randrange(ranks)
    prints = [bad if r == odd else good for r in range(ranks)]
    return Question(
        f"The checksums of {ranks} ranks are {', '.join(map(str, prints))}. Which rank is the suspect?", odd,
        f"All but rank {odd} agree. How large a checksum is says nothing.",
    )  # fmt: skip


VOTES = "votes = Counter(prints).most_common()"
VERDICT = "return [number, [] if tie else [r for r, p in enumerate(prints) if p != votes[0][0]]]"
TIED = "tie = votes[0][1] == votes[1][1]"
NO_VOTE = "Two groups are equally large. Who has the right weights?"
SIZE_OF_PRINT = "One bit of one weight flips. Does the checksum become larger or smaller?"
BEGAN = "The replicas once were equal. At which check did that end?"
OUTSIDE = "Five ranks: two agree, the others have checksums of their own. Who is outside the largest group?"
ODD_ONE_OUT = Exercise(
    cases=odd_cases,
    mutants=(
        Mutant("rank_0_right", f"{TIED}\n            {VERDICT}",
               "return [number, [r for r, p in enumerate(prints) if p != prints[0]]]",
               "rank 0 is always taken for right", "What does your code say when rank 0 is the one that is wrong?"),
        Mutant("rank_0_right_but_ties", "p != votes[0][0]", "p != prints[0]",
               "rank 0 is taken for right, except in a tie",
               "What does your code say when rank 0 is the one that is wrong?"),
        Mutant("last_check", "enumerate(history)", "reversed(list(enumerate(history)))",
               "the last check that is unequal is told, and not the first", BEGAN),
        Mutant("only_last_check", "for number, prints in enumerate(history):",
               "for number, prints in list(enumerate(history))[-1:]:",
               "only the last check is looked at", BEGAN),
        Mutant("worst_check", "", """\
def odd_one_out(history):
    unequal = [(len(set(prints)), -i) for i, prints in enumerate(history) if len(set(prints)) > 1]
    if not unequal:
        return None
    number = -max(unequal)[1]
    prints = history[number]
    votes = Counter(prints).most_common()
    tie = votes[0][1] == votes[1][1]
    return [number, [] if tie else [r for r, p in enumerate(prints) if p != votes[0][0]]]""",
               "the check with the most different checksums is told, and not the first", BEGAN),
        Mutant("largest", VERDICT, "return [number, [] if tie else [r for r, p in enumerate(prints) "
               "if p == max(prints)]]",
               "the ranks with the largest checksum are named", SIZE_OF_PRINT),
        Mutant("smallest", VERDICT, "return [number, [] if tie else [r for r, p in enumerate(prints) "
               "if p == min(prints)]]",
               "the ranks with the smallest checksum are named", SIZE_OF_PRINT),
        Mutant("far_from_median", VERDICT, "middle = sorted(prints)[len(prints) // 2]\n"
               "            return [number, [] if tie else [r for r, p in enumerate(prints) if p != middle]]",
               "the checksum in the middle is taken for right", SIZE_OF_PRINT),
        Mutant("tie_first", TIED, "tie = False",
               "in a tie the group of the lowest rank is taken for right", NO_VOTE),
        Mutant("tie_all", "[] if tie else", "list(range(len(prints))) if tie else",
               "in a tie everybody is blamed", NO_VOTE),
        Mutant("tie_none", VERDICT, "return None if tie else [number, [r for r, p in enumerate(prints) "
               "if p != votes[0][0]]]",
               "a tie is told as if nothing had happened",
               "Two ranks differ. Is the run in order because nobody knows who is right?"),
        Mutant("tie_next_check", VERDICT, "if not tie:\n                return [number, [r for r, p in "
               "enumerate(prints) if p != votes[0][0]]]",
               "after a tie the next check is asked",
               "Two ranks differ. Is the run in order because nobody knows who is right?"),
        Mutant("tie_only_of_two", TIED, "tie = len(votes) == 2 and votes[0][1] == votes[1][1]",
               "a tie counts as one only if there are two different checksums",
               "Three ranks have three checksums. Which is the largest group?"),
        Mutant("tie_all_differ", TIED, "tie = len(votes) == len(prints)",
               "a tie counts as one only if all checksums differ", NO_VOTE),
        Mutant("tie_any", TIED, "tie = len({count for _, count in votes}) < len(votes)",
               "small groups of equal size make a tie, although a larger one stands above them", OUTSIDE),
        Mutant("strict_majority", TIED, "tie = 2 * votes[0][1] <= len(prints)",
               "the largest group must be more than half of the ranks", OUTSIDE),
        Mutant("majority", "p != votes[0][0]", "p == votes[0][0]",
               "the largest group is named instead of those outside",
               "Who is more likely to be wrong: one rank, or all the others?"),
        Mutant("rarest", "p != votes[0][0]", "p == votes[-1][0]",
               "only one group outside the largest is named", OUTSIDE),
        Mutant("first_rank", VERDICT, VERDICT[:-1].replace("[] if", "([] if") + ")[:1]]",
               "only the first of the suspects is named", OUTSIDE),
        Mutant("most_often", "", """\
def odd_one_out(history):
    odd, first = Counter(), None
    for number, prints in enumerate(history):
        votes = Counter(prints).most_common()
        if len(votes) > 1:
            first = number if first is None else first
            if votes[0][1] > votes[1][1]:
                odd.update(r for r, p in enumerate(prints) if p != votes[0][0])
    most = max(odd.values(), default=0)
    return None if first is None else [first, sorted(r for r in odd if odd[r] == most)]""",
               "those are named that were odd most often, over all checks", BEGAN),
        Mutant("union", "", """\
def odd_one_out(history):
    odd, first = set(), None
    for number, prints in enumerate(history):
        votes = Counter(prints).most_common()
        if len(votes) > 1:
            first = number if first is None else first
            if votes[0][1] > votes[1][1]:
                odd |= {r for r, p in enumerate(prints) if p != votes[0][0]}
    return None if first is None else [first, sorted(odd)]""",
               "the suspects of all checks are thrown together", BEGAN),
        Mutant("from_one", "return [number,", "return [number + 1,",
               "the checks are counted from 1", "Which number has the first check of a list?"),
        Mutant("ranks_only", VERDICT, "return [] if tie else [r for r, p in enumerate(prints) if p != votes[0][0]]",
               "only the ranks are returned", "Which two things should come back?"),
        Mutant("from_step_to_step", "", """\
def odd_one_out(history):
    for number, (before, prints) in enumerate(zip(history, history[1:]), 1):
        changed = [r for r, (a, b) in enumerate(zip(before, prints)) if a != b]
        if changed:
            return [number, changed]
    return None""",
               "a rank's checksum is compared with its own at the check before",
               "The weights change in every step. Should their checksum stay?"),
    ),
    variants=("""\
def odd_one_out(history):
    for i in range(len(history)):
        if len(set(history[i])) == 1:
            continue
        counts = [history[i].count(p) for p in history[i]]
        best = {p for p, c in zip(history[i], counts) if c == max(counts)}
        return i, [r for r, p in enumerate(history[i]) if p not in best] if len(best) == 1 else []
    return None""", """\
def odd_one_out(history):
    bad = next((i for i, row in enumerate(history) if min(row) != max(row)), None)
    if bad is None:
        return None
    groups = {}
    for rank, p in enumerate(history[bad]):
        groups.setdefault(p, set()).add(rank)
    *_, second, first = sorted(groups.values(), key=len)
    if len(first) == len(second):
        return [bad, []]
    return [bad, sorted(set(range(len(history[bad]))) - first)]""", """\
def odd_one_out(history):
    for check, prints in enumerate(history):
        if any(p != prints[0] for p in prints):
            agree = [sum(p == q for q in prints) for p in prints]
            most = max(agree)
            inside = [r for r, a in enumerate(agree) if a == most]
            one = len(inside) == most
            return [check, [r for r in range(len(prints)) if r not in inside] if one else []]""",
    ),
    twin=odd_twin,
)  # fmt: skip


# 21.8


def worth_twin(rng: random.Random) -> Question:
    n, compute, sending = rng.choice([2, 4, 8]), rng.randint(8, 60), rng.randint(1, 6)
    return Question(
        f"On one GPU a step computes for {compute} seconds and sends nothing. {n} GPUs share the computing, and each "
        f"sends for {sending} seconds. What is the efficiency, from 0 to 1?",
        compute / (n * (compute / n + sending)),
        f"The step takes {compute}/{n} + {sending} seconds; {n} times as many are paid, and {compute} of them compute.",
        0.01,
    )  # fmt: skip


SENDING = "sending = 2 * (n - 1) * (alpha + beta * size / n)"
EFFICIENCY = "return step / (n * (step / n + sending))"
BEST = "return max(n for n in (2**k for k in range(11)) if efficiency(n) >= least)"
SHARED_OUT = "With more GPUs, which of the two shrinks: the computing of one of them, or the bytes that it sends?"
MESSAGES = "How many messages does a GPU send one after the other in a ring, and how large is each?"
SPEED_UP = "Ten GPUs are five times as fast as one. Which share of the money buys computing?"
GPUS_WORTH_PAYING = Exercise(
    cases=lambda: [(1.0, 1e9, 1e-5, 1 / 50e9, 0.8), (1.0, 1e9, 1e-5, 1 / 50e9, 1.0), (60.0, 6e9, 5e-5, 1 / 50e9, 0.8),
                   (60.0, 6e9, 5e-5, 1 / 50e9, 0.5), (0.02, 4e5, 1e-4, 1e-9, 0.7), (0.3, 0.0, 1e-3, 1e-9, 0.6),
                   (500.0, 1e9, 3e-6, 1 / 450e9, 0.9), (500.0, 1e9, 3e-6, 1 / 450e9, 0.99),
                   (2.0, 3e9, 1e-3, 2e-11, 0.35), (8.0, 1e8, 2e-2, 1e-10, 0.45), (0.7, 2e9, 0.0, 1e-9, 0.2),
                   (1e5, 1e6, 1e-6, 1e-11, 0.5), (3.0, 1e9, 1e-6, 1e-9, 0.12), (12.0, 5e8, 1e-2, 1e-9, 0.6),
                   (1.0, 5e7, 0.0, 1e-9, 0.57), (1.0, 0.0, 0.25, 1e-9, 0.5)],
    mutants=(
        Mutant("weak", EFFICIENCY, "return step / (step + sending)",
               "computing and sending are treated alike: both are shared out, or neither is", SHARED_OUT),
        Mutant("no_alpha", "(alpha + beta * size / n)", "(beta * size / n)",
               "the delays of the messages are left out", MESSAGES),
        Mutant("alpha_once", SENDING, "sending = alpha * (n > 1) + 2 * (n - 1) * beta * size / n",
               "the delay is paid once, and not in every round", MESSAGES),
        Mutant("alpha_shared", "(alpha + beta * size / n)", "(alpha + beta * size) / n",
               "the delay of a message is divided by the number of GPUs",
               "Is the delay of a small message smaller than that of a large one?"),
        Mutant("whole_vector", "beta * size / n", "beta * size",
               "each round sends the whole vector instead of a piece", MESSAGES),
        Mutant("bytes_shared", "beta * size / n", "beta * size / n / n",
               "the bytes of the gradients are shared out among the GPUs, like the batch", SHARED_OUT),
        Mutant("more_than_least", BEST, BEST.replace("max(n", "max([1] + [n").replace(">= least)", "> least])"),
               "the efficiency must be more than the bound, and may not equal it",
               "Is an efficiency of exactly 0.5 at least 0.5?"),
        Mutant("one_way", "2 * (n - 1)", "(n - 1)",
               "there are n - 1 rounds, which are only half of an all-reduce", MESSAGES),
        Mutant("n_rounds", "2 * (n - 1)", "2 * n * (n > 1)",
               "there are 2 n rounds", MESSAGES),
        Mutant("one_gpu_sends", "2 * (n - 1)", "2 * n",
               "there are 2 n rounds, and even one GPU sends",
               "To whom would a single GPU send its gradients?"),
        Mutant("one_message", SENDING, "sending = (n > 1) * (alpha + beta * size)",
               "the gradients are sent once, as one message", MESSAGES),
        Mutant("speed_up", EFFICIENCY, "return step / (step / n + sending)",
               "the speed-up is compared with the bound, and not the efficiency", SPEED_UP),
        Mutant("share_of_sending", EFFICIENCY, "return 1 - sending / (n * (step / n + sending))",
               "the sending of one GPU is compared with the computing of all of them",
               "How many GPUs wait while the gradients are sent?"),
        Mutant("over_computing", EFFICIENCY, "return 1 - sending / (step / n)",
               "the sending is divided by the computing instead of the whole step",
               "Computing and sending take one second each. Which share of the step is computing?"),
        Mutant("overlap", EFFICIENCY, "return step / (n * max(step / n, sending))",
               "sending is hidden under computing",
               "What does the statement say about overlap?"),
        Mutant("smallest", "max(n for", "min(n for",
               "the smallest number that is efficient enough is returned",
               "How efficient is one GPU, always?"),
        Mutant("all_numbers", "(2**k for k in range(11))", "range(1, 1025)",
               "numbers between the powers of two are allowed",
               "Which numbers does the statement let you choose from?"),
        Mutant("up_to_512", "range(11)", "range(10)",
               "the choice ends at 512", "What is 2 to the power 9, and how long is range(10)?"),
        Mutant("up_to_2048", "range(11)", "range(12)",
               "the choice goes on to 2048", "What is the last number of range(12), and 2 to its power?"),
        Mutant("from_two", "range(11)", "range(1, 11)",
               "one GPU is no choice", "What if not even two GPUs are efficient enough?"),
        Mutant("first_bad", BEST, BEST.replace("max", "min").replace("range(11)", "range(12)").replace(">=", "<")
               .replace("min(n for", "min([2048] + [n for").replace("least)", "least])"),
               "the first number that is not efficient enough is returned",
               "Would you pay for the number that you return?"),
        Mutant("most_speed", BEST, "return max((2**k for k in range(11)), key=lambda n: n * efficiency(n))",
               "the fastest number is returned, at whatever price", SPEED_UP),
        Mutant("efficiency", BEST, "return " + BEST.split("(", 1)[1].replace("n for n", "efficiency(n) for n")
               .join(["min(", ""]),
               "the efficiency is returned, and not the number of GPUs",
               "What should the function answer: how well, or how many?"),
        Mutant("exponent", BEST, "return max(k for k in range(11) if efficiency(2**k) >= least)",
               "the power is returned, and not 2 to the power",
               "How many GPUs are 2 to the power 3?"),
        Mutant("bits", "beta * size / n", "beta * size * 8 / n",
               "bytes are counted as bits", "In which unit does beta come?"),
        Mutant("bandwidth", "beta * size / n", "size / n / beta",
               "beta is taken for the bandwidth instead of the seconds of a byte",
               "Which unit has beta, and does a faster network have a larger one?"),
    ),
    variants=("""\
def gpus_worth_paying(step, size, alpha, beta, least):
    best = 1
    for k in range(1, 11):
        n = 2**k
        waste = 2 * (n - 1) * (n * alpha + beta * size)
        if step / (step + waste) >= least:
            best = n
    return best""", """\
def gpus_worth_paying(step, size, alpha, beta, least):
    n = 1
    while n < 1024:
        m = 2 * n
        seconds = step / m + sum(alpha + beta * (size / m) for _ in range(2 * (m - 1)))
        if step / seconds / m < least:
            return n
        n = m
    return n""", """\
def gpus_worth_paying(step, size, alpha, beta, least):
    n = 2.0 ** torch.arange(11, dtype=torch.float64)
    time = step / n + 2 * (n - 1) * (alpha + beta * size / n)
    return int(n[step / n / time >= least].max().item())""",
    ),
    properties=(
        Property(lambda n, *_: n in [2**k for k in range(11)], "The answer is one of 1, 2, 4, … 1024; yours is not."),
    ),
    twin=worth_twin,
)  # fmt: skip


# 21.9


def level_cases() -> list[tuple]:
    return [(normal(2190 + i, *[(size,)] * ranks), local) for i, (ranks, local, size) in enumerate((
        (4, 2, 8), (6, 2, 12), (6, 3, 12), (8, 4, 40), (8, 2, 40), (3, 3, 9), (3, 1, 9), (12, 4, 24), (1, 1, 5),
    ))]  # fmt: skip


def level_twin(rng: random.Random) -> Question:
    nodes, local = rng.randint(2, 6), rng.choice([2, 4, 8])
    size = nodes * local * rng.randint(2, 9)
    return Question(
        f"{nodes} nodes of {local} GPUs reduce {size} numbers: a reduce-scatter inside each node, an all-reduce by "
        "rings between nodes, an all-gather inside. How many numbers does each GPU send to other nodes?",
        2 * (nodes - 1) * (size // local) // nodes,
        f"A piece of {size // local} numbers, in a ring of {nodes}: 2 · {nodes - 1}/{nodes} of it.",
    )  # fmt: skip


NODE_SUMS = "node_sums = [sum(x[node * local : (node + 1) * local]) for node in range(nodes)]"
SCATTERED = "held = [node_sums[r // local].split(piece)[r % local] for r in range(len(x))]"
ACROSS = "held = [sum(held[r % local :: local]) for r in range(len(x))]"
GATHERED = "result = [torch.cat(held[r - r % local :][:local]) for r in range(len(x))]"
INSIDE = "inside = 2 * (local - 1) * piece"
BETWEEN = "between = 2 * (nodes - 1) * piece // nodes"
PIECE = "How many numbers does a rank hold when the second stage begins?"
GRID = "Eight ranks, four a node: which ranks are on node 0, and which have place 0?"
STAGES_IN = "Which of the three stages run inside a node?"
RING_OF = "How many ranks are in one ring of the second stage, and into how many pieces does it cut?"
LAST_STAGE = "What does a rank hold after the second stage, and what should it have?"
NEVER_MET = "Which stage tells node 0 what node 1 has?"
TWO_LEVELS = Exercise(
    cases=level_cases,
    mutants=(
        Mutant("whole_vectors_between", BETWEEN, "between = 2 * (nodes - 1) * len(x[0]) // nodes",
               "whole vectors are reduced between nodes, and not pieces", PIECE),
        Mutant("transposed_grid", f"{INSIDE}\n    {BETWEEN}",
               "inside, between = 2 * (local - 1) * (len(x[0]) // nodes) // local, "
               "2 * (nodes - 1) * len(x[0]) // nodes",
               "the grid is turned: the first stage runs across nodes, and the second inside them", GRID),
        Mutant("place_by_division", SCATTERED,
               "held = [node_sums[r % nodes].split(piece)[r // nodes] for r in range(len(x))]",
               "the place of a rank and its node have been exchanged", GRID),
        Mutant("neighbours_added", ACROSS,
               "held = [sum(held[r - r % local :][:local]) for r in range(len(x))]",
               "the second stage adds up the pieces of one node, which are different pieces",
               "Which ranks hold the same piece as you?"),
        Mutant("no_gather", GATHERED, "result = held",
               "each rank ends with its piece, since the last stage is missing", LAST_STAGE),
        Mutant("no_gather_counted", f"{GATHERED}\n    {INSIDE}", "result = held\n    inside = (local - 1) * piece",
               "the last stage is missing, and is not counted either", LAST_STAGE),
        Mutant("inside_once", INSIDE, "inside = (local - 1) * piece",
               "only one of the two stages inside a node is counted", STAGES_IN),
        Mutant("inside_all_reduces", INSIDE, "inside = 4 * (local - 1) * piece",
               "the first and the last stage are counted as all-reduces", STAGES_IN),
        Mutant("inside_whole", INSIDE, "inside = 2 * (local - 1) * len(x[0])",
               "each round inside a node sends the whole vector", "Into how many pieces does a ring cut its vector?"),
        Mutant("inside_of_all", INSIDE, "inside = 2 * (len(x) - 1) * len(x[0]) // len(x)",
               "the rings inside a node are counted as one ring of all ranks", RING_OF),
        Mutant("between_once", BETWEEN, "between = (nodes - 1) * piece // nodes",
               "the all-reduce between nodes is counted as half of one",
               "What does an all-reduce consist of?"),
        Mutant("between_undivided", BETWEEN, "between = 2 * (nodes - 1) * piece",
               "each round between nodes sends the whole piece, uncut", RING_OF),
        Mutant("between_of_all", BETWEEN, "between = 2 * (len(x) - 1) * piece // len(x)",
               "the ring between nodes is counted as if all ranks were in it", RING_OF),
        Mutant("whole_ring_between", BETWEEN, "between = 2 * (len(x) - 1) * len(x[0]) // len(x)",
               "what goes between nodes is counted as one ring of all ranks, with whole vectors", RING_OF),
        Mutant("flat_ring", f"{INSIDE}\n    {BETWEEN}",
               "inside = 0\n    between = 2 * (len(x) - 1) * len(x[0]) // len(x)",
               "one big ring over all ranks is counted", "Which messages of the three stages leave the node?"),
        Mutant("node_sums_only", ACROSS, "", "the second stage is missing, and the nodes never meet", NEVER_MET),
        Mutant("only_between", NODE_SUMS, "node_sums = [x[node * local] for node in range(nodes)]",
               "the ranks of a node do not add up: one of them stands for all",
               "Whose vectors are in the sum of node 0?"),
        Mutant("mean", GATHERED, GATHERED + "\n    result = [v / len(x) for v in result]",
               "the result is the mean, and not the sum", "What does an all-reduce return in this lesson?"),
        Mutant("bytes", f"{INSIDE}\n    {BETWEEN}",
               "inside = 8 * (local - 1) * piece\n    between = 4 * (2 * (nodes - 1) * piece // nodes)",
               "bytes are counted, and not numbers", "In which unit should the two counts come?"),
        Mutant("of_all_ranks", "return result, inside, between", "return result, len(x) * inside, len(x) * between",
               "the counts are those of all ranks together", "Whose messages should be counted: each rank's, or all?"),
        Mutant("order", "return result, inside, between", "return result, between, inside",
               "what is sent inside a node and what is sent between nodes have been exchanged",
               "Which ring has `local` ranks: that of a node, or that between nodes? Which count comes first?"),
        Mutant("one_result", GATHERED, "result = torch.cat(held[:local])",
               "the result is returned once, and not for each rank", "How many ranks want the sum?"),
        Mutant("sum_of_counts", "return result, inside, between", "return result, inside + between",
               "both counts are added up", "Which three things should come back?"),
        Mutant("in_place", NODE_SUMS,
               "node_sums = [x[node * local] for node in range(nodes)]\n"
               "    for r in range(len(x)):\n"
               "        if r % local:\n"
               "            node_sums[r // local] += x[r]",
               "the vectors of the first rank of each node are overwritten",
               "What does rank 0 find in its vector afterwards?"),
    ),
    variants=("""\
def two_levels(x, local):
    grid = torch.stack(x).view(len(x) // local, local, -1)                  # node, place, number
    nodes, _, size = grid.shape
    total = grid.sum(1).sum(0)
    inside = 2 * (local - 1) * size // local
    between = 2 * (nodes - 1) * (size // local) // nodes
    return [total.clone() for _ in x], inside, between""", """\
def two_levels(x, local):
    def ring(vectors):
        m = len(vectors)
        own = [[p.clone() for p in v.tensor_split(m)] for v in vectors]
        sent = [0, 0]
        for stage in (0, 1):
            for step in range(m - 1):
                parcels = [own[r][(r + stage - step) % m].clone() for r in range(m)]
                sent[stage] += parcels[0].numel()
                for r in range(m):
                    c, to = (r + stage - step) % m, (r + 1) % m
                    own[to][c] = parcels[r] if stage else own[to][c] + parcels[r]
            if stage == 0:
                scattered = [own[r][(r + 1) % m] for r in range(m)]
        return [torch.cat(o) for o in own], scattered, sent

    n, inside, between = len(x), 0, 0
    held = [None] * n
    for start in range(0, n, local):
        _, scattered, sent = ring(x[start : start + local])
        inside = sent[0]
        held[start : start + local] = scattered
    for place in range(local):
        held[place::local], _, sent = ring(held[place::local])
        between = sum(sent)
    result = []
    for r in range(n):
        node = held[r - r % local : r - r % local + local]
        result.append(torch.cat([node[(c - 1) % local] for c in range(local)]))
    return result, 2 * inside, between""", """\
def two_levels(x, local):
    n, size = len(x), x[0].numel()
    nodes = n // local
    total = sum(x)
    ways = {"inside": 0, "between": 0}
    for _ in ("reduce-scatter", "all-gather"):
        ways["inside"] += size - size // local
    for _ in ("reduce-scatter", "all-gather"):
        ways["between"] += size // local - size // n
    assert nodes >= 1
    return [total + 0 for _ in range(n)], *ways.values()""",
    ),
    properties=(
        Property(lambda found, x, local: local > 1 or found[1] == 0,
                 "With one rank a node nobody can send anything inside, and in yours they do."),
        Property(lambda found, x, local: local < len(x) or found[2] == 0,
                 "With one node there is nobody to send to outside, and in yours they do."),
    ),
    twin=level_twin,
)  # fmt: skip


EXERCISES = {
    "busiest_rank": BUSIEST_RANK,
    "global_loss": GLOBAL_LOSS,
    "who_hangs": WHO_HANGS,
    "ring_pieces": RING_PIECES,
    "order_step": ORDER_STEP,
    "reduced_gradients": REDUCED_GRADIENTS,
    "odd_one_out": ODD_ONE_OUT,
    "gpus_worth_paying": GPUS_WORTH_PAYING,
    "two_levels": TWO_LEVELS,
}


def bytes_of_the_ring(rng: random.Random) -> Question:
    n, size = rng.choice([2, 4, 5, 8, 10, 16]), rng.choice([80, 160, 320, 800])
    return Question(
        f"A ring all-reduce of {size} MB on {n} ranks. How many MB does each rank send?", 2 * (n - 1) * size / n,
        f"2 · ({n} - 1) rounds with pieces of {size}/{n} MB.", 0.01,
    )  # fmt: skip


def bytes_of_a_step(rng: random.Random) -> Question:
    millions, micros = rng.randint(10, 400), rng.choice([2, 4, 8])
    return Question(
        f"A model of {millions} million parameters, fp32 gradients, {micros} micro-batches a step. How many MB does a "
        "rank hand to the all-reduce in a step, if it sends as rarely as it can?", 4 * millions,
        f"4 bytes · {millions} million, once: sums of sums can be sent once, after the last micro-batch.",
    )  # fmt: skip


def piece_of_a_rank(rng: random.Random) -> Question:
    rows = [[rng.randint(1, 20) for _ in range(3)] for _ in range(3)]
    rank = rng.randrange(3)
    return Question(
        f"Three ranks have {rows[0]}, {rows[1]} and {rows[2]}. Which number does rank {rank} have after a "
        "reduce-scatter?", sum(row[rank] for row in rows),
        f"Piece {rank} of the sum: {' + '.join(str(row[rank]) for row in rows)}.",
    )  # fmt: skip


def time_of_the_ring(rng: random.Random) -> Question:
    """Right: two passes of n - 1 messages, each of one nth of the bytes."""
    n, delay = rng.choice([4, 8, 16]), rng.choice([5, 10, 20])
    size, speed = n * rng.choice([5, 10, 25]), rng.choice([10, 25, 50])
    seconds = 2 * (n - 1) * (delay * 1e-6 + size * 1e6 / n / (speed * 1e9))
    return Question(
        f"A ring of {n} ranks, {size} MB, {delay} µs of delay a message, {speed} GB/s. How many milliseconds does the "
        "all-reduce take?", 1000 * seconds,
        f"2 · {n - 1} rounds, each {delay} µs and {size // n} MB at {speed} GB/s.", 0.02,
    )  # fmt: skip


def weight_of_a_target(rng: random.Random) -> Question:
    few, many = rng.choice([10, 20, 40, 50]), rng.choice([100, 200, 400, 1000])
    return Question(
        f"Two ranks have {few} and {many} targets, take the mean loss of their own, and average the gradients. How "
        "many times as much does a target of the first rank count as one of the second?", many / few,
        f"Each rank has half of the weight, and shares it among {few} or {many} targets.", 0.01,
    )  # fmt: skip


def messages_in_a_ring(rng: random.Random) -> Question:
    n = rng.randint(3, 64)
    return Question(
        f"How many rounds, one after the other, has a ring all-reduce of {n} ranks?", 2 * (n - 1),
        f"{n} - 1 that add and {n} - 1 that copy. The bytes stay below twice the data; the delays grow with n.",
    )  # fmt: skip


RECALL = (
    bytes_of_the_ring, bytes_of_a_step, piece_of_a_rank, time_of_the_ring, weight_of_a_target, messages_in_a_ring,
)  # fmt: skip
PREDICTIONS = {
    "21.p1": Prediction(
        "Data parallel training for 1,000 steps; all ranks draw their first weights from the same seed. How many times "
        "must they send each other weights?",
        lambda: 0,
        "Equal weights, equal gradients and an equal update give equal weights again: only gradients are sent.",
    ),
    "21.p2": Prediction(
        "Rank r of three has (1, 2, 3) times ten to the r. After a reduce-scatter, which number does rank 1 have?",
        lambda: 222,
        "The sum is (111, 222, 333), and rank r keeps piece r of it.",
    ),
    "21.p3": Prediction(
        "A ring all-reduce of the same vector on 64 ranks in place of 4: how many times as many bytes does each rank "
        "send?",
        lambda: (2 * 63 / 64) / (2 * 3 / 4),
        "2 (n - 1)/n is 1.5 for 4 ranks, and cannot exceed 2.",
        0.03,
    ),
    "21.p4": Prediction(
        "A model of embedding, blocks, norm and head, whose head is tied to the embedding. Which parameter's gradient "
        "is complete last? (its name)",
        lambda: "embed.weight",
        "The matrix is used at both ends: its gradient is complete only when backward has reached the entrance.",
    ),
    "21.p5": Prediction(
        "One bit of one weight flips on one of three ranks. Does the checksum notice? (yes or no)",
        lambda: True,
        "It reads the bits of every number as a whole number, and adds up: one bit changes the sum. There is no "
        "tolerance, and none is needed: replicas are equal to the bit.",
    ),
    "21.p6": Prediction(
        "Strong scaling from 8 GPUs to 64 with a ring, without delays. Divide the seconds that a GPU sends by the "
        "seconds that it computes: how many times as large does this ratio get?",
        lambda: 8 * (63 / 64) / (7 / 8),
        "Computing shrinks to an eighth; the bytes grow from 2 · 7/8 to 2 · 63/64 of the gradients: 8 · 9/8.",
        0.03,
    ),
}
