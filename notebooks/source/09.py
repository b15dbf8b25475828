# %% [raw]
# title = "Mixed precision"
# question = "A number of 16 bits holds two or three digits. Why does training survive that, and what exactly must not be rounded?"
# able = [
#   "read any floating-point format from its two bit counts, and round to it by hand",
#   "say of each tensor of a training step whether it can overflow, underflow or be swamped, and measure it",
#   "build a loss scaler that decides like PyTorch's, and say when you need none",
#   "say what autocast leaves in fp32, and why",
#   "choose formats for a run, and predict which choice breaks it",
# ]
# needs = ["token", "logits", "softmax", "cross-entropy", "bits per byte", "held-out text", "parameter", "step", "residual stream", "learning rate", "gradient", "activations", "optimizer state", "AdamW", "gradient clipping", "micro-batch", "gradient accumulation", "paired difference", "confidence interval"]
# reading = 60
# exercises = 101
# route = "core"
# paper = "Micikevicius et al. 2018, Mixed Precision Training, arXiv 1710.03740"
#
# [teaches]
# "floating point" = "Numbers written as a sign, a significand between 1 and 2, and a power of two; so their distance grows with their size."
# exponent = "The stored power of two of a floating-point number; its bits decide how large and how small numbers can get."
# significand = "The digits of a floating-point number, 1.xxx in binary; the bits after the point are stored, and decide how fine the numbers are. Also called mantissa."
# spacing = "The distance from a floating-point number to the next larger one; for bf16 it is 1/128 of the power of two below."
# subnormal = "A number below the smallest normal one: its significand starts with 0, and it loses digits on the way down to zero."
# overflow = "A result too large for its format: it becomes infinity."
# underflow = "A result too small for its format: it becomes zero, or loses its digits among the subnormals."
# swamping = "Adding a number so small that the sum, rounded, is the old sum."
# bf16 = "Sixteen bits with the 8 exponent bits of fp32: its whole range, and two to three digits."
# fp16 = "Sixteen bits with 5 bits of exponent and 10 of significand: three digits, from about 0.00000006 to 65,504."
# tf32 = "What some units read of an fp32 number: all of its exponent, and 10 bits of its significand."
# fp8 = "Two formats of eight bits: e4m3 for weights and activations, e5m2, with more range and fewer digits, for gradients."
# "master weights" = "The copy of the weights, in fp32, that the optimizer changes; the model computes with a rounded copy."
# "loss scale" = "A power of two that the loss is multiplied by, so that small gradients survive fp16; they are divided by it before they are used."
# autocast = "A mode in which each operation chooses its own format: matrix products a short one, sums and exponentials fp32."
# "stochastic rounding" = "Rounding up or down by chance, the nearer the likelier, so that the mean is right."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners can say of any tensor in a training step which of three things can happen to it in a short format, and know the three
# repairs that belong to them: scale, sum in fp32, keep a master copy. **Timing** (105 min). Before class: 09.1. In class: section 1 10 · section 2 15 · section 3
# with its prediction on paper 15 · exercise 09.6 10 · section 4 10 · exercise 09.4 15 · section 5 10 · section 6 5 · section 9 10 · discussion 5. Homework:
# sections 7, 8 and 10, the other exercises.
#
# **Two misconceptions.** *"fp16 is more precise than bf16, so it is the safer choice."* Ask: what does the gradient of one token's loss look like after a division by half
# a million, in each of the two? *"Mixed precision halves the memory of training."* Ask: which of the 16 bytes of a parameter got shorter, and which copy was added?
#
# **Discuss.** A colleague's run in fp16 skips one step in three. What do you look at first? · Fp8 has one or two digits. Why is that enough for a product of two
# matrices and not for a weight?

# %% tags=["setup"]
import math
import time
from collections import Counter

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from minigpt.classroom import model_from, museum, recorded, reveal, show
from minigpt.classroom.shelf import half_width, live_sentence
from minigpt.classroom.viz import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from minigpt.classroom.viz import figure, label_end, plot_live, plot_record
from minigpt.precision import bf16_speedup
from minigpt.text.sources import builtin, held_out, usable_domains

started = time.perf_counter()
device = "cuda" if torch.cuda.is_available() else "cpu"
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads, device {device}")

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>primer: why do we add logarithms of probabilities, and never multiply the probabilities themselves?</summary>A product of hundreds of small numbers
# underflows: the computer stores 0. Today you see where exactly that happens.</details>
# <details><summary>05: how many bytes does training with AdamW in fp32 need for each parameter, and what are they?</summary>16: the weight, its gradient, and two
# numbers of optimizer state, 4 bytes each.</details>
# <details><summary>08: a batch is read in 16 micro-batches. By what is the loss of each micro-batch divided?</summary>The *sum* of its losses is divided by the number
# of targets in the whole batch. Then the gradients add up to that of one large batch.</details>

# %% [markdown]
# > **Try first: 09.1 `spacing`** (6 min), before you read on. The exercises are in `exercises/09_mixed_precision.ipynb`; `python3 course.py start 09` makes a copy
# > for you in `my/`.
#
# So far every number had 32 bits. Units that multiply matrices do it in 16 bits several times as fast (2 to 8 times on the GPUs of Micikevicius et al. 2018), and half as many bytes move. Nothing on this page needs such a unit.
# A format is a rule for rounding, and your CPU can round. (Where this notebook finds a CUDA GPU, it uses it in section 6.)
#
# ## 1. A number, bit by bit
#
# You know 3.1 · 10⁷: one digit before the point, some after it, and a power of ten. **Floating point** is the same with twos:
#
# $$x = \pm\; 1.xxx_2 \cdot 2^{E}$$
#
# The number 1.xxx, in binary, is the **significand**; E is the **exponent**. A format is three counts of bits: one for the sign, some for the exponent, some for the digits after the
# point. (The 1 before the point is always there, so nobody stores it.) Six formats that matter in training:

# %%
FORMATS = {  # name: bits of the exponent, bits of the significand, largest number
    "fp32": (8, 23, torch.finfo(torch.float32).max),
    "tf32": (8, 10, (2 - 2.0**-10) * 2.0**127),
    "bf16": (8, 7, torch.finfo(torch.bfloat16).max),
    "fp16": (5, 10, torch.finfo(torch.float16).max),
    "e5m2": (5, 2, torch.finfo(torch.float8_e5m2).max),
    "e4m3": (4, 3, torch.finfo(torch.float8_e4m3fn).max),
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16,
          "e5m2": torch.float8_e5m2, "e4m3": torch.float8_e4m3fn}  # fmt: skip


# %%
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}  # to look at stored bits


def stored(x, name):
    """The bits of a number as a format stores it: "0 01111 1000000000" """
    exponent_bits, significand_bits, _ = FORMATS[name]
    t = torch.tensor(x).to(DTYPES.get(name, torch.float32))
    pattern = int(t.view(INTEGERS[t.element_size()]))
    if name == "tf32":  # torch has no such type: the first 19 bits of fp32, rounded
        pattern = (pattern + 0x1000) >> 13
    bits = f"{pattern % 2 ** (1 + exponent_bits + significand_bits):b}"
    bits = bits.zfill(1 + exponent_bits + significand_bits)
    return f"{bits[0]} {bits[1 : 1 + exponent_bits]} {bits[1 + exponent_bits :]}"


# %%
fig, ax = figure(width=9.5, height=3.3)
for row, name in enumerate(FORMATS):
    parts, x = stored(0.1, name).split(), 0
    for part, color in zip(parts, ("#bbbbbb", "#f3c26b", "#9fd0ee")):
        for bit in part:
            ax.barh(row, 0.94, 0.74, x + 0.03, color=color)
            ax.text(x + 0.5, row, bit, ha="center", va="center", size=9)
            x += 1
    value = torch.tensor(0.1).to(DTYPES.get(name, torch.float32)).double().item()
    ax.text(-0.4, row, name, ha="right", va="center")
    told = f"= {value:.12g}" if name != "tf32" else "(19 bits, kept in 32)"
    ax.text(x + 0.3, row, told, va="center", size=9)
