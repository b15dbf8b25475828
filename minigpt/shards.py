"""Tokens on disk, and the order in which training reads them.

A data folder holds

    manifest.json               what is in the folder: counts, hashes, and which tokenizer made the tokens
    train_00000.bin, …          token ids, raw little-endian uint16 (uint32 when the vocabulary exceeds 65,536)
    val_00000.bin, …            the held-out documents; each of these files holds one domain
    tokenizer/tokenizer.json    (written by the caller)

A document is stored as <|endoftext|> followed by its tokens, so every file (a *shard*) starts with <|endoftext|>.
(Files that `prepare --import-bin` refers to lie elsewhere, and may begin with a header, whose length is the shard's
"offset", or with text: then that first token is never a target, since nothing before it is known.)
Training sees *windows*: T inputs and, one place further, T targets. A shard of n tokens is cut into ceil((n-1)/T)
windows, so that every token but the shard's first is a target exactly once. With n = 8 and T = 3:

    tokens      E a b c d e f g
    window 0    E a b      → a b c
    window 1    c d e      → d e f
    window 2    f (E E)    → g, the rest is padding: <|endoftext|> as input, -100 as target

Which windows make up a step is a pure function, `batch(seed, step)`. There is nothing to save: to resume at step 5000
is to ask for step 5000, on any number of devices.
"""
import hashlib
import io
import itertools
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .config import UserError
from .files import cache_folder, naming, sha256, sync_folder, write_atomic

VERSION = 1
MANIFEST = "manifest.json"
STEPS = "cleaning.json"  # what the steps of text/pipeline.py did, where there was a crawl; in the manifest, too
COUNTS = ("documents", "tokens", "bytes")  # what the manifest counts, for a split, a domain of it and a shard
SHARD_TOKENS = 100_000_000
IGNORE = -100  # the target that the loss leaves out
GROUP_WINDOWS = 1 << 20  # most windows shuffled together: a few GB, so that a stretch of steps reads few files
BATCH_CHARACTERS = 1 << 22  # text to tokenize at a time
OPEN_FILES = 64  # each mapped shard holds a file descriptor, and a process often has no more than 1,024


# ---- writing ---------------------------------------------------------------------------------------------------------

def write_shards(folder, documents: Iterable, tokenizer, *, is_val: Callable[..., bool], split_rule: str = "",
                 shard_tokens: int = SHARD_TOKENS, threads: int = 2, most_tokens: int = 0, by_domain: bool = False
                 ) -> dict:
    """Tokenize documents into shards; returns the manifest, which is written last: a folder without one is unfinished.

    documents: objects with `.domain` and `.text`, read once, never more than a batch of them in memory. Documents
        without text are skipped.
    tokenizer: a Tokenizer; it encodes in `threads` threads (tiktoken lets go of Python's lock meanwhile).
    is_val: tells whether a document is held out; `split_rule` says the same in words, for the manifest.
    shard_tokens: a shard is closed after the document that reaches this size. A document that is itself larger is
        stored in pieces of this size, each after its own <|endoftext|>, so that no byte of it goes unpredicted.
    most_tokens: stop after the document with which the train split reaches this size; 0: never.
    by_domain: training shards hold one domain each, too.

    The manifest: version, dtype, vocab_size, eot, tokenizer (hash), split_rule, and for each of splits.train and
    splits.val: documents, tokens (with <|endoftext|>), bytes (of text), the same three for each of `domains`, and
    `shards`: file, domain (val only), documents, tokens, bytes, sha256; offset, where a header precedes the tokens.
    Raises UserError if the folder already holds a manifest, cannot be written, or if there is no text at all.
    """
    folder = Path(folder)
    if (folder / MANIFEST).exists():
        raise UserError(f"{folder} already holds a data set: choose another folder, or delete this one first.")
    with naming(folder, "write"), ShardWriter(folder, tokenizer, shard_tokens, by_domain=by_domain) as writer:
        for document, piece, is_first in _pieces(documents, tokenizer, threads, shard_tokens - 1):
            if most_tokens and is_first and writer.splits["train"]["tokens"] >= most_tokens:
                break
            data, counts = _as_stored(piece, is_first, tokenizer)
            writer.put("val" if is_val(document) else "train", document.domain, io.BytesIO(data), counts)
        return writer.finish(split_rule)


