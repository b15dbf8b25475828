"""Quality of a page: rules that others have published, and a classifier trained on examples.

A rule set looks at a text and returns the name of the first rule that is broken, or None. The thresholds are the
published ones. They were made for English web pages: verse, tables and code break many of them, so filter web text.

    gopher     Rae et al. 2021, "Scaling Language Models", appendix A.1.1 and table A1 (repetition)
    c4         Raffel et al. 2020, "Exploring the Limits of Transfer Learning", section 2.2; what it does to single
               lines is `c4_lines`. Its list of bad words is left out
    fineweb    Penedo et al. 2024, "The FineWeb Datasets", section 3.6 and its published code
"""
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

import numpy as np

from .sources import Document
from .steps import Statistics, filtered
from .words import ngrams, scrambled, words

# ---- rules -----------------------------------------------------------------------------------------------------------

GOPHER_WORDS = (50, 100_000)
GOPHER_WORD_LENGTH = (3, 10)  # mean, in characters
GOPHER_SYMBOLS = 0.1  # most "#", or ellipses, a word
GOPHER_BULLETS = 0.9  # most lines that begin with a bullet
GOPHER_ELLIPSES = 0.3  # most lines that end with an ellipsis
GOPHER_ALPHABETIC = 0.8  # least words with a letter
GOPHER_STOP_WORDS = frozenset("the be to of and that have with".split())  # two of them at least
GOPHER_REPEATED = {"lines": (0.30, 0.20), "paragraphs": (0.30, 0.20)}  # most of all lines, and of their characters
GOPHER_TOP = {2: 0.20, 3: 0.18, 4: 0.16}  # most characters in the commonest n-gram
GOPHER_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}  # most characters in n-grams that came before

C4_SENTENCES = 3  # as in its code (tensorflow_datasets/text/c4_utils.py) and the final paper; a draft had 5 and 3
C4_LINE_WORDS = 5
C4_WORD_LENGTH = 1000
C4_ENDS = (".", "!", "?", '"', "'", "”", "’")  # the code knows the first four
C4_LINES_WITH = ("javascript", "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies",
                 "use cookies")  # fmt: skip

FINEWEB_PUNCTUATED = 0.12  # at most this part of the lines end with punctuation: broken
FINEWEB_SHORT = (30, 0.67)  # lines of at most so many characters; at least this part of all: broken
FINEWEB_REPEATED = 0.01  # characters in lines that came before; the code's figure, the paper has 0.1
FINEWEB_NEWLINES = 0.3  # most line ends a word


def gopher(text: str) -> str | None:
    """Does it have the statistics of prose, and does it not repeat itself?

    >>> gopher("Buy now! " * 40)
    'gopher: stop words'
    """
    if len(text) > 2 * GOPHER_WORDS[1] * GOPHER_WORD_LENGTH[1]:  # before a page of 50 MB is taken to pieces
        return "gopher: number of words"
    found, lines = text.split(), [line for line in text.split("\n") if line.strip()]
    if not GOPHER_WORDS[0] <= len(found) <= GOPHER_WORDS[1]:
        return "gopher: number of words"
    if not GOPHER_WORD_LENGTH[0] <= sum(map(len, found)) / len(found) <= GOPHER_WORD_LENGTH[1]:
        return "gopher: length of words"
    if max(text.count("#"), text.count("...") + text.count("…")) > GOPHER_SYMBOLS * len(found):
        return "gopher: symbols"
    if sum(line.lstrip().startswith(("•", "‣", "●", "*", "-")) for line in lines) > GOPHER_BULLETS * len(lines):
        return "gopher: bullets"
    if sum(line.rstrip().endswith(("...", "…")) for line in lines) > GOPHER_ELLIPSES * len(lines):
        return "gopher: ellipses"
    if sum(word[0].isalpha() or any(map(str.isalpha, word)) for word in found) < GOPHER_ALPHABETIC * len(found):
        return "gopher: words without letters"
    stop_words = (word for word in map(str.lower, found) if word in GOPHER_STOP_WORDS)
    first = next(stop_words, None)
    if all(word == first for word in stop_words):
        return "gopher: stop words"
    return repetition(text)


