"""model.py against torch's own attention and loss, and against itself along every other path to the same numbers."""
import doctest
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from minigpt import model as model_module
from minigpt.config import ModelConfig, UserError
from minigpt.model import GPT, MLP, KVCache, attention, init_weights, rope_table, rotate

MODERN = ModelConfig(
    layers=3, width=40, heads=6, kv_heads=2, head_size=12, mlp_width=88, context=34, vocab_size=150, tied=False
)  # fmt: skip
GPT2 = ModelConfig(
    "gpt2", layers=3, width=48, heads=4, kv_heads=4, head_size=12, mlp_width=88, context=34, vocab_size=150,
    activation="gelu",
)  # fmt: skip
MQA = replace(MODERN, kv_heads=1, layers=2, activation="relu2", tied=True)
FAMILIES = pytest.mark.parametrize("config", [MODERN, GPT2, MQA], ids=["modern", "gpt2", "mqa"])


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def shaken(config, seed=0):
    """A model whose every parameter matters: gains are not 1, biases not 0, attention not flat."""
    model, draw = GPT(config, seed), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn(p.shape, generator=draw) * (0.3 if p.ndim == 1 else 0.12)
        for table in (model.embed.weight, model.head.weight):
            table[config.vocab_size :] = 0
    return model.eval()


