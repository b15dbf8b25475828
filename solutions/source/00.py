# %% [markdown]
# # 00 · Pre-training in ten minutes: exercises
#
# Three exercises of three minutes, to get to know the tools. Write your function, run the cell below it, and read what
# `check` says: it tries to tell you which idea produced your result. The first is already answered, and wrongly: run its
# check before you change anything. Of the three hints the first is a question; try again before you open another.

# %% tags=["setup"]
import math

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 00.1 to_bits_per_byte: from the loss to a figure that compares
#
# *fix · difficulty 1/5 · 3 min · core · answered · idea: nats become bits, and tokens become bytes*
#
# A training program reports its mean loss in **nats per token**: natural logarithms, averaged over the tokens. To compare it with gzip, or with a
# model that cuts text differently, you want **bits per byte**.
#
# `to_bits_per_byte(nats_per_token, tokens, n_bytes)` gets the mean loss, the number of tokens in the text and the number of bytes in the text, and
# returns a number. A loss of ln 2 on 10 tokens of a text of 40 bytes is one bit for each token, so:
# ```python
# to_bits_per_byte(math.log(2), 10, 40)        # 0.25
# ```
#
# <details><summary>Hint 1</summary>
#
# One nat is not one bit. Which of the two is the larger unit, and by how much?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The surprise at a probability p is −ln p in nats and −log₂ p in bits, and log₂ p = ln p / ln 2 (section 3). So the whole text costs its nats divided
# by ln 2, in bits.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a car uses 8 litres for 100 kilometres. How many US gallons for 250 miles?
# ```python
# litres = 8 / 100 * (250 * 1.609)       # the amount for the whole way, in the old unit
# gallons = litres / 3.785               # one gallon is 3.785 litres: the larger unit gives the smaller number
# ```
#
# </details>

# %%
def to_bits_per_byte(nats_per_token, tokens, n_bytes):
    """Mean loss in nats per token, over so many tokens of a text of n_bytes → bits per byte."""
    ### BEGIN SOLUTION
    return nats_per_token * tokens / math.log(2) / n_bytes
    ### STUB
    # return nats_per_token * tokens / n_bytes
    ### END SOLUTION

# %%
check("00.to_bits_per_byte", to_bits_per_byte)

# %% [markdown] tags=["solution"]
# **Why it works.** Loss times tokens is the cost of the whole text in nats. A bit is ln 2 ≈ 0.69 nats, so there are more bits than nats. Spread over
# the bytes, the figure no longer depends on how the text was cut into tokens.
#
# **The most common wrong road** is to stop at bits per token. A model with longer tokens then looks worse, though it may predict the text better.

# %% [markdown]
# ## 00.2 inputs_and_targets: every position is an exercise
#
# *fill · difficulty 1/5 · 3 min · core · idea: the target of a position is the token that comes after it*
#
# A training window holds T + 1 tokens. The model gets T of them as inputs, and must predict, at each position, the token that follows. Fill in the two
# slices. The window is a list; return two lists of the same length.
# ```python
# inputs_and_targets([5, 8, 2, 9])             # ([5, 8, 2], [8, 2, 9])
# ```
#
# <details><summary>Hint 1</summary>
#
# Which token of the window can never be an input, because nothing is known to follow it? Which can never be a target?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Position 0 sees token 0 and must say token 1 (section 5). So both lists are the window with one token missing, and targets[i] is window[i + 1].
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: how much did the temperature rise from each hour to the next?
# ```python
# hours = [11, 13, 16, 15]
# before, after = hours[: len(hours) - 1], hours[1 : len(hours)]
# rises = [b - a for a, b in zip(before, after)]               # [2, 3, -1]: three pairs from four numbers
# ```
#
# </details>

# %%
def inputs_and_targets(window):
    """T + 1 tokens, a list → (inputs, targets), two lists of T tokens."""
    ### BEGIN SOLUTION
    inputs = window[:-1]
    targets = window[1:]
    ### STUB
    # inputs = window[...]
    # targets = window[...]
    ### END SOLUTION
    return inputs, targets

# %%
check("00.inputs_and_targets", inputs_and_targets)

# %% [markdown] tags=["solution"]
# **Why it works.** Without its last token the window holds everything that may be read; without its first, everything that is to be said. Position i of the
# one belongs to position i of the other.
#
# **The most common wrong road** is to give the same slice twice. The model then learns to copy its input, the loss falls to nothing, and it writes
# nonsense: one of the broken runs of lesson 13.

# %% [markdown]
# ## 00.3 dollars: what a run costs
#
# *write · difficulty 2/5 · 3 min · core · idea: six operations for each parameter and token*
#
# Write `dollars(parameters, tokens, peak, used, price)`: what it costs to train so many parameters on so many tokens. `peak` is the number of operations
# a GPU does per second on paper, `used` the share of it that training reaches, `price` what one such GPU costs per **hour**. Return a number.
# ```python
# dollars(1e9, 20e9, 1e15, 0.4, 3.0)           # 250.0
# ```
#
# <details><summary>Hint 1</summary>
#
# If a GPU reaches less of its peak, does the run get cheaper or dearer? Does your formula agree?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Work in steps, each with its unit (section 7): operations; operations per second; seconds; hours; dollars. Training takes 6 operations for each parameter and
# token, since the backward pass costs twice the forward pass.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a printer does 30 pages a minute on paper, and 70 per cent of that in practice. It costs 2 dollars an hour. What do 5,000 copies of 12
# pages cost?
# ```python
# pages = 5_000 * 12
# minutes = pages / (30 * 0.7)
# cost = minutes / 60 * 2.0              # 95.24
# ```
#
# </details>

# %%
def dollars(parameters, tokens, peak, used, price):
    """peak in operations per second, used between 0 and 1, price per GPU hour → dollars."""
    ### BEGIN SOLUTION
    seconds = 6 * parameters * tokens / (peak * used)
    return seconds / 3600 * price
    ### END SOLUTION

# %%
check("00.dollars", dollars)

# %% [markdown] tags=["solution"]
# **Why it works.** Operations divided by operations per second are seconds. More GPUs make the run shorter, not cheaper, so their number does not appear.
#
# **The most common wrong road** is to count the forward pass only. It costs 2 operations for each parameter and token, a multiplication and an addition; the backward pass costs
# 4, because each product needs a gradient for both of its factors.
