# %% [raw]
# title = "Attention"
# question = "How can word 200 use word 3, without a loop, and without knowing beforehand which word will matter?"
# able = [
#   "build causal attention, starting from a matrix of averages",
#   "say what each of its four steps prevents, and recognise four classic mistakes by their picture",
#   "tell what attention costs in time and memory, and why the fused kernel costs less",
#   "look into a trained model and say what its heads attend to",
# ]
# needs = ["token", "context", "logits", "softmax", "matrix product", "parameter", "cross-entropy", "variance"]
# reading = 50
# exercises = 130
# route = "core"
# paper = "Vaswani et al. 2017, Attention Is All You Need, arXiv 1706.03762"
#
# [teaches]
# query = "What a position is looking for: a vector of D numbers, made from the position's own vector by a learned matrix."
# key = "What a position offers to be found by: a vector of D numbers, compared with every query by a dot product."
# value = "What a position hands over when it is found: a vector of D numbers."
# "attention weights" = "A T by T matrix: row t says in which shares position t mixes the values of the positions it may see. Each row sums to one."
# "causal mask" = "The rule that a position sees itself and what came before, never what comes after."
# head = "One independent attention: its own queries, keys, values and weights. A layer has several, side by side."
# "head size" = "D, the length of one head's queries, keys and values; usually 64 or 128."
# "fused kernel" = "One program on the device that does several steps without storing what lies between them; for attention, the T by T weights."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners leave able to derive causal attention from averaging, and to diagnose a wrong implementation from a
# heatmap. **Timing** (75 min): sections 1–3 20 min, exercise 1 5 min, sections 4–5 20 min, exercise 3 10 min, sections
# 6–8 15 min, discussion 5 min.
#
# **Two misconceptions.** *"Masking after the softmax is the same, the future gets zero anyway."* Ask: what do the first row's
# weights sum to, and which numbers decided how large they are? *"The scale is only there for tidiness."* Ask: if every score
# is multiplied by eight, what does the softmax turn into, and what is its slope there?
#
# **Discuss.** Attention without position is a set operation: shuffle the past and nothing changes. What must a language model
# add, and where could it add it? · A context of a million tokens: which of the costs in section 7 stops you first?

# %% tags=["setup"]
import inspect
import math
import time

import torch
import torch.nn.functional as F

import minigpt
from minigpt import GPT, ModelConfig
from minigpt.classroom import model_from, reveal, show
from minigpt.classroom.viz import AttentionView, figure, heatmap, label_end
from minigpt.classroom.viz import BLUE, GREY, ORANGE, VERMILLION

started = time.perf_counter()
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>00: what does the model of lesson 00 output at each position?</summary>One number for each token of its
# vocabulary, the logits; a softmax turns them into the probability of each possible next token.</details>
# <details><summary>00: why does a bigram model stop improving, however much text it reads?</summary>It sees one token back.
# What happened two words ago cannot change its prediction.</details>
# <details><summary>00: the tokenizer cut " unbelievable" into six pieces. How many vectors does the model see?</summary>Six, one
# for each token. To read the word, it must bring them together. That is this lesson.</details>

# %% [markdown]
# > **Try first: 04.1 `averaging_matrix`** (5 min), before you read on. The exercises are in `exercises/04_attention.ipynb`; `python3 course.py start 04` makes a copy
# > for you in `my/`.
#
# ## 1. Look back by averaging
#
# A language model turns each token into a vector. So a text of T tokens is a matrix `x` with T rows and C columns. A bigram
# predicts from row t alone. You want row t to know about the rows above it, and never about those below: they are the future, and
# the future is what you predict.
#
# The simplest way to bring the past together is to average it. Here it is as you would say it, with a loop:

# %%
def mean_of_the_past(x):  # (T, C) -> (T, C)
    return torch.stack([x[: t + 1].mean(0) for t in range(len(x))])


T, C = 5, 3  # different on purpose: square shapes hide transposed mistakes
x = torch.randn(T, C, generator=torch.Generator().manual_seed(4))
print(mean_of_the_past(x).shape)

# %% [markdown]
# The loop is slow, and it hides something. There is one matrix `A` such that `A @ x` equals this for every `x`.
#
# **Predict.** What is the third row of `A` when T = 5? Write five numbers instead of `None`, then run the cell. (None is allowed. A
# guess that turns out wrong teaches you more than no guess, and comes back in three days.)

# %%
guess = None
reveal("04.p1", guess)

# %%
A = torch.tril(torch.ones(T, T))
A = A / A.sum(1, keepdim=True)
torch.testing.assert_close(A @ x, mean_of_the_past(x))
fig = heatmap(A, numbers=True, title="A: row t mixes positions 0…t")
show(fig, alt="A lower triangle of five rows; row t holds t + 1 equal weights that sum to one, "
              "and zeros to their right.")

