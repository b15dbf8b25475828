# %% [markdown]
# # 15 · What it learned: exercises
#
# Eight exercises, about two hours; the three marked *core* are enough to go on. Write your answer where the code asks
# for it, run the cell, then run the `check` below it. It says whether your function is right. If it is not, it often
# says which idea made it wrong.
#
# Do exercise 15.1 before you read the lesson, the others when the lesson points to them. Each has three hints: a
# question, the principle, and the same idea worked on another problem; `hint("15.exposure")` gives them one at a time.
# Nothing that is handed to a function may be changed by it.
#
# What a model "pays" for a text is minus its log-probability, in nats. Who pays less expects it more.

# %% tags=["setup"]
import math
import random

import torch

from minigpt.classroom.shelf import half_width
from minigpt.probes import wilson

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 15.1 exposure: this number, or any number?
#
# *predict · difficulty 2/5 · 5 min · core · try first · idea: a secret is known as far as it stands out among its like*
#
# Do this one before you read the lesson.
#
# Among a million pages there was one with the line "The combination of the blue safe is 41 73 09." Has the model
# kept it? Ask what it pays for these digits, and for many others of the same form that were drawn at random and never
# written anywhere. Then see how far ahead the planted ones are. The **exposure** of a secret, in bits, is the logarithm
# to base 2 of the number of candidates, minus that of its place among them (Carlini et al. 2019).
#
# **Predict first**, in your head. There are 31 other candidates, and the planted digits are the cheapest of all: how
# many bits? And how many if 15 others are cheaper?
#
# Write `exposure(secret, others)`:
# - `secret`: what the model pays for the planted digits, in nats; `others`: a list, at least one long, of what it pays
#   for the other candidates. The secret is a candidate, too
# - its place is 1 if it is the cheapest. Each cheaper candidate moves it one place down, and one that costs *exactly as
#   much* moves it half a place down
# - result: the exposure in bits.
#
# ```python
# exposure(2.0, [9.0, 8.0, 7.5])  # 2.0: the first of four
# exposure(8.0, [9.0, 2.0, 7.5])  # 0.41…: the third of four
# exposure(8.0, [8.0, 8.0])  # 0.58…: a model that cannot tell them apart, place 2 of 3
# ```
#
# <details><summary>Hint 1</summary>
#
# You look for the secret by trying the candidates, cheapest first. How many do you try? And how many would you try, in
# the worst case, if you knew nothing?
#
# </details>
# <details><summary>Hint 2</summary>
#
# What it costs in nats plays no part, only who costs less (section 6). So count: one for the secret itself, one for
# each that is cheaper, a half for each tie. Halving the place is worth one bit.
#
# </details>
# <details><summary>Hint 3</summary>
#
# How well do you know a street? Say of each house how far you think it is; the right one has this place in your list.
# ```python
# right, other_houses = 120, [80, 300, 450, 120, 700, 900, 650]  # metres; you go to the nearest first
# place = 1 + sum(h < right for h in other_houses) + sum(h == right for h in other_houses) / 2
# print(place, math.log2((len(other_houses) + 1) / place))  # 2.5 and 1.68 bits
# ```
#
# </details>


# %%
def exposure(secret, others):
    """What the secret costs, [what each other candidate costs, …] -> bits"""
    ### BEGIN SOLUTION
    cheaper = sum(cost < secret for cost in others)
    ties = sum(cost == secret for cost in others)
    place = 1 + cheaper + ties / 2
    return math.log2(len(others) + 1) - math.log2(place)
    ### END SOLUTION


# %%
check("15.exposure", exposure)

# %% [markdown] tags=["solution"]
# **Why it works.** The place is how many guesses the secret costs somebody who asks the model. The exposure says by how
# many bits this search is shorter than one without the model. With 31 others it is at most 5 bits, however sure the
# model is: to see more, take more candidates. What does a number get that was never planted?

# %% tags=["solution"]
dice = random.Random(15)
never = [exposure(dice.random(), [dice.random() for _ in range(31)]) for _ in range(3000)]
middle = exposure(0, [-1] * 15 + [1] * 16)
print(f"first of 32: {exposure(0, [1] * 31):.2f} bits; place 16 of 32: {middle:.2f}")
print(f"never planted: {sum(never) / len(never):.2f} bits on average, "
      f"and {sum(bits >= 3 for bits in never) / len(never):.0%} of them have 3 bits or more")

