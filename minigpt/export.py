"""To Hugging Face and back: a folder that `transformers` and vLLM open without any code of ours, and the reverse.

Our two families are two architectures that everyone serves: `gpt2` is GPT2LMHeadModel, `modern` is Qwen3ForCausalLM.
So there is nothing to compute here, only names to translate. Three tables say how, and both directions read them:
FIELDS for the config, FIXED for what their configs could say and ours cannot, NAMES for the weights.
"""
import json
import os
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .checkpoint import write_atomic
from .config import ModelConfig, UserError
from .model import GPT
from .tokenizer import END_OF_TEXT, Tokenizer, printable

FIELDS = {
    "gpt2": dict(
        layers="n_layer", width="n_embd", heads="n_head", mlp_width="n_inner", context="n_positions",
        vocab_size="vocab_size", tied="tie_word_embeddings", norm_eps="layer_norm_epsilon",
    ),
    "modern": dict(
        layers="num_hidden_layers", width="hidden_size", heads="num_attention_heads", kv_heads="num_key_value_heads",
        head_size="head_dim", mlp_width="intermediate_size", context="max_position_embeddings",
        vocab_size="vocab_size", tied="tie_word_embeddings", norm_eps="rms_norm_eps", rope_base="rope_theta",
    ),
}  # fmt: skip
"""Our config fields → theirs."""

FIXED = {
    "gpt2": dict(
        model_type="gpt2", activation_function="gelu_new", scale_attn_weights=True, add_cross_attention=False,
        scale_attn_by_inverse_layer_idx=False, quantization_config=None,
    ),
    "modern": dict(
        model_type="qwen3", hidden_act="silu", attention_bias=False, use_sliding_window=False, rope_type="default",
        quantization_config=None,
    ),
}  # fmt: skip
"""Fields of theirs that have one value in our arithmetic: written on the way out, required on the way in."""

PURE = {"gpt2": dict(activation="gelu", softcap=0.0), "modern": dict(activation="swiglu", softcap=0.0)}
"""Fields of ours that have one value in theirs."""

NAMES = {
    "gpt2": {
        "embed": "transformer.wte",
        "position": "transformer.wpe",
        "blocks.*.norm1": "transformer.h.*.ln_1",
        "blocks.*.attn.q": "transformer.h.*.attn.c_attn",
        "blocks.*.attn.k": "transformer.h.*.attn.c_attn",
        "blocks.*.attn.v": "transformer.h.*.attn.c_attn",
        "blocks.*.attn.out": "transformer.h.*.attn.c_proj",
        "blocks.*.norm2": "transformer.h.*.ln_2",
        "blocks.*.mlp.up": "transformer.h.*.mlp.c_fc",
        "blocks.*.mlp.down": "transformer.h.*.mlp.c_proj",
        "norm": "transformer.ln_f",
        "head": "lm_head",
    },
    "modern": {
        "embed": "model.embed_tokens",
        "blocks.*.norm1": "model.layers.*.input_layernorm",
        "blocks.*.attn.q": "model.layers.*.self_attn.q_proj",
        "blocks.*.attn.k": "model.layers.*.self_attn.k_proj",
        "blocks.*.attn.v": "model.layers.*.self_attn.v_proj",
        "blocks.*.attn.q_norm": "model.layers.*.self_attn.q_norm",
        "blocks.*.attn.k_norm": "model.layers.*.self_attn.k_norm",
        "blocks.*.attn.out": "model.layers.*.self_attn.o_proj",
        "blocks.*.norm2": "model.layers.*.post_attention_layernorm",
        "blocks.*.mlp.gate": "model.layers.*.mlp.gate_proj",
        "blocks.*.mlp.up": "model.layers.*.mlp.up_proj",
        "blocks.*.mlp.down": "model.layers.*.mlp.down_proj",
        "norm": "model.norm",
        "head": "lm_head",
    },
}
"""Our modules → theirs; * is the layer. Modules of ours that share one of theirs are stacked in it, in this order."""

BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq", "lm_head.weight")
"""How tensors end that some files carry without need: masks, frequencies, and a head that the config ties."""


