"""Words as numbers: a hash of every word of a text, and of every n words in a row, by numpy and without a loop.

A word is a run of letters and digits, in lower case, so that case, punctuation and white space make no difference; a
Chinese, Japanese or Thai character is a word of its own, since those scripts put no spaces. Of equal words the hashes
are equal; of different ones they differ, but for one pair in 2**64.
"""
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

PIECE = 1 << 20
"""Characters that are looked at together: memory is about 50 bytes for each."""
OVERLAP = 400
STEP = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2**64


class Words(NamedTuple):
    """m words: their hashes (m, uint64), and where they begin and end in the text (m, int64)."""

    hashes: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


def words(text: str) -> Words:
    """Every word of a text.

    >>> found = words("To be, or not to BE.")
    >>> found.starts.tolist(), found.hashes[0] == found.hashes[4], found.hashes[1] == found.hashes[3]
    ([0, 3, 7, 10, 14, 17], np.True_, np.False_)

    A word's letters are the coefficients of a polynomial (Karp and Rabin 1987). All of them are summed up at once, over
    the whole text; a word is the difference of two sums, divided by the power at which it begins.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    letters = alphabet().take(codes, mode="clip")
    inside = np.zeros(len(codes) + 2, bool)
    np.not_equal(letters, 0, out=inside[1:-1])
    edges = np.flatnonzero(inside[1:] != inside[:-1])  # a beginning and an end in turn
    if len(codes) and codes.max() >= 0x0E00:
        alone = np.zeros(len(codes) + 2, bool)
        alone[1:-1] = letters & np.uint64(1)
        both = np.flatnonzero(inside[1:] & inside[:-1] & (alone[1:] | alone[:-1]))  # an end and a beginning
        edges = np.sort(np.concatenate([edges, both, both]))
    starts, ends = edges[::2], edges[1::2]
    power, inverse = powers(1 << max(10, len(codes).bit_length()))
    letters *= power[: len(codes)]
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(letters, out=sums[1:])
    return Words((sums[ends] - sums[starts]) * inverse[starts], starts, ends)


def ngrams(hashes: np.ndarray, n: int) -> np.ndarray:
    """Hashes of every n words in a row, shape (max(0, m - n + 1),) for m words."""
    count = max(0, len(hashes) - n + 1)
    total = hashes[:count].copy()
    for i in range(1, n):
        total *= STEP
        total += hashes[i : i + count]
    return scrambled(total)


def scrambled(x: np.ndarray) -> np.ndarray:
    """Numbers of uint64 to others, one to one, so that every bit depends on every bit (the end of SplitMix64, Steele et
    al. 2014)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x ^ (x >> np.uint64(31))


def text_pieces(text: str) -> Iterator[tuple[int, str]]:
    """(where it begins, piece) of a text. Neighbours share OVERLAP characters, so that a run of some words is whole in
    one of them; the price is a false word at an end."""
    for start in range(0, max(1, len(text) - OVERLAP), PIECE):
        yield start, text[start : start + PIECE + OVERLAP]


@cache
def alphabet() -> np.ndarray:
    """A number for each character below 0x10000: 0 if it belongs to no word; odd if it is a word of its own."""
    lower = np.zeros(1 << 16, np.uint64)
    for code in range(0xD800):
        if chr(code).isalnum():
            lower[code] = ord(chr(code).lower()[0])
    lower[0xF900:0xFB00] = np.arange(0xF900, 0xFB00)
    alone = np.zeros(1 << 16, bool)
    for first, last in ((0x0E00, 0x0EFF), (0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF)):
        alone[first : last + 1] = True
    return np.where(lower == 0, np.uint64(0), scrambled(lower + STEP) & ~np.uint64(1) | alone.astype(np.uint64))


@cache
def powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    """STEP**i and its inverse, modulo 2**64, for i below count."""
    inverse = np.uint64(pow(int(STEP), -1, 1 << 64))
    return tuple(np.cumprod(np.concatenate([[np.uint64(1)], np.full(count - 1, base)])) for base in (STEP, inverse))
