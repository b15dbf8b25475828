"""From a naive training step to a fast one, one change at a time, without changing the loss.

The model is GPT-2's arithmetic with the weights of `minigpt.GPT`. Each rung keeps the changes of all rungs before it.
Every run times the naive step and its own rung in turn, in the same minute, and y is the base-2 logarithm of their
ratio, from the quickest step of either so far: 1 is twice as fast, 2 four times. `naive_again` times the naive step
against itself: what it shows is the noise of the method. All but `all_cores` and what follows use one thread.
"""
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache
from statistics import median

import torch
import torch.nn.functional as F
from torch._inductor.utils import fresh_cache

from minigpt import GPT, ModelConfig, train_bpe
from minigpt.precision import bf16_speedup
from minigpt.text.sources import builtin
from minigpt.tokenizer import END_OF_TEXT

WHAT = "A naive training step against faster ones that compute the same loss, timed in turn."
AXES = "rounds of measurement", "doublings of speed against the naive step"
SEEDS = 0, 1, 2
FLOOR = 1.5  # a factor of 2.8 either way: processors differ in how they trade overhead against arithmetic
RUNGS = ("batch", "heads", "kernels", "sdpa", "adamw", "ahead", "threads", "compile", "bf16")
LAYERS, WIDTH, HEADS, CONTEXT, VOCAB_SIZE, BATCH = 3, 128, 8, 128, 1024, 8
CHECKED, ROUNDS, RATE, DECAY = 4, 6, 1e-3, 0.1
"""Steps whose losses are compared; rounds that are timed; learning rate and weight decay of AdamW."""


def arms() -> dict[str, list[str]]:
    """Name → the changes that it has; the arm that a lesson reruns comes first."""
    until = {name: list(RUNGS[: i + 1]) for i, name in enumerate(RUNGS)}
    names = {"one_batch": "batch", "all_heads": "heads", "fused_parts": "kernels", "fused_attention": "sdpa",
             "fused_adamw": "adamw", "read_ahead": "ahead", "all_cores": "threads", "compiled": "compile"}  # fmt: skip
    found = {name: until[rung] for name, rung in names.items()} | {"naive_again": []}
    return found | ({"bf16": until["bf16"]} if bf16_speedup() > 1.5 else {})


# ---- the parts, by hand and fused ------------------------------------------------------------------------------------


def norm_by_hand(x, gain, bias):
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred * centred).mean(-1, keepdim=True)
    return centred / torch.sqrt(variance + 1e-5) * gain + bias


def gelu_by_hand(x):
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    return 0.5 * x * (1 + torch.tanh(inner))


def attention_by_hand(q, k, v):
    """q, k, v (…, T, D) → (…, T, D), causal, every step a tensor of its own."""
    T = q.shape[-2]
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    scores = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).masked_fill(future, -math.inf)
    powers = torch.exp(scores - scores.amax(-1, keepdim=True))
    return powers / powers.sum(-1, keepdim=True) @ v


def loss_by_hand(logits, targets):
    """Sum of -log softmax at the targets: logits (N, V), targets (N,)."""
    powers = torch.exp(logits - logits.amax(-1, keepdim=True))
    probabilities = powers / powers.sum(-1, keepdim=True)
    return -torch.log(probabilities[torch.arange(len(targets)), targets]).sum()


def forward(w, tokens, targets, has):
    """Sum of the losses of tokens (…, T), with weights by name and the changes in `has`."""
    fused = "kernels" in has
    norm = (lambda x, g, b: F.layer_norm(x, (WIDTH,), g, b, 1e-5)) if fused else norm_by_hand
    gelu = (lambda x: F.gelu(x, approximate="tanh")) if fused else gelu_by_hand
    x = w["embed.weight"][tokens] + w["position.weight"][: tokens.shape[-1]]
    for layer in range(LAYERS):
        p = lambda name: w[f"blocks.{layer}.{name}"]
        linear = lambda x, name: F.linear(x, p(f"{name}.weight"), p(f"{name}.bias"))
        y = norm(x, p("norm1.weight"), p("norm1.bias"))
        q, k, v = (linear(y, f"attn.{part}").unflatten(-1, (HEADS, -1)).transpose(-2, -3) for part in "qkv")
        if "sdpa" in has:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        elif "heads" in has:
            y = attention_by_hand(q, k, v)
        else:
            one = [attention_by_hand(q.select(-3, h), k.select(-3, h), v.select(-3, h)) for h in range(HEADS)]
            y = torch.stack(one, -3)
        x = x + linear(y.transpose(-2, -3).flatten(-2), "attn.out")
        y = norm(x, p("norm2.weight"), p("norm2.bias"))
        x = x + linear(gelu(linear(y, "mlp.up")), "mlp.down")
    logits = F.linear(norm(x, w["norm.weight"], w["norm.bias"]), w["embed.weight"]).flatten(0, -2).float()
    return F.cross_entropy(logits, targets.flatten(), reduction="sum") if fused else loss_by_hand(
        logits, targets.flatten())  # fmt: skip


# ---- one trainer, naive or fast --------------------------------------------------------------------------------------


