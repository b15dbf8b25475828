"""Lesson 00, pre-training in ten minutes: cases, and the wrong ideas that people have about it."""
import math
import random

from . import Exercise, Mutant, Prediction, Property, Question

# 00.1


def bits_per_byte_twin(rng: random.Random) -> Question:
    nats, tokens, per_token = rng.randint(20, 60) / 10, rng.randint(2, 9) * 1000, rng.randint(25, 48) / 10
    n_bytes = round(tokens * per_token)
    return Question(
        f"A model loses {nats} nats per token on a text of {tokens:,} tokens and {n_bytes:,} bytes. How many bits "
        f"per byte?",
        nats * tokens / math.log(2) / n_bytes,
        f"{nats} · {tokens:,} nats, divided by ln 2 = 0.693 to make bits, divided by {n_bytes:,} bytes.", 0.02,
    )  # fmt: skip


UNIT = "How many bits are one nat: more than one, or less?"
TO_BITS_PER_BYTE = Exercise(
    cases=lambda: [(math.log(2), 10, 40), (3.7, 1200, 4100), (0.9, 7, 11)],
    mutants=(
        Mutant("nats_per_byte", " / math.log(2)", "", "nats are taken for bits", UNIT),
        Mutant("bits_per_token", "nats_per_token * tokens / math.log(2) / n_bytes", "nats_per_token / math.log(2)",
               "the figure is in bits per token, not per byte",
               "Two tokenizers cut the same text into 100 and 200 tokens. Which figure would let you compare them?"),
        Mutant("nats_per_token", "nats_per_token * tokens / math.log(2) / n_bytes", "nats_per_token",
               "the loss is returned as it came", "In which unit is the loss, and in which should it leave?"),
        Mutant("multiplied", "/ math.log(2)", "* math.log(2)", "the nats are multiplied by ln 2", UNIT),
        Mutant("upside_down", "nats_per_token * tokens / math.log(2) / n_bytes",
               "nats_per_token / math.log(2) * n_bytes / tokens", "tokens and bytes have changed places",
               "If each token is four bytes long, is the cost of a byte larger or smaller than that of a token?"),
        Mutant("one_token", "nats_per_token * tokens", "nats_per_token",
               "one token's cost is spread over the bytes of the whole text",
               "What does the whole text cost, in nats, if a token costs 3.7?"),
        Mutant("over_tokens", "/ n_bytes", "/ tokens", "the figure is in bits per token, not per byte",
               "Two tokenizers cut the same text into 100 and 200 tokens. Which figure would let you compare them?"),
        Mutant("bits_of_a_byte", "/ n_bytes", "/ n_bytes / 8", "the bytes are turned into bits as well",
               "The figure is bits per byte. Of the two units, which one did you start with nats of?"),
        Mutant("log2_of_loss", "nats_per_token * tokens / math.log(2)", "math.log2(nats_per_token) * tokens",
               "the logarithm of the loss is taken", "The loss is a logarithm already. What is left to do but "
                                                     "change its unit?"),
        Mutant("base_ten", "math.log(2)", "math.log(10)", "the unit of the result belongs to base ten",
               "Which base do bits have?"),
        Mutant("whole_bytes", "", "def to_bits_per_byte(nats_per_token, tokens, n_bytes):\n"
               "    return nats_per_token / math.log(2) / (n_bytes // tokens)",
               "the bytes of a token are cut to a whole number", "What is the difference between / and // ?"),
        Mutant("whole_number", " / n_bytes", " // n_bytes", "the division drops everything after the point",
               "What is the difference between / and // ?"),
        Mutant("rounded", "", """\
def to_bits_per_byte(nats_per_token, tokens, n_bytes):
    bits_per_token = nats_per_token / math.log(2)
    return round(bits_per_token * tokens / n_bytes, 2)""",
               "the result is rounded",
               "What would someone lose who compares two models that differ by 0.003?"),
    ),
    variants=(
        "def to_bits_per_byte(nats_per_token, tokens, n_bytes):\n"
        "    return nats_per_token * math.log2(math.e) / (n_bytes / tokens)",
        "def to_bits_per_byte(nats_per_token, tokens, n_bytes):\n"
        "    bits = 0.0\n    for _ in range(tokens):\n        bits += nats_per_token / math.log(2)\n    return "
        "bits / n_bytes",
        "def to_bits_per_byte(nats_per_token, tokens, n_bytes):\n"
        "    return -math.log2(math.exp(-nats_per_token)) * tokens / n_bytes",
    ),
    twin=bits_per_byte_twin,
)  # fmt: skip

