"""minigpt/corpus.py: the shards of one long stream, for any number of processes, through kills and full disks."""
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiktoken

from conftest import small_disk
from minigpt import corpus
from minigpt.config import DataConfig, UserError
from minigpt.corpus import list_sources, tokenize_files
from minigpt.prepare import is_held, open_data, parts, prepare
from minigpt.shards import MANIFEST, Shards, write_shards
from minigpt.text.sources import held_out, read_text
from minigpt.tokenizer import train_bpe
from test_fetch import server  # noqa: F401  (a fixture)

WORDS = "the river told a story to old trees while 7 winds of été carried <|endoftext|> seeds away , and on .".split()


def silent(_):
    pass


def parquets(folder, files=5, rows=300, words=40):
    """FineWeb-like files: id, text, and a column that nobody wants."""
    rng = random.Random(files * rows)
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(files):
        texts = [" ".join(rng.choices(WORDS, k=rng.randrange(1, words))) for _ in range(rows + n)]
        texts[3] = None
        ids = [f"<urn:{n}:{row}>" for row in range(len(texts))]
        table = pa.table({"text": texts, "id": ids, "score": [1.5] * len(texts)})
        pq.write_table(table, folder / f"{n:03d}_00000.parquet", row_group_size=100)
    return folder


@pytest.fixture
def tokenizer(tmp_path):
    made = train_bpe([" ".join(WORDS)], 290, ("<|endoftext|>",))
    made.save(tmp_path / "tokenizer.json")
    return made


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def streamed(folder, paths, tokenizer, shard_tokens, most_tokens=0, fraction=0.05):
    """What one process makes of all documents, one after the other."""
    documents = (part for d in read_text(paths) for part in parts(d, DataConfig(val_fraction=fraction), False))
    return write_shards(folder, documents, tokenizer, is_val=is_held, split_rule="by hash", shard_tokens=shard_tokens,
                        most_tokens=most_tokens)  # fmt: skip


def queued(folder, paths, tokenizer, shard_tokens, **options):
    tokenizer.save(folder / "tokenizer" / "tokenizer.json")
    settings = dict(val_fraction=0.05, split_rule="by hash", workers=2, shard_tokens=shard_tokens, say=silent)
    return tokenize_files(folder, list_sources(paths), tokenizer, **settings | options)


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_the_shards_are_those_of_one_stream(tmp_path, tokenizer, workers):
    text = [str(parquets(tmp_path / "edu")), str(parquets(tmp_path / "more", 2) / "001_00000.parquet")]
    (tmp_path / "edu/sub").mkdir()
    (tmp_path / "edu/sub/long.txt").write_text("One document that is longer than a shard of tokens. " * 400)
    expected = streamed(tmp_path / "stream", text, tokenizer, 5000)
    assert queued(tmp_path / "queue", text, tokenizer, 5000, workers=workers) == expected
    found = content(tmp_path / "queue")
    assert {name: data for name, data in found.items() if name not in ("sources.json", "tokenizer/tokenizer.json")} == \
        content(tmp_path / "stream")  # fmt: skip
    assert len(expected["splits"]["train"]["shards"]) > 5 and set(expected["splits"]["val"]["domains"]) >= {"edu"}
    assert [row["id"] for row in json.loads(found["sources.json"])][:1] == ["edu/000_00000.parquet"]
    assert len(list((tmp_path / "edu").glob("*.parquet"))) == 5  # your own files are never deleted


def test_the_tokens_are_tiktokens_and_the_held_out_by_hash(tmp_path, tokenizer):
    folder = parquets(tmp_path / "edu", 3)
    queued(tmp_path / "data", [str(folder)], tokenizer, 4000, val_fraction=0.2)
    bare = tiktoken.Encoding("bare", pat_str=tokenizer.pattern, mergeable_ranks=tokenizer.ranks, special_tokens={})
    expected = {"train": [], "val": []}
    for file in sorted(folder.iterdir()):
        for row in pq.read_table(file).to_pylist():
            if row["text"]:
                split = "val" if held_out(row["id"], 0.2) else "train"
                expected[split] += [tokenizer.eot, *bare.encode_ordinary(row["text"])]
    for split, tokens in expected.items():
        opened = Shards.open(tmp_path / "data", split, context=8)
        count = len(opened.manifest["splits"][split]["shards"])
        assert np.concatenate([opened.tokens(i) for i in range(count)]).tolist() == tokens