for x, text in ((0.5, "sign"), (5, "exponent"), (20, "significand")):
    ax.text(x, -0.75, text, ha="center", size=9)
ax.set(xlim=(-3, 41), ylim=(len(FORMATS) - 0.4, -1.1))
ax.axis("off")
show(fig, alt="0.1 in six formats, a box for each bit: one sign bit; 8 exponent bits in fp32, tf32 "
              "and bf16, 5 in fp16 and e5m2, 4 in e4m3; 23, 10, 7, 10, 2, 3 of significand.")

# %% [markdown]
# Read fp16's row. Its exponent field is an ordinary whole number, from which a fixed **bias** of 15 is subtracted, so that small and large powers both fit. (In general the bias is 2 to the
# power of one less than the number of exponent bits, minus 1.) The significand field counts steps of 1/1024:

# %%
sign, exponent, significand = stored(0.1, "fp16").split()
power, steps = int(exponent, 2) - 15, int(significand, 2)
print(f"exponent field {exponent} = {int(exponent, 2)}, minus 15: {power}")
print(f"(1 + {steps}/1024) · 2^{power} = {(1 + steps / 1024) * 2.0**power}")
assert (1 + steps / 1024) * 2.0**power == torch.tensor(0.1).half().item()

# %% [markdown]
# 0.1 has no exact binary form, in any of them. Each format stores its nearest number.
#
# Two exponent fields are special. *All zeros*: the significand starts with 0 instead of 1, and the power is that of the smallest normal number, 2 to the power of (1 − bias). These **subnormal** numbers fill the gap between the smallest
# normal number and zero with evenly spaced steps. *All ones*: infinity and "not a number". (e4m3 gives up infinity and keeps one pattern of each sign for "not a number", because eight bits are too few to waste.)
#
# A format of eight bits is small enough to draw whole. Here are all numbers of e4m3 between 0 and 16, and below, magnified, those near zero:

# %%
every = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
fig, axes = figure(width=9, height=2.4, rows=2)
for ax, top, color in zip(axes, (16, 2**-4), (BLUE, ORANGE)):
    shown = every[(every >= 0) & (every <= top)]
    ax.vlines(shown, 0, 1, color=color, linewidth=1.2)
    ax.set(xlim=(-0.01 * top, 1.01 * top), yticks=[])
axes[1].axvspan(0, 2**-6, color=GREY, alpha=0.25)
axes[1].text(2**-7, 1.12, "subnormal", ha="center", size=9)
between = ((every >= 1) & (every < 2)).sum()
print(f"{every.isfinite().sum()} of 256 patterns are numbers; from 1 up to 2 there are {between}, "
      f"from 8 up to 16 there are {((every >= 8) & (every < 16)).sum()}")
show(fig, alt="Ticks on a line: from each power of two to the next there are eight, so they get "
              "sparser to the right. Near zero the grey stretch has evenly spaced ticks.")

# %% [markdown]
# The picture is all there is to know. From each power of two to the next there are equally many numbers, so their distance, the **spacing**, doubles at every power of two. *Relative* to the
# number it stays about the same. The bits of the significand set that precision; the bits of the exponent set where the line ends, on the right (**overflow**: infinity) and at zero
# (**underflow**: zero).

# %%
print("        largest   smallest normal   smallest at all   spacing at 1   decimal digits")
for name, (exponent_bits, significand_bits, largest) in FORMATS.items():
    info = torch.finfo(DTYPES.get(name, torch.float32))
    smallest, spacing = info.tiny * 2.0**-significand_bits, 2.0**-significand_bits
    digits = (significand_bits + 1) * math.log10(2)
    print(f"{name} {largest:>10.4g} {info.tiny:>17.2g} {smallest:>17.2g} {spacing:>14.2g} "
          f"{digits:>16.1f}")
    if name in DTYPES:
        assert spacing == info.eps and largest == info.max

# %% [markdown]
# Compare the two rows of 16 bits. **bf16** is fp32, cut in the middle: the same range, and two to three digits. **fp16** has another digit, and pays for it with range: it ends at 65,504, and what
# is smaller than 6 · 10⁻⁸ is gone. **tf32** is not stored at all: a unit reads fp32, and uses that much of it.
#
# **Predict.** In bf16, what is 1 + 1/512? (An exact number.)

# %%
guess = None
reveal("09.p1", guess)

# %% [markdown]
# > **Your turn: 09.2 `decode`** (12 min), and **09.3 `limits`** (8 min): read any pattern, of any format.

# %% [markdown] tags=["slide"]
# ### A format
#
# sign · exponent · significand
#
# - exponent bits: where the line ends. Overflow, underflow.
# - significand bits: how fine it is. Swamping.
# - bf16: the range of fp32. fp16: one digit more, and no range.

# %% [markdown]
# ## 2. Rounding by hand
#
# To round a number to a format, find the spacing at that place, and take the nearest multiple of it. That is all of it, and the corners come by themselves: below the smallest normal exponent the
# spacing stops shrinking, which makes the subnormals; beyond the largest number there is infinity. One convention is left. A number exactly in the middle goes to the neighbour
# whose last bit is 0, "ties to even", so that ties go up as often as down.

# %%
def round_to(x, exponent_bits, significand_bits, largest):
    """Each number of x, rounded to the nearest of a format, ties to even: float64"""
    x = x.double()
    lowest = 2 - 2 ** (exponent_bits - 1)  # the exponent of the smallest normal number
    exponent = (torch.frexp(x).exponent - 1).clamp(min=lowest)  # subnormals stay there
    spacing = torch.ldexp(torch.ones_like(x), exponent - significand_bits)
    y = torch.round(x / spacing) * spacing  # torch.round takes ties to even
    return torch.where(y.abs() <= largest, y, x.sign() * math.inf)


few = torch.tensor([0.1, 1.0, 1 + 1 / 512, 300.3, 70000.0, 1e-9])
for name, form in FORMATS.items():
    print(f"{name}: {'  '.join(f'{v:<12.6g}' for v in round_to(few, *form))}")

# %% [markdown]
# (Beyond its end this function always says infinity. e4m3 has none; there a cast gives the last number, or NaN.)
#
# Is it right? Compare with the casts of PyTorch, which others wrote. Not on a few numbers: on *every* upper half that an fp32 number can have, all 65,536 of them, each with twelve lower halves, chosen so that
# they hit ties of both kinds (last digit even or odd), with both neighbours. Infinities and NaN are among them. tf32 has no cast; there, compare with integer arithmetic on the bits: add just under half of what is cut off, and let the carry run.

# %%
upper = torch.arange(2**16)[:, None] * 2**16
lower = [0, 1, 0xFFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x3001, 0x7FFF, 0x8000, 0x8001, 0xFFFF]
x = (upper + torch.tensor(lower)).flatten().to(torch.int32).view(torch.float32)
bits = x.view(torch.int32)
theirs = {name: x.to(dtype).double() for name, dtype in DTYPES.items()}
carried = (bits + 0xFFF + (bits >> 13 & 1)) & ~0x1FFF  # an odd last bit makes a tie go up
theirs["tf32"] = carried.view(torch.float32).double()
for name, form in FORMATS.items():
    ours, other = round_to(x, *form), theirs[name]
    # versions of torch differ on e4m3 beyond its end: the last number, or NaN
    asked = x.abs() <= 464 if name == "e4m3" else torch.ones_like(x, dtype=torch.bool)
    same = ((ours == other) & (ours.signbit() == other.signbit())) | (ours.isnan() & x.isnan())
    print(f"{name}: equal for {(same & asked).sum():,} of {asked.sum():,} numbers")
    assert bool(same[asked].all())

# %% [markdown]
# **What breaks if** you cut instead of rounding? It is tempting: bf16 is the upper half of fp32, so drop the lower half. One such number is off by less than a spacing. But all of
# them are off in the same direction, towards zero, and errors in one direction add up:

