# %% [markdown]
# # 11 · Optimizers: exercises
#
# Nine exercises; the three marked *core* are enough to go on. Write your function, run the cell below it, and read what
# `check` says: it tells you which idea produced your result. Being stuck on one never blocks the next. Of the three
# hints the first is a question; try again before you open another.
#
# Nothing that is handed to a function may be changed by it. None of the answers depends on how fast your machine is.

# %% tags=["setup"]
import math

import torch

from minigpt.classroom.shelf import half_width

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 11.1 range_test: which rate does this curve recommend?
#
# *measure · difficulty 2/5 · 10 min · core · try first · idea: the lowest loss is reached at a rate that is too high*
#
# **Try this before you read section 2.** You want to know a good learning rate and can afford a single short run. So
# you begin with a rate that is far too small and multiply it by the same factor at every step, until training breaks.
# At first nothing happens. Then the loss falls. Then it explodes.
#
# **Predict first**: a colleague looks for the point where the loss is lowest, and takes the rate of this point. What is
# going on at that very step: is learning at its fastest, or has it just stopped?
#
# Write `range_test(rates, losses)`:
#
# - `rates` (N,) float32: the rate of each step, growing by a constant factor; N is at least 1
# - `losses` (N,) float32, already smoothed: `losses[i]` was measured just **before** the update with `rates[i]`. So
#   what this update did can be seen from `losses[i]` to `losses[i + 1]`. From some step on, losses may be infinite or
#   NaN
# - result: a number, the rate whose update lowered the loss most. Only updates **up to the lowest point** count:
#   after an explosion a loss may come down by a lot, and that is no learning. If the lowest loss occurs several times,
#   its first occurrence counts; of equally large falls, the one with the smaller rate
# - if no loss is below the first one, the test recommends nothing: return NaN.
# ```python
# rates = torch.tensor([0.01, 0.02, 0.04, 0.08, 0.16, 0.32])
# range_test(rates, torch.tensor([5.0, 4.75, 3.75, 3.5, 9.0, 6.0]))                     # 0.02: from 4.75 to 3.75
# range_test(rates, torch.tensor([5.0, 6.0, 8.0, math.inf, math.nan, math.nan]))        # nan
# ```
#
# <details><summary>Hint 1</summary>
#
# In the example, between which two losses is the largest fall of all? And between which two is the largest that you
# would like to have again?
#
# </details>
# <details><summary>Hint 2</summary>
#
# First find the end, then look for the steepest place before it (section 2). The rates grow by a constant factor, so
# that every step is equally wide on a logarithmic axis, and "steepest" is the largest difference of neighbours. Make
# sure that a NaN is never the lowest of anything.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: water is heated, and a thermometer is read at the beginning of each minute. In which
# minute before the first maximum did it rise most? (The thermometer broke at the end.)
# ```python
# flame = ["low", "middle", "high", "full", "full"]
# degrees = torch.tensor([20.0, 24.0, 37.0, 45.0, math.nan])
# usable = torch.where(degrees.isnan(), -math.inf, degrees)
# top = usable.argmax().item()                                    # 3
# rises = [(usable[k + 1] - usable[k]).item() for k in range(top)]        # [4.0, 13.0, 8.0]
# flame[rises.index(max(rises))]                                  # 'middle'
# ```
#
# </details>

# %%
def range_test(rates, losses):
    """rates (N,), smoothed losses (N,) before each update → the rate of the steepest fall."""
    ### BEGIN SOLUTION
    known = torch.where(losses.isnan(), math.inf, losses)
    lowest = int(known.argmin())
    if lowest == 0:
        return math.nan
    changes = known[1 : lowest + 1] - known[:lowest]
    return rates[int(changes.argmin())].item()
    ### END SOLUTION

# %%
check("11.range_test", range_test)

# %% [markdown] tags=["solution"]
# **Why it works.** At the lowest point the fall is over: the next update, with nearly the same rate, raises the loss.
# Where the loss falls fastest, the rate is large and the steps still fit. The logarithmic axis is what makes the plain
# difference the slope.
#
# **The most common wrong road** is the rate at the lowest point. On a bowl one can say exactly how wrong it is, for
# gradient descent diverges above 2 / the largest curvature (08.1). The steep directions have
# shrunk so far by then that their growth takes a while to be seen. The recommended rate lies on the safe side instead,
# and well below what would be possible: it is the decade that counts.

# %% tags=["solution"]
curvatures = torch.logspace(0, 2, 20)
rates, weights, losses = torch.logspace(-4, 0, 30), torch.ones(20), []
for rate in rates:
    losses.append(0.5 * (curvatures * weights**2).sum())
    weights = weights - rate * curvatures * weights
losses = torch.stack(losses)
print(f"rates: recommended {range_test(rates, losses):.4f}; at the lowest point "
      f"{rates[losses.argmin()]:.3f}; gradient descent diverges from {2 / curvatures.max():.2f} on")

