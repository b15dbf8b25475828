# %% [markdown]
# # 08 · The training loop: exercises
#
# Ten exercises; the three marked *core* are enough to go on. Write your function, run the cell below it, and read what
# `check` says: it tells you which idea produced your result. Being stuck on one never blocks the next. Of the three
# hints the first is a question; try again before you open another.
#
# A rule for all ten: **a step is a function**. It gets weights, gradients and what was remembered, and returns new
# ones. Nothing that was handed in is changed, so that you can run a step twice and get the same answer twice.

# %% tags=["setup"]
import math

import torch

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 08.1 largest_rate: how fast is too fast?
#
# *predict · difficulty 1/5 · 5 min · further · try first · idea: the steepest direction limits the step of all*
#
# **Try this before you read section 1.** A loss in the shape of a bowl, with weights $w_1, w_2, \dots$:
#
# $$L(w) = \tfrac{1}{2}\left(c_1 w_1^2 + c_2 w_2^2 + \dots\right)$$
#
# The number $c_i$ is the **curvature** in direction i: large where the wall is steep, 0 where the floor is flat. The
# gradient in direction i is $c_i w_i$. Gradient descent subtracts it, times a learning rate that is the same for all
# directions.
#
# **Predict first**, in your head: the curvatures are 1 and 50. You raise the rate a little with each try. At which rate
# do the weights stop shrinking and begin to grow: near 2, near 0.2 or near 0.04?
#
# Then write `largest_rate(curvatures)`: a list of at least one number, none below 0 → the rate, a number, above which
# some weight grows from step to step. In a flat direction nothing ever moves. If all directions are flat, no rate is
# too large: return `math.inf`. Flat means 0 exactly: a curvature of $10^{-7}$ has a limit, a very large one.
# ```python
# largest_rate([4.0])                # 0.5: at 0.5 the weight 3 becomes -3, then 3; at 0.6 it becomes -4.2, then 5.88
# largest_rate([0.0, 0.25])          # 8.0
# ```
#
# <details><summary>Hint 1</summary>
#
# After one step, which multiple of the old weight is the new one? Between which two values must this factor lie, so
# that the weight shrinks?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Each direction goes its own way (section 1): one step multiplies its weight by 1 − rate · curvature. It still shrinks
# when it jumps over the middle, as long as it lands nearer than it was. So each direction has its own limit, and there
# is one rate for all of them.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: you correct a scale again and again. Each correction adds `gain` times what is
# missing, times the strength of the scale's spring. For which gain does the error never shrink again?
# ```python
# def error_after(gain, strength, steps, error=1.0):
#     for _ in range(steps):
#         error -= gain * strength * error         # the error is multiplied by 1 - gain * strength
#     return abs(error)
#
# [round(error_after(gain, 5.0, 20), 2) for gain in (0.1, 0.3, 0.39, 0.4, 0.41)]      # [0.0, 0.0, 0.36, 1.0, 2.65]
# ```
# A gain of 0.3 jumps over the middle each time, and gets there all the same.
#
# </details>

# %%
def largest_rate(curvatures):
    """A list of numbers from 0 up → the learning rate above which gradient descent diverges."""
    ### BEGIN SOLUTION
    steepest = max(curvatures)
    return 2 / steepest if steepest > 0 else math.inf
    ### END SOLUTION

# %%
check("08.largest_rate", largest_rate)

# %% [markdown] tags=["solution"]
# **Why it works.** The factor 1 − rate · c stays between −1 and 1 for as long as rate · c is below 2. A direction of
# curvature c allows 2/c; the rate has to suit all of them, so the smallest limit counts, and that is the one of the
# steepest wall. For 1 and 50 it is 0.04.
#
# **The most common wrong road** is 1/c. That is the rate that lands in the middle in a single step. Beyond it the
# weight jumps to the other side, which looks alarming and still converges, up to twice as far.
#
# What the limit costs: at the largest rate that the steep wall allows, the flat direction crawls.

# %% tags=["solution"]
curvatures = [1.0, 50.0]
for share in (0.5, 0.98, 1.02):
    rate, w = share * largest_rate(curvatures), [1.0, 1.0]
    for _ in range(100):
        w = [x - rate * c * x for x, c in zip(w, curvatures)]
    print(f"rate {share:.2f} of the limit, 100 steps: flat {w[0]:.3f}, steep {w[1]:.3f}")

# %% [markdown]
# ## 08.2 momentum_step: a ball with mass
#
# *write · difficulty 2/5 · 8 min · further · idea: a velocity remembers the gradients, and all fade alike*
#
# Write `momentum_step(weight, grad, velocity, lr, beta)`, one step of gradient descent with momentum as PyTorch's `SGD`
# does it, without using it:
#
# - `weight`, `grad`, `velocity`: float32 tensors of one shape, any shape
# - `lr`: the learning rate; `beta`, from 0 up to but not 1: how much of the velocity is left after a step
# - result: the pair (new weight, new velocity). The new velocity is what is left of the old one, plus the gradient,
#   which enters in full. The weight then moves against the **new** velocity, times the rate.
#
# Leave the three tensors as they were.
# ```python
# w, v = torch.tensor([1.0, 1.0]), torch.tensor([0.0, 4.0])
# momentum_step(w, torch.tensor([2.0, -2.0]), v, 0.1, 0.5)      # (tensor([0.8, 1.0]), tensor([2., 0.]))
# ```
# In the second direction the gradient and the fading velocity cancel: the ball is just turning round.
#
# <details><summary>Hint 1</summary>
#
# The same gradient g comes in every step, for ever. Towards which number does the velocity go, and what follows for the
# size of a step?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Two lines, in this order (section 2): first update what is remembered, then move by it. The rate multiplies once, at
# the move, so that the velocity is in units of a gradient. A gradient from n steps ago counts with beta to the power n.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a tank loses a quarter of its water each day, then it rains; the level of the lake
# below rises by a tenth of what the tank holds in the evening.
# ```python
# tank, lake = torch.tensor([8.0, 0.0]), torch.tensor([50.0, 50.0])        # two tanks, each with its lake
# for rain in (torch.tensor([2.0, 4.0]), torch.tensor([0.0, 1.0])):
#     tank = 0.75 * tank + rain
#     lake = lake + 0.1 * tank                                             # this evening's level, not this morning's
# tank, lake                                       # (tensor([6., 4.]), tensor([51.4000, 50.8000]))
# ```
#
# </details>

