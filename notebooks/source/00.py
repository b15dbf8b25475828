# %% [raw]
# title = "Pre-training in ten minutes"
# question = "What turns a pile of text into a program that writes?"
# able = [
#   "tell the whole story of pre-training: text, tokens, prediction, loss, loop, samples",
#   "read a bits-per-byte figure and say what it is better or worse than",
#   "price a model a million times larger, roughly, on the back of an envelope",
#   "train on a text of your own, and check your work with the tools of this course",
# ]
# needs = ["python", "tensor", "probability", "logarithm"]
# reading = 25
# exercises = 9
# route = "core"
# paper = "Shannon 1951, Prediction and Entropy of Printed English, Bell System Technical Journal 30"
#
# [teaches]
# corpus = "The text that a model learns from: a collection of documents."
# token = "A piece of text, from one byte to a few words, with a number. Models read and write tokens."
# vocabulary = "All the tokens that a model knows. Its size is written V."
# context = "How many tokens a model sees at once. Its length is written T."
# "language model" = "A program that gives every possible next token a probability, given the tokens before it."
# "held-out text" = "Documents that are kept away from training, so that a model can be judged on text it has never seen."
# "cross-entropy" = "The loss: minus the logarithm of the probability that the model gave to what really came next, averaged over tokens. In nats with the natural logarithm, in bits with base 2."
# "bits per byte" = "The loss over a text, in bits, divided by the text's length in bytes. It compares models, tokenizers and compressors alike; lower is better."
# bigram = "A model that predicts from the last token only."
# logits = "The numbers that a model outputs, one for each token of the vocabulary, before a softmax turns them into probabilities."
# softmax = "Turns any numbers into probabilities: exponentials, divided by their sum."
# parameter = "One of the numbers that training changes."
# step = "One update of all parameters, from the gradient on one batch of text."
# FLOP = "One addition or multiplication of floating-point numbers; the unit in which compute is counted."

# %% [markdown] tags=["instructor"]
# **Aim.** Everyone has seen the whole process once, on real text, before any part is opened. **Timing** (40 min): start the notebook first,
# since section 5 trains for a minute; sections 1–4 15 min, watch and discuss the samples 10 min, cost 5 min, the three exercises 10 min.
#
# **Two misconceptions.** *"It stores the text and copies from it."* Ask: how large is the model's file, and how large is the text? *"A lower
# loss per token means a better model."* Ask: what if the other model's tokens are twice as long?
#
# **Discuss.** The model learned spelling before grammar, and sense not at all. Why in that order? · Whose text is this, and what would a
# model trained on it get wrong about today?

# %% tags=["setup"]
import math
import time
from collections import Counter

import numpy as np
import torch

from minigpt import GPT, generate
from minigpt.classroom import check, hint, progress, reveal, show
from minigpt.classroom.shelf import runs_folder
from minigpt.classroom.viz import BLUE, GREY, ORANGE, PURPLE, figure, label_end

started = time.perf_counter()
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")

# %% [markdown]
# Everything here runs on your machine, without a network. Training takes one or two minutes on two cores. You do not need to understand each line yet:
# every part has a lesson of its own, and this one shows where the parts belong.
#
# ## 1. Text
#
# Pre-training begins with text, a lot of it, and nothing else: no labels, no questions, no answers. Companies take trillions of words from the web, books and
# code. You take 25 megabytes that came with this course: novels, plays, and speeches of American presidents, all free to use.

# %%
from minigpt.text.sources import builtin, usable_domains

# docs: part of Python itself, always there
domains, missing = usable_domains(["books", "drama", "speeches", "docs"])
domains = domains[:3]
for domain in domains:
    text = next(builtin([domain])).text
    print(f"--- {domain} ---\n{text[3000:3300].strip()}\n")

# %% [markdown] tags=["slide"]
# ### Pre-training: predict the next token
#
# - text, and nothing else: no labels, no questions
# - one loss: how surprised was the model?
# - everything it can do comes from that

