# %% [markdown]
# # 04 · Attention: exercises
#
# Eight exercises; the three marked *core* are enough to go on. Write your function, run the cell below it, and read
# what `check` says: it tells you which idea produced your result. Being stuck on one never blocks the next. Of the
# three hints the first is a question; try again before you open another.
#
# Letters as in the lesson: B sequences, H heads, T queries, S keys, C features of a token, D features of a head. In a
# boolean mask **True means "may look"**.

# %% tags=["setup"]
import math

import torch
import torch.nn.functional as F

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 04.1 averaging_matrix: a matrix that averages the recent past
#
# *write · difficulty 1/5 · 5 min · core · try first · idea: looking back is a matrix product*
#
# **Try this before you read section 1.** You have T vectors, the rows of `x` (T, C). You want each of them replaced by
# the mean of the last n: itself and the n − 1 before it, or fewer where there are not so many. One matrix `A` does that
# to every `x`, in a single product `A @ x`.
#
# Write `averaging_matrix(T, n)`, which returns this `A`: shape (T, T), float32. T and n are whole numbers of at least
# 1, and n may be larger than T: then each position averages all of its past.
#
# For T = 3 and n = 2, the first row leaves the first vector as it is, and the others take half of each:
# ```python
# averaging_matrix(3, 2)           # tensor([[1.0, 0.0, 0.0],
#                                  #         [0.5, 0.5, 0.0],
#                                  #         [0.0, 0.5, 0.5]])
# x = torch.tensor([[2.0, 0.0], [4.0, 6.0], [8.0, 2.0]])
# averaging_matrix(3, 2) @ x       # tensor([[2., 0.],
#                                  #         [3., 3.],
#                                  #         [6., 4.]])
# ```
#
# <details><summary>Hint 1</summary>
#
# Row t of `A @ x` is a sum of the rows of `x`, each multiplied by one number of row t of `A`. How many of these numbers
# are not zero, and what must they add up to?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A product with a matrix from the left mixes rows; each row of the matrix is the recipe of one output. For a mean the
# recipe's numbers are equal and add up to one (section 1). Make the pattern of ones first, then divide each row by its
# own sum: a sum that has kept its dimension, (T, 1), is shared out along the row.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: five runners, three teams, and the mean time of each team as one product.
# ```python
# team = torch.tensor([0, 2, 2, 0, 1])
# member = (team == torch.arange(3)[:, None]).float()        # (3, 5): row = team, 1 where the runner belongs to it
# mean = member / member.sum(dim=1, keepdim=True)            # each row divided by the size of its team
# mean @ torch.tensor([60.0, 70.0, 52.0, 64.0, 58.0])        # tensor([62., 58., 61.])
# ```
#
# </details>

# %%
def averaging_matrix(T, n):
    """T, n ≥ 1 → (T, T) float32: row t averages the last n positions up to t."""
    ### BEGIN SOLUTION
    seen = torch.ones(T, T).tril().triu(1 - n)
    return seen / seen.sum(dim=1, keepdim=True)
    ### END SOLUTION

# %%
check("04.averaging_matrix", averaging_matrix)

# %% [markdown] tags=["solution"]
# **Why it works.** `tril` keeps the past and the present, `triu(1 - n)` drops what is n steps back or more; row t of
# `seen` has ones at the positions that count, so that `seen @ x` adds them up. Dividing each row by its sum turns sums
# into means: every row adds up to one, and nothing above the diagonal means that no position receives anything from a
# later one.
#
# **The most common wrong roads** are two. Dividing by n is right from row n − 1 on, but the first rows have fewer
# positions to average, and come out too small. And `seen / seen.sum(dim=1)`, without `keepdim`, divides a shape (T, T)
# by (T,): PyTorch lines the T numbers up with the *columns*. Both axes have the same length, so that nothing complains.
# Square shapes hide this kind of mistake; this course uses a different size for every axis wherever it can.
#
# In attention the equal numbers in a row become unequal ones, computed from the data. The triangle and the row sums
# stay.