# %%
def momentum_step(weight, grad, velocity, lr, beta):
    """Three tensors of one shape, rate, beta → (weight, velocity) after one step, both new."""
    ### BEGIN SOLUTION
    velocity = beta * velocity + grad
    return weight - lr * velocity, velocity
    ### END SOLUTION

# %%
check("08.momentum_step", momentum_step)

# %% [markdown] tags=["solution"]
# **Why it works.** Unrolled, the velocity is the sum of all gradients so far, the one from n steps ago times beta to
# the n. What keeps its sign adds up, to at most 1/(1 − beta) times a single gradient; what changes its sign cancels.
# That is what helps in a ravine: across it the gradients alternate, along it they agree.
#
# **The most common wrong road** is to write a mean, `beta * velocity + (1 - beta) * grad`, as Adam does. Then the steps
# are 1/(1 − beta) times smaller at the same rate: ten times for 0.9. Both rules are in use. Whoever takes over a
# learning rate must know which of them it was chosen for.

# %% tags=["solution"]
g = torch.Generator().manual_seed(2)
start, velocity = torch.randn(3, 5, generator=g), torch.zeros(3, 5)
weight, theirs = start, torch.nn.Parameter(start.clone())
sgd = torch.optim.SGD([theirs], lr=0.01, momentum=0.9)
for _ in range(100):
    theirs.grad = torch.randn(3, 5, generator=g)
    weight, velocity = momentum_step(weight, theirs.grad, velocity, 0.01, 0.9)
    sgd.step()
assert (weight - theirs).abs().max() < 1e-6
print(f"after 100 steps: largest difference to torch.optim.SGD {(weight - theirs).abs().max():.0e}")

velocity = torch.zeros(())
for _ in range(60):
    _, velocity = momentum_step(torch.zeros(()), torch.ones(()), velocity, 0.05, 0.9)
print(f"a gradient of 1 in each of 60 steps: velocity {velocity:.2f}")

# %% [markdown]
# ## 08.3 adamw_step: the optimizer of this course
#
# *write · difficulty 3/5 · 15 min · core · idea: a mean of gradients, a mean of squares, both corrected; decay apart*
#
# Write `adamw_step(weight, grad, state, lr, betas, eps, decay)`, one step of AdamW by hand:
#
# - `weight`, `grad`: float32 tensors of one shape, any shape
# - `state`: `None` before the first step; then what the step before has returned: the triple (`step`, `mean`,
#   `square`). `step` is the number of steps done, a whole number; `mean` and `square` have the shape of `weight`. They
#   are the running means of the gradients and of their squares, **as they are, not corrected**, and begin at zero
# - `betas`: a pair. A running mean keeps `betas[0]` of itself and takes the rest from the gradient; `square` does the
#   same with `betas[1]` and the squared gradient
# - both are then divided by the share of real gradients that is in them: after `t` steps, counting this one, 1 minus
#   beta to the power `t`
# - the weight moves by `lr` times corrected mean / (root of the corrected square + `eps`), against it; and it loses the
#   share `lr * decay` of the value that it had **before** the step. The decay never enters the two means
# - result: the pair (new weight, new state).
#
# Leave all tensors as they were, also those in `state`.
# ```python
# w, g, betas = torch.tensor([1.0]), torch.tensor([0.5]), (0.9, 0.99)
# w, state = adamw_step(w, g, None, 0.1, betas, 1e-8, 0.5)
# w, state                         # (tensor([0.8500]), (1, tensor([0.0500]), tensor([0.0025])))
#                                  # corrected: 0.5 and 0.25; 1 - 0.1 · 0.5 - 0.1 · 0.5 / 0.5
# adamw_step(w, torch.tensor([0.0]), state, 0.1, betas, 1e-8, 0.5)
#                                  # (tensor([0.7403]), (2, tensor([0.0450]), tensor([0.0025])))
# ```
# Keep it: at the end of the lesson it trains a GPT that is made of your own parts.
#
# <details><summary>Hint 1</summary>
#
# At the first step, what is the corrected mean, and what is the root of the corrected square? What is the one divided
# by the other, whatever the gradient was?
#
# </details>
# <details><summary>Hint 2</summary>
#
# There are two copies of each mean (section 3). The means that go on into the next step are the plain ones; the
# corrected ones are used for this step and thrown away. A mean that begins at zero holds only the share 1 − beta^t of
# real gradients, and dividing by the share repairs it. `eps` comes after the root. Decay acts on the weight directly,
# with the rate, and is not divided by anything.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a running mean of a shop's takings, three quarters old and one quarter new. It
# begins at 0, so that at first it is far too small. How good is the best guess after each day?
# ```python
# mean, guesses = 0.0, []
# for day, takings in enumerate((80.0, 80.0, 120.0), start=1):
#     mean = 0.75 * mean + 0.25 * takings             # goes on into the next day as it is: 20, 35, 56.25
#     real = 1 - 0.75**day                            # the share of real days in it: 0.25, 0.4375, 0.578125
#     guesses.append(round(mean / real, 1))
# guesses                                             # [80.0, 80.0, 97.3]
# ```
#
# </details>

