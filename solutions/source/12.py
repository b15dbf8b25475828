# %% [markdown]
# # 12 · Evaluation: exercises
#
# Eight exercises; the three marked *core* are enough to go on. Write your function, run the cell below it, and read what
# `check` says: it tells you which idea produced your result. Being stuck on one never blocks the next. Of the three
# hints the first is a question; try again before you open another.
#
# Throughout, a score of a question is 1 (right) or 0 (wrong), and two models are compared on the same questions in the
# same order.

# %% tags=["setup"]
import math
from statistics import NormalDist

import numpy as np

from minigpt.text.sources import held_out

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 12.1 least_hits: better than a guesser?
#
# *predict · difficulty 2/5 · 5 min · further · try first · idea: chance level is a distribution, not a line*
#
# **Try this before you read section 1.** A test has 20 questions with four options each. Somebody who knows nothing is
# right about 5 times, sometimes more. How often must a model be right before you say that it knows something?
#
# **Predict first**, in your head: 6, 9 or 15 of 20?
#
# Then write `least_hits(n, options)`: `n` questions, at least 1, each with `options` options, at least 2, of which one
# is right. The result is the smallest whole number k for which a pure guesser is right **k times or more** with a
# probability of **at most 0.05**. If not even n right answers are that rare, return n + 1: such a test can show
# nothing.
# ```python
# least_hits(5, 2)                 # 5: all five right has probability 1/32, four or five 6/32
# least_hits(3, 2)                 # 4: three of three happens to a guesser once in eight times
# ```
# The probability of exactly k of n, each with probability p, is `math.comb(n, k) * p**k * (1 - p) ** (n - k)`.
#
# <details><summary>Hint 1</summary>
#
# A guesser is right exactly 6 times with some probability. Is that the number that matters to somebody who asks
# whether 6 is a good score, or do 7, 8, … belong to it?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A good score is one that is *this high or higher* by luck only once in twenty times (section 2: chance is a
# distribution). So add up probabilities from the top, n, n − 1, …, for as long as the sum stays within the limit. The
# last number that was still within it is k.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: dice. How high must the sum of two dice be, to be reached at most once in ten times?
# ```python
# ways = {total: 6 - abs(7 - total) for total in range(2, 13)}          # of 36
# reached, total = 0.0, 13
# while reached + ways[total - 1] / 36 <= 0.1:
#     total -= 1
#     reached += ways[total] / 36
# total, round(reached, 3)                                              # (11, 0.083): 10 or more has 6/36
# ```
#
# </details>

# %%
def least_hits(n, options):
    """n questions with so many options → right answers that a guesser reaches in 5 % of cases."""
    ### BEGIN SOLUTION
    p, reached = 1 / options, 0.0
    for hits in range(n, -1, -1):
        reached += math.comb(n, hits) * p**hits * (1 - p) ** (n - hits)
        if reached > 0.05:
            return hits + 1
    ### END SOLUTION

# %%
check("12.least_hits", least_hits)

# %% [markdown] tags=["solution"]
# **Why it works.** The sum from the top is the probability of k or more. The first number at which it exceeds the limit
# is one too low. If this happens at n already, the answer is n + 1, without a special case.
#
# **The most common wrong road** is to look at the probability of exactly k, which is small for *every* k if n is large:
# even the most likely score of a guesser on a thousand questions has a probability of a few per cent.
#
# How much above chance must a score be?

# %% tags=["solution"]
for n in (20, 60, 300, 1000):
    print(f"{n:>5} questions: of two options {least_hits(n, 2) / n:.3f}, "
          f"of four {least_hits(n, 4) / n:.3f}")

