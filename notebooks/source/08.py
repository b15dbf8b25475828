# %% [raw]
# title = "The training loop"
# question = "What exactly happens between two checkpoints, and how do you know that a run is the run you think it is?"
# able = [
#   "write gradient descent, momentum, Adam and AdamW by hand, and show that they are PyTorch's",
#   "say what warm-up, decay, clipping and accumulation each prevent, and what they do not",
#   "pack documents into windows, mask them from each other, and tell what padding costs",
#   "say how many windows of held-out text tell two models apart",
#   "kill a run in the middle, resume it to the last bit, and recognise three ways in which resuming fails",
# ]
# needs = ["token", "vocabulary", "context", "softmax", "cross-entropy", "held-out text", "bits per byte", "parameter", "step", "special token", "embedding", "learning rate", "attention weights", "causal mask", "LayerNorm", "MLP", "block", "initialisation", "optimizer state", "variance", "gradient", "autograd", "paired difference", "confidence interval", "rotary position embedding"]
# reading = 70
# exercises = 110
# route = "core"
# paper = "Kingma & Ba 2015, Adam: A Method for Stochastic Optimization, arXiv 1412.6980"
#
# [teaches]
# "gradient descent" = "Moving every parameter a little against its gradient: the learning rate times the gradient is subtracted."
# curvature = "How fast the gradient changes along a direction. It limits the learning rate: at 2 over the largest curvature, gradient descent starts to diverge."
# momentum = "Moving along a fading sum of the gradients of all steps so far, instead of the last one alone."
# Adam = "An optimizer that divides a running mean of the gradients by the root of a running mean of their squares, parameter by parameter."
# "weight decay" = "Shrinking every weight by a small share in each step."
# AdamW = "Adam with decoupled weight decay: the weight is shrunk directly, and the decay does not pass through the running means."
# warm-up = "A first part of training in which the learning rate grows from near zero to its peak."
# "learning-rate schedule" = "The learning rate as a function of the step: usually warm-up, a stable part or none, and decay."
# "gradient clipping" = "Shortening all gradients by one common factor whenever their length, taken as one vector, exceeds a limit."
# micro-batch = "The part of a batch that is computed at once."
# "gradient accumulation" = "Adding up the gradients of several micro-batches before a single update, so that a batch need not fit into memory."
# packing = "Writing documents end to end and cutting the stream into windows, so that no place of a window is wasted."
# "document mask" = "The rule that a token attends only to tokens of its own document, when a window holds several."
# "standard error" = "The uncertainty of a mean: the standard deviation of what is averaged, divided by the root of how many there are."
# checkpoint = "All that is needed to go on with a run, written to disk: weights, optimizer state and the step."
# "exact resume" = "Continuing from a checkpoint in such a way that every later number is the same as if nothing had happened, bit for bit."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners can account for every number that an optimizer step changes, and can prove that a resumed run is the same run.
# **Timing** (130 min). Before class: 08.1. In class: sections 1 and 2 15 · section 3 20 · exercise 08.3 15 · section 4 10 · sections 5
# and 6 15 · exercise 08.6 10 · sections 7 and 8 15 · sections 9 and 10 20 · discussion 10. Homework: the other exercises, section 11.
#
# **Two misconceptions.** *"Adam adapts the rate, so the rate does not matter."* Ask: how long is Adam's first step, in every weight, whatever the
# gradients are? *"The curve goes on smoothly, so the resume was right."* Ask: which part of the optimizer's state has no influence on the first loss
# after the resume?
#
# **Discuss.** A run has an unexplained spike at step 40,000, and recovers. You can restart from before the spike. What do you have to know in
# order to see the spike again, and what would it tell you if it did not come back? · Which numbers of the log would you look at first if a
# colleague says "the loss is worse than last week"?

# %% tags=["setup"]
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

# %%
from minigpt import GPT, ModelConfig, OptimConfig, RunConfig, checkpoint, learning_rate, train_bpe
from minigpt import train as loop
from minigpt.classroom import museum, recorded, reveal, show
from minigpt.classroom.shelf import half_width, live_sentence
from minigpt.classroom.viz import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from minigpt.classroom.viz import figure, heatmap, label_end, plot_live, plot_record
from minigpt.config import DataConfig, preset
from minigpt.prepare import prepare
from minigpt.text.sources import builtin, held_out, usable_domains
from minigpt.tokenizer import END_OF_TEXT

started = time.perf_counter()
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>03: in training, what is a step?</summary>One update of all parameters: take a batch, compute the loss and its gradient, and subtract the gradient
# times the learning rate.</details>
# <details><summary>05: what does a fresh model have to have as its loss, and what must it be able to do with one batch?</summary>About ln V, since
# it knows nothing. And learn the batch by heart, down to nearly 0.</details>
# <details><summary>06: why do you compare two designs seed by seed?</summary>Both get the same order of the text and, where shapes agree, the same first
# weights. What the seed does to both cancels in the difference.</details>

# %% [markdown]
# > **Try first: 08.1 `largest_rate`** (5 min), before you read on. The exercises are in `exercises/08_training_loop.ipynb`; `python3 course.py start 08` makes a
# > copy for you in `my/`.
#
# Until now the loop was five lines, and `torch.optim.AdamW` did the rest. This lesson opens the five lines:
#
# ```python
# batch = next_batch(step)                 # sections 6 and 7: what is in it
# loss = forward_backward(model, batch)    # sections 5 and 6: its gradient, added up and clipped
# rate = learning_rate(step)               # section 4
# optimizer.step(rate)                     # sections 1 to 3
# log(step, loss); save(step)              # sections 8 to 10: how you know what happened
# ```
#
# ## 1. One step by hand
#
# **Gradient descent** subtracts the gradient, times the learning rate. How large may the rate be? Take the simplest loss that has the difficulty of the real one: a
# ravine. Two weights, and in one direction the wall is thirty times as steep as in the other:
#
# $$L(w) = \tfrac{1}{2}\,(1 \cdot w_1^2 + 30 \cdot w_2^2)$$
#
# The factors 1 and 30 are its **curvatures**. The gradient is $(1 \cdot w_1,\ 30 \cdot w_2)$, and one step multiplies each weight by a number: $w_i \leftarrow (1 - \text{rate} \cdot c_i)\, w_i$, where $c_i$ is its curvature.

# %%
curvatures = torch.tensor([1.0, 30.0])


def descend(rate, steps=40, start=(9.0, 1.5)):
    """-> (steps + 1, 2): the way of gradient descent"""
    way = [torch.tensor(start)]
    for _ in range(steps):
        gradient = curvatures * way[-1]
        way.append(way[-1] - rate * gradient)
    return torch.stack(way)


# %% [markdown]
# **Predict.** You raise the rate slowly. At which rate does gradient descent begin to diverge, that is, to walk away from the minimum?

# %%
guess = None
reveal("08.p1", guess)

# %%
fig, axes = figure(width=6.2, height=2.3, columns=2, width_ratios=[3, 2])
x, y = torch.meshgrid(torch.linspace(-2, 10, 120), torch.linspace(-2, 2, 80), indexing="xy")
height = (curvatures[0] * x**2 + curvatures[1] * y**2) / 2
axes[0].contour(x, y, height, [8, 40], colors="#bbbbbb", linewidths=0.8)
for rate, color, style in ((0.01, BLUE, "o-"), (0.06, VERMILLION, "s--")):
    way = descend(rate)
    axes[0].plot(*way.T, style, color=color, markersize=3, linewidth=1, label=f"rate {rate}")
    print(f"rate {rate}: after 40 steps at ({way[-1, 0]:.2f}, {way[-1, 1]:.2f})")