# 00.2


def targets_twin(rng: random.Random) -> Question:
    window = rng.sample(range(10, 99), rng.randint(5, 8))
    place = rng.randrange(len(window) - 2)
    return Question(f"The window is {window}. Positions count from 0. Which target belongs to input position {place}?",
                    window[place + 1], "The token that comes after it in the window.")


INPUTS_AND_TARGETS = Exercise(
    cases=lambda: [([5, 8, 2, 9],), ([3, 1, 4, 1, 3, 9, 1],), ([7, 6],)],
    mutants=(
        Mutant("not_shifted", "window[1:]", "window[:-1]", "the targets are the inputs themselves",
               "What would the model have to do to be always right, and would it know any English?"),
        Mutant("not_shifted_end", "window[:-1]", "window[1:]", "the targets are the inputs themselves",
               "What would the model have to do to be always right, and would it know any English?"),
        Mutant("whole_window", "", "def inputs_and_targets(window):\n    return window[:], window[:]",
               "both lists are the whole window", "What should the model say at the last position?"),
        Mutant("backwards", "", "def inputs_and_targets(window):\n    return window[1:], window[:-1]",
               "inputs and targets have changed places: the model predicts the token before",
               "At position 0 the model has read your first input. Is your first target later in the text, or "
               "earlier?"),
        Mutant("inputs_too_long", "window[:-1]", "window", "the last token is an input that has no target",
               "How long are your two lists?"),
        Mutant("targets_too_long", "window[1:]", "window", "the targets are the whole window, not shifted",
               "Which token of the window can never be a target?"),
        Mutant("shift_by_two", "", "def inputs_and_targets(window):\n    return window[:-2], window[2:]",
               "the targets lie two places ahead", "Which token comes directly after the first?"),
        Mutant("short_by_one", "", "def inputs_and_targets(window):\n    return window[:-2], window[1:-1]",
               "the last pair is missing", "The window has T + 1 tokens. How many pairs should there be?"),
        Mutant("first_pair_missing", "", "def inputs_and_targets(window):\n    return window[1:-1], window[2:]",
               "the first pair is missing", "The window has T + 1 tokens. How many pairs should there be?"),
        Mutant("last_only", "window[1:]", "window[-1:]", "only the last token is a target",
               "How many predictions can you ask for in one window?"),
        Mutant("last_target", "window[1:]", "window[-1]", "only the last token is a target",
               "How many predictions can you ask for in one window?"),
        Mutant("wraps", "", "def inputs_and_targets(window):\n    return window[:], window[1:] + window[:1]",
               "the last position gets the first token as its target",
               "Does the beginning of the window come after its end in the text?"),
        Mutant("by_value", "", "def inputs_and_targets(window):\n    return [t for t in window if t != window[-1]], "
               "[t for t in window if t != window[0]]",
               "a token is left out by its value, so its other occurrences go as well",
               "What happens to a token that stands twice in the window?"),
        Mutant("by_index", "window[1:]", "[window[window.index(t) + 1] for t in window[:-1]]",
               "a token is looked up by its value, which always finds the first one",
               "What happens to a token that stands twice in the window?"),
        Mutant("pairs", "", "def inputs_and_targets(window):\n    return window[0::2], window[1::2]",
               "the window is taken for pairs, so every second position is no exercise",
               "How many predictions can you ask for in a window of T + 1 tokens?"),
        Mutant("reversed", "window[1:]", "window[::-1][:-1]", "the targets run backwards",
               "Which token follows the first input, and where is it in your targets?"),
        Mutant("one_element", "", """\
def inputs_and_targets(window):
    inputs = window[-len(window)]
    targets = window[-1]
    return inputs, targets""",
               "a negative index picks an element; in Python it leaves none out",
               "What is window[-1], and what is window[:-1]?"),
        Mutant("one_list", "", """\
def inputs_and_targets(window):
    inputs = window
    inputs.pop()
    targets = window
    targets.pop(0)
    return inputs, targets""",
               "inputs, targets and window are one and the same list",
               "After `a = b`, how many lists are there?"),
    ),
    variants=(
        "def inputs_and_targets(window):\n    pairs = list(zip(window, window[1:]))\n"
        "    return [a for a, _ in pairs], [b for _, b in pairs]",
        "def inputs_and_targets(window):\n    T = len(window) - 1\n    return window[0:T], window[1 : T + 1]",
        "def inputs_and_targets(window):\n    inputs, targets = [], []\n    for i in range(len(window) - 1):\n"
        "        inputs.append(window[i])\n        targets.append(window[i + 1])\n    return inputs, targets",
    ),
    properties=(
        Property(lambda found, window: len(found) == 2 and len(found[0]) == len(found[1]),
                 "The two lists differ in length, so some position has no partner."),
    ),
    twin=targets_twin,
)  # fmt: skip

