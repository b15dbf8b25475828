r"""Duplicates: exact ones by a hash, near ones by MinHash and locality-sensitive hashing.

Two texts are as alike as their sets of shingles (runs of five words) A and B: the Jaccard similarity |A ∩ B| / |A ∪ B|.
For a random order of all shingles, the chance that A and B have the same first one is just that similarity (Broder
1997, "On the resemblance and containment of documents"). So a text is summarised by the smallest hash under each of P
orders, its signature; the share of places where two signatures agree estimates the similarity s, with a standard error
of sqrt(s(1 - s) / P). To find pairs without comparing all, the signature is cut into b bands of r numbers: pairs that
agree in a whole band become candidates, which happens with probability 1 - (1 - s**r)**b, an S-curve in s (Leskovec,
Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3). Candidates are verified by their whole signatures.

Slices of a corpus are worked on apart: `signatures` of each, `save` them, then `load` all in the order of the slices.
Memory: 4 P bytes a document (512 by default), and the texts only as they pass.
"""
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from minigpt.config import UserError
from minigpt.files import write_atomic

from .sources import Document
from .steps import Statistics, filtered
from .words import PIECE, ngrams, scrambled, text_pieces, words

SHINGLE = 5  # words
PERMUTATIONS = 128
THRESHOLD = 0.7
"""Documents at least this similar are duplicates. Changing 3 words of 100, far apart, leaves a similarity of 0.73."""
BATCH = 1 << 18  # characters whose shingles fit into a processor's cache
EMPTY = np.uint32(0xFFFFFFFF)  # the signature of a text without words


# ---- exact -----------------------------------------------------------------------------------------------------------


def fingerprint(text: str) -> bytes:
    """16 bytes that are equal for texts which differ in case and white space only."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode("utf-8", "surrogatepass")).digest()[:16]


def drop_exact(documents: Iterable[Document], statistics: Statistics) -> Iterator[Document]:
    """The documents without those whose text came before, reason "exact duplicate". Remembers 16 bytes of each."""
    seen = set()

    def judge(document: Document) -> Document | str:
        known = len(seen)
        seen.add(fingerprint(document.text))
        return document if len(seen) > known else "exact duplicate"

    return filtered(documents, judge, statistics)


# ---- similarity ------------------------------------------------------------------------------------------------------


def shingles(text: str) -> np.ndarray:
    """The set of a text's shingles as sorted hashes (uint64). A text of fewer than five words is one shingle."""
    hashes = words(text).hashes
    return np.unique(ngrams(hashes, min(SHINGLE, max(1, len(hashes)))))


def jaccard(a: str, b: str) -> float:
    """The similarity of two texts, computed exactly.

    >>> jaccard("one two three four five six", "one two three four five seven")  # 1 of 3 shingles is in both
    0.3333333333333333
    """
    first, second = shingles(a), shingles(b)
    both = len(np.intersect1d(first, second, assume_unique=True))
    return both / max(1, len(first) + len(second) - both)


def signatures(texts: Iterable[str], permutations: int = PERMUTATIONS) -> np.ndarray:
    """(texts, permutations) uint32: the MinHash of every text. What texts it is computed with changes nothing.

    An order of all shingles is a permutation h → a h modulo 2**32 of their hashes, with a odd.
    """
    factors = np.random.Generator(np.random.PCG64(1)).integers(1 << 32, size=permutations, dtype=np.uint32) | 1
    found, batch, size = [], [], 0
    for text in texts:
        if len(text) > PIECE:  # of the union of sets, the smallest is the smallest of the smallest
            parts = np.concatenate([_signatures([piece], factors) for _, piece in text_pieces(text)])
            found += [_signatures(batch, factors), parts.min(0, keepdims=True)]
            batch, size = [], 0
            continue
        batch.append(text)
        size += len(text)
        if size > BATCH:
            found.append(_signatures(batch, factors))
            batch, size = [], 0
    return np.concatenate([*found, _signatures(batch, factors)])


def _signatures(texts: Sequence[str], factors: np.ndarray) -> np.ndarray:
    result = np.full((len(texts), len(factors)), EMPTY)
    hashes, starts, _ = words("\n".join(texts))
    lengths = np.array([len(text) + 1 for text in texts], np.int64)
    first = np.searchsorted(starts, np.concatenate([[0], np.cumsum(lengths)]))  # word at which each text begins
    first, last = first[:-1], first[1:]
    total = np.zeros(len(hashes), np.uint64)
    total[: max(0, len(hashes) - SHINGLE + 1)] = ngrams(hashes, SHINGLE)
    for i in np.flatnonzero((last - first < SHINGLE) & (last > first)):
        total[first[i]] = ngrams(hashes[first[i] : last[i]], last[i] - first[i])[0]
    some = np.flatnonzero(last > first)
    if not len(some):
        return result
    # Every other segment of these is the shingles of a text; the segments between cross a border of texts.
    stops = np.maximum(last - SHINGLE + 1, first + 1)[some]
    borders = np.stack([first[some], stops], 1).ravel()
    shingle = np.append((total >> np.uint64(32)).astype(np.uint32), EMPTY)  # so that the last border is inside
    order, smallest = np.empty_like(shingle), np.empty((len(factors), len(some)), np.uint32)
    for i in range(len(factors)):
        np.multiply(shingle, factors[i], out=order)
        smallest[i] = np.minimum.reduceat(order, borders)[::2]
    result[some] = smallest.T
    return result