@pytest.mark.parametrize("most", [1, 4321, 9000, 30_000, 10**9])
def test_a_limit_of_tokens_cuts_at_a_document(tmp_path, tokenizer, most):
    text = [str(parquets(tmp_path / "edu"))]
    expected = streamed(tmp_path / "stream", text, tokenizer, 5000, most)
    for workers in (1, 3):
        assert queued(tmp_path / f"{workers}", text, tokenizer, 5000, workers=workers, most_tokens=most) == expected
    whole = streamed(tmp_path / "whole", text, tokenizer, 10**9)
    train, last = expected["splits"]["train"], 0
    if most < 10**8:
        tokens = np.fromfile(tmp_path / "whole/train_00000.bin", "<u2")
        ends = np.append(np.flatnonzero(tokens == tokenizer.eot)[1:], len(tokens))
        last = ends[np.searchsorted(ends, most)]
        assert train["tokens"] == last >= most > last - 100
    else:
        assert train["tokens"] == whole["splits"]["train"]["tokens"]


def test_a_limit_never_cuts_inside_a_document(tmp_path, tokenizer):
    long = "One document that is longer than a few shards of tokens. " * 400
    (tmp_path / "longer.txt").write_text(long)
    text = [str(tmp_path / "longer.txt"), str(parquets(tmp_path / "edu", 1))]
    expected = streamed(tmp_path / "stream", text, tokenizer, 1000, 1500)
    assert queued(tmp_path / "queue", text, tokenizer, 1000, most_tokens=1500) == expected
    assert expected["splits"]["train"]["bytes"] == len(long) and len(expected["splits"]["train"]["shards"]) > 5


# ---- through prepare and the command line ----------------------------------------------------------------------------


def command(out, *text, workers=2, tokenizer="", **flags):
    more = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "minigpt", "prepare", "--out", str(out), "--tokenizer", str(tokenizer),
            "--workers", str(workers), "--text", *map(str, text), *more]  # fmt: skip


def ran(*args, **options):
    return subprocess.run(command(*args, **options), capture_output=True, text=True)


def served(server, folder):  # noqa: F811
    for file in sorted(folder.iterdir()):
        server.files[f"/edu/10BT/{file.name}"] = file.read_bytes()
    return [f"{server.url}/edu/10BT/{file.name}" for file in sorted(folder.iterdir())]


def test_downloads_are_tokenized_and_deleted(tmp_path, tokenizer, server):  # noqa: F811
    folder = parquets(tmp_path / "10BT")
    urls = served(server, folder)
    server.faults["/edu/10BT/002_00000.parquet"] = [1000, "503"]
    done = ran(tmp_path / "data", *urls, tokenizer=tmp_path / "tokenizer.json")
    assert done.returncode == 0, done.stderr
    assert re.search(r"the rest: about 0\.0 hours and 0\.0 GB on disk", done.stdout), done.stdout
    expected = streamed(tmp_path / "stream", [str(folder)], tokenizer, 10**8)
    found = json.loads((tmp_path / "data" / MANIFEST).read_text())
    assert found["splits"] == expected["splits"]  # domain and ids are those of a folder 10BT
    sources = json.loads((tmp_path / "data/sources.json").read_text())
    assert [row["place"] for row in sources] == urls
    assert [row["bytes"] for row in sources] == [file.stat().st_size for file in sorted(folder.iterdir())]
    assert all(len(row["sha256"]) == 64 and row["etag"] for row in sources)
    assert set(content(tmp_path / "data")) == {"train_00000.bin", "val_00000.bin", "tokenizer/tokenizer.json",
                                               "sources.json", "settings.json", "manifest.json"}  # fmt: skip
    asked = len(server.log)
    assert ran(tmp_path / "data", *urls, tokenizer=tmp_path / "tokenizer.json").returncode == 0
    again = ran(tmp_path / "data", *urls[1:], tokenizer=tmp_path / "tokenizer.json")
    assert again.returncode == 2 and "already holds a data set made with other settings" in again.stderr
    assert len(server.log) == asked


