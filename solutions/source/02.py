# %% [markdown]
# # 02 · Tokenizer: exercises
#
# Eight exercises, a little over two hours. Write your answer where the code asks for it, run the cell, then run the
# `check` below it. It says whether your function is right. If it is not, it often says which idea made it wrong.
#
# Do 02.1 before you read the lesson. Do the others when the lesson points to them. Each has three hints: a question,
# the principle, and the same idea worked on another problem; `hint("02.merge_pair")` gives them one at a time. Tokens
# are Python `bytes` here, such as `b"th"`, so you need no library but Python's own.

# %% tags=["setup"]
import re
from collections import Counter

# %%
from minigpt.classroom import check, hint

# %% [markdown]
# ## 02.1 utf8_lengths: one character, how many bytes?
#
# *write · difficulty 1/5 · 5 min · core · try first · idea: characters and bytes*
#
# Do this one before you read the lesson.
#
# The tokenizer of this course sees no letters. It sees bytes: what UTF-8 makes of the text. Write `utf8_lengths(text)`,
# which says for each character how many bytes it takes in UTF-8.
#
# - `text`: a `str` of any characters, perhaps empty. A character is what a `for` loop over the string gives you.
# - Result: a list of whole numbers, one for each character, in their order.
#
# ```python
# utf8_lengths("né")  # [1, 2]
# ```
#
# Before you run it, guess on paper: what will `"7 €"` give, and what `"🙂"`?
#
# <details><summary>Hint 1</summary>
#
# `len("né")` is 2, and a file that holds just this word is 3 bytes long. What happens to the text on its way into the
# file?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `len` of a string counts characters, `len` of a `bytes` object counts bytes. `str.encode` turns the one into the
# other; do that for one character at a time. Section 1 of the lesson shows the four sizes.
#
# </details>
# <details><summary>Hint 3</summary>
#
# How much room does each *word* take in another encoding, UTF-32?
# ```python
# sizes = []
# for word in "to be".split():
#     sizes.append(len(word.encode("utf-32-le")))
# print(sizes)  # [8, 8]
# ```
#
# </details>


# %%
def utf8_lengths(text):
    """A str -> the number of bytes of each of its characters in UTF-8: "né" -> [1, 2]"""
    ### BEGIN SOLUTION
    return [len(character.encode("utf-8")) for character in text]
    ### END SOLUTION


# %%
check("02.utf8_lengths", utf8_lengths)

# %% [markdown] tags=["solution"]
# **Why it works.** UTF-8 encodes each character on its own, so the lengths can be asked for one by one, and they add up
# to `len(text.encode("utf-8"))`. The euro sign takes three bytes and the smiling face four.
#
# **The wrong road.** The number of é fits into one byte, and still UTF-8 takes two:
# ```python
# ord("é"), 2**8 - 1  # 233, and 255, the largest number of one byte
# ```
# A byte of UTF-8 spends some of its bits on saying whether it begins a character and how long that is. What is left of
# one byte are 7 bits, of two 11, of three 16, of four 21.

# %% [markdown]
# ## 02.2 most_common_pair: what to merge next
#
# *write · difficulty 2/5 · 15 min · core · idea: pairs are counted over the whole text; a rule decides ties*
#
# Training repeats one question: which two neighbouring tokens stand side by side most often? Write
# `most_common_pair(words)`.
#
# - `words`: a dictionary. A key is a word as it is cut now, a tuple of tokens (`bytes`); its value says how often the
#   word occurs in the text. At least one word has two tokens.
# - Result: the pair, a tuple of two tokens, that occurs most often in the text. Of pairs that occur equally often, the
#   greatest, as Python compares tuples of `bytes`: `(b"a", b"c") > (b"a", b"b")`.
#
# Every two neighbours are a pair: `(b"a", b"a", b"a")` holds the pair `(b"a", b"a")` twice. Words do not touch one
# another.
#
# ```python
# words = {(b"l", b"o", b"w"): 5, (b"l", b"o", b"g"): 2, (b"n", b"o", b"w"): 4}
# most_common_pair(words)  # (b"o", b"w"): 5 + 4 times; (b"l", b"o") stands there 5 + 2 times
# ```
#
# <details><summary>Hint 1</summary>
#
# A word with three tokens occurs five times in the text. How many pairs does that contribute, and to how many different
# counts?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The dictionary is a short way of writing the whole text: what stands in a word once, stands in the text as often as
# the word does. For ties, let Python compare a tuple that holds the count first and the pair second. Section 3 of
# the lesson counts by hand.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Which first letter is the most frequent in the text, the later one in the alphabet if two are?
# ```python
# words = {"tea": 2, "tin": 1, "oak": 3}
# counts = {}
# for word, times in words.items():
#     counts[word[0]] = counts.get(word[0], 0) + times
# print(max(counts, key=lambda letter: (counts[letter], letter)))  # t: both have 3
# ```
#
# </details>


