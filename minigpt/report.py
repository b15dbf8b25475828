"""A run folder as one page, `report.html`: how good, how it got there, what it writes, and how to do it again.

The page is a single file that needs nothing else: the charts are SVG made here, out of numbers and strings. No torch, no
numpy and no matplotlib is imported, because a short run must not wait for its report (about 10 ms for 300 steps).

Three rules for every chart: a line is told apart by its name at its end and by its dashes, colour only helps; one sentence
beneath says what there is to see, computed from the data; and the same sentence is what a screen reader hears.
"""
import html
import json
import math
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from .config import RunConfig

POINTS = 500
"""Most points of a line: the chart is not many more pixels wide, and a long run has a hundred times as many steps."""
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 840, 52, 150, 26, 44
"""Of a chart, in SVG units: its width, and the margins around the plot; line names stand in the right one."""
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
    if len(line) <= most:
        return line
    kept = []
    for i in range(most // 2):
        stretch = line[i * len(line) // (most // 2) : (i + 1) * len(line) // (most // 2)]
        kept += sorted({min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])})
    return kept


def smooth(line: list[tuple[float, float]], share: float = 0.02, most: int = POINTS) -> list[tuple[float, float]]:
    """A moving mean of `share` of the points to either side, at `most` points spread evenly over the line.

    Unlike an exponential mean it does not lag behind. At the start, where a loss is steep, the window narrows on both sides
    alike; at the end it is cut off.

    Example: smooth([(1, 6.0), (2, 3.0), (3, 0.0), (4, 1.0)], share=0.25) -> [(1, 6.0), (2, 3.0), (3, 4 / 3), (4, 0.5)]
    """
    smoothed, count = [], min(most, len(line))
    for k in range(count):
        i = k * (len(line) - 1) // max(1, count - 1)
        half = min(i, round(share * len(line)))
        window = [y for _, y in line[i - half : i + half + 1]]
        smoothed.append((line[i][0], math.fsum(window) / len(window)))
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


def listing(parts: list[str]) -> str:
    """Example: listing(["a", "b", "c"]) -> "a, b and c" """
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


# ---- charts ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """The x axis, the same for all charts of a run: steps 0 … `end`, labelled as step * `scale` of what `name` says."""

    end: int
    scale: float
    name: str


