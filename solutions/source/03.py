# %% [markdown]
# # 03 · Next token: exercises
#
# Nine exercises, two hours in all; the three marked *core* are enough to go on. Write your function, run the cell below
# it, and read what `check` says: it tells you which idea produced your result. Being stuck on one never blocks the
# next. Of the three hints the first is a question; try again before you open another.
#
# In all of them tokens are whole numbers from 0 to V − 1, V being the size of the vocabulary, and `ids` is a text: a
# tensor of N of them, shape (N,), dtype int64.

# %% tags=["setup"]
import math

import torch
import torch.nn.functional as F

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 03.1 bigram_counts: what came after what
#
# *write · difficulty 1/5 · 5 min · core · try first · idea: all that a bigram model learns is a table of counts*
#
# **Try this before you read section 1.** What tends to follow token 7? Go through a text and count. Write
# `bigram_counts(ids, V)`:
#
# - `ids` (N,) int64: the text, at least one token, each from 0 to V − 1
# - V: the size of the vocabulary; not every token need occur
# - result (V, V) int64: `[a, b]` says how often token b stands right after token a
#
# ```python
# bigram_counts(torch.tensor([0, 0, 1, 0, 1]), 3)  # tensor([[1, 2, 0],   after a 0: once a 0, twice a 1
#                                                  #         [1, 0, 0],   after a 1: once a 0
#                                                  #         [0, 0, 0]])  there is no 2
# ```
#
# <details><summary>Hint 1</summary>
#
# How many pairs of neighbours does a text of N tokens have? In how many of them does its first token come second?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The text without its last token and the text without its first, side by side, are all the pairs (section 2). Each of
# them adds one to one place of the table, also if that place has had something before. A loop will do.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two dice are thrown four times. How often did which pair come?
# ```python
# red, blue = torch.tensor([1, 0, 1, 1]), torch.tensor([2, 3, 2, 0])
# table = torch.zeros(2, 4, dtype=torch.int64)
# for r, b in zip(red, blue):
#     table[r, b] += 1
# table                    # tensor([[0, 0, 0, 1],
#                          #         [1, 0, 2, 0]])
# table[red, blue] += 1    # not the same: a place that is named twice gets one only once
# ```
#
# </details>

# %%
def bigram_counts(ids, V):
    """ids (N,) int64 → (V, V) int64: how often token b stands right after token a, at [a, b]."""
    ### BEGIN SOLUTION
    pairs = ids[:-1] * V + ids[1:]  # one number for each pair: its place in the table, row by row
    return torch.bincount(pairs, minlength=V * V).view(V, V)
    ### END SOLUTION

# %%
check("03.bigram_counts", bigram_counts)

# %% [markdown] tags=["solution"]
# **Why it works.** In a table of V columns, row a and column b is place a · V + b. `bincount` counts how often each
# place is named; `minlength` sees to it that places after the last one that is named exist too. A loop of
# `counts[a, b] += 1` says the same, and is as good for a short text; for a long one it takes much longer.
#
# **The most common wrong road** is `counts[ids[:-1], ids[1:]] += 1`. It reads like the loop, but PyTorch first reads
# all places, then adds one to what it read, then writes: a place that is named a hundred times is written a hundred
# times with the same number. `counts.index_put_((ids[:-1], ids[1:]), torch.tensor(1), accumulate=True)` adds up. The
# same trap waits in 03.7, where gradients are added up.

