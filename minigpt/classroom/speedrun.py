"""The speedrun: which change reaches a fixed loss sooner, on one text, at the same seeds?

The track is 1.1 MB of Shakespeare's plays, nine tenths to train on, and a target in bits per byte of the last tenth.
The reference is the preset `shakespeare`. An entry is the reference with your change: flags of `pretrain`, a file whose
`change(training)` is called after set-up and may replace what it likes (an optimizer, a part of the model), or both.

    python -m minigpt speedrun --matrix-lr 0.02          # a setting
    python -m minigpt speedrun --file mine.py            # code: def change(training): …

What makes the comparison honest: reference and entry run in turn, each in a process of its own, with the same seeds,
three or more; the clock runs from the start of set-up (tokenizer included) and stops while a model is evaluated; time
to the target is read off the curve of evaluations; the verdict comes with an interval; and every entry is counted,
because the best of many tries looks better than it is.
"""
import dataclasses
import importlib.util
import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from ..config import RunConfig, UserError, preset
from ..files import write_atomic
from .shelf import half_width, runs_folder

TARGET = 2.7205
"""Bits per byte: the loss that nanoGPT's README gives for its CPU recipe on this text, 1.8857 nats a character."""
REFERENCE = replace(preset("shakespeare"), train=replace(preset("shakespeare").train, device="cpu", precision="fp32",
                                                         compile="off", eval_every=5, samples=0))  # fmt: skip


def track(folder: Path) -> tuple[str, str]:
    """Write the track's text; (file to train on, file to measure on)."""
    from ..bench import plays

    text = plays()
    cut = int(len(text) * 0.9)
    files = folder / "train.txt", folder / "val.txt"
    for file, part in zip(files, (text[:cut], text[cut:])):
        write_atomic(file, part)
    return str(files[0]), str(files[1])


def attempt(config: RunConfig, change=None, since: int = 0) -> dict:
    """One run to its horizon, evaluated on all held-out text every `eval_every` steps while the clock stands still; not
    before step `since`, for an evaluation takes as long as many steps.

    Returns {"curve": [[step, seconds, bits per byte], …], "parameters": N}.
    """
    from ..accounting import parameters
    from ..train import evaluate_step, forward_backward, next_batch, optimizer_step, setup

    start, paused, curve = time.perf_counter(), 0.0, []
    t = setup(config, say=lambda sentence: None)
    if change is not None:
        change(t)
    try:
        while t.step < t.steps:
            loss = forward_backward(t, next_batch(t))
            optimizer_step(t)
            t.step += 1
            if t.step == t.steps or (t.step >= since and t.step % config.train.eval_every == 0):
                loss.item()  # the device has finished its work
                now = time.perf_counter()
                curve.append([t.step, now - start - paused, evaluate_step(t)["val_bpb"]])
                paused += time.perf_counter() - now
    finally:
        t.batches.close()
    return {"curve": curve, "parameters": parameters(config.model)}


def time_to(curve: list, target: float) -> float:
    """Seconds at which a curve of (step, seconds, loss) first is at the target, between two evaluations by a straight
    line; infinity if it never is.

    >>> time_to([[5, 1.0, 4.0], [10, 2.0, 3.0], [15, 3.0, 2.0]], 2.5)
    2.5
    """
    before = None
    for _, seconds, loss in curve:
        if loss <= target:
            if before is None:
                return seconds
            share = (before[1] - target) / (before[1] - loss)
            return before[0] + share * (seconds - before[0])
        before = seconds, loss
    return math.inf


def in_own_process(config: RunConfig, file: str = "") -> dict:
    """`attempt` in a fresh Python, so that no run warms another one up. UserError with the last line that it said."""
    command = [sys.executable, "-m", "minigpt.classroom.speedrun", config.to_json(), file]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise UserError(f"this run failed: {said[-1].removeprefix('minigpt: ')}")
    return json.loads(done.stdout.splitlines()[-1])


def verdict(reference: list[float], entry: list[float]) -> dict:
    """Of times in pairs, one pair a seed: how many times as fast the entry is, with its 95 % interval.

    The mean and its interval are those of the logarithms of the ratios (Student's t); "cannot tell" if it holds 1.

    >>> found = verdict([2.0, 4.0, 8.0], [1.0, 2.0, 4.0])
    >>> found["speedup"], found["verdict"]
    (2.0, 'faster')
    """
    if not all(map(math.isfinite, [*reference, *entry])):
        return {"speedup": None, "interval": None, "verdict": "missed the target"}
    logs = [math.log(a / b) for a, b in zip(reference, entry)]
    mean, half = sum(logs) / len(logs), float(half_width(logs))
    low, high = math.exp(mean - half), math.exp(mean + half)
    word = "faster" if low > 1 else "slower" if high < 1 else "cannot tell"
    return {"speedup": round(math.exp(mean), 3), "interval": [round(low, 3), round(high, 3)], "verdict": word}


