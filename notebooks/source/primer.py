# %% [raw]
# title = "Tensors and gradients"
# question = "What are a tensor, a loss and a gradient, with numbers small enough to check by hand?"
# able = [
#   "predict the shape of a sum, of a broadcast and of a matrix product, and find the shape mistake that does not complain",
#   "turn scores into probabilities and into a loss without overflow, and say why the gradient of that loss is p − y",
#   "walk the chain rule backwards through a graph by hand, and check it by measuring",
#   "build automatic differentiation in sixty lines, train a network with it, and read an error of PyTorch",
# ]
# needs = ["python", "function", "list", "class", "derivative", "logarithm", "exponential", "probability", "mean"]
# reading = 45
# exercises = 75
# route = "further"
# paper = "Baydin et al. 2018, Automatic Differentiation in Machine Learning: a Survey, arXiv 1502.05767"
#
# [teaches]
# axis = "One direction of a tensor, counted from 0; PyTorch calls it dim. Axis -1 is the last one."
# view = "A tensor that shares its numbers with another one: change the one, and the other has changed too."
# "central difference" = "A measured slope: the function a little to the right, minus the function a little to the left, divided by the distance between the two."
# "log-sum-exp" = "The logarithm of the sum of the exponentials of some scores: a soft version of their maximum. Softmax is its gradient."
# likelihood = "The probability that a model gives to the data that really came. Its logarithm is a sum, which does not underflow."
# "one-hot" = "A vector of zeros with a single 1, at the place of the class that is meant."
# ReLU = "The function max(0, x): passes what is positive and stops the rest."
# "computation graph" = "All numbers of a calculation, each with arrows from the numbers it was made of."
# "topological order" = "An order of a graph's nodes in which each one comes after (or, read backwards, before) everything it was made of."
# "backward pass" = "One walk through the computation graph from the result to its inputs, which gives the derivative of the result with respect to every number on the way."
# autograd = "A program that records the computation graph while it computes, and then does the backward pass."

# %% [markdown] tags=["instructor"]
# **Aim.** Nobody in the course is stopped by a shape, a logarithm or a derivative. The page is for those whom `ready` sent here: each may read only the sections named
# there, for sections 1 to 6 stand alone. **Timing** (85 min): sections 1–3 20 min, exercises 1 and 2 10 min, sections 4 and 5 20 min, exercise 3 10 min, sections 6–8 15 min,
# section 9 5 min, discussion 5 min.
#
# **Two misconceptions.** *"If the shapes were wrong, PyTorch would say so."* Ask: what is the shape of a difference of (20, 1) and (20,), and which loss do you get for
# a perfect prediction? *"Autograd finds a formula for the derivative."* Ask: in `Value`, where would that formula stand? What is stored for each number, and what is it
# multiplied with?
#
# **Discuss.** A backward pass costs about as much as two forward passes, however many parameters there are. What would it cost to measure the gradient of a model of a billion
# parameters by changing one at a time? · A loss that is computed wrong still falls. Which habits would have found the mistake of section 2?

# %% tags=["setup"]
import math
import posixpath
import random
import time
import traceback

import torch
import torch.nn.functional as F
from matplotlib.patches import Rectangle

from minigpt.classroom import reveal, show
from minigpt.classroom.viz import BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION
from minigpt.classroom.viz import figure, heatmap, label_end

started = time.perf_counter()
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")

# %% [markdown]
# You may skip this page. It is for readers who can program, who have met a derivative and a logarithm at school, and to whom one of these has grown strange. If
# `python3 course.py ready` sent you to one section, read that one and leave. Sections 1 to 6 stand nearly alone: run the cells above yours, you need not read
# them. Sections 7 and 8 put them together.
#
# *Three questions from school. Say the answer aloud, then open it.*
#
# <details><summary>What is the slope of x² at x = 3?</summary>6. The derivative of x² is 2x: near 3, when x grows by a little, x² grows by six times that.</details>
# <details><summary>What is the logarithm of a product?</summary>The sum of the logarithms. log₂ 8 asks which power of 2 makes 8. It is 3, for 2³ = 8. So
# log₂(8 · 4) = 3 + 2. The logarithm of a quotient is the difference: log₂(8 / 4) = 3 − 2.</details>
# <details><summary>A die shows a six with probability 1/6. With which probability do two throws show two sixes?</summary>1/6 · 1/6 = 1/36. Probabilities of
# independent things multiply.</details>

# %% [markdown]
# > **Try first: primer.1 `result_shape`** (5 min), before you read on. The exercises are in `exercises/primer_tensors_and_gradients.ipynb`; `python3 course.py start primer` makes a
# > copy for you in `my/`.
#
# ## 1. Python: what a slice takes, and two names for one thing
#
# Two facts about Python to be sure of. The first: counting starts at 0, and a slice `[a:b]` takes position a and leaves out
# position b. So it has b − a items. A negative position counts from the end.

# %%
word = "gradient"
print(word[0:4], word[4:], word[-3:], len(word[2:5]))

# %% [markdown]
# The second: an assignment copies nothing. It gives the same thing a second name.

# %%
a = [3, 1, 4]
b = a  # no copy: two names, one list
b.append(1)
print("a is now", a)

# %% [markdown]
# A **tensor** is a block of numbers of one kind, arranged along some axes. PyTorch, the library that this course is written with (`import torch`), computes with
# them. Everything in this course is one: a text, a batch of texts, the parameters of a model (the numbers in it that training sets). Tensors have the second fact in a sharper form. A slice of a *list* is a new list. A slice of a *tensor* is a **view**: it has a shape of its own, but the
# numbers are those of the original.

# %%
x = torch.arange(6.0)
part, copy = x[:2], x[:2].clone()  # a view; a copy
part[0] = 100  # changes x as well
print("x:   ", x)
print("copy:", copy)

# %% [markdown]
# A function that writes into its argument (`x += 1`, `x[0] = 0`) therefore changes what belongs to its caller. The checker of this course tells you when yours does.
# `x = x + 1` is harmless: it makes a new tensor and gives it the name x inside the function.
#
# ## 2. Shapes, axes and broadcasting
#
# Here is the rain of four days in three towns, in millimetres. The tensor has the **shape** (3, 4): three rows, four columns. Each direction is an **axis**. Axis 0 goes
# from town to town (down), axis 1 from day to day (right). PyTorch's word for axis is `dim`, and `dim=-1` is the last one.

