# %% [markdown]
# # 13 · The failure museum: exercises
#
# Eighteen exhibits, one exercise each; the three marked *core* are enough to go on. Each exhibit is the healthy run with
# **one part** replaced. You find the cause, name one experiment that decides, and repair the part. Being stuck on one
# never blocks the next. Of the three hints the first is a question.
#
# **How to work.** Run the cell that shows the exhibit. Write down a cause before you ask anything. Then put *one* question
# to the run, `print(museum.experiment(7, "same_twice"))`, and see whether your cause survives. Then write the repair.
#
# **What you hand in** is a function of no arguments that returns a triple:
#
# - `cause`: a string, one of the names in the list below
# - `experiment`: a string, one of the experiments below, whose answer would be another if your cause were wrong
# - `repair`: a dict with one entry, {name of the part: what it should be}. A part is a number, or a function that you
#   write. Taking over the healthy run's function does not count; taking over its number does.
# ```python
# def exhibit_99():                    # of another museum: its dropout was 0.9
#     return "too_much_dropout", "fresh_text", {"dropout": 0.1}
# ```
# The checker goes on to the experiment only when the cause is right, and to the repair only when the experiment is. It
# trains nothing. **To see your repair at work**, train it, in about five seconds:
# ```python
# museum.train(replace(museum.exhibit(7), **exhibit_7()[2]), say=print).log.final_val_loss
# ```
# Import from `exhibits.py`, and do not open it: the answers are in there.

# %% tags=["setup"]
from dataclasses import replace

import numpy as np
import torch

from minigpt.classroom import museum
from minigpt.classroom.exhibits import CAUSES
from minigpt.classroom.museum import EXPERIMENTS



# %%
from minigpt.classroom import check, hint

print("Causes:", *(f"  {name:<26} {CAUSES[name]}" for name in sorted(CAUSES)), sep="\n")
print("Experiments:", *(f"  {name:<26} {ask}" for name, ask in EXPERIMENTS.items()), sep="\n")

# %% [markdown]
# **The parts**, and what each of them does in the healthy run. Shapes: B sequences, T tokens in a context, N windows, M
# micro-batches of a rank, P parameters. Ids are int64.
#
# | part | takes → gives | in the healthy run |
# |---|---|---|
# | `rate` | number | peak learning rate of AdamW |
# | `warmup` | number | share of all steps in which the rate rises |
# | `ticks` | number | by how many steps the schedule advances in one optimizer step |
# | `dropout` | number | share of activations that training leaves out |
# | `reduced` | number | share of the parameters for which both ranks get the mean of their gradients |
# | `init` | model, seed → nothing | fills the weights in place: matrices with small random numbers that depend on the seed alone, gains of norms with 1 |
# | `tie` | model → nothing | makes `model.head` and `model.embed` share one matrix, that of either, whatever the other had before |
# | `mask` | T → (T, T) bool | True where the query of the row may look at the key of the column |
# | `documents` | training documents, validation documents, random numbers → documents | lists of (kind, list of ids); gives what is trained on: every training document, whole and once |
# | `order` | N, random numbers → (N,) whole numbers | a random order of the windows 0 to N − 1, each once, drawn from these random numbers (a numpy `Generator`) alone |
# | `read` | number of the shard, windows (B, T + 1) → windows (B, T + 1) | what is read of the windows that lie in the shard: themselves |
# | `shift` | windows (B, T + 1) → inputs, targets, each (B, T) | what stands at t is to be predicted from all before it |
# | `encode_validation` | the run's tokenizer, list of texts → list of lists of ids | the ids of each text, as this tokenizer has them |
# | `resume` | number of batches read before a preemption → number of the batch to go on with | batches are counted from 0 |
# | `accumulate` | mean losses of the micro-batches (M,) → (), a tensor | what the gradient is computed of: the mean, for any M |
# | `scaler` | scale, finite steps since it changed, all gradients finite? → scale and count for the next step, make this step? | the 15th finite step in a row doubles the scale and sets the count to 0; a step that is not finite is left out, halves it and sets the count to 0 |
# | `zero_grad` | gradients (P,) float32 → nothing | after each step: sets them to 0, in place, whatever stands in them |
# | `evaluation` | model → nothing | before each evaluation: puts the model and all that it is made of into evaluation mode; the museum puts it back |

# %%
museum.gallery()

# %% [markdown]
# ## 13.1 exhibit_1: Exhibit 1, the best loss so far
#
# *measure · difficulty 2/5 · 8 min · core · idea: a number that is too good has to be earned on a second text*
#
# What the person said who ran it: "The best validation loss that our group has had on this text. I want to publish it
# on Monday."
#
# Which of the two curves is better than the other, and may it be?
#
# Find the cause and repair it: `exhibit_1()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# Training and validation loss of a healthy run: which one ends lower, and why? Which one does here?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The first question to a good number is what it is measured on (section 3). A model that learns text by heart gains on
# that text only. So give the same weights other text, or count what the run has met.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a pupil does well in a test. Has she learnt French or the test?
# ```python
# practised = {"le chat": "cat", "la mer": "sea", "le roi": "king"}
# test, other = ["le roi", "la mer"], ["le pain", "la nuit"]
# score = lambda questions: sum(q in practised for q in questions) / len(questions)
# score(test), score(other)                                  # (1.0, 0.0)
# set(test) <= practised.keys()                              # True: she had the test in her exercise book
# ```
# The repair is to the exercise book, not to the test.
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(1, museum.log(1)))
### STUB
# museum.show(1)
### END SOLUTION

# %%
def exhibit_1():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    def documents(documents, validation, rng):
        return documents  # and nothing of what the run is measured on

    return "val_in_train", "fresh_text", {"documents": documents}
    ### END SOLUTION

# %%
check("13.exhibit_1", exhibit_1)

