# %% [raw]
# title = "Tokenizer"
# question = "A model works on numbers, and text is not made of numbers. Into which pieces do you cut it, and who decides?"
# able = [
#   "say how many bytes a text has, and why a model reads neither bytes nor words",
#   "train byte-pair encoding by hand, then fast, and prove that both learn the same",
#   "encode by rank, and recognise three wrong encoders by what they put out",
#   "keep a user's text from forging a special token",
#   "measure what a tokenizer costs numbers, languages and code, and choose a vocabulary size",
# ]
# needs = ["corpus", "token", "vocabulary", "context", "held-out text", "bits per byte", "parameter", "FLOP"]
# reading = 60
# exercises = 135
# route = "core"
# paper = "Sennrich, Haddow and Birch 2016, Neural Machine Translation of Rare Words with Subword Units, arXiv 1508.07909"
#
# [teaches]
# "code point" = "The number that Unicode gives a character; é is 233."
# "UTF-8" = "The rule that writes a code point as one to four bytes; plain English letters take one."
# "byte-pair encoding" = "Learning a vocabulary: start with the 256 bytes and keep joining the most frequent neighbours."
# merge = "One pair that byte-pair encoding has learnt to join; it makes one new token."
# rank = "The place of a merge in the order of learning; of two possible merges, the lower rank goes first."
# chunk = "A piece of text, about a word, cut out before any merge; no token reaches across its ends."
# "special token" = "A token that stands for no text, such as the end of a document; only the program may place it."
# "bytes per token" = "How much text one token holds on average, on a named text."
# fertility = "Tokens per word: how many pieces a tokenizer makes of a word, on average."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners leave able to train and apply byte-pair encoding by hand, and to judge a tokenizer by measuring it.
# **Timing** (90 min). Before class: 02.1 and section 2. In class: section 1 5 min · section 3, its prediction on paper,
# 15 · exercise 02.2 15 · section 4, first figure and repair 1, 8 · section 5, first two cells, 5 · section 6, first and
# last cell, 7 · exercise 02.5, before anybody sees the code of section 7, 20 · section 7, prediction and picture, 7 ·
# section 10, prediction and chart, 5 · discussion 3. Homework: 02.3, 02.4, 02.6 to 02.8, sections 8, 9 and 11 to 14.
#
# **Two misconceptions.** *"A tokenizer finds the longest piece that it knows."* Show the picture of section 7: by rank
# the word is cut determ|in|ations, longest first determ|ination|s, and `ination` is in the vocabulary. Ask: which merge
# takes `ation` away before `ination` can be made? (`ation` and `s` make `ations`, rank 581; `in` and `ation` have rank
# 1254, which is later.) *"Tokens are words, or syllables, so they mean something."* Ask: which line of the trainer
# looks at meaning? (None. It counts.)
#
# **Discuss.** Who pays more, and for what, when a tokenizer was trained on English: money, context, speed, quality?
# (Everybody else, four times. Requests are billed by the token; fewer words fit into the context; tokens are written
# one after another; and for the same compute the model has read less of the language.) · Your company has a trained
# model and wants a better tokenizer. What exactly must be thrown away? (The rows of the embedding and of the head
# whose token has changed, all encoded text, and every loss per token as a yardstick. The layers between may stay as a
# start; they must be trained on.)

# %% tags=["setup"]
import inspect
import random
import time
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import regex
import tiktoken
import torch

import minigpt
from minigpt import Tokenizer, train_bpe
from minigpt.accounting import flops_per_token
from minigpt.classroom import recorded, reveal, show
from minigpt.classroom.shelf import live_sentence
from minigpt.classroom.viz import BLUE, GREY, ORANGE, SKY, VERMILLION, YELLOW, visible
from minigpt.classroom.viz import MergeView, figure, heatmap, label_end, plot_live, plot_record
from minigpt.text.sources import builtin, held_out, usable_domains

started = time.perf_counter()
print(f"torch {torch.__version__}, tiktoken {tiktoken.__version__}, "
      f"{torch.get_num_threads()} CPU threads")

# %%
usable, _ = usable_domains(["books", "speeches", "code"])
documents = [d for d in builtin(usable[:1])]
random.Random(2).shuffle(documents)
train = [d.text for d in documents if not held_out(d.id)]
unseen = [d.text for d in documents if held_out(d.id)]
held = "\n".join(text[:40_000] for text in unseen)  # what we measure on
millions = sum(map(len, train)) / 1e6
print(f"domain {usable[0]!r}: {millions:.1f} million characters to learn from, "
      f"{len(unseen)} documents held out")

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>00: why do we compare models in bits per byte and not by the loss of a token?</summary>A token may
# hold one byte or twenty. Bytes are the same for everybody, so bits per byte can be compared whatever the
# tokenizer.</details>
# <details><summary>00: how many numbers does the model put out at each position?</summary>One for each token of its
# vocabulary. A larger vocabulary makes every prediction dearer. Section 13 counts how much.</details>
# <details><summary>00: why is a model judged on held-out text?</summary>Text that it was trained on it may know by
# heart. Only text that it has never seen shows what it has learnt about the language.</details>

# %% [markdown]
# ## 1. Text is bytes
#
# > **Your turn, before you read on: 02.1 `utf8_lengths`** (5 min). All exercises are in `exercises/02_tokenizer.ipynb`;
# > `python3 course.py start 02` makes a copy for you in `my/`.
#
# Unicode gives every character a number, its **code point**: A is 65, é is 233, 中 is 20,013. There are more than
# 150,000 of them ([Unicode 16](https://www.unicode.org/versions/Unicode16.0.0/)). Files and networks carry bytes, of
# which there are 256. **UTF-8** is the rule that writes one as the other.
#
# **Predict.** How many bytes do "é", "中" and "🙂" take? Write a list of three numbers instead of `None`.

# %%
guess = None
reveal("02.p1", guess)

# %%
for character in "Aéя中🙂":
    data = character.encode("utf-8")
    bits = " ".join(f"{byte:08b}" for byte in data)
    print(f"{character:<3} code point {ord(character):>6,}   {len(data)} bytes "
          f"{data.hex(' '):<12} {bits}")

# %% [markdown]
# Read the bits. A byte that begins with 0 is a character of its own; those are the signs of an English typewriter. Any
# other character opens with as many ones as it has bytes, and each byte that follows begins with 10. So you can enter a
# text anywhere and find the next border. And so English letters cost one byte, Cyrillic ones two, and most of the
# world's others three.
#
# The helper below draws a row of pieces, each as wide as its bytes. You will meet it all through this lesson. In this
# picture an orange byte opens a character of several bytes, and a yellow one continues it.

# %%
def strip(rows, colors=None, width=9.0):
    """A figure of pieces as boxes. rows: {name: [bytes, …]}; colors: {piece: colour}."""
    fig, ax = figure(width, 0.35 + 0.42 * len(rows))
    for y, (name, pieces) in enumerate(rows.items()):
        x = 0
        for i, piece in enumerate(pieces):
            color = (colors or {}).get(piece, SKY if i % 2 else "#e8f3fa")
            ax.barh(y, len(piece), 0.72, x, color=color, edgecolor="black", linewidth=0.6)
            middle = x + len(piece) / 2
            ax.text(middle, y, visible(piece), ha="center", va="center", size=8, parse_math=False)
            x += len(piece)
        ax.text(-0.3, y, name, ha="right", va="center", size=9)
    widest = max(sum(map(len, pieces)) for pieces in rows.values())
    ax.set(xlim=(0, widest + 0.1), ylim=(len(rows) - 0.5, -0.5))
    ax.axis("off")
    return fig


