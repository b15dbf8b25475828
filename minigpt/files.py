"""Small things done to files, for everyone: replace one as a whole, hash one, name one that fails, find the cache; and
to processes: what a child needs to find this package, and how it ends with its parent."""
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from .config import UserError


@contextmanager
def naming(path: Path, verb: str):
    """Turn the system's refusal to read or write into one sentence that names the file."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot {verb} {error.filename or path}: {error.strerror or error}.") from error


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace a file as a whole: a reader, or a crash, meets either the old content or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename inside the folder survive a power cut (a folder cannot be opened on Windows, which journals it)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def need_room(folder: Path, size: float, what: str) -> None:
    """UserError unless the disk that holds `folder` has so many bytes free."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(f"{folder} has {_in_words(free)} free, and {what} needs {_in_words(size)}: make room, then "
                        "give the same command again.")  # fmt: skip


def _in_words(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.2f} MB"


def sha256(path: Path) -> str:
    """Of a file's content, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Where minigpt keeps what it has learnt about this machine; safe to delete."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(base or os.path.expanduser("~/.cache")) / "minigpt"  # Path.home() raises where a user has no home


RANK = r"((LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|ROLE_NAME|MASTER_(ADDR|PORT)|TORCHELASTIC_\w+)"
"""What torchrun tells its ranks by the environment (PyTorch, torchrun's page, "Environment variables")."""


def child_environment(**more: str) -> dict[str, str]:
    """The environment for a Python process that imports this package, wherever it runs, and that is no rank of ours.

    Ours, without what torchrun has told this process, with this package's folder first in PYTHONPATH; then `more`.
    Example: child_environment(OMP_NUM_THREADS="1")
    """
    ours = {name: value for name, value in os.environ.items() if not re.fullmatch(RANK, name)}
    path = filter(None, [str(Path(__file__).parents[1]), ours.get("PYTHONPATH")])
    return ours | {"PYTHONPATH": os.pathsep.join(path)} | more


def end_with_parent(take: Callable[[str], object] = lambda line: None) -> None:
    """From now on, end this process at once when its parent is gone: its standard input, a pipe, then comes to its end.

    Each line that comes before is handed to `take`, in a thread. torchrun hands its own input on to its ranks, so they
    end as well, whoever is killed, and however; on Windows, too, where nothing else tells that a parent is gone.
    """

    def listen():
        with open(0, closefd=False) as pipe:  # not sys.stdin: its lock would be held when the interpreter goes away
            for line in pipe:
                take(line)
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()


def run_child(command: list[str], timeout: float, **more: str) -> tuple[int, str]:
    """Run a program that calls `end_with_parent`, or torchrun with such ranks: (exit code, all that was written).

    subprocess.TimeoutExpired after so many seconds. However this is left, the program is killed, and its ranks end.
    """
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, env=child_environment(**more), stdin=subprocess.PIPE, stdout=said,
                              stderr=subprocess.STDOUT) as process:  # fmt: skip
            try:
                process.wait(timeout)
            finally:
                process.kill()
        said.seek(0)
        return process.returncode, said.read().decode(errors="replace")