# %%
rain = torch.tensor([[2.0, 0, 5, 1], [4, 4, 0, 8], [1, 3, 2, 0]])  # (towns, days) = (3, 4)
print("shape", tuple(rain.shape), " rain of town 1 on day 3:", rain[1, 3].item())
print("each town's total, sum(dim=1):", rain.sum(dim=1))
print("each day's total,  sum(dim=0):", rain.sum(dim=0))

# %% [markdown]
# The axis that you name is the one that *disappears*. `sum(dim=1)` adds up along the days, so what is left has one number for each town. Do not think "dim=1 means
# columns". Think: which axis do I want to be rid of?
#
# With `keepdim=True` the axis stays, with size 1. Look at the difference:

# %%
towns, days = rain.sum(dim=1, keepdim=True), rain.sum(dim=0, keepdim=True)
fig, axes = figure(width=8, height=2.6, columns=3, width_ratios=[4, 1.5, 4])
for ax, values, name in zip(axes, (rain, towns, days), ("rain", "sum(dim=1)", "sum(dim=0)")):
    heatmap(values, numbers=True, ax=ax, title=f"{name}\n{tuple(values.shape)}", vmin=0, vmax=16)
    ax.set(xticks=[], yticks=[], aspect="equal")
axes[0].set(xlabel="days", ylabel="towns")
show(fig, alt="Three tables: rain with 3 rows and 4 columns; the sums over days as a column of 3; "
              "the sums over towns as a row of 4.")  # fmt: skip

# %% [markdown]
# Why keep an axis of size 1? Because the next thing that you do with a sum is usually to divide by it, and for that the two shapes must fit. They fit by a rule called
# **broadcasting**:
#
# 1. Write the two shapes one under the other, **lined up at their right ends**. Where one is shorter, fill up with 1 on the left.
# 2. Now each pair of sizes must be equal, or one of them must be 1. If not, it is an error.
# 3. A size of 1 is stretched to the other size: its numbers are used again and again.
#
# **Predict.** `a` has the shape (5, 1) and `b` the shape (3,). Which shape has `a + b`? Write a list such as [2, 7] in place of `None`, then run the cell. (None is
# allowed. A guess that turns out wrong teaches you more than no guess.)

# %%
guess = None
reveal("primer.p1", guess)

# %%
a = torch.tensor([[0.0], [10], [20], [30], [40]])  # (5, 1)
b = torch.tensor([1.0, 2, 3])  # (3,), taken as (1, 3)
fig, axes = figure(width=8, height=2.6, columns=3, width_ratios=[1, 3, 3])
for ax, values, name in zip(axes, (a, b[None], a + b), ("a", "b", "a + b")):
    heatmap(values, numbers=True, ax=ax, title=f"{name}\n{tuple(values.shape)}", vmin=0, vmax=43)
    ax.set(xticks=[], yticks=[], aspect="equal")
show(fig, alt="A column of 5 numbers, a row of 3 numbers, and their sum: a table of 5 rows and 3 "
              "columns in which each entry adds one of the column and one of the row.")  # fmt: skip
stretched = a.expand(5, 3) + b[None].expand(5, 3)  # the same, written out
torch.testing.assert_close(a + b, stretched)

# %% [markdown]
# Each number of `a` meets each number of `b`. (`b[None]` puts an axis of size 1 in front. `assert_close` complains unless two tensors are equal but for rounding.)
#
# Now divide each town's rain by the town's total. The totals are (3,) without `keepdim`, and (3, 1) with it. Under (3, 4), the first does not fit: 3 stands below 4, an error.
# The second does: 1 stands below 4 and is stretched. An error is the lucky case. **What breaks if** the table is square?

# %%
square = rain[:, :3]  # three towns, three days
right = square / square.sum(dim=1, keepdim=True)
wrong = square / square.sum(dim=1)  # (3, 3) / (3,): no error
print("rows add up to, with keepdim:   ", right.sum(dim=1))
print("rows add up to, without keepdim:", wrong.sum(dim=1))

# %% [markdown]
# Nothing complained. The three totals were lined up with the *columns*, so the rain of day 0 was divided by the total of town 0. That is why this course uses a different size for every
# axis wherever it can.
#
# > **Your turn: primer.2 `center_rows`** (5 min): two mistakes of this family, planted.
#
# The most expensive mistake of this kind has a (T,) and a (T, 1). Say a model predicts 20 numbers. Its predictions come out of a matrix product and have the shape (20, 1). The
# right answers were read from a file and have the shape (20,). The loss (a number that says how wrong a model is; training makes it small) is the mean of the squared differences. Let the prediction be *perfect*:

# %%
answers = torch.linspace(-3, 3, 20)  # (20,)
prediction = answers[:, None].clone()  # (20, 1), every number right
difference = prediction - answers
print("shape of the difference:", tuple(difference.shape))
print(f"loss of a perfect prediction: {(difference**2).mean():.3f}")
print(f"with both of one shape:       {((prediction[:, 0] - answers) ** 2).mean():.3f}")

# %% [markdown]
# Each prediction was compared with all 20 answers. A model that trains on this loss learns something, only not what you wanted. Watch: the inputs are x, the answers are 2x, and
# the model says w · x, with one number to learn, the slope w. Here is the loss for each w, computed in both ways.

# %%
x = torch.linspace(-1.5, 1.5, 20)
answers = 2 * x
slopes = torch.linspace(-1, 3, 81)
good = torch.stack([((w * x - answers) ** 2).mean() for w in slopes])
bad = torch.stack([((w * x[:, None] - answers) ** 2).mean() for w in slopes])
fig, ax = figure(width=7, height=3.2)
for name, curve, color in (("(20,) − (20,)", good, BLUE), ("(20, 1) − (20,)", bad, VERMILLION)):
    ax.plot(slopes, curve, color=color)
    ax.plot(slopes[curve.argmin()], curve.min(), "o", color=color)
    label_end(ax, slopes, curve, name, color)
ax.set(xlabel="slope w of the model", ylabel="loss", ylim=(0, None))
show(fig, alt="Two parabolas: the right loss is lowest, at zero, for slope 2; the broadcast loss "
              "is lowest for slope 0, far above zero.")  # fmt: skip
print(f"lowest loss: right at w = {slopes[good.argmin()]:.2f}, "
      f"broadcast by mistake at w = {slopes[bad.argmin()].abs():.2f}")

# %% [markdown]
# The wrong loss is lowest where the model ignores its input. It falls during training, it looks well-behaved, and it teaches the model to say the mean of the answers, here 0. One line
# prevents it: `assert prediction.shape == answers.shape`.

# %% [markdown] tags=["slide"]
# ### Broadcasting
#
# - line the shapes up at their right ends, fill up with 1
# - equal, or one of them 1: otherwise an error
# - (T, 1) − (T,) is (T, T), and nothing complains

