"""Bits per byte against loops that predict one token at a time, closed formulas, and the compressors themselves."""
import doctest
import importlib
import lzma
import math
import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minigpt.config import ModelConfig, UserError
from minigpt.evaluate import (
    bits_per_byte, compressors, evaluate_windows, per_domain, sliding_windows, to_bpb, token_losses,
)  # fmt: skip
from minigpt.model import GPT
from minigpt.tokenizer import train_bpe

CONTEXT = 12
TEXT = "Größe, naïve café — 東京は日本の首都です。 The cat 🐈 sat; a cat that sat là-bas was a sad 🐈.\n" * 3
EVIL = "The <|endoftext|> is plain text here, and so is \ufffd."


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe([TEXT, "the cat sat on that"], 300, ["<|endoftext|>"])


def make(family: str = "modern", **changes) -> GPT:
    sizes = dict(layers=2, width=48, heads=3, kv_heads=3, head_size=16, mlp_width=40, context=CONTEXT, vocab_size=300)
    activation = "gelu" if family == "gpt2" else "swiglu"
    model = GPT(ModelConfig(family=family, activation=activation, **{**sizes, **changes}))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2:  # far from uniform, so that what a token is predicted from matters
                p.copy_(torch.randn(p.shape, generator=generator) / math.sqrt(p.shape[1]))
    return model


@pytest.fixture(scope="module", params=["gpt2", "modern"])
def model(request) -> GPT:
    return make(request.param)


def slow_bpb(model, tokenizer, text, first_seen) -> float:
    """One token at a time: token i is predicted from tokens first_seen(i) … i - 1, where token 0 is <|endoftext|>."""
    tokens, nats = [tokenizer.eot, *tokenizer.encode(text)], 0.0
    model.eval()
    with torch.no_grad():
        for i in range(1, len(tokens)):
            logits = model(torch.tensor([tokens[first_seen(i) : i]]))[0, -1].double()
            nats += F.cross_entropy(logits, torch.tensor(tokens[i])).item()
    return nats / math.log(2) / len(text.encode("utf-8"))


def test_the_text_is_hard(tokenizer):
    tokens = tokenizer.encode(TEXT)
    assert len(TEXT) < len(TEXT.encode()) and len(tokens) % CONTEXT  # the last window is shorter
    with pytest.raises(UnicodeDecodeError, match="unexpected end"):  # a window ends in the middle of a character
        tokenizer.decode_bytes(tokens[:CONTEXT]).decode()


