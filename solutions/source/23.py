# %% [markdown]
# # 23 · Tensor and pipeline parallel: exercises
#
# Ten exercises; the four marked *core* are enough to go on. Write your function, run the cell below it, and read what
# `check` says: it tells you which idea produced your result. Being stuck on one never blocks the next. Of the three
# hints the first is a question; try again before you open another.
#
# As in the lesson, **a list has an entry for each rank**, and all ranks live in one process. So you can see what every
# rank holds; what a rank may use is its own entry, and what was summed over all of them. Leave what you are handed as
# it was.

# %% tags=["setup"]
import math
import statistics

import torch
import torch.nn.functional as F

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 23.1 which_cut: a block on n ranks
#
# *predict · difficulty 2/5 · 8 min · core · try first · idea: what the first matrix leaves, the second takes*
#
# **Try this before you read section 1.** Several ranks compute one block of a GPT-2 together: all of them have the
# block's input, and all want its output. Two ways to cut an `nn.Linear`, whose weight is stored as (outputs, inputs):
#
# - by **outputs**: each rank holds some rows of the weight, takes the whole input, and has some of the outputs,
#   finished;
# - by **inputs**: each rank holds some columns, takes only the matching inputs, and has a summand of *every* output. A
#   sum over the ranks finishes them, and gives them to all.
#
# What is not cut is **whole**: every rank holds it, and uses it for the same numbers as all others.
#
# The ranks may talk only **twice**: one sum at the end of attention, one at the end of the MLP. Between the two
# matrices of the MLP stands a GELU. A rank computes some of the heads.
#
# **Predict** how each parameter lies: complete the dictionary in `which_cut()` with `"outputs"`, `"inputs"` or
# `"whole"`. For a bias, `"outputs"` means: a rank holds those numbers that belong to its own outputs. (`attn.k` and
# `attn.v` go like `attn.q`.)
#
# <details><summary>Hint 1</summary>
#
# Follow the MLP. Cut `mlp.up` one way and then the other. In which of the two has a rank a finished number for each of
# its units, so that it can take the GELU?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A pair of matrices needs one sum if the first leaves on each rank exactly what the second one takes (section 1).
# Attention is such a pair, too: heads lie between its two matrices. A bias is added to an output when this is finished:
# ask of each bias which rank holds the finished number. And what does a norm need to know of a token?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two people count the money of two tills.
# ```python
# coins = torch.tensor([[3, 1], [2, 5]])                  # (till, kind of coin)
# value = torch.tensor([10, 50])
# coins[:1] @ value, coins[1:] @ value                    # by till: (80,) and (270,), each finished by one person
# coins[:, :1] @ value[:1], coins[:, 1:] @ value[1:]      # by kind: (30, 20) and (50, 250), still to be added
# ```
# There are 5 in each till from yesterday. By till, everyone adds them to the tills that they have counted. By kind,
# they are added once, to the sums.
#
# </details>

# %%
def which_cut():
    """Parameter of a GPT-2 block → "outputs", "inputs" or "whole"."""
    ### BEGIN SOLUTION
    return {
        "norm1.weight": "whole",
        "attn.q.weight": "outputs",
        "attn.q.bias": "outputs",
        "attn.out.weight": "inputs",
        "attn.out.bias": "whole",
        "norm2.bias": "whole",
        "mlp.up.weight": "outputs",
        "mlp.up.bias": "outputs",
        "mlp.down.weight": "inputs",
        "mlp.down.bias": "whole",
    }
    ### STUB
    # return {
    #     "norm1.weight": "",
    #     "attn.q.weight": "",
    #     "attn.q.bias": "",
    #     "attn.out.weight": "",
    #     "attn.out.bias": "",
    #     "norm2.bias": "",
    #     "mlp.up.weight": "",
    #     "mlp.up.bias": "",
    #     "mlp.down.weight": "",
    #     "mlp.down.bias": "",
    # }
    ### END SOLUTION

# %%
check("23.which_cut", which_cut)

# %% [markdown] tags=["solution"]
# **Why it works.** By outputs, a rank has finished units, or finished heads, and does with them all that goes on number
# by number or head by head. What it then holds are some of the *inputs* of the second matrix, so that this one is cut
# by inputs. Its outputs are summands, and one sum finishes them. A bias belongs to a finished number. Those of the
# first matrix are where their units are. Those of the second are added once, after the sum, by everybody to their own
# copy of it. Norms look at all features of a token, and find all of them on every rank.
#
# **The most common wrong roads.** All matrices by outputs: then the second matrix needs all units, and somebody has to
# gather them. First by inputs, then by outputs: this puts the sum before the GELU and a gather behind it. And
# `mlp.down.bias` cut by inputs: a bias has none.
#
# Cut a real block by your dictionary, and add up twice:

# %% tags=["solution"]
import copy

from minigpt import ModelConfig
from minigpt.model import Block, rope_frequencies, rope_table

DIMENSION = {"outputs": 0, "inputs": 1, "whole": None}


def cut_block(block, n, how):
    """A block -> n blocks with fewer heads and a narrower MLP; how: name → dimension, or None"""
    parts = [copy.deepcopy(block) for _ in range(n)]
    for rank, part in enumerate(parts):
        for name, p in part.named_parameters():
            p.data = p.data if how(name) is None else p.data.chunk(n, how(name))[rank].clone()
    return parts


TABLE = which_cut()


def lies(name):
    for other, known in (("attn.k", "attn.q"), ("attn.v", "attn.q"), ("mlp.gate", "mlp.up")):
        name = name.replace(other, known)
    return DIMENSION[TABLE.get(name, "whole")]

# %% tags=["solution"]
def large(block, seed):
    """Weights so large that no mistake is too small to see"""
    g = torch.Generator().manual_seed(seed)
    for p in block.parameters():
        p.data = p.data + 0.2 * torch.randn(p.shape, generator=g)
    return block


