"""Lesson 02, tokenizer: cases, wrong ideas, twins and recall."""
import math
from functools import cache
from itertools import product
from random import Random
from textwrap import indent

from minigpt.tokenizer import END_OF_TEXT, Tokenizer, learn_merges, train_bpe

from . import Exercise, Mutant, Prediction, Property, Question

# 02.1

# The last three: where UTF-8 grows by a byte, an accent that is a character of its own, a single character.
TEXTS = ("cat", "", "né", "7 € für\n", "水 и дом", "🙂 ok 👍🏽!", "\x7f\x80ÿĀ\u07ff\u0800\uffff\U00010000",
         "cafe\u0301 über", "é")  # fmt: skip
LENGTHS = '[len(character.encode("utf-8")) for character in text]'
LENGTH = 'len(character.encode("utf-8"))'
NUMBER = "you count the bytes that the character's number needs, as if UTF-8 were that number"
NUMBER_QUESTION = "When bytes follow one another in a file, how does a reader know where the next character begins?"
HOW_LONG = "How long should the list be for a text of n characters?"
UTF16 = "each character is stored in units of two bytes, which is another encoding, UTF-16"
ASKED_ONCE = "the whole text is measured, instead of one character at a time"


def utf8_twin(rng: Random) -> Question:
    """The bytes of a text in two scripts."""
    alphabets = {"Greek": "αβγδλπ", "Hindi": "कखगनमल", "emoji": "🙂👍🎈🌍", "English": "aeotn", "accents": "éüñçå"}
    first, second = (rng.choices(alphabets[name], k=rng.randint(2, 5)) for name in rng.sample(sorted(alphabets), 2))
    text = "".join(first + [" "] + second)
    why = "English letters and the space take one byte each, Greek and accented letters two, Hindi three, emoji four."
    return Question(f'How many bytes does "{text}" take in UTF-8?', len(text.encode()), why)


UTF8_LENGTHS = Exercise(
    cases=lambda: [(text,) for text in TEXTS],
    mutants=(
        Mutant("ascii", LENGTH, "1", "every character is taken for one byte",
               'What does len("é".encode("utf-8")) say?'),
        Mutant("two", LENGTH, "1 if character.isascii() else 2",
               "all characters outside of ASCII are taken for two bytes",
               "Two bytes of UTF-8 leave 11 bits for the character. How many characters is that, and how many does "
               "Chinese have?"),
        Mutant("two_from_256", LENGTH, "1 if ord(character) < 256 else 2",
               "a byte holds the numbers up to 255, so two bytes must hold the rest",
               "Two bytes tell 65,536 numbers apart. Does a reader then know where a character begins, and do they "
               "suffice for 🙂, number 128,578?"),
        Mutant("three", LENGTH, 'min(3, len(character.encode("utf-8")))',
               "no character takes more than three bytes", "Unicode goes up to 0x10FFFF. Do 16 bits suffice for that?"),
        Mutant("number", LENGTH, "max(1, (ord(character).bit_length() + 7) // 8)", NUMBER, NUMBER_QUESTION),
        Mutant("latin", LENGTH, '1 if ord(character) < 256 else len(character.encode("utf-8"))',
               "the characters up to 255 are taken for one byte",
               "If é were the single byte 233, what would 233 mean in 中?"),
        Mutant("number_or_four", LENGTH, "1 if ord(character) < 256 else 2 if ord(character) < 65536 else 4", NUMBER,
               NUMBER_QUESTION),
        Mutant("number_floor", LENGTH, "ord(character).bit_length() // 8 + 1", NUMBER, NUMBER_QUESTION),
        Mutant("border_255", LENGTH,
               "1 if ord(character) < 128 else 2 if ord(character) < 256 else 3 if ord(character) < 65536 else 4",
               "two bytes are taken to end with character 255",
               "Of two bytes of UTF-8, 11 bits are left for the character. Up to which number?"),
        Mutant("never_three", LENGTH, "1 if ord(character) < 128 else 2 if ord(character) < 65536 else 4",
               "two bytes are taken to hold every number of 16 bits",
               "How does a reader know that two bytes belong together? Does that cost bits?"),
        *(Mutant(f"borders_{'_'.join(map(str, ends))}", LENGTH,
                 f"1 + sum(ord(character) > end for end in {ends})",
                 "a border between two lengths is off by one",
                 "How many numbers can 7 bits tell apart, and 11, and 16, if the first of them is 0?")
          for ends in ((126, 2046, 65534), (128, 2048, 65536),  # `<` or `<=` taken for the other, everywhere or once
                       (126, 2047, 65535), (127, 2046, 65535), (127, 2047, 65534), (127, 2046, 65534),
                       (128, 2047, 65535), (127, 2048, 65535), (127, 2047, 65536), (127, 2048, 65536))),
        Mutant("bits", LENGTH, "ord(character).bit_length()",
               "bits are counted, instead of bytes", "How many bits are a byte?"),
        Mutant("memory", LENGTH, '__import__("sys").getsizeof(character)',
               "you measure the room that Python's own object takes", "What else does an object in memory hold?"),
        Mutant("stripped", "in text]", "in text.strip()]", "blanks are left out",
               "Is a space a character? Does it take room in a file?"),
        Mutant("utf16", '"utf-8"', '"utf-16-le"', UTF16,
               "Which of the two encodings leaves plain English at one byte a letter?"),
        Mutant("utf16_mark", '"utf-8"', '"utf-16"', UTF16,
               "Which of the two encodings leaves plain English at one byte a letter?"),
        Mutant("utf32", '"utf-8"', '"utf-32-le"',
               "each character is stored in four bytes, which is another encoding, UTF-32",
               "A text of a million English letters: how large is its file?"),
        Mutant("utf32_mark", '"utf-8"', '"utf-32"',
               "each character is stored in four bytes, which is another encoding, UTF-32",
               "A text of a million English letters: how large is its file?"),
        Mutant("values", LENGTHS, 'list(text.encode("utf-8"))',
               "the bytes themselves are listed, instead of how many there are", HOW_LONG),
        Mutant("ones", LENGTHS, '[1 for byte in text.encode("utf-8")]',
               "the loop goes over bytes instead of characters", HOW_LONG),
        Mutant("numbers", LENGTH, "ord(character)",
               "you give the characters' numbers, instead of how many bytes they take",
               "What does ord tell you, and what does len?"),
        Mutant("total", LENGTHS, 'len(text.encode("utf-8"))',
               ASKED_ONCE, "Of what do you want to know the bytes: of a text, or of each of its characters?"),
        Mutant("total_in_list", LENGTHS, '[len(text.encode("utf-8"))]',
               ASKED_ONCE, "Of what do you want to know the bytes: of a text, or of each of its characters?"),
        Mutant("text_each_time", "character.encode", "text.encode", ASKED_ONCE,
               "In your loop, what changes from turn to turn, and do you use it?"),
        Mutant("words", "for character in text]", "for character in text.split()]",
               "the text is measured word by word, instead of one character at a time",
               "What does a for loop over a str give you?"),
        Mutant("no_blanks", "for character in text]", "for character in text if not character.isspace()]",
               "blanks are left out", "Is a space a character? Does it take room in a file?"),
        Mutant("last_lost", "for character in text]", "for character in text[:-1]]", "the last character is lost",
               "If a length is written down when the next character begins, what becomes of the last one?"),
        Mutant("distinct", "for character in text]", "for character in dict.fromkeys(text)]",
               "a character that comes again is not counted again", HOW_LONG),
        Mutant("dictionary", LENGTHS, '{character: len(character.encode("utf-8")) for character in text}',
               "a character that comes again is not counted again",
               "What happens in a dictionary when a key comes again?"),
        Mutant("repr", 'character.encode("utf-8")', 'str(character.encode("utf-8"))',
               "the way in which Python prints the bytes is measured, with its quotes and backslashes",
               "What is the length of b'a', and what of the text that Python shows for it?"),
        Mutant("repr_without_quotes", LENGTH, 'len(str(character.encode("utf-8"))) - 3',
               "the way in which Python prints the bytes is measured, with its quotes and backslashes",
               "What is the length of b'a', and what of the text that Python shows for it?"),
        Mutant("composed", "", '''
def utf8_lengths(text):
    import unicodedata

    return [len(character.encode("utf-8")) for character in unicodedata.normalize("NFC", text)]
''', "letters and their accents are put together first", "How many turns does a for loop make over the text as it is?"),
    ),
    variants=(
        '''
def utf8_lengths(text):
    lengths = []
    for character in text:
        lengths.append(len(bytes(character, "utf-8")))
    return lengths
''',
        '''
def utf8_lengths(text):
    return [1 + (ord(c) > 0x7F) + (ord(c) > 0x7FF) + (ord(c) > 0xFFFF) for c in text]
''',
        '''
def utf8_lengths(text):
    lengths = []
    for byte in text.encode():
        if byte & 0b1100_0000 == 0b1000_0000:  # a continuation
            lengths[-1] += 1
        else:
            lengths.append(1)
    return lengths
''',
        '''
def utf8_lengths(text):
    return list(map(len, map(str.encode, text)))
''',
    ),
    properties=(
        Property(lambda lengths, text: len(lengths) == len(text),
                 "The list should hold one number for each character."),
        Property(lambda lengths, text: sum(lengths) == len(text.encode()),
                 "Your numbers do not add up to the bytes that the whole text takes."),
    ),
    twin=utf8_twin,
)  # fmt: skip


# 02.2


def random_words(seed: int, many: int, tokens: tuple[bytes, ...], longest: int, times: int) -> dict:
    """Words of random tokens, and how often each occurs."""
    rng = Random(seed)
    words = [tuple(rng.choices(tokens, k=rng.randint(1, longest))) for _ in range(many)]
    return {word: rng.randint(1, times) for word in [*words, (b"z", b"y")]}


def pair_cases():
    a, b, c, d, q = b"a", b"b", b"c", b"d", b"q"
    return [
        ({(b"l", b"o", b"w"): 5, (b"l", b"o", b"g"): 2, (b"n", b"o", b"w"): 4},),
        ({(a, c): 3, (a, b): 3, (b"e",): 20},),  # a tie: the greater first, then last
        ({(a, b): 2, (c, d): 1, (d, d, b): 1, (c, d, q): 1},),
        ({(b"ab", a): 4, (a, b"z"): 4, (b"o", b"w", b"l"): 1},),  # a tie: joined, b"az" would be greater
        ({(a, b"z"): 5, (b, a): 5},),  # a tie: the second token would decide otherwise
        ({(b, c): 2, (a, b"bcd"): 2, (b"e",): 1},),  # a tie: the longer pair is not the greater
        ({(q, b"u"): 1, (q, b"u", b"e"): 1, (b"o", q, b"u"): 1, (b"t", b"h"): 9},),
        ({(a, a, a): 2, (b, c): 3},),
        ({(a, b, a, b, a, b): 1, (c, d): 2},),
        ({(a, b): 2, (b, a): 2, (c, d): 3},),
        ({(b"\xc3", b"\xa9", b"t"): 3, (b"n", b"\xc3", b"\xa9"): 2, (b"\xc3", b"\xbc"): 4},),  # tokens need not be text
        ({(b"s",): 8, (b"i", b"n"): 3, (b"o", b"n", b"s"): 1},),
        (random_words(3, 17, (b"a", b"an", b"n", b"b"), 6, 9),),
        (random_words(4, 29, (b"t", b"h", b"e", b"th", b"er"), 7, 5),),
        (random_words(6, 41, (b"0", b"1", b"01"), 5, 2),),
    ]


def count_in(words, pair):
    """How often a pair of neighbours stands in a text."""
    return sum(times * list(zip(word, word[1:])).count(tuple(pair)) for word, times in words.items())


NEIGHBOURS = "in zip(word, word[1:]):"
BORDER = "Where does one word end in the text that you count in?"
TIE = "pairs that occur equally often are not decided towards the greatest pair"
TIE_QUESTION = "Two pairs have the same count. Which is greater? Would another order of the words change your answer?"
WEIGHT = "each word is counted once, however often it occurs in the text"
WEIGHT_QUESTION = "A word that occurs nine times: how many pairs does it put into the text?"
ACROSS = "the last token of one word and the first of the next are counted as a pair"
UNWEIGHTED = """
def most_common_pair(words):
    counts = Counter(pair for word in words for pair in {})
    return {}
"""
LAST_LINE = "max(counts, key=lambda pair: (counts[pair], pair))"


def pair_twin(rng: Random) -> Question:
    """A small text, and its next merge."""
    words = {tuple(word): rng.randint(1, 6) for word in rng.sample(["tot", "toto", "otto", "oto", "tto", "too"], 3)}
    listed = ", ".join(f"{'·'.join(word)} ({times} times)" for word, times in words.items())
    counts = {pair: count_in(words, pair) for word in words for pair in zip(word, word[1:])}
    text = (f"The words of a text are cut like this: {listed}. Which pair is merged next? Write its two letters; of "
            "equals, the greatest.")  # fmt: skip
    why = "The counts: " + ", ".join(f"{a}·{b} {count}" for (a, b), count in counts.items()) + "."
    return Question(text, "".join(max(counts, key=lambda pair: (counts[pair], pair))), why)


