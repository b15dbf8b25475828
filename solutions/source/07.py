# %% [markdown]
# # 07 · Generation: exercises
#
# Ten exercises; the three marked *core* are enough to go on. Write your function, run the cell below it, and read what
# `check` says: it tells you which idea produced your result. Being stuck on one never blocks the next. Of the three
# hints the first is a question; try again before you open another.
#
# Letters as in the lesson: B sequences, T positions, V tokens of the vocabulary, C features of a token, D features of a
# head. In a boolean mask **True means "may look"**. Whatever is random comes in as an argument: a number u, uniform in
# (0, 1], so never 0 and perhaps 1. Your functions draw nothing themselves, so that they can be checked.

# %% tags=["setup"]
import math

import torch
import torch.nn.functional as F

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 07.1 greedy_is_not_best: two steps
#
# *predict · difficulty 1/5 · 5 min · core · try first · idea: the best first step need not begin the best path*
#
# **Try this before you read section 1.** A model writes two tokens. You are given
#
# - `p1` (V,): the probability of each token as the first one,
# - `p2` (V, V): row a holds the probabilities of each token as the second one, *after* first token a.
#
# *Greedy* writing takes the likeliest token at each step. **Predict first**, in your head: V = 3, `p1` is
# (0.5, 0.4, 0.1); after token 0 the next has probabilities (0.4, 0.3, 0.3), after token 1 (0.1, 0.9, 0.0), after token
# 2 (0.2, 0.2, 0.6). What does greedy write, how likely is that, and is there a likelier pair?
#
# Then write `greedy_is_not_best(p1, p2)`, which returns two numbers: the probability of the pair that greedy writes,
# and the probability of the likeliest pair of all. No two numbers of `p1`, or of one row of `p2`, tie for the largest.
# ```python
# p2 = torch.tensor([[0.6, 0.4],
#                    [0.0, 1.0]])
# greedy_is_not_best(torch.tensor([0.75, 0.25]), p2)       # (0.45, 0.45): here greedy is best
# greedy_is_not_best(torch.tensor([0.55, 0.45]), p2)       # (0.33, 0.45): token 0 leads, the pair (1, 1) is likelier
# ```
#
# <details><summary>Hint 1</summary>
#
# Greedy has chosen its first token. Which part of `p2` does it ever look at?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The probability of a pair is a product: of the first token, times the second *given* this first. For greedy, follow
# the two choices. For the best pair, there are V · V products; make all of them, then take the largest (section 6
# searches when there are too many to make).
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two roads lead to town, each with a first and a second half, in minutes.
# ```python
# first = torch.tensor([10.0, 12.0])                      # to village a
# second = torch.tensor([[30.0, 40.0], [15.0, 25.0]])     # row a: from village a to town, by two ways
# start = int(first.argmin())
# hasty = first[start] + second[start].min()              # tensor(40.): the shorter start, then its shorter way
# best = (first[:, None] + second).min()                  # tensor(27.): the smallest of all four sums
# ```
#
# </details>

# %%
def greedy_is_not_best(p1, p2):
    """p1 (V,), p2 (V, V), row = first token → probability of greedy's pair, and of the best."""
    ### BEGIN SOLUTION
    first = int(p1.argmax())
    greedy = p1[first] * p2[first].max()
    best = (p1[:, None] * p2).max()
    return float(greedy), float(best)
    ### END SOLUTION

# %%
check("07.greedy_is_not_best", greedy_is_not_best)

# %% [markdown] tags=["solution"]
# **The prediction.** Greedy writes (0, 0): 0.5 · 0.4 = 0.2. The pair (1, 1) has 0.4 · 0.9 = 0.36, nearly twice as much.
#
# **Why it works.** `p1[:, None]` is (V, 1), so that row a of `p2` is multiplied by the probability of its own first
# token. Greedy looks at one row only, and cannot know that another row holds a near certainty.
#
# **The most common wrong road** is `p1.max() * p2.max()`: the two largest numbers, but of a pair that does not exist,
# because the second number stands in the row of another first token. Close behind it comes `p1 * p2`, which lines `p1`
# up with the *columns*: the second token's probability is multiplied by its own probability of being first.
#
# With V tokens and n steps there are Vⁿ texts, so "all products" ends here. Beam search keeps a few of them.

