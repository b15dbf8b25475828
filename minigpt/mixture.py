"""A mixture: a data folder whose training tokens come from its domains in given shares, to the token.

    have            books 600, web 2,000 tokens; asked: 1,000 tokens, half of them books
    books  500      the first 500, the last document cut there
    web    500

Asked for 2,000 tokens, books would be read 1.67 times: whole once, then its first 400 tokens. A domain that would be
repeated more often than is allowed is an error, because nobody notices it afterwards.
"""
import heapq
import io
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .config import UserError
from .files import naming
from .shards import SHARD_TOKENS, STEPS, ShardWriter, read_manifest


def shares_in_tokens(shares: dict[str, float], total: int) -> dict[str, int]:
    """Whole numbers that add up to `total`, each within one of its share; the largest remainders are rounded up.

    >>> shares_in_tokens({"a": 0.5, "b": 0.3, "c": 0.2}, 11)
    {'a': 6, 'b': 3, 'c': 2}
    """
    exact = {name: share * total / sum(shares.values()) for name, share in shares.items()}
    late = sorted(exact, key=lambda name: int(exact[name]) - exact[name])
    up = set(late[: total - sum(map(int, exact.values()))])
    return {name: int(value) + (name in up) for name, value in exact.items()}


def mix(unmixed: Path, folder: Path, tokenizer, shares: dict[str, float], max_epochs: float, tokens: int = 0,
        shard_tokens: int = SHARD_TOKENS) -> dict:  # fmt: skip
    """Make `folder` a data folder with the training tokens of `unmixed` in these shares; returns the manifest.

    unmixed: a data folder whose training shards hold one domain each. What it holds out is copied as it is.
    tokens: how many to train on, with <|endoftext|>; 0: as many as these domains have together.
    Documents keep their order in a domain, and those of all domains are spread evenly over the whole. UserError for a
    domain that is not there, or that would be repeated more than `max_epochs` times.
    """
    manifest = read_manifest(unmixed)
    have = {name: counts["tokens"] for name, counts in manifest["splits"]["train"]["domains"].items()}
    if missing := [name for name in shares if not have.get(name)]:
        raise UserError(f"--mixture names {missing[0]}, but the text to train on is of {', '.join(sorted(have))}.")
    want = shares_in_tokens(shares, tokens or sum(have[name] for name in shares))
    most = int(min(max_epochs * have[name] / share for name, share in shares.items()))
    for name in shares:
        if want[name] > max_epochs * have[name]:
            raise UserError(f"--mixture takes {want[name]:,} tokens of {name}, which has {have[name]:,}: "
                            f"{want[name] / have[name]:.1f} epochs, and --max-epochs is {max_epochs:g}: lower its "
                            f"share, or ask for --tokens {most} at most.")  # fmt: skip
    if (unmixed / STEPS).exists():
        shutil.copyfile(unmixed / STEPS, folder / STEPS)
    with naming(folder, "write"), ShardWriter(folder, tokenizer, shard_tokens) as writer:
        writer.splits["val"] = manifest["splits"]["val"]
        for shard in manifest["splits"]["val"]["shards"]:
            shutil.copyfile(unmixed / shard["file"], folder / shard["file"])
        streams = (repeated_documents(unmixed, manifest, name, want[name]) for name in shares)
        for _, name, tokens in heapq.merge(*streams, key=lambda found: found[0]):
            counts = [1, len(tokens), int(tokenizer.token_bytes[tokens[1:]].sum())]
            writer.put("train", name, io.BytesIO(tokens.tobytes()), counts)
        table = {name: {"share": shares[name], "tokens": want[name], "available": have[name],
                        "epochs": want[name] / have[name]} for name in shares}  # fmt: skip
        return writer.finish(manifest["split_rule"], mixture=table)


def repeated_documents(folder: Path, manifest: dict, name: str, want: int) -> Iterator[tuple[float, str, np.ndarray]]:
    """The training documents of a domain, over and over until there are `want` tokens: (how far we are, from 0 to 1,
    the domain, the document's tokens)."""
    files = [shard["file"] for shard in manifest["splits"]["train"]["shards"] if shard["domain"] == name]
    shards = [np.memmap(folder / file, np.dtype(manifest["dtype"]).newbyteorder("<"), mode="r") for file in files]
    done = 0
    for shard in itertools.cycle(shards):
        starts = np.flatnonzero(shard == manifest["eot"]).tolist()
        for start, end in zip(starts, [*starts[1:], len(shard)]):
            if done == want:
                return
            tokens = shard[start : min(end, start + want - done)]
            yield done / want, name, tokens
            done += len(tokens)