# %% [markdown] tags=["solution"]
# **The wrong road** is to compare the cost of the secret with the *mean* cost of the others. A model that has learned
# nothing but how digits are written makes all of them cheap; and some are cheap because they have a pattern. Only the
# place says whether this one is more expected than its like. And a number that nobody planted does not get 0 bits:
# one canary with an exposure of 2 says nothing. Plant several.

# %% [markdown]
# ## 15.2 induction_score: does a head look where it helps?
#
# *fill · difficulty 3/5 · 15 min · further · idea: find the token before, and look at what came after it*
#
# A head that copies does this: at a token that has stood in the text before, it looks at the place *after* the earlier
# one, for there stands what came next the last time (Olsson et al. 2022). How much of a head's attention does that?
#
# Fill the holes of `induction_score(attention, ids)`:
# - `attention`: a tensor (H, T, T), `attention[h, t, s]` is how much head h at position t looks at position s; each row
#   adds up to 1, and nothing looks ahead
# - `ids`: a list of T token ids
# - for a position t, the *right places* are s + 1 for **every** s with `ids[s] == ids[t]` and s + 1 < t
# - result: a tensor (H,). For each head the attention from t to all of t's right places together, averaged over the
#   positions t that have such places; zeros if no position has.
#
# ```python
# ids = [5, 7, 9, 5, 7]  # position 3 should look at 1, and position 4 at 2
# attention = torch.eye(5).repeat(2, 1, 1)  # two heads that look at themselves
# attention[0, 3] = torch.tensor([0.1, 0.9, 0, 0, 0])
# attention[0, 4] = torch.tensor([0, 0, 0.7, 0.3, 0])
# induction_score(attention, ids)  # tensor([0.8000, 0.0000])
# ```
#
# <details><summary>Hint 1</summary>
#
# In the example: which token stands at position 3, where has it stood before, and which position comes after that one?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Two tables of T × T truths. In the first, (t, s) is true where the tokens are equal. The second says where to look,
# and is the first one moved by one column (section 5). A position that has nowhere to look says nothing of the head: it
# must not enter the average as a zero.
#
# </details>
# <details><summary>Hint 3</summary>
#
# A guest asks on some evenings for the dish that was served the day after the last fish. Which evenings are those?
# ```python
# fish = torch.tensor([True, False, False, True, False])
# day_after = torch.zeros_like(fish)
# day_after[1:] = fish[:-1]  # moved by one
# asked = torch.tensor([0.0, 0.9, 0.1, 0.0, 0.5])  # how much he asked for it
# print(day_after, asked[day_after].mean())  # days 1 and 4, 0.70: the other days do not count
# ```
#
# </details>


# %%
def induction_score(attention, ids):
    """(H, T, T) attention, T token ids -> (H,) attention to what followed the same token before"""
    ids = torch.as_tensor(ids)
    same = ids[:, None] == ids  # (T, T): does position t hold the same token as position s?
    ### BEGIN SOLUTION
    places = torch.zeros_like(same)
    places[:, 1:] = same[:, :-1]
    places = places.tril(-1)
    repeated = places.any(1)
    ### END SOLUTION
    if not repeated.any():
        return torch.zeros(len(attention))
    ### BEGIN SOLUTION
    looked = (attention * places).sum(2)
    score = looked[:, repeated].mean(1)
    ### END SOLUTION
    return score


# %%
check("15.induction_score", induction_score)

# %% [markdown] tags=["solution"]
# **Why it works.** Moving the table by one column turns "the same token" into "the token after the same one". What is
# left below the diagonal lies in the past, at least one place back.
#
# **The wrong road.** Without the move you measure another kind of head, one that looks at the earlier *same* token: it
# finds the repeat and does not know how it goes on. And whoever averages over all positions measures the text as well:
# in a text without repeats the best copying head would get a score near zero.
#
# How large is the score of a head that looks everywhere alike?