def some_tokens(config, *shape, seed=1):
    return torch.randint(config.vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def close(a, b, tolerance=2e-5):
    return torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def test_docstring_examples():
    assert doctest.testmod(model_module).failed == 0
    assert doctest.testmod(model_module).attempted > 3


# ---- attention -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["none", "causal", "random"])
def test_explicit_attention_equals_sdpa(kind):
    """Output and all three gradients."""
    B, H, T, S, D = 2, 3, 7, 11, 5
    if kind == "random":
        mask = torch.rand(B, 1, T, S) > 0.4
        mask[..., 0] = True  # no query without a key
    else:
        mask = torch.ones(T, S, dtype=torch.bool).tril(S - T) if kind == "causal" else None
    inputs = [torch.randn(B, H, n, D, requires_grad=True) for n in (T, S, S)]
    direction = torch.randn(B, H, T, D)
    y, weights = attention(*inputs, mask)
    expected = F.scaled_dot_product_attention(*inputs, attn_mask=mask)
    close(y, expected, 1e-5)
    assert weights.shape == (B, H, T, S)
    close(weights.sum(-1), torch.ones(B, H, T), 1e-6)
    ours, theirs = (torch.autograd.grad((out * direction).sum(), inputs) for out in (y, expected))
    for a, b in zip(ours, theirs):
        close(a, b, 1e-5)


@FAMILIES
def test_record_shows_what_happens_and_changes_nothing(config):
    model, tokens, record = shaken(config), some_tokens(config, 2, 13), {}
    close(model(tokens, record=record), model(tokens))
    assert [r.shape for r in record["residual"]] == [(2, 13, config.width)] * (config.layers + 1)
    assert [a.shape for a in record["attention"]] == [(2, config.heads, 13, 13)] * config.layers
    for weights in record["attention"]:
        close(weights.sum(-1), torch.ones(2, config.heads, 13), 1e-5)
        assert weights.triu(1).abs().max() == 0
        assert weights[..., -1, :].std() > 1e-3, "flat attention would hide mistakes"
    close(model.logits(model.norm(record["residual"][-1]))[..., : config.vocab_size], model(tokens))


def test_record_with_a_cache_covers_the_keys_before():
    model, tokens, record, cache = shaken(MODERN), some_tokens(MODERN, 2, 9), {}, KVCache(MODERN, 2, 9)
    model(tokens[:, :6], cache=cache)
    close(model(tokens[:, 6:], cache=cache, record=record), model(tokens)[:, 6:])
    assert record["attention"][0].shape == (2, MODERN.heads, 3, 9)


@FAMILIES
def test_the_future_changes_nothing(config):
    model, tokens = shaken(config), some_tokens(config, 2, 17)
    other = tokens.clone()
    other[:, 11] = (other[:, 11] + 1) % config.vocab_size
    difference = (model(tokens) - model(other)).abs().amax(-1)
    assert difference[:, :11].max() == 0 and difference[:, 11:].min() > 1e-4


# ---- cache, padding, packing -----------------------------------------------------------------------------------------


@FAMILIES
@pytest.mark.parametrize("chunks", [[1] * 14, [14], [5, 1, 1, 7], [1, 4, 9]], ids=str)
def test_cache_equals_no_cache(config, chunks):
    model, tokens = shaken(config), some_tokens(config, 3, 14)
    cache = KVCache(config, batch=3, size=14 + 2)
    steps = [model(part, cache=cache) for part in tokens.split(chunks, dim=1)]
    close(torch.cat(steps, dim=1), model(tokens))
    assert cache.length == 14


@FAMILIES
def test_crop_forgets(config):
    """As speculative decoding uses it: take tokens back, and go on with others."""
    model, tokens = shaken(config), some_tokens(config, 2, 12)
    cache = KVCache(config, batch=2, size=12)
    model(torch.cat([tokens[:, :5], some_tokens(config, 2, 4, seed=9)], 1), cache=cache)
    cache.crop(5)
    close(model(tokens[:, 5:], cache=cache), model(tokens)[:, 5:])
    cache.crop(99)
    assert cache.length == 12


@FAMILIES
def test_left_padding_changes_nothing(config):
    """A batch of prompts of different lengths, padded on the left, then two more tokens for each, through the cache."""
    model, lengths, width = shaken(config), [3, 11, 7], 11
    tokens = some_tokens(config, 3, width + 2)
    doc_ids = torch.tensor([[0] * (width - n) + [1] * (n + 2) for n in lengths])
    positions = (doc_ids.cumsum(1) - 1).clamp(min=0)
    cache = KVCache(config, batch=3, size=width + 2)
    parts = [
        model(tokens[:, a:b], cache=cache, positions=positions[:, a:b], doc_ids=doc_ids[:, a:b])
        for a, b in [(0, width), (width, width + 1), (width + 1, width + 2)]
    ]
    batched = torch.cat(parts, dim=1)
    for row, n in enumerate(lengths):
        close(batched[row, width - n :], model(tokens[row : row + 1, width - n :])[0])


@FAMILIES
def test_packed_documents_do_not_see_each_other(config):
    model, lengths = shaken(config), [5, 1, 9, 4]
    documents = [some_tokens(config, 1, n, seed=n) for n in lengths]
    doc_ids = torch.cat([torch.full((1, n), i) for i, n in enumerate(lengths)], 1)
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    packed = model(torch.cat(documents, 1), positions=positions, doc_ids=doc_ids)
    close(packed, torch.cat([model(d) for d in documents], 1))


@FAMILIES
@pytest.mark.parametrize("window", [1, 4, 13])
def test_a_window_hides_what_is_too_long_ago(config, window):
    """One layer sees `window` tokens, itself included; L layers reach L (window - 1) back, and not one further."""
    model, T = shaken(replace(config, window=window)), 29
    tokens = some_tokens(config, 2, T)
    other = tokens.clone()
    other[:, 3] = (other[:, 3] + 1) % config.vocab_size
    moved = (model(tokens) - model(other)).abs().amax(-1)[0] > 0
    reach = config.layers * (window - 1)
    assert moved.nonzero().flatten().tolist() == list(range(3, min(T, 3 + reach + 1)))
    close(shaken(replace(config, window=T))(tokens), shaken(config)(tokens), 1e-6)


@FAMILIES
@pytest.mark.parametrize("window", [0, 7])
def test_300_cached_steps_equal_the_uncached_logits(config, window):
    """Token by token, rows of unequal length included: the first is padded on the left by 5, the last by 12."""
    config, steps, pads = replace(config, window=window, context=320), 300, torch.tensor([5, 0, 12])
    model, first = shaken(config), 14
    tokens = some_tokens(config, 3, first + steps)
    doc_ids = (torch.arange(first + steps) >= pads[:, None]).long()
    positions = (torch.arange(first + steps) - pads[:, None]).clamp(min=0)
    cache, rows = KVCache(config, batch=3, size=first + steps), []
    with torch.no_grad():
        for part in zip(*(t.split([first] + [1] * steps, dim=1) for t in (tokens, positions, doc_ids))):
            rows.append(model(part[0], cache=cache, positions=part[1], doc_ids=part[2]))
        cached = torch.cat(rows, dim=1)
        for row, pad in enumerate(pads.tolist()):
            close(cached[row, pad:], model(tokens[row : row + 1, pad:])[0], 1e-4)


def test_too_long_is_said_in_a_sentence():
    with pytest.raises(UserError, match="35 tokens do not fit a context of 34"):
        shaken(GPT2)(some_tokens(GPT2, 1, 35))
    with pytest.raises(UserError, match="cache holds 6 tokens"):
        shaken(MODERN)(some_tokens(MODERN, 1, 7), cache=KVCache(MODERN, 1, 6))


# ---- the loss --------------------------------------------------------------------------------------------------------

LOSS_CONFIGS = {
    "untied": MODERN,
    "tied": replace(MODERN, tied=True),
    "gpt2": GPT2,
    "softcap": replace(MODERN, softcap=2.5),
    "unpadded": replace(MODERN, vocab_size=128),
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSS_CONFIGS)
def test_chunked_loss_equals_the_plain_one(name, reduction, monkeypatch):
    """The reference is torch's cross-entropy of the logits, in value and in every gradient."""
    config = LOSS_CONFIGS[name]
    model, tokens, targets = shaken(config), some_tokens(config, 3, 13), some_tokens(config, 3, 13, seed=2)
    targets[0, :4], targets[2, 9] = -100, -100
    weights = torch.rand(3, 13) if reduction == "none" else 1.0  # so that each token's loss has a gradient of its own

    def value_and_gradients(loss):
        (loss * weights).sum().backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
        model.zero_grad()
        return loss.detach(), gradients

    flat = F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten(), ignore_index=-100, reduction=reduction)
    expected = value_and_gradients(flat.view(3, 13) if reduction == "none" else flat)
    for logits_at_once in (2**27, 7 * config.padded_vocab):  # at once; in five chunks of 7 and one of 4
        monkeypatch.setattr(model_module, "LOGITS_AT_ONCE", logits_at_once)
        loss, gradients = value_and_gradients(model(tokens, targets, reduction=reduction))
        assert loss.shape == expected[0].shape
        torch.testing.assert_close(loss, expected[0], rtol=1e-6, atol=1e-6)
        for parameter, gradient in gradients.items():
            reference = expected[1][parameter]
            close(gradient, reference, 1e-6 * max(1.0, reference.abs().max().item()))
        with torch.no_grad():
            torch.testing.assert_close(model(tokens, targets, reduction=reduction), loss, rtol=1e-6, atol=1e-6)


