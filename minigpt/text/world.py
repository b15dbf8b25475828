"""A synthetic world: documents about people and places of which every fact is known, and how often each is told.

    world = World(seed=1)                             # people, towns, firms, and the facts about them
    documents(world, 10_000_000)                      # stories, entries, letters, dialogues, sums, programs: 10 MB
    documents(world, 10_000_000, {"english": 0.7, "ilvane": 0.3})        # also in an invented language
    facts(world)                                      # the truth: who, what, told how often in which language
    pairs(world), cloze(world), choices(world), two_hop(world)           # questions with one right answer

All is a function of the seed and the settings, on every machine and Python. Words and sentences are in world.txt.

**Exposures.** A fact, say that Tilda Marsh was born in Dunmere, is told in `fact.exposures[language]` documents: in
exactly 0, 1, 4, 16, 64 or 256, in ever other words. In no other document do "Tilda Marsh" and "Dunmere" both occur, so
anyone can count by searching for two strings (in lower case, without "the"). The number depends neither on the size of
the text nor on the other language; exposures in the two are crossed, so that some facts are told in one of them only.
More text is more text about other things. A document that tells a fact has an id that `sources.held_out` keeps for
training. About a third of the facts also have a rumour, a false object, which is denied in `fact.denials` documents of
each language ("Some people say that …, but that is a mistake") and stated in none.

**Questions** use wordings that no document uses. A two-hop question (the town where the firm of Tilda Marsh is) has an
answer that never occurs in a document with her name. `cloze` gives {"prefix", "answer", …}, where the text is prefix +
answer; `choices` and `two_hop` {"prefix", "options", "answer", …}, answer being an index; `pairs` {"good", "bad",
"phenomenon"}, which differ in one place.

**Ilvane** has no relatives, letters of its own (three bytes each in UTF-8), verbs at the end, adjectives after nouns,
cases, vowel harmony, and verbs that agree in number and animacy. It tells of the same people, with their names
spelt letter by letter; years are the same.
"""
import argparse
import hashlib
import json
import os
import re
import shutil
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from itertools import count
from math import sqrt
from pathlib import Path
from random import Random
from string import Template
from typing import NamedTuple

from minigpt.config import UserError
from minigpt.text.sources import Document, held_out

EXPOSURES = (0, 1, 4, 16, 64, 256)
LANGUAGES = ("english", "ilvane")
RELATIONS = {  # relation: (kind of its subject, list that its object is from)
    "river": ("town", "river"), "seat": ("firm", "town"), "birthplace": ("person", "town"), "year": ("person", "year"),
    "trade": ("person", "trade"), "firm": ("person", "firm"), "pet": ("person", "pet"),
    "instrument": ("person", "instrument"), "dish": ("person", "dish"), "teacher": ("person", "person"),
}
HOPS = (("firm", "seat"), ("birthplace", "river"), ("teacher", "birthplace"), ("teacher", "trade"),
        ("teacher", "instrument"))
FILLER = (("story", 8), ("entry", 5), ("letter", 4), ("dialogue", 4), ("sums", 2), ("code", 1))
TOLD = (("story", 1), ("entry", 12), ("letter", 1), ("dialogue", 1))
BYTES_PER_STATEMENT = {"english": 245, "ilvane": 410}  # of documents that tell facts: measured, and 10 % more


def _rng(*key) -> Random:
    """Only its random() is used: of the rest, Python does not promise that it stays the same."""
    return Random(int.from_bytes(hashlib.sha256(repr(key).encode()).digest(), "big"))


def _pick(rng: Random, items):
    return items[int(len(items) * rng.random())]


def _shuffled(rng: Random, items) -> list:
    items = list(items)
    for i in range(len(items) - 1, 0, -1):
        j = int((i + 1) * rng.random())
        items[i], items[j] = items[j], items[i]
    return items


def _share(n: int, part: float) -> int:
    """How many of n are used where a part of them is: few are used whole."""
    return min(n, max(12, round(n * part)))


def _weighted(rng: Random, pairs):
    place = rng.random() * sum(weight for _, weight in pairs)
    for item, weight in pairs:
        place -= weight
        if place < 0:
            return item
    return pairs[-1][0]


# ---- words ----------------------------------------------------------------------------------------------------------

_VOWEL = "aeiou"


@cache
def _irregular() -> tuple[dict[str, list[str]], dict[str, str]]:
    rules = _RULES
    return ({form.split()[0]: form.split() for form in rules["irregular"].words},
            dict(form.rsplit(" ", 1) for form in rules["plurals"].words))


def _doubled(word: str) -> str:
    """stop → stopp: a single syllable with one vowel and one consonant, or a stress on the last."""
    short = re.fullmatch(r"[^aeiou]*(?:qu)?[aeiou][^aeiouwxy]", word)
    stressed = re.search("(?:forget|begin|prefer|admit|unwrap|outwit|quarrel)$", word)
    return word + word[-1] if short or stressed else word


def _es(verb: str) -> str:
    special = {"have": "has", "be": "is"}
    return special.get(verb) or re.sub(r"([^aeiou])y$", r"\1ie", re.sub(r"(s|sh|ch|x|z|o)$", r"\1e", verb)) + "s"


