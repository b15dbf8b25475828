# %% [raw]
# title = "A whole GPT"
# question = "What does it take to turn attention into a language model, and can you account for every number in it?"
# able = [
#   "write a GPT from an empty file, and show that it equals GPT-2 as others wrote it",
#   "say what the residual stream, the norm, the MLP and the first weights each prevent",
#   "count parameters, operations and bytes of any GPT before you build it",
#   "put training code to its first test, and read from the curve what is wrong with it",
#   "look at what a model would say after each of its layers",
# ]
# needs = ["token", "vocabulary", "context", "logits", "softmax", "cross-entropy", "bits per byte", "held-out text", "parameter", "step", "FLOP", "embedding", "hidden layer", "multi-layer perceptron", "learning rate", "attention weights", "causal mask", "head", "gradient", "variance"]
# reading = 60
# exercises = 130
# route = "core"
# paper = "Radford et al. 2019, Language Models are Unsupervised Multitask Learners"
#
# [teaches]
# "residual stream" = "The vector of C numbers that each position carries through the model. Every part reads it and adds something to it."
# LayerNorm = "Brings each position's vector to mean 0 and variance 1 over its channels, then applies a learned gain and bias."
# MLP = "The second part of a block: a matrix that widens each position's vector, a nonlinearity, and a matrix back. Positions do not mix."
# GELU = "The nonlinearity of GPT-2: x times the probability that a standard normal number is below x."
# block = "One layer of a GPT: attention, then an MLP; each reads a normalised copy of the residual stream and adds its answer to it."
# "position embedding" = "A learned vector for each place in the context, added to the vector of the token that stands there."
# initialisation = "How the parameters are drawn before the first step."
# "weight tying" = "Using one matrix twice: as the table of token vectors at the entrance, and as the head that makes the logits."
# activations = "What a forward pass computes on its way; autograd keeps much of it, because the backward pass needs it."
# "optimizer state" = "Numbers that the optimizer keeps for each parameter from step to step; AdamW keeps two."
# "logit lens" = "Final norm and head, applied to the residual stream after an earlier layer: what would the model say if it stopped there?"

# %% [markdown] tags=["instructor"]
# **Aim.** Learners leave with a GPT that they wrote, that equals GPT-2 to rounding, and of which they can predict every count before
# building it. **Timing** (110 min): exercise 1 5 min, sections 1–3 20 min, exercise 2 10 min, section 4 10 min, exercise 3 10 min,
# sections 5–6 15 min, sections 7–8 15 min, sections 9–10 10 min, sections 11–12 10 min, discussion 5 min.
#
# **Two misconceptions.** *"A residual connection helps because the block's input is remembered."* Ask: what is the derivative of
# x + f(x) when f is badly scaled, and what is it of f(x) alone? *"The optimizer costs memory in proportion to the batch."* Ask: which
# of the five parts of section 8 would be as large as before if the batch held a single token?
#
# **Discuss.** Attention moves vectors between positions, the MLP changes them in place. Which of the two could you leave out, and what
# would the rest still be able to do? · The GPT-2 paper printed wrong sizes for all its models, and no result changed when they were corrected. What is
# a parameter count good for, then?

# %% tags=["setup"]
import math
import tempfile
import time

import torch
import torch.nn.functional as F
from torch import nn

import minigpt
from minigpt import GPT, ModelConfig
from minigpt.classroom import model_from, museum, reveal, show
from minigpt.classroom.viz import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION
from minigpt.classroom.viz import figure, label_end
from minigpt.text.sources import builtin, usable_domains

started = time.perf_counter()
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>04: how do you test that a model is causal, without reading its code?</summary>Change the last token. No
# output before it may change.</details>
# <details><summary>03: in training, a network with one hidden layer sees each target token and its own probability for it. What is the gradient by
# the logits?</summary>The probabilities, minus 1 at the token that came: p − y.</details>
# <details><summary>00: V tokens, and a model that knows nothing. What is its loss, in nats?</summary>It gives each token probability
# 1/V, so the loss is ln V. You will use this as a test in section 5.</details>

# %% [markdown]
# > **Try first: 05.1 `stream_variance`** (5 min), before you read on. The exercises are in `exercises/05_gpt.ipynb`; `python3 course.py start 05` makes a copy
# > for you in `my/`.
#
# ## 1. The residual stream
#
# Attention lets a position fetch from others. Once is not enough: to understand "it" in "it barked", some layer must first find the dog, and
# a later one use what was found. So you want a stack of many layers. The obvious stack feeds each layer the output of the one
# before: `x = f(x)`. The one that works *adds* instead: `x = x + f(x)` ([He et al. 2015](https://arxiv.org/abs/1512.03385)).
#
# The difference shows in the gradient. Training changes a layer at the bottom by what the loss tells it, and that message has to come
# down through all layers above. Here are two stacks of twelve layers. Each layer is a small network with one hidden layer, f(x) = tanh(x A) B. For
# a loss any function of the last vectors will do; here it is their sum with random weights. The question is how strongly it depends on the vector at each height:

# %%
def gradient_at_each_height(size, add, layers=12, C=48, M=80):
    """RMS of the loss's gradient by x before the first layer, …, after the last: (layers + 1,)"""
    g = torch.Generator().manual_seed(1)
    x = torch.randn(256, C, generator=g, requires_grad=True)
    heights = [x]
    for _ in range(layers):
        A = size * torch.randn(C, M, generator=g) / math.sqrt(C)
        B = size * torch.randn(M, C, generator=g) / math.sqrt(M)
        f = torch.tanh(x @ A) @ B
        x = x + f if add else f
        heights.append(x)
    loss = (x * torch.randn(256, C, generator=g)).sum()
    grads = torch.autograd.grad(loss, heights)
    return torch.stack([grad.square().mean().sqrt() for grad in grads])


# %% [markdown]
# (RMS is the root of the mean square: the size of a typical entry.) `size` says how large the random matrices are. Nobody knows beforehand
# which size is right, so try three:

# %%
fig, axes = figure(width=9, height=3.4, columns=2, sharey=True)
sizes = (0.5, VERMILLION), (1.0, BLUE), (2.0, PURPLE)
for ax, add, title in zip(axes, (False, True), ("x = f(x)", "x = x + f(x)")):
    for size, color in sizes:
        grads = gradient_at_each_height(size, add)
        ax.semilogy(range(13), grads, "o-", color=color, markersize=3)
        label_end(ax, 0, grads[0], f"size {size:g}", color)
        print(f"{title:>12}, size {size:g}: gradient at the bottom {grads[0]:.1e}")
    ax.set(xlabel="height: from the last layer down to the input", title=title)
    ax.invert_xaxis()  # the way the gradient travels: from the top to the bottom
axes[0].set_ylabel("gradient of the loss")
assert gradient_at_each_height(0.5, False)[0] < 1e-5 and gradient_at_each_height(0.5, True)[0] > 0.5
show(fig, alt="Two panels. Without adding, the gradient falls to almost nothing at the bottom for "
              "size 0.5 and grows for size 2. With adding it stays near one for 0.5, grows for 2.")

