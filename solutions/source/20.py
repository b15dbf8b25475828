# %% [markdown]
# # 20 · Mixture of experts: exercises
#
# Nine exercises; the three marked *core* are enough to go on. Write your function, run the cell below it, and read what
# `check` says: it tells you which idea produced your result. Being stuck on one never blocks the next. Of the three
# hints the first is a question; try again before you open another.
#
# Letters as in the lesson: N tokens (all positions of all sequences, in one row), C features of a token, E experts, k
# of them used by each token. A *choice* is one token with one of its k experts; the lesson calls it a visit.

# %% tags=["setup"]
import math

import torch
import torch.nn.functional as F

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 20.1 active_share: who works on a token?
#
# *predict · difficulty 1/5 · 5 min · core · try first · idea: a token pays for k experts, the memory for all of them*
#
# **Try this before you read section 1.** In a *mixture of experts* each block has, in the place of its one MLP, E of
# them: the *experts*. Each token is sent to k experts, which are chosen for it; the others do nothing for this token.
# All the rest, attention, embeddings and norms, is *shared*: every token uses it.
#
# **Predict first**, in your head: 20 million parameters are shared, one expert has 10 million (all blocks together),
# and there are 8 experts, of which a token uses 2. Which share of the model's parameters works on one token: a quarter,
# less, or more?
#
# Then write `active_share(shared, expert, E, k)`: the shared parameters, those of *one* expert, the number of experts,
# and how many of them a token uses (1 ≤ k ≤ E) → the share as a number from 0 to 1. (What chooses the experts is so
# small that it is left out here.)
# ```python
# active_share(5, 10, 4, 1)        # 0.3333: 15 of 45
# active_share(5, 10, 4, 4)        # 1.0: every expert works on every token
# ```
#
# <details><summary>Hint 1</summary>
#
# Which parameters exist, and which of them does one token meet? Write down both sums for the example.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The shared parameters stand in both sums, and once in each; only the experts are there E times, and used k times
# (sections 1 and 7). A share of a whole is one sum divided by the other.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a hotel has 12 people whom every guest meets, and 4 staff on each of 6 floors, of
# which a guest sees one.
# ```python
# met = 12 + 4 * 1
# staff = 12 + 4 * 6
# met / staff                      # 0.4444, though a guest sees one floor of six
# ```
#
# </details>

# %%
def active_share(shared, expert, E, k):
    """Parameters: shared, and of one expert; E experts, k used → share that works on a token."""
    ### BEGIN SOLUTION
    active = shared + k * expert
    total = shared + E * expert
    return active / total
    ### END SOLUTION

# %%
check("20.active_share", active_share)

# %% [markdown] tags=["solution"]
# **The prediction.** More: 40 of 100 million, which is 0.4. A quarter of the experts work, but all of what is shared.
#
# **Why it works.** Two sums, and the shared part is in both. The larger it is, the less the experts save. That is why
# "8 experts, 2 used" says nothing by itself about the size of a model or about its cost.
#
# **The most common wrong roads** are `k / E`, which forgets the shared part, and `(shared + expert)` times E as the
# total, as if eight whole models stood side by side. The name of a model such as "8x7B" invites the second.
#
# What follows, for the numbers above and more and more experts:

# %% tags=["solution"]
for E in (2, 8, 32, 128):
    print(f"{E:3} experts, 2 used: {20 + 10 * E:5} million parameters, "
          f"{active_share(20, 10, E, 2):5.1%} of them work on a token")

# %% [markdown]
# ## 20.2 route: which experts, and how much of each?
#
# *write · difficulty 2/5 · 10 min · core · idea: all experts compete, the k best share one unit among themselves*
#
# The router of section 2. Write `route(x, w, k)`:
#
# - `x` (N, C) float32: the tokens
# - `w` (E, C) float32: the router's matrix; row e says what expert e listens to. The score of a token for an expert is
#   their dot product.
# - `k`: how many experts a token uses, 1 ≤ k ≤ E
# - result: a pair (weights (N, k) float32, experts (N, k) int64). A softmax over all E scores of a token gives its
#   probabilities; the k largest are kept, the largest first, and divided by their sum.
#
# **One exception: with k = 1 the probability is not divided.** It would become exactly 1 for every token, and a weight
# that never changes gives the router no gradient. No two scores of a token tie.
#
# An example: the scores of the one token are ln 5, ln 2 and ln 3, so that the probabilities are 0.5, 0.2 and 0.3.
# ```python
# w = torch.tensor([[5.0], [2.0], [3.0]]).log()
# route(torch.ones(1, 1), w, 2)    # (tensor([[0.6250, 0.3750]]), tensor([[0, 2]])): 0.5 and 0.3, divided by 0.8
# route(torch.ones(1, 1), w, 1)    # (tensor([[0.5000]]), tensor([[0]]))
# ```
#
# <details><summary>Hint 1</summary>
#
# One token has E scores. Along which axis do they lie, and what must the weights of one token add up to when k is 2?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Experts compete for a token, tokens do not compete for an expert (section 2): softmax, choice and sum all run along
# the axis of the experts. `topk` returns both the values and their places, the largest first. Keep the dimension when
# you sum, so that each row is divided by its own sum.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: the two strongest parties of each district share its seats.
# ```python
# votes = torch.tensor([[30.0, 10.0, 60.0], [5.0, 25.0, 20.0]])      # (district, party)
# strongest, party = votes.topk(2, dim=-1)
# party                                                              # tensor([[2, 0], [1, 2]])
# strongest / strongest.sum(dim=-1, keepdim=True)                    # tensor([[0.6667, 0.3333], [0.5556, 0.4444]])
# ```
#
# </details>

