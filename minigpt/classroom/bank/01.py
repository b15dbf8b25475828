"""Lesson 01, corpus: cases, wrong ideas, twins and recall."""
from random import Random

from . import Exercise, Mutant, Prediction, Property, Question

# 01.1

BY_DOCUMENT, BY_BYTE = "len(lengths[name]) / documents", "sum(lengths[name]) / size"
UNIT = "Which things have the same chance in this draw, and how many of them are there in all?"
WHOLE = "The shares of all domains together should make one. Do yours?"


def share_twin(rng: Random) -> Question:
    """Notes and novels: a share of bytes."""
    few, many = rng.randint(2, 9), 10 * rng.randint(5, 40)
    large, small = 1000 * rng.randint(20, 90), 10 * rng.randint(5, 30)
    return Question(
        f"A corpus has {few} novels of {large:,} bytes each and {many} notes of {small} bytes each. You draw bytes at "
        "random. Which share of the draws lies in the notes?", many * small / (many * small + few * large),
        "Bytes of the notes, divided by all bytes; how many documents there are plays no part.", 0.02,
    )  # fmt: skip


SHARE_OF_SAMPLE = Exercise(
    cases=lambda: [
        ({"poems": [100, 200, 300], "novels": [5400]}, "poems"),
        ({"poems": [100, 200, 300], "novels": [5400]}, "novels"),
        ({"a": [7], "b": [1, 2, 3, 4, 5], "c": [90, 0]}, "b"),
        ({"a": [], "b": [3, 1], "c": [8]}, "a"),
        ({"words": [40] * 17, "code": [900, 1100, 13], "plays": [5000, 7001]}, "code"),
        ({"only": [5, 6]}, "only"),
        ({"x": [10, 10, 40], "y": [0, 0, 0, 60], "z": [33]}, "y"),
    ],
    mutants=(
        Mutant("swapped", f"return {BY_DOCUMENT}, {BY_BYTE}", f"return {BY_BYTE}, {BY_DOCUMENT}",
               "the two shares have changed places", "Which of the two comes first in the result?"),
        Mutant("both_documents", BY_BYTE, BY_DOCUMENT,
               "a draw of bytes is taken for a draw of documents", UNIT),
        Mutant("both_bytes", BY_DOCUMENT, BY_BYTE,
               "a draw of documents is taken for a draw of bytes", UNIT),
        Mutant("by_domain", BY_DOCUMENT, "1 / len(lengths)",
               "every domain has the same chance, instead of every document", UNIT),
        Mutant("mean_length", BY_BYTE, "sum(lengths[name]) / max(1, len(lengths[name])) / "
               "sum(sum(s) / max(1, len(s)) for s in lengths.values())",
               "mean lengths are compared, so that it does not matter how many documents there are",
               "Double the number of poems and leave their lengths. What should become of their share of bytes?"),
        Mutant("odds_documents", BY_DOCUMENT, "len(lengths[name]) / max(1, documents - len(lengths[name]))",
               "the domain is divided by the others instead of by the whole", WHOLE),
        Mutant("odds_bytes", BY_BYTE, "sum(lengths[name]) / max(1, size - sum(lengths[name]))",
               "the domain is divided by the others instead of by the whole", WHOLE),
        Mutant("largest", BY_BYTE, "max(lengths[name], default=0) / max(max(s, default=0) for s in lengths.values())",
               "only the longest documents are compared", UNIT),
        Mutant("counts", f"return {BY_DOCUMENT}, {BY_BYTE}", "return len(lengths[name]), sum(lengths[name])",
               "the parts are returned, without dividing by the whole", WHOLE),
        Mutant("not_empty", BY_DOCUMENT,
               "sum(s > 0 for s in lengths[name]) / sum(s > 0 for x in lengths.values() for s in x)",
               "empty documents are left out of the draw", "Is an empty document a document?"),
        Mutant("percent", f"return {BY_DOCUMENT}, {BY_BYTE}", f"return 100 * {BY_DOCUMENT}, 100 * {BY_BYTE}",
               "the shares are given in per cent", WHOLE),
        Mutant("size_over_documents", BY_BYTE, "sum(lengths[name]) / documents",
               "bytes are divided by documents", WHOLE),
    ),
    variants=("""\
def share_of_sample(lengths, name):
    flat = [(domain, size) for domain, sizes in lengths.items() for size in sizes]
    mine = [size for domain, size in flat if domain == name]
    return len(mine) / len(flat), sum(mine) / sum(size for _, size in flat)""", """\
def share_of_sample(lengths, name):
    documents = size = 0
    for sizes in lengths.values():
        documents += len(sizes)
        for one in sizes:
            size += one
    return (len(lengths[name]) / documents, sum(lengths[name]) / size)""", """\
def share_of_sample(lengths, name):
    import numpy as np
    number = {k: len(v) for k, v in lengths.items()}
    total = {k: float(np.sum(v)) for k, v in lengths.items()}
    return number[name] / sum(number.values()), total[name] / sum(total.values())""",
    ),
    properties=(
        Property(lambda result, *arguments: all(0 <= share <= 1 for share in result),
                 "A share lies between 0 and 1; one of yours does not."),
    ),
    twin=share_twin,
)  # fmt: skip


# 01.2


def broken(text: str, times: int = 1) -> str:
    for _ in range(times):
        text = text.encode("utf-8").decode("cp1252")
    return text


STEP = 'text.encode("cp1252").decode("utf-8")'
TEXTS = ("plain text", "", "caf\u00e9", broken("caf\u00e9"), broken("caf\u00e9", 2), broken("caf\u00e9", 3),
         broken("\u201cBront\u00eb\u2019s\u2014caf\u00e9\u2026"[1:]), "\u4e2d caf\u00c3\u00a9", "\u4e2d",
         broken("\u4e2d"),
         broken("10 \u20ac \u2013 \u00bd"), "\u20ac 5 for \u00fcber", "caf\u00c3\u00a9 and na\u00efve",
         "r\u00e9sum\u00e9",
         broken("zoe\u0308"), "zoe\u0308", "\u00c3", "\ufffd caf\u00c3\u00a9", broken("\u2019", 2) + " ok",
         "caf\u00c3\u00a9\n\n\u00e2\u20ac\u201dtext", "caf\u00c3\u00a9\ncaf\u00e9")  # fmt: skip
SOUND = "What does your function make of café, which was never broken?"
ONCE = "What does your function make of a text to which this happened twice?"
LOSS = "Can text be repaired by throwing some of it away?"


def repair_twin(rng: Random) -> Question:
    """How many signs a broken word shows."""
    word = rng.choice(["caf\u00e9", "na\u00efve", "fa\u00e7ade", "Bront\u00eb", "d\u00e9j\u00e0", "\u00fcber",
    "cr\u00e8me br\u00fbl\u00e9e"])
    times = rng.randint(1, 3)
    often = ("once", "twice", "three times")[times - 1]
    return Question(
        f'The word "{word}" was written as UTF-8 and read as cp1252, {often}. How many characters does it show?',
        len(broken(word, times)),
        "Each sign outside of ASCII that takes two bytes becomes two signs, and each of these takes two bytes again.",
    )  # fmt: skip


