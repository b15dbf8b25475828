"""minigpt/report.py, against the data that it was given, html.parser, an XML parser and hand-computed ticks."""
import json
import math
import re
import shlex
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt import report
from minigpt.__main__ import parse
from minigpt.config import ModelConfig, OptimConfig, RunConfig, TrainConfig

CONFIG = RunConfig(
    model=ModelConfig(vocab_size=1234), optim=OptimConfig(steps=60, batch_tokens=5000, clip=0.75),
    train=TrainConfig(time_limit=17.0, eval_tokens=43_210),
)  # fmt: skip
SUMMARY = {
    "val_bpb": 1.6249, "val_loss": 3.456, "domains": {"books": 1.789, "drama": 1.591, "speeches": 1.472},
    "compressors": {"books": {"gzip": 2.911, "xz": 2.522}, "drama": {"gzip": 2.833, "xz": 2.344},
                    "speeches": {"gzip": 2.655, "xz": 2.166}, "all": {"gzip": 2.777, "xz": 2.288}},
    "steps": 60, "tokens": 300_000, "seconds": 187.2, "parameters": 5_242_880, "device": "cpu", "precision": "bf16",
    "compile": True, "tokens_per_second": 1603.4, "reason": "horizon",
}  # fmt: skip


def metrics(steps: int = 60) -> list[dict]:
    rows = []
    bpb = {10: 2.81, 20: 2.71, 30: 2.4, 40: 2.2, 50: 1.9}
    for i in range(1, steps + 1):
        rows.append({
            "step": i, "tokens": i * 5000, "train_loss": 3.4 + 4 / i + 0.01 * (i % 3), "lr": 0.003 * min(1, i / 7),
            "grad_norm": 0.5 + 1 / i, "seconds": 0.1 * i, "tokens_per_second": 1600.0,
        })  # fmt: skip
        if i in bpb:
            rows.append({"step": i, "val_bpb": bpb[i], "val_loss": 3.5 + 3 / i})
        if i == 25:
            rows.append({"step": i, "sample": "the of\n  and"})
    return rows


FINAL = [
    {"step": 60, "final": True, "val_bpb": 1.6249, "val_loss": 3.456},
    {"step": 60, "final": True, "sample": "It was."},
]


TYPED = ("pretrain", "--out", "old", "--steps", "60")


