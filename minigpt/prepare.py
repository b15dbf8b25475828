"""Text → tokenizer → shards: everything that happens once, before training."""
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from .config import DataConfig, Passing, RunConfig, UserError, preset
from .corpus import SOURCES, UNMIXED, clean, clean_crawl, documents_of, is_crawl, list_sources, tokenize_files
from .files import naming, sha256, write_atomic
from .mixture import mix
from .shards import MANIFEST, add_counts, check_tokenizer, new_splits, read_manifest, write_manifest, write_shards
from .text.fetch import is_remote
from .text.sources import Document, builtin, held_out, read_text, usable_domains
from .tokenizer import END_OF_TEXT, Tokenizer, gpt2_tokenizer, load_tokenizer, train_bpe

SETTINGS = "settings.json"
VAL = "\0val:"  # no id of a file or record begins like this
FEW_DOCUMENTS = 20
"""Below this many documents a hash may hold out none, or most of them; then the last tenth of each is held out."""


def prepare(
    config: DataConfig, folder: Path, vocab_size: int, workers: int = 2, say: Callable[[str], None] = print,
    most_tokens: int = 0, shard: tuple[int, int] = (1, 1), by_domain: bool = False,
) -> tuple[Tokenizer | None, dict]:  # fmt: skip
    """Make `folder` a data folder: tokenizer, shards and manifest. Returns (tokenizer, manifest).

    most_tokens: stop after the document with which the train split reaches this size; 0: take all.
    shard: (i, n): only clean every n-th file of a crawl, from the i-th on (see `clean_crawl`), and return (None, {}).
    by_domain: see write_shards.
    A folder that is already finished is taken as it is, so that the same command can be run again after a crash. Files
    from the network, and files of your own with more text than `look_ahead_bytes`, go through the queue of corpus.py:
    then an unfinished folder is continued, too. The shards are the same on either way.
    """
    for path in filter(None, (*config.text, config.val_text)):
        if not is_remote(path) and Path(path).resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{path} lies in the data folder {folder}, whose files are replaced: choose another --out.")
    limit = {"tokens": most_tokens} if most_tokens else {}
    state = begin(folder, {**asdict(config), "vocab_size": vocab_size, **limit})
    if state == "done":
        clean(folder)
        return open_data(folder)
    saved = folder / "tokenizer" / "tokenizer.json"
    if config.mixture:
        unmixed, text = folder / UNMIXED, replace(config, mixture="", max_epochs=DataConfig.max_epochs)
        if not config.text:
            text = replace(text, domains=tuple(config.shares()))
        tokenizer, manifest = prepare(text, unmixed, vocab_size, workers, say, 0, shard, by_domain=True)
        if tokenizer:
            tokenizer.save(saved)
            manifest = mix(unmixed, folder, tokenizer, config.shares(), config.max_epochs, most_tokens)
            clean(folder)
            report(manifest, say)
        return tokenizer, manifest
    crawls = [path for path in config.text if is_crawl(path)]
    if shard != (1, 1) and not crawls:
        raise UserError("--shard takes a slice of the files of a crawl, and there is none in --text.")
    if crawls:
        kept = clean_crawl(folder, crawls, config, workers, shard, say)
        if shard != (1, 1):
            return None, {}
        config = replace(config, text=(kept, *(path for path in config.text if path not in crawls)))
    sources, cached, few = [], [], False
    if state == "begun":
        sources = json.loads((folder / SOURCES).read_bytes())
    elif any(map(is_remote, (*config.text, config.val_text))):
        sources = list_sources(config.text, config.val_text)
    else:
        cached, rest, few = look_ahead(source(config, say), config.look_ahead_bytes)
        if config.text and rest is not None:
            sources = list_sources(config.text, config.val_text)
    if sources:
        write_atomic(folder / SOURCES, json.dumps(sources, indent=1) + "\n")
    if state == "begun" and saved.exists():
        tokenizer = Tokenizer.load(saved)
    elif config.tokenizer:
        tokenizer = load_tokenizer(config.tokenizer)
    else:
        say(f"training a tokenizer of {vocab_size:,} tokens")
        cached = cached or look_ahead(documents_of(folder, sources), config.look_ahead_bytes)[0]
        sample = tokenizer_sample(cached, config.tokenizer_bytes)
        texts = (part.text for d in sample for part in parts(d, config, few) if not is_held(part))
        tokenizer = train_bpe(texts, vocab_size, (END_OF_TEXT,), workers=workers)
    tokenizer.save(saved)
    say("turning text into tokens")
    rule = "the last tenth of each document" if few else f"{config.val_fraction:.2%} of the documents, by a hash of ids"
    rule = "a text of its own" if config.val_text else rule
    if sources:
        del cached
        manifest = tokenize_files(folder, sources, tokenizer, val_fraction=config.val_fraction, split_rule=rule,
                                  workers=workers, most_tokens=most_tokens, by_domain=by_domain, say=say)  # fmt: skip
    else:
        documents = (part for d in chain(cached, rest or ()) for part in parts(d, config, few))
        if config.val_text:
            documents = chain(map(held, read_text([config.val_text])), documents)
        manifest = write_shards(folder, documents, tokenizer, is_val=is_held, split_rule=rule, threads=workers,
                                most_tokens=most_tokens, by_domain=by_domain)  # fmt: skip
    if crawls:
        clean(folder)
    report(manifest, say)
    return tokenizer, manifest


