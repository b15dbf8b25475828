"""A small web crawl whose truth is known: real WARC files, and a label for every byte of every page in them.

`make_crawl(documents, folder, seed, size)` turns clean documents into web pages of some sixty sites (navigation,
cookie banners, sidebars, comments, scripts), adds what a real crawl brings along (duplicates, spam, gibberish, other
languages, broken encodings, personal data, copies of test items) and writes

    crawl-00000.warc.gz        warcinfo, then a response and a request a page; a gzip member a record (ISO 28500)
    crawl-00000.truth.jsonl    a line a page, in the same order
    crawl.json                 seed, sizes, pages of each kind

so that any filter can be measured exactly. A line of truth holds

    id, url, offset            id is what minigpt.text.pages gives the page; offset is the record's place in the file
    kinds                      one of KINDS, then what else was done: a damage, "pii", "contamination"
    sources                    ids of the documents in it, with "#2" for the second part of a long one
    cluster, similarity        pages of the same cluster are duplicates; similarity to its first page (`jaccard`)
    language, charset          of the main text; the encoding the bytes are really in (declared: in the HTTP header)
    text, text_spans           what a perfect reader would get, and [start, end, label] over its characters
    spans                      [start, end, label] over the payload's bytes, without a gap

Labels: markup, script, style, title, navigation, banner, sidebar, comment, footer; of the main text content, spam,
keywords, gibberish, boilerplate; inside it pii:name|email|phone|address|ip, contamination:<item's id>, and nul for a
byte that does not belong. `text` is the main text alone, its paragraphs apart by a blank line; the space between
carries the label break.

All is a function of the documents, the seed and the mixture: bytes before compression are the same on every machine.
Memory stays flat. Everything invented here is harmless: hosts end in .example, telephone numbers are those kept for
fiction, IP addresses those kept for documentation (RFC 2606, 5737, 3849).
"""
import base64
import html
import io
import json
import random
import re
import sys
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from html.entities import codepoint2name
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from ..config import UserError
from ..files import write_atomic
from .sources import Document

PHRASES = json.loads(Path(__file__).with_name("crawl_phrases.json").read_text(encoding="utf-8"))
ENGLISH, LANGUAGES = PHRASES["english"], PHRASES["languages"]

KINDS = {"clean": 0.46, "exact": 0.06, "near": 0.11, "mirror": 0.04, "foreign": 0.11, "spam": 0.05, "keywords": 0.03,
         "markov": 0.02, "base64": 0.01, "minified": 0.02, "log": 0.02, "template": 0.06, "empty": 0.01}
"""Share of pages of each kind: made from a document, a copy of an earlier page, or invented."""
DAMAGES = {"": 0.80, "mojibake": 0.05, "double_mojibake": 0.03, "wrong_charset": 0.05, "truncated": 0.05, "nul": 0.02}
PII, CONTAMINATION = 0.10, 0.03  # share of clean pages that have some
LEGACY = {"de": "iso-8859-1", "fr": "iso-8859-15", "es": "windows-1252", "it": "iso-8859-1", "pt": "windows-1252",
          "nl": "iso-8859-1", "sv": "iso-8859-1", "pl": "iso-8859-2", "ru": "windows-1251", "el": "iso-8859-7",
          "ja": "shift_jis", "zh": "gb18030", "en": "windows-1252"}
SITES = 60  # English ones; every other language has three
REMEMBERED = 400  # pages that a later one may be a duplicate of
LABELS = {"spam": "spam", "keywords": "keywords", "template": "boilerplate"} | dict.fromkeys(
    ("markov", "base64", "minified", "log"), "gibberish")

Run = tuple[str, str]  # (text, label)
Piece = tuple[str, str, str]  # (HTML, label, what it adds to the clean text)


class Site(NamedTuple):
    """What the pages of a host have in common."""

    host: str
    language: str
    layout: str
    charset: str
    declared: str
    """In the Content-Type header: a charset, or "" for none."""
    entities: str
    """How its pages write what is not ASCII: plain, named (&eacute;) or numeric (&#233;)."""
    wraps: bool
    """Whether the lines of its HTML are broken within paragraphs."""
    style: str
    script: str
    navigation: str
    footer: str


class Plan(NamedTuple):
    """Everything that decides a page: `render` makes the same bytes of it again, for a duplicate or a mirror."""

    site: Site
    seed: str
    blocks: list[list[Run]]
    kinds: list[str]
    cluster: int | None
    sources: list[str]


# ---- words ----------------------------------------------------------------------------------------------------------


def sentences(rng: random.Random, language: str, count: int) -> str:
    """`count` made-up sentences in one of LANGUAGES.

    >>> sentences(random.Random(3), "de", 1)
    'Kurz vor Mitternacht suchte unser Nachbar den Ofen der Mühle an der Grenze, obwohl der Wind sehr kalt war.'
    """
    words = LANGUAGES[language]
    return words["join"].join(words["join"].join(map(rng.choice, words["columns"])).replace(" ,", ",") + words["stop"]
                              for _ in range(count))


def _name(rng: random.Random) -> str:
    return f"{rng.choice(ENGLISH['first'])} {rng.choice(ENGLISH['last'])}"


def _host(rng: random.Random) -> str:
    return f"{rng.choice(ENGLISH['host'])}-{rng.choice(ENGLISH['host2'])}.example"


def _email(rng: random.Random, name: str) -> str:
    first, last = name.lower().split()
    user = rng.choice(["{f}.{l}", "{f}{l}", "{i}.{l}", "{f}_{l}{n}", "{l}+{f}", "{f}{n}"])
    user = user.format(f=first, l=last, i=first[0], n=rng.randint(1, 99))
    return f"{user}@{rng.choice(['', 'mail.'])}{_host(rng)}"


def _phone(rng: random.Random) -> str:
    line, area = f"01{rng.randint(0, 99):02}", rng.randint(201, 989)
    return rng.choice([f"({area}) 555-{line}", f"{area}-555-{line}", f"+1 {area} 555 {line}", f"{area}.555.{line}",
                       f"+1-{area}-555-{line}", f"+44 20 7946 0{rng.randint(0, 999):03}",
                       f"01632 960{rng.randint(0, 999):03}"])


