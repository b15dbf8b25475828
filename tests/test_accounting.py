"""accounting.py against the parameters of real models, torch's FLOP counter, and memory that was measured."""
import doctest
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from minigpt import accounting
from minigpt import model as model_module
from minigpt.accounting import (
    activation_bytes,
    flops_per_token,
    forward_flops,
    largest_micro_batch,
    matmul_parameters,
    memory,
    mfu,
    parameter_breakdown,
    parameters,
    training_flops,
)
from minigpt.config import PRESETS, ModelConfig, OptimConfig, UserError, depth, modern
from minigpt.model import GPT
from minigpt.optim import build_optimizers

MODERN = ModelConfig(layers=3, width=96, heads=6, kv_heads=2, head_size=20, mlp_width=208, context=56, vocab_size=310)
GPT2 = ModelConfig(
    "gpt2", layers=3, width=96, heads=6, kv_heads=6, head_size=16, mlp_width=208, context=56, vocab_size=310,
    activation="gelu",
)  # fmt: skip
SHAPES = {
    "modern": MODERN,
    "untied": replace(MODERN, tied=False),
    "mha": replace(MODERN, kv_heads=6, context=88),
    "mqa relu2": replace(MODERN, kv_heads=1, activation="relu2", layers=2),
    "softcap": replace(MODERN, softcap=9.0),
    "large vocabulary": replace(MODERN, vocab_size=4001),
    "small vocabulary": replace(MODERN, vocab_size=50),
    "gpt2": GPT2,
    "gpt2 untied": replace(GPT2, tied=False, vocab_size=71, context=40),
    "gpt2 swiglu": replace(GPT2, activation="swiglu"),
    "dropout": replace(GPT2, dropout=0.1),
}
LLAMA_3_8B = ModelConfig(
    layers=32, width=4096, heads=32, kv_heads=8, head_size=128, mlp_width=14336, context=8192, vocab_size=128256,
    tied=False,
)  # fmt: skip


def on_meta(config):
    with torch.device("meta"):
        return GPT(config)


def test_docstring_examples():
    assert doctest.testmod(accounting).failed == 0
    assert doctest.testmod(accounting).attempted > 0


def test_needs_no_torch():
    code = """if True:
        import sys
        from minigpt.accounting import flops_per_token, mfu, parameters
        from minigpt.config import ModelConfig
        print(parameters(ModelConfig()), flops_per_token(ModelConfig()), mfu(1, ModelConfig(), 1))
        sys.exit("torch" in sys.modules)"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# ---- parameters ------------------------------------------------------------------------------------------------------

ALL = SHAPES | {name: run.model for name, run in PRESETS.items()}
ALL |= {f"depth {n}": depth(n).model for n in (1, 3, 6, 12, 26)}


@pytest.mark.parametrize("name", ALL)
def test_parameters_are_exact(name):
    c = ALL[name]
    count = {key: p.numel() for key, p in on_meta(c).named_parameters()}
    padding = (c.padded_vocab - c.vocab_size) * c.width
    parts = {"embedding": ["embed."], "positions": ["position."], "attention": [".q.", ".k.", ".v.", ".out."],
             "mlp": [".mlp."], "norms": ["norm"], "head": ["head."]}  # fmt: skip
    expected = {part: sum(n for key, n in count.items() if any(k in key for k in keys)) for part, keys in parts.items()}
    expected["embedding"] -= padding
    expected["head"] -= 0 if c.tied else padding
    assert parameter_breakdown(c) == expected
    assert parameters(c) == sum(count.values()) - padding * (1 if c.tied else 2)
    matrices = [p.numel() for key, p in on_meta(c).named_parameters() if key.startswith("blocks.") and p.ndim == 2]
    assert matmul_parameters(c) == sum(matrices) + c.padded_vocab * c.width


def test_published_sizes():
    assert parameters(PRESETS["gpt2-124m"].model) == 124_439_808
    assert parameters(PRESETS["gpt2-1.5b"].model) == 1_557_611_200
    qk_norms = 32 * 2 * 128  # which Llama has not
    assert parameters(LLAMA_3_8B) - qk_norms == 8_030_261_248


# ---- FLOPs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
def test_flops_equal_torchs_counter(name):
    """Under SDPBackend.MATH: the counter knows no formula for the CPU's flash kernel, and would count it as zero."""
    c, B, T = SHAPES[name], 3, 37
    model, tokens = GPT(c), torch.randint(c.vocab_size, (3, 37))
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward, torch.no_grad():
            model(tokens)
        with FlopCounterMode(display=False) as both:
            model(tokens, tokens).backward()
    assert forward_flops(c, B, T) == pytest.approx(forward.get_total_flops(), rel=0.01)
    assert training_flops(c, B * T, context=T) == pytest.approx(both.get_total_flops(), rel=0.01)
    assert flops_per_token(c) == 6 * matmul_parameters(c) + 12 * c.layers * c.heads * c.head_size * c.context
    assert training_flops(c, 7.0) == 7 * flops_per_token(c)