# %% [markdown]
# One matrix product does what the loop did, for all positions at once. Read a row of the picture as a recipe: *position 2 takes a third
# of each of positions 0, 1 and 2*. This triangle is all the plumbing that attention has. What is missing is a reason to weigh one
# position more than another.
#
# %% [markdown] tags=["slide"]
# ### Averaging the past is a matrix
#
# `A @ x`, where row t of A holds t + 1 equal weights
#
# attention = the same triangle, with weights that depend on the text

# %% [markdown]
# ## 2. Let the weights depend on the text
#
# Where should unequal weights come from? You need numbers that are positive and sum to one in each row, and you want to learn them. A
# softmax makes both true of any scores whatever: e to the power of each score, divided by the row's sum of them. Scores 0, 1 and 2 become
# 1, 2.7 and 7.4, and as shares 0.09, 0.24 and 0.67. To hide the future, give it a score of minus infinity: e to the power of that is 0.
#
# (Careful with two names: `future` below is True where a position is *hidden*. A `mask`, from section 3 on and in all exercises, is True
# where looking is *allowed*.)

# %%
future = torch.triu(torch.ones(T, T, dtype=torch.bool), diagonal=1)  # True above the diagonal
scores = torch.zeros(T, T)
print("softmax of 0, 1, 2:", torch.softmax(torch.tensor([0.0, 1, 2]), 0))
weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
torch.testing.assert_close(weights, A)
print("scores of zero give back the plain average, in row 2:", weights[2])

# %% [markdown]
# So averaging is attention with nothing to say. Now the scores. Each position makes two small vectors from its own:
#
# - a **query** `q`: what am I looking for?
# - a **key** `k`: what can I be found by?
#
# The score of position t for position s is their dot product, `q[t] · k[s]`: large when what t looks for is what s offers.
#
# Before anything is learned, make a case by hand. Two features: *is a thing* and *can bark*. The word "barked" looks for its
# subject, a thing that can bark. No other word looks for anything.

# %%
words = "the cat chased the dog and it barked".split()
# (8, 2): thing, can bark
keys = torch.tensor([[0.0, 0], [1, 0], [0, 0], [0, 0], [1, 1], [0, 0], [1, 0], [0, 1]])
queries = torch.zeros(8, 2)
queries[-1] = torch.tensor([2.0, 2.0])  # "barked" is looking for both
scores = queries @ keys.T
future = torch.triu(torch.ones(8, 8, dtype=torch.bool), diagonal=1)
weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
show(heatmap(weights, words, words, title="who looks at whom"),
     alt="Rows average their past evenly, but the last row, barked, gives most of its weight to "
         "dog.")  # fmt: skip
print(f'"barked" gives {weights[-1, 4]:.2f} to "dog" and {weights[-1, 1]:.2f} to "cat"')

# %% [markdown]
# Nobody wrote a rule about position. "dog" is found because of *what it is*, wherever it stands. That is the answer to the question at
# the top: word 200 finds word 3 because its query fits word 3's key, and one matrix product compares it with all 200 at once.
#
# (Why does "barked" give a little weight to itself? It has a key as well, *can bark*, and half of its query fits that.)
#
# The third vector is the **value** `v`: what a position hands over once found. It is made by a matrix of its own, because what
# makes a word easy to find is not what you want to know about it. (You find a book by its call number; you read its pages.) Say the values
# are: *how many legs*, *does it meow*.

# %%
values = torch.zeros(8, 2)
values[1], values[4] = torch.tensor([4.0, 1]), torch.tensor([4.0, 0])  # the cat, the dog
print("what 'barked' now holds:", weights[-1] @ values)

# %% [markdown]
# Four legs, weighed by how sure the head is, and hardly a meow: mostly the dog's values. The result is always such a mixture.
#
# > **Your turn: 04.2 `causal_mask`** (15 min): hide the future, and padding too.

# %% [markdown] tags=["slide"]
# ### Query, key, value
#
# - query: what am I looking for?
# - key: what can I be found by?
# - value: what do I hand over?
#
# score of t for s: q[t] · k[s]

# %% [markdown]
# ## 3. One head, learned
#
# The whole of it, for a batch of B sequences. `wq`, `wk` and `wv` are matrices of C rows and D columns, and they are learned:

# %%
def head(x, wq, wk, wv, mask=None, scale=True):
    """x (B, T, C), wq, wk, wv (C, D), mask (T, T), True where looking is allowed

    -> output (B, T, D), attention weights (B, T, T)
    """
    q, k, v = x @ wq, x @ wk, x @ wv
    scores = q @ k.transpose(-2, -1)  # (B, T, T): row t, column s is q[t] · k[s]
    if scale:
        scores = scores / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, dim=-1)
    return weights @ v, weights


