"""WARC → pages → text, against a crawl whose truth is known, and on files that are broken."""
import doctest
import gzip
import io
import json
import random
import re
import time
import tracemalloc
import uuid
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt.config import UserError
from minigpt.text import pages, sources
from minigpt.text.crawl import ENGLISH, make_crawl, overlap
from minigpt.text.pages import LIMIT, decode, extract, in_languages, language_of, main_text, mend, mend_text, read_warc
from minigpt.text.sources import builtin, usable_domains, visible_text
from minigpt.text.steps import Statistics

for module in ("warcio", "trafilatura", "ftfy", "py3langid"):
    pytest.importorskip(module)
from ftfy import fix_encoding  # noqa: E402
from warcio.archiveiterator import ArchiveIterator  # noqa: E402
from warcio.statusandheaders import StatusAndHeaders  # noqa: E402
from warcio.warcwriter import WARCWriter  # noqa: E402

MAIN = {"clean", "exact", "near", "mirror", "foreign", "template"}  # kinds whose text is in a language


@pytest.fixture(scope="module")
def crawl(tmp_path_factory):
    """(folder, {id: truth})"""
    folder = tmp_path_factory.mktemp("crawl") / "made"
    made = make_crawl(builtin(usable_domains(["books", "speeches"])[0]), folder, 23, 4_000_000, file_size=1_500_000)
    lines = [line for name in made["files"]
             for line in (folder / name.replace("warc.gz", "truth.jsonl")).open(encoding="utf-8")]
    return folder, {truth["id"]: truth for truth in map(json.loads, lines)}


@pytest.fixture(scope="module")
def read(crawl):
    """(pages as read, counts)"""
    statistics = Statistics()
    return list(read_warc([crawl[0]], statistics)), statistics


def test_docstrings():
    assert doctest.testmod(pages).failed == 0 and doctest.testmod(sources).failed == 0


# ---- the crawl ------------------------------------------------------------------------------------------------------


def test_every_page_is_read_and_decoded(crawl, read):
    (folder, truth), (found, read_) = crawl, read
    counts = read_.counts
    assert [page.id for page in found] == list(truth)
    assert (read_.documents, read_.kept, counts["broken"], counts["repeated"]) == (len(truth), len(truth), 0, 0)
    assert read_.bytes == read_.kept_bytes == sum(t["spans"][-1][1] for t in truth.values())
    assert counts["nul"] == sum("nul" in t["kinds"] for t in truth.values()) > 0
    assert counts["charset"] == sum("wrong_charset" in t["kinds"] for t in truth.values()) > 0
    bytes_of = {}
    for name in sorted(folder.glob("*.warc.gz")):
        with open(name, "rb") as file:
            bytes_of |= {r.rec_headers["WARC-Target-URI"] + "#" + r.rec_headers["WARC-Record-ID"][10:18]:
                         r.content_stream().read() for r in ArchiveIterator(file) if r.rec_type == "response"}
    for page in found:  # in the encoding that the truth names, whatever the header says
        assert page.text == bytes_of[page.id].decode(truth[page.id]["charset"], "ignore").replace("\0", ""), page.id


def scores(found, truth, keep=lambda t: True):
    """(precision, recall) of characters over the pages of `truth` that are to be kept."""
    totals = [overlap(found.get(id, ""), t["text"]) for id, t in truth.items() if keep(t)]
    same, ours, theirs = map(sum, zip(*totals))
    return same / ours, same / theirs


def test_main_text_against_the_naive_reader(crawl, read):
    some = {id: t for id, t in list(crawl[1].items())[::3] if t["kinds"][0] in MAIN}
    chosen = [page for page in mend(read[0], Statistics()) if page.id in some]
    statistics = Statistics()
    ours = scores({d.id: d.text for d in extract(chosen, statistics)}, some)
    naive = scores({d.id: d.text for d in extract(chosen, Statistics(), visible_text)}, some)
    assert ours[0] > 0.93 and ours[1] > 0.93, (ours, naive)
    assert naive[1] > 0.98 and naive[0] < ours[0] - 0.05, (ours, naive)
    assert statistics.documents == len(chosen) and not statistics.removed["nesting or markup"]