class ShardWriter:
    """The shards of a data folder while they grow, a train shard and one val shard for each domain at a time.

    All that it knows is `splits`, which goes into the manifest: a shard without a "sha256" is still open, under the
    temporary name .train_00003.bin.tmp, and `splits` as it was after a `sync` brings the folder back to that moment:

        writer = ShardWriter(folder, tokenizer, 10**8, splits)      # the open shards are cut to the size noted there
    """

    def __init__(self, folder: Path, tokenizer, shard_tokens: int, splits: dict | None = None,
                 by_domain: bool = False):
        self.folder, self.tokenizer, self.shard_tokens, self.by_domain = folder, tokenizer, shard_tokens, by_domain
        self.splits = splits or new_splits()
        self.itemsize = _stored(tokenizer).itemsize
        self.writing = {}  # (split, domain) -> the shard being written there: its file and its entry in the manifest
        folder.mkdir(parents=True, exist_ok=True)
        for split, table in self.splits.items():
            for entry in table["shards"]:
                if "sha256" not in entry:
                    self._reopen(split, entry)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for file, _ in self.writing.values():
            with suppress(OSError):  # on a full disk, which has been named already
                file.close()

    def room(self, split: str, domain: str) -> int:
        """How many more tokens fill the shard that `put` would write to."""
        open_shard = self.writing.get(self._stream(split, domain))
        return self.shard_tokens - (open_shard[1]["tokens"] if open_shard else 0)

    def put(self, split: str, domain: str, data: BinaryIO, counts: Sequence[int]):
        """Append the next tokens of `data`, which belong in one shard; counts: (documents, tokens, bytes of text)."""
        stream, table = self._stream(split, domain), self.splits[split]
        if stream not in self.writing:
            entry = {"file": f"{split}_{len(table['shards']):05d}.bin"} | ({"domain": domain} if stream[1] else {})
            table["shards"].append(entry)
            self.writing[stream] = open(self._temporary(entry), "wb"), entry
        file, entry = self.writing[stream]
        left = counts[1] * self.itemsize
        while left:
            block = data.read(min(left, 1 << 22))
            left -= len(block)
            file.write(block)
        add_counts(table, domain, entry, counts)
        if entry["tokens"] >= self.shard_tokens:
            self._close(stream)

    def sync(self):
        """Send the open shards to the disk as they are."""
        for file, _ in self.writing.values():
            file.flush()
            os.fsync(file.fileno())

    def finish(self, split_rule: str, **more) -> dict:
        """Close all shards and write the manifest, with whatever else it is to say; returns it."""
        for stream in list(self.writing):
            self._close(stream)
        sync_folder(self.folder)
        return write_manifest(self.folder, self.splits, self.tokenizer, split_rule, **more)

    def _temporary(self, entry: dict) -> Path:
        return self.folder / f".{entry['file']}.tmp"

    def _close(self, stream: tuple):
        file, entry = self.writing[stream]
        file.flush()
        os.fsync(file.fileno())
        file.close()
        del self.writing[stream]
        entry["sha256"] = sha256(self._temporary(entry))
        os.replace(self._temporary(entry), self.folder / entry["file"])

    def _reopen(self, split: str, entry: dict):
        """Continue a shard that was open when `splits` was noted; it may have grown since, or even been closed."""
        path = self._temporary(entry)
        if not path.exists():
            os.replace(self.folder / entry["file"], path)
        file = open(path, "r+b")
        file.truncate(entry["tokens"] * self.itemsize)
        file.seek(0, os.SEEK_END)
        self.writing[self._stream(split, entry.get("domain", ""))] = file, entry

    def _stream(self, split: str, domain: str) -> tuple[str, str]:
        return split, domain if split == "val" or self.by_domain else ""


def new_splits() -> dict:
    """`splits` of a manifest without any shard yet."""
    return {split: dict.fromkeys(COUNTS, 0) | {"domains": {}, "shards": []} for split in ("train", "val")}