# %% [markdown]
# ## 04.2 causal_mask: a batch with padding
#
# *write · difficulty 2/5 · 15 min · further · idea: a mask says which keys a query may see, not which queries exist*
#
# Sentences of different length in one batch: the shorter ones are filled up with padding **at the end**. Write
# `causal_mask(lengths, T)`:
#
# - `lengths` (B,) int64: how many real tokens each sequence has, from 1 to T
# - T: the common length
# - result (B, T, T) bool: `[b, t, s]` is True where query t of sequence b may look at key s. It may look at itself and
#   at what is before it, but never at padding.
#
# Queries at padding positions follow the same rule: they see the real tokens before them. (Nobody uses their output,
# but a row without any True becomes NaN in the softmax, and NaN spreads.)
# ```python
# causal_mask(torch.tensor([2, 3]), 3).int()      # tensor([[[1, 0, 0],
#                                                 #          [1, 1, 0],
#                                                 #          [1, 1, 0]],     position 2 is padding: no one sees it
#                                                 #
#                                                 #         [[1, 0, 0],
#                                                 #          [1, 1, 0],
#                                                 #          [1, 1, 1]]])
# ```
#
# <details><summary>Hint 1</summary>
#
# There are two reasons to forbid a look. On which of the three axes does each of them depend?
#
# </details>
# <details><summary>Hint 2</summary>
#
# In a table of scores the row is the query that looks and the column is the key that is looked at (section 2). "Not in
# the future" depends on row and column; "not padding" depends on the sequence and on the column only. Make a boolean
# tensor for each from `torch.arange(T)`, give it an axis of size 1 where it does not care, and join the two.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: which of 4 visitors may enter which of 3 rooms on which of 2 days?
# ```python
# age = torch.tensor([5, 12, 17, 40])
# minimum = torch.tensor([0, 10, 18])                                   # of each room
# rooms_open = torch.tensor([3, 1])                                     # of each day: only the first so many are open
# old_enough = age[:, None] >= minimum                                  # (visitor, room): no day in it
# is_open = torch.arange(3) < rooms_open[:, None]                       # (day, room): no visitor in it
# may_enter = old_enough & is_open[:, None, :]                          # (day, visitor, room) = (2, 4, 3)
# ```
#
# </details>

# %%
def causal_mask(lengths, T):
    """lengths (B,) int64 from 1 to T → (B, T, T) bool, True where query t may look at key s."""
    ### BEGIN SOLUTION
    position = torch.arange(T)
    past = position <= position[:, None]  # (T, T): key s is not later than query t
    real = position < lengths[:, None]  # (B, T): key s is a token
    return past & real[:, None, :]
    ### END SOLUTION

# %%
check("04.causal_mask", causal_mask)

# %% [markdown] tags=["solution"]
# **Why it works.** `past` is (T, T) and the same for every sequence; `real[:, None, :]` is (B, 1, T) and the same for
# every query. Broadcasting joins them to (B, T, T), and "and" keeps what both allow. Key 0 is real and never in the
# future, so that no row is empty. (For scores with an axis of heads, (B, H, T, T), it takes one more axis of size 1.)
#
# **The most common wrong road** fills a square for each sequence, `mask[b, :n, :n] = past[:n, :n]`. The real rows are
# right and the loss ignores the others, but a padding query then has nothing to look at: its softmax is NaN. In the
# next layer this NaN is a value, zero times NaN is NaN, and so every position catches it. Forbid *keys*, not queries.

