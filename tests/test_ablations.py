"""The ablations of lesson 14 with tiny settings: equal compute, exact shares, and nothing that is held out is read."""
from collections import Counter

import numpy as np
import pytest

from minigpt.classroom import shelf
from minigpt.text.sources import usable_domains
from minigpt.text.words import ngrams, words

for module in ("warcio", "trafilatura", "ftfy", "py3langid"):
    pytest.importorskip(module)
if usable_domains(["books", "speeches", "drama"])[1]:
    pytest.skip("the text packages are not installed", allow_module_level=True)

SIZE = 400_000
PAIR = ["books", "drama"]


@pytest.fixture(scope="module")
def lab():
    return shelf.script("14.ablations")


def test_all_arms_but_the_smallest_read_as_many_tokens(lab):
    steps = {name: sum(count for count, _ in arm["phases"]) for name, arm in lab.arms().items()}
    assert steps.pop("short") < min(steps.values()) and set(steps.values()) == {lab.STEPS}
    assert list(lab.arms())[0] == "short" and len(steps) == 17
    for arm in lab.arms().values():
        assert all(abs(sum(shares.values()) - 1) < 1e-9 for _, shares in arm["phases"])


def test_shares_are_exact_and_spread(lab):
    rows = lab.draw({"books": 0.75, "drama": 0.25}, 28, SIZE, seed=3)
    ours = {name: {row.tobytes() for row in lab.draw({name: 1}, 28, SIZE, seed=3)} for name in PAIR}
    names = ["books" if row.tobytes() in ours["books"] else "drama" for row in rows]
    assert Counter(names) == {"books": 21, "drama": 7} and rows.shape == (28, lab.CONTEXT + 1)
    assert all(row.tobytes() in ours[name] for row, name in zip(rows, names))
    assert all(5 <= Counter(names[i : i + 8])["books"] <= 7 for i in range(0, 20))


def test_epochs_repeat_the_first_windows_in_other_orders(lab):
    once, again = (lab.draw({"prose": 1}, 24, SIZE, seed=1, epochs=epochs) for epochs in (1, 5))
    assert len({row.tobytes() for row in once}) == 24
    passes = [[row.tobytes() for row in again[i : i + 5]] for i in range(0, 20, 5)]  # 24 in five: five different ones
    assert all(set(one) == set(passes[0]) for one in passes) and len(set(passes[0])) == 5
    assert len({tuple(one) for one in passes}) > 1
    ids = np.array(lab.stream("prose", SIZE, 1, 5 * lab.CONTEXT + 1))
    assert set(passes[0]) == {ids[i * lab.CONTEXT :][: lab.CONTEXT + 1].tobytes() for i in range(5)}


def test_a_second_phase_reads_on_where_the_first_stopped(lab):
    first = {row.tobytes() for row in lab.draw({"books": 1}, 11, SIZE, seed=2)}
    second = {row.tobytes() for row in lab.draw({"books": 1}, 6, SIZE, seed=2, taken={"books": 11})}
    assert len(first | second) == 17 == len({row.tobytes() for row in lab.draw({"books": 1}, 17, SIZE, seed=2)})
    with pytest.raises(ValueError, match="filtered has .* tokens, and .* are to be read"):
        lab.stream("filtered", SIZE, 0, 10**7)


def test_held_out_documents_are_in_no_training_text(lab):
    runs = lambda texts: np.concatenate([ngrams(words(text).hashes, 13) for text in texts])
    asked = runs([text for name in lab.PROSE for text in lab.unseen()[name]])
    for source in ("extracted", *lab.PROSE):
        assert np.isin(asked, runs(lab.of_source(source, SIZE))).mean() < 0.01, source
    for name in lab.unseen():
        train, out = ({document.id for document in part} for part in lab.split(name))
        assert out and not train & out
        assert 0.8 * lab.HELD < sum(map(len, lab.unseen()[name])) <= lab.HELD


def test_each_step_leaves_less_of_the_crawl(lab):
    made = lab.crawled(SIZE)
    sizes = [sum(map(len, made[name])) for name in ("raw", "extracted", "deduplicated", "filtered")]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 4
    assert any("<div" in text for text in made["raw"]) and not any("<div" in text for text in made["filtered"])


def test_branches_share_their_trunk_and_part_after_it(lab):
    def branch(name):
        return lab.run(dict(phases=[[2, dict(books=0.75, world=0.25)], [3, {name: 1}]], judged=PAIR, crawl=SIZE), 5)

    one, other, again = branch("books"), branch("world"), branch("books")
    trunk = [key for key in one if key.startswith("trunk_")]
    assert {"trunk_mean", "trunk_answer", "trunk_books"} <= set(trunk)
    assert all(one[key] == other[key] for key in trunk) and one["mean"] != other["mean"]
    assert one["y"] == again["y"] and one["x"].tolist() == [4, 5] and len(one["y"]) == 2
    assert one["mean"] == pytest.approx((one["books"] + one["drama"]) / 2) == pytest.approx(one["y"][-1])
    straight = lab.fresh(5, 5)  # the trunk's states go on as one run would
    rows = np.concatenate([lab.draw(dict(books=0.75, world=0.25), 2 * lab.BATCH, SIZE, 5), lab.draw(
        dict(books=1), 3 * lab.BATCH, SIZE, 5, taken={"books": 24})])  # fmt: skip
    for step in range(5):
        lab.train(*straight, rows[step * lab.BATCH :][: lab.BATCH], step, 5)
    assert lab.measure(straight[0], PAIR)["mean"] == pytest.approx(one["mean"], rel=1e-5)