# %% [markdown]
# Read each line from left to right, as the gradient travels. Without adding, every layer multiplies the message by some factor. Twelve factors
# of a quarter leave nothing, and the bottom layer learns nothing. With adding, the derivative of x + f(x) is 1 plus the derivative of f. The 1 is a straight
# way down, which does not depend on how well the layers are scaled.
#
# It is no cure for everything. Layers that are too *large* make the gradient grow in both panels. Sections 2 and 5 deal with that.
#
# Seen from above, the picture changes. There is one vector of C numbers per position that runs through the whole model, the **residual stream**. Each layer reads
# it, computes something and adds its answer. Nothing is ever overwritten; a layer can only add.
#
# **Predict.** A stream starts with variance 1. Each of 24 layers adds a vector of variance 1 that has nothing to do with what is there
# (independent). What is the variance of the stream at the end?

# %%
guess = None
reveal("05.p1", guess)

# %% [markdown] tags=["slide"]
# ### The residual stream
#
# `x = x + f(x)`
#
# - the derivative is 1 + f′: a straight way down for the gradient
# - every part reads the stream and adds to it
# - sums of independent parts: variances add

# %% [markdown]
# ## 2. LayerNorm
#
# So the stream grows on its way up. A layer at the top should not have to care how many layers have added before it. So it gets
# a copy of the stream, brought to a standard size: for each position, subtract the mean over its C numbers (the *channels*) and divide by their standard
# deviation. Then two learned vectors, a gain and a bias, give back whatever size is useful:
#
# y = (x − mean) / √(variance + ε) · gain + bias
#
# Mean and variance are those of one position's C numbers; the variance is divided by C, not by C − 1. ε is 0.00001; it keeps a vector of equal
# numbers from a division by zero. This is **LayerNorm** ([Ba et al. 2016](https://arxiv.org/abs/1607.06450)).
#
# > **Your turn: 05.2 `layer_norm`** (10 min), before you go on: the next cell shows one way.

# %%
B, T, C = 2, 5, 7
g = torch.Generator().manual_seed(5)
x = 30 + 4 * torch.randn(B, T, C, generator=g)
gain, bias = torch.randn(C, generator=g), torch.randn(C, generator=g)
centred = x - x.mean(-1, keepdim=True)
variance = centred.square().mean(-1, keepdim=True)  # (B, T, 1): one number for each position
y = centred / torch.sqrt(variance + 1e-5) * gain + bias
torch.testing.assert_close(y, F.layer_norm(x, (C,), gain, bias), rtol=1e-4, atol=1e-4)
sizes = (centred / torch.sqrt(variance)).square().mean(-1)
print("by hand = torch; mean square of each position before gain and bias:", sizes[0])

# %% [markdown]
# **What breaks without it?** Put the stream into attention as it is. The scores of lesson 04 are products of two vectors made from it. A stream that is
# ten times larger makes them a hundred times larger, and the softmax turns hard:

# %%
g = torch.Generator().manual_seed(6)
T, C = 32, 48
x, wq, wk = (torch.randn(n, C, generator=g) for n in (T, C, C))
triangle = torch.ones(T, T, dtype=torch.bool).tril()


def largest_weight(x):
    """Of each row of attention weights the largest one, averaged over the last 16 rows."""
    scores = (x @ wq / math.sqrt(C)) @ (x @ wk / math.sqrt(C)).T / math.sqrt(C)
    weights = torch.softmax(scores.masked_fill(~triangle, -math.inf), -1)
    return weights[16:].max(-1).values.mean().item()


print("stream times   largest weight, as it is   after a norm")
for size in (0.1, 1, 3, 10):
    plain, normed = largest_weight(size * x), largest_weight(F.layer_norm(size * x, (C,)))
    print(f"{size:>12} {plain:>26.2f} {normed:>14.2f}")
assert largest_weight(10 * x) > 0.9 and largest_weight(F.layer_norm(10 * x, (C,))) < 0.5

# %% [markdown]
# With the norm, a layer sees the *direction* of the stream and not its size.
#
# **What breaks if** you take mean and variance over the wrong axis, over the T positions instead of the C channels? Shapes fit and
# training runs. Put the causality test of lesson 04 to it: change the last position, and see which outputs change.

# %%
def standard(x, axis):
    return (x - x.mean(axis, keepdim=True)) / x.std(axis, correction=0, keepdim=True)


def changed_positions(axis, T=6, C=8):
    """Change one number of the last position; which positions come out of the norm changed?"""
    x = torch.randn(T, C, generator=torch.Generator().manual_seed(7))
    other = x.clone()
    other[-1, 0] += 3
    difference = (standard(x, axis) - standard(other, axis)).abs().amax(-1)
    return (difference > 1e-6).nonzero().flatten().tolist()


for name, axis in (("channels", -1), ("positions", 0)):
    changed = changed_positions(axis)
    print(f"over {name}: the outputs of positions {changed} change")
assert changed == [0, 1, 2, 3, 4, 5]

# %% [markdown]
# Over positions, every output changes. The future leaks through the mean, and the loss will look better than it is.
#
# ## 3. The MLP
#
# Attention mixes positions; what it hands over is a weighted sum of values. The **MLP** (the multi-layer perceptron of lesson 03, now as a part of something larger) works on what has arrived, in each position by itself. Two
# matrices with a nonlinearity between them: `up` takes C channels to 4 C, `down` takes them back.
#
# Think of it as 4 C questions and answers. A column of `up` is a pattern, and the hidden unit says how well the stream fits it. A row of `down` is what is
# added to the stream if it does ([Geva et al. 2021](https://arxiv.org/abs/2012.14913) look for such pairs in a trained model).
#
# GPT-2's nonlinearity is **GELU** ([Hendrycks & Gimpel 2016](https://arxiv.org/abs/1606.08415)): x · Φ(x), with Φ(x) the probability that a standard normal
# number is below x. Large x pass, very negative ones become 0, and between them the curve is smooth. GPT-2 computes it with a formula that comes
# close, which was cheaper then: 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))). To load its weights, you must use the same formula.
#
# > **Your turn: 05.4 `mlp`** (10 min).

# %%
x = torch.linspace(-4, 3, 200)
exact, fast = x * torch.distributions.Normal(0, 1).cdf(x), F.gelu(x, approximate="tanh")
formula = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
torch.testing.assert_close(exact, F.gelu(x), atol=1e-5, rtol=1e-5)
torch.testing.assert_close(formula, fast, atol=1e-5, rtol=1e-5)
fig, ax = figure(width=6, height=2.8)
ax.plot(x, torch.relu(x), "--", color=GREY)
ax.plot(x, exact, color=BLUE)
line = {"arrowstyle": "-"}
ax.annotate("ReLU: max(0, x)", (-0.1, 0.05), (-2.6, 1.2), color=GREY, arrowprops=line)
ax.annotate("GELU", (1.0, 0.84), (1.5, 0.4), color=BLUE, arrowprops=line)
ax.set(xlabel="x", ylabel="output")
show(fig, alt="GELU follows ReLU far from zero and rounds the corner; it dips slightly below zero, "
              "deepest near x = -0.75.")