axes[0].set(xlabel="flat direction", ylabel="steep direction", xlim=(-1, 10), ylim=(-2, 2))
axes[0].legend(frameon=False, loc="lower left")
for share, color, style in ((0.9, BLUE, "-"), (1.0, GREY, ":"), (1.05, VERMILLION, "--")):
    steep = descend(share * 2 / 30)[:, 1].abs()
    axes[1].semilogy(steep, style, color=color)
    label_end(axes[1], 40, steep[-1], f"{share:g} × limit", color)
axes[1].set(xlabel="step", title="distance, steep direction")
show(fig, alt="Left, contours of a ravine: at rate 0.01 the way creeps along the floor, at 0.06 it "
              "jumps between walls. Right: below the limit the distance shrinks, above it grows.")

# %% [markdown]
# The steep direction sets the limit, 2 divided by its curvature, and the flat one has to live with it: after 40 steps at the rate of 0.01, most of the way
# along the floor is still to go. The ratio of the two curvatures, here 30, is the *condition number*. The larger it is, the slower gradient descent; section 2 is an answer to that.
#
# Now the same rule on a real model. The text is paragraphs of books, each a document of its own, a tokenizer of 512 tokens, and a GPT with two layers:

# %%
usable, _ = usable_domains(["books", "drama", "speeches", "docs"])
books = list(builtin(usable[:1]))
kept = {True: [], False: []}  # held out: paragraphs
for book in books:
    side = kept[held_out(book.id)]
    side += [p for p in book.text[:40_000].split("\n\n") if len(p) >= 40]
if not kept[True]:  # a domain whose few documents are all on one side
    kept[True], kept[False] = kept[False][::10], [p for i, p in enumerate(kept[False]) if i % 10]
order = np.random.default_rng(0)
texts, unseen_texts = (list(order.permutation(kept[side])[:most]) for side, most in
                       ((False, 3000), (True, 400)))  # fmt: skip
tokenizer = train_bpe(texts[:600], 512, [END_OF_TEXT])
documents, unseen = ([np.asarray(ids, np.int64) for ids in tokenizer.encode_batch(some)]
                     for some in (texts, unseen_texts))  # fmt: skip
eot = tokenizer.eot
mean = np.mean([len(d) for d in documents])
print(f"{len(documents):,} documents of {mean:.0f} tokens on average")

# %%
T, V = 64, tokenizer.vocab_size
SHAPE = ModelConfig("modern", layers=2, width=64, heads=2, kv_heads=2, head_size=32, mlp_width=192,
                    context=T, vocab_size=V)  # fmt: skip


def end_to_end(documents):
    """-> (N,) int64: each document after its <|endoftext|>"""
    return torch.from_numpy(np.concatenate([part for d in documents for part in ([eot], d)])).long()


stream, unseen_stream = end_to_end(documents), end_to_end(unseen)


def windows_of(step, rows=8, stream=stream):
    """The batch of a step: inputs and targets (rows, T). The same step gives the same batch."""
    dice = torch.Generator().manual_seed(step)
    starts = torch.randint(len(stream) - T, (rows, 1), generator=dice)
    found = stream[starts + torch.arange(T + 1)]
    return found[:, :-1], found[:, 1:]


# %% [markdown]
# A model has as many directions as weights. What is the curvature of the steepest? You can find out without writing down the matrix of all second derivatives. Multiply a random
# direction by that matrix again and again: the steepest direction grows fastest, until it is all that is left. And such a product is a derivative of a derivative, which
# autograd can take. Here, on one batch, at the fresh weights:

# %%
def steepest(model, inputs, targets, rounds=12):
    """The largest curvature of the loss on this batch, by products with its second derivatives"""
    weights = list(model.parameters())
    loss = model(inputs, targets, record={})  # attention written out: the fused one has no second
    first = torch.autograd.grad(loss, weights, create_graph=True)  # derivative
    g = torch.Generator().manual_seed(0)
    direction = [torch.randn(p.shape, generator=g) for p in weights]
    for _ in range(rounds):
        length = math.sqrt(sum(float(d.square().sum()) for d in direction))
        direction = [d / length for d in direction]
        product = sum((f * d).sum() for f, d in zip(first, direction))
        direction = torch.autograd.grad(product, weights, retain_graph=True)
    return math.sqrt(sum(float(d.square().sum()) for d in direction))


inputs, targets = windows_of(0, rows=4)
limit = 2 / steepest(GPT(SHAPE, seed=1), inputs, targets)
print(f"the largest curvature is about {2 / limit:.1f}, so the limit is about {limit:.2f}")

# %%
def descend_gpt(rate, steps=30):
    """Plain gradient descent on the one batch -> losses"""
    model, losses = GPT(SHAPE, seed=1), []
    for _ in range(steps):
        loss = model(inputs, targets)
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= rate * p.grad
                p.grad = None
        losses.append(loss.item())
    return losses


# %%
fig, ax = figure(width=5.5, height=2.2)
tried = {0.1: (BLUE, "-"), 0.9: (GREEN, "--"), 4.0: (VERMILLION, "-.")}  # shares of the limit
for share, (color, style) in tried.items():
    losses = descend_gpt(share * limit)
    ax.plot(losses, style, color=color)
    label_end(ax, 29, losses[-1], f"{share:g} × limit", color)
    print(f"{share:g} × limit: highest loss {max(losses):.2f}, at the end {losses[-1]:.2f}")
ax.set(xlabel="step", ylabel="loss on the one batch")
show(fig, alt="Loss of plain gradient descent on one batch: a smooth slow fall at a tenth of the "
              "limit, a faster one near it, and a jagged line far above it.")

# %% [markdown]
# Far below the limit it is safe and slow. At four times the limit the loss jumps, but it does *not* diverge, as it would in the ravine. The curvature is that of the fresh
# weights; it changes with every step, and a real loss is no exact bowl. The rule tells you the order of magnitude in which to look.

# %% [markdown]
# ## 2. Momentum
#
# Look at the dashed way in the ravine again. Across it the gradients change sign in each step, along it they all agree. So add them up: what agrees grows, what alternates cancels. **Momentum** has a
# *velocity*, which keeps the share *beta* of itself in every step and adds the new gradient; then the weight moves against the velocity, times the rate.
#
# > **Your turn: 08.2 `momentum_step`** (8 min), before you see it in the next cell.

# %%
def with_momentum(gradient_of, weight, rate, beta, steps):
    """-> (steps + 1, …): the way of gradient descent with momentum"""
    velocity, way = torch.zeros_like(weight), [weight]
    for _ in range(steps):
        velocity = beta * velocity + gradient_of(way[-1])
        way.append(way[-1] - rate * velocity)
    return torch.stack(way)


start = torch.tensor([9.0, 1.5])
ball = with_momentum(lambda w: curvatures * w, start, 0.03, 0.8, 100)
theirs = torch.nn.Parameter(start.clone())
sgd = torch.optim.SGD([theirs], lr=0.03, momentum=0.8)
for step in range(100):
    theirs.grad = curvatures * theirs.detach()
    sgd.step()
    assert (ball[step + 1] - theirs).abs().max() < 1e-6
print("100 steps: equal to torch.optim.SGD(momentum=0.8)")

# %%
fig, ax = figure(width=5, height=2.4)
ways = {"rate 0.06": descend(0.06), "rate 0.03, momentum 0.8": ball[:41]}
for (name, way), color, style in zip(ways.items(), (VERMILLION, BLUE), ("s--", "o-")):
    ax.plot(*way.T, style, color=color, markersize=3, linewidth=1, label=name)
    print(f"{name}: after 40 steps {way[-1].norm():.2f} from the minimum, at (0, 0)")
ax.set(xlabel="flat direction", ylabel="steep direction")
ax.legend(frameon=False, loc="upper center")
show(fig, alt="Without momentum the way jumps between the walls and stops short; with momentum it "
              "swings in wide curves along the floor, a little past the minimum, and back.")

