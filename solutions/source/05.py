# %% [markdown]
# # 05 · GPT: exercises
#
# Ten exercises; the three marked *core* are enough to go on. Write your function, run the cell below it, and read what
# `check` says: it tells you which idea produced your result. Being stuck on one never blocks the next. Of the three
# hints the first is a question; try again before you open another.
#
# Letters as in the lesson: B sequences, T tokens, C width of the residual stream (its numbers are the lesson's
# channels; here they are called features), H heads, D features of a head, M hidden width of the MLP, L blocks, V tokens
# in the vocabulary. The parts that you make in 05.2, 05.3 and 05.4 fit together with the attention of lesson 04: keep
# them, and you have a GPT of your own.

# %% tags=["setup"]
import math

import torch
import torch.nn.functional as F

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 05.1 stream_variance: how large does the sum become?
#
# *predict · difficulty 1/5 · 5 min · core · try first · idea: what is added block after block grows with depth*
#
# **Try this before you read section 1.** A GPT is a stack of blocks. Each adds a vector to the one that it was given;
# none replaces it. The running sum is called the residual stream. How large do its numbers become?
#
# The stream starts with numbers of mean 0 and variance 1. Block i computes numbers of mean 0 and variance
# `variances[i]`, **multiplies them by `scale`**, and adds them to the stream. All of them are independent of what is
# there already. (Of the variance you need two facts: for independent numbers, the variance of a sum is the sum of the
# variances; and it is measured in squares, so that numbers multiplied by 3 have 9 times the variance.)
#
# **Predict first**, in your head: 12 blocks of variance 1, and a scale of one half. Is the variance at the end nearer
# to 4, to 7 or to 13?
#
# Then write `stream_variance(variances, scale)`: a list of L numbers and a number → a list of L numbers, the variance
# of the stream after each block. Without blocks the list is empty.
# ```python
# stream_variance([1.0, 1.0, 1.0], 1.0)      # [2.0, 3.0, 4.0]
# stream_variance([4.0, 0.0, 8.0], 0.5)      # [2.0, 2.0, 4.0]
# ```
#
# <details><summary>Hint 1</summary>
#
# You multiply all numbers by one half. What becomes of their squares, and so of their variance?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Each block adds to what all the blocks before it have left (section 1). So you need a running total: it begins with
# the variance of the stream before any block, and each block adds its own variance, as changed by the scale. Keep the
# total after each step.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a pedometer measures three legs of a walk, each with an independent error, whose
# standard deviation is given in feet. What is the variance of the distance after each leg, in square metres?
# ```python
# errors, feet = [10.0, 30.0, 20.0], 0.3048
# total, after = 0.0, []
# for error in errors:
#     total += (error * feet) ** 2             # the square of a length in metres: the factor is squared too
#     after.append(round(total, 1))
# after                                        # [9.3, 92.9, 130.1]: square metres
# ```
#
# </details>

# %%
def stream_variance(variances, scale):
    """L variances, scale → L numbers: the stream's variance after each block."""
    ### BEGIN SOLUTION
    total, after = 1.0, []
    for variance in variances:
        total += scale**2 * variance
        after.append(total)
    return after
    ### END SOLUTION

# %%
check("05.stream_variance", stream_variance)

# %% [markdown] tags=["solution"]
# **Why it works.** Independent numbers do not know of each other, so that on average their products cancel and only the
# squares are left to add up. The scale multiplies numbers; in a variance it counts twice. Twelve blocks at one half add
# twelve quarters to the one that is there: 4.
#
# **The most common wrong road** is to multiply the variance by `scale` instead of its square. That is the difference
# between 4 and 7. Next comes to add standard deviations: 1, 1 and 1 do not make 3 but the root of 3, because
# independent numbers often point in opposite directions.
#
# What scale keeps the stream's variance at 2, however deep the model? Two branches in each of L blocks:

# %% tags=["solution"]
for layers in (3, 12, 48):
    branches = [1.0] * (2 * layers)  # attention and MLP of each block
    plain, scaled = (stream_variance(branches, s)[-1] for s in (1, 1 / math.sqrt(2 * layers)))
    print(f"{layers:2} blocks: variance {plain:3.0f} unscaled, {scaled:.2f} with 1 / √(2L)")

# %% [markdown] tags=["solution"]
# This is where GPT-2's factor of 1/√(2L) comes from. You meet it again in section 5 and in 05.6.

