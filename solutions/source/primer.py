# %% [markdown]
# # Primer · Tensors and gradients: exercises
#
# Seven exercises; do those that belong to the sections that you need. Write your function, run the cell below it, and
# read what `check` says: it tells you which idea produced your result. Being stuck on one never blocks the next. Of the
# three hints the first is a question; try again before you open another.
#
# Letters as in the lesson: N rows (T in section 3), C numbers coming in, D numbers going out, V words to choose from.

# %% tags=["setup"]
import math

import torch
import torch.nn.functional as F

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## primer.1 result_shape: which shape comes out?
#
# *predict · difficulty 1/5 · 5 min · core · try first · idea: shapes are lined up at their right ends*
#
# **Try this before you read section 2.** PyTorch can add two tensors of different shapes. Here are five sums that it
# was asked for, and what came out:
#
# | first shape | second shape | shape of the sum |
# |---|---|---|
# | (4, 3) | (3,) | (4, 3) |
# | (4, 3) | (4,) | error |
# | (4, 3) | (4, 1) | (4, 3) |
# | (2, 1) | (1, 7) | (2, 7) |
# | (2, 5, 3) | (5, 1) | (2, 5, 3) |
#
# **Predict first**, on paper: what comes of (6, 1) and (2,)? Of (6, 1) and (3, 2)? Of (5, 2) and (5, 2, 1)?
#
# Then write `result_shape(a, b)`, which predicts it for any two shapes: `a` and `b` are tuples of whole numbers of at
# least 1, of any length; () is the shape of a single number. Return the shape of the sum, a tuple, or None if there is
# an error. (You may ask PyTorch whether you are right. Do it after you have written your own rule.)
# ```python
# result_shape((4, 3), (3,))       # (4, 3)
# result_shape((4, 3), (4,))       # None
# ```
#
# <details><summary>Hint 1</summary>
#
# (4, 3) and (3,) fit, (4, 3) and (4,) do not. At which end must the shapes have been laid side by side?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The rule has three parts (section 2): lined up at the right ends; the shorter one filled up with 1 on the left; then
# each pair of sizes must be equal, or one of them 1. The result has the larger of the two.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two numbers are written as lists of digits, and each digit of the sum is made
# without carrying. They too are lined up at the right.
# ```python
# def add_digits(a, b):
#     length = max(len(a), len(b))
#     a, b = [0] * (length - len(a)) + a, [0] * (length - len(b)) + b
#     return [(m + n) % 10 for m, n in zip(a, b)]
#
# add_digits([7, 0, 5], [4, 8])        # [7, 4, 3]
# ```
#
# </details>

# %%
def result_shape(a, b):
    """Two shapes, tuples of sizes ≥ 1 → the shape of the sum; None: an error."""
    ### BEGIN SOLUTION
    length = max(len(a), len(b))
    a, b = (1,) * (length - len(a)) + a, (1,) * (length - len(b)) + b
    if any(m != n and 1 not in (m, n) for m, n in zip(a, b)):
        return None
    return tuple(max(m, n) for m, n in zip(a, b))
    ### END SOLUTION

# %%
check("primer.result_shape", result_shape)

# %% [markdown] tags=["solution"]
# **Why it works.** After filling up, both shapes have the same length, and each pair of sizes can be judged by itself.
# Where it is legal, one of the two is 1 or both are equal, so the larger one is the answer. On paper: (6, 2); an error,
# for 6 stands over 3; and (5, 5, 2), for (5, 2) is taken as (1, 5, 2).
#
# **The most common wrong road** lines the shapes up at the left, as one reads. Then (4, 3) and (4,) would fit. PyTorch
# does it the other way because the last axis is what belongs together: the numbers of one row, one token, one pixel.
#
# `torch.broadcast_shapes` is this function, but for None: it raises an error.

