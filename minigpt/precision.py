"""Where and how to compute: device, number format, compile, attention; chosen by measuring, with a reason."""
import json
import os
import platform
import re
import shutil
import sys
import time
import warnings
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .config import ModelConfig, TrainConfig, UserError
from .files import cache_folder
from .model import attention, attention_mask

SHORT_RUN = 30.0
"""Seconds below which nothing is probed or compiled: it could not pay."""
COMPILE_PAYS = 90.0
"""Seconds of training from which compiling for about half a minute pays."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp8": torch.bfloat16}
"""What autocast computes in; under fp8 everything but the blocks' matrices."""
BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION,
            "efficient": SDPBackend.EFFICIENT_ATTENTION, "math": SDPBackend.MATH}  # fmt: skip
"""The kernels that torch has for attention. The last one stores T by T weights and runs everywhere."""


@dataclass(frozen=True)
class Policy:
    """How to compute, and why. `reasons` are sentences for the person who waits."""

    device: str
    precision: str
    compile: bool
    reasons: tuple[str, ...]
    attention: str = "torch"
    """One of BACKENDS, or torch: as torch chooses."""

    def autocast(self):
        """The context for a forward pass: matrix products in bf16 or fp16, everything delicate in fp32."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, DTYPES[self.precision])

    def attends(self):
        """The context for forward and backward (which may compute attention again) with the chosen kernel; on a GPU the
        others stay allowed, for a mask that it cannot take. Compiled code keeps the kernel of its first call."""
        if self.attention == "torch":
            return nullcontext()
        if self.device == "cpu":  # where torch knows no order of preference
            return sdpa_kernel(BACKENDS[self.attention])
        return sdpa_kernel([BACKENDS[self.attention], *BACKENDS.values()], set_priority=True)

    def to_float8(self, model: nn.Module) -> None:
        """Under fp8, let the blocks' linear layers multiply in 8 bits, in place; their weights stay what they are.

        torchao scales each tensor by its largest entry, anew in every step (Micikevicius et al. 2022, arXiv 2209.05433,
        for the formats). The hardware wants sizes that are multiples of 16. Without a GPU the rounding is emulated.
        """
        if self.precision != "fp8":
            return
        from torchao.float8 import Float8LinearConfig, convert_to_float8_training

        convert_to_float8_training(
            model, config=Float8LinearConfig(emulate=not self.device.startswith("cuda")),
            module_filter_fn=lambda part, name: name.startswith("blocks.") and not any(
                size % 16 for size in part.weight.shape))  # fmt: skip

    def grad_scaler(self, group=None) -> torch.amp.GradScaler:
        """Scales the loss so that small gradients survive fp16; does nothing in other formats. With a process group the
        ranks that hold one gradient in pieces decide together."""
        if group is not None and self.precision == "fp16":
            from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

            return ShardedGradScaler(torch.device(self.device).type, process_group=group)
        return torch.amp.GradScaler(torch.device(self.device).type, enabled=self.precision == "fp16")


def choose(config: TrainConfig, seconds: float, model: ModelConfig | None = None) -> Policy:
    """Turn every "auto" into a choice for a run of about `seconds`. A named choice is taken, or refused: UserError.

    Attention is chosen for the shape of `model`; without one, and on a CPU, torch chooses.
    """
    device = pick_device(config.device)
    precision, why = config.precision, "as you asked"
    if precision == "auto":
        precision, why = pick_precision(device, seconds)
    elif precision == "fp8":
        refuse_fp8(device, config.tp)
    reasons = [f"{precision} on {device_name(device)}: {why}"]
    compile_, why = config.compile == "on", "as you asked"
    if config.compile == "auto":
        compile_, why = pick_compile(device, seconds)
    reasons.append(f"{'compiled' if compile_ else 'not compiled'}: {why}")
    if compile_:
        isolate_compile_cache()
    kernel = config.attention
    if kernel == "auto":
        kernel = "torch"
        if model is not None and device.startswith("cuda") and seconds >= SHORT_RUN:
            kernel, why = pick_attention(model, device, precision)
            reasons.append(f"{kernel} attention: {why}")
    elif kernel != "torch" and model is not None and attention_trial(kernel, model, device, precision, 1, 1) is None:
        raise UserError(f"--attention {kernel} does not run for this model in {precision} on {device_name(device)}: "
                        "leave it on auto.")  # fmt: skip
    return Policy(device, precision, compile_, tuple(reasons), kernel)


def pick_device(name: str) -> str:
    """A device that works. `auto`: the accelerator if there is one; a named one is never replaced by another."""
    kind = name.split(":")[0]
    if kind not in ("auto", "cpu", "cuda", "mps"):
        raise UserError(f"unknown device {name!r}: choose auto, cpu, cuda or mps.")
    has_mps = torch.backends.mps.is_available()
    if kind == "cuda" or (kind == "auto" and torch.cuda.is_available()):
        device = name if kind == "cuda" else "cuda"
        try:
            torch.ones(8, device=device).sum().item()
            return device
        except (RuntimeError, AssertionError) as error:
            built = torch.version.cuda or torch.version.hip
            advice = f"this PyTorch needs a driver for CUDA {built}; see what `nvidia-smi` says, or use --device cpu"
            if not built:
                advice = "this PyTorch was built without CUDA; install its CUDA build, or use --device cpu"
            why = str(error).strip().splitlines()[0].rstrip(".")
            raise UserError(f"no usable GPU for --device {name} ({why}): {advice}.") from None
    if kind == "mps" and not has_mps:
        raise UserError("no usable Apple GPU for --device mps: use --device cpu.")
    return "mps" if kind == "mps" or (kind == "auto" and has_mps) else "cpu"


def device_name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{device} ({torch.get_num_threads()} threads)" if device == "cpu" else device


def pick_precision(device: str, seconds: float) -> tuple[str, str]:
    """bf16 where the hardware multiplies it fast. On a CPU that is measured: without the right instructions it is tens
    of times slower than fp32, and no flag tells reliably."""
    if device.startswith("cuda"):
        major, minor = torch.cuda.get_device_capability(device)
        if major >= 8:
            return "bf16", f"compute capability {major}.{minor} multiplies bf16 fast"
        return "fp16", f"compute capability {major}.{minor} has no bf16, fp16 needs a loss scaler and gets one"
    if device == "mps":
        return "fp32", "the safe choice on an Apple GPU"
    if seconds < SHORT_RUN:
        return "fp32", "a short run, so nothing was probed"
    ratio = bf16_speedup()
    if ratio > 1.5:
        return "bf16", f"a probe multiplied bf16 matrices {ratio:.1f} times as fast as fp32"
    return "fp32", f"a probe multiplied bf16 matrices only {ratio:.2g} times as fast as fp32"


def pick_compile(device: str, seconds: float) -> tuple[bool, str]:
    """Whether compiling pays, and why; on a CPU it costs up to half a minute."""
    if device == "mps":
        return False, "torch.compile is young on Apple GPUs"
    if seconds < COMPILE_PAYS:
        return False, f"a run of about {seconds:.0f} s is too short to win the compile time back"
    if device == "cpu" and shutil.which("cl" if sys.platform == "win32" else "c++") is None:
        return False, "no C++ compiler found"
    return True, "the run is long enough to win the compile time back"


def refuse_fp8(device: str, tp: int) -> None:
    """UserError where a training in fp8 cannot run."""
    if not device.startswith("cuda") or torch.cuda.get_device_capability(device) < (8, 9):
        raise UserError(f"--precision fp8 needs a GPU of compute capability 8.9 or newer, and this is "
                        f"{device_name(device)}: use bf16.")  # fmt: skip
    if find_spec("torchao") is None:
        raise UserError("--precision fp8 needs the package torchao: pip install torchao, or use bf16.")
    if tp > 1:
        raise UserError("--precision fp8 does not go with --tp: use --parallel fsdp alone, or bf16.")


def pick_attention(c: ModelConfig, device: str, precision: str, names=("flash", "cudnn", "efficient")) -> tuple:
    """(the fastest of these kernels that computes the right thing at this shape, why); takes about a second, once a
    machine: a choice that is remembered is the same again when a run resumes."""
    about = [device_name(device), torch.__version__, precision, c.heads, c.context, c.head_size, c.window]
    file = cache_folder() / f"attention-{re.sub('[^a-zA-Z0-9.]+', '-', ' '.join(map(str, about)))}.json"
    try:
        trials = json.loads(file.read_text())
    except (OSError, ValueError):
        trials = {name: attention_trial(name, c, device, precision) for name in names}
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(trials))
    right = {name: found[0] for name, found in trials.items() if found and found[1] <= attention_tolerance(precision)}
    if not right:
        return "torch", "none of the fused kernels fits"
    shown = [f"{name} {1e3 * right[name]:.2f} ms" if name in right else f"{name} does not fit" for name in trials]
    return min(right, key=right.get), f"forward and backward of a layer take {', '.join(shown)}"


def attention_trial(name: str, c: ModelConfig, device: str, precision: str, tries: int = 5,
                    tokens: int = 16384) -> tuple[float, float] | None:  # fmt: skip
    """(seconds, error) of one kernel for attention at the shape of a config, on about so many tokens; None where it
    does not run. Seconds are the best of `tries` forward and backward passes of one layer.

    error: the largest difference of output and gradients from attention written out in fp32, over the largest value;
    for one head and at most 2048 tokens, on which later ones have no influence, and which alone are given a gradient.
    """
    T, seen = c.context, min(c.context, 2048)
    draw = torch.Generator().manual_seed(0)
    shape, dtype = (max(1, tokens // T), c.heads, T, c.head_size), DTYPES[precision]
    q, k, v, upstream = (torch.randn(shape, generator=draw).to(device, dtype) for _ in range(4))
    upstream[:, :, seen:] = 0
    inputs = [t.requires_grad_() for t in (q, k, v)]
    mask = attention_mask(torch.zeros(1, T, device=device), window=c.window)
    times = []
    try:
        for _ in range(tries + 1):
            start = time.perf_counter()
            with warnings.catch_warnings(action="ignore"), sdpa_kernel(BACKENDS[name]):
                y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
            found = [y, *torch.autograd.grad(y, inputs, upstream)]
            found[-1][0, 0, 0, 0].item()  # waits for the device
            times.append(time.perf_counter() - start)
    except RuntimeError:  # no such kernel for this device, format, size or mask; or out of memory
        return None
    one = [t.detach()[:1, :1, :seen].float().requires_grad_() for t in inputs]
    triangle = torch.ones(seen, seen, dtype=torch.bool, device=device).tril() if mask is None else mask[:seen, :seen]
    expected, _ = attention(*one, triangle)
    expected = [expected, *torch.autograd.grad(expected, one, upstream[:1, :1, :seen].float())]
    error = max(((a[:1, :1, :seen].float() - b).abs().max() / b.abs().max()).item() for a, b in zip(found, expected))
    return min(times[1:]), error


def attention_tolerance(precision: str) -> float:
    """The largest error of `attention_trial` that rounding explains: a few roundings to the format of inputs, weights
    and output, and fp32 sums of up to 2048 terms; a wrong mask or scale is tens of percent off."""
    return 4 * torch.finfo(DTYPES[precision]).eps + 1e-5


def bf16_speedup() -> float:
    """How many times as fast bf16 matrices multiply as fp32 ones on this CPU, measured in under 0.1 s.

    The result is remembered for this machine if it is good: a busy moment can hide a speed-up, but not invent one.
    """
    file = cache_folder() / f"bf16-{instruction_set()}-{torch.__version__}-{torch.get_num_threads()}.json"
    try:
        return float(json.loads(file.read_text())["speedup"])
    except (OSError, ValueError, KeyError):
        pass

    def best_seconds(dtype, size, tries):
        a = torch.ones(size, size, dtype=dtype)
        times = []
        for _ in range(tries):
            start = time.perf_counter()
            a @ a
            times.append(time.perf_counter() - start)
        return min(times)

    # small first: where bf16 is a trap it is so slow that a larger product would take seconds
    speedup = best_seconds(torch.float32, 128, 10) / best_seconds(torch.bfloat16, 128, 10)
    if speedup > 0.1:
        speedup = best_seconds(torch.float32, 512, 5) / best_seconds(torch.bfloat16, 512, 5)
    if speedup > 1.5:
        with suppress(OSError):  # a read-only home: measured again next time
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"speedup": speedup}))
    return speedup


def instruction_set() -> str:
    return f"{platform.machine()}-{torch.backends.cpu.get_cpu_capability()}".replace(" ", "").lower()


def isolate_compile_cache() -> None:
    """One compile cache per instruction set: code built for AVX512 and loaded on AVX2 corrupts memory."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / f"compiled-{instruction_set()}"))


def be_deterministic(device: str) -> None:
    """On a CPU, make the same run give the same bits; on an accelerator this costs speed and is left to the user."""
    if device == "cpu":
        torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms, without a second of imports
        torch.utils.deterministic.fill_uninitialized_memory = False  # only a debugging aid, and not free
