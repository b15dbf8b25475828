"""The clocks of RopeView: the page and its static twin compute what the model computes, and can be used by keyboard."""
import html
import json
import math
import re

import numpy as np
import pytest
import torch
from test_viz import browse, needs_browser

from minigpt import ModelConfig
from minigpt.classroom.rope_view import RopeView
from minigpt.model import rope_frequencies, rope_table, rotate

CONFIG = ModelConfig(layers=1, width=20, heads=2, kv_heads=1, head_size=10, mlp_width=12, context=64, vocab_size=30)


def view(**changes):
    q, k = torch.randn(2, 10, generator=torch.Generator().manual_seed(6))
    return RopeView(q, k, rope_frequencies(CONFIG), **changes)


def score_of_the_model(v, m, n):
    """q · k / √D, the way a layer does it."""
    def turn(x, position):
        table = rope_table(torch.tensor([position]), torch.tensor(v.frequencies))
        return rotate(torch.tensor(x)[None, None, None], table)

    return float((turn(v.q, m) * turn(v.k, n)).sum()) / math.sqrt(10)


def test_the_score_is_that_of_the_model():
    v = view()
    for m, n in ((0, 0), (7, 3), (107, 103), (3, 7), (250, 11)):
        assert v.score(m, n) == pytest.approx(score_of_the_model(v, m, n), abs=1e-5)
    assert v.score(107, 103) == pytest.approx(v.score(7, 3), abs=1e-5)
    assert abs(v.score(8, 3) - v.score(7, 3)) > 1e-3
    assert RopeView([1, 0], [1, 0], [0.5]).score(9, 5) == pytest.approx(math.cos(2) / math.sqrt(2))


def test_wrong_shapes_and_positions_are_named():
    with pytest.raises(AssertionError, match="5 frequencies|vectors of 10 numbers"):
        RopeView(np.ones(8), np.ones(10), np.ones(5))
    with pytest.raises(AssertionError, match="between 0 and 255, not at"):
        view(positions=(300, 2))


def test_the_static_twin_shows_the_same_scores():
    v = view(positions=(12, 5))
    fig = v.figure()
    titles = [ax.get_title() for ax in fig.axes if ax.get_title()]
    assert [title.split("\n")[0] for title in titles] == [f"pair {i}" for i in range(5)]
    said = " ".join(ax.get_ylabel() for ax in fig.axes)
    assert said.count(f"score {v.score(12, 5):.3f}") == 2 and "query 112, key 105" in said
    first, second = fig.axes[1].lines, fig.axes[6].lines  # pair 1, before and after the move
    angles = [[math.atan2(line.get_ydata()[1], line.get_xdata()[1]) for line in lines] for lines in (first, second)]
    between = [(a - b) % (2 * math.pi) for a, b in angles]
    assert between[0] == pytest.approx(between[1], abs=1e-4) and abs(angles[0][0] - angles[1][0]) > 0.1
    assert first[0].get_linestyle() != first[1].get_linestyle()  # not by colour alone


def test_a_page_needs_nothing_from_outside_and_is_always_the_same(tmp_path):
    page = view().page()
    assert page == view().page()
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|import\(|XMLHttp|random|Date", page)
    assert page.count("</script>") == 1 and "aria-live" in page and "color-scheme: light dark" in page
    frame = view()._repr_html_()
    assert 'sandbox="allow-scripts"' in frame and html.unescape(re.search('srcdoc="(.*?)"', frame, re.S)[1]) == page
    assert len(frame.encode()) < 20_000
    assert view().save(tmp_path / "view.html").read_text(encoding="utf-8") == page


@needs_browser
def test_the_page_computes_the_score_and_obeys_the_keys(tmp_path):
    code = """const said = () => $("said").textContent, log = [said()]
        const press = (key, on = document.body) => on.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}))
        for (const key of ["ArrowRight", "ArrowUp", "ArrowDown", "ArrowLeft", "Home"]) { press(key); log.push(said()) }
        document.querySelector("[data-by='100']").onclick(); log.push(said())
        for (let i = 0; i < 3; i++) document.querySelector("[data-by='100']").onclick()
        log.push(said())
        document.querySelector("[data-by='-10']").onclick(); log.push(said())
        $("reset").onclick(); $("n").value = 200; $("n").oninput(); log.push(said())
        press("ArrowRight", $("n")); log.push(said())
        document.body.innerHTML = "LOG" + JSON.stringify(log) + "END" """
    v = view()
    log = json.loads(html.unescape(re.search("LOG(.*)END", browse(v.page(), tmp_path, code), re.S)[1]))
    places = [(7, 3), (8, 4), (9, 4), (8, 4), (7, 3), (7, 3), (107, 103), (255, 251), (245, 241), (7, 200), (7, 200)]
    assert len(log) == len(places)  # in a slider, arrows move the slider
    for line, (m, n) in zip(log, places):
        assert line.startswith(f"Query at {m}, key at {n}, distance {m - n}: score ")
        assert float(line.split()[-1].rstrip(".")) == pytest.approx(score_of_the_model(v, m, n), abs=2e-4)