def make(folder: Path, rows=None, summary=SUMMARY, config=CONFIG, status=None, command=TYPED) -> Path:
    """Write a run folder: as the arguments say, or finished."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) + "\n" for row in (metrics() + FINAL if rows is None else rows)]
    (folder / "metrics.jsonl").write_text("".join(lines))
    command = ["/somewhere/minigpt/__main__.py", *command]
    start = {"time": "2025-03-04T05:06:07+0000", "command": command, "step": 0, "torch": "2.13.0"}
    for name, value in {"summary": summary, "status": status, "environment": [start]}.items():
        if value is not None:
            (folder / f"{name}.json").write_text(json.dumps(value))
    if config is not None:
        (folder / "config.json").write_text(config.to_json())
    return folder


VOID = {"meta"}


class Page(HTMLParser):
    """Checks that tags are balanced, and collects elements as (tag, attributes, text inside)."""

    def __init__(self, page: str):
        super().__init__()
        self.page, self.open, self.elements = page, [], []
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append([tag, dict(attrs), ""])
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_startendtag(self, tag, attrs):
        self.elements.append([tag, dict(attrs), ""])

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element[2] += data

    def texts(self, tag: str, of_class: str | None = None) -> list[str]:
        found = (e for e in self.elements if e[0] == tag and (not of_class or e[1].get("class") == of_class))
        return [text for _, _, text in found]

    @property
    def charts(self) -> list[ElementTree.Element]:
        return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", self.page, flags=re.S)]


def load(folder: Path) -> Page:
    file = report.write(folder)
    assert file == folder / "report.html"
    return Page(file.read_text(encoding="utf-8"))


def check(page: Page) -> None:
    """What holds for any report: it needs nothing from outside, and every chart is sound and has words for it."""
    allowed = {"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"}
    for tag, attrs, _ in page.elements:
        assert tag not in {"link", "img", "iframe", "object", "use", "image", "base"}
        assert not {"src", "href", "xlink:href", "srcset", "action"} & set(attrs)
        assert tag != "meta" or "http-equiv" not in attrs or attrs["content"] in allowed
    outside = "".join(page.texts("style") + page.texts("script"))
    assert not re.search(r"https?:|//\w|@import|url\(|fetch|import ", outside.replace("// Point at", ""))
    assert len(page.texts("script")) == len(page.texts("style")) == 1
    captions = page.texts("figcaption")
    assert len(captions) == len(page.charts)
    for svg, caption in zip(page.charts, captions):
        assert svg.get("role") == "img" and len(svg.get("aria-label")) >= 20
        assert svg.get("aria-label").endswith(caption) and caption.endswith(".")
        _, _, width, height = map(float, svg.get("viewBox").split())
        for element in svg.iter():
            for x, y in re.findall(r"(\S+),(\S+)", element.get("points", "")):
                assert 0 <= float(x) <= width and 0 <= float(y) <= height
            for name, most in {"x": width, "cx": width, "y": height, "cy": height, "width": width}.items():
                assert 0 <= float(element.get(name, 0)) <= most
            assert not re.search(r"nan|inf\b", element.get("d", ""))


def read_line(svg: ElementTree.Element, name: str) -> list[tuple[float, float]]:
    """A line's values from its drawing, as you would find them with a ruler: by the labels at the ticks."""

    def ticks(style: str, axis: str) -> list[tuple[float, float]]:
        labels = (e for e in svg if e.get("class") == style and re.fullmatch(r"[\d.]+", e.text or ""))
        return [(float(e.get(axis)), float(e.text)) for e in labels]

    (x0, a), *_, (x1, b) = ticks("soft middle", "x")
    (y0, p), *_, (y1, q) = [(y - 4, value) for y, value in ticks("soft end", "y")]  # half a digit's height
    (line,) = [e for e in svg if e.get("data-name") == name]
    points = [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
    return [(a + (x - x0) / (x1 - x0) * (b - a), p + (y - y0) / (y1 - y0) * (q - p)) for x, y in points]


# ---- a finished run --------------------------------------------------------------------------------------------------


def test_a_finished_run_says_what_the_data_say(tmp_path):
    page = load(make(tmp_path / "my run"))
    check(page)
    assert page.texts("h1") == ["my run"] and page.texts("title")[0].startswith("my run")
    (lede,) = page.texts("p", "lede")
    for fact in ("5,242,880 parameters", "300,000 tokens", "3.1 minutes", "cpu, bf16, compiled, 1,603 tokens a second",
                 "1.62 bits for each byte", "gzip needs 2.78; xz needs 2.29"):  # fmt: skip
        assert fact in lede
    bits, loss, rate, norm, domains = page.texts("figcaption")
    assert bits == (
        "It went from 2.81 at step 10 to 1.62 at step 60; below gzip (2.78) by step 20; below xz (2.29) by step 40."
    )
    last = statistics.median(row["train_loss"] for row in metrics()[-2:])  # a fiftieth of 60 steps to the left
    assert loss == (
        f"From 7.41 to {last:.2f} nats per token, where an even guess costs {math.log(1234):.2f}; "
        "on held-out text 3.46."
    )
    assert rate == "At its peak, 0.003, from step 7 to step 60; 0.003 at the end."
    norms = [0.5 + 1 / i for i in range(1, 61)]
    assert norm == f"Its median is {statistics.median(norms):.2g}, the largest 1.5; 3 of 60 were clipped to 0.75."
    assert "books your model 1.79, gzip 2.91, xz 2.52; drama your model 1.59, gzip 2.83, xz 2.34; speeches" in domains
    assert "at most 43,210 tokens" in page.page


def test_the_bars_hold_every_domain_beside_gzip_and_xz(tmp_path):
    page, rows = load(make(tmp_path)), SUMMARY["domains"]
    bars = [e for e in page.charts[-1] if e.tag == "rect"]
    values = [v for name, bpb in rows.items() for v in (bpb, *SUMMARY["compressors"][name].values())]
    lengths = [float(bar.get("width")) for bar in bars]
    assert lengths == pytest.approx([v * lengths[1] / 2.911 for v in values], abs=0.06)  # in proportion, from zero
    shown = [e.text for e in page.charts[-1] if e.tag == "text" and e.get("class") is None]
    assert shown == [f"{value:.2f}" for value in values]


def test_a_reader_with_a_ruler_finds_the_data_in_the_charts(tmp_path):
    bits, loss, rate, *_ = load(make(tmp_path)).charts
    assert len([e for e in bits if e.tag == "circle"]) == 6
    seen = [(10, 2.81), (20, 2.71), (30, 2.4), (40, 2.2), (50, 1.9), (60, 1.6249)]
    for found, (step, bpb) in zip(read_line(bits, "your model"), seen, strict=True):
        assert found == pytest.approx((step, bpb), abs=0.02)
    assert read_line(bits, "xz") == [pytest.approx((x, 2.288), abs=0.02) for x in (0, 60)]
    rates = [(i, 0.003 * min(1, i / 7)) for i in range(1, 61)]
    for found, expected in zip(read_line(rate, "AdamW"), rates, strict=True):
        assert found == (pytest.approx(expected[0], abs=0.2), pytest.approx(expected[1], abs=3e-5))
    held = [(row["step"], row["val_loss"]) for row in metrics() + FINAL if "val_loss" in row]
    for found, expected in zip(read_line(loss, "held-out"), held, strict=True):
        assert found == pytest.approx(expected, abs=0.1)


def test_the_numbers_that_a_pointer_reads_are_the_data(tmp_path):
    """The page's script turns positions into values by data-box and data-range; so does this."""
    page = load(make(tmp_path))
    held = [(row["step"], row["val_loss"]) for row in metrics() + FINAL if "val_loss" in row]
    norms = [(i, 0.5 + 1 / i) for i in (1, 2, 60)]
    for svg, name, expected in ((page.charts[1], "held-out", held), (page.charts[3], "gradient", norms)):
        left, right, top, bottom = map(float, svg.get("data-box").split())
        end, low, high, log = map(float, svg.get("data-range").split())
        (line,) = [e for e in svg if e.get("data-name") == name]
        points = [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
        values = [low + (bottom - y) / (bottom - top) * (high - low) for _, y in points]
        found = [((x - left) / (right - left) * end, 10**v if log else v) for (x, _), v in zip(points, values)]
        assert len(found) == (6 if name == "held-out" else 60)
        for x, y in expected:
            assert any(a == pytest.approx(x, abs=0.01) and b == pytest.approx(y, rel=0.03) for a, b in found), (x, y)


def test_lines_are_told_apart_without_colour(tmp_path):
    page = load(make(tmp_path))
    (css,) = page.texts("style")
    rules = [re.search(rf"^\.{style} {{(.*)}}", css, flags=re.M)[1] for style in report.STYLES]
    dashes = {"".join(re.findall(r"dasharray: ([\d ]*\d)", rule)) for rule in rules}
    assert len(dashes) == 3
    for svg in page.charts[:4]:
        lines = [e for e in svg if e.get("data-name")]
        assert len({e.get("class") for e in lines}) == len(lines)
        labels = ["".join(e.itertext()) for e in svg if e.get("class") == "label"]
        places = sorted((float(e.get("y")), float(e[0].text)) for e in svg if e.get("class") == "label")
        heights, values = zip(*places)
        assert list(values) == sorted(values, reverse=True)  # in the order in which the lines end
        assert sorted(label.rpartition(" ")[0] for label in labels) == sorted(e.get("data-name") for e in lines)
        assert all(b - a > 14 for a, b in zip(heights, heights[1:]))  # the text is 13 high


def test_contrast_by_the_formula_of_wcag(tmp_path):
    (css,) = load(make(tmp_path)).texts("style")

    def luminance(colour: str) -> float:
        colour = colour if len(colour) == 6 else "".join(2 * c for c in colour)
        parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    schemes = [dict(re.findall(r"--(\w+): #(\w+)", block)) for block in re.findall(r":root {(.*?)}", css, flags=re.S)]
    assert len(schemes) == 2
    for scheme in schemes:
        paper, panel = luminance(scheme["paper"]), luminance(scheme["panel"])
        for name, least in {"ink": 7, "soft": 4.5, "solid": 3, "dashed": 3, "dotted": 3}.items():
            low, high = sorted((luminance(scheme[name]), paper))
            assert (high + 0.05) / (low + 0.05) >= least, name
        low, high = sorted((luminance(scheme["ink"]), panel))
        assert (high + 0.05) / (low + 0.05) >= 7


def test_one_domain_is_compared_too_and_is_all_there_is(tmp_path):
    packed = {"books": {"gzip": 2.911, "xz": 2.522}}
    page = load(make(tmp_path, summary={**SUMMARY, "domains": {"books": 1.6249}, "compressors": packed}))
    assert "gzip needs 2.91; xz needs 2.52" in page.texts("p", "lede")[0]
    assert "below gzip (2.91) by step 10; below xz (2.52) by step 30." in page.texts("figcaption")[0]


def test_samples_keep_their_whitespace(tmp_path):
    page = load(make(tmp_path))
    assert page.texts("pre", "sample") == ["\nthe of\n  and", "\nIt was."]
    assert {"Step 25", "Step 60"} <= set(page.texts("h3"))


def test_the_configuration_and_the_environment_are_on_the_page(tmp_path):
    shown = load(make(tmp_path)).texts("pre")
    assert CONFIG.to_json() in shown
    (start,) = next(json.loads(text) for text in shown if text.startswith("["))
    assert start["torch"] == "2.13.0"


# ---- commands --------------------------------------------------------------------------------------------------------


def commands(page: Page) -> list[list[str]]:
    return [shlex.split(text) for text in page.texts("pre") if text.startswith("python")]


def pretrain(arguments: list[str]) -> RunConfig:
    return parse(tyro.conf.OmitArgPrefixes[RunConfig], arguments, "pretrain", default=RunConfig())


def test_the_commands_are_ones_that_the_command_line_understands(tmp_path):
    folder = tmp_path / "it's <my> run"
    prompt = "a 'b' & <c>"
    typed = ["pretrain", "--seed", "3", "--out", "an old place", "--resume", "--time-limit=17", "--prompt", prompt]
    page = load(make(folder, command=typed))
    check(page)
    exact, chat, sample, longer = commands(page)
    assert exact == ["python", "-m", "minigpt", *typed]
    assert chat == ["python3", "course.py", "chat", "--run", folder.as_posix()]
    assert sample[:5] == ["python3", "course.py", "sample", "--run", folder.as_posix()]
    assert longer[:3] == ["python3", "course.py", "pretrain"] and len(set(longer)) == len(longer)
    config = pretrain(longer[3:])
    assert (config.optim.steps, config.optim.seed, config.train.time_limit) == (240, 3, 0.0)
    assert "--time-limit=17" not in longer
    assert (config.train.out, config.train.resume) == (f"{folder.as_posix()}-longer", False)
    assert config.train.prompt == prompt


def test_an_unfinished_run_goes_on_by_its_own_command(tmp_path):
    for typed, expected in {
        ("pretrain", "--steps", "60"): ["--steps", "60", "--out", str(tmp_path), "--resume"],
        ("pretrain", "--out", "x", "--steps", "60", "--resume"): ["--steps", "60", "--out", str(tmp_path), "--resume"],
    }.items():
        page = load(make(tmp_path, rows=metrics(31), summary=None, command=typed))
        assert commands(page)[-1] == ["python3", "course.py", "pretrain", *expected]


def test_a_run_that_a_notebook_started_shows_no_made_up_command(tmp_path):
    page = load(make(tmp_path, command=("-f", "kernel.json")))
    assert [words[2] for words in commands(page)] == ["chat", "sample"]


# ---- partial and strange data ----------------------------------------------------------------------------------------


def test_an_unfinished_run_says_so(tmp_path):
    status = {"status": "preempted", "reason": "interrupted", "step": 31, "steps": 60}
    page = load(make(tmp_path, rows=metrics(31), summary=None, status=status))
    check(page)
    assert page.texts("p", "lede") == ["Not finished yet: the log ends at step 31 of 60. It stopped: interrupted."]
    assert page.texts("figcaption")[0] == "It went from 2.81 at step 10 to 2.40 at step 30."
    assert len(page.charts) == 4 and "The last dot" not in page.page


def test_a_summary_of_a_shorter_horizon_is_not_believed(tmp_path):
    page = load(make(tmp_path, summary={**SUMMARY, "steps": 40}))
    assert page.texts("p", "lede")[0].startswith("Not finished yet: the log ends at step 60.")
    assert "gzip" not in page.texts("figcaption")[0]


def test_an_empty_folder_and_an_empty_log_make_a_page(tmp_path):
    for page in (load(tmp_path), load(make(tmp_path, rows=[], summary=None)), load(make(tmp_path, rows=[]))):
        check(page)
        assert len(page.texts("h2")) == 6
        assert {"Nothing has been evaluated yet.", "No step has been logged yet."} <= set(page.texts("p"))


def test_one_row_is_enough_and_a_half_written_line_does_no_harm(tmp_path):
    folder = make(tmp_path, rows=metrics(1), summary=None, config=None)
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 2, "train_lo')
    page = load(folder)
    check(page)
    assert len(page.charts) == 3 and page.texts("p", "lede") == ["Not finished yet: the log ends at step 1."]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None, 1e300])
