# %% [raw]
# title = "Sharding"
# question = "How do you train a model that does not fit on one device?"
# able = [
#   "write down what every byte of a training step is for, and say on how many devices a model fits",
#   "write the three stages of ZeRO by hand, and say what each saves and what each sends",
#   "say when the gathering of weights hides behind computing, from two numbers of the machine",
#   "choose what to keep and what to compute again, and in which format to add up gradients",
#   "write a checkpoint with four ranks and read it with two or with one",
#   "name the computations that do not work on a piece, and give each of them its whole",
# ]
# needs = ["parameter", "step", "gradient", "optimizer state", "AdamW", "activations", "micro-batch", "gradient accumulation", "gradient clipping", "checkpoint", "bf16", "swamping", "master weights", "Muon", "orthogonalisation", "singular value", "block", "weight tying", "memory bandwidth", "arithmetic intensity", "initialisation", "weight averaging", "data parallelism", "rank of a process", "collective", "all-reduce", "reduce-scatter", "all-gather", "all-to-all", "ring all-reduce", "overlap"]
# reading = 75
# exercises = 105
# route = "further"
# paper = "Rajbhandari et al. 2020, ZeRO: Memory Optimizations Toward Training Trillion Parameter Models, arXiv 1910.02054"
#
# [teaches]
# sharding = "Cutting tensors into pieces, one for each rank, so that no rank holds them whole."
# ZeRO = "Zero redundancy optimizer: data parallel training in which ranks share out optimizer state (stage 1), gradients too (stage 2), and weights too (stage 3)."
# FSDP = "Fully sharded data parallel, PyTorch's ZeRO-3: a rank gathers the weights of one part of the model just before it needs them, and frees them after."
# prefetch = "Asking for the next part's weights while this part computes."
# "activation recomputation" = "Keeping only some of the forward pass, and computing the rest again in the backward pass. Also called activation checkpointing."
# "mixed-precision policy" = "Which format the pieces are kept in, which one they are gathered and computed in, and which one gradients are added up in."
# resharding = "Reading a checkpoint on another number of ranks than wrote it, each rank its own pieces."
# "meta device" = "A device on which tensors have a shape and a type, but no memory."
# HSDP = "Hybrid sharding: shards within a group of ranks that are well connected, whole copies of the group among groups."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners can say for every byte of a training step on which rank it lies and when, and what it costs to have it there.
# **Timing** (130 min). Before class: 22.1. In class: section 1 10 · section 2 30 · exercise 22.3 12 · sections 3 and 4 20 · exercise 22.4 10 · sections 5 and 6 15 ·
# section 7 10 · section 8 15 · discussion 8. Homework: the other exercises, sections 9 and 10.
#
# **Two misconceptions.** *"Sharding cuts the computation of a layer."* Ask: which matrix does a rank multiply by in ZeRO-3, and how large is it at that moment? *"Saving memory costs traffic."* Ask: how many
# bytes does ZeRO-2 send, and how many plain data parallel training?
#
# **Discuss.** You double the number of ranks and keep the batch. Which of the four kinds of memory halves, which stays, and what happens to the time that hides communication? · A colleague
# proposes to save memory by adding up gradients in bf16. On how many ranks would you look first?

# %% tags=["setup"]
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors import safe_open

# %%
from torch import nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from minigpt import GPT, ModelConfig, RunConfig, checkpoint, parallel
from minigpt import train as loop
from minigpt.accounting import block_matrices, matmul_parameters, memory, parameters
from minigpt.classroom import on_ranks, reveal, show
from minigpt.classroom.ranks import timeline
from minigpt.classroom.viz import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION
from minigpt.classroom.viz import figure, heatmap, label_end
from minigpt.config import DataConfig, preset
from minigpt.model import initial_values, rope_frequencies, rope_table
from minigpt.optim import orthogonalize
from minigpt.prepare import prepare
from minigpt.text.sources import builtin, usable_domains

warnings.filterwarnings("ignore", message="torch.distributed is disabled")
started = time.perf_counter()
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>21: n ranks add up N numbers around a ring. How many numbers does each rank send?</summary>2 (n − 1)/n · N: half of them to reduce and scatter, half
# to gather.</details>
# <details><summary>08: what does AdamW keep for each parameter, and what does it need to update one of them?</summary>Two running means. And nothing of any other parameter:
# only this one's weight, gradient and means.</details>
# <details><summary>09: why is there a master copy of the weights in fp32?</summary>An update is far smaller than its weight. Added in bf16, it would be rounded away.</details>

# %% [markdown]
# > **Try first: 22.1 `devices_needed`** (6 min), before you read on. The exercises are in `exercises/22_sharding.ipynb`; `python3 course.py start 22` makes a copy for you in `my/`.
#
# In lesson 21 every rank had a copy of everything. That makes training faster, not larger: a model that does not fit on one device does not fit on a thousand. But look at
# what the thousand copies hold. They are *equal*, and each rank uses most of it only for a moment. This lesson cuts it into pieces, one for each rank, and that is **sharding**.
#
# ## 1. The ledger
#
# Four things lie in memory when the backward pass ends. Of each parameter: the **weight**, its **gradient**, and the **optimizer's state**, for AdamW two running means. In fp32 that is 4 + 4 + 8 = 16 bytes
# a parameter; with a working copy in bf16, as lesson 09 makes it, 18. The fourth, the **activations**, is paid by the token: twice the batch, twice the bytes, with the same parameters. `minigpt.accounting.memory` counts all of it (here the logits are among the activations). Three shapes: GPT-2's
# smallest, and the 7B and 70B of Llama 2 ([Touvron et al. 2023](https://arxiv.org/abs/2307.09288)), each with one sequence of its full context:

# %%
llama = dict(head_size=128, context=4096, vocab_size=32000, tied=False)
MODELS = {
    "124M": preset("gpt2-124m").model,
    "7B": ModelConfig(layers=32, width=4096, heads=32, kv_heads=32, mlp_width=11008, **llama),
    "70B": ModelConfig(layers=80, width=8192, heads=64, kv_heads=8, mlp_width=28672, **llama),
}
DEVICE = 80e9  # bytes of an A100 or H100


def ledger(shape, batch=1):
    """Bytes by kind, with the bf16 copies of the weights apart from the activations"""
    parts = memory(shape, batch, "bf16")
    copies = 2 * matmul_parameters(shape)
    return {"weights": parts["weights"], "gradients": parts["gradients"],
            "AdamW": parts["optimizer"], "bf16 copies": copies,
            "activations": parts["activations"] - copies + parts["logits"]}  # fmt: skip


for name, shape in MODELS.items():
    parts = ledger(shape)
    fixed = parts["weights"] + parts["gradients"] + parts["AdamW"]
    print(f"{name:>5}: {parameters(shape) / 1e9:.3f} billion parameters, "
          f"{fixed / parameters(shape):.2f} bytes for each, {fixed / 1e9:,.1f} GB; "
          f"activations of one sequence {parts['activations'] / 1e9:.1f} GB")

# %% [markdown]
# **Predict.** How many devices of 80 GB would the weights, gradients and AdamW state of the 70B fill, at the least? (A whole number; activations not counted.)

# %%
guess = None
reveal("22.p1", guess)

# %%
fig, axes = figure(width=7, height=2.4, columns=3)
kinds = {"weights": (BLUE, ""), "gradients": (ORANGE, "///"), "AdamW": (GREEN, "..."),
         "bf16 copies": (SKY, "++"), "activations": (PURPLE, "xxx")}  # fmt: skip
for ax, (name, shape) in zip(axes, MODELS.items()):
    parts, below = ledger(shape), 0
    for kind, (color, hatch) in kinds.items():
        size = parts[kind] / 1e9
        ax.bar([0], [size], bottom=[below], color=color, hatch=hatch, edgecolor="white", label=kind)
        below += size
    ax.axhline(DEVICE / 1e9, color=VERMILLION, linestyle="--")
    ax.text(0, below, f"{below:,.0f} GB", ha="center", va="bottom")
    ax.set(title=name, xticks=[], xlim=(-0.8, 0.8), ylim=(0, max(below, DEVICE / 1e9) * 1.15))
    print(f"{name}: {below:,.1f} GB in all, {below / DEVICE * 1e9:.2f} devices")
