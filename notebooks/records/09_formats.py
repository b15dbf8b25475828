"""Which number format may do what in training? One small GPT, trained in twelve ways; formats are emulated by rounding.

Every matrix product with weights rounds its operands and its result to a format and adds up in fp32, forward and
backward, as an accelerator's matrix unit does. All else (embedding, norms, softmax, loss, the products inside
attention, AdamW with its two moments) is fp32, as under autocast. So are the weights, except in the arms that say
otherwise: there they are rounded to bf16 after each step, and no fp32 copy is kept.

A step sees one micro-batch of 512 tokens, but its loss is divided by 2^19 tokens, as one of the 1,024 micro-batches of
a batch of half a million would be (Brown et al. 2020 use that size for their smaller models); the gradient is then
multiplied by 1,024 in fp32, in place of adding up 1,024 of them. "Small batch" divides by 512 and multiplies by 1.

The rate rises, stays and falls to zero. For fp32 on seed 0 its peak of 0.002 ended as well as 0.005. The arms "late"
look at the end of a long run in small: half the steps in fp32 at the peak, and then the other half at a twentieth of
it; only in that half is anything rounded. Evaluation is in fp32, on the weights as they are.
"""
from functools import cache, partial

import numpy as np
import torch

from minigpt import GPT, ModelConfig, OptimConfig, bits_per_byte, learning_rate, train_bpe
from minigpt.text.sources import builtin, held_out
from minigpt.tokenizer import END_OF_TEXT

WHAT = "A small GPT trained with its matrix products, or its weights too, in emulated number formats, on books."
AXES = "step", "bits per byte of held-out text"
SEEDS = 0, 1, 2
FLOOR = 0.03  # another CPU adds its numbers in another order, and after some hundred steps that shows
STEPS, CONTEXT, BATCH = 240, 64, 8
LAYERS, WIDTH, HEADS, HEAD_SIZE, VOCAB_SIZE = 2, 64, 2, 32, 512
RATE = 2e-3
LATE_RATE = RATE / 20
WHOLE_BATCH = 2**19
"""Tokens by which a loss is divided where the settings do not say otherwise."""
MEASURED = np.array([0.125, 0.25, 0.5, 0.625, 0.75, 0.875, 1.0])
"""Where a run is measured, as shares of its steps."""
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
LARGEST = {"e4m3": 448.0, "e5m2": 57344.0}


def arms() -> dict[str, dict]:
    return {
        "fp32": {},
        "bf16": dict(format="bf16"),
        "fp16": dict(format="fp16"),
        "fp16, small batch": dict(format="fp16", tokens=BATCH * CONTEXT),
        "fp16, scaled": dict(format="fp16", scaler=True),
        "fp8": dict(format="bf16", blocks="fp8"),
        "fp8, unscaled": dict(format="bf16", blocks="fp8 unscaled"),
        "bf16 weights": dict(format="bf16", weights="nearest"),
        "bf16 weights, stochastic": dict(format="bf16", weights="stochastic"),
        "late, fp32 weights": dict(format="bf16", late=True),
        "late, bf16 weights": dict(format="bf16", weights="nearest", late=True),
        "late, stochastic": dict(format="bf16", weights="stochastic", late=True),
    }


def rounded(x: torch.Tensor, name: str) -> torch.Tensor:
    """x in fp32, rounded to a format and back; fp8 formats may have "scaled" before them: by one factor a tensor."""
    if name == "fp32":
        return x
    scaled, _, name = name.rpartition(" ")
    if not scaled:
        return x.to(DTYPES[name]).float()
    factor = LARGEST[name] / x.abs().amax().clamp(min=1e-30)
    return (x * factor).to(DTYPES[name]).float() / factor


FORMATS = {  # of the operands forward, of the gradient that comes in, of the results
    "fp32": ("fp32", "fp32", "fp32"),
    "bf16": ("bf16", "bf16", "bf16"),
    "fp16": ("fp16", "fp16", "fp16"),
    "fp8": ("scaled e4m3", "scaled e5m2", "bf16"),
    "fp8 unscaled": ("e4m3", "e5m2", "bf16"),
}


class Product(torch.autograd.Function):
    """x (N, I) times weight (O, I) -> (N, O), in a format."""

    @staticmethod
    def forward(ctx, x, weight, formats):
        operand, _, result = formats
        x, weight = rounded(x, operand), rounded(weight, operand)
        ctx.save_for_backward(x, weight)
        ctx.formats = formats
        return rounded(x @ weight.T, result)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        _, incoming, result = ctx.formats
        grad = rounded(grad, incoming)
        return rounded(grad @ weight, result), rounded(grad.T @ x, result), None


