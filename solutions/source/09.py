# %% [markdown]
# # 09 · Mixed precision: exercises
#
# Nine exercises; the three marked *core* are enough to go on. Write your function, run the cell below it, and read
# what `check` says: it tells you which idea produced your result. Being stuck on one never blocks the next. Of the
# three hints the first is a question; try again before you open another.
#
# Words as in the lesson: a number is ± significand · 2^exponent. `exponent_bits` is how many bits a format keeps of the
# exponent, `significand_bits` how many of the significand *after* its leading 1, which is not stored: bf16 has 8 and 7,
# fp16 has 5 and 10, fp32 has 8 and 23. Small formats need no special hardware here: all of it runs on your CPU.

# %% tags=["setup"]
import math

import torch


def multiply(a, b):
    """What a matrix unit does: both operands rounded to bf16, products added up in float32."""
    return a.bfloat16().float() @ b.bfloat16().float()

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 09.1 spacing: how far is it to the next number?
#
# *predict · difficulty 1/5 · 6 min · core · try first · idea: the gaps between numbers grow with the numbers*
#
# **Try this before you read section 1.** A computer writes a number as you write 3.00 · 10², but in base two: a number
# from 1 up to 2, times a power of two. Of the part after the point it keeps a fixed count of binary digits,
# `significand_bits`. With 2 of them the numbers from 4 up to 8 are 4 times 1, 1¼, 1½ and 1¾: that is 4, 5, 6 and 7.
# There is nothing between 5 and 6.
#
# **Predict first**, in your head: bf16 keeps 7 binary digits. You hold 300 and add 1. Is there a bf16 number 301? And
# how many numbers does bf16 have from 256 up to (and without) 512?
#
# Then write `spacing(x, significand_bits)`: a number other than 0 and a whole number → a number, the distance between
# neighbours there. Between two powers of two, 2^e ≤ |x| < 2^(e+1), neighbours are equally far apart; at a power of two
# itself the distance upwards counts. The sign of `x` does not matter, and `x` need not be a number of the format. No
# exponent is too large or too small. No `x` lies closer below a power of two than a ten-thousandth of it, where a
# logarithm might be rounded up.
# ```python
# spacing(4.0, 2)           # 1.0
# spacing(7.5, 2)           # 1.0
# spacing(-8.0, 2)          # 2.0
# spacing(0.75, 7)          # 0.00390625, which is 2 ** -8
# ```
#
# <details><summary>Hint 1</summary>
#
# Between 4 and 8 there are 4 steps when 2 digits are kept. How many are there between 8 and 16, and how many between ½
# and 1?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Each stretch from one power of two to the next is cut into the same number of equal steps (section 1). So you need
# the stretch that |x| lies in: its lower end is 2 to the power of a *whole* number, and its length is as large as its
# lower end. Then divide by the number of steps. Numbers below 1 have negative exponents, and rounding them to a whole
# number has to go the same way as for positive ones: down.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: the sizes of screws. From one power of ten to the next there are 9 sizes at equal
# distances: 1 mm, 2 mm, … 9 mm, 10 mm, 20 mm, … How far apart are sizes near a given length?
# ```python
# def step(length):
#     decade = math.floor(math.log10(length))         # floor, not int: int(-0.3) is 0
#     return 10.0**decade
#
# step(37.0), step(100.0), step(0.5)                  # (10.0, 100.0, 0.1)
# ```
#
# </details>

# %%
def spacing(x, significand_bits):
    """x other than 0, digits kept → the distance between neighbours around |x|."""
    ### BEGIN SOLUTION
    exponent = math.frexp(x)[1] - 1  # frexp: x is ±f · 2^e with ½ ≤ f < 1, so its e is one more
    return 2.0 ** (exponent - significand_bits)
    ### END SOLUTION

# %%
check("09.spacing", spacing)

# %% [markdown] tags=["solution"]
# **Why it works.** The stretch from 2^e to 2^(e+1) is 2^e long, and `significand_bits` binary digits cut it into
# 2^significand_bits steps. Around 300 the stretch begins at 256, so that bf16 has 128 numbers there, 2 apart: there is
# no 301. The sum of 300 and 1 is rounded back to 300, and a counter that adds ones in bf16 stands still long before it
# gets there. (Where does it stop? Where the spacing is 2, a step of 1 is a tie: at 256.)
#
# `math.floor(math.log2(abs(x)))` is just as right here, and easier to think of. It fails where the statement does not
# go: of the largest Python float below 8, `math.log2` is 3.0, since 3 is the nearest float to the true logarithm.
# `math.frexp` computes nothing; it reads the exponent that is stored with the number.
#
# **The most common wrong road** is to leave out `floor`: then the distance is |x| / 2^significand_bits, a relative
# precision that never jumps. It is right at powers of two only. The other is `int` in place of `floor`: it cuts towards
# zero, and so is wrong for every number below 1 that is not a power of two, which is nearly every weight of a model.

# %% tags=["solution"]
from minigpt.classroom import viz
from minigpt.classroom.viz import show

xs = torch.logspace(-2, 3, 1200).tolist()
fig, ax = viz.figure(7, 3)
for name, bits, color, style in (("bf16", 7, viz.BLUE, "-"), ("fp16", 10, viz.VERMILLION, "--")):
    steps = [spacing(x, bits) for x in xs]
    ax.plot(xs, steps, style, color=color)
    viz.label_end(ax, xs, steps, name, color)
