# %% [markdown]
# # 01 · The corpus: exercises
#
# Eight exercises, a little over two hours. Write your answer where the code asks for it, run the cell, then run the
# `check` below it. It says whether your function is right. If it is not, it often says which idea made it wrong.
#
# Do 01.1 before you read the lesson, and the others when the lesson points to them. Each has three hints: a question,
# the principle, and the same idea worked on another problem; `hint("01.repair")` gives them one at a time. You need no
# library but Python's own.

# %% tags=["setup"]
import re
import unicodedata
import zlib
from collections import Counter

from minigpt.text.sources import held_out

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 01.1 share_of_sample: random over what?
#
# *predict · difficulty 1/5 · 5 min · core · try first · idea: a sample is fair to the unit that it draws*
#
# Do this one before you read the lesson.
#
# You want to look at a corpus of several domains, and you draw at random in two ways. Once you draw *documents*, each
# with the same chance. Once you draw *bytes*, each with the same chance, and take the document that the byte lies in.
# Which share of your draws comes from one domain, on average?
#
# Write `share_of_sample(lengths, name)`:
# - `lengths`: {domain: the lengths of its documents in bytes, a list}. At least one document is not empty.
# - `name`: one of the domains
# - result: a pair of numbers between 0 and 1, the share by documents and the share by bytes.
#
# ```python
# lengths = {"poems": [100, 200, 300], "novels": [5400]}
# share_of_sample(lengths, "poems")  # (0.75, 0.1)
# ```
#
# <details><summary>Hint 1</summary>
#
# There are four documents in the example, and 6,000 bytes. How many of each belong to the poems?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Both are a part divided by a whole. For documents you count the lists' entries, for bytes you add them up; the whole
# goes over all domains.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Two bus lines. Which share of the buses is on line 4, and which share of the passengers?
# ```python
# passengers = {"line 4": [60, 40], "line 9": [10, 10, 20, 20, 40]}
# buses = sum(len(line) for line in passengers.values())
# people = sum(sum(line) for line in passengers.values())
# print(len(passengers["line 4"]) / buses)  # 2 of 7: what the company sees
# print(sum(passengers["line 4"]) / people)  # 0.5: what a passenger sees
# ```
#
# </details>


# %%
def share_of_sample(lengths, name):
    """{"poems": [100, 200, 300], …}, "poems" -> its share of documents, its share of bytes"""
    ### BEGIN SOLUTION
    documents = sum(len(sizes) for sizes in lengths.values())
    size = sum(sum(sizes) for sizes in lengths.values())
    return len(lengths[name]) / documents, sum(lengths[name]) / size
    ### END SOLUTION


# %%
check("01.share_of_sample", share_of_sample)

# %% [markdown] tags=["solution"]
# **Why it works.** "Each with the same chance" makes the share of draws equal to the share of the units. Only the unit
# differs.
#
# **The wrong road.** The mean of the lengths does not help here: a mean forgets how many there are. And if you draw
# *domains* first and then a document, you get a third sample, fair to the domains.

# %% [markdown]
# ## 01.2 repair: run the mistake backwards
#
# *write · difficulty 3/5 · 15 min · core · idea: mojibake loses nothing, so it can be undone exactly*
#
# Somebody wrote text as UTF-8, and a program read the bytes as cp1252. Sometimes this happened twice, or more often.
# Write `repair(text)`, which undoes it.
#
# - `text`: a `str`.
# - One step back: `text` written in cp1252 and read as UTF-8. Do this again and again, as long as it is possible and
#   changes the text. If it is not possible, because a sign does not exist in cp1252 or the bytes are not UTF-8, the
#   text stays as it is. Whole texts only: do not mend parts.
# - Result: the repaired text.
#
# ```python
# repair("cafÃ©")    # "café"
# repair("cafÃƒÂ©")  # "café": it happened twice
# repair("café")     # "café": nothing to do
# ```
#
# <details><summary>Hint 1</summary>
#
# `"é".encode("utf-8")` is two bytes. Which two signs does cp1252 see in them? And what does your function make of a
# text that was never broken?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `encode` turns text into bytes and `decode` turns them back; each may raise a kind of `UnicodeError`, and then you are
# done. Never let errors be ignored or replaced: that loses text (section 2). A loop needs an end, and "nothing changed"
# is one.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Numbers were multiplied by ten by mistake, perhaps more than once. Undo it, as long as it is possible and changes
# something:
# ```python
# def undo(number):
#     while True:
#         before, rest = divmod(number, 10)
#         if rest or before == number:  # not possible, or nothing changed: 0 // 10 is 0
#             return number
#         number = before
#
#
# print(undo(4200), undo(7), undo(0))  # 42 7 0
# ```
#
# </details>