# %% [markdown]
# ## 12.2 pick: which option is the answer?
#
# *write · difficulty 2/5 · 12 min · core · idea: the rule for length is a part of the question*
#
# Write `pick(logprobs, sizes, alone, rule)`, the number of the option that a model chooses:
#
# - `logprobs`: a list of numbers below 0, for each option its log-probability after the question
# - `sizes`: the bytes of each option, whole numbers above 0
# - `alone`: for each option its log-probability without any question
# - `rule`: `"sum"`, the log-probability as it is · `"byte"`, the log-probability for each byte · `"alone"`, how much
#   the question **raises** the log-probability of the option
# - result: the number of the best option, counted from 0; of options that tie, the first.
# ```python
# logprobs, sizes, alone = [-4.0, -6.0, -9.0], [4, 12, 10], [-6.0, -7.0, -14.0]
# [pick(logprobs, sizes, alone, rule) for rule in ("sum", "byte", "alone")]      # [0, 1, 2]
# ```
# One table of numbers, three answers.
#
# <details><summary>Hint 1</summary>
#
# Log-probabilities are negative. Is the best one the largest or the smallest, and what does dividing do to a negative
# number?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Make one list of scores out of the two lists that the rule needs, option by option, and let the largest win
# (section 4). A raise is a difference of logarithms: after the question, minus without it.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: which delivery was the best? Losses in crates, as they are, for each kilometre, or
# against what the route usually loses.
# ```python
# lost, km, usual = [-3, -5, -8], [10, 50, 40], [-1, -4, -12]
# lost.index(max(lost))                                       # 0
# rates = [a / b for a, b in zip(lost, km)]                   # -0.3, -0.1, -0.2
# rates.index(max(rates))                                     # 1
# gains = [a - b for a, b in zip(lost, usual)]                # -2, -1, 4
# gains.index(max(gains))                                     # 2
# ```
#
# </details>

# %%
def pick(logprobs, sizes, alone, rule):
    """Log-probabilities, bytes, log-probabilities alone, a rule → the number of the option."""
    ### BEGIN SOLUTION
    scores = list(logprobs)
    if rule == "byte":
        scores = [a / size for a, size in zip(logprobs, sizes)]
    if rule == "alone":
        scores = [a - b for a, b in zip(logprobs, alone)]
    return scores.index(max(scores))
    ### END SOLUTION

# %%
check("12.pick", pick)

# %% [markdown] tags=["solution"]
# **Why it works.** All three rules compare one number for each option; they differ in what they hold the option
# against: nothing, its length, its own commonness. `index` finds the first of equal scores.
#
# **The most common wrong road** is a sign. A log-probability is negative, so that dividing by many bytes *raises* it;
# and a raise is after minus without, not the other way round.
#
# What does a model choose that knows nothing, and pays about the same for every byte?

# %% tags=["solution"]
dice = np.random.default_rng(12)
chosen = {rule: [] for rule in ("sum", "byte", "alone")}
for _ in range(3000):
    sizes = dice.integers(4, 24, 4)
    alone = -0.8 * sizes + dice.normal(0, 1.0, 4)
    after = alone + dice.normal(0, 1.0, 4)  # the question says nothing: noise
    for rule in chosen:
        number = pick(list(after), list(sizes), list(alone), rule)
        chosen[rule].append(int((sizes > sizes[number]).sum()))  # how many options are longer
for rule, longer in chosen.items():
    shares = np.bincount(longer, minlength=4) / len(longer)
    print(f"{rule:<6} picks the longest {shares[0]:.0%}, the shortest {shares[3]:.0%} of the time")