# %%
def most_common_pair(words):
    """{(b"l", b"o", b"w"): 5, …} -> the most frequent pair of neighbours, the greatest of
    equals: (b"o", b"w")"""
    ### BEGIN SOLUTION
    counts = Counter()
    for word, times in words.items():
        for pair in zip(word, word[1:]):
            counts[pair] += times
    return max(counts, key=lambda pair: (counts[pair], pair))
    ### END SOLUTION


# %%
check("02.most_common_pair", most_common_pair)

# %% [markdown] tags=["solution"]
# **Why it works.** `zip(word, word[1:])` walks through the neighbours and never leaves the word. Each pair counts as
# often as its word occurs. `max` compares (count, pair), so the pair itself decides only between equal counts.
#
# **The wrong road.** `counts.most_common(1)` looks right and passes most tests that people write. Among equals it
# returns the pair that it met first, so the tokenizer depends on the order of the text. Two people train on the same
# words and get different ids: their models cannot read each other's tokens. Any fixed rule would do; this one is used
# because it needs nothing but the pair.

# %% [markdown]
# ## 02.3 merge_pair: join the pair
#
# *fill · difficulty 2/5 · 10 min · further · idea: a merge replaces every occurrence, from the left, without overlap*
#
# The next step of training: wherever the pair stands, its two tokens become one. The walk is there, and what happens at
# each place is missing. Fill in `merge_pair(tokens, pair)`.
#
# - `tokens`: a list of `bytes`, perhaps empty. Leave it as it is; the result is a new list.
# - `pair`: a tuple of two tokens.
# - Result: the list after the merge. Go from left to right; a token that is used up by one merge is not there for the
#   next.
#
# ```python
# merge_pair([b"b", b"a", b"n", b"a", b"n", b"a"], (b"a", b"n"))  # [b"b", b"an", b"an", b"a"]
# merge_pair([b"a", b"a", b"a"], (b"a", b"a"))                    # [b"aa", b"a"]
# ```
#
# <details><summary>Hint 1</summary>
#
# You stand at place `i`. Which two things can happen there, what does each add to `merged`, and how far on does each
# take you?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A merge uses up two tokens, anything else one. At the last token there is no neighbour: a slice `tokens[i : i + 2]` is
# then just shorter, while `tokens[i + 1]` raises an error. A pair is two tokens, not the bytes they make together.
# Section 3 of the lesson does it by hand.
#
# </details>
# <details><summary>Hint 3</summary>
#
# In a row of coins, exchange any two ones that lie side by side for a two:
# ```python
# coins, changed, i = [1, 1, 1, 5, 1, 1], [], 0
# while i < len(coins):
#     step = 2 if coins[i : i + 2] == [1, 1] else 1
#     changed.append(sum(coins[i : i + step]))
#     i += step
# print(changed)  # [2, 1, 5, 2]
# ```
#
# </details>


# %%
def merge_pair(tokens, pair):
    """[b"a", b"n", b"a"], (b"a", b"n") -> [b"an", b"a"]"""
    merged, i = [], 0
    while i < len(tokens):
        ### BEGIN SOLUTION
        if tuple(tokens[i : i + 2]) == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
        ### END SOLUTION
    return merged


# %%
check("02.merge_pair", merge_pair)