# %%
text = "Zoë: 5€ Я😀"  # signs that the font of the pictures has
rows = {"characters": [c.encode() for c in text], "bytes": [bytes([b]) for b in text.encode()]}
opens = {bytes([b]): ORANGE if b >= 0xC0 else YELLOW for b in range(0x80, 256)}
show(strip(rows, opens, width=8),
     alt=f"{len(text)} characters above their {len(text.encode())} bytes; ë and Я have two, "
         "€ three, 😀 four. In each, one orange byte opens and yellow ones continue.")

# %% [markdown]
# **What breaks if** you cut between two bytes of one character? The text is no text any more. Python then refuses, or
# shows the sign � (U+FFFD) for what it cannot read. A language model over bytes can write such halves.
#
# And a second trap: what looks like one sign may be two code points. The next cell prints é twice.

# %%
data = "Zoë 中".encode()
for cut in (2, 3, 6):
    print(f"first {cut} bytes: {data[:cut].decode(errors='replace')!r}")
one, two = "\u00e9", "e\u0301"  # the letter é; an e and an accent that sits on it
print(one, two, "equal?", one == two, "bytes:", len(one.encode()), len(two.encode()))
assert data.decode() == "Zoë 中"

# %% [markdown] tags=["slide"]
# ### Text is bytes
#
# - UTF-8: one to four bytes for a character
# - words: the list never ends
# - bytes: 256 are enough, but texts get long
#
# wanted: frequent words whole, rare ones in parts

# %% [markdown]
# ## 2. Neither words nor bytes
#
# The obvious pieces are words. Give each a number, and the model predicts the next word. Two things go wrong. Count how
# many different words you meet while you read on:

# %%
def words_of(text):
    return regex.findall(r"\w+", text.lower())


seen, growth = Counter(), [(0, 0)]
for text in train:
    words = words_of(text)
    seen.update(words)
    growth.append((growth[-1][0] + len(words), len(seen)))
read, distinct = np.array(growth[1:]).T
exponent = np.polyfit(np.log(read[5:]), np.log(distinct[5:]), 1)[0]
fig, ax = figure(width=5.5, height=2.6)
ax.loglog(read, distinct, color=BLUE)
ax.loglog(read, read, ":", color=GREY)
label_end(ax, read[-1], distinct[-1], "different words", BLUE)
label_end(ax, read[-1], read[-1], "every word new", GREY)
ax.set(xlabel="words read", ylabel="different words")
assert 0.4 < exponent < 0.9
show(fig, alt="The number of different words grows with the words read to the power "
              f"{exponent:.2f}, and shows no sign of an end.")
few = sum(n < 3 for n in seen.values()) / len(seen)
print(f"{read[-1]:,} words read, {distinct[-1]:,} different; {few:.0%} of those came once or twice")

# %% [markdown]
# This is Heaps' law: the vocabulary grows like a power of the text, and never stops. There are always new names, new
# compounds, new mistakes.
#
# **Predict.** Take the books that were held out. Which share of their *different* words never occurred in the books you
# have just read? A number between 0 and 1.

# %%
guess = None
theirs = Counter(word for text in unseen for word in words_of(text))
new = [word for word in theirs if word not in seen]
reveal("02.p2", guess, truth=len(new) / len(theirs))

# %%
print("some of them:", ", ".join(sorted(new, key=theirs.get)[-10:]))
middle = next(t for t in unseen if any(w in new for w in words_of(t[3000:5000])))[3000:5000]
at = min(middle.lower().find(w) for w in words_of(middle) if w in new)
line = middle[max(0, at - 120) : at + 80].replace("\n", " ")
known = regex.sub(r"\w+", lambda m: m[0] if m[0].lower() in seen else "<unknown>", line)
print("what a model of words would read:", known)
share = sum(theirs[w] for w in new) / sum(theirs.values())
print(f"{share:.1%} of all words in the unseen books are unknown")

# %% [markdown]
# Those are the words that carry the meaning: names, places, things. A model of words can neither read nor write them.
# And each of the known ones needs a row of its own in the *embedding*, the table that holds one vector for each id,
# though many come once or twice in all the books.
#
# So take bytes: 256 of them write everything, in every language. But then a text is long:

# %%
page = held[5000:8000]
for name, pieces in (("bytes", len(page.encode())), ("words", len(words_of(page)))):
    print(f"a page of {len(page):,} characters: {pieces:>5,} {name}, "
          f"{pieces**2 / 1e6:.2f} million comparisons of pairs (lesson 04)")
print("what fits into a context of 256 bytes:", repr(page[:256]))

# %% [markdown]
# A model pays for each piece with a full pass through all its layers, and its context counts pieces. With bytes the
# list is short and texts are long; with words, the reverse. You want something between: frequent words whole, rare ones
# in parts, and bytes for the rest. And you want nobody to decide by hand what is frequent.

# %% [markdown]
# ## 3. Byte-pair encoding by hand
#
# The idea is from a note on data compression (Gage 1994), and Sennrich et al. brought it to language: *find the pair of
# neighbours that occurs most often, make it one piece, and start again.* Here is a language with four words; the
# numbers say how often each occurs. It is the example in the paper's program.

# %%
toy = {"low": 5, "lower": 2, "newest": 6, "widest": 3}

# %% [markdown]
# **Predict.** How often does the most frequent pair of neighbouring letters occur in this language? Do it on paper: it
# takes two minutes, and you will not forget the algorithm afterwards.

# %%
guess = None
reveal("02.p3", guess)

# %% [markdown]
# > **Your turn, before you read on: 02.2 `most_common_pair`** and **02.3 `merge_pair`**: the two halves of a trainer.
#
# Two pairs may occur equally often; then we take the later one in the alphabet. Section 5 says why there must be a
# rule. Here are the two halves, for words with their counts:

# %%
def count_pairs(pieces_of, times):
    """How often each pair of neighbours occurs; a word that occurs five times counts five times."""
    counts = Counter()
    for word, pieces in pieces_of.items():
        for pair in zip(pieces, pieces[1:]):
            counts[pair] += times[word]
    return counts


def join(pieces, pair):
    """Join each occurrence of the pair, from the left: [a, a, a] with (a, a) -> [aa, a]."""
    joined = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


# %%
pieces_of = {word: [bytes([b]) for b in word.encode()] for word in toy}
fig, axes = figure(width=7, height=2.3, columns=4)
learnt = []
for ax in axes:
    counts = count_pairs(pieces_of, toy)
    best = max(counts, key=lambda pair: (counts[pair], pair))
    top = sorted(counts, key=lambda pair: (counts[pair], pair))[-5:]
    colors = [BLUE if pair == best else "#c8c8c8" for pair in top]
    names = [" + ".join(map(visible, pair)) for pair in top]
    ax.barh(names, [counts[pair] for pair in top], color=colors)
    ax.set(title=f"merge {len(learnt)}", xlim=(0, 10))
    learnt.append(best)
    pieces_of = {word: join(pieces, best) for word, pieces in pieces_of.items()}
assert learnt[0] == (b"s", b"t") and learnt[1] == (b"e", b"st")
show(fig, alt="Four bar charts of pair counts; the longest bar is merged each time: "
              f"{', '.join((a + b).decode() for a, b in learnt)}.")
print({word: b" ".join(pieces).decode() for word, pieces in pieces_of.items()})

# %% [markdown]
# That is all of it. Count, join the winner, repeat. The first step was a tie: *e+s* and *s+t* both occur nine times.
# Each merge has a **rank**, its place in the order of learning; the ranks begin at 0. "est" was found because it is
# frequent, not because anybody knew that English makes superlatives with it.
#
# Now cut a word that the language never had, "lowest": start from its letters and apply what was learnt, merge by
# merge.

# %%
steps = MergeView("lowest", learnt)
show(steps.figure(),
     alt="The six letters of lowest become two pieces in four merges: st, est, ow, low.")