MOST_COMMON_PAIR = Exercise(
    cases=pair_cases,
    mutants=(
        Mutant("tie_first_met", LAST_LINE, "max(counts, key=counts.get)", TIE, TIE_QUESTION),
        Mutant("tie_smallest", LAST_LINE, "min(counts, key=lambda pair: (-counts[pair], pair))", TIE, TIE_QUESTION),
        Mutant("tie_last_met", LAST_LINE, "max(reversed(counts), key=counts.get)", TIE, TIE_QUESTION),
        Mutant("tie_joined", "counts[pair], pair))", "counts[pair], pair[0] + pair[1]))",
               "equal counts are decided by the bytes of the pair put together, instead of by the pair",
               'Which is greater: (b"ab", b"a") or (b"a", b"z")? And b"aba" or b"az"?'),
        Mutant("tie_length", "counts[pair], pair))", "counts[pair], len(pair[0] + pair[1]), pair))",
               "equal counts are decided by the length of the pair first", "What does the rule say about lengths?"),
        Mutant("tie_second", "counts[pair], pair))", "counts[pair], pair[::-1]))",
               "equal counts are decided by the second token first",
               "In which order does Python compare the parts of a tuple?"),
        Mutant("unweighted", "+= times", "+= 1", WEIGHT, WEIGHT_QUESTION),
        Mutant("unweighted_first_met", "", '''
def most_common_pair(words):
    return Counter(pair for word in words for pair in zip(word, word[1:])).most_common(1)[0][0]
''', WEIGHT, WEIGHT_QUESTION),
        *(Mutant(f"unweighted_{name}", "", UNWEIGHTED.format(within.format("zip(word, word[1:])"), choice), WEIGHT,
                 WEIGHT_QUESTION)
          for name, within, choice in (
              ("smallest", "{}", "min(counts, key=lambda pair: (-counts[pair], pair))"),
              ("last_met", "{}", "max(reversed(counts), key=counts.get)"),
              ("once", "set({})", "max(counts, key=lambda pair: (counts[pair], pair))"),
              ("once_first_met", "dict.fromkeys({})", "max(counts, key=counts.get)"),
          )),
        Mutant("weighted_first", "counts[pair] += times", "counts[pair] += 1 if counts[pair] else times",
               "only the first word that holds a pair counts as often as it occurs", WEIGHT_QUESTION),
        Mutant("overwritten", "+= times", "= times",
               "a count is overwritten when the pair comes again, instead of added to",
               "A pair stands in two words, 5 and 2 times. What is its count afterwards?"),
        Mutant("within_once", NEIGHBOURS, "in set(zip(word, word[1:])):",
               "a pair that stands twice in a word is counted once for it", "How often is the pair (a, b) in a·b·a·b?"),
        Mutant("no_overlap", "", '''
def most_common_pair(words):
    counts = Counter()
    for word, times in words.items():
        i, last = 0, None
        while i < len(word) - 1:
            if word[i : i + 2] == last and word[i] == word[i + 1]:
                last = None
            else:
                last = word[i : i + 2]
                counts[last] += times
            i += 1
    return max(counts, key=lambda pair: (counts[pair], pair))
''', "pairs that overlap, as the two in a·a·a, are counted once", "How many neighbours has the middle token of a·a·a?"),
        Mutant("every_second", NEIGHBOURS, "in zip(word[::2], word[1::2]):",
               "the word is cut into pairs, so that each token is in one pair only",
               "With which tokens can the middle one of t·h·e be merged?"),
        Mutant("all_pairs", NEIGHBOURS, "in [(a, b) for i, a in enumerate(word) for b in word[i + 1 :]]:",
               "any two tokens of a word are counted, even if others stand between them",
               "Can t and e be merged in t·h·e?"),
        Mutant("last_missing", NEIGHBOURS, "in zip(word, word[1:-1]):",
               "the last pair of each word is left out", "A word of n tokens: how many pairs of neighbours has it?"),
        Mutant("last_alone", NEIGHBOURS, "in [word[i : i + 2] for i in range(len(word))]:",
               "the last token of a word is counted as a pair of its own",
               "What is word[i : i + 2] when i stands at the last token?"),
        Mutant("first_missing", NEIGHBOURS, "in zip(word[1:], word[2:]):",
               "the first pair of each word is left out", "A word of n tokens: how many pairs of neighbours has it?"),
        Mutant("wraps", NEIGHBOURS, "in zip(word, word[1:] + word[:1]):",
               "the last token of a word is paired with its first", "What stands to the right of the last token?"),
        Mutant("unordered", "counts[pair] += times", "counts[tuple(sorted(pair))] += times",
               "a pair is counted together with its reverse", "Is t·h the same as h·t, once they are merged?"),
        Mutant("single_bytes", NEIGHBOURS,
               "in [(bytes([a]), bytes([b])) for a, b in zip(b''.join(word), b''.join(word)[1:])]:",
               "the words are taken apart into single bytes again", "How many tokens has the word (th, e)?"),
        Mutant("across_once", "", '''
def most_common_pair(words):
    row = [token for word in words for token in word]
    counts = Counter(zip(row, row[1:]))
    return max(counts, key=lambda pair: (counts[pair], pair))
''', ACROSS, BORDER),
        Mutant("across", "", '''
def most_common_pair(words):
    row = [token for word, times in words.items() for _ in range(times) for token in word]
    counts = Counter(zip(row, row[1:]))
    return max(counts, key=lambda pair: (counts[pair], pair))
''', ACROSS, BORDER),
        Mutant("across_first_met", "", '''
def most_common_pair(words):
    row = [token for word, times in words.items() for _ in range(times) for token in word]
    return Counter(zip(row, row[1:])).most_common(1)[0][0]
''', ACROSS, BORDER),
        Mutant("of_commonest_word", "", '''
def most_common_pair(words):
    word = max((word for word in words if len(word) > 1), key=words.get)
    return max(zip(word, word[1:]))
''', "only the most frequent word is looked at", "Can a pair be frequent although none of its words is?"),
        Mutant("single_tokens", "", '''
def most_common_pair(words):
    counts = Counter()
    for word, times in words.items():
        for token in word:
            counts[token] += times
    return tuple(sorted(counts, key=lambda token: (counts[token], token))[-2:][::-1])
''', "the two most frequent tokens are taken, whether they stand side by side or not",
               "How often do the two tokens of your pair stand next to each other?"),
        Mutant("greatest", "(counts[pair], pair))", "(pair, counts[pair]))",
               "the greatest pair is taken and its count asked second",
               "Of what a tuple holds, what does Python compare first?"),
        Mutant("rarest", "max(counts, key=lambda pair: (counts[pair], pair))",
               "min(counts, key=lambda pair: (counts[pair], pair))", "the rarest pair is taken",
               "Does a smaller count make a smaller or a larger key?"),
        Mutant("joined", LAST_LINE, "b''.join(max(counts, key=lambda pair: (counts[pair], pair)))",
               "the new token is returned, instead of the pair that it is made of",
               "What must the next step know to find the places of the merge?"),
        Mutant("joined_counts", "counts[pair] += times", "counts[b''.join(pair)] += times",
               "the new token is returned, instead of the pair that it is made of",
               "What must the next step know to find the places of the merge?"),
        Mutant("with_count_first_met", LAST_LINE, "counts.most_common(1)[0]", "the count is handed over as well",
               "What does the caller expect: a pair, or a pair and its count?"),
        Mutant("with_count", LAST_LINE, "max((count, pair) for pair, count in counts.items())",
               "the count is handed over as well", "What does the caller expect: a pair, or a pair and its count?"),
        Mutant("with_count_after", LAST_LINE, "max(counts.items(), key=lambda item: item[::-1])",
               "the count is handed over as well", "What does the caller expect: a pair, or a pair and its count?"),
        Mutant("count", LAST_LINE, "max(counts.values())",
               "the highest count is returned, instead of the pair that has it",
               "Which does max return: a key or a value?"),
    ),
    variants=(
        '''
def most_common_pair(words):
    counts = {}
    for word in words:
        for i in range(len(word) - 1):
            pair = (word[i], word[i + 1])
            counts[pair] = counts.get(pair, 0) + words[word]
    best = None
    for pair in counts:
        if best is None or counts[pair] > counts[best] or (counts[pair] == counts[best] and pair > best):
            best = pair
    return best
''',
        '''
def most_common_pair(words):
    from itertools import pairwise

    counts = Counter()
    for word, times in words.items():
        counts.update({pair: times * n for pair, n in Counter(pairwise(word)).items()})
    return sorted(counts.items(), key=lambda item: (item[1], item[0]))[-1][0]
''',
        '''
def most_common_pair(words):
    counts = Counter(pair for word, times in words.items() for pair in list(zip(word, word[1:])) * times)
    top = max(counts.values())
    return max(pair for pair, count in counts.items() if count == top)
''',
        '''
def most_common_pair(words):
    row = [token for word, times in words.items() for token in [*word, None] * times]
    counts = Counter(pair for pair in zip(row, row[1:]) if None not in pair)
    return max((count, pair) for pair, count in counts.items())[1]
''',
    ),
    properties=(
        Property(lambda pair, words: count_in(words, pair) > 0,
                 "The two tokens of your pair stand side by side in no word."),
        Property(lambda pair, words: all(count_in(words, p) <= count_in(words, pair)
                                         for w in words for p in zip(w, w[1:])),
                 "There is a pair that occurs more often than yours."),
        Property(lambda pair, words: all(count_in(words, p) < count_in(words, pair) or p <= tuple(pair)
                                         for w in words for p in zip(w, w[1:])),
                 "There is a greater pair that occurs as often as yours."),
    ),
    twin=pair_twin,
)  # fmt: skip


# 02.3

HOLE = """        if tuple(tokens[i : i + 2]) == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(tokens[i])
            i += 1"""
LOOP = f"    while i < len(tokens):\n{HOLE}\n    return merged"
JOINED_TOKEN = "merged.append(pair[0] + pair[1])"
EQUAL = "if tuple(tokens[i : i + 2]) == pair:"
BYTES_ONLY = "any neighbours with the same bytes as the pair are merged, even if they are other tokens"
BYTES_QUESTION = 'Both a·bc and ab·c give the bytes "abc". Which of them is the pair (ab, c)?'
TAIL = "the last token is lost when it is not part of a merge"
TAIL_QUESTION = "Join your tokens again: do they give the text?"
RIGHT_TO_LEFT = "the merges are made from the right, so that of a·a·a the last two are joined"
ONCE = "only one occurrence is merged"
NO_NEIGHBOUR = "the last token is asked for a neighbour that it does not have"
INDEX_QUESTION = "When i stands at the last token, what is tokens[i + 1]?"
NOTHING = "nothing is merged"
NOTHING_QUESTION = "Does your condition ever hold (a list equals no tuple), and do you then put down one token or two?"