# %% [markdown] tags=["solution"]
# **Why it works.** Each turn of the loop uses up one token or two, and puts down exactly one. At the end of the list
# the slice holds one token only, which equals no pair.
#
# **The wrong road.** After a merge, going on by one instead of two uses a token twice: `aaa` becomes `aa`, `aa`, `a`,
# five letters out of three. Whatever you do to tokens, joining them must give back the text. That is a test you can
# always write.
#
# **A subtle one.** Comparing `tokens[i] + tokens[i + 1]` with `pair[0] + pair[1]` merges `b"a", b"bc"` when the pair is
# `b"ab", b"c"`. The bytes are the same; the pair is not.

# %% [markdown]
# ## 02.4 learn_pairs: a trainer with two mistakes
#
# *fix · difficulty 3/5 · 20 min · further · idea: a trainer's bookkeeping*
#
# To count all pairs anew after each merge is slow. This trainer counts once and then keeps its counts up to date, as
# fast trainers do. It runs, its first merge is right, and its tokenizer is worse than it should be: **two mistakes**
# are planted. Find them and mend them.
#
# `learn_pairs(words, vocab_size, special_tokens)`:
# - `words`: {word: how often it occurs}. The words are plain English letters, so that a letter is a byte, and tokens
#   are strings that you can read.
# - `vocab_size`: how many ids the tokenizer shall have in all, as in `minigpt.train_bpe`.
# - `special_tokens`: a list of names, such as `["<|endoftext|>"]`.
# - Result: the merges in the order learnt, as pairs of strings. Of equally frequent pairs the greatest comes first. If
#   all words have become single tokens before there are enough, the list is shorter.
#
# The two helpers in the next cell are right. They keep a word as Sennrich et al. (2016) print it: `"th e"` is the word
# *the* cut into two tokens.
#
# ```python
# learn_pairs({"the": 3, "then": 2, "hen": 4}, 260, ["<|endoftext|>"])
# # should be                [("h", "e"), ("he", "n"), ("t", "he")]
# # and is, as it stands,    [("h", "e"), ("he", "n"), ("e", "n"), ("t", "he")]
# ```
#
# <details><summary>Hint 1</summary>
#
# After the first merge of the example, in how many words do `e` and `n` still stand side by side? What does `counts`
# say? And for the other mistake: which ids has the tokenizer of the example, one by one?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A merge makes new pairs, and it destroys some: in `t h e`, merging `h e` takes away `t h` as well. Each word that
# changes must give back what its old form contributed, as often as it occurs. Then look at what remains in `counts`
# when nothing is left to merge. Sections 3 and 4 of the lesson; the ids of special tokens are in section 8.
#
# </details>
# <details><summary>Hint 3</summary>
#
# A shop keeps its stock up to date as parcels are repacked. The old parcel leaves the count, the new one enters it:
# ```python
# from collections import Counter
#
# stock = Counter(pear=6, plum=4)
# old, new, times = ["pear", "plum"], ["pear", "fig"], 4  # four parcels are repacked
# for fruit in old:
#     stock[fruit] -= times
# for fruit in new:
#     stock[fruit] += times
# print(stock)  # pear 6, fig 4, plum 0: it is still listed
# print(+stock)  # pear 6, fig 4
# ```
#
# </details>


# %% tags=["setup"]
def pairs(cut):
    """The neighbours in a word: "t he n" -> [("t", "he"), ("he", "n")]"""
    tokens = cut.split(" ")
    return list(zip(tokens, tokens[1:]))


def join(cut, pair):
    """A word after a merge: "t h e", ("h", "e") -> "t he". It joins whole tokens only."""
    return re.sub(rf"(?<!\S){re.escape(' '.join(pair))}(?!\S)", "".join(pair), cut)


# %%
def learn_pairs(words, vocab_size, special_tokens):
    """{"the": 3, …}, 260, ["<|endoftext|>"] -> the merges in the order learnt: [("h", "e"), …]"""
    cut, counts, merges = {word: " ".join(word) for word in words}, Counter(), []
    for word, times in words.items():
        for pair in pairs(cut[word]):
            counts[pair] += times
    ### BEGIN SOLUTION
    while len(merges) < vocab_size - 256 - len(special_tokens) and counts:
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        for word, times in words.items():
            old, new = cut[word], join(cut[word], best)
            if new != old:
                for pair in pairs(old):
                    counts[pair] -= times
                for pair in pairs(new):
                    counts[pair] += times
                cut[word] = new
        counts = +counts  # drops the pairs that have fallen to zero
    ### STUB
    # while len(merges) < vocab_size - 256 and counts:
    #     best = max(counts, key=lambda pair: (counts[pair], pair))
    #     merges.append(best)
    #     del counts[best]
    #     for word, times in words.items():
    #         old, new = cut[word], join(cut[word], best)
    #         if new != old:
    #             for pair in pairs(new):
    #                 if "".join(best) in pair:  # only the pairs that the merge has made
    #                     counts[pair] += times
    #             cut[word] = new
    ### END SOLUTION
    return merges