# %% [markdown]
# ## 11.2 noise_scale: how much of a gradient is luck?
#
# *measure · difficulty 3/5 · 10 min · core · idea: two batch sizes give a line, and a line gives what no batch shows*
#
# The mean squared length of a gradient, over many batches of B tokens each, is
#
# $$E\,|g_B|^2 = |G|^2 + \frac{\mathrm{tr}\,\Sigma}{B}$$
#
# where G is the gradient without noise, and tr Σ the variance of one token's gradient, summed over all parameters. You
# know neither. But you have gradients of small batches and of big ones.
#
# Write `noise_scale(small, big, g_small, g_big)`:
#
# - `small`, `big`: tokens in a small and in a big batch, whole numbers; `small` is below `big`
# - `g_small` (K, P) float32: the gradients of K small batches, one a row, P parameters; `g_big` (M, P) float32: those
#   of M big batches. K and M are at least 1
# - estimate both mean squared lengths, put the line through the two points, and read tr Σ and |G|² off it
# - result: a number, the noise scale tr Σ / |G|², in tokens
# - estimates can miss. If |G|² comes out as 0 or below, the signal is lost in the noise: return `math.inf`. If tr Σ
#   comes out below 0, no noise was seen: return 0.
# ```python
# g_small = torch.tensor([[3.0, 1.0], [1.0, -3.0]])          # squared lengths 10 and 10
# g_big = torch.tensor([[2.0, 0.0]])                         # squared length 4
# noise_scale(10, 40, g_small, g_big)                        # 40.0: |G|² = 2 and tr Σ = 80
# ```
#
# <details><summary>Hint 1</summary>
#
# In the example, how large is 1/B for the two batches? By how much does the squared length change between them, and
# where would it be for a batch without end?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Against 1/B the mean squared length is a straight line (section 3). Its slope is one of the two unknowns and its value
# at 1/B = 0 the other. Take care what is averaged: the lengths are squared *before* the mean over batches. The mean
# gradient's squared length is another thing, namely that of one batch K times as large.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: copies cost a fixed amount for the plate, shared by all, and paper for each one. Two
# orders are known: what does the plate cost, and what the paper of one copy?
# ```python
# few, many, price_few, price_many = 20, 100, 0.60, 0.20        # price of a copy: paper + plate / number
# plate = (price_few - price_many) / (1 / few - 1 / many)       # 10.0: the slope against 1 / number
# paper = price_many - plate / many                             # 0.1: what is left when the plate is shared by all
# plate / paper                                                 # 100.0: at so many copies both cost the same
# ```
#
# </details>

# %%
def noise_scale(small, big, g_small, g_big):
    """Two batch sizes, gradients (K, P) and (M, P) → tr Σ / |G|² in tokens."""
    ### BEGIN SOLUTION
    of_small, of_big = (g.square().sum(dim=1).mean().item() for g in (g_small, g_big))
    noise = (of_small - of_big) / (1 / small - 1 / big)
    signal = of_big - noise / big
    if signal <= 0:
        return math.inf
    return max(0.0, noise / signal)
    ### END SOLUTION

# %%
check("11.noise_scale", noise_scale)

# %% [markdown] tags=["solution"]
# **Why it works.** Two unknowns, two equations. Subtracted from each other, they lose |G|² and leave tr Σ. Both
# estimates are unbiased; their quotient is not, but it is near if the batches are many.
#
# **The most common wrong road** is to take the big batch's squared length for |G|². It still contains noise, and more
# of it than signal if the big batch is below the noise scale, which is where one usually measures. The second is to
# average the gradients first. How far off are they, where the truth is known?

# %% tags=["solution"]
g = torch.Generator().manual_seed(11)
P, small, big = 2000, 50, 400
G = torch.randn(P, generator=g)
G = G / G.norm()  # |G|² = 1; one token's noise: 2,000 numbers of variance 1
g_small = G + torch.randn(64, P, generator=g) / small**0.5
g_big = G + torch.randn(8, P, generator=g) / big**0.5
naive = (g_small.square().sum(1).mean() / g_big.square().sum(1).mean() - 1).item() * small
print(f"truth {P:,}; estimated {noise_scale(small, big, g_small, g_big):,.0f}; "
      f"with the big batch's length for |G|² {naive:,.0f}")

# %% [markdown]
# ## 11.3 tokens_to_target: two ways to pay
#
# *predict · difficulty 2/5 · 8 min · further · idea: steps and tokens trade along a hyperbola*
#
# You want to reach a certain loss. Small batches need the fewest tokens in all, but very many steps. Huge batches need
# the fewest steps, but very many tokens. In between, according to McCandlish et al. 2018, S steps and E tokens lie on a
# hyperbola:
#
# $$\left(\frac{S}{S_{\min}} - 1\right)\left(\frac{E}{E_{\min}} - 1\right) = 1 \qquad\text{with}\qquad E = S\,B$$
#
# **Predict first**: at least 1,000 steps are needed, and at least 2 million tokens. You take a batch of 2,000 tokens.
# How many steps will it be: 1,000, 1,500 or 2,000?
#
# Write `tokens_to_target(batch, smallest_steps, smallest_tokens)` → a pair of numbers (steps, tokens):
#
# - `batch`: tokens in a batch, above 0
# - `smallest_steps`, `smallest_tokens`: S_min and E_min, above 0
# - steps, tokens: S and E for this batch. Do not round: the law is no more exact than a curve through points.
# ```python
# tokens_to_target(500, 100, 200_000)               # (500.0, 250000.0)
# tokens_to_target(8000, 100, 200_000)              # (125.0, 1000000.0)
# ```
#
# <details><summary>Hint 1</summary>
#
# Put the two numbers of the first example into the two brackets. What do you get for each? What would you get for a
# batch of 2,000?
#
# </details>
# <details><summary>Hint 2</summary>
#
# There is one unknown only, because E is S · B (section 3). Multiply the brackets out and divide by S: the ones cancel,
# and what is left is linear in S. Section 3 has the result in another form, with the critical batch size: the quotient
# of the two smallest numbers.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two resistors side by side, of x and y ohms, shall have 1 ohm together, so that
# 1/x + 1/y = 1; and y shall be four times x.
# ```python
# # times x·y: y + x = x·y; with y = 4x it is 5x = 4x², and x can be cancelled
# x = 5 / 4
# y = 4 * x
# x * y / (x + y)                                   # 1.0
# ```
#
# </details>