def test_mfu_reproduces_published_figures():
    """torchtitan's README: 33 % to 39 % for Llama 3 8B on H100s; llm.c: about 56 % for GPT-2 124M on eight A100s."""
    assert mfu(5762, LLAMA_3_8B, 989e12, "torchtitan") == pytest.approx(0.337, abs=5e-4)
    assert mfu(6667, LLAMA_3_8B, 989e12, "torchtitan") == pytest.approx(0.390, abs=5e-4)
    gpt2 = PRESETS["gpt2-124m"].model
    assert mfu(524288 / 0.300, gpt2, 8 * 312e12, "llm.c") == pytest.approx(0.56, abs=0.02)


def test_mfu_conventions_differ_as_described():
    c, n, a = replace(MODERN, tied=False), parameters(replace(MODERN, tied=False)), 3 * 6 * 20 * 56
    e = 310 * 96
    expected = {"palm": 6 * n + 12 * a, "torchtitan": 6 * (n - e) + 12 * a, "megatron": 6 * (n - e) + 6 * a,
                "llm.c": 6 * n + 6 * a, "6n": 6 * n}  # fmt: skip
    for name, flops in expected.items():
        assert mfu(3.0, c, 2.0, name) == pytest.approx(1.5 * flops)
    assert mfu(3.0, c, 2.0) == mfu(3.0, c, 2.0, "palm")
    assert mfu(1.0, MODERN, 1.0, "torchtitan") == mfu(1.0, MODERN, 1.0, "palm")  # a tied embedding multiplies
    with pytest.raises(UserError, match="unknown MFU convention 'nanogpt'.*palm"):
        mfu(1.0, c, 1.0, "nanogpt")


# ---- memory ----------------------------------------------------------------------------------------------------------


def measured_peak(c, batch, precision, optimizer):
    """Bytes by kind at the peak of the second training step, by torch's MemTracker, which follows every allocation."""
    model, tokens = GPT(c), torch.randint(c.vocab_size, (batch, c.context))
    optimizers = build_optimizers(model, OptimConfig(optimizer=optimizer))
    tracker = MemTracker()
    tracker.track_external(model, *optimizers, tokens)
    for step in range(2):
        with tracker:
            with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext():
                loss = model(tokens, tokens)
            loss.backward()
            if step == 0:
                for o in optimizers:
                    o.step()
        if step == 0:
            tracker.reset_mod_stats()
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
    return {getattr(kind, "value", kind): size for kind, size in peak.items()}


MEASURED = [(name, "fp32") for name in ("modern", "mqa relu2", "softcap", "small vocabulary", "gpt2 untied", "dropout")]