# %% [markdown]
# ## 07.2 top_p: the nucleus that loses its edge
#
# *fix · difficulty 2/5 · 10 min · core · idea: the token that crosses p belongs to the nucleus*
#
# Top-p keeps, in each row, the smallest set of likeliest tokens whose probabilities reach p together, and draws from
# these alone. The function below is in use. It runs, and its texts are readable, if dull. Now and then the program
# around it stops with an error, always when the model was *sure* of its next token: then the row that comes back is all
# zeros. Two things are wrong. Mend them.
#
# `probs` (B, V) float32, each row adds up to one; `p` above 0 and at most 1 → (B, V) float32: tokens outside have
# probability 0, those inside are as likely relative to each other as before, and each row adds up to one. Tokens taken
# in order reach p when their sum is *at least* p: one that is not needed any more stays out. Among equally likely
# tokens the lower id comes first. Leave `probs` as it was.
# ```python
# top_p(torch.tensor([[0.25, 0.5, 0.125, 0.125]]), 0.7)    # tensor([[0.3333, 0.6667, 0.0000, 0.0000]])
# top_p(torch.tensor([[0.25, 0.5, 0.125, 0.125]]), 0.5)    # tensor([[0., 1., 0., 0.]]): 0.5 is reached at once
# ```
#
# <details><summary>Hint 1</summary>
#
# The likeliest token has probability 0.9 and p is 0.7. Which tokens should stay, and which does the planted code keep?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Whether a token stays is decided by what the tokens *ahead of it* have reached, not by what it reaches itself
# (section 2). So the likeliest always stays, for there is nothing ahead of it. And what is left after a cut is no
# distribution until it has been divided by its sum, row by row.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: trucks come in order, and drive onto a ferry until it has at least 50 tonnes on
# board. What is each one's share of the load?
# ```python
# tonnes = torch.tensor([20.0, 24.0, 16.0, 20.0])
# ahead = tonnes.cumsum(0) - tonnes               # tensor([ 0., 20., 44., 60.]): on board when this one comes
# load = tonnes.masked_fill(ahead >= 50, 0.0)     # tensor([20., 24., 16.,  0.]): the third one crosses, and is on
# load / load.sum()                               # tensor([0.3333, 0.4000, 0.2667, 0.0000])
# ```
#
# </details>

# %%
def top_p(probs, p):
    """probs (B, V), rows that add up to one, 0 < p ≤ 1 → (B, V), each row's nucleus."""
    ### BEGIN SOLUTION
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    ahead = ordered.cumsum(dim=-1) - ordered
    kept = ordered.masked_fill(ahead >= p, 0.0)
    kept = kept / kept.sum(dim=-1, keepdim=True)
    return torch.zeros_like(probs).scatter(-1, order, kept)
    ### STUB
    # ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    # reached = ordered.cumsum(dim=-1)
    # kept = ordered.masked_fill(reached > p, 0.0)
    # return torch.zeros_like(probs).scatter(-1, order, kept)
    ### END SOLUTION

# %%
check("07.top_p", top_p)

# %% [markdown] tags=["solution"]
# **Why it works.** `ahead` is the running sum without the token itself. It is 0 for the likeliest, so that no row can
# become empty; the token that crosses p has less than p ahead of it and stays. The division turns what is left into
# probabilities again.
#
# **What the planted bug did.** `reached > p` drops the token that crosses. With p = 0.9 and probabilities 0.8 and 0.2
# it keeps one token instead of two: the text gets duller than you asked for, and nobody notices. Where the first token
# alone is above p, it drops everything. A bug that fails loudly only when the model is sure passes every quick test
# with a young model, which is never sure.
#
# **The most common wrong road** keeps the likeliest token by a special case, `kept[:, 0] = ordered[:, 0]`. The crash is
# gone, and the crossing token is still missing in all other rows.

# %% [markdown]
# ## 07.3 sample_step: put the lines in order
#
# *order · difficulty 2/5 · 10 min · further · idea: cut first, share out afterwards, then draw*
#
# One step of sampling for one sequence, shuffled: temperature, top-k, draw. **Three lines are there twice, once right
# and once wrong**: delete the wrong ones, and put the rest in order.
#
# `logits` (V,) float32, all different; `temperature` above 0; `top_k` from 1 to V; `u` in (0, 1]. The result is the
# pair (token, probs): the id of the token drawn, a whole number, and the distribution (V,) that it was drawn from. Lay
# the tokens side by side in the order of their ids, each as long as its probability; token i ends at `ends[i]`. Drawn
# is the first token whose end is at least `u`. (`u * ends[-1]` instead of `u`, because rounding may leave the last
# end a little below 1.)
# ```python
# logits = torch.tensor([2.0, 8.0, 1.0, 4.0]).log()
# sample_step(logits, 1.0, 2, 0.6)     # (1, tensor([0.0000, 0.6667, 0.0000, 0.3333])): of 8 and 4, token 1 has 2/3
# sample_step(logits, 0.5, 3, 0.9)     # (3, tensor([0.0476, 0.7619, 0.0000, 0.1905])): 4, 64 and 16 of 84
# ```
#
# <details><summary>Hint 1</summary>
#
# Two of the lines make a cut. After which of them do the numbers that are left still add up to one?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Section 2: the temperature divides *logits*; the cut happens while they are still logits; the softmax shares out one
# among those that are left; only then can you draw. Two lines that make `ends` differ in their order: the place on the
# line has to be the *id* of a token, not its rank.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a raffle in which the two who bought the most tickets share the chances, in the
# order of their seats.
# ```python
# tickets = torch.tensor([3.0, 9.0, 1.0, 6.0])                     # of the people on seats 0 to 3
# fewest = tickets.sort(descending=True).values[1]                 # the second most
# chances = tickets.masked_fill(tickets < fewest, 0.0)             # cut first …
# chances = chances / chances.sum()                                # … then share: tensor([0.0, 0.6, 0.0, 0.4])
# (chances.cumsum(0) < 0.7).sum()                                  # tensor(3): the ends are 0.0, 0.6, 0.6, 1.0
# ```
#
# </details>