# %% [markdown]
# ## 03.2 add_k: nothing is impossible
#
# *fill · difficulty 2/5 · 10 min · core · idea: what you add above you must add below, once for each token*
#
# A model that gives a token the probability 0 pays infinitely much if it comes. Add-k smoothing acts as if every token
# had been seen k times more after every context. Two lines of `add_k(counts, k)` are missing: replace the dots.
#
# - `counts` (C, V) int64: row c tells how often each of V tokens came after context c. (For a bigram model a context is
#   one token, so C = V. After two tokens there are V² contexts.)
# - `k`: a number above 0, not always a whole one
# - result (C, V) float32: probabilities. Each row adds up to one; a row of zeros becomes uniform.
#
# ```python
# add_k(torch.tensor([[3, 1, 0, 0], [0, 0, 0, 0]]), 1.0)  # tensor([[0.5000, 0.2500, 0.1250, 0.1250],
#                                                         #         [0.2500, 0.2500, 0.2500, 0.2500]])
# ```
#
# <details><summary>Hint 1</summary>
#
# A row holds 4 counts that add up to 10, and k is 0.5. What do the raised counts add up to?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Probabilities of one context are shares of one total (section 3). So the number below is the sum of the numbers above,
# for each row by itself; and it must have the shape (C, 1), so that PyTorch shares it out along the row.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a shop shows stars. One customer who gives five should not beat fifty who give 4.2 on
# average, so every article gets two made-up customers who give three.
# ```python
# stars, customers = torch.tensor([5.0, 4.2]), torch.tensor([1, 50])
# total = stars * customers + 3.0 * 2       # what is added here …
# total / (customers + 2)                   # … is counted here: tensor([3.6667, 4.1538])
# ```
#
# </details>

# %%
def add_k(counts, k):
    """counts (C, V) int64, k > 0 → (C, V) float32: each row the probabilities after one context."""
    ### BEGIN SOLUTION
    raised = counts + k
    total = raised.sum(dim=1, keepdim=True)
    ### STUB
    # raised = ...  # (C, V): as if each token had been seen k times more
    # total = ...  # (C, 1): what each row of them adds up to
    ### END SOLUTION
    return raised / total

# %%
check("03.add_k", add_k)

# %% [markdown] tags=["solution"]
# **Why it works.** Each row is divided by its own sum, so it adds up to one whatever k is. Written with the old counts,
# the total is `counts.sum(dim=1, keepdim=True) + k * V`: k for *each* of the V tokens. After an unseen context all
# raised counts are k, and k / (k · V) is 1/V, for any k.
#
# **The most common wrong roads** are to add k below only once, so that a row adds up to more than one and the model
# looks better than it is; and to leave out `keepdim`. Then a (C, V) is divided by a (C,). If C and V differ, PyTorch
# complains. In a bigram table they do not, and each *column* is divided by the sum of the row with its number.
#
# **What follows.** With V = 50,000 tokens and k = 1, the row of a context that was seen ten times holds 10 counts of its
# own and 50,000 that k has added. Add-k takes the most from those who have the least to give; section 4 does better.

# %% [markdown]
# ## 03.3 perplexity: two mistakes that make a number
#
# *fix · difficulty 2/5 · 10 min · further · idea: the mean of logarithms first, the exponential last*
#
# This function runs, and its result looks like a perplexity. Two things are wrong with it. Mend `perplexity(log_probs,
# mask)`:
#
# - `log_probs` (B, T) float32: the natural logarithm of the probability that the model gave to the token that came, for
#   T positions in each of B sequences
# - `mask` (B, T) bool: True where there is a token. The rest is padding; what stands there means nothing, and may be any
#   number, −∞ included. At least one entry is True.
# - result: one number, a tensor of no dimension: the perplexity over all tokens of the batch. It is infinite if the
#   model gave the probability 0 to one of them.
#
# Perplexity is e to the power of the mean loss: with the probabilities 1/2 and 1/8 the losses are ln 2 and ln 8, their
# mean is ln 4, and the perplexity is 4. It is as if each token had been drawn from 4 equal ones.
# ```python
# log_probs = torch.tensor([[1 / 2, 1 / 8, 1.0], [1 / 4, 1.0, 1.0]]).log()
# mask = torch.tensor([[True, True, False], [True, False, False]])
# perplexity(log_probs, mask)                  # should be tensor(4.), and is tensor(2.8333)
# ```
#
# <details><summary>Hint 1</summary>
#
# Compute the example by hand, step by step. Which six numbers does the function average, and how many tokens are there?
#
# </details>
# <details><summary>Hint 2</summary>
#
# What adds up from token to token is the loss, a logarithm; e to its power comes once, at the end (section 5). And a
# number times False is not always 0: on a computer 0 · ∞ is NaN. Select, do not multiply.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: the typical size of an error, root mean square, where some readings are missing.
# ```python
# error = torch.tensor([[3.0, -4.0], [0.0, math.nan]])
# there = ~error.isnan()
# error[there].square().mean().sqrt()    # tensor(2.8868): select, square, mean, and the root once, at the end
# error[there].square().sqrt().mean()    # tensor(2.3333): the root of each, and the mean of them: something else
# ```
#
# </details>

