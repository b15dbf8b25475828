"""From logits to tokens: the filters that shape a distribution, and generation with a KV cache, for one row or a batch.

A language model gives, for each place, one number per token of the vocabulary: the logits. `filter_logits` says which
tokens stay in the draw, `sample` draws, and `decode` repeats: it feeds the model what is new to the cache, and samples
one more token for each row. `generate` and `stream` are its two faces: whole answers, and one token at a time.
"""
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .config import UserError
from .model import GPT, KVCache

# ---- choosing a token ------------------------------------------------------------------------------------------------


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k largest logits of each row (…, V), set the rest to -inf; among equals the lower id stays.

    From Fan et al. 2018, "Hierarchical Neural Story Generation", section 5.

    >>> keep_top_k(torch.tensor([0.0, 3.0, 1.0, 2.0]), 2)
    tensor([-inf, 3., -inf, 2.])
    """
    order = logits.argsort(dim=-1, descending=True, stable=True)
    return logits.scatter(-1, order[..., k:], -math.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of likeliest tokens whose probabilities reach p together, set the rest to -inf.

    From Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1 (the nucleus). A token stays
    if those ahead of it do not yet reach p, so the likeliest always stays. With probabilities 1/2, 1/4, 1/8, 1/8:

    >>> keep_top_p(torch.tensor([0.5, 0.25, 0.125, 0.125]).log(), 0.7).exp()
    tensor([0.5000, 0.2500, 0.0000, 0.0000])
    """
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probs = torch.softmax(ordered, dim=-1)
    ahead = probs.cumsum(dim=-1) - probs
    return logits.scatter(-1, order, ordered.masked_fill(ahead >= p, -math.inf))


def keep_min_p(logits: Tensor, min_p: float) -> Tensor:
    """Keep the tokens at least min_p times as likely as the likeliest, set the rest to -inf; 0 < min_p ≤ 1.

    From Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs", section 3. A
    ratio of probabilities is a difference of logits, so no softmax is needed. The bar here is 0.3 · 1/2 = 0.15:

    >>> keep_min_p(torch.tensor([0.5, 0.25, 0.125, 0.125]).log(), 0.3).exp()
    tensor([0.5000, 0.2500, 0.0000, 0.0000])
    """
    return logits.masked_fill(logits < logits.amax(dim=-1, keepdim=True) + math.log(min_p), -math.inf)


def filter_logits(
    logits: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0
) -> Tensor:
    """Logits (…, V) → logits (…, V) whose softmax is what `sample` draws from; a token that is out has -inf.

    First the temperature divides the logits: below 1 the likely tokens gain, above 1 the unlikely ones do, and 0 leaves
    only the likeliest. Then top_k (0: off), top_p (1: off) and min_p (0: off), each on what the one before it left.

    >>> logits = torch.tensor([0.5, 0.25, 0.125, 0.125]).log()
    >>> torch.softmax(filter_logits(logits, temperature=0.5, top_k=2), dim=-1)      # 1/4 and 1/16, rescaled to sum to 1
    tensor([0.8000, 0.2000, 0.0000, 0.0000])
    """
    if temperature == 0:
        return keep_top_k(logits, 1)
    logits = (logits - logits.amax(dim=-1, keepdim=True)) / temperature  # at most 0: no temperature can overflow it
    if top_k:
        logits = keep_top_k(logits, top_k)
    if top_p < 1:
        logits = keep_top_p(logits, top_p)
    if min_p:
        logits = keep_min_p(logits, min_p)
    return logits