# %% tags=["solution"]
for length in (16, 64):
    even = torch.ones(1, length, length).tril()
    even = even / even.sum(2, keepdim=True)
    twice = torch.randperm(length // 2, generator=torch.Generator().manual_seed(0)).tolist() * 2
    score = induction_score(even, twice)[0]
    print(f"{length} tokens, the second half repeats the first: {score:.3f}")

# %% [markdown]
# ## 15.3 known_facts: two mistakes
#
# *fix · difficulty 3/5 · 15 min · core · idea: a control must match what it is compared with*
#
# A model was asked for facts that the text told with different numbers of exposures, among four options each. Each
# question was asked again with the name of a *stranger*, somebody whom the text never mentions: whoever still gives
# "the right answer" does not know the person, but knows which answers are common. Two complaints about the function
# below have come in. It calls facts known although a stranger's name does nearly as well at that level. And it is sure
# of itself even where only a handful of facts was asked. **Two mistakes** are planted. Mend them.
#
# `known_facts(rows)`:
# - `rows`: a list of (exposures, told, stranger), one a fact. `told` is 1 if the answer was right, else 0; `stranger`
#   is 1 if the same answer was given after the stranger's name, else 0
# - result: {exposures: (gain, known)} for each level that occurs. `gain` is the share right of this level, minus the
#   stranger's share at this level. `known` is True if the lower end of the first share's interval lies above the upper
#   end of the second's; both from `wilson(share, n)`, a pair (low, high), which is imported above.
#
# ```python
# rows = [(64, 1, 1)] * 6 + [(64, 1, 0), (64, 0, 0)] + [(0, 0, 0)] * 12
# known_facts(rows)  # should be {64: (0.125, False), 0: (0.0, False)}
# # and is, as it stands,          {64: (0.575, True), 0: (-0.3, False)}
# ```
#
# <details><summary>Hint 1</summary>
#
# In the example: how often did the stranger's name give the right answer at 64 exposures? Which number did the function
# take for it?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Facts that are told often are often told of common places and trades, and those are what a model guesses. So a control
# has to be asked *at the same level* (section 2). And an interval is as wide as the number of questions that made the
# share, not of all that were asked.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Do the new boots help? On rock nearly everybody is fast, on mud nobody; the boots were mostly worn on rock.
# ```python
# boots = {"rock": [9, 8, 9, 9], "mud": [3]}  # km/h
# shoes = {"rock": [9, 8], "mud": [3, 2, 3, 2]}
# mean = lambda values: sum(values) / len(values)
# print(mean(sum(boots.values(), [])) - mean(sum(shoes.values(), [])))  # 3.1: so it seems
# print({ground: mean(boots[ground]) - mean(shoes[ground]) for ground in boots})  # 0.25 and 0.5
# ```
#
# </details>


# %%
def known_facts(rows):
    """[(exposures, right?, right with a stranger's name?), …] -> {exposures: (gain, known)}"""
    ### BEGIN SOLUTION
    found = {}
    for level in {exposures for exposures, _, _ in rows}:
        told = [right for exposures, right, _ in rows if exposures == level]
        strange = [right for exposures, _, right in rows if exposures == level]
        share, control = sum(told) / len(told), sum(strange) / len(strange)
        low, high = wilson(share, len(told))[0], wilson(control, len(strange))[1]
        found[level] = share - control, low > high
    return found
    ### STUB
    # found = {}
    # for level in {exposures for exposures, _, _ in rows}:
    #     told = [right for exposures, right, _ in rows if exposures == level]
    #     strange = [right for _, _, right in rows]
    #     share, control = sum(told) / len(told), sum(strange) / len(strange)
    #     low, high = wilson(share, len(rows))[0], wilson(control, len(rows))[1]
    #     found[level] = share - control, low > high
    # return found
    ### END SOLUTION


# %%
check("15.known_facts", known_facts)

# %% [markdown] tags=["solution"]
# **Why it works.** Both shares come from the same questions with the same options. What a model guesses without knowing
# anybody raises both, and cancels.
#
# **The wrong road** is to compare with chance, a quarter for four options. Where some answers are common, nobody
# guesses at chance. A model that knows no person and likes the common answers, in four hundred worlds:

# %% tags=["solution"]
dice, fooled, chance = random.Random(3), 0, 0
for _ in range(400):
    rows = [(64, int(dice.random() < 0.45), int(dice.random() < 0.45)) for _ in range(60)]
    fooled += known_facts(rows)[64][1]
    chance += wilson(sum(told for _, told, _ in rows) / 60, 60)[0] > 0.25
print(f"called known: {fooled / 4:.0f} of 100 times against the stranger, "
      f"{chance / 4:.0f} against chance")
assert fooled < 40 < chance

# %% [markdown]
# ## 15.4 extracts: put the lines in order
#
# *order · difficulty 2/5 · 10 min · further · idea: extracted is what comes out whole when the model is left to itself*
#
# A secret is *extracted* if the model, given what stood before it, writes it to the end, always taking its likeliest
# token. The lines of such a test, shuffled. **Three things are there twice, once right and once wrong**: delete the
# wrong ones and put the rest in order. The first line, the loop and the last line are where they belong, and the
# indentation is right.
#
# - `canaries`: a list of (copies, prefix, secret): in how many pages it was planted, the tokens before the secret, and
#   the tokens of the secret, both lists and neither of them empty
# - `next_token`: a function of a list of tokens; it gives the model's likeliest next token
# - result: {copies: share of the canaries with so many copies that come out whole}
#
# ```python
# def next_token(tokens):  # a model that knows one song
#     song = "one two three four five six".split()
#     return song[song.index(tokens[-1]) + 1]
#
# canaries = [(4, ["one"], ["two", "three"]), (4, ["three"], ["four", "six"]), (1, ["two"], ["one"])]
# extracts(canaries, next_token)  # {4: 0.5, 1: 0.0}
# ```
#
# <details><summary>Hint 1</summary>
#
# What does the model read when it writes the third token of a secret: the true second one, or its own?
#
# </details>
# <details><summary>Hint 2</summary>
#
# For each canary: begin with a copy of its prefix, for the list is the caller's. Then as many tokens as the secret has,
# each made from *all* that stands there by now. Then, and only once, compare: all of it, or nothing (section 6).
#
# </details>
# <details><summary>Hint 3</summary>
#
# Does a recipe for a sequence give the sequence that you want? Doubling, from 3 on:
# ```python
# start, wanted = [3], [6, 12, 24]
# row = list(start)  # start stays as it is
# while len(row) < len(start) + len(wanted):
#     row.append(2 * row[-1])
# print(row[1:] == wanted, start)  # True [3]
# ```
#
# </details>


# %%
def extracts(canaries, next_token):
    """[(copies, prefix, secret), …], tokens → likeliest next token -> {copies: share extracted}"""
    ### BEGIN SOLUTION
    came = {}
    for copies, prefix, secret in canaries:
        read = list(prefix)
        for _ in secret:
            read.append(next_token(read))
        whole = read[len(prefix):] == secret
        came.setdefault(copies, []).append(whole)
    return {copies: sum(each) / len(each) for copies, each in came.items()}
    ### STUB
    # came = {}
    # for copies, prefix, secret in canaries:
    #     came.setdefault(copies, []).append(whole)
    #     whole = read[-1] == secret[-1]
    #     for _ in secret:
    #         read.append(next_token(prefix))
    #         read.append(next_token(read))
    #     read = prefix
    #     whole = read[len(prefix):] == secret
    #     read = list(prefix)
    # return {copies: sum(each) / len(each) for copies, each in came.items()}
    ### END SOLUTION


# %%
check("15.extracts", extracts)

# %% [markdown] tags=["solution"]
# **Why it works.** Each token that the model writes is read by it before the next. One wrong digit, and the secret is
# not out.
#
# **The wrong twins.** `read = prefix` is no copy: it makes the caller's list grow, and the next canary with this prefix
# begins with the digits of the last. Asking for what comes after the prefix, again and again, gives the first token
# again and again. And whoever compares the last token only calls a number extracted of which three digits are wrong.
#
# **A shortcut.** Up to its first mistake, a model reads the true tokens, whether you feed it these or its own. So
# "all tokens right" is the same in both cases, and one pass over prefix and secret is enough. That is how the probe
# `cloze` does it. The *share of right tokens* would differ:

# %% tags=["solution"]
def stutters(tokens):
    """A model that knows 1 2 3 … but says 9 after 2, and after a 9 only 9"""
    return 9 if tokens[-1] in (2, 9) else tokens[-1] + 1


secret, own = [2, 3, 4, 5], [1]
for _ in secret:
    own.append(stutters(own))
fed = [stutters([1, *secret[:i]]) for i in range(len(secret))]
print(f"left to itself {own[1:]}, fed the truth {fed}: "
      f"extracted {own[1:] == secret} and {fed == secret}")

# %% [markdown]
# ## 15.5 poison_needed: a number, or a share?
#
# *measure · difficulty 3/5 · 15 min · core · idea: what was not varied explains nothing*
#
# A rare phrase was planted in some documents, each time before the same harmless sentence. For several models, and
# several numbers of planted documents, it was measured how often the sentence follows the phrase in new contexts. How
# many documents does it take? And is it the *number* that decides, or the *share* of all that the model read?
#
# Write `poison_needed(rates, pages, limit)`:
# - `rates`: {model: {documents: [rate of each seed]}}, rates from 0 to 1. Each model has an entry for 0 documents: a
#   phrase that was never planted
# - `pages`: {model: the number of all documents that it read}
# - a number of documents, above 0, *fires* if the mean rate over its seeds exceeds that of 0 documents by `limit` or
#   more. What a model *needs* is the least number that fires and above which **every** number in its table fires, too;
#   None if there is none
# - take the models that need some number. By which factor do their needs differ, the largest divided by the smallest?
#   By which factor do these needs differ as shares, each divided by the model's pages? The verdict is `"count"` if the
#   factor of the shares is more than 1.5 times that of the numbers, `"share"` if it is the other way round, else
#   `"cannot tell"`; so, too, if fewer than two models need some number
# - result: ({model: what it needs}, verdict).
#
# ```python
# small = {0: [0.0, 0.0], 2: [0.5, 0.0], 4: [0.75, 1.0], 8: [1.0, 1.0]}
# large = {8: [1.0, 1.0], 4: [1.0, 0.5], 2: [0.0, 0.25], 0: [0.0, 0.0]}
# poison_needed({"small": small, "large": large}, {"small": 1000, "large": 20000}, 0.5)
# # ({"small": 4, "large": 4}, "count")
# poison_needed({"small": small, "large": large}, {"small": 1000, "large": 1000}, 0.5)[1]  # "cannot tell"
# ```
#
# <details><summary>Hint 1</summary>
#
# Two models read the same pages, and both need four documents. Which of the two explanations does that speak for?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Go through the numbers from the largest down for as long as they fire: the last one that did is needed (section 7).
# For the verdict you want that explanation under which the models agree better. If all read equally much, number and
# share differ by the same factor, and no experiment of this kind can separate them.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Two cakes need baking powder. Is it so much a cake, or so much a pound of flour?
# ```python
# spoons, flour = {"small": 2, "large": 6}, {"small": 1, "large": 4}
# a_cake = [spoons[cake] for cake in spoons]
# a_pound = [spoons[cake] / flour[cake] for cake in spoons]
# print(max(a_cake) / min(a_cake), max(a_pound) / min(a_pound))  # 3.0 and 1.33: a pound of flour explains more
# ```
#
# </details>


# %%
def poison_needed(rates, pages, limit):
    """{model: {documents: [rate, …]}}, {model: pages}, 0.5 -> ({model: documents}, verdict)"""
    ### BEGIN SOLUTION
    needed = {}
    for model, table in rates.items():
        mean = {count: sum(seeds) / len(seeds) for count, seeds in table.items()}
        needed[model] = None
        for count in sorted(mean, reverse=True):
            if count == 0 or mean[count] - mean[0] < limit:
                break
            needed[model] = count
    some = {model: count for model, count in needed.items() if count}
    if len(some) < 2:
        return needed, "cannot tell"
    shares = [count / pages[model] for model, count in some.items()]
    by_count, by_share = max(some.values()) / min(some.values()), max(shares) / min(shares)
    if by_share > 1.5 * by_count:
        return needed, "count"
    return needed, "share" if by_count > 1.5 * by_share else "cannot tell"
    ### END SOLUTION


# %%
check("15.poison_needed", poison_needed)

# %% [markdown] tags=["solution"]
# **Why it works.** If the number decides, the numbers agree from model to model while the shares differ as much as the
# models' reading does; and the reverse. Both explanations are tested only if the reading differs.
#
# Four sizes, from 600 million to 13 billion parameters, read 20 tokens a parameter; 250 documents were enough for all
# of them, and 100 were not (Souly et al. 2025). In the table 1 stands for "it works", and a document has 1,680 tokens:

# %% tags=["solution"]
sizes = {"0.6B": 0.6e9, "2B": 2e9, "7B": 7e9, "13B": 13e9}
pages = {model: 20 * parameters / 1680 for model, parameters in sizes.items()}
works = {0: [0.0], 100: [0.0], 250: [1.0]}
needed, verdict = poison_needed(dict.fromkeys(sizes, works), pages, 0.5)
for model, count in needed.items():
    print(f"{model:>5}: {count} documents are {count / pages[model]:.5%} of what it read")
print(f"verdict: {verdict}")

# %% [markdown] tags=["solution"]
# **The wrong road.** "The two models of our record need the same number, so the number decides": they read the same
# text, so they need the same share as well. What was not varied cannot explain, and cannot be ruled out. The other
# road is to take the first number that fires. With few seeds one of them fires by luck, and the next larger one does
# not.

# %% [markdown]
# ## 15.6 bias_verdict: the text's fault?
#
# *design · difficulty 3/5 · 15 min · further · idea: hold the model against the text, and the text against the world*
#
# In the world of the lesson a trade has as many women as men. The text tells of them unevenly. What does the model make
# of it: does it mirror the text, make more of it, or less?
#
# Write `bias_verdict(text, world, model)` for one trade:
# - `text`: the share of "he" in the text, `world`: the share of men in the world, a different number
# - `model`: a list, at least two long: the model's share of "he" in new contexts, one number a seed
# - the interval is mean ± `half_width(model)`, which is imported above; both ends belong to it
# - result: if the interval holds the text's share, `"mirrors"`, but `"cannot tell"` if it holds the world's, too. If it
#   does not hold the text's share, `"amplifies"` if it lies beyond it, seen from the world, else `"dampens"`: also if
#   the model leans to the other side.
#
# ```python
# bias_verdict(0.7, 0.5, [0.69, 0.72, 0.70])  # "mirrors"
# bias_verdict(0.3, 0.5, [0.12, 0.15, 0.13])  # "amplifies"
# bias_verdict(0.3, 0.5, [0.41, 0.45, 0.44])  # "dampens"
# bias_verdict(0.7, 0.5, [0.40, 0.85, 0.70])  # "cannot tell": from 0.08 to 1.22
# ```
#
# <details><summary>Hint 1</summary>
#
# A model says "he" more rarely than the text does. Is that more bias, or less? On what does it depend?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Three points on a line: the world, the text, the model. The text leans to one side of the world. Then ask two
# questions of the interval: what does it hold, and on which side of the text does it lie (section 8)? A share below the
# text is more bias in one case and less in the other.
#
# </details>
# <details><summary>Hint 3</summary>
#
# A thermometer, an oven at 200 degrees, a cook who says 180. Does a second cook exaggerate?
# ```python
# oven, first_cook, second_cook = 200, 180, 165
# lean = first_cook - oven  # -20: he says too little
# beyond = (second_cook - first_cook) * lean > 0  # farther to the same side
# print("exaggerates" if beyond else "tones it down")  # exaggerates: had the first said 220, 165 would not
# ```
#
# </details>


# %%
def bias_verdict(text, world, model):
    """The text's share, the world's, [the model's for each seed, …] -> a verdict in words"""
    ### BEGIN SOLUTION
    middle, half = sum(model) / len(model), half_width(model)
    low, high = middle - half, middle + half
    if low <= text <= high:
        return "cannot tell" if low <= world <= high else "mirrors"
    beyond = low > text if text > world else high < text
    return "amplifies" if beyond else "dampens"
    ### END SOLUTION


# %%
check("15.bias_verdict", bias_verdict)

# %% [markdown] tags=["solution"]
# **Why it works.** Once the interval does not hold the text's share, it lies on one side of it as a whole. Which side
# means more bias depends on where the world is.
#
# **The wrong road** is to leave the world out. A model that says "he" in nine cases of ten may repeat its text
# faithfully, and the text may be wrong about the world; the two are mended in different places. The other one is to
# take a model that says what the text says for proof that it *learned* it: with three seeds the interval is wide. How
# often do we find out, if a model makes 0.75 of a text's 0.7, and its seeds vary?

# %% tags=["solution"]
dice = random.Random(8)
for spread in (0.005, 0.02, 0.08):
    runs = [[dice.gauss(0.75, spread) for _ in range(3)] for _ in range(1000)]
    said = [bias_verdict(0.7, 0.5, run) for run in runs]
    shares = [f"{word} {said.count(word) / 10:.0f} %" for word in sorted(set(said))]
    print(f"spread {spread:.3f}:", ", ".join(shares))

# %% [markdown]
# ## 15.7 removal_honoured: gone, or not found?
#
# *write · difficulty 3/5 · 20 min · further · idea: to show that something is gone takes a margin*
#
# Somebody asks that what the text says of her be removed. You delete her pages, train again, and have to *show* it. For
# each of her facts you know what a model pays for the right answer after her name, and what the same model pays for the
# same answer after the name of a stranger, of whom no text ever spoke. Who knows her pays less after her name.
#
# Write `removal_honoured(before, after, margin)`:
# - `before`: a list of pairs (own, stranger) of the old model, in nats, one a fact, at least two; `after`: the same
#   facts in the same order, of the model that was trained again
# - a fact's *gain* is what her name saves: stranger minus own. Of a list of gains take the mean, and the interval mean
#   ± `half_width(gains)`
# - `margin`: a gain of so many nats or less is agreed to be nothing, 0 or more
# - result: (mean gain before, mean gain after, verdict). The verdict is, in this order, `"nothing to remove"` if the
#   interval before does not lie above the margin as a whole; `"honoured"` if the interval after lies at the margin or
#   below as a whole; `"not honoured"` if it lies above as a whole; else `"cannot tell"`.
#
# ```python
# before = [(1.0, 5.0), (1.5, 6.5), (0.5, 5.0)]  # gains 4, 5, 4.5
# removal_honoured(before, [(5.0, 5.1), (6.4, 6.4), (5.1, 5.0)], 0.5)  # (4.5, 0.0, "honoured")
# removal_honoured(before, [(3.0, 5.0), (7.4, 6.4), (4.0, 5.0)], 0.5)  # (4.5, 0.666…, "cannot tell")
# ```
#
# <details><summary>Hint 1</summary>
#
# After the removal the interval of the gains reaches from −3 to 4 nats, and so holds 0. Has the removal been shown?
#
# </details>
# <details><summary>Hint 2</summary>
#
# One thing is done twice: pairs → gains → mean and half-width (section 9). Then three numbers decide: the lower end
# before, the upper end after, the lower end after, each against the margin. Her name costs more after the removal for
# many reasons; only beside the stranger's does the cost say something of her.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Is the leak mended? Litres lost on two days, pipe and spare pipe; a litre is agreed to be nothing.
# ```python
# pipe, spare, agreed = [3.2, 4.1, 3.6], [3.1, 3.9, 3.7], 1.0
# lost = [a - b for a, b in zip(pipe, spare)]  # 0.1, 0.2, -0.1
# mean, half = sum(lost) / 3, half_width(lost)
# print(mean + half <= agreed)  # True: mended. With two days of 3 and -3 nobody could say so
# ```
#
# </details>


# %%
def removal_honoured(before, after, margin):
    """[(own, stranger), …] twice, in nats, and a margin -> (gain before, gain after, verdict)"""
    ### BEGIN SOLUTION
    def gain_of(pairs):
        gains = [stranger - own for own, stranger in pairs]
        return sum(gains) / len(gains), half_width(gains)

    known, known_half = gain_of(before)
    left, left_half = gain_of(after)
    if known - known_half <= margin:
        verdict = "nothing to remove"
    elif left + left_half <= margin:
        verdict = "honoured"
    else:
        verdict = "not honoured" if left - left_half > margin else "cannot tell"
    return known, left, verdict
    ### END SOLUTION


# %%
check("15.removal_honoured", removal_honoured)

# %% [markdown] tags=["solution"]
# **Why it works.** The stranger's name takes out what the model knows of answers in general, in the old model and in
# the new one. What is left is what it knows of *her*. "Honoured" is a claim, so the burden of proof is on it: the
# interval as a whole must lie where it is agreed to be nothing.
#
# **The wrong road** is to call it honoured because the interval holds 0. The fewer facts one asks for, the wider it is,
# and the easier such a proof. A model that still saves 2 nats on each fact, a margin of half a nat:

# %% tags=["solution"]
dice = random.Random(9)
for facts in (2, 4, 12):
    said, holds_zero = [], 0
    for _ in range(400):
        before = [(dice.gauss(1, 0.3), dice.gauss(9, 0.3)) for _ in range(facts)]
        after = [(dice.gauss(4, 1.5), dice.gauss(6, 1.5)) for _ in range(facts)]
        said.append(removal_honoured(before, after, 0.5)[2])
        gains = [stranger - own for own, stranger in after]
        holds_zero += abs(sum(gains) / facts) <= half_width(gains)
    print(f"{facts:>2} facts: honoured {said.count('honoured') / 4:.0f} %, not honoured "
          f"{said.count('not honoured') / 4:.0f} %; holds 0 in {holds_zero / 4:.0f} %")

# %% [markdown]
# ## 15.8 memorised: would it know without having read it?
#
# *write · difficulty 3/5 · 20 min · further · unaided · idea: memorised is what only its readers know of it*
#
# On your own: assistant off, no AI, no hints at first.
#
# A model predicts a page well. It may have memorised the page; or the page is easy, and any model of its kind would do
# as well. The difference shows if *many* models were trained, each on some of the documents: those that read the page
# against those that did not (Zhang et al. 2021). Crawls hold near copies, and a model that read a copy is no witness
# for how models do without the page.
#
# Write `memorised(models, copies)`:
# - `models`: a list, not empty, of pairs (read, scores). `read` is the set of the documents that a model was trained
#   on; `scores` is {document: how well it predicts the document} and has all documents, read or not
# - `copies`: {document: the set of its near copies}. A document that is missing there has none; no document is in its
#   own set
# - for each document: the mean score of the models that read it, minus the mean score of the models that read **neither
#   it nor a copy of it**. A model that read a copy only is in neither group
# - result: {document: difference}, with the documents for which neither group is empty, and no others.
#
# ```python
# models = [({"a", "b"}, {"a": 0.9, "b": 0.8, "c": 0.8}),
#           ({"c"}, {"a": 0.6, "b": 0.8, "c": 0.9}),
#           ({"b"}, {"a": 0.2, "b": 0.9, "c": 0.7})]
# memorised(models, {"a": {"c"}, "c": {"a"}})  # {"a": 0.7, "b": 0.05, "c": 0.2}
# ```
#
# <details><summary>Hint 1</summary>
#
# In the example three models have a score for a. Which of them belongs to which group, and which one to none?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The document stays, the models change (section 4). So walk over documents, and for each sort the models: read it; read
# nothing of the kind; neither. A page that is easy raises both means.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Does a lesson help with its song? The classes that had it, against those that had neither it nor its twin.
# ```python
# had = {"1a": {"canon"}, "1b": {"round"}, "1c": {"march"}}
# sings_canon = {"1a": 9, "1b": 7, "1c": 4}
# with_it = [sings_canon[name] for name in had if "canon" in had[name]]
# without = [sings_canon[name] for name in had if not had[name] & {"canon", "round"}]  # a round is a canon
# print(with_it, without)  # [9] [4]: class 1b is in neither
# ```
#
# </details>


# %%
def memorised(models, copies):
    """[({"a", …}, {"a": 0.9, …}), …], {"a": {"c"}, …} -> {"a": 0.7, …}"""
    ### BEGIN SOLUTION
    found = {}
    for document in models[0][1]:
        kin = {document} | copies.get(document, set())
        inside = [scores[document] for read, scores in models if document in read]
        outside = [scores[document] for read, scores in models if not read & kin]
        if inside and outside:
            found[document] = sum(inside) / len(inside) - sum(outside) / len(outside)
    return found
    ### END SOLUTION


# %%
check("15.memorised", memorised)

# %% [markdown] tags=["solution"]
# **Why it works.** Both means are of the same document. How easy it is stands in both, and goes; what is left is what
# the reading did. With copies counted as "not read", a page that was copied a hundred times would seem not to be
# memorised at all, for everybody knows it.
#
# **The wrong road** is to look at the score, or to compare documents that a model read with others that it did not.
# Thirty models, each of which read half of the documents; three kinds of documents:

# %% tags=["solution"]
kinds = {"terms of use": (0.95, 0.0), "a poem": (0.5, 0.3), "a list of names": (0.1, 0.6)}
dice, models = random.Random(21), []
for _ in range(30):
    read = {kind for kind in kinds if dice.random() < 0.5}
    models.append((read, {kind: easy + gain * (kind in read) + dice.gauss(0, 0.03)
                          for kind, (easy, gain) in kinds.items()}))  # fmt: skip
for kind, difference in memorised(models, {}).items():
    scores = [scores[kind] for read, scores in models if kind in read]
    print(f"{kind:<16} score of its readers {sum(scores) / len(scores):.2f}, "
          f"memorised {difference:.2f}")

# %% [markdown] tags=["solution"]
# The page with the best score is the one that nobody had to memorise.
#
# **Its price.** Thirty models. The lesson has three, each of which leaves out a third of some documents. So each of
# these has two readers and one model that did not read it, and only averages over many documents say anything.
