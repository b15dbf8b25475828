# %% [raw]
# title = "Generation"
# question = "A model gives probabilities. How do you get text from it, well and fast?"
# able = [
#   "say why the likeliest text is bad text, and shape a distribution with temperature, top-k, top-p and min-p",
#   "generate with a KV cache, for several prompts at once, and prove that nothing changed but the speed",
#   "speed a model up with a small one without changing what it writes, and tell beforehand by how much",
#   "hold a model to a format, and say what that does to its probabilities",
# ]
# needs = ["token", "vocabulary", "context", "logits", "softmax", "cross-entropy", "bits per byte", "held-out text", "parameter", "bigram", "query", "key", "value", "causal mask", "head", "special token"]
# reading = 65
# exercises = 135
# route = "further"
# paper = "Leviathan et al. 2023, Fast Inference from Transformers via Speculative Decoding, arXiv 2211.17192"
#
# [teaches]
# "greedy decoding" = "Always taking the likeliest next token."
# temperature = "The number T by which logits are divided before the softmax: below 1 likely tokens gain, above 1 unlikely ones do."
# "top-k" = "Drawing only among the k likeliest tokens."
# "top-p" = "Drawing only among the smallest set of likeliest tokens whose probabilities reach p together; also called nucleus sampling."
# "min-p" = "Drawing only among tokens that are at least min-p times as likely as the likeliest."
# "repetition penalty" = "Making tokens less likely because they have occurred already."
# "KV cache" = "The keys and values of all earlier tokens, kept so that each new token costs one position instead of all."
# prefill = "The first pass of generation, which computes the keys and values of the whole prompt at once."
# "left-padding" = "Filling shorter prompts of a batch up at their beginning, so that all end in the same column."
# "beam search" = "Keeping the few likeliest beginnings at each step, instead of one."
# "speculative decoding" = "A small model guesses some tokens ahead, the large one checks them all in a single pass."
# "draft model" = "The small model that guesses in speculative decoding."
# "acceptance rate" = "The probability that the large model keeps a guess of the draft model."
# "constrained decoding" = "Taking away, at each step, the tokens that could no longer lead to a text of the wanted form."
# throughput = "Tokens a second over all requests together."
# latency = "The time that one request waits, for its first token or from each token to the next."
# "continuous batching" = "Giving the place of a finished answer to the next request at once, while the others go on."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners leave able to choose a way of sampling for a task, and to make generation fast without changing its result. **Timing** (90 min): exercise 1
# 5 min, sections 1–3 25 min, exercise 2 10 min, section 4 10 min, exercise 4 15 min, sections 5–6 10 min, sections 8–10 10 min, discussion 5 min. Section 7 is
# *further*: another 30 min.
#
# **Two misconceptions.** *"The best text is the likeliest one, so a better search gives a better text."* Ask: toss a coin 100 times that falls on heads with
# probability 0.6. What is the likeliest sequence, and how many heads does a typical one have? *"Speculative decoding is an approximation: the small model's taste
# gets in."* Ask: the draft always says "the". Which tokens come out, and how fast?
#
# **Discuss.** A service caps answers at a temperature of 1 and top-p 0.9. Whose words never get written? · A model must answer in JSON. Should the format be
# forced by a constraint or learned by training, and how would you find out which is better?

# %% tags=["setup"]
import itertools
import math
import random
import time

import torch
import torch.nn.functional as F

import minigpt
from minigpt import GPT, ModelConfig, generate
from minigpt.classroom import model_from, museum, recorded, reveal, show
from minigpt.classroom.sampling_view import SamplingView
from minigpt.classroom.shelf import live_sentence
from minigpt.classroom.viz import BLUE, GREEN, GREY, ORANGE, VERMILLION
from minigpt.classroom.viz import figure, label_end, plot_live, plot_record, visible
from minigpt.model import KVCache
from minigpt.text.sources import builtin, held_out, usable_domains

started = time.perf_counter()
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")
run = model_from("00")
model, tokenizer = run.model.eval(), run.tokenizer
_ = torch.set_grad_enabled(False)  # nothing is trained on this page

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>00: the model puts out one logit for each token of the vocabulary. How do they become probabilities?</summary>By a softmax: e to the power of
# each, divided by the sum of them all. Adding the same number to every logit changes nothing.</details>
# <details><summary>04: a new token comes. Which keys and values of the earlier tokens change?</summary>None. A position sees itself and what came before it, so
# nothing of it depends on what comes later. Section 4 is built on that.</details>
# <details><summary>02: is " 1597" one token?</summary>It depends on what the tokenizer has learnt. Digits, and even parts of a word, may be cut anywhere. Section 8
# must cope with that.</details>

# %% [markdown]
# > **Try first: 07.1 `greedy_is_not_best`** (5 min), before you read on. The exercises are in `exercises/07_generation.ipynb`; `python3 course.py start 07` makes a
# > copy for you in `my/`.
#
# ## 1. Always the likeliest token
#
# A language model answers one question: which token comes next, and with which probability? To get a text, choose a token, append it, ask again. All the art is in
# the word *choose*.
#
# The simplest choice is the likeliest token. It is called **greedy decoding**. Here it is, as naive as can be: the whole text goes through the model for every
# new token.

# %%
def next_logits(tokens):
    """tokens: a list of T ids -> logits (V,) for the token after them"""
    return model(torch.tensor([tokens]))[0, -1]


def greedy(tokens, n):
    new = []
    for _ in range(n):
        new.append(next_logits(tokens + new).argmax().item())
    return new


openings = ["The captain said that", "In the morning she", "He had never seen", "When the war"]
prompts = [[tokenizer.eot, *tokenizer.encode(opening)] for opening in openings]
written = [greedy(prompt, 100) for prompt in prompts]
assert written[0] == generate(model, prompts[:1], max_tokens=100, temperature=0)[0]
for opening, new in zip(openings, written):
    print("•", opening + " ".join(tokenizer.decode(new).split(" "))[:150].replace("\n", "⏎"))

# %% [markdown]
# (A prompt begins with the special token that starts a document. The assertion says that the naive loop gives what `minigpt.generate` gives.)
#
# You probably see it at once: it goes round in circles. Put a number on it. A *4-gram* is four tokens in a row. Walk through a text, and count which share of its
# 4-grams has occurred before in it. A text of 100 tokens has 97 of them.
#
# **Predict.** Greedy decoding writes 100 tokens. Which share of its 4-grams has occurred before? (A number between 0 and 1. `None` is allowed, but a guess teaches you
# more, and a wrong one comes back in three days.)
#
# > **Your turn: 07.8 `repeats`** (10 min): measure it yourself, before the next cell does.

# %%
def share_repeated(tokens, n=4):
    grams = list(zip(*(tokens[i:] for i in range(n))))
    return 1 - len(set(grams)) / len(grams)  # each different one is new once


guess = None
looped = sum(map(share_repeated, written)) / len(written)
reveal("07.p2", guess, truth=looped)

# %% [markdown]
# And people? Take the same number of tokens from books that the model has not seen:

# %%
usable, _ = usable_domains(["books", "drama", "speeches", "docs"])
unseen = [d.text for d in builtin(usable[:1]) if held_out(d.id)][:12]
human = [tokenizer.encode(text[len(text) // 3 :][:2000])[:100] for text in unseen]
by_people = sum(map(share_repeated, human)) / len(human)
print(f"share of 4-grams that repeat: greedy {looped:.2f}, people {by_people:.3f}")
assert looped > by_people + 0.1

# %% [markdown]
# Why does it loop? Once a phrase has come back, the last tokens are the same as they were one round before. If these decide the next token, the same one follows,
# and the text is caught. There is no luck that could free it: greedy decoding uses none.
#
# A second force may add to it. Holtzman et al. (2020) found in a large model that each repetition of a sentence makes the next one *more* likely: the model has learnt
# that what was said twice is said again. Does yours know that? Take "sentences" of twelve tokens from the unseen books, write each six times in a row, and look at
# the mean probability of their tokens in each round. Then the same with the last twelve tokens of each greedy text: those are its own loops.

# %%
def by_round(sentence, rounds=6):
    """-> (rounds,) mean probability of the sentence's tokens, the first time, the second, …"""
    tokens = [tokenizer.eot, *sentence * rounds]
    p = model(torch.tensor([tokens[:-1]])).softmax(-1)[0]
    said = p.gather(1, torch.tensor(tokens[1:])[:, None])
    return said.view(rounds, len(sentence)).mean(1)


sentences = [tokens[start : start + 12] for tokens in human for start in (20, 40, 60)]
rounds = torch.stack([by_round(sentence) for sentence in sentences])
heard = torch.stack([by_round(new[-12:]) for new in written])  # what greedy decoding ended in
fig, ax = figure(width=7, height=2.8)
for name, curves, color in (("its own loops", heard, VERMILLION), ("sentences", rounds, BLUE)):
    ax.plot(range(1, 7), curves.mean(0), "o-", color=color)
    label_end(ax, 6, curves.mean(0)[-1], name, color)
ax.set(xlabel="how often the model has read it", ylabel="mean probability", ylim=(0, None))
growth = rounds.mean(0)[-1] / rounds.mean(0)[0]
show(fig, alt="Mean probability of a token by round, for twelve tokens of a book and for twelve "
              "of a greedy loop; the loop lies above.")
print(f"sixth time against first: {growth:.2f} times as likely")

# %% [markdown]
# A factor near 1 says: this model hardly notices that it has read the sentence before. Then its loops come from the first cause alone: it goes by the last few
# tokens. A factor of 2 or more says that it has learnt to copy, as a longer run of yours may have.
#
# So the likeliest next token, taken 100 times, gives a text that no person would write. Look at it from the other side: how likely are the tokens that *people*
# choose?

# %%
def chances(prompt, tokens):
    """The probability of each of the tokens, where they follow on the prompt."""
    p = model(torch.tensor([[*prompt, *tokens[:-1]]]))[0, len(prompt) - 1 :].softmax(-1)
    return p.gather(1, torch.tensor(tokens)[:, None])[:, 0]


p_human = [chances([tokenizer.eot], tokens) for tokens in human[:4]]
p_greedy = [chances(prompt, new) for prompt, new in zip(prompts, written)]
fig, ax = figure(width=8, height=2.6)
ax.plot(p_human[0][:80], color=BLUE, linewidth=1)
ax.plot(p_greedy[0][:80], color=VERMILLION, linewidth=1)
label_end(ax, 79, p_human[0][79], "people", BLUE)
label_end(ax, 79, p_greedy[0][79], "greedy", VERMILLION)
ax.set(xlabel="token of the text", ylabel="probability", ylim=(-0.06, 1))
show(fig, alt="Probability of each token under the model: that of greedy text soon repeats a "
              "pattern; a book's is near zero most of the time, with peaks.")
print(f"mean probability: people {torch.cat(p_human).mean():.2f}, "
      f"greedy {torch.cat(p_greedy).mean():.2f}")

# %% [markdown]
# People surprise the model again and again: that is what makes a sentence worth reading. A coin that falls on heads with probability 0.6 has *all heads* as its
# likeliest sequence of 100 tosses, and yet you will never see it. What you see is typical, not likeliest. So draw.
#
# %% [markdown] tags=["slide"]
# ### The likeliest text is not a typical text
#
# greedy decoding: the same phrase again and again
#
# people: surprising every few words

# %% [markdown]
# ## 2. One distribution, four knobs
#
# Drawing from the model's own probabilities is honest, and has a problem of its own: thousands of tokens that do not fit have a hundredth of a per cent each, or less, and
# *together* they are drawn often. One such token, and the text is off the road. Everything in this section is about that tail.
#
# Three places in an unseen book, so that you see different cases: where the model is surest, where it is least sure, and one in between. (How unsure is measured by
# the *entropy*: the mean of −log₂ p over what may come, each token weighted by its p, in bits. A choice between 8 equally likely tokens has 3 bits.)

# %%
def entropy(p):
    return -(p * p.clamp(min=1e-30).log2()).sum(-1)


text = [tokenizer.eot, *human[0]]
everywhere = model(torch.tensor([text]))[0]  # (T, V)
order = entropy(everywhere.softmax(-1))[20:].argsort() + 20
places = {"sure": order[0], "middling": order[len(order) // 2], "unsure": order[-1]}
cases = {tokenizer.decode(text[t - 9 : t + 1]): everywhere[t] for t in places.values()}
for name, (before, logits) in zip(places, cases.items()):
    p = logits.softmax(-1)
    top = p.argsort(descending=True)[:4].tolist()
    best = " ".join(f"{visible(tokenizer.decode([i]))} {p[i]:.2f}" for i in top)
    small = p[p < 0.001]
    print(f"{name}: …{before!r}\n   {entropy(p):.1f} bits; {best}; "
          f"{len(small)} tokens below 0.001 have {small.sum():.2f} together")

# %% [markdown]
# **Temperature.** Divide the logits by a number T before the softmax. T = 1 changes nothing. A T below 1 makes all differences larger, so that the likely tokens
# gain; T towards 0 is greedy decoding. A T above 1 makes them smaller, and evens the tokens out.
#
# On probabilities it means: raise each to the power 1/T, then divide by the sum.
#
# **Predict.** Two tokens have probabilities 0.8 and 0.2. You set T = 0.5. What does the first become?

# %%
guess = None
reveal("07.p1", guess)

# %%
logits = cases[list(cases)[1]]
for T in (0.5, 1.0, 1.5):
    by_logits = (logits / T).softmax(-1)
    by_powers = logits.double().softmax(-1) ** (1 / T)
    by_powers = (by_powers / by_powers.sum()).float()
    torch.testing.assert_close(by_logits, by_powers, atol=1e-6, rtol=1e-4)
    theirs = minigpt.sampling.filter_logits(logits, temperature=T).softmax(-1)
    torch.testing.assert_close(by_logits, theirs, atol=1e-6, rtol=1e-4)
    print(f"T = {T}: {entropy(by_logits):.2f} bits, likeliest token {by_logits.max():.2f}")

# %% [markdown]
# Temperature shrinks the tail, and never cuts it. Three knobs cut:
#
# - **top-k** (Fan et al. 2018): keep the k likeliest tokens. The same number everywhere, though sometimes two tokens make sense and sometimes two hundred.
# - **top-p**, or nucleus sampling (Holtzman et al. 2020): walk from the likeliest token down until the probabilities together reach p, and keep what you passed. Many where the model is
#   unsure, few where it is sure.
# - **min-p** (Nguyen et al. 2024): keep the tokens at least min-p times as likely as the likeliest one.
#
# What is left is divided by its sum, so that it sums to one again.
#
# > **Your turn: 07.2 `top_p`** (10 min): someone's version has two mistakes. Then **07.3 `sample_step`** (10 min): bring the lines of a whole step into order.
#
# By hand, on sorted probabilities, each knob is one comparison:

# %%
def kept_by_hand(logits, top_k=0, top_p=1.0, min_p=0.0):
    """-> the ids that one of the knobs keeps, likeliest first"""
    p, ids = logits.double().softmax(-1).sort(descending=True, stable=True)
    if top_k:
        stays = torch.arange(len(p)) < top_k
    elif min_p:
        stays = p >= min_p * p[0]
    else:
        stays = p.cumsum(0) - p < top_p  # what is ahead of a token does not yet reach top_p
    return ids[stays].tolist()


print(f"{'':>16}" + "".join(f"{name:>10}" for name in places))
for knob in ({"top_k": 40}, {"top_p": 0.9}, {"min_p": 0.1}):
    sizes = []
    for logits in cases.values():
        kept, theirs = kept_by_hand(logits, **knob), minigpt.sampling.filter_logits(logits, **knob)
        assert set(kept) == set(theirs.isfinite().nonzero()[:, 0].tolist())
        sizes.append(len(kept))
    print(f"{str(knob)[1:-1]:>16}" + "".join(f"{size:>10}" for size in sizes) + "  tokens kept")

# %% [markdown]
# Read the columns. Top-k keeps as many where the model is sure as where it is not: too many where it is sure, too few where it is unsure. Top-p and min-p follow
# the model. They differ where it is unsure: top-p keeps a long list of faint candidates if it takes them to reach p, min-p compares each of them with the likeliest.
#
# Play with it. Every number in this view is computed from your model's logits. Try to find a setting that keeps all sensible tokens in all three places and no
# senseless one.

# %%
view = SamplingView(cases, tokenizer, temperature=0.8, top_p=0.9)
show(view, alt="Three panels, from sure to unsure: the twelve likeliest tokens, grey as the model "
               "has them, blue at temperature 0.8 and top-p 0.9; the rest are marked out.")

# %% [markdown]
# **What breaks if** you forget the order? Temperature first or top-p first gives different sets. Temperature 2 before top-p 0.9 lets in the tail that you wanted to
# cut. After the cut, it cannot:

# %%
logits = cases[list(cases)[1]]
hot_first = minigpt.sampling.filter_logits(logits, temperature=2.0, top_p=0.9).isfinite().sum()
cut_first = minigpt.sampling.filter_logits(logits, top_p=0.9).isfinite().sum()
print(f"kept with temperature 2 first: {hot_first} tokens; with top-p first: {cut_first}")
assert hot_first > cut_first

# %% [markdown]
# Both orders are in use. `minigpt` applies the temperature first, as transformers does; llama.cpp applies it last unless told otherwise. When you compare settings of two programs, ask for the order.
#
# %% [markdown] tags=["slide"]
# ### Four knobs
#
# | knob | keeps |
# |---|---|
# | temperature | all; likely tokens gain below 1 |
# | top-k | the k likeliest |
# | top-p | the likeliest that reach p together |
# | min-p | those not much less likely than the best |

# %% [markdown]
# ## 3. Against repetition
#
# Does drawing cure the loops? Let the model write at several temperatures, and count again:

# %%
temperatures, seeds = [0.2, 0.5, 0.7, 1.0, 1.3], [0, 1, 2]
shares = torch.zeros(len(temperatures), len(seeds))
for (i, T), (j, seed) in itertools.product(enumerate(temperatures), enumerate(seeds)):
    answers = generate(model, prompts, max_tokens=100, temperature=T, seed=seed)
    shares[i, j] = sum(map(share_repeated, answers)) / len(answers)
low, high = shares.min(1).values, shares.max(1).values
fig, ax = figure(width=7, height=2.8)
ax.plot([0, 1.4], [by_people] * 2, ":", color=GREY)
label_end(ax, 1.4, by_people, "people", GREY)
ax.plot([0, *temperatures], [looped, *shares.mean(1)], "o-", color=BLUE)
ax.vlines(temperatures, low, high, color=BLUE)
ax.set(xlabel="temperature (0: greedy)", ylabel="4-grams that repeat", ylim=(-0.02, 1))
show(fig, alt="Live, three seeds: the share of repeated 4-grams falls from most of them at "
              "temperature 0 to almost none at 1.")
print(f"Live, {len(seeds)} seeds: at temperature 0.2 between {low[0]:.2f} and {high[0]:.2f}, "
      f"at 1 between {low[3]:.2f} and {high[3]:.2f}")
assert shares[3].mean() < looped - 0.1

# %% [markdown]
# It does, and at temperature 1 nothing more is needed against loops. At low temperatures, which people like for their tidiness, loops come back. Another cure is a
# **repetition penalty** (Keskar et al. 2019): the logit of each token that has occurred is divided by a number such as 1.2 if it is positive, and multiplied by it if it is negative. Both make it smaller.
# (The paper only divides. That would make a negative logit larger, so today's programs ask for the sign.)

# %%
def penalised(logits, seen, by=1.2):
    """logits (V,), seen: ids that have occurred -> (V,) with theirs made smaller"""
    smaller = torch.where(logits > 0, logits / by, logits * by)
    occurred = torch.zeros_like(logits, dtype=torch.bool)
    occurred[list(seen)] = True
    return torch.where(occurred, smaller, logits)


print(f"greedy, no penalty: {share_repeated(written[0]):.2f} of 4-grams repeat")
for by in (1.2, 1.5, 2.0):
    tokens = list(prompts[0])
    for _ in range(100):
        tokens.append(penalised(next_logits(tokens), tokens[1:], by).argmax().item())
    new = tokens[len(prompts[0]) :]
    print(f"penalty {by}: {share_repeated(new):.2f}; "
          + openings[0] + tokenizer.decode(new)[:90].replace("\n", "⏎"))  # fmt: skip

# %% [markdown]
# A strong penalty breaks the circle, a weak one may not. What does it cost? People repeat themselves, with reason: *the*, commas, the name of whoever the story is
# about. So measure it on the unseen books: the model's bits per token, with the penalty on and off. And **what breaks if** you add 5 to all logits? The softmax does not notice. The penalty does:

# %%
def bits_with(by, tokens, shift=0.0):
    """Mean bits per token of a text, when what has occurred in it is penalised."""
    logits = model(torch.tensor([[tokenizer.eot, *tokens[:-1]]]))[0] + shift
    rows = [penalised(row, tokens[:t], by) for t, row in enumerate(logits)]
    return F.cross_entropy(torch.stack(rows), torch.tensor(tokens)).item() / math.log(2)


def over_books(**how):
    return sum(bits_with(tokens=tokens, **how) for tokens in human[:6]) / 6


plain, gentle, strong = (over_books(by=by) for by in (1.0, 1.2, 1.5))
print(f"bits per token: {plain:.2f} without, {gentle:.2f} with 1.2, {strong:.2f} with 1.5")
print(f"after adding 5 to all logits: {over_books(by=1.0, shift=5.0):.2f} without, "
      f"{over_books(by=1.2, shift=5.0):.2f} with 1.2")
old = [token in tokens[:t] for tokens in human for t, token in enumerate(tokens)]
print(f"share of tokens that have occurred in the same piece of 100: {sum(old) / len(old):.2f}")
assert strong > plain and abs(over_books(by=1.0, shift=5.0) - plain) < 1e-3

# %% [markdown]
# Two faults, then. The penalty hits what a text needs: a table whose rows all carry the same column names, a program, a story with a hero. And it depends on where a
# model's logits have their zero, which training never fixed: it is not a function of the probabilities. A ban on repeated 4-grams is blunter still: it can make a
# name impossible to write a second time. Use them when a small model loops, and know what they break.
#
# ## 4. The KV cache
#
# The naive loop of section 1 computes everything anew for each token. Here is how much of that is waste. The causal mask lets nothing earlier depend on
# anything later. So the keys and values of old positions must be the same numbers as one step before. Check:

# %%
def keys_of(tokens):
    """Keys of the first layer's heads, before they are turned by position: (T, heads · D)"""
    block = model.blocks[0]
    return block.attn.k(block.norm1(model.embed(torch.tensor(tokens))))


def stream_of(tokens):
    """What the last layer reads at each position, (T, C): its keys and values are made of it."""
    record = {}
    model(torch.tensor([tokens]), record=record)
    return record["residual"][-2][0]


text = prompts[0] + written[0][:20]
torch.testing.assert_close(keys_of(text)[:-1], keys_of(text[:-1]))
torch.testing.assert_close(stream_of(text)[:-1], stream_of(text[:-1]), atol=1e-4, rtol=1e-3)
n = 100
print(f"to write {n} tokens, the naive loop computes {n * (n + 1) // 2:,} positions; {n} are new")

# %% [markdown]
# (Counted for a prompt of one token.) So keep them. A step then needs only the new token: its query, key and value; the key and value go into the **KV cache**; the query is compared with all keys in
# it. Queries of old positions are never needed again: they have had their answer.
#
# > **Your turn: 07.4 `decode_step`** (15 min): one new position, with the keys and values that were kept.
#
# For a whole model it is the same in every layer. `minigpt.model.KVCache` holds the keys and values of all layers; a model that gets one appends to it:

# %%
def greedy_cached(tokens, n):
    cache, new = KVCache(model.config, batch=1, size=len(tokens) + n), []
    feed = tokens  # first the whole prompt, afterwards one token at a time
    for _ in range(n):
        new.append(model(torch.tensor([feed]), cache=cache)[0, -1].argmax().item())
        feed = new[-1:]
    return new


cache = KVCache(model.config, 1, len(text))
one_by_one = torch.cat([model(torch.tensor([[token]]), cache=cache) for token in text], dim=1)
torch.testing.assert_close(one_by_one, model(torch.tensor([text])), atol=1e-4, rtol=1e-3)
assert greedy_cached(prompts[0], 60) == greedy(prompts[0], 60)
print("the same logits, up to rounding, and the same text")

# %% [markdown]
# **What breaks if** the new token is not told where it stands? With a cache, the model sees one token and could think that it is the first. Give every token position
# 0, and look at how far the probabilities are off. The measure is half the sum of all differences: what one token loses another gains, and it should count once.

# %%
cache, rows = KVCache(model.config, 1, len(text)), []
for token in text:
    rows.append(model(torch.tensor([[token]]), cache=cache, positions=torch.tensor([0]))[0, 0])
wrong, right = torch.stack(rows).softmax(-1), one_by_one[0].softmax(-1)
moved = (wrong - right).abs().sum(-1) / 2
print(f"probability that goes to other tokens: {moved[:3].mean():.2f} at the first three "
      f"tokens, {moved[-10:].mean():.2f} at the last ten")
assert moved[-10:].mean() > 1e-3

# %% [markdown]
# No error, no crash: only probabilities that are a little off. The comparison with the uncached logits finds it. That test belongs in every program with a cache.
#
# The price is memory: for every token a key and a value, for every layer and every head that has its own.
#
# $$\text{bytes} = 2 \cdot \text{layers} \cdot \text{heads} \cdot D \cdot \text{tokens} \cdot \text{rows} \cdot \text{bytes a number}$$
#
# Rows are the texts in the batch, heads those with keys and values of their own, and D is the size of a head.
#
# **Predict.** 12 layers, 12 heads of size 64, numbers of 2 bytes (fp16), one text of 1,024 tokens. How many MiB (2²⁰ bytes) does the cache take?

# %%
guess = None
reveal("07.p3", guess)

# %%
c, rows, tokens = model.config, 3, 70
cache = KVCache(c, batch=rows, size=tokens)
by_formula = 2 * c.layers * c.kv_heads * c.head_size * tokens * rows * 4
assert by_formula == cache.k.nbytes + cache.v.nbytes
print(f"your model, {rows} texts of {tokens} tokens in fp32: {by_formula / 2**20:.2f} MiB")
print(f"the one above, {1024:,} tokens in fp16: {2 * 12 * 12 * 64 * 1024 * 2 / 2**20:.0f} MiB")

# %% [markdown]
# > **Your turn: 07.5 `cache_bytes`** (5 min): predict it for a model with shared heads.
#
# And the gain? Measure one more token after a text of each length. The model for this is fresh and larger than yours, with four layers of 256: what it says does not
# matter here, and small models spend most of a step on overhead.

# %%
def fastest(f, repeats=5):
    """Seconds of the fastest call of f: the one that other programs disturbed least."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        f()
        times.append(time.perf_counter() - begin)
    return min(times)


big = GPT(ModelConfig(layers=4, width=256, context=512, vocab_size=2048)).eval()


def cached_seconds(length, rows=1):
    """For one more token in each row, after `length` tokens."""
    tokens, cache = torch.randint(2048, (rows, length + 1)), KVCache(big.config, rows, length + 1)
    big(tokens[:, :-1], cache=cache)

    def step():
        cache.crop(length)
        big(tokens[:, -1:], cache=cache)

    return fastest(step, repeats=12)


# %% tags=["timing"]
lengths = [32, 64, 128, 256, 448]
kept = [cached_seconds(length) for length in lengths]
naive = [fastest(lambda: big(torch.randint(2048, (1, length + 1)))) for length in lengths]
fig, ax = figure(width=7, height=3)
for name, seconds, color in (("naive", naive, VERMILLION), ("with a cache", kept, BLUE)):
    ax.plot(lengths, [1e3 * s for s in seconds], "o-", color=color)
    label_end(ax, lengths[-1], 1e3 * seconds[-1], name, color)
ax.set(xlabel="tokens before it", ylabel="ms for one more token", ylim=(0, None))
show(fig, alt="Live, on this machine: the time for one more token grows with the text without a "
              "cache, and stays almost level with one.")
print(f"after {lengths[-1]} tokens: {1e3 * naive[-1]:.0f} ms naive, {1e3 * kept[-1]:.1f} ms with "
      f"a cache, {naive[-1] / kept[-1]:.0f} times faster")
print(f"prefill of {lengths[-1]} tokens: {lengths[-1] / naive[-1]:,.0f} tokens/s; "
      f"decoding: {1 / kept[-1]:,.0f} tokens/s")

# %% [markdown]
# The last line is worth a second look. Generation has two phases. The **prefill** reads the prompt, all positions in one pass, and is limited by arithmetic.
# *Decoding* gives one token a pass, and each pass reads every weight of the model from memory to use it once. So a prompt of some length is read much faster than an
# answer is written, on nearly every machine. Sections 5, 7 and 9 are three ways of giving a pass more to do.

# %% [markdown] tags=["slide"]
# ### KV cache
#
# old keys and values never change: keep them
#
# - one position for each new token, not all of them
# - memory: 2 · layers · heads · D · tokens · bytes
# - prefill: many tokens a pass; decoding: one

# %% [markdown]
# ## 5. Several prompts at once
#
# A decoding pass over eight texts costs little more than over one. But prompts differ in length, and a batch is a rectangle. The gaps are filled with some token, the padding. Where?
# The new token is appended at the end, and is predicted from the last column. So the texts must *end* together: **left-padding**. Then two things are still to be
# said: nobody may look at the padding, and the text counts its positions from its own beginning.
#
# > **Your turn: 07.6 `left_padded`** (15 min): make tokens, positions and mask.
#
# Break each of the three, and measure how much of the probability moves to other tokens, against the short prompt alone. The model is a small one with fresh weights and a
# learned vector for each place, as in GPT-2:

# %%
c = ModelConfig("gpt2", layers=3, width=60, heads=5, kv_heads=5, head_size=12, mlp_width=96,
                context=32, vocab_size=71, activation="gelu")  # fmt: skip
fresh = GPT(c, seed=7).eval()
for parameter in fresh.parameters():
    parameter.data *= 3  # fresh models are indifferent to everything; this one is not
rng = random.Random(5)
pairs = [[rng.choices(range(1, 71), k=k) for k in (8, 3)] for _ in range(40)]  # a long, a short


def moved(make):
    """Probability that goes to other tokens at the end of the short prompt, mean over the pairs."""
    shares = []
    for long, short in pairs:
        tokens, positions, documents = make(long, short)
        batch = fresh(tokens, positions=positions, doc_ids=documents)[1, -1].softmax(-1)
        alone = fresh(torch.tensor([short]))[0, -1].softmax(-1)
        shares.append((batch - alone).abs().sum().item() / 2)
    return sum(shares) / len(shares)


# %%
def right(long, short):
    return minigpt.sampling.left_pad([long, short], "cpu")


ways = {
    "padding on the right": lambda a, b: (torch.tensor([a, b + [0] * 5]), None, None),
    "on the left, padding seen, positions not shifted": lambda a, b: (right(a, b)[0], None, None),
    "on the left, positions not shifted": lambda a, b: (right(a, b)[0], None, right(a, b)[2]),
    "on the left, padding seen": lambda a, b: (*right(a, b)[:2], None),
    "all three right": right,
}
tokens, positions, _ = right(*pairs[0])
print("second row:", tokens[1].tolist(), "at", positions[1].tolist())
found = {name: moved(make) for name, make in ways.items()}
for name, share in found.items():
    print(f"{name:>48}: {share:.3f}")
assert found["all three right"] < 1e-4 < 0.01 < min(list(found.values())[:4])

# %% [markdown]
# The engine says who may see whom with document numbers, as in lesson 04: padding is document 0, text is document 1. Your own model turns queries and keys
# by their position instead of adding a vector (lesson 06). There only distances count, and positions that are not shifted do no harm. The other two mistakes do.
#
# And all together: a batch of four prompts gives what each gives alone. (Greedy texts may part where two tokens are equally likely up to rounding, so the cell asks
# for three of four.)

# %%
batch = generate(model, prompts, max_tokens=20, temperature=0)
singly = [generate(model, [prompt], max_tokens=20, temperature=0)[0] for prompt in prompts]
lengths = [len(prompt) for prompt in prompts]
print("prompts of", lengths, "tokens; rows that agree:", sum(a == b for a, b in zip(batch, singly)))
assert sum(a == b for a, b in zip(batch, singly)) >= 3

# %% [markdown]
# ## 6. Looking for the likeliest text
#
# Greedy decoding takes the best step, not the best way (that was exercise 1). **Beam search** looks further: keep the B likeliest beginnings, continue each with every
# token, keep the B likeliest of all these.

# %%
def beam_search(tokens, n, beams):
    """-> the likeliest continuation by n tokens that was found, and its log probability"""
    rows, scores = torch.tensor([tokens]), torch.zeros(1)  # (B, T), (B,)
    for _ in range(n):
        logp = model(rows)[:, -1].log_softmax(-1)  # (B, V)
        scores, best = (scores[:, None] + logp).flatten().topk(beams)
        parent, token = best // logp.shape[1], best % logp.shape[1]
        rows = torch.cat([rows[parent], token[:, None]], dim=1)
    return rows[0, len(tokens) :].tolist(), scores[0].item()


assert beam_search(prompts[0], 20, beams=1)[0] == written[0][:20]
ways = {}
for beams in (1, 4, 16):
    found = [beam_search(prompt, 50, beams) for prompt in prompts]
    score = sum(logp for _, logp in found) / len(found) / math.log(2)
    ways[beams] = score, sum(share_repeated(new) for new, _ in found) / len(found)
    print(f"{beams:>2} beams: log2 of the probability {score:>7.1f}, 4-grams that repeat "
          f"{ways[beams][1]:.2f}; {tokenizer.decode(found[1][0])[:50]!r}")
assert ways[16][0] > ways[1][0]
print(f"people, for comparison: 4-grams that repeat {by_people:.2f}")

# %% [markdown]
# A better search finds likelier text, and it repeats itself much as greedy text does. The fault was never the search: it is what was searched for. So beam search is not used for stories or chat. It is used where the answer is nearly decided by the question, as in
# translation or speech recognition: there the likeliest answer is close to the only right one.

# %% [markdown] tags=["slide"]
# ### Which way for which task?
#
# - one right answer: greedy, or beam search
# - open text: draw, with a cut tail
# - a format: constrain (section 8)

# %% [markdown]
# ## 7. *Further:* a small model that guesses
#
# Section 4 ended with a waste: a pass that makes one token reads all weights for it. A pass over five tokens reads the same weights. If only you knew the next four
# tokens, you could check them all in a single pass.
#
# So let a small **draft model** guess them (**speculative decoding**, Leviathan et al. 2023, Chen et al. 2023). The large model, with distribution p (after temperature and cut, if you use them), reads text and
# guesses in one pass, and so has p for the place of each guess. The draft has told its own distribution q, from which it drew. Now go through the guesses in order:
#
# - keep guess x with probability min(1, p(x) / q(x));
# - at the first that is not kept, draw a token from the positive part of p − q, divided by its sum, and drop the later guesses;
# - if all were kept, p for the place after them gives one more token for free.
#
# **Why is this exact?** Take one place. How often does token x come out?
#
# 1. Guessed and kept: q(x) · min(1, p(x)/q(x)) = min(p(x), q(x)).
# 2. Add that up over all x: a guess is kept with probability Σ min(p, q). So it is not kept with probability 1 − Σ min(p, q); call it r.
# 3. The positive part of p − q is p − min(p, q). The sum of p is 1, so that this one's is 1 − Σ min(p, q): r again.
# 4. Not kept, and then x drawn: r · (p(x) − min(p(x), q(x))) / r = p(x) − min(p(x), q(x)).
# 5. Together, at x: min(p, q) + p − min(p, q) = p(x). Whatever q is.
#
# (If r is 0, then p = q, and every guess is kept.) A place is judged only if every guess before it was kept. Then its p and q are those after the text that is really
# written. So the proof holds for one place after another, and for the whole text.
#
# > **Your turn: 07.7 `accept`** (20 min): the rule for one guess, before you see it done for thousands at once.
#
# Believe the proof, and test the code. Draw 20,000 tokens, with a draft that is quite wrong, and compare the counts with p by a chi-square test. Its p-value says how often
# honest draws would be off by more: below 0.01, suspect a mistake.

# %%
def chi_square(counts, p):
    """p-value of counts (V,) against probabilities (V,)."""
    expected = counts.sum() * p
    statistic = ((counts - expected) ** 2 / expected).sum()
    degrees = torch.tensor((len(p) - 1) / 2, dtype=torch.float64)
    return torch.special.gammaincc(degrees, statistic.double() / 2).item()


g = torch.Generator().manual_seed(12)
p = torch.tensor([0.40, 0.25, 0.15, 0.10, 0.06, 0.04])
q = torch.tensor([0.05, 0.30, 0.05, 0.40, 0.10, 0.10])  # the draft
n = 20_000
x = torch.multinomial(q, n, replacement=True, generator=g)
keep = torch.rand(n, generator=g) < p[x] / q[x]
rest = torch.multinomial((p - q).clamp(min=0), n, replacement=True, generator=g)
wrong = torch.multinomial(p, n, replacement=True, generator=g)
counts = torch.bincount(torch.where(keep, x, rest), minlength=len(p))
naive = torch.bincount(torch.where(keep, x, wrong), minlength=len(p))
print(f"kept {keep.float().mean():.3f}; the sum of min(p, q) is {torch.minimum(p, q).sum():.3f}")
print(f"p-value {chi_square(counts, p):.2f}; drawing the rest from p: {chi_square(naive, p):.3f}")
assert chi_square(counts, p) > 0.01 > chi_square(naive, p)

# %% [markdown]
# The second p-value is **what breaks if** you draw the replacement from p instead: it seems natural, and gives too much to what the draft likes.
#
# The sum of min(p, q) is the **acceptance rate** α. If it were the same at each place, a pass with γ guesses would give 1 token for sure, one more with probability α,
# another with α², and so on: (1 − α^(γ+1)) / (1 − α) on average.
#
# **Predict.** α = 0.8, and 4 guesses. How many tokens does a pass of the large model give on average?

# %%
guess = None
reveal("07.p4", guess)

# %% [markdown]
# The gain in time is smaller, because the draft's own passes cost something. Say each costs c passes of the large model. Then γ guesses and a check cost γ c + 1, if a check of several tokens
# costs no more than a pass with one. Plain decoding would have needed a pass for each token:

# %%
def tokens_per_pass(alpha, ahead):
    return sum(alpha**i for i in range(ahead + 1))


def speed_up(alpha, ahead, c):
    return tokens_per_pass(alpha, ahead) / (ahead * c + 1)


fig, ax = figure(width=7, height=3)
ahead = list(range(1, 13))
for (alpha, c), color in zip([(0.9, 0.05), (0.8, 0.05), (0.8, 0.2), (0.4, 0.05)],
                             (BLUE, GREEN, ORANGE, VERMILLION)):  # fmt: skip
    gain = [speed_up(alpha, n, c) for n in ahead]
    ax.plot(ahead, gain, color=color)
    label_end(ax, 12, gain[-1], f"α = {alpha}, c = {c}", color)
ax.axhline(1, color=GREY, linestyle=":")
ax.set(xlabel="guesses ahead, γ", ylabel="times as fast", ylim=(0, None))
best = max(ahead, key=lambda n: speed_up(0.8, n, 0.05))
show(fig, alt="Speed-up against guesses ahead: a curve rises, peaks and falls; a better or "
              "cheaper draft peaks higher and later.")
print(f"α = 0.8, c = 0.05: best with {best} ahead, {speed_up(0.8, best, 0.05):.2f} times as fast")

# %% [markdown]
# Every curve has a peak (that of the best draft lies beyond the picture): guesses far ahead are seldom reached, and cost as much as the first. With the
# same α of 0.8, a draft that costs a fifth of the large model does not even make it twice as fast.
#
# Now the engine. Give your model two drafts: itself, which is always right, and one with fresh weights, which is almost always wrong:

# %%
from minigpt.speculative import speculate

stranger = GPT(model.config, seed=99)
for name, draft in (("itself", model), ("a stranger", stranger)):
    found = speculate(model, draft, prompts[0], max_tokens=60, ahead=4, temperature=0)
    assert found.tokens == written[0][:60]
    print(f"draft: {name}. {found.accepted} of {found.proposed} guesses kept, "
          f"{found.passes} passes for {len(found.tokens)} tokens")

# %% [markdown]
# The same text, from both. A bad draft costs time and nothing else.
#
# What does a real pair gain? Training one takes longer than a cell should, so that was recorded: a large model of 12 layers, and a draft of one layer that was trained to imitate it. (It
# learned the large model's whole distribution at each place, not the token that came. That is called distillation.) A pair with a "large" model of only 2 layers is trained now:

# %%
record = recorded("07.speculative")
print(record.what)
with torch.enable_grad():  # it trains
    live = record.live() if usable[0] == "books" else None
fig, ax = figure(width=7.5, height=3.2)
plot_record(ax, record, label=False)
ends = sorted(record.arms, key=lambda arm: record.mean(arm)[-1])
for line, arm in zip(ax.lines, record.arms):
    spread = 0.5 * (ends.index(arm) - 1)  # so that no name hides another
    label_end(ax, 8, record.mean(arm)[-1] + spread, arm, line.get_color())
if live:
    plot_live(ax, live.x, live.y, "")
    print(live_sentence(record, record.arms[0], live))
ax.set(ylim=(1, None))
show(fig, alt="Tokens per pass against guesses ahead, for three arms: each rises, with a band "
              "around it, its interval.")
print(record.sentence())

# %%
ahead = [int(n) for n in record.x(record.arms[0])]
print(f"{'':>24}  acceptance  loss  times as fast, with so many guesses ahead")
print(f"{'':>42}" + "".join(f"{n:>7}" for n in ahead))
ratios = {}
for arm in record.arms:
    accepted, loss = (record.numbers(arm, name).mean() for name in ("acceptance", "loss"))
    ratios[arm] = [record.numbers(arm, f"ratio_{n}").mean() for n in ahead]
    print(f"{arm:>24}  {accepted:>10.2f} {loss:>5.2f}" + "".join(f"{x:>7.2f}" for x in ratios[arm]))
for arm in record.arms:
    best = ahead[ratios[arm].index(max(ratios[arm]))]
    each = record.numbers(arm, f"ratio_{best}")
    print(f"{arm}: best with {best} ahead, {each.min():.2f} to {each.max():.2f} times as fast")
assert max(ratios[record.arms[1]]) > max(ratios[record.arms[0]])  # where guesses are cheaper

# %% [markdown]
# Acceptance and tokens per pass belong to the pair. The times belong to the machine of the record: plain decoding with a cache took turns with speculation there, so
# that the ratio is fair, but another machine has another one. Read three things:
#
# - *The acceptance* says how well each draft guesses. How many tokens come out of a pass follows from it.
# - *The times* say what a guess costs as well; below 1, speculation loses time. The small pair's draft has one layer where the model itself has two, the deep pair's has
#   one where the model has twelve. So the same quality of guesses is worth more to the deep pair.
# - *The intervals* say how much to expect of the next pair; a wide one says little. Look at that of greedy decoding: each model falls into circles of its own, and one
#   circle is easier to guess than another.
#
# Be careful with the size of the gain. The best number of guesses was picked on the same runs that are shown, which flatters it. And look at the losses, in nats per
# token: these models were trained for minutes. What they say is simpler than what a finished model says, and simple things are easier to guess. Measure your own pair.

# %% [markdown] tags=["slide"]
# ### Speculative decoding
#
# keep x with min(1, p/q), else draw from the positive part of p − q
#
# exact for any draft; fast if it is good *and* cheap

# %% [markdown]
# ## 8. Text of a given form
#
# A program wants a date, such as 1597-03-14. You can ask the model for one, and hope. Or you can take away, at each step, every token that could not lead to a date any more. That is
# **constrained decoding**.
#
# A form like this can be checked by a small machine, an *automaton*: a state says how far you are, and each character leads to the next state or is refused. The date has eleven
# states, 0 to 10: it wants a digit everywhere, but a dash in states 4 and 7, and nothing more in state 10.

# %%
def walk(state, text):
    """The state after these characters, or None if one was refused."""
    for character in text:
        wanted = "-" if state in (4, 7) else "0123456789"
        if state == 10 or character not in wanted:
            return None
        state += 1
    return state


print(walk(0, "1597"), walk(4, "-03"), walk(4, "03"), walk(0, "1597-03-14"))

# %% [markdown]
# The model does not write characters, it writes tokens, and a token may be several characters. So a token is allowed if the machine survives all its characters. It may
# cross from one part of the form into the next.
#
# > **Your turn: 07.9 `allowed`** (20 min): which tokens keep an automaton alive?

# %%
spelled = {i: tokenizer.decode([i]) for i in range(tokenizer.vocab_size) if i != tokenizer.eot}
may = {state: [i for i, t in spelled.items() if walk(state, t) is not None] for state in range(11)}
for state in (0, 3, 4, 9):
    some = " ".join(spelled[i] for i in sorted(may[state], key=lambda i: -len(spelled[i]))[:6])
    print(f"state {state}: {len(may[state])} of {tokenizer.vocab_size} tokens, such as {some}")

# %% [markdown]
# For any regular expression, the usual notation for forms, the engine makes a function that says which tokens are allowed after a text (Willard & Louf 2023). `\d` is a digit and `{4}` means four times:

# %%
from minigpt.constrained import allowed_by

date = allowed_by(r"\d{4}-\d\d-\d\d", tokenizer)
for begun in ("", "1", "1597", "1597-0", "1597-03-1"):
    mask = date(tokenizer.encode(begun)).nonzero()[:, 0].tolist()
    assert mask == may[walk(0, begun)]  # the machine by hand and the engine allow the same tokens
assert date(tokenizer.encode("1597-03-14")).nonzero()[:, 0].tolist() == [tokenizer.eot]

question = [tokenizer.eot, *tokenizer.encode("The letter is dated ")]
how = dict(max_tokens=11, allowed=date, stop_tokens=[tokenizer.eot])
batches = [generate(model, [question] * 100, seed=number, **how) for number in range(10)]
answers = [tokenizer.decode(new) for batch in batches for new in batch]
matches = sum(walk(0, answer) == 10 for answer in answers)
print(f"{matches} of {len(answers)} match, for instance {', '.join(answers[:4])}")
assert matches == len(answers) == 1000

# %% [markdown]
# The form is right whenever the text may run to its end. (The month may be 73: the expression allowed it.) Is the *content* what the model would have said? Look at how much probability the
# allowed tokens had before the others were taken away:

# %%
sofar, wanted = list(question), []
for token in tokenizer.encode("1597-03-14"):
    p = next_logits(sofar).softmax(-1)
    wanted.append(p[date(sofar[len(question) :])].sum().item())
    sofar.append(token)
print("probability of all allowed tokens, step by step:", " ".join(f"{w:.3f}" for w in wanted))

# %% [markdown]
# Where that number is small, the model is led where it did not want to go, and its choice among the rest means little. There is a subtler effect. Constrained decoding is *not* the same as drawing texts
# until one matches. It looks one step ahead: a token is allowed as soon as *some* matching text begins with it, however unlikely that text is. Worked out for a form
# of a letter and then a digit, where the letter may be a or b:

# %%
first = torch.tensor([0.9, 0.1])  # a or b
digit_next = torch.tensor([0.01, 1.0])  # after a hardly ever a digit, after b always
matching = first * digit_next  # probability of "a + digit" and "b + digit"
print(f"b among texts that match: {matching[1] / matching.sum():.2f}")
print(f"b with constrained decoding: {first[1]:.2f}, because both letters are allowed")

# %% [markdown]
# So a constraint guarantees the form of a finished text, and bends the rest. Help the model: put an example of the form into the prompt, so that what you force is also what it
# wants.
#
# ## 9. Throughput against latency
#
# Whoever serves a model has two clocks. **Latency** is what one reader feels: how long until the next token. **Throughput** is what the owner pays for: tokens a second,
# over all readers. Put more readers into a batch, and see both:

# %% tags=["timing"]
batches = [1, 2, 4, 8, 16, 32]
steps = [cached_seconds(64, rows) for rows in batches]
rates = [rows / s for rows, s in zip(batches, steps)]
fig, ax = figure(width=7, height=3)
ax.plot([1e3 * s for s in steps], rates, "o-", color=BLUE)
for rows, s, rate in zip(batches, steps, rates):
    ax.annotate(f"{rows}", (1e3 * s, rate), (-2, 7), textcoords="offset points", ha="right")
ax.set(xlabel="latency: ms from token to token", ylabel="throughput: tokens/s", ylim=(0, None))
show(fig, alt="Live: each point is a batch size, 1 to 32; throughput climbs with the batch, and "
              "every step takes longer.")
print(f"batch 1: {1e3 * steps[0]:.1f} ms a token, {rates[0]:,.0f} tokens/s; batch 32: "
      f"{1e3 * steps[-1]:.1f} ms a token, {rates[-1]:,.0f} tokens/s")

# %% [markdown]
# A larger batch serves more people and makes each of them wait a little longer. Somewhere on this curve every service has its place.
#
# But answers have different lengths. A fixed batch runs until its longest answer is finished, and the places of the others stand idle. **Continuous batching** (Yu et al. 2022) gives a place to the
# next request as soon as it is free. Twelve requests, four places:

# %%
def fixed(lengths, slots):
    """-> for each request: its slot and the pass in which it begins; and the number of passes"""
    plan, begin = [], 0
    for i in range(0, len(lengths), slots):
        group = lengths[i : i + slots]
        plan += [(slot, begin) for slot in range(len(group))]
        begin += max(group)
    return plan, begin


def continuous(lengths, slots):
    free, plan = [0] * slots, []
    for length in lengths:
        slot = free.index(min(free))
        plan.append((slot, free[slot]))
        free[slot] += length
    return plan, max(free)


rng = random.Random(7)
lengths = [rng.choice([4, 6, 9, 14, 30, 40]) for _ in range(12)]
print("tokens in each answer:", lengths)

# %%
fig, axes = figure(width=8, height=3.2, rows=2, sharex=True)
for ax, way in zip(axes, (fixed, continuous)):
    plan, passes = way(lengths, 4)
    for number, ((slot, begin), length) in enumerate(zip(plan, lengths)):
        ax.barh(slot, length, left=begin, color=BLUE, edgecolor="white")
        middle = begin + length / 2
        ax.text(middle, slot, str(number), ha="center", va="center", color="white", size=8)
    wasted = 4 * passes - sum(lengths)
    print(f"{way.__name__}: {passes} passes, {wasted} of {4 * passes} places were idle")
    ax.set(yticks=range(4), ylabel="place", title=f"{way.__name__}: {passes} passes")
    ax.grid(False)
axes[1].set_xlabel("pass of the model")
show(fig, alt="Two timetables of twelve answers in four places: fixed batches leave white gaps "
              "after short answers, continuous batching closes them.")

# %% [markdown]
# The engine does that with a real model. Each row of its cache has a length of its own, and a request's answer does not depend on who sits beside it:

# %%
from minigpt.batching import Batcher, Request

batcher = Batcher(model, slots=4)
for number, length in enumerate(lengths):
    request = Request(prompts[number % 4], max_tokens=length, knobs={"temperature": 0})
    batcher.add(request)
answers = batcher.run()
assert [len(answer) for answer in answers] == lengths
same = sum(answer == written[i % 4][:n] for i, (answer, n) in enumerate(zip(answers, lengths)))
print(f"{same} of {len(answers)} answers are those of greedy decoding alone")
print(f"{batcher.passes} passes; the timetable says {continuous(lengths, 4)[1]}, where the first "
      f"token of each answer counts as a pass too")
assert same >= 10 and batcher.passes <= continuous(lengths, 4)[1] < fixed(lengths, 4)[1]

# %% [markdown]
# (The first token of an answer comes from its prefill, which is a pass of its own. Two texts may part where two tokens are equally likely up to rounding, so the cell asks for ten of
# twelve.)
#
# > **Your turn: 07.10 `typical`** (25 min), unaided: the assistant stays off.

# %% [markdown] tags=["slide"]
# ### Two clocks
#
# - latency: what a reader feels
# - throughput: what the owner pays for
#
# a larger batch buys the second with the first; continuous batching fills a free place at once

# %% [markdown]
# ## 10. One paper
#
# **Leviathan et al. 2023, [Fast Inference from Transformers via Speculative Decoding](https://arxiv.org/abs/2211.17192)**. Sections 2 and 3 hold the rule and the formula of
# section 7. Read with three questions: *What was held fixed?* (The large model, and what it writes: only the draft and the number of guesses vary. Is the machine
# fixed, too?) *What would change your mind* about the gain? (The batch is one text. What is left if 32 readers already share each pass?) *Which number can you recompute?* The abstract reports two to three
# times the speed. Ask the formula which acceptance rate that takes, with drafts that cost 2 to 20 % of the large model:

# %%
def needed(speed, c):
    """The smallest acceptance rate, in hundredths, with which some number of guesses is enough."""
    return next(a / 100 for a in range(100)
                if max(speed_up(a / 100, n, c) for n in range(1, 30)) >= speed)  # fmt: skip


for c in (0.02, 0.05, 0.1, 0.2):
    print(f"a draft that costs {c:.0%}: twice as fast from α = {needed(2, c):.2f}, "
          f"three times from α = {needed(3, c):.2f}")
assert needed(2, 0.05) < needed(3, 0.05) < needed(3, 0.2)

# %% [markdown]
# So the abstract claims, in other words, that a much smaller model can guess what the large one says in most places. That fits section 1: much of a text is decided by its last few tokens, and
# for that a small model is enough.

# %% [markdown]
# ## 11. An exhibit
#
# The museum of lesson 13 holds broken training runs: a healthy recipe in which one part was replaced. Here is one of them, as the person saw it who had to find the mistake. Nothing in it looks broken. Compare two numbers: the last held-out loss in the table, and the same weights *evaluated once more*, in the header.

# %%
museum.show(7)

# %% [markdown]
# **Predict.** Evaluating draws nothing at random. What was wrong here? One of: `seed` · `dropout` · `temperature` · `batch`. Write the word, in quotation marks.

# %%
guess = None
reveal("07.p5", guess)

# %% [markdown]
# One question to the run decides, with the healthy run's answer beside it:

# %%
print(museum.experiment(7, "same_twice"))

# %% [markdown]
# The model was evaluated in training mode: dropout kept throwing activations away, another choice each time. The loss is too high by a little, it wobbles, and a comparison of two models inherits the wobble. A sampler that forgets `model.eval()` has the same fault and shows it even less: its text is a little worse, and nobody knows what it should have been. In `minigpt`, `generate` and the evaluation switch the mode themselves, and switch it back.

# %% [markdown]
# ## Summary
#
# 1. The likeliest text repeats itself; a better search only finds likelier text of the same kind. Draw, and cut the tail: top-p and min-p follow how sure the model is, top-k does not.
# 2. Repetition penalties break circles and also what a text must repeat; they depend on where the logits have their zero.
# 3. Old keys and values never change. Keep them, count positions on, hide the padding, and compare with the uncached logits.
# 4. A draft model's guesses, kept with min(1, p/q) or replaced from the positive part of p − q, leave the distribution exactly as it was. The gain depends on how good and how cheap the draft is.
# 5. A constraint guarantees a form and bends the probabilities. A batch trades latency for throughput; continuous batching fills a free place at once.
#
# Next: lesson 08 trains a model, step by step.

# %% tags=["timing"]
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