# ---- near duplicates -------------------------------------------------------------------------------------------------


def caught(similarity: float | np.ndarray, bands: int, rows: int) -> float | np.ndarray:
    """The probability that a pair of this similarity becomes a candidate: 1 - (1 - s**r)**b.

    >>> round(caught(0.8, bands=20, rows=5), 4)  # as in Mining of Massive Datasets, section 3.4
    0.9996
    """
    return 1 - (1 - similarity**rows) ** bands


def choose_bands(threshold: float, permutations: int = PERMUTATIONS, least: float = 0.98) -> tuple[int, int]:
    """(bands, rows): the longest bands, hence the fewest false candidates, that still catch a pair at the threshold
    with a probability of at least `least`.

    >>> choose_bands(0.7), choose_bands(0.9)
    ((25, 5), (11, 11))
    """
    rows = [r for r in range(1, permutations + 1) if caught(threshold, permutations // r, r) >= least]
    return permutations // max(rows, default=1), max(rows, default=1)


def find_duplicates(signatures: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """(n,) int64: for each of n documents the first one of its cluster, itself if it is the first or alone.

    Pairs of an estimated similarity of at least `threshold` are joined, and what is joined to the same is joined.
    In a band, each document is compared with the first and with the previous one that agree with it there.
    """
    if not 0 < threshold <= 1:
        raise UserError(f"a threshold of similarity must be above 0 and at most 1, not {threshold}.")
    count, permutations = signatures.shape
    bands, rows = choose_bands(threshold, permutations)
    first = np.arange(count)
    for band in range(bands):
        key = np.full(count, np.uint64(band))
        for column in range(band * rows, (band + 1) * rows):
            key = scrambled(key + signatures[:, column])
        order = np.argsort(key, kind="stable")
        agree = key[order[1:]] == key[order[:-1]]
        leads = np.maximum.accumulate(np.where(np.append(False, agree), 0, np.arange(count)))
        later = np.flatnonzero(agree) + 1
        for earlier in (leads[later], later - 1):
            _join(first, order[earlier], order[later], signatures, threshold)
    return first


def _join(first: np.ndarray, a: np.ndarray, b: np.ndarray, signatures: np.ndarray, threshold: float) -> None:
    """Join the clusters of a[i] and b[i] wherever these two are alike; `first` is up to date before and after."""
    for start in range(0, len(a), 1 << 14):  # few at a time, because comparing takes 8 P bytes a pair
        part = slice(start, start + (1 << 14))
        x, y = a[part][first[a[part]] != first[b[part]]], b[part][first[a[part]] != first[b[part]]]
        alike = (signatures[x] == signatures[y]).mean(1) >= threshold
        for i, j in zip(x[alike].tolist(), y[alike].tolist()):
            i, j = _root(first, i), _root(first, j)
            first[max(i, j)] = min(i, j)
    while np.any(first != (higher := first[first])):
        first[:] = higher


def _root(first: np.ndarray, i: int) -> int:
    while first[i] != i:
        first[i] = first[first[i]]
        i = first[i]
    return i


def drop_near(documents: Iterable[Document], first: np.ndarray, statistics: Statistics) -> Iterator[Document]:
    """The documents that are first of their clusters; `first` is of these documents, in this order."""
    position = iter(range(len(first)))

    def judge(document: Document) -> Document | str:
        i = next(position, None)
        if i is None:
            raise ValueError(f"there are more documents than the {len(first)} that were compared.")
        return document if first[i] == i else "near duplicate"

    return filtered(documents, judge, statistics)


def deduplicate(
    read: Callable[[], Iterable[Document]], statistics: Statistics, threshold: float = THRESHOLD
) -> Iterator[Document]:
    """The documents without near duplicates (exact ones among them). `read` is called twice: texts are not kept."""
    first = find_duplicates(signatures(document.text for document in read()), threshold)
    return drop_near(read(), first, statistics)


def save_signatures(path: Path, signatures: np.ndarray) -> None:
    """Write those of one slice, as .npy."""
    content = io.BytesIO()
    np.save(content, signatures, allow_pickle=False)
    write_atomic(path, content.getvalue())


def load_signatures(paths: Sequence[Path]) -> np.ndarray:
    """Those of all slices, in this order. UserError naming a file that does not hold signatures, or other ones."""
    found = []
    for path in paths:
        try:
            part = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{path} cannot be read, or is damaged ({error}).") from None
        if part.dtype != np.uint32 or part.ndim != 2 or found and part.shape[1] != found[0].shape[1]:
            raise UserError(f"{path} does not hold signatures of the same kind: compute this slice again.")
        found.append(part)
    return np.concatenate(found)