# %%
x = torch.rand(100_000, generator=torch.Generator().manual_seed(2)) + 1
cut = (x.view(torch.int32) & ~0xFFFF).view(torch.float32)
for name, y in (("to the nearest", x.bfloat16().float()), ("cut", cut)):
    print(f"{name:>14}: mean error {(y - x).mean():+.5f}, largest {(y - x).abs().max():.5f}")
assert (cut - x).mean() < -0.003 and (x.bfloat16().float() - x).mean().abs() < 1e-4

# %% [markdown]
# ### Sums
#
# Rounding once costs half a spacing. Rounding after every addition can cost everything.
#
# **Predict.** Start at 0 and add 1.0 ten thousand times, in fp16, rounding after each addition. What do you get?

# %%
guess = None
reveal("09.p2", guess)

# %%
def count(dtype, steps=10_000):
    """The running sum of ones, when every sum is rounded: (steps,)"""
    total, one, sums = torch.zeros((), dtype=dtype), torch.ones((), dtype=dtype), []
    for _ in range(steps):
        total = total + one
        sums.append(total)
    return torch.stack(sums).float()


fig, ax = figure(width=7, height=3)
styles = {"fp32": (GREY, "--"), "fp16": (VERMILLION, "-"), "bf16": (BLUE, "-.")}
for name, (color, style) in styles.items():
    sums = count(DTYPES[name])
    ax.plot(sums, style, color=color)
    label_end(ax, len(sums), sums[-1], f"{name}: {sums[-1]:,.0f}", color)
ax.set(xlabel="ones added", ylabel="sum")
show(fig, alt="fp32 climbs in a straight line to 10,000. fp16 leaves it at 2,048 and stays flat; "
              "bf16 at 256.")
assert count(torch.float16)[-1] == 2048 and count(torch.bfloat16)[-1] == 256
print("torch's own sum in fp16:", torch.ones(10_000, dtype=torch.float16).sum().item())

# %% [markdown]
# The sum does not wobble, it *stops*. From 2,048 on, the spacing of fp16 is 2, so one more lies in the middle between two numbers, and goes to the even side: back. This is **swamping**: a number added to one that is some thousand times as large (in bf16, some hundred) has
# no effect. No error, no warning.
#
# The last line shows the cure. PyTorch reads fp16, adds up in fp32, and rounds once, at the end. Matrix units do the same: they multiply 16-bit numbers and add in 32 bits. So "a product in bf16" means: *the operands and
# the result* are bf16, the sum is not. Three things can go wrong, then, and you now have their names. Where in training do they?

# %% [markdown] tags=["slide"]
# ### Three ways to lose a number
#
# - **overflow**: too large → infinity. Ends of the exponent
# - **underflow**: too small → zero. Ends of the exponent
# - **swamping**: too small *beside the other one* → no effect. Bits of the significand

# %% [markdown]
# ## 3. Where training loses numbers
#
# Take the model of lesson 00 and look at a real backward pass. In fp16, gradients travel from layer to layer as fp16 numbers: the gradient by each layer's output is what gets rounded first. So collect these.

# %%
run = model_from("00")
model, tokenizer = run.model.float().eval(), run.tokenizer
usable, _ = usable_domains(["books", "drama", "speeches", "docs"])
unseen = "\n".join(d.text for d in builtin(usable[:1]) if held_out(d.id))[5000:60_000]
ids = torch.tensor(tokenizer.encode(unseen[:10_000])[: 8 * 64 + 1])
inputs, targets = ids[:-1].view(8, 64), ids[1:].view(8, 64)


# %%
def look(model, inputs, targets):
    """{name of a linear layer: its output}, and the gradient of the summed loss by each"""
    outputs, hooks = {}, []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            keep = lambda layer, args, y, name=name: outputs.__setitem__(name, y)
            hooks.append(layer.register_forward_hook(keep))
    loss = model(inputs, targets, reduction="sum")
    grads = torch.autograd.grad(loss, list(outputs.values()))
    for hook in hooks:
        hook.remove()
    return outputs, dict(zip(outputs, grads))


outputs, grads = look(model, inputs, targets)
inside = torch.cat([g.flatten() for name, g in grads.items() if name != "head"])
inside = inside[inside != 0]
print(f"{len(grads)} linear layers; {inside.numel():,} gradients by the outputs of those in blocks")
print(f"the median of their sizes is near 2^{inside.abs().median().log2():.0f}")

# %% [markdown]
# That is the gradient of the *sum* of the losses. Training divides by the number of tokens in the batch, so by that each of these is divided, too. GPT-3's smaller models used batches of half a million tokens (Brown et al. 2020, table 2.1): 2¹⁹. A token's own share of the
# gradient does not care how small a micro-batch your memory allows; what counts is the number in the denominator.
#
# **Predict.** At 2¹⁹ tokens a batch, which share of the gradients inside the blocks becomes exactly 0 in fp16? (Between 0 and 1. The smallest fp16 number is 2⁻²⁴, and what is below half of it rounds to 0.)

# %%
def lost(grads, tokens, scale=1.0):
    """The share of gradients that fp16 rounds to zero"""
    return ((grads * (scale / tokens)).half() == 0).float().mean().item()


guess = None
reveal("09.p3", guess, truth=lost(inside, 2**19))

# %%
fig, ax = figure(width=8.5, height=3.3)
ax.axvspan(-14, 16, color=GREEN, alpha=0.18)
ax.axvspan(-25, -14, color=ORANGE, alpha=0.2)
bins = np.arange(-60, 20)
for tokens, color, style in ((1, GREY, ":"), (2**10, BLUE, "-"), (2**19, VERMILLION, "--")):
    height, _ = np.histogram((inside.abs() / tokens).log2().numpy(), bins)
    ax.plot(bins[:-1] + 0.5, height / len(inside), style, color=color)
    at, top = height.argmax(), height.max() / len(inside)
    ax.text(bins[at], top + 0.004, f"÷ {tokens:,}", color=color, ha="center")
for x, text in ((1, "normal in fp16"), (-19, "subnormal"), (-42, "zero in fp16")):
    ax.text(x, 0.165, text, ha="center", va="top", size=9)
ax.set(xlabel="log2 of |gradient|", ylabel="share", ylim=(0, 0.17), xlim=(-50, 18))
show(fig, alt="The same bell three times, shifted left by the division: undivided it sits inside "
              "the range of fp16; divided by 2^19, most of it lies left of 2^-25: zero in fp16.")
for tokens in (2**10, 2**13, 2**16, 2**19, 2**22):
    print(f"{tokens:>9,} tokens: {lost(inside, tokens):.0%} become zero in fp16")
assert lost(inside, 2**19) > 0.3 and lost(inside, 2**19) > 3 * lost(inside, 2**10)

# %% [markdown]
# Dividing the loss shifts the picture to the left and leaves its shape alone. Once divided, the right part of the green range, fifteen powers of two and more, is not used. Section 5 is nothing but the idea of shifting the picture back.
#
# Which layers lose most? And is the other end near, overflow in the forward pass?

# %%
print("at 2^19 tokens        gradients lost   largest output   fp16's end is so much larger")
for name in outputs:
    if name.startswith("blocks.0") or name == "head":
        g, largest = grads[name], outputs[name].abs().max().item()
        gone = lost(g[g != 0], 2**19)
        print(f"{name:<22} {gone:>13.1%} {largest:>16.1f} {65504 / largest:>14,.0f} times")
worst = max(y.abs().max().item() for y in outputs.values())
assert worst < 65504 / 10 and lost(grads["head"], 2**19) > 0.5