def test_garbled_pages_are_mended_and_others_are_left_alone(crawl, read):
    truth, mended = crawl[1], Statistics()
    garbled = {id for id, t in truth.items() if {"mojibake", "double_mojibake"} & set(t["kinds"])}
    words = Counter()
    for before, after in zip(read[0], mend(read[0], mended)):
        if after.id in garbled:
            expected = {w for w in truth[after.id]["text"].split() if not w.isascii()}
            words.update(all=len(expected), before=sum(w in before.text for w in expected),
                         after=sum(w in after.text for w in expected))
        elif before.text != after.text:
            words["spoiled"] += 1
    assert len(garbled) > 8 and words["before"] < 0.3 * words["all"] and words["after"] > 0.97 * words["all"], words
    assert words["spoiled"] <= 0.01 * len(truth), words
    assert abs(mended.changed - len(garbled)) <= 2 and mended.documents == len(truth)


def test_languages(crawl, read):
    truth, right = crawl[1], defaultdict(list)
    for document in extract(mend(read[0], Statistics()), Statistics()):
        if truth[document.id]["kinds"][0] in MAIN:
            language = truth[document.id]["language"]
            right[language].append(language_of(document.text)[0] == language)
    assert len(right) >= 9
    answers = sum(right.values(), [])
    assert sum(answers) / len(answers) >= 0.97, {k: f"{sum(v)}/{len(v)}" for k, v in right.items()}
    foreign = sum((answers for language, answers in right.items() if language != "en"), [])
    assert sum(foreign) / len(foreign) >= 0.97


def test_in_languages_keeps_and_counts():
    texts = {"de": "Am frühen Morgen beschrieb die alte Lehrerin eine Laterne.", "en": "A lamp was lit at the gate."}
    statistics = Statistics()
    documents = [sources.Document(code, "web", text) for code, text in texts.items()]
    assert [d.id for d in in_languages(documents, {"de"}, statistics)] == ["de"]
    assert (statistics.documents, statistics.kept, statistics.removed) == (2, 1, {"language en": 1})
    assert list(in_languages(documents, {"de", "en"}, Statistics(), least=1.1)) == []


# ---- encodings ------------------------------------------------------------------------------------------------------

SAMPLES = {"cp1252": "Ein süßer Käse, „ganz“ naiv — 5 €", "iso8859-2": "Zażółć gęślą", "cp1251": "Съешь ещё этих булок",
           "cp932": "緑のランプを直した話", "gb18030": "清晨，那位老教师在湖边", "iso8859-7": "Νωρίς το πρωί η δασκάλα",
           "utf-8": "naïve Übung ☃"}


@pytest.mark.parametrize("charset", SAMPLES)
@pytest.mark.parametrize("header", ["right", "utf-8", "", "nonsense-8", "rot13", "utf-8; meta"])
def test_decode(charset, header):
    text = SAMPLES[charset] * 3
    payload = text.encode(charset)
    assert decode(payload, charset) == (text, charset)
    page = f"<head><meta http-equiv='Content-Type' content='text/html; charset={charset}'></head>".encode() + payload
    if header != "right":  # then the page's own word for it counts
        assert decode(page, header) == (page.decode(charset), charset)


@given(st.text(), st.sampled_from(["", "utf-8", "iso-8859-1", "shift_jis"]))
def test_utf_8_is_utf_8_whatever_the_header_says(text, header):
    if not text.startswith("\ufeff"):
        assert decode(text.encode(), header)[0] == text


@given(st.binary(), st.text(max_size=20))
def test_any_bytes_can_be_decoded(payload, header):
    text, charset = decode(payload, header)
    assert isinstance(text, str) and "".encode(charset) in (b"", b"\xff\xfe")


def test_page_cut_within_a_character():
    assert decode("Ærø".encode()[:-1]) == ("Ær", "utf-8")
    assert decode(("ä" * 30).encode() + b"\xff" + b" and on")[0] == "ä" * 30 + "\ufffd and on"


def test_mend_text():
    good = "“Quoted”, naïve — 5 €; Ærø, 100 × 200 ©"
    bad = good.encode().decode("cp1252", "ignore")
    assert mend_text(f"{good}\n{good.encode().decode('latin-1')}\nplain") == (f"{good}\n{good}\nplain", 1)
    assert mend_text(bad.encode().decode("latin-1"))[1] == 1
    assert mend_text("plain\ntext") == ("plain\ntext", 0)