# %%
def tokens_to_target(batch, smallest_steps, smallest_tokens):
    """Tokens in a batch, S_min, E_min → (steps, tokens) on the hyperbola."""
    ### BEGIN SOLUTION
    steps = smallest_steps + smallest_tokens / batch
    return steps, steps * batch
    ### END SOLUTION

# %%
check("11.tokens_to_target", tokens_to_target)

# %% [markdown] tags=["solution"]
# **Why it works.** With s = S / S_min and e = E / E_min the law says s · e = s + e. Divided by e and multiplied by
# S_min, this is S = S_min + E_min / B: a part that no batch makes smaller, and a part that halves when the batch
# doubles. At the critical batch E_min / S_min both parts are equal, and steps and tokens are each twice their smallest.
#
# **The most common wrong road** is E_min / B, as if the tokens stayed the same whatever the batch. This is right for
# tiny batches and promises a run of one step for a huge one. What does doubling the batch really buy?

# %% tags=["solution"]
S_min, E_min = 100, 200_000
print("batch / critical   steps saved by doubling it   tokens paid for that")
for share in (0.1, 0.3, 1, 3, 10):
    (S, E), (S2, E2) = (tokens_to_target(k * share * E_min / S_min, S_min, E_min) for k in (1, 2))
    print(f"{share:>16} {1 - S2 / S:>28.0%} {E2 / E - 1:>22.0%}")

# %% [markdown]
# ## 11.4 newton_schulz: what a polynomial does to a matrix
#
# *write · difficulty 2/5 · 8 min · further · idea: odd polynomials of a matrix act on its singular values alone*
#
# The iteration of section 4 multiplies matrices. But what it does can be told of the singular values alone, one by one:
# that is how one designs it. Write `newton_schulz(singular_values, steps, coefficients)`:
#
# - `singular_values` (R,) float32, none below 0, in any order: those of a matrix; R is at least 1
# - first the matrix is divided by the root of the sum of the squares **of its singular values**, so that none is above
#   1, however small they were: values near 1e-8 are possible. If all are 0, they stay 0: no NaN may come out
# - then, `steps` times (0 or more), a polynomial is applied to each. `coefficients` is a tuple of one or more numbers,
#   (a, b, c, …), and the polynomial has **odd powers only**: a σ + b σ³ + c σ⁵ + …, as many terms as there are
#   coefficients
# - result (R,) float32, in the order of the input.
# ```python
# s = torch.tensor([3.0, 4.0])                      # divided by 5: 0.6 and 0.8
# newton_schulz(s, 0, (1.5, -0.5))                  # tensor([0.6000, 0.8000])
# newton_schulz(s, 1, (1.5, -0.5))                  # tensor([0.7920, 0.9440])
# newton_schulz(s, 1, (2.0, -1.5, 0.5))             # tensor([0.9149, 0.9958])
# ```
#
# <details><summary>Hint 1</summary>
#
# The third coefficient of the last example belongs to which power? And a second step: to which values is the polynomial
# applied?
#
# </details>
# <details><summary>Hint 2</summary>
#
# X Xᵀ X has the same directions as X, and the cubes of its singular values (section 4): only odd powers can be made
# that way. The division happens once, at the beginning; after it nothing holds the values below 1 any more, and nothing
# needs to. Where a sum is 0, divide by something else than 0.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: the polynomial 2 + 0·x + 1·x² − 1·x³, with *all* powers from zero, applied twice to
# shares of a whole.
# ```python
# parts, terms = torch.tensor([1.0, 3.0]), (2.0, 0.0, 1.0, -1.0)
# x = parts / parts.sum()                                       # tensor([0.2500, 0.7500])
# for _ in range(2):
#     x = sum(term * x**power for power, term in enumerate(terms))
# x                                                             # tensor([-2.3861, -3.2267])
# ```
#
# </details>

# %%
def newton_schulz(singular_values, steps, coefficients):
    """singular values (R,), how often, (a, b, c, …) → singular values (R,) after the iteration."""
    ### BEGIN SOLUTION
    values = singular_values / singular_values.norm().clamp(min=1e-30)
    for _ in range(steps):
        values = sum(c * values ** (2 * k + 1) for k, c in enumerate(coefficients))
    return values
    ### END SOLUTION