# %% [markdown]
# Unrolled, the velocity is the sum of all gradients so far, the one from n steps ago times beta to the n. A gradient that stays the same adds up to 1/(1 − beta) times itself: with beta = 0.9, to ten times. So momentum also makes
# the steps longer, and a rate that was chosen with momentum is no rate to use without it.

# %% [markdown]
# ## 3. Adam
#
# A GPT has a second trouble: its parameters live on different scales. The size of the gradient, at the fresh weights:

# %%
model = GPT(SHAPE, seed=1)
model(*windows_of(0)).backward()
for name in ("embed.weight", "blocks.0.attn.q.weight", "blocks.1.mlp.up.weight",
             "blocks.1.norm2.weight"):  # fmt: skip
    size = model.get_parameter(name).grad.square().mean().sqrt()
    print(f"{name:<24} root of the mean square of its gradient {size:.1e}")
every = torch.cat([p.grad.flatten() for p in model.parameters()]).abs()
low, high = every[every > 0].quantile(torch.tensor([0.05, 0.95])).tolist()
print(f"of all weights: 5 % have gradients below {low:.0e}, and 5 % above {high:.0e}, "
      f"{high / low:,.0f} times as much")  # fmt: skip

# %% [markdown]
# One rate for all of them is too large for some or too small for others. **Adam** ([Kingma & Ba 2015](https://arxiv.org/abs/1412.6980)) gives each parameter its own measure. It keeps two running means: of the gradient, and of its
# square. In each step such a mean keeps the share β of itself, and the rest comes from the new number; each has its own β. The root of the second says how large this parameter's gradients usually are. Divide by it, and the size is gone:
#
# $$w \leftarrow w - \text{rate} \cdot \frac{\text{mean}}{\sqrt{\text{square}} + \varepsilon}$$
#
# ε is tiny and only keeps 0/0 away. What is left of the gradient is how much the recent ones *agree*: near ±1 if they are all alike, near 0 if they cancel. So the rate is the length of a full step, in each parameter.
#
# There is one catch. Both means begin at zero, so that at first they are mostly zero. After t steps, the share 1 − βᵗ of a mean consists of real gradients; dividing by that share puts it right. This is the *bias correction*.
#
# > **Your turn: 08.3 `adamw_step`** (15 min), before you see the next cell. (Its `decay` shrinks the weight; why this makes it Adam*W* comes below.)

# %%
def adam(weight, gradient, memory, rate, betas=(0.9, 0.95), eps=1e-8, correct=True, l2=0, decay=0):
    """One step of Adam, from (weight, gradient, memory) to (weight, memory); l2 and decay: below"""
    t, mean, square = memory or (0, torch.zeros_like(weight), torch.zeros_like(weight))
    gradient = gradient + l2 * weight
    mean = mean + (1 - betas[0]) * (gradient - mean)
    square = square + (1 - betas[1]) * (gradient.square() - square)
    t += 1
    real = [1 - beta**t for beta in betas] if correct else [1, 1]
    move = (mean / real[0]) / ((square / real[1]).sqrt() + eps)
    return weight * (1 - rate * decay) - rate * move, (t, mean, square)


# %% [markdown]
# **Predict.** What breaks without the correction? Take betas of 0.9 and 0.999, as the paper does. The first gradient is g, whatever it is. How many times as long as the corrected first step is the uncorrected one?

# %%
guess = None
reveal("08.p2", guess)

# %%
fig, ax = figure(width=5.5, height=2.1)
for betas, color, style in (((0.9, 0.999), VERMILLION, "-"), ((0.9, 0.95), BLUE, "--")):
    weight, memory, moves = torch.zeros(1), None, []
    for _ in range(60):  # a gradient that never changes: every step should have length 1
        new, memory = adam(weight, torch.tensor([0.02]), memory, 1.0, betas, correct=False)
        moves.append((weight - new).item())
        weight = new
    ax.plot(range(1, 61), moves, style, color=color)
    label_end(ax, 60, moves[-1], f"betas {betas}", color)
    print(f"betas {betas}: uncorrected, step 1 is {moves[0]:.2f}, the longest {max(moves):.2f}")
ax.axhline(1, color=GREY, linestyle=":")
ax.set(xlabel="step", ylabel="length of the step / rate", ylim=(0, 8))
show(fig, alt="Uncorrected steps for a constant gradient: with betas 0.9 and 0.999 they rise to "
              "over six times the rate and fall slowly; with 0.9 and 0.95 they stay below two.")

# %% [markdown]
# With the paper's betas the early steps are several times too long, and after 60 steps they still are: just when the model knows least. With 0.95, as for most language models today, the fault is small and short.
#
# **Weight decay** pulls every weight towards zero a little in each step. The old way is to add a multiple of the weight to its gradient; on paper that is the gradient of a penalty on squares, "L2". With plain
# gradient descent this is the same as shrinking the weight directly. With Adam it is not: what enters the gradient is *divided by the gradient's size*. [Loshchilov & Hutter 2019](https://arxiv.org/abs/1711.05101) take the decay out of
# the gradient and shrink the weight itself, and that is **AdamW**. Two weights show the difference: both start at 1, their gradients are pure noise, and those of the second are a hundred times smaller:

# %%
def decayed(steps=400, **kind):
    """-> (steps, 2): two weights with noisy gradients of sizes 1 and 0.01"""
    g = torch.Generator().manual_seed(3)
    weight, memory, way = torch.ones(2), None, []
    for _ in range(steps):
        noise = torch.randn(2, generator=g) * torch.tensor([1.0, 0.01])
        weight, memory = adam(weight, noise, memory, 0.002, (0.9, 0.95), **kind)
        way.append(weight)
    return torch.stack(way)


# %%
fig, axes = figure(width=6, height=2.1, columns=2, sharey=True)
kinds = {"L2 inside Adam": {"l2": 0.2}, "AdamW": {"decay": 0.2}}
for ax, (title, kind) in zip(axes, kinds.items()):
    way = decayed(**kind)
    for column, (name, color, style) in enumerate((("large", BLUE, "-"), ("small", ORANGE, "--"))):
        ax.plot(way[:, column], style, color=color, label=f"gradients: {name}")
    print(f"{title}: after 400 steps the weights are {way[-1, 0]:.2f} and {way[-1, 1]:.2f}")
    ax.set(xlabel="step", title=title)
axes[0].set_ylabel("weight")
axes[1].legend(frameon=False, loc="lower left")
show(fig, alt="Left, L2 inside Adam: the weight with large gradients stays near where it started, "
              "the one with small gradients falls to near zero. Right, AdamW: both fall alike.")

# %% [markdown]
# Inside Adam, the weight with small gradients is dragged towards zero: its decay is divided by their size, a hundredth. (The gradients of the other have size 1, and dividing by 1 changes little.) A rare token's row in the embedding has small gradients. Decoupled, both lose the same share in each step; what still differs between the two lines is their noise.
#
# Is this function PyTorch's? A hundred steps of a GPT, with Adam and with AdamW. Both get the gradients of the same model, and after each step no weight may differ by a millionth:

# %%
for kind, make in (({"decay": 0}, torch.optim.Adam), ({"decay": 0.1}, torch.optim.AdamW)):
    model = GPT(SHAPE, seed=1)
    engine = make(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=kind["decay"])
    own = {name: (p.detach().clone(), None) for name, p in model.named_parameters()}
    gap = 0.0
    for step in range(100):
        model.zero_grad()
        loss = model(*windows_of(step, rows=2))
        loss.backward()
        for name, p in model.named_parameters():
            own[name] = adam(own[name][0], p.grad, own[name][1], 2e-3, **kind)
        engine.step()
        gaps = [(own[name][0] - p).abs().max().item() for name, p in model.named_parameters()]
        gap = max(gap, *gaps)
    print(f"{make.__name__}: largest difference in any weight in 100 steps {gap:.0e}")
    assert gap < 1e-6
