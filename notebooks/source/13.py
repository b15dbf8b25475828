# %% [raw]
# title = "The failure museum"
# question = "A training run looks wrong, or too good. Which of eighteen causes is it, and which single experiment tells?"
# able = [
#   "read a training log column by column, and say what a healthy one shows",
#   "put the cheap questions first, and find most mistakes before the second step",
#   "list what could explain a symptom, say what each would show elsewhere, and exclude all but one",
#   "choose the experiment for which the candidates predict different answers, repair one part, and prove the repair",
#   "say which numbers every run should print, and which mistakes none of the losses shows",
# ]
# needs = ["token", "vocabulary", "context", "logits", "held-out text", "cross-entropy", "bits per byte", "parameter", "step", "learning rate", "overfitting", "causal mask", "attention weights", "initialisation", "weight tying", "optimizer state", "block", "residual stream", "receptive field", "paired difference", "confidence interval", "momentum", "AdamW", "warm-up", "learning-rate schedule", "gradient clipping", "micro-batch", "gradient accumulation", "checkpoint", "exact resume", "fp16", "overflow", "loss scale", "median"]
# reading = 45
# exercises = 144
# route = "further"
# paper = "Chowdhery et al. 2022, PaLM: Scaling Language Modeling with Pathways, section 5.1, arXiv 2204.02311"
#
# [teaches]
# "update-to-weight ratio" = "The length of one step's update of all weights, divided by the length of the weights: by which share the model changes in a step."
# "differential diagnosis" = "Listing every cause that could explain a symptom, writing down what each would show elsewhere, and looking there until one is left."
# "deciding experiment" = "An experiment for which the causes that are still possible predict different outcomes."
# signature = "What one cause leaves in a log: a number, and the band in which it lies when that cause is at work."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners stop guessing. They write down the candidates before they touch anything, choose one experiment, and prove a repair by a run.
# **Timing** (110 min). Before class: 13.3. In class: sections 1 and 2 20 · tour one together, on the board, 15 · tour two in pairs 15 · four exhibits in
# pairs, 8 min each, a pair explains and the others object · sections 5 and 6 15 · discussion 10. Homework: the other exhibits and the paper.
#
# **Two misconceptions.** *"The loss goes down, so it works."* Ask: how many of these runs end where healthy runs end? *"It got better when I lowered the rate, so the rate was
# the cause."* Ask: which of the other causes would also hurt less at a lower rate?
#
# **Discuss.** You may print five columns in your next run, no more. Which? · A colleague repairs three things at once, and the run is fine. What has been learnt? · The loss of a
# large run spikes once a week. What would you have to save today in order to do one experiment on it next month?

# %% tags=["setup"]
import math
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import torch

# %%
from minigpt import learning_rate
from minigpt.classroom import museum, recorded, reveal, show
from minigpt.classroom.exhibits import CAUSES, EXHIBITS, SIGNATURES
from minigpt.classroom.museum import show as show_exhibit
from minigpt.classroom.shelf import half_width, live_sentence
from minigpt.classroom.viz import BLUE, GREY, VERMILLION
from minigpt.classroom.viz import figure, heatmap, plot_live, plot_record
from minigpt.text.sources import usable_domains

started = time.perf_counter()
here = set(museum.DOMAINS) <= set(usable_domains(museum.DOMAINS)[0])  # the text for live runs
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads; live runs: {here}")

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>05: the head is tied to the embedding. What does that save, and how do you see that it is?</summary>One matrix of V rows and C columns. Count the parameters: the
# two names hold one tensor, and it is counted once.</details>
# <details><summary>08: gradients are clipped to length 1. The norm in the log is 40, in every step. What does the optimizer get?</summary>The direction, with length 1, whatever the
# norm was. Clipping hides the size of a mistake, and the log shows the norm from before it.</details>
# <details><summary>09: when does a dynamic loss scale leave a step out, and is that a fault?</summary>When a gradient is not finite. The scale is halved and the step is skipped: now
# and then, this is how it finds its size.</details>

# %% [markdown]
# > **Try first: 13.3 `exhibit_3`** (6 min), before you read on. The exercises are in `exercises/13_failure_museum.ipynb`; `python3 course.py start 13` makes a copy for you in `my/`.
#
# Most of the time that a broken run costs is spent on guessing: change a setting, wait, look, change another. This lesson is about not guessing. Its museum holds eighteen
# training runs. Each is the same healthy recipe with *one* part replaced, and you get what a person gets who has to find the mistake: a log, some text, and questions to ask. There are
# numbers and no names.
#
# ## 1. A run in good health
#
# To see what is wrong you have to know what right looks like. The recipe: minigpt's GPT with two blocks of width 48 and a context of 32. A token is a byte, and with
# `<|endoftext|>` the vocabulary has 257. A hundred steps of 512 tokens: books, plays, speeches, dealt into eight files, *shards*, that are read in turn. In training, dropout sets a tenth of the activations to zero, each time another tenth. Two processes train together, each on half of every batch; such a process is called a *rank*, which
# has nothing to do with the rank of a merge. Each cuts its half into four micro-batches. Their gradients are averaged over the ranks (an *all-reduce*), and both update their copy of the weights.
#
# **Predict.** What is the loss of the healthy run before its first update, in nats per token?