# %% [markdown]
# ## primer.2 center_rows: subtract each row's mean
#
# *fix · difficulty 2/5 · 5 min · core · idea: name the axis that is to disappear, and keep its place*
#
# `center_rows(x)` shall subtract from each row its own mean, so that each row adds up to zero. `x` (…, C) float32 has
# one axis or more; a row is what lies along the last one: C numbers. The result has the shape of `x`, and **`x` itself
# stays as it was**.
#
# The function below runs on everything. It is used in a program where every `x` is square, and nobody has noticed that
# it is wrong in two ways. Mend it.
# ```python
# center_rows(torch.tensor([[1.0, 3.0], [5.0, 9.0]]))      # tensor([[-1.,  1.],
#                                                          #         [-2.,  2.]])
# ```
#
# <details><summary>Hint 1</summary>
#
# For `x` of shape (4, 3): how many means do you need, and how many does `x.mean(dim=0)` give?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The axis you name disappears (section 2). With `keepdim=True` it stays, with size 1, and is then stretched along the
# row. The last axis is -1, however many there are. And `x -= …` writes into the tensor that belongs to the caller
# (section 1).
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: how far is each runner behind the fastest of their heat?
# ```python
# times = torch.tensor([[10.0, 12.0, 11.0], [9.0, 9.5, 9.0]])          # (heat, runner)
# best = times.min(dim=-1, keepdim=True).values                       # (heat, 1): one for each heat
# times - best                                                        # tensor([[0.0, 2.0, 1.0],
#                                                                     #         [0.0, 0.5, 0.0]])
# ```
#
# </details>

# %%
def center_rows(x):
    """x (…, C) float32 → (…, C): each row minus its own mean; x stays as it was."""
    ### BEGIN SOLUTION
    return x - x.mean(dim=-1, keepdim=True)
    ### STUB
    # x -= x.mean(dim=0)
    # return x
    ### END SOLUTION

# %%
check("primer.center_rows", center_rows)

# %% [markdown] tags=["solution"]
# **Why it works.** `mean(dim=-1, keepdim=True)` has the shape (…, 1): one mean for each row, in a place where
# broadcasting stretches it along that row. The minus makes a new tensor.
#
# **The most common wrong road** mends the axis and not the place: `x - x.mean(dim=-1)`. For (4, 3) that is an error, and
# one looks again. For a square `x` it subtracts the mean of row 0 from *column* 0, and nothing is said. `dim=1` instead
# of `dim=-1` is right for tables only.

# %% [markdown]
# ## primer.3 log_softmax: the logarithm of a softmax
#
# *write · difficulty 2/5 · 10 min · core · idea: stay in logarithms: subtract, never divide*
#
# Losses need the logarithm of a probability. Write `log_softmax(x)`: `x` (…, V) float32, scores → (…, V) float32, the
# natural logarithm of the softmax along the last axis. `x` itself stays as it was.
#
# It must hold up with any scores, large, small and far apart. If two words have the scores 0 and −500, the probability
# of the second is too small for float32, and comes out as 0. Its logarithm is no problem at all: about −500. Do not use
# `torch.log_softmax`, `torch.logsumexp` or anything else of PyTorch that does it for you.
# ```python
# log_softmax(torch.tensor([0.0, math.log(3.0)])).exp()         # tensor([0.2500, 0.7500])
# log_softmax(torch.tensor([[0.0, -500.0], [1000.0, 1000.0]]))  # tensor([[   0.0000, -500.0000],
#                                                               #         [  -0.6931,   -0.6931]])
# ```
#
# <details><summary>Hint 1</summary>
#
# Write the logarithm of exp(xᵢ) divided by a sum as a difference. Which of its two parts needs no exponential at all?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The logarithm of a quotient is a difference: xᵢ minus the log-sum-exp of the scores (section 5). The log-sum-exp is
# safe if you subtract the largest score *of each row* first and add it again outside of the logarithm. If all of `x` is
# shifted by that score at the start, it need not be added again: softmax does not notice a shift.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: the logarithm of a mean of numbers whose logarithms you have, and which are far too
# small to write down.
# ```python
# logs = torch.tensor([-900.0, -901.0, -905.0])         # e to the power of these is 0 in float32
# m = logs.max()
# m + torch.exp(logs - m).mean().log()                  # tensor(-900.7805)
# ```
#
# </details>