# %% [markdown]
# ## 2. Tokens
#
# A model computes with numbers, so text is cut into pieces, and each piece gets a number. The pieces are **tokens**, and the list of all
# pieces is the **vocabulary**. The cutter is learned from the text, too: frequent words become one token, rare ones are put together from
# several. Lesson 02 builds it.

# %%
from minigpt.config import DataConfig, OptimConfig, RunConfig, TrainConfig, modern
from minigpt.prepare import prepare

out = runs_folder() / "first"
config = RunConfig(
    modern(layers=3, width=128, context=128, vocab_size=2048),
    DataConfig(domains=tuple(domains)),
    OptimConfig(steps=480, batch_tokens=2048),
    TrainConfig(
        out=str(out), resume=True, device="cpu", precision="fp32", compile="off",
        eval_every=40, eval_tokens=16_384,
    ),  # fmt: skip
)
tokenizer, manifest = prepare(config.data, out / "data", config.model.vocab_size)

# %%
sentence = "The unbelievable Mr. Pickwick ordered another breakfast."
tokens = tokenizer.encode(sentence)
print(" | ".join(tokenizer.decode([token]) for token in tokens))
print(tokens)
assert tokenizer.decode(tokens) == sentence  # nothing is lost

# %% [markdown]
# " another" is one token, with its space. " breakfast" takes four, "Pickwick" four, " unbelievable" six: each is put together from pieces that are frequent.
#
# About one document in twenty is **held out**, drawn by a hash of its name: the model never trains on it. All figures below are measured there (during training on a part of it, to
# save time).

# %%
train, val = manifest["splits"]["train"], manifest["splits"]["val"]
bytes_per_token = val["bytes"] / val["tokens"]
print(f"training: {train['documents']} documents, {train['bytes'] / 1e6:.1f} MB, "
      f"{train['tokens'] / 1e6:.1f} million tokens")
print(f"held out: {val['documents']} documents, {val['bytes'] / 1e6:.1f} MB; a token is "
      f"{bytes_per_token:.2f} bytes long")

# %% [markdown]
# ## 3. Predict the next token
#
# The whole task is this: given the tokens so far, say what comes next. Not one answer, but a probability for each of the 2,048 tokens. Then look
# at the token that really came. If the model gave it probability p, the model pays −log₂ p bits: nothing if it was certain and right, a lot
# if it was surprised.
#
# Add up the bits over a text and divide by the text's length in bytes. That is **bits per byte**. It is also how small the text could be compressed with the model's help,
# so you can compare it with ordinary compressors: raw text needs 8 bits per byte.
#
# **Predict.** A model that knows nothing gives every one of the 2,048 tokens the same probability. How many bits per byte is that? (One token is about
# three bytes.)

# %%
guess = None
reveal("00.p1", guess, truth=math.log2(2048) / bytes_per_token)

# %% [markdown]
# The next two cells read the held-out text back from its tokens, and ask two compressors what they make of it.

# %%
from minigpt import Shards
from minigpt.evaluate import compressors

# shards: the files of tokens that `prepare` has written
shards = {split: Shards.open(out / "data", split, context=128) for split in ("train", "val")}


def all_tokens(split):
    """The tokens of a split, one document after the other -> int64 (n,)"""
    count = len(shards[split].manifest["splits"][split]["shards"])
    return np.concatenate([shards[split].tokens(i) for i in range(count)]).astype(np.int64)


seen, unseen = all_tokens("train"), all_tokens("val")
held_out_bytes = tokenizer.decode_bytes(unseen[unseen != tokenizer.eot])
compressed = compressors(held_out_bytes)
print({name: round(bits, 2) for name, bits in compressed.items()}, "bits per byte")

# %% [markdown] tags=["slide"]
# ### Bits per byte
#
# probability p for what came → costs −log₂ p bits
#
# sum over the text ÷ bytes of the text
#
# - raw: 8 · a compressor: between 2 and 3 · lower is better
# - compares models, tokenizers, compressors