print(f"GPT-2's formula differs from the exact one by at most {(exact - fast).abs().max():.4f}")

# %% [markdown]
# **What breaks without** the nonlinearity? Two matrices in a row are one matrix. The 8 C² parameters could do no more than C² of them:

# %%
g = torch.Generator().manual_seed(8)
C = 24
up, down = torch.randn(C, 4 * C, generator=g) / 5, torch.randn(4 * C, C, generator=g) / 10
x = torch.randn(10, C, generator=g)
torch.testing.assert_close(x @ up @ down, x @ (up @ down), atol=1e-4, rtol=1e-4)
print(f"up and down: {up.numel() + down.numel():,} numbers; their product: {(up @ down).numel():,}")

# %% [markdown]
# **Predict.** A block (attention and an MLP: the next section) has four C × C matrices in attention, for q, k, v and the way out, and an MLP of
# width 4 C. What share of the block's matrix parameters is in the MLP? (A number between 0 and 1, or a fraction.)

# %%
guess = None
reveal("05.p3", guess)

# %% [markdown] tags=["slide"]
# ### A block
#
# `x = x + attention(norm(x))` — positions exchange
#
# `x = x + mlp(norm(x))` — each position works on what it has
#
# norm: a reader sees the direction of the stream, not its size

# %% [markdown]
# ## 4. The whole GPT
#
# Now all parts are there. **A block**, also called a layer, is attention, then an MLP. Each reads a normalised copy of the stream and adds its answer:
#
# ```
# tokens → embed ─(+)─┬──────────────────────(+)─┬────────────────(+)── … ── norm ── head → logits
#       position ──┘  └─ norm1 ── attention ──┘  └─ norm2 ── MLP ──┘
#                     '------------------- one block -------------'
# ```
#
# The original GPT put the norm on the stream itself, after each addition. GPT-2 moved it to the branches ("pre-norm"), and so the straight way for the gradient
# stays free ([Xiong et al. 2020](https://arxiv.org/abs/2002.04745)). One more norm comes at the end, before the head. This
# **head** is the matrix that turns a vector into V logits; it has nothing but the name in common with the heads of attention.
#
# > **Your turn: 05.3 `block`** (10 min): its lines, shuffled.
#
# The sum of two embeddings is the stream's first value; an embedding is a table of learned vectors, one a row. The token's own vector says *what* stands here. The **position embedding** says *where*: a
# learned vector for each of the T places, because attention by itself does not see order. First the two parts of a block. Attention is what you built in lesson 04, on the
# fused kernel. (`nn.Linear` is a matrix with a bias. `nn.Module` collects the parameters of its parts, so that an optimizer finds them.)

# %%
class ManyHeads(nn.Module):
    """Causal attention with H heads: x (B, T, C) -> (B, T, C)"""

    def __init__(self, C, H):
        super().__init__()
        self.H = H
        self.q, self.k, self.v, self.out = (nn.Linear(C, C) for _ in range(4))

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (w(x).view(B, T, self.H, -1).transpose(1, 2) for w in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, D)
        return self.out(y.transpose(1, 2).reshape(B, T, C))


class FeedForward(nn.Module):
    """The MLP: x (B, T, C) -> (B, T, C), each position by itself"""

    def __init__(self, C):
        super().__init__()
        self.up, self.down = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

    def forward(self, x):
        return self.down(F.gelu(self.up(x), approximate="tanh"))


# %% [markdown]
# Then the block and the model. (`nn.Embedding` is a table of vectors. `nn.ModuleList` is a list whose entries count as parts; those of a plain list do not.)