sizes = dict(layers=1, width=24, heads=4, head_size=6, mlp_width=40, vocab_size=30, context=16)
gpt2 = ModelConfig("gpt2", kv_heads=4, activation="gelu", **sizes)
block, n = large(Block(gpt2, 0), 1), 2
parts = cut_block(block, n, lies)
x = torch.randn(3, 7, 24, generator=torch.Generator().manual_seed(2))
with torch.no_grad():
    y = x - (n - 1) * block.attn.out.bias  # in this list every rank adds it
    y = y + sum(part.attn(part.norm1(x), None, None, None, None) for part in parts)
    z = y - (n - 1) * block.mlp.down.bias + sum(part.mlp(part.norm2(y)) for part in parts)
    print(f"largest difference {(z - block(x, None, None, None, None)).abs().max():.0e}")

# %% [markdown]
# ## 23.2 row_parallel: a bias too many
#
# *fix · difficulty 1/5 · 10 min · further · idea: what belongs to the sum is added to the sum, once*
#
# A linear layer, cut by its inputs (section 1). On one rank the function below is right, on two its outputs are off,
# and on eight they are far off. **One line does something that belongs to another.** Mend it.
#
# `row_parallel(xs, weights, bias)`:
# - `xs[r]` (…, C / n): rank r's part of the input's features
# - `weights[r]` (O, C / n): the matching columns of the weight, stored as in `nn.Linear`
# - `bias` (O,): whole on every rank
# - result: a list with the whole layer's output (…, O) for each rank, the same for all.
# ```python
# xs, weights = [torch.tensor([[1.0]]), torch.tensor([[2.0]])], [torch.tensor([[3.0]]), torch.tensor([[4.0]])]
# row_parallel(xs, weights, torch.tensor([10.0]))       # [tensor([[21.]]), tensor([[21.]])]: 1 · 3 + 2 · 4 + 10
# ```
#
# <details><summary>Hint 1</summary>
#
# Set all inputs of the example to zero. What should the layer give then, and what does it give?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Each rank's product is a summand of every output (section 1). Whatever is done to a summand is done n times when they
# are added up. So ask what belongs to a summand, and what to the sum.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: three people weigh their parts of the flour, in the same bowl of 300 g.
# ```python
# on_the_scale = [500, 550, 450]                     # each with the bowl
# sum(on_the_scale)                                  # 1500: with three bowls
# sum(w - 300 for w in on_the_scale) + 300           # 900: the flour, and the bowl in which it is in the end
# ```
#
# </details>

# %%
def row_parallel(xs, weights, bias):
    """xs[r] (…, C / n), weights[r] (O, C / n), bias (O,) → the output (…, O) on every rank."""
    ### BEGIN SOLUTION
    partial = [x @ w.T for x, w in zip(xs, weights)]
    total = sum(partial) + bias
    return [total.clone() for _ in partial]
    ### STUB
    # partial = [x @ w.T + bias for x, w in zip(xs, weights)]
    # total = sum(partial)
    # return [total.clone() for _ in partial]
    ### END SOLUTION

# %%
check("23.row_parallel", row_parallel)

# %% [markdown] tags=["solution"]
# **Why it works.** The products are summands, and the bias is not one of them: it is added after the sum. Equally
# right, and slightly slower: only one rank adds the bias before the sum, or each adds an n-th of it.
#
# **The most common wrong road** after the bug itself is to halve the bias, since the test had two ranks. The second is
# to add it on rank 0 *after* the sum: then the ranks hold different outputs, and from the next layer on each computes
# for a model of its own.
#
# How far off is the bug, by the number of ranks?

# %% tags=["solution"]
g = torch.Generator().manual_seed(0)
x, w, b = (torch.randn(shape, generator=g) for shape in ((5, 24), (7, 24), (7,)))
for n in (1, 2, 3, 4, 8):
    xs, ws = x.chunk(n, 1), w.chunk(n, 1)
    bug = sum(x @ w.T + b for x, w in zip(xs, ws))
    ours = row_parallel(xs, ws, b)[0]
    right = F.linear(x, w, b)
    print(f"{n} ranks: the bug is off by {(bug - right).abs().max():.1f}, "
          f"mended by {(ours - right).abs().max():.0e}")

# %% [markdown]
# ## 23.3 needs_a_sum: whose gradient is incomplete?
#
# *fill · difficulty 3/5 · 10 min · core · idea: whole parameters on cut activations have cut gradients*
#
# Tensor parallelism with f and g as in section 1: attention and MLP each enter by f and leave by g. With **sequence
# parallelism** (section 2) an all-gather takes the place of f and a reduce-scatter that of g, and between them, in the
# norms and in the residual stream, a rank has only its own positions.
#
# After the backward pass every rank has a gradient for each parameter that it holds. For a *cut* parameter that is the
# gradient of its own part. For a *whole* one, is it the whole gradient, the same on all ranks, or does each rank have
# only a summand?
#
# Fill the holes in `needs_a_sum(family, sequence_parallel)`: `family` is `"gpt2"` or `"modern"`, `sequence_parallel` is
# True or False → a set of the names of all parameters of a block whose gradients must still be **added up over the
# ranks**.
#
# The parameters of a `"modern"` block: the weights of `norm1`, `attn.q`, `attn.k`, `attn.v`, `attn.out`, `attn.q_norm`,
# `attn.k_norm`, `norm2`, `mlp.gate`, `mlp.up`, `mlp.down`. (`attn.q_norm` and `attn.k_norm` act on each head of q and
# of k, with one gain for all heads.) Of a `"gpt2"` block: weight and bias of `norm1`, `attn.q`, `attn.k`, `attn.v`,
# `attn.out`, `norm2`, `mlp.up`, `mlp.down`. The names are written as PyTorch writes them, `"attn.q.weight"`; `attn.out`
# and `mlp.down` are cut by inputs, and their biases are added after g, or after the reduce-scatter.
#
# <details><summary>Hint 1</summary>
#
# Take one parameter that every rank holds whole. Which activations does it touch on rank 0: all that it touches in one
# process, or some of the heads, or some of the positions?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A parameter's gradient is a sum over all places at which it was used. If a rank has seen all of these places, and the
# whole gradient of each, its sum is complete; f sees to it that what comes out of attention and MLP is (end of section
# 1). If it has seen some of them, its sum is a summand. Without sequence parallelism only heads and units are cut; with
# it positions as well, but only outside of attention and MLP.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a price list hangs in two branches. By how much would income change if the price of
# bread rose by one?
# ```python
# bread = [120, 80]             # loaves sold, by branch: each branch knows its own customers
# sum(bread)                    # 200: what each branch finds is a summand
# flour = [500, 500]            # kilograms used by the one mill, and both branches have read the mill's book
# flour[0]                      # 500: both know all of it; the sum would count everything twice
# ```
#
# </details>