# %%
def log_softmax(x):
    """x (…, V) float32, scores → (…, V) float32: log of the softmax along the last axis."""
    ### BEGIN SOLUTION
    x = x - x.max(dim=-1, keepdim=True).values
    return x - x.exp().sum(dim=-1, keepdim=True).log()
    ### END SOLUTION

# %%
check("primer.log_softmax", log_softmax)

# %% [markdown] tags=["solution"]
# **Why it works.** After the shift the largest score is 0, so the sum of exponentials lies between 1 and V: it can
# neither overflow nor be zero, and its logarithm is harmless. The exponentials of very low scores may vanish in this
# sum, where nobody misses them. The scores themselves never pass through an exponential.
#
# **The most common wrong road** is `torch.softmax(x, -1).log()`. It survives large scores, since softmax does; but a
# probability that has been rounded to 0 has the logarithm minus infinity. To add a small number first, `(p + 1e-9).log()`,
# hides that and is wrong in another way: no loss can then be larger than 21, and the gradient of the worst mistakes
# vanishes.

# %% [markdown]
# ## primer.4 cross_entropy: the loss of N predictions
#
# *fill · difficulty 2/5 · 10 min · further · idea: each row is asked about its own target*
#
# Write the two missing lines of `cross_entropy(logits, targets)`; replace the dots.
#
# - `logits` (N, V) float32: the scores of V words, N times. (A model's scores are called logits.)
# - `targets` (N,) int64: which word came each time, from 0 to V − 1
# - result: one number, a tensor of shape (): the mean over the N predictions of minus the natural logarithm of the
#   probability that the softmax gives to the word that came.
#
# `torch.logsumexp` is given, so that nothing overflows. Do not use `F.cross_entropy` or `F.nll_loss`.
# ```python
# logits = torch.tensor([[0.0, math.log(3.0)], [5.0, 5.0]])    # probabilities 1/4, 3/4 and 1/2, 1/2
# cross_entropy(logits, torch.tensor([1, 0]))                  # (−ln 3/4 − ln 1/2) / 2 = tensor(0.4904)
# ```
#
# <details><summary>Hint 1</summary>
#
# `logits[:, targets]` has the shape (N, N). Which of its numbers do you want?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The loss of one prediction is the log-sum-exp of its scores, minus the score of what came (section 5, "Why the gradient
# is p − y"). To take another column from each row, index with two lists of the same length: the rows, and for each of them
# its column.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two pupils each chose one of three answers, and a table says what each is worth
# to each of them. How many points did each of them miss against the best answer?
# ```python
# points = torch.tensor([[3, 0, 5], [2, 2, 4]])          # (pupil, answer)
# given = torch.tensor([0, 2])                           # the answer each pupil chose
# got = points[torch.arange(2), given]                   # tensor([3, 4]): one number for each pupil
# points.max(dim=1).values - got                         # tensor([2, 0])
# ```
#
# </details>

# %%
def cross_entropy(logits, targets):
    """logits (N, V) float32, targets (N,) int64 → (): mean of −ln softmax(logits)[target]."""
    total = torch.logsumexp(logits, dim=-1)  # (N,)
    ### BEGIN SOLUTION
    score = logits[torch.arange(len(targets)), targets]
    return (total - score).mean()
    ### STUB
    # score = ...  # (N,): of each row, the score of the word that came
    # return ...  # (): the mean loss
    ### END SOLUTION

# %%
check("primer.cross_entropy", cross_entropy)