# %%
def adamw_step(weight, grad, state, lr, betas, eps, decay):
    """weight, grad, None or (step, mean, square), hyper-parameters → (weight, state), all new."""
    ### BEGIN SOLUTION
    step, mean, square = state or (0, torch.zeros_like(weight), torch.zeros_like(weight))
    step = step + 1
    mean = betas[0] * mean + (1 - betas[0]) * grad
    square = betas[1] * square + (1 - betas[1]) * grad**2
    corrected_mean = mean / (1 - betas[0] ** step)
    corrected_square = square / (1 - betas[1] ** step)
    update = corrected_mean / (corrected_square.sqrt() + eps)
    weight = weight * (1 - lr * decay) - lr * update
    return weight, (step, mean, square)
    ### END SOLUTION

# %%
check("08.adamw_step", adamw_step)

# %% [markdown] tags=["solution"]
# **Why it works.** The root of the mean square is how large this weight's gradients usually are. Dividing by it takes
# the size of the gradient out: a weight whose gradients are a thousand times smaller moves as far. What is left is how
# much the recent gradients agree, a number that is nearly always between −1 and 1. So `lr` is the length of a step,
# weight by weight. The decay is kept out of this: in the means it would be divided by the gradients' size as well, and
# weights with large gradients would hardly decay (Loshchilov & Hutter 2019).
#
# **The most common wrong road** is to store the corrected means in the state. The first step is right, for nothing has
# been carried over yet; from the second on each correction is corrected again. The second is `eps` under the root,
# where 1e-8 becomes 1e-4. The third is to forget the correction. How wrong is the first step then?

# %% tags=["solution"]
for betas in ((0.9, 0.95), (0.9, 0.999)):
    print(f"betas {betas}: without the corrections the first step is "
          f"{(1 - betas[0]) / math.sqrt(1 - betas[1]):.2f} times as long")
start, state = torch.randn(3, 5, generator=g), None
weight, theirs = start, torch.nn.Parameter(start.clone())
adamw = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
for _ in range(100):
    theirs.grad = torch.randn(3, 5, generator=g)
    weight, state = adamw_step(weight, theirs.grad, state, 0.01, (0.9, 0.95), 1e-8, 0.1)
    adamw.step()
assert (weight - theirs).abs().max() < 1e-6
print(f"after 100 steps: largest difference to torch's AdamW {(weight - theirs).abs().max():.0e}")

# %% [markdown]
# ## 08.4 schedule: three symptoms
#
# *fix · difficulty 2/5 · 10 min · further · idea: a schedule is a function of the step; it goes wrong at its corners*
#
# A colleague's schedule: warm-up, a stable phase, a straight line down. In the log you see three odd things. After the
# first step the weights are exactly what they were before. At the step where the decay begins, the rate drops to a
# fraction of the peak at once. And a run that should end near a tenth of the peak ends near zero. **Three things are
# wrong**, one for each symptom, each in one line. Mend them.
#
# `schedule(step, steps, warmup, decay, final)`:
# - `step`: from 0 to `steps` − 1. `steps`, `warmup`, `decay`: whole numbers of steps; `warmup` + `decay` is at most
#   `steps`, and either may be 0
# - the first `warmup` steps climb in equal parts: 1/(`warmup` + 1), 2/(`warmup` + 1), …; the step after them is the
#   first at the peak
# - in the last `decay` steps the rate lies on a straight line. It has the value 1 at the first of them, and would have
#   the value `final` at step number `steps`, the one that is not made any more
# - result: the rate of this step, as a fraction of the peak.
# ```python
# [schedule(step, 10, 3, 4, 0.2) for step in range(10)]
# # [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4]
# ```
#
# <details><summary>Hint 1</summary>
#
# Compute the three phases of the example by hand with the code as it stands: steps 0, 6 and 9. Which line gives the
# first number that differs?
#
# </details>
# <details><summary>Hint 2</summary>
#
# In each phase ask what share of the phase is behind you (section 4). In the warm-up the steps are counted from one,
# for a rate of 0 would waste a step. In the decay they are counted from the phase's own beginning, and divided by its
# own length. For the line, put in both ends: what must come out where nothing is done yet, and what where all is done?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a shop lowers its price from day 20 on, over 5 days, from 50 to 30.
# ```python
# def price(day, begin=20, days=5, before=50.0, after=30.0):
#     if day < begin:
#         return before
#     done = min(1.0, (day - begin) / days)           # 0 on the first day of the fall, 1 when it is over
#     return after + (before - after) * (1 - done)
#
# [price(day) for day in (19, 20, 21, 24, 25, 40)]      # [50.0, 50.0, 46.0, 34.0, 30.0, 30.0]
# ```
#
# </details>

# %%
def schedule(step, steps, warmup, decay, final):
    """The learning rate of `step` (from 0) as a fraction of its peak; phases in steps."""
    ### BEGIN SOLUTION
    if step < warmup:
        return (step + 1) / (warmup + 1)
    start = steps - decay
    if step < start:
        return 1.0
    done = (step - start) / decay
    return final + (1 - final) * (1 - done)
    ### STUB
    # if step < warmup:
    #     return step / (warmup + 1)
    # start = steps - decay
    # if step < start:
    #     return 1.0
    # done = step / steps
    # return (1 - final) * (1 - done)
    ### END SOLUTION

# %%
check("08.schedule", schedule)

# %% [markdown] tags=["solution"]
# **Why it works.** `done` is the share of the decay that is behind you: 0 at its first step. `decay` cannot be zero
# there, since without a decay every step lies before `start`.
#
# **The most common wrong road** is in the warm-up: `(step + 1) / warmup` is a widespread habit, but it reaches the peak
# one step earlier, within the warm-up. Such a shift by one shows nowhere until you resume somebody else's run. So a
# schedule is tested step by step against the one that it is meant to equal:

# %% tags=["solution"]
from minigpt.config import OptimConfig
from minigpt.optim import learning_rate

config = OptimConfig(schedule="wsd", warmup=0.1, decay=0.4, final_lr=0.05)
ours = [schedule(step, 50, 5, 20, 0.05) for step in range(50)]
theirs = [learning_rate(step, 50, config) for step in range(50)]
assert max(abs(a - b) for a, b in zip(ours, theirs)) < 1e-12
print("rates at steps 0, 4, 5, 29, 30, 31 and 49:",
      *(f"{ours[step]:.2f}" for step in (0, 4, 5, 29, 30, 31, 49)))

# %% [markdown]
# ## 08.5 clip: shorten the step, keep the direction
#
# *write · difficulty 2/5 · 8 min · further · idea: all gradients together are one vector, and it has one length*
#
# Write `clip(grads, most)`, without PyTorch's own clipping:
#
# - `grads`: a list of float32 tensors of different shapes, one for each parameter; the list may be empty, and
#   then has the length 0
# - `most`: a number above 0
# - result: the pair (`clipped`, `norm`). `norm`, a number, is the length of the vector that all numbers of all
#   gradients make together, before anything was done. `clipped` is a list of tensors of the same shapes. If `norm` is
#   larger than `most`, all gradients are multiplied by the same factor, so that the length becomes `most`; else they
#   stay as they are. This holds for tiny gradients and a tiny `most` too: $10^{-6}$ is not zero
#
# Leave the gradients themselves as they were, and the list too. Where all of them are zero, they stay zero.
# ```python
# grads = [torch.tensor([3.0]), torch.tensor([[0.0, 4.0]])]
# clip(grads, 1.0)                 # ([tensor([0.6]), tensor([[0.0, 0.8]])], 5.0)
# clip(grads, 10.0)                # ([tensor([3.]), tensor([[0., 4.]])], 5.0)
# ```
#
# <details><summary>Hint 1</summary>
#
# A model has 150 parameter tensors, and one of them has a huge gradient. If each tensor were cut to the same length,
# what would become of the direction of the whole step?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The length of a vector is the root of the sum of all its squares, and a sum may be taken in pieces (section 5): each
# tensor hands in its own sum of squares, the root comes last, once. One factor for all keeps the direction. It may
# shorten and must never stretch.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: three departments hand in bills; if they exceed the budget together, all are paid
# the same share.
# ```python
# bills = [torch.tensor([30.0, 10.0]), torch.tensor([60.0]), torch.tensor([[20.0, 40.0]])]
# def pay(bills, budget):
#     total = sum(bill.sum().item() for bill in bills)          # 160.0, over all departments
#     share = budget / total if total > budget else 1.0
#     return [bill * share for bill in bills]
#
# pay(bills, 40.0)          # [tensor([7.5000, 2.5000]), tensor([15.]), tensor([[ 5., 10.]])]
# ```
#
# </details>

# %%
def clip(grads, most):
    """A list of tensors, the greatest length allowed → (new list, length before)."""
    ### BEGIN SOLUTION
    norm = math.sqrt(sum(grad.square().sum().item() for grad in grads))
    factor = most / norm if norm > most else 1.0
    return [grad * factor for grad in grads], norm
    ### END SOLUTION

# %%
check("08.clip", clip)

# %% [markdown] tags=["solution"]
# **Why it works.** Sums of squares add up over tensors as they do within one, so that the list behaves like one long
# vector. `norm > most` can only be true for a norm above zero, and nothing is ever divided by zero. PyTorch divides by
# `norm + 1e-6` to be safe. With a limit of 1 nobody notices; with one of $10^{-6}$ the result is too short.
#
# **The most common wrong road** is to clip each tensor by itself. It also runs, and the loss falls. But it turns the
# step: large gradients are cut and small ones are not. By how much, for a layer whose gradients are ten times as large
# as the others'?

# %% tags=["solution"]
def flat(grads):
    return torch.cat([grad.flatten() for grad in grads])


grads = [torch.randn(40, 30, generator=g) * size for size in (0.1, 0.1, 1.0)]
whole, norm = clip(grads, 1.0)
each = [clip([grad], 1.0)[0][0] for grad in grads]
for name, clipped in (("all together", whole), ("each by itself", each)):
    angle = torch.cosine_similarity(flat(grads), flat(clipped), dim=0).clamp(max=1).acos()
    print(f"{name}: length {flat(clipped).norm():.2f}, turned by {math.degrees(angle):.0f} degrees")

params = [torch.nn.Parameter(torch.zeros_like(grad)) for grad in grads]
for p, grad in zip(params, grads):
    p.grad = grad.clone()
assert abs(torch.nn.utils.clip_grad_norm_(params, 1.0).item() - norm) < 1e-3
assert all(torch.allclose(p.grad, c, atol=1e-5) for p, c in zip(params, whole))

