"""From the recipe of GPT-2 to ours, one change at a time: how long until a fixed loss on one text?

The text is 1.1 MB of plays, the target that of the verb `speedrun`: 2.7205 bits per byte, which nanoGPT's CPU recipe
reaches. Each arm after the recipe keeps the changes of those before it. How many steps an arm takes was chosen with
seed 0 so that it passes the target shortly before its end: a run that is planned too long wastes time at a high rate.
The clock starts with the set-up, which trains the tokenizer, and stands still during evaluations.

The arms named "ours, …" change one thing of the last recipe, at the same number of steps; what they cost or save is
read from the same curves. No setting was tuned for them.
"""
import tempfile
from dataclasses import replace
from pathlib import Path

from minigpt.classroom.speedrun import REFERENCE, TARGET, attempt, time_to, track
from minigpt.config import DataConfig, ModelConfig, OptimConfig, RunConfig

WHAT = "Seconds to 2.72 bits per byte on plays, from the recipe of GPT-2 to ours, one change at a time."
AXES = "step", "bits per byte of held-out text"
SEEDS = 0, 1, 2
FLOOR = 0.03
MODEL = dict(family="gpt2", layers=4, width=128, heads=4, kv_heads=4, head_size=32, mlp_width=512, context=64,
             vocab_size=257, activation="gelu", norm_eps=1e-5)  # fmt: skip
OPTIM = dict(batch_tokens=768, optimizer="adamw", lr=1e-3, beta2=0.99, schedule="cosine", warmup=0.05, final_lr=0.1,
             weight_decay=0.1)  # fmt: skip
CHANGES = [  # name, steps, fields of the model, fields of the optimizer
    ("the recipe of GPT-2", 1800, {}, {}),
    ("tokens instead of bytes", 230, dict(vocab_size=4096), {}),
    ("Muon for the matrices", 146, {}, dict(optimizer="muon", matrix_lr=0.02)),
    ("a higher rate for the rest", 78, {}, dict(lr=4e-3)),
    ("RMSNorm, rotary positions, no biases", 60, dict(family="modern", norm_eps=1e-6), {}),
    ("two layers of width 64", 112, dict(layers=2, width=64, heads=1, kv_heads=1, head_size=64, mlp_width=128), {}),
    ("linear decay to zero", 84, {}, dict(schedule="wsd", warmup=0.02, final_lr=0.0, beta2=0.95)),
    ("rates of 0.015 and 0.03", 51, {}, dict(lr=0.015, matrix_lr=0.03)),
    ("momentum 0.5", 46, {}, dict(momentum=0.5)),
    ("512 tokens a step", 61, {}, dict(batch_tokens=512)),
    ("a context of 32", 63, dict(context=32), {}),
    ("squared ReLU", 66, dict(activation="relu2"), {}),
    ("ours", 72, dict(zero_init=True), {}),
]
OTHERS = {  # each changes `ours`
    "SwiGLU": (dict(activation="swiglu"), {}),
    "soft-capped logits": (dict(softcap=15.0), {}),
    "untied head": (dict(tied=False), {}),
    "no weight decay": ({}, dict(weight_decay=0.0)),
    "cosine": ({}, dict(schedule="cosine")),
}


def arms() -> dict[str, dict]:
    model, optim, path = MODEL, OPTIM, {}
    for name, steps, m, o in CHANGES:
        model, optim = model | m, optim | o
        path[name] = {"model": model, "optim": optim | {"steps": steps}}
    ours = path.pop("ours")
    others = {f"ours, {name}": {"model": ours["model"] | m, "optim": ours["optim"] | o}
              for name, (m, o) in OTHERS.items()}  # fmt: skip
    return {"ours": ours} | path | others


def run(settings: dict, seed: int) -> dict:
    optim = OptimConfig(seed=seed, **settings["optim"])
    with tempfile.TemporaryDirectory() as folder:
        train, val = track(Path(folder))
        where = replace(REFERENCE.train, out=f"{folder}/run", eval_every=max(1, optim.steps // 12))
        config = RunConfig(ModelConfig(**settings["model"]), DataConfig(text=(train,), val_text=val), optim, where)
        found = attempt(config, since=round(0.7 * optim.steps))
    step, seconds, loss = (list(column) for column in zip(*found["curve"]))
    return {"x": step, "y": loss, "seconds": min(time_to(found["curve"], TARGET), 1e9), "whole": seconds[-1],
            "tokens": step[-1] * optim.batch_tokens, "parameters": found["parameters"]}  # fmt: skip