# %% [markdown]
# ## 05.2 layer_norm: the same size for every token
#
# *write · difficulty 2/5 · 10 min · core · idea: statistics of one token at a time, over its features*
#
# Write `layer_norm(x, gain, bias, eps)` by hand, without `F.layer_norm` and its relatives:
#
# - `x` (…, C): any number of axes before the last one, or none
# - `gain`, `bias` (C,): learned; one number for each feature
# - `eps`: a small number that is added to the variance
# - result, of the shape of `x`: each vector of C numbers gets mean 0 and variance 1, then is multiplied by `gain`, then
#   `bias` is added.
#
# The variance is the mean of the C squared deviations: divide by C, not by C − 1. Where all C numbers are equal there
# is nothing to divide by but `eps`, and the result is `bias`. Leave `x` as it was.
# ```python
# layer_norm(torch.tensor([[1.0, 3.0], [40.0, 20.0]]), torch.tensor([2.0, 5.0]), torch.tensor([0.0, 1.0]), 1e-5)
#                                  # tensor([[-2.,  6.],        mean 2, standard deviation 1: -1 and 1
#                                  #         [ 2., -4.]])       mean 30, standard deviation 10: 1 and -1
# ```
# Keep it: your GPT needs two in each block and one at the end.
#
# <details><summary>Hint 1</summary>
#
# Two sequences of five tokens, seven features: `x` is (2, 5, 7). How many means are there, and how many gains?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A LayerNorm looks at one token and at nothing else, neither at its neighbours nor at the rest of the batch (section
# 2). So mean and variance run over the last axis, and keep it with size one to be shared out along it. `gain` and
# `bias` have no axis but the features: they broadcast by themselves. The order is: centre, divide by the root, scale,
# shift.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: three judges give marks to four skaters. Some judges are severe, so each one's marks
# are stretched to run from 0 to 1; then every skater's mark is weighted by difficulty.
# ```python
# marks = torch.tensor([[2.0, 4.0, 3.0, 6.0], [7.0, 9.0, 8.0, 8.0], [5.0, 5.0, 5.0, 5.0]])    # (judge, skater)
# difficulty = torch.tensor([1.0, 2.0, 2.0, 4.0])                                          # (skater,)
# low = marks.amin(dim=-1, keepdim=True)                                                   # (judge, 1)
# spread = marks.amax(dim=-1, keepdim=True) - low
# (marks - low) / (spread + 1e-8) * difficulty                 # tensor([[0.0, 1.0, 0.5, 4.0],
#                                                              #         [0.0, 2.0, 1.0, 2.0],
#                                                              #         [0.0, 0.0, 0.0, 0.0]])
# ```
#
# </details>

# %%
def layer_norm(x, gain, bias, eps):
    """x (…, C), gain and bias (C,), eps → (…, C): mean 0, variance 1, then gain and bias."""
    ### BEGIN SOLUTION
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return centred / torch.sqrt(variance + eps) * gain + bias
    ### END SOLUTION

# %%
check("05.layer_norm", layer_norm)

# %% [markdown] tags=["solution"]
# **Why it works.** Each token is measured by itself: `dim=-1` is the axis of its features, and `keepdim=True` leaves an
# axis of size one, so that one mean serves C numbers. `centred` is a new tensor; `x -= …` would have changed the stream
# that everyone else still reads.
#
# **The most common wrong road** is `x.std(dim=-1)`: PyTorch divides by C − 1 unless it is told
# `correction=0`. With 768 features nobody sees the difference, with 7 you do, and a model loaded from a file comes out
# slightly wrong in every layer. The second is `std + eps`: the sum under the root and the sum after it agree only where
# the variance is large.
#
# What the next part sees: a stream of any size comes out at the same size.

# %% tags=["solution"]
x = torch.randn(4, 64, generator=torch.Generator().manual_seed(5))
ones, zeros = torch.ones(64), torch.zeros(64)
torch.testing.assert_close(layer_norm(x, ones, zeros, 1e-5), F.layer_norm(x, (64,), ones, zeros))
for size in (0.1, 1.0, 100.0):
    out = layer_norm(size * x, ones, zeros, 1e-5)
    print(f"input of size {size:5}: output has mean {out.mean().abs():.2f}, std {out.std():.2f}")

# %% [markdown]
# ## 05.3 block: put the lines in order
#
# *order · difficulty 2/5 · 10 min · core · idea: read a normalised copy, add to the original*
#
# The lines of a block, shuffled: pre-norm, as in GPT-2. **Three steps are there twice, once right and once wrong**:
# delete the wrong ones (three lines), and put the other five in order (in Jupyter, Alt+Up and Alt+Down, or
# Ctrl+Shift+Up and Ctrl+Shift+Down, move a line).
#
# `x` (…, T, C) is the residual stream. `norm1`, `attn`, `norm2` and `mlp` are functions that take a tensor of this
# shape and return a new one. The result is the stream after the block, (…, T, C). Leave `x` itself as it was.
#
# An example with functions so simple that you can follow them by hand:
# ```python
# half, add_1, double, square = (lambda x: x / 2), (lambda x: x + 1), (lambda x: 2 * x), (lambda x: x * x)
# block(torch.tensor([[4.0]]), half, add_1, double, square)
#                                  # tensor([[203.]])       4 + (4 / 2 + 1) = 7, and 7 + (2 · 7)² = 203
# ```
# Keep what you make here: with it a GPT is a loop.
#
# <details><summary>Hint 1</summary>
#
# A token's vector enters 48 blocks one after the other. Which of the lines would make it impossible to find the
# original in the sum at the end?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The stream is only ever added to (section 1). Each of the two parts reads a normalised *copy* of it, and its answer
# goes onto the stream itself, not onto the copy (section 4). The second part reads the stream after the first has
# written to it.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two editors work on a text, one after the other. Each reads it in capitals, because
# that is easier on the eye, and hands in a remark; the remarks are appended to the text, which stays as it was written.
# ```python
# def edited(text, first, second):
#     copy = text.upper()
#     text = text + first(copy)
#     copy = text.upper()                     # a fresh copy: the second reads the first one's remark too
#     text = text + second(copy)
#     return text
#
# edited("Hi Bo.", lambda t: f" [{len(t)} letters]", lambda t: f" [{t.count('L')} Ls]")
# # 'Hi Bo. [6 letters] [1 Ls]'
# ```
#
# </details>

