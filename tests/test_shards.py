"""minigpt/shards.py, against tiktoken, hashlib, naive slicing and a scalar version of the order."""
import errno
import gc
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt import shards
from minigpt.config import UserError
from minigpt.shards import MANIFEST, Shards, check_tokenizer, permute, read_manifest, write_shards
from minigpt.tokenizer import train_bpe


class Document(NamedTuple):
    id: str
    domain: str
    text: str


class Tiny:
    """260 tokens: the bytes, three merges and <|endoftext|>; encodes by tiktoken."""

    def __init__(self):
        ranks = {bytes([byte]): byte for byte in range(256)} | {b"th": 256, b"the": 257, b" a": 258}
        self.eot, self.vocab_size, self.hash = 259, 260, "tiny" * 16
        self.tiktoken = tiktoken.Encoding("tiny", pat_str=r" ?\w+|[^\w]", mergeable_ranks=ranks,
                                          special_tokens={"<|endoftext|>": self.eot})
        self.token_bytes = np.array([len(token) for token in ranks] + [0])

    def encode_batch(self, texts, threads):
        return [np.array(self.tiktoken.encode_ordinary(text), np.int64) for text in texts]


class Wide:
    """70,000 ids of two bytes each: too many for uint16."""
    eot, vocab_size, hash, token_bytes = 69_999, 70_000, "wide" * 16, np.append(np.full(69_999, 2), 0)

    def encode_batch(self, texts, threads):
        return [np.array([65_500 + ord(character) for character in text], np.int64) for text in texts]


DOCUMENTS = [Document(f"{domain}/{i}", domain, text) for i, (domain, text) in enumerate([
    ("books", "the theory of a thing"), ("drama", "Ω! 🙂 the\n\nend"), ("books", "<|endoftext|> is plain text"),
    ("empty", ""), ("drama", "a b c"), ("speeches", "x" * 27), ("books", "held out, a first"),
    ("drama", "the stage is held"),
    ("books", "held out, the second")])]


def is_held(document):
    return "held" in document.text


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def written(folder, shard_tokens=30, tokenizer=None, documents=DOCUMENTS):
    return write_shards(folder, iter(documents), tokenizer or Tiny(), is_val=is_held, split_rule="those that say held",
                        shard_tokens=shard_tokens, threads=3)


def made(folder, sizes, dtype="uint16"):
    """A data folder written without write_shards: shards of the given sizes, whose tokens count up from 0."""
    entries, start = [], 0
    for index, size in enumerate(sizes):
        data = (np.arange(start, start + size) % 60_000).astype(dtype).tobytes()
        (folder / f"part{index}.raw").write_bytes(data)
        entries.append({"file": f"part{index}.raw", "documents": 1, "tokens": size, "bytes": size,
                        "sha256": hashlib.sha256(data).hexdigest()})
        start += size
    return with_manifest(folder, entries)


def with_manifest(folder, entries):
    total = {key: sum(entry[key] for entry in entries) for key in ("documents", "tokens", "bytes")}
    none = dict.fromkeys(total, 0) | {"domains": {}, "shards": []}
    (folder / MANIFEST).write_text(json.dumps({
        "version": 1, "dtype": "uint16", "vocab_size": 60_001, "eot": 60_000, "tokenizer": "counting", "split_rule": "",
        "splits": {"train": total | {"domains": {"numbers": total}, "shards": entries}, "val": none}}))
    return folder


def sparse(folder, windows):
    """Shards of so many windows of one token, as holes in the file system: for orders, whose content is never read."""
    entries = [{"file": f"{index}.raw", "documents": 1, "tokens": count + 1, "bytes": 0, "sha256": ""}
               for index, count in enumerate(windows)]
    for entry in entries:
        with open(folder / entry["file"], "wb") as file:
            file.truncate(2 * entry["tokens"])
    return Shards.open(with_manifest(folder, entries), context=1)


def verify(opened):
    """Use, and so check, every shard."""
    for shard in range(len(opened.first_window) - 1):
        opened.tokens(shard)


# ---- writing ---------------------------------------------------------------------------------------------------------