# %%
def needs_a_sum(family, sequence_parallel):
    """ "gpt2" or "modern", True or False → names of parameters with a part of their gradient."""
    names = set()
    ### BEGIN SOLUTION
    if family == "modern":
        names |= {"attn.q_norm.weight", "attn.k_norm.weight"}
    if sequence_parallel:
        names |= {"norm1.weight", "norm2.weight"}
        if family == "gpt2":
            names |= {"norm1.bias", "norm2.bias", "attn.out.bias", "mlp.down.bias"}
    ### STUB
    # if family == "modern":
    #     names |= {...}  # whichever way the positions lie
    # if sequence_parallel:
    #     names |= {...}  # in both families
    #     if family == "gpt2":
    #         names |= {...}
    ### END SOLUTION
    return names

# %%
check("23.needs_a_sum", needs_a_sum)

# %% [markdown] tags=["solution"]
# **Why it works.** Two things are cut: heads and units by tensor parallelism, positions by sequence parallelism. The
# gains of `q_norm` and `k_norm` are whole and work on a rank's own heads, however positions lie; inside attention every
# rank has all of these. Norms and the late biases work on the residual stream. That is whole without sequence
# parallelism, and its gradient too, thanks to f; with it, a rank sees its own positions only.
#
# **The most common wrong roads.** "What is whole has a whole gradient" forgets that a parameter is not what it works
# on. Adding up all of them, to be safe, makes the norms' gradients n times too large. And the late biases are easily
# forgotten, as they belong to cut layers.
#
# Try it: two ranks as lists in one process. Each operator is a list function forward and its mirror image backward:

# %% tags=["solution"]
class Talk(torch.autograd.Function):
    """`there` on the list of all ranks' tensors forward, `back` on that of their gradients"""

    @staticmethod
    def forward(ctx, there, back, *xs):
        ctx.back = back
        return tuple(x.clone() for x in there(xs))

    @staticmethod
    def backward(ctx, *grads):
        return None, None, *(grad.clone() for grad in ctx.back(grads))


def add(xs):
    return [sum(xs) for _ in xs]


def gather(xs):
    return [torch.cat(xs, 1) for _ in xs]


def scatter(xs):
    return sum(xs).chunk(len(xs), 1)


def rope_of(c, T):
    return rope_table(torch.arange(T), rope_frequencies(c)) if c.family == "modern" else None


WAYS = {False: (list, add), True: (gather, scatter)}  # forward on entering, backward on entering

# %% tags=["solution"]
def on_two_ranks(parts, x, c, sequence_parallel):
    """A block of two ranks, forward and backward, with the loss y²: fills the gradients of parts"""
    rope = rope_of(c, x.shape[1])
    into, out = WAYS[sequence_parallel]
    ys = list(x.chunk(2, 1)) if sequence_parallel else [x, x]
    for norm, layer, last in (("norm1", "attn", "out"), ("norm2", "mlp", "down")):
        normed = Talk.apply(into, out, *(getattr(p, norm)(y) for p, y in zip(parts, ys)))
        more = (rope, None, None, None) if layer == "attn" else ()
        done = [getattr(p, layer)(y, *more) for p, y in zip(parts, normed)]
        biases = [getattr(getattr(p, layer), last).bias for p in parts]
        done = [y if b is None else y - b for y, b in zip(done, biases)]  # not yet
        done = Talk.apply(out, into, *done)  # the mirror image
        done = [y if b is None else y + b for y, b in zip(done, biases)]
        ys = [y + d for y, d in zip(ys, done)]
    sum(y.square().sum() for y in ys).backward()

# %% tags=["solution"]
modern = ModelConfig("modern", kv_heads=2, **sizes)
x = torch.randn(3, 8, 24, generator=torch.Generator().manual_seed(3))
for c in (gpt2, modern):
    for sequence_parallel in (False, True):
        whole = large(Block(c, 0), 4)
        parts = cut_block(whole, 2, lies)
        on_two_ranks(parts, x, c, sequence_parallel)
        whole(x, rope_of(c, 8), None, None, None).square().sum().backward()
        found, first = set(), dict(parts[0].named_parameters())
        for name, p in whole.named_parameters():
            right = p.grad if lies(name) is None else p.grad.chunk(2, lies(name))[0]
            if (first[name].grad - right).abs().max() > 1e-3 * (1 + right.abs().max()):
                found.add(name)
        assert found == needs_a_sum(c.family, sequence_parallel)
        print(f"{c.family}, sequence parallel {sequence_parallel}:", *(sorted(found) or ["none"]))

# %% [markdown]
# ## 23.4 vocab_parallel_gradient: what backward has to send
#
# *write · difficulty 3/5 · 15 min · further · idea: softmax minus one-hot, and each rank knows its part of both*
#
# Logits are cut by vocabulary. The forward pass (section 1) has computed the loss and has left two numbers for each
# position on every rank: `top`, the largest logit, and `total`, the sum of all exp(logit − `top`), both over the
# *whole* vocabulary. Now the gradient of the **mean** loss over the N positions with respect to the logits. What must
# the ranks send each other for it?
#
# Write `vocab_parallel_gradient(parts, targets, top, total)`:
# - `parts[r]` (N, V / n): rank r's logits. Token v lies on rank v // (V / n)
# - `targets` (N,) int64: tokens, numbered in the whole vocabulary
# - `top`, `total` (N,)
# - result: a list of the gradients, (N, V / n) for each rank. For entry r you may use `parts[r]`, `targets`, `top` and
#   `total`, and nothing of another rank.
# ```python
# parts = [torch.tensor([[0.0]]), torch.tensor([[math.log(3.0)]])]        # probabilities 1/4 and 3/4
# vocab_parallel_gradient(parts, torch.tensor([1]), torch.tensor([math.log(3.0)]), torch.tensor([4 / 3]))
# # [tensor([[0.2500]]), tensor([[-0.2500]])]
# ```
# Logits may be as large as 300.
#
# <details><summary>Hint 1</summary>
#
# What is the derivative of the loss by one logit, in one process? Which of the things in it does a rank not know
# already?
#
# </details>
# <details><summary>Hint 2</summary>
#
# It is p − y (lesson 03): the probability, minus one where the target is. The probability is the exponential, relative
# to the maximum, divided by the sum, and both of these are on every rank. The target lies on one rank only: subtract
# the number of tokens on the ranks before, and ask whether what is left is a place of yours. A mean over N divides by
# N.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: house number 6 has won a prize, and there are 4 houses in each of three streets.
# ```python
# streets = [torch.zeros(4) for _ in range(3)]
# for number, houses in enumerate(streets):
#     door = 6 - 4 * number                  # 6, 2 and -2
#     if 0 <= door < len(houses):            # only in the street with the number 1 is it a door
#         houses[door] += 100
# ```
# `6 % 4` is 2 in every street, and would give three prizes.
#
# </details>

