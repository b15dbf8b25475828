"""A run folder as one page, `report.html`: how good, how it got there, what it writes, and how to do it again.

The page is a single file that needs nothing else. Its charts are SVG, made here of numbers and strings: without numpy,
matplotlib or torch, because a short run must not wait for its report (about 10 ms for 300 steps).

Three rules for every chart: lines are told apart by the name at their end and by their dashes, colour only helps; one
sentence beneath says what there is to see, computed from the data; a screen reader hears that same sentence.
"""
import html
import json
import math
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from string import Template

from .config import RunConfig

POINTS = 500
"""Most points of a line: the chart is not many more pixels wide, and a long run has a hundred times as many steps."""
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 840, 52, 150, 26, 44
"""Of a chart, in SVG units: its width, and the margins around the plot; the right one holds the lines' names."""
STYLES = ("solid", "dashed", "dotted")
"""Of lines and bars in one picture, in this order."""
UNITS = ((1e9, "billion"), (1e6, "million"), (1e3, "thousand"))


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
    """Text that is safe in HTML and in SVG, where control characters are an error: they become U+FFFD."""
    return html.escape(re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", str(value)))


def number(value, digits: int = 2) -> str:
    """Example: number(1.6249) -> "1.62"; number(None) and number(nan) -> "–" """
    return f"{value:,.{digits}f}" if is_finite(value) else "–"


def amount(count: float) -> str:
    """Example: amount(5_242_880) -> "5.2 million"; amount(81_920) -> "81,920" """
    for unit, name in UNITS[:2]:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count:,.0f}"


def duration(seconds: float) -> str:
    """Example: duration(98.4) -> "98 seconds"; duration(187) -> "3 min 7 s"; duration(7500) -> "2 h 5 min" """
    whole = round(seconds)
    if whole < 120:
        return f"{seconds:.1f} seconds" if seconds < 9.95 else f"{whole} seconds"
    return f"{whole // 60} min {whole % 60} s" if whole < 7200 else f"{whole // 3600} h {whole % 3600 // 60} min"


# ---- charts ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """The x axis of all charts of a run: steps 0 … `end`, labelled as step * `scale` of what `name` says."""

    end: int
    scale: float
    name: str