# %%
check("11.newton_schulz", newton_schulz)

# %% [markdown] tags=["solution"]
# **Why it works.** With M = U diag(σ) Vᵀ every product M Mᵀ M is U diag(σ³) Vᵀ, because VᵀV and UᵀU are the identity.
# So U and V wait outside while σ is changed. The sum of the squares of σ is the sum of the squares of all numbers of M,
# which is why the real iteration can divide without knowing σ.
#
# **The most common wrong road** is to divide by the largest value. It would even be better, but the real iteration does
# not know it, and finding it takes an iteration of its own. The second is to apply all steps to the values of the start. How
# well does the prediction fit the real thing?

# %% tags=["solution"]
from minigpt.optim import orthogonalize

matrix = torch.randn(6, 40, generator=g) * torch.logspace(0, -2, 6)[:, None]
predicted = newton_schulz(torch.linalg.svdvals(matrix), 5, (3.4445, -4.7750, 2.0315))
measured = torch.linalg.svdvals(orthogonalize(matrix[None])[0])
print("predicted:", *(f"{x:.3f}" for x in sorted(predicted.tolist())))
print("measured: ", *(f"{x:.3f}" for x in sorted(measured.tolist())))
assert torch.allclose(predicted.sort().values, measured.sort().values, atol=1e-3)

# %% [markdown]
# ## 11.5 muon_step: three lines that look right
#
# *fix · difficulty 3/5 · 15 min · core · idea: what happens before orthogonalising loses its size*
#
# A colleague has written a step of Muon. The loss falls, and yet three tests fail:
#
# - gradient and momentum of a matrix have been zero for a while, and it should only decay: lose the share `lr * decay`
#   of itself. Instead it moves by a step of full length
# - a matrix with four times as many rows as columns should move with singular values of twice the rate. It moves as if
#   it were square
# - the weight after the *first* step is right, that after the second is not.
#
# **Three things are wrong**, one for each. Mend them. `muon_step(weight, grad, momentum_buffer, lr, momentum, decay,
# orthogonalize)`:
#
# - `weight`, `grad`, `momentum_buffer` (rows, columns) float32
# - `orthogonalize`: a function; it takes a matrix and returns one of the same shape with all singular values near
#   1 (of a matrix of zeros it returns zeros). Use it and not one of your own
# - the new buffer is a running mean: `momentum` of the old one and the rest from the gradient
# - what is orthogonalised looks ahead: `momentum` of the **new** buffer and the rest from the gradient, once more
# - the weight moves against this, times `lr`, and times √(rows / columns) if there are more rows than columns
# - the weight also loses the share `lr * decay` of the value that it had before the step
# - result: the pair (new weight, new buffer). Leave what you were given as it was.
# ```python
# w, gradient, zeros = torch.full((4, 1), 2.0), torch.ones(4, 1), torch.zeros(4, 1)
# unit = lambda x: x / x.norm().clamp(min=1e-30)               # of a single column, this is orthogonalising
# muon_step(w, gradient, zeros, 0.1, 0.9, 0.5, unit)
# # all 4 weights: 2 - 0.1 · 0.5 · 2 - 0.1 · 2 · 0.5 = 1.8; all 4 of the buffer: 0.1
# ```
#
# <details><summary>Hint 1</summary>
#
# Multiply a matrix by 7 and orthogonalise it. What is left of the 7? Now look at everything that is done before that
# call, and ask which of it is meant to last.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Orthogonalising keeps directions and throws all sizes away (section 4). So a factor belongs behind it. The decay of
# AdamW is *decoupled* (lesson 08): it never goes through the machinery that the gradient goes through. And what looks
# ahead is for this step only; the next one begins with the plain running mean.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a boat steers by an averaged compass, sails at a fixed speed, half as fast with a
# torn sail, and drifts with the current. What is normalised keeps no size, what is stored is the plain mean.
# ```python
# def sail(place, wish, course, torn, current):
#     course = 0.8 * course + 0.2 * wish                        # goes on into the next hour
#     heading = 0.5 * course + 0.5 * wish                       # for this hour only
#     speed = 0.5 if torn else 1.0
#     return place + speed * heading / heading.norm() + current, course
#
# sail(torch.zeros(2), torch.tensor([5.0, 0.0]), torch.zeros(2), True, torch.tensor([0.0, 0.1]))
# # (tensor([0.5000, 0.1000]), tensor([1., 0.]))
# ```
#
# </details>

# %%
def muon_step(weight, grad, momentum_buffer, lr, momentum, decay, orthogonalize):
    """Three matrices of one shape, hyper-parameters, a function → (weight, buffer), both new."""
    ### BEGIN SOLUTION
    rows, columns = weight.shape
    factor = math.sqrt(max(1, rows / columns))
    buffer = momentum * momentum_buffer + (1 - momentum) * grad
    ahead = momentum * buffer + (1 - momentum) * grad
    update = factor * orthogonalize(ahead)
    return weight * (1 - lr * decay) - lr * update, buffer
    ### STUB
    # rows, columns = weight.shape
    # factor = math.sqrt(max(1, rows / columns))
    # buffer = momentum * momentum_buffer + (1 - momentum) * grad
    # buffer = momentum * buffer + (1 - momentum) * grad
    # update = orthogonalize(factor * buffer + decay * weight)
    # return weight - lr * update, buffer
    ### END SOLUTION

