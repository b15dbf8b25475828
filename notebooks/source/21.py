# %% [raw]
# title = "Data parallel"
# question = "How do many devices train one model as if they were one?"
# able = [
#   "say what ranks have to tell each other in a step, and prove that copies stay equal to the last bit",
#   "name five collectives by who has what before and after, and build a ring all-reduce with its count of bytes",
#   "write data parallel training with hooks and buckets, show that it is PyTorch's, and read a timeline of its overlap",
#   "recognise replicas that drift apart, and name the rank that is wrong by a checksum",
#   "predict how well a run scales, from two numbers of a network",
# ]
# needs = ["step", "parameter", "gradient", "backward pass", "cross-entropy", "held-out text", "micro-batch", "gradient accumulation", "gradient clipping", "optimizer state", "AdamW", "checkpoint", "initialisation", "FLOP", "MFU", "critical batch size", "weight tying"]
# reading = 75
# exercises = 105
# route = "core"
# paper = "Goyal et al. 2017, Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour, arXiv 1706.02677"
#
# [teaches]
# "data parallelism" = "Training in which every process holds the whole model, computes the gradient of its own part of the batch, and adds up gradients with the others before each update."
# "rank of a process" = "The number of a process among those that train together, from 0 on. The process itself is also called a rank."
# "world size" = "How many processes train together."
# replica = "One of several copies of a model that must stay equal to the last bit."
# collective = "An exchange of data in which all ranks take part, each by the same call at the same place of its program."
# all-reduce = "A collective after which every rank has the sum of what all had."
# reduce-scatter = "A collective after which the sum of what all ranks had is spread over them: rank r has piece r of it."
# all-gather = "A collective after which every rank has the pieces of all ranks, in order."
# all-to-all = "A collective in which each rank sends a different piece to every other: the transpose of a table of ranks and pieces."
# "ring all-reduce" = "An all-reduce in which each rank sends only to its neighbour, one piece at a time: first sums travel round the ring, then results. Each rank sends 2 (n - 1) / n times the data, for any n."
# "gradient bucket" = "Gradients of several parameters, sent together as one message as soon as the last of them is computed."
# overlap = "Sending and computing at the same time, so that only the part of the sending that is not hidden costs time."
# "alpha–beta model" = "The time of a message is alpha seconds, whatever its size, and beta seconds for each byte."
# "weak scaling" = "More devices with the same work for each: the batch grows."
# "strong scaling" = "More devices for the same batch: the work of each shrinks."
# "scaling efficiency" = "The speed of n devices, divided by n times the speed of one."

# %% [markdown] tags=["instructor"]
# **Aim.** Learners can say what crosses the wire in a step, how many bytes, and when; and they trust no distributed code that has not been
# compared with one process. **Timing** (140 min). Before class: 21.1. In class: section 1 10 · exercise 21.2 10 · sections 2 and 3 25 ·
# exercise 21.4 15 · section 4 25 · section 5 15 · exercise 21.6 15 · section 6 15 · section 7 5 · discussion 5. Homework: the other exercises, sections 8 and 9.
#
# **Two misconceptions.** *"The ranks send their weights around."* Ask: when two programs start with equal numbers and do equal things to them,
# what must they tell each other to stay equal? *"Twice the devices, twice the traffic for each."* Ask: in the ring, how many bytes does one rank
# send with 4 ranks, how many with 400?
#
# **Discuss.** A colleague's eight-GPU run has a smooth loss, and is a little worse than the same batch on one GPU. Which three comparisons would
# you make, in which order? · Your cluster has GPUs twice as fast as last year's and the same network. Which of your numbers get better, and which worse?

# %% tags=["setup"]
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from matplotlib.patches import Rectangle

# %%
from minigpt import GPT, ModelConfig, Shards, flops_per_token, parallel, parameters
from minigpt.classroom import on_ranks, reveal, show
from minigpt.classroom.ranks import script_of, timeline
from minigpt.classroom.viz import BLUE, GREEN, GREY, ORANGE, VERMILLION
from minigpt.classroom.viz import figure, label_end
from minigpt.config import DataConfig, preset
from minigpt.prepare import prepare
from minigpt.text.sources import builtin, usable_domains

started = time.perf_counter()
print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")

# %% [markdown]
# *Three questions on earlier lessons. Say the answer aloud, then open it.*
#
# <details><summary>08: two micro-batches have 100 and 10 targets that count. Why is the mean of their mean losses wrong?</summary>It gives a target of the
# small one ten times the weight of a target of the large one. Add up sums, and divide once by all 110.</details>
# <details><summary>09: is a sum of floating-point numbers the same in every order?</summary>No. Each addition rounds, so another order gives other last bits.</details>
# <details><summary>11: what is the critical batch size good for?</summary>It says how far a batch can grow before more of it hardly saves steps.</details>

# %% [markdown]
# > **Try first: 21.1 `busiest_rank`** (5 min), before you read on. The exercises are in `exercises/21_data_parallel.ipynb`; `python3 course.py start 21` makes a
# > copy for you in `my/`.
#
# One device is too slow. You have eight, each with memory of its own, joined by wires. The oldest way to use them, and still the first to try, is **data parallelism**: every device holds the *whole* model, and works on its
# own part of the batch. Each device is driven by one process. The processes run the same program and differ in one number, their **rank**: 0, 1, 2 and so on. How many there are is the **world size**, n.
#
# In this lesson you build it twice. First as *a list per rank* in this one process, where you can look at everything at once: element r of a list is what rank r has. Then with real processes. No GPU is needed: the calls are the same, and at the end you will know what would differ.

# %%
usable, _ = usable_domains(["books", "drama", "speeches", "docs"])
books = [book.text[:60_000] for book in list(builtin(usable[:1]))[:12]]
paragraphs = [p for text in books for p in text.split("\n\n") if len(p) >= 40]
work = Path(tempfile.mkdtemp())
for file, some in (("text", paragraphs[40:]), ("val", paragraphs[:40])):
    (work / f"{file}.txt").write_text("\n\n".join(some), encoding="utf-8")
raw = DataConfig(text=(str(work / "text.txt"),), val_text=str(work / "val.txt"))
tokenizer, _ = prepare(raw, work / "data", 512, workers=1, say=lambda line: None)

T = 48
SHAPE = dict(family="modern", layers=3, width=64, heads=2, kv_heads=1, head_size=40,
             mlp_width=160, context=T, vocab_size=512)  # fmt: skip
shards = {split: Shards.open(work / "data", split, context=T) for split in ("train", "val")}


def batch_of(step, rows=12, data=shards["train"]):
    """Inputs and targets (rows, T) of a step: a function of the step, not of the ranks"""
    return [torch.from_numpy(a) for a in data.read(data.batch(0, step, rows))]


print(f"{shards['train'].windows:,} windows of {T} tokens")

# %% [markdown]
# ## 1. What a step needs
#
# A batch of 12 sequences and three ranks. Rank r takes rows 4r to 4r + 3: its *slice* of a batch that is a function of the step, so nobody has to send data. Each rank computes a gradient. What has to happen so that three devices do what one would have done?
#
# The loss is a sum over targets, so its gradient is a sum, too. Divide every rank's sum by the number of targets that count in the **whole** batch, and the gradients of the ranks simply add up to the right one:

# %%
def gradient(model, loss):
    """All gradients of a loss, as one vector"""
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def as_parts(batch, ranks):
    """A batch -> a list per rank of its slice"""
    return list(zip(*(tensor.chunk(ranks) for tensor in batch)))


def warm(seed=1, steps=25):
    """A model that has learnt a little, so that targets differ in how hard they are"""
    model = GPT(ModelConfig(**SHAPE), seed=seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95))
    for step in range(steps):
        optimizer.zero_grad()
        model(*batch_of(1000 + step)).backward()
        optimizer.step()
    return model


# %%
model = warm()
whole = batch_of(0)
valid = int((whole[1] >= 0).sum())
one = gradient(model, model(*whole))
by_rank = [gradient(model, model(x, y, reduction="sum") / valid) for x, y in as_parts(whole, 3)]
off = float((sum(by_rank) - one).norm() / one.norm())
print(f"{valid} targets; the sum over three ranks differs from one device by {off:.0e}")
assert off < 2e-6

