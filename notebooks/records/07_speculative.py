"""How much faster does a small model make a large one? Speculative decoding with a pair that is trained here.

The large model is deep and narrow, 12 layers of 128: one core spends the time of a pass on going from layer to layer,
so that a pass over five tokens costs little more than a pass over one. That is what speculation lives from. On a GPU
the same holds for another reason: the weights must come from memory once in either case.

The draft has one layer of the same width and begins with the large model's embedding. It is distilled: on the same books
it learns the large model's whole distribution of the next token, not the token that came.

A curve is about one pair: x is how many tokens the draft guesses for each pass, y how many tokens a pass yields. Those
do not depend on the machine. The numbers `ratio_4` and so on do: seconds of plain decoding with a KV cache, divided by
seconds with so many guesses, taken in turns so that both meet the same machine.
"""
import random
import time
from functools import cache

import numpy as np
import torch

from minigpt import GPT, ModelConfig, OptimConfig, build_optimizers, generate, learning_rate, train_bpe
from minigpt.speculative import speculate
from minigpt.text.sources import builtin, held_out
from minigpt.tokenizer import END_OF_TEXT

WHAT = "Tokens for each pass of a large model, when a draft of one layer guesses 1 to 8 tokens ahead."
AXES = "guesses ahead", "tokens per pass of the large model"
SEEDS = 0, 1, 2
FLOOR = 0.25  # another CPU adds its numbers in another order, and then other tokens are drawn
AHEAD = 1, 2, 3, 4, 6, 8
CONTEXT, BATCH, VOCABULARY = 128, 8, 2048
PROMPTS, PROMPT, ANSWER = 3, 24, 80  # prompts, and tokens in each and in its answer: together no more than the context


def arms() -> dict[str, dict]:
    deep = {"layers": 12, "steps": 110}
    return {"2 layers, temperature 1": {"layers": 2, "steps": 25, "temperature": 1.0},
            "12 layers, temperature 1": deep | {"temperature": 1.0}, "12 layers, greedy": deep | {"temperature": 0.0}}


def run(settings: dict, seed: int) -> dict:
    model, draft, losses = pair(settings["layers"], settings["steps"], seed)
    books, eot = text()[1:]
    rows = [[eot, *books[1000 * i : 1000 * i + PROMPT - 1].tolist()] for i in range(PROMPTS)]
    how = {"max_tokens": ANSWER, "temperature": settings["temperature"], "seed": seed}
    plain, seconds, passes, proposed, accepted = 0.0, *np.zeros((4, len(AHEAD)))
    generate(model, rows[:1], **how)  # warm up
    for row in rows:
        for i, ahead in enumerate(AHEAD):
            start = time.perf_counter()
            expected = generate(model, [row], **how)[0]
            plain += (time.perf_counter() - start) / len(AHEAD)
            start = time.perf_counter()
            found = speculate(model, draft, row, ahead=ahead, **how)
            seconds[i] += time.perf_counter() - start
            passes[i], proposed[i], accepted[i] = np.add((passes[i], proposed[i], accepted[i]),
                                                         (found.passes, found.proposed, found.accepted))  # fmt: skip
            assert len(found.tokens) == ANSWER and (how["temperature"] or found.tokens == expected)
    numbers = {f"ratio_{ahead}": plain / seconds[i] for i, ahead in enumerate(AHEAD)}
    first = accepted[0] / proposed[0]  # with one guess each: the chance that a guess stays
    tokens = PROMPTS * ANSWER
    return {"x": AHEAD, "y": tokens / passes, "acceptance": first, "plain_rate": tokens / plain, **losses, **numbers}


@cache
def pair(layers: int, steps: int, seed: int) -> tuple[GPT, GPT, dict]:
    """The large model, its draft, and the last losses of both."""
    shape = dict(width=128, heads=2, kv_heads=2, head_size=64, mlp_width=384, context=CONTEXT, vocab_size=VOCABULARY)
    model = GPT(ModelConfig(layers=layers, **shape), seed=seed)
    draft = GPT(ModelConfig(layers=1, **shape), seed=seed + 100)
    loss = train(model, steps, seed, lambda model, x, y: model(x, y))
    draft.embed.load_state_dict(model.embed.state_dict())

    def distance(draft, x, y):  # cross-entropy with the large model's probabilities in the place of the next token
        with torch.no_grad():
            target = model(x).softmax(-1)
        return -(target * draft(x).log_softmax(-1)).sum(-1).mean()

    return model.eval(), draft.eval(), {"loss": loss, "draft_loss": train(draft, steps, seed + 100, distance)}


def train(model: GPT, steps: int, seed: int, loss_of) -> float:
    """Train on windows of the books; the mean loss of the last ten steps."""
    rates = OptimConfig(seed=seed, steps=steps, batch_tokens=BATCH * CONTEXT, lr=0.01, matrix_lr=0.03, momentum=0.8)
    optimizers, draw, losses = build_optimizers(model, rates), torch.Generator().manual_seed(seed), []
    ids = text()[0]
    for step in range(steps):
        windows = ids[torch.randint(len(ids) - CONTEXT, (BATCH, 1), generator=draw) + torch.arange(CONTEXT + 1)]
        loss = loss_of(model, windows[:, :-1], windows[:, 1:])
        loss.backward()
        losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * learning_rate(step, steps, rates)
            optimizer.step()
            optimizer.zero_grad()
    return float(np.mean(losses[-10:]))


@cache
def text() -> tuple[torch.Tensor, torch.Tensor, int]:
    """Token ids of 1.5 million characters of books, ids of some that were held out, and the id that begins a text."""
    documents = list(builtin(["books"]))
    random.Random(0).shuffle(documents)
    train = "\n".join(d.text for d in documents if not held_out(d.id))[:1_500_000]
    unseen = "\n".join(d.text[4000:8000] for d in documents if held_out(d.id))
    tokenizer = train_bpe([train], VOCABULARY, [END_OF_TEXT])
    ids, books = (torch.from_numpy(a.astype(np.int64)) for a in tokenizer.encode_batch([train, unseen]))
    return ids, books, tokenizer.eot