# %% [markdown]
# ## 12.3 split_by: three symptoms
#
# *fix · difficulty 2/5 · 12 min · further · idea: a split is decided by the document alone, and copies cross it*
#
# A colleague's function splits a corpus by document, by source or by time. Three complaints have come in. A document
# that was written on the first day of the test period was trained on. After somebody added one document at the front of
# the corpus, quite different documents were held out. And a test set has shrunk: its copies were taken out of the test,
# instead of out of training. **Three things are wrong**, one for each complaint. Mend them.
#
# `split_by(documents, rule, value)`:
# - `documents`: a list of dictionaries with `"id"`, `"source"`, `"day"` (a whole number) and `"text"`
# - `rule` and `value`: `"document"` and a share, then the test set is what `held_out(id, share)` says · `"source"` and
#   a name, then it is all documents of this source · `"time"` and a day, then it is all documents of this day or later
# - result: for each document one of three words: `"test"`; `"dropped"` if it is not in the test set but has the same
#   text as a document that is; `"train"` for the others.
# ```python
# documents = [{"id": "a", "source": "web", "day": 3, "text": "one"},
#              {"id": "b", "source": "web", "day": 5, "text": "two"},
#              {"id": "c", "source": "books", "day": 1, "text": "two"}]
# split_by(documents, "time", 5)                   # ['train', 'test', 'dropped']: c is a copy of b
# split_by(documents, "source", "books")           # ['train', 'dropped', 'test']
# ```
# (`held_out` is that of lesson 01: a hash of the id decides, and nothing else.)
#
# <details><summary>Hint 1</summary>
#
# For each complaint: which documents would be on another side if you moved a boundary by one, changed their order, or
# swapped the two sides?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Whoever claims "the model has not seen this" must be able to say it of each test document by itself (section 5). So
# the decision may depend on the document's own fields only. And the test set is what you want to keep: what gives way
# is the training side.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: guests who may sit at the front table, those from Lund on or after the fourth. A
# twin of a front guest is sent home, for one cannot tell them apart.
# ```python
# guests = [("Ada", 3, "tall"), ("Bo", 4, "short"), ("Cy", 2, "short")]
# front = [day >= 4 for _, day, _ in guests]                          # [False, True, False]
# looks = {look for (_, _, look), yes in zip(guests, front) if yes}   # of those at the front
# ["front" if yes else "home" if look in looks else "back" for (_, _, look), yes in zip(guests, front)]
# # ['back', 'front', 'home']
# ```
#
# </details>

# %%
def split_by(documents, rule, value):
    """Documents, "document", "source" or "time", and its value → "test", "dropped" or "train"."""
    ### BEGIN SOLUTION
    if rule == "source":
        test = [d["source"] == value for d in documents]
    elif rule == "time":
        test = [d["day"] >= value for d in documents]
    else:
        test = [held_out(d["id"], value) for d in documents]
    tested = {d["text"] for d, is_in in zip(documents, test) if is_in}
    sides = []
    for d, is_in in zip(documents, test):
        copied = d["text"] in tested
        sides.append("test" if is_in else "dropped" if copied else "train")
    return sides
    ### STUB
    # if rule == "source":
    #     test = [d["source"] == value for d in documents]
    # elif rule == "time":
    #     test = [d["day"] > value for d in documents]
    # else:
    #     test = [held_out(str(i), value) for i, d in enumerate(documents)]
    # trained = {d["text"] for d, is_in in zip(documents, test) if not is_in}
    # sides = []
    # for d, is_in in zip(documents, test):
    #     copied = d["text"] in trained
    #     sides.append("train" if not is_in else "dropped" if copied else "test")
    # return sides
    ### END SOLUTION

# %%
check("12.split_by", split_by)

# %% [markdown] tags=["solution"]
# **Why it works.** The two passes are needed: which texts are tested is known only when all documents have been placed.
# Then a training document with such a text is a leak, and goes.
#
# **The most common wrong road** is to leave the copies where they are, because "the split is by time, and they are
# older". An older copy is the worst leak of all: the web is full of texts that have been posted again.
#
# How much does a corpus with many copies lose on the training side?

# %% tags=["solution"]
dice = np.random.default_rng(3)
corpus = [{"id": f"d{i}", "source": "web", "day": int(dice.integers(100)),
           "text": f"text {int(dice.integers(6000))}"} for i in range(4000)]  # fmt: skip
for rule, value in (("document", 0.05), ("time", 95)):
    sides = split_by(corpus, rule, value)
    print(f"{rule:<9}", {side: sides.count(side) for side in ("train", "dropped", "test")})