# %%
def repair(text):
    """"cafÃ©" -> "café" """
    ### BEGIN SOLUTION
    while True:
        try:
            before = text.encode("cp1252").decode("utf-8")
        except UnicodeError:
            return text
        if before == text:
            return text
        text = before
    ### END SOLUTION


# %%
check("01.repair", repair)

# %% [markdown] tags=["solution"]
# **Why it works.** Reading bytes by the wrong rule only renames them: every byte became some sign. So the same rule
# gives the bytes back. And an innocent text nearly always refuses: a single é is the byte E9 in cp1252, which is no
# UTF-8.
#
# **The wrong road.** `errors="ignore"` turns "café" into "caf": a repair that damages what was whole. Before you mend
# anything, ask what the mending does to the healthy.
#
# **Where it stops.** A text that has one sign from elsewhere, a 中, cannot go back as a whole. The library `ftfy` (Speer
# 2019) mends parts; it needs statistics to know which.

# %% [markdown]
# ## 01.3 tidy: in which order?
#
# *order · difficulty 2/5 · 10 min · further · idea: each cleaning rule counts on what the one before it left*
#
# Cleaning, shuffled. **Three lines are there twice, once right and once wrong**: delete the wrong ones, and put the
# rest in order.
#
# `tidy(data)`: bytes → str, where
# - bytes that are not UTF-8 leave the sign � behind, so that nobody overlooks them;
# - every line end (`\r\n`, `\n`, or `\r` alone) is one `\n`;
# - no line ends in white space;
# - of several empty lines in a row, one is left;
# - letters and their accents are one sign where Unicode has one (NFC).
#
# ```python
# tidy(b"one  \r\n \r\n\r\ntwo\rthree")  # "one\n\ntwo\nthree"
# ```
#
# <details><summary>Hint 1</summary>
#
# A line that holds two blanks: does it look empty to a rule that searches for `\n` beside `\n`?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Section 2 applies the rules one after the other. Only text has line ends, so bytes become text first. `\r\n` is *one*
# end: replace the pair before its halves. What looks at empty lines comes after what makes them empty.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Prices from a form, as whole cents. Each line needs what the one before it left:
# ```python
# entry = " 1.204,50 € "
# entry = entry.replace("€", "")
# entry = entry.strip()  # only now do blanks stand at the end
# entry = entry.replace(".", "")  # first the dots away …
# entry = entry.replace(",", ".")  # … then a comma becomes one
# print(round(100 * float(entry)))  # 120450
# ```
#
# </details>