# %% [markdown]
# The difference is the rounding of another order of addition. Now make the parts unequal: each row is one paragraph, filled up with padding, and a rank that is handed long paragraphs has more targets than its neighbour. Much code lets each rank take its own *mean* loss, and then averages the gradients over ranks; PyTorch's wrapper for data parallel training, `DistributedDataParallel` or *DDP*, averages by default.

# %%
ids = [np.asarray(p, np.int64) for p in tokenizer.encode_batch(paragraphs[40:400])]
ids = sorted((p[: T + 1] for p in ids), key=len)
rows = ids[:4] + ids[30:34] + ids[-4:]  # rank 0 is handed the short ones
padded = torch.full((12, T + 1), -100)
for row, p in zip(padded, rows):
    row[: len(p)] = torch.from_numpy(p)
uneven = [padded[:, :-1].clamp(min=0), padded[:, 1:].contiguous()]
counts = [int((y >= 0).sum()) for _, y in as_parts(uneven, 3)]
one = gradient(model, model(*uneven))
sums = sum(gradient(model, model(x, y, reduction="sum") / sum(counts))
           for x, y in as_parts(uneven, 3))  # fmt: skip
means = sum(gradient(model, model(x, y)) / 3 for x, y in as_parts(uneven, 3))
print(f"targets that count, by rank: {counts}")
for name, found in (("sums / global count", sums), ("mean of the ranks' means", means)):
    cosine = torch.nn.functional.cosine_similarity(found, one, dim=0).item()
    turned = math.degrees(math.acos(min(1.0, cosine)))
    print(f"{name}: off by {(found - one).norm() / one.norm():.2g} of its length, "
          f"turned by {turned:.1f} degrees")  # fmt: skip
assert (sums - one).norm() < 1e-5 * one.norm() < (means - one).norm()

# %% [markdown]
# It is lesson 08's mistake of micro-batches, with ranks in their place. The global count has to be known *before* the backward pass. Either the ranks add up their counts first, a message of a few bytes; or, as in minigpt, the count is a function of the step, which every rank can work out for itself (`Shards.targets`).
#
# And the weights? **Predict.** A run of 1,000 steps. All ranks draw their first weights from the same seed. How many times do they have to send each other weights?

# %%
guess = None
reveal("21.p1", guess)

# %% [markdown]
# The argument is an induction, and all of data parallelism hangs on it: *equal weights, an equal gradient, and an equal rule of update give equal weights*. Copies that are kept equal in this way are **replicas**. Equal means to the last bit: an error that is only small in one step has a thousand steps in which to grow.
# So the whole problem is one operation. n ranks have a vector each. Afterwards all have the sum.
#
# > **Your turn: 21.2 `global_loss`** (8 min): from what each rank knows, the loss that one device would have logged.

# %% [markdown] tags=["slide"]
# ### One step on n ranks
#
# - the same weights, the same program, another slice of the batch
# - loss: *sum* over own targets, divided by the count of **all** ranks
# - gradients are added up; then every rank makes the same update
# - weights are never sent

# %% [markdown]
# ## 2. Collectives
#
# "All have the sum" is one of a small family. In a **collective** every rank takes part by the same call. Five of them carry this lesson and the next two:
#
# | collective | rank r has before | rank r has afterwards |
# |---|---|---|
# | broadcast | a vector | the vector of rank 0 |
# | all-reduce | a vector | the sum of all vectors |
# | reduce-scatter | a vector | piece r of that sum |
# | all-gather | a piece | the pieces of all ranks, in order |
# | all-to-all | a vector | piece r of every rank's vector, in order |
#
# Here they are with a list per rank, each in a line or two; `x[r]` is what rank r has, and a vector is cut into n pieces where pieces matter:

# %%
def pieces(v, n):
    """A vector in n pieces, as equal as can be"""
    return list(v.tensor_split(n))


def broadcast(x, root=0):
    return [x[root].clone() for _ in x]


def all_reduce(x):
    total = torch.stack(x).sum(0)
    return [total.clone() for _ in x]


def reduce_scatter(x):
    return pieces(torch.stack(x).sum(0), len(x))  # rank r: piece r of the sum


def all_gather(x):
    return [torch.cat(x) for _ in x]


def all_to_all(x):
    n = len(x)
    return [torch.cat([pieces(x[source], n)[r] for source in range(n)]) for r in range(n)]


# %% [markdown]
# **Predict.** Three ranks; rank r has the three numbers (1, 2, 3), times ten to the r: so (1, 2, 3), (10, 20, 30), (100, 200, 300). After a reduce-scatter, which number does rank 1 have?

# %%
guess = None
reveal("21.p2", guess)

# %%
def table(ax, title, lists, width=3):
    """A row for each rank, a square for each number; the shade says how many ranks it sums"""
    for r, numbers in enumerate(lists):
        for c, value in enumerate(numbers.tolist()):
            terms = sum(digit != "0" for digit in str(round(value)))
            shade = ("white", "#dbe9f4", "#a9cbe6", "#5b9ac9")[terms]
            ax.add_patch(Rectangle((c, r), 1, 1, facecolor=shade, edgecolor=GREY))
            ax.text(c + 0.5, r + 0.5, f"{value:.0f}", ha="center", va="center", size=8)
    ax.set(xlim=(0, width), ylim=(3, 0), xticks=[], yticks=[0.5, 1.5, 2.5])
    ax.set_yticklabels([f"rank {r}" for r in range(3)] if title == "before" else [])
    ax.set_title(title, size=9)
    ax.tick_params(length=0)
    ax.grid(False)


# %%
x = [torch.tensor([1.0, 2.0, 3.0]) * 10**r for r in range(3)]
by_list = {"broadcast": broadcast(x), "all-reduce": all_reduce(x), "all-to-all": all_to_all(x),
           "reduce-scatter": reduce_scatter(x),
           "all-gather": all_gather(reduce_scatter(x))}  # fmt: skip
fig, axes = figure(width=7.2, height=1.5, columns=6)
for ax, (title, lists) in zip(axes, {"before": x, **by_list}.items()):
    table(ax, title if title != "all-gather" else "then all-gather", lists)
show(fig, alt="Six tables of three ranks. Before: 1 2 3, 10 20 30, 100 200 300. Broadcast: all 1 "
              "2 3. All-reduce: all 111 222 333. All-to-all: transposed, 1 10 100 and so on. "
              "Reduce-scatter: rank 0 has 111, rank 1 has 222, rank 2 has 333. All-gather of "
              "that: all have 111 222 333.")

# %% [markdown]
# The darker a square, the more ranks' numbers are summed in it. Two sentences to keep. *An all-reduce is a reduce-scatter and then an all-gather*: the last two tables give the third. And *an all-to-all is a transpose*: it was a table of source and piece, and is now one of piece and source.

# %%
for a, b in zip(all_gather(reduce_scatter(x)), all_reduce(x)):
    assert torch.equal(a, b)
assert torch.equal(torch.stack(all_to_all(x)), torch.stack(x).T)

# %% [markdown]
# Now with real processes. `on_ranks(3, function)` writes the function into a script, adds the imports, and starts `torchrun`, which starts three processes and tells each its rank. What the function returns on each rank comes back as a list. They talk through *gloo*, PyTorch's library for CPUs; on GPUs it is NVIDIA's *NCCL*, and the calls are the same. They return nothing: the first two overwrite the tensor that you hand in, the others fill an empty one, which comes first.

# %%
def real_collectives(rank, world, x):
    """Every rank runs this, at the same time, in a memory of its own."""
    mine, found = x[rank], {}
    found["broadcast"] = mine.clone()
    dist.broadcast(found["broadcast"], src=0)
    found["all-reduce"] = mine.clone()
    dist.all_reduce(found["all-reduce"])
    found["all-to-all"] = torch.empty(world)
    dist.all_to_all_single(found["all-to-all"], mine)
    found["reduce-scatter"] = torch.empty(1)
    dist.reduce_scatter_tensor(found["reduce-scatter"], mine.clone())
    found["all-gather"] = torch.empty(world)
    dist.all_gather_into_tensor(found["all-gather"], found["reduce-scatter"])
    return found


real = on_ranks(3, real_collectives, x=x)
for name, lists in by_list.items():
    for r in range(3):
        assert torch.equal(real[r][name], lists[r]), (name, r)
print("five collectives on three processes: equal to the lists, number for number")

