"""The sampling playground computes what minigpt.sampling does, and can be used by keyboard and without a script."""
import html
import json
import random
import re

import pytest
import torch
from test_viz import browse, needs_browser

from minigpt.classroom.sampling_view import SamplingView
from minigpt.classroom.viz import png
from minigpt.sampling import draw_ids, probabilities
from minigpt.tokenizer import END_OF_TEXT, Tokenizer, gpt2_tokenizer

TOKENIZER = Tokenizer([(b" ", b"t"), (b"h", b"e"), (b"<", b"/"), (b" t", b"he")], (END_OF_TEXT,))  # 261 ids


def some_logits():
    """Ordinary ones; ones with many equals; ones where a single token has nearly everything."""
    g = torch.Generator().manual_seed(3)
    ordinary = 3 * torch.randn(261, generator=g)
    sure = ordinary.clone()
    sure[77] = 40.0
    return {"ordinary </script>": ordinary, "ties": torch.randint(4, (261,), generator=g).float(), "sure": sure}


def knob_settings(n):
    """Off, greedy, and many at random; top_p stays off the sums that ties could reach exactly."""
    rng = random.Random(5)
    yield dict(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)
    yield dict(temperature=0.0, top_k=0, top_p=1.0, min_p=0.0)
    for _ in range(n):
        choices = dict(temperature=[0.05, 0.7, 1.0, 2.0], top_k=[0, 1, 5, 40, 400], top_p=[0.0513, 0.5137, 0.9123, 1.0],
                       min_p=[0.0, 0.013, 0.37, 1.0])  # fmt: skip
        yield {name: rng.choice(values) for name, values in choices.items()}


def in_browser(page, tmp_path, code):
    """What `code` puts into `out`, after the page's own script has run in a browser without network."""
    tell = 'document.body.innerHTML = "OUT" + JSON.stringify(out) + "END"'
    dom = browse(page, tmp_path, f"const out = []; {code}; {tell}")
    return json.loads(html.unescape(re.search("OUT(.*)END", dom, re.S)[1]))


def test_the_page_needs_nothing_from_outside_and_is_always_the_same():
    page = SamplingView(some_logits(), TOKENIZER).page()
    assert page == SamplingView(some_logits(), TOKENIZER).page()
    code = re.sub(r'"logits":"[^"]*"', "", page)  # letters of base64, which may spell anything
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|import\(|XMLHttp|random|Date", code)
    assert page.count("</script>") == 1  # neither a token nor a prompt can end the script
    assert "aria-live" in page and "color-scheme: light dark" in page
    assert len(SamplingView(some_logits(), TOKENIZER)._repr_html_().encode()) <= 200_000


def test_three_prompts_of_the_default_vocabulary_fit_into_a_notebook():
    merges = gpt2_tokenizer().merges[: 4096 - 257]
    tokenizer = Tokenizer(merges, (END_OF_TEXT,), alphabet=gpt2_tokenizer().alphabet)
    logits = {prompt: torch.randn(4096, generator=torch.Generator().manual_seed(i)) for i, prompt in enumerate("abc")}
    assert "iframe" in SamplingView(logits, tokenizer)._repr_html_()


def test_wrong_arguments_are_named():
    with pytest.raises(AssertionError, match=r"needs logits \(261,\), not \(7,\)"):
        SamplingView({"a": torch.zeros(7)}, TOKENIZER)
    with pytest.raises(AssertionError, match="the knobs are temperature"):
        SamplingView({"a": torch.zeros(261)}, TOKENIZER, topk=3)


def test_the_static_twin_shows_both_distributions():
    logits = torch.arange(261) / 50
    fig = SamplingView({"x": logits, "a\ny": logits.flip(0)}, TOKENIZER, top_k=3).figure()
    left, right = fig.axes
    before, now = probabilities(logits), probabilities(logits, top_k=3)
    widths = [bar.get_width() for bar in left.patches]
    best = list(range(260, 248, -1))
    assert widths == pytest.approx([*before[best].tolist(), *now[best].tolist()])
    assert [t.get_text() for t in left.get_yticklabels()][:2] == ["<|endoftext|>", "·the"]
    assert [t.get_text() for t in left.texts] == [" out"] * 9 and "top-k 3" in fig.get_suptitle()
    assert right.get_title() == "… a⏎y"
    png(fig)


@needs_browser
def test_the_page_computes_what_filter_logits_does(tmp_path):
    settings, cases = list(knob_settings(60)), some_logits()
    code = f"""for (const {{logits}} of prompts) for (const set of {json.dumps(settings)})
                 out.push([...probabilities(logits, set)].map((p, i) => [i, p]).filter(([, p]) => p > 0))"""
    found = iter(in_browser(SamplingView(cases, TOKENIZER).page(), tmp_path, code))
    for logits in cases.values():
        for knobs in settings:
            ours = probabilities(logits.double(), **knobs)
            theirs = dict(next(found))
            assert set(theirs) == set(ours.nonzero()[:, 0].tolist()), knobs
            assert list(theirs.values()) == pytest.approx(ours[list(theirs)].tolist(), rel=1e-9), knobs


@needs_browser
def test_the_page_draws_what_the_package_draws(tmp_path):
    rng, weights = random.Random(8), probabilities(some_logits()["ordinary </script>"].double(), top_k=9)
    uniforms = [rng.random() for _ in range(200)] + [1.0, 1e-12]
    code = f"""const p = Float64Array.from({json.dumps(weights.tolist())})
               out.push({json.dumps(uniforms)}.map(u => drawn(p, u)), [...Array(4000).keys()].map(uniform))"""
    tokens, dice = in_browser(SamplingView(some_logits(), TOKENIZER).page(), tmp_path, code)
    assert tokens == draw_ids(weights.expand(len(uniforms), -1), uniforms).tolist()
    assert min(dice) > 0 and max(dice) <= 1 and len(set(dice)) > 3990
    tenths = [sum(i / 10 < u <= (i + 1) / 10 for u in dice) for i in range(10)]
    assert sum((n - 400) ** 2 / 400 for n in tenths) < 27.9  # chi-square, 9 degrees: one in a thousand is above


@needs_browser
def test_the_knobs_and_the_button_work(tmp_path):
    cases = some_logits()
    code = """const el = id => document.getElementById(id), said = () => out.push(el("said").textContent)
              said(); el("top_k").value = 5; el("top_k").oninput(); said()
              el("prompt").value = 2; el("prompt").onchange(); said()
              el("temperature").value = 0; el("temperature").oninput(); said()
              el("draw").click(); out.push(el("got").textContent, el("seed").value)
              out.push(document.querySelectorAll(".drawn").length)
              el("min_p").value = 0.5; el("min_p").oninput(); out.push(el("got").textContent)"""
    told = in_browser(SamplingView(cases, TOKENIZER).page(), tmp_path, code)
    first, five, sure, greedy, got, seed, marked, cleared = told
    p = probabilities(cases["ordinary </script>"].double())
    bits = -(p * p.log2()).sum().item()
    assert first.startswith("261 of 261 tokens stay in the draw.") and f"Entropy {bits:.2f} bits" in first
    lost = 1 - p.sort(descending=True).values[:5].sum().item()
    assert five.startswith("5 of 261") and f"had {100 * lost:.1f} % of" in five
    assert sure.startswith("5 of 261") and greedy.startswith("1 of 261")
    assert got.startswith("seed 0 draws “M”") and "100.0 %" in got and seed == "1" and marked == 1 and cleared == ""