REPAIR = Exercise(
    cases=lambda: [(text,) for text in TEXTS],
    mutants=(
        Mutant("once", "", """\
def repair(text):
    try:
        return text.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return text""", "only one step is taken back", ONCE),
        Mutant("twice", "", """\
def repair(text):
    for _ in range(2):
        try:
            text = text.encode("cp1252").decode("utf-8")
        except UnicodeError:
            return text
    return text""", "two steps at most are taken back", "What if it happened three times?"),
        Mutant("latin1", "cp1252", "latin-1",
               "the wrong reader is taken for Latin-1, which has no € and no curly quotation marks",
               "Which bytes does ’ have in UTF-8, and which of them exist in the encoding that you use?"),
        Mutant("ignore_decode", '.decode("utf-8")', '.decode("utf-8", "ignore")',
               "bytes that are not UTF-8 are dropped", SOUND),
        Mutant("replace_decode", '.decode("utf-8")', '.decode("utf-8", "replace")',
               "bytes that are not UTF-8 are replaced by �", SOUND),
        Mutant("ignore_encode", '.encode("cp1252")', '.encode("cp1252", "ignore")',
               "signs that cp1252 does not have are dropped", LOSS),
        Mutant("replace_encode", '.encode("cp1252")', '.encode("cp1252", "replace")',
               "signs that cp1252 does not have are replaced by question marks", LOSS),
        Mutant("ignore_both", STEP, 'text.encode("cp1252", "ignore").decode("utf-8", "ignore")',
               "whatever does not fit is dropped, on both ways", LOSS),
        Mutant("unchanged", "", "def repair(text):\n    return text",
               "nothing is taken back", "What does the text look like as bytes of cp1252?"),
        Mutant("forward", "", """\
def repair(text):
    try:
        return text.encode("utf-8").decode("cp1252")
    except UnicodeError:
        return text""", "the mistake is made once more, instead of being undone",
               "What was the mistake, step by step, and what is the reverse of the last step?"),
        Mutant("composed", "    while True:", '    text = unicodedata.normalize("NFC", text)\n    while True:',
               "letters and accents are put together as well", "Was anything wrong with the accents?"),
        Mutant("compatible", "    while True:", '    text = unicodedata.normalize("NFKC", text)\n    while True:',
               "signs are replaced by others that look alike", "What becomes of ½ and of …?"),
        Mutant("by_line", "", """\
def repair(text):
    def one(line):
        while True:
            try:
                before = line.encode("cp1252").decode("utf-8")
            except UnicodeError:
                return line
            if before == line:
                return line
            line = before
    return "\\n".join(map(one, text.split("\\n")))""", "lines are mended one by one",
               "What does the statement say about parts of a text?"),
        Mutant("by_word", "", """\
def repair(text):
    def one(word):
        while True:
            try:
                before = word.encode("cp1252").decode("utf-8")
            except UnicodeError:
                return word
            if before == word:
                return word
            word = before
    return "".join(map(one, re.split(r"(\\s)", text)))""", "words are mended one by one",
               "What does the statement say about parts of a text?"),
        Mutant("table", "", """\
def repair(text):
    for bad, good in (("Ã©", "é"), ("Ã¯", "ï"), ("â€™", "’"), ("â€œ", "“"), ("â€”", "—")):
        text = text.replace(bad, good)
    return text""", "a list of known pairs is replaced", "Which letters are not in your list?"),
        Mutant("empty_on_error", "        except UnicodeError:\n            return text",
               "        except UnicodeError:\n            return \"\"",
               "a text that cannot go back is lost", SOUND),
    ),
    variants=("""\
def repair(text):
    try:
        before = bytes(text, "cp1252").decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text
    return text if before == text else repair(before)""", """\
def repair(text):
    seen = None
    while seen != text:
        seen = text
        try:
            text = str(text.encode("windows-1252"), "utf-8")
        except ValueError:
            pass
    return text""", """\
def repair(text):
    while not text.isascii():
        try:
            text = text.encode("cp1252").decode("utf8", "strict")
        except UnicodeError:
            break
    return text""",
    ),
    twin=repair_twin,
)  # fmt: skip


# 01.3

DECODE = 'data.decode("utf-8", "replace")'
ENDS = '    text = text.replace("\\r\\n", "\\n").replace("\\r", "\\n")\n'
TAILS = '    text = "\\n".join(line.rstrip() for line in text.split("\\n"))\n'
EMPTY = '    text = re.sub(r"\\n\\n\\n+", "\\n\\n", text)\n'
PAIR = "\\r\\n is one line end. How many does your function make of it?"
BLANK = "Two line ends with blanks between them: when do they become neighbours?"


def tidy_twin(rng: Random) -> Question:
    """Line ends of three kinds, read by a machine that knows one."""
    ends = [rng.choice(["\\r\\n", "\\n", "\\r"]) for _ in range(4)]
    text = "".join(f"{word}{end}" for word, end in zip(("one", "two", "three", "four"), ends))
    return Question(
        f"The text {text} is read on a machine that knows only \\n, without any cleaning. How many line ends does "
        f"it see?",
        sum(end != "\\r" for end in ends), "Each \\n is one, alone or after \\r; a lonely \\r is none.",
    )  # fmt: skip


