# %% [markdown]
# # 10 · Speed: exercises
#
# Nine exercises; the three marked *core* are enough to go on. Write your function, run the cell below it, and read what
# `check` says: it tells you which idea produced your result. Being stuck on one never blocks the next. Of the three
# hints the first is a question; try again before you open another.
#
# None of them asks how fast *your* machine is: all times are given, so that the same answer is right everywhere. A FLOP
# is one multiplication or one addition, in this course as elsewhere. `-math.inf` is the score of a key that may not be
# seen.

# %% tags=["setup"]
import math
import statistics

import torch
import torch.nn.functional as F

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 10.1 speedup_limit: what is a faster part worth?
#
# *predict · difficulty 1/5 · 5 min · core · try first · idea: the part that you do not touch decides how far you get*
#
# **Try this before you read section 1.** One part of a training step takes `share` of its time. You make this part
# `factor` times as fast; the rest stays as it is.
#
# **Predict first**, in your head: attention takes 40 per cent of the step, and a better kernel makes it four times as
# fast. How many times as fast is the whole step: nearer to 1.4, to 2.5 or to 4?
#
# Then write `speedup_limit(share, factor)` → a pair of numbers (speedup, limit):
#
# - `share`: from 0 to 1, both included
# - `factor`: above 0; below 1 the part has become slower
# - speedup: how many times as fast the whole step becomes; 1 means that nothing has changed
# - limit: what the speedup would be if the part took no time at all; `math.inf` where nothing else is left
#
# ```python
# speedup_limit(0.5, 3.0)      # (1.5, 2.0): of 12 seconds 6 become 2, and 12 / 8 = 1.5; without the 6, 12 / 6 = 2
# speedup_limit(1.0, 3.0)      # (3.0, inf)
# ```
#
# <details><summary>Hint 1</summary>
#
# Say that the step took 100 ms. How many of them are left in the part, and how many in the rest?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Times add up; speeds do not. So go through times: the new time is the untouched rest plus what the part takes now,
# and a speedup is the old time divided by the new one. (Section 3 measures the shares of a real step.) For the limit
# one of the two terms is gone.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a letter takes 2 days in the sorting office and 6 on the road. New cars make the
# road three times as fast.
# ```python
# sorting, road = 2.0, 6.0
# before = sorting + road
# before / (sorting + road / 3)        # 2.0 times as fast
# before / sorting                     # 4.0: the sorting office alone still takes its 2 days
# ```
#
# </details>

# %%
def speedup_limit(share, factor):
    """share of the time, from 0 to 1; factor > 0 → (speedup of the whole, its limit)."""
    ### BEGIN SOLUTION
    rest = 1 - share
    limit = 1 / rest if rest > 0 else math.inf
    return 1 / (rest + share / factor), limit
    ### END SOLUTION

# %%
check("10.speedup_limit", speedup_limit)

# %% [markdown] tags=["solution"]
# **Why it works.** Call the old time 1. The rest keeps its `1 - share`; the part shrinks to `share / factor`. The
# speedup is 1 divided by their sum. This is Amdahl's law (AFIPS Conference Proceedings 30, Amdahl 1967). In the
# prediction 0.6 + 0.1 is left, and 1 / 0.7 is about 1.4.
#
# **The most common wrong road** is to average the speeds, `share * factor + (1 - share)`: that says 2.2. It would be
# right if `share` were a share of the work *done* in equal times. But a speed counts by the time that is spent at it,
# and the fast part is soon over.
#
# What a factor is worth, by the share that it acts on:

# %% tags=["solution"]
for share in (0.1, 0.4, 0.8, 0.95):
    faster = [f"{factor:3}x: {speedup_limit(share, factor)[0]:5.2f}" for factor in (2, 10, 100)]
    limit = speedup_limit(share, 2)[1]
    print(f"a part of {share:4.0%}   {', '.join(faster)}   limit {limit:5.2f}")

# %% [markdown] tags=["solution"]
# A factor of 2 on the largest part beats a factor of 100 on a small one. That is why you measure before you improve.

