# %% [markdown]
# # 21 · Data parallel: exercises
#
# Nine exercises; the four marked *core* are enough to go on. Write your function, run the cell below it, and read what
# `check` says: it tells you which idea produced your result. Being stuck on one never blocks the next. Of the three
# hints the first is a question; try again before you open another.
#
# No exercise starts a process. As in the lesson, *a list per rank* stands for the ranks: element r is what rank r has.
# n is how many ranks there are.

# %% tags=["setup"]
from collections import Counter

import torch

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 21.1 busiest_rank: everybody sends to rank 0
#
# *predict · difficulty 1/5 · 5 min · core · try first · idea: whoever collects from all is the bottleneck of all*
#
# **Try this before you read section 1.** n processes train one model together; they are numbered 0 to n − 1, and the
# number of a process is its *rank*. Each has computed a gradient of `size` bytes, and every one of them needs the
# **sum** of all. The simplest way: all others send their gradient to rank 0. It adds them up and sends the sum to each
# of the others, one message for each.
#
# **Predict first**, in your head: 8 ranks, gradients of 1 GB. How many GB come in through rank 0's wire, and how many
# go out: 1, 7 or 8?
#
# Then write `busiest_rank(n, size)`: the number of ranks, at least 1, and the bytes of one gradient → `[received,
# sent]`, the bytes that rank 0 receives from others and sends to others in one step.
# ```python
# busiest_rank(2, 100)               # [100, 100]
# busiest_rank(4, 6)                 # [18, 18]
# ```
#
# <details><summary>Hint 1</summary>
#
# Which ranks send something to rank 0? Does rank 0 have to send itself anything?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Count messages first, and multiply by the bytes of one message after that (section 3). A sum of gradients is one
# gradient: it has as many numbers as each of its terms, and as many bytes.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a teacher collects a page from each of 24 pupils and returns a page of marks to
# each.
# ```python
# collected = 24 * 1                 # pages; her own notes lie on her desk already
# returned = 24 * 1                  # the page of marks is one page, although it says something of 24 others
# ```
#
# </details>

# %%
def busiest_rank(n, size):
    """n ranks with `size` bytes each → [bytes that rank 0 receives, bytes that it sends]."""
    ### BEGIN SOLUTION
    messages = n - 1
    return [messages * size, messages * size]
    ### END SOLUTION

# %%
check("21.busiest_rank", busiest_rank)

# %% [markdown] tags=["solution"]
# **The prediction.** 7 in each direction: all but its own.
#
# **Why it works.** n − 1 messages come in and n − 1 go out, each of them a whole gradient. Every other rank sends one
# and receives one, and then waits for rank 0, whose wire gets busier with every rank that joins.
#
# **The most common wrong roads.** `n * size` counts a message from rank 0 to itself. One message in the second half,
# "it sends the sum to all", forgets that a wire leads to one place: each of the others is sent its own copy. And a sum
# of n gradients is not n times as large as one.
#
# What that means for 1 GB over a wire of 50 GB/s in each direction, while all others wait:

# %% tags=["solution"]
for n in (2, 8, 64, 512):
    received, sent = busiest_rank(n, 10**9)
    print(f"{n:3} ranks: {(received + sent) / 50e9:6.2f} s, one after the other")

# %% [markdown]
# ## 21.2 global_loss: the loss that one device would have logged
#
# *fill · difficulty 2/5 · 8 min · core · idea: means of unequal parts do not average; sums and counts add up*
#
# Each rank knows the *mean* loss over the targets of its own part of the batch, and how many targets counted there
# (padding does not count). You want one number for the log: the mean loss over all targets of the batch.
#
# - `means`: a list of floats, one per rank. A rank without any target that counts has divided by zero: its mean is NaN.
# - `counts`: a list of whole numbers, one per rank, 0 or more; at least one is not 0
# - result: a float
#
# Two lines are missing: replace the dots.
# ```python
# global_loss([2.0, 4.0], [30, 10])              # 2.5: (60 + 40) / 40
# global_loss([2.0, float("nan")], [30, 0])      # 2.0
# ```
#
# <details><summary>Hint 1</summary>
#
# In the first example, what is the *sum* of the losses of rank 0's targets? And of rank 1's?
#
# </details>
# <details><summary>Hint 2</summary>
#
# What can be added up over ranks is a sum over targets, and a count of targets (section 1); divide once, at the end.
# And what is NaN times 0?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: the mean price of a litre, bought at three pumps. At the third nobody has filled up.
# ```python
# price, litres = [1.5, 2.0, float("nan")], [30, 10, 0]
# paid = sum(p * l for p, l in zip(price, litres) if l > 0)      # 65.0
# paid / sum(litres)                                             # 1.625, and not 1.75
# ```
#
# </details>