def add_counts(split: dict, domain: str, shard: dict, counts: Sequence[int]):
    """Add (documents, tokens, bytes of text) to a split of the manifest, to a domain of it, and to a shard's entry."""
    for part in (split, split["domains"].setdefault(domain, {}), shard):
        part |= {key: part.get(key, 0) + count for key, count in zip(COUNTS, counts)}


def write_manifest(folder: Path, splits: dict, tokenizer, split_rule: str, **more) -> dict:
    """The last file of a data folder; UserError if there is nothing in the splits."""
    if not splits["train"]["tokens"] + splits["val"]["tokens"]:
        raise UserError(f"there is no text to write into {folder}: every document is empty.")
    manifest = {"version": VERSION, "dtype": _dtype(tokenizer.vocab_size), "vocab_size": tokenizer.vocab_size,
                "eot": tokenizer.eot, "tokenizer": tokenizer.hash, "split_rule": split_rule, "splits": splits} | more
    if (folder / STEPS).exists():
        steps = json.loads((folder / STEPS).read_bytes())
        manifest["cleaning"] = {name: step | {"samples": {}} for name, step in steps.items()}
    with naming(folder / MANIFEST, "write"):
        write_atomic(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return manifest


def write_part(folder: Path, documents: Iterable, tokenizer, *, is_val: Callable[..., bool],
               shard_tokens: int = SHARD_TOKENS, threads: int = 1):
    """Tokenize documents of one domain into a folder of their own, which is renamed to `folder` when it is whole.

    It holds train.bin and val.bin, tokens as in a shard, and pieces.bin: int64 [pieces, 4], a row for each document or
    piece of one, in order: whether it is held out, documents begun (0 in a later piece), tokens, bytes of text.
    """
    temporary = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    with naming(temporary, "write"), ExitStack() as files:
        temporary.mkdir(parents=True)
        names = ("train", "val", "pieces")
        streams = [files.enter_context(open(temporary / f"{name}.bin", "wb")) for name in names]
        for document, piece, is_first in _pieces(documents, tokenizer, threads, shard_tokens - 1):
            data, counts = _as_stored(piece, is_first, tokenizer)
            held = bool(is_val(document))
            streams[held].write(data)
            streams[2].write(np.array([held, *counts], "<i8").tobytes())
        for file in streams:
            file.flush()
            os.fsync(file.fileno())
    with naming(folder, "write"):
        sync_folder(temporary)
        os.replace(temporary, folder)
        sync_folder(folder.parent)


def join_part(writer: ShardWriter, folder: Path, domain: str, most_tokens: int = 0):
    """Append what `write_part` left in a folder, so that the shards are those of `write_shards` over all documents.

    most_tokens: leave out what follows the document with which the train split reaches this size; 0: nothing.
    """
    pieces = np.fromfile(folder / "pieces.bin", "<i8").reshape(-1, 4)
    if most_tokens:
        trained = pieces[:, 2] * (pieces[:, 0] == 0)
        before = writer.splits["train"]["tokens"] + np.cumsum(trained) - trained
        late = np.flatnonzero((before >= most_tokens) & (pieces[:, 1] == 1))
        pieces = pieces[:late[0]] if len(late) else pieces
    for held, split in enumerate(("train", "val")):
        counts = pieces[pieces[:, 0] == held, 1:]
        with open(folder / f"{split}.bin", "rb") as data:
            while len(counts):
                fill = 1 + int(np.searchsorted(np.cumsum(counts[:, 1]), writer.room(split, domain)))
                writer.put(split, domain, data, counts[:fill].sum(0).tolist())
                counts = counts[fill:]


def _as_stored(piece: np.ndarray, is_first: bool, tokenizer) -> tuple[bytes, list[int]]:
    """(<|endoftext|> and the tokens as bytes, [documents, tokens, bytes of text])."""
    data = np.empty(1 + len(piece), _stored(tokenizer))
    data[0], data[1:] = tokenizer.eot, piece
    return data.tobytes(), [int(is_first), len(data), int(tokenizer.token_bytes[piece].sum())]


def _pieces(documents, tokenizer, threads: int, most: int) -> Iterator[tuple]:
    """(document, at most `most` of its tokens, whether they are its first); tokenizes a batch at a time."""
    documents = iter(documents)
    while True:
        batch, characters = [], 0
        while characters < BATCH_CHARACTERS and (document := next(documents, None)) is not None:
            batch.append(document)
            characters += len(document.text)
        if not batch:
            return
        for document, tokens in zip(batch, tokenizer.encode_batch([document.text for document in batch], threads)):
            for start in range(0, len(tokens), most):
                yield document, tokens[start:start + most], start == 0


def _dtype(vocab_size: int) -> str:
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def _stored(tokenizer) -> np.dtype:
    return np.dtype(_dtype(tokenizer.vocab_size)).newbyteorder("<")


# ---- checking --------------------------------------------------------------------------------------------------------

def read_manifest(folder) -> dict:
    """The manifest of a data folder; UserError if it is missing, damaged, or of another version."""
    path = Path(folder) / MANIFEST
    if not path.exists():
        raise UserError(f"{path} is missing: name a folder that prepare has finished, or run prepare again.")
    with naming(path, "read"):
        text = path.read_bytes()
    try:
        manifest = json.loads(text)
        if manifest["version"] != VERSION:
            raise UserError(f"{path} has format {manifest['version']}, not {VERSION}: run prepare again.")
        for name in ("train", "val"):
            split = manifest["splits"][name]
            for key, parts in itertools.product(COUNTS, (split["shards"], split["domains"].values())):
                if sum(part[key] for part in parts) != split[key]:
                    raise ValueError(f"the {key} of {name} do not add up")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}): run prepare again.") from error
    return manifest