# %% [markdown]
# ## 10.2 intensity: how much work for each byte?
#
# *predict · difficulty 2/5 · 10 min · core · idea: work grows with the product of the sizes, traffic with their areas*
#
# A matrix product: `x` (m, k) times `w` (k, n). To judge whether memory can keep up you need its **arithmetic
# intensity**: FLOPs divided by the bytes that go to and from memory.
#
# **Predict first**: `w` is 1,024 × 1,024. Once `x` has a single row, as when a model writes one token; once it has
# 1,024. How many times as large is the second intensity: about 3, about 30 or about 300?
#
# Then write `intensity(m, n, k, bytes_per_number)` → FLOPs per byte, a number.
#
# - `m`, `n`, `k`: whole numbers, at least 1
# - each number of the result is a sum of k products; count k multiplications and k additions for it (one addition more
#   than needed, as everyone counts)
# - traffic: both factors are read once, the result is written once. Inside, the processor has what it needs at hand.
# - `bytes_per_number`: of all three matrices, such as 4 for float32
#
# ```python
# intensity(1, 1, 1, 4)            # 0.1667: 2 FLOPs, 3 numbers of 4 bytes
# intensity(2, 3, 4, 4)            # 0.4615: 48 FLOPs for 8 + 12 + 6 numbers of 4 bytes
# ```
#
# <details><summary>Hint 1</summary>
#
# Double m, n and k together. By which factor does the work grow, and by which do the three matrices?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Two counts, then one division (section 2). The work: how many numbers does the result have, and how many FLOPs does
# each cost? The traffic: how many numbers does each of the three matrices hold, whatever is done with them? A number
# that is used a hundred times is read once.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two chess clubs meet, and each member plays each member of the other club. A game is
# worth 2 points; a member's journey costs `fare`.
# ```python
# def points_per_coin(here, there, fare):
#     games = here * there                      # every pair
#     journeys = here + there                   # every member once, however often he plays
#     return 2 * games / (fare * journeys)
#
# points_per_coin(1, 30, 5), points_per_coin(30, 30, 5)      # (0.387…, 6.0)
# ```
#
# </details>

# %%
def intensity(m, n, k, bytes_per_number):
    """(m, k) times (k, n), bytes of a number → FLOPs per byte of memory traffic."""
    ### BEGIN SOLUTION
    flops = 2 * m * n * k
    numbers = m * k + k * n + m * n
    return flops / (bytes_per_number * numbers)
    ### END SOLUTION

# %%
check("10.intensity", intensity)

# %% [markdown] tags=["solution"]
# **Why it works.** The work is a volume, m · n · k, and the traffic three areas. Make everything twice as large, and
# there is twice as much work for each byte. With a single row the volume is no more than an area: every number of `w`
# is fetched for one multiplication and one addition.
#
# **The most common wrong road** is to count a read for every multiplication. Then the intensity is the same for all
# sizes, and no product would ever be worth a fast processor. Caches and tiles exist so that a number is fetched once
# and used often. The next is to forget the result, which also has to go somewhere.
#
# The MLP's first product in GPT-2 (768 to 3,072 features) by the number of tokens that enter it. An H100 does 989 TFLOP
# a second in bfloat16 and moves 3.35 TB (NVIDIA's data sheet, 2023): its ridge is where the two meet.

# %% tags=["solution"]
ridge = 989e12 / 3.35e12
print(f"ridge: {ridge:.0f} FLOPs per byte")
for tokens in (1, 8, 64, 512, 4096):
    value = intensity(tokens, 3072, 768, 2)
    of_peak = min(1, value / ridge)
    print(f"{tokens:5} tokens: {value:6.1f} FLOPs per byte, {of_peak:6.1%} of the peak at most")
assert 300 < intensity(1024, 1024, 1024, 4) / intensity(1, 1024, 1024, 4) < 400

# %% [markdown] tags=["solution"]
# One token at a time, which is how a model writes, leaves all but a trace of the processor idle. Lesson 07 wrote for
# several readers at once; this is why.

# %% [markdown]
# ## 10.3 bound: which roof does it hit?
#
# *write · difficulty 2/5 · 10 min · further · idea: an operation waits for the slower of two; the next waits for it*
#
# A machine does at most `peak` FLOPs a second and moves at most `bandwidth` bytes a second. It does both at the same
# time: while it computes, the next numbers come in. So one operation takes as long as the *slower* of the two.
#
# Write `bound(operations, peak, bandwidth)`:
#
# - `operations`: a list of pairs (flops, bytes), run **one after the other**; flops may be 0, as for a copy; bytes are
#   at least 1
# - `peak`, `bandwidth`: numbers above 0
# - result: a pair (seconds, roofs). seconds: the least time that the whole list takes. roofs: a list with one word for
#   each operation, `"compute"` or `"memory"`: what it waits for. If it waits for both alike, `"compute"`: it has
#   reached the peak. An empty list takes 0 seconds.
#
# ```python
# bound([(40, 4), (10, 6)], 10, 2)       # (7.0, ['compute', 'memory']): 4 s against 2 s, then 1 s against 3 s
# ```
#
# <details><summary>Hint 1</summary>
#
# In the example the computing takes 4 + 1 seconds in all, and the moving 2 + 3. Why is the answer not 5?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The roofline of section 2 belongs to one operation: its time is the larger of two times. The second operation cannot
# begin before the first has ended, so what the first one leaves unused is lost: add up *after* you have taken the
# larger. (To run two operations as one, so that they share, is called fusion: section 4.)
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: courses of a dinner. While the cook prepares the plates of a course, a waiter
# carries those that are ready; the next course begins when all have the last one.
# ```python
# courses, cooks, carries = [(12, 3), (2, 8)], 4.0, 2.0          # (minutes of work, plates); what they manage a minute
# waits = [max(work / cooks, plates / carries) for work, plates in courses]       # [3.0, 4.0]
# sum(waits)                                                                      # 7.0, and not max(3.5, 5.5)
# ```
#
# </details>

