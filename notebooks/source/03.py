# %% [raw]
# title = "The next token"
# question = "How good is a prediction, and what must a language model beat?"
# able = [
#   "build an n-gram model, and say why it fails without smoothing and with too long a memory",
#   "read losses in nats, bits, perplexity and bits per byte, and see through three averages that mislead",
#   "explain why gzip is a language model, and turn a model into a compressor",
#   "train a bigram and a small network by gradient descent, and say what they add to counting",
# ]
# needs = ["token", "vocabulary", "language model", "held-out text", "cross-entropy", "bits per byte", "bigram", "logits", "softmax", "parameter", "step", "context", "byte-pair encoding", "gradient"]
# reading = 55
# exercises = 125
# route = "core"
# paper = "Shannon 1951, Prediction and Entropy of Printed English, Bell System Technical Journal 30"
#
# [teaches]
# "n-gram" = "A piece of n tokens in a row; an n-gram model predicts the last of them from the n - 1 before it, by counting."
# smoothing = "Taking some probability from what was counted, and giving it to what was not, so that nothing is impossible."
# "back-off" = "To predict from a shorter context where a longer one was seen seldom or never; here the two are mixed."
# "development text" = "Held-out text on which settings are chosen, so that the text for the final measurement stays untouched."
# overfitting = "Learning the training text itself, rather than what it has in common with other text; the training loss falls while the held-out loss rises."
# entropy = "The mean price, in bits, of what a distribution itself produces: what even a perfect predictor pays."
# perplexity = "e to the power of the cross-entropy in nats, or 2 to that in bits: the number of equally likely tokens that would be as hard to guess."
# baseline = "A simple method, measured on the same text, that a better one has to beat."
# "learning rate" = "The number that the gradient is multiplied by in one step of training."
# embedding = "A table with one learned vector for each token; looking a token up is the first thing that a network does."
# "hidden layer" = "Numbers that a network computes between its input and its output, and that nobody prescribes."
# "multi-layer perceptron" = "A network that multiplies by a matrix, bends the result, and multiplies by a matrix again; MLP for short."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners leave able to measure any predictor of text on one scale, and know that a good counting model is hard to beat. **Timing** (100 min). Before class: 03.1.
# In class: sections 1–3 20 min · exercise 03.2 10 · section 4 15 (Kneser–Ney may be left out) · section 5 10 · exercise 03.4 10 · section 6 10 · sections 7 and 8 15 ·
# section 9 5 · discussion 5. Homework: the other exercises, section 10.
#
# **Two misconceptions.** *"A longer memory can only help."* Show the picture of section 4 and ask: how many of the contexts of six bytes has the model seen
# once only, and what does it then believe? *"A lower perplexity is a better model."* Ask: of what? Cut the same text into longer tokens, and what happens to the number
# of tokens, and to the difficulty of each?
#
# **Discuss.** The counting models read nine megabytes and hold millions of counts; the network has some fifty thousand numbers. Which of them has understood more? · What would a
# compressor have to know to store a novel in one tenth of its size?

# %% tags=["setup"]
import functools
import math
import random
import re
import time
from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F

from minigpt import bits_per_byte, generate, train_bpe
from minigpt.classroom import ladder, model_from, recorded, reveal, show
from minigpt.classroom.shelf import live_sentence, script
from minigpt.classroom.viz import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, visible
from minigpt.classroom.viz import figure, heatmap, label_end, plot_live
from minigpt.evaluate import compressors
from minigpt.text.sources import builtin, held_out

started = time.perf_counter()
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>00: a model gave probability 1/8 to the token that came. What does it pay?</summary>−log₂ 1/8 = 3 bits. Had it given 1, it would
# pay nothing.</details>
# <details><summary>00: what is the difference between the training text and the held-out text?</summary>The model learns from the first and
# never sees the second. What it does well on the first it may know by heart.</details>
# <details><summary>02: the vocabulary grows from 256 to 2,048. What happens to the number of tokens of a text?</summary>It falls: each token is
# longer on average. Section 5 shows what that does to the loss.</details>
#
# Lesson 00 trained a GPT and compared it with a table of pairs. Before you open the GPT, in lesson 04, learn what it is up against. This lesson climbs a ladder: from no
# knowledge at all, by counting, to a small network. Each rung is a **baseline**: a simple method that a better one has to beat.
# All are measured on the same text with the same measure, so that any model you ever build can be put on the ladder.
#
# > **Try first: 03.1 `bigram_counts`** (5 min), before you read on. The exercises are in `exercises/03_next_token.ipynb`; `python3 course.py start 03` makes a copy
# > for you in `my/`.
#
# ## 1. A prediction is a distribution
#
# First the text: the novels, stories and essays that came with the course. They are divided by whole documents into three parts, because two chapters share names, and two
# halves of a chapter share more. You learn from the **training text**. You choose settings on the **development text**. On the **held-out text** you measure, and choose nothing.

# %%
rest = [d for d in builtin(["books"]) if not held_out(d.id)]
is_dev = [held_out(d.id, salt="development") for d in rest]
books = [d.text for d, out in zip(rest, is_dev) if not out]
random.Random(0).shuffle(books)


def as_ids(text):
    """The bytes of a text as numbers below 256, (N,)."""
    return np.frombuffer(text.encode(), np.uint8).astype(np.int64)


V = 256
everything = as_ids("\n\n".join(books))
train = everything[:1_000_000]  # one megabyte, about two novels; section 9 takes all
dev = as_ids("\n\n".join(d.text[:30_000] for d, out in zip(rest, is_dev) if out))
unseen = as_ids(ladder.text())  # the held-out text of this and all later lessons
for name, ids in (("training", train), ("development", dev), ("held-out", unseen)):
    print(f"{name:>11}: {len(ids):>9,} bytes, beginning with {bytes(ids[:40].tolist())!r}")

# %% [markdown]
# In this lesson the tokens are single bytes. That is a small vocabulary that can write everything, you can see every symbol, and one prediction is one byte, so a bit per prediction is a bit per
# byte. In English text a byte is a letter, a space or another sign, nearly always. (Section 5 brings tokens of several letters back.)
#
# A model does not say what comes next. It says how likely each of the 256 symbols is: 256 numbers that are not negative and sum to one, a **distribution**. You can
# read one off the text. Take all places where a q stands, and look at what comes after.
#
# **Predict.** Which share of the symbols after q are u? A number between 0 and 1.

# %%
data = bytes(train.tolist())


def what_follows(context):
    """The share of each symbol after a context (bytes), the most frequent first."""
    counts = Counter(re.findall(re.escape(context) + b"(.)", data, flags=re.DOTALL))
    return {symbol: count / counts.total() for symbol, count in counts.most_common()}


guess = None
reveal("03.p1", guess, truth=what_follows(b"q")[b"u"])

# %%
fig, axes = figure(width=8.5, height=2.5, columns=4)
for ax, context in zip(axes, (b"q", b"t", b"th", b"igh")):
    top = list(what_follows(context).items())[:7]
    ax.bar([visible(symbol) for symbol, _ in top], [share for _, share in top], color=BLUE)
    ax.set(title=f'after "{context.decode()}"', ylim=(0, 1.05))
    bits = -sum(share * math.log2(share) for share in what_follows(context).values())
    ax.set_xlabel(f"{bits:.1f} bits on average")
axes[0].set_ylabel("share")
show(fig, alt="Four bar charts of what comes next: after q almost always u, after igh mostly t; "
              "after t and after th several symbols, h and e in front.")