# 00.3


def dollars_twin(rng: random.Random) -> Question:
    billions, ratio, used = rng.randint(1, 9), rng.choice([10, 20, 40]), rng.choice([0.3, 0.4, 0.5])
    operations = 6 * billions * 1e9 * billions * ratio * 1e9
    return Question(
        f"A model of {billions} billion parameters is trained on {billions * ratio} billion tokens, on GPUs of "
        f"1e15 operations "
        f"per second, of which {used:.0%} are reached. How many GPU hours?",
        operations / (1e15 * used) / 3600,
        f"6 · {billions}e9 · {billions * ratio}e9 = {operations:.3g} operations, over 1e15 · {used} a second, "
        f"over 3,600.", 0.03,
    )  # fmt: skip


FORWARD = "The gradient needs two products for each one of the forward pass. How many operations are that in all?"
DOLLARS = Exercise(
    cases=lambda: [(1e9, 20e9, 1e15, 0.4, 3.0), (7e10, 15e12, 989e12, 0.35, 2.5), (830_000, 1e6, 3e11, 0.6, 0.1)],
    mutants=(
        Mutant("forward_only", "6 *", "2 *", "only the forward pass is counted", FORWARD),
        Mutant("backward_only", "6 *", "4 *", "only the backward pass is counted", FORWARD),
        Mutant("backward_once", "6 *", "3 *", "a multiplication and an addition count as one, so the cost is half",
               "A product with a parameter is a multiplication and an addition. How many operations are that?"),
        Mutant("no_six", "6 * ", "", "each parameter and token costs one operation", FORWARD),
        Mutant("price_per_second", " / 3600", "", "the price counts for each second",
               "For how long do you get a GPU at that price?"),
        Mutant("minutes", "3600", "60", "seconds are divided by 60 as if that made hours", "How many seconds are "
                                                                                           "an hour?"),
        Mutant("days", "3600", "86400", "the price counts for a whole day", "For how long do you get a GPU at "
                                                                            "that price?"),
        Mutant("used_upside_down", "(peak * used)", "peak * used", "a GPU that is used less makes the run cheaper",
               "If only a tenth of the peak is reached, does the run take longer or shorter?"),
        Mutant("on_paper", "(peak * used)", "peak", "the GPU reaches its peak", "Where does `used` belong in your "
                                                                                "formula?"),
        Mutant("no_tokens", "parameters * tokens", "parameters", "the number of tokens plays no part",
               "Does reading twice the text cost twice the money?"),
        Mutant("no_parameters", "parameters * tokens", "tokens", "the number of parameters plays no part",
               "Does a model of twice the size cost twice the money?"),
        Mutant("hours", " * price", "", "the result is in GPU hours", "What is asked for, hours or dollars?"),
        Mutant("over_price", "* price", "/ price", "hours are divided by the price",
               "If the price per hour doubles, what should happen to the bill?"),
        Mutant("twenty", "parameters * tokens", "parameters * 20 * parameters",
               "the tokens are taken to be 20 for each parameter, whatever is given",
               "Where does your formula use the number of tokens that it gets?"),
        Mutant("one_minus", "peak * used", "peak * (1 - used)", "the idle share of the GPU does the work",
               "Is `used` the share that works, or the share that waits?"),
        Mutant("hours_the_wrong_way", "/ 3600", "* 3600", "seconds are multiplied by 3,600 to make hours",
               "Is a run of 7,200 seconds two hours long, or 26 million?"),
        Mutant("left_over", "", """\
def dollars(parameters, tokens, peak, used, price):
    from datetime import timedelta

    duration = timedelta(seconds=6 * parameters * tokens / (peak * used))
    return duration.seconds / 3600 * price""",
               "only what is left after whole days is counted",
               "What does `.seconds` of a timedelta of two days give?"),
    ),
    variants=(
        "def dollars(parameters, tokens, peak, used, price):\n    forward = 2 * parameters * tokens\n    backward "
        "= 2 * forward\n"
        "    hours = (forward + backward) / used / peak / 60 / 60\n    return price * hours",
        "def dollars(parameters, tokens, peak, used, price):\n    per_dollar = peak * used * 3600 / price\n"
        "    return 6 * parameters * tokens / per_dollar",
        "def dollars(parameters, tokens, peak, used, price):\n    per_token = parameters * 6 / peak / used\n"
        "    return tokens * (per_token * price / 3600)",
    ),
    twin=dollars_twin,
)  # fmt: skip