# %%
def route(x, w, k):
    """x (N, C), w (E, C) → weights (N, k) and experts (N, k) int64, the largest weight first."""
    ### BEGIN SOLUTION
    probs = torch.softmax(x @ w.T, dim=-1)
    weights, experts = probs.topk(k, dim=-1)
    if k > 1:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return weights, experts
    ### END SOLUTION

# %%
check("20.route", route)

# %% [markdown] tags=["solution"]
# **Why it works.** The softmax keeps the order of the scores, so that the k likeliest experts are those with the
# largest scores. Dividing by their sum makes one unit of weight again: the output of the layer has about the size of
# one expert's output, whatever k is. A softmax over the k kept *scores* gives the same weights for k > 1, since the
# parts of the others cancel; `torch.softmax(scores.topk(k).values, -1)` is a right answer as well, except for k = 1.
#
# **The most common wrong roads.** Without the division the weights of a token add up to less than one, and the unsurer
# the router is, the smaller is the output of the layer. A second softmax over the kept *probabilities* makes weights
# that add up to one and are too nearly equal, because probabilities differ by less than 1. And `dim=0` lets the
# tokens of a batch compete, so that the route of a token depends on its neighbours.
#
# What the exception is for: the gradient that reaches the router when k = 1, with the division and without it.

# %% tags=["solution"]
g = torch.Generator().manual_seed(0)
x, w = torch.randn(50, 7, generator=g), torch.randn(5, 7, generator=g).requires_grad_()
value = torch.randn(50, generator=g)  # stands for what each token's expert says
for divide in (True, False):
    weights, experts = torch.softmax(x @ w.T, dim=-1).topk(1, dim=-1)
    weights = weights / weights.sum(dim=-1, keepdim=True) if divide else weights
    (gradient,) = torch.autograd.grad((weights[:, 0] * value).sum(), w)
    print(f"divided: {str(divide):5}   largest gradient of the router {gradient.abs().max():.4f}")

# %% [markdown]
# ## 20.3 moe_forward: one expert after the other
#
# *fill · difficulty 3/5 · 15 min · core · idea: a token's output is the weighted sum of what its experts say*
#
# The tokens are routed; now the experts work. The naive loop of section 2 goes over the tokens. This one goes over the
# **experts**, and hands each of them all of its tokens at once. Three lines are missing: replace the dots.
#
# - `x` (N, C) float32: the tokens
# - `weights` (N, k) and `experts` (N, k) int64: as `route` returns them. No token names an expert twice.
# - `mlps`: a list of E functions. `mlps[e]` takes a tensor (n, C) and returns one of the same shape; it need not be
#   linear.
# - result (N, C): for each token the sum over its k experts of weight times the expert's output for this token
#
# An expert may be given **its own tokens only**, each of them once: all others would be paid for and thrown away.
# `check` counts the rows that each expert is given. One that nobody has chosen may be called with no rows, or not at
# all. Leave `x` as it was.
# ```python
# mlps = [lambda rows: rows + 1, lambda rows: 10 * rows, lambda rows: 0 * rows]
# x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
# weights, experts = torch.tensor([[0.75, 0.25], [0.5, 0.5]]), torch.tensor([[1, 0], [0, 2]])
# moe_forward(x, weights, experts, mlps)       # tensor([[ 8.0000, 15.7500],     0.75 · 10 + 0.25 · 2, and so on
#                                              #         [ 2.0000,  2.5000]])
# ```
#
# <details><summary>Hint 1</summary>
#
# In the example, at which places of `experts` does expert 0 stand? Each place has a row and a column: what does each of
# the two tell you?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A place (n, j) of the table says: token n has expert e as its j-th (section 2). The row picks from `x` and from the
# output, row and column together pick the weight. The weight belongs to the *output* of an expert, as a shape (n, 1);
# and a token meets several experts, so each adds to what is there.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two people work on each of three jobs. What does each job cost?
# ```python
# person = torch.tensor([[1, 0], [0, 2], [1, 2]])                # (job, place)
# hours = torch.tensor([[2.0, 1.0], [3.0, 1.0], [1.0, 4.0]])     # (job, place)
# cost = torch.zeros(3)
# for who, rate in enumerate([10.0, 20.0, 5.0]):
#     job, place = (person == who).nonzero(as_tuple=True)        # person 0: jobs (0, 1), places (1, 0)
#     cost[job] += hours[job, place] * rate
# cost                                                           # tensor([50., 35., 40.])
# ```
#
# </details>