# %% [markdown]
# Two pieces, low and est, and both are old friends. A word-level model would have seen `<unknown>`.

# %% [markdown] tags=["slide"]
# ### Byte-pair encoding
#
# 1. start with the 256 bytes
# 2. count all neighbours
# 3. join the most frequent pair, of equals the later in the alphabet
# 4. go to 2
#
# rank = place in the order of learning

# %% [markdown]
# ## 4. Slow, then fast
#
# The same on real text. First cut it into **chunks**, roughly words with the space before them, so that no merge
# reaches across; section 6 looks at that expression. Then the loop, as you would say it:

# %%
findall = regex.compile(minigpt.tokenizer.GPT2_PATTERN).findall


def train_slowly(text, merges):
    chunks = [[bytes([b]) for b in chunk.encode()] for chunk in findall(text)]
    learnt, changed = [], []
    for _ in range(merges):
        counts = Counter(pair for pieces in chunks for pair in zip(pieces, pieces[1:]))
        best = max(counts, key=lambda pair: (counts[pair], pair))
        joined = [join(pieces, best) for pieces in chunks]
        changed.append(sum(len(a) != len(b) for a, b in zip(chunks, joined)) / len(chunks))
        chunks = joined
        learnt.append(best)
    return learnt, changed


# %% [markdown]
# **Predict.** It counts all chunks and walks through all chunks, for each merge. In which share of these visits does a
# chunk change at all, for 100 merges? A number between 0 and 1.

# %%
guess = None
sample = held[:60_000]
begin = time.perf_counter()
slow_merges, changed = train_slowly(sample, 100)
slow_seconds = time.perf_counter() - begin
reveal("02.p4", guess, truth=np.mean(changed))

# %%
fig, ax = figure(width=5.5, height=2.2)
ax.plot(100 * np.array(changed), color=BLUE)
ax.set(xlabel="rank of the merge", ylabel="chunks changed, %")
shown = ", ".join(visible(a + b) for a, b in slow_merges[:8])
assert np.mean(changed) < 0.1
assert usable[0] != "books" or np.mean(changed[50:]) < 0.01
show(fig, alt=f"The first merges touch up to {max(changed):.0%} of the chunks; after fifty "
              "merges fewer than one in a hundred changes.")
print("first merges:", shown)

# %% [markdown]
# Nearly all of the work is for nothing. Two repairs follow, and neither changes the result.
#
# **Repair 1: the same word again.** " the" occurs hundreds of times and is always cut alike. So keep each different
# chunk once, with its count. That is the toy of section 3, with more words:

# %%
def train_on_distinct(text, merges):
    times = Counter(findall(text))
    pieces_of = {chunk: [bytes([b]) for b in chunk.encode()] for chunk in times}
    learnt = []
    for _ in range(merges):
        counts = count_pairs(pieces_of, times)
        best = max(counts, key=lambda pair: (counts[pair], pair))
        pieces_of = {chunk: join(pieces, best) for chunk, pieces in pieces_of.items()}
        learnt.append(best)
    return learnt


# %% [markdown]
# **Repair 2: the same count again.** A merge changes only the chunks that hold the pair. Remember which those are, and
# correct only their counts:

# %%
def train_incrementally(text, merges):
    times = Counter(findall(text))
    pieces_of = {chunk: [bytes([b]) for b in chunk.encode()] for chunk in times}
    counts, where = count_pairs(pieces_of, times), defaultdict(set)
    for chunk, pieces in pieces_of.items():
        for pair in zip(pieces, pieces[1:]):
            where[pair].add(chunk)
    learnt = []
    for _ in range(merges):
        best = max(counts, key=lambda pair: (counts[pair], pair))
        for chunk in list(where[best]):
            before, after = pieces_of[chunk], join(pieces_of[chunk], best)
            for pair in zip(before, before[1:]):
                counts[pair] -= times[chunk]
            for pair in zip(after, after[1:]):
                counts[pair] += times[chunk]
                where[pair].add(chunk)
            pieces_of[chunk] = after
        learnt.append(best)
    return learnt


# %%
def seconds(f, *args):
    """The shortest of three calls, so that another program counts for little, and the result."""
    took = []
    for _ in range(3):
        begin = time.perf_counter()
        result = f(*args)
        took.append(time.perf_counter() - begin)
    return min(took), result


# %% tags=["timing"]
once_seconds, once_merges = seconds(train_on_distinct, sample, 100)
fast_seconds, fast_merges = seconds(train_incrementally, sample, 100)
engine_seconds, engine = seconds(train_bpe, sample, 256 + 100)
assert slow_merges == once_merges == fast_merges == engine.merges
took = {"slowly": slow_seconds, "each chunk once": once_seconds, "and each count": fast_seconds,
        "minigpt": engine_seconds}
fig, ax = figure(width=5.5, height=1.9)
ax.barh(list(took), list(took.values()), color=[VERMILLION, ORANGE, SKY, BLUE], log=True)
ax.invert_yaxis()
ax.minorticks_off()
ax.set(xlabel="seconds: 100 merges, 60,000 characters")
show(fig, alt="Live, on this machine: each step down is several times shorter than the one above "
              "it, and all four learn the same merges.")
once, fast, best = (t / slow_seconds for t in (once_seconds, fast_seconds, engine_seconds))
print(f"slowly {slow_seconds:.2f} s; repair 1 alone {once:.0%} of that, both {fast:.1%}, "
      f"minigpt {best:.1%}")

# %% [markdown]
# The gap grows with the text and with the number of merges, because the slow one does the product of both. `minigpt`
# takes the second repair further: it keeps *places* instead of chunks, and a heap, so that it does not look through all
# pairs for the greatest. All of the books, more than thirty thousand merges:

# %% tags=["timing"]
large_seconds, large = seconds(train_bpe, train, 32_768, ["<|endoftext|>"])
print(f"{millions:.1f} million characters, {len(large.merges):,} merges: {large_seconds:.1f} s")
last = range(large.vocab_size - 11, large.vocab_size - 1)
print("a few of the last:", [visible(large.vocab[i]) for i in last])

# %% [markdown]
# One thing comes for free. Merges are learnt in order, and none of them looks ahead. So the tokenizer of 1,024 ids *is*
# the first part of the tokenizer of 32,768:

# %%
def cut_down(tokenizer, vocab_size):
    """The tokenizer that training would have given at a smaller size."""
    merges = tokenizer.merges[: vocab_size - 256 - len(tokenizer.special_names)]
    return Tokenizer(merges, tokenizer.special_names, tokenizer.pattern)


small = cut_down(large, 1024)
assert small.merges == train_bpe(train, 1024, ["<|endoftext|>"]).merges
on_the_page = {t.vocab_size: len(t.encode(page)) for t in (small, large)}
print("tokens on the page:", on_the_page, "by size of the vocabulary")

# %% [markdown]
# > **Your turn: 02.4 `learn_pairs`**: a trainer with two planted mistakes.

# %% [markdown]
# ## 5. Ties
#
# Two pairs may have the same count. Then any choice is right, and a choice has to be made. Python's `max` takes the
# first it meets; so the order in which you read the files decides. Here is the trainer of repair 1 again. You hand it
# the rule for ties, and it also notes how many pairs had the winner's count. Train twice on the same four pieces of
# text, in two orders:

# %%
def train_with(tie, texts, merges):
    times = Counter(chunk for text in texts for chunk in findall(text))
    pieces_of = {chunk: [bytes([b]) for b in chunk.encode()] for chunk in times}
    learnt, tied = [], []
    for _ in range(merges):
        counts = count_pairs(pieces_of, times)
        best = max(counts, key=lambda pair: (counts[pair], tie(pair)))
        tied.append(sum(count == counts[best] for count in counts.values()))
        pieces_of = {chunk: join(pieces, best) for chunk, pieces in pieces_of.items()}
        learnt.append(best)
    return learnt, tied