# %%
guess = None
reveal("13.p1", guess)

# %%
show_exhibit(0)

# %% [markdown]
# Take a minute for it: every exhibit looks like this one, but for its mistake.
#
# | column | what it is | in good health |
# |---|---|---|
# | `train` | loss of the batch, before its update, with dropout | starts near ln V, falls; neighbouring batches differ |
# | `rank 0`, `rank 1` | its two halves | differ as two batches do |
# | `val`, `val, rank 1` | held-out text, no dropout, with the weights of each rank | a little above `train`; both are *equal* |
# | `grad norm` | length of the gradient before it is clipped to 1 | falls in the first steps; a lone spike, as here at step 20, is no illness; nan where a step was left out |
# | `rate` | the learning rate | what you meant: up, flat, down |
# | `update/weight` | length of the update over length of the weights | a percent or so, and it follows the rate |
# | `scale`, `skipped` | the loss scale, and how many steps were left out so far | doubles, and halves at a skip |
#
# Above the table stand the single numbers: parameters, ln V, the loss at step 0, and the last weights *evaluated once more*, which must repeat the last `val`. The notes say when the machine was taken away and the run was resumed. Below it, inputs and targets as
# text: `·` is a space, `⏎` a line's end, `□` what cannot be shown. Read them, too: targets are the inputs, one place further.
#
# The column that few people print is the **update-to-weight ratio**. The norm of the gradient says little with AdamW, which divides it away. The ratio says what was really done to the model.
#
# With another seed a healthy run is another run. How different may two be, before one of them is ill?

# %%
record = recorded("13.museum")
live = record.live() if here else None

fig, ax = figure(width=5.5, height=2.4)
plot_record(ax, record, ["0"], label=False)
if live:
    plot_live(ax, live.x, live.y)
    print(live_sentence(record, "0", live))
ax.set(xlabel="step", ylabel="training loss", xlim=(30, 99), ylim=(2.2, 3.3))
show(fig, alt="Training loss of the healthy run from step 30 on: the recorded seeds as a band, and "
              "one live run in it; both fall slowly, and jump from batch to batch.")
print(record.sentence())

# %%
SEEDS = len(record.seeds)
ends = {"training": record.curves("0")[:, -museum.SHARDS :].mean(1),  # a turn through all shards
        "validation": record.numbers("0", "val_loss")}  # fmt: skip
spread = {name: float(half_width(values) * math.sqrt(SEEDS + 1)) for name, values in ends.items()}
for name, values in ends.items():
    print(f"healthy {name} loss at the end: {values.mean():.2f}; recorded, {SEEDS} seeds; "
          f"95 of 100 new healthy runs end within ±{spread[name]:.2f}, says the interval")

# %% [markdown]
# (For training, the end is the mean of the last eight batches, one of each shard.) The interval is wide, since three runs say little about how runs differ. It is what you have, though: a run that ends inside it is not ill by its losses. Keep both numbers in mind.

# %% [markdown]
# ## 2. Ask the cheap questions first
#
# In which order do you look? By cost. A question that needs one pass through a fresh model is worth asking before one that needs a run, even if it rarely finds anything:
#
# 1. **The loss at step 0.** Is it ln V? One pass. (And can the model learn one batch by heart? Lesson 05.)
# 2. **One batch, as text.** Inputs, targets, one batch of every shard, held-out text. You read it with your eyes.
# 3. **The machinery.** Can a position look ahead? Does the gradient depend on how the batch is cut? Does a second pass give the same one? Is the number of parameters the one you computed?
# 4. **The data, counted.** From how many documents is a batch? What occurs twice? Is held-out text in it?
# 5. **The rates**, as a list, before they are used.
# 6. **Evaluation and ranks.** Twice the same weights: the same number? Do both ranks hold the same weights after a step?
# 7. Only then **the run**: its curves, fresh text, a lower rate, a resume.
#
# ([Karpathy 2019](https://karpathy.github.io/2019/04/25/recipe/) has such a list, and the advice to become one with the data. Its warning holds to this day: training fails silently.)
#
# The first six need one step at most. The museum can put most of them to any run; each answer is a sentence with numbers:

# %%
for name, question in museum.EXPERIMENTS.items():
    print(f"{name:<25} {question}")

# %% [markdown]
# So turn the questions into checks. `FAILS` says, for each experiment, when its numbers cannot be right. The limits are round numbers, far from what a healthy run gives.

