"""Many large files → shards: download, tokenise, delete, in one bounded queue that a kill at any moment only pauses.

Every source file is tokenised by one process into a *part*, and the parts are joined in the order of the files, so the
shards are those that `write_shards` makes of one long stream, whatever the number of processes. In the data folder:

    sources.json        the files in order, listed once; in the end also what was downloaded, with SHA-256
    journal.json        how far the shards have come: the next part to join, and `splits` of the manifest so far
    downloads/00012…    a file that was fetched, deleted as soon as its tokens are safe
    parts/00012/        the tokens of a file, waiting to be joined (parts/00012.tmp: being made)

All but sources.json are gone in the end. A kill costs each process the file that it was working on.
"""
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import takewhile
from pathlib import Path, PurePosixPath

from .config import DataConfig, Passing, UserError, from_dict
from .files import child_environment, end_with_parent, naming, need_room, write_atomic
from .shards import SHARD_TOKENS, STEPS, ShardWriter, join_part, write_part
from .text.fetch import download, is_remote, remote_files
from .text.sources import CRAWL, Document, files_of, held_out, read_file
from .tokenizer import Tokenizer

SOURCES, JOURNAL, CLEANING, UNMIXED = "sources.json", "journal.json", "cleaning", "unmixed"
DOWNLOADERS = 2  # files fetched at the same time
LEAST_RATIO = 0.4  # bytes of tokens a byte of text: about four and a half bytes a token, two bytes to store one


def list_sources(text: Sequence[str], val_text: str = "", wanted: Callable[[str], object] | None = None) -> list[dict]:
    """The files in their order, those to hold out first: {place, id, domain, bytes (0: unknown), split}.

    place: a path, an http(s) address or hub:owner/name@commit/path. split: "val" or "train" where there is a val_text,
    else "" (each document by a hash of its id). What is missing, or holds no file that we read, is a UserError.
    """
    places = [(val_text, "val"), *((path, "train") for path in text)] if val_text else [(path, "") for path in text]
    found = []
    for path, split in places:
        if not is_remote(path) and not os.path.exists(path):
            raise UserError(f"{path} does not exist.")
        files = remote_files(path) if is_remote(path) else (
            (os.path.abspath(file), id, domain, file.stat().st_size) for file, id, domain in files_of(path, wanted))
        new = [dict(zip(("place", "id", "domain", "bytes", "split"), (*file, split))) for file in files]
        if not new:
            raise UserError(f"{path} holds no file of text.")
        found += new
    return found


def is_crawl(path: str) -> bool:
    """Whether this is a WARC file, here or elsewhere, or a folder that holds one: then nothing else in it is read."""
    return bool(CRAWL.search(path)) or os.path.isdir(path) and any(files_of(path, CRAWL.search))