# %% [markdown]
# The head loses nearly all. The gradient by a logit is p − y (lesson 03): p for all tokens that did not come. Divided by half a million, a p below 1/64 is lost. So the model is still told which token came, but no longer that thousands of others did *not*. Remember that for section 9.
#
# A model this small is far from 65,504. Large ones need not be: some have single activations 100,000 times as large as the typical one (Sun et al. 2024, Massive Activations). And where a step *squares* its numbers, as a norm does, 300 is enough to overflow in fp16; lesson 06 showed that.
#
# ### The update
#
# There is one more sum in training, and it runs over the whole run: weight = weight + update. Its two terms are of very different sizes, so swamping is near. When the update is below half the weight's spacing, nothing happens.
#
# > **Your turn: 09.6 `lost_updates`** (10 min), before you go on: measure that.
#
# For real updates: take twenty steps' worth of gradients into AdamW's state, without moving the weights, and look at what it would add, at each learning rate.

# %%
def directions(model, steps=20):
    """What AdamW would subtract, for a learning rate of 1: {name: tensor}"""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=0.0)
    draw = torch.Generator().manual_seed(3)
    text = torch.tensor(tokenizer.encode(unseen[10_000:]))
    for _ in range(steps):
        rows = text[torch.randint(len(text) - 64, (4, 1), generator=draw) + torch.arange(65)]
        optimizer.zero_grad()
        model(rows[:, :-1], rows[:, 1:]).backward()
        optimizer.step()
    found = {}
    for name, p in model.named_parameters():
        mean, square = (optimizer.state[p][key] for key in ("exp_avg", "exp_avg_sq"))
        mean, square = mean / (1 - 0.9**steps), square / (1 - 0.95**steps)
        found[name] = mean / (square.sqrt() + 1e-8)
    optimizer.zero_grad()
    return found


# %%
ways = directions(model)
moving = {name: w != 0 for name, w in ways.items()}
rates = np.geomspace(1e-6, 1e-2, 13)


def unchanged(dtype, rate):
    """The share of weights, stored in a format, that a step leaves as they are"""
    same = total = 0
    for name, p in model.named_parameters():
        w = p.detach().to(dtype).float()[moving[name]]
        after = (w - rate * ways[name][moving[name]]).to(dtype).float()
        same, total = same + (after == w).sum().item(), total + w.numel()
    return same / total


# %%
fig, ax = figure(width=7.5, height=3.2)
for name, color, style in (("bf16", BLUE, "-"), ("fp16", VERMILLION, "--"), ("fp32", GREY, ":")):
    shares = [unchanged(DTYPES[name], rate) for rate in rates]
    ax.semilogx(rates, shares, style, color=color)
    at, up = (1, -0.13) if name == "fp16" else (2, 0.03)
    ax.text(rates[at], shares[at] + up, name, color=color)
for rate, text in ((6e-4, "GPT-3 125M"), (6e-5, "GPT-3 175B")):  # Brown et al. 2020, table 2.1
    ax.axvline(rate, color="black", linewidth=0.8)
    ax.text(rate * 1.08, 0.93, text, size=8)
    share = unchanged(torch.bfloat16, rate)
    print(f"at a rate of {rate:g}, {share:.0%} of the weights, kept in bf16, would not move")
ax.set(xlabel="learning rate", ylabel="share of weights that stay", ylim=(-0.03, 1.03))
show(fig, alt="Share of weights that one step leaves unchanged, against the learning rate: bf16 "
              "falls from almost all at 1e-6 to few at 1e-2; fp16 does so at smaller rates.")
assert unchanged(torch.bfloat16, 6e-5) > 0.3 > unchanged(torch.float32, 6e-5)

# %% [markdown]
# The two marked rates are the peaks of two real runs (Brown et al. 2020, table 2.1), and both runs end at a tenth of them. They are marked on *our* model's weights, so read the picture as a size and not as a statement about GPT-3. But it says clearly what must not be rounded: the weight to which tiny numbers are added.

# %% [markdown]
# ## 4. Master weights
#
# **Predict.** A weight of 1.0, in bf16, gets 1,000 updates of +0.001. What is it at the end?

# %%
guess = None
reveal("09.p4", guess)

# %%
def walk(keep, steps=1000, update=0.001):
    """The weight that the model computes with, when `keep` rounds what is kept: (steps,)"""
    w, seen = torch.tensor(1.0), []
    for _ in range(steps):
        w = keep(w + update)
        seen.append(w.bfloat16().float())
    return torch.stack(seen)


# %%
fig, ax = figure(width=7, height=2.9)
nearest = lambda w: w.bfloat16().float()
for keep, name, color, style in ((lambda w: w, "master copy in fp32", BLUE, "-"),
                                 (nearest, "kept in bf16", VERMILLION, "--")):  # fmt: skip
    seen = walk(keep)
    ax.step(range(100), seen[:100], style, where="post", color=color)
    label_end(ax, 99, seen[99], name, color)
    print(f"{name}: after 1,000 updates {seen[-1]:.3f}")
ax.set(xlabel="update (the first 100)", ylabel="weight, in bf16")
show(fig, alt="With a master copy the bf16 weight climbs a staircase, a step every eight updates "
              "or so. Kept in bf16, it stays at 1 for ever.")
assert walk(nearest)[-1] == 1 and 1.9 < walk(lambda w: w)[-1] < 2.1

# %% [markdown]
# The blue staircase is rounded as well: it is the copy that the model multiplies with. But what the optimizer adds to is kept in fp32, the **master weights**. There small updates gather until the rounded copy takes its next step.
#
# So a training step looks like this:
#
# 1. round the master weights to 16 bits;
# 2. forward and backward with the rounded weights: products in 16 bits, sums in 32;
# 3. gradients to fp32; AdamW, its two moments and the update in fp32; add to the master weights.
#
# **Predict.** Store the working weights and the gradients in bf16, master weights and moments in fp32. How many bytes for each parameter? (In fp32 it was 16.)

# %%
guess = None
reveal("09.p5", guess)

# %% [markdown]
# Mixed precision makes *products* faster and *activations* half as large. It does not shrink what a parameter costs. Who says that it halves the memory of training means the activations.
#
# **What breaks without** master weights, in a whole training run? Section 9 has the answer, and its size is not the same at every learning rate.

# %% [markdown]
# ## 5. A loss scaler
#
# Back to the gradients that underflow. The chain rule is linear: multiply the loss by s, and every gradient on the way is multiplied by s. So choose a **loss scale**, say 2¹⁶. The bell of section 3 moves 16 places to the right. At the end divide the
# weights' gradients by s, in fp32, where nothing underflows. A power of two changes the exponent and no digit.
#
# How large should s be? Look at both ends:

# %%
fig, ax = figure(width=7.5, height=3)
scales = np.arange(0, 45)
scaled = {s: (inside * (2.0**s / 2**19)).half() for s in scales}
low = [(g == 0).float().mean().item() for g in scaled.values()]
high = [g.isinf().float().mean().item() for g in scaled.values()]
ax.plot(scales, low, color=BLUE)
ax.plot(scales, high, "--", color=VERMILLION)
ax.text(3, 0.9 * low[3], "  become zero", color=BLUE, va="bottom")
ax.text(38, high[38], "become infinite  ", color=VERMILLION, ha="right")
fine = [int(s) for s in scales if low[s] < 0.01 and high[s] == 0]
ax.axvspan(fine[0], fine[-1], color=GREEN, alpha=0.18)
ax.set(xlabel="log2 of the loss scale", ylabel="share of gradients")
show(fig, alt="With a growing scale the share that becomes zero falls to none; much later the "
              "share that becomes infinite rises. Between them lies a wide green stretch.")
print(f"scales from 2^{fine[0]} to 2^{fine[-1]} lose less than 1 % and overflow nowhere, here")

# %% [markdown]
# There is room. But the room moves: gradients shrink as training goes on, and now and then one is huge. And the two ends do not hurt alike. Too small a scale loses a little more each time. Too large a scale gives one infinity, and one infinity is enough:

# %%
weight = torch.ones(3)
spike = torch.tensor([1.0, -2.0, 70_000.0]).half()  # one gradient is too large for fp16
mean, square = 0.1 * spike.float(), 0.05 * spike.float().square()
print("gradient:", spike.tolist(), "→ the update of Adam:", (mean / square.sqrt()).tolist())
norm = spike.float().norm()
print("clipped to length 1 first:", (spike.float() / norm).tolist())
assert (mean / square.sqrt()).isnan().any() and (spike.float() / norm).isnan().any()

