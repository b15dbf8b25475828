"""Lesson 09, mixed precision: cases, and the wrong ideas that people have about it.

Most cases are made of numbers that all formats in question hold exactly, so that a mistake shows as a different number
and not as a rounding error.
"""
import math
import random

import torch

from . import Exercise, Mutant, Prediction, Property, Question, normal


FORMATS = {"bf16": (8, 7), "fp16": (5, 10), "e5m2": (5, 2), "e4m3": (4, 3), "tf32": (8, 10), "fp32": (8, 23)}
"""Bits of the exponent and of the significand."""


# 09.1


def spacing_twin(rng: random.Random) -> Question:
    bits, exponent = rng.choice([3, 7, 10]), rng.randint(3, 14)
    x = rng.randint(2**exponent, 2 ** (exponent + 1) - 1)
    return Question(
        f"A format keeps {bits} binary digits after the leading 1. How far apart are neighbours near {x}?",
        2.0 ** (exponent - bits),
        f"{x} lies from 2^{exponent} to 2^{exponent + 1}, which {bits} digits cut into {2**bits} steps.", 0.001,
    )  # fmt: skip


EXPONENT = "math.frexp(x)[1] - 1"
LOG = "math.floor(math.log2(abs(x)))"
POWER = "2.0 ** (exponent - significand_bits)"
FOUR_TO_EIGHT = "With 2 digits the numbers from 4 to 8 are 4, 5, 6 and 7. What does your function say for 7.5?"
TWICE = ("everything is twice too far apart: the leading 1 was counted among the digits, or the exponent is one too "
         "large, as `math.frexp` gives it")  # fmt: skip
SPACING = Exercise(
    cases=lambda: [
        (4.0, 2), (7.5, 2), (-8.0, 2), (300.0, 7), (0.75, 7), (1.0, 10), (0.1, 5), (-0.02, 3), (2048.0, 10),
        (65504.0, 9), (1e8, 23), (-5.5, 1), (0.25, 4), (0.003, 6), (448.0, 3), (1.9, 8), (1e-5, 2),
        (7.9984, 6), (-2047.0, 4),
    ],
    tolerance=1e-9,
    mutants=(
        Mutant("relative", EXPONENT, "math.log2(abs(x))",
               "the distance grows in proportion to |x| and never jumps", FOUR_TO_EIGHT),
        Mutant("proportional", "", """\
def spacing(x, significand_bits):
    return abs(x) / 2**significand_bits""",
               "the distance grows in proportion to |x| and never jumps", FOUR_TO_EIGHT),
        Mutant("ceil", EXPONENT, "math.ceil(math.log2(abs(x)))",
               "the exponent is rounded up: the stretch is the one that begins above |x|",
               "In which stretch from one power of two to the next does 7.5 lie: does it begin at 4 or at 8?"),
        Mutant("round", EXPONENT, "round(math.log2(abs(x)))",
               "the exponent is rounded to the nearest whole number",
               "7.5 and 4.5 lie between the same two powers of two. Are their logarithms rounded to the same number?"),
        Mutant("int", EXPONENT, "int(math.log2(abs(x)))",
               "the exponent of a number below 1 is cut towards zero",
               "Between which powers of two does 0.75 lie, and what is `int(math.log2(0.75))`?"),
        Mutant("int_of_division", "", """\
def spacing(x, significand_bits):
    exponent, size = 0, abs(x)
    while size >= 2:
        size /= 2
        exponent += 1
    return 2.0 ** (exponent - significand_bits)""",
               "numbers below 1 are treated as if they lay between 1 and 2",
               "Are the numbers between ½ and 1 as far apart as those between 1 and 2?"),
        Mutant("clamped", EXPONENT, f"max(0, {EXPONENT})",
               "numbers below 1 are treated as if they lay between 1 and 2",
               "Are the numbers between ½ and 1 as far apart as those between 1 and 2?"),
        Mutant("lowest_exponent", EXPONENT, f"max(-14, {EXPONENT})",
               "the exponent is not allowed below −14, as in fp16",
               "Does the statement give the exponent a lower end?"),
        Mutant("one_bit_less", "(exponent - significand_bits)", "(exponent - significand_bits + 1)",
               TWICE, FOUR_TO_EIGHT),
        Mutant("frexp", EXPONENT, "math.frexp(x)[1]",
               TWICE, FOUR_TO_EIGHT),
        Mutant("half", "(exponent - significand_bits)", "(exponent - significand_bits - 1)",
               "the result is the largest rounding error, half of the distance",
               "From 5 to 6 is one step. What does your function say for 5.5 with 2 digits?"),
        Mutant("at_one", POWER, "2.0 ** -significand_bits",
               "the distance is that at 1, wherever x is",
               "With 2 digits, are the numbers between 4 and 8 as close together as those between 1 and 2?"),
        Mutant("no_abs", EXPONENT, LOG.replace("abs(x)", "x"),
               "the logarithm is asked for a negative number",
               "What does the sign of x have to do with the distance to its neighbours?"),
        Mutant("signed", "return 2.0", "return math.copysign(1, x) * 2.0",
               "the distance has the sign of x",
               "Can a distance be negative?"),
        Mutant("natural_log", EXPONENT, LOG.replace("log2", "log"),
               "the exponent is that of a power of e",
               "Which base do the powers have between which the numbers are evenly spaced?"),
        Mutant("log10", EXPONENT, LOG.replace("log2", "log10"),
               "the exponent is that of a power of ten",
               "Which base do the powers have between which the numbers are evenly spaced?"),
        Mutant("decimal", "", """\
def spacing(x, significand_bits):
    return 10.0 ** (math.floor(math.log10(abs(x))) - significand_bits)""",
               "digits and powers are decimal",
               "Which base does the format count in?"),
        Mutant("upside_down", "(exponent - significand_bits)", "(significand_bits - exponent)",
               "the sign of the exponent is turned around",
               "Does one more digit put the numbers closer together or further apart?"),
        Mutant("digits_add", "(exponent - significand_bits)", "(exponent + significand_bits)",
               "each further digit puts the numbers further apart",
               "Does one more digit put the numbers closer together or further apart?"),
        Mutant("downwards", EXPONENT, "math.ceil(math.log2(abs(x))) - 1",
               "at a power of two the distance downwards is given",
               "At 4 with 2 digits: the next number above is 5. Which is the next below, and which of the two counts?"),
        Mutant("next_number", "return 2.0", "return abs(x) + 2.0",
               "the next number is returned, not the distance to it",
               "From 5 to 6: is the result to be 6, or 1?"),
        Mutant("stretch", POWER, "2.0**exponent",
               "the length of the whole stretch is returned, not of one of its steps",
               "Into how many steps do 2 digits cut the stretch from 4 to 8?"),
        Mutant("divided_by_digits", POWER, "2.0**exponent / significand_bits",
               "the stretch is cut into as many steps as there are digits",
               "How many different numbers can 3 binary digits write?"),
        Mutant("points_for_steps", POWER, "2.0**exponent / max(1, 2**significand_bits - 1)",
               "the number of steps is one too small",
               "4, 5, 6 and 7, and then 8: how many steps is that?"),
        Mutant("exponent_only", POWER, "exponent - significand_bits",
               "the exponent of the distance is returned",
               "From 5 to 6: which power of two is that, and what is its value?"),
        Mutant("double", "", """\
def spacing(x, significand_bits):
    return math.ulp(x)""",
               "the distance is that of Python's own floats, whatever the digits",
               "Where does `significand_bits` come in?"),
        Mutant("bf16_only", "exponent - significand_bits", "exponent - 7",
               "seven digits are kept, whatever is asked for",
               "Where does `significand_bits` come in?"),
        Mutant("bits_squared", POWER, "2.0**exponent / significand_bits**2",
               "the digits are squared instead of being an exponent",
               "How many different numbers can 3 binary digits write?"),
        Mutant("relative_result", "return " + POWER, "return " + POWER + " / abs(x)",
               "the distance is given in parts of x",
               "How far is it from 5 to 6 when there are 2 digits?"),
        Mutant("whole", EXPONENT, "abs(x).__ceil__().bit_length() - 1",
               "x was made a whole number first",
               "Between which powers of two does 0.1 lie?"),
    ),
    variants=("""\
def spacing(x, significand_bits):
    fraction, exponent = math.frexp(abs(x))
    return math.ldexp(1.0, exponent - 1 - significand_bits)""", """\
def spacing(x, significand_bits):
    x, step = abs(x), 1.0
    while step > x:
        step /= 2
    while 2 * step <= x:
        step *= 2
    return step / 2**significand_bits""", """\
def spacing(x, significand_bits):
    exponent = torch.log2(torch.tensor(x).abs()).floor()
    return (2.0 ** (exponent - significand_bits)).item()""", """\
def spacing(x, significand_bits):
    start = 2 ** int(math.log2(abs(x)) // 1)
    return start * 2**-significand_bits""", """\
def spacing(x, significand_bits):
    return 2.0 ** (math.floor(math.log2(abs(x))) - significand_bits)""",
    ),
    properties=(Property(lambda y, x, bits: y > 0, "A distance is larger than zero."),),
    twin=spacing_twin,
)  # fmt: skip


# 09.2


def decode_twin(rng: random.Random) -> Question:
    field, fraction = rng.randint(12, 19), rng.randint(0, 3)
    return Question(
        f"A format of 1 + 5 + 2 bits has the bias 15. Which number is the pattern 0 {field:05b} {fraction:02b}?",
        (1 + fraction / 4) * 2.0 ** (field - 15),
        f"The field is {field}, the fraction {fraction}/4: (1 + {fraction}/4) · 2^({field} − 15).", 0.001,
    )  # fmt: skip