def _address(rng: random.Random) -> str:
    street = f"{rng.randint(1, 299)} {rng.choice(ENGLISH['street'])} {rng.choice(ENGLISH['way'])}"
    town = rng.choice(ENGLISH["town"])
    if rng.random() < 0.6:
        return f"{street}, {town}, {rng.choice(['OR', 'VT', 'OH', 'ME', 'WA'])} {rng.randint(10000, 99999)}"
    letters = "".join(rng.choices("ABDEFGHJLNPQRSTUWXYZ", k=4))
    return f"{street}, {town} {letters[:2]}{rng.randint(1, 9)} {rng.randint(1, 9)}{letters[2:]}"


def _ip(rng: random.Random) -> str:
    if rng.random() < 0.2:
        return f"2001:db8:{rng.randint(1, 0xffff):x}::{rng.randint(1, 0xffff):x}"
    return f"{rng.choice(['192.0.2', '198.51.100', '203.0.113'])}.{rng.randint(1, 254)}"


# A slot is personal data of that kind; everything else is not, however much some of it looks like it.
_PERSONAL = [
    "For tickets write to {name} at {email} or ring {phone}.", "{name}, {address}. Telephone {phone}.",
    "This entry was last edited by {name} ({ip}).", "Lost near the mill: a black umbrella. Finder please call {phone}.",
    "Send your answer to {email}, for the attention of {name}, before 31 October 2026.", "Posted from {ip} at 10:42.",
    "Parcels go to {name}, {address}; the bell is broken.", "Blocked since 2024-05-17: {ip}, 14 attempts.",
    "The secretary, {name}, lives at {address} and answers letters to {email}.",
    "My number has changed: it is {phone} now, not the one in the book. {name}", "E-mail: {email}; office hours 10-12."]
_DECOYS = [
    "Quote order no. 5550-1432-88 in all letters.", "ISBN 978-3-16-148410-0, 224 pages, 12.80.", "Tested with 3.11.2.",
    "Open 10-12 and 14-18, closed 24-26 December.", "A budget of 1,234,567.89 was voted 212 to 198.",
    "Follow @lantern for news, or #harvest2026.", "Room 12, second floor, 1998-2004.", "Score 6-4 7-5 3-6 6-2."]


def _personal(rng: random.Random) -> list[Run]:
    """A paragraph with personal data: [("For tickets write to ", "content"), ("Ada Birkett", "pii:name"), ...]."""
    name, runs = _name(rng), []
    make = {"name": lambda: name, "email": lambda: _email(rng, name), "phone": lambda: _phone(rng),
            "address": lambda: _address(rng), "ip": lambda: _ip(rng)}
    sentence = rng.choice(_PERSONAL) + (" " + rng.choice(_DECOYS) if rng.random() < 0.5 else "")
    for index, part in enumerate(re.split(r"\{(\w+)\}", sentence)):
        if part:
            runs.append((make[part](), f"pii:{part}") if index % 2 else (part, "content"))
    return runs


def _planted(rng: random.Random, item: tuple[str, str]) -> list[Run]:
    """A copy of a test item: to the letter, or as it gets around, with other case, spacing or punctuation."""
    id, text = item
    text = " ".join(text.split())
    change = rng.choice(["", "", "lower", "punctuation", "quoted"])
    if change == "lower":
        text = text.lower()
    elif change == "punctuation":
        text = re.sub(r"\s?[,;:]", "", text)
    elif change == "quoted":
        return [("As the saying goes: “", "content"), (text, f"contamination:{id}"), ("”", "content")]
    return [(text, f"contamination:{id}")]


# ---- the main text --------------------------------------------------------------------------------------------------


def _passages(documents: Iterable[Document], rng: random.Random) -> Iterator[tuple[list[str], list[str]]]:
    """(blocks, ids): page-sized parts of long documents, cut between blocks; short ones of a domain put together."""
    for _, group in groupby(documents, key=lambda document: document.domain):
        blocks, ids, size, goal = [], [], 0, rng.randint(600, 9000)
        for document in group:
            part = 1
            for block in re.split(r"\n\s*\n", document.text):
                lines = "\n".join(line.rstrip() for line in block.split("\n") if line.strip())
                if not lines:
                    continue
                if size and size + len(lines) > goal and size >= 600:
                    yield blocks, ids
                    part += bool(ids) and ids[-1].startswith(document.id)
                    blocks, ids, size, goal = [], [], 0, rng.randint(600, 9000)
                name = document.id if part == 1 else f"{document.id}#{part}"
                ids += [name] if name not in ids else []
                blocks.append(lines)
                size += len(lines)
        if size >= 200:
            yield blocks, ids


def _chain(rng: random.Random, text: str, count: int) -> str:
    """Words that follow each other as they do in `text`, and mean nothing: a Markov chain of order one."""
    words = text.split() or ["the"]
    after = {}
    for first, second in zip(words, words[1:]):
        after.setdefault(first, []).append(second)
    word, found = rng.choice(words), []
    for _ in range(count):
        found.append(word)
        word = rng.choice(after.get(word) or words)
    return " ".join(found)


def _minified(rng: random.Random, count: int) -> str:
    """A line of JavaScript, as build tools leave it."""
    parts, names = [], ENGLISH["identifier"]
    for _ in range(count):
        a, b, c = rng.choices("abcdefghijklmnopqrstuvwxyz", k=3)
        x, y, number = rng.choice(names), rng.choice(names), rng.randint(0, 999)
        parts.append(rng.choice([
            f"function {a}{c}({b}){{return {b}.{x}?{b}.{y}({number}):null}}", f"var {a}=!1,{b}={number},{c}=[];",
            f"{a}.{x}=function({c}){{for(var {b}=0;{b}<{c}.length;{b}++)this.{y}({c}[{b}])}};",
            f"if(void 0!=={a}.{x}&&{b}>{number}){{{c}=\"{y}\"}}else{{{c}={a}.{y}||\"{rng.getrandbits(40):x}\"}}"]))
    return "".join(parts)