# %% [markdown] tags=["solution"]
# **Why it works.** The model is better on validation text than on its own training text, by half a nat. Dropout, which
# only training has, does not explain that much: without it, too, its training text costs more. Other held-out text of
# the same kinds costs it far more, so this one was not unseen.
# A leak through the mask would help on all three texts, targets without a shift too.
#
# **The most common wrong road** is to look for the mistake in the evaluation. It is whole. The training loss is too
# low, too, and for the same reason: validation text takes up most of what is trained on, again and again.

# %% tags=["solution"]
print(museum.experiment(1, "fresh_text"))
print(museum.experiment(1, "repeat_rate"))

# %% [markdown]
# ## 13.2 exhibit_2: Exhibit 2, it began so well
#
# *fix · difficulty 2/5 · 6 min · further · idea: what grows from step to step has a memory*
#
# What the person said who ran it: "It learnt for twenty steps, and then it forgot everything again, slowly. It must be
# the rate."
#
# One column grows without an end. At which step does it begin to?
#
# Find the cause and repair it: `exhibit_2()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# The rate stays and then falls; the loss climbs all the same. Which column climbs with it?
#
# </details>
# <details><summary>Hint 2</summary>
#
# At step 0 the norm is that of the healthy run (section 4). So a single gradient is right, and what is wrong comes with
# the second step. Ask for what changes when nothing but a pass over the same batch lies between two numbers.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a meter that nobody sets back.
# ```python
# counted, shown = 0, []
# for guests in (40, 38, 41, 39):
#     counted += guests
#     shown.append(counted)                                  # [40, 78, 119, 158]: the house is not that full
# ```
# After each evening: `counted = 0`. For an array that others hold too, it must happen inside of it:
# ```python
# import array
# meter = array.array("i", [40, 38]); same = meter
# meter[:] = array.array("i", [0, 0])
# same                                                       # array('i', [0, 0])
# ```
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(2, museum.log(2)))
### STUB
# museum.show(2)
### END SOLUTION

# %%
def exhibit_2():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    def zero_grad(gradients):
        gradients.zero_()

    return "no_zero_grad", "backward_twice", {"zero_grad": zero_grad}
    ### END SOLUTION

# %%
check("13.exhibit_2", exhibit_2)

# %% [markdown] tags=["solution"]
# **Why it works.** Three passes over one batch without an update give three different norms, in the ratio 1 : 2 : 3. So
# each pass adds to what is there. In the run the direction is that of all gradients so far, and most of them are out of
# date. The clip keeps the length of the step in bounds and cannot mend its direction.
#
# **The most common wrong road** is to blame the rate. A lower rate makes everything slower, also the damage, so that it
# seems to help. The second is a function that makes a new tensor of zeros and hands it back, where nobody waits for it.

# %% tags=["solution"]
print(museum.experiment(2, "backward_twice"))
norms = museum.log(2).grad_norm
print("gradient norm at steps 0, 30, 60, 90:", *(f"{norms[step]:.1f}" for step in (0, 30, 60, 90)))

# %% [markdown]
# ## 13.3 exhibit_3: Exhibit 3, language is easy
#
# *fix · difficulty 1/5 · 6 min · further · try first · idea: text tells in a minute what curves do not*
#
# What the person said who ran it: "A loss near zero after twenty steps. Language is easier than people say."
#
# **Try this before you read section 1.** You need nothing for it but your eyes.
#
# Find the cause and repair it: `exhibit_3()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# Read two lines below each other, inputs and targets. What does the model have to do to be right?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Before any theory: print what goes in and what should come out, as text (section 2). A task that is solved in twenty
# steps is a task that is too easy, and you can see which one it is.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: pairs of today's and tomorrow's weather, from one long list.
# ```python
# days = ["sun", "sun", "rain", "fog"]
# today, tomorrow = days[:-1], days[1:]
# list(zip(today, tomorrow))                # [('sun', 'sun'), ('sun', 'rain'), ('rain', 'fog')]
# ```
# With `days[:-1]` twice, each day would be its own forecast, and every forecast right.
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(3, museum.log(3)))
### STUB
# museum.show(3)
### END SOLUTION

# %%
def exhibit_3():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    def shift(windows):
        return windows[:, :-1], windows[:, 1:]

    return "targets_not_shifted", "show_a_batch", {"shift": shift}
    ### END SOLUTION

# %%
check("13.exhibit_3", exhibit_3)

# %% [markdown] tags=["solution"]
# **Why it works.** Each target is the input above it. The model has to copy, and two blocks learn to copy in a few
# steps. The loss at step 0 is a second sign: it is **below** ln V, for the embedding is shared with the head, and a
# fresh model already prefers the token that it is looking at.
#
# **The most common wrong road** is to name a leaking mask. The loss is as low, and its mask is whole: the answer stands
# at the position itself, which may always be seen.

# %% tags=["solution"]
inputs, targets = museum.log(3).batch[0][1:]
print(inputs, targets, sep="\n")
print(museum.finding(3, "show_a_batch").text.splitlines()[-1].strip())

# %% [markdown]
# ## 13.4 exhibit_4: Exhibit 4, a little above
#
# *measure · difficulty 4/5 · 8 min · further · idea: two columns that should be one*
#
# What the person said who ran it: "Nothing to see. It ends a little above the healthy run, and I put that down to
# chance."
#
# The difference is in the third digit. Look for two numbers in one row that have no reason to differ.
#
# Find the cause and repair it: `exhibit_4()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# The ranks read different sequences, so their training losses differ. What do they evaluate?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Both ranks evaluate the same text. If their weights are equal, so are the two numbers, digit by digit (section 1).
# What makes weights equal is that both make the same step, of the same gradient, for every parameter.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two shops have one price list and average their changes each evening, but only for
# the first half of the list.
# ```python
# mine, yours = [10.0, 20.0, 30.0, 40.0], [10.0, 20.0, 30.0, 40.0]
# my_change, your_change = [1.0, 1.0, 1.0, 1.0], [3.0, 3.0, 3.0, 3.0]
# share = 0.5
# taken = round(share * len(mine))
# mean = [(a + b) / 2 for a, b in zip(my_change, your_change)]
# mine = [m + c for m, c in zip(mine, mean)]                                    # [12.0, 22.0, 32.0, 42.0]
# yours = [y + c for y, c in zip(yours, mean[:taken] + your_change[taken:])]    # [12.0, 22.0, 33.0, 43.0]
# ```
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(4, museum.log(4)))
### STUB
# museum.show(4)
### END SOLUTION