# %% [markdown]
# Does it learn to look? Here is a game that averaging cannot win. You see eight cards, each with a letter and a digit, in random
# order. Then you see one of the letters alone. Say its digit.
#
# The model gets nine vectors: eight are *letter + digit*, the ninth is a letter only. It must predict the digit from what its one head
# brings to the ninth position.

# %%
LETTERS, DIGITS, CARDS = 26, 10, 8


def deal(batch, generator):
    """-> letters (B, 8), digits (B, 8), asked (B,) letters, answer (B,) digits"""
    letters = torch.rand(batch, LETTERS, generator=generator).argsort(1)[:, :CARDS]
    digits = torch.randint(DIGITS, (batch, CARDS), generator=generator)
    rows, pick = torch.arange(batch), torch.randint(CARDS, (batch,), generator=generator)
    return letters, digits, letters[rows, pick], digits[rows, pick]


def new_weights(seed, C=64, D=64):
    g = torch.Generator().manual_seed(seed)
    shapes = {"letter": (LETTERS, C), "digit": (DIGITS, C), "out": (D, DIGITS)}
    shapes |= {"wq": (C, D), "wk": (C, D), "wv": (C, D)}
    drawn = {name: torch.randn(shape, generator=g) for name, shape in shapes.items()}
    for name in ("wq", "wk", "wv", "out"):
        # so that a product has numbers of size one again
        drawn[name] /= math.sqrt(len(drawn[name]))
    return {name: w.requires_grad_() for name, w in drawn.items()}


# %%
def play(w, batch, generator, look=True, scale=True):
    """-> logits (B, 10), answers (B,), weights of the last position (B, 9)"""
    letters, digits, asked, answer = deal(batch, generator)
    cards, question = w["letter"][letters] + w["digit"][digits], w["letter"][asked]
    x = torch.cat([cards, question[:, None]], dim=1)  # (B, 9, C)
    wq = w["wq"] if look else torch.zeros_like(w["wq"])  # no query: a plain average
    y, weights = head(x, wq, w["wk"], w["wv"], scale=scale)
    return y[:, -1] @ w["out"], answer, weights[:, -1]


# %%
def learn(steps=400, seed=0, D=64, **how):
    """-> the trained weights, and the share of right answers at each step"""
    g, w, right = torch.Generator().manual_seed(seed), new_weights(seed, D=D), []
    optimizer = torch.optim.AdamW(w.values(), lr=3e-3, weight_decay=0)
    for _ in range(steps):
        logits, answer, _ = play(w, 128, g, **how)
        optimizer.zero_grad()
        F.cross_entropy(logits, answer).backward()
        optimizer.step()
        right.append((logits.argmax(-1) == answer).float().mean().item())
    return w, torch.tensor(right)


# %%
def spread(curves):
    """The share of right answers in the last hundred steps, over seeds."""
    ends = [curve[-100:].mean().item() for curve in curves]
    return f"between {min(ends):.1%} and {max(ends):.1%}"


# %% [markdown]
# **Predict.** A model that averages the nine vectors knows *which* digits are on the table, and how many of each, but not which one was asked
# for. What share of its answers will be right, roughly? (A number between 0 and 1.)

# %%
guess = None
averaging = [learn(seed=seed, look=False)[1] for seed in range(3)]
reveal("04.p2", guess, truth=torch.stack(averaging)[:, -100:].mean().item())

# %%
runs = [learn(seed=seed) for seed in range(3)]
looking = [right for _, right in runs]
fig, ax = figure(width=7, height=3.2)
for name, curves, color in (("looking", looking, BLUE), ("averaging", averaging, ORANGE)):
    for curve in curves:
        ax.plot(range(0, 400, 10), curve.view(40, 10).mean(1), color=color)  # means of ten steps
    label_end(ax, 390, curves[0][-50:].mean(), name, color)
ax.set(xlabel="step", ylabel="share of right answers", ylim=(0, 1.05))
assert min(c[-100:].mean() for c in looking) > 0.99
assert max(c[-100:].mean() for c in averaging) < 0.4
show(fig, alt="Live, three seeds each: with queries the share of right answers climbs to one; "
              "averaging stays near 0.3.")
print(f"Live, 3 seeds each: looking is right {spread(looking)} of the time at the end, averaging "
      f"{spread(averaging)}")

# %% [markdown]
# Averaging cannot do better: it can only name the digit that is most common among the eight cards, and that one is on two or three of them.
#
# Nothing told the head to compare letters. The loss did: to get the digit right, the query matrix and the key matrix had to agree on
# what a letter looks like. Open one game and see where the ninth position looks:

# %%
w = runs[0][0]
g = torch.Generator().manual_seed(11)
letters, digits, asked, answer = deal(6, g)
rows = zip(letters.tolist(), digits.tolist())
cards = [[f"{chr(97 + l)}{d}" for l, d in zip(*row)] for row in rows]
_, _, looks = play(w, 6, torch.Generator().manual_seed(11))
fig, axes = figure(width=8, height=2.6, columns=3)
for ax, row, where, letter in zip(axes, cards, looks.tolist(), asked.tolist()):
    ax.bar(range(9), where, color=BLUE)
    ax.set_xticks(range(9), [*row, "?"])
    ax.set(title=f'asked for "{chr(97 + letter)}"', ylim=(0, 1))
axes[0].set_ylabel("attention weight")
show(fig, alt="Three games; in each one tall bar stands at the card with the letter that was "
              "asked for, and hardly any other.")

# %% [markdown]
# ## 4. Why the scores are divided by √D
#
# Take two random vectors of D numbers, each number with mean 0 and variance 1. Their dot product is a sum of D products, each with mean
# 0 and variance 1. Variances add, so the sum has variance D.
#
# **Predict.** What is the standard deviation of a score when D = 64?

# %%
guess = None
reveal("04.p3", guess)

# %%
g = torch.Generator().manual_seed(0)
sizes = [4, 16, 64, 256]
print("   D   std of q·k   largest of 32 weights, unscaled   scaled")
for D in sizes:
    q, k = torch.randn(2000, 1, D, generator=g), torch.randn(2000, 32, D, generator=g)
    scores = (q @ k.transpose(1, 2)).squeeze(1)
    raw = torch.softmax(scores, -1).max(-1).values.mean()
    scaled = torch.softmax(scores / math.sqrt(D), -1).max(-1).values.mean()
    print(f"{D:>4} {scores.std():>10.2f} {raw:>27.2f} {scaled:>16.2f}")
    assert abs(scores.std() / math.sqrt(D) - 1) < 0.05

# %% [markdown]
# Without the division, a wide head starts its life staring at one of 32 positions, chosen by chance. That would be harmless if it could
# change its mind. But a softmax that is sure hardly passes a gradient: the derivative of a weight p with respect to its own score is p (1 − p), which is near zero when p is near
# one. Divided by √D, the scores have the same size for every D, and every head starts out fairly undecided.
#
# Take the scale out of the card game and see what that does:

# %%
D = 256
with_scale = [learn(seed=seed, D=D)[1] for seed in range(3)]
without = [learn(seed=seed, D=D, scale=False)[1] for seed in range(3)]
fig, ax = figure(width=7, height=3.2)
arms = ("divided by √D", with_scale, BLUE), ("not divided", without, VERMILLION)
for name, curves, color in arms:
    for curve in curves:
        ax.plot(range(0, 400, 10), curve.view(40, 10).mean(1), color=color)
    label_end(ax, 390, curves[0][-50:].mean(), name, color)
ax.set(xlabel="step", ylabel="share of right answers", ylim=(0, 1.05))
ax.set_title(f"card game, D = {D}")
assert min(c[-100:].mean() for c in with_scale) > max(c[-100:].mean() for c in without) + 0.05
show(fig, alt="Live, three seeds each: the scaled head reaches one within fifty steps; the "
              "unscaled one climbs slowly and stays below.")
print(f"Live, 3 seeds each: right in the last hundred steps, scaled {spread(with_scale)}, not "
      f"scaled {spread(without)}")

# %% [markdown]
# It still learns. Most mistakes in a training program do not stop it, they only make it worse, which is why they live so long.
#
# > **Your turn: 04.3 `attention`** (10 min): the lines of a head, shuffled. **04.4 `effective_keys`** (15 min): how many positions does a row really look at?

# %% [markdown] tags=["slide"]
# ### softmax(q kᵀ / √D + mask) v
#
# - without √D: sure before it has learned
# - without the mask: reads the answer
# - softmax over keys: rows sum to one

# %% [markdown]
# ## 5. Four mistakes and their pictures
#
# Training on T positions at once is only honest if position t cannot see position t + 1: that token is its answer. Here is the right
# matrix, and four that people write instead. All four run without an error.