# %%
def perplexity(log_probs, mask):
    """log_probs (B, T), mask (B, T) bool, True where there is a token → tensor of no dimension."""
    ### BEGIN SOLUTION
    return torch.exp(-log_probs[mask].mean())
    ### STUB
    # losses = -log_probs * mask
    # return losses.exp().mean()
    ### END SOLUTION

# %%
check("03.perplexity", perplexity)

# %% [markdown] tags=["solution"]
# **Why it works.** `log_probs[mask]` is a vector of the tokens that count, whatever stands elsewhere. Its mean is over
# tokens, so that a long sequence counts for more than a short one.
#
# **What was wrong.** Padding came in as loss 0, that is as a token predicted with certainty, six numbers where three
# are tokens. And the exponential was taken of each token: the mean of 1/p instead of one over the geometric mean of p.
# One token with p = 1/1,000,000 then weighs as much as a hundred thousand with p = 1/10.
#
# **The most common half-way** is `(-log_probs * mask).sum() / mask.sum()`. It is right until padding holds −∞, and then
# it is NaN. Another is a perplexity for each sequence, averaged: an exponential of means is not a mean of exponentials
# either. And a number does not tell that it is padding: a token of probability 1 has a loss of 0 too, and one of
# probability 0 an infinite one. Only the mask knows.

# %% [markdown]
# ## 03.4 bits_per_byte: from losses to the figure that compares
#
# *write · difficulty 2/5 · 10 min · core · idea: add up all bits, add up all bytes, divide once*
#
# A model has read a text and paid for each token. The tokens are of different lengths. Write `bits_per_byte(nats,
# token_bytes)`:
#
# - `nats` (N,) float32: the loss at each token, in nats
# - `token_bytes` (N,) int64: how many bytes of text the token stands for. It is 0 for `<|endoftext|>`, which stands for
#   no text: such a token is left out, and so is its loss. At least one token has bytes.
# - result: one number, the bits per byte of the text; a tensor of no dimension or a float
#
# ```python
# nats = torch.tensor([2.0, 1.0, 5.0]) * math.log(2)          # 2, 1 and 5 bits
# bits_per_byte(nats, torch.tensor([4, 2, 0]))                # 0.5: 3 bits for 6 bytes
# ```
#
# <details><summary>Hint 1</summary>
#
# One token of 10 bytes costs 5 bits, and ten tokens of one byte cost 2 bits each. How many bits does the text cost, and
# how many bytes has it?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Bits per byte answers: if I stored the text with this model's help, how large would the file be, compared with the
# text? (Section 5.) A file has one size, and a text has one. Two sums and one division; a nat is more than a bit.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: what does a car use for 100 kilometres, after one short trip and one long one?
# ```python
# litres, km = torch.tensor([2.0, 6.0]), torch.tensor([10.0, 150.0])
# 100 * litres.sum() / km.sum()          # tensor(5.)
# (100 * litres / km).mean()             # tensor(12.): every trip has the same say, however short
# ```
#
# </details>

# %%
def bits_per_byte(nats, token_bytes):
    """nats (N,), token_bytes (N,) int64, 0 for what is no text → bits per byte, one number."""
    ### BEGIN SOLUTION
    text = token_bytes > 0
    return nats[text].sum() / math.log(2) / token_bytes[text].sum()
    ### END SOLUTION

# %%
check("03.bits_per_byte", bits_per_byte)

# %% [markdown] tags=["solution"]
# **Why it works.** The total is what an archive of the text would need; dividing it by the bytes makes texts of
# different lengths comparable. How the text was cut into tokens appears nowhere in the result.
#
# **The most common wrong road** is `(nats / token_bytes).mean()`: the mean of the tokens' ratios. Short tokens are the
# expensive ones, byte for byte, and now they have as much say as long ones. It also breaks at a token of 0 bytes.
#
# **Why `<|endoftext|>` is left out** is a matter of agreement; what counts is that two figures that are compared agree
# on it. `minigpt.evaluate` leaves it out too: where a document ends is not a part of its text.