axes[0].set_ylabel("GB; dashed: one device")
axes[2].legend(frameon=False, bbox_to_anchor=(1.02, 0.5), loc="center left")
show(fig, alt="Three stacked bars of memory against a dashed line at 80 GB: the 124M model is far "
              "below it, the 7B ends well above it, the 70B many times above it.")

# %% [markdown]
# The small one fits two dozen times over. The 7B does not fit, though its weights alone would, even twice. And the largest part of both tall bars computes nothing in the forward pass: it is AdamW's state, which is touched once a step.

# %% [markdown]
# ## 2. ZeRO: three stages by hand
#
# AdamW works number by number. To update the first third of the parameters, a rank needs the first third of the gradient and of the means, and nothing else. So let each of n ranks update one n-th. That
# is the whole idea of **ZeRO** ([Rajbhandari et al. 2020](https://arxiv.org/abs/1910.02054)), and its three stages are three answers to "what else need not be whole?"
#
# | stage | cut into pieces | whole on every rank |
# |---|---|---|
# | 0, lesson 21 | nothing | weights, gradients, optimizer state |
# | 1 | optimizer state | weights, gradients |
# | 2 | optimizer state, gradients | weights |
# | 3 | optimizer state, gradients, weights | one part of the model at a time |
#
# First in one process, with a *list that has an entry for each rank*, so that you see all ranks at once. The text is bytes of a book, which need no tokenizer, and the model is tiny. The last rows of a batch have fewer targets that count, for lesson 21's reason: a mistake in what to divide by shall show.

# %%
usable, _ = usable_domains(["books", "drama", "speeches", "docs"])
some = [document.text for document, _ in zip(builtin(usable[:1]), range(40))]
book = "\n\n".join(some).encode()[:60_000]
text = torch.tensor(list(book))
SHAPE = ModelConfig("modern", layers=3, width=48, heads=2, kv_heads=1, head_size=20, mlp_width=112,
                    context=40, vocab_size=256, tied=False)  # fmt: skip
STEPS, ROWS, T, RATE, EPS = 4, 12, SHAPE.context, 0.002, 1e-6


def batch(step):
    """-> inputs, targets (ROWS, T); the last four rows have fewer targets that count"""
    dice = torch.Generator().manual_seed(step)
    starts = torch.randint(len(text) - T, (ROWS, 1), generator=dice)
    found = text[starts + torch.arange(T + 1)]
    targets = found[:, 1:].clone()
    targets[-4:, ::3] = -100
    return found[:, :-1], targets


batches = [batch(step) for step in range(STEPS)]

# %% [markdown]
# The judge of everything below is one process that sees the whole batch:

# %%
def one_process(model, batches):
    """-> losses; the model is trained by plain AdamW"""
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=RATE, eps=EPS), []
    for inputs, targets in batches:
        loss = model(inputs, targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


judge = GPT(SHAPE, seed=1)
expected = one_process(judge, batches)
print("losses:", *[f"{loss:.3f}" for loss in expected])

# %% [markdown]
# For the model by hand, two decisions. The weights of a part (the embedding, a block, the head with its norm) lie behind each other in **one vector**, so that cutting is a matter of lengths and not of shapes; if it does not divide, zeros fill it up. And the parts themselves are built on the **meta device**,
# where a tensor has a shape and no memory: so a part is a pure function of a vector of weights and an input. (`functional_call` runs a module with tensors that you hand over in the place of its own.)

# %%
def parts_of(model):
    return [model.embed, *model.blocks, nn.Sequential(model.norm, model.head)]


def run(i, flat, x):
    """What part i makes of x, with its weights in one vector"""
    named, at = {}, 0
    for name, p in parts[i].named_parameters():
        named[name] = flat[at : at + p.numel()].view(p.shape)
        at += p.numel()
    more = (rope, None, None, None) if 0 < i < len(parts) - 1 else ()  # a block wants positions
    return functional_call(parts[i], named, (x, *more))


with torch.device("meta"):
    parts = parts_of(GPT(SHAPE))
rope = rope_table(torch.arange(T), rope_frequencies(SHAPE))
start = [torch.cat([p.detach().flatten() for p in part.parameters()])
         for part in parts_of(GPT(SHAPE, seed=1))]  # fmt: skip
N = sum(len(flat) for flat in start)
sizes = ", ".join(f"{len(flat):,}" for flat in start)
print(f"{len(parts)} parts of {sizes} weights, {N:,} in all")

# %% [markdown]
# Two of lesson 21's collectives do all the work. `all_gather`: each rank has a piece, afterwards each has the whole. `reduce_scatter`: each has a whole, afterwards each has the sum, of one piece. Both
# count the numbers that a rank sends if they go around a ring.

# %%
sent = Counter()


def padded(flat, n):
    """(N,) → filled up with zeros to a multiple of n"""
    return F.pad(flat, (0, -len(flat) % n))


def all_gather(pieces):
    sent["numbers"] += (len(pieces) - 1) * len(pieces[0])
    return [torch.cat(pieces) for _ in pieces]


def reduce_scatter(wholes):
    n = len(wholes)
    total = sum(padded(whole, n) for whole in wholes)
    sent["numbers"] += (n - 1) * (len(total) // n)
    return [piece.clone() for piece in total.chunk(n)]  # a view would keep the whole sum alive


# %% [markdown]
# Now the walk through the model, forward and back, part by part. Two things are left open: `fetch(i)`, where the whole weights of part i come from, and `give(i, gradients)`, what becomes of its gradients. **These two functions are nearly all in which the stages differ.** `kept` collects what goes into each part; `slopes` is the loss's gradient for what comes out of one, and it travels back.

# %%
def walk(fetch, give, inputs, targets, count):
    """One forward and backward pass; lists have an entry for each rank -> its share of the loss"""
    kept = [inputs]
    with torch.no_grad():
        for i in range(len(parts)):
            kept.append([run(i, w, x) for w, x in zip(fetch(i), kept[-1])])
    losses, slopes = zip(*(loss_of(logits, y, count) for logits, y in zip(kept.pop(), targets)))
    for i in reversed(range(len(parts))):
        found = [slopes_of(i, *of_rank) for of_rank in zip(fetch(i), kept.pop(), slopes)]
        give(i, [weights for weights, _ in found])
        slopes = [x for _, x in found]
    return losses


# %%
def loss_of(logits, targets, count):
    """A rank's share of the loss, and its gradient for the logits"""
    logits.requires_grad_()
    all_nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    return all_nats.detach() / count, torch.autograd.grad(all_nats / count, logits)[0]


def slopes_of(i, flat, x, slope):
    """The gradients of part i, for its weights and for its input (none for the tokens)"""
    flat, x = flat.detach().requires_grad_(), x.detach()
    asked = [flat] if i == 0 else [flat, x.requires_grad_()]
    return (*torch.autograd.grad(run(i, flat, x), asked, slope), None)[:2]


# %% [markdown]
# (In the backward pass this computes a part's forward again, from its input, instead of keeping what is inside. That keeps the code short, and section 5 says what it costs and what it saves.)
#
# > **Your turn: 22.2 `stage_one`** (10 min): the lines of one step of stage 1, in disorder. Before you see the next cell.

# %%
def train(stage, start, batches, ranks, n):
    """ZeRO, stage 1 to 3, for the ranks that this process plays -> losses, pieces, bytes held"""
    whole = [[padded(flat, n).clone() for _ in ranks] for flat in start]
    pieces = [[w.view(n, -1)[r] for w, r in zip(ws, ranks)] for ws in whole]
    if stage == 3:  # copies, so that nothing keeps the whole alive
        whole, pieces = [], [[piece.clone() for piece in ps] for ps in pieces]
    optimizers = [torch.optim.AdamW(mine, lr=RATE, eps=EPS) for mine in zip(*pieces)]
    fetch = (lambda i: all_gather(pieces[i])) if stage == 3 else (lambda i: whole[i])
    keep = (lambda found: found) if stage == 1 else reduce_scatter
    losses, grads = [], {}
    for inputs, targets, count in batches:
        give = lambda i, found: grads.update({i: keep(found)})
        losses.append(walk(fetch, give, inputs, targets, count))
        held = {"weights": bytes_of([*whole, *pieces]), "gradients": bytes_of(grads.values())}
        update(pieces, grads, optimizers, reduce_scatter if stage == 1 else lambda found: found)
        for ws, ps in zip(whole, pieces):
            for w, new in zip(ws, all_gather(ps)):
                w.copy_(new)
    return losses, pieces, held | {"optimizer": bytes_of(states_of(optimizers[0]))}


# %%
def update(pieces, grads, optimizers, mine):
    for i, ps in enumerate(pieces):
        for piece, grad in zip(ps, mine(grads.pop(i))):
            piece.grad = grad
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()


def states_of(optimizer):
    """AdamW's two means of every piece, each in a list of one"""
    return [[s[key]] for s in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")]


def bytes_of(lists):
    """Memory of the first rank's tensors; two views of the same memory count once"""
    storages = {t[0].untyped_storage()._cdata: t[0].untyped_storage() for t in lists}
    return sum(storage.nbytes() for storage in storages.values())


# %% [markdown]
# Read it once from the top. In stages 1 and 2 a rank's piece is a *view* of its whole weights, so that updating it updates them, and the last loop fetches what the others have updated. In stage 3 there are no whole weights at all. In stage 1 the whole gradients wait in a dictionary until the backward pass is over; in stages 2 and 3 each is reduced, scattered and forgotten as soon as it is there.
#
# Three ranks, four steps, all three stages, against the judge:

# %%
def dealt(batches, ranks, n):
    """Each rank's rows of each batch, and the batch's count of targets over all ranks"""
    cut = lambda rows: [rows.chunk(n)[r] for r in ranks]
    return [(cut(x), cut(y), int((y != -100).sum())) for x, y in batches]


n = 3
wanted = [torch.cat([p.detach().flatten() for p in part.parameters()]) for part in parts_of(judge)]
by_hand, traffic = {}, {}
for stage in (1, 2, 3):
    sent.clear()
    losses, pieces, held = train(stage, start, dealt(batches, range(n), n), range(n), n)
    whole = [torch.cat(ps)[: len(flat)] for ps, flat in zip(pieces, start)]
    gap = max((a - b).abs().max().item() for a, b in zip(whole, wanted))
    assert all(abs(sum(l).item() - e) < 1e-5 for l, e in zip(losses, expected)) and gap < 2e-6
    by_hand[stage], traffic[stage] = held, sent["numbers"] / STEPS
    print(f"stage {stage}: weights equal to one process's up to {gap:.0e}")

# %% [markdown]
# **Predict.** Plain data parallel training sums gradients around a ring, and each rank sends 2 (n − 1)/n · N numbers a step. How many times as many does it send in stage 1? And in stage 3? (A list of two numbers.)

# %%
guess = None
reveal("22.p2", guess)

# %%
share = (n - 1) / n  # of N: what one all-gather, or one reduce-scatter, makes a rank send
print("bytes held  weights   gradients   optimizer   bytes a parameter   formula   sent a step")
formulas = {1: 8 + 8 / n, 2: 4 + 12 / n, 3: 16 / n}
for stage, held in by_hand.items():
    total, passes = sum(held.values()), traffic[stage] / (share * N)
    print(f"stage {stage} {held['weights']:>11,} {held['gradients']:>11,} {held['optimizer']:>11,} "
          f"{total / N:>19.3f} {formulas[stage]:>9.3f} {passes:>11.2f} (n-1)/n N")
    assert abs(total / N / formulas[stage] - 1) < 0.001
    assert abs(passes - {1: 2, 2: 2, 3: 3}[stage]) < 0.001

# %% [markdown]
# The bytes held are measured on the tensors themselves, and they are the formula's: 8 + 8/n, 4 + 12/n and 16/n bytes a parameter. (A few more: the zeros that fill up.) The traffic is the surprise. A ring's sum *is* a reduce-scatter and an all-gather of gradients. Stages 1 and 2 gather
# weights in the place of gradients, one all-gather for the other, and **save memory without sending a number more**. Only stage 3 pays for what it saves: each part is gathered twice, once forward and once backward, so three passes instead of two, half as much again.
#
# Between stages 1 and 2 there is a difference that this table hides: **accumulation**. With several micro-batches, stage 1 adds up whole gradients and sends them once. Stage 2 has nowhere to keep a whole gradient, and must reduce in *each* micro-batch. (minigpt leaves you the choice: `--accumulate-unsharded` keeps whole gradients, and sends them once.)
#
# **What breaks if** `reduce_scatter` returns a view instead of a copy? No number is wrong, and no test of numbers finds it:

# %%
piece = torch.zeros(9000).chunk(3)[0]
print(f"a third of 9,000 numbers, as a view: {bytes_of([[piece]]):,} bytes stay alive; "
      f"as a copy: {bytes_of([[piece.clone()]]):,}")  # fmt: skip

# %% [markdown]
# The view keeps all of the sum alive, so that stage 2 would save nothing at all. Memory is a result like any other: measure it.
#
# > **Your turn: 22.3 `zero_bytes`** (12 min): bytes and traffic of each stage, with micro-batches.
#
# ### The same on real ranks
#
# Now three processes, each with memory of its own. `walk` and `train` stay as they are, letter by letter. Each process plays one rank, so its lists have one entry. Only the two collectives are new: they send pieces around the ring of lesson 21, and count what they really send. The two texts, `CONSTANTS` and `READY`, are the lines that the script of the ranks has before and after our functions.

# %%
def pass_on(out, into):
    """Send to the right neighbour, receive from the left one"""
    rank, n = dist.get_rank(), dist.get_world_size()
    waiting = dist.isend(out, (rank + 1) % n)
    dist.recv(into, (rank - 1) % n)
    waiting.wait()
    sent["numbers"] += out.numel()


def ring_gather(pieces):
    rank, n = dist.get_rank(), dist.get_world_size()
    places = [torch.empty_like(pieces[0]) for _ in range(n)]
    places[rank].copy_(pieces[0])
    for step in range(n - 1):
        pass_on(places[(rank - step) % n], places[(rank - step - 1) % n])
    return [torch.cat(places)]


# %%
def ring_scatter(wholes):
    rank, n = dist.get_rank(), dist.get_world_size()
    chunks = [chunk.clone() for chunk in padded(wholes[0], n).chunk(n)]
    for step in range(n - 1):
        got = torch.empty_like(chunks[0])
        pass_on(chunks[(rank - step - 1) % n], got)
        chunks[(rank - step - 2) % n] += got
    return [chunks[rank]]


# %%
def real_zero(rank, world, start, batches):
    found = []
    for stage in (1, 2, 3):
        sent.clear()
        mine = dealt(batches, [rank], world)
        losses, pieces, held = train(stage, start, mine, [rank], world)
        found.append([[x.item() for x, in losses], [p for p, in pieces], held, sent["numbers"]])
    return found


# %%
CONSTANTS = f"""
from collections import Counter
from torch.func import functional_call
from minigpt import GPT, ModelConfig, parallel
from minigpt.model import rope_frequencies, rope_table
SHAPE = {SHAPE!r}
T, RATE, EPS, sent = {T}, {RATE}, {EPS}, Counter()
"""
READY = """
all_gather, reduce_scatter = ring_gather, ring_scatter
with torch.device("meta"):
    parts = parts_of(GPT(SHAPE))
rope = rope_table(torch.arange(T), rope_frequencies(SHAPE))
"""

# %%
by_hand_code = (CONSTANTS, parts_of, run, padded, walk, loss_of, slopes_of, train, update,
                states_of, bytes_of, dealt, pass_on, ring_gather, ring_scatter, READY)  # fmt: skip
real = on_ranks(3, real_zero, *by_hand_code, start=start, batches=batches)
for stage in (1, 2, 3):
    losses, pieces, held, numbers = zip(*(of_rank[stage - 1] for of_rank in real))
    whole = [torch.cat(ps)[: len(flat)] for ps, flat in zip(zip(*pieces), start)]
    gap = max((a - b).abs().max().item() for a, b in zip(whole, wanted))
    summed = [sum(of_ranks) for of_ranks in zip(*losses)]
    assert gap < 2e-6 and all(abs(a - b) < 1e-5 for a, b in zip(summed, expected))
    assert list(held) == [by_hand[stage]] * n
    assert all(abs(number / STEPS / traffic[stage] - 1) < 1e-9 for number in numbers)
    print(f"stage {stage}, real: weights equal up to {gap:.0e}; held and sent as in the table")

# %% [markdown] tags=["slide"]
# ### ZeRO
#
# - AdamW works number by number: each rank updates 1/n of the parameters
# - stage 1: optimizer 8/n bytes; stage 2: gradients 4/n; stage 3: weights 4/n
# - sent: 2, 2, 3 passes of (n − 1)/n · N; plain data parallel: 2
# - stages differ in where weights come from, and where gradients go

# %% [markdown]
# ## 3. The engine: FSDP
#
# PyTorch's ZeRO-3 is **FSDP**, fully sharded data parallel ([Zhao et al. 2023](https://arxiv.org/abs/2304.11277)); its second version is the function `fully_shard`. It does what you have just written, with three refinements. It cuts *each parameter along its first dimension*, so that a piece is still some rows of a matrix, with a name. It does not
# compute the forward pass again: it empties the memory of gathered weights, and fills it again for the backward pass. And it gathers ahead, which is section 4. In `minigpt/parallel.py` it is a short loop inside `parallelize`; these are its lines that matter:
#
# ```python
# for part in (*model.blocks, model):              # each block is gathered by itself; the rest with the model
#     fully_shard(part, mesh=mesh, mp_policy=policy)
#     part.set_gradient_divide_factor(1.0)         # sums, not means: the loss is divided already
# ```
#
# > **Predict.** FSDP divides gradients by the number of ranks unless it is told otherwise. Our loss is a sum over this rank's rows, divided by the targets of the *whole* batch. If you forgot that line on 4 ranks, by which factor would plain gradient descent's steps be wrong? And AdamW's? Say it aloud; lesson 08 has the answer.
# >
# > <details><summary>answer</summary>By 1/4, and (nearly) not at all: Adam divides the factor away. So the loss curve does not show the mistake. The gradient norm in the log does, and a clip that no longer clips.</details>
#
# This runs minigpt's own functions on real ranks. A *dispatch mode* is an object that sees every operation before torch runs it; ours notes the collectives and lets all of them pass:

# %%
def collectives():
    """A mode that notes each collective: its kind, and the bytes of its whole tensor"""

    class Notes(TorchDispatchMode):
        log = ()

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.namespace == "c10d":
                kind = func.__name__.split(".")[0].strip("_").removesuffix("_base")
                tensors = [t for t in tree_leaves(args) if isinstance(t, torch.Tensor)]
                self.log += ([kind, max((t.nbytes for t in tensors), default=0)],)
            return func(*args, **(kwargs or {}))

    return Notes()


# %%
def sharded_model(world, precision="fp32", seed=1):
    """minigpt's sharded model: layout, model, what computes its loss, pieces, optimizer"""
    layout = parallel.place("fsdp", (1, world, 1))  # copies, pieces, tensor parallel (lesson 23)
    with torch.device("meta"):
        model = GPT(SHAPE)
    forward = parallel.parallelize(model, layout, precision=precision)
    parallel.fill_weights(model, seed, "cpu")
    pieces = [(p, parallel.local_piece(p)) for p in model.parameters()]  # and this rank's rows
    optimizer = torch.optim.AdamW([local for _, local in pieces], lr=RATE, eps=EPS)
    return layout, model, forward, pieces, optimizer


def loss_and_gradients(rank, world, forward, inputs, targets, precision, notes):
    mine = inputs.chunk(world)[rank], targets.chunk(world)[rank]
    with notes, torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        loss = forward(*mine, reduction="sum") / (targets != -100).sum()
    notes.log += (["backward", 0],)
    with notes:
        loss.backward()
    return loss.detach()


# %%
def steps(rank, world, batches, forward, pieces, optimizer, precision="fp32"):
    """-> losses of the whole batches; of the last step: bytes held, and the log"""
    losses = []
    for inputs, targets in batches:
        notes = collectives()
        loss = loss_and_gradients(rank, world, forward, inputs, targets, precision, notes)
        parallel.hand_over(pieces)  # to each piece its gradient
        optimizer.step()
        held = {"weights": sum(local.nbytes for _, local in pieces),
                "gradients": sum(local.grad.nbytes for _, local in pieces),
                "optimizer": sum(t.nbytes for t, in states_of(optimizer))}  # fmt: skip
        optimizer.zero_grad()
        dist.all_reduce(loss)
        losses.append(loss.item())
    return {"losses": losses, "held": held, "log": list(notes.log)}


# %%
def engine(rank, world, batches, folder):
    """Train, and leave a checkpoint: of every tensor this rank's piece, and where it belongs"""
    layout, model, forward, pieces, optimizer = sharded_model(world)
    found = steps(rank, world, batches, forward, pieces, optimizer)
    tensors = {f"model.{name}": p.detach() for name, p in model.named_parameters()}
    for (name, p), (_, local) in zip(model.named_parameters(), pieces):
        for slot in ("exp_avg", "exp_avg_sq"):
            tensors[f"optim.{name}.{slot}"] = parallel.as_whole(optimizer.state[local][slot], p)
    state = {"step": len(batches)}
    checkpoint.save_pieces(Path(folder), tensors, state, keep=2, group=layout.groups["save"])
    return found


def both_precisions(rank, world, batches):
    return [steps(rank, world, batches, *sharded_model(world, precision)[2:], precision)
            for precision in ("fp32", "bf16")]  # fmt: skip


# %%
work = Path(tempfile.mkdtemp())
ENGINE = CONSTANTS + """
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from minigpt import checkpoint
"""
needs = ENGINE, collectives, sharded_model, loss_and_gradients, steps, states_of
four = on_ranks(4, engine, *needs, batches=batches, folder=str(work / "by_4"))
two, two_bf16 = zip(*on_ranks(2, both_precisions, *needs, batches=batches))
sharded = {2: two, 4: four}  # bf16 is for section 6
one = 16 * N
for world, found in sharded.items():
    gap = max(abs(a - b) for a, b in zip(found[0]["losses"], expected))
    held = [sum(of_rank["held"].values()) for of_rank in found]
    print(f"{world} ranks: losses equal up to {gap:.0e}; bytes held / one process's: "
          + ", ".join(f"{h / one:.4f}" for h in held))  # fmt: skip
    assert gap < 1e-5 and all(abs(h / one * world - 1) < 0.02 for h in held)

# %% [markdown]
# Equal to one process, and each of four ranks held a quarter of it. So the lists, the ring and FSDP are three ways of writing one run. Now the log of rank 0, which is the whole story of a step:

# %%
root, block = 4 * (len(start[0]) + len(start[-1])), 4 * len(start[1])
names = {root: "all but the blocks", block: "a block"}
log = [tuple(note) for note in four[0]["log"]]
for kind, size in log:
    part = names.get(size, "some of the rest")
    print(f"{kind:<15} {size:>6} bytes, {part}" if size else f"--- {kind}")
assert log.count(("allgather", block)) == 2 * SHAPE.layers
assert log.count(("reduce_scatter", block)) == SHAPE.layers
for wanted_kind in ("allgather", "reduce_scatter"):
    size = sum(size for kind, size in log if kind == wanted_kind)
    print(f"{wanted_kind}: {size / 4 / N:.2f} N numbers in all")

# %% [markdown]
# Each block is gathered twice and reduced once: three passes, as by hand. What lies outside the blocks (embedding, last norm, head) is gathered once and kept: the head is the last to run forward and the first to run backward, so that freeing it would only mean to fetch it again. In a large model the blocks are nearly everything.
#
# Look at the backward part once more. The gather of the *next* block stands before the reduce-scatter of the one before. Somebody asks early.

# %% [markdown]
# ## 4. Prefetch: when traffic is free
#
# A gather takes time, and a rank that waits for it computes nothing. The remedy is **prefetch**: ask for the next part's weights when this part *starts* to compute. Our ranks share a few cores, which cannot show what that hides, so here is a small simulator. It assumes: one lane that computes at a constant speed; one lane of network at a constant speed, in the order of asking, without
# latency; at most two parts whole at a time. Weights travel in bf16 (2 bytes), gradients in fp32 (4 bytes). A block of P parameters needs 2 P FLOPs a token forward and 4 P backward.

# %%
def simulate(tokens, layers, P, flops, network, n, ahead=True):
    """A step on one of n ranks -> events (lane, kind, start, end); lane 0 computes, 1 is network"""
    gather, reduce = (size * P * (n - 1) / n / network for size in (2, 4))
    events, net, begun, end = [], 0.0, 0.0, 0.0  # begun, end: of the computation before
    order = ["forward"] * layers + ["backward"] * layers
    for k, kind in enumerate(order):
        asked = max(net, begun if ahead else end)
        net = arrived = asked + gather
        events.append((1, "gather", asked, arrived))
        if k and order[k - 1] == "backward":  # its gradients can go
            events.append((1, "reduce", max(net, end), max(net, end) + reduce))
            net = events[-1][-1]
        begun = max(end, arrived)
        end = begun + (2 if kind == "forward" else 4) * P * tokens / flops
        events.append((0, kind, begun, end))
    events.append((1, "reduce", max(net, end), max(net, end) + reduce))
    return events


# %% [markdown]
# Four blocks of the 7B on 8 H100s of one machine. A large matrix product reaches about 795 TFLOP/s there, NVLink inside a machine carries 450 GB/s into each GPU, and a card of the network between machines, InfiniBand, 50 GB/s ([Bekman 2024](https://github.com/stas00/ml-engineering)). Each rank has 4,096 tokens:

# %%
H100, NVLINK, INFINIBAND = 795e12, 450e9, 50e9  # FLOP/s, bytes/s, bytes/s
P = sum(block_matrices(MODELS["7B"]))
fig, axes = figure(width=7, height=3.6, rows=2, sharex=True)
colors = {"gather": ORANGE, "forward": BLUE, "backward": GREEN, "reduce": PURPLE}
for ax, ahead, title in zip(axes, (False, True), ("ask when you need it", "prefetch")):
    events = simulate(4096, 4, P, H100, NVLINK, 8, ahead)
    busy = sum(stop - begin for lane, _, begin, stop in events if lane == 0)
    last = max(stop for *_, stop in events)
    timeline(ax, events, colors)
    ax.set_yticks([0, 1], ["computes", "network"])
    ax.set_title(f"{title}: {1000 * last:.1f} ms", fontsize=10)
    print(f"{title}: {1000 * last:.1f} ms, of which it computes {busy / last:.0%}")
axes[0].get_legend().remove()
axes[1].legend(loc="upper center", bbox_to_anchor=(0.5, -0.4), ncols=4, frameon=False)
axes[0].set_xlabel("")
show(fig, alt="Two timelines of compute and network lanes. Without prefetch compute waits before "
              "every block; with it, gaps remain only at the very start and the very end.")

# %% [markdown]
# How many tokens does a rank need until the traffic hides? A block's gather brings 2 P bytes, and its forward pass computes 2 P FLOPs *for each token*. Both are proportional to P.
#
# **Predict.** The same machine, and a model whose blocks have four times as many parameters. How many times as many tokens does a rank need, so that prefetch hides its traffic?

# %%
guess = None
reveal("22.p3", guess)

# %% [markdown]
# So only the machine decides, by its ratio of FLOPs to bytes: this is lesson 10's **arithmetic intensity** (FLOPs for each byte that is fetched), with a network in the place of memory. Forward, a rank needs at least flops/network tokens. Backward it needs half as many again: 2 P bytes of weights and 4 P of gradients, while 4 P FLOPs a token are computed. Both times (n − 1)/n, since a rank has its own piece already. Test the formula on the simulator, with many blocks, so that the ends do not matter:

# %%
fig, ax = figure(width=6, height=2.5)
tokens = np.geomspace(250, 130_000, 28)
networks = (("8 ranks, NVLink", NVLINK, 8, BLUE, "o-"),
            ("64 ranks, InfiniBand", INFINIBAND, 64, VERMILLION, "s--"))  # fmt: skip
for name, network, n, color, style in networks:
    enough = 1.5 * H100 / network * (n - 1) / n
    slow = []
    for t in [*tokens, enough]:
        last = max(stop for *_, stop in simulate(t, 60, P, H100, network, n))
        slow.append(last / (60 * 6 * P * t / H100))
    ax.semilogx(tokens, slow[:-1], style, color=color, markersize=3)
    ax.axvline(enough, color=color, linestyle=":")
    at = min(range(len(tokens)), key=lambda k: abs(slow[k] - 7))
    label_end(ax, tokens[at], slow[at], name, color)
    print(f"{name}: the formula says {enough:,.0f} tokens; there a step takes {slow[-1]:.2f} times "
          "its computing")  # fmt: skip
    assert slow[-1] < 1.06
ax.set(xlabel="tokens a rank (dotted: formula)", ylabel="step / its computing", ylim=(0, 12))
show(fig, alt="Time of a step over its computing time against tokens a rank: both lines fall as "
              "one over tokens and bend to one where the formula's dotted line stands.")

# %% [markdown]
# Left of the bend, twice the tokens cost no time at all; the network is what you wait for. Inside one machine a few thousand tokens a rank are enough. Between machines it takes ten times as many, a long micro-batch, and its activations must fit: section 5.
#
# > **Your turn: 22.4 `tokens_to_hide`** (10 min), and **22.5 `order_of_events`** (12 min): from a log, say how far ahead a run prefetches.
#
# Three caveats. Latency, and a computation that slows down while the network uses the same memory, make it worse than drawn; attention's own FLOPs, which need no weights, make it better. The ends of a step, the first gather and the last reduce, never hide. And the second line sends all traffic of a rank through its card, which section 9 takes up again.

# %% [markdown] tags=["slide"]
# ### When is traffic free?
#
# - prefetch: ask for part i + 1 when part i starts
# - forward: 2 P bytes against 2 P FLOPs a token. P cancels: tokens ≥ flops / network
# - backward: 6 P bytes against 4 P FLOPs a token: 1.5 times as many
# - fewer tokens than that: you wait for the network

# %% [markdown]
# ## 5. Activations: keep or compute again
#
# ZeRO divides 16 bytes a parameter by n. It does nothing for the uppermost part of the ledger's bars: each rank needs the activations of *its own* tokens. But nobody says that they must be kept. The backward pass of a block can start from the block's input, and compute the rest again: **activation recomputation** ([Chen et al. 2016](https://arxiv.org/abs/1604.06174)). You have written it already: `walk` keeps one tensor a part. Two
# variants: *full* keeps the input of each block only. *Selective* keeps the results of matrix products and attention, which are dear to compute, and computes norms, nonlinearities and products number by number again, which are cheap. (The name and the idea are from [Korthikanti et al. 2022](https://arxiv.org/abs/2205.05198), who chose another part, the inside of attention, for the same reason: many bytes, few FLOPs.)
#
# **Predict.** A step is one forward and a backward pass of twice its FLOPs. With full recomputation, how many times as many FLOPs of matrix products does it need?

# %%
class Alive(TorchDispatchMode):
    """Bytes alive, of tensors made while it is active: lesson 10's `Watch`, without the traffic"""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = lambda tree: [t for t in tree_leaves(tree) if isinstance(t, torch.Tensor)]
        known = {t.untyped_storage()._cdata for t in tensors((args, kwargs))}
        for storage in {t.untyped_storage() for t in tensors(out)}:
            if storage._cdata not in known:
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self.died, storage.nbytes())
        return out

    def died(self, size):
        self.live -= size


# %%
WIDER = ModelConfig("modern", layers=6, width=96, heads=4, kv_heads=2, head_size=32, mlp_width=272,
                    context=128, vocab_size=256)  # fmt: skip
rows = text[: 8 * 129].view(8, 129)


def measured(activations):
    """-> bytes kept for backward, peak, FLOPs of matrix products, seconds of CPU for a step"""
    model = parallel.parallelize(GPT(WIDER), parallel.Layout(), activations=activations)
    forward = lambda: model(rows[:, :-1], rows[:, 1:])
    with FlopCounterMode(display=False) as counter:
        forward().backward()  # the gradients are there from now on
    with Alive() as alive:
        loss = forward()
        kept = alive.live
        loss.backward()
    times = []
    for _ in range(5):
        begun = time.process_time()
        forward().backward()
        times.append(time.process_time() - begun)
    return kept, alive.peak, counter.get_total_flops(), statistics.median(times)


found = {how: measured(how) for how in ("keep", "selective", "full")}

# %%
guess = None
reveal("22.p4", guess, found["full"][2] / found["keep"][2])

# %%
fig, axes = figure(width=6.5, height=2.2, columns=2)
kept, peak, flops, seconds = (np.array(column) for column in zip(*found.values()))
memory_bars = (kept, "kept for backward"), (peak, "peak of the step")
work_bars = (flops, "FLOPs"), (seconds, "CPU time")
for ax, pairs, title in ((axes[0], memory_bars, "bytes / 1e6"), (axes[1], work_bars, "keep = 1")):
    for k, ((values, label), color, hatch) in enumerate(zip(pairs, (BLUE, ORANGE), ("", "///"))):
        values = values / (1e6 if ax is axes[0] else values[0])
        ax.bar(np.arange(3) + 0.4 * k, values, 0.38, color=color, hatch=hatch, edgecolor="white",
               label=label)  # fmt: skip
        print(label, dict(zip(found, np.round(values, 2).tolist())))
    ax.set_xticks(np.arange(3) + 0.2, list(found))
    ax.set_title(title)
    ax.legend(facecolor="white", edgecolor="white", framealpha=1, fontsize=8)
    ax.margins(y=0.35)
inputs = 4 * WIDER.layers * rows[:, 1:].numel() * WIDER.width
print(f"the inputs of the blocks are {inputs / 1e6:.2f} of the {kept[2] / 1e6:.2f} MB of `full`")
show(fig, alt="Left: bytes kept fall by about half with selective and to a small part with full; "
              "the peak falls less. Right: FLOPs rise only for full, time rises for both.")

# %% [markdown]
# Full recomputation keeps a small part, and pays with a quarter more FLOPs: a second forward pass would be a third, but the last product of each block is not computed again, since no gradient needs its result. (And the head is in no block. The counter does not know this processor's kernel for attention, which is computed again as well.) Selective keeps about half, and not a single product is computed twice. On our processor its time still rises, since work number by number is not cheap here and the bookkeeping is Python. On a GPU, where a
# compiler fuses such work, it should be the smaller price: measure it there. What no variant reduces is the peak's other part: one block's activations while it is at work, and the logits.
#
# What does it buy for large models? The activations of one sequence of 4,096 tokens, all of them, or only the inputs of the blocks; and beside them, on each rank, its part of the 16 bytes a parameter:

# %%
for name in ("7B", "70B"):
    shape = MODELS[name]
    inputs = 4 * shape.layers * shape.context * shape.width
    kept, rest = ledger(shape)["activations"], 16 * parameters(shape)
    print(f"{name}: activations {kept / 1e9:.1f} GB, or {inputs / 1e9:.1f} GB of inputs; of 16 "
          f"bytes a parameter 8 ranks hold {rest / 8e9:.1f} GB each, 64 {rest / 64e9:.1f}")

# %% [markdown]
# The 7B fits on 8 ranks of 80 GB without recomputation. For the 70B neither is enough alone: no number of ranks makes 192.6 GB of activations fit, and on 8 ranks the 138.0 GB of pieces do not fit, whatever is computed again. With both it fits on 64. On the command line: `--parallel fsdp --activations full`.
#
# > **Your turn: 22.6 `cheapest_plan`** (15 min): given a device, choose ranks and recomputation.

# %% [markdown]
# ## 6. Which format where
#
# FSDP decides three formats in one **mixed-precision policy**. The *pieces* are the fp32 master weights of lesson 09, and here they cost 4/n bytes a parameter. They are rounded to bf16 *before* they are gathered, so that half the bytes travel, and the part computes with those. Gradients are *added up in fp32*. Our 2 ranks have trained a second time that way; its log:

# %%
for name, of_rank in (("fp32", two[0]), ("bf16", two_bf16[0])):
    volume = Counter()
    for kind, size in of_rank["log"]:
        volume[kind] += size
    gap = max(abs(a - b) for a, b in zip(of_rank["losses"], expected))
    print(f"{name}: gathers {volume['allgather'] / N:.2f} bytes a parameter, reduces "
          f"{volume['reduce_scatter'] / N:.2f}, keeps {of_rank['held']['weights'] * 2 / N:.2f} in "
          f"pieces; losses off by up to {gap:.0e}")  # fmt: skip

# %% [markdown]
# The gathers halved (they are less than 2 · 4 and 2 · 2 bytes, because what lies outside the blocks is gathered once); the sums did not. Why not add up in bf16 as well, and halve those too? A ring adds one rank after another.
#
# **Predict.** Each of 1,000 ranks has the gradient 1.0. The sum travels around the ring in bf16: 1, 2, 3, … What is it at the end?

# %%
guess = None
reveal("22.p5", guess)

# %%
def ring_sum(gradients, dtype):
    """(n, …) → their sum, one rank after another, rounded after each"""
    total = gradients[0].to(dtype)
    for gradient in gradients[1:]:
        total = (total.float() + gradient.to(dtype).float()).to(dtype)
    return total.double()


ranks = [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
dice = torch.Generator().manual_seed(0)
noise = torch.randn(1024, 3000, generator=dice)
cases = {"all alike": torch.ones(1024, 1), "noise + 1": 1 + noise, "noise": noise}
print("1,000 ranks with 1.0 each:", ring_sum(torch.ones(1000, 1), torch.bfloat16).item())
print("256 + 1 and 256 + 2 in bf16:", (torch.tensor([257.0, 258.0])).bfloat16().tolist())

# %%
fig, ax = figure(width=6, height=2.5)
looks = (VERMILLION, "s--"), (ORANGE, "o-"), (PURPLE, "^-.")
for (name, gradients), (color, style) in zip(cases.items(), looks):
    errors = []
    for n in ranks:
        exact = gradients[:n].double().sum(0)
        short = ring_sum(gradients[:n], torch.bfloat16)
        errors.append(((short - exact).norm() / exact.norm()).item() + 1e-12)
    exact32 = (ring_sum(gradients, torch.float32) - exact).norm() / exact.norm()
    ax.loglog(ranks, errors, style, color=color, markersize=4)
    label_end(ax, ranks[-1], errors[-1], name, color)
    print(f"{name}: off by {errors[2]:.1%} with 8 ranks, {errors[-1]:.1%} with 1,024; "
          f"in fp32 {exact32:.0e}")  # fmt: skip
ax.set(xlabel="ranks", ylabel="relative error in bf16", ylim=(1e-3, 2))
show(fig, alt="Relative error of a sum in bf16 against the number of ranks, both axes logarithmic: "
              "it grows with the ranks for noisy gradients, and jumps up above 256 for equal ones.")

# %% [markdown]
# bf16 has 8 bits of significand, the leading one included. After 256 the next number is 258; 257 lies in the middle and is rounded back, so adding 1 changes nothing. That is lesson 09's **swamping**, once more, and it is worst where the signal is: in what all ranks agree on. On two ranks you would never notice. So test the policy at the number of ranks at which you will use it, or add in fp32, which minigpt always does.
#
# > **Your turn: 22.7 `policy`** (10 min): from the bytes of one step, say which three formats the run uses.

# %% [markdown]
# ## 7. Checkpoints that can be cut anew
#
# In section 3 the four ranks have left a checkpoint. Nobody gathered anything for it: each rank wrote its own pieces into a file of its own, together with a note of where in the whole they belong. Tomorrow you get two ranks, or one. **Resharding** means: each new rank asks which old pieces overlap with its rows, and reads those rows.

# %%
def rows_of(rows, n):
    """Which rows (start, stop) of a matrix each of n ranks holds; the last may hold fewer"""
    size = -(-rows // n)
    return [(min(r * size, rows), min((r + 1) * size, rows)) for r in range(n)]


def reads(rows, old, new):
    """For each of `new` ranks: (old rank, start, stop) of the rows that it reads"""
    return [[(k, max(a, start), min(b, stop)) for k, (a, b) in enumerate(rows_of(rows, old))
             if max(a, start) < min(b, stop)] for start, stop in rows_of(rows, new)]  # fmt: skip


# %%
fig, ax = figure(width=6.5, height=2)
colors, hatches = (BLUE, ORANGE, GREEN, PURPLE), ("", "///", "...", "xxx")
for line, new in enumerate((4, 3, 2, 1)):
    for rank, pieces in enumerate(reads(40, 4, new)):
        for k, a, b in pieces:
            ax.barh(line, b - a, left=a, height=0.6, color=colors[k], hatch=hatches[k],
                    edgecolor="white")  # fmt: skip
        ax.plot([pieces[-1][-1]] * 2, [line - 0.42, line + 0.42], color="black", linewidth=2)
    sources = [[k for k, _, _ in pieces] for pieces in reads(40, 4, new)]
    print(f"read by {new}: from the old pieces {sources}")
ax.set_yticks(range(4), ["4 wrote", "3 read", "2 read", "1 reads"])
ax.set(xlabel="rows of blocks.1.attn.q (black: the end of a rank)", xlim=(0, 40.3))
ax.invert_yaxis()
show(fig, alt="The 40 rows of a matrix as four coloured pieces, ten rows each; below, how three, "
              "two and one rank cut the same rows: their borders need not be the old ones.")

# %%
path = checkpoint.list_checkpoints(work / "by_4")[0]
print(*(f"{file.name}: {file.stat().st_size:,} bytes" for file in sorted(path.iterdir())), sep="\n")
whole, state = checkpoint.load_checkpoint(path)  # one process, from four files
name = "model.blocks.1.attn.q.weight"
files = [safe_open(file, "pt") for file in sorted(path.glob("*.safetensors"))]
old = rows_of(40, 4)
for new in (3, 2, 1):
    for (a, b), pieces in zip(rows_of(40, new), reads(40, 4, new)):
        mine = torch.cat([files[k].get_slice(name)[first - old[k][0] : last - old[k][0]]
                          for k, first, last in pieces])  # fmt: skip
        assert torch.equal(mine, whole[name][a:b])
print("by hand, row by row, on 3, 2 and 1 ranks: the rows of the whole")

# %% [markdown]
# Now go on with training: two ranks continue what four have begun, and one process continues as well. The judge is one process that was never interrupted. minigpt reads with `read_into`: you hand over tensors that know which piece they are, and each rank reads its own.

# %%
def go_on(rank, world, batches, path):
    """Continue from a checkpoint, whatever number of ranks wrote it"""
    layout, model, forward, pieces, optimizer = sharded_model(world, seed=99)  # to be replaced
    tensors, step = {}, checkpoint.check(Path(path))["step"]
    for (name, p), (_, local) in zip(model.named_parameters(), pieces):
        tensors[f"model.{name}"] = p.detach()
        optimizer.state[local] = {"step": torch.tensor(float(step))}
        for slot in ("exp_avg", "exp_avg_sq"):
            optimizer.state[local][slot] = torch.zeros_like(local)
            tensors[f"optim.{name}.{slot}"] = parallel.as_whole(optimizer.state[local][slot], p)
    checkpoint.read_into(Path(path), tensors, layout.groups["save"])
    return steps(rank, world, batches, forward, pieces, optimizer)["losses"]


# %%
later = [batch(step) for step in range(STEPS, 2 * STEPS)]
undisturbed = one_process(GPT(SHAPE, seed=1), batches + later)[STEPS:]
resumed = on_ranks(2, go_on, *needs, batches=later, path=str(path))
gap = max(abs(a - b) for a, b in zip(resumed[0], undisturbed))
print(f"losses of steps {STEPS + 1} to {2 * STEPS}, two ranks after four: off by up to {gap:.0e}")
assert gap < 1e-5 and resumed[0] == resumed[1]
model = GPT(SHAPE)
model.load_state_dict({key.removeprefix("model."): tensor for key, tensor in whole.items()
                       if key.startswith("model.")})  # fmt: skip
with torch.no_grad():
    first = model(*later[0]).item()
off = abs(first - undisturbed[0])
print(f"and one process reads the same weights: its next loss is off by {off:.0e}")
assert off < 1e-5

# %% [markdown]
# It is not bit for bit, as lesson 08 could demand: another number of ranks adds up in another order. With the *same* number of ranks it is, and minigpt's tests demand it. What breaks if each rank reads the file of its own number? With four ranks nothing, and so the mistake sleeps until the day on which you get another number.

# %% [markdown]
# ## 8. What needs the whole
#
# AdamW works number by number, so that pieces do. Not everything does. Whenever you shard something, ask: *which computation reads more than one number of it?* Three answers.
#
# **Initial weights.** No rank can hold the model before it is cut. So it is built on the meta device, cut there, and only then gets memory, and each rank fills in its rows. With which numbers?
#
# **Predict.** Each of 4 ranks draws its 10 rows of a matrix of 40 by 48 itself, with the same seed. What is the rank of the matrix (in the sense of algebra: how many of its rows are independent)?

# %%
guess = None
reveal("22.p6", guess)

# %%
def drawn(seed, rows):
    return torch.randn(rows, 48, generator=torch.Generator().manual_seed(seed))


naive = torch.cat([drawn(1, 10) for rank in range(4)])
name = "blocks.0.attn.q.weight"
each = [initial_values(SHAPE, name, (40, 48), seed=1)[a:b] for a, b in rows_of(40, 4)]
ours = torch.cat(each)
assert torch.equal(ours, GPT(SHAPE, seed=1).get_parameter(name))
fig, axes = figure(width=6.5, height=2.3, columns=2)
titles = "each rank its rows, one seed", "(seed, name), then cut"
for ax, matrix, title in zip(axes, (naive, ours / 0.02), titles):
    heatmap(matrix[:, :16], title=title, ax=ax)
    ax.hlines([9.5, 19.5, 29.5], -0.5, 15.5, color="white")
    ax.set(aspect="auto", xticks=[], xlabel="first 16 columns", ylabel="row")
    print(f"{title}: {torch.linalg.matrix_rank(matrix)} independent rows of {len(matrix)}")
show(fig, alt="Left, four equal stripes below each other: all ranks have drawn the same rows. "
              "Right, a matrix of noise without any repetition.")

# %% [markdown]
# The naive model starts with a quarter of each matrix, four times, and no error says so. With a seed for each rank the rows would differ, and then the *run* would depend on the number of ranks. minigpt draws every parameter whole from its seed and name, one at a time, and cuts: some time is wasted, and every layout starts equal.
#
# **The gradient's norm.** Clipping treats all gradients as one vector. A rank that clips by the norm of its piece scales its piece by a factor of its own, and the vector turns. But squares add up: one number a rank is all that must be exchanged.

# %%
model = GPT(SHAPE, seed=1)
model(*batches[0]).backward()
gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
pieces = padded(gradient, 4).chunk(4)
clip = lambda g, norm: g * min(1.0, 0.5 / norm)
alone = torch.cat([clip(g, g.norm()) for g in pieces])
norm = sum(g.square().sum() for g in pieces).sqrt()  # the sum is an all-reduce of one number
together = torch.cat([clip(g, norm) for g in pieces])
right = clip(padded(gradient, 4), gradient.norm())
for name, g in (("each by its own norm", alone), ("by the norm of all", together)):
    turned = math.degrees(math.acos(min(1.0, F.cosine_similarity(g, right, 0).item())))
    print(f"{name}: length {g.norm():.3f} instead of {right.norm():.3f}, "
          f"turned by {turned:.0f} degrees")  # fmt: skip
assert torch.allclose(together, right, rtol=1e-4, atol=1e-8)

# %% [markdown]
# Four pieces, each 0.5 long, are together √4 · 0.5 = 1 long: the limit has not held.
#
# **Muon** (lesson 11) takes as its step not the momentum of a matrix but an orthogonalised one: all its *singular values*, by which the matrix stretches in its several directions, are made about 1. They are a property of the whole matrix. Orthogonalise the pieces and put them together: each piece is fine, and the whole is not. The way out costs two exchanges. Matrices are dealt out like cards: matrix i goes, with all its pieces, to rank i modulo n, which orthogonalises it, and sends the pieces back.

# %%
def dealt_out(pieces):
    """pieces[r][i]: rank r's rows of matrix i → the same rows of the orthogonalised matrices"""
    n, count = len(pieces), len(pieces[0])
    mine = [[torch.cat([of_rank[i] for of_rank in pieces])  # the first exchange
             for i in range(rank, count, n)] for rank in range(n)]  # fmt: skip
    done = [orthogonalize(torch.stack(matrices)).unbind() for matrices in mine]
    return [[done[i % n][i // n].chunk(n)[rank]  # the second exchange
             for i in range(count)] for rank in range(n)]  # fmt: skip


matrices = torch.randn(7, 40, 48, generator=torch.Generator().manual_seed(2)) ** 3
pieces = [[matrix.chunk(4)[rank] for matrix in matrices] for rank in range(4)]
whole = orthogonalize(matrices)
back = dealt_out(pieces)
again = torch.stack([torch.cat(rows) for rows in zip(*back)])
torch.testing.assert_close(again, whole, rtol=0, atol=1e-5)
apart = torch.cat([orthogonalize(piece[None])[0] for piece in matrices[0].chunk(4)])
first = matrices[0] / matrices[0].norm()
for name, matrix in (("as it comes", first), ("by pieces", apart), ("whole", whole[0])):
    values = torch.linalg.svdvals(matrix)
    print(f"{name:<12} singular values from {values[-1]:.3f} to {values[0]:.3f}")

# %% [markdown]
# In the engine this is `SharedMuon`, and both exchanges are all-to-alls. Each matrix crosses the network twice, in pieces, and no rank does the work of another: had every rank gathered every matrix, each would have orthogonalised all of them.
#
# > **Your turn: 22.8 `clipped_pieces`** (10 min): find three bugs in sharded clipping, and mend them.

# %% [markdown] tags=["slide"]
# ### Ask of every computation: does it read more than one number?
#
# - AdamW: no. Pieces are enough
# - initial weights: drawn whole from (seed, name), then cut
# - the gradient's norm: sum of squares, one number a rank
# - Muon: the whole matrix, on one rank each, and two exchanges

# %% [markdown]
# ## 9. The command, and two kinds of network
#
# All of it is one flag:
#
# ```
# torchrun --nproc-per-node 2 -m minigpt pretrain --parallel fsdp …
# ```
#
# Here is the same run twice: by torchrun on two ranks, and in this process, alone. It uses Muon, so that the exchange is tested on real ranks, too.

# %%
(work / "text.txt").write_text(book[:40_000].decode(errors="ignore"), encoding="utf-8")
(work / "val.txt").write_text(book[40_000:].decode(errors="ignore"), encoding="utf-8")
raw = DataConfig(text=(str(work / "text.txt"),), val_text=str(work / "val.txt"))
prepare(raw, work / "data", 300, workers=1, say=lambda line: None)
shape = dict(layers=3, width=48, heads=2, kv_heads=1, head_size=20, mlp_width=112, context=40)
optim = dict(steps=8, batch_tokens=12 * 40, optimizer="muon", matrix_lr=0.02, lr=0.003)
other = dict(device="cpu", precision="fp32", compile="off", samples=0, eval_every=8, save_every="0")
flags = [f"--{key.replace('_', '-')}={value}" for key, value in (shape | optim | other).items()]
torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
pretrain = ["-m", "minigpt", "pretrain", "--parallel=fsdp", f"--data={work / 'data'}",
            f"--out={work / 'run'}", *flags]  # fmt: skip
environment = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
said = subprocess.run(torchrun + pretrain, capture_output=True, text=True, env=environment)
assert said.returncode == 0, said.stdout[-1500:] + said.stderr[-1500:]

# %%
tiny = preset("tiny")
config = RunConfig(replace(tiny.model, **shape), DataConfig(data=str(work / "data")),
                   replace(tiny.optim, **optim),
                   replace(tiny.train, **other, out=str(work / "alone")))  # fmt: skip
t, alone = loop.setup(config, say=lambda line: None), []
while t.step < t.steps:
    loss = loop.forward_backward(t, loop.next_batch(t))
    norm = loop.optimizer_step(t)
    t.step += 1
    alone.append((float(loss), float(norm)))
lines = map(json.loads, (work / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
ranks = [(row["train_loss"], row["grad_norm"]) for row in lines if "train_loss" in row]
gaps = np.abs(np.array(ranks) - np.array(alone)).max(axis=0)
print(f"{len(ranks)} steps on two ranks: losses off by up to {gaps[0]:.0e}, norms by {gaps[1]:.0e}")
assert len(ranks) == len(alone) and gaps.max() < 1e-4

# %% [markdown]
# Ranks on one machine are well connected, machines to each other ten times worse (section 4). With **HSDP**, hybrid sharding, the pieces stay inside a machine: each machine holds one whole copy in pieces, and only gradients, already cut into pieces, are added up among machines. In minigpt it is `--replicate N`, and the mesh has two dimensions, replicate × shard. How much does it save? What passes through one card of the slow network in a step of the 7B, on 8 machines with 8 GPUs and 8 cards each, depends on how the rings lie. One ring over all 64 ranks moves at the pace of its slowest link. Or eight rings, each over all ranks but another card, with an eighth of the numbers each (lesson 21):

# %%
N7 = parameters(MODELS["7B"])
everywhere = (2 + 2 + 4) * N7 * 63 / 64  # weights twice in bf16, gradients in fp32
hybrid = 2 * 4 * (N7 / 8) * 7 / 8  # a ring's sum of an eighth of the gradients over 8 machines
ways = (("fsdp, one ring of 64", everywhere, 64), ("fsdp, eight rings", everywhere / 8, 64),
        ("hsdp, 8 × 8", hybrid, 8))  # fmt: skip
for name, size, shards in ways:
    print(f"{name:<21} {size / 1e9:>5.1f} GB a step through a card, "
          f"{size / INFINIBAND:.2f} s; {16 * N7 / shards / 1e9:>4.1f} GB held")  # fmt: skip

# %% [markdown]
# So ask how your library lays its rings before you believe a factor of nine. Against good rings HSDP saves few bytes. What it always changes is *which* traffic crosses: the gathers, for which a forward pass waits, stay inside the machine, and between machines a ring has 8 ranks instead of 64, once around 7 delays instead of 63. The price is eight times the memory.
#
# **What would differ on GPUs.** The collectives are NCCL's, and run beside the computation, on the device's own streams; gloo works on the processor's cores. `all_gather` and `reduce_scatter` take the same bytes. Sums come in another order, so that results agree to rounding, as here.
#
# > **Your turn: 22.9 `shard_the_ema`** (20 min), unaided: the assistant stays off. A colleague adds a running mean of the weights (lesson 11) to a sharded run.

# %% [markdown]
# ## 10. One paper
#
# **[Rajbhandari et al. 2020](https://arxiv.org/abs/1910.02054), ZeRO: Memory Optimizations Toward Training Trillion Parameter Models.** Read figure 1 and sections 5 and 7. *What was held fixed* in figure 1? (The model; Adam with K = 12 bytes of state a parameter, the fp32 copy of the weights among them; the number of ranks. Activations are not in it.) *What would change your mind* about stage 3? (Tokens
# a rank and the network: section 4.) *Which number can you recompute?* Figure 1: 7.5 billion parameters on 64 ranks need 120 GB each, then 31.4, 16.6 and 1.9:

# %%
parameters_, ranks_ = 7.5e9, 64
bytes_ = {"baseline": 2 + 2 + 12, "stage 1": 2 + 2 + 12 / ranks_,
          "stage 2": 2 + (2 + 12) / ranks_, "stage 3": (2 + 2 + 12) / ranks_}  # fmt: skip
figure_1 = {"baseline": 120, "stage 1": 31.4, "stage 2": 16.6, "stage 3": 1.9}
for name, size in bytes_.items():
    gigabytes = size * parameters_ / 1e9
    print(f"{name:<9} {size:>7.3f} bytes a parameter, {gigabytes:>6.1f} GB; "
          f"the paper: {figure_1[name]}")  # fmt: skip
    assert abs(gigabytes - figure_1[name]) < 0.06

# %% [markdown]
# Their 16 bytes are spent otherwise than ours: weights and gradients in fp16, 2 bytes each, and 12 in the optimizer, where the master copy is. The sum is the same, and so is stage 3.
#
# ## Summary
#
# 1. A parameter costs 16 bytes in fp32, of which 4 are the weight. Activations cost by the token, and ZeRO does not divide them.
# 2. AdamW works number by number, so each rank updates its piece. Stages 1 and 2 send what plain data parallel training sends; stage 3 half as much again. With micro-batches stages 2 and 3 send more.
# 3. Prefetch hides the traffic if a rank has enough tokens: 1.5 times FLOPs over bytes a second, whatever the size of the model.
# 4. Gather in bf16, add up in fp32, keep the master in pieces. Recompute when tokens do not fit.
# 5. Before you shard a computation, ask whether it reads more than one number: initial weights, the norm, Muon.
#
# Next: lesson 23 cuts the *computation*: one matrix, and the stack of layers.

# %% tags=["timing"]
shutil.rmtree(work, ignore_errors=True)
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