# %% [markdown]
# ## 4. The simplest model: count
#
# Which token follows "the"? Count. Make a table with a row for each token and a column for each that may follow: a **bigram** model. A pair that never
# occurred must not get probability zero, or one surprise would cost infinitely many bits; so each row borrows a little from how common a token is on its own.

# %%
V = config.model.vocab_size
pairs = np.bincount(seen[:-1] * V + seen[1:], minlength=V * V).reshape(V, V).astype(np.float64)
common = np.bincount(seen, minlength=V) + 1
common = common / common.sum()  # (V,): how common each token is
borrowed = 50  # as if each token had been seen 50 times more, followed by what is common
# (V, V), each row sums to one
bigram = (pairs + borrowed * common) / (pairs.sum(1, keepdims=True) + borrowed)
assert np.allclose(bigram.sum(1), 1)

after_the = bigram[tokenizer.encode(" the")[0]]
for i in after_the.argsort()[::-1][:6]:
    print(f"after ' the': {tokenizer.decode([i])!r} with probability {after_the[i]:.3f}")

# %% [markdown]
# A lone " b" is the beginning of a word that is put together from pieces. Now the bits:

# %%
def bits_per_byte_of(probabilities):
    """Probabilities of the tokens that really came, without ends of documents -> bits per byte"""
    return -np.log2(probabilities).sum() / len(held_out_bytes)


is_text = unseen[1:] != tokenizer.eot
ladder = {
    "knows nothing": bits_per_byte_of(np.full(is_text.sum(), 1 / V)),
    "how common each token is": bits_per_byte_of(common[unseen[1:]][is_text]),
    "bigram": bits_per_byte_of(bigram[unseen[:-1], unseen[1:]][is_text]),
    **compressed,
}
for name, bits in ladder.items():
    print(f"{bits:5.2f} bits per byte   {name}")
assert ladder["bigram"] < ladder["how common each token is"] < ladder["knows nothing"]

# %% [markdown]
# Why 3.63 and not 8, for a model that knows nothing? Because the tokenizer knows something: which pieces are frequent. And counting pairs beats both compressors. That is less surprising than it looks: gzip and xz begin each file knowing nothing, while the table has read 24
# megabytes of the same kind of text before. Everything that you will call knowledge from here on is of this sort. Let the table write:

# %%
rng, token, written = np.random.default_rng(0), tokenizer.encode(" the")[0], []
for _ in range(60):
    token = rng.choice(V, p=bigram[token])
    written.append(int(token))
print("the" + tokenizer.decode(written))

# %% [markdown]
# Each pair of pieces is plausible, and the whole is nonsense. It sees one token back. To do better, a model must see further, and counting cannot: there
# are 2,048³ triples of tokens, over eight billion, and your text has a few million tokens. Nearly every count would be zero.
#
# ## 5. A GPT
#
# So instead of a table, take a function with adjustable numbers, **parameters**, that looks at up to 128 tokens and outputs 2,048 numbers. And
# instead of counting, adjust the parameters a little after each piece of text, in the direction that would have made the real next token more
# probable. The function is a GPT. Lessons 04 to 06 build it, line by line.

# %%
fresh = GPT(config.model, seed=0)
count = sum(p.numel() for p in fresh.parameters())
print(f"{config.model.layers} layers, width {config.model.width}: {count:,} parameters")


def write(model, prompt="", tokens=40, seed=0):
    """Draw one token after another, a little in favour of the likely ones (lesson 07)."""
    start = [[tokenizer.eot, *tokenizer.encode(prompt)]]  # eot: the mark between documents
    (new,) = generate(model, start, max_tokens=tokens, temperature=0.8, top_p=0.95, seed=seed)
    return prompt + tokenizer.decode(new)


print("before training it writes:", write(fresh, "The king")[:120])

# %% [markdown]
# Every position of a text is an exercise for the model. The inputs of a window are all its tokens but the last, the targets all but the first: the same text, shifted by
# one.

