# %% [raw]
# title = "A data recipe"
# question = "A crawl of the web is mostly not text that you want. Which steps make it worth training on, and what is each of them worth?"
# able = [
#   "take a crawl through extraction, language, quality, duplicates, personal data and test items, and say what each step removed",
#   "measure the precision and the recall of a step, and say why a rare kind of trouble makes a good filter look bad",
#   "find near duplicates without comparing all pairs, and choose the threshold by what it catches",
#   "compare recipes at equal compute, with one tokenizer and one held-out text, and divide the gain among the steps",
#   "choose a mixture and a number of epochs, and say what an average over domains hides",
#   "judge an annealing phase against the right control",
# ]
# needs = ["domain", "held-out text", "bits per byte", "exact duplicate", "fingerprint", "leak", "mojibake", "confidence interval", "paired difference", "standard error", "checkpoint", "learning-rate schedule", "step"]
# reading = 65
# exercises = 130
# route = "core"
# paper = "Muennighoff et al. 2023, Scaling Data-Constrained Language Models, arXiv 2305.16264"
#
# [teaches]
# "main text" = "What a page is about, without navigation, banners, comments and scripts."
# precision = "Of what was taken (by a filter: removed), the share that is right."
# recall = "Of what is right (for a filter: bad, and arrived), the share that was taken."
# "base rate" = "How common something is before anybody looks for it; it decides what a filter's alarm is worth."
# "quality filter" = "Rules, or a classifier, that tell pages worth training on from the rest."
# shingle = "A run of words, here of five; a text is compared by the set of its shingles."
# "Jaccard similarity" = "Of two sets: the size of what both have, divided by the size of what either has."
# MinHash = "A short signature of a set; the share of places in which two signatures agree estimates the Jaccard similarity."
# "locality-sensitive hashing" = "Sorting signatures by parts of them, so that only those that agree somewhere are compared."
# decontamination = "Removing training text that holds copies of test items."
# ablation = "Runs that differ in one part of a recipe, with all else held fixed."
# mixture = "The shares of tokens that come from each domain."
# epoch = "One pass over the same tokens."
# annealing = "Ending a run with a falling learning rate on a mixture of its own, mostly of the best data."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners leave with a habit: no filter without its precision and recall, no recipe without a control at equal
# compute. **Timing** (100 min): before class 14.1; sections 1 and 2 15 min · section 3 15 · exercise 14.2 10 · section
# 4 20 · section 6 10 · section 7 with its prediction 15 · section 9 or 10 10 · discussion 5. Homework: sections 5, 8
# and 12, the other exercises.
#
# **Two misconceptions.** *"A filter with a recall of 95 % and 5 % false alarms is a good filter."* Ask: one page in
# fifty is spam; of a hundred pages that it removes, how many are spam? *"After the decay on clean data the model is
# better, so the clean data did it."* Ask: what would the same decay on the old data have done?
#
# **Discuss.** A classifier was trained to like pages that look like textbooks. What will the model not know, and who
# will notice? · You may read your only good book four times, or read it once and then a worse one. On what does your
# choice depend?

# %% tags=["setup"]
import json
import random
import tempfile
import time
from collections import Counter
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch

from minigpt import GPT, ModelConfig, OptimConfig, UserError
from minigpt.classroom import museum, recorded, reveal, show
from minigpt.classroom.shelf import half_width
from minigpt.classroom.viz import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION
from minigpt.classroom.viz import figure, heatmap, label_end
from minigpt.text import contamination, dedup, pages, privacy, quality
from minigpt.text.crawl import make_crawl, overlap
from minigpt.text.sources import builtin, held_out, usable_domains, visible_text
from minigpt.text.steps import Statistics

started = time.perf_counter()
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>01: what does the fingerprint of a text make equal, and which copies does it miss?</summary>Case and
# white space. A copy with a single word changed has another fingerprint.</details>
# <details><summary>08: with "stable, then decay", what can be chosen after the stable phase has begun?</summary>Its end:
# a decay can start from any checkpoint of it. Section 10 lets three decays start from one.</details>
# <details><summary>11: two recipes were run with the same three seeds. Why subtract within a seed first?</summary>What
# the seed does to both cancels, so that the differences scatter less than the runs.</details>

# %% [markdown]
# > **Try first: 14.1 `alarms_worth`** (5 min), before you read on. The exercises are in
# > `exercises/14_data_recipe.ipynb`; `python3 course.py start 14` makes a copy for you in `my/`.
#
# ## 1. A crawl, as it comes
#
# Most companies publish models and keep their data recipes to themselves. Those who do publish one say what was
# removed, seldom how much of it was removed *rightly*: of a real crawl nobody knows the truth. So this lesson makes a
# crawl whose truth is known. It takes clean pages of books and speeches, wraps them in the HTML of some sixty made-up
# sites, and adds what a real crawl brings along: copies, spam, gibberish, other languages, broken encodings, personal
# data, and copies of test questions. Every byte gets a label.

# %%
usable, _ = usable_domains(["books", "speeches"])
documents = [d._replace(text=d.text[:30_000]) for d in builtin(usable)]
apart = [d for d in documents if held_out(d.id)]
training = [d for d in documents if not held_out(d.id)]
random.Random(14).shuffle(training)
items = [(f"quiz-{i}", f"On day {i + 2} of the fair {7 * i + 11} boats came up the river before "
          f"noon, and {5 * i + 3} of them were sold by dusk; how many boats were left at the quay "
          f"that night?") for i in range(12)]  # fmt: skip
folder = Path(tempfile.mkdtemp()) / "crawl"
made = make_crawl(training, folder, seed=14, size=4_000_000, items=items)
lines = [line for name in made["files"] for line in
         (folder / name.replace("warc.gz", "truth.jsonl")).read_text("utf-8").splitlines()]
truth = {row["id"]: row for row in map(json.loads, lines)}
print(f"{made['pages']} pages, {made['bytes'] / 1e6:.1f} MB of HTML")
print("pages by kind:", ", ".join(f"{kind} {count}" for kind, count in made["kinds"].items()))

# %% [markdown]
# Some of the names: `near` is a rewrite, `mirror` a copy on another host, `template` one form with other numbers in it,
# `markov` a chain of words without a meaning, `minified` a script. A page can have several marks.
#
# **Predict.** Of the bytes of such a crawl, which share is main text: what the pages are about, be it good or bad? The
# rest is markup, scripts, menus, banners, comments. A number between 0 and 1.

# %%
MAIN = ("content", "spam", "keywords", "gibberish", "boilerplate", "pii", "contamination")
main_bytes = sum(count for label, count in made["labels"].items() if label in MAIN)
guess = None
reveal("14.p1", guess, truth=main_bytes / made["bytes"])

# %%
first_seen, new_text = set(), 0
for row in truth.values():
    new = row["language"] == "en" and row["kinds"][0] == "clean"
    new = new and row["cluster"] not in first_seen
    first_seen.add(row["cluster"])
    new_text += new * sum(end - start for start, end, label in row["spans"] if label == "content")
labels = sorted(made["labels"].items(), key=lambda pair: -pair[1])
fig, ax = figure(width=7, height=2.9)
ax.barh([name for name, _ in labels], [count / made["bytes"] for _, count in labels],
        color=[BLUE if name in MAIN else GREY for name, _ in labels])