ax.set_xscale("log", base=2)
ax.set_yscale("log", base=2)
ax.set(xlabel="x", ylabel="distance to the next")
sum_ = (torch.tensor(300.0).bfloat16() + 1).item()  # 301 is not there
count = len({x.bfloat16().item() for x in torch.arange(256.0, 512.0, 0.25) if x.bfloat16() < 512})
print(f"bf16: 300 + 1 = {sum_:g}, and it has {count} numbers from 256 up to 512")
show(fig, "Two staircases: the distance between neighbours doubles at each power of two. "
          f"At 300 it is {spacing(300.0, 7):g} in bf16 and {spacing(300.0, 10):g} in fp16.")

# %% [markdown]
# ## 09.2 decode: read a number bit by bit
#
# *write · difficulty 3/5 · 12 min · further · idea: three fields, and a rule for each end*
#
# Write `decode(pattern, exponent_bits, significand_bits)`: the whole number whose binary digits are the bits of a
# floating-point number → that number, a Python float. From left to right the bits are
#
# 1. the sign: one bit, 1 for negative;
# 2. the exponent field E: `exponent_bits` bits, a whole number from 0 up;
# 3. the fraction field: `significand_bits` bits, the digits after the binary point, so that f = field /
#    2^significand_bits.
#
# With bias = 2^(exponent_bits − 1) − 1 the value is, but for the sign:
#
# | E | value |
# |---|---|
# | all bits 1 | infinity if f is 0, else NaN (`math.inf`, `math.nan`) |
# | 0 | f · 2^(1 − bias): a *subnormal* number, without a leading 1 |
# | all others | (1 + f) · 2^(E − bias) |
#
# Both counts of bits are at least 2, and nothing stands to the left of the sign.
# ```python
# decode(0b0_10000_1000000000, 5, 10)       # 3.0      (1 + 1/2) · 2^(16 - 15)
# decode(0b1_01111_0000000000, 5, 10)       # -1.0
# decode(0b0_00000_0000000001, 5, 10)       # 5.960464477539063e-08, which is 2 ** -24
# decode(0b1_1111_000, 4, 3)                # -inf
# decode(0b0_10000000_1000000, 8, 7)        # 3.0 again, in bf16
# ```
#
# <details><summary>Hint 1</summary>
#
# Take a pattern of 1 + 2 + 2 bits, `0b1_10_01`, on paper. How do you get the two bits in the middle, without what
# stands to their left and to their right?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `>>` drops bits on the right, and `& (2**n - 1)` keeps the n bits that stand there: with the two you cut out any
# field. Then there are three cases (section 1), and the exponent field tells them apart. Exponent fields 0 and 1 belong
# to the same power of two: that is why the numbers go on without a gap from the smallest normal one down to 0.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: an old file system keeps a date in 16 bits: 7 for the years since 1980, 4 for the
# month, 5 for the day; and a month of 0 means that there is no date.
# ```python
# def date(packed):
#     day = packed & (2**5 - 1)
#     month = (packed >> 5) & (2**4 - 1)
#     year = (packed >> 9) + 1980                   # an offset, like a bias
#     return None if month == 0 else (year, month, day)
#
# date(0b0101101_0011_10001), date(0)               # ((2025, 3, 17), None)
# ```
#
# </details>

# %%
def decode(pattern, exponent_bits, significand_bits):
    """The bits of a number as a whole number, sizes of the fields → the number, a float."""
    ### BEGIN SOLUTION
    sign = -1.0 if pattern >> (exponent_bits + significand_bits) else 1.0
    field = (pattern >> significand_bits) & (2**exponent_bits - 1)
    fraction = (pattern & (2**significand_bits - 1)) / 2**significand_bits
    bias = 2 ** (exponent_bits - 1) - 1
    if field == 2**exponent_bits - 1:
        return sign * math.inf if fraction == 0 else math.nan
    if field == 0:
        return sign * fraction * 2.0 ** (1 - bias)
    return sign * (1 + fraction) * 2.0 ** (field - bias)
    ### END SOLUTION

# %%
check("09.decode", decode)

# %% [markdown] tags=["solution"]
# **Why it works.** Shift, then mask: the exponent field needs both, for the sign stands to its left. Two of its values
# are set aside. The highest says "no number any more". The lowest drops the leading 1, so that there is a zero, and
# numbers that thin out towards it instead of ending at a cliff.
#
# **The most common wrong road** is to use 2^(E − bias) for subnormal numbers too, which gives 2^(−bias): half of what
# it should be. Next comes a leading 1 for all: then no pattern is 0.
#
# Every pattern of both 16-bit formats, against PyTorch:

# %% tags=["solution"]
patterns = torch.arange(2**16, dtype=torch.int32).to(torch.int16)  # the upper half wraps around
for dtype, sizes in ((torch.float16, (5, 10)), (torch.bfloat16, (8, 7))):
    ours = torch.tensor([decode(p, *sizes) for p in range(2**16)], dtype=torch.float64)
    theirs = patterns.view(dtype).double()
    assert torch.equal(ours.nan_to_num(7.7), theirs.nan_to_num(7.7))
    print(f"{dtype}: all {len(ours):,} patterns agree, {ours.isnan().sum():,} of them are NaN")