# %% [markdown]
# ## 03.5 interpolate: put the lines in order
#
# *order · difficulty 3/5 · 15 min · further · idea: each longer context corrects what the shorter ones have said*
#
# A long context knows much and has seldom been seen; a short one knows little and has been seen often. Interpolation
# asks all of them, from the shortest up. It starts with the uniform distribution. Then n = 0, 1, 2, …: if the last n
# tokens have been seen in training, λₙ of the probability goes as their counts say, and the rest stays as the shorter
# contexts have said. If they have not been seen, n changes nothing.
#
# The lines of this are shuffled, each behind a `#`. **Three steps are there twice, once right and once wrong**: delete
# the wrong ones, and put the rest in order (in Jupyter, Alt+Up and Alt+Down move a line) with the right indentation. n
# counts the tokens of the context, one less than in the formula of section 4, and the λ are given.
#
# - `counts_by_order`: a list of dictionaries, one for n = 0, 1, 2, …. Its keys are tuples of n tokens, and the value is
#   a tensor (V,) int64: how often each token came right after them. `counts_by_order[0]` has one key, the empty tuple.
# - `context`: a tuple of tokens, the text so far; it has at least as many as the longest n
# - `lambdas`: a list with λₙ for each n, numbers from 0 to 1
# - result (V,) float32: the probability of each token to come next
#
# The next cell defines `count_orders(ids, V, longest)`, which makes such a list of a text.
# ```python
# tables = count_orders([0, 1, 0, 1, 1], 2, 1)     # [{(): [2, 3]}, {(0,): [0, 2], (1,): [1, 1]}], as tensors
# interpolate(tables, (1, 0), [0.5, 0.8])          # tensor([0.0900, 0.9100])
# # n = 0: half of [2/5, 3/5] and half of [1/2, 1/2] is [0.45, 0.55]
# # n = 1: the last token is 0: 0.8 of [0, 1] and 0.2 of [0.45, 0.55]
# ```
#
# <details><summary>Hint 1</summary>
#
# The context is (5, 3, 8). Which tuple do you look up for n = 2, and which for n = 0?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Follow `p` through the loop: it is always a distribution, before and after each round (section 4). What enters it must
# be one too: the counts *of this context* divided by their own sum. The last n tokens end where the context ends.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: what does a house cost? The country's mean is a start; the town knows better, the
# street better still, if a house was sold there.
# ```python
# means = [{"town": 400.0}, {"Hill Street": 250.0}]                # in thousands
# estimate = 300.0                                                 # the country's
# for known, place, trust in zip(means, ["town", "Mill Lane"], [0.5, 0.8]):
#     if place in known:
#         estimate = trust * known[place] + (1 - trust) * estimate
# estimate                                                         # 350.0: nothing was sold in Mill Lane
# ```
#
# </details>

# %% tags=["setup"]
def count_orders(ids, V, longest):
    """A list of tokens → for n = 0 … longest, {tuple of n tokens: (V,) counts of what came}."""
    tables = [{} for _ in range(longest + 1)]
    for n, table in enumerate(tables):
        for i in range(n, len(ids)):
            row = table.setdefault(tuple(ids[i - n : i]), torch.zeros(V, dtype=torch.int64))
            row[ids[i]] += 1
    return tables

# %%
def interpolate(counts_by_order, context, lambdas):
    """Counts after the last n tokens, for n = 0, 1, …; a tuple of tokens; λ for each n → (V,)."""
    ### BEGIN SOLUTION
    V = len(counts_by_order[0][()])
    p = torch.full((V,), 1 / V)
    for n, table in enumerate(counts_by_order):
        seen = context[len(context) - n :]
        if seen in table:
            longer = table[seen] / table[seen].sum()
            p = lambdas[n] * longer + (1 - lambdas[n]) * p
    return p
    ### STUB
    # # longer = table[seen] / sum(row.sum() for row in table.values())
    # # seen = context[len(context) - n :]
    # # p = lambdas[n] * longer + (1 - lambdas[n]) * p
    # # for n, table in enumerate(counts_by_order):
    # # longer = table[seen] / table[seen].sum()
    # # return p
    # # p = (1 - lambdas[n]) * longer + lambdas[n] * p
    # # if seen in table:
    # # V = len(counts_by_order[0][()])
    # # seen = context[:n]
    # # p = torch.full((V,), 1 / V)
    # raise NotImplementedError("your code here")
    ### END SOLUTION