# %%
check("11.muon_step", muon_step)

# %% [markdown] tags=["solution"]
# **Why it works.** The only thing that orthogonalising takes from its argument are directions. A factor in it is lost
# without a trace, and a decay in it turns the step in place of shrinking the weight: with a gradient of zero, the
# decay alone is blown up to a step of full length.
#
# **The most common wrong road** is to trust the loss. All three wrong lines train, and none raises an error. What shows
# them is a test against another implementation, over several steps, with shapes that differ:

# %% tags=["solution"]
from minigpt.optim import Muon

for shape in ((12, 5), (5, 12)):
    weight = torch.randn(shape, generator=g)
    theirs, buffer = torch.nn.Parameter(weight.clone()), torch.zeros(shape)
    muon = Muon([theirs], lr=0.05, momentum=0.9, weight_decay=0.3)
    for _ in range(20):
        theirs.grad = torch.randn(shape, generator=g)
        weight, buffer = muon_step(weight, theirs.grad, buffer, 0.05, 0.9, 0.3,
                                   lambda x: orthogonalize(x[None])[0])  # fmt: skip
        muon.step()
    off = (weight - theirs).abs().max().item()
    print(f"{shape}, 20 steps: largest difference to minigpt.optim.Muon {off:.0e}")
    assert off < 1e-3

# %% [markdown]
# ## 11.6 update_rms: how long is an orthogonal step?
#
# *predict · difficulty 2/5 · 8 min · further · idea: the squares of all numbers are the squares of the singular values*
#
# AdamW moves each number by about 0.2 to 0.4 of the rate (Liu et al. 2025). If Muon is to take over AdamW's rate, one
# has to know how far *it* moves a number. Without making the matrix, predict it.
#
# **Predict first**: an orthogonalised matrix of 64 × 64, and one of 64 × 256. In which of them are the numbers larger?
#
# Write `update_rms(rows, columns, rank, rule)` → a number, the root mean square of all rows · columns numbers of the
# step, for a learning rate of 1:
#
# - `rows`, `columns`: the shape, each at least 1
# - `rank`: how many singular values are not 0, from 0 to the smaller side. Orthogonalising makes those exactly 1 and
#   leaves the others at 0: it cannot invent a direction
# - `rule`: the factor that the orthogonalised matrix is multiplied by. `"none"`: 1. `"tall"`: √(rows / columns), but
#   never below 1, as in minigpt. `"match"`: 0.2 · √(the larger side), as in Liu et al. 2025.
# ```python
# update_rms(4, 9, 4, "none")           # 0.3333
# update_rms(4, 9, 1, "none")           # 0.1667: one direction out of four
# update_rms(9, 4, 4, "tall")           # 0.5
# update_rms(9, 4, 4, "match")          # 0.2
# ```
#
# <details><summary>Hint 1</summary>
#
# A diagonal matrix of three rows and five columns has the singular values 1, 1 and 0. What is the sum of the squares of
# its 15 numbers, and what their mean?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Turning and mirroring change no lengths. So the sum of the squares of all numbers is the sum of the squares of the
# singular values, for every matrix (section 10). Spread this sum over rows · columns places. A factor in front of the
# matrix is a factor in front of the root mean square.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: 12 lamps of 50 watts each light a hall, 8 of them are on, and a dimmer halves the
# voltage. The root mean square voltage over all lamps, if a lamp that is on has 230 volts undimmed:
# ```python
# lamps, on, volts, dimmer = 12, 8, 230.0, 0.5
# dimmer * math.sqrt(on * volts**2 / lamps)                     # 93.9: squares add up, the dark ones count in the mean
# ```
#
# </details>

# %%
def update_rms(rows, columns, rank, rule):
    """Shape, number of singular values that are 1, none/tall/match → RMS of the step at rate 1."""
    ### BEGIN SOLUTION
    rms = math.sqrt(rank / (rows * columns))
    if rule == "tall":
        return rms * math.sqrt(max(1, rows / columns))
    if rule == "match":
        return rms * 0.2 * math.sqrt(max(rows, columns))
    return rms
    ### END SOLUTION

# %%
check("11.update_rms", update_rms)

# %% [markdown] tags=["solution"]
# **Why it works.** `rank` ones are spread over rows · columns squares. At full rank their mean is 1 / (the larger
# side), so that Liu's factor makes the root mean square 0.2 for every shape. A gradient of few directions moves less: a step of Muon is not of one
# length, it has one length *per direction*.
#
# **The most common wrong road** is to think of an orthogonal matrix as "of size 1". Its singular values are 1; its
# numbers are about 1 / √side and get smaller as the model gets wider.