# %% [markdown]
# ## 09.3 limits: what does a format reach?
#
# *predict · difficulty 2/5 · 8 min · further · idea: exponent bits buy range, significand bits buy digits*
#
# A format as in 09.2: sign, exponent, fraction; the highest exponent field is set aside for infinity and NaN, the
# lowest for zero and subnormal numbers.
#
# **Predict first**: bf16 and fp16 both have 16 bits. Which of them has the larger largest number, and is it 2 times, 8
# times, or many powers of ten as large? Which has the smaller smallest one?
#
# Then write `limits(exponent_bits, significand_bits)` → three floats: the largest finite number, the smallest positive
# *normal* number, the smallest positive number of all (a subnormal). Both counts of bits are at least 2, and there
# are at most 8 exponent bits, as in fp32.
# ```python
# limits(5, 10)        # (65504.0, 6.103515625e-05, 5.960464477539063e-08)       2 ** -14 and 2 ** -24
# limits(2, 3)         # (3.75, 1.0, 0.125)
# ```
#
# <details><summary>Hint 1</summary>
#
# Write down the bits of the largest number of a format with 2 exponent bits and 3 significand bits. Why is its exponent
# field not `11`?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Three patterns, read as in section 1: the highest exponent field that is still a number, with all fraction bits 1; the
# exponent field 1, with all fraction bits 0; the exponent field 0, with only the last fraction bit 1. A fraction of n
# ones is one step of 2^−n short of 1.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a pocket calculator shows d digits and an exponent of one digit, from −9 to 9; 9 is
# kept for errors.
# ```python
# def calculator(d):
#     step = 10.0 ** -(d - 1)                          # the last digit counts this much
#     largest = (10 - step) * 10.0**8                  # 9.99 · 10^8 for three digits
#     smallest = 1.0 * 10.0**-9                        # with a first digit that is not 0
#     return largest, smallest, step * 10.0**-9        # 0.01 · 10^-9
#
# calculator(3)                                        # 9.99 · 10⁸, 10⁻⁹ and 10⁻¹¹
# ```
#
# </details>

# %%
def limits(exponent_bits, significand_bits):
    """Sizes of the fields → largest finite number, smallest normal number, smallest subnormal."""
    ### BEGIN SOLUTION
    bias = 2 ** (exponent_bits - 1) - 1
    step = 2.0**-significand_bits
    smallest_normal = 2.0 ** (1 - bias)
    return (2 - step) * 2.0**bias, smallest_normal, step * smallest_normal
    ### END SOLUTION

# %%
check("09.limits", limits)

# %% [markdown] tags=["solution"]
# **Why it works.** The highest field of a number is 2^exponent_bits − 2, and minus the bias that is the bias again. The
# smallest normal number has field 1, and one step of the fraction below it is where numbers end.
#
# **The most common wrong road** is to give the largest number the highest exponent field, which belongs to infinity. It
# comes out about twice too large.
#
# The prediction: each exponent bit more squares the largest number, or nearly so. Three of them turn 10⁵ into 10³⁸.

# %% tags=["solution"]
for name, dtype, sizes in (("fp32", torch.float32, (8, 23)), ("bf16", torch.bfloat16, (8, 7)),
                           ("fp16", torch.float16, (5, 10)), ("e5m2", torch.float8_e5m2, (5, 2)),
                           ("e4m3", torch.float8_e4m3fn, (4, 3))):  # fmt: skip
    largest, normal, subnormal = limits(*sizes)
    info = torch.finfo(dtype)
    same = "" if largest == info.max else f", but PyTorch says {info.max:g}"
    print(f"{name}: up to {largest:.3g}, normal from {normal:.2g}, subnormal {subnormal:.2g}{same}")

# %% [markdown] tags=["solution"]
# The last line is no mistake. With 4 exponent bits one field of sixteen is much to give away, so that this format has
# no infinity and a single NaN pattern for each sign; its largest number is 1.75 · 2^8 (Micikevicius et al. 2022,
# arXiv 2209.05433).

