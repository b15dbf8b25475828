"""From a crawl's WARC files to text: read, decode, mend, extract, identify. Each step takes a stream and returns one.

    from collections import Counter
    counts = Counter()
    pages = mend(read_warc(["crawl/"], counts), counts)
    documents = in_languages(extract(pages, counts), {"en"}, counts)

`counts` is the step's statistics: how many it saw, changed and passed over, under keys that begin with the step's name
("read.pages", "read.broken", "extract.empty", "language.de"). Streams of several processes add up: `Counter + Counter`.
What others wrote does the hard parts: warcio (records), trafilatura (main text; Barbaresi 2021), ftfy (encodings; Speer
2019), py3langid (languages; after Lui and Baldwin 2012). Whatever a page holds, a step goes on to the next one.
"""
import codecs
import logging
import mmap
import re
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from ..config import UserError
from .sources import Document

LIMIT = 4 << 20  # bytes of a page that are read: what comes after is no prose (Common Crawl's own limit is near)
GZIP, WARC = b"\x1f\x8b\x08", b"WARC/"
SEEN = 500  # characters by which a language is told: more changes no answer and costs time


class Page(NamedTuple):
    """An HTML page as it was received, decoded."""

    id: str
    """Address and the first eight digits of the record's id: "https://willow-post.example/a#3f2a91c0"."""
    url: str
    html: str
    charset: str
    """By which the bytes were decoded."""


# ---- reading --------------------------------------------------------------------------------------------------------


def read_warc(paths: Iterable[str | Path], counts: Counter) -> Iterator[Page]:
    """The HTML pages of .warc and .warc.gz files, or of folders of them, in order; other records are passed over.

    counts: read.pages, read.bytes (of pages), and what was not as it should be: read.broken (stretches of a file that
    are no record: reading goes on at the next one), read.other (images, errors, redirects), read.capped (pages over
    LIMIT bytes, cut there), read.nul (pages with NUL bytes, which are dropped), read.charset (pages whose header names
    another encoding than the one that fits), read.repeated (ids seen before, which get "#2"). Ids are remembered, 100
    bytes a page. Raises UserError for a path that is not there, or a file without a single record.
    """
    files = [file for path in map(Path, paths) for file in (
        sorted(f for f in path.iterdir() if f.name.endswith((".warc", ".warc.gz"))) if path.is_dir() else [path])]
    if missing := [path for path in files if not path.is_file()]:
        raise UserError(f"{missing[0]} does not exist.")
    if not files:
        raise UserError("there is no .warc or .warc.gz file to read.")
    return _pages(files, counts)


def _pages(files: list[Path], counts: Counter) -> Iterator[Page]:
    seen = Counter()
    for file in files:
        for url, record, payload, declared in _responses(file, counts):
            html, charset = decode(payload, declared)
            id = f"{url}#{record[9:17] if record else sha256(payload).hexdigest()[:8]}"
            seen[key := hash(id)] += 1
            counts.update({"read.pages": 1, "read.bytes": len(payload), "read.nul": "\0" in html,
                           "read.charset": bool(declared) and _codec(declared) != charset and not html.isascii(),
                           "read.repeated": seen[key] > 1})
            yield Page(id if seen[key] == 1 else f"{id}#{seen[key]}", url, html.replace("\0", ""), charset)


def _responses(path: Path, counts: Counter) -> Iterator[tuple[str, str, bytes, str]]:
    """(url, record id, payload, declared charset) of every page of a file, whatever else is in it."""
    from warcio.archiveiterator import WARCIterator

    class Records(WARCIterator):
        INC_RECORD = ""  # it prints this; we look at err_count instead

    any_record, start = False, 0
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else \
            open(path, "rb") as data:
        size = path.stat().st_size
        while 0 <= start < size:
            member = _Member(data, start) if data[start:start + 3] == GZIP else None
            data.seek(start)
            records = Records(member or data, check_digests=True)
            last = page = None
            try:
                for record in chain(records, [None]):  # by the time of the next one, the last has been read to its end
                    if last and not _whole(last, records):
                        raise _WrongRecord
                    if page:
                        yield page
                    last, page, begin = record, None, records.offset
                    if record:
                        any_record = True
                        page = _response(record, counts)
                start = member.end if member else size
            # other people's code on damaged bytes: the kind of error is anybody's guess, and the answer always the same
            except Exception as error:
                counts["read.broken"] += 1
                if page and _whole(last, records) and (last.digest_checker.passed or not member):
                    yield page  # what broke came after it
                if not member:
                    start = begin if isinstance(error, _WrongRecord) else records.offset
                start = _next_record(data, start + 1)
    if not any_record:
        raise UserError(f"{path} holds no WARC record: is it a crawl (.warc or .warc.gz)?")