# %%
def exhibit_4():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    return "rank_drift", "compare_ranks", {"reduced": 1.0}
    ### END SOLUTION

# %%
check("13.exhibit_4", exhibit_4)

# %% [markdown] tags=["solution"]
# **Why it works.** The two validation columns are equal at step 0 and never again. Same text, no dropout (the last
# weights give their number twice): so two models. Half of the parameters went their own way on rank 1. The gradients
# that rank 0 averages for them come from weights that are not its own.
#
# **The most common wrong road** is to look at the training losses of the ranks. They differ in every run, for each rank
# reads other sequences. What may not differ is what both compute of the same text.

# %% tags=["solution"]
print(museum.experiment(4, "compare_ranks"))
log = museum.log(4)
apart = [abs(a - b) for a, b in zip(log.val_loss, log.val_loss_rank1)]
print(f"validation losses of the ranks: apart by {apart[0]:.3f} at step 0, "
      f"by up to {max(apart):.3f} later")

# %% [markdown]
# ## 13.5 exhibit_5: Exhibit 5, it has learnt what there is
#
# *measure · difficulty 2/5 · 6 min · further · idea: slow and stuck look alike from afar*
#
# What the person said who ran it: "It learns, and then it stays where it is. The model is too small for this text."
#
# The repair is a number. The healthy run's is right, and so is all between half of it and one and a half times it.
#
# Find the cause and repair it: `exhibit_5()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# How much of its own length does a weight vector move in the first step? And in the healthy run?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The update/weight ratio is a rate without a unit (section 1). A model that is thrown about does not diverge if the
# steps are clipped: it stops at a loss where the throws and the learning are in balance.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: find the bottom of a bowl by steps of a fixed length.
# ```python
# def search(step, x=0.7, tries=50):
#     for _ in range(tries):
#         x -= step if x > 0 else -step
#     return abs(x)
#
# [round(search(step), 2) for step in (0.4, 0.04, 0.004)]      # [0.1, 0.02, 0.5]
# ```
# Too long a step ends beside the bottom for ever; too short a step has not arrived. The right one lies between.
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(5, museum.log(5)))
### STUB
# museum.show(5)
### END SOLUTION

# %%
def exhibit_5():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    return "rate_too_high", "lower_rate", {"rate": 0.01}
    ### END SOLUTION

# %%
check("13.exhibit_5", exhibit_5)

# %% [markdown] tags=["solution"]
# **Why it works.** The first update changes the weights by more than a third of their length, forty times what the
# healthy run does. At a thirtieth of the rate the same run is lower after thirty steps. In the healthy run the same
# experiment makes it worse: there the rate is not what holds it back.
#
# **The most common wrong road** is the loss curve alone: flat and too high, it fits a small model, a schedule that
# ended, and a rate that is too low. The columns for the rate and for update/weight tell them apart in one look.

# %% tags=["solution"]
print(museum.experiment(5, "lower_rate"))
for k in (5, 0):
    print(f"exhibit {k}: first update {museum.log(k).update_ratio[0]:.0%} of the weights")

# %% [markdown]
# ## 13.6 exhibit_6: Exhibit 6, perfect training
#
# *fix · difficulty 2/5 · 8 min · core · idea: two curves that part, and only one is wrong*
#
# What the person said who ran it: "Training is perfect, row by row the healthy run's. It overfits terribly."
#
# Compare the validation loss with ln V before you believe the story.
#
# Find the cause and repair it: `exhibit_6()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# How can one be worse than a uniform guess? What must a model be, to be so sure and so wrong?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Overfitting makes unseen text a little harder, not impossible: validation stays far below ln V (section 3). Far above
# it means that the ids mean other things to the text than to the model. Read the held-out sequences.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two phones number the same contacts differently.
# ```python
# mine, yours = ["Ada", "Bo", "Cem"], ["Cem", "Ada", "Bo"]
# message = [yours.index(name) for name in ("Ada", "Bo")]        # [1, 2]: sent by your phone
# [mine[i] for i in message]                                     # ['Bo', 'Cem']: read by mine
# message = [mine.index(name) for name in ("Ada", "Bo")]         # [0, 1]: numbered by the one who reads
# ```
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(6, museum.log(6)))
### STUB
# museum.show(6)
### END SOLUTION

# %%
def exhibit_6():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    def encode_validation(tokenizer, texts):
        return [tokenizer.encode(text) for text in texts]

    return "tokenizer_mismatch", "show_a_batch", {"encode_validation": encode_validation}
    ### END SOLUTION

# %%
check("13.exhibit_6", exhibit_6)

# %% [markdown] tags=["solution"]
# **Why it works.** The training columns are those of the healthy run to the last digit, so nothing is wrong with
# training. The validation text decodes to nonsense, and its loss is above ln V: the model is sure of what follows a
# letter, and the letters are others. The same weights do as well on other held-out text as the healthy run's.
#
# **The most common wrong road** is to believe in overfitting, and to add dropout to a run that needs none. The second
# is to write the bytes of the text down as ids. It works here, where a token is a byte, and with no other tokenizer.

# %% tags=["solution"]
print(*museum.log(6).val_batch[0], sep="\n")
print(museum.experiment(6, "fresh_text"))

