# %% [markdown]
# # 06 · Modern GPT: exercises
#
# Ten exercises, a little over two hours; the three marked *core* are enough to go on. Write your function, run the cell
# below it, and read what `check` says. Do 06.1 before you read the lesson, the others when the lesson points to them.
#
# Letters as in the lesson: B sequences, T tokens, C width of a token's vector, H query heads, K key and value heads, D
# numbers of a head, S keys. Angles are in radians. In a boolean mask **True means "may look"**. Keep `rms_norm`, `rope`
# and `swiglu`: with them you can put together a GPT of your own parts.

# %% tags=["setup"]
import math

import torch
import torch.nn.functional as F

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 06.1 same_score: turn two vectors, then compare them
#
# *predict · difficulty 1/5 · 5 min · core · try first · idea: after a turn, a dot product knows only the distance*
#
# **Try this before you read section 1.** Queries and keys of two numbers are arrows in the plane. A dot product compares
# them, and does not know where in the text they stand. So turn each arrow by its position times a fixed `angle`, and
# compare them then. To turn (x, y) by an angle a, counter-clockwise, means: (x cos a − y sin a, x sin a + y cos a).
#
# Write `same_score(q, k, m, n, angle)`:
#
# - `q`, `k`: the query and the key, two numbers each
# - `m`, `n`: the position of the query and the position of the key, whole numbers from 0
# - `angle`: by how much one position turns, in radians; both turn the same way
# - result: one number, the dot product of the two turned arrows
#
# With a quarter turn for each position, a query (2, 0) at position 5 has turned five quarters and points up; a key
# (1, 0) at position 3 has turned three quarters and points down. Their score is −2.
# ```python
# same_score((2, 0), (1, 0), 5, 3, math.pi / 2)      # -2.0
# same_score((2, 0), (0, 1), 1, 0, math.pi / 2)      # 2.0: the query has turned onto the key
# ```
# **Predict first**, on paper: which of the two scores changes when you swap the two positions? Any way to compute the
# score will do. The shortest takes one cosine and one sine.
#
# <details><summary>Hint 1</summary>
#
# Two arrows, both turned by ten quarters instead of none: what happens to the angle between them? And if only one of
# them is turned?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A dot product is made of two lengths and the angle between the arrows; a turn changes no length (section 3). You may
# turn both arrows with the formula above, being careful to use the *old* x for the new y, and multiply. Or leave the
# key where it is: by how much must you turn the query alone?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two ropes pull at a pole, with forces a and b, towards two points of the compass.
# How much of their work do they share?
# ```python
# def shared(a, b, towards_a, towards_b):
#     return a * b * math.cos(math.radians(towards_a - towards_b))     # the difference is all that matters
#
# round(shared(3, 2, 80, 20), 6), round(shared(3, 2, 200, 140), 6)     # (3.0, 3.0)
# ```
#
# </details>

# %%
def same_score(q, k, m, n, angle):
    """q, k: two numbers each, at positions m, n → dot product after the turns."""
    ### BEGIN SOLUTION
    turn = (m - n) * angle
    along = q[0] * k[0] + q[1] * k[1]
    across = q[0] * k[1] - q[1] * k[0]
    return along * math.cos(turn) + across * math.sin(turn)
    ### END SOLUTION

# %%
check("06.same_score", same_score)

# %% [markdown] tags=["solution"]
# **Why it works.** Turning both arrows back by n · angle changes neither their lengths nor the angle between them, so it
# changes no dot product. Then the key has not turned at all, and the query by (m − n) · angle. Multiply out: what the
# arrows have in common, `along`, comes with the cosine; what is at right angles, `across`, with the sine.
#
# **The prediction.** The cosine does not care about the sign of the distance and the sine does. In the first example
# the arrows are parallel, `across` is zero, and swapping changes nothing. In the second `along` is zero, and the
# score becomes −2. So the score can tell *three before* from *three after*.
#
# **The most common wrong road** is to change x first and to compute the new y from it:
# `x = x * cos - y * sin; y = x * sin + y * cos`. The second line sees the new x, and the arrow is no longer as long as
# it was.

# %% [markdown]
# ## 06.2 rms_norm: keep the direction, set the length
#
# *write · difficulty 2/5 · 5 min · core · idea: divide by the root of the mean square, and leave the mean alone*
#
# Write `rms_norm(x, gain, eps)`: each vector of `x` is divided by the root of the mean of its squares, then each of its
# numbers is multiplied by the gain of its feature.
#
# - `x` (…, C) float32, with any number of axes before the last
# - `gain` (C,) float32, learned
# - `eps`: a small number, **added to the mean square** before the root, so that a vector of zeros stays zero
# - result (…, C) float32
#
# An example with a large `eps`, so that you see where it goes. The squares of 3 and −1 are 9 and 1, their mean is 5; with
# `eps` = 4 the root of 5 + 4 is 3, and the vector becomes 1 and −1/3. Then come the gains.
# ```python
# rms_norm(torch.tensor([[3.0, -1.0]]), torch.tensor([1.0, 6.0]), 4.0)      # tensor([[ 1., -2.]])
# ```
# Keep this function: it is one of the parts of your own GPT.
#
# <details><summary>Hint 1</summary>
#
# How many numbers do you divide by when `x` has the shape (2, 7, 5)? Which shape must they have, so that each divides
# its own vector?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The three words are the recipe, read from the end: square, mean, root (section 2). The mean runs over the features of
# one vector, the last axis, and keeps it with size 1. LayerNorm subtracts something first; this does not.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: the loads of two ships, measured in the typical size of a ship's own loads, then
# turned into a price by kind.
# ```python
# loads = torch.tensor([[3.0, -1.0], [2.0, 6.0]])              # (ship, kind); negative: unloaded
# typical = loads.abs().mean(dim=-1, keepdim=True)             # tensor([[2.], [4.]])
# loads / typical * torch.tensor([10.0, 1.0])                  # tensor([[15.0, -0.5], [5.0, 1.5]])
# ```
#
# </details>

