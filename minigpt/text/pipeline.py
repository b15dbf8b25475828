"""A crawl → the documents worth training on: the steps in their order, as data, and what each of them did.

    of each page, in any process    read → mend → extract → language → rules → classifier → personal data
    of all that are left, in order  exact duplicates → near duplicates → contamination → kept

A step is a name and a function on a stream, with statistics of its own. `clean_file` takes a file through the first
half and leaves a *part*, a folder with

    documents.jsonl.gz    {"id", "text"} a line
    signatures.npy        uint32 [documents, 4 + P]: the fingerprint of each text, and its MinHash
    steps.json            the statistics of each step

and `join_files` takes all parts through the second half. Parts depend on their file and the settings alone, so they can
be made anywhere, in any order; documents are compared in the order of (file, record). Memory: 1 KB a document to join.
"""
import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..config import DataConfig, UserError
from ..files import naming, sync_folder, write_atomic
from . import quality
from .contamination import drop_copies, index_items
from .dedup import drop_exact, drop_near, find_duplicates, fingerprint, load_signatures, save_signatures, signatures
from .pages import extract, in_languages, mend, read_warc
from .privacy import mask, mask_all
from .sources import Document, read_file, read_text
from .steps import Statistics, filtered


class Step(NamedTuple):
    """For example Step("personal data", mask_all)."""

    name: str
    run: Callable[[Iterable, Statistics], Iterator]
    """(stream, statistics) → stream."""


def of_each_page(config: DataConfig) -> list[Step]:
    """The steps that look at one page at a time, after reading."""
    rules = [getattr(quality, name) for name in config.rules]
    weights = load_weights(Path(config.classifier)) if config.classifier else None
    steps = [
        (True, Step("mend", mend)),
        (True, Step("extract", extract)),
        (config.languages, Step("language", lambda stream, s: in_languages(stream, config.languages, s))),
        (rules, Step("rules", lambda stream, s: quality.drop_bad(stream, s, rules))),
        (config.classifier, Step("classifier", lambda stream, s: quality.drop_bad(stream, s, (), weights))),
        (config.mask, Step("personal data", mask_all)),
    ]
    return [step for wanted, step in steps if wanted]


def of_all_documents(config: DataConfig, compared: np.ndarray) -> list[Step]:
    """The steps that compare documents with each other, or with questions. compared: the signatures.npy of all."""
    _, alone = np.unique(compared[:, :4], axis=0, return_index=True)
    first = find_duplicates(compared[np.sort(alone), 4:], config.near) if config.near else None
    questions = index_items(list(read_questions(config.decontaminate)))
    steps = [
        (True, Step("exact duplicates", drop_exact)),
        (config.near, Step("near duplicates", lambda stream, s: drop_near(stream, first, s))),
        (config.decontaminate, Step("contamination", lambda stream, s: drop_copies(stream, questions, s))),
        (True, Step("kept", look_at)),
    ]
    return [step for wanted, step in steps if wanted]


def pass_through(stream: Iterable, steps: Sequence[Step], statistics: dict[str, Statistics]) -> Iterator:
    """The stream behind the last of the steps; `statistics` gets an entry for each."""
    for step in steps:
        stream = step.run(stream, statistics.setdefault(step.name, Statistics()))
    return iter(stream)


def look_at(documents: Iterable[Document], statistics: Statistics) -> Iterator[Document]:
    """All documents, some of them as samples."""
    def judge(document: Document) -> Document:
        statistics.sample("kept", document.id, document.text)
        return document

    return filtered(documents, judge, statistics)


# ---- the two halves --------------------------------------------------------------------------------------------------