# %% [markdown] tags=["solution"]
# **Why it works.** Minus the logarithm of exp(s) / Σ is log Σ − s. Indexing with two lists of N goes through both
# together: row 0 with its target, row 1 with its target. `logits.gather(1, targets[:, None])[:, 0]` does the same.
#
# **The most common wrong road** is `logits[:, targets]`: *all* rows asked about *all* targets, a table (N, N), whose mean
# is a number like any other. It is the mistake of section 2 in another dress: nothing complains, and what is trained
# is to predict the same for every row. Check a new loss on a case that you know: equal scores must give ln V.

# %% tags=["solution"]
loss = cross_entropy(torch.zeros(5, 7), torch.tensor([0, 6, 2, 2, 3]))
print(f"seven equal scores: loss {loss:.3f}, ln 7 = {math.log(7):.3f}")

# %% [markdown]
# ## primer.5 backward_order: who must wait for whom?
#
# *order · difficulty 3/5 · 15 min · further · idea: a node hands on only when it has received everything*
#
# A computation graph as a dictionary: `graph[node]` lists the nodes that the node was made of (none: an input). The
# dictionary is in no particular order. Each node that is listed somewhere is also a key, and no node was made of itself,
# directly or not. There may be several nodes that nothing was made of. Leave `graph` as it was.
#
# `backward_order(graph)` returns a list of all nodes, each once, in an order in which a backward pass can visit them:
# **every node stands before the nodes that it was made of**. Where several orders do that, any of them is right.
#
# The lines of the function are shuffled below, and **two of them are there twice, once right and once wrong**: the loop
# over what a node was made of, and the last line. Delete the wrong ones and put the rest in order. (Indented
# lines belong to the line they stand under and stay in its block. Inside `visit` the order is shuffled, too.)
# ```python
# backward_order({"a": [], "L": ["b", "a"], "b": ["a", "a"]})      # ["L", "b", "a"]: a last, for b and L both hand
#                                                                  # something to it
# ```
#
# <details><summary>Hint 1</summary>
#
# When may `visit` put a node on the list: when it arrives there, or when it has been to all that the node was made of?
# And is the list then in the order you want, or in the opposite one?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Go to the inputs first and put yourself on the list afterwards: then everything you were made of stands before you
# (section 7). A backward pass needs the opposite. `seen` sees to it that a node that was used twice is visited once.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: in which order do you put on your clothes, if some must be under others?
# ```python
# under = {"coat": ["shirt"], "boots": ["socks", "trousers"], "socks": [], "trousers": ["shirt"], "shirt": []}
# worn = []
#
# def put_on(thing):
#     for below in under[thing]:
#         if below not in worn:
#             put_on(below)
#     worn.append(thing)                       # not before all that goes under it
#
# for thing in under:
#     if thing not in worn:
#         put_on(thing)
# worn                                         # ['shirt', 'coat', 'socks', 'trousers', 'boots']; undress in reverse
# ```
#
# </details>

# %%
def backward_order(graph):
    """{node: [what it was made of]} → all nodes, each before those that it was made of."""
    ### BEGIN SOLUTION
    order, seen = [], set()

    def visit(node):
        if node in seen:
            return
        seen.add(node)
        for parent in graph[node]:
            visit(parent)
        order.append(node)

    for node in graph:
        visit(node)
    return order[::-1]
    ### STUB
    # def visit(node):
    #     order.append(node)
    #     for parent in graph:
    #         visit(parent)
    #     for parent in graph[node]:
    #         visit(parent)
    #     seen.add(node)
    #     if node in seen:
    #         return
    #
    # return order
    # return order[::-1]
    # for node in graph:
    #     visit(node)
    # order, seen = [], set()
    ### END SOLUTION

# %%
check("primer.backward_order", backward_order)

