# %% [raw]
# title = "Speed"
# question = "Your machine can compute far more in a second than your training uses. Where does the time go, and how do you get it back without changing the loss?"
# able = [
#   "time a piece of code so that you can believe the figure",
#   "say, before you run an operation, whether it will wait for arithmetic or for memory",
#   "read a profile, and say what the best possible repair of one part would buy",
#   "build attention that never holds the T by T weights, forward and backward",
#   "say what torch.compile does, when it pays, and how many per cent of the machine you use",
# ]
# needs = ["token", "context", "logits", "softmax", "cross-entropy", "parameter", "step", "FLOP", "gradient", "head", "head size", "attention weights", "causal mask", "fused kernel", "GELU", "LayerNorm", "RMSNorm", "MLP", "residual stream", "activations", "optimizer state", "confidence interval", "throughput"]
# reading = 65
# exercises = 120
# route = "further"
# paper = "Dao et al. 2022, FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness, arXiv 2205.14135"
#
# [teaches]
# median = "The middle one of sorted numbers: half are smaller. One interrupted measurement moves a mean, but not a median."
# "memory bandwidth" = "How many bytes a second travel between memory and processor."
# "arithmetic intensity" = "FLOPs of an operation, divided by the bytes that it must move to and from memory."
# roofline = "The most FLOPs a second that an operation can reach: the peak, or intensity times bandwidth, whichever is lower."
# profiler = "A tool that notes, for every operation, when it began and when it ended."
# "Amdahl's law" = "What you do not make faster decides how fast the whole can become."
# "kernel fusion" = "Doing several operations in one pass over the data, so that what lies between them is never stored in memory."
# tile = "A piece of a matrix, small enough to stay in the processor's fast memory while it is worked on."
# "online softmax" = "A softmax that finds maximum and sum in one reading of its scores: the running sum is rescaled whenever the running maximum grows."
# "graph break" = "A place in a program where a compiler gives up, hands back to Python, and starts anew: nothing is fused across it."
# MFU = "Model FLOPs utilisation: the FLOPs that the model needs, a second, as a share of what the hardware can do. It means little without its convention."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners leave with a method: measure, compare with a bound, repair the largest gap, prove that the result is the same, measure
# again. **Timing** (110 min): exercise 1 5 min, section 1 10 min, sections 2–3 25 min, exercise 2 10 min, section 4 10 min, sections
# 5–6 25 min with exercise 4, sections 7–9 15 min, section 10 10 min. Homework: the other exercises and the paper.
#
# **Two misconceptions.** *"Fewer FLOPs is faster."* Ask: a norm does a thousandth of a block's FLOPs; why is it not a thousandth of its time?
# *"FlashAttention is an approximation, that is why it is fast."* Ask: how far is the tiled result from the plain one, and does the tiled backward pass
# do fewer FLOPs or more?
#
# **Discuss.** Processors gain arithmetic faster than bandwidth, year after year. Which operations of a GPT will be slow in ten years? · A
# colleague reports 240 % MFU. Which three questions do you ask?

# %% tags=["setup"]
import inspect
import logging
import math
import os
import platform
import shutil
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from statistics import mean, median

import numpy as np

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler need not say that it starts
import torch
import torch.nn.functional as F
from matplotlib.ticker import LogLocator
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode

# %%
from minigpt import GPT, OptimConfig, build_optimizers, flops_per_token, mfu, parameters, preset
from minigpt.classroom import museum, recorded, reveal, show
from minigpt.classroom.shelf import half_width, live_sentence, script
from minigpt.classroom.viz import BLUE, GREEN, GREY, VERMILLION
from minigpt.classroom.viz import figure, heatmap, label_end
from minigpt.precision import bf16_speedup, isolate_compile_cache

started = time.perf_counter()
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads, {platform.machine()}")

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>05: how many FLOPs does training on one token cost, for each parameter that multiplies?</summary>Six: two in the forward pass, a multiplication
# and an addition, and four in the backward pass, which needs a gradient for each of the two factors.</details>
# <details><summary>04: attention by hand and the fused kernel give the same result. What does the fused one never store?</summary>The T × T weights. How
# it manages that is section 6.</details>
# <details><summary>06: two designs differ by 0.004, and the 95 % interval of the difference is ± 0.006. What do you say?</summary>That you cannot tell. It
# holds for seconds as it does for bits.</details>

# %% [markdown]
# > **Try first: 10.1 `speedup_limit`** (5 min), before you read on. The exercises are in `exercises/10_speed.ipynb`; `python3 course.py start 10` makes a copy
# > for you in `my/`.
#
# ## 1. Measure first
#
# Speed is the one property of a program about which everybody has an opinion before anyone has measured. So start with the ruler. Time one and the same matrix product
# forty times in a row:

# %%
def timed(function, tries=7):
    """-> seconds of each of `tries` calls"""
    times = []
    for _ in range(tries):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return times


g = torch.Generator().manual_seed(1)
a, b = (torch.randn(384, 384, generator=g) for _ in range(2))
times = timed(lambda: a @ b, 40)
ms = [1000 * t for t in times]
print(f"first {ms[0]:.2f} ms, then: median {median(ms[1:]):.2f}, mean {mean(ms[1:]):.2f}, "
      f"quickest {min(ms[1:]):.2f}, slowest {max(ms[1:]):.2f} ms")

# %%
def plain_ticks(axis, steps=(1, 2, 5)):
    """Ticks of a log axis at 1, 2, 5, 10, …, written as plain numbers"""
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


fig, ax = figure(width=7, height=2.8)
ax.semilogy(range(1, 41), ms, "o", color=BLUE, markersize=4)
ax.set_xlim(0, 41)
plain_ticks(ax.yaxis)
lines = (median(ms[1:]), "median", "-", GREEN), (min(ms), "quickest", ":", GREY)
for value, name, style, color in lines:
    ax.axhline(value, color=color, linestyle=style)
    label_end(ax, 41, value * (1.04 if name == "median" else 0.96), name, color)
ax.annotate("first", (1, ms[0]), (2.5, ms[0]), va="center")
ax.set(xlabel="call", ylabel="milliseconds")
show(fig, alt=f"Forty timings of a product on a log axis, from {min(ms):.2f} to {max(ms):.2f} ms, "
              "with lines at their median and at the quickest.")  # fmt: skip

# %% [markdown]
# The work is identical, the times are not. The first call may also start threads, load code and ask the system for memory. (If yours is not the slowest, later ones were interrupted more.) Any call may be interrupted by another program. An
# interruption can only make a call slower, never faster. So:
#
# - **Warm up**: throw the first calls away.
# - Report the **median**, the middle of the sorted times, for "what will it take?", or the quickest, for "what can it do?". Not the mean.
#
# **Predict.** Nine calls take 10 ms; the tenth is interrupted and takes 110 ms. By which factor is the mean larger than the median?

# %%
guess = None
reveal("10.p1", guess)

# %% [markdown]
# **Is B faster than A?** First ask whether A is faster than A. Time the same function under two names. Whatever difference you find is the noise of your method, and a
# speed-up smaller than that is nothing. Two ways: all of A and then all of B, or taking turns.

# %%
def apart(function, tries=15):
    first, second = timed(function, tries), timed(function, tries)
    return median(second) / median(first)