TIDY = Exercise(
    cases=lambda: [(data,) for data in (
        b"one  \r\n \r\n\r\ntwo\rthree", b"", b"a\nb", b"a\r\nb\r\n", b"a \t\n\n \n\n\nb\n", b"\r\rx\r\r\r\ry",
        "cafe\u0301 \n".encode(), b"caf\xe9\xff ol\xe9", "\u4e2d \r\n".encode(), b"p\n\n\nq\n\nr\n \ns",
        "caf\u00e9 \u00fc".encode(), b"u\r\r\nv\r\n\r\r\nw", b"   indented\n\tas it was",
    )],
    mutants=(
        Mutant("ignore", DECODE, 'data.decode("utf-8", "ignore")',
               "bytes that are not UTF-8 vanish without a trace", "Who will notice that something was there?"),
        Mutant("latin1", DECODE, 'data.decode("latin-1")',
               "the bytes are read as Latin-1", "What does é, written in UTF-8, become?"),
        Mutant("cr_first", ENDS, '    text = text.replace("\\r", "\\n").replace("\\r\\n", "\\n")\n',
               "every \\r is a line end of its own, also the one before \\n", PAIR),
        Mutant("no_lonely_cr", ENDS, '    text = text.replace("\\r\\n", "\\n")\n',
               "a lonely \\r is left, or lost as white space", "Which of the three line ends does your function know?"),
        Mutant("cr_dropped", ENDS, '    text = text.replace("\\r", "")\n',
               "every \\r is deleted", "What becomes of two lines that a lonely \\r parts?"),
        Mutant("glued", EMPTY, '    text = re.sub(r"\\n\\n+", "\\n", text)\n',
               "no empty line is left between paragraphs", "How many line ends stand around one empty line?"),
        Mutant("empty_before_tails", TAILS + EMPTY, EMPTY + TAILS,
               "empty lines are looked for before the blanks in them are gone", BLANK),
        Mutant("empty_before_ends", ENDS + TAILS + EMPTY, EMPTY + ENDS + TAILS,
               "empty lines are looked for before line ends and tails are in order", BLANK),
        Mutant("tails_before_ends", ENDS + TAILS, TAILS + ENDS,
               "blanks are cut at \\n only, before the other line ends have become \\n",
               "Does a line that ends in blanks and a lonely \\r end in white space?"),
        Mutant("empty_first_of_ends", ENDS + TAILS + EMPTY, EMPTY + TAILS + ENDS,
               "line ends come last", "Which rules look for \\n?"),
        Mutant("no_tails", TAILS, "", "blanks at the ends of lines stay", BLANK),
        Mutant("no_empty", EMPTY, "", "all empty lines stay", "How many empty lines in a row does your result have?"),
        Mutant("no_nfc", 'unicodedata.normalize("NFC", text)', "text",
               "letters and accents are not put together", "How many characters has é in your result?"),
        Mutant("nfd", '"NFC"', '"NFD"', "letters and accents are taken apart",
               "Which of the normal forms composes?"),
        Mutant("stripped_both", "line.rstrip()", "line.strip()", "blanks at the beginning of lines go as well",
               "What becomes of indented code?"),
        Mutant("ends_stripped", 'unicodedata.normalize("NFC", text)', 'unicodedata.normalize("NFC", text).strip()',
               "the text's own beginning and end are cut",
               "Which rule speaks of the beginning and the end of the text?"),
    ),
    variants=("""\
def tidy(data):
    text = unicodedata.normalize("NFC", data.decode("utf-8", "replace"))
    lines = [line.rstrip() for line in re.split(r"\\r\\n|\\r|\\n", text)]
    return re.sub(r"\\n{3,}", "\\n\\n", "\\n".join(lines))""", """\
def tidy(data):
    text = str(data, "utf-8", "replace")
    text = re.sub(r"\\r\\n?", "\\n", text)
    while any(line != line.rstrip() for line in text.split("\\n")):
        text = "\\n".join(line[:-1] if line != line.rstrip() else line for line in text.split("\\n"))
    while "\\n\\n\\n" in text:
        text = text.replace("\\n\\n\\n", "\\n\\n")
    return unicodedata.normalize("NFC", text)""", """\
def tidy(data):
    text = data.decode("utf-8", "replace").replace("\\r\\n", "\\r").replace("\\n", "\\r").replace("\\r", "\\n")
    text = unicodedata.normalize("NFC", text)
    text = "\\n".join([line.rstrip() for line in text.split("\\n")])
    return re.sub("(\\n\\n)\\n+", r"\\1", text)""",
    ),
    properties=(Property(lambda result, data: isinstance(result, str), "The result should be text, a str."),),
    twin=tidy_twin,
)  # fmt: skip


# 01.4

WHERE = "once / counts.total()"
RUNNING = "Of all the words that you read, with repetitions, which share was new when you met it?"
SO_FAR = "After the third document, how many words have you read?"


def chance_twin(rng: Random) -> Question:
    """Good's rule from a table of counts."""
    once, twice, more = rng.randint(20, 90), rng.randint(5, 40), rng.randint(3, 9)
    total = once + 2 * twice + 100 * more
    return Question(
        f"In a text, {once} words occur once, {twice} twice and {more} a hundred times each. By Good's rule, what "
        f"is the "
        "chance that the next word is new?", once / total, f"{once} divided by all {total} running words.", 0.02,
    )  # fmt: skip


NEW_WORD_CHANCE = Exercise(
    cases=lambda: [(texts,) for texts in (
        ["The cat saw the dog.", "", "A cat!"], [], [""], ["", "one", "", "one", "two two"],
        ["The the THE"], ["a b c d", "a b", "c d e f g"], ["x-ray x_ray 3 3", "ray"], ["so so so", "it is so", "... !"],
        ["to be or not to be", "that is the question", "whether tis nobler", "in the mind to suffer"],
    )],
    mutants=(
        Mutant("of_vocabulary", WHERE, "once / len(counts)",
               "the words seen once are divided by the different words", RUNNING),
        Mutant("type_ratio", WHERE, "len(counts) / counts.total()",
               "all different words are counted, not only those seen once",
               "A word that came five times: does it tell you that new ones still come?"),
        Mutant("count_once", "result.append((len(counts), once / counts.total() if counts else 1.0))",
               "result.append((len(counts), once if counts else 1.0))",
               "the number of words seen once is returned, without dividing", RUNNING),
        Mutant("document_only", "        counts.update(re.findall(r\"\\w+\", text.lower()))",
               "        counts = Counter(re.findall(r\"\\w+\", text.lower()))",
               "each document is counted afresh", SO_FAR),
        Mutant("case", "text.lower()", "text",
               "The and the are counted as two words", "What does the statement say a word is?"),
        Mutant("split", 're.findall(r"\\w+", text.lower())', "text.lower().split()",
               "words are cut at white space, so that signs stick to them", "Is `dog.` the same word as `dog`?"),
        Mutant("letters", 'r"\\w+"', 'r"[a-z]+"', "digits and underscores part words",
               "What does \\w match?"),
        Mutant("at_most_two", "n == 1", "n <= 2", "words seen twice count as seen once",
               "How often was a word met if it was new when it came last?"),
        Mutant("more_than_one", "n == 1", "n > 1",
               "the words that came again are counted, instead of those that did not",
               "Which words tell you that new ones still come?"),
        Mutant("empty_zero", "else 1.0", "else 0.0", "before the first word, nothing new is expected",
               "You have read nothing. Will the next word be new?"),
        Mutant("empty_skipped", "        result.append((len(counts)", "        if text: result.append((len(counts)",
               "a document without text gets no pair", "How many pairs should the list have?"),
        Mutant("smoothed", WHERE, "once / (counts.total() + 1)", "one is added to the number of words read",
               "In the example, by which number is 3 divided?"),
        Mutant("number_of_words", "(len(counts),", "(counts.total(),",
               "all words are counted where the different ones are asked for",
               "What does `the` add when it comes for the second time?"),
        Mutant("swapped", "(len(counts), once / counts.total() if counts else 1.0)",
               "(once / counts.total() if counts else 1.0, len(counts))",
               "the two numbers have changed places", "Which of the two comes first?"),
        Mutant("new_in_document", "", """\
def new_word_chance(documents):
    counts, result = Counter(), []
    for text in documents:
        words = re.findall(r"\\w+", text.lower())
        new = sum(word not in counts for word in set(words))
        counts.update(words)
        result.append((len(counts), new / counts.total() if counts else 1.0))
    return result""", "the words that were new in this document are counted",
    "Which words have come exactly once so far?"),
    ),
    variants=("""\
def new_word_chance(documents):
    counts, result, read = {}, [], 0
    for text in documents:
        for word in re.findall(r"\\w+", text.lower()):
            counts[word] = counts.get(word, 0) + 1
            read += 1
        once = len([word for word in counts if counts[word] == 1])
        result.append((len(counts), once / read if read else 1.0))
    return result""", """\
def new_word_chance(documents):
    result = []
    for i in range(len(documents)):
        counts = Counter(re.findall(r"\\w+", "\\n".join(documents[: i + 1]).lower()))
        total = sum(counts.values())
        result.append((len(counts), list(counts.values()).count(1) / total if total else 1.0))
    return result""", """\
def new_word_chance(documents):
    seen, again, read, result = set(), set(), 0, []
    for text in documents:
        for match in re.finditer(r"\\w+", text.lower()):
            read += 1
            (again if match[0] in seen else seen).add(match[0])
        result.append((len(seen), 1.0 if not read else len(seen - again) / read))
    return result""",
    ),
    properties=(
        Property(lambda result, documents: len(result) == len(documents), "There should be a pair for each document."),
    ),
    twin=chance_twin,
)  # fmt: skip


