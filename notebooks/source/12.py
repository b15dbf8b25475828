# %% [raw]
# title = "Evaluation"
# question = "One model scores 0.62 and another 0.65. What do you have to know before you believe that the second one is better?"
# able = [
#   "put a question to a model without letting it talk, and choose between cloze, options and letters",
#   "hold text out by document, by source and by time, and say which claim each split supports",
#   "plant test questions in a training text, find them again, and measure what they were worth",
#   "give a difference its interval by a paired bootstrap, and say how many questions it takes to see one",
#   "tell signal from the noise of items, seeds and neighbouring checkpoints, and read a company's table",
# ]
# needs = ["held-out text", "bits per byte", "leak", "context", "checkpoint", "baseline", "standard error", "paired difference", "confidence interval", "median"]
# reading = 70
# exercises = 98
# route = "core"
# paper = "Miller 2024, Adding Error Bars to Evals: A Statistical Approach to Language Model Evaluations, arXiv 2411.00640"
#
# [teaches]
# probe = "A set of questions that are put to a model by comparing the probabilities that it gives to texts, without letting it write."
# "minimal pair" = "Two sentences that differ in one point, one right and one wrong; a model passes if it finds the right one likelier."
# "chance level" = "The score that somebody gets who knows nothing: one half for pairs, a quarter for four options, about zero for open answers."
# "cloze question" = "The beginning of a text, whose end is the answer; the model is right if it would have written that end."
# "length normalisation" = "Dividing the log-probability of an option by its length, so that long options are not punished for being long."
# "few-shot prompt" = "Some questions with their answers, put in front of the question that counts."
# contamination = "Test questions, or parts of them, in the training text."
# bootstrap = "Drawing from one's own sample, with replacement, as often as it has items, to see how much a result moves from draw to draw."
# power = "The probability that an experiment finds a difference that is really there."
# "signal-to-noise ratio" = "How far a score moves between models that differ, divided by how far it moves between runs that do not."
# "clustered items" = "Questions that hang together, such as five on one text; they count for fewer than their number."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners leave unable to read a score without asking for its chance level, its number of items, its seeds
# and its format. **Timing** (120 min). Before class: 12.1. In class: sections 1 and 2 20 · section 3 15 · exercise
# 12.2 15 · section 4 15 · section 5 10 · sections 6 and 7 20 · exercise
# 12.4 10 · section 8 and 9 10 · discussion 5. Homework: the other exercises.
#
# **Two misconceptions.** *"A score above chance shows that the model knows the answers."* Ask: what would it score if
# you took the subject out of each question? *"The interval is narrow, so the difference is real."* Ask: narrow over
# what? Which of questions, seeds and checkpoints were drawn anew?
#
# **Discuss.** A benchmark that you have used for a year turns out to be on a web page that was in your training text.
# What do you do with the old numbers? · Would you rather have ten times the questions or ten times the seeds, and what
# would you have to measure to decide?

# %% tags=["setup"]
import math
import random
import time
from collections import Counter

import numpy as np
import torch

# %%
from minigpt import GPT, ModelConfig, OptimConfig, UserError, bits_per_byte, build_optimizers
from minigpt import learning_rate, probes, train_bpe
from minigpt.classroom import museum, recorded, reveal, show
from minigpt.classroom.shelf import half_width, live_sentence
from minigpt.classroom.viz import BLACK, BLUE, GREEN, GREY, PURPLE, VERMILLION
from minigpt.classroom.viz import figure, label_end, plot_live, plot_record
from minigpt.probes import Item, score
from minigpt.text import contamination, world
from minigpt.text.sources import held_out
from minigpt.tokenizer import END_OF_TEXT

started = time.perf_counter()
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>01: why is a document, and not a line, held out?</summary>The lines around it are in the training text, and share its names and words. The
# score would say how well the model continues documents that it knows.</details>
# <details><summary>06: two designs, three seeds each. Why subtract seed by seed?</summary>What a seed does to both cancels in the difference.</details>
# <details><summary>08: to halve the standard error of a mean, how many times as many windows do you need?</summary>Four times: it falls as one over the root of their number.</details>

# %% [markdown]
# > **Try first: 12.1 `least_hits`** (5 min), before you read on. The exercises are in `exercises/12_evaluation.ipynb`; `python3 course.py start 12` makes a
# > copy for you in `my/`.
#
# ## 1. A model, and questions whose answers are known
#
# Bits per byte compare models on text. They do not say *what* a model knows. For that you need questions, and to judge
# the questions you need a text of which everything is known. `minigpt.text.world` writes one: people and towns that do
# not exist, with facts about each that are told in exactly 0, 4, 16 or 64 documents, never twice in the same words.