# %% [markdown]
# What `torchrun` does for each process is little: it sets the variables `RANK` and `WORLD_SIZE`, and an address at which they meet. The script is no secret. Here is its end, with the two calls that turn a program into a rank, `init_process_group` and, when all is done, `destroy_process_group`:

# %%
script = script_of(real_collectives)
print(script[script.index("if __name__") :])

# %% [markdown]
# One rule makes all the difference to ordinary programs. **Every rank must make the same collective calls, in the same order, with the same sizes.** For a call has no name: the k-th of one rank meets the k-th of every other. Two ranks want to sum their loss (2 and 3), and then their count of targets (100 each). But rank 1 has met a bad batch, and skips the first call:

# %%
def one_skips(rank, world):
    loss, count = torch.tensor([2.0 + rank]), torch.tensor([100.0])
    if rank == 0:
        dist.all_reduce(loss)
    second = dist.all_reduce(count, async_op=True)  # begins; `wait` waits for the end
    try:
        second.wait(timedelta(seconds=60 if rank else 1))
        said = "summed"
    except RuntimeError:
        said = "nobody has come"
    time.sleep(2 * rank)  # rank 1 goes on with something else
    return loss.item(), count.item(), said


skipped = on_ranks(2, one_skips, "from datetime import timedelta")
for rank, (loss, count, said) in enumerate(skipped):
    print(f"rank {rank}: loss {loss:.0f}, count {count:.0f} ({said})")
assert skipped[0][0] == skipped[1][1] == 102 and skipped[0][2] != "summed"

# %% [markdown]
# Rank 0's loss has met rank 1's count: 102 is 2 + 100, and each of them takes it for what it had asked for. Rank 0's second call meets nobody. We let it give up after a second; by itself it would wait for half an hour, the default of PyTorch for gloo. So do not expect a message: a number that is nonsense, or a hang, *is* the message.
# Therefore nothing that one rank decides alone, to stop, to skip, to save, may lead around a collective. minigpt puts such wishes into a sum over all ranks, once a step (`parallel.agree`).
#
# > **Your turn: 21.3 `who_hangs`** (12 min).

# %% [markdown]
# ## 3. The ring
#
# How does one *build* an all-reduce? The obvious way: everybody sends to rank 0, which adds up and sends the sum back. Count what passes through rank 0's wire, for N bytes and n ranks: it receives (n − 1) N and sends (n − 1) N, while all others wait for it.
#
# The **ring** spreads the work. Rank r talks only to rank r + 1. Every vector is cut into n pieces. In each round every rank sends *one piece* to its neighbour, and adds what arrives to its own: first piece r, and from then on the piece to which it has just added. After n − 1 rounds each rank has one piece that is complete, rank r piece r + 1. That was a reduce-scatter. In n − 1 more rounds the complete pieces travel round in the same way: an all-gather. (All numbers of ranks and pieces are modulo n.)

# %%
def ring(x, look=lambda rows: None):
    """A list of vectors, one per rank -> (their all-reduce, bytes sent by each rank)"""
    n = len(x)
    own = [[piece.clone() for piece in pieces(v, n)] for v in x]  # own[r][c]: piece c on rank r
    sent = [0] * n
    look(own)
    for stage, first in (("add", 0), ("copy", 1)):
        for step in range(n - 1):
            parcels = [own[r][(r + first - step) % n].clone() for r in range(n)]
            for r in range(n):
                to, c = (r + 1) % n, (r + first - step) % n
                sent[r] += parcels[r].numel() * parcels[r].element_size()
                own[to][c] = own[to][c] + parcels[r] if stage == "add" else parcels[r]
            look(own)
    return [torch.cat(own[r]) for r in range(n)], sent


# %%
states = []
ring([torch.ones(4) for _ in range(4)],
     lambda own: states.append([[float(c) for c in row] for row in own]))  # fmt: skip
fig, axes = figure(width=7.2, height=1.7, columns=7)
for number, (ax, rows) in enumerate(zip(axes, states)):
    ax.imshow(rows, cmap="Blues", vmin=0, vmax=5.5)
    for r, row in enumerate(rows):
        for c, terms in enumerate(row):
            ax.text(c, r, f"{terms:.0f}", ha="center", va="center", size=9)
    ax.set(xticks=range(4), yticks=range(4) if number == 0 else [])
    ax.set_title("start" if number == 0 else f"{'add' if number < 4 else 'copy'} {number}", size=9)
    ax.grid(False)
    ax.tick_params(length=0, labelsize=8)
axes[0].set(ylabel="rank", xlabel="piece")
show(fig, alt="How many ranks' numbers are summed in each of 4 pieces on each of 4 ranks. All "
              "ones at the start; after 3 rounds of adding each rank has one piece with 4; after "
              "3 rounds of copying all pieces are 4.")

# %% [markdown]
# Read a column of the picture from left to right: piece 0 starts on rank 0, and grows by one rank in each round until it is complete on rank 3, and from there it is copied.
#
# In each round a rank sends N/n bytes, and there are 2 (n − 1) rounds:
#
# $$\text{bytes sent by each rank} = \frac{2\,(n-1)}{n}\, N$$
#
# **Predict.** You go from 4 to 64 ranks. How many times as many bytes does each rank send in the ring?

# %%
guess = None
reveal("21.p3", guess)

