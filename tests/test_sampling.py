"""Generation against plain loops over whole forward passes, and sampling against the distributions it claims."""
import dataclasses
import doctest
import importlib
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt.config import ModelConfig, UserError
from minigpt.sampling import (
    filter_logits, generate, keep_min_p, keep_top_k, keep_top_p, new_cache, sample, stream, window_start,
)  # fmt: skip
from minigpt.model import GPT

SIZES = dict(layers=2, heads=3, head_size=16, mlp_width=56, context=20, vocab_size=300)
CONFIGS = {
    "gpt2": ModelConfig(family="gpt2", activation="gelu", width=48, kv_heads=3, **SIZES),
    "modern": ModelConfig(width=40, kv_heads=3, **SIZES),
    "gqa": ModelConfig(width=40, kv_heads=1, activation="relu2", softcap=15.0, tied=False, **SIZES),
}
UNEQUAL = [[5, 250, 17], [9], [33, 2, 2, 101, 299, 8, 70]]


def lively(config: ModelConfig) -> GPT:
    """A model whose blocks say more than its embedding: fresh from GPT(), it would repeat the last token for ever."""
    model = GPT(config)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 2:
                scale = 1 if name == "embed.weight" else 3
                p.copy_(torch.randn(p.shape, generator=generator) * scale / math.sqrt(p.shape[1]))
    return model


@pytest.fixture(params=CONFIGS)
def model(request) -> GPT:
    return lively(CONFIGS[request.param])


def greedy_by_hand(model: GPT, prompt: list[int], steps: int) -> list[int]:
    """One whole forward pass for each token."""
    model.eval()
    text = list(prompt)
    with torch.no_grad():
        for _ in range(steps):
            text.append(model(torch.tensor([text]))[0, -1].argmax().item())
    return text[len(prompt) :]


# ---- greedy: the cache, batches, the context -------------------------------------------------------------------------


def test_greedy_equals_whole_forward_passes(model):
    for prompt in UNEQUAL:
        expected = greedy_by_hand(model, prompt, 11)
        assert len(set(expected)) > 5  # a model that repeats itself would hide mistakes
        assert generate(model, [prompt], max_tokens=11, temperature=0) == [expected]
        assert generate(model, [prompt], max_tokens=11, temperature=0, cache=False) == [expected]
        assert list(stream(model, prompt, max_tokens=11, temperature=0)) == expected


def test_batch_of_unequal_prompts_equals_one_by_one(model):
    alone = [greedy_by_hand(model, prompt, 11) for prompt in UNEQUAL]
    assert generate(model, UNEQUAL, max_tokens=11, temperature=0) == alone
    assert generate(model, UNEQUAL, max_tokens=11, temperature=0, cache=False) == alone


def test_batch_of_equal_prompts_takes_the_path_without_a_mask(model, monkeypatch):
    prompts, seen, hidden = [[5, 250, 17], [9, 8, 7]], [], model.hidden
    alone = [greedy_by_hand(model, prompt, 9) for prompt in prompts]

    def spy(tokens, cache=None, positions=None, doc_ids=None):
        seen.append((tokens.shape[1], positions, doc_ids))
        return hidden(tokens, cache, positions, doc_ids)

    monkeypatch.setattr(model, "hidden", spy)
    assert generate(model, prompts, max_tokens=9, temperature=0) == alone
    assert seen == [(3, None, None)] + [(1, None, None)] * 8  # the cache is used: after the prompt, one token a pass
    seen.clear()
    generate(model, prompts, max_tokens=4, temperature=0, cache=False)
    assert seen == [(3, None, None), (4, None, None), (5, None, None), (6, None, None)]