def saved_bytes(model, *inputs):
    """What autograd holds for backward, each storage once, without the parameters."""
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage  # kept alive, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(*inputs)
    return sum(storage.nbytes() for address, storage in storages.items() if address not in parameters)


def test_chunked_loss_keeps_no_logits(monkeypatch):
    model, tokens, logits = shaken(MODERN), some_tokens(MODERN, 5, 31), 5 * 31 * MODERN.padded_vocab
    plain = saved_bytes(model, tokens, tokens)
    monkeypatch.setattr(model_module, "LOGITS_AT_ONCE", 20 * MODERN.padded_vocab)
    assert saved_bytes(model, tokens, tokens) <= plain - 4 * logits
    largest = []
    monkeypatch.setattr(F, "cross_entropy", lambda x, *args, **kw: largest.append(len(x)) or x.sum(-1))
    model(tokens, tokens)
    assert largest == [20] * 7 + [15]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("softcap", [0.0, 3.0])
def test_padding_of_the_vocabulary_is_invisible(tied, softcap):
    model = shaken(replace(MODERN, tied=tied, softcap=softcap))
    tokens, V = some_tokens(MODERN, 2, 13), MODERN.vocab_size
    assert model(tokens).shape == (2, 13, V) and model.embed.weight.shape[0] == 192
    inside = model.logits(model.hidden(tokens))
    assert (inside[..., V:] == -math.inf).all() and (inside.softmax(-1)[..., V:] == 0).all()
    with torch.no_grad():
        model.head.weight[V:] = 50.0  # even if something were in these rows
    model(tokens, tokens).backward()
    for table in (model.embed.weight, model.head.weight):
        assert (table.grad[V:] == 0).all() and (table.grad[:V] != 0).any()
    assert not softcap or inside[..., :V].abs().max() < softcap