# %%
check("02.learn_pairs", learn_pairs)

# %% [markdown] tags=["solution"]
# **Why it works.** Whatever a changed word contributed is taken back, and what it contributes now is added. A pair that
# both forms share comes out even. The merged pair itself falls to zero, for it stands nowhere any more. `vocab_size`
# counts 256 bytes, the merges and the special tokens, so `vocab_size - 256 - len(special_tokens)` merges fit.
#
# **The wrong road.** Deleting only the merged pair leaves *ghosts*: pairs with a high count that stand nowhere. In the
# example `("e", "n")` is one of them, and wins the third round. An id is spent on a token that never appears. No error,
# no warning; the vocabulary is just smaller than you paid for. `minigpt` has another way out: it lets the counts grow
# stale, and counts a pair anew when it comes to the top.
#
# **One more trap.** Subtracting leaves zeros behind, and a `Counter` keeps them. Without the last line, a trainer that
# has run out of pairs goes on to merge pairs that occur zero times.

# %% [markdown]
# ## 02.5 encode_by_rank: the order of learning decides
#
# *write · difficulty 3/5 · 20 min · core · idea: the merge learnt first is applied first, wherever it stands*
#
# Now the use of what training learnt. Write `encode_by_rank(word, merges)`, which cuts a word into tokens.
#
# - `word`: a `bytes` object, perhaps empty.
# - `merges`: a list of pairs of tokens, in the order in which training learnt them. The place in the list is the pair's
#   *rank*.
# - Result: the list of tokens, each `bytes`. Start from single bytes. As long as any two neighbours are a learnt pair,
#   join the pair with the lowest rank; if it stands in several places, the leftmost first.
#
# ```python
# merges = [(b"h", b"e"), (b"t", b"h"), (b"he", b"r")]
# encode_by_rank(b"there", merges)  # [b"t", b"her", b"e"]
# ```
#
# From the left, `t` and `h` come first, but `h` and `e` were learnt first. Mind that Python takes `bytes` apart into
# numbers:
# ```python
# list(b"hi")                       # [104, 105]
# bytes([104])                      # b"h"
# ```
#
# <details><summary>Hint 1</summary>
#
# Three pairs of neighbours can be joined, with ranks 7, 2 and 5. Which one do you join? And after that, which of the
# pairs that you looked at are still there?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Encoding repeats on one word what training did to all of them, in the same order: after each merge, look at all
# neighbours again. It stops when no neighbours are a learnt pair, not before.
# The picture in section 7 of the lesson shows it on one word.
#
# </details>
# <details><summary>Hint 3</summary>
#
# A calculation without parentheses: of all signs that stand in it, do the one that binds most strongly, the leftmost of
# equals, then look again.
# ```python
# strength = {"*": 0, "+": 1}
# sum_ = [2, "+", 3, "*", 4, "*", 5]
# while len(sum_) > 1:
#     at = min(range(1, len(sum_), 2), key=lambda i: strength[sum_[i]])
#     a, sign, b = sum_[at - 1 : at + 2]
#     sum_[at - 1 : at + 2] = [a * b if sign == "*" else a + b]
#     print(sum_)  # [2, '+', 12, '*', 5], then [2, '+', 60], then [62]
# ```
#
# </details>