# %% tags=["long"]
class Layer(nn.Module):
    """One block: x (B, T, C) -> (B, T, C)"""

    def __init__(self, C, H, norm):
        super().__init__()
        self.norm1, self.attn = norm(C), ManyHeads(C, H)
        self.norm2, self.mlp = norm(C), FeedForward(C)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class SmallGPT(nn.Module):
    """GPT-2's arithmetic: tokens (B, T) -> logits (B, T, V)"""

    def __init__(self, V, T, C, H, L, norm=nn.LayerNorm):
        super().__init__()
        self.embed, self.position = nn.Embedding(V, C), nn.Embedding(T, C)
        self.blocks = nn.ModuleList(Layer(C, H, norm) for _ in range(L))
        self.norm, self.head = norm(C), nn.Linear(C, V, bias=False)
        self.head.weight = self.embed.weight  # one matrix at both ends: section 6

    def forward(self, tokens):
        x = self.embed(tokens) + self.position(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


# %% [markdown]
# That is all of it, in about fifty lines. Is it right? `minigpt` has the same architecture as one of its two families, `gpt2`, and the parts have the same names. So you can copy its weights over and
# compare. (`state_dict` gives all tensors of a model by name.) A fresh model has biases of 0 and gains of 1, where a forgotten one would not be noticed; so shake them all first:

# %%
sizes = dict(heads=5, kv_heads=5, head_size=8, mlp_width=160, context=24, vocab_size=320)
config = ModelConfig("gpt2", 3, 40, activation="gelu", norm_eps=1e-5, **sizes)
engine, mine = GPT(config, seed=1), SmallGPT(V=320, T=24, C=40, H=5, L=3)
g = torch.Generator().manual_seed(2)
with torch.no_grad():
    for p in engine.parameters():
        p += 0.1 * torch.randn(p.shape, generator=g)
mine.load_state_dict(engine.state_dict())
tokens = torch.randint(320, (2, 19), generator=g)
torch.testing.assert_close(mine(tokens), engine(tokens), atol=1e-4, rtol=1e-4)
print("same logits as minigpt:", tuple(mine(tokens).shape))

# %% [markdown]
# **What breaks without positions?** Shuffle all tokens but the last, and look at the last position's logits. Set the position embedding to zero for this:

# %%
def change_by_shuffling(L, positions):
    """Largest change of the last logits when the tokens before are shuffled."""
    torch.manual_seed(0)
    model = SmallGPT(V=320, T=24, C=40, H=5, L=L)
    nn.init.normal_(model.position.weight, 0, 1.0 if positions else 0.0)
    order = [*torch.randperm(18).tolist(), 18]  # the last token stays where it is
    return (model(tokens)[:, -1] - model(tokens[:, order])[:, -1]).abs().max().item()


for L, positions in ((1, True), (1, False), (3, False)):
    print(f"{L} layer(s), {'with' if positions else 'without'} positions: "
          f"logits change by {change_by_shuffling(L, positions):.5f}")
assert change_by_shuffling(1, False) < 1e-3 < 1e-2 < change_by_shuffling(1, True)
assert change_by_shuffling(3, False) > 1e-3

# %% [markdown]
# One layer without positions cannot tell order at all, as lesson 04 said; the last digit is rounding. Look at the third line, though. With three layers it can: a position in
# the middle sees only what came before *it*, so its own vector depends on which tokens those are, and the next layer reads that. The causal mask gives the order away. Models without any position
# embedding do train ([Haviv et al. 2022](https://arxiv.org/abs/2203.16634)). GPT-2 tells the model outright.

# %% [markdown]
# ## 5. The first weights
#
# How the parameters are chosen before the first step is called the **initialisation**. The matrices are drawn at random. How large? It looks like a detail, and it decides whether training starts at all.
#
# You have a test that needs no training. A model that knows nothing should say so: about the same probability for each token.
#
# **Predict.** The vocabulary has 2,048 tokens, the model is fresh. What is its loss, in nats?

# %%
guess = None
reveal("05.p2", guess)

# %% [markdown]
# GPT-2's number is a standard deviation of 0.02. We draw all matrices with it, as `transformers` does; [OpenAI's code](https://github.com/openai/gpt-2/blob/master/src/model.py) takes 0.01 for the positions. The two matrices of a block that *write* into the stream (the `out` of attention and `down` of the MLP) are divided by √(2 L): with L blocks there are 2 L writers, their
# variances add, and so the sum stays the same however deep the model is. (It is the sum of section 1.)
#
# > **Your turn: 05.6 `initial_std`** (15 min).

# %%
def initialise(model, std=0.02, writers=0.02, seed=0):
    """Draw all matrices anew; gains become 1 and biases 0. Returns the model."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 1:
                p.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
            else:
                size = writers if name.endswith(("out.weight", "down.weight")) else std
                p.copy_(size * torch.randn(p.shape, generator=g))
    return model


def rms(x):
    return x.square().mean().sqrt().item()


# %%
def depth_profile(model, tokens):
    """-> loss; RMS of the stream at each height; RMS of the gradient of each block's `up`"""
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    x = model.embed(inputs) + model.position(torch.arange(inputs.shape[1]))
    heights = [rms(x)]
    for block in model.blocks:
        x = block(x)
        heights.append(rms(x))
    logits = model.head(model.norm(x))
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    grads = torch.autograd.grad(loss, [block.mlp.up.weight for block in model.blocks])
    return loss.item(), heights, [rms(grad) for grad in grads]


# %%
L, V = 12, 2048
model = SmallGPT(V=V, T=64, C=96, H=6, L=L)
tokens = torch.randint(V, (3, 65), generator=torch.Generator().manual_seed(0))
schemes = {"1 everywhere": (1, 1), "0.02 everywhere": (0.02, 0.02),
           "0.02, writers / √(2L)": (0.02, 0.02 / math.sqrt(2 * L)), "0.02, writers 0": (0.02, 0)}
profiles = {name: depth_profile(initialise(model, *s), tokens) for name, s in schemes.items()}
print(f"ln V = {math.log(V):.2f}")
print(f"{'std':<24}  loss   stream: first, last    gradient: first, last block")
for name, (loss, heights, grads) in profiles.items():
    print(f"{name:<24}{loss:>6.2f} {heights[0]:>9.3f} {heights[-1]:>10.3f} "
          f"{grads[0]:>14.5f} {grads[-1]:>10.5f}")
    if name != "1 everywhere":
        assert abs(loss - math.log(V)) < 0.15
assert profiles["1 everywhere"][0] > 2 * math.log(V)

# %%
fig, axes = figure(width=10, height=3.3, columns=2)
for (name, (_, heights, grads)), color in zip(profiles.items(), (VERMILLION, ORANGE, BLUE, GREEN)):
    for ax, values in zip(axes, (heights, grads)):
        if any(values):
            ax.semilogy(range(len(values)), values, "o-", color=color, markersize=3)
    shift = {"0.02, writers 0": 0.7, "0.02, writers / √(2L)": 1.2}.get(name, 1)  # or they overlap
    label_end(axes[0], L, heights[-1] * shift, name, color)
axes[0].set(xlabel="height in the stack", title="size of the residual stream")
label_end(axes[1], 0, profiles["1 everywhere"][2][0], "1 everywhere", VERMILLION)
axes[1].set(xlabel="block", title="gradient of each block's MLP (0: not drawn)")
show(fig, alt="Left: with 1 everywhere the stream jumps to hundreds, with 0.02 it grows sixfold, "
              "with scaled writers by less than half, with zero writers not at all. Right: from "
              "first to last block the gradient falls thousandfold for 1, threefold for 0.02.")

# %% [markdown]
# - **1 everywhere.** The loss at step 0 is far above ln V: the model knows nothing and is very sure of it. On its way down the gradient grows in every block, as with
#   the layers of size 2 in section 1: the lowest block gets one that is thousands of times larger than that of the highest.
# - **0.02 everywhere.** Right loss, and the stream grows steadily. With a hundred blocks it would not stop here.
# - **Writers divided by √(2 L).** The stream hardly grows, and all blocks get about the same gradient.
# - **Writers 0.** Every block begins as the identity. `up` gets no gradient at first, for what it makes is multiplied by zero; the writers do get one, and move in
#   the first step. Then all learn. Some models start like this.
#
# **What breaks if** *everything* is zero? The loss is ln V exactly, so the test passes. Look at the gradients:

# %%
initialise(model, 0, 0)
loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
loss.backward()
largest = max(p.grad.abs().max().item() for p in model.parameters())
print(f"loss {loss:.3f}, largest gradient of any parameter: {largest:g}")
assert abs(loss - math.log(V)) < 1e-3 and largest < 1e-6

# %% [markdown]
# Nothing will ever move. Random numbers are there to make parameters different from each other.
#
# What is all this worth once training runs? Train a small model on bytes of a book, with norms and without, at three learning rates. The optimizer is AdamW (lesson 11). A token is one byte here, so V is 256. The model is narrow, and 0.02 is a number for widths near a thousand; it gets 0.1.

# %%
usable, _ = usable_domains(["books", "drama", "speeches", "docs"])
book = torch.tensor(list(next(builtin(usable[:1])).text[20_000:90_000].encode()))


def windows(count, T, g):
    """Pieces of the book -> (count, T + 1) int64"""
    return book[torch.randint(len(book) - T - 1, (count, 1), generator=g) + torch.arange(T + 1)]


def last_loss(lr, norm, seed, L=6, T=32, steps=40):
    """Mean loss of the last ten steps; inf if the loss was no number any more"""
    model = SmallGPT(V=256, T=T, C=48, H=4, L=L, norm=norm)
    initialise(model, 0.1, 0.1 / math.sqrt(2 * L), seed)
    optimizer, g, losses = torch.optim.AdamW(model.parameters(), lr), torch.Generator(), []
    g.manual_seed(seed)
    while len(losses) < steps and (not losses or math.isfinite(losses[-1])):
        batch = windows(8, T, g)
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-10:]) / 10 if math.isfinite(losses[-1]) else math.inf


# %%
rates = (0.001, 0.01, 0.03)
arms = (("with LayerNorm", nn.LayerNorm, BLUE, "o"),
        ("without", lambda C: nn.Identity(), VERMILLION, "x"))
ends = {(name, lr): [last_loss(lr, norm, seed) for seed in range(3)]
        for name, norm, _, _ in arms for lr in rates}