# %% tags=["solution"]
print("   shape   rank   predicted   measured (no factor)")
for rows, columns, rank in ((24, 60, 24), (60, 24, 24), (24, 60, 3), (48, 48, 12)):
    low_rank = torch.randn(rows, rank, generator=g) @ torch.randn(rank, columns, generator=g)
    U, S, Vh = torch.linalg.svd(low_rank, full_matrices=False)
    step = U[:, :rank] @ Vh[:rank]
    rms, predicted = step.square().mean().sqrt().item(), update_rms(rows, columns, rank, "none")
    print(f"{rows:>4} × {columns:<4} {rank:>3} {predicted:>10.4f} {rms:>10.4f}")
    assert abs(rms - predicted) < 1e-4

# %% [markdown]
# ## 11.7 mup_rates: the same recipe for a wider model
#
# *write · difficulty 2/5 · 10 min · further · idea: terms that agree add up like their number*
#
# You have tuned a narrow model: for each group of weights the standard deviation of the first values, and Adam's rate.
# Now carry both over to another width with the table of section 6. The head is not tied to the embedding. Write
# `mup_rates(base_width, width, base_rates)`:
#
# - `base_width`: the width at which the recipe was tuned; `width`: the new one, larger or smaller; both at least 1
# - `base_rates`: a dictionary, group → pair (standard deviation, rate). The groups are `"embedding"`, `"vectors"`
#   (norms and biases), `"matrices"` (those inside) and `"head"`; some may be missing
# - result: a new dictionary with the same groups, each with its pair for the new width
# - a standard deviation of 0 stays 0, of course: a head that begins at zero does so at any width.
# ```python
# mup_rates(64, 256, {"embedding": (0.5, 0.02), "matrices": (0.12, 0.02), "head": (0.08, 0.02)})
# # {'embedding': (0.5, 0.02), 'matrices': (0.06, 0.005), 'head': (0.02, 0.005)}
# ```
#
# <details><summary>Hint 1</summary>
#
# One number of a layer's output is a sum over C inputs. If weights and inputs are independent, how does the size of
# this sum grow with C? And how, if all terms have the same sign, as they have in a step of Adam?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Ask of each group over how many numbers one output is summed (section 6, the table). An embedding looks up a single
# row, and a norm multiplies number by number: neither knows the width. Random terms add up like the root of their
# number, terms that agree like the number itself. The head is counted as agreeing from the start.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: errors of a survey. A team of 4 has a random error of 0.6 each and a common bias of
# 0.1 each; what may each have in a team of 36, so that the errors of the *sum* stay as they were?
# ```python
# r = 36 / 4
# allowed = {"random": 0.6 / r**0.5, "common": 0.1 / r}         # {'random': 0.2, 'common': 0.0111}
# 36**0.5 * allowed["random"], 36 * allowed["common"]           # (1.2, 0.4), as before: 4**0.5 * 0.6 and 4 * 0.1
# ```
#
# </details>

# %%
def mup_rates(base_width, width, base_rates):
    """Two widths, {group: (standard deviation, Adam's rate)} → the same for the new width."""
    ### BEGIN SOLUTION
    r = width / base_width
    divisors = {"matrices": (math.sqrt(r), r), "head": (r, r)}
    return {group: tuple(x / d for x, d in zip(pair, divisors.get(group, (1, 1))))
            for group, pair in base_rates.items()}  # fmt: skip
    ### END SOLUTION

# %%
check("11.mup_rates", mup_rates)

# %% [markdown] tags=["solution"]
# **Why it works.** First values are random: a sum over r times as many inputs is √r times as large, and the division by
# √r undoes that. A step of Adam is not random: its signs fit the input, so that the sum is r times as large, and the
# rate is divided by r. The head's weights fit its input as soon as training has begun, therefore r for both.
#
# **The most common wrong road** is to divide everything by r. Then the embedding and the norms of the wide model hardly
# learn. The second is √r for the rate as well. A check, with a layer at several widths and one step of signs:

# %% tags=["solution"]
for C in (64, 256, 1024):
    deviation, rate = mup_rates(64, C, {"matrices": (0.125, 0.01)})["matrices"]
    x, error = torch.randn(C, generator=g), torch.randn(C, generator=g)
    y = deviation * torch.randn(C, C, generator=g) @ x
    change = rate * torch.outer(error, x).sign() @ x
    print(f"width {C:>4}: output {y.square().mean().sqrt():.2f}, "
          f"changed by {change.square().mean().sqrt():.2f}")