ax.set(xlabel="share of the crawl's bytes (blue: main text)")
ax.invert_yaxis()
show(fig, alt=f"Bars of bytes by label: {labels[0][0]} leads with "
              f"{labels[0][1] / made['bytes']:.0%}, all main text together has "
              f"{main_bytes / made['bytes']:.0%}.")
print("main text of English pages that are made from a document and new: "
      f"{new_text / main_bytes:.0%} of the main text, {new_text / made['bytes']:.1%} of all bytes")

# %% [markdown]
# That is the size of the problem. The rest of the lesson asks three things of every step that gets from the whole to
# that last number: what did it remove, was it right, and what did it buy?

# %% [markdown] tags=["slide"]
# ### A crawl
#
# - most bytes are no text, and much of the text is not new
# - three questions to each step: what did it remove, was it right, what did it buy?

# %% [markdown]
# ## 2. From pages to main text
#
# A page arrives as bytes. Three things happen before anybody can judge its text: the bytes are decoded, mojibake is
# undone, and the main text is cut out. The naive way to do the last takes all that a browser would show. The real one,
# `trafilatura` (Barbaresi 2021), looks at the tags, the names of classes and the density of links.

# %%
counted = Statistics()
crawled = list(pages.read_warc([folder], counted))
mended = list(pages.mend(crawled, Statistics()))
page_of = {page.id: page for page in mended}
page = next(page for page in mended if truth[page.id]["kinds"] == ["clean"])
print("as it came:  ", page.text[200:340].replace("\n", "⏎"))
print("visible text:", visible_text(page.text)[:140].replace("\n", "⏎"))
print("main text:   ", pages.main_text(page.text)[:140].replace("\n", "⏎"))

# %% [markdown]
# How good are they? The truth of each page says what a perfect reader would get. Two numbers measure a difference, and
# you need both. **Precision**: of what you took, which share is right? **Recall**: of what is right, which share did
# you take? An extractor that takes the whole page has a recall of one. One that takes a single right word has a
# precision of one.

# %%
def extractor_score(extractor, ids):
    """Precision and recall in characters, over all these pages taken together."""
    same = np.zeros(3)
    for id in ids:
        same += overlap(extractor(page_of[id].text), truth[id]["text"])
    return same[0] / same[1], same[0] / same[2]


sample = [id for id, row in truth.items()
          if row["kinds"][0] == "clean" and len(row["text"]) < 6000]  # fmt: skip
scores = {name: extractor_score(extractor, sample[:60])
          for name, extractor in (("visible text", visible_text), ("main text", pages.main_text))}
for name, (precision, recall) in scores.items():
    print(f"{name:<13} precision {precision:.3f}, recall {recall:.3f}")
assert scores["main text"][0] > scores["visible text"][0] + 0.1 and scores["main text"][1] > 0.9

# %% [markdown]
# The naive reader loses nothing and brings every menu along, on every page of a site again. A model trained on that
# learns to write menus.
#
# Before the extraction, `mend` has undone mojibake line by line. Does it find what is broken, and does it leave the
# healthy alone?

# %%
plain = {page.id: page.text for page in crawled}
broken = {id for id, row in truth.items() if {"mojibake", "double_mojibake"} & set(row["kinds"])}
changed = {id for id in plain if plain[id] != page_of[id].text}
print(f"{len(broken)} pages with mojibake; {len(changed)} pages changed, "
      f"{len(broken & changed)} of them rightly")
extracted = list(pages.extract(mended, Statistics()))
text_of = {document.id: document.text for document in extracted}
print(f"{len(mended)} pages, {len(extracted)} with any text")

# %% [markdown] tags=["slide"]
# ### Precision and recall
#
# - precision: of what you took, which share is right?
# - recall: of what is right, which share did you take?
# - neither alone says anything

# %% [markdown]
# ## 3. Language and quality
#
# For a filter, the *removed* pages are what it "took". So its precision is the share of the removed pages that
# deserved it, and its recall the share of the bad pages that it removed. Only pages that reached it count: a step must
# not be praised for what an earlier one did.

# %%
def removal(arrived, kept, bad):
    """(precision, recall, removed) of a filter, by sets of ids."""
    removed = arrived - kept
    right = len(removed & bad)
    return right / max(1, len(removed)), right / max(1, len(arrived & bad)), len(removed)


foreign = {id for id, row in truth.items() if row["language"] != "en"}
english = list(pages.in_languages(extracted, {"en"}, Statistics()))
report = {"language": removal({d.id for d in extracted}, {d.id for d in english}, foreign)}
print("language: precision {:.2f}, recall {:.2f}, {} pages removed".format(*report["language"]))
named = Counter((truth[d.id]["language"], pages.language_of(d.text)[0]) for d in extracted)
accuracy = sum(n for (a, b), n in named.items() if a == b) / named.total()
print(f"the language was named rightly for {accuracy:.1%} of the pages; wrong ones:",
      ", ".join(f"{a} as {b}" for a, b in named if a != b) or "none")
wrong = [d.id for d in extracted if truth[d.id]["language"] == "en" and d.id not in
         {e.id for e in english}]  # fmt: skip
print("English pages that went:", dict(Counter(truth[id]["kinds"][0] for id in wrong)))

# %% [markdown]
# (Read the last line before you complain about the identifier. Which language is a page of base64?)
#
# What is left is English, and some of it is spam, lists of keywords, chains of words without a meaning, log files,
# scripts. Published recipes use **rules**. Gopher's ask whether a text has the statistics of prose (Rae et al. 2021),
# C4's whether it has sentences (Raffel et al. 2020), FineWeb's whether it is made of lists and short lines (Penedo et
# al. 2024). The thresholds are those that were published. Here is what each removes, by the kind that the page really
# is:

# %%
TROUBLE = ("spam", "keywords", "markov", "base64", "minified", "log")
kinds = [kind for kind in ("clean", "exact", "near", "template", *TROUBLE)
         if any(truth[d.id]["kinds"][0] == kind for d in english)]  # fmt: skip
table = np.array([[np.mean([rule(d.text) is not None for d in english
                            if truth[d.id]["kinds"][0] == kind]) for rule in quality.RULES]
                  for kind in kinds])
rules = [rule.__name__ for rule in quality.RULES]
fig = heatmap(table, kinds, rules, numbers=True, vmin=0, vmax=1, title="share removed")
best_of = table.max(1)[[kind in TROUBLE for kind in kinds]]
show(fig, alt=f"A table of kinds by rule sets: {kinds[0]} pages are removed at rates of "
              f"{', '.join(f'{x:.0%}' for x in table[0])}; each kind of trouble by its best set at "
              f"{best_of.min():.0%} or more.")

# %% [markdown]
# **Predict.** All three sets together: which share of the *clean* English pages, made from a document and nothing else,
# do they remove? A number between 0 and 1.

# %%
kept = [d for d in english if all(rule(d.text) is None for rule in quality.RULES)]
trouble = {id for id, row in truth.items() if row["kinds"][0] in TROUBLE}
clean_pages = {d.id for d in english if truth[d.id]["kinds"] == ["clean"]}
lost = clean_pages - {d.id for d in kept}
guess = None
reveal("14.p2", guess, truth=len(lost) / len(clean_pages))