def emulate(model: GPT, settings: dict) -> None:
    """Give every linear layer of a model without biases its format; the head's is that of `format`."""
    outside = FORMATS[settings.get("format", "fp32")]
    inside = FORMATS[settings.get("blocks", settings.get("format", "fp32"))]

    def forward(layer, formats, x):
        return Product.apply(x.flatten(0, -2), layer.weight, formats).unflatten(0, x.shape[:-1])

    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Linear):
            layer.forward = partial(forward, layer, inside if name.startswith("blocks") else outside)


def restore(model: GPT) -> None:
    """Undo `emulate`."""
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            vars(layer).pop("forward", None)


def to_bf16(x: torch.Tensor, how: str, dice: torch.Generator) -> torch.Tensor:
    """x in fp32, rounded to bf16: to the nearest, or up or down by chance, the nearer the likelier."""
    if how == "nearest":
        return x.bfloat16().float()
    noise = torch.randint(2**16, x.shape, generator=dice, dtype=torch.int32)  # the 16 bits that bf16 does not keep
    return (x.view(torch.int32) + noise & -(2**16)).view(torch.float32)


def run(settings: dict, seed: int) -> dict:
    """One run: train, and measure on the way."""
    ids, tokenizer, unseen = text()
    config = ModelConfig("modern", LAYERS, WIDTH, HEADS, HEADS, HEAD_SIZE, 2 * WIDTH, CONTEXT, VOCAB_SIZE)
    model, how, late = GPT(config, seed), settings.get("weights"), settings.get("late", False)
    begin = STEPS // 2 if late else 0
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    scaler = torch.amp.GradScaler("cpu", enabled=settings.get("scaler", False), growth_interval=20)
    tokens, draw, dice = settings.get("tokens", WHOLE_BATCH), *(torch.Generator().manual_seed(seed) for _ in range(2))
    y, skipped, zero, lost = [], 0, [], []
    measured = (MEASURED * STEPS).round().astype(int)
    for step in range(STEPS):
        if step >= begin:
            emulate(model, settings)
        starts = torch.randint(len(ids) - CONTEXT, (BATCH, 1), generator=draw)
        windows = ids[starts + torch.arange(CONTEXT + 1)]
        loss = model(windows[:, :-1], windows[:, 1:], reduction="sum") / tokens
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        grads = [p.grad for p in model.parameters()]
        zero.append(sum(int((g == 0).sum()) for g in grads) / sum(g.numel() for g in grads))
        for g in grads:
            g *= tokens / (BATCH * CONTEXT)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = rate(step, late)
        before = [p.detach().clone() for p in model.parameters()]
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        skipped += not norm.isfinite()
        if how and step >= begin:
            with torch.no_grad():
                for p in model.parameters():
                    p.copy_(to_bf16(p, how, dice))
        same = sum(int((a == p).sum()) for a, p in zip(before, model.parameters()))
        lost.append(same / sum(p.numel() for p in before))
        if step + 1 in measured:
            restore(model)
            y.append(bits_per_byte(model, tokenizer, unseen))
    return {"x": measured, "y": y, "skipped": skipped, "scale": scaler.get_scale(), "zero": np.mean(zero[-100:]),
            "unchanged": np.mean(lost[-100:])}  # fmt: skip


def rate(step: int, late: bool) -> float:
    """The learning rate of a step."""
    if late:
        return LATE_RATE if step >= STEPS // 2 else RATE * min(1.0, (step + 1) / 12)
    return RATE * learning_rate(step, STEPS, OptimConfig(warmup=0.05, decay=0.6))


@cache
def text():
    """(ids to train on, their tokenizer, held-out text): every third book, which is enough, and soon read."""
    documents = list(builtin(["books"]))
    train = [d.text for d in documents if not held_out(d.id)][::3]
    unseen = "\n".join(d.text[4000:6500] for d in documents if held_out(d.id))
    tokenizer = train_bpe(train[::3], VOCAB_SIZE, [END_OF_TEXT])
    encoded = [[tokenizer.eot, *a] for a in tokenizer.encode_batch(train)]
    return torch.from_numpy(np.concatenate(encoded).astype(np.int64)), tokenizer, unseen
