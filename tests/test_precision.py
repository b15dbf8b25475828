"""The choice of device, format and compile: by measuring, with a reason, and never a silent fall-back."""
import time
from pathlib import Path

import pytest
import torch

from minigpt import precision
from minigpt.config import TrainConfig, UserError
from minigpt.precision import Policy, bf16_speedup, choose, pick_device


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