# %%
def block(x, norm1, attn, norm2, mlp):
    """x (…, T, C), four functions of such tensors → (…, T, C): the stream after the block."""
    ### BEGIN SOLUTION
    normed = norm1(x)
    x = x + attn(normed)
    normed = norm2(x)
    x = x + mlp(normed)
    return x
    ### STUB
    # x = x + mlp(normed)
    # x = norm1(x)
    # normed = norm2(x)
    # x = attn(normed)
    # return x
    # x = normed + mlp(normed)
    # normed = norm1(x)
    # x = x + attn(normed)
    ### END SOLUTION

# %%
check("05.block", block)

# %% [markdown] tags=["solution"]
# **Why it works.** `x` is only ever added to, so that the vector that came in is a term of the sum that goes out. The
# gradient of a sum goes to each of its terms unchanged: the first block hears from the loss as directly as the last.
# `normed` is overwritten twice, `x` never.
#
# **The most common wrong road** is `x = norm1(x)`: shorter, and the stream itself is normalised. Then
# each block shrinks all that was written before it, and the path through which the gradient came back unchanged is
# gone. The first transformer did something like it on purpose, `norm1(x + attn(x))`, called post-norm; it needed a
# careful warm-up, a slow rise of the learning rate, to train at all (Xiong et al. 2020, arXiv 2002.04745).
#
# A chain of 24 blocks that do nothing, with a LayerNorm on a copy and on the stream:

# %% tags=["solution"]
def normalise(x):
    return F.layer_norm(x, x.shape[-1:])


def on_the_stream(x, norm1, attn, norm2, mlp):
    x = norm1(x)
    x = x + attn(x)
    x = norm2(x)
    return x + mlp(x)


token = 5 * torch.randn(1, 6, generator=torch.Generator().manual_seed(1))
for name, form in (("on a copy", block), ("on the stream", on_the_stream)):
    x = token
    for _ in range(24):
        x = form(x, normalise, torch.zeros_like, normalise, torch.zeros_like)
    print(f"{name:13}: size {token.std():.1f} goes in, {x.std():.1f} comes out")

# %% [markdown]
# ## 05.4 mlp: widen, bend, narrow
#
# *fill · difficulty 2/5 · 10 min · further · idea: without a bend between them, two matrices are one*
#
# The first line of the MLP is there; the rest is missing. Fill in the nonlinearity and the way back.
#
# - `x` (…, C)
# - `up` (C, M), `up_bias` (M,): from the stream to the hidden layer; M is usually 4C
# - `down` (M, C), `down_bias` (C,): and back
# - result (…, C): what the MLP *adds* to the stream; adding it is the block's business
#
# Write the nonlinearity by hand. It is GELU in the form that GPT-2 uses (Hendrycks & Gimpel 2016, arXiv 1606.08415),
# for each hidden number h:
#
# $$\text{GELU}(h) = \frac{h}{2}\left(1 + \tanh\left(\sqrt{2/\pi}\,\left(h + 0.044715\,h^3\right)\right)\right)$$
#
# (`nn.Linear` keeps its matrices the other way round, (M, C) for `up`. To compare with one, hand over
# `linear.weight.T`.)
# ```python
# one = torch.ones(1, 1)
# mlp(torch.tensor([[0.0], [1.0], [-1.0], [9.0]]), one, torch.zeros(1), 2 * one, torch.ones(1))
#                                  # tensor([[ 1.00],        GELU(0) = 0, times 2, plus 1
#                                  #         [ 2.68],        GELU(1) = 0.84
#                                  #         [ 0.68],        GELU(-1) = -0.16
#                                  #         [19.00]])       GELU(9) = 9
# ```
#
# <details><summary>Hint 1</summary>
#
# What does GELU do to a large positive number, and what to a large negative one? Which of your lines makes sure of it?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The MLP is two linear layers with something bent between them (section 3): features @ matrix + bias, then GELU of each
# number by itself, then again features @ matrix + bias. Write the formula from the inside out: first what tanh is taken
# of, then the rest.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: three test scores become two "topics", a topic counts only above 1, and then the
# two become one mark. The bend here is a square root of what is above 1.
# ```python
# scores = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]])
# topics = scores @ torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]) + torch.tensor([2.0, 0.0])    # (2, 2)
# above = torch.clamp(topics - 1, min=0)
# bent = torch.sqrt(above)                                              # each number by itself
# bent @ torch.tensor([[3.0], [4.0]]) + 0.5                             # tensor([[14.5], [3.5]])
# ```
#
# </details>

# %%
def mlp(x, up, up_bias, down, down_bias):
    """x (…, C), up (C, M), up_bias (M,), down (M, C), down_bias (C,) → (…, C)."""
    hidden = x @ up + up_bias
    ### BEGIN SOLUTION
    inside = math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)
    bent = 0.5 * hidden * (1 + torch.tanh(inside))
    return bent @ down + down_bias
    ### END SOLUTION

# %%
check("05.mlp", mlp)

# %% [markdown] tags=["solution"]
# **Why it works.** Far to the right tanh is 1 and GELU hands on h; far to the left it is −1 and nothing is left.
# Between them the curve bends smoothly. The bend is the point: without it `x @ up @ down` is `x @ (up @ down)`, one
# matrix of C by C, and M hidden numbers have bought nothing.
#
# **The most common wrong road** is `F.gelu(hidden)`: PyTorch's default is the exact form, with the distribution
# function of the normal distribution in place of the tanh. They differ in the fourth decimal. Nobody notices in
# training, but the weights of a published GPT-2 then give slightly other logits, and a test with a tolerance of 1e-5 fails.