# %%
report["rules"] = removal({d.id for d in english}, {d.id for d in kept}, trouble)
print("rules: precision {:.2f}, recall {:.2f}, {} pages removed".format(*report["rules"]))
why = Counter(next(filter(None, (rule(d.text) for rule in quality.RULES)))
              for d in english if d.id in lost)  # fmt: skip
print("clean pages went for:", ", ".join(f"{reason} ({n})" for reason, n in why.most_common(4)))
escaped = Counter(truth[d.id]["kinds"][0] for d in kept if d.id in trouble)
print("trouble that stayed:", dict(escaped) or "none")

# %% [markdown]
# The rules were made for web pages of today. A page of verse, a letter, a dialogue breaks them, and goes. That is the
# same lesson as in 01: every rule carries the purpose that it was made for. (Exercise 14.1 shows
# how a low **base rate**, trouble that is rare, spoils the precision of the best filter. Here trouble is common.)
#
# The other way is a **classifier**: show it good pages and bad ones, and let it learn the difference. Ours is a
# logistic regression: it gives every word and every short run of characters a weight, adds up those of a page, and
# turns the sum into a probability. It needs labels, and gets those of *another* crawl of the same kind. (That is a
# gift. In real life somebody labels some thousand pages by hand, or a large model does.)

# %%
other = Path(tempfile.mkdtemp()) / "other"
make_crawl(training[::-1], other, seed=15, size=800_000)
names = [json.loads(line) for file in sorted(other.glob("*.truth.jsonl"))
         for line in file.read_text("utf-8").splitlines()]
kind_of = {row["id"]: row["kinds"][0] for row in names if row["language"] == "en"}
read = [d for d in pages.extract(pages.read_warc([other], Statistics()), Statistics())
        if d.id in kind_of]  # fmt: skip
bad = [d.text for d in read if kind_of[d.id] in (*TROUBLE, "template")]
weights = quality.fit_quality([d.text for d in read if kind_of[d.id] == "clean"], bad)
score = {d.id: quality.quality_score(weights, d.text) for d in english}
liked = {id for id in score if score[id] >= 0.5}
report["classifier"] = removal(set(score), liked, trouble | {
    id for id, row in truth.items() if row["kinds"][0] == "template"})  # fmt: skip
line_of = "{}: precision {:.2f}, recall {:.2f}, {} pages removed"
print(line_of.format("classifier", *report["classifier"]))

# %%
unwanted = np.array([truth[id]["kinds"][0] in (*TROUBLE, "template") for id in score])
values = np.array(list(score.values()))
limits = np.linspace(0.02, 0.98, 49)
taken = values[None] < limits[:, None]  # (limits, pages): removed at this limit
precision = (taken & unwanted).sum(1) / np.maximum(1, taken.sum(1))
recall = (taken & unwanted).sum(1) / unwanted.sum()
fig, ax = figure(width=6, height=2.5)
curves = ((precision, "precision", BLUE, "-"), (recall, "recall", ORANGE, "--"))
for line, name, color, style in curves:
    ax.plot(limits, line, style, color=color)
    label_end(ax, limits, line, name, color)
ax.set(xlabel="pages below this score are removed", ylim=(0, 1.05))
show(fig, alt=f"Against the limit, recall rises from {recall[0]:.2f} to {recall[-1]:.2f} and "
              f"precision falls from {precision[0]:.2f} to {precision[-1]:.2f}.")

# %% [markdown]
# A classifier has a dial, and the dial trades one number for the other. Where to set it depends on what a mistake
# costs. If you have far more pages than you can train on, a good page lost is cheap, and you ask for recall.
# FineWeb-Edu kept fewer than one token in ten (Penedo et al. 2024). If text is what you lack, you ask for precision.
#
# It learned to tell *our* trouble. It does not know "quality": it knows what looked like the good examples. Whoever
# chooses those, chooses what the model will read.
#
# > **Your turn: 14.2 `score_step`** (15 min).

# %% [markdown] tags=["slide"]
# ### Quality
#
# - rules carry the purpose that they were made for
# - a classifier knows what its good examples looked like
# - rare trouble: even a good filter removes mostly good pages

# %% [markdown]
# ## 4. Near duplicates
#
# Lesson 01 found exact copies by a hash and left a gap: change one word, and the hash is another. What does "nearly the
# same" mean? Cut a text into its **shingles**, all runs of five words, and compare the two sets. The **Jaccard
# similarity** is the number of shingles that both have, over the number that either has.
#
# **Predict.** A text of 100 words, all different; in a copy three of them are changed, far from each other and from the
# ends. Which similarity have the two? A number between 0 and 1.

# %%
guess = None
reveal("14.p3", guess)

# %%
def runs_of_five(text):
    found = text.lower().split()
    return {" ".join(found[i : i + 5]) for i in range(max(1, len(found) - 4))}


def likeness(a, b):
    return len(a & b) / len(a | b)


original = [f"w{i}" for i in range(100)]
altered = ["x" if i in (20, 50, 80) else word for i, word in enumerate(original)]
alike = likeness(runs_of_five(" ".join(original)), runs_of_five(" ".join(altered)))
print(f"three words of a hundred changed: similarity {alike:.2f}")
assert abs(alike - dedup.jaccard(" ".join(original), " ".join(altered))) < 1e-9

# %% [markdown]
# So a limit of 0.7 is stricter than it sounds: a fourth such word, and the copy passes for another text. But comparing
# all pairs of a billion pages is out of the question, and even keeping their shingles is. **MinHash** keeps a
# *signature* (Broder 1997). Put all shingles of the world into a random order, and note for each text which of its
# shingles comes first. Two texts have the same first one with a probability that is exactly their similarity: of all
# the shingles that either has, each is equally likely to be first, and the firsts are equal if that one is in both. Do
# it for 128 orders, and count.
#
# An order need not be stored: a hash is one. By hand:

# %%
import zlib

PRIME = (1 << 31) - 1
factors = np.random.default_rng(0).integers(1, PRIME, 128)
shifts = np.random.default_rng(1).integers(0, PRIME, 128)


def signature_of(text):
    """(128,): for each order, the place of the text's first shingle."""
    places = np.array([zlib.crc32(run.encode()) % PRIME for run in runs_of_five(text)])
    return ((factors[:, None] * places + shifts[:, None]) % PRIME).min(1)


# %%
by_cluster = {}
for d in extracted:
    by_cluster.setdefault(truth[d.id]["cluster"], []).append(d.text)
pairs = [(texts[0], other_text) for texts in by_cluster.values() for other_text in texts[1:4]]
exact = np.array([likeness(runs_of_five(a), runs_of_five(b)) for a, b in pairs])
by_hand = np.array([(signature_of(a) == signature_of(b)).mean() for a, b in pairs])
theirs = np.array([(row[0] == row[1]).mean() for row in
                   (dedup.signatures(pair) for pair in pairs)])  # fmt: skip