print(f"neighbours among float32 numbers, just above 1: {torch.finfo(torch.float32).eps:.0e} apart")

# %% [markdown]
# The same formula; what is left is rounding. PyTorch multiplies and divides in another order, so that now and then a weight lands on the neighbouring number.

# %% [markdown] tags=["slide"]
# ### Adam in one line each
#
# - mean: where the gradients agree
# - root of the mean square: how large they usually are; the quotient is about ±1 or less
# - correction: means that begin at zero hold only the share 1 − βᵗ
# - AdamW: decay acts on the weight, not through the means

# %% [markdown]
# ## 4. Warm-up and decay
#
# **Predict.** You know the first step now. All of the model's weights, with all their different gradients: what is the root of the mean square of Adam's *first* update, in units of the learning rate? (Leave out weights whose gradient is exactly zero.)

# %%
guess = None
reveal("08.p3", guess)

# %%
def sizes_of_moves(warmup, rate=0.01, steps=40):
    """Root of the mean square of each step's change, in units of the peak rate -> (steps,)"""
    model, memory, sizes = GPT(SHAPE, seed=1), {}, []
    shape = OptimConfig(schedule="constant", warmup=warmup)
    for step in range(steps):
        model.zero_grad()
        model(*windows_of(step, rows=4)).backward()
        now, moved, count = rate * learning_rate(step, steps, shape), 0.0, 0
        for name, p in model.named_parameters():
            new, memory[name] = adam(p.detach(), p.grad, memory.get(name), now)
            moved += float((new - p.detach()).square().sum())
            count += int((memory[name][2] > 0).sum())
            p.data = new
        sizes.append(math.sqrt(moved / count) / rate)
    return sizes


# %%
fig, axes = figure(width=6.5, height=2.3, columns=2)
arms = (0, "no warm-up", VERMILLION, "-"), (0.5, "warm-up", BLUE, "--")  # of 20 steps
for warmup, name, color, style in arms:
    moves = sizes_of_moves(warmup)
    axes[0].plot(range(1, 41), moves, style, color=color)
    label_end(axes[0], 40, moves[-1] + (0.06 if warmup else -0.02), name, color)
    print(f"{name}: step 1 {moves[0]:.2f}, step 5 {moves[4]:.2f}, step 30 {moves[29]:.2f}")
axes[0].set(xlabel="step", title="Adam's moves / peak rate", ylim=(0, 1.1))
shapes = {"constant": GREY, "cosine": ORANGE, "wsd": BLUE}
for (name, color), style in zip(shapes.items(), (":", "--", "-")):
    shape = OptimConfig(schedule=name, warmup=0.1, decay=0.4)
    axes[1].plot([learning_rate(s, 200, shape) for s in range(200)], style, color=color, label=name)
axes[1].set(xlabel="step", title="learning_rate")
axes[1].legend(frameon=False, loc="lower left")
show(fig, alt="Left: without warm-up the first move has the full size 1, later ones a small part "
              "of it; with warm-up moves start near zero and stay small. Right: three schedules.")

# %% [markdown]
# Without warm-up the *largest* of these steps is the first. It moves every single weight by the full rate, in a direction that one batch has chosen, at weights that mean nothing yet. Later, gradients disagree from batch to batch, and
# the moves shrink by themselves. **Warm-up** lets the rate grow from near zero, so that the means know something before the steps are long.
#
# **Decay** at the end is the opposite problem. A batch is a sample, its gradient is noisy, and with a constant rate the weights keep on jittering around the floor of the ravine. Lower the rate, and they sink to it. The usual shapes of a **learning-rate schedule** are cosine
# ([Loshchilov & Hutter 2017](https://arxiv.org/abs/1608.03983)) and *warm-up, stable, decay*, `wsd` for short ([Hägele et al. 2024](https://arxiv.org/abs/2405.18392)), which stays high and falls in a straight line. The second needs no decision on the length of the run until the decay begins.
#
# What does each buy? An experiment: two by two (warm-up or not, decay or not), and a cosine, at a peak rate that is too high for comfort, and two arms at a lower one. (`short` is `both` with a quarter of the steps; your machine repeats it now.)
#
# The *wobble* is the standard deviation of the held-out loss over the last 20 steps. The text is the same each time, so what moves is the model: it is the jitter, measured.

# %%
record = recorded("08.schedule")
live = record.live() if usable[0] == "books" else None
print(record.what)
print("arm           peak rate   loss at the end   wobble of the last 20 steps")
for arm in record.arms:
    ends, wobble = record.curves(arm)[:, -1], record.numbers(arm, "wobble")
    print(f"{arm:<14} {record.numbers(arm, 'rate')[0]:>8g} {ends.mean():>10.3f} "
          f"± {half_width(ends):.2f} {wobble.mean():>20.4f}")  # fmt: skip
print(record.sentence())

# %%
fig, axes = figure(width=6.6, height=2.6, columns=2, width_ratios=[5, 3])
plot_record(axes[0], record, ["neither", "both", "neither, low", "both, low"], label=False)
for arm, color, nudge in (("neither", VERMILLION, 0.12), ("both", ORANGE, 0.0),
                          ("neither, low", BLACK, 0.0), ("both, low", BLUE, -0.14)):  # fmt: skip
    label_end(axes[0], 600, record.mean(arm)[-1] + nudge, arm, color)
if live:
    plot_live(axes[0], live.x, live.y, "short, live", GREY)
    print(live_sentence(record, "short", live))
arms = ["neither", "warm-up", "decay", "both", "cosine"]
for place, arm in enumerate(arms):
    axes[1].plot([place] * 3, record.numbers(arm, "wobble") + 1e-6, "o", color=BLUE, mfc="white")
axes[1].set_xticks(range(5), arms, rotation=30, ha="right")
axes[1].set(yscale="log", title="wobble")
axes[0].set_ylabel("held-out loss")
show(fig, alt="Left: held-out loss falls for 600 steps; both high-rate arms end above both "
              "low-rate arms. Right: arms that decay wobble several to a hundred times less.")
print(record.sentence())

# %% [markdown]
# Every arm that decays is quieter, and the cosine, which ends at zero slowly, is quietest.
#
# And the loss itself? Paired by seed:

# %%
def apart(arm, against):
    """Paired difference of the ends, with its 95 % interval"""
    d = record.curves(arm)[:, -1] - record.curves(against)[:, -1]
    mean, half = d.mean(), half_width(d)
    verdict = "cannot tell" if abs(mean) <= half else "better" if mean < 0 else "worse"
    print(f"recorded, 3 seeds: {arm} minus {against}: {mean:+.3f}, interval ±{half:.3f}: {verdict}")


for pair in (("warm-up", "neither"), ("decay", "neither"), ("both", "neither"), ("cosine", "both"),
             ("both, low", "neither, low"), ("both, low", "both")):  # fmt: skip
    apart(*pair)

# %% [markdown]
# Read it soberly. Warm-up *and* decay together help at the high rate; of each alone, three seeds cannot tell. (And that is one of six comparisons: lesson 06 says how much to trust the one that stands out by little.) At the lower rate three seeds cannot tell even both from neither. And the largest effect in the table is none of these: it is the *right rate*. Warm-up and
# decay are cheap, they let you stand a higher rate, and they do not replace choosing it. The cosine loses here, in a run this short: its rate is already falling while the model still learns fast. In long runs the two shapes come out close together (Hägele et al. 2024).
#
# > **Your turn: 08.4 `schedule`** (10 min): a schedule with three mistakes, and three symptoms.

# %% [markdown]
# ## 5. Clipping
#
# Data is never all clean. Somewhere in a terabyte is a shard with one byte repeated, or a table of numbers, and one day a batch consists of it. Its gradients all point the same way, so that together they are long. **Gradient clipping** treats all gradients as one vector, the concatenation of all tensors, and if it is longer than
# a limit, multiplies all of it by one factor. The length is cut, the direction stays.
#
# > **Your turn: 08.5 `clip`** (8 min), before you see the next cell.