def _log(rng: random.Random, count: int) -> list[Run]:
    runs, time = [], rng.randint(0, 86000)
    for _ in range(count):
        time += rng.randint(0, 40)
        runs += [(f"2026-03-{rng.randint(10, 28)}T{time // 3600 % 24:02}:{time // 60 % 60:02}:{time % 60:02}Z "
                  f"{rng.choice(['INFO', 'WARN', 'DEBUG', 'ERROR'])} [worker-{rng.randint(0, 9)}] "
                  f"{rng.choice(['GET', 'POST', 'HEAD'])} /{rng.choice(ENGLISH['identifier'])}/{rng.getrandbits(24):x} "
                  f"{rng.choice([200, 304, 404, 500])} {rng.randint(1, 2000)}ms client=", "gibberish"),
                 (_ip(rng), "pii:ip"), ("\n", "gibberish")]
    return runs[:-1]


def _invented(rng: random.Random, kind: str, language: str, memory: str) -> list[list[Run]]:
    """The blocks of a page that is not made from a document."""
    if kind == "foreign":
        return [[(sentences(rng, language, rng.randint(2, 6)), "content")] for _ in range(rng.randint(3, 12))]
    if kind == "spam":
        make = lambda: " ".join(f"{rng.choice(a)} {rng.choice(b)} {rng.choice(c)}!" for a, b, c in
                                [ENGLISH["spam"]] * rng.randint(3, 9))
    elif kind == "keywords":
        make = lambda: rng.choice([", ", " ", " | "]).join(rng.choices(ENGLISH["keyword"], k=rng.randint(30, 150)))
    elif kind == "markov":
        make = lambda: _chain(rng, memory, rng.randint(40, 160))
    elif kind == "base64":
        make = lambda: base64.encodebytes(rng.randbytes(rng.randint(300, 3000))).decode().strip()
    elif kind == "minified":
        make = lambda: _minified(rng, rng.randint(20, 120))
    elif kind == "log":
        return [_log(rng, rng.randint(15, 80))]
    else:
        return []
    return [[(make(), LABELS[kind])] for _ in range(rng.randint(1, 6))]


def _edited(rng: random.Random, blocks: list[list[Run]]) -> list[list[Run]]:
    """The same text after a rewrite: every fiftieth to two-hundredth word changed, at times a paragraph less."""
    blocks, rate = list(blocks), rng.uniform(0.004, 0.02)
    if len(blocks) >= 6 and rng.random() < 0.4:
        shortest = sorted(range(len(blocks)), key=lambda i: sum(len(text) for text, _ in blocks[i]))
        del blocks[rng.choice(shortest[: len(blocks) // 2])]
    words = [word for block in blocks for text, label in block for word in text.split() if label == "content"]
    if not words:
        return blocks

    def edit(text: str) -> str:
        kept = []
        for word in text.split(" "):
            if word and "\n" not in word and rng.random() < rate:
                word = rng.choice(["", word + " " + rng.choice(words), rng.choice(words), word[:-1] or word])
            kept.append(word)
        return " ".join(kept)

    return [[(edit(text), label) if label == "content" else (text, label) for text, label in block]
            for block in blocks]


def shingles(text: str, size: int = 5) -> set[tuple[str, ...]]:
    """Every run of `size` words, without case and punctuation; one shorter run for a shorter text.

    >>> sorted(shingles("Fair is foul, and foul is fair.", 5))
    [('fair', 'is', 'foul', 'and', 'foul'), ('foul', 'and', 'foul', 'is', 'fair'), ('is', 'foul', 'and', 'foul', 'is')]
    """
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i:i + size]) for i in range(max(1, len(words) - size + 1))}


def jaccard(a: set, b: set) -> float:
    """Size of the intersection over size of the union; 1 for two empty sets."""
    return len(a & b) / len(a | b) if a or b else 1.0


# ---- sites and pages ------------------------------------------------------------------------------------------------