# %%
design = sum(p.numel() for p in museum.build(museum.healthy(), 0).parameters())
FAILS = {
    "loss_at_step_0": lambda n: abs(n["loss"] - n["uniform"]) > 1,
    "show_a_batch": lambda n: n["equal"] > 0.5,  # share of targets that are their own input
    "change_the_future": lambda n: n["places"] > 0,
    "gradient_per_micro_batch": lambda n: n["in_8"] > 1.5 * n["in_1"],
    "backward_twice": lambda n: n["second"] > 1.5 * n["first"],
    "count_parameters": lambda n: n["count"] != design,
    "texts_per_batch": lambda n: n["documents"] < n["sequences"] / 4,
    "repeat_rate": lambda n: n["repeated"] > 0.1 or n["held"] > 0,
    "same_twice": lambda n: abs(n["first"] - n["second"]) > 1e-5,
    "compare_ranks": lambda n: n["apart"] > 1e-3,
}


# %%
def planned(parts):
    """The rates that this recipe is going to use, one a step"""
    schedule = museum.rates(parts)
    return [parts.rate * learning_rate(step * parts.ticks, museum.STEPS, schedule)
            for step in range(museum.STEPS)]  # fmt: skip


def unreadable(t):
    """Of a batch of each shard, and of the held-out text: the largest share that is no text"""
    pieces = [museum.batch_at(t.data, t.parts, i)[2] for i in range(museum.SHARDS)]
    texts = [museum.as_text(piece.flatten()) for piece in [*pieces, t.data.validation]]
    return max(text.count("□") / len(text) for text in texts)


def fails_before(k):
    """The checks that exhibit k fails when it has made a single step"""
    t = museum.train(museum.exhibit(k), steps=1)
    failed = [name for name in FAILS if FAILS[name](museum.run_experiment(t, name).numbers)]
    failed += ["text, read"] * (unreadable(t) > 0.1)
    return failed + ["rates, read"] * (planned(t.parts) != planned(museum.healthy()))


# %% [markdown]
# **Predict.** How many of the eighteen exhibits fail at least one of these checks, before they have made a second step?

# %%
guess = None
reveal("13.p2", guess)

# %%
if here:
    begun = time.perf_counter()
    failed = {k: fails_before(k) for k in (0, *museum.NUMBERS)}
    seconds = (time.perf_counter() - begun) / len(failed)
    assert failed.pop(0) == []  # a check that a healthy run fails is no check
    caught = sum(map(bool, failed.values()))
    counts = Counter(name for names in failed.values() for name in names)
    print(f"live: {caught} of {len(failed)} caught, {seconds:.1f} s each; the healthy run passes")
    assert caught >= 14
    fig, ax = figure(width=6, height=3.2)
    rows = [name for name in [*FAILS, "text, read", "rates, read"] if counts[name]]
    ax.barh([*rows, "pass all"], [*(counts[name] for name in rows), len(failed) - caught],
            color=[BLUE] * len(rows) + [GREY])  # fmt: skip
    ax.invert_yaxis()
    ax.set(xlabel="exhibits that fail this check", xlim=(0, 4), xticks=range(5))
    show(fig, alt="Bars: each check is failed by one to three of the eighteen exhibits; a grey "
                  "bar says that two exhibits pass them all.")  # fmt: skip

# %% [markdown]
# That is the most useful result of this lesson. Nearly all of these mistakes could have been found on the morning before, in seconds, after a single step. And look at the bars: no check finds many. There is no master check, only a list, and you go through all of it.
#
# Two exhibits pass. Both break something that happens only *later* in a run. What could that be? A checklist ends where time begins.
#
# The checks also say what the rest of this lesson is for. Real mistakes are found late, because nobody asked in the morning. Then there is a log and no idea.

# %% [markdown] tags=["slide"]
# ### Before the second step
#
# - loss at step 0 against ln V · one batch of each shard as text
# - change the future · cut the batch differently · pass twice · count parameters
# - documents in a batch, repeats, held-out text in training text
# - print the rates · evaluate twice · compare ranks

# %% [markdown]
# ## 3. First tour: too good
#
# The person who ran exhibit 14 said: "We have found an architecture that writes nearly without mistakes. On every text!"

# %%
show_exhibit(14)

# %% [markdown]
# First the plain question: *can* this be? The loss at the end, in bits a byte:

# %%
log = museum.log(14)
print(f"{log.val_loss[-1] / math.log(2):.2f} bits per byte, after {log.tokens[-1]:,.0f} tokens")

# %% [markdown]
# From people who guessed letter by letter, a hundred letters known, Shannon put English between 0.6 and 1.3 bits a letter ([Shannon 1951](https://doi.org/10.1002/j.1538-7305.1951.tb01366.x)). A model with two blocks and 32 bytes of context that needs a third of the lower number has not understood English. It has been told the answer.
#
# Now the list, and it comes *before* the next look at the log: everything that makes a loss too small. Here `targets_not_shifted`, `val_in_train`, `duplicated_data` and `future_leak`. What else would each of them show?
#
# **Predict.** With your four answers, go back to the log. Which cause is it?