# %%
g = torch.Generator().manual_seed(0)
N = 4 * 5040  # bytes; 5,040 numbers can be cut into 2, 3, … 8 equal pieces
world_sizes = [2, 3, 4, 5, 6, 7, 8]
measured = []
for n in world_sizes:
    x = [torch.randn(5040, generator=g) for _ in range(n)]
    found, sent = ring(x)
    torch.testing.assert_close(found[0], all_reduce(x)[0])
    assert all(torch.equal(f, found[0]) for f in found)  # to the bit
    assert sent == [2 * (n - 1) * N // n] * n
    measured.append(sent[0])
fig, ax = figure(width=5.2, height=2.4)
ax.plot(world_sizes, [2 * (n - 1) for n in world_sizes], "s--", color=VERMILLION)
ax.plot(world_sizes, [b / N for b in measured], "o-", color=BLUE)
label_end(ax, 8, 14, "rank 0, naive", VERMILLION)
label_end(ax, 8, measured[-1] / N, "each rank, ring", BLUE)
ax.set(xlabel="ranks", ylabel="bytes through one wire / N", ylim=(0, 15))
show(fig, alt="Bytes over a rank's wire in units of N: for rank 0 of the naive way a straight "
              "line up to 14 at 8 ranks; for the ring a curve that stays below 2.")
print("measured =", [f"{b / N:.3f}" for b in measured], "= 2 (n - 1) / n")

# %% [markdown]
# The ring never sends more than 2N from one rank, however many there are. As long as only the ranks themselves add, no other way sends fewer bytes ([Patarasuk & Yuan 2009](https://doi.org/10.1016/j.jpdc.2008.09.002)). Its price is patience: 2 (n − 1) rounds, each with its own delay. For short vectors and many ranks other shapes win, such as trees, and NCCL chooses by size.
#
# There is a second gift, easily overlooked. Each piece is summed once, in one order, and then *copied*: all ranks have the same bits. Suppose instead that each rank collects all vectors and adds them up itself, beginning with its own:

# %%
x = [torch.randn(5040, generator=g) for _ in range(4)]
selfish = [sum((x[(r + k) % 4] for k in range(1, 4)), x[r].clone()) for r in range(4)]
different = [int((selfish[r] != selfish[0]).sum()) for r in range(4)]
print(f"numbers of 5,040 in which a rank's sum differs from rank 0's: {different}")
assert different[0] == 0 < min(different[1:])

# %% [markdown]
# Each of these sums is right up to rounding, and the replicas are replicas no more. Sums that agree *nearly* break the induction of section 1.
#
# Now real messages. `isend` starts to send and does not wait; `recv` waits. (If all ranks first sent and waited, and then received, all could wait for ever.) This time the vector does not divide evenly, and rank 1 starts late:

# %%
def real_ring(rank, world, x):
    own, sent = [p.clone() for p in x[rank].tensor_split(world)], 0
    right, left = (rank + 1) % world, (rank - 1) % world
    time.sleep(0.2 * (rank == 1))  # it is late; the others wait in recv
    for stage, first in (("add", 0), ("copy", 1)):
        for step in range(world - 1):
            out, into = (rank + first - step) % world, (rank - 1 + first - step) % world
            parcel = torch.empty_like(own[into])
            sending = dist.isend(own[out], right)
            dist.recv(parcel, left)
            sending.wait()
            sent += 4 * own[out].numel()
            own[into] = own[into] + parcel if stage == "add" else parcel
    theirs = x[rank].clone()
    dist.all_reduce(theirs)
    return {"ring": torch.cat(own), "engine": theirs, "sent": sent}


# %%
x = [torch.randn(1000, generator=g) for _ in range(3)]
real = on_ranks(3, real_ring, x=x)
by_hand, sent = ring(x)
for r in range(3):
    torch.testing.assert_close(real[r]["ring"], real[r]["engine"])
    assert torch.equal(real[r]["ring"], by_hand[r]) and real[r]["sent"] == sent[r]
    assert torch.equal(real[r]["engine"], real[0]["engine"])
print(f"bytes sent by each rank: {sent}; formula for equal pieces: {2 * 2 / 3 * 4000:,.1f}")

# %% [markdown]
# The processes give the list's result to the bit, and `dist.all_reduce` gives the same up to the order of its additions; among themselves, its ranks agree to the bit as well.
#
# > **Your turn: 21.4 `ring_pieces`** (15 min): write the sending schedule of the ring for any n.

# %% [markdown] tags=["slide"]
# ### Ring all-reduce
#
# - cut into n pieces; send one to the right in each round
# - n − 1 rounds that add (reduce-scatter), n − 1 that copy (all-gather)
# - each rank sends 2 (n − 1)/n · N bytes: less than 2N, for any n
# - each piece is summed once and copied, so all ranks have the same bits

# %% [markdown]
# ## 4. While backward runs
#
# You could now train: `backward()`, one all-reduce of all gradients, update. But look at the clock of such a step. First the processor works and the wire is idle, then the wire works and the processor is idle. The gradients of the last layers are there long before the backward pass is over; why not send them at once?
#
# PyTorch tells you when a gradient is complete: `p.register_post_accumulate_grad_hook(f)` calls `f(p)` as soon as `p.grad` has been added up. **Predict.** Our model ties the embedding to the head: the matrix is used at both ends. It is a chain of embedding, blocks 0, 1, 2, norm and head. Which parameter's gradient is complete *last*? (its name, like `blocks.1.mlp.up.weight`)

# %%
guess = None
reveal("21.p4", guess)

# %%
def order_of_arrival(model, batch):
    """The parameters' names, in the order in which their gradients are complete"""
    arrived = []
    hooks = [p.register_post_accumulate_grad_hook(lambda _, name=name: arrived.append(name))
             for name, p in model.named_parameters()]  # fmt: skip
    model(*batch).backward()
    for hook in hooks:
        hook.remove()
    model.zero_grad()
    return arrived


arrived = order_of_arrival(model, whole)
names = [name for name, _ in model.named_parameters()]
print(*[f"{i:>3} {arrived[i]}" for i in (0, 1, 2, -3, -2, -1)], sep="\n")
fig, ax = figure(width=4.2, height=2.3)
ax.plot([names.index(name) for name in arrived], "o", color=BLUE, markersize=4)
ax.set(xlabel="arrives as number", ylabel="number in the model")
show(fig, alt="Parameters in order of arrival against their place in the model: nearly a "
              "straight line that falls. The last layers' gradients arrive first, the "
              "embedding's last.")

# %% [markdown]
# Nearly the reverse of the order in which the model names them. (The points off the line: a block names `attn.out` before the norms of queries and keys, and uses it after them. The head is the embedding's matrix, so it waits for both of its uses.)
#
# Each message costs a fixed delay, so do not send one for each parameter: collect neighbours into **buckets**, in reverse order, and send a bucket when its last gradient has arrived. With a list per rank, hooks and all; the replicas take their backward passes one after the other, so a bucket is summed when the last rank's last gradient comes in:

# %%
def make_buckets(model, most):
    """The parameters, last first, in groups of at most `most` bytes (or one parameter)"""
    buckets, size = [[]], 0
    for p in reversed(list(model.parameters())):
        if buckets[-1] and size + 4 * p.numel() > most:
            buckets.append([])
            size = 0
        buckets[-1].append(p)
        size += 4 * p.numel()
    return buckets


# %%
def hook_up(replicas, most, said):
    """Make the replicas add up their gradients, bucket by bucket, while backward runs"""
    cut = [make_buckets(m, most) for m in replicas]
    missing = [len(replicas) * len(bucket) for bucket in cut[0]]

    def arrived(number):
        missing[number] -= 1
        if missing[number] == 0:  # everybody's
            flat = [torch.cat([p.grad.flatten() for p in c[number]]) for c in cut]
            sums, sent = ring(flat)
            said.append((number, sent[0]))
            for c, total in zip(cut, sums):
                for p, part in zip(c[number], total.split([p.numel() for p in c[number]])):
                    p.grad.copy_(part.view_as(p))

    for buckets in cut:
        for number, bucket in enumerate(buckets):
            for p in bucket:
                p.register_post_accumulate_grad_hook(lambda _, number=number: arrived(number))


# %%
replicas = [GPT(ModelConfig(**SHAPE), seed=1) for _ in range(3)]
said = []
hook_up(replicas, 64 * 1024, said)
for m, (inputs, targets) in zip(replicas, as_parts(whole, 3)):
    (m(inputs, targets, reduction="sum") / valid).backward()
alone = GPT(ModelConfig(**SHAPE), seed=1)
alone(*whole).backward()


def gap(model, other):
    """The distance of two models' gradients, in units of the second's length"""
    a, b = (torch.cat([p.grad.flatten() for p in m.parameters()]) for m in (model, other))
    return float((a - b).norm() / b.norm())


print("buckets in the order of sending:", [number for number, _ in said])
print(f"off from one device: {max(gap(m, alone) for m in replicas):.0e}")
total, expected = sum(b for _, b in said), 4 * parameters(alone.config) * 2 * 2 / 3
print(f"sent by rank 0: {total:,} bytes; 2 (n - 1)/n · 4 bytes · parameters = {expected:,.0f}")
assert max(gap(m, alone) for m in replicas) < 2e-6 and abs(total / expected - 1) < 1e-3

# %% [markdown]
# (The few bytes too many are pieces that did not divide evenly.)
#
# Now the real thing, on two processes. `async_op=True` starts an all-reduce and returns at once; a thread of gloo does the rest while backward goes on. The *future* that it leaves with you stands for the result, and its `then` says what shall be done when it is there: here, only look at the clock. All that is new compared with the list: remember what is on its way, and wait for it before the update. And a switch, `sync`: with gradient accumulation nothing is sent until the last micro-batch, since the sum of sums can be sent once.

# %%
def attach(model, most, note=lambda *event: None):
    """Hooks that send each bucket when it is full -> what they share, a switch in it"""
    state = {"sync": True, "bytes": 0, "flying": []}

    def arrived(bucket, missing):
        if not state["sync"]:
            return
        missing.pop()
        if not missing:  # this was the last of its bucket
            missing += bucket  # for the next step
            flat, start = torch.cat([p.grad.flatten() for p in bucket]), time.time()
            sending = dist.all_reduce(flat, async_op=True).get_future()
            sending = sending.then(lambda _: note("send", start, time.time()))
            state["bytes"] += 4 * flat.numel()
            state["flying"].append((bucket, flat, sending))

    for bucket in make_buckets(model, most):
        hook = lambda _, bucket=bucket, missing=list(bucket): arrived(bucket, missing)
        for p in bucket:
            p.register_post_accumulate_grad_hook(hook)
    return state


# %%
def land(state):
    """Wait for what is on its way, and put the sums where the optimizer looks for them"""
    for bucket, flat, sending in state["flying"]:
        sending.wait()
        for p, total in zip(bucket, flat.split([p.numel() for p in bucket])):
            p.grad.copy_(total.view_as(p))
    state["flying"].clear()


def slice_of(rank, world, context, data, rows):
    """This rank's rows of the batch of step 0, and the count of targets of all ranks"""
    shards = Shards.open(data, context=context)
    batch = [torch.from_numpy(a) for a in shards.read(shards.batch(0, 0, rows))]
    return [part.chunk(world)[rank] for part in batch], int((batch[1] >= 0).sum())


# %% [markdown]
# Three ways to one gradient, from the same batch, a rank's slice cut into three micro-batches: our hooks, `DistributedDataParallel` as minigpt wraps it (with a hook of its own, so that it sums and does not average), and at the end, back here, one process.

# %%
def two_ways(rank, world, shape, data, rows, micro):
    (x, y), valid = slice_of(rank, world, shape["context"], data, rows)
    layout = parallel.place("ddp", (world, 1, 1), "cpu")
    hand, theirs = (GPT(ModelConfig(**shape), seed=1) for _ in range(2))
    engine, state = parallel.replicate(theirs, layout), attach(hand, 2**18)
    for number, (inputs, targets) in enumerate(zip(x.chunk(micro), y.chunk(micro)), 1):
        state["sync"] = last = number == micro
        (hand(inputs, targets, reduction="sum") / valid).backward()
        with parallel.micro_step(engine, layout, last):  # DDP's no_sync, but for the last
            (engine(inputs, targets, reduction="sum") / valid).backward()
    land(state)
    a, b = (torch.cat([p.grad.flatten() for p in m.parameters()]) for m in (hand, theirs))
    return {"gap": float((a - b).norm() / b.norm()), "print": parallel.fingerprint([a]),
            "bytes": state["bytes"], "gradient": a if rank == 0 else None}  # fmt: skip


# %% [markdown]
# And since starting processes takes seconds, the same two will do a second thing: forward and backward of a larger model, seven times, and write down by the clock when they compute and when they send.

# %%
def by_the_clock(rank, world, shape, data, rows, sizes):
    (inputs, targets), valid = slice_of(rank, world, shape["context"], data, rows)
    found = {}
    for most in sizes:
        model, steps = GPT(ModelConfig(**shape), seed=1), []
        state = attach(model, most, lambda *event: steps[-1].append(list(event)))
        for _ in range(7):
            steps.append([])
            dist.barrier()
            clock = [time.time()]
            loss = model(inputs, targets, reduction="sum") / valid
            for part in (loss.backward, lambda: land(state)):
                clock.append(time.time())
                part()
            clock.append(time.time())
            for kind, *when in zip(("forward", "backward", "wait"), clock, clock[1:]):
                steps[-1].append([kind, *when])
        found[str(most)] = steps[1:]  # the first one is slow
    return found


# %%
def both(rank, world, shape, big, data, sizes):
    compared = two_ways(rank, world, shape, data, rows=12, micro=3)
    return compared, by_the_clock(rank, world, big, data, rows=4, sizes=sizes)


needs = ("from minigpt import GPT, ModelConfig, Shards, parallel",
         make_buckets, attach, land, slice_of, two_ways, by_the_clock)
BIG = SHAPE | dict(layers=4, width=192, heads=4, kv_heads=2, mlp_width=512, context=96)
sizes = [2**40, 2**20, 2**16]
found, clocks = zip(*on_ranks(2, both, *needs, shape=SHAPE, big=BIG, data=str(work / "data"),
                              sizes=sizes, timeout=180))  # fmt: skip
mine = torch.cat([p.grad.flatten() for p in alone.parameters()])
off = float((found[0]["gradient"] - mine).norm() / mine.norm())
print(f"ours and DDP: {max(f['gap'] for f in found):.0e} apart; ours and one process: {off:.0e}")
formula = parallel.gradient_bytes(alone.config, "ddp", (2, 1, 1), micro_steps=3)
print(f"handed to all-reduce: {found[0]['bytes']:,} bytes in three micro-batches; "
      f"4 bytes a stored parameter = {formula:,}")  # fmt: skip
assert max(f["gap"] for f in found) < 1e-6 and off < 2e-6
assert found[0]["print"] == found[1]["print"] and found[0]["bytes"] == formula

# %% [markdown]
# The hooks *are* DDP, to rounding; what PyTorch adds is care for parameters that get no gradient, for unequal inputs, for buffers. Note also what no one sent: three micro-batches cost the bytes of one.
#
# Was anything gained? Here is the clock of one step, the quickest of six, three ways: one message after backward; buckets of a megabyte; buckets of 64 KiB.

# %%
def length(step):
    """Seconds of a step, [the events of each rank]"""
    whens = [t for events in step for _, *when in events for t in when]
    return max(whens) - min(whens)


# %%
quickest = {most: min(zip(*(c[str(most)] for c in clocks)), key=length) for most in sizes}
labels = ["rank 0 computes", "sends", "rank 1 computes", "sends"]
fig, axes = figure(width=6.8, height=5.2, rows=3, sharex=True)
for ax, most, title in zip(axes, sizes, ("one message", "buckets of 1 MiB", "buckets of 64 KiB")):
    lanes = [(2 * rank + (kind == "send"), kind, start, end)
             for rank, events in enumerate(quickest[most])
             for kind, start, end in sorted(events, key=lambda e: e[1])]  # fmt: skip
    timeline(ax, lanes, {"forward": GREEN, "backward": BLUE, "wait": GREY, "send": ORANGE})
    ax.set(yticks=range(4), yticklabels=labels)
    ax.set_ylabel(title, size=9)
    if most != sizes[0]:
        ax.get_legend().remove()
    if most != sizes[-1]:
        ax.set_xlabel("")
show(fig, alt="Timelines of a step on two ranks. With one message, sending begins when backward "
              "ends, and both wait for it. With buckets, bars of sending lie under the bar of "
              "backward.")

# %%
def spent(events, kind):
    return sum(end - start for name, start, end in events if name == kind)


print("rank 0, ms          messages   forward + backward   wait at the end   whole step")
for most in sizes:
    events = quickest[most][0]
    compute = spent(events, "forward") + spent(events, "backward")
    name = "one message" if most == sizes[0] else f"at most {most // 1024:,} KiB"
    print(f"{name:<20} {sum(e[0] == 'send' for e in events):>7} "
          f"{1000 * compute:>18.0f} {1000 * spent(events, 'wait'):>18.0f} "
          f"{1000 * (compute + spent(events, 'wait')):>13.0f}")  # fmt: skip

# %% [markdown]
# In the first row of the picture the orange bar begins where the blue one ends. With buckets it lies *under* the blue one: that is **overlap**, and only what sticks out at the end costs waiting. The last bucket always sticks out, since its gradients come last.
#
# Read the table with care. Here the two ranks are two processes on a small CPU, and "sending" is work for the same cores that compute: the time that is hidden in one column may come back in another. On GPUs most of the sending is done by network cards and copy engines, and NCCL takes a few of the GPU's processors for the sums: there overlap costs less. Many tiny buckets pay the fixed delay of a message again and again. DDP's default is 25 MiB ([Li et al. 2020](https://arxiv.org/abs/2006.15704)), but for the first bucket, which has 1 MiB so that sending starts early (`_DEFAULT_FIRST_BUCKET_BYTES` in its code).
#
# > **Your turn: 21.5 `order_step`** (8 min).

# %% [markdown] tags=["slide"]
# ### DDP
#
# - a hook on each parameter; buckets in reverse order; send when a bucket is full
# - sending hides under backward; the last bucket sticks out
# - accumulation: send in the last micro-batch only, but then the *accumulated* gradient

# %% [markdown]
# ## 5. Replicas that drift
#
# Two mistakes from code that is used for teaching. Both run, both log a loss that falls.
#
# **The hook gets the wrong thing.** `register_post_accumulate_grad_hook` calls its function with the *parameter*. A function that was written for gradients, `def allreduce(grad): dist.all_reduce(grad); grad /= n`, then averages the weights, and every rank steps along its own gradient. (So in `DataParallelNaive` of [picotron](https://github.com/huggingface/picotron), as of August 2025; its training uses only the class with buckets.)
#
# **Only the last micro-batch is sent.** The older `p.register_hook` does get a gradient: that of the *current* backward pass, before it is added to `p.grad`. Switched on for the last micro-batch only, it sums that one over ranks, and the earlier ones stay at home. (So in step 5 of [picotron_tutorial](https://github.com/huggingface/picotron_tutorial), if gradients are accumulated.)
#
# Both, and the right way, with a list per rank: three replicas, two micro-batches, AdamW.

# %%
STEPS, RANKS = 30, 3


def summed(replicas, tensors_of):
    """All-reduce, tensor by tensor, over a list of replicas"""
    for same in zip(*(tensors_of(m) for m in replicas)):
        for tensor, total in zip(same, all_reduce(list(same))):
            tensor.copy_(total)


def backward_of(m, inputs, targets, valid):
    """One micro-batch; returns the gradient of this one alone, leaves the sum in .grad"""
    new = torch.autograd.grad(m(inputs, targets, reduction="sum") / valid, list(m.parameters()))
    for p, g in zip(m.parameters(), new):
        p.grad = g.clone() if p.grad is None else p.grad + g
    return new


# %%
@torch.no_grad()
def talk(replicas, how, last):
    """What each way does after the last micro-batch, whose own gradients are in `last`"""
    if how == "gradients summed":
        summed(replicas, lambda m: [p.grad for p in m.parameters()])
    if how == "weights averaged":
        summed(replicas, lambda m: list(m.parameters()))
        for p in (p for m in replicas for p in m.parameters()):
            p /= len(replicas)
    if how == "last micro-batch only":
        for same in zip(*last, *(m.parameters() for m in replicas)):
            news, ps = same[: len(replicas)], same[len(replicas) :]
            for p, new, total in zip(ps, news, all_reduce(list(news))):
                p.grad += total - new  # what is its own has been added already


# %%
def train(how, micro=2):
    """-> the replicas, the training loss of each step, and how far apart they are after it"""
    replicas = [GPT(ModelConfig(**SHAPE), seed=1) for _ in range(RANKS)]
    optimizers = [torch.optim.AdamW(m.parameters(), lr=3e-3, betas=(0.9, 0.95)) for m in replicas]
    losses, apart = [], []
    for step in range(STEPS):
        batch, last = batch_of(step), []
        for m, part in zip(replicas, as_parts(batch, RANKS)):
            for inputs, targets in as_parts(part, micro):
                new = backward_of(m, inputs, targets, valid=batch[1].numel())
            last.append(new)
        talk(replicas, how, last)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        flat = [torch.cat([p.detach().flatten() for p in m.parameters()]) for m in replicas]
        apart.append(max(float((f - flat[0]).norm() / flat[0].norm()) for f in flat))
        with torch.no_grad():
            losses.append(replicas[0](*batch_of(step + 1)).item())  # the next batch, still unseen
    return replicas, losses, apart


# %%
ways = {"gradients summed": (BLUE, "-"), "weights averaged": (ORANGE, "--"),
        "last micro-batch only": (VERMILLION, "-.")}  # fmt: skip
trained = {}
unseen = batch_of(0, 24, shards["val"])
fig, axes = figure(width=6.8, height=2.4, columns=2)
for how, (color, style) in ways.items():
    trained[how], losses, apart = train(how)
    axes[0].plot(range(1, STEPS + 1), losses, style, color=color, label=how)
    axes[1].plot(range(1, STEPS + 1), apart, style, color=color)
    with torch.no_grad():
        ends = [m(*unseen).item() for m in trained[how]]
    print(f"{how:<22} replicas apart at the end {apart[-1]:.4f}; loss on unseen text, by rank:",
          *(f"{loss:.3f}" for loss in ends))  # fmt: skip
    assert (max(apart) == 0) == (how == "gradients summed")
axes[0].set(xlabel="step", ylabel="loss of rank 0")
axes[0].legend(frameon=False, fontsize=8)
axes[1].set(xlabel="step", ylabel="distance of the replicas")
show(fig, alt="Left, three loss curves that all fall and are hard to tell apart. Right, the "
              "distance of the replicas: zero for summed gradients, small and falling for averaged "
              "weights, and growing for the way that sends the last micro-batch only.")

# %% [markdown]
# On the left, three curves that anyone would take for healthy. On the right, the truth: the right way is at zero, not near it. Averaging weights pulls the copies together in each step, so they never get far. The price: each rank's Adam divides by the size of its own, noisier gradient, and the checkpoint that rank 0 writes is one of three models. Sending only the last micro-batch has nothing that pulls back, and the copies walk away from each other.
#
# How would you know, on a thousand GPUs? Nobody compares the weights of all ranks, number by number. A **checksum** is one integer made of all bits, and n integers are quickly compared. If they differ, the rank outside the majority is the suspect. `parallel.fingerprint` is such a sum: in each parameter the bits of every number are read as a whole number and added up, and what comes out for one parameter is mixed with what comes out for the next.

# %%
for how, replicas in trained.items():
    prints = [parallel.fingerprint(list(m.parameters())) for m in replicas]
    print(f"{how:<22}", "all equal" if len(set(prints)) == 1 else "differ:",
          *(f"…{p % 10**6:06d}" for p in prints))  # fmt: skip

# %% [markdown]
# **Predict.** One single bit of one weight on one of the three ranks flips, the lowest: the weight changes in its seventh digit. Does the checksum notice? (yes or no)

# %%
guess = None
reveal("21.p5", guess)

# %%
def one_bit(rank, world, shape):
    model = GPT(ModelConfig(**shape), seed=1)
    layout = parallel.place("ddp", (world, 1, 1), "cpu")
    parallel.check_copies(model, layout, step=100)  # nobody complains
    with torch.no_grad():
        if rank == 2:
            model.blocks[1].mlp.up.weight.view(torch.int32)[5, 7] ^= 1  # a cosmic ray
    try:
        parallel.check_copies(model, layout, step=101)
    except RuntimeError as error:
        return str(error)


verdicts = on_ranks(3, one_bit, "from minigpt import GPT, ModelConfig, parallel", shape=SHAPE)
print(*verdicts, sep="\n")
assert all("rank 2" in verdict for verdict in verdicts)

# %% [markdown]
# minigpt makes this comparison every `--check-every` steps and before each checkpoint. It is not paranoia: in the 54 days of training Llama 3 on 16,384 GPUs, six interruptions were put down to silent data corruption ([Grattafiori et al. 2024](https://arxiv.org/abs/2407.21783), table 5). With two ranks the sum can say *that* they differ, and not who is right.
#
# > **Your turn: 21.6 `reduced_gradients`** (12 min) · **21.7 `odd_one_out`** (10 min).

# %% [markdown]
# ## 6. How far does it scale?
#
# n devices should be n times as fast. What stands in the way is the time of the messages, and for that there is an old model with two numbers, the **alpha–beta model**: a message of b bytes takes α + β b seconds. α is the delay, whatever the size; 1/β is the bandwidth. The ring has 2 (n − 1) rounds with pieces of N/n:
#
# $$t_\text{ring} = 2\,(n-1)\left(\alpha + \beta\,\frac{N}{n}\right)$$
#
# There are two ways to use more devices. In **weak scaling** each rank keeps its rows, and the batch grows with n. In **strong scaling** the batch stays, and each rank's part shrinks. In both, the **efficiency** is the speed of n ranks in tokens a second, divided by n times the speed of one.
#
# Measure your own machine: all-reduces of many sizes on two ranks, and the time of a training step on one rank and on two. (The step is minigpt's own: DDP, forward, backward, no optimizer.)

# %%
def quickest_of(times, function, together=True):
    """Seconds of the quickest of several calls: what else the machine does can only add to it"""
    found = []
    for _ in range(times):
        if together:
            dist.barrier()
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


# %%
def speeds(rank, world, shape, data, rows, numbers):
    """Seconds: a step on rank 0 alone, on all without a message, on all with DDP; all-reduces"""
    layout, model = parallel.place("ddp", (world, 1, 1), "cpu"), GPT(ModelConfig(**shape), seed=1)
    batches = {str(b): slice_of(0, 1, shape["context"], data, b)[0] for b in rows}
    step = lambda f, b: lambda: f(*batches[b]).backward()
    alone = {b: quickest_of(7, step(model, b), False) for b in batches if rank == 0}
    silent = {b: quickest_of(7, step(model, b)) for b in batches}
    model.zero_grad()
    ddp = parallel.replicate(model, layout)
    return alone, silent, {b: quickest_of(7, step(ddp, b)) for b in batches}, {
        str(4 * n): quickest_of(15, partial(dist.all_reduce, torch.ones(n))) for n in numbers}


# %%
ready = ("from functools import partial\nfrom minigpt import GPT, ModelConfig, Shards, parallel",
         slice_of, quickest_of)  # fmt: skip
alone, silent, paired, reduces = on_ranks(
    2, speeds, *ready, shape=BIG, data=str(work / "data"), rows=[4, 8],
    numbers=[4**k for k in range(4, 11)], timeout=180)[0]  # fmt: skip
sizes_b, times = (np.array(v, float) for v in ([int(b) for b in reduces], list(reduces.values())))
# times = 2 (n - 1) (alpha + beta b / n) with n = 2; relative errors, so that small sizes count
matrix = np.stack([2 * np.ones_like(sizes_b), sizes_b], 1) / times[:, None]
alpha, beta = np.maximum(np.linalg.lstsq(matrix, np.ones_like(times), rcond=None)[0], 1e-12)
print(f"alpha {1e6 * alpha:,.0f} microseconds, bandwidth 1/beta {1e-9 / beta:.2f} GB/s")


# %%
def ring_seconds(n, size, alpha, beta):
    return 2 * (n - 1) * (alpha + beta * size / n)


# %%
fig, ax = figure(width=5.2, height=2.4)
ax.loglog(sizes_b, 1000 * times, "o", color=BLUE, mfc="white", label="measured, 2 ranks")
fine = np.geomspace(sizes_b[0], sizes_b[-1], 50)
ax.loglog(fine, 1000 * ring_seconds(2, fine, alpha, beta), "-", color=BLUE, label="the model")
ax.axvline(2 * alpha / beta, color=GREY, linestyle=":")
ax.legend(frameon=False)
ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if min(times) < t / 1000 < max(times)]
ax.set(xlabel="bytes", ylabel="milliseconds", yticks=ticks, yticklabels=ticks)
ax.minorticks_off()
show(fig, alt="Time of an all-reduce against its size on log-log axes: nearly flat for small "
              "messages, then a straight rise. A line, the fitted alpha-beta model, bends "
              "where a dotted line stands, and the points lie around it.")