# %% tags=["solution"]
h = torch.linspace(-6, 6, 1201)
apart = (F.gelu(h) - F.gelu(h, approximate="tanh")).abs()
most = h[apart.argmax()].abs()
print(f"the two forms differ most at h = {most:.1f} and −{most:.1f}, by {apart.max():.4f}")

# %% [markdown]
# ## 05.5 next_token_loss: too good to be true
#
# *fix · difficulty 3/5 · 15 min · further · idea: at position t the model is asked for token t + 1*
#
# Someone trains a GPT, whose head is not tied, with the loss below. Three things are odd. The fresh model has a
# vocabulary of V = 300 and reads T = 16 tokens, and its loss begins near the natural logarithm of 16, not of 300. With
# longer texts it begins higher. And after training, the token that it finds most likely to come next is always the one
# that it has just read.
#
# **Two things are wrong**, and each of the three symptoms points to one of them. Mend them; one takes a change in two
# lines.
#
# `next_token_loss(logits, tokens)`:
# - `tokens` (B, T) int64, T at least 2: B pieces of text, which the model has read
# - `logits` (B, T, V): what it said at each position after reading the tokens *up to and including* this one
# - result: the mean over all predictions whose answer is known, of the cross-entropy in nats; a tensor of shape ()
#
# The last position of each text predicts a token that you do not have: it has no part in the loss.
#
# An example: three tokens, and a model that is certain, and right, that 1 follows 0 and that 2 follows 1. It has no
# idea what comes after 2, and need not.
# ```python
# logits = torch.tensor([[[0.0, 99.0, 0.0], [0.0, 0.0, 99.0], [0.0, 0.0, 0.0]]])
# next_token_loss(logits, torch.tensor([[0, 1, 2]]))      # tensor(0.)
# next_token_loss(logits, torch.tensor([[1, 1, 0]]))      # tensor(49.5): right once, and once sure of the wrong one
# ```
#
# <details><summary>Hint 1</summary>
#
# The model spreads one unit of probability: over which things? How many of them are there in this batch, and of what
# number is the loss of a fresh model the logarithm?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A distribution over the vocabulary lies along the axis of size V: a fresh model gives each of V tokens 1/V (section
# 5). And the answer to what is asked at position t stands at position t + 1 of the text (sections 4 and 9): positions
# 0 to T − 2 have an answer, and the answers are tokens 1 to T − 1. A loss that falls faster than language allows is a
# loss that has been told the answer.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a forecaster gives each evening the odds of tomorrow's weather, as scores for sun,
# rain and snow. How likely did she find what came?
# ```python
# scores = torch.tensor([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 1.0], [5.0, 5.0, 5.0]])     # (evening, weather)
# weather = torch.tensor([2, 0, 1, 1])                                                          # on the same days
# odds = torch.softmax(scores, dim=-1)                       # one unit for each evening, over the three weathers
# tonight, tomorrow = odds[:-1], weather[1:]                 # the last evening's forecast cannot be judged yet
# tonight[torch.arange(3), tomorrow]                         # tensor([0.79, 0.91, 0.21])
# ```
#
# </details>

# %%
def next_token_loss(logits, tokens):
    """logits (B, T, V), tokens (B, T) int64 → (): mean nats per prediction of what follows."""
    ### BEGIN SOLUTION
    log_probs = torch.log_softmax(logits[:, :-1], dim=-1)
    answers = tokens[:, 1:]
    picked = log_probs.gather(-1, answers[:, :, None])
    return -picked.mean()
    ### STUB
    # log_probs = torch.log_softmax(logits, dim=1)
    # answers = tokens
    # picked = log_probs.gather(-1, answers[:, :, None])
    # return -picked.mean()
    ### END SOLUTION

# %%
check("05.next_token_loss", next_token_loss)

# %% [markdown] tags=["solution"]
# **Why it works.** The softmax runs over the vocabulary, for that is what the model chooses from. The last logits and
# the first token drop out, and what is left lines up: position t with the token after it. `gather` picks, at each
# position, the log-probability of the one token that came.
#
# **The most common wrong road** is to shift both the wrong way, `logits[:, 1:]` with `tokens[:, :-1]`: shapes are
# right, and the model is asked for the token *before* the one it reads, which it has seen. Second comes a shift of the
# flattened text, `tokens.flatten()[1:]`: the end of one piece is then asked for the beginning of the next.
#
# Overfit one batch of random tokens with either loss, and look at what has been learned:

# %% tags=["solution"]
from minigpt import GPT, ModelConfig


def not_shifted(logits, tokens):
    return F.cross_entropy(logits.flatten(0, 1), tokens.flatten())


tiny = ModelConfig("gpt2", layers=1, width=32, heads=2, kv_heads=2, head_size=16, mlp_width=128,
                   context=24, vocab_size=64, tied=False, activation="gelu")  # fmt: skip
text = torch.randint(64, (4, 24), generator=torch.Generator().manual_seed(9))
for loss_of in (next_token_loss, not_shifted):
    model, losses = GPT(tiny, seed=1), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0)
    for _ in range(80):
        loss = loss_of(model(text), text)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    said = model(text).argmax(-1)
    copies, right = (said == text).float().mean(), (said[:, :-1] == text[:, 1:]).float().mean()
    print(f"{loss_of.__name__}: loss {losses[0]:.1f} at first, {losses[-1]:.2f} at the end")
    print(f"    names the token it reads: {copies:.0%}, the one that follows: {right:.0%}")