# %% [markdown]
# ## 13.7 exhibit_7: Exhibit 7, never the same number
#
# *fix · difficulty 2/5 · 6 min · further · idea: a number that will not stay the same*
#
# What the person said who ran it: "All is well. Only, the number in our report is never quite the one in the log."
#
# Weights, text and code are the same both times. What else can go into a number?
#
# Find the cause and repair it: `exhibit_7()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# The header has the last weights evaluated once more. Which number in the table should it equal?
#
# </details>
# <details><summary>Hint 2</summary>
#
# An evaluation without anything random gives the same number for the same weights (section 1). So something is drawn.
# What in this model draws random numbers, and who tells it not to?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a scale in a shop is shaken while it weighs.
# ```python
# import random
#
# class Scale:
#     shaken = True
#     def weigh(self, kilos):
#         return kilos + (random.uniform(-0.1, 0.1) if self.shaken else 0.0)
#
# scale = Scale()
# scale.weigh(2.0) == scale.weigh(2.0)                  # False
# scale.shaken = False                                  # set on the scale itself, before it is used
# scale.weigh(2.0) == scale.weigh(2.0)                  # True
# ```
# A scale that is made of scales has to tell all of them.
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(7, museum.log(7)))
### STUB
# museum.show(7)
### END SOLUTION

# %%
def exhibit_7():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    def evaluation(model):
        model.eval()

    return "eval_in_train_mode", "same_twice", {"evaluation": evaluation}
    ### END SOLUTION

# %%
check("13.exhibit_7", exhibit_7)

# %% [markdown] tags=["solution"]
# **Why it works.** The training columns are the healthy run's; the validation is a few hundredths too high, and not the
# same twice. With dropout a tenth of the activations is missing, another tenth each time. `model.eval()` tells every
# module of it, those inside of others too.
#
# **The most common wrong road** is to fix the random seed. The number then stays the same and stays wrong. The second
# is `no_grad`, which saves memory and leaves dropout on.

# %% tags=["solution"]
print(museum.experiment(7, "same_twice"))
over = [a - b for a, b in zip(museum.log(7).val_loss, museum.log(0).val_loss)]
print(f"above the healthy run's validation loss, in the last six evaluations: "
      f"by {min(over[-6:]):.3f} to {max(over[-6:]):.3f}")

# %% [markdown]
# ## 13.8 exhibit_8: Exhibit 8, one lives with them
#
# *write · difficulty 3/5 · 10 min · further · idea: when the loss rises, look at what was read*
#
# What the person said who ran it: "The loss rose twice, at about step 40 and again ten steps later. Spikes; one lives
# with them."
#
# Is it a spike, or a stair? How many steps does it last?
#
# Find the cause and repair it: `exhibit_8()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# Does the gradient norm leave the range that it had before? What then has changed: the model or the text?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A loss is a fact about weights *and* batch (section 4). Where it rises and stays up for many steps while the gradient
# stays small, the batches have become harder. Ask where the sequences of one batch come from.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a class learns words by theme, twenty of food, then twenty of sports, and is tested
# on both. Better:
# ```python
# import random
#
# words = [f"food {i}" for i in range(20)] + [f"sports {i}" for i in range(20)]
# rng = random.Random(1)                       # handed over, so that the lesson can be repeated
# rng.sample(words, len(words))[:4]            # ['food 8', 'sports 16', 'food 4', 'food 16']: each comes once
# rng.choices(words, k=4)                      # not this: one may come twice, another never
# ```
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(8, museum.log(8)))
### STUB
# museum.show(8)
### END SOLUTION

# %%
def exhibit_8():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    def order(windows, rng):
        return rng.permutation(windows)

    return "unshuffled", "texts_per_batch", {"order": order}
    ### END SOLUTION

# %%
check("13.exhibit_8", exhibit_8)

# %% [markdown] tags=["solution"]
# **Why it works.** The loss climbs by a few tenths within a step and comes down over ten: the text has changed its
# kind. A batch comes from fewer than two documents, and from nine in the healthy run. Every step follows the kind of
# the hour, and at the end the model is best at what it read last.
#
# **The most common wrong road** is to call it a spike of the optimizer. Such a spike shows in the gradient norm first.
# In the repair, the trap is drawing with replacement: `rng.integers` and `rng.choice` give an order in which a third of
# the windows never comes.

# %% tags=["solution"]
print(museum.experiment(8, "texts_per_batch"))
order = np.random.default_rng(0).choice(1000, 1000)
print(f"drawn with replacement, {len(set(order.tolist())) / 1000:.0%} of the windows come at all")

# %% [markdown]
# ## 13.9 exhibit_9: Exhibit 9, nothing has changed
#
# *fix · difficulty 3/5 · 8 min · further · idea: a line that nobody reads*
#
# What the person said who ran it: "I rewrote how the model is built. The loss is as before, so nothing has changed."
#
# The curves will not help you. Read every line above the table.
#
# Find the cause and repair it: `exhibit_9()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# Which number of this run could not possibly depend on the data, the seed or the rate? Is it right?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Count before you train (section 2): you know the shapes, so you know how many parameters there must be. The difference
# to the healthy run, divided by the width, is 320 rows: the 257 of the vocabulary, filled up to a multiple of 64.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: two clerks should keep one address book.
# ```python
# book = {"Ada": "Elm Street"}
# first, second = {"book": book}, {"book": dict(book)}       # equal, and two
# second["book"]["Ada"] = "Oak Lane"
# first["book"]["Ada"]                                       # 'Elm Street': the second has a copy
# second["book"] = first["book"]                             # the book itself
# second["book"] is first["book"]                            # True
# ```
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(9, museum.log(9)))
### STUB
# museum.show(9)
### END SOLUTION

# %%
def exhibit_9():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    def tie(model):
        model.head.weight = model.embed.weight

    return "untied", "count_parameters", {"tie": tie}
    ### END SOLUTION

# %%
check("13.exhibit_9", exhibit_9)