# %%
def global_loss(means, counts):
    """The mean loss of each rank, and its number of targets → the mean loss over all targets."""
    ### BEGIN SOLUTION
    total = sum(mean * count for mean, count in zip(means, counts) if count > 0)
    return total / sum(counts)
    ### STUB
    # total = ...  # the sum of the losses of all targets of all ranks
    # return ...
    ### END SOLUTION

# %%
check("21.global_loss", global_loss)

# %% [markdown] tags=["solution"]
# **Why it works.** mean times count is the sum again. Sums and counts are what an all-reduce can add up: two numbers a
# step. The rank with no targets has nothing to add, and its NaN must not come near the sum, for NaN · 0 is NaN.
#
# **The most common wrong road** is `sum(means) / len(means)`, the mean of means, which is what an all-reduce with
# "average" gives. It is right whenever the parts are equally long, so it survives every test with full batches, and
# goes wrong on the last, shorter batch and on padded text. Replacing NaN by 0 in it makes things worse: an empty rank
# then pulls the loss down.

# %% tags=["solution"]
means, counts = [5.9, 2.1, 3.0], [12, 400, 400]
print(f"all targets alike: {global_loss(means, counts):.3f}   "
      f"mean of the ranks' means: {sum(means) / len(means):.3f}")

# %% [markdown]
# ## 21.3 who_hangs: a hang and its cause
#
# *measure · difficulty 3/5 · 12 min · further · idea: collectives meet by their place in the program, not by name*
#
# A run hangs. You have written down, for each rank, the collective calls that its program makes, in order. Where does
# the run stop, and whose program is to blame?
#
# Ranks meet call by call: the first call of every rank is one collective, then the second, and so on. A call is a tuple
# (name, how many numbers), and two calls are the same if both agree. A rank whose list has ended makes the call `None`
# from then on.
#
# Write `who_hangs(calls)`: a list per rank of lists of calls →
#
# - `None`, if all ranks make the same calls to the end
# - otherwise `[index, ranks]`: the first index at which not all make the same call, and the sorted list of the ranks
#   whose call is not **the right one**. The right one is the call that most ranks make there; of several that are made
#   by equally many, the one that the lowest rank makes.
# ```python
# a, b, c = ("all_reduce", 64), ("barrier", 0), ("all_reduce", 32)
# who_hangs([[a, b], [a, b], [a, b]])      # None
# who_hangs([[a, b], [a, c], [a, b]])      # [1, [1]]: where the others make a barrier, rank 1 makes an all-reduce
# who_hangs([[a, b], [b], [a, b]])         # [0, [1]]: rank 1 has left out its first call
# who_hangs([[a], [a, b], [a, b]])         # [1, [0]]: rank 0 has ended, and the others wait for it
# who_hangs([[a], [a, b], [a]])            # [1, [1]]: here most have ended, and rank 1 waits for them
# ```
#
# <details><summary>Hint 1</summary>
#
# In the third example both kinds of call that rank 1 should make are known to everyone. Why does the run stop at index
# 0 and not at index 1?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A collective has no address: the k-th call of one rank meets the k-th call of every other (section 2), the same or
# not. So walk along the index, far enough for the *longest* list, and look at all ranks at once. After the first
# difference nothing more happens.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: three clocks note what they strike; which differ, and when first?
# ```python
# strikes = [[1, 2, 3, 4], [1, 2, 4], [1, 2, 3, 4]]
# for i in range(max(map(len, strikes))):
#     now = [s[i] if i < len(s) else None for s in strikes]
#     usual, how_many = Counter(now).most_common(1)[0]           # of equals, the one met first
#     if how_many < len(now):
#         print(i, usual, [k for k, strike in enumerate(now) if strike != usual])      # 2 3 [1]
#         break
# ```
#
# </details>

