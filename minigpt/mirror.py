"""A second copy of a run, somewhere else: `--mirror DIR|URL`, anything that fsspec can write to.

A rented machine goes away together with its disk. `python -m minigpt.mirror RUN URL KEEP`, a process of its own, copies
each finished checkpoint and the small files. Training starts it and never waits for it; what goes wrong there is one
sentence, and is tried again after 1, 2, 4, … seconds. The mirror is itself a run folder, with one rule more:

    checkpoints/step_000100/    the checkpoint's files, metrics.jsonl as it was then, and last of all state.json

A folder without state.json is half a copy. What is sent is compared with the SHA-256 that state.json holds and with the
size that arrives; what is taken back is read and hashed again. No torch here, so that the process stays small.
"""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from .config import Passing, UserError
from .files import child_environment, end_with_parent, write_atomic

MARKER = "state.json"
SMALL = ("config.json", "environment.json")
AT_THE_END = ("metrics.jsonl", "status.json", "summary.json", "report.html")
"""Small files that every checkpoint needs, and those that tell of the run as it is now."""
POLL, SMALL_EVERY = 1.0, 60.0
"""Seconds between looks for a new checkpoint, and between copies of small files when there is none."""
LONGEST_WAIT = 300.0
"""Seconds between two attempts, at most."""
TRIES, PATIENCE = 4, 300.0
"""At the end of a run, how often in a row copying may fail, and how many seconds it may take."""
REFUSED = 2
"""Exit code of the process where trying again is no use."""


# ---- the place -------------------------------------------------------------------------------------------------------


def open_mirror(url: str):
    """(file system, folder) of a mirror, without asking it anything; a UserError names the package that is missing.

    Example: open_mirror("s3://bucket/run") -> (S3FileSystem, "bucket/run"), where the package s3fs is installed.
    """
    import fsspec

    if urlsplit(url).password:
        raise UserError("--mirror holds a password, which would be written into the run: give keys by the environment.")
    try:
        return fsspec.url_to_fs(url)
    except Exception as error:  # each store has errors of its own
        raise UserError(f"--mirror {url} cannot be opened: {str(error).rstrip('.')}.") from None


def newest_first(names: Iterable[str]) -> list[str]:
    """The names of finished checkpoints among others, newest first.

    Example: newest_first(["step_000100", "latest", ".step_000300.tmp", "step_000200"]) -> [step_000200, step_000100]
    """
    return sorted((n for n in names if re.fullmatch(r"step_\d+", n)), key=lambda n: int(n[5:]), reverse=True)


def finished_in(out: Path) -> list[str]:
    """Names of the finished checkpoints of a run, newest first."""
    folder = out / "checkpoints"
    return newest_first(os.listdir(folder)) if folder.exists() else []


def listed(fs, folder: str) -> list[str]:
    """The names in a folder of the mirror; none where there is no folder."""
    fs.invalidate_cache()
    try:
        return [entry.rstrip("/").rsplit("/", 1)[-1] for entry in fs.ls(folder, detail=False)]
    except FileNotFoundError:
        return []


def replace_file(fs, path: str, content: bytes) -> None:
    """First under another name: on a disk, half a file must not pass for a whole one."""
    temporary = f"{path}.{os.getpid()}.tmp"
    fs.pipe_file(temporary, content)
    fs.mv(temporary, path)


