"""Files from elsewhere: over http(s) with resume, checks and patience, and from the Hugging Face hub by its own client.

A download grows under a temporary name beside its target and takes the target's name as the last thing, so that a file
under that name is whole. Killed at any moment, the same call goes on where the last one stopped.
"""
import base64
import http.client
import os
import re
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

from minigpt.config import Passing, UserError
from minigpt.files import naming, need_room, sha256, sync_folder, write_atomic

HUB = "hub:"
TRIES = 6  # failures in a row, none of which brought a byte, after which we give up
TIMEOUT = 30  # seconds without a byte
DATA = (".parquet", ".jsonl", ".jsonl.gz", ".txt")  # what is text in a hub's folder, beside its README.md
LATER = (408, 425, 429, 500, 502, 503, 504)  # what a server answers when asking again may help


def is_remote(place: str) -> bool:
    """Whether a place is to be downloaded: http://…, https://…, hub:owner/name…"""
    return place.startswith(("http://", "https://", HUB))


def remote_files(place: str) -> Iterator[tuple[str, str, str, int]]:
    """(place, id, domain, bytes or 0 where unknown) of each file behind a remote place.

    The domain is the folder that the file lies in, since "000_00017" says nothing:

        https://host/edu/10BT/000.parquet?v=2    → id "10BT/000.parquet", domain "10BT"
        hub:owner/edu/10BT/*.parquet             → "hub:owner/edu@COMMIT/10BT/000.parquet", …, domain "edu"

    A hub's path may be a file, a folder or a pattern; the commit is pinned, so that a restart meets the same files.
    """
    if not place.startswith(HUB):
        parts = [part for part in unquote(urlsplit(place).path).split("/") if part]
        if not parts or not urlsplit(place).hostname:
            raise UserError(f"{place} names no file: give the address of a .parquet, .jsonl or text file.")
        domain = parts[-2] if len(parts) > 1 else urlsplit(place).hostname
        yield place, f"{domain}/{parts[-1]}", domain, 0
        return
    repository, path = _hub_parts(place)
    with _hub(place, "listed") as client:
        commit = client.HfApi().dataset_info(repository).sha
        tree = client.HfApi().list_repo_tree(repository, recursive=True, revision=commit, repo_type="dataset")
        files = sorted((entry.path, entry.size) for entry in tree if hasattr(entry, "size"))
    name = repository.split("/")[1]
    for file, size in files:
        inside = not path or file.startswith(f"{path}/") or fnmatch(file, path)
        if file == path or (inside and file.lower().endswith(DATA)):
            yield f"{HUB}{repository}@{commit}/{file}", f"{name}/{file}", name, size


def download(place: str, target: Path, stop: threading.Event | None = None, wait: float = 1.0) -> dict:
    """Bring a remote file to `target`; returns {"bytes", "sha256"} and, over http, the server's "etag" if it has one.

    An address may end in #sha256=HEX; that, a digest that the server sends (RFC 9530) and the length it announces are
    checked. What arrived before is continued by Range, if the server can tell (by ETag or Last-Modified) that the file
    is still the same, or if there is a checksum to find out; else the file begins anew. After a failure it waits for
    `wait`, 2·wait, 4·wait, … at most 60 seconds, or as long as the server asks, and gives up after TRIES failures in a
    row without progress. `stop`, once set, ends it with an InterruptedError; what has arrived stays.

    UserError: no such file, a web page in its place or no permission, at once; a wrong checksum; a full disk.
    Passing: a network that stays away.
    """
    stop = stop or threading.Event()
    if place.startswith(HUB):
        return _from_hub(place, target)
    url, _, fragment = place.partition("#")
    wanted = re.fullmatch(r"sha256=([0-9a-f]{64})", fragment.lower())
    if fragment and not wanted:
        raise UserError(f"{place}: what follows # is not understood; write #sha256= and 64 hexadecimal digits.")
    part = target.with_name(f".{target.name}.part")
    best = failures = 0
    while True:
        try:
            found = _attempt(url, part, wanted[1] if wanted else "", stop)
            break
        except (OSError, http.client.HTTPException) as error:
            if stop.is_set():
                raise InterruptedError(f"the download of {url} was stopped") from None
            arrived = part.stat().st_size if part.exists() else 0
            failures, best = 1 if arrived > best else failures + 1, max(best, arrived)
            if failures >= TRIES:
                raise Passing(f"{url} cannot be downloaded: {_sentence(error)} What has arrived is kept: give the "
                              "same command again later.") from None  # fmt: skip
            stop.wait(max(min(60.0, wait * 2 ** (failures - 1)), _asked_to_wait(error)))
    with naming(target, "write"):
        os.replace(part, target)
        sync_folder(target.parent)
    _note(part).unlink(missing_ok=True)
    return found