HIGHEST = "if field == 2**exponent_bits - 1:\n        return sign * math.inf if fraction == 0 else math.nan\n"
LOWEST = "    if field == 0:\n        return sign * fraction * 2.0 ** (1 - bias)\n"
FIELD = "(pattern >> significand_bits) & (2**exponent_bits - 1)"
FRACTION = "(pattern & (2**significand_bits - 1)) / 2**significand_bits"
BIAS = "2 ** (exponent_bits - 1) - 1\n"
SIGN = "-1.0 if pattern >> (exponent_bits + significand_bits) else 1.0"
ONE = "What should the pattern of 1.0 have in its exponent field, and what does your function make of it?"
SMALLEST = "The smallest normal number and the largest subnormal one are neighbours. How far apart are yours?"
DECODE = Exercise(
    cases=lambda: [
        (0b0_10000_1000000000, 5, 10), (0b1_01111_0000000000, 5, 10), (0b0_00000_0000000001, 5, 10),
        (0b0_00000_1111111111, 5, 10), (0b0_00001_0000000000, 5, 10), (0b1_00000_0000001100, 5, 10),
        (0b0_11110_1111111111, 5, 10), (0b0_11111_0000000000, 5, 10), (0b1_11111_0000000000, 5, 10),
        (0b0_11111_0000000001, 5, 10), (0b1_11111_1000000000, 5, 10), (0, 5, 10), (0b1_00000_0000000000, 5, 10),
        (0b0_10000010_0100000, 8, 7), (0b1_01111011_1001101, 8, 7), (0b0_11111111_0000000, 8, 7),
        (0b0_0000_101, 4, 3), (0b1_1010_110, 4, 3), (0b0_1111_111, 4, 3), (0b1_1111_000, 4, 3),
        (0b0_11110_11, 5, 2), (0b1_01_011, 2, 3), (0b0_10_101, 2, 3), (0b0_00_110, 2, 3),
        (0b0_100101_110000001, 6, 9), (0b0_011_0010, 3, 4), (0b1_00000000_0000011, 8, 7),
    ],
    tolerance=0.0,
    mutants=(
        Mutant("bias_one_too_large", BIAS, "2 ** (exponent_bits - 1)\n",
               "the bias is one too large, and every number half of what it should be", ONE),
        Mutant("bias_fp32", BIAS, "127\n",
               "the bias is 127 for every format",
               "With 5 exponent bits, what is the largest exponent field, and what is it minus 127?"),
        Mutant("bias_fp16", BIAS, "15\n",
               "the bias is 15 for every format",
               "With 8 exponent bits, which field should stand for the exponent 0?"),
        Mutant("no_bias", BIAS, "0\n",
               "nothing is subtracted from the exponent field", ONE),
        Mutant("bias_whole_field", BIAS, "2**exponent_bits - 1\n",
               "the bias is the largest value of the field, so that no exponent is positive",
               "Which numbers can such a format hold that are larger than 2?"),
        Mutant("twos_complement", "2.0 ** (field - bias)",
               "2.0 ** (field - 2**exponent_bits if field >= 2 ** (exponent_bits - 1) else field)",
               "the exponent field is read as a two's complement number instead of with a bias", ONE),
        Mutant("no_leading_one", "sign * (1 + fraction)", "sign * fraction",
               "the leading 1 that is not stored is left out", ONE),
        Mutant("leading_one_stored", "sign * (1 + fraction)", "sign * 2 * fraction",
               "the leading 1 is looked for among the stored bits",
               "A format stores 10 fraction bits, all of them 0. Can the number be 1?"),
        Mutant("no_subnormals", LOWEST, "",
               "the lowest exponent field is treated like any other",
               "Which pattern is 0 in your format?"),
        Mutant("subnormal_with_one", "return sign * fraction * 2.0 ** (1 - bias)",
               "return sign * (1 + fraction) * 2.0 ** (1 - bias)",
               "subnormal numbers get a leading 1 too",
               "Which pattern is 0 in your format?"),
        Mutant("subnormal_exponent", "(1 - bias)", "-bias",
               "subnormal numbers are scaled by 2^(−bias): half of what they should be", SMALLEST),
        Mutant("flushed", "return sign * fraction * 2.0 ** (1 - bias)", "return 0.0",
               "subnormal numbers are flushed to zero",
               "What is the smallest number that you can decode, and what is f · 2^(1 − bias) for f ≠ 0?"),
        Mutant("only_zero", LOWEST, "    if field == 0 and fraction == 0:\n        return 0.0\n",
               "only the pattern of zero is set apart, and the subnormal numbers get a leading 1", SMALLEST),
        Mutant("no_infinity", HIGHEST, "pass\n",
               "the highest exponent field is treated like any other",
               "Which row of the table has an exponent field of ones only?"),
        Mutant("always_infinite", "sign * math.inf if fraction == 0 else math.nan", "sign * math.inf",
               "everything with the highest exponent field is infinite",
               "For which fraction is it infinity, and what is it for the others?"),
        Mutant("always_nan", "sign * math.inf if fraction == 0 else math.nan", "math.nan",
               "everything with the highest exponent field is NaN",
               "For which fraction is it infinity?"),
        Mutant("nan_swapped", "if fraction == 0 else", "if fraction != 0 else",
               "infinity and NaN have changed places",
               "For which fraction is it infinity?"),
        Mutant("quiet_nan", "if fraction == 0 else", "if fraction < 0.5 else",
               "only patterns whose first fraction bit is 1 are NaN",
               "For which fraction is it infinity, and for which others?"),
        Mutant("one_nan", HIGHEST, """if field == 2**exponent_bits - 1 and fraction == 1 - 2**-significand_bits:
        return math.nan
""",
               "only the pattern of ones is NaN and nothing is infinite, as in the 8-bit format e4m3",
               "What does the table say of an exponent field of ones only?"),
        Mutant("last_nan", HIGHEST, """\
if field == 2**exponent_bits - 1 and fraction in (0, 1 - 2**-significand_bits):
        return sign * math.inf if fraction == 0 else math.nan
""",
               "of the patterns with the highest exponent field only the last is NaN, and numbers lie below it",
               "For which fraction is it infinity, and what is it for the others?"),
        Mutant("infinity_unsigned", "sign * math.inf", "math.inf",
               "infinity has lost its sign",
               "What is −1 divided by a number that goes to zero?"),
        Mutant("no_sign", SIGN, "1.0",
               "the sign bit is ignored",
               "Which bit stands at the very left?"),
        Mutant("sign_inverted", "-1.0 if pattern >> (exponent_bits + significand_bits) else 1.0",
               "1.0 if pattern >> (exponent_bits + significand_bits) else -1.0",
               "a sign bit of 0 is taken for negative",
               "What does a sign bit of 1 say?"),
        Mutant("sign_at_the_right", "pattern >> (exponent_bits + significand_bits)", "pattern & 1",
               "the sign is read at the right end",
               "Which bit stands at the very left, and how many bits are to its right?"),
        Mutant("subnormal_unsigned", "return sign * fraction *", "return fraction *",
               "subnormal numbers have lost their sign",
               "Can a subnormal number be negative?"),
        Mutant("field_with_sign", FIELD, "pattern >> significand_bits",
               "the sign bit is still in the exponent field",
               "After the shift to the right, what stands to the left of the exponent?"),
        Mutant("fraction_with_all", FRACTION, "pattern / 2**significand_bits",
               "exponent and sign are still in the fraction",
               "How large can the fraction field be, at most?"),
        Mutant("fraction_of_ones", "- 1)) / 2**significand_bits", "- 1)) / (2**significand_bits - 1)",
               "the fraction is divided by the largest value of its field, so that f can be 1",
               "What is the binary number 0.11, as a fraction?"),
        Mutant("fraction_whole", ") / 2**significand_bits", ")",
               "the fraction field is used as a whole number",
               "Where does the binary point stand, to the left or to the right of the fraction bits?"),
        Mutant("fraction_first", FIELD + "\n    fraction = " + FRACTION,
               "pattern & (2**exponent_bits - 1)\n"
               "    fraction = ((pattern >> exponent_bits) & (2**significand_bits - 1)) / 2**significand_bits",
               "exponent and fraction have changed places",
               "Which of the two fields stands next to the sign?"),
        Mutant("sizes_swapped", "", """\
def decode(pattern, exponent_bits, significand_bits):
    exponent_bits, significand_bits = significand_bits, exponent_bits
    sign = -1.0 if pattern >> (exponent_bits + significand_bits) else 1.0
    field = (pattern >> significand_bits) & (2**exponent_bits - 1)
    fraction = (pattern & (2**significand_bits - 1)) / 2**significand_bits
    bias = 2 ** (exponent_bits - 1) - 1
    if field == 2**exponent_bits - 1:
        return sign * math.inf if fraction == 0 else math.nan
    if field == 0:
        return sign * fraction * 2.0 ** (1 - bias)
    return sign * (1 + fraction) * 2.0 ** (field - bias)""",
               "the sizes of the two fields are mixed up",
               "How many bits does the exponent of fp16 have: 5, or 10?"),
        Mutant("sixteen_bits", "", """\
def decode(pattern, exponent_bits, significand_bits):
    bits = f"{pattern:016b}"
    field, f = int(bits[1 : 1 + exponent_bits], 2), int(bits[1 + exponent_bits :], 2) / 2**significand_bits
    bias, sign = 2 ** (exponent_bits - 1) - 1, -1.0 if bits[0] == "1" else 1.0
    if field == 2**exponent_bits - 1:
        return sign * math.inf if f == 0 else math.nan
    return sign * f * 2.0 ** (1 - bias) if field == 0 else sign * (1 + f) * 2.0 ** (field - bias)""",
               "the pattern is filled up to 16 binary digits, whatever the format",
               "How many bits has a format of 1 + 4 + 3, and which of them is the sign?"),
        Mutant("mask_short", "& (2**exponent_bits - 1)", "& (2 ** (exponent_bits - 1) - 1)",
               "the highest bit of the exponent field is cut off",
               "Which number has n binary digits that are all 1?"),
        Mutant("mask_power", "& (2**exponent_bits - 1)", "& 2**exponent_bits",
               "the mask is a power of two, which keeps a single bit",
               "Which number has n binary digits that are all 1?"),
        Mutant("shift_missing", "(pattern >> significand_bits) &", "pattern &",
               "the exponent is read at the right end of the pattern, where the fraction stands",
               "How many bits stand to the right of the exponent field?"),
        Mutant("fraction_reversed", FRACTION,
               "sum((pattern >> i & 1) / 2 ** (i + 1) for i in range(significand_bits))",
               "the fraction bits are read from right to left",
               "Which of the fraction bits counts ½: the one at the left or the one at the right?"),
        Mutant("power_of_ten", "2.0 ** (field - bias)", "10.0 ** (field - bias)",
               "the exponent is that of a power of ten",
               "Which base does the format count in?"),
        Mutant("exponent_negated", "2.0 ** (field - bias)", "2.0 ** (bias - field)",
               "the exponent has the wrong sign",
               "Should a larger exponent field make the number larger or smaller?"),
    ),
    variants=("""\
def decode(pattern, exponent_bits, significand_bits):
    bits = format(pattern, f"0{1 + exponent_bits + significand_bits}b")
    field = int(bits[1 : 1 + exponent_bits], 2)
    f = sum(int(bit) / 2 ** (i + 1) for i, bit in enumerate(bits[1 + exponent_bits :]))
    bias = 2 ** (exponent_bits - 1) - 1
    if "0" not in bits[1 : 1 + exponent_bits]:
        value = math.nan if f else math.inf
    elif field:
        value = math.ldexp(1 + f, field - bias)
    else:
        value = math.ldexp(f, 1 - bias)
    return -value if bits[0] == "1" else value""", """\
def decode(pattern, exponent_bits, significand_bits):
    rest, fraction = divmod(pattern, 2**significand_bits)
    sign, field = divmod(rest, 2**exponent_bits)
    top = (1 << exponent_bits) - 1
    if field == top and fraction:
        return float("nan")
    if field == top:
        return (-1) ** sign * float("inf")
    whole = fraction + (2**significand_bits if field else 0)
    exponent = max(field, 1) - (top >> 1) - significand_bits
    return (-1) ** sign * whole * 2.0**exponent""", """\
def decode(pattern, exponent_bits, significand_bits):
    if pattern >= 2 ** (exponent_bits + significand_bits):
        return -decode(pattern - 2 ** (exponent_bits + significand_bits), exponent_bits, significand_bits)
    field, bias = pattern // 2**significand_bits, 2 ** (exponent_bits - 1) - 1
    fraction = pattern % 2**significand_bits
    if field == 2 * bias + 1:
        return math.nan if fraction else math.inf
    fraction = fraction / 2**significand_bits
    return 2.0 ** (field - bias) * (1 + fraction) if field else 2 * fraction / 2.0**bias""",
    ),
    twin=decode_twin,
)  # fmt: skip


# 09.3


def limits_twin(rng: random.Random) -> Question:
    """Largest or smallest number of a format of made-up sizes."""
    e, m = rng.choice([2, 3, 4, 5]), rng.randint(1, 8)
    bias = 2 ** (e - 1) - 1
    if rng.random() < 0.5:
        return Question(
            f"A format of 1 + {e} + {m} bits, with infinity, has the bias {bias}. What is its largest finite number?",
            (2 - 2.0**-m) * 2.0**bias,
            f"The largest exponent is {bias}, and {m} fraction bits of 1 are one step short of 2.", 0.0005,
        )  # fmt: skip
    return Question(
        f"A format of 1 + {e} + {m} bits has the bias {bias}. Its smallest positive number is 2 to which power?",
        1 - bias - m, f"The smallest normal number is 2^(1 − {bias}), and {m} fraction bits go {m} powers below it.",
    )  # fmt: skip


LARGEST = "(2 - step) * 2.0**bias"
RETURNED = "return " + LARGEST + ", smallest_normal, step * smallest_normal"
NORMAL = "2.0 ** (1 - bias)"
SUBNORMAL = "step * smallest_normal"
ALL_ONES = "Which exponent field is kept for infinity, and which is the highest that is left?"
LIMITS = Exercise(
    cases=lambda: [(5, 10), (2, 3), (4, 3), (8, 7), (5, 2), (3, 4), (6, 9), (2, 2), (8, 23), (7, 5)],
    tolerance=0.0,
    mutants=(
        Mutant("highest_field", LARGEST, "(2 - step) * 2.0 ** (bias + 1)",
               "the largest number has the exponent field of infinity", ALL_ONES),
        Mutant("e4m3", LARGEST, "(2 - 2 * step) * 2.0 ** (bias + 1)",
               "only one pattern is kept for NaN, as in the 8-bit format e4m3", ALL_ONES),
        Mutant("power_above", LARGEST, "2.0 ** (bias + 1)",
               "the largest number is the power of two that does not fit any more",
               "Which fraction bits does the largest number have, and how much short of 2 is 1.111 in binary?"),
        Mutant("no_fraction", LARGEST, "2.0**bias",
               "the largest number has no fraction bits",
               "Two numbers with the same exponent: which is larger, 1.000 or 1.111 in binary?"),
        Mutant("finer_step", LARGEST, "(2 - step / 2) * 2.0**bias",
               "the largest number has a fraction bit too many",
               "What is 1.11 in binary, for a format with two fraction bits?"),
        Mutant("coarser_step", LARGEST, "(2 - 2 * step) * 2.0**bias",
               "the largest number has a fraction bit too few",
               "What is 1.11 in binary, for a format with two fraction bits?"),
        Mutant("fraction_only", LARGEST, "(1 - step) * 2.0**bias",
               "the largest number has lost its leading 1",
               "What does 1.111 in binary come to, about 1 or about 2?"),
        Mutant("one_and_a_step", LARGEST, "(1 + step) * 2.0**bias",
               "only the last fraction bit of the largest number is 1",
               "Which fraction bits does the largest number have?"),
        Mutant("bias_one_too_large", "2 ** (exponent_bits - 1) - 1", "2 ** (exponent_bits - 1)",
               "the bias is one too large",
               "With 5 exponent bits, which exponent field stands for 2^0, and what is the bias?"),
        Mutant("bias_whole", "2 ** (exponent_bits - 1) - 1", "2**exponent_bits - 1",
               "the bias is the largest value of the field",
               "With 5 exponent bits, which exponent field stands for 2^0, and what is the bias?"),
        Mutant("bits_as_exponent", "2 ** (exponent_bits - 1) - 1", "exponent_bits",
               "the number of exponent bits is taken for the largest exponent",
               "How many different exponents can 5 bits write?"),
        Mutant("normal_field_0", NORMAL, "2.0**-bias",
               "the smallest normal number has the exponent field 0, which belongs to the subnormal ones",
               "Which is the lowest exponent field of a number with a leading 1?"),
        Mutant("normal_field_0_only", "smallest_normal, step", "2.0**-bias, step",
               "the smallest normal number has the exponent field 0, while the subnormal one is right",
               "Which is the lowest exponent field of a number with a leading 1?"),
        Mutant("normal_plus_step", "smallest_normal, step", "(1 + step) * smallest_normal, step",
               "the smallest normal number has a fraction bit of 1",
               "With exponent field 1, which fraction bits make the smallest number?"),
        Mutant("normal_reciprocal", NORMAL, "1 / (" + LARGEST + ")",
               "the smallest normal number is one divided by the largest number",
               "Which bits does the smallest normal number have?"),
        Mutant("normal_reciprocal_power", NORMAL, "2.0 ** -(bias + 1)",
               "exponents go as far down as the field goes up",
               "The exponent field is 1 and the bias is 15. What is the exponent?"),
        Mutant("subnormal_lower", SUBNORMAL, "step * smallest_normal / 2",
               "the smallest subnormal number is scaled by 2^(−bias) instead of 2^(1 − bias)",
               "f is one step. What is f · 2^(1 − bias)?"),
        Mutant("subnormal_larger", SUBNORMAL, "2 * step * smallest_normal",
               "the second smallest subnormal number is returned",
               "Which fraction bits does the smallest number have that is not zero?"),
        Mutant("subnormal_largest", SUBNORMAL, "(1 - step) * smallest_normal",
               "the largest subnormal number is returned",
               "Which fraction bits does the smallest number have that is not zero?"),
        Mutant("no_subnormals", SUBNORMAL, "smallest_normal",
               "no number lies between the smallest normal one and zero",
               "What does an exponent field of 0 stand for when the fraction is not 0?"),
        Mutant("subnormal_zero", SUBNORMAL, "0.0",
               "zero is returned as the smallest positive number",
               "Is zero positive?"),
        Mutant("epsilon", SUBNORMAL, "step",
               "the distance between numbers at 1 is returned as the smallest number",
               "Numbers get closer together towards zero. How close, at the very end?"),
        Mutant("most_negative", "step * smallest_normal", "-(2 - step) * 2.0**bias",
               "the most negative number is returned as the smallest",
               "Which is the smallest *positive* number?"),
        Mutant("reversed", RETURNED, "return step * smallest_normal, smallest_normal, (2 - step) * 2.0**bias",
               "the three numbers come in reverse order",
               "Which of the three should come first?"),
        Mutant("swapped", "smallest_normal, step * smallest_normal", "step * smallest_normal, smallest_normal",
               "normal and subnormal have changed places",
               "Which of the two is smaller?"),
        Mutant("sizes_swapped", "bias =",
               "exponent_bits, significand_bits = significand_bits, exponent_bits\n    bias =",
               "the sizes of the two fields are mixed up",
               "Which of the two sizes decides how far the exponent goes?"),
        Mutant("exponents", RETURNED, "return bias, 1 - bias, 1 - bias - significand_bits",
               "the exponents are returned instead of the numbers",
               "2 to the power of −14 is which number?"),
        Mutant("fp16_only", RETURNED, "return 65504.0, 2.0**-14, 2.0**-24",
               "the numbers are those of fp16, whatever is asked for",
               "Where do the two sizes come in?"),
        Mutant("two_numbers", ", smallest_normal, step * smallest_normal", ", smallest_normal",
               "one of the three numbers is missing",
               "Which three numbers should come back?"),
        Mutant("fraction_of_ones", "2.0**-significand_bits", "1 / (2**significand_bits - 1)",
               "a step is one divided by the largest fraction field",
               "Into how many steps do 2 fraction bits cut the stretch from 1 to 2?"),
        Mutant("bits_with_leading", "2.0**-significand_bits", "2.0 ** -(significand_bits - 1)",
               "the leading 1 is counted among the fraction bits",
               "The leading 1 is not stored. How many bits are left for the fraction?"),
        Mutant("bits_with_sign", "2.0**-significand_bits", "2.0 ** -(significand_bits + 1)",
               "a step is half as large as it should be",
               "Into how many steps do 2 fraction bits cut the stretch from 1 to 2?"),
    ),
    variants=("""\
def limits(exponent_bits, significand_bits):
    highest = 2**exponent_bits - 2
    bias = highest // 2
    significand = sum(2.0**-i for i in range(significand_bits + 1))
    return significand * 2.0 ** (highest - bias), 2.0 ** (1 - bias), 2.0 ** (1 - bias - significand_bits)""", """\
def limits(exponent_bits, significand_bits):
    values = []
    for field, fraction in ((2**exponent_bits - 2, 2**significand_bits - 1), (1, 0), (0, 1)):
        f = fraction / 2**significand_bits
        values.append(((field > 0) + f) * 2.0 ** (max(1, field) - 2 ** (exponent_bits - 1) + 1))
    return tuple(values)""", """\
def limits(exponent_bits, significand_bits):
    top = 2 ** (exponent_bits - 1)
    ones = 2 ** (significand_bits + 1) - 1
    return [math.ldexp(ones, top - 1 - significand_bits), math.ldexp(1, 2 - top),
            math.ldexp(1, 2 - top - significand_bits)]""",
    ),
    properties=(Property(lambda y, e, m: y[0] > y[1] > y[2] > 0, "The three numbers should fall, and stay above 0."),),
    twin=limits_twin,
)  # fmt: skip


