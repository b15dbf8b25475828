"""Where and in which number format to compute: device, precision, compile; chosen by measuring, with a reason."""
import json
import os
import platform
import shutil
import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass

import torch

from .config import TrainConfig, UserError
from .files import cache_folder

SHORT_RUN = 30.0
"""Seconds below which nothing is probed or compiled: it could not pay."""
COMPILE_PAYS = 90.0
"""Seconds of training from which compiling for about half a minute pays."""


@dataclass(frozen=True)
class Policy:
    """How to compute, and why. `reasons` are sentences for the person who waits."""

    device: str
    precision: str
    compile: bool
    reasons: tuple[str, ...]

    def autocast(self):
        """The context for a forward pass: matrix products in bf16 or fp16, everything delicate in fp32."""
        if self.precision == "fp32":
            return nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(torch.device(self.device).type, dtype)

    def grad_scaler(self, group=None) -> torch.amp.GradScaler:
        """Scales the loss so that small gradients survive fp16; does nothing in other formats. With a process group the
        ranks that hold one gradient in pieces decide together."""
        if group is not None and self.precision == "fp16":
            from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

            return ShardedGradScaler(torch.device(self.device).type, process_group=group)
        return torch.amp.GradScaler(torch.device(self.device).type, enabled=self.precision == "fp16")


def choose(config: TrainConfig, seconds: float) -> Policy:
    """Turn every "auto" into a choice for a run of about `seconds`. A named choice is taken, or refused: UserError."""
    device = pick_device(config.device)
    precision, why = config.precision, "as you asked"
    if precision == "auto":
        precision, why = pick_precision(device, seconds)
    reasons = [f"{precision} on {device_name(device)}: {why}"]
    compile_, why = config.compile == "on", "as you asked"
    if config.compile == "auto":
        compile_, why = pick_compile(device, seconds)
    reasons.append(f"{'compiled' if compile_ else 'not compiled'}: {why}")
    if compile_:
        isolate_compile_cache()
    return Policy(device, precision, compile_, tuple(reasons))


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