# %%
def who_hangs(calls):
    """A list per rank of calls (name, numbers) → None, or [index, ranks that are to blame]."""
    ### BEGIN SOLUTION
    for i in range(max(map(len, calls), default=0)):
        now = [c[i] if i < len(c) else None for c in calls]
        right = Counter(now).most_common(1)[0][0]  # of equals the one met first: the lowest rank's
        blamed = [rank for rank, call in enumerate(now) if call != right]
        if blamed:
            return [i, blamed]
    return None
    ### END SOLUTION

# %%
check("21.who_hangs", who_hangs)

# %% [markdown] tags=["solution"]
# **Why it works.** `max` walks to the end of the longest list; `None` stands for a program that is over, and is
# compared like any other call. `most_common` keeps the order in which it met equals, so a tie goes to the lowest rank.
#
# **The most common wrong roads.** `zip(*calls)` stops at the shortest list, and so overlooks the very rank that has
# ended early, the commonest hang of all: one rank has run out of data. Comparing *sets* of calls misses a swap of two.
# Comparing names misses sizes, and there the run need not even hang: it may return numbers that are nonsense.
#
# Blame is a vote and no proof: if seven ranks of eight skip a call that they should make, the vote names the eighth. On
# GPUs PyTorch's flight recorder writes such lists; reading them is this exercise.

# %% tags=["solution"]
step = [("all_reduce", 1024), ("all_reduce", 512), ("all_reduce", 1)]
logs = [2 * step, step + step[1:], 2 * step]  # rank 1 met a bad batch and skipped a bucket
print(who_hangs(logs))

# %% [markdown]
# ## 21.4 ring_pieces: the schedule of the ring
#
# *write · difficulty 3/5 · 15 min · core · idea: what I receive is what my left neighbour sends, all modulo n*
#
# In the ring of section 3 every rank runs the same program. Write its schedule, as data, for one rank.
#
# `ring_pieces(n, rank)`: n ≥ 1 ranks, the vector cut into n pieces → a list of 2 (n − 1) rounds, each a tuple `(send,
# receive, adds)`:
#
# - `send`: the number (0 to n − 1) of the piece that this rank sends to its right neighbour, rank + 1 (the last rank's
#   right neighbour is rank 0)
# - `receive`: the number of the piece that it receives from its left neighbour in the same round
# - `adds`: True if it adds what arrives to its own piece of that number, False if it overwrites it
#
# The first n − 1 rounds add, the others overwrite. In the first round rank r sends piece r. From then on a rank passes
# on, in each round, the piece that it received in the round before. In the end all ranks have the sum, in all pieces.
# ```python
# ring_pieces(2, 0)      # [(0, 1, True), (1, 0, False)]
# ring_pieces(3, 1)      # [(1, 0, True), (0, 2, True), (2, 1, False), (1, 0, False)]
# ```
#
# <details><summary>Hint 1</summary>
#
# With n = 3, write down what ranks 0, 1 and 2 send in the first round. What does each of them receive, and what does it
# send next?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Two rules give everything: what I receive is what my left neighbour sends, and what I send next is what I have just
# received (section 3). So from round to round each number goes down by one, modulo n, and that does not change between
# the two stages: the piece that has just become complete is the first one to be copied.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: five people at a round table; each hands on the dish that came from the left.
# ```python
# people, me = 5, 1
# [(me - meal) % people for meal in range(7)]            # [1, 0, 4, 3, 2, 1, 0]: the dishes that I hand on
# [(me - 1 - meal) % people for meal in range(7)]        # [0, 4, 3, 2, 1, 0, 4]: those that come to me
# ```
#
# </details>

# %%
def ring_pieces(n, rank):
    """n ranks, the number of one → its 2 (n - 1) rounds (piece sent, piece received, adds)."""
    ### BEGIN SOLUTION
    rounds = []
    for first, adds in ((0, True), (1, False)):
        for step in range(n - 1):
            send = (rank + first - step) % n
            receive = (rank + first - step - 1) % n
            rounds.append((send, receive, adds))
    return rounds
    ### END SOLUTION

# %%
check("21.ring_pieces", ring_pieces)