# %%
def read(step, sequences=16):
    """The windows of one training step: inputs and targets, (16, 128) each."""
    windows = shards["train"].batch(seed=0, step=step, sequences=sequences)
    return [torch.from_numpy(array) for array in shards["train"].read(windows)]


inputs, targets = read(step=0)
print("input: ", tokenizer.decode(inputs[0, :12].tolist()).replace("\n", "⏎"))
print("target:", tokenizer.decode(targets[0, :12].tolist()).replace("\n", "⏎"))
assert inputs[0, 1:].equal(targets[0, :-1])

# %% [markdown]
# And this is the loop. At the largest companies it is the same: take text, compute the loss and its gradient, change the parameters. The loss is the
# mean surprise, −log p, called **cross-entropy**. Programs take the natural logarithm and count in **nats**; one nat is 1 / ln 2, about 1.4 bits. Ten steps by hand:

# %%
optimizer = torch.optim.AdamW(fresh.parameters(), lr=3e-3)  # decides how large each step is
for step in range(10):
    inputs, targets = read(step)
    loss = fresh(inputs, targets)  # the mean of -log p over 16 × 128 predictions, in nats
    loss.backward()  # the gradient: in which direction each parameter would make it larger
    optimizer.step()  # a small step the other way
    optimizer.zero_grad()
    print(f"step {step}: {loss / math.log(2) / bytes_per_token:.2f} bits per byte, on text it "
          "has not seen before")

# %% [markdown]
# **Predict.** `pretrain` does the same with more care, 480 times: a million tokens, one or two minutes. Where will it end on the held-out text, in bits per byte? (The bigram, gzip and xz are in the list above.)

# %%
guess = None

# %%
from minigpt import pretrain

run = pretrain(config)
reveal("00.p2", guess, truth=run.summary["val_bpb"])

# %%
rows = [row for row in run.metrics if "val_bpb" in row]  # the last is measured on all held-out text
steps = [0, *(row["step"] for row in rows)]
bits = [ladder["knows nothing"], *(row["val_bpb"] for row in rows)]
fig, ax = figure(width=7.5, height=3.8)
ax.plot(steps, bits, "o-", color=BLUE, lw=2.5)
label_end(ax, steps, bits, "GPT, live", BLUE)
for name, color in (("bigram", ORANGE), ("gzip", GREY), ("xz", PURPLE)):
    ax.plot([0, steps[-1]], [ladder[name]] * 2, "--", color=color)
    label_end(ax, steps[-1], ladder[name], name, color)
ax.set(xlabel="steps of 2,048 tokens", ylabel="bits per byte, held-out text", ylim=(1.8, 3.8))
rivals = ("gzip", "xz", "bigram")
passed = {name: next(s for s, b in zip(steps, bits) if b < ladder[name]) for name in rivals}
assert bits[-1] < ladder["bigram"] < ladder["xz"] < ladder["gzip"]
show(fig, alt=f"Live, one run: the GPT falls below gzip by step {passed['gzip']}, below xz by "
              f"step {passed['xz']}, below the "
              f"bigram by step {passed['bigram']}, and ends at {bits[-1]:.2f} bits per "
              "byte.")  # fmt: skip

# %% [markdown]
# The table of pairs has four million numbers and has counted through the whole corpus. The GPT has a fifth as many, has read an eighth of the text, and passes
# it, because it sees further back than one token. And it is not done: the curve still falls. With a larger model and three minutes, `python3 course.py pretrain` goes well below
# 1.8 (the [README](../README.md) has the figures).
#
# ## 6. What it writes
#
# Loss is a number. Here is what the same model wrote on the way, from the same random numbers each time:

# %%
for row in run.metrics:
    if "sample" in row:
        print(f"--- after {row['step']} steps ---\n{' '.join(row['sample'].split())[:200]}\n")