# %% [markdown]
# ## 12.4 bootstrap_interval: put the lines in order
#
# *order · difficulty 2/5 · 10 min · core · idea: draw questions, the same ones for both models, and look at the spread*
#
# The lines of a paired bootstrap, shuffled. **Three steps are there twice, once right and once wrong**: delete the wrong
# ones and put the rest in order.
#
# - `first`, `second`: (n,) arrays, the scores of two models on the same questions
# - `draws`: (R, n) whole numbers, R draws of n questions each, with replacement; row r says which questions are in draw r
# - result: the pair (low, high), between which 95 of 100 draws have the mean difference, second minus first: the
#   quantiles 0.025 and 0.975 of the mean differences.
# ```python
# first, second = np.array([0.0, 1, 1, 0]), np.array([1.0, 1, 1, 0])
# bootstrap_interval(first, second, np.array([[0, 0, 0, 0], [1, 2, 3, 3], [0, 1, 2, 3]]))      # (0.0125, 0.9625)
# ```
# The three draws have the mean differences 1, 0 and 0.25.
#
# <details><summary>Hint 1</summary>
#
# One draw is one pretended experiment. How many numbers does it give, and how many are there after all draws?
#
# </details>
# <details><summary>Hint 2</summary>
#
# First subtract, question by question: that is what makes it paired (section 7). Then look up the drawn questions, a
# row for each draw, and average *within* a draw. Only then ask for quantiles, half of the 5 % at each end.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: how sure is the median weight gain of five lambs?
# ```python
# before, after = np.array([3.0, 4, 4, 5, 3]), np.array([7.0, 6, 9, 8, 5])
# lambs = np.random.default_rng(0).integers(5, size=(2000, 5))
# gains = np.median((after - before)[lambs], axis=1)                  # (2000,): one median for each pretended flock
# np.quantile(gains, [0.1, 0.9])                                      # 80 of 100 flocks lie between these
# ```
#
# </details>

# %%
def bootstrap_interval(first, second, draws):
    """(n,), (n,), (R, n) → (low, high) of the mean of second minus first over the draws."""
    ### BEGIN SOLUTION
    difference = second - first
    means = difference[draws].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
    ### STUB
    # low, high = np.quantile(means, [0.05, 0.95])
    # means = difference[draws].mean(axis=1)
    # difference = second - first
    # return float(low), float(high)
    # means = difference[draws].mean(axis=0)
    # low, high = np.quantile(means, [0.025, 0.975])
    # difference = second - first.mean()
    ### END SOLUTION

# %%
check("12.bootstrap_interval", bootstrap_interval)

# %% [markdown] tags=["solution"]
# **Why it works.** `difference[draws]` is a table (R, n) of looked-up differences; its mean over axis 1 is one number
# for each pretended experiment. Their spread is what your own experiment would do if it were repeated with other
# questions from the same source.
#
# **The most common wrong road** is axis 0. Then each *place* is averaged over all draws, and everything comes out near
# the mean: an interval of nearly no width, and great certainty about nothing.
#
# Is the interval honest? In a hundred pretended worlds, how often does it hold the truth?

# %% tags=["solution"]
dice, held = np.random.default_rng(7), 0
for _ in range(200):
    hard = dice.random(150)  # how hard each question is, for both
    one = (dice.random(150) > hard).astype(float)
    two = (dice.random(150) > hard - 0.05).astype(float)
    low, high = bootstrap_interval(one, two, dice.integers(150, size=(400, 150)))
    held += low <= 0.05 - 0.05**2 / 2 <= high  # what the second gains on average
print(f"the 95 % interval held the true gain in {held / 2:.0f} of 100 worlds")
assert held > 170