# %%
def encode_by_rank(word, merges):
    """b"there", [(b"h", b"e"), (b"t", b"h"), (b"he", b"r")] -> [b"t", b"her", b"e"]"""
    ### BEGIN SOLUTION
    rank = {pair: i for i, pair in enumerate(merges)}
    tokens = [bytes([byte]) for byte in word]
    while True:
        neighbours = list(zip(tokens, tokens[1:]))
        known = [pair for pair in neighbours if pair in rank]
        if not known:
            return tokens
        at = neighbours.index(min(known, key=rank.get))
        tokens[at : at + 2] = [tokens[at] + tokens[at + 1]]
    ### END SOLUTION


# %%
check("02.encode_by_rank", encode_by_rank)

# %% [markdown] tags=["solution"]
# **Why it works.** Training joined `he` everywhere before it ever counted `th`. In its text, the `h` of *there* was
# gone by the time `t` and `h` were merged. Encoding must meet the same state, so rank decides and place does not.
#
# **Another right way**: go through `merges` once, in order, and replace each pair everywhere. It gives the same tokens,
# since a later merge makes a token that no earlier pair contains. It takes time for each of 50,000 merges, though,
# where the loop above takes time for each byte of the word.
#
# **The wrong road.** Joining from the left whatever can be joined, or taking the longest token that fits, gives valid
# tokens too, and decoding gives back the text. Nothing fails. But the model has never seen these tokens in these
# places, and its loss goes up.

# %% [markdown]
# ## 02.6 training_rows: text by anyone
#
# *order · difficulty 2/5 · 10 min · further · idea: only your own code may write a special token*
#
# The ids of all documents are laid end to end, each document with one `<|endoftext|>` before it, and the long stream is
# cut into rows for training. Anyone may have written the documents, and some of them contain the thirteen characters
# `<|endoftext|>`, which must not end a document.
#
# The lines of `training_rows(documents, encode, eot, T)` are below, shuffled and without their indentation. **Three
# of the lines do not belong.** Put the right ones in order.
#
# - `documents`: a list of texts.
# - `encode(text)`: the ids of a text, all of it taken as plain text. `encode(text, allowed_special=True)` turns special
#   tokens in it into their ids.
# - `eot`: the id of `<|endoftext|>`.
# - `T`: the length of a row.
# - Result: a list of rows, each a list of T ids. What is left over at the end and fills no row is dropped.
#
# ```python
# def encode(text, allowed_special=False):
#     return [ord(character) for character in text]  # each character a token
#
# training_rows(["ab", "cde"], encode, 0, 3)  # [[0, 97, 98], [0, 99, 100]]; the 101 of e is left over
# ```
#
# <details><summary>Hint 1</summary>
#
# Which lines happen once, and which once for each document? Which of them must know all documents before they can run?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A special token is an id that no text can produce; that is what makes it safe. So it must come from your code as a
# number, and never out of a text, neither a stranger's nor your own. Section 8 of the lesson.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Write a table in which a tab separates the fields. A name may hold a tab, so clean the parts first, and only then put
# in your own tabs:
# ```python
# lines = []
# for name, town in [("Ann\tSmith", "Oslo"), ("Bo", "Rome")]:
#     fields = [part.replace("\t", " ") for part in (name, town)]
#     lines.append("\t".join(fields))
# print(lines)  # ['Ann Smith\tOslo', 'Bo\tRome']
# ```
#
# </details>


# %%
def training_rows(documents, encode, eot, T):
    """Texts by anyone -> rows of T ids: the documents end to end, each with one eot before it"""
    ### BEGIN SOLUTION
    stream = []
    for text in documents:
        stream.append(eot)
        stream.extend(encode(text))
    whole = len(stream) // T * T
    return [stream[i : i + T] for i in range(0, whole, T)]
    ### STUB
    # # return [stream[i : i + T] for i in range(0, whole, T)]
    # # stream.extend(encode(text, allowed_special=True))
    # # stream.append(eot)
    # # whole = len(stream) // T * T
    # # stream = encode("<|endoftext|>".join(documents), allowed_special=True)
    # # for text in documents:
    # # whole = len(stream)
    # # stream = []
    # # stream.extend(encode(text))
    # raise NotImplementedError("your code here")
    ### END SOLUTION


# %%
check("02.training_rows", training_rows)