def repetition(text: str) -> str | None:
    """The rules of Gopher's table A1. Characters are counted in words; what is repeated counts from its second time on,
    and once where repeated n-grams overlap."""
    for name, parts in (("lines", text.split("\n")), ("paragraphs", re.split(r"\n\s*\n", text))):
        count, characters = GOPHER_REPEATED[name]
        parts = [stripped for part in parts if (stripped := part.strip())]
        again = repeated(parts)
        if len(again) > count * len(parts) or sum(map(len, again)) > characters * sum(map(len, parts)):
            return f"gopher: repeated {name}"
    hashes, starts, ends = words(text)
    ends_at = np.concatenate([[0], np.cumsum(ends - starts)])  # characters of the first i words
    times = len(hashes)  # at most, of any n-gram; then of the commonest shorter one
    for n, most in GOPHER_TOP.items():
        sizes = ends_at[n:] - ends_at[:-n]
        if times * sizes.max(initial=0) <= most * ends_at[-1]:
            continue
        found = ngrams(hashes, n)
        ordered = np.sort(found)
        edges = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
        counts = np.diff(edges)
        if (times := counts.max(initial=0)) <= 1 or not len(found):
            return None  # and longer n-grams do not repeat, either
        if times * sizes.max() > most * ends_at[-1]:
            top = np.isin(found, ordered[edges[:-1][counts == times]])
            if times * sizes[top].max() > most * ends_at[-1]:
                return f"gopher: commonest {n}-gram"
    for n, most in GOPHER_NGRAMS.items():
        found = ngrams(hashes, n)
        ordered = np.sort(found)
        if not np.any(ordered[1:] == ordered[:-1]):  # seen in half the time of the next line
            return None
        order = np.argsort(found, kind="stable")
        again = order[1:][found[order[1:]] == found[order[:-1]]]  # the second and later places of each
        depth = np.zeros(len(hashes) + 1, np.int64)
        depth[again] += 1
        depth[again + n] -= 1
        covered = (ends - starts)[np.cumsum(depth[:-1]) > 0].sum()
        if covered > most * ends_at[-1]:
            return f"gopher: repeated {n}-grams"
        if covered <= min(GOPHER_NGRAMS.values()) * ends_at[-1]:
            return None  # longer n-grams cover no more
    return None


def repeated(parts: Sequence[str]) -> list[str]:
    """The parts that came before. Example: a b a a -> a a"""
    seen: set[str] = set()
    return [part for part in parts if part in seen or seen.add(part)]


def c4_lines(text: str) -> str:
    """The lines that C4 keeps: they end like a sentence, have words, and are not about cookies or scripts."""
    lower = text.lower()
    unwanted = [part for part in C4_LINES_WITH if part in lower]

    def keep(line: str) -> bool:
        return (line.endswith(C4_ENDS) and not line.endswith("...")
                and len(line.split(None, C4_LINE_WORDS - 1)) == C4_LINE_WORDS
                and (len(line) <= C4_WORD_LENGTH or max(map(len, line.split())) <= C4_WORD_LENGTH)
                and not any(part in line.lower() for part in unwanted))

    return "\n".join(line for line in map(str.strip, text.split("\n")) if keep(line))


def c4(text: str) -> str | None:
    """Would C4 have dropped the page? Sentences are counted in the lines that it keeps."""
    if "lorem ipsum" in text.lower():
        return "c4: lorem ipsum"
    if "{" in text:
        return "c4: curly bracket"
    sentences = len(re.findall(r"[.!?][\"'”’)]*(?=\s|$)", c4_lines(text)))
    return "c4: number of sentences" if sentences < C4_SENTENCES else None


def fineweb(text: str) -> str | None:
    """The rules that FineWeb added to those of Gopher and C4: lists, menus and repeated lines."""
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    if sum(line.endswith(C4_ENDS) for line in lines) <= FINEWEB_PUNCTUATED * len(lines):
        return "fineweb: lines without punctuation"
    if sum(len(line) <= FINEWEB_SHORT[0] for line in lines) >= FINEWEB_SHORT[1] * len(lines):
        return "fineweb: short lines"
    if sum(map(len, repeated(lines))) >= FINEWEB_REPEATED * sum(map(len, lines)):
        return "fineweb: repeated lines"
    if len(lines) - 1 > FINEWEB_NEWLINES * len(text.split()):
        return "fineweb: line ends"
    return None