def test_values_that_are_not_finite_leave_the_charts_sound(tmp_path, bad):
    rows = metrics() + FINAL
    for row in rows:
        if row["step"] in (1, 10, 33, 60):
            row.update({key: bad for key in ("train_loss", "grad_norm", "val_bpb", "val_loss") if key in row})
    summary = {**SUMMARY, "val_bpb": bad or math.nan, "domains": {"books": bad, "drama": 1.5}}
    page = load(make(tmp_path, rows=rows, summary=summary))
    check(page)
    bits, loss, *_ = page.texts("figcaption")
    assert bits.startswith("It went from 2.71 at step 20 to 1.90 at step 50;")
    assert loss.endswith("not finite, and left out: 4.")
    check(load(make(tmp_path, rows=[{k: bad if k == "train_loss" else v for k, v in row.items()} for row in rows])))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(), min_size=1, max_size=9))
def test_any_losses_at_all_make_sound_charts(losses):
    rows = [{"step": i + 1, "train_loss": v, "lr": abs(v), "grad_norm": v} for i, v in enumerate(losses)]
    steps = [{"step": i + 1, "val_bpb": v, "val_loss": v} for i, v in enumerate(losses)]
    log = report.Log(Path("x"), RunConfig(), {}, {}, [], rows, steps, [], len(losses))
    check(Page(report.page(log)))