def check_tokenizer(manifest: dict, tokenizer):
    """UserError unless the shards were made with this very tokenizer: the same ids would mean other text."""
    if manifest["tokenizer"] != tokenizer.hash:
        raise UserError(f"{MANIFEST} names another tokenizer ({manifest['tokenizer'][:12]}) than this one "
                        f"({tokenizer.hash[:12]}): use the tokenizer of the data folder, or run prepare again.")


def _check_hash(path: Path, expected: str):
    """UserError if the content is not what was written. A file found good gets a *stamp*, an empty file in the cache
    whose name is a hash of (path, size, time of change, expected content), and the next run need not read it all."""
    with naming(path, "read"):
        stat = path.stat()
        key = repr((str(path.resolve()), stat.st_size, stat.st_mtime_ns, expected))
        stamp = cache_folder() / "shards" / hashlib.sha256(key.encode()).hexdigest()
        if stamp.exists():
            return
        if sha256(path) != expected:
            raise UserError(f"{path} was altered after it was written: its SHA-256 is not the one in {MANIFEST}; "
                            f"copy the file again or run prepare again.")
    with suppress(OSError):  # a read-only home: the next run hashes again
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()


# ---- order -----------------------------------------------------------------------------------------------------------

def permute(index: np.ndarray, size: np.ndarray, keys: np.ndarray, tweak: np.ndarray) -> np.ndarray:
    """Where a shuffle of 0 … size-1 puts each index, computed without a table of the shuffle.

    index, size, tweak: uint64 [B], index < size < 2**62; keys: uint64 [rounds]. Equal (size, keys, tweak) is the same
    shuffle: as index runs over 0 … size-1, so does the result (uint64 [B]), in another order.

    Write the index as a pair of digits (left, right) in base `side`, the smallest number whose square reaches size. A
    round replaces (left, right) by (right, left + f(right) mod side): whatever f is, this can be undone, so it is a
    bijection of the side² pairs (a Feistel network). A result outside 0 … size-1 is sent through again until it falls
    inside, which keeps the bijection; as side² exceeds size by at most 2·side, it seldom happens. Black and Rogaway,
    "Ciphers with Arbitrary Finite Domains" (CT-RSA 2002), methods 2 (cycle walking) and 3 (Feistel in digits).

    Example, one round: size 3 has side 2. With f(0) = 1 and f(1) = 0, index 0 = (0, 0) → (0, 0 + 1) = 1,
    index 1 = (0, 1) → (1, 0 + 0) = 2, index 2 = (1, 0) → (0, 1 + 1 mod 2) = 0.
    """
    side = np.ceil(np.sqrt(size)).astype(np.uint64)
    left, right = index // side, index % side
    for key in keys:
        left, right = right, (left + _hash(right ^ tweak, key)) % side
    result = left * side + right
    outside = np.flatnonzero(result >= size)
    if len(outside):
        result[outside] = permute(result[outside], size[outside], keys, tweak[outside])
    return result