# %% [markdown]
# ## 04.3 attention: put the lines in order
#
# *order · difficulty 2/5 · 10 min · core · idea: score, scale, mask, share, mix: in this order*
#
# The lines of scaled dot-product attention, shuffled. **Three steps are there twice, once right and once wrong**: delete
# the wrong ones (four lines, for one is an `if` with the line under it), and put the rest in order (in Jupyter, Ctrl+Shift+Up and Ctrl+Shift+Down, or Alt+Up and Alt+Down, move a line).
# The `if` and the line under it stay together. (`.float()` and `.to(v.dtype)` only see to it that the softmax is
# computed in float32, whatever format comes in.)
#
# `q` (…, T, D), `k` (…, S, D), `v` (…, S, E), `mask` bool, broadcastable to (…, T, S), or None. The result is the pair
# (output (…, T, E), weights (…, T, S)).
#
# An example: q·k is 0 and 4 ln 3 for the two keys, D = 16, so that the scores are 0 and ln 3 and the weights 1/4 and
# 3/4.
# ```python
# q = torch.full((1, 16), math.log(3.0) / 4)
# output, weights = attention(q, torch.stack([torch.zeros(16), torch.ones(16)]), torch.tensor([[8.0], [4.0]]))
# weights                          # tensor([[0.25, 0.75]])
# output                           # tensor([[5.]]): 8 / 4 + 4 · 3 / 4
# ```
# Keep what you make here: a later lesson trains a GPT with *your* attention.
#
# <details><summary>Hint 1</summary>
#
# Follow one query through the lines. When you have its S weights, what must they add up to, and which line must come
# after everything that could spoil this?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Each step repairs what the one before it left (sections 2 to 4): scores compare; the division keeps their spread near
# one; the mask takes keys out of the race *while they are still scores*; the softmax shares one unit of weight among a
# query's keys, that is, along the last axis; the product with `v` mixes. The mask must come while a removed key can
# still be replaced by others.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: seats of a parliament in proportion to votes, where some parties may not run.
# ```python
# votes = torch.tensor([[30.0, 50.0, 20.0], [10.0, 10.0, 80.0]])          # (district, party)
# allowed = torch.tensor([True, True, False])
# share = votes * allowed                                                 # first out of the race …
# share = share / share.sum(dim=-1, keepdim=True)                         # … then share what there is to share
# share @ torch.tensor([100.0, 20.0, 5.0])                                # then mix: tensor([50., 60.])
# ```
# In the other order the districts would hand out 80 and 20 per cent of their seats.
#
# </details>

# %%
def attention(q, k, v, mask=None):
    """q (…, T, D), k (…, S, D), v (…, S, E), mask (…, T, S) → (…, T, E) and (…, T, S)."""
    ### BEGIN SOLUTION
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores.float(), dim=-1).to(v.dtype)
    return weights @ v, weights
    ### STUB
    # weights = torch.softmax(scores.float(), dim=-2).to(v.dtype)
    # return weights @ v, weights
    # if mask is not None:
    #     weights = weights.masked_fill(~mask, 0.0)
    # scores = q @ k.transpose(-2, -1) / q.shape[-1]
    # weights = torch.softmax(scores.float(), dim=-1).to(v.dtype)
    # scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    # if mask is not None:
    #     scores = scores.masked_fill(~mask, -math.inf)
    ### END SOLUTION

# %%
check("04.attention", attention)

# %% [markdown] tags=["solution"]
# **Why it works.** The softmax is where weights are made, and it makes them from all the scores that it is given. So
# whatever must not count has to be gone before it: minus infinity becomes a weight of zero, and the others share the
# one unit among themselves.
#
# **The most common wrong road** is the mask after the softmax. The picture looks right, a clean triangle, and a model
# trains with it. But the early rows add up to far less than one, and the size of what is left was computed with the
# future in the denominator: a leak. Exercise 04.5 finds it by experiment.
#
# `minigpt.model.attention` is this function, line by line.