@dataclass(frozen=True)
class Line:
    """A line of a chart. `style` is a CSS class, which gives it colour, width and dashes; without a name it has no label."""

    name: str
    points: list[tuple[float, float]]
    style: str
    dots: bool = False


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` multiples of 1, 2 or 5 times a power of ten within [low, high], the finest such step that allows it.

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
    """1, 2 and 5 times the powers of ten within [low, high]; over more than two decades the powers alone.

    Example: log_ticks(0.15, 3) -> [0.2, 0.5, 1.0, 2.0]
    """
    digits = (1, 2, 5) if high < 100 * low else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [t for p in powers for d in digits if low <= (t := float(f"{d}e{p}")) <= high]


def spread(places: list[float], gap: float, low: float, high: float) -> list[float]:
    """Move labels apart, by no more than needed, so that neighbours are `gap` apart and all lie within [low, high].

    Example: spread([50, 52, 90], 10, 0, 100) -> [50, 60, 90]
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved, floor, ceiling = list(places), low, high
    for i in order:
        moved[i] = floor = max(moved[i], floor)
        floor += gap
    for i in reversed(order):
        moved[i] = ceiling = min(moved[i], ceiling)
        ceiling -= gap
    return moved


def line_chart(alt: str, y_name: str, lines: list[Line], x: Axis, height: int = 320, from_zero: bool = False,
               log_scale: bool = False) -> str:  # fmt: skip
    """Lines over steps as an SVG. All values are finite, and positive where `log_scale` asks for a logarithmic y axis."""
    scale = math.log if log_scale else float
    values = [scale(y) for line in lines for _, y in line.points]
    low, high = 0.0 if from_zero else min(values), max(values)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - room * (not from_zero), high + room
    right, bottom = WIDTH - RIGHT, height - BOTTOM

    def across(step: float) -> float:
        return round(LEFT + step / x.end * (right - LEFT), 2)

    def down(y: float) -> float:
        return round(bottom - (scale(y) - low) / (high - low) * (bottom - TOP), 2)

    def text(style: str, at: float, y: float, content: str) -> str:
        return f'<text class="{style}" x="{at}" y="{y:g}">{content}</text>'

    drawn = [text("soft", 0, 12, escape(y_name)), text("soft end", right, height - 6, escape(x.name))]
    for tick in log_ticks(math.exp(low), math.exp(high)) if log_scale else nice_ticks(low, high, 6 if height > 200 else 3):
        drawn.append(f'<path class="grid" d="M{LEFT} {down(tick)}H{right}"/>')
        drawn.append(text("soft end", LEFT - 8, down(tick) + 4, f"{tick:,.12g}"))
    drawn.append(f'<path class="axis" d="M{LEFT} {bottom}H{right}"/>')
    for tick in nice_ticks(0, x.end * x.scale, 8):
        drawn.append(f'<path class="axis" d="M{across(tick / x.scale)} {bottom}v5"/>')
        drawn.append(text("soft middle", across(tick / x.scale), bottom + 19, f"{tick:,.12g}"))
    for line in lines:
        places = [(across(step), down(y)) for step, y in line.points]
        path = " ".join(f"{left},{top}" for left, top in places)
        drawn.append(f'<polyline class="line {line.style}" data-name="{escape(line.name)}" points="{path}"/>')
        drawn += [f'<circle class="dot {line.style}" cx="{left}" cy="{top}" r="3"/>' for left, top in places if line.dots]
    named = [line for line in lines if line.name]
    for line, y in zip(named, spread([down(line.points[-1][1]) for line in named], 18, TOP, bottom)):
        drawn.append(text("label", right + 12, y + 5, f"{escape(line.name)} <tspan>{line.points[-1][1]:.3g}</tspan>"))
    drawn.append(f'<path class="rule"/><text class="read end" x="{right}" y="12"/>')
    return (
        f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {WIDTH} {height}" data-box="{LEFT} {right} {TOP} {bottom}" '
        f'data-range="{x.end * x.scale:g} {low:.6g} {high:.6g} {int(log_scale)}" data-x="{escape(x.name)}">{"".join(drawn)}</svg>'
    )


def bar_chart(alt: str, groups: dict[str, dict[str, float]]) -> str:
    """{group: {name: value}} as horizontal bars from zero, with the names before them and the values behind."""
    longest = max((v for bars in groups.values() for v in bars.values()), default=0.0) or 1.0
    drawn, y = [], 0
    for group, bars in groups.items():
        drawn.append(f'<text class="label model" x="0" y="{y + 14}">{escape(group)}</text>')
        for name, value in bars.items():
            length = round(value / longest * (WIDTH - 290), 1)
            drawn.append(f'<text class="soft end" x="222" y="{y + 14}">{escape(name)}</text>'
                         f'<rect class="bar {escape(name.split()[-1])}" x="232" y="{y + 3}" width="{length}" height="14"/>'
                         f'<text x="{232 + length + 7}" y="{y + 14}">{value:.2f}</text>')  # fmt: skip
            y += 19
        y += 14
    return f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {WIDTH} {y}">{"".join(drawn)}</svg>'


def figure(title: str, sentence: str, chart, *args, **options) -> str:
    """A titled chart with its sentence, which is also its alternative text."""
    return (f"<figure><h3>{escape(title)}</h3>{chart(f'{title}. {sentence}', *args, **options)}"
            f"<figcaption>{escape(sentence)}</figcaption></figure>")  # fmt: skip


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
    axis = Axis(max(1, last), batch / unit, f"{name}training tokens") if batch else Axis(max(1, last), 1, "steps")
    kinds = ([row for row in rows if key in row] for key in ("train_loss", "val_bpb", "sample"))
    return Log(folder, config, summary, status, read_json(folder / "environment.json", []), *kinds, axis)


def introduction(log: Log) -> str:
    """The run in one paragraph."""
    s = log.summary
    if not s:
        total, reason = log.status.get("steps"), log.status.get("reason")
        text = f"<strong>Not finished yet:</strong> {log.axis.end:,}{f' of {total:,}' if total else ''} steps are in the log."
        return f"<p class=lede>{text}{f' It stopped: {escape(reason)}.' if reason else ''}</p>"
    text = (
        f"A model of {amount(s['parameters'])} parameters, trained on {amount(s['tokens'])} tokens in {duration(s['seconds'])} on "
        f"{escape(s['device'].replace('cpu', 'the CPU'))}. It needs <strong>{number(s['val_bpb'])} bits for each byte</strong> of "
        "text that was held out from training."
    )
    if packed := log.packed("all"):
        text += " For the same text " + listing([f"{escape(name)} needs {number(bpb)}" for name, bpb in packed.items()])
        text += "; fewer is better."
    if s.get("reason") == "target":
        text += f" It stopped there because you set {log.setting('train', 'target_bpb')} as its target."
    return f"<p class=lede>{text}</p>"


def held_out(log: Log) -> str:
    """Bits per byte while training, beside what gzip and xz need."""
    seen = points(log.evaluations, "val_bpb")
    if not seen:
        return "<p>Nothing has been evaluated yet.</p>"
    (first_step, first), (last_step, last), (best_step, best) = seen[0], seen[-1], min(seen, key=lambda p: p[1])
    facts = [f"Bits per byte went from {first:.2f} at step {first_step:,} to {last:.2f} at step {last_step:,}"]
    if best < 0.99 * last:
        facts.append(f"the lowest, {best:.2f}, came at step {best_step:,}")
    lines = [Line("your model", seen, "model", dots=len(seen) <= 40)]
    for name, bpb in log.packed("all").items():
        passed = next((f"passed {name} ({bpb:.2f}) by step {step:,}" for step, y in seen if y < bpb), None)
        facts.append(f"it {passed or f'did not pass {name} ({bpb:.2f})'}")
        lines.append(Line(name, [(0, bpb), (log.axis.end, bpb)], name))
    chart = figure("Bits per byte", "; ".join(facts) + ".", line_chart, "bits per byte", lines, log.axis)
    most = log.setting("train", "eval_tokens")
    if log.summary and most:
        chart += f"<p class=note>The last dot is measured on all held-out text, those before it on at most {most:,} tokens.</p>"
    return chart


def training(log: Log) -> str:
    """Loss, learning rate and gradient norm beneath one another, over the same steps."""
    charts = []
    if raw := points(log.steps, "train_loss"):
        mean, held = smooth(raw), points(log.evaluations, "val_loss")
        lines = [Line("", thin(raw), "raw"), Line("training", mean, "model")]
        text = f"The loss went from {raw[0][1]:.2f} to {mean[-1][1]:.2f} nats per token"
        if vocab := log.setting("model", "vocab_size"):
            text += f" (guessing evenly among {vocab:,} tokens costs {math.log(vocab):.2f})"
        if held:
            lines.append(Line("held-out", held, "xz"))
            text += f", on held-out text to {held[-1][1]:.2f}"
        if len(raw) < len(log.steps):
            text += f"; values that were not finite are left out: {len(log.steps) - len(raw):,}"
        charts.append(figure("Loss", text + ".", line_chart, "nats per token", lines, log.axis))
    if rates := points(log.steps, "lr"):
        peak = max(rate for _, rate in rates)
        top = [step for step, rate in rates if rate >= 0.999 * peak]
        text = f"It peaked at {peak:.3g} from step {top[0]:,} to step {top[-1]:,} and ended at {rates[-1][1]:.2g}."
        if log.setting("optim", "optimizer") == "muon":
            text += f" Muon's has the same shape and peaks at {log.setting('optim', 'matrix_lr')}."
        lines = [Line("AdamW", thin(rates), "model")]
        charts.append(figure("Learning rate", text, line_chart, "per step", lines, log.axis, height=150, from_zero=True))
    if norms := [(step, norm) for step, norm in points(log.steps, "grad_norm") if norm > 0]:
        values, clip = sorted(norm for _, norm in norms), log.setting("optim", "clip")
        text = f"It was {values[len(values) // 2]:.2g} in the middle and {values[-1]:.2g} at most"
        lines = [Line("", thin(norms), "raw"), Line("gradient", smooth(norms), "model")]
        if clip:
            text += f"; {sum(norm > clip for norm in values):,} of {len(values):,} steps were clipped to {clip:g}"
            lines.append(Line("clip", [(0, clip), (log.axis.end, clip)], "gzip"))
        charts.append(figure("Gradient norm", text + ".", line_chart, "log scale", lines, log.axis, height=190, log_scale=True))
    return "".join(charts) or "<p>No step has been logged yet.</p>"


def domains(log: Log) -> str:
    """The model beside gzip and xz on each domain's held-out text, as bars and as a table."""
    ours = {name: bpb for name, bpb in log.summary.get("domains", {}).items() if is_finite(bpb)}
    if not ours:
        return "<p>They are measured when the run ends.</p>"
    easy, hard = min(ours, key=ours.get), max(ours, key=ours.get)
    text = f"Lower is better. Your model finds {easy} easiest, {ours[easy]:.2f}, and {hard} hardest, {ours[hard]:.2f}."
    if is_finite(log.summary.get("val_bpb")):
        ours["all"] = log.summary["val_bpb"]
    groups = {domain: {"your model": bpb, **log.packed(domain)} for domain, bpb in ours.items()}
    columns = list(dict.fromkeys(name for bars in groups.values() for name in bars))
    rows = "".join(
        f"<tr><th>{escape(domain)}</th>{''.join(f'<td>{number(bars.get(name), 3)}</td>' for name in columns)}</tr>"
        for domain, bars in groups.items()
    )
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    return f"<table class=numbers><tr><th></th>{head}</tr>{rows}</table>" + figure("Domains", text, bar_chart, groups)


def samples(log: Log) -> str:
    """What the model wrote, early to late, with the evaluation nearest to each."""
    found, prompt, seen = [], log.setting("train", "prompt") or "", points(log.evaluations, "val_bpb")
    for row in log.samples:
        near = min((p for p in seen), key=lambda p: abs(p[0] - row["step"]), default=None)
        bpb = f"<small>{near[1]:.2f} bits per byte</small>" if near else ""
        text = row["sample"].removeprefix(prompt)
        given = f"<b>{escape(prompt)}</b>" if prompt and text != row["sample"] else ""
        found.append(f"<h3>Step {row['step']:,} {bpb}</h3><pre class=sample>\n{given}{escape(text)}</pre>")
    return "".join(found) or "<p>Nothing has been written yet.</p>"


def table(title: str, values: dict, usual: dict) -> str:
    """Names and values; those that differ from the usual ones are bold."""
    rows = []
    for name, value in values.items():
        shown = escape(value if isinstance(value, str) else json.dumps(value))
        shown = shown if usual.get(name, value) == value else f"<b>{shown}</b>"
        rows.append(f"<tr><th>{escape(name)}</th><td>{shown}</td></tr>")
    return f"<table><caption>{escape(title)}</caption>{''.join(rows)}</table>"


def set_up(log: Log) -> str:
    """The command, the configuration, and where it ran; closed until you open it."""
    usual = json.loads(RunConfig().to_json())
    parts = "".join(table(part, values, usual.get(part, {})) for part, values in log.config.items())
    starts = "".join(table(f"start at step {start.get('step', 0):,}", start, {}) for start in log.starts)
    command = f"<pre>{escape(last_command(log))}</pre>" if log.starts else ""
    return (
        f"{command}<details><summary>Configuration</summary><p class=note>Bold: not the default.</p><div class=parts>{parts}</div>"
        f"</details><details><summary>Environment</summary>{starts}</details>"
    )


def last_command(log: Log) -> str:
    """What started the run, as you would type it."""
    program, *arguments = log.starts[-1]["command"] if log.starts else ["__main__.py", "pretrain"]
    program = "python -m minigpt" if Path(program).name == "__main__.py" else shlex.quote(Path(program).name)
    return " ".join([program, *map(shlex.quote, arguments)])


def what_next(log: Log) -> str:
    """Three commands: talk to it, let it write, and train it further."""
    run, folder = "python3 course.py", log.folder.as_posix()
    again = re.sub(r" --(out|resume|steps|time[-_]limit)\b([ =]('[^']*'|[^-\s]\S*))?", "", last_command(log)).split("minigpt ")[-1]
    if log.summary:
        limit = log.setting("train", "time_limit")
        again += f" --steps {4 * log.summary['steps']}" + (f" --time-limit {4 * limit:g}" if limit else "")
        again, why = f"{again} --out {shlex.quote(folder + '-longer')}", "train a new one four times as long"
    else:
        again, why = f"{again} --out {shlex.quote(folder)} --resume", "go on where it stopped"
    lines = [(f"chat --run {shlex.quote(folder)}", "you begin, it continues"),
             (f"sample --run {shlex.quote(folder)} --prompt 'It was'", "one continuation"), (again, why)]  # fmt: skip
    return "".join(f"<p class=note>{why}</p><pre>{run} {escape(line)}</pre>" for line, why in lines)


def page(log: Log) -> str:
    """The whole of report.html."""
    name = escape(log.folder.resolve().name)
    when = escape(log.starts[0].get("time", "")[:16].replace("T", " ")) if log.starts else ""
    sections = {
        "Held-out text": held_out, "Training": training, "Domains": domains, "What it writes": samples,
        "Set-up": set_up, "What next": what_next,
    }  # fmt: skip
    body = "".join(f"<section><h2>{title}</h2>{make(log)}</section>" for title, make in sections.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta name="color-scheme" content="light dark"><title>{name}: minigpt report</title><style>{STYLE}</style></head>'
        f"<body><header><p class=note>minigpt run {when}</p><h1>{name}</h1>{introduction(log)}</header>{body}"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def write(folder: Path) -> Path:
    """Read a run folder, finished or not, and (re)write its `report.html`. Returns the file."""
    from .checkpoint import write_atomic  # here, because it imports torch and nothing else on this page needs it

    file = Path(folder) / "report.html"
    write_atomic(file, page(read(Path(folder))).encode("utf-8", errors="replace"))
    return file


STYLE = """
:root { --paper: #fff; --ink: #1c2127; --soft: #5a6472; --grid: #e3e6ea; --panel: #f5f6f8; --model: #0072b2; --gzip: #d55e00;
  --xz: #009e73 }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #16191d; --ink: #e4e7ea; --soft: #9ba5b1; --grid: #2c3239;
  --panel: #1e2227; --model: #56b4e9; --gzip: #e69f00; --xz: #00b386 } }
body { max-width: 840px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 1rem; overflow-wrap: anywhere }
h2 { font-size: 1.3rem; margin: 3rem 0 1rem; padding-top: 1.2rem; border-top: 1px solid var(--grid) }
h3 { font-size: 1rem; margin: 1.6rem 0 .5rem }
small, .note { font-size: .875rem; font-weight: normal; color: var(--soft); margin: .4rem 0 }
small { margin-left: .5rem }
.lede { font-size: 1.2rem; line-height: 1.5 }
figure { margin: 0 0 2rem; overflow-x: auto; break-inside: avoid }
figcaption { color: var(--ink); max-width: 42rem }
svg { display: block; width: 100%; min-width: 600px; height: auto; margin: .4rem 0; font-size: 13px }
text { fill: var(--ink) }
.soft { fill: var(--soft) }
.end { text-anchor: end }
.middle { text-anchor: middle }
.label { font-weight: 600 }
tspan { font-weight: 400 }
text, td, tspan { font-variant-numeric: tabular-nums }
.grid, .axis, .rule { fill: none; stroke: var(--grid) }
.axis { stroke: var(--soft) }
.rule { stroke: var(--soft); stroke-dasharray: 2 2 }
.line { fill: none; stroke-width: 2; stroke-linejoin: round }
.model { stroke: var(--model); stroke-width: 2.5 }
.raw { stroke: var(--model); stroke-width: 1; opacity: .35 }
.gzip { stroke: var(--gzip); stroke-dasharray: 9 5 }
.xz { stroke: var(--xz); stroke-dasharray: 2 4; stroke-linecap: round }
.dot { fill: var(--paper); stroke-width: 2; stroke-dasharray: none }
.bar { stroke: none; fill: var(--model) }
.bar.gzip { fill: var(--gzip) }
.bar.xz { fill: var(--xz) }
table { border-collapse: collapse; font-size: .9rem; margin: .5rem 0 1.5rem; width: 100% }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
th, td { text-align: left; font-weight: normal; vertical-align: top; padding: .2rem .8rem .2rem 0; border-top: 1px solid var(--grid);
  overflow-wrap: anywhere }
th { color: var(--soft) }
.numbers td, .numbers tr:first-child th { text-align: right; width: 20% }
.parts { columns: 2 20rem; column-gap: 2rem }
.parts table { break-inside: avoid }
pre { background: var(--panel); border-radius: 6px; padding: .7rem .9rem; margin: .3rem 0 1rem; overflow-x: auto; font-size: .875rem }
.sample { font: 1rem/1.55 Charter, "Iowan Old Style", Georgia, serif; white-space: pre-wrap; overflow-wrap: anywhere }
summary { cursor: pointer; padding: .3rem 0 }
@media print { body { padding: 0; max-width: none } pre, figure { break-inside: avoid } .read, .rule { display: none } }
"""
SCRIPT = """
// Point at a line chart to read its values: positions in the drawing are turned back into numbers.
for (const svg of document.querySelectorAll("svg[data-range]")) {
  const [left, right, top, bottom] = svg.dataset.box.split(" ").map(Number);
  const [end, low, high, log] = svg.dataset.range.split(" ").map(Number);
  const rule = svg.querySelector(".rule"), read = svg.querySelector(".read");
  svg.onpointermove = event => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x, parts = [];
    let x;
    for (const line of svg.querySelectorAll("polyline:not([data-name=''])")) {
      const near = [...line.points].reduce((a, b) => Math.abs(b.x - at) < Math.abs(a.x - at) ? b : a);
      const y = low + (bottom - near.y) / (bottom - top) * (high - low);
      x ??= near.x;
      parts.push(line.dataset.name + " " + Number((log ? Math.exp(y) : y).toPrecision(3)));
    }
    read.textContent = Number(((x - left) / (right - left) * end).toPrecision(3)) + " " + svg.dataset.x + ": " + parts.join(", ");
    rule.setAttribute("d", `M${x} ${top}V${bottom}`);
  };
  svg.onpointerleave = () => { read.textContent = ""; rule.removeAttribute("d"); };
}
"""