# %% [markdown] tags=["solution"]
# **Why it works.** The separator enters the stream as a number. A text goes through `encode`, which has no way to make
# that number. So nobody who writes a web page can decide where your documents end.
#
# **The wrong road.** Joining the texts with `"<|endoftext|>"` and encoding the whole with special tokens allowed is one
# line instead of four, and many training scripts do it. It works until a document talks about tokenizers. This lesson's
# own page is such a document. In a chat program, the same mistake lets a user write a line that the model takes for the
# system's.

# %% [markdown]
# ## 02.7 language_costs: who pays more?
#
# *measure · difficulty 3/5 · 15 min · further · idea: comparing languages fairly*
#
# A model reads and bills tokens, so people whose language is cut into more tokens pay more for the same thing, and fit
# less of it into the context. Measure it: write `language_costs(parallel, encode)`.
#
# - `parallel`: {language: list of sentences}. Sentence i says the same thing in all languages. `"English"` is one of
#   them.
# - `encode(text)`: the ids of a text. Encode each sentence by itself.
# - Result: a tuple of two things.
#   - A dictionary, {language: (bytes per token, cost)}. *Bytes per token*: all UTF-8 bytes of the language's sentences
#     over all their tokens. *Cost*: all tokens of the language over all tokens of English.
#   - Your judgement, the name of a language: in which does it take the most tokens to say the same?
#
# ```python
# parallel = {"English": ["a cat", "it is late"], "Spanish": ["un gato", "es tarde"]}
# language_costs(parallel, str.split)  # words as tokens
# # ({"English": (3.0, 1.0), "Spanish": (3.75, 0.8)}, "English")
# ```
#
# When it is right, try it on your own language, with the tokenizer of the lesson.
#
# <details><summary>Hint 1</summary>
#
# Of two sentences, one has 2 tokens and the other 40. You want to know what a token holds on average. Should both have
# the same say?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Add up first, divide once. `len(text)` counts characters, and you want bytes. For the judgement, ask which of the two
# numbers stays the same when a script spends three bytes on each character instead of one: the other is no measure of
# what is said. Section 10 of the lesson.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The mean speed of a trip of two legs, (kilometres, hours), and how long it takes compared with the direct way:
# ```python
# trips = {"direct": [(60, 1.0), (10, 1.0)], "coast": [(90, 1.5), (30, 2.0)]}
# hours = {way: sum(h for _, h in legs) for way, legs in trips.items()}
# for way, legs in trips.items():
#     speed = sum(km for km, _ in legs) / hours[way]
#     print(way, round(speed, 1), hours[way] / hours["direct"])  # direct 35.0 1.0, coast 34.3 1.75
# print((60 + 15) / 2)  # 37.5: the mean of the two speeds on the coast, and wrong
# ```
#
# </details>


# %%
def language_costs(parallel, encode):
    """{"English": [...], …} -> ({"English": (bytes per token, 1.0), …}, the language that takes the
    most tokens)"""
    ### BEGIN SOLUTION
    tokens = {language: sum(len(encode(text)) for text in texts)
              for language, texts in parallel.items()}
    costs = {}
    for language, texts in parallel.items():
        size = sum(len(text.encode("utf-8")) for text in texts)
        costs[language] = (size / tokens[language], tokens[language] / tokens["English"])
    return costs, max(tokens, key=tokens.get)
    ### END SOLUTION


# %%
check("02.language_costs", language_costs)

# %% [markdown] tags=["solution"]
# **Why it works.** Sums first, one division at the end: a long sentence counts for more, because there is more of it.
# Petrov et al. (2023, [arXiv 2305.15425](https://arxiv.org/abs/2305.15425)) call the cost the *tokenization premium*.
#
# **The wrong road.** The mean of the sentences' ratios gives a short greeting the same say as a long sentence, and
# cannot be compared between two collections of texts.
#
# **The judgement.** A token of Hindi may hold as many bytes as one of English, but a letter of Hindi takes three bytes.
# Bytes per token compares *tokenizers* on one text. What a language pays for the same content is the number of tokens.