# %% [markdown]
# ## 04.4 effective_keys: how many keys does a query look at?
#
# *measure · difficulty 2/5 · 15 min · further · idea: entropy measures how spread out the weights are*
#
# After section 4 you want a number for "this softmax is saturated". Here is a good one: the **effective number of
# keys** of a query, $N = \exp\left(-\sum_s w_s \ln w_s\right)$, where $w_s$ is the weight of key s and a key of weight
# zero adds nothing to the sum. In words: the exponential of the entropy of the weights, in nats. A query that looks at
# one key has N = 1; one that spreads its weight evenly over n keys has N = n.
#
# Write `effective_keys(weights)`: `weights` (…, T, S) float32, each row adds up to one, some weights are exactly zero
# → (…, T) float32, one N for each query.
# ```python
# effective_keys(torch.tensor([[1.0, 0.0, 0.0, 0.0],         # one key            → 1
#                              [0.5, 0.5, 0.0, 0.0],         # two, evenly        → 2
#                              [0.25, 0.25, 0.25, 0.25]]))   # four, evenly       → 4
# ```
#
# <details><summary>Hint 1</summary>
#
# What does your computer say that `0 * log(0)` is, and what should it be here?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Each query has its own row of weights, on the last axis; the softmax runs along it, and so does this sum (sections 2
# and 4). As w goes to zero, w · ln w goes to zero too, but the machine multiplies 0 by minus infinity and gets NaN. A
# masked weight is exactly zero, so you meet this in every causal row but the last. See to it that the logarithm is
# never asked for zero.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: the geometric mean of the counts in each row, in which empty cells do not count.
# ```python
# counts = torch.tensor([[4.0, 0.0, 9.0], [2.0, 8.0, 4.0]])
# filled = counts > 0
# logs = torch.where(filled, counts, 1.0).log()              # log(1) = 0: an empty cell adds nothing
# (logs.sum(dim=-1) / filled.sum(dim=-1)).exp()              # tensor([6., 4.]): one number for each row
# ```
#
# </details>

# %%
def effective_keys(weights):
    """weights (…, T, S), rows that add up to one → (…, T): exp of each row's entropy in nats."""
    ### BEGIN SOLUTION
    logs = weights.clamp(min=1e-30).log()  # the logarithm never sees zero, and 0 * log(1e-30) is 0
    entropy = -(weights * logs).sum(dim=-1)
    return entropy.exp()
    ### END SOLUTION

# %%
check("04.effective_keys", effective_keys)

# %% [markdown] tags=["solution"]
# **Why it works.** For n equal weights of 1/n the sum is n · (1/n) · ln n = ln n, and its exponential is n. Unequal
# weights give something between one and the number of keys. The clamp only touches weights that are zero or as good as
# zero; they are then multiplied by themselves and vanish.
#
# **The most common wrong road** is the formula as it stands: `-(weights * weights.log()).sum(-1)`. It is right on any
# softmax without a mask, and NaN in every row that a causal mask has touched. A measurement that works in the test and
# fails on the real thing is the expensive kind.
#
# Now use it. Random queries and keys, without and with the division by √D:

# %% tags=["solution"]
S = 50
for D in (4, 64, 1024):
    g = torch.Generator().manual_seed(D)
    scores = torch.randn(200, D, generator=g) @ torch.randn(D, S, generator=g)
    raw = effective_keys(torch.softmax(scores, dim=-1)).mean()
    scaled = effective_keys(torch.softmax(scores / math.sqrt(D), dim=-1)).mean()
    print(f"D = {D:4}: a query looks at {raw:4.1f} of {S} keys unscaled, at {scaled:4.1f} scaled")