# %% [markdown]
# ## 11.8 verdict: faster, slower, or cannot tell?
#
# *design · difficulty 3/5 · 15 min · further · idea: a speed-up is a ratio; average it as ratios, and within pairs*
#
# You have changed an optimizer and measured the seconds to a fixed loss: for each seed one run of the reference and one
# of your entry, one right after the other. Design the verdict that you would believe from somebody else. Write
# `verdict(reference, entry)`:
#
# - `reference`, `entry`: lists of equally many seconds, above 0; place i of both has the same seed. A run that never
#   reached the loss has `math.inf`
# - the speed-up of a pair is reference / entry: 2 means that the entry took half the time
# - average so that "twice as fast" and "half as fast" cancel: average the **logarithms** of the speed-ups, and turn the
#   result back into a ratio. The 95 % interval is that of the mean of the logarithms, Student's t, with both ends
#   turned back. `half_width(values)` is imported on this page: from n values, two or more, it gives the half width of
#   the 95 % interval of their mean
# - result: four things (speed-up, low, high, word). The word is `"faster"` if the whole interval is above 1,
#   `"slower"` if it is below 1, else `"cannot tell"`
# - with fewer than two pairs, or if any run never reached the loss, there is no honest ratio:
#   `(math.nan, math.nan, math.nan, "cannot tell")`.
# ```python
# verdict([8.0, 18.0], [4.0, 9.0])                    # (2.0, 2.0, 2.0, 'faster')
# verdict([4.0, 6.0, 9.0], [8.0, 6.0, 4.5])           # (1.0, 0.1787, 5.5958, 'cannot tell')
# verdict([10.0], [5.0])                              # (nan, nan, nan, 'cannot tell')
# ```
#
# <details><summary>Hint 1</summary>
#
# In the second example one seed is twice as slow, one twice as fast, one equal. The mean of the three ratios is
# above 1. Would you tell anyone that the entry is faster on average?
#
# </details>
# <details><summary>Hint 2</summary>
#
# What a slow machine or a hard seed does to both runs of a pair cancels in their ratio (section 8; lesson 06 did it
# with differences). The logarithm makes factors into distances, and t-intervals are made for distances. Decide by the
# interval, never by the mean; and look at the special cases before any logarithm is taken.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: by which factor does a colony of bacteria grow in a day? Three dishes, each counted
# on two days.
# ```python
# today, tomorrow = [100.0, 900.0, 40.0], [300.0, 1800.0, 160.0]
# logs = [math.log2(b / a) for a, b in zip(today, tomorrow)]           # 1.585, 1.0, 2.0: doublings
# middle, half = sum(logs) / 3, float(half_width(logs))                # 1.528, 1.248
# 2**middle, 2 ** (middle - half), 2 ** (middle + half)                # (2.88, 1.21, 6.85): it grows
# ```
#
# </details>

# %%
def verdict(reference, entry):
    """Seconds of pairs of runs → (speed-up, low, high, "faster", "slower" or "cannot tell")."""
    ### BEGIN SOLUTION
    if len(entry) < 2 or math.inf in [*reference, *entry]:
        return math.nan, math.nan, math.nan, "cannot tell"
    logs = [math.log(a / b) for a, b in zip(reference, entry)]
    mean, half = sum(logs) / len(logs), float(half_width(logs))
    low, high = math.exp(mean - half), math.exp(mean + half)
    word = "faster" if low > 1 else "slower" if high < 1 else "cannot tell"
    return math.exp(mean), low, high, word
    ### END SOLUTION

# %%
check("11.verdict", verdict)

# %% [markdown] tags=["solution"]
# **Why it works.** Factors multiply, logarithms add. The mean of logarithms is the logarithm of the geometric mean, and
# swapping reference and entry turns it into its inverse, which the mean of ratios does not do: there both sides can
# "win".
#
# **The most common wrong road** is to compare the two mean times. One slow seed then decides nearly alone, and its
# scatter hides what the pairs agree on. The second is to drop runs that never arrived. They are the worst ones, and
# dropping them makes an optimizer look good that fails now and then.

# %% tags=["solution"]
busy = torch.tensor([1.0, 2.2, 1.1, 1.7])  # how slow the machine happened to be, for each pair
reference = (30 * busy * torch.tensor([1.02, 0.99, 1.00, 1.01])).tolist()
entry = (25 * busy * torch.tensor([0.99, 1.01, 1.02, 1.00])).tolist()
print("in pairs:    {:.2f} times as fast, {:.2f} to {:.2f}: {}".format(*verdict(reference, entry)))
print("pairs torn:  {:.2f} times as fast, {:.2f} to {:.2f}: {}".format(
    *verdict(reference, entry[1:] + entry[:1])))  # fmt: skip

