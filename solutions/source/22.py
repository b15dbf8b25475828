# %% [markdown]
# # 22 · Sharding: exercises
#
# Nine exercises; the four marked *core* are enough to go on. Write your function, run the cell below it, and read what
# `check` says: it tells you which idea produced your result. Being stuck on one never blocks the next. Of the three
# hints the first is a question; try again before you open another.
#
# No exercise starts another process. As in the lesson, a *list with an entry for each rank* shows you all ranks at
# once: entry 0 belongs to rank 0. Letters: N parameters, n ranks.

# %% tags=["setup"]
import math

import torch

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 22.1 devices_needed: does it fit?
#
# *predict · difficulty 1/5 · 6 min · core · try first · idea: some of the memory is cut, and some is not*
#
# **Try this before you read section 1.** You train with AdamW, everything in fp32, which takes 4 bytes a number. When
# the backward pass ends, three things of *each parameter* lie in memory: the weight, its gradient, and what AdamW keeps
# for it, two running means. All of this is cut evenly over n devices. A fourth thing is not: each device needs
# `activations` bytes for the tokens that it works on itself, however many devices there are.
#
# **Predict first**, in your head: 7 billion parameters, devices of 80 GB, 30 GB of activations on each. In fp32 the
# weights are 28 GB. Are two devices enough?
#
# Then write `devices_needed(parameters, device, activations)`: three whole numbers, at least 1 parameter, `device` and
# `activations` in bytes → the smallest number of devices, a whole number, on which it fits. To fill a device to the
# last byte is allowed. Return `None` if no number of devices is enough.
# ```python
# devices_needed(3, 30, 6)         # 2: 48 bytes to cut, and 24 free on each device
# devices_needed(1, 30, 6)         # 1
# devices_needed(1, 30, 30)        # None: nothing is left for the parameter
# ```
#
# <details><summary>Hint 1</summary>
#
# In the first example, which bytes become fewer on each device when you add one, and which do not?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Take off each device first what does not shrink (section 1). What is left is the room for pieces; count how often it
# goes into the bytes of all parameters. How many numbers does each parameter need in all? And what is a device good for
# that has no room left?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: 190 books in vans that carry 60 things each, of which the driver's own 14 tools are
# in every van.
# ```python
# free = 60 - 14                   # 46: the tools do not become fewer with more vans
# math.ceil(190 / free)            # 5; 190 / 46 is 4.13, and a part of a van is a van
# ```
#
# </details>

