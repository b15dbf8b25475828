"""What `test_parallel.py` lets torchrun's ranks do: python parallel_ranks.py FOLDER, whose data/ is there.

Rank 0 leaves FOLDER/found_<world>.json and, for gradients, FOLDER/gradients_<world>_<name>.safetensors.
"""
import json
import math
import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from minigpt import ModelConfig, OptimConfig, RunConfig, train
from minigpt.config import DataConfig, TrainConfig
from minigpt.model import GPT
from minigpt.parallel import (Layout, agree, as_whole, fill_weights, local_piece, micro_step, parallelize, place,
                              replicate)  # fmt: skip

STEPS = 20
FLAGS = dict.fromkeys(("time limit", "cost limit", "interrupted", "save"), False)
MODERN = ModelConfig(layers=2, width=64, heads=4, kv_heads=2, head_size=16, mlp_width=96, context=24, vocab_size=300)
GPT2 = ModelConfig("gpt2", layers=2, width=64, heads=4, kv_heads=4, head_size=16, mlp_width=96, context=24,
                   vocab_size=300, activation="gelu", norm_eps=1e-5)  # fmt: skip
RECIPES = {  # name -> (model, optimizer)
    "modern tied muon": (MODERN, "muon"),
    "modern untied muon": (replace(MODERN, tied=False), "muon"),
    "gpt2 tied adamw": (GPT2, "adamw"),
}
PARTS = {"modern tied muon": (1, 2, 4), "modern untied muon": (1, 2, 4), "gpt2 tied adamw": (2,)}
"""Micro-batches in a step."""
LAYOUTS = {
    1: {"one": ("none", (1, 1, 1))},
    2: {"ddp2": ("ddp", (2, 1, 1)), "fsdp2": ("fsdp", (1, 2, 1)), "tp2": ("fsdp", (1, 1, 2))},
    4: {"ddp4": ("ddp", (4, 1, 1)), "fsdp4": ("fsdp", (1, 4, 1)), "fsdp2 tp2": ("fsdp", (1, 2, 2)),
        "hsdp2x2": ("fsdp", (2, 2, 1))},
}  # fmt: skip

TRADED = "fsdp2", "fsdp2 tp2"
"""Layouts in which also the ways to trade memory for time are tried."""


def config(folder: Path, name: str, recipe: str, micro: int, **flags) -> RunConfig:
    model, optimizer = RECIPES[recipe]
    return RunConfig(
        model, DataConfig(data=str(folder / "data")),
        # a higher rate would make AdamW amplify rounding: GPT-2's key biases have a gradient of zero but for rounding
        OptimConfig(seed=3, steps=STEPS, batch_tokens=16 * 24, optimizer=optimizer, matrix_lr=0.03,
                    lr=0.01 if optimizer == "muon" else 0.001),
        TrainConfig(out=str(folder / "runs" / f"{name} {recipe} {micro} {flags}"), device="cpu", precision="fp32",
                    compile="off", samples=0, micro_batch=micro, **flags),
    )  # fmt: skip


def losses(config: RunConfig, layout: Layout) -> dict:
    """20 steps: the loss of the whole batch and the gradient's norm, and the bytes that this rank held."""
    t = train.setup(config, say=lambda sentence: None, layout=layout)
    found = {"loss": [], "norm": [], "bytes": 0, "whole": 4 * sum(p.numel() for p in t.model.parameters())}
    while t.step < t.steps:
        loss = train.forward_backward(t, train.next_batch(t))
        found["bytes"] = 4 * sum(local.numel() + local.grad.numel() for _, local in t.pieces)
        norm = train.optimizer_step(t)
        t.step += 1
        found["loss"].append(agree(layout, loss, FLAGS)[0].item())
        found["norm"].append(norm.item())
    slots = [v for o in t.optimizers for s in o.state.values() for v in s.values()]
    found["bytes"] += 4 * sum(v.numel() for v in slots if v.ndim)
    found |= train.evaluate_step(t)
    t.batches.close()
    return found


def gradients(config: RunConfig, layout: Layout) -> dict[str, torch.Tensor]:
    """Whole gradients of the first batch, by name."""
    t = train.setup(config, say=lambda sentence: None, layout=layout)
    train.forward_backward(t, train.next_batch(t))
    t.batches.close()
    found = {}
    for name, p in t.model.named_parameters():
        local = local_piece(p)
        grad = as_whole(local.grad, p)
        found[name] = (grad.full_tensor() if grad is not local.grad else grad).clone()
    return found


def count_bytes(recipe: str, mode: str, sizes: tuple[int, int, int], micro: int, unsharded: bool) -> int:
    """Bytes of gradients handed to collectives in one step, among ranks that are only pretended."""
    from torch.testing._internal.distributed.fake_pg import FakeStore
    from torch.utils._python_dispatch import TorchDispatchMode

    counted = 0

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, op, types, args=(), kwargs=None):
            nonlocal counted
            given = {"c10d::_reduce_scatter_base_": 1, "c10d::reduce_scatter_single_": 1, "c10d::allreduce_": 0}
            if (place := given.get(op._schema.name)) is not None:
                tensors = args[place] if isinstance(args[place], list) else [args[place]]
                counted += sum(t.numel() * t.element_size() for t in tensors)
            return op(*args, **(kwargs or {}))

    dist.init_process_group("fake", rank=0, world_size=math.prod(sizes), store=FakeStore())
    layout, (c, _) = place(mode, sizes), RECIPES[recipe]
    with torch.device("meta"):
        model = GPT(c)
    forward = parallelize(model, layout)
    fill_weights(model, 0, "cpu")
    if mode == "ddp":
        forward = replicate(model, layout)
    tokens = torch.zeros(2, 9, dtype=torch.int64)
    for number in range(1, micro + 1):
        with micro_step(forward, layout, number == micro, unsharded):
            loss = forward(tokens[:, :-1], tokens[:, 1:], reduction="sum")
            with Count() if sizes[2] == 1 else nullcontext():
                loss.backward()
    dist.destroy_process_group()
    return counted


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        dist.init_process_group("gloo")
    found = {}
    for name, (mode, sizes) in LAYOUTS[world].items():
        layout = place(mode, sizes) if world > 1 else Layout()
        rows = 16 // layout.data_world
        for recipe in RECIPES:
            for parts in PARTS[recipe] if world > 1 else (1,):
                found[f"{name} | {recipe} | {parts}"] = losses(config(folder, name, recipe, rows // parts), layout)
            grads = gradients(config(folder, f"{name} gradients", recipe, rows // 2 or 1), layout)
            if layout.leads:
                save_file(grads, folder / f"gradients_{name}_{recipe}.safetensors")
        if name in TRADED:
            once = config(folder, name, "modern tied muon", rows // 2, accumulate_unsharded=True)
            found[f"{name} | modern tied muon | unsharded"] = losses(once, layout)
            for kind in ("selective", "full"):
                again = config(folder, name, "modern tied muon", rows, activations=kind)
                found[f"{name} | modern tied muon | {kind}"] = losses(again, layout)
        if layout.leads:
            (folder / f"found_{world}.json").write_text(json.dumps(found))
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    if sys.argv[1] == "bytes":
        print(json.dumps([count_bytes(*case) for case in json.loads(sys.argv[2])]))
    else:
        main(Path(sys.argv[1]))