# %% [markdown]
# ∞ / ∞ is not a number. It is in the weight from then on, then in all activations, then in the loss. Clipping does not save you: the norm is infinite. And Adam's state has it, too.
#
# So the rule that everyone uses tries to keep s as high as it can go:
#
# - an infinity or NaN in any gradient: **skip** the step, leave weights and optimizer alone, and halve s;
# - no infinity for 2,000 steps in a row: double s.
#
# > **Your turn: 09.4 `grad_scaler`** (15 min), before you go on: the next cell shows one way.

# %%
class LossScaler:
    """Decides by what the loss is multiplied, and which steps are skipped."""

    def __init__(self, scale=2.0**16, growth=2.0, backoff=0.5, interval=2000):
        self.scale, self.growth, self.backoff, self.interval = scale, growth, backoff, interval
        self.calm = 0  # steps without an infinity since the scale last changed

    def unscale(self, grads):
        """-> the gradients in fp32, divided by the scale; whether one of them is not finite"""
        grads = [g.float() / self.scale for g in grads]
        return grads, not all(bool(g.isfinite().all()) for g in grads)

    def update(self, overflow):
        self.calm = 0 if overflow else self.calm + 1
        if overflow:
            self.scale *= self.backoff
        elif self.calm == self.interval:
            self.scale, self.calm = self.scale * self.growth, 0


# %% [markdown]
# Twenty lines, and they decide like `torch.amp.GradScaler`. Give both the same 500 gradients: random ones, rounded to fp16 after scaling so that they overflow by themselves, and three planted infinities. After every step the scale, the decision and the weights must agree:

# %%
def gradient(step, scale):
    """A gradient (7,) as fp16 delivers it, for this loss scale"""
    g = torch.randn(7, generator=torch.Generator().manual_seed(step)) * (1 + step % 5)
    if step in (100, 101, 333):
        g[step % 7] = math.inf
    return (g * scale).half()


ours, how = torch.zeros(7), dict(growth=2.0, backoff=0.5, interval=20)
theirs = nn.Parameter(torch.zeros(7))
sgd = torch.optim.SGD([theirs], lr=0.1)
mine = LossScaler(1024.0, **how)
real = torch.amp.GradScaler("cpu", 1024.0, how["growth"], how["backoff"], how["interval"])
history = []

# %%
for step in range(500):
    (g,), overflow = mine.unscale([gradient(step, mine.scale)])
    if not overflow:
        ours = ours - 0.1 * g
    history.append((mine.scale, overflow))
    mine.update(overflow)

    before = theirs.detach().clone()
    real.scale(torch.zeros(()))  # where the loss would be multiplied
    assert real.get_scale() == history[-1][0]
    theirs.grad = gradient(step, real.get_scale()).float()
    real.unscale_(sgd)
    real.step(sgd)
    real.update()
    assert torch.equal(before, theirs.detach()) == overflow and real.get_scale() == mine.scale
    torch.testing.assert_close(ours, theirs.detach())
print(f"500 steps, {sum(o for _, o in history)} skipped: every decision, every scale agrees")

# %%
fig, ax = figure(width=8.5, height=2.8)
scales = np.log2([scale for scale, _ in history])
skips = [step for step, (_, overflow) in enumerate(history) if overflow]
ax.step(range(500), scales, where="post", color=BLUE)
ax.plot(skips, scales[skips], "x", color=VERMILLION, markersize=7)
ax.set(xlabel="step", ylabel="log2 of the scale")
ax.text(0.99, 0.06, "× = skipped step", color=VERMILLION, ha="right", transform=ax.transAxes)
show(fig, alt="The scale climbs by one power of two every 20 steps, until an overflow halves it; "
              "then it saws up and down near the level where gradients overflow. Crosses: skips.")

# %% [markdown]
# A saw: it climbs until it hurts, falls, and climbs again. A skipped step now and then is how it feels its way, and no fault. A scale that falls and *keeps* falling is a fault: then the gradients themselves are infinite or NaN, and no scale helps.
#
# **Predict.** A scaler starts at 2¹⁶ and doubles after 100 calm steps. In a certain run, gradients overflow whenever the scale is 2²⁰ or more. How many of the first 1,000 steps are skipped?

# %%
guess = None
reveal("09.p6", guess)

# %% [markdown]
# > **Your turn: 09.5 `scaled_step`** (8 min): the lines of such a step, shuffled.
#
# The order matters. **What breaks if** you clip before you unscale? Gradients are then 65,536 times too large, so *every* one is clipped, to a length of 1, and the division makes steps of length 1/65,536. With plain gradient descent
# nothing moves any more. Adam divides most of it out (until a gradient is as small as its ε), so there the mistake hides: what is gone is only the difference between a calm and a wild batch, which clipping was to keep. Training goes on, and that is worse.

# %%
g = torch.tensor([0.03, -0.04])  # of length 0.05: clipping to 1 should leave it alone
scale = 2.0**16
for name, order in (("unscale, then clip", "uc"), ("clip, then unscale", "cu")):
    x = g * scale
    for what in order:
        x = x / scale if what == "u" else x / max(1.0, x.norm().item())
    print(f"{name}: length {x.norm():.2g}")

# %% [markdown] tags=["slide"]
# ### Loss scaling
#
# `scale(loss).backward()` → unscale in fp32 → finite? → clip → step
#
# - infinity: skip, halve
# - 2,000 calm steps: double
# - unscale before you clip
# - bf16 needs none of it

# %% [markdown]
# ## 6. Autocast: each operation chooses
#
# Which operations may compute in 16 bits? You could decide for each line of a model. **Autocast** does it by a list: matrix products get 16-bit operands; on CUDA, what sums many terms or takes exponentials gets fp32; the rest takes what comes. Look at what it does in our model. A dispatch
# mode sees every elementary operation after autocast has decided:

# %%
SHORT = {dtype: name for name, dtype in DTYPES.items()}


class Watch(TorchDispatchMode):
    """Counts (operation, formats of its inputs, format of its output)."""

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        y = func(*args, **(kwargs or {}))
        given = [a.dtype for a in args if isinstance(a, torch.Tensor) and a.is_floating_point()]
        out = y[0] if isinstance(y, tuple) else y
        if given and isinstance(out, torch.Tensor):
            given = " ".join(dict.fromkeys(SHORT.get(dtype, "?") for dtype in given))
            self.seen[func.overloadpacket.__name__, given, SHORT.get(out.dtype, "?")] += 1
        return y


# %%
few = inputs[:1, :16].to(device), targets[:1, :16].to(device)
model.to(device)
half = torch.float16 if device == "cuda" else torch.bfloat16
with Watch() as watch, torch.no_grad(), torch.autocast(device, half):
    model(*few)
print("operation                        inputs        output   times")
for (name, given, out), times in sorted(watch.seen.items()):
    if not name.startswith(("_to_copy", "view", "_unsafe_view", "t", "slice", "split", "_reshape")):
        print(f"{name:<32} {given:<13} {out:<8} {times}")
kinds = {name: given for name, given, _ in watch.seen}
assert any(kinds.get(name) == SHORT[half] for name in ("mm", "addmm", "linear"))
assert kinds["_log_softmax"] == "fp32"
model.to("cpu")
print("the weights themselves are still", next(model.parameters()).dtype)

# %% [markdown]
# Read it as three groups.
#
# - **Short**: the matrix products and attention (its softmax is computed inside the kernel, in fp32). They are nearly all of the work. Their errors are independent and average out in long sums, which are kept in fp32 inside.
# - **fp32**: norms, the softmax of the loss, the loss. Each sums many terms or takes an exponential. e¹² is too large for fp16, and bf16 is wrong by up to 0.4 %, which is coarse for a loss of 3 nats. Here the model asks for that itself, with `.float()` in norms and logits; on CUDA autocast's list does the same for norms, softmax and losses.
# - **The residual stream** stays in fp32 here: blocks add short answers to it, and a short number plus an fp32 one gives fp32. It is a sum, over layers. Large models often keep it in bf16 to save memory; then it swamps a little.
#
# The weights are in fp32: autocast rounds a copy for each product. So under autocast *the parameters are the master weights*. That is why `minigpt`, and most training code, has no second copy.