# %% [markdown]
# ## 04.5 who_sees_whom: measure the mask of a black box
#
# *measure · difficulty 3/5 · 20 min · further · idea: dependence is tested by changing an input, not by reading code*
#
# Someone hands you `attend`, a function from (T, C) to (T, E). Does position t depend on position s? Do not read the
# code: change `x[s]`, and look at which rows of the output move.
#
# Write `who_sees_whom(attend, x)`: `attend` a function, `x` (T, C) float32 → (T, T) bool: `[t, s]` is True if
# `attend(x)[t]` depends on `x[s]`. A number counts as moved if it changes by more than 1e-6. Leave `x` itself as it
# was.
#
# A causal function gives True on and below the diagonal only. But trust nothing: a box may look ahead, may skip
# positions, may normalise its input or its output, and rows of `x` may be zero or equal. Two boxes to try yours on are
# given below: `masked_before` masks the scores, `masked_after` the weights.
# ```python
# shift = lambda x: x.roll(1, dims=0)                            # each position hands on what its neighbour held
# who_sees_whom(shift, torch.randn(3, 4)).int()                  # tensor([[0, 0, 1],
#                                                                #         [1, 0, 0],
#                                                                #         [0, 1, 0]])
# ```
#
# <details><summary>Hint 1</summary>
#
# You change one row of `x`. What kind of change would *no* function that depends on this row let pass unnoticed: adding
# one? doubling? setting to zero?
#
# </details>
# <details><summary>Hint 2</summary>
#
# One experiment for each s: take a fresh copy, replace `x[s]` by something unrelated, run, compare with the undisturbed
# output row by row. A row has moved if *any* of its numbers has, up or down. One experiment fills one *column*: the
# output rows that react to s (section 5 does this for one s; section 2: rows are queries, columns are keys).
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: which lamps does each switch reach? `lamps(switches)` gives the brightness of 4
# lamps for 3 switches.
# ```python
# def wiring(lamps, switches):
#     before = lamps(switches)
#     wired = torch.zeros(len(before), len(switches), dtype=torch.bool)
#     for s in range(len(switches)):
#         flipped = switches.clone()                       # one switch at a time, the others as they were
#         flipped[s] = 1 - flipped[s]
#         wired[:, s] = (lamps(flipped) - before).abs() > 1e-6
#     return wired
# ```
#
# </details>

# %% tags=["setup"]
def masked_before(x):
    """Causal self-attention with x as queries, keys and values: (T, C) → (T, C)."""
    scores = x @ x.T / math.sqrt(x.shape[1])
    future = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
    return torch.softmax(scores.masked_fill(future, -math.inf), dim=-1) @ x


def masked_after(x):
    """The same, but with the softmax first: (T, C) → (T, C)."""
    scores = x @ x.T / math.sqrt(x.shape[1])
    future = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
    return torch.softmax(scores, dim=-1).masked_fill(future, 0.0) @ x

# %%
def who_sees_whom(attend, x):
    """attend: (T, C) → (T, E); x (T, C) → (T, T) bool: does output t depend on input s?"""
    ### BEGIN SOLUTION
    before = attend(x)
    sees = torch.zeros(len(x), len(x), dtype=torch.bool)
    for s in range(len(x)):
        changed = x.clone()
        changed[s] = torch.randn(x.shape[1])
        sees[:, s] = (attend(changed) - before).abs().amax(dim=-1) > 1e-6
    return sees
    ### END SOLUTION

# %%
check("04.who_sees_whom", who_sees_whom)

# %% [markdown] tags=["solution"]
# **Why it works.** A random vector shares nothing with the old one: no mean, no length, no direction that a
# normalisation could cancel. A fresh copy for each s keeps the experiments apart, and the largest absolute change over
# a row's features says whether *anything* in it moved.
#
# **The most common wrong road** is `changed[s] += 1`. Most models begin with a LayerNorm, which subtracts the mean: a
# constant added to all features is gone before attention sees it, and a leaking box passes as causal. Doubling fails in
# the same way, and zeroing fails where the row is zero already.
#
# Run it on the two boxes. Their weights have zeros in the same places. Only one of them is causal:

# %% tags=["solution"]
x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
print("masked before the softmax:", *who_sees_whom(masked_before, x).int().tolist(), sep="\n")
print("masked after the softmax:", *who_sees_whom(masked_after, x).int().tolist(), sep="\n")