@pytest.mark.parametrize("name, precision", MEASURED + [(name, "bf16") for name in ("mha", "large vocabulary", "gpt2")])
def test_memory_is_what_a_step_takes(name, precision):
    """Within 10 % in all; weights, gradients and optimizer to the byte (but for AdamW's step counters)."""
    c, optimizer = SHAPES[name], "adamw" if "gpt2" in name else "muon"
    expected, measured = memory(c, 7, precision, optimizer), measured_peak(c, 7, precision, optimizer)
    assert expected["weights"] == measured["Parameter"]
    assert expected["gradients"] == measured["Gradient"]
    assert 0 <= measured["Optstate"] - expected["optimizer"] < 4000
    assert expected["total"] == pytest.approx(measured["Total"], rel=0.1)
    assert expected["total"] == sum(expected.values()) - expected["total"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_memory_knows_that_the_loss_works_in_chunks(precision, monkeypatch):
    c = replace(MODERN, vocab_size=9000)
    whole = memory(c, 7, precision)
    monkeypatch.setattr(model_module, "LOGITS_AT_ONCE", 50 * c.padded_vocab)
    chunked = memory(c, 7, precision)
    assert chunked["logits"] == whole["logits"] * 50 / (7 * 56) + 4 * c.padded_vocab * c.width
    assert chunked["total"] == pytest.approx(measured_peak(c, 7, precision, "adamw")["Total"], rel=0.1)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", SHAPES)
def test_activations_are_what_autograd_saves(name, precision):
    """Every storage that backward will need, counted once: within 3 % of the formula, per token."""
    c, kept = SHAPES[name], {}
    model = GPT(c)
    parameters_ = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    def saved(batch):
        kept.clear()
        tokens = torch.randint(c.vocab_size, (batch, c.context))
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext():
                model(tokens, tokens)
        return sum(t.untyped_storage().nbytes() for address, t in kept.items() if address not in parameters_)

    few, many = saved(4), saved(11)
    per_token = (many - few) / (7 * c.context)
    logits = (8 if c.softcap else 4) * c.padded_vocab  # their log-probabilities, and their tanh
    assert activation_bytes(c, precision) + logits == pytest.approx(per_token, rel=0.03)
    fixed = few - 4 * c.context * per_token  # does not grow with the batch: bf16 copies of weights, and small tables
    tables = 2 * 4 * c.context * c.head_size + 8 * c.context + c.padded_vocab
    expected = memory(c, 4, precision)["activations"] - 4 * c.context * activation_bytes(c, precision)
    assert fixed == pytest.approx(expected, abs=tables + 100)


def test_optimizer_memory():
    c = PRESETS["gpt2-124m"].model
    stored, matrices = parameters(c) + 47 * 768, 12 * 12 * 768 * 768
    assert memory(c, 1)["optimizer"] == 8 * stored
    assert memory(c, 1, optimizer="muon")["optimizer"] == 8 * (stored - matrices) + 4 * matrices


@pytest.mark.parametrize("precision, optimizer", [("fp32", "muon"), ("bf16", "adamw")])
def test_largest_micro_batch_is_the_largest(precision, optimizer):
    for n in (1, 2, 37, 1000):
        need = memory(MODERN, n, precision, optimizer)["total"]
        assert largest_micro_batch(MODERN, need, precision, optimizer) == n
        assert largest_micro_batch(MODERN, need - 1, precision, optimizer) == max(1, n - 1)
    assert largest_micro_batch(MODERN, 0) == 1
    assert 10 < largest_micro_batch(PRESETS["gpt2-124m"].model, 80 * 2**30, "bf16", "adamw") < 300


def test_shards_hold_a_part_each_and_leave_room_for_more_sequences():
    c = modern(12, 1536)
    one, eight = memory(c, 3, "bf16", "muon"), memory(c, 3, "bf16", "muon", shards=8)
    for name in ("weights", "gradients", "optimizer"):
        assert eight[name] == pytest.approx(one[name] / 8, rel=1e-6)
    assert eight["activations"] == one["activations"]
    embedding, block = c.padded_vocab * c.width, 4 * c.width**2 + 3 * c.width * c.mlp_width
    assert eight["gathered"] == pytest.approx(2 * (embedding + 2 * block) + 4 * (embedding + block), rel=1e-3)
    assert largest_micro_batch(c, 16e9, "bf16", "muon", 8) > largest_micro_batch(c, 16e9, "bf16", "muon") + 2