def _ed(verb: str) -> str:
    if verb in _irregular()[0]:
        return _irregular()[0][verb][1]
    return verb + "d" if verb.endswith("e") else re.sub(r"([^aeiou])y$", r"\1i", _doubled(verb)) + "ed"


def _en(verb: str) -> str:
    return _irregular()[0][verb][2] if verb in _irregular()[0] else _ed(verb)


def _ing(verb: str) -> str:
    return (verb[:-1] if re.search(r"[^eo]e$", verb) else _doubled(verb)) + "ing"


def _s(noun: str) -> str:
    head, _, last = noun.rpartition(" ")
    return f"{head} {_irregular()[1].get(last) or _es(last)}".strip()


def _article(phrase: str) -> str:
    first = re.split("[ -]", phrase)[0]
    vowel = any(first.startswith(w) for w in _RULES["vowel.sound"].words if w != "x") or (
        first[0] in _VOWEL and not any(first.startswith(w) for w in _RULES["consonant.sound"].words))
    return "an" if vowel else "a"


def _er(adjective: str) -> str:
    syllables = len(re.findall("[aeiou]+", adjective.removesuffix("e")))
    if syllables == 1 and re.search("[^aeiou]y$", adjective):
        return adjective[:-1] + "ier"
    if syllables > 1 or adjective.endswith("ed"):
        return "more " + adjective
    return _doubled(adjective.removesuffix("e")) + "er" if not adjective.endswith("e") else adjective + "r"


FORMS: dict[str, Callable[[str], str]] = {name: cache(form) for name, form in {
    "es": _es, "ed": _ed, "en": _en, "ing": _ing, "s": _s, "er": _er, "up": str.upper, "low": str.lower,
    "a": lambda noun: f"{_article(noun)} {noun}", "as": lambda noun: f"a {_s(noun)}",
    "wrong_a": lambda noun: f"{'an' if _article(noun) == 'a' else 'a'} {noun}",
    "cap": lambda text: text[:1].upper() + text[1:],
}.items()}


class Person(NamedTuple):
    """Somebody in the world. Of those with facts, trade and village stay open."""

    first: str
    last: str
    female: bool
    trait: str
    trade: str = ""
    village: str = ""

    def form(self, name: str) -> str:
        """The name, or what stands for it: "she", "her", "him" (as an object), "self", "s" (owner), "full", …"""
        if name.endswith("_wrong"):
            return self._replace(female=not self.female).form(name.removesuffix("_wrong"))
        forms = {"": self.first, "full": f"{self.first} {self.last}", "s": self.first + "'s",
                 "she": ("he", "she")[self.female], "her": ("his", "her")[self.female],
                 "him": ("him", "her")[self.female], "self": ("himself", "herself")[self.female],
                 "sir": ("Sir", "Madam")[self.female]}
        return forms[name] if name in forms else getattr(self, name)


# ---- the grammar: lines of world.txt as functions of a scene --------------------------------------------------------


class _Rule(NamedTuple):
    words: list[str]  # of a list, else empty
    lines: list[list]  # each a list of strings and of functions scene -> str


class _Scene:
    """What one document is made with: random numbers, and what the names in braces stand for."""

    def __init__(self, rng: Random, words: float = 1.0, **values):
        self.rng, self.words, self.values = rng, words, values
        self.gloss, self.person, self.tense = False, "third", "past"

    def expand(self, symbol: str) -> str:
        words, lines = _RULES[symbol]
        if words:
            u = self.rng.random()
            line = lines[int(_share(len(lines), self.words) * u * sqrt(u))]  # the first words are the common ones
        else:
            line = lines[int(len(lines) * self.rng.random())]
        text = "".join([part if type(part) is str else part(self) for part in line])
        if words:
            self.values["it"] = text
        return text.replace(" ", "_") if self.gloss and words else text

    def verb(self, verb: str, form: str) -> str:
        """A verb of the subject (v), of some one thing (v3) or of many (v0), in the tense of the document."""
        if verb == "be":
            if self.tense == "past":
                return "were" if form == "v0" else "was"
            return {"v3": "is", "v0": "are"}.get(form) or ("am" if self.person == "first" else "is")
        if self.tense == "past":
            return FORMS["ed"](verb)
        return verb if form == "v0" or form == "v" and self.person == "first" else FORMS["es"](verb)

    def subject(self, form: str) -> str:
        """{p}, whom the facts are about: by name, by first name or as "she"; "I" where she writes herself."""
        p = self.values["p"]
        if isinstance(p, str):
            return p
        if self.person == "first":
            own = {"": "I", "she": "I", "her": "my", "s": "my", "him": "me", "self": "myself"}
            return own.get(form) or p.form(form)
        if form in ("", "s", "him"):
            u = self.rng.random()
            if u < 0.6:
                return p.form("full") + "'s" * (form == "s")
            if u < 0.75 and form != "him":
                return p.form({"": "she", "s": "her"}[form])
            return p.first + "'s" * (form == "s")
        return p.form(form)