# %% [markdown]
# ## 08.6 accumulate: the mean of a batch that came in pieces
#
# *measure · difficulty 2/5 · 8 min · core · idea: a mean of means is a mean only if all parts are equally large*
#
# A batch that does not fit into memory is computed in M micro-batches. Some of their targets do not count: padding, or
# the user's side of a chat. Each micro-batch reports the mean loss of those that do. What is the mean loss of the whole
# batch, over all targets that count?
#
# Write `accumulate(losses, counts)`:
# - `losses` (M,) float32: the mean loss of each micro-batch, in nats
# - `counts` (M,) int64: how many of its targets count. Where it is 0 there was nothing to average, and the loss is NaN
# - result: a number. If no target counts in the whole batch, there is no mean: return NaN.
#
# A NaN where targets *do* count is another matter: the model has broken, and the result must be NaN, so that it is
# seen. Leave both tensors as they were.
# ```python
# accumulate(torch.tensor([2.0, 8.0]), torch.tensor([300, 100]))                        # 3.5
# accumulate(torch.tensor([2.0, math.nan, 8.0]), torch.tensor([300, 0, 100]))           # 3.5
# accumulate(torch.tensor([2.0, math.nan]), torch.tensor([300, 100]))                   # nan
# ```
#
# <details><summary>Hint 1</summary>
#
# In the first example, how much did all the targets lose together? How many were they?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Undo the means: mean times count is a sum, and sums add up. Divide once, at the end, by the count of the whole batch
# (section 6). Zero times NaN is NaN: an empty micro-batch has to be left out by its *count*, before anything is
# multiplied.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: the mean age of all children in a school, from the mean age and the size of each
# class; one class has closed.
# ```python
# ages, sizes = torch.tensor([6.5, math.nan, 9.0]), torch.tensor([20, 0, 30])
# there = sizes > 0
# years = ages[there] * sizes[there]               # tensor([130., 270.]): years of all children of a class together
# years.sum() / sizes.sum()                        # tensor(8.)
# ```
#
# </details>

# %%
def accumulate(losses, counts):
    """Mean losses (M,) and how many targets each is the mean of (M,) → the mean of the batch."""
    ### BEGIN SOLUTION
    some = counts > 0
    if not some.any():
        return math.nan
    return (losses[some] * counts[some]).sum() / counts.sum()
    ### END SOLUTION

# %%
check("08.accumulate", accumulate)

# %% [markdown] tags=["solution"]
# **Why it works.** It is what one large batch would have computed: all losses added up, divided by their number.
#
# **The most common wrong road** is `losses.nanmean()`. It makes the loss depend on how a batch was cut into pieces.
# Worse than a wrong number in a log: the *gradient* has the same weights. A target counts more if few others share its
# micro-batch.
#
# **The quiet one** is `losses.nan_to_num()`: it fills the empty micro-batches and hides the broken ones. The run then
# looks healthy while its weights are NaN.

# %% tags=["solution"]
per_token = torch.rand(4, 100, generator=g) + 1.0
per_token[3] += 2.0  # a hard text …
counts = torch.tensor([100, 100, 100, 10])  # … of which few targets count
means = torch.stack([row[:n].mean() for row, n in zip(per_token, counts)])
one_batch = torch.cat([row[:n] for row, n in zip(per_token, counts)]).mean()
print(f"one batch {one_batch:.3f}; accumulated {accumulate(means, counts):.3f}; "
      f"mean of means {means.mean():.3f}")
print(f"in a mean of means, a target of the last piece weighs "
      f"{(1 / counts[3]) / (1 / counts[0]):.0f} times as much as one of the first")

# %% [markdown]
# ## 08.7 document_mask: strangers in one window
#
# *write · difficulty 3/5 · 12 min · further · idea: a running count turns boundaries into numbers of documents*
#
# Documents are packed end to end, and a window of T tokens is cut out of the stream. It may begin in the middle of a
# document and hold several. Write `document_mask(tokens, eot)`:
#
# - `tokens` (T,) int64, T at least 1
# - `eot`: the id of `<|endoftext|>`. It stands **in front of** a document, as minigpt packs it, and is the first token
#   of the document that it announces. What stands before the first `eot` of the window is the rest of an earlier
#   document
# - result (T, T) bool, True means "may look": `[t, s]` is True where s is not later than t, and both belong to the same
#   document.
# ```python
# document_mask(torch.tensor([5, 0, 7, 7, 0, 9]), 0).int()      # tensor([[1, 0, 0, 0, 0, 0],
#                                                               #         [0, 1, 0, 0, 0, 0],
#                                                               #         [0, 1, 1, 0, 0, 0],
#                                                               #         [0, 1, 1, 1, 0, 0],
#                                                               #         [0, 0, 0, 0, 1, 0],
#                                                               #         [0, 0, 0, 0, 1, 1]])
# ```
#
# <details><summary>Hint 1</summary>
#
# You read the window from left to right and number the documents. At which tokens does the number change, and at which
# of them already: at the `eot`, or at the token after it?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Two positions are in one document exactly if equally many documents have begun up to each of them (section 7). So make
# the boundaries zeros and ones, add them up from the left, compare every position's number with every other's, and join
# that with the causal mask of lesson 04.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a train stops now and then; which pairs of minutes lie in the same stretch without a
# stop, whatever their order?
# ```python
# stops = torch.tensor([False, False, True, False, True, True])      # it stands still at the beginning of this minute
# stretch = stops.int().cumsum(0)                                    # tensor([0, 0, 1, 1, 2, 3])
# (stretch[:, None] == stretch[None, :]).sum(dim=1)                  # tensor([2, 2, 2, 2, 1, 1]): minutes in each one's
# ```
#
# </details>

# %%
def document_mask(tokens, eot):
    """tokens (T,) int64, id of <|endoftext|> → (T, T) bool: causal, within one document."""
    ### BEGIN SOLUTION
    document = (tokens == eot).cumsum(dim=0)
    same = document[:, None] == document
    return same.tril()
    ### END SOLUTION

# %%
check("08.document_mask", document_mask)