def test_softcap_and_relu2_by_formula():
    model, tokens = shaken(MODERN), some_tokens(MODERN, 2, 13)
    capped = GPT(replace(MODERN, softcap=3.0)).eval()
    capped.load_state_dict(model.state_dict())
    close(capped(tokens), 3 * torch.tanh(model(tokens) / 3))
    mlp, x = MLP(MQA), torch.randn(5, 40)
    close(mlp(x), (x @ mlp.up.weight.T).clamp(min=0) ** 2 @ mlp.down.weight.T)


# ---- initial weights -------------------------------------------------------------------------------------------------


def test_initial_weights_depend_on_seed_and_name_only():
    two, four = replace(MODERN, layers=2), replace(MODERN, layers=4)
    a, b, c = (dict(GPT(config, seed).named_parameters()) for config, seed in ((two, 5), (four, 5), (two, 6)))
    for name in a:
        if name.endswith(("attn.out.weight", "mlp.down.weight")):  # scaled by depth, the same directions
            close(a[name] * 2**0.5, b[name] * 4**0.5, 1e-7)
        else:
            assert torch.equal(a[name], b[name]), name
        assert a[name].ndim == 1 or not torch.equal(a[name], c[name]), name
    matrices = [p.flatten()[:50] for p in a.values() if p.ndim == 2]
    assert len({tuple(m.tolist()) for m in matrices}) == len(matrices), "two parameters drew the same numbers"
    torch.manual_seed(123)
    assert all(torch.equal(p, q) for p, q in zip(GPT(MODERN).parameters(), GPT(MODERN).parameters()))


