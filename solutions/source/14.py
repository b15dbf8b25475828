# %% [markdown]
# # 14 · A data recipe: exercises
#
# Eight exercises, a little over two hours. Write your answer where the code asks for it, run the cell, then run the
# `check` below it. It says whether your function is right. If it is not, it often says which idea made it wrong.
#
# Do exercise 14.1 before you read the lesson, the others when the lesson points to them. Each has three hints: a question,
# the principle, and the same idea worked on another problem; `hint("14.score_step")` gives them one at a time. Nothing
# that is handed to a function may be changed by it.

# %% tags=["setup"]
import math
from itertools import permutations

from minigpt.classroom.shelf import half_width

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 14.1 alarms_worth: what is an alarm worth?
#
# *predict · difficulty 2/5 · 5 min · core · try first · idea: how rare the trouble is decides what a filter's alarm is worth*
#
# Do this one before you read the lesson.
#
# A filter removes 95 % of the spam. Of good pages it removes 5 %, by mistake. That sounds like a good filter. Of a
# crawl, one page in fifty is spam. **Predict first**: of a hundred pages that the filter removes, how many are spam?
#
# Write `alarms_worth(bad, caught, false_alarms)`:
# - `bad`: the share of the pages that are bad; `caught`: the share of the bad pages that the filter removes;
#   `false_alarms`: the share of the good pages that it removes. All are numbers from 0 to 1.
# - result: a pair of numbers. The share of bad pages among those **removed** (1.0 if none is removed), and the share of
#   bad pages among those **kept** (0.0 if none is kept).
#
# ```python
# alarms_worth(0.5, 0.8, 0.2)  # (0.8, 0.2)
# alarms_worth(0.1, 0.5, 0.0)  # (1.0, 0.05263…): 5 of 100 are removed, and of the 95 others 5 are bad
# ```
#
# <details><summary>Hint 1</summary>
#
# Take 10,000 pages. How many are bad, and how many of those go? How many are good, and how many of *those* go?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Both results are a part divided by a whole, and the whole holds pages of both sorts. There are two ways to be removed,
# and two ways to be kept; each is a product of two shares.
#
# </details>
# <details><summary>Hint 3</summary>
#
# An alarm on a roof rings in 9 of 10 fires and in 1 of 100 nights without one. There is a fire in 1 night of 1,000.
# ```python
# rings_with_fire = 0.001 * 0.9
# rings_without = 0.999 * 0.01
# print(rings_with_fire / (rings_with_fire + rings_without))  # 0.083: eleven of twelve alarms are false
# ```
#
# </details>


# %%
def alarms_worth(bad, caught, false_alarms):
    """Three shares -> share of bad pages among the removed, among the kept"""
    ### BEGIN SOLUTION
    removed_bad, removed_good = bad * caught, (1 - bad) * false_alarms
    kept_bad, kept_good = bad * (1 - caught), (1 - bad) * (1 - false_alarms)
    removed, kept = removed_bad + removed_good, kept_bad + kept_good
    return removed_bad / removed if removed else 1.0, kept_bad / kept if kept else 0.0
    ### END SOLUTION


# %%
check("14.alarms_worth", alarms_worth)

# %% [markdown] tags=["solution"]
# **Why it works.** The good pages are so many that a small share of them outnumbers the bad ones. For the spam of the
# question:

# %% tags=["solution"]
removed, kept = alarms_worth(1 / 50, 0.95, 0.05)
print(f"of the removed pages {removed:.0%} are spam; of the kept ones {kept:.1%}")

# %% [markdown] tags=["solution"]
# **The wrong road** is to answer 95 %: that is the recall, the share of the *spam* that goes, and not the share of *what
# goes* that is spam. Is it a bad filter? It depends on what a good page is worth. If you have plenty, it cleans well.

