"""speculative.py: the greedy tokens of generate, the distribution of the large model alone, and fewer passes."""
import doctest
from collections import Counter
from dataclasses import replace

import pytest
import torch

from minigpt import speculative
from minigpt.config import ModelConfig, UserError
from minigpt.model import GPT
from minigpt.sampling import filter_logits, generate
from minigpt.speculative import accept, speculate

TARGET = ModelConfig(layers=3, width=48, heads=3, kv_heads=1, head_size=16, mlp_width=72, context=64, vocab_size=37)
DRAFT = ModelConfig("gpt2", layers=1, width=24, heads=2, kv_heads=2, head_size=12, mlp_width=40, context=50,
                    vocab_size=37, activation="gelu")  # fmt: skip


def sharp(config, seed=0):
    """A model with an opinion: its logits are far from flat."""
    model = GPT(config, seed)
    with torch.no_grad():
        for p in model.parameters():
            p *= 6 if p.ndim == 2 else 1
    return model.eval()


def test_docstrings():
    assert doctest.testmod(speculative).failed == 0 and doctest.testmod(speculative).attempted >= 3


@pytest.mark.parametrize("ahead", [1, 3, 8])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("draft", ["another", "almost the same", "the same"])
def test_greedy_is_what_generate_gives(draft, ahead, seed):
    model = sharp(TARGET, seed)
    small = model if draft == "the same" else sharp(DRAFT if draft == "another" else TARGET, seed)
    if draft == "almost the same":
        with torch.no_grad():
            small.head.weight += 0.05 * torch.randn(small.head.weight.shape, generator=torch.Generator().manual_seed(1))
    prompt, tokens = [3, 1, 4], 40
    found = speculate(model, small, prompt, max_tokens=tokens, ahead=ahead, temperature=0)
    assert found.tokens == generate(model, [prompt], max_tokens=tokens, temperature=0)[0]
    assert found.accepted + found.passes == tokens
    assert found.passes == -(-tokens // (ahead + 1)) if draft == "the same" else found.passes <= tokens
    if draft == "almost the same":
        assert 0 < found.accepted < found.proposed, "both branches should be walked"


@pytest.mark.parametrize("draws, knobs", [
    (20_000, dict(temperature=1.0)), (4000, dict(temperature=0.7, top_k=4)), (4000, dict(temperature=1.3, top_p=0.8)),
], ids=str)  # fmt: skip
def test_pairs_of_tokens_follow_the_large_model(draws, knobs, monkeypatch):
    """Thousands of draws of two tokens, of which the draft guesses the first (and never the last): a chi-square test.

    p > 0.01 is the bar; the seeds are fixed, so that the test is the same each time. What the models say of a text is
    computed once, for it does not depend on the seed.
    """
    said, real = {}, speculative.next_distributions

    def remembered(model, text, cache, count, knobs):
        key = (model, *text, count)
        if key not in said:
            said[key] = real(model, text, cache, count, knobs)
        return said[key]

    monkeypatch.setattr(speculative, "next_distributions", remembered)
    config = replace(TARGET, vocab_size=7, layers=1)
    model, draft, prompt = sharp(config, 5), sharp(replace(DRAFT, vocab_size=7), 6), [2, 0, 5]
    drawn = Counter()
    for seed in range(draws):
        drawn[tuple(speculate(model, draft, prompt, max_tokens=2, ahead=2, seed=seed, **knobs).tokens)] += 1
    with torch.no_grad():
        first = torch.softmax(filter_logits(model(torch.tensor([prompt]))[0, -1].double(), **knobs), -1)
        after = torch.stack([model(torch.tensor([[*prompt, t]]))[0, -1] for t in range(7)]).double()
        both = first[:, None] * torch.softmax(filter_logits(after, **knobs), -1)
        alone = torch.softmax(filter_logits(draft(torch.tensor([prompt]))[0, -1].double(), **knobs), -1)
    assert (first - alone).abs().sum() > 0.3, "a draft that agrees would prove nothing"
    expected = {pair: draws * both[pair].item() for pair in ((a, b) for a in range(7) for b in range(7))}
    assert all(expected[pair] > 0 for pair in drawn), "what the large model excludes was drawn"
    kept = [pair for pair, n in expected.items() if n >= 5]
    rest = sum(expected.values()) - sum(expected[pair] for pair in kept)
    observed, wanted = [drawn[pair] for pair in kept], [expected[pair] for pair in kept]
    if rest > 1e-9:
        observed, wanted = [*observed, draws - sum(observed)], [*wanted, rest]
    chi_square = sum((n - m) ** 2 / m for n, m in zip(observed, wanted))
    assert torch.special.gammaincc(torch.tensor((len(wanted) - 1) / 2), torch.tensor(chi_square / 2)) > 0.01


def test_accept():
    p, q = torch.tensor([0.5, 0.1, 0.4]), torch.tensor([0.2, 0.8, 0.0])
    assert accept(p, q, 0, 0.999) and accept(p, q, 1, 0.124) and not accept(p, q, 1, 0.126)
    assert not accept(torch.zeros(3), q, 0, 0.0), "what the large model excludes never stays, whatever u is"


def test_stop_tokens_end_the_answer():
    model, prompt = sharp(TARGET, 1), [3, 1, 4]
    plain = speculate(model, sharp(DRAFT, 2), prompt, max_tokens=30, temperature=0).tokens
    stop = plain[11]
    found = speculate(model, model, prompt, max_tokens=30, temperature=0, ahead=5, stop_tokens=[stop]).tokens
    assert found == plain[: plain.index(stop)]


def test_a_model_is_left_as_it_was():
    model, draft = GPT(TARGET).train(), GPT(DRAFT).eval()
    assert len(speculate(model, draft, [1], max_tokens=5).tokens) == 5
    assert model.training and not draft.training and speculate(model, draft, [1], max_tokens=0).tokens == []


@pytest.mark.parametrize("changes, words", [
    (dict(draft=replace(DRAFT, vocab_size=36)), "the draft has 36 tokens and the model 37"),
    (dict(max_tokens=49), "51 tokens, and the shorter of the two contexts 50"),
    (dict(ahead=0), "ahead must be at least 1"),
    (dict(prompt=[]), "a prompt is empty"),
    (dict(temperature=-1), "temperature must be"),
])  # fmt: skip
def test_mistakes(changes, words):
    request = dict(draft=DRAFT, prompt=[1, 2], max_tokens=5) | changes
    with pytest.raises(UserError, match=words):
        speculate(GPT(TARGET), GPT(request.pop("draft")), request.pop("prompt"), **request)
