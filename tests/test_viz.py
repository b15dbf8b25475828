"""Pictures say their sentence, keep their bytes, and can be read by all; the pages encode as the tokenizer does."""
import base64
import html
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import warnings

import matplotlib
import numpy as np
import pytest
import torch

from minigpt import train_bpe
from minigpt.classroom import viz
from minigpt.classroom.viz import (
    AttentionView,
    MergeView,
    figure,
    heatmap,
    label_end,
    merge_steps,
    png,
    show,
    visible,
)
from minigpt.tokenizer import Tokenizer, gpt2_tokenizer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
TOKENS = ["The", " king", " said", "\n", "</script>", " 日", " $x$"]
TEXT = "the theatre there is the other theme of the weather: naïve, 日本 and 1597. " * 3


def causal_weights(layers, heads, T, seed=0):
    scores = np.random.default_rng(seed).normal(size=(layers, heads, T, T))
    return torch.softmax(torch.tensor(scores).masked_fill(~torch.ones(T, T).tril().bool(), -torch.inf), -1)


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe([TEXT], 300, ["<|endoftext|>"])


def browse(page, tmp_path, script=""):
    """The page's DOM after its scripts, and `script`, have run in a browser without network."""
    file = tmp_path / "page.html"
    file.write_text(page.replace("</html>", f"<script>{script}</script></html>"), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom"]
    for _ in range(3):  # a browser that another one on a busy machine gets in the way of says nothing at all
        profile = tempfile.mkdtemp(dir=tmp_path)
        done = subprocess.run([CHROMIUM, *flags, f"--user-data-dir={profile}", file.as_uri()],
                              capture_output=True, text=True, encoding="utf-8", timeout=120)  # fmt: skip
        if done.stdout:
            break
    return done.stdout


@pytest.fixture
def notebook(monkeypatch):
    """What a notebook publishes: (data, metadata) of each output. Only the shell around IPython's own code is faked."""
    import IPython
    from IPython.core.interactiveshell import InteractiveShell

    published = []
    shell = InteractiveShell()
    shell.kernel = 1
    shell.display_pub.publish = lambda data, metadata=None, **options: published.append((data, metadata))
    monkeypatch.setattr(InteractiveShell, "initialized", classmethod(lambda cls: True))
    monkeypatch.setattr(InteractiveShell, "_instance", shell)
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    return published


# ---- figures ---------------------------------------------------------------------------------------------------------


def test_a_figure_is_shown_once_with_its_sentence(notebook, capsys):
    fig, ax = figure()
    ax.plot([1, 2, 3])
    show(fig, "A line that rises from one to three.")
    ((data, metadata),) = notebook
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert metadata["image/png"]["alt"] == "A line that rises from one to three."
    assert capsys.readouterr().out == "Figure: A line that rises from one to three.\n"


def test_a_pyplot_figure_is_closed():
    import matplotlib.pyplot as plt

    fig, _ = plt.subplots()
    show(fig, "An empty picture, for a test.")
    assert not plt.fignum_exists(fig.number)


def test_outside_a_notebook_only_the_sentence_appears(capsys):
    show(figure()[0], "An empty picture, for a test.")
    assert capsys.readouterr().out == "Figure: An empty picture, for a test.\n"


def test_a_short_description_is_refused():
    with pytest.raises(AssertionError, match="20 characters"):
        show(figure()[0], "Loss by step.")


def test_the_same_numbers_give_the_same_bytes_and_name_no_software():
    def draw():
        fig, ax = figure(rows=2, columns=3)
        ax[1, 2].plot([1, 4, 9])
        return png(fig)

    assert draw() == draw()
    assert not re.search(rb"Software|Creation|atplotlib|tIME", draw())


def test_the_style_leaves_other_figures_alone_and_is_readable_on_dark_pages():
    before = dict(matplotlib.rcParams)
    fig, ax = figure(4, 2)
    assert dict(matplotlib.rcParams) == before
    assert fig.get_facecolor() == (1, 1, 1, 1)
    assert not ax.spines["top"].get_visible() and not ax.spines["right"].get_visible()
    assert list(fig.get_size_inches()) == [4, 2]


def luminance(color):
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_are_those_of_okabe_and_ito():
    ours = {viz.BLUE, viz.ORANGE, viz.GREEN, viz.VERMILLION, viz.PURPLE, viz.SKY, viz.YELLOW, viz.BLACK}
    theirs = matplotlib.color_sequences["okabe_ito"] if "okabe_ito" in matplotlib.color_sequences else None
    if theirs is None:
        pytest.skip("this matplotlib does not have them")
    assert ours == {matplotlib.colors.to_hex(c).upper() for c in theirs}
    assert 1.05 / (luminance(viz.GREY) + 0.05) >= 4.5


def test_lines_are_named_at_their_ends():
    fig, ax = figure()
    label_end(ax, torch.tensor([1.0, 2.0]), [5, 7], "with", viz.BLUE)
    (text,) = ax.texts
    assert text.get_text() == "with" and text.xy == (2, 7) and text.get_color() == viz.BLUE


def test_a_heatmap_shows_values_labels_and_the_mask():
    matrix = torch.tensor([[1.0, -torch.inf, 0.25], [0.5, 0.0, 0.75]])
    ax = heatmap(matrix, ["a b", "\n"], ["x", " y", "$z$"], title="1 $ and 2 $", numbers=True, vmax=2.0).axes[0]
    drawn = ax.images[0]
    assert drawn.get_array().mask.tolist() == [[False, True, False], [False] * 3] and drawn.norm.vmax == 2
    assert [t.get_text() for t in ax.get_xticklabels()] == ["x", "·y", "$z$"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a·b", "⏎"]
    assert [t.get_text() for t in ax.texts] == ["1.00", "0.25", "0.50", "0.00", "0.75"]
    png(ax.figure)  # a $ is no formula
    assert {t.get_rotation() for t in ax.get_xticklabels()} == {60}
    assert {t.get_rotation() for t in heatmap(np.eye(3), list("123")).axes[0].get_xticklabels()} == {0}


def test_what_the_font_lacks_is_shown_as_bytes():
    assert visible(" the") == "·the" and visible(b"\xe2\x82") == "E2 82" and visible("ï") == "ï"
    assert visible("日") == "E6 97 A5" and visible("日", any_font=True) == "日" and visible("\0") == "00"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a glyph that is missing
        png(heatmap(np.eye(2), ["日本", "한"]))


# ---- views -----------------------------------------------------------------------------------------------------------


def views(tokenizer):
    return [AttentionView(TOKENS, causal_weights(2, 3, 7)), MergeView("the weather", tokenizer)]


def test_a_view_comes_after_its_static_twin(notebook, tokenizer, capsys):
    for view in views(tokenizer):
        notebook.clear()
        show(view, "What there is to see in this view.")
        (data, metadata), (second, _) = notebook
        assert "image/png" in data and metadata["image/png"]["alt"]
        assert second["text/html"] == view._repr_html_() and view.title in second["text/plain"]
        assert "Figure: What there is" in capsys.readouterr().out


def test_a_page_needs_nothing_from_outside_and_is_always_the_same(tokenizer, tmp_path):
    for view, again in zip(views(tokenizer), views(tokenizer)):
        page = view.page()
        assert page == again.page()
        assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|import\(|XMLHttp|random|Date", page)
        assert page.count("</script>") == 1  # a token cannot end the script
        assert re.search(r"aria-live", page) and "color-scheme: light dark" in page
        frame = view._repr_html_()
        assert 'sandbox="allow-scripts"' in frame and html.unescape(re.search('srcdoc="(.*?)"', frame, re.S)[1]) == page
        assert len(frame.encode()) <= 200_000
        assert view.save(tmp_path / "view.html").read_text(encoding="utf-8") == page


def test_a_view_that_is_too_large_for_a_notebook_says_how_to_save_it():
    large = AttentionView(["x"] * 128, np.full((6, 6, 128, 128), 1 / 128))
    assert len(large._repr_html_()) < 300 and "view.save(" in large._repr_html_()


def test_a_full_vocabulary_fits_and_the_text_has_all_its_merges():
    tokenizer = gpt2_tokenizer()
    text = " antidisestablishmentarianism SolidGoldMagikarp"
    view = MergeView(text, tokenizer)
    assert len(view._repr_html_().encode()) <= 200_000
    data = view.data()
    assert data["more"] and len(data["merges"].split("\n")) < data["learnt"]


def test_wrong_shapes_are_named():
    with pytest.raises(AssertionError, match="3 tokens need weights"):
        AttentionView(["a", "b", "c"], np.ones((1, 2, 3, 4)))


def test_merge_steps_end_in_the_tokens_of_the_tokenizer(tokenizer):
    rng = random.Random(0)
    for text in [TEXT, "", "aaaa", *("".join(rng.choices("theraw is日ï1", k=rng.randrange(1, 25))) for _ in range(60))]:
        steps = merge_steps(text, tokenizer)
        pieces = [piece for pieces in steps[-1].pieces for piece in pieces]
        assert [tokenizer.ranks[piece] for piece in pieces] == tokenizer.encode(text)
        assert all(b"".join(b"".join(p) for p in step.pieces) == text.encode() for step in steps)
        assert len({step.rank for step in steps}) == len(steps)


def test_merges_are_applied_in_the_order_learnt():
    learnt = [(b"b", b"c"), (b"a", b"b"), (b"a", b"bc")]
    assert [step.pieces for step in merge_steps("abc", Tokenizer(learnt))] == [
        [[b"a", b"b", b"c"]],
        [[b"a", b"bc"]],
        [[b"abc"]],
    ]
    assert MergeView("abc", learnt).data() == MergeView("abc", Tokenizer(learnt)).data()


def test_the_static_twins_say_the_same(tokenizer):
    fig = MergeView("the weather", tokenizer).figure()
    steps = merge_steps("the weather", tokenizer)
    said = [text.get_text() for text in fig.axes[0].texts]
    assert "11 pieces" in said and f"{sum(map(len, steps[-1].pieces))} pieces" in said
    weights = causal_weights(2, 3, 7)
    grids = [ax for ax in AttentionView(TOKENS, weights).figure().axes if ax.images]
    assert [ax.get_title() for ax in grids] == [f"layer {i}, head {j}" for i in range(2) for j in range(3)]
    assert np.allclose(grids[4].images[0].get_array(), weights[1, 1])


@needs_browser
def test_the_page_encodes_as_the_tokenizer_does(tokenizer, tmp_path):
    rng = random.Random(1)
    alphabets = ["theraw is", "the 日本ï\u00a0\u2003\n\t12.'", "\U0001f600é x\ufeff\u0085"]
    texts = [TEXT, "", *("".join(rng.choices(rng.choice(alphabets), k=rng.randrange(1, 40))) for _ in range(150))]
    code = f"""const out = {json.dumps(texts)}.map(t => encodeSteps(t).at(-1).pieces.flat().map(p => ids.get(p)))
               document.body.innerHTML = "IDS" + JSON.stringify(out) + "END" """
    blanks = train_bpe([" \ufeff \ufeff. \u0085\u0085 x  x" * 5], 275)  # where browsers and Unicode disagree on blanks
    for tok in (tokenizer, blanks, gpt2_tokenizer()):
        dom = browse(MergeView(TEXT, tok).page(), tmp_path, code)
        known = set(range(len(MergeView(TEXT, tok).data()["merges"].split("\n")) + 256))
        found = json.loads(re.search("IDS(.*)END", dom, re.S)[1])
        expected = [tok.encode(text) for text in texts]
        assert found[0] == expected[0]
        compared = [(ours, theirs) for ours, theirs in zip(found, expected) if set(theirs) <= known]
        assert len(compared) == len(texts) or (tok.vocab_size > 50_000 and len(compared) > 20)  # GPT-2's do not all fit
        assert all(ours == theirs for ours, theirs in compared)


PRESS = """const typed = key => new KeyboardEvent("keydown", {key, bubbles: true})
           const press = (key, on = document.body) => on.dispatchEvent(typed(key))
           const said = () => document.getElementById("said").textContent; const log = [said()]; """
TELL = """document.body.innerHTML = "LOG" + JSON.stringify(log) + "END" """


@needs_browser
def test_the_merge_stepper_by_keyboard(tokenizer, tmp_path):
    code = PRESS + """for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowRight", "Home"])
        { press(key); log.push(said()) }
        document.getElementById("text").value = "the"; document.getElementById("text").oninput(); log.push(said())
        press("ArrowRight", document.getElementById("text")); log.push(said()); """ + TELL
    log = json.loads(html.unescape(re.search("LOG(.*)END", browse(MergeView("the weather", tokenizer).page(), tmp_path,
                                                                  code), re.S)[1]))  # fmt: skip
    steps = merge_steps("the weather", tokenizer)
    last = len(steps) - 1
    number = [int(m[1]) if (m := re.match(r"Step (\d+) of", line)) else 0 for line in log]
    assert number == [0, 1, 2, 1, last, last, 0, 0, 0]
    for at, line in zip(number[:7], log):
        count = sum(map(len, steps[at].pieces))
        assert f"{count} pieces" in line or (at == 0 and f"{count} bytes" in line)
        assert at == 0 or f"{' + '.join(map(visible, steps[at].pair))} →" in line and f"rank {steps[at].rank}," in line
    assert "Start: 3 bytes, in 1 chunks" in log[-1]  # in the text field, arrows move the cursor


@needs_browser
def test_the_attention_viewer_by_keyboard(tmp_path):
    layers, heads, T = 2, 3, 7
    causal = causal_weights(layers, heads, T).numpy()
    full = causal[:, :, ::-1, ::-1]
    code = PRESS + """const way = document.getElementById("way")
        const keys = "ArrowLeft ArrowDown ArrowDown ArrowDown ArrowLeft Home ArrowRight ArrowUp"
        for (const key of keys.split(" ")) { press(key); log.push(said()) }
        log.push(String(document.activeElement.getAttribute("aria-label")))
        way.value = "1"; way.onchange(); log.push(said()); """ + TELL  # fmt: skip
    places = [(0, 6), (0, 5), (1, 5), (2, 5), (3, 5), (3, 4), (3, 0), (3, 1), (2, 1)]  # (head, token) after each key
    for weights in (causal, full):
        dom = browse(AttentionView(TOKENS, weights).page(), tmp_path, code)
        log = json.loads(html.unescape(re.search("LOG(.*)END", dom, re.S)[1]))
        for line, (head, token) in zip(log, places):
            row = weights[head // heads, head % heads, token]
            assert line.startswith(f"layer {head // heads}, head {head % heads}: “")
            assert f"(token {token}) looks" in line
            assert f"(token {row.argmax()}) with" in line
            assert float(line.split("with ")[-1].rstrip(".")) == pytest.approx(row.max(), abs=0.01)
        assert log[-2] == "layer 0, head 2"  # the focus follows
        column = weights[0, 2, :, 1]
        assert "is looked at most by" in log[-1] and f"(token {column.argmax()}) with" in log[-1]


@needs_browser
def test_the_pages_run_inside_their_sandboxed_frame(tokenizer, tmp_path):
    """In the frame there is no origin: storage and the like would throw. Its size tells that it has drawn."""
    for view in views(tokenizer):
        page = view.page().replace("</html>", '<script>parent.postMessage($("said").textContent, "*")</script></html>')
        view.page = lambda page=page: page
        listen = "<p id=log></p><script>onmessage = e => log.textContent = e.data</script>"
        dom = browse(f"<html>{listen}{view._repr_html_()}</html>", tmp_path)
        assert re.search(r'id="log">(layer 0, head 0|Start: 11 bytes)', dom)


def test_importing_viz_opens_no_window():
    code = "import minigpt.classroom.viz, sys; assert not {'matplotlib.pyplot', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
