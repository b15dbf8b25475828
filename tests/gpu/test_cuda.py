"""What only a GPU can show, by the functions that `doctor --gpu --full` runs (tests/test_preflight.py runs them on a
CPU): does the card compute what the CPU computes, in every format, compiled, with every kernel, on two cards, after -9?
"""
import pytest
import torch

pytestmark = [pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"), pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shared, so that the CPU's losses are computed once."""
    return tmp_path_factory.mktemp("gpu")


@pytest.mark.parametrize("compile", ["off", "on"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "fp8"])
def test_losses_are_those_of_the_cpu(folder, precision, compile):
    from minigpt import preflight, UserError
    from minigpt.precision import refuse_fp8

    if precision == "fp8":
        try:
            refuse_fp8("cuda", 1)
        except UserError as why:
            pytest.skip(str(why))
    found = preflight.parity(preflight.SMALL, folder, "cuda", precision, compile)
    assert found["ok"], found


@pytest.mark.parametrize("name", ["flash", "cudnn", "efficient", "math"])
@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_attention_kernels_compute_attention(name, precision):
    from minigpt import preset
    from minigpt.precision import attention_tolerance, attention_trial

    trial = attention_trial(name, preset("gpt2-124m").model, "cuda", precision)
    if trial is None:
        pytest.skip(f"{name} does not run on this card in {precision}")
    assert trial[1] <= attention_tolerance(precision)


def test_a_kernel_is_chosen_and_used(tmp_path, monkeypatch):
    from minigpt import preset
    from minigpt.config import TrainConfig
    from minigpt.precision import BACKENDS, choose

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    policy = choose(TrainConfig(device="cuda"), 3600.0, preset("gpt2-124m").model)
    assert policy.attention in BACKENDS and "attention" in policy.reasons[-1]
    q = torch.randn(2, 12, 256, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    words = {"flash": "Flash", "cudnn": "Cudnn", "efficient": "Efficient", "math": "View"}
    with policy.attends():
        y = torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)
    assert words[policy.attention] in type(y.grad_fn).__name__


def test_kill_and_resume(folder):
    from minigpt import preflight

    found = preflight.kill_and_resume(preflight.SMALL, folder, "cuda")
    assert found["ok"], found


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices here")
def test_two_cards_share_a_model(folder):
    from minigpt import preflight

    assert preflight.parity(preflight.SMALL, folder, "cuda", "fp32", ranks=2)["ok"]
    assert preflight.links("cuda", torch.cuda.device_count())[1]