their_exact = np.array([dedup.jaccard(a, b) for a, b in pairs])
noise = np.sqrt(exact * (1 - exact) / 128)
errors = [np.sqrt((x**2).mean()) for x in (by_hand - exact, theirs - their_exact, noise)]
print(f"{len(pairs)} pairs of one cluster, 128 orders; root mean square error by hand "
      f"{errors[0]:.3f}, of minigpt's {errors[1]:.3f}, expected {errors[2]:.3f}")
assert (np.abs(by_hand - exact) < 5 * noise + 0.03).all()
assert (np.abs(theirs - their_exact) < 5 * noise + 0.03).all()

# %% [markdown]
# (Each is compared with the exact similarity of its own words: `minigpt` cuts them at punctuation, too.)
#
# Signatures make a comparison cheap, but there are still as many pairs. **Locality-sensitive hashing** cuts each
# signature into bands of a few numbers and sorts the pages by each band. Only pages that agree in a whole band are
# compared. With b bands of r numbers, a pair of similarity s agrees in at least one of them with probability
# 1 − (1 − sʳ)ᵇ: an S-curve. (1 − sʳ is the chance to differ somewhere in a band; to the power of b, in all of them.)

# %%
bands, rows = dedup.choose_bands(0.7)
s = np.linspace(0, 1, 200)
fig, axes = figure(width=8, height=2.8, columns=2)
axes[0].plot(exact, by_hand, "o", color=BLUE, markersize=4, mfc="white")
axes[0].plot(s, s, color=GREY)
axes[0].fill_between(s, s - 2 * np.sqrt(s * (1 - s) / 128), s + 2 * np.sqrt(s * (1 - s) / 128),
                     color=GREY, alpha=0.25)  # fmt: skip
axes[0].set(xlabel="exact similarity", ylabel="estimated by 128 orders")
cuts = (((bands, rows), BLUE, "-"), ((128, 1), ORANGE, ":"), ((8, 16), GREEN, "--"))
for (b, r), color, style in cuts:
    axes[1].plot(s, dedup.caught(s, b, r), style, color=color, label=f"{b} bands of {r}")
axes[1].axvline(0.7, color=GREY, linewidth=0.8)
axes[1].set(xlabel="similarity of a pair", ylabel="chance to be compared")
axes[1].legend(frameon=False, loc="upper left")
show(fig, alt="Left: estimates scatter about the diagonal within two standard errors. Right: "
              f"three S-curves; {bands} bands of {rows} rise before the limit of 0.7.")
chances = [dedup.caught(similarity, bands, rows) for similarity in (0.3, 0.7)]
print("a pair of similarity 0.3 is compared with probability {:.2f}, one of 0.7 with {:.2f}".format(
    *chances))

# %% [markdown]
# The bands let through too much on purpose: what they propose is then verified by the whole signature. Now run it, and
# measure. A page deserves to go if an earlier page of its cluster has arrived, and it is at least 0.7 like the page
# that the cluster was made from.

# %%
def copies_among(ids):
    """The pages that repeat an earlier one of these, by the truth."""
    found, seen_clusters = set(), set()
    for id in ids:
        row = truth[id]
        alike = row["similarity"] is not None and row["similarity"] >= 0.7
        if alike and row["cluster"] in seen_clusters:
            found.add(id)
        if row["cluster"] is not None:
            seen_clusters.add(row["cluster"])
    return found


unequal = list(dedup.drop_exact(kept, Statistics()))
first = dedup.find_duplicates(dedup.signatures(d.text for d in unequal), 0.7)
single = list(dedup.drop_near(unequal, first, Statistics()))
ids = [d.id for d in kept]
for name, left in (("exact only", unequal), ("exact and near", single)):
    report[name] = removal(set(ids), {d.id for d in left}, copies_among(ids))
    print("{}: precision {:.2f}, recall {:.2f}, {} pages removed".format(name, *report[name]))
assert report["exact and near"][1] > report["exact only"][1]

# %% [markdown]
# Clusters are joined step by step: if A is like B and B like C, all three are one cluster, and its first page stays.
# What does the limit decide?

# %%
prints = dedup.signatures(d.text for d in unequal)
limits, curve = np.array([0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]), []
for limit in limits:
    near = dedup.find_duplicates(prints, limit)
    left = {d.id for i, d in enumerate(unequal) if near[i] == i}
    curve.append(removal(set(ids), left, copies_among(ids))[:2])
curve = np.array(curve)
fig, ax = figure(width=6, height=2.4)
for column, name, color, style in ((0, "precision", BLUE, "o-"), (1, "recall", ORANGE, "s--")):
    ax.plot(limits, curve[:, column], style, color=color)
    label_end(ax, limits, curve[:, column], name, color)
ax.set(xlabel="limit of similarity", ylim=(0, 1.05))
show(fig, alt=f"Precision and recall against the limit: at 0.7 they are {curve[4, 0]:.2f} and "
              f"{curve[4, 1]:.2f}; recall falls to {curve[-1, 1]:.2f} at 0.9.")

# %% [markdown]
# ### What breaks if you compare pages before you extract their text?
#
# A rewrite on another site has the text in common, and the page around it not. Two pages of one site have the page in
# common, and the text not. Same pages, same limit, but the HTML is compared:

# %%
near = dedup.find_duplicates(dedup.signatures(page_of[id].text for id in ids), 0.7)
left = {id for i, id in enumerate(ids) if near[i] == i}
on_html = removal(set(ids), left, copies_among(ids))
print(line_of.format("HTML compared", *on_html))
print(line_of.format("text compared", *report["exact and near"]))
assert on_html[1] < report["exact and near"][1]

# %% [markdown]
# > **Your turn: 14.3 `first_of_cluster`** (15 min): two mistakes are planted. **14.4 `clean_pages`** (10 min): in which
# > order?

# %% [markdown] tags=["slide"]
# ### Near duplicates
#
# - shingles and Jaccard: what "nearly the same" means
# - MinHash: agreement of signatures estimates it
# - bands: only what agrees somewhere is compared

# %% [markdown]
# ## 5. Personal data and test items
#
# Two steps are not about quality. The first masks personal data, because a model recites what it has read (lesson 15
# measures it). Ours finds it by its form: addresses of mail, telephones, IP numbers, streets, and names beside them.
# The second looks for copies of test questions, by runs of 13 words (Brown et al. 2020): **decontamination**. The
# truth knows where both were planted.

# %%
def masked_characters(row):
    """(characters that are personal and found, found, personal) in the true text of a page."""
    personal, hit = np.zeros((2, len(row["text"])), bool)
    for start, end, label in row["text_spans"]:
        personal[start:end] |= label.startswith("pii:")
    for span in privacy.find(row["text"]):
        hit[span.start : span.end] = True
    return np.array([(personal & hit).sum(), hit.sum(), personal.sum()])


both, hit, personal = sum(masked_characters(truth[d.id]) for d in english)
report["personal data"] = both / hit, both / personal, hit
print(f"personal data, in characters: precision {both / hit:.2f}, recall {both / personal:.2f}")
index = contamination.index_items([text for _, text in items])
clean = list(contamination.drop_copies(single, index, Statistics()))
planted = {id for id, row in truth.items()
           if any(label.startswith("contamination") for *_, label in row["text_spans"])}