print(f"delay and bytes cost the same at {2 * alpha / beta / 1000:,.0f} kB (dotted line)")

# %%
size = parallel.gradient_bytes(ModelConfig(**BIG), "ddp", (2, 1, 1))
sending = ring_seconds(2, size, alpha, beta)
print("efficiency               two at once, no message   with DDP   predicted, no overlap")
for name, rows, share in (("weak, 8 rows a rank", "8", 1), ("strong, 8 rows in all", "4", 0.5)):
    compute = share * alone["8"]  # as it should be: half the rows, half the time
    found = [compute / t for t in (silent[rows], paired[rows], compute + sending)]
    print(f"{name:<24} {found[0]:>23.0%} {found[1]:>10.0%} {found[2]:>23.0%}")

# %% [markdown]
# The model knows of messages only. What is missing in the first column already, when both compute at the same time and nobody sends anything, has other causes: two ranks on one CPU share caches, memory bandwidth and perhaps cores, and half the rows may take more than half the time. The GPUs of one machine share less.
#
# Whether strong or weak, the bytes of a rank are the same: gradients have the size of the *model*, not of the batch. **Predict.** Strong scaling, from 8 GPUs to 64, ring and bandwidth the same. Divide the seconds that a GPU sends by the seconds that it computes (delays left out): how many times as large does this ratio get?