# %%
model = GPT(SHAPE, seed=1)
model(*windows_of(0)).backward()
before = [p.grad.clone() for p in model.parameters()]
length = math.sqrt(sum(float(g.square().sum()) for g in before))  # of all of them together
factor = min(1.0, 0.5 / length)
theirs = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
assert abs(theirs.item() - length) < 1e-5 * length
for p, g in zip(model.parameters(), before):
    torch.testing.assert_close(p.grad, g * factor, rtol=1e-5, atol=1e-7)
print(f"length {length:.2f}; clipped at 0.5, every tensor times {factor:.2f}: equal to torch's")

# %% [markdown]
# Plant a bad batch at step 30 of 60, the same token everywhere, and train with momentum and with AdamW, with and without clipping. Each run has a twin without the bad batch. Look at the difference between the two:

# %%
def train(make, most, bad=None, steps=60):
    """-> losses, and gradient norms before clipping; step `bad` reads garbage"""
    model = GPT(SHAPE, seed=1)
    optimizer, losses, norms = make(model.parameters()), [], []
    for step in range(steps):
        inputs, targets = windows_of(step, rows=4)
        if step == bad:
            inputs, targets = torch.full_like(inputs, 500), torch.full_like(targets, 501)
        loss = model(inputs, targets)
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), most).item())
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


# %%
makers = {
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.5),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=5e-3, betas=(0.9, 0.95)),
}
runs = {(name, most): [train(make, most, bad) for bad in (30, None)]
        for name, make in makers.items() for most in (math.inf, 1.0)}  # fmt: skip

# %%
fig, ax = figure(width=5.5, height=2.3)
styles = {math.inf: (VERMILLION, "-", "as it comes"), 1.0: (BLUE, "--", "clipped at 1")}
for (name, most), ((losses, norms), (twin, _)) in runs.items():
    color, style, label = styles[most]
    harm = np.array(losses) - np.array(twin)
    harm[30] = np.nan  # of the garbage itself
    if name == "momentum":
        ax.plot(harm, style, color=color, label=f"momentum, {label}")
    print(f"{name}, {label}: the 5 losses after it {harm[31:36].mean():+.3f}; "
          f"norm at step 30 {norms[30]:.1f}, median {np.median(norms):.1f}")  # fmt: skip
ax.set(xlabel="step", ylabel="loss, minus the twin's")
ax.legend(frameon=False, loc="upper left")
show(fig, alt="Loss with momentum minus that of the twin: zero up to the bad batch, step 30. Then "
              "as it comes the loss is higher for some steps; clipped, it is so by far less.")

# %% [markdown]
# Clipping limits the damage where the length of the step follows the length of the gradient, as it does with momentum: unclipped, the model needs several steps to get over the bad batch, and clipped, it has hardly moved. AdamW is less exposed: the gradient is divided by its own size, so that a step cannot
# be longer than a few times the rate. Its harm is another one: the large square stays in the running mean, and makes the next steps too *short*. Clipping limits that as well, but here the loss hardly shows it. Clipping has a price: with momentum, a run that clips in every step no longer has the learning rate that you set. Look at the norm in
# your log, and set the limit above what is usual.

# %% [markdown]
# ## 6. Accumulation
#
# A batch that does not fit into memory is computed in **micro-batches**. Gradients add up by themselves if you do not clear them, which is called **gradient accumulation**. The only question is what to divide by.
#
# The loss is a mean over the targets that *count*. Padding does not, nor does the user's side of a chat. Let each micro-batch compute its own mean, and then average the means? Then a target weighs more if few others share its micro-batch.
#
# **Predict.** Two micro-batches, with 100 and with 10 targets that count. You average their mean losses. How many times as much does a target of the second weigh as one of the first?

# %%
guess = None
reveal("08.p4", guess)

# %%
def padded(documents, rows):
    """A document in a window of its own: inputs and targets (rows, T), -100 where nothing counts"""
    inputs, targets = torch.full((rows, T), eot), torch.full((rows, T), -100)
    for row, ids in enumerate(documents[:rows]):
        whole = torch.from_numpy(np.concatenate([[eot], ids, [eot]]))[: T + 1]
        inputs[row, : len(whole) - 1], targets[row, : len(whole) - 1] = whole[:-1], whole[1:]
    return inputs, targets


def gradient(losses):
    """All gradients of the sum of some losses, as one vector"""
    model.zero_grad()
    for loss in losses:
        loss().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


by_length = sorted(documents[:64], key=len)
mixed = [*by_length[:8], *by_length[-8:]]  # short and long ones: real batches are as uneven
inputs, targets = padded(mixed, 16)
micro = list(zip(inputs.split(4), targets.split(4)))
counts = [int((y != -100).sum()) for _, y in micro]
print("targets that count in each micro-batch of 256:", counts)

# %%
model = GPT(SHAPE, seed=1)
for step in range(20):  # a little training, or all targets are equally hard
    model.zero_grad()
    model(*windows_of(step)).backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.3 * p.grad
valid = sum(counts)
one = gradient([lambda: model(inputs, targets)])
sums = gradient([lambda x=x, y=y: model(x, y, reduction="sum") / valid for x, y in micro])
means = gradient([lambda x=x, y=y: model(x, y) / len(micro) for x, y in micro])
assert (sums - one).norm() < 1e-5 * one.norm()
off = (means - one).norm() / one.norm()
cosine = torch.nn.functional.cosine_similarity(means, one, dim=0).item()
close = (sums - one).norm() / one.norm()
print(f"sums over the batch's count: off by {close:.0e} of its length")
turned = math.degrees(math.acos(min(1.0, cosine)))
print(f"mean of means: off by {off:.0%} of its length, turned by {turned:.0f} degrees")

# %% [markdown]
# So: add up *sums*, and divide by the number of targets that count in the **whole** batch, which you know before you begin. This is what `forward_backward` in `minigpt/train.py` does, and it gives the same gradient however the batch is cut. The other way was in widely used trainers until 2024 ([Unsloth 2024](https://unsloth.ai/blog/gradient)). It raises no error, and its loss falls.
#
# > **Your turn: 08.6 `accumulate`** (8 min).

# %% [markdown] tags=["slide"]
# ### One step
#
# - sums over micro-batches, divided once by the batch's valid targets
# - clip: all gradients are one vector; its length is cut, its direction stays
# - rate: a function of the step
# - AdamW, then clear the gradients

# %% [markdown]
# ## 7. What is in a window: packing
#
# Documents have all lengths, windows have one. Give each document a window of its own, and fill up with padding? **Predict.** Our paragraphs, windows of 64 tokens; a document that is longer takes several windows. What share of all places is padding?

