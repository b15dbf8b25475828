# %% [raw]
# title = "Tensor and pipeline parallel"
# question = "How do you split one layer, or the stack of layers, over devices?"
# able = [
#   "cut a layer's matrices so that ranks compute it together with one sum, and say which gradients need another",
#   "compute the loss over a vocabulary that no rank holds whole, and share out what tensor parallelism leaves whole",
#   "write the schedule of a pipeline, and predict its bubble and what it keeps in memory",
#   "pass keys and values around a ring, and send tokens to experts on other ranks and back",
#   "place the dimensions of a mesh on fast and slow links, and recompute a published layout",
# ]
# needs = ["token", "parameter", "context", "FLOP", "softmax", "cross-entropy", "gradient", "autograd", "backward pass", "activations", "attention weights", "causal mask", "head", "grouped-query attention", "block", "MLP", "residual stream", "RMSNorm", "QK-norm", "SwiGLU", "weight tying", "micro-batch", "gradient accumulation", "online softmax", "kernel fusion", "expert", "router", "mixture of experts", "load balance", "rank of a process", "collective", "all-reduce", "reduce-scatter", "all-gather", "all-to-all", "ring all-reduce", "overlap", "sharding", "FSDP"]
# reading = 90
# exercises = 135
# route = "further"
# paper = "Narayanan et al. 2021, Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM, arXiv 2104.04473"
#
# [teaches]
# "tensor parallelism" = "Cutting the matrices of a layer over ranks, so that each computes with its own part and a sum puts the result together."
# "column parallel" = "A product whose matrix is cut along its outputs: each rank gets some columns of the result, and nothing need be sent."
# "row parallel" = "A product whose matrix is cut along its inputs: each rank gets a part of every number of the result, and a sum over ranks completes it."
# "sequence parallelism" = "Cutting what tensor parallelism leaves whole, the norms and the residual stream, by position: a reduce-scatter and an all-gather take the place of each all-reduce."
# "pipeline parallelism" = "Cutting the stack of layers into stages, one a rank, through which micro-batches pass one behind the other."
# stage = "The consecutive layers that one rank of a pipeline holds."
# bubble = "The share of their time in which the ranks of a pipeline wait, because the first or last micro-batches have not reached them or have passed."
# GPipe = "The pipeline schedule in which every rank does all forward passes of a batch before its first backward pass."
# 1F1B = "One forward, one backward: the pipeline schedule in which a rank goes backward as soon as it can, so that it keeps few micro-batches."
# "context parallelism" = "Cutting a sequence over ranks by position, also inside attention."
# "ring attention" = "Attention over a sequence that is cut over ranks: keys and values travel around a ring, and an online softmax takes them in slice by slice."
# "expert parallelism" = "Laying the experts of a mixture on different ranks: tokens are sent to their experts and the answers back, each by an all-to-all."
# mesh = "The ranks as a grid with named dimensions; the ranks along one dimension talk to each other for one purpose."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners can derive every way of splitting a model from one question, "what does this rank need that it
# does not hold?", and can count what the answer costs. **Timing** (150 min). Before class: 23.1. In class: section 1
# with its predictions 30 · exercise 23.2 10 · section 2 15 · section 3 with both predictions 25 · exercise 23.5 10 ·
# section 4 20 · section 5 10 · section 6 20 · discussion 10. Homework: the other exercises, sections 7 and 8.
#
# **Two misconceptions.** *"Tensor parallelism splits the batch of a layer's work, so it works over any network."*
# Ask: how many times in a layer must all ranks have met before one of them can go on? *"1F1B has a smaller bubble
# than GPipe."* Ask: in which moment does the last stage begin its first backward pass in each of them, and when does
# the first stage end its last one?
#
# **Discuss.** You have two machines with eight GPUs each, and a model whose layers fit on four GPUs. Which dimension
# goes between the machines, and what would you measure to be sure? · The loss of a run is right to the last digit on
# one GPU and on eight, and after a week the eight-GPU run is worse. Which part of this lesson would you look at
# first?

# %% tags=["setup"]
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from matplotlib.patches import Rectangle
from torch import nn

# %%
from minigpt import GPT, ModelConfig, TrainConfig
from minigpt.classroom import on_ranks, reveal, show
from minigpt.classroom.ranks import timeline
from minigpt.classroom.viz import BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION
from minigpt.classroom.viz import figure, heatmap
from minigpt.config import UserError
from minigpt.model import Block, rope_frequencies, rope_table
from minigpt.moe import MoE
from minigpt.parallel import Layout, mesh_sizes

started = time.perf_counter()
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")

# %% [markdown]
# *Four questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>21: what has each rank after a reduce-scatter, and after an all-gather?</summary>After a reduce-scatter: one
# part of the sum over all ranks. After an all-gather: the parts of all ranks, side by side. One after the other they
# are an all-reduce.</details>
# <details><summary>22: what does FSDP send in every layer, and does it depend on the batch?</summary>The layer's weights, and its
# gradients. That depends on the parameters only, not on how many tokens a rank reads.</details>
# <details><summary>10: a running maximum grows from 2 to 5. What happens to the running sum of an online softmax?</summary>It is
# multiplied by exp(2 − 5), since each of its terms was relative to the old maximum.</details>
# <details><summary>20: how many times does an expert run in one forward pass of its layer?</summary>Once, on all tokens that chose
# it, gathered into one batch.</details>

# %% [markdown]
# > **Try first: 23.1 `which_cut`** (8 min), before you read on. The exercises are in
# > `exercises/23_tensor_and_pipeline_parallel.ipynb`; `python3 course.py start 23` makes a copy for you in `my/`.
#
# Lesson 21 cut the batch, lesson 22 the storage. In both every rank still computed *whole layers*: FSDP fetches all
# the weights of a layer before it uses them. That has three limits. A layer must fit. A batch must have a sequence
# for every rank. And in the time of a layer, its weights must come through the network.
#
# What is left to cut is the computation itself. There are four ways, and each is one section: the *matrices* of a
# layer, the *stack* of layers, the *sequence*, the *experts*. One question finds all of them: **what does this rank
# need that it does not hold?**
#
# ## 1. Cutting a matrix
#
# A product Y = X A can be cut in two ways. Cut A between its columns, and each rank computes some columns of Y from
# all of X. This is **column parallel**. Cut A between its rows, and each rank needs only the matching columns of X,
# but what it computes is a part of *every* number of Y, a summand: Y is the sum over the ranks. This is **row
# parallel**.
#
# As in lessons 21 and 22, first as a list with an entry for each rank:

# %%
n, (B, T, C, M) = 2, (3, 24, 48, 112)  # ranks; sequences, tokens, width, width of the MLP


