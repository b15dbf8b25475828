# %% [raw]
# title = "The corpus"
# question = "What is in the text, and what would a model learn from it?"
# able = [
#   "look at a corpus before you count it, with a sample that is fair, and say to what it is fair",
#   "clean text by rules, count what each rule changes, and catch a rule that destroys something",
#   "fit Zipf's law without fooling yourself, and say how many words a model sees only once",
#   "find exact duplicates, split without a leak, and measure how much one domain helps with another",
#   "read what a licence covers, and name what it leaves open",
# ]
# needs = ["corpus", "held-out text", "bits per byte", "language model"]
# reading = 50
# exercises = 130
# route = "core"
# paper = "Piantadosi 2014, Zipf's word frequency law in natural language: A critical review and future directions, Psychonomic Bulletin & Review 21"
#
# [teaches]
# domain = "A kind of text, such as novels or program code; a corpus is mixed from several."
# mojibake = "Text that was written as bytes by one encoding and read by another: cafÃ© for café."
# "normal form" = "One of the spellings that Unicode allows for a sign, chosen for a whole text; NFC puts letters and accents together where it can."
# "Zipf's law" = "The word of rank r occurs about 1/r times as often as the most frequent one; on two logarithmic axes a line that falls with slope -1."
# hapax = "A word that occurs once in a corpus (hapax legomenon)."
# "exact duplicate" = "A text that occurs again, the same to the last sign, or after white space and case are made equal."
# fingerprint = "A short hash of a text; equal texts have equal ones, and different texts practically never."
# leak = "Anything through which training sees what a model will be judged on."
# "opt-out" = "A request not to be collected or used, such as a line in a site's robots.txt."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners leave unwilling to train on text that they have not looked at. **Timing** (90 min): before class
# 01.1; sections 1 and 2 25 min, in pairs at one screen · exercise 01.2 10 · section 3 15 · section 4 10 · exercise
# 01.4 15 · section 5 10 · discussion of section 7 5. Homework: sections 6, 8 and 9, the other exercises.
#
# **Two misconceptions.** *"Cleaning only removes dirt."* Show the bars of section 2 and ask: which rule would a
# person who has only ever seen novels call harmless? *"A random split is a fair split."* Ask: random over what? Which
# unit does a new user's text come in: lines, documents, or authors?
#
# **Discuss.** Your company may lawfully use a million letters that people sent to it. Should it train on them, and whom
# would you ask? (There is no single answer. Collect: what were they told, can one be recognised, can one withdraw, who
# gains, what if the model recites one.) · Which text is missing from this corpus, and who notices?

# %% tags=["setup"]
import ast
import hashlib
import random
import re
import time
import unicodedata
import zlib
from collections import Counter
from importlib.metadata import distribution, packages_distributions
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np

from minigpt.classroom import reveal, show
from minigpt.classroom.viz import BLUE, GREY, ORANGE, SKY, VERMILLION, figure, heatmap, label_end
from minigpt.text import dedup, sources
from minigpt.text.sources import DOMAINS, Document, available, builtin, held_out, read_text

started = time.perf_counter()
print(f"numpy {np.__version__}, zlib {zlib.ZLIB_RUNTIME_VERSION}; no model, and one CPU thread")

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>00: what must a model with a vocabulary of 1,000 tokens pay, in bits, for a token that it held for
# certain, and for one of which it had no idea?</summary>Nothing for the first, and log₂ of 1,000, about ten, for the
# second. It pays for surprise.</details>
# <details><summary>00: gzip knows no grammar. How can it still need far fewer than 8 bits for a byte?</summary>It
# replaces what it has seen shortly before by a pointer. Repetition is a kind of prediction; this lesson uses it as a
# measuring instrument.</details>
# <details><summary>Primer: what does a gradient step on one example do to the loss on that example, and what does it
# say about others?</summary>It lowers the one. About the others it says something only as far as they are like it. So
# the question is what the examples are.</details>

# %% [markdown]
# > **Try first: 01.1 `share_of_sample`** (5 min), before you read on. The exercises are in `exercises/01_corpus.ipynb`;
# > `python3 course.py start 01` makes a copy for you in `my/`.
#
# ## 1. Read before you count
#
# In lesson 00 a model learned from text that you had seen 900 characters of. Here is all that the course has, as
# documents: an id, a domain, a text. (Of the dictionary, which is *reference*, only the first ten thousand entries, to
# save time.)

# %%
corpus = {name: list(islice(builtin([name]), 10_000)) for name in DOMAINS if available()[name]}
documents = [document for name in corpus for document in corpus[name]]
size = np.array([len(document.text.encode()) for document in documents])
in_domain = {name: np.array([d.domain == name for d in documents]) for name in corpus}
for name, here in in_domain.items():
    print(f"{name:<10} {here.sum():>6,} documents")

# %% [markdown]
# **Predict.** Which share of the *bytes* is in the domain with the most documents? A number between 0 and 1.

# %%
guess = None
crowd = max(corpus, key=lambda name: len(corpus[name]))
reveal("01.p1", guess, truth=size[in_domain[crowd]].sum() / size.sum())

# %% [markdown]
# So "two hundred documents, drawn fairly" can mean two things. Draw *documents*, each with the same chance, and you
# read what a catalogue would count. Draw *bytes*, each with the same chance, and look at the place where each lies:
# then you read what a model reads, because a model is trained on bytes (or tokens), not on documents.

# %%
rng = random.Random(1)
by_document = rng.sample(documents, 200)
by_byte = rng.choices(documents, weights=size, k=200)
shares = {title: [np.mean([d.domain == name for d in drawn]) for name in corpus]
          for title, drawn in (("by document", by_document), ("by byte", by_byte))}
fig, ax = figure(width=6.5, height=2.4)
for shift, color, (title, share) in zip((-0.2, 0.2), (ORANGE, BLUE), shares.items()):
    ax.barh(np.arange(len(corpus)) + shift, share, 0.38, color=color, label=title)
ax.set_yticks(range(len(corpus)), corpus)
ax.set(xlabel="share of 200 draws", xlim=(0, 1))
ax.invert_yaxis()
ax.legend()
largest = list(corpus)[np.argmax(shares["by byte"])]
show(fig, alt=f"Bars for each domain: by document, {crowd} fills {max(shares['by document']):.0%} "
              f"of the sample; by byte it is {largest}, with {max(shares['by byte']):.0%}.")