def test_few_files_are_on_disk_at_a_time(tmp_path, tokenizer, server, monkeypatch):  # noqa: F811
    urls, most = served(server, parquets(tmp_path / "10BT", 12, 50)), 0
    join = corpus.join_part

    def counting(writer, part, *rest):
        nonlocal most
        time.sleep(0.2)  # the others would run away
        waiting = {path.name[:5] for name in ("downloads", "parts") for path in (part.parents[1] / name).iterdir()}
        most = max(most, len(waiting))
        join(writer, part, *rest)

    monkeypatch.setattr(corpus, "join_part", counting)
    queued(tmp_path / "data", urls, tokenizer, 10**6)
    assert 3 <= most <= 4  # two a worker


def test_a_tokenizer_is_trained_on_the_first_files(tmp_path, server):  # noqa: F811
    folder = parquets(tmp_path / "10BT", 4, 200)
    urls = served(server, folder)
    config = DataConfig(text=tuple(urls), look_ahead_bytes=20_000)
    learnt, manifest = prepare(config, tmp_path / "data", 300, say=silent)
    seen, size = [], 0
    for document in read_text([str(folder)]):
        seen += [] if held_out(document.id, 0.05) else [document.text]
        size += len(document.text)
        if size > 20_000:
            break
    assert learnt.merges == train_bpe(seen, 300, ("<|endoftext|>",)).merges
    assert manifest["splits"]["train"]["documents"] + manifest["splits"]["val"]["documents"] == sum(
        pq.read_metadata(file).num_rows - 1 for file in folder.iterdir())  # fmt: skip
    assert [path for path, _ in server.log].count("/edu/10BT/000_00000.parquet") == 1  # sampled, then tokenized
    assert open_data(tmp_path / "data")[0].hash == learnt.hash


def test_large_local_input_goes_through_the_queue_and_small_does_not(tmp_path, tokenizer):
    folder = parquets(tmp_path / "edu", 3)
    (tmp_path / "val.txt").write_text("a text of its own to hold out . " * 99)
    for name, most in (("small", 10**9), ("large", 1000)):
        config = DataConfig((str(folder),), val_text=str(tmp_path / "val.txt"), look_ahead_bytes=most,
                            tokenizer=str(tmp_path / "tokenizer.json"))  # fmt: skip
        prepare(config, tmp_path / name, 0, say=silent, most_tokens=9000)
    small, large = content(tmp_path / "small"), content(tmp_path / "large")
    assert large.pop("sources.json") and small.pop("settings.json") != large.pop("settings.json")
    assert small == large and b"a text of its own" in small["manifest.json"] and "val_00000.bin" in small


def test_other_settings_or_files_are_not_mixed_in(tmp_path, tokenizer, server):  # noqa: F811
    urls = served(server, parquets(tmp_path / "10BT", 2))
    server.faults["/edu/10BT/001_00000.parquet"] = ["404"]
    config = DataConfig(text=tuple(urls), tokenizer=str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="001_00000.parquet cannot be downloaded: the server answers 404"):
        prepare(config, tmp_path / "data", 0, say=silent)
    with pytest.raises(UserError, match="beginnings of a data set made with other settings"):
        prepare(config, tmp_path / "data", 0, say=silent, most_tokens=5)
    prepare(config, tmp_path / "data", 0, say=silent)  # the first file is not fetched again
    assert [path for path, _ in server.log].count("/edu/10BT/000_00000.parquet") == 1
    local = parquets(tmp_path / "edu", 2)
    sources = list_sources([str(local)])
    (local / "001_00000.parquet").write_bytes(b"altered")
    tokenizer.save(tmp_path / "local/tokenizer/tokenizer.json")
    with pytest.raises(UserError, match="001_00000.parquet was .* bytes large when this began"):
        tokenize_files(tmp_path / "local", sources, tokenizer, val_fraction=0.05, split_rule="", workers=2, say=silent)