# %%
check("03.interpolate", interpolate)

# %% [markdown] tags=["solution"]
# **Why it works.** A mixture of two distributions with the weights λ and 1 − λ is a distribution again, so `p` adds up
# to one after every round. It starts uniform, so that no token ever has probability 0 as long as all λ are below one.
# Where a context is unknown, `p` simply stays: this is the back-off.
#
# **The wrong twins.** `context[:n]` looks at the beginning of the text, not at its end. Dividing by the sum over *all*
# contexts gives the probability of context and token together, which is small, and adds up to less than one. And with
# 1 − λ for the longer context, you trust it the less the more you meant to trust it.
#
# **One more trap**, not among the lines: `context[-n:]` is right for n = 1, 2, … and wrong for n = 0, where −0 is 0 and
# the slice is the whole context. Then the counts of single tokens are never found.

# %% [markdown]
# ## 03.6 continuation: in how many places have you been seen?
#
# *write · difficulty 3/5 · 15 min · further · idea: for a new context, variety says more than frequency*
#
# In a text about California "Francisco" is a frequent word, but it stands after "San" and hardly anywhere else. After a
# context that you have never seen, it is a bad guess, however frequent it is. Kneser–Ney smoothing therefore backs off
# to another distribution: not how *often* a token has occurred, but after how many **different** tokens. Write
# `continuation(pairs, V)`:
#
# - `pairs` (M, 2) int64: a row for each pair of neighbours in the text, as often as it occurs: (token, next token).
#   M is at least 1.
# - V: the size of the vocabulary
# - result (V,) float32: for each token b, the number of different tokens that it has followed, divided by the number of
#   different pairs. So it adds up to one.
#
# ```python
# pairs = torch.tensor([[0, 1], [0, 1], [0, 1], [0, 2], [1, 2], [3, 2]])
# continuation(pairs, 4)           # tensor([0.0000, 0.2500, 0.7500, 0.0000])
# # tokens 1 and 2 both come three times; token 1 always after 0, token 2 after 0, 1 and 3
# ```
#
# <details><summary>Hint 1</summary>
#
# The text is doubled: every pair occurs twice as often. Which of the numbers change?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Throw away how often each pair has come, and count what is left by its second token (section 4). `torch.unique` with
# `dim=0` keeps one of each row; a Python set of tuples does as well; so does a table of counts, if you ask it where it
# is not zero.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: which club has members in the most towns? The list has a line for each visit.
# ```python
# visits = [("chess", "Oslo"), ("choir", "Rome"), ("chess", "Oslo"), ("choir", "Bern"), ("chess", "Oslo")]
# clubs = [club for club, town in set(visits)]
# clubs.count("chess"), clubs.count("choir")       # (1, 2): chess has more visits, the choir more towns
# ```
#
# </details>

# %%
def continuation(pairs, V):
    """pairs (M, 2) int64: (token, next token) → (V,) float32: shares of the different pairs."""
    ### BEGIN SOLUTION
    different = torch.unique(pairs, dim=0)
    places = torch.bincount(different[:, 1], minlength=V)
    return places / len(different)
    ### END SOLUTION

# %%
check("03.continuation", continuation)

# %% [markdown] tags=["solution"]
# **Why it works.** `unique` leaves each pair once. Then a token occurs in the second column as often as it has had
# different predecessors. Every different pair is counted for exactly one token, so the shares add up to one. With a
# table of counts it is one line: `(counts > 0).sum(dim=0) / (counts > 0).sum()`.
#
# **The most common wrong roads** are to count the wrong column (after how many tokens *have been seen* to follow b: how
# varied its future is, not its past), and to divide by the number of all pairs, repeated ones included, which no longer
# adds up to one.
#
# **What follows.** In a full Kneser–Ney model this distribution takes the place of the counts at every shorter context.
# The same question helps elsewhere: when you count examples, ask whether ten copies of one are ten.