# %%
def tidy(data):
    """b"one \\r\\n\\r\\n\\r\\ntwo" -> "one\\n\\ntwo" """
    ### BEGIN SOLUTION
    text = data.decode("utf-8", "replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    text = re.sub(r"\n\n\n+", "\n\n", text)
    return unicodedata.normalize("NFC", text)
    ### STUB
    # text = re.sub(r"\n\n\n+", "\n\n", text)
    # text = text.replace("\r", "\n").replace("\r\n", "\n")
    # text = data.decode("utf-8", "ignore")
    # return unicodedata.normalize("NFC", text)
    # text = "\n".join(line.rstrip() for line in text.split("\n"))
    # text = re.sub(r"\n\n+", "\n", text)
    # text = text.replace("\r\n", "\n").replace("\r", "\n")
    # text = data.decode("utf-8", "replace")
    ### END SOLUTION


# %%
check("01.tidy", tidy)

# %% [markdown] tags=["solution"]
# **Why it works.** Decode, then line ends, then tails, then empty lines. The normal form may come anywhere after the
# decoding.
#
# **The wrong twins.** Replacing `\r` first turns `\r\n` into two line ends, so that every line of a Windows file is
# followed by an empty one. `\n\n+` → `\n` glues all paragraphs together. And "ignore" is the one that nobody notices.

# %% [markdown]
# ## 01.4 new_word_chance: what the next document may bring
#
# *fill · difficulty 2/5 · 15 min · core · idea: the words seen once tell how many are still unseen*
#
# You read a corpus document by document and note after each one how many different words you have met, and the chance
# that the next word is new, as Good's rule estimates it: the words seen exactly once so far, divided by all words read
# so far. As long as you have read no word, the next is new for certain: 1.0.
#
# `new_word_chance(documents)`:
# - `documents`: a list of texts, some perhaps without any word. Words are what `re.findall(r"\w+", text.lower())`
#   finds.
# - result: a list with a pair for each document: (number of different words so far, chance).
#
# ```python
# new_word_chance(["The cat saw the dog.", "", "A cat!"])
# # [(4, 0.6), (4, 0.6), (5, 3 / 7)]: after the third, saw, dog and a have come once in seven words
# ```
#
# <details><summary>Hint 1</summary>
#
# After the first document, which words have come once, and how many words have you read, with repetitions?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A `Counter` that you *update* keeps the counts of everything so far. `len` of it counts different words, `total()` all
# of them; those seen once are those whose count is 1. Section 3 does it for a whole heap.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Which share of all visits was a guest's only one?
# ```python
# visits = Counter()
# for day in (["ann", "ben"], ["ann", "eve", "ann"]):
#     visits.update(day)
# single = [guest for guest in visits if visits[guest] == 1]
# print(len(visits), len(single) / visits.total())  # 3 0.4
# ```
#
# </details>


# %%
def new_word_chance(documents):
    """["The cat saw the dog."] -> [(4, 0.6)]: different words, chance that the next is new"""
    counts, result = Counter(), []
    for text in documents:
        ### BEGIN SOLUTION
        counts.update(re.findall(r"\w+", text.lower()))
        once = sum(n == 1 for n in counts.values())
        result.append((len(counts), once / counts.total() if counts else 1.0))
        ### END SOLUTION
    return result


# %%
check("01.new_word_chance", new_word_chance)

# %% [markdown] tags=["solution"]
# **Why it works.** The counts run on from document to document. A word that came once is a word that was new when it
# came last; so the rate of such words is the rate at which new ones come (Good 1953).
#
# **The wrong road.** Dividing by the number of *different* words answers another question: which share of the
# vocabulary was seen once. That is about a third in our books, while fewer than one running word in a hundred is new.

# %% [markdown]
# ## 01.5 drop_repeats: two mistakes
#
# *fix · difficulty 3/5 · 20 min · core · idea: what counts as equal is decided before the comparison*
#
# `drop_repeats(documents)` shall remove exact duplicates. It runs, it removes duplicates, and **two mistakes** are
# planted. Find them and mend them.
#
# - `documents`: a list of pairs (id, text).
# - Two texts are equal if they have the same words in the same order, where case (as `str.casefold` has it) and the
#   amount and kind of white space between words make no difference.
# - Result: the first document of each set of equal ones, as it was handed in, in the order of the list.
#
# ```python
# documents = [("a", "To be"), ("b", "to  BE\n"), ("c", "tobe"), ("d", "To be, too")]
# drop_repeats(documents)  # should be [("a", "To be"), ("c", "tobe"), ("d", "To be, too")]
# # and is, as it stands,           [("c", "tobe"), ("d", "To be, too")]
# ```
#
# <details><summary>Hint 1</summary>
#
# What does `key` hold for the texts "now here" and "nowhere"? And which of two equal documents is in `kept` at the end?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A key must be the same for equal texts *and different for different ones* (section 4). And assigning to a dictionary
# replaces what stood there.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Guests book tables, and the first booking of a name counts. Names are equal whatever their case; "Ann Eliot" is not
# "Anne Liot".
# ```python
# bookings, tables = [("Ann Eliot", 4), ("ANN ELIOT", 9), ("Anne Liot", 2)], {}
# for name, table in bookings:
#     tables.setdefault(name.casefold(), table)
# print(tables)  # {'ann eliot': 4, 'anne liot': 2}
# ```
#
# </details>


# %%
def drop_repeats(documents):
    """[("a", "To be"), ("b", "to  BE")] -> [("a", "To be")]"""
    ### BEGIN SOLUTION
    kept = {}
    for id, text in documents:
        key = " ".join(text.casefold().split())
        if key not in kept:
            kept[key] = (id, text)
    return list(kept.values())
    ### STUB
    # kept = {}
    # for id, text in documents:
    #     key = "".join(text.casefold().split())
    #     kept[key] = (id, text)
    # return list(kept.values())
    ### END SOLUTION


# %%
check("01.drop_repeats", drop_repeats)

# %% [markdown] tags=["solution"]
# **Why it works.** `split()` without an argument cuts at any white space, and a single blank puts the words together
# again with their borders. The first one with a key goes in, later ones find the place taken.
#
# **The wrong road.** Leaving the borders out makes "now here" and "nowhere" one text: a *false* duplicate, and the
# second is gone for good. A dictionary that is assigned to keeps the last text at the place of the first: it looks
# right until somebody asks why the older version vanished. For a large corpus, keep a hash of the key instead of the
# key.

# %% [markdown]
# ## 01.6 least_leak: which split is the cleanest?
#
# *measure · difficulty 3/5 · 20 min · further · idea: measure a leak by what held-out text shares with training text*
#
# Somebody hands you several splits of a corpus. For each, measure the leak: of all runs of n words in the held-out
# texts, which share also stands in a training text? Then say which split leaks least.
#
# `least_leak(splits, n)`:
# - `splits`: {name: (training texts, held-out texts)}, both lists of `str`
# - `n`: a whole number, at least 1. A *run* is n words that follow one another **in one text**; words are given by
#   `words_of`, in the cell below. A run that stands in the held-out texts twice counts twice.
# - A split whose held-out texts have no run at all measures nothing: pass over it. At least one split has some.
# - Result: (name, share) of the split with the smallest share; of equals, the first in the alphabet.
#
# ```python
# splits = {"lines": (["the cat sat", "on the mat"], ["the cat sat on"]),
#           "texts": (["the cat sat", "on the mat"], ["a dog sat on the mat"])}
# least_leak(splits, 2)  # ("texts", 0.4): on the, the mat, of five runs; for lines it is 2 of 3
# ```
#
# <details><summary>Hint 1</summary>
#
# Write down the runs of two words in "a dog sat on the mat". How many are there, and how many of them does the training
# text hold? Is "sat on" one of those?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Training text is asked *whether*, so its runs are a set. Held-out text is asked *how many*, so its runs are a list. A
# text of w words has w − n + 1 runs, none if it is shorter. Section 5 measures three splits in this way, with n = 1 and
# with names.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Which share of the pairs of notes in a new song stood in old songs?
# ```python
# old, new = ["cdec", "ga"], "cdega"
# known = {song[i : i + 2] for song in old for i in range(len(song) - 1)}
# pairs = [new[i : i + 2] for i in range(len(new) - 1)]
# print(sum(pair in known for pair in pairs) / len(pairs))  # cd, de and ga of four: 0.75
# ```
#
# </details>


# %% tags=["setup"]
def words_of(text):
    """"To be, or" -> ["to", "be", "or"]"""
    return re.findall(r"\w+", text.lower())


# %%
def least_leak(splits, n):
    """{"lines": (training texts, held-out texts), …} -> the name that leaks least, its share"""
    ### BEGIN SOLUTION
    def runs(texts):
        for words in map(words_of, texts):
            yield from (tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    shares = {}
    for name, (training, heldout) in splits.items():
        known, asked = set(runs(training)), list(runs(heldout))
        if asked:
            shares[name] = sum(run in known for run in asked) / len(asked)
    best = min(shares, key=lambda name: (shares[name], name))
    return best, shares[best]
    ### END SOLUTION


# %%
check("01.least_leak", least_leak)

# %% [markdown] tags=["solution"]
# **Why it works.** The question is about the held-out text: how much of what the model is asked has it read? So the
# whole is the held-out runs, each as often as it is asked.
#
# **The wrong road.** The share of *training* runs that stand in the held-out text looks similar and depends on how
# large the training text is: double it with other text, and the leak seems halved although not a word of it has gone.
#
# **Judge.** A small share is no proof. Common phrases make some for any split, so compare with a split that cannot
# leak, such as another author.

# %% [markdown]
# ## 01.7 pick_helper: which text shall I add?
#
# *design · difficulty 3/5 · 20 min · further · idea: equal amounts, and nothing that holds the answers*
#
# You have little text of the kind that you care about, cut into pieces. Which other corpus would help most to predict
# it? Compare them with zlib, and be fair:
# - each candidate gives the same amount, its **last** `size` bytes; a candidate with fewer is left out;
# - a candidate that contains one of the pieces, anywhere, is a leak and is left out;
# - the help is the bits saved, compared with reading nothing first, for each byte of the pieces taken together.
#
# `pick_helper(pieces, candidates, size)`:
# - `pieces`: a list of `bytes`, none empty; `candidates`: {name: bytes}; `size`: at least 1, at most 30,000
# - result: (name, bits per byte saved) of the best candidate; of equals the first in the alphabet; `("nothing", 0.0)`
#   if none saves anything.
#
# `price(data, seen)`, in the cell below, is the number of bytes that zlib needs for `data` after it has read `seen`.
#
# <details><summary>Hint 1</summary>
#
# A candidate that is ten times as long as the others: has it helped more because it is closer, or because there is more
# of it? And which candidate would win if it held your pieces, word for word?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Section 6: what b costs alone, minus what it costs after a. Add up the bytes of all pieces, then divide once, and mind
# bits and bytes. Price each piece on its own, because a piece must not help the next one. Look for leaks in the whole
# candidate: what is not among its last bytes today may be tomorrow.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Which study guide helps most with an exam? Equal time for each guide; a guide with the exam's questions is out.
# ```python
# exam, without = ["q7", "q9"], 12  # mistakes without a guide
# guides = {"thick": (["q1"], 9), "thin": (["q2"], 10), "stolen": (["q7"], 0)}  # after an hour with it
# fair = {name: without - mistakes for name, (asks, mistakes) in guides.items() if not {*asks} & {*exam}}
# print(max(fair, key=fair.get), max(fair.values()))  # thick 3
# ```
#
# </details>


# %% tags=["setup"]
def price(data, seen=b""):
    """Bytes that zlib needs for data after it has read `seen`."""
    options = (9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY)
    packer = zlib.compressobj(*options, seen) if seen else zlib.compressobj(*options)
    return len(packer.compress(data) + packer.flush())


# %%
def pick_helper(pieces, candidates, size):
    """[b"…", b"…"], {"books": b"…", …}, 4096 -> ("books", 0.31)"""
    ### BEGIN SOLUTION
    best = ("nothing", 0.0)
    alone = sum(price(piece) for piece in pieces)
    for name, text in sorted(candidates.items()):
        if len(text) < size or any(piece in text for piece in pieces):
            continue
        after = sum(price(piece, text[-size:]) for piece in pieces)
        saved = 8 * (alone - after) / sum(map(len, pieces))
        if saved > best[1]:
            best = (name, saved)
    return best
    ### END SOLUTION


# %%
check("01.pick_helper", pick_helper)

# %% [markdown] tags=["solution"]
# **Why it works.** Everything but the text is held fixed: the amount, the compressor, the pieces. The sums come first
# and the division last, so that a long piece weighs as much as its bytes.
#
# **The wrong road.** Without the second rule the winner is whoever has copied you. That happens in earnest: a web crawl
# contains the benchmarks, and a data recipe that was chosen by benchmark finds the crawl that has most of them.

# %% [markdown]
# ## 01.8 sides: a split for a forum
#
# *write · difficulty 4/5 · 25 min · further · unaided · idea: what belongs together must lie on one side*
#
# On your own: the assistant stays off.
#
# A forum has messages, each by a user, in a thread. You want to hold some out, and claim that the model can handle *new
# users in new threads*. So no user and no thread may have messages on both sides.
#
# Write `sides(messages, fraction)`:
# - `messages`: a list of (id, user, thread), all `str`; ids differ. A user and a thread may have the same name; they
#   are still two things.
# - Messages of the same user or of the same thread are in one group; and so are messages that such steps connect.
# - A group is held out, as a whole, if `held_out(id, fraction)` is true for its smallest id, as Python compares `str`.
# - Result: the ids of all messages that are held out, sorted.
#
# ```python
# messages = [("m1", "ann", "cats"), ("m2", "ben", "cats"), ("m3", "ben", "tea"), ("m7", "eve", "cars")]
# # m1 and m2 share a thread, m2 and m3 a user: one group, decided by held_out("m1", fraction). m7 is alone.
# sides(messages, 0.5)  # ["m1", "m2", "m3"]: m1 is held out and m7 is not
# ```
#
# <details><summary>Hint 1</summary>
#
# Draw the four messages of the example as points, and a line wherever two share a user or a thread. How far does one
# decision reach?
#
# </details>
# <details><summary>Hint 2</summary>
#
# These are the connected parts of a graph. One way: begin with a message, take everything that shares its users or
# threads, and go on until nothing new comes. Another: let each user and each thread name a group, and join two groups
# whenever a message lies in both. Section 5 splits by work, where a name alone tells the group.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Islands and ferries: which islands can you reach from a?
# ```python
# ferries = [("a", "b"), ("c", "d"), ("b", "e")]
# reached, old = {"a"}, set()
# while reached != old:
#     old = set(reached)
#     for ferry in ferries:
#         if reached & {*ferry}:
#             reached |= {*ferry}
# print(sorted(reached))  # ['a', 'b', 'e']
# ```
#
# </details>


# %%
def sides(messages, fraction):
    """[("m1", "ann", "cats"), …], 0.5 -> the ids held out, sorted"""
    ### BEGIN SOLUTION
    above = {}  # a user or a thread -> another one of its group

    def top(name):
        while above.setdefault(name, name) != name:
            name = above[name]
        return name

    for _, user, thread in messages:
        above[top(("user", user))] = top(("thread", thread))
    groups = {}
    for id, user, _ in messages:
        groups.setdefault(top(("user", user)), []).append(id)
    return sorted(id for ids in groups.values() if held_out(min(ids), fraction) for id in ids)
    ### END SOLUTION


# %%
check("01.sides", sides)

# %% [markdown] tags=["solution"]
# **Why it works.** Each user and each thread begins as a group of its own; a message joins two. What is joined to the
# same is joined. At the end every message lies in the group of its user, and one hash decides for all.
#
# **The wrong road.** Splitting by user keeps users apart and lets threads leak; by thread, the other way round. Joining
# only direct neighbours forgets that "same side" is handed on.
#
# **Its price.** In a real forum one busy user may connect nearly everything, and a single hash then decides about half
# of the corpus. So look at the sizes of the groups before you split; you may have to weaken the claim (new users, old
# threads) to have any split at all.