# %% [markdown] tags=["solution"]
# Both losses start near ln 64, and both fall towards zero on one batch, which is why "it overfits" is not proof enough.
# One model has learned the text by heart, the other one to repeat what it hears. Look at what comes out, not only at
# the curve.

# %% [markdown]
# ## 05.6 initial_std: how wide does each parameter start?
#
# *write · difficulty 3/5 · 15 min · further · idea: a parameter's start depends on where its output goes*
#
# Write `initial_std(names, layers)`: a list of names of parameters of a GPT of the GPT-2 family, and L, the number of
# blocks of the model → a dictionary: name → the standard deviation of the numbers that this parameter starts with. The
# names are those of `GPT(config).named_parameters()`:
#
# | names | what they are |
# |---|---|
# | `embed.weight`, `position.weight`, `head.weight` | token embedding, position embedding, head |
# | `blocks.0.attn.q.weight`, the same with `k`, `v` and `out` | attention of block 0; `out` comes after the heads |
# | `blocks.0.mlp.up.weight`, `blocks.0.mlp.down.weight` | MLP of block 0 |
# | `blocks.0.norm1.weight`, `blocks.0.norm2.weight`, `norm.weight` | gains of the LayerNorms |
# | all of the blocks' and norms' names, with `bias` in place of `weight` | biases |
#
# The rule is GPT-2's, as in section 5: matrices start with 0.02, and those that **write into the residual stream** with
# 0.02/√(2L). Gains all start at one and biases at zero: numbers that are all equal have the standard deviation 0.
#
# The list may hold the names of a part of the model only; L is what `layers` says.
# ```python
# initial_std(["embed.weight", "blocks.7.mlp.down.weight", "blocks.7.norm1.weight"], 8)
#                                  # {'embed.weight': 0.02,
#                                  #  'blocks.7.mlp.down.weight': 0.005,          0.02 / √16
#                                  #  'blocks.7.norm1.weight': 0.0}
# ```
#
# <details><summary>Hint 1</summary>
#
# Each block adds to the stream twice. Which two matrices are the last that a number goes through before it is added?
#
# </details>
# <details><summary>Hint 2</summary>
#
# With 2L additions of equal variance to the stream, each must be 2L times smaller *in variance*, so that their sum does
# not grow with the depth (section 5, and 05.1). Only what is added needs it: the matrices inside attention and MLP are
# followed by others. Ask of a name, in this order: is it a bias or a gain? Is it one of the writers? Else it is a plain
# matrix.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: what a library charges for each item, by its name. Journals are not lent, large
# formats cost double.
# ```python
# def fees(names, days):
#     fee = {}
#     for name in names:
#         kind = name.split("/")[-1]
#         if kind == "journal":
#             fee[name] = 0.0
#         elif kind in ("atlas", "score"):
#             fee[name] = 2 * 0.10 * days
#         else:
#             fee[name] = 0.10 * days
#     return fee
#
# fees(["art/atlas", "art/journal", "prose/novel"], 5)      # {'art/atlas': 1.0, 'art/journal': 0.0, 'prose/novel': 0.5}
# ```
#
# </details>

# %%
def initial_std(names, layers):
    """Names of parameters, L → {name: standard deviation of the numbers it starts with}."""
    ### BEGIN SOLUTION
    stds = {}
    for name in names:
        if name.endswith("bias") or "norm" in name:
            stds[name] = 0.0
        elif name.endswith(("attn.out.weight", "mlp.down.weight")):
            stds[name] = 0.02 / math.sqrt(2 * layers)
        else:
            stds[name] = 0.02
    return stds
    ### END SOLUTION

# %%
check("05.initial_std", initial_std)

# %% [markdown] tags=["solution"]
# **Why it works.** `attn.out` and `mlp.down` are the last matrices before the two plus signs of a block, so there are
# 2L of them on the way through the model. If each standard deviation is divided by √(2L), each variance is divided by
# 2L, and all of them together add what a single one would have added undivided. The biases of the same two layers start
# at zero: they have no spread to divide.
#
# **The most common wrong road** is to divide by √L: one addition for each block. There are two. Next is a test like
# `"attn.out" in name`, which catches `attn.out.bias` as well.
#
# Compare with what minigpt draws. (For a matrix of a few thousand numbers the measured spread is within a few per
# cent.)

# %% tags=["solution"]
config = ModelConfig("gpt2", layers=3, width=48, heads=3, kv_heads=3, head_size=16, mlp_width=192,
                     vocab_size=320, activation="gelu")  # fmt: skip
parameters = dict(GPT(config).named_parameters())
expected = initial_std(list(parameters), config.layers)
for name, std in expected.items():
    measured = parameters[name].std().item()
    assert abs(measured - std) <= 0.05 * std, name
    if name.startswith("blocks.1.") and name.endswith("weight"):
        print(f"{name:24} expected {std:.4f}, measured {measured:.4f}")

