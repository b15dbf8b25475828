"""Small things done to files, for everyone: replace one as a whole, hash one, name one that fails, find the cache."""
import hashlib
import os
import shutil
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
