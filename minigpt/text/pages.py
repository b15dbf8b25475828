"""From a crawl's WARC files to text: read, decode, mend, extract, identify. Each step takes a stream and returns one.

    read, mended, extracted, kept = (Statistics() for _ in range(4))
    pages = mend(read_warc(["crawl/"], read), mended)
    documents = in_languages(extract(pages, extracted), {"en"}, kept)

What others wrote does the hard parts: warcio (records), trafilatura (main text; Barbaresi 2021), ftfy (encodings; Speer
2019), py3langid (languages; after Lui and Baldwin 2012). Whatever a page holds, a step goes on to the next one.
"""
import codecs
import logging
import mmap
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache, lru_cache
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..config import UserError
from .sources import Document
from .steps import Statistics, filtered

LIMIT = 4 << 20  # bytes of a page that are read: what comes after is no prose (Common Crawl's own limit is near)
MOST_TAGS = 40_000  # of a page that are looked at: trafilatura's time grows with their square
GZIP, WARC = b"\x1f\x8b\x08", b"WARC/"
SEEN = 500  # characters by which a language is told: more changes no answer and costs time


class Page(NamedTuple):
    """An HTML page as it was received, decoded."""

    id: str
    """Address and the first eight digits of the record's id: "https://willow-post.example/a#3f2a91c0"."""
    url: str
    text: str
    """Its HTML."""
    charset: str
    """By which the bytes were decoded."""


# ---- reading --------------------------------------------------------------------------------------------------------


def read_warc(paths: Iterable[str | Path], statistics: Statistics) -> Iterator[Page]:
    """The HTML pages of .warc and .warc.gz files, or of folders of them, in order; other records are passed over.

    Bytes are those received. Removed: "no page" (images, errors, redirects). counts, of what was not as it should be:
    broken (stretches of a file that are no record: reading goes on at the next one), capped (pages over LIMIT bytes,
    cut there), nul (pages with NUL bytes, which are dropped), charset (pages whose header names another encoding than
    the one that fits), repeated (ids seen before, which get "#2"). Ids are remembered, 100 bytes a page. Raises
    UserError for a path that is not there, or a file without a single record.
    """
    files = [file for path in map(Path, paths) for file in (
        sorted(f for f in path.iterdir() if f.name.endswith((".warc", ".warc.gz"))) if path.is_dir() else [path])]
    if missing := [path for path in files if not path.is_file()]:
        raise UserError(f"{missing[0]} does not exist.")
    if not files:
        raise UserError("there is no .warc or .warc.gz file to read.")
    return _pages(files, statistics)


def _pages(files: list[Path], statistics: Statistics) -> Iterator[Page]:
    seen: dict[int, int] = {}
    for file in files:
        for url, record, payload, declared in _responses(file, statistics):
            html, charset = decode(payload, declared)
            id = f"{url}#{record[9:17] if record else sha256(payload).hexdigest()[:8]}"
            seen[key] = seen.get(key := hash(id), 0) + 1
            statistics.saw(len(payload))
            statistics.kept += 1
            statistics.kept_bytes += len(payload)
            statistics.counts.update({
                "nul": "\0" in html, "repeated": seen[key] > 1,
                "charset": bool(declared) and _codec(declared) != charset and not html.isascii()})
            yield Page(id if seen[key] == 1 else f"{id}#{seen[key]}", url, html.replace("\0", ""), charset)


def _responses(path: Path, statistics: Statistics) -> Iterator[tuple[str, str, bytes, str]]:
    """(url, record id, payload, declared charset) of every page of a file, whatever else is in it."""
    from warcio.archiveiterator import WARCIterator

    class Records(WARCIterator):
        INC_RECORD = ""  # it prints this; we look at err_count instead

    any_record, start = False, 0
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else \
            open(path, "rb") as data:
        size = path.stat().st_size
        while 0 <= start < size:
            if end := _beside_the_point(data, start):
                any_record, start = True, end
                continue
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
                        page = _response(record, statistics)
                start = member.end if member else size
            # other people's code on damaged bytes: the kind of error is anybody's guess, and the answer always the same
            except Exception:
                statistics.counts["broken"] += 1
                whole = last and _whole(last, records)
                if page and whole and (last.digest_checker.passed or not member):
                    yield page  # what broke came after it
                if not member:  # a record that is not what its header says may have swallowed the next one's header
                    start = begin if last and not whole else records.offset
                start = _next_record(data, start + 1)
    if not any_record:
        raise UserError(f"{path} holds no WARC record: is it a crawl (.warc or .warc.gz)?")