# %% [markdown] tags=["solution"]
# **Why it works.** After n − 1 rounds of adding, rank r has received piece r + 1 last (that is r − (n − 1), modulo n):
# n ranks have added to it, so it is complete, and it is where copying begins. Without the stages in the way:
# `[((rank - k) % n, (rank - k - 1) % n, k < n - 1) for k in range(2 * n - 2)]`.
#
# **The most common wrong roads.** Copying that begins again with piece r sends a piece that has a part of the sum only,
# and all ranks end with different numbers. `rank + step` sends against the way the pieces travel. And n rounds a stage
# add a rank's own numbers a second time.
#
# A schedule that is data can be run and tested without a single process:

# %% tags=["solution"]
n = 5
own = [[10.0**rank] * n for rank in range(n)]
for k in range(2 * (n - 1)):
    plan = [ring_pieces(n, rank)[k] for rank in range(n)]
    parcels = [own[rank][send] for rank, (send, _, _) in enumerate(plan)]
    for rank, (_, piece, adds) in enumerate(plan):
        arrived = parcels[rank - 1]
        own[rank][piece] = own[rank][piece] + arrived if adds else arrived
print(all(number == sum(10.0**r for r in range(n)) for pieces in own for number in pieces))

# %% [markdown]
# ## 21.5 order_step: one step, on lists
#
# *order · difficulty 2/5 · 8 min · further · idea: count first, add up at home, then across ranks, then clip*
#
# A whole step of data parallel training with gradient accumulation, on lists. To keep it small the model is `x @ w`,
# its loss half the squared error, summed over the targets, and the optimizer is plain gradient descent. These are the
# lines, shuffled. **Three of them are there twice, once right and once wrong**: delete the wrong ones, and put the rest
# in order. The three lines of the loops stay together.
#
# - `w` (C,) float32: the weights of every rank before the step
# - `micros`: a list per rank of its micro-batches, each a pair x (B, C) and y (B,) float32. They may differ in length.
# - `clip`: the gradient of the whole batch is shortened to this length, if it is longer. No gradient is zero.
# - `rate`: the learning rate
# - result: a list per rank of the new weights, the ones that a single device would have got from the whole batch. Leave
#   `w` as it was.
# ```python
# one, two = (torch.ones(1, 1), torch.tensor([5.0])), (torch.ones(2, 1), torch.tensor([1.0, 3.0]))
# order_step(torch.zeros(1), [[one], [two]], 9.0, 0.5)      # [tensor([1.5000]), tensor([1.5000])]: 0.5 · (5 + 4) / 3
# order_step(torch.zeros(1), [[one], [two]], 2.0, 0.5)      # [tensor([1.]), tensor([1.])]: 3 was shortened to 2
# ```
#
# <details><summary>Hint 1</summary>
#
# Which line can be run first, because it needs nothing but the arguments? Which names does each of the others need?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The losses are divided by the count of all ranks together, so the gradients of the ranks add up to the right one: no
# further division (section 1). And the length that is to be limited is that of the *whole* gradient, which nobody knows
# before the sum (section 8).
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: three branches report what they spent, bill by bill; the company may spend 100.
# ```python
# bills = [[30, 20], [40], [10, 10, 10]]
# spent = [sum(branch) for branch in bills]        # [50, 40, 30]: at home
# total = sum(spent)                               # 120: across branches
# min(total, 100)                                  # 100: limited at the end, and each branch had stayed below it
# ```
#
# </details>

# %%
def order_step(w, micros, clip, rate):
    """w (C,), micros per rank of (x (B, C), y (B,)) → a list per rank of the new weights."""
    ### BEGIN SOLUTION
    valid = sum(len(y) for own in micros for x, y in own)
    grads = [torch.zeros_like(w) for own in micros]
    for grad, own in zip(grads, micros):
        for x, y in own:
            grad += x.T @ (x @ w - y) / valid
    total = torch.stack(grads).sum(0)
    total = total * min(1.0, clip / total.norm().item())
    return [w - rate * total for own in micros]
    ### STUB
    # grads = [g * min(1.0, clip / g.norm().item()) for g in grads]
    # total = torch.stack(grads).sum(0)
    # return [w - rate * total for own in micros]
    # for grad, own in zip(grads, micros):
    #     for x, y in own:
    #         grad += x.T @ (x @ w - y) / valid
    # valid = sum(len(own) for own in micros)
    # total = total * min(1.0, clip / total.norm().item())
    # grads = [torch.zeros_like(w) for own in micros]
    # total = torch.stack(grads).mean(0)
    # valid = sum(len(y) for own in micros for x, y in own)
    ### END SOLUTION