def test_documents_come_back_as_tiktoken_encodes_them(tmp_path):
    manifest = written(tmp_path)
    tokenizer, streams = Tiny(), {}
    for document in DOCUMENTS:
        if document.text:
            stream = document.domain if is_held(document) else "train"
            streams.setdefault(stream, []).extend([259, *tokenizer.tiktoken.encode_ordinary(document.text)])
    found = {}
    for split in manifest["splits"].values():
        for entry in split["shards"]:
            data = (tmp_path / entry["file"]).read_bytes()
            tokens = np.frombuffer(data, "<u2").tolist()
            assert hashlib.sha256(data).hexdigest() == entry["sha256"]
            assert tokens[0] == 259 and tokens.count(259) == entry["documents"] and len(tokens) == entry["tokens"]
            assert entry["bytes"] == len(tokenizer.tiktoken.decode_bytes([t for t in tokens if t != 259]))
            last = len(tokens) - tokens[::-1].index(259) - 1
            assert last < 30  # only its last document brought it to 30 tokens or more
            found.setdefault(entry.get("domain", "train"), []).extend(tokens)
    train = [entry["tokens"] for entry in manifest["splits"]["train"]["shards"]]
    assert len(train) == 3 and min(train[:-1]) >= 30
    assert found == streams
    assert manifest["dtype"] == "uint16" and manifest["split_rule"] == "those that say held"
    assert manifest == read_manifest(tmp_path) == json.loads((tmp_path / MANIFEST).read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [MANIFEST] + [entry["file"] for split in manifest["splits"].values() for entry in split["shards"]])


def test_with_the_tokenizer_of_the_package(tmp_path):
    tokenizer = train_bpe([document.text for document in DOCUMENTS], 271, ["<|endoftext|>"])
    manifest = written(tmp_path, 10**6, tokenizer)
    check_tokenizer(manifest, tokenizer)
    opened = Shards.open(tmp_path, context=10)
    inputs, targets = opened.read(np.arange(opened.windows))
    texts = [document.text for document in DOCUMENTS if document.text and not is_held(document)]
    assert inputs[0, 0] == tokenizer.eot == 270
    assert tokenizer.decode(targets[targets >= 0]) == "<|endoftext|>".join(texts)
    assert tokenizer.token_bytes[targets[targets >= 0]].sum() == manifest["splits"]["train"]["bytes"]


def test_counts_per_domain(tmp_path):
    splits = written(tmp_path)["splits"]
    for name, held in ("train", False), ("val", True):
        mine = [document for document in DOCUMENTS if document.text and is_held(document) == held]
        assert set(splits[name]["domains"]) == {document.domain for document in mine}
        for domain, counts in (*splits[name]["domains"].items(), (None, splits[name])):
            texts = [document.text for document in mine if domain in (None, document.domain)]
            assert counts["documents"] == len(texts)
            assert counts["bytes"] == sum(len(text.encode()) for text in texts)
            assert counts["tokens"] == sum(1 + len(Tiny().tiktoken.encode_ordinary(text)) for text in texts)


def test_a_document_larger_than_a_shard_is_stored_in_pieces(tmp_path):
    text = "".join(chr(97 + i % 26) for i in range(97))
    split = written(tmp_path, 20, documents=[Document("long", "books", text), DOCUMENTS[4]])["splits"]["train"]
    tokens = [np.frombuffer((tmp_path / entry["file"]).read_bytes(), "<u2").tolist() for entry in split["shards"]]
    assert [len(piece) for piece in tokens] == [20, 20, 20, 20, 20, 1 + 2 + 1 + 5]  # the last two of 97, "a b c"
    assert all(piece[0] == 259 for piece in tokens)
    assert Tiny().tiktoken.decode([t for piece in tokens for t in piece if t != 259]) == text + "a b c"
    assert split["documents"] == 2 and split["bytes"] == 97 + 5
    # so every byte is predicted, which the bits per byte of a held-out document need
    opened = Shards.open(tmp_path, context=7)
    targets = opened.read(np.arange(opened.windows))[1]
    assert Tiny().token_bytes[targets[targets >= 0]].sum() == 97 + 5


