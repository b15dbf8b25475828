"""Copies of test questions: planted with case, punctuation and white space changed, and searched in plain Python."""
import doctest
import random
import re
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt.text import contamination, words
from minigpt.text.contamination import drop_copies, find_copies, index_items, without
from minigpt.text.sources import Document, builtin
from minigpt.text.steps import Statistics


def disguised(text: str, rng: random.Random) -> str:
    """The same words in the same order."""
    change = rng.choice([str.upper, str.lower, str.title, str])
    marks = rng.choice(["", ",", ";", " -", "..."])
    return "".join(change(word) + (marks if rng.random() < 0.2 else "") + rng.choice([" ", "  ", "\n", "\t", " "])
                   for word in re.findall(r"\w+", text.replace("_", " ")))  # fmt: skip


def vocabulary() -> list[str]:
    text = " ".join(document.text for document in builtin(["docs"]))
    return sorted(set(re.findall(r"[a-z]{3,}", text)))


def test_planted_copies_are_found():
    rng, known = random.Random(1), vocabulary()
    items = [" ".join(rng.choices(known, k=rng.randint(8, 60))) for _ in range(300)]
    index = index_items(items)
    assert index.too_short == 0 and len(index.hashes[8]) > 30 and len(index.hashes[13]) > 3000
    found = right = owners = 0
    for number, item in enumerate(items):
        before, after = (" ".join(rng.choices(known, k=rng.randint(0, 300))) for _ in range(2))
        copy = disguised(item, rng)
        text = f"{before}\n{copy}\n{after}"
        hits = find_copies(text, index)
        found += bool(hits)
        start = text.index(copy)
        end = start + len(copy)
        right += len(hits) == 1 and start == hits[0].start and end - 6 <= hits[0].end <= end
        owners += len(hits) == 1 and hits[0].item == number
        assert not find_copies(f"{before} {after}", index)
    assert found / 300 >= 0.97 and right / 300 >= 0.97 and owners / 300 >= 0.97


def test_a_part_of_a_long_question_is_enough_but_a_short_run_is_not():
    item = " ".join(f"w{i}" for i in range(40))
    index = index_items([item, "a question of eight words is looked for", "too short to look for"])
    assert index.too_short == 1
    assert find_copies(" ".join(f"w{i}" for i in range(10, 23)), index)[0].item == 0
    assert not find_copies(" ".join(f"w{i}" for i in range(10, 22)), index)
    assert find_copies("(A question: of eight WORDS is, looked for.)", index)[0].item == 1
    assert not find_copies("a question of seven words is looked for", index)
    assert not find_copies("", index) and not find_copies("anything at all " * 9, index_items([]))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=40), st.lists(st.sampled_from("abc"), max_size=12),
       st.sampled_from([" ", ", ", "\n"]))  # fmt: skip
def test_against_a_plain_search(document, item, separator):
    index, text = index_items([" ".join(item)], sizes=(5, 3)), separator.join(document)
    size = 5 if len(item) >= 5 else 3
    grams = {tuple(item[i : i + size]) for i in range(len(item) - size + 1)}
    covered = set()
    for i in range(len(document) - size + 1):
        if tuple(document[i : i + size]) in grams:
            step = 1 + len(separator)
            covered.update(range(i * step, (i + size - 1) * step + 1))
    assert {at for hit in find_copies(text, index) for at in range(hit.start, hit.end)} == covered


def test_a_copy_across_a_border_of_pieces(monkeypatch):
    monkeypatch.setattr(words, "PIECE", 1000)
    item = " ".join(f"word{i}" for i in range(13))
    index = index_items([item])
    for offset in range(850, 1010, 7):
        text = "x " * (offset // 2) + item + " y" * 700
        assert [(hit.start, hit.end) for hit in find_copies(text, index)] == [(text.index("word0"), text.index(" y"))]


def test_cutting():
    item = " ".join(f"q{i}" for i in range(15))
    text = "a " * 300 + item + " b" * 50 + " " + item + " c" * 250
    hits = find_copies(text, index_items([item]))
    assert len(hits) == 2
    parts = without(text, hits)
    assert [set(part.split()) for part in parts] == [{"a"}, {"c"}]
    assert len(parts[0]) == 400 and len(parts[1]) == 300 and not find_copies(" ".join(parts), index_items([item]))


def test_as_a_step():
    item = " ".join(f"q{i}" for i in range(15))
    texts = ["clean " * 100, "x " * 400 + item + " y" * 400, item, ("z " * 500 + item + " ") * 12]
    documents = [Document(f"d{i}", "d", text) for i, text in enumerate(texts)]
    index = index_items(["nothing of the kind", item])
    whole, cut = Statistics(), Statistics()
    assert [d.id for d in drop_copies(documents, index, whole)] == ["d0"]
    assert whole.removed == {"contaminated": 3} and whole.counts == {"item 1": 3}
    kept = list(drop_copies(documents, index, cut, cut=True))
    assert [d.id for d in kept] == ["d0", "d1"] and cut.changed == 1 and "q7" not in kept[1].text
    assert cut.removed == Counter({"contaminated": 2})  # nothing left; more than ten pieces


def test_real_text_is_not_contaminated_by_itself():
    """Questions out of one half of Python's language reference: the documents they come from are found, and others
    only where they hold the same 13 words."""
    texts = [document.text for document in builtin(["docs"])]
    rng = random.Random(3)
    items, sources = [], []
    for number, text in enumerate(texts):
        found = text.split()
        if len(found) > 100:
            at = rng.randrange(len(found) - 60)
            items.append(" ".join(found[at : at + 60]))
            sources.append(number)
    index = index_items(items)
    hit = {number for number, text in enumerate(texts) if find_copies(text, index)}
    assert set(sources) <= hit
    plain = [" ".join(re.findall(r"[^\W_]+", text.lower())) for text in texts]
    for number in hit - set(sources):
        assert any(" ".join(w[i : i + 13]) in plain[number] for item in items
                   for w in [re.findall(r"[^\W_]+", item.lower())] for i in range(len(w) - 12))  # fmt: skip


def test_examples():
    assert not doctest.testmod(contamination).failed


