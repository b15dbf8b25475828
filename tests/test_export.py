"""export.py against transformers: their models read by us, ours by them, with every parameter made to matter."""
import json
import shutil
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from minigpt import export
from minigpt.config import PRESETS, ModelConfig, UserError, depth
from minigpt.export import config_from_hf, config_to_hf, from_hf, stored_tensors, to_hf
from minigpt.model import GPT, rope_frequencies
from minigpt.tokenizer import END_OF_TEXT, train_bpe

transformers = pytest.importorskip("transformers")
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

V = 350
MODERN = ModelConfig(
    layers=3, width=40, heads=6, kv_heads=2, head_size=12, mlp_width=88, context=56, vocab_size=V,
    tied=False, rope_base=777.0, norm_eps=3e-4,
)  # fmt: skip
GPT2 = ModelConfig(
    "gpt2", layers=3, width=48, heads=6, kv_heads=6, head_size=8, mlp_width=104, context=56, vocab_size=V,
    activation="gelu", norm_eps=2e-4,
)  # fmt: skip
OURS = {
    "qwen3": MODERN,
    "qwen3 tied": replace(MODERN, tied=True, kv_heads=3),
    "qwen3 mqa": replace(MODERN, kv_heads=1, vocab_size=384),
    "qwen3 window": replace(MODERN, window=7),
    "qwen3 linear": replace(MODERN, rope="linear", rope_factor=3.5),
    "qwen3 yarn": replace(MODERN, rope="yarn", rope_factor=4.0, head_size=32),
    "gpt2": GPT2,
    "gpt2 untied": replace(GPT2, tied=False, vocab_size=320),
}