# %%
check("21.order_step", order_step)

# %% [markdown] tags=["solution"]
# **Why it works.** The count comes before the first backward pass, since every loss is divided by it. Each rank adds up
# its micro-batches at home, one sum is sent, and its length is the same number on every rank: no further message is
# needed to clip.
#
# **The most common wrong roads** are the three wrong lines. Clipping at home shortens those ranks whose gradient is
# long, so the sum points elsewhere, and may be longer than the clip. `mean` divides a second time. And the number of
# micro-batches is not the number of targets: with it the step is right up to a factor, which clipping may even hide.

# %% tags=["solution"]
own = [torch.tensor([8.0, 0.0]), torch.tensor([0.0, 1.0])]  # two ranks; clip to the length 1
total = sum(own)
print("clipped after the sum: ", (total * min(1.0, 1 / total.norm())).numpy().round(2))
print("clipped before the sum:", sum(g * min(1.0, 1 / g.norm()) for g in own).numpy().round(2))

# %% [markdown]
# ## 21.6 reduced_gradients: send what was added up
#
# *fix · difficulty 3/5 · 12 min · core · idea: accumulate first, then all-reduce the whole sum, and nothing else*
#
# With gradient accumulation a rank sends once a step. The function below imitates a training loop that you may meet in
# the wild: its loss falls, its replicas drift apart. Two things are wrong; mend them.
#
# - `micro_grads`: a list per rank of a list per micro-batch of a list of gradients, one tensor a parameter:
#   `micro_grads[rank][micro][parameter]`. All ranks have at least one micro-batch, and equally many. The losses were
#   divided by the count of targets of the **whole** batch.
# - result: a list per rank of a list of gradients, the ones with which this rank makes its update: those of one device
#   that has seen the whole batch. Each rank has memory of its own: no two ranks may share a tensor. Leave `micro_grads`
#   as it was.
# ```python
# t = torch.tensor
# micro_grads = [[[t(1.0)], [t(2.0)]], [[t(10.0)], [t(20.0)]]]      # 2 ranks, 2 micro-batches, 1 parameter
# reduced_gradients(micro_grads)                                     # [[tensor(33.)], [tensor(33.)]]
# ```
#
# <details><summary>Hint 1</summary>
#
# In the example, what does the planted function return on each rank? Which of the four numbers reach both?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A rank's earlier micro-batches are part of the batch as much as its last one (sections 4 and 5): what has to be sent
# is the *accumulated* gradient. And the losses have been divided by the global count already (section 1). What would a
# division by the number of ranks do?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two shops count the fruit of two days, by kind. Each wants to know the total.
# ```python
# fruit = [[[1, 2], [3, 4]], [[10, 20], [30, 40]]]                     # fruit[shop][day][kind]
# own = [[sum(kind) for kind in zip(*days)] for days in fruit]         # [[4, 6], [40, 60]]: each at home
# [sum(kind) for kind in zip(*own)]                                    # [44, 66]: of both, in every shop
# ```
#
# </details>

# %%
def reduced_gradients(micro_grads):
    """micro_grads[rank][micro][parameter] → for each rank the gradients of the whole batch."""
    ### BEGIN SOLUTION
    own = [[sum(g) for g in zip(*micros)] for micros in micro_grads]
    total = [sum(g) for g in zip(*own)]
    return [[t.clone() for t in total] for _ in micro_grads]
    ### STUB
    # n = len(micro_grads)
    # total = [sum(g) / n for g in zip(*(micros[-1] for micros in micro_grads))]
    # own = [[sum(g[:-1]) for g in zip(*micros)] for micros in micro_grads]
    # return [[mine + t for mine, t in zip(rank, total)] for rank in own]
    ### END SOLUTION

# %%
check("21.reduced_gradients", reduced_gradients)