# %%
T, D = 6, 16
g = torch.Generator().manual_seed(1)
q, k = torch.randn(T, D, generator=g), torch.randn(T, D, generator=g)
scores, future = q @ k.T / math.sqrt(D), torch.triu(torch.ones(T, T, dtype=torch.bool), diagonal=1)
hidden, too_late = scores.masked_fill(future, -math.inf), future.triu(2)
pictures = {
    "right": torch.softmax(hidden, -1),
    "A": torch.softmax(scores, -1).masked_fill(future, 0),
    "B": torch.softmax(scores.masked_fill(too_late, -math.inf), -1),
    "C": torch.softmax(hidden, 0),
    "D": torch.softmax((q @ k.T).masked_fill(future, -math.inf), -1),
}
fig, axes = figure(width=10, height=2.4, columns=5)
for ax, (name, weights) in zip(axes, pictures.items()):
    heatmap(weights, title=name, ax=ax, vmax=1)
show(fig, alt="Five matrices, bright is much: the right one; A with dim early rows; B reaching a "
              "column too far; C with a bright last row; D with single bright cells.")

# %% [markdown]
# **Before you read on:** one masks after the softmax, one masks one place too late, one takes the softmax over the wrong axis, one forgets
# the scale. Which is which?

# %%
print("      rows sum to                       columns sum to")
for name, weights in pictures.items():
    rows, columns = (" ".join(f"{s:.2f}" for s in weights.sum(axis).tolist()) for axis in (1, 0))
    print(f"{name:>5} {rows}     {columns}")
torch.testing.assert_close(pictures["right"].sum(1), torch.ones(T))
torch.testing.assert_close(pictures["C"].sum(0), torch.ones(T))
assert pictures["A"].sum(1)[0] < 0.9 and pictures["B"][0, 1] > 0
assert pictures["D"].max() > pictures["right"].max(1).values[1:].max()

# %% [markdown]
# - **A masks after the softmax.** The early rows whisper: the softmax spent their weight on a future that was then deleted. Worse, the
#   sizes of the weights that remain were computed by looking at the future. The past leaks what comes next.
# - **B masks one place too late.** Position t sees token t + 1, the answer. In training the loss falls to almost nothing. The model writes
#   nonsense, because when it generates there is no answer to copy. (Lesson 13 has such a run.)
# - **C takes the softmax over the wrong axis.** Columns sum to one instead of rows. The last row hoards, and row t now depends on later rows:
#   that leaks, too.
# - **D forgets the scale.** Rows sum to one and nothing leaks. It is only too sure, too early.
#
# A picture helps; a test is better. A model is causal if changing a late token changes nothing before it. That test needs no knowledge of
# the inside, so you can put it to any model:

# %%
def first_changed_row(make_weights, T=6, D=16, seed=2):
    """Change the last position's input; return the first row of weights that differs."""
    g = torch.Generator().manual_seed(seed)
    q, k = torch.randn(T, D, generator=g), torch.randn(T, D, generator=g)
    before = make_weights(q @ k.T / math.sqrt(D))
    q[-1], k[-1] = torch.randn(D, generator=g), torch.randn(D, generator=g)
    changed = (make_weights(q @ k.T / math.sqrt(D)) - before).abs().amax(-1) > 1e-6
    return changed.int().argmax().item()


makers = {
    "right": lambda s: torch.softmax(s.masked_fill(future, -math.inf), -1),
    "A": lambda s: torch.softmax(s, -1).masked_fill(future, 0),
    "B": lambda s: torch.softmax(s.masked_fill(too_late, -math.inf), -1),
    "C": lambda s: torch.softmax(s.masked_fill(future, -math.inf), 0),
    "D": lambda s: torch.softmax((s * math.sqrt(16)).masked_fill(future, -math.inf), -1),
}
leaks = {name: first_changed_row(maker) for name, maker in makers.items()}
print(f"change position {T - 1}; the first row to notice:", leaks)
assert leaks["right"] == leaks["D"] == T - 1 > max(leaks["A"], leaks["B"], leaks["C"])

# %% [markdown]
# The same mask serves other rules about who may see whom. When two documents share one row of a batch, a position may see only its own
# document: a triangle for each. `minigpt` makes that mask from document numbers:

# %%
from minigpt.model import attention_mask

documents = torch.tensor([[0, 0, 0, 1, 1, 1, 1]])
mask = attention_mask(torch.zeros(1, 7), None, documents)[0, 0]
show(heatmap(mask.float(), title="two documents in one row"),
     alt="Two separate lower triangles along the diagonal, one of three rows and one of four; "
         "nothing between them.")  # fmt: skip

# %% [markdown]
# > **Your turn: 04.5 `who_sees_whom`** (20 min): find the mask of a function that you cannot read.

# %% [markdown] tags=["slide"]
# ### Is it causal? Do not look, test
#
# change the last token: nothing before it may change