# %%
def vocab_parallel_gradient(parts, targets, top, total):
    """parts[r] (N, V / n), targets, top, total (N,) → gradients of the mean loss, as parts."""
    ### BEGIN SOLUTION
    grads = []
    for rank, z in enumerate(parts):
        size = z.shape[1]
        grad = torch.exp(z - top[:, None]) / total[:, None]
        place = targets - rank * size
        mine = ((place >= 0) & (place < size)).nonzero()[:, 0]
        grad[mine, place[mine]] -= 1
        grads.append(grad / len(targets))
    return grads
    ### END SOLUTION

# %%
check("23.vocab_parallel_gradient", vocab_parallel_gradient)

# %% [markdown] tags=["solution"]
# **Why it works, and the surprise.** Nothing is sent. Softmax minus one-hot needs the row's maximum and sum, which the
# forward pass has already given to all ranks, and the target, which all of them read. So the loss costs three small
# all-reduces forward and none backward.
#
# **The most common wrong roads.** A softmax over the rank's own part has the right shape and adds up to one on *each*
# rank, so n times too much probability is pushed down. `targets % size` subtracts one on every rank. And a division by
# N · n, "because each rank has its share", forgets that it is vocabulary that is cut, not positions.
#
# Against PyTorch:

# %% tags=["solution"]
g = torch.Generator().manual_seed(0)
z = (9 * torch.randn(70, 320, generator=g)).requires_grad_()
targets = torch.randint(320, (70,), generator=g)
F.cross_entropy(z, targets).backward()
top = z.detach().amax(1)
total = torch.exp(z.detach() - top[:, None]).sum(1)
for n in (1, 2, 4, 5):
    grads = vocab_parallel_gradient(z.detach().chunk(n, 1), targets, top, total)
    print(f"{n} ranks: largest difference {(torch.cat(grads, 1) - z.grad).abs().max():.0e}")

# %% [markdown]
# ## 23.5 one_forward_one_backward: a schedule in order
#
# *order · difficulty 2/5 · 10 min · core · idea: send ahead as many as there are stages behind you, then take turns*
#
# A pipeline of `p` stages, one a rank, and `m` micro-batches. In the 1F1B schedule the last stage goes backward right
# after each forward pass. Every other stage first sends ahead **as many micro-batches as there are stages behind it**,
# or all of them if there are fewer. Then it alternates: one forward, one backward. At the end it does the backward
# passes that are left. Micro-batches go in their order, forward and backward.
#
# Here are its lines, shuffled. **One line is there in two versions**: delete one of them, and put the rest in order.
# Mind the indentation: two lines belong inside the loop.
#
# `one_forward_one_backward(p, m, rank)`, with `rank` from 0 → a list of pairs, the kind and the number of the
# micro-batch:
# ```python
# one_forward_one_backward(2, 2, 0)
# # [('forward', 0), ('forward', 1), ('backward', 0), ('backward', 1)]
# one_forward_one_backward(2, 2, 1)
# # [('forward', 0), ('backward', 0), ('forward', 1), ('backward', 1)]
# ```
#
# <details><summary>Hint 1</summary>
#
# How many stages are behind the last one, and behind the first of four? What does each of the two lines for `ahead`
# say?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Three phases (section 3): fill, take turns, drain. In the loop a stage goes forward before it goes backward: the last
# stage has nothing ahead, and cannot go backward on what has not come yet. How many backward passes does the loop do,
# and which are left?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: five pages, and a printer that wants two of them loaded in advance.
# ```python
# loaded = printed = 0
# while printed < 5:
#     if loaded < min(printed + 3, 5):         # two in advance, and the one that is printed next
#         loaded += 1
#     else:
#         printed += 1
# # load load load print load print load print print print
# ```
#
# </details>

# %%
def one_forward_one_backward(p, m, rank):
    """p stages, m micro-batches → what a rank does: pairs (kind, number), in order."""
    ### BEGIN SOLUTION
    ahead = min(p - 1 - rank, m)
    order = [("forward", i) for i in range(ahead)]
    for i in range(m - ahead):
        order.append(("forward", ahead + i))
        order.append(("backward", i))
    order += [("backward", i) for i in range(m - ahead, m)]
    return order
    ### STUB
    # return order
    # for i in range(m - ahead):
    #     order.append(("backward", i))
    #     order.append(("forward", ahead + i))
    # ahead = min(p - rank, m)
    # order += [("backward", i) for i in range(m - ahead, m)]
    # order = [("forward", i) for i in range(ahead)]
    # ahead = min(p - 1 - rank, m)
    ### END SOLUTION

# %%
check("23.one_forward_one_backward", one_forward_one_backward)

# %% [markdown] tags=["solution"]
# **Why it works.** A micro-batch comes back to a stage when it has passed all those behind it, there and back. In the
# meantime the stage sends one more for each of them. From then on each new micro-batch takes the place of one that is
# done, so that a rank keeps p − rank of them, and never more.
#
# **The most common wrong road** is one micro-batch too many ahead. No loss and no clock would tell: each rank keeps the
# activations of one micro-batch more than it needs. (With the line `ahead = min(p - rank, m)` *and* the backward pass
# first in the loop you get the very same schedule, for then the one too many belongs to the turns: that is right, too.)
# One too few costs time (section 3). With `min` left out, fewer micro-batches than stages lead to numbers that do not
# exist.