# %% [markdown]
# ## 11.9 steepest: what is the best step of length 1?
#
# *write · difficulty 4/5 · 20 min · further · unaided · idea: each notion of length has an optimizer of its own*
#
# **Assistant off: no AI, no hints at first, only the lesson and your own experiments.** This is the test of whether the
# idea behind Muon is now yours.
#
# Of all steps D whose length is at most 1, which has the largest overlap with the gradient, the sum of all products
# G · D, number by number? Section 4 answered it for two notions of length. There are others, and each gives another
# optimizer. Write `steepest(grad, norm)`:
#
# - `grad` (R, C) float32, R and C at least 1
# - `norm`: a word that says what the length of D is
#
# | `norm` | the length of D |
# |---|---|
# | `"max"` | its largest number, without sign |
# | `"sum"` | the sum of all its numbers, without signs |
# | `"frobenius"` | the root of the sum of all squares |
# | `"row"` | the length (root of the sum of squares) of its longest row |
# | `"spectral"` | its largest singular value |
# | `"nuclear"` | the sum of its singular values |
#
# - result (R, C) float32: the best D. (One would subtract it, times the rate. That is not your task.)
# - where the gradient does not care, the step is 0: at numbers that are 0, in rows of zeros, along directions whose
#   singular value is below 1e-5 of the largest. A gradient of zeros gives zeros, never NaN. A tiny gradient or row,
#   near 1e-8, is none of zeros: its step is as long as any other
# - with `"sum"`, if several numbers are equally large, the first one in reading order takes all. With `"nuclear"`, the
#   largest singular value is always clearly larger than the second.
# ```python
# grad = torch.tensor([[3.0, 0.0], [-4.0, 0.0]])
# steepest(grad, "max")                 # tensor([[ 1., 0.], [-1., 0.]])                overlap 7
# steepest(grad, "sum")                 # tensor([[ 0., 0.], [-1., 0.]])                overlap 4
# steepest(grad, "frobenius")           # tensor([[ 0.6, 0.], [-0.8, 0.]])              overlap 5
# steepest(grad, "row")                 # tensor([[ 1., 0.], [-1., 0.]])                overlap 7
# steepest(grad, "spectral")            # tensor([[ 0.6, 0.], [-0.8, 0.]])              overlap 5
# ```
#
# <details><summary>Hint 1</summary>
#
# You have one unit of a budget and may spread it over places that pay differently. When do you put all of it into a
# single place, and when does every place get its own unit?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A largest-of-all limit lets every part go up to 1 by itself; a limit on the sum makes the parts compete, and the best
# one wins everything. The parts are numbers, rows, or singular directions (section 4). For vectors with the root of the
# sum of squares, the best direction is the vector's own. So each line of the table is a pair of answers: what are the
# parts, and do they compete?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: three shops buy at different prices; a farmer has one ton in all, or one for each.
# A shop that pays nothing gets nothing.
# ```python
# prices = torch.tensor([20.0, 0.0, 35.0])
# (prices > 0).float()                                     # one for each:   tensor([1., 0., 1.])
# (torch.arange(3) == prices.argmax()).float()             # one in all:     tensor([0., 0., 1.])
# prices / prices.norm()                                   # squares sum to one: tensor([0.4961, 0.0000, 0.8682])
# ```
#
# </details>

# %%
def steepest(grad, norm):
    """grad (R, C), what length means → the D (R, C) of length 1 with the largest overlap."""
    ### BEGIN SOLUTION
    tiny = 1e-30  # keeps 0 / 0 at 0
    if norm == "max":
        return grad.sign()
    if norm == "sum":
        flat = grad.flatten()
        chosen = torch.arange(len(flat)) == flat.abs().argmax()
        return (flat.sign() * chosen).view_as(grad)
    if norm == "frobenius":
        return grad / grad.norm().clamp(min=tiny)
    if norm == "row":
        return grad / grad.norm(dim=1, keepdim=True).clamp(min=tiny)
    U, S, Vh = torch.linalg.svd(grad, full_matrices=False)
    kept = (S > 1e-5 * S[0]).float()
    if norm == "nuclear":
        kept[1:] = 0
    return (U * kept) @ Vh
    ### END SOLUTION

# %%
check("11.steepest", steepest)  # 11.9

# %% [markdown] tags=["solution"]
# **Why it works.** The overlap is a sum over parts. If the length is a maximum over the parts, each goes as far as it
# may, independently: signs (nearly Adam), normalised rows, all singular values 1 (Muon). If it is a sum over the parts,
# a unit is worth most in the best part, and the step becomes a single number, or one pair of directions. The largest
# overlap that can be reached is the *dual* norm of the gradient: for `"max"` the sum, for `"spectral"` the nuclear
# norm, and the other way round.
#
# **The most common wrong road** is to scale the gradient until its length is 1. This gives a step of the right length
# and nearly always the wrong direction; only for `"frobenius"` is it the best. The table shows each step, scaled to
# length 1 in each norm, and its overlap with the gradient as a share of the best one:

# %% tags=["solution"]
def length(D, norm):
    s = torch.linalg.svdvals(D)
    return {"max": D.abs().max(), "sum": D.abs().sum(), "frobenius": D.norm(),
            "row": D.norm(dim=1).max(), "spectral": s[0], "nuclear": s.sum()}[norm]  # fmt: skip


names = ("max", "sum", "frobenius", "row", "spectral", "nuclear")
grad = torch.randn(6, 9, generator=g) * torch.logspace(0, -1, 9)
overlaps = torch.tensor([[(grad * steepest(grad, s)).sum() / length(steepest(grad, s), norm)
                          for s in names] for norm in names])  # fmt: skip
shares = overlaps / overlaps.diagonal()[:, None]
print("length by \\ step for", *(f"{name:>9}" for name in names))
for name, row in zip(names, shares):
    print(f"{name:>19}", *(f"{share:>9.2f}" for share in row))
assert (shares <= 1.0001).all()

# %% [markdown] tags=["solution"]
# **Beyond.** Which norm is right for which weights? [Bernstein & Newhouse
# 2024](https://arxiv.org/abs/2409.20325) argue that it should fit what a matrix does in the model: the spectral norm
# where vectors are mapped to vectors, normalised rows for an embedding, whose rows are looked up one at a time.
