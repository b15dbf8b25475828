"""The lens shows what a softmax of the logits says, in its picture and on its page, by keyboard too."""
import html
import json
import re

import numpy as np
import pytest
import torch
from test_viz import PRESS, browse, needs_browser

from minigpt.classroom.lens_view import LensView, short
from minigpt.classroom.viz import png

WORDS = ["The", " king", " said", "\n", "</script>", " 日", " $x$", b"\xe2\x82", " a", " b", "c"]
IDS = [0, 1, 4, 5, 2, 6]
HEIGHTS, T, V = 4, len(IDS), len(WORDS)


def logits(seed=0, heights=HEIGHTS, t=T):
    return 2 * torch.randn(heights, t, V, generator=torch.Generator().manual_seed(seed))


def view(**how):
    return LensView(IDS, logits(**how), WORDS.__getitem__)


def test_the_data_are_the_softmax_of_the_logits():
    data, p = view().data(), torch.softmax(logits(), -1)
    for height in range(HEIGHTS):
        for t in range(T):
            best = p[height, t].topk(5)
            assert data["p"][height][t] == pytest.approx(best.values.tolist(), abs=6e-4)
            assert len(data["top"][height][t]) == 5
            ends_with = p[-1, t].argmax()
            assert data["final"][height][t] == pytest.approx(p[height, t, ends_with].item(), abs=6e-4)
            if t < T - 1:
                assert data["next"][height][t] == pytest.approx(p[height, t, IDS[t + 1]].item(), abs=6e-4)
        assert len(data["next"][height]) == T - 1
    assert [data["words"][n] for n in data["ids"]] == ["The", "·king", "</script>", "·日", "·said", "·$x$"]


def test_each_place_names_the_tokens_of_its_logits():
    """A token for each (height, position) that nothing else makes likely."""
    chosen = [[(height * T + t) % V for t in range(T)] for height in range(HEIGHTS)]
    made = torch.nn.functional.one_hot(torch.tensor(chosen), V) * 9.0
    lens = LensView(IDS, made, lambda i: f"w{i}")
    data = lens.data()
    assert [[data["words"][cell[0]] for cell in row] for row in data["top"]] == [[f"w{i}" for i in r] for r in chosen]
    texts = [text.get_text() for text in lens.figure().axes[0].texts]
    assert texts == [f"w{i}\n{data['p'][0][0][0]:.2f}" for row in chosen for i in row]


def test_large_and_infinite_logits_are_no_trouble():
    made = logits() * 1e4
    made[..., -1] = -torch.inf
    data = LensView(IDS, made, WORDS.__getitem__).data()
    assert np.isfinite(data["p"]).all() and np.isfinite(data["next"]).all()
    assert np.max(data["p"]) == 1.0


def test_of_equal_tokens_the_smaller_id_is_named():
    data = LensView(IDS, torch.zeros(2, T, V), lambda i: f"w{i}").data()
    assert [data["words"][n] for n in data["top"][1][3]] == ["w0", "w1", "w2", "w3", "w4"]


def test_wrong_shapes_are_named():
    for wrong in (logits(t=5), logits()[0], logits(heights=1), logits()[..., :4]):
        with pytest.raises(AssertionError, match=r"6 tokens need logits \(layers \+ 1, 6, V\)"):
            LensView(IDS, wrong, WORDS.__getitem__)


def test_the_static_twin_has_the_end_at_the_top_and_cuts_long_texts():
    fig = view().figure()
    (ax,) = fig.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["embedding", "block 1", "block 2", "block 3"]
    assert ax.get_ylim()[0] < ax.get_ylim()[1]
    assert [label.get_text() for label in ax.get_xticklabels()] == [
        "The", "·king", "</script>", short("20 E6 97 A5"), "·said", "·$x$",
    ]  # fmt: skip
    png(fig)  # every glyph can be drawn, and a $ is no formula
    ids = [n % V for n in range(29)]
    fig = LensView(ids, logits(t=29), WORDS.__getitem__).figure()
    assert [len(ax.get_xticklabels()) for ax in fig.axes] == [12, 12, 5]
    assert sum(len(ax.texts) for ax in fig.axes) == 29 * HEIGHTS
    assert len({ax.get_xlim() for ax in fig.axes}) == 1  # cells of one size in every band
    assert short("·incomprehensible") == "·incompr…" and short("·captains") == "·captains"