def clean_crawl(folder: Path, text: Sequence[str], config: DataConfig, workers: int, shard: tuple[int, int] = (1, 1),
                say: Callable[[str], None] = print) -> str:
    """Take WARC files through the steps of text/pipeline.py, or go on where a killed call stopped.

    shard: (i, n): only make the parts of the files i, i + n, i + 2n, …, counted from 1, in folder/cleaning/parts. What
        others made there, in any order, or on other machines, is used by the call with (1, 1), which joins them.
    Returns the folder with the documents that are left, by domain; folder/cleaning.json tells what each step did.
    """
    from .text.pipeline import join_files, save_statistics  # here: only a crawl needs it, and all that it imports

    work = folder / CLEANING
    made_with = work / "settings.json"
    sources = list_sources(text, wanted=CRAWL.search)
    names = [[source["id"], source["bytes"]] for source in sources]
    recipe = {name: getattr(config, name) for name in ("languages", "rules", "classifier", "mask", "near",
                                                       "decontaminate")}
    settings = json.dumps({"files": names, **recipe}, indent=1)
    with naming(work, "write"):
        work.mkdir(parents=True, exist_ok=True)
        if not made_with.exists():
            write_atomic(made_with, settings)
        elif made_with.read_text(encoding="utf-8") != settings:
            raise UserError(f"{work} holds the beginnings of a data set made with other settings, or of other files: "
                            "choose another --out, or delete it.")  # fmt: skip
    if not ((folder / STEPS).exists() and (work / "kept").exists()):
        todo = [i for i in range(shard[0] - 1, len(sources), shard[1]) if not _part(work, i).exists()]
        workers = min(workers, len(todo))
        for index, _, cleaning in _parts(work, sources, todo, workers, "clean", **recipe) if todo else ():
            say(f"{index + 1:,} of {len(sources):,}: {sources[index]['id']}, {cleaning:.0f} s")
        if shard == (1, 1):
            say("looking for duplicates")
            shutil.rmtree(work / "kept", ignore_errors=True)
            parts = [_part(work, index) for index in range(len(sources))]
            statistics = join_files(parts, [source["domain"] for source in sources], work / "kept", config)
            save_statistics(folder / STEPS, statistics)
    return str(work / "kept")


def documents_of(folder: Path, sources: Sequence[dict]) -> Iterator[Document]:
    """The documents to train on, source after source; a remote one is downloaded when its turn comes, and kept."""
    for index, source in enumerate(sources):
        if source["split"] != "val":
            yield from read_file(fetched(folder, index, source), source["id"], source["domain"])


def tokenize_files(folder: Path, sources: list[dict], tokenizer: Tokenizer, *, val_fraction: float, split_rule: str,
                   workers: int, most_tokens: int = 0, shard_tokens: int = SHARD_TOKENS, by_domain: bool = False,
                   say: Callable[[str], None] = print) -> dict:
    """Make `folder` a data folder out of sources, or go on where a killed call with the same arguments stopped.

    tokenizer: the one that is saved in folder/tokenizer, where the processes load it.
    workers: processes; the result does not depend on their number.
    most_tokens: documents after the one with which the train split reaches this size are left out, be they held out or
        not (a val_text comes first, so it stays whole). 0: no limit.
    Returns the manifest. UserError for a file that cannot be had or read, or a full disk: what is done stays done.
    """
    journal = {"next": 0, "sources": [], "splits": None}
    with naming(folder / JOURNAL, "read"):
        if (folder / JOURNAL).exists():
            journal = json.loads((folder / JOURNAL).read_bytes())
    first = journal["next"]
    sources = journal["sources"] + sources[first:]
    with naming(folder, "write"), ShardWriter(folder, tokenizer, shard_tokens, journal["splits"],
                                                     by_domain) as writer:

        def wanted() -> bool:
            return not most_tokens or writer.splits["train"]["tokens"] < most_tokens

        todo = takewhile(lambda _: wanted(), range(first, len(sources)))
        least = sum(source["bytes"] for source in sources[first:]) * LEAST_RATIO
        need_room(folder, min(least, most_tokens * writer.itemsize or least), "what is to come")
        parts = _parts(folder, sources, todo, workers, "tokenize", tokenizer=str(folder / "tokenizer"),
                       shard_tokens=shard_tokens, val_fraction=val_fraction)
        with closing(parts):
            for index, downloading, tokenizing in parts:
                source, part, record = sources[index], _part(folder, index), _record(folder, index)
                if not wanted():
                    break
                join_part(writer, part, source["domain"], most_tokens)
                if record.exists():
                    source |= json.loads(record.read_bytes())
                writer.sync()
                journal = {"next": index + 1, "sources": sources[:index + 1], "splits": writer.splits}
                write_atomic(folder / JOURNAL, json.dumps(journal))
                shutil.rmtree(part)
                record.unlink(missing_ok=True)
                done = sum(split["tokens"] for split in writer.splits.values())
                say(f"{index + 1:,} of {len(sources):,}: {source['id']}, {tokenizing:.0f} s; {done:,} tokens so far")
                if index == first and index + 1 < len(sources) and tokenizing:
                    share = done / sum(source["bytes"] for source in journal["sources"])  # tokens a byte
                    size = _bytes_to_come(sources, index + 1)
                    size = min(size, max(0, most_tokens - done) / share) if most_tokens else size
                    seconds = max(downloading / DOWNLOADERS, tokenizing / workers) * size / source["bytes"]
                    disk = size * share * writer.itemsize
                    say(f"the rest: about {seconds / 3600:.1f} hours and {disk / 1e9:.1f} GB on disk, from "
                        f"{size / 1e9:.1f} GB of files")
                    need_room(folder, disk, "the rest")
        write_atomic(folder / SOURCES, json.dumps(sources, indent=1) + "\n")
        manifest = writer.finish(split_rule)
    clean(folder)
    return manifest