# %% [markdown]
# ## 6. Several heads
#
# One softmax gives one set of weights. A verb may want its subject *and* its tense. So a layer runs H heads side by side, each with its
# own queries, keys and values of D numbers, lays their results next to each other, and mixes them with one more matrix. Usually D = C / H; then the matrices and
# the multiplications cost what one wide head costs. Only the T by T weights are there once for each head.
#
# In code, one matrix makes the queries of all heads, and a reshape splits it. The order of the next two steps matters: split C into (H, D)
# first, then swap T and H.

# %%
def many_heads(x, wq, wk, wv, wo, H):
    """x (B, T, C), wq, wk, wv (C, H·D), wo (H·D, C) -> (B, T, C)"""
    B, T, _ = x.shape
    q, k, v = ((x @ w).view(B, T, H, -1).transpose(1, 2) for w in (wq, wk, wv))  # (B, H, T, D)
    mask = torch.ones(T, T, dtype=torch.bool).tril()
    scores = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).masked_fill(~mask, -math.inf)
    y = torch.softmax(scores, -1) @ v  # (B, H, T, D)
    return y.transpose(1, 2).reshape(B, T, -1) @ wo


B, T, C, H, D = 2, 7, 12, 4, 5  # all different, and H · D = 20 is not C either
g = torch.Generator().manual_seed(3)
x = torch.randn(B, T, C, generator=g)
wq, wk, wv = (torch.randn(C, H * D, generator=g) / math.sqrt(C) for _ in range(3))
wo = torch.randn(H * D, C, generator=g) / math.sqrt(H * D)

# %% [markdown]
# First check it against the slow way, one `head` at a time:

# %%
causal = torch.ones(T, T, dtype=torch.bool).tril()
columns = [slice(h * D, (h + 1) * D) for h in range(H)]
one_by_one = [head(x, wq[:, c], wk[:, c], wv[:, c], mask=causal)[0] for c in columns]
torch.testing.assert_close(many_heads(x, wq, wk, wv, wo, H), torch.cat(one_by_one, -1) @ wo)
print("many heads at once equal", H, "heads one by one")

# %% [markdown]
# **What breaks if** you write `.view(B, H, T, D)` straight away? The shapes are right, and no error comes. But `view` does not move numbers, it only
# cuts them differently: head 0 gets *all channels of the first few positions* instead of a few channels of all positions. Watch where
# position numbers end up:

# %%
where = torch.arange(T).view(1, T, 1).repeat(1, 1, H * D)  # every number is its own position
right, wrong = where.view(1, T, H, D).transpose(1, 2), where.view(1, H, T, D)
fig, axes = figure(width=8, height=2.6, columns=2)
heatmap(right[0, 1], title="split, then swap: head 1", ax=axes[0], numbers=True, vmax=T)
heatmap(wrong[0, 1], title="straight view: head 1", ax=axes[1], numbers=True, vmax=T)
show(fig, alt="Left: row t of head 1 holds only the number t. Right: rows hold numbers of other "
              "positions, in order of memory.")
print("rows of head 1 after the straight view begin with positions", wrong[0, 1, :, 0].tolist())

# %% [markdown]
# In the right-hand picture, row 0 is not position 0. The causal mask then hides the wrong things. No look at shapes finds it: compare the numbers with the slow way, as above, or
# run the test of section 5.
#
# > **Your turn: 04.6 `multi_head`** (15 min): a bug of this family, planted.

# %% [markdown]
# ## 7. What it costs
#
# A head compares every position with every other: T² scores of D multiplications each, and T² weights to keep, because the backward pass
# needs them.
#
# **Predict.** You double the context from 1,024 to 2,048 tokens. By what factor does the memory for one layer's attention weights grow?

# %%
guess = None
reveal("04.p4", guess)

# %%
def measure(f, *args, repeats=5):
    """Median seconds of a call, after one to warm up."""
    f(*args)
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        f(*args)
        times.append(time.perf_counter() - begin)
    return sorted(times)[repeats // 2]


def by_hand(q, k, v):
    mask = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool).tril()
    return minigpt.attention(q, k, v, mask)[0]