# %%
parts = [sample[i : i + 15_000] for i in range(0, 60_000, 15_000)]
orders = parts, parts[::-1]
careless = [train_with(lambda pair: 0, texts, 200)[0] for texts in orders]  # no rule
(ruled, tied), (again, _) = (train_with(lambda pair: pair, texts, 200) for texts in orders)
first = next(i for i, (a, b) in enumerate(zip(*careless)) if a != b)
assert ruled == again and careless[0] != careless[1]
print(f"without a rule: merge {first} differs, {careless[0][first]} or {careless[1][first]}")
print(f"with a rule:    all {len(ruled)} merges are equal")

# %% [markdown]
# Does one different merge matter? From there on the ids are shifted. Write with one tokenizer and read with the other:

# %%
here, there = (Tokenizer(merges) for merges in careless)
line = "The captain had not spoken for a long time, and nobody dared to ask him why."
print("read with the same tokenizer: ", here.decode(here.encode(line)))
print("read with the other tokenizer:", there.decode(here.encode(line)))
assert here.decode(here.encode(line)) == line != there.decode(here.encode(line))

# %% [markdown]
# A model knows its tokens by number, so a model with a tokenizer that is *almost* its own writes such lines. Therefore
# there is a rule, and it may not depend on the order of anything. This course takes the **greater pair of byte
# strings**, as CS336 does, a course which had to mend its own reference merges because of ties; the same trouble was
# found in minbpe ([pull request 90](https://github.com/karpathy/minbpe/pull/90)). How often is the rule needed?

# %%
fig, ax = figure(width=5.5, height=2.2)
by_twenty = np.array(tied).reshape(10, 20).mean(1)
ax.bar(np.arange(0, 200, 20), by_twenty, 18, align="edge", color=BLUE)
ax.set(xlabel="rank of the merge", ylabel="pairs with this count")
show(fig, alt="At first the best pair is alone; for each of the last twenty merges there are "
              f"{by_twenty[-1]:.1f} pairs to choose from on average.")

# %% [markdown]
# The rarer a pair, the more company it has. The end of every vocabulary is decided by the tie rule, also in yours. That
# is why the last tokens in section 4 run backwards through the alphabet: their pairs are equally rare, and of equals
# the later goes first.

# %% [markdown]
# ## 6. Cut before you merge
#
# Every trainer so far cut the text into chunks first. This is GPT-2's expression, the default of `minigpt`:

# %%
pattern = minigpt.tokenizer.GPT2_PATTERN
print(pattern)
for line in ("It's 1984: we can't  wait!", "x=3.14; naïve_café", "dog dog. dog, (dog"):
    print(f"{line:<28}", " | ".join(map(visible, regex.findall(pattern, line))))

# %% [markdown]
# From left to right: an English ending like *'s*; letters; digits; other signs; each of those with the one space before
# it; and blanks. So the space belongs to the word that follows: " dog" and "dog" are two different tokens, and a
# sentence needs no tokens for its spaces.
#
# **What breaks if** you leave this out? Train once more on the same text, cut at the ends of lines only:

# %%
excerpt = [text[:60_000] for text in train[:12]]
with_cuts = train_bpe(excerpt, 2_000)
without_cuts = train_bpe(excerpt, 2_000, pattern=r"[^\n]+|\n")
border = regex.compile(rb"\S\s+\S|\w[.,;:!?\"]|\S\s$")  # a space or a stop behind something else
across = [token for token in without_cuts.vocab.values() if border.search(token)]
print(f"{len(across) / 2_000:.0%} of the vocabulary reaches across a border, for instance:")
print(" ".join(f"[{visible(token)}]" for token in sorted(across, key=len)[-14:]))
for name, tokenizer in (("with cuts", with_cuts), ("without", without_cuts)):
    per_token = len(held.encode()) / len(tokenizer.encode(held))
    print(f"{name:<10} {per_token:.2f} bytes per token on unseen text")

# %% [markdown]
# Judged by the length of the text, nothing is wrong. So what is? Look at one word in many places. How many different
# ways are there in which it is cut, or glued to its neighbours?

# %%
def ways_to_cut(tokenizer, text, word):
    """The different token sequences that cover a word's occurrences in a text."""
    ids = tokenizer.encode(text)
    ends = np.cumsum(tokenizer.token_bytes[ids])
    ways = Counter()
    for match in regex.finditer(rb"(?<= )" + word + rb"(?=\W)", text.encode()):
        first, last = np.searchsorted(ends, [match.start(), match.end() - 1], side="right")
        ways[b"|".join(tokenizer.vocab[i] for i in ids[first : last + 1])] += 1
    return ways


frequent = [b"time", b"man", b"house", b"night", b"door", b"life"]
trained = {"with": with_cuts, "without": without_cuts}
found = {name: [len(ways_to_cut(t, held, w)) for w in frequent] for name, t in trained.items()}
some = list(ways_to_cut(without_cuts, held, b"time"))[:12]
print("time, without cuts:", " ".join(f"[{visible(way)}]" for way in some))

# %%
fig, ax = figure(width=5.5, height=2.4)
at = np.arange(len(frequent))
for shift, (name, counts), color in zip((-0.2, 0.2), found.items(), (BLUE, VERMILLION)):
    bars = ax.bar(at + shift, counts, 0.38, color=color, label=f"{name} cuts")
    ax.bar_label(bars)
ax.set_xticks(at, [w.decode() for w in frequent])
ax.set(ylabel="ways to write it")
ax.legend()
assert max(found["with"]) == 1 < max(found["without"])
show(fig, alt=f"Without cuts each of six frequent words has {min(found['without'])} to "
              f"{max(found['without'])} different token sequences; with cuts exactly one.")

# %% [markdown]
# The model must learn each of those ways by itself, and learn that they mean the same. With cuts a word after a space
# is always the same tokens. (A newer idea cuts first and lets late merges cross: Liu et al. 2025,
# [SuperBPE](https://arxiv.org/abs/2503.13423). It keeps the words and gets the shorter text as well.) And a trainer
# with cuts can keep each chunk once, which was repair 1.

# %% [markdown]
# ## 7. Encoding goes by rank
#
# You have a list of merges, and a new text to cut. The rule is: *of all pairs that you could join now, take the one
# that was learnt first*. Then look again. It replays what training did to every word that it saw. Follow the ranks down
# the picture: they only rise. Below it is a stepper; run the cell yourself, and it cuts whatever you type.

# %%
tokenizer = cut_down(large, 4096)
view = MergeView(" hopeless", cut_down(tokenizer, 1500))  # fewer merges: less to scroll
show(view, alt="Nine bytes become two tokens, hope and less; the ranks of the merges rise from "
               "step to step.")

# %% [markdown]
# > **Your turn, before you read on: 02.5 `encode_by_rank`.**
#
# In code, with three other rules that come to mind; people write all of them:

# %%
def by_rank(chunk, ranks):
    pieces = [bytes([b]) for b in chunk]
    while known := [pair for pair in zip(pieces, pieces[1:]) if pair[0] + pair[1] in ranks]:
        pieces = join(pieces, min(known, key=lambda pair: ranks[pair[0] + pair[1]]))
    return pieces


def in_text_order(chunk, ranks):
    pieces = [bytes([b]) for b in chunk]
    while known := [pair for pair in zip(pieces, pieces[1:]) if pair[0] + pair[1] in ranks]:
        pieces = join(pieces, known[0])  # the leftmost pair that is known at all
    return pieces