def test_a_vocabulary_above_65536_takes_four_bytes(tmp_path):
    text = "every id is large"
    manifest = written(tmp_path, tokenizer=Wide(), documents=[Document("wide", "books", text)])
    inputs, targets = Shards.open(tmp_path, context=17).read([0])
    assert manifest["dtype"] == "uint32" and manifest["splits"]["train"]["bytes"] == 2 * 17
    assert inputs[0, 0] == 69_999 and targets[0].tolist() == [65_500 + ord(character) for character in text]
    assert targets.max() > 65_535


def test_at_most_a_batch_of_documents_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "BATCH_CHARACTERS", 100)
    drawn, waiting = [], []

    def documents():
        for i in range(50):
            drawn.append(i)
            yield Document(str(i), "books", "sentence number %02d" % i)

    def count(document):
        waiting.append(len(drawn) - len(waiting))
        return False

    assert write_shards(tmp_path, documents(), Tiny(), is_val=count)["splits"]["train"]["documents"] == 50
    assert max(waiting) == 6  # of 18 characters: the sixth passes 100


@pytest.mark.parametrize("documents", [[], [DOCUMENTS[3]]])
def test_no_text(tmp_path, documents):
    with pytest.raises(UserError, match="no text"):
        written(tmp_path, documents=documents)
    assert not (tmp_path / MANIFEST).exists()


def test_a_finished_folder_is_not_overwritten(tmp_path):
    written(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=f"{tmp_path.name} already holds"):
        written(tmp_path, documents=DOCUMENTS[:1])
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_an_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot write .*file.data: Not a directory"):
        written(tmp_path / "file" / "data")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_no_manifest_and_writing_can_be_repeated(tmp_path, monkeypatch, call):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(UserError, match="cannot write .*: No space left on device"):
        written(tmp_path)
    assert not (tmp_path / MANIFEST).exists()
    monkeypatch.undo()
    assert written(tmp_path) == read_manifest(tmp_path)


def test_an_interrupted_write_is_not_a_data_folder_and_can_be_repeated(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "BATCH_CHARACTERS", 40)

    def broken():
        yield from DOCUMENTS[:6]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        written(tmp_path, documents=broken())
    assert list(tmp_path.glob("train_*.bin"))
    with pytest.raises(UserError, match="manifest.json is missing"):
        Shards.open(tmp_path, context=3)
    assert written(tmp_path) == read_manifest(tmp_path)
    verify(Shards.open(tmp_path, context=3))


# ---- windows ---------------------------------------------------------------------------------------------------------

def test_the_example_at_the_top_of_the_module(tmp_path):
    opened = Shards.open(made(tmp_path, [8]), context=3)
    inputs, targets = opened.read(np.array([0, 2, 1]))
    assert inputs.tolist() == [[0, 1, 2], [6, 60_000, 60_000], [3, 4, 5]]
    assert targets.tolist() == [[1, 2, 3], [7, -100, -100], [4, 5, 6]]
    assert inputs.dtype == targets.dtype == np.int64


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5), context=st.integers(1, 13))
def test_every_token_but_a_shards_first_is_a_target_once(sizes, context):
    with tempfile.TemporaryDirectory() as folder:
        made(Path(folder), sizes)
        if sum(sizes) <= context:
            with pytest.raises(UserError, match=f"has {sum(sizes)} tokens.*at least {context + 1}"):
                Shards.open(folder, context=context)
            return
        opened = Shards.open(folder, context=context)
        assert opened.windows == sum(math.ceil((size - 1) / context) for size in sizes)
        inputs, targets = opened.read(np.arange(opened.windows))
        starts = np.cumsum([0, *sizes])
        expected = [token for start, stop in zip(starts, starts[1:]) for token in range(start + 1, stop)]
        real = targets >= 0
        assert targets[real].tolist() == expected  # in order: windows are numbered along the files
        assert (inputs[real] == targets[real] - 1).all()
        assert (targets[~real] == -100).all() and (inputs[~real] == 60_000).all()