# %% [markdown]
# ## 03.7 bigram_gradient: p − y, by hand
#
# *write · difficulty 3/5 · 20 min · further · idea: the gradient of the loss with respect to the logits is p − y*
#
# The network of section 7 has one table of parameters `W` (V, V): row a holds the logits after token a. For a text its
# loss is the mean, over the N − 1 predictions, of the cross-entropy between `softmax(W[ids[t]])` and the token that
# came, `ids[t + 1]`, in nats. Write `bigram_gradient(W, ids)`, the gradient of this loss, **by hand, without autograd**:
#
# - `W` (V, V) float32
# - `ids` (N,) int64, at least two tokens
# - result (V, V) float32: how the loss changes with each number of `W`
#
# ```python
# bigram_gradient(torch.zeros(2, 2), torch.tensor([0, 1, 1, 1]))   # tensor([[ 0.1667, -0.1667],
#                                                                  #         [ 0.3333, -0.3333]])
# # three predictions, p is (½, ½) in each, and 1 came: each gives (½, −½) / 3 to the row that it used
# ```
# Then check it yourself, before you run `check`: let PyTorch compute the same with `backward()`.
#
# <details><summary>Hint 1</summary>
#
# Token 5 does not occur in the text. What is the gradient of its row? And if it occurs ten times, how many predictions
# have pulled at this row?
#
# </details>
# <details><summary>Hint 2</summary>
#
# For one prediction the gradient with respect to its logits is p − y, where y is one at the token that came and zero
# elsewhere (section 7). It belongs to the row that gave these logits. Rows that are used several times add up what they
# get; the mean divides by the number of predictions.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: each film has one number `b`, the guess for its rating. The loss is the mean of half
# the squared error, so the gradient of one rating is guess − rating, for the film that was rated.
# ```python
# b, film, rating = torch.zeros(3), torch.tensor([0, 2, 0]), torch.tensor([1.0, 3.0, 5.0])
# error = b[film] - rating
# torch.zeros(3).index_add_(0, film, error) / len(film)      # tensor([-2.,  0., -1.]): film 0 has two ratings
# ```
# `index_add_` adds row i of its last argument to the row that `film[i]` names; `+=` with indices would keep only one.
#
# </details>

# %%
def bigram_gradient(W, ids):
    """W (V, V) float32, ids (N,) int64 → (V, V): the gradient of the mean cross-entropy."""
    ### BEGIN SOLUTION
    before, after = ids[:-1], ids[1:]
    pull = torch.softmax(W[before], dim=-1)  # (N - 1, V): p, and soon p - y
    pull[torch.arange(len(after)), after] -= 1
    return torch.zeros_like(W).index_add_(0, before, pull) / len(after)
    ### END SOLUTION

# %%
check("03.bigram_gradient", bigram_gradient)

# %% [markdown] tags=["solution"]
# **Why it works.** The loss of one prediction is −W[a, b] + log Σ exp W[a, ·]. The first part has the gradient −1 at b;
# the second has the softmax. So the pull is p − y, and it is zero when the model gives all of its probability to what
# came. (`W[before]` is a copy, so that `-= 1` changes nothing of the caller's. In each row one place is named, once.)
#
# **With counts** the same is `(n * softmax(W) - counts) / (N - 1)`, where n is how often each row was used. It is zero
# where softmax(W) = counts / n: gradient descent ends at the table that you counted in 03.1.
#
# **The most common wrong road** is `gradient[before] += pull`: a token that is read ten times keeps the pull of one of
# them. The sizes look right and training even works, slowly, since every step goes roughly downhill.