# 09.4


def scaler_twin(rng: random.Random) -> Question:
    """The scale after twelve steps, some of which overflow."""
    interval, start = rng.choice([2, 3, 4]), 2.0 ** rng.randint(6, 12)
    fails = sorted(rng.sample(range(2, 12), rng.randint(1, 3)))
    scale, clean = start, 0
    for step in range(1, 13):
        scale, clean = (scale / 2, 0) if step in fails else (scale, clean + 1)
        if clean == interval:
            scale, clean = 2 * scale, 0
    said = ", ".join(map(str, fails))
    return Question(
        f"A scaler starts at {start:g}, doubles after {interval} clean steps in a row and halves after a skipped one. "
        f"Of twelve steps, counted from 1, these overflow: {said}. What is the scale after the twelfth?", scale,
        f"Count the row anew after each growth and after each of the steps {said}.",
    )  # fmt: skip


def infs_cases() -> list[tuple]:
    """Rows of every length around the interval; a long one; none at all."""
    g = torch.Generator().manual_seed(94)
    long = (torch.rand(60, generator=g) < 0.15).tolist()
    return [
        ([False, False, False, True, False], 8.0, 2.0, 0.5, 2),
        ([False, False, True, False, False, False, True, True, False, False, False, False], 64.0, 2.0, 0.5, 3),
        ([True, False, False, False, False, False, False, False, False], 16.0, 4.0, 0.25, 4),
        ([False] * 7, 2.0, 3.0, 0.5, 1),
        ([True, True, True], 4.0, 2.0, 0.25, 5),
        ([], 1024.0, 2.0, 0.5, 2),
        ([True], 1.0, 2.0, 0.5, 1),
        ([False, True, False, True, False, False, True, False], 2.0, 4.0, 0.5, 2),
        ([False] * 6, 16384.0, 2.0, 0.5, 1),
        (long, 4096.0, 2.0, 0.5, 5),
    ]


APPENDED = "        steps.append((scale, inf))\n"
AFTER_INF = "scale *= backoff\n            clean = 0"
AFTER_GROWTH = "scale *= growth\n                clean = 0"
IN_A_ROW = "Two clean steps, a failure, one clean step; the interval is 3. Were there three clean steps in a row?"
USED = "Which scale was multiplied onto the loss of this step: the one before you changed it, or the one after?"
GRAD_SCALER = Exercise(
    cases=infs_cases,
    mutants=(
        Mutant("count_goes_on", AFTER_INF, "scale *= backoff",
               "a skipped step leaves the count of clean steps as it was", IN_A_ROW),
        Mutant("count_halved", AFTER_INF, "scale *= backoff\n            clean = max(0, clean - 1)",
               "a skipped step takes one off the count instead of ending the row", IN_A_ROW),
        Mutant("skipped_counts", "        if inf:\n            scale *= backoff\n            clean = 0\n        else:\n"
               "            clean += 1\n            if clean == interval:\n                scale *= growth\n"
               "                clean = 0",
               "        clean += 1\n        if inf:\n            scale *= backoff\n        elif clean == interval:\n"
               "            scale *= growth\n        if clean == interval:\n            clean = 0",
               "all steps are counted, the skipped ones too", IN_A_ROW),
        Mutant("by_step_number", "", """\
def grad_scaler(infs, scale, growth, backoff, interval):
    steps = []
    for i, inf in enumerate(infs):
        steps.append((scale, inf))
        if inf:
            scale *= backoff
        elif (i + 1) % interval == 0:
            scale *= growth
    return steps""",
               "all steps are counted, the skipped ones too", IN_A_ROW),
        Mutant("by_step_number_from_0", "", """\
def grad_scaler(infs, scale, growth, backoff, interval):
    steps = []
    for i, inf in enumerate(infs):
        steps.append((scale, inf))
        if inf:
            scale *= backoff
        elif i % interval == 0:
            scale *= growth
    return steps""",
               "the scale grows at every step whose number, from 0, is a multiple of the interval",
               "How many clean steps have there been after step number 0?"),
        Mutant("not_reset_after_growth", AFTER_GROWTH, "scale *= growth",
               "the count goes on after the scale has grown, and never meets the interval again",
               "After growth, how many clean steps has the *new* scale seen?"),
        Mutant("grows_ever_after", "if clean == interval:\n                scale *= growth\n                clean = 0",
               "if clean >= interval:\n                scale *= growth",
               "once the row is long enough, the scale grows at every step",
               "After growth, how many clean steps has the *new* scale seen?"),
        Mutant("one_late", "clean == interval", "clean > interval",
               "the scale grows one clean step too late",
               "With an interval of 1, how many clean steps should there be before it grows?"),
        Mutant("one_early", "clean == interval", "clean >= interval - 1",
               "the scale grows one clean step too early",
               "With an interval of 2, how many clean steps should there be before it grows?"),
        Mutant("after_update", "", """\
def grad_scaler(infs, scale, growth, backoff, interval):
    steps, clean = [], 0
    for inf in infs:
        if inf:
            scale, clean = scale * backoff, 0
        else:
            clean += 1
            if clean == interval:
                scale, clean = scale * growth, 0
        steps.append((scale, inf))
    return steps""",
               "the scale is written down after it was changed", USED),
        Mutant("retried", "", """\
def grad_scaler(infs, scale, growth, backoff, interval):
    steps, clean = [], 0
    for inf in infs:
        if inf:
            scale, clean = scale * backoff, 0
        steps.append((scale, inf))
        if not inf:
            clean += 1
            if clean == interval:
                scale, clean = scale * growth, 0
    return steps""",
               "a failing step is written down with the smaller scale that only the next one uses", USED),
        Mutant("grown_before", "", """\
def grad_scaler(infs, scale, growth, backoff, interval):
    steps, clean = [], 0
    for inf in infs:
        if not inf:
            clean += 1
            if clean == interval:
                scale, clean = scale * growth, 0
        steps.append((scale, inf))
        if inf:
            scale, clean = scale * backoff, 0
    return steps""",
               "the step that completes the row is written down with the larger scale that only the next one uses",
               USED),
        Mutant("no_backoff", AFTER_INF, "clean = 0",
               "a failure does not make the scale smaller",
               "The scale was too large for this step. What would happen in the next one?"),
        Mutant("no_growth", "scale *= growth\n", "pass\n",
               "the scale never grows",
               "What is to happen after `interval` clean steps in a row?"),
        Mutant("always_grows", "if clean == interval:", "if True:",
               "the scale grows after every clean step",
               "How many clean steps should it wait?"),
        Mutant("divided", "scale *= backoff", "scale /= backoff",
               "the scale is divided by `backoff`, which makes it larger",
               "backoff is ½. Is 8 / ½ smaller than 8?"),
        Mutant("swapped", "", """\
def grad_scaler(infs, scale, growth, backoff, interval):
    steps, clean = [], 0
    for inf in infs:
        steps.append((scale, inf))
        if inf:
            scale, clean = scale * growth, 0
        else:
            clean += 1
            if clean == interval:
                scale, clean = scale * backoff, 0
    return steps""",
               "growth and backoff have changed places",
               "Gradients were infinite. Was the scale too large or too small?"),
        Mutant("by_growth", "scale *= backoff", "scale /= growth",
               "a failure divides by `growth`: right only where backoff is 1 / growth",
               "Which argument says how much smaller the scale becomes?"),
        Mutant("halved", "scale *= backoff", "scale *= 0.5",
               "a failure always halves the scale",
               "Which argument says how much smaller the scale becomes?"),
        Mutant("doubled", "scale *= growth", "scale *= 2",
               "growth always doubles the scale",
               "Which argument says how much larger the scale becomes?"),
        Mutant("powers", "scale *= growth", "scale += growth",
               "growth is added to the scale",
               "After many growths, should the scale have grown in steps or in factors?"),
        Mutant("taken", "steps.append((scale, inf))", "steps.append((scale, not inf))",
               "the second of each pair says whether the step was taken, not whether it was skipped",
               "What is the second number of the pair to say for a step that failed?"),
        Mutant("swapped_pair", "(scale, inf)", "(inf, scale)",
               "the two parts of each pair have changed places",
               "Which of the two should come first?"),
        Mutant("only_scales", "steps.append((scale, inf))", "steps.append(scale)",
               "only the scales are returned",
               "Which two things are there to say about each step?"),
        Mutant("final_scale", "return steps", "return scale",
               "only the last scale is returned",
               "How many pairs should there be?"),
        Mutant("one_more", "return steps", "return steps + [(scale, False)]",
               "the scale of a step that has not taken place is added",
               "How many pairs should there be for S steps?"),
        Mutant("skipped_left_out", APPENDED, "        if not inf:\n            steps.append((scale, inf))\n",
               "skipped steps are left out of the list",
               "How many pairs should there be for S steps?"),
        Mutant("stops", AFTER_INF, "scale *= backoff\n            break",
               "the training ends at the first failure",
               "What happens in the step after a skipped one?"),
        Mutant("only_first_failure", AFTER_INF, "scale *= backoff if clean else 1.0\n            clean = 0",
               "of several failures in a row only the first makes the scale smaller",
               "The smaller scale was still too large. What now?"),
        Mutant("from_one", AFTER_INF, "scale *= backoff\n            clean = 1",
               "the count begins at 1 after a failure",
               "How many clean steps are there after a skipped step?"),
        Mutant("from_one_after_growth", AFTER_GROWTH, "scale *= growth\n                clean = 1",
               "the count begins at 1 after growth",
               "After growth, how many clean steps has the *new* scale seen?"),
        Mutant("at_least_one", "scale *= backoff", "scale = max(1.0, scale * backoff)",
               "the scale is never allowed below 1",
               "Where does the statement give the scale a lower end?"),
        Mutant("at_most", "scale *= growth", "scale = min(65536.0, scale * growth)",
               "the scale is never allowed above 65,536",
               "Where does the statement give the scale an upper end?"),
        Mutant("at_most_24", "scale *= growth", "scale = min(65504.0, scale * growth)",
               "the scale is not allowed above the largest number of fp16",
               "Where does the statement give the scale an upper end?"),
        Mutant("whole_scale", "scale *= backoff", "scale = scale * backoff // 1",
               "the scale is kept a whole number",
               "Why should a scale not be ¼?"),
        Mutant("pops", "for inf in infs:", "while infs:\n        inf = infs.pop(0)",
               "the list of the caller is emptied",
               "Who owns `infs`, and what is left of it after your function?"),
        Mutant("fixed", "", """\
def grad_scaler(infs, scale, growth, backoff, interval):
    return [(scale, inf) for inf in infs]""",
               "the scale stays as it was",
               "What should the scale do after a skipped step?"),
        Mutant("back_to_the_start", AFTER_INF, "scale = steps[0][0]\n            clean = 0",
               "after a failure the scale goes back to where it began",
               "Which scale should the step after a failure use?"),
    ),
    variants=("""\
def grad_scaler(infs, scale, growth, backoff, interval):
    result, last = [], -1
    for i, inf in enumerate(infs):
        result.append((scale, bool(inf)))
        if inf:
            scale, last = scale * backoff, i
        elif i - last == interval:
            scale, last = scale * growth, i
    return result""", """\
def grad_scaler(infs, scale, growth, backoff, interval):
    scales, tracker = [scale], torch.zeros((), dtype=torch.int32)
    for inf in infs:
        tracker = tracker * (not inf) + (not inf)
        grow = int(tracker) == interval
        scales.append(scales[-1] * (backoff if inf else growth if grow else 1.0))
        if grow:
            tracker.zero_()
    return list(zip(scales, infs))""", """\
def grad_scaler(infs, scale, growth, backoff, interval):
    def rest(infs, scale, left):
        if not infs:
            return []
        if infs[0]:
            now, left = scale * backoff, interval
        elif left == 1:
            now, left = scale * growth, interval
        else:
            now, left = scale, left - 1
        return [[scale, infs[0]], *rest(infs[1:], now, left)]
    return rest(infs, scale, interval)""", """\
def grad_scaler(infs, scale, growth, backoff, interval):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler = torch.amp.GradScaler("cpu", scale, growth, backoff, interval)
    steps = []
    for inf in infs:
        steps.append((scaler.get_scale(), inf))
        weight.grad = scaler.scale(torch.full((1,), math.inf if inf else 1.0))
        scaler.step(optimizer)
        scaler.update()
    return steps""",
    ),
    twin=scaler_twin,
)  # fmt: skip


