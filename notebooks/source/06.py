# %% [raw]
# title = "The modern GPT"
# question = "What changed since GPT-2, and what does each change buy?"
# able = [
#   "compare two designs fairly: equal compute, paired seeds, an interval, and a null result that you say",
#   "build RMSNorm, rotary positions, grouped queries, QK-norm, SwiGLU and sliding windows, each in a few lines",
#   "say why a rotated score knows only the distance, and read a text that is longer than those of training",
#   "count the keys and values that generation must keep",
#   "show that your parts are Qwen3, to rounding",
# ]
# needs = ["token", "context", "logits", "softmax", "cross-entropy", "held-out text", "bits per byte", "parameter", "step", "FLOP", "query", "key", "value", "head", "head size", "attention weights", "causal mask", "residual stream", "LayerNorm", "MLP", "GELU", "block", "position embedding", "weight tying", "initialisation", "learning rate", "variance", "gradient"]
# reading = 65
# exercises = 140
# route = "further"
# paper = "Shazeer 2020, GLU Variants Improve Transformer, arXiv 2002.05202"
#
# [teaches]
# "paired difference" = "Two designs, run with the same seed, subtracted: what the seed does to both cancels."
# "confidence interval" = "A range computed from the runs, by a rule that catches the true value in 95 of 100 such experiments."
# RMSNorm = "Divides a vector by the root of its mean square, then applies a learned gain; unlike LayerNorm it subtracts no mean and has no bias."
# "rotary position embedding" = "RoPE: each pair of numbers of a query or key is turned by an angle that is proportional to its position, so that scores know only the distance."
# "context extension" = "Making a model read texts longer than those it was trained on, by changing its rotary angles, with or without some more training."
# "grouped-query attention" = "GQA: several query heads share one head of keys and values, so that there is less to keep while a text is written."
# "multi-query attention" = "The extreme of grouped queries: one head of keys and values for all query heads."
# "QK-norm" = "RMSNorm on each head's queries and keys, so that no score can grow beyond a bound."
# SwiGLU = "An MLP in which one product passes through SiLU and multiplies a second one, number by number: a gate."
# "ReLU²" = "The nonlinearity max(0, x)²."
# "soft-cap" = "c · tanh(x / c): leaves small numbers alone and keeps large ones inside ± c, with a gradient that is never zero."
# "sliding window" = "Attention in which a token sees only the last w tokens, itself included."
# "receptive field" = "All the tokens that can change a given output, through any number of layers."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners can read the code of a current model, say why each part is there, and judge a claim that a part is better.
# **Timing** (120 min). Before class: 06.1. In class: section 1, its prediction on paper, 15 · section 2 and exercise 06.2 15 · section
# 3 with the clocks 15 · exercise 06.3 20 · section 4 15 · sections 5 and 6 15 · sections 7 and 8 10 · sections 9 and 10 10 · discussion
# 5. Homework: 06.4 to 06.10, sections 11 and 12.
#
# **Two misconceptions.** *"All large models have it, so it makes models better."* Ask: better at equal steps, at equal compute or at equal
# memory? Grouped queries are everywhere for the memory that they save while a model writes, which no loss shows. *"RoPE adds a position to the token."*
# Ask: add 100 to all positions; which values and which logits change? (None: only queries and keys are turned, and only their distance counts.)
#
# **Discuss.** A change gains a hundredth of a bit per byte here, and its interval contains zero. Would you use it in a run that costs a
# million, and what would you measure first? · Which of these changes could you apply to a model that is already trained?

# %% tags=["setup"]
import math
import tempfile
import time
import warnings
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F

warnings.filterwarnings("ignore", "IProgress")  # a progress bar that nobody needs here
import transformers

# %%
import minigpt
from minigpt import GPT, ModelConfig, bits_per_byte, from_hf
from minigpt.accounting import flops_per_token
from minigpt.classroom import model_from, museum, recorded, reveal, show
from minigpt.classroom.rope_view import RopeView
from minigpt.classroom.shelf import T_95, half_width, live_sentence
from minigpt.classroom.viz import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION
from minigpt.classroom.viz import figure, heatmap, plot_live, plot_record
from minigpt.model import MLP, attention_mask, rope_frequencies, rope_table, rotate
from minigpt.text.sources import builtin, held_out, usable_domains

started = time.perf_counter()
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
print(f"torch {torch.__version__}, transformers {transformers.__version__}, "
      f"{torch.get_num_threads()} CPU threads")

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>04: why is a score divided by √D?</summary>A dot product of D random numbers has variance D. Undivided, wide heads would
# start with a softmax that is sure of one position, chosen by chance, and that hardly passes a gradient.</details>
# <details><summary>05: what does LayerNorm do to a position's vector?</summary>It subtracts the mean over the channels, divides by the
# standard deviation, and applies a learned gain and a learned bias.</details>
# <details><summary>05: how does GPT-2 know where a token stands?</summary>It has a table with one learned vector for each place of its
# context, and adds it to the token's vector at the entrance.</details>

# %% [markdown]
# > **Try first: 06.1 `same_score`** (5 min), before you read on. The exercises are in `exercises/06_modern_gpt.ipynb`; `python3 course.py start 06` makes a
# > copy for you in `my/`.
#
# GPT-2 appeared in 2019. Open a model of today, such as Qwen3 (2025), and you find the same skeleton: a residual stream, blocks of attention
# and MLP, a head. Almost every part of the skeleton has been exchanged:
#
# | part | GPT-2 | a model of today | section |
# |---|---|---|---|
# | norm | LayerNorm | RMSNorm | 2 |
# | biases | everywhere | none | 2 |
# | positions | a learned table | rotary | 3, 4 |
# | keys and values | one for each query head | shared by several | 5 |
# | queries and keys | as they come | normalised | 6 |
# | MLP | GELU, two matrices | SwiGLU, three | 7 |
# | head | tied to the embedding | tied, or a matrix of its own; sometimes capped | 8 |
# | attention reaches | all of the past | in some layers, a window | 9 |
#
# You build each in a few lines, and see that it equals the real one. But a list of parts does not say which of them matter. So each is also
# measured, alone, in one small model. First you need a fair way to do that.

# %% [markdown]
# ## 1. How to compare two models fairly
#
# "Model B is better than model A" is the most common sentence of this field, and it is easy to be wrong about. Four traps:
#
# - **Equal steps.** If a step of B costs more, B got more compute. Give both the same training **FLOPs**, and let the steps differ.
# - **One run each.** Another seed draws other first weights and another order of the text, and the loss moves. A difference smaller than that
#   says nothing.
# - **Tuning one side.** The newcomer gets ten learning rates, the old model one. Here three rates were tried, all on the *old* style, and every arm uses
#   the best of them.
# - **Telling only the winners.** Try twenty useless changes, and one of them looks good. A change that does nothing is a result, too.
#
# The record below keeps to this. The baseline is a GPT-2 in small: 3 layers of width 128, a context of 128 tokens, trained on books. Each
# *arm* changes one thing, and trains for the same FLOPs, with the same optimizers: Muon for the matrices inside the blocks, AdamW for all else (lesson
# 11). Three seeds each.

# %%
record = recorded("06.changes")
print(record.what)
print("arm              steps   parameters")
for arm in record.arms:
    steps, size = (record.numbers(arm, name)[0] for name in ("steps", "parameters"))
    print(f"{arm:<14} {steps:>7.0f} {size:>12,.0f}")
usable, _ = usable_domains(["books", "drama", "speeches", "docs"])
live = record.live() if usable[0] == "books" else None