# 01.5

KEY = '" ".join(text.casefold().split())'
FIRST = "        if key not in kept:\n            kept[key] = (id, text)\n"
BORDERS = "Are “now here” and “nowhere” the same words?"
LAST_QUESTION = "Of two equal documents, which one is still there at the end, and at whose place?"


def repeats_twin(rng: Random) -> Question:
    """Texts that differ in white space, case and borders."""
    texts = rng.sample(["a part", "apart", "A  PART", "Apart", "a\tpart", "part a", "A Part "], 5)
    listed = ", ".join(repr(text) for text in texts)
    return Question(
        f"Case and the amount of white space between words make no difference. How many different texts are there "
        f"among {listed}?",
        len({" ".join(text.casefold().split()) for text in texts}),
        "Write each in lower case with single blanks and compare; “a part” and “apart” stay different.",
    )  # fmt: skip


DROP_REPEATS = Exercise(
    cases=lambda: [(documents,) for documents in (
        [("a", "To be"), ("b", "to  BE\n"), ("c", "tobe"), ("d", "To be, too")], [],
        [("1", "x"), ("2", "x"), ("3", "y"), ("4", "x"), ("5", "y")],
        [("z", "last"), ("a", "first"), ("m", "LAST"), ("b", "First ")],
        [("e", ""), ("f", "  \n"), ("g", ".")], [("s", "Stra\u00dfe"), ("t", "STRASSE"), ("u", "strase")],
        [("p", "one two"), ("q", "two one"), ("r", "one\ttwo"), ("v", "one\u00a0two"), ("w", "one, two")],
        [("i", "ab c"), ("j", "a bc"), ("k", "abc"), ("l", "AB  C")],
        [("same", "text"), ("same", "other"), ("same", "TEXT")],
        [("long", "word " * 40), ("longer", "word " * 41), ("cut", ("word " * 40).strip())],
        [("h", "a a b"), ("i", "a b"), ("j", "b a")], [("x", "dear all, " * 9 + "yes"), ("y", "dear all, " * 9 + "no")],
    )],
    mutants=(
        Mutant("borders", KEY, '"".join(text.casefold().split())', "words run together in the key", BORDERS),
        Mutant("last", FIRST, "        kept[key] = (id, text)\n",
               "of equal documents the last is kept, at the place of the first", LAST_QUESTION),
        Mutant("last_in_place", FIRST, "        kept.pop(key, None)\n        kept[key] = (id, text)\n",
               "of equal documents the last is kept", LAST_QUESTION),
        Mutant("case", "text.casefold().split()", "text.split()", "case makes a difference",
               "Are “To be” and “to BE” equal here?"),
        Mutant("lower", "casefold", "lower", "lower() stands for casefold()", "What does each make of ß?"),
        Mutant("white_space", KEY, "text.casefold()", "white space makes a difference",
               "Are two blanks between words another text?"),
        Mutant("strip_only", KEY, "text.casefold().strip()", "white space inside the text makes a difference",
               "Are two blanks between words another text?"),
        Mutant("blank_only", KEY, 're.sub(" +", " ", text.casefold().strip(" "))',
               "only blanks are made equal, and no other white space", "Is a tab white space? And a line end?"),
        Mutant("bag", KEY, '" ".join(sorted(text.casefold().split()))', "the order of words makes no difference",
               "Are “dog bites man” and “man bites dog” the same text?"),
        Mutant("letters", KEY, '" ".join(re.findall(r"\\w+", text.casefold()))', "punctuation makes no difference",
               "Does the statement say anything about commas?"),
        Mutant("set_of_words", KEY, '" ".join(dict.fromkeys(text.casefold().split()))',
               "words that repeat make no difference",
               "Is a text that says a word twice equal to one that says it once?"),
        Mutant("prefix", KEY, '" ".join(text.casefold().split())[:60]', "only the beginning is compared",
               "Two letters begin with the same greeting. Are they equal?"),
        Mutant("cleaned", "(id, text)\n", "(id, key)\n",
               "the text is returned as it was compared, not as it was handed in",
               "Who asked for lower case in the result?"),
        Mutant("by_id", "key = " + KEY, "key = id", "ids are compared, instead of texts",
               "Can two documents have the same text under different ids?"),
        Mutant("neighbours", "", """\
def drop_repeats(documents):
    kept, before = [], None
    for id, text in documents:
        key = " ".join(text.casefold().split())
        if key != before:
            kept.append((id, text))
        before = key
    return kept""", "a text is compared only with the one before it", "Must a copy stand next to its original?"),
        Mutant("sorted", "list(kept.values())", "sorted(kept.values())", "the order of the list is lost",
               "In which order should the documents come back?"),
        Mutant("empty_lost", "        if key not in kept:", "        if key and key not in kept:",
               "texts without any word are dropped, all of them", "Is the first empty text a repeat of anything?"),
    ),
    variants=("""\
def drop_repeats(documents):
    seen, kept = set(), []
    for document in documents:
        key = tuple(document[1].casefold().split())
        if key not in seen:
            seen.add(key)
            kept.append(document)
    return kept""", """\
def drop_repeats(documents):
    kept = {}
    for id, text in documents:
        kept.setdefault(" ".join(text.casefold().split()), (id, text))
    return list(kept.values())""", """\
def drop_repeats(documents):
    keys = [" ".join(text.casefold().split()) for _, text in documents]
    return [document for i, document in enumerate(documents) if keys.index(keys[i]) == i]""",
    ),
    twin=repeats_twin,
)  # fmt: skip


# 01.6

RUNS = "yield from (tuple(words[i : i + n]) for i in range(len(words) - n + 1))"
KNOWN = "known, asked = set(runs(training)), list(runs(heldout))"
SHARE = "sum(run in known for run in asked) / len(asked)"
BEST = "min(shares, key=lambda name: (shares[name], name))"
ACROSS = "Does a run reach from the end of one text into the next?"
ASKED = "Whose runs are the whole: those that the model learns from, or those that it is asked?"


def leak_twin(rng: Random) -> Question:
    """How many runs some texts have."""
    words = [rng.randint(5, 40) for _ in range(rng.randint(2, 4))]
    n = rng.randint(2, 8)
    listed = ", ".join(map(str, words))
    return Question(
        f"The held-out texts have {listed} words. How many runs of {n} words do they have in all?",
        sum(max(0, w - n + 1) for w in words),
        "A text of w words has w − n + 1 runs, and none if it is shorter than n.",
    )  # fmt: skip