# %% [markdown]
# ## 09.4 grad_scaler: when to grow, when to shrink
#
# *write · difficulty 3/5 · 15 min · core · idea: feel for the largest scale that works*
#
# Small gradients vanish in fp16, so the loss is multiplied by a scale before the backward pass. The scale should be as
# large as possible, and nobody knows how large that is. So a scaler feels its way. It begins with `scale`. In each
# step:
#
# - the backward pass runs with the present scale;
# - if a gradient is infinite or NaN, the step is *skipped* (the weights stay as they are), and the scale is multiplied
#   by `backoff` for the next step;
# - else the step is taken; and after `interval` steps taken **in a row**, the scale is multiplied by `growth`, and the
#   counting of steps begins anew. A skipped step ends a row too.
#
# Write `grad_scaler(infs, scale, growth, backoff, interval)`:
# - `infs`: a list of S booleans, True where the gradients of this step were infinite or NaN
# - `scale`, `growth` (> 1), `backoff` (between 0 and 1): floats; `interval`: a whole number of at least 1
# - result: a list of S pairs (the scale with which the step's backward pass ran, was the step skipped?)
#
# Leave `infs` as it was.
# ```python
# grad_scaler([False, False, False, True, False], 8.0, 2.0, 0.5, 2)
# # [(8.0, False), (8.0, False), (16.0, False), (16.0, True), (8.0, False)]
# ```
# Two clean steps, so that the third runs with 16; the fourth fails with 16, so that the fifth runs with 8.
#
# <details><summary>Hint 1</summary>
#
# After the fifth step of the example: how many more clean steps does it take until the scale grows?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The scaler has two things to remember: its scale, and how many steps in a row were taken (section 5). Write the pair
# down *before* you change the scale, for it is the scale that was used. There are two events that set the count back to
# zero.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a library lends a new reader 2 books at a time. After 3 returns in time in a row it
# is one more; after a late return it is one less. How many could be borrowed at the end?
# ```python
# def allowed(late):
#     books, in_time = 2, 0
#     for was_late in late:
#         in_time = 0 if was_late else in_time + 1
#         if was_late:
#             books -= 1
#         elif in_time == 3:
#             books, in_time = books + 1, 0
#     return books
#
# allowed([False] * 6), allowed([False, False, True, False])      # (4, 1)
# ```
#
# </details>

# %%
def grad_scaler(infs, scale, growth, backoff, interval):
    """S booleans and the scaler's settings → S pairs (scale used, was the step skipped?)."""
    ### BEGIN SOLUTION
    steps, clean = [], 0
    for inf in infs:
        steps.append((scale, inf))
        if inf:
            scale *= backoff
            clean = 0
        else:
            clean += 1
            if clean == interval:
                scale *= growth
                clean = 0
    return steps
    ### END SOLUTION

# %%
check("09.grad_scaler", grad_scaler)

# %% [markdown] tags=["solution"]
# **Why it works.** The pair is written down first, then the scale moves. `clean` counts the steps of the present row,
# and both events end it: a failure, because what went well before it says nothing about what comes; growth, because the
# new scale has yet to prove itself.
#
# **The most common wrong road** is a count that goes on through failures: `step % interval == 0`. The scale then grows
# right after it was cut, the next step fails as well, and every second failure was unnecessary.
#
# The same decisions as PyTorch's own scaler, whose gradients we spoil in the same steps:

# %% tags=["solution"]
g = torch.Generator().manual_seed(0)
infs = (torch.rand(300, generator=g) < 0.05).tolist()
weight = torch.nn.Parameter(torch.zeros(1))
optimizer = torch.optim.SGD([weight], lr=1.0)
scaler = torch.amp.GradScaler("cpu", 1024.0, growth_factor=2.0, backoff_factor=0.5,
                              growth_interval=12)  # fmt: skip
theirs = []
for inf in infs:
    before, used = weight.item(), scaler.get_scale()
    weight.grad = scaler.scale(torch.full((1,), math.inf if inf else 1.0))
    scaler.step(optimizer)
    scaler.update()
    theirs.append((used, weight.item() == before))
ours = grad_scaler(infs, 1024.0, 2.0, 0.5, 12)
assert ours == theirs

# %% tags=["solution"]
scales = [scale for scale, _ in ours]
skipped = [i for i, (_, skip) in enumerate(ours) if skip]
fig, ax = viz.figure(7, 2.6)
ax.step(range(len(scales)), scales, where="post", color=viz.BLUE)
ax.plot(skipped, [scales[i] for i in skipped], "x", color=viz.VERMILLION, label="skipped")
ax.set(xlabel="step", ylabel="scale")
ax.set_yscale("log", base=2)
ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
show(fig, f"The scale of {len(ours)} steps: it doubles after twelve clean steps and halves after "
          f"each of the {len(skipped)} skipped ones; between {min(scales):g} and {max(scales):g}.")

# %% [markdown]
# ## 09.5 scaled_step: put the lines in order
#
# *order · difficulty 3/5 · 8 min · further · idea: each line of a mixed-precision step needs the one before it*
#
# One training step in fp16, its lines shuffled. **Three lines are there twice, once right and once wrong**: delete the
# wrong ones (three lines), and put the rest in order (in Jupyter, Alt+Up and Alt+Down, or Ctrl+Shift+Up and
# Ctrl+Shift+Down, move a line). The `if` and the line under it stay together.
#
# - `weights` (N,) float32: the master weights
# - `backward`: a function; `backward(half, scale)` takes (N,) float16 weights and returns the (N,) float16 gradient of
#   scale · loss, in which numbers may be infinite or NaN
# - `max_norm`: a gradient (of the loss itself, as a whole vector) that is longer than this is shortened to it
# - `rate`: the weights move by −rate · gradient
# - result (N,) float32: the new master weights, or the old ones if the step has to be skipped. Leave `weights` itself
#   as it was.
#
# An example, with a loss whose gradient is the weights themselves:
# ```python
# def backward(half, scale):
#     return (half.float() * scale).half()
#
# weights = torch.tensor([3.0, 4.0])
# scaled_step(weights, backward, 1024.0, 1.0, 0.5)       # tensor([2.7, 3.6]): length 5, shortened to (0.6, 0.8)
# scaled_step(weights, backward, 32768.0, 1.0, 0.5)      # tensor([3., 4.]): 4 · 32768 is infinite, so skipped
# ```
#
# <details><summary>Hint 1</summary>
#
# `max_norm` is 1. With which length of the *scaled* gradient should the step be shortened, when the scale is 1024?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The scale lifts small gradients over fp16's lower end (sections 3 and 5). So it must come off where there is room
# below: in float32. What limits the gradient's length has to see the true gradient. And what is small beside a weight
# must be added where the weight has its digits: to the master weights, not to their fp16 copy (section 4).
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: refunds come from a till as whole cents; at most 50 euros a day are paid out, more
# than that, and everyone's share is cut by the same factor; one unreadable slip, and nothing is paid today.
# ```python
# def payout(balances, slips):
#     if not all(slip.isdigit() for slip in slips):
#         return balances
#     euros = [int(slip) / 100 for slip in slips]           # first back to euros …
#     cut = min(1.0, 50.0 / sum(euros))                     # … because the limit is in euros
#     return [b + e * cut for b, e in zip(balances, euros)]
#
# payout([0.0, 5.0], ["6000", "4000"]), payout([0.0, 5.0], ["6000", "4??0"])        # ([30.0, 25.0], [0.0, 5.0])
# ```
#
# </details>