# %% [markdown]
# ## 3. Matrix products as shapes
#
# A matrix is a tensor with two axes. A product `x @ w` of a matrix (T, C) and a matrix (C, D) has the shape (T, D). The two inner sizes must be equal, and they vanish. What remains is what stood outside. That is the whole
# grammar, and it is enough to read most of the code in this course.
#
# What is inside? Entry (t, d) is row t of the first times column d of the second: multiply them number by number and add up.

# %%
def product(x, w):
    """(T, C), (C, D) → (T, D), as you would do it on paper"""
    result = torch.zeros(x.shape[0], w.shape[1])
    for t in range(x.shape[0]):
        for d in range(w.shape[1]):
            result[t, d] = sum(x[t, c] * w[c, d] for c in range(x.shape[1]))
    return result


T, C, D = 5, 3, 4
g = torch.Generator().manual_seed(0)
x, w = torch.randn(T, C, generator=g), torch.randn(C, D, generator=g)
torch.testing.assert_close(product(x, w), x @ w)
print("the loops and @ agree:", tuple(x.shape), "@", tuple(w.shape), "→", tuple((x @ w).shape))

# %%
fig, ax = figure(width=7.5, height=2.9)
tables = {"x": (0, C, T, "T = 5", "C = 3"), "w": (5, D, C, "C = 3", "D = 4"),
          "x @ w": (12, D, T, "T = 5", "D = 4")}  # fmt: skip
for name, (left, columns, rows, down, across) in tables.items():
    for r in range(rows):
        for c in range(columns):
            used = {"x": r == 1, "w": c == 2, "x @ w": (r, c) == (1, 2)}[name]
            color = SKY if used else "white"
            ax.add_patch(Rectangle((left + c, -r), 0.9, -0.9, ec=GREY, fc=color))
    ax.text(left + columns / 2, 0.9, f"{name}\n{across}", ha="center")
    ax.text(left - 0.2, -rows / 2, down, ha="right", va="center", rotation=90)
ax.set(xlim=(-1.2, 16.5), ylim=(-5, 2.2), aspect="equal")
ax.axis("off")
show(fig, alt="Three grids: row 1 of x, 5 by 3, and column 2 of w, 3 by 4, are coloured; they make "
              "the one coloured entry in row 1, column 2 of x @ w, 5 by 4.")  # fmt: skip

# %% [markdown]
# There is a second way to read the same product, and the course uses it as often: **row t of the result is a mixture of the rows of w**, and row t of x says how much of each (the amount may be negative).

# %%
mixture = x[1, 0] * w[0] + x[1, 1] * w[1] + x[1, 2] * w[2]
torch.testing.assert_close(mixture, (x @ w)[1])
print("row 1 of x @ w mixes the rows of w:", [round(v, 2) for v in mixture.tolist()])

# %% [markdown]
# The cost: there are T · D entries, and each takes C multiplications, so T · C · D in all. More axes in front are a stack of matrices, and each of them is multiplied:
# (B, T, C) @ (C, D) is (B, T, D). And one thing to stumble over: `torch.nn.Linear(C, D)`, PyTorch's matrix product with an offset (its `bias`), stores its matrix the other way round, as (D, C), and computes `x @ weight.T + bias`, where `.T`
# swaps rows and columns.

# %%
batch, layer = torch.randn(2, T, C, generator=g), torch.nn.Linear(C, D)
torch.testing.assert_close(layer(batch), batch @ layer.weight.T + layer.bias)
print("Linear(3, 4) stores", tuple(layer.weight.shape), "and makes", tuple(layer(batch).shape))
print(f"1,024 rows through a matrix 768 × 3,072: {1024 * 768 * 3072:,} multiplications")

# %% [markdown] tags=["slide"]
# ### (T, C) @ (C, D) → (T, D)
#
# - inner sizes meet and vanish
# - entry: row times column
# - row: a mixture of the rows of the second

# %% [markdown]
# ## 4. Derivatives and the chain rule
#
# A derivative answers one question: *if this number grows by a little, by how many times that does the result grow?* You can always measure it. Go a little to the right, a little to
# the left, and divide the change of the result by the distance. That is a **central difference**. (e is a number, about 2.7, chosen so that eˣ is its own slope. The logarithm to the base e is ln, the
# *natural* logarithm. Python's `math.log` is ln, and `log` without a base means ln on this page as well.)

# %%
def slope(f, x, h=1e-4):
    return (f(x + h) - f(x - h)) / (2 * h)


print(f"x² at 3: {slope(lambda x: x**2, 3.0):.3f}    by the rule, 2x:  {2 * 3.0:.3f}")
print(f"eˣ at 1: {slope(math.exp, 1.0):.3f}    by the rule, eˣ:  {math.exp(1.0):.3f}")
print(f"ln at 4: {slope(math.log, 4.0):.3f}    by the rule, 1/x: {1 / 4.0:.3f}")

# %% [markdown]
# A calculation is a chain of small steps: numbers, each made of ones before it. Here is a chain of five. A weight w = 3 meets an input x = 2; an offset b is added; the
# right answer y is subtracted; the square is the loss:
#
# w → u = w · x → z = u + b → d = z − y → L = d²
#
# Draw each number as a box, with arrows from what it was made of. This is a **computation graph**.

# %%
SPOTS = {"w": (0, 1), "u": (1, 1), "z": (2, 1), "d": (3, 1), "L": (4, 1),
         "x": (0, 0), "b": (1, 0), "y": (2, 0)}  # fmt: skip
ARROWS = {"wu": "· x", "xu": "", "uz": "+ b", "bz": "", "zd": "− y", "yd": "", "dL": "square"}


def draw(ax, texts, labels, color=BLUE, backwards=False):
    """Boxes with texts; each arrow has a label, and points to the result or away from it."""
    for name, text in texts.items():
        box = dict(boxstyle="round", fc="white", ec=color if SPOTS[name][1] else GREY)
        ax.text(*SPOTS[name], text, ha="center", va="center", bbox=box)
    for a, b in (arrow for arrow in ARROWS if arrow[0] in texts):
        tail, tip = (SPOTS[b], SPOTS[a]) if backwards else (SPOTS[a], SPOTS[b])
        style = dict(arrowstyle="->", color=color, shrinkA=27, shrinkB=27)
        ax.annotate("", tip, tail, arrowprops=style)
        middle = (tail[0] + tip[0]) / 2, (tail[1] + tip[1]) / 2 + 0.16
        ax.text(*middle, labels.get(a + b, ""), ha="center", color=color)
    ax.set(xlim=(-0.4, 4.4), ylim=(-0.4 if "x" in texts else 0.5, 1.5))
    ax.axis("off")