def reason_of(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


# ---- there -----------------------------------------------------------------------------------------------------------


class Damaged(Exception):
    """A checkpoint of the run is not as it was written: it is not worth a copy."""


def send(fs, file: Path, target: str, expected: str | None) -> None:
    """Copy a file, and check its size there and its SHA-256, where one is expected, here."""
    digest = hashlib.sha256()
    with open(file, "rb") as source, fs.open(target, "wb") as sink:
        while piece := source.read(1 << 23):
            digest.update(piece)
            sink.write(piece)
    if expected not in (None, digest.hexdigest()):
        raise Damaged(f"{file} is damaged")
    fs.invalidate_cache()
    if fs.info(target)["size"] != file.stat().st_size:
        raise OSError(f"{target} did not arrive whole")


def send_checkpoint(fs, source: Path, target: str, metrics: Path) -> bytes:
    """Copy a finished checkpoint, and last its marker, which is returned; a copy that is there stops counting until
    then."""
    marker = (source / MARKER).read_bytes()
    try:
        hashes = json.loads(marker)["sha256"]
    except (ValueError, KeyError, TypeError):
        raise Damaged(f"{source / MARKER} is damaged") from None
    if MARKER in listed(fs, target):
        fs.rm_file(f"{target}/{MARKER}")
    fs.makedirs(target, exist_ok=True)
    for file in sorted(source.iterdir()):
        if file.name != MARKER:
            send(fs, file, f"{target}/{file.name}", hashes.get(file.name))
    if metrics.exists():
        replace_file(fs, f"{target}/{metrics.name}", metrics.read_bytes())
    replace_file(fs, f"{target}/{MARKER}", marker)
    return marker


class Copies:
    """What of the run in `out` is at the mirror. Raises UserError where the mirror holds another run."""

    def __init__(self, out: Path, url: str, keep: int):
        self.out, self.keep, (self.fs, self.root) = out, keep, open_mirror(url)
        self.folder, self.at, self.small = f"{self.root}/checkpoints", {}, {}
        """`at`: name of a whole copy -> its marker; `small`: file -> when it was written, and its size."""
        ours = json.loads((out / "config.json").read_bytes())
        if "config.json" in listed(self.fs, self.root):
            theirs = json.loads(self.fs.cat_file(f"{self.root}/config.json"))
            if identity(theirs) != identity(ours):
                raise UserError(f"the mirror {url} holds another run, and stays as it is: choose another --mirror.")
        for name in newest_first(listed(self.fs, self.folder)):
            if MARKER in listed(self.fs, f"{self.folder}/{name}"):
                self.at[name] = self.fs.cat_file(f"{self.folder}/{name}/{MARKER}")

    def missing(self, damaged: set[str]) -> str | None:
        """The newest checkpoint that the mirror should have and has not."""
        for name in finished_in(self.out)[: self.keep]:
            with suppress(FileNotFoundError):  # just now it made room for a newer one
                if name not in damaged and self.at.get(name) != (self.out / "checkpoints" / name / MARKER).read_bytes():
                    return name
        return None

    def copy_checkpoint(self, name: str) -> None:
        """The checkpoint, and everything it needs; then the oldest copies go. There is always one that is whole."""
        self.copy_small()
        self.prune(max(1, self.keep - 1), name)
        self.at.pop(name, None)
        source = self.out / "checkpoints" / name
        self.at[name] = send_checkpoint(self.fs, source, f"{self.folder}/{name}", self.out / "metrics.jsonl")
        self.prune(self.keep, name)

    def prune(self, keep: int, sparing: str) -> None:
        """Remove all but the newest whole copies. What is newer than the run itself is a future it has turned from."""
        whole, newest = newest_first(self.at), finished_in(self.out)[0]
        kept = [name for name in whole if int(name[5:]) <= int(newest[5:])][:keep] or whole[:keep]
        for name in newest_first(listed(self.fs, self.folder)):
            if name not in (*kept, sparing):
                if self.at.pop(name, None):
                    self.fs.rm_file(f"{self.folder}/{name}/{MARKER}")  # first: half of it must not count
                self.fs.rm(f"{self.folder}/{name}", recursive=True)

    def copy_small(self) -> None:
        """The small files that have changed."""
        tokenizer = self.out / "tokenizer"
        tokens = tokenizer.iterdir() if tokenizer.exists() else []
        for file in [*tokens, *(self.out / name for name in SMALL + AT_THE_END)]:
            with suppress(FileNotFoundError):
                stamp = (file.stat().st_mtime_ns, file.stat().st_size)
                if self.small.get(file) != stamp:
                    content, path = file.read_bytes(), f"{self.root}/{file.relative_to(self.out).as_posix()}"
                    self.fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
                    replace_file(self.fs, path, content)
                    self.small[file] = stamp


def identity(config: dict) -> dict:
    """What two starts of the same run have in common: all that defines the result, but for its length."""
    return {part: {k: v for k, v in config[part].items() if k not in ("steps", "tokens", "vocab_size")}
            for part in ("model", "data", "optim")}  # fmt: skip


def keep_copying(out: Path, url: str, keep: int, ending: threading.Event, say: Callable[[str], None]) -> bool:
    """Copy what is new until the run ends, then what is left; returns whether the newest checkpoint is there."""
    copies, failures, said, damaged, small_at, closing = None, 0, False, set(), -SMALL_EVERY, False
    while True:
        if ending.is_set() and not closing:
            failures, closing = 0, True
        name = None
        try:
            copies = copies or Copies(out, url, keep)
            while name := copies.missing(damaged):
                copies.copy_checkpoint(name)
            if closing or time.monotonic() - small_at > SMALL_EVERY:
                copies.copy_small()
                small_at = time.monotonic()
            if said:
                say(f"copying to {url} works again.")
            failures, said = 0, False
        except UserError:
            raise
        except Damaged as error:
            damaged.add(name)
            say(f"{error}, and is not copied to {url}.")
            continue
        except Exception as error:  # each store has errors of its own, and none of them may end this process
            if name and not (out / "checkpoints" / name / MARKER).exists():
                continue  # the run has made room for a newer one
            copies, failures = None, failures + 1  # look again at what is there: it may have come back empty
            if not said:
                say(f"cannot copy to {url} ({reason_of(error)}); it is tried again, and training goes on.")
            said = True
        if closing and (not failures or failures >= TRIES):
            return not failures and not damaged & set(finished_in(out)[:1])
        pause = min(2.0 ** (failures - 1), LONGEST_WAIT) if failures else POLL
        time.sleep(pause) if closing else ending.wait(pause)


class Mirror:
    """The process that copies, as training sees it. It is started again should anything kill it."""

    def __init__(self, out: Path, url: str, keep: int):
        self.out, self.url = out, url
        self.command = [sys.executable, "-m", "minigpt.mirror", str(out), url, str(keep)]
        self.ending, self.process = threading.Event(), self.start()
        self.thread = threading.Thread(target=self.revive, daemon=True)
        self.thread.start()

    def start(self) -> subprocess.Popen:
        # a session of its own: Ctrl-C in a terminal reaches the whole group, and it has a checkpoint to finish
        return subprocess.Popen(self.command, env=child_environment(), stdin=subprocess.PIPE, start_new_session=True)

    def revive(self) -> None:
        while not self.ending.wait(10):
            self.start_again()

    def start_again(self) -> None:
        if self.process.poll() not in (None, REFUSED):
            self.process = self.start()

    def finish(self, say: Callable[[str], None]) -> None:
        """Let it copy what is left, for at most PATIENCE seconds; says so if something is left even then."""
        self.ending.set()
        self.thread.join()
        if isinstance(sys.exception(), KeyboardInterrupt):  # asked twice to stop
            return self.process.kill()
        self.start_again()
        with suppress(OSError, subprocess.TimeoutExpired):
            self.process.stdin.write(b"end\n")
            self.process.stdin.flush()  # and left open: we are still here
            self.process.wait(PATIENCE)
        if self.process.poll() != 0:
            self.process.kill()
            say(f"not all of {self.out} is at the mirror {self.url}: copy the folder yourself before this disk goes.")


# ---- and back --------------------------------------------------------------------------------------------------------


def bring_back(out: Path, url: str, resume: bool, say: Callable[[str], None]) -> None:
    """Where `out` holds no checkpoint, put the newest whole copy there: tensors, config, tokenizer, metrics.

    Copies that are not whole are named and passed over. A UserError if the mirror cannot be read (to start from nothing
    would be the wrong answer), holds only damaged copies, or holds a run and `resume` is not set.
    """
    try:
        fs, root = open_mirror(url)
        if "file" in fs.protocol and Path(root).resolve() == out.resolve():
            raise UserError(f"--mirror {url} is the run folder itself: choose another place.")
        if finished_in(out):
            return
        names = patiently(lambda: newest_first(listed(fs, f"{root}/checkpoints")), url)
        if names and not resume:
            raise UserError(f"there is a run at {url} already: add --resume to continue it, or choose another mirror.")
        damaged = []
        for name in names:
            problem = patiently(lambda: take(fs, root, name, out), url)
            if not problem:
                return say(f"continuing from {name}, brought back from {url}")
            say(f"the copy {name} at {url} {problem}: it is passed over.")
            damaged += [name] * (problem != UNFINISHED)
        if damaged:
            raise UserError(f"no copy at {url} can be read; delete it to start again.")
    except UserError as error:
        with suppress(OSError):
            out.mkdir(parents=True, exist_ok=True)
            row = {"status": "failed", "reason": f"UserError: {error}", "retry": isinstance(error, Passing)}
            write_atomic(out / "status.json", json.dumps(row) + "\n")
        raise


UNFINISHED = "is not finished"


def patiently(what: Callable, url: str):
    """The result of `what()`, tried again after 1, 2 and 4 seconds."""
    for attempt in range(TRIES):
        try:
            return what()
        except UserError:
            raise
        except Exception as error:  # each store has errors of its own
            reason = reason_of(error)
        if attempt < TRIES - 1:
            time.sleep(2.0**attempt)
    raise Passing(f"the mirror {url} cannot be read ({reason}): try again later, or start anew without --mirror.")


def take(fs, root: str, name: str, out: Path) -> str:
    """Bring one copy back, the checkpoint's own name last; returns what is wrong with it, or nothing."""
    from . import checkpoint

    source, final = f"{root}/checkpoints/{name}", out / "checkpoints" / name
    temporary = final.with_name(f".{name}.tmp")
    if MARKER not in (names := listed(fs, source)):
        return UNFINISHED
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for file in (name for name in names if not name.endswith(".tmp")):
            fs.get_file(f"{source}/{file}", str(temporary / file))
        state, there = checkpoint.check(temporary), listed(fs, root)
        status = json.loads(fs.cat_file(f"{root}/status.json")) if "status.json" in there else {}
        done = (status.get("status"), status.get("step")) == ("done", state["step"])
        with suppress(FileNotFoundError):
            os.replace(temporary / "metrics.jsonl", out / "metrics.jsonl")  # the lines up to this checkpoint
        wanted = [name for name in SMALL + AT_THE_END * done if name in there]  # if done, with all lines
        wanted += [f"tokenizer/{name}" for name in listed(fs, f"{root}/tokenizer")]
        (out / "tokenizer").mkdir(exist_ok=True)
        for name in wanted:
            write_atomic(out / name, fs.cat_file(f"{root}/{name}"))
        os.rename(temporary, final)
        return ""
    except UserError:
        return "is damaged"
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


# ---- the process -----------------------------------------------------------------------------------------------------


def main(run: str, url: str, keep: str) -> int:
    """python -m minigpt.mirror RUN URL KEEP: copy until a line on the standard input says that the run has ended.

    Where the input ends without one, training was killed, and may be started again: two of us must not write at once.
    """
    if hasattr(os, "nice"):
        os.nice(10)  # training comes first
    ending = threading.Event()
    end_with_parent(lambda line: ending.set())

    def say(sentence: str) -> None:
        print(f"mirror: {sentence}", file=sys.stderr, flush=True)

    try:
        return 0 if keep_copying(Path(run), url, int(keep), ending, say) else 1
    except UserError as error:
        say(str(error))
        return REFUSED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