# %% [markdown]
# ## 02.8 stream_text: half a character must wait
#
# *write · difficulty 4/5 · 40 min · further · unaided · idea: a token is bytes and need not end where a character ends*
#
# **Unaided: the assistant is off.** Leave the hints closed for the first twenty minutes. You have everything you need.
#
# A chat program shows the text while the model writes it, token by token. A token may end in the middle of a character.
# Then the part that is there must wait for the rest, or the reader sees `�`. Write `stream_text(tokens)`.
#
# - `tokens`: a list of `bytes`, perhaps empty, in the order in which they arrive.
# - Result: a list of `str` of the same length. String i is what can be shown once token i is there, and was not shown
#   before. Joined, the strings equal `b"".join(tokens).decode("utf-8", errors="replace")`.
#
# The rules:
# 1. A character is shown as soon as its last byte is there, whatever comes after it.
# 2. The bytes of an unfinished character wait, at most until the last token. If they are still unfinished then, the
#    last string ends with one `�` for them.
# 3. A model can write bytes that are no UTF-8. A byte that can never become part of a character does not wait: it shows
#    as `�` at once. In our cases this happens in two ways: a byte that continues nothing, and a character that breaks
#    off and is followed by something else, when it counts as one `�`.
#
# Examples, the smiling face being `f0 9f 99 82` and é being `c3 a9`:
#
# | tokens | result |
# |---|---|
# | `[b"hi \xf0\x9f", b"\x99", b"\x82!"]` | `["hi ", "", "🙂!"]` |
# | `[b"caf", b"\xc3", b"\xa9", b" \xc3"]` | `["caf", "", "é", " �"]` |
# | `[b"a\x99b", b"\xc3c"]` | `["a�b", "�c"]` |
#
# <details><summary>Hint 1</summary>
#
# You have some bytes in hand, and more may come. How many bytes at their end can you not judge yet, at most? What in
# these bytes tells you how many are missing?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The first byte of a character says how many there are: below 0x80 one, from 0xC0 two, from 0xE0 three, from 0xF0 four;
# 0x80 to 0xBF are continuations (section 1 of the lesson). So look back from the end for a first byte, three places at
# most, and compare what it announces with what is there. Everything before it can be decoded at once.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Messages arrive in pieces. A digit says how many letters follow; only whole messages may be handed on.
# ```python
# held = ""
# for piece in ["3ab", "c2x", "y"]:
#     held += piece
#     ready = []
#     while held and len(held) > int(held[0]):
#         size = int(held[0])
#         ready.append(held[1 : size + 1])
#         held = held[size + 1 :]
#     print(ready, "waiting:", held)  # [] 3ab, then ['abc'] 2x, then ['xy'] and nothing
# ```
#
# </details>


# %%
def stream_text(tokens):
    """[b"caf", b"\\xc3", b"\\xa9"] -> ["caf", "", "é"]: what can be shown after each token"""
    ### BEGIN SOLUTION
    shown, held = [], b""
    for token in tokens:
        held += token
        ready = len(held) - unfinished(held)
        shown.append(held[:ready].decode("utf-8", errors="replace"))
        held = held[ready:]
    if held:
        shown[-1] += held.decode("utf-8", errors="replace")
    return shown


def unfinished(data):
    """How many bytes at the end begin a character that is not complete: b"a\\xf0\\x9f" -> 2"""
    for back in range(1, min(3, len(data)) + 1):
        first = data[-back]
        if not 0x80 <= first < 0xC0:  # no continuation: a character begins here
            announced = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
            return back if back < announced else 0
    return 0
    ### END SOLUTION


# %%
check("02.stream_text", stream_text)

# %% [markdown] tags=["solution"]
# **Why it works.** Only the last three bytes can be in doubt, since a character has four at most. If one of them begins
# a character that is not all there, everything before it can be decoded and it waits; otherwise nothing waits. Bytes
# that fit nowhere are never part of what waits for long, and `errors="replace"` turns them into `�`.
#
# **The library's way.** Python has this machine ready: `codecs.getincrementaldecoder("utf-8")("replace")`, whose
# `decode(token, final=…)` keeps the waiting bytes itself.
#
# **The wrong roads.** Decoding each token alone breaks every character that two tokens share: in a Chinese or Hindi
# answer, or wherever there is an emoji. Waiting until *everything* in hand is valid holds finished text back, and one
# stray byte stops the stream for ever. Hiding a `�` at the end of the text and hoping for the next token cannot tell a
# character that is unfinished from one that is broken.
