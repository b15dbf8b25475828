"""Personal data: finding it by its form, and masking it.

    EMAIL    also written with (at) and (dot)             IBAN     checksum 97 (ISO 13616)
    PHONE    +44 20 7946 0123, (212) 555-0123, 01632      CARD     length by issuer, and Luhn's checksum
             960123; looser after "phone", "call"         ADDRESS  number and street, perhaps town and post code
    IP       version 4 or 6; not of the machine itself    NAME     only beside one of the others: "Ada Lovelace, tel. …"

Forms are those of English-speaking and some European countries. A name alone in running text stays: to tell Ada
Lovelace in a letter from Ada Lovelace in an encyclopedia takes more than a pattern. FineWeb masks e-mail and IP only
(Penedo et al. 2024, section 3.7).
"""
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv6Address
from typing import NamedTuple

from .sources import Document
from .steps import Statistics, filtered

AROUND, AROUND_CLUES = 200, 16  # characters: no match is longer, and no hint
MARK = "\ue000"  # stands for a character that has been found; a private one, which no text has


class Span(NamedTuple):
    start: int
    end: int
    kind: str


def find(text: str) -> list[Span]:
    """Where personal data stands in a text, in order, none overlapping another.

    >>> [(span.kind, text[span.start : span.end]) for text in ["Ring Ada Birkett on 01632 960123, not 1.2.3.4"]
    ...  for span in find(text)]
    [('NAME', 'Ada Birkett'), ('PHONE', '01632 960123')]
    """
    spans: list[Span] = []
    # What costs little to find comes first: most of a text has no clue, and most clues no hint. Six times as fast.
    clues = list(around((match.span() for match in CLUE.finditer(text)), AROUND_CLUES))
    for kind, hint, pattern, valid in KINDS:
        hints = (match.span() for first, last in clues for match in hint.finditer(text, first, last))
        new = []
        for first, last in around(hints if hint else (span[:2] for span in sorted(spans)), AROUND):
            for match in pattern.finditer(text, first, last):
                if size := valid(match):
                    start, end = match.span(match.lastindex)
                    new.append(Span(start, end if size is True else start + size, kind))
        text = replaced(text, new, lambda span: MARK * (span.end - span.start))  # no part of what comes next
        spans += new
    return sorted(spans)


def around(places: Iterable[tuple[int, int]], width: int) -> Iterator[tuple[int, int]]:
    """(from, to) of the parts of a text within `width` characters of places, which come in order; `to` may be beyond
    its end.

    >>> list(around([(50, 51), (70, 80), (500, 501)], 20))
    [(30, 100), (480, 521)]
    """
    first = last = 0
    for start, end in places:
        if start - width > last:
            if last:
                yield first, last
            first = start - width
        last = end + width
    if last:
        yield first, last


def replaced(text: str, spans: Iterable[Span], by: Callable[[Span], str]) -> str:
    """The text with each span (in order, none overlapping) replaced."""
    parts, at = [], 0
    for span in spans:
        parts += [text[at : span.start], by(span)]
        at = span.end
    return "".join([*parts, text[at:]])


def mask(text: str) -> tuple[str, Counter]:
    """(text with <EMAIL> and so on in the place of personal data, how many of each kind).

    >>> mask("Write to ada@example.org.")
    ('Write to <EMAIL>.', Counter({'EMAIL': 1}))
    """
    spans = find(text)
    return replaced(text, spans, lambda span: f"<{span.kind}>"), Counter(span.kind for span in spans)


def mask_all(documents: Iterable[Document], statistics: Statistics) -> Iterator[Document]:
    """All documents, masked; `statistics.counts` says how often what was."""
    def judge(document: Document) -> Document:
        text, counts = mask(document.text)
        statistics.counts.update(counts)
        if counts:
            statistics.sample("masked", document.id, text[max(0, text.index("<" + next(iter(counts))) - 100) :])
        return document._replace(text=text)

    return filtered(documents, judge, statistics)


# ---- checks: False, True, or the number of characters that it holds for ----------------------------------------------