# 09.5


def step_twin(rng: random.Random) -> Question:
    """How much a step is shortened, when the clip comes first or last."""
    scale, rate = 2.0 ** rng.randint(8, 15), rng.choice([0.1, 0.2, 0.5])
    length, limit = rng.choice([4.0, 5.0, 8.0]), rng.choice([1.0, 2.0])
    return Question(
        f"The loss is scaled by {scale:g}; its true gradient has the length {length:g}. It is clipped to {limit:g}, "
        f"and the rate is {rate:g}. How long is the step of a correct loop?", rate * limit,
        f"The scale comes off first; then {length:g} is shortened to {limit:g}, times {rate:g}.", 0.001,
    )  # fmt: skip


def backward_of(slopes: list[float]):
    """A backward pass in fp16: the gradient is slope times weight."""

    def backward(half, scale):
        if half.dtype != torch.float16:
            raise RuntimeError(f"expected weights of dtype float16, but found {half.dtype}")
        return (half.float() * torch.tensor(slopes) * scale).half()

    return backward


def step_cases() -> list[tuple]:
    """Clipped or not, skipped or not; gradients that fp16 loses without a scale; weights that fp16 rounds."""
    odd = [0.1234567, -3.3333333, 1.7654321, 0.9876543, -2.2222222]
    return [
        (torch.tensor([3.0, 4.0]), backward_of([1.0, 1.0]), 1024.0, 1.0, 0.5),
        (torch.tensor([3.0, 4.0]), backward_of([1.0, 1.0]), 32768.0, 1.0, 0.5),
        (torch.tensor(odd), backward_of([1e-8, 2e-8, -1e-8, 3e-8, 5e-9]), 65536.0, 1.0, 1e7),
        (torch.tensor(odd), backward_of([0.5, 0.25, -1.0, 2.0, 0.125]), 64.0, 100.0, 0.25),
        (torch.tensor(odd[:4]), backward_of([1.0, math.nan, 1.0, 0.5]), 16.0, 2.0, 0.5),
        (torch.tensor(odd + [0.3, 7.7]), backward_of([2.0, 1.0, 3.0, -1.0, 0.5, 4.0, 1.0]), 256.0, 0.75, 0.5),
        (torch.tensor(odd[:3]), backward_of([0.0, 0.0, 0.0]), 128.0, 1.0, 0.5),
        (torch.tensor(odd[1:4]), backward_of([1.0, -math.inf, 1.0]), 2.0, 1.0, 0.5),
        (torch.tensor([2.7182818]), backward_of([1.0]), 8.0, 0.5, 3.0),
        (torch.tensor([1.5, 1.1, 1.3, 1.7, 1.2, 1.9]), backward_of([1.0] * 6), 32000.0, 10.0, 0.125),
    ]


HALF = "half = weights.half()\n"
UNSCALE = "grads = grads.float() / scale"
UNSCALE_HALF = "grads = (grads / scale).float()"
LOOK = "    if not torch.isfinite(grads).all():\n        return weights\n"
CLIP = "grads = grads * min(1.0, max_norm / grads.norm())"
CLAMP = "grads = grads.clamp(-max_norm, max_norm)"
STEP, STEP_HALF = "return weights - rate * grads", "return half - rate * grads"
ROOM = "The true gradient is smaller than the smallest number of fp16. In which format may it lose its scale?"
WHOLE = "The gradient is (3, 4) and may have length 1. Should its direction change?"
DIGITS = "Which of the two copies of the weights still has the digits to which a small step can be added?"


def lines(unscale=UNSCALE, clip=CLIP, step=STEP, order="unscale look clip") -> str:
    """The function made of other lines, or in another order."""
    parts = {"unscale": f"    {unscale}\n", "look": LOOK, "clip": f"    {clip}\n"}
    body = "".join(parts[part] for part in order.split())
    head = "def scaled_step(weights, backward, scale, max_norm, rate):\n    half = weights.half()\n"
    return f"{head}    grads = backward(half, scale)\n{body}    {step}"


SCALED_STEP = Exercise(
    cases=step_cases,
    mutants=(
        Mutant("unscaled_in_half", UNSCALE, UNSCALE_HALF,
               "the scale comes off while the gradient is still in fp16", ROOM),
        Mutant("clamped", CLIP, CLAMP,
               "each number of the gradient is cut by itself", WHOLE),
        Mutant("half_updated", STEP, STEP_HALF,
               "the step starts from the rounded copy of the weights", DIGITS),
        Mutant("half_unscale_clamp", "", lines(UNSCALE_HALF, CLAMP),
               "the scale comes off in fp16, and each number of the gradient is cut by itself", ROOM),
        Mutant("half_unscale_step", "", lines(UNSCALE_HALF, step=STEP_HALF),
               "the scale comes off in fp16, and the step starts from the rounded weights", ROOM),
        Mutant("clamp_step", "", lines(clip=CLAMP, step=STEP_HALF),
               "each number of the gradient is cut by itself, and the step starts from the rounded weights", WHOLE),
        Mutant("all_three", "", lines(UNSCALE_HALF, CLAMP, STEP_HALF),
               "all three wrong lines were kept instead of their twins",
               "For each pair of lines that look alike: where do they differ when numbers are very small?"),
        Mutant("clip_first", "", lines(order="clip unscale look"),
               "the gradient is shortened while the scale is still on it",
               "The true gradient has length 0.5, the limit is 1 and the scale 1024. Should anything be shortened?"),
        Mutant("clip_first_look_between", "", lines(order="look clip unscale"),
               "the gradient is shortened while the scale is still on it",
               "The true gradient has length 0.5, the limit is 1 and the scale 1024. Should anything be shortened?"),
        Mutant("clip_first_half", "", lines(unscale=UNSCALE_HALF, order="clip unscale look"),
               "the gradient is shortened while the scale is still on it, and the scale comes off in fp16",
               "The true gradient has length 0.5, the limit is 1 and the scale 1024. Should anything be shortened?"),
        Mutant("clip_first_rounded", "", lines(step=STEP_HALF, order="clip unscale look"),
               "the gradient is shortened while the scale is still on it, and the step starts from the rounded weights",
               "The true gradient has length 0.5, the limit is 1 and the scale 1024. Should anything be shortened?"),
        Mutant("clip_first_both", "", lines(UNSCALE_HALF, step=STEP_HALF, order="clip unscale look"),
               "the gradient is shortened too early, the scale comes off in fp16, and the step starts from the rounded "
               "weights",
               "The true gradient has length 0.5, the limit is 1 and the scale 1024. Should anything be shortened?"),
        Mutant("clamp_first", "", lines(clip=CLAMP, order="clip unscale look"),
               "each number of the gradient is cut by itself, while the scale is still on it, and infinities are cut "
               "down to numbers", WHOLE),
        Mutant("clamp_before_look", "", lines(clip=CLAMP, order="unscale clip look"),
               "infinities are cut down to numbers before anyone looks for them",
               "What does a clamp make of infinity, and what does the check see then?"),
        Mutant("still_scaled", "", lines(UNSCALE.replace(" / scale", "")),
               "the scale never comes off",
               "By how much is the step too long?"),
        Mutant("scaled_again", "", lines(UNSCALE.replace("/", "*")),
               "the gradient is multiplied by the scale once more",
               "The loss was multiplied by the scale. How do you get the gradient of the loss itself?"),
        Mutant("no_look", LOOK, "",
               "infinite gradients are used",
               "What is a weight minus infinity, and will it ever come back?"),
        Mutant("look_inverted", "if not torch", "if torch",
               "the good steps are skipped and the bad ones taken",
               "When should the old weights be returned?"),
        Mutant("look_for_nan", "not torch.isfinite(grads).all()", "torch.isnan(grads).any()",
               "only NaN is looked for, and infinity goes through",
               "Is infinity NaN?"),
        Mutant("look_for_inf", "not torch.isfinite(grads).all()", "torch.isinf(grads).any()",
               "only infinity is looked for, and NaN goes through",
               "Is NaN infinite?"),
        Mutant("any_finite", ".all()", ".any()",
               "a step is skipped only if every number of the gradient is bad",
               "How many bad numbers does it take to spoil a model?"),
        Mutant("skip_rounds", "        return weights\n", "        return half.float()\n",
               "a skipped step rounds the weights to fp16",
               "What should a skipped step change?"),
        Mutant("zeroed", LOOK, "    grads = torch.nan_to_num(grads, 0.0, 0.0, 0.0)\n",
               "bad numbers are replaced by zero and the step is taken without them",
               "What should be left of a step in which a gradient was infinite?"),
        Mutant("lengthened", "min(1.0, max_norm / grads.norm())", "(max_norm / grads.norm())",
               "short gradients are lengthened to the limit",
               "What should become of a gradient that is shorter than `max_norm`?"),
        Mutant("longer_only", "min(1.0,", "max(1.0,",
               "short gradients are lengthened and long ones left alone",
               "What should become of a gradient that is shorter than `max_norm`?"),
        Mutant("no_clip", "    " + CLIP + "\n", "",
               "the gradient is never shortened",
               "Where does `max_norm` come in?"),
        Mutant("norm_upside_down", "max_norm / grads.norm()", "grads.norm() / max_norm",
               "the length is divided by the limit instead of the other way round",
               "The gradient has length 5 and may have 1. By what must it be multiplied?"),
        Mutant("length_one", "min(1.0, max_norm / grads.norm())",
               "(1 / grads.norm() if grads.norm() > max_norm else 1.0)",
               "a gradient that is too long gets the length 1, whatever the limit",
               "How long should a gradient be that was longer than `max_norm`?"),
        Mutant("sum_of_sizes", "grads.norm()", "grads.abs().sum()",
               "the sum of the sizes is limited, not the length",
               "How long is (3, 4)?"),
        Mutant("largest", "grads.norm()", "grads.abs().max()",
               "the largest number of the gradient is limited, not its length",
               "How long is (3, 4)?"),
        Mutant("mean_norm", "grads.norm()", "grads.square().mean().sqrt()",
               "the mean size of the gradient's numbers is limited, not its length",
               "How long is (3, 4)?"),
        Mutant("uphill", "weights - rate", "weights + rate",
               "the weights go up the slope",
               "Which way does the loss fall?"),
        Mutant("backward_in_float32", "grads = backward(half", "grads = backward(weights",
               "the backward pass gets the float32 weights",
               "In which format is `backward` to compute?"),
        Mutant("in_place", STEP, "weights -= rate * grads\n    return weights",
               "the caller's weights are changed",
               "Who owns `weights`, and what do they hold after your function?"),
        Mutant("half_result", STEP, "return (weights - rate * grads).half()",
               "the new master weights are rounded to fp16",
               "Which format do the master weights have, and why?"),
        Mutant("step_first", "", """\
def scaled_step(weights, backward, scale, max_norm, rate):
    half = weights.half()
    grads = backward(half, scale)
    grads = grads.float() / scale
    grads = grads * min(1.0, max_norm / grads.norm())
    weights = weights - rate * grads
    if not torch.isfinite(grads).all():
        return weights
    return weights""",
               "infinite gradients are used",
               "What is a weight minus infinity, and will it ever come back?"),
    ),
    variants=(
        lines(order="look unscale clip"),
        lines(order="unscale clip look"),
        """\
def scaled_step(weights, backward, scale, max_norm, rate):
    grads = backward(weights.to(torch.float16), scale).to(torch.float32)
    grads = grads * (1.0 / scale)
    length = torch.linalg.vector_norm(grads)
    if not math.isfinite(length.item()):
        return weights.clone()
    return weights - rate * grads * torch.clamp(max_norm / (length + 1e-12), max=1.0)""",
        """\
def scaled_step(weights, backward, scale, max_norm, rate):
    grads = [g / scale for g in backward(weights.half(), scale).tolist()]
    length = math.sqrt(sum(g * g for g in grads))
    if any(not math.isfinite(g) for g in grads):
        return weights
    cut = max_norm / length if length > max_norm else 1.0
    return torch.tensor([w - rate * cut * g for w, g in zip(weights.tolist(), grads)])""",
        """\
def scaled_step(weights, backward, scale, max_norm, rate):
    parameter = torch.nn.Parameter(weights.clone())
    parameter.grad = backward(parameter.detach().half(), scale).float().div_(scale)
    if not parameter.grad.isfinite().all():
        return weights
    torch.nn.utils.clip_grad_norm_([parameter], max_norm)
    torch.optim.SGD([parameter], lr=rate).step()
    return parameter.detach()""",
    ),
    properties=(
        Property(lambda y, w, *rest: torch.isfinite(y).all(), "A weight is infinite or NaN: no step repairs that."),
    ),
    twin=step_twin,
)  # fmt: skip