LAYOUTS = {
    "blog": """<!DOCTYPE html>
<html lang="{lang}">
<head>
<meta charset="{charset}">
<title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/static/{hash}.css">
{style}{script}</head>
<body class="{class} single">
{banner}<header class="site-header"><div class="{class}"><a class="logo" href="/">{host}</a></div>
<nav class="main-nav">{navigation}</nav></header>
<main><article class="post"><h1 class="entry-title">{title}</h1>
<div class="entry-content">
{content}</div></article>
{sidebar}</main>
{comments}<footer class="site-footer">{footer}</footer>
{script}</body></html>
""",
    "portal": """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">
<HTML><HEAD><TITLE>{title}</TITLE>
<META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset={charset}">
{style}</HEAD>
<BODY BGCOLOR="#FFFFFF" TEXT="#000000" LINK="#0000CC">
{banner}<TABLE WIDTH="760" BORDER="0" CELLSPACING="0" CELLPADDING="4" ALIGN="center">
<TR><TD COLSPAN="3" BGCOLOR="#003366"><IMG SRC="/img/{hash}.gif" WIDTH="468" HEIGHT="60" ALT=""></TD></TR>
<TR><TD WIDTH="120" VALIGN="top" BGCOLOR="#EEEEEE">{navigation}</TD>
<TD WIDTH="480" VALIGN="top"><FONT FACE="Verdana" SIZE="4"><B>{title}</B></FONT><BR>
{content}
{comments}</TD>
<TD WIDTH="160" VALIGN="top" BGCOLOR="#F4F4FF">{sidebar}</TD></TR>
<TR><TD COLSPAN="3" ALIGN="center"><FONT SIZE="1">{footer}</FONT></TD></TR>
</TABLE>{script}</BODY></HTML>
""",
    "forum": """<!doctype html><html lang="{lang}"><head><meta http-equiv="Content-Type" """
             """content="text/html; charset={charset}"><title>{title}</title>{style}{script}</head>
<body id="phpbb" class="viewtopic">{banner}<div id="wrap"><div id="page-header"><div class="navbar">{navigation}</div>
</div><div id="page-body"><h2 class="topic-title">{title}</h2>
<div id="p{hash}" class="post bg1"><div class="inner"><div class="postbody"><div class="content">
{content}</div></div></div></div>
{comments}
<div class="action-bar">{sidebar}</div></div><div id="page-footer">{footer}</div></div></body></html>
""",
    "wiki": """<!DOCTYPE html>
<html class="client-nojs" lang="{lang}" dir="ltr"><head><meta charset="{charset}"/>
<title>{title}</title>{script}{style}</head>
<body class="mediawiki ltr sitedir-ltr ns-0"><div id="mw-page-base" class="noprint"></div>
{banner}<div id="content" class="mw-body" role="main"><h1 id="firstHeading" class="firstHeading">{title}</h1>
<div id="bodyContent"><div id="mw-content-text" lang="{lang}"><div class="mw-parser-output">
{content}
</div></div></div></div>
<div id="mw-navigation"><div id="mw-panel">{navigation}</div>{sidebar}</div>
{comments}<div id="footer" role="contentinfo">{footer}</div>{script}</body></html>
""",
    "shop": """<!DOCTYPE html><html lang="{lang}"><head><meta charset="{charset}"><title>{title}</title>
{style}<script type="application/ld+json">{json}</script></head><body>
{banner}<div class="container-fluid"><div class="row"><div class="col-12">{navigation}</div></div>
<div class="row"><aside class="col-md-3 filters">{sidebar}</aside>
<div class="col-md-9"><div class="card"><div class="card-body"><h1 class="card-title">{title}</h1>
<img src="/media/{hash}.jpg" alt="" loading="lazy">
<div class="description">
{content}</div></div></div></div></div></div>
{comments}
<footer class="page-footer"><div class="row">{footer}</div></footer>
{script}</body></html>
""",
    "app": """<!DOCTYPE html><html lang="{lang}"><head><meta charSet="{charset}"/><title>{title}</title>{style}"""
           """<link rel="preload" href="/_next/static/{hash}.js" as="script"/></head><body><div id="__next">"""
           """<div class="{class}_{hash}"><div class="{class}_{hash}" data-reactroot="">{banner}"""
           """<div class="sc-{hash}"><div><div class="{class}_{hash}"><div role="navigation">{navigation}</div></div>"""
           """</div></div><div class="sc-{hash} {class}"><div><div class="{class}_{hash}"><div>"""
           """<div data-testid="{class}"><h1>{title}</h1><div class="{class}__{hash}"><div><div>{content}</div>"""
           """</div></div></div></div></div></div></div>"""
           """<div class="{class}_{hash}">{sidebar}</div>{comments}<div><div class="{class}_{hash} footer">{footer}"""
           """</div></div></div></div></div><script id="__NEXT_DATA__" type="application/json">{json}</script>"""
           """{script}</body></html>""",
    "plain": """<html>
<head><title>{title}</title></head>
<body>
<!-- made by hand, {hash} -->
{banner}<h1>{title}</h1>
<hr>
{content}
<hr>
{navigation}
{comments}<address>{footer}</address>
</body>
</html>
""",
    "news": """<!DOCTYPE html>
<html lang="{lang}" prefix="og: http://ogp.me/ns#">
<head><meta charset="{charset}"/><title>{title}</title>
<meta property="og:title" content=""/><meta property="og:type" content="article"/>
{style}{script}</head>
<body>
<div class="skip"><a href="#main"></a></div>
{banner}<div class="masthead"><ul class="nav">{navigation}</ul></div>
<div id="main" class="story"><div class="story__headline"><h1>{title}</h1></div>
<figure class="story__lead"><picture><source srcset="/img/{hash}.webp 1x"/><img src="/img/{hash}.jpg" alt=""/></picture>
</figure>
<div class="story__body" itemprop="articleBody">
{content}
</div></div>
<div class="rail">{sidebar}</div>
{comments}
<footer>{footer}</footer>
{script}
</body>
</html>
""",
}
"""HTML with slots. {hash}, {class} and {json} are filled with noise, the others with pieces of the page."""


def _links(rng: random.Random, texts: Sequence[str], shape: str) -> str:
    links = [f'<a href="/{rng.getrandbits(20):x}/">{html.escape(text)}</a>' for text in texts]
    if shape == "list":
        return "<ul>\n" + "".join(f"<li>{link}</li>\n" for link in links) + "</ul>\n"
    return {"bar": " | ", "break": "<BR>\n", "flat": ""}[shape].join(links)


@lru_cache(maxsize=1024)
def _site(seed: str, number: int, language: str) -> Site:
    rng = random.Random(f"{seed}/site/{language}/{number}")
    layout = rng.choice(list(LAYOUTS))
    words = ENGLISH["navigation"] if language == "en" else sum(LANGUAGES[language]["columns"][2:4], [])
    rules = "".join(f".{rng.choice(ENGLISH['class'])}-{rng.getrandbits(16):x}{{{rng.choice(ENGLISH['css'])}:"
                    f"{rng.randint(0, 40)}px}}\n" for _ in range(rng.choice([0, 30, 150, 500])))
    shape = {"portal": "break", "plain": "bar", "app": "flat"}.get(layout) or rng.choice(["list", "list", "bar"])
    legacy = rng.random() < (0.5 if layout in ("portal", "plain") else 0.1) or number == 0
    charset = LEGACY[language] if legacy else "utf-8"
    owner = "©" + f" {rng.randint(2004, 2026)} {_host(rng)}. "
    footer = rng.sample(ENGLISH["footer"] if language == "en" else words, 4)
    return Site(
        host=f"{rng.choice(['www.', '', ''])}{language if language != 'en' else ''}{number:02}-{_host(rng)}",
        language=language, layout=layout, charset=charset,
        # without any declaration, bytes of an old encoding cannot be told apart: none of our sites does that
        declared=charset if charset != "utf-8" or rng.random() < 0.7 else "",
        entities=rng.choice(["plain", "plain", "named", "numeric"]), wraps=layout in ("portal", "plain", "wiki"),
        style=f"<style>\n{rules}</style>\n" if rules else "",
        script="<script>" + _minified(rng, rng.choice([2, 20, 80])) + "</script>\n",
        navigation=_links(rng, rng.sample(words, rng.randint(5, min(16, len(words)))), shape),
        footer=f"<p>{owner}{footer[0]}</p>\n" + _links(rng, footer[1:], "bar" if shape != "flat" else "flat"))


def _furniture(markup: str, label: str) -> list[Piece]:
    """Pieces of HTML without content: its tags, and the text between them under `label`."""
    pieces = []
    for part in re.split(r"(?s)(<(?:script|style).*?</(?:script|style)>|<[^>]*>)", markup):
        if part:
            inside = re.match(r"(?s)(<(script|style)[^>]*>)(.*)(</.*)", part)
            if inside:
                pieces += [(inside[1], "markup", ""), (inside[3], inside[2], ""), (inside[4], "markup", "")]
            else:
                pieces.append((part, "markup" if part[0] == "<" or part.isspace() else label, ""))
    return pieces


