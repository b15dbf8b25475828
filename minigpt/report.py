"""A run folder as one page, `report.html`: how good, how it got there, what it writes, and how to do it again.

The page is a single file that needs nothing else. Its charts are SVG, made here of numbers and strings: without numpy,
matplotlib or torch, because a short run must not wait for its report (about 10 ms for 300 steps).

Three rules for every chart: lines are told apart by the name at their end and by their dashes, colour only helps; one
sentence beneath says what there is to see, computed from the data; a screen reader hears that same sentence.
"""
import html
import json
import math
import os
import re
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from string import Template

from .config import Passing, RunConfig, UserError, from_dict, reference
from .files import write_atomic

POINTS = 500
"""Most points of a line: the chart is not many more pixels wide, and a long run has a hundred times as many steps."""
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 840, 52, 150, 26, 44
"""Of a chart, in SVG units: its width, and the margins around the plot; the right one holds the lines' names."""
STYLES = ("solid", "dashed", "dotted")
"""Of lines and bars in one picture, in this order."""


# ---- reading ---------------------------------------------------------------------------------------------------------


def read_metrics(file: Path) -> list[dict]:
    """The objects of metrics.jsonl, as far as its lines are whole: a crash can leave half of one at the end."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def read_json(file: Path, default):
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else default


def refused(out: str | Path, resume: bool, error: UserError) -> None:
    """Say in status.json that a start was a mistake, and if trying again is of use; rank 0 says it. Not in a folder
    of something else, and not if it holds a run that was not to be resumed, whose status is its own."""
    file = Path(out) / "status.json"
    ours = file.parent.is_dir() if resume else file.exists() and not file.with_name("config.json").exists()
    if out and ours and os.environ.get("RANK", "0") == "0":
        with suppress(OSError):
            row = {"status": "failed", "reason": f"UserError: {error}", "retry": isinstance(error, Passing)}
            write_atomic(file, json.dumps({**read_json(file, {}), **row}) + "\n")


def is_finite(value) -> bool:
    """Whether a value can be drawn: a number, and not one so large that sums of it overflow."""
    return isinstance(value, (int, float)) and abs(value) < 1e100


def points(rows: list[dict], key: str) -> list[tuple[float, float]]:
    """(step, value) of each row whose value is a finite number.

    Example: points([{"step": 2, "lr": 0.1}, {"step": 4, "lr": nan}], "lr") -> [(2, 0.1)]
    """
    return [(row["step"], row[key]) for row in rows if is_finite(row.get(key))]


def thin(line: list[tuple[float, float]], most: int = POINTS) -> list[tuple[float, float]]:
    """At most `most` of the points: the lowest and the highest of each stretch, so that no spike is lost."""
    size = math.ceil(2 * len(line) / most)
    stretches = (sorted(line[i : i + size], key=lambda p: p[1]) for i in range(0, len(line), size))
    return [p for stretch in stretches for p in sorted({stretch[0], stretch[-1]})]


def smooth(line: list[tuple[float, float]], share: float = 0.02, most: int = POINTS) -> list[tuple[float, float]]:
    """A moving median of `share` of the points to either side, at `most` points spread evenly over the line.

    It does not lag behind as an exponential mean does, and one wild step does not bend it. At the start, where a loss
    is steep, the window narrows on both sides alike; at the end it is cut off.

    Example: smooth([(1, 6.0), (2, 3.0), (3, 0.0), (4, 1.0)], share=0.25) -> [(1, 6.0), (2, 3.0), (3, 1.0), (4, 0.5)]
    """
    smoothed, count = [], min(most, len(line))
    for k in range(count):
        i = k * (len(line) - 1) // max(1, count - 1)
        half = min(i, round(share * len(line)))
        smoothed.append((line[i][0], median(y for _, y in line[i - half : i + half + 1])))
    return smoothed


# ---- text ------------------------------------------------------------------------------------------------------------


def escape(value) -> str:
    """Text that is safe in HTML and in SVG: control characters, an error there, and turns of the reading direction
    become U+FFFD."""
    allowed = r"\t\n\x20-\x7e\xa0-\u2029\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff"
    return html.escape(re.sub(f"[^{allowed}]", "\ufffd", str(value)))


def duration(seconds: float) -> str:
    """Example: duration(98.4) -> "98.4 seconds"; duration(187) -> "3.1 minutes"; duration(7500) -> "2.1 hours" """
    size, unit = next(u for u in ((3600, "hours"), (60, "minutes"), (1, "seconds")) if seconds >= 2 * u[0] or u[0] == 1)
    return f"{seconds / size:.1f} {unit}"


# ---- charts ----------------------------------------------------------------------------------------------------------


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` multiples of 1, 2 or 5 times a power of ten within [low, high], as close as that allows.

    Example: nice_ticks(1.6, 7.9) -> [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]; nice_ticks(0, 0.003) -> [0, 0.001, 0.002, 0.003]
    """
    power = math.floor(math.log10((high - low) / most))
    for step in (digit * 10.0**power for digit in (1, 2, 5, 10)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def line_chart(alt: str, y_name: str, lines, end: int, height: int = 320, log_scale: bool = False) -> str:
    """Lines over the steps 0 … `end` as an SVG; with `log_scale` the y axis is logarithmic.

    `lines` holds (name, [(step, value), …], style) for each. The name, unless it is empty, and the last value are
    written at its end; values are finite, and positive on a logarithmic axis; the style, a CSS class, is one of STYLES
    or `raw`. The points of a solid line are marked where they are few.
    """
    scale, unscale = (math.log10, lambda y: float(f"{10**y:.2g}")) if log_scale else (float, float)
    lines = [(name, line, style) for name, line, style in lines if line]
    values = [scale(y) for _, line, _ in lines for _, y in line]
    low, high = min(values), max(values)
    room = max(0.05 * (high - low or abs(high)), 1e-9)
    low, high = low - room, high + room
    right, bottom, end = WIDTH - RIGHT, height - BOTTOM, max(1, end)

    def across(step: float) -> float:
        return round(LEFT + step / end * (right - LEFT), 2)

    def down(y: float) -> float:
        return round(bottom - (y - low) / (high - low) * (bottom - TOP), 2)

    def text(style: str, at: float, y: float, content: str) -> str:
        return f'<text class="{style}" x="{at}" y="{y:g}">{content}</text>'

    drawn = [text("soft", 0, 12, escape(y_name)), text("soft end", right, height - 6, "training steps")]
    for tick in nice_ticks(low, high, 6 if height > 200 else 4):
        drawn.append(f'<path class="grid" d="M{LEFT} {down(tick)}H{right}"/>')
        drawn.append(text("soft end", LEFT - 8, down(tick) + 4, f"{unscale(tick):,.12g}"))
    drawn.append(f'<path class="axis" d="M{LEFT} {bottom}H{right}"/>')
    for tick in nice_ticks(0, end, 8):
        drawn.append(f'<path class="axis" d="M{across(tick)} {bottom}v5"/>')
        drawn.append(text("soft middle", across(tick), bottom + 19, f"{tick:,.12g}"))
    for name, line, style in lines:
        places = [(across(step), down(scale(y))) for step, y in line]
        path = " ".join(f"{left},{top}" for left, top in places)
        drawn.append(f'<polyline class="line {style}" data-name="{escape(name)}" points="{path}"/>')
        if style == "solid" and len(places) <= 40:
            drawn += [f'<circle class="dot {style}" cx="{left}" cy="{top}" r="3"/>' for left, top in places]
    y = 0.0
    for last, name in sorted(((line[-1][1], name) for name, line, _ in lines if name), reverse=True):
        y = max(down(scale(last)) + 5, y + 18)  # names beneath one another where lines end close together
        drawn.append(text("label", right + 12, y, f"{escape(name)} <tspan>{last:.3g}</tspan>"))
    drawn.append(f'<path class="rule"/><text class="read end" x="{right}" y="12"/>')
    return (
        f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {WIDTH} {height}" '
        f'data-box="{LEFT} {right} {TOP} {bottom}" data-range="{end} {low:.6g} {high:.6g} {int(log_scale)}">'
        f'{"".join(drawn)}</svg>'
    )


def bar_chart(alt: str, groups: dict[str, dict[str, float]]) -> str:
    """{group: {name: value}} as horizontal bars from zero, with the names before them and the values behind."""
    longest = max(value for bars in groups.values() for value in bars.values()) or 1.0
    drawn, y = [], 0
    for group, bars in groups.items():
        drawn.append(f'<text class="label" x="0" y="{y + 12}">{escape(group[:20])}</text>')
        for (name, value), style in zip(bars.items(), STYLES):
            length = round(value / longest * (WIDTH - 300), 1)
            drawn.append(f'<text class="soft end" x="222" y="{y + 12}">{escape(name)}</text>')
            drawn.append(f'<rect class="bar {style}" x="232" y="{y + 1}" width="{length}" height="14"/>')
            drawn.append(f'<text x="{239 + length}" y="{y + 12}">{value:.2f}</text>')
            y += 18
        y += 12
    return f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {WIDTH} {y}">{"".join(drawn)}</svg>'


def figure(title: str, words: str, chart, *args, **options) -> str:
    """A chart with its sentence beneath, which is also its alternative text."""
    return f"<figure>{chart(f'{title}: {words}', *args, **options)}<figcaption>{escape(words)}</figcaption></figure>"


# ---- the page --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Log:
    """A run folder as plain JSON values; what an unfinished run does not have yet is empty."""

    folder: Path
    config: RunConfig
    summary: dict
    """Empty unless the run has finished."""
    status: dict
    starts: list[dict]
    """environment.json."""
    steps: list[dict]
    """Lines of metrics.jsonl that tell of a training step; the next two, of an evaluation and of a sample."""
    evaluations: list[dict]
    samples: list[dict]
    end: int
    """The last step."""

    def packed(self, domain: str) -> dict[str, float]:
        """Bits per byte of the compressors on a domain's held-out text, or on `all` of it; one domain alone is all."""
        found = self.summary.get("compressors", {})
        return found.get(domain, {}) if len(found) != 1 else next(iter(found.values()))


def read(folder: Path) -> Log:
    """Read a run folder, finished or not."""
    rows = read_metrics(folder / "metrics.jsonl")
    config, summary, status = (read_json(folder / f"{name}.json", {}) for name in ("config", "summary", "status"))
    end = max((row["step"] for row in rows), default=0)
    if end > summary.get("steps", 0):
        summary = {}  # it tells of a shorter horizon: the run has been resumed since
    kinds = ([row for row in rows if key in row] for key in ("train_loss", "val_bpb", "sample"))
    starts = read_json(folder / "environment.json", [])
    return Log(folder, from_dict(RunConfig, config), summary, status, starts, *kinds, end)


def introduction(log: Log) -> str:
    """The run in one paragraph."""
    s = log.summary
    if not s:
        total, reason = log.status.get("steps"), log.status.get("reason")
        text = f"the log ends at step {log.end:,}{f' of {total:,}' if total else ''}."
        text += f" It stopped: {escape(reason)}." if reason else ""
        return f'<p class="lede"><strong>Not finished yet:</strong> {text}</p>'
    how = f"{s['device']}, {s['precision']}{', compiled' if s['compile'] else ''}"
    packed = "".join(f"; {escape(name)} needs {bpb:.2f}" for name, bpb in log.packed("all").items())
    return (
        f'<p class="lede">A model of {s["parameters"]:,} parameters, trained on {s["tokens"]:,} tokens in '
        f"{duration(s['seconds'])} ({escape(how)}, {s['tokens_per_second']:,.0f} tokens a second). It needs "
        f"<strong>{s['val_bpb']:.2f} bits for each byte</strong> of text that was held out from training{packed}. "
        "Fewer is better.</p>"
    )


def held_out(log: Log) -> str:
    """Bits per byte while training, beside what gzip and xz need."""
    seen = points(log.evaluations, "val_bpb")
    if not seen:
        return "<p>Nothing has been evaluated yet.</p>"
    (first_step, first), (last_step, last) = seen[0], seen[-1]
    facts = [f"It went from {first:.2f} at step {first_step:,} to {last:.2f} at step {last_step:,}"]
    lines = [("your model", seen, STYLES[0])]
    for (name, bpb), style in zip(log.packed("all").items(), STYLES[1:]):
        passed = next((step for step, y in seen if y < bpb), None)
        facts.append(f"below {name} ({bpb:.2f}) by step {passed:,}" if passed else f"not below {name} ({bpb:.2f})")
        lines.append((name, [(0, bpb), (log.end, bpb)], style))
    chart = figure("Bits per byte", "; ".join(facts) + ".", line_chart, "bits per byte", lines, log.end)
    return (
        f'{chart}<p class="note">Bits per byte is the size that the text would have if it were compressed with your '
        "model's predictions; without any prediction a byte takes 8 bits. While training, it is measured on at most "
        f"{log.config.train.eval_tokens:,} tokens; at the end, on all held-out text.</p>"
    )


def training(log: Log) -> str:
    """Loss, learning rate and gradient norm beneath one another, over the same steps."""
    charts, config = [], log.config

    def add(title: str, sentence: str, y_name: str, *lines, **options):
        charts.append(f"<h3>{title}</h3>" + figure(title, sentence, line_chart, y_name, lines, log.end, **options))

    if raw := points(log.steps, "train_loss"):
        middle, held = smooth(raw), points(log.evaluations, "val_loss")
        # the first fiftieth falls so steeply that it would leave no height for the rest, and so does a single spike
        start = middle[len(middle) // 50][0]
        top = max(y for step, y in middle + held if step >= start)
        text = f"From {raw[0][1]:.2f} to {middle[-1][1]:.2f} nats per token, "
        text += f"where an even guess costs {math.log(config.model.vocab_size):.2f}"
        if held:
            text += f"; on held-out text {held[-1][1]:.2f}"
        if bad := len(log.steps) - len(raw):
            text += f"; not finite, and left out: {bad:,}"
        lines, published = [thin(raw), middle, held], []
        if curve := reference(config):
            steps = [step for step, _ in curve.points] + [max(log.end, 1)]
            published = [(step, curve.at(step)) for step in sorted(steps) if curve.points[0][0] <= step <= log.end]
        if published:
            text += (f"; published for this model at step {log.end:,}: {published[-1][1]:.2f}, comparable only "
                     f"where your data, too, is {curve.data} (source: {curve.source})")  # fmt: skip
        shown = ([(step, min(y, top)) for step, y in line if step >= start] for line in (*lines, published))
        styles = zip(("", "training", "held-out", "published"), shown, ("raw", "solid", "dashed", "dotted"))
        add("Loss", text + ".", "nats per token", *styles)
    if rates := points(log.steps, "lr"):
        peak = max(rate for _, rate in rates)
        top = [step for step, rate in rates if rate >= 0.999 * peak]
        text = f"At its peak, {peak:.3g}, from step {top[0]:,} to step {top[-1]:,}; {rates[-1][1]:.3g} at the end."
        add("Learning rate", text, "per step", ("AdamW", thin(rates), "solid"), height=150)
    if norms := [(step, norm) for step, norm in points(log.steps, "grad_norm") if norm > 1e-30]:
        values, clip = [norm for _, norm in norms], config.optim.clip
        text = f"Its median is {median(values):.2g}, the largest {max(values):.2g}"
        lines = [("", thin(norms), "raw"), ("gradient", smooth(norms), "solid")]
        if clip:
            text += f"; {sum(norm > clip for norm in values):,} of {len(values):,} were clipped to {clip:g}"
            lines.append(("clipped at", [(0, clip), (log.end, clip)], "dashed"))
        add("Gradient norm", text + ".", "norm, on a logarithmic scale", *lines, height=190, log_scale=True)
    return "".join(charts) or "<p>No step has been logged yet.</p>"


def domains(log: Log) -> str:
    """The model beside gzip and xz on each domain's held-out text."""
    ours = {name: bpb for name, bpb in log.summary.get("domains", {}).items() if is_finite(bpb)}
    if not ours:
        return "<p>Domains are compared when the run has finished.</p>"
    groups = {name: {"your model": bpb, **log.packed(name)} for name, bpb in ours.items()}
    facts = (f"{name} " + ", ".join(f"{who} {bpb:.2f}" for who, bpb in bars.items()) for name, bars in groups.items())
    return figure("By domain", f"Bits per byte, fewer is better: {'; '.join(facts)}.", bar_chart, groups)


def samples(log: Log) -> str:
    """What the model wrote, early to late."""
    found = (f'<h3>Step {row["step"]:,}</h3><pre class="sample">\n{escape(row["sample"])}</pre>' for row in log.samples)
    return "".join(found) or "<p>Nothing has been written yet.</p>"


def arguments(log: Log) -> list[str]:
    """What stood behind `minigpt` on the command line of the last start; empty where it began in other ways."""
    command = log.starts[-1]["command"] if log.starts else []
    return command[1:] if command[1:2] == ["pretrain"] else []


def set_up(log: Log) -> str:
    """The command, the configuration, and where it ran."""
    typed = arguments(log)
    return (
        (f"<pre>python -m minigpt {escape(shlex.join(typed))}</pre>" if typed else "")
        + f"<details><summary>Configuration</summary><pre>{escape(log.config.to_json())}</pre></details>"
        f"<details><summary>Environment</summary><pre>{escape(json.dumps(log.starts, indent=1))}</pre></details>"
    )


def what_next(log: Log) -> str:
    """Three commands: talk to the model, let it write, and train it further."""
    run, longer = (shlex.quote(log.folder.as_posix() + end) for end in ("", "-longer"))
    lines = {
        "Write with it: you begin, it goes on": f"chat --run {run}",
        "Let it continue a sentence": f"sample --run {run} --prompt 'It was a' --temperature 0.6",
    }
    why, replaced, flags = "Go on where it stopped", "out|resume", f"--out {run} --resume"
    if log.summary:
        why, replaced = "Train a new one four times as long", "out|resume|steps|tokens|time[-_]limit|target[-_]bpb"
        flags = f"--steps {4 * log.summary['steps']} --time-limit 0 --out {longer}"
    if typed := shlex.join(arguments(log)):
        lines[why] = re.sub(rf" --({replaced})\b([ =]('[^']*'|[^-\s]\S*))?", "", typed) + f" {flags}"
    return "".join(f'<p class="note">{why}</p><pre>python3 course.py {escape(x)}</pre>' for why, x in lines.items())


def page(log: Log) -> str:
    """The whole of report.html."""
    when = escape(log.starts[0].get("time", "")[:16].replace("T", " ")) if log.starts else ""
    sections = {
        "Bits per byte of held-out text": held_out, "Training": training, "By domain": domains,
        "What it writes": samples, "Set-up": set_up, "What next": what_next,
    }  # fmt: skip
    return fill_page(log.folder, f"run {when}", introduction(log), {name: make(log) for name, make in sections.items()})


def fill_page(folder: Path, what: str, introduction: str, sections: dict[str, str]) -> str:
    """The page of HTML about a folder, from {title: HTML}. Its policy has the browser load nothing from anywhere."""
    body = "\n".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections.items())
    page = Template(Path(__file__).with_name("report_page.html").read_text(encoding="utf-8"))
    return page.substitute(name=escape(folder.resolve().name), what=what, introduction=introduction, body=body)


def write(folder: Path) -> Path:
    """(Re)write `report.html` of a run folder, finished or not, as a whole. Returns the file."""
    file = Path(folder) / "report.html"
    write_atomic(file, page(read(Path(folder))))
    return file