class _WrongRecord(Exception):
    """A record is not as its header says."""


def _whole(record, records) -> bool:
    """Whether a record that was read has the length and the checksum of its header. One without is to end in lines."""
    if record.length is None or record.raw_stream.limit > 0:
        return False
    intact = record.digest_checker.passed
    return not records.err_count if intact is None else intact


class _Member:
    """The gzip member that begins at `start`, as a file to read from. Raises zlib.error where it is broken."""

    def __init__(self, data: mmap.mmap, start: int):
        self.data, self.end, self.zip = data, start, zlib.decompressobj(31)

    def read(self, size: int) -> bytes:
        while not self.zip.eof:
            block = self.zip.unconsumed_tail
            if not block:
                block = self.data[self.end:self.end + (1 << 16)]
                self.end += len(block)
            if not block:
                raise zlib.error("the file ends within a member")
            found = self.zip.decompress(block, size)
            if self.zip.eof:
                self.end -= len(self.zip.unused_data)
            if found:
                return found
        return b""


def _next_record(data: mmap.mmap, start: int) -> int:
    """Where the next record begins at or after `start`: a gzip member that holds one, or a line "WARC/1.0"; or -1."""
    for match in re.compile(rb"\x1f\x8b\x08|WARC/1\.[01]\r\n").finditer(data, start):
        if match[0] != GZIP:
            return match.start()
        try:
            if zlib.decompressobj(31).decompress(data[match.start():match.start() + 512], 16).startswith(WARC):
                return match.start()
        except zlib.error:  # three bytes by chance
            pass
    return -1


def _response(record, counts: Counter) -> tuple[str, str, bytes, str] | None:
    headers = record.http_headers
    if record.rec_type != "response" or headers is None:
        return None
    kind, _, parameters = (headers.get_header("Content-Type") or "text/html").partition(";")
    url = record.rec_headers.get_header("WARC-Target-URI") or ""
    if headers.get_statuscode() != "200" or kind.strip().lower() not in ("text/html", "application/xhtml+xml"):
        counts["read.other"] += 1
        return None
    payload = record.content_stream().read(LIMIT + 1)
    counts["read.capped"] += len(payload) > LIMIT
    charset = re.search(r"(?i)charset\s*=\s*[\"']?([\w.:-]+)", parameters)
    id = (record.rec_headers.get_header("WARC-Record-ID") or "").strip("<>")
    return url, id if id.startswith("urn:uuid:") else "", payload[:LIMIT], charset[1] if charset else ""


# ---- encoding -------------------------------------------------------------------------------------------------------


def _codec(name: str) -> str:
    """Python's name of a charset, widened as browsers do (iso-8859-1 is read as cp1252); "" for an unknown one."""
    wider = {"iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932"}
    try:
        found = codecs.lookup(name)
        b"x".decode(name)  # not one of Python's own, such as rot13 or hex
    except (LookupError, ValueError):
        return ""
    return wider.get(found.name, found.name)