def fused(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


# %% tags=["timing"]
H, D, lengths, seconds = 4, 64, [128, 256, 512, 1024, 2048], {"by hand": [], "fused": []}
print("    T   weights, MiB   by hand, ms   fused, ms")
for T in lengths:
    q, k, v = torch.randn(3, 1, H, T, D)
    seconds["by hand"].append(measure(by_hand, q, k, v))
    seconds["fused"].append(measure(fused, q, k, v))
    mib = H * T * T * 4 / 2**20  # fp32: four bytes a weight
    print(f"{T:>5} {mib:>14.2f} {1e3 * seconds['by hand'][-1]:>13.2f} "
          f"{1e3 * seconds['fused'][-1]:>11.2f}")
growth = seconds["by hand"][-1] / seconds["by hand"][-2]
print(f"the last doubling made it {growth:.1f} times slower by hand, "
      f"{seconds['fused'][-1] / seconds['fused'][-2]:.1f} times fused")

# %% tags=["timing"]
fig, ax = figure(width=7, height=3.2)
for (name, measured), color in zip(seconds.items(), (VERMILLION, BLUE)):
    ax.loglog(lengths, measured, "o-", color=color)
    label_end(ax, lengths[-1], measured[-1], name, color)
square = [seconds["by hand"][-1] * (T / lengths[-1]) ** 2 for T in lengths]
ax.loglog(lengths, square, ":", color=GREY)
label_end(ax, lengths[0], square[0], "four times for each doubling", GREY)
ax.set(xlabel="context T", ylabel="seconds, forward", xticks=lengths, xticklabels=lengths)
ax.minorticks_off()
show(fig, alt="Live, on this machine: both curves rise about as steeply as the dotted line, which "
              "quadruples with each doubling; by hand lies above fused.")

# %% [markdown]
# Both do work that grows with T², if not exactly: where the weights stop fitting into the processor's cache, the slow way gets slower still. The fused kernel is faster because it never writes the T by T
# weights to memory, and because it knows the triangle and leaves out what is hidden: it works through the keys in blocks and keeps a running softmax. Its memory grows with T, not T². Lesson 10 builds that trick. It is the reason why nobody runs
# attention by hand, and why you should write it by hand once.
#
# How much of a whole model is this? A layer has about 12 C² parameters: 4 C² here, in the four matrices of attention, and 8 C² in the part that
# lesson 05 adds. Each costs a multiplication and an addition for each token, 24 C² operations forward. The scores and the mixing cost 4 T C. So inside a layer, attention's own part overtakes the matrices when T is larger than 6 C. In a whole model it takes a little
# longer, because the matrix that makes the logits costs something too:

# %%
from minigpt.accounting import forward_flops

C, layers = 768, 12
heads = dict(heads=12, kv_heads=12, head_size=64)
for T in (1024, 6 * C, 32768):
    sizes = dict(mlp_width=4 * C, context=T, vocab_size=50257)
    config = ModelConfig("gpt2", layers, C, **heads, **sizes, activation="gelu")
    share = 4 * T * T * C * layers / forward_flops(config, 1, T)
    print(f"GPT-2's shape, T = {T:>6,}: scores and mixing are {share:.0%} of the forward pass")

# %% [markdown] tags=["slide"]
# ### What attention costs
#
# - time: T²
# - memory: T² by hand, T with the fused kernel
# - inside a layer it overtakes the matrices at T = 6 C

# %% [markdown]
# > **Your turn: 04.7 `longest_context`** (10 min): how long a text fits into a GPU?
#
# ## 8. The same as the engine
#
# You have built attention twice, as one head and as many. Here is what `minigpt` runs when you ask it to show its weights; the timing above called it, too. You can read every line of it
# now. (Here `mask=None` hides nothing. A whole layer, below, takes None for "the plain causal triangle".)

# %%
print(inspect.getsource(minigpt.attention))

# %% [markdown]
# And here it is beside yours and beside PyTorch's kernel, inside a real layer with the layer's own weights:

# %%
shape = dict(heads=5, kv_heads=5, head_size=4, mlp_width=32, context=16, vocab_size=50)
config = ModelConfig("gpt2", layers=1, width=20, activation="gelu", **shape)
layer = GPT(config, seed=5).blocks[0].attn  # biases are zero in a fresh model
x = torch.randn(2, 7, 20, generator=torch.Generator().manual_seed(6))
with torch.no_grad():
    theirs = layer(x, rope=None, mask=None, cache=None, record=None)
    wq, wk, wv, wo = (m.weight.T for m in (layer.q, layer.k, layer.v, layer.out))
    torch.testing.assert_close(many_heads(x, wq, wk, wv, wo, H=5), theirs)
q, k, v = torch.randn(3, 2, 5, 7, 4, generator=torch.Generator().manual_seed(7))
causal = torch.ones(7, 7, dtype=torch.bool).tril()
torch.testing.assert_close(minigpt.attention(q, k, v, causal)[0], fused(q, k, v))
print("by hand = minigpt's layer = PyTorch's fused kernel")

# %% [markdown]
# > **Your turn: 04.8 `alibi`** (40 min), unaided: the assistant stays off.

# %% [markdown]
# ## 9. What your model looks at
#
# Now open the model from lesson 00 and look inside. `record` asks the model to keep its attention weights.
#
# One thing it has that yours has not. What you built cannot tell near from far: shuffle the past, and the same words get the same weights. The
# model also turns its queries and keys by an angle that depends on the position (lesson 06). That is how a head can find "the token before".

# %%
run = model_from("00")
model, tokenizer = run.model.eval(), run.tokenizer
text = "The captain said that the ship would not sail until the captain had spoken to the men."
tokens = [tokenizer.eot, *tokenizer.encode(text)]
record = {}
with torch.no_grad():
    model(torch.tensor([tokens]), record=record)
maps = torch.stack([layer[0] for layer in record["attention"]])  # (layers, H, T, T)
pieces = [tokenizer.decode([token]) if token != tokenizer.eot else "<start>" for token in tokens]
torch.testing.assert_close(maps.sum(-1), torch.ones(maps.shape[:3]))
print(f"{maps.shape[0]} layers, {maps.shape[1]} heads, {maps.shape[2]} tokens")

# %%
show(AttentionView(pieces, maps),
     alt="Attention of each head over the sentence: a triangle each; bright cells get more weight.")

# %% [markdown]
# One sentence may mislead. So measure on a longer text: which share of its weight does each head give to the token itself, to the one before it, to the
# very first, and how far back does it look on average?

# %%
from minigpt.text.sources import builtin, usable_domains

usable, _ = usable_domains(["books", "drama", "speeches", "docs"])
long = tokenizer.encode(next(builtin(usable[:1])).text[20_000:24_000])[: model.config.context - 1]
record = {}
with torch.no_grad():
    model(torch.tensor([[tokenizer.eot, *long]]), record=record)
maps = torch.stack([layer[0] for layer in record["attention"]])
T = maps.shape[-1]
back = torch.arange(T)[:, None] - torch.arange(T)  # how far back column s lies from row t
named = {f"{layer:>5} {h:>4}": m for layer, heads in enumerate(maps) for h, m in enumerate(heads)}
named["even share"] = torch.ones(T, T).tril() / torch.arange(1, T + 1)[:, None]  # for comparison
print("layer head   itself   previous   first   mean distance")
for name, m in named.items():
    itself, previous, first = m.diagonal().mean(), m.diagonal(-1).mean(), m[1:, 0].mean()
    distance = (m * back).sum(-1).mean()
    print(f"{name} {itself:>8.2f} {previous:>10.2f} {first:>7.2f} {distance:>15.1f}")

# %% [markdown]
# Read your own table against its last line, what an even average would give: it depends on your run. A head that gives much more than that to *previous* may put
# pieces of words together. One that gives nearly all to *itself* hardly looks at all. One near the even share averages the past. A
# head that gives much to *first* may have nothing to do: every row must sum to one, so the weight has to go somewhere.
#
# Be careful with stories about heads. The weights say where a head looked, not what it did with what it found; and a head that looks meaningful in
# one sentence often is not in the next. Lesson 15 tests such stories by switching heads off.

# %% [markdown]
# ## 10. One paper
#
# **Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762)**, section 3.2 and table 3. Attention was a
# part of translation models before; here it is the whole. Read with three questions: *What was held fixed* between the rows (A) of table 3, which change the
# number of heads? *What would change your mind* about "eight heads are best"? (How far apart are the rows, and how many seeds were
# run?) *Which number can you recompute?* One of them: the base model has 65 million parameters.

# %%
width, mlp, vocabulary, layers = 512, 2048, 37_000, 6  # section 5.1 and table 3, row "base"
attention_part = 4 * width * width  # queries, keys, values and the output; biases left out
mlp_part = 2 * width * mlp
encoder = layers * (attention_part + mlp_part)
decoder = layers * (2 * attention_part + mlp_part)  # it attends to itself and to the encoder
total = vocabulary * width + encoder + decoder  # one embedding, shared three ways
print(f"recomputed: {total / 1e6:.1f} million, printed in the paper: 65")
assert abs(total / 65e6 - 1) < 0.05

# %% [markdown]
# The recount falls short by three per cent. The vocabulary is given as "about 37,000"; biases and norms add a tenth of a million. The rest
# we cannot account for.

# %% [markdown]
# ## Summary
#
# 1. Averaging the past is a lower triangular matrix times `x`. Attention replaces its equal weights by learned ones.
# 2. A score is a query times a key. Divide it by √D, or the softmax is sure before it has learned anything.
# 3. Hide the future before the softmax, with minus infinity. A model is causal if changing a late token changes nothing earlier: test that.
# 4. Heads look in several ways at once, for the same multiplications; only the weights are kept once for each. Split channels first, then swap axes.
# 5. Time grows with T². By hand so does memory; the fused kernel keeps the weights out of memory and gives the same result.
#
# Next: lesson 05 puts attention into a whole GPT.

# %% tags=["timing"]
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
