"""How well a model predicts a text, in bits per byte: comparable between any two models, tokenizers and compressors.

A model's loss per token depends on how much text a token holds. So we add up the nats of all tokens, turn them into
bits (one bit is ln 2 nats), and divide by the bytes of the text. With an arithmetic coder the model could store the
text in that many bits for each of its bytes (Shannon 1948), which is why gzip and xz can stand on the same axis.
"""
import gzip
import lzma
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from .config import UserError
from .sampling import evaluating
from .model import GPT


def bits_per_byte(model: GPT, tokenizer, text: str, *, stride: int | None = None, batch: int = 8) -> float:
    """Bits per byte of a text; every byte counts once, and the first token is predicted from <|endoftext|>.

    stride   None: windows of the training context, one after the other without overlap. S: windows overlap, and each
             token is predicted with at least context - S tokens before it, where there are that many: a better figure,
             at context / S times the work, and not comparable with the first
    batch    windows in one forward pass; changes speed and memory, not the result
    Raises UserError for an empty text, a stride outside 1 … context, and a tokenizer that is not the model's.

    Example: a model that has learnt nothing gives each of V tokens the probability 1/V, so a text of n tokens and m
    bytes costs n · log2(V) / m. At V = 4096 and 3 bytes a token that is 12 / 3 = 4 bits per byte.
    """
    context = model.config.context
    stride = context if stride is None else stride
    if not 1 <= stride <= context:
        raise UserError(f"stride must be from 1 to the model's context, {context}, not {stride}.")
    tokens = np.array([tokenizer.eot, *tokenizer.encode(text)], np.int64)
    if len(tokens) == 1:
        raise UserError("the text to evaluate is empty: name one with at least one character.")
    if tokens.max() >= model.config.vocab_size:
        raise UserError(f"the tokenizer made token {tokens.max()}, but the model has {model.config.vocab_size} tokens: "
                        f"use the tokenizer that it was trained with.")  # fmt: skip
    found = evaluate_windows(model, sliding_windows(tokens, context, stride, batch), tokenizer.token_bytes)
    return to_bpb(found["nats"], found["bytes"])


def to_bpb(nats: float, n_bytes: int) -> float:
    """Nats of a whole text → bits per byte of it."""
    return nats / math.log(2) / n_bytes


def sliding_windows(
    tokens: np.ndarray, context: int, stride: int, batch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields inputs and targets, at most (batch, context) int64; every token but the first is a target exactly once.

    A window starts every `stride` tokens. What the window before it has predicted already is input only: its target is
    -100, and so is what lies past the end. With tokens E a b c d e f, context 4 and stride 2:

        E a b c → a b c d
        b c d e → - - e f        e is predicted from b c d, that is 4 - 2 tokens and one more
    """
    inputs, targets = tokens[:-1], tokens[1:]
    context = min(context, len(inputs))
    places = np.arange(context)
    starts = np.arange(0, len(inputs) - context + stride, stride)[:, None]
    for rows in np.split(starts, range(batch, len(starts), batch)):
        index = rows + places
        scored = (index < len(inputs)) & ((rows == 0) | (places >= context - stride))
        index = index.clip(max=len(inputs) - 1)
        yield inputs[index], np.where(scored, targets[index], -100)


def evaluate_windows(model: GPT, batches: Iterable[tuple[np.ndarray, np.ndarray]], token_bytes: np.ndarray) -> dict:
    """Add up the loss over batches of (inputs, targets), as `Shards.read` gives them: {"nats", "bytes", "tokens"}.

    A target is scored if it is text: -100 is not, and neither is <|endoftext|>, whose token_bytes are 0.
    """
    one_domain = ((["all"] * len(inputs), inputs, targets) for inputs, targets in batches)
    return per_domain(model, one_domain, token_bytes)["all"]


def per_domain(
    model: GPT, batches: Iterable[tuple[Sequence[str], np.ndarray, np.ndarray]], token_bytes: np.ndarray
) -> dict[str, dict]:
    """The same for batches of (domains, inputs, targets), where domains names each row's: one such dict a domain.

    One pass gives the parts, and the parts add up to the whole. Example, with two windows of three targets, all text:

        [(["books", "code"], inputs, targets)] → {"books": {…, "tokens": 3}, "code": {…, "tokens": 3}}
    """
    found: dict[str, Counter] = defaultdict(lambda: Counter(nats=0.0, bytes=0, tokens=0))
    for domains, inputs, targets in batches:
        nats = token_losses(model, inputs, targets)
        sizes = np.where(targets < 0, 0, token_bytes[np.maximum(targets, 0)])
        for domain, row_nats, row_sizes in zip(domains, nats, sizes, strict=True):
            scored = row_sizes > 0
            found[domain].update(
                nats=float(row_nats[scored].sum()), bytes=int(row_sizes.sum()), tokens=int(scored.sum())
            )
    return {domain: dict(counts) for domain, counts in found.items()}


def token_losses(model: GPT, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Nats of each target, float64 (B, T), 0 where it is -100. inputs and targets int64 (B, T).

    The model computes in eval mode and fp32 (or under the caller's autocast); float64 is for the sums that follow.
    """
    device = model.embed.weight.device
    with evaluating(model), torch.no_grad():
        nats = model(torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device), reduction="none")
    return nats.cpu().double().numpy()


def compressors(data: bytes) -> dict[str, float]:
    """Bits per byte of gzip and xz at their strongest ordinary level: what a model must beat to have learnt something.

    >>> compressors(bytes(1000))["gzip"]                        # 29 bytes: 29 · 8 / 1000
    0.232
    """
    packed = {"gzip": gzip.compress(data, 9), "xz": lzma.compress(data, preset=9)}
    return {name: len(made) * 8 / len(data) for name, made in packed.items()}