# %% [markdown]
# ## 7. bf16, and a coin
#
# bf16 has the exponent of fp32. What does it lose of the gradients of section 3, without any scale?

# %%
divided = (inside / 2**19).double()
for name in ("fp16", "bf16"):
    y = round_to(divided, *FORMATS[name])
    error = ((y - divided) / divided).abs().median()
    print(f"{name}: {(y == 0).double().mean():.1%} become zero; median relative error {error:.2%}")
assert (round_to(divided, *FORMATS["bf16"]) == 0).double().mean() < 1e-3

# %% [markdown]
# No scaler, no skipped steps. What it pays is a digit, and section 9 asks whether training notices. Where hardware has both, bf16 is the usual choice (Kalamkar et al. 2019, A Study of BFLOAT16 for Deep Learning Training). With bf16 the danger that is left is swamping: keep sums and weights in fp32.
#
# Or do you have to? For very large models those four bytes are dear, so here is a trick that needs no copy. Round by chance: up with a probability equal to how far the number is on its way to the upper neighbour. This is **stochastic rounding** (Gupta et al. 2015). One rounding is worse than
# before. But the *mean* is exactly right, so small updates no longer vanish: each has a small chance to move the weight by a whole spacing.
#
# > **Your turn: 09.7 `stochastic_round`** (10 min).
#
# For bf16 there is a pretty way. The 16 bits that get cut say how far the number has already come from the lower neighbour towards the upper. Add a random 16-bit number and cut: the carry comes with just the right probability.

# %%
def by_chance(x, dice):
    """x in fp32, rounded to bf16 up or down by chance, unbiased; both stored as fp32"""
    noise = torch.randint(2**16, x.shape, generator=dice, dtype=torch.int32)
    return (x.view(torch.int32) + noise & -(2**16)).view(torch.float32)


dice = torch.Generator().manual_seed(5)
x = torch.tensor([1.001, -0.3, 123.4])
draws = by_chance(x.expand(100_000, 3).contiguous(), dice)
print("x:             ", x.tolist())
print("values drawn:  ", [sorted(set(column)) for column in draws.T.tolist()])
print("mean of draws: ", draws.mean(0).tolist())
print("to the nearest:", x.bfloat16().tolist())
assert ((draws.mean(0) - x) / x).abs().max() < 1e-4
assert torch.equal(draws, draws.bfloat16().float())  # each draw is a bf16 number

# %%
fig, ax = figure(width=7, height=2.9)
ax.plot(walk(nearest), "--", color=VERMILLION)
ends = []
for seed in range(5):
    dice = torch.Generator().manual_seed(seed)
    seen = walk(lambda w: by_chance(w[None], dice)[0])
    ax.plot(seen, color=GREEN, linewidth=1)
    ends.append(seen[-1].item())
ax.plot(walk(lambda w: w), color=BLUE, linewidth=2)
for y, text, color in ((2.0, "master copy", BLUE), (1.0, "to the nearest", VERMILLION)):
    label_end(ax, 1000, y, text, color)
ax.text(620, 1.25, "by chance, five times", color=GREEN)
ax.set(xlabel="update", ylabel="weight, kept in bf16")
show(fig, alt="The walk of section 4 with a coin: five ragged green lines follow the master copy "
              "from 1 to about 2; rounding to the nearest stays at 1.")
print("Live, by chance, 5 seeds: ends at", ", ".join(f"{end:.2f}" for end in ends),
      f"; mean {np.mean(ends):.2f} ± {half_width(ends):.2f} (95 % interval)")  # fmt: skip
assert 1.7 < np.mean(ends) < 2.3

# %% [markdown]
# ## 8. Eight bits
#
# **fp8** has one decimal digit. Yet the products of some recent models are done in it, those of DeepSeek-V3 for one (DeepSeek-AI 2024). The recipe of Micikevicius et al. (2022): e4m3 for weights and activations, e5m2 for gradients, and a *scale for each tensor*, for eight bits have no range to spare: divide by the largest value, multiply by the
# format's largest number, round, and undo the factor after the product.
#
# Why e5m2 for gradients? In most layers they spread over more powers of two than the activations do. Test both on the model of section 3:

# %%
def in_fp8(x, name, axis=None):
    """x, scaled so that its largest value is the format's, rounded, and scaled back.

    One factor for all of x, or with an axis one for each slice along it.
    """
    top = x.abs().amax() if axis is None else x.abs().amax(axis, keepdim=True)
    factor = FORMATS[name][2] / top.clamp(min=1e-30)
    return (x * factor).to(DTYPES[name]).float() / factor


def spread(x):
    """How many powers of two hold the middle 98 % of the sizes in x"""
    low, high = x[x != 0].abs().log2().quantile(torch.tensor([0.01, 0.99]))
    return (high - low).item()


# %%
print("                powers of two:         gradients lost:         error:")
print("layer              gradient   output      e4m3   e5m2      e4m3   e5m2")
for name, g in grads.items():
    if name.startswith("blocks.0") or name == "head":
        row = [in_fp8(g, form) for form in ("e4m3", "e5m2")]
        gone = [((y == 0) & (g != 0)).float().mean().item() for y in row]
        error = [((y - g).norm() / g.norm()).item() for y in row]
        print(f"{name:<18} {spread(g):>8.1f} {spread(outputs[name].detach()):>8.1f} "
              f"{gone[0]:>9.1%} {gone[1]:>6.1%} {error[0]:>9.1%} {error[1]:>6.1%}")

# %% [markdown]
# e5m2 loses fewer gradients, and has about twice the error in those that it keeps. Judged by error alone, e4m3 would win, because the error is made by the large gradients. Which matters more for training is a question for experiments; Micikevicius et al. (2022) recommend e5m2, and DeepSeek-AI (2024) used e4m3 for all, with finer scales.
#
# Finer scales: what for? One entry that is far larger than the rest takes the whole range for itself. Suppose one *token*, a row of x, is much larger than the others, and look at the error of all the *other* rows of x @ w. For comparison int8, whose steps are evenly spaced:

# %%
def in_int8(x):
    top = x.abs().amax()
    return (x / top * 127).round() / 127 * top


g = torch.Generator().manual_seed(8)
x, w = torch.randn(48, 256, generator=g), torch.randn(256, 80, generator=g) / 16
factors = 2.0 ** np.arange(0, 27)
ways_to = {"int8": in_int8, "e4m3, one scale": lambda x: in_fp8(x, "e4m3"),
           "e4m3, a scale a row": lambda x: in_fp8(x, "e4m3", axis=-1)}  # fmt: skip
errors = {name: [] for name in ways_to}
for factor in factors:
    large = x.clone()
    large[5] *= factor
    for name, rounded in ways_to.items():
        off = (rounded(large) @ in_fp8(w, "e4m3") - large @ w)[torch.arange(48) != 5]
        errors[name].append((off.norm() / (x @ w).norm()).item())

# %%
fig, ax = figure(width=7.5, height=3.1)
for (name, row), color, style in zip(errors.items(), (PURPLE, VERMILLION, BLUE), ("-.", "--", "-")):
    ax.semilogx(factors, row, style, color=color)
labels = ("int8", 110, 0.5, PURPLE), ("e4m3, one scale", 2e5, 0.5, VERMILLION), (
    "e4m3, a scale a row", 1e6, 0.07, BLUE)  # fmt: skip
for name, at, height, color in labels:
    ax.text(at, height, name, color=color)
ax.set(xlabel="one row is so many times as large", ylabel="relative error, other rows")
show(fig, alt="Error of the ordinary rows against the size of the odd one: int8 fails from some "
              "tens on; e4m3 holds for thousands, then fails; with a scale a row it never does.")