def decode(payload: bytes, declared: str = "") -> tuple[str, str]:
    """(text, charset) of a page. `declared` is what the HTTP header says, and often wrong.

    Bytes that are UTF-8 are never anything else by accident, so that is tried first; then the header, then the page's
    own <meta>, then cp1252, which takes all but five bytes. Broken characters become U+FFFD.

    >>> decode("Ærø".encode(), "iso-8859-1"), decode("Ærø".encode("cp1252"), "utf-8")
    (('Ærø', 'utf-8'), ('Ærø', 'cp1252'))
    """
    if payload.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return payload.decode("utf-16", "replace"), "utf-16"
    text = codecs.getincrementaldecoder("utf-8-sig")("replace").decode(payload)  # a character cut at the end is dropped
    others = len(text) - len(text.encode("ascii", "ignore"))
    if text.count("\ufffd") * 10 <= others:
        return text, "utf-8"
    meta = re.search(rb"(?i)<meta[^>]{1,200}charset\s*=\s*[\"']?([\w.:-]+)", payload[:4096])
    for name in (declared, meta[1].decode() if meta else ""):
        if (codec := _codec(name)) and codec != "utf-8":
            try:
                return codecs.getincrementaldecoder(codec)("strict").decode(payload), codec
            except UnicodeDecodeError:
                pass
    return payload.decode("cp1252", "replace"), "cp1252"


def mend(pages: Iterable[Page], counts: Counter) -> Iterator[Page]:
    """Undo UTF-8 read as something else and written again ("naÃ¯ve"). counts: mend.pages, mend.lines, mend.changed."""
    for page in pages:
        html, lines = mend_text(page.html)
        counts.update({"mend.pages": 1, "mend.lines": lines, "mend.changed": lines > 0})
        yield page._replace(html=html)


def mend_text(text: str) -> tuple[str, int]:
    r"""(text with its mojibake undone, number of lines that changed). Line by line: one lost byte spoils no other line.

    Best done before the main text is cut out: to an extractor, half of a garbled quotation mark is a control character.

    >>> mend_text("voilÃ\xa0\nvoilà")
    ('voilà\nvoilà', 1)
    """
    from ftfy import fix_encoding

    if text.isascii():
        return text, 0
    old = text.split("\n")
    new = [line if line.isascii() else fix_encoding(line) for line in old]
    return "\n".join(new), sum(a != b for a, b in zip(old, new))


# ---- main text ------------------------------------------------------------------------------------------------------


@cache
def _options():
    from trafilatura.settings import Extractor

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # a page without text is a count here, not an error
    # fast: without a second opinion of other extractors, half of the time for a hundredth of the text
    return Extractor(fast=True, comments=False, recall=True)


def main_text(html: str) -> str:
    """What the page is about, paragraph a line, without navigation, banners and comments; "" where there is nothing."""
    from trafilatura import extract as trafilatura_extract

    return trafilatura_extract(html, options=_options()) or ""


def extract(pages: Iterable[Page], counts: Counter, how: Callable[[str], str] = main_text) -> Iterator[Document]:
    """Documents of domain "web": the main text of each page, or what else `how` makes of its HTML (`visible_text`).

    counts: extract.pages, extract.empty (no text found: passed over), extract.failed (nesting or markup that the
    extractor gave up on: passed over), extract.characters.
    """
    for page in pages:
        counts["extract.pages"] += 1
        try:
            text = how(page.html)
        except Exception:  # as above: a parser met something that its author did not think of
            counts["extract.failed"] += 1
            continue
        counts["extract.characters"] += len(text)
        if text.strip():
            yield Document(page.id, "web", text)
        else:
            counts["extract.empty"] += 1


# ---- language -------------------------------------------------------------------------------------------------------


@cache
def _identifier():
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def language_of(text: str) -> tuple[str, float]:
    """(ISO 639 code, confidence from 0 to 1) by the first SEEN characters.

    >>> language_of("Le chat est assis sur la chaise et regarde la pluie.")[0]
    'fr'
    """
    return _identifier().classify(text[:SEEN])


def in_languages(documents: Iterable[Document], languages: Collection[str], counts: Counter, least: float = 0.0
                 ) -> Iterator[Document]:
    """The documents in one of `languages`, of which the identifier is at least so sure. counts: language.<code>."""
    for document in documents:
        code, confidence = language_of(document.text)
        counts[f"language.{code}"] += 1
        if code in languages and confidence >= least:
            yield document
