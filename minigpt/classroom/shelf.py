"""What a lesson takes off the shelf: an experiment that was recorded, and a model that was trained before.

An experiment longer than its lesson is a script, `notebooks/records/04_scale.py`, and a record beside it, the .json of
the same name. The script is ordinary Python with these names:

    WHAT = "Training with and without the factor 1/√d, at three head sizes."
    AXES = "step", "training loss"                       # of the curves
    SEEDS = 0, 1, 2                                      # two or more
    FLOOR = 0.01                                         # optional: smallest half-width of the band of one new run
    def arms() -> dict[str, Any]: ...                    # name → settings that JSON can hold; the smallest arm first
    def run(settings, seed: int) -> dict[str, Any]: ...  # {"x": […], "y": […], and numbers by name}

`redo("04.scale")` runs every arm with every seed and writes the record; `recorded("04.scale")` reads it. Beside it a
lesson reruns the smallest arm, `record.live()`, which must end where the record says that such a run ends.

`model_from("00")` opens the model that the learner trained in lesson 00, or trains a small one in its place.
"""
import difflib
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig, UserError
from ..files import cache_folder, write_atomic
from ..report import duration
from .depends import bare_code, closure, module_path
from .lessons import LESSONS, ROOT

RECORDS = LESSONS / "records"
MOST_BYTES = 100_000
"""Of a record: it lives in git, and a curve needs no more points than a picture has."""
MOST_POINTS = 200
T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""97.5 % quantiles of Student's t with 1 … 10 degrees of freedom. With more we use the last, which is a little wide."""


def runs_folder() -> Path:
    """Where the learner's runs are; a build points it at an empty folder, so that it depends on none of them."""
    return Path(os.environ.get("MINIGPT_RUNS") or ROOT / "runs")


# ---- records ---------------------------------------------------------------------------------------------------------


def half_width(values) -> np.ndarray:
    """Of the 95 % interval of a mean, from n values along the first axis: t·s/√n, with s over n - 1.

    Example: half_width([0.0, 1.0, 2.0]) -> 4.303 · 1 / √3 = 2.48
    """
    values = np.asarray(values, float)
    n = len(values)
    return T_95[min(n - 2, len(T_95) - 1)] * values.std(0, ddof=1) / np.sqrt(n)