# %%
def sample_step(logits, temperature, top_k, u):
    """logits (V,), temperature > 0, 1 ≤ top_k ≤ V, 0 < u ≤ 1 → the token drawn, probs (V,)."""
    ### BEGIN SOLUTION
    logits = logits / temperature
    smallest = logits.sort(descending=True).values[top_k - 1]
    logits = logits.masked_fill(logits < smallest, -math.inf)
    probs = torch.softmax(logits, dim=-1)
    ends = probs.cumsum(dim=-1)
    token = int((ends < u * ends[-1]).sum())
    return token, probs
    ### STUB
    # token = int((ends < u * ends[-1]).sum())
    # probs = probs.masked_fill(logits < smallest, 0.0)
    # ends = probs.sort(descending=True).values.cumsum(dim=-1)
    # logits = logits * temperature
    # return token, probs
    # probs = torch.softmax(logits, dim=-1)
    # ends = probs.cumsum(dim=-1)
    # smallest = logits.sort(descending=True).values[top_k - 1]
    # logits = logits / temperature
    # logits = logits.masked_fill(logits < smallest, -math.inf)
    ### END SOLUTION

# %%
check("07.sample_step", sample_step)

# %% [markdown] tags=["solution"]
# **Why it works.** Each step needs what the one before it made. The cut has to come before the softmax, so that the
# probabilities of those that stay add up to one again. (Temperature and top-k may change places: dividing by a positive
# number does not change which logits are the largest. With top-p they may not.)
#
# **The wrong twins.** `* temperature` makes a text wilder when you ask for calm. The mask on `probs` leaves a
# distribution with a hole, whose sum is below one; the draw hides it, because `u * ends[-1]` stretches u to fit, but
# everyone who reads `probs` gets it wrong. And the sorted ends return a *rank*: with u near 0 always token 0, whatever
# token 0 is. That bug produces fluent nonsense, and no shape complains.

# %% [markdown]
# ## 07.4 decode_step: one token, with a cache
#
# *write · difficulty 3/5 · 15 min · core · idea: keys and values of the past do not change, so keep them*
#
# One attention head writes on. It has kept the keys and values of L positions; now comes one more position, in each of
# B sequences. Write `decode_step(x, wq, wk, wv, cache)`:
#
# - `x` (B, C): the vectors of the new position,
# - `wq`, `wk` (C, D) and `wv` (C, E): the head's matrices (here a value may have another size than a key),
# - `cache`: a pair (keys (B, L, D), values (B, L, E)), the oldest position first; L may be 0,
# - result: a pair. First the head's output for the new position, (B, E), with the usual division of the scores by √D.
#   Then the new cache, again a pair: (keys (B, L + 1, D), values (B, L + 1, E)).
#
# Leave the old cache as it was. An example with B = C = E = L = 1 and D = 4:
# ```python
# x, wq, wk, wv = torch.ones(1, 1), torch.full((1, 4), math.log(3) / 2), torch.ones(1, 4), torch.tensor([[8.0]])
# y, (keys, values) = decode_step(x, wq, wk, wv, (torch.zeros(1, 1, 4), torch.tensor([[[4.0]]])))
# y               # tensor([[7.]]): q · k is 0 and 2 ln 3, divided by √4; so ¼ · 4 + ¾ · 8
# keys            # tensor([[[0., 0., 0., 0.], [1., 1., 1., 1.]]])
# values          # tensor([[[4.], [8.]]])
# ```
#
# <details><summary>Hint 1</summary>
#
# The new position computes one query, one key and one value. Which of the three will ever be needed again? And may the
# new position look at itself?
#
# </details>
# <details><summary>Hint 2</summary>
#
# First append, then attend (section 4): the new key and value join the old ones along the axis of positions, and the
# one query is compared with all L + 1 keys. No mask is needed, for everything in the cache is past or present. Give the
# query an axis of length 1 for its position, so that the shapes are those of attention with T = 1, and take it away at
# the end.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two shops note each day's sales; after each new day you want the mean of all days,
# without adding up the old ones anew.
# ```python
# def add_day(sales, notes):                                      # sales (2,), notes (2, days)
#     notes = torch.cat([notes, sales[:, None]], dim=1)           # a new tensor: the old notes stay as they were
#     return notes.mean(dim=1), notes
#
# means, notes = add_day(torch.tensor([5.0, 1.0]), torch.tensor([[1.0, 3.0], [4.0, 7.0]]))
# means, notes.shape                                              # tensor([3., 4.]), torch.Size([2, 3])
# ```
#
# </details>

# %%
def decode_step(x, wq, wk, wv, cache):
    """x (B, C), wq, wk (C, D), wv (C, E), cache (B, L, D), (B, L, E) → (B, E), longer cache."""
    ### BEGIN SOLUTION
    x = x[:, None]  # (B, 1, C): one position
    keys = torch.cat([cache[0], x @ wk], dim=1)
    values = torch.cat([cache[1], x @ wv], dim=1)
    scores = (x @ wq) @ keys.transpose(1, 2) / math.sqrt(keys.shape[-1])  # (B, 1, L + 1)
    y = torch.softmax(scores, dim=-1) @ values
    return y[:, 0], (keys, values)
    ### END SOLUTION

