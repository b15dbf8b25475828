"""Parameters, floating-point operations and memory of a model, from its config alone.

The letters are those of model.py: B sequences, T tokens, C width, H query heads, K key/value heads, D head size, L
layers, M width of the MLP. Nothing is built or run, so a model of a trillion parameters costs no more than one of a
million. Bytes are bytes (a GiB is 2**30 of them); one multiply-add is two FLOPs.
"""
from bisect import bisect_right

from .config import ModelConfig, UserError


def parameter_breakdown(c: ModelConfig) -> dict[str, int]:
    """Parameters by part. Rows that only pad the vocabulary are not counted; a tied head is part of the embedding.

    >>> c = ModelConfig(layers=2, width=8, heads=2, kv_heads=1, head_size=4, mlp_width=16, vocab_size=10)
    >>> parameter_breakdown(c)
    {'embedding': 80, 'positions': 0, 'attention': 384, 'mlp': 768, 'norms': 56, 'head': 0}
    """
    attention, mlp = block_matrices(c)
    norms = (2 * c.layers + 1) * c.width
    if c.family == "gpt2":  # every linear layer of a block has a bias, and so has every norm
        attention += 3 * c.heads * c.head_size + c.width
        mlp += (2 if c.activation == "swiglu" else 1) * c.mlp_width + c.width
        norms *= 2
    else:
        norms += c.layers * 2 * c.head_size  # one gain for all queries, one for all keys
    return {
        "embedding": c.vocab_size * c.width,
        "positions": c.context * c.width if c.family == "gpt2" else 0,
        "attention": c.layers * attention,
        "mlp": c.layers * mlp,
        "norms": norms,
        "head": 0 if c.tied else c.vocab_size * c.width,
    }


def parameters(c: ModelConfig) -> int:
    """How many numbers training can move; GPT-2 "124M" has 124,439,808."""
    return sum(parameter_breakdown(c).values())


def block_matrices(c: ModelConfig) -> tuple[int, int]:
    """Entries of the matrices of one block: (attention, MLP)."""
    attention = 2 * c.width * (c.heads + c.kv_heads) * c.head_size
    return attention, (3 if c.activation == "swiglu" else 2) * c.width * c.mlp_width


def matmul_parameters(c: ModelConfig) -> int:
    """Parameters that every token is multiplied by: the blocks' matrices, and the head at its padded size, tied or not.

    The embedding is not among them (looking up a row multiplies nothing), nor are norms, biases and positions.
    """
    return c.layers * sum(block_matrices(c)) + c.padded_vocab * c.width


# ---- floating-point operations ---------------------------------------------------------------------------------------


def forward_flops(c: ModelConfig, batch: int, tokens: int) -> int:
    """FLOPs of the matrix products in one forward pass over (batch, tokens).

    2 for each matmul parameter and token; and in each layer 2 * T * T * D per head for the scores and as many for the
    weighted sum. Like torch's own counter, this takes the T by T square in full, though causal attention needs half.
    """
    return batch * tokens * (2 * matmul_parameters(c) + 4 * c.layers * c.heads * c.head_size * tokens)


def flops_per_token(c: ModelConfig, context: int | None = None) -> int:
    """FLOPs to train on one token, 6 N + 12 L H D T, with N matmul parameters: backward costs two forward passes, since
    each product needs a gradient for both factors (Kaplan et al. 2020, section 2.1; Chowdhery et al. 2022, appendix B).
    """
    T = c.context if context is None else context
    return 3 * forward_flops(c, 1, T) // T


def training_flops(c: ModelConfig, tokens: float, context: int | None = None) -> float:
    """FLOPs to train on so many tokens, in sequences of `context`; what is recomputed to save memory counts once."""
    return flops_per_token(c, context) * tokens


def mfu(tokens_per_second: float, c: ModelConfig, peak_flops: float, convention: str = "palm") -> float:
    """Model FLOPs utilisation: the share of the hardware's peak that the model's arithmetic uses.

    It means little without its convention. With N parameters, of which E in the input embedding, and A = L H D T, the
    FLOPs per token are:

        palm        6 N + 12 A          also llm-foundry and nanoGPT (which leaves the position table out of N)
        torchtitan  6 (N - E) + 12 A
        megatron    6 (N - E) + 6 A     half of the square: only what causal attention needs
        llm.c       6 N + 6 A
        6n          6 N                 no attention at all

    Example: Llama 3 8B (8192 tokens, 989 TFLOP/s) at 5762 tokens/s reaches 0.337 as torchtitan counts.
    """
    n, a = parameters(c), c.layers * c.heads * c.head_size * c.context
    e = 0 if c.tied else c.vocab_size * c.width  # a tied embedding is also the head, which does multiply
    conventions = {
        "palm": 6 * n + 12 * a,
        "torchtitan": 6 * (n - e) + 12 * a,
        "megatron": 6 * (n - e) + 6 * a,
        "llm.c": 6 * n + 6 * a,
        "6n": 6 * n,
    }
    if convention not in conventions:
        raise UserError(f"unknown MFU convention {convention!r}: choose {', '.join(conventions)}.")
    return tokens_per_second * conventions[convention] / peak_flops