class Trainer:
    """Weights, optimizer and data of one rung; `step()` trains once and returns the loss."""

    def __init__(self, has, seed):
        self.has, self.seed, self.count, self.ids = tuple(has), seed, 0, text()
        self.threads = (os.cpu_count() or 1) if "threads" in has else 1
        model = GPT(config(), seed)
        self.w = {name: p for name, p in model.named_parameters()}
        self.forward = torch.compile(forward, fullgraph=True, dynamic=False) if "compile" in has else forward
        if "adamw" in self.has:
            self.optimizer = torch.optim.AdamW(self.w.values(), RATE, weight_decay=DECAY, fused=True)
        else:
            self.moments = {name: [torch.zeros_like(p), torch.zeros_like(p)] for name, p in self.w.items()}
        self.pool = ThreadPoolExecutor(1) if "ahead" in self.has else None
        self.next = self.pool.submit(self.batch, 0) if self.pool else None

    def batch(self, step):
        """(B, T + 1) int64: from a list of numbers, piece by piece, until there is one batch to make at once."""
        starts = torch.randint(len(self.ids[0]) - CONTEXT - 1, (BATCH,), generator=seeded(self.seed, step))
        if "batch" not in self.has:
            return torch.stack([torch.tensor(self.ids[0][s : s + CONTEXT + 1]) for s in starts.tolist()])
        return self.ids[1][starts[:, None] + torch.arange(CONTEXT + 1)]

    def step(self):
        """Train on the next batch; the mean loss of its tokens."""
        windows = self.next.result() if self.pool else self.batch(self.count)
        if self.pool:
            self.next = self.pool.submit(self.batch, self.count + 1)
        self.count += 1
        total, tokens = 0.0, BATCH * CONTEXT
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in self.has):
            pieces = [windows] if "batch" in self.has else list(windows)
            for piece in pieces:
                loss = self.forward(self.w, piece[..., :-1], piece[..., 1:], self.has) / tokens
                loss.backward()
                total += loss.item()
        if "adamw" in self.has:
            self.optimizer.step()
        else:
            self.adamw_by_hand()
        for p in self.w.values():
            p.grad = None
        return total

    @torch.no_grad()
    def adamw_by_hand(self):
        """As the formula reads, tensor by tensor, a new tensor for each operation."""
        for name, p in self.w.items():
            mean, square = self.moments[name]
            mean = 0.9 * mean + 0.1 * p.grad
            square = 0.999 * square + 0.001 * p.grad * p.grad
            self.moments[name] = [mean, square]
            mean, square = mean / (1 - 0.9**self.count), square / (1 - 0.999**self.count)
            p.copy_(p - RATE * DECAY * p - RATE * mean / (torch.sqrt(square) + 1e-8))

    def timed(self):
        """(seconds, loss) of one step on this rung's threads."""
        before = torch.get_num_threads()
        if self.threads != before:
            torch.set_num_threads(self.threads)
        start = time.perf_counter()
        loss = self.step()
        took = time.perf_counter() - start
        if self.threads != before:
            torch.set_num_threads(before)
        return took, loss

    def close(self):
        if self.pool:
            self.pool.shutdown()


def run(has, seed):
    """Time the naive step and this rung in turn; compare their losses on the way."""
    before, gaps = torch.get_num_threads(), []
    torch.set_num_threads(1)
    naive, fast = Trainer([], seed), Trainer(has, seed)
    try:
        with fresh_cache() if "compile" in has else nullcontext():
            first, loss = fast.timed()
            gaps.append(abs(naive.step() - loss))
            for _ in range(CHECKED - 1):  # they warm up, and see the same batches
                loss = fast.timed()[1]
                gaps.append(abs(naive.step() - loss))
            pairs = [(naive.timed()[0], fast.timed()[0]) for _ in range(ROUNDS)]
    finally:
        naive.close()
        fast.close()
        torch.set_num_threads(before)
    best = [[min(column[: n + 1]) for column in zip(*pairs)] for n in range(ROUNDS)]
    slow, quick = (BATCH * CONTEXT / seconds for seconds in best[-1])
    ratio = median(a for a, _ in pairs) / median(b for _, b in pairs)
    return {"x": range(1, ROUNDS + 1), "y": [math.log2(a / b) for a, b in best], "naive_rate": slow, "rate": quick,
            "median_ratio": ratio, "loss_gap": max(gaps), "threads": fast.threads, "first_step": first}  # fmt: skip


def config():
    return ModelConfig("gpt2", LAYERS, WIDTH, HEADS, HEADS, WIDTH // HEADS, 4 * WIDTH, CONTEXT, VOCAB_SIZE,
                       activation="gelu", norm_eps=1e-5)  # fmt: skip


def seeded(seed, step):
    return torch.Generator().manual_seed(1000 * seed + step)


@cache
def text():
    """The tokens of a book, as a list and as a tensor."""
    book = next(builtin(["books"])).text[:300_000]
    ids = train_bpe([book], VOCAB_SIZE, [END_OF_TEXT]).encode(book)
    return ids, torch.tensor(ids)