def _banner(rng: random.Random, site: Site) -> str:
    if rng.random() < 0.35:
        return ""
    text = " ".join(rng.sample(ENGLISH["banner"], rng.randint(1, 4)))
    if site.language != "en":
        text = sentences(rng, site.language, rng.randint(1, 3))
    buttons = "".join(f"<button>{button}</button>" for button in rng.sample(ENGLISH["button"], 2))
    name = f"{rng.choice(ENGLISH['class'])}-{rng.getrandbits(12):x}"
    name = rng.choice(["cookie-banner", "consent", "gdpr-overlay", name])
    return f'<div class="{name}"><div><p>{html.escape(text)}</p>{buttons}</div></div>\n'


def _sidebar(rng: random.Random, site: Site) -> str:
    if rng.random() < 0.25:
        return ""
    foreign = site.language != "en"
    boxes = []
    for _ in range(rng.randint(1, 3)):
        heads = [sentences(rng, site.language, 1) for _ in range(5)] if foreign else rng.sample(ENGLISH["headline"], 5)
        heading = heads[0] if foreign else rng.choice(ENGLISH["sidebar"])
        boxes.append(f"<h3>{html.escape(heading)}</h3>\n{_links(rng, heads[1:], 'list')}")
    return f'<div class="sidebar {rng.choice(ENGLISH["class"])}">{"".join(boxes)}</div>\n'


def _comments(rng: random.Random, site: Site) -> str:
    if rng.random() < 0.5:
        return ""
    items = []
    for _ in range(rng.randint(1, 8)):
        if site.language != "en":
            text = sentences(rng, site.language, rng.randint(1, 2))
        else:
            text = " ".join(rng.choice(column) for column in ENGLISH["comment"][rng.randint(0, 1):])
        user = f"{rng.choice(ENGLISH['host'])}{rng.randint(1, 99)}"
        items.append(f'<li class="comment"><div class="comment-author"><b>{user}</b> <time>{rng.randint(2, 23)} hours '
                     f'ago</time></div><div class="comment-body"><p>{html.escape(text)}</p></div></li>\n')
    title = f"<h3>{len(items)} comments</h3>" if rng.random() < 0.6 else ""
    return f'<div id="comments" class="comments-area">{title}<ol class="comment-list">\n{"".join(items)}</ol></div>\n'


def _written(text: str, site: Site) -> str:
    """Text as HTML, in the manner of the site."""
    text = html.escape(text, quote=site.entities != "plain")
    if site.entities == "plain" or text.isascii():
        return text
    named = codepoint2name if site.entities == "named" else {}
    return "".join(c if c < "\x80" else f"&{named[ord(c)]};" if ord(c) in named else f"&#{ord(c)};" for c in text)