# %% [markdown]
# ## 14.2 score_step: only what reached it
#
# *measure · difficulty 2/5 · 15 min · core · idea: a step is judged on what reached it, and pages are not bytes*
#
# A step of a pipeline gets some pages and keeps some of them. Measure what it removed.
#
# Write `score_step(pages, arrived, kept)`:
# - `pages`: {id: (bad, size)} of the whole crawl: whether the page should go, True or False, and its bytes, above 0
# - `arrived`: a list of the ids that reached the step; `kept`: a list of those that it let through, some of `arrived`
# - result: two pairs, (precision, recall) counted in pages, and (precision, recall) counted in bytes.
#   Precision is the share of what was *removed* that is bad, recall the share of what is bad *and arrived* that was
#   removed. If nothing was removed, precision is 1.0; if nothing bad arrived, recall is 1.0.
#
# ```python
# pages = {"a": (True, 10), "b": (False, 30), "c": (True, 60), "d": (False, 5), "e": (True, 900)}
# score_step(pages, ["a", "b", "c", "d"], ["c", "d"])
# # ((0.5, 0.5), (0.25, 0.14285…)): a and b were removed; e never arrived
# ```
#
# <details><summary>Hint 1</summary>
#
# Page e of the example is bad and is not in `kept`. Did *this* step remove it?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Three groups decide everything: what was removed, what is bad among the arrived, and what is in both. Count each once
# in pages and once in bytes (section 3 has the pages). A division needs an answer for an empty group.
#
# </details>
# <details><summary>Hint 3</summary>
#
# A customs officer opens some of the cars that pass. Which share of the smuggled *kilos* is found?
# ```python
# cars = {"x": 0, "y": 40, "z": 10, "w": 500}  # kilos smuggled
# passed, opened = {"x", "y", "z"}, {"x", "y"}  # w took another road
# print(sum(cars[c] for c in opened) / sum(cars[c] for c in passed))  # 0.8, though 1 of 2 smugglers
# ```
#
# </details>


# %%
def score_step(pages, arrived, kept):
    """{"a": (True, 10), …}, ["a", …], [] -> (precision, recall) in pages, the same in bytes"""
    ### BEGIN SOLUTION
    removed = set(arrived) - set(kept)
    bad = {id for id in arrived if pages[id][0]}
    found = []
    for size in (lambda id: 1, lambda id: pages[id][1]):
        both, gone, wanted = (sum(map(size, ids)) for ids in (removed & bad, removed, bad))
        found.append((both / gone if gone else 1.0, both / wanted if wanted else 1.0))
    return tuple(found)
    ### END SOLUTION


# %%
check("14.score_step", score_step)

# %% [markdown] tags=["solution"]
# **Why it works.** The same three sums, with weight 1 or with the bytes.
#
# **The wrong road.** Whoever counts all bad pages of the crawl blames a late step for what an early one has already
# removed: its recall looks small, and nobody can mend it. And pages mislead when they differ in size. A model reads
# bytes.

# %% [markdown]
# ## 14.3 first_of_cluster: two mistakes
#
# *fix · difficulty 3/5 · 15 min · core · idea: being a copy is handed on, and the first one stays*
#
# A search for near duplicates has found pairs of documents that are alike. What is joined to the same is joined: such
# documents are one cluster. For each document we want the first of its cluster. The function below runs, and **two
# mistakes** are planted. Mend them.
#
# `first_of_cluster(count, pairs)`:
# - `count`: documents are numbered 0 to count − 1
# - `pairs`: a list of pairs of different numbers, in any order
# - result: a list of `count` numbers: for each document the smallest number in its cluster, itself if it is alone.
#
# ```python
# first_of_cluster(5, [(3, 1), (4, 3)])  # should be [0, 1, 2, 1, 1]
# # and is, as it stands,                  [0, 3, 2, 4, 4]
# ```
#
# <details><summary>Hint 1</summary>
#
# In the example, which number is left for document 1, and why that one? And when the pair (4, 3) comes, who else should
# hear of it?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Section 4: clusters are joined, not documents. So before two documents are joined, go from each to the first of its
# cluster, and join those two. The smaller one stays the first. Do the same once more for each document before you return
# the list.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Who is the oldest known ancestor? Each name points to a parent, and one has to follow the chain to its end.
# ```python
# parent = {"eve": "ann", "ann": "ada", "ada": "ada"}
# name = "eve"
# while parent[name] != name:
#     name = parent[name]
# print(name)  # ada: one look would have said ann
# ```
#
# </details>