class Curve(NamedTuple):
    """What one run gave: x and y (N,) float64, its other numbers, and the seconds it took."""

    x: np.ndarray
    y: np.ndarray
    numbers: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Record:
    """An experiment as it was recorded. An arm is one setting of what the experiment varies."""

    name: str
    content: dict[str, Any]
    """The record's JSON, as `redo` wrote it."""

    @property
    def what(self) -> str:
        return self.content["what"]

    @property
    def axes(self) -> tuple[str, str]:
        """Names of x and y."""
        return tuple(self.content["axes"])

    @property
    def seeds(self) -> list[int]:
        return self.content["seeds"]

    @cached_property
    def arms(self) -> list[str]:
        """Names of the arms, the smallest first."""
        return list(self.content["arms"])

    def x(self, arm: str) -> np.ndarray:
        """(N,): where the curves of an arm were measured."""
        return np.array(self._arm(arm)["x"], float)

    def curves(self, arm: str) -> np.ndarray:
        """(seeds, N): y of every run of an arm."""
        return np.array(self._arm(arm)["y"], float)

    def numbers(self, arm: str, name: str) -> np.ndarray:
        """(seeds,): another number that the runs of an arm gave."""
        return np.array([numbers[name] for numbers in self._arm(arm)["numbers"]], float)

    def mean(self, arm: str) -> np.ndarray:
        """(N,): mean over the seeds."""
        return self.curves(arm).mean(0)

    def band(self, arm: str, one_run: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each (N,): the 95 % interval of the mean, or with one_run the one in which a new run should lie.

        With n seeds and their standard deviation s (n - 1 in its denominator), the half-width is t·s/√n for the mean
        and t·s·√(1 + 1/n) for one new run, whose own luck adds to that of the mean; t is Student's for n - 1 degrees of
        freedom. The band of a new run is at least as wide as the experiment's floor, for sums differ between machines.
        """
        curves = self.curves(arm)
        half = half_width(curves)
        if one_run:
            half = np.maximum(half * np.sqrt(len(curves) + 1), self.content["floor"])
        return curves.mean(0) - half, curves.mean(0) + half

    def end(self, arm: str) -> tuple[float, float]:
        """(low, high): between these 95 of 100 new runs of an arm end."""
        low, high = self.band(arm, one_run=True)
        return low[-1], high[-1]

    def sentence(self) -> str:
        """What kind of evidence this is; every lesson prints it beside the picture."""
        return (f"Recorded: {len(self.seeds)} seeds, mean with its 95 % interval; {self.content['machine']}, "
                f"{self.content['seconds']:.0f} s in all. Remake it: python -m minigpt redo {self.name}")  # fmt: skip

    def live(self, arm: str | None = None, seed: int | None = None) -> Curve:
        """Run one arm now (default: the smallest, with the first seed); AssertionError unless it ends in its band."""
        arm, seed = arm or self.arms[0], self.seeds[0] if seed is None else seed
        start = time.perf_counter()
        found = measure(script(self.name), self._arm(arm)["settings"], seed)
        curve = Curve(np.array(found["x"]), np.array(found["y"]), found["numbers"], time.perf_counter() - start)
        (low, high), end = self.end(arm), curve.y[-1]
        expected = f"the record expects a run to end between {low:.4g} and {high:.4g}"
        assert low <= end <= high, f"{self.name}, arm {arm!r}, seed {seed}: this run ends at {end:.4g}, but {expected}."
        return curve

    @property
    def stale(self) -> bool:
        """Whether the script has changed since."""
        return self.content["script"] != script_hash(self.name)

    def _arm(self, arm: str) -> dict[str, Any]:
        if arm not in self.content["arms"]:
            raise UserError(f"the record {self.name} has no arm {arm!r}: choose from {', '.join(self.arms)}.")
        return self.content["arms"][arm]


def live_sentence(record: Record, arm: str, curve: Curve) -> str:
    """What the thick line is, and that it agrees with the record."""
    low, high = record.end(arm)
    return (f"Live: one run of the arm {arm!r} just now (the thick line). It ends at {curve.y[-1]:.3g}; 95 of 100 such "
            f"runs end between {low:.3g} and {high:.3g}, says the record.")  # fmt: skip


def recorded(name: str) -> Record:
    """The record of an experiment: recorded("04.scale"). A UserError says how to make it, or names those there are."""
    file = script_file(name).with_suffix(".json")
    if not file.exists():
        raise UserError(f"{name} has not been recorded yet: python -m minigpt redo {name}")
    return Record(name, json.loads(file.read_text(encoding="utf-8")))


def script_file(name: str) -> Path:
    """ "04.scale" → notebooks/records/04_scale.py; UserError names the nearest ones."""
    file = RECORDS / f"{name.replace('.', '_', 1)}.py"
    if not file.exists():
        known = [path.stem.replace("_", ".", 1) for path in sorted(RECORDS.glob("*.py"))]
        near = difflib.get_close_matches(name, known, 3, 0.4) or known
        raise UserError(f"there is no recorded experiment {name!r}; there are: {', '.join(near) or 'none yet'}.")
    return file


def script_hash(name: str) -> str:
    """The SHA-256 of the script's text, whatever ends its lines: git may write them in another way on Windows."""
    return hashlib.sha256(script_file(name).read_text(encoding="utf-8").encode()).hexdigest()


def script(name: str) -> ModuleType:
    """The experiment's script, loaded."""
    spec = importlib.util.spec_from_file_location(f"record_{name.replace('.', '_')}", script_file(name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(module: ModuleType, settings: Any, seed: int) -> dict[str, Any]:
    """One run of an experiment: {"x": […], "y": […], "numbers": {…}}, in plain floats."""
    found = {key: np.asarray(value, float) for key, value in module.run(settings, seed).items()}
    x, y = found.pop("x"), found.pop("y")
    if x.ndim != 1 or x.shape != y.shape or not len(x) or not np.isfinite(y[-1]):
        raise UserError(f"{module.__file__}: run() must give equally long x and y that end in a finite number.")
    return {"x": x.tolist(), "y": y.tolist(), "numbers": {key: float(value) for key, value in found.items()}}


def redo(name: str) -> int:
    """Run all arms of a recorded experiment with all its seeds, and write its record. Interrupted, it goes on later.

    Args:
        name: The experiment, such as 04.scale.
    """
    module, code = script(name), script_hash(name)
    arms, seeds = module.arms(), list(module.SEEDS)
    if len(seeds) < 2 or not arms:
        raise UserError(f"{module.__file__}: a record needs an arm and two seeds or more, or it has no band.")
    done_file = runs_folder() / "records" / f"{name}.jsonl"
    done_file.parent.mkdir(parents=True, exist_ok=True)
    jobs = [(arm, seed) for arm in arms for seed in seeds]
    done = finished(done_file, code)
    write_atomic(done_file, "".join(json.dumps(row) + "\n" for row in done.values()))  # without half a line at its end
    print(f"{name}: {module.WHAT}")
    for number, (arm, seed) in enumerate(jobs, 1):
        if (arm, seed) not in done:
            start = time.perf_counter()
            row = {"script": code, "arm": arm, "seed": seed, **measure(module, arms[arm], seed)}
            row["seconds"] = time.perf_counter() - start
            with open(done_file, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            done[arm, seed] = row
        todo = sum(expected_seconds(arm, done) for arm, seed in jobs if (arm, seed) not in done)
        row = done[arm, seed]
        print(f"{number} of {len(jobs)}: {arm}, seed {seed}: ends at {row['y'][-1]:.4g} ({row['seconds']:.0f} s)"
              + (f"; about {duration(todo)} to go" if todo else ""), flush=True)  # fmt: skip
    content = {
        "name": name, "what": module.WHAT, "axes": list(module.AXES), "seeds": seeds,
        "floor": getattr(module, "FLOOR", 0.0), "command": f"python -m minigpt redo {name}", "machine": machine(),
        "versions": versions(), "date": time.strftime("%Y-%m-%d"), "script": code,
        "seconds": round(sum(done[job]["seconds"] for job in jobs), 1),
        "arms": {arm: join([done[arm, seed] for seed in seeds], arms[arm], len(jobs)) for arm in arms},
    }  # fmt: skip
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace(',"arms":', ',\n"arms":', 1)
    if len(text.encode()) > MOST_BYTES:
        raise UserError(f"{name}: the record has {len(text.encode()) / 1000:.0f} kB, more than 100: use fewer numbers.")
    file = script_file(name).with_suffix(".json")
    write_atomic(file, text + "\n")
    done_file.unlink()
    print(f"{content['seconds']:.0f} s in all → {file.name}, {len(text.encode()) / 1000:.0f} kB")
    return 0


def finished(file: Path, code: str) -> dict[tuple[str, int], dict]:
    """Runs of the same script that an earlier `redo` finished; half a line, where it was killed, is left out."""
    done = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        with suppress(ValueError, KeyError, TypeError):
            row = json.loads(line)
            if row["script"] == code:
                done[row["arm"], row["seed"]] = row
    return done


def expected_seconds(arm: str, done: dict[tuple[str, int], dict]) -> float:
    """Of a run still to come: the mean of its arm's finished runs, or else of the slowest arm so far."""
    seconds: dict[str, list[float]] = {}
    for (name, _), row in done.items():
        seconds.setdefault(name, []).append(row["seconds"])
    means = {name: sum(values) / len(values) for name, values in seconds.items()}
    return means.get(arm, max(means.values()))


def join(rows: list[dict], settings: Any, runs: int) -> dict[str, Any]:
    """An arm of the record, its runs put on the x of the first and thinned so that `runs` of them stay small."""
    x = np.array(rows[0]["x"])
    most = min(MOST_POINTS, max(2, int(0.7 * MOST_BYTES / (runs * 9))))  # nine characters a number
    kept = np.unique(np.linspace(0, len(x) - 1, min(most, len(x))).round().astype(int))
    curves = [np.interp(x, row["x"], row["y"])[kept] for row in rows]
    return {
        "settings": settings, "x": shorten(x[kept]), "y": [shorten(curve) for curve in curves],
        "numbers": [{name: shorten([value])[0] for name, value in row["numbers"].items()} for row in rows],
    }  # fmt: skip


def shorten(values) -> list[float]:
    """Five significant digits: all that a lesson needs. Example: shorten([2.3456789, 100.0]) -> [2.3457, 100]"""
    rounded = [float(f"{value:.5g}") for value in values]
    return [int(value) if value.is_integer() else value for value in rounded]


def machine() -> str:
    """Example: "2 × AMD EPYC 7B13, Linux"."""
    name = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line for line in lines if line.startswith("model name")).partition(": ")[2]
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        name += f" and {sys.modules['torch'].cuda.get_device_name()}"
    return f"{os.cpu_count()} × {name}, {platform.system()}"


def versions() -> dict[str, str]:
    from importlib.metadata import version

    return {"python": platform.python_version(), "torch": version("torch"), "numpy": version("numpy")}


# ---- models ----------------------------------------------------------------------------------------------------------

OWN = {"00": "first"}
"""Lesson → the folder, inside runs/, of the run that a learner makes there."""
STAND_IN = RunConfig(
    ModelConfig(layers=2, width=128, heads=2, kv_heads=2, head_size=64, mlp_width=384, context=128, vocab_size=2048),
    DataConfig(),
    OptimConfig(steps=160, batch_tokens=1024, lr=0.01, matrix_lr=0.03, momentum=0.8),
    TrainConfig(device="cpu", precision="fp32", compile="off", save_every="0", samples=1, eval_every=160),
)
"""The same kind of model as the default run, smaller, on a tenth of its text. Steps, number format and threads (one)
are fixed, so that every machine trains nearly the same one."""
STAND_IN_TEXT = 3_000_000
"""Characters."""


def model_from(lesson: str):
    """The run that a learner made in a lesson, or a stand-in trained now, in about 20 s; one sentence says which.

    Returns a `minigpt.train.Run` with .model, .tokenizer, .metrics, .summary. What a lesson asserts must hold for both.
    """
    from ..train import Run

    if lesson not in OWN:
        raise UserError(f"lesson {lesson!r} leaves no model: choose from {', '.join(OWN)}.")
    own = Run(runs_folder() / OWN[lesson])
    if own.status.get("status") == "done":
        print(f"The model is your own: runs/{OWN[lesson]}, {own.summary['val_bpb']:.2f} bits per byte.")
        return own
    run = Run(stand_in())
    size, bpb = run.summary["parameters"], run.summary["val_bpb"]
    print(f"The model is a stand-in, because runs/{OWN[lesson]} is not there or not finished: {size / 1e6:.1f} M "
          f"parameters, {bpb:.2f} bits per byte.")  # fmt: skip
    return run


def stand_in() -> Path:
    """The stand-in's run folder: from the cache, or trained now in a process of its own, so that the notebook's random
    numbers and torch's settings stay as they were."""
    for base in (cache_folder(), Path(tempfile.gettempdir()) / "minigpt"):  # the second for a home that is read-only
        folder = base / "stand-ins" / stand_in_key()
        with suppress(OSError):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with lock(folder.with_suffix(".lock")):
                if not (folder / "summary.json").exists():
                    print("Training a stand-in for the model of lesson 00, once: about 20 s on two cores.", flush=True)
                    command = [sys.executable, "-m", "minigpt.classroom.shelf", folder]
                    made = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=ROOT,
                                          env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
                    if made.returncode:
                        raise UserError(f"the stand-in could not be trained: {made.stderr.strip().splitlines()[-1]}")
            return folder
    raise UserError(f"cannot write to {cache_folder()} nor to {tempfile.gettempdir()}: make room in one of them.")


def stand_in_key() -> str:
    """Changes with whatever decides the weights: settings, code (all that training imports), text, torch."""
    import torch

    from ..text.sources import available

    code = [bare_code(module_path(name)) for name in sorted(closure("train"))]
    what = json.dumps([asdict(STAND_IN), STAND_IN_TEXT, code, available(), torch.__version__])
    return "00-" + hashlib.sha256(what.encode()).hexdigest()[:16]


def train_stand_in(folder: Path) -> None:
    """Sample the text, train, and put the run folder in its place at once, so that nobody opens half of one."""
    from ..prepare import source, tokenizer_sample
    from ..train import pretrain

    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    text = unfinished / "text.jsonl"
    rows = [document._asdict() for document in tokenizer_sample(list(source(STAND_IN.data)), STAND_IN_TEXT)]
    write_atomic(text, "".join(json.dumps(row) + "\n" for row in rows))
    config = replace(STAND_IN, data=replace(STAND_IN.data, text=(str(text),)),
                     train=replace(STAND_IN.train, out=str(unfinished)))  # fmt: skip
    pretrain(config)
    text.unlink()
    os.replace(unfinished, folder)


@contextmanager
def lock(file: Path) -> Iterator[None]:
    """Only one process at a time; the others wait. The system lets go of it when its holder dies, however it dies."""
    with open(file, "a+b") as handle:
        if os.name == "posix":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        else:
            import msvcrt

            while True:
                with suppress(OSError):  # after ten seconds it gives up, and we ask again
                    msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)
                    break
        yield


if __name__ == "__main__":  # python -m minigpt.classroom.shelf FOLDER
    train_stand_in(Path(sys.argv[1]))