def in_turn(function, tries=15):
    pairs = [timed(function, 2) for _ in range(tries)]
    return median(y for _, y in pairs) / median(x for x, _ in pairs)


for name, method in (("one after the other", apart), ("taking turns", in_turn)):
    ratios = [method(lambda: a @ b) for _ in range(8)]
    print(f"A against A, {name}: from {min(ratios):.2f} to {max(ratios):.2f} times")
noise = max(max(ratios), 1 / min(ratios))
small = f"difference below {noise - 1:.0%}" if noise < 2 else f"ratio below {noise:.1f}"
print(f"so on this machine, now, a {small} means nothing")

# %% [markdown]
# A processor warms up and slows down, and other programs come and go. Taking turns lets both sides share that. (If both ranges above are narrow, your machine was quiet. If taking turns is wide, and no narrower, it is too busy for medians: close other programs and run again.)
#
# **The clock that lies.** On a GPU, a call only *hands over* the work: it returns at once, and the GPU computes while Python goes on. A worker thread shows the same
# without a GPU:

# %%
with ThreadPoolExecutor(1) as device:
    start = time.perf_counter()
    done = device.submit(time.sleep, 0.2)  # "launch" something that takes 0.2 s
    handed_over = time.perf_counter() - start
    done.result()  # on a GPU: torch.cuda.synchronize()
    finished = time.perf_counter() - start
print(f"clock read at once: {1000 * handed_over:.1f} ms; after waiting: {1000 * finished:.0f} ms")
assert finished > 0.19 and handed_over < finished / 2

# %% [markdown]
# Every wrong "1000 times faster" begins like that. On CUDA call `torch.cuda.synchronize()` before *each* reading of the clock. (`.item()`, `print(loss)` and a copy to the CPU wait too. That is why a loop that reads the loss at every
# step cannot hand over the next one in time.) On the CPU, as in this lesson, a call returns when it is done.
#
# > **Your turn: 10.7 `fair_times`** (10 min): a fair benchmark, its lines shuffled.

# %% [markdown] tags=["slide"]
# ### Measure first
#
# - warm up · median or quickest, not the mean · take turns
# - A against A: the noise of your method
# - on a GPU: synchronize, or you time the hand-over

# %% [markdown]
# ## 2. Two roofs
#
# How fast *could* an operation be? It has to do two things: arithmetic, and moving numbers between memory and processor. Both have a top speed. Measure yours. The arithmetic: a
# matrix product of n × n is 2 n³ FLOPs, and large ones come closest to what the processor can do. The **memory bandwidth**: copy a tensor that is much larger than any cache, the small fast memory
# inside the processor. A copy reads each byte and writes it.

# %%
n = 1024
left, right, target = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
peak = 2 * n**3 / min(timed(lambda: torch.mm(left, right, out=target), 8)[1:])
source = torch.randn(2**24)  # 64 MiB
copy = torch.empty_like(source)
bandwidth = 2 * source.nbytes / min(timed(lambda: copy.copy_(source), 10)[1:])
ridge = peak / bandwidth
print(f"peak {peak / 1e9:,.0f} GFLOP/s, bandwidth {bandwidth / 1e9:.1f} GB/s "
      f"with {torch.get_num_threads()} thread(s)")
print(f"while it moves one byte, it could do {ridge:.1f} FLOPs: "
      f"{4 * ridge:.0f} for each fp32 number")

# %% [markdown]
# That last figure is the whole problem. A number that is fetched from memory should be used dozens of times before it is given back, or the arithmetic units wait.
#
# The **arithmetic intensity** of an operation is its FLOPs divided by the bytes that it must move. The best that it can reach is
#
# FLOPs a second ≤ min(peak, intensity × bandwidth)
#
# Drawn on log axes, this is a slope that meets a flat line: the **roofline** (Williams et al. 2009). They meet at the ridge, peak / bandwidth. Left of it, memory decides; right of it, arithmetic.
#
# **Predict.** RMSNorm reads each number, does about four FLOPs with it and writes one back, 8 bytes in all. Does it wait for "memory" or for "arithmetic"?

# %%
guess = None
reveal("10.p2", guess, "memory" if 4 / 8 < ridge else "arithmetic")

# %% [markdown]
# Now place the parts of a GPT on it. Shapes as in a step of the default model, with enough tokens to leave the cache. FLOPs and bytes are counted by formula, as few as possible: each input is read once, each output
# written once, 4 bytes a number.

# %%
N, C, M, BH, T, D = 16_384, 256, 768, 16, 512, 64
x, wide, w = torch.randn(N, C), torch.randn(N, M), torch.randn(C, M)
q, k, s = torch.randn(BH, T, D), torch.randn(BH, T, D), torch.randn(BH, T, T)
p = torch.nn.Parameter(torch.randn(4_000_000))
p.grad = torch.randn_like(p)
adamw = torch.optim.AdamW([p], fused=True)
parts = {  # name: (FLOPs, numbers moved, how to run it)
    "MLP product": (2 * N * C * M, N * C + C * M + N * M, lambda: x @ w),
    "one token's product": (2 * C * M, C + C * M + M, lambda: x[:1] @ w),
    "attention scores": (2 * BH * T * T * D, BH * (2 * T * D + T * T), lambda: q @ k.mT),
    "softmax": (4 * BH * T * T, 2 * BH * T * T, lambda: torch.softmax(s, -1)),
    "RMSNorm": (4 * N * M, 2 * N * M, lambda: F.rms_norm(wide, (M,))),
    "GELU": (10 * N * M, 2 * N * M, lambda: F.gelu(wide, approximate="tanh")),
    "residual add": (N * M, 3 * N * M, lambda: wide + wide),
    "AdamW": (14 * p.numel(), 7 * p.numel(), adamw.step),
}
measured = {name: flops / min(timed(run, 5)[1:]) for name, (flops, _, run) in parts.items()}

# %% tags=["long"]
fig, ax = figure(width=8, height=4.2)
ticks = np.logspace(-1.5, 3, 100)
ax.loglog(ticks, np.minimum(peak, ticks * bandwidth) / 1e9, color=GREY)
ax.axvline(ridge, color=GREY, linestyle=":")
ax.text(ridge * 1.1, min(measured.values()) / 1.5e9, "ridge", color=GREY)
print("part                  FLOPs/byte   GFLOP/s   share of its roof   share of the peak")
for name, (flops, numbers, _) in parts.items():
    intensity = flops / (4 * numbers)
    roof, speed = min(peak, intensity * bandwidth), measured[name]
    bound = intensity < ridge
    ax.plot(intensity, speed / 1e9, "o" if bound else "s", color=VERMILLION if bound else BLUE)
    ax.annotate(name, (intensity, speed / 1e9), (5, -9), textcoords="offset points", size=8)
    print(f"{name:<21} {intensity:>10.2f} {speed / 1e9:>9.1f} {speed / roof:>19.0%} "
          f"{speed / peak:>19.0%}")