# %% [markdown]
# ## 04.6 multi_head: the heads that forgot
#
# *fix · difficulty 3/5 · 15 min · core · idea: a view renames axes in the order of memory; it cannot swap them*
#
# This function runs, its shapes are right, the model trains and its loss falls. It is also causal. But someone has
# measured it with 04.5, for T = 6 and two heads:
# ```
# 1 . . . . .
# 1 1 . . . .
# 1 1 1 . . .
# . . . 1 . .
# . . . 1 1 .
# . . . 1 1 1
# ```
# The second half of the text cannot see the first. With H heads the memory is H times too short. Two places are
# wrong, and they hide each other. Mend them.
#
# `x` (B, T, C); `wq`, `wk`, `wv` (C, H · D), head h owns columns h · D to (h + 1) · D; `wo` (H · D, C); `heads` is H.
# The result is (B, T, C): causal attention in each head, the heads' outputs side by side in the order of the heads,
# times `wo`. D need not be C / H.
#
# An example: with the identity for all four matrices and T = 1 there is nothing to look at but oneself, so that the
# output is `x`. With T = 6 the last output must change when the first token does.
#
# <details><summary>Hint 1</summary>
#
# In `x @ wq`, shape (B, T, H · D), which numbers lie next to each other in memory: those of one head at several
# positions, or those of one position in several heads?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `view` and `reshape` only cut the same row of numbers into other pieces; they never move one past another (section 6).
# Memory holds position after position, and in each of them head after head. So the cut must name the axes in this
# order; to bring heads in front of positions takes a `transpose`. Afterwards the way back is the same, in reverse.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two days with three readings of (temperature, rain) each, one day after the other.
# ```python
# log = torch.tensor([10.0, 0.0, 12.0, 5.0, 14.0, 1.0, 20.0, 3.0, 21.0, 0.0, 22.0, 7.0])
# log.view(2, 2, 3)[0, 0]                        # tensor([10., 0., 12.]): not the temperatures of day 0
# by_kind = log.view(2, 3, 2).transpose(1, 2)    # cut as memory lies: day, reading, kind; then swap
# by_kind[0, 0]                                  # tensor([10., 12., 14.]): these are
# by_kind.transpose(1, 2).reshape(-1)            # and back: the log as it was
# ```
#
# </details>

# %%
def multi_head(x, wq, wk, wv, wo, heads):
    """x (B, T, C), wq, wk, wv (C, H * D), wo (H * D, C), heads = H → (B, T, C), causal."""
    ### BEGIN SOLUTION
    B, T, _ = x.shape
    q, k, v = ((x @ w).view(B, T, heads, -1).transpose(1, 2) for w in (wq, wk, wv))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return y.transpose(1, 2).reshape(B, T, -1) @ wo
    ### STUB
    # B, T, _ = x.shape
    # q, k, v = ((x @ w).view(B, heads, T, -1) for w in (wq, wk, wv))
    # y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    # return y.reshape(B, T, -1) @ wo
    ### END SOLUTION

# %%
check("04.multi_head", multi_head)

# %% [markdown] tags=["solution"]
# **Why it works.** `x @ w` lies in memory as position, head, feature. `view(B, T, heads, -1)` names exactly these axes,
# and `transpose(1, 2)` swaps the middle two, so that each head gets all positions. On the way back the swap comes
# first, then the heads of one position lie side by side again. (After a transpose use `reshape`. `view` copies nothing,
# so that it works only if the numbers happen to lie in the right order.)
#
# **What the planted bug did.** `view(B, heads, T, -1)` cuts the text into H stretches and calls each of them a head;
# the `reshape` glues them back where they came from. The two mistakes cancel in all but one respect: a stretch never
# sees another. **The most common wrong road** is to mend only one of the two. Then they no longer cancel, tokens land
# in each other's places, and the future leaks.