def leak_cases():
    """Splits with ties, empty sides, repeated runs and texts whose joined ends would make runs."""
    return [
        ({"lines": (["the cat sat", "on the mat"], ["the cat sat on"]),
          "texts": (["the cat sat", "on the mat"], ["a dog sat on the mat"])}, 2),
        ({"b": (["x y z"], ["x y q"]), "a": (["x y z"], ["q x y"])}, 2),
        ({"one": (["a b c d"], ["a b", "c d e f"]), "two": (["a b c d", "e f"], ["a b c d e f"])}, 3),
        ({"few": (["To be, or not"], ["TO BE or!"]), "none": (["to be or not"], ["to"])}, 2),
        ({"p": (["a b a b a b"], ["a b c a b", "x"]), "q": (["a b"], ["c a b c a b c"])}, 2),
        ({"r": (["y x w"], ["x y", "w x"]), "s": (["x y"], ["w x y", "q"])}, 2),
        ({"b": (["x y"], ["x y z"]), "a": (["x y"], ["z x y"]), "c": (["x y"], ["x y x"])}, 2),
        ({"k": (["s t u v w s t"], ["s t s t u"]), "m": (["z z z z"], ["z z y"]), "j": (["r"], ["r s r"])}, 1),
        ({"e": ([], ["a b c"]), "f": (["a b c"], ["b c d"])}, 2),
        ({"g": (["a b c", "d e f"], ["c d", "f a b c d"]), "h": (["a b c d e f g h i j"], ["a b c x y", "h i"])}, 2),
        ({"same": (["m n o p"], ["m n o p"]), "long": (["m n o p q r s t"], ["m n o p", "k l m n"])}, 4),
    ]  # fmt: skip


LEAST_LEAK = Exercise(
    cases=leak_cases,
    mutants=(
        Mutant("most", BEST, "max(shares, key=lambda name: (shares[name], name))",
               "the split that leaks most is chosen",
               "Do you want much or little of the held-out text in the training text?"),
        Mutant("training_share", SHARE,
               "sum(run in set(asked) for run in runs(training)) / max(1, len(list(runs(training))))",
               "the share of training runs is taken that stand in the held-out text", ASKED),
        Mutant("distinct", KNOWN, "known, asked = set(runs(training)), set(runs(heldout))",
               "a held-out run that comes twice counts once",
               "A run that the model is asked twice: how often does it help?"),
        Mutant("jaccard", SHARE, "len(known & set(asked)) / len(known | set(asked))",
               "shared runs are divided by the runs of both sides together", ASKED),
        Mutant("across", KNOWN, 'known, asked = set(runs([" ".join(training)])), list(runs([" ".join(heldout)]))',
               "the texts are joined, so that runs reach from one into the next", ACROSS),
        Mutant("across_heldout", KNOWN, 'known, asked = set(runs(training)), list(runs([" ".join(heldout)]))',
               "the held-out texts are joined, so that runs reach from one into the next", ACROSS),
        Mutant("one_short", "range(len(words) - n + 1)", "range(len(words) - n)",
               "the last run of each text is left out",
               "How many runs of two has a text of two words?"),
        Mutant("ragged", "range(len(words) - n + 1)", "range(len(words))", "shorter runs at the end are counted too",
               "Which runs begin at the last word?"),
        Mutant("blocks", "range(len(words) - n + 1)", "range(0, len(words) - n + 1, n)",
               "runs are taken side by side, instead of at every word",
               "How many runs of two has a text of three words?"),
        Mutant("single_words", RUNS, "yield from ((word,) for word in words)",
               "single words are compared, whatever n is",
               "Where does n enter your result?"),
        Mutant("bags", "tuple(words[i : i + n])", "tuple(sorted(words[i : i + n]))",
               "the order of words in a run makes no difference",
               "Is “man bites dog” the same run as “dog bites man”?"),
        Mutant("empty_best", "        if asked:\n            shares[name] = " + SHARE,
               "        shares[name] = sum(run in known for run in asked) / max(1, len(asked))",
               "a split that measures nothing counts as clean", "Nothing was asked. Has the split passed?"),
        Mutant("tie_first", BEST, "min(shares, key=shares.get)",
               "of equal splits the first in the dictionary is chosen",
               "Two splits leak the same. Which one does the rule take?"),
        Mutant("tie_last", BEST, "min(shares, key=lambda name: (shares[name], [-ord(c) for c in name]))",
               "of equal splits the last in the alphabet is chosen",
               "Two splits leak the same. Which one does the rule take?"),
        Mutant("count", SHARE, "sum(run in known for run in asked)", "leaking runs are counted, without dividing",
               ASKED),
        Mutant("swapped_sides", "for name, (training, heldout) in", "for name, (heldout, training) in",
               "training and held-out texts have changed places", ASKED),
        Mutant("clean_share", SHARE, "sum(run not in known for run in asked) / len(asked)",
               "the share that does not leak is measured", "If nothing leaks, what is your share?"),
        Mutant("whole_texts", SHARE, "sum(text in training for text in heldout) / len(heldout)",
               "whole texts are compared",
               "Half of a training text stands in a held-out one. Does your measure see it?"),
        Mutant("by_text", SHARE, "sum(any(run in known for run in runs([t])) for t in heldout) / len(heldout)",
               "texts with a leaking run are counted, instead of runs",
               "One run leaks in a long text. How much is that?"),
    ),
    variants=("""\
def least_leak(splits, n):
    best = None
    for name in sorted(splits):
        training, heldout = splits[name]
        known, hits, total = set(), 0, 0
        for text in training:
            words = words_of(text)
            known.update(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
        for text in heldout:
            words = words_of(text)
            for i in range(len(words) - n + 1):
                total += 1
                hits += " ".join(words[i : i + n]) in known
        if total and (best is None or hits / total < best[1]):
            best = (name, hits / total)
    return best""", """\
def least_leak(splits, n):
    def grams(texts):
        found = Counter()
        for text in texts:
            words = words_of(text)
            found.update(zip(*(words[i:] for i in range(n))))
        return found
    shares = []
    for name, (a, b) in splits.items():
        train, held = grams(a), grams(b)
        if held:
            shares.append((sum(c for g, c in held.items() if g in train) / sum(held.values()), name))
    share, name = min(shares)
    return name, share""", """\
def least_leak(splits, n):
    result = {}
    for name, (training, heldout) in sorted(splits.items()):
        known = [tuple(w[i : i + n]) for w in map(words_of, training) for i in range(len(w) - n + 1)]
        flags = [tuple(w[i : i + n]) in known for w in map(words_of, heldout) for i in range(len(w) - n + 1)]
        if flags:
            result[name] = flags.count(True) / len(flags)
    name = min(result, key=result.get)
    return (name, result[name])""",
    ),
    twin=leak_twin,
)  # fmt: skip


# 01.7


