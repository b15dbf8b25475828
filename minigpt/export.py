"""To Hugging Face and back: a folder that `transformers` and vLLM open without any code of ours, and the reverse.

Our two families are two architectures that everyone serves: `gpt2` is GPT2LMHeadModel, `modern` is Qwen3ForCausalLM.
So there is nothing to compute here, only names to translate. Three tables say how, and both directions read them:
FIELDS for the config, FIXED for what their configs could say and ours cannot, NAMES for the weights.
"""
import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .config import ModelConfig, UserError
from .files import write_atomic
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
        model_type="gpt2", activation_function="gelu_new", scale_attn_weights=True,
        scale_attn_by_inverse_layer_idx=False,
    ),
    "modern": dict(model_type="qwen3", hidden_act="silu", attention_bias=False),
}  # fmt: skip
"""Fields of theirs that have one value in our arithmetic: written on the way out, required on the way in."""

ROPES = {"plain": "default", "linear": "linear", "yarn": "yarn"}
"""Our names of the rotary angles → theirs."""

YARN = dict(beta_fast=32, beta_slow=1, truncate=True)
"""What their config may say of a changed rotary angle beside its factor, and the one value that is ours."""

PURE = {"gpt2": dict(activation="gelu", softcap=0.0, window=0), "modern": dict(activation="swiglu", softcap=0.0)}
"""Fields of ours that have one value in theirs."""

NAMES = {
    "gpt2": {
        "embed": "transformer.wte", "position": "transformer.wpe", "norm": "transformer.ln_f", "head": "lm_head",
        "blocks": "transformer.h", "norm1": "ln_1", "norm2": "ln_2",
        "attn.q": "attn.c_attn", "attn.k": "attn.c_attn", "attn.v": "attn.c_attn", "attn.out": "attn.c_proj",
        "mlp.up": "mlp.c_fc", "mlp.down": "mlp.c_proj",
    },
    "modern": {
        "embed": "model.embed_tokens", "norm": "model.norm", "head": "lm_head",
        "blocks": "model.layers", "norm1": "input_layernorm", "norm2": "post_attention_layernorm",
        "attn.q": "self_attn.q_proj", "attn.k": "self_attn.k_proj", "attn.v": "self_attn.v_proj",
        "attn.q_norm": "self_attn.q_norm", "attn.k_norm": "self_attn.k_norm", "attn.out": "self_attn.o_proj",
        "mlp.gate": "mlp.gate_proj", "mlp.up": "mlp.up_proj", "mlp.down": "mlp.down_proj",
    },
}  # fmt: skip
"""Our modules → theirs; after `blocks` and a layer's number come the names inside a block. Modules of ours that share
one of theirs are stacked in it, in the order that they have in the model."""

BUFFERS = (".attn.bias", ".attn.masked_bias", "lm_head.weight")
"""How tensors end that some files carry without need: masks, and a head that the config ties."""