# %% [markdown]
# ## 03.8 best_k: let the development text decide
#
# *measure · difficulty 3/5 · 15 min · further · idea: choose on text that was not counted*
#
# How large should the k of 03.2 be? The training text cannot say: it likes k = 0 best. The held-out text must not be
# asked, for then it would no longer tell how the model does on new text. So a third text decides. Write
# `best_k(counts_train, ids_dev, ks)`:
#
# - `counts_train` (V, V) int64: the bigram counts of the training text, as 03.1 makes them
# - `ids_dev` (N,) int64: the development text, at least two tokens. Its N − 1 pairs are predicted; its first token is
#   not.
# - `ks`: a list of numbers above 0, different ones, in any order
# - result: a tuple `(k, bits)`: the k of the list with which the add-k model needs the fewest **bits per token** on the
#   development text, and that number of bits
#
# You may call your own `add_k`.
# ```python
# counts_train = torch.tensor([[6, 2], [1, 1]])
# best_k(counts_train, torch.tensor([0, 0, 0, 1, 1]), [4.0, 1.0])     # (1.0, 0.9415)
# # k = 1: p = 7/10, 7/10, 3/10, 2/4, that is (0.515 + 0.515 + 1.737 + 1) / 4 bits
# ```
#
# <details><summary>Hint 1</summary>
#
# Which text makes the table of probabilities, and which text looks up in it? How many look-ups are there for N tokens?
#
# </details>
# <details><summary>Hint 2</summary>
#
# For each k: smooth the training counts, look up the probability of each pair of the development text, take −log₂, and
# the mean (sections 3 and 5). Fewest is best. `table[rows, columns]` with two tensors of indices looks up all pairs at
# once.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: tomorrow's temperature is guessed as the season's mean plus a share of today's
# difference from it. Which share? The old years give the mean, another year decides.
# ```python
# season, year = 10.0, torch.tensor([12.0, 11.0, 10.0, 13.0])
# def error(share):
#     guess = season + share * (year[:-1] - season)
#     return (guess - year[1:]).square().mean().item()
#
# best = min([1.0, 0.5, 0.0], key=error)
# best, error(best)                          # (0.5, 3.0833)
# ```
#
# </details>

# %%
def best_k(counts_train, ids_dev, ks):
    """counts_train (V, V), ids_dev (N,), ks: a list → (the best k, its bits per token)."""
    ### BEGIN SOLUTION
    bits = {}
    for k in ks:
        raised = counts_train + k
        table = raised / raised.sum(dim=1, keepdim=True)
        bits[k] = -table[ids_dev[:-1], ids_dev[1:]].log2().mean().item()
    best = min(bits, key=bits.get)
    return best, bits[best]
    ### END SOLUTION

# %%
check("03.best_k", best_k)

# %% [markdown] tags=["solution"]
# **Why it works.** The table is made of training counts only, and judged on pairs that it has not counted. Too small a
# k pays dearly for each pair that is new; too large a k takes from the frequent pairs what they need. In between lies a
# minimum, and it is flat.
#
# **The most common wrong road** is to let the training text decide. There nothing is new, and the smallest k of any
# list wins. Here are both, on letters:

# %% tags=["solution"]
from minigpt.text.sources import builtin, usable_domains

usable, _ = usable_domains(["books", "speeches", "code"])
texts = sorted((d.text for d in builtin(usable[:1])), key=len)
text = texts[-1][:300_000].encode()
letters = torch.tensor(list(text))
train, dev = letters[:20_000], letters[-20_000:]
counts = bigram_counts(train, 256)
for k in (0.001, 0.01, 0.1, 1.0, 10.0):
    print(f"k = {k:<6} on the training text {best_k(counts, train, [k])[1]:.3f} bits a byte,",
          f"on the development text {best_k(counts, dev, [k])[1]:.3f}")

# %% [markdown] tags=["solution"]
# Both texts are parts of one book here, and one book's k is not another's. The number of bits that comes with the best
# k is a little too good: it is the least of several, chosen on this very text. Report what the held-out text says.