def clean_file(file: Path, part: Path, config: DataConfig) -> None:
    """Make the part of a WARC file. UserError if it cannot be read."""
    statistics = {"read": Statistics()}
    documents = pass_through(read_warc([file], statistics["read"]), of_each_page(config), statistics)
    temporary, fingerprints = part.with_name(f"{part.name}.tmp"), []
    shutil.rmtree(temporary, ignore_errors=True)

    def texts() -> Iterator[str]:
        for document in documents:
            text = document.text.encode("utf-8", "replace").decode()  # half a character cannot be written
            write(document._replace(text=text))
            fingerprints.append(fingerprint(text))
            yield text

    with naming(temporary, "write"):
        temporary.mkdir(parents=True)
        with writing(temporary / "documents.jsonl.gz") as write:
            found = signatures(texts())
        prints = np.frombuffer(b"".join(fingerprints), np.uint32).reshape(-1, 4)
        save_signatures(temporary / "signatures.npy", np.concatenate([prints, found], axis=1))
        save_statistics(temporary / "steps.json", statistics)
        os.replace(temporary, part)
        sync_folder(part.parent)


def join_files(parts: Sequence[Path], domains: Sequence[str], folder: Path, config: DataConfig
               ) -> dict[str, Statistics]:  # fmt: skip
    """Write what is left of all parts as `folder`/<domain>/<number>.jsonl.gz; returns the statistics of all steps."""
    statistics: dict[str, Statistics] = {}
    for part in parts:
        for name, fields in json.loads((part / "steps.json").read_bytes()).items():
            statistics.setdefault(name, Statistics()).add(Statistics.from_json(fields))
    steps = of_all_documents(config, load_signatures([part / "signatures.npy" for part in parts]))
    read = (read_file(part / "documents.jsonl.gz", "", f"{i:05d}") for i, part in enumerate(parts))
    for number, documents in groupby(pass_through(chain.from_iterable(read), steps, statistics), lambda d: d.domain):
        target = folder / domains[int(number)] / f"{number}.jsonl.gz"
        with naming(target, "write"):
            target.parent.mkdir(parents=True, exist_ok=True)
            with writing(target) as write:
                for document in documents:
                    write(document)
    if not statistics["kept"].kept:
        reasons = sum((step.removed for step in statistics.values()), start=statistics["kept"].removed)
        raise UserError("no page of the crawl is left to train on; the commonest reasons: "
                        f"{', '.join(f'{reason} ({count:,})' for reason, count in reasons.most_common(4))}.")
    return statistics


@contextmanager
def writing(path: Path) -> Iterator[Callable[[Document], object]]:
    """A function that writes documents into a .jsonl.gz file, which is on the disk at the end of the `with`."""
    with open(path, "wb") as file:
        with gzip.GzipFile("", "wb", 1, file, mtime=0) as packed:
            yield lambda document: packed.write(json.dumps(
                {"id": document.id, "text": document.text}, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def save_statistics(path: Path, statistics: dict[str, Statistics]) -> None:
    """Write them, with the personal data in samples masked: those of early steps are not yet."""
    for step in statistics.values():
        for samples in step.samples.values():
            samples[:] = [[key, id, mask(text)[0]] for key, id, text in samples]
    write_atomic(path, json.dumps({name: step.to_json() for name, step in statistics.items()}))


# ---- files of the user's ---------------------------------------------------------------------------------------------


def load_weights(path: Path) -> np.ndarray:
    """Of a classifier, as `np.save` writes what `fit_quality` returns; UserError if it is something else."""
    try:
        weights = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"the classifier {path} cannot be read ({error}).") from None
    if weights.shape != (quality.BUCKETS + 1,) or weights.dtype.kind != "f":
        raise UserError(f"{path} holds no weights of a classifier: save those of fit_quality with numpy.save.")
    return weights


def read_questions(paths: Sequence[str]) -> Iterator[str]:
    """The texts of test questions: every string in the lines of a .jsonl file, whatever it is called, or the
    paragraphs of another file."""
    for path in paths:
        if not path.endswith(".jsonl"):
            for document in read_text([path]):
                yield from document.text.split("\n\n")
            continue
        with naming(Path(path), "read"), open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield from strings(json.loads(line)) if line.strip() else ()
                except ValueError as error:
                    raise UserError(f"{path}:{number} is not a line of JSON ({error}).") from None


def strings(value) -> Iterator[str]:
    """The strings inside a JSON value.

    >>> list(strings({"question": "Who?", "options": ["I", "you"], "answer": 1}))
    ['Who?', 'I', 'you']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)