# %% [markdown] tags=["solution"]
# **Why it works.** `cumsum` counts how many documents have begun up to and including a position, and the `eot` itself
# is counted, so that it belongs to what follows. Comparing the column with the row gives squares along the diagonal;
# the lower triangle of each is a document's own causal mask. No row is empty: everyone may look at itself.
#
# **The most common wrong road** gives the `eot` to the document that it *ends*. Then the first token of a document has
# nothing before it, and its prediction starts from nothing: the `eot` was what the model knows to begin with. The
# second is to look for the nearest boundary only in one direction, which fails where the window begins in mid document.
#
# How much of the causal triangle is left, if the window holds more and more documents?

# %% tags=["solution"]
from minigpt.model import attention_mask

T = 120
for length in (120, 40, 12):
    tokens = (torch.arange(T) % length).clamp(max=1)  # an eot (0) every `length` tokens
    mask = document_mask(tokens, 0)
    engine = attention_mask(tokens[None], None, (tokens == 0).cumsum(0)[None])
    assert torch.equal(mask, engine[0, 0])
    share = mask.sum() / (T * (T + 1) / 2)
    print(f"documents of {length:3} tokens: {share:.0%} of the pairs may look")

# %% [markdown]
# ## 08.8 windows_needed: how long must I measure?
#
# *design · difficulty 3/5 · 12 min · further · idea: two models, one text: only their difference has to be quiet*
#
# Two models, and you want to know which is better by a difference as small as `difference`. You have measured both on
# the same few windows of held-out text. On how many windows do you have to measure in the real experiment?
#
# Write `windows_needed(losses, difference)`:
# - `losses` (2, n) float32, n at least 2: row 0 the loss of the first model on each window, row 1 that of the second,
#   **on the same windows in the same order**
# - `difference`: a number above 0, in the unit of the losses
# - result: the smallest number of windows, a whole number and at least 1, for which the standard error of the mean
#   difference between the models is at most **half** of `difference`.
#
# The standard error of a mean over m windows is s/√m, where s is the standard deviation of what is averaged; estimate
# it from the n windows that you have, with n − 1 in the denominator.
# ```python
# losses = torch.tensor([[2.0, 5.0, 3.5, 4.0],
#                        [2.5, 5.0, 4.5, 4.0]])       # differences 0.5, 0, 1 and 0: s = 0.4787
# windows_needed(losses, 0.25)                        # 15: 0.4787 / √15 = 0.1236; with 14 it is 0.1279, above 0.125
# ```
#
# <details><summary>Hint 1</summary>
#
# Window 1 is hard for both models. Should this make you less sure about which of them is better?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The difference comes first, window by window; then all that windows have in common is gone (section 8). Its standard
# deviation s does not shrink with more windows, but the standard error does, as 1/√m. Set it equal to the half that is
# allowed, solve for m, and round so that the promise still holds.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: four patients, before and after a treatment. How many would be needed, for a
# standard error of the mean change of one beat a minute?
# ```python
# before, after = torch.tensor([60.0, 92.0, 75.0, 81.0]), torch.tensor([57.0, 90.0, 70.0, 81.0])
# change = after - before                             # tensor([-3., -2., -5.,  0.])
# change.std(), before.std()                          # (tensor(2.0817), tensor(13.3417)): patients differ far more
# math.ceil((change.std().item() / 1.0) ** 2)         # 5
# ```
#
# </details>

# %%
def windows_needed(losses, difference):
    """losses (2, n), the same windows for both models → how many windows tell `difference`."""
    ### BEGIN SOLUTION
    spread = (losses[1] - losses[0]).std().item()
    return max(1, math.ceil((2 * spread / difference) ** 2))
    ### END SOLUTION

# %%
check("08.windows_needed", windows_needed)

# %% [markdown] tags=["solution"]
# **Why it works.** s/√m ≤ difference/2 says √m ≥ 2s/difference, and m is the square of that, rounded up. A difference
# half as large needs four times as many windows. If the two models differ by the same amount everywhere, s is 0 and one
# window is enough.
#
# **The most common wrong road** is to ask for the spread of the *losses*, and add the variances of the two models, as
# one would for two independent samples. They are not independent: the text is the same.

# %% tags=["solution"]
hard = 3.5 + 0.4 * torch.randn(200, generator=g)  # how hard each window is, for anyone
first = hard + 0.03 * torch.randn(200, generator=g)
second = hard - 0.01 + 0.03 * torch.randn(200, generator=g)
paired = windows_needed(torch.stack([first, second]), 0.01)
strangers = torch.stack([first, second[torch.randperm(200, generator=g)]])  # the pairs torn apart
print(f"to tell 0.01 nats apart: {paired} windows if they are the same for both models, "
      f"{windows_needed(strangers, 0.01):,} if not")