fig, ax = figure(width=7, height=3.2)
for place, (name, _, color, marker) in enumerate(arms):
    for i, lr in enumerate(rates):
        shown = [min(loss, 6) for loss in ends[name, lr]]
        ax.plot([i + 0.16 * place] * 3, shown, marker, color=color, markersize=7, alpha=0.7)
    label_end(ax, 2.22, 3 if place == 0 else 5.75, name, color)
ax.set(xticks=range(3), xticklabels=[f"{lr:g}" for lr in rates], xlabel="learning rate")
ax.set(ylabel="loss at the end", ylim=(2, 6.4), xlim=(-0.3, 2.7))
ax.axhline(6, color=GREY, linestyle=":")
ax.text(-0.28, 6.08, "6 or more, or no number any more", color=GREY, size=8)
show(fig, alt="Live, three seeds each. At the lowest rate both arms end close together; at the "
              "highest all runs with LayerNorm end near 3, those without at the upper edge.")
for (name, lr), losses in ends.items():
    print(f"Live, 3 seeds, {name}, rate {lr:g}: between {min(losses):.2f} and {max(losses):.2f}")
assert max(ends["with LayerNorm", 0.03]) < 4

# %% [markdown]
# At a low learning rate the norm buys nothing here: six blocks of well-drawn weights train as well without, or a little better. What it buys is *room*. At a high rate the runs with norms
# still learn, and without them they break. (`inf` means that the loss was no number any more.) Where exactly they break differs from model to model, and nobody knows it beforehand.

# %% [markdown] tags=["slide"]
# ### Before the first step
#
# - the loss must be ln V: else something is wrong already
# - writers divided by √(2L): the stream keeps its size at any depth
# - all zeros: loss ln V, gradients 0, for ever

# %% [markdown]
# ## 6. Weight tying
#
# At the entrance there is a V × C table that turns tokens into vectors. At the exit a V × C matrix turns a vector into logits: row v is compared
# with the stream by a dot product. Both say what a token means, in the same C channels. **Weight tying** uses one matrix for both ([Press & Wolf 2017](https://arxiv.org/abs/1608.05859)). In GPT-2's smallest model that saves:

# %%
c = minigpt.preset("gpt2-124m").model
table = c.vocab_size * c.width
print(f"a second table would add {table:,} parameters to {minigpt.parameters(c):,}")

# %% [markdown]
# A parameter that is used twice gets two gradients, and they add. Autograd does that by itself; check it once. The untied model has the same numbers at
# both ends, in two tensors:

# %%
tied, untied = SmallGPT(256, 32, 40, 5, 2), SmallGPT(256, 32, 40, 5, 2)
untied.load_state_dict(initialise(tied).state_dict())
untied.head.weight = nn.Parameter(tied.embed.weight.detach().clone())
batch = windows(2, 32, torch.Generator().manual_seed(3))
for model in (tied, untied):
    F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten()).backward()
entrance, exit_ = untied.embed.weight.grad, untied.head.weight.grad
torch.testing.assert_close(tied.embed.weight.grad, entrance + exit_)
rows = [int((grad.abs().sum(1) > 0).sum()) for grad in (entrance, exit_)]
print(f"tied = entrance + exit; rows with a gradient: entrance {rows[0]}, exit {rows[1]} of 256")

# %% [markdown]
# The two parts behave differently. At the entrance only tokens that occur in the batch get a gradient. At the exit all do, since every logit is part of the softmax.
#
# ## 7. Every parameter and every operation
#
# You can now count any GPT before you build it. With L layers, width C, V tokens, T positions:
#
# | part | parameters |
# |---|---|
# | token table (and head, if tied) | V C |
# | positions | T C |
# | attention, each layer | 4 C² + 4 C (four matrices, four biases) |
# | MLP, each layer | 8 C² + 5 C (biases of 4 C and of C) |
# | norms | 2 C each, 2 L + 1 of them |
#
# > **Your turn: 05.7 `gpt2_parameters`** (15 min): for any shape, tied or not.

# %%
V, T, C, L = c.vocab_size, c.context, c.width, c.layers
by_part = {"embedding": V * C, "positions": T * C, "attention": L * (4 * C * C + 4 * C),
           "mlp": L * (8 * C * C + 5 * C), "norms": (2 * L + 1) * 2 * C, "head": 0}
with torch.device("meta"):  # shapes without numbers: nothing is stored
    built = sum(p.numel() for p in SmallGPT(V, T, C, c.heads, L).parameters())
assert by_part == minigpt.accounting.parameter_breakdown(c)
assert sum(by_part.values()) == built == minigpt.parameters(c) == 124_439_808
for part, count in by_part.items():
    print(f"{part:>10} {count:>12,}  {count / built:>6.1%}")
print(f"{'GPT-2':>10} {built:>12,}")

# %%
small = ModelConfig("gpt2", 3, 128, 4, 4, 32, 512, 128, 2048, activation="gelu")
shapes = {"3 layers × 128": small}
shapes |= {name: minigpt.preset(name).model for name in ("gpt2-124m", "gpt2-350m", "gpt2-1.5b")}
parts = {"embedding": SKY, "positions": PURPLE, "attention": ORANGE, "mlp": BLUE}
fig, ax = figure(width=8, height=2.8)
for y, (name, shape) in enumerate(shapes.items()):
    counts, left = minigpt.accounting.parameter_breakdown(shape), 0.0
    for part, color in parts.items():
        share = counts[part] / minigpt.parameters(shape)
        ax.barh(y, share, left=left, color=color, edgecolor="white")
        said, ink = f"{part}\n{share:.0%}", "white" if color == BLUE else "black"
        if share > 0.08:
            ax.text(left + share / 2, y, said, ha="center", va="center", size=8, color=ink)
        left += share
ax.set(xlim=(0, 1), xticks=[0, 0.5, 1])
ax.set_xlabel("share of the parameters; from the left: embedding, positions, attention, MLP")
ax.set_yticks(range(4), [f"{n}\n{minigpt.parameters(s) / 1e6:,.1f} M" for n, s in shapes.items()])
ax.invert_yaxis()
show(fig, alt="Stacked bars: the embedding takes three tenths of the small models and five per "
              "cent of the largest; the MLP always has twice the share of attention.")

# %% [markdown]
# With the same vocabulary (the first model has a much smaller one), the larger the model, the more of it is in the blocks: 12 C² for each layer, a third in attention and two thirds in the MLP. The vocabulary costs V C, which grows only with C.
#
# **Operations.** A matrix product multiplies and adds once for each parameter and token: 2 FLOPs. The table at the entrance multiplies nothing, the head does. Attention adds 4 T C for each layer and token (lesson 04).
# So forward, for one token: 2 (12 L C² + V C) + 4 L T C. Backward, every product y = x W needs two products of the same size: one for the gradient of x, one for that of W. That is 4 for each
# parameter and token, 6 in all: the 6 of lesson 00. Attention's own products triple in the same way, to 12 L T C for each token. PyTorch can count what really runs:

# %%
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

