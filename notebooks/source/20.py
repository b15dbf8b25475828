# %% [raw]
# title = "Mixture of experts"
# question = "Can a model have more parameters without costing more per token?"
# able = [
#   "build a mixture of experts: a router, a choice, and experts that each run once",
#   "see a router collapse, and mend it in two ways",
#   "tell active from total parameters, and recount a published model from its table of sizes",
#   "say what experts save, what they do not save, and how far one small experiment carries",
# ]
# needs = ["token", "parameter", "FLOP", "step", "softmax", "gradient", "cross-entropy", "held-out text", "bits per byte", "block", "MLP", "residual stream", "SwiGLU", "confidence interval", "paired difference"]
# reading = 55
# exercises = 115
# route = "further"
# paper = "Jiang et al. 2024, Mixtral of Experts, arXiv 2401.04088"
#
# [teaches]
# "mixture of experts" = "A layer that has several MLPs in the place of one, of which each token visits only a few."
# expert = "One of the MLPs of a mixture of experts."
# router = "The small matrix of a mixture that gives each token a score for each expert, and so decides which experts it visits."
# "active parameters" = "The parameters that one token is multiplied by: all but those of the experts it does not visit."
# "load balance" = "How evenly the visits of the tokens are spread over the experts."
# "auxiliary loss" = "A second loss, added to the first with a small factor, for something that the first does not ask for, such as load balance."
# capacity = "How many visits an expert has room for in one batch, where its buffer has a fixed size."
# "dropped token" = "A token that finds all of its experts full: the layer adds nothing to its residual stream."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners can build a mixture of experts, know why routers collapse, and never again confuse what a model holds with what
# a token costs. **Timing** (100 min). Before class: 20.1. In class: section 1 with its prediction 10 min · section 2, up to the
# heatmap, 10 · exercise 20.2 10 · exercise 20.3 15 · section 3 10 · section 4 with its prediction 10 · section 5 15 · sections 7
# and 8 10 · section 9 5 · discussion 5. Homework: 20.4 to 20.9, sections 6, 10 and 11.
#
# **Two misconceptions.** *"8x7B means eight models of seven billion, each a specialist for a subject."* Ask: which parts are there
# eight times? (Only the MLPs.) And at which moment is an expert chosen: once for a text, or for each token in each layer?
# *"A mixture is a smaller model, because only a quarter of it runs."* Ask: which parameters must lie in memory while a text is
# written, if the next token may choose any expert?
#
# **Discuss.** The balance loss makes the experts equally busy. Would a hospital want all its doctors equally busy? What is lost by
# asking for it, and what would be lost by not asking? · You serve one user on one laptop, or ten thousand users on eight GPUs. For
# which of the two is a mixture of experts the better model of a given quality?

# %% tags=["setup"]
import math
import time
from collections import Counter

import torch
import torch.nn.functional as F
from matplotlib.patches import Rectangle

from minigpt import GPT, ModelConfig
from minigpt.classroom import museum, recorded, reveal, show
from minigpt.classroom.shelf import half_width, live_sentence
from minigpt.classroom.viz import BLUE, CYCLE, GREY, ORANGE, VERMILLION
from minigpt.classroom.viz import figure, heatmap, label_end, plot_live, plot_record, visible
from minigpt.moe import MoE, active_parameters, balance_loss, sparse
from minigpt.text.sources import builtin, held_out, usable_domains

started = time.perf_counter()
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>05: a block has two parts. Which one mixes positions, and what does the other do?</summary>Attention mixes
# positions. The MLP takes each position's vector by itself, widens it, applies a nonlinearity and brings it back.</details>
# <details><summary>05: which of the two holds more parameters?</summary>The MLP: 8 C² against 4 C², two thirds of a block of width
# C.</details>
# <details><summary>06: two designs are compared "fairly". What is held equal?</summary>The training FLOPs, not the steps; and for each
# seed the order of the text, so that differences can be paired.</details>

# %% [markdown]
# > **Try first: 20.1 `active_share`** (5 min), before you read on. The exercises are in `exercises/20_mixture_of_experts.ipynb`;
# > `python3 course.py start 20` makes a copy for you in `my/`.
#
# ## 1. More parameters, the same work
#
# In every model so far, each token was multiplied by every matrix. So a model with twice the parameters costs twice the FLOPs for
# each token. Must it be so? A library with twice the books does not take twice as long to answer a question, if you know which
# shelf to go to.
#
# Here is the idea. Take the MLP of a block, which holds two thirds of the block's parameters. Put E of them in its place, all of
# the same shape, with different weights. They are called **experts**. For each token choose k of them, and leave the others alone.
# The whole layer is a **mixture of experts**. Attention, norms and embeddings stay as they are. A layer or a model without experts, in
# which every token meets every matrix, is called *dense*.
#
# **Predict.** You replace an MLP by 8 experts, each as large as that MLP, and send every token to 2 of them. By what factor do the
# MLP's FLOPs for one token grow?

# %%
guess = None
reveal("20.p1", guess)

# %%
C, M, k = 512, 1408, 2
one = 3 * C * M  # SwiGLU has three matrices
print("experts   parameters in the layer, M   FLOPs a token, M")
counts = [1, 2, 4, 8, 16, 32, 64]
held = [E * (one + C) / 1e6 for E in counts]  # the router has a row of C numbers for each expert
paid = [2 * (min(k, E) * one + E * C) / 1e6 for E in counts]  # a multiplication and an addition
for E, total, flops in zip(counts, held, paid):
    print(f"{E:>7} {total:>28.1f} {flops:>18.2f}")

# %%
fig, ax = figure(width=6.5, height=2.8)
for name, numbers, color in (("parameters", held, BLUE), ("FLOPs a token", paid, VERMILLION)):
    relative = [number / numbers[0] for number in numbers]
    ax.loglog(counts, relative, "o-", color=color)
    label_end(ax, counts, relative, name, color)