# %% [markdown]
# ## 05.7 gpt2_parameters: account for every number
#
# *write · difficulty 3/5 · 15 min · further · idea: a model's size is arithmetic, not folklore*
#
# Write `gpt2_parameters(layers, width, vocab, context, tied)`: how many numbers training can move in a GPT of the GPT-2
# family → a whole number.
#
# - `layers` L blocks; each has two LayerNorms, attention (q, k, v and the matrix after the heads, each C × C: the
#   heads' outputs together are as wide as the stream), and an MLP that is 4C wide
# - `width` C
# - `vocab` V tokens, `context` positions, each with a learned vector
# - one LayerNorm after the last block; then the head, which has no bias
# - `tied`: True if the head *is* the token embedding, False if it has a matrix of its own
#
# Every linear layer of a block has a bias, and every LayerNorm has a gain and a bias. The number of heads does not
# appear. Do you see why?
# ```python
# gpt2_parameters(1, 2, 3, 5, True)                # 94: small enough to count by hand
# gpt2_parameters(12, 768, 50257, 1024, True)      # 124439808: the model that the paper calls 117M
# ```
#
# <details><summary>Hint 1</summary>
#
# Draw a block for C = 2. How many matrices are in it, of which shapes, and how many numbers stand beside each of them?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Go through the model from the bottom to the top and write one line for each part (section 7): what is there once, what
# is there once in each block. A linear layer from a to b features has a · b numbers and b biases: a bias is as long as
# the layer's *output*. A parameter that is used in two places is one parameter (section 6).
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: the screws of a shelf. Each board is held by two brackets of three screws, the
# lowest board stands on four feet of one screw each, and the wall rail takes one screw for each board and two more.
# ```python
# def screws(boards, with_rail):
#     brackets = boards * 2 * 3
#     feet = 4
#     rail = boards + 2 if with_rail else 0
#     return brackets + feet + rail
#
# screws(1, True), screws(5, False)                # (13, 34)
# ```
#
# </details>

# %%
def gpt2_parameters(layers, width, vocab, context, tied):
    """L, C, V, positions, is the head the embedding? → how many parameters the model has."""
    ### BEGIN SOLUTION
    norm = 2 * width
    attention = 4 * (width * width + width)
    feed_forward = (width * 4 * width + 4 * width) + (4 * width * width + width)
    each_block = 2 * norm + attention + feed_forward
    head = 0 if tied else vocab * width
    return vocab * width + context * width + layers * each_block + norm + head
    ### END SOLUTION

# %%
check("05.gpt2_parameters", gpt2_parameters)

# %% [markdown] tags=["solution"]
# **Why it works.** Every part is on exactly one line. The sum is L (12 C² + 13 C) for the blocks, (V + context) C for
# the two tables, 2 C for the last norm. The heads cut the C columns of q, k and v into pieces; cutting makes no
# numbers.
#
# **The most common wrong road** is to be nearly right: 12 L C² is the formula that everyone quotes, and for GPT-2 it
# leaves out a third of the model, most of it the embedding. The next is the bias of the wide layer: it is 4C long, not
# C.

# %% tags=["solution"]
from minigpt.accounting import parameters as counted

gpt2 = ModelConfig("gpt2", layers=12, width=768, heads=12, kv_heads=12, head_size=64,
                   mlp_width=3072, context=1024, vocab_size=50257, activation="gelu")  # fmt: skip
total = gpt2_parameters(12, 768, 50257, 1024, tied=True)
assert total == counted(gpt2)
matrices = 12 * 12 * 768**2
print(f"{total:,} parameters; 12 L C² alone: {matrices:,}, {matrices / total:.0%} of them")

# %% [markdown]
# ## 05.8 largest_batch: one measurement, one prediction
#
# *measure · difficulty 2/5 · 10 min · further · idea: some memory grows with the batch, and some does not*
#
# You train in float32 with AdamW, and you have measured one training step: with `batch` sequences its peak was `peak`
# bytes. How many sequences fit into `budget` bytes?
#
# **Predict first**: with 4 sequences a step took 6 GiB, 4 of them for weights, gradients and optimizer. Your GPU has
# 16 GiB. Do 10 sequences fit, 20, or more?
#
# Then write `largest_batch(parameters, batch, peak, budget)`:
# - `parameters`: how many the model has. From section 8 you know how many bytes each of them takes, whatever the batch:
#   its weight, its gradient, and what AdamW keeps of it, all in float32
# - `batch`, `peak`: the measurement; what is not explained by the parameters grows in proportion to the batch
# - `budget`: bytes, which may be exactly used up
# - result: the largest number of sequences, a whole number; 0 if not even one fits
#
# All arguments are whole numbers, and the bytes of one sequence come out whole.
# ```python
# largest_batch(100, 2, 2600, 4100)        # 5: 1600 bytes are fixed, 500 for each sequence, 1600 + 5 · 500 = 4100
# largest_batch(100, 2, 2600, 4099)        # 4
# ```
#
# <details><summary>Hint 1</summary>
#
# You double the batch. Which of these double: weights, gradients, what the optimizer keeps, activations?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Peak memory is a straight line (section 8): a fixed part, which depends on the model and the optimizer, plus a part
# that is the same for each sequence. The parameters tell you the fixed part, the measurement then tells you the slope.
# What is left of the budget after the fixed part is divided by the slope, and rounded so that it still fits.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a van weighs 2,000 kg, and with 30 sacks it weighed 2,750 kg. How many sacks may it
# carry over a bridge?
# ```python
# def sacks(empty, count, weighed, limit):
#     each = (weighed - empty) // count              # 25 kg
#     return max(0, (limit - empty) // each)
#
# sacks(2000, 30, 2750, 3500), sacks(2000, 30, 2750, 1900)      # (60, 0)
# ```
#
# </details>

