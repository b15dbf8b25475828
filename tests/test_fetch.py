"""minigpt/text/fetch.py, against a server of the standard library that cuts connections, and a client of the hub that
only pretends."""
import base64
import hashlib
import importlib.util
import os
import subprocess
import sys
import threading
import types
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import small_disk
from minigpt.config import Passing, UserError
from minigpt.text import fetch
from minigpt.text.fetch import download, is_remote, remote_files

BODY = bytes(i * 7 % 251 for i in range(3_000_000))
SHA = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves server.files with ETag and Range. `faults`: what to do with the next requests for a path, one each: a
    number, the bytes after which the connection ends; a status such as "503"."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        server, path = self.server, self.path.partition("?")[0]
        asked = self.headers.get("Range")
        server.log.append((path, asked))
        fault = server.faults.get(path, []).pop(0) if server.faults.get(path) else None
        body = server.files.get(path)
        if body is None or isinstance(fault, str):
            self.send_response(int(fault or 404))
            for name, value in server.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        etag = f'"{hashlib.md5(body).hexdigest()}"' if server.etags else ""
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        if self.headers.get("If-Range", etag) != etag:
            start = 0
        if start >= len(body):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + server.shift}-{len(body) - 1}/{len(body)}")
        if etag:
            self.send_header("ETag", etag)
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        sent = body[start:] if fault is None else body[start : start + fault]
        self.wfile.write(sent)
        if fault is not None:
            self.wfile.flush()
            self.close_connection = True

    do_HEAD = do_GET  # asked only of what is not there


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.files, made.faults, made.log, made.headers = {"/edu/10BT/000.parquet": BODY}, {}, [], {}
    made.etags, made.ranges, made.shift = True, True, 0
    made.url = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