def from_hf(folder: str | Path) -> GPT:
    """Read a folder from `save_pretrained` (config.json, and safetensors in one file or in shards) → GPT in fp32.

    The files are mapped, so that the weights are in memory once. Dropout, which does not change what a model says,
    comes in as 0. A UserError names whatever is missing, damaged, or no part of GPT-2's or Qwen3's arithmetic. Pickled
    weights (pytorch_model.bin) are refused: to read a pickle is to run the code in it.

    Example: `from_hf("gpt2-folder")(torch.tensor([[15496, 11]]))` gives logits (1, 2, 50257).
    """
    folder = Path(folder)
    tensors = read_tensors(folder)
    with torch.device("meta"):
        model = GPT(config_from_hf(folder / "config.json"))
    model.to_empty(device="cpu")
    model.tie()
    with torch.no_grad():
        model.embed.weight.zero_()  # the rows that pad the vocabulary are not in the file
        model.head.weight.zero_()
        parameters = without_padding(model)
        for theirs, ours in stored_tensors(model).items():
            # OpenAI's own GPT-2 was published, and is still offered, without the prefix
            tensor = tensors.pop(theirs if theirs in tensors else theirs.removeprefix("transformer."), None)
            if tensor is None:
                raise UserError(f"{folder} holds no tensor {theirs!r}: its weights are incomplete or of another model.")
            parts = (tensor.T if is_transposed(theirs) else tensor).chunk(len(ours))
            for target, part in zip((parameters[name] for name in ours), parts):
                if part.shape != target.shape:
                    shape = tuple(tensor.shape)
                    raise UserError(f"{theirs!r} in {folder} is {shape}, which does not fit its config.json.")
                target.copy_(part)
    if unread := sorted(name for name in tensors if not name.endswith(BUFFERS)):
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
            raise UserError(f"cannot export: {field} is {getattr(c, field)!r}, and their format knows only {value!r}.")
    if tokenizer is not None and tokenizer.vocab_size != c.vocab_size:
        raise UserError(f"the tokenizer has {tokenizer.vocab_size} ids, the model {c.vocab_size}: it is another's.")
    parameters, tensors = without_padding(model), {}
    for theirs, ours in stored_tensors(model).items():
        stacked = torch.cat([parameters[name].cpu() for name in ours])
        tensors[theirs] = (stacked.T if is_transposed(theirs) else stacked).contiguous()
    eot, files = None, {}
    if tokenizer is not None:
        eot = tokenizer.special_tokens.get(END_OF_TEXT)
        files = {"tokenizer.json": tokenizer_to_hf(tokenizer), "tokenizer_config.json": tokenizer_config(tokenizer, c)}
    files["generation_config.json"] = {"bos_token_id": eot, "eos_token_id": eot, "pad_token_id": eot}
    dtype = str(model.embed.weight.dtype).removeprefix("torch.")
    # last, so that a folder with a config.json is whole
    files["config.json"] = {**config_to_hf(c), "dtype": dtype, "bos_token_id": eot, "eos_token_id": eot}
    temporary = folder / f".model.safetensors.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            save_file(tensors, temporary, {"format": "pt"})
            os.replace(temporary, folder / "model.safetensors")
        finally:
            temporary.unlink(missing_ok=True)
        for name, content in files.items():
            write_atomic(folder / name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write to {folder} ({error}): choose another folder, or make room.") from None


# ---- configs ---------------------------------------------------------------------------------------------------------


def config_to_hf(c: ModelConfig) -> dict:
    """The content of config.json."""
    hf = {"architectures": ["GPT2LMHeadModel" if c.family == "gpt2" else "Qwen3ForCausalLM"], **FIXED[c.family]}
    hf |= {theirs: getattr(c, ours) for ours, theirs in FIELDS[c.family].items()}
    if c.family == "gpt2":
        return hf | {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    if c.window:
        hf |= {"use_sliding_window": True, "sliding_window": c.window, "max_window_layers": 0}
    rope = {"rope_type": ROPES[c.rope], "rope_theta": c.rope_base}
    if c.rope != "plain":
        rope |= {"factor": c.rope_factor, "original_max_position_embeddings": round(c.context / c.rope_factor)}
    return hf | {"rope_parameters": rope}  # transformers 5 reads the rotary base in here, version 4 beside it


def config_from_hf(file: Path) -> ModelConfig:
    """Read config.json; a UserError names the first field that asks for other arithmetic than ours."""
    try:
        hf = json.loads(file.read_text("utf-8"))
        kind, rope = hf.get("model_type"), hf.get("rope_parameters") or hf.get("rope_scaling") or {}
        # transformers 5 keeps the rotary settings in one place, version 4 the base beside the rest, under older names
        hf = {"rope_theta": 10000.0, "rope_type": rope.get("type", "default")} | hf | rope
        # what version 4 does not write; an n_inner of null means four times the width
        hf = {"tie_word_embeddings": kind == "gpt2"} | hf | {"n_inner": hf.get("n_inner") or 4 * hf.get("n_embd", 0)}
        family = {"gpt2": "gpt2", "qwen3": "modern"}.get(kind)
        if family is None:
            raise UserError(f"{file}: model_type is {kind!r}; only gpt2 and qwen3 can be read.")
        if hf.get("activation_function") == "gelu_pytorch_tanh":  # another name for the same function
            hf["activation_function"] = "gelu_new"
        for field, value in FIXED[family].items():
            if hf.get(field, value) != value:
                raise UserError(f"{file}: {field} is {hf[field]!r}, and only {value!r} can be read.")
        values = {ours: hf[theirs] for ours, theirs in FIELDS[family].items()}
        if family == "gpt2":
            values |= {"kv_heads": values["heads"], "head_size": values["width"] // values["heads"]}
        else:
            values |= attention_from_hf(hf, file)
        return ModelConfig(family, **PURE[family], **values)
    except (OSError, ValueError, TypeError, AttributeError, ArithmeticError, LookupError) as error:
        raise UserError(f"cannot read {file} ({type(error).__name__}: {error}): copy or download it again.") from None


def attention_from_hf(hf: dict, file: Path) -> dict:
    """Window and rotary angles of a Qwen3 config, as fields of ours."""
    found = {"window": hf.get("sliding_window") or 0 if hf.get("use_sliding_window") else 0}
    if found["window"] and hf.get("max_window_layers", 0) > 0:
        layers = hf["max_window_layers"]
        raise UserError(f"{file}: max_window_layers is {layers}; a window is read for all layers or none.")
    kind = hf["rope_type"]
    found["rope"] = next((ours for ours, theirs in ROPES.items() if theirs == kind), None)
    if found["rope"] is None:
        raise UserError(f"{file}: rope_type is {kind!r}, and only {', '.join(ROPES.values())} can be read.")
    if kind != "default":
        for field in ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"):
            if hf.get(field, YARN.get(field)) != YARN.get(field):
                raise UserError(f"{file}: {field} is {hf[field]!r}, and only {YARN.get(field)!r} can be read.")
        trained = hf.get("original_max_position_embeddings") or round(hf["max_position_embeddings"] / hf["factor"])
        found |= {"rope_factor": float(hf["factor"]), "context": round(trained * hf["factor"])}
    return found


# ---- weights ---------------------------------------------------------------------------------------------------------


def stored_tensors(model: GPT) -> dict[str, list[str]]:
    """Their name of each tensor in the file → our names of the parameters that are stacked in it, along dimension 0.

    GPT-2 alone stacks: {"transformer.h.0.attn.c_attn.bias": ["blocks.0.attn.q.bias", "blocks.0.attn.k.bias", …], …}
    """
    names, stored = NAMES[model.config.family], {}
    for ours, _ in model.named_parameters():  # a tied head is not among them
        module, kind = ours.rsplit(".", 1)
        if module.startswith("blocks."):
            blocks, layer, part = module.split(".", 2)
            theirs = f"{names[blocks]}.{layer}.{names[part]}"
        else:
            theirs = names[module]
        stored.setdefault(f"{theirs}.{kind}", []).append(ours)
    return stored


def is_transposed(theirs: str) -> bool:
    """GPT-2's linear layers, whose names start with c_, keep their matrices as (in, out); torch's keep (out, in)."""
    return ".c_" in theirs and theirs.endswith(".weight")


def without_padding(model: GPT) -> dict[str, Tensor]:
    """The parameters by name; of the vocabulary's tables only the rows that stand for a token."""
    rows = dict.fromkeys(("embed.weight", "head.weight"), model.config.vocab_size)
    return {name: p.detach()[: rows.get(name)] for name, p in model.named_parameters()}


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of model.safetensors, or of its shards, by their names."""
    single = folder / "model.safetensors"
    files = [single] if single.exists() else sorted(folder.glob("model-*-of-*.safetensors"))
    if not files:
        raise UserError(
            f"{folder} holds no model.safetensors; a pickle (.bin) can run code and is never read: load that in "
            "transformers where you trust it, and call save_pretrained."
        )
    tensors = {}
    try:
        for file in files:
            tensors |= load_file(file)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"cannot read the weights in {folder} ({error}): copy or download them again.") from None
    return tensors


# ---- tokenizer -------------------------------------------------------------------------------------------------------


def tokenizer_to_hf(tokenizer: Tokenizer) -> dict:
    """The content of a fast tokenizer's tokenizer.json: our pattern and merges, bytes shown as GPT-2 shows them."""
    flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)
    split = dict(type="Split", pattern={"Regex": tokenizer.pattern}, behavior="Isolated", invert=False)
    vocab = {printable(token): i for token, i in tokenizer.ranks.items()} | tokenizer.special_tokens
    merges = [f"{printable(a)} {printable(b)}" for a, b in tokenizer.merges]
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": name, **flags} for name, i in tokenizer.special_tokens.items()],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    }


def tokenizer_config(tokenizer: Tokenizer, c: ModelConfig) -> dict:
    """The content of tokenizer_config.json. The class is the general one: those of models bring their own patterns."""
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": c.context}
    ends = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT} if END_OF_TEXT in tokenizer.special_tokens else {}
    return config | ends | {"clean_up_tokenization_spaces": False}