# %%
def first_of_cluster(count, pairs):
    """5, [(3, 1), (4, 3)] -> [0, 1, 2, 1, 1]"""
    ### BEGIN SOLUTION
    first = list(range(count))

    def root(i):
        while first[i] != i:
            i = first[i]
        return i

    for i, j in pairs:
        i, j = root(i), root(j)
        first[max(i, j)] = min(i, j)
    return [root(i) for i in range(count)]
    ### STUB
    # first = list(range(count))
    # for i, j in pairs:
    #     first[min(i, j)] = first[max(i, j)]
    # return first
    ### END SOLUTION


# %%
check("14.first_of_cluster", first_of_cluster)

# %% [markdown] tags=["solution"]
# **Why it works.** Each cluster is a tree whose root is its smallest number. Joining two roots joins all that hangs on
# them, and the smaller of two roots is the smallest of both clusters.
#
# **The wrong road.** Without the way to the root, the result depends on the order in which the pairs come: the same
# crawl, read in another order, would keep other pages. And keeping the *last* of a cluster means that a page which was
# kept yesterday is dropped tomorrow, whenever a copy comes in.

# %% [markdown]
# ## 14.4 clean_pages: in which order?
#
# *order · difficulty 2/5 · 10 min · further · idea: each step counts on what the one before it has left*
#
# A small pipeline, shuffled. **Three things are there twice, once right and once wrong**: delete the wrong ones, and put
# the rest in order. The lines inside the loop have the right indentation.
#
# `clean_pages(pages, mend, extract, is_english, mask, fingerprint)`: a list of pairs (id, HTML) → a list of pairs (id,
# text), in the order of the pages, where
# - garbled signs are mended while the page is still HTML, and the main text is cut out of the mended page;
# - a page without any text goes;
# - the language is told from the main text, before anything in it is masked;
# - two pages that differ in nothing but personal data are copies: the first one stays;
# - what is kept is the masked text.
#
# ```python
# pages = [("a", "<p>call 12"), ("b", "<p>call 77"), ("c", "<p>")]
# clean_pages(pages, str, lambda t: t[3:], lambda t: True, lambda t: t[:-2] + "#", str.lower)
# # [("a", "call #")]: b is a copy of a, and c has no text
# ```
#
# <details><summary>Hint 1</summary>
#
# "call 12" and "call 77" must become one. When are they the same?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Say for each line what it needs: HTML or text, masked or not. Then there is one order left. A page that is dropped must
# not be remembered as seen, and one that is kept must.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Mail is sorted: open, read the name, and keep one letter for each name.
# ```python
# names, sorted_mail = set(), []
# for envelope in ["(Ann, 5)", "(ann, 9)"]:
#     letter = envelope.strip("()")  # first open it
#     name = letter.split(",")[0].lower()
#     if name in names:
#         continue
#     names.add(name)
#     sorted_mail.append(letter)
# print(sorted_mail)  # ['Ann, 5']
# ```
#
# </details>


# %%
def clean_pages(pages, mend, extract, is_english, mask, fingerprint):
    """[("a", "<p>call 12"), …] and five functions -> [("a", "call #"), …]"""
    ### BEGIN SOLUTION
    seen, kept = set(), []
    for id, html in pages:
        html = mend(html)
        text = extract(html)
        if not text or not is_english(text):
            continue
        text = mask(text)
        if fingerprint(text) in seen:
            continue
        seen.add(fingerprint(text))
        kept.append((id, text))
    return kept
    ### STUB
    # seen, kept = set(), []
    # for id, html in pages:
    #     if fingerprint(text) in seen:
    #         continue
    #     text = mask(text)
    #     kept.append((id, html))
    #     if not text or not is_english(html):
    #         continue
    #     kept.append((id, text))
    #     text = extract(html)
    #     seen.add(id)
    #     if not text or not is_english(text):
    #         continue
    #     html = mend(html)
    #     seen.add(fingerprint(text))
    # return kept
    ### END SOLUTION


# %%
check("14.clean_pages", clean_pages)

# %% [markdown] tags=["solution"]
# **Why it works.** HTML → mended HTML → text → English text → masked text → new text: each line takes what the one
# before it made.
#
# **The wrong twins.** Remembering ids finds no copies, because a copy has another id. The language of HTML is that of
# tags. And whoever appends the page instead of the text has done all the work for nothing.