@FAMILIES
def test_initial_weights_have_the_documented_sizes(config):
    config = replace(config, width=96, head_size=96 // config.heads, mlp_width=272, vocab_size=300)
    for name, p in GPT(config).named_parameters():
        if p.ndim == 1:
            assert (p == (1.0 if "norm" in name and "weight" in name else 0.0)).all(), name
            continue
        std = 0.02
        if name.endswith(("attn.out.weight", "mlp.down.weight")):
            std /= math.sqrt(2 * config.layers)
        drawn = p[: config.vocab_size] if name in ("embed.weight", "head.weight") else p
        assert abs(drawn.std() / std - 1) < 0.05 and abs(drawn.mean()) < 0.1 * std, name
        assert (p[len(drawn) :] == 0).all()
    zero = dict(GPT(replace(config, zero_init=True)).named_parameters())
    for name, p in zero.items():
        assert (p == 0).all() == (name.endswith(("attn.out.weight", "mlp.down.weight", "bias"))), name


@FAMILIES
def test_meta_then_filled_equals_direct(config):
    with torch.device("meta"):
        model = GPT(config)
    assert all(p.is_meta for p in model.parameters()) and not list(model.buffers())
    model.to_empty(device="cpu")
    model.tie()
    init_weights(model, 3)
    direct = GPT(config, 3)
    for (name, p), q in zip(model.named_parameters(), direct.parameters(), strict=True):
        assert torch.equal(p, q), name
    assert (model.head.weight is model.embed.weight) == config.tied
    tokens = some_tokens(config, 2, 7)
    assert torch.equal(model(tokens), direct(tokens))


# ---- rotary positions and dropout ------------------------------------------------------------------------------------


def turns(D, base):
    return (base ** (-2 * torch.arange(D // 2).double() / D)).float()


def test_frequencies_follow_the_config():
    close(model_module.rope_frequencies(replace(MODERN, rope_base=500.0)), turns(12, 500.0), 1e-7)
    close(model_module.rope_frequencies(replace(MODERN, rope="linear", rope_factor=4.0)), turns(12, 1e4) / 4, 1e-7)


def test_rope_is_a_rotation_of_complex_pairs():
    B, H, T, D, base = 2, 3, 9, 10, 500.0
    x = torch.randn(B, H, T, D)
    angle = torch.arange(T)[:, None].double() * base ** (-2 * torch.arange(D // 2).double() / D)
    pairs = torch.complex(x[..., : D // 2].double(), x[..., D // 2 :].double())
    turned = pairs * torch.polar(torch.ones_like(angle), angle)
    expected = torch.cat([turned.real, turned.imag], -1).float()
    y = rotate(x, rope_table(torch.arange(T), turns(D, base)))
    close(y, expected, 1e-5)
    close(y.norm(dim=-1), x.norm(dim=-1), 1e-5)
    close(y[:, :, 0], x[:, :, 0], 0)
    rows = torch.stack([torch.arange(T), torch.arange(T) + 4])  # (B, T): each sequence its own positions
    later = rope_table(torch.arange(4, T + 4), turns(D, base))
    close(rotate(x, rope_table(rows, turns(D, base)))[1], rotate(x[1:], later)[0], 1e-6)


def test_rope_scores_depend_on_the_distance_only():
    q, k, D = torch.randn(1, 1, 1, 16), torch.randn(1, 1, 1, 16), 16

    def score(m, n):
        at = lambda x, p: rotate(x, rope_table(torch.tensor([p]), turns(D, 100.0)))
        return (at(q, m) * at(k, n)).sum()

    for distance in (0, 1, 6):
        scores = torch.stack([score(n + distance, n) for n in (0, 1, 17, 300)])
        close(scores, scores[:1].expand(4), 1e-3)
    assert abs(score(3, 0) - score(0, 3)) > 1e-2


def test_shifting_all_positions_changes_nothing():
    """The whole model, not only a pair: modern attention knows distances, never places."""
    model, tokens = shaken(MODERN), some_tokens(MODERN, 2, 13)
    close(model(tokens, positions=torch.arange(13) + 21), model(tokens), 1e-4)
    stretched = model(tokens, positions=torch.arange(13) * 2)
    assert (stretched - model(tokens)).abs().max() > 1e-2


@FAMILIES
def test_dropout_only_while_training(config):
    model, plain, tokens = GPT(replace(config, dropout=0.4)), GPT(config), some_tokens(config, 2, 13)
    assert torch.equal(model.eval()(tokens), plain(tokens))
    model.train()
    a, b = model(tokens, tokens, reduction="sum"), model(tokens, tokens, reduction="sum")
    assert a != b
    assert torch.equal(plain.train()(tokens), plain.eval()(tokens))
    embedded = []
    model.blocks[0].register_forward_pre_hook(lambda module, args: embedded.append(args[0]))
    model(tokens)
    dropped = (embedded[0] == 0).float().mean()
    assert 0.3 < dropped < 0.5