# %%
w, x, b, y = 3.0, 2.0, -4.0, 5.0
u = w * x
z = u + b
d = z - y
L = d**2
values = dict(w=w, u=u, z=z, d=d, L=L, x=x, b=b, y=y)
fig, ax = figure(width=8, height=2.6)
draw(ax, {name: f"{name} = {value:g}" for name, value in values.items()}, ARROWS)
show(fig, alt="Five boxes in a row: w = 3, u = 6, z = 2, d = -3, L = 9, joined by arrows; x = 2, "
              "b = -4 and y = 5 come in from below.")  # fmt: skip

# %% [markdown]
# **Predict.** If w grows by a little, by how many times that does L grow? It is the derivative dL/dw. Use the **chain rule**: in a chain, the slopes of the links multiply. (Three
# times as fast, and then twice as fast as that, is six times as fast.)

# %%
guess = None
reveal("primer.p2", guess)

# %% [markdown]
# Each link has a slope of its own, its *local* slope, and each is easy: d² has the slope 2d, adding or subtracting a constant has the slope 1, and w · x, seen from w, has the slope x. Now walk
# **backwards**, from L to w, and multiply as you go. At each box, write down the derivative of L with respect to it.

# %%
dL_dd = 2 * d  # the square
dL_dz = dL_dd * 1  # d = z − y
dL_du = dL_dz * 1  # z = u + b
dL_dw = dL_du * x  # u = w · x
grads = dict(w=dL_dw, u=dL_du, z=dL_dz, d=dL_dd, L=1)
links = {"dL": f"× 2d = {2 * d:g}", "zd": "× 1", "uz": "× 1", "wu": f"× x = {x:g}"}
fig, ax = figure(width=8, height=1.7)
texts = {name: f"dL/d{name}\n= {value:g}" for name, value in grads.items()}
draw(ax, texts, links, VERMILLION, backwards=True)
show(fig, alt="The same five boxes, arrows from right to left: dL/dL = 1, times -6 gives dL/dd = "
              "-6, times 1 twice, times 2 gives dL/dw = -12.")  # fmt: skip
measured = slope(lambda w: (w * x + b - y) ** 2, w)
assert abs(measured - dL_dw) < 1e-3
print(f"by the chain rule {dL_dw:g}, measured {measured:.3f}")

# %% [markdown]
# One walk gave the derivative with respect to *every* number on the way. With respect to b it is −6 as well, and with respect to x it is −6 · w = −18, with no new
# work. Measuring would have taken a new experiment for each.
#
# One more rule, and you know all of it. If a number is used **more than once**, it reaches the result on several roads, and the contributions **add up**. Take L = a · a + a. Through the product, a has
# the slope a on the one side and a on the other; through the sum, 1. Together that is 2a + 1.

# %%
a = 5.0
print(f"three roads: {a:g} + {a:g} + 1 = {a + a + 1:g}, "
      f"measured {slope(lambda a: a * a + a, 5.0):.3f}")

# %% [markdown]
# With many inputs, the **gradient** is the list of the derivatives with respect to each. It has the shape of the inputs. It points to where the result grows fastest, so training steps
# the other way.

# %% [markdown] tags=["slide"]
# ### The chain rule, backwards
#
# - along a road, local slopes multiply
# - where roads meet, contributions add
# - one walk gives all derivatives

# %% [markdown]
# ## 5. Logarithms and probability
#
# ### From scores to probabilities
#
# A language model gives each possible next word a score, any number. To make probabilities of them, take e to the power of each score, which is positive, and divide by the sum. That is
# the **softmax**. With exp(s) for eˢ, and Σ for the sum over all words:
#
# pᵢ = exp(sᵢ) / Σ exp(sⱼ)

# %%
def naive_softmax(scores):  # (…, V) → (…, V)
    powers = torch.exp(scores)
    return powers / powers.sum(dim=-1, keepdim=True)


scores = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]])  # two predictions, three words each
p = naive_softmax(scores)
torch.testing.assert_close(p, torch.softmax(scores, dim=-1))
print(p, " rows add up to", p.sum(dim=-1))

# %% [markdown]
# **Predict.** Two words, both with the score 1000. What is the softmax of the first? (What *should* it be?)

# %%
guess = None
reveal("primer.p3", guess)

# %%
large = torch.tensor([1000.0, 1000.0])
print("naive:", naive_softmax(large), " PyTorch:", torch.softmax(large, dim=-1))
largest = math.log(torch.finfo(torch.float32).max)
print(f"e to the power of more than {largest:.1f} is infinite in float32")

# %% [markdown]
# A number too large for its kind becomes infinite. That is an **overflow**. (float32, 32 bits for each number, is what PyTorch takes unless you say otherwise.) Infinity divided by infinity is not a number: `nan`. It is the first thing that many people see of their own model. The mend is a property of softmax: **only differences of scores
# matter**. Add the same c to all scores, and each power is multiplied by exp(c), above and below the line; it cancels. So subtract the largest score first. The largest power is then e⁰ = 1, and nothing
# can overflow.

# %%
def softmax(scores):  # (…, V) → (…, V)
    return naive_softmax(scores - scores.max(dim=-1, keepdim=True).values)


print("shifted:", softmax(large), softmax(torch.tensor([-1000.0, -1001, -1002])))
torch.testing.assert_close(softmax(scores + 77), p)
torch.testing.assert_close(softmax(1000 * scores), torch.softmax(1000 * scores, dim=-1))

# %% [markdown]
# The same trick serves the sum below the line. Its logarithm is called the **log-sum-exp** of the scores. With m the largest score,
#
# log Σ exp(sᵢ) = m + log Σ exp(sᵢ − m)
#
# For each power is exp(m) · exp(sᵢ − m), so exp(m) can be taken out of the sum, and the logarithm of a product is a sum. It is a soft maximum: never below the largest score, and at most log V above it for V scores.

# %%
def log_sum_exp(scores):  # (…, V) → (…)
    m = scores.max(dim=-1, keepdim=True).values
    return (m + torch.exp(scores - m).sum(dim=-1, keepdim=True).log()).squeeze(-1)


torch.testing.assert_close(log_sum_exp(scores), torch.logsumexp(scores, dim=-1))
for row in (scores[0], large, torch.tensor([1000.0, 0, 0])):
    print(f"scores {row.tolist()}: largest {row.max():g}, log-sum-exp {log_sum_exp(row):.3f}")