# %% [markdown]
# ## 14.5 recipe_verdict: better, or lucky?
#
# *design · difficulty 3/5 · 20 min · core · idea: pair the seeds, weigh the domains, and leave room for "cannot tell"*
#
# Two recipes were run with some seeds, and each run was measured on several domains in bits per byte. Somebody has said
# how much each domain matters. Which recipe is better?
#
# Write `recipe_verdict(first, second, weights)`:
# - `first`, `second`: {seed: {domain: bits per byte}}. A seed may be missing in one of them: then it cannot be paired,
#   and plays no part
# - `weights`: {domain: weight}, above 0; they need not add up to 1. Domains without a weight play no part; those with
#   one are in every run
# - a run's figure is the weighted mean over the domains. For each seed that both have, take second minus first
# - result: (verdict, mean difference). The verdict is `"second"` or `"first"`, the recipe with the *lower* bits, if the
#   mean difference is farther from 0 than the half-width of its 95 % interval, `half_width(differences)`, which is
#   imported above; else `"cannot tell"`. One seed alone has no interval: `"cannot tell"`. No common seed: `("cannot
#   tell", 0.0)`.
#
# ```python
# first = {0: {"books": 2.0, "code": 1.0}, 1: {"books": 2.2, "code": 1.2}, 7: {"books": 9.0, "code": 9.0}}
# second = {0: {"books": 1.9, "code": 0.9}, 1: {"books": 2.1, "code": 1.1}}
# recipe_verdict(first, second, {"books": 3, "code": 1})  # ("second", -0.1)
# ```
#
# <details><summary>Hint 1</summary>
#
# In the example the runs of one recipe differ by 0.2, and the recipes by 0.1. Why can you tell all the same? And what
# would seed 7 do to the means, if it counted?
#
# </details>
# <details><summary>Hint 2</summary>
#
# First one number a run, then one difference a seed, then mean and half-width of those (section 7). A weighted mean
# divides by the sum of the weights that were used.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Did new shoes make the runners faster? Each runs in both; the long lap counts twice.
# ```python
# old = {"ann": {"long": 60, "short": 30}, "ben": {"long": 70, "short": 33}}
# new = {"ann": {"long": 58, "short": 30}, "ben": {"long": 67, "short": 33}, "eve": {"long": 50, "short": 20}}
# time = lambda laps: (2 * laps["long"] + laps["short"]) / 3
# gains = [time(new[name]) - time(old[name]) for name in old if name in new]
# print(sum(gains) / 2, half_width(gains))  # -1.67 ± 4.24: with two runners, nobody can tell
# ```
#
# </details>


# %%
def recipe_verdict(first, second, weights):
    """{0: {"books": 2.0, …}, …} twice, {"books": 3, …} -> ("second", -0.1)"""
    ### BEGIN SOLUTION
    def figure(run):
        return sum(weights[name] * run[name] for name in weights) / sum(weights.values())

    differences = [figure(second[seed]) - figure(first[seed]) for seed in first if seed in second]
    if not differences:
        return "cannot tell", 0.0
    mean = sum(differences) / len(differences)
    if len(differences) < 2 or abs(mean) <= half_width(differences):
        return "cannot tell", mean
    return "second" if mean < 0 else "first", mean
    ### END SOLUTION


# %%
check("14.recipe_verdict", recipe_verdict)

# %% [markdown] tags=["solution"]
# **Why it works.** What a seed does to both recipes cancels in the difference. What is left is the recipe and a little
# noise, and the interval is of that noise.
#
# **The wrong road.** Unpaired means mix seeds that one recipe had and the other had not. And the mean over domains
# without weights decides, silently, that all matter alike: a recipe that is worse in what you need may win by what you
# do not.