# %%
def rms_norm(x, gain, eps):
    """x (…, C), gain (C,) → (…, C): each vector over its root mean square, times the gain."""
    ### BEGIN SOLUTION
    mean_square = x.square().mean(dim=-1, keepdim=True)
    return x / torch.sqrt(mean_square + eps) * gain
    ### END SOLUTION

# %%
check("06.rms_norm", rms_norm)

# %% [markdown] tags=["solution"]
# **Why it works.** `keepdim=True` gives (…, 1), so that every vector is divided by its own number. With a gain of one
# and a tiny eps, the result has a mean square of one: its length is √C, whatever came in.
#
# **The most common wrong roads** are three. Using `x.std(...)`: a standard deviation subtracts the mean, and divides by
# C − 1 as well. Adding eps to the root instead of the mean square: nearly the same for an eps of a millionth, until a
# vector is small. And forgetting `keepdim`, which raises an error if you are lucky; with as many tokens as features it
# divides column by column and says nothing.

# %% [markdown]
# ## 06.3 rope: turn every pair by its own angle
#
# *write · difficulty 3/5 · 20 min · core · idea: a pair is (i, i + D/2); the pair sets the speed, the position the angle*
#
# Write `rope(x, positions, base)`, rotary position embedding:
#
# - `x` (B, H, T, D) float32, queries or keys; D is even
# - `positions` (T,) int64, the place of each token in the text: not always 0, 1, 2, …
# - `base`: a number, such as 10000.0
# - result (B, H, T, D) float32; `x` itself stays as it was
#
# Numbers i and i + D/2 of a vector, for i = 0, …, D/2 − 1, are one **pair**, an arrow with x = number i and
# y = number i + D/2. At position p, pair i is turned counter-clockwise by the angle $p \cdot \text{base}^{-2i/D}$, as in
# 06.1: (x cos a − y sin a, x sin a + y cos a). So pair 0 turns by one radian a token, and the later ones ever more
# slowly.
#
# An example with D = 4: the pairs are (0, 2) and (1, 3). With base 4.0 pair 0 turns by 1 a position, pair 1 by
# $4^{-1/2}$ = 0.5.
# ```python
# x = torch.tensor([1.0, 0.0, 0.0, 2.0]).expand(1, 1, 2, 4)      # pair 0 is (1, 0), pair 1 is (0, 2)
# rope(x, torch.tensor([0, 3]), 4.0)[0, 0]
# # tensor([[ 1.0000,  0.0000,  0.0000,  2.0000],                 position 0: no turn
# #         [-0.9900, -1.9950,  0.1411,  0.1415]])                cos 3, −2 sin 1.5, sin 3, 2 cos 1.5
# ```
# Keep this function: it is one of the parts of your own GPT.
#
# <details><summary>Hint 1</summary>
#
# How many different angles are there for T tokens and D numbers? Which of the four axes of `x` do they depend on, and
# which not?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Build it from inside out (section 3). The speeds: one for each pair, D/2 numbers. The angles: position times speed, a
# (T, D/2) table; it meets (B, H, T, D/2) from the right. Then the two halves of `x`: all x's, and all y's. Two lines of
# arithmetic give the new halves. Put them side by side, and test on D = 2 first.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same shapes on another problem: couples (i, i + 2) of bank accounts; every month each couple swaps a share that
# grows at the couple's own rate.
# ```python
# money = torch.tensor([[100.0, 10.0, 0.0, 30.0]]).expand(3, 4)       # (month, account): couples are (0, 2) and (1, 3)
# months, rates = torch.tensor([0, 2, 4]), torch.tensor([0.25, 0.05])
# share = months[:, None] * rates                                     # (3, 2): a table of month by couple
# left, right = money.chunk(2, dim=-1)                                  # the first half of the accounts, and the second
# torch.cat([left - share * (left - right), right + share * (left - right)], dim=-1)
# # tensor([[100., 10.,   0., 30.],
# #         [ 50., 12.,  50., 28.],
# #         [  0., 14., 100., 26.]])
# ```
#
# </details>

