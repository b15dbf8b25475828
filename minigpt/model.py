"""A GPT in one file, read top-down: two families (GPT-2 and modern, which is Qwen3's arithmetic) from one ModelConfig.

Shapes use these letters: B sequences, T tokens, C width of the residual stream, H query heads, K key/value heads,
D head size, V true vocabulary, P vocabulary padded to a multiple of 64, L tokens already in the cache.

The model knows nothing of optimizers, ranks or files. It holds no buffers: everything but the weights is computed from
the positions, so that building it on the meta device and filling it later loses nothing.
"""
import hashlib
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .config import ModelConfig, UserError

LOGITS_AT_ONCE = 2**27
"""Most logits to hold at once while training: 512 MiB in fp32. Above it the loss works through the tokens in chunks."""


class GPT(nn.Module):
    """A decoder-only transformer language model.

    `GPT(config)` draws its weights from `seed`. With `targets` the call returns the loss, without it the logits:

    >>> model = GPT(ModelConfig(layers=2, width=64, heads=2, kv_heads=2, head_size=32, mlp_width=96, vocab_size=300))
    >>> tokens = torch.randint(300, (3, 17))
    >>> model(tokens).shape
    torch.Size([3, 17, 300])
    >>> model(tokens[:, :-1], tokens[:, 1:]).shape            # mean nats per token
    torch.Size([])
    """

    def __init__(self, config: ModelConfig, seed: int = 0):
        super().__init__()
        self.config = c = config
        self.embed = nn.Embedding(c.padded_vocab, c.width)
        if c.family == "gpt2":
            self.position = nn.Embedding(c.context, c.width)
        self.blocks = nn.ModuleList(Block(c, layer) for layer in range(c.layers))
        self.norm = make_norm(c, c.width)
        self.head = nn.Linear(c.width, c.padded_vocab, bias=False)
        self.tie()
        if not self.embed.weight.is_meta:
            init_weights(self, seed)

    def tie(self) -> None:
        """Make the head share the embedding's matrix, if the config says so; needed again after `to_empty`."""
        if self.config.tied:
            self.head.weight = self.embed.weight

    def forward(
        self, tokens: Tensor, targets: Tensor | None = None, *, reduction: str = "mean", cache: "KVCache | None" = None,
        positions: Tensor | None = None, doc_ids: Tensor | None = None, record: dict | None = None,
    ) -> Tensor:  # fmt: skip
        """Logits (B, T, V), or with targets the cross-entropy in nats.

        tokens      (B, T) int64, ids below V
        targets     (B, T) int64: what follows each token; -100 is ignored
        reduction   "mean" over the targets that count, "sum", or "none": (B, T), 0 where ignored
        cache       keys and values of earlier tokens; this call appends its own
        positions   (T,) or (B, T) int64; default: counting on from the cache
        doc_ids     (B, T) int64: a token attends only to tokens with the same id; default: one document
        record      a dict to fill: "residual", layers + 1 tensors (B, T, C); "attention", layers of (B, H, T, L + T)
        """
        x = self.hidden(tokens, cache, positions, doc_ids, record)
        if targets is None:
            return self.logits(x)[..., : self.config.vocab_size]
        return self.loss(x, targets, reduction)

    def hidden(self, tokens, cache=None, positions=None, doc_ids=None, record=None) -> Tensor:
        """The residual stream after the last norm, (B, T, C)."""
        c, T = self.config, tokens.shape[1]
        start = cache.length if cache is not None else 0
        if c.family == "gpt2" and start + T > c.context:
            raise UserError(f"{start + T} tokens do not fit a context of {c.context}.")
        if positions is None:
            positions = torch.arange(start, start + T, device=tokens.device)
        x = self.embed(tokens)
        rope = None
        if c.family == "gpt2":
            x = x + self.position(positions)
        else:
            # YaRN also sharpens attention, which a longer text spreads thin (section 3.4 there)
            strength = 0.1 * math.log(c.rope_factor) + 1 if c.rope == "yarn" else 1.0
            rope = rope_table(positions, rope_frequencies(c, tokens.device), strength)
        x = F.dropout(x, c.dropout, self.training)
        mask = attention_mask(tokens, cache, doc_ids, c.window)
        if record is not None:
            record.update(residual=[x], attention=[])
        for block in self.blocks:
            x = block(x, rope, mask, cache, record)
            if record is not None:
                record["residual"].append(x)
        if cache is not None:
            cache.advance(T)
        return self.norm(x)

    def logits(self, x: Tensor) -> Tensor:
        """(…, C) → (…, P); the rows that only pad the vocabulary are -inf, so that no loss or sample ever sees them."""
        c = self.config
        logits = self.head(x).float()
        if c.softcap:
            logits = c.softcap * torch.tanh(logits / c.softcap)
        if c.padded_vocab > c.vocab_size:
            padding = torch.arange(c.padded_vocab, device=x.device) >= c.vocab_size
            logits = logits.masked_fill(padding, -math.inf)
        return logits

    def loss(self, x: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        """Cross-entropy of the hidden states x (B, T, C), holding at most LOGITS_AT_ONCE logits for backward."""

        def chunk_loss(x, targets):
            return F.cross_entropy(self.logits(x), targets, ignore_index=-100, reduction="none")

        x, flat = x.flatten(0, 1), targets.flatten()
        rows = max(1, LOGITS_AT_ONCE // self.config.padded_vocab)
        pieces = list(zip(x.split(rows), flat.split(rows)))
        if len(pieces) > 1 and torch.is_grad_enabled():
            # keep only the inputs of each piece, and compute its logits again when the gradient asks for them
            losses = [checkpoint(chunk_loss, *piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces]
        else:
            losses = [chunk_loss(*piece) for piece in pieces]
        losses = torch.cat(losses)
        if reduction == "none":
            return losses.view_as(targets)
        return losses.sum() if reduction == "sum" else losses.sum() / (flat != -100).sum()


class Block(nn.Module):
    """Attention, then an MLP; each reads a normalised copy of the residual stream and adds its answer to it."""

    def __init__(self, c: ModelConfig, layer: int):
        super().__init__()
        self.norm1, self.attn = make_norm(c, c.width), Attention(c, layer)
        self.norm2, self.mlp = make_norm(c, c.width), MLP(c)
        self.dropout = c.dropout

    def forward(self, x, rope, mask, cache, record):
        x = x + F.dropout(self.attn(self.norm1(x), rope, mask, cache, record), self.dropout, self.training)
        return x + F.dropout(self.mlp(self.norm2(x)), self.dropout, self.training)


class Attention(nn.Module):
    """Causal self-attention with H query heads sharing K key/value heads; `layer` is its place in a KVCache."""

    def __init__(self, c: ModelConfig, layer: int = 0):
        super().__init__()
        bias = c.family == "gpt2"
        self.layer, self.head_size = layer, c.head_size
        self.q = nn.Linear(c.width, c.heads * c.head_size, bias)
        self.k = nn.Linear(c.width, c.kv_heads * c.head_size, bias)
        self.v = nn.Linear(c.width, c.kv_heads * c.head_size, bias)
        self.out = nn.Linear(c.heads * c.head_size, c.width, bias)
        modern = c.family == "modern"
        self.q_norm = make_norm(c, c.head_size) if modern else nn.Identity()
        self.k_norm = make_norm(c, c.head_size) if modern else nn.Identity()

    def forward(self, x, rope, mask, cache, record):
        B, T, _ = x.shape
        q, k, v = (proj(x).view(B, T, -1, self.head_size) for proj in (self.q, self.k, self.v))
        q, k, v = self.q_norm(q).transpose(1, 2), self.k_norm(k).transpose(1, 2), v.transpose(1, 2)  # (B, H or K, T, D)
        if rope is not None:
            q, k = rotate(q, rope), rotate(k, rope)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)
        if k.shape[1] != q.shape[1]:  # each key/value head serves a group of neighbouring query heads
            k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], dim=1) for t in (k, v))
        if record is None:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None and T > 1)
        else:
            causal = torch.ones(T, T, dtype=torch.bool, device=x.device).tril() if mask is None and T > 1 else mask
            y, weights = attention(q, k, v, causal)
            record["attention"].append(weights)
        return self.out(y.transpose(1, 2).reshape(B, T, -1))