def test_mend_text_is_ftfy_line_by_line():
    """We skip what cannot be broken; ftfy itself, asked for every line, must say the same."""
    rng = random.Random(3)
    pieces = ["naïve", "“so”", "it’s", "à", "ß 5 €", "Ã", "Â", "©", "plain words",
              "\xa0", "–", "\n", "\n\n", "Ørsted", "\x9d"]

    def as_read(line):
        return line.encode().decode(rng.choice(["latin-1", "cp1252"]), "ignore") if rng.random() < 0.5 else line

    changed = 0
    for _ in range(1000):
        text = "".join(rng.choice(pieces) for _ in range(rng.randint(1, 9)))
        old = [as_read(line) for line in text.split("\n")]
        new = [fix_encoding(line) for line in old]
        lines = sum(a != b for a, b in zip(old, new))
        assert mend_text("\n".join(old)) == ("\n".join(new), lines), old
        changed += lines
    assert changed > 300


# ---- bad input ------------------------------------------------------------------------------------------------------

PROSE = "<html><body><article>" + "<p>The keeper lit the lamp, and the ships came home before the storm.</p>" * 8


def warc(pages, gz=True, **http) -> bytes:
    """A WARC file of (url, payload) pages, written by warcio."""
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=gz)
    for number, (url, payload) in enumerate(pages):
        status = http.get("status", "200 OK")
        headers = StatusAndHeaders(status, [("Content-Type", http.get("type", "text/html"))], protocol="HTTP/1.1")
        writer.write_record(writer.create_warc_record(
            url, "response", payload=io.BytesIO(payload), http_headers=headers,
            warc_headers_dict={"WARC-Record-ID": uuid.uuid5(uuid.NAMESPACE_URL, f"{url} {number}").urn.join("<>"),
                               "WARC-Date": "2026-03-01T12:00:00Z", **http.get("warc", {})}))
    return out.getvalue()


def many(count=6):
    return [(f"https://a.example/{i}", (PROSE + f"<p>Page {i}.</p>").encode()) for i in range(count)]


def reading(tmp_path, data: bytes, name="x.warc.gz"):
    (tmp_path / name).write_bytes(data)
    statistics = Statistics()
    return list(read_warc([tmp_path / name], statistics)), statistics.counts | statistics.removed


@pytest.mark.parametrize("gz", [True, False])
def test_whole_files(tmp_path, gz):
    found, counts = reading(tmp_path, warc(many(), gz), "x.warc.gz" if gz else "x.warc")
    assert [(p.url, p.text) for p in found] == [(u, b.decode()) for u, b in many()] and counts["broken"] == 0


def test_one_member_for_the_whole_file(tmp_path):
    """`gzip crawl.warc`: not as it should be, but every record is there."""
    found, counts = reading(tmp_path, gzip.compress(warc(many(), gz=False)))
    assert len(found) == 6 and counts["broken"] == 0


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """(folder, pages), with text that gzip cannot make tiny."""
    rng = random.Random(1)
    texts = (" ".join(f"{rng.getrandbits(20):x}" for _ in range(200)) for _ in range(8))
    return tmp_path_factory.mktemp("small"), [(f"https://a.example/{i}", text.encode()) for i, text in enumerate(texts)]


@settings(deadline=None, max_examples=200)
@given(st.data(), st.booleans())
def test_a_damaged_stretch_costs_the_records_in_it_and_no_other(small, data, gz):
    folder, words = small
    whole = warc(words, gz)
    start = data.draw(st.integers(len(warc(words[:1], gz)), len(whole) - 1))
    noise = data.draw(st.binary(min_size=1, max_size=60))
    broken = whole[:start] + noise + whole[start + len(noise):]
    found, counts = reading(folder, broken, "x.warc.gz" if gz else "x.warc")
    urls = [page.url for page in found]
    assert len(found) >= (7 if len(noise) == 1 else 6) and urls[0] == words[0][0]
    assert {page.text.encode() for page in found} <= {payload for _, payload in words}  # or its checksum would be wrong
    if gz:  # where the record's header is within it
        assert {(page.url, page.text.encode()) for page in found} <= set(words)
        assert len(found) == 8 or counts["broken"] in (1, 2)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 10**6), st.booleans())
def test_a_file_that_ends_early(small, cut, gz):
    folder, words = small
    whole = warc(words, gz)
    cut = 1200 + cut % (len(whole) - 1200)
    found, counts = reading(folder, whole[:cut], "x.warc.gz" if gz else "x.warc")
    assert [p.url for p in found] == [url for url, _ in words[:len(found)]] and len(found) < 8 or cut > len(whole) - 9
    assert all(p.text.encode() == payload for p, (_, payload) in zip(found, words))
    assert len(found) >= int(8 * cut / len(whole)) - 1 and counts["broken"] <= 1


