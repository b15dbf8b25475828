"""Lesson 10, speed: cases, and the wrong ideas that people have about it.

No time is measured here: machines, clocks and memory are simulated, so that the same answer is right everywhere.
"""
import math
import random
import weakref
from collections.abc import Callable, Iterator

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from . import Exercise, Mutant, Prediction, Property, Question, normal


# 10.1


def amdahl_twin(rng: random.Random) -> Question:
    """A speedup, or the limit of it."""
    share, factor = rng.choice([20, 25, 30, 50, 60, 75, 80]), rng.choice([2, 3, 4, 5, 10])
    if rng.random() < 0.3:
        return Question(
            f"A part takes {share} per cent of a step. You may make it as fast as you like, and nothing else. How many "
            "times as fast can the step become?", 100 / (100 - share),
            f"{100 - share} of 100 ms stay: 100 / {100 - share}.", 0.01,
        )  # fmt: skip
    left = 100 - share + share / factor
    return Question(
        f"A part takes {share} per cent of a step and becomes {factor} times as fast. How many times as fast does the "
        "step become?", 100 / left, f"Of 100 ms {100 - share} stay and {share} become {share / factor:g}: "
        f"100 / {left:g}.", 0.01,
    )  # fmt: skip


WHOLE = "1 / (rest + share / factor)"
LIMIT = "1 / rest if rest > 0 else math.inf"
HUNDRED = "A step took 100 ms, half of it in the part, which is now twice as fast. How many milliseconds are left?"
NO_TIME = "Half of the time is in the part, and the part vanishes. How many times as fast is the step?"
NOTHING_LEFT = "All of the time is in the part, and the part vanishes. What is left to wait for?"
SPEEDUP_LIMIT = Exercise(
    cases=lambda: [(0.4, 4.0), (0.75, 3.0), (0.0, 5.0), (1.0, 3.0), (0.9, 10.0), (0.3, 0.5), (0.625, 1.0),
                   (0.05, 100.0), (1.0, 0.25), (0.9995, 2000.0)],
    mutants=(
        Mutant("mean_of_speeds", WHOLE, "rest + share * factor",
               "speeds are averaged, with shares of the time as weights", HUNDRED),
        Mutant("slower_whole", WHOLE, "1 / (rest + share * factor)",
               "the part's time is multiplied by the factor instead of divided",
               "Twice as fast: does the part take twice the time, or half of it?"),
        Mutant("new_time", WHOLE, "rest + share / factor",
               "the new time is returned, as a share of the old one",
               "A step that takes half the time: how many times as fast is it?"),
        Mutant("saved", WHOLE, "share - share / factor",
               "the saved share of the time is returned",
               "A step that takes half the time: how many times as fast is it?"),
        Mutant("saved_over", WHOLE, "1 / (1 - share / factor)",
               "what the part takes now is taken away from the old time, as if that were saved",
               "Of 12 seconds 6 become 3. How many seconds are saved, and how many are left?"),
        Mutant("swapped_shares", WHOLE, "1 / (share + rest / factor)",
               "the rest becomes faster and the part stays", "Which of the two is the share that you were given?"),
        Mutant("rest_too", WHOLE, "factor",
               "the whole step is as much faster as the part",
               "What becomes of the time outside the part?"),
        Mutant("in_proportion", WHOLE, "share * factor",
               "the factor is taken in proportion to the share",
               "What is the speedup where the share is 0?"),
        Mutant("one_plus", WHOLE, "1 + share * factor",
               "the factor is taken in proportion to the share and added to 1",
               "What is the speedup where the factor is 1?"),
        Mutant("one_plus_gain", WHOLE, "1 + share - share / factor",
               "the saved time is added to 1 as if it were speed", HUNDRED),
        Mutant("only_part", WHOLE, "1 / (share / factor) if share else math.inf",
               "the rest of the step is forgotten",
               "What is left when the part takes no time at all?"),
        Mutant("geometric", WHOLE, "factor**share",
               "the factor is raised to the share, as in a mean of ratios", HUNDRED),
        Mutant("no_slower", WHOLE, "1 / (rest + share / max(1, factor))",
               "nothing is said to become slower",
               "May a factor be below 1?"),
        Mutant("at_least_one", WHOLE, "max(1, 1 / (rest + share / factor))",
               "nothing is said to become slower",
               "What happens to the step if the part takes twice as long?"),
        Mutant("gain", WHOLE, "1 / (rest + share / factor) - 1",
               "the gain over 1 is returned",
               "What should come out where nothing changes?"),
        Mutant("percent", "rest = 1 - share", "rest = 100 - share",
               "the share is read as a number out of 100",
               "How large is the rest if the share is 1?"),
        Mutant("rounded", WHOLE, "round(1 / (rest + share / factor), 1)",
               "the speedup is rounded to one decimal",
               "Who asked for one decimal?"),
        Mutant("limit_of_share", LIMIT, "1 / share if share > 0 else math.inf",
               "the limit is that of a step in which the rest vanishes", NO_TIME),
        Mutant("limit_rest", LIMIT, "rest",
               "the limit is the time that is left instead of a speedup", NO_TIME),
        Mutant("limit_difference", LIMIT, "1 + share", "the limit adds the share to 1 as if it were speed", NO_TIME),
        Mutant("limit_gain", LIMIT, "1 / rest - 1 if rest > 0 else math.inf",
               "the limit is given as a gain over 1", NO_TIME),
        Mutant("limit_infinite", LIMIT, "math.inf",
               "any step can become as fast as one likes", NO_TIME),
        Mutant("limit_factor", LIMIT, "factor",
               "the limit is the factor of the part",
               "Which factor would you put in, to find out what *no* factor can beat?"),
        Mutant("limit_larger", LIMIT, "max(1 / rest, factor) if rest > 0 else math.inf",
               "the limit is never below the factor of the part", NO_TIME),
        Mutant("limit_crash", LIMIT, "1 / rest",
               "one is divided by a rest that may be nothing", NOTHING_LEFT),
        Mutant("limit_one", LIMIT, "1 / rest if rest > 0 else 1.0",
               "where nothing but the part is there, the limit is said to be 1", NOTHING_LEFT),
        Mutant("limit_zero", LIMIT, "1 / rest if rest > 0 else 0.0",
               "where nothing but the part is there, the limit is said to be 0", NOTHING_LEFT),
        Mutant("limit_none", LIMIT, "1 / rest if rest > 0 else None",
               "where nothing but the part is there, there is said to be no limit at all", NOTHING_LEFT),
        Mutant("limit_is_factor_then", LIMIT, "1 / rest if rest > 0 else factor",
               "where nothing but the part is there, the limit is said to be the factor", NOTHING_LEFT),
        Mutant("limit_no_part", LIMIT, "1 / rest if 0 < share < 1 else math.inf",
               "the limit is said to be infinite where no time is spent in the part, too",
               "The part takes none of the time. How much faster does the step become when it vanishes?"),
        Mutant("limit_epsilon", LIMIT, "1 / (rest + 1e-9)",
               "a small number stands in for a rest of nothing", NOTHING_LEFT),
        Mutant("limit_large", LIMIT, "1 / (rest + share / 1000)",
               "the limit is the speedup by some large factor",
               "Is a factor of a thousand the same as no time at all?"),
        Mutant("swapped", WHOLE + ", limit", "limit, " + WHOLE,
               "the two results come in the wrong order", "Which of the two is asked for first?"),
        Mutant("only_speedup", WHOLE + ", limit", WHOLE,
               "only the speedup is returned", "Which two numbers should come back?"),
        Mutant("only_limit", WHOLE + ", limit", "limit",
               "only the limit is returned", "Which two numbers should come back?"),
        Mutant("whole", WHOLE + ", limit", "1 // (rest + share / factor), limit",
               "the speedup is rounded down to a whole number", "Is 1.9 times as fast the same as not faster?"),
    ),
    variants=("""\
def speedup_limit(share, factor):
    before = 1000.0
    part = before * share
    after = before - part + part / factor
    return before / after, (math.inf if share == 1 else before / (before - part))""", """\
def speedup_limit(share, factor):
    def speedup(part):
        left = 1 - share + part
        return math.inf if left == 0 else 1 / left

    return speedup(share / factor), speedup(0.0)""", """\
def speedup_limit(share, factor):
    try:
        limit = (1 - share) ** -1
    except ZeroDivisionError:
        limit = float("inf")
    return [factor / (factor * (1 - share) + share), limit]""",
    ),
    properties=(
        Property(lambda y, share, factor: y[0] <= y[1] * (1 + 1e-6), "The speedup is above its own limit."),
    ),
    twin=amdahl_twin,
)  # fmt: skip


# 10.2


def intensity_twin(rng: random.Random) -> Question:
    rows, width, size = rng.choice([1, 2, 4, 10]), rng.choice([20, 30, 50, 100]), rng.choice([2, 4])
    numbers = 2 * rows * width + width * width
    return Question(
        f"x ({rows}, {width}) times w ({width}, {width}), {size} bytes a number; both are read once and the result is "
        "written once. How many FLOPs per byte is that?", 2 * rows * width * width / (size * numbers),
        f"2 · {rows} · {width} · {width} FLOPs, for {rows * width} + {width * width} + {rows * width} numbers of "
        f"{size} bytes.", 0.01,
    )  # fmt: skip


WORK, NUMBERS = "2 * m * n * k", "m * k + k * n + m * n"
QUOTIENT = "flops / (bytes_per_number * numbers)"
ONE_NUMBER = "One number of the result is a sum of k products. How many FLOPs is that, counted as in the statement?"
AREAS = "Draw the three matrices. How many numbers lie in each of them?"
ONCE = "How often does the statement say that a number is fetched from memory?"
INTENSITY = Exercise(
    cases=lambda: [(2, 3, 5, 4), (1, 7, 11, 2), (13, 1, 6, 4), (4, 9, 1, 8), (64, 48, 80, 2), (1, 1, 1, 4),
                   (1024, 3072, 768, 2), (17, 5, 29, 1)],
    mutants=(
        Mutant("no_two", WORK, "m * n * k",
               "only the multiplications are counted", ONE_NUMBER),
        Mutant("additions_exact", WORK, "m * n * (2 * k - 1)",
               "the additions are counted exactly, one less than everyone does", ONE_NUMBER),
        Mutant("training", WORK, "6 * m * n * k",
               "the backward pass is counted too", "Which product are you asked about?"),
        Mutant("area", WORK, "2 * m * n",
               "each number of the result is counted as one multiplication and one addition", ONE_NUMBER),
        Mutant("inputs", WORK, "2 * (m * k + k * n)",
               "one FLOP pair is counted for each number that is read", ONE_NUMBER),
        Mutant("cells", WORK, "2 * (m * k) * (k * n)",
               "every number of one factor is multiplied with every number of the other",
               "With how many numbers of w is one number of x multiplied?"),
        Mutant("sums", WORK, "2 * (m + n + k)", "the sizes are added where they should be multiplied", ONE_NUMBER),
        Mutant("no_result", NUMBERS, "m * k + k * n",
               "the result is never written",
               "Where does the result go?"),
        Mutant("only_result", NUMBERS, "m * n",
               "only the result is moved", AREAS),
        Mutant("no_weights", NUMBERS, "m * k + m * n",
               "the second factor is taken to be at hand already", ONCE),
        Mutant("no_input", NUMBERS, "k * n + m * n",
               "the first factor is taken to be at hand already", ONCE),
        Mutant("only_weights", NUMBERS, "k * n",
               "only the second factor is moved", AREAS),
        Mutant("only_x", NUMBERS, "m * k",
               "only the first factor is moved", AREAS),
        Mutant("result_read_too", NUMBERS, "m * k + k * n + 2 * m * n",
               "the result is read before it is written", ONCE),
        Mutant("every_time", NUMBERS, "2 * m * n * k + m * n",
               "two numbers are fetched for every multiplication", ONCE),
        Mutant("every_time_no_result", NUMBERS, "2 * m * n * k",
               "two numbers are fetched for every multiplication, and the result is never written", ONCE),
        Mutant("every_time_all", NUMBERS, "3 * m * n * k",
               "three numbers are moved for every multiplication", ONCE),
        Mutant("sides", NUMBERS, "m + n + k",
               "the sides of the matrices are counted instead of what they hold", AREAS),
        Mutant("volume", NUMBERS, "m * n * k",
               "as many numbers are moved as there are multiplications", ONCE),
        Mutant("product_of_matrices", NUMBERS, "(m * k) * (k * n)",
               "the sizes of the two factors are multiplied", AREAS),
        Mutant("wrong_shapes", NUMBERS, "m * n + n * k + m * n",
               "the first factor is taken to have the shape of the result",
               "Which two of the three sizes does x have?"),
        Mutant("wrong_weights", NUMBERS, "m * k + m * n + m * n",
               "the second factor is taken to have the shape of the result",
               "Which two of the three sizes does w have?"),
        Mutant("result_like_x", NUMBERS, "2 * m * k + k * n",
               "the result is taken to have the shape of x",
               "Which two of the three sizes does the result have?"),
        Mutant("result_like_w", NUMBERS, "m * k + 2 * k * n",
               "the result is taken to have the shape of w",
               "Which two of the three sizes does the result have?"),
        Mutant("three_results", NUMBERS, "3 * m * n",
               "all three matrices are taken to have the shape of the result", AREAS),
        Mutant("k_as_side", NUMBERS, "m * m + n * n + k * k",
               "all three matrices are taken to be square", AREAS),
        Mutant("per_number", QUOTIENT, "flops / numbers",
               "FLOPs are divided by numbers, not by bytes",
               "How many bytes does a number take?"),
        Mutant("times_bytes", QUOTIENT, "flops / numbers * bytes_per_number",
               "the bytes of a number multiply the intensity",
               "Wider numbers mean more traffic. Does the work for each byte then grow or shrink?"),
        Mutant("bits", QUOTIENT, "flops / (8 * bytes_per_number * numbers)",
               "bits are counted instead of bytes",
               "In which unit is the traffic asked for?"),
        Mutant("four_bytes", QUOTIENT, "flops / (4 * numbers)",
               "every number takes four bytes, whatever its format",
               "Where in your code does the format come in?"),
        Mutant("two_bytes", QUOTIENT, "flops / (2 * numbers)",
               "every number takes two bytes, whatever its format",
               "Where in your code does the format come in?"),
        Mutant("bytes_on_inputs", QUOTIENT, "flops / (bytes_per_number * (m * k + k * n) + m * n)",
               "the result is counted in numbers, the factors in bytes",
               "How many bytes does a number of the result take?"),
        Mutant("inverse", QUOTIENT, "bytes_per_number * numbers / flops",
               "bytes per FLOP are returned",
               "A product with much work for little traffic: should its intensity be large or small?"),
        Mutant("whole", QUOTIENT, "flops // (bytes_per_number * numbers)",
               "the quotient is rounded down to a whole number",
               "What becomes of an intensity below 1?"),
        Mutant("precedence", QUOTIENT, "flops / bytes_per_number * numbers",
               "a division without brackets multiplies by what should divide",
               "In which order does Python compute a / b * c?"),
        Mutant("gigabytes", QUOTIENT, "flops / (bytes_per_number * numbers) * 1e9",
               "FLOPs per gigabyte are returned", "In which unit is the traffic asked for?"),
        Mutant("both", QUOTIENT, "flops, bytes_per_number * numbers",
               "work and traffic are returned, undivided", "Which one number is asked for?"),
        Mutant("only_work", QUOTIENT, "flops",
               "only the work is returned", "Which one number is asked for?"),
        Mutant("only_traffic", QUOTIENT, "bytes_per_number * numbers",
               "only the traffic is returned", "Which one number is asked for?"),
        Mutant("smallest", QUOTIENT, "2 * min(m, n, k) / (3 * bytes_per_number)",
               "the formula of square matrices is used, with the smallest side",
               "What does your formula give for three different sizes, counted by hand?"),
    ),
    variants=("""\
def intensity(m, n, k, bytes_per_number):
    work = sum(2 * k for row in range(m) for column in [None] * n) if m * n < 1000 else 2.0 * k * n * m
    traffic = sum(a * b * bytes_per_number for a, b in ((m, k), (k, n), (m, n)))
    return work / traffic""", """\
def intensity(m, n, k, bytes_per_number):
    return 2 / bytes_per_number / (1 / n + 1 / m + 1 / k)""", """\
def intensity(m, n, k, bytes_per_number):
    x, w = torch.empty(m, k, device="meta"), torch.empty(k, n, device="meta")
    moved = (x.numel() + w.numel() + (x @ w).numel()) * bytes_per_number
    return torch.tensor(2 * m * n * k / moved, dtype=torch.float64)""",
    ),
    twin=intensity_twin,
)  # fmt: skip