# %%
guess = None
reveal("13.p3", guess)

# %% [markdown]
# | candidate | what else it would show | and does it? |
# |---|---|---|
# | `targets_not_shifted` | targets equal to inputs; with a tied head already at step 0 a loss below ln V, for a token's vector resembles itself | no: the targets are shifted, and step 0 is near ln V |
# | `val_in_train` | `val` falls far *below* `train`; other held-out text is bad | no: they end together, near 0.15 |
# | `duplicated_data` | `train` falls, `val` rises | no: both fall |
# | `future_leak` | everything is low: training text, held-out text, any text | yes |
#
# This is a **differential diagnosis**: not "what could it be?" but "what would each of them show that the others would not?". Three are excluded by the log alone.
#
# One candidate left is still no proof: the list may be incomplete. So ask a question to which *only this* cause gives another answer. Change the later half of a text, and see whether the logits of the earlier half move. By hand, on fresh weights:

# %%
def moved(parts, change_from=16):
    """(16,): by how much the logits of each earlier position move when later tokens change"""
    model = museum.build(parts, 0).eval()
    g = torch.Generator().manual_seed(0)
    tokens, other = torch.randint(256, (2, 1, museum.CONTEXT), generator=g)
    other[:, :change_from] = tokens[:, :change_from]
    with torch.no_grad():
        return (model(tokens) - model(other))[0, :change_from].abs().amax(1)


# %% [markdown]
# **Predict.** Suppose that the mask lets each position see *one* token too far. The model has two blocks. At how many of the sixteen earlier positions do the logits move?

# %%
guess = None
reveal("13.p4", guess)

# %%
ill, well = moved(museum.exhibit(14)), moved(museum.healthy())
fig, ax = figure(width=6, height=2.4)
ax.bar(np.arange(16) - 0.2, ill, 0.4, color=VERMILLION, label="exhibit 14")
ax.bar(np.arange(16) + 0.2, well, 0.4, color=BLUE, hatch="//", label="healthy")
ax.set(xlabel="position; tokens from 16 on were changed", ylabel="largest change of a logit")
ax.legend(frameon=False, loc="upper left")
print(f"positions that move: {(ill > 1e-4).nonzero().flatten().tolist()} in exhibit 14, "
      f"{(well > 1e-4).nonzero().flatten().tolist()} in the healthy run")
show(fig, alt="By position, how far the logits move when only tokens from 16 on change: in exhibit "
              "14 the last two positions before 16 move, in the healthy run none does.")
assert (ill > 1e-4).sum() == 2 and well.max() < 1e-4

# %% [markdown]
# Position 15 sees token 16 in either block. Position 14 sees position 15 in the second block, which saw token 16 in the first: a receptive field, as in lesson 06, in the wrong direction. Two positions in two blocks: the leak is by one in each (or by two in one of them).
#
# The repair is one part of the recipe. Write it, put it in, and run the whole thing. A repair that has not been run is an opinion:

# %%
def sees_the_past(T):
    """(T, T) bool: True where the query of the row may look at the key of the column"""
    positions = torch.arange(T)
    return positions[:, None] >= positions[None, :]


def whole_run(parts):
    """The log of a run now; without the text, that of the recorded healthy run in its place"""
    return museum.train(parts).log if here else museum.log(0)


healthy = whole_run(museum.healthy())
repaired = whole_run(replace(museum.exhibit(14), mask=sees_the_past))

# %%
print("training loss at step", *(f"{step:6.0f}" for step in log.steps[::20]))
for name, some in (("exhibit 14", log), ("repaired", repaired), ("healthy", healthy)):
    print(f"{name:<21}", *(f"{loss:6.3f}" for loss in some.train_loss[::20]))
gap = np.abs(np.subtract(repaired.train_loss, healthy.train_loss)).max()
print(f"live, one seed: repaired and healthy differ by {gap:.0e} at most")
assert gap < 1e-3 and healthy.val_loss[-1] > 2

# %% [markdown]
# Not "better": *equal*, at every step. You have that only because runs here are exact (lesson 08). It is the strongest proof of a repair that there is, and it also says that nothing else was wrong.

# %% [markdown]
# ## 4. Second tour: it goes up
#
# Exhibit 2: "It learnt for twenty steps, and then it forgot everything again, slowly. It must be the rate."

# %%
show_exhibit(2)