def _slot(text: str) -> Callable[[_Scene], str]:
    """What stands between braces → a function that writes it."""
    text, *forms = text.split("|")
    keep, _, text = text.rpartition("=")
    head, _, form = text.partition(".")

    def value(scene: _Scene) -> str:
        found = scene.values[head]
        return found if isinstance(found, str) else found.form(form)

    if text == "fact":  # a place where a document of facts may tell one
        value = lambda scene: "\0"  # noqa: E731
    elif head == "p":
        value = lambda scene: scene.values["p"] if scene.gloss else scene.subject(form)  # noqa: E731
    elif match := re.fullmatch("(is|have)([03]?)", text):
        verb, kind = {"is": "be"}.get(match[1], match[1]), "v" + match[2]
        value = lambda scene: scene.verb(verb, kind)  # noqa: E731
    elif text.startswith("habit.of."):
        def value(scene):
            scene.values["who"] = person = scene.values[text.removeprefix("habit.of.")]
            return scene.expand("habit." + person.trait)
    elif text in _sections():
        value = lambda scene: scene.expand(text)  # noqa: E731
    elif forms and forms[0] in ("v", "v3", "v0"):
        value = lambda scene: text  # noqa: E731

    def write(scene: _Scene) -> str:
        made = value(scene)
        if keep:
            for _ in range(5):  # what has a name of its own should not be the same thing again
                if made not in scene.values.values():
                    break
                made = value(scene)
            scene.values[keep] = made
        for name in forms:
            made = scene.verb(made, name) if name in ("v", "v3", "v0") else FORMS[name](made)
        return made

    return write if keep or forms else value


def _choice(options: list[list]) -> Callable[[_Scene], str]:
    def write(scene):
        return "".join([part if type(part) is str else part(scene) for part in _pick(scene.rng, options)])

    return write


def _parse(line: str) -> list:
    parts = []
    for text, slot, choice in re.findall(r"([^{<]+)|\{([^}]*)\}|<([^>]*)>", line):
        if choice:
            parts.append(_choice([_parse(option) for option in choice.split("/")]))
        else:
            parts.append(_slot(slot) if slot else text)
    return parts


@cache
def _sections() -> dict[str, tuple[bool, list[str]]]:
    """world.txt: name → (whether it is a list of words, its alternatives)."""
    source = Path(__file__).with_name("world.txt").read_text("utf-8")
    found: dict[str, tuple[bool, list[str]]] = {}
    for line in re.sub(r"\n  +", " ", source).split("\n"):
        if heading := re.fullmatch(r"== ([\w.]+)(?:: (.*))?", line):
            items = heading[2].split(",") if heading[2] else []
            lines = [item.strip() for item in items if item.strip()]
            found[heading[1]] = bool(lines), lines
        elif line and line[0] != "#":
            weight = re.match(r"(\d)\* ", line)
            lines += [line[3 * bool(weight):]] * (int(weight[1]) if weight else 1)
    return found


class _Grammar(dict):
    def __missing__(self, name: str) -> _Rule:  # parsed when it is first asked for
        is_list, lines = _sections()[name]
        self[name] = _Rule([], [])
        self[name] = rule = _Rule(lines if is_list else [], [_parse(line) for line in lines])
        return rule


_RULES = _Grammar()


def _prose(text: str) -> str:
    """Finish a text: paragraphs, straight quotes, capitals, no double spaces."""
    text = re.sub(r" *¶[ ¶]*", "\n\n", text).replace("⏎", "\n").replace("“", '"').replace("”", '"')
    text = re.sub(r"\n +", "\n", re.sub(r"  +", " ", text)).strip()
    text = re.sub(r" +\n", "\n", re.sub(r"\n{3,}", "\n\n", text))
    return re.sub(r'(\A"?|\n"?|[.!?] +"?|\." +"?)([a-z])', lambda m: m[1] + m[2].upper(), text)


# ---- Ilvane ---------------------------------------------------------------------------------------------------------

_LETTERS = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ⰰⰱⱌⰴⰵⱇⰳⱈⰹⰶⰽⰾⰿⱀⱁⱂⱍⱃⱄⱅⱆⰲⱉⱎⱏⰸ")  # Glagolitic
_ENDINGS = {  # after a back vowel, after a front one
    "ka": ("ka", "ke"), "n": ("na", "ne"), "vo": ("vo", "vi"), "la": ("la", "le"), "ru": ("ru", "ri"),
    "li": ("lu", "li"), "me": ("mo", "me"), "ti": ("tu", "ti"), "ra": ("ra", "re"), "er": ("dor", "der"),
    "LA": ("le", "la")}  # the last one is wrong, for minimal pairs
_GLOSS = re.compile(r"(no-)?([ao]-)?([A-Za-z0-9][\w&.'-]*\w|\w)((?:\+\w+)*)")


@cache
def _lexicon() -> dict[str, str]:
    """English lemma → Ilvane stem, made up from its hash, no two alike; what facts are about has the longest."""
    sections = _sections()
    objects = {word.replace(" ", "_") for _, name in RELATIONS.values() for word in sections.get(name, (0, ()))[1]}
    words = {word.replace(" ", "_") for is_list, lines in sections.values() if is_list for word in lines}
    words |= {match[3] for name, (_, lines) in sections.items() if name.startswith("il.") for line in lines
              for match in _GLOSS.finditer(re.sub(r"\{[^}]*\}(?:\+\w+)*", " ", line))}
    made: dict[str, str] = {}
    for word in sorted(objects) + sorted(words | {word.lower() for word in words}):
        for attempt in count():
            digest = hashlib.sha256(f"{word}/{attempt}".encode()).digest()
            vowels = ("aou", "ei")[digest[0] % 2]
            syllables = 4 if word in objects else 2 + digest[1] % 2
            stem = "".join("bdfghjklmnprstvz"[digest[2 * i + 2] % 16] + vowels[digest[2 * i + 3] % len(vowels)]
                           for i in range(syllables)) + "lmnrs"[digest[20] % 5] * (digest[21] % 2)
            if stem not in made.values():
                made[word] = stem
                break
    return made