def prose(seed: int, words: int, vocabulary: int) -> bytes:
    """Words of an invented language, always the same for a seed."""
    rng = Random(seed)
    letters = [chr(97 + i) for i in range(26)]
    rng.shuffle(letters)
    sizes = [2 + int(6 * rng.random()) for _ in range(vocabulary)]
    known = ["".join(letters[int(12 * rng.random() ** 2)] for _ in range(size)) for size in sizes]
    return " ".join(known[int(len(known) * rng.random() ** 2)] for _ in range(words)).encode()


def helper_cases():
    """Candidates that are near and far, short and long, and some that hold a piece."""
    mine, near, far = prose(1, 900, 60), prose(1, 4000, 60)[2500:], prose(2, 3000, 80)
    pieces = [mine[10:210], mine[400:520], mine[700:1090]]
    late = far[:6000] + near[:1500]  # the good part stands at the end
    early = near[:1500] + far[:6000]
    twins = {"zeta": near[500:4500], "alpha": near[500:4500]}
    return [
        (pieces, {"near": near, "far": far}, 1500),
        (pieces, {"near": near[:900], "far": far}, 1500),
        (pieces, {"stolen": far[:5000] + pieces[1] + far[5000:9000], "far": far, "near": near[2000:]}, 1200),
        (pieces, {"late": late, "early": early}, 1500),
        (pieces, {"stolen": far[:5000] + pieces[1] + pieces[2], "far": far}, 1200),
        (pieces, {"stolen": far[:2000] + b" ".join(pieces) + far[:90], "near": near}, 1500),
        (pieces, {"stolen": pieces[1] + near, "far": far}, 1500),
        (pieces[:1], twins, 2000),
        (pieces, {"short": b"zzzz"}, 5),
        ([b"\x00\x01\x02\x03"], {"noise": bytes(range(4, 256)), "more": bytes(range(255, 5, -1))}, 64),
        (pieces[::-1] + [mine[2000:2009]], {"far": far, "code": b"def f(x):\n    return x\n" * 400,
        "near": near[3000:]}, 4096),
        (pieces, {"long": (far + near) * 2, "near": near[4000:]}, 700),
    ]


SAVED = "8 * (alone - after) / sum(map(len, pieces))"
TEST = "if len(text) < size or any(piece in text for piece in pieces):"
FAIR = "If one candidate gives more text than another, what does your comparison measure?"
HOLDS = "What should happen to a candidate that holds one of your pieces, word for word?"
PER_BYTE = "Which unit has the result: bits of what, for each what?"


def helper_twin(rng: Random) -> Question:
    """Bits per byte saved, from bytes packed."""
    length, alone = 1000 * rng.randint(2, 9), rng.randint(45, 60)
    after = alone - rng.randint(5, 20)
    alone, after = alone * length // 100, after * length // 100
    return Question(
        f"Pieces of {length:,} bytes take {alone:,} bytes when packed alone, and {after:,} after another text was "
        f"read. "
        "How many bits per byte did reading save?", 8 * (alone - after) / length,
        "Saved bytes times eight, divided by the bytes of the pieces.", 0.01,
    )  # fmt: skip


PICK_HELPER = Exercise(
    cases=helper_cases,
    mutants=(
        Mutant("whole_candidate", "text[-size:])", "text)", "each candidate gives all that it has", FAIR),
        Mutant("first_bytes", "text[-size:])", "text[:size])", "the first bytes are read, instead of the last",
               "Which end of the candidate does the statement name?"),
        Mutant("leak_allowed", TEST, "if len(text) < size:", "a candidate that holds a piece takes part", HOLDS),
        Mutant("leak_in_window", "piece in text for", "piece in text[-size:] for",
               "pieces are looked for only in the bytes that are read", HOLDS),
        Mutant("leak_all", "any(piece in text", "all(piece in text", "a candidate is out only if it holds every piece",
               HOLDS),
        Mutant("short_allowed", TEST, "if any(piece in text for piece in pieces):",
               "a candidate with fewer bytes than the others takes part", FAIR),
        Mutant("bytes", SAVED, "(alone - after) / sum(map(len, pieces))", "bytes are counted instead of bits",
               PER_BYTE),
        Mutant("total_bits", SAVED, "8 * (alone - after)", "the saving is not divided by the length of the pieces",
               PER_BYTE),
        Mutant("per_piece", SAVED, "8 * (alone - after) / len(pieces)",
               "the saving is divided by the number of pieces", PER_BYTE),
        Mutant("share", SAVED, "(alone - after) / alone",
               "the saving is given as a share of what the pieces cost alone", PER_BYTE),
        Mutant("cost", SAVED, "8 * after / sum(map(len, pieces))",
               "the cost after reading is returned, and the dearest wins",
               "Should the best candidate have the largest or the smallest of your numbers?"),
        Mutant("mean_of_rates", SAVED,
               "sum(8 * (price(p) - price(p, text[-size:])) / len(p) for p in pieces) / len(pieces)",
               "the rates of the pieces are averaged, so that a short piece weighs as much as a long one",
               "A piece of nine bytes and one of four hundred: how much should each count?"),
        Mutant("joined", "after = sum(price(piece, text[-size:]) for piece in pieces)",
               'after = price(b"".join(pieces), text[-size:])',
               "the pieces are packed together, so that each helps the next", "May piece 1 help piece 2?"),
        Mutant("joined_both", "alone = sum(price(piece) for piece in pieces)", 'alone = price(b"".join(pieces))',
               "the pieces are packed together where nothing was read first", "May piece 1 help piece 2?"),
        Mutant("concatenated", "after = sum(price(piece, text[-size:]) for piece in pieces)",
               "after = sum(price(text[-size:] + piece) for piece in pieces)",
               "candidate and piece are packed together, and both are paid for", "For whose bytes do you pay?"),
        Mutant("no_nothing", '("nothing", 0.0)', '("nothing", -1e9)', "a candidate that saves nothing may win",
               "What if reading makes it no cheaper?"),
        Mutant("tie_last", "saved > best[1]", "saved >= best[1]", "of equal candidates the last is taken",
               "Two candidates save the same. Which one does the rule take?"),
        Mutant("tie_given", "sorted(candidates.items())", "candidates.items()",
               "of equal candidates the first in the dictionary is taken",
               "Two candidates save the same. Which one does the rule take?"),
        Mutant("name_only", "    return best", "    return best[0]", "only the name is returned",
               "What are the two parts of the result?"),
        Mutant("first_piece", "for piece in pieces)\n        saved", "for piece in pieces[:1])\n        saved",
               "only the first piece is priced after reading",
               "How many pieces are priced on either side of your difference?"),
    ),
    variants=("""\
def pick_helper(pieces, candidates, size):
    total = sum(len(piece) for piece in pieces)
    scores = []
    for name in candidates:
        text = candidates[name]
        if len(text) >= size and not any(text.find(piece) >= 0 for piece in pieces):
            bits = sum(8 * (price(piece) - price(piece, text[len(text) - size :])) for piece in pieces)
            scores.append((-bits / total, name))
    scores = [score for score in scores if score[0] < 0]
    return (min(scores)[1], -min(scores)[0]) if scores else ("nothing", 0.0)""", """\
def pick_helper(pieces, candidates, size):
    fair = {n: t for n, t in candidates.items() if len(t) >= size and all(p not in t for p in pieces)}
    gain = {n: 8 * sum(price(p) - price(p, t[-size:]) for p in pieces) / sum(map(len, pieces)) for n, t in fair.items()}
    gain = {n: g for n, g in gain.items() if g > 0}
    if not gain:
        return "nothing", 0.0
    best = min(gain, key=lambda n: (-gain[n], n))
    return best, gain[best]""", """\
def pick_helper(pieces, candidates, size):
    name_of_best, best = "nothing", 0
    for name in sorted(candidates):
        text, leak = candidates[name], False
        for piece in pieces:
            leak = leak or piece in text
        if leak or len(text) < size:
            continue
        saved = 0
        for piece in pieces:
            saved += price(piece) - price(piece, text[-size:])
        if saved > best:
            name_of_best, best = name, saved
    return name_of_best, best * 8 / len(b"".join(pieces))""",
    ),
    twin=helper_twin,
)  # fmt: skip