# %% [markdown]
# The loss rises, and there are many candidates. What does the log say about each?
#
# - `rate_too_high`: the column `rate` is as planned. But is the plan right? The update-to-weight ratio is about twice the healthy run's until step 40.
# - `no_warmup`: no. The rate begins small.
# - `bad_init`: no. The loss at step 0 is near ln V.
# - `fp16_overflow`: no nan in the losses; steps are left out, as they should be.
# - `accumulation_not_divided`: the gradient would be four times as large, *from step 0 on*. It is not.
# - `no_zero_grad`: old gradients would pile up; the norm would grow and grow.
#
# Look at the first ten norms, which the table of every tenth step does not show:

# %%
log = museum.log(2)
for name, some in (("exhibit 2", log), ("healthy", museum.log(0))):
    print(f"{name:<10}", *(f"{norm:5.2f}" for norm in some.grad_norm[:10]),
          f" … {museum.tail(some.grad_norm):.2f} at the end")  # fmt: skip
assert all(a < b for a, b in zip(log.grad_norm[:9], log.grad_norm[1:10]))

# %% [markdown]
# The healthy gradient shrinks as the model learns. Here the norm grows in each of the ten steps, as a sum of gradients does that mostly agree. Two candidates are left, and a hunch is not a proof: a rate that is too high can also lead to large gradients. Which question separates them?
#
# **Predict.** The candidates are `rate_too_high` and `no_zero_grad`. Which experiment has an answer that only `no_zero_grad` would give: "loss_at_step_0", "lower_rate", "gradient_per_micro_batch", "backward_twice" or "largest_gradient"?

# %%
guess = None
reveal("13.p5", guess)

# %%
print(museum.experiment(2, "lower_rate"), museum.experiment(2, "backward_twice"), sep="\n\n")

# %% [markdown]
# The first answer speaks against `rate_too_high`, for then the slower run would be ahead. It says nothing *for* `no_zero_grad`: the healthy run is behind at a thirtieth of its rate, too. And had the lower rate helped, other causes would be left, for it also softens a missing warm-up, or damage that adds up. It is the experiment that everybody does first.
#
# The second decides for one cause. The same batch, no update in between, and the gradient doubles, then triples. Nobody took the old one away.
#
# You can work this out *before* you ask, for all candidates and all questions: a **deciding experiment** is a column in which they differ. The museum's record knows what each cause answers:

# %%
FAILS["lower_rate"] = lambda n: n["lower"] < n["own"] - 0.1  # slower is better
FAILS["largest_gradient"] = lambda n: n["lost"] > 0
candidates = ["rate_too_high", "no_warmup", "bad_init", "fp16_overflow", "accumulation_not_divided",
              "no_zero_grad"]  # fmt: skip
questions = ["loss_at_step_0", "lower_rate", "gradient_per_micro_batch", "backward_twice",
             "largest_gradient"]  # fmt: skip
hung = {exhibit.cause: k for k, exhibit in EXHIBITS.items()}  # cause -> number; not printed
answers = np.array([[FAILS[q](museum.finding(hung[cause], q).numbers) for q in questions]
                    for cause in candidates], float)  # fmt: skip
fig, ax = figure(width=5.5, height=3.4)
heatmap(answers, candidates, questions, ax=ax)
show(fig, alt="Six causes in rows, five questions in columns; bright where the answer is unlike "
              "the healthy run's. Columns are bright in one row or so, and one row is dark.")
print("marks in each row:", dict(zip(candidates, answers.sum(1).astype(int).tolist())))

# %% [markdown]
# Bright: unlike the healthy run's answer. Read it by columns. A column that is bright in one row decides for or against that cause. A row without any mark is a cause that none of these questions finds: you need another one, or simply the column of the log that shows it.
#
# What has the mistake done to the optimizer? The sum of all gradients so far, clipped: that is momentum (lesson 08) that never fades. It holds the direction of step 0 as dear as that of step 90.
#
# Now the repair. **What breaks if** you write it like this?

# %%
def renames(gradients):
    gradients = torch.zeros_like(gradients)
    return gradients


def forgets(gradients):
    gradients.zero_()


if here:
    for repair in (renames, forgets):
        some = museum.train(replace(museum.exhibit(2), zero_grad=repair), steps=30).log
        print(f"{repair.__name__}: gradient norm {some.grad_norm[0]:.2f} at step 0, "
              f"{np.nanmedian(some.grad_norm[-8:]):.2f} around step 25")
repaired = whole_run(replace(museum.exhibit(2), zero_grad=forgets))
gap = np.abs(np.subtract(repaired.train_loss, healthy.train_loss)).max()
print(f"repaired with `forgets`: the run and the healthy one differ by {gap:.0e} at most")
assert gap < 1e-3

# %% [markdown]
# The first version makes a new tensor and gives it the old name. The caller's tensor stays as it is, no error is raised, and the run is as ill as before. This is why the last line of every diagnosis is a run.

# %% [markdown] tags=["slide"]
# ### A diagnosis in five lines
#
# 1. what is seen, in numbers, and since which step
# 2. all candidates, and what each would show elsewhere
# 3. the experiment for which they predict different answers
# 4. one part changed
# 5. the repaired run