def _attempt(url: str, part: Path, wanted: str, stop: threading.Event) -> dict:
    """One request. OSError and HTTPException: worth another try; UserError: not."""
    have, validator = part.stat().st_size if part.exists() else 0, ""
    with suppress(FileNotFoundError):
        validator = _note(part).read_text("latin-1")  # as headers are
    headers = {"User-Agent": "minigpt", "Accept-Encoding": "identity"}
    if have and (validator or wanted):
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": validator} if validator else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # asked for more than there is: what we have is not this file
            part.unlink(missing_ok=True)
            raise ConnectionError("the file on the server changed.") from None
        if error.code in LATER:
            raise
        raise UserError(f"{url} cannot be downloaded: the server answers {error.code} {error.reason}; check the "
                        "address.") from None  # fmt: skip
    with response:
        asked_for_page = urlsplit(url).path.lower().endswith((".html", ".htm"))  # then its visible text is read
        if response.headers.get_content_type() == "text/html" and not asked_for_page:
            raise UserError(f"{url} is a web page, not a file of text: give the address of a file, such as one that "
                            "the page links to.")  # fmt: skip
        resumed = response.status == 206
        start, total = 0, int(response.headers.get("Content-Length", -1))
        if resumed:  # "bytes 500-999/1000"
            span = re.match(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
            if not span or int(span[1]) != have:
                part.unlink(missing_ok=True)
                raise ConnectionError("the server sent another part of the file than we asked for.")
            start, total = have, int(span[2])
        need_room(part.parent, total - start, url)
        etag = response.headers.get("ETag", "")
        validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
        have = _receive(response, part, start, validator, stop)
    if total >= 0 and have != total:
        raise ConnectionError(f"the connection ended after {have:,} of {total:,} bytes.")
    digest = sha256(part)
    for origin, expected in (("you asked for", wanted), ("the server announces", _announced(response.headers))):
        if expected and digest != expected:
            part.unlink()
            if resumed:
                raise ConnectionError("the two parts of the file do not belong together.")
            raise UserError(f"{url} has the SHA-256 {digest}, not {expected}, which {origin}.")
    return {"bytes": have, "sha256": digest} | ({"etag": etag} if etag else {})


def _receive(response, part: Path, start: int, validator: str, stop: threading.Event) -> int:
    """Write a body from byte `start` on; returns the size. A fault of the disk is named, one of the network not."""
    with naming(part, "write"):
        file = open(part, "r+b" if start else "wb")
        if not start:  # only now that the old bytes are gone
            write_atomic(_note(part), validator.encode("latin-1"))
    try:
        file.seek(start)
        while block := response.read(1 << 20):
            with naming(part, "write"):
                file.write(block)
            if stop.is_set():
                raise InterruptedError
        with naming(part, "write"):
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        return file.tell()
    finally:
        with suppress(OSError):  # a full disk has been named already
            file.close()


def _note(part: Path) -> Path:
    """Where it is written by what the server can tell that the file is still the same; empty: by nothing."""
    return part.with_name(f"{part.name}.validator")


def _announced(headers) -> str:
    """The SHA-256, in hex, of `Repr-Digest: sha-256=:BASE64:`, or of the older `Digest: SHA-256=BASE64`; else ""."""
    given = f"{headers.get('Repr-Digest', '')},{headers.get('Digest', '')}"
    found = re.search(r"(?i)\bsha-256=:?([A-Za-z0-9+/]{43}=)", given)
    return base64.b64decode(found[1]).hex() if found else ""


def _asked_to_wait(error: Exception) -> float:
    """Seconds, of a header `Retry-After: 30`; at most five minutes."""
    asked = error.headers.get("Retry-After", "") if isinstance(error, urllib.error.HTTPError) else ""
    return min(300.0, float(asked)) if asked.isdigit() else 0.0


def _sentence(error: BaseException) -> str:
    """The first line of an error, ended by a full stop."""
    text = str(getattr(error, "reason", "") or error or type(error).__name__).strip().splitlines()[0]
    text = f"the server answers {error.code} {text}" if isinstance(error, urllib.error.HTTPError) else text
    return text if text.endswith(".") else f"{text}."


# ---- the hub ---------------------------------------------------------------------------------------------------------


def _hub_parts(place: str) -> tuple[str, str]:
    """("owner/name", path) of hub:owner/name/path."""
    owner, _, rest = place.removeprefix(HUB).partition("/")
    name, _, path = rest.partition("/")
    if not owner or not name:
        raise UserError(f"{place} is not understood: write hub:owner/name or hub:owner/name/folder/*.parquet.")
    return f"{owner}/{name}", path.rstrip("/")


@contextmanager
def _hub(place: str, verb: str) -> Iterator[ModuleType]:
    """The hub's client, what goes wrong with it in one sentence: the first error of a chain, which says most.

    Any Exception, since they are those of the client's HTTP library (three of them so far), RuntimeErrors, and its own.
    """
    try:
        import huggingface_hub
    except ImportError:
        raise UserError(f"{place} needs the package huggingface_hub: `pip install huggingface_hub`, or give http "
                        "addresses or files.") from None  # fmt: skip
    try:
        yield huggingface_hub
    except Exception as error:
        while error.__cause__:
            error = error.__cause__
        kind = UserError if getattr(error, "response", None) is not None else Passing  # the server has answered
        raise kind(f"{place} cannot be {verb}: {_sentence(error)} Check its name, the network, and whether you may "
                   "read it (`hf auth login`).") from None  # fmt: skip


def _from_hub(place: str, target: Path) -> dict:
    """The client resumes and checks by itself; it works in a folder of its own, beside the target."""
    repository, path = _hub_parts(place)
    repository, _, commit = repository.partition("@")
    folder = target.with_name(f".{target.name}.hub")
    with _hub(place, "downloaded") as client:
        found = client.hf_hub_download(
            repository, path, repo_type="dataset", revision=commit or None, local_dir=folder)  # fmt: skip
        size, digest = os.path.getsize(found), sha256(Path(found))
        os.replace(found, target)
    shutil.rmtree(folder, ignore_errors=True)
    return {"bytes": size, "sha256": digest}