# ---- memory ----------------------------------------------------------------------------------------------------------


def memory(c: ModelConfig, batch_size: int, precision: str = "fp32", optimizer: str = "adamw",
           shards: int = 1) -> dict[str, int]:  # fmt: skip
    """Bytes at the peak of a training step on one device: eager, `batch_size` sequences of the full context.

    weights, gradients   4 bytes a parameter each, whatever the precision
    optimizer            AdamW 8 bytes a parameter; Muon 4 for the matrices it moves
    activations          what autograd keeps for backward, see `activation_bytes`; under autocast also copies of weights
    logits               log-probabilities kept, their gradient, and the gradient of the logits: three times 4 bytes
                         (four with a soft-cap), for as many tokens as the loss takes at once; if it works in chunks,
                         also the sum of the head's gradient
    gathered             over several shards (FSDP), of which each holds a part of the first three: whole for a moment
                         are what lies outside the blocks, two blocks, and the gradients of one of them

    Compiled code keeps less. Left out: temporaries below a layer's size, and what the allocator wastes.
    """
    from .model import LOGITS_AT_ONCE  # here, so that all the rest of this module works without torch

    stored = parameters(c) + (c.padded_vocab - c.vocab_size) * c.width * (1 if c.tied else 2)
    by_muon = c.layers * sum(block_matrices(c)) if optimizer == "muon" else 0
    copies = 0 if precision == "fp32" else 2 * matmul_parameters(c)
    tokens, at_once = batch_size * c.context, max(1, LOGITS_AT_ONCE // c.padded_vocab)
    logits = (16 if c.softcap else 12) * min(tokens, at_once) * c.padded_vocab
    if tokens > at_once:
        logits += 4 * c.padded_vocab * c.width
    parts = {
        "weights": 4 * stored,
        "gradients": 4 * stored,
        "optimizer": 8 * (stored - by_muon) + 4 * by_muon,
        "activations": tokens * activation_bytes(c, precision) + copies,
        "logits": logits,
    }
    if shards > 1:
        block = sum(block_matrices(c))
        outside = stored - c.layers * block
        parts |= {name: -(-parts[name] // shards) for name in ("weights", "gradients", "optimizer")}
        parts["gathered"] = (4 if precision == "fp32" else 2) * (outside + 2 * block) + 4 * (outside + block)
    return {**parts, "total": sum(parts.values())}


def activation_bytes(c: ModelConfig, precision: str = "fp32") -> int:
    """Bytes that autograd keeps for each token until backward, without the logits; attention as SDPA does it.

    The residual stream and the norms stay in fp32, 4 bytes; the inputs of matrix products have e bytes, 4, or 2 under
    autocast, which makes a copy for each product. Per layer, with q = H D and kv = K D:

        2 norms             4 C each for the input, RMSNorm 4 C more for the normalised one (CUDA's fused kernel: none)
        QK-norm             8 q + 8 kv, modern only
        inputs of q, k, v   4 C, or 3 * 2 C under autocast
        SDPA                4 e q: queries, keys and values (repeated for each query head), output; 4 H for the softmax
        inputs of the MLP   4 C, or 2 C under autocast for each matrix that reads them
        MLP                 e M times 4 for SwiGLU (gate, silu, up, product), 2 for GELU or ReLU²
        dropout             2 masks of e C, where it is on (on CUDA their elements take one byte)
    """
    modern, swiglu, e = c.family == "modern", c.activation == "swiglu", 4 if precision == "fp32" else 2
    q, kv = c.heads * c.head_size, c.kv_heads * c.head_size
    norm = (8 if modern else 4) * c.width
    inputs = 2 * 4 * c.width if precision == "fp32" else (3 + (2 if swiglu else 1)) * 2 * c.width
    attention = 4 * e * q + 4 * c.heads + (8 * (q + kv) if modern else 0)
    mlp = (4 if swiglu else 2) * e * c.mlp_width
    masks = e * c.width if c.dropout else 0
    return c.layers * (2 * norm + inputs + attention + mlp + 2 * masks) + norm + e * c.width + masks


def largest_micro_batch(
    c: ModelConfig, bytes_available: float, precision: str = "fp32", optimizer: str = "adamw", shards: int = 1
) -> int:
    """The most sequences whose training step fits into so many bytes, weights and optimizer included; at least 1."""
    need = lambda sequences: memory(c, sequences, precision, optimizer, shards)["total"]
    return max(1, bisect_right(range(1, 2**20), bytes_available, key=need))