# %% [markdown] tags=["solution"]
# **Why it works.** The surplus is one matrix of the embedding's size. Head and embedding began equal, so that the loss
# at step 0 says nothing, and in a run this short the second matrix does no harm. In a large model it would cost memory,
# and the checkpoint would not fit the config that claims to have made it.
#
# **The most common wrong road** is a repair that copies: `.data.copy_`, or a new `Parameter` around the same memory.
# Both leave two parameters, and the optimizer steps for each of them. One object under two names is what is meant.

# %% tags=["solution"]
print(museum.experiment(9, "count_parameters"))
surplus = museum.log(9).parameters - museum.log(0).parameters
print(f"surplus: {surplus:,} = {surplus // 48} rows of 48")

# %% [markdown]
# ## 13.10 exhibit_10: Exhibit 10, it was gone in the morning
#
# *write · difficulty 4/5 · 12 min · further · idea: the end is in the row before the end*
#
# What the person said who ran it: "It ran like the healthy run, and from one step to the next it was gone."
#
# Your repair is the whole rule; the table of parts says it in words. It remembers nothing: what it must know comes in
# and goes out.
#
# Find the cause and repair it: `exhibit_10()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# Which column doubles to the end, even where all others are nan? And which one stays at 0 to the end?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A loss scale is meant to grow until gradients overflow, and then to step back: the overflow is no accident, it is how
# the scale finds its place (lesson 09). What must never happen is that the step is made.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a courier carries more parcels each day, until one does not fit; then that tour is
# given up, and the next is half as large.
# ```python
# def next_tour(parcels, days, fitted):                  # parcels, tours since the number changed, did they fit?
#     if not fitted:
#         return parcels // 2, 0, "given up"
#     days += 1
#     return (parcels, days, "done") if days < 3 else (2 * parcels, 0, "done")
#
# next_tour(8, 1, True), next_tour(8, 2, True), next_tour(16, 1, False)
# # ((8, 2, 'done'), (16, 0, 'done'), (8, 0, 'given up'))
# ```
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(10, museum.log(10)))
### STUB
# museum.show(10)
### END SOLUTION

# %%
def exhibit_10():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    def scaler(scale, good, finite):
        if not finite:
            return scale / 2, 0, False
        if good + 1 == 15:
            return 2 * scale, 0, True
        return scale, good + 1, True

    return "fp16_overflow", "largest_gradient", {"scaler": scaler}
    ### END SOLUTION

# %%
check("13.exhibit_10", exhibit_10)

# %% [markdown] tags=["solution"]
# **Why it works.** Up to step 60 the losses are the healthy run's, to the last digit. A mistake of rate or data would
# have shown. The scale has doubled once too often, and a gradient times the scale passed the end of fp16. The norm is
# then infinite, the clip multiplies infinity by zero, and a weight that is no number makes all others so in the next
# step. Healthy runs overflow, too; they leave the step out, and the column says so.
#
# **The most common wrong road** is a smaller rate: the overflow happens before the rate is used. The second is to count
# one step too many or too few, for `good` is the number *before* this step.

# %% tags=["solution"]
print(museum.experiment(10, "largest_gradient"))
log = museum.log(10)
last = max(step for step, loss in enumerate(log.train_loss) if loss == loss)
print(f"last step with a loss: {last}; scale there {log.scale[last]:,.0f}, "
      f"steps left out {log.skipped[last]:.0f}")

# %% [markdown]
# ## 13.11 exhibit_11: Exhibit 11, our restarts do us good
#
# *measure · difficulty 3/5 · 6 min · further · idea: what gets better in training alone*
#
# What the person said who ran it: "I am proud of our restarts. Three preemptions, and the training loss even profited."
#
# Compare its last three rows with the healthy run's: one of the two losses is better, one is not.
#
# Find the cause and repair it: `exhibit_11()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# What does a run have to remember over a restart, besides its weights? Which of these could be lost unseen?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A lower training loss with no lower validation loss means that the training text has become easier, and not that the
# model has become better (section 3). Compare the batches decoded at steps 0 and 75.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a reader keeps a bookmark, and somebody else opens the book for her.
# ```python
# def days(open_at, pages=12, a_day=4):
#     read, mark = [], 0
#     for _ in range(3):
#         mark = open_at(mark)
#         read.append(list(range(mark, mark + a_day)))
#         mark += a_day
#     return read
#
# days(lambda mark: 0)              # [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]
# days(lambda mark: mark)           # [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
# ```
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(11, museum.log(11)))
### STUB
# museum.show(11)
### END SOLUTION

# %%
def exhibit_11():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    def resume(position):
        return position

    return "replayed_data", "repeat_rate", {"resume": resume}
    ### END SOLUTION

# %%
check("13.exhibit_11", exhibit_11)

# %% [markdown] tags=["solution"]
# **Why it works.** Three of four sequences had been trained on before, and the batch of step 75 is that of step 0: with
# a preemption every 25 steps, the run has read its first 25 batches four times. The training loss profits, because the
# text is known. The schedule goes on as it should, so nothing else gives it away.
#
# **The most common wrong road** is off by one. Batches are counted from 0, so that the position is both the number of
# batches read and the number of the next one. One more leaves a batch out, one less reads it twice.

# %% tags=["solution"]
print(museum.experiment(11, "repeat_rate"))
first, resumed = museum.log(11).batch[0], museum.log(11).batch[4]
print(f"step {first[0]}:  {first[1]}\nstep {resumed[0]}: {resumed[1]}")