# %% [markdown] tags=["solution"]
# **Why it works.** Two sums, and the order of the two lines is the whole idea: over micro-batches at home, then over
# ranks. `clone` gives each rank its own copy; on real processes that comes for free.
#
# **The most common wrong roads.** The planted one sends the last micro-batch only, so the ranks' earlier gradients
# differ, and so do the updates. All-reducing after *every* micro-batch what has been accumulated so far counts the
# first micro-batch n times over, since the sum of the others is in it when it is summed again. A division by n belongs
# to losses that were divided by a rank's own count, and even there it is right only if the counts are equal.

# %% tags=["solution"]
g = torch.Generator().manual_seed(0)
grads = [[[torch.randn(4, generator=g)] for micro in range(3)] for rank in range(2)]
right = reduced_gradients(grads)[0][0]
running = [torch.zeros(4), torch.zeros(4)]
for micro in range(3):  # sends after every micro-batch what it has by then
    running = [sum(run + rank[micro][0] for run, rank in zip(running, grads))] * 2
print(f"sent once: length {right.norm():.2f}; "
      f"accumulated, and sent each time: {running[0].norm():.2f}")

# %% [markdown]
# ## 21.7 odd_one_out: which rank is wrong?
#
# *measure · difficulty 2/5 · 10 min · further · idea: replicas are equal to the bit, so the first odd one is the cause*
#
# Every hundred steps all ranks compare a checksum of their weights. You have what was written down:
# `history[check][rank]` is the checksum of a rank at a check, a whole number. Which rank has gone wrong, and when?
#
# Write `odd_one_out(history)` →
#
# - `None`, if at every check all ranks agree
# - otherwise `[check, ranks]`: the number of the first check at which they do not, and the sorted list of the ranks
#   outside the **largest group** of ranks with equal checksums. If there is no single largest group, nobody can say who
#   is right, and the list is empty.
# ```python
# odd_one_out([[7, 7, 7], [4, 4, 4]])                  # None
# odd_one_out([[7, 7, 7], [4, 9, 4], [8, 1, 3]])       # [1, [1]]
# odd_one_out([[5, 6]])                                # [0, []]: one of two is wrong
# odd_one_out([[5, 3, 3, 8]])                          # [0, [0, 3]]
# ```
#
# <details><summary>Hint 1</summary>
#
# In the second example all three checksums differ at the last check. Does that change anything about what check 1 says?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Nothing makes unequal replicas equal again (section 5), and a second fault may cover up the first: the cause is to be
# looked for where it began. A checksum is a name and not a size: only *equal* and *unequal* mean something.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: what did most guests order, if there is such a thing?
# ```python
# orders = ["soup", "fish", "soup", "rice"]
# ranking = Counter(orders).most_common()                # [('soup', 2), ('fish', 1), ('rice', 1)]
# tie = len(ranking) > 1 and ranking[0][1] == ranking[1][1]
# [] if tie else [i for i, order in enumerate(orders) if order != ranking[0][0]]      # [1, 3]
# ```
#
# </details>

# %%
def odd_one_out(history):
    """history[check][rank], checksums → None, or [first unequal check, ranks that are odd]."""
    ### BEGIN SOLUTION
    for number, prints in enumerate(history):
        votes = Counter(prints).most_common()
        if len(votes) > 1:
            tie = votes[0][1] == votes[1][1]
            return [number, [] if tie else [r for r, p in enumerate(prints) if p != votes[0][0]]]
    return None
    ### END SOLUTION

# %%
check("21.odd_one_out", odd_one_out)

# %% [markdown] tags=["solution"]
# **Why it works.** The vote is taken once, at the first check at which it is not unanimous. Before it there is nothing
# to say. After it the wrong rank's gradients have been in every sum, so that even the ranks that agree are not what
# they should be: the run has to go back to a checkpoint from before.
#
# **The most common wrong roads.** "Differs from rank 0" takes rank 0 for right, and when rank 0 is the bad one it names
# everybody else. Looking at the last check, or counting over all of them, mixes the first fault with later ones. With
# two ranks there is no vote: there a third opinion is needed, such as the step repeated on another machine.
#
# Three ranks with one weight each, a whole number; a bit flips on rank 1, and later one on rank 0:

# %% tags=["solution"]
weights, history = [3, 3, 3], []
for step in range(5):
    total = sum(w % 10 for w in weights)  # stands for the summed gradients
    weights = [w + total for w in weights]
    weights[1] ^= step == 1
    weights[0] ^= 4 * (step == 3)
    history.append(weights)
    print("check", step, weights)