# %% [markdown]
# Before training it was a hail of pieces (section 5). A fifth of the way through there are words, commas and quotation marks; at the end phrases, and the manner of a speech, a
# budget or a play. Your eye can hardly tell the last samples apart; the loss can. Sense does not come at this size. What is easiest to learn and saves most bits comes first: which pieces are common, then which follow each other. Lesson 15
# measures the order.
#
# Ask it yourself: change the prompts, and run the cell again. A model does not answer with a word. It outputs one number for each token of the vocabulary, the **logits**, and
# a **softmax** turns them into probabilities: take e to the power of each, and divide by the sum of all. Of some answers it is sure, of others not:

# %%
print(write(run.model, "The captain looked at the", seed=1), "\n")
fig, axes = figure(width=8, height=2.8, columns=2)
for ax, prompt in zip(axes, ("the people of the United", "The captain looked at the")):
    with torch.no_grad():
        logits = run.model(torch.tensor([[tokenizer.eot, *tokenizer.encode(prompt)]]))[0, -1]
    top = torch.softmax(logits, -1).topk(6)
    names = [repr(tokenizer.decode([i])) for i in top.indices.tolist()]
    ax.barh(names[::-1], top.values.numpy()[::-1], color=BLUE)
    ax.set(xlabel="probability", xlim=(0, 1), title=f"{prompt} …")
    print(f"after {prompt!r}: {names[0]} with probability {top.values[0]:.2f}")
show(fig, alt="Two bar charts of the six likeliest next tokens: after 'United' one bar takes "
              "most, after 'at the' all bars are short.")

# %% [markdown] tags=["slide"]
# ### The loop
#
# 1. take text
# 2. compute the loss and its gradient
# 3. change the parameters a little
#
# a few hundred times here, a million times there

# %% [markdown]
# This is all that a language model ever does. A chat assistant is this machine, much larger, trained on much more, and then shown how a conversation
# goes (lesson 16).
#
# ## 7. A million times larger
#
# What would a frontier model cost? Training takes about 6 operations for each parameter and each token: 2 forward, 4 backward (lesson 05 counts
# them). A rule of thumb says that a model wants about 20 tokens for each parameter (Hoffmann et al. 2022). A large rented GPU, an NVIDIA H100, does up to
# 989 · 10¹² operations a second on paper ([data sheet](https://www.nvidia.com/en-us/data-center/h100/)). Training gets about 40 per cent of that. An hour costs about 3 dollars; prices
# move, and lesson 19 has sources.

# %% tags=["long"]
def training_cost(parameters, tokens, peak=989e12, used=0.4, dollars_per_hour=3.0):
    """-> operations, GPU hours, dollars"""
    operations = 6 * parameters * tokens
    hours = operations / (peak * used) / 3600
    return operations, hours, hours * dollars_per_hour


def short(x):
    """Three digits at most, with a unit that one can say aloud."""
    for name, size in (("trillion", 1e12), ("billion", 1e9), ("million", 1e6), ("thousand", 1e3)):
        if x >= size:
            return f"{x / size:.3g} {name}"
    return f"{x:.3g}" if x >= 1 else f"{x:.5f}"


print(f"{'parameters':>16} {'tokens':>16} {'operations':>12} {'H100 hours':>16} {'dollars':>16}")
for scale in (1, 1e3, 1e6):
    n, tokens = count * scale, 20 * count * scale
    operations, hours, dollars = training_cost(n, tokens)
    print(f"{short(n):>16} {short(tokens):>16} {operations:>12.1e} {short(hours):>16} "
          f"{short(dollars):>16}")

# %% [markdown]
# A thousand times the parameters cost a *million* times as much, because the text grows too. Is the formula any good? Meta reports 6.4 million H100 hours for Llama 3 70B,
# on 15 trillion tokens ([model card](https://github.com/meta-llama/llama-models)):

# %%
_, hours, dollars = training_cost(70.6e9, 15e12)
print(f"the formula: {hours / 1e6:.1f} million hours; reported: 6.4 million; ratio "
      f"{6.4e6 / hours:.1f}")
assert 1 < 6.4e6 / hours < 2