# %% [markdown]
# (The dot · is a space.) These are four predictions. Whoever makes them pays −log₂ p bits for what then comes. After q that is almost nothing. After t it is more, because much may come; the number below each chart is
# the average that even a perfect reader of this one table must pay. It is called the **entropy** of the distribution.
#
# A language model is a machine that makes such a distribution for every context. The quality of the machine is what it pays on text that it has not seen. All the rest of this lesson is about the machine.

# %% [markdown] tags=["slide"]
# ### A prediction is a distribution
#
# - one number for each symbol, sum 1
# - price of what comes: −log₂ p bits
# - a model is judged by what it pays on text it has not seen

# %% [markdown]
# ## 2. Count
#
# The first machine looks at one symbol and has a row of the table for it. Here is how you would say it, and how you would run it. The trick in the second: number each pair as `256 · first + second`, and
# count the numbers.

# %%
slow = Counter(zip(train[:-1].tolist(), train[1:].tolist()))

pairs = np.bincount(train[:-1] * V + train[1:], minlength=V * V).reshape(V, V)
assert all(pairs[a, b] == count for (a, b), count in slow.items()) and pairs.sum() == slow.total()
print(f"{pairs.sum():,} pairs, {len(slow):,} different of {V * V:,} possible")

# %%
alphabet = " abcdefghijklmnopqrstuvwxyz"
codes = as_ids(alphabet)
square = pairs[np.ix_(codes, codes)]
share = square / square.sum(1, keepdims=True)
fig, ax = figure(width=6, height=5.4)
heatmap(share, list(alphabet), list(alphabet), "share of each letter (column) after a letter (row)",
        ax=ax)  # fmt: skip
fig.colorbar(ax.images[0], ax=ax, shrink=0.7, label="share")
ax.tick_params("x", labelrotation=0)
show(fig, alt="A table of 27 by 27 letters: q is followed by u alone; many letters are often "
              "followed by a space, and consonants by vowels.")

# %% [markdown]
# The picture shows 27 of the 256 rows and columns, and shares among these. Each row is a prediction. You can read English off it: q needs u, a space may be followed by nearly anything, and j and v want a vowel. Does the table know English? Let it write. Draw a symbol from the row of the last
# one, again and again:

# %%
def write(next_symbol, context=b"\n", length=160, seed=0):
    """Write: next_symbol turns the ids so far (a list) into V probabilities."""
    rng, ids = np.random.default_rng(seed), list(context)
    for _ in range(length):
        ids.append(int(rng.choice(V, p=next_symbol(ids))))
    return bytes(ids[len(context) :]).decode("utf-8", "replace").replace("\n", "⏎")


rows = pairs / np.maximum(pairs.sum(1, keepdims=True), 1)
print("one symbol back:", write(lambda ids: rows[ids[-1]], b" "))

# %% [markdown]
# Hardly a word, but much of it could be pronounced. Now the price on the held-out text: look up each of its pairs, take −log₂, and average.

# %%
def mean_bits(p):
    """Probabilities of what really came -> bits for each, on average."""
    with np.errstate(divide="ignore"):
        return -np.log2(p).mean()


p = rows[unseen[:-1], unseen[1:]]
never = [bytes(pair.tolist()) for pair in np.stack([unseen[:-1], unseen[1:]], 1)[p == 0]]
print(f"bits per byte: {mean_bits(p)}")
print(f"{len(never)} of {len(p):,} pairs never occurred in the training text, first of all "
      f"{never[0]!r}; without them: {mean_bits(p[p > 0]):.2f}")
assert np.isinf(mean_bits(p)) and len(never) / len(p) < 0.01

# %% [markdown]
# Infinity. One pair that the table holds for impossible, and the whole text costs infinitely much: log 0. You may not leave those pairs out of the average either. A model that says "impossible" to what then
# happens is wrong beyond any measure. Never say never, unless you are certain.

# %% [markdown]
# ## 3. Smoothing: nothing is impossible
#
# The oldest repair: pretend that you have seen every pair k times more than you have. A row with N observations then gives the symbol that came c times the probability
#
# $$p = \frac{c + k}{N + 256\,k}$$
#
# Above you add k; below you add it once for each of the 256 symbols, so that the row still sums to one. This is **smoothing** by adding k. A small k leaves the counts alone; a large one makes all symbols equally likely. Which one is best? That
# depends on how much you have counted. Take only 100,000 bytes, and try:

# %%
def add_constant(pairs, k):
    return (pairs + k) / (pairs.sum(1, keepdims=True) + pairs.shape[1] * k)


few = train[:100_000]
few_pairs = np.bincount(few[:-1] * V + few[1:], minlength=V * V).reshape(V, V)
assert np.allclose(add_constant(few_pairs, 0.5).sum(1), 1)
ks = np.logspace(-3, 1, 17)
curves = {}
for name, ids in (("the text that was counted", few), ("development text", dev)):
    prices = [mean_bits(add_constant(few_pairs, k)[ids[:-1], ids[1:]]) for k in ks]
    curves[name] = np.array(prices)
best = curves["development text"].argmin()

# %%
fig, ax = figure(width=7, height=3.2)
for (name, y), color in zip(curves.items(), (ORANGE, BLUE)):
    ax.semilogx(ks, y, color=color)
    label_end(ax, ks, y, name, color)
ax.plot(ks[best], curves["development text"][best], "o", color=BLUE)
ax.set(xlabel="k", ylabel="bits per byte")
show(fig, alt="Over k, the price of the counted text only rises; that of the development text "
              f"falls, has its lowest point near k = {ks[best]:.2f}, and rises.")
prices = curves["development text"]
print(f"best k on the development text: {ks[best]:.3f} with {prices[best]:.2f} bits per byte; "
      f"k = 0.001 costs {prices[0]:.2f}, k = 10 costs {prices[-1]:.2f}")
assert 0 < best < len(ks) - 1 and curves["the text that was counted"].argmin() == 0

# %% [markdown]
# **What breaks if** you choose k on the text that you have counted? The orange line: the smallest k always wins, because nothing in that text is new. Such a choice says "never smooth", and the next text costs infinitely
# much. And if you choose on the held-out text? Then its price is a little too low, because you picked the k that happens to suit it. With one number k the harm is small; with hundreds of choices it is not. Hence three
# parts of the text.
#
# > **Your turn: 03.2 `add_k`** (10 min), and **03.8 `best_k`** (15 min): choose it yourself.

# %% [markdown] tags=["slide"]
# ### Smoothing
#
# p = (c + k) / (N + V k)
#
# - k = 0: one surprise costs infinitely much
# - k large: the counts drown
# - choose k on development text, never on the text you counted

# %% [markdown]
# ## 4. A longer memory
#
# One symbol back is little. So count longer pieces: an **n-gram** is a piece of n symbols in a row, and an n-gram model predicts the last from the n − 1 before it. n = 1 is called a unigram, 2 a bigram, 3 a trigram. There are
# 256ⁿ of them, too many for a table with a place for each. So keep only those that occur. Number them as you numbered the pairs, sort the numbers, and count:

# %%
def grams(ids, n, V=256):
    """At each position the n ids that end there, as one number below V**n, (N,).

    What lies before the text is filled with tokens 10, for bytes the end of a line.
    """
    padded, keys = np.concatenate([np.full(n - 1, 10), ids]), np.zeros(len(ids), np.int64)
    for i in range(n):
        keys = keys * V + padded[i : i + len(ids)]
    return keys


def count(keys):
    """Different keys, sorted, and how often each occurs."""
    return np.unique(keys, return_counts=True)


def look_up(table, keys):
    """How often each key occurred, 0 where it never did."""
    found, counts = table
    at = np.searchsorted(found, keys).clip(max=len(found) - 1)
    return np.where(found[at] == keys, counts[at], 0)