def sample(logits: Tensor, uniforms: Sequence[float], temperature: float = 1.0, **filters) -> Tensor:
    """Draw one token for each row: logits (B, V) and B numbers in (0, 1], uniformly random → ids (B,) int64.

    Lay the tokens side by side on a line, each as long as its probability; u, a point of that line, lies in the token
    drawn. `filters` as in filter_logits.

    >>> sample(torch.tensor([[0.5, 0.25, 0.25]] * 3).log(), [0.4, 0.6, 1.0])
    tensor([0, 1, 2])
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    return draw_ids(probabilities(logits, temperature, **filters), uniforms)


def probabilities(logits: Tensor, temperature: float = 1.0, **filters) -> Tensor:
    """What `sample` draws from: logits (…, V) → (…, V) in fp64, rows that sum to 1. `filters` as in filter_logits.

    >>> probabilities(torch.tensor([0.5, 0.25, 0.25]).log(), temperature=0.5).float()
    tensor([0.6667, 0.1667, 0.1667])
    """
    exact = torch.float32 if logits.device.type == "mps" else torch.float64  # Apple GPUs have no float64
    if temperature == 0:
        return nn.functional.one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(exact)
    return torch.softmax(filter_logits(logits.to(exact), temperature, **filters), dim=-1)


def draw_ids(weights: Tensor, uniforms: Sequence[float]) -> Tensor:
    """One id a row: weights (B, V) ≥ 0, of any sum, and B numbers in (0, 1] → (B,) int64; a weight of 0 is never drawn.

    >>> draw_ids(torch.tensor([[2.0, 1.0, 1.0]] * 3), [0.4, 0.6, 1.0])
    tensor([0, 1, 2])
    """
    ends = weights.cumsum(dim=-1)
    u = torch.tensor(uniforms, dtype=weights.dtype, device=weights.device)[:, None]
    return torch.searchsorted(ends, u * ends[:, -1:]).squeeze(1)  # the first end that is at least u of the whole line


# ---- generating ------------------------------------------------------------------------------------------------------


def generate(
    model: GPT, prompts: Sequence[Sequence[int]], *, stop_tokens: Sequence[int] = (), **options
) -> list[list[int]]:
    """Continue each prompt by up to max_tokens tokens; returns the new tokens, one list a prompt.

    The options, with their defaults, are those of decode:

    prompts      lists of token ids, none empty, of any lengths: shorter ones are padded on the left, out of sight
    temperature  0 is greedy: always the likeliest token. This and top_k, top_p, min_p: see filter_logits
    seed         row i draws from its own stream of random numbers, a function of (seed, i): what the other rows hold,
                 or whether there are any after it, does not change its tokens
    stop_tokens  ids that end a row; they are not returned. The call ends when every row has ended
    allowed      (tokens that a row has got so far) → (V,) bool: which may follow, such as constrained.allowed_by makes
    cache        False computes all tokens anew at every step: the slow reference, which gives the same tokens

    A row may outgrow the context; the model then sees its last half to whole context, see window_start. Runs in eval
    mode and restores the mode after; autocast is up to the caller. A bad argument is a UserError.

    >>> model = GPT(ModelConfig(layers=2, width=64, heads=2, kv_heads=2, head_size=32, mlp_width=96, vocab_size=300))
    >>> [len(row) for row in generate(model, [[5, 6, 7], [8]], max_tokens=4, seed=1)]
    [4, 4]
    """
    new: list[list[int]] = [[] for _ in prompts]
    ended: set[int] = set()
    with evaluating(model), torch.inference_mode():
        for tokens in decode(model, prompts, **options):
            ended.update(row for row, token in enumerate(tokens) if token in stop_tokens)
            for row in set(range(len(new))) - ended:
                new[row].append(tokens[row])
            if len(ended) == len(new):
                break
    return new


def stream(model: GPT, prompt: Sequence[int], *, stop_tokens: Sequence[int] = (), **options) -> Iterator[int]:
    """Like generate for one prompt, with the same options, but yields each token as soon as it is drawn.

    >>> model = GPT(ModelConfig())
    >>> list(stream(model, [5, 6, 7], max_tokens=4, seed=1)) == generate(model, [[5, 6, 7]], max_tokens=4, seed=1)[0]
    True
    """
    steps = decode(model, [prompt], **options)
    while True:
        with evaluating(model), torch.inference_mode():  # around each step: a `yield` inside would leak both
            tokens = next(steps, None)
        if tokens is None or tokens[0] in stop_tokens:
            return
        yield tokens[0]


def decode(
    model: GPT, prompts: Sequence[Sequence[int]], *, max_tokens: int, temperature: float = 1.0, top_k: int = 0,
    top_p: float = 1.0, min_p: float = 0.0, seed: int = 0, cache: bool = True,
    allowed: Callable[[list[int]], Tensor] | None = None,
) -> Iterator[list[int]]:  # fmt: skip
    """max_tokens times: one new token for each prompt. The core of generate and stream, which set the modes around it.

    The first pass (the *prefill*) computes the keys and values of all prompt tokens; each later one computes only those
    of the token just drawn. Once a row's window moves on, its tokens have new positions, and the cache is filled anew.
    """
    c, rows = model.config, [[int(token) for token in prompt] for prompt in prompts]
    check_request(c.vocab_size, rows, max_tokens, temperature, top_k, top_p, min_p)
    dice = [random.Random(f"{seed}:{row}") for row in range(len(rows))]
    starts = None
    for _ in range(max_tokens):
        before, starts = starts, [window_start(len(row), c.context) for row in rows]
        prefill = not cache or starts != before
        if prefill:
            kv = new_cache(model, len(rows), min(c.context, max(map(len, rows)) + max_tokens)) if cache else None
            windows = [row[start:] for row, start in zip(rows, starts)]
            tokens, positions, doc_ids = left_pad(windows, model.embed.weight.device)
        else:
            tokens = drawn[:, None]
            if doc_ids is not None:
                positions, doc_ids = positions[:, -1:] + 1, doc_ids[:, -1:]
        x = model.hidden(tokens, kv, positions, doc_ids)
        logits = model.logits(x[:, -1])[:, : c.vocab_size]
        if prefill and not logits.isfinite().all():
            raise UserError("the model's logits are not finite, its training diverged: use an earlier checkpoint.")
        if allowed is not None:
            may_follow = torch.stack([allowed(row[len(prompt) :]) for row, prompt in zip(rows, prompts)])
            logits = logits.masked_fill(~may_follow.to(logits.device), -math.inf)
        uniforms = [1 - die.random() for die in dice]  # random() is in [0, 1), and sample wants (0, 1]
        drawn = sample(logits, uniforms, temperature, top_k=top_k, top_p=top_p, min_p=min_p)
        new = drawn.tolist()
        for row, token in zip(rows, new):
            row.append(token)
        yield new


def window_start(length: int, context: int) -> int:
    """The first token that the model sees of a text of `length` tokens; beyond the context it moves by half contexts.

    So the cache is filled anew once in half a context, not at every token, and a token's distribution depends on
    nothing but the text before it. (Beyond the context the modern family would run, but it was never trained to.)

    >>> [window_start(length, context=8) for length in (1, 8, 9, 12, 13)]      # sees 1, 8, 5, 8 and 5 tokens
    [0, 0, 4, 4, 8]
    """
    half = max(1, context // 2)
    return max(0, math.ceil((length - context) / half)) * half


def left_pad(windows: list[list[int]], device) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Tokens, positions and document ids, each (B, longest) int64, so that all rows end in the last column.

    Padding is document 0 and the text document 1, so that neither attends to the other; the text counts its positions
    from 0. Rows of one length need neither: None, and the model takes its fast path.

    >>> left_pad([[7, 8, 9], [5]], "cpu")
    (tensor([[7, 8, 9], [0, 0, 5]]), tensor([[0, 1, 2], [0, 0, 0]]), tensor([[1, 1, 1], [0, 0, 1]]))
    """
    longest = max(map(len, windows))
    pads = [longest - len(window) for window in windows]
    tokens = torch.tensor([[0] * pad + window for pad, window in zip(pads, windows)], device=device)
    if not any(pads):
        return tokens, None, None
    places = torch.arange(longest, device=device) - torch.tensor(pads, device=device)[:, None]
    return tokens, places.clamp(min=0), (places >= 0).long()