# %%
places = sum(-(-(len(d) + 1) // T) * T for d in documents)  # each target counts, the end included
padding = 1 - sum(len(d) + 1 for d in documents) / places
guess = None
reveal("08.p5", guess, padding)

# %% [markdown]
# Padding costs as much to compute as text. **Packing** wastes nothing: write all documents end to end, each after its `<|endoftext|>`, and cut the stream wherever a window is full. The price is that a window now holds pieces of several documents, which have nothing to say to each other. Let them attend to each other all the same, or mask them?
#
# > **Your turn: 08.7 `document_mask`** (12 min), before you see it in the next cell.

# %%
def numbers_of(tokens):
    """(…, T) ids -> which document each belongs to; <|endoftext|> begins one"""
    return (tokens == eot).cumsum(-1)


short = sorted(documents, key=len)[:5]
window = end_to_end(short)[:T]
doc = numbers_of(window)
causal = torch.ones(len(window), len(window)).tril()
fig, axes = figure(width=6, height=2.6, columns=2)
heatmap(causal * doc[None, :], title="across (a colour: a document)", ax=axes[0])
heatmap(causal * (doc[:, None] == doc) * doc[None, :], title="with a document mask", ax=axes[1])
for ax in axes:
    ax.set(xlabel="looks at position (dark: hidden)", ylabel="position")
show(fig, alt="Two lower triangles of a packed window. Left: later documents also see all earlier "
              "ones. Right: only small triangles along the diagonal are left, one per document.")
print(f"{int(doc.max())} documents in {len(window)} tokens")

# %% [markdown]
# With the **document mask**, a window is as good as separate windows. Not nearly: exactly (up to rounding), for a model with rotary positions, which sees only distances. (A table of positions would have to be counted from 0 again in each document.) Test it:

# %%
model.eval()
with torch.no_grad():
    packed = model(window[None, :-1], window[None, 1:], doc_ids=doc[None, :-1], reduction="none")[0]
    at = 0
    for ids in short:
        alone = torch.from_numpy(np.concatenate([[eot], ids]))
        losses = model(alone[None, :-1], alone[None, 1:], reduction="none")[0]
        piece = packed[at : at + len(ids)][: len(packed) - at]
        torch.testing.assert_close(piece, losses[: len(piece)], atol=1e-5, rtol=0)
        at += len(alone)
print("masked and packed = each document alone, token by token")

# %% [markdown]
# What does the mask buy in training? Recorded: all three ways at equal numbers of windows of 128 tokens, judged on held-out paragraphs that are read *alone*, as a model is used.

# %%
packing = recorded("08.packing")
live = packing.live() if usable[0] == "books" else None
print(packing.what)
print("arm       padding   targets seen   ms a step   bits per byte at the end")
for arm in packing.arms:
    get = lambda name: packing.numbers(arm, name).mean()
    ends = packing.curves(arm)[:, -1]
    print(f"{arm:<8} {get('padding'):>8.0%} {get('targets'):>14,.0f} "
          f"{1000 * get('seconds_step'):>11.0f} {ends.mean():>14.3f} ± {half_width(ends):.3f}")
print(packing.sentence())

# %%
fig, ax = figure(width=5.5, height=2.5)
plot_record(ax, packing, ["padded", "across", "masked"], label=False)
ax.set_ylabel("bits per byte, read alone")
for arm, color, nudge in (("padded", VERMILLION, 0.03), ("across", GREEN, 0.02),
                          ("masked", PURPLE, -0.04)):  # fmt: skip
    label_end(ax, 600, packing.mean(arm)[-1] + nudge, arm, color)
if live:
    plot_live(ax, live.x, live.y, "short, live", GREY)
    print(live_sentence(packing, "short", live))
ax.set_ylim(bottom=packing.mean("masked").min() - 0.1)
show(fig, alt="Bits per byte of held-out paragraphs against steps, for padded, across and masked: "
              "all fall; the padded arm lies above the two packed ones.")
for arm, against in (("across", "padded"), ("masked", "padded"), ("masked", "across")):
    d = packing.curves(arm)[:, -1] - packing.curves(against)[:, -1]
    print(f"{arm} minus {against}: {d.mean():+.3f} ± {half_width(d):.3f} bits per byte")
print(packing.sentence())

# %%
print("the same held-out paragraphs, packed: nats per token   without the mask   with it")
for arm in ("padded", "across", "masked"):
    found = [packing.numbers(arm, f"read_{how}").mean() for how in ("across", "masked")]
    print(f"{arm:<44} {found[0]:>12.3f} {found[1]:>14.3f}")

# %% [markdown]
# The verdict, for documents about as long as a window (`short` is `masked` with a sixth of the steps):
#
# - **Packing pays most.** At equal windows, which is equal computing, the padded arm has seen only two thirds of the targets, and it shows. (What it would do with as many targets was not measured.)
# - **The mask pays, too**, about a third as much again. The interval of the paired difference excludes zero. And where this was recorded it cost no time that the column *ms a step* could show.
# - **A model wants to be read as it was trained.** In the last table, `padded` and `masked`, which have never met a stranger, get worse when the mask is taken away. `across` hardly cares: it has learnt to live with strangers.
#
# It is no law. Where documents are much longer than a window, nearly every window holds one document, and there is nothing to mask. minigpt's own trainer packs across, for its built-in texts are whole books; for short web pages or chats, a loop of your own hands the model `doc_ids`.

# %% [markdown]
# ## 8. Evaluation that is not noise
#
# You have two models and want to know which is better. The loss of one batch is a sample. How noisy is it? Train two models for a short while, at two rates, and look at the loss of each held-out window:

# %%
def trained(rate, steps=150):
    """A GPT after some steps of AdamW"""
    model = GPT(SHAPE, seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * learning_rate(step, steps, OptimConfig(warmup=0.1))
        optimizer.zero_grad()
        model(*windows_of(step, rows=4)).backward()
        optimizer.step()
    return model.eval()


def by_window(model):
    """-> (n,): the mean loss of each held-out window, always the same windows"""
    n = (len(unseen_stream) - 1) // T
    x, y = (unseen_stream[i : i + n * T].view(n, T) for i in (0, 1))
    with torch.no_grad():
        return torch.cat([model(*rows, reduction="none").mean(1)
                          for rows in zip(x.split(64), y.split(64))])  # fmt: skip


a, b = (by_window(trained(rate)) for rate in (4e-3, 5e-3))
print(f"{len(a)} windows: loss {a.mean():.3f} and {b.mean():.3f}; "
      f"standard deviation over the windows {a.std():.2f}")  # fmt: skip

# %% [markdown]
# The **standard error** of a mean over n windows is s/√n, with s the standard deviation of one. **Predict.** To halve the standard error, how many times as many windows do you need?

# %%
guess = None
reveal("08.p6", guess)

# %%
fig, ax = figure(width=5, height=2.4)
numbers = [2, 4, 8, 16, 32, 64, 128]
g = torch.Generator().manual_seed(4)
for values, name, color, mark in ((a, "one model", VERMILLION, "o"),
                                  (b - a, "difference, paired", BLUE, "s")):  # fmt: skip
    means = [torch.stack([values[torch.randint(len(values), (n,), generator=g)].mean()
                          for _ in range(300)]).std() for n in numbers]  # fmt: skip
    ax.loglog(numbers, means, mark, color=color, mfc="white")
    ax.loglog(numbers, [values.std() / n**0.5 for n in numbers], "-", color=color, linewidth=1)
    label_end(ax, 128, values.std() / 128**0.5, name, color)
ax.set(xlabel="windows", ylabel="standard error, nats")
show(fig, alt="On log-log axes, two straight falling lines of slope minus one half: the standard "
              "error of one model's loss, and below it that of the paired difference.")
wanted = 0.01 * math.log(2)  # a hundredth of a bit, in nats
unpaired = math.sqrt(2) * a.std().item()  # two independent means: their variances add up
paired = (b - a).std().item()
for name, s in (("other windows for each model", unpaired), ("the same windows for both", paired)):
    n = math.ceil((2 * s / wanted) ** 2)
    print(f"{name}: {n:>9,} windows until 2 standard errors are 0.01 bits")

# %% [markdown]
# Marks are measured (300 random draws of n windows), lines are s/√n. What makes one window hard makes it hard for both models, and cancels in the difference. So fix the windows once, and never draw them anew. minigpt's `evaluate_step` spreads them evenly over the held-out text and takes the same ones each time.
#
# A caution: this counts only which *text* was drawn. That another seed would have given other weights is a second source of noise, and no number of windows removes it.
#
# > **Your turn: 08.8 `windows_needed`** (12 min).

# %% [markdown]
# ## 9. The log
#
# Now put it together, with the functions of `minigpt/train.py`. These are the same steps that the command `pretrain` takes; a notebook may take them one by one. First a data folder, so that all runs below read the same tokens:

# %%
environment = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": str(torch.get_num_threads())}
work = Path(tempfile.mkdtemp())
for file, lines in (("text", texts[:1500]), ("val", unseen_texts[:60])):
    (work / f"{file}.txt").write_text("\n\n".join(lines), encoding="utf-8")
raw = DataConfig(text=(str(work / "text.txt"),), val_text=str(work / "val.txt"))
prepare(raw, work / "data", 512, workers=1, say=lambda line: None)

STEPS, SAVED = 90, 30
model = dict(layers=2, width=64, heads=2, kv_heads=2, head_size=32, mlp_width=192, context=T)
optim = dict(steps=STEPS, batch_tokens=8 * T, optimizer="adamw", lr=0.005, warmup=0.1)
other = dict(device="cpu", precision="fp32", compile="off", save_every=SAVED, samples=0,
             eval_every=STEPS, time_limit=0)  # fmt: skip
tiny = preset("tiny")  # what the command line starts from
config = RunConfig(replace(tiny.model, **model), DataConfig(data=str(work / "data")),
                   replace(tiny.optim, **optim),
                   replace(tiny.train, **other | {"save_every": str(SAVED)}))  # fmt: skip

# %%
def open_run(name, resume=False, say=lambda line: None):
    """A run of this config in a folder of its own, ready for its next step"""
    where = replace(config.train, out=str(work / name), resume=resume)
    return loop.setup(replace(config, train=where), say=say)


def go(t, until=STEPS):
    """Steps of a run, one by one -> the rows of its log"""
    rows = []
    while t.step < until:
        batch = loop.next_batch(t)
        rate = learning_rate(t.step, t.steps, t.config.optim, t.decay_start)
        loss = loop.forward_backward(t, batch)
        norm = loop.optimizer_step(t)
        t.step += 1
        rows.append({"step": t.step, "tokens": t.step * 8 * T, "train_loss": float(loss),
                     "lr": rate * t.config.optim.lr, "grad_norm": float(norm)})  # fmt: skip
        if t.step % SAVED == 0:
            loop.save(t)
    return rows


# %%
t = open_run("by_hand")
begun = time.perf_counter()
by_hand = go(t)
speed = STEPS * 8 * T / (time.perf_counter() - begun)
print(f"{speed:,.0f} tokens a second")
print(f"at the end {loop.evaluate_step(t)['val_bpb']:.2f} bits per byte of held-out text")
for row in [by_hand[0], *by_hand[14::15]]:
    print("   ".join(f"{key} {value:{',' if isinstance(value, int) else '.3g'}}"
                     for key, value in row.items()))  # fmt: skip
assert abs(by_hand[0]["train_loss"] - math.log(512)) < 0.2

# %% [markdown]
# The command writes such rows, with a few more columns, to `metrics.jsonl`, a JSON object a line. What each column tells you when something is wrong:
#
# | column | look here when |
# |---|---|
# | `train_loss` | always: is it ln V at step 1? does it fall? does it jump, and at which step? |
# | `lr` | the loss is odd at the beginning or the end: is the schedule the one that you meant? |
# | `grad_norm` | the loss spikes: did the norm rise *before* it? is it above the clip in every step? |
# | `tokens` | you compare runs: equal steps are not equal tokens |
# | `val_bpb` | training falls and this does not: overfitting, or data that repeats |
# | `tokens_per_second` | the run is late: was it slow from the start, or since a certain step? |
# | `skipped` | a gradient was not finite, and the step was left out (lesson 09) |

# %% [markdown]
# ## 10. Checkpoints and exact resume
#
# Machines fail. A run of weeks is really a chain of runs, and each link starts from a file. What has to be in the **checkpoint**, so that nobody can tell afterwards where the links are?
#
# - the weights: of course
# - the optimizer state: AdamW's two means for each weight, called its *moments* (in PyTorch `exp_avg` and `exp_avg_sq`), and its count of steps
# - the step. In minigpt the learning rate, the batch and the dice of dropout are all *functions of the step*, so that they need not be saved. In a trainer that draws from a running random generator, its state belongs here too.
#
# Look into one:

# %%
tensors, state = checkpoint.load_latest(work / "by_hand" / "checkpoints")
print(f"{len(tensors)} tensors, such as")
print(*[f"  {name}" for name in tensors if "blocks.0.attn.q." in name], sep="\n")
print("and beside them", {key: state[key] for key in ("step", "steps", "decay_start")})
assert any(name.endswith(".exp_avg_sq") for name in tensors)

# %% [markdown]
# Now the hard test: **exact resume**. Start the command in a process of its own, wait until it is some steps past its second checkpoint, and *kill* it: no warning, no time to tidy up. Then give the same command again. (`--resume` starts where there is no checkpoint, and
# goes on where there is one, so that the restart is the same line.) The run by hand, above, is its twin: the same config, never disturbed.

# %%
def command(name):
    """The same run, as a command line"""
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in (model | optim | other).items()]
    return [sys.executable, "-m", "minigpt", "pretrain", f"--data={work / 'data'}",
            f"--out={work / name}", "--resume", *flags]  # fmt: skip


def rows_of(name):
    file = work / name / "metrics.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [row for row in map(json.loads, lines) if "train_loss" in row]


# %%
with open(work / "said.txt", "w", encoding="utf-8") as said:
    process = subprocess.Popen(command("killed"), stdout=said, stderr=said, env=environment)
    file = work / "killed" / "metrics.jsonl"
    while process.poll() is None:
        if file.exists() and file.read_bytes().count(b"train_loss") >= 2 * SAVED + 6:
            break
        time.sleep(0.01)
    process.kill()
code = process.wait()
assert code != 0, (work / "said.txt").read_text(encoding="utf-8")
print(f"killed, exit code {code}, with {len(rows_of('killed'))} rows in its log; what is left:")
print(sorted(path.name for path in (work / "killed" / "checkpoints").glob("step*")))
for copy in ("moments", "replayed", "torn"):
    shutil.copytree(work / "killed", work / copy)  # for later

# %%
subprocess.run(command("killed"), capture_output=True, env=environment, check=True)
resumed = rows_of("killed")
columns = ("step", "tokens", "train_loss", "lr", "grad_norm")
for ours, theirs in zip(by_hand, resumed, strict=True):
    assert [ours[c] for c in columns] == [theirs[c] for c in columns]
again, _ = checkpoint.load_latest(work / "killed" / "checkpoints")
assert list(tensors) == list(again)
assert all(torch.equal(tensors[name], again[name]) for name in tensors)
print(f"{len(resumed)} rows of the log and {len(tensors)} tensors: all equal, bit for bit")

# %% [markdown]
# Not close: equal. That is worth the trouble, because "close" cannot be tested. A resume that is nearly right looks like noise. One that is exact can be checked by a machine after every change to the code, and minigpt's tests do.
#
# Now three ways in which it usually fails. **Moments forgotten**: someone saves the model and not the optimizer. **The step restarted**: the loop counts from zero again, and with it the schedule and the order of the data. **A torn file**: the machine died while the checkpoint was being written.
#
# **Predict.** Weights and step are right, Adam's moments are gone. Is the training loss of the *first* step after the resume different from the undisturbed run's? (yes or no)

# %%
guess = None
reveal("08.p7", guess)

# %%
t = open_run("moments", resume=True)
for optimizer in t.optimizers:
    optimizer.state.clear()
curves = {"moments forgotten": go(t)}

t = open_run("replayed", resume=True)
t.batches.close()
t.step, t.batches = 0, t.data.loader(t.config.optim.seed, 0, t.sequences)
curves["step restarted"] = go(t, until=STEPS - 2 * SAVED)

newest = max((work / "torn" / "checkpoints").glob("step*")) / checkpoint.TENSORS
with open(newest, "r+b") as file:
    file.truncate(newest.stat().st_size // 2)
heard = []
t = open_run("torn", resume=True, say=heard.append)
print(*[line.replace(str(work), "…") for line in heard if "damaged" in line])
print("so it goes on from step", t.step)
assert t.step == SAVED and go(t) == by_hand[SAVED:]
print("and the rest is exact all the same")

# %%
fig, axes = figure(width=6.5, height=2.3, columns=2)
steps = np.arange(2 * SAVED + 1, STEPS + 1)
exact = np.array([row["train_loss"] for row in by_hand])
axes[0].plot(range(1, STEPS + 1), exact, color=GREY)
for (name, rows), color, style in zip(curves.items(), (VERMILLION, PURPLE), ("--", "-.")):
    losses = np.array([row["train_loss"] for row in rows])
    axes[0].plot(steps, losses, style, color=color)
    gaps = losses - exact[2 * SAVED :]
    axes[1].plot(steps, gaps, style, color=color, label=name)
    print(f"{name}: off by {gaps[0]:+.3f} at the first step, "
          f"by {np.abs(gaps).max():.3f} at most, by {gaps[-1]:+.3f} at the last")  # fmt: skip
axes[1].axhline(0, color=GREY)
axes[0].axvline(2 * SAVED, color=GREY, linestyle=":")
axes[0].set(xlabel="step", title="loss; grey: undisturbed", xlim=(50, 91), ylim=(5, 5.6))
axes[1].set(xlabel="step", title="minus the undisturbed run")
axes[1].legend(frameon=False, loc="upper right")
axes[1].margins(y=0.3)
show(fig, alt="Left: training loss from step 50 on, and two resumed runs from step 60 on that lie "
              "close to it. Right: their differences to the undisturbed run, which are clear.")
assert curves["moments forgotten"][0]["train_loss"] == by_hand[2 * SAVED]["train_loss"]

# %% [markdown]
# On the left, both failures pass for noise. On the right they do not, but you have that picture only if you have the undisturbed twin.
#
# - **Moments forgotten.** The first loss is exact: it depends on weights and data only. Then Adam starts over, with no memory and with steps of full size in every weight (section 4), in the middle of a run.
# - **The step restarted.** It trains again on batches that it has seen, so that its training loss can look *better* than it should, and warms up once more. The loss on held-out text tells.
# - **The torn file** cost thirty steps and nothing else. minigpt writes a checkpoint under another name, flushes it to the disk and renames it, so that the real name never points to half a file. And it keeps the one before, and a checksum in each, for the day on which the disk lies.
#
# > **Your turn: 08.9 `what_differs`** (12 min): from two logs, say what was lost.

# %% [markdown] tags=["slide"]
# ### Is it the same run?
#
# - checkpoint: weights, both moments, step; rate, batch and dice are functions of the step
# - exact can be tested, close cannot
# - moments lost: first loss right, then a bump · step restarted: data replayed
# - write to another name, flush, rename; keep the one before; check sums

# %% [markdown]
# ## 11. Milestone II: a GPT of your own parts
#
# Since lesson 02 you have written the parts of a language model: the encoder, attention, norm, MLP, block, loss; now clipping, the schedule and AdamW. Put them together. `minigpt.classroom.capstone` builds a GPT with minigpt's weights that computes with your functions from `my/`, as far as
# they pass. For a part that you have not written, the course's stands in; the count below says for how many. Then it trains both, yours and the engine's, from the same weights on the same text:

# %%
from minigpt.classroom import capstone

fig, ax = figure(width=5, height=2.1)
for family, color, style in (("gpt2", BLUE, "--"), ("modern", VERMILLION, ":")):
    parts = capstone.collect(family)
    found = capstone.follow(family, {name: part.function for name, part in parts.items()})
    yours = [part.name for part in parts.values() if part.yours]
    print(f"{family}: {len(yours)} of {len(parts)} parts are yours; in {len(found.own)} steps "
          f"the losses differ by {found.difference:.0e} at most")  # fmt: skip
    assert found.difference <= capstone.CLOSE
    ax.plot(found.engine, color="#c8c8c8", linewidth=5)
    ax.plot(found.own, style, color=color)
    nudge = 0.04 if family == "modern" else -0.04
    label_end(ax, len(found.own) - 1, found.own[-1] + nudge, family, color)
print("parts:", ", ".join(parts))
ax.set(xlabel="step", ylabel="training loss", xticks=range(0, 20, 5))
ax.margins(y=0.12)
show(fig, alt="Two loss curves, gpt2 and modern, of GPTs made of single functions: each runs as a "
              "thin line in the middle of the engine's thick grey one.")

# %% [markdown]
# On the command line it is `python3 course.py milestone 2`. It is reached when your core parts are in it and the loss follows. From here on, nothing in a training run is a black box to you, except the speed at which it goes (lessons 09 and 10).
#
# > **Your turn: 08.10 `factored_step`** (20 min), Adam with far less memory. Unaided: the assistant stays off.

# %% [markdown]
# ## 12. An exhibit
#
# The museum of lesson 13 holds broken training runs. Here is one of them. You see what the person saw who had to find the mistake, and you know enough to find it. (You do not need the columns of the ranks, which are processes that train together, nor `scale`: that is lesson 09.)

# %%
museum.show(11)

# %% [markdown]
# **Predict.** What happened in this run? Write the word, in quotation marks. One of: `no_warmup` · `schedule_too_short` · `accumulation_not_divided` · `replayed_data` · `bad_shard` · `rate_too_high`. Go through the notes, the curves and the decoded sequences with section 10 in mind: which of them should be different at two different steps?

# %%
guess = None
reveal("08.p8", guess)

# %% [markdown]
# ## 13. One paper
#
# **[Kingma & Ba 2015](https://arxiv.org/abs/1412.6980), Adam: A Method for Stochastic Optimization.** Read algorithm 1 and section 2: it is the function that you wrote. Three questions. *What was held fixed* between the optimizers in their figures, and which settings were searched for each? *What would change
# your mind* about the default betas? (Their tasks were small networks and logistic regression. Language models today mostly use 0.95 in the place of 0.999.) *Which number can you recompute?* Section 2.1 says how long a step can be. If a gradient has been zero for a long time and then is not, the step is (1 − β₁)/√(1 − β₂) times the rate, which for their defaults is
# above 1:

# %%
for betas in ((0.9, 0.999), (0.9, 0.95)):
    weight, memory = torch.zeros(1), None
    for _ in range(10_000):
        weight, memory = adam(weight, torch.zeros(1), memory, 0.001, betas)
    new, _ = adam(weight, torch.tensor([0.37]), memory, 0.001, betas)
    bound = (1 - betas[0]) / math.sqrt(1 - betas[1])
    moved = (weight - new).item() / 0.001
    print(f"betas {betas}: formula {bound:.2f}, measured {moved:.2f} times the rate")
    assert abs(moved - bound) < 0.01

# %% [markdown]
# This is the same number as in section 3, and it is no accident: to a mean that has forgotten everything, a gradient after a long silence is a first gradient, only that nothing corrects it any more. A rare token's row of the embedding lives like this. With the paper's betas, each of its rare gradients moves it by three times the rate.
#
# ## Summary
#
# 1. One rate serves all directions, and the steepest sets its limit, 2 over the curvature. Momentum adds up what agrees; Adam divides by the usual size, so that the rate *is* the length of a full step.
# 2. Adam's first step has full length in every weight: warm-up. Batches are noisy to the end: decay. Neither replaces choosing the rate.
# 3. Divide sums by the targets of the whole batch. Clip all gradients as one vector. Pack documents, and know what your windows hold.
# 4. Compare models on the same windows, in pairs: that is worth several times the text.
# 5. A checkpoint is weights, moments and step, if all else is a function of the step. Then a resumed run is the same run, bit for bit, and you can prove it by killing one.
#
# Next: lesson 09 computes in sixteen bits, and keeps what has to stay exact.

# %% tags=["timing"]
shutil.rmtree(work, ignore_errors=True)
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