# %% [markdown]
# ## 04.7 longest_context: how long a text fits?
#
# *predict · difficulty 2/5 · 10 min · further · idea: the weights of attention grow with the square of the context*
#
# You have `budget` bytes left for the attention weights of one layer, the tensor of shape (B, H, T, T) that 04.3
# returns and that training keeps for the backward pass. How long may the context be?
#
# **Predict first**, in your head: 8 GiB, 8 sequences, 12 heads, float32. Is it nearer to five hundred, five thousand or
# fifty thousand tokens?
#
# Then write `longest_context(budget, B, H, D, dtype)`: bytes, sequences, heads, head size, and the number format, such
# as `torch.bfloat16` (`dtype.itemsize` is its size in bytes) → the largest T, a whole number, whose weights fit into
# the budget. Exactly full still fits. Count the weights only.
# ```python
# longest_context(600, 2, 3, 16, torch.float32)      # 5: 2 · 3 · 5 · 5 numbers of 4 bytes are 600 bytes
# longest_context(599, 2, 3, 16, torch.float32)      # 4
# ```
#
# <details><summary>Hint 1</summary>
#
# Your context becomes three times as long. How many times as many pairs of a query and a key are there?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A weight is one number for each sequence, head, query and key (section 7). A query and a key of D features are
# compared to *one* number, and a masked weight takes as much room as any other. Write the bytes as a function of T,
# then solve for T and round down.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: the finest square grid of RGB pixels, at one byte a colour, for a number of pictures
# in a budget.
# ```python
# def finest_grid(budget, pictures):
#     pixels = budget // (pictures * 3)         # pixels that each picture may have
#     return math.isqrt(pixels)                 # side · side <= pixels, rounded down
#
# finest_grid(2 * 3 * 49, 2), finest_grid(2 * 3 * 49 - 1, 2)     # (7, 6)
# ```
#
# </details>

# %%
def longest_context(budget, B, H, D, dtype):
    """The largest T for which weights (B, H, T, T) in `dtype` take at most `budget` bytes."""
    ### BEGIN SOLUTION
    pairs = budget // (B * H * dtype.itemsize)  # pairs of a query and a key that each head may have
    return math.isqrt(pairs)
    ### END SOLUTION

# %%
check("04.longest_context", longest_context)

# %% [markdown] tags=["solution"]
# **Why it works.** The tensor holds B · H · T² numbers. Each takes `itemsize` bytes; the head size D does not appear,
# since a dot product turns D features into one number. The root is what hurts:

# %% tags=["solution"]
for gib in (8, 16, 32):
    print(f"{gib:2} GiB for one layer: "
          f"{longest_context(gib * 2**30, 8, 12, 64, torch.float32):,} tokens in float32,",
          f"{longest_context(gib * 2**30, 8, 12, 64, torch.bfloat16):,} in bfloat16")

# %% [markdown] tags=["solution"]
# Twice the memory, or half the bytes, buys not twice the context but 1.4 times; twice the context needs four times the
# memory, in every layer. **The most common wrong road** halves the count because half of the weights are masked. They
# are zero, but they are stored: a plain softmax makes a full square. The fused kernel of sections 7 and 8 makes no
# square at all.