# 10.3


def bound_twin(rng: random.Random) -> Question:
    """Two operations, one after the other: seconds."""
    peak, bandwidth = rng.choice([10, 20]), rng.choice([2, 5])
    first = (rng.randint(3, 9) * peak, rng.randint(1, 3) * bandwidth)
    second = (rng.randint(0, 2) * peak, rng.randint(4, 9) * bandwidth)
    times = [max(flops // peak, size // bandwidth) for flops, size in (first, second)]
    return Question(
        f"A machine does {peak} FLOPs and moves {bandwidth} bytes a second, both at the same time. Two operations, one "
        f"after the other: {first[0]} FLOPs and {first[1]} bytes, then {second[0]} FLOPs and {second[1]} bytes. How "
        "many seconds does that take at least?", sum(times),
        f"Each waits for the slower of its two: {times[0]} + {times[1]} seconds.",
    )  # fmt: skip


SLOWER, ROOF = "max(computing, moving)", '"compute" if computing >= moving else "memory"'
TWO_TIMES = "An operation computes for 4 seconds and moves numbers for 2, both at the same time. How long does it take?"
ITS_OWN = "The second operation begins when the first has ended. What becomes of the time in which memory had a rest?"
COMPARE = "Which two quantities have the same unit, so that you may ask which is larger?"
BOUND = Exercise(
    cases=lambda: [
        ([(40, 4), (10, 6)], 10, 2),
        ([(300, 10), (7, 9), (0, 5), (64, 16)], 8.0, 2.0),  # the last hits both roofs
        ([(1000, 3)], 50, 7),
        ([(0, 30)], 5, 4),
        ([], 3, 2),
        ([(90, 100), (30, 10), (5, 80), (220, 20), (3, 3)], 0.5, 20),  # a slow processor: compute everywhere but once
        ([(20, 11), (50, 30), (600, 40)], 40.0, 6.5),
        ([(159, 40), (161, 40)], 8.0, 2.0),  # just below the ridge, and just above it
        ([(10**12, 10**9), (10**9, 10**10)], 989e12, 3.35e12),
        ([(39, 10), (79, 20)], 39.4, 10),  # 3.9 and 3.95, on both sides of a ridge at 3.94
        ([(0, 4), (3, 7)], 1, 2),  # a ridge at a half
    ],
    mutants=(
        Mutant("sum", SLOWER, "computing + moving",
               "computing and moving follow each other", TWO_TIMES),
        Mutant("faster", SLOWER, "min(computing, moving)",
               "the faster of the two decides", TWO_TIMES),
        Mutant("mean", SLOWER, "(computing + moving) / 2",
               "the two times are averaged", TWO_TIMES),
        Mutant("compute_only", SLOWER, "computing",
               "only the computing takes time", "How long does a copy take, which computes nothing?"),
        Mutant("memory_only", SLOWER, "moving",
               "only the moving takes time", "How long does an operation take that works long on a few numbers?"),
        Mutant("last", "seconds += " + SLOWER, "seconds = " + SLOWER,
               "only the last operation's time is kept", "How many operations run?"),
        Mutant("largest", "seconds += " + SLOWER, "seconds = max(seconds, computing, moving)",
               "only the slowest operation takes time", "Do the operations run at the same time?"),
        Mutant("fused", "", """\
def bound(operations, peak, bandwidth):
    seconds, roofs = 0.0, []
    computing = sum(flops for flops, _ in operations) / peak
    moving = sum(size for _, size in operations) / bandwidth
    for flops, size in operations:
        roofs.append("compute" if flops / peak >= size / bandwidth else "memory")
    return max(computing, moving), roofs""",
               "all FLOPs and all bytes are added up before the larger is taken", ITS_OWN),
        Mutant("fused_one_word", "", """\
def bound(operations, peak, bandwidth):
    computing = sum(flops for flops, _ in operations) / peak
    moving = sum(size for _, size in operations) / bandwidth
    return max(computing, moving), ["compute" if computing >= moving else "memory"] * len(operations)""",
               "the whole list is judged as one operation", ITS_OWN),
        Mutant("one_word", "", """\
def bound(operations, peak, bandwidth):
    computing = sum(flops for flops, _ in operations) / peak
    moving = sum(size for _, size in operations) / bandwidth
    return max(computing, moving), "compute" if computing >= moving else "memory\"""",
               "the whole list is judged as one operation, in one word", ITS_OWN),
        Mutant("swapped_speeds", "flops / peak, size / bandwidth", "flops / bandwidth, size / peak",
               "FLOPs are divided by the bandwidth and bytes by the peak",
               "What does a machine move at its bandwidth?"),
        Mutant("multiplied", "flops / peak, size / bandwidth", "flops * peak, size * bandwidth",
               "amounts are multiplied by speeds", "100 FLOPs at 50 a second: how many seconds?"),
        Mutant("inverse", "flops / peak, size / bandwidth", "peak / max(flops, 1e-9), bandwidth / size",
               "speeds are divided by amounts", "100 FLOPs at 50 a second: how many seconds?"),
        Mutant("whole_seconds", "flops / peak, size / bandwidth", "flops // peak, size // bandwidth",
               "times are rounded down to whole seconds", "What becomes of an operation of half a second?"),
        Mutant("tie", "computing >= moving", "computing > moving",
               "an operation that waits for both alike is called a case of memory",
               "Which word does the statement give to an operation that reaches both roofs?"),
        Mutant("words_swapped", ROOF, '"memory" if computing >= moving else "compute"',
               "each word says what the operation does not wait for",
               "An operation that computes longer than it moves: what does it wait for?"),
        Mutant("amounts", "computing >= moving", "flops >= size",
               "FLOPs are compared with bytes, however fast the machine is at either", COMPARE),
        Mutant("intensity_of_one", "computing >= moving", "flops / size > 1",
               "FLOPs are compared with bytes, strictly and however fast the machine is at either", COMPARE),
        Mutant("ridge_upside_down", "computing >= moving", "flops / size >= bandwidth / peak",
               "the intensity is compared with bandwidth over peak",
               "The ridge is an intensity, FLOPs per byte. Which quotient of the two speeds has this unit?"),
        Mutant("ridge_of_peak", "computing >= moving", "flops / size >= peak",
               "the intensity is compared with the peak alone", COMPARE),
        Mutant("whole_ridge", "computing >= moving", "flops / size >= peak // bandwidth",
               "the ridge, peak over bandwidth, is rounded down before an intensity is compared with it",
               "The ridge lies at 3.9 FLOPs per byte. On which side of it is an operation of 3.5?"),
        Mutant("whole_intensity", "computing >= moving", "flops // size >= peak / bandwidth",
               "the intensity is rounded down before it is compared with the ridge",
               "The ridge lies at 3.5 FLOPs per byte. On which side of it is an operation of 3.9?"),
        Mutant("by_speeds", "computing >= moving", "peak >= bandwidth",
               "the words depend on the machine alone",
               "Can the same machine hit both roofs, with different operations?"),
        Mutant("speeds_inverted", "computing >= moving", "bandwidth >= peak",
               "the words depend on the machine alone, and the slower of its speeds",
               "Can the same machine hit both roofs, with different operations?"),
        Mutant("all_compute", ROOF, '"compute"',
               "everything is called a case of computing", "What does a copy wait for?"),
        Mutant("all_memory", ROOF, '"memory"',
               "everything is called a case of memory", "What does an operation wait for that hardly moves anything?"),
        Mutant("inverse_intensity", "computing >= moving", "size / flops <= bandwidth / peak",
               "a quotient with the FLOPs below the line is taken, and a copy has none",
               "How many FLOPs does a copy need?"),
        Mutant("skips_copies", "computing, moving =",
               "if not flops:\n            continue\n        computing, moving =",
               "what computes nothing is left out", "How long does a copy take?"),
        Mutant("copies_for_free", SLOWER, "(max(computing, moving) if flops else 0.0)",
               "what computes nothing is taken to need no time", "How long does a copy take?"),
        Mutant("words_of_the_total", "return seconds, roofs",
               "return seconds, [max(set(roofs), key=roofs.count)] if roofs else []",
               "the commonest word stands for all", "How many words should there be for three operations?"),
        Mutant("no_repeats", "return seconds, roofs", "return seconds, sorted(set(roofs))",
               "each word is given once", "How many words should there be for three operations?"),
        Mutant("no_list", "return seconds, roofs", "return seconds, roofs[-1] if roofs else []",
               "one word is given for all operations, that of the last",
               "How many words should there be for three operations?"),
        Mutant("flags", ROOF, "computing >= moving",
               "True and False are given instead of the words", "Which two words are asked for?"),
        Mutant("capitals", ROOF, '"Compute" if computing >= moving else "Memory"',
               "the words begin with a capital letter", "How are the two words written in the statement?"),
        Mutant("bandwidth_word", ROOF, '"compute" if computing >= moving else "bandwidth"',
               "other words are used than the two asked for", "How are the two words written in the statement?"),
        Mutant("each_time", "return seconds, roofs",
               "return [max(f / peak, b / bandwidth) for f, b in operations], roofs",
               "a list of times is returned, one for each operation",
               "How many seconds does the whole list take?"),
        Mutant("swapped", "return seconds, roofs", "return roofs, seconds",
               "the two results come in the wrong order", "Which of the two is asked for first?"),
        Mutant("only_seconds", "return seconds, roofs", "return seconds",
               "only the time is returned", "Which two things should come back?"),
        Mutant("only_words", "return seconds, roofs", "return roofs",
               "only the words are returned", "Which two things should come back?"),
        Mutant("mean_of_operations", "return seconds, roofs", "return seconds / max(1, len(operations)), roofs",
               "the mean time of an operation is returned", "How long does the *whole* list take?"),
        Mutant("early_return", "        roofs.append(" + ROOF + ")\n    return seconds, roofs",
               "        roofs.append(" + ROOF + ")\n        return seconds, roofs\n    return seconds, roofs",
               "the function returns inside the loop, after the first operation",
               "How far in does your `return` stand?"),
        Mutant("milliseconds", SLOWER, "1000 * max(computing, moving)",
               "milliseconds are returned", "In which unit is the time asked for?"),
    ),
    variants=("""\
def bound(operations, peak, bandwidth):
    ridge = peak / bandwidth
    seconds = [f / peak if f / b >= ridge else b / bandwidth for f, b in operations]
    return sum(seconds), ["compute" if f / b >= ridge else "memory" for f, b in operations]""", """\
def bound(operations, peak, bandwidth):
    table = torch.tensor(operations, dtype=torch.float64).view(-1, 2) / torch.tensor([peak, bandwidth])
    words = ["compute", "memory"]
    return table.amax(dim=1).sum(), [words[i] for i in (table[:, 1] > table[:, 0]).long().tolist()]""", """\
def bound(operations, peak, bandwidth):
    if not operations:
        return 0, []
    (flops, size), *others = operations
    later, words = bound(others, peak, bandwidth)
    reached = min(peak, flops / size * bandwidth)
    mine = flops / reached if flops else size / bandwidth
    return mine + later, ["memory" if reached < peak else "compute"] + words""",
    ),
    properties=(
        Property(lambda y, operations, *_: len(y[1]) == len(operations), "There is not one word for each operation."),
    ),
    twin=bound_twin,
)  # fmt: skip


# 10.4


def rescale_twin(rng: random.Random) -> Question:
    """The running sum after one more number, in powers of two so that it can be done in the head."""
    total, up, down = rng.choice([1.5, 2.0, 3.0, 4.0, 6.0]), rng.randint(1, 3), rng.randint(1, 3)
    if rng.random() < 0.5:
        return Question(
            f"A running softmax holds the maximum m and the sum {total:g}. The next number is m + {up} ln 2. What is "
            "the sum then, measured from the new maximum?", total / 2**up + 1,
            f"The old sum shrinks by exp(−{up} ln 2) = 1/{2**up}, and the new number adds 1.", 0.01,
        )  # fmt: skip
    return Question(
        f"A running softmax holds the maximum m and the sum {total:g}. The next number is m − {down} ln 2. What is the "
        "sum then?", total + 1 / 2**down, f"The maximum stays; the new number adds exp(−{down} ln 2) = 1/{2**down}.",
        0.01,
    )  # fmt: skip


def reader(blocks: list[torch.Tensor]) -> Iterator[torch.Tensor]:
    """The blocks one after the other, in the same memory, which holds nothing of use once the last is gone."""
    memory = torch.empty(max(block.numel() for block in blocks))
    for block in blocks:
        memory.fill_(-7.0)
        yield memory[: block.numel()].view(block.shape).copy_(block)
    memory.fill_(-7.0)


def stats_cases() -> list[tuple]:
    """Blocks of different widths: growing and falling maxima, hidden keys, large and very negative numbers."""
    a, b, c, d, e, f, g = normal(104, (3, 4), (3, 2), (3, 5), (2, 6), (2, 1), (5, 3), (5, 7))
    hidden = [a.clone(), b.clone(), c.clone()]
    hidden[0][1] = -math.inf  # nothing to see in the first block, and something later
    hidden[1][0], hidden[1][1, 0] = -math.inf, -math.inf
    hidden[2][2, 1:] = -math.inf
    late = [torch.full((2, 3), -math.inf), torch.full((2, 2), -math.inf), d * 3, torch.full((2, 4), -math.inf)]
    return [
        ([a, b + 1, c + 2],),
        ([2 * d],),
        ([1000 + 3 * f, 990 + g, 1003 + f[:, :2]],),
        ([5 * g - 1500, f - 1490],),
        (hidden,),
        (late,),
        ([e, d - 3, e + 4, e - 1, 2 * d + 1],),
        ([torch.zeros(1, 3), torch.zeros(1, 8)],),  # ties, one row
        ([torch.tensor([[-90.0], [30.0]]), torch.tensor([[60.0], [-80.0]])],),  # far apart, in both directions
    ]


STEP = "total * torch.exp(largest - new) + torch.exp(block - new[:, None]).sum(dim=1)"
ADDED = " + torch.exp(block - new[:, None]).sum(dim=1)"
LOOP = """\
        new = torch.maximum(largest, block.amax(dim=1))
        total = """ + STEP + """
        largest = new"""
START = "torch.tensor(-1e30)"
SAME_UNIT = "Your sum was measured from the old maximum. From what must every term of it be measured now?"
GONE = "What lies in the memory of the first block once the second has come?"
MINUS_INFINITY = "What is minus infinity less minus infinity, and where does it occur when a whole block is hidden?"
WHICH_ROW = "How many maxima do R rows have?"
STATS = Exercise(
    cases=stats_cases,
    use=lambda function, blocks: function(reader(blocks)),
    tolerance=2e-4,  # a float of the size of a thousand is that coarse
    mutants=(
        Mutant("no_rescale", "total * torch.exp(largest - new)", "total",
               "the old sum is never rescaled when the maximum grows", SAME_UNIT),
        Mutant("moved_first", LOOP, """\
        largest = torch.maximum(largest, block.amax(dim=1))
        total = total * torch.exp(largest - largest) + torch.exp(block - largest[:, None]).sum(dim=1)""",
               "the old sum is never rescaled when the maximum grows", SAME_UNIT),
        Mutant("wrong_way", "torch.exp(largest - new)", "torch.exp(new - largest)",
               "the old sum is rescaled in the wrong direction",
               "The maximum grows. Does exp(x - maximum) grow or shrink?"),
        Mutant("rescaled_new", STEP, "total + torch.exp(block - new[:, None]).sum(dim=1) * torch.exp(largest - new)",
               "the new block's sum is rescaled instead of the old one", SAME_UNIT),
        Mutant("both_rescaled", STEP, "(total + torch.exp(block - new[:, None]).sum(dim=1)) * torch.exp(largest - new)",
               "old and new are rescaled together", SAME_UNIT),
        Mutant("own_maximum", ADDED, " + torch.exp(block - block.amax(dim=1, keepdim=True)).sum(dim=1)",
               "each block is added as measured from its own maximum", SAME_UNIT),
        Mutant("own_maximum_safe", ADDED,
               " + torch.exp(block - block.amax(dim=1, keepdim=True)).nan_to_num().sum(dim=1)",
               "each block is added as measured from its own maximum, and NaN is painted over", SAME_UNIT),
        Mutant("own_and_no_rescale", STEP, "total + torch.exp(block - block.amax(dim=1, keepdim=True)).sum(dim=1)",
               "each block is summed from its own maximum, and the sums are added as they are", SAME_UNIT),
        Mutant("old_maximum", ADDED, " + torch.exp(block - largest[:, None] if largest.dim() else block).sum(dim=1)",
               "the new block is measured from the old maximum",
               "What is the largest exponential that you can meet, and what would you like it to be?"),
        Mutant("rescaled_twice", "torch.exp(largest - new)", "torch.exp(largest - new) ** 2",
               "the old sum is rescaled twice", SAME_UNIT),
        Mutant("linear_factor", "torch.exp(largest - new)", "(largest / new)",
               "the old sum is rescaled by the quotient of the maxima instead of the exponential of their difference",
               "exp(x - new) = exp(x - old) times what?"),
        Mutant("difference_added", STEP, "total + (largest - new) + torch.exp(block - new[:, None]).sum(dim=1)",
               "the difference of the maxima is added to the sum",
               "exp(x - new) = exp(x - old) times what?"),
        Mutant("no_maximum", STEP, "total + torch.exp(block).sum(dim=1)",
               "the second number is not measured from the maximum",
               "What is exp(1000) in a float, and what is exp(x - x)?"),
        Mutant("corrected_at_the_end", "", """\
def online_softmax_stats(blocks):
    largest, total = torch.tensor(-1e30), torch.tensor(0.0)
    for block in blocks:
        largest = torch.maximum(largest, block.amax(dim=1))
        total = total + torch.exp(block).sum(dim=1)
    return largest, total * torch.exp(-largest)""",
               "the exponentials are added as they are and the maximum is taken off only at the end",
               "What is exp(1000) in a float, and can a division afterwards repair it?"),
        Mutant("start_zero", START, "torch.tensor(0.0)",
               "the running maximum begins at 0", "Which maximum has a row of nothing but negative numbers?"),
        Mutant("start_minus_one", START, "torch.tensor(-100.0)",
               "the running maximum begins at a number that a row may lie below",
               "Which maximum has a row of nothing but very negative numbers?"),
        Mutant("start_minus_infinity", START, "torch.tensor(-math.inf)",
               "the running maximum begins at minus infinity, and a hidden block leaves it there", MINUS_INFINITY),
        Mutant("first_block", "", """\
def online_softmax_stats(blocks):
    blocks = iter(blocks)
    block = next(blocks)
    largest = block.amax(dim=1)
    total = torch.exp(block - largest[:, None]).sum(dim=1)
    for block in blocks:
        new = torch.maximum(largest, block.amax(dim=1))
        total = total * torch.exp(largest - new) + torch.exp(block - new[:, None]).sum(dim=1)
        largest = new
    return largest, total""",
               "the running maximum begins at minus infinity, and a hidden block leaves it there", MINUS_INFINITY),
        Mutant("painted_over_real", "", """\
def online_softmax_stats(blocks):
    largest, total = torch.tensor(-math.inf), torch.tensor(0.0)
    for block in blocks:
        new = torch.maximum(largest, block.amax(dim=1))
        total = total * torch.exp(largest - new) + torch.exp(block - new[:, None]).sum(dim=1)
        largest = new
    return largest, total.nan_to_num()""",
               "a NaN is painted over at the end, when it has swallowed the sum", MINUS_INFINITY),
        Mutant("start_view", "", """\
def online_softmax_stats(blocks):
    largest, total = None, torch.tensor(0.0)
    for block in blocks:
        if largest is None:
            largest = block[:, 0]
        new = torch.maximum(largest, block.amax(dim=1)).clamp(min=-1e30)
        total = total * torch.exp(largest - new) + torch.exp(block - new[:, None]).sum(dim=1)
    return new, total""",
               "a column of the first block serves as maximum and is never moved", GONE),
        Mutant("kept_blocks", "", """\
def online_softmax_stats(blocks):
    row = torch.cat(list(blocks), dim=1)
    largest = row.amax(dim=1)
    return largest, torch.exp(row - largest[:, None]).sum(dim=1)""",
               "all blocks are kept and looked at in the end, when they have been overwritten", GONE),
        Mutant("kept_one_by_one", "", """\
def online_softmax_stats(blocks):
    kept = []
    for block in blocks:
        kept.append(block)
    largest = torch.stack([block.amax(dim=1) for block in kept]).amax(dim=0)
    return largest, sum(torch.exp(block - largest[:, None]).sum(dim=1) for block in kept)""",
               "all blocks are kept and looked at in the end, when they have been overwritten", GONE),
        Mutant("two_passes", "", """\
def online_softmax_stats(blocks):
    largest, total = torch.tensor(-1e30), torch.tensor(0.0)
    for block in blocks:
        largest = torch.maximum(largest, block.amax(dim=1))
    for block in blocks:
        total = total + torch.exp(block - largest[:, None]).sum(dim=1)
    return largest, total""",
               "the blocks are gone through twice, and the second time there are none",
               "How often can you go through the blocks?"),
        Mutant("maximum_of_block", "torch.maximum(largest, block.amax(dim=1))", "block.amax(dim=1)",
               "the maximum is that of the last block instead of all", "May the maximum become smaller?"),
        Mutant("last_block", STEP, "torch.exp(block - new[:, None]).sum(dim=1)",
               "the sum is that of the last block", "What becomes of the sum of the blocks before?"),
        Mutant("one_maximum", "block.amax(dim=1)", "block.amax()[None].expand(len(block))",
               "all rows share one maximum", WHICH_ROW),
        Mutant("columns", "block.amax(dim=1)", "block.amax(dim=0)",
               "the maximum is taken down the columns", WHICH_ROW),
        Mutant("smallest", "torch.maximum(largest, block.amax(dim=1))", "torch.minimum(largest, block.amin(dim=1))",
               "the minimum is taken instead of the maximum", "Which exponential would then be the largest?"),
        Mutant("absolute", "block.amax(dim=1)", "block.abs().amax(dim=1)",
               "the largest absolute value is taken", "Which number has the largest exponential, -9 or 2?"),
        Mutant("mean", ".sum(dim=1)", ".mean(dim=1)",
               "each block adds its mean instead of its sum", "What should 11 equal numbers add up to?"),
        Mutant("sum_of_everything", ".sum(dim=1)", ".sum()",
               "the rows of a block are added together", "How many sums do R rows have?"),
        Mutant("logarithm", "return largest, total", "return largest, total.log()",
               "the logarithm of the sum is returned", "Which two things should come back?"),
        Mutant("logsumexp", "return largest, total", "return largest, largest + total.log()",
               "the logarithm of the whole sum of exponentials is returned as the second number",
               "Is the second number measured from the maximum?"),
        Mutant("whole_sum", "return largest, total", "return largest, total * largest.exp()",
               "the second number is not measured from the maximum",
               "What is exp(1000) in a float, and what is exp(x - x)?"),
        Mutant("swapped", "return largest, total", "return total, largest",
               "the two results come in the wrong order", "Which of the two is asked for first?"),
        Mutant("only_sum", "return largest, total", "return total",
               "only the sum is returned", "Which two things should come back?"),
        Mutant("kept_dimension", "return largest, total", "return largest[:, None], total[:, None]",
               "the results keep an axis of size one", "Which shape does the statement name?"),
        Mutant("two_to_the", STEP, "total * 2 ** (largest - new) + 2 ** (block - new[:, None])."
               "sum(dim=1)", "powers of two are added instead of exponentials", "What is exp(1), and what is yours?"),
        Mutant("early_return", "        largest = new\n    return largest, total",
               "        largest = new\n        return largest, total",
               "the function returns inside the loop, after the first block", "How far in does your `return` stand?"),
        Mutant("only_growing", LOOP, """\
        new = torch.maximum(largest, block.amax(dim=1))
        if (new > largest).all():
            total = total * torch.exp(largest - new)
        total = total + torch.exp(block - new[:, None]).sum(dim=1)
        largest = new""",
               "the sum is rescaled only if the maximum of every row has grown", WHICH_ROW),
        Mutant("skips_hidden", LOOP, """\
        if torch.isinf(block.amax(dim=1)).any():
            continue
""" + LOOP,
               "a block is left out for all rows if it hides everything from one of them",
               "Row 3 sees nothing of a block. What do the other rows see of it?"),
        Mutant("double", "return largest, total", "return largest.double(), total.double()",
               "the results are float64", "Which dtype does the statement name?"),
        Mutant("counts", "torch.exp(block - new[:, None]).sum(dim=1)",
               "torch.full((len(block),), float(block.shape[1]))",
               "numbers are counted instead of their exponentials added",
               "What should a number far below the maximum add?"),
        Mutant("normalised", "return largest, total", "return largest, total / total",
               "the sum is divided by itself", "Which number would you divide a weight by?"),
    ),
    variants=("""\
def online_softmax_stats(blocks):
    maxima, sums = [], []
    for block in blocks:
        m = block.max(dim=1).values
        maxima.append(m)
        sums.append(torch.where(block > -math.inf, (block - m[:, None]).exp(), 0.0).sum(1))
    maxima, sums = torch.stack(maxima), torch.stack(sums)
    m = maxima.max(dim=0).values
    return m, (sums * torch.exp(maxima - m)).sum(dim=0)""", """\
def online_softmax_stats(blocks):
    largest = logs = None
    for block in blocks:
        block = block.double()
        lse = torch.logsumexp(block, dim=1)
        largest = block.amax(1) if largest is None else torch.maximum(largest, block.amax(1))
        logs = lse if logs is None else torch.logaddexp(logs, lse)
    return largest.float(), torch.exp(logs - largest).float()""", """\
def online_softmax_stats(blocks):
    m = s = None
    for block in blocks:
        rows = block.tolist()
        if m is None:
            m, s = [-math.inf] * len(rows), [0.0] * len(rows)
        for r, row in enumerate(rows):
            for x in row:
                if x > m[r]:
                    s[r] = s[r] * math.exp(m[r] - x) + 1
                    m[r] = x
                elif x > -math.inf:
                    s[r] += math.exp(x - m[r])
    return torch.tensor(m), torch.tensor(s)""", """\
def online_softmax_stats(blocks):
    m, s = -math.inf, 0.0
    for block in blocks:
        new = block.amax(dim=-1).clamp(min=m) if isinstance(m, float) else block.amax(dim=-1).maximum(m)
        safe = torch.where(new == -math.inf, 0.0, new)
        s = s * torch.exp(m - safe) + torch.exp(block - safe.unsqueeze(-1)).sum(-1)
        m = new
    return m, s""", """\
def online_softmax_stats(blocks):
    row = torch.cat([block.clone() for block in blocks], dim=1)
    m = row.amax(dim=1, keepdim=True)
    return m.squeeze(1), (row - m).exp().sum(dim=1)""",
    ),
    properties=(
        Property(lambda y, blocks: not torch.isnan(y[1]).any(), "A sum is NaN."),
        Property(lambda y, blocks: bool((y[1] > 0.999).all()),
                 "A sum is below 1, though the largest number of its row alone adds exp(0) = 1 to it."),
        Property(lambda y, blocks: bool((y[1] < sum(b.shape[1] for b in blocks) + 1e-3).all()),
                 "A sum is larger than the count of its numbers, though none of them adds more than 1."),
    ),
    twin=rescale_twin,
)  # fmt: skip


# 10.5


def merge_twin(rng: random.Random) -> Question:
    """Two parts with one number each, weights in the ratio of small whole numbers."""
    a, b = rng.sample(range(2, 20), 2)
    first, second, up = rng.randint(1, 4), rng.randint(1, 4), rng.randint(1, 3)
    weight = second * 2**up
    return Question(
        f"Attention over one half of the keys gives {a}, with maximum 0 and sum {first}; over the other half {b}, with "
        f"maximum {up} ln 2 and sum {second}. What does attention over all keys give?",
        (first * a + weight * b) / (first + weight),
        f"Measured from the same maximum the sums are as {first} to {second} · {2**up}; the outputs enter with these "
        "weights.", 0.01,
    )  # fmt: skip


def part(scores: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What a worker sends back: output, maximum, sum; zeros and minus infinity where no key may be seen."""
    largest = scores.amax(dim=-1)
    weights = torch.exp(scores - largest.clamp(min=-1e30)[..., None])
    total = weights.sum(dim=-1)
    return (weights @ values) / total.clamp(min=1e-30)[..., None], largest, total


def parts_of(seed: int, axes: tuple[int, ...], T: int, D: int, sizes: list[int], spread: float, shift: float) -> list:
    """Parts of random scores; `shift` moves each query by its own, `spread` each piece."""
    parts = []
    moved = shift * torch.arange(T).view(T, 1)
    for i, size in enumerate(sizes):
        scores, values = normal(seed + i, (*axes, T, size), (*axes, size, D))
        parts.append(part(scores + moved + spread * ((i * 5) % 3 - 1), values))
    return parts


def hidden_parts() -> list:
    """Three pieces for (2, 4, 3): the first hides all keys of some queries, the second those of others."""
    parts = []
    for i, size in enumerate((5, 2, 6)):
        scores, values = normal(151 + i, (2, 4, size), (2, size, 3))
        if i < 2:
            scores[:, 2 * i] = -math.inf
            scores[1, 3] = -math.inf
        parts.append(part(scores, values))
    return parts


def one_key() -> list:
    """As many pieces as keys, one each, with ties."""
    scores, values = torch.tensor([[0.0, 0.0, 1.0], [2.0, -1.0, 2.0]]), normal(160, (3, 5))[0]
    return [part(scores[:, i : i + 1], values[i : i + 1]) for i in range(3)]


STACKED = "outputs, maxima, sums = (torch.stack(tensors) for tensors in zip(*parts))"
WEIGHTS = "sums * torch.exp(maxima - maxima.amax(dim=0))"
SHARED = "weights = weights / weights.sum(dim=0)"
MIXED = "return (weights[..., None] * outputs).sum(dim=0)"
MANY_KEYS = "One piece holds 1 key, the other 99, and all scores are equal. How much does each of the outputs count?"
MANY_SCORE = "Two pieces of one key each; the score of one is larger by ln 2. How much does each of the outputs count?"
NOT_RESCALED = "the weights are brought to one maximum, but the running sum is not"
OWN_MAXIMUM = "What is exp(-300) in a float, and what is zero divided by zero?"
MERGE = Exercise(
    cases=lambda: [
        (parts_of(110, (), 4, 3, [5, 2, 7], 1.5, 0.0),),
        (parts_of(120, (2, 3), 5, 4, [3, 8], 4.0, 0.5),),
        (parts_of(130, (2,), 3, 6, [4], 0.0, 0.0),),  # one piece
        (parts_of(140, (), 6, 2, [2, 5, 3, 1], 60.0, -150.0),),  # hundreds apart, between pieces and queries
        (hidden_parts(),),
        (one_key(),),
        (parts_of(170, (), 2, 5, [6, 1, 2], 1.0, 300.0),),
        (parts_of(180, (3,), 2, 7, [1, 4], 1.0, -250.0),),
    ],
    tolerance=2e-5,
    mutants=(
        Mutant("mean", MIXED, "return outputs.mean(dim=0)",
               "the outputs are averaged, each piece counting alike", MANY_KEYS),
        Mutant("sum", MIXED, "return outputs.sum(dim=0)",
               "the outputs are added as they are", "What do the weights of all keys add up to in your result?"),
        Mutant("by_sums", WEIGHTS, "sums",
               "the pieces count by their sums alone, though these are measured from different maxima", MANY_SCORE),
        Mutant("by_maxima", WEIGHTS, "torch.exp(maxima - maxima.amax(dim=0))",
               "the pieces count by their maxima alone, however many keys they hold", MANY_KEYS),
        Mutant("plain_maxima", WEIGHTS, "maxima.nan_to_num(neginf=0.0)",
               "the maxima themselves are the weights", MANY_SCORE),
        Mutant("sums_times_maxima", WEIGHTS, "sums * maxima.nan_to_num(neginf=0.0)",
               "sums are multiplied by maxima instead of by their exponentials", MANY_SCORE),
        Mutant("softmax_of_maxima", WEIGHTS + "\n    " + SHARED, "torch.softmax(maxima, dim=0) * sums",
               "the weights are never divided by what they add up to", "What do the weights of the pieces add up to?"),
        Mutant("sum_plus_maximum", WEIGHTS, "torch.exp(maxima - maxima.amax(dim=0)) + sums",
               "sums and exponentials of maxima are added", MANY_KEYS),
        Mutant("no_common", " - maxima.amax(dim=0)", "",
               "exponentials of the maxima are taken as they are", "What is exp(300) in a float?"),
        Mutant("one_maximum", "maxima.amax(dim=0)", "maxima.amax()",
               "all queries share one maximum", OWN_MAXIMUM),
        Mutant("maximum_over_queries", "maxima.amax(dim=0)", "maxima.amax(dim=-1, keepdim=True)",
               "the maximum is taken over the queries instead of the pieces",
               "Which maxima belong to the same query?"),
        Mutant("maximum_of_first", "maxima.amax(dim=0)", "maxima[0]",
               "everything is measured from the maximum of the first piece",
               "What if the first piece holds the smallest maximum, or none?"),
        Mutant("maximum_of_last", "maxima.amax(dim=0)", "maxima[-1]",
               "everything is measured from the maximum of the last piece",
               "What if the last piece holds the smallest maximum, or none?"),
        Mutant("smallest", "maxima.amax(dim=0)", "maxima.amin(dim=0)",
               "everything is measured from the smallest maximum", "Which exponential could then be too large?"),
        Mutant("wrong_way", "maxima - maxima.amax(dim=0)", "maxima.amax(dim=0) - maxima",
               "the piece with the smaller maximum counts more", MANY_SCORE),
        Mutant("mean_maximum", "maxima.amax(dim=0)", "maxima.mean(dim=0)",
               "everything is measured from the mean of the maxima",
               "What is the mean if one of them is minus infinity?"),
        Mutant("not_shared", "    " + SHARED + "\n", "",
               "the weighted outputs are never divided by what the weights add up to",
               "What do the weights of the pieces add up to?"),
        Mutant("by_count", SHARED, "weights = weights / len(parts)",
               "the weighted outputs are divided by the number of pieces",
               "What do the weights of the pieces add up to?"),
        Mutant("divided_by_sums", SHARED, "weights = weights / sums.sum(dim=0)",
               "the sums are added up before they are brought to one maximum",
               "In which unit is each of the sums that you add up?"),
        Mutant("over_queries", SHARED, "weights = weights / weights.sum(dim=-1, keepdim=True)",
               "the weights are shared out over the queries instead of the pieces",
               "Along which axis do the pieces of one query lie?"),
        Mutant("over_everything", SHARED, "weights = weights / weights.sum()",
               "all weights together add up to one, instead of those of each query",
               "How many units of weight are there to share: one for each query, or one in all?"),
        Mutant("softmax", SHARED, "weights = torch.softmax(weights, dim=0)",
               "a softmax is taken of what are weights already", "What weight should a piece get that shows nothing?"),
        Mutant("unnormalised", WEIGHTS + "\n    " + SHARED + "\n    " + MIXED,
               "torch.exp(maxima - maxima.amax(dim=0))\n"
               "    return (weights[..., None] * outputs).sum(dim=0) / (weights * sums).sum(dim=0)[..., None]",
               "the outputs are taken for sums, though each piece has divided by its own", MANY_KEYS),
        Mutant("sums_twice", WEIGHTS, "sums * sums * torch.exp(maxima - maxima.amax(dim=0))",
               "the sums are counted twice", MANY_KEYS),
        Mutant("divided_sums", WEIGHTS, "torch.exp(maxima - maxima.amax(dim=0)) / sums.clamp(min=1e-30)",
               "a piece counts less, the larger its sum", MANY_KEYS),
        Mutant("log_sums", WEIGHTS, "(maxima + sums.log()).nan_to_num(neginf=0.0)",
               "logarithms of the sums are the weights", MANY_SCORE),
        Mutant("swapped_pair", "outputs, maxima, sums =", "outputs, sums, maxima =",
               "maximum and sum of a piece have changed places", "In which order do the three tensors of a part come?"),
        Mutant("best_piece", MIXED, "best = weights.argmax(dim=0)\n"
               "    return outputs.gather(0, best[None, ..., None].expand_as(outputs[:1]))[0]",
               "each query takes the output of its heaviest piece alone",
               "Do the keys of the other pieces count nothing?"),
        Mutant("first_piece", MIXED, "return outputs[0]",
               "only the first piece counts", "Do the keys of the other pieces count nothing?"),
        Mutant("last_piece", MIXED, "return outputs[-1]",
               "only the last piece counts", "Do the keys of the other pieces count nothing?"),
        Mutant("pairwise_mean", "", """\
def merge_attention(parts):
    output, largest, total = parts[0]
    for other, m, s in parts[1:]:
        new = torch.maximum(largest, m)
        a, b = total * torch.exp(largest - new), s * torch.exp(m - new)
        output = (a[..., None] * output + b[..., None] * other) / (a + b)[..., None]
        largest, total = new, (a + b) / 2
    return output""",
               "the running sum is halved at every merge", "How many keys has the merged part seen?"),
        Mutant("pairwise_sum_forgotten", "", """\
def merge_attention(parts):
    output, largest, total = parts[0]
    for other, m, s in parts[1:]:
        new = torch.maximum(largest, m)
        a, b = total * torch.exp(largest - new), s * torch.exp(m - new)
        output = (a[..., None] * output + b[..., None] * other) / (a + b)[..., None]
        largest = new
    return output""",
               "the running sum is not brought up to date after a merge", "How many keys has the merged part seen?"),
        Mutant("pairwise_not_rescaled", "", """\
def merge_attention(parts):
    output, largest, total = parts[0]
    for other, m, s in parts[1:]:
        new = torch.maximum(largest, m)
        a, b = total * torch.exp(largest - new), s * torch.exp(m - new)
        output = (a[..., None] * output + b[..., None] * other) / (a + b)[..., None]
        largest, total = new, total + s
    return output""",
               NOT_RESCALED, "From which maximum is each of the two sums measured that you add for the next merge?"),
        Mutant("pairwise_not_rescaled_safe", "", """\
def merge_attention(parts):
    output, largest, total = parts[0]
    for other, m, s in parts[1:]:
        new = torch.maximum(largest, m)
        safe = new.clamp(min=-1e30)
        a, b = total * torch.exp(largest - safe), s * torch.exp(m - safe)
        output = (a[..., None] * output + b[..., None] * other) / (a + b).clamp(min=1e-30)[..., None]
        largest, total = new, total + s
    return output""",
               NOT_RESCALED, "From which maximum is each of the two sums measured that you add for the next merge?"),
        Mutant("pairwise_maximum_forgotten", "", """\
def merge_attention(parts):
    output, largest, total = parts[0]
    for other, m, s in parts[1:]:
        new = torch.maximum(largest, m)
        a, b = total * torch.exp(largest - new), s * torch.exp(m - new)
        output = (a[..., None] * output + b[..., None] * other) / (a + b)[..., None]
        total = a + b
    return output""",
               "the running maximum is not brought up to date after a merge",
               "From which maximum is the sum measured after the first merge?"),
        Mutant("nan_at_hidden", "", """\
def merge_attention(parts):
    output, largest, total = parts[0]
    for other, m, s in parts[1:]:
        new = torch.maximum(largest, m)
        a, b = total * torch.exp(largest - new), s * torch.exp(m - new)
        output = (a[..., None] * output + b[..., None] * other) / (a + b)[..., None]
        largest, total = new, a + b
    return output""",
               "two pieces that show a query nothing are merged first, and minus infinity is taken from itself",
               "What is minus infinity less minus infinity?"),
        Mutant("in_place", "", """\
def merge_attention(parts):
    output, largest, total = parts[0]
    largest.clamp_(min=-1e30)
    for other, m, s in parts[1:]:
        new = torch.maximum(largest, m)
        a, b = total * torch.exp(largest - new), s * torch.exp(m - new)
        output *= (a / (a + b).clamp(min=1e-30))[..., None]
        output += (b / (a + b).clamp(min=1e-30))[..., None] * other
        largest.copy_(new)
        total.copy_(a + b)
    return output""",
               "the first part is overwritten with the running result", "Whose tensors are those in `parts`?"),
        Mutant("no_axis", MIXED, "return (weights * outputs.movedim(-1, 0)).sum(dim=0)",
               "the features are summed instead of the pieces",
               "Which axis did the pieces get when they were stacked, and is it still there?"),
        Mutant("all_three", MIXED, "return (weights[..., None] * outputs).sum(dim=0), maxima.amax(dim=0), "
               "(sums * torch.exp(maxima - maxima.amax(dim=0))).sum(dim=0)",
               "maximum and sum are returned too", "What should come back?"),
        Mutant("axis_kept", MIXED, "return (weights[..., None] * outputs).sum(dim=0, keepdim=True)",
               "the axis of the pieces is kept, with size one", "Which shape should the result have?"),
    ),
    variants=("""\
def merge_attention(parts):
    lse = torch.stack([largest + total.log() for _, largest, total in parts])
    weights = torch.softmax(lse, dim=0)
    return torch.einsum("p...t,p...td->...td", weights, torch.stack([output for output, _, _ in parts]))""", """\
def merge_attention(parts):
    output, largest, total = (tensor.clone() for tensor in parts[0])
    largest = largest.clamp(min=-1e30)
    for other, m, s in parts[1:]:
        new = torch.maximum(largest, m)
        a, b = total * torch.exp(largest - new), s * torch.exp(m - new)
        output = (a[..., None] * output + b[..., None] * other) / (a + b).clamp(min=1e-20)[..., None]
        largest, total = new, a + b
    return output""", """\
def merge_attention(parts):
    top = parts[0][1]
    for _, m, _ in parts:
        top = torch.max(top, m)
    above, below = 0.0, 0.0
    for output, m, s in parts:
        w = (s * (m - top).exp()).unsqueeze(-1)
        above, below = above + w * output, below + w
    return above / below""", """\
def merge_attention(parts):
    first = parts[0][0]
    result = torch.zeros(first.shape).view(-1, first.shape[-1])
    for t in range(len(result)):
        rows = [(o.reshape(-1, o.shape[-1])[t], m.reshape(-1)[t].item(), s.reshape(-1)[t].item()) for o, m, s in parts]
        top = max(m for _, m, _ in rows)
        w = [s * math.exp(m - top) for _, m, s in rows]
        for (o, _, _), x in zip(rows, w):
            result[t] += x / sum(w) * o
    return result.view(first.shape)""",
    ),
    properties=(
        Property(lambda y, parts: not torch.isnan(y).any(), "An output is NaN."),
        Property(lambda y, parts: y.shape == parts[0][0].shape, "The result has not the shape of an output."),
        Property(lambda y, parts: bool((y <= torch.stack([p[0] for p in parts]).amax(dim=0).clamp(min=0) + 1e-4).all())
                 and bool((y >= torch.stack([p[0] for p in parts]).amin(dim=0).clamp(max=0) - 1e-4).all()),
                 "An output lies outside of what the pieces have seen: their weights do not add up to one."),
    ),
    twin=merge_twin,
)  # fmt: skip


# 10.6


def break_even_twin(rng: random.Random) -> Question:
    eager, gain, steps = rng.randint(40, 200), rng.randint(5, 30), rng.randint(20, 400)
    price = gain * steps - rng.randint(0, gain - 1)
    return Question(
        f"The first step of a compiled run costs {price} ms more than that of the eager run; every later one takes "
        f"{eager - gain} ms instead of {eager}. After how many steps, the first included, has it caught up?", steps + 1,
        f"{price} / {gain} = {price / gain:.2f} steps after the first, rounded up, and the first itself.",
    )  # fmt: skip


BEHIND = "behind = compiled[0] - eager[0]"
GAIN = "statistics.median(eager[1:]) - statistics.median(compiled[1:])"
STEPS = "1 + math.ceil(behind / gain)"
FIRST_TOO = "What do the two runs cost after step 1, and after step 2?"
NEVER = "A step takes the same in both runs. When does the one that lies behind catch up?"
OUTLIER = "One step of five took ten times as long, because something else was running. What do you want to know of it?"
RUNS = (
    ([90, 50, 50, 50], [2000, 30, 30]),
    ([90, 50, 50, 50], [2000, 50, 50]),  # no gain
    ([120, 80, 85, 300, 82, 81], [4000, 60, 61, 62, 58]),  # an interruption
    ([70, 40], [1070, 65]),  # it becomes slower
    ([100, 60, 61, 62, 63], [1300, 42, 40, 45, 41, 400]),  # an even number of steps
    ([60, 50, 50, 51], [860, 30, 30]),  # 800 / 20: exactly even
    ([55, 50, 54, 52], [56, 20, 21, 22]),  # caught up in the second step
    ([200, 100, 101, 99, 100, 500], [30_000, 97, 98, 99]),
    ([500, 20, 22, 20, 24], [9_000, 18, 19, 20]),
    ([30, 10, 10, 200, 210, 10], [400, 9, 9, 9, 9, 300]),
)
BREAK_EVEN = Exercise(
    cases=lambda: [(list(eager), list(compiled)) for eager, compiled in RUNS],
    mutants=(
        Mutant("first_forgotten", STEPS, "math.ceil(behind / gain)",
               "the first step is not counted", FIRST_TOO),
        Mutant("two_more", STEPS, "2 + math.ceil(behind / gain)",
               "one step too many is counted", FIRST_TOO),
        Mutant("rounded_down", STEPS, "1 + math.floor(behind / gain)",
               "the quotient is rounded down", "Has the run caught up after 95 steps if it takes 95.5?"),
        Mutant("rounded_down_first", STEPS, "int(behind / gain)",
               "the quotient is rounded down, and the first step is not counted", FIRST_TOO),
        Mutant("rounded", STEPS, "1 + round(behind / gain)",
               "the quotient is rounded to the nearest whole number",
               "Has the run caught up after 95 steps if it takes 95.4?"),
        Mutant("overtaken", STEPS, "2 + math.floor(behind / gain)",
               "the compiled run must be ahead, not only level",
               "Is a run that has taken exactly as long still behind?"),
        Mutant("fraction", STEPS, "1 + behind / gain",
               "a fraction of a step is returned", "Can a run stop in the middle of a step?"),
        Mutant("compiled_first_only", BEHIND, "behind = compiled[0]",
               "the eager run's first step is taken to cost nothing",
               "How far behind is the compiled run after its first step?"),
        Mutant("compile_time", BEHIND, "behind = compiled[0] - statistics.median(compiled[1:])",
               "the price is the compile time alone, as if the eager run's first step were no slower than the others",
               "How far behind is the compiled run after its first step?"),
        Mutant("compile_time_all", "", """\
def break_even(eager, compiled):
    old, new = statistics.median(eager[1:]), statistics.median(compiled[1:])
    if old <= new:
        return math.inf
    return math.ceil((compiled[0] - new) / (old - new))""",
               "the eager run's first step is taken to be no slower than its others",
               "How far behind is the compiled run after its first step?"),
        Mutant("against_typical", BEHIND, "behind = compiled[0] - statistics.median(eager[1:])",
               "the eager run's first step is taken to be no slower than its others",
               "How far behind is the compiled run after its first step?"),
        Mutant("sum_of_firsts", BEHIND, "behind = compiled[0] + eager[0]",
               "the two first steps are added", "How far behind is the compiled run after its first step?"),
        Mutant("mean", GAIN, "statistics.mean(eager[1:]) - statistics.mean(compiled[1:])",
               "a mean is taken instead of a median", OUTLIER),
        Mutant("mean_of_all", GAIN, "statistics.mean(eager) - statistics.mean(compiled)",
               "a mean is taken, and the first steps are in it", OUTLIER),
        Mutant("median_of_all", GAIN, "statistics.median(eager) - statistics.median(compiled)",
               "the first steps are among those of which the median is taken",
               "Is the first step like the later ones?"),
        Mutant("median_low", GAIN, "statistics.median_low(eager[1:]) - statistics.median_low(compiled[1:])",
               "of an even number of values the lower one of the middle two is taken",
               "What does the statement call the median of four values?"),
        Mutant("median_high", GAIN, "statistics.median_high(eager[1:]) - statistics.median_high(compiled[1:])",
               "of an even number of values the upper one of the middle two is taken",
               "What does the statement call the median of four values?"),
        Mutant("unsorted", GAIN, "eager[1:][len(eager[1:]) // 2] - compiled[1:][len(compiled[1:]) // 2]",
               "the value in the middle of the list is taken, without sorting it",
               "What must be true of a list for its middle to be the median?"),
        Mutant("fastest", GAIN, "min(eager[1:]) - min(compiled[1:])",
               "the fastest step is taken instead of the median", "Which statistic is asked for?"),
        Mutant("slowest", GAIN, "max(eager[1:]) - max(compiled[1:])",
               "the slowest step is taken instead of the median", "Which statistic is asked for?"),
        Mutant("last", GAIN, "eager[-1] - compiled[-1]",
               "the last step is taken for typical", OUTLIER),
        Mutant("second", GAIN, "eager[1] - compiled[1]",
               "the second step is taken for typical", OUTLIER),
        Mutant("drops_two", GAIN, "statistics.median(eager[2:] or eager[1:]) - "
               "statistics.median(compiled[2:] or compiled[1:])",
               "two steps are left out as warm-up instead of one", "Which steps does the statement leave out?"),
        Mutant("drops_last", GAIN, "statistics.median(eager[1:-1] or eager[1:]) - "
               "statistics.median(compiled[1:-1] or compiled[1:])",
               "the last step is left out too", "What does the end of a slice leave out?"),
        Mutant("sums", GAIN, "sum(eager[1:]) - sum(compiled[1:])",
               "all measured steps are added up instead of one typical step taken", "Are the two lists equally long?"),
        Mutant("gain_wrong_way", GAIN, "statistics.median(compiled[1:]) - statistics.median(eager[1:])",
               "the gain has the wrong sign", "A compiled step takes 30 instead of 50. Is the gain 20 or -20?"),
        Mutant("no_check", "    if gain <= 0:\n        return math.inf\n", "",
               "a gain of nothing is divided by, and a loss counts as a gain", NEVER),
        Mutant("zero_crash", "gain <= 0", "gain < 0",
               "a gain of exactly nothing is divided by", NEVER),
        Mutant("equal_is_one", "    if gain <= 0:\n        return math.inf",
               "    if gain < 0:\n        return math.inf\n    if gain == 0:\n        return 1",
               "with equal steps the runs are said to be level at once", NEVER),
        Mutant("absolute", GAIN + "\n    if gain <= 0:", "abs(" + GAIN + ")\n    if gain == 0:",
               "a loss counts as a gain of the same size", "The compiled steps are slower. When does it catch up?"),
        Mutant("never_zero", "return math.inf", "return 0",
               "0 stands for never", "What does the statement want for a run that never catches up?"),
        Mutant("never_none", "return math.inf", "return None",
               "None stands for never", "What does the statement want for a run that never catches up?"),
        Mutant("never_minus", "return math.inf", "return -1",
               "-1 stands for never", "What does the statement want for a run that never catches up?"),
        Mutant("never_minus_infinity", "return math.inf", "return -math.inf",
               "minus infinity stands for never", "Is never very late or very early?"),
        Mutant("never_long", "return math.inf", "return len(eager)",
               "the number of measured steps stands for never",
               "What does the statement want for a run that never catches up?"),
        Mutant("measured_only", "", """\
def break_even(eager, compiled):
    for n in range(1, min(len(eager), len(compiled)) + 1):
        if sum(compiled[:n]) <= sum(eager[:n]):
            return n
    return math.inf""",
               "only the steps that were measured are looked at", "What do the steps after the end of the list take?"),
        Mutant("measured_first", "", """\
def break_even(eager, compiled):
    old, new = statistics.median(eager[1:]), statistics.median(compiled[1:])
    steps = mine = theirs = 0
    while True:
        theirs += eager[steps] if steps < len(eager) else old
        mine += compiled[steps] if steps < len(compiled) else new
        steps += 1
        if mine <= theirs:
            return steps
        if steps >= max(len(eager), len(compiled)) and new >= old:
            return math.inf""",
               "the steps in the lists count as they were measured, and the median only after the end of a list",
               "What does the statement take for the second step, which is in the list?"),
        Mutant("capped", "return " + STEPS, "steps = " + STEPS + "\n    return steps if steps <= 1000 else math.inf",
               "the search ends after a thousand steps", "How long may a training be?"),
        Mutant("milliseconds", STEPS, "behind + statistics.median(compiled[1:]) * math.ceil(behind / gain)",
               "milliseconds are returned instead of steps", "In which unit is the answer asked for?"),
        Mutant("ratio", STEPS, "1 + math.ceil(behind / gain * statistics.median(eager[1:]))",
               "the price is divided by a gain in per cent of a step", "How many milliseconds does one step save?"),
        Mutant("by_eager_step", STEPS, "1 + math.ceil(behind / statistics.median(eager[1:]))",
               "the price is counted in eager steps instead of in what a step saves",
               "How many milliseconds does one step save?"),
        Mutant("by_compiled_step", STEPS, "1 + math.ceil(behind / statistics.median(compiled[1:]))",
               "the price is counted in compiled steps instead of in what a step saves",
               "How many milliseconds does one step save?"),
        Mutant("whole_gain", GAIN, "int(statistics.median(eager[1:])) - int(statistics.median(compiled[1:]))",
               "the medians are cut down to whole milliseconds", "Which value lies halfway between 61 and 62?"),
        Mutant("sorted_in_place", "    " + BEHIND, "    eager.sort()\n    compiled.sort()\n    " + BEHIND,
               "the lists are sorted where they stand, so that the first step is no longer the first",
               "Whose list is it, and which step does `eager[0]` hold after the sort?"),
    ),
    variants=("""\
def break_even(eager, compiled):
    old, new = statistics.median(eager[1:]), statistics.median(compiled[1:])
    if new >= old:
        return math.inf
    steps, mine, theirs = 1, compiled[0], eager[0]
    while mine > theirs:
        steps, mine, theirs = steps + 1, mine + new, theirs + old
    return steps""", """\
def break_even(eager, compiled):
    def typical(steps):
        values = sorted(steps[1:])
        return (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2

    gain = typical(eager) - typical(compiled)
    return -int(-(compiled[0] - eager[0]) // gain) + 1 if gain > 0 else float("inf")""", """\
def break_even(eager, compiled):
    a, b = (torch.tensor(run[1:], dtype=torch.float64).quantile(0.5).item() for run in (eager, compiled))
    return 1 + math.ceil((compiled[0] - eager[0]) / (a - b)) if a > b else math.inf""",
    ),
    properties=(
        Property(lambda n, eager, compiled: n > 1, "After one step the compiled run still lies behind."),
    ),
    twin=break_even_twin,
)  # fmt: skip


# 10.7


def schedule_twin(rng: random.Random) -> Question:
    """By how much a machine that grows warm favours what is timed first."""
    start, slower, tries = rng.choice([20, 30, 40, 50]), rng.choice([1, 2]), rng.choice([3, 5, 7, 9])
    return Question(
        f"Two functions are equally fast. A call takes {start} µs at first, and every call takes {slower} µs longer "
        f"than the one before. The first is timed {tries} times, then the second {tries} times. How much larger is "
        "the second median, in µs?", slower * tries,
        f"Each of its calls comes {tries} calls later than the one that it is compared with: {tries} · {slower} µs.",
    )  # fmt: skip


class Work:
    """A function without arguments, which shows as its name in a message."""

    def __init__(self, name: str, call: Callable[[str], None]):
        self.name, self.call = name, call

    def __call__(self) -> None:
        self.call(self.name)

    def __repr__(self) -> str:
        return self.name


def machine(seconds: dict[str, int], warming: int, heat: int, every: int, launch: int) -> tuple:
    """Functions, clock and wait of a simulated machine; times in microseconds.

    seconds: name → what a call takes. `warming` comes on top of each function's first call, `heat` times the number of
    calls so far on top of every call, and 700 on each call whose number `every` divides (0: none). A call returns
    after `launch`; the work goes on in the background, one piece after the other.
    """
    state = {"now": 1000, "busy": 0, "calls": 0}
    seen = set()

    def call(name: str) -> None:
        """Hand over one piece of work and return."""
        takes = seconds[name] + heat * state["calls"] + warming * (name not in seen)
        state["calls"] += 1
        seen.add(name)
        takes += 700 * bool(every and state["calls"] % every == 0)
        state["busy"] = max(state["now"], state["busy"]) + takes
        state["now"] += launch

    def wait() -> None:
        state["now"] = max(state["now"], state["busy"])

    def clock() -> int:
        return state["now"]

    return {name: Work(name, call) for name in seconds}, clock, wait


def benches() -> list[tuple]:
    """functions, tries, clock, wait of several machines."""
    cases = []
    for tries, seconds, warming, heat, every, launch in (
        (5, {"a": 40, "b": 90}, 300, 0, 0, 2),
        (7, {"naive": 61, "fused": 25, "tiled": 33}, 500, 3, 5, 3),
        (4, {"x": 50, "y": 50}, 0, 6, 7, 1),
        (1, {"only": 17}, 90, 2, 0, 4),
        (6, {"one": 35, "two": 80, "six": 61}, 0, 1, 4, 5),
        (3, {"p": 20, "q": 30, "r": 45, "s": 25}, 111, 9, 0, 7),
    ):
        functions, clock, wait = machine(seconds, warming, heat, every, launch)
        cases.append((functions, tries, clock, wait))
    return cases


WARM = "    for function in functions.values():\n        function()\n    wait()\n"
TURNS = "schedule = list(functions) * tries"
APART = "schedule = [name for name in functions for _ in range(tries)]"
TIMED = """\
        start = clock()
        functions[name]()
        wait()
        times[name].append(clock() - start)"""
MEDIAN = "return {name: statistics.median(taken) for name, taken in times.items()}"
MEAN = "return {name: sum(taken) / tries for name, taken in times.items()}"
STILL_RUNNING = "A call returns at once. When is its work done, and have you read the clock before or after that?"
WARMTH = "The machine grows slower all the time. Which of the functions gets the cool part of your schedule?"
OTHER_WORK = "Something else took 700 µs once in five times. By how much does that move your number?"
FIRST_CALL = "The first call of each function costs extra. In which of your times is that extra?"
FAIR_TIMES = Exercise(
    cases=benches,
    mutants=(
        Mutant("apart", TURNS, APART,
               "one function is timed after the other instead of taking turns", WARMTH),
        Mutant("mean", MEDIAN, MEAN,
               "a mean is taken instead of a median", OTHER_WORK),
        Mutant("apart_and_mean", TURNS + "\n    for name in schedule:\n" + TIMED + "\n    " + MEDIAN,
               APART + "\n    for name in schedule:\n" + TIMED + "\n    " + MEAN,
               "one function is timed after the other, and the mean of its times is taken", WARMTH),
        Mutant("read_too_early", TIMED, """\
        start = clock()
        functions[name]()
        times[name].append(clock() - start)
        wait()""",
               "the clock is read before the work is done", STILL_RUNNING),
        Mutant("waits_first", TIMED, """\
        wait()
        start = clock()
        functions[name]()
        times[name].append(clock() - start)""",
               "the clock is read before the work is done", STILL_RUNNING),
        Mutant("never_waits", WARM + "    " + TURNS + "\n    for name in schedule:\n" + TIMED,
               "    for function in functions.values():\n        function()\n    " + TURNS + """
    for name in schedule:
        start = clock()
        functions[name]()
        times[name].append(clock() - start)""",
               "the clock is read before the work is done", STILL_RUNNING),
        Mutant("only_waiting", TIMED, """\
        functions[name]()
        start = clock()
        wait()
        times[name].append(clock() - start)""",
               "the clock starts only when the call has returned",
               "Is handing the work over a part of what a call takes?"),
        Mutant("nothing_timed", TIMED, """\
        functions[name]()
        wait()
        start = clock()
        times[name].append(clock() - start)""",
               "the clock starts when everything is over", "What lies between your two readings of the clock?"),
        Mutant("work_left_over", WARM, "    for function in functions.values():\n        function()\n",
               "the warm-up still works when the first time is taken",
               "Is there any work left when you read the clock for the first time?"),
        Mutant("no_warm_up", WARM, "",
               "nothing is called before it is timed", FIRST_CALL),
        Mutant("warm_up_late", WARM + "    " + TURNS + "\n    for name in schedule:\n" + TIMED,
               "    " + TURNS + "\n    for name in schedule:\n" + TIMED + "\n" + WARM.rstrip("\n"),
               "nothing is called before it is timed", FIRST_CALL),
        Mutant("warm_up_of_one", "for function in functions.values():\n        function()",
               "next(iter(functions.values()))()",
               "only the first function is warmed up", FIRST_CALL),
        Mutant("warm_up_counted", "", """\
def fair_times(functions, tries, clock, wait):
    times = {name: [] for name in functions}
    for name in list(functions) * (tries + 1):
        start = clock()
        functions[name]()
        wait()
        times[name].append(clock() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}""",
               "the first calls are timed too and are among those of which the median is taken", FIRST_CALL),
        Mutant("warm_up_in_loop", "", """\
def fair_times(functions, tries, clock, wait):
    times = {name: [] for name in functions}
    for name in list(functions) * tries:
        functions[name]()
        wait()
        start = clock()
        functions[name]()
        wait()
        times[name].append(clock() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}""",
               "each function is warmed up again before every time that is taken",
               "How often is each function called before any is timed, and how often after that?"),
        Mutant("clock_not_restarted", "    for name in schedule:\n        start = clock()\n",
               "    start = clock()\n    for name in schedule:\n",
               "the clock is started once, before all", "From which moment does the third time count?"),
        Mutant("backwards", "clock() - start", "start - clock()",
               "the later reading is taken from the earlier one", "Which of your two readings is the larger?"),
        Mutant("end_times", "clock() - start", "clock()",
               "the time of day at the end is kept", "What lies between your two readings of the clock?"),
        Mutant("start_times", "clock() - start", "start",
               "the time of day at the start is kept", "What lies between your two readings of the clock?"),
        Mutant("fastest", MEDIAN, "return {name: min(taken) for name, taken in times.items()}",
               "the fastest time is returned", "Which statistic is asked for?"),
        Mutant("slowest", MEDIAN, "return {name: max(taken) for name, taken in times.items()}",
               "the slowest time is returned", "Which statistic is asked for?"),
        Mutant("sum", MEDIAN, "return {name: sum(taken) for name, taken in times.items()}",
               "the times are added up", "Which statistic is asked for?"),
        Mutant("last", MEDIAN, "return {name: taken[-1] for name, taken in times.items()}",
               "the last time is returned", "Which statistic is asked for?"),
        Mutant("unsorted", MEDIAN, "return {name: taken[len(taken) // 2] for name, taken in times.items()}",
               "the time in the middle of the list is taken, without sorting it",
               "What must be true of a list for its middle to be the median?"),
        Mutant("median_high", MEDIAN, "return {name: sorted(taken)[len(taken) // 2] for name, taken in times.items()}",
               "of an even number of times the upper one of the middle two is taken",
               "What is the median of four numbers?"),
        Mutant("all_times", MEDIAN, "return times",
               "all times are returned", "Which one number is asked for, for each name?"),
        Mutant("list", MEDIAN, "return [statistics.median(taken) for taken in times.values()]",
               "the numbers come without their names", "How will a reader know which number is whose?"),
        Mutant("ratios", MEDIAN, "medians = {name: statistics.median(taken) for name, taken in times.items()}\n"
               "    return {name: taken / min(medians.values()) for name, taken in medians.items()}",
               "the times are divided by the fastest", "In which unit are the times asked for?"),
        Mutant("seconds", MEDIAN, "return {name: statistics.median(taken) / 1e6 for name, taken in times.items()}",
               "the times are given in seconds", "In which unit are the times asked for?"),
        Mutant("once", TURNS, "schedule = list(functions)",
               "each function is timed once", "What are the tries for?"),
        Mutant("one_more", TURNS, "schedule = list(functions) * (tries + 1)",
               "each function is timed once too often", "How often is each function timed?"),
        Mutant("one_less", TURNS, "schedule = list(functions) * max(1, tries - 1)",
               "each function is timed once too few", "How often is each function timed?"),
        Mutant("back_and_forth", TURNS,
               "there, back = list(functions), list(functions)[::-1]\n"
               "    schedule = [name for i in range(tries) for name in (back if i % 2 else there)]",
               "every second round goes backwards", "In which order do the functions take turns?"),
        Mutant("reversed", TURNS, "schedule = list(functions)[::-1] * tries",
               "the rounds begin with the last function", "In which order do the functions take turns?"),
        Mutant("calls_together", "", """\
def fair_times(functions, tries, clock, wait):
    for function in functions.values():
        function()
    wait()
    times = {}
    for name, function in functions.items():
        start = clock()
        for _ in range(tries):
            function()
        wait()
        times[name] = (clock() - start) / tries
    return times""",
               "one function is timed after the other, and the mean of its times is taken", WARMTH),
    ),
    variants=("""\
def fair_times(functions, tries, clock, wait):
    for call in functions.values():
        call()
        wait()
    times = {}
    for _ in range(tries):
        for name, call in functions.items():
            before = clock()
            call()
            wait()
            times.setdefault(name, []).append(clock() - before)
    return {name: statistics.median(taken) for name, taken in times.items()}""", """\
def fair_times(functions, tries, clock, wait):
    for function in functions.values():
        function()
    schedule = list(functions) * tries
    times = {name: [] for name in functions}
    wait()
    for name in schedule:
        start = clock()
        functions[name]()
        wait()
        times[name].append(clock() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}""", """\
def fair_times(functions, tries, clock, wait):
    def once(name):
        wait()
        start = clock()
        functions[name]()
        wait()
        return clock() - start

    [once(name) for name in functions]
    rounds = [[once(name) for name in functions] for _ in range(tries)]
    return {name: float(torch.tensor(taken, dtype=torch.float64).quantile(0.5))
            for name, taken in zip(functions, zip(*rounds))}""",
    ),
    twin=schedule_twin,
)  # fmt: skip


# 10.8


def utilisation_twin(rng: random.Random) -> Question:
    """MFU or HFU of a small run, in round numbers."""
    n, a, gpus = rng.choice([2, 3, 4, 6]), rng.choice([0.1, 0.2, 0.5]), rng.choice([2, 4, 8])
    flops, rate = 6 * n + 12 * a, rng.choice([10, 20, 30])
    peak = rng.choice([200, 400, 500])
    hardware = rng.random() < 0.4
    told = "of which all of the forward pass is computed twice" if hardware else "nothing is computed twice"
    return Question(
        f"{n} billion parameters that multiply, and 12 LdT of {12 * a:.1f} billion. {gpus} GPUs of {peak} TFLOP/s each "
        f"train on {rate} thousand tokens a second together; {told}. What is the {'HFU' if hardware else 'MFU'}, as a "
        "share of the peak?", rate * 1e3 * flops * 1e9 / (gpus * peak * 1e12) * (4 / 3 if hardware else 1),
        f"{rate} thousand tokens of 6 · {n} + {12 * a:.1f} billion FLOPs, by {gpus} · {peak} trillion"
        + ("; a second forward pass is one third more." if hardware else "."), 0.02,
    )  # fmt: skip


def shape(parameters: int, embedding: int, layers: int, width: int, context: int) -> dict[str, int]:
    return {"parameters": parameters, "embedding": embedding, "layers": layers, "width": width, "context": context}


MULTIPLYING = 'multiplying = model["parameters"] - model["embedding"]'
FLOPS = 'flops = 6 * multiplying + 12 * model["layers"] * model["width"] * model["context"]'
MFU, HFU = "mfu = tokens_per_second * flops / (gpus * peak)", "hfu = mfu * (1 + recomputed / 3)"
ALL, ONE_GPU = 'multiplying = model["parameters"]', "mfu = tokens_per_second * flops / peak"
TWICE_IN = FLOPS + "\n    flops = flops * (1 + recomputed / 3)"
LOOKED_UP = "How many multiplications does looking up a row of a table take?"
MACHINES = "The tokens are those of 8 GPUs. Of how many GPUs is the peak in your quotient?"
MERIT = "Two runs train the same model equally fast. Is the MFU of one larger because it computes things twice?"
HARDWARE = "Training costs as much as three forward passes. How many is it if one of them is computed twice?"
UTILISATION = Exercise(
    cases=lambda: [
        (shape(110, 10, 2, 5, 4), 50, 30_000, 3, 0.0),
        (shape(110, 10, 2, 5, 4), 50, 30_000, 3, 1.0),
        (shape(8_030_261_248, 525_336_576, 32, 4096, 8192), 5762 * 7, 989e12, 7, 0.5),
        (shape(124_439_808, 0, 12, 768, 1024), 170_000, 312e12, 1, 0.25),  # a tied head
        (shape(900, 350, 3, 7, 11), 20, 1e4, 16, 0.75),
        (shape(500, 60, 4, 6, 9), 0, 7e3, 2, 1.0),  # nothing runs
        (shape(700, 150, 2, 3, 5), 40, 1e4, 5, 1.0),  # above 1: the peak on paper is wrong
    ],
    mutants=(
        Mutant("embedding", MULTIPLYING, ALL,
               "the input table is still counted", LOOKED_UP),
        Mutant("gpus", MFU, ONE_GPU,
               "the work of all GPUs is still divided by the peak of one", MACHINES),
        Mutant("recomputed", "\n    ".join((FLOPS, MFU, HFU)), "\n    ".join((TWICE_IN, MFU, "hfu = mfu")),
               "what is computed twice still counts in MFU", MERIT),
        Mutant("recomputed_in_both", "\n    ".join((FLOPS, MFU)), "\n    ".join((TWICE_IN, MFU)),
               "what is computed twice counts in MFU, and in HFU once more", MERIT),
        Mutant("never_recomputed", HFU, "hfu = mfu",
               "what is computed twice counts nowhere", "What does the H in HFU stand for?"),
        Mutant("embedding_and_gpus", "\n    ".join((MULTIPLYING, FLOPS, MFU)), "\n    ".join((ALL, FLOPS, ONE_GPU)),
               "the input table is still counted, and the peak is still that of one GPU", LOOKED_UP),
        Mutant("embedding_and_recomputed", "\n    ".join((MULTIPLYING, FLOPS, MFU, HFU)),
               "\n    ".join((ALL, TWICE_IN, MFU, "hfu = mfu")),
               "the input table is still counted, and so is in MFU what is computed twice", LOOKED_UP),
        Mutant("gpus_and_recomputed", "\n    ".join((FLOPS, MFU, HFU)), "\n    ".join((TWICE_IN, ONE_GPU, "hfu = mfu")),
               "the peak is still that of one GPU, and MFU still counts what is computed twice", MACHINES),
        Mutant("gpus_and_both", "\n    ".join((FLOPS, MFU)), "\n    ".join((TWICE_IN, ONE_GPU)),
               "the peak is still that of one GPU, and what is computed twice counts in MFU, and in HFU once more",
               MACHINES),
        Mutant("hfu_only_gpus", "\n    ".join((MFU, HFU)),
               "mfu = tokens_per_second * flops / (gpus * peak)\n"
               "    hfu = tokens_per_second * flops * (1 + recomputed / 3) / peak",
               "HFU is still divided by the peak of one GPU", MACHINES),
        Mutant("mfu_only_gpus", "\n    ".join((MFU, HFU)),
               "mfu = tokens_per_second * flops / peak\n"
               "    hfu = tokens_per_second * flops * (1 + recomputed / 3) / (gpus * peak)",
               "MFU is still divided by the peak of one GPU", MACHINES),
        Mutant("divided_out", HFU, "mfu = mfu / (1 + recomputed / 3)\n    hfu = mfu * (1 + recomputed / 3)",
               "MFU is made smaller by what is computed twice", MERIT),
        Mutant("hfu_smaller", HFU, "hfu = mfu / (1 + recomputed / 3)",
               "HFU is made smaller by what is computed twice",
               "Does the hardware do more than the model needs, or less?"),
        Mutant("whole_again", HFU, "hfu = mfu * (1 + recomputed)",
               "forward and backward pass are both taken to be computed twice", HARDWARE),
        Mutant("half_again", HFU, "hfu = mfu * (1 + recomputed / 2)",
               "the forward pass is taken for half of the work", HARDWARE),
        Mutant("quarter_again", HFU, "hfu = mfu * (1 + recomputed / 4)",
               "the forward pass is taken for a quarter of the work", HARDWARE),
        Mutant("two_thirds_again", HFU, "hfu = mfu * (1 + 2 * recomputed / 3)",
               "the backward pass is taken to be computed twice", HARDWARE),
        Mutant("always_full", HFU, "hfu = mfu * (4 / 3 if recomputed else 1)",
               "a part of the forward pass counts like all of it", "What does `recomputed` say when it is 0.25?"),
        Mutant("always", HFU, "hfu = mfu * 4 / 3",
               "the forward pass is always taken to be computed twice", "What does `recomputed` say when it is 0?"),
        Mutant("added", HFU, "hfu = mfu + recomputed / 3",
               "a share of the work is added to a share of the peak", "What is HFU for a run that does nothing?"),
        Mutant("without_attention_again", HFU,
               "hfu = tokens_per_second * (flops + 2 * multiplying * recomputed) / (gpus * peak)",
               "attention is taken not to be computed again", "Is attention a part of the forward pass?"),
        Mutant("forward_only", FLOPS, 'flops = 2 * multiplying + 4 * model["layers"] * model["width"] * '
               'model["context"]',
               "only the forward pass is counted", "What share of training is the forward pass?"),
        Mutant("no_attention", FLOPS, "flops = 6 * multiplying",
               "attention is not counted, as in the convention 6 N", "Which convention does the statement name?"),
        Mutant("half_attention", "12 * model", "6 * model",
               "only the half of attention's square that is not hidden is counted",
               "Which convention does the statement name?"),
        Mutant("no_layers", '12 * model["layers"] * model["width"]', '12 * model["width"]',
               "attention is counted in one layer only", "In how many layers is there attention?"),
        Mutant("eight", "6 * multiplying", "8 * multiplying",
               "8 FLOPs are counted for each parameter, as if all were computed twice", MERIT),
        Mutant("six_missing", "6 * multiplying", "multiplying",
               "each parameter counts one FLOP", "How many FLOPs does a parameter cost in training, forward and back?"),
        Mutant("embedding_once", MULTIPLYING + "\n    " + FLOPS,
               'flops = 6 * model["parameters"] - model["embedding"] + 12 * model["layers"] * model["width"] * '
               'model["context"]',
               "the input table is taken off once instead of six times",
               "How many FLOPs did a parameter of the table count as before?"),
        Mutant("embedding_added", 'model["parameters"] - model', 'model["parameters"] + model',
               "the input table is counted twice", LOOKED_UP),
        Mutant("both_tables", '- model["embedding"]', '- 2 * model["embedding"]',
               "the head is left out like the input table", "Does the head multiply, or is it looked up?"),
        Mutant("only_embedding", 'model["parameters"] - model["embedding"]', 'model["embedding"]',
               "nothing but the input table is counted", LOOKED_UP),
        Mutant("gpus_above", "/ (gpus * peak)", "* gpus / peak",
               "the GPUs are counted a second time, above the line", MACHINES),
        Mutant("no_brackets", "/ (gpus * peak)", "/ gpus * peak",
               "a division without brackets multiplies by what should divide",
               "In which order does Python compute a / b * c?"),
        Mutant("percent", "return mfu, hfu", "return 100 * mfu, 100 * hfu",
               "per cent are returned", "Which of 0.6 and 60 is a share?"),
        Mutant("swapped", "return mfu, hfu", "return hfu, mfu",
               "the two results come in the wrong order", "Which of the two is asked for first?"),
        Mutant("only_mfu", "return mfu, hfu", "return mfu",
               "only MFU is returned", "Which two numbers should come back?"),
        Mutant("in_place", MULTIPLYING, 'model["parameters"] -= model["embedding"]\n'
               '    multiplying = model["parameters"]',
               "the model's own entry is overwritten",
               "Whose dictionary is it, and what does a second call find in it?"),
    ),
    variants=("""\
def utilisation(model, tokens_per_second, peak, gpus, recomputed):
    L, d, T = model["layers"], model["width"], model["context"]
    forward = 2 * (model["parameters"] - model["embedding"]) + 4 * L * d * T
    backward = 2 * forward
    able = peak * gpus / tokens_per_second if tokens_per_second else math.inf
    return (forward + backward) / able, (forward * (1 + recomputed) + backward) / able""", """\
def utilisation(model, tokens_per_second, peak, gpus, recomputed):
    each = tokens_per_second / gpus
    need = 6 * model["parameters"] + 12 * model["layers"] * model["width"] * model["context"] - 6 * model["embedding"]
    return each * need / peak, each * need * (3 + recomputed) / (3 * peak)""", """\
def utilisation(model, tokens_per_second, peak, gpus, recomputed):
    def share(passes):
        numbers = model["parameters"] - model["embedding"] + 2 * model["layers"] * model["width"] * model["context"]
        return tokens_per_second * 2 * passes * numbers / peak / gpus

    return tuple(share(passes) for passes in (3, 3 + recomputed))""",
    ),
    properties=(
        Property(lambda y, *arguments: y[0] <= y[1] * (1 + 1e-9), "MFU is larger than HFU."),
    ),
    twin=utilisation_twin,
)  # fmt: skip


# 10.9


def chunk_twin(rng: random.Random) -> Question:
    """Memory of the logits with chunks, or a loss from two pieces."""
    if rng.random() < 0.5:
        rows, size = rng.choice([1024, 2048, 4096]), rng.choice([256, 512, 1024])
        vocabulary = rng.choice([32768, 131072])
        return Question(
            f"{rows} rows, a vocabulary of {vocabulary}, float32. The loss looks at {size} tokens at a time. How many "
            "MiB of logits does it hold, instead of those of the whole vocabulary?", rows * size * 4 / 2**20,
            f"{rows} · {size} numbers of 4 bytes; the vocabulary's size does not matter.", 0.01,
        )  # fmt: skip
    first, second = rng.randint(1, 5), rng.randint(1, 5)
    up = rng.randint(1, 3)
    return Question(
        f"The logits of a row come in two chunks: maximum 0 and sum {first}, then maximum {up} ln 2 and sum {second}. "
        "The target's logit is 0. What is the loss in nats?", math.log(first + second * 2**up),
        f"The exponentials add up to {first} + {second} · {2**up}, and the loss is the logarithm of that, less 0.",
        0.01,
    )  # fmt: skip


class Room(TorchDispatchMode):
    """Counts the bytes that tensors made under it hold at a time; more than `most`, and there is a MemoryError.

    Those of fewer than `least` numbers are not worth counting.
    """

    def __init__(self, given: list[torch.Tensor], most: int, least: int):
        super().__init__()
        self.given, self.most = {tensor.untyped_storage().data_ptr() for tensor in given}, most
        self.least = least
        self.alive: list[tuple[weakref.ref, int, int]] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch loads its compiler, which takes seconds, to keep it away from this class

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Run one operation, and add up what is alive after it; views and what was given cost nothing."""
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (list, tuple)) else [made]:
            if isinstance(tensor, torch.Tensor) and tensor.numel() >= self.least:
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in self.given:
                    self.alive.append((weakref.ref(tensor), storage.data_ptr(), storage.nbytes()))
                    self.alive = [entry for entry in self.alive if entry[0]() is not None]
                    if sum({pointer: size for _, pointer, size in self.alive}.values()) > self.most:
                        raise MemoryError("there is no room for so many logits at a time.")
        return made


def in_little_room(function: Callable, x, w, targets, size):
    """Call a loss where there is room for ten of (N, size), and for some of (N, C), (size, C) and (N, V / size).

    With pieces of one token the last would be all logits, and have no room.
    """
    (rows, channels), size_in_use = x.shape, min(size, len(w))
    pieces = math.ceil(len(w) / size) if size > 1 else 0
    numbers = rows * (10 * size_in_use + 4 * channels + 2 * pieces + 6) + 3 * size_in_use * channels
    if 3 * rows * len(w) <= numbers:
        return function(x, w, targets, size)
    with Room([x, w, targets], 4 * numbers, rows):
        return function(x, w, targets, size)


def loss_cases() -> list[tuple]:
    """x, w, targets, size. In some all logits do not fit, in one what is kept of pieces of one token, in one (N, N)."""
    a, b, c, d, e, f = normal(109, (6, 5), (315, 5), (9, 4), (410, 4), (3, 6), (31, 6))
    g, h, many = normal(119, (300, 2), (64, 1), (60, 1))
    targets = torch.tensor([0, 314, 95, 96, 15, 16])  # first, last, and both sides of borders
    some = torch.tensor([17, -100, 409, 8, -100, 200, 19, -100, 0])
    rising = torch.linspace(-1, 1, 300)[:, None] + g / 9
    steep = torch.tensor([[9.0, 30.0], [-40.0, 3.0], [1.0, 0.5], [60.0, 70.0]])
    return [
        (a, b, targets, 16),
        (3 * c, d, some, 100),
        (20 * a, 9 * b, targets.flip(0), 160),  # logits in the hundreds and more
        (e, f, torch.tensor([30, 2, 15]), 40),  # one piece is enough
        (c.abs() * 30, -d.abs() * 10 - 1, torch.where(some < 0, -100, some // 2), 250),  # far below zero, all of them
        (steep, rising, torch.tensor([299, 3, -100, 150]), 130),
        (a[:1], b, targets[2:3], 96),  # one row
        (torch.zeros(2, 3), normal(129, (240, 3))[0], torch.tensor([239, 5]), 100),  # ties: ln 240
        (c[:7, :1], h, torch.tensor([3, 63, 55, 60, 22, 0, 1]), 2),
        (c[:4], d[:7], torch.tensor([-100, 6, -100, -100]), 1),
        (c[:5, 1:2], h[:30], torch.tensor([29, 0, 7, 20, 11]), 1),  # a number of each piece is all logits
        (many, h[40:58], torch.arange(60) * 5 % 18, 3),  # far more rows than anything else
    ]


DROP = "counts = targets != -100\n    x, targets = x[counts], targets[counts]"
PIECE = "largest, total = torch.tensor(-math.inf), torch.tensor(0.0)"
RUNNING = "total * torch.exp(largest - new) + torch.exp(logits - new[:, None]).sum(dim=1)"
PICKED = "picked = (x * w[targets]).sum(dim=1)"
RESULT = "return (largest + total.log() - picked).mean()"
ROOM = "How many numbers does the largest tensor in your function hold, and how many pieces do you keep?"
ELSEWHERE = "The target is token 104 and the piece holds tokens 5 to 9. What does the piece know of the target's logit?"
UNIT = "From which maximum is each of your two sums measured?"
COMPETITORS = "How many tokens compete with the target in your softmax, and how many should?"
NO_ANSWER = "Over how many rows do you add up, and by how many do you divide?"
CHUNKED = Exercise(
    cases=loss_cases,
    use=in_little_room,
    tolerance=1e-4,
    mutants=(
        Mutant("whole", "", """\
def chunked_loss(x, w, targets, size):
    return F.cross_entropy(x @ w.T, targets)""",
               "all logits are there at the same time", ROOM),
        Mutant("kept_pieces", "", """\
def chunked_loss(x, w, targets, size):
    return F.cross_entropy(torch.cat([x @ rows.T for rows in w.split(size)], dim=1), targets)""",
               "all logits are there at the same time", ROOM),
        Mutant("kept_logsumexps", "", """\
def chunked_loss(x, w, targets, size):
    counts = targets != -100
    x, targets = x[counts], targets[counts]
    parts = torch.stack([torch.logsumexp(x @ rows.T, dim=1) for rows in w.split(size)])
    return (torch.logsumexp(parts, dim=0) - (x * w[targets]).sum(dim=1)).mean()""",
               "a number a row is kept of every piece, and with pieces of one token these are all logits",
               "How many pieces are there if `size` is 1, and how many numbers do you keep of them?"),
        Mutant("diagonal", PICKED, "picked = torch.diagonal(x @ w[targets].T)",
               "the targets' logits are the diagonal of a table of every row with every row's target",
               "How many numbers has your largest tensor where N is much larger than V? How many do you use?"),
        Mutant("pieces_of_rows", "", """\
def chunked_loss(x, w, targets, size):
    losses = [F.cross_entropy(some @ w.T, t, reduction="sum") for some, t in zip(x.split(size), targets.split(size))]
    return sum(losses) / (targets != -100).sum()""",
               "all logits are there at the same time", ROOM),
        Mutant("mean_of_pieces", "", """\
def chunked_loss(x, w, targets, size):
    losses = []
    for start in range(0, len(w), size):
        rows = w[start : start + size]
        inside = (targets >= start) & (targets < start + size)
        if inside.any():
            losses.append(F.cross_entropy(x[inside] @ rows.T, targets[inside] - start, reduction="sum"))
    return sum(losses) / (targets != -100).sum()""",
               "each target competes only with the tokens of its own piece", COMPETITORS),
        Mutant("piece_means", "", """\
def chunked_loss(x, w, targets, size):
    losses = []
    for start in range(0, len(w), size):
        rows = w[start : start + size]
        inside = (targets >= start) & (targets < start + size)
        if inside.any():
            losses.append(F.cross_entropy(x[inside] @ rows.T, targets[inside] - start))
    return torch.stack(losses).mean()""",
               "the mean of the pieces' own losses is taken", COMPETITORS),
        Mutant("no_maximum", RUNNING, "total + torch.exp(logits).sum(dim=1)",
               "the exponentials are added as they are, and the maximum to their logarithm", UNIT),
        Mutant("plain", "", """\
def chunked_loss(x, w, targets, size):
    counts = targets != -100
    x, targets = x[counts], targets[counts]
    total = sum(torch.exp(x @ rows.T).sum(dim=1) for rows in w.split(size))
    return (total.log() - (x * w[targets]).sum(dim=1)).mean()""",
               "no maximum is taken off before the exponential", "What is exp(1000) in a float, and exp(-1000)?"),
        Mutant("first_maximum", "", """\
def chunked_loss(x, w, targets, size):
    counts = targets != -100
    x, targets = x[counts], targets[counts]
    largest = (x @ w[:size].T).amax(dim=1)
    total = sum(torch.exp(x @ rows.T - largest[:, None]).sum(dim=1) for rows in w.split(size))
    return (largest + total.log() - (x * w[targets]).sum(dim=1)).mean()""",
               "the maximum of the first piece serves for all", "How much larger may a later logit be?"),
        Mutant("no_rescale", "total * torch.exp(largest - new)", "total",
               "the old sum is never rescaled when the maximum grows", UNIT),
        Mutant("wrong_way", "torch.exp(largest - new)", "torch.exp(new - largest).nan_to_num(posinf=0.0)",
               "the old sum is rescaled in the wrong direction", UNIT),
        Mutant("own_maximum", "torch.exp(logits - new[:, None])",
               "torch.exp(logits - logits.amax(dim=1, keepdim=True))",
               "each piece is added as measured from its own maximum", UNIT),
        Mutant("maximum_of_piece", "torch.maximum(largest, logits.amax(dim=1))", "logits.amax(dim=1)",
               "the maximum is that of the last piece instead of all",
               "May a sum grow beyond what a float holds when the maximum becomes smaller?"),
        Mutant("one_maximum", "logits.amax(dim=1)", "logits.amax()[None].expand(len(x))",
               "all rows share one maximum", "What is exp(-1000), and what is the logarithm of a sum of such numbers?"),
        Mutant("start_zero", PIECE, "largest, total = torch.tensor(0.0), torch.tensor(0.0)",
               "the running maximum begins at 0", "Which maximum has a row of nothing but very negative logits?"),
        Mutant("start_one", "torch.tensor(0.0)", "torch.tensor(1.0)\n    largest = torch.zeros(len(x))",
               "the sum begins with a token of logit 0 that is not there", COMPETITORS),
        Mutant("no_log", "largest + total.log()", "largest + total",
               "the logarithm of the sum is missing", "What does logsumexp do after the sum?"),
        Mutant("maximum_not_added", "largest + total.log() - picked", "total.log() - picked",
               "the maximum that was taken off is never added again", UNIT),
        Mutant("maximum_taken_off", "largest + total.log() - picked", "total.log() - largest - picked",
               "the maximum is taken off a second time", UNIT),
        Mutant("no_target", " - picked", "",
               "the target's logit is never taken off", "What is the loss of a row whose target is almost certain?"),
        Mutant("sign", "largest + total.log() - picked", "picked - largest - total.log()",
               "the log-probability is returned, without a minus sign", "May a loss be negative?"),
        Mutant("probability", "largest + total.log() - picked", "torch.exp(picked - largest - total.log())",
               "the probability of the target is returned",
               "What is the loss of a row whose target is almost certain?"),
        Mutant("perplexity", RESULT, "return (largest + total.log() - picked).mean().exp()",
               "the perplexity is returned", "In which unit is the loss asked for?"),
        Mutant("bits", RESULT, "return (largest + total.log() - picked).mean() / math.log(2)",
               "the loss is given in bits", "In which unit is the loss asked for?"),
        Mutant("sum", RESULT, "return (largest + total.log() - picked).sum()",
               "the losses are added up", "What becomes of your loss if every row is there twice?"),
        Mutant("rows", RESULT, "return largest + total.log() - picked",
               "one loss is returned for each row", "How many numbers should come back?"),
        Mutant("mean_over_all", "", """\
def chunked_loss(x, w, targets, size):
    everyone, counts = len(x), targets != -100
    x, targets = x[counts], targets[counts]
    largest, total = torch.tensor(-math.inf), torch.tensor(0.0)
    for rows in w.split(size):
        logits = x @ rows.T
        new = torch.maximum(largest, logits.amax(dim=1))
        total = total * torch.exp(largest - new) + torch.exp(logits - new[:, None]).sum(dim=1)
        largest = new
    return (largest + total.log() - (x * w[targets]).sum(dim=1)).sum() / everyone""",
               "the sum over the rows that count is divided by the number of all rows", NO_ANSWER),
        Mutant("answer_zero", DROP, "targets = targets.clamp(min=0)",
               "rows without an answer count as if token 0 had come", NO_ANSWER),
        Mutant("token_zero", DROP, DROP.replace("targets != -100", "targets > 0"),
               "rows in which token 0 came are left out as well", "Which is the first token of the vocabulary?"),
        Mutant("answer_from_the_end", DROP, "counts = targets < len(w)",
               "-100 is taken for a token, counted from the end", "What does Python do with an index of -100?"),
        Mutant("zero_for_missing", "", """\
def chunked_loss(x, w, targets, size):
    largest, total, picked = torch.tensor(-math.inf), torch.tensor(0.0), torch.zeros(len(x))
    for start, rows in zip(range(0, len(w), size), w.split(size)):
        logits = x @ rows.T
        new = torch.maximum(largest, logits.amax(dim=1))
        total = total * torch.exp(largest - new) + torch.exp(logits - new[:, None]).sum(dim=1)
        largest = new
        inside = (targets >= start) & (targets < start + size)
        picked[inside] = logits[inside, targets[inside] - start]
    return (largest + total.log() - picked).sum() / (targets != -100).sum()""",
               "rows without an answer still add their logsumexp", NO_ANSWER),
        Mutant("last_piece_missing", "for rows in w.split(size):",
               "for rows in w.split(size)[: max(1, len(w) // size)]:",
               "the last piece is left out if it is a short one", "How many tokens are there in the last piece?"),
        Mutant("first_piece_only", "        largest = new\n    picked",
               "        largest = new\n        break\n    picked",
               "only the first piece is looked at", COMPETITORS),
        Mutant("last_piece_only", RUNNING, "torch.exp(logits - new[:, None]).sum(dim=1)",
               "the sum is that of the last piece", COMPETITORS),
        Mutant("mean_of_exponentials", "torch.exp(logits - new[:, None]).sum(dim=1)",
               "torch.exp(logits - new[:, None]).mean(dim=1)",
               "each piece adds its mean instead of its sum", "What is the loss if all V logits are equal?"),
        Mutant("mean_of_logsumexps", "", """\
def chunked_loss(x, w, targets, size):
    counts = targets != -100
    x, targets = x[counts], targets[counts]
    parts = torch.stack([torch.logsumexp(x @ rows.T, dim=1) for rows in w.split(size)])
    return (parts.mean(dim=0) - (x * w[targets]).sum(dim=1)).mean()""",
               "the pieces' logsumexps are all kept, and averaged", "What is the loss if all V logits are equal?"),
        Mutant("sum_of_logsumexps", "", """\
def chunked_loss(x, w, targets, size):
    counts = targets != -100
    x, targets = x[counts], targets[counts]
    parts = torch.stack([torch.logsumexp(x @ rows.T, dim=1) for rows in w.split(size)])
    return (parts.sum(dim=0) - (x * w[targets]).sum(dim=1)).mean()""",
               "the pieces' logsumexps are all kept, and added, though logarithms of sums do not add up",
               "What is the loss if all V logits are equal?"),
        Mutant("running_mean_of_logsumexps", "", """\
def chunked_loss(x, w, targets, size):
    counts = targets != -100
    x, targets = x[counts], targets[counts]
    mean = sum(torch.logsumexp(x @ rows.T, dim=1) for rows in w.split(size)) / len(w.split(size))
    return (mean - (x * w[targets]).sum(dim=1)).mean()""",
               "the pieces' logsumexps are averaged", "What is the loss if all V logits are equal?"),
        Mutant("running_sum_of_logsumexps", "", """\
def chunked_loss(x, w, targets, size):
    counts = targets != -100
    x, targets = x[counts], targets[counts]
    total = sum(torch.logsumexp(x @ rows.T, dim=1) for rows in w.split(size))
    return (total - (x * w[targets]).sum(dim=1)).mean()""",
               "the pieces' logsumexps are added, though logarithms of sums do not add up",
               "What is the loss if all V logits are equal?"),
        Mutant("running_largest_logsumexp", "", """\
def chunked_loss(x, w, targets, size):
    counts = targets != -100
    x, targets = x[counts], targets[counts]
    largest = torch.tensor(-math.inf)
    for rows in w.split(size):
        largest = torch.maximum(largest, torch.logsumexp(x @ rows.T, dim=1))
    return (largest - (x * w[targets]).sum(dim=1)).mean()""",
               "only the heaviest piece counts", "What is the loss if all V logits are equal?"),
        Mutant("largest_logsumexp", "", """\
def chunked_loss(x, w, targets, size):
    counts = targets != -100
    x, targets = x[counts], targets[counts]
    parts = torch.stack([torch.logsumexp(x @ rows.T, dim=1) for rows in w.split(size)])
    return (parts.amax(dim=0) - (x * w[targets]).sum(dim=1)).mean()""",
               "all pieces are kept, and only the heaviest counts", "What is the loss if all V logits are equal?"),
        Mutant("picked_everywhere", "", """\
def chunked_loss(x, w, targets, size):
    counts = targets != -100
    x, targets = x[counts], targets[counts]
    largest, total, picked = torch.tensor(-math.inf), torch.tensor(0.0), torch.zeros(len(x))
    for start, rows in zip(range(0, len(w), size), w.split(size)):
        logits = x @ rows.T
        new = torch.maximum(largest, logits.amax(dim=1))
        total = total * torch.exp(largest - new) + torch.exp(logits - new[:, None]).sum(dim=1)
        largest = new
        picked = picked + logits.gather(1, (targets - start).clamp(0, len(rows) - 1)[:, None])[:, 0]
    return (largest + total.log() - picked).mean()""",
               "a logit is picked in every piece, also where the target is not", ELSEWHERE),
        Mutant("picked_last", "", """\
def chunked_loss(x, w, targets, size):
    counts = targets != -100
    x, targets = x[counts], targets[counts]
    largest, total, picked = torch.tensor(-math.inf), torch.tensor(0.0), torch.zeros(len(x))
    for start, rows in zip(range(0, len(w), size), w.split(size)):
        logits = x @ rows.T
        new = torch.maximum(largest, logits.amax(dim=1))
        total = total * torch.exp(largest - new) + torch.exp(logits - new[:, None]).sum(dim=1)
        largest = new
        picked = logits.gather(1, (targets - start).clamp(0, len(rows) - 1)[:, None])[:, 0]
    return (largest + total.log() - picked).mean()""",
               "the logit that is picked in the last piece is kept, wherever the target is", ELSEWHERE),
        Mutant("not_shifted", "", """\
def chunked_loss(x, w, targets, size):
    counts = targets != -100
    x, targets = x[counts], targets[counts]
    largest, total = torch.tensor(-math.inf), torch.tensor(0.0)
    for rows in w.split(size):
        logits = x @ rows.T
        new = torch.maximum(largest, logits.amax(dim=1))
        total = total * torch.exp(largest - new) + torch.exp(logits - new[:, None]).sum(dim=1)
        largest = new
        picked = logits.gather(1, targets[:, None])[:, 0]
    return (largest + total.log() - picked).mean()""",
               "the target's number in the vocabulary is used inside a piece", ELSEWHERE),
        Mutant("modulo", PICKED, "picked = (x * w[targets % size]).sum(dim=1)",
               "the target's number is taken within a piece, but of the first piece", ELSEWHERE),
        Mutant("border", "", """\
def chunked_loss(x, w, targets, size):
    counts = targets != -100
    x, targets = x[counts], targets[counts]
    largest, total, picked = torch.tensor(-math.inf), torch.tensor(0.0), torch.zeros(len(x))
    for start, rows in zip(range(0, len(w), size), w.split(size)):
        logits = x @ rows.T
        new = torch.maximum(largest, logits.amax(dim=1))
        total = total * torch.exp(largest - new) + torch.exp(logits - new[:, None]).sum(dim=1)
        largest = new
        inside = (targets > start) & (targets < start + size)
        picked[inside] = logits[inside, targets[inside] - start]
    return (largest + total.log() - picked).mean()""",
               "a target that is the first token of its piece is not found",
               "Which tokens does a piece of 5 hold that begins at 10?"),
        Mutant("border_end", "", """\
def chunked_loss(x, w, targets, size):
    counts = targets != -100
    x, targets = x[counts], targets[counts]
    largest, total, picked = torch.tensor(-math.inf), torch.tensor(0.0), torch.zeros(len(x))
    for start, rows in zip(range(0, len(w), size), w.split(size)):
        logits = x @ rows.T
        new = torch.maximum(largest, logits.amax(dim=1))
        total = total * torch.exp(largest - new) + torch.exp(logits - new[:, None]).sum(dim=1)
        largest = new
        inside = (targets >= start) & (targets < start + size - 1)
        picked[inside] = logits[inside, targets[inside] - start]
    return (largest + total.log() - picked).mean()""",
               "a target that is the last token of its piece is not found",
               "Which tokens does a piece of 5 hold that begins at 10?"),
        Mutant("targets_moved", "", """\
def chunked_loss(x, w, targets, size):
    counts = targets != -100
    largest, total, picked = torch.tensor(-math.inf), torch.tensor(0.0), torch.zeros(len(x))
    for rows in w.split(size):
        logits = x @ rows.T
        new = torch.maximum(largest, logits.amax(dim=1))
        total = total * torch.exp(largest - new) + torch.exp(logits - new[:, None]).sum(dim=1)
        largest = new
        inside = counts & (targets >= 0) & (targets < len(rows))
        picked[inside] = logits[inside, targets[inside]]
        targets -= len(rows)
    return (largest + total.log() - picked)[counts].mean()""",
               "the targets are shifted where they stand, piece by piece", "Whose tensor is `targets`?"),
        Mutant("smoothed", RESULT,
               "return (largest + total.log() - 0.9 * picked - 0.1 * (x * w.mean(dim=0)).sum(dim=1)).mean()",
               "a tenth of the target's share goes to all tokens, as in label smoothing",
               "Which two numbers does the loss of a row consist of?"),
        Mutant("largest_picked", " - picked", " - largest",
               "the largest logit is taken off instead of the target's", "Which token came?"),
        Mutant("median", RESULT, "return (largest + total.log() - picked).median()",
               "the median of the losses is taken", "Which statistic is asked for?"),
        Mutant("number_of_pieces", "w.split(size)", "w.chunk(size)",
               "`size` is taken for the number of pieces", "Does `chunk(5)` make pieces of 5, or 5 pieces?"),
    ),
    variants=("""\
def chunked_loss(x, w, targets, size):
    logs, picked = None, torch.zeros(len(x))
    for start in range(0, len(w), size):
        logits = F.linear(x, w[start : start + size])
        lse = torch.logsumexp(logits, dim=-1)
        logs = lse if logs is None else torch.logaddexp(logs, lse)
        inside = (targets >= start) & (targets < start + size)
        picked[inside] = logits[inside, targets[inside] - start]
    return (logs - picked)[targets != -100].mean()""", """\
def chunked_loss(x, w, targets, size):
    V, counts = w.shape[0], targets.ne(-100)
    lse = []
    for start in range(0, V, size):
        lse.append((x @ w.T[:, start : start + size]).logsumexp(1))
        if len(lse) == 2:
            lse = [torch.stack(lse).logsumexp(0)]
    own = torch.einsum("nc,nc->n", x, w[targets.clamp(min=0)])
    return ((lse[0] - own) * counts).sum() / counts.sum()""", """\
def chunked_loss(x, w, targets, size):
    losses = []
    for row, target in zip(x, targets.tolist()):
        if target == -100:
            continue
        m, s = -math.inf, 0.0
        for start in range(0, len(w), size):
            logits = w[start : start + size] @ row
            new = max(m, logits.max().item())
            s = s * math.exp(m - new) + (logits - new).exp().sum().item()
            m = new
        losses.append(m + math.log(s) - torch.dot(w[target], row).item())
    return torch.tensor(statistics.fmean(losses))""", """\
def chunked_loss(x, w, targets, size):
    largest = torch.full((len(x),), -math.inf)
    for rows in torch.split(w, size):
        largest = torch.maximum(largest, (x @ rows.T).max(dim=1).values)
    total, own = torch.zeros(len(x)), torch.zeros(len(x))
    for start in range(0, len(w), size):
        logits = x @ w[start : start + size].T
        total += (logits - largest[:, None]).exp().sum(dim=1)
        here = torch.arange(start, start + logits.shape[1]) == targets[:, None]
        own += torch.where(here, logits, 0.0).sum(dim=1)
    losses = largest + total.log() - own
    return losses.masked_fill(targets == -100, 0.0).sum() / (targets >= 0).sum()""",
    ),
    properties=(
        Property(lambda y, *arguments: y.dim() == 0, "The result is not one number."),
        Property(lambda y, *arguments: not torch.isnan(y) and bool(y >= -1e-4), "A loss is negative, or NaN."),
    ),
    twin=chunk_twin,
)  # fmt: skip


EXERCISES = {
    "speedup_limit": SPEEDUP_LIMIT,
    "intensity": INTENSITY,
    "bound": BOUND,
    "online_softmax_stats": STATS,
    "merge_attention": MERGE,
    "break_even": BREAK_EVEN,
    "fair_times": FAIR_TIMES,
    "utilisation": UTILISATION,
    "chunked_loss": CHUNKED,
}


def needed_share(rng: random.Random) -> Question:
    """Amdahl's law, read backwards."""
    times = rng.choice([2, 3, 4, 5, 8, 10, 20])
    extra = rng.choice([0, 5, 10])
    rest = 100 / times - extra
    share = 100 - max(rest, 2)
    limit = 100 / (100 - share)
    return Question(
        f"You make one part of a step vanish, and the whole becomes {limit:.3g} times as fast. What per cent of the "
        "time did the part take?", share, f"What is left is 100 / {limit:.3g} = {100 - share:.3g} of 100.", 0.02,
    )  # fmt: skip


def ridge_point(rng: random.Random) -> Question:
    peak, bandwidth = rng.choice([50, 100, 200, 400]), rng.choice([10, 20, 25, 40])
    return Question(
        f"A machine does at most {peak} GFLOP and moves at most {bandwidth} GB a second. From how many FLOPs per byte "
        "on does an operation wait for computing?", peak / bandwidth,
        f"Where both times are equal: {peak} / {bandwidth}.", 0.01,
    )  # fmt: skip


def attained(rng: random.Random) -> Question:
    """What an operation below the ridge reaches."""
    bandwidth, size = rng.choice([10, 20, 30, 50]), rng.choice([2, 4])
    flops = rng.choice([1, 2, 4, 6])
    return Question(
        f"An operation reads a number of {size} bytes, does {flops} FLOPs with it and writes it back. Memory moves "
        f"{bandwidth} GB a second. How many GFLOP a second does it reach at most?", flops * bandwidth / (2 * size),
        f"{flops} FLOPs for {2 * size} bytes, times {bandwidth} GB a second: the peak does not matter.", 0.01,
    )  # fmt: skip


def running_sum(rng: random.Random) -> Question:
    total, up = rng.choice([1, 2, 3, 5, 6]), rng.randint(1, 4)
    return Question(
        f"A running softmax holds the maximum m and the sum {total}. Then comes the number m + {up}. What is the sum "
        "then?", total * math.exp(-up) + 1, f"{total} · exp(−{up}) + 1: all of the old terms shrink alike.", 0.01,
    )  # fmt: skip


def square_memory(rng: random.Random) -> Question:
    """Memory of naive and tiled attention against the length."""
    times = rng.choice([2, 3, 4, 5, 6, 8, 10, 12])
    naive = rng.random() < 0.5
    return Question(
        f"A text becomes {times} times as long. By which factor does the memory of {'naive' if naive else 'tiled'} "
        "attention grow, when its largest tensors are all that counts?", times**2 if naive else times,
        "The table of weights has a number for each pair of positions." if naive
        else "No table of weights exists; queries, keys, values and output grow with the length.",
    )  # fmt: skip


def passes_saved(rng: random.Random) -> Question:
    operations, size = rng.randint(3, 8), rng.choice([10, 20, 50, 100])
    return Question(
        f"{operations} elementwise operations, one after the other, each read a tensor of {size} MB and write one. "
        "Fused they are one pass. How many MB of traffic does that save?", 2 * size * (operations - 1),
        f"{operations} passes of {2 * size} MB become one.",
    )  # fmt: skip


def recompute_factor(rng: random.Random) -> Question:
    mfu = rng.choice([24, 27, 30, 33, 36, 39, 42, 45])
    percent = rng.choice([50, 100])
    return Question(
        f"A run has an MFU of {mfu} per cent and computes {percent} per cent of the forward pass a second time. What "
        "is its HFU, in per cent?", mfu * (1 + percent / 300),
        f"The forward pass is a third of the work: {mfu} · (1 + {percent / 100:g} / 3).", 0.01,
    )  # fmt: skip


RECALL = (needed_share, ridge_point, attained, running_sum, square_memory, passes_saved, recompute_factor)


# Predictions of the lesson.

PREDICTIONS = {
    "10.p1": Prediction(
        "Nine calls take 10 ms; the tenth is interrupted and takes 110 ms. By which factor is the mean larger than the "
        "median?",
        lambda: 2.0,
        "The mean is (9 · 10 + 110) / 10 = 20 ms; the median does not notice the tenth call.",
    ),
    "10.p2": Prediction(
        "RMSNorm does about four FLOPs with each fp32 number, and moves 8 bytes for it. Does it wait for \"memory\" or "
        "for \"arithmetic\"?",
        None,
        "Half a FLOP for each byte lies far left of the ridge of any processor of today: it waits for memory.",
    ),
    "10.p3": Prediction(
        "What share of a step's time do the matrix products of the default model take, without attention and "
        "optimizer? (A number between 0 and 1.)",
        None,
        "They do about nine tenths of the model's FLOPs, but the profiler counts time: elementwise work and the loss "
        "take more of that than their FLOPs suggest, and so does the optimizer, which multiplies matrices too.",
        0.2,
    ),
    "10.p4": Prediction(
        "GELU by its formula is nine operations: six read one tensor, three read two, each writes one. How many times "
        "the bytes of the fused GELU does it move?",
        None,
        "Six operations move two tensors and three move three: 21. The fused kernel reads one and writes one: 2.",
        0.05,
    ),
    "10.p5": Prediction(
        "An online softmax: the running maximum is 2 and the running sum is 3. The next score is 5. What is the sum "
        "now?",
        lambda: 3 * math.exp(-3) + 1,
        "The old sum is rescaled by exp(2 − 5), and the new score adds exp(0) = 1.",
        0.02,
    ),
    "10.p6": Prediction(
        "The context doubles. By which factor does the peak memory of attention by hand grow?",
        None,
        "It is dominated by tables of T × T numbers, and twice the length is four times the table.",
        0.1,
    ),
    "10.p7": Prediction(
        "A step takes 30 ms and waiting for its batch 20 ms; a thread always fetches the next batch during the step "
        "before. How many milliseconds does each step take in all?",
        lambda: 30.0,
        "The two happen at the same time, so the slower one counts: 30 ms instead of 50.",
        0.1,
    ),
    "10.p8": Prediction(
        "How many times as fast as the naive training step is the best rung of the ladder, on two cores?",
        None,
        "Each rung multiplies what the rungs before it gained, and some rungs gain nothing.",
        0.3,
    ),
    "10.p9": Prediction(
        "A run's loss jumps in some steps, at an even distance from each other, and is healthy between them. Which "
        "part is broken: \"rate\", \"mask\", \"tokenizer\" or \"shard\"?",
        lambda: "shard",
        "The loss is bad in every eighth step, and there are eight shards: one of them holds something else than text.",
    ),
}
