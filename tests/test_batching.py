"""batching.py: each answer is what the request would get alone, and no slot waits while there is work."""
import doctest

import pytest
import torch
from test_speculative import sharp

from minigpt import batching
from minigpt.batching import Batcher, Request
from minigpt.config import ModelConfig, UserError
from minigpt.model import GPT
from minigpt.sampling import generate

MODERN = ModelConfig(layers=3, width=48, heads=4, kv_heads=2, head_size=16, mlp_width=72, context=60, vocab_size=90)
GPT2 = ModelConfig("gpt2", layers=2, width=48, heads=3, kv_heads=3, head_size=16, mlp_width=72, context=60,
                   vocab_size=90, activation="gelu")  # fmt: skip


def requests():
    draw = torch.Generator().manual_seed(0)
    for n in range(11):
        length, most = (int(torch.randint(low, high, (), generator=draw)) for low, high in ((1, 20), (1, 30)))
        knobs = [dict(temperature=0), dict(temperature=1.0, top_k=12), dict()][n % 3]
        yield Request(torch.randint(90, (length,), generator=draw).tolist(), most, seed=n, knobs=knobs)


def test_docstrings():
    assert doctest.testmod(batching).failed == 0 and doctest.testmod(batching).attempted >= 4


@pytest.mark.parametrize("config", [MODERN, GPT2], ids=["modern", "gpt2"])
@pytest.mark.parametrize("slots", [1, 3, 16])
def test_each_answer_is_what_it_would_be_alone(config, slots):
    model = sharp(config)
    batcher = Batcher(model, slots)
    for request in requests():
        batcher.add(request)
    for answer, r in zip(batcher.run(), requests(), strict=True):
        assert answer == generate(model, [r.prompt], max_tokens=r.max_tokens, seed=r.seed, **r.knobs)[0]
    longest, total = max(r.max_tokens for r in requests()), sum(r.max_tokens for r in requests())
    if slots == 1:
        assert batcher.passes == total - 11  # the first token of each comes from its prompt
    if slots == 16:
        assert batcher.passes == longest - 1


def test_memory_that_was_never_written_does_not_show(monkeypatch):
    """An allocator hands out what others left behind: here NaN."""
    monkeypatch.setattr(torch, "empty", lambda shape, **options: torch.full(shape, torch.nan, **options))
    model, r = sharp(MODERN), [Request([3, 1, 4, 1], 9), Request([5], 14), Request([2, 6], 3)]
    batcher = Batcher(model, 2)
    for request in r:
        batcher.add(request)
    assert batcher.run() == [generate(model, [a.prompt], max_tokens=a.max_tokens)[0] for a in r]


def test_requests_may_come_while_others_run():
    model, todo = sharp(MODERN), list(requests())
    batcher, seen = Batcher(model, 2), {}
    for step in range(300):
        if step % 4 == 0 and todo:
            batcher.add(todo.pop(0))
        for number, token in batcher.step():
            seen.setdefault(number, []).append(token)
    assert not batcher.busy and [seen[n] for n in range(11)] == batcher.answers
    for answer, r in zip(batcher.answers, requests(), strict=True):
        assert answer == generate(model, [r.prompt], max_tokens=r.max_tokens, seed=r.seed, **r.knobs)[0]


def test_stop_tokens_free_a_slot():
    model = sharp(MODERN)
    plain = generate(model, [[3, 1]], max_tokens=20, temperature=0)[0]
    stop = plain[6]
    batcher = Batcher(model, 1)
    for _ in range(2):
        batcher.add(Request([3, 1], 20, stop_tokens=[stop], knobs=dict(temperature=0)))
    assert batcher.run() == [plain[: plain.index(stop)]] * 2


def test_mistakes():
    with pytest.raises(UserError, match="at least one slot"):
        Batcher(GPT(MODERN), 0)
    with pytest.raises(UserError, match="without a sliding window"):
        Batcher(GPT(ModelConfig(window=4)), 2)
    batcher = Batcher(GPT(MODERN), 2)
    with pytest.raises(UserError, match="61 tokens, and the context 60"):
        batcher.add(Request([1], 60))
    with pytest.raises(UserError, match="a prompt is empty"):
        batcher.add(Request([], 5))
    assert batcher.run() == [] and not batcher.busy
    batcher.add(Request([1], 0))
    assert batcher.run() == [[]]