# %% [markdown] tags=["solution"]
# **Why it works.** A node enters the list after everything it was made of. So in the list each node stands *after* its
# parents, and read from the end, before them. Starting from every key reaches all nodes, wherever the dictionary begins.
#
# **The most common wrong road** puts the node on the list on arrival, before its parents. For a chain that is right. Where
# a node is reached on a short road first and on a longer one later, it comes too early: it hands on what it has, and
# what arrives later is lost. `hasty_backward` of section 7, which walks level by level from the result, has the same
# fault.

# %% [markdown]
# ## primer.6 numeric_gradient: measure a gradient
#
# *measure · difficulty 2/5 · 10 min · further · idea: one number moves, all others stay*
#
# Whoever writes a derivative by hand checks it by measuring. Write `numeric_gradient(f, x, h)`:
#
# - `f`: a function of one tensor that returns a tensor of shape ()
# - `x` float64, of any shape, () too; it must be afterwards what it was before
# - `h`: the step, a number above 0
# - result: float64, of the shape of `x`. Each entry is the central difference for that one number of `x`: f where it is
#   larger by h, minus f where it is smaller by h, divided by 2h.
#
# Measure, do not differentiate: `f` may not be made for autograd, and may write into what it is given.
# ```python
# x = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
# numeric_gradient(lambda x: (x**2).sum(), x, 0.5)     # tensor([[2., 4., 6.]], dtype=torch.float64)
# ```
#
# <details><summary>Hint 1</summary>
#
# How many times must `f` be called for an `x` of shape (2, 3), and how many numbers of `x` differ between two of those
# calls?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A central difference (section 4) for each entry, with all others untouched. An assignment copies nothing (section 1):
# `plus = x` is x under another name, so take a `clone()` for each call. To walk through any shape, make a flat copy, change
# place i, and `view` it in the shape of `x` again.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: which of the settings of a machine does its output depend on? One is switched at a time.
# ```python
# def effects(machine, settings):
#     found = []
#     for i in range(len(settings)):
#         changed = settings.clone()                     # fresh: the last experiment is forgotten
#         changed[i] = 1 - changed[i]
#         found.append(machine(changed) - machine(settings.clone()))
#     return found
#
# effects(lambda s: 3 * s[0] - 2 * s[2], torch.tensor([0.0, 1.0, 1.0]))   # [tensor(3.), tensor(0.), tensor(2.)]
# ```
#
# </details>

# %%
def numeric_gradient(f, x, h):
    """f: tensor → (), x float64, h > 0 → the central differences, in the shape of x."""
    ### BEGIN SOLUTION
    gradient = torch.zeros(x.numel(), dtype=x.dtype)
    for i in range(x.numel()):
        plus, minus = x.flatten().clone(), x.flatten().clone()
        plus[i] += h
        minus[i] -= h
        gradient[i] = (f(plus.view(x.shape)) - f(minus.view(x.shape))) / (2 * h)
    return gradient.view(x.shape)
    ### END SOLUTION

# %%
check("primer.numeric_gradient", numeric_gradient)

# %% [markdown] tags=["solution"]
# **Why it works.** Two calls for each number, each on a fresh copy in which exactly one number has moved.
#
# **The most common wrong road** changes `x` in place and does not put it back, or puts it back a little off: adding h
# and subtracting h again need not give the same float. The other one is `/ 2 * h`, which Python reads as "divided by 2,
# times h".
#
# Why central? Its error falls with h², that of a one-sided difference with h. And why not simply make h tiny? See what
# happens to the slope of eˣ at 1:

# %% tags=["solution"]
one = torch.tensor(1.0, dtype=torch.float64)
for h in (1e-1, 1e-3, 1e-5, 1e-9, 1e-13):
    error = (numeric_gradient(torch.exp, one, h) - math.e).abs().item()
    print(f"h = {h:.0e}: wrong by about 1e{round(math.log10(error))}")

# %% [markdown] tags=["solution"]
# Below some h it gets worse again: the two values of f are nearly equal, and in their difference the rounding is what
# remains. In float32 that begins much earlier, which is why such checks are made in float64.

