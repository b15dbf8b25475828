"""The choice of device, format and compile: by measuring, with a reason, and never a silent fall-back."""
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minigpt import GPT, precision
from minigpt.config import ModelConfig, TrainConfig, UserError
from minigpt.precision import (Policy, attention_tolerance, attention_trial, bf16_speedup, choose, pick_attention,
                               pick_device)  # fmt: skip

SHAPE = ModelConfig(layers=2, width=96, heads=3, kv_heads=1, head_size=32, mlp_width=64, context=40, vocab_size=300)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def probe(monkeypatch, speedup):
    monkeypatch.setattr(precision, "bf16_speedup", lambda: speedup)


def test_a_long_run_on_a_fast_bf16_cpu(monkeypatch):
    probe(monkeypatch, 4.0)
    policy = choose(TrainConfig(device="cpu"), seconds=300)
    assert (policy.precision, policy.compile) == ("bf16", True)
    assert len(policy.reasons) == 2 and "4.0 times" in policy.reasons[0]


def test_a_cpu_where_bf16_is_a_trap(monkeypatch):
    probe(monkeypatch, 0.02)
    assert choose(TrainConfig(device="cpu"), seconds=300).precision == "fp32"


def test_a_short_run_probes_and_compiles_nothing(monkeypatch):
    monkeypatch.setattr(precision, "bf16_speedup", lambda: pytest.fail("probed"))
    policy = choose(TrainConfig(device="cpu"), seconds=5)
    assert (policy.precision, policy.compile) == ("fp32", False)


def test_what_is_asked_for_is_taken(monkeypatch):
    probe(monkeypatch, 9.0)
    policy = choose(TrainConfig(device="cpu", precision="fp32", compile="off"), seconds=3000)
    assert (policy.device, policy.precision, policy.compile) == ("cpu", "fp32", False)


def test_no_compiler_no_compile(monkeypatch):
    probe(monkeypatch, 1.0)
    monkeypatch.setattr(precision.shutil, "which", lambda name: None)
    policy = choose(TrainConfig(device="cpu"), seconds=300)
    assert not policy.compile and "C++" in policy.reasons[1]


def test_the_probe_is_quick_and_remembers_a_yes(monkeypatch):
    bf16_speedup()
    start = time.perf_counter()
    first = bf16_speedup()
    assert first > 0 and time.perf_counter() - start < 1.0  # 0.03 s on a quiet machine
    remembered = list(Path(precision.cache_folder()).glob("bf16-*"))
    assert bool(remembered) == (first > 1.5)
    if remembered:
        remembered[0].write_text('{"speedup": 7.5}')
        assert bf16_speedup() == 7.5
        remembered[0].write_text("not json")
        assert bf16_speedup() > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_refused_with_advice():
    with pytest.raises(UserError, match="no usable GPU for --device cuda.*(driver|CUDA build)"):
        pick_device("cuda")


def test_a_broken_driver_is_refused_even_for_auto(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UserError, match="--device auto"):
        pick_device("auto")