@pytest.mark.parametrize("text", [TEXT, TEXT[:20], "a", EVIL])
def test_windows_without_overlap(model, tokenizer, text):
    expected = slow_bpb(model, tokenizer, text, lambda i: (i - 1) // CONTEXT * CONTEXT)
    assert bits_per_byte(model, tokenizer, text) == pytest.approx(expected, rel=1e-6)
    assert bits_per_byte(model, tokenizer, text, stride=CONTEXT) == bits_per_byte(model, tokenizer, text)


def test_a_whole_number_of_windows(model, tokenizer):
    text = next(TEXT[:n] for n in range(30, 200) if len(tokenizer.encode(TEXT[:n])) == 3 * CONTEXT)
    expected = slow_bpb(model, tokenizer, text, lambda i: (i - 1) // CONTEXT * CONTEXT)
    assert bits_per_byte(model, tokenizer, text) == pytest.approx(expected, rel=1e-6)


def test_stride_one_is_the_full_context_for_every_token(model, tokenizer):
    expected = slow_bpb(model, tokenizer, TEXT[:90], lambda i: max(0, i - CONTEXT))
    assert bits_per_byte(model, tokenizer, TEXT[:90], stride=1) == pytest.approx(expected, rel=1e-6)
    assert expected != pytest.approx(bits_per_byte(model, tokenizer, TEXT[:90]), rel=1e-3)


@pytest.mark.parametrize("stride", [2, 5, 7, 11])
def test_strides_between(model, tokenizer, stride):
    def first_seen(i):  # the first window that reaches token i; windows start every `stride` tokens
        return 0 if i <= CONTEXT else -(-(i - CONTEXT) // stride) * stride

    tokens = len(tokenizer.encode(TEXT))
    assert all(i - first_seen(i) >= min(i, CONTEXT - stride) for i in range(1, tokens))
    expected = slow_bpb(model, tokenizer, TEXT, first_seen)
    assert bits_per_byte(model, tokenizer, TEXT, stride=stride) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("context", [1, 4, 7])
def test_every_token_is_a_target_once(context):
    for length in range(2, 30):
        tokens = np.arange(100, 100 + length)
        for stride in range(1, context + 1):
            batches = list(sliding_windows(tokens, context, stride, batch=3))
            targets = np.concatenate([targets.ravel() for _, targets in batches])
            assert sorted(targets[targets >= 0]) == list(tokens[1:])
            assert all((targets >= 0).any(axis=1).all() for _, targets in batches)  # no window for nothing
            assert all(len(inputs) <= 3 and inputs.shape == targets.shape for inputs, targets in batches)
            assert all((targets[targets >= 0] == inputs[targets >= 0] + 1).all() for inputs, targets in batches)


def test_an_untrained_model_costs_log2_of_the_vocabulary(tokenizer):
    model = make()
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    for stride in (None, 5):
        expected = len(tokenizer.encode(TEXT)) * math.log2(300) / len(TEXT.encode())  # not the 320 in memory
        assert bits_per_byte(model, tokenizer, TEXT, stride=stride) == pytest.approx(expected, rel=1e-7)


def test_batch_size_does_not_change_the_result(model, tokenizer):
    expected = bits_per_byte(model, tokenizer, TEXT)
    for batch in (1, 3, 50):
        assert bits_per_byte(model, tokenizer, TEXT, batch=batch) == pytest.approx(expected, rel=1e-8)


def test_bad_input(tokenizer):
    model = make()
    for stride in (0, -1, CONTEXT + 1):
        with pytest.raises(UserError, match=f"stride must be from 1 to the model's context, {CONTEXT}"):
            bits_per_byte(model, tokenizer, TEXT, stride=stride)
    with pytest.raises(UserError, match="empty"):
        bits_per_byte(model, tokenizer, "")
    with pytest.raises(UserError, match="tokenizer"):
        bits_per_byte(make(vocab_size=290), tokenizer, TEXT)


def test_modes_and_gradients_are_left_alone(tokenizer):
    model = make(dropout=0.5)
    model.train()
    model.blocks[0].eval()
    before = [module.training for module in model.modules()]
    first = bits_per_byte(model, tokenizer, TEXT)
    assert [module.training for module in model.modules()] == before
    assert first == bits_per_byte(model.eval(), tokenizer, TEXT)  # dropout was off
    assert all(p.grad is None for p in model.parameters()) and torch.is_grad_enabled()


# ---- windows from shards: many documents in one stream ---------------------------------------------------------------


def stream_of(documents, tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """<|endoftext|> before each document, cut into windows as shards.py cuts them."""
    tokens = [token for text in documents for token in (tokenizer.eot, *tokenizer.encode(text))]
    windows = -(-(len(tokens) - 1) // CONTEXT)
    inputs = np.full((windows, CONTEXT), tokenizer.eot)
    targets = np.full((windows, CONTEXT), -100)
    inputs.reshape(-1)[: len(tokens) - 1], targets.reshape(-1)[: len(tokens) - 1] = tokens[:-1], tokens[1:]
    return inputs, targets


def test_end_of_text_is_no_text(model, tokenizer):
    documents = ["The cat sat.", "a sad 🐈", "là-bas"]
    inputs, targets = stream_of(documents, tokenizer)
    found = evaluate_windows(model, [(inputs[:1], targets[:1]), (inputs[1:], targets[1:])], tokenizer.token_bytes)
    nats, tokens = 0.0, 0
    with torch.no_grad():
        for row, wanted in zip(inputs, targets):
            logits = model(torch.from_numpy(row[None]))[0].double()
            for j, target in enumerate(wanted.tolist()):
                if target not in (-100, tokenizer.eot):
                    nats -= torch.log_softmax(logits[j], -1)[target].item()
                    tokens += 1
    assert found["nats"] == pytest.approx(nats, rel=1e-6)
    assert found["bytes"] == sum(len(text.encode()) for text in documents)
    assert found["tokens"] == tokens == sum(len(tokenizer.encode(text)) for text in documents)
    assert list(found) == ["nats", "bytes", "tokens"] and (targets == tokenizer.eot).sum() == 2


def test_one_document_is_bits_per_byte(model, tokenizer):
    found = evaluate_windows(model, [stream_of([TEXT], tokenizer)], tokenizer.token_bytes)
    assert to_bpb(found["nats"], found["bytes"]) == pytest.approx(bits_per_byte(model, tokenizer, TEXT), rel=1e-8)


def test_domains_add_up_to_the_whole(model, tokenizer):
    inputs, targets = stream_of([TEXT], tokenizer)
    names = [["books", "drama", "speeches"][i * i % 3] for i in range(len(inputs))]  # squares mod 3 are 0 or 1
    batches = [(names[i : i + 4], inputs[i : i + 4], targets[i : i + 4]) for i in range(0, len(inputs), 4)]
    parts = per_domain(model, batches, tokenizer.token_bytes)
    whole = evaluate_windows(model, [(inputs, targets)], tokenizer.token_bytes)
    assert set(parts) == {"books", "drama"}
    for key in ("bytes", "tokens"):
        assert sum(part[key] for part in parts.values()) == whole[key]
    assert sum(part["nats"] for part in parts.values()) == pytest.approx(whole["nats"], rel=1e-7)
    for domain in parts:  # each part alone
        rows = [i for i, name in enumerate(names) if name == domain]
        alone = evaluate_windows(model, [(inputs[rows], targets[rows])], tokenizer.token_bytes)
        assert parts[domain] == pytest.approx(alone, rel=1e-7)


def test_token_losses(model, tokenizer):
    inputs, targets = stream_of([TEXT], tokenizer)
    nats = token_losses(model, inputs, targets)
    assert nats.dtype == np.float64 and nats.shape == targets.shape
    assert (nats[targets == -100] == 0).all() and (nats[targets != -100] > 0).all()


# ---- compressors -----------------------------------------------------------------------------------------------------


def test_compressors():
    words = TEXT.encode().split()
    data = b" ".join(words[i] for i in np.random.default_rng(0).integers(len(words), size=9000))  # levels differ on it
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = deflate.compress(data) + deflate.flush()
    assert compressors(data) == {
        "gzip": (len(raw) + 18) * 8 / len(data),  # RFC 1952: a header of 10 bytes, a trailer of 8
        "xz": len(lzma.compress(data, lzma.FORMAT_XZ, preset=9)) * 8 / len(data),
    }


def test_docstrings():
    result = doctest.testmod(importlib.import_module("minigpt.evaluate"))
    assert result.attempted >= 1 and not result.failed