def shaken(model, seed=0):
    """Gains away from 1, biases away from 0, attention away from flat: a swapped or forgotten tensor shows."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn(p.shape, generator=draw) * (0.3 if p.ndim == 1 else 0.15)
    return model.eval()


def ours(config):
    model = shaken(GPT(config))
    with torch.no_grad():
        for table in (model.embed.weight, model.head.weight):
            table[config.vocab_size :] = 0
    return model


def qwen3(**changes):
    settings = dict(
        vocab_size=V, hidden_size=40, intermediate_size=88, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, head_dim=12, max_position_embeddings=56, rms_norm_eps=3e-4, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 777.0},
    )  # fmt: skip
    return shaken(transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**settings | changes)))


def gpt2(**changes):
    settings = dict(
        vocab_size=V, n_embd=48, n_inner=104, n_layer=3, n_head=6, n_positions=56, layer_norm_epsilon=2e-4,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    return shaken(transformers.GPT2LMHeadModel(transformers.GPT2Config(**settings | changes)))


def rope(kind, **settings):
    return {"rope_type": kind, "rope_theta": 777.0} | settings


THEIRS = {
    "qwen3": (qwen3, {}),
    "qwen3 tied": (qwen3, dict(tie_word_embeddings=True, num_key_value_heads=3)),
    "qwen3 window": (qwen3, dict(use_sliding_window=True, sliding_window=9, max_window_layers=0)),
    "qwen3 linear": (qwen3, dict(rope_parameters=rope("linear", factor=2.0, original_max_position_embeddings=28))),
    "qwen3 yarn": (qwen3, dict(
        head_dim=32, rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=14),
    )),
    "qwen3 mha": (qwen3, dict(num_key_value_heads=6, rope_parameters=None)),
    "gpt2": (gpt2, {}),
    "gpt2 untied": (gpt2, dict(tie_word_embeddings=False, n_inner=None)),
    "gpt2 tanh": (gpt2, dict(activation_function="gelu_pytorch_tanh")),
}


def tokens(vocab_size=V):
    return torch.randint(vocab_size, (3, 51), generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def assert_same_logits(a, b, vocab_size=V):
    x, y = (out if torch.is_tensor(out) else out.logits for out in (m(tokens(vocab_size)) for m in (a, b)))
    assert x.shape == y.shape == (3, 51, vocab_size)
    assert (x - y).abs().max() <= 1e-4
    assert y.std() > 0.3, "flat logits would agree too"


def edit(file, **changes):
    """Change fields of a JSON file; None removes one."""
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


# ---- their models, read by us ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", THEIRS)
def test_from_hf_gives_their_logits(name, tmp_path):
    make, changes = THEIRS[name]
    theirs = make(**changes)
    theirs.save_pretrained(tmp_path)
    model = from_hf(tmp_path)
    assert_same_logits(model, theirs)
    assert (model.embed.weight[V:] == 0).all() and (model.head.weight[V:] == 0).all() and len(model.embed.weight) == 384
    assert (model.head.weight is model.embed.weight) == theirs.config.tie_word_embeddings
    assert model.config.context == 56 and model.config.dropout == 0


@pytest.mark.parametrize("name", THEIRS)
def test_gradients_are_theirs(name, tmp_path):
    """Every tensor as transformers lays it out: |Δg| at most 1e-5 of |g|, or |g| below 1e-7."""
    make, changes = THEIRS[name]
    theirs = make(**changes)
    theirs.save_pretrained(tmp_path)
    model, ids = from_hf(tmp_path), tokens()
    model(ids[:, :-1], ids[:, 1:]).backward()
    theirs(ids, labels=ids).loss.backward()
    grads = {name: p.grad[: V if "embed" in name or "head" in name else None] for name, p in model.named_parameters()}
    expected, compared = {name: p.grad for name, p in theirs.named_parameters()}, 0
    for their_name, names in stored_tensors(model).items():
        g = torch.cat([grads[name] for name in names])
        g, h = g.T if export.is_transposed(their_name) else g, expected[their_name]
        assert (g - h).norm() <= 1e-5 * h.norm() or h.norm() < 1e-7, their_name
        compared += h.norm() > 1e-4
    assert compared > 0.9 * len(expected), "gradients of zero would agree too"


@pytest.mark.parametrize("D, base, trained, factor", [
    (32, 777.0, 14, 4.0), (64, 1e4, 4096, 2.5), (128, 1e6, 32768, 4.0), (12, 500.0, 900, 7.0), (128, 1e2, 4096, 3.0),
])  # fmt: skip
def test_yarn_frequencies_are_theirs(D, base, trained, factor):
    """Where all pairs are slowed, where the fastest are left alone, and where the blend covers few or many."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    context = round(trained * factor)
    settings = rope("yarn", rope_theta=base, factor=factor, original_max_position_embeddings=trained)
    theirs = transformers.Qwen3Config(head_dim=D, max_position_embeddings=context, rope_parameters=settings)
    expected, _ = ROPE_INIT_FUNCTIONS["yarn"](theirs, "cpu")
    ours = replace(MODERN, head_size=D, rope_base=base, context=context, rope="yarn", rope_factor=factor)
    torch.testing.assert_close(rope_frequencies(ours), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("make", [qwen3, gpt2])
def test_from_hf_reads_shards(make, tmp_path):
    theirs = make()
    theirs.save_pretrained(tmp_path, max_shard_size="40KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 3 and not (tmp_path / "model.safetensors").exists()
    assert_same_logits(from_hf(tmp_path), theirs)
    shards[1].unlink()
    with pytest.raises(UserError, match="holds no tensor .*: its weights are incomplete"):
        from_hf(tmp_path)


def test_from_hf_reads_openais_own_layout(tmp_path):
    """The GPT-2 that OpenAI's weights were first published as: no prefix, masks among the weights, fields left out."""
    theirs = gpt2(n_inner=None, layer_norm_epsilon=1e-5)
    theirs.save_pretrained(tmp_path)
    weights = {name.removeprefix("transformer."): t for name, t in load_file(tmp_path / "model.safetensors").items()}
    weights["h.0.attn.bias"] = torch.ones(1, 1, 56, 56).tril()
    save_file(weights, tmp_path / "model.safetensors")
    keep = {"model_type", "vocab_size", "n_embd", "n_layer", "n_head", "n_positions", "layer_norm_epsilon"}
    edit(tmp_path / "config.json", **dict.fromkeys(set(json.loads((tmp_path / "config.json").read_text())) - keep))
    assert_same_logits(from_hf(tmp_path), theirs)


def test_from_hf_reads_version_4_configs(tmp_path):
    theirs = qwen3()
    theirs.save_pretrained(tmp_path)
    edit(tmp_path / "config.json", rope_parameters=None, rope_theta=777.0, layer_types=None, dtype=None)
    assert_same_logits(from_hf(tmp_path), theirs)


def test_from_hf_reads_bfloat16_as_fp32(tmp_path):
    qwen3().bfloat16().save_pretrained(tmp_path)
    theirs = transformers.Qwen3ForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    model = from_hf(tmp_path)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert_same_logits(model, theirs)


# ---- our models, read by them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_to_hf_opens_in_transformers(name, tmp_path):
    config = OURS[name]
    model = ours(config)
    to_hf(model, None, tmp_path)
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert type(theirs).__name__ == ("Qwen3ForCausalLM" if config.family == "modern" else "GPT2LMHeadModel")
    assert_same_logits(theirs, model, config.vocab_size)
    assert theirs.config.tie_word_embeddings == config.tied and theirs.config.eos_token_id is None
    theirs.save_pretrained(tmp_path / "theirs")  # what they would have written themselves
    by_us, by_them = (load_file(folder / "model.safetensors") for folder in (tmp_path, tmp_path / "theirs"))
    assert {name: t.shape for name, t in by_us.items()} == {name: t.shape for name, t in by_them.items()}
    again = from_hf(tmp_path)
    assert again.config == config
    written = json.loads((tmp_path / "config.json").read_text())
    if config.family == "modern":  # for transformers 4 and for 5
        assert written["rope_theta"] == 777.0
        kind = {"qwen3 linear": rope("linear", factor=3.5, original_max_position_embeddings=16),
                "qwen3 yarn": rope("yarn", factor=4.0, original_max_position_embeddings=14)}  # fmt: skip
        assert written["rope_parameters"] == kind.get(name, rope("default"))
    for (parameter, p), q in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q), parameter


def test_dropout_and_first_weights_do_not_matter(tmp_path):
    """They shape training, not what a model says; the folder's config says no dropout."""
    config = replace(GPT2, dropout=0.2, zero_init=True)
    to_hf(ours(config), None, tmp_path)
    assert from_hf(tmp_path).config == GPT2
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).train()
    assert_same_logits(theirs, ours(config))