# %% [markdown]
# ## 12.5 items_needed: plan a test
#
# *design · difficulty 3/5 · 12 min · core · idea: only questions on which models disagree tell them apart*
#
# You have two models and a pilot: both were asked the same few questions. How many questions must the real test have?
#
# Write `items_needed(first, second, difference, power)`:
# - `first`, `second`: lists of 0 and 1 of the same length, the pilot
# - `difference`: the smallest difference of the two scores that you want to see, between 0 and 1
# - `power`: the probability with which you want to see it, above 0.5 and below 1; "to see" means that it is larger than
#   1.96 standard errors (exactly: the quantile 0.975 of the normal distribution)
# - result: the smallest whole number n with
#   $n \ge (z_{0.975} + z_{power})^2 \, (\omega - \delta^2) / \delta^2$, where δ is the difference and ω the share of
#   questions on which the models disagree, as seen in the pilot. Two scores cannot differ by more than ω: if the pilot
#   shows less than δ, take δ for it.
# ```python
# first, second = [1, 0, 1, 1, 0, 0, 1, 0, 1, 0], [1, 0, 0, 1, 0, 1, 1, 0, 1, 0]      # they disagree on 2 of 10
# items_needed(first, second, 0.1, 0.8)                                               # 150
# items_needed(first, second, 0.05, 0.8)                                              # 621
# ```
# `NormalDist().inv_cdf(share)` gives the quantile z of a share.
#
# <details><summary>Hint 1</summary>
#
# In the pilot both models score 0.5. Does that say that they are equally good, that they always agree, or neither?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The variance of one question's difference, which is −1, 0 or 1, is the mean of its square minus the square of its mean
# (section 8): ω − δ². You know neither in advance. ω comes from the pilot; δ is the difference *you want to see*, not
# the one that the pilot happens to show. Round so that the promise holds.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: how many nights must one measure, to hear a change of 2 decibels with a probability
# of 90 %, if the nightly change varies with a variance of 16?
# ```python
# z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.9)      # 1.96 + 1.28
# z**2 * 16 / 2**2                                                 # 42.03
# math.ceil(z**2 * 16 / 2**2)                                      # 43
# ```
#
# </details>

# %%
def items_needed(first, second, difference, power):
    """Two lists of 0 and 1, the difference to see, the probability to see it → questions."""
    ### BEGIN SOLUTION
    disagree = sum(a != b for a, b in zip(first, second)) / len(first)
    disagree = max(disagree, difference)
    z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(power)
    return math.ceil(z**2 * (disagree - difference**2) / difference**2)
    ### END SOLUTION

# %%
check("12.items_needed", items_needed)

# %% [markdown] tags=["solution"]
# **Why it works.** The standard error with n questions is the root of (ω − δ²)/n. The true difference must lie 1.96 of
# these above zero, and z of the power more, so that chance pushes it below the line only in the remaining cases.
#
# **The most common wrong road** is to plan with the difference that the pilot shows. A pilot is small, its difference is
# mostly noise; and if you only go on when it looks good, you plan with numbers that are too good. The second is to plan
# as if each model had questions of its own:

# %% tags=["solution"]
first, second = [1] * 55 + [0] * 35 + [1] * 4 + [0] * 6, [1] * 55 + [0] * 35 + [0] * 4 + [1] * 6
for difference in (0.05, 0.03, 0.01):
    paired = items_needed(first, second, difference, 0.8)
    p, z = 0.6, NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    apart = math.ceil(z**2 * 2 * p * (1 - p) / difference**2)
    print(f"to see {difference}: {paired:>7,} questions for both, {apart:>7,} if each has its own")