PATH = "/edu/10BT/000.parquet"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file(tmp_path, server):
    found = download(f"{server.url}{PATH}?download=true", tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == BODY and names(tmp_path) == ["a.parquet"]
    assert found == {"bytes": len(BODY), "sha256": SHA, "etag": f'"{hashlib.md5(BODY).hexdigest()}"'}
    assert server.log == [(PATH, None)]


def test_a_cut_connection_is_continued(tmp_path, server):
    server.faults[PATH] = [1_000_000, 500_000, 0]
    assert download(server.url + PATH, tmp_path / "a", wait=0.001)["sha256"] == SHA
    assert [asked for _, asked in server.log] == [None, "bytes=1000000-", "bytes=1500000-", "bytes=1500000-"]
    assert (tmp_path / "a").read_bytes() == BODY


def test_a_killed_download_is_continued_by_the_next_call(tmp_path, server):
    server.faults[PATH] = [2_000_000, "503", "503", "503", "503", "503", "503"]
    with pytest.raises(Passing, match=r"000.parquet cannot be downloaded: the server answers 503 .*is kept"):
        download(server.url + PATH, tmp_path / "a", wait=0.001)
    assert not (tmp_path / "a").exists() and len(server.log) == 1 + fetch.TRIES - 1
    server.faults.clear()
    assert download(server.url + PATH, tmp_path / "a")["bytes"] == len(BODY)
    assert server.log[-1] == (PATH, "bytes=2000000-") and names(tmp_path) == ["a"]


def test_a_server_that_ignores_ranges_begins_anew(tmp_path, server):
    server.ranges, server.faults[PATH] = False, [1_000_000]
    download(server.url + PATH, tmp_path / "a", wait=0.001)
    assert server.log[1] == (PATH, "bytes=1000000-") and (tmp_path / "a").read_bytes() == BODY


def test_a_server_that_always_cuts_is_given_up(tmp_path, server):
    server.ranges, server.faults[PATH] = False, [1_000_000] * 99
    with pytest.raises(UserError, match="the connection ended after 1,000,000 of 3,000,000 bytes. What has arrived"):
        download(server.url + PATH, tmp_path / "a", wait=0.001)
    assert len(server.log) == fetch.TRIES and not (tmp_path / "a").exists()


def test_without_a_validator_nothing_is_continued_blindly(tmp_path, server):
    server.etags, server.faults[PATH] = False, [1_000_000]
    download(server.url + PATH, tmp_path / "a", wait=0.001)
    assert [asked for _, asked in server.log] == [None, None]
    server.log.clear()
    server.faults[PATH] = [1_000_000]  # but a checksum would tell
    download(f"{server.url}{PATH}#sha256={SHA}", tmp_path / "b", wait=0.001)
    assert [asked for _, asked in server.log] == [None, "bytes=1000000-"]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == BODY


def test_a_file_that_changed_meanwhile_begins_anew(tmp_path, server):
    server.faults[PATH] = [2_000_000, *["503"] * 6]
    with pytest.raises(UserError):
        download(server.url + PATH, tmp_path / "a", wait=0.001)
    server.files[PATH] = BODY[::-1]
    download(server.url + PATH, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY[::-1]
    server.files[PATH], server.faults[PATH] = BODY, [2_000_000, *["503"] * 6]
    with pytest.raises(UserError):
        download(f"{server.url}{PATH}", tmp_path / "b", wait=0.001)
    server.files[PATH], server.etags = BODY[:9], False  # now shorter than what we have
    wanted = hashlib.sha256(BODY[:9]).hexdigest()
    download(f"{server.url}{PATH}#sha256={wanted}", tmp_path / "b", wait=0.001)
    assert (tmp_path / "b").read_bytes() == BODY[:9]


def test_another_part_than_asked_for_is_not_appended(tmp_path, server):
    server.shift, server.faults[PATH] = 1, [1_000_000]
    download(server.url + PATH, tmp_path / "a", wait=0.001)
    assert (tmp_path / "a").read_bytes() == BODY
    assert [asked for _, asked in server.log] == [None, "bytes=1000000-", None]


def test_a_wrong_checksum(tmp_path, server):
    with pytest.raises(UserError, match=f"has the SHA-256 {SHA}, not {'0' * 64}, which you asked for"):
        download(f"{server.url}{PATH}#sha256={'0' * 64}", tmp_path / "a")
    assert not (tmp_path / "a").exists() and len(server.log) == 1
    assert download(f"{server.url}{PATH}#sha256={SHA.upper()}", tmp_path / "a")["sha256"] == SHA
    with pytest.raises(UserError, match="what follows # is not understood"):
        download(f"{server.url}{PATH}#sha256=12", tmp_path / "a")


@pytest.mark.parametrize("name, value", [("Repr-Digest", "sha-256=:{}:"), ("Digest", "md5=x,SHA-256={}")])
def test_a_digest_that_the_server_sends_is_checked(tmp_path, server, name, value):
    server.headers = {name: value.format(base64.b64encode(hashlib.sha256(BODY).digest()).decode())}
    download(server.url + PATH, tmp_path / "a")
    server.headers = {name: value.format(base64.b64encode(bytes(32)).decode())}
    with pytest.raises(UserError, match="which the server announces"):
        download(server.url + PATH, tmp_path / "b")


def test_parts_that_do_not_belong_together_are_had_anew(tmp_path, server):
    server.etags, server.faults[PATH] = False, [1_000_000, *["503"] * 6]
    with pytest.raises(UserError):
        download(server.url + PATH, tmp_path / "a", wait=0.001)
    part = tmp_path / ".a.part"
    part.write_bytes(b"?" + part.read_bytes()[1:])
    download(f"{server.url}{PATH}#sha256={SHA}", tmp_path / "a", wait=0.001)
    assert (tmp_path / "a").read_bytes() == BODY and [asked for _, asked in server.log[-2:]] == ["bytes=1000000-", None]


@pytest.mark.parametrize("status", ["404", "403", "401"])
def test_a_refusal_is_final(tmp_path, server, status):
    server.faults[PATH] = [status] * 9
    with pytest.raises(UserError, match=f"000.parquet cannot be downloaded: the server answers {status}"):
        download(server.url + PATH, tmp_path / "a")
    assert len(server.log) == 1


def test_waiting_doubles_and_the_server_may_ask_for_more(tmp_path, server, monkeypatch):
    waits, stop = [], threading.Event()
    monkeypatch.setattr(stop, "wait", waits.append)
    server.faults[PATH], server.headers = ["503", "429", "500", "502"], {}
    download(server.url + PATH, tmp_path / "a", stop)
    server.faults[PATH], server.headers = ["503"], {"Retry-After": "17"}
    download(server.url + PATH, tmp_path / "b", stop)
    assert waits == [1, 2, 4, 8, 17]


def test_no_server(tmp_path):
    with pytest.raises(Passing, match="cannot be downloaded: .*refused"):
        download("http://127.0.0.1:9/a.txt", tmp_path / "a", wait=0.001)


def test_stopping_keeps_what_has_arrived(tmp_path, server):
    stop = threading.Event()
    stop.set()
    with pytest.raises(InterruptedError):
        download(server.url + PATH, tmp_path / "a", stop)
    assert not (tmp_path / "a").exists() and 0 < (tmp_path / ".a.part").stat().st_size < len(BODY)
    download(server.url + PATH, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY and server.log[-1][1].startswith("bytes=")


def test_a_full_disk_is_named_before_and_during(tmp_path, server, monkeypatch):
    with small_disk(tmp_path / "disk", "1m") as disk:
        with pytest.raises(UserError, match="disk has 1.0. MB free, and http.*000.parquet needs 3.00 MB: make room"):
            download(server.url + PATH, disk / "a")
        assert len(server.log) == 1
        monkeypatch.setattr(fetch, "need_room", lambda *_: None)  # another process takes the room meanwhile
        with pytest.raises(UserError, match="cannot write .*a.part: No space left on device"):
            download(server.url + PATH, disk / "a")
        assert len(server.log) == 2
        subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)
        download(server.url + PATH, disk / "a")
        assert (disk / "a").read_bytes() == BODY and server.log[-1][1].startswith("bytes=")


class Listing(SimpleHTTPRequestHandler):
    """`python -m http.server`, which shows a folder as a page."""

    def log_message(self, *args):
        pass


def test_a_page_is_not_taken_for_a_file(tmp_path):
    folder = tmp_path / "www/edu"
    folder.mkdir(parents=True)
    (folder / "story.txt").write_text("<p>Once there was a tree.")
    (folder / "page.html").write_text("<p>Once there was a tree.")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Listing, directory=tmp_path / "www")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url, out = f"http://127.0.0.1:{server.server_port}", tmp_path / "out"
        out.mkdir()
        for address in (f"{url}/edu/", f"{url}/edu", f"{url}/", f"{url}/edu/?page.html", f"{url}/edu?a=/page.html"):
            with pytest.raises(UserError, match=r"/\S* is a web page, not a file of text: give the address of a file"):
                download(address, out / "a")
        (tmp_path / "www/a.parquet").mkdir()  # what it says it is, it is not
        with pytest.raises(UserError, match=r"a\.parquet is a web page"):
            download(f"{url}/a.parquet", out / "a")
        assert not names(out)
        for name in ("story.txt", "page.html", "page.html?v=2"):  # a page whose name says so is read as one
            assert download(f"{url}/edu/{name}", out / "a")["bytes"] == 25
        server.shutdown()


def test_names_of_addresses():
    assert is_remote("https://h/a") and is_remote("hub:o/n") and not is_remote("hub/o.txt")
    url = "https://host/edu/10%20BT/000.parquet?v=2#sha256=" + SHA
    assert list(remote_files(url)) == [(url, "10 BT/000.parquet", "10 BT", 0)]
    assert list(remote_files("http://host/a.txt")) == [("http://host/a.txt", "host/a.txt", "host", 0)]
    for bad in ("http://host", "https:///x.txt"):
        with pytest.raises(UserError, match="names no file"):
            list(remote_files(bad))


# ---- the hub ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for huggingface_hub with one data set; no test may use the network."""
    files = {"README.md": 5, ".gitattributes": 1, "10BT/001.parquet": 30, "10BT/000.parquet": 20, "100BT/0.parquet": 9}

    class Api:
        def dataset_info(self, repository):
            if repository != "owner/edu":
                raise OSError("Repository Not Found for url: …\nand much more")
            return types.SimpleNamespace(sha="c0ffee")

        def list_repo_tree(self, repository, recursive, revision, repo_type):
            assert (repository, recursive, revision, repo_type) == ("owner/edu", True, "c0ffee", "dataset")
            yield types.SimpleNamespace(path="10BT")  # a folder has no size
            yield from (types.SimpleNamespace(path=path, size=size) for path, size in files.items())

    def hf_hub_download(repository, path, *, repo_type, revision, local_dir):
        assert (repository, repo_type, revision) == ("owner/edu", "dataset", "c0ffee")
        if path not in files:
            raise (RuntimeError if path == "odd" else OSError)("Entry Not Found")
        (local_dir / path).parent.mkdir(parents=True)
        (local_dir / path).write_bytes(b"x" * files[path])
        return str(local_dir / path)

    module = types.SimpleNamespace(HfApi=Api, hf_hub_download=hf_hub_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)


def test_the_hub(tmp_path, hub):
    first, second = ("hub:owner/edu@c0ffee/10BT/000.parquet", "edu/10BT/000.parquet", "edu", 20), (
        "hub:owner/edu@c0ffee/10BT/001.parquet", "edu/10BT/001.parquet", "edu", 30)  # fmt: skip
    assert list(remote_files("hub:owner/edu/10BT")) == list(remote_files("hub:owner/edu/10BT/*.parquet")) == [
        first, second]  # fmt: skip
    assert list(remote_files("hub:owner/edu/10BT/000.parquet")) == [first]
    assert len(list(remote_files("hub:owner/edu"))) == 3 and not list(remote_files("hub:owner/edu/nothing"))
    assert download(first[0], tmp_path / "a") == {"bytes": 20, "sha256": hashlib.sha256(b"x" * 20).hexdigest()}
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"x" * 20
    with pytest.raises(UserError, match="cannot be listed: Repository Not Found for url: …\\. Check its name, "):
        list(remote_files("hub:owner/none"))
    for gone in ("nothing", "odd"):
        with pytest.raises(UserError, match="cannot be downloaded: Entry Not Found"):
            download(f"hub:owner/edu@c0ffee/{gone}", tmp_path / "b")
    with pytest.raises(UserError, match="is not understood: write hub:owner/name"):
        list(remote_files("hub:owner"))


def test_the_hub_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # what an import of it then raises is ImportError
    with pytest.raises(UserError, match="hub:owner/edu needs the package huggingface_hub: `pip install"):
        list(remote_files("hub:owner/edu"))


NO_HUB = not importlib.util.find_spec("huggingface_hub")


@pytest.mark.skipif(NO_HUB, reason="needs huggingface_hub")
@pytest.mark.parametrize("verb, trouble, sentence", [
    ("listed", "closed", "Connection refused"), ("listed", "proxy", "Connection refused"),
    ("listed", "offline", "offline mode is enabled"), ("listed", "404", "404 Not Found"),
    ("listed", "401", "401 Unauthorized"), ("listed", "nonsense", ""), ("downloaded", "404", "404 Not Found"),
    ("downloaded", "403", "403 Forbidden"), ("downloaded", "offline", "offline mode is enabled"),
    pytest.param("downloaded", "closed", "Connection refused", marks=pytest.mark.slow),  # the client tries for 25 s
])  # fmt: skip
def test_the_real_client_in_trouble(tmp_path, server, verb, trouble, sentence):
    """huggingface_hub itself, in a process that reaches nothing but this machine."""
    env = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    env |= dict(HF_ENDPOINT=server.url, HF_HUB_OFFLINE="0", HF_HOME=str(tmp_path / "home"))
    env |= {"closed": {"HF_ENDPOINT": "http://127.0.0.1:9"}, "offline": {"HF_HUB_OFFLINE": "1"},
            "proxy": {"HF_ENDPOINT": "http://hub.invalid", "HTTP_PROXY": "http://127.0.0.1:9"}}.get(trouble, {})
    paths = ["/api/datasets/owner/none", "/datasets/owner/none/resolve/c0ffee/a.parquet"]
    server.faults |= {path: [trouble] * 99 for path in paths if trouble.isdigit()}
    server.files |= {path: b"<p>Sign in to this network" for path in paths if trouble == "nonsense"}
    command = ["-m", "minigpt", "prepare", "--out", str(tmp_path / "data"), "--text", "hub:owner/none/a.parquet"]
    if verb == "downloaded":  # a source that an earlier call has listed
        row = dict(place="hub:owner/none@c0ffee/a.parquet", id="none/a.parquet", domain="none", bytes=9, split="")
        code = f"""if True:
            from pathlib import Path
            from minigpt import __main__, prepare
            prepare.list_sources = lambda *_: [{row}]
            raise SystemExit(__main__.main({command[2:]}))"""
        command = ["-c", code]
    done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == (2 if trouble.isdigit() else 75), done.stderr
    last = done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr and done.stderr.count("minigpt: ") == 1
    assert last.startswith("minigpt: hub:owner/none") and f"cannot be {verb}: " in last and sentence in last, last