# %% tags=["solution"]
for rank in range(4):
    order = one_forward_one_backward(4, 6, rank)
    print(f"rank {rank}:", " ".join(f"{kind[0]}{i}" for kind, i in order))

# %% [markdown]
# ## 23.6 judge_pipeline: read the log
#
# *measure · difficulty 4/5 · 15 min · further · idea: no loss shows a bad schedule; its order does*
#
# A pipeline is slower than you hoped, or needs more memory. You have a log of events (rank, kind, start, end) of one
# step: kind is `"forward"` or `"backward"`, times are seconds of one clock. The events come **in any order**; each rank
# has m of each kind, and does one thing at a time.
#
# Write `judge_pipeline(events, p)`, for the ranks 0 to p − 1 → a pair (bubble, verdict). The **bubble** is the share of
# all ranks' time in which they wait, from the first start to the last end of any rank. A micro-batch is **under way**
# on a rank from its forward pass until its backward pass. The verdict is the *first* of these that applies:
#
# - `"slow stage"`: take the mean length of each rank's forward passes. The largest of these p means is more than 1.5
#   times their median (`statistics.median`).
# - `"keeps too much"`: on some rank, more than p micro-batches are under way at the same time.
# - `"sends too few"`: some rank r begins its first backward pass with fewer than p − r micro-batches under way (or
#   fewer than m, where m is smaller). The one that now goes backward still counts.
# - `"fine"`
# ```python
# events = [(1, "forward", 6.0, 7.0), (0, "forward", 5.0, 6.0), (1, "backward", 7.0, 9.0), (0, "backward", 9.0, 11.0)]
# judge_pipeline(events, 2)        # (0.5, 'fine'): 6 of 12 seconds, and one micro-batch cannot do better
# ```
#
# <details><summary>Hint 1</summary>
#
# For the verdict you need each rank's events in the order of time. What is the first thing to do with a list in any
# order?
#
# </details>
# <details><summary>Hint 2</summary>
#
# p ranks have p times the span, and worked for the sum of all lengths (section 3). A forward pass puts one more
# micro-batch under way, a backward pass takes one away. At a rank's first backward pass, how many forward passes came
# before? The last stage needs one, each stage before it one more.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a museum writes down who comes and goes. How many were inside at most, and how many
# when the first one left?
# ```python
# log = [(9.5, "in"), (12.0, "out"), (9.0, "in"), (11.0, "in"), (10.0, "out"), (13.0, "out")]
# log = [what for _, what in sorted(log)]                            # in in out in out out
# inside = [log[:i].count("in") - log[:i].count("out") for i in range(len(log) + 1)]
# max(inside), log.index("out")                                      # (2, 2)
# ```
#
# </details>

# %% tags=["long"]
def judge_pipeline(events, p):
    """Events (rank, kind, start, end) in any order, of p ranks → (bubble, verdict)."""
    ### BEGIN SOLUTION
    events = sorted(events, key=lambda event: event[2])
    span = max(event[3] for event in events) - events[0][2]
    busy = sum(end - start for _, _, start, end in events)
    lengths, most, first = [], [], []
    for rank in range(p):
        own = [event for event in events if event[0] == rank]
        forward = [end - start for _, kind, start, end in own if kind == "forward"]
        lengths.append(sum(forward) / len(forward))
        kinds, under_way = [event[1] for event in own], [0]
        for kind in kinds:
            under_way.append(under_way[-1] + (1 if kind == "forward" else -1))
        most.append(max(under_way))
        first.append(kinds.index("backward"))
    m, verdict = len(events) // (2 * p), "fine"
    if max(lengths) > 1.5 * statistics.median(lengths):
        verdict = "slow stage"
    elif max(most) > p:
        verdict = "keeps too much"
    elif any(count < min(p - rank, m) for rank, count in enumerate(first)):
        verdict = "sends too few"
    return 1 - busy / (p * span), verdict
    ### END SOLUTION

# %%
check("23.judge_pipeline", judge_pipeline)

# %% [markdown] tags=["solution"]
# **Why it works.** The log has what the loss has not: lengths for the first verdict, order for the other two. The
# bubble by itself says little, since a short step of many stages has a large one when all is as it should be. It is a
# symptom; compare it with (p − 1)/(m + p − 1), and look for the cause elsewhere.
#
# **The most common wrong roads.** To measure the span from zero, though clocks do not begin at your first event. To
# look at m instead of at the order: 1F1B may have a thousand micro-batches and keep four. And to forget that with m < p
# a rank cannot send p − r ahead.
#
# Five pipelines of four stages:

# %% tags=["solution", "long"]
def simulated(schedule, p, m, slow=None):
    """Events of a schedule: an action starts when its rank is free and its input has come"""
    queues, done, events = [list(schedule(p, m, rank)) for rank in range(p)], {}, []
    clock = [5.0] * p
    while any(queues):
        for r in range(p):
            if not queues[r]:
                continue
            kind, i = queues[r][0]
            before = (kind, i, r - 1 if kind == "forward" else r + 1)
            before = ("forward", i, r) if kind == "backward" and r == p - 1 else before
            if before not in done and (kind, r) != ("forward", 0):
                continue
            queues[r].pop(0)
            start = max(clock[r], done.get(before, 0.0))
            length = (1 if kind == "forward" else 2) * (2 if r == slow else 1)
            clock[r] = done[kind, i, r] = start + length
            events.append((r, kind, start, clock[r]))
    return events

# %% tags=["solution"]
def gpipe(p, m, rank):
    return [("forward", i) for i in range(m)] + [("backward", i) for i in range(m)]


def timid(p, m, rank):
    """1F1B, but the first stage thinks that there is one stage fewer"""
    return one_forward_one_backward(p - (rank == 0), m, rank)


ours = one_forward_one_backward
for name, m, schedule, slow in (("1F1B", 8, ours, None), ("1F1B, few micro-batches", 2, ours, None),
                                ("GPipe", 8, gpipe, None), ("one too few ahead", 8, timid, None),
                                ("a slow stage", 8, ours, 2)):  # fmt: skip
    bubble, verdict = judge_pipeline(simulated(schedule, 4, m, slow), 4)
    print(f"{name:<24} bubble {bubble:.2f} (formula {3 / (m + 3):.2f}): {verdict}")

