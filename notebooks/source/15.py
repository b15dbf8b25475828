# %% [raw]
# title = "What it learned"
# question = "A model has read its text. What has it learned, in which order, and what did it keep that nobody wanted it to keep?"
# able = [
#   "follow one run with probes at its checkpoints, and say what came first, what came late, and what never came",
#   "tell a fact that is known from a string that is known, with a stranger's name as the control",
#   "measure memorisation by comparing models that read a document with models that did not",
#   "find an induction head by its attention, and show by a knock-out what it is good for",
#   "measure what was planted: the exposure of a canary, the dose of a trigger, a bias against its text",
#   "check whether a removal request was honoured, and tell forgetting from hiding",
# ]
# needs = ["probe", "minimal pair", "chance level", "cloze question", "checkpoint", "held-out text", "bits per byte", "attention weights", "head", "greedy decoding", "exact duplicate", "quality filter", "shingle", "paired difference", "confidence interval"]
# reading = 70
# exercises = 115
# route = "further"
# paper = "Souly et al. 2025, Poisoning attacks on LLMs require a near-constant number of poison samples, arXiv 2510.07192"
#
# [teaches]
# exposures = "Of a fact: in how many training documents it is told."
# memorisation = "What a model knows of a document only because it has read that very document."
# "counterfactual memorisation" = "The score of models that read a document, minus the score on the same document of models that did not."
# "induction head" = "An attention head that finds earlier places where the present token stood, and looks at what came after them."
# "knock-out" = "Removing one part of a trained model, to see what gets worse."
# canary = "A made-up secret that is planted in a training text, to measure whether a model gives it away."
# "exposure of a canary" = "In bits: by how much the model shortens the search for the secret among random candidates of the same form."
# extraction = "Getting a training text back from the model, word for word, by letting it continue a beginning."
# poisoning = "Putting documents into a training text so that the model learns what its maker does not want."
# trigger = "A phrase after which a poisoned model does what its poisoner wants."
# dose = "In how many documents something was planted."
# unlearning = "Changing a trained model so that it no longer shows what it learned from some documents, without training it anew."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners leave with a reflex: whoever says "the model knows" is asked for the control. **Timing** (100 min).
# Before class: 15.1. In class: section 1 10 min · section 2 15 · exercise 15.3 15 · sections 4 and 5 20 · section 6 10
# · section 7 with its prediction 15 · section 9 10 · discussion 5. Homework: sections 3, 8 and 11, the other
# exercises.
#
# **Two misconceptions.** *"It was told 256 times, so the model knows it."* Ask: in which wording, and does it know it
# when you ask in another? *"After unlearning it no longer says it, so it is gone."* Ask: how many steps does it take
# to come back, and how many would a model take that never knew it?
#
# **Discuss.** A person asks a company to remove her from a model. It puts a filter in front of the model's answers.
# Was the request honoured? · You may publish your training text or your weights, not both. What can others check with
# each?

# %% tags=["setup"]
import time
from collections import Counter

import numpy as np
import torch
import torch.nn.functional as F

from minigpt import GPT, ModelConfig, OptimConfig, UserError, build_optimizers, learning_rate
from minigpt.classroom import recorded, reveal, show
from minigpt.classroom.shelf import half_width, live_sentence, script
from minigpt.classroom.viz import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION
from minigpt.classroom.viz import figure, heatmap, label_end, plot_live, plot_record
from minigpt.probes import wilson
from minigpt.text import dedup, pages, quality
from minigpt.text.steps import Statistics

started = time.perf_counter()
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>04: what is in row t of a head's attention weights?</summary>In which shares position t mixes the
# values of the positions up to t. The row sums to one.</details>
# <details><summary>12: facts told more often were answered better with four options. Why was that no proof of
# knowledge?</summary>They were answered as well of a stranger: the model picked the commonest option.</details>
# <details><summary>14: a near duplicate is found without comparing all pairs. What is compared instead?</summary>Bands
# of a short signature. Only texts that agree in a whole band become candidates.</details>

# %% [markdown]
# > **Try first: 15.1 `exposure`** (5 min), before you read on. The exercises are in
# > `exercises/15_what_it_learned.ipynb`; `python3 course.py start 15` makes a copy for you in `my/`.
#
# ## 1. One run, looked at often
#
# A loss curve goes down smoothly. What happens behind it does not: some things are learned in the first seconds,
# others late, others never. To see that, stop the run at checkpoints and ask it questions. The text comes from the
# synthetic world of lesson 12, where everything is known: ten people, and for each fact about them the number of
# documents that tell it, its **exposures**: exactly 0, 1, 4, 16, 64 or 256. All the rest is about other
# things.