# %%
def scaled_step(weights, backward, scale, max_norm, rate):
    """weights (N,) float32, backward(half, scale) → fp16 gradient → (N,) float32 new weights."""
    ### BEGIN SOLUTION
    half = weights.half()
    grads = backward(half, scale)
    grads = grads.float() / scale
    if not torch.isfinite(grads).all():
        return weights
    grads = grads * min(1.0, max_norm / grads.norm())
    return weights - rate * grads
    ### STUB
    # grads = grads.clamp(-max_norm, max_norm)
    # return half - rate * grads
    # grads = grads.float() / scale
    # return weights - rate * grads
    # if not torch.isfinite(grads).all():
    #     return weights
    # grads = grads * min(1.0, max_norm / grads.norm())
    # half = weights.half()
    # grads = (grads / scale).float()
    # grads = backward(half, scale)
    ### END SOLUTION

# %%
check("09.scaled_step", scaled_step)

# %% [markdown] tags=["solution"]
# **Why it works.** Copy, backward, back to float32, scale off, look for infinities, clip, step. (The look may come at
# any place between `backward` and the step: infinity divided by the scale is still infinite.)
#
# **The most common wrong road** in real code is clipping before the scale is off: `clip_grad_norm_` without
# `scaler.unscale_(optimizer)` before it. Every gradient is then "too long", the clip cuts by the scale, and the scale
# is divided out once more: training goes on, many thousand times too slowly. `(grads / scale).float()` looks like the
# same thing as the line that you kept. It rounds to fp16 first, and that is the loss that the scale should have
# prevented:

# %% tags=["solution"]
g = torch.Generator().manual_seed(3)
true = 1e-7 * torch.randn(10_000, generator=g)
scaled = (true * 65536).half()  # what the backward pass hands over
for name, grads in (("(grads / scale).float()", (scaled / 65536).float()),
                    ("grads.float() / scale", scaled.float() / 65536)):  # fmt: skip
    zero, error = (grads == 0).float().mean(), (grads - true).norm() / true.norm()
    print(f"{name:23}: {zero:6.1%} of the gradients are 0, relative error {error:.2%}")

# %% [markdown]
# ## 09.6 lost_updates: steps that go nowhere
#
# *measure · difficulty 2/5 · 10 min · core · idea: an update is lost when the sum is rounded back to where it was*
#
# Weights are kept in 16 bits, without a float32 copy. The optimizer adds its update in float32, and the sum is rounded
# back to the weights' own format. Where this gives the old weight again, the update was lost. How many are?
#
# **Predict first**: AdamW with a learning rate of 0.001 moves each weight by about 0.001. In bf16, which updates are
# lost: those of weights near 1, near 0.1, near 0.01?
#
# Then write `lost_updates(weights, updates)`:
# - `weights`, of any shape, bfloat16 or float16
# - `updates`, of the same shape, float32: what is to be *added* to the weights
# - result: a Python number from 0 to 1: of the updates that are not zero, the share that leaves its weight as it was; 0
#   if there are none.
#
# Rounding is to the nearest number, as PyTorch does it. Leave both arguments as they were.
# ```python
# weights = torch.tensor([1.0, 1.0, 1.0, 256.0, 3.0]).bfloat16()
# updates = torch.tensor([0.003, -0.003, 0.005, 0.9, 0.0])
# lost_updates(weights, updates)        # 0.5: the first and the fourth of four
# ```
# From 1 upwards the next number is 1/128 away, downwards 1/256.
#
# <details><summary>Hint 1</summary>
#
# The example loses +0.003 and keeps −0.003, at the same weight. Can a rule that compares |update| with |weight| say so?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Do not predict the rounding, do it: add in float32, where the sum is nearly exact, and cast the sum to the format
# (sections 3 and 4). Then compare with what was there. The share has a denominator of its own: an update of zero was
# not lost, nor was it an attempt. Which of several formats it is, the weights know themselves.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a shop shows prices in steps of 5 cents. Which of the price changes does a customer
# see?
# ```python
# prices = torch.tensor([1.00, 1.00, 2.50, 4.00])
# changes = torch.tensor([0.02, 0.03, 0.00, -0.01])
# shown = ((prices + changes) * 20).round() / 20
# real = changes != 0
# unseen = torch.isclose(shown, prices) & real
# unseen.sum() / real.sum()                       # tensor(0.6667): two changes of three
# ```
#
# </details>