print("first unequal check, and who:", odd_one_out(history))

# %% [markdown]
# ## 21.8 gpus_worth_paying: how many?
#
# *design · difficulty 3/5 · 15 min · further · idea: computing is shared out, sending is not; efficiency is the price*
#
# You rent GPUs by the hour, and the batch is fixed: **strong scaling**. On one GPU a step computes for `step` seconds;
# on n GPUs each of them computes for step / n seconds. Then they all-reduce gradients of `size` bytes by a ring,
# without overlap: 2 (n − 1) rounds with messages of size / n bytes, and a message of b bytes takes alpha + beta · b
# seconds. One GPU sends nothing.
#
# The *efficiency* of n GPUs is how many times as fast they are as one, divided by n. It is the share of your money that
# buys computing.
#
# Write `gpus_worth_paying(step, size, alpha, beta, least)` → the largest n among 1, 2, 4, 8, …, 1024 whose efficiency
# is at least `least` (above 0, at most 1).
# ```python
# gpus_worth_paying(1.0, 1e9, 1e-5, 1 / 50e9, 0.8)      # 4: efficiency 0.89; with 8 GPUs it is 0.78
# gpus_worth_paying(1.0, 1e9, 1e-5, 1 / 50e9, 1.0)      # 1
# ```
#
# <details><summary>Hint 1</summary>
#
# How long does a step on 4 GPUs take in the example, computing and sending? And how long would it take if sending cost
# nothing?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Speed is one over time, so the efficiency is step / (n · time of a step on n) (section 6). Computing shrinks with n;
# the bytes that a GPU sends do not, they even grow a little; and the delays grow with the number of rounds. Write a
# function of n, and ask all eleven.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: k people paint for 12 hours / k, and then talk for a quarter of an hour with each of
# the others. How many may come if 75 % of the paid hours should be painting?
# ```python
# def painting(k):
#     hours = 12 / k + 0.25 * (k - 1)
#     return 12 / (k * hours)
# [round(painting(k), 2) for k in (1, 2, 3, 4, 5)]             # [1.0, 0.96, 0.89, 0.8, 0.71]
# max(k for k in (1, 2, 3, 4, 5) if painting(k) >= 0.75)       # 4
# ```
#
# </details>

# %%
def gpus_worth_paying(step, size, alpha, beta, least):
    """Seconds on one GPU, bytes of gradients, a link → the largest n = 1, 2, … 1024 that pays."""
    ### BEGIN SOLUTION
    def efficiency(n):
        sending = 2 * (n - 1) * (alpha + beta * size / n)
        return step / (n * (step / n + sending))

    return max(n for n in (2**k for k in range(11)) if efficiency(n) >= least)
    ### END SOLUTION

# %%
check("21.gpus_worth_paying", gpus_worth_paying)

# %% [markdown] tags=["solution"]
# **Why it works.** n · (step / n + sending) is what you pay for in GPU-seconds, and `step` of it is computing. For n =
# 1 there are no rounds, and the efficiency is 1: there is always an answer.
#
# **The most common wrong roads.** Not dividing the computing by n is *weak* scaling, in which each GPU keeps its work
# and nearly every n pays. Dividing the bytes of the gradients by n once more takes them for a part of the batch; they
# belong to the model. And comparing the *speed-up* with `least` lets 1024 GPUs through that are barely faster than one.
#
# The same batch on three networks, for a model with 6 GB of gradients and a minute of computing a step on one GPU:

# %% tags=["solution"]
for name, alpha, speed in (("10 Gbit Ethernet", 50e-6, 1.25e9), ("InfiniBand", 14e-6, 50e9),
                           ("NVLink, if it went so far", 3.4e-6, 450e9)):  # fmt: skip
    n = gpus_worth_paying(60.0, 6e9, alpha, 1 / speed, 0.8)
    print(f"{name:<26} {n:4} GPUs at 80 % or more")