# %%
def moe_forward(x, weights, experts, mlps):
    """x (N, C), weights (N, k), experts (N, k), mlps E functions (n, C) → (n, C); gives (N, C)."""
    y = torch.zeros_like(x)
    for e, mlp in enumerate(mlps):
        ### BEGIN SOLUTION
        token, place = torch.where(experts == e)
        out = weights[token, place, None] * mlp(x[token])
        y[token] += out
        ### STUB
        # token, place = ...  # (n,) and (n,): where expert e stands in the table
        # out = ...  # (n, C): what it says to its n tokens, weighted
        # y[token] = ...
        ### END SOLUTION
    return y

# %%
check("20.moe_forward", moe_forward)

# %% [markdown] tags=["solution"]
# **Why it works.** `torch.where` of a boolean table returns the rows and the columns of its True entries: the tokens of
# expert e, and the place at which each of them names it. `weights[token, place, None]` is (n, 1), one weight a row.
# Within one expert no token comes twice, so that `y[token] += …` is safe; between experts it adds up.
#
# **The most common wrong roads.** `y[token] = out` keeps only the last of a token's experts. `weights[token]` has the
# shape (n, k), all weights of the token, and fits no output but by accident. Weighting the input before the expert is
# something else as soon as an expert is not linear. And `mlp(x)` for everyone, with a weight of zero where it was not
# asked, gives the right numbers for E/k times the work: then there is no reason left for a mixture of experts.

# %% [markdown]
# ## 20.4 balance_loss: a loss that cannot push
#
# *fix · difficulty 3/5 · 10 min · further · idea: counts have no gradient, so probabilities carry it*
#
# The auxiliary loss of section 5 is $E\,\sum_i f_i P_i$, where $f_i$ is the share of all choices that went to expert i
# and $P_i$ is the mean over the tokens of the router's probability for expert i. A colleague has written it. The
# numbers look right, 1.0 for an even router and more for others. But a training run with it ends just as one without
# it, and some runs stop with an error about sizes, always late, and always those that need it most. Two things are
# wrong. Mend them.
#
# `probs` (N, E) float32, each row adds up to one; `chosen` (N, k) int64, the experts of each token, which need not be
# its likeliest → the loss, a tensor without dimensions, through which `backward` reaches `probs`. The shares f are
# counts: they have no gradient.
# ```python
# probs = torch.tensor([[0.6, 0.4], [0.6, 0.4], [0.6, 0.4], [0.6, 0.4]])
# balance_loss(probs, torch.tensor([[0], [1], [0], [0]]))      # tensor(1.1000): 2 · (0.75 · 0.6 + 0.25 · 0.4)
# ```
#
# <details><summary>Hint 1</summary>
#
# What does `torch.bincount(torch.tensor([0, 2, 0]))` return, and what should it return if there are five experts?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A count jumps from one whole number to the next, so it cannot say in which direction to go; the mean probability can,
# and the count only tells how hard to push (section 5). What is computed under `no_grad` is a constant for everything
# that comes after it.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a price for each of three roads, which learns to be high where many cars were.
# ```python
# cars = torch.tensor([0, 1, 0, 0])
# share = torch.bincount(cars, minlength=3) / len(cars)    # tensor([0.7500, 0.2500, 0.0000]): a fact, no gradient
# price = torch.zeros(3, requires_grad=True)
# (share * price).sum().backward()                         # the price is what can move
# price.grad                                               # tensor([0.7500, 0.2500, 0.0000])
# ```
#
# </details>