def normal(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def cut(t, n, dim):
    """-> n equal parts along a dimension, one a rank"""
    return [part.clone() for part in t.chunk(n, dim)]


def all_reduce(parts):
    """A list with an entry for each rank -> the same, every entry the sum"""
    return [sum(parts) for _ in parts]


X, A = normal(B, T, C, seed=1), normal(C, M, seed=2)
by_columns = [X @ a for a in cut(A, n, 1)]  # nothing is sent; each (B, T, M / n)
by_rows = [x @ a for x, a in zip(cut(X, n, -1), cut(A, n, 0))]  # each (B, T, M), a summand
torch.testing.assert_close(torch.cat(by_columns, -1), X @ A)
torch.testing.assert_close(all_reduce(by_rows)[1], X @ A, rtol=1e-4, atol=1e-4)
print("by columns:", *(tuple(y.shape) for y in by_columns))
print("by rows:   ", *(tuple(y.shape) for y in by_rows))

# %% [markdown]
# Look at the shapes: what column parallel *leaves* on a rank, some columns of its result, is what row parallel
# *needs*. So put one behind the other, and nothing has to be sent in between. An MLP is exactly such a pair. A
# nonlinearity sits in the middle, and it does not mind: it works number by number, and each rank has all of its own
# numbers. (A SwiGLU has two first matrices, gate and up. Both are cut by columns, and its product works number by
# number, too.)
#
# **Predict.** A block is attention, then an MLP. With its matrices cut over ranks in the best way, how many times in
# a forward pass do the ranks have to talk?

# %%
guess = None
reveal("23.p1", guess)

# %%
def draw(ax, x, width, along, name):
    """A matrix as a box; along: the direction in which its parts lie, or "sum", or "" if whole"""
    for i, color in enumerate((BLUE, ORANGE) if along else ("#c8c8c8",)):
        w, h = width / (1 + (along == "columns")), 1.6 / (1 + (along == "rows"))
        left = x + i * w * (along == "columns") + 0.25 * i * (along == "sum")
        low = 1.6 - h * (1 + i * (along == "rows")) - 0.25 * i * (along == "sum")
        ax.add_patch(Rectangle((left, low), w, h, facecolor=color, edgecolor="white",
                               hatch=("", "///")[i]))  # fmt: skip
    ax.text(x + width / 2, 1.8, name, ha="center", fontsize=9)

# %%
fig, ax = figure(width=7, height=1.9)
boxes = ((0, 1.2, "", "X"), (2, 1.6, "columns", "A"), (4.4, 1.6, "columns", "silu(X A)"),
         (6.8, 1.2, "rows", "D"), (8.8, 1.2, "sum", "summands"), (11.2, 1.2, "", "Y"))  # fmt: skip
for box in boxes:
    draw(ax, *box)
for x, sign in ((1.6, "·"), (4, "→"), (6.4, "·"), (8.4, "→"), (10.75, "Σ")):
    ax.text(x, 0.7, sign, ha="center", fontsize=14)
ax.set(xlim=(-0.2, 12.6), ylim=(-0.5, 2.4))
ax.axis("off")
show(fig, alt="X, whole on both ranks, times A cut by columns gives a hidden layer cut by "
              "columns; times D cut by rows it gives two summands of full size, and their sum is "
              "Y.")

# %% [markdown]
# Two sums: one at the end of attention, one at the end of the MLP. This is the design of [Shoeybi et al.
# 2019](https://arxiv.org/abs/1909.08053) (Megatron-LM, section 3), **tensor parallelism**. Attention fits the same
# scheme, since its heads do not mix until the last matrix: cut q, k and v by columns, that is by *heads*, and the
# output matrix by rows. Norms and the residual stream stay whole on every rank.
#
# Notice what a rank's part of a block is: a block with fewer heads and a narrower MLP. No new code is needed to
# compute it. Only the weights must be cut at the right places (`nn.Linear` stores its matrix as (outputs, inputs), so
# columns are dimension 0):

# %%
CUT = {"q": 0, "k": 0, "v": 0, "gate": 0, "up": 0, "out": 1, "down": 1}  # dimension; norms: none


def part_of_block(block, c, rank, n):
    """This rank's part of a block: the same code with fewer heads and a narrower MLP"""
    smaller = dict(heads=c.heads // n, kv_heads=c.kv_heads // n, mlp_width=c.mlp_width // n)
    part = Block(replace(c, **smaller), 0)
    for (name, own), whole in zip(part.named_parameters(), block.parameters(), strict=True):
        dim = CUT.get(name.split(".")[-2])
        own.data.copy_(whole.data if dim is None else whole.data.chunk(n, dim)[rank])
    return part


SHAPE = ModelConfig("modern", layers=3, width=C, heads=4, kv_heads=2, head_size=20, mlp_width=M,
                    context=T, vocab_size=320, tied=False)  # fmt: skip
gpt = GPT(SHAPE, seed=7)
block = gpt.blocks[0]
for number, p in enumerate(block.parameters()):  # so large that no mistake is too small to see
    p.data = p.data + 0.15 * normal(*p.shape, seed=30 + number)
rope = rope_table(torch.arange(T), rope_frequencies(SHAPE))
parts = [part_of_block(block, SHAPE, rank, n) for rank in range(n)]

# %%
with torch.no_grad():
    whole = block(X, rope, None, None, None)
    y = X + all_reduce([part.attn(part.norm1(X), rope, None, None, None) for part in parts])[0]
    y = y + all_reduce([part.mlp(part.norm2(y)) for part in parts])[0]
print(f"two sums, and the block is equal: largest difference {(y - whole).abs().max():.0e}")
assert (y - whole).abs().max() < 1e-4

# %% [markdown]
# **What breaks if** you cut the MLP the other way round, first by rows, then by columns? Then the hidden layer
# arrives as summands, and the nonlinearity of a sum is not the sum of the nonlinearities. You would have to add up
# *before* it, and gather the columns after:

# %%
with torch.no_grad():
    summands = [x @ w.T for x, w in zip(cut(X, n, -1), cut(block.mlp.up.weight, n, 1))]
    wrong = sum(F.silu(h) for h in summands)
    right = F.silu(sum(summands))
print(f"silu of each summand, added up: off by {(wrong - right).abs().max():.1f} "
      f"where the right numbers go up to {right.abs().max():.1f}")  # fmt: skip
assert (wrong - right).abs().max() > 0.1

# %% [markdown]
# How many ranks can share a layer? At most as many as it has heads, and with grouped queries as many as heads of keys
# and values. Ask the engine for more, and it says which number does not divide. (One can go on by giving several
# ranks a copy of the same key and value head.)

# %%
try:
    mesh_sizes(TrainConfig(parallel="fsdp", tp=4), SHAPE, world=4)
except UserError as error:
    print(error)

# %% [markdown]
# > **Your turn: 23.2 `row_parallel`** (10 min): a layer with a bias, and a mistake.
#
# ### Backward
#
# Now the gradient. Every rank holds a copy of X, uses it for its own columns, and backward gives each rank a gradient
# of *its* copy. What is the gradient of X itself? X was used twice, once on each rank, so by the chain rule the two
# contributions add up:

# %%
whole = X.clone().requires_grad_()
block.mlp(whole).square().sum().backward()
copies = [X.clone().requires_grad_() for _ in range(n)]
y = all_reduce([part.mlp(x) for part, x in zip(parts, copies)])[0]
y.square().sum().backward()
size = whole.grad.abs().max()
for rank, copy in enumerate(copies):
    gap = (copy.grad - whole.grad).abs().max() / size
    print(f"rank {rank}: its gradient of X is off by {gap:.0%}")
total = sum(copy.grad for copy in copies)
print(f"their sum is off by {(total - whole.grad).abs().max() / size:.0e}")
assert torch.allclose(total, whole.grad, rtol=1e-3, atol=1e-4 * size)

# %% [markdown]
# So there is a pair of operations around every pair of matrices. Shoeybi et al. call them f and g, two *conjugate*
# operators:
#
# | | forward | backward |
# |---|---|---|
# | f, where the ranks part | nothing | all-reduce of the gradient |
# | g, where they meet | all-reduce of the output | nothing |
#
# Each is the other one turned round: a copy forward is a sum backward, and a sum forward is a copy backward. On real
# ranks autograd does not know that the other process has used its own copy of X, so you have to tell it. `Enter` is
# f, `Leave` is g:

# %%
class Enter(torch.autograd.Function):
    """Where ranks part: forward nothing, backward the sum over ranks"""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return counted_all_reduce(grad)


class Leave(torch.autograd.Function):
    """Where they meet: forward the sum over ranks, backward nothing"""

    @staticmethod
    def forward(ctx, x):
        return counted_all_reduce(x)

    @staticmethod
    def backward(ctx, grad):
        return grad


# %%
def counted_all_reduce(t):
    t = t.contiguous().clone()
    dist.all_reduce(t)
    handed_over.append(t.numel() * t.element_size())
    return t


def tp_block(rank, world, shape, weights, x, target):
    """One block on all ranks, with f and without -> output, gradients, bytes handed over"""
    c, found = ModelConfig(**shape), {}
    whole = Block(c, 0)
    whole.load_state_dict(weights)
    rope = rope_table(torch.arange(x.shape[1]), rope_frequencies(c))
    for name, enter in (("f and g", Enter.apply), ("g only", lambda t: t)):
        part = part_of_block(whole, c, rank, world)
        handed_over.clear()
        y = x + Leave.apply(part.attn(enter(part.norm1(x)), rope, None, None, None))
        y = y + Leave.apply(part.mlp(enter(part.norm2(y))))
        (y - target).square().mean().backward()
        grads = {name: p.grad for name, p in part.named_parameters()}
        found[name] = {"y": y, "grads": grads, "bytes": sum(handed_over)}
    return found

# %% [markdown]
# Two processes. `on_ranks` sends functions and classes there as text, runs them under torchrun and brings back what
# each rank returned (`f"{CUT = }"` is the text of the line that defines `CUT`; the list `handed_over`, in which each
# rank notes what it sums, is a line of `IMPORTS`):

# %%
IMPORTS = """
from dataclasses import replace
from minigpt import GPT, ModelConfig, parallel
from minigpt.model import Block, rope_frequencies, rope_table
handed_over = []
"""
target = normal(B, T, C, seed=3)
found = on_ranks(n, tp_block, IMPORTS, f"{CUT = }", part_of_block, counted_all_reduce,
                 Enter, Leave, shape=asdict(SHAPE), weights=block.state_dict(), x=X,
                 target=target)  # fmt: skip
block.zero_grad()
y = block(X, rope, None, None, None)
(y - target).square().mean().backward()
for name in found[0]:
    gap = max((rank[name]["y"] - y).abs().max().item() for rank in found)
    print(f"{name}: the output is off by {gap:.0e}")
    assert gap < 1e-4
formula = 4 * B * T * C * 4  # two sums forward, two backward, of (B, T, C) in fp32
assert found[0]["f and g"]["bytes"] == formula
print(f"bytes that a rank hands to all-reduces in a layer: {formula:,}, by formula and counted")

# %% [markdown]
# The output is right both times. And the gradients? For each parameter, the largest error relative to the largest
# gradient, on the worse rank; a cut matrix is compared with its part of the whole gradient:

# %%
def errors(kind, add_up=()):
    """-> {parameter: relative error of its gradient}; add_up: layers whose gradients are summed"""
    result = {}
    for name, p in block.named_parameters():
        dim = CUT.get(name.split(".")[-2])
        grads = [rank[kind]["grads"][name] for rank in found]
        grads = all_reduce(grads) if name.split(".")[-2] in add_up else grads
        rights = [p.grad] * n if dim is None else cut(p.grad, n, dim)
        gap = max((g - r).abs().max().item() for g, r in zip(grads, rights))
        result[name.removesuffix(".weight")] = gap / p.grad.abs().max().item()
    return result


# %%
HEADS = "q_norm", "k_norm"
fig, ax = figure(width=6.6, height=2.9)
arms = ("g only", (), VERMILLION, "x"), ("f and g", (), BLUE, "o"), ("f and g", HEADS, GREEN, "^")
for at, (kind, add_up, color, mark) in enumerate(arms):
    found_errors = errors(kind, add_up)
    label = kind + ", q_norm and k_norm added up" * bool(add_up)
    ax.semilogy(found_errors.keys(), [max(e, 1e-8) for e in found_errors.values()], mark,
                color=color, label=label, markersize=8 - 2 * at, mfc="none")  # fmt: skip
for label in ax.get_xticklabels():
    label.set(rotation=35, ha="right", rotation_mode="anchor")
ax.set(ylabel="error / largest gradient")
fig.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
show(fig, alt="Relative error of each gradient of a block. Without f most are off by a half or "
              "more; with f and g all are near zero but q_norm and k_norm, and these too once "
              "they are summed.")

# %%
with_f, without = errors("f and g"), errors("g only")
print("wrong without f:", ", ".join(name for name, e in without.items() if e > 1e-3))
print("wrong with f and g:", ", ".join(name for name, e in with_f.items() if e > 1e-3))
assert {name for name, e in with_f.items() if e > 1e-3} == {"attn.q_norm", "attn.k_norm"}
assert max(errors("f and g", HEADS).values()) < 1e-3
too_many = errors("f and g", (*HEADS, "norm1", "norm2"))
off = {name: f"{e:.0%} off" for name, e in too_many.items() if e > 1e-3}
print("all whole ones added up:", off)
first, second = (rank["g only"]["grads"]["norm1.weight"] for rank in found)
apart = (first - second).norm() / first.norm()
print(f"without f, the two ranks' gradients of norm1 differ by {apart:.0%} of their length")

# %% [markdown]
# Two things to remember, since neither shows in the loss of the first step.
#
# **Without f** the forward pass is exact, and most gradients are wrong: whatever lies before a point where the ranks
# part hears from one rank only. Nothing raises. And since the ranks' gradients of a norm differ, so do its copies
# after one step of the optimizer: from then on they are two models.
#
# **q_norm and k_norm** are wrong even with f and g. Their gain has a number for each dimension of a head, the same
# for all heads. It is a whole parameter on every rank, but it works on *cut* activations: each rank knows the
# gradient from its own heads. So sum it over the ranks before the optimizer sees it. The rule: **a whole parameter
# that works on cut activations needs a sum; one that works on whole activations does not, for there f has added up
# already.** Summing both kinds is another mistake, as the last line but one shows: then the norms' gradients come out
# n times too large, here twice.
#
# > **Your turn: 23.3 `needs_a_sum`** (10 min), best after section 2: the same question for every parameter of a block.

# %% [markdown]
# ### The vocabulary
#
# The head is often the largest matrix of a GPT. Cut it by columns, that is by *vocabulary*: each rank has the logits
# of its own tokens. Gathering them would send V numbers for each position, and the loss needs far less. Per position,
# it is
#
# $$\text{loss} = \log \sum_v e^{z_v} - z_{\text{target}} = \text{max} + \log \sum_v e^{z_v - \text{max}} - z_{\text{target}}$$
#
# **Predict.** How many numbers for each position must the ranks add up or compare, in place of the V logits?

# %%
guess = None
reveal("23.p2", guess)

# %%
def vocab_parallel_loss(parts, targets):
    """Logits (N, V / n) of each rank -> (N,) the loss, equal on all ranks"""
    size = parts[0].shape[-1]
    top = torch.stack([z.amax(-1) for z in parts]).amax(0)  # all-reduce with max
    total = all_reduce([torch.exp(z - top[:, None]).sum(-1) for z in parts])[0]
    picked = []
    for rank, z in enumerate(parts):  # the target's logit lies on one rank, the others give 0
        place = targets - rank * size
        mine = (place >= 0) & (place < size)
        z_target = z.gather(1, place.clamp(0, size - 1)[:, None])[:, 0]
        picked.append(torch.where(mine, z_target, 0.0))
    return top + torch.log(total) - all_reduce(picked)[0]


logits, targets = 9 * normal(70, 320, seed=4), torch.arange(70) * 37 % 320
logits[5] += 200  # exp of this alone would overflow
ours = vocab_parallel_loss(cut(logits, 4, 1), targets)
torch.testing.assert_close(ours, F.cross_entropy(logits, targets, reduction="none"))
print("equal to F.cross_entropy; numbers sent for a position: 3 instead of", logits.shape[1])
size = 8192 * 128256 * 4  # Llama 3 (Grattafiori et al. 2024), 8,192 positions, fp32
print(f"all logits of such a sequence: {size / 1e9:.1f} GB, on each of 8 ranks {size / 8e9:.1f} GB")

# %% [markdown]
# Three numbers, whatever the size of the vocabulary, and no rank ever holds a whole row of logits. For a large
# vocabulary the memory matters as much as the traffic. The embedding, at the other end, is cut by vocabulary as well:
# each rank looks up the tokens that it has, takes zeros for the others, and a sum puts the vectors together.
#
# > **Your turn: 23.4 `vocab_parallel_gradient`** (15 min): what backward has to send. (A surprise.)

# %% [markdown] tags=["slide"]
# ### One layer on n ranks
#
# - columns, then rows: one sum for attention, one for the MLP; the same two backward
# - f: copy forward, sum backward; g: sum forward, copy backward
# - a whole parameter on cut activations (q_norm, k_norm) needs a sum of its gradient
# - loss over a cut vocabulary: max, sum of exp, target's logit; three numbers a position

# %% [markdown]
# ## 2. Cutting what was left whole
#
# Tensor parallelism leaves the norms, dropout and the residual stream whole: every rank computes the same, and keeps
# the same, n times over. They work position by position, so they can be cut by *position*: this is **sequence
# parallelism** ([Korthikanti et al. 2022](https://arxiv.org/abs/2205.05198)). On the way into attention or the MLP
# every rank needs all positions, so gather; on the way out, a rank needs only its own positions of the sum. A sum of
# which everyone gets a part is a reduce-scatter.
#
# **Predict.** A ring all-reduce is replaced by a reduce-scatter and an all-gather. Does a rank send more bytes,
# fewer, or the same? (more, fewer or same)

# %%
guess = None
reveal("23.p3", guess)

# %%
def all_gather(parts, dim):
    return [torch.cat(parts, dim) for _ in parts]


def reduce_scatter(parts, dim):
    """Every rank gets its part of the sum"""
    return cut(sum(parts), len(parts), dim)


slices = cut(X, n, 1)  # rank r holds T / n positions of the residual stream
with torch.no_grad():
    normed = [part.norm2(x) for part, x in zip(parts, slices)]  # a rank norms its own positions
    inputs = all_gather(normed, 1)
    summands = [part.mlp(x) for part, x in zip(parts, inputs)]
    out = [x + y for x, y in zip(slices, reduce_scatter(summands, 1))]
    right = X + block.mlp(block.norm2(X))
torch.testing.assert_close(torch.cat(out, 1), right, rtol=1e-4, atol=1e-4)
size = X.numel() * 4
ring = 2 * (n - 1) / n * size  # lesson 21
halves = (n - 1) / n * size + (n - 1) / n * size
print("equal; by the formulas of lesson 21 "
      f"a ring all-reduce sends {ring:,.0f} bytes, its two halves {halves:,.0f}")  # fmt: skip
assert ring == halves

# %% [markdown]
# The same bytes, for an all-reduce *is* these two, one behind the other. Sequence parallelism only does something
# useful in between. The price is one line of care: the norms' gains now see a part of the positions each, so by the
# rule above *their* gradients need a sum, too (the solution of `needs_a_sum` shows it).
#
# What does it save? Korthikanti et al. (2022, table 2) count the bytes of activations that a layer keeps for the
# backward pass in 16 bits, for s positions, b sequences, width h, a heads, on t ranks. It is a layer of GPT-2's kind,
# with dropout. For each number of the residual stream it keeps 34 bytes, and the attention weights besides. 24 of
# them lie inside of attention and MLP, where the matrices are cut; 10 lie outside: the inputs of the two norms and of
# the two first matrices, and the masks of two dropouts. For a model as large as GPT-3 (175 billion parameters, 96
# layers; Brown et al. 2020):

# %%
def kept(s, b, h, a, t, kind, attention=True):
    """Bytes of activations of a layer; attention=False: the s by s weights are not kept"""
    square = 5 * a * s / h if attention else 0
    return {"one rank": s * b * h * (34 + square),
            "tensor": s * b * h * (10 + 24 / t + square / t),
            "tensor + sequence": s * b * h / t * (34 + square)}[kind]  # fmt: skip

# %%
fig, ax = figure(width=6, height=2.2)
for row, attention in enumerate((True, False)):
    for at, kind in enumerate(("one rank", "tensor", "tensor + sequence")):
        gib = kept(2048, 1, 12288, 96, 8, kind, attention) * 96 / 2**30  # 96 layers
        name = "all kept" if attention else "fused attention"
        ax.barh(at + 0.38 * row, gib, 0.34, color=(BLUE, ORANGE)[row], hatch=("", "///")[row],
                edgecolor="white", label=None if at else name)  # fmt: skip
        ax.text(gib + 3, at + 0.38 * row, f"{gib:.0f} GiB", va="center", fontsize=9)
ax.set(yticks=[0.19, 1.19, 2.19], yticklabels=["one rank", "tensor, 8 ranks", "and sequence"],
       xlabel="GiB of activations, 96 layers, a sequence of 2,048 tokens", xlim=(0, 300))
ax.invert_yaxis()
ax.legend(frameon=False)
show(fig, alt="Bars of activation memory: tensor parallelism on 8 ranks cuts 256 GiB to 52, and "
              "with sequence parallelism to 32, an eighth; with fused attention it is 76, 29 and "
              "10.")

# %% [markdown]
# With a fused attention kernel, tensor parallelism alone leaves a floor: 10 of the 34 parts are never cut, however
# many ranks you take. With sequence parallelism nothing is left whole.
#
# ### The engine
#
# PyTorch does all of this with a `DTensor`: a tensor that knows how it is cut over a mesh (lesson 22). You do not
# write f and g. You say how each layer's weight is cut, `ColwiseParallel` or `RowwiseParallel`, and how its input
# lies, and the sums follow from that. minigpt's plan is `parallel.apply_tensor_parallel`, a dozen lines. Is it what
# you built? Three layers and the loss, on two ranks; and sequence parallelism on an MLP with its norm:

# %% tags=["long"]
def engine(rank, world, shape, tokens, targets):
    """-> loss and gradients of a GPT, and the number of all-reduces"""
    mesh = init_device_mesh("cpu", (world,), mesh_dim_names=("tensor",))
    model = GPT(ModelConfig(**shape), seed=7)
    parallel.apply_tensor_parallel(model, mesh)
    with CommDebugMode() as talk:  # PyTorch's own counter
        loss = model(tokens, targets)
    sums = [count for op, count in talk.get_comm_counts().items() if "all_reduce" in str(op)]
    parallel.backward_pass(loss, parallel.Layout(sizes=(1, 1, world)))
    grads = {name: full(p.grad) for name, p in model.named_parameters()}
    return {"loss": loss, "sums": sum(sums), "grads": grads}


def full(t):
    return t.full_tensor() if isinstance(t, DTensor) else t


def sequence_engine(rank, world, shape, x):
    """Norm and MLP, sequence parallel -> this rank's positions, and the collectives by name"""
    mesh, block = init_device_mesh("cpu", (world,)), GPT(ModelConfig(**shape), seed=7).blocks[0]
    gather = PrepareModuleInput(input_layouts=Shard(1), desired_input_layouts=Replicate())
    scatter = RowwiseParallel(output_layouts=Shard(1))
    plan = {"norm2": SequenceParallel(), "mlp": gather, "mlp.gate": ColwiseParallel(),
            "mlp.up": ColwiseParallel(), "mlp.down": scatter}  # fmt: skip
    parallelize_module(block, mesh, plan)
    with CommDebugMode() as talk:
        y = block.mlp(block.norm2(x.chunk(world, 1)[rank].contiguous()))
    return {"y": y, "names": sorted(str(op).split(".")[-1] for op in talk.get_comm_counts())}


def both(rank, world, tokens, targets, x, shape):
    return engine(rank, world, shape, tokens, targets) | sequence_engine(rank, world, shape, x)


# %%
DTENSOR = """
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.parallel import *
"""
tokens = torch.randint(320, (B, T + 1), generator=torch.Generator().manual_seed(5))
inputs, targets = tokens[:, :-1].clone(), tokens[:, 1:].clone()
found = on_ranks(n, both, IMPORTS, DTENSOR, full, engine, sequence_engine, shape=asdict(SHAPE),
                 tokens=inputs, targets=targets, x=X)  # fmt: skip

# %%
gpt = GPT(SHAPE, seed=7)
loss = gpt(inputs, targets)
loss.backward()
grads = found[1]["grads"]
gap = max((grads[name] - p.grad).abs().max().item() for name, p in gpt.named_parameters())
print(f"loss on two ranks {found[0]['loss']:.3f}, in one process {loss:.3f}")
print(f"largest difference of any gradient {gap:.0e}")
print(f"all-reduces forward: {found[0]['sums']}, by our count", 1 + 2 * SHAPE.layers + 3)
assert abs(found[0]["loss"] - loss) < 1e-5 and gap < 1e-5
assert found[0]["sums"] == 1 + 2 * SHAPE.layers + 3

# %%
alone = gpt.blocks[0]
together = torch.cat([rank["y"] for rank in found], 1)
torch.testing.assert_close(together, alone.mlp(alone.norm2(X)).detach(), rtol=1e-4, atol=1e-6)
print("sequence parallel, norm and MLP: equal; it uses", *found[0]["names"])

# %% [markdown]
# One sum for the embedding, two for each layer, three small ones for the loss: the engine makes exactly the
# all-reduces that you know of, and in sequence parallel the two halves instead.

# %% [markdown]
# ## 3. Cutting the stack
#
# A layer now lies on several ranks. The other cut is between layers: rank 0 has the first ones, rank 1 the next, and
# so on. Each such part is a **stage**, and this is **pipeline parallelism**. What must be sent? Between two stages
# only the residual stream, (B, T, C), once forward, and its gradient once backward. No other way of splitting sends
# so little (section 6 compares them).
#
# The trouble is not traffic. While stage 0 computes, the others have nothing to do, and when stage 1 computes, stage
# 0 has nothing to do. With p stages, p − 1 of them always wait. The remedy is to cut the batch into
# **micro-batches**, m of them, which follow each other through the stages as cars follow each other through a
# factory. Gradient accumulation (lesson 08) makes it exact: the gradients of the micro-batches are added up, and
# there is one optimizer step at the end.
#
# The order in which a rank works is its *schedule*. **GPipe** ([Huang et al. 2019](https://arxiv.org/abs/1811.06965))
# does all forward passes, then all backward passes. A schedule is a list of pairs:

# %%
def gpipe(p, m, rank):
    """What a rank of p does, in order, for m micro-batches"""
    return [("forward", i) for i in range(m)] + [("backward", i) for i in range(m)]

# %%
def simulate(schedule, p, m, forward=1.0, backward=2.0):
    """When everything happens: an action starts when its rank is free and its input has come
    -> events (rank, kind, start, end), in units of a forward pass"""
    queues = [list(schedule(p, m, rank)) for rank in range(p)]
    clock, done, events = [0.0] * p, {}, []
    while any(queues):
        ready = [r for r in range(p) if queues[r] and needs(*queues[r][0], r, p) <= done.keys()]
        assert ready, "every rank waits for another one"
        for r in ready:
            kind, i = queues[r].pop(0)
            start = max([clock[r], *(done[what] for what in needs(kind, i, r, p))])
            clock[r] = done[kind, i, r] = start + (forward if kind == "forward" else backward)
            events.append((r, kind, start, clock[r]))
    return events


def needs(kind, i, rank, p):
    """What must be done before: forward by the stage before, backward by the one behind"""
    if kind == "forward":
        return {("forward", i, rank - 1)} if rank else set()
    return {("backward", i, rank + 1)} if rank < p - 1 else {("forward", i, rank)}


# %% [markdown]
# (Nothing runs here: these are times on paper, and the unit is the time of a forward pass. A backward pass takes about
# twice as long, for it computes two products where forward computes one.) The time in which ranks wait is the
# **bubble**.
#
# **Predict.** Four stages, eight micro-batches, GPipe. Which share of their time do the ranks wait?

# %%
guess = None
reveal("23.p4", guess)

# %%
def bubble(events):
    """The share of all ranks' time in which they wait"""
    ranks = 1 + max(rank for rank, *_ in events)
    busy = sum(end - start for _, _, start, end in events)
    total = max(end for *_, end in events) - min(start for _, _, start, _ in events)
    return 1 - busy / (ranks * total)


def numbered(ax, events, unit="milliseconds"):
    """A timeline with the number of its micro-batch in each bar; seconds become milliseconds"""
    scale = 1 if unit == "milliseconds" else 1000
    events = [(rank, kind, start / scale, end / scale) for rank, kind, start, end in events]
    timeline(ax, events, {"forward": SKY, "backward": ORANGE})
    ax.set_xlabel(unit)
    first = min(start for _, _, start, _ in events)
    for place, (rank, kind, start, end) in enumerate(events):
        before = sum(event[:2] == (rank, kind) for event in events[:place])
        ax.text(1000 * ((start + end) / 2 - first), rank, before, ha="center", va="center",
                fontsize=8, bbox=dict(facecolor="white", edgecolor="none", pad=0.6))  # fmt: skip

# %%
UNIT = "simulated time, in forward passes"
fig, ax = figure(width=7, height=2.3)
events = simulate(gpipe, 4, 8)
numbered(ax, events, UNIT)
show(fig, alt="GPipe on four ranks: eight forward passes run down the ranks like a staircase, "
              "then eight backward passes run up again; before, between and after are empty "
              "corners. Time is in forward passes.")
print(f"bubble: {bubble(events):.3f}")
for p, m in ((2, 3), (3, 7), (4, 8), (5, 2), (8, 32)):
    for backward in (1.0, 2.0, 5.0):
        share = bubble(simulate(gpipe, p, m, backward=backward))
        assert abs(share - (p - 1) / (m + p - 1)) < 1e-9
print("for every p, m and length of backward that was tried: (p - 1) / (m + p - 1)")

# %% [markdown]
# Count for one rank, in times of a micro-batch, forward and backward together: it works for m of them, and waits for
# p − 1. (The last rank waits at the beginning and at the end; the first one in the middle, until its first micro-batch
# comes back.) So the bubble is
#
# $$\frac{p - 1}{m + p - 1}$$
#
# and what helps is more micro-batches. But GPipe keeps the activations of all m of them until backward comes. Here is
# the second idea: go backward as soon as you can. The last stage can do so right after its first forward pass. Every
# other stage first sends ahead as many micro-batches as there are stages behind it, and then alternates, one forward,
# one backward: **1F1B** ([Harlap et al. 2018](https://arxiv.org/abs/1806.03377); with a single optimizer step at the
# end, as here, Narayanan et al. 2021).
#
# > **Your turn: 23.5 `one_forward_one_backward`** (10 min): its lines, shuffled, before you see them.

# %%
def one_f_one_b(p, m, rank):
    """What a rank of p does, in order, for m micro-batches"""
    ahead = min(p - 1 - rank, m)
    order = [("forward", i) for i in range(ahead)]
    for i in range(m - ahead):
        order += [("forward", ahead + i), ("backward", i)]
    return order + [("backward", i) for i in range(m - ahead, m)]


def most_kept(order):
    """Of how many micro-batches a rank keeps activations, at most"""
    now = most = 0
    for kind, _ in order:
        now += 1 if kind == "forward" else -1
        most = max(most, now)
    return most


# %% [markdown]
# **Predict.** Four stages, eight micro-batches, now 1F1B. Of how many micro-batches does the *first* stage keep
# activations, at most?

# %%
guess = None
reveal("23.p5", guess)

# %%
fig, ax = figure(width=7, height=2.3)
events = simulate(one_f_one_b, 4, 8)
numbered(ax, events, UNIT)
show(fig, alt="1F1B on four ranks: after a short staircase of forward passes each rank alternates"
              " forward and backward, until a staircase of backward passes ends it. It is as long"
              " as GPipe.")
print(f"bubble: {bubble(events):.3f}, as GPipe")
for name, schedule in (("GPipe", gpipe), ("1F1B", one_f_one_b)):
    most = [most_kept(schedule(4, 8, rank)) for rank in range(4)]
    print(f"{name:<6} keeps at most {most} micro-batches, by stage")
assert abs(bubble(events) - 3 / 11) < 1e-9
assert [most_kept(one_f_one_b(5, 9, rank)) for rank in range(5)] == [5, 4, 3, 2, 1]

# %% [markdown]
# The bubble is the *same*. What 1F1B saves is memory: a rank keeps at most p micro-batches, not m. And since memory
# no longer grows with m, you can take more micro-batches, and that makes the bubble smaller.
#
# **What breaks if** only the first stage sends one micro-batch too few ahead? Nothing is wrong, and everyone waits:

# %%
def one_too_few(p, m, rank):
    """1F1B, but the first stage does as if there were one stage fewer behind it"""
    return one_f_one_b(p - 1, m, 0) if rank == 0 else one_f_one_b(p, m, rank)


fig, ax = figure(width=5.5, height=2.3)
rows = {"(p-1)/(m+p-1)": (GREY, "-", lambda m: 3 / (m + 3)),
        "1F1B, simulated": (BLUE, "o", lambda m: bubble(simulate(one_f_one_b, 4, m))),
        "one too few ahead": (VERMILLION, "s--", lambda m: bubble(simulate(one_too_few, 4, m)))}
counts = (1, 2, 4, 8, 16, 32, 64)
for name, (color, style, of) in rows.items():
    shares = [of(m) for m in counts]
    ax.semilogx(counts, shares, style, color=color, base=2, label=name)
    print(f"{name:<18}", *(f"{share:.2f}" for share in shares))
ax.set(xlabel="micro-batches", ylabel="bubble, 4 stages", ylim=(0, 1))
ax.set(xticks=counts, xticklabels=counts)
ax.legend(frameon=False)
show(fig, alt="The bubble of four stages falls with the number of micro-batches as the formula "
              "says; with one micro-batch too few sent ahead it stays high however many there "
              "are.")

# %% [markdown]
# Why a half? Stage 1 needs a forward pass from stage 0 in each turn, and stage 0 now sends it only when it has the
# gradient from stage 1. So the two work one after the other instead of side by side, and the rest waits for them. The
# loss would not tell, and no error either. Only the clock does. (The opposite mistake, too many ahead, costs memory and
# no time: GPipe is its extreme.)
#
# > **Your turn: 23.6 `judge_pipeline`** (15 min): read a log of events, and say what is wrong.
#
# ### On real ranks
#
# Three processes, each with one layer of the GPT; the first has the embedding as well, the last the final norm and
# the head. Our stage is a module, which PyTorch's own pipeline will also get:

# %% tags=["long"]
class Stage(nn.Module):
    """Stage `rank` of a GPT with a layer for each rank"""

    def __init__(self, gpt, rank, p):
        super().__init__()
        self.first, self.last, self.config = rank == 0, rank == p - 1, gpt.config
        self.block = gpt.blocks[rank]
        if self.first:
            self.embed = gpt.embed
        if self.last:
            self.norm, self.head = gpt.norm, gpt.head

    def forward(self, x):
        x = self.embed(x) if self.first else x
        rope = rope_table(torch.arange(x.shape[1]), rope_frequencies(self.config))
        x = self.block(x, rope, None, None, None)
        return self.head(self.norm(x)) if self.last else x


# %%
def loss_of(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def passed(rank, to, tensor, tag):
    """Send without waiting: two ranks that both wait in a send wait for ever"""
    return dist.isend(tensor.detach().contiguous(), to, tag=tag), tensor


def received(shape, source, tag):
    box = torch.empty(shape)
    dist.recv(box, source, tag=tag)
    return box


# %% [markdown]
# Three processes on two cores do not run side by side. So that you see the schedule and not the cores, every forward
# pass also sleeps 50 ms and every backward pass 100 ms: the sleep stands for the work of a device of its own.

# %% tags=["long"]
def pipeline(rank, world, shape, tokens, targets, m, name):
    """One step by hand -> loss, gradients, events by the clock, most micro-batches kept"""
    stage = Stage(GPT(ModelConfig(**shape), seed=7), rank, world)
    xs, ys = tokens.chunk(m), targets.chunk(m)
    size, kept, sent, events = (*xs[0].shape, shape["width"]), {}, [], []
    total, most = 0.0, 0
    dist.barrier()
    for kind, i in {"gpipe": gpipe, "1f1b": one_f_one_b}[name](world, m, rank):
        if kind == "forward":
            x = xs[i] if stage.first else received(size, rank - 1, i).requires_grad_()
            begun = time.time()
            time.sleep(0.05)
            y = stage(x)
            if stage.last:
                y = loss_of(y, ys[i]) / m
                total += y.item()
            else:
                sent.append(passed(rank, rank + 1, y, i))
            kept[i] = x, y  # the graph hangs on y: these are the activations
            most = max(most, len(kept))
        else:
            grad = None if stage.last else received(size, rank + 1, m + i)
            begun = time.time()
            time.sleep(0.1)
            x, y = kept.pop(i)
            y.backward(grad)
            if not stage.first:
                sent.append(passed(rank, rank - 1, x.grad, m + i))
        events.append([rank, kind, begun, time.time()])
    for handle, _ in sent:
        handle.wait()
    grads = {name: p.grad for name, p in stage.named_parameters()}
    return {"loss": total, "grads": grads, "events": events, "most": most}


# %% [markdown]
# PyTorch has both schedules, in `torch.distributed.pipelining`. It gets the same stages:

# %%
def torch_pipeline(rank, world, shape, tokens, targets, m, name):
    """The same step by PyTorch's schedules -> loss, gradients"""
    stage, losses = Stage(GPT(ModelConfig(**shape), seed=7), rank, world), []
    engine = pipelining.PipelineStage(stage, rank, world, torch.device("cpu"))
    kind = {"gpipe": pipelining.ScheduleGPipe, "1f1b": pipelining.Schedule1F1B}[name]
    schedule = kind(engine, m, loss_fn=loss_of)
    more = {"target": targets, "losses": losses} if stage.last else {}
    schedule.step(*([tokens] if stage.first else []), **more)
    grads = {name: p.grad for name, p in stage.named_parameters()}
    return {"loss": sum(x.item() for x in losses) / m, "grads": grads}


def all_four(rank, world, **arguments):
    return {of: {name: of_kind(rank, world, name=name, **arguments) for name in ("gpipe", "1f1b")}
            for of, of_kind in (("ours", pipeline), ("torch", torch_pipeline))}  # fmt: skip


# %%
p, m = 3, 6
long = torch.randint(320, (2 * m, T + 1), generator=torch.Generator().manual_seed(6))
inputs, targets = long[:, :-1].clone(), long[:, 1:].clone()
pipes = on_ranks(p, all_four, IMPORTS, "from torch.distributed import pipelining", Stage, loss_of,
                 passed, received, gpipe, one_f_one_b, pipeline, torch_pipeline,
                 shape=asdict(SHAPE), tokens=inputs, targets=targets, m=m)  # fmt: skip
gpt = GPT(SHAPE, seed=7)
loss = loss_of(gpt(inputs), targets)
loss.backward()
right = [{name: p.grad for name, p in Stage(gpt, rank, p).named_parameters()} for rank in range(p)]
for of in ("ours", "torch"):
    for name in ("gpipe", "1f1b"):
        runs = [rank[of][name] for rank in pipes]
        gap = max((run["grads"][key] - grad).abs().max().item()
                  for run, grads in zip(runs, right) for key, grad in grads.items())  # fmt: skip
        print(f"{of:<5} {name:<5} loss {runs[-1]['loss']:.3f}, in one process {loss:.3f}; "
              f"gradients off by {gap:.0e}")  # fmt: skip
        assert abs(runs[-1]["loss"] - loss) < 1e-5 and gap < 1e-6

# %%
for name, schedule in (("gpipe", gpipe), ("1f1b", one_f_one_b)):
    runs = [rank["ours"][name] for rank in pipes]
    events = [event for run in runs for event in run["events"]]
    kept_most = [run["most"] for run in runs]
    print(f"{name:<6} micro-batches kept {kept_most}; bubble by the clock {bubble(events):.2f}, "
          f"by formula {(p - 1) / (m + p - 1):.2f}")  # fmt: skip
    assert kept_most == [most_kept(schedule(p, m, rank)) for rank in range(p)]
fig, ax = figure(width=7, height=2)
numbered(ax, [tuple(event) for event in events])
show(fig, alt="1F1B by the clock on three real processes: the same order as in the simulation, "
              "forward and backward in turn, with gaps where a rank waits for a message.")

# %% [markdown]
# The clock's bubble is larger than the formula's, which knows no messages, and no other programs on this machine.
#
# > *By the way.* `isend` does not wait. A plain `send` may wait until the other side receives. Then stage 0 waits
# > until stage 1 takes its activations, while stage 1 waits until stage 0 takes its gradient: a deadlock, and the
# > first thing that everyone who writes a pipeline finds. On GPUs one starts both directions at once, with
# > `batch_isend_irecv`.
#
# Two things that a pipeline makes hard. *Tied weights*: if the head is the embedding's matrix, it lies on the first
# and the last stage, and its gradient must be added up over both (the GPT here is untied). *Balance*: all stages wait
# for the slowest, and the last one has the head besides. How many layers is a head worth? By the shapes of Llama 3
# (Grattafiori et al. 2024, table 3):

# %%
for name, width, mlp in (("8B", 4096, 14336), ("70B", 8192, 28672), ("405B", 16384, 53248)):
    layer = 2 * width * width + 2 * width * 1024 + 3 * width * mlp  # q, out; k, v; the MLP's three
    print(f"Llama 3 {name}: its head multiplies as much as {128256 * width / layer:.1f} layers")

# %% [markdown]
# So the last stage should have fewer layers. In Llama 3 405B the first and the last stage have one layer less than the
# others (Grattafiori et al. 2024, section 3.3.2). And one refinement: give each rank several short stages in turn, v of
# them, and waiting becomes v times shorter, at v times the messages (*interleaved* 1F1B, Narayanan et al. 2021, section
# 2.2).

# %% [markdown] tags=["slide"]
# ### A pipeline
#
# - sends little: the residual stream between stages, its gradient back
# - bubble (p − 1)/(m + p − 1), for GPipe and 1F1B alike: more micro-batches
# - GPipe keeps m micro-batches, 1F1B at most p
# - the loss never shows a bad schedule; the clock does

# %% [markdown]
# ## 4. Cutting the sequence
#
# Llama 3 read sequences of 131,072 tokens in a last part of its training (Grattafiori et al. 2024). How much does one
# layer of its largest model, of width 16,384, keep of such a sequence? About, by the formula of section 2 (a Llama has
# no dropout, and another MLP), without the attention weights:

# %%
for t in (1, 8):
    gb = kept(131072, 1, 16384, 128, t, "tensor + sequence", attention=False) / 1e9
    print(f"tensor ranks: {t}; each keeps {gb:.0f} GB a layer")

# %% [markdown]
# And it has 126 layers (Grattafiori et al. 2024). So cut the sequence: **context parallelism**. Norms and MLPs do not
# notice, as in section 2. Attention does: a query needs the keys and values of *all* earlier positions. But with an
# online softmax (lesson 10) it does not need them at the same time. So every rank keeps its queries, and the keys and
# values travel: in each step a rank works on the slice that it holds, then hands it to its neighbour. After n steps
# everyone has seen everything: **ring attention** ([Liu et al. 2023](https://arxiv.org/abs/2310.01889)).

# %%
def take_in(state, q, k, v, rows, cols):
    """An online softmax takes in one slice of keys; rows, cols: positions of queries and keys"""
    m, total, out = state
    scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(cols > rows[:, None], -math.inf)
    new = torch.maximum(m, scores.amax(-1, keepdim=True))
    powers, shrink = torch.exp(scores - new), torch.exp(m - new)
    return new, total * shrink + powers.sum(-1, keepdim=True), out * shrink + powers @ v

# %%
def ring_attention(q, k, v, places):
    """Causal attention (B, H, T, D) over ranks; places: the positions of each rank
    -> output, and the log of each query's sum of exponentials"""
    n, held = len(places), [(k[..., at, :], v[..., at, :], at) for at in places]
    none = lambda at: (torch.full((len(at), 1), -math.inf), torch.zeros(len(at), 1), torch.zeros(1))
    states = [none(at) for at in places]
    for _ in range(n):
        for rank, at in enumerate(places):
            states[rank] = take_in(states[rank], q[..., at, :], *held[rank][:2], at, held[rank][2])
        held = [held[rank - 1] for rank in range(n)]  # everyone hands on what it holds
    out, logs = torch.empty_like(q), q.new_empty(*q.shape[:-1], 1)
    for at, (top, total, unfinished) in zip(places, states):
        out[..., at, :], logs[..., at, :] = unfinished / total, top + torch.log(total)
    return out, logs


# %%
n, T_long, H, D = 4, 96, 3, 20
q, k, v = (normal(B, H, T_long, D, seed=number) for number in (8, 9, 10))
plain = list(torch.arange(T_long).chunk(n))
out, _ = ring_attention(q, k, v, plain)
right = F.scaled_dot_product_attention(q, k, v, is_causal=True)
gap = (out - right).abs().max()
print(f"ring over {n} ranks against PyTorch's attention: largest difference {gap:.0e}")
assert (out - right).abs().max() < 2e-6

# %% [markdown]
# (Everyone begins with its own slice, and there each query sees at least itself. So the running maximum is a number
# from step 0 on, and a slice that lies wholly in the future adds exp(−∞), which is zero.)
#
# **Predict.** The sequence is causal and cut into four slices, in order. How many times as many pairs of query and
# key does the last rank compute as the first, if the slices are long?

# %%
guess = None
reveal("23.p6", guess)

# %%
def zigzag(T, n):
    """Cut into 2 n pieces; rank r holds piece r from the front and piece r from the back"""
    pieces = torch.arange(T).chunk(2 * n)
    return [torch.cat([pieces[r], pieces[2 * n - 1 - r]]) for r in range(n)]


def pairs_of(places):
    """Pairs of query and key that each rank computes in each step of the ring, (step, rank)"""
    n = len(places)
    return torch.tensor([[(places[rank - step] <= places[rank][:, None]).sum() for rank in range(n)]
                         for step in range(n)])  # fmt: skip


def times_the_share(pairs):
    """All wait for the busiest in each step: how many times an even share is each there for?"""
    return (pairs.amax(1).sum() * pairs.shape[1] / pairs.sum()).item()


# %%
fig, axes = figure(width=6.5, height=2.6, columns=2)
for ax, (name, places) in zip(axes, (("plain", plain), ("zig-zag", zigzag(T_long, n)))):
    torch.testing.assert_close(ring_attention(q, k, v, places)[0], right, rtol=1e-5, atol=2e-6)
    pairs = pairs_of(places)
    heatmap(pairs, list("0123"), list("0123"), f"{name}: pairs", ax, numbers=True, vmin=0, vmax=600)
    ax.set(xlabel="rank", ylabel="step")
    print(f"{name:<8} pairs of each rank {pairs.sum(0).tolist()}; each is there for "
          f"{pairs.amax(1).sum()}, {times_the_share(pairs):.2f} times an even share")  # fmt: skip
show(fig, alt="Pairs of query and key by step and rank. In order, rank 0 has work only in step 0 "
              "and the last rank in all; in zig-zag all ranks have nearly equal work in every "
              "step.")

# %% [markdown]
# In order, the last rank works in every step and the first one only in the first, and as everyone hands on at the
# same moment, all wait for the busiest. Count in squares of a slice: step 0 takes a half, each of the n − 1 others a
# whole one, and an even share would be n/2. So all are there for (n − ½)/(n/2) = 2 − 1/n times an even share, if slices
# are long. The zig-zag gives each rank an early piece and a late one. Now all have the same work in each step. With
# slices of 64 positions:

# %%
for ranks in (2, 4, 8, 16):
    ways = list(torch.arange(64 * ranks).chunk(ranks)), zigzag(64 * ranks, ranks)
    in_order, zig_zag = (times_the_share(pairs_of(places)) for places in ways)
    print(f"{ranks:>2} ranks: in order {in_order:.2f} times an even share, 2 - 1/n = "
          f"{2 - 1 / ranks:.2f}; zig-zag {zig_zag:.2f}")  # fmt: skip
    assert abs(in_order - (2 - 1 / ranks)) < 0.03 and abs(zig_zag - 1) < 1e-6

# %% [markdown]
# `ring_attention` is the same for both: it asks for the *positions*. (So must the rotary embedding: a rank's tokens do
# not begin at 0.)
#
# And backward? Lesson 10 computed each tile of weights again from the log of its sum. Here a tile is a query's rank and
# a slice of keys. The gradient of the queries grows where they are. Those of keys and values get a part from each rank,
# so they travel *with* their slice, and each rank adds its own. After n steps they are home:

# %%
def ring_backward(q, k, v, out, logs, grad, places):
    """-> gradients of q, k and v; grad: that of the output"""
    n, root, delta = len(places), math.sqrt(q.shape[-1]), (grad * out).sum(-1, keepdim=True)
    held = [(k[..., at, :], v[..., at, :], 0, 0) for at in places]
    dq, dk, dv = (torch.zeros_like(x) for x in (q, k, v))
    for step in range(n):
        for rank, at in enumerate(places):
            keys, values, dkeys, dvalues = held[rank]
            queries, g, future = q[..., at, :], grad[..., at, :], places[rank - step] > at[:, None]
            scores = (queries @ keys.mT / root).masked_fill(future, -math.inf)
            weights = torch.exp(scores - logs[..., at, :])  # once more, as in lesson 10
            ds = weights * (g @ values.mT - delta[..., at, :]) / root
            dq[..., at, :] += ds @ keys
            held[rank] = keys, values, dkeys + ds.mT @ queries, dvalues + weights.mT @ g
        held = [held[rank - 1] for rank in range(n)]
    for at, (_, _, dkeys, dvalues) in zip(places, held):  # home again
        dk[..., at, :], dv[..., at, :] = dkeys, dvalues
    return dq, dk, dv


# %%
qkv = [x.clone().requires_grad_() for x in (q, k, v)]
grad = normal(*q.shape, seed=11)
F.scaled_dot_product_attention(*qkv, is_causal=True).backward(grad)
for name, places in (("plain", plain), ("zig-zag", zigzag(T_long, n))):
    out, logs = ring_attention(q, k, v, places)
    found = ring_backward(q, k, v, out, logs, grad, places)
    gap = max((ours - x.grad).abs().max().item() for ours, x in zip(found, qkv))
    print(f"{name:<8} gradients of q, k and v against autograd: off by {gap:.0e}")
    assert gap < 1e-5

# %% [markdown]
# On real ranks, with the messages under way while the rank computes:

# %% tags=["long"]
def ring_rank(rank, world, q, k, v, places):
    """This rank's part of ring attention, by isend and recv -> output, bytes sent"""
    at = places[rank]
    q, kv, cols, sent = q[..., at, :], torch.stack([k[..., at, :], v[..., at, :]]), at, 0
    state = torch.full((len(at), 1), -math.inf), torch.zeros(len(at), 1), torch.zeros(1)
    for step in range(world):
        if step < world - 1:  # start to send and to receive, then compute
            coming, where = torch.empty_like(kv), places[(rank - 1 - step) % world]
            out, into = dist.isend(kv, (rank + 1) % world), dist.irecv(coming, (rank - 1) % world)
            sent += kv.numel() * kv.element_size()
        state = take_in(state, q, kv[0], kv[1], at, cols)
        if step < world - 1:
            out.wait(), into.wait()
            kv, cols = coming, where
    return {"out": state[2] / state[1], "sent": sent}


n = 3
places = zigzag(T_long, n)
found = on_ranks(n, ring_rank, take_in, q=q, k=k, v=v, places=places)
for at, rank in zip(places, found):
    assert (rank["out"] - right[..., at, :]).abs().max() < 2e-6
formula = (n - 1) * 2 * B * H * (T_long // n) * D * 4
print(f"equal; each rank sent {found[0]['sent']:,} bytes, formula {formula:,}")
assert all(rank["sent"] == formula for rank in found)

# %% [markdown]
# Work grows with the square of the sequence, bytes only with its length. So with long enough slices, computing hides
# sending. And with few heads of keys and values (grouped queries) there is less to send. How much? Take a layer of
# Llama 3 405B, forward: 128 heads of size 128, 8 of them for keys and values, 16 ranks for a sequence and 8 for its
# heads, at the 380 TFLOP/s of that stage (Grattafiori et al. 2024, tables 3 and 4), and 50 GB/s between machines
# ([Bekman 2024](https://github.com/stas00/ml-engineering)). Suppose that nothing is hidden: each rank gathers all keys
# and values first, then computes.

# %%
cp, tp = 16, 8
for tokens, kv in ((8192, 128), (131072, 128), (131072, 8)):
    attend = 2 * 2 * tokens**2 / 2 * 128 * 128 / (cp * tp) / 380e12  # 2 products, half the pairs
    size = 2 * 2 * tokens * kv * 128 / tp * (cp - 1) / cp  # keys and values, 16 bits
    print(f"{tokens:>7,} tokens, {kv:>3} heads of keys: gather {size / 1e6:>5.0f} MB, "
          f"{1e3 * size / 50e9:>4.1f} ms; attention {1e3 * attend:>6.3f} ms")  # fmt: skip

# %% [markdown]
# 16 times the tokens: 16 times the bytes, and 256 times the work. With keys for all heads the gather would take longer
# than attention even then, so that a ring could hide a part of it only. With 8 it takes a ninth of the time of
# attention, and Llama 3 does just this: it gathers first, which makes any mask easy, and cuts its sequences in the
# zig-zag (Grattafiori et al. 2024, section 3.3.2). PyTorch has a ring of its own, `context_parallel`, for the attention
# kernels of GPUs.
#
# > **Your turn: 23.7 `ring_seconds`** (12 min): which way to cut is the fastest?
#
# ## 5. Cutting the experts
#
# In a mixture of experts (lesson 20) a token visits k of E experts. Put the experts on different ranks, and leave the
# rest of the model data-parallel, each rank with its own tokens: **expert parallelism**. What does a rank need that
# it does not hold? For each of its tokens the answer of an expert elsewhere. It is cheaper to send the token to the
# expert than the expert to the token, unless very many of a rank's tokens want the same one. So, in every such layer:
# sort the visits by the rank of their expert; exchange, each rank a parcel for each other; compute; send the answers
# back; unsort. Each of the two exchanges is an *all-to-all*.

# %%
n, E, k = 3, 6, 2  # ranks, experts (two on each rank), visits of a token
moe = MoE(replace(SHAPE, mlp_width=56), E, k)
for number, (name, p) in enumerate(moe.named_parameters()):
    p.data = normal(*p.shape, seed=60 + number) * (1.0 if name == "router" else 0.2)
tokens = [normal(rows, C, seed=20 + rows) for rows in (40, 33, 27)]  # of each rank


def visits(moe, x):
    """-> the expert of each visit, sorted; the token of each; the order; the weights (N, k)"""
    probs = torch.softmax(x @ moe.router.T, -1)
    chosen = moe.choose(probs)
    weights = probs.gather(1, chosen)
    order = chosen.flatten().argsort(stable=True)
    weights = weights / weights.sum(-1, keepdim=True)
    return chosen.flatten()[order], order // moe.active, order, weights


def run_experts(moe, first, last, x, expert):
    """The answers of experts first to last - 1; expert: whom each row of x visits"""
    y = torch.empty_like(x)
    for e in range(first, last):
        y[expert == e] = moe.expert(x[expert == e], moe.up[e], moe.down[e], moe.gate[e])
    return y

# %%
def all_to_all(parcels):
    """parcels[a][b]: what a sends to b -> [b][a]"""
    return [[row[b] for row in parcels] for b in range(len(parcels))]


# %%
each = E // n
with torch.no_grad():
    routed = [visits(moe, x) for x in tokens]
    counts = [[int((expert // each == b).sum()) for b in range(n)] for expert, *_ in routed]
    there = all_to_all([x[token].split(c) for x, (_, token, *_), c in zip(tokens, routed, counts)])
    whom = all_to_all([expert.split(c) for (expert, *_), c in zip(routed, counts)])
    answers = [run_experts(moe, b * each, (b + 1) * each, torch.cat(there[b]), torch.cat(whom[b]))
               for b in range(n)]  # fmt: skip
    back = all_to_all([y.split([len(part) for part in there[b]]) for b, y in enumerate(answers)])
    outs = []
    for x, (_, _, order, weights), parts in zip(tokens, routed, back):
        y = torch.cat(parts)[order.argsort()].view(-1, k, C)
        outs.append((y * weights[..., None]).sum(1))
    right = moe(torch.cat(tokens)[None])[0]
gap = (torch.cat(outs) - right).abs().max()
print(f"largest difference to minigpt's layer on all tokens: {gap:.0e}")
size = sum(matrices[0].numel() for matrices in (moe.up, moe.down, moe.gate))
print(f"an expert has {size:,} numbers, as many as {size // (2 * C)} visits, there and back")
torch.testing.assert_close(torch.cat(outs), right, rtol=1e-4, atol=1e-5)

# %% [markdown]
# Real ranks have a difficulty that a list does not show: before the parcels can be received, a rank must know how
# large they are. So the *counts* travel first, by an all-to-all of their own.

# %%
def expert_rank(rank, world, weights, shape, x, experts, active):
    """This rank's tokens through experts on all ranks -> output, bytes that left this rank"""
    moe, each = MoE(ModelConfig(**shape), experts, active), experts // world
    moe.load_state_dict(weights)
    expert, token, order, share = visits(moe, x[rank])
    give = torch.bincount(expert // each, minlength=world)
    take = torch.empty_like(give)
    dist.all_to_all_single(take, give)  # how many will come
    give, take = give.tolist(), take.tolist()
    whom, there = torch.empty(sum(take), dtype=torch.long), torch.empty(sum(take), x[rank].shape[1])
    dist.all_to_all_single(whom, expert, take, give)
    dist.all_to_all_single(there, x[rank][token], take, give)
    y = run_experts(moe, rank * each, (rank + 1) * each, there, whom)
    back = torch.empty(sum(give), y.shape[1])
    dist.all_to_all_single(back, y, give, take)  # the same parcels, the other way
    out = (back[order.argsort()].view(*share.shape, -1) * share[..., None]).sum(1)
    left = sum(give) - give[rank] + sum(take) - take[rank]  # rows that went there, and back
    return {"out": out, "give": give, "sent": 4 * y.shape[1] * left}


# %%
found = on_ranks(n, expert_rank, IMPORTS, "from minigpt.moe import MoE", visits, run_experts,
                 shape=asdict(replace(SHAPE, mlp_width=56)), weights=moe.state_dict(), x=tokens,
                 experts=E, active=k)  # fmt: skip
out = torch.cat([rank["out"] for rank in found])
torch.testing.assert_close(out, right.detach(), rtol=1e-4, atol=1e-5)
sent = sum(rank["sent"] for rank in found)
even = 2 * sum(map(len, tokens)) * k * C * 4 * (n - 1) / n
print(f"equal; {sent:,} bytes left a rank, {even:,.0f} if all experts were visited equally often")
assert [rank["give"] for rank in found] == counts
fig = heatmap(torch.tensor(counts), list("012"), list("012"), "visits", numbers=True)
fig.axes[0].set(xlabel="to rank", ylabel="from rank")
show(fig, alt="Who sends how many visits to whom among three ranks: the columns differ, so one "
              "rank gets more work than the others, and they wait for it.")
print("visits at each rank:", [sum(column) for column in zip(*counts)])

# %% [markdown]
# The columns are the work, and they are as uneven as the router is: this is where load balance (lesson 20) becomes
# seconds. All ranks wait for the busiest, in every layer.
#
# > **Your turn: 23.8 `parcels`** (10 min): the table of counts, for every rank.
#
# ## 6. Putting the dimensions together
#
# Each way has a dimension of its own in the **mesh**: a grid of ranks, in which the ranks along one direction talk to
# each other for one purpose. minigpt's mesh has three dimensions: copies, shards, tensor. The *last* one changes
# fastest with the number of the rank:

# %%
model = ModelConfig(heads=8, kv_heads=4)
sizes = mesh_sizes(TrainConfig(parallel="fsdp", replicate=2, tp=4), model, 24)
ranks = torch.arange(math.prod(sizes)).view(sizes)
print("copies × shards × tensor:", sizes)
me = Layout("fsdp", sizes=sizes, place=(1, 1, 1))
print(f"who stands at {me.place}? rank {me.rank}; {me}")
print("its tensor group (one sum in every half layer)", ranks[1, 1].tolist())
print("its shard group (weights and gradients)       ", ranks[1, :, 1].tolist())
print("its copies (gradients, once a step)           ", ranks[:, 1, 1].tolist())
assert ranks[1, 1, 1] == me.rank == 17
rows = [f"{c},{s}" for c in range(2) for s in range(3)]
fig = heatmap(ranks.view(6, 4), rows, list("0123"), "rank", numbers=True)
fig.axes[0].set(xlabel="place in tensor", ylabel="copy, shard")
show(fig, alt="24 ranks in a table: six rows for two copies of three shards, four columns for "
              "tensor; neighbours stand in a row.")

# %% [markdown]
# The order is no accident. Neighbouring ranks lie in one machine, where links are fast. So what talks most often goes
# last. How much does each talk? Take a model like Llama 3 70B (80 layers of width 8,192, 28,672 in the MLP; Grattafiori
# et al. 2024, table 3), 8,192 tokens in a micro-batch, 16 bits. GPUs are H100s: 989 TFLOP/s for dense products in
# bf16, of which one may reach 40 %; NVLink carries 450 GB/s in each direction, a port of 400 Gbit/s between machines
# 50 GB/s ([Bekman 2024](https://github.com/stas00/ml-engineering)).

# %%
width, mlp, layers, seq, t = 8192, 28672, 80, 8192, 8
weights = 2 * width * width + 2 * width * 1024 + 3 * width * mlp  # q, out; k, v; the MLP's three
work = 6 * weights * seq / t / (0.4 * 989e12)  # seconds of a rank for one layer, there and back
stream = 2 * seq * width  # bytes of the residual stream
talk = {"tensor, 8 ranks": 4 * 2 * (t - 1) / t * stream,  # four all-reduces in a layer
        "FSDP, 16 shards": 3 * 2 * weights / t * 15 / 16,  # two gathers, one reduce-scatter, bf16
        "pipeline, 10 layers": 2 * stream / t / 10}  # there and back, a tensor rank its own part
links = {"NVLink": (450e9, BLUE, "", -0.19), "InfiniBand": (50e9, ORANGE, "///", 0.19)}

# %%
fig, ax = figure(width=6.5, height=2.4)
for row, (name, size) in enumerate(talk.items()):
    for link, (speed, color, hatch, shift) in links.items():
        share = size / speed / work
        ax.barh(row + shift, share, 0.34, color=color, hatch=hatch, edgecolor="white",
                label=None if row else link)  # fmt: skip
        print(f"{name:<20} {size / 1e6:>6.1f} MB a layer, over {link:<10} {share:>6.1%}")
ax.axvline(1, color=GREY, linestyle=":")
ax.set(xscale="log", yticks=range(3), yticklabels=list(talk), xlim=(1e-4, 10))
ax.set_xlabel("time to send / time to compute, one layer")
ax.invert_yaxis()
ax.legend(frameon=False)
show(fig, alt="Time to send over time to compute, on a log scale: tensor parallelism takes much "
              "of the computing time over NVLink and more than all of it over InfiniBand; FSDP "
              "less; a pipeline almost nothing.")

# %% [markdown]
# That is the whole of the usual rules:
#
# - **Tensor parallel inside a machine**, up to its 8 GPUs. Its sums stand in the way: the next product cannot begin
#   before they are there. Across machines it would take longer than the computing.
# - **Pipeline across machines**: it sends the least, and pays by the bubble and by needing many micro-batches.
# - **Data parallel or FSDP outermost**: it can hide behind computing (lessons 21 and 22). But the batch grows with
#   it, and a batch has a useful limit (lesson 11).
# - **Context parallel** when one sequence is too long for a rank; **expert parallel** when there are experts.
# - Use *as few* dimensions as fit. Each costs something, if only mistakes.
#
# And a real one. Llama 3 405B was trained in three configurations (Grattafiori et al. 2024, table 4), each with TP,
# CP, PP and data parallel (DP). The products must come out:
#
# **Predict.** 16,384 GPUs, TP 8, CP 1, PP 16. How many data-parallel groups are there?

# %%
guess = None
reveal("23.p7", guess)

# %%
print("  GPUs  TP  CP  PP   DP   length  sequences   tokens, M   bubble   days for 15.6T")
for gpus, tp, cp, pp, length, rows, tflops in ((8192, 8, 1, 16, 8192, 32, 430),
                                               (16384, 8, 1, 16, 8192, 16, 400),
                                               (16384, 8, 16, 16, 131072, 16, 380)):  # fmt: skip
    dp = gpus // (tp * cp * pp)
    assert gpus == tp * cp * pp * dp
    tokens = dp * rows * length
    share = (pp - 1) / (rows + pp - 1)
    days = 6 * 405e9 * 15.6e12 / (gpus * tflops * 1e12) / 86400
    print(f"{gpus:>6} {tp:>3} {cp:>3} {pp:>3} {dp:>4} {length:>8} {rows:>10} "
          f"{tokens / 1e6:>11.1f} {share:>8.0%} {days:>16.0f}")  # fmt: skip

# %% [markdown]
# (The bubble is that of plain 1F1B with one sequence in a micro-batch; the days are those of the whole training, 15.6
# trillion tokens, if all of it ran at that speed.) All three read the same number of tokens in a step (the paper writes
# 16M, since it counts in 2²⁰). With twice the GPUs the batch stayed the same, so each group has half the sequences,
# fewer micro-batches, and a larger bubble: the speed per GPU falls from 430 to 400 TFLOP/s (Grattafiori et al. 2024,
# table 4). Plain 1F1B would idle for a third or half of the time. So they interleave several stages on each rank, which
# divides the waiting. For the long sequences, 16 ranks share one sequence, and the number of groups falls to 8.
#
# > **Your turn: 23.9 `choose_layout`** (20 min): a machine room, a model, and your choice.

# %% [markdown]
# ## 7. One command
#
# In minigpt the tensor dimension is a flag. Four ranks, 2 shards × 2 tensor ranks, against one process, the same
# eight steps:

# %%
work = Path(tempfile.mkdtemp())
text = "\n\n".join(f"{i} times {j} is {i * j}, and {i} plus {j} is {i + j}."
                   for i in range(2, 60) for j in range(2, 40))  # fmt: skip
for file, part in (("text", text[:-6000]), ("val", text[-6000:])):
    (work / f"{file}.txt").write_text(part, encoding="utf-8")
flags = dict(text=work / "text.txt", val_text=work / "val.txt", vocab_size=300, layers=2, width=48,
             heads=4, kv_heads=2, head_size=20, mlp_width=112, context=32, steps=8,
             batch_tokens=512, optimizer="adamw", lr=0.005, device="cpu", precision="fp32",
             compile="off", samples=0, eval_every=8, time_limit=0, save_every=0)  # fmt: skip

# %%
def command(name, *more, ranks=0):
    """A run of the command line, under torchrun if there are ranks -> the rows of its log"""
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"]
    given = [f"--{key.replace('_', '-')}={value}" for key, value in flags.items()]
    line = [sys.executable, "-m", *(torchrun if ranks else []), "minigpt", "pretrain",
            f"--out={work / name}", *given, *more]  # fmt: skip
    done = subprocess.run(line, capture_output=True, text=True, check=False,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    log = (work / name / "metrics.jsonl").read_text(encoding="utf-8")
    rows = map(json.loads, log.splitlines())
    return [row for row in rows if "train_loss" in row]


# %%
alone = command("alone")
shared = command("shared", "--parallel=fsdp", "--tp=2", ranks=4)
print("step   one process   2 shards × 2 tensor ranks")
for a, b in zip(alone, shared, strict=True):
    print(f"{a['step']:>4} {a['train_loss']:>13.3f} {b['train_loss']:>13.3f}")
    assert abs(a["train_loss"] - b["train_loss"]) < 2e-4
    assert abs(a["grad_norm"] - b["grad_norm"]) < 1e-3 * a["grad_norm"]
gap = max(abs(a["train_loss"] - b["train_loss"]) for a, b in zip(alone, shared))
print(f"the losses differ by {gap:.0e} at most")

# %% [markdown]
# Not bit for bit, as in lesson 08: sums over ranks add in another order. But within the rounding of fp32, norm of the
# gradient included, and that number is the test that matters here: the *loss* of the first step would be right
# without f, and without the sum for q_norm.
#
# On GPUs the same line runs through NCCL in place of gloo. Two things would differ. The messages run in queues of
# their own, beside the computing. And a product of 1/n of the width may be too small to fill a GPU (lesson 10), so
# that tensor parallelism meets a limit in speed before it meets one in heads.
#
# > **Your turn: 23.10 `split_layernorm`** (25 min), unaided: the assistant stays off.

# %% [markdown]
# ## 8. One paper
#
# **[Narayanan et al. 2021](https://arxiv.org/abs/2104.04473), Efficient Large-Scale Language Model Training on GPU
# Clusters Using Megatron-LM.** Read sections 2 and 3, and look at figures 3, 4 and 11. Three questions. *What was
# held fixed* when they compared tensor with pipeline parallelism (figure 13)? *What would change your mind* about the
# rule "tensor parallel up to the size of a machine"? (Think of machines with 72 GPUs on one NVLink.) *Which numbers
# can you recompute?* Their largest model, of table 1: 128 layers of width 25,600, a vocabulary of 51,200, sequences
# of 2,048, on 3,072 GPUs, TP 8 and PP 64, a batch of 3,072 sequences, 163 TFLOP/s on each GPU (Narayanan et al. 2021,
# table 1 and section 5.1). We take one sequence for a micro-batch, and try what two stages on each rank would do:

# %%
layers, width, vocab, length = 128, 25600, 51200, 2048
gpus, tp, pp, batch, speed = 3072, 8, 64, 3072, 163e12
blocks = 12 * layers * width**2
size = blocks * (1 + 13 / (12 * width) + (vocab + length) / (12 * layers * width))  # equation 2
copies = gpus // (tp * pp)
m = batch // copies
days = 8 * 450e9 * size / (gpus * speed) / 86400  # equation 4: 450 billion tokens
print(f"{size / 1e9:.1f} billion parameters, {copies} copies, {m} micro-batches")
print(f"bubble over ideal time, (p - 1) / m: {(pp - 1) / m:.1%}; "
      f"as a share of all time: {(pp - 1) / (m + pp - 1):.1%}")  # fmt: skip
print(f"with two stages a rank, interleaved: {(pp - 1) / m / 2:.1%}")
print(f"450 billion tokens: {days:.0f} days")
assert round(size / 1e9) == 1008 and round(days) == 84

# %% [markdown]
# The paper says 84 days (section 5.1). Mind which bubble a paper means: theirs is relative to the ideal time, (p −
# 1)/m; ours is a share of all time.
#
# ## Summary
#
# 1. Ask what a rank needs that it does not hold. Columns then rows need one sum; its mirror image is the backward
#    pass, f and g.
# 2. Whole parameters on cut activations need a sum of their gradient; the loss of the first step will not tell you.
# 3. A pipeline sends little and waits (p − 1)/(m + p − 1) of its time; 1F1B has GPipe's bubble and less memory.
# 4. Ring attention is an online softmax whose keys travel; experts are an all-to-all there and one back. In both,
#    balance decides.
# 5. What talks most goes on the fastest links: tensor inside, pipeline across, data outside, and as few of them as
#    fit.
#
# Next: lesson 24 runs all of this on a thousand GPUs, on paper and in simulation, where something is always broken.

# %% tags=["timing"]
shutil.rmtree(work, ignore_errors=True)
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