# %%
check("07.decode_step", decode_step)

# %% [markdown] tags=["solution"]
# **Why it works.** Attention is causal, so that nothing which comes later can change the key or value of an earlier
# position: what was computed once stays right. A query is asked once and thrown away, which is why the cache has no
# place for queries. Step by step it gives the last row of the full computation:

# %% tags=["solution"]
B, T, C, D, E = 2, 7, 5, 4, 3
g = torch.Generator().manual_seed(0)
x, wq, wk, wv = (torch.randn(s, generator=g) for s in ((B, T, C), (C, D), (C, D), (C, E)))
cache, steps = (torch.zeros(B, 0, D), torch.zeros(B, 0, E)), []
for t in range(T):
    y, cache = decode_step(x[:, t], wq, wk, wv, cache)
    steps.append(y)
whole = F.scaled_dot_product_attention(x @ wq, x @ wk, x @ wv, is_causal=True)
torch.testing.assert_close(torch.stack(steps, dim=1), whole)
print("seven steps with a cache = one pass over seven positions")

# %% [markdown] tags=["solution"]
# **The most common wrong roads.** Attending before appending: the new position does not see itself, and the first one
# sees nothing. And `F.scaled_dot_product_attention(q, keys, values, is_causal=True)`: with one query and L + 1 keys its
# triangle starts at the *first* key, so that the new token sees the oldest position only. The call is right for whole
# sequences, and that is where one copies it from.

# %% [markdown]
# ## 07.5 cache_bytes: what a long chat costs
#
# *predict · difficulty 2/5 · 5 min · further · idea: the cache grows with every token of every sequence in every layer*
#
# **Predict first**, in your head: the second model below keeps one conversation, in bfloat16 (two bytes a number). Is
# its KV cache nearer to 1 MiB, 32 MiB, 1 GiB or 32 GiB?
#
# Then write `cache_bytes(config, tokens, sequences, dtype)`: `config` a `ModelConfig`, of which you need some of the
# fields `layers`, `width`, `heads` (query heads), `kv_heads` (key/value heads; several query heads may share one),
# `head_size`, `vocab_size`; `tokens` for which there is room in each sequence; `sequences` at once; `dtype` such as
# `torch.bfloat16` (`dtype.itemsize` is its size in bytes) → the bytes of all cached keys and values, a whole number.
# ```python
# from minigpt import ModelConfig
# small = ModelConfig(layers=3, width=40, heads=4, kv_heads=2, head_size=10, mlp_width=64, vocab_size=300)
# cache_bytes(small, tokens=7, sequences=1, dtype=torch.float32)       # 3360
# large = ModelConfig(layers=32, width=4096, heads=32, kv_heads=8, head_size=128, mlp_width=14336, vocab_size=128256)
# cache_bytes(large, tokens=8192, sequences=1, dtype=torch.bfloat16)   # your prediction?
# ```
#
# <details><summary>Hint 1</summary>
#
# For one token, in one layer and one key/value head: which numbers are kept, and how many?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Only keys and values are kept, one of each for every token, layer, key/value head and sequence (section 4). Query
# heads that share a key/value head share its cache; that is why they share. Neither the width nor the vocabulary
# appears: no hidden state and no logits are kept.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a weather service keeps the day's highest and lowest temperature, in two bytes each,
# for every station.
# ```python
# def archive_bytes(regions, stations, days):
#     return 2 * regions * stations * days * 2             # high and low; two bytes a number
#
# archive_bytes(6, 40, 365)                                # 350400
# ```
#
# </details>

# %%
def cache_bytes(config, tokens, sequences, dtype):
    """Bytes of the keys and values of `sequences` sequences of `tokens` tokens, in all layers."""
    ### BEGIN SOLUTION
    numbers = 2 * config.layers * sequences * config.kv_heads * tokens * config.head_size
    return numbers * dtype.itemsize
    ### END SOLUTION

# %%
check("07.cache_bytes", cache_bytes)

# %% [markdown] tags=["solution"]
# **Why it works.** A key and a value are `head_size` numbers each; the rest is how often. The prediction, and what it
# would be if every query head had keys and values of its own:

# %% tags=["solution"]
from types import SimpleNamespace

for kv_heads in (8, 32):
    shape = SimpleNamespace(layers=32, heads=32, kv_heads=kv_heads, head_size=128)
    for sequences in (1, 64):
        gib = cache_bytes(shape, 8192, sequences, torch.bfloat16) / 2**30
        print(f"{kv_heads:2} key/value heads, {sequences:2} conversations: {gib:3.0f} GiB")

# %% [markdown] tags=["solution"]
# One GiB for each conversation. At 64 of them the cache takes several times the memory of the weights of such a model
# (8 billion parameters of two bytes each are 16 GB). **The most common wrong roads** are two: to forget that both keys
# and values are kept, and to count query heads. Both are off by a small factor, so that the number still looks likely;
# try a formula on a tensor whose bytes you can count (`k.nbytes`).