# %% [markdown]
# > **Your turn: primer.3 `log_softmax`** (10 min): the logarithm of a softmax, with no overflow on the way there or back.
#
# ### From probabilities to a loss
#
# How good is a model of text? Let it give a probability to what really came. That probability is the **likelihood** of the text. For several words, the probabilities multiply. Here is a language of three
# words, ten words of text, and a model that gives "the" one half and the others a quarter each:

# %%
text = "the cat the sat the the cat sat the cat".split()
model = {"the": 0.5, "cat": 0.25, "sat": 0.25}
likelihood = math.prod(model[word] for word in text)
bits = sum(-math.log2(model[word]) for word in text)
print(f"likelihood of {len(text)} words: {likelihood:.2e}; minus log2 of it: {bits:g} bits")
print(f"likelihood of 1000 words of 1/8 each: {(1 / 8) ** 1000}; in bits: {1000 * 3}")

# %% [markdown]
# The likelihood of a long text underflows: it is smaller than any number the machine can hold above zero. So everyone takes the logarithm, where products are sums. The logarithm of a probability is never above 0; turn the sign round, and it is a cost. Divided by the number of words it is
# the **cross-entropy**, the loss of every language model: *the mean of minus the log of the probability that the model gave to what really came*. In the logarithm to base 2 it is counted in **bits**, in the natural one in
# **nats**; one bit is ln 2 ≈ 0.69 nats.
#
# **Predict.** A model gives the word that comes the probability 1/8. What is its loss on that word, in bits?

# %%
guess = None
reveal("primer.p4", guess)

# %% [markdown]
# The loss is a surprise: 1 bit for a coin, 0 for what was certain, infinitely much for what was called impossible. Which model is the best one for a text? In ours, five words of ten are "the". Let the model
# give "the" the probability q and share out the rest as in the text, and try every q:

# %%
shares = {word: text.count(word) / len(text) for word in model}
q = torch.linspace(0.02, 0.98, 97)
rest = (shares["cat"], shares["sat"])
loss = -shares["the"] * q.log2()
for share in rest:
    loss = loss - share * ((1 - q) * share / sum(rest)).log2()
fig, ax = figure(width=6.5, height=3)
ax.plot(q, loss, color=BLUE)
ax.axhline(loss.min(), color=GREY, linestyle=":")
ax.annotate(f"lowest: {loss.min():.2f} bits at q = {q[loss.argmin()]:.2f}", (0.5, loss.min()),
            (0, -14), textcoords="offset points", ha="center", color=GREY)
ax.set(xlabel='q, the probability given to "the"', ylabel="cross-entropy, bits a word")
ax.set_ylim(0, 4)
show(fig, alt="A bowl: the cross-entropy is lowest, near 1.5 bits, where q equals the true share "
              "of one half, and rises steeply towards both ends.")  # fmt: skip
assert abs(q[loss.argmin()] - shares["the"]) < 0.02

# %% [markdown]
# The loss is lowest where the model says what is true, and it is not zero there: the text itself is uncertain. That floor has a name, the entropy of the text. And look at the ends: to be sure and wrong costs
# more than to be unsure.
#
# > **Your turn: primer.4 `cross_entropy`** (10 min): the loss of N predictions at once, straight from the scores.
#
# ### Why the gradient is p − y
#
# The loss of one prediction is the log-sum-exp of the scores, minus the score of the word that came. (Minus the log of a softmax is just that, for the log of a quotient is a difference.) So what is its derivative with respect to score i? Go through the log-sum-exp backwards.
# The logarithm has the slope 1 / Σ exp(sⱼ), the sum has the slope 1 towards each of its terms, and exp(sᵢ) has the slope exp(sᵢ). They multiply to exp(sᵢ) / Σ exp(sⱼ): that is pᵢ, the softmax itself. The second part contributes −1 for the word that came and 0 for the others. Write y for the vector (a row of V numbers) that has a 1 there and zeros elsewhere, the **one-hot** vector.
# The gradient is **p − y**.

# %%
def loss_of(scores, came):
    return log_sum_exp(scores) - scores[came]


s, came = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64), 1
p, y = softmax(s), torch.zeros(3, dtype=torch.float64)
y[came] = 1
steps = torch.eye(3, dtype=torch.float64)  # row i changes score i alone
measured = torch.stack([slope(lambda h: loss_of(s + h * step, came), 0.0) for step in steps])
torch.testing.assert_close(p - y, measured, atol=1e-6, rtol=0)
print("p − y:   ", [round(v, 3) for v in (p - y).tolist()])
print("measured:", [round(v, 3) for v in measured.tolist()])

# %%
fig, ax = figure(width=6.5, height=3)
ax.bar(range(3), p, width=0.5, color=SKY)
for i in range(3):
    ax.plot([i - 0.35, i + 0.35], [y[i]] * 2, color=GREEN, linewidth=3)
    style = dict(arrowstyle="-|>", color=VERMILLION, lw=2)
    ax.annotate("", (i + 0.3, y[i]), (i + 0.3, p[i]), arrowprops=style)
    ax.text(i + 0.38, (p[i] + y[i]) / 2, f"{y[i] - p[i]:+.2f}", color=VERMILLION, va="center")
ax.set_xticks(range(3), ["the", "cat (came)", "sat"])
ax.set(ylabel="probability", ylim=(-0.05, 1.1), xlim=(-0.6, 2.9))
ax.set_title("bars: p    lines: y    arrows: y − p, the way training pushes")
show(fig, alt="Bars of p: 0.67, 0.24, 0.09. Arrows push the bar of the word that came up by 0.76 "
              "and the other two down to zero.")  # fmt: skip

# %% [markdown]
# Training steps against the gradient, so it pushes each *score* in proportion to y − p: up for what came, down for all else, and the less, the less the model was wrong. (The arrows show how strong the push is. The
# bars move because the scores do.) A model that is right and sure is left alone.

# %% [markdown] tags=["slide"]
# ### The loss, and its gradient
#
# loss = log-sum-exp of the scores − the score of what came
#
# gradient = p − y

# %% [markdown]
# ## 6. Bytes and the command line
#
# A tensor takes as many bytes as it has numbers, times the bytes of one number. One byte is 8 bits, so a number of 32 bits takes 4 bytes.

# %%
for dtype in (torch.float32, torch.bfloat16, torch.int64):
    x = torch.zeros(3, 5, dtype=dtype)
    size = x.element_size()  # bytes of one number
    print(f"{str(dtype):<15} {size} bytes a number, {x.numel() * size:>3} for shape (3, 5), "
          f"{124e6 * size / 1e6:,.0f} MB for 124 million numbers")