def report(manifest: dict, say: Callable[[str], None]) -> None:
    """Say how much text there is."""
    for name, counts in manifest["splits"].items():
        size = f"{counts['bytes'] / 1e6:.1f} MB, {counts['tokens']:,} tokens"
        say(f"{name:>5}: {counts['documents']:,} documents, {size}")


def begin(folder: Path, settings: dict) -> Literal["new", "begun", "done"]:
    """What lies in a data folder, so that the same command, given again, goes on or is done: nothing yet, the list of
    its sources, or all. The settings are noted in a new one; UserError if others made what is there."""
    file, text = folder / SETTINGS, json.dumps(settings, indent=1)
    state = "done" if (folder / MANIFEST).exists() else "begun" if (folder / SOURCES).exists() else "new"
    with naming(folder, "write"):
        folder.mkdir(parents=True, exist_ok=True)
        if state == "new":
            write_atomic(file, text)
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        what = "already holds a data set" if state == "done" else "holds the beginnings of a data set"
        raise UserError(f"{folder} {what} made with other settings: choose another --out, or delete it.")
    return state


def open_data(folder: Path) -> tuple[Tokenizer, dict]:
    """The tokenizer and manifest of a finished data folder."""
    manifest = read_manifest(folder)
    tokenizer = Tokenizer.load(folder / "tokenizer" / "tokenizer.json")
    check_tokenizer(manifest, tokenizer)
    return tokenizer, manifest


def check_vocabulary(config: RunConfig, manifest: dict):
    """UserError where a model is to have GPT-2's vocabulary and the data folder has another.

    A run takes the size from its data, but a preset (or depth) of 50,257 ids is no longer that model without them, nor
    comparable with it. That another vocabulary is meant, to try a preset on a small data set, is said by --vocab-size.
    """
    asked, found = config.model.vocab_size, manifest["vocab_size"]
    if asked == preset("gpt2-124m").model.vocab_size != found:
        raise UserError(f"{config.data.data} has a vocabulary of {found:,} tokens, and the model GPT-2's of {asked:,}: "
                        f"prepare the data with --tokenizer gpt2, or give --vocab-size {found} to train another model, "
                        "which is not comparable with the preset.")  # fmt: skip


def source(config: DataConfig, say: Callable[[str], None] = print) -> Iterator[Document]:
    """The training documents of a config: text of your own, or the built-in domains that are installed."""
    if config.text:
        return read_text(config.text)
    usable, missing = usable_domains(config.domains)
    if missing:
        say(f"not installed: {', '.join(missing)} (python3 course.py installs them); using {', '.join(usable)}")
    return builtin(usable)


def look_ahead(stream: Iterator[Document], most: int) -> tuple[list[Document], Iterator[Document] | None, bool]:
    """(the first documents, the rest or None, whether these are few); about `most` characters stay in memory."""
    first, size = [], 0
    for document in stream:
        first.append(document)
        size += len(document.text)
        if size > most:
            return first, stream, False
    if not any(d.text.strip() for d in first):
        raise UserError("there is no text to train on: every document is empty.")
    return first, None, len(first) < FEW_DOCUMENTS


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


# ---- ready-made tokens ----------------------------------------------------------------------------------------------

HEADER, MAGIC, FORMAT = 256, 20240520, 1  # of llm.c's .bin: 256 int32, which begin magic, version, number of tokens


