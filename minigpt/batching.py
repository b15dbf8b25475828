"""Continuous batching: answers of different lengths share passes of the model, and who is done makes room at once.

A static batch runs until its longest answer ends, and every row that ended earlier computes for nothing. Here a batch
is a number of *slots*. Whenever one falls free, the next request takes it, while the others go on (Yu et al. 2022,
"Orca: A Distributed Serving System for Transformer-Based Generative Models", section 3).
"""
import random
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .config import UserError
from .model import GPT, KVCache
from .sampling import check_request, evaluating, new_cache, sample


class Request(NamedTuple):
    """A prompt and how to continue it; the knobs are those of sampling.filter_logits."""

    prompt: Sequence[int]
    max_tokens: int
    stop_tokens: Sequence[int] = ()
    seed: int = 0
    knobs: dict = {}


class SlotCache(KVCache):
    """A KVCache in which each row has a length of its own. Row r holds its tokens in columns 0 … lengths[r] - 1.

    Rows move on one token at a time. What a row does not own yet, or no longer, has the document id -1, so that no
    query sees it; whatever a row computes while its slot is free falls into its column 0.
    """

    def __init__(self, like: KVCache, lengths: list[int]):
        self.k, self.v, self.doc_ids, self.size = like.k, like.v, like.doc_ids, like.size
        self.k.zero_(), self.v.zero_()  # columns that a mask hides still count 0 times, and 0 times NaN is NaN
        self.doc_ids.fill_(-1)
        self.lengths = lengths

    @property
    def length(self) -> int:
        """Columns in use before this step."""
        return max(self.lengths)

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        rows, end = torch.arange(len(self.lengths), device=k.device), self.length + 1
        columns = torch.tensor(self.lengths, device=k.device)
        self.k[layer, rows, :, columns], self.v[layer, rows, :, columns] = k[:, :, 0], v[:, :, 0]
        return self.k[layer, :, :, :end], self.v[layer, :, :, :end]

    def append_doc_ids(self, doc_ids: Tensor) -> Tensor:
        self.doc_ids[range(len(self.lengths)), self.lengths] = doc_ids[:, 0]
        return self.doc_ids[:, : self.length + 1]

    def advance(self, tokens: int) -> None:
        """The batcher knows which rows are at work, and moves them itself."""

    def take(self, row: int, prefilled: KVCache) -> None:
        """Give a free row the keys and values of a prompt, from a cache with one row."""
        n = prefilled.length
        self.k[:, row, :, :n], self.v[:, row, :, :n] = prefilled.k[:, 0, :, :n], prefilled.v[:, 0, :, :n]
        self.doc_ids[row, :n], self.lengths[row] = 0, n

    def free(self, row: int) -> None:
        self.doc_ids[row], self.lengths[row] = -1, 0


class Batcher:
    """Slots that share a model. `add` requests at any time; each `step` gives one token to every request in a slot.

    >>> from minigpt import ModelConfig
    >>> c = ModelConfig(layers=2, width=64, heads=2, kv_heads=2, head_size=32, mlp_width=96, vocab_size=300)
    >>> b = Batcher(GPT(c), slots=2)
    >>> ids = [b.add(Request([5, 6, 7], max_tokens=n)) for n in (4, 1, 2)]
    >>> [len(answer) for answer in b.run()], b.passes                # the third takes the second's slot
    ([4, 1, 2], 3)
    """

    def __init__(self, model: GPT, slots: int):
        if model.config.window:
            raise UserError("continuous batching needs a model without a sliding window.")
        if slots < 1:
            raise UserError(f"there must be at least one slot, not {slots}.")
        self.model, self.waiting, self.answers = model, deque(), []
        self.slots: list[tuple | None] = [None] * slots  # (number, request, its dice) of who has it
        self.cache = SlotCache(new_cache(model, slots, model.config.context), [0] * slots)
        self.passes = 0
        """Passes of the model over all slots; prompts are read in passes of their own."""

    def add(self, request: Request) -> int:
        """Queue a request; returns its number. UserError for a bad one, or one that outgrows the context."""
        prompt, c = [int(token) for token in request.prompt], self.model.config
        check_request(c.vocab_size, [prompt], request.max_tokens, **request.knobs)
        if (whole := len(prompt) + request.max_tokens) > c.context:
            raise UserError(f"prompt and answer have {whole} tokens, and the context {c.context}.")
        number = len(self.answers)
        self.answers.append([])
        if request.max_tokens:
            self.waiting.append((number, request._replace(prompt=prompt), random.Random(f"{request.seed}:0")))
        return number

    @property
    def busy(self) -> bool:
        """Whether any request is unfinished."""
        return bool(self.waiting) or any(slot is not None for slot in self.slots)

    def run(self) -> list[list[int]]:
        """Step until all requests are done; their answers, in the order of `add`, without stop tokens."""
        with evaluating(self.model):  # once, so that no step has to switch each module off and on again
            while self.busy:
                self.step()
        return self.answers

    def step(self) -> list[tuple[int, int]]:
        """One more token for every request in a slot: pairs (request, token); a stop token is not among them."""
        with evaluating(self.model), torch.inference_mode():
            new = self._decode()  # those that were there before
            for row, slot in enumerate(self.slots):
                if slot is None and self.waiting:
                    new.append((row, self._prefill(row)))
        drawn = []
        for row, logits in new:
            number, request, die = self.slots[row]
            token = sample(logits[None], [1 - die.random()], **request.knobs).item()
            if token not in request.stop_tokens:
                self.answers[number].append(token)
                drawn.append((number, token))
            if token in request.stop_tokens or len(self.answers[number]) == request.max_tokens:
                self.slots[row] = None
                self.cache.free(row)
        return drawn

    def _prefill(self, row: int) -> Tensor:
        """Read the next prompt into a slot; the logits (V,) of its first new token."""
        number, request, die = self.slots[row] = self.waiting.popleft()
        prefilled = new_cache(self.model, 1, len(request.prompt))
        x = self.model.hidden(torch.tensor([request.prompt], device=self.cache.k.device), prefilled)
        self.cache.take(row, prefilled)
        return self.model.logits(x[0, -1])[: self.model.config.vocab_size]

    def _decode(self) -> list[tuple[int, Tensor]]:
        """A pass over the last tokens of all slots: (row, logits (V,)) of those that are taken."""
        taken = [row for row, slot in enumerate(self.slots) if slot is not None]
        if not taken:
            return []
        device = self.cache.k.device
        last = [self.answers[slot[0]][-1] if slot else 0 for slot in self.slots]
        tokens = torch.tensor(last, device=device)[:, None]
        positions = torch.tensor(self.cache.lengths, device=device)[:, None]
        x = self.model.hidden(tokens, self.cache, positions, torch.zeros_like(tokens))
        self.passes += 1
        logits = self.model.logits(x[:, -1])[:, : self.model.config.vocab_size]
        for row in taken:
            self.cache.lengths[row] += 1
        return [(row, logits[row]) for row in taken]