V, T, C, L, B = 320, 24, 40, 3, 2
tokens = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(4))
with sdpa_kernel(SDPBackend.MATH):  # the counter knows no formula for the CPU's fused kernel
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        mine(tokens)
    with FlopCounterMode(display=False) as both:
        mine(tokens).logsumexp(-1).sum().backward()
by_hand = B * T * (2 * (12 * L * C * C + V * C) + 4 * L * T * C)
print(f"forward: by hand {by_hand:,}, counted {forward.get_total_flops():,}")
print(f"forward and backward: {both.get_total_flops() / by_hand:.2f} times forward")
assert by_hand == forward.get_total_flops() == minigpt.accounting.forward_flops(config, B, T)
assert abs(both.get_total_flops() / by_hand - 3) < 0.05

# %% [markdown] tags=["slide"]
# ### Counting a GPT
#
# - parameters: 12 L C² + V C, and small change
# - FLOPs for a token: 2 N forward, 4 N backward, and 12 L T C for attention
# - bytes: 16 for each parameter (fp32, AdamW), then activations

# %% [markdown]
# ## 8. The memory of a training step
#
# A model that is trained needs far more memory than one that is only used. Five things lie there:
#
# - **weights**, 4 bytes each in fp32 (numbers of 32 bits);
# - **gradients**, one for each weight;
# - the **optimizer state**: AdamW keeps two running averages for each weight, of the gradient and of its square (lesson 11);
# - **activations**: what the forward pass computed and the backward pass needs;
# - the **logits**, and what the loss and its gradient make of them: each time V numbers for each token.
#
# **Predict.** fp32 and AdamW, activations left out: how many bytes for each parameter?

# %%
guess = None
reveal("05.p4", guess)

# %% [markdown]
# Why are activations kept at all? The gradient of W in y = x W is xᵀ times the gradient of y, so x must still be there. Autograd keeps what each operation asks for. You can listen to it, and
# compare with a count by hand. For each position, a block keeps in units of C numbers: the inputs of two norms (2), the input of q, k and v (1) and of `up` (1), then q, k, v and attention's result
# (4), and the hidden layer before and after GELU (4 + 4). That makes 16 C numbers, and one more for each head (what the fused kernel keeps of its softmax).

# %%
def kept_bytes(module, x):
    """Bytes that autograd keeps for backward, weights left out."""
    weights, kept = {p.data_ptr() for p in module.parameters()}, {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = module(x)
    assert y.shape == x.shape  # y is alive, and with it what was kept
    return sum(size for where, size in kept.items() if where not in weights)


B, T, C, H = 4, 56, 96, 6
x = torch.randn(B, T, C, requires_grad=True)
found, by_hand = kept_bytes(Layer(C, H, nn.LayerNorm), x), 4 * B * T * (16 * C + H)
print(f"a block keeps {found:,} bytes; by hand {by_hand:,}; that is {found / by_hand:.3f} times")
assert abs(found / by_hand - 1) < 0.1

# %% [markdown]
# All of that times L layers and B T positions. It grows with the batch, and so do the logits; the other three parts do not.
#
# `minigpt.memory` adds up the five parts by such formulas. PyTorch's `MemTracker` follows each allocation of a real step. Four cases; look which
# part is the largest in each:

# %%
from torch.distributed._tools.mem_tracker import MemTracker


def tracked(config, batch):
    """Bytes at the peak of the second training step, by kind."""
    model, tokens = GPT(config), torch.randint(config.vocab_size, (batch, config.context))
    optimizer, tracker = torch.optim.AdamW(model.parameters()), MemTracker()
    tracker.track_external(model, optimizer, tokens)
    with tracker:
        model(tokens, tokens).backward()
        optimizer.step()  # only now the optimizer has its state
    tracker.reset_mod_stats()
    with tracker:
        model(tokens, tokens).backward()  # the old gradients stay, these are added to them
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
    return {getattr(kind, "value", kind): size for kind, size in peak.items()}


# %%
def gpt2_shape(L, C, H, T, V):
    sizes = dict(heads=H, kv_heads=H, head_size=C // H, mlp_width=4 * C, context=T, vocab_size=V)
    return ModelConfig("gpt2", L, C, activation="gelu", **sizes)


base = gpt2_shape(L=3, C=96, H=6, T=56, V=320)
cases = {"one sequence": (base, 1), "24 sequences": (base, 24),
         "large vocabulary": (gpt2_shape(3, 96, 6, 56, 4032), 8),
         "wide": (gpt2_shape(4, 192, 6, 40, 640), 2)}
predicted = {name: minigpt.memory(*case) for name, case in cases.items()}
measured = {name: tracked(*case) for name, case in cases.items()}
print(f"{'':<18}predicted, MiB   measured   ratio")
for name in cases:
    p, m = predicted[name]["total"] / 2**20, measured[name]["Total"] / 2**20
    print(f"{name:<18}{p:>14.1f} {m:>10.1f} {p / m:>7.2f}")
    assert abs(p / m - 1) < 0.1

# %%
fig, ax = figure(width=8.5, height=3.4)
kinds = {"weights": ("Parameter", PURPLE), "gradients": ("Gradient", SKY),
         "optimizer": ("Optstate", GREEN), "activations, logits": ("", ORANGE)}
for y, name in enumerate(cases):
    for ours, bytes_of in ((True, predicted[name]), (False, measured[name])):
        total, left = bytes_of["total" if ours else "Total"], 0
        row = y - 0.2 if ours else y + 0.2
        for kind, (theirs, color) in kinds.items():
            size = bytes_of.get(kind if ours else theirs, total - left)  # the last: all the rest
            ax.barh(row, size / 2**20, 0.36, left=left / 2**20, color=color, edgecolor="white")
            if size > 5.5 * 2**20:
                ax.text((left + size / 2) / 2**20, row, kind, ha="center", va="center", size=8)
            left += size
        label_end(ax, total / 2**20, row, "predicted" if ours else "measured")
ax.set(yticks=range(4), yticklabels=list(cases), xlim=(0, 46))
ax.set_xlabel("MiB; from the left: weights, gradients, optimizer state, activations and logits")
ax.invert_yaxis()
show(fig, alt="Four pairs of stacked bars, predicted above measured, of nearly equal length. With "
              "one sequence the fixed parts fill the bar; with 24, activations and logits do.")

# %% [markdown]
# > **Your turn: 05.8 `largest_batch`** (10 min): what fits into a given memory?

# %% [markdown]
# With one sequence the optimizer's state is the largest part. With 24 it hardly counts, and activations decide. That is why "does it fit?" is really two questions: do 16 bytes for each parameter fit, and how many sequences
# fit into the rest? (A loop that throws its gradients away before each step has a slightly lower peak. In formats of 16 bits the sum looks different: lesson 09.)
#
# ## 9. The first test of any training code: one batch
#
# Before you train for hours, train on one batch, again and again. A model with more parameters than the batch has tokens must learn it by heart: the loss must go to nearly 0 in some
# hundred steps. If it does not, something is broken, and you know after seconds.
#
# > **Your turn: 05.5 `next_token_loss`** (15 min), before you see the curves.
#
# Here it is done right, and with three mistakes that people make. None raises an error.

# %%
def learn_by_heart(targets, trained=lambda name: True, clear=True, steps=100):
    """-> the model, and its loss on the same batch at each step"""
    model = initialise(SmallGPT(V=256, T=32, C=48, H=4, L=3), 0.02, 0.02 / math.sqrt(6))
    chosen = [p for name, p in model.named_parameters() if trained(name)]
    optimizer, losses = torch.optim.AdamW(chosen, lr=3e-3), []
    for _ in range(steps):
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), targets.flatten())
        if clear:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