# %% [markdown]
# Both samples are random, and they describe two different corpora. Whenever somebody says "we looked at a random
# sample", ask: random over what?
#
# Now read. Not one or two: two hundred, ten pages of twenty. Set `page` to 0, then to 1, up to 9. It takes ten minutes,
# and no plot replaces it. Note what surprises you.

# %%
def excerpt(document, place, width=84):
    """One line of a document, from a place on; ⏎ stands for a line's end."""
    return document.text[place : place + width].replace("\n", "⏎")


page = 0
places = random.Random(2)
for document in by_byte[20 * page : 20 * page + 20]:
    place = int(places.random() * max(1, len(document.text) - 84))
    print(f"{document.domain:<9} {excerpt(document, place)}")

# %% [markdown]
# A fair sample shows the usual. Trouble sits at the edges, and a sample of two hundred may miss them all. So ask for
# the edges: the shortest document, the longest, the one whose lines repeat most, the one with the fewest letters.

# %%
def repeats(text):
    """Share of a text's lines that stood in it before; 0 for fewer than twenty lines."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return 1 - len(set(lines)) / len(lines) if len(lines) >= 20 else 0


def other_signs(text):
    """Share of signs that are neither letters nor white space, in the first 20,000."""
    head = text[:20_000]
    return sum(not (c.isalpha() or c.isspace()) for c in head) / len(head)


scores = {"shortest": lambda text: -len(text), "longest": len,
          "repeats most": repeats, "fewest letters": other_signs}
for name, score in scores.items():
    odd = max(documents, key=lambda document: score(document.text))
    print(f"{name:<15} {abs(score(odd.text)):>10,.6g}  {odd.id}\n{'':>27} "
          f"{excerpt(odd, len(odd.text) // 2, 60)}")

# %% [markdown]
# None of these is broken, but each is a kind of text that you might not have had in mind when you said "English". A
# table of character codes will teach a model to write tables of character codes.
#
# One more thing that only reading finds. Every play has a file name. Beside it, here is the speaker who talks most:

# %%
for document in (d for d in corpus.get("drama", []) if "/shakespeare/" in d.id):
    speakers = re.findall(r"^([A-Z][A-Z ]+)\.$", document.text, flags=re.M)
    (most, times), = Counter(speakers).most_common(1) or [("nobody", 0)]
    print(f"{document.id.split('/')[-1]:<42} {most:<12} speaks {times} times")

# %% [markdown]
# Othello does not speak in *King Lear*. Names and texts were mixed up when this collection was made, and every sum over
# "Hamlet" would have been about another play. Labels are data too, and people make them in a hurry. (This course uses
# the names as addresses only.)

# %% [markdown] tags=["slide"]
# ### Read before you count
#
# - random over documents, or over bytes? They are two corpora
# - read two hundred; then ask for the edges
# - a label is a claim

# %% [markdown]
# ## 2. Bytes, characters, and what cleaning does
#
# You saw clean text so far. Here is what lay in the package, as bytes:

# %%
def raw_files():
    """Files as they were delivered: of the books, or else of Python's library."""
    if "books" not in corpus:
        return sorted(Path(ast.__file__).parent.glob("*.py"))
    (root,) = find_spec(DOMAINS["books"].package).submodule_search_locations
    names = ("problemC", "problemG", "brontes")
    folders = (Path(root, DOMAINS["books"].folder, name) for name in names)
    return [file for folder in folders for file in sorted(folder.glob("*.txt"))]


raw = {file.name: file.read_bytes() for file in raw_files()}
everything = b"".join(raw.values())
print(f"{len(raw)} files, {len(everything) / 1e6:.1f} MB\n{next(iter(raw.values()))[205:330]}\n")
ends = Counter(re.findall(rb"\r*\n", everything))
print("line ends:", *(f"{end!r} {times:,} times" for end, times in ends.most_common()))
broken = sum("\ufffd" in data.decode(errors="replace") for data in raw.values())
print(f"{broken} of the files are not valid UTF-8")

# %% [markdown]
# A line can end with \n (Unix), with \r\n (Windows), or, when a file went through the conversion twice, with \r\r\n.
# For a model those are three different texts; for you they look alike. And a few files are in an older encoding,
# where é is one byte. What happens if you read bytes by the wrong rule?

# %%
word = "Brontë’s café"
wrong = word.encode("utf-8").decode("cp1252")
print("UTF-8 read as cp1252:   ", wrong)
print("and back:               ", wrong.encode("cp1252").decode("utf-8"))
print("cp1252 read as UTF-8:   ", word.encode("cp1252").decode("utf-8", "replace"))
print("and errors ignored:     ", word.encode("cp1252").decode("utf-8", "ignore"))
one, two = "é", unicodedata.normalize("NFD", "é")
print(f"\n{one} and {two}: equal? {one == two}. Characters: {len(one)} and {len(two)}, "
      f"bytes: {len(one.encode())} and {len(two.encode())}")
assert unicodedata.normalize("NFC", two) == one

# %% [markdown]
# The first line is called **mojibake**, and it can be undone, because nothing was lost: run the mistake backwards.
# The third cannot, because � says only that something was there. In the fourth even that is gone, silently: never
# ignore errors. The last line is the trap of the *combining mark*: one é is a letter, the other an e and an accent
# that sits on it. A search for one does not find the other, a hash calls them different, and a model learns two
# words. **NFC**, a *normal form* of Unicode, puts them together.
#
# Now four rules, in their order, and what each changes. Count, always: a rule that changes nothing can go, and one that
# changes everything wants a second look.

# %%
def line_ends(text):
    return re.sub(r"\r+\n?", "\n", text.removeprefix("\ufeff"))


def line_tails(text):
    return "\n".join(map(str.rstrip, text.split("\n")))