# %% [markdown]
# ## 08.9 what_differs: was this resume exact?
#
# *measure · difficulty 3/5 · 12 min · core · idea: the first thing that differs names what was lost*
#
# A run was killed and resumed from its checkpoint. You have its log, and that of a twin that was never disturbed. A
# line is a dictionary:
#
# | key | what it says |
# |---|---|
# | `"step"` | how many updates the weights have had before this step |
# | `"window"` | the number of the first window of text that the step reads |
# | `"loss"` | the loss on this batch, **before** the update |
# | `"lr"` | the learning rate of this update |
# | `"seconds"` | what the clock said |
#
# Was the resume exact, to the last bit? If not, what was lost? Write `what_differs(log, resumed)`: `log`, the lines of
# the undisturbed run, from step 0 on; `resumed`, the lines after the resume, from a later step on, at least one. Both
# have a line for every step, in order. Either may end before the other: only the steps that both have tell you
# something, and the first step of `resumed` is one of them. The result is one of five words:
#
# - `"exact"`: nothing differs in the steps that both have, except for the clock
# - `"data"`: it reads other text
# - `"weights"`: it reads the same text, and the loss is another one at its first step already
# - `"schedule"`: the learning rate is another one
# - `"moments"`: the first step is right in all respects, and a later loss differs although everything that the log
#   shows has been equal until then. Something went into the update that no column shows: the optimizer's memory.
#
# If several things differ, the **first** counts: the earliest step, and within a step what comes first, in the order
# window, loss, rate.
# ```python
# log = [{"step": i, "window": 8 * i, "loss": 5.0 - i, "lr": 0.1, "seconds": 2.0 * i} for i in range(4)]
# late = [line | {"seconds": 0.5} for line in log[2:]]
# what_differs(log, late)                                                 # 'exact'
# what_differs(log, [late[0], late[1] | {"loss": 1.75}])                  # 'moments'
# what_differs(log, [late[0] | {"loss": 3.5}, late[1]])                   # 'weights'
# what_differs(log, [late[0] | {"window": 0, "loss": 3.5}, late[1]])      # 'data': so the loss says nothing
# ```
#
# <details><summary>Hint 1</summary>
#
# The first line after a resume has the right text and the right loss. What has been proven by this, and what has not
# been used yet when the loss was computed?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Follow cause and effect (section 10). A batch is read; weights and batch give the loss; rate, gradient and moments
# give the next weights. A difference in one column makes everything after it differ too, so only the first one is a
# cause. Lines belong together by their step, not by their place in the list.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two bakers follow one recipe, hour by hour. Where did they part first?
# ```python
# plan = {6: ("dough", 24), 7: ("rest", 26), 8: ("bake", 220), 9: ("cool", 20)}         # hour: (what, degrees)
# diary = [(7, "rest", 26), (8, "bake", 180), (9, "bake", 220), (10, "cool", 20)]
# def first_slip(plan, diary):
#     for hour, what, degrees in diary:
#         if hour not in plan:
#             break
#         if what != plan[hour][0]:
#             return "task"
#         if degrees != plan[hour][1]:
#             return "heat"
#     return "none"
#
# first_slip(plan, diary)          # 'heat': at 8; the wrong task at 9 came later
# ```
#
# </details>

# %%
def what_differs(log, resumed):
    """Two lists of dicts, one a step → exact, data, weights, schedule or moments."""
    ### BEGIN SOLUTION
    undisturbed = {line["step"]: line for line in log}
    for line in resumed:
        if line["step"] not in undisturbed:
            break
        twin = undisturbed[line["step"]]
        if line["window"] != twin["window"]:
            return "data"
        if line["loss"] != twin["loss"]:
            return "weights" if line is resumed[0] else "moments"
        if line["lr"] != twin["lr"]:
            return "schedule"
    return "exact"
    ### END SOLUTION

# %%
check("08.what_differs", what_differs)

# %% [markdown] tags=["solution"]
# **Why it works.** Each test is made only where all earlier causes have been cleared. The loss of the first step
# depends on text and weights alone; once it is right, the weights were right. A later loss depends on the updates in
# between as well: rate, gradient and moments. The rate was compared, the gradient follows from text and weights, and
# the moments are what is left.
#
# **The most common wrong road** is to call a curve that continues smoothly a good resume. With fresh moments it does
# continue: the first loss is exact and the bump comes later. The second is a tolerance, `math.isclose`: a resume is
# exact or it is not, and a small difference is how all of these begin.
#
# A tiny run, really resumed, in five ways:

# %% tags=["solution"]
def run(first, model, optimizer, rate_from=0, read_from=0):
    for step in range(first, 12):
        window, lr = step - read_from, 0.05 * (1 - (step - rate_from) / 20)
        x = torch.randn(6, 3, generator=torch.Generator().manual_seed(window))
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        loss.backward()
        yield {"step": step, "window": window, "loss": loss.item(), "lr": lr, "seconds": 0.0}
        optimizer.step()


def fresh():
    torch.manual_seed(5)
    model = torch.nn.Linear(3, 1)
    return model, torch.optim.AdamW(model.parameters(), eps=1e-8)


log = list(run(0, *fresh()))

# %% tags=["solution"]
for lost in ("nothing", "weights", "moments", "rate", "position"):
    model, optimizer = fresh()
    for line in run(0, model, optimizer):  # walks to the checkpoint: the last update is step 5's
        if line["step"] == 6:
            break
    new_model, new_optimizer = fresh()
    if lost != "weights":
        new_model.load_state_dict(model.state_dict())
    if lost != "moments":
        new_optimizer.load_state_dict(optimizer.state_dict())
    start = {"rate": dict(rate_from=6), "position": dict(read_from=6)}.get(lost, {})
    resumed = list(run(6, new_model, new_optimizer, **start))
    off = abs(resumed[-1]["loss"] - log[-1]["loss"])
    print(f"lost: {lost:8} → {what_differs(log, resumed):8} last loss off by {off:.3f}")