first, one = (errors["e4m3, one scale"][i] for i in (0, -1))
each = errors["e4m3, a scale a row"][-1]
print(f"e4m3: {first:.1%} without a large row; at the right end {one:.0%} with one scale, "
      f"{each:.1%} with a scale for each row")
assert each < 0.08 < 0.5 < one

# %% [markdown]
# A *floating* 8 bits bears an outlier of thousands, since small numbers have a small spacing. That is what its exponent buys. Beyond, a scale for each row helps.
#
# > **Your turn: 09.8 `quantize_rows`** (12 min).
#
# Does it always? Let one *channel*, a column of x, be large instead. (Its row of w is small in turn, so the product stays ordinary.) Now every row contains the outlier (only x is rounded here):

# %%
def in_blocks(x, size=32):
    """One scale for each run of `size` channels in each row"""
    return in_fp8(x.unflatten(-1, (-1, size)), "e4m3", axis=-1).flatten(-2)


column = torch.ones(256)
column[7] = 1e6
large, small = x * column, w / column[:, None]
exact = x @ w
ways_to = {"one scale": lambda x: in_fp8(x, "e4m3"), "a scale a block": in_blocks,
           "a scale a row": lambda x: in_fp8(x, "e4m3", -1)}  # fmt: skip
for name, rounded in ways_to.items():
    error = (rounded(large) @ small - exact).norm() / exact.norm()
    print(f"{name:<20} relative error {error:.1%}")
moved = in_fp8(large / column, "e4m3", -1) @ (small * column[:, None])
split = (moved - exact).norm() / exact.norm()
print(f"{'factor moved to w':<20} relative error {split:.1%}")
assert split < 0.06

# %% [markdown]
# A scale for each row helps little, and by luck: in some rows the outlier happens to be near zero. A scale for each *column* would, but it cannot be undone after the product: the product sums over columns, and a factor comes out of a sum only if all its terms have it. Two ways out. Cut the sum into blocks, each with its own scale, and add the blocks up in fp32: only the block with the outlier suffers.
# DeepSeek-V3 does this, with blocks of 128 channels (DeepSeek-AI 2024). Or move the factor from x to w before you round (Xiao et al. 2023, SmoothQuant).

# %% [markdown] tags=["slide"]
# ### Eight bits
#
# - a scale for each tensor, row or block
# - a scale may vary along what survives the product, never along what it sums over
# - floating beats fixed where sizes differ
# - sums in fp32, master weights in fp32

# %% [markdown]
# ## 9. The verdict
#
# Everything at once, in a whole training run. The record below trained one small GPT (2 layers of width 64, a context of 64) on books, in twelve ways, three seeds each. Formats are emulated as you did it here: every product of a linear layer rounds its operands and its result, forward and
# backward, and sums in fp32. Each arm changes the format and nothing else:
#
# | arm | products in | weights kept in | loss divided by |
# |---|---|---|---|
# | `fp32` | fp32 | fp32 | 2¹⁹ tokens |
# | `bf16` | bf16 | fp32 | 2¹⁹ |
# | `fp16` | fp16 | fp32 | 2¹⁹ |
# | `fp16, small batch` | fp16 | fp32 | 512 |
# | `fp16, scaled` | fp16, loss scale | fp32 | 2¹⁹ |
# | `fp8` | fp8 in the blocks, a scale for each tensor; bf16 in the head | fp32 | 2¹⁹ |
# | `fp8, unscaled` | the same without scales | fp32 | 2¹⁹ |
# | `bf16 weights` | bf16 | bf16, nothing else | 2¹⁹ |
# | `bf16 weights, stochastic` | bf16 | bf16, rounded by chance | 2¹⁹ |
#
# (A step really reads 512 tokens. It divides by 2¹⁹ as one micro-batch of a large batch does, and multiplies the gradient by 1,024 in fp32, in place of adding up 1,024 micro-batches. The three `late` arms come further down; all three multiply in bf16 in the second half.)
#
# **Predict.** Which arm ends worst? (Its name, in quotation marks.)

# %%
record = recorded("09.formats")
print(record.what)
live = record.live() if usable[0] == "books" else None
full = [arm for arm in record.arms if not arm.startswith("late")]
guess = None
reveal("09.p7", guess, truth=max(full, key=lambda arm: record.mean(arm)[-1]))

# %%
fig, ax = figure(width=8, height=3.3)
broken = ["fp16", "fp8, unscaled"]
if live:
    plot_live(ax, live.x, live.y, label="")
    ax.text(90, 3.2, "live, fp32", ha="right")
plot_record(ax, record, ["fp32", "fp16"])
x, mean = record.x("fp8, unscaled"), record.mean("fp8, unscaled")
ax.plot(x, mean, "--", color=VERMILLION)
ax.fill_between(x, *record.band("fp8, unscaled"), color=VERMILLION, alpha=0.2, linewidth=0)
label_end(ax, x, mean, "fp8, unscaled", VERMILLION)
if live:
    print(live_sentence(record, "fp32", live))
print(record.sentence())
show(fig, alt="Bits per byte of held-out text against the step: fp32 falls all the way, and the "
              "thick live run lies on it. fp16 without a scale turns around early, and rises. "
              "fp8 without scales falls, and levels off above fp32.")

# %%
at = x.tolist().index(150)
for arm in ("fp32", *broken):
    y = record.mean(arm)
    print(f"{arm}, mean over seeds: {' → '.join(f'{v:.2f}' for v in y)}; "
          f"from step 150 on {y[-1] - y[at]:+.2f}")
assert (record.curves("fp16")[:, -1] > record.curves("fp16").min(1) + 0.3).all()

# %% [markdown]
# Without a scale, fp16 does not merely learn less: it turns around and gets *worse*, in all three seeds, though every step follows the gradient that it was given. Section 3 suggests why. The head's gradient still says which token came; that the others did not come is lost. So logits go up, and hardly anything brings them down.
#
# `fp8, unscaled` fits that reading. It loses nearly all gradients inside the blocks, because the smallest number of e5m2 is 2⁻¹⁶; so most weights there stay as they were drawn. But its head computes in bf16 and loses none, and its loss falls, until it levels off. (It fits; an experiment that isolates the head would have to prove it.)

# %%
def apart(arm, against):
    """-> mean paired difference at the end of training, and half the width of its interval"""
    d = record.curves(arm)[:, -1] - record.curves(against)[:, -1]
    return d.mean(), half_width(d)


late = [arm for arm in record.arms if arm.startswith("late")]
pairs = [(arm, "fp32") for arm in full[1:]] + [(arm, late[0]) for arm in late[1:]]
print("arm                       minus               bits per byte (interval)     zero  unmoved")
for arm, against in [("fp32", "fp32"), *pairs]:
    mean, half = apart(arm, against)
    zero, still = (record.numbers(arm, name).mean() for name in ("zero", "unchanged"))
    print(f"{arm:<25} {against:<19} {mean:+.4f} ({mean - half:+.4f} to {mean + half:+.4f}) "
          f"{zero:>6.1%} {still:>6.0%}")
print(f"Recorded, {len(record.seeds)} seeds, paired, 95 % intervals")
scale, skips = (record.numbers("fp16, scaled", name).max() for name in ("scale", "skipped"))
print(f"fp16, scaled: from 2^16 to 2^{np.log2(scale):.0f} at the end, {skips:.0f} steps skipped")
blocks = 2 * (4 * 64 * 64 + 3 * 64 * 128)  # their matrices; the head is the embedding, transposed
print(f"The blocks hold {blocks / (blocks + 512 * 64):.0%} of the weights")

# %% [markdown]
# A difference within a seed is *paired*: both runs saw the same text in the same order. In parentheses is the 95 % interval of its mean; if that contains zero, you cannot tell. `zero` is the share of the weights' gradients that arrive as exactly 0, `unmoved` the share of weights that a step leaves as they were, both over the last 100 steps. `unmoved` can be less than `zero`, since momentum also moves weights whose gradient is 0. (`fp16, scaled` never saws: the record doubles its scale after 20 calm steps, and 240 steps are too few to reach the end.) The picture leaves out `fp16` and `fp8, unscaled`:

# %%
near = [pair for pair in pairs if pair[0] not in broken]
fig, ax = figure(width=8, height=3.2)
for row, (arm, against) in enumerate(near):
    mean, half = apart(arm, against)
    color = GREY if abs(mean) <= half else VERMILLION if mean > 0 else GREEN
    ax.errorbar(mean, row, xerr=half, fmt="o" if against == "fp32" else "s", color=color, capsize=3)
ax.axvline(0, color="black", linewidth=0.8)
ax.set_yticks(range(len(near)), [arm for arm, _ in near])
ax.invert_yaxis()
ax.set(xlabel="bits per byte more than fp32 (squares: than late, fp32 weights)")
show(fig, alt="Paired differences with intervals, in bits per byte. All full runs "
              "shown have an interval that contains zero. Late, bf16 weights lies clearly above "
              "it, and late, stochastic on it, both with very short intervals.")

# %% [markdown]
# Read it from the top.
#
# - **bf16, scaled fp16, scaled fp8: you cannot tell them from fp32.** For scaled fp16 that means something: its interval is narrow, −0.021 to +0.004. For fp8 a tenth could still hide in it. Two or three digits, even one, are enough for what goes *into* a product.
# - **fp16 in a small batch: no scale, and no harm that three seeds could show.** With 512 tokens in the denominator little underflows. Whoever tries fp16 on a small problem finds that it works, and meets the trouble later, at scale.
# - **fp8 without scales: by the interval, cannot tell,** because the seeds of *fp32* end so far apart. The rate falls to zero for all arms; but from step 150 on this one gained 0.03, and fp32 0.15. That fits blocks that hardly learn.
# - **bf16 weights, and nothing else: cannot tell, in the full runs.** More than a third of the weights do not move in a step, but at this learning rate the others carry the day, and three seeds tell no better than ± 0.16.
#
# So do we need master weights? Look where updates are small. The `late` arms are the end of a long run, in small: 120 steps in fp32 at the full rate, the same for all three, then 120 steps at a twentieth of it. All start from the same weights, so luck cancels almost wholly:

# %%
middle = record.x(late[0]).tolist().index(120)
for arm in late:
    gain = record.curves(arm)[:, middle] - record.curves(arm)[:, -1]
    print(f"{arm:<20} gains {gain.mean():.3f} ± {half_width(gain):.3f} bits per byte there")
worse, coin = (record.curves(arm)[:, -1] - record.curves(late[0])[:, -1] for arm in late[1:])
assert worse.min() > 0.01 > abs(coin).max()
print("stochastic minus fp32, each seed:", ", ".join(f"{d:+.4f}" for d in coin))
print(f"Recorded, {len(record.seeds)} seeds, 95 % intervals")

# %% [markdown]
# Weights kept in bf16 lose about half of what that phase gives. The rate of that phase is 0.0001, and GPT-3 175B never used more than 0.00006 (Brown et al. 2020, table 2.1); its weights are not ours, so take it as a hint. With stochastic rounding nothing is lost that could be measured, and no fp32 copy is kept.
#
# What the record cannot say: how *fast* anything is. Rounding by hand is slower than not rounding. What you gain depends on the unit that multiplies; ask yours:

# %%
ratio = bf16_speedup()
print(f"Live, on this CPU: bf16 matrices multiply {ratio:.2g} times as fast as fp32 ones.")
print("python -m minigpt pretrain --precision auto would therefore train in "
      + ("bf16, if the run is long enough" if ratio > 1.5 else "fp32 here"))  # fmt: skip

# %% [markdown]
# `minigpt` decides by such a probe, not by the name of the processor: without the right instructions bf16 on a CPU is many times *slower*. On a GPU with bf16 it takes bf16, on an older one fp16 with a `GradScaler`.

# %% [markdown] tags=["slide"]
# ### What must not be rounded
#
# - the weight that small updates are added to: fp32, or a coin
# - sums: fp32 inside every product, norm, softmax, loss
# - gradients to zero: a scale, or an exponent of 8 bits
# - everything else may be

# %% [markdown]
# ## 10. An exhibit
#
# From the failure museum of lesson 13. A run is broken in one place. Its gradients are rounded to fp16 under a loss scale, as in the healthy run there, which skipped one step. (A rank is one of two processes that share each batch; a shard is a part of the training text; the grey lines are the preemptions.) From step 61 on the loss is not a number, so the curves stop. Look at the curves and at the log, and commit yourself.

# %%
museum.show(10)

# %% [markdown]
# **Predict.** Which of the three happened to a number on its way: "overflow", "underflow" or "swamping"? And which rule of section 5 was broken?

# %%
guess = None
reveal("09.p8", guess)

# %% [markdown]
# One experiment decides. Open it after your guess:

# %%
print(museum.experiment(10, "largest_gradient"))

# %% [markdown]
# The gradients overflow, and that alone would be no fault: the healthy run overflows as well, once. Look at the columns `scale` and `skipped` (the steps left out). Here the scale doubles and doubles, even after the norm has become nan, and no step is ever skipped: nobody asks whether the gradients are finite. The first infinity goes into the weights, and from then on everything is nan. (That one is the rule which a loss scaler may not forget.)
#
# > **Your turn: 09.9 `accurate_product`** (20 min), unaided: the assistant stays off.

# %% [markdown]
# ## 11. One paper
#
# **[Micikevicius et al. 2018](https://arxiv.org/abs/1710.03740), Mixed Precision Training**: master weights, loss scaling and sums in fp32, in twelve pages. Read with three questions. *What was held fixed* between the columns "baseline" and "mixed precision" of its tables? (Everything: no hyper-parameter
# was changed.) *What would change your mind* about "no loss of accuracy"? (Look for repeated runs and intervals. Some rows are better in mixed precision than in fp32. By how much would two seeds differ?) *Which number can you recompute?* Section 3.1 there says that an fp16 weight which is at least 2,048 times its update can lose it, and section 3.2 that for one detector a
# scale of 8 was enough, so that gradients below 2⁻²⁷ did not matter:

# %%
kept = [n for n in range(1, 4000) if torch.tensor(1 + 1 / n, dtype=torch.float64).half() > 1]
print(f"1 + 1/n is more than 1 in fp16 up to n = {max(kept)}")
print(f"smallest fp16 number: 2^{math.log2(torch.finfo(torch.float16).tiny * 2**-10):.0f}; "
      f"with a scale of 8, 2^{math.log2(torch.finfo(torch.float16).tiny * 2**-10 / 8):.0f}")
head = next(s for s in range(45) if lost(grads["head"], 2**19, 2.0**s) < 0.01)
print(f"to lose less than 1 % at 2^19 tokens, our model's blocks need a scale of 2^{fine[0]}, "
      f"its head 2^{head}")
assert max(kept) == 2047

# %% [markdown]
# Exactly: from n = 2048 on the update is lost at a weight of 1. Just below 2 the same spacing is a smaller part of the weight, so there the limit is twice as high; the paper's "can" is well chosen.
#
# Its scale of 8 came from another network and a smaller batch. Ours needs far more. It is not a constant of nature, so nobody sets it by hand any more.

# %% [markdown]
# ## Summary
#
# 1. A format is two counts of bits: those of the exponent say where numbers end (overflow, underflow), those of the significand how fine they are (swamping).
# 2. Sums swamp: fp16 counts to 2,048 and stops. So products may be short, if they are added up in fp32.
# 3. Gradients underflow because the loss is divided by the tokens of the whole batch. A loss scale shifts them back; infinities are skipped, and the scale saws up and down by itself. bf16 has the range of fp32 and needs none.
# 4. An update smaller than half the spacing of its weight is lost. Keep master weights in fp32, or round by chance.
# 5. Eight bits work with a scale for each tensor, row or block; a scale may not vary along the axis that the product sums over.
#
# Next: lesson 10 makes training fast, and measures it.

# %% tags=["timing"]
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