# %% [markdown]
# ## 5. What a mistake costs
#
# How bad are they? Ask two things of each exhibit: where does its training loss end, and where its validation loss, compared with the healthy run of the same seed?
#
# **Predict.** One of the mistakes makes every gradient four times too large. The norm is clipped to 1, the optimizer is AdamW. Does the validation loss end worse than the healthy one, by more than the interval of the paired difference? (yes or no)

# %%
def against_healthy(k, end):
    """(seeds,): a loss at the end less the healthy one's of the same seed, in bits a byte"""
    if end == "training":
        losses = record.curves(str(k))[:, -museum.SHARDS :].mean(1)
    else:
        losses = record.numbers(str(k), "val_loss")
    return (losses - ends[end]) / math.log(2)


costs = against_healthy(hung["accumulation_not_divided"], "validation")
worse = bool(costs.mean() > half_width(costs))
guess = None
reveal("13.p6", guess, worse)

# %%
print(f"recorded, {SEEDS} seeds: {costs.mean():+.3f} ± {half_width(costs):.3f} bits per byte, "
      "the 95 % interval of the mean paired difference")

# %% [markdown]
# Adam divides each gradient by its usual size, and four times as much over four times as much is the same. Only the clip noticed. The same mistake under plain gradient descent is a rate four times too high.
#
# **Predict.** Of the eighteen, how many end with a training loss that could be a healthy run's, that is, inside the interval of section 1?

# %%
numbers = [k for k in museum.NUMBERS if record.numbers(str(k), "val_loss").min() > 0]  # no nan
mean_of = {end: {k: against_healthy(k, end).mean() for k in numbers} for end in ends}
inside = {end: [k for k in numbers if abs(mean_of[end][k]) < spread[end] / math.log(2)]
          for end in ends}  # fmt: skip
guess = None
reveal("13.p7", guess, len(inside["training"]))

# %%
fig, ax = figure(width=7, height=4.4)
order = sorted(numbers, key=lambda k: mean_of["validation"][k])
style = {"training": (BLUE, "o", -0.17, "#eee"), "validation": (VERMILLION, "s", 0.17, "#ddd")}
for end, (color, mark, shift, grey) in style.items():
    found = [against_healthy(k, end) for k in order]
    ax.axvspan(-spread[end] / math.log(2), spread[end] / math.log(2), color=grey, zorder=0)
    ax.errorbar([f.mean() for f in found], np.arange(len(order)) + shift,
                xerr=[half_width(f) for f in found], fmt=mark, color=color, markersize=4,
                elinewidth=1, label=end)  # fmt: skip
ax.set_xscale("symlog", linthresh=0.5)
ticks = [-4, -2, -1, -0.5, 0, 0.5, 1, 2, 4, 8]
ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
ax.minorticks_off()
ax.set_yticks(range(len(order)), order)
ax.set(ylabel="exhibit", xlabel="bits per byte above the healthy run; "
       "grey: healthy runs (wide: training, narrow: validation)")  # fmt: skip
ax.legend(frameon=False, loc="lower right")
show(fig, alt="Exhibits sorted by how far their validation loss ends above the healthy one, on a "
              "scale that is linear up to half a bit: three far below zero, a group in the grey "
              "around zero, others up to several bits above.")

# %%
both = sorted(set(inside["training"]) & set(inside["validation"]))
print(f"recorded, {SEEDS} seeds, paired, mean and 95 % interval")
print(f"training loss as in a healthy run: {len(inside['training'])} of {len(museum.NUMBERS)}")
print(f"both losses as in a healthy run:   {len(both)}")
pairs = [against_healthy(k, "validation") for k in both]
print("   of these, surely worse in pairs:", sum(pair.mean() > half_width(pair) for pair in pairs))
print("validation far below healthy runs: ",
      sum(mean_of["validation"][k] < -spread["validation"] / math.log(2) for k in numbers))
print("no number at the end, not drawn:   ", len(museum.NUMBERS) - len(numbers))
assert len(both) >= 4

# %% [markdown]
# Three groups, and each needs another habit.
#
# - **Right of the grey**: you will notice. The question is only which cause.
# - **Left of it**: you will be pleased. Be alarmed. A validation loss this far below healthy runs is a mistake in what is measured, and not luck.
# - **In the grey**: no loss will tell you, however long you look. Some of these mistakes do cost something, which only a comparison seed by seed shows (lesson 06); some cost nothing *here*. That is no acquittal: this is one small size and a hundred steps. A missing warm-up, a drifting rank or a gradient that is too large is forgiven at one scale and not at another, and an evaluation
# that adds noise makes every later comparison worse.
#
# ## 6. What to print in every run
#
# Which columns would have shown them all? Take a rule for each column, as plain as possible, mostly a distance from the healthy run, and go through the eighteen logs column by column. A rule must not go off in healthy runs, so a second healthy run, with another seed, has to pass.