# %%
fig, ax = figure(width=6.5, height=2.8)
plot_record(ax, record, ["baseline"], label=False)
for curve in record.curves("baseline"):
    ax.plot(record.x("baseline"), curve, ":", color=ORANGE, linewidth=2, zorder=5)
if live:
    plot_live(ax, live.x, live.y)
    print(live_sentence(record, "baseline", live))
show(fig, alt="Bits per byte of the baseline against training FLOPs: it falls from about 2.7 to "
              "2.4; three dotted runs lie close together, on and beside the live line.")
print(record.sentence())

# %% [markdown]
# The three dotted runs differ only in their seed. How should you compare them with three runs of another arm?
#
# Not mean against mean. The same seed gives every arm the same order of the text, and the same first weights wherever the shapes agree. An
# easy order helps both. So subtract within a seed, and what the seed does to both cancels. That is a **paired difference**. Then ask how sure
# you are of the mean of the n differences $d$:
#
# $$\bar d \pm t \cdot \frac{s}{\sqrt n}$$
#
# s is the standard deviation of the differences (with n − 1 in its denominator), so s/√n is the uncertainty of their mean; t widens it, because
# s itself was estimated from few numbers. For n = 3 and 95 %, t is 4.3; with very many runs it would be 2. The range is a **confidence interval**:
# made by this rule, it catches the true difference in 95 of 100 such experiments. If it contains zero, you *cannot tell*, and you say so.

# %%
def effect(arm, against="baseline"):
    """-> mean paired difference at the end of training, and half the width of its interval"""
    d = record.curves(arm)[:, -1] - record.curves(against)[:, -1]
    return d.mean(), T_95[len(d) - 2] * d.std(ddof=1) / math.sqrt(len(d))


def tell(arm, against="baseline"):
    mean, half = effect(arm, against)
    verdict = "cannot tell" if abs(mean) <= half else "better" if mean < 0 else "worse"
    print(f"Recorded, {len(record.seeds)} seeds, paired: {arm} minus {against} is {mean:+.3f} "
          f"bits per byte, 95 % interval ±{half:.3f}: {verdict}")


# %%
names = [arm for arm in record.arms if arm != "baseline"]
single = [arm for arm in names if arm != "modern" and not arm.endswith("_fast")]
apart = {arm: record.curves(arm)[:, -1] - record.curves("baseline")[:, -1] for arm in names}
assert math.isclose(effect("rope")[1], half_width(apart["rope"]))  # the package's, from here on
alone = np.std(record.curves("baseline")[:, -1], ddof=1)
paired = np.median([np.std(apart[arm], ddof=1) for arm in single])
unpaired = math.sqrt(2) * alone
print(f"standard deviation over seeds, of the baseline: {alone:.4f}; of a difference of two "
      f"independent runs: √2 times that, {unpaired:.4f}")
print(f"of a paired difference, the median of ten arms: {paired:.4f}")
print(f"unpaired, it would take {(unpaired / paired) ** 2:.0f} times as many runs to be as sure")

# %% [markdown]
# **Predict.** Ten arms change one thing each, most of them a row of the table above: `rms_norm`, `no_bias`, `rope` (rotary positions), `qk_norm`, `gqa`
# (shared keys and values), `swiglu`, `relu2` (another nonlinearity), `untied` (a head of its own), `softcap` and `window`. (`modern` changes five at
# once; the two `fast` arms train at four times the learning rate.) Which single change buys most, at equal
# compute, in a model this small? Write a name in quotation marks. You may come back to this cell after section 9. (If the best two cannot be told
# apart, either counts as right.)

# %%
best = min(single, key=lambda arm: effect(arm)[0])
level = [arm for arm in single if arm == best or abs(effect(arm, best)[0]) <= effect(arm, best)[1]]
guess = None
reveal("06.p1", guess, truth=guess if guess in level else best)

# %% [markdown]
# > **Your turn: 06.9 `verdict`** (20 min): better, worse, or cannot tell?

# %% [markdown] tags=["slide"]
# ### A fair comparison
#
# - equal FLOPs, not equal steps
# - the same seeds for both: subtract within a seed
# - an interval; if it contains zero, you cannot tell
# - a null result is a result

# %% [markdown]
# ## 2. RMSNorm, and no biases
#
# > **Your turn: 06.2 `rms_norm`** (5 min), from its first sentence: divide each vector by the root of its mean square, then multiply by a gain.
#
# LayerNorm does three things: it subtracts the mean, divides by the standard deviation, and applies a gain and a bias. **RMSNorm** (Zhang and
# Sennrich 2019) keeps only the middle, and divides by the *root of the mean square*; the gain stays. Where the mean of a vector is zero, both
# divide by the same number:

# %%
x = torch.randn(3, 20, generator=torch.Generator().manual_seed(1))
centred = x - x.mean(-1, keepdim=True)
by_hand = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()  # 1e-6: never divide by zero
torch.testing.assert_close(by_hand, F.rms_norm(x, (20,), eps=1e-6))
torch.testing.assert_close(by_hand, minigpt.model.RMSNorm(20, 1e-6)(x))  # a fresh gain is 1
torch.testing.assert_close(F.layer_norm(x, (20,)), F.rms_norm(centred, (20,), eps=1e-5))
shifted = {"LayerNorm": F.layer_norm(x + 3, (20,)), "RMSNorm": F.rms_norm(x + 3, (20,), eps=1e-6)}
for name, y in shifted.items():
    print(f"{name} of x + 3: first numbers {y[0, :3].numpy().round(2)}, mean {y[0].mean():.2f}")

# %% [markdown]
# So what is lost is one thing: a constant added to all channels now matters. Does a trained model have such a constant? Look at what its
# norms get. If the mean is small beside the root of the mean square, subtracting it changes little:

# %%
run = model_from("00")
model, tokenizer = run.model.eval(), run.tokenizer
documents = list(builtin(usable[:1]))
book = next(d.text for d in documents if held_out(d.id))[4000:9000]
context = model.config.context
ids = torch.tensor([[tokenizer.eot, *tokenizer.encode(book)][:context]])
record_of_it = {}
with torch.no_grad():
    model(ids, record=record_of_it)
for layer, r in enumerate(record_of_it["residual"]):
    share = (r.mean(-1).square() / r.square().mean(-1)).mean()
    print(f"residual stream after {layer} layers: the mean makes up {share:.1%} of the mean square")

# %% [markdown]
# **What breaks if** the norm computes in half precision? A 16-bit float ends at 65,504. The numbers in a residual stream can reach the
# hundreds, and the norm *squares* them:

# %%
print(f"fp16 ends at {torch.finfo(torch.float16).max:,.0f}")
large = torch.full((1, 8), 300.0)
large[0, 0] = -300
in_half = large.half() / (large.half().square().mean(-1, keepdim=True) + 1e-6).sqrt()
print("in fp16:", in_half[0, :4].tolist())
print("in fp32, then rounded:", F.rms_norm(large, (8,)).half()[0, :4].tolist())
assert (in_half == 0).all()

# %% [markdown]
# The square is infinite, and a number divided by infinity is zero: the vector is gone, and nothing warns you. So norms compute in fp32, whatever comes
# in; `minigpt` does, and so does Qwen3's code.
#
# The **biases** went as well. In GPT-2, some of them do nothing to begin with. Add a bias b to every key: the score of query q for each key grows by the
# same q · b, and a softmax does not see what all its inputs share. Add a bias to every value: the weights of a row sum to one, so the
# output gets the bias whole, and the bias of the next matrix could have done that.