# ---- trouble ---------------------------------------------------------------------------------------------------------


def finished(out):
    """Numbers of the sources whose tokens are safe, and of those begun and unfinished."""
    journal = json.loads((out / "journal.json").read_text()) if (out / "journal.json").exists() else {"next": 0}
    names = [path.name for path in (out / "parts").iterdir()] if (out / "parts").exists() else []
    begun = {int(name.removesuffix(".tmp")) for name in names if name.endswith(".tmp")}
    return set(range(journal["next"])) | {int(name) for name in names if name.isdigit()}, begun


def children(pid):
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    return tasks.read_text().split() if tasks.exists() else []


@pytest.mark.slow
def test_kill_9_five_times_redoes_a_file_a_worker(tmp_path, tokenizer, server):  # noqa: F811
    urls = served(server, parquets(tmp_path / "10BT", 10, 6000, 60))
    common = dict(workers=2, tokenizer=tmp_path / "tokenizer.json")
    assert ran(tmp_path / "undisturbed", *urls, **common).returncode == 0
    out, rng, done, redone, kills = tmp_path / "killed", random.Random(5), set(), [], 0
    server.log.clear()
    while kills < 5:
        process = subprocess.Popen(command(out, *urls, **common), stdout=subprocess.PIPE, text=True)
        target, deadline = kills * 2, time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            safe, begun = finished(out)
            if len(safe) >= target and begun - safe:
                break
            time.sleep(0.01)
        time.sleep(rng.random() * 0.1)
        workers = children(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for worker in workers:  # end by themselves, as their parent is gone
            while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            assert not Path(f"/proc/{worker}").exists()
        safe, begun = finished(out)
        assert not (out / MANIFEST).exists()
        assert len(begun - safe) <= 2 and done <= safe, (kills, begun, done, safe)
        assert not begun & done  # what was safe at the last kill was not begun again
        redone.append(len(begun - safe))
        done, kills = safe, kills + 1
    last = ran(out, *urls, **common)
    assert last.returncode == 0, last.stderr
    printed = {int(n) for n in re.findall(r"^(\d+) of 10:", last.stdout, re.M)}
    assert max(printed) == 10 and sum(redone) >= 3, (redone, printed)
    assert content(out) == content(tmp_path / "undisturbed")


@pytest.mark.parametrize("moment", range(9))
def test_a_kill_at_each_step_of_joining(tmp_path, tokenizer, moment):
    """The process dies at the n-th rename, which is where the state on disk changes."""
    text = [str(parquets(tmp_path / "edu", 3, 200))]
    queued(tmp_path / "whole", text, tokenizer, 3000)
    code = f"""if True:
        import os, json, sys
        from pathlib import Path
        from minigpt.corpus import list_sources, tokenize_files
        from minigpt.tokenizer import Tokenizer
        count, replace = 0, os.replace
        def dying(*args):
            global count
            count += 1
            if count == 2 * {moment} + 1:
                os.kill(os.getpid(), 9)
            replace(*args)
        os.replace = dying
        tokenize_files(Path({str(tmp_path / 'data')!r}), list_sources({text!r}), Tokenizer.load({str(tmp_path)!r}),
            val_fraction=.05, split_rule="by hash", workers=1, shard_tokens=3000, say=lambda line: None)"""
    tokenizer.save(tmp_path / "data/tokenizer/tokenizer.json")
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert not (tmp_path / "data" / MANIFEST).exists()
    queued(tmp_path / "data", text, tokenizer, 3000)
    assert content(tmp_path / "data") == content(tmp_path / "whole")
    assert len(content(tmp_path / "edu")) == 3  # your own files are never deleted


def test_a_broken_file_is_named_and_the_rest_is_kept(tmp_path, tokenizer, server):  # noqa: F811
    folder = parquets(tmp_path / "10BT", 4)
    whole = (folder / "002_00000.parquet").read_bytes()
    (folder / "002_00000.parquet").write_bytes(whole[:-50])
    done = ran(tmp_path / "a", folder, tokenizer=tmp_path / "tokenizer.json")
    assert done.returncode == 2 and "Traceback" not in done.stderr and done.stderr.count("\n") == 1
    assert re.search(r"002_00000.parquet cannot be read, or is damaged", done.stderr)
    urls = served(server, folder)
    done = ran(tmp_path / "b", *urls, tokenizer=tmp_path / "tokenizer.json")
    assert done.returncode == 2 and re.search(r"minigpt: http://\S+002_00000.parquet cannot be read", done.stderr)
    server.files["/edu/10BT/002_00000.parquet"] = whole  # mended there: it is had again, the others are not
    server.log.clear()
    assert ran(tmp_path / "b", *urls, tokenizer=tmp_path / "tokenizer.json").returncode == 0
    assert "/edu/10BT/002_00000.parquet" in [path for path, _ in server.log]
    assert "/edu/10BT/000_00000.parquet" not in [path for path, _ in server.log]


def test_a_process_that_is_killed_is_named(tmp_path, tokenizer, monkeypatch):
    start = corpus._worker

    def doomed(*args, **options):
        process = start(*args, **options)
        process.kill()
        return process

    monkeypatch.setattr(corpus, "_worker", doomed)
    with pytest.raises(UserError, match=r"tokenizing .*00000.parquet ended \(exit code -9\).*fewer --workers"):
        queued(tmp_path / "data", [str(parquets(tmp_path / "edu", 2))], tokenizer, 10**6)


def test_a_full_disk(tmp_path, tokenizer):
    folder = parquets(tmp_path / "edu", 4, 9000, 60)
    size = sum(file.stat().st_size for file in folder.iterdir())
    with small_disk(tmp_path / "disk", "1m") as disk:
        assert size * corpus.LEAST_RATIO > 2**20
        done = ran(disk / "data", folder, tokenizer=tmp_path / "tokenizer.json")
        assert done.returncode == 2 and "Traceback" not in done.stderr
        pattern = "data has .* free, and what is to come needs .*: make room"
        assert re.search(pattern, done.stderr) or "cannot write" in done.stderr
    with small_disk(tmp_path / "disk2", "2m") as disk:
        assert corpus.LEAST_RATIO * size < 1.9 * 2**20  # passes the first look, and is stopped by one that knows more
        sources, tokenized = list_sources([str(folder)]), disk / "data"
        tokenizer.save(tokenized / "tokenizer/tokenizer.json")
        options = dict(val_fraction=0.05, split_rule="", workers=2, say=silent)
        with pytest.raises(UserError, match="the rest needs|cannot write .*No space left|parquet needs"):
            tokenize_files(tokenized, sources, tokenizer, **options)
        subprocess.run(["mount", "-o", "remount,size=40m", str(disk)], check=True)
        tokenize_files(tokenized, sources, tokenizer, **options)
        tokenizer.save(tmp_path / "data/tokenizer/tokenizer.json")
        tokenize_files(tmp_path / "data", sources, tokenizer, **options)
        assert content(tokenized) == content(tmp_path / "data")


def test_wrong_flags(tmp_path, tokenizer):
    file = tmp_path / "tokenizer.json"
    for flags, sentence in (
        (dict(tokens=-1), "--tokens cannot be negative"), (dict(workers=0), "--workers must be at least 1"),
        (dict(import_bin=file), "does not go with --text"),
    ):  # fmt: skip
        done = ran(tmp_path / "data", tmp_path / "edu", **dict(tokenizer=file) | flags)
        assert done.returncode == 2 and sentence in done.stderr and "Traceback" not in done.stderr
    with pytest.raises(UserError, match="nothing does not exist"):
        list_sources([str(tmp_path / "nothing")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no file of text"):
        list_sources([str(tmp_path / "empty")])