# %% [markdown]
# ## 23.7 ring_seconds: which way to cut a sequence?
#
# *measure · difficulty 3/5 · 12 min · further · idea: in each step of the ring all wait for the slowest*
#
# Ring attention over n ranks (section 4), with a causal mask. There are several ways to lay the positions of a sequence
# on the ranks. Which is the fastest, and how long does it take?
#
# Write `ring_seconds(ways, pair, hop)`:
# - `ways`: a dictionary, name → `places`; `places[r]` is an int64 tensor with the positions of rank r, in any order.
#   Slices may differ in length
# - in step s, from 0 to n − 1, rank r has the keys of rank (r − s) mod n. It computes the pairs of one of *its* queries
#   and one of *these* keys in which the key's position is not after the query's. Each pair takes `pair` seconds
# - while it computes, it hands on the keys that it has: `hop` seconds for each position. All ranks begin a step
#   together, and a step is over when **all** have computed and all have sent. After the last step nothing is handed on
# - result: (name, seconds) of the fastest way; of equally fast ones, the first in the dictionary.
# ```python
# plain, odd = [torch.arange(0, 2), torch.arange(2, 4)], [torch.tensor([0, 3]), torch.tensor([1, 2])]
# ring_seconds({"plain": plain}, 1.0, 0.0)                    # ('plain', 7.0): 3 pairs each, then 0 and 4
# ring_seconds({"plain": plain, "odd": odd}, 1.0, 0.0)        # ('odd', 5.0): 3 each, then 2 each
# ring_seconds({"plain": plain}, 1.0, 5.0)                    # ('plain', 14.0): 2 positions take 10, more than 3
# ```
#
# <details><summary>Hint 1</summary>
#
# In the example "plain", rank 0 has nothing to do in step 1. Does it get home earlier for it?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Work through one step at a time: its pairs on each rank, then the largest of them, for everyone waits (section 4).
# Sending happens at the same time as computing, so the longer of the two counts, not their sum. Count pairs by
# *positions*, never by where a position stands in its slice.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two rowers go three legs, and on each leg the boat waits for the slower one; between
# two legs the tide must turn, which takes 7 minutes from the start of a leg.
# ```python
# minutes = [(5, 9), (6, 4), (3, 8)]
# total = 0
# for leg, both in enumerate(minutes):
#     tide = 7 if leg < len(minutes) - 1 else 0
#     total += max(max(both), tide)               # 9, 7 and 8: together 24
# ```
#
# </details>

# %%
def ring_seconds(ways, pair, hop):
    """{name: positions of each rank}, seconds of a pair, of a position → fastest, its seconds."""
    ### BEGIN SOLUTION
    found = {}
    for name, places in ways.items():
        n, total = len(places), 0.0
        for step in range(n):
            keys = [places[(r - step) % n] for r in range(n)]
            pairs = [int((k <= q[:, None]).sum()) for q, k in zip(places, keys)]
            send = max(len(k) for k in keys) * hop if step < n - 1 else 0.0
            total += max(max(pairs) * pair, send)
        found[name] = total
    best = min(found, key=found.get)
    return best, found[best]
    ### END SOLUTION

# %%
check("23.ring_seconds", ring_seconds)

# %% [markdown] tags=["solution"]
# **Why it works.** The largest of each step, added up. The order of the two matters: the largest of the sums would let
# a rank run ahead that has to wait for keys.
#
# **The most common wrong roads.** All pairs of a slice counted, which hides the imbalance: then every way is equally
# good. The slowest *rank* instead of the slowest of each step. And half of a slice's square in step 0, then a whole one
# or nothing: that is so for plain slices only.
#
# The slower the links, the less the way matters, for then the messages decide:

# %% tags=["solution"]
T, n = 96, 4
pieces = torch.arange(T).chunk(2 * n)
three = {"plain": list(torch.arange(T).chunk(n)),
         "zig-zag": [torch.cat([pieces[r], pieces[2 * n - 1 - r]]) for r in range(n)],
         "strided": [torch.arange(r, T, n) for r in range(n)]}  # fmt: skip
for hop in (0.0, 10.0, 20.0, 40.0):
    seconds = {name: ring_seconds({name: places}, 1.0, hop)[1] for name, places in three.items()}
    print(f"hop {hop:4}:", ", ".join(f"{name} {s:.0f}" for name, s in seconds.items()),
          "→", ring_seconds(three, 1.0, hop)[0])  # fmt: skip

# %% [markdown]
# ## 23.8 parcels: who sends how much to whom?
#
# *fill · difficulty 2/5 · 10 min · further · idea: what you take is what the others give: the table, turned*
#
# Before tokens travel to their experts, every rank must know how many will come (section 5). There are `experts`
# experts on `n` ranks, in order: the first experts/n of them on rank 0, the next on rank 1, and so on.
#
# Fill the holes in `parcels(chosen, experts, n)`:
# - `chosen[a]` (N_a, k) int64: the k experts of each of rank a's tokens. Ranks have different numbers of tokens,
#   perhaps none
# - result: (give, take), two lists of n lists of n whole numbers. `give[a][b]`: how many visits rank a sends to rank b.
#   `take[b][a]`: how many rank b receives from rank a. A token that visits two experts of one rank is sent twice; what
#   stays on its rank is counted like the rest.
# ```python
# chosen = [torch.tensor([[0, 3], [3, 2]]), torch.tensor([[0, 1]])]
# parcels(chosen, 4, 2)            # ([[1, 3], [2, 0]], [[1, 2], [3, 0]])
# ```
#
# <details><summary>Hint 1</summary>
#
# In the example, on which rank is expert 2? And with 6 experts on 2 ranks?
#
# </details>
# <details><summary>Hint 2</summary>
#
# All visits of a rank are one long row of numbers of experts (section 5): turn each into the number of its rank, then
# count. Mind the ranks to which nothing goes: they have a place in the row all the same.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two offices write letters to three floors of ten rooms each.
# ```python
# rooms = [torch.tensor([3, 27, 8]), torch.tensor([21])]
# floors = [torch.bincount(own // 10, minlength=3).tolist() for own in rooms]       # [[2, 0, 1], [0, 0, 1]]
# [list(column) for column in zip(*floors)]                                         # [[2, 0], [0, 0], [1, 1]]
# ```
#
# </details>