free = {d.id for d in contamination.drop_copies(extracted, index, Statistics())}
report["test items"] = removal(set(text_of), free, planted)  # on all pages: few have any
print(line_of.format("test items", *report["test items"]))

# %% [markdown]
# For these two, recall is what counts. A word that is masked for nothing is a word lost. A telephone number that stays
# is somebody's. And a score on questions that were read says little (lesson 12 measured what they are worth).

# %% [markdown]
# ## 6. The whole pipeline
#
# In which order? Cheap steps first, so that dear ones see less; and what one step needs must have been done before it.
# Mend before you extract (half of a garbled quotation mark is a control character), extract before you judge, judge
# before you compare, because a duplicate of spam needs no comparison. Each step, on the pages that reached it. (Three
# rows are different. The classifier stands in the place of the rules, and for it a template counts as bad, too.
# Personal data are searched in the true text, and test items on all pages, because few pages have any.)

# %%
print(f"{'step':<16} precision  recall  removed")
for name, (precision, recall, removed) in report.items():
    unit = "characters" if name == "personal data" else "pages"
    print(f"{name:<16} {precision:>9.2f} {recall:>7.2f} {removed:>8,} {unit}")

# %%
def sort_of(id):
    kind = truth[id]["kinds"][0]
    copied = kind in ("exact", "near", "mirror", "template")
    return ("another language" if id in foreign else "trouble" if kind in (*TROUBLE, "empty")
            else "copy or template" if copied else "clean")  # fmt: skip


# %%
stages = {"read": truth, "extract": text_of, "language": {d.id for d in english},
          "rules": {d.id for d in kept}, "duplicates": {d.id for d in single},
          "test items": {d.id for d in clean}}  # fmt: skip
fig, ax = figure(width=7, height=2.6)
start = np.zeros(len(stages))
looks = (("clean", BLUE), ("copy or template", SKY), ("another language", ORANGE),
         ("trouble", VERMILLION))  # fmt: skip
for name, color in looks:
    counts = np.array([sum(sort_of(id) == name for id in found) for found in stages.values()])
    ax.barh(list(stages), counts, left=start, color=color, label=name)
    start += counts
ax.invert_yaxis()
ax.set(xlabel="pages behind each step")
ax.legend(frameon=False, fontsize=8)
share = np.mean([sort_of(d.id) == "clean" for d in clean])
show(fig, alt=f"Stacked bars behind each step: from {len(truth)} pages of all groups to "
              f"{len(clean)}, of which {share:.0%} are clean ones.")
assert share > 0.8

# %% [markdown]
# A few copies and templates stay, as the first of their cluster, or because they are a little less alike than the
# limit. `python -m minigpt prepare --text crawl/` runs this pipeline on real WARC files (the format that crawls are
# stored in), with as many processes as you like, and writes `data_report.html`: each step with samples of what it
# removed and kept. On a real crawl nobody gives you the truth, so read those samples.

# %% [markdown] tags=["slide"]
# ### The pipeline
#
# mend → main text → language → rules → personal data → copies → test items
#
# cheap steps first; each step measured on the pages that reached it

# %% [markdown]
# ## 7. What did each step buy?
#
# Clean pages look nicer. Is the *model* better? Ask it by an **ablation**: the same model, the same number of tokens,
# the same tokenizer, the same held-out text, and only the training text differs. The held-out text is clean, and its
# documents had no part in the crawl. First live, with a small model: the crawl as it came against what the pipeline
# left.

# %%
from minigpt import build_optimizers, learning_rate, train_bpe
from minigpt.evaluate import evaluate_windows, sliding_windows, to_bpb

sample_texts = [d.text[:4000] for d in training[:60]]
tokenizer = train_bpe(sample_texts, 512, ["<|endoftext|>"])  # of clean text, for all arms
SHAPE = ModelConfig(layers=2, width=64, heads=2, kv_heads=2, head_size=32, mlp_width=176,
                    context=64, vocab_size=512)  # fmt: skip
PLAN = OptimConfig(lr=0.01, matrix_lr=0.02, momentum=0.9, steps=100, batch_tokens=1024)


def tokens_of(texts, seed):
    shuffled = random.Random(seed).sample(texts, len(texts))
    ids = [token for text in shuffled for token in (tokenizer.eot, *tokenizer.encode(text))]
    return torch.tensor(ids)


def windows(ids, seed):
    """(N, 65) in random order: each token is read once"""
    rows = ids[: (len(ids) - 1) // 64 * 64 + 1].unfold(0, 65, 64)
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]