# %%
guess = None
reveal("21.p6", guess)

# %% [markdown]
# Now machines that we do not have. A *node* is a machine with, as a rule, eight GPUs. For an H100 we take 450 GB/s in each direction over NVLink, the wires inside a node, and 50 GB/s for each GPU over InfiniBand, the network between nodes ([Bekman 2024](https://github.com/stas00/ml-engineering)); for α the delays that NCCL itself assumes when it chooses an algorithm: 3.4 µs a step over NVLink and 14 µs over a network, for the ring in its protocol for large messages ([NVIDIA 2024](https://github.com/NVIDIA/nccl), `src/graph/tuning.cc`). Computing at 40 % of a peak of 989 TFLOP/s, about what good code reaches (lesson 10).

# %%
MODEL = preset("gpt2-1.5b").model
LINKS = {"NVLink": (3.4e-6, 1 / 450e9), "InfiniBand": (14e-6, 1 / 50e9)}
GRADIENT = 4 * parameters(MODEL)  # fp32
PEAK = 989 * 10**12  # FLOP/s of an H100 in bf16


def step_seconds(n, tokens, link, overlap=True):
    """(computing, step) of n GPUs with `tokens` for each"""
    compute = tokens * flops_per_token(MODEL) / (0.4 * PEAK)
    sending = ring_seconds(n, GRADIENT, *LINKS[link])
    hidden = min(sending, compute * 2 / 3) if overlap else 0.0  # at best, all of backward
    return compute, compute + sending - hidden