def test_domains_of_held_out_windows(tmp_path):
    written(tmp_path)
    val = Shards.open(tmp_path, "val", context=5)
    windows = np.arange(val.windows)
    names, (_, targets) = val.domains(windows), val.read(windows)
    for domain in ("books", "drama"):
        rows = targets[[name == domain for name in names]]
        text = Tiny().tiktoken.decode(rows[rows >= 0].tolist())
        assert text == "<|endoftext|>".join(d.text for d in DOCUMENTS if is_held(d) and d.domain == domain)


# ---- order -----------------------------------------------------------------------------------------------------------

def slow_batch(windows_of_groups, seed, step, sequences):
    """The order in plain integers, one position at a time: what `batch` computes for all at once."""
    mask, total = (1 << 64) - 1, sum(windows_of_groups)
    result = []

    def mix(x, key):
        x = (x ^ key) * 0xBF58476D1CE4E5B9 & mask
        return ((x ^ x >> 32) * 0x94D049BB133111EB & mask) >> 32

    for position in range(step * sequences, (step + 1) * sequences):
        epoch, position = divmod(position, total)
        digest = hashlib.blake2b(f"{seed} {epoch}".encode(), digest_size=64).digest()
        keys = [int.from_bytes(digest[i:i + 8], "little") for i in range(0, 64, 8)]
        for group in sorted(range(len(windows_of_groups)), key=lambda group: mix(group, keys[0])):
            if position < windows_of_groups[group]:
                break
            position -= windows_of_groups[group]
        size, tweak = windows_of_groups[group], group * 0x9E3779B97F4A7C15 & mask
        side = math.isqrt(size - 1) + 1
        while True:
            left, right = divmod(position, side)
            for key in keys[1:]:
                left, right = right, (left + mix(right ^ tweak, key)) % side
            position = left * side + right
            if position < size:
                break
        result.append(sum(windows_of_groups[:group]) + position)
    return result


@settings(max_examples=60, deadline=None)
@given(windows=st.lists(st.integers(0, 90), min_size=1, max_size=8).filter(any), group=st.integers(1, 120),
       seed=st.integers(-5, 2**40), sequences=st.integers(1, 50), step=st.integers(0, 10**6))
def test_batch_equals_the_slow_version(windows, group, seed, sequences, step):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "GROUP_WINDOWS", group)
        opened = sparse(Path(folder), windows)
        groups = np.diff(opened.first_of_group).tolist()
        assert sum(groups) == sum(windows) and set(opened.first_of_group) <= set(opened.first_window)
        assert all(size <= max(group, *windows) for size in groups)
        assert all(a + b > group for a, b in zip(groups, groups[1:]))  # no group could have been left out
        batch = opened.batch(seed, step, sequences)
        assert batch.dtype == np.int64 and batch.tolist() == slow_batch(groups, seed, step, sequences)


@pytest.mark.parametrize("windows, groups", [
    ([3, 4, 3, 1], [7, 4]), ([9, 2, 8, 5], [9, 2, 8, 5]), ([1] * 15, [7, 7, 1])])
def test_groups_are_full_but_not_over(tmp_path, monkeypatch, windows, groups):
    monkeypatch.setattr(shards, "GROUP_WINDOWS", 7)
    assert np.diff(sparse(tmp_path, windows).first_of_group).tolist() == groups