# %%
def balance_loss(probs, chosen):
    """probs (N, E), chosen (N, k) int64 → the loss, with a gradient for probs."""
    ### BEGIN SOLUTION
    E = probs.shape[1]
    counts = torch.bincount(chosen.flatten(), minlength=E)
    share = counts / chosen.numel()
    mean = probs.mean(dim=0)
    return E * (share * mean).sum()
    ### STUB
    # E = probs.shape[1]
    # with torch.no_grad():  # statistics
    #     counts = torch.bincount(chosen.flatten())
    #     share = counts / chosen.numel()
    #     mean = probs.mean(dim=0)
    # return E * (share * mean).sum()
    ### END SOLUTION

# %%
check("20.balance_loss", balance_loss)

# %% [markdown] tags=["solution"]
# **Why it works.** The gradient for one probability of expert i is E · f_i / N: the more an expert was used, the harder
# its probability is pressed down, for every token alike. `minlength=E` gives an expert without tokens its count of
# zero. Without it the counts end at the last expert in use: too few numbers to multiply by E means, and the run stops
# on the day when the last expert dies. (If all but expert 0 have died there is one count, which fits every shape, and
# no error comes at all.)
#
# **The most common wrong roads** are to divide by the number of tokens, so that the even router costs k instead of 1,
# and to replace the counts by the mean probabilities: $E\,\sum_i P_i^2$ has a gradient too, but does not see what was
# really chosen. A router whose probabilities are 0.26, 0.25, 0.25 and 0.24 for every token looks even to it, and sends
# everything to one expert:

# %% tags=["solution"]
probs = torch.tensor([[0.26, 0.25, 0.25, 0.24]]).repeat(100, 1)
chosen = probs.topk(1, dim=-1).indices
print(f"from counts: {balance_loss(probs, chosen):.3f}   "
      f"from probabilities alone: {4 * probs.mean(dim=0).square().sum():.3f}   "
      f"tokens of expert 0: {(chosen == 0).float().mean():.0%}")

# %% [markdown] tags=["solution"]
# Even the right loss reads little more than 1 here, because the probabilities are nearly even. It is its *gradient*
# that says where to go. So watch the shares of the experts, not this number.

# %% [markdown]
# ## 20.5 dispatch: sort, run, put back
#
# *order · difficulty 3/5 · 15 min · further · idea: sorted by expert, each expert's tokens are one block*
#
# Section 3 gets rid of the search for tokens in every turn of the loop: it sorts all N · k choices by their expert,
# cuts them into E blocks, and puts the results back. These are the lines, shuffled. **Three steps are there twice, once
# right and once wrong**: delete the wrong ones, and put the seven others in order.
#
# The arguments and the result are those of `moe_forward`, and the two functions must agree. The choices are counted row
# by row: choice number i of `experts.flatten()` belongs to token i // k and is its (i % k)-th. A call
# `index_add(0, token, out)` adds row i of `out` to row `token[i]`; `index_copy` overwrites it.
# ```python
# mlps = [lambda rows: rows + 1, lambda rows: 10 * rows, lambda rows: 0 * rows]
# x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
# weights, experts = torch.tensor([[0.75, 0.25], [0.5, 0.5]]), torch.tensor([[1, 0], [0, 2]])
# dispatch(x, weights, experts, mlps)          # tensor([[ 8.0000, 15.7500],
#                                              #         [ 2.0000,  2.5000]])
# # sorted by expert, the choices are 1, 2, 0, 3; their tokens 0, 1, 0, 1; the blocks have 2, 1 and 1 rows
# ```
#
# <details><summary>Hint 1</summary>
#
# In the example, choices 1 and 2 go to expert 0. Which tokens are these, and which weights belong to them?
#
# </details>
# <details><summary>Hint 2</summary>
#
# After the sort everything that has one entry for each choice must be in the *same* order: tokens, weights, outputs
# (section 3). `order` is that order, and indexing with it brings anything else into it. At the end a token has k rows
# of `out`, and all of them count.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: the running total of each of two accounts, from payments in the order of their
# dates.
# ```python
# paid, account = torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0]), torch.tensor([1, 0, 1, 0, 1])
# dates = account.argsort(stable=True)                          # tensor([1, 3, 0, 2, 4]): account 0, then account 1
# blocks = paid[dates].split([2, 3])
# totals = torch.cat([block.cumsum(0) for block in blocks])     # tensor([ 1.,  2.,  3.,  7., 12.])
# torch.zeros(5).index_copy(0, dates, totals)                   # tensor([ 3.,  1.,  7.,  2., 12.]): by date again
# ```
#
# </details>