# %% [markdown]
# ## 14.6 capped_mixture: when a domain runs out
#
# *write · difficulty 3/5 · 20 min · further · idea: what a small domain cannot give, the others give in proportion*
#
# You ask for a mixture, and a domain is too small: read as often as you allow, it does not fill its share. `prepare`
# refuses then. Write a version that gives way instead.
#
# `capped_mixture(have, shares, total, max_epochs)`:
# - `have`: {domain: its tokens}, above 0; `shares`: {domain: share}, above 0, adding up to 1; each domain of `shares` is
#   in `have`, which may have others, too
# - `total`: tokens to train on; `max_epochs`: how often a domain may be read at most, a number above 0
# - a domain gives at most `max_epochs` times what it has. What it cannot give is divided among the domains that are not
#   at their limit, in proportion to their shares. That may bring another one to its limit: go on
# - result: {domain: tokens}, numbers that are not rounded, one for each domain of `shares`. If all are at their limit,
#   the total is not reached, and that is that.
#
# ```python
# have = {"web": 1000, "books": 30, "code": 200, "mail": 5}
# capped_mixture(have, {"web": 0.5, "books": 0.3, "code": 0.2}, 1000, 4)
# # {"web": 628.57…, "books": 120, "code": 251.43…}: books lack 180 tokens, shared out 5 : 2
# ```
#
# <details><summary>Hint 1</summary>
#
# Books are at their limit. How many tokens are left, and in which proportion do web and code share them? And if code had
# only 60 tokens?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A loop: share out what is left among the open domains. Those that would go above their limit get their limit and are
# closed; if there is none, you are done. Each round closes at least one, and the shares of the rest then no longer add
# up to 1.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Three children share 12 sweets in equal parts, but the smallest eats at most 2.
# ```python
# most, left, got = {"ann": 9, "ben": 2, "eve": 9}, 12, {}
# part = left / len(most)  # 4 each: too many for ben
# got["ben"] = most.pop("ben")
# part = (left - got["ben"]) / len(most)  # 5 each for the other two: nobody is full
# print(got | dict.fromkeys(most, part))
# ```
#
# </details>


# %%
def capped_mixture(have, shares, total, max_epochs):
    """{"web": 1000, …}, {"web": 0.5, …}, 1000, 4 -> {"web": 628.57…, …}"""
    ### BEGIN SOLUTION
    got, free, left = {}, dict(shares), total
    while free:
        part = {name: left * share / sum(free.values()) for name, share in free.items()}
        limits = {name: max_epochs * have[name] for name in free}
        full = {name: limit for name, limit in limits.items() if part[name] > limit}
        if not full:
            return got | part
        got |= full
        left -= sum(full.values())
        free = {name: share for name, share in free.items() if name not in full}
    return got
    ### END SOLUTION


# %%
check("14.capped_mixture", capped_mixture)

# %% [markdown] tags=["solution"]
# **Why it works.** Closing a domain never makes another one smaller: the open ones get at least what they had. So a
# domain that is above its limit in one round would be above it in all later ones, and may be closed at once.
#
# **The wrong road.** One round only. The tokens that were freed push the next domain over its limit, and nobody looks.
# Or: cut all at their limits and scale everything up to the total, which lifts the closed ones above their limits again.

# %% [markdown]
# ## 14.7 annealing_gain: the decay, or the text?
#
# *fill · difficulty 2/5 · 15 min · further · idea: the control changes one thing only*
#
# From each of several trunks, two decays were run over as many tokens: one on the *same* text as before, one on *new*
# text. Of each you have the held-out bits per byte, and of the trunk's end, too.
#
# Fill the holes of `annealing_gain(trunk, same, new)`:
# - three lists of equal length, at least 2, an entry a seed: bits per byte at the trunk's end, after the decay on the
#   same text, after the decay on new text
# - result: (decay, text, sure). `decay` is what the same decay gained on the old text, on average over the seeds; `text`
#   what the new text gained beside that; gains are positive where the bits become fewer. `sure` is True if the interval of
#   `text`, mean ± `half_width`, does not contain 0; else False.
#
# ```python
# annealing_gain([3.0, 3.2], [2.8, 3.0], [2.7, 2.9])  # (0.2, 0.1, True)
# ```
#
# <details><summary>Hint 1</summary>
#
# The whole gain of the example is 0.3. Which part of it would have come without any new text?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Two runs that differ in one thing show what that thing does (section 10). Trunk and *same* differ in the decay: more
# steps, at a falling rate. Which two differ in the text alone? Pair them by seed before you average.
#
# </details>
# <details><summary>Hint 3</summary>
#
# A field got rain and a new fertiliser; beside it lies one that got the rain alone.
# ```python
# before, rain, both = [5.0, 6.0], [7.0, 8.5], [7.5, 8.7]  # sheaves, two farms
# by_rain = [after - start for start, after in zip(before, rain)]
# by_fertiliser = [after - alone for alone, after in zip(rain, both)]
# print(sum(by_rain) / 2, sum(by_fertiliser) / 2)  # 2.25 and 0.35
# ```
#
# </details>