ax.set(xlabel="FLOPs per byte", ylabel="GFLOP a second", xlim=(0.03, 1200))
ax.set_ylim(min(measured.values()) / 2e9)
plain_ticks(ax.xaxis, (1,))
plain_ticks(ax.yaxis, (1,))
ax.grid(True, axis="both")
show(fig, alt="Roofline on log axes: a slope that turns flat at the ridge. Circles, left of it: "
              "residual add, norm, softmax, GELU, AdamW, one token's product. Squares, right: "
              "large products.")  # fmt: skip

# %% [markdown]
# Read the last two columns together. An operation far left may be at its roof and still use a few per cent of the peak. No better code for *that operation alone* will help: it is already as fast as memory allows. Only one thing helps, to
# move fewer bytes, and sections 4 to 6 do that. Where the share of its roof is low, something else is wrong: overhead, one thread, an operation that torch builds from several passes (RMSNorm, on a CPU), or arithmetic that counts as one FLOP and costs
# twenty (`tanh` and `exp`, in GELU and softmax).
#
# A point can lie *above* its slope: `one token's product` moves less than a megabyte, which stays in the cache from call to call, and the cache is faster than memory. If any other point lies far above its roof, that roof was measured in a bad moment:
# run this section again.
#
# `MLP product` and `one token's product` use the same matrix. With one token every number of it is used once; with thousands of tokens, thousands of times. That is the difference between writing a text and training (lesson 07), and the reason for
# batches. Machines differ mainly in where the ridge lies:

# %%
# dense bf16 FLOP/s and bytes/s, from NVIDIA's data sheets (A100 2020, H100 SXM 2022, B200 2024)
machines = {"A100": (312e12, 2.0e12), "H100": (989e12, 3.35e12), "B200": (2250e12, 8e12)}
for name, (flops, byte) in (machines | {"this machine, fp32": (peak, bandwidth)}).items():
    print(f"{name:<20} ridge at {flops / byte:>5.0f} FLOPs per byte")
assert ridge > 1

# %% [markdown]
# > **Your turn: 10.2 `intensity`** (10 min), and **10.3 `bound`** (10 min).

# %% [markdown] tags=["slide"]
# ### Two roofs
#
# FLOPs a second ≤ min(peak, intensity × bandwidth)
#
# - large matrix products: arithmetic decides
# - norm, softmax, GELU, add, optimizer: memory decides
# - the cure for memory: fewer bytes, not fewer FLOPs

# %% [markdown]
# ## 3. The profiler
#
# So much for single operations. Where does a real step spend its time? A **profiler** notes the begin and end of every operation. Here is the default model with the default optimizers (Muon and AdamW, lesson
# 11), on four sequences.

# %%
config = preset("tiny").model
model = GPT(config)
optimizers = build_optimizers(model, OptimConfig())
B, T = 4, config.context
tokens = torch.randint(config.vocab_size, (B, T + 1), generator=torch.Generator().manual_seed(2))


def train_step():
    with record_function("forward"):
        loss = model(tokens[:, :-1], tokens[:, 1:])
    with record_function("backward"):
        loss.backward()
    with record_function("optimizer"):
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


step_seconds = median(timed(train_step, 6)[1:])
print(f"{parameters(config) / 1e6:.1f} M parameters, {B * T:,} tokens: "
      f"{step_seconds:.3f} s a step, {B * T / step_seconds:,.0f} tokens/s")

# %% [markdown]
# **Predict.** Matrix products do about nine tenths of the model's FLOPs, attention the rest. What share of the step's *time* do they take, outside attention and the optimizer? (A number between 0 and 1.)

# %%
KINDS = {"matrix products": ("mm", "addmm", "bmm", "linear"), "attention": ("flash_attention",),
         "loss": ("log_softmax", "nll_loss", "cross_entropy"), "embedding": ("embedding", "index")}


def kind_of(event):
    """What an operation belongs to: its part of the step, or what it computes."""
    parent = event
    while parent is not None:
        if parent.name == "optimizer":
            return "optimizer"
        parent = parent.cpu_parent
    name = event.name.removeprefix("aten::")
    for kind, words in KINDS.items():
        if any(name == word or (len(word) > 6 and word in name) for word in words):
            return kind
    return "elementwise, norms, copies"


# %%
with profile(activities=[ProfilerActivity.CPU]) as prof:
    for _ in range(3):
        train_step()
spent, calls = {}, 0
for event in prof.events():
    calls += event.name.startswith("aten::")
    spent[kind_of(event)] = spent.get(kind_of(event), 0) + event.self_cpu_time_total / 3e6
total = sum(spent.values())
guess = None
reveal("10.p3", guess, spent["matrix products"] / total)

# %%
fig, ax = figure(width=8, height=2.6)
names = sorted(spent, key=spent.get)
ax.barh(names, [spent[name] / total for name in names], color=BLUE)
for row, name in enumerate(names):
    ax.text(spent[name] / total + 0.01, row, f"{spent[name] / total:.0%}", va="center")
ax.set(xlabel="share of the step's time", xlim=(0, 1))
ax.grid(True, axis="x")
ax.grid(False, axis="y")
show(fig, alt="Bars of the share of a training step's time by kind of operation, with their "
              "percentages; matrix products have one of the longest.")  # fmt: skip
print(f"{calls / 3:,.0f} operations a step")
rows = sorted(prof.key_averages(), key=lambda row: -row.self_cpu_time_total)
for row in rows[:8]:
    print(f"{row.key:<48} {row.count // 3:>5} calls {row.self_cpu_time_total / 3000:>7.1f} ms")

# %% [markdown]
# The table is sorted by *self* time: without what an operation calls. `baddbmm` and `bmm` are mostly Muon's: it multiplies matrices too (lesson 11). On a GPU you would add `ProfilerActivity.CUDA`, and look for the gaps between kernels: there the GPU waits for Python. `prof.export_chrome_trace("trace.json")`
# writes a time line that a browser opens.
#
# What is a repair worth? By **Amdahl's law**, which you met in exercise 10.1: what you do not touch stays.

# %%
print("if it took no time at all          the step would be")
for name in sorted(spent, key=spent.get, reverse=True):
    print(f"{name:<34} {total / (total - spent[name]):.2f} times as fast")
rest = total - spent["optimizer"]
print(f"the optimizer's work does not grow with the batch: with the default run's 16 sequences its "
      f"share is {spent['optimizer'] / (4 * rest + spent['optimizer']):.0%}")
work = flops_per_token(config) * B * T
print(f"the model's products and attention alone, at the peak: {work / peak:.3f} s "
      f"of {step_seconds:.3f} s")

# %% [markdown]
# The last line is about the floor for the model's own products, if the peak was measured in a quiet moment: to go below it, compute less or in another number format. What lies above it, the optimizer's products aside, is what this lesson is about. Note what is *not* long: attention, at this context.
# A faster one would buy you almost nothing here. (It is the fused kernel already; section 10 shows the price of the spelled-out one.) At a context of many thousands it would be the whole story. Profile before you optimise.

# %% [markdown] tags=["slide"]
# ### Profile, then repair
#
# - FLOPs are not time
# - Amdahl: what you do not touch stays
# - the floor: FLOPs / peak

# %% [markdown]
# ## 4. Memory traffic
#
# GELU by its formula is a chain of small operations. Each reads whole tensors from memory and writes a whole tensor back. The fused GELU reads once and writes once. You need not guess how much that is. PyTorch can show you
# each operation as it happens, below autograd; this counts the bytes that go in and come out, and for section 6 also what is alive:

# %% tags=["long"]
class Watch(TorchDispatchMode):
    """Counts while it is active: bytes moved by operations; bytes alive, of tensors made since"""

    def __init__(self):
        super().__init__()
        self.moved = self.live = self.peak = self.operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:  # a view is another way to read the same memory
            made = [t for t in torch.utils._pytree.tree_leaves(out) if isinstance(t, torch.Tensor)]
            given = {id(t): t for t in torch.utils._pytree.tree_leaves((args, kwargs))
                     if isinstance(t, torch.Tensor)}.values()  # x * x reads x once
            self.operations += 1
            self.moved += sum(t.nbytes for t in [*made, *given])
            known = {t.untyped_storage()._cdata for t in given}
            for t in made:
                if t.untyped_storage()._cdata not in known:
                    self.born(t.untyped_storage())
        return out

    def born(self, storage):
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self.died, storage.nbytes())

    def died(self, size):
        self.live -= size


# %% [markdown]
# (Few will ever write such a class; it is here so that the figures below are counted and not claimed. Inside a fused operation it sees nothing, and nothing is what a fused operation stores.)
#
# **Predict.** The formula below is nine operations. Six of them read one tensor, three read two (a tensor and `x`, or two results), and each writes one. How many times the bytes of the fused GELU does it move?

# %%
def gelu_chain(x):
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
    return 0.5 * x * (1 + torch.tanh(inner))


def traffic(function, *args):
    """-> how often all bytes of the first argument go through the processor; operations"""
    with Watch() as watch:
        function(*args)
    return watch.moved / args[0].nbytes, watch.operations


x = torch.randn(2**23, generator=g)
chain, operations = traffic(gelu_chain, x)
fused, _ = traffic(lambda x: F.gelu(x, approximate="tanh"), x)
guess = None
reveal("10.p4", guess, chain / fused)

# %% [markdown]
# If bytes are what counts, the cure does not need a compiler. Keep the same operations and the same FLOPs, but push the tensor through the chain in pieces that fit the cache. What lies between two operations then never reaches memory:

# %%
def gelu_tiles(x, size):
    return torch.cat([gelu_chain(piece) for piece in x.split(size)])


ways = {"chain": lambda: gelu_chain(x), "fused": lambda: F.gelu(x, approximate="tanh")}
sizes = [2**n for n in range(11, 24, 2)]
ways |= {size: (lambda size=size: gelu_tiles(x, size)) for size in sizes}
best = {name: min(timed(run, 4)[1:]) for name, run in ways.items()}
torch.testing.assert_close(gelu_tiles(x, 4096), F.gelu(x, approximate="tanh"), atol=1e-5, rtol=1e-5)
print(f"chain: {operations} operations, {chain:.0f} passes, {1000 * best['chain']:.0f} ms; "
      f"fused: {fused:.0f} passes, {1000 * best['fused']:.0f} ms")

# %%
fig, ax = figure(width=7, height=3)
kib = [4 * size / 1024 for size in sizes]
ax.loglog(kib, [1000 * best[size] for size in sizes], "o-", color=BLUE)
ax.set_xlim(kib[0] / 1.5, kib[-1] * 1.5)
for name, color, style in (("chain", VERMILLION, "-"), ("fused", GREEN, "--")):
    ax.axhline(1000 * best[name], color=color, linestyle=style)
    label_end(ax, kib[-1] * 1.5, 1000 * best[name], name, color)
plain_ticks(ax.xaxis, (1,))
plain_ticks(ax.yaxis)
ax.set(xlabel="size of a piece, in KiB", ylabel="milliseconds", title="the same chain, in pieces")
show(fig, alt="Time of the chain against the size of its pieces on log axes, with lines for the "
              "whole chain and for the fused kernel.")  # fmt: skip
quickest = min(sizes, key=best.get)
print(f"quickest in pieces of {4 * quickest // 1024} KiB: {best['chain'] / best[quickest]:.1f} "
      f"times as fast as the whole chain, in plain Python")

# %% [markdown]
# Expect a valley. Too small, and the price of starting an operation, some microseconds, dominates. Too large, and every intermediate travels to memory and back. A piece that stays in fast memory while it is worked on is called a **tile**.
# **Kernel fusion** is the same idea taken to the end: a tile of the size of a register, and one loop that does all nine operations to it.
#
# Two smaller ways to move fewer bytes. *In place*: `x.add_(y)` needs no new memory, which the system would have to find and to clear; but autograd may need what you overwrite, and says so. *In order*: memory
# comes in lines, of 64 bytes on most machines, and using one number of each line wastes the rest.

# %%
side = 4096
square = torch.randn(side, side)
out = torch.empty_like(square)
rows = min(timed(lambda: out.copy_(square), 6)[1:])
columns = min(timed(lambda: out.copy_(square.T), 6)[1:])
new = min(timed(lambda: square + 1, 6)[1:])
in_place = min(timed(lambda: square.add_(1), 6)[1:])
print(f"copy {1000 * rows:.0f} ms, copy of the transposed {1000 * columns:.0f} ms: "
      f"{columns / rows:.1f} times")
print(f"add 1 to a new tensor {1000 * new:.0f} ms, in place {1000 * in_place:.0f} ms: "
      f"{new / in_place:.1f} times")

# %% [markdown]
# Same bytes, another order. A `transpose` itself is free, since it is a view; whoever reads it pays.

# %% [markdown] tags=["slide"]
# ### Bytes, not FLOPs
#
# - a chain of small operations reads and writes everything each time
# - tiles that stay in the cache: the same FLOPs, several times as fast
# - fusion: one pass for all of them

# %% [markdown]
# ## 5. Maximum and sum in one reading
#
# Can attention be done in tiles, so that its T × T weights never reach memory? One part seems to forbid it. A softmax divides by a sum over the *whole* row, so you must have seen the row before you can give out the first weight. Worse, a safe
# softmax subtracts the row's maximum first, for e to the power of a large score overflows:

# %%
scores = torch.tensor([60.0, 95.0, 20.0])
plain = torch.exp(scores) / torch.exp(scores).sum()
largest = torch.finfo(torch.float32).max
print(f"without the maximum: {plain.tolist()}, since fp32 ends at {largest:.1e}")
shifted = torch.exp(scores - scores.max())
print("with it:", (shifted / shifted.sum()).tolist())
assert plain.isnan().any()

# %% [markdown]
# So a row is read three times: for the maximum, for the sum, for the weights. The first two readings can become one. Walk along the row with a running maximum m and a running sum of exp(score − m). When a larger score comes, m changes,
# and *every* term of the sum so far is wrong by the same factor, exp(old m − new m). So repair the sum by one multiplication. That is the **online softmax** (Milakov & Gimelshein 2018).
#
# > **Your turn: 10.4 `online_softmax_stats`** (15 min), block by block, before you see it number by number.
#
# **Predict.** The running maximum is 2 and the running sum is 3. The next score is 5. What is the sum now?

# %%
guess = None
reveal("10.p5", guess)