# %% [markdown]
# ## 04.8 alibi: attention that prefers what is near
#
# *write · difficulty 4/5 · 40 min · further · unaided · idea: what you know before looking is added to the scores*
#
# **Assistant off: no AI, no hints at first, only the lesson and your own experiments.** This is the test of whether
# attention is now yours.
#
# Attention does not know that token 8 is nearer to token 9 than token 2 is. ALiBi (Press, Smith & Lewis 2022, "Train
# short, test long", arXiv 2108.12409) tells it without any position embedding: from each score it **subtracts the
# distance between query and key, times a slope**. Each head has a slope of its own, so that some heads are
# short-sighted and some look far: head number h = 1, 2, …, H has the slope $2^{-8h/H}$. With 8 heads: 1/2, 1/4, 1/8 and
# so on. The distance is counted in tokens and is not divided by √D; the dot product is, as ever.
#
# Write `alibi(q, k, v)`, causal: `q` (B, H, T, D), `k` (B, H, S, D), `v` (B, H, S, E), with S ≥ T → output
# (B, H, T, E). The text has S tokens and the **queries are its last T**: query 0 sits at position S − T. (That is how
# a model writes on: it has kept the old keys and asks only for the new tokens.)
#
# An example: B = 1, H = 2, so that the slopes are $2^{-4}$ and $2^{-8}$. T = 1, S = 3, and all queries and keys are
# zero. Then the scores of head 1 are −2/16, −1/16 and 0: the weights rise towards the present. In head 2 they hardly
# rise.
# ```python
# output = alibi(torch.zeros(1, 2, 1, 4), torch.zeros(1, 2, 3, 4), torch.eye(3).expand(1, 2, 3, 3))
# output[0, :, 0]                  # the identity as values shows the weights: tensor([[0.31, 0.33, 0.35],
#                                  #                                                   [0.33, 0.33, 0.33]])
# ```
#
# <details><summary>Hint 1</summary>
#
# Which positions do your T queries have, and which your S keys? Write both down as tensors for T = 2, S = 5. What is
# the distance of each pair, and which sign tells you that a key lies in the future?
#
# </details>
# <details><summary>Hint 2</summary>
#
# All that attention knows before it looks, whether a hard "never" or a soft "rather not", enters as something added to
# the scores before the softmax (section 2: hiding the future is a penalty of minus infinity). You need one (T, S) table
# of distances, and one slope for each head with axes of size 1, so that the product is (H, T, S) and fits (B, H, T, S).
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: three drivers choose among the last parking places of a street. Each place has a
# quality; a walk costs, and each driver minds it differently.
# ```python
# quality = torch.rand(3, 6)                                        # (driver, place)
# minds = 0.5 ** torch.arange(3)                                    # each driver's price of one step
# steps = (torch.arange(6) - 4).abs()                               # (place,): the door is at place 4
# choice = torch.softmax(quality - minds[:, None] * steps, dim=-1)  # (driver, place): subtract first, then share
# ```
#
# </details>

# %%
def alibi(q, k, v):
    """q (B, H, T, D): the last T of S positions; k (B, H, S, D), v (B, H, S, E) → (B, H, T, E)."""
    ### BEGIN SOLUTION
    H, T, D, S = *q.shape[1:], k.shape[2]
    slopes = 2.0 ** (-8 * torch.arange(1, H + 1) / H)
    # (T, S); negative: the key lies in the future
    distance = torch.arange(S - T, S)[:, None] - torch.arange(S)
    scores = q @ k.transpose(-2, -1) / math.sqrt(D) - slopes[:, None, None] * distance
    return torch.softmax(scores.masked_fill(distance < 0, -math.inf), dim=-1) @ v
    ### END SOLUTION

# %%
check("04.alibi", alibi)

# %% [markdown] tags=["solution"]
# **Why it works.** One table of distances serves twice: its size is the penalty, its sign is the mask. The slopes carry
# two axes of size 1, so that the penalty (H, T, S) meets the scores (B, H, T, S) from the right.
#
# **The most common wrong road** is `torch.arange(T)[:, None] - torch.arange(S)`: right for T = S, which is all that
# training ever shows, and wrong as soon as the model writes on from kept keys; then query 0 believes that it sits at
# the beginning of the text. The softmax forgives half of it: a constant added to a whole row changes nothing, so that
# the penalties survive. The mask does not.
#
# **Beyond.** A window of w tokens is the same idea with a penalty of zero or infinity; rotary embeddings, in lesson 06,
# turn the vectors instead of adding to the scores.