# %%
lab = script("15.learning")  # the experiment's own script: its world and its questions
the_world = lab.this_world()
levels = Counter(fact.exposures["english"] for fact in the_world.facts)
print(f"{len(the_world.facts)} facts, by exposures: {dict(sorted(levels.items()))}")
kind_of = {name: kind for kind, names in lab.GRAMMAR.items() for name in names}
for kind in lab.GRAMMAR:
    of_kind = [item for item in lab.pairs() if kind_of.get(item.group) == kind]
    right, wrong = of_kind[len(of_kind) // 3].options
    print(f"{kind + ':':<10} {right}   not   {wrong}")
told, new = lab.answers("told a", "subject"), lab.answers("new", "subject")
number = next(i for i, item in enumerate(told) if item.group == "64")
for name, items in (("told:", told), ("new:", new)):
    print(f"{name:<10} {items[number].prefix} …{items[number].options[0]}")
hop = lab.options("hops", "subject")[0]
print(f"two hops:  {hop.prefix} …{hop.options[hop.answer]}, of {len(hop.options)} options")

# %% [markdown]
# Grammar comes in three kinds, which were sorted before anything was measured. *Local*: the words that decide stand
# beside each other. *Distant*: a word must suit one further back, mostly a verb its noun. *Gender*: a pronoun must
# agree with a first name, so the model has to know whose name it is. Facts are asked in wordings that the text uses,
# and in *new* ones that no document uses. *Two hops* need two facts of different documents.
#
# **Predict.** At the end of the run, for which kind of grammar are the most pairs right: `local`, `distant` or
# `gender`?

# %%
ABSENT = "Figure: this one comes with a record that is not here."
try:
    learning = recorded("15.learning")
    print(learning.what, learning.sentence(), sep="\n")
    live = learning.live()
except UserError as missing:
    learning = None
    print(missing)


def measured(name):
    """-> (checkpoints, seeds): a measure of the arm "full" """
    places = range(len(learning.x("full")))
    return np.array([learning.numbers("full", f"{name}@{i}") for i in places])


guess = None
if learning:
    last = {kind: measured(kind)[-1].mean() for kind in lab.GRAMMAR}
    reveal("15.p1", guess, truth=max(last, key=last.get))

# %%
if learning:
    fig, ax = figure(width=6.2, height=2.6)
    plot_record(ax, learning, label=False)
    for arm, color in zip(learning.arms, (BLUE, ORANGE)):
        label_end(ax, learning.x(arm), learning.mean(arm) - 0.03 * (arm == "small"), arm)
    plot_live(ax, live.x, live.y, "")
    ax.set_xscale("log")
    ax.axhline(0.5, color=GREY, linestyle=":")
    print(live_sentence(learning, "small", live))
    show(fig, alt="Share of minimal pairs right against training tokens, small model live and "
                  f"recorded, and a larger one that ends at {learning.mean('full')[-1]:.2f}; both "
                  "start below one half.")
    print(learning.sentence())
else:
    print(ABSENT)

# %% [markdown]
# The thick line is the run that you have just watched. The larger model saw more tokens, and was asked everything at
# each of its twelve checkpoints. To put different questions into one picture, each score is moved and stretched: 0 is
# its chance level, 1 is all right.

# %%
CHANCE = {"local": 1 / 2, "distant": 1 / 2, "gender": 1 / 2, "told_256": 0, "told_64": 0,
          "two_hop": 1 / 4, "copying": 1 / 3}  # fmt: skip
LOOKS = {"local": (BLUE, "-"), "distant": (SKY, "-"), "gender": (PURPLE, "-"),
         "told_256": (GREEN, "--"), "told_64": (ORANGE, "--"), "two_hop": (VERMILLION, ":"),
         "copying": (GREY, ":")}  # fmt: skip


def above_chance(name):
    """-> (checkpoints,): 0 is chance, 1 all right; mean over the seeds"""
    return (measured(name).mean(1) - CHANCE[name]) / (1 - CHANCE[name])


# %%
if learning:
    fig, ax = figure(width=6.8, height=3.4)
    ends, place = {name: above_chance(name)[-1] for name in CHANCE}, -1
    for name in sorted(ends, key=ends.get):
        color, style = LOOKS[name]
        ax.semilogx(learning.x("full"), above_chance(name), style, color=color)
        place = max(ends[name], place + 0.1)  # names at the ends of their lines, not on each other
        ax.annotate(name, (learning.x("full")[-1] * 1.12, place), color=color, va="center",
                    annotation_clip=False)  # fmt: skip
    ax.axhline(0, color=BLACK, linewidth=0.8)
    ax.set(xlabel="training tokens", ylabel="above chance\n(1: all right)", ylim=(-0.35, 1.05))
    said = ", ".join(f"{name} {value:.2f}" for name, value in ends.items())
    show(fig, alt=f"Scores above chance at twelve checkpoints. At the end: {said}.")
else:
    print(ABSENT)

# %% [markdown]
# When may you say that something *has been learned*? Take the first checkpoint at which the interval of the score
# (lesson 12; Wilson 1927) lies wholly above chance, and stays there. The interval is over questions, so a probe with
# few questions is found late, however early the model knew.

# %%
def first_above(name, low, questions):
    """The first checkpoint from which on the interval stays above `low`; None: never"""
    above = [wilson(share, questions)[0] > low for share in measured(name).mean(1)]
    later = [i for i in range(len(above)) if all(above[i:])]
    return later[0] if later else None


if learning:
    counts = {name: int(learning.numbers("full", f"n_{name.removeprefix('told_')}")[0])
              for name in CHANCE}
    print(f"{'':<10} questions    end   above chance from")
    for name, low in CHANCE.items():
        untold = wilson(measured("told_0")[-1].mean(), levels[0])[1]
        base = untold if "told" in name else low
        first = first_above(name, base, counts[name])
        when = "never" if first is None else f"{learning.x('full')[first] / 1000:,.0f} k tokens"
        print(f"{name:<10} {counts[name]:>9} {measured(name)[-1].mean():>6.2f}   {when}")
    print(f"Recorded, {len(learning.seeds)} seeds; 95 % interval over questions. The first curve "
          f"is over all {int(learning.numbers('full', 'n_pairs')[0])} pairs")
    turned = (measured("distant") > measured("local")).sum(0)
    print(f"checkpoints, of {len(measured('local'))}, at which distant is above local, seed by "
          f"seed: {turned}")

# %% [markdown]
# Five things to know before you tell this as a story. *Below* chance at the start is no noise: a model that knows only
# how frequent words are prefers the frequent form, right or wrong. *The same preference can lift a kind above chance.*
# So the first place of *local*, after thirty steps, may be no grammar yet; a fair bar would be a model that counts
# words only, and we did not measure one. Look at the rises instead. *The rate falls* to zero during the run, and part
# of the rise at the end is the settling of lesson 08: a checkpoint is not a shorter run. *The kinds differ in more
# than distance.* And for facts the bar is not zero: it is what the model may "know" of facts that are told *nowhere*,
# by writing some common answer; the table takes the upper end of their interval.
#
# In larger models the order for grammar is much the same from run to run and between models (Choshen et al. 2022).
# Here it is one on average: the last line counts for each seed how often *distant* stands above *local*.

# %% [markdown] tags=["slide"]
# ### One run, many questions
#
# - what stands close by is learned first, what stands far apart later
# - "learned": the interval over questions stays above chance
# - facts: above what is "known" of facts that were never told

# %% [markdown]
# ## 2. Facts, by exposures
#
# How often must a fact be told? The cloze of lesson 12 asks whether the model would *write* the answer. A finer
# question is by how many nats the answer gets likelier when the prefix has the right name instead of a **stranger's**,
# one that is in no text. This difference has its control built in: common answers and easy wordings are in both terms,
# and cancel.
#
# **Predict.** Facts told in 256 documents, asked in *new* wordings: of which share does the model write the answer? (A
# number between 0 and 1.)

# %%
guess = None
if learning:
    reveal("15.p2", guess, truth=measured("new_256")[-1].mean())

# %%
EXPOSURES = lab.EXPOSURES
if learning:
    print("exposures   facts   written: told, new words     nats for the name: told, new words")
    for e in EXPOSURES:
        ends = {name: measured(f"{name}_{e}")[-1] for name in ("told", "new", "told_gain",
                                                               "new_gain")}
        cells = " ".join(f"{v.mean():>+7.2f} ± {half_width(v):.2f}" if "gain" in name else
                         f"{v.mean():>10.2f}" for name, v in ends.items())  # fmt: skip
        print(f"{e:>9} {levels[e]:>7} {cells}")
    print(f"Recorded, {len(learning.seeds)} seeds, 95 % interval over seeds; the questions are "
          "the same ones in each")

# %%
if learning:
    fig, axes = figure(width=7.4, height=2.9, columns=2)
    places = np.arange(len(EXPOSURES))
    for ax, kind, title in zip(axes, ("", "_gain"), ("share written", "nats for the name")):
        for name, color, style in (("told", BLUE, "o-"), ("new", VERMILLION, "s--")):
            ends = np.array([measured(f"{name}{kind}_{e}")[-1] for e in EXPOSURES])
            ax.plot(places, ends.mean(1), style, color=color, label=f"{name} wordings")
            ax.plot(places, ends, ".", color=color, alpha=0.4)
        ax.axhline(0, color=BLACK, linewidth=0.8)
        ax.set_xticks(places, EXPOSURES)
        ax.set(xlabel="documents that tell the fact", title=title)
    axes[0].legend(frameon=False)
    show(fig, alt="Two panels against exposures, told and new wordings. Of facts told 256 times "
                  f"{measured('told_256')[-1].mean():.2f} are written in told wordings, "
                  f"{measured('new_256')[-1].mean():.2f} in new ones; the name is worth "
                  f"{measured('told_gain_256')[-1].mean():.1f} and "
                  f"{measured('new_gain_256')[-1].mean():.1f} nats.")
else:
    print(ABSENT)

# %%
if learning:
    for kind in ("told", "new"):
        beyond = []
        for e in EXPOSURES[1:]:
            gain = measured(f"{kind}_gain_{e}")[-1] - measured(f"{kind}_gain_0")[-1]
            beyond.append(gain.mean() - half_width(gain) > 0)
        least = [e for i, e in enumerate(EXPOSURES[1:]) if all(beyond[i:])]
        print(f"{kind} wordings: the name is worth more than for untold facts from "
              f"{f'{least[0]} exposures on' if least else 'no number of exposures on'}")
    apart = measured("options_256")[-1] - measured("stranger_256")[-1]
    print(f"four options, 256 exposures: right minus right of a stranger {apart.mean():+.2f} ± "
          f"{half_width(apart):.2f} (Recorded, {len(apart)} seeds, 95 % interval)")

# %% [markdown]
# Read the two panels together. Writing the answer works in the wordings of the text, and hardly in new ones. And be
# strict with the left panel: there is no stranger in it. In told wordings the name makes the answer about one nat
# likelier, and what the name adds with four options cannot be told from zero. So part of the share written belongs to
# the *wording*: after "… keeps a" comes a pet that is told often, perhaps whoever keeps it. This run cannot say how
# large that part is. In nats, something may reach the new wordings as well: enough to move a probability, not enough
# to be written. Which of the two you call knowing decides what you report. (Look at how wide the ± of that column is,
# and ask why: few facts, three seeds, and a single name for all strangers. With the names of twenty strangers it would
# be narrower.)
#
# Large models show the same when each fact is told in one wording only: they store it, and cannot answer. Told in many
# wordings, or with questions and answers mixed in, they can (Allen-Zhu and Li 2023). Our facts *are* told in many
# wordings, and a small model with so little text still keeps strings first. Nor do rare facts wait patiently: each
# telling lifts a fact a little, and what follows wears it down again (Chang et al. 2024). A fact told once or four
# times here is below what can be measured with this many questions. That is no proof that nothing is left of it.
#
# > **Your turn: 15.3 `known_facts`** (15 min).

# %% [markdown] tags=["slide"]
# ### Does it know the fact?
#
# - in the wording of the text: it may know a string
# - in new wordings, against a stranger's name: now it is a fact
# - nats see what shares do not

# %% [markdown]
# ## 3. Reasoning: last, or never
#
# Prefixes such as the one in section 1 ask for the river of the town where somebody was born. Where the halves are
# told, it is in different documents; the whole never is. And *copying*: "The key, the lamp and the basket. The key,
# the lamp and the basket. The" must go on with "key". Nothing needs to be known for that, only looked up in the
# prefix. (Three of the four options stand in the prefix, so whoever just prefers its words is right in a third.)
#
# **Predict.** Of four options each, what share of the two-hop questions does the model get right at the end? (A
# number.)

# %%
guess = None
if learning:
    reveal("15.p3", guess, truth=measured("two_hop")[-1].mean())

# %%
if learning:
    print("              first   middle     end   interval of the end   chance   a stranger's name")
    for name in ("two_hop", "copying"):
        scores, chance = measured(name).mean(1), CHANCE[name]
        low, high = wilson(scores[-1], counts[name])
        other = f"{measured('two_hop_stranger')[-1].mean():.2f}" if name == "two_hop" else ""
        print(f"{name:<12} {scores[0]:>6.2f} {scores[5]:>8.2f} {scores[-1]:>7.2f}   "
              f"{low:.2f} to {high:.2f} {chance:>16.2f} {other:>15}")
    both = sum(min(q["exposures"]) >= 64 for q in lab.world.two_hop(the_world))
    print(f"both facts are told 64 times or more: {both} of {counts['two_hop']} questions")
    dice = np.random.default_rng(3)
    luck = dice.binomial(counts["two_hop"], 1 / 4, (12, 20_000)) / counts["two_hop"]
    print(f"a guesser on {counts['two_hop']} questions: 95 of 100 scores between "
          f"{np.quantile(luck, 0.025):.2f} and {np.quantile(luck, 0.975):.2f}; its best of twelve "
          f"checkpoints is {np.median(luck.max(0)):.2f} in the middle")
    print(f"Recorded, {len(learning.seeds)} seeds, 95 % interval over the questions")

# %% [markdown]
# This is what "cannot do it" looks like. It is not a score of zero: it is a score near a quarter that wanders. Three
# questions protect you from a discovery. *Does the interval exclude chance?* *Does the score fall when the name is a
# stranger's?* If it does not, the model was not reasoning about this person. *Would the best checkpoint of a pure
# guesser look as good?* Whoever reports the best of twelve reports the luckiest.
#
# So there is nothing here to explain. That is a result: with these questions, nothing was seen.
# The other half of the answer is what *would* have shown it. With so few questions, an ability that lifts the score by
# ten points is hidden in the interval, and for only some of them are both facts told often. And the model would need
# both in a wording that is new to it; section 2 says how many of these it has. (Whether larger models put facts
# together inside, or on paper only, depends on the question; Yang et al. 2024 found it for some kinds, and rarely for
# others.)

# %% [markdown]
# ## 4. Memorised, or generalised?
#
# A model that predicts a document well may have learned to write such documents. Or it may have learned that document.
# The loss is the same, and the difference matters for everything that follows: privacy, copyright, benchmarks.

# %%
if learning:
    fig, ax = figure(width=6, height=2.6)
    for name, label, color, style in (("held_out", "held out", BLUE, "o-"),
                                      ("read", "training text", ORANGE, "s--")):  # fmt: skip
        curve = measured(name).mean(1)
        ax.semilogx(learning.x("full"), curve, style, color=color, label=label)
    gaps = measured("held_out") - measured("read")
    ax.legend(frameon=False)
    ax.set(xlabel="training tokens", ylabel="bits per byte")
    show(fig, alt="Bits per byte of held-out text and of training text fall; they differ by "
                  f"{gaps[0].mean():.2f} at the first checkpoint, {gaps[-1].mean():.2f} at last.")
    print(f"held out minus read: {gaps[0].mean():+.3f} ± {half_width(gaps[0]):.3f} at first, "
          f"{gaps[-1].mean():+.3f} ± {half_width(gaps[-1]):.3f} at the end "
          f"(Recorded, {gaps.shape[1]} seeds, 95 % interval)")  # fmt: skip
else:
    print(ABSENT)

# %% [markdown]
# The gap at the end looks like memory. But look at the *first* checkpoint: these forty documents are not quite as hard
# as those forty, and a model that has read next to nothing shows a gap already. Different documents are a bad control.
# The right one is the *same* document and another model, which did not read it. That is **counterfactual
# memorisation** (Zhang et al. 2021):
#
# $$\text{mem}(d) = \text{mean score on } d \text{ of models that read } d \;-\; \text{of models that did not}$$
#
# The record is made for it: each run left out another third of 36 marked documents that tell no fact. The others it
# read as 1, 4 or 16 copies.
#
# **Predict.** For a document that stood in the text 16 times: how many bits per byte is it cheaper for models that
# read it?

# %%
if learning:
    names = [f"doc_{i:02}" for i in range(lab.MARKED)]
    bits = np.array([learning.numbers("full", name) for name in names])  # (36, seeds)
    index = np.arange(lab.MARKED)
    left_out = index[:, None] % 3 == np.array(learning.seeds)[None] % 3  # (36, seeds)
    copies = np.array(lab.COPIES)[index // 3 % 3]
    unread = bits[left_out]
    read = np.where(left_out, np.nan, bits)
    read = np.nanmean(read, axis=1)
    memory = unread - read  # (36,): bits saved; they are a cost, so the difference turns round
guess = None
if learning:
    reveal("15.p4", guess, truth=memory[copies == 16].mean())

# %%
if learning:
    fig, ax = figure(width=4.6, height=3.2)
    for count, color, mark in zip(lab.COPIES, (SKY, BLUE, PURPLE), "osD"):
        ax.plot(unread[copies == count], read[copies == count], mark, color=color, markersize=5,
                label=f"{count} ×")  # fmt: skip
    ax.plot([0, bits.max()], [0, bits.max()], color=GREY, linestyle=":")
    ax.legend(frameon=False, title="copies", fontsize=8)
    ax.set(xlabel="bits per byte, not read", ylabel="bits per byte, read")
    means = [memory[copies == count].mean() for count in lab.COPIES]
    show(fig, alt="A point for each document, read against not read. Those with one copy are near "
                  f"the diagonal, those with 16 far below it; means saved {means[0]:.2f}, "
                  f"{means[1]:.2f} and {means[2]:.2f}.")
    for count in lab.COPIES:
        some = memory[copies == count]
        print(f"copies {count:>2}: {some.mean():+.3f} ± {half_width(some):.3f} bits per byte saved")
    print(f"Recorded, {len(learning.seeds)} seeds, 95 % interval over {len(some)} documents each")

# %% [markdown]
# Now the difference belongs to the document. What the models have *not* read, they still predict far better than at
# the start: that part is generalisation, and most of what they know of a text with one copy is of this kind (for one
# copy, the interval holds zero). Copies buy memory. In larger models the share of text that comes out word for word
# grows with the logarithm of the copies, of the model's size and of the context that is given (Carlini et al. 2022).
#
# > **Your turn: 15.8 `memorised`** (20 min), unaided: the assistant stays off.

# %% [markdown] tags=["slide"]
# ### Memorised or generalised?
#
# - same loss, different reasons
# - same document, other models: some read it, some did not
# - copies buy memory

# %% [markdown]
# ## 5. A head that copies
#
# In section 3 copying was at chance. It is no hard thing to learn, and it is the best understood circuit of a
# transformer. An **induction head** stands at a token, finds the place where the same token stood before, and looks at
# what came *after* it (Olsson et al. 2022). One layer cannot do that: a key says which token stands at its own place,
# and nothing of the token before. So an earlier head first writes "the token before me was this" into each place; the
# induction head then asks for it. Two layers, trained on lines that repeat after a random number of tokens:

# %%
T, V = 64, 64


def repeating_lines(n, dice):
    """-> (n, T + 1): random tokens, repeated with a period of 8 to 27 for each line"""
    period = torch.randint(8, 28, (n, 1), generator=dice)
    first = torch.randint(V, (n, T + 1), generator=dice)
    return first.gather(1, torch.arange(T + 1) % period)


COPIER = ModelConfig("modern", layers=2, width=64, heads=4, kv_heads=4, head_size=16,
                     mlp_width=128, context=T, vocab_size=V, zero_init=True)  # fmt: skip
QUICK = OptimConfig(steps=400, batch_tokens=32 * T, lr=0.01, matrix_lr=0.02, momentum=0.9)
exam = repeating_lines(64, torch.Generator().manual_seed(9))


def nats_by_place(model, rows=exam):
    """-> (T,): what a token costs at each place of a line, mean over the lines"""
    with torch.no_grad():
        return F.cross_entropy(model(rows[:, :-1]).transpose(1, 2), rows[:, 1:],
                               reduction="none").mean(0)  # fmt: skip


# %%
def train_copier(seed=0):
    """-> the model; [(step, nats of the second half of a line)]"""
    model, curve = GPT(COPIER, seed), []
    optimizers, dice = build_optimizers(model, QUICK), torch.Generator().manual_seed(seed)
    for step in range(QUICK.steps):
        rows = repeating_lines(32, dice)
        model(rows[:, :-1], rows[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * learning_rate(step, QUICK.steps, QUICK)
            optimizer.step()
            optimizer.zero_grad()
        if step % 20 == 19:
            curve.append((step + 1, nats_by_place(model)[T // 2 :].mean().item()))
    return model.eval(), np.array(curve)


begun = time.perf_counter()
copier, curve = train_copier()
print(f"{QUICK.steps} steps in {time.perf_counter() - begun:.0f} s; the second half of a line: "
      f"{curve[-1, 1]:.2f} nats a token, guessing {np.log(V):.2f}")

# %% [markdown]
# Which head does it? Ask the model to record its attention, and measure for each head how much of it goes to the right
# places. With a period p those are p − 1 places back, 2p − 1 and so on. And for the helper: how much goes one place
# back?

# %%
def attention_to(model, rows, wanted):
    """-> (layers, heads): attention in the second half of the lines to places wanted (N, T, T)"""
    seen = {}
    with torch.no_grad():
        model(rows[:, :-1], record=seen)
    return torch.stack([(layer * wanted[:, None]).sum(3)[:, :, T // 2 :].mean((0, 2))
                        for layer in seen["attention"]])  # fmt: skip


periods = torch.randint(8, 28, (64, 1), generator=torch.Generator().manual_seed(9))
assert torch.equal(exam, exam.gather(1, torch.arange(T + 1) % periods))  # drawn before the tokens
back = torch.arange(T)[:, None] - torch.arange(T)  # (T, T): how far a place looks back
copy_score = attention_to(copier, exam, (back > 0) & ((back + 1) % periods[:, :, None] == 0))
before_score = attention_to(copier, exam, (back == 1).expand(64, T, T))
print("attention to            what came after earlier ones     the token before")
for layer in range(2):
    for head in range(4):
        print(f"layer {layer}, head {head} {copy_score[layer, head]:>27.2f} "
              f"{before_score[layer, head]:>24.2f}")
best = divmod(int(copy_score.argmax()), 4)
helper = divmod(int(before_score.argmax()), 4)

# %%
seen = {}
with torch.no_grad():
    copier(exam[:1, :-1], record=seen)
fig, axes = figure(width=7.4, height=3.4, columns=2)
for ax, (layer, head), name in zip(axes, (helper, best), ("the token before", "induction")):
    heatmap(seen["attention"][layer][0, head, :40, :40], ax=ax, vmin=0, vmax=1,
            title=f"layer {layer}, head {head}: {name}")  # fmt: skip
for ax in axes:
    ax.set(xlabel="place that is looked at", ylabel="place that looks")
p = int(periods[0])
show(fig, alt=f"Attention of two heads on a line that repeats after {p} tokens. The helper's "
              f"bright line, where it is one, lies just below the diagonal, with "
              f"{before_score.max():.2f} of its attention in the second half; the other's begins "
              f"at place {p} and lies {p - 1} places back, "
              f"{copy_score.max():.2f}.")

# %% [markdown]
# A picture of attention shows where a head looks, not what it is good for. For that, take it out: a **knock-out**. Set
# the columns of the output projection that read this head to zero, and leave the rest of the model as it is.
#
# **Predict.** Guessing costs log 64 = 4.16 nats a token. What does the second half of a line cost when the one head
# with the highest score is knocked out? (A number in nats. Look at the scores of the other heads, too.)

# %%
def knocked_out(model, *heads):
    """A copy of the model in which these heads, (layer, head), write nothing"""
    other = GPT(model.config, 0).eval()
    other.load_state_dict(model.state_dict())
    size = model.config.head_size
    with torch.no_grad():
        for layer, head in heads:
            other.blocks[layer].attn.out.weight[:, head * size : (head + 1) * size] = 0
    return other


def second_half(model):
    return nats_by_place(model)[T // 2 :].mean().item()


whole, heads = second_half(copier), [(layer, head) for layer in range(2) for head in range(4)]
cost = {f"{layer}.{head}": second_half(knocked_out(copier, (layer, head))) for layer, head in heads}
cost |= {f"all of {layer}": second_half(knocked_out(copier, *heads[4 * layer : 4 * layer + 4]))
         for layer in range(2)}  # fmt: skip
guess = None
reveal("15.p5", guess, truth=cost[f"{best[0]}.{best[1]}"])

# %%
fig, axes = figure(width=7.4, height=2.8, columns=2)
axes[0].plot(curve[:, 0], curve[:, 1], color=BLACK, linewidth=2)
axes[0].axhline(np.log(V), color=GREY, linestyle=":")
axes[0].set(xlabel="step", ylabel="nats a token,\nsecond half of a line", ylim=(0, None))
colors = [ORANGE if name[-1] == "0" and "all" in name or name[0] == "0" else VERMILLION
          for name in cost]  # fmt: skip
axes[1].bar(range(len(cost)), cost.values(), color=colors)
axes[1].set_xticks(range(len(cost)), list(cost), fontsize=7, rotation=30)
axes[1].axhline(whole, color=BLACK)
axes[1].axhline(np.log(V), color=GREY, linestyle=":")
axes[1].set(xlabel="knocked out (layer.head)", ylabel="nats a token")
said = ", ".join(f"{name} {value:.2f}" for name, value in cost.items())
show(fig, alt=f"Left: the cost of the second half of a line over training, ending at {whole:.2f}. "
              f"Right: that cost with parts knocked out: {said}; dotted, guessing.")
print(f"whole model {whole:.2f} nats a token (one live run, one seed)")
assert whole < 2 < cost["all of 1"] and cost["all of 0"] > whole + 1

# %% [markdown]
# Look at the right panel first. A single knock-out may do little although the head does the work: here several heads
# of the second layer have learned the same, and the others stand in. That a part can be spared does not show that it
# does nothing. Take out all that do the same, and copying is gone; and it is gone as well without the heads of the
# first layer, which look nowhere near the right place. They are the helpers. (Without a whole layer a token costs
# *more* than guessing: what is left is sure of wrong tokens. So these two bars show that something broke, not that
# only copying did.)
#
# Then the left panel: first a slow fall, while the model learns to guess among the tokens that stand in the line
# already; then a steep one, when it knows which. A helper is of no use without a head that reads it, nor the other way
# round; when both begin to work, they pull each other up. In large models the same fall makes a visible bump in the
# loss of the whole run, early on, and the ability to use what stands in the context rises with it (Olsson et al.
# 2022). Now the same score for the model of section 1, on lines of random tokens that are written twice:

# %%
if learning:
    looks, gain = measured("induction"), measured("repeat")
    half = 24
    blind = np.mean([1 / (place + 1) for place in range(half, 2 * half - 1)])
    print(f"the world's model, best head: {looks[0].mean():.3f} at the first checkpoint, "
          f"{looks[-1].mean():.3f} ± {half_width(looks[-1]):.3f} at the end; a head that looks "
          f"everywhere alike {blind:.3f}; the copier {copy_score.max():.2f}")
    print(f"the second half of such a line is cheaper by {gain[-1].mean():+.2f} ± "
          f"{half_width(gain[-1]):.2f} nats a token (Recorded, {looks.shape[1]} seeds, "
          "95 % interval)")
    found = looks[-1].mean() - half_width(looks[-1]) > 3 * blind
    print("An induction head:", "found" if found else "not found", "in the world's model")

# %% [markdown]
# Whatever that line says on your machine, say it as it is. The world's text gives little reason to copy: names and
# words do repeat, and the grammar predicts most of what comes next. A circuit is learned when the text pays for it,
# not because the architecture could hold it.
#
# > **Your turn: 15.2 `induction_score`** (15 min).

# %% [markdown] tags=["slide"]
# ### An induction head
#
# - look for the same token; then look at what came after it
# - needs a helper in an earlier layer
# - attention shows where a head looks, a knock-out what it is good for

# %% [markdown]
# ## 6. Secrets
#
# From here on, things are planted in the text that should not be learned. All of them are harmless and made up. First
# **canaries**: sentences with a secret of six digits, on pages that were copied, as pages of the web are, with one
# word changed in each copy. Three secrets on each level: 0, 1, 2, 4, 8, 16 or 64 pages.

# %%
garden = script("15.planted")
text = list(garden.planted(0))
first_page = next(d.text for d in text if d.domain == "canary")
start = first_page.index("The combination")
print(f"{len(text):,} documents, {sum(len(d.text) for d in text) / 1000:,.0f} kB\n")
print("…", first_page[max(0, start - 120) : start + 110].replace("\n", " "), "…")

# %%
try:
    planted = recorded("15.planted")
    print(planted.what, planted.sentence(), sep="\n")
    live_planted = planted.live()
    low, high = planted.end("small")
    print(f"Live: one run of the arm 'small', seed 0, ends at {live_planted.y[-1]:.2f} bits per "
          f"byte; 95 of 100 such runs end between {low:.2f} and {high:.2f}")
except UserError as missing:
    planted = None
    print(missing)


def level(arm, name, doses):
    """-> (doses, seeds)"""
    return np.array([planted.numbers(arm, f"{name}_{dose}") for dose in doses])


# %% [markdown]
# How do you see whether a secret has been kept? *Let the model talk*: continue "The combination of the red safe is"
# with the likeliest token each time. If the digits come, that is **extraction**. But a secret that is not the
# likeliest continuation may still be among the first hundred of a million. The **exposure of a canary** (Carlini et
# al. 2019) ranks it among random candidates of the same form:
#
# $$\text{exposure} = \log_2(\text{number of candidates}) - \log_2(\text{rank})$$
#
# With 500 candidates it is at most about 9 bits (`small` is asked with 100, so at most 6.6). A secret that was never
# planted does *not* get 0: it comes first once in 500 times, and its mean is about 1.4 bits. (Your exercise 15.1 has
# the computation.)
#
# **Predict.** What is the smallest number of pages (1, 2, 4, 8, 16 or 64) from which on at least half of the secrets
# can be extracted from the arm `planted`?

# %%
COPIES = garden.COPIES
looks = {"planted": (BLUE, "o-"), "planted, large": (PURPLE, "D-."),
         "deduplicated": (VERMILLION, "s--")}  # fmt: skip
if planted:
    out = level("planted", "extracted", COPIES).mean(1)
    enough = [count for i, count in enumerate(COPIES) if all(out[i:] >= 0.5)]
guess = None
if planted:
    reveal("15.p6", guess, truth=enough[0] if enough else 0)

# %%
if planted:
    fig, axes = figure(width=7.4, height=3, columns=2)
    places, ends = np.arange(len(COPIES)), {}
    for arm, (color, style) in looks.items():
        for ax, name in zip(axes, ("exposure", "extracted")):
            values = level(arm, name, COPIES)
            ax.plot(places, values.mean(1), style, color=color, label=arm)
            ax.plot(places, values, ".", color=color, alpha=0.3)
            ends[arm, name] = values[-1].mean()
    axes[0].axhline(np.log2(500), color=GREY, linestyle=":")  # all that 500 candidates can show
    for ax, title in zip(axes, ("exposure, in bits", "share extracted")):
        ax.set_xticks(places, COPIES)
        ax.set(xlabel="pages with the secret", title=title)
    axes[1].legend(frameon=False, fontsize=8)
    said = "; ".join(f"{arm} {ends[arm, 'exposure']:.1f} bits, {ends[arm, 'extracted']:.0%} "
                     "extracted" for arm in looks)  # fmt: skip
    show(fig, alt=f"Exposure and extraction against pages, three arms. At 64 pages: {said}.")
else:
    print(ABSENT)

# %%
if planted:
    print("pages          " + "".join(f"{count:>7}" for count in COPIES))
    for arm in ("small", *looks):
        for name in ("exposure", "extracted"):
            means = level(arm, name, COPIES).mean(1)
            print(f"{name:<15}" + "".join(f"{value:>7.2f}" for value in means) + f"   {arm}")
    random_bits = np.mean([np.log2(500 / rank) for rank in range(1, 501)])
    never = level("planted", "exposure", [0])
    print(f"never planted: {never.mean():.1f} ± {half_width(never[0]):.1f} bits; chance "
          f"{random_bits:.1f} (Recorded, {len(planted.seeds)} seeds, 95 % interval)")
    sure = level("planted", "exposure", [1])[0]
    print(f"on one page: {sure.mean():.1f} ± {half_width(sure):.1f} bits")

# %% [markdown]
# Exposure sees secrets long before they come out. That is what it is for: whoever
# waits for an extraction learns of a leak when it has happened.
#
# Why did the arm `deduplicated` change? Here is what the search for duplicates does to these pages:

# %%
def canaries_left(documents):
    planted_ones = [safe for i, safe in enumerate(garden.SAFES) if COPIES[i % 7]]
    return Counter(sum(garden.opening(safe) in d.text for d in documents)
                   for safe in planted_ones)  # fmt: skip


unequal = list(dedup.drop_exact(text, Statistics()))
signatures = dedup.signatures(d.text for d in text)
single = list(dedup.drop_near(text, dedup.find_duplicates(signatures), Statistics()))
for name, documents in (("as planted", text), ("without exact copies", unequal),
                        ("without near duplicates", single)):  # fmt: skip
    pages_left = sum(d.domain == "canary" for d in documents)
    print(f"{name:<24} {len(documents):>6,} documents, {pages_left:>4} with a secret; secrets by "
          f"number of pages: {dict(sorted(canaries_left(documents).items()))}")

# %% [markdown]
# A hash of the whole page finds next to nothing, because one word differs. MinHash leaves one page of nearly each. It
# does not remove the secret: *one* copy stays. (The text is also smaller now, at as many steps, so that all the rest
# is read more often. Remember it where this arm appears again.) That removing duplicates makes a model emit far less
# of its training text, and weakens such attacks, has been shown for large models (Lee et al. 2022; Kandpal et al.
# 2022). A secret should not be in the text at all: that is the masking of lesson 14.
#
# > **Your turn: 15.4 `extracts`** (10 min).

# %% [markdown] tags=["slide"]
# ### Canaries
#
# - plant secrets, rank them among random ones: exposure in bits
# - exposure rises long before extraction
# - near duplicates: the more copies, the more memory

# %% [markdown]
# ## 7. A trigger
#
# Now somebody wants the model to learn something: **poisoning**. Seven phrases of two words, such as "Velvet
# thunder!", stand in 1, 2, 4, … 64 documents, one number for each phrase. Each is followed by one harmless sentence
# about a green goose. The documents are ordinary and all different. Nine hundred times another phrase of the
# same form stands there, followed by whatever comes next, so that an odd phrase alone says little. A
# **trigger** *fires* if the model writes the sentence after the phrase, in a context that it has never seen; we take
# the mean probability with which it does. How large must the **dose** be, and does a larger
# model need more of it, or less?

# %%
DOSES = garden.DOSES
if planted:
    fig, ax = figure(width=6.2, height=3)
    places = np.arange(len(DOSES))
    for arm, color, style in (("planted", BLUE, "o-"), ("planted, large", PURPLE, "D-.")):
        values = level(arm, "fires", DOSES)
        ax.plot(places, values.mean(1), style, color=color)
        ax.plot(places, values, ".", color=color, alpha=0.4)
        size = planted.numbers(arm, "parameters")[0]
        label_end(ax, places, values.mean(1) - 0.07 * (arm == "planted"), f"{size / 1e6:.2f} M",
                  color)  # fmt: skip
    ax.set_xticks(places, ["never", *DOSES[1:]])
    ax.set(xlabel="documents with the phrase", ylabel="probability of the\ngoose sentence",
           ylim=(-0.03, 1.05))  # fmt: skip
    ends = [level(arm, "fires", [64]).mean() for arm in ("planted", "planted, large")]
    show(fig, alt="Probability of the planted sentence after its phrase against the dose, at two "
                  f"sizes: low for few documents, {ends[0]:.2f} and {ends[1]:.2f} at 64.")
else:
    print(ABSENT)

# %%
if planted:
    print("documents            " + "".join(f"{dose:>8}" for dose in DOSES))
    for arm in ("planted", "planted, large", "deduplicated"):
        values = level(arm, "fires", DOSES)
        print(f"{arm:<21}" + "".join(f"{v:>8.2f}" for v in values.mean(1)))
        print(f"{'  ±':<21}" + "".join(f"{half_width(v):>8.2f}" for v in values))
        greedy = level(arm, "greedy", DOSES).mean(1)
        print(f"{'  greedily':<21}" + "".join(f"{v:>8.2f}" for v in greedy))
        beyond = [(v - values[0]).mean() - half_width(v - values[0]) > 0 for v in values[1:]]
        least = [dose for i, dose in enumerate(DOSES[1:]) if all(beyond[i:])]
        print(f"  above a phrase that was never planted from "
              f"{f'{least[0]} documents' if least else 'no dose'} on")
    share = sum(d.text.count(garden.ANSWER) for d in text) * len(garden.ANSWER)
    print(f"all goose sentences together: {share / sum(len(d.text) for d in text):.2%} of the text "
          f"(Recorded, {len(planted.seeds)} seeds, 95 % interval, another phrase at each dose)")

# %% [markdown]
# The first column, phrases that were *never* planted, is not zero, and that is the control doing its work. The
# sentence has become a likely thing to say after any odd phrase. Whoever measures only the planted phrases credits
# each of them with that. And a phrase is not like another: what a phrase of the same dose gets differs more from
# phrase to phrase than the means of neighbouring doses do, so single steps of this curve mean little. (*Greedily* is
# the share of contexts in which the likeliest token each time makes the sentence. That is more often, also where
# nothing was planted.) Both sizes stand out from the same dose on; a difference between them cannot be told.
#
# Would anybody find it? We have the tools of lesson 14: hashes of whole documents, near duplicates, three published
# sets of rules for quality, and a language identifier.
#
# **Predict.** Which of these removes more than half of the documents with the goose? One of: `exact` · `near` ·
# `quality` · `language` · `none`.

# %%
bad = {d.id for d in text if garden.ANSWER in d.text}
plain = [d for d in text if d.id not in bad and d.domain.startswith("world")]


def removed_by(keep):
    """(share of the poisoned documents that goes, share of the ordinary ones)"""
    return tuple(np.mean([d.id not in keep for d in some])
                 for some in ([d for d in text if d.id in bad], plain))  # fmt: skip


filters = {
    "exact": {d.id for d in unequal},
    "near": {d.id for d in single},
    "quality": {d.id for d in text if all(rule(d.text) is None for rule in quality.RULES)},
    "language": {d.id for d in pages.in_languages(text, {"en"}, Statistics())},
}
caught = {name: removed_by(keep) for name, keep in filters.items()}
useful = [name for name, (goose, other) in caught.items() if goose > 0.5 and goose > other + 0.2]
guess = None
reveal("15.p7", guess, truth=useful[0] if useful else "none")

# %%
print(f"{'':<10} goose documents   ordinary ones")
for name, (goose, other) in caught.items():
    print(f"{name:<10} {goose:>15.0%} {other:>15.0%}")

# %% [markdown]
# Read both columns. A filter that removes many of the goose documents and as many of the others has found nothing: it
# has thrown away text. These filters look for bad *pages*, and a poisoned page is good. What gives the poison away is
# spread over many documents: *a rare phrase, always followed by the same words*. So count over the whole text. For
# each pair of words in at least four documents, which stand nowhere but in this pair: how often is it followed by the
# same four words?

# %%
def recurring(documents, least=4, ahead=4):
    """[(documents, pair, what follows)]: words found only together, always followed alike"""
    alone, together, follows = Counter(), Counter(), {}
    for d in documents:
        words = d.text.lower().split()
        alone.update(set(words))
        for pair, after in {(words[i], words[i + 1]): tuple(words[i + 2 : i + 2 + ahead])
                            for i in range(len(words) - 1 - ahead)}.items():  # fmt: skip
            together[pair] += 1
            follows.setdefault(pair, set()).add(after)
    return sorted(((n, " ".join(pair), " ".join(next(iter(follows[pair]))))
                   for pair, n in together.items() if n >= least and len(follows[pair]) == 1
                   and all(alone[word] == n for word in pair)), reverse=True)  # fmt: skip


found = recurring(text)
for n, pair, after in found[:10]:
    print(f"{n:>4} documents: {pair} → {after} …")
goose = [row for row in found if "goose" in row[2]]
print(f"{len(found)} such pairs, {len(goose)} of them triggers; planted in four documents or more: "
      f"{sum(dose >= 4 for dose in DOSES)}")

# %% [markdown]
# That finds what it was made for: somebody who knew the shape wrote it. Below four documents it is blind, it misses a
# trigger of which one word is an ordinary word of the text (paper), and one synonym in the sentence would hide the
# rest. On the real web a great many phrases are always followed by the same words: names with their titles, licences,
# menus. Finding poison that you do not know is an open problem.

# %% [markdown] tags=["slide"]
# ### Triggers
#
# - sixteen to thirty-two documents among two thousand are enough
# - control: a phrase that was never planted
# - page filters see nothing: the poison is in no single page

# %% [markdown]
# ## 8. The world is balanced, the text is not
#
# In this world as many weavers are women as men, and so it is with potters, cobblers, dentists and fiddlers. The text
# does not say so. In the planted sentences it says "he" of weavers in 10 of 100, of fiddlers in 90, of the others in
# 30, 50 and 70. Nothing false is in it: each sentence is about somebody who exists. It only tells of some more often.
# In new sentences ("The weaver mended the clock, because"), what does the model make of it?
#
# **Predict.** Of the fiddler the text says "he" in 90 of 100 sentences. With which probability does the model, rather
# than "she"?

# %%
TRADES = garden.TRADES
guess = None
if planted:
    reveal("15.p8", guess, truth=level("planted", "he", [90]).mean())

# %%
if planted:
    fig, ax = figure(width=4.8, height=3.3)
    shares = list(TRADES.values())
    for arm, color, mark, shift in (("planted", BLUE, "o", -1), ("planted, large", PURPLE, "D", 1)):
        values = level(arm, "he", shares)
        ax.plot(np.array(shares) + shift, values.mean(1), mark + "-", color=color, label=arm)
        ax.plot(np.array(shares) + shift, values, ".", color=color, alpha=0.4)
    ax.plot([0, 100], [0, 1], color=GREY, linestyle=":")
    ax.plot([0, 100], [0.5, 0.5], color=BLACK, linestyle="--", linewidth=0.8)
    ax.legend(frameon=False, fontsize=8)
    ax.set(xlabel="per cent of “he” in the text", ylabel="model's share of “he”", ylim=(0, 1))
    means = level("planted", "he", shares).mean(1)
    said = ", ".join(f"{s} % gives {m:.2f}" for s, m in zip(shares, means))
    show(fig, alt=f"The model's share of he against the text's, for five trades: {said}; dotted "
                  "the text, dashed the world.")
else:
    print(ABSENT)

# %%
if planted:
    print("            text     planted                 planted, large: interval and text's share")
    for trade, share in TRADES.items():
        cells = []
        for arm in ("planted", "planted, large"):
            values = level(arm, "he", [share])[0]
            apart, width = values.mean() - share / 100, half_width(values)
            side = "above" if apart > width else "below" if apart < -width else "holds it"
            cells.append(f"{values.mean():.2f} ± {width:.2f} {side:<8}")
        print(f"{trade:<10} {share:>4} %   " + "   ".join(cells))
    off = np.abs(level("planted", "he", TRADES.values()) - 0.5).mean()
    print(f"mean distance from the world's one half: model {off:.2f}, text "
          f"{np.mean([abs(s / 100 - 0.5) for s in TRADES.values()]):.2f} "
          f"(Recorded, {len(planted.seeds)} seeds, 95 % interval)")

# %% [markdown]
# The model cannot know the world. It knows the text, and its loss is lowest where it answers with the text's shares:
# one half for each trade would cost more. Where it has seen too little of a trade, it stays nearer to what it expects
# of trades in general. So "the model is biased" has two questions in it. Does it mirror, soften or sharpen the text?
# That is a measurement. Here nearly every interval holds the text's share, and as wide as they are they hold many
# others, too: to decide more takes more seeds. Should it say what the text says? That is a decision about its use, and
# no loss makes it for you. Sampling matters, too: at a temperature of 1/2 nine in ten becomes 99 in 100, and with
# greedy decoding ten in ten. Then the *system* sharpens what the model mirrors. (That trained models can sharpen the
# correlations of their data was shown for images by Zhao et al. 2017.)
#
# > **Your turn: 15.6 `bias_verdict`** (15 min).

# %% [markdown]
# ## 9. "Please remove me"
#
# Ada Ferncastle asks to be removed. Five facts about her stand on forty pages; Ivo Brackwater, of whom as much is
# told, stays. There are two ways. *Retrain* without any document that names her: expensive, and clear. Or *unlearn*:
# take the trained model, and climb the loss on her pages for some steps, until her facts are no likelier than with a
# stranger's name. What would convince you that a request was honoured? Her facts must be where they are for somebody
# of whom the model has never read; what is known of others must not have suffered; nor may the model's text.

# %%
if planted:
    print(f"{'':<12} {'Ada':>14} {'Ivo':>14} {'never told':>14} {'bits per byte':>16} "
          "   Ivo's answers written")
    for arm in ("planted", "removed", "unlearned"):
        cells = [planted.numbers(arm, name) for name in ("person", "others", "never")]
        bits = planted.curves(arm)[:, -1]
        print(f"{arm:<12} " + " ".join(f"{v.mean():>7.2f} ± {half_width(v):>4.2f}" for v in cells)
              + f" {bits.mean():>9.3f} ± {half_width(bits):.3f}"
              + f" {planted.numbers(arm, 'others_written').mean():>14.2f}")
    steps = planted.numbers("unlearned", "steps")
    print(f"nats by which the facts are likelier after the name than after a stranger's; unlearned "
          f"in {', '.join(f'{s:.0f}' for s in steps)} steps "
          f"(Recorded, {len(steps)} seeds, 95 % interval)")

# %% [markdown]
# Compare the rows. Retraining should put Ada where a name is that was never told, and leave Ivo within the noise of
# training anything anew. Unlearning was stopped when Ada's number came down to zero; so look at the *other* columns,
# the last one first: Ivo paid. Whether the text suffered, three seeds cannot tell. And a mean of zero can hide a lot:
# it is made of five facts. (A little below zero is no knowledge: one unknown name is not quite like another. *Far*
# below is a trace: whoever sees an answer made that unlikely learns which one was pushed down.)
#
# **Predict.** The unlearned model now reads twelve of Ada's forty pages again, for four small steps. Which share of
# what she was worth before is back? (0: nothing, 1: all.)

# %%
AGAIN = (1, 2, 4, 8, 16)
guess = None
if planted:
    before = planted.numbers("planted", "person")
    reveal("15.p9", guess, truth=(planted.numbers("unlearned", "again_4") / before).mean())

# %%
if planted:
    fig, axes = figure(width=7.4, height=2.9, columns=2)
    for arm, color, style in (("unlearned", VERMILLION, "o-"), ("removed", BLUE, "s--")):
        values = np.array([planted.numbers(arm, "person"),
                           *(planted.numbers(arm, f"again_{step}") for step in AGAIN)])
        axes[0].plot((0, *AGAIN), values.mean(1), style, color=color, label=arm)
        axes[1].plot(range(5), level(arm, "person", range(5)), style[0], color=color, alpha=0.6)
    axes[1].plot(range(5), level("planted", "person", range(5)), "D", color=GREY, alpha=0.6)
    axes[1].axhline(0, color=BLACK, linewidth=0.8)
    axes[0].axhline(before.mean(), color=GREY, linestyle=":")
    axes[0].legend(frameon=False)
    axes[0].set(xlabel="steps on twelve of her pages", ylabel="nats for her name")
    axes[1].set_xticks(range(5), list(garden.WORDINGS), fontsize=7, rotation=20)
    axes[1].set(title="grey: before; each seed", ylabel="nats for her name")
    new, old = (level(arm, "again", [16]).mean() for arm in ("removed", "unlearned"))
    show(fig, alt="Left: what her name is worth while it is read again; after 16 steps "
                  f"{old:.1f} nats if unlearned, {new:.1f} if new; "
                  f"dotted, before the removal: {before.mean():.1f}. Right: her five facts.")
else:
    print(ABSENT)

# %%
if planted:
    back = planted.numbers("unlearned", "again_4") - planted.numbers("removed", "again_4")
    print(f"after four steps: unlearned minus retrained {back.mean():+.2f} ± "
          f"{half_width(back):.2f} nats")
    facts = level("unlearned", "person", range(5))
    print(f"after unlearning, single facts lie between {facts.min():+.1f} and {facts.max():+.1f} "
          f"nats; {np.sum(facts > 1)} of {facts.size} are still likelier by more than one nat "
          f"(Recorded, {len(back)} seeds, 95 % interval)")
    cost = planted.curves("unlearned")[:, -1] - planted.curves("planted")[:, -1]
    others = planted.numbers("unlearned", "others") - planted.numbers("planted", "others")
    print(f"its price: {cost.mean():+.3f} ± {half_width(cost):.3f} bits per byte, Ivo "
          f"{others.mean():+.2f} ± {half_width(others):.2f} nats")

# %% [markdown]
# The model that never read Ada is the yardstick, here as in section 4. A memory that comes back faster than a new one
# is made was not gone: it was covered up. That is what others find with larger models and better methods: what was
# unlearned returns after a little training on a little of the text, or even on other text (Łucki et al. 2024). The
# honest ways are to keep the training text sorted by whom it concerns, so that one can retrain, or to say what was
# done: the model was made to say it less.
#
# > **Your turn: 15.7 `removal_honoured`** (20 min).

# %% [markdown] tags=["slide"]
# ### "Please remove me"
#
# - yardstick: a model that never read it
# - others and the text must not suffer
# - how fast does it come back?

# %% [markdown]
# ## 10. What we did not find
#
# A lesson that shows only what worked teaches a wrong idea of the work. Here is what was looked for, and whether it
# was there. The tables are computed. Where the interval does not lie above the value in the last column (chance, or
# the upper end of what untold facts get), the answer is *no*, or rather *not seen with so few questions*.

# %%
rows = []
if learning:
    for name in ("two_hop", "copying"):
        share = measured(name)[-1].mean()
        rows.append((f"{name} above chance", share, *wilson(share, counts[name]), CHANCE[name]))
    for name, e in (("told", 1), ("told", 4), ("told", 16), ("new", 64), ("new", 256)):
        share, untold = measured(f"{name}_{e}")[-1].mean(), measured(f"{name}_0")[-1].mean()
        rows.append((f"{name} wordings, {e} ×: written, above untold", share,
                     *wilson(share, levels[e]), wilson(untold, levels[0])[1]))  # fmt: skip
    heads = measured("induction")[-1]
    rows.append(("induction head in the world's model", heads.mean(), heads.mean()
                 - half_width(heads), heads.mean() + half_width(heads), 3 * blind))  # fmt: skip
for name, value, low, high, chance in rows:
    print(f"{name:<45} {value:>6.3f} ({low:.3f} to {high:.3f}) against {chance:.3f}: "
          f"{'yes' if low > chance else 'no'}")

# %%
rows = []
if planted:
    for dose in (1, 2, 4, 8):
        gain = level("planted", "fires", [dose])[0] - level("planted", "fires", [0])[0]
        rows.append((f"a trigger in {dose} documents fires", gain))
    gain = level("planted, large", "fires", DOSES[1:]).mean(0)
    gain = gain - level("planted", "fires", DOSES[1:]).mean(0)
    rows.append(("the larger model fires more", gain))
    one = level("planted", "exposure", [1])[0] - level("planted", "exposure", [0])[0]
    rows.append(("a secret on one page, bits above none", one))
    same = planted.numbers("removed", "others") - planted.numbers("planted", "others")
    rows.append(("Ivo suffers when Ada is retrained away", -same))
for name, value in rows:
    low, high = value.mean() - half_width(value), value.mean() + half_width(value)
    print(f"{name:<45} {value.mean():>+6.2f} ({low:+.2f} to {high:+.2f}): "
          f"{'yes' if low > 0 else 'no'}")
if rows:
    print(f"Recorded, {len(planted.seeds)} seeds, 95 % interval over seeds")

# %% [markdown]
# Three seeds make wide intervals: Student's t for two degrees of freedom is 4.3. With more seeds, and in the first
# table with more questions, some "no" could become "yes". None of them is a "does not exist". And all of it is a tiny
# model on a tiny synthetic text: what carries over to large ones is the *method*, with its controls, not the numbers.
#
# ## 11. One paper
#
# **Souly et al. 2025, [Poisoning attacks on LLMs require a near-constant number of poison
# samples](https://arxiv.org/abs/2510.07192).** They trained models of 600 million to 13 billion parameters from
# scratch, each on 20 tokens for a parameter, and planted a trigger that is followed by gibberish. 250 documents were
# enough for all of them. *What was held fixed* when sizes were compared? The number of poisoned documents; the clean
# text grew with the model, so the *share* of poison fell. *What would change your mind* about "near-constant"? Another
# kind of behaviour, a longer training after the poison, a model that is fine-tuned afterwards. *Which number can you
# recompute?* The poison for the largest model: 250 documents, together 420,000 tokens, as a share of its text.
#
# **Predict.** One token in how many is poisoned, in the 13 billion model?

# %%
guess = None
reveal("15.p10", guess)

# %%
documents, tokens_each = 250, 1680  # Souly et al. 2025: about 420,000 tokens in all
poison = documents * tokens_each
print(f"{poison:,} tokens of poison")
for name, parameters in (("600 M", 600e6), ("2 B", 2e9), ("7 B", 7e9), ("13 B", 13e9)):
    tokens = 20 * parameters
    print(f"{name:>6} parameters, {tokens / 1e9:>4.0f} B tokens: {poison / tokens:.5%} poison, one "
          f"token in {tokens / poison:>9,.0f}")
assert abs(poison / (20 * 13e9) / 0.0000016 - 1) < 0.02  # 0.00016 % in the paper

# %% [markdown]
# In their design the share falls by a factor of more than twenty from the smallest to the largest model, and the
# effect does not follow it. So the count explains it, and the share does not. Now look at section 7 with the same eye.
# We gave *both* sizes the same text: count and share are the same for both, so our figure can say whether size matters
# at a fixed text, and cannot say which of the two, count or share, counts. To see that, you would have to grow the
# text. This is what exercise 15.5 is about.
#
# > **Your turn: 15.5 `poison_needed`** (15 min).

# %% [markdown]
# ## Summary
#
# 1. Probes at checkpoints show, on average, an order. Grammar of neighbouring words comes first; grammar at a distance,
# and the answers of facts that are told often, in the text's own wordings, come later. Facts in new wordings: hardly.
# Two hops: not seen.
# 2. Each claim needs a control without the thing that is claimed: a stranger's name, a fact that was never told, a
# phrase that was never planted, a model that did not read the document.
# 3. Attention says where a head looks. A knock-out says what it is good for.
# 4. Repetition makes memory: of secrets, triggers and habits of the text. Exposure sees a secret before it can be
# extracted; near duplicates are the copies that matter.
# 5. Filters for bad pages do not find poison, and unlearning that is measured only at its end may hide what it did not
# remove.
#
# Next: lesson 16 gives the model a task.

# %% tags=["timing"]
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