# %% [markdown]
# The command line is where you type commands to the system. You are always *in* some folder, and a path that does not begin with `/` starts there. `..` is the folder above, `.` the folder you are in. So in
# `/home/ada/books`, `cd ../plays` brings you to:

# %%
print(posixpath.normpath("/home/ada/books/../plays"))

# %% [markdown]
# All commands of this course are typed in its own folder, the one that holds `course.py`: `python3 course.py lab` opens the lessons. If the answer is "No such file", you are in another
# folder: `pwd` says in which one (`cd` alone does on Windows).
#
# ## 7. Autograd in sixty lines
#
# In section 4 you walked backwards by hand. The walk was mechanical: each box needed to know what it was made of, and the local slope towards each of these. So let the numbers remember that themselves. A program that does
# it, and then walks back, is called **autograd**, for automatic differentiation:

# %%
class Value:
    """A number that remembers what it was made of, and its slope with respect to each of these."""

    def __init__(self, data, parents=(), slopes=()):
        self.data, self.grad = float(data), 0.0
        self.parents, self.slopes = parents, slopes


def value(x):
    return x if isinstance(x, Value) else Value(x)


def add(a, b):
    a, b = value(a), value(b)
    return Value(a.data + b.data, (a, b), (1.0, 1.0))


def multiply(a, b):
    a, b = value(a), value(b)
    return Value(a.data * b.data, (a, b), (b.data, a.data))


# %% [markdown]
# Each operation computes its result and writes down the local slopes, *as numbers*, at once. There is no algebra and no formula for the whole. Four more operations, one line each. **ReLU** is max(0, x): it lets through what is positive. Its
# slope is 1 there and 0 elsewhere (at zero itself everyone takes 0). A power aⁿ has the slope n · aⁿ⁻¹; the 2x of x² is the case n = 2.

# %%
def power(a, n):
    return Value(a.data**n, (a,), (n * a.data ** (n - 1),))


def exp(a):
    return Value(math.exp(a.data), (a,), (math.exp(a.data),))


def log(a):
    return Value(math.log(a.data), (a,), (1 / a.data,))


def relu(a):
    return Value(max(0.0, a.data), (a,), (float(a.data > 0),))


# %% [markdown]
# So that you can write `a * b + c`, tell Python which function stands for which sign. Subtraction and division need no slopes of their own:

# %%
Value.__add__ = Value.__radd__ = add
Value.__mul__ = Value.__rmul__ = multiply
Value.__pow__, Value.exp, Value.log, Value.relu = power, exp, log, relu
Value.__neg__ = lambda a: a * -1
Value.__sub__ = lambda a, b: a + value(b) * -1
Value.__rsub__ = lambda a, b: value(b) - a
Value.__truediv__ = lambda a, b: a * value(b) ** -1

L = (Value(3) * 2 - 4 - 5) ** 2
print("L =", L.data, " made of", len(L.parents), "number with the local slope", L.slopes)

# %% [markdown]
# Now the **backward pass**, the walk from the result to the inputs. Begin at the result with the derivative 1, and let each node (each box of the graph) hand to its parents *slope times what it has*. The first idea is to hand on as soon as you get something.
# Try it on L = a² + a³, whose slope is 2a + 3a²:

# %%
def hasty_backward(result):
    result.grad, queue = 1.0, [result]
    for node in queue:  # the list grows while we walk
        for parent, slope in zip(node.parents, node.slopes):
            parent.grad += slope * node.grad
            if parent not in queue:
                queue.append(parent)


a = Value(2)
b = a * a
L = b + b * a  # a² + a³
hasty_backward(L)
print(f"hasty: {a.grad:g}, right: {2 * 2 + 3 * 2**2}")

# %% [markdown]
# **What breaks?** b is used twice, in the sum and in b · a. It was handed its first contribution, passed that on at once, and when the second one came it had had its turn. A node must not pass anything on before it has received
# *everything*: before all that was made of it has had its turn. An order that respects this is called **topological**.
#
# > **Your turn: primer.5 `backward_order`** (15 min): the lines of the function that finds such an order, shuffled.
#
# Here is the mended one. Put each node on the list *after* all it was made of; then read the list from its end.

# %%
def backward(result):
    """Add the derivative of the result with respect to every number behind it to its .grad."""
    order, seen = [], set()

    def visit(node):
        if node not in seen:
            seen.add(node)
            for parent in node.parents:
                visit(parent)
            order.append(node)

    visit(result)
    result.grad = 1.0
    for node in reversed(order):
        for parent, slope in zip(node.parents, node.slopes):
            parent.grad += slope * node.grad


a = Value(2)
b = a * a
backward(b + b * a)
print("in topological order:", a.grad)
assert abs(a.grad - 16) < 1e-9

# %% [markdown]
# That is all of it. `loss.backward()` in PyTorch does the same walk; its boxes hold tensors instead of single numbers. Do the two agree? Build random expressions from three numbers,
# once with `Value` and once with PyTorch, and compare every derivative.

# %%
def random_expression(leaves, rng, length=15):
    """The same rng gives the same expression, of whatever the leaves are."""
    numbers = list(leaves)
    for _ in range(length):
        a, b = rng.choice(numbers), rng.choice(numbers)
        made = rng.choice([lambda: a + b, lambda: a * b * 0.5, lambda: a - b, lambda: a.relu(),
                           lambda: (a * a + 1).log(), lambda: (-(a**2)).exp(),
                           lambda: 1 - a / (b * b + 1)])  # fmt: skip
        numbers.append(made())
    return sum(numbers[3:], 0)


# %%
largest = 0.0
for number in range(200):
    rng = random.Random(number)
    start = [rng.uniform(-2, 2) for _ in range(3)]
    ours = [Value(v) for v in start]
    theirs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in start]
    backward(random_expression(ours, random.Random(number)))
    random_expression(theirs, random.Random(number)).backward()
    for a, b in zip(ours, theirs):
        b = 0.0 if b.grad is None else b.grad.item()  # PyTorch: None where nothing arrived
        largest = max(largest, abs(a.grad - b) / (1 + abs(b)))
print("200 random expressions, the derivatives agree to a billionth:", largest < 1e-9)
assert largest < 1e-9

# %% [markdown]
# > **Your turn: primer.6 `numeric_gradient`** (10 min): measure a whole gradient, the test that every home-made derivative should pass.

# %% [markdown] tags=["slide"]
# ### Autograd
#
# - forward: each number remembers its parents and the local slopes
# - backward: in topological order, hand on slope × gradient
# - add, never overwrite

# %% [markdown]
# ## 8. One hidden layer
#
# Enough to train a network. The data: 40 points of two kinds. Those of one kind lie in a disc, the others in a ring around it. No straight line separates them.