# %% [markdown]
# ## 07.6 left_padded: prompts of different length
#
# *write · difficulty 3/5 · 15 min · further · idea: padding changes where a token stands, and must change nothing else*
#
# A batch is a rectangle, prompts are not. The next token is read off the last column, so that the padding goes to the
# **left**. Write `left_padded(prompts, pad)`: `prompts` a list of B lists of token ids, none empty; `pad` the id that
# fills up. Result: three tensors, with T the length of the longest prompt.
#
# - tokens (B, T) int64: each prompt at the end of its row
# - positions (B, T) int64: each prompt counts its own tokens from 0; padding has position 0
# - mask (B, T, T) bool: `[b, t, s]` is True where query t may look at key s. Nothing looks ahead. A token looks at
#   tokens, never at padding; padding looks at padding (nobody reads that, but a row without any True would become NaN).
#
# The id `pad` may also occur as a real token in a prompt. Leave `prompts` as they are.
# ```python
# tokens, positions, mask = left_padded([[7, 8, 9], [5, 6]], 0)
# tokens              # tensor([[7, 8, 9], [0, 5, 6]])
# positions           # tensor([[0, 1, 2], [0, 0, 1]])
# mask[1].int()       # tensor([[1, 0, 0],
#                     #         [0, 1, 0],
#                     #         [0, 1, 1]])
# ```
#
# <details><summary>Hint 1</summary>
#
# Compare the second prompt with the same prompt alone, without padding. Which three things must be the same for its two
# tokens so that they get the same logits?
#
# </details>
# <details><summary>Hint 2</summary>
#
# All three results follow from one number for each row: how much padding it has (section 5). Column t minus this number
# is the position, and where it is negative there is padding. Two columns may see each other if both are tokens or both
# are padding; the causal triangle does the rest. Whether a column is padding cannot be told from its id.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: trains of different length stand with their engines at the same end of the platform.
# Number the cars, and say which pairs of places are coupled.
# ```python
# empty = torch.tensor([0, 2])                               # free places behind each of two trains; 4 places
# number = torch.arange(4) - empty[:, None]                  # tensor([[0, 1, 2, 3], [-2, -1, 0, 1]])
# car = number >= 0                                          # (2, 4): is there one?
# coupled = car[:, :-1] & car[:, 1:]                         # tensor([[True, True, True], [False, False, True]])
# number.clamp(min=0)                                        # tensor([[0, 1, 2, 3], [0, 0, 0, 1]])
# ```
#
# </details>

# %%
def left_padded(prompts, pad):
    """B lists of ids → tokens (B, T), positions (B, T), both int64, and mask (B, T, T) bool."""
    ### BEGIN SOLUTION
    T = max(len(prompt) for prompt in prompts)
    tokens = torch.tensor([[pad] * (T - len(prompt)) + list(prompt) for prompt in prompts])
    padding = torch.tensor([T - len(prompt) for prompt in prompts])
    places = torch.arange(T) - padding[:, None]  # (B, T): negative where there is padding
    real = places >= 0
    mask = (real[:, :, None] == real[:, None, :]) & torch.ones(T, T, dtype=torch.bool).tril()
    return tokens, places.clamp(min=0), mask
    ### END SOLUTION

# %%
check("07.left_padded", left_padded)

# %% [markdown] tags=["solution"]
# **Why it works.** The same number, how much padding a row has, shifts the positions and says what is real. `real ==
# real` is True for two tokens and for two paddings; with the triangle the latter are there only to keep the softmax of
# padding finite. A prompt in the batch sees what it would see alone: the same tokens, at the same positions, and no one
# else.
#
# **The most common wrong road** is `tokens != pad` as the test for what is real. It works until a prompt contains the
# padding id, and many tokenizers pad with the end-of-text token, which is also how a document begins. **The quietest**
# leaves the positions at 0 … T − 1 for all rows. With learned positions, as in GPT-2, nothing crashes, but a prompt's
# answer gets worse and depends on who else is in the batch. (Rotary positions know distances only, and forgive
# it.)