# %%
def bound(operations, peak, bandwidth):
    """Pairs (flops, bytes), FLOP/s, bytes/s → (seconds, one of "compute", "memory" for each)."""
    ### BEGIN SOLUTION
    seconds, roofs = 0.0, []
    for flops, size in operations:
        computing, moving = flops / peak, size / bandwidth
        seconds += max(computing, moving)
        roofs.append("compute" if computing >= moving else "memory")
    return seconds, roofs
    ### END SOLUTION

# %%
check("10.bound", bound)

# %% [markdown] tags=["solution"]
# **Why it works.** Each operation is judged by itself, by comparing two *times*. (Comparing its intensity with
# peak / bandwidth says the same.) Then the times add up.
#
# **The most common wrong road** adds up first: all FLOPs, all bytes, one roof for the sum. In the example that gives 5
# seconds, and 5 seconds is what a perfect fusion could reach. The difference of 2 is what fusion is worth.
#
# GELU written with five operations, each of which reads a tensor and writes one, against the same work in one pass, on
# a machine of 100 GFLOP/s and 20 GB/s:

# %% tags=["solution"]
count = 4096 * 3072  # hidden numbers of an MLP, 4 bytes each
apart = [(2 * count, 8 * count)] * 5
fused = [(10 * count, 8 * count)]
for name, operations in (("five passes", apart), ("one pass", fused)):
    seconds, roofs = bound(operations, 100e9, 20e9)
    print(f"{name:11}: {1000 * seconds:5.1f} ms, waits for {', '.join(sorted(set(roofs)))}")

# %% [markdown] tags=["solution"]
# The same arithmetic takes a fifth of the time, because it is memory that everyone waits for.

# %% [markdown]
# ## 10.4 online_softmax_stats: a softmax that sees each number once
#
# *write · difficulty 3/5 · 15 min · core · idea: a running sum stays right if it is rescaled when the maximum grows*
#
# To divide by the sum of exponentials, a softmax needs two numbers of each row: its maximum m, and the sum of
# exp(x − m). But this row comes in pieces, and you never hold all of it. Write `online_softmax_stats(blocks)`:
#
# - `blocks`: gives one tensor (R, n) float32 after the other, the same R rows each time, with n of at least 1, which
#   may differ. You can go through them **once**, with a `for` loop, and **a block is only there until the next one
#   comes**: it is then overwritten in the same memory. There is at least one block.
# - result: a pair of tensors (R,) float32. First m, the maximum of each row over all blocks; then the sum of exp(x − m)
#   over all numbers of the row, with the *final* m.
#
# Some numbers are minus infinity: keys that may not be seen. A whole block of a row may be, even the first one, but
# never all blocks. Others lie in the thousands, on either side of zero: their exponentials are infinity and 0.
# ```python
# blocks = iter([torch.tensor([[0.0], [2.0]]), torch.tensor([[math.log(4.0), 0.0], [-math.inf, -math.inf]])])
# online_softmax_stats(blocks)
# # (tensor([1.3863, 2.0000]), tensor([1.5000, 1.0000]))       row 0: ¼ + 1 + ¼; row 1: only its first number counts
# ```
#
# <details><summary>Hint 1</summary>
#
# You hold the sum of exp(x − 3) over a hundred numbers, and the next number is 5. What must become of your sum before
# you may add to it, and can you do it without seeing the hundred again?
#
# </details>
# <details><summary>Hint 2</summary>
#
# exp(x − new) = exp(x − old) · exp(old − new), the same factor for every x that you have seen (section 5). So for each
# block: find the new maximum, rescale the old sum with it, add the block's own exponentials. For the beginning you need
# a maximum that is smaller than anything, and yet minus infinity is dangerous: what is minus infinity less minus
# infinity?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: someone reads lengths from a tape that is erased behind her. She wants their sum *as
# a multiple of the longest*: each time a longer one comes, she changes her unit.
# ```python
# unit, total = 1e-9, 0.0                             # a unit that is shorter than anything on the tape
# for piece in (torch.tensor([3.0, 6.0]), torch.tensor([2.0]), torch.tensor([12.0, 3.0])):
#     longer = max(unit, piece.max().item())
#     total = total * unit / longer                   # what she has so far, in the new unit …
#     total += (piece / longer).sum().item()          # … and what is on this piece
#     unit = longer
# unit, total                                         # (12.0, 2.1666…): 26 / 12
# ```
#
# </details>

# %%
def online_softmax_stats(blocks):
    """Tensors (R, n), one at a time → m (R,), and the sum of exp(x - m) of each row (R,)."""
    ### BEGIN SOLUTION
    largest, total = torch.tensor(-1e30), torch.tensor(0.0)
    for block in blocks:
        new = torch.maximum(largest, block.amax(dim=1))
        total = total * torch.exp(largest - new) + torch.exp(block - new[:, None]).sum(dim=1)
        largest = new
    return largest, total
    ### END SOLUTION

# %%
check("10.online_softmax_stats", online_softmax_stats)