# %%
g = torch.Generator().manual_seed(2)
q, k, v = (torch.randn(5, 8, generator=g) for _ in range(3))
b = torch.randn(8, generator=g)
causal = torch.ones(5, 5, dtype=torch.bool).tril()
plain, _ = minigpt.attention(q, k, v, causal)
torch.testing.assert_close(minigpt.attention(q, k + b, v, causal)[0], plain)
torch.testing.assert_close(minigpt.attention(q, k, v + b, causal)[0], plain + b)
print("a bias on keys changes nothing; one on values arrives whole")

# %%
tell("rms_norm")
tell("no_bias")

# %% [markdown]
# Neither can be told from nothing, and the intervals are narrow: whatever hides in them is smaller than a hundredth of a bit per byte. Why do nearly all large models make these two changes? They are simpler: fewer numbers to read, to move and to keep in
# step over many GPUs. A change that costs nothing and removes something is a good change, too. But call it that, and not "better".

# %% [markdown]
# ## 3. Rotary positions
#
# What you built in lesson 04 cannot tell near from far. GPT-2 mends that with a table: place 17 has a vector, learned, which is added to whatever
# token stands there. Two things are odd about it. The model must learn for each pair of places anew what "three to the left" means. And a table
# of 128 places has no place 130.
#
# What you would like is a score that knows the *distance* of query and key, and nothing else of where they stand. In exercise 06.1 you met a way.
# Take queries and keys of two numbers, and see them as arrows in a plane. Turn each arrow by its position times a fixed angle. A dot product only knows
# lengths and the angle *between* two arrows. If both move on by 100 places, both turn by the same amount, and the angle between them stays.
#
# **Predict.** A query stands at position 7, a key at 3; then the same two stand at 107 and 103. By what factor does their score change?

# %%
guess = None
reveal("06.p2", guess)

# %% [markdown]
# Real heads have D = 64 or 128 numbers, not two. So cut the vector into D/2 pairs and turn each pair as an arrow of its own, each at its own
# speed: pair i turns by $\theta_i = \text{base}^{-2i/D}$ radians with each position. The base is 10,000 in the paper. The first pair turns by 1
# radian, 57°, a step; the last hardly at all. This is the **rotary position embedding**, RoPE (Su et al. 2021,
# [arXiv 2104.09864](https://arxiv.org/abs/2104.09864)).
#
# Why several speeds? For the reason that a clock has several hands. A fast hand tells apart neighbours, but after a turn it is back where it was,
# and distance 7 looks much like distance 1. A slow hand tells far from near, but not 3 from 4. Together they do both.

# %%
head = ModelConfig(layers=1, width=24, heads=1, kv_heads=1, head_size=24, mlp_width=8, vocab_size=9)
speeds = rope_frequencies(head)
torch.testing.assert_close(speeds, 10_000 ** (-2 * torch.arange(12) / 24))
g = torch.Generator().manual_seed(4)
q = torch.randn(24, generator=g)
k = 0.7 * q + 0.7 * torch.randn(24, generator=g)  # a key that fits the query, more or less
view = RopeView(q, k, speeds, positions=(7, 3))
show(view, alt="Two rows of clocks with a solid and a dashed hand. In the second row the hands of "
               "fast pairs have turned, both hands of a clock by the same angle; the score is "
               "the same.")  # fmt: skip
assert abs(view.score(7, 3) - view.score(107, 103)) < 1e-3
assert abs(view.score(8, 3) - view.score(7, 3)) > 1e-3

# %% [markdown]
# Play with it: move the query alone, then both. Watch the fast clocks run and the slow ones stand.
#
# > **Your turn: 06.3 `rope`** (20 min), before you open the next cell. **06.5 `half_from_interleaved`** (20 min): two conventions for what a pair is.
#
# A pair of numbers that gets turned is a complex number that gets multiplied: (x + iy) · e^(iα) is the arrow (x, y), turned by α. So the whole of RoPE
# is one product. (If complex numbers are new to you, read the line with `torch.polar` as "turn every arrow": it is the formula of 06.1.) Pair i is made of dimensions i and i + D/2, by the convention of Llama and Qwen:

# %%
def turn(x, positions, speeds):
    """x (B, H, T, D), positions (T,), speeds (D/2,) -> (B, H, T, D)"""
    first, second = x.chunk(2, dim=-1)
    angles = positions[:, None] * speeds  # (T, D/2)
    z = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([z.real, z.imag], dim=-1)


x = torch.randn(2, 3, 5, 24, generator=g)
where = torch.tensor([0, 1, 5, 40, 300])
torch.testing.assert_close(turn(x, where, speeds), rotate(x, rope_table(where, speeds)))
torch.testing.assert_close(turn(x, where, speeds).norm(dim=-1), x.norm(dim=-1))
scores = turn(x, where, speeds) @ turn(x, where, speeds).mT
moved = turn(x, where + 1000, speeds) @ turn(x, where + 1000, speeds).mT
torch.testing.assert_close(moved, scores, atol=1e-2, rtol=0)
print("by hand = minigpt; no length changes; all scores stay when everything moves by 1,000")

# %% [markdown]
# Nothing is added to the token, and values are not turned. So a whole model with RoPE, of any depth, only ever sees distances: add the same
# number to all positions, and nothing may change. Test that on your own model, and on one with GPT-2's table:

# %%
text_ids = ids[:, : context // 2]
here = torch.arange(text_ids.shape[1])
shape = dict(layers=2, width=48, heads=3, kv_heads=3, head_size=16, mlp_width=64, context=64)
old = GPT(ModelConfig("gpt2", **shape, vocab_size=model.config.vocab_size, activation="gelu"))
with torch.no_grad():
    for name, m, by in (("yours, with RoPE", model, 100), ("GPT-2's table", old, 20)):
        t, p = text_ids[:, :40], here[:40]
        change = (m(t, positions=p + by) - m(t, positions=p)).abs().max()
        print(f"{name}: logits change by at most {change:.5f} when all positions move by {by}")
        assert (change < 0.02) == (m is model)

# %% [markdown]
# **What breaks if** you take the other convention, in which neighbours 2i and 2i + 1 make a pair? In a model that you train from scratch, nothing:
# the numbers have no order of their own. But weights that were trained with one, and are read with the other:

# %%
def neighbours(x, rope):
    """rotate, but pair i is dimensions 2i and 2i + 1"""
    cos, sin = (table.chunk(2, dim=-1)[0].repeat_interleave(2, dim=-1) for table in rope)
    other = torch.stack([-x[..., 1::2], x[..., 0::2]], dim=-1).flatten(-2)
    return x * cos + other * sin


right = bits_per_byte(model, tokenizer, book)
with patch("minigpt.model.rotate", neighbours):
    wrong = bits_per_byte(model, tokenizer, book)
with patch("minigpt.model.rotate", lambda x, rope: x):
    nothing = bits_per_byte(model, tokenizer, book)
print(f"bits per byte: as trained {right:.2f}, other pairs {wrong:.2f}, not turned {nothing:.2f}")
assert right < min(wrong, nothing) - 0.01

# %% [markdown]
# No error and no warning, only a worse model. If yours is a weak one, it is not even much worse: it makes little use of positions yet, and
# a look at its samples would tell you nothing. Only a comparison with numbers that you know to be right does. People who convert weights from
# one code base to another meet this bug first.
#
# What does RoPE buy?

# %%
def along(arm):
    """The paired difference at the three measurements during training."""
    d = record.curves(arm) - record.curves("baseline")
    half = half_width(d)
    print(f"Recorded, {len(d)} seeds: {arm} minus baseline, with 95 % intervals")
    for x, mean, h in zip(record.x(arm), d.mean(0), half):
        print(f"  after {x / record.x(arm)[-1]:>4.0%} of the training: {mean:+.3f} ± {h:.3f}")


tell("rope")
along("rope")

# %% [markdown]
# A clear gain, and each seed agrees. The distance need not be learned place by place: what the model finds out about "the token before" at place 5
# holds at place 100 at once. That should count most while the table is still to be learned. The lines above fit: the gain is largest early,
# and about half as large later. It may be smaller still after a much longer training; three measurements do not say.

# %% [markdown] tags=["slide"]
# ### RoPE
#
# - turn each pair of a query or key by position · speed
# - a score then knows only the distance
# - fast pairs tell neighbours apart, slow ones near from far
# - nothing is added to the residual stream

# %% [markdown]
# ## 4. Longer texts than in training
#
# With RoPE, place 130 exists: you can compute its angle. Does a model that was trained on short texts therefore read long ones? Look at the hands. In a
# text of 128 tokens the fastest pair goes round twenty times, and training has shown it every angle. A slow pair has moved by a few degrees.
# At place 400 it stands where it never stood.

# %%
short = ModelConfig(width=128, heads=4, kv_heads=4, head_size=32, context=128)
ways = {
    "plain": short,
    "larger base": replace(short, rope_base=10_000 * 4 ** (32 / 30)),
    "linear": replace(short, context=512, rope="linear", rope_factor=4.0),
    "yarn": replace(short, context=512, rope="yarn", rope_factor=4.0),
}
turns = {name: 128 * rope_frequencies(c) / (2 * math.pi) for name, c in ways.items()}
torch.testing.assert_close(turns["linear"], turns["plain"] / 4)

# %%
fig, ax = figure(width=7, height=3.2)
styles = (BLACK, "-"), (GREEN, "--"), (ORANGE, "-."), (BLUE, ":")
for (name, t), (color, style) in zip(turns.items(), styles):
    ax.plot(range(16), t, style, color=color, linewidth=2, label=name)
ax.legend(loc="lower left")  # three of the lines end in one point
ax.axhline(1, color=GREY, linewidth=1)
ax.annotate("one whole turn", (15, 1.15), ha="right", color=GREY)
ax.set(yscale="log", xlabel="pair", ylabel="turns in 128 tokens")
show(fig, alt="Turns in 128 tokens against the pair, on a logarithmic axis: plain begins at "
              "twenty and is below one from pair six on; linear lies four times lower.")
print(f"the fastest pair makes {turns['plain'][0]:.0f} turns in 128 tokens; "
      f"{int((turns['plain'] >= 1).sum())} of 16 pairs make a whole one")

# %% [markdown]
# Making a model read longer texts than it was trained on is called **context extension**. Three ways change the angles for a text that is s
# times as long:
#
# - **Linear** (position interpolation; Chen et al. 2023, [arXiv 2306.15595](https://arxiv.org/abs/2306.15595)): divide all speeds by s. With s = 4, place 400
#   has the angles that place 100 had, so none is new. But neighbours come closer than they ever were: 1 radian becomes a quarter.
# - **A larger base**: the last pair becomes slower by s, the first stays, and those between are slowed the more, the slower they are. (You may meet it as
#   "NTK-aware".)
# - **YaRN** (Peng et al. 2023, [arXiv 2309.00071](https://arxiv.org/abs/2309.00071)): decide pair by pair. Those that make less than one turn over the trained
#   length become slower by s, since for them all angles beyond are new. Those that turn more than 32 times stay. Between the two, blend. It also
#   multiplies all scores by a number a little above 1, because a longer text spreads attention thinner.
#
# The record: a small model is trained on texts of 128 tokens, then reads 512. Each way is tried as it is, and after another tenth of the training, with
# the changed angles, on texts of 512 ("+10%"). Three comparisons: a *window* of 128, where a token never looks further back than in training (section 9);
# a model that was trained on texts of 512 from the start, for the same FLOPs; and one that was trained for a third of the FLOPs, the arm that runs now.

# %%
length = recorded("06.length")
print(length.what)
live = length.live() if usable[0] == "books" else None
fig, ax = figure(width=7, height=2.8)
plot_record(ax, length, ["plain, a third", "plain"])
if live:
    plot_live(ax, live.x, live.y, label="")  # the thick line, beside the arm that it repeats
    print(live_sentence(length, length.arms[0], live))
ax.axvline(128, color=GREY, linestyle=":")
show(fig, alt="Bits per byte by position of two plain arms: both go up and down by up to a tenth "
              "from one interval to the next; the one trained longer lies a quarter of a bit "
              "lower; the live run follows the other.")
print(length.sentence())

# %%
print("arm                  within 128  beyond 128      (bits per byte)")
for arm in length.arms:
    print(f"{arm:<20} {length.numbers(arm, 'inside').mean():>10.3f} "
          f"{length.numbers(arm, 'outside').mean():>11.3f}")

# %% [markdown]
# The text itself is harder in some places than in others: that makes the hills, and hides the differences. So look at each arm *minus the window*, within each seed: a paired
# difference again.

# %%
fig, axes = figure(width=9, height=3.4, columns=2, sharey=True)
for ax, more in zip(axes, ("", " +10%")):
    for way, (color, style) in zip(("plain", "base", "linear", "yarn"), styles):
        d = length.curves(way + more) - length.curves("window")
        half = half_width(d)
        ax.plot(length.x(way), d.mean(0), style, color=color, label=way)
        ax.fill_between(length.x(way), d.mean(0) - half, d.mean(0) + half, color=color, alpha=0.15)
    ax.axvline(128, color=GREY, linestyle=":")
    ax.set(xlabel="position, tokens", title="10 % more training" if more else "as it is")
axes[0].set_ylabel("bits per byte, minus the window's")
axes[1].legend(ncols=2)
show(fig, alt="Two panels of bits per byte by position, minus those of the window. Plain rises "
              "from zero beyond 128 tokens, linear is high everywhere, yarn stays low; with more "
              "training all lie lower, and yarn stays near or below zero up to the end.")
print(length.sentence())

# %%
def beyond(arm, against, start=128):
    """Recorded: what `arm` loses against another one, from position `start` on."""
    here = length.x(arm) > start
    d = (length.curves(arm) - length.curves(against))[:, here].mean(1)
    half = half_width(d)
    print(f"Recorded, {len(d)} seeds, paired, beyond {start} tokens: {arm} minus {against} is "
          f"{d.mean():+.3f} bits per byte, 95 % interval ±{half:.3f}")


for pair in (("plain", "window"), ("base", "plain"), ("linear", "plain"), ("yarn", "window"),
             ("yarn +10%", "window"), ("long from the start", "window")):  # fmt: skip
    beyond(*pair)
for pair in (("plain", "window"), ("plain +10%", "window"), ("yarn", "plain"),
             ("yarn +10%", "plain +10%"), ("yarn +10%", "window")):  # fmt: skip
    beyond(*pair, start=384)  # the last quarter of the text

# %%
d = length.numbers("plain", "outside") - length.numbers("window", "outside")
print("plain minus window beyond 128 tokens, seed by seed:", d.round(3))
batch, flops = 1024, 1.2e12  # tokens in a step; FLOPs of a training
for T in (128, 512):
    cost = flops_per_token(replace(short, layers=2, mlp_width=341, vocab_size=1024, context=T))
    print(f"trained on texts of {T}: {flops / (cost * batch):.0f} steps of {batch // T} texts")

# %% [markdown]
# Read it in this order.
#
# - **Plain** is untouched inside the trained 128 tokens. Beyond, it loses to the window, and more the further it gets: it looks at places
#   whose angles it has never seen, and they disturb it. No crash; a slow decay.
# - **Linear**, as it is, is worse *everywhere*, even inside the 128 tokens that the model knew. The fast pairs tell neighbours apart, and it slowed them too.
#   A tenth more training repairs about half of it.
# - **YaRN** leaves the fast pairs nearly alone. As it is, it costs a hundredth of a bit inside the trained length, and stays about as far above the window up to
#   the end of the text, where plain has decayed by far more.
# - **YaRN and a tenth more training** is the best of all arms beyond the trained length, and level to the end; plain with the same training still climbs, and loses
#   to it in the last quarter. That is the recipe of the paper: change the angles, then train a little. But mind the interval of its lead over the window: it
#   contains zero, and the window had no tenth more.
# - **A larger base** cannot be told from plain here: its mean starts to climb later, but the interval contains zero. It slows the pairs in the middle by less than
#   YaRN does.
# - **The window** is the simplest, and nearly the best. This small model was trained on 128 tokens, and has learnt to use nothing that
#   stands further back; not to look there costs it nothing. A text in which an answer stands 400 tokens back would be another story: there a window fails.
# - **Long from the start** is far behind, at equal compute. A token of a long text costs more, so it takes fewer steps, and each step sees a quarter as many
#   texts. Which of the two does the harm, we did not test. Large models, too, are trained on shorter texts first, and on long ones at the end.
#
# The intervals are wide, because one of the three seeds decays much more than the others. A loss past the trained length is a matter of luck: nothing in the
# training asked for it.

# %% [markdown]
# > **Your turn: 06.10 `stretched_angles`** (30 min), unaided: the assistant stays off. Keep it for the end.

# %% [markdown]
# ## 5. Fewer keys and values
#
# When a model writes, it produces one token at a time. The queries of earlier tokens are done with. Their keys and values are not: every new token looks
# at all of them. Computing them again for each new token would be a waste, so they are **kept**: for each layer, each head and each token a key and
# a value of D numbers. (Lesson 07 builds this store.) For long texts and many users it is larger than the model.
#
# **Grouped-query attention** (Ainslie et al. 2023, [arXiv 2305.13245](https://arxiv.org/abs/2305.13245)) lets several query heads share one head of keys and
# values: H heads of queries, K of keys and values, K a divisor of H. K = H is what you know; K = 1 is **multi-query attention** (Shazeer 2019).
#
# **Predict.** 8 query heads share 2 heads of keys and values. By what factor does the store shrink?

# %%
guess = None
reveal("06.p4", guess)

# %% [markdown]
# > **Your turn: 06.8 `grouped_attention`** (10 min): its lines, shuffled. Do it before the next cell.
#
# Query heads 0 … H/K − 1 use key head 0, the next H/K use key head 1, and so on. One head at a time, and then as the engine does it:

# %%
H, K, T, D = 6, 2, 5, 8
g = torch.Generator().manual_seed(5)
q = torch.randn(H, T, D, generator=g)
k, v = torch.randn(K, T, D, generator=g), torch.randn(K, T, D, generator=g)
causal = torch.ones(T, T, dtype=torch.bool).tril()
slow = torch.stack([minigpt.attention(q[h], k[h // (H // K)], v[h // (H // K)], causal)[0]
                    for h in range(H)])  # fmt: skip
keys, values = (t.repeat_interleave(H // K, dim=0) for t in (k, v))
torch.testing.assert_close(minigpt.attention(q, keys, values, causal)[0], slow)
torch.testing.assert_close(
    F.scaled_dot_product_attention(q, keys, values, is_causal=True), slow, atol=1e-5, rtol=1e-4
)
tiled = minigpt.attention(q, k.repeat(H // K, 1, 1), v.repeat(H // K, 1, 1), causal)[0]
print("key head of each query head, repeat_interleave:", [h // (H // K) for h in range(H)])
print("                                        repeat:", [h % K for h in range(H)])
wrong = [h for h in range(H) if (tiled[h] - slow[h]).abs().max() > 1e-3]
print("heads that .repeat gets wrong:", wrong)

# %% [markdown]
# **What breaks if** you write `repeat`: the same shape, no error, and two of the six heads look with someone else's keys. A model that you train that way
# learns to live with it. One that was trained by others is damaged.
#
# What the store takes, in bytes: 2 (keys and values) · layers · K · D · tokens · bytes of a number. For a model with the shape of Qwen3-8B, which has 36
# layers, 32 query heads and 8 heads of keys and values, of 128 numbers each (Yang et al. 2025, [arXiv 2505.09388](https://arxiv.org/abs/2505.09388)):

# %%
layers, D, tokens = 36, 128, 32_768
for K, name in ((32, "one for each query head"), (8, "grouped, as published"), (1, "multi-query")):
    kept = 2 * layers * K * D * tokens * 2  # bf16 has two bytes
    print(f"K = {K:>2} ({name}): {kept / 2**30:.2f} GiB for one text of {tokens:,} tokens")
print(f"the weights, 8.2 billion in bf16: {8.2e9 * 2 / 2**30:.1f} GiB")

# %%
tell("gqa")
print("steps:", *(f"{arm} {record.numbers(arm, 'steps')[0]:.0f}" for arm in ("baseline", "gqa")))

# %% [markdown]
# Half of the key and value heads, and no loss at equal compute: its steps are cheaper, so it takes more of them, and it ends a little better. (Whether it would
# at equal steps, the record does not say. And section 10 says why a small gain among ten arms deserves some doubt.) The change is not made for that. What it buys is
# memory and speed when the model *writes*, which this record does not measure at all.

# %% [markdown]
# ## 6. QK-norm
#
# A score is q · k / √D. Nothing limits how long queries and keys may grow, and a score grows with both lengths. If they grow too far, the
# softmax puts all weight on one position, and its gradient is nearly zero (lesson 04, section 4). The head is stuck.
#
# **QK-norm** puts an RMSNorm on each head's queries and keys, before they are turned (Henry et al. 2020 normalised them first;
# Qwen3 does it in this form). After it both have length √D times their gains, and
#
# $$|q \cdot k| / \sqrt D \le \sqrt D \cdot \sqrt D / \sqrt D = \sqrt D$$
#
# while the gains are 1. (They are learned, and may grow: then the bound grows with them.) The turn of section 3 changes no lengths, so it comes after.

# %%
D = 32
g = torch.Generator().manual_seed(6)
q, k = 100 * torch.randn(2, 7, D, generator=g)  # as long as you like
scores = F.rms_norm(q, (D,)) @ F.rms_norm(k, (D,)).T / math.sqrt(D)
assert scores.abs().max() <= math.sqrt(D) + 1e-4
without = (q @ k.T).abs().max() / math.sqrt(D)
print(f"without: up to {without:,.0f}; with: {scores.abs().max():.2f}, and never above √{D} = "
      f"{math.sqrt(D):.2f}")

# %% [markdown]
# **What breaks if** the queries of a trained model become 32 times as long? Your model has QK-norm. Make them so long once *before* the norm, as a careless training
# could, and once *after* it, which is what it would mean for a model without the norm:

# %%
def with_long_queries(name, by=32):
    """Bits per byte of your model while all weights of this name are `by` times as large."""
    weights = [p for n, p in model.named_parameters() if n.endswith(name)]
    with torch.no_grad():
        for p in weights:
            p.mul_(by)
        found = bits_per_byte(model, tokenizer, book)
        for p in weights:
            p.div_(by)  # a power of two: exactly as before
    return found


before, after = with_long_queries("attn.q.weight"), with_long_queries("attn.q_norm.weight")
print(f"bits per byte: as trained {right:.2f}, long queries before the norm {before:.2f}, "
      f"after it {after:.2f}")
assert abs(before - right) < 0.01 < after - right

# %% [markdown]
# With the norm the length of a query is nobody's business any more. So much for what it *can* do. Does it have to, in these runs? Here is the largest score anywhere in the
# model, on one text, at the end of training. The arms `fast` take four times the learning rate, where scores should grow most:

# %%
print("Recorded, largest score at the end, between the lowest and the highest of 3 seeds")
for arm in ("baseline", "qk_norm", "baseline_fast", "qk_norm_fast", "rope", "modern"):
    largest = record.numbers(arm, "largest_score")
    print(f"{arm:<14} between {largest.min():>5.1f} and {largest.max():>5.1f}")
tell("qk_norm")
tell("baseline_fast")
tell("qk_norm_fast", "baseline_fast")

# %% [markdown]
# At the usual rate the scores stay small without any help, and QK-norm does nothing that three seeds can see. At four times the rate scores without it double; with
# it they do not. But nothing is lost by that: no run without it gets into trouble, and those with it end a little *worse*. RoPE makes the scores larger,
# and there the last row, which has QK-norm, lies above √32, since the gains grew. **Here QK-norm buys nothing.** The rate was meant as a crash, and there was none.
#
# Then why is it in Qwen3? Large runs report crashes. Dehghani et al. 2023 ([arXiv 2302.05442](https://arxiv.org/abs/2302.05442)) saw a model for images with 8
# billion parameters diverge after a few thousand steps, because its scores became very large; with normalised queries and keys it did not. Wortsman et al. 2023
# ([arXiv 2309.14322](https://arxiv.org/abs/2309.14322)) provoke the same in small models, trained with AdamW at high rates. Muon alone is no protection: Kimi Team 2025
# ([arXiv 2507.20534](https://arxiv.org/abs/2507.20534)) met it with Muon: in a trial run the scores passed 1,000, and so their large run shrinks the
# matrices of queries and keys whenever a head's scores exceed a limit. A run of a few hundred steps is too short, and this model too small, to show it. So you cannot judge this part from this record; you can only
# say that it costs little.

# %% [markdown]
# ## 7. SwiGLU and ReLU²
#
# > **Your turn: 06.4 `swiglu`** (5 min): one line is missing. Do it before the next cells.
#
# GPT-2's MLP is down(GELU(up(x))). **SwiGLU** (Shazeer 2020) makes two wide vectors, sends one through SiLU, z · sigmoid(z), and multiplies them number by number:
# down(SiLU(gate(x)) · up(x)). The first decides how much of the second passes: a *gate*. **ReLU²** (So et al. 2021,
# [arXiv 2109.08668](https://arxiv.org/abs/2109.08668)) goes the other way and keeps two matrices, with max(0, z)² between them.
#
# SwiGLU has three matrices instead of two. To compare it fairly, make it narrower.
#
# **Predict.** A GELU MLP has a width of 1,536. Which width gives SwiGLU as many parameters?

# %%
guess = None  # for GELU it is 1,536
reveal("06.p3", guess)

# %%
z = torch.linspace(-4, 3, 200)
fig, ax = figure(width=6.5, height=3)
curves = (
    ("GELU", F.gelu(z), GREY, "-", (3.05, 3.05)), ("SiLU", F.silu(z), BLUE, "--", (3.05, 2.55)),
    ("ReLU²", F.relu(z) ** 2, VERMILLION, "-", (1.55, 5.2)),
    ("SiLU(z) · z", F.silu(z) * z, GREEN, ":", (2.5, 5)),
)  # fmt: skip
for name, y, color, style, place in curves:
    ax.plot(z, y, style, color=color, linewidth=2)
    ax.annotate(name, place, color=color)
ax.set(ylim=(-0.6, 7), xlim=(-4, 3.9), xlabel="z")
show(fig, alt="GELU and SiLU are flat on the left and rise like a straight line on the right, SiLU "
              "a little lower; ReLU squared and SiLU times z rise like parabolas.")

# %%
small = dict(width=12, heads=3, kv_heads=3, head_size=4)
gated = MLP(ModelConfig(**small, mlp_width=32, activation="swiglu"))
squared = MLP(ModelConfig(**small, mlp_width=48, activation="relu2"))
x = torch.randn(5, 12, generator=torch.Generator().manual_seed(7))
with torch.no_grad():
    gate, up, down = (m.weight.T for m in (gated.gate, gated.up, gated.down))
    opened = x @ gate
    torch.testing.assert_close((opened * torch.sigmoid(opened) * (x @ up)) @ down, gated(x))
    up, down = (m.weight.T for m in (squared.up, squared.down))
    torch.testing.assert_close((x @ up).clamp(min=0) ** 2 @ down, squared(x))
count = [sum(p.numel() for p in mlp.parameters()) for mlp in (gated, squared)]
print("parameters of SwiGLU with width 32, of ReLU² with width 48:", count)
assert count[0] == count[1]

# %% [markdown]
# Two thirds of 4C is 8/3 C: hence the odd MLP widths in the configs of Llama-like models. (They are then rounded to what the hardware likes.)

# %%
tell("swiglu")
tell("relu2")
along("swiglu")
along("relu2")

# %% [markdown]
# Neither can be told from GELU at the end. That is not what the paper of section 12 finds, and almost every large model uses SwiGLU. Now look at the way there. Had
# the runs been judged after a third of the training, the verdict would have been *worse*, clearly and in every seed; since then SwiGLU has caught up. Does it pass
# GELU if you go on? The paper trained for hundreds of thousands of steps. This record ends before the question is answered, and a line drawn on through three
# points is not a measurement. **When** you compare is part of the comparison.
#
# Why does it start behind? Here is a suspect. A product of two small numbers is very small. How large is what a *fresh* MLP writes, for an input of variance 1?

# %%
x = F.layer_norm(torch.randn(500, 128, generator=torch.Generator().manual_seed(10)), (128,))
for activation, wide in (("gelu", 512), ("relu2", 512), ("swiglu", 341)):
    c = ModelConfig(layers=3, width=128, heads=4, kv_heads=4, head_size=32, mlp_width=wide,
                    vocab_size=64, activation=activation)  # fmt: skip
    with torch.no_grad():
        written = GPT(c).blocks[0].mlp(x)
    print(f"{activation:<7} writes numbers of standard deviation {written.std():.4f}")

# %% [markdown]
# With the same initialisation, which is GPT-2's, a fresh SwiGLU writes a fifth of what GELU writes. It has to grow first. That would fit the lines above, and ReLU²
# lies between the two in both. But a reason that fits is not yet a reason that was tested. How would you test it? (Start `gate` and `up` with larger
# numbers, and see whether the early loss goes away. That is an arm that you can add to `notebooks/records/06_changes.py`.)

# %% [markdown]
# ## 8. A head of its own, and a cap
#
# Lesson 05 tied the head to the embedding. **Untied**, it is a second matrix: the same FLOPs, since looking up a row costs nothing, and V · C more parameters. In a
# small model that is a large share of all; in a large one it hardly counts, and most large models untie.
#
# A **soft-cap** (Gemma 2 uses 30 on the logits; Gemma Team 2024, [arXiv 2408.00118](https://arxiv.org/abs/2408.00118)) keeps logits from running away: c · tanh(z / c). Near zero
# it is z itself. A hard limit would do the same for the values, but its gradient is zero beyond the limit, so that a logit that is out there can
# never come back.

# %%
z = torch.tensor([0.5, 10.0, 60.0], requires_grad=True)
soft, = torch.autograd.grad((30 * torch.tanh(z / 30)).sum(), z)
hard, = torch.autograd.grad(z.clamp(-30, 30).sum(), z)
print("soft-cap of 0.5, 10, 60:", (30 * torch.tanh(z / 30)).detach().numpy().round(2))
print("its slope:", soft.numpy().round(3), " slope of a hard limit:", hard.numpy())
with torch.no_grad():
    largest = model(ids).abs().max()
print(f"the largest logit of your model, on {ids.shape[1]} tokens: {largest:.1f}")
tied, untied = (record.numbers(arm, "parameters")[0] for arm in ("baseline", "untied"))
print(f"parameters that untying adds in the record: {untied / tied - 1:.0%}")
tell("untied")
along("untied")
tell("softcap")

# %% [markdown]
# Untying is a clear gain, and the three seeds agree closely. It is largest early, too, and shrinks. And it has a price that FLOPs do not show: the model is larger. *Equal compute* is not *equal memory*, and
# a fair comparison says which of the two it held fixed. (Why does it help? The tied matrix has to serve both as what a token means at the entrance and as what
# a token looks like at the exit. Whether that is the reason here, we did not test.)
#
# The cap is a seat belt. In a model like this no logit comes near 30, so it has nothing to do, and a null result is what you should expect. Its interval is the
# narrowest of all: with and without the cap, the runs of a seed are nearly the same run. A seat belt cannot be judged by drives in which nothing goes wrong.

# %% [markdown]
# ## 9. Sliding windows
#
# > **Your turn: 06.7 `window_mask`** (10 min), before the next cell.
#
# The cheapest way to a long context is not to look at all of it. With a **sliding window** of w a token sees itself and the w − 1 before it. The mask is
# a band (yellow: may look), and what must be kept per layer is w keys and values, however long the text:

# %%
T, w = 9, 4
t = torch.arange(T)
back = t[:, None] - t  # how far back column s lies from row t
mask = (back >= 0) & (back < w)
torch.testing.assert_close(mask, attention_mask(torch.zeros(1, T), window=w))
fig, axes = figure(width=6.5, height=2.9, columns=2)
heatmap(torch.ones(T, T).tril(), title="all of the past", ax=axes[0])
heatmap(mask.float(), title=f"a window of {w}", ax=axes[1])
show(fig, alt="Left: a full lower triangle. Right: a band of four squares along the diagonal.")

# %% [markdown]
# Is the token before the window lost? No. Layer 1 brings it to tokens inside the window, and layer 2 reads those. Each layer reaches w − 1 further back, so L layers
# reach L (w − 1): with the token itself, the **receptive field** has L (w − 1) + 1 tokens. Do not believe it, test it: change the token at place 0 and see which outputs notice.

# %%
reach = {}
for layers in (1, 2, 3):
    c = ModelConfig(layers=layers, width=24, heads=2, kv_heads=1, head_size=10, mlp_width=40,
                    context=32, vocab_size=50, window=w)  # fmt: skip
    small = GPT(c, seed=1)
    a = torch.randint(1, 50, (1, 24), generator=torch.Generator().manual_seed(8))
    b = a.clone()
    b[0, 0] = 0
    with torch.no_grad():
        reach[layers] = (small(a) != small(b)).any(-1)[0]
    seen = int(reach[layers].nonzero().max()) + 1
    print(f"layers: {layers}; the last output to notice: number {seen} = {layers} · ({w} - 1) + 1")
    assert seen == layers * (w - 1) + 1
fig, ax = figure(width=6.5, height=2.2)
ax.imshow(torch.stack(list(reach.values())).float(), cmap="viridis", aspect="auto")
ax.set(yticks=range(3), yticklabels=[f"layers: {n}" for n in reach], xlabel="output position",
       title="yellow: this output has changed")
ax.grid(False)
show(fig, alt="Three bars that begin at position 0: with one layer four outputs notice the change, "
              "with two layers seven, with three ten.")

# %% [markdown]
# That is what *can* arrive. What does arrive is another matter: it has to pass through the residual stream of every token in between. So models mix: a few layers
# see everything, most a window.

# %%
tell("window")

# %% [markdown]
# A window of 32 in a context of 128, in every layer: no loss that three seeds can see. With 3 layers the receptive field is 3 · 31 + 1 = 94 tokens. That says
# something about the window, and as much about the model: after so short a training it makes little use of what stands further back. (And the count of FLOPs was not even
# kind to the window: it pays for all of the past, of which a good kernel computes only the band.)
#
# > **Your turn: 06.6 `kv_bytes`** (10 min): what must be kept, with groups and a window.

# %% [markdown] tags=["slide"]
# ### What saves memory, what buys quality
#
# - grouped queries: K/H of the keys and values
# - sliding window: w tokens of them, whatever the length
# - QK-norm, soft-cap: seat belts; nothing to do in short runs
# - RoPE: quality; untied head: quality, for memory
# - SwiGLU: behind early, level at the end; better in long runs elsewhere

# %% [markdown]
# ## 10. The scoreboard
#
# All of it in one picture: each arm minus the baseline, within each seed, with the interval. Left of the line is better. (The two `fast` arms are left out: they
# change the learning rate.)

# %%
order = sorted([*single, "modern"], key=lambda arm: effect(arm)[0])
fig, ax = figure(width=7.5, height=4.4)
for y, arm in enumerate(order):
    mean, half = effect(arm)
    told = abs(mean) > half
    color = GREY if not told else BLUE if mean < 0 else VERMILLION
    ax.errorbar(mean, y, xerr=half, fmt="o" if told else "s", capsize=3, color=color,
                mfc=color if told else "white")  # fmt: skip
    ax.plot(apart[arm], [y + 0.25] * len(apart[arm]), "|", color=BLACK, markersize=5)
ax.axvline(0, color=BLACK, linewidth=1)
ax.set_yticks(range(len(order)), order)
ax.set(ylim=(len(order) - 0.4, -0.6), xlabel="bits per byte, minus the baseline")
show(fig, alt="Eleven arms sorted by their difference to the baseline, each with its interval: "
              "modern and rope far left, then untied and gqa; the other seven lie across zero, "
              "as open squares.")
print(record.sentence())

# %%
print("arm             difference   95 % interval    verdict")
for arm in order:
    mean, half = effect(arm)
    verdict = "cannot tell" if abs(mean) <= half else "better" if mean < 0 else "worse"
    print(f"{arm:<15} {mean:>+10.3f} {mean - half:>+9.3f} {mean + half:>+7.3f}    {verdict}")

# %%
parts = ("rms_norm", "no_bias", "rope", "qk_norm", "swiglu")
more = apart["modern"] - sum(apart[arm] for arm in parts)
half = half_width(more)
print(f"the five parts of modern, added up: {sum(effect(arm)[0] for arm in parts):+.3f}; "
      f"modern minus that sum: {more.mean():+.3f} ± {half:.3f}")
print(f"if independent, ten intervals of 95 % all hold with probability {0.95**10:.0%}")
wide = 14.09 / T_95[1]  # t for 3 seeds, if each of ten intervals may miss in 0.5 of 100
left = [arm for arm in order if arm in single and abs(effect(arm)[0]) > wide * effect(arm)[1]]
print(f"intervals {wide:.1f} times as wide hold for all ten at once; still better:", *left)
assert left == ["rope", "untied"] and effect("gqa")[0] < -effect("gqa")[1]
assert all(abs(effect(arm)[0]) < effect(arm)[1] for arm in ("rms_norm", "qk_norm", "swiglu"))

# %% [markdown]
# - **Two changes clearly pay here**: RoPE, and a head of its own.
# - **Grouped queries look better, too.** But you made ten comparisons, each with an interval that misses in 5 of 100. If they were independent, all ten
#   would hold with the probability printed above. One remedy is to share the 5 among the ten (Bonferroni's rule): half of one each, so wider intervals.
#   RoPE and the untied head pass even so, grouped queries do not. An arm that passes alone and fails among ten is the first that you should doubt: repeat
#   it with new seeds before you believe it.
# - **Most changes do nothing that can be seen**: RMSNorm, no biases, QK-norm, SwiGLU, ReLU², the cap, the window. "Nothing" has a size: each interval says how much
#   could still hide in it, and here that is a hundredth of a bit per byte or so, either way.
# - **Modern** is the best arm: its five parts together gain more than the same five, measured one at a time. The surplus excludes zero by little, so doubt it as well.
#   But it shows what one-at-a-time cannot: parts can help each other, or get in each other's way. Report the sum *and* the parts.
#
# What this does *not* show: what happens in a longer run (the gains of RoPE and of the untied head shrink during training, SwiGLU's loss goes away), in a larger
# model, at another learning rate. Seeds measure luck; they do not measure scale. The parts of a current model were chosen for runs very much longer, and for reasons that no loss shows: memory, stability, speed. Lesson 18 asks what small runs can say about large ones.

# %% [markdown] tags=["slide"]
# ### The scoreboard
#
# - better: RoPE, untied head; perhaps: grouped queries
# - cannot tell: RMSNorm, no biases, QK-norm, SwiGLU, ReLU², cap, window
# - ten comparisons need wider intervals than one
# - seeds measure luck, not scale, nor a longer run

# %% [markdown]
# ## 11. It is Qwen3
#
# RMSNorm, no biases, RoPE, grouped queries, QK-norm, SwiGLU: put together, these parts are not *like* Qwen3, they are Qwen3. Draw one with random
# weights in the library that everyone uses, write it to a folder, read the folder with `minigpt`, and compare: logits, and the gradient
# of every matrix. With all, some and one of the key and value heads:

# %%
def theirs(K):
    """A small Qwen3 of transformers: 6 query heads, K of keys and values, random weights."""
    c = transformers.Qwen3Config(
        vocab_size=300, hidden_size=40, intermediate_size=88, num_hidden_layers=3, head_dim=12,
        num_attention_heads=6, num_key_value_heads=K, max_position_embeddings=64)  # fmt: skip
    made = transformers.Qwen3ForCausalLM(c).eval()
    g = torch.Generator().manual_seed(K)
    for p in made.parameters():  # as they start, logits are nearly equal: mistakes would hide
        p.data += 0.1 * torch.randn(p.shape, generator=g)
    return made


# %%
tokens = torch.randint(300, (2, 51), generator=torch.Generator().manual_seed(9))
for K in (6, 3, 2, 1):
    other = theirs(K)
    with tempfile.TemporaryDirectory() as folder:
        other.save_pretrained(folder)
        ours = from_hf(folder)
    with torch.no_grad():
        gap = (ours(tokens) - other(tokens).logits).abs().max()
    ours(tokens[:, :-1], tokens[:, 1:]).backward()
    other(tokens, labels=tokens).loss.backward()
    pairs = [(ours.blocks[1].attn.k, other.model.layers[1].self_attn.k_proj),
             (ours.blocks[0].mlp.gate, other.model.layers[0].mlp.gate_proj)]  # fmt: skip
    grads = [(a.weight.grad, b.weight.grad) for a, b in pairs]
    off = max(float((a - b).norm() / b.norm()) for a, b in grads)
    print(f"K = {K}: logits differ by {gap:.0e} at most, gradients by {off:.0e} of their length")
    assert gap < 1e-4 and off < 1e-4

# %% [markdown]
# So what you train with `minigpt` opens in every program that knows Qwen3, and lesson 17 does that.

# %% [markdown]
# ## 12. One paper
#
# **Shazeer 2020, [GLU Variants Improve Transformer](https://arxiv.org/abs/2002.05202)**. Three pages and one idea: gates in the MLP. Read it with three questions.
# *What was held fixed* between the rows of table 1? (Parameters and operations: that is why the gated rows are narrower.) *What would change
# your mind* about the order of the rows? (The table gives the spread of repeated runs at the early measurement, in parentheses. Compare it with the gaps between
# the gated rows, and between them and the ungated.) *Which number can you recompute?* The MLP of the baseline is 3,072 wide at a model width of 768, and the
# gated ones are 2,048 wide (section 3 there).

# %%
width, d_ff = 768, 3072
two = 2 * width * d_ff
gated_width = two // (3 * width)
three = 3 * width * gated_width
print(f"two matrices of {d_ff:,}: {two:,} parameters; three of {gated_width:,}: {three:,}")
assert gated_width == 2048 and three == two

# %% [markdown]
# The paper ends without a reason: it says that it has no explanation for why these gates work, and names divine benevolence. Few papers are as honest. The evidence
# of this field is mostly of that kind: measured, on the sizes that someone could afford, and not understood.

# %% [markdown]
# ## 13. An exhibit
#
# The museum of lesson 13 holds broken training runs: a healthy recipe in which one part was replaced. Here is one of them, as the person saw it who had to find the mistake. Its loss falls far below that of every model in this course.

# %%
museum.show(14)

# %% [markdown]
# **Predict.** Is it the `rate`, the `mask`, the `data` or the `norm`? Write the word, in quotation marks.

# %%
guess = None
reveal("06.p5", guess)

# %% [markdown]
# One question to the run decides, with the healthy run's answer beside it:

# %%
print(museum.experiment(14, "change_the_future"))

# %% [markdown]
# Tokens that come later must not move what the model says before them. Here they do, at the last place that can see one step too far, and with two layers at the one before it as well. A mistake that raises the loss finds you; one that lowers it has to be looked for. So be most careful with results that are too good, and keep this test: change the future, and nothing before it may move.

# %% [markdown]
# ## Summary
#
# 1. Compare at equal FLOPs, within seeds, with an interval. If it contains zero, you cannot tell, and that is a result.
# 2. RoPE turns pairs of queries and keys by their position; scores then know only the distance. Beyond the trained length the slow pairs show new angles; slow just those and train a little more, and the loss stays level.
# 3. Grouped queries and windows save the keys and values that writing must keep. They are there for memory, not for quality.
# 4. QK-norm bounds scores, a soft-cap bounds logits: seat belts, which you judge by the crash, not by the drive. Short runs had no crash, and a null effect.
# 5. RMSNorm, no biases, RoPE, GQA, QK-norm and SwiGLU together are Qwen3, to rounding.
#
# Next: lesson 07 makes the model write, and stores the keys and values.

# %% tags=["timing"]
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
