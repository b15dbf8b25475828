"""What does each change since GPT-2 buy? One small model in GPT-2's style, and a variant of it for every change.

All arms get the same training FLOPs (in matrix products, counted from the weights that are really there), the same
optimizers (Muon for the matrices inside the blocks, AdamW for the rest), the same initial weights wherever names and
shapes agree, and for each seed the same order of the text. The learning rate was chosen for the baseline, among 0.005,
0.01 and 0.02, by its end on seed 0; Muon's is twice as large. The two `fast` arms take four times as much. Attention
counts in full, also where a window hides most of it.
"""
from functools import cache

import numpy as np
import torch
from torch import nn

from minigpt import GPT, ModelConfig, OptimConfig, bits_per_byte, build_optimizers, learning_rate, train_bpe
from minigpt.model import RMSNorm, init_weights, rotate
from minigpt.text.sources import builtin, held_out
from minigpt.tokenizer import END_OF_TEXT

WHAT = "GPT-2's style and one change at a time, at equal training FLOPs, on books."
AXES = "training FLOPs, 10^12", "bits per byte of held-out text"
SEEDS = 0, 1, 2
FLOOR = 0.03  # another CPU adds its numbers in another order, and after some hundred steps that shows
FLOPS = 8e11
CONTEXT, BATCH = 128, 4
LAYERS, WIDTH, HEADS, HEAD_SIZE, VOCAB_SIZE = 3, 128, 4, 32, 1024
RATE = 5e-3
MEASURED = np.array([0.3, 0.65, 1.0])
"""Where a run is measured, as shares of its steps."""

BASELINE = dict(norm="layer", bias=True, rope=False, qk_norm=False, kv_heads=HEADS, activation="gelu", mlp_width=512,
                tied=True, softcap=0.0, window=0, rate=RATE)  # fmt: skip
CHANGES = {
    "rms_norm": dict(norm="rms"),
    "no_bias": dict(bias=False),
    "rope": dict(rope=True),
    "qk_norm": dict(qk_norm=True),
    "gqa": dict(kv_heads=2),
    "swiglu": dict(activation="swiglu", mlp_width=341),  # three matrices of 341 for two of 512
    "relu2": dict(activation="relu2"),
    "untied": dict(tied=False),
    "softcap": dict(softcap=30.0),
    "window": dict(window=32),
}
MODERN = ("rms_norm", "no_bias", "rope", "qk_norm", "swiglu")


def arms() -> dict[str, dict]:
    together = {key: value for name in MODERN for key, value in CHANGES[name].items()}
    fast = {"baseline_fast": dict(rate=4 * RATE), "qk_norm_fast": dict(qk_norm=True, rate=4 * RATE)}
    return {"baseline": {}} | {"modern": together} | CHANGES | fast


def build(settings: dict, seed: int) -> GPT:
    """A GPT in the style of the baseline with these settings changed."""
    s = BASELINE | settings
    family = "modern" if s["rope"] else "gpt2"  # they differ in more; the rest is replaced below
    model = GPT(ModelConfig(family, LAYERS, WIDTH, HEADS, HEADS, HEAD_SIZE, s["mlp_width"], CONTEXT, VOCAB_SIZE,
                            s["tied"], s["activation"], softcap=s["softcap"], window=s["window"]))  # fmt: skip

    def norm():
        return RMSNorm(WIDTH, 1e-6) if s["norm"] == "rms" else nn.LayerNorm(WIDTH, 1e-6, bias=s["bias"])

    model.norm = norm()
    for block in model.blocks:
        block.norm1, block.norm2 = norm(), norm()
        attn, mlp = block.attn, block.mlp
        attn.q_norm, attn.k_norm = (RMSNorm(HEAD_SIZE, 1e-6) if s["qk_norm"] else nn.Identity() for _ in "qk")
        rows = dict.fromkeys("kv", s["kv_heads"] * HEAD_SIZE)
        for part, names in ((attn, ("q", "k", "v", "out")), (mlp, ("gate", "up", "down"))):
            for name in names:
                if old := getattr(part, name, None):
                    setattr(part, name, nn.Linear(old.in_features, rows.get(name, old.out_features), s["bias"]))
    init_weights(model, seed)
    return model


def flops_of_a_token(model: GPT) -> int:
    """To train on it: 6 for each weight of a linear layer, and 12 L H D T for the scores and the mixing."""
    weights = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear))  # the head is one of them
    return 6 * weights + 12 * LAYERS * HEADS * HEAD_SIZE * CONTEXT


def run(settings: dict, seed: int) -> dict:
    ids, tokenizer, unseen = text()
    model, rate = build(settings, seed), settings.get("rate", RATE)
    steps = round(FLOPS / (flops_of_a_token(model) * BATCH * CONTEXT))
    rates = OptimConfig(lr=rate, matrix_lr=2 * rate, steps=steps, batch_tokens=BATCH * CONTEXT)
    optimizers = build_optimizers(model, rates)
    draw, y = torch.Generator().manual_seed(seed), []
    measured = (MEASURED * steps).round().astype(int)
    for step in range(steps):
        starts = torch.randint(len(ids) - CONTEXT, (BATCH, 1), generator=draw)
        windows = ids[starts + torch.arange(CONTEXT + 1)]
        model(windows[:, :-1], windows[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * learning_rate(step, steps, rates)
            optimizer.step()
            optimizer.zero_grad()
        if step + 1 in measured:
            y.append(bits_per_byte(model, tokenizer, unseen))
    size = sum(p.numel() for p in model.parameters())
    return {"x": MEASURED * FLOPS / 1e12, "y": y, "steps": steps, "parameters": size,
            "largest_score": largest_score(model, ids[:CONTEXT])}  # fmt: skip


def largest_score(model: GPT, ids: torch.Tensor) -> float:
    """The largest attention score, in absolute value, anywhere in the model on one text (T,)."""
    found = []

    def hook(attn, args, _):
        x, rope = args[:2]
        q, k = (proj(x).view(1, len(ids), -1, HEAD_SIZE) for proj in (attn.q, attn.k))
        q, k = attn.q_norm(q).transpose(1, 2), attn.k_norm(k).transpose(1, 2)
        if rope is not None:
            q, k = rotate(q, rope), rotate(k, rope)
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        found.append(float((q @ k.mT).tril().abs().max()) / HEAD_SIZE**0.5)

    hooks = [block.attn.register_forward_hook(hook) for block in model.blocks]
    with torch.no_grad():
        model(ids[None])
    for handle in hooks:
        handle.remove()
    return max(found)


@cache
def text():
    """(ids to train on, their tokenizer, held-out text): every third book, which is enough, and soon read."""
    documents = list(builtin(["books"]))
    train = [d.text for d in documents if not held_out(d.id)][::3]
    unseen = "\n".join(d.text[4000:6500] for d in documents if held_out(d.id))
    tokenizer = train_bpe(train[::3], VOCAB_SIZE, [END_OF_TEXT])
    encoded = [[tokenizer.eot, *a] for a in tokenizer.encode_batch(train)]
    return torch.from_numpy(np.concatenate(encoded).astype(np.int64)), tokenizer, unseen