def blank_lines(text):
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def decoded(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")  # what a few old transcriptions are in


# %%
texts = {name: decoded(data) for name, data in raw.items()}
before = sum(len(text.encode()) for text in texts.values())
print("rule          files changed   bytes that went")
print(f"{'decode':<13} {broken:>13} {'-':>17}")
for rule in (line_ends, line_tails, blank_lines):
    after = {name: rule(text) for name, text in texts.items()}
    changed = sum(after[name] != texts[name] for name in texts)
    went = sum(len(texts[name].encode()) - len(after[name].encode()) for name in texts)
    print(f"{rule.__name__:<13} {changed:>13} {went:>17,}")
    texts = after
assert all(text == sources.clean(decoded(raw[name])) for name, text in texts.items())
gone = 1 - sum(len(text.encode()) for text in texts.values()) / before
print(f"together {gone:.1%} of the bytes; and the three are minigpt's `clean`")

# %% [markdown]
# That share of the "literature" was signs which nobody sees, and a model would have learned them like any other. One
# more rule, `unwrap`, asks for judgement. In a book, the printer ended the lines; in a poem the author did. The rule:
# a break after 45 signs or more was the printer's.

# %%
sample = texts["Csample01.txt" if "Csample01.txt" in texts else min(texts)]
prose = "\n".join(sample.split("\n")[15:20])
poem = "Tyger Tyger, burning bright,\nIn the forests of the night;\nWhat immortal hand or eye,"
print(prose, "\n\n--- unwrapped ---\n\n", sources.unwrap(prose), sep="")
assert sources.unwrap(poem) == poem

# %% [markdown]
# ### What breaks if a rule meets text that it was not made for?
#
# Here are three rules that sound harmless. The first two are from the cleaning of C4, a famous web corpus (Raffel et
# al. 2020): keep only lines that end with a full stop, a question mark, an exclamation mark or a quotation mark; drop
# every document with a curly bracket. The third: replace all white space by single spaces.
#
# **Predict.** Which share of the Python code's text survives the first rule? A number between 0 and 1.

# %%
def full_stops(text):
    ends = (".", "?", "!", '"', "”", "’")
    return "\n".join(line for line in text.split("\n") if line.rstrip().endswith(ends))


def no_brackets(text):
    return "" if "{" in text else text


def one_space(text):
    return " ".join(text.split())


guess = None
letters = {name: sum(len(d.text) for d in corpus[name]) for name in corpus}
kept = {rule.__name__: [sum(len(rule(d.text)) for d in corpus[name]) / letters[name]
                        for name in corpus] for rule in (full_stops, no_brackets, one_space)}
reveal("01.p2", guess, truth=kept["full_stops"][list(corpus).index("code")])

# %%
fig, axes = figure(width=8, height=2.4, columns=3, sharey=True)
for ax, (name, shares_kept), color in zip(axes, kept.items(), (BLUE, ORANGE, SKY)):
    ax.barh(list(corpus), shares_kept, color=color)
    ax.set(title=name, xlim=(0, 1), xlabel="share of text kept")
axes[0].invert_yaxis()
worst = {name: list(corpus)[int(np.argmin(share))] for name, share in kept.items()}
show(fig, alt="Three bar charts, a rule each: full_stops keeps nearly all prose, a third of the "
              f"drama and least of {worst['full_stops']}; no_brackets drops most of "
              f"{worst['no_brackets']}; one_space seems to keep nearly everything.")

# %%
def parses(text):
    try:
        return bool(ast.parse(text))
    except (SyntaxError, ValueError):
        return False


programs = [d.text for d in corpus["code"] if len(d.text) > 500][:100]
for rule in (str, full_stops, one_space):
    alive = sum(parses(rule(program)) for program in programs)
    print(f"after {rule.__name__:<11} {alive:>4} of {len(programs)} programs are still Python")
print("\n".join(full_stops(programs[0]).split("\n")[-6:]))

# %% [markdown]
# `one_space` looked best in the bars and destroys every program, and every poem. A share of bytes does not measure
# damage. Nobody who made C4 was careless: they wanted web prose and had no use for code. A rule carries the purpose
# that it was made for, and a model shows what its corpus was cleaned for. Lesson 14 tests such rules where the truth
# is known.
#
# > **Your turn: 01.2 `repair`** (15 min) and **01.3 `tidy`** (10 min).

# %% [markdown] tags=["slide"]
# ### Cleaning
#
# - decode, line ends, tails, blank lines: count what each changes
# - ignored errors are lost text
# - every rule was made for some kind of text; look at another kind

# %% [markdown]
# ## 3. Counting words
#
# Take the prose, cut it into words (letters and digits in a row, in lower case), and count. At each step odd words go
# into one heap and even ones into the other; you will need two heaps in a minute.

# %%
named = [name for name in ("books", "drama", "speeches") if name in corpus] or list(corpus)
odd_words, even_words, growth = Counter(), Counter(), []
seen = set()
for document in random.Random(3).sample(documents, len(documents)):
    if document.domain in named:
        words = re.findall(r"\w+", document.text.lower())
        odd_words.update(words[::2])
        even_words.update(words[1::2])
        seen.update(words)
        growth.append((odd_words.total() + even_words.total(), len(seen)))
counts = odd_words + even_words
total = counts.total()
print(f"{total:,} words, {len(counts):,} different:", *(word for word, _ in counts.most_common(12)))

# %% [markdown]
# **Predict.** Which share of the *different* words occurs exactly once, in all these millions? A number between 0 and
# 1.

# %%
guess = None
hapaxes = [word for word, n in counts.items() if n == 1]
reveal("01.p3", guess, truth=len(hapaxes) / len(counts))

# %%
print("once:", ", ".join(random.Random(5).sample(sorted(hapaxes), 9)))
print("\n occurs      different words          of all text")
for low, high in ((1, 1), (2, 9), (10, 99), (100, 999), (1000, 10**9)):
    times = [n for n in counts.values() if low <= n <= high]
    label = "1" if high == 1 else f"{low:,} to {high:,}" if high < 10**9 else f"from {low:,}"
    print(f"{label:>11} {len(times):>10,} {len(times) / len(counts):>6.1%} "
          f"{sum(times) / total:>15.1%}")

# %% [markdown]
# Read the two last columns against each other. A few hundred words make up most of the text, so a model sees each of
# them thousands of times. A third of its vocabulary it sees once. *Once* is what it gets to learn how such a word is
# used. More text does not cure this, because it brings new words along: the vocabulary grows like a power of the text
# (Heaps' law; lesson 02 follows it). And the words seen once are not rubbish: they are names, places, things.
#
# Plot how often a word occurs against its rank: the most frequent has rank 1. **Zipf's law** says that you get a
# straight line on two logarithmic axes, with slope −1.
#
# Now be careful: people see straight lines easily. First, least squares over *all ranks* counts a point for each
# word, so the line is fitted to the rare words, which are nearly all of them. Second, if rank and count come from the
# same heap, their errors go together: a word that happened to occur often gets a low rank *because* it did
# (Piantadosi 2014). So take the rank from one heap and the count from the other.

# %%
ranked = [word for word, _ in odd_words.most_common()]
other = np.array([even_words[word] for word in ranked])
edges = np.unique(np.logspace(0, np.log10(len(ranked)), 50).round().astype(int))
rank = np.array([(a + b - 1) / 2 for a, b in zip(edges, edges[1:])])
often = np.array([other[a - 1 : b - 1].mean() for a, b in zip(edges, edges[1:])])


def slope(low, high):
    """Least squares through the binned points of these ranks."""
    inside = (rank >= low) & (rank < high)
    return np.polyfit(np.log(rank[inside]), np.log(often[inside]), 1)


each_word = sorted(counts.values(), reverse=True)
naive = np.polyfit(np.log(np.arange(1, len(each_word) + 1)), np.log(each_word), 1)[0]
head, tail = slope(1, 3000), slope(10_000, 10**9)
print(f"one point a word, one heap: {naive:.2f}")
print(f"two heaps, binned: {head[0]:.2f} up to rank 3,000, {tail[0]:.2f} beyond 10,000")

# %%
fig, ax = figure(width=6.5, height=3.4)
ax.loglog(rank, often, "o", color=BLUE, markersize=4)
for fit, (low, high), color, style in ((head, (1, 3000), VERMILLION, "-"),
                                       (tail, (10_000, len(ranked)), ORANGE, "--")):
    x = np.array([low, high])
    ax.loglog(x, np.exp(np.polyval(fit, np.log(x))), style, color=color)
    middle = np.sqrt(low * high)
    ax.annotate(f"slope {fit[0]:.2f}", (middle, np.exp(np.polyval(fit, np.log(middle)))), (10, 8),
                textcoords="offset points", color=color)
ax.set(xlabel="rank in the odd words", ylabel="count in the even words")
assert -1.25 < head[0] < -0.75 and tail[0] < head[0]
show(fig, alt=f"Blue points fall along a line of slope {head[0]:.2f} for the first three thousand "
              f"ranks, then bend down to slope {tail[0]:.2f}.")

# %% [markdown]
# So Zipf's law holds for about three thousand words and then breaks: one number cannot describe the curve, and the
# naive fit of all words describes neither part. If a report says "our corpus follows Zipf", ask for the range of the
# fit.
#
# The words seen once have one more use. What is the chance that the *next* word is one that you never saw? It is about
# the share of the running text that hapaxes make up (Good 1953). Test that: count hapaxes in the odd words, and new
# words among the even ones.

# %%
expected = sum(n == 1 for n in odd_words.values()) / odd_words.total()
found = sum(n for word, n in even_words.items() if word not in odd_words) / even_words.total()
print(f"expected from hapaxes: {expected:.3%} new, found: {found:.3%}")
assert abs(found / expected - 1) < 0.1

# %% [markdown]
# The prediction is right to a few per cent. Keep it in mind: in section 5 the same sum goes badly wrong, and that is
# how you will catch a leak.
#
# > **Your turn: 01.4 `new_word_chance`** (15 min).

# %% [markdown] tags=["slide"]
# ### Counting
#
# - a third of the different words: once
# - Zipf: a line for three thousand words, then a bend
# - rank from one half, count from the other

# %% [markdown]
# ## 4. Exact duplicates
#
# Text is copied. C4 holds one sentence of 61 words more than 60,000 times, and over 4 % of the validation text of
# common data sets is in their training text as well (Lee et al. 2022). A model trained on copies recites more: the
# same authors got ten times less memorised text after removing them. And a copy in the held-out text is an exam whose
# answers hung on the wall.
#
# To compare every text with every other would take forever. A hash makes it one pass: equal texts have equal hashes.
# The library's own documents hold no duplicates any more, so plant some, of three kinds:

# %%
rng = random.Random(4)
chosen = rng.sample([d for d in documents if len(d.text) > 500], 36)
planted = []
for i, document in enumerate(chosen):
    text = document.text
    if i % 3 == 1:  # typed again: other case, other white space
        text = text.upper().replace(" ", "  ")
    if i % 3 == 2:  # one word is different
        text = re.sub(r"\w+", "perhaps", text, count=1)
    planted.append(Document(f"copy of {document.id}", document.domain, text))
with_copies = [*documents, *planted]


def found_by(key):
    """How many of the planted ones have a key that stood there before."""
    known = {key(document.text) for document in documents}
    return [sum(key(d.text) in known for d in planted[kind::3]) for kind in range(3)]


# %%
print("found of 12 each:        same   retyped   one word changed")
for name, key in (("hash of the bytes", lambda text: hashlib.sha256(text.encode()).digest()),
                  ("minigpt's fingerprint", dedup.fingerprint)):
    print(f"{name:<24}", *(f"{n:>5}" + " " * 4 for n in found_by(key)))
print(f"sixteen bytes for a document of {size.mean():,.0f} on average")
assert found_by(dedup.fingerprint)[:2] == [12, 12]

# %% [markdown]
# The **fingerprint** hashes the text with its case and white space made equal. You decide what "equal" means *before*
# the hash; after it, near and far look the same. So the third kind, copies with a single word changed, slips through
# both. Those are *near* duplicates; they want another idea, and lesson 14 builds it.
#
# Documents are one unit. The same pass works for paragraphs and lines:

# %%
print(f"{'share of bytes that stood before':<34} paragraphs    lines   most repeated line")
for name, texts_here in corpus.items():
    again_in = []
    for border in ("\n\n", "\n"):
        units = Counter(u.strip() for d in texts_here for u in d.text.split(border) if u.strip())
        room = {unit: len(unit.encode()) for unit in units}
        again = sum(room[unit] * (n - 1) for unit, n in units.items())
        again_in.append(again / sum(room[unit] * n for unit, n in units.items()))
    (line, times), = units.most_common(1)
    print(f"{name:<34} {again_in[0]:>10.1%} {again_in[1]:>8.1%}   {times:,} × {line[:34]!r}")

# %% [markdown]
# ### What breaks if you drop every line that was seen before?
#
# On web pages that rule removes menus and cookie banners. Here, the most repeated lines of code are `else:` and `try:`.

# %%
before = set("\n".join(d.text for d in corpus["code"][:100]).split("\n"))
program = max(corpus["code"][100:], key=lambda d: repeats(d.text))
lines = program.text.split("\n")
left = [line for line in lines if not line.strip() or line not in before]
print(f"{program.id}: {len(lines)} lines, {len(left)} left; Python before: {parses(program.text)}, "
      f"after: {parses(chr(10).join(left))}\n")
print("\n".join(line for line in left if line.strip())[:420])

# %% [markdown]
# A play would lose the names of its speakers, a contract its articles. (Look again at the table's last column. What
# stands there most often is what a model will know by heart first: after *Fellow-Citizens of the Senate* it will not
# hesitate.) So: documents always; paragraphs where they are long; lines hardly ever, and never without looking.
#
# One question before you split. A document has an exact copy under another name, and each id is held out with
# probability 0.05, by a hash.
#
# **Predict.** With which probability does *exactly one* of the two lie in the held-out text?

# %%
guess = None
reveal("01.p4", guess)

# %%
torn = np.mean([held_out(d.id) != held_out("copy of " + d.id) for d in documents])
print(f"measured on {len(documents):,} documents: {torn:.3f}")

# %% [markdown]
# That is not far from every tenth duplicate. So the order is: first remove duplicates, then split.
#
# > **Your turn: 01.5 `drop_repeats`** (20 min): two bugs are planted.

# %% [markdown] tags=["slide"]
# ### Exact duplicates
#
# - a hash finds them in one pass; what is equal is decided before the hash
# - documents: always. lines: hardly ever
# - remove first, then split

# %% [markdown]
# ## 5. Splitting without a leak
#
# The held-out text must be text that the model has *never seen*. Easy: put every twentieth line aside at random. Is
# it? Compare three ways, all by a hash of a name, as `prepare` does it: a hash of the *paragraph's* number, of the
# *document's* id, and of the *work*, because some of these documents are chapters of one novel.

# %%
def work_of(id):
    """Chapters and parts of one work under one name: "…/Jane_Eyre_ch03.txt" -> "…/Jane_Eyre"."""
    return re.sub(r"(_ch\d+|_book\d+|_\d+|-\d+)?\.\w+$", "", id)


first = named[0]
paragraphs = [(d.id, i, text) for d in corpus[first] for i, text in enumerate(d.text.split("\n\n"))]
rules = {"paragraph": lambda id, i: f"{id}#{i}", "document": lambda id, i: id,
         "work": lambda id, i: work_of(id)}


def split(rule, salt="minigpt"):
    """True for the paragraphs that are held out; another salt is another draw."""
    return [held_out(rules[rule](id, i), salt=salt) for id, i, _ in paragraphs]


for name, key in rules.items():
    units = len({key(id, i) for id, i, _ in paragraphs})
    print(f"by {name:<10} {sum(split(name)):>6,} of {len(paragraphs):,} paragraphs held out; "
          f"{units:,} units to draw from")

# %% [markdown]
# A cheap test asks what the held-out text has that training has not. Names are a good choice: a model cannot guess
# them, it must have met them. A capital after a small letter, a comma or a semicolon is mostly a name. To depend on
# no draw, hold out *each* unit in turn: then a name is unknown exactly if it stands in that one unit and nowhere
# else.
#
# **Predict.** Split by paragraph, about 5 % of the names are unknown to the training text. Split by document, how many
# are? A number between 0 and 1.

# %%
NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+")
names_in = [NAME.findall(text) for *_, text in paragraphs]
words_in = [re.findall(r"\w+", text.lower()) for *_, text in paragraphs]


def only_here(found, rule):
    """Share of what was found that stands in one unit only."""
    home, times = {}, Counter()
    for (id, i, _), ones in zip(paragraphs, found):
        times.update(ones)
        unit = rules[rule](id, i)
        for one in set(ones):
            if home.setdefault(one, unit) != unit:
                home[one] = None  # it stands in several
    return sum(times[one] for one in home if home[one]) / max(1, times.total())


guess = None
new_names = {rule: only_here(names_in, rule) for rule in rules}
reveal("01.p5", guess, truth=new_names["document"])

# %% [markdown]
# The same for all words, and beside it eight single draws of a twentieth, as you would make them:

# %%
def unknown(found, aside):
    """Share of what was found in the held-out paragraphs that is in no other one."""
    known = {one for ones, a in zip(found, aside) if not a for one in ones}
    asked = [one for ones, a in zip(found, aside) if a for one in ones]
    return np.mean([one not in known for one in asked]) if asked else np.nan


draws = [f"draw {i}" for i in range(8)]
drawn = {rule: [unknown(names_in, split(rule, draw)) for draw in draws] for rule in rules}
new_words = {rule: only_here(words_in, rule) for rule in rules}
heard = Counter(word for words in words_in for word in words)
hoped = sum(n == 1 for n in heard.values()) / heard.total()
print("unknown names, each in turn:", *(f"{rule} {share:.1%}" for rule, share in new_names.items()))
print("draws that held out nothing:", *(f"{k} {np.isnan(v).sum()}" for k, v in drawn.items()))
print("unknown words, each in turn:", *(f"{rule} {share:.2%}" for rule, share in new_words.items()))

# %%
fig, axes = figure(width=8, height=2.6, columns=2)
colors = (VERMILLION, ORANGE, BLUE)
axes[0].bar(list(rules), list(new_names.values()), color=colors)
for x, rule in enumerate(rules):
    axes[0].plot([x] * 8, drawn[rule], "_k", markersize=14)
axes[0].set(title="unknown names; black: single draws", ylabel="share of held-out names")
axes[1].bar(list(rules), list(new_words.values()), color=colors, label="found")
axes[1].axhline(hoped, color="black", linestyle="--", label="expected from hapaxes")
top = 1.5 * max(new_words.values())
axes[1].set(title="unknown words", ylabel="share of held-out words", ylim=(0, top))
axes[1].legend(loc="upper left")
assert new_names["paragraph"] < new_names["document"] <= new_names["work"]
line, paper, work = new_names.values()
show(fig, alt=f"Unknown names: {line:.0%} by paragraph, {paper:.0%} by document, {work:.0%} by "
              "work; single draws by document and work scatter widely. Unknown words rise too, "
              "and hapaxes expect the first bar only.")

# %% [markdown]
# Split by paragraph, the held-out text is full of old acquaintances: the model has read the page before and the page
# after. And Good's sum from section 3, which takes words as drawn one by one, expects just that bar: it is right for a
# split that leaks and far too low for a new document. Words come in bursts; *that* is what a split by line hides.
#
# What is it worth in bits? Let a compressor read 32 kilobytes first, then price one held-out paragraph. Under a split
# by paragraph it may read that paragraph's neighbours; under a split by document, only other documents.

# %%
def price(data, seen=b""):
    """Bytes that zlib needs for data after it has read `seen`, of which it remembers 32 kB."""
    options = (9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY)
    packer = zlib.compressobj(*options, seen) if seen else zlib.compressobj(*options)
    return len(packer.compress(data) + packer.flush())


# %%
rng, bits, length = random.Random(6), Counter(), 0
long_ones = [d for d in corpus[first] if len(d.text) > 10_000]
for _ in range(400):
    document, stranger = rng.sample(long_ones, 2)
    parts = document.text.split("\n\n")
    i = rng.randrange(len(parts))
    neighbours = "\n\n".join(parts[max(0, i - 40) : i] + parts[i + 1 : i + 40]).encode()[-32_768:]
    data = parts[i].encode()
    strange = stranger.text.encode()[-32_768:]
    for name, seen_before in (("nothing", b""), ("another document", strange),
                              ("its neighbours", neighbours)):
        bits[name] += 8 * price(data, seen_before)
    length += len(data)
for name in bits:
    print(f"after reading {name:<17} {bits[name] / length:.2f} bits per byte")
assert bits["its neighbours"] < bits["another document"] < bits["nothing"]

# %% [markdown]
# The paragraph is cheaper after its neighbours, even for a program that knows no language at all. A model that you
# judge on such a split looks better by something like that difference, and the difference is gone with the first user
# who brings a text of their own.
#
# So `minigpt` splits by document, by a hash of the id alone. Documents may come and go, or be cleaned in another way;
# each stays on its side:

# %%
ids = [d.id for d in documents]
fewer = random.Random(7).sample(ids, len(ids) // 2)
assert {id for id in fewer if held_out(id)} == {id for id in ids if held_out(id)} & set(fewer)
inside = {id for id in ids if held_out(id, 0.05)}
assert inside <= {id for id in ids if held_out(id, 0.10)}
print(f"{len(inside):,} of {len(ids):,} ids are held out; a larger fraction only adds to them")

# %% [markdown]
# And the third bar? By work, still more names are new: chapters of *Jane Eyre* on both sides are a leak as well, a
# milder one. The black marks show the price: with few units, a single draw may give nearly anything, and some draws by
# work took nothing at all. (The draw that this course trains with is a single one, too. So compare models on the same
# held-out text, or not at all.) Which split is right depends on what you claim. To claim "it can read a new novel", hold
# out novels; to claim "a new author", authors; "next year's text", the latest year. Lesson 12 goes on from here.
#
# > **Your turn: 01.6 `least_leak`** (20 min).

# %% [markdown] tags=["slide"]
# ### Splitting
#
# - lines and paragraphs leak; documents less; works least
# - a hash of the id: stable when the corpus changes
# - hold out what you claim to generalise to

# %% [markdown]
# ## 6. Domains
#
# How much is there of each, and how hard is each for gzip? (The first million bytes of each domain, its documents
# shuffled.)

# %%
streams = {}
for name, texts_here in corpus.items():
    shuffled = random.Random(8).sample(texts_here, len(texts_here))
    streams[name] = "\n\n".join(d.text for d in shuffled).encode()
print("domain          MB    share   bytes per document   gzip bits per byte")
whole = sum(map(len, streams.values()))
for name, data in streams.items():
    start = data[:1_000_000]
    print(f"{name:<10} {len(data) / 1e6:>7.2f} {len(data) / whole:>8.1%} "
          f"{len(data) / len(corpus[name]):>20,.0f} {8 * price(start) / len(start):>20.2f}")

# %% [markdown]
# What would a model learn from each? Ask the text itself. Here is what follows the same words in different domains:

# %%
def next_words(name, phrase):
    """The three most frequent words after a phrase, with their shares."""
    after = Counter(re.findall(rf"\b{phrase}\W+(\w+)", lower[name]))
    total = max(1, after.total())
    shares = [f"{word} {n / total:.0%}" for word, n in after.most_common(3)]
    return ", ".join(shares) or "(the words never occur)"


lower = {name: data.decode().lower() for name, data in streams.items()}
for phrase in ("my", "the united", "return"):
    for name in ("books", "drama", "speeches", "code"):
        if name in lower:
            print(f"{phrase + ' …':<14} {name:<10} {next_words(name, phrase)}")

# %% [markdown]
# This is what pre-training takes in: which continuation, how often, after what. A model sees longer contexts, and
# carries over from similar ones, but these are the facts that it is given. After *my*, drama expects a lord, because
# people in plays talk to lords; speeches expect an administration. Mix the domains, and you mix the answers.
#
# Look at the table again. Code is cheapest: it repeats itself. That does not make it worth less or more; it says how much of it is new. (It also
# says that an *average* bits-per-byte figure over domains falls when you put in more code.)
#
# Does reading one domain help with another? Let zlib read 32 kB of A, then 4 kB of B, and subtract from what B costs
# alone. **Predict.** Which domain gains least from reading *others*? A name.

# %%
def alone_and_after(names, pieces=12, length=4000):
    """gain[b, a]: bits per byte that b becomes cheaper by after 32 kB of a."""
    gain = np.zeros((len(names), len(names)))
    for row, b in enumerate(names):
        parts = [streams[b][i * length : (i + 1) * length] for i in range(pieces)]
        alone = sum(price(part) for part in parts)
        for column, a in enumerate(names):
            after = sum(price(part, streams[a][-32_768:]) for part in parts)
            gain[row, column] = 8 * (alone - after)
    return gain / (pieces * length)


guess = None
names = list(corpus)
gain = alone_and_after(names)
from_others = np.where(np.eye(len(names), dtype=bool), -1, gain).max(1)
reveal("01.p6", guess, truth=names[int(from_others.argmin())])

# %%
fig = heatmap(gain, names, names, title="bits per byte saved: row after column", numbers=True)
own = sum(gain[i].argmax() == i for i in range(len(names)))
show(fig, alt=f"A square of savings; in {own} of {len(names)} rows the domain itself helps most, "
              f"and the row of {names[int(from_others.argmin())]} is the darkest off the diagonal.")

# %% [markdown]
# Read a row: what helps *me*? Read a column: whom do *I* help? The diagonal wins, so text like the text that you care
# about is worth most. Off it, prose helps prose. The square is not symmetric: code gains something from books,
# because its comments are English, and books gain next to nothing from code. And be suspicious of the brightest
# square: *docs* is small, and section 4 found that a fifth of it repeats itself. High scores deserve a look at the
# duplicates first.
#
# Now the same as a decision. You have 32 kB to spend and care about two domains. How do you share it?

# %%
def bits_saved(share, mine, yours):
    """Bits per byte that both save if `share` of 32 kB is mine and the rest yours."""
    cut = round(32_768 * share)
    window = streams[yours][-(32_768 - cut) :] if cut < 32_768 else b""
    window += streams[mine][-cut:] if cut else b""
    result = []
    for name in (mine, yours):
        parts = [streams[name][i * 4000 : (i + 1) * 4000] for i in range(12)]
        result.append(8 * sum(price(part) - price(part, window) for part in parts) / 48_000)
    return result


mine, yours = ("books", "code") if "books" in corpus else names[:2]
mix = np.linspace(0, 1, 9)
curve = np.array([bits_saved(share, mine, yours) for share in mix])
best = mix[curve.sum(1).argmax()]

# %%
fig, ax = figure(width=6, height=2.8)
for column, name, color, style in ((0, mine, BLUE, "o-"), (1, yours, ORANGE, "s--")):
    ax.plot(mix, curve[:, column], style, color=color)
    label_end(ax, mix, curve[:, column], name, color)
ax.plot(mix, curve.mean(1), ":", color=GREY)
label_end(ax, mix, curve.mean(1), "mean", GREY)
ax.set(xlabel=f"share of {mine} in what was read", ylabel="bits per byte saved")
assert curve[-1, 0] > curve[0, 0] and curve[0, 1] > curve[-1, 1]
show(fig, alt=f"Two curves cross: {mine} gains with its share, {yours} loses; the mean of both is "
              f"largest at a share of {best:.2f}. The first eighth brings more than any later one.")

# %% [markdown]
# That is the mixture problem in miniature. Each curve bends: the first part of a domain brings much, the last part
# little. So a mixture beats either alone if you care about both; and what is best depends on how you weigh the two,
# which no measurement decides for you. zlib remembers strings, not ideas, so take the shape and leave the numbers:
# lesson 14 does this with real models.
#
# > **Your turn: 01.7 `pick_helper`** (20 min).

# %% [markdown] tags=["slide"]
# ### Domains
#
# - bits per byte by gzip: how much of it is new
# - text like yours helps most
# - the first part of a domain brings most: mix

# %% [markdown]
# ## 7. Licences and consent
#
# May you use this text? Here is what the installed packages say of themselves, and what we found when we looked at the
# text inside. (This is a report of what is written where, and no legal advice.)

# %%
source, notes = Path(sources.__file__).read_text("utf-8"), {}  # notes: comments beside the domains
for note, name in re.findall(r'    # (.*)\n    "(\w+)": Domain\(', source):
    notes[name] = note
for name, note in re.findall(r'"(\w+)": Domain\(.*?#\s*(.*)', source):
    notes[name] = note


def label_of(package):
    """What a package's own description says, and whether a licence's text came with it."""
    about = distribution(package)
    kinds = [kind.split(" :: ")[-1] for kind in about.metadata.get_all("Classifier", [])
             if "License" in kind]
    says = [about.metadata.get(field) for field in ("License-Expression", "License")]
    text = any("licen" in str(file).lower() for file in about.files or ())
    return next(filter(None, [*says, *kinds]), "nothing"), "yes" if text else "no"


packages = packages_distributions()
for name in corpus:
    package = packages.get(DOMAINS[name].package, ["Python"])[0]
    label, text = label_of(package) if package != "Python" else ("PSF", "yes")
    print(f"{name:<10} {package}: label {label}, licence text inside: {text}")
    print(f"{'':<10} {notes[name]}")

# %% [markdown]
# The table shows a gap. A label is about the *package*: its code, perhaps written last year. The *text* inside is
# older, and by others. Shakespeare is free because he died long ago, whatever the label says. The dictionary's label
# is MIT, and its text comes from GCIDE, which is under the GPL: here label and text disagree, and a label cannot give
# away what its author did not own. And one package carries no licence text at all.
#
# Three things that "public" does not mean.
#
# **Public is not free.** That you may read a page does not say that you may copy it. Copyright lasts for decades
# after an author's death; whether training needs permission is being argued in courts and laws, and differs between
# countries.
#
# **Public is not agreed.** A site can ask crawlers to stay away, in a file named robots.txt. The standard says that its
# rules "are not a form of access authorization" (Koster et al. 2022, RFC 9309): they are a request, and it is up to the
# crawler. More and more sites ask (Longpre et al. 2024). What was collected before they asked is not called back.
#
# **Public is not anonymous.** People's addresses stand in text that anybody may read. In ours:

# %%
MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
for name, texts_here in corpus.items():
    letters = Counter(mail for d in texts_here for mail in MAIL.findall(d.text))
    shown = [re.sub(r"\w", "x", mail) for mail, _ in letters.most_common(1)]
    print(f"{name:<10} {letters.total():>4} e-mail addresses, {len(letters):>4} different", *shown)

# %% [markdown]
# They are in the code: programmers signed their files, so that people could write to them. Was that consent to become
# the answer of a machine? Some would say "it is public", others "not for this". So ask four questions of any source,
# and write the answers down, with a date; a *datasheet* is a form for that (Gebru et al. 2021):
#
# 1. Who made it, and what did they expect to happen with it?
# 2. Which rules came with it, and do they cover the text or only its wrapping?
# 3. Is anybody in it who could be harmed by being recited?
# 4. If someone asks to be taken out, can you find their text, and then what?
#
# In this collection, students' essays were left out because nobody had asked the students. You can read that in the
# comments of `minigpt/text/sources.py`, beside the other things that were left out and why. Was that right? The essays
# would have been the only text by people who are not famous.

# %% [markdown] tags=["slide"]
# ### Public is not
#
# - free: a label on the package is no licence for the text
# - agreed: robots.txt is a request
# - anonymous: look for addresses

# %% [markdown]
# ## 8. A text of your own
#
# Everything above works on any folder: put its path into `MINE` (.txt, .md, .py, .html, .jsonl). Without one, you get
# the portrait of the course's prose.

# %%
def portrait(texts_here):
    """Lines that describe a corpus; look at ten excerpts as well."""
    text = "\n\n".join(d.text for d in texts_here)
    data, words = text.encode(), Counter(re.findall(r"\w+", text.lower()))
    units = Counter(unit.strip() for unit in text.split("\n\n") if unit.strip())
    once = sum(n == 1 for n in words.values())
    same = len(texts_here) - len({dedup.fingerprint(d.text) for d in texts_here})
    apart = sum(not unicodedata.is_normalized("NFC", d.text) for d in texts_here)
    start = data[:1_000_000]
    yield f"{len(texts_here):,} documents, {len(data) / 1e6:.2f} MB, exact duplicates: {same}"
    yield f"{len(data) / max(1, len(text)):.3f} bytes per character; documents not in NFC: {apart}"
    yield f"{words.total():,} words, {len(words):,} different, {once:,} of them once"
    yield f"{units.total() - len(units):,} of {units.total():,} paragraphs stood there before"
    yield f"carriage returns: {data.count(13)}, signs of lost text: {text.count(chr(0xFFFD))}"
    yield f"e-mail addresses: {len(MAIL.findall(text))}"
    yield f"gzip, first megabyte: {8 * price(start) / max(1, len(start)):.2f} bits per byte"
    yield f"held out: {sum(held_out(d.id) for d in texts_here)} documents"


MINE = None  # for example "../my_notes"
my_documents = list(read_text([MINE])) if MINE else corpus[named[0]]
print(*portrait(my_documents), sep="\n")

# %% [markdown]
# Keep that folder. This part ends with a tokenizer for it and a ladder of baselines that a model of yours has to climb
# (lessons 02 and 03). From about 100 kilobytes on it can be trained on.

# %% [markdown]
# ## 9. One paper
#
# **Piantadosi 2014, [Zipf's word frequency law in natural language: A critical review and future
# directions](https://doi.org/10.3758/s13423-014-0585-6)**, its first part and figure 1: rank from one half of a
# corpus, frequency from the other, as you did. Read with three questions. *What was held fixed?* (One corpus, cut
# word by word. What would change if whole documents went to either half?) *What would change your mind* about "one
# law for all words"? (Look at the errors around the fit: are they noise, or do they have a shape?) *Which number can
# you recompute?* A formula with one more number, Mandelbrot's, replaces 1/rᵃ by 1/(r + b)ᵃ, and the paper gives a ≈ 1
# and b ≈ 2.7 (Piantadosi 2014). Fit ours, on two ranges:

# %%
def mandelbrot(low, high):
    """a and b of 1/(r + b)^a, by least squares on the logarithms, b on a grid."""
    inside = (rank >= low) & (rank < high)
    best = None
    for b in np.arange(0, 40, 0.1):
        x, y = np.log(rank[inside] + b), np.log(often[inside])
        line = np.polyfit(x, y, 1)
        error = ((np.polyval(line, x) - y) ** 2).sum()
        best = min(best or (np.inf,), (error, -line[0], b))
    return best[1:]


for low, high, name in ((1, 3000, "ranks up to 3,000"), (1, 10**9, "all ranks")):
    a, b = mandelbrot(low, high)
    print(f"{name:<18} a = {a:.2f}, b = {b:.1f}    printed in Piantadosi 2014: 1 and 2.7")
    assert high > 3000 or abs(a - 1) < 0.2

# %% [markdown]
# The exponent comes back, on the range where the law holds. The second number does not: it changes from range to range.
# A parameter that depends on where you stop fitting describes the fit, not the language. And look at the residuals:

# %%
a, b = mandelbrot(1, 10**9)
shape = np.log(often) + a * np.log(rank + b)
shape -= shape.mean()
fig, ax = figure(width=6, height=2.3)
ax.axhline(0, color=GREY)
ax.semilogx(rank, shape, "o-", color=BLUE, markersize=4)
ax.set(xlabel="rank", ylabel="log error of the fit")
turns = int((np.diff(np.sign(shape)) != 0).sum())
show(fig, alt=f"The error of the fit wanders in long waves and changes its sign {turns} times in "
              f"{len(rank)} points; noise would jump about zero.")

# %% [markdown]
# Waves, not noise: that is the paper's first claim, and it holds for our text as well.
#
# > **Your turn: 01.8 `sides`** (25 min), unaided: the assistant stays off.

# %% [markdown]
# ## Summary
#
# 1. Read two hundred documents before you count anything, and say whether they were drawn by document or by byte.
# 2. Count what each cleaning rule changes, and try it on text that it was not made for: a share of bytes does not
# measure damage.
# 3. A few hundred words make up most of a text, and a third of the different ones occur once. Zipf's line bends.
# 4. Hashes find exact duplicates; remove them, then split by document or by a larger unit. A split by line leaks.
# 5. Text like yours helps most, the first part of a domain brings most, and no licence answers what people agreed to.
#
# Next: lesson 02 cuts text into tokens.

# %% tags=["timing"]
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