# %%
def longest_first(chunk, ranks):
    pieces = []
    while chunk:
        size = next(n for n in range(len(chunk), 0, -1) if chunk[:n] in ranks)
        pieces.append(chunk[:size])
        chunk = chunk[size:]
    return pieces


def latest_first(chunk, ranks):
    pieces = [bytes([b]) for b in chunk]
    while known := [pair for pair in zip(pieces, pieces[1:]) if pair[0] + pair[1] in ranks]:
        pieces = join(pieces, max(known, key=lambda pair: ranks[pair[0] + pair[1]]))
    return pieces


# %% [markdown]
# **Predict.** "Longest piece first" sounds like the same thing said differently. In which share of the different words
# of the unseen books does it cut differently from the rule by rank? A number between 0 and 1.

# %%
guess = None
chunks = [chunk.encode() for chunk in Counter(regex.findall(pattern, held))]
right = [by_rank(chunk, tokenizer.ranks) for chunk in chunks]
for chunk, pieces in zip(chunks, right):
    assert [tokenizer.ranks[piece] for piece in pieces] == tokenizer.encode(chunk.decode())
rules = in_text_order, longest_first, latest_first
wrong = {rule.__name__: [rule(chunk, tokenizer.ranks) for chunk in chunks] for rule in rules}
differs = {name: np.mean([a != b for a, b in zip(cuts, right)]) for name, cuts in wrong.items()}
reveal("02.p5", guess, truth=differs["longest_first"])

# %%
cuts_by = {"by rank": right} | {name.replace("_", " "): cuts for name, cuts in wrong.items()}
all_differ = [i for i in range(len(chunks))
              if len({str(cuts[i]) for cuts in cuts_by.values()}) == 4]
i = min(all_differ, key=lambda i: (len(chunks[i]) < 9, i))
show(strip({name: cuts[i] for name, cuts in cuts_by.items()}, width=5.5),
     alt=f"One word, {chunks[i].decode()!r}, cut by four rules into four different rows of "
         "pieces.")
for name, cuts in wrong.items():
    longer = sum(map(len, cuts)) / sum(map(len, right)) - 1
    print(f"{name:<14} {differs[name]:>6.1%} of the words cut differently, {longer:+.1%} pieces")
assert min(differs.values()) > 0.005

# %% [markdown]
# All four rows decode to the same word, so a test that encodes and decodes passes for all of them. But a model was
# trained on cuts like the first row. Give it another one and it will not complain; it will only be worse. The test that
# finds this compares ids with an encoder that someone else wrote.
#
# Look at "longest first" in the list: it needs *fewer* pieces than the rule by rank. As a way of cutting it is no
# worse. It is wrong because the model was trained on other cuts.

# %% [markdown] tags=["slide"]
# ### Encode by rank
#
# - of all pairs that can be joined: the one that was learnt first
# - any other rule: decodes as well, and is wrong
#
# compare ids, not texts

# %% [markdown]
# ## 8. Special tokens, and who may write them
#
# Documents follow each other in one stream, and the model must know where one ends. So there is one more token,
# `<|endoftext|>`, with an id after all merges. It stands for no text. But its *name* is text, and anybody can write
# that. Suppose a web page contains it:

# %%
page_of_a_stranger = "A recipe.<|endoftext|>The moon is cheese."
careful = tokenizer.encode(page_of_a_stranger)
careless = tokenizer.encode(page_of_a_stranger, allowed_special=True)
ids_of = {"as text": careful, "as a token": careless}
rows = {name: [tokenizer.vocab[i] for i in ids] for name, ids in ids_of.items()}
show(strip(rows, {b"<|endoftext|>": VERMILLION}, width=8),
     alt=f"The same page twice: as text the name is {len(careful) - len(careless) + 1} ordinary "
         "tokens; as a token it is one red box that ends the document.")
assert tokenizer.eot in careless and tokenizer.eot not in careful
assert tokenizer.decode(careful) == page_of_a_stranger == tokenizer.decode(careless)

# %% [markdown]
# In the lower row one page has become two documents, and the second seems to come from nowhere. With the tokens of a
# chat ("the user speaks", "the assistant speaks") it is worse: a user who may write those can put words into the
# assistant's mouth. Both rows decode to the same text, so you will not see it there either.
#
# The rule: **text is encoded as text, and special tokens are put in as numbers, by the program.** That is what
# `minigpt` does. `encode` has a switch for the other way, and it is off.

# %%
pages = ["A first page.", page_of_a_stranger, "A third page."]
stream = [id for text in pages for id in (tokenizer.eot, *tokenizer.encode(text))]
forged = tokenizer.encode("".join("<|endoftext|>" + text for text in pages), allowed_special=True)
found = stream.count(tokenizer.eot), forged.count(tokenizer.eot)
print(f"{len(pages)} pages; documents in the stream: {found[0]} by numbers, {found[1]} by names")
assert stream.count(tokenizer.eot) == len(pages) < forged.count(tokenizer.eot)
print("bytes of text that the special token counts for:", tokenizer.token_bytes[tokenizer.eot])

# %% [markdown]
# > **Your turn: 02.6 `training_rows`.**

# %% [markdown]
# ## 9. Numbers
#
# Nobody told byte-pair encoding that digits have places. It joins what is frequent. Presidents speak of years and sums,
# so train on their speeches, and count the tokens of each number below ten thousand:

# %%
domain = usable_domains(["speeches", "code"])[0][0]
spoken = [d.text for d in builtin([domain])]
official = train_bpe(spoken, 16_384)
sizes = np.array([len(official.encode(f" {n}")) for n in range(10_000)]).reshape(100, 100)
fig, ax = figure(width=4.6, height=3.7)
heatmap(sizes, ax=ax)
fig.colorbar(ax.images[0], ax=ax, ticks=range(1, sizes.max() + 1), label="tokens")
ax.set(xlabel="last two digits", ylabel="first two digits")
show(fig, alt=f"Ten thousand numbers as a square; {(sizes == 1).sum()} are one token, and most "
              "of those with four digits lie in two rows: the years 1800 to 1999.")
shares = [(n, (sizes == n).mean()) for n in range(1, sizes.max() + 1)]
print("tokens:", ", ".join(f"{n}: {share:.0%} of the numbers" for n, share in shares))

# %% [markdown]
# Three rows are dark. The one at the top, 00, holds the numbers up to 99; 18 and 19 are history. A year is a token if
# presidents named it often enough, and its neighbour is not:

# %%
numbers = ["1815", "1817", "8151", "1000", "100000", "1000000"]
cuts = {n: [official.vocab[i] for i in official.encode(" " + n)] for n in numbers}
show(strip(cuts, width=5),
     alt="Six numbers, each cut by frequency; the borders between the pieces lie at different "
         "places.")
encoded = (official.encode(f" {n}") for n in range(1000, 10_000))
ways = Counter("+".join(str(len(official.vocab[i].strip())) for i in ids) for ids in encoded)
listed = ", ".join(f"{way} ({count:,})" for way, count in ways.most_common())
print(f"four-digit numbers are cut in {len(ways)} ways, by digits: {listed}")

# %% [markdown]
# To add 1815 and 8151, a model must first find out which digit stands where, and that depends on a list of what was
# frequent. So newer tokenizers restrain the digits by the regular expression: one digit a chunk (Llama 2), or at most
# three (GPT-4, Llama 3). Three from which end? Counted from the left, 1000000 becomes 100·000·0, and its places no
# longer line up with those of 10000000. Counted from the right, models add better (Singh and Strouse 2024,
# [Tokenization counts](https://arxiv.org/abs/2402.14903)). What does it cost?

