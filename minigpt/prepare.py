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
from .tokenizer import Tokenizer, load_tokenizer, train_bpe

END = "<|endoftext|>"
SETTINGS = "settings.json"
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
        train = (text for d in sample for text in training_part(d, config, few))
        tokenizer = train_bpe(train, vocab_size, (END,), workers=workers)
    tokenizer.save(folder / "tokenizer" / "tokenizer.json")
    say("turning text into tokens")
    rule, is_val, documents = split(chain(cached, rest), config, few)
    manifest = write_shards(folder, documents, tokenizer, is_val=is_val, split_rule=rule, threads=workers)
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
    """(the first documents, the rest as a stream, whether these are few): at most `look_ahead_bytes` are held in
    memory."""
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


def training_part(document: Document, config: DataConfig, few: bool) -> list[str]:
    """The part of a document that training, and so the tokenizer, may see: all, its first nine tenths, or nothing."""
    if config.val_text:
        return [document.text]
    if few:
        return [document.text[: nine_tenths(document.text)]]
    return [] if held_out(document.id, config.val_fraction) else [document.text]


def nine_tenths(text: str) -> int:
    return int(len(text) * 0.9)


def split(documents: Iterator[Document], config: DataConfig, few: bool):
    """(the rule in words, which documents are held out, the documents, cut or extended as the rule asks)."""
    if config.val_text:
        # an id may occur on both sides, so held-out documents are known by a mark of their own
        val = (Document(f"val:{d.id}", d.domain, d.text) for d in read_text([config.val_text]))
        train = (d for d in documents)
        return "a text of its own", lambda d: d.id.startswith("val:"), chain(train, val)
    if few:
        halves = (part for d in documents for part in (
            Document(d.id, d.domain, d.text[: nine_tenths(d.text)]),
            Document(f"val:{d.id}", d.domain, d.text[nine_tenths(d.text) :])))
        return "the last tenth of each document", lambda d: d.id.startswith("val:"), halves
    rule = f"documents whose id hashes into the first {config.val_fraction:.2%}"
    return rule, lambda d: held_out(d.id, config.val_fraction), documents


if __name__ == "__main__":  # python -m minigpt.prepare CONFIG FOLDER: how `pretrain` does this while torch loads
    config = RunConfig.from_json(sys.argv[1])
    try:
        prepare(config.data, Path(sys.argv[2]), config.model.vocab_size)
    except UserError as error:
        print(f"minigpt: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