def test_the_order_never_changes():
    """A run resumed under a later version must meet the same batches: these literals were written down once."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "GROUP_WINDOWS", 1000)
        opened = sparse(Path(folder), [900, 17, 800, 350])
        assert opened.batch(7, 0, 6).tolist() == FROZEN[0]
        assert opened.batch(7, 344, 6).tolist() == FROZEN[1]


FROZEN = [[1090, 1569, 930, 1099, 938, 1286], [216, 615, 433, 1207, 1118, 1014]]  # the second straddles two epochs


@settings(max_examples=60, deadline=None)
@given(windows=st.lists(st.integers(1, 300), min_size=1, max_size=6), group=st.integers(1, 700),
       seed=st.integers(0, 2**63), sequences=st.integers(1, 90))
def test_every_window_once_an_epoch(windows, group, seed, sequences):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "GROUP_WINDOWS", group)
        opened, total = sparse(Path(folder), windows), sum(windows)
        stream = np.concatenate([opened.batch(seed, step, sequences) for step in range(3 * total // sequences + 1)])
        for epoch in range(3):  # batches straddle the ends of epochs wherever sequences does not divide total
            assert sorted(stream[epoch * total:(epoch + 1) * total]) == list(range(total))


@pytest.mark.parametrize("windows", [[1], [1, 1, 1], [2_000_003], [999_999, 1, 49, 1 << 20, 5, 123_456], [97_657] * 25])
def test_every_window_once_an_epoch_of_many(tmp_path, windows):
    opened, total = sparse(tmp_path, windows), sum(windows)
    for epoch in (0, 3):
        assert (np.bincount(opened.batch(11, epoch, total), minlength=total) == 1).all()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 15, 16, 17, 255, 256, 257, 9_999, 10_000, 10_001])
def test_permute_is_a_bijection_at_and_beside_squares(size):
    index, same = np.arange(size, dtype=np.uint64), np.ones(size, np.uint64)
    keys = np.arange(5, 12, dtype=np.uint64)
    assert sorted(permute(index, size * same, keys, 3 * same).tolist()) == list(range(size))


@pytest.mark.parametrize("size", [2**40 - 1, 2**52 + 1, 2**61 + 3])
def test_permute_of_sizes_that_no_table_holds(size):
    index, same = np.arange(100_000, dtype=np.uint64) + size // 3, np.ones(100_000, np.uint64)
    result = permute(index, size * same, np.arange(5, 12, dtype=np.uint64), same)
    assert result.max() < size and len(np.unique(result)) == 100_000


def test_permute_example():
    """The docstring's, with a key found by search for which f(0) is odd and f(1) even."""
    zero_one = np.arange(2, dtype=np.uint64)
    key = next(key for key in np.arange(99, dtype=np.uint64) if (shards._hash(zero_one, key) % 2).tolist() == [1, 0])
    zero = np.zeros(3, np.uint64)
    assert permute(np.arange(3, dtype=np.uint64), zero + 3, [key], zero).tolist() == [1, 2, 0]


def test_small_orders_are_uniform(tmp_path):
    """Over 3,000 seeds each window is equally often at each place, and each ordered pair equally often neighbours."""
    for size in (3, 5, 7, 12, 29):
        folder = tmp_path / str(size)
        folder.mkdir()
        opened, place, pair = sparse(folder, [size]), np.zeros((size, size)), np.zeros((size, size))
        for seed in range(3000):
            order = opened.batch(seed, 0, size)
            place[np.arange(size), order] += 1
            pair[order[:-1], order[1:]] += 1
        pair = pair[~np.eye(size, dtype=bool)]
        for counts, freedom in (place, (size - 1) ** 2), (pair, len(pair) - 1):
            chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
            assert abs(chi_square - freedom) < 6 * math.sqrt(2 * freedom), (size, chi_square, freedom)