def test_one_wild_loss_does_not_flatten_the_picture(tmp_path):
    rows = metrics() + FINAL
    rows[40]["train_loss"] = 1e7
    loss = load(make(tmp_path, rows=rows)).charts[1]
    _, low, high, _ = map(float, loss.get("data-range").split())
    assert 3 < low < high < 10


EVIL = "</pre><script>alert('x')</script><img src=x onerror=y> & \"q\" \x00\x1b[31m\ud800 \U0001f600"


def test_text_from_outside_is_shown_and_never_run(tmp_path):
    shown = re.sub("[\x00\x1b\ud800]", "\ufffd", EVIL)
    config = replace(CONFIG, train=replace(CONFIG.train, prompt=EVIL[:20]))
    rows = metrics() + [{"step": 60, "sample": EVIL}, {"step": 60, "val_bpb": 1.6, "val_loss": 3.4}]
    summary = {**SUMMARY, "device": EVIL, "precision": EVIL, "domains": {EVIL: 1.5, "books": 1.7},
               "compressors": {"all": {EVIL: 2.5}, EVIL: {EVIL: 2.6}}}  # fmt: skip
    page = load(make(tmp_path / "a<script>b&c", rows, summary, config, command=("pretrain", "--text", EVIL)))
    check(page)
    assert page.texts("h1") == ["a<script>b&c"]
    assert page.texts("pre", "sample")[-1] == "\n" + shown
    page = load(make(tmp_path / "unfinished", rows, None, config, status={"steps": 99, "reason": EVIL}))
    check(page)
    assert shown in page.texts("p", "lede")[0]