# %%
def lost_updates(weights, updates):
    """weights bf16 or fp16, updates float32, same shape → share of non-zero updates lost."""
    ### BEGIN SOLUTION
    stored = (weights.float() + updates).to(weights.dtype)
    tried = updates != 0
    lost = tried & (stored == weights)
    return lost.sum().item() / max(1, tried.sum().item())
    ### END SOLUTION

# %%
check("09.lost_updates", lost_updates)

# %% [markdown] tags=["solution"]
# **Why it works.** The question is whether a sum rounds to where it came from, and the machine answers it itself: add,
# cast, compare. Ties, powers of two, and both formats come out right because it is the same rounding that the training
# uses.
#
# **The most common wrong road** is a threshold: |update| < |weight| / 256. The spacing is constant over a whole stretch
# between two powers of two, so that this is wrong by up to a factor of two almost everywhere. The next is to cast the
# *update* first: nearly every update survives that, for a small number is no problem. Its *sum* with a large one is.
#
# Weights as GPT-2 begins with, and updates of the size of the learning rate:

# %% tags=["solution"]
g = torch.Generator().manual_seed(6)
weights = 0.02 * torch.randn(100_000, generator=g)
signs = torch.sign(torch.randn(100_000, generator=g))
print("rate      bf16    fp16")
for rate in (1e-3, 1e-4, 1e-5, 1e-6):
    bf16, fp16 = (lost_updates(w, rate * signs) for w in (weights.bfloat16(), weights.half()))
    print(f"{rate:.0e}  {bf16:6.1%}  {fp16:6.1%}")

# %% [markdown] tags=["solution"]
# A schedule ends with small rates. Without master weights the end of the training does not take place. (For the
# prediction: near 1 all are lost, for half of the spacing is 0.004; near 0.1 and 0.01 none, for there it is 0.0002 and
# less.)

# %% [markdown]
# ## 09.7 stochastic_round: wrong each time, right on average
#
# *fix · difficulty 2/5 · 10 min · further · idea: round up with the probability that makes the mean exact*
#
# Rounding to the nearest loses a small update every time. Stochastic rounding loses it most of the time, and then takes
# a whole step. Someone wrote it, and two things are odd. Many roundings of 0.25 to 0 or 1 have the mean 0.75. And a
# number that the format holds exactly comes out as NaN. **Two things are wrong**: mend them.
#
# `stochastic_round(x, low, high, u)`, all four of the same shape (…), float32:
# - `x`: numbers to be rounded
# - `low`, `high`: the format's neighbours of each, low ≤ x ≤ high. If x is a number of the format, low and high may
#   both be equal to it, or only one of them is
# - `u`: random numbers, even between 0 and 1; 0 may occur, 1 does not
# - result (…) float32: for each element `low` or `high`. The closer x is to `high`, the more probable it is; the mean
#   over all u is x. The small values of u are those that round **up**. A number of the format stays what it is, for
#   every u.
# ```python
# x, low, high = torch.full((4,), 0.25), torch.zeros(4), torch.ones(4)
# stochastic_round(x, low, high, torch.tensor([0.1, 0.3, 0.6, 0.9]))     # tensor([1., 0., 0., 0.])
# five = torch.full((4,), 5.0)
# stochastic_round(five, five, five, torch.tensor([0.1, 0.3, 0.6, 0.9]))  # tensor([5., 5., 5., 5.])
# ```
#
# <details><summary>Hint 1</summary>
#
# x lies a quarter of the way from low to high. In how many of a hundred draws should it go up, so that the mean is x?
#
# </details>
# <details><summary>Hint 2</summary>
#
# With probability p of `high`, the mean is low + p · (high − low); set it equal to x (section 7). And 0 / 0 is NaN,
# which goes through every sum and product; a comparison with it is False. So NaN can be avoided before the division, or
# by choosing between two values instead of computing with it.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: parking costs 0.70 euros an hour, and the machine takes whole euros only. It draws a
# number and asks for a bit too much or a bit too little.
# ```python
# prices = torch.tensor([0.7, 1.4, 2.0, 2.1])
# u = torch.tensor([0.5, 0.5, 0.0, 0.05])
# whole = prices.floor()
# paid = torch.where(u < prices - whole, whole + 1, whole)      # tensor([1., 1., 2., 3.])
# ```
# A whole price has a remainder of 0, and no u is below it.
#
# </details>

# %%
def stochastic_round(x, low, high, u):
    """x, neighbours low and high, u in [0, 1), (…) float32 → (…): low or high, on average x."""
    ### BEGIN SOLUTION
    gap = high - low
    share = (x - low) / torch.where(gap > 0, gap, 1.0)
    up = torch.ceil(share - u)
    return low + up * gap
    ### STUB
    # gap = high - low
    # share = (high - x) / gap
    # up = torch.ceil(share - u)  # 1 where u < share, else 0
    # return low + up * gap
    ### END SOLUTION

# %%
check("09.stochastic_round", stochastic_round)