# 09.6


def lost_twin(rng: random.Random) -> Question:
    """The smallest power of two that still moves a weight."""
    name = rng.choice(["bf16", "fp16"])
    bits, exponent = FORMATS[name][1], rng.randint(-4, 6)
    weight = 2.0**exponent * rng.choice([1.25, 1.5, 1.75])
    return Question(
        f"A weight of {weight:g} is kept in {name}, which stores {bits} digits after the leading 1. Updates smaller "
        "than which size are lost, in either direction?", 2.0 ** (exponent - bits - 1),
        f"Neighbours are 2^({exponent} − {bits}) apart, and half of that rounds back.", 0.01,
    )  # fmt: skip


def lost_cases() -> list[tuple]:
    """Both formats; ties, powers of two, zeros on either side, an update that must not be rounded before the sum."""
    near, small, moves, halves = normal(96, (3, 8), (4, 9, 2), (4, 9, 2), (5, 7))
    moves = 2e-4 * moves
    moves[0, :3] = 0.0
    tiny = 2.0**-11
    one = [1.0, 1.0, 1.0, 1.0, 1.0 + 2 * tiny, 1.0 + 2 * tiny, 2.0]
    return [
        (torch.tensor([1.0, 1.0, 1.0, 256.0, 3.0]).bfloat16(), torch.tensor([0.003, -0.003, 0.005, 0.9, 0.0])),
        (torch.tensor(one).half(), torch.tensor([tiny, 0.9 * tiny, -0.45 * tiny, -0.6 * tiny, tiny, -tiny, -tiny])),
        (torch.tensor([1.0, 1.0, 1.0, 4.0]).bfloat16(),
         torch.tensor([2.0**-8, 2.0**-8 * (1 + 2.0**-10), 2.0**-9, 2.0**-6 * (1 + 2.0**-9)])),
        ((0.02 * small).bfloat16(), moves),
        ((1 + near.abs()).half(), 7e-4 * near.flip(0)),
        (torch.tensor([[0.5, -2.0, 0.0]]).bfloat16(), torch.zeros(1, 3)),
        (torch.tensor([0.0, 0.0, -1.0, -1.0, 0.0, 3.0]).half(), torch.tensor([1e-9, 1e-7, 3e-4, -3e-4, 0.0, 0.0])),
        (torch.tensor([0.0, -1.0, -1.0]).bfloat16(), torch.tensor([1e-9, 0.0025, -0.0025])),
        (torch.tensor([100.0]).bfloat16(), torch.tensor([0.1])),
        (torch.tensor([1.0, 2.0, -8.0]).half(), torch.tensor([0.5, 0.3, 1.0])),
        (halves.bfloat16(), 0.004 * halves.flip(1)),
        (torch.zeros(0).half(), torch.zeros(0)),
    ]


STORED = "(weights.float() + updates).to(weights.dtype)"
SHARE = "lost.sum().item() / max(1, tried.sum().item())"
BY_SIZE = "At the same weight of 1, +0.003 is lost and −0.003 is not. Can any limit on the size of the update say that?"
LOST_UPDATES = Exercise(
    cases=lost_cases,
    mutants=(
        Mutant("update_rounded_first", STORED, "weights + updates.to(weights.dtype)",
               "the update is rounded to 16 bits before it is added",
               "In which format does the optimizer add, and what is rounded afterwards?"),
        Mutant("update_vanishes", "(stored == weights)", "(updates.to(weights.dtype) == 0)",
               "only updates count as lost that are zero themselves when rounded",
               "0.003 is no problem for bf16. Why is it lost at a weight of 1?"),
        Mutant("not_rounded", ".to(weights.dtype)\n", "\n",
               "the sum is compared before it is rounded back",
               "The weight is kept in 16 bits. In which format is your sum?"),
        Mutant("always_bf16", ".to(weights.dtype)", ".bfloat16()",
               "the sum is always rounded to bf16",
               "Which formats may the weights have?"),
        Mutant("always_fp16", ".to(weights.dtype)", ".half()",
               "the sum is always rounded to fp16",
               "Which formats may the weights have?"),
        Mutant("zero_is_lost", "lost = tried & (stored == weights)", "lost = stored == weights",
               "updates of zero count as lost, although they are not counted as updates",
               "What was there to lose in an update of zero?"),
        Mutant("of_all_lost", SHARE, "(stored == weights).float().mean().item()",
               "updates of zero count as lost and as updates",
               "What was there to lose in an update of zero?"),
        Mutant("of_all_lost_or_0", SHARE, "(stored == weights).sum().item() / max(1, weights.numel())",
               "updates of zero count as lost and as updates",
               "What was there to lose in an update of zero?"),
        Mutant("of_all", "max(1, tried.sum().item())", "max(1, tried.numel())",
               "the share is of all updates, those of zero among them",
               "Of the updates that are not zero, how many are there?"),
        Mutant("of_all_mean", SHARE, "lost.float().mean().item()",
               "the share is of all updates, and of no updates at all it is NaN",
               "Of the updates that are not zero, how many are there?"),
        Mutant("kept", "(stored == weights)", "(stored != weights)",
               "the updates that arrive are counted, not those that are lost",
               "What does a sum that differs from the weight say about the update?"),
        Mutant("count", SHARE, "lost.sum().item()",
               "the lost updates are counted, and not divided by anything",
               "May the result be larger than 1?"),
        Mutant("divided_by_zero", SHARE, "(lost.sum() / tried.sum()).item()",
               "zero is divided by zero where no update was tried",
               "What should come out when all updates are zero?"),
        Mutant("divided_by_zero_mean", SHARE, "(stored == weights)[tried].float().mean().item()",
               "zero is divided by zero where no update was tried",
               "What should come out when all updates are zero?"),
        Mutant("divided_by_zero_raises", SHARE, "lost.sum().item() / tried.sum().item()",
               "Python divides by zero where no update was tried",
               "What should come out when all updates are zero?"),
        Mutant("subtracted", "+ updates", "- updates",
               "the update is subtracted",
               "Is the update to be added or subtracted, and does it matter at a power of two?"),
        Mutant("isclose", "(stored == weights)", "torch.isclose(stored.float(), weights.float())",
               "nearly equal weights count as equal",
               "Two neighbours in fp16 near 3: may they be called close, if the question is whether a weight moved?"),
        Mutant("isclose_wide", "(stored == weights)", "torch.isclose(stored, weights, rtol=1e-2)",
               "nearly equal weights count as equal",
               "Two neighbours in fp16 near 3: may they be called close, if the question is whether a weight moved?"),
        Mutant("relative_limit", "(stored == weights)", "(updates.abs() < weights.float().abs() / 256)",
               "an update counts as lost when it is smaller than a fixed part of the weight", BY_SIZE),
        Mutant("relative_limit_128", "(stored == weights)", "(updates.abs() < weights.float().abs() / 128)",
               "an update counts as lost when it is smaller than a fixed part of the weight", BY_SIZE),
        Mutant("relative_limit_format", "(stored == weights)",
               "(updates.abs() < weights.float().abs() * torch.finfo(weights.dtype).eps / 2)",
               "an update counts as lost when it is smaller than a fixed part of the weight", BY_SIZE),
        Mutant("relative_limit_eps", "(stored == weights)",
               "(updates.abs() < weights.float().abs() * torch.finfo(weights.dtype).eps)",
               "an update counts as lost when it is smaller than a fixed part of the weight", BY_SIZE),
        Mutant("absolute_limit", "(stored == weights)", "(updates.abs() < torch.finfo(weights.dtype).eps)",
               "an update counts as lost when it is smaller than the distance of neighbours at 1",
               "Is an update of 0.001 lost at a weight of 0.01?"),
        Mutant("smallest", "(stored == weights)", "(updates.abs() < torch.finfo(weights.dtype).tiny)",
               "an update counts as lost when it is smaller than the format's smallest normal number",
               "0.003 is no problem for bf16. Why is it lost at a weight of 1?"),
        Mutant("half_spacing", "(stored == weights)",
               "(updates.abs() <= 2.0 ** (weights.float().abs().log2().floor()) "
               "* torch.finfo(weights.dtype).eps / 2)",
               "half of the distance upwards is taken for the limit in both directions", BY_SIZE),
        Mutant("half_spacing_strict", "(stored == weights)",
               "(updates.abs() < 2.0 ** (weights.float().abs().log2().floor()) "
               "* torch.finfo(weights.dtype).eps / 2)",
               "half of the distance upwards is taken for the limit in both directions", BY_SIZE),
        Mutant("spacing", "(stored == weights)",
               "(updates.abs() < 2.0 ** (weights.float().abs().log2().floor()) "
               "* torch.finfo(weights.dtype).eps)",
               "an update counts as lost when it is smaller than the whole distance to the next number",
               "Where does 1 + ¾ of a step go, when it is rounded to the nearest?"),
        *(Mutant(f"ties_{name}", STORED + "\n    tried = updates != 0\n    lost = tried & (stored == weights)",
                 "weights.float()\n    tried = updates != 0\n"
                 "    both = [torch.full_like(weights, s * math.inf) for s in (1, -1)]\n"
                 "    ends = [torch.nextafter(weights, end).float() for end in both]\n"
                 "    limit = (torch.where(updates > 0, *ends) - stored).abs() / 2\n"
                 f"    lost = tried & (updates.abs() {sign} limit)",
                 f"every update of exactly half the distance counts as {name}",
                 "Half-way between two neighbours: which of them does rounding choose, and is it always the same side?")
          for name, sign in (("lost", "<="), ("kept", "<"))),
        Mutant("truncated", STORED,
               "((weights.float() + updates).view(torch.int32) & (-65536 if weights.dtype == torch.bfloat16 "
               "else -8192)).view(torch.float32).to(weights.dtype)",
               "digits are cut off instead of rounded",
               "Where does 1 + ¾ of a step go, when it is rounded to the nearest?"),
        Mutant("in_place", STORED, "weights.add_(updates)",
               "the sum is written over the weights, and then compared with itself",
               "After the addition, what is left to compare with?"),
        Mutant("percent", "return lost", "return 100 * lost",
               "the share is given in per cent",
               "May the result be larger than 1?"),
        Mutant("by_size", SHARE, "(updates.abs() * lost).sum().item() / max(1e-30, updates.abs().sum().item())",
               "each update counts by its size",
               "Of four updates one is lost, a small one. Which share is that?"),
        Mutant("per_row", SHARE, "(lost.sum(-1) / tried.sum(-1).clamp(min=1)).mean().item()",
               "the shares of rows are averaged, whatever their number of updates",
               "A row without an update that is not zero: how much should it count?"),
        Mutant("mask", "return " + SHARE, "return lost",
               "it is said for each update whether it is lost",
               "How many numbers should come back?"),
        Mutant("tensor_mean", "return " + SHARE, "return int(" + SHARE + ")",
               "the share is cut to a whole number",
               "What is `int(0.5)`?"),
        Mutant("any", "return " + SHARE, "return float(lost.any())",
               "it is said whether any update is lost",
               "How many of how many are lost?"),
        Mutant("positive_only", "updates != 0", "updates > 0",
               "only updates upwards are counted",
               "Is an update of −0.003 zero?"),
        Mutant("compared_with_sum", "(stored == weights)", "(stored.float() != weights.float() + updates)",
               "every update counts as lost that does not arrive exactly",
               "1 + 0.005 becomes 1.0078. Has the weight moved?"),
    ),
    variants=("""\
def lost_updates(weights, updates):
    lost = tried = 0
    for w, u in zip(weights.flatten(), updates.flatten()):
        if u != 0:
            tried += 1
            lost += int((w.float() + u).to(w.dtype) == w)
    return lost / tried if tried else 0.0""", """\
def lost_updates(weights, updates):
    chosen = updates != 0
    if not chosen.any():
        return 0
    before = weights[chosen]
    after = torch.add(before, updates[chosen]).type_as(before)
    return torch.eq(before, after).double().mean().item()""", """\
def lost_updates(weights, updates):
    new = weights.clone()
    new.copy_(weights.to(torch.float32) + updates)
    moved, tried = torch.count_nonzero(new - weights), torch.count_nonzero(updates)
    return 0.0 if tried == 0 else (1 - moved / tried).item()""",
    ),
    properties=(Property(lambda y, w, u: 0 <= y <= 1, "A share lies between 0 and 1."),),
    twin=lost_twin,
)  # fmt: skip


# 09.7


def stochastic_twin(rng: random.Random) -> Question:
    """How often a number is rounded up, or where its mean lies."""
    low, gap, part = rng.randint(1, 30), rng.choice([2, 4, 8]), rng.choice([0.125, 0.25, 0.375, 0.625, 0.75])
    if rng.random() < 0.5:
        return Question(
            f"x = {low + part * gap:g} is rounded stochastically to {low} or {low + gap}. How probable is {low + gap}?",
            part, f"It is the share of the way from {low}: {part * gap:g} of {gap}.", 0.001,
        )  # fmt: skip
    draws = 8 * rng.randint(2, 60)
    return Question(
        f"x = {low + part * gap:g} is rounded stochastically to {low} or {low + gap}, {draws} times. How often is "
        f"{low} to be expected?", (1 - part) * draws,
        f"{low + gap} has the probability {part:g}, and {low} the rest.", 0.001,
    )  # fmt: skip