# %% [markdown]
# ## 07.7 accept: the rule of speculative decoding
#
# *fill · difficulty 4/5 · 20 min · further · idea: accept with p/q, and make up for what the draft says too rarely*
#
# A small model, the draft, has drawn `token` from its distribution `q`. The large model's distribution for this place
# is `p`. Fill in `accept(p, q, token, u, v)`, which decides so that the outcome is distributed as `p`, exactly:
#
# - keep the token with probability min(1, p/q), taken at this token: that is, if u ≤ p/q;
# - otherwise draw another one from the positive part of p − q, divided by its sum: the tokens lie side by side in the
#   order of their ids, each as long as its share; v is a point on this line from 0 to 1, and drawn is the first token
#   whose end is at least v (as in 07.3).
#
# `p`, `q` (V,) float32, each adding up to one; `token` a whole number with q[token] > 0; `u`, `v` in (0, 1] → a pair:
# the id to write, a whole number, and whether the draft's token was kept, True or False.
# ```python
# p, q = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.25, 0.75, 0.0])
# accept(p, q, 0, 0.9, 0.4)      # (0, True): p is larger than q here, always kept
# accept(p, q, 1, 0.3, 0.4)      # (1, True): p/q is 1/3
# accept(p, q, 1, 0.6, 0.4)      # (0, False): p − q is 0.25, −0.5 and 0.25, so tokens 0 and 2 have ½ each
# accept(p, q, 1, 0.6, 0.8)      # (2, False)
# ```
#
# <details><summary>Hint 1</summary>
#
# The draft says token 1 three times as often as it should. Which share of these must go? And which tokens does the
# draft say too rarely, so that they have to be made up for?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Kept: token x with probability q(x) · min(1, p(x)/q(x)) = min(p(x), q(x)). What is still missing of x is p(x) −
# min(p(x), q(x)), which is the positive part of p(x) − q(x) (section 7). So a rejection must draw from exactly that:
# not from `p`, which would give those tokens a second chance that have had theirs.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a bakery wants to give away rolls, buns and cakes in equal shares; the delivery
# holds half rolls, half buns. How many of each come back, and what is bought instead?
# ```python
# wanted, delivered = torch.tensor([1 / 3, 1 / 3, 1 / 3]), torch.tensor([0.5, 0.5, 0.0])
# keep = (wanted / delivered).clamp(max=1)            # tensor([0.6667, 0.6667, 1.0000]): of each kind this share
# delivered * keep                                    # tensor([0.3333, 0.3333, 0.0000])
# missing = (wanted - delivered).clamp(min=0)         # tensor([0.0000, 0.0000, 0.3333])
# missing / missing.sum()                             # tensor([0., 0., 1.]): only cakes are bought
# ```
#
# </details>

# %%
def accept(p, q, token, u, v):
    """p, q (V,), token drawn from q, u, v in (0, 1] → the id to write, was the token kept?"""
    ### BEGIN SOLUTION
    kept = u <= p[token] / q[token]
    ### STUB
    # kept = ...
    ### END SOLUTION
    if kept:
        return token, True
    ### BEGIN SOLUTION
    missing = (p - q).clamp(min=0)
    ### STUB
    # missing = ...
    ### END SOLUTION
    ends = missing.cumsum(dim=0)
    ### BEGIN SOLUTION
    return int((ends < v * ends[-1]).sum()), False
    ### STUB
    # return ..., False
    ### END SOLUTION

# %%
check("07.accept", accept)

# %% [markdown] tags=["solution"]
# **Why it works.** A token x is written in two ways: drafted and kept, min(p, q) of the time; or drawn after a
# rejection. A rejection happens with probability 1 − Σ min(p, q), and this is the sum of the positive part of p − q. So
# the second way adds (p − q)⁺ exactly. Where q > p: p + 0. Where p > q: q + (p − q). Both are p. Count it:

# %% tags=["solution"]
p, q = torch.tensor([0.5, 0.2, 0.2, 0.1]), torch.tensor([0.1, 0.6, 0.1, 0.2])
g = torch.Generator().manual_seed(0)
drafted = torch.multinomial(q, 20_000, replacement=True, generator=g).tolist()
us, vs = (1 - torch.rand(2, 20_000, generator=g)).tolist()
written = [accept(p, q, *draw)[0] for draw in zip(drafted, us, vs)]
print("written:", torch.bincount(torch.tensor(written), minlength=4) / 20_000, "wanted:", p)

# %% [markdown] tags=["solution"]
# **The most common wrong road** draws from `p` after a rejection. The result looks right, and token 1, which the draft
# says too often, is still written too often: 0.2 from the kept ones plus a fifth of all rejections. **Another** takes
# `p` without the rejected token. That forgets all the others that the draft says too often (there are usually
# thousands). Only the counting above tells these apart: text from a slightly wrong distribution reads like text.

# %% [markdown]
# ## 07.8 repeats: a number for "it loops"
#
# *measure · difficulty 2/5 · 10 min · further · idea: a share needs a clear whole: here, all n-grams*
#
# You have seen texts that go in circles (section 1), and section 3 tries to prevent that. To compare, you need a
# number. Write `repeats(tokens, n)`: the share of the text's n-grams that **have occurred before** in it.
#
# `tokens` is a list of token ids, `n` at least 1. An n-gram is n neighbouring tokens in their order; one begins at
# every place where n tokens are left, so that n-grams overlap. The first occurrence of an n-gram is not a repeat, every
# further one is, wherever it stands. A text that is too short to have any n-gram has a share of 0.
# ```python
# repeats([3, 1, 3, 1, 3, 1], 2)     # 0.6: of (3,1), (1,3), (3,1), (1,3), (3,1) the last three
# repeats([3, 1, 4, 1, 5], 2)        # 0.0
# repeats([3, 1, 4, 1, 5], 1)        # 0.2: the second 1
# ```
#
# <details><summary>Hint 1</summary>
#
# How many n-grams has a text of T tokens? Count them for T = 6 and n = 2, then for T = 2 and n = 3.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Walk over all places where an n-gram begins and remember which you have met. Or count: every n-gram that is not a
# repeat is the first of its kind, so that there are as many of them as there are *different* n-grams (section 1). Keep
# them as tuples: they can be put into a set, and the boundaries between tokens stay where they are.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: which share of the bicycle trips of a week goes a way that has been gone before?
# ```python
# places = "home work gym home work home work".split()
# trips = list(zip(places, places[1:]))                     # (from, to), 6 of them
# 1 - len(set(trips)) / len(trips)                          # 0.333…: home → work has come three times
# ```
#
# </details>