# %%
def online(row):
    """-> maximum, sum of exp(score - maximum), after each score of the row"""
    m, total, history = -math.inf, 0.0, []
    for score in row.tolist():
        new = max(m, score)
        total = total * math.exp(m - new) + math.exp(score - new)
        m = new
        history.append((m, total))
    return history


row = 20 * torch.randn(400, generator=torch.Generator().manual_seed(3))
row[:50] -= 60  # the maximum has to move several times
m, total = online(row)[-1]
torch.testing.assert_close(torch.exp(row - m) / total, torch.softmax(row, -1))
torch.testing.assert_close(torch.tensor(m + math.log(total)), torch.logsumexp(row, -1))
moved = sum(now[0] > before[0] for before, now in zip(online(row), online(row)[1:]))
print(f"statistics in one pass; the maximum moved {moved} times; the same weights as torch.softmax")

# %% [markdown]
# **What breaks if** you forget to rescale? Nothing raises. The early terms keep the scale of an old maximum, and count far too much:

# %%
m, total = -math.inf, 0.0
for score in row.tolist():
    m = max(m, score)
    total += math.exp(score - m)  # the old terms stay as they were
weights = torch.exp(row - m) / total
print(f"the weights sum to {weights.sum():.3f}")
assert weights.sum() < 0.9

# %% [markdown]
# ## 6. Attention in tiles
#
# Attention needs more than the sum: the weighted mean of the values. It rides along. Keep three things for each query: the maximum, the sum, and the *unfinished* output, the sum of exp(score − m) · value. When m grows, the same factor repairs both sums.
# At the end, divide.
#
# So cut queries and keys into tiles. For each tile of queries, walk over the tiles of keys up to the diagonal. At any moment only one small square of scores exists.

# %%
def tile_scores(q, k, i, j):
    """Scores of queries from position i on for keys from j on; -inf where a key is the future"""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if j + k.shape[-2] - 1 > i:  # this tile touches the diagonal
        rows, columns = torch.arange(q.shape[-2]) + i, torch.arange(k.shape[-2]) + j
        scores = scores.masked_fill(columns > rows[:, None], -math.inf)
    return scores


def query_tile(q, k, v, i, size):
    """q (…, S, D) stands at i; k and v (…, T, D) -> output (…, S, D), log of the sums (…, S, 1)"""
    m, total, out = -math.inf, 0.0, 0.0
    for j in range(0, i + q.shape[-2], size):
        scores = tile_scores(q, k[..., j : j + size, :], i, j)
        new = scores.amax(-1, keepdim=True).clamp(min=m)
        powers, shrink = torch.exp(scores - new), torch.exp(m - new)
        total = total * shrink + powers.sum(-1, keepdim=True)
        out = out * shrink + powers @ v[..., j : j + size, :]
        m = new
    return out / total, m + torch.log(total)


# %% [markdown]
# (Each row of the first tile contains key 0, which every query may see. So m is a number from the first tile on, and exp(m − new) is no ∞ − ∞. `clamp(min=m)` is the larger of the two.)

# %%
order = np.zeros((8, 8))
count = 0
for i in range(8):
    for j in range(i + 1):
        count += 1
        order[i, j] = count
fig = heatmap(order, numbers=True, title="the order of the tiles; 0: never computed")
show(fig, alt="A triangle of eight by eight tiles, numbered row by row from 1 to 36; the tiles "
              "above the diagonal have 0, since nothing there is ever computed.")  # fmt: skip
print(f"{count} of 64 tiles are computed: with many tiles, half of the square")

# %% [markdown]
# **The backward pass** (*further*). Autograd would keep every tile, and the memory would be back. Instead, keep only the output and for each query the log of its sum, one number. In the backward pass compute each tile of weights *again*, exp(scores − log of the sum), use it, and
# throw it away. For weights P, output gradient G and value v, the softmax's gradient by the scores is P · (G vᵀ − δ), with δ the sum of G · output for each query.

# %% tags=["long"]
class TiledAttention(torch.autograd.Function):
    """Causal attention, q, k, v (…, T, D), in tiles of `size` positions"""

    @staticmethod
    def forward(ctx, q, k, v, size):
        out, logs = torch.empty_like(q), q.new_empty(*q.shape[:-1], 1)
        for i in range(0, q.shape[-2], size):
            here = (..., slice(i, i + size), slice(None))
            out[here], logs[here] = query_tile(q[here], k, v, i, size)
        ctx.save_for_backward(q, k, v, out, logs)
        ctx.size = size
        return out

    @staticmethod
    def backward(ctx, grad):
        q, k, v, out, logs = ctx.saved_tensors
        dq, dk, dv = (torch.zeros_like(t) for t in (q, k, v))
        delta, T, size = (grad * out).sum(-1, keepdim=True), q.shape[-2], ctx.size
        for i in range(0, T, size):
            rows = (..., slice(i, i + size), slice(None))
            for j in range(0, i + 1, size):
                cols = (..., slice(j, j + size), slice(None))
                weights = torch.exp(tile_scores(q[rows], k[cols], i, j) - logs[rows])
                dv[cols] += weights.mT @ grad[rows]
                ds = weights * (grad[rows] @ v[cols].mT - delta[rows]) / math.sqrt(q.shape[-1])
                dq[rows] += ds @ k[cols]
                dk[cols] += ds.mT @ q[rows]
        return dq, dk, dv, None


# %% [markdown]
# Is it the same? Against the fused kernel, and against attention by hand: output and all three gradients, also where the last tile is a short one.

# %%
def by_hand(q, k, v):
    future = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool).triu(1)
    scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(future, -math.inf)
    return torch.softmax(scores, -1) @ v