def _beside_the_point(data: mmap.mmap, start: int) -> int:
    """Where a small gzip member ends that is whole and holds one record, which is no response but, say, a request; 0
    for anything else. Half of a crawl's records are such, and need not be taken to pieces."""
    block, zip = data[start:start + (1 << 11)], zlib.decompressobj(31)
    try:
        found = zip.decompress(block, 1 << 13) if block.startswith(GZIP) else b""
    except zlib.error:
        return 0
    other = re.match(rb"(?i)WARC/(?:.+\r\n)*?WARC-Type: *(?!response)\w+\r\n(?:.+\r\n)*\r\n", found)
    return start + len(block) - len(zip.unused_data) if zip.eof and other and found.count(WARC) == 1 else 0


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
                block = self.data[self.end:self.end + (1 << 14)]
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


def _response(record, statistics: Statistics) -> tuple[str, str, bytes, str] | None:
    headers = record.http_headers
    if record.rec_type != "response" or headers is None:
        return None
    kind, _, parameters = (headers.get_header("Content-Type") or "text/html").partition(";")
    url = record.rec_headers.get_header("WARC-Target-URI") or ""
    if headers.get_statuscode() != "200" or kind.strip().lower() not in ("text/html", "application/xhtml+xml"):
        statistics.remove("no page", 0)
        return None
    payload = record.content_stream().read(LIMIT + 1)
    statistics.counts["capped"] += len(payload) > LIMIT
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


def mend(pages: Iterable[Page], statistics: Statistics) -> Iterator[Page]:
    """Undo UTF-8 read as something else and written again ("naÃ¯ve"). counts: lines."""
    def judge(page: Page) -> Page:
        text, lines = mend_text(page.text)
        statistics.counts["lines"] += lines
        return page._replace(text=text)

    return filtered(pages, judge, statistics)


def mend_text(text: str) -> tuple[str, int]:
    r"""(text with its mojibake undone, number of lines that changed). Line by line: one lost byte spoils no other line.

    Best done before the main text is cut out: to an extractor, half of a garbled quotation mark is a control character.

    >>> mend_text("voilÃ\xa0\nvoilà")
    ('voilà\nvoilà', 1)
    """
    from ftfy import fix_encoding, is_bad

    parts, at, lines = [], 0, 0
    for match in re.finditer(r"[^\0-\x7f].*", text):  # from the first character that ASCII has not, to the line's end
        start = text.rfind("\n", 0, match.start()) + 1
        line = text[start:match.end()]
        if is_bad(line) and (fixed := fix_encoding(line)) != line:
            parts += [text[at:start], fixed]
            at, lines = match.end(), lines + 1
    return "".join([*parts, text[at:]]), lines


# ---- main text ------------------------------------------------------------------------------------------------------


def by_attributes(xpath):
    """A function tree -> elements that answers like a compiled `xpath` (lxml) whose conditions are about an element's
    own tag and attributes, such as .//div[contains(@class, 'menu')], but asks it once for all elements alike.

    Pages repeat few of them, and a condition is slow. Where there is a question about what lies below, too, as in
    [not(.//h1)], the expression is asked itself, once an element alone fulfils it. A position, [1], is left out.
    """
    names, below = set(re.findall(r"@([\w-]+)", xpath.path)), xpath.path.count(".//") > 1
    tags = re.findall(r"(?:self::|\.//)(\w+)", xpath.path) or ["*"]

    @lru_cache(1 << 15)
    def fulfils(tag: str, attributes: tuple[tuple[str, str], ...]) -> bool:
        return bool(xpath(_parent_of(tag, attributes)))

    def find(tree):
        found = [element for element in tree.iterdescendants(*tags) if fulfils(
            element.tag, tuple([item for item in element.items() if item[0] in names]))]
        return xpath(tree) if found and below else found

    find.xpath = xpath
    return find