# %% [markdown] tags=["solution"]
# **Why it works.** After each block `total` is the sum of exp(x − largest) over all that has come. When the maximum
# grows, every term shrinks by the same factor, so that one multiplication corrects all of them. The beginning is a
# number far below any score, but finite: from minus infinity a block without visible keys would make −∞ − (−∞), which
# is NaN, and a NaN never leaves a running sum.
#
# **The most common wrong road** is to move the maximum first, `largest = new`, and to rescale afterwards: the factor is
# then always 1. On data whose largest number comes in the first block nobody notices. Next comes a sum in each block's
# own unit, which adds inches to metres.
#
# All of 100,000 numbers in blocks of 64, against torch on the whole row:

# %% tags=["solution"]
row = 2 * torch.randn(1, 100_000, generator=torch.Generator().manual_seed(3))
largest, total = online_softmax_stats(row.split(64, dim=1))
torch.testing.assert_close(largest + total.log(), row.logsumexp(dim=1))
print(f"maximum {largest.item():.1f}, sum {total.item():.3f}")
print(f"held at a time: 64 of {row.shape[1]:,} numbers")

# %% [markdown]
# ## 10.5 merge_attention: parts of the keys, seen apart
#
# *write · difficulty 3/5 · 15 min · further · idea: output, maximum and sum are all that another part must know*
#
# A very long text is cut into pieces; each worker attends with the same T queries to the keys of its own piece, without
# knowing of the others. Each sends back three tensors. Write `merge_attention(parts)`, which makes of them what
# attention over all keys would have given.
#
# `parts` is a list of at least one tuple (output, largest, total), all float32. For the scores s of a query with the
# keys of its piece:
#
# - `output` (…, T, D): the values of the piece, mixed by the piece's own softmax: its weights add up to one
# - `largest` (…, T): the maximum m of s
# - `total` (…, T): the sum of exp(s − m)
# - a query that may see no key of a piece has there `largest` minus infinity, `total` 0 and `output` 0. In at least one
#   piece it sees a key.
# - result (…, T, D): attention over all keys. The pieces come in no particular order.
#
# Scores may be hundreds apart, between pieces and between queries. Leave the parts as they were.
# ```python
# one = (torch.tensor([[6.0]]), torch.tensor([0.0]), torch.tensor([1.0]))
# two = (torch.tensor([[3.0]]), torch.tensor([math.log(2.0)]), torch.tensor([1.0]))       # its key weighs twice as much
# merge_attention([one, two])            # tensor([[4.]]): (6 + 2 · 3) / 3
# ```
#
# <details><summary>Hint 1</summary>
#
# Piece a holds 1 key and piece b holds 99, and all scores are equal. With which weights do the two outputs enter, and
# which of the three tensors tells you?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The softmax over all keys divides by one sum, that of all pieces together; a piece has divided by its own (section 6).
# So each output has to be given back the weight of its piece: its sum, brought to a maximum that all pieces share, as
# section 5 does from block to block. Then divide by what the weights add up to. Every query has its own maximum.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: three shops report the mean price of what they sold, and how much: a count, and the
# unit that they counted in.
# ```python
# mean = torch.tensor([5.0, 8.0, 6.0])
# count, unit = torch.tensor([3.0, 2.0, 40.0]), torch.tensor([10.0, 10.0, 1.0])       # 3 tens, 2 tens, 40 ones
# sold = count * (unit / unit.max())                  # tensor([3., 2., 4.]): all in the largest unit
# (mean * sold).sum() / sold.sum()                    # tensor(6.1111)
# ```
#
# </details>

# %%
def merge_attention(parts):
    """Tuples (output (…, T, D), largest (…, T), total (…, T)) → (…, T, D): attention over all."""
    ### BEGIN SOLUTION
    outputs, maxima, sums = (torch.stack(tensors) for tensors in zip(*parts))
    weights = sums * torch.exp(maxima - maxima.amax(dim=0))
    weights = weights / weights.sum(dim=0)
    return (weights[..., None] * outputs).sum(dim=0)
    ### END SOLUTION

# %%
check("10.merge_attention", merge_attention)

# %% [markdown] tags=["solution"]
# **Why it works.** `sums * exp(maxima - common)` is the sum of a piece's exponentials, measured from a maximum that all
# share: the piece's weight among the others. Its output, times this weight, is the piece's sum of exp(s) · v again, and
# such sums may be added. A piece without visible keys has exp(−∞) = 0 and drops out by itself.
#
# **The most common wrong road** is the mean of the outputs, or a mean by the sums alone: right while every piece has
# the same maximum, and silently wrong else. The second is a single maximum for all queries. It cancels in theory; in a
# float, a query whose scores lie hundreds below it gets exp(−hundreds) = 0 everywhere, and 0 / 0.
#
# Attention over four pieces, merged, against all keys at once:

# %% tags=["solution"]
draw = torch.Generator().manual_seed(4)
q, k, v = (torch.randn(2, length, 8, generator=draw) for length in (5, 60, 60))
parts = []
for keys, values in zip(k.split(17, dim=1), v.split(17, dim=1)):
    scores = q @ keys.mT / math.sqrt(8)
    largest = scores.amax(dim=-1)
    total = torch.exp(scores - largest[..., None]).sum(dim=-1)
    parts.append((torch.softmax(scores, dim=-1) @ values, largest, total))