def sdpa(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def inputs(T, B=1, H=2, D=32):
    g = torch.Generator().manual_seed(T)
    return [torch.randn(B, H, T, D, generator=g, requires_grad=True) for _ in range(3)]


for T, size in ((64, 16), (101, 32), (37, 64)):
    qkv = inputs(T, B=2, H=3, D=24)
    out_grad = torch.randn(2, 3, T, 24, generator=torch.Generator().manual_seed(0))
    results = []
    for function in (lambda *t: TiledAttention.apply(*t, size), sdpa, by_hand):
        out = function(*qkv)
        results.append([out, *torch.autograd.grad(out, qkv, out_grad)])
    gap = max((a - b).abs().max().item() for a, *others in zip(*results) for b in others)
    print(f"T = {T}, tiles of {size}: output and gradients differ by {gap:.0e} at most")
    assert gap < 2e-5

# %% [markdown]
# Exact, then: not an approximation. What is it good for? Count the bytes that are alive at the peak of a forward and backward pass, for growing contexts.
#
# **Predict.** The context doubles, from 512 to 1,024. By which factor does the peak memory of attention by hand grow?

# %%
def peak_memory(function, T):
    qkv = inputs(T)
    with Watch() as watch:
        function(*qkv).sum().backward()
    return watch.peak


lengths = (128, 256, 512, 1024, 2048)
kinds = {"by hand": (by_hand, VERMILLION, "o-"), "fused kernel": (sdpa, GREEN, "^--"),
         "tiles of 64": (lambda *qkv: TiledAttention.apply(*qkv, 64), BLUE, "s-")}
peaks = {name: [peak_memory(f, T) for T in lengths] for name, (f, _, _) in kinds.items()}
guess = None
reveal("10.p6", guess, peaks["by hand"][3] / peaks["by hand"][2])

# %%
fig, ax = figure(width=7, height=3.2)
for name, (_, color, style) in kinds.items():
    ax.loglog(lengths, [size / 2**20 for size in peaks[name]], style, color=color)
    nudge = 0.7 if name == "fused kernel" else 1.1
    label_end(ax, 2048, peaks[name][-1] / 2**20 * nudge, name, color)
    slope = math.log2(peaks[name][-1] / peaks[name][-2])
    print(f"{name:<13} {peaks[name][-1] / 2**20:>6.1f} MiB at T = 2,048; "
          f"a doubling multiplies by 2 to the power of {slope:.2f}")
ax.set(xlabel="context T", ylabel="MiB at the peak", xticks=lengths, xticklabels=lengths)
ax.xaxis.set_minor_formatter("")
plain_ticks(ax.yaxis, (1,))
show(fig, alt="Peak memory against context, both axes logarithmic. By hand it is a steep line "
              "that quadruples with each doubling; the other two only double.")
growth = {name: math.log2(sizes[-1] / sizes[-2]) for name, sizes in peaks.items()}
assert growth["by hand"] > 1.8 and growth["tiles of 64"] < 1.3 and growth["fused kernel"] < 1.3

# %% [markdown]
# Quadratic becomes linear. (The fused kernel also has some scratch memory of its own, which no operation outside can see.) And the time?

# %%
qkv = [t.detach() for t in inputs(2048, H=4, D=64)]
with torch.no_grad():
    runs = {name: min(timed(lambda f=f: f(*qkv), 4)[1:]) for name, (f, _, _) in kinds.items()}
    runs["tiles of 256"] = min(timed(lambda: TiledAttention.apply(*qkv, 256), 4)[1:])
for name, seconds_taken in runs.items():
    print(f"{name:<13} {1000 * seconds_taken:>7.0f} ms")

# %% [markdown]
# Even from Python, tiles of the right size can keep up with the plain version or beat it: they compute half of the square, and that half in the cache. Smaller ones pay more overhead. The fused kernel is the same algorithm in a compiled language. On a GPU
# it is called FlashAttention (Dao et al. 2022), and there the tile sits in the fast memory of each multiprocessor, one of the many small processors of a GPU.
#
# Two partial results, each with maximum, sum and output, can be merged by the same rescaling, even from different machines that each hold a piece of a text too long for one.
#
# > **Your turn: 10.5 `merge_attention`** (15 min).

# %% [markdown] tags=["slide"]
# ### Attention in tiles
#
# - running maximum, running sum, unfinished output; one factor repairs both
# - keep T numbers, recompute the tiles in the backward pass
# - exact; more FLOPs, fewer bytes; memory linear in T

# %% [markdown]
# ## 7. Let a compiler fuse
#
# Nobody writes a fused kernel for each chain. `torch.compile` runs your function once with stand-ins for its tensors, writes down the operations that it sees (the *graph*), and generates code for them: on a CPU C++, on a GPU Triton. Elementwise chains become one
# loop. It needs a C++ compiler, and time.

# %%
compiler = shutil.which("cl" if sys.platform == "win32" else "c++")
isolate_compile_cache()  # code for one kind of processor must not be loaded on another
ratio = None
if compiler is None:
    print("No C++ compiler here: the cells of this section say what others would see.")
else:
    torch._dynamo.reset()
    chain_fast = torch.compile(gelu_chain)
    first, *later = timed(lambda: chain_fast(x), 5)
    eager = min(timed(lambda: gelu_chain(x), 5)[1:])
    ratio = eager / min(later)
    torch.testing.assert_close(chain_fast(x), gelu_chain(x), atol=1e-5, rtol=1e-5)
    print(f"first call {first:.1f} s; then {1000 * min(later):.0f} ms, "
          f"eager {1000 * eager:.0f} ms: {ratio:.1f} times as fast, the same numbers")

# %% [markdown]
# (The first call takes a fraction of a second if this machine has compiled the function before and remembers it.) Nine operations became one loop. A matrix product is *not* made faster: it already has the best code there is, and the compiler calls it. So compiling helps what stood left of the ridge.
#
# **What breaks if** your function does something that no graph can hold? A `print` of a value, an `.item()`, an `if` on a tensor: the compiler must know the number before it can go on. It compiles what came before, lets Python
# do the step, and begins a second graph: a **graph break**. Nothing is fused across it. `torch._dynamo.explain` counts them:

# %%
def watched(x):
    y = torch.tanh(x) * 2
    if y.mean().item() > 100:  # an innocent check
        y = y * 0
    return torch.relu(y) + 1


def unwatched(x):
    y = torch.tanh(x) * 2
    y = torch.where(y.mean() > 100, y * 0, y)  # the same, and it stays a tensor
    return torch.relu(y) + 1


torch._logging.set_logs(dynamo=logging.ERROR)  # it would report the break at length
small = torch.randn(64, generator=g)
torch.testing.assert_close(watched(small), unwatched(small))
for function in (watched, unwatched):
    torch._dynamo.reset()
    found = torch._dynamo.explain(function)(small)
    print(f"{function.__name__}: {found.graph_count} graph(s), {found.graph_break_count} break(s)")
torch._dynamo.reset()

# %% [markdown]
# `torch.compile(..., fullgraph=True)` makes a break an error, which is what you want in a training step. Changing shapes are the other trap: a new length may mean to compile again. Pad, or keep shapes fixed; `minigpt` trains on one shape only.
#
# **When does it pay?** The price is paid once, the gain in every step. A step that gets 20 ms faster pays 30 s back after 1,500 steps. `minigpt` compiles only runs that are long enough, and says so. Section 10 has a whole step as an example.
#
# > **Your turn: 10.6 `break_even`** (10 min).

# %% [markdown]
# ## 8. The next batch
#
# Before a step comes its batch: read from a disk, perhaps over a network, perhaps tokenized. If that is done *between* two steps, its time is added to each. A thread can do it *during* the step before. Here the disk is a `sleep` and the step too, so
# that the figure is nearly the same on each machine:
#
# **Predict.** A step takes 30 ms and waiting for its batch 20 ms. How many milliseconds does each step take in all if a thread always fetches the next batch during the step before?

# %%
def fetch():
    time.sleep(0.020)  # waits for a disk


def compute():
    time.sleep(0.030)  # stands for a step on a GPU


def between(steps=12):
    for _ in range(steps):
        fetch()
        compute()


def read_ahead(steps=12):
    with ThreadPoolExecutor(1) as pool:
        ready = pool.submit(fetch)
        for _ in range(steps):
            ready.result()
            ready = pool.submit(fetch)
            compute()


took = {f.__name__: 1000 * min(timed(f, 2)) / 12 for f in (between, read_ahead)}
guess = None
reveal("10.p7", guess)

# %%
for name, ms in took.items():
    print(f"{name}: {ms:.0f} ms a step")

# %% [markdown]
# The slower of the two counts, instead of their sum, plus the first fetch, which nothing hides, and what `sleep` oversleeps: the roofline's rule again. It helps because the thread only *waits*. If making a batch is computing, and all cores are busy with the step, a thread takes from one what it gives to the other.
#
# `minigpt` prepares tokens once, before training, so that a batch is a few slices of a file, and its loader reads four batches ahead. (`rank` and `world`: which part of each batch is this process's, and how many processes share it.) How long does a batch take, and is that worth a thought?

# %%
from minigpt.shards import Shards

print(inspect.signature(Shards.loader))
ids = torch.randint(config.vocab_size, (1_000_000,))
T = config.context
starts = torch.randint(len(ids) - T - 1, (B, 1))
cut = median(timed(lambda: ids[starts + torch.arange(T + 1)], 20)[1:])
print(f"cutting a batch takes {1e6 * cut:.0f} µs, {cut / step_seconds:.2%} of section 3's step")

# %% [markdown]
# ## 9. How much of the machine do you use?
#
# **MFU**, model FLOPs utilisation (Chowdhery et al. 2022, appendix B): the FLOPs that the model *needs* for the tokens that you process in a second, divided by the FLOPs that the hardware can do in a second. "Needs" is a convention, and there are several. With N parameters, E of them in
# the input table (if it is not also the head), and A = layers · heads · head size · context:

# %%
rate = B * T / step_seconds
llama = dict(n=8_030_261_248, e=128_256 * 4096, a=32 * 32 * 128 * 8192)  # Llama 3 8B, context 8,192
flops = {"palm": lambda n, e, a: 6 * n + 12 * a, "torchtitan": lambda n, e, a: 6 * (n - e) + 12 * a,
         "megatron": lambda n, e, a: 6 * (n - e) + 6 * a, "llm.c": lambda n, e, a: 6 * n + 6 * a,
         "6n": lambda n, e, a: 6 * n}
n, a = parameters(config), config.layers * config.heads * config.head_size * config.context
print("convention   this model here   Llama 3 8B at 5,762 tokens/s on each H100")
for name, formula in flops.items():
    ours, theirs = mfu(rate, config, peak, name), 5762 * formula(**llama) / 989e12
    assert math.isclose(ours, rate * formula(n, 0, a) / peak)
    print(f"{name:<12} {ours:>15.1%} {theirs:>20.1%}")

# %% [markdown]
# The speed in the last column is one that torchtitan's README printed, and 33 % was its MFU (33.7 here; PyTorch team 2024). The same run "has" 28 % or 36 %. So say which convention you use: `minigpt.mfu(..., convention="torchtitan")`. Two more choices hide in every figure:
#
# - **Which peak?** The data sheet's, or what a large matrix product reaches here? Ours is the second, which is lower, so that the share looks better. (On an A100 the best measured product reached 87 % of the data sheet; Bekman 2024.)
# - **Computed twice?** Activation checkpointing computes the forward pass again to save memory. The model did not *need* that. Hardware FLOPs utilisation (**HFU**) counts it: with everything computed twice, 4/3 of the MFU.
#
# On a CPU the default model has few and narrow matrices, and much of its time goes to what section 3 showed. MFU rises with width: products grow with C², norms and adds with C.
#
# > **Your turn: 10.8 `utilisation`** (15 min): a figure above 100 %, and why.

# %% [markdown] tags=["slide"]
# ### MFU
#
# needed FLOPs a second / peak
#
# - 6 N, with attention or without, causal half or full: name the convention
# - recomputation counts for HFU, not for MFU

# %% [markdown]
# ## 10. From naive to best
#
# Now all of it on one training step. The naive version is what one writes from the formulas: one sequence after the other, a Python loop over heads, every norm, GELU, softmax and loss spelled out, AdamW tensor by tensor. Each rung of the ladder keeps the changes of those before:
#
# | rung | change |
# |---|---|
# | `one_batch` | all sequences in one pass |
# | `all_heads` | heads as an axis, no loop |
# | `fused_parts` | torch's norm, GELU and cross-entropy |
# | `fused_attention` | no T × T weights |
# | `fused_adamw` | one kernel for all parameters |
# | `read_ahead` | the next batch in a thread |
# | `all_cores` | every core of the machine; up to here it was one |
# | `compiled` | `torch.compile` |
#
# A speed-up counts only if the result stays the same. So every rung trains four steps on the same batches as the naive step and compares the losses. And since machines differ, the unit is a ratio: naive and rung are timed in turn, in the same minute. The bars count *doublings*: 1 is twice
# as fast, 2 four times.
#
# **Predict.** How many times as fast as the naive step is the best rung, on the two cores of the record? (A number; within 30 % is a hit.)

# %%
record = recorded("10.ladder")
ladder = script("10.ladder")
print(record.what)
ends = {arm: record.curves(arm)[:, -1] for arm in record.arms}
rungs = [arm for arm in record.arms if arm != "naive_again"]
guess = None
reveal("10.p8", guess, max(2 ** float(ends[arm].mean()) for arm in rungs))

# %%
tokens_a_step = ladder.BATCH * ladder.CONTEXT
print("rung              tokens/s   times naive   times the rung before   loss differs by")
before = np.zeros(len(record.seeds))
noise = abs(ends["naive_again"]).max()  # the most that A against A shows, in doublings
verdicts = {"gain": [], "cannot tell": [], "loss": []}
for arm in ["naive_again", *rungs]:
    step_up = ends[arm] - before  # in doublings, seed by seed
    middle, half = step_up.mean(), half_width(step_up)
    rate, gap = record.numbers(arm, "rate").mean(), record.numbers(arm, "loss_gap").max()
    print(f"{arm:<16} {rate:>9,.0f} {2 ** ends[arm].mean():>13.2f} {2 ** middle:>9.2f} "
          f"({2 ** (middle - half):.2f}–{2 ** (middle + half):.2f}) {gap:>15.0e}")
    assert gap < 1e-4
    if arm != "naive_again":
        before = ends[arm]
        gain, loss = middle - half > noise, middle + half < -noise
        verdicts["gain" if gain else "loss" if loss else "cannot tell"].append(arm)
print(record.sentence().replace(" × ", " cores of "))
print(f"A against A: up to {2**noise:.2f} times; a gain or a loss lies wholly beyond that")
print("; ".join(f"{verdict}: {', '.join(arms) or 'none'}" for verdict, arms in verdicts.items()))

# %%
live = record.live()
fig, ax = figure(width=8, height=3.6)
for row, arm in enumerate(["naive_again", *rungs]):
    middle, half = ends[arm].mean(), half_width(ends[arm])
    ax.barh(row, middle, color=GREY if arm == "naive_again" else BLUE, alpha=0.6)
    ax.plot([middle - half, middle + half], [row, row], color="black", linewidth=1)
ax.plot(live.y[-1], 1, "D", color=VERMILLION, markersize=9)
end = ends[rungs[0]].mean() + half_width(ends[rungs[0]])
label_end(ax, max(live.y[-1], end) + 0.03, 1, "live", VERMILLION)
ax.set(yticks=range(len(rungs) + 1), yticklabels=["naive_again", *rungs])
ax.set_xlabel(record.axes[1])
ax.invert_yaxis()
ax.grid(True, axis="x")
show(fig, alt="Recorded bars of doublings of speed, rung by rung, with intervals; the naive step "
              "against itself near zero; a live diamond beside the bar of one_batch.")  # fmt: skip
print(live_sentence(record, rungs[0], live).replace("the thick line", "the diamond"))
low, end, high = (2**y for y in (record.end(rungs[0])[0], live.y[-1], record.end(rungs[0])[1]))
print(f"These are doublings; as a ratio, {end:.2f} times naive, between {low:.2f} and {high:.2f}.")

# %% [markdown]
# The naive step is no straw man in its *mathematics*. It is the same as the engine's:

# %%
engine = GPT(ladder.config(), seed=5)
windows = ladder.text()[1][:129].unsqueeze(0)
weights = dict(engine.named_parameters())
naive_loss = sum(ladder.forward(weights, w[:-1], w[1:], ()) for w in windows) / 128
engine_loss = engine(windows[:, :-1], windows[:, 1:])
torch.testing.assert_close(naive_loss, engine_loss, atol=1e-4, rtol=1e-4)
print(f"naive = minigpt, loss {naive_loss:.3f}")
first = record.numbers("compiled", "first_step").max()  # later seeds find the code ready
seconds = tokens_a_step / record.numbers("compiled", "naive_rate").mean()  # a naive step
seconds *= 2 ** -ends["all_cores"].mean()  # on the rung before
step_up = ends["compiled"] - ends["all_cores"]
half = half_width(step_up)
saved = [seconds * (1 - 2**-up) for up in step_up.mean() + half * np.array([0, 1, -1])]
steps = [f"{first / s:,.0f}" if s > 0 else "never" for s in saved]
print(f"recorded: the first compiled step took {first:.0f} s. Steps until it is paid "
      f"back: {steps[0]} (95 % interval: from {steps[1]} to {steps[2]})")
if "compiled" in verdicts["cannot tell"]:
    print("The rung is inside what A against A shows, so the pay-back is a guess.")

# %% [markdown]
# Read the table from top to bottom. `naive_again` is A against A, so it shows what a difference of nothing looks like. (Rows were measured in different minutes, so compare their ratios, not their tokens a second.) Three things to take from the rest:
#
# - **No single trick.** The factors multiply, and the best rung stands on all those before it. "Cannot tell" means too noisy to say; only a narrow interval around 1 would say that the rung does nothing. A batch of this size is cut in microseconds, so reading it ahead has nothing to
#   hide; on a cluster that reads from a network the same rung can be the largest.
# - **The order matters.** Amdahl's law again: a rung is measured on what the rungs before it have left. The quicker the rest has become, the larger is the optimizer's share when its rung comes.
# - **All cores** should be worth less than their number. One reason is that memory is shared: the roof of section 2 that slopes does not rise with the second core as the flat one does.
#
# **And 16 bits?** On hardware that multiplies bf16 fast, it is the next rung, often the largest. Whether yours does, no name and no flag tells reliably. `minigpt` measures it before a long run:

# %%
speedup = bf16_speedup()
verdict = "use it for long runs" if speedup > 1.5 else "stay with fp32"
print(f"bf16 matrices multiply {speedup:.2g} times as fast as fp32 ones on this CPU: {verdict}")

# %% [markdown]
# Without the right instructions it is not a little slower but many times. The losses are then equal to two or three digits only: it is the one rung that changes numbers (lesson 09). `python -m minigpt bench --only number_formats` times your machine's whole training step in each format.

# %% [markdown] tags=["slide"]
# ### The ladder
#
# - the same loss on each rung, or it does not count
# - batch, heads, fused parts, fused attention, all cores
# - inside the noise of A against A: no gain yet. Measure, do not believe

# %% [markdown]
# > **Your turn: 10.9 `chunked_loss`** (30 min), unaided: the assistant stays off.

# %% [markdown]
# ## 11. An exhibit
#
# Lesson 13 is a museum of broken training runs. Here is one of them, from its record: a small model; one part is broken; its data lie in eight files, read in turn.

# %%
museum.show(16)

# %% [markdown]
# **Predict.** Which part is it: "rate", "mask", "tokenizer" or "shard" (one of the files)? Look at how often the loss misbehaves before you write the word, in quotation marks. (The table shows every tenth step, the picture every step.)

# %%
guess = None
reveal("10.p9", guess)

# %% [markdown]
# A suspicion is not a finding. Which single question would you ask this run? Here is one that decides, with the healthy run's answer beside it:

# %%
print(museum.experiment(16, "loss_by_shard"))

# %% [markdown]
# The healthy run's shards lie close together. Here shard 5 stands out, and since the eight take turns, every eighth step read it: the spikes. A fast reader that reads the wrong thing is worth nothing, and nothing of it shows in tokens a second.
#
# ## 12. One paper
#
# **[Dao et al. 2022](https://arxiv.org/abs/2205.14135), FlashAttention.** Section 3.1 is section 6 of this lesson; appendix B has the backward pass. Read with three questions. *What was held fixed* in figure 2 on the left? (The result, the GPU and the shapes; FLOPs went up, bytes down, and time followed the
# bytes.) *What would change your mind* about "memory traffic is what made attention slow"? (A GPU whose ridge lies further left; heads so wide that the two products dominate.) *Which number can you recompute?* That figure gives 40.3 GB of memory traffic for the plain version, forward and backward, at a context of 1,024, head size 64, 16 heads,
# 64 sequences (Dao et al. 2022, figure 2). In units of one T × T table for every head:

# %%
T, heads = 1024, 16 * 64
table = heads * T * T * 2  # bytes, in 16 bits
print(f"one table of all heads: {table / 1e9:.2f} GB; printed 40.3 GB, {40.3e9 / table:.1f} tables")


def passes(T, D=64):
    qkv = inputs(T, H=1, D=D)
    with Watch() as watch:
        by_hand(*qkv).sum().backward()
    return watch.moved / (T * T * 4)


counted = {T: passes(T) for T in (1024, 2048)}
print("counted here, in tables:", {T: round(count, 1) for T, count in counted.items()})
ideal = 12 * heads * T * 64 * 2 / table  # q, k, v, output; and all, with gradients, again
print(f"q, k, v, output and their gradients need {ideal:.2f} tables at least; the plain version "
      f"moves {40.3e9 / table / ideal:.0f} times that, ours {counted[T] / ideal:.0f} times")
assert 10 < counted[1024] < 40 and 15 < 40.3e9 / table < 22

# %% [markdown]
# Every operation of the plain version reads or writes whole T × T tables, forward and backward. (Ours is not quite theirs, so the counts differ.) That is the whole case for tiles: the traffic that the result itself needs is a small part of it.

# %% [markdown]
# ## Summary
#
# 1. Warm up, take the median or the quickest, take turns, and time A against A. On a GPU, synchronize before you read the clock.
# 2. An operation waits for the slower of arithmetic and memory. Below the ridge, fewer bytes help and fewer FLOPs do not.
# 3. Profile before you repair. What you do not touch decides how fast the whole can become.
# 4. A running maximum and a running sum that is rescaled turn attention into tiles: exact, memory linear in T, the backward pass recomputed.
# 5. Fusing, compiling, reading ahead and all cores change no loss; prove it at each rung. An MFU needs its convention, and a compiler needs a run that is long enough.
#
# Next: lesson 11 looks at the other half of speed, how much each step achieves.

# %% tags=["timing"]
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