# %%
def dispatch(x, weights, experts, mlps):
    """x (N, C), weights (N, k), experts (N, k), mlps E functions (n, C) → (n, C); gives (N, C)."""
    ### BEGIN SOLUTION
    order = experts.flatten().argsort(stable=True)
    token = order // experts.shape[1]
    sizes = torch.bincount(experts.flatten(), minlength=len(mlps)).tolist()
    blocks = x[token].split(sizes)
    out = torch.cat([mlp(block) for mlp, block in zip(mlps, blocks)])
    out = out * weights.flatten()[order, None]
    return torch.zeros_like(x).index_add(0, token, out)
    ### STUB
    # out = out * weights.flatten()[:, None]
    # token = order // experts.shape[1]
    # return torch.zeros_like(x).index_copy(0, token, out)
    # out = torch.cat([mlp(block) for mlp, block in zip(mlps, blocks)])
    # order = experts.flatten().argsort(stable=True)
    # blocks = x[token].split(sizes)
    # return torch.zeros_like(x).index_add(0, token, out)
    # token = order % experts.shape[1]
    # out = out * weights.flatten()[order, None]
    # sizes = torch.bincount(experts.flatten(), minlength=len(mlps)).tolist()
    ### END SOLUTION

# %%
check("20.dispatch", dispatch)

# %% [markdown] tags=["solution"]
# **Why it works.** `order` lists the choices expert by expert. `token` says whose choice each of them is; `x[token]`
# copies every token k times, into blocks that lie one behind the other, so that `split` only has to be told their
# sizes. The weights are read in the same order. `index_add` brings each row home and adds up what arrives at the same
# token.
#
# **The most common wrong road** is `weights.flatten()[:, None]`: the right numbers, but in the order of the tokens,
# beside outputs in the order of the experts. Every shape fits. The model even trains, for a wrong weight is a weight,
# and only its loss is worse than it could be. A comparison with the naive loop finds it in a second.
#
# On a GPU the blocks go through one *grouped* matrix product instead of a Python loop; on many GPUs each block travels
# to the device of its expert and back.

# %% [markdown]
# ## 20.6 dropped: what does not fit
#
# *measure · difficulty 2/5 · 10 min · further · idea: choices are lost one by one, tokens only when all of theirs are*
#
# With buffers of fixed size (section 6) each expert has room for `capacity` choices and no more. Places are given out
# in the order of the tokens: a token asks for all of its k experts, then the next one does. A choice that finds no
# place is *dropped*: its expert does nothing for the token. A token that loses all of its k choices leaves the layer
# with nothing added to it.
#
# Write `dropped(chosen, experts, capacity)`: `chosen` (N, k) int64, the experts of each token, none of them twice in a
# row; `experts` is their number E; `capacity` is a whole number, 0 or more → two numbers, the share of all *choices*
# that are dropped and the share of the *tokens* that lose all of theirs.
# ```python
# chosen = torch.tensor([[0, 1], [0, 2], [1, 0], [0, 1]])
# dropped(chosen, 3, 2)      # (0.375, 0.25): 3 of 8 choices; the last token finds neither 0 nor 1 free
# dropped(chosen, 3, 4)      # (0.0, 0.0)
# ```
#
# <details><summary>Hint 1</summary>
#
# In the example, which choices have taken the two places of expert 0 when token 2 comes?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A choice is dropped if its expert has been asked `capacity` times or more before it (section 6). So keep a count for
# each expert as you walk through the table. How many choices are dropped depends on the counts alone; *whose* they are
# depends on the order.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem, without a loop: five people ask for rooms 0 or 1 of a theatre, each with two seats.
# ```python
# room = torch.tensor([0, 1, 0, 0, 1])
# queue = F.one_hot(room, 2).cumsum(dim=0)               # row i: how many have asked for each room up to person i
# number = queue.gather(1, room[:, None])[:, 0]          # tensor([1, 1, 2, 3, 2]): my number in the queue of my room
# (number > 2).float().mean()                            # tensor(0.2000): one of five stays outside
# ```
#
# </details>

# %%
def dropped(chosen, experts, capacity):
    """chosen (N, k), E experts with so many places each → shares of choices, and tokens, lost."""
    ### BEGIN SOLUTION
    asked, choices, tokens = [0] * experts, 0, 0
    for row in chosen.tolist():
        lost = 0
        for e in row:
            asked[e] += 1
            lost += asked[e] > capacity
        choices += lost
        tokens += lost == len(row)
    return choices / chosen.numel(), tokens / len(chosen)
    ### END SOLUTION

# %%
check("20.dropped", dropped)

# %% [markdown] tags=["solution"]
# **Why it works.** The count of an expert goes on when it is full: from then on every choice of it is lost. The first
# share could be had from the counts alone, `(counts - capacity).clamp(min=0).sum()` divided by N · k. The second needs
# the order, since it asks which token was late at all of its experts.
#
# **The most common wrong road** is to divide the dropped choices by the number of tokens; with k = 2 it can say that
# more than everything was lost. The mean over the experts of "the part that each had to refuse" is another number too:
# an expert that was asked twice counts in it as much as one that was asked a thousand times.
#
# The places usually follow a *capacity factor*, capacity = ⌈factor · N · k / E⌉. How much a factor of 1 loses, even
# when every expert is as likely as any other:

# %% tags=["solution"]
g = torch.Generator().manual_seed(0)
even = torch.rand(1000, 8, generator=g).topk(2, dim=-1).indices
uneven = (torch.rand(1000, 8, generator=g) + torch.linspace(0, 0.5, 8)).topk(2, dim=-1).indices
for factor in (1.0, 1.25, 2.0):
    for name, chosen in (("even", even), ("uneven", uneven)):
        choices, tokens = dropped(chosen, 8, math.ceil(factor * chosen.numel() / 8))
        print(f"factor {factor:4}, {name:6} router: {choices:5.1%} of the choices are dropped, "
              f"{tokens:4.1%} of the tokens lose all")

# %% [markdown]
# ## 20.7 moe_parameters: total and active
#
# *predict · difficulty 3/5 · 15 min · further · idea: replace one MLP by E in the total, and by k in what is active*
#
# **Predict first**: two thirds of a model's parameters are in its MLPs. Each MLP is replaced by 8 experts of the same
# shape, 2 of them active. By what factor do all parameters grow, and by what factor do the *active* ones, those that
# work on one token? (Leave the router out of the estimate.)
#
# Then write `moe_parameters(c, E, k)`: `c` is a `ModelConfig` of the modern family, E and k as always → two whole
# numbers, the parameters in total and the active ones, of the model in which each block's MLP has been replaced by E
# experts of the MLP's shape and a router: one matrix with a row of C numbers for each expert. Everything that is not an
# expert counts as active, the embeddings and the whole router too.
#
# `parameter_breakdown(c)` of the package is at hand: the parameters of the *dense* model, as a dictionary with
# `"embedding"`, `"positions"`, `"attention"`, `"mlp"`, `"norms"` and `"head"`, each for all layers together.
# ```python
# c = ModelConfig(layers=2, width=8, heads=2, kv_heads=1, head_size=4, mlp_width=16, vocab_size=10)
# parameter_breakdown(c)           # {'embedding': 80, 'positions': 0, 'attention': 384, 'mlp': 768, …}, together 1288
# moe_parameters(c, 4, 1)          # (3656, 1352): three more MLPs a layer are 2304, and each router has 4 · 8 numbers
# ```
#
# <details><summary>Hint 1</summary>
#
# For E = k = 1 there is one expert, which everyone uses. By how many numbers does this model differ from the dense one?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Start from the dense count, which already has one MLP in each layer (section 7). What is added to it: how many more
# MLPs exist, how many more work, and what does a router hold? Which of the sizes you use are for one layer, and which
# for all of them?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a school of 5 storeys with one workshop of 30 tools on each. Every workshop becomes
# 4 of them, with a porter who knows them all; a pupil works in 2 of the 4.
# ```python
# inventory = {"desks": 200, "tools": 5 * 30}
# school = sum(inventory.values()) + (4 - 1) * inventory["tools"] + 5 * 1     # 805 things, porters too
# used = sum(inventory.values()) + (2 - 1) * inventory["tools"] + 5 * 1       # 505 of them for one pupil
# ```
#
# </details>

# %% tags=["setup"]
from minigpt import ModelConfig
from minigpt.accounting import parameter_breakdown

# %%
def moe_parameters(c, E, k):
    """A modern ModelConfig, E experts, k active → (parameters in total, active parameters)."""
    ### BEGIN SOLUTION
    dense = parameter_breakdown(c)
    rest = sum(dense.values()) - dense["mlp"] + c.layers * E * c.width  # a router in each layer
    return rest + E * dense["mlp"], rest + k * dense["mlp"]
    ### END SOLUTION

# %%
check("20.moe_parameters", moe_parameters)

# %% [markdown] tags=["solution"]
# **The prediction.** In total 1/3 + 8 · 2/3 = 17/3, which is 5.7 times as many; active 1/3 + 2 · 2/3 = 5/3, or 1.7
# times as many. Not 8, and not 2.
#
# **Why it works.** All but the MLPs stays as it is, and is counted once. `dense["mlp"]` already holds all layers, so it
# is multiplied by E or by k and not by the layers again; the router is not in the dense count, and comes once a layer.
#
# **The most common wrong roads** are to *add* k MLPs to the dense count, which already has one, and to divide the total
# by E/k, as if the attention were split up as well. The experts' matrices are also no reason to count three of them
# without looking: SwiGLU has three, `relu2` two.
#
# Mixtral 8x7B with the sizes of its paper (Jiang et al. 2024, arXiv 2401.04088, table 1):