@pytest.mark.parametrize("gz", [True, False])
def test_junk_between_and_wrong_lengths(tmp_path, gz):
    a, b, c = (warc([page], gz) for page in many(3))
    name = "x.warc.gz" if gz else "x.warc"
    found, counts = reading(tmp_path, a + b"\0" * 5000 + b + b"\x1f\x8b\x08 no member " * 9 + c, name)
    assert [p.url[-1] for p in found] == ["0", "1", "2"] and counts["broken"] >= 1
    for change in (b"Content-Length: 9", b"Content-Length: 99999", b"Content-Length: x", b"Content-Type: y"):
        plain = warc([many(3)[1]], gz=False)
        head, rest = plain.split(b"Content-Length: ", 1)
        bad = head + change + rest[rest.index(b"\r\n"):]
        found, counts = reading(tmp_path, a + (gzip.compress(bad) if gz else bad) + c, name)
        assert [p.url[-1] for p in found] == ["0", "2"] and counts["broken"] >= 1, change


@pytest.mark.parametrize("byte", [b"\0", b"5", b" ", b"\n"])
def test_a_wrong_byte_in_a_plain_header_costs_one_record(tmp_path, byte):
    """Also where a wrong length, or a header without its end, makes the record swallow the next one's header."""
    first, second, rest = (warc(pages, gz=False) for pages in (many(6)[:1], many(6)[1:2], many(6)[2:]))
    for place in range(second.index(b"<html>")):
        bad = second[:place] + byte + second[place + 1:]
        found, _ = reading(tmp_path, first + bad + rest, "x.warc")
        assert {url for url, _ in many(6)} - {page.url for page in found} <= {"https://a.example/1"}, place


def test_first_record_is_broken(tmp_path):
    data = warc(many())
    found, counts = reading(tmp_path, b"\0" * 100 + data[100:])
    assert [p.url[-1] for p in found] == list("12345") and counts["broken"] == 1


def test_a_wrong_checksum_of_gzip_is_enough(tmp_path):
    """Of a record without digests, only gzip's own checksum can tell that it is not what was written."""
    plain = re.sub(rb"WARC-(Block|Payload)-Digest: .*\r\n", b"", warc(many(1), gz=False))
    good, bad = gzip.compress(plain), bytearray(gzip.compress(plain))
    assert b"Digest" not in plain and len(reading(tmp_path, good)[0]) == 1
    bad[-8] ^= 1
    found, counts = reading(tmp_path, bytes(bad) + warc(many()[1:]))
    assert [p.url[-1] for p in found] == list("12345") and counts["broken"] == 1


def test_records_that_are_no_response_are_passed_over(tmp_path):
    """One alone in its member without a look inside; one that shares it, is large or damaged, as any other."""
    def metadata(payload: bytes) -> bytes:
        writer = WARCWriter(out := io.BytesIO(), gzip=False)
        writer.write_record(writer.create_warc_record("https://a.example/2", "metadata", payload=io.BytesIO(payload)))
        return out.getvalue()

    first, second = (gzip.decompress(warc([page])) for page in many(2))
    other, large = metadata(b"hops: 1"), metadata(random.Random(1).randbytes(30_000))
    bad = bytearray(gzip.compress(other))
    bad[-8] ^= 1
    for data, broken in ((gzip.compress(other) + gzip.compress(first) + gzip.compress(other + second), 0),
                         (gzip.compress(first) + gzip.compress(large) + gzip.compress(second), 0),
                         (gzip.compress(first) + bad + gzip.compress(second), 1),
                         (other + first + other + second, 0)):
        found, counts = reading(tmp_path, bytes(data))
        assert [p.url[-1] for p in found] == ["0", "1"] and counts["broken"] == broken
    assert reading(tmp_path, gzip.compress(other)) == ([], {})


def test_a_page_under_two_addresses_is_extracted_once():
    seen, statistics = [], Statistics()
    made = [pages.Page(f"https://a.example/{i}", "", html, "utf-8") for i, html in enumerate("aabca")]
    found = list(extract(made, statistics, lambda html: seen.append(html) or html))
    assert [d.text for d in found] == list("aabca") and seen == list("abc") and statistics.kept == 5