# %% [markdown]
# ## 12.6 planted_gain: what were the copies worth?
#
# *measure · difficulty 3/5 · 15 min · further · idea: subtract twice: model from model, planted from not planted*
#
# Some test questions were planted in a training text. Two models were trained, one on the clean text and one on the
# contaminated one, and asked all questions. Measure what the copies were worth, and judge.
#
# Write `planted_gain(clean, dirty, planted)`:
# - `clean`, `dirty`: (n,) float arrays of 0 and 1, the scores of the two models
# - `planted`: (n,) bool, True where the question was in the contaminated text; at least two are True and two False
# - result: the triple (`gain`, `error`, `verdict`). `gain`: the mean difference dirty minus clean of the planted
#   questions, minus that of the others. `error`: its standard error, from the variance of the differences in each of the two groups
#   (n − 1 in the denominator), the groups being independent. `verdict`: `"gain"` if `gain` lies more than 1.96 errors
#   above 0, `"loss"` if more than 1.96 errors below, else `"cannot tell"`.
# ```python
# clean, dirty = np.array([0.0, 0, 1, 1, 0, 1]), np.array([1.0, 1, 1, 1, 0, 0])
# planted_gain(clean, dirty, np.array([True, True, True, False, False, False]))      # (1.0, 0.4714, 'gain')
# ```
# (Differences 1, 1, 0 and 0, 0, −1.)
#
# <details><summary>Hint 1</summary>
#
# The contaminated model is better on planted questions by 0.1, and on the others by 0.08. What did the copies do, and
# what did something else?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Subtract first question by question: that is paired, and what makes a question hard cancels (section 6). The two groups
# hold different questions, so *their* means are independent: variances of means add up. A variance of a mean is the
# variance of one, divided by their number.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a new feed for some hens, during a warm month in which all hens lay more.
# ```python
# june, july = np.array([4.0, 5, 3, 4, 4, 5]), np.array([7.0, 7, 6, 5, 5, 7])
# fed = np.array([True, True, True, False, False, False])
# change = july - june                                                           # 3, 2, 3 and 1, 1, 2
# change[fed].mean() - change[~fed].mean()                                       # 1.33: the month gave 1.33 as well
# math.sqrt(change[fed].var(ddof=1) / 3 + change[~fed].var(ddof=1) / 3)          # 0.47
# ```
#
# </details>

# %%
def planted_gain(clean, dirty, planted):
    """(n,), (n,) of 0 and 1, (n,) bool → (gain, its standard error, verdict)."""
    ### BEGIN SOLUTION
    difference = dirty - clean
    inside, outside = difference[planted], difference[~planted]
    gain = inside.mean() - outside.mean()
    error = math.sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside))
    verdict = "cannot tell"
    if abs(gain) > 1.96 * error:
        verdict = "gain" if gain > 0 else "loss"
    return float(gain), error, verdict
    ### END SOLUTION

# %%
check("12.planted_gain", planted_gain)

# %% [markdown] tags=["solution"]
# **Why it works.** Whatever the contaminated text does to all questions alike, such as more training on good sentences,
# is in both means and cancels. What is left comes from the copies, if everything else moves both groups
# alike. Near 0 or 1 it does not: there is no room.
#
# **The most common wrong road** is to compare planted with not planted in the contaminated model alone. That is a
# difference between two sets of questions, and one of them may be easier. The clean model, which has seen neither, says
# by how much.
#
# An experiment in which the copies do nothing, and the planted half is easier:

# %% tags=["solution"]
dice, called, naive = np.random.default_rng(6), 0, 0
for _ in range(400):
    planted = np.arange(300) % 2 == 0
    easy = 0.6 + 0.15 * planted
    clean, dirty = ((dice.random(300) < easy).astype(float) for _ in range(2))
    called += planted_gain(clean, dirty, planted)[2] != "cannot tell"
    apart = dirty[planted].mean() - dirty[~planted].mean()
    naive += apart > 1.96 * math.sqrt(dirty[planted].var() / 150 + dirty[~planted].var() / 150)
print(f"copies that do nothing are called a gain or a loss in {called / 4:.0f} of 100 worlds, "
      f"and a gain in {naive / 4:.0f} without the clean model")