# %%
def largest_batch(parameters, batch, peak, budget):
    """`batch` sequences took `peak` bytes → the most sequences that fit into `budget`."""
    ### BEGIN SOLUTION
    fixed = 16 * parameters  # weight, gradient, AdamW's two means: four numbers of four bytes
    each = (peak - fixed) // batch
    return max(0, (budget - fixed) // each)
    ### END SOLUTION

# %%
check("05.largest_batch", largest_batch)

# %% [markdown] tags=["solution"]
# **Why it works.** The line has two unknowns, and you know one of them from theory. In the prediction each sequence
# takes half a GiB, and of 16 GiB 12 are left: 24 sequences, not the 10 that proportion suggests.
#
# **The most common wrong road** is proportion, `budget * batch // peak`: the weights are then counted once for each
# batch. It is too careful on a larger GPU and too bold on a smaller one. The other is 4 or 8 bytes for a parameter: the
# weights alone, or without what AdamW keeps.
#
# Against minigpt's own formula, for a small model:

# %% tags=["solution"]
from minigpt.accounting import largest_micro_batch, memory

small = ModelConfig("gpt2", layers=3, width=96, heads=3, kv_heads=3, head_size=32, mlp_width=384,
                    context=64, vocab_size=512, activation="gelu")  # fmt: skip
peak, budget = memory(small, 4)["total"], 200 * 10**6
mine = largest_batch(counted(small), 4, peak, budget)
assert mine == largest_micro_batch(small, budget)
print(f"4 sequences take {peak:,} bytes; {budget:,} bytes are enough for {mine}, "
      f"proportion says {budget * 4 // peak}")

# %% [markdown]
# ## 05.9 logit_lens: when was it decided?
#
# *measure · difficulty 3/5 · 15 min · further · idea: the stream can be read at every layer, as if it were the last*
#
# The stream has the same shape after each block. So the final norm and the head can read it anywhere, and say which
# token would be the most likely if the model ended here: its **top token**. After which layer does the top token no
# longer change?
#
# Write `logit_lens(residuals, norm, head)`:
# - `residuals`: a list of L + 1 tensors (…, T, C): the stream before the first block, then after each of the L blocks
# - `norm`: the model's final norm, a function (…, C) → (…, C)
# - `head`: a function (…, C) → (…, V)
# - result (…, T) int64: for each position the smallest layer (0: before the first block; L: after the last) from which
#   **on** the top token is the one that the last layer has. A token that was on top early, lost its place and came back
#   counts from its return.
#
# With `norm = lambda x: x` and `head = lambda x: x` the numbers are the logits, and you can follow an example by eye:
# ```python
# a, b = [5.0, 1.0], [1.0, 5.0]                   # token 0 on top, token 1 on top
# residuals = [torch.tensor(rows) for rows in ([a, b, b], [b, b, a], [b, b, b])]      # 2 blocks, 3 positions
# logit_lens(residuals, lambda x: x, lambda x: x)                                     # tensor([1, 0, 2])
# ```
# Position 2 has token 1 on top from the beginning, but not after the first block: it is decided in layer 2.
#
# <details><summary>Hint 1</summary>
#
# Write down, for one position, at which layers the top token equals the final one: yes, no, yes, yes. From which end do
# you have to read this row, and what stops you?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Section 11 reads each layer through the model's own final norm and head, and takes the largest logit. Stack the top
# tokens to (L + 1, …, T), and compare with the last. You want the length of the unbroken run of "yes" at the *end* of
# each column: a product of ones that runs backwards stays one until the first zero, and zero from then on.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: for each of three runners, since which lap have they been in their final place?
# ```python
# places = torch.tensor([[1, 2, 3], [2, 1, 3], [1, 2, 3], [1, 2, 3]])        # (lap, runner)
# final = (places == places[-1]).int()
# run = final.flip(0).cumprod(0).sum(0)               # tensor([2, 2, 4]): laps in a row, counted from the end
# len(places) - run                                   # tensor([2, 2, 0])
# ```
#
# </details>

# %%
def logit_lens(residuals, norm, head):
    """L + 1 tensors (…, T, C), two functions → (…, T) int64: since which layer it is decided."""
    ### BEGIN SOLUTION
    top = torch.stack([head(norm(x)).argmax(dim=-1) for x in residuals])
    decided = torch.full_like(top[-1], len(residuals) - 1)
    for layer in reversed(range(len(residuals))):
        still = (decided == layer + 1) | (layer == len(residuals) - 1)  # an unbroken run to the end
        decided = torch.where(still & (top[layer] == top[-1]), layer, decided)
    return decided
    ### END SOLUTION

# %%
check("05.logit_lens", logit_lens)

# %% [markdown] tags=["solution"]
# **Why it works.** Going down from the last layer, a position's answer moves along as long as the run is unbroken:
# `decided == layer + 1` says that it has come this far, and one other top token stops it for good. Whatever happened
# below is then of no interest.
#
# **The most common wrong road** looks for the first layer with the right token, `(top == top[-1]).int().argmax(0)`: it
# counts a token that was on top by chance and lost its place again. The second is to leave out the norm. The head has
# only ever seen normalised vectors; without the norm's gain and bias other tokens come out on top, in silence.
#
# On a model with random weights, whose blocks hardly change the stream, nearly all is decided before the first block.
# Let the blocks write eight times as much, and it is decided late:

# %% tags=["solution"]
config = ModelConfig("gpt2", layers=6, width=48, heads=3, kv_heads=3, head_size=16, mlp_width=192,
                     vocab_size=320, activation="gelu")  # fmt: skip
tokens = torch.randint(320, (4, 40), generator=torch.Generator().manual_seed(2))
for times in (1, 8):
    model, record = GPT(config), {}
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith(("attn.out.weight", "mlp.down.weight")):
                p.mul_(times)
        model(tokens, record=record)
        since = logit_lens(record["residual"], model.norm, model.head)
    counts = torch.bincount(since.flatten(), minlength=config.layers + 1).tolist()
    print(f"writers times {times}: positions decided since layer 0 … 6: {counts}")

# %% [markdown]
# ## 05.10 parallel_block: two parts at once
#
# *write · difficulty 4/5 · 25 min · further · unaided · idea: branches that read the same input are one wide branch*
#
# **Assistant off: no AI, no hints at first, only the lesson and your own experiments.** This is the test of whether
# the block is now yours.
#
# In GPT-J and PaLM attention and MLP do not work one after the other. Both read the *same* normalised copy of the
# stream, and both answers are added to it (Chowdhery et al. 2022, arXiv 2204.02311, section 2):
#
# $$y = x + \text{attention}(\text{norm}(x)) + \text{MLP}(\text{norm}(x))$$
#
# Then all that reads the copy can be one large matrix product, and all that is written back another. Write
# `parallel_block(x, gain, w_in, w_out, heads, head_size)`:
#
# - `x` (B, T, C): the stream
# - `gain` (C,): of the one LayerNorm; it has no bias, and adds 1e-5 to the variance
# - `w_in` (C, 3 · H · D + M): its columns are, in this order, the H · D of the queries, those of the keys, those of the
#   values, and the M of the MLP's hidden layer; in each group of H · D head after head, D columns each
# - `w_out` (H · D + M, C): its rows belong first to the heads' outputs, head after head, then to the MLP's hidden layer
# - `heads` H, `head_size` D; D need not be C / H, and M need not be 4C
# - result (B, T, C): causal attention with scores divided by √D; GELU in its tanh form on the hidden layer, and on
#   nothing else; no biases anywhere. Leave `x` as it was.
#
# An example with B = T = H = D = M = 1 and C = 2. The copy of (3, 1) is (1, −1). The value is 1 and the hidden number
# is 2. `w_out` puts the first branch on feature 0 and the second on feature 1:
# ```python
# w_in = torch.tensor([[0.0, 0.0, 1.0, 1.0],       # columns: query, key, value, hidden
#                      [0.0, 0.0, 0.0, -1.0]])
# x = torch.tensor([[[3.0, 1.0]]])
# parallel_block(x, torch.ones(2), w_in, torch.eye(2), 1, 1)
#                                  # tensor([[[4.00, 2.95]]]): 3 + 1, and 1 + GELU(2) = 1 + 1.95
# ```
#
# <details><summary>Hint 1</summary>
#
# After one product with `w_in` you hold (B, T, 3 · H · D + M) numbers. Where do you have to cut, and which of the
# pieces must be taken apart further before attention can use them?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A matrix product treats each column by itself, so that matrices side by side are computed in one go and cut apart
# afterwards; on the way back, `[a, b] @ [[A], [B]]` is `a @ A + b @ B`: two things side by side, times matrices one
# above the other, are added for free. Heads are cut and glued as in lesson 04, section 6; norm, GELU and the sum are
# sections 1 to 4 here.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two shops price a basket, each in its own way, from the same prices without tax. The
# first halves its two parts, the second takes the root of its one.
# ```python
# baskets = torch.tensor([[2.0, 3.0], [4.0, 0.0]])                     # (basket, good)
# w = torch.tensor([[1.0, 0.0, 5.0], [0.0, 1.0, 2.0]])                 # two columns for shop 1, one for shop 2
# first, second = (baskets @ w).split([2, 1], dim=-1)
# together = torch.cat([first / 2, second.sqrt()], dim=-1)             # (2, 3): side by side again
# together @ torch.tensor([[1.0], [1.0], [10.0]])                      # tensor([[42.5], [46.72]]): both shops, added
# ```
#
# </details>

# %%
def parallel_block(x, gain, w_in, w_out, heads, head_size):
    """x (B, T, C), gain (C,), w_in (C, 3HD + M), w_out (HD + M, C), H, D → (B, T, C)."""
    ### BEGIN SOLUTION
    B, T, C = x.shape
    wide = heads * head_size
    normed = F.layer_norm(x, (C,), gain, eps=1e-5)
    q, k, v, hidden = (normed @ w_in).split([wide, wide, wide, w_in.shape[1] - 3 * wide], dim=-1)
    q, k, v = (t.view(B, T, heads, head_size).transpose(1, 2) for t in (q, k, v))
    looked = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    looked = looked.transpose(1, 2).reshape(B, T, wide)
    bent = F.gelu(hidden, approximate="tanh")
    return x + torch.cat([looked, bent], dim=-1) @ w_out
    ### END SOLUTION

# %%
check("05.parallel_block", parallel_block)  # 05.10

# %% [markdown] tags=["solution"]
# **Why it works.** One product reads, `split` cuts it into four pieces, three of them meet in attention while the
# fourth is bent, and one product writes both answers back and adds them. The stream is read once and written once.
#
# **The most common wrong road** is to do what you know: attention first, then an MLP that reads the stream with
# attention's answer in it. That is another model; with equal weights its output differs. The next is to split in groups
# of 3 · D for each head, which some published models do: the order of columns is a convention, and the shapes in a file
# of weights do not tell you which.
#
# **Beyond.** What is lost? The MLP no longer sees what attention of the same block has found; it has to wait for the
# next block. The PaLM paper reports a small loss of quality at 8 billion parameters and none at 62 (Chowdhery et al.
# 2022), in exchange for faster training. In lesson 23 you will see what it saves when a block is spread over several
# GPUs.