# %%
def train_on(model, optimizers, rows, steps, plan=PLAN):
    """Steps of 1,024 tokens each; the rate follows the plan. Rows run out: they begin again."""
    for step in steps:
        batch = rows[torch.arange(16 * step, 16 * step + 16) % len(rows)]
        model(batch[:, :-1], batch[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * learning_rate(step, plan.steps, plan)
            optimizer.step()
            optimizer.zero_grad()


held_ids = np.array([token for d in apart
                     for token in (tokenizer.eot, *tokenizer.encode(d.text[3000:4000]))])


def held_out_bits(model):
    found = evaluate_windows(model, sliding_windows(held_ids, 64, 64, 64), tokenizer.token_bytes)
    return to_bpb(found["nats"], found["bytes"])


# %%
def learn(texts, seed):
    model = GPT(SHAPE, seed)
    optimizers = build_optimizers(model, PLAN)
    train_on(model, optimizers, windows(tokens_of(texts, seed), seed), range(PLAN.steps))
    return held_out_bits(model)


clean_texts = [privacy.mask(d.text)[0] for d in clean]
arms = {"the crawl as it came": [page.text for page in crawled],
        "what the pipeline left": clean_texts}  # fmt: skip
live = {name: np.array([learn(texts, seed) for seed in range(3)]) for name, texts in arms.items()}
for name, bits in live.items():
    print(f"{name:<24} {bits.mean():.3f} bits per byte")
apart_by = np.subtract(*live.values())
error = apart_by.std(ddof=1) / np.sqrt(3)
print(f"Live, 3 seeds, paired: {apart_by.mean():.3f} bits per byte better, 95 % interval "
      f"± {half_width(apart_by):.3f}; that is {apart_by.mean() / error:.0f} standard errors")
assert apart_by.mean() > 3 * error

# %% [markdown]
# **Predict.** Four steps lead from the crawl to the final recipe: main text · no copies · English and the rules · a
# quarter of plays mixed in, which the crawl lacks. Which one buys most, in bits per byte on clean held-out books,
# speeches and plays? One of `extraction`, `duplicates`, `filters`, `mixture`.

# %%
try:
    steps = recorded("14.ablations")
except UserError as error:
    steps = None
    print(f"The recorded experiments of this lesson are not here yet: {error}")
ABSENT = "Figure: this one comes with the record 14.ablations."
here = usable_domains(["books", "speeches", "drama"])[1] == []
ORDER = ["raw", "extracted", "deduplicated", "filtered", "mixed"]
BOUGHT = ["extraction", "duplicates", "filters", "mixture"]
if steps:
    ends = np.array([steps.curves(arm)[:, -1] for arm in ORDER])  # (arms, seeds)
    gains = ends[:-1] - ends[1:]

# %%
guess = None
if steps:
    reveal("14.p4", guess, truth=BOUGHT[int(gains.mean(1).argmax())])

# %%
if steps and here:
    quick = steps.live()
    low, high = steps.end(steps.arms[0])
    print(f"Live: the arm {steps.arms[0]!r}, {quick.x[-1]:.0f} steps on a small crawl, ends at "
          f"{quick.y[-1]:.3f} just now; 95 of 100 such runs end between {low:.3f} and {high:.3f}, "
          "says the record.")
if steps:
    print(steps.sentence())
    for name, gain in zip(BOUGHT, gains):
        share_of_gain = gain.mean() / (ends[0] - ends[-1]).mean()
        print(f"{name:<12} {gain.mean():+.3f} bits per byte, 95 % interval ± "
              f"{half_width(gain):.3f}, {share_of_gain:.0%} of the whole gain")
    whole = ends[0] - ends[ORDER.index("filtered")]
    standard_error = whole.std(ddof=1) / np.sqrt(len(whole))
    print(f"clean against raw: {whole.mean():.3f}, {whole.mean() / standard_error:.0f} standard "
          "errors")
    leaked = max(steps.numbers(arm, "leak").max() for arm in ORDER)
    print(f"of the held-out text's runs of 13 words, no arm has read more than {leaked:.2%}")
    assert whole.mean() > 3 * standard_error

# %%
if steps:
    fig, ax = figure(width=6.6, height=2.6)
    ax.barh(ORDER[0], ends[0].mean(), color=GREY)
    for row, (name, gain) in enumerate(zip(ORDER[1:], gains)):
        color = BLUE if gain.mean() > half_width(gain) else ORANGE
        ax.barh(name, -gain.mean(), left=ends[row].mean(), color=color)
    for row in range(len(ORDER)):
        ax.plot(ends[row], [row] * ends.shape[1], "k.", markersize=4)
    ax.set(xlabel="bits per byte of clean held-out text", xlim=(0.95 * ends.min(), None))
    ax.invert_yaxis()
    show(fig, alt=f"A waterfall from {ends[0].mean():.2f} bits per byte of the raw crawl to "
                  f"{ends[-1].mean():.2f} of the mixed recipe; a dot for each seed.")
    print("kilobytes read at equal tokens, and bits per byte, seed by seed:")
    for arm, bits in zip(ORDER, ends):
        print(f"{arm:<14}", ", ".join(f"{kb:.0f} kB {bit:.3f}" for kb, bit in
                                      zip(steps.numbers(arm, "bytes"), bits)))  # fmt: skip
else:
    print(ABSENT)

# %% [markdown]
# Read it like a sceptic. (An orange bar is a step whose interval holds zero.)
#
# - *The interval.* Removing copies cannot be told from nothing here, and the seeds do not even agree on its sign.
# - *The order.* Each step was added to those before it, and in another order each might have bought more or less: menus
#   and scripts break the rules as well. (The record removes copies before it filters, `prepare` the other way round.)
#   Exercise 14.8 divides a gain without an order.
# - *The unit.* Equal compute means equal tokens. A token of HTML, or of gibberish, holds fewer letters, so the first arms
#   have read less. Of `extracted`, the seed that read the fewest letters ended worst, far from the two others.
# - *The regime.* No arm read a page twice on purpose. Copies cost little when there is more text than compute; they cost
#   much when a small part comes a hundred times (Hernandez et al. 2022), or when the exam is among them, and they make
# a   model recite (Lee et al. 2022; lesson 15).
# - *The judge.* The held-out text is books, speeches and plays. It likes what looks like it. A crawl cleaned for code
#   would be judged by code.
# - *The average.* Look at the domains one by one:

# %%
if steps:
    domains = ("books", "speeches", "drama")
    table = np.array([[steps.numbers(arm, name).mean() for name in domains] for arm in ORDER])
    fig = heatmap(table, ORDER, list(domains), numbers=True,
                  title="bits per byte")  # fmt: skip
    show(fig, alt="A table of recipes by held-out domains. From filtered to mixed, books go from "
                  f"{table[-2, 0]:.2f} to {table[-1, 0]:.2f} and drama from {table[-2, 2]:.2f} to "
                  f"{table[-1, 2]:.2f}.")
    changes = {name: steps.numbers("mixed", name) - steps.numbers("filtered", name)
               for name in domains}  # fmt: skip
    told = ", ".join(f"{name} by {c.mean():+.3f} ± {half_width(c):.3f}"
                     for name, c in changes.items())  # fmt: skip
    print(f"Recorded, {len(steps.seeds)} seeds, 95 % interval: mixing plays in changes {told}")
else:
    print(ABSENT)

# %% [markdown]
# What the mixture buys, it buys in one domain, the one that the crawl lacks, and speeches pay a part of it.
#
# > **Your turn: 14.5 `recipe_verdict`** (20 min): which recipe is better, or cannot you tell?

# %% [markdown] tags=["slide"]
# ### What did it buy?
#
# - same model, tokens, tokenizer, judge; only the text differs
# - paired seeds, an interval
# - shares depend on the order, and on the judge

# %% [markdown]
# ## 8. Mixtures
#
# The last step of the recipe was another kind of step: nothing was removed. A **mixture** says which share of the
# tokens comes from each domain. The record holds one model at equal compute on books, on Python code, on the synthetic
# world (short simple texts about a few people), and on two mixtures of them.
#
# **Predict.** A third of each. Compared with a model that spends all its tokens on code: how many bits per byte worse
# is it *on code*? A number.

# %%
MIXTURES = ["books", "code", "world", "thirds", "mostly books"]
SOURCES = ["books", "code", "world"]
guess = None
if steps:
    grid = np.array([[steps.numbers(arm, name) for name in SOURCES] for arm in MIXTURES])
    reveal("14.p5", guess, truth=(grid[3, 1] - grid[1, 1]).mean())

# %%
if steps:
    means = grid.mean(2)  # (mixtures, domains)
    fig = heatmap(means, MIXTURES, SOURCES, numbers=True, title="bits per byte: row on column")
    own = sum(means[:3, i].argmin() == i for i in range(3))
    show(fig, alt=f"Rows are training mixtures, columns held-out domains. {own} of 3 pure texts "
                  "are the best of the three on their own domain; thirds comes within "
                  f"{(means[3] - means.min(0)).max():.2f} of the best everywhere.")
    best = MIXTURES[int(means.mean(1).argmin())]
    spread = grid[3].mean(0) - grid[:3].mean(1).min(0)
    print(f"Recorded, {len(steps.seeds)} seeds: lowest average over the domains: {best}; thirds "
          f"beat the best pure text by {-spread.mean():.3f}, 95 % interval ± "
          f"{half_width(spread):.3f}")
else:
    print(ABSENT)

# %% [markdown]
# The first tokens of a domain are worth most: a third of the tokens buys far more than a third of what all of them
# buy. So a mixture that covers every domain you care about wins the average, although a pure text beats it in its own
# domain. Which shares are right depends on the weights in that average, and no measurement gives you those. It is a
# decision about what the model is for.
#
# (One caution about the column of the world: a generated text repeats its own sentences, so that a little of the judged
# text was read. The record has the share as `leak`; the other domains have next to none.)
#
# A share of a small domain may need more tokens than it has. Then it is read again.
#
# > **Your turn: 14.6 `capped_mixture`** (20 min).

# %% [markdown]
# ## 9. The same tokens again
#
# One pass over the tokens is an **epoch**. Suppose that you can pay for a fixed number of tokens, and have only a 4th,
# a 16th, a 64th of them. You read what you have 4, 16 or 64 times.
#
# **Predict.** By how many bits per byte is the held-out text worse after 4 epochs than after one pass over four times
# as much? A number.

# %%
EPOCHS = {1: "1 epoch", 4: "4 epochs", 16: "16 epochs", 64: "64 epochs"}
guess = None
if steps:
    repeated = np.array([steps.curves(arm)[:, -1] for arm in EPOCHS.values()])  # (4, seeds)
    known = np.array([steps.numbers(arm, "train") for arm in EPOCHS.values()])
    reveal("14.p6", guess, truth=(repeated[1] - repeated[0]).mean())

# %%
if steps:
    fig, ax = figure(width=6, height=2.8)
    looks = (repeated, "held out", BLUE, "o-"), (known, "what was read", ORANGE, "s--")
    for values, name, color, style in looks:
        ax.semilogx(list(EPOCHS), values.mean(1), style, color=color)
        for column in values.T:
            ax.plot(list(EPOCHS), column, ".", color=color, alpha=0.5)
        label_end(ax, 64, values[-1].mean(), name, color)
    ax.set(xlabel="epochs, at equal compute", ylabel="bits per byte", xticks=list(EPOCHS),
           xticklabels=list(EPOCHS))  # fmt: skip
    ax.minorticks_off()
    show(fig, alt=f"Bits per byte from 1 to 64 epochs: held-out text goes from "
                  f"{repeated[0].mean():.2f} to {repeated[-1].mean():.2f}, what was read from "
                  f"{known[0].mean():.2f} to {known[-1].mean():.2f}.")
else:
    print(ABSENT)

# %%
if steps:
    their_model = GPT(ModelConfig("modern", 2, 96, 3, 3, 32, 256, 64, 1024))  # that of the record
    size = sum(p.numel() for p in their_model.parameters())
    for row, count in enumerate(EPOCHS):
        cost = repeated[row] - repeated[0]
        width = f" ± {half_width(cost):.3f}" if row else ""
        different = steps.x("1 epoch")[-1] * 1024 / count
        print(f"epochs {count:>2}: {cost.mean():+.3f}{width}; {size / different:.0f} parameters "
              "for each different token")
    print(f"Recorded, {len(steps.seeds)} seeds, paired, 95 % interval; the raw crawl ends at "
          f"{ends[0].mean():.2f} bits per byte, 64 epochs at {repeated[-1].mean():.2f}")

# %% [markdown]
# Reading a quarter of the text four times costs something, less than a good filter buys. With a sixteenth of it
# the model learns by heart: it ends worse than on the raw crawl, and the training loss cannot tell you. It looks better
# than ever.
#
# Is four the number to remember? Not from here. Where a model has many parameters for each different token, learning by
# heart is the easier way. Models that companies train have far less than one. Section 12 has the law for those.
#
# ## 10. A schedule of mixtures
#
# So far, one mixture for a whole run. But the last steps count more: the rate falls, the weights settle, and what is
# read then stays. So recipes keep their best data for the end: **annealing**. Lesson 08's schedule makes it cheap to
# test, because one stable phase can serve several decays. First one live: a trunk at a constant rate on the main text
# of all pages, then from its end two decays over the same number of tokens.

# %%
ANNEAL = OptimConfig(lr=0.01, matrix_lr=0.02, momentum=0.9, steps=100, batch_tokens=1024,
                     decay=0.4)  # fmt: skip
web = windows(tokens_of([d.text for d in extracted], 0), 0)
model = GPT(SHAPE, 0)
optimizers = build_optimizers(model, ANNEAL)
train_on(model, optimizers, web, range(60), ANNEAL)
saved = deepcopy([part.state_dict() for part in (model, *optimizers)])
ends_live = {"the trunk's end": held_out_bits(model)}
cleaned = windows(tokens_of(clean_texts, 0), 0)
for name, rows_of in (("decay, same text", web), ("decay, clean text", cleaned)):
    model = GPT(SHAPE, 0)
    optimizers = build_optimizers(model, ANNEAL)
    for part, state in zip((model, *optimizers), deepcopy(saved)):
        part.load_state_dict(state)
    train_on(model, optimizers, rows_of, range(60, 100), ANNEAL)
    ends_live[name] = held_out_bits(model)
for name, bits in ends_live.items():
    print(f"{name:<18} {bits:.3f} bits per byte")
assert ends_live["decay, same text"] < ends_live["the trunk's end"]

# %% [markdown]
# Two gains are hidden in the last number: that of the decay, and that of the text. Compare the clean branch with the
# trunk, and you credit the text with what more steps and a falling rate did. **The control goes through the same decay,
# on the old text.** Ask of every report on annealing data where that branch is.
#
# The record has three branches from each of three trunks, which have read unfiltered pages and a little of the
# synthetic world: `same` goes on as before, `clean` has filtered pages and plays, `facts` is mostly documents that
# tell facts of the world. They are judged on clean books, speeches and plays, and asked for those facts, with four
# answers to choose from.
#
# **Predict.** The branch `facts` is asked for facts that the world tells often. Which share does it get right? (Chance
# is a quarter. "Often" is 64 times or more in the world's whole text, of which this branch reads a part.)

# %%
BRANCHES = ["same", "clean", "facts"]
guess = None
if steps:
    reveal("14.p7", guess, truth=steps.numbers("facts", "facts").mean())

# %%
if steps:
    numbers = {name: np.array([steps.numbers(arm, name) for arm in BRANCHES])
               for name in ("mean", "facts", "never", "answer")}
    begun = {name: steps.numbers("same", f"trunk_{name}").mean() for name in numbers}
    print(f"{'':<16} bits per byte   told facts   never told   nats for an answer")
    lines_of = [("end of trunk", begun.values())] + [
        (arm, [numbers[name][row].mean() for name in numbers]) for row, arm in enumerate(BRANCHES)]
    for arm, (bits, right, never, nats) in lines_of:
        print(f"{arm:<16} {bits:>13.3f} {right:>12.2f} {never:>12.2f} {nats:>20.2f}")
    for row, arm in enumerate(BRANCHES[1:], 1):
        for name, unit in (("mean", "bits per byte"), ("facts", "of the told facts right"),
                           ("never", "of the untold right"), ("answer", "nats for an answer")):
            change = numbers[name][row] - numbers[name][0]
            print(f"{arm} against same: {change.mean():+.3f} ± {half_width(change):.3f} {unit}")
    print(f"Recorded, {len(steps.seeds)} seeds, paired, 95 % interval")

# %%
if steps:
    fig, ax = figure(width=6, height=2.8)
    for row, (arm, color, mark) in enumerate(zip(BRANCHES, (GREY, BLUE, ORANGE), "osD")):
        ax.plot(numbers["mean"][row], numbers["answer"][row], mark, color=color)
        ax.annotate(arm, (numbers["mean"][row].max(), numbers["answer"][row].mean()), (8, 0),
                    textcoords="offset points", color=color, va="center")  # fmt: skip
    ax.plot(begun["mean"], begun["answer"], "*", color=BLACK, markersize=11)
    ax.annotate("end of trunk", (begun["mean"], begun["answer"]), (-8, 0), ha="right",
                textcoords="offset points", va="center")  # fmt: skip
    ax.set(xlabel="bits per byte of clean text (left is better)",
           ylabel="nats for a true answer\n(lower is better)")  # fmt: skip
    middle = zip(BRANCHES, numbers["mean"].mean(1), numbers["answer"].mean(1))
    shown = ", ".join(f"{arm} {bits:.2f} and {nats:.1f}" for arm, bits, nats in middle)
    show(fig, alt="Bits per byte of clean text against nats for an answer, points for each branch: "
                  f"{shown}; the trunk ended at {begun['mean']:.2f} and {begun['answer']:.1f}.")
else:
    print(ABSENT)

# %% [markdown]
# What annealing gains, you see: `clean` ends best on the judged text, and a true answer costs `facts` far fewer nats
# than the two others. What it hides:
#
# - **The control.** `same` gains as well: it has read more, at a falling rate.
# - **The price.** Whoever reports the facts alone does not report what the other text lost.
# - **The average.** Most of what `clean` gains over `same` it gains on plays, which the trunk never read.
# - **The test.** A decay on text that resembles a benchmark raises that benchmark. It may be knowledge (the facts were
#   told), or it may be the form. Facts that were *never* told are the check: if those rise as well, the model learned
# to   answer, not to know. Apply it here: the shares of told and of untold facts both move by less than their
# intervals.   So this record cannot say whether the fewer nats are knowledge or form. It would take more questions,
# and the nats of   untold answers.
#
# > **Your turn: 14.7 `annealing_gain`** (15 min).

# %% [markdown] tags=["slide"]
# ### Annealing
#
# - the last tokens count most: one trunk, several decays
# - control: the same decay on the same text
# - ask for what was not trained on, too

# %% [markdown]
# ## 11. An exhibit
#
# From the failure museum of lesson 13: a broken training run, as the person saw it who had to find the mistake. Its
# training loss is excellent.

# %%
museum.show(18)

# %% [markdown]
# **Predict.** What happened? One of: `val_in_train` · `duplicated_data` · `unshuffled` · `bad_shard` ·
# `replayed_data`. Compare the two losses with the two lines of section 9's picture.

# %%
guess = None
reveal("14.p8", guess)

# %% [markdown]
# ## 12. One paper
#
# **Muennighoff et al. 2023, [Scaling Data-Constrained Language Models](https://arxiv.org/abs/2305.16264)**, sections 3
# to 6. They trained some 400 models with repeated data. Read with three questions. *What was held fixed* when epochs
# were compared: tokens seen, or tokens that differ? *What would change your mind* about "four epochs are nearly free"?
# *Which number can you recompute?* Their law says that repeated tokens lose their worth exponentially. With U different
# tokens, read E times, they count as
#
# $$D' = U + U R^* \left(1 - e^{-(E - 1)/R^*}\right)$$
#
# different tokens, with R* about 15. Parameters beyond what U tokens can use lose worth in the same way. A check value
# that was published with the code: 6.34 billion parameters, 242 billion tokens, 25 billion of them different, have a
# predicted loss of 2.2256 (Muennighoff et al. 2023).

# %%
EXPONENT, LN_A, LN_B, LN_E = 0.3526596, 6.255414, 7.3049974, 0.6254804  # Muennighoff et al. 2023
R_DATA, R_PARAMETERS = 15.387756, 5.309743


def worth(unique, total, r_star):
    """Units that count, of `total` of which `unique` are different."""
    again = max(0.0, total / unique - 1)
    return min(unique, total) + unique * r_star * (1 - np.exp(-again / r_star)) * (total > unique)


def predicted_loss(parameters, tokens, unique):
    # as many parameters as the different tokens can use
    usable_parameters = min(unique, tokens) * np.exp((LN_A - LN_B) / EXPONENT)
    n = worth(min(usable_parameters, parameters), parameters, R_PARAMETERS)
    d = worth(min(unique, tokens), tokens, R_DATA)
    return np.exp(LN_E) + np.exp(LN_A) / n**EXPONENT + np.exp(LN_B) / d**EXPONENT


check_value = predicted_loss(6.34e9, 242e9, 25e9)
print(f"loss recomputed: {check_value:.3f}")
assert abs(check_value - 2.2256) < 1e-4

# %%
compute = 1e22  # FLOPs, 6 for each parameter and token
trial = np.geomspace(1, 60, 4000)  # epochs over 25 billion tokens
values = [predicted_loss(compute / 6 / (25e9 * e), 25e9 * e, 25e9) for e in trial]
print(f"best number of epochs for {compute:.0e} FLOPs and 25 billion tokens: "
      f"{trial[int(np.argmin(values))]:.1f} (published: 9.49)")
print("8.67e9 parameters, 178e9 tokens: loss above that of one pass, in nats")
print(f"epochs {'by the law':>33} {'measured by them':>23}")
for epochs, measured in ((2.0, 0.0005), (4.0, 0.0144), (5.1, 0.0233), (7.1, 0.0397)):
    extra = predicted_loss(8.67e9, 178e9, 178e9 / epochs) - predicted_loss(8.67e9, 178e9, 178e9)
    print(f"{epochs:>6} {extra:>33.3f} {measured:>23.3f}")
assert abs(trial[int(np.argmin(values))] - 9.49) < 0.05

# %% [markdown]
# The law was fitted to these runs among others, so the agreement is a description. And its reach ends: for 44 epochs it
# predicts a loss that is far too good, because it knows wear and no overfitting (their runs, as released with the
# paper). Ours overfit much earlier. R* is no constant of nature: it belongs to their models, and to their text.

# %%
if steps:
    print(f"Epochs at equal compute, recorded here, {len(steps.seeds)} seeds, 95 % interval of the "
          "mean:")
    for row, count in enumerate(EPOCHS):
        share_of_new = worth(1, count, R_DATA) / count
        print(f"{count:>2} epochs: by the law the tokens count as {share_of_new:.0%} of different "
              f"ones; ours end at {repeated[row].mean():.3f} ± {half_width(repeated[row]):.3f}")

# %% [markdown]
# > **Your turn: 14.8 `fair_shares`** (30 min), unaided: the assistant stays off.

# %% [markdown]
# ## Summary
#
# 1. Of a crawl's bytes a small part is new text. Each step that gets there has a precision and a recall, measured on what
# reached it; a low base rate makes precision hard.
# 2. Near duplicates: shingles say what is alike, signatures make it cheap, bands make it few comparisons.
# 3. What a step buys is measured by an ablation at equal compute, on held-out text of its own; the shares depend on the
# order and on the judge.
# 4. The first tokens of a domain buy most: mix. A few epochs still teach, many make a small text known by heart.
# 5. Annealing ends a run on its best data. Its gain is the difference to the same decay on the old data, and its price is
# paid elsewhere.
#
# Next: lesson 15 asks a trained model what it learned.

# %% tags=["timing"]
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