# %%
def disc_and_ring(n, seed):
    """n points (x, y), and of each whether it lies in the disc, 0, or in the ring, 1"""
    rng, points = random.Random(seed), []
    for i in range(n):
        angle = rng.uniform(0, 2 * math.pi)
        radius = rng.uniform(0, 0.6) if i % 2 == 0 else rng.uniform(0.9, 1.4)
        points.append((radius * math.cos(angle), radius * math.sin(angle)))
    return points, [i % 2 for i in range(n)]


points, labels = disc_and_ring(40, seed=1)
X, Y = torch.tensor(points, dtype=torch.float64), torch.tensor(labels)
print("inputs", tuple(X.shape), "labels", tuple(Y.shape))

# %% [markdown]
# The network: multiply the two coordinates by a matrix (2, 8), add an offset, ReLU. That gives 8 numbers between input and output, which nobody prescribes: a hidden layer. A second matrix (8, 2) makes two scores, one
# for each kind. The loss is the cross-entropy. Every single number is a `Value`.

# %%
def new_weights(seed, H=8):
    """Lists of numbers: W (2, H), b (H,), V (H, 2), c (2,)"""
    rng = random.Random(seed)
    normal = lambda n, size=1.0: [rng.gauss(0, size) for _ in range(n)]
    W, b = [normal(H), normal(H)], normal(H)
    return W, b, [normal(2, H**-0.5) for _ in range(H)], [0.0, 0.0]


def scores_of(weights, point):
    (W, b, V, c), (x, y) = weights, point
    hidden = [(W[0][h] * x + W[1][h] * y + b[h]).relu() for h in range(len(b))]
    return [sum((hidden[h] * V[h][k] for h in range(len(b))), c[k]) for k in range(2)]


def mean_loss(weights):
    total = 0
    for point, label in zip(points, labels):
        s = scores_of(weights, point)
        total = total + (s[0].exp() + s[1].exp()).log() - s[label]
    return total / len(points)


# %% [markdown]
# One step of training: compute the loss, walk backwards, move each number a little against its gradient. The step size, which multiplies the gradient, is 1 here; this small problem bears it. Then set the gradients back to zero,
# for `backward` adds to them.

# %%
def wrap(x):
    return [wrap(v) for v in x] if isinstance(x, (list, tuple)) else Value(x)


def flat(x):
    return [v for part in x for v in flat(part)] if isinstance(x, (list, tuple)) else [x]


STEPS = 150
weights, ours = wrap(new_weights(seed=1)), []
for step in range(STEPS):
    loss = mean_loss(weights)
    backward(loss)
    for v in flat(weights):
        v.data -= v.grad
        v.grad = 0.0
    ours.append(loss.data)
print(f"{len(flat(weights))} parameters: loss {ours[0]:.3f} at first, {ours[-1]:.3f} at the end")
assert ours[-1] < 0.1

# %% [markdown]
# You have trained a neural network, and every line of it is on this page. Here is the same in PyTorch. `requires_grad_()` says "remember how things are made of this", `loss.backward()` is your
# `backward`, and the offset `b` (8,) is broadcast over the 40 rows.

# %%
def train(seed=1, steps=STEPS, bend=torch.relu):
    """-> the four weights as tensors, and the loss at each step"""
    weights = [torch.tensor(w, dtype=torch.float64).requires_grad_() for w in new_weights(seed)]
    (W, b, V, c), losses = weights, []
    for _ in range(steps):
        loss = F.cross_entropy(bend(X @ W + b) @ V + c, Y)
        loss.backward()
        with torch.no_grad():  # the update itself is not to be remembered
            for w in weights:
                w -= w.grad
                w.grad = None
        losses.append(loss.item())
    return weights, losses


# %%
trained, theirs = train()
gap = max(abs(a - b) for a, b in zip(ours, theirs))
print(f"largest difference between the two losses in {STEPS} steps: below 1e-6: {gap < 1e-6}")
assert gap < 1e-6
for mine, w in zip(weights, trained):
    torch.testing.assert_close(torch.tensor([v.data for v in flat(mine)], dtype=torch.float64),
                               w.detach().flatten(), atol=1e-6, rtol=0)  # fmt: skip

# %% [markdown]
# The same numbers, step after step. What PyTorch adds is speed, because its boxes hold whole tensors:

# %% tags=["timing"]
begin = time.perf_counter()
for _ in range(5):
    backward(mean_loss(weights))
ours_took = (time.perf_counter() - begin) / 5
begin = time.perf_counter()
train(steps=50)
theirs_took = (time.perf_counter() - begin) / 50
print(f"a step: {1e3 * ours_took:.1f} ms with Value, {1e3 * theirs_took:.2f} ms with PyTorch, "
      f"{ours_took / theirs_took:.0f} times faster")
for v in flat(weights):
    v.grad = 0.0

# %% [markdown]
# What has it learned? Ask the network about every point of the plane, and draw where its answer changes. Beside it, **what breaks if** the ReLU is left out:

# %%
def panel(ax, weights, bend, title):
    xs, ys = torch.linspace(-1.6, 1.6, 120), torch.linspace(-1.5, 1.5, 90)
    plane = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1).double()  # (90, 120, 2)
    W, b, V, c = (w.detach() for w in weights)
    chance = torch.softmax(bend(plane @ W + b) @ V + c, -1)[..., 1]
    ax.contourf(xs, ys, chance, levels=[0, 0.5, 1], colors=["#ffe9c7", "#d3e9f7"])
    for h in range(8 if bend is torch.relu else 0):  # where hidden number h begins to be positive
        ax.contour(xs, ys, plane @ W[:, h] + b[h], levels=[0], colors=GREY, linewidths=0.7)
    ax.plot(*X[Y == 0].T, "o", color=ORANGE, markeredgecolor="black")
    ax.plot(*X[Y == 1].T, "^", color=BLUE, markeredgecolor="black")
    right = ((bend(X @ W + b) @ V + c).argmax(1) == Y).double().mean()
    ax.set(title=f"{title}: {right:.0%} right", xticks=[], yticks=[])
    return right


# %%
straight, _ = train(bend=lambda x: x)
fig, axes = figure(width=8, height=3.8, columns=2)
without = panel(axes[0], straight, lambda x: x, "no ReLU")
with_relu = panel(axes[1], trained, torch.relu, "with ReLU")
assert with_relu > 0.95 and without < 0.85
show(fig, alt="A disc of circles in a ring of triangles. Left: one straight border, many points on "
              "its wrong side. Right: a closed border with corners around the disc.")  # fmt: skip