# %%
def rope(x, positions, base):
    """x (B, H, T, D), positions (T,) → (B, H, T, D), each pair (i, i + D/2) turned."""
    ### BEGIN SOLUTION
    D = x.shape[-1]
    speeds = base ** (-torch.arange(0, D, 2) / D)  # (D/2,): radians a token
    angles = positions[:, None] * speeds  # (T, D/2): the same for all sequences and heads
    cos, sin = angles.cos(), angles.sin()
    first, second = x[..., : D // 2], x[..., D // 2 :]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
    ### END SOLUTION

# %%
check("06.rope", rope)

# %% [markdown] tags=["solution"]
# **Why it works.** `positions[:, None] * speeds` is every position times every speed. Its axes (T, D/2) stand at the
# right end of (B, H, T, D/2), so that all sequences and heads share it. A turn leaves lengths alone, and 06.1 says what
# remains of two turns in a dot product: the distance. Shift all positions, and every score stays:

# %% tags=["solution"]
q, k = torch.randn(2, 1, 3, 5, 8, generator=torch.Generator().manual_seed(6))  # (B, H, T, D) each
for start in (0, 100):
    where = torch.arange(start, start + 5)
    scores = rope(q, where, 1e4) @ rope(k, where, 1e4).mT
    print(f"from position {start:3}: the last query's first scores are", scores[0, 0, 4, :3])

# %% [markdown] tags=["solution"]
# **The most common wrong road** is to mix two conventions. Some models pair neighbours, (0, 1), (2, 3), …; GPT-NeoX,
# Llama and Qwen in Hugging Face's layout pair halves. Each works if all of the code agrees. Angles made for the one and
# a rotation made for the other (`repeat_interleave` with halves, or `cat` with neighbours) turn the two ends of an
# arrow by *different* angles: nothing crashes, and what remains of the dot product depends on where you are. Exercise
# 06.5 converts weights from one convention to the other.

# %% [markdown]
# ## 06.4 swiglu: a gate in the MLP
#
# *fill · difficulty 2/5 · 5 min · further · idea: one product decides how much of the other passes*
#
# One line is missing in `swiglu(x, gate, up, down)`:
#
# - `x` (…, C), `gate` and `up` (C, M), `down` (M, C), all float32; M is the MLP's width
# - result (…, C)
#
# `x @ gate` goes through SiLU, which is z times sigmoid of z, number by number; what comes out multiplies `x @ up`,
# number by number; `down` brings the M products back to C. There are no biases.
#
# With C = M = 1 and all matrices 1, both products are x itself:
# ```python
# one = torch.ones(1, 1)
# swiglu(torch.tensor([2.0]), one, one, one)      # tensor([3.5232]): SiLU of 2 is 2 · 0.8808 = 1.7616, times 2
# ```
# Keep this function: it is one of the parts of your own GPT.
#
# <details><summary>Hint 1</summary>
#
# Two tensors of shape (…, M) are there. Which of the two gets bent, and how do they meet, so that the shape stays?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The gate says *how much*, the other says *what* (section 7). Only the gate goes through the nonlinearity. `torch.sigmoid`
# is the squashing; SiLU multiplies it by its own input. `F.silu` does both.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a mixing desk, in which one track opens the faders of another.
# ```python
# control, sound = torch.tensor([-4.0, 0.0, 4.0]), torch.tensor([10.0, 10.0, 10.0])
# fader = torch.tanh(control).clamp(min=0)           # bend one of them: shut, shut, nearly open
# fader * sound                                      # tensor([0.0000, 0.0000, 9.9933]): the other passes as it is
# ```
#
# </details>

# %%
def swiglu(x, gate, up, down):
    """x (…, C), gate and up (C, M), down (M, C) → (…, C)."""
    opened, passing = x @ gate, x @ up  # both (…, M)
    ### BEGIN SOLUTION
    hidden = opened * torch.sigmoid(opened) * passing
    ### STUB
    # hidden = ...  # from `opened` and `passing`, (…, M)
    ### END SOLUTION
    return hidden @ down

# %%
check("06.swiglu", swiglu)

# %% [markdown] tags=["solution"]
# **Why it works.** SiLU is near zero for very negative numbers and near its input for large ones: a switch that is also
# a size. The product of two numbers that both come from `x` is something that a single matrix with a nonlinearity after
# it can only approximate.
#
# **The most common wrong road** is to leave out one z: `sigmoid(opened) * passing` is the older gated linear unit (GLU),
# which trains as well and is a different model. Swapping `gate` and `up` is the same network while you train it
# yourself, for nothing tells the two matrices apart; it is broken as soon as you load weights that someone else has
# trained. Parity tests exist for this.

# %% [markdown]
# ## 06.5 half_from_interleaved: the conversion that passed its test
#
# *fix · difficulty 4/5 · 20 min · further · idea: a reordering and its inverse; a small test cannot tell them apart*
#
# You have the weights of a model that pairs neighbours: in each of its heads, numbers 2i and 2i + 1 of a query or key
# are pair i. Your code pairs halves: i and i + D/2. The numbers of a query are made by the **rows** of a matrix, so it
# takes only another order of the rows, the same for queries and keys.
#
# `half_from_interleaved(W, heads)`:
#
# - `W` (H · D, C), float32: rows h · D to (h + 1) · D make head h, in the order of neighbours. It may also be a bias,
#   (H · D,), whose numbers are reordered in the same way
# - `heads`: H
# - result: the same shape. In each head the first D/2 rows are the first members of pairs 0, 1, 2, …, and the other
#   D/2 rows are their second members
#
# The function below was tested with one head of D = 4 and found right. With a real model the output is noise. **There
# are two bugs.** Find out why that test could not see either, and mend both.
#
# With D = 4, rows 0 1 2 3 become 0 2 1 3. With two heads of D = 6, and a bias that numbers the rows:
# ```python
# half_from_interleaved(torch.arange(12.0), 2)
# # tensor([ 0.,  2.,  4.,  1.,  3.,  5.,  6.,  8., 10.,  7.,  9., 11.])
# ```
#
# <details><summary>Hint 1</summary>
#
# Run the function on a bias that numbers the rows, as above, with one head of 6. Which row lands in place 1, and which
# row should? Do it again with two heads of 4.
#
# </details>
# <details><summary>Hint 2</summary>
#
# In `W[rows]`, place i of the result holds what stood at `rows[i]`: `rows` says *where from*, not *where to* (the pairs
# of section 3). The two directions are inverse to each other, and for D = 2 and D = 4 they are the same. As for the
# heads: where does head h begin?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: six runners in lanes; `came_from` says which lane each place of the podium came
# from.
# ```python
# runners = torch.tensor([10, 11, 12, 13, 14, 15])           # by lane
# came_from = torch.tensor([4, 0, 1, 5, 2, 3])               # place 0 was won from lane 4
# runners[came_from]                                         # tensor([14, 10, 11, 15, 12, 13]): by place
# went_to = came_from.argsort()                              # lane 0 came in at place 1: tensor([1, 2, 4, 5, 0, 3])
# runners[went_to]                                           # tensor([11, 12, 14, 15, 10, 13]): something else
# swap = torch.tensor([1, 0, 2])                             # some orders are their own inverse …
# swap.argsort()                                             # tensor([1, 0, 2]): … and a test with one sees nothing
# ```
#
# </details>

# %%
def half_from_interleaved(W, heads):
    """W (H * D, C) or (H * D,), paired as (2i, 2i + 1) → the same rows, as (i, i + D/2)."""
    ### BEGIN SOLUTION
    D = len(W) // heads
    order = torch.arange(D).view(D // 2, 2).T.flatten()  # 0, 2, 4, …, 1, 3, 5, …
    rows = torch.cat([h * D + order for h in range(heads)])
    return W[rows]
    ### STUB
    # D = len(W) // heads
    # order = torch.arange(D).view(2, D // 2).T.flatten()
    # rows = torch.cat([h + order for h in range(heads)])
    # return W[rows]
    ### END SOLUTION

# %%
check("06.half_from_interleaved", half_from_interleaved)

# %% [markdown] tags=["solution"]
# **Why it works.** The numbers 0 to D − 1, written in rows of two, have the first members in one column and the second
# members in the other; the transpose reads column by column. Head h begins at row h · D.
#
# **What the planted bugs did.** `view(2, D // 2)` makes the inverse reordering, which goes from halves to neighbours.
# For D = 4 both are 0 2 1 3. `h + order` is right for head 0 only. One head of four numbers hides both. It is the
# **smallest** test that one thinks of, and the worst: take at least two heads and D ≥ 6.
#
# **The most common wrong road** is to convert the queries and forget the keys (or the biases, or the gains of QK-norm).
# Both sides of a dot product must be in the same order; the values are not rotated and stay as they are. Here is the
# proof that the conversion is right, not an opinion: the scores are the same.

# %% tags=["solution"]
def neighbours(x, positions, base):
    """Rotary embedding for pairs (2i, 2i + 1); x (H, T, D)."""
    angles = positions[:, None] * base ** (-torch.arange(0, x.shape[-1], 2) / x.shape[-1])
    arrows = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    turned = arrows * torch.polar(torch.ones(()), angles)
    return torch.view_as_real(turned).flatten(-2)


g = torch.Generator().manual_seed(5)
H, D, C, T = 3, 8, 10, 7
wq, wk, x = (torch.randn(*shape, generator=g) for shape in ((H * D, C), (H * D, C), (T, C)))
split = lambda w: (x @ w.T).view(T, H, D).transpose(0, 1)  # (H, T, D)
where = torch.arange(T)
theirs = neighbours(split(wq), where, 1e4) @ neighbours(split(wk), where, 1e4).mT
q, k = (rope(split(half_from_interleaved(w, H))[None], where, 1e4) for w in (wq, wk))
torch.testing.assert_close((q @ k.mT)[0], theirs)
print("the same", theirs.numel(), "scores in both conventions")

# %% [markdown]
# ## 06.6 kv_bytes: what must be kept to write on
#
# *predict · difficulty 2/5 · 10 min · further · idea: kept are keys and values, of few heads, over the window*
#
# A model that writes token by token keeps the keys and values of what it has read: in each layer, for each of its K key
# and value heads, one key and one value of D numbers for each token. A layer with a sliding window of w tokens keeps the
# newest w tokens and no more.
#
# **Predict first**, in your head: one sequence of 32,768 tokens; 32 layers, all without a window; 32 query heads and 8
# key and value heads of 128 numbers; bfloat16, two bytes a number. Is it nearer to 40 MiB, 400 MiB or 4 GiB?
#
# Then write `kv_bytes(batch, tokens, heads, kv_heads, head_size, windows, dtype)`: whole numbers, and
#
# - `windows`: a list with one whole number for each layer: its window, or 0 if the layer sees everything
# - `dtype`: such as `torch.bfloat16`; `dtype.itemsize` is its size in bytes
# - result: the bytes of all keys and values, a whole number
# ```python
# kv_bytes(1, 100, 8, 2, 16, [0], torch.float32)          # 25600: 2 · 100 tokens · 2 heads · 16 numbers · 4 bytes
# kv_bytes(1, 100, 8, 2, 16, [0, 10], torch.float32)      # 28160: the second layer keeps 10 tokens
# ```
#
# <details><summary>Hint 1</summary>
#
# For each token and layer: how many vectors of D numbers are stored? Which of the numbers that you were given does not
# matter at all?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Queries are used once, by their own token, and not kept; so it is the key and value heads that count (section 5). A
# window bounds the number of tokens from above (section 9): what does a layer with a window of 100 keep of a text of 30
# tokens? Add the kept tokens of all layers first; the rest is a product.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: how many pages do the archives of a newspaper's offices hold? Each keeps two copies
# of the newest issues; 0 means all of them.
# ```python
# def pages(issues, pages_an_issue, keeps):
#     held = 0
#     for keep in keeps:
#         held += issues if keep == 0 else min(issues, keep)       # a young paper fills no shelf
#     return 2 * held * pages_an_issue
#
# pages(30, 8, [0, 7, 365])        # 1072: 2 · (30 + 7 + 30) · 8
# ```
#
# </details>

# %%
def kv_bytes(batch, tokens, heads, kv_heads, head_size, windows, dtype):
    """Bytes of all keys and values; windows: one for each layer, 0 for no window."""
    ### BEGIN SOLUTION
    # tokens kept, added up over the layers
    kept = sum(min(tokens, window) if window else tokens for window in windows)
    return 2 * batch * kept * kv_heads * head_size * dtype.itemsize
    ### END SOLUTION

# %%
check("06.kv_bytes", kv_bytes)

# %% [markdown] tags=["solution"]
# **Why it works.** Two vectors a token, head and layer: that is the 2. The query heads do not appear: a query is used by
# the token that made it, and thrown away. Now the prediction, and what each change buys:

# %% tags=["solution"]
one_in_six = [0 if layer % 6 == 5 else 1024 for layer in range(32)]  # most layers see 1,024 tokens
for name, kv_heads, windows in (("every head its own", 32, [0] * 32), ("8 kv heads", 8, [0] * 32),
                                ("8, and windows", 8, one_in_six)):
    gib = kv_bytes(1, 32768, 32, kv_heads, 128, windows, torch.bfloat16) / 2**30
    print(f"{name:20} {gib:5.2f} GiB")

# %% [markdown] tags=["solution"]
# **The most common wrong road** is the factor of a window taken without the minimum: a window of 1,024 then *costs*
# memory for a text of ten tokens. The second is to count query heads, which is what grouped queries were made to avoid.

# %% [markdown]
# ## 06.7 window_mask: see only what is near
#
# *write · difficulty 2/5 · 10 min · further · idea: a mask is a statement about distances*
#
# Write `window_mask(T, S, window)`. The text has S tokens and the **queries are its last T** (T ≤ S), as in 04.8: query
# 0 stands at position S − T. A query may look at itself and at the `window` − 1 tokens before it. `window` = 0 means
# that there is no window: it may look at everything up to itself.
#
# Result: (T, S) bool, True where query t may look at key s.
# ```python
# window_mask(2, 5, 3).int()      # tensor([[0, 1, 1, 1, 0],      the query at position 3
#                                 #         [0, 0, 1, 1, 1]])     the query at position 4
# ```
#
# <details><summary>Hint 1</summary>
#
# What is the distance of the query at position 3 to the keys at positions 0 to 4? Which of these distances may it look
# at with a window of 3?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The distance, the query's position minus the key's, decides everything (section 9). Two bounds: it must not be negative
# (the future), and it must be smaller than the window. Make a (T, S) table of distances from two `torch.arange`; mind
# where the first query stands.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: which of 6 bus stops can be reached on foot from the last 2 stops of the line, going
# forward at most 1 stop or back at most 2?
# ```python
# here, there = torch.tensor([4, 5]), torch.arange(6)
# steps = there - here[:, None]                               # (2, 6): negative is back
# ((steps <= 1) & (steps >= -2)).int()                        # tensor([[0, 0, 1, 1, 1, 1],
#                                                             #         [0, 0, 0, 1, 1, 1]])
# ```
#
# </details>

# %%
def window_mask(T, S, window):
    """Queries: the last T of S positions → (T, S) bool, True: may look; window 0: no window."""
    ### BEGIN SOLUTION
    distance = torch.arange(S - T, S)[:, None] - torch.arange(S)
    past = distance >= 0
    return past & (distance < window) if window else past
    ### END SOLUTION

# %%
check("06.window_mask", window_mask)

# %% [markdown] tags=["solution"]
# **Why it works.** Both rules are bounds on one number. The table of distances counts from the right place because the
# first query stands at S − T. Every query sees itself at distance 0, so that no row is empty and no softmax gives NaN.
#
# **The most common wrong road** is `distance <= window`, a window of one token too many. Everything works; only the
# reach is wrong, and a model trained with the one and run with the other gets slightly worse for no visible reason.
# The second is a window of 0 that hides everything.

# %% [markdown]
# ## 06.8 grouped_attention: put the lines in order
#
# *order · difficulty 3/5 · 10 min · further · idea: neighbouring query heads share a key head, and nothing needs copying*
#
# The lines of grouped-query attention without `repeat_interleave`, shuffled. **Three of them are there twice, once right
# and once wrong**: delete the wrong ones and put the rest in order.
#
# `q` (B, H, T, D), `k` and `v` (B, K, T, D), float32; H is a multiple of K. Query heads 0 to H/K − 1 use key and value
# head 0, the next H/K use head 1, and so on. Attention is causal. The result is (B, H, T, D), the heads in the order of
# the query heads.
#
# The trick: give `q` an axis for the group and one for the place within it, and let broadcasting hand the one key head to
# all members of its group. For H = 4 and K = 2: heads 0 and 1 are group 0, heads 2 and 3 are group 1.
# ```python
# v = torch.tensor([10.0, 20.0]).view(1, 2, 1, 1)                         # one token, K = 2 heads of one number
# grouped_attention(torch.ones(1, 4, 1, 1), v, v).flatten()               # tensor([10., 10., 20., 20.])
# ```
#
# <details><summary>Hint 1</summary>
#
# H numbers in a row are cut into K groups of H/K neighbours. Which of the two axes comes first: the one that counts the
# groups, or the one that counts within a group? Write 0 to 5 into a table of 2 groups and see.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Memory is cut in its order (lesson 04, section 6): the axis that changes slowest comes first, and neighbours of the
# same group differ in the last one. Where `q` has the axis of places, `k` and `v` need an axis of size 1 (section 5).
# Afterwards the two axes lie in memory as the heads did, so that the way back is a plain reshape.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: 6 pupils sit at 2 tables of 3 neighbours; each table has one teacher.
# ```python
# pupils = torch.tensor([1.0, 2, 3, 4, 5, 6])
# teachers = torch.tensor([10.0, 100.0])
# tables = pupils.view(2, 3)                       # (table, seat): tensor([[1., 2., 3.], [4., 5., 6.]])
# (tables * teachers[:, None]).flatten()           # tensor([ 10.,  20.,  30., 400., 500., 600.])
# ```
#
# </details>

# %%
def grouped_attention(q, k, v):
    """q (B, H, T, D), k and v (B, K, T, D) → (B, H, T, D), causal; neighbours share a key head."""
    ### BEGIN SOLUTION
    B, H, T, D = q.shape
    K = k.shape[1]
    q = q.reshape(B, K, H // K, T, D)
    k, v = k[:, :, None], v[:, :, None]
    scores = q @ k.transpose(-2, -1) / math.sqrt(D)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
    return (weights @ v).reshape(B, H, T, D)
    ### STUB
    # weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
    # k, v = k[:, None], v[:, None]
    # return (weights @ v).transpose(1, 2).reshape(B, H, T, D)
    # q = q.reshape(B, H // K, K, T, D)
    # K = k.shape[1]
    # scores = q @ k.transpose(-2, -1) / math.sqrt(D)
    # q = q.reshape(B, K, H // K, T, D)
    # return (weights @ v).reshape(B, H, T, D)
    # future = torch.ones(T, T, dtype=torch.bool).triu(1)
    # B, H, T, D = q.shape
    # k, v = k[:, :, None], v[:, :, None]
    ### END SOLUTION

# %%
check("06.grouped_attention", grouped_attention)

# %% [markdown] tags=["solution"]
# **Why it works.** `reshape(B, K, H // K, T, D)` cuts the heads into K groups of neighbours, (B, K, 1, T, D) meets
# (B, K, H/K, T, D), and the axis of size 1 is shared by the whole group: no key is copied. The product has its heads in
# the old order, group by group, so that a reshape joins them.
#
# **The most common wrong road** takes both wrong lines, `reshape(B, H // K, K, …)` with `k[:, None]`. They fit each
# other, the shapes are right and the model trains; but query head h uses key head h mod K instead of its neighbours'.
# With weights that were trained the other way every head listens to the wrong keys. `repeat` in the place of
# `repeat_interleave` is the same mistake.

# %% [markdown]
# ## 06.9 verdict: better, worse, or cannot tell
#
# *measure · difficulty 3/5 · 20 min · further · idea: compare seed by seed, and let the spread of the differences decide*
#
# You changed one thing in a model and trained both with several seeds; the same seed means the same order of the data.
# Is the change an improvement? Write `verdict(baseline, change)`:
#
# - `baseline`, `change`: two dictionaries, seed → bits per byte (lower is better). The seeds may stand in another order,
#   and some runs may be missing on one side: only seeds that both have count. There is at least one.
# - result: a tuple of three. The word `"better"`, `"worse"` or `"cannot tell"`; the mean of the differences, change minus
#   baseline; and the half-width of its 95 % interval, t · s / √n.
#
# Here n is the number of pairs, s the standard deviation of the n differences with n − 1 in the denominator, and t the
# quantile of Student's distribution with n − 1 degrees of freedom that leaves 2.5 % at each end, `T975[n - 1]` below. The word is
# `"cannot tell"` if zero lies in the interval, its ends included. With one pair there is no spread to judge by: the
# half-width is `math.inf`.
#
# An example: differences of −0.25, −0.5 and −0.75 have the mean −0.5 and s = 0.25. The interval reaches past zero:
# ```python
# verdict({0: 2.0, 1: 2.5, 2: 3.0}, {2: 2.25, 0: 1.75, 1: 2.0, 7: 9.0})
# # ('cannot tell', -0.5, 0.6210845520807399): 4.303 · 0.25 / √3
# ```
#
# <details><summary>Hint 1</summary>
#
# Seed 2 is worse than seed 0 by a whole bit in both arms. Should this spread make you less sure about the change?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The pairs come first (section 1): one difference for each seed that both have, found by its key and not by its place.
# All that follows is about these n numbers: their mean, the spread around it, the spread of the *mean*, which is smaller
# by √n, and the factor for few numbers, which the table gives. The word comes last, from the mean and the half-width.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: did the new tyres change the time of a lap? Three drivers, each with old and new ones.
# ```python
# old, new = {"Ann": 61.0, "Bob": 70.0, "Cid": 66.0}, {"Bob": 69.0, "Cid": 64.5, "Ann": 60.5}
# saved = torch.tensor([old[name] - new[name] for name in old])      # tensor([0.5000, 1.0000, 1.5000])
# saved.mean(), saved.std()                                          # (tensor(1.), tensor(0.5000))
# torch.tensor(list(old.values())).std()                             # tensor(4.5092): drivers differ far more
# ```
#
# </details>

# %% tags=["setup"]
T975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}

# %%
def verdict(baseline, change):
    """Two dicts of seed → bits per byte; returns (word, mean difference, half-width)."""
    ### BEGIN SOLUTION
    differences = [change[seed] - baseline[seed] for seed in baseline if seed in change]
    n = len(differences)
    mean, half = sum(differences) / n, math.inf
    if n > 1:
        variance = sum((d - mean) ** 2 for d in differences) / (n - 1)
        half = T975[n - 1] * math.sqrt(variance / n)
    if abs(mean) <= half:
        return "cannot tell", mean, half
    return "better" if mean < 0 else "worse", mean, half
    ### END SOLUTION

# %%
check("06.verdict", verdict)

# %% [markdown] tags=["solution"]
# **Why it works.** What two runs of the same seed have in common, above all the order of their data, falls out of their
# difference. What is left is the change and some noise, and the spread of the differences says how much noise. With few
# numbers the spread itself is uncertain; the t quantile pays for that: 4.303 with three pairs, where a large sample has 1.96.
#
# How often does this rule cry wolf? Ten thousand changes that change nothing, three seeds each:

# %% tags=["solution"]
g = torch.Generator().manual_seed(9)
level = torch.randn(10_000, 3, generator=g) * 0.1  # what a seed does to both arms
before, after = (level + torch.randn(10_000, 3, generator=g) * 0.01 for _ in range(2))
said = [verdict(dict(enumerate(b)), dict(enumerate(a)))
        for b, a in zip(before.tolist(), after.tolist())]
wrong = sum(word != "cannot tell" for word, _, _ in said) / len(said)
narrow = sum(abs(mean) > half * 1.96 / T975[2] for _, mean, half in said) / len(said)
print(f"a verdict where there is nothing to see: {wrong:.1%} of the time; "
      f"with 1.96 for t: {narrow:.1%}")

# %% [markdown] tags=["solution"]
# **The most common wrong roads** are three. Comparing the two means with the spread of the *runs*, unpaired: the seeds
# differ by more than the change does, and everything becomes "cannot tell". Using 1.96: see above. And reading
# "cannot tell" as "no effect": the interval says how large an effect may still be hidden.

# %% [markdown]
# ## 06.10 stretched_angles: read further than you were trained
#
# *write · difficulty 4/5 · 30 min · further · unaided · idea: slow down only the pairs that would meet a new angle*
#
# **Assistant off: no AI, no hints at first, only the lesson and your own experiments.**
#
# A model with rotary positions was trained on texts of `trained` tokens. Pair i turned by
# $f_i = \text{base}^{-2i/D}$ radians a token, and so made $r_i = \text{trained} \cdot f_i / 2\pi$ turns over the whole
# text. A pair that makes many turns has shown every angle many times; it tells near from far at short range and should
# stay as it is. A pair that makes less than one turn meets angles beyond the trained length that it has never seen; it
# should be slowed down. In between there is a ramp (the idea of YaRN: Peng et al. 2023, arXiv 2309.00071, section 3.2):
#
# - the share that **stays**, $s_i$, is 0 if $r_i \le 1$, 1 if $r_i \ge 32$, and rises with $r_i$ along a straight line in
#   between
# - the new speed is $s_i f_i + (1 - s_i) f_i / g$, where g ≥ 1 is the **stretch**
#
# That much is the idea of section 4. New here is that the stretch follows the text and is no larger than needed. Needed
# is the length of the text, which is its largest position plus one, divided by `trained`. But the stretch is never below
# 1 (a text that fits is read as it always was) and never above `factor`.
#
# Write `stretched_angles(positions, D, base, factor, trained)`: `positions` (T,) int64, in any order; D even; `base` and
# `factor` numbers; `trained` a whole number → the angles (T, D/2) float32: position times new speed.
#
# An example with D = 4, base 10000 and 128 trained tokens: the speeds are 1 and 0.01. A text whose last position is 511
# needs a stretch of 4; one whose last is 127 needs none.
# ```python
# # turns 20.3718 and 0.2037, of which 0.6249 and 0 stay: the new speeds are 0.6249 + 0.3751 / 4 = 0.7187 and 0.0025
# stretched_angles(torch.tensor([100, 511]), 4, 10000.0, 8.0, 128)      # tensor([[ 71.8673,   0.2500],
#                                                                       #         [367.2421,   1.2775]])
# stretched_angles(torch.tensor([100, 127]), 4, 10000.0, 8.0, 128)      # tensor([[100.0000,   1.0000],
#                                                                       #         [127.0000,   1.2700]])
# ```
#
# <details><summary>Hint 1</summary>
#
# Which of the numbers r, s and g belong to a pair, and which to the whole text? Compute each of them for the example, by
# hand, before you write any code.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Plain angles are a table, position times speed; interpolation divides all speeds by the same number (section 4). Here
# each pair takes a share of both. A share that is a straight line between two bounds and flat outside is a line that has
# been clamped. The stretch is clamped as well, between 1 and `factor`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: heating. Below 10 degrees a room is heated to the full, above 20 not at all, with a
# straight line in between; and the whole house gets no more power than it needs, nor more than it has.
# ```python
# outside = torch.tensor([4.0, 12.5, 30.0])
# share = ((20 - outside) / (20 - 10)).clamp(0, 1)            # tensor([1.0000, 0.7500, 0.0000])
# needed, available = 9.0, 5.0
# power = min(max(needed, 2.0), available)                    # never below 2, never above 5
# share * power                                               # tensor([5.0000, 3.7500, 0.0000])
# ```
#
# </details>

# %%
def stretched_angles(positions, D, base, factor, trained):
    """positions (T,) → (T, D/2) float32: angles that are stretched no further than needed."""
    ### BEGIN SOLUTION
    speeds = base ** (-torch.arange(0, D, 2) / D)
    turns = trained * speeds / (2 * math.pi)
    stays = ((turns - 1) / (32 - 1)).clamp(0, 1)
    needed = (positions.max().item() + 1) / trained
    stretch = min(max(needed, 1), factor)
    return positions[:, None] * (stays * speeds + (1 - stays) * speeds / stretch)
    ### END SOLUTION

# %%
check("06.stretched_angles", stretched_angles)

# %% [markdown] tags=["solution"]
# **Why it works.** The turns are counted over the *trained* length: they say what the model has seen, and a longer text
# does not change that. The share belongs to a pair, the stretch to the text. Here is what becomes of the pairs of a head
# of 32 numbers:

# %% tags=["solution"]
D, base, trained = 32, 10000.0, 128  # exercise 06.10 for a head of 32 numbers
plain = torch.tensor([1]) * base ** (-torch.arange(0, D, 2) / D)
turns = trained * plain / (2 * math.pi)
slowed = plain / (stretched_angles(torch.tensor([1, 511]), D, base, 8.0, trained)[0])
for i in range(0, 10, 2):
    print(f"pair {i}: {turns[i]:6.2f} turns over {trained} tokens, "
          f"{slowed[i]:.2f} times slower for a text of 512")

# %% [markdown] tags=["solution"]
# A context of 128 tokens is so short that not even the fastest pair turns 32 times: all are slowed a little. With
# thousands of trained tokens the first pairs stay exactly as they are.
#
# **The most common wrong road** is to count the turns over the long text, which makes every pair look well travelled.
# The second is a stretch below 1 for short texts: the angles of a text that fits must not change at all.
#
# **Beyond.** `minigpt.model.rope_frequencies` lets the ramp run along the *numbers* of the pairs, as the published code
# does; the paper writes it as here, along the turns. A stretch that follows the text has a price: keys that are kept
# have been turned with yesterday's stretch. Either keep them unturned, or choose the stretch before you begin.