def from_hf(folder: str | Path) -> GPT:
    """Read a folder from `save_pretrained` (config.json, and safetensors in one file or in shards) → GPT in fp32.

    One tensor at a time from a file that is mapped, so that the weights are in memory once. Dropout, which does not
    change what a model says, comes in as 0. A UserError names whatever is missing, damaged, or no part of GPT-2's or
    Qwen3's arithmetic. Pickled weights (pytorch_model.bin) are refused: to read a pickle is to run the code in it.

    Example: `from_hf("gpt2-folder")(torch.tensor([[15496, 11]]))` gives logits (1, 2, 50257).
    """
    folder = Path(folder)
    file_of, open_file = tensor_files(folder), cache(lambda file: safe_open(file, "pt"))
    with torch.device("meta"):
        model = GPT(config_from_hf(folder / "config.json"))
    model.to_empty(device="cpu")
    model.tie()
    with torch.no_grad():
        model.embed.weight.zero_()  # the rows that pad the vocabulary are not in the file
        model.head.weight.zero_()
        parameters = without_padding(model)
        for theirs, ours in stored_tensors(model).items():
            # OpenAI's own GPT-2 was published without the prefix
            name = theirs if theirs in file_of else theirs.removeprefix("transformer.")
            if name not in file_of:
                raise UserError(f"{folder} holds no tensor {theirs!r}: its weights are incomplete or of another model.")
            try:
                tensor = open_file(file_of.pop(name)).get_tensor(name)
            except (OSError, SafetensorError) as error:
                raise UserError(f"cannot read {name!r} in {folder} ({error}): copy or download it again.") from None
            parts = (tensor.T if is_transposed(theirs) else tensor).chunk(len(ours))
            for target, part in zip((parameters[name] for name in ours), parts):
                if part.shape != target.shape:
                    shape = tuple(tensor.shape)
                    raise UserError(f"{theirs!r} in {folder} is {shape}, which does not fit its config.json.")
                target.copy_(part)
    unread = sorted(name for name in file_of if not name.endswith(BUFFERS))
    if unread:
        raise UserError(f"{folder} holds {unread[0]!r}, for which its config.json has no place: is it of this model?")
    return model