def clean(folder: Path):
    """Remove what a finished data folder does not need."""
    for name in ("parts", "downloads", CLEANING, UNMIXED):
        shutil.rmtree(folder / name, ignore_errors=True)
    for file in (folder / JOURNAL, *folder.glob(".*.tmp"), *(folder / "tokenizer").glob(".*.tmp")):
        file.unlink(missing_ok=True)


def _bytes_to_come(sources: list[dict], start: int) -> float:
    """Sizes of the files from `start` on; one that we do not know counts as the mean of those we do."""
    known = [source["bytes"] for source in sources if source["bytes"]]
    return sum(source["bytes"] or sum(known) / len(known) for source in sources[start:])


def _part(folder: Path, index: int) -> Path:
    return folder / "parts" / f"{index:05d}"


def _record(folder: Path, index: int) -> Path:
    """What `download` said of a file; it stays until its tokens are joined."""
    return folder / "downloads" / f"{index:05d}.json"


# ---- the queue -------------------------------------------------------------------------------------------------------

def _parts(folder: Path, sources: list[dict], todo: Iterable[int], workers: int, job: str, **settings
           ) -> Iterator[tuple[int, float, float]]:
    """Make the parts of the sources named by `todo`, and yield (index, seconds of download, of the job) in order.

    At most two files a process are on their way: downloading, waiting, being tokenised, or a part that waits for its
    turn. Where there are fewer files than workers, each process encodes in several threads.
    """
    count = max(1, min(workers, len(sources)))
    idle, stop, pending = queue.SimpleQueue(), threading.Event(), deque()
    downloads, pool = ThreadPoolExecutor(DOWNLOADERS, "download"), ThreadPoolExecutor(count, "tokenize")
    processes = []

    def fetch(index: int) -> tuple[Path, float]:
        started = time.perf_counter()
        return fetched(folder, index, sources[index], stop), time.perf_counter() - started

    def make(index: int, fetching: Future) -> tuple[float, float]:
        (file, downloading), started = fetching.result(), time.perf_counter()
        need_room(folder, 2 * LEAST_RATIO * file.stat().st_size, sources[index]["place"])  # the part, and its copy
        source = dict(sources[index], file=str(file), part=str(_part(folder, index)))
        process = idle.get()
        try:
            _ask(process, source)
        finally:
            idle.put(process)
        _downloaded(folder, index, sources[index]).unlink(missing_ok=True)
        return downloading, time.perf_counter() - started

    def start(index: int) -> Future:
        if _part(folder, index).exists():  # made by an earlier call
            _downloaded(folder, index, sources[index]).unlink(missing_ok=True)
            return pool.submit(lambda: (0.0, 0.0))
        return pool.submit(make, index, downloads.submit(fetch, index))

    try:
        for _ in range(count):
            processes.append(_worker(job, json.dumps(settings | {"threads": max(1, workers // count)})))
            idle.put(processes[-1])
        for index in todo:
            pending.append((index, start(index)))
            if len(pending) == 2 * count:
                index, making = pending.popleft()
                yield index, *making.result()
        for index, making in pending:
            yield index, *making.result()
    finally:
        stop.set()
        for process in processes:
            process.kill()
        for executor in (downloads, pool):
            executor.shutdown(cancel_futures=True)
        for process in processes:
            process.communicate()


def fetched(folder: Path, index: int, source: dict, stop: threading.Event | None = None) -> Path:
    """The file of a source on this machine: your own, or a download, which is made first."""
    path = _downloaded(folder, index, source) if is_remote(source["place"]) else Path(source["place"])
    with naming(path, "read"):
        if not is_remote(source["place"]):
            if path.stat().st_size != source["bytes"]:
                raise UserError(f"{path} was {source['bytes']:,} bytes large when this began: choose another --out.")
        elif not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            incoming = path.with_name(f"{path.name}.new")
            write_atomic(_record(folder, index), json.dumps(download(source["place"], incoming, stop)))
            os.replace(incoming, path)  # last: under this name it is whole, and has its record
    return path


def _downloaded(folder: Path, index: int, source: dict) -> Path:
    """Where a download lies, never a file of yours. It keeps its endings, by which readers are chosen."""
    return folder / "downloads" / f"{index:05d}{''.join(PurePosixPath(source['id']).suffixes[-2:])}"


def _worker(job: str, settings: str) -> subprocess.Popen:
    """A process that makes parts, started as the tokenizer's are: no fork, and the caller's script is not run again."""
    command = [sys.executable, "-P", "-c", "from minigpt.corpus import _work; _work()", job, settings]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=child_environment(), text=True)


def _ask(process: subprocess.Popen, job: dict):
    """Have a part made. UserError if it cannot be; a download that turns out damaged is deleted, to be had again."""
    with suppress(OSError):  # a process that is gone does not answer either
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise Passing(f"the process that was tokenizing {job['place']} ended (exit code {process.wait()}), perhaps "
                      "for lack of memory: give the same command again, or fewer --workers.")  # fmt: skip
    error = json.loads(answer)["error"]
    if error and error.startswith(job["file"]) and is_remote(job["place"]):
        Path(job["file"]).unlink(missing_ok=True)
        error = f"{job['place']}{error.removeprefix(job['file'])}"
    if error:
        raise UserError(error)


def _work():
    """What such a process runs: a line of JSON for each part to make, a line when it is made."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too, but it is the parent that ends us
    prepared = {"tokenize": _tokenizing, "clean": _cleaning}[sys.argv[1]]
    make, jobs = prepared(**json.loads(sys.argv[2])), queue.SimpleQueue()
    end_with_parent(lambda line: jobs.put(json.loads(line)))  # in the middle of a file: the next call works on the same
    while True:
        job, error = jobs.get(), ""
        try:
            make(job)
        except UserError as found:
            error = str(found)
        print(json.dumps({"error": error}), flush=True)


def _tokenizing(tokenizer: str, shard_tokens: int, val_fraction: float, threads: int) -> Callable[[dict], None]:
    """A function that makes a part of a file of text: its tokens."""
    loaded = Tokenizer.load(tokenizer)

    def make(job: dict):
        def is_val(document: Document) -> bool:
            return job["split"] == "val" or (not job["split"] and held_out(document.id, val_fraction))

        documents = read_file(Path(job["file"]), job["id"], job["domain"])
        write_part(Path(job["part"]), documents, loaded, is_val=is_val, shard_tokens=shard_tokens, threads=threads)

    return make


def _cleaning(threads: int, **recipe) -> Callable[[dict], None]:
    """A function that makes a part of a WARC file: its documents; see text/pipeline.py."""
    from .text.pipeline import clean_file

    config = from_dict(DataConfig, recipe)
    return lambda job: clean_file(Path(job["file"]), Path(job["part"]), config)