def test_the_page_needs_nothing_from_outside_and_is_always_the_same(tmp_path):
    page = view().page()
    assert page == view().page() != view(seed=1).page()
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|import\(|XMLHttp|random|Date", page)
    assert page.count("</script>") == 1  # a token cannot end the script
    assert "aria-live" in page and "color-scheme: light dark" in page
    frame = view()._repr_html_()
    assert 'sandbox="allow-scripts"' in frame and html.unescape(re.search('srcdoc="(.*?)"', frame, re.S)[1]) == page
    assert view().save(tmp_path / "view.html").read_text(encoding="utf-8") == page


def test_a_sentence_through_twelve_blocks_fits_a_notebook():
    ids = list(range(40))
    made = torch.randn(13, 40, 2048, generator=torch.Generator().manual_seed(3))
    assert len(LensView(ids, made, lambda i: f" token{i}")._repr_html_().encode()) < 200_000


@needs_browser
def test_the_lens_by_keyboard(tmp_path):
    keys = "ArrowRight ArrowDown ArrowDown ArrowUp ArrowUp ArrowUp End ArrowRight ArrowLeft Home".split()
    code = PRESS + f"""for (const key of {json.dumps(keys)}) {{ press(key); log.push(said()) }}
        press("ArrowDown"); log.push(document.activeElement.getAttribute("aria-label"))
        log.push(document.querySelectorAll("[aria-selected=true]").length + " " +
                 document.querySelectorAll("button[tabindex='0']").length)
        const way = document.getElementById("way"); const shades = () =>
            cells.map(row => row.map(b => Number((b.style.background.match(/([\\d.]+)\\)$/) || [0, 1])[1])))
        for (const kind of ["top", "final", "next"])
            {{ way.value = kind; way.onchange(); log.push(JSON.stringify(shades())) }}
        press("ArrowRight", way); log.push(said())
        log.push(document.getElementById("rise").textContent)
        document.body.textContent = "LOG" + JSON.stringify(log) + "END" """
    dom = browse(view().page(), tmp_path, code)
    log = json.loads(html.unescape(re.search("LOG(.*)END", dom, re.S)[1]))
    places = [(3, 0), (3, 1), (2, 1), (1, 1), (2, 1), (3, 1), (3, 1), (3, 5), (3, 5), (3, 4), (3, 0)]
    p, data = torch.softmax(logits(), -1), view().data()
    for line, (height, t) in zip(log, places):
        best, word = p[height, t].max().item(), data["words"][data["top"][height][t][0]]
        assert line.startswith(f"Position {t}, “{data['words'][data['ids'][t]]}”, after block {height}: “{word}” with ")
        assert float(re.search(r"with ([\d.]+\d)", line)[1]) == pytest.approx(best, abs=0.006)
        came = f"“{data['words'][data['ids'][t + 1]]}” came" if t < T - 1 else "."
        assert came in line and ("came" in line) == (t < T - 1)
    label, selected, top, final, following, still = log[11:17]
    assert label.startswith("after block 2, position 0: ") and selected == "1 1"  # the focus follows
    expected = {"top": p.max(-1).values, "final": torch.tensor(data["final"])}
    for found, kind in ((top, "top"), (final, "final")):
        assert np.allclose(json.loads(found), 0.85 * expected[kind], atol=0.01)
    following = np.array(json.loads(following))
    assert np.allclose(following[:, :-1], 0.85 * np.array(data["next"]), atol=0.01)
    assert np.allclose(following[:, -1], 0, atol=0.01)  # after the last token nobody knows
    assert still.startswith("Position 0, “The”, after block 2")  # in the list, arrows choose a colour
    assert all(f"{row[0]:.2f}" in log[17] for row in data["final"])


@needs_browser
def test_the_page_runs_inside_its_sandboxed_frame(tmp_path):
    lens = view()
    page = lens.page().replace("</html>", '<script>parent.postMessage($("said").textContent, "*")</script></html>')
    lens.page = lambda: page
    listen = "<p id=log></p><script>onmessage = e => log.textContent = e.data</script>"
    dom = browse(f"<html>{listen}{lens._repr_html_()}</html>", tmp_path)
    assert re.search(r'id="log">Position 0, “The”, after block 3', dom)