@pytest.mark.parametrize("capability, expected", [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_cuda_by_compute_capability(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert precision.pick_precision("cuda", 1000)[0] == expected


def test_autocast_and_scaler_follow_the_policy():
    x = torch.ones(2, 3)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        policy = Policy("cpu", name, False, ())
        with policy.autocast():
            assert (x @ x.T).dtype == dtype
        assert policy.grad_scaler().is_enabled() == (name == "fp16")


def test_compile_caches_are_kept_apart(monkeypatch):
    import os

    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    precision.isolate_compile_cache()
    folder = os.environ.pop("TORCHINDUCTOR_CACHE_DIR")
    assert torch.backends.cpu.get_cpu_capability().lower() in folder


# ---- the kernel for attention ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("window", [0, 13])
@pytest.mark.parametrize("name", ["flash", "math"])
def test_each_kernel_of_a_cpu_computes_attention(name, window, kind):
    seconds, error = attention_trial(name, replace(SHAPE, window=window), "cpu", kind, tries=1, tokens=80)
    assert seconds > 0 and 0 < error <= attention_tolerance(kind)


@pytest.mark.parametrize("name", ["cudnn", "efficient"])
def test_a_kernel_that_is_not_there(name):
    assert attention_trial(name, SHAPE, "cpu", "fp32", 1, 80) is None
    with pytest.raises(UserError, match=f"--attention {name} does not run for this model in fp32 on cpu"):
        choose(TrainConfig(device="cpu", precision="fp32", compile="off", attention=name), 5, SHAPE)


def test_a_trial_sees_a_kernel_that_is_wrong(monkeypatch):
    right = torch.nn.functional.scaled_dot_product_attention

    def no_mask(q, k, v, attn_mask=None, is_causal=False):
        return right(q, k, v)

    def stale_gradient(q, k, v, attn_mask=None, is_causal=False):
        return right(q, k.detach() + 0 * k, v, attn_mask=attn_mask, is_causal=is_causal)

    for wrong in (no_mask, stale_gradient):
        monkeypatch.setattr(precision.F, "scaled_dot_product_attention", wrong)
        assert attention_trial("flash", SHAPE, "cpu", "bf16", 1, 80)[1] > 10 * attention_tolerance("bf16")


def test_the_fastest_right_kernel_is_taken_and_remembered(monkeypatch):
    trials = {"flash": (0.002, 1e-6), "cudnn": (0.001, 0.5), "efficient": None, "math": (0.003, 1e-6)}
    monkeypatch.setattr(precision, "attention_trial", lambda name, *args: trials[name])
    name, why = pick_attention(SHAPE, "cpu", "fp32", names=tuple(trials))
    assert name == "flash" and "flash 2.00 ms, cudnn does not fit, efficient does not fit, math 3.00 ms" in why
    monkeypatch.setattr(precision, "attention_trial", lambda *args: pytest.fail("measured again"))
    assert pick_attention(SHAPE, "cpu", "fp32", names=tuple(trials)) == (name, why)
    trials = dict.fromkeys(trials)
    monkeypatch.setattr(precision, "attention_trial", lambda name, *args: None)
    assert pick_attention(replace(SHAPE, heads=6, kv_heads=2), "cpu", "fp32")[0] == "torch"


def test_a_gpu_is_probed_and_a_cpu_or_a_short_run_is_not(monkeypatch):
    asked = []
    monkeypatch.setattr(precision, "pick_device", lambda name: name)
    monkeypatch.setattr(precision, "device_name", lambda device: device)
    monkeypatch.setattr(precision, "pick_attention", lambda *args: asked.append(args) or ("cudnn", "a reason"))
    named = dict(precision="bf16", compile="off")
    assert choose(TrainConfig(device="cpu", **named), 3000, SHAPE) == choose(TrainConfig(device="cpu", **named), 3000)
    assert choose(TrainConfig(device="cuda", **named), 5, SHAPE).attention == "torch" and not asked
    assert choose(TrainConfig(device="cuda", attention="torch", **named), 3000, SHAPE).attention == "torch"
    policy = choose(TrainConfig(device="cuda", **named), 3000, SHAPE)
    assert policy.attention == "cudnn" and policy.reasons[-1] == "cudnn attention: a reason"
    assert asked == [(SHAPE, "cuda", "bf16")]


def test_inside_the_context_the_chosen_kernel_runs_also_in_backward():
    q = torch.randn(2, 3, 40, 32, requires_grad=True)
    sdpa = torch.nn.functional.scaled_dot_product_attention
    for name, flash in (("torch", True), ("flash", True), ("math", False)):
        with Policy("cpu", "fp32", False, (), name).attends():
            again = torch.utils.checkpoint.checkpoint(sdpa, q, q, q, is_causal=True, use_reentrant=False)
            again.sum().backward()  # computes it again, and refuses another kernel, which would keep other tensors
            assert ("Flash" in type(sdpa(q, q, q, is_causal=True).grad_fn).__name__) == flash
    with Policy("cuda", "bf16", False, (), "cudnn").attends():  # first among all
        first = torch.nn.attention._cur_sdpa_kernel_backends(with_priority=True)
        assert first[0] == precision.BACKENDS["cudnn"] and set(first) >= set(precision.BACKENDS.values())


# ---- fp8 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capability, installed, tp, words", [
    (None, True, 1, "needs a GPU of compute capability 8.9 or newer, and this is cpu"),
    ((8, 6), True, 1, "needs a GPU of compute capability 8.9 or newer, and this is a card"),
    ((9, 0), False, 1, "pip install torchao"), ((9, 0), True, 2, "does not go with --tp"),
])  # fmt: skip
def test_fp8_is_refused_in_a_sentence(monkeypatch, capability, installed, tp, words):
    if capability:
        monkeypatch.setattr(precision, "pick_device", lambda name: "cuda")
        monkeypatch.setattr(precision, "device_name", lambda device: "a card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(precision, "find_spec", lambda name: object() if installed else None)
    with pytest.raises(UserError, match=words):
        choose(TrainConfig(device="cpu", precision="fp8", parallel="fsdp", tp=tp), 3000, SHAPE)


def test_fp8_rounds_the_products_of_blocks_and_nothing_else():
    """torchao's emulation, on a CPU: the weights stay as they are, and the losses stay near bf16's."""
    pytest.importorskip("torchao", reason="torchao is an extra, and not installed")
    tokens, losses = torch.randint(300, (4, 33), generator=torch.Generator().manual_seed(1)), {}
    for kind in ("fp32", "bf16", "fp8"):
        policy = Policy("cpu", kind, False, ())
        model = GPT(SHAPE)
        names = [(name, p.shape) for name, p in model.named_parameters()]
        policy.to_float8(model)
        assert [(name, p.shape) for name, p in model.named_parameters()] == names
        eights = [name for name, part in model.named_modules() if type(part).__name__ == "Float8Linear"]
        assert len(eights) == (2 * 7 if kind == "fp8" else 0) and all(name.startswith("blocks.") for name in eights)
        optimizer, losses[kind] = torch.optim.AdamW(model.parameters(), lr=3e-3), []
        for _ in range(6):
            with policy.autocast():
                loss = model(tokens[:, :-1], tokens[:, 1:])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses[kind].append(loss.item())
    far = {kind: max(abs(a / b - 1) for a, b in zip(losses[kind], losses["fp32"])) for kind in losses}
    assert 0 < far["bf16"] < 2**-8 and far["bf16"] < far["fp8"] < 2**-4