# %% [markdown] tags=["slide"]
# ### What a run costs
#
# operations = 6 × parameters × tokens
#
# hours = operations ÷ (peak × used) ÷ 3600
#
# a thousand times the parameters: a million times the cost

# %% [markdown]
# Within a factor of two, on the optimistic side: real clusters wait, fail and restart. Lesson 19 closes most of the gap.
#
# ## 8. One paper
#
# **Shannon 1951, [Prediction and Entropy of Printed English](https://doi.org/10.1002/j.1538-7305.1951.tb01366.x).** Seventy years before GPTs, Claude Shannon asked people to guess the next letter, and
# bounded English at 0.6 to 1.3 bits a letter. A letter is about a byte, so compare it with your model's figure. Read the paper, or its first ten pages, with three questions. *What was held fixed* when he compared people and tables? *What would change your mind* about the bound: one book, one
# person? *Which number can you recompute?* He gives log₂ 27 as 4.76 bits, for 26 letters and the space, and 4.03 for single letters by how common they are:

# %%
text = held_out_bytes.decode("utf-8", "replace").lower()
letters = "".join(c if c.isalpha() else " " for c in text if ord(c) < 128)
counts = np.array(list(Counter(" ".join(letters.split())).values()))
share = counts / counts.sum()
entropy = -(share * np.log2(share)).sum()
print(f"no knowledge: {math.log2(27):.2f} bits; single letters in our text: {entropy:.2f} bits; "
      "Shannon 1951: 4.76 and 4.03")
assert abs(entropy - 4.03) < 0.15

# %% [markdown]
# ## 9. Your turn: three exercises of three minutes
#
# Exercises live in `exercises/`, and they are checked by a function that tries to tell you *which* idea went wrong. The first is already answered, and
# wrongly. Run the cell and read what it says.

# %%
def to_bits_per_byte(nats_per_token, tokens, n_bytes):
    """Mean loss in nats per token, over so many tokens of a text of n_bytes → bits per byte."""
    return nats_per_token * tokens / n_bytes


check("00.to_bits_per_byte", to_bits_per_byte)

# %% [markdown]
# A hint is a question first, then a principle, then the same idea worked on another problem. You decide how far to go:

# %%
hint("00.to_bits_per_byte")

# %% [markdown]
# Now mend the function above, and run its cell again. Then ask where you stand. Everything is kept in a file on your own machine, without
# your name, and nothing is sent anywhere:

# %%
progress()

# %% [markdown]
# For the other two, make your own copies of the exercises and open `my/00_pretraining_in_ten_minutes.ipynb`:
#
# ```
# python3 course.py start 00
# ```
#
# ## 10. Your own text
#
# Any folder of text files will do, from about 100 kilobytes on. A terminal is enough:
#
# ```
# python3 course.py pretrain --text my_notes/ --out runs/mine --time-limit 120
# python3 course.py chat --run runs/mine
# ```
#
# ## The map
#
# | what you saw | where you build it |
# |---|---|
# | the text, and what is in it | 01, 14 |
# | the tokenizer | 02 |
# | counting, and the ladder of baselines | 03 |
# | the GPT | 04 attention, 05 the whole model, 06 what changed since 2019 |
# | sampling | 07 |
# | the loop, and why it is stable and fast | 08 to 11, and 13 when it is not |
# | what it knows | 12, 15 |
# | from this to an assistant | 16, 17 |
# | a million times larger | 18 to 24 |
#
# ## Summary
#
# 1. Pre-training is predicting the next token, over and over, on text that nobody has labelled.
# 2. The loss is the surprise, −log p. In bits per byte it compares with gzip, with counting, and with any other model.
# 3. Counting pairs sees one token back. A GPT sees its whole context, and passes the table and strong compressors after a minute or two of training.
# 4. It learns spelling first, then words and grammar. Sense takes size and data.
# 5. Compute is 6 operations for each parameter and token. That priced Llama 3 70B within a factor of two; very long contexts cost extra (lesson 04).
#
# Your model stays in `runs/first`. Later lessons open it.

# %% tags=["timing"]
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
