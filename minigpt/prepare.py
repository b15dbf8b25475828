"""Text → tokenizer → shards: everything that happens once, before training."""
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from .config import DataConfig, RunConfig, UserError
from .shards import MANIFEST, check_tokenizer, read_manifest, write_shards
from .text.sources import Document, builtin, held_out, read_text, usable_domains
from .tokenizer import END_OF_TEXT, Tokenizer, load_tokenizer, train_bpe

SETTINGS = "settings.json"
VAL = "\0val:"  # no id of a file or record begins like this
FEW_DOCUMENTS = 20
"""Below this many documents a hash may hold out none, or most of them; then the last tenth of each is held out."""


def prepare(
    config: DataConfig, folder: Path, vocab_size: int, workers: int = 2, say: Callable[[str], None] = print
) -> tuple[Tokenizer, dict]:
    """Make `folder` a data folder: tokenizer, shards and manifest. Returns (tokenizer, manifest).

    A folder that is already finished is taken as it is, so that the same command can be run again after a crash.
    """
    settings = json.dumps({**asdict(config), "vocab_size": vocab_size}, indent=1)
    if (folder / MANIFEST).exists():
        if (folder / SETTINGS).read_text(encoding="utf-8") != settings:
            raise UserError(f"{folder} holds a data set made with other settings: choose another --out, or delete it.")
        return open_data(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SETTINGS).write_text(settings, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror}): choose another --out.") from None
    cached, rest, few = look_ahead(config)
    if config.tokenizer:
        tokenizer = load_tokenizer(config.tokenizer)
    else:
        say(f"training a tokenizer of {vocab_size:,} tokens")
        sample = tokenizer_sample(cached, config.tokenizer_bytes)
        texts = (part.text for d in sample for part in parts(d, config, few) if not is_held(part))
        tokenizer = train_bpe(texts, vocab_size, (END_OF_TEXT,), workers=workers)
    tokenizer.save(folder / "tokenizer" / "tokenizer.json")
    say("turning text into tokens")
    documents = (part for d in chain(cached, rest) for part in parts(d, config, few))
    rule = "the last tenth of each document" if few else f"{config.val_fraction:.2%} of the documents, by a hash of ids"
    if config.val_text:
        rule, documents = "a text of its own", chain(documents, map(held, read_text([config.val_text])))
    manifest = write_shards(folder, documents, tokenizer, is_val=is_held, split_rule=rule, threads=workers)
    for name, counts in manifest["splits"].items():
        size = f"{counts['bytes'] / 1e6:.1f} MB, {counts['tokens']:,} tokens"
        say(f"{name:>5}: {counts['documents']:,} documents, {size}")
    return tokenizer, manifest


def open_data(folder: Path) -> tuple[Tokenizer, dict]:
    """The tokenizer and manifest of a finished data folder."""
    manifest = read_manifest(folder)
    tokenizer = Tokenizer.load(folder / "tokenizer" / "tokenizer.json")
    check_tokenizer(manifest, tokenizer)
    return tokenizer, manifest


def source(config: DataConfig, say: Callable[[str], None] = print) -> Iterator[Document]:
    """The training documents of a config: text of your own, or the built-in domains that are installed."""
    if config.text:
        return read_text(config.text)
    usable, missing = usable_domains(config.domains)
    if missing:
        say(f"not installed: {', '.join(missing)} (python3 course.py installs them); using {', '.join(usable)}")
    return builtin(usable)


def look_ahead(config: DataConfig) -> tuple[list[Document], Iterator[Document], bool]:
    """(the first documents, the rest as a stream, whether these are few); about `look_ahead_bytes` stay in memory."""
    stream, first, size = source(config), [], 0
    for document in stream:
        first.append(document)
        size += len(document.text)
        if size > config.look_ahead_bytes:
            return first, stream, False
    if not any(d.text.strip() for d in first):
        raise UserError("there is no text to train on: every document is empty.")
    return first, stream, len(first) < FEW_DOCUMENTS


def tokenizer_sample(documents: Sequence[Document], most: int) -> Iterator[Document]:
    """About `most` characters of whole documents, spread over all of them by a hash of their ids."""
    share = most / max(1, sum(len(d.text) for d in documents))
    return (d for d in documents if share >= 1 or held_out(d.id, share, salt="tokenizer"))


def parts(document: Document, config: DataConfig, few: bool) -> list[Document]:
    """The document as it goes into the shards: whole, or cut in two; an id of what is held out begins with VAL."""
    if config.val_text:
        return [document]
    if few:
        cut = int(len(document.text) * 0.9)
        return [document._replace(text=document.text[:cut]), held(document._replace(text=document.text[cut:]))]
    return [held(document) if held_out(document.id, config.val_fraction) else document]


def held(document: Document) -> Document:
    return document._replace(id=VAL + document.id)


def is_held(document: Document) -> bool:
    return document.id.startswith(VAL)


if __name__ == "__main__":  # python -m minigpt.prepare CONFIG FOLDER: how `pretrain` does this while torch loads
    config = RunConfig.from_json(sys.argv[1])
    try:
        prepare(config.data, Path(sys.argv[2]), config.model.vocab_size)
    except UserError as error:
        print(f"minigpt: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