# %%
def annealing_gain(trunk, same, new):
    """Bits per byte of three kinds of runs, an entry a seed -> (decay, text, sure)"""
    ### BEGIN SOLUTION
    by_decay = [start - end for start, end in zip(trunk, same)]
    by_text = [old - end for old, end in zip(same, new)]
    decay, text = sum(by_decay) / len(by_decay), sum(by_text) / len(by_text)
    sure = bool(abs(text) > half_width(by_text))
    ### END SOLUTION
    return decay, text, sure


# %%
check("14.annealing_gain", annealing_gain)

# %% [markdown] tags=["solution"]
# **Why it works.** *same* and *new* differ in the text alone. The two gains add up to the whole, so nothing is counted
# twice.
#
# **The wrong road.** Trunk minus *new*. It holds both gains, and you cannot tell them apart.

# %% [markdown]
# ## 14.8 fair_shares: who earned the gain?
#
# *write · difficulty 4/5 · 30 min · further · unaided · idea: the gain of a step depends on what was done before it, so average over all orders*
#
# On your own: the assistant stays off.
#
# An ablation adds one step after the other, and each gets the gain at its turn. In another order, each would get another
# gain. A fair division takes **all** orders in which the steps can be added, each equally likely, and gives every step
# its mean gain. The idea was made for players who win together (Shapley 1953). It needs a run for each set of steps.
#
# Write `fair_shares(bits)`:
# - `bits`: {frozenset of the steps that were done: bits per byte}, with an entry for *every* set that can be made of
#   the steps, the empty one among them; names of steps are `str`; one to five steps
# - result: {step: its mean gain}. A gain is bits before minus bits after.
#
# ```python
# bits = {frozenset(): 5.0, frozenset({"cut"}): 3.0, frozenset({"filter"}): 4.0, frozenset({"cut", "filter"}): 2.5}
# fair_shares(bits)  # {"cut": 1.75, "filter": 0.75}: cut gains 2.0 first and 1.5 second
# ```
#
# <details><summary>Hint 1</summary>
#
# Write down both orders of the example, and what each of the two steps gains in each. What do the shares add up to, and
# where else does that number stand?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `itertools.permutations` gives all orders, and it is imported above. Walk along an order with the set of what is done
# so far; a frozenset and one more step is `done | {step}`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Two singers and what a concert takes in; the mean over both orders of their arrival.
# ```python
# takes = {"": 0, "a": 10, "b": 4, "ab": 20}
# a_first, a_second = takes["a"] - takes[""], takes["ab"] - takes["b"]
# print((a_first + a_second) / 2)  # 13.0 for a; b gets the other 7
# ```
#
# </details>


# %%
def fair_shares(bits):
    """{frozenset(): 5.0, frozenset({"cut"}): 3.0, …} -> {"cut": 1.75, …}"""
    ### BEGIN SOLUTION
    steps = sorted(max(bits, key=len))
    orders = list(permutations(steps))
    gains = dict.fromkeys(steps, 0.0)
    for order in orders:
        done = frozenset()
        for step in order:
            gains[step] += (bits[done] - bits[done | {step}]) / len(orders)
            done = done | {step}
    return gains
    ### END SOLUTION


# %%
check("14.fair_shares", fair_shares)

# %% [markdown] tags=["solution"]
# **Why it works.** Along any order the gains add up to the whole, so their means do as well: nothing is left over, and
# nothing is given twice. Two steps that are alike get the same.
#
# **The wrong road.** The gain of each step alone, on the raw crawl, adds up to too much if the steps do the same work
# twice, and to too little if one needs the other.
#
# **Its price.** Five steps need 32 recipes, each with several seeds. So most reports show one order. Say which.