def test_comments_are_no_main_text(crawl, read):
    kept = []
    for page in read[0]:
        spans = [span for span in crawl[1][page.id]["spans"] if span[2] == "comment"]
        if "clean" in crawl[1][page.id]["kinds"] and len(spans) > 6:
            text = main_text(page.text)
            kept.append(any(phrase in text for phrase in ENGLISH["comment"][1]))
    assert len(kept) > 10 and sum(kept) < 0.2 * len(kept), (sum(kept), len(kept))


def test_nothing_is_printed(tmp_path, capfd):
    a, b = (warc([page]) for page in many(2))
    reading(tmp_path, a[:200] + b + gzip.compress(warc([many(1)[0]], gz=False).replace(b"\r\n\r\n", b"\r\n")) + b[:99])
    assert capfd.readouterr() == ("", "")


def test_a_page_of_50_mb_is_capped_in_bounded_memory(tmp_path):
    page = PROSE.encode() + b"<p>word " * 6_500_000
    data = warc([("https://a.example/big", page), *many(1)])
    del page
    tracemalloc.start()
    found, counts = reading(tmp_path, data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 2 and len(found[0].text) == LIMIT and counts["capped"] == 1
    assert peak < 8 * LIMIT, peak


def test_endless_nesting():
    """The parser gives up at some depth: no text then, no error and no crash; the naive reader finds it."""
    nested = "<html><body>" + "<div>" * 100_000 + "The keeper lit the lamp. " * 30
    for page in (nested, nested + "</div>" * 100_000, "<table><tr><td>" * 50_000 + "lamp", "<b>" * 100_000 + "lamp"):
        step = Statistics()
        found = list(extract([pages.Page("a", "", page, "utf-8"), pages.Page("b", "", PROSE, "utf-8")], step))
        assert found[-1].id == "b" and step.documents == 2 == len(found) + step.removed["no text"]
    assert "The keeper lit the lamp." in visible_text(nested)


def test_half_a_million_tags_take_seconds():
    """Seven minutes, if all of them were looked at; what stands before them is there."""
    started = time.process_time()
    text = main_text(PROSE + "<p>word " * 500_000)
    assert text.startswith("The keeper lit the lamp") and text.count("word") > 10_000
    assert time.process_time() - started < 20


@pytest.mark.parametrize("page", ["", " ", "\0", "<", "<html", "<![", "<!--", "<script>", "&#xd800;", "&#99999999;",
                                  "<p>\ud800", "<html><body><script>x = 1</script></body></html>", "<a " * 5000,
                                  "]]>", "<?xml"])
def test_pages_without_text(page):
    step = Statistics()
    assert list(extract([pages.Page("a", "", page, "utf-8")], step)) == []
    assert step.removed["no text"] + step.removed["nesting or markup"] == 1


@settings(deadline=None, max_examples=60)
@given(st.text(st.sampled_from("<>/pdivbrtable=\"'&#;![]- \n\0é"), max_size=300))
def test_any_markup_can_be_extracted(markup):
    assert isinstance(main_text(markup), str)


def test_nul_bytes_repeated_ids_and_what_is_no_page(tmp_path):
    same = {"warc": {"WARC-Record-ID": "<urn:uuid:12345678-1111-4222-8333-123456789abc>"}}
    url, payload = many(1)[0]
    data = warc([(url, payload.replace(b"keeper", b"kee\0per"))], **same) + warc([(url, payload)], **same)
    data += warc(many(1), type="image/png") + warc(many(1), status="404 Not Found")
    data += warc(many(1), type="application/xhtml+xml; charset=utf-8")
    found, counts = reading(tmp_path, data)
    assert [p.id for p in found[:2]] == [f"{url}#12345678", f"{url}#12345678#2"]
    assert found[0].text == found[1].text == found[2].text == payload.decode()
    assert [counts[k] for k in ("nul", "repeated", "no page", "broken")] == [1, 1, 2, 0] and len(found) == 3
    odd, _ = reading(tmp_path, warc(many(1), warc={"WARC-Record-ID": "<page 7>"}))
    assert odd[0].id == reading(tmp_path, warc(many(1), warc={"WARC-Record-ID": "<page 8>"}))[0][0].id  # by its content


def test_mistakes_are_named(tmp_path):
    (tmp_path / "notes.warc.gz").write_text("not a crawl at all")
    (tmp_path / "empty.warc").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for name, match in (("gone.warc", "does not exist"), ("notes.warc.gz", "holds no WARC record"),
                        ("empty.warc", "holds no WARC record"), ("folder", "no .warc")):
        with pytest.raises(UserError, match=match):
            list(read_warc([tmp_path / name], Statistics()))