# %%
rules = {"any run": r" ?\p{N}+", "up to three": r" ?\p{N}{1,3}", "one by one": r" ?\p{N}"}
speech = "\n".join(spoken[1::20])
for name, rule in rules.items():
    trained = train_bpe(spoken[::6], 4_000, pattern=pattern.replace(r" ?\p{N}+", rule))
    pieces = [visible(trained.vocab[i]) for i in trained.encode(" 1000000")]
    size = len(speech.encode()) / len(trained.encode(speech))
    print(f"{name:<12} {size:.2f} bytes per token, a million is {' | '.join(pieces)}")

# %% [markdown]
# One digit a chunk costs hardly anything here, more where there are tables. For that, every number is written in one
# way.

# %% [markdown]
# ## 10. Languages
#
# The same two sentences in eleven languages. They say the same, so a fair tokenizer would take about as many tokens for
# each.

# %%
languages = {
    "English": "I drink water every morning. The child is reading a book.",
    "German": "Ich trinke jeden Morgen Wasser. Das Kind liest ein Buch.",
    "Spanish": "Bebo agua todas las mañanas. El niño lee un libro.",
    "Swahili": "Ninakunywa maji kila asubuhi. Mtoto anasoma kitabu.",
    "Turkish": "Her sabah su içerim. Çocuk kitap okuyor.",
    "Greek": "Πίνω νερό κάθε πρωί. Το παιδί διαβάζει ένα βιβλίο.",
    "Russian": "Я пью воду каждое утро. Ребёнок читает книгу.",
    "Arabic": "أشرب الماء كل صباح. الطفل يقرأ كتابا.",
    "Hindi": "मैं हर सुबह पानी पीता हूँ। बच्चा किताब पढ़ रहा है।",
    "Korean": "나는 매일 아침 물을 마신다. 아이가 책을 읽고 있다.",
    "Chinese": "我每天早上喝水。孩子在看一本书。",
}

# %% [markdown]
# **Predict.** Ours was trained on English books. How many times as many tokens as the English sentences do the Hindi
# ones take?

# %%
guess = None
counts = {name: len(large.encode(text)) for name, text in languages.items()}
reveal("02.p6", guess, truth=counts["Hindi"] / counts["English"])

# %%
print("language   characters  bytes  tokens  bytes per token  tokens per word   cost")
for name, text in languages.items():
    tokens, size, words = counts[name], len(text.encode()), len(text.split())
    fertility = f"{tokens / words:>8.1f}" if words > 2 else "no blanks"
    cost = tokens / counts["English"]
    print(f"{name:<10} {len(text):>9} {size:>7} {tokens:>7} {size / tokens:>12.2f} "
          f"{fertility:>18} {cost:>9.1f}")

# %%
order = sorted(languages, key=lambda name: counts[name])
fig, ax = figure(width=5.5, height=2.8)
colors = [BLUE if name == "English" else SKY for name in order]
ax.barh(order, [counts[name] / counts["English"] for name in order], color=colors)
ax.plot([len(languages[n].encode()) / counts["English"] for n in order], order, "k|", markersize=12)
ax.set(xlabel="tokens, English = 1; mark: if each byte were a token")
assert counts["Hindi"] > 4 * counts["English"] and order[0] == "English"
german, hindi = (counts[name] / counts["English"] for name in ("German", "Hindi"))
show(fig, alt=f"English is cheapest; German costs {german:.1f} times as much, Hindi {hindi:.1f} "
              "times: one token for each byte.")

# %% [markdown]
# Where no merge was learnt, a token is a byte. Who speaks Hindi would pay that many times as much for the same request,
# wait that many times as long, and get so much less into the context. Real tokenizers see many languages and are fairer
# than this one, and yet their costs differ by large factors (Petrov et al. 2023, [Language model tokenizers introduce
# unfairness between languages](https://arxiv.org/abs/2305.15425)).
#
# (Where a mark lies beyond the bar, some merges help: English books quote Greek, and share letters with German.)
# Compare with sentences that say the same, not by **tokens per word**: what a word is differs from language to
# language, and Chinese writes no blanks.
#
# The cure is to train on what you will read. A vocabulary is a budget, and every text competes for it. Python code is a
# language, too; here are three tokenizers of the same size, each measured on all texts:

# %%
code = [d.text[:20_000] for d in builtin(["code"])]
half = len(code) // 2
texts = {usable[0]: excerpt, "code": code[:half][:40], "both": excerpt[:6] + code[:half][:20]}
measured = {usable[0]: held[:150_000], "code": "\n".join(code[half:][:30])}
budget = {name: train_bpe(text, 3_000) for name, text in texts.items()}
table = np.array([[len(text.encode()) / len(t.encode(text)) for text in measured.values()]
                  for t in budget.values()])
fig, ax = figure(width=4.2, height=2.4)
heatmap(table, rows=list(budget), columns=list(measured), ax=ax, numbers=True,
        title="bytes per token")
ax.set(ylabel="trained on", xlabel="measured on")
if usable[0] != "code":
    assert table[0, 0] > table[2, 0] > table[1, 0] and table[1, 1] > table[2, 1] > table[0, 1]
show(fig, alt="Each tokenizer is best on its own kind of text, and the mixed one is second on "
              "both: every kind pays for the other.")

# %% [markdown]
# **Your own language.** Put a text of your own into the next cell, the longer the better; it comes with the start of a
# Russian fairy tale (Pushkin, written in 1833). It trains a tokenizer of the same size as before on English and on
# twenty copies of the first half of your text, so that its pairs can compete, and measures on the second half. A text
# measured on itself would flatter; the first line shows how much.

# %%
own_language, own_text = "Russian", """
Жил старик со своею старухой у самого синего моря; они жили в ветхой землянке ровно тридцать лет
и три года. Старик ловил неводом рыбу, старуха пряла свою пряжу. Раз он в море закинул невод, —
пришёл невод с одною тиной. Он в другой раз закинул невод, — пришёл невод с травой морскою. В третий
раз закинул он невод, — пришёл невод с одною рыбкой, с непростою рыбкой, — золотою. Как взмолится
золотая рыбка! Голосом молвит человечьим: «Отпусти ты, старче, меня в море, дорогой за себя дам
откуп: откуплюсь чем только пожелаешь.»
"""
middle = len(own_text) // 2
mixed = train_bpe([*excerpt, own_text[:middle] * 20], 2_000)
measured_on = {f"{own_language}, the half it learnt from": own_text[:middle],
               f"{own_language}, the other half": own_text[middle:], "English books": held}
print("bytes per token, before and with your text in the training:")
for name, text in measured_on.items():
    before, after = (len(text.encode()) / len(t.encode(text)) for t in (with_cuts, mixed))
    print(f"{name:<32} {before:.2f}  {after:.2f}")

# %% [markdown]
# > **Your turn: 02.7 `language_costs`.**

# %% [markdown]
# ## 11. Tokens that nobody has seen
#
# A token enters the vocabulary because its pair was frequent *at that moment*. Later merges may swallow it. How often
# does each token occur in the very text it was learnt from?

# %%
counts = np.bincount(np.concatenate(large.encode_batch(train)), minlength=large.vocab_size)
unused = [large.vocab[i] for i in np.flatnonzero(counts == 0) if i >= 256 and i != large.eot]
fig, ax = figure(width=5.5, height=2.4)
ax.loglog(np.arange(1, large.vocab_size + 1), np.sort(counts)[::-1], color=BLUE)
ax.axhline(10, color=VERMILLION, linestyle=":")
label_end(ax, 1, 20, "ten times", VERMILLION)
ax.minorticks_off()
ax.set(xlabel="tokens, the most frequent first", ylabel="occurrences")
rare = (counts < 10).sum()
show(fig, alt=f"From {counts.max():,} occurrences the line falls straight, and at its end drops "
              f"to nothing: {rare:,} of {large.vocab_size:,} tokens occur fewer than ten times.")