class MLP(nn.Module):
    """Two layers around a nonlinearity; SwiGLU multiplies a second, gated copy in (Shazeer 2020)."""

    def __init__(self, c: ModelConfig):
        super().__init__()
        bias = c.family == "gpt2"
        self.activation = c.activation
        if c.activation == "swiglu":
            self.gate = nn.Linear(c.width, c.mlp_width, bias)
        self.up = nn.Linear(c.width, c.mlp_width, bias)
        self.down = nn.Linear(c.mlp_width, c.width, bias)

    def forward(self, x):
        if self.activation == "swiglu":
            return self.down(F.silu(self.gate(x)) * self.up(x))
        if self.activation == "gelu":
            return self.down(F.gelu(self.up(x), approximate="tanh"))
        return self.down(F.relu(self.up(x)).square())


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention, written out (Vaswani et al. 2017, section 3.2.1). Returns (output, weights).

    q (…, T, D), k and v (…, S, D), mask (…, T, S) bool, True where looking is allowed → (…, T, D) and (…, T, S).
    `F.scaled_dot_product_attention` gives the same output without ever storing the T by S weights.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # unscaled, scores grow with D and the softmax saturates
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)  # before the softmax, so that the rest still sums to one
    weights = torch.softmax(scores.float(), dim=-1).to(v.dtype)
    return weights @ v, weights