torch.testing.assert_close(merge_attention(parts), F.scaled_dot_product_attention(q, k, v))
print(f"{len(parts)} pieces merged: equal to attention over all {k.shape[1]} keys")

# %% [markdown] tags=["solution"]
# Nothing but these three tensors has to travel. Ring attention (Liu et al. 2023, arXiv 2310.01889) sends keys and
# values around a circle of GPUs and merges in this way at each; the tiles of section 6 do it inside one processor.

# %% [markdown]
# ## 10.6 break_even: is compiling worth the wait?
#
# *measure · difficulty 2/5 · 10 min · further · idea: a fixed price is paid back in small steps, or never*
#
# You have run the same training twice, as it is and compiled, and have written down how long each step took. The first
# step of each run is slow: it warms up, and the compiled one's also compiles. After how many steps has the compiled run
# caught up?
#
# Write `break_even(eager, compiled)`:
#
# - `eager`, `compiled`: lists of whole numbers, the milliseconds of step 1, step 2, …; at least two of each, and the
#   lists may differ in length. The first compiled step takes longer than the first eager one.
# - take the **median** of all steps but the first for what every later step takes, within the list as well as beyond
#   its end (the median of an even number of values lies halfway between the middle two)
# - result: the smallest whole number of steps after which the compiled run has taken no longer than the eager one, the
#   first step included; `math.inf` if that never happens
#
# ```python
# break_even([90, 50, 50, 50], [2000, 30, 30])      # 97: 2000 + 96 · 30 = 4880, and 90 + 96 · 50 = 4890
# break_even([90, 50, 50, 50], [2000, 50, 50])      # inf
# ```
#
# <details><summary>Hint 1</summary>
#
# After the first step the compiled run lies behind. By how much, and by how much does it catch up in each step that
# follows?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Section 7 weighs the seconds of compiling against the gain of a step. The price is what the first step costs *more*
# than the other's first step, and the gain is a difference of two typical steps, which section 1 estimates by a median.
# Their quotient counts the steps *after* the first, and has to be rounded to a whole number: in which direction? If the
# gain is not above zero, no number of steps helps.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a rail card costs 60 coins and each journey is then 7 coins cheaper, but the first
# journey is free without the card. On which journey have you got your money back?
# ```python
# def journeys(card, first, saved):
#     if saved <= 0:
#         return math.inf
#     return 1 + math.ceil((card + first) / saved)       # the first journey, and as many more as it takes
#
# journeys(60, 20, 7), journeys(60, 24, 7)               # (13, 13): 80 / 7 is 11.4…, 84 / 7 is 12
# ```
#
# </details>

# %%
def break_even(eager, compiled):
    """Milliseconds of each step of two runs → steps until the second has caught up, or inf."""
    ### BEGIN SOLUTION
    behind = compiled[0] - eager[0]
    gain = statistics.median(eager[1:]) - statistics.median(compiled[1:])
    if gain <= 0:
        return math.inf
    return 1 + math.ceil(behind / gain)
    ### END SOLUTION

# %%
check("10.break_even", break_even)

# %% [markdown] tags=["solution"]
# **Why it works.** After n steps the compiled run lies `behind - (n - 1) * gain` milliseconds behind. The smallest n
# for which this is not above zero is one more than `behind / gain`, rounded up.
#
# **The most common wrong road** is the mean over all steps with the first among them: the compile time then spoils the
# very number that is to pay it back, and the answer is "never" for any short measurement. The second is the gain in
# per cent. Whether compiling pays depends on how long you go on, and a percentage does not know that.
#
# The same gain of a tenth, for steps of different size and thirty seconds of compiling:

# %% tags=["solution"]
for step in (20, 200, 2000):
    eager, compiled = [2 * step, *[step] * 5], [30_000 + 2 * step, *[step * 9 // 10] * 5]
    steps = break_even(eager, compiled)
    minutes = steps * step / 60_000
    print(f"steps of {step:4} ms: even after {steps:6,} steps, {minutes:.1f} minutes of training")

# %% [markdown] tags=["solution"]
# In minutes it is always the same: a gain of a tenth pays thirty seconds back in about five minutes. A test of fifty
# steps should run uncompiled, a night of training compiled.

# %% [markdown]
# ## 10.7 fair_times: put the lines in order
#
# *order · difficulty 2/5 · 10 min · further · idea: warm up, take turns, wait for the end, and let no outlier speak*
#
# The lines of a fair comparison of several functions, shuffled. **Two lines are there twice, once right and once
# wrong**: delete the wrong ones, and put the rest in order. The right ones stay as they are: no line needs another
# indentation, and the two loops keep their heads. (In Jupyter, Ctrl+Shift+Up and Ctrl+Shift+Down, or Alt+Up and
# Alt+Down, move a line.)
#
# The machine is a difficult one, as all are. The **first call** of a function costs extra. It **grows warm** and so
# slower, the longer it works. Every now and then **something else** takes its time. And as on a GPU, a call only hands
# the work over and **returns at once**: the work is done when `wait()` returns.
#
# - `functions`: a dictionary, name → a function without arguments
# - `tries`: how often each is timed, a whole number of at least 1
# - `clock()`: the time, in microseconds; `wait()`: returns when all work that was handed over is done
# - result: a dictionary, name → the median of its times. Each function is called once before any is timed; then they
#   take turns: all of them in their order, and again from the first.
#
# An example: with functions "a" of 5 and "b" of 9 microseconds, on a machine that does none of this, any number of
# tries gives `{"a": 5, "b": 9}`.
#
# <details><summary>Hint 1</summary>
#
# `functions[name]()` returns before the work is done. Between which two readings of the clock must the end of the work
# lie, and what if work from before is still going on when you read it first?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Section 1: a call that is timed must begin with nothing left to do and end with everything done. Warming up is work
# too, so wait for it as well. If one function gets all the cool minutes and the other all the warm ones, you have
# measured the weather: see what each of the two schedules looks like for two names and three tries. And ask which of
# the two last lines one interruption can move.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two recipes, each tried three times by the same oven, which grows hotter all day;
# the dough is put in, and the bell rings when it is done.
# ```python
# recipes, days = ["rye", "wheat"], 3
# [recipe for _ in range(days) for recipe in recipes]      # rye, wheat, rye, wheat, …: both see every hour of the day
# sorted(recipes * days)                                   # rye, rye, rye, wheat, …: wheat gets the hot oven
# statistics.median([31, 30, 55]), statistics.mean([31, 30, 55])      # (31, 38.66…): someone opened the door once
# ```
#
# </details>

# %%
def fair_times(functions, tries, clock, wait):
    """{name: function}, tries, clock() → µs, wait() → {name: median of its times in µs}."""
    ### BEGIN SOLUTION
    times = {name: [] for name in functions}
    for function in functions.values():
        function()
    wait()
    schedule = list(functions) * tries
    for name in schedule:
        start = clock()
        functions[name]()
        wait()
        times[name].append(clock() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}
    ### STUB
    # wait()
    # return {name: sum(taken) / tries for name, taken in times.items()}
    # schedule = [name for name in functions for _ in range(tries)]
    # for name in schedule:
    #     times[name].append(clock() - start)
    #     wait()
    #     start = clock()
    #     functions[name]()
    # return {name: statistics.median(taken) for name, taken in times.items()}
    # for function in functions.values():
    #     function()
    # schedule = list(functions) * tries
    # times = {name: [] for name in functions}
    ### END SOLUTION

# %%
check("10.fair_times", fair_times)

# %% [markdown] tags=["solution"]
# **Why it works.** Four lines answer the four difficulties. The extra cost falls on the calls that are not timed; the
# first `wait()` sees to it that none of their work is left. `list(functions) * tries` takes turns, so that the warmth
# meets all alike. The second `wait()` stands between the call and the second reading. The median does not care how far
# off an outlier is.
#
# **The most common wrong road** is the `wait()` after the clock has been read. The time of *handing over* is then
# measured, a few microseconds, equal for all functions: "both are equally fast". It is the classic mistake of one's
# first GPU benchmark. On a CPU nothing looks wrong, because there a call returns when it is done.
#
# The two schedules, for a machine on which each call takes 1 µs longer than the one before, and two functions that are
# equally fast:

# %% tags=["solution"]
def machine():
    """A clock, and a function that takes 20 µs at first and 1 µs more each time."""
    state = {"now": 0, "takes": 20}

    def work():
        state["now"] += state["takes"]
        state["takes"] += 1

    return (lambda: state["now"]), work


clock, work = machine()
turns = fair_times({"a": work, "b": work}, 9, clock, lambda: None)
clock, work = machine()
blocks = [fair_times({name: work}, 9, clock, lambda: None)[name] for name in "ab"]
print(f"b beside a, taking turns: {turns['b'] / turns['a'] - 1:+.0%}")
print(f"b beside a, one after the other: {blocks[1] / blocks[0] - 1:+.0%}")

# %% [markdown]
# ## 10.8 utilisation: better than the peak
#
# *fix · difficulty 3/5 · 15 min · further · idea: MFU counts what the model needs, not all that the machine does*
#
# A team reports how much of its machines it uses. Three things are odd. With 8 GPUs it is 240 per cent. When they
# switched activation checkpointing on, the run became slower, and the figure rose. And a model with a larger
# vocabulary, otherwise the same and as fast, is said to use the machine better, although looking up a row of a table is
# no arithmetic.
#
# **Three things are wrong**; each oddity points to one of them. Mend them. The convention is torchtitan's in section 9,
# which counts 6 FLOPs for each parameter that multiplies, and 12 · layers · width · context for attention, a token.
#
# `utilisation(model, tokens_per_second, peak, gpus, recomputed)`:
#
# - `model`: a dictionary with the whole numbers `parameters` (all of them), `embedding` (those of the input table,
#   which is only looked up; they are among `parameters`; 0 if the table is also the head), `layers`, `width`, `context`
# - `tokens_per_second`: of the whole run, all GPUs together
# - `peak`: FLOPs a second of **one** GPU; `gpus`: how many there are
# - `recomputed`: from 0 to 1, how much of the forward pass is computed a second time in the backward pass, to save
#   memory
# - result: a pair (mfu, hfu), shares of the peak. **MFU** counts what the model needs, computed once. **HFU** counts
#   what the hardware does, with what is recomputed. The forward pass is one third of the 6 and of the 12, the backward
#   pass two thirds.
#
# ```python
# model = {"parameters": 110, "embedding": 10, "layers": 2, "width": 5, "context": 4}       # 6 · 100 + 480 a token
# utilisation(model, 50, 30_000, 3, 0.0)       # (0.6, 0.6): 50 · 1080 of 90,000
# utilisation(model, 50, 30_000, 3, 1.0)       # (0.6, 0.8)
# ```
#
# <details><summary>Hint 1</summary>
#
# Which of the five arguments has the function never read, and in which of the two numbers should `recomputed` leave no
# trace?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A utilisation is what was done divided by what could have been done; both sides must be about the same machines. The M
# in MFU is for *model*: the same tokens a second are the same MFU, however they were computed (section 9). And a
# parameter counts 6 FLOPs because it multiplies, and is multiplied twice on the way back; a table that is looked up
# does none of this.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a post office of several counters, each able to stamp 40 letters an hour. Some
# letters fall down and have to be stamped again; leaflets among the mail need no stamp.
# ```python
# items, leaflets, counters, again = 130, 10, 4, 0.25
# letters = items - leaflets
# able = counters * 40
# letters / able                       # 0.75: what the customers got
# letters * (1 + again) / able         # 0.9375: how busy the clerks were
# ```
#
# </details>

# %%
def utilisation(model, tokens_per_second, peak, gpus, recomputed):
    """Model, tokens/s of the run, FLOP/s of a GPU, GPUs, share recomputed → (mfu, hfu)."""
    ### BEGIN SOLUTION
    multiplying = model["parameters"] - model["embedding"]
    flops = 6 * multiplying + 12 * model["layers"] * model["width"] * model["context"]
    mfu = tokens_per_second * flops / (gpus * peak)
    hfu = mfu * (1 + recomputed / 3)
    return mfu, hfu
    ### STUB
    # multiplying = model["parameters"]
    # flops = 6 * multiplying + 12 * model["layers"] * model["width"] * model["context"]
    # flops = flops * (1 + recomputed / 3)
    # mfu = tokens_per_second * flops / peak
    # hfu = mfu
    # return mfu, hfu
    ### END SOLUTION

# %%
check("10.utilisation", utilisation)

# %% [markdown] tags=["solution"]
# **Why it works.** The model's need is a property of the model: parameters that multiply, and attention. What can be
# done is all GPUs' peak. Recomputing adds a share of the forward pass, which is one third of the whole, and belongs to
# HFU alone. A run that recomputes all of it has an HFU of 4/3 of its MFU (Chowdhery et al. 2022, appendix B, introduced
# the two words to tell them apart).
#
# **The most common wrong road** is to mend the figure and not the idea: to divide by 4/3 whenever checkpointing is on
# makes MFU depend on it once more. MFU never reads `recomputed`.
#
# Llama 3 8B at 5,762 tokens a second on each H100 (the lower row of the table in torchtitan's
# README; 2024) is called 33 per cent there. What is it under other conventions?

# %% tags=["solution"]
llama = {"parameters": 8_030_261_248, "embedding": 128_256 * 4096,
         "layers": 32, "width": 4096, "context": 8192}  # fmt: skip
print(f"as torchtitan counts: {utilisation(llama, 5762, 989e12, 1, 0.0)[0]:.1%}")
all_counted = utilisation(llama | {"embedding": 0}, 5762, 989e12, 1, 0.0)[0]
no_attention = utilisation(llama | {"layers": 0, "embedding": 0}, 5762, 989e12, 1, 0.0)[0]
print(f"with the input table: {all_counted:.1%}; 6 N alone: {no_attention:.1%}")
print(f"HFU, if all of it were recomputed: {utilisation(llama, 5762, 989e12, 1, 1.0)[1]:.1%}")

# %% [markdown] tags=["solution"]
# One run, four figures. An MFU without its convention says little, and a comparison of two needs the same one for both.

# %% [markdown]
# ## 10.9 chunked_loss: a vocabulary that does not fit
#
# *write · difficulty 4/5 · 30 min · further · unaided · idea: what is summed in pieces need never exist as a whole*
#
# **Assistant off: no AI, no hints at first, only the lesson and your own experiments.** This is the test of whether the
# trick of sections 5 and 6 is now yours.
#
# The largest tensor of many a training run is not in attention: it is the logits. 16,384 tokens and a vocabulary of
# 128,000 make 8 GB in float32, for one number, the loss. Compute it without ever holding more than a few columns of
# them.
#
# Write `chunked_loss(x, w, targets, size)`:
#
# - `x` (N, C) float32: what comes out of the last norm, one row a token
# - `w` (V, C) float32: the head; the logits are `x @ w.T`, of shape (N, V)
# - `targets` (N,) int64: the token that came, from 0 to V − 1; or −100, which means that this row has no answer and
#   does not count. At least one row counts.
# - `size`: how many tokens of the vocabulary you may look at together, at least 1. It need not divide V, and may be
#   larger than V.
# - result: a tensor of shape (): the mean cross-entropy in nats over the rows that count, as
#   `F.cross_entropy(x @ w.T, targets)` gives it. You may use whatever you like, as long as it fits.
#
# **The memory is watched.** A few tensors of (N, size) at a time have room, and some of (N, C) and (size, C). All
# logits together have not, whether in one tensor or in many: then you see a MemoryError. You may keep one number a row
# of each piece, unless `size` is 1: then these are as many as all logits. A table of (N, N) has no room where N is
# large. Gradients are not needed. Logits may be in the thousands, on either side of zero. Leave the arguments as they
# were.
# ```python
# x, w = torch.tensor([[1.0], [0.0], [2.0]]), torch.tensor([[0.0], [math.log(3.0)], [0.0]])
# chunked_loss(x, w, torch.tensor([1, 2, -100]), 2)       # tensor(0.8047): row 0 gives 3 of 5, row 1 one of 3
# ```
#
# <details><summary>Hint 1</summary>
#
# The loss of a row is a difference of two numbers. One of them needs a single logit; the other needs all of them. Which
# of the two do you know how to compute in pieces?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The cross-entropy is logsumexp(logits) − logit of the target. The first term is the running maximum and sum of section
# 5 with the vocabulary in place of the keys. The second lies in exactly one of the pieces, or can be had without any of
# them: which row of `w` does it need? Rows without an answer need a harmless target while you compute, and must be gone
# from both sum and count at the end.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: how far is each of some points from the nearest of very many shops, and how much
# nearer than the shop that each likes best? The table of all distances is never made.
# ```python
# points, shops = torch.randn(4, 2), torch.randn(1000, 2)
# liked = torch.tensor([17, 999, 0, 254])
# nearest = torch.full((4,), math.inf)
# for some in shops.split(50):                                        # (50, 2): a view, nothing is copied
#     distances = torch.cdist(points, some)                           # (4, 50), gone in the next round
#     nearest = torch.minimum(nearest, distances.amin(dim=1))
# (points - shops[liked]).norm(dim=1) - nearest                       # (4,): the one column that each point needs
# ```
#
# </details>

# %%
def chunked_loss(x, w, targets, size):
    """x (N, C), w (V, C), targets (N,), columns at a time → (): mean cross-entropy in nats."""
    ### BEGIN SOLUTION
    counts = targets != -100
    x, targets = x[counts], targets[counts]
    largest, total = torch.tensor(-math.inf), torch.tensor(0.0)
    for rows in w.split(size):
        logits = x @ rows.T
        new = torch.maximum(largest, logits.amax(dim=1))
        total = total * torch.exp(largest - new) + torch.exp(logits - new[:, None]).sum(dim=1)
        largest = new
    picked = (x * w[targets]).sum(dim=1)
    return (largest + total.log() - picked).mean()
    ### END SOLUTION

# %%
check("10.chunked_loss", chunked_loss)

# %% [markdown] tags=["solution"]
# **Why it works.** Of a row's logits the loss needs two things: how large they are together, and one of them. The first
# is a running sum, which exercise 10.4 rescales from block to block. (Here minus infinity is a safe beginning, because
# no logit is: the first maximum is finite.) The second is one dot product with row `targets` of `w`. Rows that do not
# count are dropped before anything is computed, so that mean and sum cannot disagree about them.
#
# **The most common wrong road** is the mean of the chunks' own losses. A chunk without the target has no loss, and the
# chunk with it sees too small a competition: the figure comes out too good, and the better the smaller the chunks. The
# next is to pick the target's logit with `targets - start` and to forget that for most chunks this number lies outside.
#
# **Beyond.** Training needs the backward pass too, and there the same trick works once more: with the two numbers of
# each row kept, the softmax of any chunk can be made again (Wijmans et al. 2024, "Cut Your Losses", arXiv 2411.09009).
# This is what section 6 does with attention's weights. What does it cost?

# %% tags=["solution"]
draw = torch.Generator().manual_seed(6)
x, w = torch.randn(256, 64, generator=draw), 0.1 * torch.randn(8192, 64, generator=draw)
targets = torch.randint(8192, (256,), generator=draw)
whole = F.cross_entropy(x @ w.T, targets)
for size in (256, 2048, 8192):
    loss = chunked_loss(x, w, targets, size)
    torch.testing.assert_close(loss, whole)
    print(f"{size:5} columns at a time: {256 * size / 2**18:5.2f} MiB of logits, loss {loss:.3f}")
print(f"16,384 tokens and a vocabulary of 128,000: {16_384 * 128_000 * 4 / 1e9:.1f} GB")