def stochastic_cases() -> list[tuple]:
    """Numbers of the format and others, of both signs and of every size; u well away from the share, or zero."""
    g = torch.Generator().manual_seed(97)
    low = torch.randint(-40, 40, (3, 5, 2), generator=g).float()
    gap = 2.0 ** torch.randint(-3, 3, (3, 5, 2), generator=g)
    share = torch.tensor([0.0, 0.125, 0.25, 0.75, 0.875, 1.0])[torch.randint(6, (3, 5, 2), generator=g)]
    u = (torch.randint(10, (3, 5, 2), generator=g) / 10 + 0.03).float()
    tiny = 2.0**-24  # the distance of fp16's smallest numbers
    tensor = torch.tensor
    return [
        (torch.full((4,), 0.25), torch.zeros(4), torch.ones(4), tensor([0.1, 0.3, 0.6, 0.9])),
        (torch.full((4,), 5.0), torch.full((4,), 5.0), torch.full((4,), 5.0), tensor([0.1, 0.3, 0.6, 0.9])),
        (low + share * gap, low, low + gap, u),
        (tiny * tensor([3.95, 7.05, 2.0, 0.5]), tiny * tensor([3.0, 7.0, 2.0, 0.0]),
         tiny * tensor([4.0, 8.0, 2.0, 1.0]), tensor([0.9, 0.02, 0.5, 0.47])),
        (tensor([-0.75, -0.25, -8.0, 1.0, 1.0]), tensor([-1.0, -1.0, -8.0, 1.0, 0.5]),
         tensor([0.0, 0.0, -8.0, 2.0, 1.0]), tensor([0.2, 0.6, 0.0, 0.0, 0.99])),
        (tensor([[8388609.0], [0.0], [-33333.0]]), tensor([[8388608.0], [0.0], [-33334.0]]),
         tensor([[8388610.0], [0.0], [-33330.0]]), tensor([[0.7], [0.0], [0.3]])),
        (tensor([10.5]), tensor([10.0]), tensor([14.0]), tensor([0.2])),
    ]


GUARD = "torch.where(gap > 0, gap, 1.0)"
UP = "torch.ceil(share - u)"
QUARTER = "x lies a quarter of the way from low to high. In how many of a hundred draws should it go up?"
DROWNED = "what was put there against the division by zero is larger than the gaps of small numbers"
SAME = "low, high and x are all 5. What is 0 / 0, and what should the result be?"
STOCHASTIC_ROUND = Exercise(
    cases=stochastic_cases,
    tolerance=0.0,
    mutants=(
        Mutant("as_it_was", "(x - low) / " + GUARD, "(high - x) / (high - low)",
               "both mistakes are still there: the probability is that of `low`, and 0 is divided by 0", QUARTER),
        Mutant("mirrored", "(x - low) / ", "(high - x) / ",
               "the probability of `low` is used for `high`", QUARTER),
        Mutant("nan", GUARD, "gap",
               "0 is divided by 0 where low and high are equal", SAME),
        Mutant("nan_to_zero", "return low + up * gap", "return torch.nan_to_num((x - low) / gap - u).ceil() * high",
               "the result is `high` or zero",
               "What should come back when it does not go up?"),
        Mutant("nan_result", "(x - low) / " + GUARD + "\n    up = torch.ceil(share - u)\n    return low + up * gap",
               "(x - low) / gap\n    up = torch.ceil(share - u)\n    return torch.nan_to_num(low + up * gap)",
               "the NaN of 0 / 0 is painted over with zero",
               "low, high and x are all 5. What should the result be?"),
        Mutant("all_stay", "share =", "if (gap == 0).any():\n        return x.clone()\n    share =",
               "a single number of the format makes all the others stay as well",
               "Two elements: 5 between 5 and 5, and 0.25 between 0 and 1. What should become of the second?"),
        Mutant("epsilon", GUARD, "(gap + 1e-8)",
               DROWNED,
               "How large is the gap between the smallest numbers of fp16, and what does your sum make of it?"),
        Mutant("epsilon_6", GUARD, "(gap + 1e-6)",
               DROWNED,
               "How large is the gap between the smallest numbers of fp16, and what does your sum make of it?"),
        Mutant("clamped", GUARD, "gap.clamp(min=1e-6)",
               DROWNED,
               "How large is the gap between the smallest numbers of fp16?"),
        Mutant("clamped_3", GUARD, "gap.clamp(min=1e-3)",
               DROWNED,
               "How large is the gap between the smallest numbers of fp16?"),
        Mutant("no_division", "(x - low) / " + GUARD, "x - low",
               "the way from `low` is not divided by the gap",
               "x = 12, between 10 and 14. How far up the way is it?"),
        Mutant("fraction_of_x", "(x - low) / " + GUARD, "x - x.floor()",
               "the digits after the point are taken for the probability, as if all neighbours were whole numbers",
               "x = 12, between 10 and 14. How far up the way is it?"),
        Mutant("relative", "(x - low) / " + GUARD, "x / torch.where(high != 0, high, 1.0)",
               "x is divided by its upper neighbour",
               "x = 12, between 10 and 14. How far up the way is it?"),
        Mutant("coin", "return low + up * gap", "return torch.where(u < 0.5, high, low)",
               "a coin is tossed, wherever x lies",
               "x lies very close to `low`. Should it go up in half of the draws?"),
        Mutant("coin_kept", "return low + up * gap", "return torch.where(x == low, x, torch.where(u < 0.5, high, low))",
               "a coin is tossed, wherever x lies between its neighbours",
               "x lies very close to `low`. Should it go up in half of the draws?"),
        Mutant("nearest", UP, "(share > 0.5).float()",
               "x goes to the nearest of its neighbours, and u is not used",
               "Where does u come in?"),
        Mutant("nearest_even", UP, "torch.round(share)",
               "x goes to the nearest of its neighbours, and u is not used",
               "Where does u come in?"),
        Mutant("up_always", UP, "torch.ceil(share)",
               "x always goes up",
               "Where does u come in?"),
        Mutant("down_always", UP, "torch.floor(share)",
               "x always goes down",
               "Where does u come in?"),
        Mutant("large_u", UP, "torch.floor(share + u)",
               "the large values of u round up: right on average, but the other way round than asked for",
               "x = 0.25 between 0 and 1: should u = 0.1 round up, or u = 0.9?"),
        Mutant("large_u_where", UP, "(u > 1 - share).float()",
               "the large values of u round up: right on average, but the other way round than asked for",
               "x = 0.25 between 0 and 1: should u = 0.1 round up, or u = 0.9?"),
        Mutant("noise", "return low + up * gap",
               "return torch.where((x + (u - 0.5) * gap) - low > gap / 2, high, low)",
               "the large values of u round up: right on average, but the other way round than asked for",
               "x = 0.25 between 0 and 1: should u = 0.1 round up, or u = 0.9?"),
        Mutant("u_above", UP, "(u > share).float()",
               "x goes up where u is larger than the share", QUARTER),
        Mutant("not_below", UP, "(u <= share).float()",
               "u = 0 moves a number of the format",
               "x is equal to `low`, and u is exactly 0. Which way does it go?"),
        Mutant("floor_plus_one", UP, "torch.floor(share - u) + 1",
               "u = 0 moves a number of the format",
               "x is equal to `low`, and u is exactly 0. Which way does it go?"),
        Mutant("not_below_nan", "(x - low) / " + GUARD + "\n    up = " + UP,
               "(x - low) / gap\n    up = (u <= share).float()",
               "u = 0 moves a number of the format",
               "x is equal to `low`, and u is exactly 0. Which way does it go?"),
        Mutant("interpolated", "up * gap", "share * gap",
               "the result is the mean over all draws, which the format does not hold",
               "Which two numbers may come back?"),
        Mutant("u_interpolated", "up * gap", "u * gap",
               "the result lies somewhere between the neighbours",
               "Which two numbers may come back?"),
        Mutant("adds_one", "return low + up * gap", "return low + up",
               "going up adds 1, whatever the gap",
               "x = 12, between 10 and 14. Where does it go when it goes up?"),
        Mutant("from_x", "return low + up * gap", "return x + up * gap",
               "the gap is added to x instead of `low`",
               "Which two numbers may come back?"),
        Mutant("share_only", "return low + up * gap", "return up",
               "it is said whether x goes up, but not where",
               "Which two numbers may come back?"),
        Mutant("swapped", "return low + up * gap", "return high - up * gap",
               "`low` and `high` have changed places in the result", QUARTER),
        Mutant("one_u", UP, "torch.ceil(share - u.flatten()[0])",
               "one random number decides for all elements",
               "How many random numbers are there for four elements?"),
        Mutant("mean_u", UP, "torch.ceil(share - u.mean())",
               "one random number decides for all elements",
               "How many random numbers are there for four elements?"),
        Mutant("own_random", UP, "torch.ceil(share - torch.rand_like(x))",
               "the function draws its own random numbers",
               "What is `u` for?"),
        Mutant("towards_zero", "(x - low) / " + GUARD,
               "torch.where(x < 0, high - x, x - low) / " + GUARD,
               "for negative numbers the way is measured from the neighbour nearer to zero",
               "x = −0.75 between −1 and 0. Which of the two is `low`, and how far is x from it?"),
        Mutant("sizes", "(x - low) / " + GUARD, "(x.abs() - low.abs()) / " + GUARD,
               "the signs are dropped",
               "x = −0.75 between −1 and 0. How far is it from `low`?"),
        Mutant("double", "return low + up * gap", "return (low + up * gap).double()",
               "the result is in float64",
               "Which dtype should come back?"),
        Mutant("in_place", "return low + up * gap", "low += up * gap\n    return low",
               "the caller's `low` is changed",
               "Who owns `low`, and what does it hold after your function?"),
    ),
    variants=("""\
def stochastic_round(x, low, high, u):
    return torch.where(u < (x - low) / (high - low), high, low)""", """\
def stochastic_round(x, low, high, u):
    return torch.where(u * (high - low) < x - low, high, low)""", """\
def stochastic_round(x, low, high, u):
    out = low.clone()
    for i in range(x.numel()):
        a, b, v = low.view(-1)[i].item(), high.view(-1)[i].item(), x.reshape(-1)[i].item()
        if b > a and u.reshape(-1)[i].item() < (v - a) / (b - a):
            out.view(-1)[i] = b
    return out""", """\
def stochastic_round(x, low, high, u):
    share = torch.nan_to_num((x - low) / (high - low), nan=0.0)
    return low + (u < share) * (high - low)""", """\
def stochastic_round(x, low, high, u):
    down = (high - x) / (high - low).clamp(min=1e-30)
    return torch.where(low == high, x, torch.where(1 - u > down, high, low))""",
    ),
    properties=(
        Property(lambda y, x, low, high, u: ((y == low) | (y == high)).all(), "A result is neither `low` nor `high`."),
        Property(lambda y, x, low, high, u: (y == x)[(x == low) | (x == high)].all(),
                 "A number of the format does not stay what it is."),
    ),
    twin=stochastic_twin,
)  # fmt: skip


# 09.8


def rows_twin(rng: random.Random) -> Question:
    """The scale of a row, or what one of its numbers becomes."""
    top = rng.choice([2.0, 4.0, 8.0, 16.0, 32.0])
    other = top / rng.choice([2, 4, 8, 16])
    shown = [-top, other] if rng.random() < 0.5 else [other, -top / 8, top]
    return Question(
        f"The row ({', '.join(f'{v:g}' for v in shown)}) is stored in e4m3, whose largest number is 448, with a scale "
        f"of its own. Which number is stored for {other:g}?", 448 * other / top,
        f"The scale is {top:g} / 448, and {other:g} divided by it is 448 · {other / top:g}.", 0.001,
    )  # fmt: skip


def rows_cases() -> list[tuple]:
    """Rows whose extreme is negative, rows of zeros, small and large rows; both formats."""
    a, b, c, d = normal(98, (5, 6), (4, 7), (6, 3), (2, 9))
    a[2] = 0.0
    a = a * torch.tensor([[1.0], [100.0], [1.0], [30.0], [3000.0]])
    a[0, 4], a[3, 1] = -5.0, -444.0
    b = 500 * b
    b[1], b[3] = -b[1].abs(), 0.0
    b[0, 2] = -3000.0
    c[4] = 0.0
    c[1] *= 1e-20
    e4m3, e5m2 = torch.float8_e4m3fn, torch.float8_e5m2
    return [
        (torch.tensor([[0.5, -1.0], [0.0, 0.0], [8960.0, 4480.0]]), e4m3),
        (a, e4m3),
        (b, e5m2),
        (torch.tensor([[2.0], [-6.0], [0.0], [1e5]]), e4m3),
        (400 * c, e5m2),
        (1e-6 * d + 1e-7, e4m3),
        (torch.tensor([[-1000.0, 3.0, 999.0]]), e5m2),
        (torch.zeros(3, 4), e4m3),
    ]