def attention_mask(
    tokens: Tensor, cache: "KVCache | None" = None, doc_ids: Tensor | None = None, window: int = 0
) -> Tensor | None:
    """Which keys each query may see: (T, L + T) or (B, 1, T, L + T) bool; None: the plain causal triangle.

    doc_ids as in GPT.forward; window: how many keys, the query's own included; 0: all before it.

    >>> attention_mask(torch.zeros(1, 3), None, torch.tensor([[7, 7, 8]])).int()[0, 0]
    tensor([[1, 0, 0],
            [1, 1, 0],
            [0, 0, 1]], dtype=torch.int32)
    """
    T, start = tokens.shape[1], cache.length if cache is not None else 0
    window = window if window < start + T else 0
    if doc_ids is None and not window and (start == 0 or T == 1):
        return None
    causal = torch.ones(T, start + T, dtype=torch.bool, device=tokens.device).tril(start)
    if window:
        causal = causal.triu(start - window + 1)
    if doc_ids is None:
        return causal
    keys = cache.append_doc_ids(doc_ids) if cache is not None else doc_ids
    return causal & (doc_ids[:, None, :, None] == keys[:, None, None, :])


def rope_frequencies(c: ModelConfig, device=None) -> Tensor:
    """How fast each pair of dimensions turns, in radians a token: (D / 2,) fp32 (Su et al. 2021, section 3.2.2).

    Pair i has base^(-2i/D): the first pairs turn fast, the last ones hardly at all. For a context that is rope_factor
    times the trained one, "linear" slows all pairs by the factor, so that no angle is new (Chen et al. 2023,
    arXiv 2306.15595). "yarn" slows only the pairs that turn less than once over the trained context, leaves those that
    turn more than 32 times, and blends in between (Peng et al. 2023, arXiv 2309.00071, section 3.2).
    """
    D = c.head_size
    frequencies = c.rope_base ** (-torch.arange(0, D, 2, device=device, dtype=torch.float32) / D)
    if c.rope == "plain":
        return frequencies
    slowed = frequencies / c.rope_factor
    if c.rope == "linear":
        return slowed
    radians = c.context / c.rope_factor / (2 * math.pi)  # one of frequency 1 turns so often over the trained context
    pair_of = lambda turns: D / 2 * math.log(radians / turns) / math.log(c.rope_base)
    first, last = max(math.floor(pair_of(32)), 0), min(math.ceil(pair_of(1)), D - 1)
    share = ((torch.arange(D // 2, device=device) - first) / max(last - first, 0.001)).clamp(0, 1)
    return frequencies * (1 - share) + slowed * share


def rope_table(positions: Tensor, frequencies: Tensor, strength: float = 1.0) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary angles: positions (T,) or (B, T) → (T, D) or (B, 1, T, D), fp32.

    Pair i turns by positions * frequencies[i]; `strength` multiplies both tables, and so every score by its square.
    """
    angles = positions[..., None].float() * frequencies
    angles = torch.cat([angles, angles], dim=-1)  # pair i is dimensions (i, i + D/2), as in GPT-NeoX, Llama and Qwen
    if positions.ndim == 2:
        angles = angles[:, None]
    return angles.cos() * strength, angles.sin() * strength


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair of dimensions of x (B, H, T, D) by its position's angle; lengths stay the same."""
    cos, sin = rope
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat([-second, first], dim=-1) * sin).to(x.dtype)


class RMSNorm(nn.RMSNorm):
    """Divide by the root mean square, in fp32 whatever comes in (Zhang & Sennrich 2019)."""

    def forward(self, x):
        return F.rms_norm(x.float(), self.normalized_shape, self.weight.float(), self.eps).to(x.dtype)


def make_norm(c: ModelConfig, size: int) -> nn.Module:
    return nn.LayerNorm(size, c.norm_eps) if c.family == "gpt2" else RMSNorm(size, c.norm_eps)


def init_weights(model: GPT, seed: int) -> None:
    """Fill every parameter with its `initial_values`. (A tied head appears once, as the embedding.)"""
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(initial_values(model.config, name, p.shape, seed))


def initial_values(c: ModelConfig, name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """A parameter's first values, fp32 on the CPU: a function of (seed, name), so that every layout and every order
    starts equal.

    Matrices are normal with standard deviation 0.02, as in GPT-2; the two projections that write into the residual
    stream are divided by sqrt(2 * layers), so that its size does not grow with depth, or are zero if the config says
    so. Norm gains are 1, biases and the padding rows of the vocabulary 0.
    """
    if len(shape) == 1:
        return torch.full(shape, 1.0 if "norm" in name and name.endswith("weight") else 0.0)
    writes_to_residual = name.endswith(("attn.out.weight", "mlp.down.weight"))
    if writes_to_residual and c.zero_init:
        return torch.zeros(shape)
    std = 0.02 / math.sqrt(2 * c.layers) if writes_to_residual else 0.02
    rows = c.vocab_size if name in ("embed.weight", "head.weight") else shape[0]
    drawn = named_normal(seed, name, (rows, *shape[1:])) * std
    return F.pad(drawn, (0, 0, 0, shape[0] - rows))


def named_normal(seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers that depend only on (seed, name)."""
    key = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.randn(shape, generator=torch.Generator().manual_seed(int.from_bytes(key[:7], "big")))


class KVCache:
    """Keys and values of the tokens seen so far, so that each new token costs one position instead of all of them.

    Memory: 2 * layers * B * K * size * D elements. `length` counts the tokens in it; `crop(n)` forgets the rest. Give
    doc_ids in all calls that share a cache, or in none.
    """

    def __init__(self, config: ModelConfig, batch: int, size: int, device=None, dtype=torch.float32):
        shape = (config.layers, batch, config.kv_heads, size, config.head_size)
        self.k, self.v = torch.empty(shape, device=device, dtype=dtype), torch.empty(shape, device=device, dtype=dtype)
        self.doc_ids = torch.zeros(batch, size, dtype=torch.int64, device=device)
        self.size, self.length = size, 0

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store a layer's k and v of the new tokens (B, K, T, D); returns those of all tokens, (B, K, L + T, D)."""
        end = self.length + k.shape[2]
        if end > self.size:
            raise UserError(f"the KV cache holds {self.size} tokens, and {end} were to be stored.")
        self.k[layer, :, :, self.length : end] = k
        self.v[layer, :, :, self.length : end] = v
        return self.k[layer, :, :, :end], self.v[layer, :, :, :end]

    def append_doc_ids(self, doc_ids: Tensor) -> Tensor:
        """Store the ids of the new tokens (B, T); returns those of all (B, L + T)."""
        end = self.length + doc_ids.shape[1]
        self.doc_ids[:, self.length : end] = doc_ids
        return self.doc_ids[:, :end]

    def advance(self, tokens: int) -> None:
        """All layers have stored so many new tokens."""
        self.length += tokens

    def crop(self, length: int) -> None:
        self.length = min(self.length, length)