def changed(entry: RunConfig) -> dict:
    """What an entry sets otherwise than the reference: {"matrix_lr": [0.03, 0.02]}."""
    found = {}
    for part in ("model", "data", "optim", "train"):
        a, b = getattr(REFERENCE, part), getattr(entry, part)
        found |= {f.name: [getattr(a, f.name), getattr(b, f.name)] for f in dataclasses.fields(a)
                  if getattr(a, f.name) != getattr(b, f.name)}  # fmt: skip
    return found


def speedrun(entry: RunConfig, file: str = "", seeds: int = 3, say=print) -> dict:
    """Run reference and entry in turn and compare; adds a line to runs/speedrun.jsonl. Returns what that line holds."""
    if seeds < 3:
        raise UserError(f"--seeds {seeds}: a comparison needs three seeds or more, or its interval says nothing.")
    for name in ("text", "val_text", "data"):
        if getattr(entry.data, name) != getattr(REFERENCE.data, name):
            raise UserError(f"--{name.replace('_', '-')} is fixed: every entry runs on the same text.")
    if file and not Path(file).exists():
        raise UserError(f"there is no {file}: --file names a Python file that defines change(training).")
    difference = changed(entry)
    rows: dict[str, list[dict]] = {"reference": [], "entry": []}
    with tempfile.TemporaryDirectory() as folder:
        train, val = track(Path(folder))
        say(f"to {TARGET} bits per byte on plays; what is changed: "
            + (", ".join(f"{name} {a} → {b}" for name, (a, b) in difference.items()) or ("" if file else "nothing"))
            + (f" {file}" if file else ""))  # fmt: skip
        for seed in range(seeds):
            pair = {"reference": (REFERENCE, ""), "entry": (entry, file)}
            for who in sorted(pair, reverse=seed % 2 == 0):  # who goes first alternates
                config, code = pair[who]
                config = replace(
                    config, data=replace(config.data, text=(train,), val_text=val),
                    optim=replace(config.optim, seed=seed), train=replace(config.train, out=f"{folder}/{who}{seed}"),
                )  # fmt: skip
                found = in_own_process(config, code)
                end = found["curve"][-1][2]
                rows[who].append({"seconds": time_to(found["curve"], TARGET), "val_bpb": end,
                                  "steps": found["curve"][-1][0], "parameters": found["parameters"]})  # fmt: skip
            shown = (f"{who} {sentence(rows[who][-1])}" for who in rows)
            say(f"seed {seed}: " + ", ".join(shown))
    times = [[row["seconds"] for row in rows[who]] for who in rows]
    found = {"target": TARGET, "changed": difference, "file": file, **rows, **verdict(*times)}
    found = json.loads(json.dumps(found).replace("Infinity", "null"))
    journal = runs_folder() / "speedrun.jsonl"
    journal.parent.mkdir(parents=True, exist_ok=True)
    with open(journal, "a", encoding="utf-8") as lines:
        lines.write(json.dumps(found) + "\n")
    number = len(journal.read_text(encoding="utf-8").splitlines())
    if found["interval"]:
        low, high = found["interval"]
        say(f"the entry is {found['speedup']:.2f} times as fast (95 % interval {low:.2f} to {high:.2f}, {seeds} "
            f"seeds): {found['verdict']}")  # fmt: skip
    else:
        say("not every run reached the target: give it more --steps, or it is no entry.")
    say(f"This was entry {number} in {journal.name}." + (
        " The best of many entries looks better than it is: run it again with other --seeds before you believe it."
        if number > 3 else ""))  # fmt: skip
    return found


def sentence(row: dict) -> str:
    reached = f"{row['seconds']:.2f} s" if math.isfinite(row["seconds"]) else "never"
    return f"{reached} (ends at {row['val_bpb']:.3f} after {row['steps']} steps)"


def load_change(file: str):
    """`change` of an entry's file. Its errors are the learner's, and are shown as Python shows them."""
    spec = importlib.util.spec_from_file_location("entry", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, "change", None)):
        raise UserError(f"{file} defines no change(training).")
    return module.change


if __name__ == "__main__":  # python -m minigpt.classroom.speedrun CONFIG [FILE]
    try:
        print(json.dumps(attempt(RunConfig.from_json(sys.argv[1]), load_change(sys.argv[2]) if sys.argv[2] else None)))
    except UserError as error:
        sys.exit(f"minigpt: {error}")