# 01.8


def forum(seed: int, many: int, users: int, threads: int) -> list[tuple[str, str, str]]:
    """Messages of random users in random threads."""
    rng = Random(seed)
    ids = [f"m{i}" for i in range(many)]
    rng.shuffle(ids)
    return [(id, f"u{int(users * rng.random())}", f"t{int(threads * rng.random())}") for id in ids]


def side_cases():
    """Chains, names that are a user's and a thread's, and random forums."""
    chain = [("c5", "a", "1"), ("c3", "a", "2"), ("c9", "b", "2"), ("c1", "b", "3"), ("c7", "d", "4"), ("c2", "d", "5")]
    same_names = [("n1", "x", "y"), ("n2", "y", "z"), ("n3", "z", "x"), ("n4", "w", "w"), ("n5", "v", "w")]
    return [
        ([("m1", "ann", "cats"), ("m2", "ben", "cats"), ("m3", "ben", "tea"), ("m7", "eve", "cars")], 0.5),
        ([], 0.5), ([("k", "u", "t")], 1.0), ([("k", "u", "t")], 0.0), (chain, 0.5), (chain[::-1], 0.3), (same_names,
        0.5),
        *((forum(seed, 40, 31, 29), 0.4) for seed in range(4)), (forum(9, 23, 60, 60), 0.5), (forum(8, 70, 61, 80),
        0.25),
        ([("j1", "p", "1"), ("j2", "q", "2"), ("j3", "p", "2"), ("j4", "r", "3"), ("j5", "q", "3"), ("j6", "s", "9")],
        0.6),
    ]  # fmt: skip


CHAIN = "m1 shares a thread with m2, and m2 a user with m3. May m1 and m3 lie on different sides?"
BOTH = "Does your result keep users apart? And threads?"
SMALLEST = "Which message of a group decides for all of it?"
BY_KEY = """\
def sides(messages, fraction):
    groups = {}
    for id, user, thread in messages:
        groups.setdefault(%s, []).append(id)
    return sorted(id for ids in groups.values() if held_out(min(ids), fraction) for id in ids)"""


def sides_twin(rng: Random) -> Question:
    """How many groups some messages form."""
    messages = [(rng.choice("abcde"), rng.choice("12345")) for _ in range(6)]
    top = {}

    def find(x):
        while top.setdefault(x, x) != x:
            x = top[x]
        return x

    for user, thread in messages:
        top[find(user)] = find(thread)
    listed = ", ".join(f"user {user} in thread {thread}" for user, thread in messages)
    return Question(
        f"Messages of the same user or thread must lie on one side: {listed}. How many groups are there?",
        len({find(user) for user, _ in messages}),
        "Draw users and threads as points and each message as a line; count the parts.",
    )  # fmt: skip


SIDES = Exercise(
    cases=side_cases,
    mutants=(
        Mutant("by_message", "", """\
def sides(messages, fraction):
    return sorted(id for id, _, _ in messages if held_out(id, fraction))""",
               "each message is drawn on its own", BOTH),
        Mutant("by_user", "", BY_KEY % "user", "users are kept apart, and threads are not", BOTH),
        Mutant("by_thread", "", BY_KEY % "thread", "threads are kept apart, and users are not", BOTH),
        Mutant("by_pair", "", BY_KEY % "(user, thread)",
               "only messages of the same user in the same thread are kept together", BOTH),
        Mutant("neighbours", "", """\
def sides(messages, fraction):
    result = []
    for id, user, thread in messages:
        near = [other for other, u, t in messages if u == user or t == thread]
        if held_out(min(near), fraction):
            result.append(id)
    return sorted(result)""", "only direct neighbours are looked at", CHAIN),
        Mutant("any_held_out", "held_out(min(ids), fraction)", "any(held_out(id, fraction) for id in ids)",
               "a group is held out as soon as any of its messages would be", SMALLEST),
        Mutant("all_held_out", "held_out(min(ids), fraction)", "all(held_out(id, fraction) for id in ids)",
               "a group is held out only if all of its messages would be", SMALLEST),
        Mutant("largest", "held_out(min(ids), fraction)", "held_out(max(ids), fraction)",
               "the largest id decides", SMALLEST),
        Mutant("first", "held_out(min(ids), fraction)", "held_out(ids[0], fraction)",
               "the id that comes first in the list decides", SMALLEST),
        Mutant("last", "held_out(min(ids), fraction)", "held_out(ids[-1], fraction)",
               "the id that comes last in the list decides", SMALLEST),
        Mutant("mixed_names", "", """\
def sides(messages, fraction):
    above, groups = {}, {}

    def top(name):
        while above.setdefault(name, name) != name:
            name = above[name]
        return name

    for _, user, thread in messages:
        above[top(user)] = top(thread)
    for id, user, _ in messages:
        groups.setdefault(top(user), []).append(id)
    return sorted(id for ids in groups.values() if held_out(min(ids), fraction) for id in ids)""",
               "a user and a thread of the same name are taken for one thing",
               "Is the thread “tea” the same as a user named tea?"),
        Mutant("training_side", "if held_out(min(ids), fraction)", "if not held_out(min(ids), fraction)",
               "the training side is returned", "Which side does the statement ask for?"),
        Mutant("default_fraction", "held_out(min(ids), fraction)", "held_out(min(ids))",
               "the fraction plays no part", "Where does your function use fraction?"),
        Mutant("in_list_order",
               "return sorted(id for ids in groups.values() if held_out(min(ids), fraction) for id in ids)",
               "return [id for ids in groups.values() if held_out(min(ids), fraction) for id in ids]",
               "the ids are not sorted", "In which order should the ids come?"),
        Mutant("one_pass", "", """\
def sides(messages, fraction):
    of_user, of_thread, ids, number = {}, {}, {}, 0
    for id, user, thread in messages:
        group = of_user.get(user, of_thread.get(thread, number))
        number += 1
        of_user[user] = of_thread[thread] = group
        ids.setdefault(group, []).append(id)
    return sorted(id for group in ids.values() if held_out(min(group), fraction) for id in group)""",
               "two groups that a later message connects are not joined",
               "A message comes whose user and thread are already in two different groups. What now?"),
        Mutant("only_smallest", " for id in ids)", " for id in [min(ids)])",
               "only one message of each group is returned", "Where do the other messages of the group go?"),
    ),
    variants=("""\
def sides(messages, fraction):
    group = {id: id for id, _, _ in messages}
    changed = True
    while changed:
        changed = False
        for part in (1, 2):
            smallest = {}
            for message in messages:
                key = message[part]
                smallest[key] = min(smallest.get(key, group[message[0]]), group[message[0]])
            for message in messages:
                if smallest[message[part]] < group[message[0]]:
                    group[message[0]], changed = smallest[message[part]], True
    return sorted(id for id in group if held_out(group[id], fraction))""", """\
def sides(messages, fraction):
    left, result = list(messages), []
    while left:
        inside, rest = [left[0]], left[1:]
        while True:
            users, threads = {m[1] for m in inside}, {m[2] for m in inside}
            new = [m for m in rest if m[1] in users or m[2] in threads]
            if not new:
                break
            inside += new
            rest = [m for m in rest if m not in new]
        left = rest
        if held_out(min(m[0] for m in inside), fraction):
            result += [m[0] for m in inside]
    return sorted(result)""", """\
def sides(messages, fraction):
    near = {}
    for id, user, thread in messages:
        for name in (("u", user), ("t", thread)):
            near.setdefault(name, set()).add(id)
    names = {id: (("u", user), ("t", thread)) for id, user, thread in messages}
    seen, result = set(), []
    for id in sorted(names):
        if id in seen:
            continue
        stack, group = [id], set()
        while stack:
            one = stack.pop()
            if one not in group:
                group.add(one)
                for name in names[one]:
                    stack.extend(near[name])
        seen |= group
        result += group if held_out(id, fraction) else ()
    return sorted(result)""",
    ),
    properties=(
        Property(lambda result, messages, fraction: not {u for i, u, _ in messages if i in set(result)}
                 & {u for i, u, _ in messages if i not in set(result)}, "A user has messages on both sides."),
        Property(lambda result, messages, fraction: not {t for i, _, t in messages if i in set(result)}
                 & {t for i, _, t in messages if i not in set(result)}, "A thread has messages on both sides."),
    ),
    twin=sides_twin,
)  # fmt: skip