# %% [markdown]
# Without the ReLU, two matrix products in a row are one matrix product, (x @ W) @ V = x @ (W @ V), and the two offsets become one, so the border is straight whatever you train. Each ReLU folds the plane along one straight line (grey). Between the folds the network is
# still straight, so the border has its corners on grey lines. Eight folds are enough to close a border around a disc.
#
# And **what breaks if** you forget to set the gradients back to zero? Then each step moves along the sum of all gradients so far. Take the smallest model there is, the line with the slope w of section 2, whose best w is 2:

# %%
def fit(clear, steps=60, rate=0.1):
    """-> the slope w at each step of training"""
    x, w, path = torch.linspace(-1.5, 1.5, 20), torch.zeros((), requires_grad=True), []
    for _ in range(steps):
        path.append(w.item())
        ((w * x - 2 * x) ** 2).mean().backward()
        with torch.no_grad():
            w -= rate * w.grad
            if clear:
                w.grad = None
    return path


# %%
cleared, kept = fit(clear=True), fit(clear=False)
fig, ax = figure(width=7, height=3)
for name, path, color in (("set to zero", cleared, BLUE), ("never", kept, VERMILLION)):
    ax.plot(path, color=color)
    label_end(ax, 59, path[-1], name, color)
ax.axhline(2, color=GREY, linestyle=":", zorder=0)
ax.set(xlabel="step", ylabel="slope w")
show(fig, alt="With gradients set to zero, w climbs from 0 to 2 and stays; without, it swings "
              "between 0 and 4 and never settles.")  # fmt: skip
print(f"last 30 steps: set to zero {min(cleared[-30:]):.2f} to {max(cleared[-30:]):.2f}, "
      f"never {min(kept[-30:]):.2f} to {max(kept[-30:]):.2f}")
assert max(cleared[-30:]) - min(cleared[-30:]) < 0.01 < 3 < max(kept[-30:]) - min(kept[-30:])

# %% [markdown]
# To add up all gradients is to let a ball roll without friction: it runs through the valley and up on the other side, for ever. Do not count on seeing it so clearly in a larger
# model. A wrong program often trains, only not as it should.
#
# **Gradients of tensors.** In the PyTorch version the gradient of `W` is a tensor of the shape of `W`, (2, 8). Nothing new is in it. `W[i, h]` is used once for each of the 40 rows, so its gradient is a sum of 40 contributions: local slope times what arrives. The offset `b[h]` is
# used 40 times as well, by broadcasting, so its gradient is a sum, too. Whatever is stretched on the way forward is summed on the way back.
#
# > **Your turn: primer.7 `layer_gradients`** (20 min), unaided: the assistant stays off.
#
# ## 9. Reading an error of PyTorch
#
# An error of PyTorch is a page long, and most of it is not for you. Read it from the bottom. **Last line:** what happened, with the shapes. **Then upwards** to the first line that you wrote yourself: where. The lines in between are
# PyTorch's own files. This function shows just these two, for three errors that everyone meets:

# %%
def read_error(function):
    try:
        function()
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is this function
        yours = [f for f in frames if not f.filename.startswith(torch.__path__[0])]
        print("what: ", str(error).splitlines()[0].split(". ")[0])
        print("where:", yours[-1].line)


def layers_that_do_not_fit():
    first, second = torch.nn.Linear(3, 4), torch.nn.Linear(5, 2)
    return second(first(torch.zeros(6, 3)))


read_error(layers_that_do_not_fit)

# %% [markdown]
# Two shapes of a matrix product, and their inner sizes do not meet. 6x4 is what came out of `first`; 5x2 is the matrix of `second` (turned, for `Linear` stores it as (2, 5)). So `second` must begin with 4, or `first` must end with 5.

# %%
def shares_of_each_town():
    return rain / rain.sum(dim=1)


read_error(shares_of_each_town)

# %% [markdown]
# Section 2. "Tensor a" is the left one, "non-singleton dimension 1" the axis at which the sizes are neither equal nor 1. Line the shapes up: (3, 4) over (3,). A `keepdim=True` is missing.

# %%
def backward_twice():
    w = torch.ones(3, requires_grad=True)
    loss = (w**2).sum()
    loss.backward()
    loss.backward()


read_error(backward_twice)

# %% [markdown]
# The graph of a loss is walked once; PyTorch then throws away what it kept for the walk, to save memory. Usually this error means that something computed *before* the loop is used inside it, or that a loss of the last step is
# still part of this one. Compute it anew in each step, or cut it off with `.detach()`, which keeps the numbers and
# forgets what they were made of.
#
# ## 10. One paper
#
# **Baydin et al. 2018, [Automatic Differentiation in Machine Learning: a Survey](https://arxiv.org/abs/1502.05767)**, sections 2 and 3. What you built in section 7 is called *reverse mode* there; the other direction, from an input to all results, is *forward mode*. Read
# with three questions: *What was held fixed* between tables 2 and 3, which walk through the same example in the two modes? *What would change your mind* about "reverse mode is the right one"? (How many inputs does a loss have, and how many results? What if it were
# the other way round?) *Which number can you recompute?* Their example is f(x₁, x₂) = ln(x₁) + x₁ x₂ − sin(x₂) at (2, 5), with the value 11.652 and the derivatives 5.5 and 1.716. `Value` knows no sine yet. An operation is a value and a slope, and the slope of the sine is the cosine:

# %%
def sine(a):
    return Value(math.sin(a.data), (a,), (math.cos(a.data),))


x1, x2 = Value(2), Value(5)
f = x1.log() + x1 * x2 - sine(x2)
backward(f)
print(f"f = {f.data:.3f}, df/dx1 = {x1.grad:.1f}, df/dx2 = {x2.grad:.3f}")
assert max(abs(f.data - 11.652), abs(x1.grad - 5.5), abs(x2.grad - 1.716)) < 5e-4

# %% [markdown]
# ## Summary
#
# 1. Shapes are lined up at their right ends; 1 is stretched. (T, 1) − (T,) is (T, T), and nothing complains: assert shapes.
# 2. (T, C) @ (C, D) is (T, D). An entry is row times column; a row is a mixture of rows.
# 3. Softmax depends only on differences of scores: subtract the largest score. Log-sum-exp does the same, and adds it again. The loss is minus the log of what the truth was given, and its gradient is p − y.
# 4. Backwards, slopes multiply along a road and add where roads meet, in topological order. That is autograd.
# 5. Layers need something bent between them, gradients must be set back to zero, and an error is read from the bottom.
#
# Next: lesson 00 shows all of pre-training in ten minutes.

# %% tags=["timing"]
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