# %% [markdown]
# ## primer.7 layer_gradients: a layer, backwards
#
# *write · difficulty 4/5 · 20 min · further · unaided · idea: what is used many times gets a sum, and shapes tell which*
#
# **Assistant off: no AI, no hints at first, only the lesson and your own experiments.** This is the test of whether the
# backward pass is now yours.
#
# A layer computes $y = \mathrm{relu}(x W + b)$, with `x` (N, C), `W` (C, D), `b` (D,), and so y (N, D). Somewhere behind
# it is a loss L, one number. You are told `g` (N, D), the derivative of L with respect to each number of y. Write
# `layer_gradients(x, W, b, g)`, which returns the tuple (dx, dW, db): the derivatives of L with respect to each number of
# `x`, `W` and `b`, of their shapes. All are float32. By hand: without autograd. Where the ReLU gets exactly 0, its slope
# counts as 0. All four arguments stay as they were.
#
# An example with N = 1, C = 1, D = 2. The ReLU gets 3 · 2 + 1 = 7 and 3 · (−2) + 1 = −5: the second number is stopped, and
# with it all that comes back to it.
# ```python
# x, W, b = torch.tensor([[3.0]]), torch.tensor([[2.0, -2.0]]), torch.tensor([1.0, 1.0])
# dx, dW, db = layer_gradients(x, W, b, torch.tensor([[10.0, 100.0]]))
# dx                               # tensor([[20.]])           10 · 2
# dW                               # tensor([[30.,  0.]])      10 · 3, and nothing
# db                               # tensor([10.,  0.])
# ```
#
# <details><summary>Hint 1</summary>
#
# Begin at the end. Of the numbers in `g`, which ones come through the ReLU? And what decides that: g, x, or what the ReLU
# was given?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Let z = xW + b, and first find dz (N, D) (section 7: slope of the ReLU, times what arrives). Then z[n, d] is a sum of
# x[n, c] · W[c, d]: from the side of W, its slope is x, and W[c, d] is used once in each row n, so contributions add up
# over n (section 8). From the side of x it is added up over d. There is one matrix product of dz with x, or with W, that has the
# right shape. `b` was stretched over the rows.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: money = hours * wage, hours (N, D), wage (D,): each worker's wage is used on N days. A
# tax then takes all that is below 10. `g` says what each coin that is left is worth.
# ```python
# hours, wage = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), torch.tensor([4.0, 3.0])
# g = torch.ones(3, 2)
# arrives = g * (hours * wage > 10)                # what was stopped hands nothing back
# arrives * wage                                   # (3, 2): with respect to hours
# (arrives * hours).sum(dim=0)                     # tensor([ 8., 10.]): with respect to wage, stretched over 3 days
# ```
#
# </details>

# %%
def layer_gradients(x, W, b, g):
    """x (N, C), W (C, D), b (D,), g (N, D) = dL/dy of y = relu(x W + b) → (dx, dW, db)."""
    ### BEGIN SOLUTION
    dz = g * (x @ W + b > 0)
    return dz @ W.T, x.T @ dz, dz.sum(dim=0)
    ### END SOLUTION

# %%
check("primer.layer_gradients", layer_gradients)

# %% [markdown] tags=["solution"]
# **Why it works.** The ReLU passes g where it was given something positive. Then three sums, each over the axis along
# which the thing was used again: `x[n, c]` meets all D columns, so dx sums over d; `W[c, d]` meets all N rows, so dW sums
# over n; `b[d]` was stretched over the rows, so db sums over n.
#
# Shapes nearly write it for you: of dz (N, D) and x (N, C) there is one product of the shape (C, D), and it is `x.T @ dz`.
#
# **The most common wrong road** is a mean instead of a sum in db, or a factor 1/N in dW. Whether the loss is a mean is
# already in `g`: this layer does not know, and must not ask. Another is to mask with `g > 0`, which stops what should come
# through with a minus sign.
#
# The backward pass of a whole model is this, layer after layer.