# %% [markdown]
# ## 12.7 signal_to_noise: is this probe any use?
#
# *fill · difficulty 3/5 · 12 min · further · idea: signal between models, noise between seeds; averaging checkpoints helps*
#
# Two designs, one known to be better, were run with several seeds, and the probe was scored at the last few checkpoints
# of each run. What is the probe worth for telling two such designs apart from a single run of each? And how much better
# does it get if you average the checkpoints of a run before you look at it?
#
# `signal_to_noise(worse, better)`:
# - `worse` (S, K), `better` (S', K): scores, a row for each seed, a column for each checkpoint; at least two seeds each,
#   and the number of seeds may differ
# - result: a pair, the ratio for the **last checkpoint** of each run, and that for the **mean of all checkpoints** of
#   each run
# - a ratio is the signal divided by the noise. Signal: how far the means over the seeds are apart, without sign. Noise:
#   the root of the mean of the two variances over seeds (n − 1 in the denominator), each design counting the same
# - without noise, the ratio is `math.inf` if there is a signal, and 0 if there is none.
#
# The loop is written; fill in its body, which computes `ratio` from `low` and `high`, one number a seed.
# ```python
# worse, better = np.array([[0.5, 0.5], [0.7, 0.5]]), np.array([[0.7, 0.7], [0.7, 0.9]])
# signal_to_noise(worse, better)                   # (3.0, 2.8284)
# ```
#
# <details><summary>Hint 1</summary>
#
# A probe jumps up and down from checkpoint to checkpoint, and all seeds of a design end at the same value. Which of the
# two is the noise that this exercise asks for?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Each seed is reduced to one number first, which the loop does for you. Then the seeds of a design have a mean and a
# variance (section 9). The signal comes from the means, the noise from the variances. Variances are averaged, not
# standard deviations, and the root comes last.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two scales, three weighings each. Can one weighing tell a loaf from a larger loaf?
# ```python
# small, large = np.array([980.0, 1000, 1020]), np.array([1090.0, 1100, 1110])
# apart = abs(large.mean() - small.mean())                                 # 100.0
# spread = math.sqrt((small.var(ddof=1) + large.var(ddof=1)) / 2)          # the root of (400 + 100) / 2: 15.8
# apart / spread                                                           # 6.3
# ```
#
# </details>

# %%
def signal_to_noise(worse, better):
    """(S, K), (S', K) → (ratio of the last checkpoints, ratio of the means over checkpoints)."""
    ratios = []
    for reduce in (lambda scores: scores[:, -1], lambda scores: scores.mean(axis=1)):
        low, high = reduce(worse), reduce(better)  # one number a seed
        ### BEGIN SOLUTION
        signal = abs(high.mean() - low.mean())
        noise = math.sqrt((low.var(ddof=1) + high.var(ddof=1)) / 2)
        ratio = signal / noise if noise > 0 else math.inf if signal > 0 else 0.0
        ### END SOLUTION
        ratios.append(float(ratio))
    return tuple(ratios)

# %%
check("12.signal_to_noise", signal_to_noise)

# %% [markdown] tags=["solution"]
# **Why it works.** The ratio says how many standard deviations of one run lie between the designs. At 1, two single runs
# come out in the wrong order about one time in four; at 3, hardly ever.
#
# **The most common wrong road** is to take the spread over checkpoints for the noise. It is one part of it, and the one
# that averaging removes; what a seed does to a whole run is in all of its checkpoints, and no averaging touches it.
#
# How much does averaging help, if the wobble of a checkpoint is as large as what the seed does?

# %% tags=["solution"]
dice = np.random.default_rng(9)
seeds = dice.normal(0, 1, (2000, 1)), dice.normal(2, 1, (2000, 1))  # what a seed does to a run
for wobble in (0.0, 1.0, 3.0):
    runs = [s + wobble * dice.normal(0, 1, (2000, 5)) for s in seeds]
    last, mean = signal_to_noise(*runs)
    print(f"wobble {wobble}: ratio {last:.2f} from the last checkpoint, {mean:.2f} from five")

