"""Copies of test questions in the training text, found by runs of words that both have.

A document is contaminated where 13 words in a row stand in a question, too, whatever their case, punctuation and white
space (Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C). A question of fewer than 13 words is
looked for as a run of 8, the smallest size that the authors use; one of fewer than 8 cannot be told from ordinary text.
They cut out each hit with 200 characters on both sides, threw away pieces of under 200 characters, and whole documents
that fell into more than 10 pieces: `cut` does this; without it the document goes.
"""
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .sources import Document
from .steps import Statistics, filtered
from .words import ngrams, text_pieces, words

SIZES = (13, 8)
CUT = 200
MOST_PIECES = 10


class Index(NamedTuple):
    """What is looked for: for each number of words, the hashes (sorted), and the number of the question of each."""

    hashes: dict[int, np.ndarray]
    items: dict[int, np.ndarray]
    too_short: int
    """How many questions have so few words that they are not looked for."""


class Hit(NamedTuple):
    """A part of a text, and the question that it repeats."""

    start: int
    end: int
    item: int


def index_items(items: Sequence[str], sizes: Sequence[int] = SIZES) -> Index:
    """Prepare the texts of test questions; each is looked for by the largest size that it has words for."""
    hashes = {size: [np.zeros(0, np.uint64)] for size in sorted(sizes, reverse=True)}
    owners = {size: [np.zeros(0, np.int64)] for size in hashes}
    too_short = 0
    for number, item in enumerate(items):
        found = words(item).hashes
        size = next((size for size in hashes if len(found) >= size), None)
        too_short += size is None
        if size is not None:
            hashes[size].append(ngrams(found, size))
            owners[size].append(np.full(len(hashes[size][-1]), number))
    for size in hashes:
        unique, first = np.unique(np.concatenate(hashes[size]), return_index=True)
        hashes[size], owners[size] = unique, np.concatenate(owners[size])[first]
    return Index(hashes, owners, too_short)


def find_copies(text: str, index: Index) -> list[Hit]:
    """The parts of a text that stand in a question, from the first to the last word; runs that overlap are one hit.

    >>> index = index_items(["Who was it that went up the hill to fetch a pail?"])
    >>> [hit.start for hit in find_copies('He asked: "who was it, that went up the HILL to fetch ..."', index)]
    [11]
    """
    hits = []
    for offset, piece in text_pieces(text):
        hashes, starts, ends = words(piece)
        for size, known in index.hashes.items():
            found = ngrams(hashes, size)
            at = np.searchsorted(known, found)
            here = np.flatnonzero(known[np.minimum(at, len(known) - 1)] == found) if len(known) else at[:0]
            hits += [Hit(offset + int(starts[i]), offset + int(ends[i + size - 1]), int(index.items[size][at[i]]))
                     for i in here]  # fmt: skip
    merged: list[Hit] = []
    for hit in sorted(hits):
        if merged and hit.start <= merged[-1].end:
            merged[-1] = merged[-1]._replace(end=max(hit.end, merged[-1].end))
        else:
            merged.append(hit)
    return merged


def without(text: str, hits: Iterable[Hit], margin: int = CUT) -> list[str]:
    """The pieces that stay when each hit is cut out with so many characters on both sides; those shorter than that go,
    too."""
    kept, at = [], 0
    for start, end in [*((hit.start, hit.end) for hit in hits), (len(text) + margin, 0)]:
        kept.append(text[at : max(at, start - margin)])
        at = max(at, end + margin)
    return [part for part in kept if len(part.strip()) >= margin]


def drop_copies(
    documents: Iterable[Document], index: Index, statistics: Statistics, cut: bool = False
) -> Iterator[Document]:
    """The documents without copies of questions: left out, or with `cut` in what is left of them.

    `statistics.counts["item 7"]` says how many documents held a part of question 7.
    """
    def judge(document: Document) -> Document | str:
        hits = find_copies(document.text, index)
        if not hits:
            return document
        statistics.counts.update({f"item {item}" for item in {hit.item for hit in hits}})
        parts = without(document.text, hits) if cut else []
        return document._replace(text="\n\n".join(parts)) if 0 < len(parts) <= MOST_PIECES else "contaminated"

    return filtered(documents, judge, statistics)