print(f"{GRADIENT / 1e9:.1f} GB of gradients a step")
print("efficiency                      tokens a GPU   without overlap   with all of backward")
for n, link in ((8, "NVLink"), (64, "InfiniBand")):
    for kind, tokens in (("weak", 16_384), ("strong", 524_288 // n)):
        plain, best = (step_seconds(n, tokens, link, o) for o in (False, True))
        print(f"{n:>2} GPUs, {link:<10}, {kind:<8} {tokens:>13,} {plain[0] / plain[1]:>15.0%} "
              f"{best[0] / best[1]:>18.0%}")  # fmt: skip

# %%
fig, axes = figure(width=6.8, height=2.6, columns=2, sharey=True)
counts = np.array([2, 4, 8, 16, 32, 64, 128, 256])
for ax, title in zip(axes, ("weak: 16,384 tokens a GPU", "strong: 524,288 tokens in all")):
    for link, color, style in (("NVLink", BLUE, "-"), ("InfiniBand", VERMILLION, "--")):
        for overlap, width in ((True, 2), (False, 0.8)):
            values = []
            for n in counts:
                tokens = 16_384 if title.startswith("weak") else 524_288 / n
                values.append(np.divide(*step_seconds(int(n), tokens, link, overlap)))
            ax.semilogx(counts, values, style, color=color, linewidth=width, base=2,
                        label=f"{link}{', overlap' if overlap else ''}")  # fmt: skip
    ax.axvspan(8, 256, color=GREY, alpha=0.08)
    ax.set(xlabel="GPUs", xticks=counts, xticklabels=counts, ylim=(0, 1.05))
    ax.set_title(title, size=9)
    ax.tick_params(axis="x", labelsize=8)
axes[0].set_ylabel("efficiency")
axes[1].legend(frameon=False, fontsize=7, loc="lower left")
show(fig, alt="Predicted efficiency against GPUs. Weak scaling: flat beyond 8 GPUs, at 1 for both "
              "links with overlap. Strong scaling: on InfiniBand it falls steeply beyond 32 GPUs, "
              "with overlap too; on NVLink it falls late, and with overlap not at all.")

# %% [markdown]
# A ring is as slow as its slowest link, so in the shaded part, beyond one node, the NVLink lines are only a wish. (Real clusters first reduce inside a node, and send between nodes only an eighth each.) Weak scaling looks almost too good: beyond a few GPUs the efficiency hardly depends on n, because the ring's bytes do not. What ends it is not the network. It is the batch, which grows with n and passes the critical size (lesson 11): then more devices make more tokens a second, and no fewer steps. Strong scaling ends on the network. Between the two lies every real decision.
#
# > **Your turn: 21.8 `gpus_worth_paying`** (15 min): from a link, a model and a batch to the number of GPUs.

# %% [markdown] tags=["slide"]
# ### Scaling
#
# - a message: α + β · bytes; a ring: 2 (n − 1) of N/n
# - bytes depend on the model, computing on the tokens a rank has
# - weak: efficiency is flat, the batch is the limit · strong: the network is the limit

# %% [markdown]
# ## 7. The same command
#
# Everything above is in the command that you know, started by `torchrun`:
#
# ```
# torchrun --nproc-per-node 2 -m minigpt pretrain --parallel ddp …
# ```
#
# The same run twice: in one process, and on two ranks.

# %%
flags = dict(layers=3, width=64, heads=2, kv_heads=1, head_size=40, mlp_width=160, context=T,
             steps=20, batch_tokens=16 * T, micro_batch=4, optimizer="adamw", lr=0.003,
             device="cpu", precision="fp32", compile="off", samples=0, eval_every=20,
             save_every=0, time_limit=0)  # fmt: skip
environment = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
rows = {}
for mode, start in (("none", []), ("ddp", launch)):
    command = [sys.executable, *start, "-m", "minigpt", "pretrain", f"--data={work / 'data'}",
               f"--out={work / mode}", f"--parallel={mode}",
               *(f"--{n.replace('_', '-')}={value}" for n, value in flags.items())]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    lines = (work / mode / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows[mode] = [row for row in map(json.loads, lines)]

# %%
print("step   one process: loss, gradient norm      two ranks: loss, gradient norm")
for a, b in zip(rows["none"], rows["ddp"]):
    if "train_loss" in a:
        assert a["step"] == b["step"] and abs(a["train_loss"] - b["train_loss"]) < 1e-4
        assert abs(a["grad_norm"] - b["grad_norm"]) < 1e-3 * a["grad_norm"]
        if a["step"] in (1, 10, 20):
            print(f"{a['step']:>4} {a['train_loss']:>18.3f} {a['grad_norm']:>11.3f} "
                  f"{b['train_loss']:>24.3f} {b['grad_norm']:>11.3f}")  # fmt: skip
    if "val_bpb" in a:
        assert abs(a["val_bpb"] - b["val_bpb"]) < 1e-3
        print(f"      held-out bits per byte: {a['val_bpb']:.3f} and {b['val_bpb']:.3f}")

# %% [markdown]
# Equal row for row, up to the order of additions: held-out text, too, is shared out and counted once. Since batch and rate are functions of the step, and not of the ranks, the checkpoint of either can be continued by the other.

# %% [markdown]
# ## 8. What breaks if
#
# Mistakes that keep replicas *equal*. No checksum finds them; only the comparison with one process does. Each is a line in somebody's training script. The yardstick is the gradient of the whole batch on one device:

# %%
model = warm()
parts = as_parts(batch_of(0), 3)
n_valid = sum(int((y >= 0).sum()) for _, y in parts)
true = gradient(model, model(*batch_of(0)))
own = [gradient(model, model(x, y, reduction="sum") / n_valid) for x, y in parts]
CLIP = 0.5 * float(true.norm())


def clipped(g, most):
    return g * min(1.0, most / float(g.norm()))


variants = {
    "right: clip the sum": (clipped(sum(own), CLIP), clipped(true, CLIP)),
    "clip each rank, then sum": (sum(clipped(g, CLIP / 3) for g in own), clipped(true, CLIP)),
    "all ranks read slice 0": (3 * own[0], true),
    "divide by the world size again": (sum(own) / 3, true),
}
for name, (found, wanted) in variants.items():
    cosine = torch.nn.functional.cosine_similarity(found, wanted, dim=0).item()
    print(f"{name:<32} length {found.norm() / wanted.norm():.2f} of what it should be, "
          f"turned by {math.degrees(math.acos(min(1.0, cosine))):.0f} degrees")  # fmt: skip

# %% [markdown]
# - **Clipping before the sum.** Each rank shortens its own gradient to a third of the limit, so those with large gradients lose weight; and since the three do not point the same way, their sum does not reach the limit. Clip after the all-reduce: the norm is then the same on all ranks, and no further message is needed.
# - **The same data on every rank.** Someone seeds the loader with the step and forgets the rank. The run is as slow as before *per example*, its loss falls, and n − 1 devices repeat what the first one does.
# - **One division too many.** AdamW divides the gradient by its own size, so a constant factor is hardly seen; it hits the clip, and any optimizer that does not normalise.
# - **The batch grows unnoticed.** A script with `batch_size=32` a device trains with 32 n. The rate that was tuned for one device is now too small, or the run too long. In minigpt `--batch-tokens` means all ranks together and is never changed by the machine.
#
# And a fifth that everybody warns of: **the same dropout on every rank**. Seeded equally, all ranks drop the same units, each for its own rows. Is the noise of the summed gradient then larger, because the ranks share it? Measure before you believe:

# %%
dropping = GPT(ModelConfig(**SHAPE, dropout=0.2))
dropping.load_state_dict(model.state_dict())
noise = {}
for dice in ("of its own", "shared"):
    draws = []
    for draw in range(10):
        total = torch.zeros_like(true)
        for r, (inputs, targets) in enumerate(parts):
            torch.manual_seed(3 * draw + (r if dice == "of its own" else 0))
            total += gradient(dropping, dropping(inputs, targets, reduction="sum") / n_valid)
        draws.append(total)
    noise[dice] = float(torch.stack(draws).var(0).sum().sqrt() / true.norm())
    print(f"dice {dice:<10}: noise of the sum {noise[dice]:.3f} of the gradient's length")
assert 0.7 < noise["shared"] / noise["of its own"] < 1.4

# %% [markdown]
# No difference worth a word, here: the same mask on other rows makes other noise. It stays good manners to give each rank dice of its own, and minigpt seeds by (seed, step, rank), so that nothing is shared by accident. In *tensor* parallelism (lesson 23) it is the other way round: there the ranks of a group compute one and the same row, and must share the dice.
#
# What differs with NCCL on GPUs? Collectives are kernels in a *stream* of their own, a queue of work beside that of the computing: calls return before they are done, an error may show up steps later, and `wait` makes a stream wait and not the program. Each process must first choose its GPU (`torch.cuda.set_device`). A rank that is missing ends, after a timeout, in a watchdog's message instead of silence. And CPU tensors cannot be sent: hence minigpt's second group, by gloo, for plain objects. None of it was measured here.
#
# > **Your turn: 21.9 `two_levels`** (20 min), unaided: the assistant stays off.

# %% [markdown]
# ## 9. One paper
#
# **[Goyal et al. 2017](https://arxiv.org/abs/1706.02677), Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour.** From 8 to 256 GPUs, one image model trains at about 90 % efficiency. Read section 2 (the learning rate grows with the batch, after a warm-up), section 3 (a list of subtle mistakes, some of which you know from section 8) and section 4 (the ring and its rival).
#
# *What was held fixed?* The number of epochs, and the rate per example: the rate is multiplied with the batch. *What would change your mind* about their rule? (It is for SGD and for batches below a limit, beyond which their error rises, in their figure 1; lesson 11 has the theory.) *Which number can you recompute?* Section 4.3 says which bandwidth is needed to hide all sending under backward: ResNet-50 has 25 million parameters in fp32, its backward pass takes about 0.125 s on their GPU, and they ask for 12.8 Gbit/s, before overheads. Their servers have eight GPUs each, and first sum inside; then 32 servers run an all-reduce. With the ring's formula:

# %%
gradients = 25e6 * 4
for n in (2, 8, 32):
    sent = 2 * (n - 1) / n * gradients
    speed = 8 * sent / 0.125e9
    print(f"{n:>2} servers: {sent / 1e6:5.1f} MB from each in 0.125 s: {speed:.1f} Gbit/s")
assert abs(8 * 2 * gradients / 0.125e9 - 12.8) < 1e-6  # 2N, the limit for many servers
rounds = {"ring": 2 * (32 - 1), "halving and doubling": 2 * math.log2(32)}
print("messages one after the other, 32 servers:", {k: int(v) for k, v in rounds.items()})

# %% [markdown]
# Their 12.8 is the ring's limit for many servers, 2N. The last line is why they do not use a ring. In *halving and doubling*, servers talk in pairs, over distances of 1, 2, 4, 8 and 16: they exchange halves of the vector, then quarters, and so on, and afterwards the same backwards. It sends the same bytes in fewer rounds, and on 32 servers they found it three times as fast (section 4.1).
#
# ## Summary
#
# 1. Equal weights, the sum of gradients, equal updates: replicas stay equal to the bit, and weights are never sent. Divide by the global count of targets.
# 2. An all-reduce is a reduce-scatter and an all-gather. The ring sends 2 (n − 1)/n · N bytes from each rank, for any n.
# 3. DDP is hooks, buckets and a wait: sending hides under backward. With accumulation, send once, the whole sum.
# 4. A loss that falls proves nothing. Compare replicas with each other by a checksum, and the run with one process.
# 5. Bytes depend on the model, computing on the tokens: weak scaling ends at the critical batch, strong scaling at the network.
#
# Every rank here holds all weights, gradients and optimizer state, n times the same. Lesson 22 stops paying for that.

# %% tags=["timing"]
shutil.rmtree(work, ignore_errors=True)
print(f"This notebook took {time.perf_counter() - started:.0f} s.")