# %%
assert look_up(count(grams(train, 2)), grams(np.array([113, 117]), 2))[1] == pairs[113, 117]
longest = 7  # 256 to the power of 7 still fits into a number of 64 bits
tables = [count(grams(train, n)) for n in range(1, longest + 1)]
for n, (found, counts) in enumerate(tables, 1):
    print(f"n = {n}: {len(found):>7,} different, {(counts == 1).mean():>4.0%} of them came once")

# %% [markdown]
# **Predict.** The training text has a million pieces of six bytes, one at each position. What share of the six-byte pieces of the held-out text, position by position, is among them? A number between 0 and 1.

# %%
guess = None
reveal("03.p2", guess, truth=np.mean(look_up(tables[5], grams(unseen, 6)) > 0))

# %% [markdown]
# Now the price. Smooth by adding a small k, and let the memory grow from nothing to six symbols:

# %%
def contexts_of(table, V=256):
    """How often each n-gram without its last symbol occurred: the N of its row."""
    found, counts = table
    contexts, first = np.unique(found // V, return_index=True)  # the keys are sorted
    return contexts, np.add.reduceat(counts, first)


def add_constant_gram(table, ids, n, k=0.01):
    keys = grams(ids, n)
    return (look_up(table, keys) + k) / (look_up(contexts_of(table), keys // V) + V * k)


orders = range(1, longest + 1)
falls = [mean_bits(add_constant_gram(tables[n - 1], train, n)) for n in orders]
rises = [mean_bits(add_constant_gram(tables[n - 1], unseen, n)) for n in orders]
print("n            ", "".join(f"{n:>6}" for n in orders))
print("training text", "".join(f"{bits:>6.2f}" for bits in falls))
print("held-out text", "".join(f"{bits:>6.2f}" for bits in rises))
assert all(a > b for a, b in zip(falls, falls[1:])) and rises[-1] > min(rises) + 0.5

# %% [markdown]
# The training loss falls and falls. The held-out loss falls too, and then it rises: with n = 7 the model is hardly better than with n = 2. It has learned its text by heart. More than half of the different pieces of six symbols came once (see the list above). After such a piece the
# table knows one answer, and any other costs more than the 8 bits of knowing nothing; after a piece that it never saw, all symbols are alike to it. This is **overfitting**, and the gap between the two lines is its measure.
#
# But look at what is thrown away. Where the long context is unknown, a shorter one still knows a lot. So do not give the missing probability to all symbols alike. Give it to those that the *shorter* context finds likely. This is called **back-off**:
#
# $$p_n = \frac{c_n + k\,p_{n-1}}{N_n + k}$$
#
# Here $c_n$ is how often the symbol came after the n − 1 symbols before it, $N_n$ how often these occurred, and $p_{n-1}$ what the next shorter memory says; at the bottom, $p_0 = 1/256$. In words: *before you count, imagine k observations that look as the shorter memory says*. Lesson 00 did that with
# its "borrowed = 50".
#
# It is also a mixture. With λ = N / (N + k) it reads $p_n = λ\,c_n/N_n + (1-λ)\,p_{n-1}$: the share λ of the counts grows with the number of observations. Nothing was seen: λ = 0, ask below. Thousands were seen: λ is near one, trust
# them. (Strictly, backing off means to ask the shorter memory only where the longer has no count; mixing all of them is called interpolation. Here both words mean the mixture.)
#
# Here it is with dictionaries, for one context at a time. In this code n counts the symbols of the context, one less than in the formula:

# %%
def tables_of(ids, longest):
    """For n = 0, 1, …: context of n symbols -> Counter of what followed."""
    padded = b"\n" * longest + bytes(ids.tolist())
    found = [defaultdict(Counter) for _ in range(longest)]
    for t in range(longest, len(padded)):
        for n in range(longest):
            found[n][padded[t - n : t]][padded[t]] += 1
    return found


def mixed(context, tables, k):
    """All V probabilities after a context (bytes), and what each memory said on the way."""
    p, steps = np.full(V, 1 / V), []
    for n, table in enumerate(tables):
        counts = np.zeros(V)
        for symbol, times in table.get(context[len(context) - n :], {}).items():
            counts[symbol] = times
        p = (counts + k * p) / (counts.sum() + k)
        steps.append((n, counts, p))
    return p, steps


# %%
naive, k = tables_of(train[:200_000], 6), 30
context, then = b"natur", ord("e")
_, steps = mixed(context, naive, k)
print(f"what comes after {context!r}: is it {chr(then)!r}?")
for n, counts, p in steps:
    N = counts.sum()
    own = f"{counts[then] / N:.2f}" if N else "none"
    print(f"{n} back {context[5 - n :]!r:>9}: seen {N:>7,.0f} times, own share {own:>4}, "
          f"λ = {N / (N + k):.2f} -> p = {p[then]:.3f}")
contexts = (b"natur", b"qqqqq", b"of th", b"\xff\xff\xff\xff\xff")
assert all(abs(mixed(c, naive, k)[0].sum() - 1) < 1e-9 for c in contexts)

# %% [markdown]
# Follow the last column: each longer memory corrects what the shorter ones have said, as far as it has seen enough to be believed. And whatever was counted, the 256 probabilities sum to one; the last line checks that, even for contexts that
# never occur. Now for a whole text at once. It must say the same:

# %%
def back_off(tables, ids, k, V=256):
    """The probability of each id of a text, (N,); tables for n = 1, 2, …"""
    p = np.full(len(ids), 1 / V)
    for n, table in enumerate(tables, 1):
        keys = grams(ids, n, V)
        p = (look_up(table, keys) + k * p) / (look_up(contexts_of(table, V), keys // V) + k)
    return p


small = [count(grams(train[:200_000], n)) for n in range(1, 7)]
page = b"\n" * 6 + bytes(unseen[:300].tolist())
slow = [mixed(page[t - 6 : t], naive, k)[0][page[t]] for t in range(6, len(page))]
assert np.allclose(back_off(small, unseen[:300], k), slow)

# %%
ks = (3, 10, 30, 100)
chosen = min(ks, key=lambda k: mean_bits(back_off(tables, dev, k)))
backs_off = [mean_bits(back_off(tables[:n], unseen, chosen)) for n in orders]
fig, ax = figure(width=7.5, height=3.6)
lines = ("add k: training text", falls, ORANGE), ("add k: held-out text", rises, VERMILLION)
for name, y, color in (*lines, ("back-off: held-out text", backs_off, BLUE)):
    ax.plot(orders, y, "o-", color=color)
    label_end(ax, orders, y, name, color)
ax.set(xlabel="n: the symbols that an n-gram holds", ylabel="bits per byte", xticks=orders)
show(fig, alt="From n = 1 to 7 the training loss falls from 4.5 to 1.6. The held-out loss falls "
              "and then rises again, but with back-off it keeps falling.")
print(f"k = {chosen} was best on the development text; back-off, held-out: "
      + " ".join(f"{bits:.2f}" for bits in backs_off))
assert all(a > b for a, b in zip(backs_off, backs_off[1:])) and backs_off[-1] < min(rises) - 0.2

# %% [markdown]
# One megabyte, no network, no gradient, and two bits per byte. The longer memory now never hurts, because it speaks only where it has seen something.
#
# > **Your turn: 03.5 `interpolate`** (15 min): the same with a given λ for each length, its lines shuffled.
#
# ### Further: Kneser–Ney, or how many friends have you?
#
# The shorter memory is asked where the longer one knows nothing, that is, in *new* company. So a symbol should be rated there not by how often it came, but in how many different contexts. The best known example is a word: a text about San Francisco
# has many a "Francisco", but only ever after "San". Here are words of our books that are as frequent as others, but keep to few companions:

# %%
words = re.findall(r"[A-Za-z]+", bytes(everything.tolist()).decode("utf-8", "replace"))
times, friends = Counter(words), Counter(word for _, word in set(zip(words, words[1:])))
frequent = [word for word in times if times[word] >= 400]
for word in sorted(frequent, key=lambda word: friends[word] / times[word])[:4]:
    pair = Counter(a for a, b in zip(words, words[1:]) if b == word).most_common(1)[0]
    near = min((w for w in frequent if w != word and friends[w] > 150),
               key=lambda w: abs(times[w] - times[word]))  # fmt: skip
    print(f"{word!r} came {times[word]:,} times, after {friends[word]} different words "
          f"({pair[1]:,} times after {pair[0]!r}); {near!r} {times[near]:,} times, after "
          f"{friends[near]}")

# %% [markdown]
# Kneser and Ney (1995) build on that. Below the highest order, an n-gram counts once for each different symbol that came before it, its **continuation count**. And instead of adding k, every count gives away a fixed discount D, less than one, and what was
# collected in a row goes to the shorter memory:
#
# $$p_n = \frac{\max(c_n - D,\,0) + D\,r_n\,p_{n-1}}{N_n}$$
#
# Here $r_n$ is how many different symbols the row holds, so that $D\,r_n$ was collected. (Kneser and Ney asked the shorter memory only where the count was 0; this mixed form is Chen and Goodman's, in the report named below.) Again by dictionaries, for one context:

# %%
def kneser_ney_tables(ids, longest):
    """The same kind of tables, with continuation counts below the longest memory."""
    padded, found = b"\n" * longest + bytes(ids.tolist()), tables_of(ids, longest)[-1:]
    for n in range(longest - 2, -1, -1):
        start = longest - n - 1  # the piece of n + 2 symbols that ends at the first symbol
        pieces = {padded[t : t + n + 2] for t in range(start, len(padded) - n - 1)}
        found.insert(0, defaultdict(Counter))
        for piece in pieces:
            found[0][piece[1:-1]][piece[-1]] += 1
    return found


def discounted(context, tables):
    """All V probabilities after a context."""
    p = np.full(V, 1 / V)
    for n, table in enumerate(tables):
        if row := table.get(context[len(context) - n :]):
            counts = np.array([row.get(symbol, 0) for symbol in range(V)])
            D = discount_of(table)
            p = (np.maximum(counts - D, 0) + D * len(row) * p) / counts.sum()
    return p


# %%
def discount_of(table):
    """From how many pieces came once and how many twice; Ney, Essen and Kneser (1994)."""
    if id(table) not in discounts:
        times = Counter(count for row in table.values() for count in row.values())
        discounts[id(table)] = times[1] / (times[1] + 2 * times[2])
    return discounts[id(table)]


discounts = {}
experiment = script("03.ladder")  # the recorded experiment of section 9: the same, fast
kn_tables = kneser_ney_tables(train[:100_000], 4)
page = b"\n" * 4 + bytes(unseen[:200].tolist())
slow = [discounted(page[t - 4 : t], kn_tables) for t in range(4, len(page))]
assert np.allclose(np.sum(slow, 1), 1)
ours = np.array([p[symbol] for p, symbol in zip(slow, page[4:])])
fast = experiment.kneser_ney(train[:100_000].astype(np.uint8), unseen[:200].astype(np.uint8), 4)
assert np.allclose(ours, fast)

kn = experiment.kneser_ney(train.astype(np.uint8), unseen.astype(np.uint8), longest)
print(f"back-off {mean_bits(back_off(tables, unseen, chosen)):.3f}, "
      f"Kneser–Ney {mean_bits(kn):.3f} bits per byte, n = {longest}")

# %% [markdown]
# A few hundredths of a bit, for the same counts. Much research went into such steps, one kind of smoothing after another (Chen and Goodman 1999).
#
# > **Your turn: 03.6 `continuation`** (15 min).

# %% [markdown] tags=["slide"]
# ### n-grams
#
# - longer memory: training loss falls, held-out loss falls and then rises
# - back-off: trust a long context as far as you have seen it
# - one megabyte and counting: about two bits per byte

# %% [markdown]
# ## 5. The measure, and how it misleads
#
# You will meet the same loss under four names:
#
# | name | how | |
# |---|---|---|
# | nats per token | mean of −ln p | what programs train on |
# | bits per token | nats ÷ ln 2 | |
# | **perplexity** | e to the nats = 2 to the bits | as hard as a choice among so many equally likely tokens |
# | bits per byte | bits of the whole text ÷ its bytes | comparable, whatever the tokenizer |
#
# **Predict.** A paper reports a perplexity of 20 per token. Its tokens are 4 bytes long on average. How many bits per byte?

# %%
guess = None
reveal("03.p3", guess)

# %% [markdown]
# Perplexity is the number that papers print. **The first trap**: it counts per token, so it depends on what a token is. Take the same kind of model, back-off with n = 3, and three ways of cutting the same text: bytes, and two vocabularies made
# by byte-pair encoding as in lesson 02.

# %%
def measure(encode, V, n=3):
    """Tokens of the held-out text, perplexity per token, bits per byte."""
    ids = np.array(encode(data.decode("utf-8", "replace")))
    text = np.array(encode(ladder.text()))
    p = back_off([count(grams(ids, order, V)) for order in range(1, n + 1)], text, chosen, V)
    return len(text), 2 ** mean_bits(p), -np.log2(p).sum() / len(unseen)


results = {"bytes": measure(as_ids, 256)}
for size in (512, 2048):
    tokenizer = train_bpe([data.decode("utf-8", "replace")], size)
    results[f"BPE, {size:,}"] = measure(tokenizer.encode, size)
print(f"{'':>12} {'tokens':>8} {'perplexity per token':>22} {'bits per byte':>15}")
for name, (tokens, perplexity, bits) in results.items():
    print(f"{name:>12} {tokens:>8,} {perplexity:>22.1f} {bits:>15.2f}")
_, by_perplexity, by_bits = zip(*results.values())
assert by_perplexity[0] < by_perplexity[1] < by_perplexity[2]
assert by_bits[0] > by_bits[1] > by_bits[2]

# %% [markdown]
# By perplexity the bytes win by far. By bits per byte they lose by far. The second is right: all three describe the same text, and the last needs the fewest bits for it. Its single predictions are harder, because each has more to choose from, but it
# makes fewer of them, and the two tokens that it looks back on hold more text than two bytes. Compare perplexities only between models with the same tokens, and the same text.
#
# **The second trap and the third** are averages. You may average losses, weighted by what they cover. You may not give a short document the weight of a long one, and you may not average perplexities. Take the held-out books, and one short page of another kind:

# %%
texts = [d.text[:30_000] for d in builtin(["books"]) if held_out(d.id)]
texts.append(next(builtin(["docs"])).text[:1000])  # and a short one of another kind
parts = [as_ids(text) for text in texts]
each = np.array([mean_bits(back_off(tables, part, chosen)) for part in parts])
sizes = np.array([len(part) for part in parts])
right = (each * sizes).sum() / sizes.sum()
print(f"{len(parts)} documents; the last has {sizes[-1]:,} bytes at {each[-1]:.2f} bits per byte")
print(f"all bits ÷ all bytes:          {right:.2f} bits per byte, perplexity {2**right:.2f}")
print(f"mean over documents:           {each.mean():.2f} bits per byte")
print(f"mean of their perplexities:    perplexity {(2**each).mean():.2f}")
assert (2**each).mean() > 2**each.mean()

# %% [markdown]
# One thousand bytes of Python's manual, half a per cent of the text, move the mean over documents by more than the whole difference between back-off and Kneser–Ney, and the mean of perplexities by much more: 2 to the power of x bends upwards, so that a single hard document rules it.
#
# > **Your turn: 03.3 `perplexity`** (10 min, further): two mistakes in two lines. **03.4 `bits_per_byte`** (10 min).
#
# ### A price in bits is a length in bits
#
# Why logarithms, and why call it bits? Because you can really store the text in that many. Picture the numbers from 0 to 1 as a line. The first symbol gets a piece of it, as long as its probability. The second gets a piece of *that* piece, and so on. A text
# ends as one small interval, as wide as the product of its probabilities. To name it you need one number inside, and for an interval of width w about −log₂ w binary digits will do. That is the sum of your −log₂ p.

# %%
together = pairs + 1  # add-k with k = 1: whole numbers, so that everything is exact


def piece(before, symbol):
    """Where the piece of a symbol begins, and how wide it is, both between 0 and 1."""
    row = [int(number) for number in together[before]]
    return Fraction(sum(row[:symbol]), sum(row)), Fraction(row[symbol], sum(row))


def pack(message):
    """bytes -> a string of binary digits"""
    low, width = Fraction(0), Fraction(1)
    for before, symbol in zip(b"\n" + message, message):
        start, share = piece(before, symbol)
        low, width = low + width * start, width * share
    digits = math.ceil(-math.log2(width)) + 1
    return f"{math.ceil(low * 2**digits):0{digits}b}", width


# %%
def unpack(digits, length):
    """The number says in which piece it lies; take that symbol and look at it enlarged."""
    x, message = Fraction(int(digits, 2), 2 ** len(digits)), b"\n"
    for _ in range(length):
        row = together[message[-1]]
        at = int(x * int(row.sum()))
        symbol = int(np.searchsorted(row.cumsum(), at, side="right"))
        start, share = piece(message[-1], symbol)
        x, message = (x - start) / share, message + bytes([symbol])
    return message[1:]


message = b"The captain said that the ship would not sail."
digits, width = pack(message)
assert unpack(digits, len(message)) == message
print(digits)
print(f"{len(message)} bytes of 8 bits: {8 * len(message)}; −log2 of the width: "
      f"{-math.log2(width):.1f}; digits: {len(digits)}")
assert len(digits) <= -math.log2(width) + 2

# %% [markdown]
# This is arithmetic coding: for the whole text fewer than two digits more than the sum of the prices. (Where the text ends must be said, too; here `unpack` is given the length.) So a better prediction *is* a shorter file, and the cross-entropy is no invention of machine learning but the length of a message. It also works in reverse:
#
# ## 6. gzip and xz are language models
#
# A program that packs text well must have expected it. So each packer is a language model, and its bits per byte are simply the bits of its file, divided by the bytes of the text. Put the two best known on the scale.
#
# **Predict.** gzip packs the held-out text alone: nearly two hundred kilobytes of English. How many bits per byte? (The bigram needs 3.5.)

# %%
held_out_bytes = bytes(unseen.tolist())
alone = compressors(held_out_bytes)
guess = None
reveal("03.p4", guess, truth=alone["gzip"])

# %% [markdown]
# But that comparison is unfair: the tables have read a megabyte before, and the packers begin with nothing. Two ways to be fair. Let the packers read too: pack the training text with the held-out text behind it, and subtract what the training text takes
# alone. Or let the counting begin with nothing, and count while it reads:

# %%
def cold(message, longest, k):
    """Bits per byte of a back-off model that learns only from what it has just coded."""
    tables, bits = [{} for _ in range(longest)], 0.0
    for t, symbol in enumerate(message):
        p = 1 / V
        for n in range(min(longest, t + 1)):
            row = tables[n].setdefault(message[t - n : t], [0, {}])  # how often, and what came
            seen = row[1].get(symbol, 0)
            p = (seen + k * p) / (row[0] + k)
            row[0] += 1
            row[1][symbol] = seen + 1
        bits -= math.log2(p)
    return bits / len(message)


behind, before = compressors(data + held_out_bytes), compressors(data)
primed = {name: (behind[name] * (len(data) + len(unseen)) - before[name] * len(data)) / len(unseen)
          for name in alone}  # fmt: skip
counted = cold(held_out_bytes, longest=6, k=5)

# %%
print(f"{'':>22} {'begins cold':>12} {'has read 1 MB':>14}")
for name in alone:
    print(f"{name:>22} {alone[name]:>12.2f} {primed[name]:>14.2f}")
print(f"{'back-off':>22} {counted:>12.2f} {backs_off[-1]:>14.2f}")
assert counted < alone["xz"] < alone["gzip"] and backs_off[-1] < primed["xz"] < alone["xz"]

# %% [markdown]
# gzip gains next to nothing from a megabyte of reading, because it looks back 32 kilobytes and no further. xz looks back over all of it, and gains. Both find an earlier piece that begins like the text at hand, and say "go back so far, copy so many". That is a
# memory without judgement: one place, all or nothing. Counting asks *all* earlier places at once and weighs them, and wins cold or warm.
#
# So these packers are poor language models, and the counting models are better ones. A language model that loses to gzip has learned next to nothing; one that beats xz has not yet beaten a table. That is why the ladder has more rungs.

# %% [markdown] tags=["slide"]
# ### Prediction is compression
#
# a text of probability w fits into −log₂ w bits, and at most two more
#
# - perplexity compares only equal tokens on equal text
# - bits per byte compare everything: tables, networks, packers

# %% [markdown]
# ## 7. The network that counts
#
# Now the other road: no counting, but numbers that are adjusted until the loss is small. Begin with something whose answer you know. To have a small table, write the text in 27 symbols: lower-case letters, and one space for each stretch of all the rest.
#
# The network is one matrix `W`, 27 by 27. The last symbol picks its row. The row holds the logits, and a softmax makes them a distribution. Such a table with a vector for each token is an **embedding**; to pick row a is the same as to multiply by a
# vector that is zero but for a one at place a, only faster:

# %%
letters = " ".join(re.findall("[a-z]+", data.decode("utf-8", "replace").lower()))
ids = torch.tensor([alphabet.index(c) for c in letters])
x, y = ids[:-1], ids[1:]  # what the network sees, and what comes
W = torch.randn(27, 27, generator=torch.Generator().manual_seed(0))
one_hot = F.one_hot(x[:5], 27).float()
torch.testing.assert_close(W[x[:5]], one_hot @ W)
torch.testing.assert_close(W[x[:5]], F.embedding(x[:5], W))
print(f"{len(ids):,} letters:", letters[:60])

# %% [markdown]
# How should the row of logits change, when the symbol y came? Its loss is −ln of the softmax at y. The derivative of that with respect to the logits is the simplest formula of the field: **p − y**, the predicted distribution minus y written as one:
# 1 at what came and 0 elsewhere. (For a row w of logits the loss is $\ln\sum_j e^{w_j} - w_y$. Differentiate with respect to $w_i$: the first part gives $e^{w_i} / \sum_j e^{w_j} = p_i$, the second takes 1 away where i is what came.) Too much probability on what did not come: push down. Too little on what came: push up. Check it against torch, which finds gradients by itself:

# %%
def loss_of(W, x, y):
    return F.cross_entropy(W[x], y)  # the mean of −ln p


some = slice(0, 1000)
Wg = W.clone().requires_grad_()
loss_of(Wg, x[some], y[some]).backward()
p_minus_y = torch.softmax(W[x[some]], -1) - F.one_hot(y[some], 27)  # (1000, 27)
by_hand = torch.zeros(27, 27).index_add(0, x[some], p_minus_y) / 1000  # each into its row
torch.testing.assert_close(by_hand, Wg.grad)
print("p − y, put into the rows it belongs to, equals torch's gradient")

# %% [markdown]
# Over the whole text, the p − y of a row add up to: how often the row was used, times (its distribution − the share of each symbol that followed). So the gradient is zero exactly when the softmax of each row *is* the table of shares. The network has no choice:
# trained to the end, it counts. Start from zeros, and in each step subtract the gradient times a number, the **learning rate**:

# %%
letter_pairs = torch.bincount(x * 27 + y, minlength=27 * 27).view(27, 27).double()
how_often = letter_pairs.sum(1, keepdim=True) / letter_pairs.sum()  # (27, 1)
shares = letter_pairs / letter_pairs.sum(1, keepdim=True)


def bits_of(W):
    return -(letter_pairs * torch.log_softmax(W, -1)).sum() / letter_pairs.sum() / math.log(2)


def descend(learning_rate, steps=3000, keep=()):
    """-> bits after each step, W after those in keep"""
    W, bits, kept = torch.zeros(27, 27, dtype=torch.double), [], {}
    for step in range(1, steps + 1):
        W -= learning_rate * how_often * (torch.softmax(W, -1) - shares)
        bits.append(bits_of(W).item())
        if step in keep:
            kept[step] = W.clone()
    return np.array(bits), kept


# %%
counted_bits = -(letter_pairs * shares.clamp(min=1e-12).log2()).sum() / letter_pairs.sum()
bits, kept = descend(20, keep=(10, 100, 3000))
frequent = how_often.expand(27, 27).numpy() > 0.01
print(f"counting: {counted_bits:.3f} bits; gradient descent after 10, 100, 3,000 steps: "
      + ", ".join(f"{bits[step - 1]:.3f}" for step in kept))
assert 0 <= bits[-1] - counted_bits < 0.02
assert (torch.softmax(kept[3000], -1) - shares).abs().numpy()[frequent].max() < 0.02

# %%
fig, axes = figure(width=9, height=3.2, columns=3, sharey=True, sharex=True)
for ax, (step, W) in zip(axes, kept.items()):
    learned = torch.softmax(W, -1).log2().numpy()
    table = shares.clamp(min=2e-6).log2().numpy()
    ax.plot([-16, 0], [-16, 0], color=GREY, lw=0.8)
    ax.plot(table[~frequent], learned[~frequent], "x", ms=3, color=ORANGE)
    ax.plot(table[frequent], learned[frequent], ".", ms=3, color=BLUE)
    ax.set(title=f"after {step:,} steps", xlabel="log2 of the counted share", xlim=(-16, 0.5),
           ylim=(-16, 0.5))  # fmt: skip
axes[0].set_ylabel("log2 of the learned probability")
axes[0].text(-9.5, -12.6, "dots: frequent rows", color=BLUE, size=8)
axes[0].text(-9.5, -14.2, "crosses: rare rows", color=ORANGE, size=8)
show(fig, alt="Learned against counted probabilities: after 10 steps a flat cloud, after 3,000 "
              "the frequent rows lie on the diagonal and only rare pairs are still above it.")

# %% [markdown]
# The network arrives where the counting was at once: its rows are the logarithms of the counts, but for a constant in each row that the softmax ignores. And see in what order it learns: what is frequent first, what is rare late or never. Zero
# counts would need logits of minus infinity, which it approaches forever and never reaches. Stopping early is a kind of smoothing.
#
# **What breaks if** the learning rate is ten times as large, or a tenth?

# %%
fig, ax = figure(width=7, height=2.8)
for rate, color in ((2, GREEN), (20, BLUE), (200, VERMILLION)):
    bits, _ = descend(rate, steps=200)
    ax.plot(np.arange(1, 201), bits, color=color, lw=1)
    label_end(ax, 200, bits[-1], f"learning rate {rate}", color)
    print(f"learning rate {rate:>3}: in the last 20 of 200 steps between {bits[-20:].min():.2f} "
          f"and {bits[-20:].max():.2f} bits")
    assert (bits[-20:].max() > 4) == (rate == 200)
ax.set(xlabel="step", ylabel="bits per letter")
show(fig, alt="Three learning rates: 2 falls slowly, 20 falls fast and stays low, 200 jumps "
              "up and down and does not settle.")

# %% [markdown]
# A tenth of it is slow. Ten times as much overshoots: each step jumps over the bottom of the valley and lands on the other side, as high up or higher. This is the most important single number of all training, and lessons 08 and 11 are about it.
#
# > **Your turn: 03.7 `bigram_gradient`** (20 min): p − y by hand, over a whole text.

# %% [markdown] tags=["slide"]
# ### The network that counts
#
# - embedding: a row for each token
# - gradient of the loss at the logits: p − y
# - trained to the end, softmax of a row = share of the counts
# - frequent things are learned first

# %% [markdown]
# ## 8. A network that generalises
#
# Why take this road, if it only leads to counting? Because it does not end there. A table with a place for everything cannot look six symbols back, it would have 256⁷ places; and that of section 4, which keeps only what occurred, knows nothing of the rest. A network can. Bengio et al. (2003) built such a language model that beat the n-grams of its day, and every model of this course is its
# descendant:
#
# 1. each of the last six symbols is looked up in *one* embedding table: six vectors of 16 numbers;
# 2. they are laid end to end, 96 numbers, and a matrix turns these into 128 others;
# 3. each of these is bent by tanh, which squeezes it between −1 and 1 (without a bend, two matrices in a row are only one matrix). The results are the **hidden layer**, hidden because they are neither input nor output;
# 4. a second matrix turns the 128 into 256 logits. (After each matrix a learned number is added to every result: `a` and `b` in the code.)
#
# Two matrices with a bend between them are a **multi-layer perceptron**, MLP for short.

# %%
CONTEXT, WIDTH, HIDDEN = 6, 16, 128


def new_network(seed):
    g = torch.Generator().manual_seed(seed)
    E = 0.3 * torch.randn(V, WIDTH, generator=g)  # small, so that what is learned shows
    A = torch.randn(CONTEXT * WIDTH, HIDDEN, generator=g) / math.sqrt(CONTEXT * WIDTH)
    B = 0.1 * torch.randn(HIDDEN, V, generator=g) / math.sqrt(HIDDEN)
    w = {"E": E, "A": A, "a": torch.zeros(HIDDEN), "B": B, "b": torch.zeros(V)}
    return {name: tensor.requires_grad_() for name, tensor in w.items()}


def logits_of(w, contexts):
    """(B, 6) ids -> (B, 256)"""
    laid_out = F.embedding(contexts, w["E"]).flatten(1)  # (B, 6, 16) -> (B, 96)
    return torch.tanh(laid_out @ w["A"] + w["a"]) @ w["B"] + w["b"]


def windows(ids):
    """At each position the six ids before it and the id itself, (N, 7)."""
    padded = np.concatenate([np.full(CONTEXT, 10), ids])
    return torch.from_numpy(padded).unfold(0, CONTEXT + 1, 1)


# %% [markdown]
# The same as torch's own parts would make it, with your numbers put in:

# %%
w = new_network(0)
module = torch.nn.Sequential(
    torch.nn.Embedding(V, WIDTH), torch.nn.Flatten(), torch.nn.Linear(CONTEXT * WIDTH, HIDDEN),
    torch.nn.Tanh(), torch.nn.Linear(HIDDEN, V),
)  # fmt: skip
theirs = (w["E"], w["A"].T, w["a"], w["B"].T, w["b"])  # Linear keeps its matrix transposed
with torch.no_grad():
    for parameter, value in zip(module.parameters(), theirs):
        parameter.copy_(value)
    first = windows(train[:9])[:, :-1]
    torch.testing.assert_close(module(first), logits_of(w, first))
numbers = sum(tensor.numel() for tensor in w.values())
print(f"{numbers:,} parameters; the bigram table has {V * V:,} numbers, one of seven symbols "
      f"would have {V**7:.1e}")

# %%
def train_network(seed, steps, batch=512, rate=0.01):
    w, g = new_network(seed), torch.Generator().manual_seed(seed)
    rows, optimizer = windows(train), torch.optim.Adam(w.values(), lr=rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)  # large steps first, small ones at the end
        seen = rows[torch.randint(len(rows), (batch,), generator=g)]
        loss = F.cross_entropy(logits_of(w, seen[:, :-1]), seen[:, -1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return w


@torch.no_grad()
def network_probabilities(w, ids):
    """The probability of each id of a text, (N,)."""
    parts = windows(ids).split(8192)
    p = [torch.softmax(logits_of(w, r[:, :-1]), -1).gather(1, r[:, -1:]) for r in parts]
    return torch.cat(p)[:, 0].double().numpy()


# %%
network = train_network(seed=0, steps=1200)
by_network, by_counts = network_probabilities(network, unseen), back_off(tables, unseen, chosen)
for name, p in (("bigram, backing off", back_off(tables[:2], unseen, chosen)),
                ("trigram, backing off", back_off(tables[:3], unseen, chosen)),
                ("network, 6 symbols back", by_network),
                ("7-gram, backing off", by_counts)):  # fmt: skip
    print(f"{name:>24}: {mean_bits(p):.2f} bits per byte")
bigram = back_off(tables[:2], unseen, chosen)
assert mean_bits(by_counts) < mean_bits(by_network) < mean_bits(bigram) - 0.3

# %% [markdown]
# (Adam is a gradient descent that gives each parameter a step size of its own; lesson 11 opens it.) Be honest about this. With fewer numbers than the bigram table, the network does far better than it, and better than the trigram. But the long table is far ahead. A few seconds of training on letters do
# not beat a megabyte learned by heart. Where is the table strong, and where is it weak? Sort the positions of the held-out text by how much of what came before has occurred in the training text:

# %%
known = np.zeros(len(unseen), int)  # how many symbols of the context occurred in training
for n in range(1, longest):
    before = np.concatenate([[0], grams(unseen, n)[:-1]])
    known[look_up(tables[n - 1], before) > 0] = n
print("context seen    share of text   network   7-gram   half and half")
for n in range(1, longest):
    here = known == n
    both = (by_network + by_counts)[here] / 2
    print(f"{n:>3} symbols {here.mean():>16.1%} {mean_bits(by_network[here]):>11.2f} "
          f"{mean_bits(by_counts[here]):>8.2f} {mean_bits(both):>10.2f}")
little = known <= 3
half = mean_bits((by_network + by_counts)[little] / 2)
assert half < min(mean_bits(by_network[little]), mean_bits(by_counts[little])) - 0.05

# %%
shares_of_network = np.linspace(0, 0.6, 13)
on_dev = network_probabilities(network, dev), back_off(tables, dev, chosen)
mixes = [mean_bits(s * on_dev[0] + (1 - s) * on_dev[1]) for s in shares_of_network]
s = shares_of_network[np.argmin(mixes)]
mixture = mean_bits(s * by_network + (1 - s) * by_counts)
print(f"best share of the network on the development text: {s:.2f}; then {mixture:.3f} bits per "
      f"byte on the held-out text, where the table alone needs {mean_bits(by_counts):.3f}")
assert 0 < s and mixture < mean_bits(by_counts)

# %% [markdown]
# The table is ahead nearly everywhere. But its lead is large where the context is well known, and small where little of it was ever seen; there it, too, has only shorter memories to go by. In those rows the two know *different* things: half of one and half of the other is better than either. The network can say something about a
# context that it never met, because it does not treat contexts as mere names: those that *look alike to its embedding* get similar answers. So a mixture beats the table alone, if the network gets the share that suits it. Bengio et al. (2003) found the same with words.
#
# What does "look alike" mean? Each symbol has its 16 numbers. Nobody said which symbols belong together. Draw the two directions in which the vectors of frequent symbols differ most (red: small vowels, blue: other small letters, green: capitals, purple: the rest). Then list
# which are nearest to which, by the cosine of the angle between two vectors: 1 for the same direction, 0 for nothing in common:

# %%
times = np.bincount(train, minlength=V)
shown = [b for b in range(32, 127) if times[b] >= 300]
vectors = network["E"].detach().double()
vectors = vectors / vectors.norm(dim=1, keepdim=True)
centred = vectors[shown] - vectors[shown].mean(0)
flat = (centred @ torch.linalg.svd(centred)[2][:2].T).numpy()
fig, ax = figure(width=6.5, height=4.2)
for (px, py), byte in zip(flat, shown):
    c = chr(byte)
    color = BLUE if c.islower() else GREEN if c.isupper() else PURPLE
    color = VERMILLION if c in "aeiou" else color
    ax.text(px, py, visible(c), color=color, ha="center", va="center", parse_math=False,
            size=11 if c.isalpha() else 16)
ax.set(xlim=(flat[:, 0].min() - 0.1, flat[:, 0].max() + 0.1), xticks=[], yticks=[],
       ylim=(flat[:, 1].min() - 0.1, flat[:, 1].max() + 0.1))  # fmt: skip
ax.set_title("embeddings of frequent symbols", size=10)
show(fig, alt="Symbols as points: small vowels lie on one side, consonants on another; the signs "
              "that end a sentence lie together, and many capitals near their small letters.")

# %%
alike = vectors @ vectors.T
for c in "a.,tS":
    order = alike[ord(c)].argsort(descending=True).tolist()
    near = [visible(chr(b)) for b in order if b in shown and b != ord(c)][:4]
    print(f"nearest to {c!r}: {' '.join(near)}")
both_cases = [c for c in "abcdefghilmnoprstw" if times[ord(c.upper())] >= 300]
small = [ord(c) for c in both_cases]
table = alike[small][:, [ord(c.upper()) for c in both_cases]]  # small letters against capitals
own, other = table.diagonal().mean(), (table.sum() - table.trace()) / (table.numel() - len(small))
print(f"mean cosine of a letter with its own capital {own:.2f}, with another capital {other:.2f}")
assert own > other + 0.1

# %% [markdown]
# A full stop is near the question mark, a small letter near its capital. Nobody told the network that t and T have anything to do with each other: to it they are two numbers. It found out which symbols may stand for each other, because that lowers the loss. So it shares what it learns about one with the others. With words instead of letters this matters more: nobody has counted all seven-word pieces of English, but a network that has seen
# "the cat sat" knows something about "the dog sat". Sharing is what the network buys. The next lessons give it a longer view.

# %% [markdown]
# ## 9. The ladder
#
# All rungs side by side, each on up to nine megabytes, with three orders of the books, takes some minutes. So it is a recorded experiment. Here are five of them: the thin lines are means over the orders, the bands say how sure these are, and the thick line was computed on your machine just now. Look not only at where the lines end, but at how they fall while more text is read:

# %%
record = recorded("03.ladder")
colors = {"bigram, add-k": GREY, "trigram, backing off": ORANGE, "xz, primed": PURPLE,
          "MLP, 6 bytes": VERMILLION, "7-gram, Kneser–Ney": BLUE}  # fmt: skip
fig, ax = figure(width=8, height=4)
for arm, color in colors.items():
    x, mean, (low, high) = record.x(arm), record.mean(arm), record.band(arm)
    ax.plot(x, mean, color=color, lw=1)
    ax.fill_between(x, low, high, color=color, alpha=0.2, lw=0)
    label_end(ax, x, mean, arm, color)
curve = record.live("bigram, add-k")
plot_live(ax, curve.x, curve.y, label="")
ax.set(xlabel=record.axes[0], ylabel=record.axes[1], xscale="log", ylim=(1.7, 4.5))
ax.set_xticks([0.03, 0.1, 0.3, 1, 3, 9], ["0.03", "0.1", "0.3", "1", "3", "9"])
ax.minorticks_off()
show(fig, alt="Bits per byte over megabytes read: the bigram soon stops falling; the 7-gram "
              "with Kneser–Ney falls all the way and ends lowest; the network is in between.")
print(record.sentence())
print(live_sentence(record, "bigram, add-k", curve))

# %% [markdown]
# The bigram has learned all it can after a few hundred kilobytes: more text does not help a model that cannot hold more. The long table is still falling at the right edge; the more text, the more of what comes has been seen. (The network is shown after so many positions of training, three million in all.) Two questions
# of this whole field are in this picture: how much can a model hold, and how much text is there? Lesson 18 turns them into laws.
#
# The record also holds the 7-gram of section 4, which the picture leaves out. At one megabyte the two figures must agree:

# %%
at_one = np.searchsorted(record.x("7-gram, backing off"), 1.0)
there = record.curves("7-gram, backing off")[0, at_one]
here = mean_bits(back_off([count(grams(train, n)) for n in range(1, 8)], unseen, 30))
print(f"7-gram, backing off, 1 MB: {here:.3f} here, {there:.3f} in the record")
assert abs(here - there) < 0.02

# %% [markdown]
# And your GPT of lesson 00? It never saw these books either: all lessons hold out the same documents. Measure it, and put it on the ladder. `ladder.add` keeps the figure, in a file of yours; later lessons add theirs.
#
# **Before you run the cell**: better or worse than the long table?

# %%
run = model_from("00")
gpt_bits = bits_per_byte(run.model, run.tokenizer, ladder.text())
ladder.add("GPT of lesson 00", gpt_bits)
fig, ax = figure(width=8.5, height=4.6)
ladder.plot(ax)
show(fig, alt="The ladder: bars from uniform, 8 bits per byte, over unigram, bigram and the "
              f"compressors to the 7-grams; the GPT of lesson 00 needs {gpt_bits:.2f}.")
for rung in ladder.rungs():
    print(f"{rung.bits_per_byte:5.2f}  {rung.name}")
assert gpt_bits < 3

# %% [markdown]
# Are you surprised? A GPT that trained for a minute or two does not tower over a good table from the nineties. Most likely the table is ahead: it has read all nine megabytes, each byte, and it keeps all that it has read. The GPT saw a million tokens or fewer, not only of books, and holds what it learned in fewer numbers. Its strength is that it goes
# on improving where the table cannot: with more steps, with more parameters, and with what stood a hundred tokens ago. The default run of `pretrain` ends at 1.72 on its held-out books after three minutes ([README](../README.md)): about where the table is, or a little below. From here on, *less than 1.8 bits per byte on this text* is a claim worth making.
#
# Numbers are one thing. Read what the rungs write, each from the same beginning. (These tables have read all nine megabytes, the network of section 8 one.)

# %%
tables_all = [count(grams(everything, n)) for n in orders]
contexts_all = [contexts_of(table) for table in tables_all]


def table_says(ids, n, k=2):
    """V probabilities after the ids, from n-grams; k is small, to trust the counts more."""
    p = np.full(V, 1 / V)
    for order in range(1, n + 1):
        context = functools.reduce(lambda key, i: key * V + i, ids[len(ids) - order + 1 :], 0)
        row = look_up(tables_all[order - 1], context * V + np.arange(V))
        total = look_up(contexts_all[order - 1], np.array([context]))
        p = (row + k * p) / (total + k)
    return p / p.sum()


@torch.no_grad()
def network_says(ids):
    logits = logits_of(network, torch.tensor([ids[-CONTEXT:]]))
    return torch.softmax(logits[0].double(), -1).numpy()


# %%
start = "\n\nThe old man "
for n, name in ((1, "unigram"), (2, "bigram"), (3, "trigram"), (7, "7-gram")):
    print(f"{name:>8}: {write(lambda ids: table_says(ids, n), start.encode())}\n")
print(f" network: {write(network_says, start.encode())}\n")
prompt = [run.tokenizer.eot, *run.tokenizer.encode(start.strip())]
(new,) = generate(run.model, [prompt], max_tokens=55, seed=0)
print("     GPT:", run.tokenizer.decode(new).replace("\n", "⏎"))

# %% [markdown]
# The 7-gram spells well and loses its thread after a word or two, because it sees six symbols. Ask yourself which of these six you would call the best writer, and whether the bits say the same.
#
# ## 10. One paper
#
# **Shannon 1951, [Prediction and Entropy of Printed English](https://doi.org/10.1002/j.1538-7305.1951.tb01366.x).** Lesson 00 took single letters from it. Now read its section 2: n-grams of letters, then words. *What was held fixed* when he went from one letter to two and three? *What would
# change your mind* about his line through the words (his figure 1): does a law fitted to frequent words hold for rare ones? *Which number can you recompute?* He has no computer, so he uses Zipf's law: the n-th most frequent word has the probability 0.1/n. The sum of these reaches one, he writes,
# at n = 8,727, and the words' entropy is then 11.82 bits, or 2.62 for each of a word's 4.5 letters, rounded down (Shannon 1951). Recompute them:

# %%
def zipf(last):
    p = 0.1 / np.arange(1, last + 1)
    return p.sum(), -(p * np.log2(p)).sum()


total, bits = zipf(8727)
print(f"up to n = 8,727: the probabilities sum to {total:.3f}, the entropy to {bits:.2f} bits")
last = int(np.searchsorted((0.1 / np.arange(1, 20_000)).cumsum(), 1)) + 1
total, bits = zipf(last)
print(f"up to n = {last:,}: they sum to {total:.3f}, the entropy to {bits:.2f} bits")
print(f"for a letter, at 4.5 letters a word: {bits / 4.5:.2f} instead of {11.82 / 4.5:.2f} bits")
assert abs(zipf(8727)[0] - 0.965) < 0.001 and abs(bits - 9.72) < 0.01

# %% [markdown]
# The printed figures do not hold. The sum reaches one only some thousands of words later, and the entropy is two bits lower than printed. The paper is no worse for it: its main result comes from people who guessed letters, not from this sum. But a number of a famous paper, quoted for decades, falls to three lines of code. Recompute
# what you rely on.
#
# And ours: a word of Shannon's 4.5 letters, at the price of the best rung, costs how much?

# %%
lowest = min(ladder.rungs(), key=lambda rung: rung.bits_per_byte)
print(f"{lowest.name}: {lowest.bits_per_byte:.2f} bits per byte; with its space, a word of 4.5 "
      f"letters costs {5.5 * lowest.bits_per_byte:.1f} bits; Shannon 1951 had 11.82")

# %% [markdown]
# Compare that with the corrected sum, not with 11.82. And mind what differs: the sum prices single words without their neighbours; the rung sees what came before, and pays for capitals, commas and ends of lines, too.
#
# > **Your turn: 03.9 `cache_model`** (25 min), unaided: the assistant stays off.
#
# ## Summary
#
# 1. A prediction is a distribution. What comes costs −log₂ p bits, and a zero costs infinitely much: smooth, and choose how on development text.
# 2. A longer memory lowers the training loss always and the held-out loss only up to a point, unless it backs off to shorter ones.
# 3. Compare in bits per byte. Perplexities of different tokens, means of perplexities and unweighted means mislead.
# 4. Prediction is compression: gzip and xz are language models, and counting beats both.
# 5. A table trained by gradient descent becomes the counts; its gradient is p − y. A network with embeddings shares what it learns between contexts that look alike.
#
# Next: lesson 04 lets every position look at all that came before.

# %% tags=["timing"]
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