EXERCISES = {
    "share_of_sample": SHARE_OF_SAMPLE,
    "repair": REPAIR,
    "tidy": TIDY,
    "new_word_chance": NEW_WORD_CHANCE,
    "drop_repeats": DROP_REPEATS,
    "least_leak": LEAST_LEAK,
    "pick_helper": PICK_HELPER,
    "sides": SIDES,
}


# Questions to come back to


def torn_copies(rng: Random) -> Question:
    """A duplicate on both sides of a split."""
    fraction = rng.randint(1, 30) / 100
    return Question(
        f"A document and an exact copy have different ids, and each id is held out with probability {fraction}, by "
        f"a hash. "
        "With which probability does exactly one of the two lie in the held-out text?", 2 * fraction * (1 - fraction),
        f"2 · {fraction} · {1 - fraction}: either one of the two may be the one that is held out.", 0.01,
    )  # fmt: skip


def zipf_count(rng: Random) -> Question:
    """A count from a rank."""
    first, rank = 1000 * rng.randint(20, 90), rng.choice([4, 10, 20, 50, 100])
    return Question(
        f"The most frequent word of a text occurs {first:,} times. How often does the word of rank {rank} occur, if "
        f"Zipf's law "
        "holds with slope −1?", first / rank, f"{first:,} divided by {rank}.", 0.01,
    )  # fmt: skip


def zipf_slope(rng: Random) -> Question:
    """What a slope means."""
    factor, slope = rng.choice([2, 3, 4, 5, 8, 10, 100]), rng.choice([0.5, 0.8, 1.0, 1.5, 2.0])
    return Question(
        f"On logarithmic axes the counts fall with slope −{slope} against the rank. The rank becomes {factor} times "
        f"as large: by which "
        "factor does the count shrink?", factor**slope, f"{factor} to the power of {slope}.", 0.02,
    )  # fmt: skip


def line_ends(rng: Random) -> Question:
    """A file converted twice."""
    lines = rng.randint(20, 400)
    return Question(
        f"A file of {lines} lines, each ended by \\n, was converted to \\r\\n, and then once more, each \\n to "
        f"\\r\\n. By how many bytes has it "
        "grown?", 2 * lines, "Each conversion puts one \\r before each \\n.",
    )  # fmt: skip


def bytes_of_halves(rng: Random) -> Question:
    """What taking accents apart costs."""
    words = rng.randint(3, 40)
    return Question(
        f"A text holds {words} times é as one code point. It is taken apart into e and a combining accent (NFD). By "
        f"how many bytes of UTF-8 "
        "does it grow?", words, "é takes two bytes; e takes one and the combining accent two.",
    )  # fmt: skip


def share_of_bytes(rng: Random) -> Question:
    """A draw of documents."""
    notes, books = 100 * rng.randint(2, 9), rng.randint(2, 9)
    return Question(
        f"{notes} notes of 200 bytes and {books} books of 400,000 bytes. You draw a document at random, each with "
        f"the same chance. With which "
        "probability is it a book?", books / (books + notes),
        "Books divided by documents; their lengths play no part.", 0.01,
    )  # fmt: skip


RECALL = (torn_copies, zipf_count, zipf_slope, line_ends, bytes_of_halves, share_of_bytes)
PREDICTIONS = {
    "01.p1": Prediction(
        "The dictionary has nine tenths of our documents. Which share of the bytes does it have?",
        None,
        "Its entries are a line or two long, and a novel or a speech has tens of thousands of bytes.",
        0.5,
    ),
    "01.p2": Prediction(
        "Keep only the lines that end with a full stop, a question mark, an exclamation mark or a quotation mark. "
        "Which share of Python code is "
        "left?",
        None,
        "What is left are sentences in comments, and a few strings. No statement of Python ends with a full stop.",
        0.4,
    ),
    "01.p3": Prediction(
        "Four million words of English prose. Which share of the different words occurs exactly once?",
        None,
        "About a third: names, places, rare forms. In a single book it is about half.",
        0.2,
    ),
    "01.p4": Prediction(
        "A document has an exact copy under another name; each id is held out with probability 0.05. With which "
        "probability does exactly one of "
        "the two lie in the held-out text?",
        lambda: 2 * 0.05 * 0.95,
        "Two ways, each 0.05 · 0.95: nearly every tenth duplicate puts the answers on the wall.",
    ),
    "01.p5": Prediction(
        "Split by paragraph, about 5 % of the names in the held-out text are unknown. Split by document, how many are?",
        None,
        "Names come in bursts: a page that has a name has it again on the next page, and other documents never have "
        "it.",
        0.3,
    ),
    "01.p6": Prediction(
        "zlib reads 32 kB of one domain, then packs another. Which domain gains least from the others?",
        None,
        "Code shares hardly any strings with prose, apart from the English in its comments.",
    ),
}