def _stem(word: str) -> str:
    """The romanised Ilvane of a lemma or a name ("Tilda_Marsh" stays, but for capitals)."""
    word = word.removeprefix("the_")
    return word.replace("_", " ").lower() if not word[0].islower() else _lexicon()[word]


def _to_ilvane(gloss: str) -> str:
    """Glosses such as "Tilda_Marsh+ka town+la a-wait+ti." → Ilvane in its own script."""
    def word(match) -> str:
        no, agreement, lemma, endings = match.groups()
        made = "mu" * bool(no) + (agreement or "").rstrip("-") + _stem(lemma)
        for ending in filter(None, endings.split("+")):
            vowels = re.findall("[aeiou]", made)
            made += _ENDINGS[ending][bool(vowels) and vowels[-1] in "ei"]
        return made

    return _GLOSS.sub(word, gloss).translate(_LETTERS)


# ---- the world ------------------------------------------------------------------------------------------------------


class Fact(NamedTuple):
    """One truth: Fact(7, "Tilda Marsh", "birthplace", "Dunmere", {"english": 16, "ilvane": 0}, "Otterpool", 16)."""

    id: int
    subject: str
    relation: str
    object: str
    exposures: dict[str, int]
    """In how many documents of each language it is told."""
    rumour: str | None
    """A false object of the same kind, which denials mention."""
    denials: int
    """In how many documents of each language the rumour is denied."""