some = " ".join(f"[{visible(token)}]" for token in unused[:12])
print(f"{len(unused)} learnt tokens never occur in their own text:", some)
prompt = "Once there was a" + next(token for token in unused if token[:1] == b" ").decode()
end = large.vocab[large.encode(prompt)[-1]]
assert end in unused
print(f"the prompt {prompt!r} ends with one of them: [{visible(end)}]")

# %% [markdown]
# Six in ten tokens occur fewer than ten times in all the books; that is little to learn a word from. And those that
# never occur are scaffolding: steps on the way to a longer token, which then takes every occurrence. They do little
# harm until a prompt stops in mid-word. Then the model reads a token that it has never seen.
#
# It gets worse when the tokenizer comes from *another* text than the model's. Then tokens that anybody may type were
# never seen in training. That is how GPT-2 and GPT-3 came by their glitch tokens, names of forum users that made the
# models stammer (Land and Bartolo 2024, [Fishing for Magikarp](https://arxiv.org/abs/2405.05417), who find such tokens
# in many models). Make the case: a tokenizer of books and code, a model that reads books.

# %%
foreign = budget["both"]
read_by_model = np.concatenate(foreign.encode_batch(train[:60]))
seen_by_model = np.bincount(read_by_model, minlength=foreign.vocab_size)
never = [foreign.vocab[i] for i in np.flatnonzero(seen_by_model == 0) if i >= 256]
examples = " ".join(f"[{visible(token)}]" for token in never[::25])
print(f"{len(never)} of {foreign.vocab_size} tokens do not occur in sixty books:", examples)

# %% [markdown]
# What happens to the vector of such a token? Ask the gradient. There are two cases. The *head* is the last matrix of a
# model; it makes one number for each id. In some models the embedding and the head are two matrices; in others they are
# *tied*, one matrix used twice. GPT-2 is tied, and so are the small presets of this course. Train one of each for
# twenty steps on a thousand tokens:

# %%
ids = torch.tensor(foreign.encode(train[0][20_000:30_000])[: 8 * 129]).view(8, 129)
unread = ~torch.isin(torch.arange(foreign.vocab_size), ids)
config = minigpt.ModelConfig(layers=1, width=32, heads=1, kv_heads=1, head_size=32, mlp_width=64,
                             context=128, vocab_size=foreign.vocab_size)

# %%
alike, moved = {}, {}
for name, tied in (("two matrices", False), ("tied", True)):
    model = minigpt.GPT(replace(config, tied=tied))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(20):
        model(ids[:, :-1], ids[:, 1:]).backward()
        moved[name] = model.embed.weight.grad[: foreign.vocab_size][unread].any(dim=1)
        optimizer.step()
        optimizer.zero_grad()
    rows = model.embed.weight.detach()[: foreign.vocab_size][unread]
    alike[name] = torch.nn.functional.normalize(rows, dim=1).mean(0).square().sum()
    print(f"{name:<13} {moved[name].sum():>5} of {unread.sum()} unread rows have a gradient; "
          f"cosine between two of them, on average: {alike[name]:.2f}")
assert not moved["two matrices"].any() and moved["tied"].all()
assert alike["two matrices"] < 0.1 and alike["tied"] > 0.9

# %% [markdown]
# With two matrices, a token that is never read keeps the random vector that it was born with. In a tied model its row
# works in the head as well, where it is a wrong answer at every position. So it gets a gradient, but only ever "not
# you". All unread rows are pushed the same way and end up alike. (By this likeness Land and Bartolo find them.) In
# both cases the model that meets such a token one day reads a vector without meaning, in the middle of a sentence. So:
# train the tokenizer on the model's own mixture, and look at the end of the list of counts before you train the model.

# %% [markdown]
# ## 12. The same as the engine
#
# Your encoder took a pair at a time, in Python. This is `minigpt`'s readable one. You could have written it:

# %%
print(inspect.getsource(minigpt.tokenizer.merge_bytes))
print(inspect.getsource(minigpt.tokenizer.slow_encode))

# %% [markdown]
# The one that works is not ours: `tiktoken`, written in Rust, which also encodes for GPT-4. It wants the vocabulary
# with its ranks, the expression and the special tokens, nothing else; we build it from what you have learnt and compare
# all three on text that none of them has seen. A few strange strings are part of the test.

# %%
theirs = tiktoken.Encoding(
    "mine",
    pat_str=pattern,
    mergeable_ranks={token: id for id, token in tokenizer.vocab.items() if id != tokenizer.eot},
    special_tokens={"<|endoftext|>": tokenizer.eot},
)
strange = ["", " ", "   ", "\n\n \t", "aaaaaaa", "naïve café", "e\u0301", "中文🙂", "\x00\x01"]
strange += ["<|endoftext|>", *languages.values()]
for text in [held[:60_000], *strange]:
    cuts = [by_rank(chunk.encode(), tokenizer.ranks) for chunk in regex.findall(pattern, text)]
    mine = [tokenizer.ranks[piece] for pieces in cuts for piece in pieces]
    assert mine == minigpt.tokenizer.slow_encode(tokenizer, text) == theirs.encode_ordinary(text)
    assert theirs.decode(mine) == text
print(f"by hand = minigpt's readable encoder = tiktoken, on {1 + len(strange)} texts")

# %% tags=["timing"]
ours, _ = seconds(minigpt.tokenizer.slow_encode, tokenizer, held[:60_000])
rust, _ = seconds(theirs.encode_ordinary, held[:60_000])
print(f"tiktoken is {ours / rust:.0f} times as fast as the readable one: "
      f"{0.06 / rust:.1f} million characters a second")

# %% [markdown]
# ## 13. How large should the vocabulary be?
#
# A larger vocabulary makes the text shorter. How much shorter? Thanks to section 4 you have all sizes already:

# %%
vocabularies = [257, 512, 1024, 2048, 4096, 8192, 16_384, 32_768]
per_token = [len(held.encode()) / len(cut_down(large, size).encode(held)) for size in vocabularies]
print("size of the vocabulary", *(f"{size:>7,}" for size in vocabularies))
print("bytes per token       ", *(f"{size:>7.2f}" for size in per_token))
gained = np.diff(per_token)
print("gained by the doubling", " " * 7, *(f"{gain:>7.2f}" for gain in gained))

# %% [markdown]
# So the gain shrinks with each doubling. The price does not: for each token the model computes one number for every
# entry of its vocabulary. That is the head's work, and it costs 2 C V operations forward, with width C and V ids.
#
# **Predict.** A small model has two layers of width 64 and a vocabulary of 32,768. Which share of its arithmetic goes
# into the head? A number between 0 and 1.

# %%
guess = None
body = minigpt.ModelConfig(layers=2, width=64, heads=1, kv_heads=1, head_size=64, mlp_width=192,
                           context=128, vocab_size=32_768)
total = flops_per_token(body)
reveal("02.p7", guess, truth=6 * 64 * 32_768 / total)

# %% [markdown]
# What counts is neither the length nor the price of a token, but their product: operations for each *byte* of text. For
# three bodies:

# %%
def shape_of(layers, width, context, vocab_size):
    heads = width // 64
    return minigpt.ModelConfig(layers=layers, width=width, heads=heads, kv_heads=heads,
                               head_size=64, mlp_width=3 * width, context=context,
                               vocab_size=vocab_size)


# %%
bodies = (2, 64, 128), (12, 768, 1024), (32, 4096, 1024)
fig, ax = figure(width=5.5, height=2.8)
best = {}
for (layers, width, context), color in zip(bodies, (VERMILLION, ORANGE, BLUE)):
    flops = [flops_per_token(shape_of(layers, width, context, size)) for size in vocabularies]
    cost = np.array(flops) / per_token
    best[width] = vocabularies[cost.argmin()]
    name = f"{layers} layers of {width}, context {context:,}"
    ax.loglog(vocabularies, cost / cost.min(), "o-", color=color, label=name)