ax.set(xlabel="experts E (2 of them active)", ylabel="times one MLP", xticks=counts, yticks=counts)
ax.set(xticklabels=counts, yticklabels=counts)
ax.minorticks_off()
show(fig, alt="Against the number of experts, parameters rise in proportion, to 64 times one MLP; "
              "the FLOPs of a token stay at twice one MLP from two experts on.")

# %% [markdown]
# Parameters grow with E; the work of a token grows with k. The parameters that one token really meets are the **active
# parameters**. From here on every model of this kind has two sizes, total and active, and you need both to know anything about it.
#
# If the experts are made half as wide, two of them cost exactly what one MLP did. So you choose: more work for a better model, or
# the same work with more parameters. The second is the question at the top.

# %% [markdown] tags=["slide"]
# ### A mixture of experts
#
# - E MLPs in the place of one, k of them for each token
# - total parameters: grow with E
# - work of a token: grows with k

# %% [markdown]
# ## 2. The router
#
# Who chooses? A matrix of its own, learned like all the others: the **router**. It has a row of C numbers for each expert. The dot
# product of a token's vector with row e is the score of expert e. This is attention's idea once more: the token is the query, and
# the experts have keys.
#
# 1. Scores of a token for all E experts: one matrix product.
# 2. A softmax over the experts turns them into probabilities.
# 3. The k largest are chosen.
# 4. Their probabilities become weights: divided by their sum, so that k experts together say as much as one.
# 5. The output is the weighted sum of what the chosen experts compute.
#
# With k = 1 step 4 leaves the probability as it is. You will see why in a moment.
#
# > **Your turn: 20.2 `route`** (10 min): steps 1 to 4.

# %%
def router(x, w, k):
    """x (N, C), w (E, C) -> probabilities (N, E), chosen (N, k) int64, weights (N, k)"""
    probs = torch.softmax(x @ w.T, dim=-1)
    chosen = probs.topk(k, dim=-1).indices
    weights = probs.gather(1, chosen)  # the probabilities of those that were chosen
    if k > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    return probs, chosen, weights


N, C, M, E, k = 7, 12, 10, 5, 2  # all different
g = torch.Generator().manual_seed(2)
x = torch.randn(N, C, generator=g)
w = torch.randn(E, C, generator=g) / math.sqrt(C)
probs, chosen, weights = router(x, w, k)

# %%
fig, ax = figure(width=5.2, height=3.2)
heatmap(probs, title="probabilities; the chosen ones have a frame", ax=ax, numbers=True)
ax.set(xlabel="expert", ylabel="token")
for n, row in enumerate(chosen.tolist()):
    for e in row:
        frame = Rectangle((e - 0.47, n - 0.47), 0.94, 0.94, fill=False, edgecolor=ORANGE, lw=3)
        ax.add_patch(frame)
show(fig, alt="Seven rows of five probabilities; in each row the two largest have an orange frame, "
              "in different columns for different tokens.")
torch.testing.assert_close(weights.sum(1), torch.ones(N))
print("token 0 visits experts", chosen[0].tolist(), "with weights", weights[0])

# %% [markdown]
# Every row is a choice of its own: two tokens of one sentence may visit different experts, and the same word may visit others in
# the next layer.
#
# Now the experts do their part. To be sure of what is meant, the slow way first, token by token:

# %%
g = torch.Generator().manual_seed(3)
gate, up = (torch.randn(E, M, C, generator=g) / math.sqrt(C) for _ in range(2))
down = torch.randn(E, C, M, generator=g) / math.sqrt(M)


def expert(e, x):
    """SwiGLU with the weights of expert e: (n, C) -> (n, C)"""
    return (F.silu(x @ gate[e].T) * (x @ up[e].T)) @ down[e].T


def token_by_token(x, weights, chosen):
    y = torch.zeros_like(x)
    for n in range(len(x)):
        for weight, e in zip(weights[n], chosen[n].tolist()):
            y[n] += weight * expert(e, x[n : n + 1])[0]
    return y


print(token_by_token(x, weights, chosen).shape)

# %% [markdown]
# A check that costs one line: with a single expert there is nothing to choose, and the layer must be an ordinary MLP.

# %%
_, only, full = router(x, w[:1], 1)
torch.testing.assert_close(token_by_token(x, full, only), expert(0, x))
print("one expert: the same as the dense layer")

# %% [markdown]
# **What breaks if** you divide by the sum when k = 1? Then each token has one weight, p / p, which is 1 whatever p is. The output is
# an honest output. But look at what reaches the router when you ask for gradients:

# %%
for divide in (False, True):
    learned = w.clone().requires_grad_()
    probs, chosen, weights = router(x, learned, 1)
    weights = weights / weights.sum(-1, keepdim=True) if divide else weights
    token_by_token(x, weights, chosen).square().sum().backward()
    print(f"divided: {divide!s:<6} largest gradient of the router {learned.grad.abs().max():.5f}")
    assert (learned.grad.abs().max() < 1e-5) == divide

# %% [markdown]
# Nothing. The choice itself has no gradient: `topk` returns whole numbers, and a whole number cannot be moved a little. The router learns
# **only through the weights**. It is told "what expert 3 said was useful here, give it more weight", and the higher score then wins more
# choices. A router whose weight is always 1 hears nothing, and sends tokens to and fro by the luck of its first numbers.
#
# Keep in mind what it is *not* told: whether an expert that it did not choose would have been better.
#
# > **Your turn: 20.3 `moe_forward`** (15 min): one expert after the other, each with all of its tokens.

# %% [markdown] tags=["slide"]
# ### The router
#
# softmax of scores → the k best → weights that sum to one
#
# - the choice has no gradient; the weights have
# - k = 1: keep the probability, or the router learns nothing