# %%
WORLD = world.World(seed=1, people=12, exposures=(0, 4, 16, 64), words=0.05)  # 5 % of its words
told = list(world.documents(WORLD, 1_000_000))
kinds = Counter(d.domain.removeprefix("world/") for d in told)
print(f"{len(told):,} documents:", ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
levels = Counter(fact.exposures["english"] for fact in WORLD.facts)
print(f"{len(WORLD.facts)} facts, by exposures: {dict(sorted(levels.items()))}\n")
print(next(d.text for d in told if d.domain == "world/letter")[:420], "…")

# %% [markdown]
# Now a model, trained on this text for some seconds. Two kinds of documents are kept away from it: every twentieth, by
# its id as in lesson 01; and all the `sums`, a whole source. Section 5 says why.

# %%
trained_on = [d for d in told if not held_out(d.id) and d.domain != "world/sums"]
tokenizer = train_bpe([d.text for d in trained_on[::4]], 1024, [END_OF_TEXT])
SHAPE = ModelConfig("modern", layers=2, width=96, heads=3, kv_heads=3, head_size=32, mlp_width=288,
                    context=64, vocab_size=tokenizer.vocab_size, activation="relu2",
                    zero_init=True)  # fmt: skip
RATES = OptimConfig(steps=240, batch_tokens=1024, lr=0.006, matrix_lr=0.02, momentum=0.9)


def one_stream(texts):
    """-> (N,): shuffled documents, end to end, each after its <|endoftext|>"""
    order = np.random.default_rng(12).permutation(len(texts))
    encoded = tokenizer.encode_batch([texts[i] for i in order])
    whole = np.concatenate([part for ids in encoded for part in ([tokenizer.eot], ids)])
    return torch.from_numpy(whole.astype(np.int64))


# %%
def train_on(texts, seed=0, at=()):
    """-> the model, and copies of its weights after the steps `at`"""
    ids, model, kept = one_stream(texts), GPT(SHAPE, seed), {}
    optimizers, dice = build_optimizers(model, RATES), torch.Generator().manual_seed(seed)
    for step in range(RATES.steps):
        starts = torch.randint(len(ids) - 64, (16, 1), generator=dice)
        windows = ids[starts + torch.arange(65)]
        model(windows[:, :-1], windows[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * learning_rate(step, RATES.steps, RATES)
            optimizer.step()
            optimizer.zero_grad()
        if step + 1 in at:
            kept[step + 1] = {name: p.clone() for name, p in model.state_dict().items()}
    return model.eval(), kept


# %%
NEIGHBOURS = range(200, RATES.steps + 1, 10)
begun = time.perf_counter()
clean, kept = train_on([d.text for d in trained_on], at=(120, *NEIGHBOURS))
print(f"{RATES.steps * 1024:,} tokens in {time.perf_counter() - begun:.0f} s")

# %% [markdown]
# ## 2. Minimal pairs
#
# A set of questions that are put to a model by comparing probabilities is a **probe**. The simplest question compares
# two sentences that differ in one point of grammar, a **minimal pair** (the method of BLiMP, Warstadt et al. 2020).
# Nobody asks the model to explain anything. Which of the two does it find likelier? By hand, that is a sum of
# log-probabilities:

# %%
def log_probability(model, text):
    """Nats, below zero: of all tokens of a text, the first one after <|endoftext|>"""
    tokens = torch.tensor([[tokenizer.eot, *tokenizer.encode(text)]])
    with torch.no_grad():
        shares = torch.log_softmax(model(tokens[:, :-1]), dim=-1)
    return shares.gather(2, tokens[:, 1:, None]).sum().item()


rows = list(world.pairs(WORLD, each=30, languages=("english",)))
pairs = [Item("", (row["good"], row["bad"]), 0, row["phenomenon"]) for row in rows]
for item in pairs[40], pairs[-5]:
    print(item.group, *(f"   {log_probability(clean, text):7.2f}  {text}" for text in item.options),
          sep="\n")  # fmt: skip

# %% [markdown]
# `minigpt.probes.score` does the same for many texts at once, in batches. Like every replacement in this course, it
# has to agree with what you did by hand:

# %%
fast = score(clean, tokenizer, pairs[:20])[:, 0]  # (options of all items,)
slow = [log_probability(clean, text) for item in pairs[:20] for text in item.options]
assert np.abs(fast - slow).max() < 1e-3


def marks(model, items):
    """-> (N,): 1 where the first option, the right one, is the likelier"""
    table = score(model, tokenizer, items)[:, 0].reshape(len(items), 2)
    return (table[:, 0] > table[:, 1]).astype(float)


right = marks(clean, pairs)
print(f"{len(pairs)} pairs, {len({item.group for item in pairs})} phenomena: "
      f"{right.mean():.3f} right; chance level 0.5")

# %% [markdown]
# What does such a number weigh? Whoever knows nothing is right half of the time, and not exactly half: **chance
# level** is a distribution, not a line.
#
# **Predict.** A coin answers 30 pairs, the number of most phenomena here. Between 0.5 minus *what* and 0.5 plus *what*
# do 95 of 100 such scores lie, roughly?

# %%
guess = None
reveal("12.p1", guess)

# %% [markdown]
# So one phenomenon says little, and an interval belongs to each score. The interval that one learns at school, share ±
# 1.96 standard errors, fails where a small model lives, near 0 and 1: a score of 30 out of 30 would have a standard
# error of zero. Turn the question round. Which *true* shares p would have given what we saw, within 1.96 of *their
# own* standard errors? That is
#
# $$|\hat p - p| \le z \sqrt{p (1 - p) / n}$$
#
# where $\hat p$ is the share that you saw, n the number of questions and z = 1.96. Squared, it is a quadratic in p,
# and its two roots are the interval (Wilson 1927).

# %%
def share_interval(share, n, z=1.96):
    """The true shares that are compatible with what was seen: the roots of a·p² + b·p + c"""
    a, b, c = 1 + z * z / n, -(2 * share + z * z / n), share**2
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


for share, n in ((0.5, 30), (1.0, 30), (0.0, 7), (0.62, 680)):
    assert np.abs(np.subtract(share_interval(share, n), probes.wilson(share, n))).max() < 1e-9
    low, high = share_interval(share, n)
    print(f"{share:4.0%} of {n:>3} questions: between {low:.3f} and {high:.3f}")

# %%
dice = np.random.default_rng(2)
truth, n = 0.9, 30
seen = dice.binomial(n, truth, 20_000) / n
inside = [low <= truth <= high for low, high in (share_interval(s, n) for s in seen)]
errors = 1.96 * np.sqrt(seen * (1 - seen) / n)
school = np.abs(seen - truth) <= errors
print(f"how often the interval holds the truth, {truth}: Wilson {np.mean(inside):.1%}, "
      f"school {school.mean():.1%}")
assert abs(np.mean(inside) - 0.95) < 0.035 and school.mean() < np.mean(inside)

# %%
def by_group(items, values):
    """-> {group: (share, low, high, n)}"""
    found = {}
    for name in dict.fromkeys(item.group for item in items):
        here = [v for item, v in zip(items, values) if item.group == name]
        found[name] = (np.mean(here), *share_interval(np.mean(here), len(here)), len(here))
    return found


def whiskers(ax, place, found, color, mark="o"):
    """A share as a mark, its interval as a line"""
    share, low, high, _ = found
    ax.plot([low, high], [place, place], color=color, linewidth=1.5)
    ax.plot(share, place, mark, color=color, markersize=5)


# %%
phenomena = sorted(by_group(pairs, right).items(), key=lambda pair: pair[1][0])
fig, ax = figure(width=6.5, height=4.6)
for place, (name, found) in enumerate(phenomena):
    sure = found[1] > 0.5 or found[2] < 0.5
    whiskers(ax, place, found, BLUE if sure else GREY, "o" if sure else "s")
ax.axvline(0.5, color=BLACK, linestyle=":")
ax.set_yticks(range(len(phenomena)), [name for name, _ in phenomena], fontsize=7)
ax.set(xlabel="share right; grey squares: the interval holds 0.5", xlim=(0, 1))
unsure = sum(low <= 0.5 <= high for _, (_, low, high, _) in phenomena)
show(fig, alt="A share with its interval for each phenomenon of grammar, sorted; the intervals are "
              "wide, and many of them cross the dotted line of chance.")
print(f"{unsure} of {len(phenomena)} phenomena cannot be told from guessing")

# %% [markdown]
# The whole set tells a clear story, half of its parts do not. And look at the lowest ones. A score clearly *below*
# chance is no bad luck: the model follows some rule, and it is the wrong one, such as *make the verb agree with the
# nearest noun*. Also, with so many phenomena, one in twenty of a pure guesser's intervals would miss 0.5.

# %% [markdown] tags=["slide"]
# ### A score without these three is no score
#
# - how many questions, and their interval (Wilson near 0 and 1)
# - the chance level
# - what a guesser with a simple rule would get

# %% [markdown]
# ## 3. Facts: three ways to ask, and a score that rises for the wrong reason
#
# Does the model know who was born where, and does it take 4 or 64 documents to learn it? You can ask in several ways.
# As a **cloze question**, with the end left open: would the model have written the right end, taking the likeliest
# token each time? Or with *options*: is the right one the likeliest of four? For a cloze, whoever knows nothing gets
# about zero; of four options, a quarter. And you can ask in words that the text has used for such facts, or in words
# that it never used:

# %%
WORDINGS = {  # two that documents use; the questions of world.cloze are in other words
    "birthplace": ("{} was born in", "{} comes from"), "pet": ("{} keeps a", "{}'s pet is a"),
    "trade": ("{} works as a", "{}'s trade is that of a"), "dish": ("{} loves",
    "{}'s favourite dish is"), "firm": ("{} works for", "{} is employed by"),
    "instrument": ("{} plays the", "{}'s instrument is the"), "year": ("{} was born in",
    "{}'s year of birth is"), "teacher": ("{} was taught by", "{}'s teacher is"),
    "seat": ("{} has its seat in", "letters for {} are delivered to"),
    "river": ("{} stands on the", "{} lies on the banks of the"),
}  # fmt: skip
questions = list(world.choices(WORLD, languages=("english",)))
subject = [WORLD.facts[q["fact"]].subject for q in questions]
print(questions[5]["prefix"], "…", questions[5]["options"], "told", questions[5]["exposures"], "×")


def asked(ask=lambda i, q: q["prefix"], options=True):
    """The questions as items; ask(number, question) writes what stands before the options"""
    return [Item(ask(i, q), tuple(q["options"]) if options else (q["options"][q["answer"]],),
                 q["answer"] if options else 0, str(q["exposures"]))
            for i, q in enumerate(questions)]  # fmt: skip


# %%
def known_words(which):
    return lambda i, q: WORDINGS[q["relation"]][which].format(subject[i])


def written(model, items):
    """Cloze -> (N,): 1 where the model would write the answer, token by token"""
    return score(model, tokenizer, items, greedy=True)[:, 2]


def picked(model, items):
    """Options -> (N,): the number of the one that is likeliest, byte for byte"""
    table = score(model, tokenizer, items)
    each = table[:, 0] / table[:, 1]
    sizes = np.cumsum([len(item.options) for item in items])[:-1]
    return np.array([part.argmax() for part in np.split(each, sizes)])


answers = np.array([q["answer"] for q in questions])
results = {
    "cloze, known words": sum(written(clean, asked(known_words(w), False)) for w in (0, 1)) / 2,
    "cloze, new words": written(clean, asked(options=False)),
    "four options": (picked(clean, asked()) == answers).astype(float),
}  # fmt: skip

# %%
def print_table(results, items):
    print(f"{'told in so many documents:':<28}" + "".join(f"{e:>20}" for e in (0, 4, 16, 64)))
    for name, values in results.items():
        found = by_group(items, values)
        cells = (f"{s:.2f} ({low:.2f} to {high:.2f})" for s, low, high, _ in
                 (found[str(e)] for e in (0, 4, 16, 64)))  # fmt: skip
        print(f"{name:<28}" + "".join(f"{cell:>20}" for cell in cells))


print_table(results, asked())

# %% [markdown]
# Look at the last row. Facts that were told in 64 documents are answered far better than the others, and far above the
# chance level of a quarter: *what is told often enough is learnt*. It is a plausible story, with the expected shape.
# Before you believe it, take away what the story needs. Put the name of a **stranger**, of whom the text tells
# nothing, in the place of each subject. Whoever knows facts about Tilda must now be reduced to guessing.

# %%
def stranger_of(q):
    return "Sedgewick" if q["relation"] in ("seat", "river") else "Nell Pettle"


def of_a_stranger(i, q):
    return q["prefix"].replace(subject[i], stranger_of(q))


stranger = (picked(clean, asked(of_a_stranger)) == answers).astype(float)
asked_so = [lambda i, q, w=w: WORDINGS[q["relation"]][w].format(stranger_of(q)) for w in (0, 1)]
cloze_of_a_stranger = sum(written(clean, asked(ask, False)) for ask in asked_so) / 2
assert not any(name in d.text for d in told for name in ("Sedgewick", "Nell Pettle"))
print_table({"four options": results["four options"], "the same, of a stranger": stranger,
          "cloze, known words": results["cloze, known words"],
          "the same, of a stranger ": cloze_of_a_stranger}, asked())  # fmt: skip

# %%
fig, ax = figure(width=6.2, height=2.6)
curves = (("asked", results["four options"], BLUE, "o", 0.08),
          ("a stranger's name", stranger, VERMILLION, "s", -0.08))  # fmt: skip
for name, values, color, mark, shift in curves:
    found = by_group(asked(), values)
    places = np.arange(4) + shift
    parts = [found[str(e)] for e in (0, 4, 16, 64)]
    ax.vlines(places, [p[1] for p in parts], [p[2] for p in parts], color=color)
    ax.plot(places, [p[0] for p in parts], mark + "-", color=color)
    label_end(ax, 3.1, parts[-1][0] + shift, name, color)
ax.axhline(0.25, color=BLACK, linestyle=":")
ax.set_xticks(range(4), (0, 4, 16, 64))
ax.set(xlabel="documents that tell the fact; dotted: chance", ylabel="share right", ylim=(0, 1))
show(fig, alt="Share right of four options against exposures, with intervals: the questions as "
              "asked, and the same with a stranger's name, which rise in much the same way.")
gaps = results["four options"] - stranger
print(f"asked minus stranger, all facts: {gaps.mean():+.3f} ± "
      f"{1.96 * gaps.std(ddof=1) / math.sqrt(len(gaps)):.3f}")

# %% [markdown]
# Most of what the subjects get at 64, the stranger gets, too. What that part of the score rises with must be something
# else. The likely reason: an object that is told of somebody in 64 documents is a common word of this small text, and
# the model picks **the commonest option** (section 4 shows a second one, length). The questions are made with care, so
# that all options are told about as often; in a world of a dozen people there are simply not enough objects to choose
# from. The rule is general: *for each score, build a control in which the thing that you claim to measure is absent.*
# Hide the passage in reading comprehension; shuffle the image; replace the name. What is left of the score was never
# yours.
#
# The open cloze suffers less, and is not immune: see its row of a stranger, and the facts that are told nowhere and
# "written" all the same. (It has a limit of its own. "Was born in" asks for a place and for a year, and only one of
# them can be written.) After some seconds of training, this model knows next to no facts. Section 9 has the last
# column for a longer run.

# %% [markdown] tags=["slide"]
# ### A score that rises for the wrong reason
#
# - facts told more often are answered better …
# - … of a stranger, too: common options win
# - for each score a control without the thing that you claim to measure

# %% [markdown]
# ## 4. Length, letters and shots
#
# The format of a question can move a score more than the model does. First **length**. A long option has more tokens
# to pay for, so its log-probability is lower whatever it says. Divide by its bytes, or by its tokens (**length
# normalisation**)? Or by how likely the option is without any question? Here is how often each rule picks the
# *shortest* and the *longest* of the four options, for questions about a stranger, where there is nothing to know:

# %%
items = asked(of_a_stranger)
table = score(clean, tokenizer, items).reshape(len(items), 4, 3)
alone = [Item("", item.options, item.answer) for item in items]
without = score(clean, tokenizer, alone).reshape(len(items), 4, 3)[:, :, 0]
tokens = np.array([[len(tokenizer.encode(o)) for o in item.options] for item in items])
nats, size = table[:, :, 0], table[:, :, 1]
picks = {"sum": nats, "a token": nats / tokens, "a byte": nats / size,
         "minus alone": nats - without}  # fmt: skip
uneven = size.min(1) < size.max(1)
by_chance = [(size == end[:, None]).mean(1)[uneven].mean() for end in (size.min(1), size.max(1))]
print("rule            shortest   longest   right of a stranger")
print(f"{'(by chance)':<14} {by_chance[0]:>9.0%} {by_chance[1]:>9.0%} {1 / 4:>12.2f}")
for name, scores in picks.items():
    chosen = scores.argmax(1)
    got = size[np.arange(len(items)), chosen]
    short, long = ((got == end)[uneven].mean() for end in (size.min(1), size.max(1)))
    print(f"{name:<14} {short:>9.0%} {long:>9.0%} {(chosen == answers).mean():>12.2f}")
by_sum, by_byte = (size[np.arange(len(items)), picks[rule].argmax(1)].mean()
                   for rule in ("sum", "a byte"))  # fmt: skip
assert by_sum < by_byte  # the sum prefers short options

# %% [markdown]
# No rule is fair in general. Dividing by bytes picks the longest option far more often than by chance: the later
# tokens of a long name are easy, and lower the price of the whole. A sum punishes length; it does not show here, where
# options are names of one kind, and very much where they are sentences (exercise 12.2). *Minus alone* divides out how
# common an option is by itself. It is meant as a remedy for section 3; these few questions cannot show whether it is
# one. The rule is a part of the question: never compare a score by one rule with a score by another.
#
# > **Your turn: 12.2 `pick`** (12 min).
#
# Then **letters**. MMLU and most exams print the options and ask for a letter. That tests two things at once: to know
# the answer, and to know what letters in front of options mean.

# %%
def lettered(order):
    """order (N, 4): which option stands at A, B, C, D"""
    made = []
    for i, q in enumerate(questions):
        listed = " ".join(f"{letter}:{q['options'][o]}." for letter, o in zip("ABCD", order[i]))
        made.append(Item(f"{known_words(0)(i, q)} … {listed} The answer is",
                         (" A", " B", " C", " D"), list(order[i]).index(q["answer"])))  # fmt: skip
    return made


dice = np.random.default_rng(4)
mixed = np.array([dice.permutation(4) for _ in questions])
items = lettered(mixed)
chosen = picked(clean, items)
counts = np.bincount(chosen, minlength=4)
favourite = int(counts.argmax())
score_of = lambda items, chosen: np.mean([c == item.answer for c, item in zip(chosen, items)])
print("answered A, B, C, D:", counts, f"; right {score_of(items, chosen):.2f}")

# %% [markdown]
# **Predict.** The model has a favourite letter. Rearrange the options, so that the right one always stands at the
# favourite letter. What does the model score now, roughly?

# %%
moved = mixed.copy()
for i, right_one in enumerate(answers):
    at = list(moved[i]).index(right_one)
    moved[i, [at, favourite]] = moved[i, [favourite, at]]
best = score_of(lettered(moved), picked(clean, lettered(moved)))
guess = None
reveal("12.p2", guess, best)

# %%
turned = [np.roll(mixed, turn, axis=1) for turn in range(4)]  # each option at each letter once
scores = [score_of(lettered(order), picked(clean, lettered(order))) for order in turned]
print("four turns of the options:", *(f"{s:.2f}" for s in scores), f"; mean {np.mean(scores):.2f}")
low, high = share_interval(np.mean(scores), len(questions))
print(f"the mean's interval: {low:.2f} to {high:.2f}; right at the favourite letter: {best:.2f}; "
      "chance is 0.25")
assert best > np.mean(scores)

# %% [markdown]
# The mean over the four turns is what the model knows in this format, and it is about chance. The rest is the order of
# the options, which somebody chose. Small models are at chance with letters for a long time, even where they know the
# answer, and then rise; a sudden ability on a chart may be no more than the moment when the format was understood. At
# our size, put the options' own words after the question, not letters.
#
# Last, **few-shot prompts**: solved questions in front show the format. Our context has 64 tokens, room for two.

# %%
def with_shots(k):
    def ask(i, q):
        others = [j for j in range(len(questions)) if questions[j]["relation"] == q["relation"]
                  and subject[j] != subject[i]]  # fmt: skip
        shots = random.Random(i).sample(others, k)
        solved = (known_words(0)(j, questions[j]) + questions[j]["options"][questions[j]["answer"]]
                  for j in shots)  # fmt: skip
        return " ".join(f"{text}." for text in solved) + " " * (k > 0) + known_words(0)(i, q)

    return ask


print("shots   options right            would write the answer")
for k in (0, 1, 2):
    values = (picked(clean, asked(with_shots(k))) == answers).astype(float)
    cells = [(v.mean(), *share_interval(v.mean(), len(v))) for v in
             (values, written(clean, asked(with_shots(k), False)))]  # fmt: skip
    print(f"{k:>5}   " + "      ".join(f"{s:.2f} ({a:.2f} to {b:.2f})" for s, a, b in cells))

# %% [markdown]
# (The wording is a known one, so the first row is not section 3's.) Read the intervals before you tell a story about
# shots. To use examples is an ability of its own; if this model has it, these questions do not show it. A table that
# gives one model five shots and another none compares nothing.

# %% [markdown]
# ## 5. Which text is unseen? Document, source, time
#
# Held-out text is text like the training text. How alike? That is your choice, and it decides what the number means.
# Three splits, three claims: new **documents** of the same kinds; a new **source**, here the sums; and a later
# **time**, here another year's world, with the same language and other people.

# %%
later = world.World(seed=2, people=12, exposures=(0, 4, 16, 64), words=0.05)
plain = {"world/story", "world/entry", "world/letter", "world/dialogue"}
splits = {
    "document": [d for d in told if held_out(d.id) and d.domain in plain],
    "time": [d for d in world.documents(later, 1_000_000) if held_out(d.id) and d.domain in plain],
    "source": [d for d in told if d.domain == "world/sums"],
    "(none: training text)": [d for d in trained_on if d.domain in plain],
}
print("held out by               documents   bits per byte")
for name, some in splits.items():
    each = np.array([bits_per_byte(clean, tokenizer, d.text) for d in some[:40]])
    error = 1.96 * each.std(ddof=1) / math.sqrt(len(each))
    splits[name] = each
    print(f"{name:<25} {len(each):>9} {each.mean():>10.2f} ± {error:.2f}")
assert splits["document"].mean() < splits["source"].mean()

# %% [markdown]
# "It predicts text" is three statements, and they cost differently: another year a little, another kind of text far
# more. The difference between *document* and *time* is the names and places that every document of this world shares:
# a model that is used next year meets the third split, and a benchmark made from last year's web tests the first. Hold
# out by what will be new when the model is used. (The ± is over documents. They are not independent either: all of
# them share one cast. Exercise 12.8 counts what such **clustered items** do. With a single cluster no formula helps:
# you would need several worlds.)
#
# > **Your turn: 12.3 `split_by`** (12 min).

# %% [markdown]
# ## 6. Contamination: planted, found, and what it was worth
#
# A test question in the training text turns an exam into a memory test. How much does it gain? Nobody can say for a
# model of the web, because nobody knows what it has read. We know. **Plant** every second pair's right sentence,
# twelve copies of it, on pages of ten sentences among the other documents, and train again from the same first
# weights:

# %%
planted = np.arange(len(pairs)) % 2 == 0
exam = [item.options[0] for item, is_in in zip(pairs, planted) if is_in]
dice = random.Random(6)
pages = []
for _ in range(12):
    shuffled = dice.sample(exam, len(exam))
    pages += [" ".join(shuffled[i : i + 10]) for i in range(0, len(exam), 10)]
dirty, _ = train_on([d.text for d in trained_on] + pages)
known = marks(dirty, pairs)
share = sum(map(len, pages)) / (sum(map(len, pages)) + sum(len(d.text) for d in trained_on))
print(f"{len(exam)} questions on {len(pages)} pages, {share:.1%} of the text\n")
print("pairs          clean   contaminated")
for name, group in (("planted", planted), ("not planted", ~planted)):
    print(f"{name:<12} {right[group].mean():>7.3f} {known[group].mean():>14.3f}")

# %% [markdown]
# Which of these differences is the gain? Not the first row alone. The planted sentences are good English, and whoever
# reads more of it learns grammar, also for the pairs that were not planted. And the planted half may be easier by
# accident. So subtract twice: *(contaminated − clean) on the planted pairs, minus the same on the others*. Each
# question has a difference d of its own, −1, 0 or 1, and the standard error of a difference between two means of
# independent questions is $\sqrt{s_1^2/n_1 + s_2^2/n_2}$:

# %%
d = known - right
inside, outside = d[planted], d[~planted]
gain = inside.mean() - outside.mean()
error = math.sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside))
print(f"planted {inside.mean():+.3f}, others {outside.mean():+.3f}: the copies were worth "
      f"{gain:+.3f} ± {1.96 * error:.3f}")
nats = [score(m, tokenizer, pairs)[::2, 0] for m in (clean, dirty)]
fig, ax = figure(width=6, height=2.5)
bins = np.linspace(-12, 40, 18)
for group, name, color, style in ((~planted, "not planted", BLUE, "-"),
                                  (planted, "planted", VERMILLION, "--")):  # fmt: skip
    ax.hist((nats[1] - nats[0])[group], bins, histtype="step", color=color, linestyle=style,
            linewidth=2, label=name)  # fmt: skip
ax.set(xlabel="log-probability of the right sentence, contaminated minus clean", ylabel="pairs")
ax.legend(frameon=False)
show(fig, alt="Two histograms of how much likelier the right sentence became, both mostly right of "
              "zero: those not planted, and further to the right the planted ones.")
likelier = [(nats[1] - nats[0])[group].mean() for group in (planted, ~planted)]
print(f"likelier by {likelier[0]:.1f} nats if planted, by {likelier[1]:.1f} if not")
assert likelier[0] > likelier[1] + 1

# %% [markdown]
# Both move: the pages have taught the model what sentences of this exam sound like, all of them. The planted ones move
# further. That is a detector for somebody who has the model: *questions that are too likely, compared with new ones of
# the same kind*. Without the new ones for comparison you would have called all of them contaminated. Whoever has the
# text can search it instead. The usual rule looks for a run of 13 words in a row that a document shares with a
# question, or 8 for short questions (Brown et al. 2020, appendix C).
#
# **Predict.** All planted sentences are in the text word for word. Which share of them does the rule find?

# %%
index = contamination.index_items(exam)
found = {hit.item for page in pages for hit in contamination.find_copies(page, index)}
guess = None
reveal("12.p3", guess, len(found) / len(exam))

# %%
by_length = Counter(), Counter()
for number, sentence in enumerate(exam):
    words = len(sentence.split())
    by_length[0][words] += 1
    by_length[1][words] += number in found
print("words in the question:", *(f"{w:>4}" for w in sorted(by_length[0])))
print("planted              :", *(f"{by_length[0][w]:>4}" for w in sorted(by_length[0])))
print("found                :", *(f"{by_length[1][w]:>4}" for w in sorted(by_length[0])))
innocent = [d for d in trained_on if contamination.find_copies(d.text, index)]
print(f"innocent documents that share such a run by accident: {len(innocent)} of "
      f"{len(trained_on):,}")
reworded = [page.replace(" was ", " had been ").replace(" were ", " had been ") for page in pages]
again = {hit.item for page in reworded for hit in contamination.find_copies(page, index)}
print(f"found after a light rewording: {len(again)} of {len(exam)}")
assert len(again) <= len(found) < len(exam) and all(len(exam[i].split()) >= 8 for i in found)

# %% [markdown]
# Below eight words it finds nothing, by design: short runs occur everywhere by accident. And a light rewording hides
# most of what is left, while the model may profit all the same. So a report that says "we removed 13-gram overlaps"
# has removed *copies*. It has not shown that the model never saw the questions.
#
# > **Your turn: 12.6 `planted_gain`** (15 min).

# %% [markdown] tags=["slide"]
# ### Contamination
#
# - plant half of the questions: the other half is the control
# - gain = difference of differences, with its error
# - n-gram search finds copies, not rewordings, and no short questions

# %% [markdown]
# ## 7. Is the difference real? The paired bootstrap
#
# Two checkpoints of the same run, after half of the steps and at the end, on the same questions. Is the second better?
# (It should be. You know the answer here; that is what makes it a good place to practise.) The questions are one
# sample of those that could have been asked. If only you could draw another sample, and another! You cannot, but you
# can draw from the one that you have: with replacement, as many as there are, and *the same ones for both models*.
# This is the **bootstrap** (Efron 1979).

# %%
def at_step(step):
    model = GPT(SHAPE, 0)
    model.load_state_dict(kept[step])
    return model.eval()


half = marks(at_step(120), pairs)
dice = np.random.default_rng(7)
draws = dice.integers(len(pairs), size=(4000, len(pairs)))
others = dice.integers(len(pairs), size=(4000, len(pairs)))
together = (right[draws] - half[draws]).mean(1)  # the same questions for both
apart = right[draws].mean(1) - half[others].mean(1)  # as if each had had its own
for name, values in (("paired", together), ("not paired", apart)):
    low, high = np.quantile(values, [0.025, 0.975])
    print(f"{name:<11} {right.mean() - half.mean():+.3f}, 95 % between {low:+.3f} and {high:+.3f}; "
          f"standard error {values.std():.4f}")  # fmt: skip

# %% [markdown]
# For a mean there is a formula, so that you can check the machine. Let b be the number of questions that only the end
# gets right, c those that only the half-way model does, of n. The difference is (b − c)/n, and its standard error is
#
# $$\frac{1}{n} \sqrt{b + c - \frac{(b - c)^2}{n}}$$
#
# The questions that both get right, or both wrong, do not enter except through n. Only *disagreement* carries
# information.

# %%
n = len(pairs)
b, c = int(((right > half)).sum()), int((half > right).sum())
formula = math.sqrt(b + c - (b - c) ** 2 / n) / n
share_a, share_b = right.mean(), half.mean()
unpaired = math.sqrt((share_a * (1 - share_a) + share_b * (1 - share_b)) / n)
print(f"only the end right {b}, only half-way {c}, of {n}")
print(f"formula {formula:.4f} paired, {unpaired:.4f} not paired")
assert abs(together.std() / formula - 1) < 0.06 and abs(apart.std() / unpaired - 1) < 0.06
fig, ax = figure(width=6, height=2.3)
lowest = min(int(apart.min() * n), -10)
bins = (np.arange(lowest, apart.max() * n + 4, 4) - 0.5) / n  # a score moves by whole questions
ax.hist(together, bins, color=BLUE, alpha=0.7)
ax.hist(apart, bins, histtype="step", color=VERMILLION, linewidth=2)
ax.axvline(0, color=BLACK, linestyle=":")
ax.set(xlabel="difference of the two scores, in a draw", ylabel="draws")
ax.text(0.98, 0.9, "filled: paired", color=BLUE, transform=ax.transAxes, ha="right")
ax.text(0.98, 0.75, "outline: not paired", color=VERMILLION, transform=ax.transAxes, ha="right")
show(fig, alt="Two histograms of the difference over bootstrap draws with the same middle: the "
              "paired one, filled, is narrower than the one with separate questions.")

# %% [markdown]
# A formula exists for means. The bootstrap needs none: put a median, a ratio of scores or a mean over phenomena in its
# place. What it does not know is that the questions may hang together, or that another seed would have given another
# model. **What breaks if** the items are drawn as if independent, and are not? Double the set by copying it: nothing
# new was asked, and yet the interval shrinks.

# %%
d = right - half
twice = np.concatenate([d, d])
once = [d[dice.integers(len(d), size=len(d))].mean() for _ in range(2000)]
copied = [twice[dice.integers(len(twice), size=len(twice))].mean() for _ in range(2000)]
whole = [d[dice.integers(len(d), size=len(d))].mean() for _ in range(2000)]  # both copies or none:
# drawing them together is drawing the question, as in `once`
print(f"standard error: {np.std(once):.4f} once, {np.std(copied):.4f} with each question copied, "
      f"{np.std(whole):.4f} if copies are drawn together")
assert abs(np.std(copied) / np.std(once) - math.sqrt(0.5)) < 0.06

# %% [markdown]
# > **Your turn: 12.4 `bootstrap_interval`** (10 min), lines to put in order.

# %% [markdown]
# ## 8. How many questions?
#
# Before you build a test, ask what it could show. Let two models disagree on a share ω of the questions, and differ by
# δ. You will say "different" if the difference is larger than 1.96 standard errors, and want to say so in 80 of 100
# experiments: a **power** of 0.8. Then the difference must be 1.96 + 0.84 standard errors, and with the formula above
#
# $$n = (1.96 + 0.84)^2 \; \frac{\omega - \delta^2}{\delta^2}$$
#
# (0.84 is what 80 of 100 normal numbers stay below.) **Predict.** You want to see a difference half as large. How many
# times as many questions do you need, about?

# %%
guess = None
reveal("12.p4", guess)

# %%
def questions_for(difference, disagree, z=1.96 + 0.8416):
    return math.ceil(z**2 * (disagree - difference**2) / difference**2)


def seen_in(n, difference, disagree, worlds=4000):
    """The share of simulated experiments in which the difference is larger than 1.96 errors"""
    better, worse = (disagree + difference) / 2, (disagree - difference) / 2
    b, c, _ = dice.multinomial(n, [better, worse, 1 - disagree], worlds).T
    error = np.sqrt(b + c - (b - c) ** 2 / n) / n
    return np.mean((b - c) / n > 1.96 * np.maximum(error, 1e-12))


print("difference   disagree   questions   seen, in simulation")
for difference in (0.10, 0.05, 0.03, 0.01):
    for disagree in (0.15, 0.3):
        needed = questions_for(difference, disagree)
        power = seen_in(needed, difference, disagree)
        print(f"{difference:>10.2f} {disagree:>10.2f} {needed:>11,} {power:>15.0%}")
        assert 0.74 < power < 0.87

# %%
fig, ax = figure(width=6, height=2.5)
disagree = float(np.mean(right != half))
sizes = np.unique(np.geomspace(20, 6000, 25).astype(int))
for difference, color, style in ((0.1, GREEN, "-."), (0.05, BLUE, "-"), (0.02, VERMILLION, "--")):
    if difference < disagree:
        curve = [seen_in(m, difference, disagree, 1500) for m in sizes]
        ax.semilogx(sizes, curve, style, color=color, label=f"difference {difference}")
ax.axhline(0.8, color=GREY, linestyle=":")
ax.axvline(len(pairs), color=BLACK, linewidth=0.8)
ax.text(len(pairs) * 1.05, 0.02, "ours", fontsize=8)
ax.set(xlabel="questions", ylabel="share that sees it", ylim=(0, 1.02))
ax.legend(frameon=False, loc="lower right", fontsize=8)
show(fig, alt="Share of experiments that see a difference against the number of questions: each "
              "curve climbs from near zero to one, the smaller the difference the later.")
least = next(x / 1000 for x in range(1, 999)  # models that differ by x disagree at least as much
             if questions_for(x / 1000, max(disagree, x / 1000)) <= len(pairs))  # fmt: skip
print(f"two models that disagree as ours do ({disagree:.0%}): with {len(pairs)} questions we see "
      f"differences from about {least:.3f} on")  # fmt: skip

# %% [markdown]
# That is the *smallest visible difference* of our probe. With thirty questions to a phenomenon, only giants can be
# told apart. An experiment whose power is low has a second vice: what it does find is too large, because only
# exaggerated differences pass (the winner's curse of lesson 11).
#
# > **Your turn: 12.5 `items_needed`** (12 min).

# %% [markdown] tags=["slide"]
# ### Is the difference real?
#
# - same questions for both: only disagreement counts
# - bootstrap = formula, where there is a formula
# - half of the difference, four times the questions

# %% [markdown]
# ## 9. Noise that no question removes: neighbours and seeds
#
# Ask a thousand times as many questions, and the error of items is gone. Two others stay. Train a little longer, and
# the score moves up and down although the model only gets better; here are **neighbouring checkpoints** of the run of
# section 1:

# %%
steps = list(NEIGHBOURS)
wobble = np.array([marks(at_step(step), pairs).mean() for step in steps])
texts = [d.text for d in told if held_out(d.id) and d.domain in plain][:25]
bpb = np.array([bits_per_byte(at_step(step), tokenizer, "\n\n".join(texts)) for step in steps])
moves = np.diff(wobble)
print("step  ", *(f"{s:>6}" for s in steps))
print("pairs ", *(f"{v:6.3f}" for v in wobble))
print("bpb   ", *(f"{v:6.3f}" for v in bpb))
print(f"from neighbour to neighbour pairs move by {np.abs(moves).mean():.3f}, in "
      f"{np.sum(moves < 0)} of {len(moves)} cases downwards; bits per byte fall in "
      f"{np.sum(np.diff(bpb) < 0)}")

# %% [markdown]
# And another **seed** is another model. That takes whole runs, so it is recorded: a model of three layers on twice the
# text, five seeds, trained on half of the tokens, on all of them, and on a contaminated text. Beside it runs the
# smallest arm, live. (Where there is no record yet, the next cell says how to make one; it takes about an hour.)

# %%
try:
    record = recorded("12.evaluation")
    print(record.what, record.sentence(), sep="\n")
    live = record.live()
except UserError as missing:
    record = None
    print(missing)

# %%
def draw_record():
    fig, ax = figure(width=6, height=2.6)
    plot_record(ax, record, record.arms[1:], label=False)
    for arm, color, nudge in (("half", VERMILLION, -0.01), ("clean", GREEN, -0.02),
                              ("contaminated", PURPLE, 0.02)):  # fmt: skip
        label_end(ax, record.x(arm), record.mean(arm)[-1:] + nudge, arm, color)
    plot_live(ax, live.x, live.y, "small, live")
    ax.axhline(0.5, color=GREY, linestyle=":")
    print(live_sentence(record, "small", live))
    show(fig, alt="Share of minimal pairs right against training tokens, mean and interval over "
                  "seeds for each recorded arm, and the small one live; all rise, the contaminated "
                  "one far above the others.")
    print(record.sentence())


if record:
    draw_record()

# %% [markdown]
# (At equal tokens `half` is ahead of `clean`, because its learning rate has already fallen.) Now you can say for each
# probe what it is worth *at this size*. **Signal**: how far does the score move between two models of which one is
# known to be better, half of the tokens and all of them? **Noise**: how far does it move between seeds that differ in
# nothing? Their ratio says whether a single run can show that the training was twice as long. (Heineman et al. 2025
# take the spread of many models as signal and that of the last checkpoints as noise; ours is the noise of seeds.)
#
# The names: `_64` are the facts that are told in 64 documents. `told` is the open cloze in known words, `new` in new
# ones; `options` and `stranger` are section 3's four options. `two_hop` asks over two facts, such as in which town the
# firm of Tilda Marsh is; `copying` asks which word of a repeated list comes next. *Neighbours* is the standard
# deviation over the last five checkpoints, 15 steps apart. The record asks twice as many pairs as this page.

# %%
PROBES = ("pairs", "pairs_60", "told_64", "new_64", "options_64", "stranger_64", "two_hop",
          "copying", "bpb")  # fmt: skip
if record:
    print("probe         half     all   noise of seeds   neighbours   signal / noise")
    for name in PROBES:
        less, more = (record.numbers(arm, name) for arm in ("half", "clean"))
        seeds = math.sqrt((less.var(ddof=1) + more.var(ddof=1)) / 2)
        near = record.numbers("clean", f"{name}_wobble").mean()
        ratio = abs(more.mean() - less.mean()) / max(seeds, 1e-9)
        print(f"{name:<12} {less.mean():>6.3f} {more.mean():>7.3f} {seeds:>12.4f} {near:>14.4f} "
              f"{ratio:>14.1f}")
    early = [record.numbers("small", f"{name}_64").mean() for name in ("options", "stranger")]
    print(f"the small model: four options {early[0]:.2f}, of a stranger {early[1]:.2f}")
    print(f"Recorded, {len(record.seeds)} seeds; each probe's noise is a standard deviation, whose "
          "own interval is wide: read a ratio to within a factor of two")  # fmt: skip

# %% [markdown]
# Three things to look for in that table. Bits per byte have by far the best ratio: they use every token of the text,
# and each token is a question. Sixty pairs (`pairs_60`) and all pairs differ too little in their noise to be told
# apart with five seeds: they are the same sixty each time, and what a seed does to the whole model stays, however many
# questions you ask. And where half of the tokens and all of them score alike, there is no signal: two-hop questions,
# copying and four options show nothing here about which of two such small models is better. That is no flaw of the
# model; it is the wrong instrument at this size. (Read the scores before the ratio. A score near zero has next to no
# noise, and that is no virtue: see `new_64`. And see the line below the table: with more training four options *fell*.
# Most of the early score was never knowledge.)
#
# And what was contamination worth, over seeds?

# %%
if record:
    for name in ("planted", "others"):
        apart = record.numbers("contaminated", name) - record.numbers("clean", name)
        print(f"{name:<8} contaminated minus clean: {apart.mean():+.3f} ± {half_width(apart):.3f}")
    twice = (record.numbers("contaminated", "planted") - record.numbers("clean", "planted")
             - record.numbers("contaminated", "others") + record.numbers("clean", "others"))
    print(f"the copies were worth {twice.mean():+.3f} ± {half_width(twice):.3f} "
          f"(Recorded, {len(twice)} seeds, 95 % interval)")

# %% [markdown]
# Look at the first two rows before the third. The pairs that were on *no* page rise nearly as much as those that were.
# The pages taught the exam: its kinds of sentences and its ways of being wrong. In section 6 the copies themselves
# were about half of the gain; here they are a small rest. Do not conclude that copies matter little: the planted pairs
# are nearly all right, and a score cannot pass 1, so that there was no room to show more. What both runs show is that
# much of the gain comes without a copy of the question. No search for copies will find that part.
#
# > **Your turn: 12.7 `signal_to_noise`** (12 min).

# %% [markdown]
# ## 10. How to read a company's table
#
# Here is a real one. nanochat's leaderboard (`dev/LEADERBOARD.md`, July 2026) lists six records in training a model of
# GPT-2's ability. Each row has a CORE score, a mean over many tests, from one run:

# %%
core = {"first d24": 0.2585, "fp8": 0.2578, "larger batch": 0.2602, "ClimbMix data": 0.2571,
        "autoresearch 1": 0.2690, "autoresearch 2": 0.2626}  # fmt: skip
lowest, highest, runs = 0.2512, 0.2677, 7  # seven runs that differ in nothing, says its log
dice = np.random.default_rng(10)
draws = dice.standard_normal((40_000, runs))
sigma = (highest - lowest) / (draws.max(1) - draws.min(1)).mean()
limit = 1.96 * math.sqrt(2) * sigma
print(f"standard deviation of one run, from the range of {runs}: {sigma:.4f}")
print(f"two single runs of the same recipe differ by more than {limit:.4f} once in twenty times\n")
names = list(core)
for before, after in zip(names, names[1:]):
    step = core[after] - core[before]
    said = "beyond noise" if abs(step) > limit else "cannot be told from noise"
    print(f"{before:>14} → {after:<14} {step:+.4f}: {said}")

# %% [markdown]
# Not one of the five steps stands out by its CORE, and its authors say so themselves: they advise to judge small
# changes by validation loss on fixed data. (The rows also changed in speed, which is what the board ranks; that is
# measured far better.) This is an honest table. Most print no repeated runs at all, so that you have to bring the
# noise along:

# %%
print("claim                                       difference   noise of the questions alone")
for claim, first, second, n in (("MMLU 33 % → 37 %, 14,042 questions", 0.33, 0.37, 14_042),
                                ("HumanEval 60 % → 65 %, 164 problems", 0.60, 0.65, 164),
                                ("a mean of four sets of 500, 62 % → 65 %", 0.62, 0.65, 2000)):
    error = math.sqrt((first * (1 - first) + second * (1 - second)) / n)
    print(f"{claim:<44} {second - first:>9.2f} {1.96 * error:>16.3f}")

# %% [markdown]
# The first row is FineWeb against FineWeb-Edu (Penedo et al. 2024): far beyond the noise of questions, though from few
# seeds. The other two are invented, but typical. On a set of coding problems of this size (that of Chen et al. 2021)
# five points show nothing; and three points of a mean over four tests lie on the line. What to ask, of any table:
#
# | ask | because |
# |---|---|
# | How many questions, and how do they hang together? | sections 2, 7 and exercise 12.8 |
# | What are chance and the simplest rule? | a score of 0.27 of four options is a story about chance (section 3) |
# | Same format for all: shots, rule for length, letters or cloze, same program? | section 4 moved the score without touching the model |
# | One run, or several? Which checkpoint, chosen by what? | section 9; the best of many is too good |
# | Who could have seen the questions? | section 6 |
# | Paired, on the same questions? | it may rescue a difference that looks too small (section 7) |
# | Which rows are missing? | somebody chose the tests as well |
#
# > **Your turn: 12.8 `clustered_error`** (20 min), unaided: the assistant stays off.

# %% [markdown] tags=["slide"]
# ### Reading a table
#
# - how many questions, clusters, seeds, checkpoints?
# - chance and the simplest rule; one format for all
# - who could have seen the questions, and which rows are missing?

# %% [markdown]
# ## 11. An exhibit
#
# From the failure museum of lesson 13. Somebody was very pleased with this run.

# %%
museum.show(1)

# %% [markdown]
# **Predict.** What happened in this run? One of: `val_in_train` · `duplicated_data` · `eval_in_train_mode` ·
# `tokenizer_mismatch` · `unshuffled` · `future_leak`. Compare the two losses with those of the healthy run,
# `museum.show(0)`, and ask which *third* text would decide.

# %%
guess = None
reveal("12.p5", guess)

# %% [markdown]
# One experiment decides. Open it after your guess:

# %%
print(museum.experiment(1, "fresh_text"))

# %% [markdown]
# ## 12. One paper
#
# **[Miller 2024](https://arxiv.org/abs/2411.00640), Adding Error Bars to Evals.** Sections 2 to 5 are this lesson's
# sections 2, 7 and 8, with clusters and with models that answer differently each time. Three questions. *What was held
# fixed*, when it calls a question a draw from a larger population? *What would change your mind* about an error bar
# over questions: which noise of section 9 is not in it? *Which number can you recompute?* In its section on power, a
# difference of three points, an error rate of 5 %, a power of 80 % and a variance of 1/9 for the difference of two
# models on one question need 969 questions.
#
# **Predict** first by rough mental arithmetic: is it nearer to 100, to 1,000 or to 10,000?

# %%
guess = None
reveal("12.p6", guess)

# %%
from statistics import NormalDist

z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.80)
needed = z**2 * (1 / 9) / 0.03**2
print(f"recomputed: {needed:.1f} questions, printed in the paper: 969")
assert round(needed) == 969

# %% [markdown]
# Its formula and ours are one: the variance of a question's difference, which is 1, 0 or −1, is ω − δ² where the
# models disagree on a share ω. So 1/9 means that they disagree on about one question in nine. Models that disagree
# more need more questions.
#
# ## Summary
#
# 1. Ask by comparing likelihoods. Every score has a chance level, a number of questions and an interval.
# 2. Build a control without what you claim to measure: a stranger's name kept the score. Rules for length, letters and shots are part of the question.
# 3. Hold out what will be new in use: documents, sources, time. Plant questions to learn what contamination is worth; searching for runs of words finds copies only.
# 4. Compare on the same questions. Only disagreement counts, the bootstrap agrees with the formula, and half of the difference takes four times the questions.
# 5. Seeds and neighbouring checkpoints make noise that no question removes. Know each probe's signal-to-noise ratio at your size, and ask it of every table.
#
# Next: lesson 13 breaks runs on purpose, and you find the cause.

# %% tags=["timing"]
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