# %%
def parcels(chosen, experts, n):
    """chosen[a] (N_a, k), experts in order on n ranks → give[a][b] and take[b][a], visits."""
    ### BEGIN SOLUTION
    each = experts // n
    give = [torch.bincount(own.flatten() // each, minlength=n).tolist() for own in chosen]
    take = [[give[a][b] for a in range(n)] for b in range(n)]
    ### STUB
    # each = ...
    # give = [... for own in chosen]
    # take = ...
    ### END SOLUTION
    return give, take

# %%
check("23.parcels", parcels)

# %% [markdown] tags=["solution"]
# **Why it works.** The number of an expert, divided by how many there are on a rank and rounded down, is the number of
# its rank. On real ranks nobody has the whole table: each has its row, and the column comes by an all-to-all of n
# numbers.
#
# **The most common wrong roads.** `% n` deals experts out like cards. `// n` is right only by accident, when there are
# as many experts on a rank as ranks. And without `minlength` the row of a rank that sends nothing to the last one is
# too short.
#
# How uneven is it? Rows that rank b receives, from an even router and from one that likes the first experts:

# %% tags=["solution"]
g = torch.Generator().manual_seed(0)
for name, slope in (("even", 0.0), ("uneven", 1.0)):
    liking = torch.linspace(slope, 0, 8)
    chosen = [(torch.rand(500, 8, generator=g) + liking).topk(2, -1).indices for _ in range(4)]
    come = [sum(row) for row in parcels(chosen, 8, 4)[1]]
    print(f"{name:<7} {come}: all wait for {max(come) / (sum(come) / 4):.2f} times an even share")

# %% [markdown]
# ## 23.9 choose_layout: a machine room, a model, and your choice
#
# *design · difficulty 4/5 · 20 min · core · idea: write down what fits and what it costs, then look at all of it*
#
# A model is to be trained on all GPUs of a machine room: `tp` ranks share each layer, `pp` stages share the stack, and
# `dp` copies share the batch. Which layout is the fastest that fits? Here is a model of the costs, coarse, but with
# every rule of section 6 in it.
#
# Write `choose_layout(model, room)` → the triple (tp, pp, dp) of whole numbers.
# - `model`: a dictionary with `"parameters"`, `"layers"`, `"heads"` and `"batch"` (sequences in a step, one in each
#   micro-batch)
# - `room`: a dictionary with `"gpus"`, `"per_machine"` (GPUs in a machine) and `"memory"` (bytes of a GPU)
#
# What fits:
# - **all** GPUs are used: tp · pp · dp is their number
# - tp divides the heads, pp divides the layers, dp divides the batch; a copy has m = batch / dp micro-batches
# - weights, gradients and optimizer take 18 bytes a parameter, shared evenly by the tp · pp ranks of a copy, and may
#   fill at most 0.7 of a GPU's memory. (The rest is for activations. Copies share nothing.)
#
# What it costs, in units of a step that is perfectly shared out: (1 + c · (tp − 1)) · (m + pp − 1) / m. Here c is 0.03
# as long as tp is at most `per_machine`, and 0.3 for all of the tp ranks as soon as they lie in several machines.
#
# Of equally fast layouts (to 12 digits) take the one with the smaller tp. There is always one that fits.
# ```python
# model = {"parameters": 7e9, "layers": 32, "heads": 32, "batch": 96}
# choose_layout(model, {"gpus": 48, "per_machine": 8, "memory": 80e9})          # (4, 1, 12): cost 1.09
# choose_layout(model, {"gpus": 4, "per_machine": 8, "memory": 80e9})           # (1, 4, 1): cost 1.03; (4, 1, 1): 1.09
# ```
#
# <details><summary>Hint 1</summary>
#
# How many triples are there whose product is the number of GPUs? Few enough to look at each?
#
# </details>
# <details><summary>Hint 2</summary>
#
# If tp and pp are chosen, dp follows, or there is none (section 6). Put the conditions one below the other and skip
# what fails one. Mind that m depends on dp: many copies leave few micro-batches for each, and that makes the bubble
# large. Keep the best so far, and replace it only by one that is truly faster.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a box of 60 litres with whole sides in decimetres, none over 6. Which has the least
# surface?
# ```python
# best = None
# for a in range(1, 7):
#     for b in range(1, 7):
#         c, rest = divmod(60, a * b)
#         if rest or c > 6:
#             continue
#         surface = 2 * (a * b + b * c + c * a)
#         if best is None or surface < best[0]:
#             best = surface, (a, b, c)                 # (94, (3, 4, 5))
# ```
#
# </details>

# %% tags=["long"]
def choose_layout(model, room):
    """Dictionaries of a model and a machine room → the fastest (tp, pp, dp) that fits."""
    ### BEGIN SOLUTION
    best = None
    for tp in range(1, room["gpus"] + 1):
        for pp in range(1, room["gpus"] // tp + 1):
            dp, rest = divmod(room["gpus"], tp * pp)
            if rest or model["heads"] % tp or model["layers"] % pp or model["batch"] % dp:
                continue
            if 18 * model["parameters"] / (tp * pp) > 0.7 * room["memory"]:
                continue
            m = model["batch"] // dp
            price = 0.03 if tp <= room["per_machine"] else 0.3
            cost = (1 + price * (tp - 1)) * (m + pp - 1) / m
            if best is None or cost < best[0] - 1e-12:
                best = cost, (tp, pp, dp)
    return best[1]
    ### END SOLUTION

# %%
check("23.choose_layout", choose_layout)

# %% [markdown] tags=["solution"]
# **Why it works.** A few hundred triples are nothing for a computer, so there is no need to be clever: the conditions
# say what fits, and the cost says which is best. Rules of thumb are answers to this question for the rooms that their
# authors had. With another room it is safer to ask again.
#
# **The most common wrong roads.** To divide the memory by dp as well: that is FSDP, a good idea and another exercise.
# To take the batch for m, so that copies seem to cost nothing. And to set tp to the size of a machine because that is
# the rule: it is a limit, not a target.
#
# What decides? The same model in four rooms, and a batch that is large or small:

# %% tags=["solution"]
model = {"parameters": 70e9, "layers": 80, "heads": 64}
for batch in (128, 1024, 8192):
    for gpus, per_machine, memory in ((128, 8, 80e9), (128, 8, 141e9), (128, 4, 80e9),
                                      (1024, 8, 80e9)):  # fmt: skip
        room = {"gpus": gpus, "per_machine": per_machine, "memory": memory}
        tp, pp, dp = choose_layout(model | {"batch": batch}, room)
        print(f"batch {batch:>4}, {gpus:>4} GPUs, {per_machine} a machine, {memory / 1e9:3.0f} GB: "
              f"tp {tp:>2}, pp {pp:>2}, dp {dp:>3}, {batch // dp:>4} micro-batches")  # fmt: skip

# %% [markdown] tags=["solution"]
# With a large batch the pipeline is nearly free, and tp falls as far as memory and layers allow. With a small one the
# bubble is dear, and tp goes up to the size of a machine. What is not in this model of the costs: a stage cannot send
# before it has computed, one sequence of a long context may not fit on one rank, and small products do not fill a GPU.

# %% [markdown]
# ## 23.10 split_layernorm: a norm over cut features
#
# *write · difficulty 4/5 · 25 min · further · unaided · idea: sums can be shared out*
#
# **Assistant off: no AI, no hints at first, only the lesson and your own experiments.** This is the test of whether
# cutting a computation is now yours.
#
# Tensor parallelism leaves norms whole. Suppose that you cannot: the *features* of each token are cut over the ranks,
# **unevenly**, and a LayerNorm must be taken over all of them.
#
# Write `split_layernorm(parts, gains, biases, eps, all_reduce)`:
# - `parts[r]` (B, C_r) float32: rank r's features; `gains[r]`, `biases[r]` (C_r,): those of the norm
# - `all_reduce(list)`: the only way for ranks to talk. Takes a tensor of each rank, all of the same shape; returns a
#   list with the sum for each rank. You may call it **at most twice**, with tensors of shape **(B, 1)**. `check` raises
#   if you do more, or if you do without. The number of all features, the sum of all C_r, is known to everyone
# - result: the list of (B, C_r) that is `F.layer_norm` of all features side by side, cut again: mean and variance over
#   all features of a token, the variance divided by their number, `eps` added to it under the root.
#
# It must also be right **where the features lie around 3,000 and differ from it by about 1**: to a few thousandths.
# ```python
# def all_reduce(tensors):
#     return [sum(tensors) for _ in tensors]
#
# parts = [torch.tensor([[1.0]]), torch.tensor([[2.0, 3.0]])]
# gains, biases = [torch.ones(1), torch.ones(2)], [torch.zeros(1), torch.zeros(2)]
# split_layernorm(parts, gains, biases, 0.0, all_reduce)       # [tensor([[-1.2247]]), tensor([[0.0000, 1.2247]])]
# ```
#
# <details><summary>Hint 1</summary>
#
# Of which sums over all features is a LayerNorm made? Which of them needs another one first?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Ask what a rank needs that it does not hold (section 1): the mean, then the mean square of the distances from it. Each
# is a sum over features divided by their number, and the number is that of *all* features. There is a formula that gets
# along with a single exchange, but it takes the difference of two numbers of nine million to find one.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: the mean and the mean absolute deviation of the marks of two schools.
# ```python
# schools = [[2.0, 4.0], [5.0, 5.0, 9.0]]
# pupils = sum(len(s) for s in schools)
# mean = sum(sum(s) for s in schools) / pupils                                   # 5.0; the mean of the means is 4.67
# sum(sum(abs(x - mean) for x in s) for s in schools) / pupils                   # 1.6
# ```
#
# </details>

# %%
def split_layernorm(parts, gains, biases, eps, all_reduce):
    """parts[r] (B, C_r), gains[r] and biases[r] (C_r,) → LayerNorm over all features, as parts."""
    ### BEGIN SOLUTION
    width = sum(part.shape[1] for part in parts)
    sums = all_reduce([part.sum(1, keepdim=True) for part in parts])
    centred = [part - total / width for part, total in zip(parts, sums)]
    squares = all_reduce([c.square().sum(1, keepdim=True) for c in centred])
    roots = [torch.rsqrt(s / width + eps) for s in squares]
    return [c * r * g + b for c, r, g, b in zip(centred, roots, gains, biases)]
    ### END SOLUTION

# %%
check("23.split_layernorm", split_layernorm)  # 23.10

# %% [markdown] tags=["solution"]
# **Why it works.** Two sums over all features, one after the other, since the second needs the first. What travels is
# two numbers a token, however wide the model is. Gain and bias work number by number, and need nobody.
#
# **The most common wrong roads.** Each rank norms its own features: the shapes are right, and nothing raises. The
# mean of the ranks' means: right as long as all parts are equally wide. And E[x²] − mean², whose two sums do not wait for
# each other:

# %% tags=["solution"]
g = torch.Generator().manual_seed(0)
widths = (3, 5, 2)
gains, biases = [[torch.randn(w, generator=g) for w in widths] for _ in range(2)]
print("where the features lie   two sums, off by   E[x²] − mean², off by")
for centre in (0.0, 30.0, 300.0, 3000.0):
    parts = [centre + torch.randn(4, w, generator=g) for w in widths]
    whole = [torch.cat(list_, -1).double() for list_ in (parts, gains, biases)]
    right = F.layer_norm(whole[0], (10,), whole[1], whole[2], 1e-5)
    two = split_layernorm(parts, gains, biases, 1e-5, lambda list_: [sum(list_) for _ in list_])
    x = torch.cat(parts, 1)
    variance = x.square().mean(1, keepdim=True) - x.mean(1, keepdim=True).square()
    one = (x - x.mean(1, keepdim=True)) / (variance.clamp(min=0) + 1e-5).sqrt()
    one = one * torch.cat(gains) + torch.cat(biases)
    print(f"{centre:>23} {(torch.cat(two, 1) - right).abs().max():>18.0e} "
          f"{(one - right).abs().max():>23.0e}")  # fmt: skip