# %% [markdown]
# ## 21.9 two_levels: inside the node, then between
#
# *write · difficulty 4/5 · 20 min · further · unaided · idea: reduce where wires are fast, cross nodes with pieces*
#
# **Assistant off: no AI, no hints at first, only the lesson and your own experiments.** This is the test of whether
# collectives are now yours.
#
# A ring is as slow as its slowest wire. Inside a node wires are fast, between nodes slow. So do an all-reduce in three
# stages, each of them a ring of its own:
#
# 1. inside each node, a **reduce-scatter**
# 2. across nodes, an **all-reduce** among the ranks that have the same place in their nodes
# 3. inside each node, an **all-gather**
#
# Write `two_levels(x, local)`:
#
# - `x`: a list per rank of vectors, equally long. Rank r is on node r // `local`, at place r % `local`. Every node has
#   `local` ranks, `len(x)` is a multiple of `local`, and the length of the vectors is a multiple of `len(x)`.
# - result: three things. The list per rank of the results; how many numbers **each rank sends to ranks of its own
#   node**, all stages together; how many it **sends to ranks of other nodes**. (Numbers, not bytes. Whole numbers, the
#   same for every rank.) Leave `x` as it was.
# ```python
# x = [10.0**rank * torch.ones(8) for rank in range(4)]
# result, inside, between = two_levels(x, 2)
# result[3], inside, between      # (tensor([1111., 1111., …]), 8, 4); one ring over all 4 ranks sends 12
# ```
#
# <details><summary>Hint 1</summary>
#
# In the example, how many numbers does rank 0 hold after the first stage, and what are they? With which rank does it
# have to talk next?
#
# </details>
# <details><summary>Hint 2</summary>
#
# You know what each of the three sends for a vector of N numbers in a ring of m ranks: a reduce-scatter (m − 1)/m · N,
# an all-gather as much, an all-reduce both (section 3). The only question is which m and which N each stage has. After
# stage 1, N is smaller.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two schools of three classes want the sum of all their tallies for three parties. In
# each school, class k adds up party k for its school; then classes k of both schools exchange a single number.
# ```python
# tally = torch.arange(18).view(2, 3, 3)           # [school][class][party]
# school = tally.sum(dim=1)                        # [school][party]: class k keeps party k
# both = school.sum(dim=0)                         # tensor([45, 51, 57]): class k of each school knows number k
# both.expand(2, 3, 3)                             # and tells it to the others of its school
# ```
#
# </details>

# %%
def two_levels(x, local):
    """x a list per rank, `local` ranks a node → (all-reduce, numbers sent inside, between)."""
    ### BEGIN SOLUTION
    nodes, piece = len(x) // local, len(x[0]) // local
    node_sums = [sum(x[node * local : (node + 1) * local]) for node in range(nodes)]
    held = [node_sums[r // local].split(piece)[r % local] for r in range(len(x))]
    held = [sum(held[r % local :: local]) for r in range(len(x))]
    result = [torch.cat(held[r - r % local :][:local]) for r in range(len(x))]
    inside = 2 * (local - 1) * piece
    between = 2 * (nodes - 1) * piece // nodes
    return result, inside, between
    ### END SOLUTION

# %%
check("21.two_levels", two_levels)

# %% [markdown] tags=["solution"]
# **Why it works.** Ranks form a grid: node by place. Stage 1 works along a row of the grid, stage 2 along a column,
# stage 3 along the row again. After stage 1 a rank holds N / `local` numbers, and only those cross the slow wire: 2 (m
# − 1)/m · N / `local` for m nodes, while the one big ring sends 2 (n − 1)/n · N over its slowest wire. All in all a
# rank sends exactly as much as in the one ring, 12 numbers in the example: what is saved is not traffic, but traffic on
# slow wires.
#
# **The most common wrong roads.** All-reducing whole vectors between nodes gives the same sum and sends `local` times
# as much. Taking r // `local` for the place turns the grid, and the fast wires carry little while the slow ones carry
# all. And without the last stage each rank has a piece of the result.
#
# **What follows.** The grid comes back as the *device mesh* of lessons 22 and 23. What it saves for 8 nodes of 8 GPUs
# and 6 GB of gradients, with 450 GB/s inside and 50 GB/s between:

# %% tags=["solution"]
x = [torch.ones(64) for _ in range(64)]
_, inside, between = two_levels(x, 8)
share = 6e9 / 64  # bytes that one number stands for
print(f"two levels: {inside * share / 450e9 + between * share / 50e9:.3f} s; "
      f"one ring at the slow wire's speed: {2 * 63 / 64 * 6e9 / 50e9:.3f} s")