# %%
def repeats(tokens, n):
    """Ids, n ≥ 1 → the share of n-grams that have occurred before; 0 if there are none."""
    ### BEGIN SOLUTION
    ngrams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    if not ngrams:
        return 0.0
    return 1 - len(set(ngrams)) / len(ngrams)
    ### END SOLUTION

# %%
check("07.repeats", repeats)

# %% [markdown] tags=["solution"]
# **Why it works.** Each kind of n-gram has exactly one first occurrence, so that the number of kinds is the number of
# n-grams that are new. The rest are repeats.
#
# **The most common wrong roads.** Counting *all* occurrences of what comes twice: then the first one counts as a repeat
# of itself. Looking only at the n-gram right before: a loop of three sentences goes unseen. And joining ids to a string
# without a mark between them, so that 1, 12 and 11, 2 are the same.
#
# The number depends on n and on the length of the text, so compare only texts of one length. For a text that has run
# into a loop, a larger n changes little; a song that repeats single words falls to zero:

# %% tags=["solution"]
song = ("row row row your boat gently down the stream merrily merrily merrily merrily "
        "life is but a dream").split()
loop = ("the man said that " + "he did not know " * 9).split()
for name, words in (("a song", song), ("a loop", loop[: len(song)])):
    shares = "   ".join(f"n = {n}: {repeats(words, n):.2f}" for n in (1, 2, 3, 4))
    print(f"{name}, {len(words)} words:   {shares}")

# %% [markdown]
# ## 07.9 allowed: only what can still become a date
#
# *write · difficulty 3/5 · 20 min · further · idea: a pattern speaks of characters, a model of tokens*
#
# The text must have a given form. An **automaton** knows it: it is in a *state*, reads a character, goes to another
# state; in some states the text may end. Before each step you ask which tokens it could read, and take all others out
# of the draw. A token is several characters, and must be readable from its first to its last.
#
# Write `allowed(pieces, steps, final, state)`:
#
# - `pieces`: a list of V strings, the text of each token; none is empty. One may be `None`: this is the end-of-text
#   token.
# - `steps`: a dictionary {(state, character): next state}. What is not in it cannot be read. States are whole numbers.
# - `final`: the set of states in which the text may end.
# - `state`: where the automaton is now.
# - result: (V,) bool, True for each token that may come next. A token may lead to any state, it need not finish the
#   text. The end-of-text token may come exactly when `state` is final.
#
# (No state is a dead end: from each of them the text can still be finished.)
# ```python
# # a, then any number of b, then c: states 0, 1 and 2
# steps = {(0, "a"): 1, (1, "b"): 1, (1, "c"): 2}
# pieces = ["a", "b", "c", "ab", "bb", "bca", None]
# allowed(pieces, steps, {2}, 0).int()       # tensor([1, 0, 0, 1, 0, 0, 0], dtype=torch.int32)
# allowed(pieces, steps, {2}, 1).int()       # tensor([0, 1, 1, 0, 1, 0, 0], dtype=torch.int32): after "bc" comes no "a"
# allowed(pieces, steps, {2}, 2).int()       # tensor([0, 0, 0, 0, 0, 0, 1], dtype=torch.int32): only the end
# ```
#
# <details><summary>Hint 1</summary>
#
# Take the token "bb" and the state 1. Where is the automaton after the first character, and what do you ask next?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Each token is an experiment of its own: start from `state`, go along its characters, and stop as soon as a step is
# missing (section 8). Do not carry the state from one token to the next. A state may have the number 0, which Python
# takes for false: ask whether a step *is there*, not whether its target is true.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: which routes can be driven from where you are?
# ```python
# roads = {("A", "north"): "B", ("B", "east"): "C", ("C", "north"): "B"}
#
# def drivable(route, place):
#     for turn in route:
#         if (place, turn) not in roads:
#             return False
#         place = roads[place, turn]
#     return True
#
# [drivable(route, "A") for route in (["north", "east", "north"], ["north", "north"])]     # [True, False]
# ```
#
# </details>

# %%
def allowed(pieces, steps, final, state):
    """V texts or None, {(state, character): state}, final states, state → (V,) bool."""
    ### BEGIN SOLUTION
    may = []
    for piece in pieces:
        at = state
        for character in piece or "":
            at = steps.get((at, character))  # None: stuck, and no step leads on from None
        may.append(state in final if piece is None else at is not None)
    return torch.tensor(may)
    ### END SOLUTION

# %%
check("07.allowed", allowed)

# %% [markdown] tags=["solution"]
# **Why it works.** `steps.get` gives None where no step is there; from None no step leads anywhere, so that a token
# which is stuck stays stuck. Every token starts again from `state`.
#
# **The most common wrong roads.** Looking at the first character only: right for a vocabulary of single characters, and
# wrong with real tokens, which may begin well and end badly. Asking whether a token *ends* in a final state: then
# nothing can begin. And `if not at:` instead of `if at is None:`, which forbids every token that leads to state 0.
#
# It looks at every token at every step: V · length. Real systems compute the table once for each state of the
# automaton, as there are few of them, and look it up.