RULES: tuple[Callable[[str], str | None], ...] = (gopher, c4, fineweb)


def drop_bad(
    documents: Iterable[Document], statistics: Statistics, rules: Sequence[Callable[[str], str | None]] = RULES,
    weights: np.ndarray | None = None, least: float = 0.5,
) -> Iterator[Document]:  # fmt: skip
    """The documents that break no rule and, where there are the weights of a classifier, score at least `least`."""
    def judge(document: Document) -> Document | str:
        for rule in rules:
            if broken := rule(document.text):
                return broken
        low = weights is not None and quality_score(weights, document.text) < least
        return "classifier" if low else document

    return filtered(documents, judge, statistics)


# ---- classifier ------------------------------------------------------------------------------------------------------

BUCKETS = 1 << 18
READ = 5000  # characters of a page that are looked at, from its beginning


def features(text: str) -> tuple[np.ndarray, np.ndarray]:
    """(buckets, values) of a page's features, each hashed to one of BUCKETS: words, pairs of words, runs of four
    characters, and runs of six shapes, where all capitals are the same, all small letters and all digits ("Aa. 0").
    A value is 1 + ln(how often); each of the four kinds has length 1, so that long pages weigh no more."""
    text = text[:READ]
    hashes = words(text).hashes
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    shape = shapes().take(codes, mode="clip")
    kinds = (scrambled(hashes), ngrams(hashes, 2), ngrams(codes.astype(np.uint64), 4), ngrams(shape, 6))
    indices, values = [], []
    for number, kind in enumerate(kinds):
        index, count = np.unique((kind + np.uint64(number)) % np.uint64(BUCKETS), return_counts=True)
        value = 1 + np.log(count)
        indices.append(index.astype(np.int64))
        values.append(value / max(1e-9, np.linalg.norm(value)))
    return np.concatenate(indices), np.concatenate(values)


@cache
def shapes() -> np.ndarray:
    """What kind each character below 0x10000 is of: capital, small letter, digit; any other is its own kind."""
    characters = map(chr, range(1 << 16))
    return np.array([1 if c.isupper() else 2 if c.isalpha() else 3 if c.isdigit() else ord(c) + 4 for c in characters],
                    np.uint64)  # fmt: skip


def fit_quality(
    good: Iterable[str], bad: Iterable[str], epochs: int = 5, rate: float = 0.1, seed: int = 0
) -> np.ndarray:
    """Weights (BUCKETS + 1, float32) of a logistic regression that tells good pages from bad; the last is the bias.

    AdaGrad (Duchi et al. 2011), a page at a time: w ← w - rate g / sqrt(sum of g² so far), with the gradient
    g = (p - y) x of the cross-entropy. Both classes weigh the same, whatever their sizes.
    """
    rows = [(*features(text), 1.0) for text in good]
    count = len(rows)
    rows += [(*features(text), 0.0) for text in bad]
    if not 0 < count < len(rows):
        raise ValueError("a classifier needs good pages and bad ones.")
    weigh = {1.0: len(rows) / (2 * count), 0.0: len(rows) / (2 * (len(rows) - count))}
    weights, squares = np.zeros(BUCKETS + 1), np.full(BUCKETS + 1, 1e-8)
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        for i in rng.permutation(len(rows)):
            index, value, label = rows[i]
            index, value = np.append(index, BUCKETS), np.append(value, 1.0)
            gradient = weigh[label] * (sigmoid(weights[index] @ value) - label) * value
            np.add.at(squares, index, gradient**2)
            np.add.at(weights, index, -rate * gradient / np.sqrt(squares[index]))
    return weights.astype(np.float32)


def quality_score(weights: np.ndarray, text: str) -> float:
    """The probability that a page is a good one, by the classifier."""
    index, value = features(text)
    return float(sigmoid(weights[index] @ value + weights[-1]))


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