@dataclass(frozen=True)
class Line:
    """A line of a chart, labelled with its name, if it has one, and its last value."""

    name: str
    points: list[tuple[float, float]]
    style: str
    """Its colour, width and dashes, as a CSS class: solid, dashed, dotted or raw."""
    dots: bool = False
    """Mark the points, where they are few."""


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` multiples of 1, 2 or 5 times a power of ten within [low, high], as close as that allows.

    Example: nice_ticks(1.6, 7.9) -> [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]; nice_ticks(0, 0.003) -> [0, 0.001, 0.002, 0.003]
    """
    power = math.floor(math.log10((high - low) / most))
    for i in range(4):
        step = (1, 2, 5, 10)[i] * 10.0**power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten within [low, high]; over more than two decades some of the powers alone.

    Example: log_ticks(0.15, 3) -> [0.2, 0.5, 1.0, 2.0]
    """
    digits = (1, 2, 5) if high < 100 * low else (1,)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = range(first, last + 1, 1 + (last - first) // 7)
    return [t for p in powers for d in digits if low <= (t := float(f"{d}e{p}")) <= high]


def line_chart(alt: str, y_name: str, lines: list[Line], x: Axis, height: int = 320, from_zero: bool = False,
               log_scale: bool = False) -> str:  # fmt: skip
    """Lines over steps as an SVG. All values are finite, and positive for a logarithmic y axis (`log_scale`)."""
    scale = math.log if log_scale else float
    values = [scale(y) for line in lines for _, y in line.points]
    low, high = 0.0 if from_zero else min(values), max(values)
    room = 0.05 * (high - low or abs(high))
    room = room if room > 1e-90 else 1.0
    low, high = low - room * (not from_zero), high + room
    right, bottom, end = WIDTH - RIGHT, height - BOTTOM, max(1, x.end)

    def across(step: float) -> float:
        return round(LEFT + step / end * (right - LEFT), 2)

    def down(y: float) -> float:
        return round(bottom - (scale(y) - low) / (high - low) * (bottom - TOP), 2)

    def text(style: str, at: float, y: float, content: str) -> str:
        return f'<text class="{style}" x="{at}" y="{y:g}">{content}</text>'

    drawn = [text("soft", 0, 12, escape(y_name)), text("soft end", right, height - 6, escape(x.name))]
    few = 6 if height > 200 else 4
    for tick in log_ticks(math.exp(low), math.exp(high)) if log_scale else nice_ticks(low, high, few):
        drawn.append(f'<path class="grid" d="M{LEFT} {down(tick)}H{right}"/>')
        drawn.append(text("soft end", LEFT - 8, down(tick) + 4, f"{tick:,.12g}"))
    drawn.append(f'<path class="axis" d="M{LEFT} {bottom}H{right}"/>')
    for tick in nice_ticks(0, end * x.scale, 8):
        drawn.append(f'<path class="axis" d="M{across(tick / x.scale)} {bottom}v5"/>')
        drawn.append(text("soft middle", across(tick / x.scale), bottom + 19, f"{tick:,.12g}"))
    for line in lines:
        places = [(across(step), down(y)) for step, y in line.points]
        path = " ".join(f"{left},{top}" for left, top in places)
        drawn.append(f'<polyline class="line {line.style}" data-name="{escape(line.name)}" points="{path}"/>')
        if line.dots:
            drawn += [f'<circle class="dot {line.style}" cx="{left}" cy="{top}" r="3"/>' for left, top in places]
    y = 0.0
    for line in sorted((line for line in lines if line.name), key=lambda line: -line.points[-1][1]):
        y = max(down(line.points[-1][1]) + 5, y + 18)  # names beneath one another where lines end close together
        drawn.append(text("label", right + 12, y, f"{escape(line.name)} <tspan>{line.points[-1][1]:.3g}</tspan>"))
    drawn.append(f'<path class="rule"/><text class="read end" x="{right}" y="12"/>')
    return (
        f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {WIDTH} {height}" data-x="{escape(x.name)}" '
        f'data-box="{LEFT} {right} {TOP} {bottom}" '
        f'data-range="{end * x.scale:g} {low:.6g} {high:.6g} {int(log_scale)}">{"".join(drawn)}</svg>'
    )


def bar_chart(alt: str, groups: dict[str, dict[str, float]]) -> str:
    """{group: {name: value}} as horizontal bars from zero, with the names before them and the values behind."""
    longest = max(value for bars in groups.values() for value in bars.values()) or 1.0
    drawn, y = [], 0
    for group, bars in groups.items():
        short = group if len(group) < 20 else f"{group[:18]}…"
        drawn.append(f'<text class="label" x="0" y="{y + 12}">{escape(short)}</text>')
        for (name, value), style in zip(bars.items(), STYLES):
            length = round(value / longest * (WIDTH - 300), 1)
            drawn.append(f'<text class="soft end" x="222" y="{y + 12}">{escape(name)}</text>')
            drawn.append(f'<rect class="bar {style}" x="232" y="{y + 1}" width="{length}" height="14"/>')
            drawn.append(f'<text x="{239 + length}" y="{y + 12}">{value:.2f}</text>')
            y += 18
        y += 12
    return f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {WIDTH} {y}">{"".join(drawn)}</svg>'


def figure(title: str, sentence: str, chart, *args, **options) -> str:
    """A chart with its sentence beneath, which is also its alternative text."""
    drawn = chart(f"{title}: {sentence}", *args, **options)
    return f"<figure>{drawn}<figcaption>{escape(sentence)}</figcaption></figure>"


# ---- the page --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Log:
    """A run folder as plain JSON values; what an unfinished run does not have yet is empty."""

    folder: Path
    config: dict
    summary: dict
    """Empty unless the run has finished."""
    status: dict
    starts: list[dict]
    """environment.json."""
    steps: list[dict]
    """Lines of metrics.jsonl that tell of a training step; the next two, of an evaluation and of a sample."""
    evaluations: list[dict]
    samples: list[dict]
    axis: Axis

    def setting(self, part: str, name: str):
        return self.config.get(part, {}).get(name)

    def packed(self, domain: str) -> dict[str, float]:
        """Bits per byte of the compressors on a domain's held-out text, or on `all` of it."""
        found = self.summary.get("compressors", {}).get(domain, {})
        return {name: bpb for name, bpb in found.items() if is_finite(bpb)}


def read(folder: Path) -> Log:
    """Read a run folder, finished or not."""
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if is_finite(row.get("step"))]
    config, summary, status = (read_json(folder / f"{name}.json", {}) for name in ("config", "summary", "status"))
    last = max((row["step"] for row in rows), default=0)
    if last > summary.get("steps", 0):
        summary = {}  # it tells of a shorter horizon: the run has been resumed since
    batch = config.get("optim", {}).get("batch_tokens", 0)
    unit, name = next(((u, f"{n} ") for u, n in UNITS if last * batch >= u), (1, ""))
    axis = Axis(last, batch / unit, f"{name}training tokens") if batch else Axis(last, 1, "steps")
    kinds = ([row for row in rows if key in row] for key in ("train_loss", "val_bpb", "sample"))
    return Log(folder, config, summary, status, read_json(folder / "environment.json", []), *kinds, axis)


def introduction(log: Log) -> str:
    """The run in one paragraph."""
    s = log.summary
    if not s:
        total, reason = log.status.get("steps"), log.status.get("reason")
        text = f"the log ends at step {log.axis.end:,}{f' of {total:,}' if total else ''}."
        text += f" It stopped: {escape(reason)}." if reason else ""
        return f'<p class="lede"><strong>Not finished yet:</strong> {text}</p>'
    device = "the CPU" if s["device"] == "cpu" else s["device"]
    how = f"{s['precision']}{', compiled' if s['compile'] else ''}, {number(s['tokens_per_second'], 0)} tokens a second"
    text = (
        f"A model of {amount(s['parameters'])} parameters, trained on {amount(s['tokens'])} tokens in "
        f"{duration(s['seconds'])} on {escape(device)} ({escape(how)}). It needs <strong>{number(s['val_bpb'])} bits "
        "for each byte</strong> of text that was held out from training."
    )
    if packed := log.packed("all"):
        needs = ", ".join(f"{escape(name)} needs {number(bpb)}" for name, bpb in packed.items())
        text += f" For the same text {needs}; fewer is better."
    if s.get("reason") == "target":
        text += f" It stopped there because its target was {log.setting('train', 'target_bpb')}."
    return f'<p class="lede">{text}</p>'


def held_out(log: Log) -> str:
    """Bits per byte while training, beside what gzip and xz need."""
    seen = points(log.evaluations, "val_bpb")
    if not seen:
        return "<p>Nothing has been evaluated yet.</p>"
    (first_step, first), (last_step, last), (best_step, best) = seen[0], seen[-1], min(seen, key=lambda p: p[1])
    facts = [f"It went from {first:.2f} at step {first_step:,} to {last:.2f} at step {last_step:,}"]
    if best < 0.99 * last:
        facts.append(f"the lowest, {best:.2f}, came at step {best_step:,}")
    lines = [Line("your model", seen, STYLES[0], dots=len(seen) <= 40)]
    for (name, bpb), style in zip(log.packed("all").items(), STYLES[1:]):
        passed = next((step for step, y in seen if y < bpb), None)
        facts.append(f"below {name} ({bpb:.2f}) by step {passed:,}" if passed else f"not below {name} ({bpb:.2f})")
        lines.append(Line(name, [(0, bpb), (log.axis.end, bpb)], style))
    note = (
        "Bits per byte is the size that the text would have if it were compressed with your model's predictions; "
        "without any prediction a byte takes 8 bits."
    )
    if log.summary and (most := log.setting("train", "eval_tokens")):
        note += f" The last dot is measured on all held-out text, those before it on at most {most:,} tokens of it."
    chart = figure("Bits per byte", "; ".join(facts) + ".", line_chart, "bits per byte", lines, log.axis)
    return f'{chart}<p class="note">{note}</p>'


def training(log: Log) -> str:
    """Loss, learning rate and gradient norm beneath one another, over the same steps."""
    charts = []

    def add(title: str, sentence: str, *args, **options):
        charts.append(f"<h3>{title}</h3>" + figure(title, sentence, line_chart, *args, log.axis, **options))

    if raw := points(log.steps, "train_loss"):
        middle, held = smooth(raw), points(log.evaluations, "val_loss")
        # the first fiftieth falls so steeply that it would leave no height for the rest, and so does a single spike
        start = middle[len(middle) // 50][0]
        top = max(y for step, y in middle + held if step >= start)
        lines = [
            Line("", [(step, min(y, top)) for step, y in thin(raw) if step >= start], "raw"),
            Line("training", [(step, y) for step, y in middle if step >= start], "solid"),
        ]
        above = " (above the picture)" if raw[0][1] > top else ""
        text = f"From {raw[0][1]:.2f}{above} to {middle[-1][1]:.2f} nats per token"
        if vocab := log.setting("model", "vocab_size"):
            text += f", where an even guess among {vocab:,} tokens costs {math.log(vocab):.2f}"
        if held:
            text += f"; on held-out text {held[-1][1]:.2f}"
            lines.append(Line("held-out", held, "dashed"))
        if bad := len(log.steps) - len(raw):
            text += f"; not finite, and left out: {bad:,}"
        add("Loss", text + ".", "nats per token", lines)
    if rates := points(log.steps, "lr"):
        peak = max(rate for _, rate in rates)
        top = [step for step, rate in rates if rate >= 0.999 * peak]
        text = f"At its peak, {peak:.3g}, from step {top[0]:,} to step {top[-1]:,}; {rates[-1][1]:.3g} at the end."
        if log.setting("optim", "optimizer") == "muon":
            text += f" Muon's has the same shape, with its peak at {log.setting('optim', 'matrix_lr')}."
        add("Learning rate", text, "per step", [Line("AdamW", thin(rates), "solid")], height=150, from_zero=True)
    if norms := [(step, norm) for step, norm in points(log.steps, "grad_norm") if norm > 1e-30]:
        values, clip = [norm for _, norm in norms], log.setting("optim", "clip")
        text = f"Its median is {median(values):.2g}, the largest {max(values):.2g}"
        lines = [Line("", thin(norms), "raw"), Line("gradient", smooth(norms), "solid")]
        if clip:
            text += f"; {sum(norm > clip for norm in values):,} of {len(values):,} were clipped to {clip:g}"
            lines.append(Line("clipped at", [(0, clip), (log.axis.end, clip)], "dashed"))
        add("Gradient norm", text + ".", "norm, on a logarithmic scale", lines, height=190, log_scale=True)
    return "".join(charts) or "<p>No step has been logged yet.</p>"


def domains(log: Log) -> str:
    """The model beside gzip and xz on each domain's held-out text, as bars and as a table."""
    ours = {name: bpb for name, bpb in log.summary.get("domains", {}).items() if is_finite(bpb)}
    if not ours:
        return "<p>Domains are compared when the run has finished.</p>"
    easy, hard = min(ours, key=ours.get), max(ours, key=ours.get)
    text = "Bits per byte, fewer is better: " + ", ".join(f"{name} {bpb:.2f}" for name, bpb in ours.items())
    text += f"; {easy} is the easiest for your model, {hard} the hardest." if easy != hard else "."
    groups = {name: {"your model": bpb, **log.packed(name)} for name, bpb in ours.items()}
    if is_finite(log.summary["val_bpb"]):
        groups["all"] = {"your model": log.summary["val_bpb"], **log.packed("all")}
    columns = list(dict.fromkeys(column for bars in groups.values() for column in bars))
    rows = "<tr><th></th>" + "".join(f"<th>{escape(column)}</th>" for column in columns) + "</tr>"
    for name, bars in groups.items():
        rows += f"<tr><th>{escape(name)}</th>{''.join(f'<td>{number(bars.get(c), 3)}</td>' for c in columns)}</tr>"
    return f'{figure("By domain", text, bar_chart, groups)}<table class="numbers">{rows}</table>'


def samples(log: Log) -> str:
    """What the model wrote, early to late, with the evaluation nearest to each."""
    found, prompt, seen = [], log.setting("train", "prompt") or "", points(log.evaluations, "val_bpb")
    for row in log.samples:
        near = min(seen, key=lambda p: abs(p[0] - row["step"]), default=None)
        bpb = f" <small>{near[1]:.2f} bits per byte</small>" if near else ""
        given = prompt if row["sample"].startswith(prompt) else ""
        text = f"<b>{escape(given)}</b>{escape(row['sample'].removeprefix(given))}"
        found.append(f'<h3>Step {row["step"]:,}{bpb}</h3><pre class="sample">\n{text}</pre>')
    return "".join(found) or "<p>Nothing has been written yet.</p>"


def arguments(log: Log) -> list[str]:
    """What stood behind `minigpt` on the command line of the last start; empty where it began in other ways."""
    command = log.starts[-1]["command"] if log.starts else []
    return command[1:] if command[1:2] == ["pretrain"] else []


def set_up(log: Log) -> str:
    """The command, the configuration, and where it ran."""

    def table(title: str, values: dict, usual: dict) -> str:
        rows = [f"<caption>{escape(title)}</caption>"]
        for name, value in values.items():
            shown = escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            shown = shown if usual.get(name, value) == value else f"<b>{shown}</b>"
            rows.append(f"<tr><th>{escape(name)}</th><td>{shown}</td></tr>")
        return f"<table>{''.join(rows)}</table>"

    usual = json.loads(RunConfig().to_json())
    parts = "".join(table(part, values, usual.get(part, {})) for part, values in log.config.items())
    starts = "".join(table(f"Start at step {start.get('step', 0):,}", start, {}) for start in log.starts)
    typed = arguments(log)
    return (
        (f"<pre>python -m minigpt {escape(shlex.join(typed))}</pre>" if typed else "")
        + f'<details><summary>Configuration</summary><p class="note">What is not the default is bold.</p>'
        f'<div class="parts">{parts}</div></details><details><summary>Environment</summary>{starts}</details>'
    )


def what_next(log: Log) -> str:
    """Three commands: talk to the model, let it write, and train it further."""
    out = log.folder.as_posix()
    run = shlex.quote(out)
    lines = {
        "Write with it: you begin, it goes on": f"chat --run {run}",
        "Let it continue a sentence": f"sample --run {run} --prompt 'It was a' --temperature 0.6",
    }
    typed = shlex.join(arguments(log))
    if typed and log.summary:
        replaced = r" --(out|resume|steps|tokens|time[-_]limit|target[-_]bpb)\b([ =]('[^']*'|[^-\s]\S*))?"
        limit = log.setting("train", "time_limit")
        limit = f" --time-limit {4 * limit:g}" if limit else ""
        longer = f"--steps {4 * log.summary['steps']}{limit} --out {shlex.quote(f'{out}-longer')}"
        lines["Train a new one four times as long"] = f"{re.sub(replaced, '', typed)} {longer}"
    elif typed:
        missing = [flag for flag in (f" --out {run}", " --resume") if flag.split()[0] not in typed.split()]
        lines["Go on where it stopped"] = typed + "".join(missing)
    shown = "".join(f'<p class="note">{why}</p><pre>python3 course.py {escape(x)}</pre>' for why, x in lines.items())
    return f'{shown}<p class="note">In an active environment, python -m minigpt does the same as python3 course.py.</p>'


def page(log: Log) -> str:
    """The whole of report.html."""
    name = escape(log.folder.resolve().name)
    when = escape(log.starts[0].get("time", "")[:16].replace("T", " ")) if log.starts else ""
    sections = {
        "Bits per byte of held-out text": held_out, "Training": training, "By domain": domains,
        "What it writes": samples, "Set-up": set_up, "What next": what_next,
    }  # fmt: skip
    body = "\n".join(f"<section><h2>{title}</h2>{make(log)}</section>" for title, make in sections.items())
    # report_page.html has a policy that lets the browser itself see to it that nothing is loaded from anywhere
    page = Template(Path(__file__).with_name("report_page.html").read_text(encoding="utf-8"))
    return page.substitute(name=name, when=when, introduction=introduction(log), body=body)


def write(folder: Path) -> Path:
    """(Re)write `report.html` of a run folder, finished or not, as a whole. Returns the file."""
    from .checkpoint import write_atomic  # here, because it imports torch, which nothing else in this file needs

    file = Path(folder) / "report.html"
    write_atomic(file, page(read(Path(folder))))
    return file