# %% [markdown]
# ## 3. Every expert once
#
# Token by token, each product is a vector times a matrix, and the machine spends its time fetching the matrix. It is better to collect
# the tokens of an expert and multiply them all at once. That is called *dispatch*:
#
# 1. N tokens with k choices each are N · k **visits**. Write down the expert of each visit.
# 2. Sort the visits by expert. Now the visits of each expert lie together.
# 3. Cut the sorted tokens into E blocks, and run each expert once on its block.
# 4. Undo the sorting, weigh, and add up the k results of each token.
#
# > **Your turn: 20.5 `dispatch`** (15 min): these steps as shuffled lines, some of them wrong.

# %%
probs, chosen, weights = router(x, w, k)
visits = chosen.flatten()  # (N k,): visit i is the (i % k)-th of token i // k
order = visits.argsort(stable=True)
fig, axes = figure(width=8, height=2.4, rows=2)
for ax, rows, title in ((axes[0], torch.arange(N * k), "visits in the order of the tokens"),
                        (axes[1], order, "sorted by expert: five blocks")):
    heatmap(torch.stack([rows // k, visits[rows]]), ["token", "expert"], [""] * (N * k), title, ax,
            numbers=True, vmax=N)
show(fig, alt="Two tables of fourteen columns, token above expert. In the upper one the tokens are "
              "in order, in the lower one the experts are.")
print("visits of each expert:", torch.bincount(visits, minlength=E).tolist())

# %%
def dispatched(x, weights, chosen):
    visits, k = chosen.flatten(), chosen.shape[1]
    order = visits.argsort(stable=True)
    blocks = x[order // k].split(torch.bincount(visits, minlength=E).tolist())
    y = torch.cat([expert(e, block) for e, block in enumerate(blocks)])
    y = y[order.argsort()].view(len(x), k, -1)  # sorting the order undoes it
    return (weights[:, :, None] * y).sum(1)


layer = MoE(ModelConfig(width=C, mlp_width=M), experts=E, active=k)
with torch.no_grad():
    for name, ours in (("router", w), ("gate", gate), ("up", up), ("down", down)):
        layer.get_parameter(name).copy_(ours)
    torch.testing.assert_close(dispatched(x, weights, chosen), token_by_token(x, weights, chosen))
    torch.testing.assert_close(layer(x[None])[0], dispatched(x, weights, chosen))
print("token by token = dispatched = minigpt.moe.MoE")

# %% [markdown]
# `minigpt.moe.MoE` takes (B, T, C) and returns the same, so it fits in the place of a block's `mlp`. Our tests also compare it with the
# mixture of Qwen3-MoE in the `transformers` library, on the same weights, outputs and all gradients. What did the sorting buy?

# %% tags=["timing"]
N, C, M, E, k = 512, 128, 344, 8, 2
x, w = torch.randn(N, C), torch.randn(E, C)
gate, up, down = torch.randn(E, M, C) / 11, torch.randn(E, M, C) / 11, torch.randn(E, C, M) / 18
_, chosen, weights = router(x, w, k)
milliseconds = {}
for name, way in (("token by token", token_by_token), ("dispatched", dispatched),
                  ("one MLP, once", lambda x, *_: expert(0, x))):
    way(x, weights, chosen)
    begin = time.perf_counter()
    way(x, weights, chosen)
    milliseconds[name] = 1e3 * (time.perf_counter() - begin)
    print(f"{name:<16} {milliseconds[name]:>8.1f} ms")

# %% [markdown]
# Two experts do twice the work of one MLP. All that comes on top of twice its time is the price of sorting and of eight small products
# instead of one large one. On a GPU libraries have a *grouped* product, one program for all the blocks.

# %% [markdown]
# ## 4. Left alone, the router collapses
#
# Now train one. The model is a small GPT of one block, with 8 experts of which each token visits 1. To make everything visible, a token is
# one byte, that is, one letter. The text is a piece of each of a dozen books.
#
# At every step, write down which share of the visits each expert got. Even would be one eighth.

# %%
usable, _ = usable_domains(["books", "drama", "speeches", "docs"])
documents = list(builtin(usable[:1]))
read = [d.text[3000:43_000] for d in documents if not held_out(d.id)][:12]
ids = torch.tensor(list("\n".join(read).encode()))
unseen = "\n".join(d.text[5000:7000] for d in documents if held_out(d.id))
E, LENGTH, STEPS, WARM_UP, RATE = 8, 48, 200, 25, 2e-3
SHAPE = dict(layers=1, width=48, heads=2, kv_heads=2, head_size=24, mlp_width=48, context=LENGTH,
             vocab_size=256)
print(f"{len(ids):,} bytes of {usable[0]} to read")


def one_step(model, optimizer, generator, balance):
    """-> the cross-entropy of a batch of 12 windows, in nats per byte"""
    starts = torch.randint(len(ids) - LENGTH, (12, 1), generator=generator)
    batch = ids[starts + torch.arange(LENGTH + 1)]
    loss = model(batch[:, :-1], batch[:, 1:])
    total = loss + balance * balance_loss(model) if balance else loss  # section 5
    optimizer.zero_grad()
    total.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


# %%
def shares_of(chosen):
    """(N, k) -> (E,): the share of the visits that each expert got"""
    return torch.bincount(chosen.flatten(), minlength=E) / chosen.numel()


def learn(seed, balance=0.0, change=None):
    """-> the trained model, shares (STEPS, E), losses (STEPS,)"""
    model = sparse(GPT(ModelConfig(**SHAPE), seed), experts=E, active=1, seed=seed)
    mixture, shares, losses = model.blocks[0].mlp, [], []
    if change:
        change(mixture)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95))
    generator = torch.Generator().manual_seed(seed)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * min(1, (step + 1) / WARM_UP)
        losses.append(one_step(model, optimizer, generator, balance))
        shares.append(shares_of(mixture.chosen))
    return model, torch.stack(shares), torch.tensor(losses)


def largest(runs):
    """Of the last 30 steps, the mean share of the busiest expert: one number a run"""
    return [shares[-30:].mean(0).max().item() for _, shares, _ in runs]


# %% [markdown]
# **Predict.** After 200 steps, which share of the visits does the busiest of the 8 experts get?

# %%
guess = None
threads = torch.get_num_threads()
torch.set_num_threads(1)  # the matrices are small: a second thread would mostly wait
alone = [learn(seed) for seed in range(3)]
reveal("20.p2", guess, truth=sum(largest(alone)) / 3)

# %%
fig, axes = figure(width=9, height=2.7, columns=3, sharey=True)
for seed, (ax, (_, shares, _)) in enumerate(zip(axes, alone)):
    heatmap(shares.T, title=f"seed {seed}", ax=ax, vmin=0, vmax=1)
    ax.set(xlabel="step", aspect="auto", xticks=[0, 100, 199])
axes[0].set_ylabel("expert")
fig.colorbar(axes[0].images[0], ax=axes, label="share of the visits")
show(fig, alt="Three pictures of eight rows, one an expert, over 200 steps: at almost every step "
              "one row is bright and the others are dark; now and then another row takes over.")
ends = ", ".join(f"{share:.2f}" for share in largest(alone))
print(f"Live, 3 seeds: the busiest expert's share at the end, between {min(largest(alone)):.2f} "
      f"and {max(largest(alone)):.2f} ({ends}); even is {1 / E}")
early = torch.stack([shares[20:120].max(1).values.mean() for _, shares, _ in alone])
print(f"steps 20 to 120: the busiest takes {early.min():.2f} or more of a batch, on average")
assert early.min() > 0.5

# %% [markdown]
# One bright row, and seven dark ones. This is called **collapse**: the router sends nearly everything to one expert.
#
# The usual explanation, which these runs do not test, has two parts. Early in training all tokens' vectors have much in common, so that a small change of the router moves nearly all
# tokens to the same expert at once. And collapse feeds itself: the expert that gets the tokens is the one that is trained; the trained one is the most
# useful one; the router, which hears only of the experts it chose, gives it more weight. An expert without tokens gets no gradient, and learns
# nothing.
#
# Look at the picture again: it shows two kinds of trouble. Where one row stays bright, the router has collapsed. Where the bright row
# changes, the router is *unstable*: it throws all tokens from one expert to the next. Either way you have paid for
# eight experts, and at any moment used one.
#
# > **Your turn: 20.8 `healthy`** (10 min): a monitor that tells collapsed, unstable and balanced apart.

# %% [markdown] tags=["slide"]
# ### Collapse
#
# chosen → trained → useful → chosen
#
# An expert without tokens gets no gradient.

# %% [markdown]
# ## 5. Load balance
#
# How evenly the visits are spread is called the **load balance**. There are two common ways to ask for it.
#
# ### A second loss
#
# Let $f_i$ be the share of the visits that expert i got, and $P_i$ the router's probability for expert i, averaged over the tokens. Add
# this to the loss, times a small factor such as 0.01 (Fedus et al. 2021, [Switch
# Transformers](https://arxiv.org/abs/2101.03961), equations 4 to 6):
#
# $$E \sum_i f_i P_i$$
#
# In words: for each expert the share of visits times the mean probability, summed, times the number of experts. Something added to the loss
# for another reason than the prediction is an **auxiliary loss**.
#
# **Predict.** All of the $f_i$ and all of the $P_i$ are 1/E. What is its value?

# %%
guess = None
reveal("20.p3", guess)

# %% [markdown]
# > **Your turn: 20.4 `balance_loss`** (10 min): one that was written with two mistakes.

# %%
def unevenness(probs, chosen):
    """probs (N, E), chosen (N, k) -> the auxiliary loss"""
    f = F.one_hot(chosen, probs.shape[1]).float().mean((0, 1))  # shares of the visits, sum to one
    return probs.shape[1] * torch.dot(f, probs.mean(0))


N = 80
even = unevenness(torch.full((N, E), 1 / E), torch.arange(N)[:, None] % E)
one_takes_all = unevenness(F.one_hot(torch.zeros(N).long(), E).float(), torch.zeros(N, 1).long())
print(f"even {even:.2f}, one expert takes all {one_takes_all:.2f}")
torch.testing.assert_close(torch.stack([even, one_takes_all]), torch.tensor([1.0, 8.0]))
mixture = alone[0][0].blocks[0].mlp
with torch.no_grad():
    torch.testing.assert_close(unevenness(mixture.probs, mixture.chosen), balance_loss(alone[0][0]))
print(f"a run of section 4, last batch: busiest {shares_of(mixture.chosen).max():.2f}, "
      f"unevenness {unevenness(mixture.probs, mixture.chosen):.2f}")

# %% [markdown]
# Why the product of two things that say nearly the same? Because $f$ counts choices, and a count has no gradient. $P$ has one. The
# gradient for the probability of expert i is $E f_i / N$: the more an expert was used, the harder its probability is pressed down, for every
# token alike. So $f$ says how hard to push, and $P$ can be pushed.
#
# One warning about the value. It is 1 when all is even, but it can also be below 1 when all is *not* even:

# %%
probs = torch.tensor([[0.51, 0.49]] * 6 + [[0.0, 1.0]] * 4)  # six tokens barely prefer expert 0
lopsided = unevenness(probs, probs.argmax(1, keepdim=True))
print(f"shares 0.6 and 0.4, and the loss is {lopsided:.2f}")
assert lopsided < 1

# %% [markdown]
# Expert 0 gets more visits, but with little conviction; expert 1 has the larger mean probability. So do not read the health of a
# router from this number. Watch the shares.
#
# ### A nudge
#
# The auxiliary loss pulls at the weights that also predict the text, and the two pulls need not agree. Wang et al. 2024 ([Auxiliary-Loss-Free
# Load Balancing](https://arxiv.org/abs/2408.15664)) leave the loss alone. Each expert gets a number that is added to its probability *when
# choosing*, and only then; the weights stay those of the router. After each step the number goes up a little for experts that got less than
# their share, and down for the others. No gradient is involved. (In the paper each score goes
# through a sigmoid instead of the softmax, and the number is added to that; the idea is the same.)

# %%
def nudged(mixture, rate=0.01):
    """Change how a MoE chooses: by probability plus a nudge that follows the shares."""
    nudge = torch.zeros(mixture.experts)

    def choose(probs):  # (N, E) -> (N, k)
        chosen = (probs.detach() + nudge).topk(mixture.active, dim=-1).indices
        if mixture.training:
            nudge.add_(rate * torch.sign(1 / mixture.experts - shares_of(chosen)))
        return chosen

    mixture.choose = choose


by_loss = [learn(seed, balance=0.02) for seed in range(3)]
by_nudge = [learn(seed, change=nudged) for seed in range(3)]

# %%
fig, ax = figure(width=7.5, height=3.2)
arms = (("left alone", alone, VERMILLION, "-"), ("second loss", by_loss, ORANGE, "--"),
        ("nudge", by_nudge, BLUE, "-"))
for name, runs, color, style in arms:
    busiest = torch.stack([shares.max(1).values for _, shares, _ in runs]).mean(0)
    smooth = busiest.view(-1, 10).mean(1)
    ax.plot(range(5, STEPS, 10), smooth, style, color=color)
    label_end(ax, STEPS - 5, smooth[-1], name, color)
ax.axhline(1 / E, color=GREY, linestyle=":")
ax.text(2, 1 / E + 0.015, "even", color=GREY)
ax.set(xlabel="step", ylabel="share of the busiest expert", ylim=(0, 1))
show(fig, alt="Live, mean of three seeds: all three rise at first; the "
              "nudge and the second loss come down after step 100, left alone stays near 0.9.")

# %%
print("at the end        busiest expert   cross-entropy, nats per byte   (mean of 3 seeds)")
for name, runs, *_ in arms:
    nats = [losses[-30:].mean().item() for _, _, losses in runs]
    print(f"{name:<16} {sum(largest(runs)) / 3:>15.2f} {sum(nats) / 3:>20.2f}")
    print(f"    Live, 3 seeds: busiest between {min(largest(runs)):.2f} and "
          f"{max(largest(runs)):.2f}, nats between {min(nats):.2f} and {max(nats):.2f}")
assert sum(largest(by_nudge)) < sum(largest(alone)) > sum(largest(by_loss))

# %% [markdown]
# Both bring the load down. (The picture takes the busiest expert of each step; the table averages the shares over the last 30 steps first, and
# takes the busiest then. Its numbers are lower, because the busiest expert changes from step to step. Exercise 20.8 is about this difference.)
#
# Now look at the last column, and at how far the seeds lie apart: nobody could tell from the loss that one of these
# arms leaves seven experts idle. A collapsed mixture is a smaller dense model, and a smaller dense model learns letters just as well for 200
# steps. So a run can waste most of its parameters for days without a sign. (Nor does this table say which of the two remedies is better. Both
# are in use.)
#
# What neither of them does is say *which* tokens belong together. They only say "not all here".

# %% [markdown] tags=["slide"]
# ### Two ways to balance
#
# - a second loss: E · Σ f · P, pushes probabilities
# - a nudge on the choice: no gradient
#
# Watch the shares, not the loss.

# %% [markdown]
# ## 6. Capacity and dropped tokens
#
# `MoE` cuts blocks of whatever size comes. Many systems cannot: a compiled program, or a message between GPUs, wants to know its sizes beforehand. So
# each expert gets a buffer with room for a fixed number of visits, its **capacity**:
#
# capacity = ⌈ factor · N · k / E ⌉
#
# The brackets ⌈ ⌉ mean: rounded up. N · k / E is what an even router would send; the *capacity factor* leaves some room above it. Visits that come to a full expert are
# dropped. A token that loses all its visits is a **dropped token**: the layer adds nothing to its residual stream, and it goes on as it
# came. Nothing stops, no error is shown. It only makes the model a little worse.
#
# > **Your turn: 20.6 `dropped`** (10 min): which share of the visits is lost, and which of the tokens?

# %%
factors = torch.linspace(0.5, 4, 36)
windows = torch.tensor(list(unseen.encode()))[: 64 * LENGTH].view(64, LENGTH)
fig, ax = figure(width=7, height=3)
for name, runs, color in (("left alone", alone, VERMILLION), ("nudge", by_nudge, BLUE)):
    model = runs[0][0].eval()
    with torch.no_grad():
        model(windows)
    visits = shares_of(model.blocks[0].mlp.chosen) * windows.numel()
    room = factors[:, None] * windows.numel() / E
    lost = (visits - room).clamp(min=0).sum(1) / windows.numel()  # k = 1: visits lost = tokens lost
    ax.plot(factors, lost, color=color)
    label_end(ax, factors, lost, name, color)
    at_one, at_two = (lost[(factors - f).abs().argmin()].item() for f in (1.0, 2.0))
    print(f"{name:<11} dropped at a factor of 1: {at_one:.0%}, of 2: {at_two:.0%}")
ax.set(xlabel="capacity factor", ylabel="share of tokens dropped", ylim=(0, 1))
show(fig, alt="Share of dropped tokens against the capacity factor: for the nudged router it falls "
              "to zero by a factor of three; for the one left alone it is higher at each factor.")

# %% [markdown]
# Even the nudged router drops many at a factor of 1: it is even over many batches, not in each, and this text is new to it. A larger factor keeps
# more, and makes every buffer larger, with the empty places multiplied like the rest. Balance is worth money here.
#
# **What breaks if** places are given out in order, to a batch that holds several texts? A token's place then depends on who came first. Put
# other texts before yours, and your text gets another answer:

# %%
def keep(chosen, capacity):
    """(N, 1) -> (N,) bool: which visits find a place, in the order of the tokens"""
    queue = F.one_hot(chosen[:, 0], E).cumsum(0).gather(1, chosen)[:, 0]  # my number in the line
    return queue <= capacity


mixture = by_nudge[0][0].blocks[0].mlp
x = torch.randn(40, 48, generator=torch.Generator().manual_seed(1))  # any vectors will do
x[20:] = x[:1] + 0.1 * x[20:]  # a crowd that wants what token 0 wants
with torch.no_grad():
    for name, batch in (("my twenty alone", x[:20]), ("behind twenty others", x.roll(20, 0))):
        mixture(batch[None])
        kept = keep(mixture.chosen, math.ceil(1.25 * len(batch) / E))[-20:]
        print(f"{name:<21} of my twenty tokens {kept.sum()} are kept: {kept.int().tolist()}")

# %% [markdown]
# The same twenty vectors, the same weights, another result, because of strangers in the batch. A model that is served with dropping answers you
# differently when the server is full. This is one reason why many systems now take the trouble of blocks that fit ("dropless").

# %% [markdown]
# ## 7. Active against total
#
# Time to count a real one. Mixtral 8x7B has 32 layers of width 4,096, SwiGLU experts of width 14,336, 8 of them in each layer and 2 active;
# attention with 32 query heads and 8 key and value heads of size 128; a vocabulary of 32,000, with an output matrix of its own, not tied to
# the embedding (sizes: Jiang et al. 2024, table 1).
#
# **Predict.** How many billion parameters does it have in total?

# %%
guess = None
reveal("20.p4", guess)

# %% [markdown]
# > **Your turn: 20.7 `moe_parameters`** (15 min): a formula for both sizes.
#
# You can also build it. On the device called *meta* a tensor has a shape and no memory, so a model of any size costs nothing:

# %%
shapes = {
    "Mixtral 8x7B": (ModelConfig(layers=32, width=4096, heads=32, kv_heads=8, head_size=128,
                                 mlp_width=14336, vocab_size=32000, tied=False), 8, 2),
    "Qwen3-30B-A3B": (ModelConfig(layers=48, width=2048, heads=32, kv_heads=4, head_size=128,
                                  mlp_width=768, vocab_size=151936, tied=False), 128, 8),
}
sizes = {}
print("                total, 10^9   active, 10^9   bf16 weights, GB   FLOPs a token, 10^9")
for name, (config, experts, active) in shapes.items():
    with torch.device("meta"):
        model = sparse(GPT(config), experts, active)
    total, works = sum(p.numel() for p in model.parameters()), active_parameters(model)
    sizes[name] = total, works
    multiplied = works - config.vocab_size * config.width  # looking up a token multiplies nothing
    print(f"{name:<14} {total / 1e9:>12.1f} {works / 1e9:>14.1f} {2 * total / 1e9:>18.0f} "
          f"{2 * multiplied / 1e9:>21.1f}")
assert abs(sizes["Mixtral 8x7B"][0] / 46.7e9 - 1) < 0.002

# %% [markdown]
# Read the table from both ends. To *hold* Mixtral you need memory for all of its parameters, because the next token may choose any expert (in bf16
# each number takes two bytes). To *run* it you
# pay for the active ones. (Left out are the scores and the mixing of attention, which grow with the length of the text.) Its name is misleading:
# 8 times 7 is 56, but only the MLPs are there eight times.
#
# The second model (Yang et al. 2025, [Qwen3 Technical Report](https://arxiv.org/abs/2505.09388)) has a newer shape: many narrow experts, a
# small part of them active. Its name gives both sizes, rounded down.
#
# For whom is this good? While one user's text is written, one token at a time, the time goes into reading weights from memory, and only the active ones
# are read: a mixture writes fast for its quality, if you have the memory. With many users at once, every expert is asked by
# someone, all weights are read, but each read serves many. In training, compute is what you pay for, and a mixture saves it.

# %% [markdown] tags=["slide"]
# ### Two sizes
#
# - total: what you must store
# - active: what you must compute
#
# 8x7B is not 56

# %% [markdown]
# ## 8. What experts specialise in
#
# The word "expert" suggests one for law and one for cooking. Look instead. Here are lines of a book that the model has not read. Under each
# letter stands the number of the expert that it visited:

# %%
model = by_nudge[0][0].eval()
with torch.no_grad():
    model(windows)
where = model.blocks[0].mlp.chosen[:, 0]  # (64 · 48,): one expert for each byte
letters = [chr(byte) if byte < 128 else "?" for byte in windows.flatten().tolist()]
fig, ax = figure(width=9.5, height=2.6)
for i in range(4 * LENGTH):
    row, column = divmod(i, LENGTH)
    color = [*CYCLE, GREY][where[i]]
    ax.text(column, -1.5 * row, visible(letters[i]), ha="center", parse_math=False, size=11)
    ax.text(column, -1.5 * row - 0.6, str(where[i].item()), ha="center", color=color, weight="bold")
ax.set(xlim=(-1, LENGTH), ylim=(-5.4, 0.8))
ax.axis("off")
show(fig, alt="Four lines of a book with a digit from 0 to 7 under each letter; the same letter "
              "mostly has the same digit, wherever it stands.")
print("the first line:", "".join(letters[:LENGTH]).replace("\n", "⏎"))
print("its experts:   ", "".join(map(str, where[:LENGTH].tolist())))

# %%
often = [c for c, _ in Counter(letters).most_common(28)]
rows = torch.stack([shares_of(where[[c == letter for letter in letters]][:, None]) for c in often])
fig, ax = figure(width=9.5, height=3)
heatmap(rows.T, None, often, "where each letter goes", ax, vmin=0, vmax=1)
ax.tick_params("x", labelrotation=0)
ax.set(ylabel="expert", yticks=range(E))
fig.colorbar(ax.images[0], ax=ax, label="share of its visits")
show(fig, alt="A column for each frequent letter, a row for each expert: most columns have one or "
              "two bright squares.")
for e in range(E):
    mine = [c for c, row in zip(often, rows) if row.argmax() == e]
    print(f"expert {e}: {' '.join(map(visible, mine))}")

# %% [markdown]
# So the experts of this model divide the *alphabet* among themselves, more than anything that a reader would call a subject. That fits what was found in large
# models: Jiang et al. (2024, section 5) looked for experts with a subject in Mixtral, found no clear ones, and saw that the choice goes with
# the form of the text instead, such as the indentation of code.
#
# Before you tell a story about it, compare with a router that has learned nothing:

# %%
def told_by_letter(model):
    """How often the letter tells the expert, and how often one guess for all is right.

    In both cases the guess is the expert that is chosen most often.
    """
    with torch.no_grad():
        model(windows)
    experts = model.blocks[0].mlp.chosen[:, 0]
    table = torch.zeros(256, E)
    table.index_put_((windows.flatten(), experts), torch.ones(len(experts)), accumulate=True)
    right = table.max(1).values.sum(), table.sum(0).max()
    return [(count / len(experts)).item() for count in right]


fresh = [sparse(GPT(ModelConfig(**SHAPE), seed), E, 1, seed) for seed in range(3)]
untrained = [told_by_letter(model) for model in fresh]
trained = [told_by_letter(model.eval()) for model, *_ in by_nudge]
for when, found in (("before", untrained), ("after", trained)):
    letter, one = zip(*found)
    print(f"Live, 3 seeds, {when} training: the letter tells the expert between {min(letter):.0%} "
          f"and {max(letter):.0%} of the time, one guess for all {min(one):.0%} to {max(one):.0%}")

# %% [markdown]
# Before training the letter decides as well: the vector of a token is mostly its own embedding, so the same letter goes the same way from the first
# step on. A picture of neat letters under neat experts is therefore no proof that anything useful was learned. What training can add
# is *which* letters share an expert. A claim about experts needs such a comparison, just as one about attention heads does.

# %% [markdown]
# ## 9. Does it pay?
#
# A fair race: equal training FLOPs, counted from the weights that a token meets and the products inside attention, the same data order for each seed, the same learning rate, chosen for the
# dense model. All have two blocks of width 32 and read bytes. Held-out text is scored in bits per byte.

# %%
record = recorded("20.experts")
print(record.what)
print("arm                      active    total   tokens read   busiest expert   bits per byte")
names = "active_parameters", "parameters", "tokens", "largest_share"
for arm in record.arms:
    active, total, tokens, busiest = (record.numbers(arm, name).mean() for name in names)
    share = f"{busiest:.2f}" if "8" in arm else ""
    print(f"{arm:<22} {active:>8,.0f} {total:>8,.0f} {tokens:>13,.0f} {share:>16} "
          f"{record.mean(arm)[-1]:>15.3f}")

# %% [markdown]
# In "1 of 8" each expert is as wide as the dense MLP; in "2 of 8" it has half that width. So both pay for one MLP a token, like the dense model. The
# wide dense model has an MLP eight times as wide. It has as many parameters as "1 of 8" and uses them all, so for the same FLOPs it reads a quarter of
# the text. (`total` also counts the rows that fill the vocabulary up to a multiple of 64. No token meets them.)

# %%
live = record.live() if usable[0] == "books" else None
torch.set_num_threads(threads)
fig, ax = figure(width=7, height=3.2)
shown = ["dense", "2 of 8", "dense, wide"]
plot_record(ax, record, shown, label=False)
for arm, color, shift in zip(shown, (BLUE, CYCLE[2], CYCLE[4]), (0.06, -0.06, 0)):
    label_end(ax, record.x(arm), record.mean(arm) + shift, arm, color)
if live:
    plot_live(ax, live.x, live.y, "")
    print(live_sentence(record, "dense", live))
show(fig, alt="Bits per byte against training FLOPs: the mixture with two of eight experts ends "
              "lowest, the dense model a little above it, the wide dense model far above both.")
print(record.sentence())

# %% [markdown]
# The end of training, as paired differences to the dense model with the same seed (lesson 06), and their 95 % intervals:

# %%
fig, ax = figure(width=7, height=2.2)
others = [arm for arm in record.arms if arm != "dense"]
print("bits per byte minus dense, seed by seed and mean    seconds per million tokens")
for row, arm in enumerate(others):
    paired = record.curves(arm)[:, -1] - record.curves("dense")[:, -1]
    half = half_width(paired)
    ax.errorbar(paired.mean(), row, xerr=half, fmt="o", capsize=4, color=BLUE)
    cost = 1e6 * (record.numbers(arm, "seconds") / record.numbers(arm, "tokens")).mean()
    seeds = " ".join(f"{difference:+.3f}" for difference in paired)
    print(f"{arm:<22} {seeds}   {paired.mean():+.3f} ± {half:.3f} {cost:>12.0f}")
cost = 1e6 * (record.numbers("dense", "seconds") / record.numbers("dense", "tokens")).mean()
print(f"{'dense':<22} {cost:>51.0f}")
ax.axvline(0, color=GREY, linestyle=":")
ax.set(yticks=range(len(others)), yticklabels=others, ylim=(len(others) - 0.5, -0.5),
       xlabel="bits per byte minus those of the dense model")
show(fig, alt="Paired differences to the dense model with intervals: two of eight lies left of "
              "zero and just reaches across it; one of eight around zero; wide far to the right.")

# %% [markdown]
# Read it as you learned in lesson 06:
#
# - **Against a dense model with as many parameters**, a mixture wins by far at equal FLOPs. This is the safe result of the table. (The learning rate was not chosen
#   for the wide model. And with the same *text*
#   instead of the same FLOPs, the wide model might well win. That race was not run.)
# - **Against a dense model with as many active parameters**, two of eight ended lower with each of the three seeds. If both were equally good, that would
#   still happen one time in eight, and the interval reaches across zero. A gain is likely and small; it is not shown.
# - **One of eight** shows no gain, and one of its seeds is clearly worse. Balanced or not makes no difference that three seeds could tell, although without
#   balance one expert took most of the visits.
# - **The FLOPs are equal, the seconds are not.** The last column has what a million tokens cost on the processor of the record: a mixture pays for sorting
#   and for small products. In the time of two of eight the dense model could have
#   read half as much text again, and this race does not say who would then be ahead.
#
# What this race is not: large. The models have less than 200,000 parameters, read less than a million bytes, and the learning rate was chosen for the
# dense one. In published races over many more tokens mixtures reach a given loss with a fraction of the dense model's FLOPs (Fedus et al. 2021, section 3). More
# parameters help once there is enough text to fill them.

# %% [markdown]
# ## 10. What breaks on many GPUs
#
# If the experts lie on different GPUs, dispatch becomes a message: in every layer each GPU sends its tokens to the GPUs of their experts, and the
# answers travel back. Everyone sends something to everyone, which is called *all-to-all* (lesson 23 builds it). And everyone waits for the GPU with
# the busiest expert.

# %%
width, layers, active, gpus = 4096, 32, 2, 8  # Mixtral, an expert of each layer on each GPU
sent = 2 * active * width * 2 * (gpus - 1) / gpus * layers  # there and back, two bytes a number
flops = 2 * sizes["Mixtral 8x7B"][1]
print(f"forward, a token sends {sent / 1e6:.1f} MB and is worth {flops / 1e9:.0f} GFLOP")
for name, runs in (("left alone", alone), ("nudge", by_nudge)):
    busiest = torch.stack([shares[-30:].max(1).values.mean() for _, shares, _ in runs]).mean()
    print(f"{name:<11} the busiest expert gets {E * busiest:.1f} times the even share of a batch, "
          "and the others wait")

# %% [markdown]
# So a collapsed router is not only a waste of parameters. In the experts' part of the work it makes eight GPUs as slow as one. That is why balance, capacity and the placing of experts fill so large
# a part of the papers on this subject.
#
# > **Your turn: 20.9 `expert_choice`** (25 min), unaided: the assistant stays off. Let the experts choose their tokens.

# %% [markdown]
# ## 11. One paper
#
# **Jiang et al. 2024, [Mixtral of Experts](https://arxiv.org/abs/2401.04088)**, sections 2, 3 and 5. Read with three questions: *What was held fixed* in the
# comparison with dense models, and what was not? (The tests are the same. Look for the training data, and for the training FLOPs.) *What would change your
# mind* about "a mixture beats a dense model of five times its active size"? *Which number can you recompute?* The two sizes of the abstract: 47B parameters,
# of which a token uses 13B. By hand this time, without our package:

# %%
width, layers, experts, active, vocabulary = 4096, 32, 8, 2, 32_000  # table 1
attention = 2 * width * (32 + 8) * 128  # queries and output, keys and values
an_expert = 3 * width * 14_336
rest = layers * (attention + experts * width + 2 * width) + 2 * vocabulary * width + width
total, works = (rest + layers * n * an_expert for n in (experts, active))
print(f"recomputed: {total / 1e9:.1f} and {works / 1e9:.1f} billion; in the paper: 47 and 13")
assert abs(total / 47e9 - 1) < 0.01 and abs(works / 13e9 - 1) < 0.01

# %% [markdown]
# ## 12. An exhibit
#
# The museum of lesson 13 holds broken training runs: a healthy recipe in which one part was replaced. Here is one of them, as the person saw it who had to find the mistake. Two ranks train together: each computes gradients on its half of the batch, both average them, and so both should hold the same weights at every step. (Lessons 21 to 23 build this.)

# %%
museum.show(4)

# %% [markdown]
# **Predict.** Two columns should be equal in every row. At which step do they differ for the first time?

# %%
guess = None
reveal("20.p5", guess)

# %% [markdown]
# One question to the run decides, with the healthy run's answer beside it:

# %%
print(museum.experiment(4, "compare_ranks"))

# %% [markdown]
# The average of the gradients left out some parameters on one rank: there it went its own way. Both losses still fall, because both are trained, on half of the data for these weights. What you save at the end is a mixture that was never evaluated. With experts on different ranks this mistake is easy to make, for some parameters *must not* be averaged over all ranks, and the list of which is written by hand.

# %% [markdown]
# ## Summary
#
# 1. A mixture of experts puts E MLPs in the place of one and sends each token to k of them: parameters grow with E, work with k.
# 2. A router scores, a softmax makes probabilities, the k best are chosen. Only the weights carry a gradient, never the choice.
# 3. Left alone, a router sends nearly all tokens to one expert. A second loss, or a nudge on the choice, spreads them.
# 4. Fixed buffers drop tokens, silently, and make your answer depend on strangers. What must be stored is the total, what is computed is the active part.
# 5. Experts mostly divide letters and forms, not subjects; an untrained router does it too. Compare before you tell a story.
#
# Next: lesson 21 puts one model on several processors.

# %% tags=["timing"]
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