# %% [markdown]
# ## 08.10 factored_step: an optimizer for those who have no memory left
#
# *write · difficulty 4/5 · 20 min · further · unaided · idea: a table of means of squares, rebuilt from its margins*
#
# **Assistant off: no AI, no hints at first, only the lesson and your own experiments.** This is the test of whether
# Adam is now yours.
#
# Adam's mean of squares is as large as the model. Adafactor (Shazeer & Stern 2018, arXiv 1804.04235) does not keep it.
# For a matrix of R rows and C columns it keeps R + C numbers: the running mean of each row's mean square, and that of
# each column's. From these it rebuilds an estimate of the table. A row whose gradients are large and a column whose
# gradients are large meet in a place where they are likely to be large: the estimate at row i and column j is **the
# number of row i, times the number of column j, divided by the mean of all rows' numbers**.
#
# Write `factored_step(weight, grad, state, lr, beta, eps)`, Adam's step without the mean of gradients and without
# decay, with this estimate in the place of the mean of squares:
#
# - `weight`, `grad` (R, C) float32
# - `state`: `None` before the first step, then the triple (`step`, `rows`, `columns`): steps done, (R,) and (C,). These
#   are running means that begin at zero, keep `beta` of themselves, and are stored uncorrected, as in 08.3
# - the estimate is made of corrected numbers: rows and columns are each divided by their share of real gradients
# - the weight moves against `grad`, divided by the root of the estimate plus `eps`, which is added after the root;
#   times `lr`
# - where the estimate is zero, the gradient is zero too, and the weight stays. No NaN may come out, not even if all of
#   `grad` is zero at the first step
# - result: the pair (new weight, new state). Leave all tensors as they were.
# ```python
# grad = torch.tensor([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0]])      # squares: the second row 4 times the first
# factored_step(torch.zeros(2, 3), grad, None, 0.5, 0.75, 1e-8)
# # (tensor([[-0.5, -0.5, 0.0], [-0.5, -0.5, 0.0]]),           rebuilt without a fault: each step is as long as `lr`
# #  (1, tensor([0.4167, 1.6667]), tensor([0.6250, 2.5000, 0.0000])))
# factored_step(torch.zeros(2, 2), torch.eye(2), None, 0.5, 0.75, 1e-8)[0]
# # tensor([[-0.7071, 0.0], [0.0, -0.7071]]):                  the estimate is 0.5 everywhere, and no more can be known
# ```
#
# <details><summary>Hint 1</summary>
#
# You know only the sums of the rows and of the columns of a table of four numbers. When can you say for certain what
# the four numbers are?
#
# </details>
# <details><summary>Hint 2</summary>
#
# It is section 3 with two small running means in the place of one large one. Ask of each quantity what it has the shape
# of: squares (R, C), rows (R,), columns (C,), estimate (R, C). A column times a row is a table. Of the two corrections
# and the division by the mean of rows, which corrections survive, and how often?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a survey tells how many people live in each of three towns, and how many of all are
# children and grown-ups. How many children does one expect in each town?
# ```python
# towns = torch.tensor([100.0, 300.0, 600.0])
# ages = torch.tensor([200.0, 800.0])                       # children, grown-ups
# towns[:, None] * ages[None, :] / towns.sum()              # tensor([[ 20.,  80.], [ 60., 240.], [120., 480.]])
# ```
# If nobody lives anywhere, this divides zero by zero: `towns.sum().clamp(min=1e-30)` would give zeros.
#
# </details>

# %%
def factored_step(weight, grad, state, lr, beta, eps):
    """weight, grad (R, C), None or (step, rows (R,), columns (C,)) → (weight, state), all new."""
    ### BEGIN SOLUTION
    R, C = weight.shape
    step, rows, columns = state or (0, torch.zeros(R), torch.zeros(C))
    step = step + 1
    rows = beta * rows + (1 - beta) * grad.square().mean(dim=1)
    columns = beta * columns + (1 - beta) * grad.square().mean(dim=0)
    share = 1 - beta**step
    overall = (rows / share).mean().clamp(min=1e-30)
    estimate = torch.outer(rows / share, columns / share) / overall
    return weight - lr * grad / (estimate.sqrt() + eps), (step, rows, columns)
    ### END SOLUTION

# %%
check("08.factored_step", factored_step)  # 08.10

# %% [markdown] tags=["solution"]
# **Why it works.** A table of rank one is the product of its margins divided by its total, so that it can be rebuilt
# exactly; any other table is rebuilt with the right sums of rows and columns. Divided by the mean, not by the sum,
# because rows and columns were kept as means. Of the three
# corrections one is left over: two stand above, one below.
#
# **The most common wrong road** is a root too early: `sqrt(rows)` times `sqrt(columns)` over the mean of roots is
# another number. The second is to correct the product once for each of the two and forget the divisor: then the first
# steps are too short by the root of 1 − beta.
#
# How near does the rebuilt table come, for the gradients of a GPT? And does the first step agree with PyTorch's?

# %% tags=["solution"]
from minigpt import GPT, ModelConfig

config = ModelConfig("gpt2", layers=2, width=64, heads=2, kv_heads=2, head_size=32, mlp_width=256,
                     context=64, vocab_size=512, activation="gelu")  # fmt: skip
model = GPT(config, seed=1)
text = torch.randint(512, (8, 65), generator=g).square() // 512  # some tokens are far more common
model(text[:, :-1], text[:, 1:]).backward()
for name in ("embed.weight", "blocks.1.mlp.up.weight"):
    p = model.get_parameter(name)
    grad, weight = p.grad, p.detach()
    step, _ = factored_step(weight, grad, None, 1.0, 0.95, 1e-12)
    sizes = (weight - step)[grad != 0].abs()  # 1 wherever the estimate is perfect
    inside = ((sizes > 0.5) & (sizes < 2)).float().mean()
    print(f"{name}: {p.numel():,} squares from {sum(p.shape)} numbers; "
          f"{inside:.0%} of the steps are right within a factor of 2")

theirs = torch.nn.Parameter(weight.clone())
theirs.grad = grad.clone()
torch.optim.Adafactor([theirs], lr=1e-2, d=1e9).step()  # d: no clipping
rate = 1e-2 * weight.square().mean().sqrt().item()  # Adafactor's rate is relative to the weights
ours, _ = factored_step(weight, grad, None, rate, 0.95, 1e-12)
print(f"largest difference to torch.optim.Adafactor: {(ours - theirs).abs().max():.0e}")

# %% [markdown] tags=["solution"]
# **Beyond.** Adafactor also clips each update and makes the rate relative to the size of the weights. Its price is the
# error of the estimate: a place that is rare in a common row is taken to be common.