def import_bins(paths: Sequence[str], folder: Path, say: Callable[[str], None] = print) -> dict:
    """Make `folder` a data folder of GPT-2 tokens that lie in files elsewhere; they are read, and never copied.

    paths: .bin files of llm.c and modded-nanogpt (a header, then uint16) or of nanoGPT (uint16 and nothing else), or
        folders of them. A file with "val" in its name is held out; its domain is the folder that it lies in.
    Windows are cut over each file from its first token to its last, across documents. llm.c puts <|endoftext|> before
    each document, so all of its text is predicted; nanoGPT puts it after, so the first token of a file is not.
    Returns the manifest, which names the files where they are now; that of a folder which the same call has finished
    is returned as it is. UserError for a file that is no such thing.

    >>> import_bins(["fineweb10B/"], Path("data"))["splits"]["val"]["shards"][0]["file"]      # doctest: +SKIP
    '/home/me/fineweb10B/fineweb_val_000000.bin'
    """
    if begin(folder, {"import_bin": list(paths)}) == "done":
        return open_data(folder)[1]
    files = [file for path in paths for file in (sorted(Path(path).glob("*.bin")) or [Path(path)])]
    held = ["val" in file.name.lower() for file in files]
    if all(held) or not any(held):
        raise UserError(f"no file with{'out' if all(held) else ''} \"val\" in its name is among those to import, but "
                        "training needs both: such names, like fineweb_val_000000.bin, are held out.")  # fmt: skip
    tokenizer, splits = gpt2_tokenizer(), new_splits()
    for file, is_val in zip(files, held):
        split, domain = splits["val" if is_val else "train"], file.absolute().parent.name
        entry, counts = _bin_entry(file, tokenizer, folder)
        split["shards"].append(entry | ({"domain": domain} if is_val else {}))
        add_counts(split, domain, split["shards"][-1], counts)
        say(f"{file}: {counts[1]:,} tokens, {'to validate on' if is_val else 'to train on'}")
    with naming(folder, "write"):
        tokenizer.save(folder / "tokenizer")
    return write_manifest(folder, splits, tokenizer, "imported files with val in their name")


def _bin_entry(file: Path, tokenizer: Tokenizer, folder: Path) -> tuple[dict, tuple[int, int, int]]:
    """A file's entry in the manifest, and its (documents, tokens, bytes of text), after a look at every token of it."""
    with naming(file, "read"):
        size = file.stat().st_size
        header = np.fromfile(file, "<i4", HEADER)
        has_header = len(header) == HEADER and (header[0] == MAGIC or not header[3:].any())  # no text is all 0
        offset = 4 * HEADER if has_header else 0
        if offset and (header[0] != MAGIC or header[1] != FORMAT):
            raise UserError(f"{file} begins with the magic number {header[0]} and version {header[1]}, but GPT-2 "
                            f"tokens of llm.c with {MAGIC} and {FORMAT}.")  # fmt: skip
        if offset and size != offset + 2 * int(header[2]):
            raise UserError(f"{file} says that it holds {header[2]:,} tokens, but has room for "
                            f"{(size - offset) / 2:,.1f}: it was cut off, or altered; get it again.")  # fmt: skip
        if size <= offset or (size - offset) % 2:
            raise UserError(f"{file} holds {size - offset:,} bytes of tokens, which are two bytes each: it is empty, "
                            "cut off, or no file of tokens.")  # fmt: skip
        if not offset and file.with_name("meta.pkl").exists():
            raise UserError(f"{file} has a meta.pkl beside it: its tokens are characters, not GPT-2's.")
        tokens, counts = np.memmap(file, "<u2", mode="r", offset=offset), np.zeros(1 << 16, np.int64)
        for start in range(0, len(tokens), 1 << 22):
            counts += np.bincount(tokens[start : start + (1 << 22)], minlength=1 << 16)
        if counts[tokenizer.vocab_size :].any():
            raise UserError(f"{file} holds the token {counts.nonzero()[0][-1]}, but GPT-2's tokens end at "
                            f"{tokenizer.vocab_size - 1}: another tokenizer made it.")  # fmt: skip
        digest, home = sha256(file), folder.absolute()
    path = file.absolute()
    entry = {"file": str(path.relative_to(home) if path.is_relative_to(home) else path), "offset": offset,
             "sha256": digest}  # fmt: skip
    size = int(counts[: tokenizer.vocab_size] @ tokenizer.token_bytes)
    return entry, (max(1, int(counts[tokenizer.eot])), len(tokens), size)


if __name__ == "__main__":  # python -m minigpt.prepare CONFIG FOLDER: how `pretrain` does this while torch loads
    config = RunConfig.from_json(sys.argv[1])
    try:
        prepare(config.data, Path(sys.argv[2]), config.model.vocab_size)
    except UserError as error:
        print(f"minigpt: {error}", file=sys.stderr)
        sys.exit(75 if isinstance(error, Passing) else 2)
    except KeyboardInterrupt:
        sys.exit(130)