def luhn(digits: str) -> bool:
    """The checksum of card numbers (ISO 7812): with every second digit from the right doubled, the digits add up to a
    multiple of 10.

    >>> luhn("4539578763621486"), luhn("4539578763621487")
    (True, False)
    """
    doubled = (int(digit) * (1 + i % 2) for i, digit in enumerate(reversed(digits)))
    return sum(value // 10 + value % 10 for value in doubled) % 10 == 0


def is_card(match: re.Match) -> bool:
    digits = re.sub(r"\D", "", match[1])
    return bool(ISSUERS.fullmatch(digits)) and luhn(digits)


def is_iban(match: re.Match) -> int:
    """The longest beginning, up to a space, whose letters as numbers (A = 10) leave 1 when divided by 97; 0 if none."""
    for end in [len(match[1]), *sorted((m.start() for m in re.finditer(" ", match[1])), reverse=True)]:
        code = match[1][:end].replace(" ", "")
        if 15 <= len(code) <= 34 and int("".join(str(int(c, 36)) for c in code[4:] + code[:4])) % 97 == 1:
            return end
    return 0


def is_ip4(match: re.Match) -> bool:
    """Not a number of a version or a section, whose parts are small, and not this machine or a mask."""
    parts = match[1].split(".")
    values = [int(part) for part in parts]
    plain = all(str(value) == part and value <= 255 for value, part in zip(values, parts))
    return plain and max(values) >= 30 and values[0] not in (0, 127, 255) and not VERSIONED.search(before(match))


def is_ip6(match: re.Match) -> bool:
    try:
        return IPv6Address(match[1]).packed[:1] != b"\0" and any(c.isdigit() for c in match[1])
    except ValueError:
        return False


def is_phone(match: re.Match) -> bool:
    digits = re.sub(r"\D", "", match[1])
    return 8 <= len(digits) <= 15 and not DATED.match(match[1]) and not NUMBERED.search(before(match))


def is_labelled_phone(match: re.Match) -> bool:
    return 6 <= len(re.sub(r"\D", "", match[1])) <= 15 and not DATED.match(match[1])


def is_address(match: re.Match) -> bool:
    """A number like a year needs a post code behind the street."""
    return not re.match(r"(?:1[5-9]|20)\d\d\b", match[1]) or match[1][-1].isdigit() or bool(match[2])


def is_name(match: re.Match) -> bool:
    return NOT_NAMES.isdisjoint(match[match.lastindex].split())


def before(match: re.Match) -> str:
    return match.string[max(0, match.start(1) - 16) : match.start(1)]


ISSUERS = re.compile(r"4\d{15}|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|6(?:011|5\d\d)\d{12}|35\d{14}|3[068]\d{12}")
VERSIONED = re.compile(r"(?i)(?:version|ver\.?|release|section|sec\.|chapter|clause|article|build|firmware|§)\s*$")
NUMBERED = re.compile(r"(?i)(?:isbn|issn|doi|no\.|nr\.|number|order|item|part|ref\.?|invoice|id)(?:-1[03])?[\s:#]*$")
_YEAR, _DAY = r"(?:19|20)\d\d", r"\d{1,2}[-/. ]\d{1,2}"
DATED = re.compile(rf"(?:{_DAY}[-/. ]{_YEAR}|{_YEAR}[-/. ]{_DAY}|{_YEAR}-{_YEAR})(?!\d)")

_WORD = r"[A-ZÀ-Þ][a-zß-ÿ]+(?:['’-][A-ZÀ-Þa-zß-ÿ]+)*"
_AT, _DOT = r"(?:@| ?[(\[](?:at|AT)[)\]] ?)", r"(?:\.| ?[(\[](?:dot|DOT)[)\]] ?)"
_EMAIL = rf"((?<![\w.+%-])[\w.+%-]{{1,64}}{_AT}(?:[A-Za-z0-9-]{{1,63}}{_DOT}){{1,5}}[A-Za-z]{{2,24}}(?![\w@]))"
_IBAN = r"\b([A-Z]{2}\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)\b"
_CARD = r"(\d(?<![\w.-]\d)(?:[ -]?\d){12,18})(?![\w-])"
_IP6 = r"([0-9A-Fa-f](?<![\w:.][0-9A-Fa-f])[0-9A-Fa-f]{0,3}(?::[0-9A-Fa-f]{0,4}){2,7})(?<!:)(?![\w:])"
_IP4 = r"(\d(?<![\w.-]\d)\d{0,2}(?:\.\d{1,3}){3})(?![\w-]|\.\d)"
_PHONE = (r"((?:\(?\+|00(?<![\w.-]00))[1-9]\d{0,2}\)?(?:[ ./-]?(?:\(\d{1,5}\)|\d{1,5})){2,6}"  # international
          r"|(?:\((?<![\w)]\()[2-9]\d\d\) ?|[2-9](?<![\w.,/+-].)\d\d[ .-])\d{3}[ .-]\d{4}"  # North American
          r"|\(?0(?<![\w.,/+-]0)[1-9]\d{0,3}\)?[ /-]{1,3}\d{2,4}(?:[ /-]?\d{2,4}){1,4})(?![\w]|[-./]\d)")  # trunk 0
_LABELLED = (r"(?i:\b(?:tel|telephone|phone|ph|fax|mobile|cell|call|ring|text|whatsapp|dial)\b\.?"
             r"(?: (?:me|us|number|no\.?|him|her|is|on|at|now)){0,3}[ :]{1,3})"
             r"([(\d][\d ./()-]{4,18}\d)(?![\w]|[-./:]\d)")
_WAY = (r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Close|Court|Ct|Boulevard|Blvd|Way|Place|Pl|Square|Sq|Terrace"
        r"|Crescent|Row|Gardens|Parkway|Highway)\b(?:\.(?=,))?")
_TOWN = r"[A-Z][\w'’.-]+(?: [A-Z][\w'’.-]+){0,2}"
_CODE = r"(?:[A-Z]{2} \d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|\d{5})\b"
_ADDRESS = (rf"(\d(?<![\w.,-]\d)\d{{0,4}}[A-Za-z]?,? (?:[A-Z][\w'’.-]+ ){{1,3}}{_WAY}"
            rf"(?:,? (?:Apt|Suite|Unit|Flat)\.? \w+)?(,?\s{_TOWN},?\s{_CODE})?"
            rf"|[A-ZÄÖÜ][\w-]*(?:straße|strasse|str\.|weg|platz|allee|gasse) \d{{1,4}}[a-z]?(?:,\s\d{{5}} {_WORD})?)")
NOT_NAMES = frozenset(
    "The This That Our Your My Please Tel Telephone Phone Fax Mobile Email Mail Contact Call Write Send Ring Dear "
    "Street Road Avenue Lane Drive Close Court Monday Tuesday Wednesday Thursday Friday Saturday Sunday January "
    "February March April June July August September October November December Office Department Company University "
    "Society Library Museum School Hotel Church Council Ltd Inc Corporation Institute Service Services Customer "
    "Support Press".split())
_FULL = (rf"(?!(?:{'|'.join(sorted(NOT_NAMES))})\b){_WORD}(?: [A-Z]\.)?"
         rf"(?: (?:van|von|de|der|da|di|la|O['’]{_WORD}|Mc{_WORD}|{_WORD})){{1,3}}")
_NAME = (rf"\b({_FULL})(?=(?:,? (?:[a-z]+ ){{0,4}}|,?\s?\n|[ ,:;(<|-]{{1,4}})"
         rf"(?:\(?[A-Za-z-]{{2,9}}[.:]{{1,2}} ?)?{MARK})"
         rf"|{MARK} \(({_FULL})\)"
         rf"|{MARK}[^\n{MARK}]{{0,80}}(?:attention of|ask for|by|[.!?])\s({_FULL})(?=[.,;\n]|$)")
Check = Callable[[re.Match], int | bool]
_DIGITS = r"\d(?:[ ()./-]{1,3}\d\d|\d{5})|\+\d"
CLUE = re.compile(r"[\d@:(\[]")  # one of these is in every hint, and that of a name is the other kinds
KINDS: tuple[tuple[str, re.Pattern | str, re.Pattern, Check], ...] = tuple(
    (kind, hint and re.compile(hint), re.compile(pattern), check) for kind, hint, pattern, check in (
        ("EMAIL", r"@|[(\[](?:at|AT)[)\]]", _EMAIL, lambda match: True),
        ("IBAN", r"\d(?<=[A-Z]{2}\d)\d ?[A-Z0-9]{4}", _IBAN, is_iban),
        ("CARD", r"\d{4}[ -]?\d{4}", _CARD, is_card),
        ("IP", r":[0-9A-Fa-f]{0,4}:", _IP6, is_ip6),
        ("IP", r"\.\d{1,3}\.\d", _IP4, is_ip4),
        ("PHONE", _DIGITS, _PHONE, is_phone),
        ("PHONE", _DIGITS, _LABELLED, is_labelled_phone),
        ("ADDRESS", r"\d(?:[A-Za-z]?,? [A-Z]|(?<=(?:aße|sse|tr\.|weg|atz|lee) \d))", _ADDRESS, is_address),
        ("NAME", "", _NAME, is_name),
    ))  # fmt: skip