# %% tags=["solution"]
mixtral = ModelConfig(layers=32, width=4096, heads=32, kv_heads=8, head_size=128, mlp_width=14336,
                      vocab_size=32000, tied=False)
total, active = moe_parameters(mixtral, 8, 2)
print(f"{total / 1e9:.1f} billion parameters, {active / 1e9:.1f} billion active; "
      f"as a dense model {sum(parameter_breakdown(mixtral).values()) / 1e9:.1f}")

# %% [markdown]
# ## 20.8 healthy: a monitor for the router
#
# *design · difficulty 2/5 · 10 min · further · idea: even on average and even at every step are two things*
#
# A run writes down at each step which share of the tokens each expert got. You want one word for it. Use the
# **effective number** of experts of a row of shares $p$: $N(p) = \exp\left(-\sum_i p_i \ln p_i\right)$, where an expert
# with share zero adds nothing to the sum. If all tokens go to one expert N is 1, and if n experts get the same N is n.
#
# Write `healthy(shares, last)`: `shares` (steps, E) float32, each row adds up to one; only the last `last` rows count,
# or all of them if there are fewer. Return
#
# - `"collapsed"` if the **mean of these rows** has an effective number below E / 2: some experts get too
#   little in all these steps together;
# - `"unstable"` if it does not, but the **mean of the rows' own effective numbers** is below E / 2: each expert gets
#   its tokens, but not at the same time as the others;
# - `"balanced"` otherwise.
#
# No number that is compared with E / 2 is exactly as large.
#
# ```python
# one, other = [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]
# even = [0.25, 0.25, 0.25, 0.25]
# healthy(torch.tensor([even, even, one, one]), 2)        # "collapsed"
# healthy(torch.tensor([one, one, even, even]), 2)        # "balanced"
# healthy(torch.eye(4), 4)                                # "unstable": each expert has had one step of its own
# ```
#
# <details><summary>Hint 1</summary>
#
# What is the mean of the rows of `torch.eye(4)`, and what is the effective number of each row?
#
# </details>
# <details><summary>Hint 2</summary>
#
# N(p) is a number for one row; you need it for the mean row, and for each row (section 4 shows both kinds of trouble in
# a picture). The mean of N over rows and N of the mean row are different things. See to it that the logarithm is never
# asked for zero: the machine takes 0 · ln 0 for NaN, and every comparison with NaN is false.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: three archers, four arrows each, in centimetres left or right of the middle.
# ```python
# arrows = torch.tensor([[-1.0, 1.0, 0.5, -0.5], [-9.0, 9.0, -8.0, 8.0], [7.0, 8.0, 9.0, 8.0]])
# off = arrows.mean(dim=1).abs()               # tensor([0., 0., 8.]): the mean first, then its size
# scatter = arrows.abs().mean(dim=1)           # tensor([0.7500, 8.5000, 8.0000]): the sizes first, then their mean
# ["biased" if a > 5 else "wild" if b > 5 else "good" for a, b in zip(off, scatter)]     # ['good', 'wild', 'biased']
# ```
#
# </details>

# %%
def healthy(shares, last):
    """shares (steps, E), rows that add up to one → "collapsed", "unstable" or "balanced"."""
    ### BEGIN SOLUTION
    def effective(p):
        return torch.special.entr(p).sum(dim=-1).exp()  # entr(p) is -p ln p, and 0 at 0

    rows = shares[-last:]
    half = shares.shape[1] / 2
    if effective(rows.mean(dim=0)) < half:
        return "collapsed"
    return "unstable" if effective(rows).mean() < half else "balanced"
    ### END SOLUTION

# %%
check("20.healthy", healthy)

# %% [markdown] tags=["solution"]
# **Why it works.** The mean row forgets *when* each expert got its tokens; the mean of N over rows remembers. A router
# that throws all tokens from one expert to the next at every step is even on average and bad at every step: one expert
# works, the others wait, and fixed buffers overflow. `shares[-last:]` is all of it if there are fewer rows.
#
# **The most common wrong road** is the plain formula `-(p * p.log()).sum()`. A collapsed router has shares of exactly
# zero, the result is NaN, NaN is not smaller than anything, and the monitor says "balanced" of the very runs that it
# was made for. Second comes a look at all steps: every run begins even, and a good beginning hides a bad end.
#
# **What follows.** The threshold of one half is lenient and arbitrary; the two orders of averaging are not. Ask which
# of them was used wherever something is called balanced "on average".