EXPORTED = {name: run.model for name, run in PRESETS.items() if name != "shakespeare"}
EXPORTED |= {f"depth {n}": depth(n).model for n in (1, 2, 4, 6, 12, 20)}


@pytest.mark.parametrize("name", EXPORTED)
def test_every_preset_and_depth_is_a_model_of_theirs(name, tmp_path):
    """On the meta device, two layers deep: the config passes through both libraries, and all names and shapes agree."""
    config = replace(EXPORTED[name], layers=2)
    (tmp_path / "config.json").write_text(json.dumps(config_to_hf(config)))
    assert config_from_hf(tmp_path / "config.json") == config
    assert config.head_size in (32, 64, 128)
    with torch.device("meta"):
        theirs = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(tmp_path))
        model = GPT(config)
    expected = {key: p.numel() for key, p in theirs.named_parameters()}
    own, padding = dict(model.named_parameters()), (config.padded_vocab - config.vocab_size) * config.width
    found = {key: sum(own[part].numel() for part in parts) for key, parts in stored_tensors(model).items()}
    for key in found:
        if "wte" in key or "embed_tokens" in key or "lm_head" in key:
            found[key] -= padding
    assert found == expected


# ---- tokenizer -------------------------------------------------------------------------------------------------------

TEXT = "The cat sat. The cat's 12 hats, naïve façade: 你好, 你好! \n\n  def cat(self):\n\treturn the_cat  \n" * 3
CHAT = (END_OF_TEXT, "<|user|>")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Our tokenizer, and theirs out of the exported folder."""
    tokenizer = train_bpe([TEXT], V, CHAT)
    size = tokenizer.vocab_size
    folder = tmp_path_factory.mktemp("exported")
    to_hf(ours(replace(GPT2, vocab_size=size)), tokenizer, folder)
    return tokenizer, transformers.AutoTokenizer.from_pretrained(folder), folder


def test_tokenizer_opens_in_transformers(pair):
    tokenizer, theirs, folder = pair
    assert theirs(TEXT)["input_ids"] == tokenizer.encode(TEXT)
    assert len(tokenizer.encode(TEXT)) < len(TEXT) / 2
    assert theirs.decode(tokenizer.encode(TEXT)) == TEXT
    assert len(theirs) == tokenizer.vocab_size and theirs.model_max_length == 56
    assert theirs.eos_token_id == theirs.bos_token_id == tokenizer.eot
    chat = f"<|user|>The cat{END_OF_TEXT}"
    assert theirs(chat)["input_ids"] == tokenizer.encode(chat, allowed_special=True)
    assert theirs.decode(tokenizer.encode(chat, allowed_special=True), skip_special_tokens=True) == "The cat"
    config, generation = (json.loads((folder / f).read_text()) for f in ("config.json", "generation_config.json"))
    assert config["eos_token_id"] == generation["eos_token_id"] == generation["pad_token_id"] == tokenizer.eot


def test_another_split_pattern_is_kept(tmp_path):
    """Their classes that are named after models would bring GPT-2's or Qwen's own."""
    tokenizer = train_bpe([TEXT], 300, [END_OF_TEXT], pattern=r"[\p{L}\s]+|[^\p{L}\s]+")
    for config in (replace(GPT2, vocab_size=300), replace(MODERN, vocab_size=300)):
        to_hf(GPT(config), tokenizer, tmp_path)
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
        assert theirs(TEXT)["input_ids"] == tokenizer.encode(TEXT)
        assert theirs(" the cat sat")["input_ids"] == tokenizer.encode(" the cat sat")


@settings(max_examples=500, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs", "Cn", "Co"))) | st.text("aT cht's.\n\t12é 你"))
def test_tokenizer_agrees_on_any_text(pair, text):
    tokenizer, theirs, _ = pair
    assert theirs(text)["input_ids"] == tokenizer.encode(text)
    assert theirs.decode(tokenizer.encode(text)) == text


def test_the_exported_model_generates_in_transformers(pair):
    tokenizer, theirs, folder = pair
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    prompt = theirs("The cat", return_tensors="pt")
    out = model.generate(**prompt, max_new_tokens=5, do_sample=False)[0]
    ids, own = prompt["input_ids"], from_hf(folder)
    for _ in range(5):
        ids = torch.cat([ids, own(ids)[:, -1:].argmax(-1)], 1)
    assert torch.equal(out, ids[0][: len(out)]) and len(out) > ids.shape[1] - 5


# ---- mistakes --------------------------------------------------------------------------------------------------------

REFUSED = [
    (qwen3, dict(model_type="llama"), "model_type is 'llama'; only gpt2 and qwen3"),
    (qwen3, dict(hidden_act="gelu"), "hidden_act is 'gelu', and only 'silu'"),
    (qwen3, dict(attention_bias=True), "attention_bias is True"),
    (qwen3, dict(use_sliding_window=True, sliding_window=8, max_window_layers=2), "max_window_layers is 2; a window"),
    (qwen3, dict(rope_parameters=rope("yarn")), "cannot read .*config.json .*'factor'"),
    (qwen3, dict(rope_parameters=rope("yarn", factor=2.0, beta_fast=16)), "beta_fast is 16, and only 32"),
    (qwen3, dict(rope_parameters=None, rope_scaling={"type": "llama3"}), "rope_type is 'llama3', and only"),
    (qwen3, dict(head_dim=None), "cannot read .*config.json .*'head_dim'"),
    (gpt2, dict(activation_function="relu"), "activation_function is 'relu', and only 'gelu_new'"),
    (gpt2, dict(scale_attn_weights=False), "scale_attn_weights is False"),
    (gpt2, dict(scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx is True"),
    (qwen3, dict(rope_parameters=[1]), "cannot read .*config.json"),
    (qwen3, dict(num_attention_heads="six"), "cannot read .*config.json"),
    (gpt2, dict(n_head=0), "cannot read .*config.json"),
    (gpt2, dict(n_layer=4), "holds no tensor 'transformer.h.3.ln_1.weight'"),
    (gpt2, dict(n_layer=2), "holds 'transformer.h.2.attn.c_attn.bias', for which its config.json"),
    (gpt2, dict(vocab_size=V + 1), r"'transformer.wte.weight' in .* is \(350, 48\), which does not fit"),
    (gpt2, dict(n_positions=57), "'transformer.wpe.weight'"),
]


@pytest.mark.parametrize("make, changes, message", REFUSED, ids=[m for _, _, m in REFUSED])
def test_from_hf_refuses_other_arithmetic(make, changes, message, tmp_path):
    make().save_pretrained(tmp_path)
    edit(tmp_path / "config.json", **changes)
    with pytest.raises(UserError, match=message):
        from_hf(tmp_path)


def test_from_hf_says_what_is_wrong_with_a_folder(tmp_path):
    with pytest.raises(UserError, match="holds no model"):
        from_hf(tmp_path / "nowhere")
    gpt2().save_pretrained(tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"\xff" * 100):
        (tmp_path / "model.safetensors").write_bytes(damaged)
        with pytest.raises(UserError, match="cannot read the weights"):
            from_hf(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(whole)
    for content in ("{", "[1]", "\xff"):
        (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
        with pytest.raises(UserError, match="cannot read .*config.json"):
            from_hf(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match="cannot read .*config.json"):
        from_hf(tmp_path)


def test_from_hf_never_reads_a_pickle(tmp_path):
    """The file would leave a trace if it were unpickled."""
    gpt2().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    trace = tmp_path / "trace"

    class Evil:
        def __reduce__(self):
            return open, (str(trace), "w")

    torch.save(Evil(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickle .*never read.*save_pretrained"):
        from_hf(tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "config, field",
    [
        (replace(MODERN, activation="relu2"), "activation is 'relu2'"),
        (replace(MODERN, activation="gelu"), "activation is 'gelu'"),
        (replace(MODERN, softcap=15.0), "softcap is 15.0"),
        (replace(GPT2, activation="swiglu"), "activation is 'swiglu'"),
        (replace(GPT2, softcap=15.0), "softcap is 15.0"),
        (replace(GPT2, window=5), "window is 5"),
    ],
)
def test_to_hf_names_the_field_that_is_not_pure(config, field, tmp_path):
    with pytest.raises(UserError, match=field):
        to_hf(GPT(config), None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_to_hf_refuses_what_would_mislead(tmp_path):
    tokenizer = train_bpe([TEXT], 300, CHAT)
    with pytest.raises(UserError, match="the tokenizer has 300 ids, the model 350"):
        to_hf(GPT(GPT2), tokenizer, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to .*choose another folder"):
        to_hf(GPT(GPT2), None, tmp_path / "file")


def test_a_full_disk_leaves_the_older_export_whole(tmp_path, monkeypatch):
    model = ours(GPT2)
    to_hf(model, None, tmp_path)
    before = {f.name: f.read_bytes() for f in tmp_path.iterdir()}

    def full(tensors, file, metadata):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "save_file", full)
    with pytest.raises(UserError, match="No space left"):
        to_hf(GPT(GPT2, seed=4), None, tmp_path)
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == before
    shutil.rmtree(tmp_path)