# %% [markdown]
# ## 03.9 cache_model: what was said a moment ago
#
# *write · difficulty 4/5 · 25 min · further · unaided · idea: mixing two predictions*
#
# **Assistant off: no AI, no hints at first, only the lesson and your own experiments.** This is the test of whether
# probabilities, mixtures and code lengths are now yours.
#
# A name that has just occurred is likely to occur again, however rare it is in other texts. Kuhn and De Mori (1990, "A
# cache-based natural language model for speech recognition") gave a speech recogniser a *cache*: besides its fixed
# tables it counts the recent words of the present text, and mixes the two. (Grave, Joulin and Usunier 2016, arXiv
# 1612.04426, put a cache beside a neural model.) Write `cache_model(bigram, ids, n, share)`:
#
# - `bigram` (V, V) float32: a fixed table, all above zero; row a holds the probabilities after token a
# - `ids` (N,) int64: the text, at least two tokens
# - `n`: how many tokens the cache holds, at least 1: the last n before the one that is predicted. Near the beginning
#   there are fewer, and then it holds those.
# - `share`: from 0 to below 1, the weight of the cache. The cache gives each token its share of the tokens it holds. The
#   rest of the weight goes to the bigram.
# - result (N − 1,) float32: for each token but the first, the length of its code in **bits**
#
# ```python
# bigram = torch.full((4, 4), 0.25)                                # knows nothing: 2 bits for every token
# cache_model(bigram, torch.tensor([3, 3, 1, 3]), 2, 0.5)          # tensor([0.6781, 3.0000, 1.4150])
# # token 1: the cache holds (3), 3 comes: 0.5 · 1/4 + 0.5 · 1 = 5/8
# # token 2: the cache holds (3, 3), 1 comes: 0.5 · 1/4 + 0 = 1/8
# # token 3: the cache holds (3, 1), 3 comes: 0.5 · 1/4 + 0.5 · 1/2 = 3/8
# ```
# When it is right, try it on a text: which n and which share save the most bits?
#
# <details><summary>Hint 1</summary>
#
# You predict token t. Write down which tokens you may look at, for t = 1, t = 2 and t = n + 3. Which of your numbers
# would change if token t were another one, before anybody has seen it?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Two models that each give a distribution are mixed as in section 4: weights that add up to one, applied to
# *probabilities*. The code length comes after, −log₂ of the mixture (section 5). Mixing code lengths is another thing:
# one model that gives 0 would then spoil everything.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a kiosk guesses today's sales, half from the season, half from up to two days before.
# ```python
# season, sold = [5.0, 5.0, 6.0, 6.0], [4.0, 9.0, 2.0, 7.0]
# for day in range(1, 4):
#     days = sold[max(0, day - 2) : day]                            # today is not among them
#     print(0.5 * season[day] + 0.5 * sum(days) / len(days))        # 4.5, 6.25, 5.75
# ```
#
# </details>

# %%
def cache_model(bigram, ids, n, share):
    """bigram (V, V), ids (N,), cache of n tokens with weight share → (N - 1,) bits."""
    ### BEGIN SOLUTION
    bits = []
    for t in range(1, len(ids)):
        recent = ids[max(0, t - n) : t]
        cached = (recent == ids[t]).float().mean()
        p = (1 - share) * bigram[ids[t - 1], ids[t]] + share * cached
        bits.append(-p.log2())
    return torch.stack(bits)
    ### END SOLUTION

# %%
check("03.cache_model", cache_model)

# %% [markdown] tags=["solution"]
# **Why it works.** The slice ends before t, so that a token never helps to predict itself, and `max(0, …)` keeps its
# beginning from becoming negative, which Python would count from the end. The mean over `recent` divides by as many
# tokens as there are.
#
# **The most common wrong roads** are a cache that already holds the token it predicts, the most tempting leak there is,
# for the code lengths become wonderful; and a division by n where there are fewer, which throws probability away at
# the beginning of the text.
#
# What it saves: the table knows how frequent words were in one long book (plus a tenth for each, add-k), and you read
# the beginning of another.

# %% tags=["solution"]
other, book = texts[-2].lower().split()[:30_000], texts[-1].lower().split()[:3_000]
number = {word: i for i, word in enumerate(dict.fromkeys(other + book))}
seen, read = (torch.tensor([number[word] for word in words]) for words in (other, book))
table = add_k(torch.bincount(seen, minlength=len(number))[None], 0.1).expand(len(number), -1)
for n, share in ((100, 0.0), (100, 0.1), (500, 0.1), (2_000, 0.1), (2_000, 0.3)):
    bits = cache_model(table, read, n, share).mean()
    print(f"n = {n:5}, share = {share}: {bits:.3f} bits a word")

# %% [markdown] tags=["solution"]
# A longer memory helps, and too much trust in it hurts. The whole is a small fraction of the cost: much of what recurs
# are words like *the*, which the table knows as well. Attention, in the next lesson, is a cache that learns what to look
# for.