def _inline(rng: random.Random, text: str, label: str, site: Site) -> list[Piece]:
    """A stretch of text, now and then with a word in bold or a link in it."""
    pieces, start = [], 0
    for _ in range(min(2, len(text) // 200)):
        if rng.random() < 0.4 and (begin := text.find(" ", rng.randint(start, len(text) - 1)) + 1):
            end = text.find(" ", begin + 3)
            if end > 0:
                opening = rng.choice(
                    ["<b>", "<em>", f'<a href="https://{site.host}/{rng.getrandbits(20):x}">', "<strong>"])
                pieces += [(_written(text[start:begin], site), label, text[start:begin]), (opening, "markup", ""),
                           (_written(text[begin:end], site), label, text[begin:end]),
                           (f"</{opening[1:].split()[0].strip('>')}>", "markup", "")]
                start = end
    return [*pieces, (_written(text[start:], site), label, text[start:])]


def _content(rng: random.Random, blocks: list[list[Run]], site: Site) -> list[Piece]:
    """Blocks of text as paragraphs, lists, tables, quotations, preformatted text or lines."""
    pieces = []
    upper = str.upper if site.layout == "portal" else str
    for block in blocks:
        text = "".join(text for text, _ in block)
        if re.search(r"\n[ \t]+\S", text) or len(text.split("\n")) > 8 or max(map(len, text.split()), default=0) > 70:
            tags, parts, between = ("<pre>", "</pre>\n", "", ""), [block], ""  # code, logs, what must keep its lines
        elif len(block) == 1 and len(parts := re.split(r"(?<=[.!?]) (?=[A-Z])", text)) >= 3 and rng.random() < 0.10:
            rows = rng.choice([("<ul>\n", "</ul>\n", "<li>", "</li>\n"), ("<table><tbody>\n", "</tbody></table>\n",
                               "<tr><td>", "</td></tr>\n"), ("<ol>\n", "</ol>\n", "<li>", "</li>\n")])
            tags, parts, between = rows, [[(part, block[0][1])] for part in parts], "\n"
        else:
            shape = rng.random()
            tags = ("<p>", "\n" if site.layout == "plain" else "</p>\n", "", "")
            if shape < 0.04:
                tags = ("<blockquote><p>", "</p></blockquote>\n", "", "")
            elif shape < 0.12 and site.layout in ("app", "shop"):
                name = f"{rng.choice(ENGLISH['class'])}-{rng.getrandbits(12):x}"
                tags = (f'<div class="{name}"><p>', "</p></div>\n", "", "")
            parts, between = [block], ""
        pre = tags[0] == "<pre>"
        pieces.append((upper(tags[0]), "markup", ""))
        for number, part in enumerate(parts):
            if tags[2]:
                pieces.append((upper(tags[2]), "markup", between if number else ""))
            for text, label in part:
                if pre:
                    pieces.append((_written(text, site), label, text))
                    continue
                for index, line in enumerate(text.split("\n")):
                    line = re.sub(r"[ \t]+", " ", line if index == 0 else line.lstrip())
                    if index:
                        pieces.append((upper("<br>") + "\n", "markup", "\n"))
                    found = _inline(rng, line, label, site)
                    pieces += [(_broken(h), lab, t) for h, lab, t in found] if site.wraps else found
            if tags[3]:
                pieces.append((upper(tags[3]), "markup", ""))
        pieces.append((upper(tags[1]), "markup", "\n\n"))
        if site.layout == "news" and rng.random() < 0.15:
            head = html.escape(rng.choice(ENGLISH["headline"])) if site.language == "en" else ""
            link = f'<a href="/{rng.getrandbits(20):x}">{head}</a>'
            pieces += _furniture(f'<div class="related">{link}</div>\n', "sidebar")
    return pieces


def _broken(markup: str) -> str:
    """Every twelfth space is a line end: to a browser the same."""
    words = re.split(r" (?=\S)", markup)
    return "".join(word + ("" if i == len(words) else " " if i % 12 else "\n") for i, word in enumerate(words, 1))


def _garbled(text: str) -> str:
    """UTF-8 read as Windows-1252: "é" becomes "Ã©". The five bytes which it lacks are read as control characters."""
    return "".join(bytes([byte]).decode("cp1252" if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else "latin-1")
                   for byte in text.encode()) if not text.isascii() else text


def render(plan: Plan) -> tuple[bytes, list, str, list]:
    """(payload, spans, text, text spans) of a page. The same plan gives the same bytes."""
    rng, site, damage = random.Random(plan.seed), plan.site, set(plan.kinds[1:])
    if damage & {"mojibake", "double_mojibake", "wrong_charset"}:
        site = site._replace(entities="plain")
    words = " ".join(text for block in plan.blocks[:1] for text, _ in block).split()
    title = " ".join(words[: rng.randint(3, 8)])[:60].strip(" .,;:") or site.host
    noise = {"hash": lambda: f"{rng.getrandbits(32):08x}", "class": lambda: rng.choice(ENGLISH["class"]),
             "json": lambda: json.dumps({rng.choice(ENGLISH["identifier"]): f"{rng.getrandbits(64):x}"
                                         for _ in range(rng.choice([3, 30, 300]))}),
             "lang": lambda: site.language, "charset": lambda: site.charset, "host": lambda: site.host}
    shell = "empty" in plan.kinds
    made = {
        "title": lambda: [] if shell else [(_written(title, site), "title", "")],
        "content": lambda: _content(rng, plan.blocks, site),
        "style": lambda: _furniture(site.style, "style"), "script": lambda: _furniture(site.script, "script"),
        "banner": lambda: _furniture(_banner(rng, site), "banner"),
        "navigation": lambda: _furniture(site.navigation, "navigation"),
        "sidebar": lambda: _furniture(_sidebar(rng, site), "sidebar"),
        "comments": lambda: _furniture(_comments(rng, site), "comment"),
        "footer": lambda: _furniture(site.footer, "footer")}
    pieces = []
    for index, part in enumerate(re.split(r"\{(\w+)\}", LAYOUTS[site.layout])):
        if index % 2 == 0:
            pieces.append((part, "markup", ""))
        elif part in noise:
            pieces.append((noise[part](), {"host": "navigation", "json": "script"}.get(part, "markup"), ""))
        elif not shell or part in ("style", "script"):
            pieces += made[part]()
    if shell:
        pieces = [piece for piece in pieces if piece[1] in ("markup", "script", "style")]
    if "nul" in damage:
        pieces = _with_nuls(rng, pieces)
    for _ in range(("mojibake" in damage) + 2 * ("double_mojibake" in damage)):
        pieces = [(_garbled(markup), label, text) for markup, label, text in pieces]
    limit = rng.uniform(0.4, 0.9) if "truncated" in damage else 1.0
    return _encoded(pieces, site.charset, limit)


def _with_nuls(rng: random.Random, pieces: list[Piece]) -> list[Piece]:
    found = []
    for markup, label, text in pieces:
        if label == "content" and markup == text and len(text) > 20 and rng.random() < 0.3:
            at = rng.randint(1, len(text) - 1)
            found += [(text[:at], label, text[:at]), ("\0", "nul", "")]
            markup = text = text[at:]
        found.append((markup, label, text))
    return found


def _encoded(pieces: list[Piece], charset: str, limit: float) -> tuple[bytes, list, str, list]:
    coded = [(markup.encode(charset, "xmlcharrefreplace"), label, text) for markup, label, text in pieces if markup]
    end = round(limit * sum(len(data) for data, _, _ in coded))
    payload, text, spans, text_spans = bytearray(), [], [], []
    length = 0
    for data, label, clear in coded:
        if len(payload) + len(data) > end:  # the page was cut here: within a piece, of which the whole characters count
            data = data[:end - len(payload)]
            half = re.sub(r"&#?\w*$", "", data.decode(charset, "ignore"))
            clear = clear[:len(html.unescape(half))] if label != "markup" else ""
        _extend(spans, len(payload), len(payload) + len(data), label)
        _extend(text_spans, length, length + len(clear), "break" if label == "markup" else label)
        payload += data
        text.append(clear)
        length += len(clear)
        if len(payload) >= end:
            break
    whole = "".join(text)
    kept = len(whole.rstrip())
    return bytes(payload), spans, whole[:kept], [[a, min(b, kept), label] for a, b, label in text_spans if a < kept]


def _extend(spans: list, start: int, end: int, label: str) -> None:
    if start < end:
        if spans and spans[-1][2] == label:
            spans[-1][1] = end
        else:
            spans.append([start, end, label])


# ---- the crawl ------------------------------------------------------------------------------------------------------


def _curled(text: str) -> str:
    """Typographic quotation marks and dashes, for a page whose encoding is to go wrong: ASCII cannot."""
    text = re.sub(r"(^|[\s(\[—-])\"", r"\1“", text).replace('"', "”").replace("--", "—")
    return re.sub(r"(^|[\s(\[—-])'", r"\1‘", text).replace("'", "’")


def _plans(documents: Iterable[Document], seed: str, shares: dict[str, float], items: Sequence[tuple[str, str]]
           ) -> Iterator[tuple[Plan, str, float | None]]:
    """(plan, url, similarity to the first of its cluster), one a page, until there is no document left."""
    passages = _passages(documents, random.Random(f"{seed}/passages"))
    memory: list[tuple[Plan, str, set]] = []  # what may be copied later; an older one is forgotten at random
    templates: dict[int, set] = {}
    for number in range(sys.maxsize):
        rng = random.Random(f"{seed}/page/{number}")
        kind = rng.choices(list(shares), shares.values())[0]
        if kind in ("exact", "near", "mirror") and not memory:
            kind = "clean"
        language = rng.choice(list(LANGUAGES)) if kind == "foreign" else "en"
        site = _site(seed, rng.randrange(SITES if language == "en" else 3), language)
        plan = Plan(site, f"{seed}/layout/{number}", [], [kind], None, [])
        path = rng.choice(["", "post/", "a/", "2026/03/", "index.php?id="])
        url = f"https://{site.host}/{path}{rng.getrandbits(32):x}"
        similarity = None
        if kind in ("exact", "near", "mirror"):
            first, url_of_first, words = rng.choice(memory)
            if kind == "near":
                plan = plan._replace(blocks=_edited(rng, first.blocks))
                if first.site.language != site.language:  # a rewrite in German is on a German site
                    plan = plan._replace(site=_site(seed, rng.randrange(3), first.site.language))
                    url = f"https://{plan.site.host}/{rng.getrandbits(32):x}"
                similarity = jaccard(words, _shingles_of(plan.blocks))
            else:
                plan = first._replace(kinds=[kind, *first.kinds[1:]])
                url = url_of_first + rng.choice(["", "", "?print=1", "?utm_source=mail"])  # "": visited twice
                if kind == "mirror":
                    host = f"mirror{rng.randint(1, 4)}.{_host(rng)}"
                    plan = plan._replace(site=first.site._replace(host=host))
                    url = url_of_first.replace(first.site.host, host)
                similarity = 1.0
            plan = plan._replace(cluster=first.cluster, sources=first.sources)
        elif kind == "template":
            which = rng.randrange(len(ENGLISH["template"]))
            text = " ".join(ENGLISH["template"][which]).format(n=rng.randint(1000, 999999))
            plan = plan._replace(site=_site(seed, which, "en"), blocks=[[(text, "boilerplate")]], cluster=-1 - which)
            url = f"https://{plan.site.host}/item/{rng.getrandbits(32):x}"
            similarity = jaccard(templates.setdefault(which, _shingles_of(plan.blocks)), _shingles_of(plan.blocks))
        elif kind == "clean":
            texts, sources = next(passages, (None, None))
            if texts is None:
                return
            blocks, extra = [[(text, "content")] for text in texts], []
            if rng.random() < PII:
                extra += ["pii"]
                blocks[rng.randint(0, len(blocks)):0] = [_personal(rng) for _ in range(rng.randint(1, 3))]
            if items and rng.random() < CONTAMINATION:
                extra += ["contamination"]
                blocks.insert(rng.randint(0, len(blocks)), _planted(rng, rng.choice(items)))
            plan = plan._replace(blocks=blocks, kinds=[kind, *extra], cluster=number, sources=sources)
        else:
            past = " ".join(block[0][0] for old, _, _ in rng.sample(memory, min(3, len(memory)))
                            for block in old.blocks if [label for _, label in block] == ["content"])  # nothing personal
            plan = plan._replace(blocks=_invented(rng, kind, language, past), cluster=number)
        if kind in ("clean", "foreign"):
            plan = _damaged(rng, plan)
            if not {"truncated", "nul"} & set(plan.kinds):
                at = len(memory) if len(memory) < REMEMBERED else rng.randrange(REMEMBERED)
                memory[at:at + 1] = [(plan, url, _shingles_of(plan.blocks))]
        yield plan, url, similarity


def _shingles_of(blocks: list[list[Run]]) -> set:
    return shingles("\n".join("".join(text for text, _ in block) for block in blocks))


def _damaged(rng: random.Random, plan: Plan) -> Plan:
    damage = rng.choices(list(DAMAGES), DAMAGES.values())[0]
    if damage in ("mojibake", "double_mojibake", "wrong_charset"):
        blocks = [[(_curled(text) if label == "content" else text, label) for text, label in b] for b in plan.blocks]
        if all(text.isascii() for block in blocks for text, _ in block):
            return plan
        site = plan.site
        if damage != "wrong_charset":
            site = site._replace(charset="utf-8", declared="utf-8")
        else:
            site = site._replace(declared="iso-8859-1" if site.charset == "utf-8" else "utf-8")
        plan = plan._replace(blocks=blocks, site=site)
    return plan._replace(kinds=plan.kinds + [damage]) if damage else plan


def make_crawl(
    documents: Iterable[Document], folder: str | Path, seed: int = 0, size: int | None = None,
    kinds: dict[str, float] = KINDS, items: Sequence[tuple[str, str]] = (), file_size: int = 32_000_000,
) -> dict:
    """Write a crawl into `folder` and return what crawl.json holds: pages, bytes and counts by kind, damage and label.

    size: bytes of pages before compression, reached to within a page; None uses all documents. If the documents end
    first the crawl does, and "complete" is false. kinds: shares of pages, for example {"clean": 1} for no trouble.
    items: (id, text) of test items to plant. file_size: bytes of pages in a file.

    A file appears under its name when it is whole, crawl.json last. A folder that has one is refused (UserError).
    """
    folder = Path(folder)
    if unknown := set(kinds) - set(KINDS):
        raise UserError(f"a crawl has no pages of kind {sorted(unknown)[0]!r}; choose from {', '.join(KINDS)}.")
    if not kinds.get("clean", 0) > 0 or min(kinds.values()) < 0:
        raise UserError("shares of kinds must not be negative, and that of 'clean' must be above 0.")
    if (folder / "crawl.json").exists():
        raise UserError(f"{folder} already holds a crawl: choose another folder, or delete it.")
    folder.mkdir(parents=True, exist_ok=True)
    plans = _plans(documents, str(seed), kinds, items)
    counts, labels, files, total = Counter(), Counter(), [], 0
    ended = False
    while not ended and (size is None or total < size):
        name = f"crawl-{len(files):05}"
        rng = random.Random(f"{seed}/file/{len(files)}")
        goal = total + file_size if size is None else min(size, total + file_size)
        partial = [folder / f".{name}.{ending}.tmp" for ending in ("warc.gz", "truth.jsonl")]
        with open(partial[0], "wb") as warc, open(partial[1], "w", encoding="utf-8", newline="\n") as truth:
            add = _warc_writer(warc, name, rng)
            while total < goal:
                plan, url, similarity = next(plans, (None, None, None))
                if plan is None:
                    ended = True
                    break
                payload, spans, text, text_spans = render(plan)
                present = {label for _, _, label in spans}
                found = [kind for kind in plan.kinds if kind != "nul" or "nul" in present]
                id, offset = add(url, payload, plan)
                truth.write(json.dumps({
                    "id": id, "url": url, "offset": offset, "kinds": found, "sources": plan.sources,
                    "cluster": plan.cluster, "similarity": similarity and round(similarity, 4),
                    "language": plan.site.language, "charset": plan.site.charset, "declared": plan.site.declared,
                    "text": text, "text_spans": text_spans, "spans": spans}, ensure_ascii=False) + "\n")
                counts.update(found)
                for start, stop, label in spans:
                    labels[label.partition(":")[0]] += stop - start
                total += len(payload)
        for path in partial:
            path.replace(folder / path.name[1:].removesuffix(".tmp"))
        files.append(f"{name}.warc.gz")
    if not total:
        raise UserError("there are no documents to make pages of.")
    summary = {"seed": seed, "pages": sum(counts[kind] for kind in KINDS), "bytes": total, "complete": not ended or
               size is None, "files": files, "kinds": dict(counts.most_common()), "labels": dict(labels.most_common())}
    write_atomic(folder / "crawl.json", json.dumps(summary, indent=1) + "\n")
    return summary


def _warc_writer(file, name: str, rng: random.Random):
    """A function (url, payload, plan) -> (id, offset) that appends a response and its request to a WARC file."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    writer = WARCWriter(file, gzip=True)
    time = rng.randint(0, 20) * 86400

    def headers(**more: str) -> dict[str, str]:
        date = f"2026-03-{1 + time // 86400:02}T{time // 3600 % 24:02}:{time // 60 % 60:02}:{time % 60:02}Z"
        record = uuid.UUID(int=rng.getrandbits(128), version=4).urn
        return {"WARC-Record-ID": f"<{record}>", "WARC-Date": date} | {
            "-".join(map(str.capitalize, key.split("_"))).replace("Warc", "WARC").replace("Ip-", "IP-"): value
            for key, value in more.items()}

    about = f"software: minigpt.text.crawl\r\nformat: WARC File Format 1.0\r\nisPartOf: {name}\r\n".encode()
    writer.write_record(writer.create_warc_record(
        f"{name}.warc.gz", "warcinfo", payload=io.BytesIO(about), length=len(about),
        warc_content_type="application/warc-fields", warc_headers_dict=headers(warc_filename=f"{name}.warc.gz")))

    def add(url: str, payload: bytes, plan: Plan) -> tuple[str, int]:
        nonlocal time
        time += rng.randint(0, 3)
        server = rng.choice(["nginx", "Apache/2.4.58 (Debian)", "cloudfront", "Microsoft-IIS/10.0"])
        declared = f"; charset={plan.site.declared}" if plan.site.declared else ""
        http = StatusAndHeaders("200 OK", [("Server", server), ("Content-Type", f"text/html{declared}"),
                                           ("Content-Length", str(len(payload)))], protocol="HTTP/1.1")
        sent = {"warc_truncated": "length"} if "truncated" in plan.kinds else {}
        about = headers(warc_ip_address=f"198.51.100.{rng.randint(1, 254)}", **sent)
        response = writer.create_warc_record(url, "response", payload=io.BytesIO(payload), length=len(payload),
                                             http_headers=http, warc_headers_dict=about)
        path = url.partition(".example")[2]
        asked = StatusAndHeaders(f"GET {path} HTTP/1.1", [
            ("Host", plan.site.host), ("User-Agent", "made-up-bot/1.0 (a crawl that never happened)"),
            ("Accept", "text/html")], is_http_request=True)
        request = writer.create_warc_record(url, "request", http_headers=asked, warc_headers_dict=headers())
        offset = file.tell()
        writer.write_request_response_pair(request, response)
        return f"{url}#{about['WARC-Record-ID'][10:18]}", offset

    return add


def overlap(found: str, truth: str) -> tuple[int, int, int]:
    """(characters in common, in `found`, in `truth`), by the words that come in the same order: `difflib`.

    Precision is the first over the second, recall the first over the third.

    >>> overlap("Home News Fair is foul", "Fair is foul and foul is fair")
    (10, 18, 23)
    """
    from difflib import SequenceMatcher

    # a word is what stands between spaces, in Chinese and Japanese a character
    a, b = (re.findall(r"[\u3040-\u9fff]|[^\s\u3040-\u9fff]+", text) for text in (found, truth))
    same = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    return (sum(len(word) for block in same for word in a[block.a:block.a + block.size]),
            sum(map(len, a)), sum(map(len, b)))


def main() -> None:
    """python -m minigpt.text.crawl OUT: a crawl of the built-in domains, or of your own text."""
    from argparse import ArgumentParser

    from .sources import DOMAINS, builtin, read_text, usable_domains

    parser = ArgumentParser(prog="python -m minigpt.text.crawl", description="Make a web crawl whose truth is known.")
    parser.add_argument("out", help="folder for the .warc.gz files and their truth")
    parser.add_argument("--bytes", type=int, default=10_000_000, help="of pages, uncompressed (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--text", nargs="+", help="files or folders to make pages of, instead of the built-in domains")
    parser.add_argument("--domains", nargs="+", default=["books", "speeches", "drama"], help=", ".join(DOMAINS))
    parser.add_argument("--items", help="file of test items to plant: a JSON object a line with id and text")
    options = parser.parse_args()
    try:
        items = [(document.id, document.text) for document in read_text([options.items])] if options.items else ()
        documents = read_text(options.text) if options.text else builtin(usable_domains(options.domains)[0])
        made = make_crawl(documents, options.out, options.seed, options.bytes, items=items)
    except UserError as error:
        print(f"minigpt: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{options.out}: {made['pages']:,} pages, {made['bytes'] / 1e6:.1f} MB in {len(made['files'])} files")
    if not made["complete"]:
        print("the documents ended before that size was reached: give more text, or another --domains.")


if __name__ == "__main__":
    main()