@pytest.mark.parametrize("context", [1, 2, 7, 20])
def test_window_slides_by_half_the_context(context):
    for length in range(1, 5 * context + 3):
        start = window_start(length, context)
        assert length - start <= context  # it fits
        if length <= context:
            assert start == 0
        else:  # more than half of the context is in use, and the start is a multiple of that step
            assert length - start > context - max(1, context // 2)
            assert start % max(1, context // 2) == 0


def beyond_by_hand(model: GPT, prompt: list[int], steps: int) -> list[int]:
    context, text, start = model.config.context, list(prompt), 0
    for _ in range(steps):
        while len(text) - start > context:
            start += context // 2
        text += greedy_by_hand(model, text[start:], 1)
    return text[len(prompt) :]


def test_beyond_the_context(model):
    prompts = [list(range(40, 90)), [7, 8, 9], list(range(100, 119)), list(range(120, 140))]  # 50, 3, 19 and 20 of 20
    alone = [beyond_by_hand(model, prompt, 35) for prompt in prompts]
    assert generate(model, prompts, max_tokens=35, temperature=0) == alone
    assert generate(model, prompts, max_tokens=35, temperature=0, cache=False) == alone
    assert list(stream(model, prompts[1], max_tokens=35, temperature=0)) == alone[1]


def test_beyond_the_context_prefills_once_in_half_a_context(monkeypatch):
    model = lively(CONFIGS["modern"])
    widths, hidden = [], model.hidden
    monkeypatch.setattr(model, "hidden", lambda tokens, *rest: widths.append(tokens.shape[1]) or hidden(tokens, *rest))
    generate(model, [[1]], max_tokens=60, temperature=0)
    assert [i for i, width in enumerate(widths) if width > 1] == [20, 30, 40, 50]
    assert {width for width in widths if width > 1} == {11}


def test_context_of_one():
    model = lively(dataclasses.replace(CONFIGS["modern"], context=1))
    expected, text = [], 5
    for _ in range(4):
        (text,) = greedy_by_hand(model, [text], 1)
        expected.append(text)
    assert generate(model, [[9, 5]], max_tokens=4, temperature=0) == [expected]


# ---- ending ----------------------------------------------------------------------------------------------------------


def test_stop_tokens_end_their_row_only(model, monkeypatch):
    full = generate(model, UNEQUAL, max_tokens=15, temperature=1.0, seed=2)
    stops = [full[0][4], full[2][9]]
    cut = [row[: min((i for i, token in enumerate(row) if token in stops), default=15)] for row in full]
    assert len(cut[0]) <= 4 and len(cut[2]) <= 9 and len(set(map(len, cut))) > 1
    assert generate(model, UNEQUAL, max_tokens=15, seed=2, stop_tokens=stops) == cut
    whole = list(stream(model, UNEQUAL[0], max_tokens=15, seed=2))
    assert list(stream(model, UNEQUAL[0], max_tokens=15, seed=2, stop_tokens=stops)) == cut[0]
    assert whole == full[0]


def test_the_call_ends_when_all_rows_have_ended(monkeypatch):
    model = lively(CONFIGS["modern"])
    first = [row[0] for row in generate(model, UNEQUAL, max_tokens=1, temperature=0)]
    passes, hidden = [], model.hidden
    monkeypatch.setattr(model, "hidden", lambda *args: passes.append(1) or hidden(*args))
    assert generate(model, UNEQUAL, max_tokens=15, temperature=0, stop_tokens=first) == [[], [], []]
    assert len(passes) == 1
    generate(model, UNEQUAL, max_tokens=4)
    assert len(passes) == 5  # no pass for a token that nobody will see


def test_no_tokens(model):
    assert generate(model, UNEQUAL, max_tokens=0) == [[], [], []]
    assert list(stream(model, [1], max_tokens=0)) == []


@pytest.mark.parametrize(
    "prompts, options, words",
    [
        ([], {}, "no prompt"),
        ([[1], []], {}, "empty"),
        ([[1, 300]], {}, "0 … 299"),
        ([[-1]], {}, "0 … 299"),
        ([[1]], {"max_tokens": -1}, "max_tokens"),
        ([[1]], {"temperature": -0.1}, "temperature"),
        ([[1]], {"temperature": math.nan}, "temperature"),
        ([[1]], {"temperature": math.inf}, "temperature"),
        ([[1]], {"top_k": -1}, "top_k"),
        ([[1]], {"top_p": 0.0}, "top_p"),
        ([[1]], {"top_p": 1.1}, "top_p"),
        ([[1]], {"min_p": -0.1}, "min_p"),
        ([[1]], {"min_p": 1.1}, "min_p"),
    ],
)
def test_bad_requests(prompts, options, words):
    with pytest.raises(UserError, match=words):
        generate(GPT(CONFIGS["modern"]), prompts, **{"max_tokens": 3, **options})


def test_a_diverged_model_is_named():
    model = lively(CONFIGS["modern"])
    with torch.no_grad():
        model.norm.weight.fill_(math.nan)
    for temperature in (0, 1.0):
        with pytest.raises(UserError, match="diverged"):
            generate(model, [[1]], max_tokens=3, temperature=temperature)


# ---- modes -----------------------------------------------------------------------------------------------------------


def test_modes_are_restored():
    model = lively(dataclasses.replace(CONFIGS["modern"], dropout=0.5))
    model.train()
    model.blocks[1].eval()  # a mixed state comes back as it was
    before = [module.training for module in model.modules()]
    (expected,) = generate(model, [[1, 2]], max_tokens=8, temperature=0)
    assert [module.training for module in model.modules()] == before
    steps = stream(model, [1, 2], max_tokens=8, temperature=0)
    streamed = []
    for token in steps:
        streamed.append(token)
        assert [module.training for module in model.modules()] == before
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    with pytest.raises(UserError):
        generate(model, [[]], max_tokens=1)
    assert [module.training for module in model.modules()] == before
    assert streamed == expected == greedy_by_hand(model, [1, 2], 8)  # dropout was off


@pytest.mark.filterwarnings("ignore:Mismatch dtype")  # the norms compute in fp32 whatever their weights are
@pytest.mark.parametrize("name", CONFIGS)
def test_under_autocast_and_in_bf16(name):
    with torch.autocast("cpu", torch.bfloat16):
        rows = generate(lively(CONFIGS[name]), UNEQUAL, max_tokens=25, seed=1)
    assert [len(row) for row in rows] == [25, 25, 25]
    assert [len(row) for row in generate(lively(CONFIGS[name]).bfloat16(), UNEQUAL, max_tokens=25)] == [25, 25, 25]


def test_the_cache_has_the_type_of_the_keys():
    model = GPT(CONFIGS["modern"])
    assert new_cache(model, 2, 7).k.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert new_cache(model, 2, 7).k.dtype == torch.bfloat16
    assert new_cache(model.bfloat16(), 2, 7).k.dtype == torch.bfloat16


# ---- sampling --------------------------------------------------------------------------------------------------------


def fixed_model(logits: torch.Tensor) -> GPT:
    """A real model that answers every text with the same logits: all its tokens look alike, its blocks add nothing."""
    config = ModelConfig(layers=1, width=8, heads=1, kv_heads=1, head_size=8, mlp_width=8, context=16,
                         vocab_size=len(logits), tied=False, zero_init=True)  # fmt: skip
    model = GPT(config)
    with torch.no_grad():
        model.embed.weight.fill_(1.0)  # the norm of a vector of ones is a vector of ones
        model.head.weight.zero_()
        model.head.weight[: len(logits), 0] = logits
    return model


def chi_square(tokens: list[int], probs: torch.Tensor) -> float:
    expected = probs * len(tokens)
    observed = torch.bincount(torch.tensor(tokens), minlength=len(probs))
    assert observed[probs == 0].sum() == 0
    kept = probs > 0
    return (((observed - expected) ** 2 / expected)[kept]).sum().item()


LOGITS = torch.tensor([0.3, -1.2, 2.0, 0.0, 1.1, -0.4, 1.9])


@pytest.mark.parametrize(
    "options, weights, limit",
    [  # limit: the 99.9th percentile of chi-square with (tokens kept - 1) degrees of freedom, from a table
        ({}, LOGITS.exp(), 22.46),
        ({"temperature": 0.5}, (2 * LOGITS).exp(), 22.46),
        ({"temperature": 2.0, "top_k": 3}, (LOGITS / 2).exp() * torch.tensor([0, 0, 1, 0, 1, 0, 1]), 13.82),
    ],
)
def test_tokens_follow_the_softmax(options, weights, limit):
    rows = generate(fixed_model(LOGITS), [[0]] * 80, max_tokens=15, seed=4, **options)
    columns = generate(fixed_model(LOGITS), [[0]], max_tokens=1200, seed=5, **options)  # one stream, for long
    for tokens in (sum(rows, []), columns[0]):
        assert chi_square(tokens, weights / weights.sum()) < limit
    wrong = (LOGITS * 1.3).exp()  # the check can fail
    assert chi_square(sum(rows, []), wrong / wrong.sum()) > 22.46


def test_padding_rows_of_the_vocabulary_are_never_drawn():
    model = GPT(dataclasses.replace(CONFIGS["modern"], vocab_size=300))
    assert model.config.padded_vocab == 320 and model.head.weight.shape[0] == 320
    with torch.no_grad():
        model.embed.weight[300:] = 50 * model.embed.weight[299]  # would be likely, if they were asked
    rows = generate(model, [[1]] * 40, max_tokens=20, temperature=5.0)
    assert max(map(max, rows)) < 300


def test_streams_of_random_numbers():
    model = lively(CONFIGS["modern"])
    rows = generate(model, UNEQUAL, max_tokens=12, seed=7)
    assert generate(model, UNEQUAL, max_tokens=12, seed=7) == rows
    assert generate(model, UNEQUAL, max_tokens=12, seed=7, cache=False) == rows
    assert generate(model, UNEQUAL, max_tokens=12, seed=8) != rows
    assert generate(model, UNEQUAL, max_tokens=5, seed=7) == [row[:5] for row in rows]
    # a row's tokens depend on no other row
    assert generate(model, UNEQUAL[:1], max_tokens=12, seed=7) == rows[:1]
    assert generate(model, [[1, 2], UNEQUAL[1], [3], [4]], max_tokens=12, seed=7)[1] == rows[1]
    assert list(stream(model, UNEQUAL[0], max_tokens=12, seed=7)) == rows[0]
    # the same prompt in two rows gives two answers, and global random state is neither read nor moved
    state = torch.get_rng_state()
    first, second = generate(model, [[1]] * 2, max_tokens=12, seed=7)
    assert first != second and torch.equal(torch.get_rng_state(), state)


def test_greedy_limits(model):
    greedy = generate(model, UNEQUAL, max_tokens=9, temperature=0)
    for options in ({"temperature": 1e-9}, {"temperature": 1e-320}, {"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}):
        assert generate(model, UNEQUAL, max_tokens=9, **options) == greedy


def test_sample_takes_the_token_under_the_point():
    logits = torch.tensor([0, 0.25, 0, 0.5, 0.25, 0]).log()
    points = {1e-12: 1, 0.2499: 1, 0.2501: 3, 0.7499: 3, 0.7501: 4, 1.0: 4}
    assert sample(logits.expand(6, -1), list(points)).tolist() == list(points.values())


# ---- filters ---------------------------------------------------------------------------------------------------------


def kept(logits: torch.Tensor) -> set[int]:
    return set(torch.nonzero(logits.isfinite()).flatten().tolist())


PROBS, ALL = torch.tensor([0.05, 0.4, 0.1, 0.25, 0.2]), {0, 1, 2, 3, 4}


@pytest.mark.parametrize("k, ids", [(1, {1}), (2, {1, 3}), (4, {1, 2, 3, 4}), (5, ALL), (99, ALL)])
def test_top_k(k, ids):
    assert kept(keep_top_k(PROBS.log(), k)) == ids


@pytest.mark.parametrize(
    "p, ids",
    [(0.01, {1}), (0.39, {1}), (0.41, {1, 3}), (0.64, {1, 3}), (0.66, {1, 3, 4}), (0.94, {1, 2, 3, 4}), (0.96, ALL)],
)
def test_top_p(p, ids):
    assert kept(keep_top_p(PROBS.log(), p)) == ids


@pytest.mark.parametrize(
    "p, ids", [(0.99, {1}), (0.61, {1, 3}), (0.51, {1, 3}), (0.49, {1, 3, 4}), (0.26, {1, 3, 4}), (0.1, ALL)]
)
def test_min_p(p, ids):
    assert kept(keep_min_p(PROBS.log(), p)) == ids


def test_ties_go_to_the_lower_id():
    flat = torch.zeros(2, 40)
    assert kept(keep_top_k(flat, 3)[1]) == {0, 1, 2}
    assert kept(keep_top_p(flat, 0.06)[0]) == {0, 1, 2}
    assert kept(filter_logits(flat, temperature=0)[1]) == {0} == {flat[1].argmax().item()}
    assert kept(filter_logits(PROBS.log(), temperature=0)) == {1}


def test_filters_apply_in_order():
    # top-p looks at what top-k left: 0.4, 0.25 and 0.2 become 0.47, 0.29 and 0.24
    assert kept(filter_logits(PROBS.log(), top_k=3, top_p=0.72)) == {1, 3}
    assert kept(filter_logits(PROBS.log(), top_p=0.72)) == {1, 3, 4}
    # min-p looks at what the temperature made of them: at 0.5 the ratio 0.25 / 0.4 becomes its square, 0.39
    assert kept(filter_logits(PROBS.log(), temperature=0.5, min_p=0.5)) == {1}
    assert kept(filter_logits(PROBS.log(), min_p=0.5)) == {1, 3}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-40, 40), min_size=1, max_size=30),
    st.integers(1, 30),
    st.floats(0.01, 0.99),
    st.floats(0.01, 1),
)
def test_filters_against_sets_by_hand(numbers, k, p, min_p):
    logits = torch.tensor(numbers, dtype=torch.float64) / 7
    probs = torch.softmax(logits, -1).tolist()
    ranked = sorted(range(len(probs)), key=lambda i: (-numbers[i], i))
    nucleus, mass = set(), 0.0
    for i in ranked:
        if mass >= p:
            break
        nucleus.add(i)
        mass += probs[i]
    assert kept(keep_top_k(logits, k)) == set(ranked[:k])
    assert kept(keep_top_p(logits, p)) == nucleus
    assert kept(keep_min_p(logits, min_p)) == {i for i in ranked if logits[i] - max(logits) >= math.log(min_p)}
    for left in (keep_top_k(logits, k), keep_top_p(logits, p), keep_min_p(logits, min_p)):
        assert torch.equal(left[left.isfinite()], logits[left.isfinite()])  # what stays is unchanged


def test_docstrings():
    module = importlib.import_module("minigpt.sampling")
    names = {"torch": torch, "GPT": GPT, "ModelConfig": ModelConfig}
    result = doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted >= 9 and not result.failed