# %%
def devices_needed(parameters, device, activations):
    """Parameters; bytes of a device, and of the activations on each → devices, or None."""
    ### BEGIN SOLUTION
    room = device - activations
    if room <= 0:
        return None
    return -(-16 * parameters // room)  # rounded up, without floats
    ### END SOLUTION

# %%
check("22.devices_needed", devices_needed)

# %% [markdown] tags=["solution"]
# **The prediction.** No: 16 bytes for each of 7 billion parameters are more than a hundred GB, and two devices have
# room for a hundred.
#
# **Why it works.** A parameter is four numbers: weight, gradient, two means. Of four parts only one computes anything
# in the forward pass. The activations are subtracted before anything is divided, since every device pays for its own.
#
# **The most common wrong road** puts the activations into the sum that is divided, as if more devices made them fewer.
# They do become fewer when each device gets fewer *tokens*, but sharding does not do that.
#
# What follows, for the three models of the lesson without activations, and for half of the device full of them:

# %% tags=["solution"]
for name, parameters in (("124M", 124 * 10**6), ("7B", 6738 * 10**6), ("70B", 68977 * 10**6)):
    print(f"{name:>4}: {devices_needed(parameters, 80 * 10**9, 0):>3} devices of 80 GB, "
          f"{devices_needed(parameters, 80 * 10**9, 40 * 10**9):>3} with 40 GB of activations")

# %% [markdown]
# ## 22.2 stage_one: put the lines in order
#
# *order · difficulty 2/5 · 10 min · core · idea: reduce and scatter, update a piece, gather*
#
# One step of ZeRO, stage 1, for all ranks at once. Its lines are shuffled below. **Three steps are there twice, once
# right and once wrong**: delete the wrong ones, and put the six others in order (in Jupyter, Alt+Up and Alt+Down move a
# line). The line `pieces = [update(…` is right.
#
# - `weights`: a list of n equal vectors (N,), one for each rank; n divides N
# - `batches`: a list of n, what each rank has of the batch
# - `gradient(w, b)`: this rank's *share* of the gradient (N,): the shares of all ranks add up to the gradient of the
#   batch
# - `update(rank, piece, grad)`: the optimizer of this rank. It keeps the state of the rank's own N / n parameters, so
#   it takes pieces of this length and refuses others, and returns the new piece.
# - result: a list of n vectors (N,), all equal: the weights after the step. Leave the old ones as they were.
# ```python
# w = torch.tensor([10.0, 20.0, 30.0, 40.0])
# plain = lambda rank, piece, grad: piece - 0.5 * grad
# stage_one([w, w], [1.0, 3.0], lambda w, b: b * w, plain)
# # [tensor([-10., -20., -30., -40.]), the same again]: each lost half of 1 · w + 3 · w
# ```
#
# <details><summary>Hint 1</summary>
#
# In the example, rank 1 updates 30 and 40. Whose gradients does it need for this, and of which parameters?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Follow the two collectives of section 2. A reduce-scatter first: *all* shares are added up, and each rank gets its
# part of the sum. Each rank then updates the part of the weights with its own number. At the end an all-gather:
# everyone has everything again.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two cashiers close the day together. Each counts the coins of *both* tills for one
# half of the kinds of coins, and then both write down the whole list.
# ```python
# tills = [torch.tensor([3, 1, 4, 2]), torch.tensor([5, 0, 1, 6])]     # (kind of coin) for each cashier
# halves = torch.stack(tills).sum(0).split(2)      # (tensor([8, 1]), tensor([5, 8])): each cashier's kinds, both tills
# worth = [half * coin for half, coin in zip(halves, (torch.tensor([1, 2]), torch.tensor([5, 10])))]
# torch.cat(worth)                                 # tensor([ 8,  2, 25, 80]), for both of them
# ```
#
# </details>

# %%
def stage_one(weights, batches, gradient, update):
    """Lists with an entry for each rank: equal weights (N,), batches → equal new weights (N,)."""
    n = len(weights)
    ### BEGIN SOLUTION
    shares = [gradient(w, b) for w, b in zip(weights, batches)]
    sums = sum(shares).chunk(n)
    pieces = [w.chunk(n)[rank] for rank, w in enumerate(weights)]
    pieces = [update(rank, piece, sums[rank]) for rank, piece in enumerate(pieces)]
    whole = torch.cat(pieces)
    return [whole.clone() for _ in range(n)]
    ### STUB
    # pieces = [w.chunk(n)[0] for w in weights]
    # return [whole.clone() for _ in range(n)]
    # sums = [share.chunk(n)[rank] for rank, share in enumerate(shares)]
    # pieces = [update(rank, piece, sums[rank]) for rank, piece in enumerate(pieces)]
    # sums = sum(shares).chunk(n)
    # whole = torch.cat(pieces)
    # shares = [gradient(w, b) for w, b in zip(weights, batches)]
    # pieces = [w.chunk(n)[rank] for rank, w in enumerate(weights)]
    # return pieces
    ### END SOLUTION

# %%
check("22.stage_one", stage_one)

# %% [markdown] tags=["solution"]
# **Why it works.** The sum over ranks and the cut into parts are the reduce-scatter; the `cat` is the all-gather. In
# between, no rank looks at more than N / n weights, and keeps no more state than that. It works because AdamW treats
# every number by itself; lesson 11's Muon would not allow it.
#
# **The most common wrong road** is to give each rank the piece of its *own* share: it has the right length, the loss
# falls, and all but one n-th of the batch is thrown away, for each piece another n-th, so that it is hard to see. What
# the line with `[0]` does is as quiet: every rank updates the first piece, and all the other parameters are overwritten
# with it.
#
# Three ranks against one that has everything, with a real AdamW in each:

# %% tags=["solution"]
g = torch.Generator().manual_seed(0)
start, batches = torch.randn(12, generator=g), list(torch.randn(3, 12, generator=g))


def adamw(params):
    return torch.optim.AdamW([params], lr=0.1, weight_decay=0.1)


class Rank:
    def __init__(self, rank):
        self.piece = start.chunk(3)[rank].clone()
        self.optimizer = adamw(self.piece)

    def step(self, piece, grad):
        self.piece.copy_(piece)
        self.piece.grad = grad
        self.optimizer.step()
        return self.piece.clone()


# %% tags=["solution"]
ranks, weights = [Rank(rank) for rank in range(3)], [start.clone() for _ in range(3)]
alone = start.clone()
optimizer = adamw(alone)
for _ in range(5):
    weights = stage_one(weights, batches, lambda w, b: w - b, lambda r, *more: ranks[r].step(*more))
    alone.grad = sum(alone - b for b in batches)
    optimizer.step()
for w in weights:
    torch.testing.assert_close(w, alone)
print("after five steps: the three ranks and the one hold the same weights")

# %% [markdown]
# ## 22.3 zero_bytes: what a rank holds and sends
#
# *write · difficulty 3/5 · 12 min · core · idea: stages 1 and 2 send nothing more, until micro-batches come*
#
# Write `zero_bytes(stage, N, n, micro)`: the stage of ZeRO, 0 to 3 (0 is the plain data parallel training of lesson
# 21); N parameters; n ranks, a divisor of N; and the micro-batches in one optimizer step. Everything is in fp32, the
# optimizer is AdamW. The result is a pair, in bytes:
#
# - what **one rank holds** of weights, gradients and optimizer state at the end of the backward pass; what it gathers
#   only for a moment does not count, nor do activations
# - what **one rank sends** in one optimizer step. An all-gather or a reduce-scatter of N numbers goes around a ring and
#   makes each rank send (n − 1)/n · N numbers, and a sum that everyone gets is one of each.
#
# Where gradients stay whole, they are added up over the micro-batches and sent once a step. Where they are cut, they
# must be reduced in every micro-batch. Stage 3 gathers weights forward and backward, and keeps them for neither.
# ```python
# zero_bytes(0, 12, 4, 5)          # (192, 72.0): 16 bytes a parameter; 2 passes of 36 bytes, whatever `micro` is
# zero_bytes(1, 12, 4, 5)          # (120, 72.0)
# ```
#
# <details><summary>Hint 1</summary>
#
# Take stage 1 with one micro-batch. A rank has updated its piece of the weights: what is missing before the next step
# can start, and what was *not* necessary before the update?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Two tables. The one of section 2 says what is cut at which stage: the state first, then the gradients too, then the
# weights too. For the other, count passes of (n − 1)/n · N numbers, and ask of each: does it happen once a step, or in
# each micro-batch? A gather of new weights in stages 1 and 2 happens after the update.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a shared kitchen with 4 cooks. Pots, spices and books: each either everybody's own
# or shared out; and fetching from the others costs one walk.
# ```python
# kilos = {"pots": 20, "spices": 4, "books": 12}
# shared = {"books"}                                                 # shared out; the rest is there four times
# sum(k / 4 if what in shared else k for what, k in kilos.items())   # 27.0 on each cook's shelf
# 1 + 2 * 5                                                          # walks: one for the menu, two for each course
# ```
#
# </details>

# %%
def zero_bytes(stage, N, n, micro):
    """Stage 0 to 3, N parameters, n ranks, micro-batches → bytes held and bytes sent by a rank."""
    ### BEGIN SOLUTION
    size = {"weights": 4, "gradients": 4, "state": 8}
    cut_from = {"weights": 3, "gradients": 2, "state": 1}  # the first stage that cuts it
    held = sum(N * size[kind] / (n if stage >= cut_from[kind] else 1) for kind in size)
    passes = (2, 2, micro + 1, 3 * micro)[stage]
    return held, passes * 4 * N * (n - 1) / n
    ### END SOLUTION

# %%
check("22.zero_bytes", zero_bytes)

# %% [markdown] tags=["solution"]
# **Why it works.** Stage 0: reduce-scatter and all-gather of gradients. Stage 1: reduce-scatter of gradients,
# all-gather of *weights*. Stage 2: the same, but the reduce-scatter comes in each micro-batch, since there is nowhere
# to keep a whole gradient. Stage 3: two gathers and one reduce-scatter in each.
#
# **The most common wrong road** is a third pass in stage 1: a whole all-reduce, and then the weights. No rank needs the
# whole sum of gradients, so half of the all-reduce is left out.
#
# **What follows.** With many micro-batches the stages are no longer alike. For the 7B on 8 ranks:

# %% tags=["solution"]
for micro in (1, 8):
    for stage in range(4):
        held, sent = zero_bytes(stage, 6_738_415_616, 8, micro)
        print(f"{micro} a step, stage {stage}: a rank holds {held / 1e9:6.1f} GB "
              f"and sends {sent / 1e9:6.1f} GB a step")

# %% [markdown]
# ## 22.4 tokens_to_hide: when is traffic free?
#
# *fill · difficulty 2/5 · 10 min · core · idea: bytes and FLOPs grow alike with the block: only the machine counts*
#
# A rank prefetches: while it computes one block, the network brings the next. Traffic is free if a block computes at
# least as long as its traffic takes. From how many tokens on is that so? The loop goes over the two passes. Of each it
# has two numbers, both *for one parameter of the block*: `size`, the bytes that pass for it, and `work`, the FLOPs that
# **one token** costs with it. The body of the loop is missing; replace the `raise` by lines that append to `needed` the
# tokens that this pass needs.
#
# `tokens_to_hide(flops, network, n, gather=2, reduce=4)`:
# - `flops`: FLOPs a second of a rank; `network`: bytes a second that come in; `n`: ranks, at least 2
# - `gather`, `reduce`: bytes a parameter in which weights are gathered and gradients are reduced
# - **a rank brings along its own piece**: of the whole tensor, (n − 1)/n passes over the network
# - result: the tokens a rank needs so that *both* passes hide, a number that need not be whole.
# ```python
# tokens_to_hide(100.0, 10.0, 2)           # 7.5
# # forward: a parameter takes 2 · 1/2 / 10 s = 0.1 s to come, and 2 / 100 = 0.02 s to compute with, for each token
# ```
#
# <details><summary>Hint 1</summary>
#
# How many seconds does the traffic of one parameter take, and how many seconds does one token compute with it? The
# example has both numbers for the forward pass.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Set the two times equal (section 4): tokens times the seconds of computing for one token is the time of the traffic.
# All of it holds for one parameter, so no size of a block can occur.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a lift brings a dish of 30 kilos into the kitchen, 6 kilos a minute, and a fifth of
# it is there already. A cook works 2 minutes on it for each guest. With how many guests does nobody wait for the lift?
# ```python
# minutes = 30 * 4 / 5 / 6                         # 4.0, for what is not there yet
# minutes / 2                                      # 2.0 guests
# ```
#
# </details>

# %%
def tokens_to_hide(flops, network, n, gather=2, reduce=4):
    """FLOPs/s, bytes/s, n ranks, bytes a parameter → tokens a rank from which on traffic hides."""
    passes = {"forward": (gather, 2), "backward": (gather + reduce, 4)}  # bytes, and FLOPs a token
    needed = []
    for size, work in passes.values():
        ### BEGIN SOLUTION
        seconds = size * (n - 1) / n / network
        needed.append(seconds * flops / work)
        ### END SOLUTION
    return max(needed)

# %%
check("22.tokens_to_hide", tokens_to_hide)

# %% [markdown] tags=["solution"]
# **Why it works.** `seconds` is the traffic of one parameter, `work / flops` the computing of one token with it; their
# quotient is the number of tokens. The block's size would stand above and below the line. The result is a property of
# the machine: a faster processor needs *more* tokens to hide the same network.
#
# **The most common wrong road** is `work / flops` without the tokens, or its inverse; put in a processor twice as fast
# and ask which way the answer should move. With several ranks in one machine the (n − 1)/n is worth a look, too: with 2
# ranks half of every tensor is there already.
#
# What each machine asks for, and what it would ask for if gradients were reduced in bf16:

# %% tags=["solution"]
machines = (("8 in one machine, NVLink", 450e9, 8), ("64, a network card each", 50e9, 64))
for name, network, n in machines:
    print(f"{name}: {tokens_to_hide(795e12, network, n):,.0f} tokens a rank, "
          f"{tokens_to_hide(795e12, network, n, reduce=2):,.0f} with gradients in bf16")

# %% [markdown]
# ## 22.5 order_of_events: does anybody ask early?
#
# *measure · difficulty 3/5 · 12 min · further · idea: prefetch shows in how many parts are whole at the same time*
#
# You are given a log like the one in section 3, shorter: a list of pairs, in the order in which things happened on one
# rank. `("gather", part)`: the part's weights are whole from now on. `("reduce", part)`: its gradients have gone, and
# its weights are freed. `("backward", None)`, exactly once: the backward pass begins.
#
# In the backward pass a part is at work between its gather and its reduce. **How many parts does the run have ahead of
# the one at work, at most?** Write `order_of_events(log)`: look at the backward pass only; take the largest number of
# parts that have been gathered *there* and not yet reduced, and leave out the one at work. Without prefetch that is 0.
#
# Two things to beware of. The forward pass has nothing to reduce, so nothing in it says "freed". And a part that was
# kept from the forward pass (embedding and head, in section 3) is reduced without having been gathered in the backward
# pass: it does not count, nor does its reduce free another part.
# ```python
# back = ("backward", None)
# order_of_events([("gather", 1), ("gather", 2), back,
#                  ("gather", 2), ("reduce", 2), ("gather", 1), ("reduce", 1)])     # 0: nobody asks early
# order_of_events([("gather", 1), ("gather", 2), back,
#                  ("gather", 2), ("gather", 1), ("reduce", 2), ("reduce", 1)])     # 1
# ```
#
# <details><summary>Hint 1</summary>
#
# Go through the second example with a finger: which parts are whole after each event of its backward pass?
#
# </details>
# <details><summary>Hint 2</summary>
#
# It is a count that goes up and down, and you need its maximum, not its last value (section 4). Which parts are whole
# is more than how many gathers and reduces there were: remember them by name.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: how full was the library's reading room at most?
# ```python
# diary = [("in", "Ada"), ("in", "Bo"), ("out", "Cy"), ("in", "Di"), ("out", "Ada")]     # Cy has been there all night
# inside, fullest = [], 0
# for what, who in diary:
#     inside = inside + [who] if what == "in" else [name for name in inside if name != who]
#     fullest = max(fullest, len(inside))
# fullest                          # 3 that came today: Ada, Bo and Di
# ```
#
# </details>

# %%
def order_of_events(log):
    """A list of (kind, part) → how many parts the backward pass gathers ahead, at most."""
    ### BEGIN SOLUTION
    whole, most = set(), 0
    for kind, part in log[log.index(("backward", None)) + 1 :]:
        if kind == "gather":
            whole.add(part)
        else:
            whole.discard(part)
        most = max(most, len(whole))
    return max(0, most - 1)
    ### END SOLUTION

# %%
check("22.order_of_events", order_of_events)

# %% [markdown] tags=["solution"]
# **Why it works.** `whole` holds what is whole in the backward pass; `discard` says nothing of a part that is not
# there, as the kept one. One of the parts in it is at work, all others wait for their turn.
#
# **The most common wrong road** counts over the whole log. The forward pass gathers part after part, and as nothing is
# reduced there, every run looks as if it had asked for everything early. The other one looks for two gathers in a row
# and finds prefetch, but not how far ahead it reaches.
#
# **What follows.** The number is also the price: each part that is ahead is one more part whole in memory. Five
# blocks, gathered (g) and reduced (r), without prefetch, with it, and with more of it:

# %% tags=["solution"]
def log_of(ahead, layers=5):
    log = [("gather", i) for i in range(layers)] + [("backward", None)]
    waiting = list(reversed(range(layers)))
    asked = [("gather", i) for i in waiting]
    for k, i in enumerate(waiting):
        log += asked[:1 + ahead] if k == 0 else asked[k + ahead : k + ahead + 1]
        log += [("reduce", i)]
    return log


for ahead in (0, 1, 2):
    log = log_of(ahead)
    words = " ".join(f"{kind[0]}{part}" for kind, part in log[6:])
    print(f"backward {words}: {order_of_events(log)} ahead")

# %% [markdown]
# ## 22.6 cheapest_plan: how many ranks, and recompute?
#
# *design · difficulty 3/5 · 15 min · further · idea: ranks divide what belongs to parameters, not activations*
#
# A model is to be trained with stage 3. You rent ranks in powers of two, 1 to 1024, and they are what costs most.
# Recomputation costs time, so you use it only where it saves ranks. Write
# `cheapest_plan(parameters, kept, inputs, device)`:
#
# - on each rank lie 16 bytes a parameter, divided by the number of ranks
# - and the activations of its own tokens: `kept` bytes, or with full recomputation `inputs` bytes, which are never more
# - together they must be at most `device` bytes; to fill it exactly is allowed
# - result: `(ranks, recompute)`: the fewest ranks on which it fits in one of the two ways, and `True` if it takes
#   recomputation to fit there, else `False`. `None` if not even 1024 ranks are enough.
# ```python
# cheapest_plan(10, 40, 5, 200)        # (1, False): 160 + 40
# cheapest_plan(10, 50, 5, 200)        # (1, True): 160 + 50 would be too much
# cheapest_plan(20, 50, 5, 200)        # (2, True): 160 + 50 again
# cheapest_plan(20, 250, 205, 200)     # None: no number of ranks makes the activations fewer
# ```
#
# <details><summary>Hint 1</summary>
#
# Two plans: 4 ranks with recomputation, 8 ranks without. Which one does the statement call cheaper?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Make a list of all plans, the cheapest first, and take the first that fits (section 5 says what each choice makes
# smaller). Two things are compared: which of them changes slowly in your list, and which one fast?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a parcel goes in the smallest box that holds it, and only if need be the lid is
# taped down, which gains 2 cm.
# ```python
# def parcel(height):
#     for box in (10, 20, 40):
#         for taped, room in ((False, box), (True, box + 2)):
#             if height <= room:
#                 return box, taped
#
# [parcel(height) for height in (9, 12, 13, 41, 50)]     # [(10, False), (10, True), (20, False), (40, True), None]
# ```
#
# </details>

# %%
def cheapest_plan(parameters, kept, inputs, device):
    """Parameters; bytes of activations kept, or of inputs; of a device → (ranks, recompute)."""
    ### BEGIN SOLUTION
    for ranks in [2**k for k in range(11)]:  # up to 1024
        for recompute, activations in [(False, kept), (True, inputs)]:
            if 16 * parameters / ranks + activations <= device:
                return ranks, recompute
    return None
    ### END SOLUTION

# %%
check("22.cheapest_plan", cheapest_plan)

# %% [markdown] tags=["solution"]
# **Why it works.** The outer loop changes what costs most, the inner one what costs less; so the first plan that fits
# is the cheapest. Nobody has to compare plans afterwards.
#
# **The most common wrong road** swaps the loops: all numbers of ranks without recomputation first. That never
# recomputes as long as a thousand ranks could avoid it. The other one divides everything by the ranks, activations too,
# and finds plans that do not fit.
#
# The 7B and the 70B of the lesson, with one sequence of 4,096 tokens on each device of 80 GB; the bytes are those of
# section 5:

# %% tags=["solution"]
from minigpt import ModelConfig
from minigpt.accounting import matmul_parameters, memory, parameters

llama = dict(head_size=128, context=4096, vocab_size=32000, tied=False)
for name, c in (
    ("7B", ModelConfig(layers=32, width=4096, heads=32, kv_heads=32, mlp_width=11008, **llama)),
    ("70B", ModelConfig(layers=80, width=8192, heads=64, kv_heads=8, mlp_width=28672, **llama)),
):
    parts = memory(c, 1, "bf16")
    kept = parts["activations"] - 2 * matmul_parameters(c) + parts["logits"]
    inputs = 4 * c.layers * c.context * c.width
    print(f"{name}: keeps {kept / 1e9:.1f} GB or {inputs / 1e9:.1f} GB of inputs -> "
          f"{cheapest_plan(parameters(c), kept, inputs, 80e9)}")

# %% [markdown]
# ## 22.7 policy: which format was it?
#
# *measure · difficulty 2/5 · 10 min · further · idea: bytes a number tell the format, once you know how many numbers*
#
# Somebody trains with stage 3 and has forgotten which mixed-precision policy the run has. Its formats show in its
# bytes. In a step with one micro-batch you have measured, on one rank:
#
# - `held`: bytes of this rank's piece of the weights
# - `gathered`: bytes of all tensors that were gathered, each counted whole, as the log of section 3 notes them; every
#   part was gathered forward and backward
# - `reduced`: bytes of all tensors that were reduced and scattered, each counted whole
#
# Each is what its number of numbers takes in its format, or up to a tenth more, for zeros that fill up.
#
# Write `policy(held, gathered, reduced, N, n)`: N parameters, n ranks, at least 2 → three words, `"fp32"` or `"bf16"`:
# in which format the pieces are kept, in which one they are gathered, and in which one gradients are reduced. fp32
# takes 4 bytes, bf16 takes 2.
# ```python
# policy(1000, 4000, 4000, 1000, 4)        # ("fp32", "bf16", "fp32"): what minigpt does
# policy(1010, 8000, 4080, 1000, 4)        # ("fp32", "fp32", "fp32"): some zeros more
# ```
#
# <details><summary>Hint 1</summary>
#
# In the first example `gathered` and `reduced` are equal. Were there as many numbers in both?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Divide each by the number of numbers in it (sections 2 and 6): how many parameters are in a rank's piece, how often
# does each pass through a gather, how often through a reduce? What comes out lies near 2 or near 4, not exactly there.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: is the rope of a climbing wall thick (90 g a metre) or thin (45 g)? It weighs 3.1
# kg, and it goes up and down a wall of 16 m.
# ```python
# grams = 3100 / (2 * 16)                          # 96.9: with the knots a little more than it should be
# "thick" if grams > 67 else "thin"                # 'thick'
# ```
#
# </details>

# %%
def policy(held, gathered, reduced, N, n):
    """Bytes of a piece, gathered and reduced; N parameters, n ranks → three formats."""
    ### BEGIN SOLUTION
    sizes = (held / (N / n), gathered / (2 * N), reduced / N)  # bytes a number
    return tuple("bf16" if size < 3 else "fp32" for size in sizes)
    ### END SOLUTION

# %%
check("22.policy", policy)

# %% [markdown] tags=["solution"]
# **Why it works.** A rank keeps N / n numbers, 2 N pass through gathers, and N through reduces. 3 lies between 2 and 4,
# far from both, so that the zeros do no harm; `== 2` would miss nearly every real run.
#
# **The most common wrong road** forgets that weights are gathered twice. Then bf16 looks like fp32, and one concludes
# that the policy had no effect. The next one takes the format of the gather for that of the pieces. They are two
# decisions: what is kept decides whether small updates survive (lesson 09), what is gathered decides what travels.
#
# **What follows.** Measure it once in each new setup. A policy that was mistyped costs bytes or digits, and no error.

# %% [markdown]
# ## 22.8 clipped_pieces: one vector on many ranks
#
# *fix · difficulty 3/5 · 10 min · further · idea: squares add up over ranks, lengths do not, and a copy is no piece*
#
# A colleague clips the gradients of a sharded run: all gradients together are one vector, and if it is longer than
# `limit` it is shortened to it. The log shows three odd things. The more ranks, the smaller the steps, though the
# gradients are the same. Two runs, one with the gains of the norms cut and one with copies of them on every rank, do
# not agree. And late in training, when gradients are small, the steps do not become smaller with them. **Three things
# are wrong.** Mend them; the last line is right.
#
# `clipped_pieces(pieces, copies, limit)`:
# - `pieces[rank][i]`: rank's piece of gradient i, a tensor of any shape, which may be empty
# - `copies[i]`: True if gradient i is *not* cut, so that every rank has all of it, the same numbers. In the one vector
#   it occurs once.
# - `limit`: above 0. Not all gradients are zero.
# - result: the same nested lists, all gradients multiplied by one factor, so that the whole vector is at most `limit`
#   long; a vector that is short enough stays as it is. Leave the tensors as they were.
# ```python
# pieces = [[torch.tensor([3.0])], [torch.tensor([4.0])]]      # one gradient, (3, 4), on two ranks: its length is 5
# clipped_pieces(pieces, [False], 1.0)             # [[tensor([0.6000])], [tensor([0.8000])]]
# clipped_pieces(pieces, [False], 9.0)             # as it was
# clipped_pieces([[torch.tensor([5.0])], [torch.tensor([5.0])]], [True], 1.0)      # [[tensor([1.])], [tensor([1.])]]
# ```
#
# <details><summary>Hint 1</summary>
#
# Run the three examples. What does `total` come to in each, and what is the length of the vector?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A length is the root of a sum of squares. Sums of squares may be added up piece by piece, in any order; roots may not
# (section 8). In this sum each number of the vector must occur once, however many ranks hold it. And ask what the
# factor should be for a vector that is shorter than the limit.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: the average size of pupils, from the lists of two classes; the head of the school is
# on both lists.
# ```python
# lists = [{"Ada": 150, "Bo": 148, "head": 180}, {"Cy": 161, "head": 180}]
# total = sum(size / (2 if name == "head" else 1) for one in lists for name, size in one.items())     # 639.0
# total / 4                        # 159.75; the mean of the two lists' means is another number
# ```
#
# </details>

# %%
def clipped_pieces(pieces, copies, limit):
    """pieces[rank][i]; is gradient i a copy on every rank?; longest length → pieces, clipped."""
    ### BEGIN SOLUTION
    total = 0.0
    for of_rank in pieces:
        for grad, copied in zip(of_rank, copies):
            total += grad.square().sum().item() / (len(pieces) if copied else 1)
    factor = min(1.0, limit / math.sqrt(total))
    return [[grad * factor for grad in of_rank] for of_rank in pieces]
    ### STUB
    # total = 0.0
    # for of_rank in pieces:
    #     for grad, copied in zip(of_rank, copies):
    #         total += grad.norm().item()
    # factor = limit / total
    # return [[grad * factor for grad in of_rank] for of_rank in pieces]
    ### END SOLUTION

# %%
check("22.clipped_pieces", clipped_pieces)

# %% [markdown] tags=["solution"]
# **Why it works.** `total` is the square of the length, each number of the vector in it once: a copy on n ranks comes
# in n times with one n-th. On real ranks the outer loop is an all-reduce of one number. That is all that sharded
# clipping sends.
#
# **The most common wrong road** is that each rank clips what it has by the length of what it has. Every rank then has
# another factor, the vector turns, and where copies are clipped by different factors they are no longer copies: the
# ranks drift apart without an error.
#
# The faulty version's factor against the right one, for one gradient cut over more and more ranks:

# %% tags=["solution"]
gradient = torch.randn(4096, generator=torch.Generator().manual_seed(3))
for n in (1, 4, 16, 64):
    cut = [[piece] for piece in gradient.chunk(n)]
    length = torch.cat([piece for piece, in clipped_pieces(cut, [False], 1.0)]).norm()
    faulty = gradient.norm() / sum(piece.norm() for piece, in cut)
    print(f"{n:>2} ranks: length {length:.3f}; by the sum of the lengths it would be {faulty:.3f}")

# %% [markdown]
# ## 22.9 shard_the_ema: a mean that moves to other ranks
#
# *write · difficulty 4/5 · 20 min · further · unaided · idea: ask first what needs the whole, then who has the rows*
#
# **Assistant off: no AI, no hints at first, only the lesson and your own experiments.** This is the test of whether
# sharding is now yours.
#
# A colleague adds a running mean of the weights (lesson 11) to a sharded run. After the next update the run moves to
# another number of ranks, and the mean must move with it. Write `shard_the_ema(ema, weights, beta, new)`:
#
# - `ema`, `weights`: lists with an entry for each old rank: its rows of one matrix, (rows, C) float32, in order. The
#   ranks may hold different numbers of rows, or none; a rank has as many rows of the mean as of the weights.
# - first the mean is updated: `beta` times the old mean, and 1 − `beta` times the weights
# - then it is cut for `new` ranks, as `rows_of` in section 7 does: each rank gets ⌈rows / new⌉ rows, in order, until
#   there are none left; the last ranks may get fewer, or none. Rows are those of the whole matrix.
# - result: a list of `new` tensors (rows, C), also of those without a row. Leave the arguments as they were.
#
# **Each piece has memory of its own.** A view of something larger keeps all of it alive (section 2), so `check` refuses
# one.
# ```python
# ema = [torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0]])]          # two ranks, with 2 and 1 rows
# weights = [torch.tensor([[8.0], [8.0]]), torch.tensor([[8.0]])]
# shard_the_ema(ema, weights, 0.75, 1)     # [tensor([[2.0000], [3.5000], [5.0000]])]
# shard_the_ema(ema, weights, 0.75, 2)     # the same rows, 2 and 1
# [len(piece) for piece in shard_the_ema(ema, weights, 0.75, 4)]       # [1, 1, 1, 0]
# ```
#
# <details><summary>Hint 1</summary>
#
# Does the update of the mean read more than one number of the matrix? Does the new cut?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The update works number by number, so each old rank can do it for its rows (section 8). For the cut, give every row
# its number in the whole matrix: where does each old piece begin, and where does each new one begin and end? Old and
# new pieces overlap in rows from the later begin to the earlier end (section 7). What do `chunk` and `tensor_split`
# return for 5 rows and 4 ranks?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: 7 pages on three stacks are to be put into folders of 3, and there are four folders.
# ```python
# stacks = [["a", "b"], [], ["c", "d", "e", "f", "g"]]
# pages = [page for stack in stacks for page in stack]
# [pages[3 * folder : 3 * folder + 3] for folder in range(4)]
# # [['a', 'b', 'c'], ['d', 'e', 'f'], ['g'], []]
# ```
#
# </details>

# %%
def shard_the_ema(ema, weights, beta, new):
    """Lists of each old rank's rows (rows, C), beta, new ranks → each new rank's rows."""
    ### BEGIN SOLUTION
    moved = [beta * e + (1 - beta) * w for e, w in zip(ema, weights)]  # pieces are enough
    begins = [0]
    for piece in moved:
        begins.append(begins[-1] + len(piece))
    rows = begins[-1]
    size, found = math.ceil(rows / new), []
    for rank in range(new):
        a, b = rank * size, (rank + 1) * size
        mine = [piece[max(a - begin, 0) : max(b - begin, 0)] for piece, begin in zip(moved, begins)]
        found.append(torch.cat(mine))
    return found
    ### END SOLUTION

# %%
check("22.shard_the_ema", shard_the_ema)

# %% [markdown] tags=["solution"]
# **Why it works.** Row number r of the whole is row r − `begin` of the piece that begins at `begin`. A slice that ends
# before the piece does, or begins after it, is cut off or empty by itself, and `cat` copies what is left. A new rank
# touches only rows that it will hold.
#
# **The most common wrong roads.** `torch.chunk` returns fewer pieces than you asked for when there is nothing left for
# the last ones, and `tensor_split` cuts 5 rows for 4 ranks into 2, 1, 1, 1. Either disagrees with whoever reads the
# checkpoint next. Slices of the whole matrix without a copy are right in all numbers, and keep the whole matrix on
# every rank.
#
# **What follows.** The mean is kept in pieces like AdamW's state: 4/n bytes a parameter more. Asked of everything that
# you may want to add to a run: does it read more than one number? A mean of weights does not. The cosine between the
# weights and their mean would: a sum over all ranks, of three numbers.

# %% tags=["solution"]
matrix = torch.arange(22.0).view(11, 2)
for old, new in ((4, 3), (3, 4), (2, 8)):
    pieces = shard_the_ema(list(matrix.tensor_split(old)), list(matrix.tensor_split(old)), 0.9, new)
    torch.testing.assert_close(torch.cat(pieces), matrix)
    print(f"11 rows from {old} to {new} ranks: {[len(piece) for piece in pieces]} rows")