# %% [markdown]
# ## 07.10 typical: keep what is as surprising as expected
#
# *write · difficulty 4/5 · 25 min · further · unaided · idea: a filter is an order of the tokens, and a place to cut*
#
# **Assistant off: no AI, no hints at first, only the lesson and your own experiments.** This is the test of whether the
# filters are now yours.
#
# Top-p takes the likeliest tokens first. But people do not always say the likeliest word. *Locally typical sampling*
# (Meister et al. 2022, arXiv 2202.00666) says: the **surprise** of a word, −ln p in nats, is usually near the surprise
# one *expects*, which is the entropy of the distribution, H = −Σ p ln p. So take the tokens in the order of how far
# their surprise is from H, the nearest first, until their probabilities reach `mass` together; cut the rest. A very
# likely token may be cut!
#
# Write `typical(logits, mass)`: `logits` (B, V) float32, `mass` above 0 and at most 1 → (B, V) float32: the logits of
# the tokens that stay, unchanged, and −∞ for the others. Each row for itself. Kept is the smallest set that reaches at
# least `mass`. A logit may be −∞ already (another filter has been there): such a token has probability 0, adds nothing
# to the entropy, and stays out. No two distances are equal. Leave `logits` as they were.
# ```python
# probs = torch.tensor([[0.1, 0.7, 0.04, 0.16]])
# # surprise 2.30, 0.36, 3.22, 1.83; entropy 0.90; distance 1.40, 0.55, 2.32, 0.93
# typical(probs.log(), 0.8).exp()              # tensor([[0.0000, 0.7000, 0.0000, 0.1600]])
# probs = torch.tensor([[0.4, 0.31, 0.18, 0.11]])
# # surprise 0.92, 1.17, 1.71, 2.21; entropy 1.28; distance 0.36, 0.11, 0.43, 0.93
# typical(probs.log(), 0.3).exp()              # tensor([[0.0000, 0.3100, 0.0000, 0.0000]]): the likeliest is cut
# ```
#
# <details><summary>Hint 1</summary>
#
# Compare with top-p. Which of its lines decides the order of the tokens, and which decides where to cut? Which of them
# changes?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The order comes from the distances, the cut from the *probabilities* in this order: a token stays if those ahead of it
# have not reached `mass` (section 2). What you find out in sorted order has to be brought back to the tokens' own
# places. And 0 · ln 0 must be 0.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: invite the people whose age is nearest to 40, until 100 portions are eaten.
# ```python
# age = torch.tensor([70.0, 38.0, 20.0, 43.0, 35.0])
# eats = torch.tensor([30.0, 40.0, 60.0, 50.0, 45.0])
# order = (age - 40).abs().argsort()                      # tensor([1, 3, 4, 2, 0])
# ahead = eats[order].cumsum(0) - eats[order]             # tensor([  0.,  40.,  90., 135., 195.])
# invited = torch.zeros(5, dtype=torch.bool)
# invited[order] = ahead < 100                            # back to their places: [False, True, False, True, True]
# ```
#
# </details>

# %%
def typical(logits, mass):
    """logits (B, V), 0 < mass ≤ 1 → (B, V): what is as surprising as expected, the rest -inf."""
    ### BEGIN SOLUTION
    probs = logits.softmax(dim=-1)
    entropy = torch.special.entr(probs).sum(dim=-1, keepdim=True)  # 0 where a probability is 0
    distance = (-probs.log() - entropy).abs()
    order = distance.argsort(dim=-1)
    ordered = probs.gather(-1, order)
    out = ordered.cumsum(dim=-1) - ordered >= mass
    return logits.masked_fill(torch.zeros_like(out).scatter(-1, order, out), -math.inf)
    ### END SOLUTION

# %%
check("07.typical", typical)  # 07.10

# %% [markdown] tags=["solution"]
# **Why it works.** It is top-p with another order. `gather` brings the probabilities into the order of the distances,
# `scatter` brings the decision back. The surprise of a token with probability 0 is infinite, and so is its distance: it
# comes last. Only the entropy needs care, because 0 · ln 0 is NaN in floating point; `torch.special.entr` knows.
#
# **The most common wrong roads.** Cutting by a running sum of the *distances* (they are no shares of anything).
# Forgetting the absolute value: then "least surprising first" is top-p again. And scattering with `gather`, or the
# other way round: the right number of tokens stays, but the wrong ones.
#
# **Is it better?** Where the model is sure, both filters keep the same token. Where it is not, typical may cut the top:

# %% tags=["solution"]
from minigpt.sampling import keep_top_p

flat = torch.tensor([[0.3] + [0.07] * 10]) + torch.linspace(0, 1e-3, 11)
for name, kept in (("top-p", keep_top_p(flat.log(), 0.5)), ("typical", typical(flat.log(), 0.5))):
    print(f"{name:8} keeps tokens", (kept[0] > -math.inf).nonzero().flatten().tolist())

# %% [markdown] tags=["solution"]
# That a filter is well motivated does not say that its texts are better; that takes a measurement with readers. You can
# now write any filter that someone proposes next: an order, and a place to cut.