def to_hf(model: GPT, tokenizer: Tokenizer | None, folder: str | Path) -> None:
    """Write what `AutoModelForCausalLM` and `AutoTokenizer` read, in the weights' own precision, without padding.

    A UserError names the field that keeps a config from being pure GPT-2 or Qwen3, or says that the folder cannot be
    written. With a tokenizer the ids agree with ours, but for special tokens: their library finds these in plain text.

    Example: `to_hf(run.model, run.tokenizer, "my-model")`, then `AutoModelForCausalLM.from_pretrained("my-model")`.
    """
    c, folder = model.config, Path(folder)
    for field, value in PURE[c.family].items():
        if getattr(c, field) != value:
            raise UserError(
                f"this model cannot be exported: {field} is {getattr(c, field)!r}, and "
                f"{FIXED[c.family]['model_type']} knows only {value!r}."
            )
    if tokenizer is not None and tokenizer.vocab_size != c.vocab_size:
        raise UserError(f"the tokenizer has {tokenizer.vocab_size} ids, the model {c.vocab_size}: it is another's.")
    if (folder / "model.safetensors.index.json").exists():
        raise UserError(f"{folder} already holds a model in shards: choose another folder.")
    parameters, tensors = without_padding(model), {}
    for theirs, ours in stored_tensors(model).items():
        stacked = torch.cat([parameters[name].cpu() for name in ours])
        tensors[theirs] = (stacked.T if is_transposed(theirs) else stacked).contiguous()
    eot = tokenizer.special_tokens.get(END_OF_TEXT) if tokenizer is not None else None
    files = {"generation_config.json": {"bos_token_id": eot, "eos_token_id": eot, "pad_token_id": eot}}
    if tokenizer is not None:
        files |= {"tokenizer.json": tokenizer_to_hf(tokenizer), "tokenizer_config.json": tokenizer_config(tokenizer, c)}
    dtype = str(model.embed.weight.dtype).removeprefix("torch.")
    # last, so that a folder with a config.json is whole
    files["config.json"] = {**config_to_hf(c), "dtype": dtype, "bos_token_id": eot, "eos_token_id": eot}
    temporary = folder / f".model.safetensors.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, {"format": "pt"})
        os.replace(temporary, folder / "model.safetensors")
        for name, content in files.items():
            write_atomic(folder / name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write to {folder} ({error}): choose another folder, or make room.") from None
    finally:
        if folder.is_dir():
            temporary.unlink(missing_ok=True)


# ---- configs ---------------------------------------------------------------------------------------------------------


def config_to_hf(c: ModelConfig) -> dict:
    """The content of config.json."""
    hf = {"architectures": ["GPT2LMHeadModel" if c.family == "gpt2" else "Qwen3ForCausalLM"]}
    hf |= {theirs: value for theirs, value in FIXED[c.family].items() if value is not None}
    hf |= {theirs: getattr(c, ours) for ours, theirs in FIELDS[c.family].items()}
    if c.family == "gpt2":
        return hf | {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    # transformers 5 reads the rotary base in here, version 4 beside it
    return hf | {"rope_parameters": {"rope_type": hf.pop("rope_type"), "rope_theta": c.rope_base}}


def config_from_hf(file: Path) -> ModelConfig:
    """Read config.json; a UserError names the first field that asks for other arithmetic than ours."""
    try:
        hf = json.loads(file.read_text("utf-8"))
        kind, rotary = hf.get("model_type"), rope(hf)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"cannot read {file} ({error}): copy or download it again.") from None
    family = {"gpt2": "gpt2", "qwen3": "modern"}.get(kind)
    if family is None:
        raise UserError(f"{file}: model_type is {kind!r}; only gpt2 and qwen3 can be read.")
    hf |= rotary
    if hf.get("activation_function") == "gelu_pytorch_tanh":  # another name for the same function
        hf["activation_function"] = "gelu_new"
    for field, value in FIXED[family].items():
        if hf.get(field, value) != value:
            raise UserError(f"{file}: {field} is {hf[field]!r}, and only {value!r} can be read.")
    # what older files leave out, for it was the default; an n_inner of null means four times the width
    default = {
        "n_inner": 4 * hf.get("n_embd", 0),
        "tie_word_embeddings": kind == "gpt2",
        "layer_norm_epsilon": 1e-5,
        "rms_norm_eps": 1e-6,
        "num_key_value_heads": hf.get("num_attention_heads"),
    }
    values = {}
    for ours, theirs in FIELDS[family].items():
        values[ours] = default.get(theirs) if hf.get(theirs) is None else hf[theirs]
        if values[ours] is None:
            raise UserError(f"{file} lacks {theirs!r}.")
    try:
        if family == "gpt2":
            heads = values["heads"]
            values |= {"kv_heads": heads, "head_size": values["width"] // heads}
        return ModelConfig(family, **PURE[family], **values)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"{file} makes no sense ({error}).") from None


def rope(hf: dict) -> dict:
    """Where the versions of transformers have kept the rotary settings → {"rope_type": …, "rope_theta": …}."""
    inner = hf.get("rope_parameters") or hf.get("rope_scaling") or {}
    inner = inner.get("full_attention", inner)
    kind = inner.get("rope_type") or inner.get("type") or "default"
    if inner.get("partial_rotary_factor", 1.0) != 1.0:
        kind = "partial"
    return {"rope_type": kind, "rope_theta": inner.get("rope_theta") or hf.get("rope_theta") or 10000.0}


# ---- weights ---------------------------------------------------------------------------------------------------------


def stored_tensors(model: GPT) -> dict[str, list[str]]:
    """Their name of each tensor in the file → our names of the parameters that are stacked in it, along dimension 0.

    GPT-2 alone stacks: {"transformer.h.0.attn.c_attn.bias": ["blocks.0.attn.q.bias", "blocks.0.attn.k.bias", …], …}
    """
    c, parameters, stored = model.config, dict(model.named_parameters()), {}
    for layer in map(str, range(c.layers)):
        for ours, theirs in NAMES[c.family].items():
            for kind in (".weight", ".bias"):
                name = ours.replace("*", layer) + kind
                if parameters.pop(name, None) is not None:  # a tied head is no parameter of its own
                    stored.setdefault(theirs.replace("*", layer) + kind, []).append(name)
    assert not parameters, f"NAMES has no row for {list(parameters)}"
    return stored


def is_transposed(theirs: str) -> bool:
    """GPT-2's linear layers, whose names start with c_, keep their matrices as (in, out); torch's keep (out, in)."""
    return ".c_" in theirs and theirs.endswith(".weight")


def without_padding(model: GPT) -> dict[str, Tensor]:
    """The parameters by name; of the vocabulary's tables only the rows that stand for a token."""
    rows = {"embed.weight": model.config.vocab_size, "head.weight": model.config.vocab_size}
    return {name: p.detach()[: rows.get(name)] for name, p in model.named_parameters()}


def tensor_files(folder: Path) -> dict[str, Path]:
    """The name of each tensor in the folder → the safetensors file that holds it."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    try:
        if single.exists():
            with safe_open(single, "pt") as file:
                return dict.fromkeys(file.keys(), single)
        if index.exists():
            shards = json.loads(index.read_text())["weight_map"]
            return {name: folder / Path(shard).name for name, shard in shards.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise UserError(f"cannot read the weights in {folder} ({error}): copy or download them again.") from None
    if list(folder.glob("*.bin")):
        raise UserError(
            f"{folder} holds its weights only as a pickle (.bin), which can run code and is never read: take the "
            f"model's safetensors version, or load it in transformers where you trust it and call save_pretrained."
        )
    raise UserError(f"{folder} holds no model: there is no model.safetensors in it.")


# ---- tokenizer -------------------------------------------------------------------------------------------------------


def tokenizer_to_hf(tokenizer: Tokenizer) -> dict:
    """The content of a fast tokenizer's tokenizer.json: our pattern and merges, bytes shown as GPT-2 shows them."""
    specials = tokenizer.special_tokens
    flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)
    split = dict(type="Split", pattern={"Regex": tokenizer.pattern}, behavior="Isolated", invert=False)
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": name, **flags} for name, i in specials.items()],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": {printable(token): i for token, i in tokenizer.ranks.items()} | specials,
            "merges": [f"{printable(a)} {printable(b)}" for a, b in tokenizer.merges],
        },
    }


def tokenizer_config(tokenizer: Tokenizer, c: ModelConfig) -> dict:
    """The content of tokenizer_config.json. The class is the general one: those of models bring their own patterns."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": c.context,
        "clean_up_tokenization_spaces": False,
    }
    if END_OF_TEXT in tokenizer.special_tokens:
        config |= {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT}
    return config
