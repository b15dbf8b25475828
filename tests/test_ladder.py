"""The ladder: its text is held out of every training, records and own figures stand on it together, files are whole."""
import json

import numpy as np
import pytest

from minigpt.classroom import ladder, shelf
from minigpt.classroom.ladder import Rung
from minigpt.classroom.viz import figure
from minigpt.config import DataConfig, UserError
from minigpt.prepare import is_held, parts
from minigpt.text.sources import available, builtin, held_out

pytestmark = pytest.mark.skipif(not available()["books"], reason="the books are not installed")


@pytest.fixture
def shelves(tmp_path, monkeypatch):
    """Two records on an otherwise empty shelf, and an empty runs folder."""
    monkeypatch.setattr(shelf, "RECORDS", tmp_path / "records")
    monkeypatch.setenv("MINIGPT_RUNS", str(tmp_path / "runs"))
    (tmp_path / "records").mkdir()
    network = [[6.0, 2.0], [6.0, 2.1], [6.0, 2.2]]
    record("03_ladder", {"counts": [[5.0, 3.0], [5.0, 3.0], [5.0, 3.0]], "network": network})
    record("05_ladder", {"a GPT": [[4.0, 1.5], [4.0, 1.5]]})
    record("04_scale", {"no rung": [[4.0, 1.0], [4.0, 1.0]]})
    return tmp_path


def record(stem, arms):
    """A record and its script; x is 1, 2."""
    arms = {name: {"settings": {}, "x": [1, 2], "y": y, "numbers": [{} for _ in y]} for name, y in arms.items()}
    (shelf.RECORDS / f"{stem}.py").write_text("", encoding="utf-8")
    seeds = list(range(len(next(iter(arms.values()))["y"])))
    content = {"axes": ["x", "y"], "seeds": seeds, "floor": 0.5, "arms": arms}
    (shelf.RECORDS / f"{stem}.json").write_text(json.dumps(content), encoding="utf-8")


def test_nobody_trains_on_the_text():
    books = list(builtin(["books"]))
    inside = [d for d in books if d.text[:2000] in ladder.text()]
    assert len(inside) == sum(held_out(d.id) for d in books) and all(held_out(d.id) for d in inside)
    assert 100_000 < len(ladder.text().encode()) < 250_000
    # as `prepare` splits them for model_from("00"), the learner's own or the stand-in
    for config in (DataConfig(), shelf.STAND_IN.data):
        kept = [part for d in books for part in parts(d, config, few=False) if not is_held(part)]
        assert not {d.id for d in inside} & {part.id for part in kept} and len(kept) == len(books) - len(inside)


def test_rungs_of_all_records_the_worst_first(shelves):
    found = ladder.rungs()
    assert [(r.name, r.lesson) for r in found] == [("counts", "03"), ("network", "03"), ("a GPT", "05")]
    assert found[0] == Rung("counts", 3.0, 3.0, 3.0, "03")
    # mean 2.1, s = 0.1 with three seeds: t(2 degrees, 97.5 %) · s / √3
    assert found[1].bits_per_byte == pytest.approx(2.1)
    assert np.allclose([found[1].low, found[1].high], [2.1 - 4.303 * 0.1 / 3**0.5, 2.1 + 4.303 * 0.1 / 3**0.5])


def test_own_figures_are_kept_and_replaced(shelves):
    ladder.add("mine", 2.5)
    ladder.add("Größe", 7)
    ladder.add("mine", 1.25)
    assert [(r.name, r.bits_per_byte, r.lesson) for r in ladder.rungs() if r.lesson == "yours"] == [
        ("Größe", 7.0, "yours"), ("mine", 1.25, "yours")]  # fmt: skip
    assert ladder.rungs()[-1].name == "mine" and ladder.rungs()[0].name == "Größe"
    assert [path.name for path in (shelves / "runs").iterdir()] == ["ladder.json"]  # no half-written file beside it


def test_figures_of_another_text_are_no_rungs(shelves, monkeypatch):
    ladder.add("mine", 1.25)
    monkeypatch.setattr(ladder, "fingerprint", lambda: "another")
    assert all(rung.lesson != "yours" for rung in ladder.rungs())
    ladder.add("new", 2.25)
    assert list(ladder.own()) == ["new"]


@pytest.mark.parametrize("name, bits, says", [
    ("counts", 2.0, "choose another name"), (" ", 2.0, "needs a name"), ("mine", 0.0, "positive"),
    ("mine", float("nan"), "positive"), ("mine", float("inf"), "positive"),
])  # fmt: skip
def test_what_cannot_be_a_rung_is_refused(shelves, name, bits, says):
    with pytest.raises(UserError, match=says):
        ladder.add(name, bits)
    assert not (shelves / "runs" / "ladder.json").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"rungs": {"a": "b"}, "text": "TEXT"}', '{"rungs": {}}'])
def test_a_damaged_file_is_named(shelves, content):
    ladder.own_file().parent.mkdir()
    ladder.own_file().write_text(content.replace("TEXT", ladder.fingerprint()), encoding="utf-8")
    with pytest.raises(UserError, match="ladder.json is damaged"):
        ladder.rungs()


def test_the_picture_has_a_bar_and_a_figure_for_each_rung(shelves):
    ladder.add("mine", 1.25)
    _, ax = figure()
    ladder.plot(ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["counts", "network", "a GPT", "mine"]
    assert [round(bar.get_width(), 2) for bar in ax.patches] == [3.0, 2.1, 1.5, 1.25]
    written = [text.get_text() for text in ax.texts]
    assert {"3.00", "2.10", "1.50", "1.25", "yours", "lesson 03", "lesson 05"} == set(written)
    assert len(ax.lines) == 1 and ax.lines[0].get_xdata()[0] < 2.1 < ax.lines[0].get_xdata()[1]  # the seeds' interval
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the worst on top