batch = book[torch.arange(4)[:, None] * 1000 + torch.arange(33)]  # (4, 33), always the same
curves = {
    "right": learn_by_heart(batch[:, 1:]),
    "A": learn_by_heart(batch[:, :-1]),
    "B": learn_by_heart(batch[:, 1:], trained=lambda name: "blocks" not in name),
    "C": learn_by_heart(batch[:, 1:], clear=False),
}

# %%
fig, ax = figure(width=8, height=3.4)
for (name, (_, losses)), color in zip(curves.items(), (BLUE, VERMILLION, PURPLE, ORANGE)):
    ax.plot(losses, color=color)
    nudge = {"right": 0.15, "A": -0.2}.get(name, 0)  # both end near 0
    label_end(ax, 99, losses[-1] + nudge, name, color)
    first, middle, last = (f"{losses[step]:.2f}" for step in (0, 30, 99))
    print(f"{name:>5}: loss at step 0 {first}, step 30 {middle}, step 99 {last}")
ax.axhline(math.log(256), color=GREY, linestyle=":")
ax.text(60, math.log(256) + 0.08, "ln 256: a model that knows nothing", color=GREY, size=9)
ax.set(xlabel="step", ylabel="loss on the one batch", ylim=(-0.4, 6.2))
show(fig, alt="Four curves. Right: from ln 256 down to nearly 0. A starts below ln 256 and falls "
              "faster. B falls slowly and is far from 0 at the end. C falls to 3 and rises again.")
assert curves["right"][1][-1] < 0.1 and abs(curves["right"][1][0] - math.log(256)) < 0.1
assert curves["A"][1][0] < math.log(256) - 0.2 and curves["A"][1][30] < curves["right"][1][30] - 0.5
assert curves["B"][1][-1] > 0.5 and curves["C"][1][-1] > 1

# %% [markdown]
# **Before you read on:** one forgets to shift the targets, one forgets to clear the gradients, one hides the blocks from the optimizer. Which is which?
#
# - **A: the targets are not shifted.** Each position is asked for the token that it has just been given. The loss falls too well, and it starts *below* ln V: with a tied
#   matrix the stream already points at its own token. A loss that is better than it can be is the most dangerous bug, for nobody complains.
# - **B: the blocks are not trained.** That happens when the layers stand in a plain Python list: `parameters()` does not see them, and the optimizer never gets them. The rest of the
#   model still learns something, so the curve falls and looks nearly healthy.
# - **C: gradients are not cleared.** They add up over all steps, old directions drown the new one, and the loss turns.
#
# What does A say when it writes? Feed each model the first ten bytes of the batch, always take the likeliest token, and put it at the end:

# %%
def go_on(model, text, count=20):
    tokens = torch.tensor([list(text.encode())])
    for _ in range(count):
        tokens = torch.cat([tokens, model(tokens)[:, -1:].argmax(-1)], dim=1)
    return bytes(tokens[0].tolist()).decode("utf-8", "replace")


prompt = bytes(batch[0, :10].tolist()).decode("utf-8", "replace")
for name in ("right", "A"):
    print(f"{name:>5}: {go_on(curves[name][0], prompt)!r}")

# %% [markdown] tags=["slide"]
# ### Overfit one batch first
#
# - starts at ln V? · goes to 0?
# - starts below ln V: the answer is in the input
# - stays high: something is not trained

# %% [markdown]
# ## 10. The same as GPT-2 by others
#
# Your model equals `minigpt`. Does `minigpt` equal GPT-2? Hugging Face's `transformers` has the version that most people use. Make one with random weights (nothing is downloaded),
# switch off its dropout (which sets numbers to zero at random during training), shake all parameters as in section 4, write it to a folder, and read the folder:

# %%
import warnings

warnings.filterwarnings("ignore", "IProgress")  # a progress bar that nobody needs here
from transformers import GPT2Config, GPT2LMHeadModel

shape = dict(vocab_size=320, n_positions=24, n_embd=40, n_layer=3, n_head=5)
theirs = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).eval()  # no dropout
g = torch.Generator().manual_seed(9)
with torch.no_grad():
    for p in theirs.parameters():
        p.copy_(0.2 * torch.randn(p.shape, generator=g) + (p.ndim == 1) * p)
with tempfile.TemporaryDirectory() as folder:
    theirs.save_pretrained(folder)
    engine = minigpt.from_hf(folder)
mine = SmallGPT(V=320, T=24, C=40, H=5, L=3)
mine.load_state_dict(engine.state_dict())
tokens = torch.randint(320, (2, 19), generator=g)
difference = (mine(tokens) - theirs(tokens).logits).abs().max().item()
print(f"largest difference of the logits: {difference:.1e}, of sizes up to "
      f"{theirs(tokens).logits.abs().max():.0f}")
assert difference < 1e-4

# %% [markdown]
# Equal logits are not enough: training lives on gradients. Compare these for each tensor. Theirs stacks the matrices of q, k and v into one and stores most matrices
# transposed; `stored_tensors` knows which names belong together. (Here we compute both losses. Theirs, `model(tokens, labels=tokens)`, shifts by itself, while most training code
# shifts the targets beforehand. Mixing the two habits up is how people shift twice.)

# %%
from minigpt.export import is_transposed, stored_tensors

for model in (theirs, mine):
    logits = model(tokens).logits if model is theirs else model(tokens)
    F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
ours, worst = dict(mine.named_parameters()), 0.0
for name, parts in stored_tensors(engine).items():
    grad = torch.cat([ours[part].grad for part in parts])
    other = theirs.get_parameter(name).grad
    other = other.T if is_transposed(name) else other
    worst = max(worst, ((grad - other).norm() / other.norm()).item())
count = len(stored_tensors(engine))
print(f"{count} tensors; gradients differ by at most {worst:.1e} of their size")
assert worst < 1e-3

# %% [markdown]
# So your fifty lines are GPT-2. If you have a folder with the real one, from `save_pretrained`, one line opens it: `model = minigpt.from_hf("gpt2-folder")`. The tokenizer that belongs to it is in
# `minigpt.tokenizer.gpt2_tokenizer()`.
#
# ## 11. What the stream carries
#
# The head turns the stream into logits, but only after the last layer. Nothing stops you from putting it on earlier: take the stream after layer 1, apply the final norm
# and the head, and see what the model would say if it stopped there. This is the **logit lens** ([nostalgebraist 2020](https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens)). It works, as far as it does, because every layer only
# adds to one stream.
#
# The model of lesson 00 belongs to the `modern` family: RMSNorm in place of LayerNorm and other small changes, which are lesson 06. Its stream is the same idea.