@lru_cache(1 << 12)  # most of the expressions are about the same few attributes
def _parent_of(tag: str, attributes: tuple[tuple[str, str], ...]):
    """An element with no other child than this one."""
    from lxml.etree import Element, SubElement

    alone = Element("parent")
    child = SubElement(alone, tag if re.fullmatch(r"\w+", tag) else "other")
    for name, value in attributes:  # in this order: some conditions look at the first only
        child.set(name, re.sub(r"[\x00-\x08\x0b-\x1f\ufffe\uffff\ud800-\udfff]", "", value))
    return alone


@cache
def _options():
    """What trafilatura is asked for. It is made twice as fast on the way, with the same answers: see by_attributes."""
    from lxml import etree, html
    from trafilatura import utils, xpaths
    from trafilatura.settings import Extractor

    utils.HTML_PARSER.set_element_class_lookup(etree.ElementDefaultClassLookup(element=html.HtmlElement))
    for slow in (xpaths.BODY_XPATH, xpaths.OVERALL_DISCARD_XPATH, xpaths.RAW_TREE_PRUNE_XPATH,
                 xpaths.REMOVE_COMMENTS_AND_LISTS_XPATH):
        slow[:] = map(by_attributes, slow)
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # a page without text is a count here, not an error
    # fast: without a second opinion of other extractors, half of the time for a hundredth of the text
    return Extractor(fast=True, comments=False, recall=True)


def main_text(html: str) -> str:
    """What the page is about, paragraph a line, without navigation, banners and comments; "" where there is nothing."""
    from trafilatura import extract as trafilatura_extract

    if html.count("<") > MOST_TAGS:
        html = "<".join(html.split("<", MOST_TAGS)[:MOST_TAGS])
    return trafilatura_extract(html, options=_options()) or ""


def extract(pages: Iterable[Page], statistics: Statistics, how: Callable[[str], str] = main_text) -> Iterator[Document]:
    """Documents of domain "web": the main text of each page, or what else `how` makes of its HTML (`visible_text`).

    Removed: "no text", and "nesting or markup" that the extractor gave up on.
    """
    known: dict[int, str] = {}  # a page is often met under several addresses

    def judge(page: Page) -> Document | str:
        if (text := known.get(key := hash(page.text))) is None:
            try:
                text = how(page.text)
            except Exception:  # as above: a parser met something that its author did not think of
                return "nesting or markup"
            if len(text) < 10_000:
                known[key] = text
            if len(known) > 4_000:
                known.clear()
        return Document(page.id, "web", text) if text.strip() else "no text"

    return filtered(pages, judge, statistics)


# ---- language -------------------------------------------------------------------------------------------------------


@cache
def _identifier():
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.nb_ptc = identifier.nb_ptc.astype(np.float32)  # once, and not for every text
    return identifier


def language_of(text: str) -> tuple[str, float]:
    """(ISO 639 code, confidence from 0 to 1) by the first SEEN characters.

    >>> language_of("Le chat est assis sur la chaise et regarde la pluie.")[0]
    'fr'
    """
    return _classify(text[:SEEN])


@lru_cache(1 << 12)
def _classify(text: str) -> tuple[str, float]:
    return _identifier().classify(text)


def in_languages(documents: Iterable[Document], languages: Collection[str], statistics: Statistics, least: float = 0.0
                 ) -> Iterator[Document]:
    """The documents in one of `languages`, of which the identifier is at least so sure. Removed: "language de"…"""
    if unknown := set(languages) - set(_identifier().nb_classes):
        raise UserError(f"languages have codes like en or de; {sorted(unknown)[0]!r} is none that can be told.")

    def judge(document: Document) -> Document | str:
        code, confidence = language_of(document.text)
        return document if code in languages and confidence >= least else f"language {code}"

    return filtered(documents, judge, statistics)