MAGNITUDE = "x.abs().amax(dim=1, keepdim=True)"
SCALES = "torch.where(magnitude > 0, magnitude / largest, 1.0)"
QUANTIZED = "return (x / scales).to(dtype), scales"
EXTREME = "A row is (−1000, 3). Which of its two numbers must still fit?"
ZEROS = "A row of zeros: what is its largest magnitude, and what is 0 divided by that?"
OWN = "A row of thousands stands above a row of thousandths. What would one scale for both do to the second?"
QUANTIZE_ROWS = Exercise(
    cases=rows_cases,
    tolerance=1e-6,
    mutants=(
        Mutant("no_abs", "x.abs().amax", "x.amax",
               "the largest number of a row decides, not the largest magnitude", EXTREME),
        Mutant("smallest", ".amax(", ".amin(",
               "the smallest magnitude of a row decides", EXTREME),
        Mutant("mean", ".amax(", ".mean(",
               "the mean magnitude of a row decides, and whatever is larger is cut off", EXTREME),
        Mutant("length", "x.abs().amax(dim=1, keepdim=True)", "x.norm(dim=1, keepdim=True)",
               "the length of the row as a vector decides, so that nothing reaches the largest number", EXTREME),
        Mutant("deviation", "x.abs().amax(dim=1, keepdim=True)", "x.std(dim=1, keepdim=True, correction=0)",
               "the standard deviation of a row decides", EXTREME),
        Mutant("range", MAGNITUDE, "(x.amax(dim=1, keepdim=True) - x.amin(dim=1, keepdim=True))",
               "the distance from a row's smallest to its largest number decides", EXTREME),
        Mutant("half_range", MAGNITUDE, "(x.amax(dim=1, keepdim=True) - x.amin(dim=1, keepdim=True)) / 2",
               "half of the distance from a row's smallest to its largest number decides", EXTREME),
        Mutant("per_tensor", MAGNITUDE, "x.abs().amax().expand(x.shape[0], 1)",
               "all rows share one scale", OWN),
        Mutant("per_tensor_scalar", MAGNITUDE, "x.abs().max()",
               "all rows share one scale, and it comes back as a single number", OWN),
        Mutant("per_column", "dim=1, keepdim=True", "dim=0, keepdim=True",
               "each column has its scale instead of each row",
               "In a matrix (R, C), along which axis do the numbers of one row lie?"),
        Mutant("no_keepdim", "dim=1, keepdim=True", "dim=1",
               "the scales have the shape (R,) and line up with the columns",
               "A shape (R, C) is divided by (R,): with which axis of the first does PyTorch line up the R numbers?"),
        Mutant("no_keepdim_used_right", "return (x / scales).to(dtype), scales",
               "return (x / scales).to(dtype), scales.squeeze(1)",
               "the scales come back without their second axis",
               "Which shape must the scales have so that `q.float() * scales` works?"),
        Mutant("zeros_nan", SCALES, "magnitude / largest",
               "a row of zeros is divided by zero", ZEROS),
        Mutant("zeros_clamped", SCALES, "(magnitude / largest).clamp(min=1e-12)",
               "a row of zeros gets a scale of zero, or nearly zero",
               "Which scale should a row of zeros have?"),
        Mutant("zeros_clamped_before", SCALES, "magnitude.clamp(min=1e-12) / largest",
               "a row of zeros gets a scale of zero, or nearly zero",
               "Which scale should a row of zeros have?"),
        Mutant("zeros_epsilon", SCALES, "magnitude / largest + 1e-8",
               "a small number is added to every scale",
               "Which scale should a row of zeros have, and what does the sum do to a row of very small numbers?"),
        Mutant("zeros_scale_zero", QUANTIZED, "return (x / scales).to(dtype), magnitude / largest",
               "a row of zeros gets a scale of zero, or nearly zero",
               "Which scale should a row of zeros have?"),
        Mutant("zeros_painted", SCALES + "\n    return (x / scales).to(dtype), scales",
               "magnitude / largest\n    return torch.nan_to_num(x / scales).to(dtype), scales",
               "a row of zeros gets a scale of zero, or nearly zero",
               "Which scale should a row of zeros have?"),
        Mutant("zeros_and_small", SCALES, "torch.where(magnitude > 1e-8, magnitude / largest, 1.0)",
               "rows of very small numbers are treated like rows of zeros",
               "A row whose largest number is 1e-20: does it hold nothing?"),
        Mutant("at_least_one", SCALES, "(magnitude / largest).clamp(min=1.0)",
               "rows that fit already are not scaled up",
               "A row of numbers near 0.001: how many of the format's steps does it get without a scale?"),
        Mutant("inverse", QUANTIZED, "return (x / scales).to(dtype), 1 / scales",
               "the factor of the way there comes back instead of the way back",
               "By what must q be multiplied to come back to x?"),
        Mutant("multiplied", "x / scales", "x * scales",
               "x is multiplied by the scale instead of divided",
               "A row with the largest magnitude 8960 has the scale 20. What must 8960 become?"),
        Mutant("upside_down", "magnitude / largest", "largest / magnitude",
               "the scale is the largest number divided by the magnitude, and x is divided by that",
               "A row with the largest magnitude 8960: is its scale 20, or 1/20?"),
        Mutant("not_divided", SCALES, "torch.where(magnitude > 0, magnitude, 1.0)",
               "the rows are scaled to 1 instead of the format's largest number",
               "What should the largest entry of a row become?"),
        Mutant("e4m3_always", "(x / scales)", "(x / scales * largest / 448)",
               "the rows are scaled to 448, whatever the format",
               "What is the largest number of e5m2?"),
        Mutant("constant_448", SCALES, "torch.where(magnitude > 0, magnitude / 448, 1.0)",
               "448 is taken for the largest number of every format",
               "What is the largest number of e5m2?"),
        Mutant("constant_240", SCALES,
               "torch.where(magnitude > 0, magnitude / min(largest, 240.0 if largest < 500 else largest), 1.0)",
               "240 is taken for the largest number of e4m3",
               "What does the first line of the function say that it is?"),
        Mutant("half_way", SCALES, "torch.where(magnitude > 0, 2 * magnitude / largest, 1.0)",
               "half of the format's range stays empty",
               "What should the largest entry of a row become?"),
        Mutant("power_of_two", SCALES,
               "torch.where(magnitude > 0, 2.0 ** (magnitude / largest).log2().ceil(), 1.0)",
               "the scales are rounded to powers of two",
               "What should the largest entry of a row become?"),
        Mutant("whole", "(x / scales).to(dtype)", "(x / scales).round().to(dtype)",
               "the numbers are rounded to whole ones before they are converted",
               "Does a floating-point format have numbers between 0 and 1?"),
        Mutant("not_converted", ".to(dtype), scales", ", scales",
               "the numbers are scaled but not converted",
               "Which dtype should q have?"),
        Mutant("converted_and_back", ".to(dtype), scales", ".to(dtype).float(), scales",
               "q comes back in float32",
               "Which dtype should q have, and how many bytes does it take?"),
        Mutant("converted_first", "(x / scales).to(dtype)", "(x.to(dtype).float() / scales).to(dtype)",
               "the numbers are converted before they are scaled",
               "What becomes of 8960 in a format that ends at 448?"),
        Mutant("scaled_back", "(x / scales).to(dtype), scales", "(x / scales).to(dtype).float() * scales, scales",
               "q has been multiplied by the scales again",
               "What is to be stored, x or q?"),
        Mutant("magnitudes", "(x / scales)", "(x.abs() / scales)",
               "the signs are lost",
               "What should a negative entry become?"),
        Mutant("swapped", QUANTIZED, "return scales, (x / scales).to(dtype)",
               "the two results come in the wrong order",
               "Which of the two should come first?"),
        Mutant("only_q", QUANTIZED, "return (x / scales).to(dtype)",
               "the scales are not returned",
               "How would anyone get back to x?"),
        Mutant("magnitude_returned", QUANTIZED, "return (x / scales).to(dtype), magnitude",
               "the magnitudes come back instead of the scales",
               "By what must q be multiplied to come back to x?"),
        Mutant("scales_rounded", QUANTIZED, "return (x / scales).to(dtype), scales.to(dtype)",
               "the scales are in fp8 too",
               "Which dtype should the scales have?"),
        Mutant("in_place", QUANTIZED, "x /= scales\n    return x.to(dtype), scales",
               "the caller's matrix is changed",
               "Who owns `x`, and what does it hold after your function?"),
        Mutant("first_row", MAGNITUDE, "x[:1].abs().amax(dim=1, keepdim=True).expand(x.shape[0], 1)",
               "the first row's scale is used for all rows", OWN),
    ),
    variants=("""\
def quantize_rows(x, dtype):
    largest = torch.finfo(dtype).max
    scales = torch.ones(x.shape[0], 1)
    q = torch.zeros(x.shape)
    for r, row in enumerate(x):
        top = max(abs(v) for v in row.tolist())
        if top > 0:
            scales[r, 0] = top / largest
            q[r] = row / scales[r, 0]
    return q.to(dtype), scales""", """\
def quantize_rows(x, dtype):
    largest = torch.finfo(dtype).max
    scales = torch.linalg.vector_norm(x, ord=math.inf, dim=-1, keepdim=True) / largest
    scales[scales == 0] = 1
    return x.div(scales).clamp(-largest, largest).to(dtype), scales""", """\
def quantize_rows(x, dtype):
    largest = torch.finfo(dtype).max
    top = torch.maximum(x.max(1).values, -x.min(1).values).unsqueeze(1)
    top = top + largest * (top == 0)
    return (x * (largest / top)).to(dtype), top / largest""",
    ),
    properties=(
        Property(lambda y, x, dtype: torch.isfinite(y[0].float()).all(), "A stored number is infinite or NaN."),
        Property(lambda y, x, dtype: (y[1] > 0).all(), "A scale is not positive."),
    ),
    twin=rows_twin,
)  # fmt: skip


# 09.9


def product_twin(rng: random.Random) -> Question:
    """The product of two numbers, each a bit off what bf16 holds."""
    a, b = 256 + 2 * rng.randint(0, 30) + 1, 256 + 2 * rng.randint(0, 30) + 1
    kept = [int(torch.tensor(float(n)).bfloat16()) for n in (a, b)]
    rest = [a - kept[0], b - kept[1]]
    return Question(
        f"bf16 rounds {a} to {kept[0]} and {b} to {kept[1]}. What do the three larger of the four partial products of "
        f"{a} · {b} add up to?", kept[0] * kept[1] + kept[0] * rest[1] + rest[0] * kept[1],
        f"It is {a * b} less the smallest one, {rest[0]} · {rest[1]}.",
    )  # fmt: skip


def product_cases() -> list[tuple]:
    """Whole numbers and simple fractions: float32 adds them without an error, in whatever order."""
    g = torch.Generator().manual_seed(99)

    def whole(high, *shape):
        return torch.randint(-high, high + 1, shape, generator=g).float()

    zeros = whole(1000, 6, 2)
    zeros[1:4] = 0.0
    return [
        (torch.tensor([[257.0]]), torch.tensor([[259.0]])),
        (whole(1000, 3, 5), whole(1000, 5, 4)),
        (whole(1000, 2, 9) / 64, whole(1000, 9, 3) / 4),
        (whole(4000, 4, 1), whole(4000, 1, 2)),
        (whole(250, 5, 3), whole(1000, 3, 2)),
        (whole(1000, 1, 8), whole(250, 8, 6)),
        (zeros, whole(1000, 2, 7)),
        (whole(200, 2, 4), whole(200, 4, 3)),
    ]


def on_the_chip(function, a, b):
    """Call the learner's function with a `multiply` that counts."""
    calls = 0

    def multiply(a, b):
        nonlocal calls
        calls += 1
        if calls > 3:
            raise RuntimeError("multiply was called a fourth time, and three calls must do")
        return a.bfloat16().float() @ b.bfloat16().float()

    result = function(a, b, multiply)
    if calls == 0:
        raise RuntimeError("multiply was never called, and there is no other way to multiply matrices on this chip")
    return result