# %% [markdown] tags=["solution"]
# **Why it works.** The share of the way from `low` to `high` is the probability of `high`: then the mean is
# low + share · gap = x. Where the gap is zero, the share is 0 / 1. `torch.where(u < share, high, low)` is as good, and
# needs no care at all: a comparison with NaN is False.
#
# **The most common wrong road** is an epsilon, `/ (gap + 1e-8)`. Between the smallest numbers of fp16 the gap *is*
# about 6e-8, so that the probability is off by a seventh. The other is `u <= share`: it moves a number of the format
# when u is exactly 0, once in some million draws; such a mistake takes a month to find.
#
# Add 0.001 to 1.0 in bf16, a thousand times:

# %% tags=["solution"]
def neighbours(x):  # positive float32 → the bf16 numbers below and above it, equal if it is one
    bits = x.view(torch.int32)
    low = (bits & -65536).view(torch.float32)
    high = ((bits + 65535) & -65536).view(torch.float32)
    return low, high


g = torch.Generator().manual_seed(7)
nearest, random = torch.ones(500), torch.ones(500)
for _ in range(1000):
    nearest = (nearest + 0.001).bfloat16().float()
    x = random + 0.001
    random = stochastic_round(x, *neighbours(x), torch.rand(500, generator=g))
print(f"500 numbers, exact 2.00; to the nearest {nearest.mean():.2f}; stochastic: mean "
      f"{random.mean():.2f}, standard deviation {random.std():.2f}")  # fmt: skip
assert abs(random.mean() - 2) < 0.02

# %% [markdown]
# ## 09.8 quantize_rows: a scale for each row
#
# *fill · difficulty 3/5 · 12 min · further · idea: eight bits are enough for a row whose scale is known*
#
# A matrix in fp8 carries scales beside it: each row is divided by a number of its own, so that its largest entry just
# fits. The first line is there, the rest is missing.
#
# - `x` (R, C) float32: finite numbers
# - `dtype`: `torch.float8_e4m3fn` or `torch.float8_e5m2`; the first line finds the format's largest number
# - result: the pair (q, scales): q (R, C) of this dtype, scales (R, 1) float32, all positive, so that
#   `q.float() * scales` is nearly `x`. In each row the entry of largest magnitude becomes the format's largest number,
#   with its sign. A row of zeros has the scale 1, and a q of zeros.
#
# Leave `x` as it was. (Arithmetic on fp8 tensors is not implemented on a CPU: compute in float32, and convert with
# `.to(dtype)` at the end.)
# ```python
# q, scales = quantize_rows(torch.tensor([[0.5, -1.0], [0.0, 0.0], [8960.0, 4480.0]]), torch.float8_e4m3fn)
# q.float()                # tensor([[224., -448.], [0., 0.], [448., 224.]])       448 is the largest
# scales                   # tensor([[0.0022], [1.0000], [20.0000]])               1 / 448, 1, 8960 / 448
# ```
#
# <details><summary>Hint 1</summary>
#
# A row is (−1000, 3). Which of its two numbers decides the scale?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Per-row scaling (section 8): one magnitude for each row, the largest, kept as a column (R, 1) so that it is shared out
# along the row. The scale is what q must be *multiplied* by to come back. A row without any magnitude would be divided
# by zero; say beforehand what its scale is.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: photos of different exposure are stored in whole numbers from 0 to 255, each
# stretched to its own brightest pixel; a black photo stays black.
# ```python
# photos = torch.tensor([[0.1, 0.2, 0.05], [0.0, 0.0, 0.0], [3.0, 1.5, 0.0]])      # (photo, pixel)
# brightest = photos.amax(dim=1, keepdim=True)                                     # (3, 1)
# gain = torch.where(brightest > 0, 255 / brightest, 1.0)
# (photos * gain).round().to(torch.uint8)          # tensor([[128, 255, 64], [0, 0, 0], [255, 128, 0]])
# ```
#
# </details>

# %%
def quantize_rows(x, dtype):
    """x (R, C) float32, an fp8 dtype → q (R, C) of it, scales (R, 1) float32, x ≈ q · scales."""
    largest = torch.finfo(dtype).max
    ### BEGIN SOLUTION
    magnitude = x.abs().amax(dim=1, keepdim=True)
    scales = torch.where(magnitude > 0, magnitude / largest, 1.0)
    return (x / scales).to(dtype), scales
    ### END SOLUTION

# %%
check("09.quantize_rows", quantize_rows)

# %% [markdown] tags=["solution"]
# **Why it works.** `amax` of the absolute values finds what has to fit, `keepdim` keeps it beside its row. Division
# puts the largest entry on the format's largest number; all others keep their distance to it. For a row of zeros any
# scale is right as long as it is not zero.
#
# **The most common wrong road** is `x.amax` without `abs`: a row whose extreme is negative is scaled by another number,
# and its extreme is cut off, or becomes infinite. The second is one scale for the whole matrix. How bad is that? One
# row is an outlier:

# %% tags=["solution"]
g = torch.Generator().manual_seed(8)
print("           error of the other rows: e4m3 per row, per tensor; int8 per tensor")
for factor in (1, 100, 10_000, 1_000_000):
    x = torch.randn(32, 256, generator=g)
    x[0] *= factor
    q, scales = quantize_rows(x, torch.float8_e4m3fn)
    rows = q.float() * scales
    q, scales = quantize_rows(x.view(1, -1), torch.float8_e4m3fn)  # the whole matrix as one row
    tensor = (q.float() * scales).view_as(x)
    step = x.abs().max() / 127
    results = rows, tensor, (x / step).round() * step
    errors = [(y - x)[1:].norm() / x[1:].norm() for y in results]
    print(f"× {factor:9,}" + "".join(f"{error:10.1%}" for error in errors))

# %% [markdown] tags=["solution"]
# A floating-point format forgives a large outlier, because its steps shrink with the numbers; it gives way where the
# other rows fall below its smallest normal number. Whole numbers of 8 bits, whose steps are all equal, are the
# better choice without an outlier, and have lost most of what there was at one of a hundred. A scale for each row helps
# both.

# %% [markdown]
# ## 09.9 accurate_product: float32 from bf16
#
# *write · difficulty 4/5 · 20 min · further · unaided · idea: what rounding cuts off is a number too, and can be kept*
#
# **Assistant off: no AI, no hints at first, only the lesson and your own experiments.** This is the test of whether
# rounding is now yours.
#
# A chip has a very fast matrix unit for bf16 and none for float32. It computes `multiply(a, b)`, which you find at the
# top of this page: *both operands are rounded to bf16* (to nearest), their product is added up in float32, and comes
# back in float32. Sums and differences of float32 tensors, and conversions, cost next to nothing. Get nearly the
# accuracy of float32 out of this chip.
#
# Write `accurate_product(a, b, multiply)`:
# - `a` (N, K) float32, `b` (K, M) float32
# - `multiply`: the function above; your only way to multiply matrices, and you may call it **at most three times**
# - result (N, M) float32: `a @ b`, with all that three calls can get of it. It is hundreds of times as accurate as
#   one call: what is missing is the product of two numbers that are both tiny. Leave `a` and `b` as they were.
#
# With the 8 binary digits of bf16 (7 are stored) 257 becomes 256, and 259 becomes 260:
# ```python
# a, b = torch.tensor([[257.0]]), torch.tensor([[259.0]])
# multiply(a, b)                            # tensor([[66560.]])      256 · 260
# accurate_product(a, b, multiply)          # tensor([[66564.]])      257 · 259 = 66563 would need a fourth
# ```
#
# <details><summary>Hint 1</summary>
#
# 257 becomes 256 in bf16. Which number was lost, and would bf16 be able to hold *that* one?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A float32 number is a bf16 number plus a remainder, which is small (at most half a spacing, 09.1) and has a leading 1
# of its own, so that bf16 holds its first 8 digits (sections 1 and 2). Master weights keep such a remainder; here you
# compute with it. A product of two sums is four products. They are of very different sizes.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: the area of a yard of 12.3 m by 8.2 m, in your head. Cut both sides into whole
# metres and the rest, and add the large rectangles.
# ```python
# def area(length, width):
#     long, wide = math.floor(length), math.floor(width)
#     more_long, more_wide = length - long, width - wide
#     return long * wide + long * more_wide + more_long * wide       # the smallest of four rectangles is left out
#
# area(12.3, 8.2), 12.3 * 8.2                        # (100.8, 100.86): 0.3 · 0.2 is missing
# ```
#
# </details>

# %%
def accurate_product(a, b, multiply):
    """a (N, K), b (K, M) float32, a product of bf16 → (N, M) float32, in at most three products."""
    ### BEGIN SOLUTION
    a_rest = a - a.bfloat16().float()
    b_rest = b - b.bfloat16().float()
    return multiply(a, b) + (multiply(a, b_rest) + multiply(a_rest, b))
    ### END SOLUTION

# %%
check("09.accurate_product", accurate_product)  # 09.9

# %% [markdown] tags=["solution"]
# **Why it works.** a = A + α and b = B + β, where A and B are what bf16 keeps. Then a · b = AB + Aβ + αB + αβ. The
# rests are at most 2^−8 of their numbers, so that the last product is at most 2^−16 of the first, and the two in the
# middle are what one call was missing. (`multiply` rounds `a` by itself: `multiply(a, b_rest)` is Aβ.)
#
# **The most common wrong road** is to compute the rest in bf16, `a.bfloat16() - a`, with `a` converted too early: then
# it is zero. The next is to use only one of the two middle products; the error is then about as large as before.

# %% tags=["solution"]
g = torch.Generator().manual_seed(9)
a, b = torch.randn(64, 300, generator=g), torch.randn(300, 48, generator=g)
exact = a.double() @ b.double()
for name, product in (("one bf16 product", multiply(a, b)),
                      ("three", accurate_product(a, b, multiply)),
                      ("float32", a @ b)):  # fmt: skip
    print(f"{name:16}: relative error {(product - exact).norm() / exact.norm():.1e}")

# %% [markdown] tags=["solution"]
# **Beyond.** With three parts for each number and six products the error is that of float32; chips whose bf16 unit is
# more than six times as fast gain by it (Henry et al. 2019, arXiv 1904.06376). The same thought, a second number for
# what rounding has cut off, is Kahan's summation, and is used to train with bf16 weights and a bf16 remainder in place
# of float32 master weights. You could build that from 09.6.
