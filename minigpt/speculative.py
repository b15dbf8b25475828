"""Speculative decoding: a small model guesses some tokens ahead, the large one checks them all in a single pass.

A pass over five tokens takes a large model hardly longer than over one, for it reads the same weights. So each guess
that survives is a token almost for free, and the text follows the large model's distribution exactly, whatever the
small one guesses (Leviathan et al. 2023, "Fast Inference from Transformers via Speculative Decoding",
arXiv 2211.17192; Chen et al. 2023, arXiv 2302.01318).
"""
import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .config import UserError
from .model import GPT, KVCache
from .sampling import check_request, draw_ids, evaluating, new_cache, probabilities


class Speculation(NamedTuple):
    """What speculate returns."""

    tokens: list[int]
    """The new tokens."""
    proposed: int
    """Guesses of the small model, and how many of them stayed."""
    accepted: int
    passes: int
    """Forward passes of the large model; without guesses it would be one a token."""


def speculate(
    model: GPT, draft: GPT, prompt: Sequence[int], *, max_tokens: int, ahead: int = 4, temperature: float = 1.0,
    top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, seed: int = 0, stop_tokens: Sequence[int] = (),
) -> Speculation:  # fmt: skip
    """Continue a prompt by up to max_tokens tokens of `model`, with up to `ahead` guesses of `draft` for each pass.

    Both models must share a vocabulary, and prompt and answer must fit into both contexts. The other options are those
    of sampling.generate; greedy decoding (temperature 0) gives the same tokens as there, but for ties.

    >>> from minigpt import ModelConfig
    >>> c = ModelConfig(layers=2, width=64, heads=2, kv_heads=2, head_size=32, mlp_width=96, vocab_size=300)
    >>> speculate(GPT(c), GPT(c), [5, 6, 7], max_tokens=10, ahead=4)[1:]           # a twin is always right
    (8, 8, 2)
    """
    knobs = dict(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    check_request(model.config.vocab_size, [list(prompt)], max_tokens, **knobs)
    check_pair(model, draft, len(prompt) + max_tokens, ahead)
    text, end, die = list(prompt), len(prompt) + max_tokens, random.Random(f"{seed}:0")
    proposed = accepted = passes = 0
    with evaluating(model), evaluating(draft), torch.inference_mode():
        ours, theirs = new_cache(model, 1, end), new_cache(draft, 1, end)
        while len(text) < end and not (len(text) > len(prompt) and text[-1] in stop_tokens):
            guesses: list[int] = []
            q = []  # the draft's distribution at each guess
            for _ in range(min(ahead, end - len(text) - 1)):  # the pass itself adds one token more
                q += next_distributions(draft, text + guesses, theirs, 1, knobs)
                guesses += draw_ids(q[-1][None], [1 - die.random()]).tolist()
            p = next_distributions(model, text + guesses, ours, len(guesses) + 1, knobs)
            kept = 0
            while kept < len(guesses) and accept(p[kept], q[kept], guesses[kept], die.random()):
                kept += 1
            left = (p[kept] - q[kept]).clamp(min=0) if kept < len(guesses) else p[kept]
            new = [*guesses[:kept], *draw_ids(left[None], [1 - die.random()]).tolist()]
            proposed, accepted, passes = proposed + len(guesses), accepted + kept, passes + 1
            for cache in (ours, theirs):
                cache.crop(len(text) + kept)  # forgets the guesses that did not stay
            stops = [i for i, token in enumerate(new) if token in stop_tokens]
            text += new[: stops[0] + 1] if stops else new
    tokens = text[len(prompt) :]
    return Speculation(tokens[:-1] if tokens and tokens[-1] in stop_tokens else tokens, proposed, accepted, passes)


def accept(p: Tensor, q: Tensor, guess: int, u: float) -> bool:
    """Keep a guess with probability min(1, p/q): p, q (V,) are the large and the small model's; u is uniform in [0, 1).

    What is kept, together with a draw from the positive part of p - q where it is not, follows p (appendix A.1 there).
    """
    return u * q[guess].item() < p[guess].item()


def next_distributions(model: GPT, text: list[int], cache: KVCache, count: int, knobs: dict) -> list[Tensor]:
    """Feed what the cache has not seen of the text; the last `count` distributions of the next token, (V,) each."""
    x = model.hidden(torch.tensor([text[cache.length :]], device=model.embed.weight.device), cache)
    return list(probabilities(model.logits(x[0, -count:])[:, : model.config.vocab_size], **knobs))


def check_pair(model: GPT, draft: GPT, length: int, ahead: int) -> None:
    """UserError with the first thing that is wrong."""
    if draft.config.vocab_size != model.config.vocab_size:
        raise UserError(f"the draft has {draft.config.vocab_size} tokens and the model {model.config.vocab_size}: both "
                        "need the same tokenizer.")  # fmt: skip
    if length > (context := min(model.config.context, draft.config.context)):
        raise UserError(f"prompt and answer have {length} tokens, and the shorter of the two contexts {context}.")
    if ahead < 1:
        raise UserError(f"ahead must be at least 1, not {ahead}.")