# %% [markdown]
# ## 13.12 exhibit_12: Exhibit 12, the first steps are always odd
#
# *write · difficulty 4/5 · 12 min · further · idea: the first number of a run is a test*
#
# What the person said who ran it: "After a hundred steps it is nearly where it should be. The first steps are odd, but
# they always are."
#
# Your repair passes if a fresh model of it has a loss near ln V, if each matrix has a random spread, if the norms'
# gains are 1, and if the seed decides, and nothing else. Which spread is right depends on the width and on the rate.
# Here, at width 48 and a rate of 0.01, a standard deviation of about 0.08 is; with 0.05 or less the first loss is as
# good, and the run ends worse than this one. (The matrices that write into the residual stream may have less.)
#
# Find the cause and repair it: `exhibit_12()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# What does a model know before its first step? Which loss follows, whatever the text?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The check costs one forward pass (section 2): a fresh model must be near ln V. Above it, it is sure of something, and
# wrong. Logits are sums of many products, so ask which matrix makes them, and how large its numbers are.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: how large is a sum of 400 products, and how small must the factors be?
# ```python
# import torch
#
# g = torch.Generator().manual_seed(3)                 # a seed decides, and nothing else
# for size in (1.0, 0.05):
#     a, b = (size * torch.randn(400, generator=g) for _ in range(2))
#     # size 1.0: products of size 1, a sum of the size of 20; size 0.05: a sum of the size of 0.05
# with torch.no_grad():
#     a.normal_(0.0, 0.05, generator=g)                # fills what is there, in place
# ```
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(12, museum.log(12)))
### STUB
# museum.show(12)
### END SOLUTION

# %%
def exhibit_12():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    def init(model, seed):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in model.parameters():
                if p.ndim == 1:
                    p.fill_(1.0)  # gains of the norms
                else:
                    p.normal_(0.0, 0.08, generator=generator)

    return "bad_init", "loss_at_step_0", {"init": init}
    ### END SOLUTION

# %%
check("13.exhibit_12", exhibit_12)

# %% [markdown] tags=["solution"]
# **Why it works.** The loss at step 0 is nearly eight times ln V, before anything has been trained: so neither rate nor
# data, nor anything that happens between two steps. The embedding has a standard deviation of 1, as a fresh
# `nn.Embedding` has. The head shares it, and its logits are sums over the width. The model spends its first steps on
# shrinking them.
#
# **The most common wrong road** is to shrink everything until the loss is right. It is also ln V if all is zero, and
# then no gradient flows. A second one is to draw the gains of the norms at random too: a norm whose gain is near 0 lets
# nothing through. A third is to take over 0.02, the size of GPT's first weights (Radford et al. 2018), which had a
# width of 768 and a rate of 0.00025. Here the first loss is at ln V with it, and the run ends worse than the exhibit.
# The first number of a run is a test that many bad sizes pass. (The healthy run, which also halves the matrices that
# write into the residual stream, ends lowest.)

# %% tags=["solution"]
print(museum.experiment(12, "loss_at_step_0"))
for size in (0.02, 0.08, 0.3, 1.0):
    def sized(model, seed, size=size):
        exhibit_12()[2]["init"](model, seed)
        model.embed.weight.data.mul_(size / 0.08)
    model = museum.build(replace(museum.healthy(), init=sized), 0).eval()
    ids = torch.arange(33)[None]
    print(f"embedding of size {size}: loss {float(model(ids[:, :-1], ids[:, 1:]).detach()):.1f}")


def small(model, seed):
    exhibit_12()[2]["init"](model, seed)
    for p in model.parameters():
        p.data.mul_(0.02 / 0.08 if p.ndim > 1 else 1)


for name, init in (("0.08", exhibit_12()[2]["init"]), ("0.02", small)):
    log = museum.train(replace(museum.exhibit(12), init=init)).log
    print(f"all matrices of size {name}, live, seed 0: loss at step 0 {log.loss_at_step_0:.2f}, "
          f"validation at the end {log.final_val_loss:.2f}")
print(f"recorded: exhibit {museum.log(12).final_val_loss:.2f}, "
      f"healthy {museum.log(0).final_val_loss:.2f}")

# %% [markdown]
# ## 13.13 exhibit_13: Exhibit 13, a little better
#
# *predict · difficulty 3/5 · 8 min · core · idea: a good loss proves nothing about the code*
#
# What the person said who ran it: "The loss is even a little better than the healthy run's. I see no reason to look
# further."
#
# **Predict first.** Put no question to this run until you have passed: name the experiment that would decide, and what
# it would answer.
#
# Find the cause and repair it: `exhibit_13()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# One column is four times the healthy one's, from step 0 on. Of what are there four?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The loss is a mean, and logged as one; the gradient is of what the rank computes from its micro-batches (lesson 08).
# The clip hides the difference, and so does Adam. Ask for what may not matter: into how many pieces a batch is cut.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: four classes hand in the mean mark of their pupils, and the school wants its own.
# ```python
# marks = [2.0, 3.0, 2.5, 2.5]
# sum(marks), sum(marks) / len(marks)                # (10.0, 2.5)
# sum(marks[:2]) / len(marks[:2])                    # 2.5: the number of classes is not built in
# ```
# A mark of 10 is seen at once. A gradient that is four times as long is not.
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(13, museum.log(13)))
### STUB
# museum.show(13)
### END SOLUTION

# %%
def exhibit_13():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    def accumulate(losses):
        return losses.mean()

    return "accumulation_not_divided", "gradient_per_micro_batch", {"accumulate": accumulate}
    ### END SOLUTION

# %%
check("13.exhibit_13", exhibit_13)

# %% [markdown] tags=["solution"]
# **Why it works.** The same batch has a norm that grows with the number of its pieces. In the healthy run it has the
# same norm in one piece and in eight. Here the mistake costs nothing: AdamW divides gradients by their own size, and
# the clip takes the rest. It costs as soon as somebody changes the number of micro-batches, or the clip, or takes plain
# SGD: then the same command means another run.
#
# **The most common wrong road** is to divide by 4. It repairs this run and breaks the next. The second is `float` or
# `detach` on the way: then there is no gradient at all.

# %% tags=["solution"]
print(museum.experiment(13, "gradient_per_micro_batch"))
first = [museum.log(k).grad_norm[0] for k in (13, 0)]
print(f"gradient norm at step 0: {first[0]:.2f}, healthy {first[1]:.2f}, "
      f"ratio {first[0] / first[1]:.2f}")

