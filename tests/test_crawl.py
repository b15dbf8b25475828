"""A crawl whose truth is known: real WARC files, and labels that are right."""
import doctest
import html
import ipaddress
import itertools
import json
import re
import subprocess
import sys
import tracemalloc
import zlib
from collections import Counter
from pathlib import Path

import pytest

from minigpt.config import UserError
from minigpt.text import crawl
from minigpt.text.crawl import KINDS, LANGUAGES, LAYOUTS, make_crawl
from minigpt.text.sources import Document, builtin, usable_domains

warcio = pytest.importorskip("warcio")
from warcio.archiveiterator import ArchiveIterator  # noqa: E402

ITEMS = [(f"quiz-{i}", f"Question {i}: which of the {i + 3} lanterns, on the harbour wall; was lit by keeper "
          f"{i * 7 % 11} before the {i}th storm of that long winter? The green one, in the end.") for i in range(12)]
SIZE, FILE_SIZE = 5_000_000, 1_900_000


def clean_documents():
    return builtin(usable_domains(["books", "speeches"])[0])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder, summary, [(truth, payload)]), read by warcio at the offsets that the truth names."""
    folder = tmp_path_factory.mktemp("crawl") / "made"
    summary = make_crawl(clean_documents(), folder, 11, SIZE, items=ITEMS, file_size=FILE_SIZE)
    return folder, summary, pages_of(folder, summary)


def pages_of(folder, summary):
    pages = []
    for name in summary["files"]:
        with open(folder / name, "rb") as file:
            for truth in map(json.loads, (folder / name.replace("warc.gz", "truth.jsonl")).open(encoding="utf-8")):
                file.seek(truth["offset"])
                record = next(iter(ArchiveIterator(file)))
                assert record.rec_headers["WARC-Target-URI"] == truth["url"]
                assert truth["id"] == f"{truth['url']}#{record.rec_headers['WARC-Record-ID'][10:18]}"
                assert (record.http_headers["Content-Type"].partition("charset=")[2]) == truth["declared"]
                pages.append((truth, record.content_stream().read()))
    return pages


def test_docstrings():
    assert doctest.testmod(crawl).failed == 0


def test_warcio_reads_every_record(made):
    folder, summary, pages = made
    kinds = Counter()
    for name in summary["files"]:
        with open(folder / name, "rb") as file:
            for number, record in enumerate(ArchiveIterator(file, check_digests=True)):
                body = record.content_stream().read()
                assert record.digest_checker.passed is not False
                assert (record.rec_type == "warcinfo") == (number == 0)
                if record.rec_type == "response":
                    assert len(body) == int(record.http_headers["Content-Length"]) and record.http_headers.protocol
                kinds[record.rec_type] += 1
        data, members = (folder / name).read_bytes(), 0
        while data:
            member = zlib.decompressobj(31)
            assert member.decompress(data).startswith(b"WARC/1.") and member.eof
            data, members = member.unused_data, members + 1
        kinds["members"] += members
    assert kinds == {"warcinfo": len(summary["files"]), "response": len(pages), "request": len(pages),
                     "members": len(summary["files"]) + 2 * len(pages)}
    assert summary["pages"] == len(pages) and summary["bytes"] == sum(len(payload) for _, payload in pages)


def test_size(made):
    folder, summary, pages = made
    largest = max(len(payload) for _, payload in pages)
    assert SIZE <= summary["bytes"] < SIZE + largest and summary["complete"]
    assert len(summary["files"]) == 3 and summary == json.loads((folder / "crawl.json").read_text())
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["crawl.json", *summary["files"], *(name.replace("warc.gz", "truth.jsonl") for name in summary["files"])])


def test_labels_cover_every_byte_and_character(made):
    for truth, payload in made[2]:
        for spans, length in ((truth["spans"], len(payload)), (truth["text_spans"], len(truth["text"]))):
            assert [0, *(b for _, b, _ in spans)] == [*(a for a, _, _ in spans), length]
            assert all(a < b for a, b, _ in spans)


MAIN = ("content", "spam", "keywords", "gibberish", "boilerplate", "pii", "contamination")


def test_bytes_with_a_label_of_the_main_text_are_the_text(made):
    """Decoded by Python and unescaped by `html`, they are `text`, but for the space between paragraphs."""
    compared = 0
    for truth, payload in made[2]:
        if not {"mojibake", "double_mojibake", "truncated"} & set(truth["kinds"]):
            parts = [html.unescape(payload[a:b].decode(truth["charset"])) for a, b, label in truth["spans"]
                     if label.startswith(MAIN)]
            assert "".join("".join(parts).split()) == "".join(truth["text"].split()), truth["id"]
            compared += 1
    assert compared > 100


def test_text_of_a_page_is_that_of_its_documents(made):
    texts = {document.id: document.text for document in clean_documents()}
    for truth, _ in made[2]:
        if truth["kinds"] == ["clean"]:
            whole = "".join("".join(texts[id.rpartition("#")[0] or id].split()) for id in dict.fromkeys(
                id if id in texts else id.rpartition("#")[0] for id in truth["sources"]))
            assert "".join(truth["text"].split()) in whole


def test_garbled_text_is_undone_by_hand(made):
    seen = Counter()
    for truth, payload in made[2]:
        rounds = ("mojibake" in truth["kinds"]) + 2 * ("double_mojibake" in truth["kinds"])
        if rounds:
            main = b"".join(payload[a:b] for a, b, label in truth["spans"] if label.startswith(MAIN))
            main = html.unescape(main.decode())
            assert "".join(main.split()) != "".join(truth["text"].split())
            for _ in range(rounds):  # cp1252, and its five holes as they are
                main = b"".join(c.encode("cp1252") if c not in "\x81\x8d\x8f\x90\x9d" else c.encode("latin-1")
                                for c in main).decode()
            assert re.sub(r"\s", "", main) == re.sub(r"\s", "", truth["text"])
            seen[rounds] += 1
    assert seen[1] > 3 and seen[2] > 1


def test_damage_is_there(made):
    seen = Counter()
    for truth, payload in made[2]:
        kinds, end = set(truth["kinds"]), payload.rstrip()[-20:].lower()
        seen.update(kinds)
        assert ("nul" in kinds) == (b"\0" in payload)
        assert ("truncated" in kinds) or end.endswith((b"</html>",))
        assert "truncated" not in kinds or not end.endswith(b"</html>")
        try:
            payload.decode(truth["charset"])
        except UnicodeDecodeError:
            assert "truncated" in kinds
        if "wrong_charset" in kinds:
            assert payload.decode(truth["declared"], "replace") != payload.decode(truth["charset"])
        if "empty" in kinds:
            assert truth["text"] == "" and {label for _, _, label in truth["spans"]} <= {"markup", "script", "style"}
    assert set(seen) == set(KINDS) | {"mojibake", "double_mojibake", "wrong_charset", "truncated", "nul", "pii",
                                      "contamination"}


LOOKS = {"email": re.compile(r"[\w.+]+@([\w-]+\.)+example"), "name": re.compile(r"[A-Z][a-z]+ [A-Z][a-z]+"),
         "phone": re.compile(r"\+?[\d(][\d (). -]{8,}\d"), "address": re.compile(r"\d+ .+, .+ \w{3,}$")}


def test_personal_data_and_test_items_are_where_the_labels_say(made):
    seen, items = Counter(), {id: re.sub(r"\W", "", text).lower() for id, text in ITEMS}
    for truth, payload in made[2]:
        for start, end, label in truth["text_spans"]:
            name, _, kind = label.partition(":")
            text = truth["text"][start:end]
            if name == "pii":
                seen[kind] += 1
                assert ipaddress.ip_address(text).is_global is False if kind == "ip" else LOOKS[kind].fullmatch(text)
            elif name == "contamination":
                assert re.sub(r"\W", "", text).lower() == items[kind]
                seen["contamination"] += 1
            else:
                assert not re.search(r"@[\w-]+\.example|\b555-01\d\d\b|\b(192\.0\.2|203\.0\.113)\.\d", text), text
        assert {l for *_, l in truth["text_spans"] if ":" in l} == {l for *_, l in truth["spans"] if ":" in l}
    assert all(seen[kind] >= 5 for kind in ("email", "name", "phone", "address", "ip", "contamination")), seen


def test_gibberish_repeats_no_personal_data(tmp_path, monkeypatch):
    monkeypatch.setattr(crawl, "PII", 1.0)
    summary = make_crawl(clean_documents(), tmp_path / "a", 2, 400_000, kinds={"clean": 1, "markov": 2})
    text = " ".join(truth["text"] for truth, _ in pages_of(tmp_path / "a", summary) if truth["kinds"][0] == "markov")
    assert len(text) > 10_000 and not re.search(r"\S@\S+\.example|\b555\b|\b01632\b|192\.0\.2", text)


def naive_similarity(a: str, b: str) -> float:
    a, b = ({" ".join(group) for group in zip(*(words[i:] for i in range(5)))} for words in
            (re.findall(r"\w+", text.lower()) for text in (a, b)))
    return len(a & b) / len(a | b)


def test_planted_duplicates_are_duplicates(made):
    first, seen = {}, Counter()
    for truth, payload in made[2]:
        kind, cluster = truth["kinds"][0], truth["cluster"]
        if cluster not in first:
            first[cluster] = truth, payload
            continue
        seen[kind] += 1
        original, bytes_of_original = first[cluster]
        alike = naive_similarity(truth["text"], original["text"])
        if kind == "exact":
            assert payload == bytes_of_original
        elif kind == "mirror":
            assert truth["text"] == original["text"] and truth["url"].split("/")[2] != original["url"].split("/")[2]
            host, other = (t["url"].split("/")[2].encode() for t in (truth, original))
            assert payload.replace(host, other) == bytes_of_original
        else:
            assert kind in ("near", "template") and payload != bytes_of_original
            assert alike == pytest.approx(truth["similarity"], abs=0.02) and alike > 0.6
    assert set(seen) == {"exact", "mirror", "near", "template"} and min(seen.values()) >= 8


def test_other_pages_are_no_duplicates(made):
    kinds = ("clean", "foreign", "spam", "markov")
    texts = [(t["cluster"], t["text"]) for t, _ in made[2] if t["kinds"][0] in kinds][::3]
    for (a, text), (b, other) in itertools.combinations(texts, 2):
        assert a == b or naive_similarity(text + " . . . . . a b c d e", other) < 0.5


def test_languages_and_layouts(made):
    folder, summary, pages = made
    assert len(LANGUAGES) >= 8 and set(LANGUAGES) | {"en"} == {t["language"] for t, _ in pages}
    for truth, payload in pages:
        if truth["kinds"] == ["foreign"] and truth["language"] in ("ru", "el", "ja", "zh"):
            script = {"ru": "Ѐ-ӿ", "el": "Ͱ-Ͽ", "ja": "぀-鿿", "zh": "一-鿿"}[truth["language"]]
            assert re.search(f"[{script}]{{2}}", truth["text"])
    assert len({t["charset"] for t, _ in pages}) >= 5
    heads = {payload[:16] + payload[-25:] for _, payload in pages}
    assert len(heads) >= len(LAYOUTS) - 1


def test_the_same_in_another_process(tmp_path):
    code = ("import sys; from minigpt.text.crawl import make_crawl; from minigpt.text.sources import Document\n"
            "d = (Document(f'd{i}', 'x', f'The lamp of number {i} was “lit” at {i * 7}. ' * 9) for i in range(900))\n"
            "make_crawl(d, sys.argv[1], int(sys.argv[2]), 400_000, items=[('q', 'Which lamp? That one.')])\n")
    for name, hash_seed, seed in (("a", "1", "5"), ("b", "2", "5"), ("c", "1", "6")):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name), seed], check=True,
                       env={**__import__("os").environ, "PYTHONHASHSEED": hash_seed})
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "abc"]
    assert files[0] == files[1] and files[0]["crawl-00000.truth.jsonl"] != files[2]["crawl-00000.truth.jsonl"]


def few(count: int):
    return [Document(f"d{i}", "x", f"Number {i} of the lamps was lit, and then number {i + 1} went out. " * 6)
            for i in range(count)]


def test_without_trouble_and_all_documents(tmp_path):
    summary = make_crawl(few(50), tmp_path / "clean", kinds={"clean": 1})
    assert summary["kinds"]["clean"] == summary["pages"] and summary["complete"]
    used = {id for t, _ in pages_of(tmp_path / "clean", summary) for id in t["sources"]}
    assert used == {f"d{i}" for i in range(50)}
    assert make_crawl(few(50), tmp_path / "short", size=10**9)["complete"] is False


def test_endless_documents_in_flat_memory(tmp_path):
    tracemalloc.start()
    make_crawl((d for i in itertools.count() for d in few(40)), tmp_path / "a", size=2_000_000, file_size=500_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6, peak


def test_mistakes_are_named(tmp_path):
    make_crawl(few(9), tmp_path / "there", size=1000)
    for match, run in (("already holds a crawl", lambda: make_crawl(few(9), tmp_path / "there")),
                       ("no pages of kind 'spma'", lambda: make_crawl(few(9), tmp_path / "x", kinds={"spma": 1})),
                       ("'clean' must be above 0", lambda: make_crawl(few(9), tmp_path / "y", kinds={"spam": 1})),
                       ("no documents", lambda: make_crawl([], tmp_path / "z"))):
        with pytest.raises(UserError, match=match):
            run()


def test_command(tmp_path):
    (tmp_path / "notes.txt").write_text("\n\n".join(d.text for d in few(90)), encoding="utf-8")
    (tmp_path / "items.jsonl").write_text('{"id": "q", "text": "Which lamp? That one."}\n', encoding="utf-8")
    command = [sys.executable, "-m", "minigpt.text.crawl", str(tmp_path / "out"), "--bytes", "90000", "--text",
               str(tmp_path / "notes.txt"), "--items", str(tmp_path / "items.jsonl")]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert "pages" in done.stdout and (tmp_path / "out/crawl.json").exists()
    again = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert again.returncode == 2 and "already holds a crawl" in again.stderr and "Traceback" not in again.stderr