# Questions to come back to


def bits_of_a_probability(rng: random.Random) -> Question:
    power = rng.randint(2, 20)
    return Question(f"A model gave the token that came a probability of 1/{2**power}. How many bits does it "
                    f"pay?", power,
                    f"−log2(1/{2**power}) = {power}, because 2 to the power of {power} is {2**power}.")


def nothing_learned(rng: random.Random) -> Question:
    power, size = rng.randint(8, 16), rng.randint(2, 5)
    return Question(
        f"A fresh model has a vocabulary of {2**power:,}, and a token is {size} bytes long. How many bits per "
        f"byte does it need?",
        power / size, f"Every token costs log2({2**power:,}) = {power} bits; divide by the {size} "
                      f"bytes.", 0.01)  # fmt: skip


def cost_of_scale(rng: random.Random) -> Question:
    factor = rng.randint(3, 20)
    return Question(
        f"A model gets {factor} times the parameters, and the text grows with it, 20 tokens a parameter. By what "
        f"factor does "
        "the compute grow?",
        factor**2, f"Compute is 6 · parameters · tokens, and both grow {factor}-fold.")  # fmt: skip


def table_size(rng: random.Random) -> Question:
    size = rng.randint(2, 30) * 100
    return Question(f"How many numbers does a bigram table hold for a vocabulary of {size:,}?", size**2,
                    "A row for each token, and in it a column for each token that may follow.")


EXERCISES = {"to_bits_per_byte": TO_BITS_PER_BYTE, "inputs_and_targets": INPUTS_AND_TARGETS, "dollars": DOLLARS}
RECALL = (bits_of_a_probability, nothing_learned, cost_of_scale, table_size)
PREDICTIONS = {
    "00.p1": Prediction(
        "A model gives each of 2,048 tokens the same probability; a token is 3.07 bytes long. How many bits per byte?",
        None,
        "Each token costs log2(2048) = 11 bits, whatever comes. Divide by the bytes in a token.",
    ),
    "00.p2": Prediction(
        "Where does a GPT of 0.8 million parameters end after a million tokens of English, in bits per byte? gzip "
        "needs 2.9.",
        None,
        "Most of the gain comes in the first steps; after that each further gain takes longer than the one before.",
    ),
}
