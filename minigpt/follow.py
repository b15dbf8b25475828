"""Watch a run from outside: `follow --run DIR --to stdout|tensorboard|wandb [--notify URL]`.

A process of its own reads what training writes, metrics.jsonl and status.json, so that a service that is slow or gone
costs training nothing. It may start before the run, and it survives the run being stopped and resumed: the file is then
written anew without its last lines, and each line is passed on once.
"""
import importlib.util
import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from .config import UserError
from .report import is_finite, read_json

POLL = 1.0
"""Seconds between looks at the file."""
QUIET, FIRST_LINE = 300.0, 1800.0
"""A run stands still after ten times its usual interval without a new line, but after QUIET seconds at the earliest;
before the first line it has FIRST_LINE seconds, to prepare its data and compile."""
RESTART = 600.0
"""How many seconds to wait for somebody to start a run again that may be tried again."""
TRIES, TIMEOUT = 5, 10.0
"""Attempts to deliver a message, after pauses of 1, 2, 4, … seconds, and seconds that each may take."""


# ---- reading ---------------------------------------------------------------------------------------------------------


class Tail:
    """The rows of metrics.jsonl, each once, in order of their steps.

    A line counts when it has its end. When the run resumes, the file is replaced by its beginning, and rows of steps
    that have been seen come again: they are passed over.
    """

    def __init__(self, file: Path):
        self.file, self.identity, self.offset, self.step, self.kinds = file, None, 0, -1, set()

    def new_rows(self) -> Iterator[dict]:
        try:
            with open(self.file, "rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self.identity or found.st_size < self.offset:
                    self.identity, self.offset = found.st_ino, 0
                file.seek(self.offset)
                lines = file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return
        for line in lines:
            self.offset += len(line) + 1
            with suppress(ValueError, TypeError, KeyError):  # what a crash has left
                row = json.loads(line)
                kind = row["step"], "train_loss" in row, "sample" in row, "final" in row
                if kind[0] >= self.step and kind not in self.kinds:
                    self.step, self.kinds = kind[0], {kind, *(k for k in self.kinds if k[0] == kind[0])}
                    yield row


def patience(seconds: list[float]) -> float:
    """Seconds without a new line after which a run stands still, from the times of its last lines.

    Example: patience([1.0, 2.0, 3.0]) -> 300.0, the least; patience([0.0, 60.0, 125.0]) -> 625.0; patience([]) -> 1800
    """
    gaps = [b - a for a, b in zip(seconds, seconds[1:]) if b > a]
    return max(QUIET, 10 * median(gaps)) if gaps else FIRST_LINE


def quiet_for(run: Path) -> float:
    """Seconds since the run last wrote something."""
    times = [file.stat().st_mtime for file in (run / "metrics.jsonl", run / "status.json") if file.exists()]
    return time.time() - max(times) if times else 0.0


def has_ended(status: dict, waited: float) -> bool:
    """Whether nothing more will come: done; failed or stopped for good; or nobody has started it again."""
    kind = status.get("status", "running")
    return kind == "done" or kind != "running" and (not status.get("retry") or waited > RESTART)


def is_there(run: Path) -> bool:
    """Whether the run has been set up, or has failed before that."""
    return (run / "config.json").exists() or read_json(run / "status.json", {}).get("status", "running") != "running"


# ---- writing ---------------------------------------------------------------------------------------------------------


def to_stdout(run: Path):
    def write(row: dict) -> None:
        facts = (f"{k} {v:.6g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items() if k != "step")
        print(f"step {row['step']:>7,}  {'  '.join(facts)}", flush=True)

    return write, lambda: None


def to_tensorboard(run: Path):
    """Into RUN/tensorboard, which is written anew: it holds nothing that metrics.jsonl does not."""
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(run / "tensorboard", ignore_errors=True)
    writer = SummaryWriter(str(run / "tensorboard"))

    def write(row: dict) -> None:
        for key, value in row.items():
            if isinstance(value, str):
                writer.add_text(key, value, row["step"])
            elif key not in ("step", "final"):
                writer.add_scalar(key, value, row["step"])

    return write, writer.close


def to_wandb(run: Path):
    """The key, the project and all else come from the environment (WANDB_API_KEY, WANDB_PROJECT, WANDB_MODE, …)."""
    import wandb

    there = wandb.init(project=os.environ.get("WANDB_PROJECT", "minigpt"), name=run.resolve().name,
                       dir=str(run), config=read_json(run / "config.json", {}))  # fmt: skip

    def write(row: dict) -> None:
        there.log({key: value for key, value in row.items() if key not in ("step", "final")}, step=row["step"])

    return write, there.finish


WRITERS = {"stdout": to_stdout, "tensorboard": to_tensorboard, "wandb": to_wandb}


# ---- messages --------------------------------------------------------------------------------------------------------


def post(url: str, message: dict) -> bool:
    """Send JSON; tries again for a while. What it cannot deliver is a sentence without the URL, which may be secret."""
    body = json.dumps({k: v if is_finite(v) or isinstance(v, str) else None for k, v in message.items()}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    for attempt in range(TRIES):
        if attempt:
            time.sleep(2.0 ** (attempt - 1))
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT):
                return True
        except OSError as error:
            code, reason = getattr(error, "code", None), getattr(error, "reason", error)
            if code and code < 500 and code != 429:  # it will not have it
                break
    reason = f"it answers {code}" if code else reason
    print(f"follow: no message to {urlsplit(url).hostname} ({reason})", file=sys.stderr)
    return False


class Alarms:
    """What to tell about a run, each thing once: it has ended, it stands still, its loss is not finite."""

    def __init__(self, run: Path, send: Callable[[dict], object]):
        self.run, self.send, self.told = run, send, set()
        self.step, self.val_bpb, self.seconds = 0, None, []

    def see(self, row: dict) -> None:
        self.step, self.val_bpb = row["step"], row.get("val_bpb", self.val_bpb)
        if "train_loss" in row:
            self.seconds = [*self.seconds[-50:], row["seconds"]]
            self.alarm("loss", not is_finite(row["train_loss"]), "running",
                       f"the loss is not finite at step {self.step}")  # fmt: skip

    def look(self, status: dict, quiet: float) -> None:
        kind, limit = status.get("status", "running"), patience(self.seconds)
        self.alarm("end", kind != "running", kind, status.get("reason", ""))
        self.alarm("quiet", kind == "running" and quiet > limit, "stalled",
                   f"no new line for {quiet:.0f} s (limit {limit:.0f} s)")  # fmt: skip

    def alarm(self, name: str, on: bool, status: str, reason: str) -> None:
        """Send when it begins to be so; when it is over, it may come again."""
        if on and name not in self.told:
            self.send({"run": self.run.resolve().name, "status": status, "reason": reason, "step": self.step,
                       "val_bpb": self.val_bpb})  # fmt: skip
        self.told = self.told | {name} if on else self.told - {name}


def follow(run: Path, to: str = "stdout", notify: str = "") -> None:
    """Pass each new row on until the run has ended."""
    if notify and urlsplit(notify).scheme not in ("http", "https"):
        raise UserError("--notify needs an address that begins with http:// or https://.")
    if run.exists() and not run.is_dir():
        raise UserError(f"{run} is not a run folder.")
    if to != "stdout" and importlib.util.find_spec(to) is None:  # said before a long wait
        raise UserError(f"--to {to} needs the package {to}, which is not installed: pip install {to}.")
    if not is_there(run):
        print(f"follow: waiting for a run in {run}", file=sys.stderr, flush=True)
        while not is_there(run):
            time.sleep(POLL)
    write, close = WRITERS[to](run)
    tail, alarms = Tail(run / "metrics.jsonl"), Alarms(run, lambda message: notify and post(notify, message))
    started = time.time()
    try:
        while True:
            status, quiet = read_json(run / "status.json", {}), quiet_for(run)  # first: no row comes after "done"
            for row in tail.new_rows():
                write(row)
                alarms.see(row)
            alarms.look(status, quiet)
            if has_ended(status, min(quiet, time.time() - started)):
                return
            time.sleep(POLL)
    finally:
        close()