def merge_twin(rng: Random) -> Question:
    """How long a word is after a merge that could overlap."""
    run, tail = rng.randint(5, 15), rng.randint(3, 9)
    text = (f"A word is {run} tokens a, then one token b, then {tail} tokens a. The pair (a, a) is merged once, from "
            "the left. How many tokens has the word afterwards?")  # fmt: skip
    why = "Each run of a's is joined two by two; of an odd run the last one is left over. The b stays."
    return Question(text, (run + 1) // 2 + 1 + (tail + 1) // 2, why)


MERGE_PAIR = Exercise(
    cases=lambda: [
        ([b"b", b"a", b"n", b"a", b"n", b"a"], (b"a", b"n")),
        ([b"a"] * 3, (b"a", b"a")),
        ([b"a"] * 4 + [b"b"] + [b"a"] * 5, (b"a", b"a")),
        ([], (b"a", b"b")),
        ([b"x"], (b"x", b"x")),
        ([b"t", b"h", b"e"], (b"h", b"e")),
        ([b"th", b"e", b"t", b"h", b"e", b"the"], (b"th", b"e")),
        ([b"a", b"bc", b"ab", b"c", b"a", b"b", b"c", b"ab", b"c"], (b"ab", b"c")),
        ([b"o", b"n", b"n", b"o", b"n", b"o", b"o"], (b"n", b"o")),
        ([b"no", b"no", b"no", b"no", b"n", b"o", b"no"], (b"no", b"no")),
        ([b"c", b"a", b"b", b"d"], (b"b", b"a")),
        ([b"a", b"aa", b"a", b"a", b"a", b"a"], (b"a", b"a")),
        ([b" ", b"t", b" t", b"o", b" ", b"t"], (b" ", b"t")),  # a space is a byte like any other
        ([b"\xc3", b"\xa9", b"\xa9", b"\xc3", b"\xa9", b"\xe6"], (b"\xc3", b"\xa9")),  # and so is half a character
        ([b"o", b"n"], (b"o", b"n")),
    ],
    mutants=(
        Mutant("overlap", "i += 2", "i += 1",
               "after a merge the walk goes on by one token, so that the second token is used again",
               "How many tokens does a merge use up, and how many of them are left for the next place?"),
        Mutant("overlap_back", HOLE, """        if i > 0 and (tokens[i - 1], tokens[i]) == pair:
            merged[-1] = pair[0] + pair[1]
        else:
            merged.append(tokens[i])
        i += 1""", "a token is used by two merges",
               "In a·a·a, which tokens does the first merge use up, and which one is left?"),
        Mutant("three", "i += 2", "i += 3", "after a merge the walk skips a token", TAIL_QUESTION),
        Mutant("both_copied", JOINED_TOKEN, "merged += [pair[0] + pair[1], pair[1]]",
               "after a merge its second token is put down once more", TAIL_QUESTION),
        Mutant("last_again", LOOP, LOOP.replace("(tokens):", "(tokens) - 1:") + " + tokens[-1:]",
               "the last token is put down at the end, even if a merge has used it up", TAIL_QUESTION),
        Mutant("first_copied", JOINED_TOKEN, "merged += [pair[0], pair[0] + pair[1]]",
               "at a merge its first token is put down as well", TAIL_QUESTION),
        Mutant("index", EQUAL, "if (tokens[i], tokens[i + 1]) == pair:", NO_NEIGHBOUR, INDEX_QUESTION),
        Mutant("index_late", EQUAL,
               "if tokens[i] == pair[0] and tokens[i + 1] == pair[1]:", NO_NEIGHBOUR, INDEX_QUESTION),
        Mutant("skips_always", "i += 1", "i += 2", "the walk goes on by two tokens whether they are merged or not",
               TAIL_QUESTION),
        Mutant("two_copied", "merged.append(tokens[i])\n            i += 1",
               "merged.extend(tokens[i : i + 2])\n            i += 2",
               "the list is cut into twos first, so that a pair that begins at an odd place is missed",
               "At which places can a pair begin in b·a·n?"),
        Mutant("others_lost", """        else:
            merged.append(tokens[i])
            i += 1""", """        else:
            i += 1""", "tokens that are not merged are dropped", TAIL_QUESTION),
        Mutant("tail", "while i < len(tokens):", "while i < len(tokens) - 1:", TAIL, TAIL_QUESTION),
        Mutant("first_only", EQUAL, "if tuple(tokens[i : i + 2]) == pair and pair[0] + pair[1] not in merged:", ONCE,
               "How often does the pair stand in the list, and how often in your result?"),
        Mutant("first_only_index", "", '''
def merge_pair(tokens, pair):
    for i in range(len(tokens) - 1):
        if (tokens[i], tokens[i + 1]) == pair:
            return tokens[:i] + [pair[0] + pair[1]] + tokens[i + 2 :]
    return list(tokens)
''', ONCE, "How often does the pair stand in the list, and how often in your result?"),
        Mutant("from_right", "", '''
def merge_pair(tokens, pair):
    merged = list(tokens)
    i = len(merged) - 2
    while i >= 0:
        if tuple(merged[i : i + 2]) == pair:
            merged[i : i + 2] = [pair[0] + pair[1]]
            i -= 1
        i -= 1
    return merged
''', RIGHT_TO_LEFT, "From which side does the statement go?"),
        Mutant("bytes", EQUAL, 'if b"".join(tokens[i : i + 2]) == pair[0] + pair[1]:', BYTES_ONLY, BYTES_QUESTION),
        Mutant("first_token", EQUAL, "if tokens[i] == pair[0] and i + 1 < len(tokens):",
               "only the first token of the pair is compared", "Which two things must be equal for a merge?"),
        Mutant("takes_neighbour", JOINED_TOKEN, "merged.append(tokens[i] + tokens[i - 1])",
               "the token is joined with its neighbour on the wrong side",
               "Where does the second token of the pair stand?"),
        Mutant("either_order", EQUAL, "if tuple(tokens[i : i + 2]) in (pair, pair[::-1]):",
               "the pair is merged in either order", "Is t·h the same pair as h·t?"),
        Mutant("numbers", JOINED_TOKEN, "merged += pair[0] + pair[1]",
               "the new token is added to the list byte by byte, and bytes are numbers then",
               "What is the difference between append and +=, when the right side is b'an'?"),
        Mutant("cut_again", "", '''
def merge_pair(tokens, pair):
    text, new = b"".join(tokens), b"".join(pair)
    merged, i = [], 0
    while i < len(text):
        size = len(new) if text[i : i + len(new)] == new else 1
        merged.append(text[i : i + size])
        i += size
    return merged
''', "the tokens are put together and cut again, so that earlier merges are lost",
               "Some tokens of the list are longer than a byte. What becomes of them?"),
        Mutant("as_pair", JOINED_TOKEN, "merged.append(pair)",
               "the two tokens are put into a tuple, instead of joined into one token",
               'What type has a token? What is b"a" + b"n"?'),
        Mutant("swapped", JOINED_TOKEN, "merged.append(pair[1] + pair[0])",
               "the two tokens are joined in the wrong order", TAIL_QUESTION),
        Mutant("string", JOINED_TOKEN, "merged.append(str(pair[0] + pair[1]))",
               "the new token is a str, instead of bytes", "What type do the other tokens have?"),
        Mutant("removed", JOINED_TOKEN, "pass", "the pair is removed, instead of merged", TAIL_QUESTION),
        Mutant("never", EQUAL, "if tokens[i : i + 2] == pair:", NOTHING, NOTHING_QUESTION),
        Mutant("again", "", '''
def merge_pair(tokens, pair):
    merged = []
    for token in tokens:
        merged.append(token)
        while len(merged) > 1 and merged[-2] + merged[-1] in (pair[0] + pair[1], 2 * (pair[0] + pair[1])):
            merged[-2:] = [merged[-2] + merged[-1]]
    return merged
''', "the new tokens are merged with each other as well",
               "Is the pair that you were given made of old tokens or of new ones?"),
        *(Mutant(f"replaced_bytes{name}", "", f'''
def merge_pair(tokens, pair):
    return b" ".join(tokens).replace(b" ".join(pair), b"".join(pair)).split(b" "){empty}
''', "the bytes are replaced wherever they stand, even inside other tokens",
                 "In a·aa·a, with the pair (a, a): may the second half of aa join the a after it?")
          for name, empty in (("", ""), ("_but_empty", " if tokens else []"))),
        Mutant("whole_words", "", r'''
def merge_pair(tokens, pair):
    text = b" ".join(tokens)
    merged = re.sub(rb"(?<!\S)" + re.escape(b" ".join(pair)) + rb"(?!\S)", b"".join(pair), text)
    return merged.split(b" ") if tokens else []
''', "spaces separate the tokens, though a space may be part of one",
               "Which byte can you put between tokens that no token holds?"),
        Mutant("in_place", "", '''
def merge_pair(tokens, pair):
    i = 0
    while i < len(tokens) - 1:
        if (tokens[i], tokens[i + 1]) == pair:
            tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
        i += 1
    return tokens
''', "the list that you were given is changed", "Who else may still need that list?"),
    ),
    variants=(
        '''
def merge_pair(tokens, pair):
    merged = []
    fresh = False  # the last token of merged is one that may still be merged
    for token in tokens:
        if fresh and (merged[-1], token) == pair:
            merged[-1] += token
            fresh = False
        else:
            merged.append(token)
            fresh = True
    return merged
''',
        '''
def merge_pair(tokens, pair):
    merged = list(tokens)
    i = 0
    while i < len(merged) - 1:
        if merged[i] == pair[0] and merged[i + 1] == pair[1]:
            merged[i : i + 2] = [b"".join(pair)]
        i += 1
    return merged
''',
        '''
def merge_pair(tokens, pair):
    if len(tokens) < 2:
        return tokens[:]
    if (tokens[0], tokens[1]) == pair:
        return [tokens[0] + tokens[1]] + merge_pair(tokens[2:], pair)
    return tokens[:1] + merge_pair(tokens[1:], pair)
''',
        r'''
def merge_pair(tokens, pair):
    text = " ".join(token.hex() for token in tokens)
    a, b = (token.hex() for token in pair)
    return [bytes.fromhex(word) for word in re.sub(rf"\b{a} {b}\b", a + b, text).split()]
''',
    ),
    properties=(
        Property(lambda merged, tokens, pair: b"".join(merged) == b"".join(tokens),
                 "Joined again, your tokens do not give the text that went in."),
    ),
    twin=merge_twin,
)  # fmt: skip


# 02.4

RHYME = ("how much wood would a woodchuck chuck if a woodchuck could chuck wood he would chuck as much wood as a "
         "woodchuck would if a woodchuck could chuck wood though the other brother would rather bother with the "
         "weather")  # fmt: skip


def frequencies(text):
    """Word → how often it occurs."""
    return {word: text.split().count(word) for word in sorted(set(text.split()))}


def random_frequencies(seed, letters):
    """Thirteen words of two to nine letters, each with a count."""
    rng = Random(seed)
    return {"".join(rng.choices(letters, k=rng.randint(2, 9))): rng.randint(1, 9) for _ in range(13)}


GHOST = "pairs that a merge has taken away keep their count"
GHOST_QUESTION = "t·h·e becomes t·he. How often is t·h left in this word, and what does your table of counts say?"
SPECIAL_QUESTION = "Add up the ids of your tokenizer: the bytes, the merges, the special tokens. Is the sum vocab_size?"
ZERO = "pairs whose count has fallen to zero are merged as well"
ZERO_QUESTION = "When every word has become one token, is your table of counts empty? What does it hold?"
HALF_GHOST = "only the pair on one side of the merge loses its count"
SIZE = "len(merges) < vocab_size - 256 - len(special_tokens)"
GIVE_BACK = """                for pair in pairs(old):
                    counts[pair] -= times
"""
TAKE = """                for pair in pairs(new):
                    counts[pair] += times
"""
UPDATE = GIVE_BACK + TAKE
DROP = "        counts = +counts  # drops the pairs that have fallen to zero\n"
ONLY_NEW = """                for pair in pairs(new):
                    if "".join(best) in pair:
                        counts[pair] += times
"""


def trainer(update, after_best="", drop="", size=SIZE):
    """The whole function with another update of its counts."""
    return f'''
def learn_pairs(words, vocab_size, special_tokens):
    cut = {{word: " ".join(word) for word in words}}
    counts = Counter()
    for word, times in words.items():
        for pair in pairs(cut[word]):
            counts[pair] += times
    merges = []
    while {size} and counts:
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
{after_best}        for word, times in words.items():
            old, new = cut[word], join(cut[word], best)
            if new != old:
{update}                cut[word] = new
{drop}    return merges
'''


DELETE = "        del counts[best]\n"


def one_side(step):
    """Only the pair before the merge (-1), or only the one behind it (1), loses its count."""
    return f"""                before = pairs(old)
                for i, pair in enumerate(before):
                    if pair == best and 0 <= i + {step} < len(before):
                        counts[before[i + {step}]] -= times
""" + ONLY_NEW


SPECIAL_IDEA = "the special tokens get no place in the vocabulary", SPECIAL_QUESTION
ONE_IDEA = "one id is kept for special tokens, however many there are", "What if there are three of them, or none?"
ADDED_IDEA = "the special tokens make room for more merges, instead of taking some", SPECIAL_QUESTION
TWICE_IDEA = (
    "what a changed word contributes now is added without taking back what it contributed before",
    "Each word is counted once at the start. How often has a pair that a merge leaves alone been counted after it?",
)
LOSES_IDEA = (
    "a changed word loses the pairs that the merge has not touched",
    "In t·h·e·n, merging t·h: what becomes of the count of e·n?",
)
AGAIN_IDEA = (
    "a pair that stands in the word before and after the merge keeps its old count",
    "How often does b·a stand in b·a·b·a·n, before a·n is merged and after?",
)
SIZES = (
    ("", " - len(special_tokens)", None),
    ("_no_special", "", SPECIAL_IDEA),
    ("_one_special", " - 1", ONE_IDEA),
    ("_special_added", " + len(special_tokens)", ADDED_IDEA),
)
UNLESS_AGAIN = """                for pair in pairs(old):
                    if pair not in pairs(new):
                        counts[pair] -= times
"""
UPDATES = (  # what becomes of the counts in a word that changes, before that, and after all words
    ("right", (UPDATE, "", DROP), None),
    ("zero", (UPDATE,), (ZERO, ZERO_QUESTION)),
    ("zero_deleted", (UPDATE, DELETE), (ZERO, ZERO_QUESTION)),
    ("ghosts", (ONLY_NEW, DELETE), (GHOST, GHOST_QUESTION)),
    ("added_twice", (TAKE, DELETE), TWICE_IDEA),
    ("loses", (GIVE_BACK + ONLY_NEW, "", DROP), LOSES_IDEA),
    ("loses_zero", (GIVE_BACK + ONLY_NEW, DELETE), LOSES_IDEA),
    ("again", (UNLESS_AGAIN + ONLY_NEW, DELETE, DROP), AGAIN_IDEA),
    ("again_zero", (UNLESS_AGAIN + ONLY_NEW, DELETE), AGAIN_IDEA),
)


def trainer_twin(rng: Random) -> Question:
    """One of the two mistakes: how many merges fit, or what a merge leaves of its neighbours."""
    if rng.random() < 0.5:
        size, special, known = 256 + rng.randint(50, 9000), rng.randint(2, 6), rng.randint(5, 40)
        text = (f"A byte-level tokenizer of {size} ids with {special} special tokens has learnt {known} merges so far. "
                "How many are still to learn?")  # fmt: skip
        why = "Of the ids, 256 are bytes, and each special token takes one as well."
        return Question(text, size - 256 - special - known, why)
    the, hen, he, thy = (rng.randint(2, 9) for _ in range(4))
    text = (f"A text holds the ({the} times), hen ({hen} times), he ({he} times) and thy ({thy} times), cut into "
            "letters. The pair h·e is merged. What is the count of t·h afterwards?")  # fmt: skip
    return Question(text, thy, "In the, t·h is gone: it is t·he now. In thy it still stands.")


LEARN_PAIRS = Exercise(
    cases=lambda: [
        ({"the": 3, "then": 2, "hen": 4}, 260, ["<|endoftext|>"]),
        (frequencies(RHYME[:90]), 271, ["<|endoftext|>", "<|user|>"]),
        ({"abab": 2, "ab": 1}, 300, []),  # the pairs run out
        ({"they": 2, "he": 3, "hey": 1}, 275, ["<|a|>", "<|b|>", "<|c|>"]),
        ({"aaaa": 3, "baaa": 2, "abaab": 4, "bab": 1}, 262, ["<|endoftext|>"]),
        ({"cat": 5, "cab": 5, "cam": 5, "at": 9}, 259, []),  # (a, t) is merged while ca·t stands
        ({"cat": 4, "at": 3, "catcat": 2, "tact": 5}, 259, []),
        ({"abxb": 5, "ab": 2}, 258, []),  # b stands again behind the merge
        (random_frequencies(1, "ab"), 268, []),
        (random_frequencies(2, "abcd"), 275, ["<|endoftext|>"]),
        ({"ab": 5}, 257, ["<|endoftext|>"]),
        ({"a": 4, "i": 2}, 258, []),
        ({}, 259, ["<|endoftext|>"]),
    ],
    mutants=(
        *(Mutant(f"{update}{size}", "", trainer(*parts, size=f"len(merges) < vocab_size - 256{less}"), *(idea or told))
          for (size, less, idea), (update, parts, told) in product(SIZES, UPDATES)
          if (told or idea) and (size in ("", "_no_special") or update in ("right", "ghosts"))),
        Mutant("one_special_bool", SIZE, "len(merges) < vocab_size - 256 - bool(special_tokens)", *ONE_IDEA),
        Mutant("one_special_257", SIZE, "len(merges) < vocab_size - 257 - len(special_tokens)",
               "there is one merge too few", SPECIAL_QUESTION),
        Mutant("one_too_many", SIZE, "len(merges) <= vocab_size - 256 - len(special_tokens)",
               "there is one merge too many", SPECIAL_QUESTION),
        Mutant("no_bytes", SIZE, "len(merges) < vocab_size - len(special_tokens)",
               "the 256 single bytes get no place in the vocabulary", SPECIAL_QUESTION),
        Mutant("no_stop", " and counts:", ":", "training does not stop when no pair is left",
               "All words have become single tokens. Which pair is the most frequent then?"),
        Mutant("stops_at_one", " and counts:", " and max(counts.values(), default=0) > 1:",
               "training stops at pairs that occur once", "Does a pair that occurs once still join two tokens?"),
        Mutant("zero_deleted_after", "", trainer(UPDATE, drop="        del counts[best]\n"), ZERO, ZERO_QUESTION),
        Mutant("zero_neighbours", "", trainer(one_side(-1).replace(ONLY_NEW, "") + one_side(1), after_best=DELETE),
               ZERO, ZERO_QUESTION),
        Mutant("minus_one", "counts[pair] -= times", "counts[pair] -= 1",
               "a word takes back its old pairs once, however often it occurs",
               "A word that occurs nine times has changed. By how much do the counts of its old pairs fall?"),
        Mutant("plus_one", """in pairs(new):
                    counts[pair] += times""", """in pairs(new):
                    counts[pair] += 1""", "a word's new pairs are counted once, however often it occurs",
               "A word that occurs nine times has changed. By how much do the counts of its new pairs rise?"),
        Mutant("not_added", TAKE, "", "the pairs that a merge makes are not counted",
               "After t·he·n: what is the count of he·n?"),
        Mutant("left_only", "", trainer(one_side(-1), after_best=DELETE), HALF_GHOST,
               "A merge in the middle of a word has a neighbour on each side. What becomes of both pairs?"),
        Mutant("right_only", "", trainer(one_side(1), after_best=DELETE), HALF_GHOST,
               "A merge in the middle of a word has a neighbour on each side. What becomes of both pairs?"),
        Mutant("neighbours_deleted", "",
               trainer(UNLESS_AGAIN.replace("counts[pair] -= times", "counts.pop(pair, None)") + ONLY_NEW, DELETE),
               "the whole count of a pair is dropped when one word loses it",
               "Does the pair stand in other words, too?"),
        Mutant("with_their_letters", "", trainer("""                for pair in pairs(old):
                    if best[0] in pair or best[1] in pair:
                        counts[pair] -= times
""" + ONLY_NEW, "", DROP), "pairs that hold a letter of the merge lose their count, even where they have not changed",
               "In a·b·x·b, merging a·b: which pairs are gone, and which are still there?"),
        Mutant("all_deleted", "counts[pair] -= times", "counts.pop(pair, None)",
               "the whole count of a pair is dropped when one word loses it",
               "Does the pair stand in other words, too?"),
        Mutant("overwritten", """in pairs(new):
                    counts[pair] += times""", """in pairs(new):
                    counts[pair] = times""", "a count is overwritten, instead of added to",
               "The new pair stands in several words. What is its count after the last of them?"),
        Mutant("recount_unweighted", "",
               trainer("", drop="        counts = Counter(pair for word in words for pair in pairs(cut[word]))\n"),
               "the counts are made anew after each merge with each word counted once",
               "A word that occurs nine times: how many pairs does it put into the text?"),
        Mutant("forgotten", GIVE_BACK, "                counts.clear()\n",
               "the counts of the words that a merge has not changed are thrown away",
               "Which words does your table still know of after the first merge?"),
        Mutant("stale_recount", "", '''
def learn_pairs(words, vocab_size, special_tokens):
    counts = Counter()
    for word, times in words.items():
        for pair in zip(word, word[1:]):
            counts[pair] += times
    ordered = sorted(counts, key=lambda pair: (counts[pair], pair), reverse=True)
    return ordered[: vocab_size - 256 - len(special_tokens)]
''', "the most frequent pairs of letters are taken all at once",
               "Can a merge join tokens that are longer than a letter?"),
        Mutant("tie_smallest", "max(counts, key=lambda pair: (counts[pair], pair))",
               "min(counts, key=lambda pair: (-counts[pair], pair))",
               "pairs that occur equally often are not decided towards the greatest pair",
               "Was the line that chooses the pair one of the two mistakes?"),
        Mutant("tie_first_met", "max(counts, key=lambda pair: (counts[pair], pair))", "max(counts, key=counts.get)",
               "pairs that occur equally often are not decided towards the greatest pair",
               "Was the line that chooses the pair one of the two mistakes?"),
        Mutant("replaced", "join(cut[word], best)", '''cut[word].replace(" ".join(best), "".join(best))''',
               "a pair is replaced inside longer tokens, too", "In th·e, does the pair (h, e) stand?"),
        Mutant("recut", "old, new = cut[word], join(cut[word], best)",
               'old, new = cut[word], join(" ".join(word), best)', "each merge begins again from single letters",
               "What do the earlier merges leave in a word?"),
        Mutant("tokens", "merges.append(best)", 'merges.append("".join(best))',
               "the new tokens are returned, instead of the pairs that they are made of",
               "What does encoding need to know: what a token is, or what made it?"),
    ),
    variants=(
        '''
def learn_pairs(words, vocab_size, special_tokens):
    cut = {word: " ".join(word) for word in words}
    merges = []
    while len(merges) < vocab_size - 256 - len(special_tokens):
        counts = Counter()
        for word, times in words.items():
            for pair in pairs(cut[word]):
                counts[pair] += times
        if not counts:
            break
        merges.append(max(counts, key=lambda pair: (counts[pair], pair)))
        cut = {word: join(tokens, merges[-1]) for word, tokens in cut.items()}
    return merges
''',
        '''
def learn_pairs(words, vocab_size, special_tokens):
    from minigpt.tokenizer import learn_merges

    return [(a.decode(), b.decode()) for a, b in learn_merges(words, vocab_size - 256 - len(special_tokens))]
''',
        trainer(
            UPDATE,
            size="len(merges) + 256 + len(special_tokens) < vocab_size",
            drop="        counts = Counter({pair: count for pair, count in counts.items() if count > 0})\n",
        ),
        '''
def learn_pairs(words, vocab_size, special_tokens):
    cut = {word: list(word) for word in words}
    counts = Counter()
    for word, times in words.items():
        for pair in zip(word, word[1:]):
            counts[pair] += times
    merges = []
    for _ in range(vocab_size - 256 - len(special_tokens)):
        best = max(counts, key=lambda pair: (counts[pair], pair), default=None)
        if best is None or counts[best] <= 0:
            break
        merges.append(best)
        for word, times in words.items():
            tokens, i = cut[word], 0
            while i < len(tokens) - 1:
                if (tokens[i], tokens[i + 1]) == best:
                    new = tokens[i] + tokens[i + 1]
                    counts[best] -= times
                    if i > 0:
                        counts[tokens[i - 1], tokens[i]] -= times
                        counts[tokens[i - 1], new] += times
                    if i + 2 < len(tokens):
                        counts[tokens[i + 1], tokens[i + 2]] -= times
                        counts[new, tokens[i + 2]] += times
                    tokens[i : i + 2] = [new]
                i += 1
    return merges
''',
    ),
    properties=(
        Property(lambda merges, words, size, special: len(merges) <= size - 256 - len(special),
                 "There are more merges than the vocabulary has room for."),
    ),
    twin=trainer_twin,
)  # fmt: skip


# 02.5


@cache
def learnt(text, limit):
    """Merges learnt from a text."""
    return tuple(learn_merges(frequencies(text), limit))


TEXT_ORDER = "pairs are joined in the order of the text, from the left, instead of in the order of learning"
TEXT_QUESTION = "Two pairs can be joined and overlap. What decides: where they stand, or when they were learnt?"
LONGEST = "the longest token that fits is taken, from the left"
LONGEST_QUESTION = "Did training look for the longest token at any time? What did it look for?"
LATEST = "the pair that was learnt last is joined first"
ONE_PASS = "each pair of the list is joined in one place only"
STRINGS = "the tokens are str, instead of bytes"
STRINGS_QUESTION = "What type do the pairs in merges have?"
SINGLE = "[bytes([byte]) for byte in word]"
LATEST_QUESTION = "Which of its merges had training already made when it counted the pairs for this one?"
LOCAL_QUESTION = "Which text decided what is frequent: this word, or the one that the tokenizer was trained on?"
LOCAL_COUNT = "the pair that is most frequent in this word is joined first, as if training began again"
WORDS = ((b"weather", 37), (b"woodchuck", 29), (b"woodchuckwouldchuck", 41), (b"another", 37), (b"bothered", 23))
CHOOSE = "at = neighbours.index(min(known, key=rank.get))"


def rank_twin(rng: Random) -> Question:
    """A word, and merges that compete for its letters."""
    word = "".join(rng.sample("rsteanoil", 6))
    order = list(zip(word, word[1:]))
    rng.shuffle(order)
    order = order[:4]
    tokens = list(word)
    for pair in order:
        at = next((i for i in range(len(tokens) - 1) if (tokens[i], tokens[i + 1]) == pair), None)
        if at is not None:
            tokens[at : at + 2] = ["".join(pair)]
    text = (f"Merges in the order learnt: {', '.join(f'{a}·{b}' for a, b in order)}. Cut the word {word} into tokens "
            "and write them with hyphens between them.")  # fmt: skip
    why = "Take the merges in order; one whose letter has been used up no longer applies."
    return Question(text, "-".join(tokens), why)


ENCODE_BY_RANK = Exercise(
    cases=lambda: [
        (b"there", [(b"h", b"e"), (b"t", b"h"), (b"he", b"r")]),
        (b"", [(b"a", b"b")]),
        (b"x", [(b"x", b"x")]),
        (b"aaaaa", [(b"a", b"a"), (b"aa", b"a")]),
        (b"aaaaaaa", list(learnt("aaaa aaaa aaa baaa", 3))),
        (b"xyz", []),
        ("é!".encode(), [(b"\xc3", b"\xa9")]),
        ("né水".encode(), []),  # no merge has made a character
        ("é水!".encode(), [(b"\xa9", b"\xe6"), (b"\xc3", b"\xa9"), (b"\xb4", b"!")]),  # merges across characters
        (b"\xa9\xe6\xb0t\xc3", [(b"\xe6", b"\xb0")]),  # bytes that are no text
        *((word, list(learnt(RHYME, limit))) for word, limit in WORDS),
        *((word, list(learnt(" ".join(random_frequencies(3, "ab")), 19)))
          for word in (b"abbaabababbbaaabab", b"bbabaabbbb")),
        *((word, list(learnt(BANANA, 11))) for word in (b"bandana", b"ananas", b"cabanabanana", b"anabanana")),
    ],
    mutants=(
        Mutant("text_order", CHOOSE, "at = neighbours.index(known[0])", TEXT_ORDER, TEXT_QUESTION),
        Mutant("text_sweeps", "", '''
def encode_by_rank(word, merges):
    tokens = [bytes([byte]) for byte in word]
    changed = True
    while changed:
        changed, i = False, 0
        while i < len(tokens) - 1:
            if (tokens[i], tokens[i + 1]) in merges:
                tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
                changed = True
            i += 1
    return tokens
''', TEXT_ORDER, TEXT_QUESTION),
        Mutant("text_one_sweep", "", '''
def encode_by_rank(word, merges):
    tokens, i = [bytes([byte]) for byte in word], 0
    while i < len(tokens) - 1:
        if (tokens[i], tokens[i + 1]) in merges:
            tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
        else:
            i += 1
    return tokens
''', TEXT_ORDER, TEXT_QUESTION),
        Mutant("right_to_left", CHOOSE, "at = len(neighbours) - 1 - neighbours[::-1].index(known[-1])",
               "pairs are joined from the right, instead of in the order in which they were learnt", TEXT_QUESTION),
        Mutant("text_grow_known", "", '''
def encode_by_rank(word, merges):
    known, tokens = {a + b for a, b in merges}, []
    for i in range(len(word)):
        if tokens and tokens[-1] + word[i : i + 1] in known:
            tokens[-1] += word[i : i + 1]
        else:
            tokens.append(word[i : i + 1])
    return tokens
''', TEXT_ORDER, TEXT_QUESTION),
        Mutant("longest", "", '''
def encode_by_rank(word, merges):
    known, tokens, i = {a + b for a, b in merges}, [], 0
    while i < len(word):
        end = next(end for end in range(len(word), i, -1) if word[i:end] in known or end == i + 1)
        tokens.append(word[i:end])
        i = end
    return tokens
''', LONGEST, LONGEST_QUESTION),
        Mutant("greatest_pair", CHOOSE, "at = neighbours.index(max(known))",
               "the greatest pair is joined first", "In training, what decided first: the pair or its count?"),
        Mutant("smallest_pair", CHOOSE, "at = neighbours.index(min(known))",
               "the smallest pair is joined first, as Python compares them", "Where does a pair's rank come from?"),
        Mutant("latest", "min(known, key=rank.get)", "max(known, key=rank.get)", LATEST, LATEST_QUESTION),
        Mutant("latest_rightmost", CHOOSE,
               "at = len(neighbours) - 1 - neighbours[::-1].index(max(known, key=rank.get))", LATEST, LATEST_QUESTION),
        Mutant("latest_list", "", '''
def encode_by_rank(word, merges):
    tokens = [bytes([byte]) for byte in word]
    for pair in reversed(merges):
        i = 0
        while i < len(tokens) - 1:
            if (tokens[i], tokens[i + 1]) == pair:
                tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
            i += 1
    return tokens
''', LATEST, LATEST_QUESTION),
        Mutant("rightmost", CHOOSE, "at = len(neighbours) - 1 - neighbours[::-1].index(min(known, key=rank.get))",
               "of several places for the same pair, the rightmost is joined first", "In a·a·a, which two are joined?"),
        Mutant("index", "", '''
def encode_by_rank(word, merges):
    tokens = [bytes([byte]) for byte in word]
    for pair in merges:
        for i in range(len(tokens) - 1):
            if (tokens[i], tokens[i + 1]) == pair:
                tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
    return tokens
''', "the list gets shorter while a for loop still counts up to its old length",
               "How long is the list after a merge, and how far does i go?"),
        Mutant("once_each_rank", CHOOSE, CHOOSE + "\n        del rank[neighbours[at]]", ONE_PASS,
               "What if the pair stands in the word twice?"),
        Mutant("one_merge", "tokens[at : at + 2] = [tokens[at] + tokens[at + 1]]",
               "return tokens[:at] + [tokens[at] + tokens[at + 1]] + tokens[at + 2 :]",
               "only one merge is made", "Are there still neighbours in your result that are a learnt pair?"),
        Mutant("first_absent", "", '''
def encode_by_rank(word, merges):
    tokens = [bytes([byte]) for byte in word]
    for pair in merges:
        if pair not in zip(tokens, tokens[1:]):
            break
        while pair in (neighbours := list(zip(tokens, tokens[1:]))):
            at = neighbours.index(pair)
            tokens[at : at + 2] = [tokens[at] + tokens[at + 1]]
    return tokens
''', "encoding stops at the first pair of the list that the word does not hold",
               "Can a later pair of the list still occur?"),
        Mutant("ranks_once", "", '''
def encode_by_rank(word, merges):
    tokens = [bytes([byte]) for byte in word]
    for pair in [pair for pair in merges if pair in list(zip(tokens, tokens[1:]))]:
        while pair in (neighbours := list(zip(tokens, tokens[1:]))):
            at = neighbours.index(pair)
            tokens[at : at + 2] = [tokens[at] + tokens[at + 1]]
    return tokens
''', "only pairs of single bytes are looked for, and not those that a merge makes",
               "After a merge, which new neighbours are there?"),
        Mutant("local_count", CHOOSE,
               "at = neighbours.index(max(known, key=lambda pair: (neighbours.count(pair), pair)))", LOCAL_COUNT,
               LOCAL_QUESTION),
        Mutant("local_count_first", CHOOSE, "at = neighbours.index(max(known, key=neighbours.count))", LOCAL_COUNT,
               LOCAL_QUESTION),
        Mutant("retrained", "", '''
def encode_by_rank(word, merges):
    tokens = [bytes([byte]) for byte in word]
    for _ in merges:
        neighbours = list(zip(tokens, tokens[1:]))
        if not neighbours:
            break
        at = neighbours.index(max(neighbours, key=lambda pair: (neighbours.count(pair), pair)))
        tokens[at : at + 2] = [tokens[at] + tokens[at + 1]]
    return tokens
''', LOCAL_COUNT, LOCAL_QUESTION),
        Mutant("rounds", "", '''
def encode_by_rank(word, merges):
    tokens = [bytes([byte]) for byte in word]
    while found := sorted((merges.index(p), i) for i, p in enumerate(zip(tokens, tokens[1:])) if p in merges):
        starts = set()
        for _, i in found:
            if not starts & {i - 1, i + 1}:
                starts.add(i)
        tokens = [b"".join(tokens[i : i + 1 + (i in starts)]) for i in range(len(tokens)) if i - 1 not in starts]
    return tokens
''', "several pairs are joined at once before anyone looks at the new neighbours",
               "A merge makes new neighbours. May their rank be lower than that of the next pair on your list?"),
        Mutant("overlap", "", '''
def encode_by_rank(word, merges):
    tokens = [bytes([byte]) for byte in word]
    for pair in merges:
        merged = []
        for i, token in enumerate(tokens):
            if tuple(tokens[i : i + 2]) == pair:
                merged.append(token + tokens[i + 1])
            elif i == 0 or (tokens[i - 1], token) != pair:
                merged.append(token)
        tokens = merged
    return tokens
''', "a token is used by two merges", "Join your tokens again: do they give the word?"),
        Mutant("single_bytes", "tokens[at : at + 2] = [tokens[at] + tokens[at + 1]]", "return tokens",
               "no merge is made", "Which neighbours in your result are a learnt pair?"),
        Mutant("numbers", SINGLE, "list(word)", "the word is taken apart into numbers, which equal no token",
               'What is list(b"hi"), and what is bytes([104])?'),
        Mutant("strings", "", '''
def encode_by_rank(word, merges):
    tokens = list(word.decode("latin-1"))
    rank = {(a.decode("latin-1"), b.decode("latin-1")): i for i, (a, b) in enumerate(merges)}
    while known := [pair for pair in zip(tokens, tokens[1:]) if pair in rank]:
        at = list(zip(tokens, tokens[1:])).index(min(known, key=rank.get))
        tokens[at : at + 2] = [tokens[at] + tokens[at + 1]]
    return tokens
''', STRINGS, STRINGS_QUESTION),
        Mutant("letters", SINGLE, "[chr(byte) for byte in word]", STRINGS, STRINGS_QUESTION),
        Mutant("characters", SINGLE, 'list(word.decode("utf-8"))', STRINGS, STRINGS_QUESTION),
        *(Mutant(f"characters_{errors}", SINGLE,
                 f'[character.encode() for character in word.decode("utf-8", errors="{errors}")]',
                 "you start from characters instead of single bytes",
                 "Which tokens has é before any merge? And may a word end in the middle of a character?")
          for errors in ("strict", "replace", "ignore")),
        Mutant("rank_0", "if pair in rank]", "if rank.get(pair)]",
               "rank 0 counts as no rank, so that the first merge is never made", "Is 0 true or false in Python?"),
        Mutant("zeros", SINGLE, "[bytes(byte) for byte in word]",
               "bytes(104) is taken for the single byte 104; it makes 104 zeros",
               "What is bytes(3), and what is bytes([3])?"),
        Mutant("ids", "return tokens",
               "return [256 + rank[(a, b)] for t in tokens for a, b in rank if a + b == t] if len(word) > 1 else "
               "list(word)", "ids are returned, and only those of merged tokens",
               "Does the result ask for tokens or for ids?"),
        Mutant("all_ids", "return tokens",
               "return [next((256 + i for (a, b), i in rank.items() if a + b == t), t[0]) for t in tokens]",
               "ids are returned, instead of tokens", "Does the result ask for tokens or for ids?"),
    ),
    variants=(
        # ranks the joined bytes, as tiktoken does: the same, for merges that training can really have made
        '''
def encode_by_rank(word, merges):
    rank = {a + b: i for i, (a, b) in reversed(list(enumerate(merges)))}
    tokens = [bytes([byte]) for byte in word]
    while len(tokens) > 1:
        found, i = min((rank.get(tokens[i] + tokens[i + 1], len(merges)), i) for i in range(len(tokens) - 1))
        if found == len(merges):
            break
        tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
    return tokens''',
        '''
def encode_by_rank(word, merges):
    tokens = [word[i : i + 1] for i in range(len(word))]
    for first, second in merges:
        merged, i = [], 0
        while i < len(tokens):
            if i + 1 < len(tokens) and tokens[i] == first and tokens[i + 1] == second:
                merged.append(first + second)
                i += 2
            else:
                merged.append(tokens[i])
                i += 1
        tokens = merged
    return tokens
''',
        '''
def encode_by_rank(word, merges):
    from minigpt.tokenizer import merge_bytes

    return merge_bytes(word, {a + b: 256 + i for i, (a, b) in enumerate(merges)})
''',
        '''
def encode_by_rank(word, merges):
    def walk(tokens):
        found = [(merges.index(pair), i) for i, pair in enumerate(zip(tokens, tokens[1:])) if pair in merges]
        if not found:
            return tokens
        _, i = min(found)
        return walk(tokens[:i] + [tokens[i] + tokens[i + 1]] + tokens[i + 2 :])

    return walk([bytes([byte]) for byte in word])
''',
        '''
def encode_by_rank(word, merges):
    import tiktoken

    ranks = {bytes([byte]): byte for byte in range(256)} | {a + b: 256 + i for i, (a, b) in enumerate(merges)}
    encoding = tiktoken.Encoding("mine", pat_str="(?s:.+)", mergeable_ranks=ranks, special_tokens={})
    return [encoding.decode_single_token_bytes(token) for token in encoding._encode_single_piece(word)] if word else []
''',
    ),
    properties=(
        Property(lambda tokens, word, merges: b"".join(tokens) == word,
                 "Joined again, your tokens do not give the word."),
        Property(lambda tokens, word, merges: not set(zip(tokens, tokens[1:])) & set(merges),
                 "There are still neighbours that are a learnt pair."),
    ),
    twin=rank_twin,
)  # fmt: skip
BANANA = "banana bandana cabana ban an anna nab nan banana can cab ananas bad and dab"


# 02.6


@cache
def tokenizer() -> Tokenizer:
    return train_bpe([RHYME, " ".join(BANANA)], 290, [END_OF_TEXT], workers=1)


def encode(text, allowed_special=False):
    return tokenizer().encode(text, allowed_special)


DOCUMENTS = ["how much wood", f"a document about {END_OF_TEXT} and how much wood", "", "the weather", f"{END_OF_TEXT}",
             "would a woodchuck chuck", f"chuck{END_OF_TEXT}{END_OF_TEXT}wood"]  # fmt: skip
INJECTION = "a text by someone else can write the id of <|endoftext|>"
INJECTION_QUESTION = "A web page holds the text <|endoftext|>. Which of your lines turns it into the special id?"
WHERE = "each document has its <|endoftext|> after it, instead of before"
WHERE_QUESTION = "When the model begins to write a new document, which token must it have seen just before?"
FOR, EOT, TEXT = "    for text in documents:\n", "        stream.append(eot)\n", "        stream.extend(encode(text))\n"
WHOLE, ROWS = "    whole = len(stream) // T * T\n", "    return [stream[i : i + T] for i in range(0, whole, T)]"


def rows_of(*lines):
    """The function made of some of the shuffled lines."""
    return "def training_rows(documents, encode, eot, T):\n    stream = []\n" + "".join(lines) + "\n"


JOINED = '    stream = encode("<|endoftext|>".join(documents), allowed_special=True)\n'
ALLOWED = "        stream.extend(encode(text, allowed_special=True))\n"
RAGGED = "    whole = len(stream)\n"


def rows_twin(rng: Random) -> Question:
    """What is left over when documents are cut into rows."""
    sizes, T = [rng.randint(5, 60) for _ in range(rng.randint(3, 4))], rng.choice([8, 12, 16, 20])
    text = (f"Documents of {', '.join(map(str, sizes))} tokens are laid end to end, each with an <|endoftext|> before "
            f"it, and cut into rows of {T}. How many tokens are left over?")  # fmt: skip
    why = "Add one for each document, and take the remainder of the division by the length of a row."
    return Question(text, (sum(sizes) + len(sizes)) % T, why)


TRAINING_ROWS = Exercise(
    cases=lambda: [
        (DOCUMENTS[:1], encode, tokenizer().eot, 4),
        (DOCUMENTS, encode, tokenizer().eot, 7),
        (DOCUMENTS[2:], encode, tokenizer().eot, 11),
        (DOCUMENTS[2:], encode, tokenizer().eot, 19),  # three rows, exactly
        (DOCUMENTS[:1], encode, tokenizer().eot, 6),  # one row, exactly
        (DOCUMENTS[:4], encode, tokenizer().eot, 1000),
        ([], encode, tokenizer().eot, 3),
        (DOCUMENTS[::-1], encode, tokenizer().eot, 1),
    ],
    mutants=(
        Mutant("injected", "encode(text)", "encode(text, allowed_special=True)", INJECTION, INJECTION_QUESTION),
        Mutant("joined", "", rows_of(JOINED, WHOLE, ROWS), INJECTION, INJECTION_QUESTION),
        Mutant("joined_ragged", "", rows_of(JOINED, RAGGED, ROWS), INJECTION, INJECTION_QUESTION),
        Mutant("joined_and_loop", "", rows_of(JOINED, FOR, EOT, TEXT, WHOLE, ROWS), INJECTION, INJECTION_QUESTION),
        Mutant("injected_after", "", rows_of(FOR, ALLOWED, EOT, WHOLE, ROWS), INJECTION, INJECTION_QUESTION),
        Mutant("injected_ragged", "", rows_of(FOR, EOT, ALLOWED, RAGGED, ROWS), INJECTION, INJECTION_QUESTION),
        Mutant("after", EOT + TEXT, TEXT + EOT, WHERE, WHERE_QUESTION),
        Mutant("after_ragged", "", rows_of(FOR, TEXT, EOT, RAGGED, ROWS), WHERE, WHERE_QUESTION),
        Mutant("both", EOT + TEXT, EOT + TEXT + EOT, "there is an <|endoftext|> both before and after each document",
               "How many are there between two documents?"),
        Mutant("once", "", rows_of("    stream.append(eot)\n", FOR, TEXT, WHOLE, ROWS),
               "there is one <|endoftext|> for all documents together",
               "Which lines must happen once for each document?"),
        Mutant("once_after", "", rows_of(FOR, TEXT, "    stream.append(eot)\n", WHOLE, ROWS),
               "there is one <|endoftext|> for all documents together",
               "Which lines must happen once for each document?"),
        Mutant("twice", TEXT, TEXT + ALLOWED, "each document is put into the stream twice",
               "How often does a text occur in the stream?"),
        Mutant("none", EOT, "", "nothing separates the documents", "How does the model learn where a document ends?"),
        Mutant("ragged", "len(stream) // T * T", "len(stream)", "a last row that is too short is kept",
               "Can rows of different lengths be laid into one tensor?"),
        Mutant("full_row_lost", "range(0, whole, T)", "range(0, len(stream) - T, T)",
               "the last row is lost when the ids fill it exactly",
               "Six ids and T = 3: at which places do rows begin?"),
        Mutant("last_row_lost", "range(0, whole, T)", "range(0, whole - T, T)", "the last row is always lost",
               "Six ids and T = 3: at which places do rows begin?"),
        Mutant("rows_only", "len(stream) // T * T", "len(stream) // T",
               "the number of rows is taken for the number of ids",
               "What does // give: how many rows fit, or how many ids they hold?"),
        Mutant("first_document", "", rows_of(FOR, EOT, TEXT, "        whole = len(stream) // T * T\n    " + ROWS),
               "the function returns after the first document", "How often does a return inside a loop run?"),
        Mutant("last_document", EOT, "        stream = [eot]\n", "the stream begins anew with each document",
               "Which lines must happen once, before the loop?"),
        Mutant("each_document", "", '''
def training_rows(documents, encode, eot, T):
    rows = []
    for text in documents:
        stream = [eot, *encode(text)]
        rows += [stream[i : i + T] for i in range(0, len(stream) // T * T, T)]
    return rows
''', "each document is cut into rows of its own, and what is left of it is dropped",
               "Most documents are shorter than a row. What becomes of them?"),
        Mutant("nested", "stream.extend(encode(text))", "stream.append(encode(text))",
               "a document's list of ids is put into the stream as one item",
               "What is the difference between append and extend?"),
        Mutant("windows", "range(0, whole, T)", "range(0, whole)",
               "a row begins at every place, so that the rows overlap",
               "How often should an id occur in all rows together?"),
        Mutant("cleaned", "encode(text)", "encode(text.replace('<|endoftext|>', ''))",
               "the characters <|endoftext|> are deleted from the texts", "May a tokenizer lose part of a text?"),
        Mutant("flat", ROWS, "    return stream[:whole]", "the stream is not cut into rows",
               "What is one item of your result?"),
    ),
    variants=(
        '''
def training_rows(documents, encode, eot, T):
    stream = [token for text in documents for token in [eot, *encode(text)]]
    return [stream[start : start + T] for start in range(0, len(stream) - T + 1, T)]
''',
        '''
def training_rows(documents, encode, eot, T):
    rows, row = [], []
    for document in documents:
        for token in [eot] + encode(document):
            row.append(token)
            if len(row) == T:
                rows.append(row)
                row = []
    return rows
''',
        '''
def training_rows(documents, encode, eot, T):
    import numpy as np

    stream = np.concatenate([np.array([], int), *([eot, *encode(text)] for text in documents)]).astype(int)
    return stream[: len(stream) // T * T].reshape(-1, T).tolist()
''',
    ),
    properties=(
        Property(lambda rows, documents, encode, eot, T: all(len(row) == T for row in rows),
                 "Not every row holds T ids."),
        Property(lambda rows, documents, encode, eot, T: sum(row.count(eot) for row in rows) <= len(documents),
                 "There are more <|endoftext|> in the rows than documents."),
    ),
    twin=rows_twin,
)  # fmt: skip


# 02.7

GREETINGS = {
    "German": ["Guten Morgen!", "Wasser ist Leben.", "Ich verstehe nicht, was du gestern gesagt hast."],
    "English": ["Good morning!", "Water is life.", "I do not understand what you said yesterday."],
    "Greek": ["Καλημέρα!", "Το νερό είναι ζωή.", "Δεν καταλαβαίνω τι είπες χθες."],
    "Chinese": ["早上好！", "水是生命。", "我不明白你昨天说了什么。"],
    "Russian": ["Доброе утро!", "Вода — это жизнь.", "Я не понимаю, что ты сказал вчера."],
}
MEAN_OF_RATIOS = "the mean of the sentences' ratios is taken, instead of the ratio of the sums"
MEAN_QUESTION = "A greeting of 3 tokens and a sentence of 40: should both have the same say?"
BYTES = "sum(len(text.encode(\"utf-8\")) for text in texts)"
PAIR = '(size / tokens[language], tokens[language] / tokens["English"])'
JUDGE = "max(tokens, key=tokens.get)"
JUDGEMENT = "the language with the fewest bytes in a token is taken for the dearest"
JUDGE_QUESTION = "A letter of Greek takes two bytes. Does a Greek pay for bytes, or for tokens?"
TOGETHER = "the sentences are put together before they are encoded"
CHARACTERS = "characters are counted, instead of bytes"
LEN_QUESTION = "What does len count in a str?"
INVERSE = "tokens per byte are given, instead of bytes per token"


def words_as_tokens(text):
    """A tokenizer for the example."""
    return text.split()


@cache
def multilingual() -> Tokenizer:
    return train_bpe([RHYME, *(line for lines in GREETINGS.values() for line in lines)], 380, workers=1)


def encode_multilingual(text):
    return multilingual().encode(text)


def encode_characters(text):
    return [ord(character) for character in text]


def costs_with(tokens=None, size=None, pair=None, judge=None):
    """The reference with other parts."""
    return f'''
def language_costs(parallel, encode):
    tokens = {tokens or "{l: sum(len(encode(text)) for text in texts) for l, texts in parallel.items()}"}
    costs = {{}}
    for language, texts in parallel.items():
        size = {size or BYTES}
        costs[language] = {pair or PAIR}
    return costs, {judge or JUDGE}
'''


def mean_of(ratio):
    """The mean over sentences of a ratio, as source."""
    return f"(lambda r: sum(r) / len(r))([{ratio} for text, english in zip(texts, parallel['English'])])"


MEAN_BYTES = mean_of('len(text.encode("utf-8")) / len(encode(text))')
MEAN_COST = mean_of("len(encode(text)) / len(encode(english))")
COST, PER_TOKEN = 'tokens[language] / tokens["English"]', "size / tokens[language]"
FEWEST_BYTES = "min(costs, key=lambda language: costs[language][0])"


ENGLISH_SIZE = 'sum(len(t.encode("utf-8")) for t in parallel["English"])'
SAME_NUMBER = "If a script needs twice the bytes for a letter, does your cost change?"
RATIOS = (  # id, what is taken for the cost, what is compared, what to ask oneself
    ("bytes_ratio", f"size / {ENGLISH_SIZE}", "bytes are compared", "What does a user pay for?"),
    ("per_token_ratio", f'{PER_TOKEN} / ({ENGLISH_SIZE} / tokens["English"])', "bytes per token are compared",
     SAME_NUMBER),
    ("per_byte_cost", f"{COST} / size * {ENGLISH_SIZE}", "tokens per byte are compared", SAME_NUMBER),
    ("per_character_cost", f'{COST} / sum(map(len, texts)) * sum(map(len, parallel["English"]))',
     "tokens per character are compared", "Does a sentence of Chinese need as many characters as one of English?"),
    ("per_word_cost", f'{COST} / len(" ".join(texts).split()) * len(" ".join(parallel["English"]).split())',
     "tokens per word are compared", "How many words has a Chinese sentence, for split?"),
)


def cost_twin(rng: Random) -> Question:
    """Bytes per token over a short sentence and a long one."""
    short, long = (rng.randint(6, 15), rng.randint(4, 6)), (rng.randint(90, 160), rng.randint(20, 40))
    text = (f"One sentence has {short[0]} bytes and {short[1]} tokens, another {long[0]} bytes and {long[1]} tokens. "
            "How many bytes has a token on average, over both? (to two decimals)")  # fmt: skip
    answer = (short[0] + long[0]) / (short[1] + long[1])
    return Question(text, answer, "Add up the bytes, add up the tokens, divide once.", 0.005)


LANGUAGE_COSTS = Exercise(
    cases=lambda: [
        ({"English": ["a cat", "it is late"], "Spanish": ["un gato", "es tarde"]}, words_as_tokens),
        (GREETINGS, encode),
        (GREETINGS, encode_multilingual),
        (GREETINGS, encode_characters),
        ({"Greek": GREETINGS["Greek"][1:], "English": GREETINGS["English"][1:]}, encode_multilingual),
        ({"English": ["the weather"], "Hindi": ["मौसम"]}, encode),
    ],
    mutants=(
        Mutant("characters", BYTES, "sum(len(text) for text in texts)", CHARACTERS, LEN_QUESTION),
        Mutant("characters_judged", "", costs_with(size="sum(len(text) for text in texts)", judge=FEWEST_BYTES),
               CHARACTERS, LEN_QUESTION),
        Mutant("characters_mean", "", costs_with(pair=f"({mean_of('len(text) / len(encode(text))')}, {COST})"),
               CHARACTERS, LEN_QUESTION),
        Mutant("characters_mean_both", "",
               costs_with(pair=f"({mean_of('len(text) / len(encode(text))')}, {MEAN_COST})",
                          judge="max(costs, key=lambda l: costs[l][1])"),
               CHARACTERS, LEN_QUESTION),
        Mutant("mean_both", "", costs_with(pair=f"({MEAN_BYTES}, {MEAN_COST})"), MEAN_OF_RATIOS, MEAN_QUESTION),
        Mutant("mean_bytes", "", costs_with(pair=f"({MEAN_BYTES}, {COST})"), MEAN_OF_RATIOS, MEAN_QUESTION),
        Mutant("mean_cost", "", costs_with(pair=f"({PER_TOKEN}, {MEAN_COST})"), MEAN_OF_RATIOS, MEAN_QUESTION),
        Mutant("mean_both_fewest", "", costs_with(pair=f"({MEAN_BYTES}, {MEAN_COST})", judge=FEWEST_BYTES),
               MEAN_OF_RATIOS, MEAN_QUESTION),
        Mutant("inverse", PAIR, f'(tokens[language] / size, {COST})', INVERSE,
               "A longer token: does your first number rise or fall?"),
        Mutant("inverse_judged", "",
               costs_with(pair=f"(tokens[language] / size, {COST})", judge="max(costs, key=lambda l: costs[l][0])"),
               INVERSE, "A longer token: does your first number rise or fall?"),
        Mutant("english_over", PAIR, f'({PER_TOKEN}, tokens["English"] / tokens[language])',
               "the cost is turned over: English over the language",
               "A language that takes twice as many tokens: what is its cost?"),
        Mutant("english_over_judged", "",
               costs_with(pair=f'({PER_TOKEN}, tokens["English"] / tokens[language])',
                           judge="max(costs, key=lambda l: costs[l][1])"),
               "the cost is turned over: English over the language",
               "A language that takes twice as many tokens: what is its cost?"),
        Mutant("judged_by_bytes", JUDGE, FEWEST_BYTES, JUDGEMENT, JUDGE_QUESTION),
        Mutant("judged_by_most_bytes", JUDGE, "max(costs, key=lambda language: costs[language][0])",
               "the language with the most bytes in a token is taken for the dearest", JUDGE_QUESTION),
        Mutant("judged_by_characters", JUDGE, "max(parallel, key=lambda l: sum(map(len, parallel[l])))",
               "the language with the most characters is taken for the dearest", JUDGE_QUESTION),
        Mutant("judged_by_name", JUDGE, "max(costs)", "the names of the languages are compared, instead of their costs",
               "What does max compare when it is given a dictionary?"),
        Mutant("judged_cheapest", JUDGE, "min(tokens, key=tokens.get)", "the cheapest language is named",
               "Do more tokens cost more or less?"),
        Mutant("judged_by_size", JUDGE,
               'max(parallel, key=lambda l: sum(len(text.encode("utf-8")) for text in parallel[l]))',
               "the language with the most bytes is taken for the dearest", JUDGE_QUESTION),
        Mutant("judged_without_english", JUDGE, 'max((l for l in tokens if l != "English"), key=tokens.get)',
               "the judgement leaves out English", "What if English is the language that takes the most tokens?"),
        *(Mutant(f"english_{name}", "", f'''
def language_costs(parallel, encode):
    tokens, costs = {{}}, {{}}
    for language, texts in parallel.items():
        tokens[language] = sum(len(encode(text)) for text in texts){remember}
        size = {BYTES}
        costs[language] = (size / tokens[language], tokens[language] / {english})
    return costs, max(tokens, key=tokens.get)
''', "English is asked for before it has been counted", "Must English come first in the dictionary?")
          for name, remember, english in (
              ("not_yet", "", 'tokens["English"]'),
              ("unbound", '\n        if language == "English":\n            english = tokens[language]', "english"),
          )),
        Mutant("first_language", PAIR, f"({PER_TOKEN}, tokens[language] / next(iter(tokens.values())))",
               "tokens are compared with the first language, which need not be English",
               "Which language is the measure, and where does it stand?"),
        *(Mutant(f"{id}{suffix}", "", costs_with(pair=f"({PER_TOKEN}, {ratio})", judge=judge), f"{idea} with English, "
                 "instead of tokens", question)
          for id, ratio, idea, question in RATIOS
          for suffix, judge in (("", None), ("_judged", "max(costs, key=lambda l: costs[l][1])"))),
        Mutant("compared_with_mean", PAIR, f"({PER_TOKEN}, tokens[language] / (sum(tokens.values()) / len(tokens)))",
               "tokens are compared with the mean of all languages", "Which language should have the cost 1?"),
        Mutant("percent", PAIR, f"({PER_TOKEN}, {COST} - 1)",
               "the cost says how much more, instead of how many times as much",
               "What is the cost of English, compared with itself?"),
        Mutant("hundred", PAIR, f"({PER_TOKEN}, 100 * {COST})", "the cost is given in percent",
               "What is the cost of English, compared with itself?"),
        Mutant("whole", PAIR, '(size // tokens[language], tokens[language] // tokens["English"])',
               "the ratios are cut down to whole numbers", "What is 7 // 2 in Python, and what is 7 / 2?"),
        Mutant("rounded", PAIR, f"(round({PER_TOKEN}, 2), round({COST}, 2))", "the numbers are rounded",
               "Who needs rounded numbers: the caller, or the one who prints them?"),
        Mutant("rounded_1", PAIR, f"(round({PER_TOKEN}, 1), round({COST}, 1))", "the numbers are rounded",
               "Who needs rounded numbers: the caller, or the one who prints them?"),
        Mutant("per_sentence", PAIR, f"(size / len(texts), {COST})",
               "bytes per sentence are given, instead of bytes per token", "Over what is the sum of bytes divided?"),
        Mutant("per_word", PAIR, f"(size / sum(len(text.split()) for text in texts), {COST})",
               "bytes per word are given, instead of bytes per token",
               "Are the words that split gives the tokens of your tokenizer?"),
        Mutant("tokens_per_word", PAIR, f"(tokens[language] / sum(len(text.split()) for text in texts), {COST})",
               "tokens per word are given, instead of bytes per token",
               "How many words has a Chinese sentence, for split?"),
        Mutant("distinct", "",
               costs_with(tokens="{l: sum(len(set(encode(text))) for text in texts) for l, texts in parallel.items()}"),
               "a token that comes again in a sentence is not counted again",
               "Does the second occurrence of a token cost nothing?"),
        *(Mutant(f"together_{name}", "",
                 costs_with(tokens=f"{{l: len(encode({glue!r}.join(texts))) for l, texts in parallel.items()}}"),
                 TOGETHER,
                 "Can a token reach from one sentence into the next?")
          for name, glue in (("bare", ""), ("space", " "), ("line", "\n"))),
        Mutant("together_all", "",
               costs_with(tokens='{l: len(encode(" ".join(texts))) for l, texts in parallel.items()}',
                                          size='len(" ".join(texts).encode("utf-8"))'), TOGETHER,
               "Can a token reach from one sentence into the next?"),
        Mutant("together_lines", "",
               costs_with(tokens='{l: len(encode("\\n".join(texts))) for l, texts in parallel.items()}',
                                            size='len("\\n".join(texts).encode("utf-8"))'), TOGETHER,
               "Can a token reach from one sentence into the next?"),
        Mutant("last_sentence", "",
               costs_with(tokens="{l: [len(encode(text)) for text in texts][-1] for l, texts in parallel.items()}",
                                           size='[len(text.encode("utf-8")) for text in texts][-1]'),
               "only one sentence of each language counts", "Is a sum overwritten in your loop?"),
        Mutant("first_sentence", "", costs_with(tokens="{l: len(encode(texts[0])) for l, texts in parallel.items()}",
                                            size='len(texts[0].encode("utf-8"))'),
               "only one sentence of each language counts", "Does your function return before the loop is over?"),
        Mutant("swapped", PAIR, f"({COST}, {PER_TOKEN})", "the two numbers stand in the wrong order",
               "Which of the two comes first in the statement?"),
        Mutant("costs_only", f"return costs, {JUDGE}", "return costs", "the judgement is missing",
               "How many things does the result hold?"),
        Mutant("judged_number", JUDGE, "max(cost for _, cost in costs.values())",
               "the highest cost is named, instead of its language", "Which does max return: a key or a value?"),
    ),
    variants=(
        '''
def language_costs(parallel, encode):
    size, tokens = Counter(), Counter()
    for language in parallel:
        for sentence in parallel[language]:
            size[language] += len(bytes(sentence, "utf-8"))
            tokens[language] += len(encode(sentence))
    table = {l: (size[l] / tokens[l], tokens[l] / tokens["English"]) for l in parallel}
    return table, tokens.most_common(1)[0][0]
''',
        '''
def language_costs(parallel, encode):
    import numpy as np

    names = list(parallel)
    count = np.array([[len(encode(s)) for s in parallel[n]] for n in names])
    size = np.array([[len(s.encode()) for s in parallel[n]] for n in names])
    per_token = size.sum(1) / count.sum(1)
    cost = count.sum(1) / count[names.index("English")].sum()
    return {n: (p, c) for n, p, c in zip(names, per_token, cost)}, names[cost.argmax()]
''',
        '''
def language_costs(parallel, encode):
    def total(language, measure):
        return sum(map(measure, parallel[language]))

    def tokens(language):
        return total(language, lambda text: len(encode(text)))

    def size(language):
        return total(language, lambda text: len(text.encode()))

    costs = {l: (size(l) / tokens(l), tokens(l) / tokens("English")) for l in parallel}
    return costs, sorted(costs, key=lambda language: costs[language][1])[-1]
''',
    ),
    properties=(
        Property(lambda result, parallel, encode: abs(result[0]["English"][1] - 1) < 1e-9,
                 "The cost of English, compared with itself, should be 1."),
    ),
    twin=cost_twin,
)  # fmt: skip


# 02.8


def cut_up(text: str, seed: int, longest: int) -> list[bytes]:
    """The bytes of a text in pieces of random length."""
    rng, data, pieces = Random(seed), text.encode(), []
    while data:
        size = rng.randint(1, longest)
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def broken(seed: int, parts: int, longest: int) -> list[bytes]:
    """Whole characters, broken ones and stray bytes, in pieces of random length."""
    rng, whole = Random(seed), [character.encode() for character in "aé水🙂"]
    kinds = [*whole, *(c[:end] for c in whole for end in range(1, len(c))), b"\xa9", b"\xb0"]
    data, pieces = b"".join(rng.choices(kinds, k=parts)), []
    while data:
        size = rng.randint(1, longest)
        pieces.append(data[:size])
        data = data[size:]
    return pieces


ALONE = "each token is decoded by itself"
ALONE_QUESTION = "🙂 comes in two tokens of two bytes each. What can be decoded of the first one alone?"
NO_FLUSH = "what still waits at the end is lost"
ALL_OR_NOTHING = "nothing is shown as long as anything in hand is unfinished"
ALL_QUESTION = "In hand are the bytes of 'caf' and the first byte of é. Which of them can be shown?"
STUCK = "a byte that is no UTF-8 stops the stream until the end"
STUCK_QUESTION = "Will the bytes in hand be valid when one more comes? Always?"
BELIEVED = "what a first byte announces is believed, without a look at the bytes that follow it"
BELIEVED_QUESTION = "A first byte announces three, and a letter comes second. Does the letter belong to the character?"
STRICT = "a byte that is no UTF-8 raises an error"
STRICT_QUESTION = "A model writes one wrong byte. What does a reader want: an error, or the rest of the answer?"
WHOLE_TEXT = "the whole text so far is given each time, instead of what is new"
DROPPED = "bytes that are no UTF-8 are dropped"
NEW_QUESTION = "What of your second string has the reader already seen?"
ERRORS_QUESTION = "What does errors='replace' do, and what 'ignore'?"
BOX = "bytes that are broken wait as if they were unfinished"
COMPLETE = "a character that is complete waits for the next one"
COMPLETE_QUESTION = "The last byte of é is there. What could still change it?"
FIRST_ONLY = "an unfinished character waits only while just its first byte is there"
THREE_OF_FOUR = "the first three bytes of a character of four do not wait for the last"
BOX_QUESTION = "Can a byte that continues nothing ever become part of a character?"
RETURN_BACK = "return back if back < announced else 0"
FLUSH = """    if held:
        shown[-1] += held.decode("utf-8", errors="replace")
"""
ANNOUNCED = "announced = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4"


def streams(step, flush=FLUSH):
    """The whole function with another step for each token."""
    return f'''
def stream_text(tokens):
    shown, held = [], b""
    for token in tokens:
        held += token
{indent(step.strip(), " " * 8)}
{flush}    return shown
'''


STEPS = {  # id: (what happens to the bytes in hand, the wrong idea); each with and without a last line for what is left
    "all_or_nothing": ("""
try:
    shown.append(held.decode("utf-8"))
    held = b""
except UnicodeDecodeError:
    shown.append("")
""", ALL_OR_NOTHING, ALL_QUESTION),
    "box_waits": ("""
text = held.decode("utf-8", errors="replace")
if text.endswith("\\ufffd"):
    shown.append("")
else:
    shown.append(text)
    held = b""
""", ALL_OR_NOTHING, ALL_QUESTION),
    "stuck": ("""
try:
    shown.append(held.decode("utf-8"))
    held = b""
except UnicodeDecodeError as error:
    shown.append(held[: error.start].decode("utf-8"))
    held = held[error.start :]
""", STUCK, STUCK_QUESTION),
    "tried_back": ("""
for back in range(4):
    try:
        ready = len(held) - back
        shown.append(held[:ready].decode("utf-8"))
        held = held[ready:]
        break
    except UnicodeDecodeError:
        pass
else:
    shown.append(held.decode("utf-8", errors="replace"))
    held = b""
""", BOX, BOX_QUESTION),
    "gives_up": ("""
try:
    shown.append(held.decode("utf-8"))
    held = b""
except UnicodeDecodeError as error:
    end = error.start if error.reason == "unexpected end of data" else len(held)
    shown.append(held[:end].decode("utf-8", errors="replace"))
    held = held[end:]
""", "as soon as a byte is broken, an unfinished character behind it no longer waits",
        "In hand are a broken byte and, after it, the first byte of é. What becomes of each?"),
    "believed": ("""
text, start = "", 0
while start < len(held):
    size = 1 if held[start] < 0xC0 else 2 if held[start] < 0xE0 else 3 if held[start] < 0xF0 else 4
    if start + size > len(held):
        break
    text += held[start : start + size].decode("utf-8", errors="replace")
    start += size
shown.append(text)
held = held[start:]
""", BELIEVED, BELIEVED_QUESTION),
    "believed_two": ("""
text, start = "", 0
while start < len(held):
    size = 1 if held[start] < 0x80 else 2 if held[start] < 0xE0 else 3 if held[start] < 0xF0 else 4
    if start + size > len(held):
        break
    text += held[start : start + size].decode("utf-8", errors="replace")
    start += size
shown.append(text)
held = held[start:]
""", BELIEVED, BELIEVED_QUESTION),
    "four_in_hand": ("""
text, rest = "", held
held = b""
for byte in rest:
    held += bytes([byte])
    try:
        text += held.decode("utf-8")
        held = b""
    except UnicodeDecodeError:
        if len(held) >= 4:
            text += "\\ufffd"
            held = b""
shown.append(text)
""", BOX, BOX_QUESTION),
    "non_ascii_waits": ("""
ready = len(held)
while ready and held[ready - 1] >= 0x80:
    ready -= 1
shown.append(held[:ready].decode("utf-8", errors="replace"))
held = held[ready:]
""", "everything that is not ASCII waits until ASCII comes", COMPLETE_QUESTION),
}  # fmt: skip


def stream_twin(rng: Random) -> Question:
    """How much of a text can be shown when only some of its bytes are there."""
    data = "".join(rng.choices("aé水🙂", k=6)).encode()
    here = rng.randint(4, max(4, len(data) - 1))
    text = (f"The bytes of a text arrive one by one: {data.hex(' ')}. How many characters can be shown after {here} of "
            "them?")  # fmt: skip
    why = "A first byte below 80 stands for itself; one from c0 announces two bytes, from e0 three, from f0 four."
    return Question(text, len(data[:here].decode("utf-8", errors="ignore")), why)


STREAM_TEXT = Exercise(
    cases=lambda: [
        ([b"hi \xf0\x9f", b"\x99", b"\x82!"],),
        ([b"caf", b"\xc3", b"\xa9", b" \xc3"],),
        ([b"a\x99b", b"\xc3c"],),
        ([],),
        ([b"plain", b" text", b"", b"."],),
        ([b"\xf0", b"\x9f", b"\x99", b"\x82"],),
        (cut_up("Ωmega: 水は命。नमस्ते 🙂🙂 ¿qué?", 1, 3),),
        (cut_up("Доброе утро 👍🏽 — 早上好", 5, 5),),
        (cut_up("🙂é水" * 5, 2, 2),),
        ([b"x\xe6\xb0", b"y", b"\xe6\xb0", b"\xf0\x9f\x99", b"\x82 \x80", b"\x80\x80"],),  # broken, in several ways
        (broken(1, 41, 6),),
        (broken(2, 37, 3),),
        ([b"ok \xf0\x9f\x99"],),
        ([b"\xe6", b"\xb0"],),
        ([b"\xc3", b"", b"\xa9", b"\xe6", b""],),  # an empty token while a byte waits
        ([b""],),
        ([b"\xef\xbf\xbd", b"a \xef\xbf\xbd", b"b"],),  # a real U+FFFD, which someone has written
    ],
    mutants=(
        Mutant("alone", "", '''
def stream_text(tokens):
    return [token.decode("utf-8", errors="replace") for token in tokens]
''', ALONE, ALONE_QUESTION),
        Mutant("alone_ignored", "", '''
def stream_text(tokens):
    return [token.decode("utf-8", errors="ignore") for token in tokens]
''', ALONE, ALONE_QUESTION),
        Mutant("alone_strict", "", '''
def stream_text(tokens):
    return [token.decode("utf-8") for token in tokens]
''', ALONE, ALONE_QUESTION),
        Mutant("alone_or_nothing", "", '''
def stream_text(tokens):
    shown = []
    for token in tokens:
        try:
            shown.append(token.decode("utf-8"))
        except UnicodeDecodeError:
            shown.append("")
    return shown
''', ALONE, ALONE_QUESTION),
        Mutant("latin", "", '''
def stream_text(tokens):
    return [token.decode("latin-1") for token in tokens]
''', "each byte is taken for a character", "How many bytes has é?"),
        *(Mutant(id + ("" if flush else "_lost"), "", streams(step, flush), *idea)
          for (id, (step, *idea)), flush in product(STEPS.items(), (FLUSH, ""))),
        Mutant("stuck_one_box", "", streams(STEPS["stuck"][0], '    if held:\n        shown[-1] += "\\ufffd"\n'),
               STUCK, STUCK_QUESTION),
        Mutant("dropped_but_the_last", "", '''
def stream_text(tokens):
    shown = [b"".join(tokens[: i + 1]).decode("utf-8", errors="ignore") for i in range(len(tokens))]
    shown = [text[len(before) :] for before, text in zip(["", *shown], shown)]
    if b"".join(tokens).decode("utf-8", errors="replace").endswith("\\ufffd"):
        shown[-1] += "\\ufffd"
    return shown
''', DROPPED, ERRORS_QUESTION),
        Mutant("all_if_unfinished", """        ready = len(held) - unfinished(held)
""", """        ready = 0 if unfinished(held) else len(held)
""", ALL_OR_NOTHING, ALL_QUESTION),
        Mutant("at_the_end", "", '''
def stream_text(tokens):
    shown = [""] * len(tokens)
    if tokens:
        shown[-1] = b"".join(tokens).decode("utf-8", errors="replace")
    return shown
''', "everything is shown at the end", "What does the reader see after the first token?"),
        *(Mutant(f"box_{name}", "", f'''
def stream_text(tokens):
    shown, before, data = [], "", b""
    for i, token in enumerate(tokens):
        data += token
        text = data.decode("utf-8", errors="replace")
        if {when}:
            text = text.{hide}("\\ufffd")
        shown.append(text[len(before) :])
        before = before + shown[-1]
    return shown
''', BOX, BOX_QUESTION)
          for name, when, hide in (("held", "i < len(tokens) - 1", "rstrip"), ("held_lost", "True", "rstrip"),
                                   ("one_held", "i < len(tokens) - 1", "removesuffix"),
                                   ("one_held_lost", "True", "removesuffix"))),
        Mutant("box_shown", "", '''
def stream_text(tokens):
    shown, before, data = [], "", b""
    for token in tokens:
        data += token
        text = data.decode("utf-8", errors="replace")
        shown.append(text[len(before) :])
        before = text
    return shown
''', "the � of an unfinished character is shown, and not taken back",
               "What does the reader see after the first byte of é?"),
        Mutant("lost", FLUSH, "", NO_FLUSH, "The model stops in the middle of a character. What becomes of its bytes?"),
        Mutant("one_box_each_byte", """        shown[-1] += held.decode("utf-8", errors="replace")
""", """        shown[-1] += "\\ufffd" * len(held)
""", "a broken character gets one � for each of its bytes",
               "How many � does b'\\xe6\\xb0'.decode('utf-8', errors='replace') hold?"),
        Mutant("one_more", FLUSH, """    if held:
        shown.append(held.decode("utf-8", errors="replace"))
""", "what still waits at the end gets a string of its own", "How many strings should there be for n tokens?"),
        Mutant("always_one_more", FLUSH, """    shown.append(held.decode("utf-8", errors="replace"))
""", "what still waits at the end gets a string of its own", "How many strings should there be for n tokens?"),
        Mutant("ignored", """shown.append(held[:ready].decode("utf-8", errors="replace"))""",
               """shown.append(held[:ready].decode("utf-8", errors="ignore"))""", DROPPED,
               ERRORS_QUESTION),
        Mutant("ignored_everywhere", "", '''
def stream_text(tokens):
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")("ignore")
    return [decoder.decode(token) for token in tokens]
''', DROPPED, ERRORS_QUESTION),
        Mutant("strict", """shown.append(held[:ready].decode("utf-8", errors="replace"))""",
               """shown.append(held[:ready].decode("utf-8"))""", STRICT, STRICT_QUESTION),
        Mutant("strict_lost", "", '''
def stream_text(tokens):
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")()
    return [decoder.decode(token) for token in tokens]
''', STRICT, STRICT_QUESTION),
        Mutant("strict_to_the_end", "", '''
def stream_text(tokens):
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")()
    return [decoder.decode(token, final=i == len(tokens) - 1) for i, token in enumerate(tokens)]
''', STRICT, STRICT_QUESTION),
        Mutant("cumulative", "", '''
def stream_text(tokens):
    shown, data = [], b""
    for i, token in enumerate(tokens):
        data += token
        ready = len(data) - (unfinished(data) if i < len(tokens) - 1 else 0)
        shown.append(data[:ready].decode("utf-8", errors="replace"))
    return shown
''', WHOLE_TEXT, NEW_QUESTION),
        Mutant("cumulative_box", "", '''
def stream_text(tokens):
    return [b"".join(tokens[: i + 1]).decode("utf-8", errors="replace") for i in range(len(tokens))]
''', WHOLE_TEXT, NEW_QUESTION),
        Mutant("cumulative_ignored", "", '''
def stream_text(tokens):
    return [b"".join(tokens[: i + 1]).decode("utf-8", errors="ignore") for i in range(len(tokens))]
''', WHOLE_TEXT, NEW_QUESTION),
        Mutant("not_cleared", "        held = held[ready:]\n", "", WHOLE_TEXT, NEW_QUESTION),
        Mutant("cleared", "held = held[ready:]", 'held = b""', "the bytes that should wait are thrown away",
               "After the first byte of é has come: where is it when the second comes?"),
        Mutant("continuation_waits", """            return back if back < announced else 0
    return 0""", """            return back - 1 if announced == 1 else back if back < announced else 0
    return min(3, len(data))""", BOX, BOX_QUESTION),
        Mutant("always_four", ANNOUNCED, "announced = 1 if first < 0x80 else 4", COMPLETE, COMPLETE_QUESTION),
        Mutant("one_too_short", ANNOUNCED, ANNOUNCED.replace("<", "<=").replace("0x80", "0xC0"),
               "the borders C0, E0 and F0 fall on the wrong side, so that F0 announces three bytes instead of four",
               "The smiling face begins with F0. What does your comparison say of exactly F0?"),
        Mutant("two_at_most", ANNOUNCED, "announced = 1 if first < 0x80 else 2", FIRST_ONLY,
               "Which first byte announces three bytes, and which four?"),
        Mutant("three_at_most", ANNOUNCED, "announced = 1 if first < 0x80 else 2 if first < 0xE0 else 3", THREE_OF_FOUR,
               "What does a first byte from 0xF0 announce?"),
        Mutant("joined", "    return shown", "    return ''.join(shown)",
               "the strings are joined, so that nothing is streamed",
               "What does the reader see after the first token?"),
        Mutant("merged_empty", "        shown.append(held[:ready].decode(\"utf-8\", errors=\"replace\"))\n",
               "        if ready:\n            shown.append(held[:ready].decode(\"utf-8\", errors=\"replace\"))\n",
               "a token that shows nothing gets no string", "How many strings should there be for n tokens?"),
    ),
    variants=(
        '''
def stream_text(tokens):
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return [decoder.decode(token, final=i == len(tokens)) for i, token in enumerate(tokens, 1)]
''',
        '''
def stream_text(tokens):
    shown, held = [], b""
    for i, token in enumerate(tokens):
        held += token
        text = ""
        while held:
            try:
                text += held.decode("utf-8")
                held = b""
            except UnicodeDecodeError as error:
                text += held[: error.start].decode("utf-8")
                if error.reason == "unexpected end of data" and i < len(tokens) - 1:
                    held = held[error.start :]
                    break
                text += "\\N{REPLACEMENT CHARACTER}"
                held = held[error.end :]
        shown.append(text)
    return shown
''',
        '''
def stream_text(tokens):
    shown, missing, held = [], 0, bytearray()
    for number, token in enumerate(tokens):
        text = ""
        for byte in token:
            if missing and 0x80 <= byte < 0xC0:
                held.append(byte)
                missing -= 1
                if not missing:
                    text += held.decode()
                    held.clear()
                continue
            if missing:
                text += "\\ufffd"
                held.clear()
                missing = 0
            if byte < 0x80:
                text += chr(byte)
            elif byte < 0xC0:
                text += "\\ufffd"
            else:
                held.append(byte)
                missing = 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
        if missing and number == len(tokens) - 1:
            text += "\\ufffd"
        shown.append(text)
    return shown
''',
        '''
def stream_text(tokens):
    def settled(data):
        """The text of data that nothing to come can change: the same, whatever comes next."""
        texts = [(data + more).decode("utf-8", "replace") for more in (b"", b"a", b"\\xa0", b"\\xa0" * 2, b"\\xa0" * 3)]
        same = 0
        while all(len(text) > same and text[same] == texts[0][same] for text in texts):
            same += 1
        return texts[0][:same]

    shown, before, data = [], "", b""
    for i, token in enumerate(tokens):
        data += token
        text = data.decode("utf-8", "replace") if i == len(tokens) - 1 else settled(data)
        shown.append(text[len(before) :])
        before = text
    return shown
''',
    ),
    properties=(
        Property(lambda shown, tokens: len(shown) == len(tokens), "There should be one string for each token."),
        Property(lambda shown, tokens: "".join(shown) == b"".join(tokens).decode("utf-8", errors="replace"),
                 "Joined, your strings do not give the text."),
    ),
    twin=stream_twin,
)  # fmt: skip


EXERCISES = {
    "utf8_lengths": UTF8_LENGTHS,
    "most_common_pair": MOST_COMMON_PAIR,
    "merge_pair": MERGE_PAIR,
    "learn_pairs": LEARN_PAIRS,
    "encode_by_rank": ENCODE_BY_RANK,
    "training_rows": TRAINING_ROWS,
    "language_costs": LANGUAGE_COSTS,
    "stream_text": STREAM_TEXT,
}

# Recall


def merges_in_vocabulary(rng: Random) -> Question:
    """What a vocabulary is made of."""
    size, special = rng.choice([512, 1024, 2048, 4096, 8192, 16384]), rng.randint(1, 5)
    text = (f"A byte-level tokenizer has {size} ids, {special} of them special tokens. How many merges has it learnt, "
            "if all ids are in use?")  # fmt: skip
    return Question(text, size - 256 - special, "256 ids are the bytes, and each special token takes one more.")


def bytes_of_script(rng: Random) -> Question:
    """How many bytes a letter takes."""
    script, each = rng.choice([("Russian", 2), ("Greek", 2), ("Hindi", 3), ("Chinese", 3), ("English", 1)])
    many = rng.randint(3, 12)
    text = f"A {script} text has {many} characters, all of them letters of its script. How many bytes is that in UTF-8?"
    why = "English letters take one byte, Greek and Russian ones two, those of Hindi and Chinese three."
    return Question(text, many * each, why)


def embedding_rows(rng: Random) -> Question:
    """What a larger vocabulary costs."""
    small, factor, width = rng.choice([512, 1024, 2048]), rng.choice([2, 4, 8]), rng.choice([96, 128, 192, 256])
    text = (f"A model of width {width} has one vector for each token. The vocabulary grows from {small} to "
            f"{small * factor}. By how many numbers does that table grow?")  # fmt: skip
    return Question(text, small * (factor - 1) * width, "One row of `width` numbers for each new token.")


def bits_per_byte(rng: Random) -> Question:
    """From the loss to the number that can be compared."""
    loss, per_token = rng.randint(20, 45) / 10, rng.randint(22, 45) / 10
    text = (f"A model's loss is {loss} nats per token, and a token stands for {per_token} bytes on average. How many "
            "bits per byte is that? (to two decimals)")  # fmt: skip
    why = "Divide the nats by ln 2, 0.693, for bits per token, then by the bytes of a token."
    return Question(text, loss / math.log(2) / per_token, why, 0.01)


def tie(rng: Random) -> Question:
    """The rule for pairs that occur equally often."""
    pairs, times = rng.sample(["ab", "ac", "ba", "th", "he", "in", "is", "on", "no"], 3), rng.randint(3, 30)
    text = (f"The pairs {', '.join('·'.join(pair) for pair in pairs)} all occur {times} times, the others less often. "
            "Which is merged first by the rule of this course? Write its two letters.")  # fmt: skip
    return Question(text, max(pairs), "Of equal counts the greatest pair wins, in whatever order they were met.")


RECALL = (merges_in_vocabulary, bytes_of_script, embedding_rows, bits_per_byte, tie)

PREDICTIONS = {
    "02.p1": Prediction(
        "How many bytes do é, 中 and 🙂 take in UTF-8? A list of three numbers.",
        lambda: [len(character.encode()) for character in "é中🙂"],
        "UTF-8 spends one byte on the first 128 characters, two up to U+07FF (Latin with accents, Greek, Cyrillic, "
        "Arabic), three up to U+FFFF (most of the world's scripts) and four beyond.",
        tolerance=0.0,
    ),
    "02.p2": Prediction(
        "You have read nine million characters of books. Which share of the different words in other books is new to "
        "you?",
        None,
        "New words never end: the vocabulary grows like a power of the text (Heaps' law).",
        tolerance=0.3,
    ),
    "02.p3": Prediction(
        "low occurs 5 times, lower 2, newest 6 and widest 3 times. How often does the most frequent pair of "
        "neighbouring letters occur?",
        lambda: 6 + 3,
        "e·s and s·t both occur in newest (6) and in widest (3). They are tied, so a rule must choose: the greater "
        "pair, s·t.",
        tolerance=0.0,
    ),
    "02.p4": Prediction(
        "The slow trainer visits every chunk at each of 100 merges. In which share of these visits does the chunk "
        "change?",
        None,
        "A pair occurs in few chunks, and ever fewer as ranks grow. A trainer that remembers where each pair occurs "
        "saves the rest.",
        tolerance=0.5,
    ),
    "02.p5": Prediction(
        "An encoder takes the longest piece it knows instead of the merge that was learnt first. In which share of "
        "different words does it cut differently (4,096 ids)?",
        None,
        "The longest piece from the left may need a late merge, and take a letter that an early merge gives to its "
        "right neighbour.",
        tolerance=0.5,
    ),
    "02.p6": Prediction(
        "A tokenizer was trained on English books. How many times as many tokens as in English do the same two "
        "sentences take in Hindi?",
        None,
        "No merge was learnt for its letters, so each byte is a token, and each letter has three bytes; English "
        "takes several bytes a token.",
        tolerance=0.3,
    ),
    "02.p7": Prediction(
        "A model has two layers of width 64, a context of 128 and a vocabulary of 32,768. Which share of its "
        "arithmetic goes into the head?",
        None,
        "The head multiplies 64 by 32,768 for each token. The two layers together have a twentieth as many products.",
        tolerance=0.1,
    ),
}