def _hash(x: np.ndarray, key: np.uint64) -> np.ndarray:
    """uint64 → 32 bits that look random, by the multipliers of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    x = (x ^ key) * 0xBF58476D1CE4E5B9
    return ((x ^ (x >> 32)) * 0x94D049BB133111EB) >> 32


# ---- reading ---------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, eq=False)
class Shards:
    """One split of a data folder, seen as `windows` windows of `context` tokens. Made by `Shards.open`."""

    folder: Path
    split: str
    context: int
    manifest: dict
    first_window: np.ndarray  # int64 [shards + 1]: the window that each shard begins with; last, the number of windows
    first_of_group: np.ndarray  # int64 [groups + 1]: the same for each group of consecutive shards
    tokens: Callable[[int], np.ndarray]  # shard → its ids, uint16 or uint32 [n], mapped and checked at first use

    @staticmethod
    def open(folder, split: str = "train", *, context: int) -> "Shards":
        """Check the manifest and the sizes of the files, and map nothing yet: 200 GB open in milliseconds.

        The content of a shard is checked against its SHA-256 when the shard is first used, unless this machine has
        checked it before (about 0.2 s for 200 MB, in the thread that reads ahead). Raises UserError, here or then, with
        the name of the file that is missing, truncated, altered or damaged, and if the split has fewer than context + 1
        tokens.
        """
        folder, manifest = Path(folder), read_manifest(folder)
        shards, dtype = manifest["splits"][split]["shards"], np.dtype(manifest["dtype"]).newbyteorder("<")
        for shard in shards:
            path, expected = folder / shard["file"], shard.get("offset", 0) + shard["tokens"] * dtype.itemsize
            with naming(path, "read"):
                size = path.stat().st_size
            if size != expected:
                raise UserError(f"{path} is {'truncated' if size < expected else 'too long'}: it has {size:,} bytes, "
                                f"and {MANIFEST} says {expected:,}; copy the file again or run prepare again.")
        total = manifest["splits"][split]["tokens"]
        if total <= context:
            raise UserError(f"the {split} split of {folder} has {total} tokens, but a context of {context} needs at "
                            f"least {context + 1}: add text or lower the context.")
        first_window = np.cumsum([0] + [-(-(shard["tokens"] - 1) // context) for shard in shards])
        first_of_group = [0]
        for start, stop in zip(first_window[:-1], first_window[1:]):
            if stop - first_of_group[-1] > GROUP_WINDOWS and start > first_of_group[-1]:
                first_of_group.append(start)

        @lru_cache(OPEN_FILES)
        def tokens(index: int) -> np.ndarray:
            path = folder / shards[index]["file"]
            _check_hash(path, shards[index]["sha256"])
            return np.asarray(np.memmap(path, dtype, mode="r", offset=shards[index].get("offset", 0)))

        first_of_group = np.array([*first_of_group, first_window[-1]])
        return Shards(folder, split, context, manifest, first_window, first_of_group, tokens)

    @property
    def windows(self) -> int:
        return int(self.first_window[-1])

    def batch(self, seed: int, step: int, sequences: int) -> np.ndarray:
        """The windows of one optimizer step: int64 [sequences], a pure function of its arguments and the shards' sizes.

        Imagine all epochs written one after the other, each with every window once and in an order of its own; step s
        takes positions s·sequences … (s+1)·sequences - 1. A batch may therefore end one epoch and begin the next. Rank
        and micro-batch are slices of the result, so the order is the same for any number of devices. With 5 windows and
        2 sequences, three steps might be [3 0], [4 1], [2 | 1]: the last begins the second epoch.
        """
        start, stop, windows = step * sequences, (step + 1) * sequences, self.windows
        return np.concatenate([
            self._epoch(seed, epoch, max(start - epoch * windows, 0), min(stop - epoch * windows, windows))
            for epoch in range(start // windows, (stop - 1) // windows + 1)])

    def _epoch(self, seed: int, epoch: int, start: int, stop: int) -> np.ndarray:
        """Positions start … stop-1 of an epoch: the groups of shards in shuffled order, and each group shuffled inside,
        so that a stretch of steps reads few files (which the system can then keep in memory)."""
        keys = np.frombuffer(hashlib.blake2b(b"%d %d" % (seed, epoch), digest_size=64).digest(), "<u8")
        sizes = np.diff(self.first_of_group)
        order = np.argsort(_hash(np.arange(len(sizes), dtype=np.uint64), keys[0]), kind="stable")
        ends = np.cumsum(sizes[order])
        position = np.arange(start, stop)
        slot = np.searchsorted(ends, position, side="right")
        group = order[slot]
        size = sizes[group]
        inside = position - ends[slot] + size
        # one word of the key orders the groups, seven drive seven rounds: with five, small shuffles are visibly biased.
        # the odd multiplier spreads a group's number over 64 bits, so that its shuffle is unrelated to the others'
        tweak = group.astype(np.uint64) * 0x9E3779B97F4A7C15
        return self.first_of_group[group] + permute(
            inside.astype(np.uint64), size.astype(np.uint64), keys[1:], tweak).astype(np.int64)

    def shard_of(self, windows) -> np.ndarray:
        """The shard that each window lies in: int64 [B] → int64 [B]."""
        return np.searchsorted(self.first_window, np.asarray(windows, np.int64), side="right") - 1

    def targets(self, windows) -> int:
        """How many targets these windows have that count, from the sizes of the shards alone: every rank knows the
        number for the whole batch without reading it."""
        windows = np.asarray(windows, np.int64)
        shards = self.manifest["splits"][self.split]["shards"]
        sizes = np.array([shard["tokens"] for shard in shards])[self.shard_of(windows)]
        starts = (windows - self.first_window[self.shard_of(windows)]) * self.context
        return int(np.minimum(self.context, sizes - 1 - starts).sum())

    def domains(self, windows) -> list[str]:
        """The domain of each window of the val split, whose shards hold one domain each."""
        shards = self.manifest["splits"][self.split]["shards"]
        return [shards[shard]["domain"] for shard in self.shard_of(windows)]

    def read(self, windows) -> tuple[np.ndarray, np.ndarray]:
        """windows int64 [B] → inputs and targets, int64 [B, context]; a shard's last window is padded (see the top)."""
        inputs = np.full((len(windows), self.context), self.manifest["eot"], np.int64)
        targets = np.full_like(inputs, IGNORE)
        for row, (window, shard) in enumerate(zip(windows, self.shard_of(windows).tolist())):
            start = int(window - self.first_window[shard]) * self.context
            tokens = self.tokens(shard)[start:start + self.context + 1]
            inputs[row, :len(tokens) - 1] = tokens[:-1]
            targets[row, :len(tokens) - 1] = tokens[1:]
        return inputs, targets

    def loader(self, seed: int, start_step: int, sequences: int, rank: int = 0, world: int = 1,
               ahead: int = 4) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Endless (step, inputs, targets) from start_step on: this rank's sequences / world rows of every batch.

        One thread reads `ahead` batches in advance. What goes wrong there is raised here, at the step it belongs to;
        closing the iterator (or dropping it) ends the thread.
        """
        if sequences % world:
            raise UserError(f"a batch of {sequences} sequences cannot be shared equally by {world} devices: change "
                            f"batch_tokens or the number of devices.")
        mine = slice(rank * sequences // world, (rank + 1) * sequences // world)

        def read(step):
            return self.read(self.batch(seed, step, sequences)[mine])

        def batches():
            with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
                pending = deque(pool.submit(read, start_step + i) for i in range(ahead))
                for step in itertools.count(start_step):
                    inputs, targets = pending.popleft().result()
                    pending.append(pool.submit(read, step + ahead))
                    yield step, inputs, targets

        return batches()