def new_cache(model: GPT, rows: int, size: int) -> KVCache:
    """An empty cache of the type in which the model will compute its keys and values."""
    weight = model.embed.weight
    kind = weight.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    return KVCache(model.config, rows, size, weight.device, dtype)


def check_request(vocab_size: int, rows, max_tokens, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0) -> None:
    """UserError with the first thing that is wrong."""
    rules = {
        f"max_tokens must be at least 0, not {max_tokens}.": max_tokens >= 0,
        f"temperature must be a number from 0 up, not {temperature}.": 0 <= temperature < math.inf,
        f"top_k must be at least 0, not {top_k}; 0 is off.": top_k >= 0,
        f"top_p must be above 0 and at most 1, not {top_p}; 1 is off.": 0 < top_p <= 1,
        f"min_p must be from 0 to 1, not {min_p}; 0 is off.": 0 <= min_p <= 1,
        "there is no prompt: give a list of at least one.": bool(rows),
        "a prompt is empty: begin it with <|endoftext|>, the start of a document.": all(rows),
        f"a prompt holds ids outside 0 … {vocab_size - 1}: encode it with the model's own tokenizer.": all(
            0 <= token < vocab_size for row in rows for token in row
        ),
    }
    for sentence, holds in rules.items():
        if not holds:
            raise UserError(sentence)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout and the like off inside the block; afterwards each module is in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