# %% [markdown]
# ## 13.14 exhibit_14: Exhibit 14, an architecture that writes without mistakes
#
# *write · difficulty 2/5 · 8 min · further · idea: too good on everything is too good*
#
# What the person said who ran it: "We have found an architecture that writes nearly without mistakes. On every text!"
#
# Find the cause and repair it: `exhibit_14()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# What would a model have to know to be right about almost every letter of a text that it has never seen?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Targets are shifted, the text is unseen, and still the loss is near 0 (section 3). Then the answer is visible. Test it
# without training: what may a logit not react to?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: who may read whose letters? Row: reader, column: writer; a teacher reads those of
# all pupils that came to the school no later than she did.
# ```python
# import torch
#
# came = torch.tensor([1, 2, 2, 4])
# came[:, None] >= came[None, :]            # tensor of bool, (4, 4); row 0: [True, False, False, False]
# ```
# Look at the corners first: row 0 and the last row. And at the type.
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(14, museum.log(14)))
### STUB
# museum.show(14)
### END SOLUTION

# %%
def exhibit_14():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    def mask(T):
        return torch.ones(T, T, dtype=torch.bool).tril()

    return "future_leak", "change_the_future", {"mask": mask}
    ### END SOLUTION

# %%
check("13.exhibit_14", exhibit_14)

# %% [markdown] tags=["solution"]
# **Why it works.** A change of later tokens moves logits that come before them. Training is low and validation is low,
# on any text, so nothing is learnt by heart; the decoded targets are one ahead, so the task is right. What is left is
# the mask. One diagonal too many is enough, for the next token is what is asked for.
#
# **The most common wrong road** is the upper triangle: rows and columns change places, and a mask that is True where
# something is *hidden* looks the same. Say it in words before you write it: row is the query, True may be seen.

# %% tags=["solution"]
print(museum.experiment(14, "change_the_future"))
print(exhibit_14()[2]["mask"](4).int())

# %% [markdown]
# ## 13.15 exhibit_15: Exhibit 15, it has converged
#
# *predict · difficulty 2/5 · 6 min · further · idea: a flat curve has two reasons*
#
# What the person said who ran it: "The curve went flat after a quarter of the run. The model has learnt what there is
# to learn."
#
# **Predict first.** Put no question to this run until you have passed: name the experiment that would decide, and what
# it would answer.
#
# Find the cause and repair it: `exhibit_15()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# The weights do not move by a hair after step 25. Is it that they cannot, or that they may not?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A loss is flat if there is nothing more to learn, or if nobody steps (section 2). The columns for the rate and for
# update/weight tell which. Then ask how many steps the schedule believes to have made.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a parking meter is paid for 60 minutes, and four clocks move its hand.
# ```python
# def left(minutes, moves, paid=60):
#     return max(0, paid - minutes * moves)
#
# [left(m, 4) for m in (0, 10, 15, 40)]         # [60, 20, 0, 0]
# [left(m, 1) for m in (0, 10, 15, 40)]         # [60, 50, 45, 20]
# ```
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(15, museum.log(15)))
### STUB
# museum.show(15)
### END SOLUTION

# %%
def exhibit_15():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    return "schedule_too_short", "go_on", {"ticks": 1}
    ### END SOLUTION

# %%
check("13.exhibit_15", exhibit_15)

# %% [markdown] tags=["solution"]
# **Why it works.** The rate falls from step 15 on and is zero from step 25 on: the shape is that of the schedule, at
# four times the speed, and a step has four micro-batches. Given a rate again, the same weights go on learning at once;
# a converged model would not. The preemption at step 25 is innocent: the rate was half of its peak at step 20.
#
# **The most common wrong road** is to add steps, or to raise the peak: both are multiplied by zero. A quarter, to make
# up for the four, is the second: then the schedule would take four times as long as the run.

# %% tags=["solution"]
print(museum.experiment(15, "go_on"))
run = museum.train(replace(museum.exhibit(15), **exhibit_15()[2]))
print(f"live, seed 0: repaired {run.log.final_val_loss:.2f}; recorded: "
      f"exhibit {museum.log(15).final_val_loss:.2f}, healthy {museum.log(0).final_val_loss:.2f}")
assert abs(run.log.final_val_loss - museum.log(0).final_val_loss) < 0.1

# %% [markdown]
# ## 13.16 exhibit_16: Exhibit 16, a bad batch now and then
#
# *measure · difficulty 3/5 · 8 min · further · idea: what a table of every tenth row hides*
#
# What the person said who ran it: "Every now and then there is a bad batch. The average looks all right to me."
#
# The table shows every tenth step only. The whole column is `museum.log(16).train_loss`. Shards are read in turn, from
# shard 0 at step 0.
#
# Find the cause and repair it: `exhibit_16()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# At which steps does the loss jump? Write down five of them. What do they have in common?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Chance keeps no appointments: what comes at equal distances has a cause that comes at equal distances (section 1).
# Eight is the number of something in this run. Which of the eight is it?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: seven cooks take turns, and the soup is salty on some days.
# ```python
# salty = [4, 11, 18, 25]
# [day % 7 for day in salty]                    # [4, 4, 4, 4]: the same cook each time
#
# def serve(cook, soup):
#     return soup                               # the soups were fine: it was the serving
# ```
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(16, museum.log(16)))
### STUB
# museum.show(16)
### END SOLUTION

# %%
def exhibit_16():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    def read(shard, windows):
        return windows

    return "bad_shard", "loss_by_shard", {"read": read}
    ### END SOLUTION

# %%
check("13.exhibit_16", exhibit_16)

# %% [markdown] tags=["solution"]
# **Why it works.** The jumps come at steps 5, 13, 21, …: all leave 5 when divided by 8. Single steps, and back at once:
# so neither the optimizer nor the order of documents, which last for many steps. The loss by shard points at shard 5.
# Its text is whole, and reading it with the wrong number type made nonsense of it.
#
# **The most common wrong road** is to leave the shard out. That hides the mistake and an eighth of the data. The second
# is to believe the table: no multiple of ten leaves 5 when divided by 8, so the table shows not one of the jumps.