# %% [markdown]
# ## 20.9 expert_choice: the experts choose
#
# *write · difficulty 4/5 · 25 min · further · unaided · idea: who chooses decides what is even and what is left out*
#
# **Assistant off: no AI, no hints at first, only the lesson and your own experiments.** This is the test of whether
# routing is now yours.
#
# When tokens choose their experts, the load is uneven and has to be balanced. Zhou et al. 2022 ("Mixture-of-Experts
# with Expert Choice Routing", arXiv 2202.09368) turn it round: **each expert chooses its tokens**, exactly as many as
# it has places. The load is even by construction. Instead, a token may be chosen by several experts, or by none.
#
# Write `expert_choice(scores, capacity)`:
#
# - `scores` (…, N, E) float32: the router's scores. Every leading index is a *group* of N tokens of its own; there may
#   be no leading axis, or several.
# - `capacity`: the places of each expert in each group, at least 1. If there are fewer tokens, the expert takes all of
#   them.
# - First a softmax over the experts turns the scores of each token into probabilities, as ever. Then each expert takes
#   the `capacity` tokens of the group that have the largest probability for it. No two of them tie.
# - result (…, N, E) float32: the probability of each token for each expert that has chosen it, and 0 where it has not.
#   Nothing is divided by a sum. Leave `scores` as it was.
#
# An example, with the probabilities as logarithms: expert 0 prefers tokens 0 and 2, expert 1 tokens 1 and 3.
# ```python
# probs = torch.tensor([[0.75, 0.25], [0.125, 0.875], [0.625, 0.375], [0.5, 0.5]])
# expert_choice(probs.log(), 2)    # tensor([[0.7500, 0.0000],
#                                  #         [0.0000, 0.8750],
#                                  #         [0.6250, 0.0000],
#                                  #         [0.0000, 0.5000]])
# expert_choice(probs.log(), 1)    # only 0.75 and 0.875 are left: no one has chosen tokens 2 and 3
# ```
#
# <details><summary>Hint 1</summary>
#
# Two things run along an axis here: the softmax and the choice. For each of them: who competes with whom?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Nothing but the axis of the choice has changed against `route` (section 2): experts compete for a token in the
# softmax, tokens compete for an expert in the choice. Count the axes from the end, so that any number of leading ones
# will do. `topk` refuses to return more than there is.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two schools take the two best of five pupils each, by marks of their own.
# ```python
# marks = torch.tensor([[9.0, 2.0], [7.0, 8.0], [1.0, 6.0], [3.0, 4.0], [5.0, 1.0]])     # (pupil, school)
# taken = torch.zeros(5, 2, dtype=torch.bool)
# for s in range(2):
#     taken[marks[:, s].argsort(descending=True)[:2], s] = True
# taken.int().sum(dim=0), taken.int().sum(dim=1)       # (tensor([2, 2]), tensor([1, 2, 1, 0, 0]))
# ```
#
# </details>

# %%
def expert_choice(scores, capacity):
    """scores (…, N, E) → (…, N, E): probabilities where an expert has chosen the token, else 0."""
    ### BEGIN SOLUTION
    probs = torch.softmax(scores, dim=-1)
    best = probs.topk(min(capacity, probs.shape[-2]), dim=-2)
    return torch.zeros_like(probs).scatter(-2, best.indices, best.values)
    ### END SOLUTION

# %%
check("20.expert_choice", expert_choice)

# %% [markdown] tags=["solution"]
# **Why it works.** `topk` along the axis of the tokens returns (…, capacity, E): for each expert its tokens. `scatter`
# writes the values back along the same axis. Every column has `capacity` entries, so no auxiliary loss is needed.
#
# **The most common wrong road** is the softmax over the tokens, because the experts choose. Then the probabilities of a
# token do not add up to one, and the size of what it receives depends on how many tokens there are. Close behind it
# comes a choice over a flattened batch: then the groups compete with each other.
#
# **Why it does not suit a language model as it is.** Look at what the last token can do:

# %% tags=["solution"]
g = torch.Generator().manual_seed(1)
scores = torch.randn(10, 4, generator=g)
changed = scores.clone()
changed[-1] = torch.randn(4, generator=g) * 5
moved = (expert_choice(scores, 3) - expert_choice(changed, 3)).abs().amax(dim=-1) > 1e-6
print("outputs that move when the last token changes:", moved.nonzero().flatten().tolist())

# %% [markdown] tags=["solution"]
# Tokens before it are pushed out of an expert by a token that comes later. That is a look into the future, as in 04.5:
# training can use it, generation cannot, for there the later tokens do not exist yet. When tokens choose, with a nudge
# or an auxiliary loss as in section 5, the route of a token depends on this token's own vector, and not on what comes
# after it.