ax.legend()
ax.minorticks_off()
ax.set_yticks([1, 2, 4], ["1", "2", "4"])
ax.set_xticks(vocabularies, [f"{size:,}" for size in vocabularies])
ax.set(xlabel="size of the vocabulary", ylabel="FLOPs per byte, best = 1")
assert best[64] < best[768] < best[4096] == vocabularies[-1]
show(fig, alt=f"Two valleys and a slope: the smallest body is cheapest at {best[64]:,} ids, the "
              f"middle one at {best[768]:,}; the largest only falls, down to {best[4096]:,}.")

# %% [markdown]
# The larger the body, the less the head matters, and the larger the vocabulary that pays. (This is one reason why GPT-2
# had 50 thousand ids and newer, larger models have 100 or 200 thousand; more languages are another. Tao et al. 2024,
# [Scaling laws with vocabulary](https://arxiv.org/abs/2407.13623), fit the rule.)
#
# Cost is not yet quality. A rare token is seen rarely, and learnt badly. So train: the small body above, the same FLOPs
# for each vocabulary, and measure **bits per byte**, the only unit in which they can be compared. That takes some
# minutes, so it was recorded, and one arm runs again now.

# %%
record = recorded("02.vocabulary")
print(record.what)
print("vocabulary   steps   million bytes read")
for arm in record.arms:
    steps, millions_read = record.numbers(arm, "steps"), record.numbers(arm, "bytes_read") / 1e6
    print(f"{arm:>10} {steps[0]:>7.0f} {millions_read.mean():>12.2f}")
arm, threads = record.arms[0], torch.get_num_threads()
# for matrices this small a second thread gains little, and waits whenever its core is busy
torch.set_num_threads(1)
live = record.live(arm) if usable[0] == "books" else None
torch.set_num_threads(threads)

# %%
fig, ax = figure(width=6, height=3)
plot_record(ax, record, label=False)
for curve, name in zip(ax.lines, record.arms):
    curve.set_label(name)
ax.legend(title="vocabulary", ncols=2)
if live:
    plot_live(ax, live.x, live.y)
    print(live_sentence(record, arm, live))
show(fig, alt="Bits per byte against training FLOPs, one curve a vocabulary: 8,192 leads for most "
              "of the way, 2,048 has caught it at the end, and bytes stay far above.")
print(record.sentence())

# %%
fig, ax = figure(width=5.5, height=2.4)
mean = np.array([record.mean(arm)[-1] for arm in record.arms])
low, high = np.array([[edge[-1] for edge in record.band(arm)] for arm in record.arms]).T
reach = [mean - low, high - mean]
ax.errorbar(range(len(mean)), mean, reach, fmt="o-", color=BLUE, capsize=4, linewidth=1)
ax.set_xticks(range(len(mean)), record.arms)
ax.set(xlabel="size of the vocabulary", ylabel="bits per byte, end")
winner = record.arms[mean.argmin()]
assert winner not in (record.arms[0], record.arms[-1])
show(fig, alt=f"A valley: bytes alone end at {mean[0]:.2f} bits per byte, the best vocabulary, "
              f"{winner}, at {mean.min():.2f}, the largest at {mean[-1]:.2f}.")
print(record.sentence())

# %% [markdown]
# Read three things from it. **Bytes alone lose clearly**, and not for want of text: they read as many bytes as the arm
# of 8,192 ids and three times as many as that of 32,768. But a context of 128 holds 128 bytes for them, a line and a
# half, and seven lines for the arm of 8,192; and they must learn to spell first. **Then the valley is flat**: for 2,048
# and 8,192 the intervals overlap, so this record cannot say which is better. **A larger vocabulary pays early, up to a
# point**: 8,192 leads nearly all the way, because it knows words before training starts. But its steps are dearer, so
# it makes fewer of them, and 2,048 has caught up when the FLOPs are spent. And 32,768 starts behind even 2,048: its
# steps are too dear.
#
# What was held fixed here, and what was not? The learning rates were tuned for no arm, and the body is tiny. A larger
# one should move the bottom of the valley to the right, for the reason that the three curves show. A record answers
# the question that it asked; `python -m minigpt redo 02.vocabulary` lets you ask it again with a body of your own.

# %% [markdown] tags=["slide"]
# ### What a tokenizer costs
#
# - what was rare in its training text: languages, numbers, code
# - larger vocabulary: shorter text, dearer head, rarer tokens
# - compare: bits per byte at equal FLOPs
#
# special tokens: numbers, put in by the program only

# %% [markdown]
# ## 14. One paper
#
# **Sennrich, Haddow and Birch 2016, [Neural Machine Translation of Rare Words with Subword
# Units](https://arxiv.org/abs/1508.07909)**, sections 3.2 and 5. It brought byte-pair encoding to language. Read it
# with three questions: *What was held fixed* between the systems compared? (Is it only the segmentation, or also the
# size of the vocabulary?) *What would change your mind* about the gain of 1.1 BLEU that its abstract reports? (How many
# runs stand behind each line of a table?) *Which number can you recompute?* One is figure 1: four merges, learnt from
# four words. The dot marks the end of a word.

# %%
words = {word + "·": 1 for word in ("low", "lowest", "newer", "wider")}
printed = [("r", "·"), ("l", "o"), ("lo", "w"), ("e", "r·")]  # figure 1 of the paper
pieces_of, lower = {word: list(word) for word in words}, list("lower·")
for pair in printed:
    counts = count_pairs(pieces_of, words)
    ties = [a + "+" + b for (a, b), count in counts.items() if count == max(counts.values())]
    assert counts[pair] == max(counts.values())
    print(f"{'+'.join(pair):<6} occurs {counts[pair]} times; as frequent: {' '.join(ties)}")
    pieces_of = {word: join(pieces, pair) for word, pieces in pieces_of.items()}
    lower = join(lower, pair)
print("recomputed: lower becomes", " ".join(lower), "and the paper prints: low er·")
assert lower == ["low", "er·"]

# %% [markdown]
# All four merges of the figure are right, but the first three are not the only right ones: they are tied. Our rule
# would begin with *w+e*. The paper does not say how it breaks ties; its Python takes the first in a dictionary. You
# know now what that leads to.
#
# A second number, from the paper's remark that the vocabulary is the initial one plus the number of merges. GPT-2
# prints 50,257 (Radford et al. 2019, section 2.3):

# %%
start, merges, special = 256, 50_000, 1
print(f"{start} bytes + {merges:,} merges + {special} special token = {start + merges + special:,}")
assert start + merges + special == minigpt.config.gpt2(12, 768).vocab_size

# %% [markdown]
# > **Your turn: 02.8 `stream_text`** (40 min), unaided: the assistant stays off.

# %% [markdown]
# ## Summary
#
# 1. Text is bytes; UTF-8 spends one to four on a character. Words never end and bytes make texts long, so a model reads
# pieces in between.
# 2. Byte-pair encoding joins the most frequent pair of neighbours, again and again, inside chunks, with a rule for
# ties. Meaning plays no part.
# 3. Encode by rank: of all pairs the one that was learnt first. Other rules decode just as well and are wrong, so
# compare ids.
# 4. Text is encoded as text; special tokens are numbers that only the program puts in.
# 5. Who is rare in the training text pays: languages, numbers, code. Measure bytes per token, and choose a vocabulary
# by bits per byte at equal cost.
#
# Next: lesson 03 predicts the next token, first by counting.

# %% tags=["timing"]
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