# %% [markdown]
# ## 12.8 clustered_error: five questions on one text
#
# *write · difficulty 4/5 · 20 min · further · unaided · idea: what hangs together counts for less than its number*
#
# **Assistant off: no AI, no hints at first, only the lesson and your own experiments.** This is the test of whether
# standard errors are now yours.
#
# A reading test has several questions on each text. A model that understands a text gets most of its questions right; one
# that does not gets them wrong. Such questions are not independent draws: what was drawn is the *texts*. Section 7 shows
# the extreme case, each question twice.
#
# Write `clustered_error(scores, groups)`, the standard error of the mean score when questions come in groups:
#
# - `scores`: a list of numbers; `groups`: a list of labels of the same length, equal where questions belong together;
#   at least two different ones, in any order and of any sizes
# - subtract the mean of all scores from each. Add up what is left **within each group**. The error is the root of the
#   sum of the squares of these group sums, divided by the number of questions; and to be right for few groups, the sum of
#   squares is multiplied by G/(G − 1) first, where G is the number of groups
# - where every question is a group of its own, this is exactly s/√n.
# ```python
# clustered_error([1, 1, 0, 0], ["a", "b", "c", "d"])        # 0.2887
# clustered_error([1, 1, 0, 0], ["a", "a", "b", "b"])        # 0.5
# clustered_error([1, 0, 1, 0], ["a", "a", "b", "b"])        # 0.0: each text has one right and one wrong
# ```
#
# <details><summary>Hint 1</summary>
#
# All questions of a text are answered alike. How many independent observations do you have really, questions or texts?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The variance of a sum of independent things is the sum of their variances. Questions are not independent, texts are. So
# the things that are squared are the sums over a text (sections 7 and 8), and only after squaring does one add up over
# texts.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: the takings of a market over three days, in which all stalls suffer from the same
# rain. By how much does the mean of the six stall-days vary?
# ```python
# takings = {"mon": [5.0, 7], "tue": [1.0, 1], "wed": [8.0, 8]}
# mean = sum(sum(day) for day in takings.values()) / 6                          # 5.0
# off = [sum(x - mean for x in day) for day in takings.values()]                # [2.0, -8.0, 6.0]: a number a day
# math.sqrt(sum(x * x for x in off) * 3 / 2) / 6                                # 2.08
# ```
#
# </details>

# %%
def clustered_error(scores, groups):
    """Scores and the group of each → the standard error of their mean."""
    ### BEGIN SOLUTION
    mean, sums = sum(scores) / len(scores), {}
    for value, group in zip(scores, groups):
        sums[group] = sums.get(group, 0.0) + value - mean
    squares = sum(total**2 for total in sums.values())
    correction = len(sums) / (len(sums) - 1)
    return math.sqrt(squares * correction) / len(scores)
    ### END SOLUTION

# %%
check("12.clustered_error", clustered_error)  # 12.8

# %% [markdown] tags=["solution"]
# **Why it works.** The mean is the sum of independent group sums, divided by n. If the questions of a text are answered
# alike, the residuals in a sum have one sign and add up, so that its square is large: up to the group's size times what
# independent questions would give. If they cancel, the error is smaller than s/√n, and rightly so.
#
# **The most common wrong road** is to average each group first and treat the averages alike. For groups of equal size
# this is the same; otherwise it is the error of another mean, that of texts and not of questions.
#
# How wrong is s/√n, when a reading test has five questions a text? The paper of this lesson reports a factor of about 3
# for a real test (Miller 2024).

# %% tags=["solution"]
dice, means, plain, clustered = np.random.default_rng(8), [], [], []
for _ in range(400):
    understood = dice.random(60) < 0.6  # which of 60 texts the model understands
    right = np.where(understood[:, None], 0.9, 0.3) > dice.random((60, 5))
    scores, groups = right.astype(float).ravel(), np.repeat(np.arange(60), 5)
    means.append(scores.mean())
    plain.append(scores.std(ddof=1) / math.sqrt(len(scores)))
    clustered.append(clustered_error(list(scores), list(groups)))
print(f"the mean of 300 scores really varies by {np.std(means):.4f}; "
      f"s/√n says {np.mean(plain):.4f}, the clustered error {np.mean(clustered):.4f}")
worth = 300 * (np.mean(plain) / np.std(means)) ** 2
print(f"so the 300 questions are worth about {worth:.0f} independent ones")
assert abs(np.mean(clustered) / np.std(means) - 1) < 0.12