# %% tags=["solution"]
print(museum.experiment(16, "loss_by_shard"))
losses = museum.log(16).train_loss
jumps = [s for s in range(9, 100) if losses[s] > np.median(losses[s - 8 : s]) + 1]
print(f"jumps at {jumps}; divided by 8 they leave {set(s % 8 for s in jumps)}")
assert all(step % 8 != 5 for step in range(0, 100, 10))

# %% [markdown]
# ## 13.17 exhibit_17: Exhibit 17, is this not the healthy run?
#
# *design · difficulty 4/5 · 8 min · further · idea: a run may be wrong and do well*
#
# What the person said who ran it: "Is this not the healthy run? It is even faster at the start."
#
# Here the log alone gives the cause away, in one column. Name the experiment that **excludes its nearest rival**, the
# cause that would explain a first update as large as this one, too. The repair is a number; all between half and double
# the healthy run's is right.
#
# Find the cause and repair it: `exhibit_17()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# Compare the first rows of the two tables, column by column. Which is the only one that cannot be an effect?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Some columns are decided by you and not by the run (section 1): the rate is one of them. A first update that is too
# large has two explanations, a peak that is too high and a peak that comes too early. Which experiment sees the peak?
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a runner is out of breath after one minute. Too fast a pace, or no warm-up? Let her
# run at a third of the pace: if she then covers more ground, the pace was too high.
# ```python
# def pace(minute, top=12.0, warm_up=5):
#     return top * min(1.0, (minute + 1) / (warm_up + 1))
#
# [round(pace(m), 1) for m in (0, 2, 5, 20)]          # [2.0, 6.0, 12.0, 12.0]
# 5 / 50                                              # 0.1: the warm-up as a share of 50 minutes
# ```
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(17, museum.log(17)))
### STUB
# museum.show(17)
### END SOLUTION

# %%
def exhibit_17():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    return "no_warmup", "lower_rate", {"warmup": 0.1}
    ### END SOLUTION

# %%
check("13.exhibit_17", exhibit_17)

# %% [markdown] tags=["solution"]
# **Why it works.** The rate is at its peak in the first row. It is not too high there for the rest of the run: at a
# thirtieth of it, the run is far behind, as the healthy one is. So the peak is right and comes too early.
#
# **What surprises**: with this seed the run ends no worse than the healthy one. A model of two layers bears its first
# steps at full rate. A warm-up is an insurance, and large models are those that have had the accident. To say what it
# costs here takes several seeds and an interval.
#
# **The most common wrong road** is to hand in 10, the number of steps. The part is a share.

# %% tags=["solution"]
print(museum.experiment(17, "lower_rate"))
for k in (17, 0):
    log = museum.log(k)
    print(f"exhibit {k}: first rate {log.lr[0]:.4f}, largest {max(log.lr):.4f}, first update "
          f"{log.update_ratio[0]:.1%} of the weights, ends at {log.final_val_loss:.2f}")

# %% [markdown]
# ## 13.18 exhibit_18: Exhibit 18, validation must be broken
#
# *measure · difficulty 3/5 · 10 min · further · unaided · idea: a gap that opens has more than one explanation*
#
# What the person said who ran it: "Training goes better than ever. Validation must be broken."
#
# **Assistant off: no AI, no hints at first, only the log and one experiment.** A transfer: no tour of the lesson has
# shown a run like this one. Write down three causes that would open a gap between the curves, and for each what else it
# would show. Only then put your question.
#
# Find the cause and repair it: `exhibit_18()` takes nothing and returns the triple (cause, experiment, repair), two
# strings and a dict with one entry, as the example at the top of the page.
#
# <details><summary>Hint 1</summary>
#
# Since when does the gap open, before the first preemption or after it? On which text is the model good?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A gap between the curves says that the training text is known (section 3). It may be known because it was met after
# every restart, or in every batch, or because there is too little of it. Count what the run has met before.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The same idea on another problem: a newspaper prints 5,000 words a day. How much of it is new?
# ```python
# printed = ["rain today", "goal", "rain today", "rain today", "goal", "rain today"]
# len(set(printed)) / len(printed)                       # 0.33: a third, rounded
# archive = ["rain today", "goal", "vote", "strike"]     # what there was to print, whole and once
# ```
#
# </details>

# %%
### BEGIN SOLUTION
print(museum.evidence(18, museum.log(18)))
### STUB
# museum.show(18)
### END SOLUTION

# %%
def exhibit_18():
    """() → (cause, experiment, {part: repaired})."""
    ### BEGIN SOLUTION
    def documents(documents, validation, rng):
        return documents  # whole, and once

    return "duplicated_data", "repeat_rate", {"documents": documents}
    ### END SOLUTION

# %%
check("13.exhibit_18", exhibit_18)

# %% [markdown] tags=["solution"]
# **Why it works.** Nearly all sequences had been trained on before, and none of the validation text is among them. The
# gap opens within the first twenty steps, so no restart is needed to explain it; two rows of one decoded batch are the
# same. Validation is whole: on other held-out text the model is as bad. A fiftieth of every document, fifty times, is
# what it has read.
#
# **The most common wrong road** is to raise dropout. It treats overfitting as a property of the model, and it is one of
# the data: there is too little of them. The second is `replayed_data`, which would have begun at step 25.

# %% tags=["solution"]
print(museum.experiment(18, "repeat_rate"))
print(museum.experiment(18, "fresh_text"))
log = museum.log(18)
gap = [val - log.train_loss[int(step)] for step, val in zip(log.val_steps, log.val_loss[:-1])]
print("validation less training loss at steps 0, 20, 40, …:", *(f"{g:.2f}" for g in gap[::2]))