def test_large_orders_are_mixed(tmp_path):
    opened, size = sparse(tmp_path, [300_007, 300_007, 400_001]), 300_007
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "GROUP_WINDOWS", 300_008)
        grouped = Shards.open(tmp_path, context=1)
    orders = [opened.batch(seed, epoch, opened.windows) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    total = opened.windows
    for order in orders:
        displacement = np.abs(order - np.arange(total)).mean() / total
        assert abs(displacement - 1 / 3) < 5 * 0.236 / math.sqrt(total)  # |x-y| of uniforms: mean 1/3, deviation 0.236
        assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 5 / math.sqrt(total)
        steps = np.bincount(np.diff(order) % total * 1000 // total, minlength=1000)
        assert abs(((steps - steps.mean()) ** 2).sum() / steps.mean() - 999) < 6 * math.sqrt(2 * 999)
    for i, j in (0, 1), (0, 2), (1, 2):  # unrelated orders agree at about one position
        assert (orders[i] == orders[j]).sum() < 10
    # shuffles of two groups of one size are unrelated as well
    order = grouped.batch(5, 0, total)
    first, second = order[order < size], order[(order >= size) & (order < 2 * size)] - size
    assert (first == second).sum() < 10 and len(first) == size
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(size)


def test_a_stretch_of_steps_reads_few_shards(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "GROUP_WINDOWS", 1000)
        opened = sparse(tmp_path, [333] * 60)
    assert len(opened.first_of_group) - 1 == 20
    for step in (0, 17, 123):
        assert len(set(opened.shard_of(opened.batch(3, step, 32)))) <= 6
    order = [opened.shard_of(opened.batch(3, step, 999))[0] // 3 for step in range(20)]
    assert sorted(order) == list(range(20)) != order


# ---- loader ----------------------------------------------------------------------------------------------------------

def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def take(loader, count):
    taken = [next(loader) for _ in range(count)]
    loader.close()
    return taken


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_ranks_and_micro_batches_together_make_the_batch(tmp_path, world):
    opened = Shards.open(made(tmp_path, [61, 30, 47]), context=4)
    ranks = [take(opened.loader(9, 5, 12, rank, world), 6) for rank in range(world)]
    for i, parts in enumerate(zip(*ranks)):
        inputs, targets = opened.read(opened.batch(9, 5 + i, 12))
        assert [step for step, _, _ in parts] == [5 + i] * world
        assert (np.concatenate([part[1] for part in parts]) == inputs).all()
        assert (np.concatenate([part[2] for part in parts]) == targets).all()
    assert not readers()


def test_a_loader_continues_where_another_stopped(tmp_path):
    opened = Shards.open(made(tmp_path, [61, 30, 47]), context=4)
    straight, resumed = take(opened.loader(2, 0, 5), 23), take(opened.loader(2, 14, 5), 9)
    for (step, *arrays), (again, *same) in zip(straight[14:], resumed):
        assert step == again and all((a == b).all() for a, b in zip(arrays, same))
    # 115 sequences are three epochs of 35 windows and a little: each token was a target three or four times
    counts = Counter(np.concatenate([targets[targets >= 0] for _, _, targets in straight]).tolist())
    assert opened.windows == 35 and set(counts.values()) == {3, 4}


def test_reading_runs_ahead_by_a_bounded_number_of_batches(tmp_path, monkeypatch):
    opened, reads, read = Shards.open(made(tmp_path, [61, 30, 47]), context=4), [], Shards.read
    monkeypatch.setattr(Shards, "read", lambda self, windows: reads.append(1) or read(self, windows))
    loader = opened.loader(0, 0, 3, ahead=5)
    assert not reads and not readers()
    next(loader)
    deadline = time.monotonic() + 10
    while len(reads) < 6 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert len(reads) == 6 and len(readers()) == 1
    del loader
    gc.collect()
    assert not readers()


def test_a_fault_in_the_thread_is_raised_at_its_step(tmp_path):
    folder = made(tmp_path, [9, 400])
    opened = Shards.open(folder, context=4)
    flip(folder / "part0.raw")  # 2 of 102 windows lie in it
    bad = next(step for step in range(200) if opened.batch(1, step, 3).min() < 2)
    assert bad >= 3  # else choose another seed
    loader = opened.loader(1, 0, 3)
    assert [next(loader)[0] for _ in range(bad)] == list(range(bad))
    with pytest.raises(UserError, match="part0.raw was altered"):
        next(loader)
    assert not readers()


def test_a_batch_that_ranks_cannot_share(tmp_path):
    with pytest.raises(UserError, match="12 sequences .* 5 devices"):
        Shards.open(made(tmp_path, [61]), context=4).loader(0, 0, 12, 0, 5)


# ---- damage ----------------------------------------------------------------------------------------------------------

def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def test_truncated_long_and_missing_shards_are_refused_at_once(tmp_path):
    path = made(tmp_path, [61, 30, 47]) / "part1.raw"
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(UserError, match="part1.raw is truncated: it has 59 bytes, and manifest.json says 60"):
        Shards.open(tmp_path, context=4)
    path.write_bytes(data + b"\0")
    with pytest.raises(UserError, match="part1.raw is too long"):
        Shards.open(tmp_path, context=4)
    path.unlink()
    with pytest.raises(UserError, match="cannot read .*part1.raw: No such file"):
        Shards.open(tmp_path, context=4)


def test_an_altered_shard_is_refused_before_its_tokens_are_used(tmp_path):
    opened = Shards.open(made(tmp_path, [61, 30, 47]), context=4)
    flip(tmp_path / "part1.raw")
    for shards_ in opened, Shards.open(tmp_path, context=4):
        assert len(shards_.read([0, 14, shards_.windows - 1])[0]) == 3  # the others are good
        with pytest.raises(UserError, match="part1.raw was altered"):
            shards_.read([15])
        with pytest.raises(UserError, match="part1.raw was altered"):
            verify(shards_)


def test_a_shard_that_vanishes_is_named(tmp_path):
    opened = Shards.open(made(tmp_path, [61, 30]), context=4)
    (tmp_path / "part1.raw").unlink()
    with pytest.raises(UserError, match="cannot read .*part1.raw"):
        verify(opened)


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files that are hashed."""
    names, file_digest = [], hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest",
                        lambda file, kind: names.append(Path(file.name).name) or file_digest(file, kind))
    return names


def test_shards_are_hashed_once_a_machine(tmp_path, hashed, cache):
    made(tmp_path, [61, 30, 47])
    opened = Shards.open(tmp_path, context=4)
    assert hashed == []  # opening hashes nothing
    opened.read(np.arange(opened.windows))
    opened.read(np.arange(opened.windows))
    assert hashed == ["part0.raw", "part1.raw", "part2.raw"]
    verify(Shards.open(tmp_path, context=9))
    assert len(hashed) == 3 and len(list((cache / "minigpt" / "shards").iterdir())) == 3
    os.utime(tmp_path / "part2.raw", ns=(1, 1))
    verify(Shards.open(tmp_path, context=4))
    assert hashed[3:] == ["part2.raw"]
    flip(tmp_path / "part0.raw")
    with pytest.raises(UserError, match="part0.raw was altered"):
        verify(Shards.open(tmp_path, context=4))


def test_a_changed_hash_in_the_manifest_is_not_covered_by_the_stamp(tmp_path):
    verify(Shards.open(made(tmp_path, [61]), context=4))
    change(tmp_path, lambda manifest: manifest["splits"]["train"]["shards"][0].update(sha256="0" * 64))
    with pytest.raises(UserError, match="part0.raw was altered"):
        verify(Shards.open(tmp_path, context=4))


def test_a_copy_is_not_covered_by_the_stamp_of_the_original(tmp_path):
    (tmp_path / "a").mkdir()
    verify(Shards.open(made(tmp_path / "a", [61]), context=4))
    shutil.copytree(tmp_path / "a", tmp_path / "b")  # keeps the times of change
    copy, changed = tmp_path / "b" / "part0.raw", (tmp_path / "a" / "part0.raw").stat().st_mtime_ns
    flip(copy)
    os.utime(copy, ns=(changed, changed))
    with pytest.raises(UserError, match="b.part0.raw was altered"):
        verify(Shards.open(tmp_path / "b", context=4))


def test_without_a_cache_every_run_hashes(tmp_path, hashed, monkeypatch):
    made(tmp_path, [61, 30])
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        opened = Shards.open(tmp_path, context=4)
        verify(opened), verify(opened)
    assert len(hashed) == 4


def test_files_stay_few_and_are_not_hashed_again_when_opened_again(tmp_path, hashed, monkeypatch):
    monkeypatch.setattr(shards, "OPEN_FILES", 3)
    made(tmp_path, [5] * 11)
    opened = Shards.open(tmp_path, context=4)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(2):
        assert opened.read(np.arange(11))[1].ravel().tolist() == [t for t in range(55) if t % 5]
    assert len(hashed) == 11
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 3


def change(folder, edit):
    manifest = json.loads((folder / MANIFEST).read_text())
    edit(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize("edit, message", [
    (lambda m: m.update(version=2), "has format 2, not 1"),
    (lambda m: m.pop("version"), "is damaged"),
    (lambda m: m["splits"].pop("val"), "is damaged"),
    (lambda m: m["splits"]["train"]["shards"].pop(), "is damaged .*do not add up"),
    (lambda m: m["splits"]["train"]["domains"]["numbers"].update(bytes=1), "is damaged .*bytes of train do not add up"),
    (lambda m: m["splits"]["train"]["shards"][0].pop("tokens"), "is damaged"),
    (lambda m: m["splits"].update(train=[]), "is damaged"),
])
def test_a_damaged_manifest_is_named(tmp_path, edit, message):
    change(made(tmp_path, [61, 30]), edit)
    with pytest.raises(UserError, match=f"manifest.json {message}"):
        Shards.open(tmp_path, context=4)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe\x00", b'{"version": 1}'])
def test_a_manifest_that_is_something_else(tmp_path, content):
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(UserError, match="manifest.json is damaged"):
        read_manifest(tmp_path)


def test_a_folder_without_manifest(tmp_path):
    with pytest.raises(UserError, match="manifest.json is missing"):
        read_manifest(tmp_path / "nowhere")
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(UserError, match="cannot read .*manifest.json"):
        read_manifest(tmp_path)


def test_another_tokenizer_is_refused(tmp_path):
    manifest = written(tmp_path)
    check_tokenizer(manifest, Tiny())
    with pytest.raises(UserError, match="manifest.json names another tokenizer .tinytinytiny. than .* .widewidewide"):
        check_tokenizer(manifest, Wide())


@pytest.mark.parametrize("split, tokens", [("train", 94), ("val", 52)])
def test_text_shorter_than_a_context(tmp_path, split, tokens):
    assert written(tmp_path)["splits"][split]["tokens"] == tokens
    assert Shards.open(tmp_path, split, context=tokens - 1).windows > 0
    with pytest.raises(UserError, match=f"the {split} split of .* has {tokens} tokens.* at least {tokens + 1}"):
        Shards.open(tmp_path, split, context=tokens)


def test_nothing_held_out(tmp_path):
    written(tmp_path, documents=DOCUMENTS[:2])
    with pytest.raises(UserError, match="the val split of .* has 0 tokens"):
        Shards.open(tmp_path, "val", context=4)


# ---- size ------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def huge(tmp_path_factory):
    """1,000 shards of 100 million tokens: 200 GB of holes."""
    folder = tmp_path_factory.mktemp("huge")
    entries = [{"file": f"train_{i:05d}.bin", "documents": 1, "tokens": 100_000_000, "bytes": 0, "sha256": ""}
               for i in range(1000)]
    try:
        for entry in entries:
            with open(folder / entry["file"], "wb") as file:
                file.truncate(200_000_000)
    except OSError:
        pytest.skip("this file system cannot hold 200 GB of holes")
    if sum(getattr(path.stat(), "st_blocks", 1 << 40) for path in folder.iterdir()) > 1 << 20:
        pytest.skip("this file system has no sparse files")
    yield with_manifest(folder, entries)
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_200_gb_open_in_a_second_and_50_mib(huge):
    script = """
import os, sys, time
from minigpt.shards import Shards
def resident(): return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
before, start = resident(), time.perf_counter()
shards = Shards.open(sys.argv[1], context=1024)
seconds, grown = time.perf_counter() - start, resident() - before
ids = shards.batch(0, 10**6, 512)
print(seconds, grown, resident() - before, shards.windows, ids.min(), ids.max())
"""
    output = subprocess.run([sys.executable, "-c", script, huge], capture_output=True, text=True, check=True).stdout
    seconds, grown, after_a_batch, windows, low, high = map(float, output.split())
    assert seconds < 1 and grown < 50 and after_a_batch < 50
    assert windows == 1000 * math.ceil(99_999_999 / 1024) and 0 <= low < high < windows


def test_a_batch_of_200_gb_takes_microseconds(huge):
    opened = Shards.open(huge, context=1024)
    assert len(opened.first_of_group) - 1 == 100
    assert len(set(opened.shard_of(opened.batch(0, 10**5, 512)))) <= 20
    seconds = min(timeit.repeat(lambda: opened.batch(0, 10**5, 512), number=20, repeat=5)) / 20
    assert seconds < 1e-3