# %%
run = model_from("00")
model, tokenizer = run.model.eval(), run.tokenizer
V = model.config.vocab_size


def lens(ids):
    """-> (layers + 1, T, V): the logits after the embedding, after each block"""
    record = {}
    with torch.no_grad():
        model(torch.tensor([ids]), record=record)
        return torch.stack([model.logits(model.norm(x[0]))[:, :V] for x in record["residual"]])


text = "The captain said that the ship would not sail until the captain had spoken to the men."
ids = [tokenizer.eot, *tokenizer.encode(text)]
layers = lens(ids)
with torch.no_grad():
    torch.testing.assert_close(layers[-1], model(torch.tensor([ids]))[0], atol=1e-3, rtol=1e-3)
print("the last row is the model's own answer:", tuple(layers.shape))

# %%
from minigpt.classroom.lens_view import LensView

names = {tokenizer.eot: "<start>"}
show(LensView(ids, layers, lambda i: names.get(i) or tokenizer.decode_bytes([i])),
     alt="A grid: a column for each token of the sentence, a row for each height. Each cell "
         "names the likeliest next token there, darker where the model is more sure of it.")

# %% [markdown]
# Read a column from the bottom up. The lowest row knows one token only, so it can be a bigram table at best. With a tied matrix it tends to name the token itself: the vector is most similar
# to its own row. Each block above then moves the answer.
#
# One sentence may mislead, so measure on a text that the model was not trained on: how good is the answer at each height, and how often is it the final one?

# %%
from minigpt.classroom import ladder
from minigpt.evaluate import to_bpb

held_out_ids = tokenizer.encode(ladder.text()[:12_000])
size, nats, agrees, same = model.config.context, 0, 0, 0
pieces = [held_out_ids[i : i + size] for i in range(0, len(held_out_ids) - 1, size)]
for piece in pieces:
    inputs, targets = torch.tensor([tokenizer.eot, *piece[:-1]]), torch.tensor(piece)
    layers = lens(inputs.tolist())
    nats += torch.stack([F.cross_entropy(row, targets, reduction="sum") for row in layers])
    agrees += (layers.argmax(-1) == layers[-1].argmax(-1)).sum(-1)
    same += (layers.argmax(-1) == inputs).sum(-1)
count = len(held_out_ids)
n_bytes = len(tokenizer.decode_bytes(held_out_ids))
print("after           bits per byte   same top token as the end   names its own token")
for i, row in enumerate(nats.tolist()):
    where, bits = f"block {i}" if i else "the embedding", to_bpb(row, n_bytes)
    print(f"{where:<15}{bits:>14.2f} {agrees[i] / count:>27.0%} {same[i] / count:>21.0%}")
assert nats[-1] < nats[0] and agrees[-1] == count

# %% [markdown]
# The last row is the rung of the GPT on lesson 03's ladder, on the beginning of the same text. From row to row you see how far each block moves the answer.
#
# Only the last row was ever trained to be read by the head. A bad figure further down does not mean that nothing is there: the information may be written in directions
# that the head does not read, for a later layer to use. A small translator trained for each layer reads more ([Belrose et al. 2023](https://arxiv.org/abs/2303.08112)).
#
# > **Your turn: 05.9 `logit_lens`** (15 min): from which layer on does an answer stay?

# %% [markdown]
# > **Your turn: 05.10 `parallel_block`** (25 min), unaided: the assistant stays off.
#
# ## 12. One paper
#
# **[Radford et al. 2019](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf), Language Models are Unsupervised Multitask Learners** (GPT-2). Section 2.3 is the architecture, in half a page that you can now check line by line. Read with three questions.
# *What was held fixed* between the four models, and what grew together with depth? *What would change your mind* about "larger models are better at tasks that they were not trained for": how do you know that the answers were
# not in the training text? (Their section 4 asks that.) *Which number can you recompute?* Table 2 prints a parameter count for each model:

# %%
# Radford et al. 2019, table 2: (layers, width) -> millions of parameters
printed = {(12, 768): 117, (24, 1024): 345, (36, 1280): 762, (48, 1600): 1542}


def gpt_size(L, C, V=50257, T=1024):
    return V * C + T * C + L * (12 * C * C + 13 * C) + 2 * C


print("layers  width  printed   counted   with GPT-1's vocabulary and context, in millions")
for (L, C), million in printed.items():
    counted, older = gpt_size(L, C) / 1e6, gpt_size(L, C, V=40_478, T=512) / 1e6
    print(f"{L:>6} {C:>6} {million:>8} {counted:>9.1f} {older:>16.1f}")
    assert counted - million > 5 and abs(older - million) < 1.5
assert gpt_size(12, 768) == 124_439_808

# %% [markdown]
# The printed counts are too small, all four. OpenAI later said, in the README of its code, that they were wrong due to an error, without saying which. The last column is our guess: GPT-1 had 40,478 tokens (so says its configuration in `transformers`) and a
# context of 512 (Radford et al. 2018), and with those sizes all four come out right within 1.2 million. It fits, and it is still a guess. This is why one model is called "117M" in old
# texts and "124M" in new ones.

# %% [markdown]
# ## 13. An exhibit
#
# The museum of lesson 13 holds broken training runs: a healthy recipe in which one part was replaced. Here is one of them, as the person saw it who had to find the mistake. Read the header first, then the first rows of the table.

# %%
museum.show(12)

# %% [markdown]
# **Predict.** Which one number says it before the first update? What should it be, and how many times as large is it? (The ratio, rounded to a whole number.)

# %%
guess = None
reveal("05.p5", guess)

# %% [markdown]
# One question to the run decides, with the healthy run's answer beside it:

# %%
print(museum.experiment(12, "loss_at_step_0"))

# %% [markdown]
# A fresh model should know nothing, and nothing costs ln V. This one is confident, and wrong: its logits are too large from the start, because the weights begin at sizes that fit no residual stream (section 5). Notice how well it hides afterwards. By step 30 the curve looks like any other; the steps before it were spent on undoing the first weights, and that is paid for in every run until somebody looks at step 0.

# %% [markdown]
# ## Summary
#
# 1. Each block adds to a residual stream. The derivative 1 + f′ leaves the gradient a straight way down; variances add on the way up.
# 2. A norm before each part shows it the stream's direction, not its size. An MLP works on each position by itself and holds two thirds of a block's matrices.
# 3. A fresh model must have loss ln V and must be able to learn one batch by heart. Two tests of seconds find most mistakes.
# 4. Parameters: 12 L C² + V C, about. FLOPs: 6 for each of these and token, and 12 L T C for a token's attention. Bytes: 16 for each parameter in fp32 with AdamW, and activations that grow with the batch.
# 5. Your fifty lines equal `minigpt` and Hugging Face's GPT-2, in logits and in gradients.
#
# Next: lesson 06 changes one part at a time, up to the models of today, and measures what each change buys.

# %% tags=["timing"]
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