class World:
    """The people, towns and firms of a seed, and the facts about them: world.facts, world.people by full name.

    people      how many have facts, about nine each; the least is 4
    exposures   the levels; every relation has each of them about equally often, in each language
    denials     how often each rumour is denied
    words       the part of each list of words that is used, the common ones first, and of the neighbours and villages:
                the fewer words, the sooner a small model has seen each of them often (Eldan and Li 2023)
    Raises UserError for numbers that make no world.
    """

    def __init__(self, seed: int = 0, people: int = 60, exposures: tuple[int, ...] = EXPOSURES, denials: int = 16,
                 words: float = 1.0):
        if not 4 <= people <= 4000:
            raise UserError(f"a world has from 4 to 4000 people with facts, not {people}.")
        if not exposures or min(exposures) < 0 or denials < 0:
            raise UserError("exposures are one or more numbers, none of them negative, nor is that of denials.")
        if not 0 < words <= 1:
            raise UserError(f"words is a part of the vocabulary, above 0 and at most 1, not {words}.")
        self.seed, self.exposures, self.denials, self.words = seed, tuple(exposures), denials, words
        rng = _rng(seed, "world")
        self.people: dict[str, Person] = {}
        while len(self.people) < people:
            person = self._somebody(rng, len(self.people) % 2 == 0, "surname")
            self.people.setdefault(person.form("full"), person)
        villages = [_Scene(rng).expand("village") for _ in range(40)][: _share(40, words)]
        folk = [self._somebody(rng, i % 2 == 0, "neighbour")._replace(
            trade=_pick(rng, _RULES["job"].words[: _share(len(_RULES["job"].words), words)]),
            village=_pick(rng, villages)) for i in range(_share(120, words))]
        self.folk = list({person.form("full"): person for person in folk}.values())
        self.objects = {kind: _RULES[kind].words for _, kind in RELATIONS.values() if kind in _sections()}
        self.objects |= {"year": [str(year) for year in range(1841, 1881)], "person": list(self.people)}
        self.objects["town"] = self.objects["town"][: max(6, people // 2)]
        self.objects["firm"] = self.objects["firm"][: max(5, people // 3)]
        self.facts = self._draw(rng)
        self.told: dict[str, list[Fact]] = {}
        for fact in self.facts:
            self.told.setdefault(fact.subject, []).append(fact)

    @staticmethod
    def _somebody(rng: Random, female: bool, surnames: str) -> Person:
        first, last, trait = (_pick(rng, _RULES[name].words) for name in
                              (("man", "woman")[female], surnames, "trait"))
        return Person(first, last, female, trait)

    def _draw(self, rng: Random) -> list[Fact]:
        """All facts. What is linked to a subject (its objects, rumours) is never linked to one of these as well.

        So a document may name a subject and its objects, and still tell nothing about the objects.
        """
        links: dict[str, set[str]] = {}
        back: dict[str, set[str]] = {}

        def fits(subject: str, thing: str) -> bool:
            mine, its = links.setdefault(subject, set()), links.setdefault(thing, set())
            return not (thing == subject or thing in mine or mine & its or subject in its
                        or any(thing in links[other] for other in mine)
                        or any(thing in links[other] or thing == other for other in back.get(subject, ())))

        def link(subject: str, kind: str) -> str | None:
            for _ in range(60):
                thing = _pick(rng, self.objects[kind])
                if fits(subject, thing):
                    links[subject].add(thing)
                    back.setdefault(thing, set()).add(subject)
                    return thing
            return None

        made: list[Fact] = []
        for relation, (kind, of) in RELATIONS.items():
            subjects = self.objects[kind]
            levels, rumours = _shuffled(rng, range(len(subjects))), _shuffled(rng, range(len(subjects)))
            n, first = len(self.exposures), len(made)  # where people are few, each relation begins at another level
            for subject, i, j in zip(subjects, (first + level for level in levels), rumours, strict=True):
                if thing := link(subject, of):  # a few find no teacher
                    rumour = link(subject, of) if j % 3 == 0 and self.denials else None
                    exposures = {"english": self.exposures[i % n], "ilvane": self.exposures[i // n % n]}
                    made.append(Fact(len(made), subject, relation, thing, exposures, rumour,
                                     self.denials if rumour else 0))
        return made


def facts(world: World) -> list[Fact]:
    """The truth table: all facts with their exposures."""
    return world.facts


def least_size(world: World, language: str = "english") -> int:
    """Bytes of text that the statements and denials of one language need at most."""
    return BYTES_PER_STATEMENT[language] * sum(fact.exposures[language] + fact.denials for fact in world.facts)


def documents(world: World, size: int, shares: Mapping[str, float] | None = None) -> Iterator[Document]:
    """Documents of `size` bytes together (and at most one document more), facts spread evenly over them.

    shares   language → its part of the bytes, by default {"english": 1.0}
    Domains are "world/story", "world/entry", "world/letter", "world/dialogue", "world/sums", "world/code" and
    "world/ilvane". Memory is that of a list of all statements, however large the size.
    Raises UserError where the size is too small for the statements, and for shares that are no shares.

    >>> sum(len(document.text.encode()) for document in documents(World(people=4, exposures=(0, 1)), 200_000)) // 1000
    200
    """
    shares = {"english": 1.0} if shares is None else dict(shares)
    if not set(shares) <= set(LANGUAGES) or not abs(sum(shares.values()) - 1) < 1e-6 or min(shares.values()) <= 0:
        raise UserError(f"shares name languages ({', '.join(LANGUAGES)}) with parts above 0 that sum to 1, "
                        f"not {shares}.")
    for language, share in shares.items():
        if size * share < (least := least_size(world, language)):
            raise UserError(f"the facts of this world need {least:,} bytes of {language}, but it gets "
                            f"{int(size * share):,} of {size:,}: ask for more text, fewer people or exposures.")
    return _stream(world, size, shares)


def _stream(world: World, size: int, shares: dict[str, float]) -> Iterator[Document]:
    rng = _rng(world.seed, "documents")
    queues = {language: _bundles(world, language, rng) for language in shares}
    used, written = dict.fromkeys(shares, 0), dict.fromkeys(shares, 0)
    numbers: dict[str, int] = {}
    while sum(written.values()) < size or any(used[name] < len(queues[name]) for name in shares):
        language = min(shares, key=lambda name: written[name] / shares[name])
        told = used[language] < len(queues[language]) * min(1.0, written[language] / (0.98 * size * shares[language]))
        kind = _weighted(rng, TOLD if told else FILLER) if language == "english" else language
        if told:
            codes = queues[language][used[language]]
            statements = [(world.facts[code >> 1], code & 1) for code in codes]
            used[language] += 1
            if language == "english" and (len(codes) > 3 or statements[0][0].subject not in world.people):
                kind = "entry"
            text = _telling(world, kind, statements, rng)
        else:
            text = _filler(world, kind, rng)
        number = numbers.get(kind, 0)
        while told and held_out(f"world/{kind}/{number:07}"):
            number += 1
        numbers[kind] = number + 1
        written[language] += len(text.encode())
        yield Document(f"world/{kind}/{number:07}", f"world/{kind}", text)


def _bundles(world: World, language: str, rng: Random) -> list[array]:
    """What each document that tells facts tells: codes 2 · fact (stated) or 2 · fact + 1 (denied), of one subject."""
    made = []
    for told in world.told.values():
        queue = _shuffled(rng, [2 * fact.id for fact in told for _ in range(fact.exposures[language])]
                          + [2 * fact.id + 1 for fact in told for _ in range(fact.denials)])
        while queue:
            bundle = array("l")
            for _ in range(2 + int(3 * rng.random())):
                if queue and all(code >> 1 != queue[-1] >> 1 for code in bundle):
                    bundle.append(queue.pop())
            made.append(bundle)
    return _shuffled(rng, made)


def spelt(language: str) -> Callable[[str], str]:
    """How to search a lower-cased document of a language for a name: spelt("english")("the Hob Lane Bakery")."""
    if language == "ilvane":
        return lambda name: _to_ilvane(name.replace(" ", "_"))
    return lambda name: name.lower().removeprefix("the ")


def _telling(world: World, kind: str, statements: list[tuple[Fact, int]], rng: Random) -> str:
    """A document that tells exactly these facts; drawn again in the rare case that it also names what it must not."""
    subject = statements[0][0].subject
    said = [fact.rumour if denied else fact.object for fact, denied in statements]
    named = [subject, *(name for name in said if name in world.told)]
    unsaid = {name for other in named for fact in world.told[other] for name in (fact.object, fact.rumour)
              if name and name not in said and name != subject}
    spell = spelt(kind)
    must, must_not = [spell(name) for name in (subject, *said)], [spell(name) for name in unsaid]
    for _ in range(100):
        text = (_ilvane if kind == "ilvane" else _english)(world, kind, statements, rng)
        found = text.lower()
        if all(name in found for name in must) and not any(name in found for name in must_not):
            return text
    raise RuntimeError(f"no document tells {statements}")


def _cast(world: World, rng: Random, hero: Person | None = None) -> _Scene:
    """A scene with three people from the neighbourhood, of different first names."""
    cast: dict[str, Person] = {hero.first: hero} if hero else {}
    while len(cast) < 4 + (hero is None):
        u = rng.random()
        person = world.folk[int(len(world.folk) * u * u)]
        cast.setdefault(person.first, person)
    people = list(cast.values())
    scene = _Scene(rng, world.words, hero=people[0], friend=people[1], other=people[2], third=people[3])
    day, days = int(6 * rng.random()), _RULES["ordinal"].words
    scene.values |= {"home": people[1].village, "home2": _pick(rng, world.folk).village, "mon": scene.expand("month"),
                     "day1": days[day], "day2": days[day + 2], "day3": days[day + 5]}
    return scene


def _filler(world: World, kind: str, rng: Random) -> str:
    """A document without facts."""
    if kind == "ilvane":
        return _ilvane(world, kind, [], rng)
    scene = _cast(world, rng)
    if kind == "code":
        return _program(scene)
    if kind == "sums":
        return _sums(scene)
    if kind == "letter":
        scene.values |= {"from": scene.values["hero"], "to": scene.values["third"]}
    scene.tense = "present" if kind in ("entry", "dialogue") else "past"
    return _prose(scene.expand(kind).replace("\0", ""))


def _english(world: World, kind: str, statements: list[tuple[Fact, int]], rng: Random) -> str:
    subject = statements[0][0].subject
    person = world.people.get(subject)
    scene = _cast(world, rng, person)
    scene.values |= {"p": person or subject, "full": subject}
    register, symbol = "wrap", kind
    if kind == "entry":
        symbol = "entry.person" if person else f"entry.{RELATIONS[statements[0][0].relation][0]}"
    if kind == "dialogue":
        register, symbol = "wrap.said", "dialogue.about"
    if kind == "letter":
        register, scene.person = "wrap.I", "first"
        scene.values |= {"from": person, "to": scene.values["third"]}
    scene.tense = "past" if kind == "story" else "present"
    return _prose(_fill(scene, scene.expand(symbol), statements, register))


def _fill(scene: _Scene, text: str, statements: list[tuple[Fact, int]], register: str) -> str:
    """Put the statements, in words, at places that the text keeps for them."""
    parts = text.split("\0")
    places = sorted(_shuffled(scene.rng, range(len(parts) - 1))[: len(statements)])
    assert len(places) == len(statements), text
    for place, (fact, denied) in zip(places, statements, strict=True):
        said = fact.rumour if denied else fact.object
        scene.values["o"] = said.replace(" ", "_") if scene.gloss else said
        scene.values["clause"] = scene.expand(("il." if scene.gloss else "fact.") + fact.relation)
        parts[place] += scene.expand(register + ".no" * denied)
    return "".join(parts)


def _ilvane(world: World, kind: str, statements: list[tuple[Fact, int]], rng: Random) -> str:
    subject = statements[0][0].subject if statements else None
    scene = _cast(world, rng, world.people.get(subject))
    scene.gloss = True
    if not subject:
        return _to_ilvane(scene.expand("il.story"))
    scene.values["p"] = subject.replace(" ", "_")
    return _to_ilvane(_fill(scene, scene.expand("il.about"), statements, "il.wrap"))


# ---- sums and programs ----------------------------------------------------------------------------------------------


def _sums(scene: _Scene) -> str:
    """Some sums in words, all of them right."""
    parts = [scene.expand("sum.title")]
    for _ in range(2 + int(4 * scene.rng.random())):
        a, b, d, e = (1 + int(n * scene.rng.random()) for n in (99, 99, 12, 12))
        scene.values |= {name: str(n) for name, n in zip("abcdef", (a + 1, b + 1, a + b + 2, d + 1, e + 1,
                                                                   (d + 1) * (e + 1)), strict=True)}
        parts.append(scene.expand("sum." + _pick(scene.rng, ("add", "subtract", "multiply", "divide"))))
    return _prose("¶".join(parts))


PROGRAMS: list[tuple[str, Callable[[int, int, int], object]]] = [  # source, what it prints for a, b, n
    ("""# $who has $a $things and finds $b more every day.
$things = $a
for day in range($n):
    $things = $things + $b
print($things)""", lambda a, b, n: a + b * n),
    ("""# How many $things are needed to give each of $a $others $n?
def needed($others, each):
    return $others * each

print(needed($a, $n))""", lambda a, b, n: a * n),
    ("""# $who counts the $others with a name in the list.
$others = ["$w1", "$w2", "$w3", "$w1"]
count = 0
for $other in $others:
    if $other == "$w1":
        count += 1
print(count)""", lambda a, b, n: 2),
    ("""# $who sells $things until fewer than $n are left.
$things = $a
sold = 0
while $things >= $n:
    $things -= 1
    sold += 1
print(sold)""", lambda a, b, n: max(0, a - n + 1)),
    ("""# Is a price of $a too high for $who, who has $b?
price, purse = $a, $b
if price > purse:
    print("too dear")
else:
    print(purse - price)""", lambda a, b, n: "too dear" if a > b else b - a),
    ("""# The sum of the first $b odd numbers, as $who worked it out.
total = 0
for k in range($b):
    total += 2 * k + 1
print(total)""", lambda a, b, n: b * b),
    ("""# $who shouts at the $others.
def shout(word, times):
    return " ".join([word.upper() + "!"] * times)

print(shout("$w1", 3))""", lambda a, b, n: "{0}! {0}! {0}!"),
    ("""# The larger of two piles of $things.
def larger(first, second):
    if first > second:
        return first
    return second

print(larger($a, $b))""", lambda a, b, n: max(a, b)),
    ("""# Every ${n}th of $a $others gets ${article}. How many $things does $who need?
fed = [k for k in range(1, $a + 1) if k % $n == 0]
print(len(fed))""", lambda a, b, n: a // n),
]


def _program(scene: _Scene) -> str:
    """A small Python program, and after "# prints " what it prints."""
    source, prints = _pick(scene.rng, PROGRAMS)
    a, b, n = 2 + int(90 * scene.rng.random()), 2 + int(90 * scene.rng.random()), 4 + int(6 * scene.rng.random())
    thing, other = (next(word for word in iter(lambda: scene.expand(name), "") if word.isalpha() and _s(word) != word)
                    for name in ("thing", "animal"))
    words = {f"w{i}": scene.expand("title.word").lower() for i in (1, 2, 3)}
    while len(set(words.values())) < 3:
        words = {f"w{i}": scene.expand("title.word").lower() for i in (1, 2, 3)}
    text = Template(source).substitute(words, who=scene.values["friend"].first, a=a, b=b, n=n, other=other,
                                       things=_s(thing), others=_s(other), article=FORMS["a"](thing))
    return f"{text}\n# prints {prints(a, b, n)}".format(words["w1"].upper())


# ---- questions ------------------------------------------------------------------------------------------------------


def pairs(world: World, each: int = 100, languages: tuple[str, ...] = LANGUAGES) -> Iterator[dict]:
    """Minimal pairs, `each` of every phenomenon (fewer where the words give no more): {"good", "bad", "phenomenon"}.

    Phenomena of Ilvane begin with "ilvane_".

    >>> next(pairs(World(seed=1)))["phenomenon"]
    'agreement_simple'
    """
    rng = _rng(world.seed, "pairs")
    for symbol in (name for name in _sections() if name.startswith("pair.")):
        if ("ilvane" if symbol.startswith("pair.ilvane") else "english") not in languages:
            continue
        seen = set()
        for _ in range(50 * each):
            if len(seen) == each:
                break
            scene = _cast(world, rng)
            scene.gloss = symbol.startswith("pair.ilvane")
            text = scene.expand(symbol)
            good, bad = (re.sub(r"\[([^/\]]*)/([^]]*)\]", group, text) for group in (r"\1", r"\2"))
            if scene.gloss:
                good, bad = _to_ilvane(good), _to_ilvane(bad)
            good, bad = _prose(good), _prose(bad)
            if good not in seen and good != bad:
                seen.add(good)
                yield {"good": good, "bad": bad, "phenomenon": symbol.removeprefix("pair.")}


def _question(world: World, rng: Random, relation: str, subject: str, language: str) -> str:
    scene = _Scene(rng, world.words, full=subject, p=subject.replace(" ", "_"), home=_pick(rng, world.folk).village)
    scene.gloss = language == "ilvane"
    text = scene.expand(f"{'il.' * scene.gloss}{relation}.ask")
    return _to_ilvane(text) if scene.gloss else text


def _answer(name: str, language: str) -> str:
    return " " + (spelt(language)(name) if language == "ilvane" else name)


def cloze(world: World, languages: tuple[str, ...] = LANGUAGES) -> Iterator[dict]:
    """A question for each fact and language.

    {"prefix", "answer", "exposures", "language", "relation", "fact": its id, "denials"}
    """
    rng = _rng(world.seed, "cloze")
    for fact in world.facts:
        for language in languages:
            yield {"prefix": _question(world, rng, fact.relation, fact.subject, language),
                   "answer": _answer(fact.object, language), "exposures": fact.exposures[language],
                   "language": language, "relation": fact.relation, "fact": fact.id, "denials": fact.denials}


def choices(world: World, options: int = 4, languages: tuple[str, ...] = LANGUAGES) -> Iterator[dict]:
    """The questions of `cloze` with "options" of a kind, the rumour among them, and "answer", an index.

    All options are told about as often, of other subjects, so that it does not help to know which is the most common.
    """
    rng, told = _rng(world.seed, "choices"), {language: _often(world, language) for language in languages}
    for item in cloze(world, languages):
        fact = world.facts[item["fact"]]
        names = [name for name in world.objects[RELATIONS[fact.relation][1]] if name != fact.subject]
        yield _with_options(rng, item, fact.object, fact.rumour, names, told[item["language"]], options)


def _often(world: World, language: str) -> dict[str, int]:
    """Every object → in how many documents of the language it is told or denied of anybody."""
    told = {name: 0 for names in world.objects.values() for name in names}
    for fact in world.facts:
        told[fact.object] += fact.exposures[language]
        if fact.rumour:
            told[fact.rumour] += fact.denials
    return told


def _with_options(rng: Random, item: dict, right: str, rumour: str | None, names: list[str], told: dict[str, int],
                  n: int) -> dict:
    """The item with n options: the right one, a rumour, and names that are told about as often as the right one.

    A window slides over the names in the order of how often they are told, so that the most frequent option is right no
    more often than another.
    """
    order = sorted(names, key=lambda name: (told[name], name))
    start = min(max(order.index(right) - int(n * rng.random()), 0), max(len(order) - n, 0))
    wrong = [name for name in _shuffled(rng, order[start:start + n]) if name not in (right, rumour)]
    options = _shuffled(rng, [right, *filter(None, [rumour]), *wrong][:n])
    return item | {"options": [_answer(name, item["language"]) for name in options], "answer": options.index(right)}


def two_hop(world: World, options: int = 4) -> Iterator[dict]:
    """Questions over two facts, in English, with options: the answer was never told with the subject.

    {"prefix", "options", "answer", "hops": [fact, fact], "exposures": [of the first, of the second], "relation"}
    """
    rng, told = _rng(world.seed, "two_hop"), _often(world, "english")
    known = {(fact.subject, fact.relation): fact for fact in world.facts}
    beside: dict[str, set[str]] = {}  # what may stand in a document with a name that is not its subject
    for fact in world.facts:
        for name in filter(None, (fact.object, fact.rumour)):
            beside.setdefault(name, set()).update(*((f.object, f.rumour) for f in world.told[fact.subject]))
    for first in world.facts:
        for _, relation in (hop for hop in HOPS if hop[0] == first.relation):
            second = known.get((first.object, relation))
            if second and second.object not in beside.get(first.subject, ()):
                name = f"{first.relation}.{relation}"
                item = {"prefix": _question(world, rng, name, first.subject, "english"), "language": "english",
                        "relation": name, "hops": [first.id, second.id],
                        "exposures": [first.exposures["english"], second.exposures["english"]]}
                names = [name for name in world.objects[RELATIONS[relation][1]] if name != first.subject]
                yield _with_options(rng, item, second.object, None, names, told, options)


# ---- a folder of it -------------------------------------------------------------------------------------------------


def write_world(world: World, folder: Path, size: int, shares: Mapping[str, float] | None = None) -> None:
    """Write folder/text/<domain>/<n>.jsonl of about 64 MB each, and what is true about them into folder/truth/.

    Of a language that is not in the shares nothing is told, so that the truth does not speak of it either.
    """
    made = documents(world, size, shares)  # complains, if it has to, before anything is written
    languages = tuple(name for name in LANGUAGES if name in (shares or ("english",)))
    told = (fact._replace(exposures={name: fact.exposures[name] for name in languages}) for fact in world.facts)
    tables = {"facts": (fact._asdict() for fact in told), "pairs": pairs(world, languages=languages),
              "cloze": cloze(world, languages), "choices": choices(world, languages=languages),
              "two_hop": two_hop(world) if "english" in languages else ()}
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "text").exists():
        raise UserError(f"{folder} holds a text already: choose another folder.")
    shutil.rmtree(folder / "text.part", ignore_errors=True)  # of a run that was interrupted
    with ExitStack() as stack:
        def line(path: Path, record: dict) -> None:
            if path not in files:
                path.parent.mkdir(parents=True, exist_ok=True)
                files[path] = stack.enter_context(open(path, "w", encoding="utf-8", newline="\n"))
            files[path].write(json.dumps(record, ensure_ascii=False) + "\n")

        files: dict[Path, object] = {}
        for name, rows in tables.items():
            for row in rows:
                line(folder / "truth" / f"{name}.jsonl", row)
        sizes: dict[str, int] = {}
        for document in made:
            domain = document.domain.removeprefix("world/")
            line(folder / "text.part" / domain / f"{sizes.get(domain, 0) >> 26:05}.jsonl", document._asdict())
            sizes[domain] = sizes.get(domain, 0) + len(document.text.encode())
    os.replace(folder / "text.part", folder / "text")


def main(arguments: list[str] | None = None) -> None:
    """python -m minigpt.text.world OUT --seed S --bytes N"""
    parser = argparse.ArgumentParser(prog="python -m minigpt.text.world", description="Write a synthetic world.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bytes", type=int, default=20_000_000, help="of text")
    parser.add_argument("--people", type=int, default=60, help="with facts; fewer for a small text")
    parser.add_argument("--exposures", default=",".join(map(str, EXPOSURES)), help="levels, for example 0,1,4,16")
    parser.add_argument("--words", type=float, default=1.0, help="part of the words to use: fewer for a small model")
    parser.add_argument("--ilvane", type=float, default=0.0, help="part of the text in the invented language")
    given = parser.parse_args(arguments)
    try:
        world = World(given.seed, given.people, tuple(map(int, given.exposures.split(","))), words=given.words)
        shares = {"english": 1 - given.ilvane, "ilvane": given.ilvane}
        write_world(world, given.out, given.bytes, {name: share for name, share in shares.items() if share})
    except (UserError, OSError, ValueError) as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