A_REST, B_REST = "a - a.bfloat16().float()", "b - b.bfloat16().float()"
SUM = "multiply(a, b) + (multiply(a, b_rest) + multiply(a_rest, b))"
FOURTH = "A sum of two times a sum of two is four products. Which is the smallest, and which two are in the middle?"
ONE_CALL = "257 becomes 256, so that 1 is lost. In which line does this 1 come into your sum?"
ACCURATE_PRODUCT = Exercise(
    cases=product_cases,
    use=on_the_chip,
    tolerance=1e-8,
    mutants=(
        Mutant("one_call", SUM, "multiply(a, b)",
               "what bf16 cuts off never comes into the sum", ONE_CALL),
        Mutant("rest_of_rounded", "", """\
def accurate_product(a, b, multiply):
    a, b = a.bfloat16().float(), b.bfloat16().float()
    a_rest, b_rest = a - a.bfloat16().float(), b - b.bfloat16().float()
    return multiply(a, b) + multiply(a, b_rest) + multiply(a_rest, b)""",
               "what bf16 cuts off never comes into the sum", ONE_CALL),
        Mutant("only_a", SUM, "multiply(a, b) + multiply(a_rest, b)",
               "only what is cut off from `a` comes into the sum", FOURTH),
        Mutant("only_b", SUM, "multiply(a, b) + multiply(a, b_rest)",
               "only what is cut off from `b` comes into the sum", FOURTH),
        Mutant("smallest", SUM, "multiply(a, b) + multiply(a_rest, b_rest)",
               "the smallest of the four products is added, and the two in the middle are not", FOURTH),
        Mutant("a_and_smallest", SUM, "multiply(a, b) + (multiply(a_rest, b_rest) + multiply(a_rest, b))",
               "the smallest of the four products is added in place of one in the middle", FOURTH),
        Mutant("b_and_smallest", SUM, "multiply(a, b) + (multiply(a, b_rest) + multiply(a_rest, b_rest))",
               "the smallest of the four products is added in place of one in the middle", FOURTH),
        Mutant("no_large", SUM, "multiply(a, b_rest) + multiply(a_rest, b)",
               "the largest of the four products is missing", FOURTH),
        Mutant("all_four", SUM, SUM + " + multiply(a_rest, b_rest)",
               "all four products are computed", FOURTH),
        Mutant("not_on_the_chip", SUM, "a @ b",
               "the product is computed in float32, without the chip",
               "Which is the only way to multiply matrices that this chip has?"),
        Mutant("beside_the_chip", SUM, "multiply(a, b) * 0 + a @ b",
               "the product is exact, as three calls cannot make it",
               "Which is the only way to multiply matrices that this chip has?"),
        Mutant("rest_negative", "", """\
def accurate_product(a, b, multiply):
    a_rest = a.bfloat16().float() - a
    b_rest = b.bfloat16().float() - b
    return multiply(a, b) + (multiply(a, b_rest) + multiply(a_rest, b))""",
               "the rests have the wrong sign",
               "257 = 256 + 1. Is the rest 1, or −1?"),
        Mutant("subtracted", "multiply(a, b) + (", "multiply(a, b) - (",
               "the rests have the wrong sign",
               "257 = 256 + 1. Is the rest 1, or −1?"),
        Mutant("one_subtracted", "(multiply(a, b_rest) + multiply(a_rest, b))",
               "(multiply(a, b_rest) - multiply(a_rest, b))",
               "one of the two products in the middle is subtracted",
               "257 · 259 = (256 + 1) · (260 − 1). Which signs do the four products get?"),
        Mutant("sizes_of_rests", "", """\
def accurate_product(a, b, multiply):
    a_rest = (a - a.bfloat16().float()).abs()
    b_rest = (b - b.bfloat16().float()).abs()
    return multiply(a, b) + (multiply(a, b_rest) + multiply(a_rest, b))""",
               "the signs of the rests are lost",
               "259 becomes 260. What is the rest?"),
        Mutant("three_parts", "", """\
def accurate_product(a, b, multiply):
    rest = a - a.bfloat16().float()
    more = rest - rest.bfloat16().float()
    return multiply(a, b) + multiply(rest, b) + multiply(more, b)""",
               "only what is cut off from `a` comes into the sum", FOURTH),
        Mutant("rests_swapped", "multiply(a, b_rest) + multiply(a_rest, b)",
               "multiply(a, b - b_rest) + multiply(a - a_rest, b)",
               "the large parts are multiplied three times",
               "Which part of 257 has not yet been multiplied after the first call?"),
        Mutant("mean", "return " + SUM,
               "return (" + SUM + ") / 3",
               "the three products are averaged instead of added",
               "47 · 36 is 40 · 30 and more. Are its parts added or averaged?"),
        Mutant("fp16", "", """\
def accurate_product(a, b, multiply):
    a_rest = a - a.half().float()
    b_rest = b - b.half().float()
    return multiply(a, b) + (multiply(a, b_rest) + multiply(a_rest, b))""",
               "the rest is what fp16 cuts off, while `multiply` rounds to bf16",
               "How many digits does bf16 keep, and how many does fp16?"),
        Mutant("cut_off", "", """\
def accurate_product(a, b, multiply):
    a_high = (a.contiguous().view(torch.int32) & -65536).view(torch.float32)
    b_high = (b.contiguous().view(torch.int32) & -65536).view(torch.float32)
    return multiply(a_high, b_high) + (multiply(a_high, b - b_high) + multiply(a - a_high, b_high))""",
               "the digits are cut off instead of rounded, so that the rests are up to twice as large",
               "259 lies between 258 and 260. Which of them leaves the smaller rest, and which when bits are cut off?"),
        Mutant("cut_off_mixed", "", """\
def accurate_product(a, b, multiply):
    a_rest = a - (a.contiguous().view(torch.int32) & -65536).view(torch.float32)
    b_rest = b - (b.contiguous().view(torch.int32) & -65536).view(torch.float32)
    return multiply(a, b) + (multiply(a, b_rest) + multiply(a_rest, b))""",
               "the rest is what is left when digits are cut off, while `multiply` rounds",
               "What does `multiply` make of 259, and what is missing then?"),
        Mutant("rest_scaled", "multiply(a_rest, b)", "256 * multiply(a_rest, b)",
               "the rest of `a` is scaled up, and never scaled back",
               "bf16 has room for small numbers. Does a small rest need a scale?"),
        Mutant("doubled", "multiply(a_rest, b)", "2 * multiply(a_rest, b)",
               "one of the two products in the middle counts twice", FOURTH),
        Mutant("same_twice", "multiply(a_rest, b))", "multiply(a, b_rest))",
               "one of the two products in the middle counts twice, and the other is missing", FOURTH),
        Mutant("relative_rest", "", """\
def accurate_product(a, b, multiply):
    a_rest = (a - a.bfloat16().float()) / torch.where(a != 0, a, 1.0)
    b_rest = (b - b.bfloat16().float()) / torch.where(b != 0, b, 1.0)
    return multiply(a, b) + (multiply(a, b_rest) + multiply(a_rest, b))""",
               "the rests are given in parts of the numbers",
               "257 = 256 + something. What is the something?"),
        Mutant("rest_of_result", "", """\
def accurate_product(a, b, multiply):
    product = multiply(a, b)
    return product + (product - product.bfloat16().float())""",
               "the rest of the result is added, not those of the operands",
               "What is rounded on this chip, the operands or the result?"),
        Mutant("rounded_result", "return " + SUM,
               "return (" + SUM + ").bfloat16().float()",
               "the sum is rounded to bf16 in the end",
               "How many digits may the result have?"),
        Mutant("half_result", "return " + SUM, "return (" + SUM + ").bfloat16()",
               "the result is in bf16",
               "Which dtype should come back?"),
        Mutant("sum_in_bf16", SUM,
               "(multiply(a, b).bfloat16() + (multiply(a, b_rest) + multiply(a_rest, b)).bfloat16()).float()",
               "the products are added in bf16",
               "Sums in float32 cost nothing. What does one in bf16 cost?"),
        Mutant("average_of_roundings", SUM, "(multiply(a, b) + multiply(a + a_rest, b + b_rest)) / 2",
               "two roundings of the same product are averaged",
               "Which part of 257 has not yet been multiplied after the first call?"),
        Mutant("split_rows", "", """\
def accurate_product(a, b, multiply):
    k = max(1, a.shape[1] // 2)
    return multiply(a[:, :k], b[:k]) + multiply(a[:, k:], b[k:])""",
               "what bf16 cuts off never comes into the sum", ONE_CALL),
        Mutant("both_rests_at_once", SUM, "multiply(a, b) + multiply(a + a_rest, b_rest) + multiply(a_rest, b + b_rest)"
               " - a_rest.sum() * 0 + a_rest @ b_rest",
               "the fourth product comes in beside the chip",
               "Which is the only way to multiply matrices that this chip has?"),
        Mutant("in_place", "", """\
def accurate_product(a, b, multiply):
    product = multiply(a, b)
    a_high, b_high = a.bfloat16().float(), b.bfloat16().float()
    a -= a_high
    b -= b_high
    return product + (multiply(a_high, b) + multiply(a, b_high))""",
               "the caller's matrices are changed",
               "Who owns `a` and `b`, and what do they hold after your function?"),
    ),
    variants=("""\
def accurate_product(a, b, multiply):
    A, B = a.bfloat16().float(), b.bfloat16().float()
    return multiply(A, B) + multiply(A, b - B) + multiply(a - A, B)""", """\
def accurate_product(a, b, multiply):
    A, B = a.to(torch.bfloat16), b.to(torch.bfloat16)
    small = multiply(a - A, B) + multiply(A, b - B)
    return small + multiply(A, B)""", """\
def accurate_product(a, b, multiply):
    high, low = zip(*((t.bfloat16().float(), t - t.bfloat16().float()) for t in (a, b)))
    left = torch.cat([high[0], high[0], low[0]], dim=1)
    right = torch.cat([high[1], low[1], high[1]], dim=0)
    return multiply(left, right)""", """\
def accurate_product(a, b, multiply):
    parts = {}
    for name, t in (("a", a), ("b", b)):
        parts[name] = t.bfloat16().float()
        parts[name + "_low"] = t - parts[name]
    total = torch.zeros(a.shape[0], b.shape[1])
    for left, right in (("a", "b_low"), ("a_low", "b"), ("a", "b")):
        total = total + multiply(parts[left], parts[right])
    return total""", """\
def accurate_product(a, b, multiply):
    low = b - b.bfloat16().float()
    two = multiply(a, torch.cat([b, low], dim=1))
    more = multiply(a - a.bfloat16().float(), b)
    return two[:, : b.shape[1]] + two[:, b.shape[1] :] + more""",
    ),
    twin=product_twin,
)  # fmt: skip


EXERCISES = {
    "spacing": SPACING,
    "decode": DECODE,
    "limits": LIMITS,
    "grad_scaler": GRAD_SCALER,
    "scaled_step": SCALED_STEP,
    "lost_updates": LOST_UPDATES,
    "stochastic_round": STOCHASTIC_ROUND,
    "quantize_rows": QUANTIZE_ROWS,
    "accurate_product": ACCURATE_PRODUCT,
}


def counter_stops(rng: random.Random) -> Question:
    name, step = rng.choice(list(FORMATS)[:5]), 2.0 ** rng.randint(-6, 4)
    bits = FORMATS[name][1]
    return Question(
        f"You start at 0 and add {step:g} again and again in {name}, which stores {bits} digits after the leading 1. "
        "At which number does the sum stop growing?", step * 2 ** (bits + 1),
        f"Where neighbours are twice {step:g} apart, the sum is a tie and rounds to the even one: 2^{bits + 1} steps.",
        0.001,
    )  # fmt: skip


def vanishes(rng: random.Random) -> Question:
    exponent, scale = -rng.randint(18, 34), rng.randint(0, 14)
    left = exponent + scale >= -24
    return Question(
        f"A gradient of 2^({exponent}) is computed in fp16 with a loss scale of 2^{scale}. The smallest subnormal "
        "number of fp16 is 2^(−24). Does it vanish? (yes or no)", "no" if left else "yes",
        f"Scaled, it is 2^({exponent + scale}), which fp16 {'holds' if left else 'rounds to zero'}.",
    )  # fmt: skip


def bytes_of_mixed(rng: random.Random) -> Question:
    millions, master = rng.randint(10, 900), rng.random() < 0.5
    each = 2 + 2 + 8 + (4 if master else 0)
    return Question(
        f"{millions} million parameters: weights and gradients in bf16, AdamW's two means in float32, "
        f"{'and' if master else 'without'} float32 master weights. How many million bytes is that without the "
        "activations?",
        millions * each, f"2 + 2 + 8{' + 4' if master else ''} = {each} bytes for each parameter.", 0.001,
    )  # fmt: skip


def larger_range(rng: random.Random) -> Question:
    """Two formats by name: which has the larger range, or more digits?"""
    first, second = rng.sample(["bf16", "fp16", "e4m3", "tf32"], 2)
    asked, index = rng.choice([("the larger range", 0), ("more digits", 1)])
    a, b = FORMATS[first][index], FORMATS[second][index]
    best = "neither" if a == b else first if a > b else second
    return Question(
        f"Which of the two has {asked}: {first} or {second}? (its name, or: neither)", best,
        f"{first} has {FORMATS[first][0]} exponent and {FORMATS[first][1]} significand bits, "
        f"{second} {FORMATS[second][0]} and {FORMATS[second][1]}.",
    )  # fmt: skip


def scale_after(rng: random.Random) -> Question:
    power, skipped, interval = rng.randint(10, 16), rng.randint(1, 4), rng.choice([100, 500, 1000, 2000])
    rows = rng.randint(1, 5)
    return Question(
        f"A loss scaler with factors 2 and ½ and a growth interval of {interval} stands at 2^{power}. It skips "
        f"{skipped} steps in a row, then takes {rows * interval + interval // 2} clean ones. The scale is now "
        "2 to which power?",
        power - skipped + rows,
        f"{skipped} halvings, then one doubling for each full row of {interval} clean steps: {rows}.",
    )  # fmt: skip


RECALL = (counter_stops, vanishes, bytes_of_mixed, larger_range, scale_after)
def bf16_walk(steps: int, update: float) -> float:
    """What a weight of 1 is after so many equal updates, when it is kept in bf16."""
    weight = torch.ones((), dtype=torch.bfloat16)
    for _ in range(steps):
        weight = weight + update
    return float(weight)


def fp16_count(steps: int) -> float:
    """The sum of so many ones, rounded to fp16 after each addition."""
    total = torch.zeros((), dtype=torch.float16)
    for _ in range(steps):
        total = total + 1
    return float(total)


def skipped_steps(steps: int, scale: float, limit: float, interval: int) -> float:
    """How many steps a loss scaler skips, if every scale from `limit` on overflows."""
    skipped = calm = 0
    for _ in range(steps):
        if scale >= limit:
            skipped, calm, scale = skipped + 1, 0, scale / 2
        else:
            calm += 1
            if calm == interval:
                calm, scale = 0, scale * 2
    return float(skipped)


PREDICTIONS = {
    "09.p1": Prediction(
        "bf16 stores 7 bits of the significand after the point. What is 1 + 1/512, rounded to bf16? (An exact number.)",
        lambda: float(torch.tensor(1 + 1 / 512).bfloat16()),
        "Above 1 the numbers of bf16 are 1/128 apart. 1/512 is a quarter of that, so the nearest one is 1 itself.",
        1e-6,
    ),
    "09.p2": Prediction(
        "Start at 0 and add 1.0 ten thousand times, in fp16, rounding after each addition. What do you get?",
        lambda: fp16_count(10_000),
        "fp16 has 11 significant bits, the leading 1 included. From 2 to the power of 11 on, its numbers are 2 apart; "
        "one more is a tie, and ties go to the even side, which is back.",
        1e-6,
    ),
    "09.p3": Prediction(
        "A loss is divided by the 2^19 tokens of a batch. Which share of the gradients that travel through the blocks "
        "of the model of lesson 00 becomes exactly 0 in fp16? (Between 0 and 1.)",
        None,
        "Undivided, a typical one is near 2^-8. Divided by 2^19 it is near 2^-27, and what is below half of fp16's "
        "smallest number, 2^-24, becomes 0.",
        0.25,
    ),
    "09.p4": Prediction(
        "A weight of 1.0, kept in bf16, gets 1,000 updates of +0.001, rounded after each. What is it at the end?",
        lambda: bf16_walk(1000, 0.001),
        "Each update is less than half the spacing above 1, which is 1/128. So each sum is rounded back to 1, a "
        "thousand times.",
        1e-6,
    ),
    "09.p5": Prediction(
        "Weights and gradients are stored in bf16, master weights and AdamW's two moments in fp32. How many bytes is "
        "that for each parameter?",
        lambda: 16.0,
        "2 + 2 for weight and gradient, 4 for the master weight, 4 + 4 for the moments. That is as much as in fp32, "
        "where there is no second copy.",
        1e-6,
    ),
    "09.p6": Prediction(
        "A loss scaler starts at 2^16, doubles after 100 calm steps in a row, and halves at an overflow. Gradients "
        "overflow whenever the scale is 2^20 or more. How many of the first 1,000 steps are skipped?",
        lambda: skipped_steps(1000, 2.0**16, 2.0**20, 100),
        "Four doublings take 400 calm steps. Then one overflow, 100 calm steps at half the scale, and so on: one "
        "skipped step in 101.",
        1e-6,
    ),
    "09.p7": Prediction(
        "One small GPT is trained in nine formats, with the loss divided by 2^19 tokens where nothing else is said: "
        "fp32; bf16; fp16; fp16, small batch; fp16, scaled; fp8; fp8, unscaled; bf16 weights; bf16 weights, "
        "stochastic. Which arm ends worst?",
        None,
        "Rounding costs little, and losing what gradients say costs all. Of two arms whose gradients underflow, look "
        "at which gradients each of them loses: in one of them also those of the head.",
    ),
    "09.p8": Prediction(
        "The run of the exhibit is broken in one place. What happens to a number on its way: overflow, underflow or "
        "swamping?",
        lambda: "overflow",
        "The scale grows until gradients are infinite in fp16, and the step is taken all the same: nobody looks "
        "whether they are finite.",
    ),
}