def test_writing_replaces_the_file_and_leaves_nothing_beside_it(tmp_path):
    before = {p.name for p in make(tmp_path).iterdir()}
    (tmp_path / "report.html").write_text("old")
    assert "old" != report.write(tmp_path).read_text()[:3]
    assert {p.name for p in tmp_path.iterdir()} == before | {"report.html"}


# ---- cost ------------------------------------------------------------------------------------------------------------


def test_a_report_costs_milliseconds_and_needs_no_numerics(tmp_path):
    rows = [{**row, "step": row["step"] + 60 * i} for i in range(5) for row in metrics()]
    folder = make(tmp_path, rows=rows, summary=None)
    times = []
    for _ in range(5):
        start = time.process_time()
        report.page(report.read(folder))
        times.append(time.process_time() - start)
    assert min(times) < 0.05
    code = "import sys, minigpt.report as r; r.page(r.read(r.Path('.'))); print({'torch', 'numpy'} & set(sys.modules))"
    root = Path(report.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "set()", done.stderr


def test_a_long_run_is_thinned_and_keeps_its_spikes():
    line = [(i, float(i % 7 if i < 5000 else -i % 7)) for i in range(10_001)]
    line[4321] = (4321, 99.0)
    line[8765] = (8765, -99.0)
    thinned = report.thin(line)
    assert 400 < len(thinned) <= report.POINTS and thinned == sorted(thinned)
    assert set(thinned) <= set(line) and {(4321, 99.0), (8765, -99.0)} <= set(thinned)
    assert report.thin(line[: report.POINTS]) == line[: report.POINTS]


# ---- small functions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "low, high, most, ticks",
    [
        (0, 10, 6, [0, 2, 4, 6, 8, 10]),
        (1.6, 7.9, 6, [2, 3, 4, 5, 6, 7]),
        (0, 0.003, 6, [0, 0.001, 0.002, 0.003]),
        (-0.31, 0.29, 4, [-0.2, 0, 0.2]),
        (2.71, 2.74, 4, [2.71, 2.72, 2.73, 2.74]),
        (0, 2.5e9, 8, [0, 5e8, 1e9, 1.5e9, 2e9, 2.5e9]),
        (0.3, 0.9, 3, [0.4, 0.6, 0.8]),
    ],
)
def test_ticks_computed_by_hand(low, high, most, ticks):
    assert report.nice_ticks(low, high, most) == ticks


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(3, 9))
def test_ticks_lie_inside_evenly_and_are_few(low, length, most):
    ticks = report.nice_ticks(low, low + length, most)
    assert 1 <= len(ticks) <= most and ticks == sorted(set(ticks))
    slack = 1e-6 * (abs(low) + length)
    assert low - slack <= ticks[0] and ticks[-1] <= low + length + slack
    steps = {f"{b - a:.1e}" for a, b in zip(ticks, ticks[1:]) if abs(b) < 1e3 * length}
    assert len(steps) <= 1 and all(step[:3] in ("1.0", "2.0", "5.0") for step in steps)


def test_smoothing_is_the_naive_moving_median():
    line = [(3 * i, float((i * 37) % 101)) for i in range(150)]
    expected = []
    for i in range(150):
        half = min(3, i)  # a fiftieth of 150
        expected.append((3 * i, statistics.median([y for _, y in line[max(0, i - half) : min(150, i + half + 1)]])))
    assert report.smooth(line) == expected
    few = report.smooth(line, most=50)
    assert len(few) == 50 and set(few) <= set(expected) and few[0] == expected[0] and few[-1] == expected[-1]
    assert [y for _, y in report.smooth([(1, 6.0), (2, 3.0), (3, 0.0), (4, 1.0)], share=0.25)] == [6, 3, 1, 0.5]
    assert report.smooth([]) == []


def test_durations_in_words():
    assert [report.duration(s) for s in (4.46, 98.4, 187, 7500)] == [
        "4.5 seconds", "98.4 seconds", "3.1 minutes", "2.1 hours"
    ]  # fmt: skip