# %%
def running_median(values, width=8):
    """Each value replaced by the median of the last few that are numbers"""
    values = np.asarray(values, float)
    rows = [values[max(0, i - width + 1) : i + 1] for i in range(len(values))]
    rows = [row[np.isfinite(row)] for row in rows]
    return np.array([np.median(row) if len(row) else np.nan for row in rows])


# %%
reference = museum.log(0)
STEADY = 30  # the first steps are wild, in health too


def off(steps, differs):
    """The first step at which a rule goes off, or None"""
    return next((int(step) for step, bad in zip(steps, differs) if bad), None)


def away(log, name, steps):
    """The loss is no number, or, after the wild part, far from the reference's"""
    values, usual = (np.asarray(getattr(some, name), float) for some in (log, reference))
    if name == "train_loss":
        values, usual = running_median(values), running_median(usual)
    steps = np.asarray(steps)
    return off(steps, ~(np.abs(values - usual) < 0.3) & (steps >= STEADY))


def ratio(log, name, factor=2):
    found = running_median(getattr(log, name)) / running_median(getattr(reference, name))
    return off(log.steps, (found > factor) | (found < 1 / factor))


# %%
def apart(log, name, other):
    return off(log.val_steps, np.abs(np.subtract(getattr(log, name), getattr(log, other))) > 1e-5)


def single(log):
    """A batch whose loss stands out of its neighbours'"""
    above = np.subtract(log.train_loss, running_median(log.train_loss))
    return off(log.steps, (above > 1) & (np.asarray(log.steps) >= STEADY))


# %%
COLUMNS = {  # log -> the first step at which the column shows something
    "training loss": lambda log: away(log, "train_loss", log.steps),
    "validation loss": lambda log: away(log, "val_loss", log.val_steps),
    "gradient norm": lambda log: ratio(log, "grad_norm"),
    "loss at step 0 less ln V": lambda log: off([0], [abs(log.loss_at_step_0 - log.uniform) > 1]),
    "rate": lambda log: off(log.steps, np.abs(np.subtract(log.lr, reference.lr)) > 1e-6),
    "update/weight": lambda log: ratio(log, "update_ratio"),
    "training loss, batch by batch": single,
    "parameters": lambda log: off([0], [log.parameters != design]),
    "validation loss of each rank": lambda log: apart(log, "val_loss", "val_loss_rank1"),
    "the last evaluation, twice":
        lambda log: off([museum.STEPS], [abs(log.final_val_loss - log.val_loss[-1]) > 5e-5]),
}  # fmt: skip
if here:
    second = museum.train(museum.healthy(), seed=1).log
    alarms = [name for name, rule in COLUMNS.items() if rule(second) is not None]
    print(f"live, one healthy run with another seed: {len(alarms)} columns go off")

# %%
seen = {k: {name: rule(museum.log(k)) for name, rule in COLUMNS.items()} for k in museum.NUMBERS}
for k, columns in seen.items():  # not a column of the log, but as cheap: a set of what was read
    met = museum.finding(k, "repeat_rate").numbers["repeated"] > 0.1
    columns["share of text met before"] = museum.STEPS if met else None
left, stairs = set(museum.NUMBERS), {"nothing": len(museum.NUMBERS)}
for name in [*COLUMNS, "share of text met before"]:
    showing = {k: seen[k][name] for k in seen if seen[k][name] is not None}
    new = left & set(showing)
    left -= new
    stairs[name] = len(left)
    when = f", from step {min(showing.values())} on" if showing else ""
    print(f"{name:<29} shows {len(showing):>2}{when}; {len(new)} that no column above shows")

# %%
fig, ax = figure(width=6, height=3)
rows = np.arange(len(stairs))
ax.barh(rows, list(stairs.values()), color=[GREY, *[BLUE] * (len(stairs) - 1)])
for row, count in zip(rows, stairs.values()):
    ax.annotate(str(count), (count, row), (4, 0), textcoords="offset points", va="center")
ax.set_yticks(rows, [name if name == "nothing" else f"+ {name}" for name in stairs])
ax.invert_yaxis()
ax.set(xlabel="exhibits that nothing so far has shown", xlim=(0, 20), xticks=range(0, 21, 5))
show(fig, alt="Bars from above: eighteen exhibits unseen with nothing printed, fewer with each "
              "column that is added, some after both losses, none or nearly none at the end.")
assert stairs["validation loss"] >= 4 and len(left) <= 2

# %% [markdown]
# Every one of these columns is a number that the program has in its hands anyway, or can have for one more evaluation. The two losses, which everybody prints, leave many of the mistakes unseen. The rest is found by columns that are flat and dull in a thousand healthy runs.
#
# The museum's own rules are sharper. For each cause there is a **signature**: one number computed from the log, and the band in which it lies if this cause is at work. Together they are an alarm system:

# %%
alarms = {k: sum(museum.signatures(museum.log(k)).values()) for k in (0, *museum.NUMBERS)}
print(f"recorded, seed 0: {alarms.pop(0)} alarms in the healthy run; "
      f"{sum(alarms.values())} in {len(alarms)} exhibits, one in each")
assert set(alarms.values()) == {1}
for cause in ("future_leak", "no_zero_grad"):
    rule, k = SIGNATURES[cause], hung[cause]
    print(f"{cause}: {rule.what}: {rule.number(museum.log(k)):.2f} here, "
          f"{rule.number(reference):.2f} in health; alarm from {rule.low:g} to {rule.high:g}")

# %% [markdown]
# Each exhibit sets off exactly one. Do not believe that real runs are so kind: these signatures were made with all eighteen logs in view, and every run has one mistake only. Two at once can hide each other.
#
# ## 7. The gallery

# %%
museum.gallery()

# %% [markdown]
# These are your exercises. The names to choose from, in the order of the alphabet:

# %%
for cause in sorted(CAUSES):
    print(f"{cause:<25} {CAUSES[cause]}")

# %% [markdown]
# For each exhibit you hand in a cause, one experiment that decides, and the repaired part, as a triple. Work as on the tours: `show_exhibit(7)`, a list of candidates, then *one* `print(museum.experiment(7, …))`, then the repair. `museum.Parts` says what each part does when it is whole. The command line has the same: `python -m minigpt museum 7`.
#
# > **Your turn: 13.1 `exhibit_1` to the last, `exhibit_18`** (6 to 12 min each; exhibits 1, 6 and 13 are core). Exhibits 2 and 14 are those of the tours. The last one is unaided: the assistant stays off.
#
# When you have solved some, add their numbers here, and read their labels:

# %%
solved = {2, 14}
for k in sorted(solved):
    cause, part = EXHIBITS[k].cause, EXHIBITS[k].part
    print(f"exhibit {k}: {CAUSES[cause]}; part `{part}`\n    {SIGNATURES[cause].what}: "
          f"{SIGNATURES[cause].number(museum.log(k)):.2f}")  # fmt: skip

# %% [markdown]
# ## 8. One paper
#
# **[Chowdhery et al. 2022](https://arxiv.org/abs/2204.02311), PaLM**, section 5.1, half a page on training instability. The loss of the largest model spiked about twenty times, with clipping on, at irregular intervals. Suspect number one: bad text in those batches. They did the deciding experiment. They took the batches around a spike, and trained on them from an
# *earlier* checkpoint.
#
# **Predict.** Did the loss spike again? (yes or no)

# %%
guess = None
reveal("13.p8", guess)

# %% [markdown]
# So it is neither the data nor the weights alone, but both together, and no principled cure is given. Their remedy: restart about 100 steps before the spike, and skip 200 to 500 batches (Chowdhery et al. 2022). Read with three questions. *What was held fixed* in the experiment, and what was changed? *What would change your mind* about "not bad data"? (One spike that comes back from another checkpoint would. And why did
# they have to *skip* batches, when a restart alone is cheaper? Section 5 says that a run is reproducible bit for bit from any checkpoint: it would have spiked again, exactly. Lesson 08.) *Which number can you recompute?* The batch grew in three stages, 512 sequences to step 50,000, then 1,024 to step 115,000, then 2,048 to the end at step 255,000, of 2,048 tokens each; the paper says 780 billion tokens (Chowdhery et al. 2022):

# %%
stages = {512: 50_000, 1024: 115_000 - 50_000, 2048: 255_000 - 115_000}
tokens = sum(sequences * 2048 * steps for sequences, steps in stages.items())
print(f"{tokens / 1e9:.0f} billion tokens; printed: 780 billion")
print(f"steps done twice: {20 * 100 / 255_000:.1%}; batches skipped: {20 * 200 / 255_000:.1%} "
      f"to {20 * 500 / 255_000:.1%} of the run")  # fmt: skip
assert abs(tokens / 780e9 - 1) < 0.02

# %% [markdown]
# It fits. A cure without a diagnosis cost them a few percent of the batches. That was cheap, and the next team has the same spikes.
#
# ## Summary
#
# 1. Know a healthy log, column by column, and how much healthy runs differ. Without a reference there is no "wrong".
# 2. Ask by cost: step 0, a batch as text, the machinery, counts of the data, the rates, evaluation and ranks. Nearly all mistakes here are found before the second step.
# 3. List the candidates first. A good experiment is one for which they predict different answers; lowering the rate is seldom one.
# 4. Change one part, and prove it by a run. With exact runs, repaired means equal to healthy, step by step.
# 5. A loss that is too good is a mistake. And a third of the mistakes end where healthy runs end: print the dull columns.
#
# Next: lesson 14 turns to what a model is trained on.

# %% tags=["timing"]
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
