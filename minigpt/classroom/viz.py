"""Pictures: one style for all lessons, and two pages that a learner can play with.

    fig, ax = figure()
    ax.plot(steps, loss, color=BLUE)
    label_end(ax, steps, loss, "with 1/√d", BLUE)
    show(fig, "The loss falls from 8.3 to 4.1 in 200 steps.")

Every picture is also a sentence: `show` prints it, and a screen reader hears it. Colours are those of Okabe and Ito
(2008), which colour-blind readers can tell apart; even so no picture says anything by colour alone. The background is
white in dark mode too, so that black text stays legible.

A view (`AttentionView`, `MergeView`) is one page of HTML in a sandboxed frame: no network, no libraries, the same bytes
for the same data. A page that hosts a notebook may strip it, so `show` puts its static twin above it.
"""
import base64
import html
import io
import json
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ..files import write_atomic
from ..tokenizer import Tokenizer, printable

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
GREY = "#767676"
"""For what is beside the point; dark enough to read on white (4.5 : 1)."""
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
"""Colours of lines, in this order; yellow is left out, because a thin yellow line on white cannot be seen."""
STYLE = {
    "figure.facecolor": "white", "axes.facecolor": "white", "font.family": "DejaVu Sans", "font.size": 10,
    "axes.prop_cycle": f"cycler(color={list(CYCLE)})", "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.grid.axis": "y", "axes.axisbelow": True, "grid.color": "#e4e4e4",
}  # fmt: skip
DOTS_PER_INCH, CSS_PIXELS = 144, 96
"""A picture has more pixels than it takes on the page, so that it stays sharp on a dense screen."""
MOST_BYTES = 200_000
"""Of a view inside a notebook; a larger one is saved as a file of its own."""


# ---- figures ---------------------------------------------------------------------------------------------------------


def figure(width: float = 7, height: float = 3.2, columns: int = 1, rows: int = 1, **options) -> tuple[Figure, Axes]:
    """A figure of width by height inches in the style of the course, and its axes: one, or an array of them.

    `options` go to `Figure.subplots` (sharey=True, width_ratios=[2, 1], …). pyplot does not know the figure, so nothing
    is left open and nothing is shown twice.
    """
    with rc_context(STYLE):
        fig = Figure((width, height), layout="constrained")
        return fig, fig.subplots(rows, columns, **options)


def show(view, alt: str) -> None:
    """Display a figure or a view once, and print its sentence.

    alt: what there is to see, for those who cannot see it: at least 20 characters. A picture's key numbers belong here.
    Outside a notebook only the sentence is printed.
    """
    assert len(alt) >= 20, f"say what there is to see, in 20 characters or more, not {alt!r}"
    fig, notebook = view.figure() if isinstance(view, View) else view, in_notebook()
    if notebook:
        from IPython.display import display

        metadata = {"image/png": {"alt": alt, "width": round(fig.get_figwidth() * CSS_PIXELS)}}
        image = base64.b64encode(png(fig)).decode()
        display({"image/png": image, "text/plain": "<Figure>"}, metadata=metadata, raw=True)
    print(f"Figure: {alt}")
    if notebook and isinstance(view, View):
        display(view)
    if "matplotlib.pyplot" in sys.modules:  # a figure that pyplot made would be displayed again when the cell ends
        sys.modules["matplotlib.pyplot"].close(fig)


def in_notebook() -> bool:
    """Whether something can display a picture."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and hasattr(shell, "kernel")


def png(fig: Figure) -> bytes:
    """The figure as a PNG that names no software and no date: the same bytes from the same numbers.

    Its colours are cut to 128, which nobody sees, and which makes a notebook of ten pictures a third as large.
    """
    drawn, small = io.BytesIO(), io.BytesIO()
    fig.savefig(drawn, format="png", dpi=DOTS_PER_INCH)
    Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def label_end(ax: Axes, x, y, text: str, color: str = BLACK) -> None:
    """Write a line's name at its last point, in its colour; better than a legend, which makes the eye travel.

    x, y: all of the line or only its last point.
    """
    end = (np.ravel(numpy(x))[-1], np.ravel(numpy(y))[-1])
    ax.annotate(text, end, (6, 0), textcoords="offset points", va="center", color=color, annotation_clip=False)


def heatmap(matrix, rows=None, columns=None, title: str | None = None, ax: Axes | None = None, numbers: bool = False,
            vmax: float | None = None, vmin: float | None = None) -> Figure:  # fmt: skip
    """A matrix (R, C) as coloured squares; of attention weights, a row is a token that looks. Returns the figure.

    rows, columns: labels, such as tokens; columns default to rows where the matrix is square. numbers: write each value
    into its square. vmax: the value of the brightest colour. Values that are not finite, such as a mask of -inf, are
    grey.
    """
    matrix = numpy(matrix)
    values = np.where(np.isfinite(matrix), matrix, np.nan)
    columns = rows if columns is None and matrix.shape[0] == matrix.shape[1] else columns
    if ax is None:
        _, ax = figure(1.6 + 0.34 * matrix.shape[1] + 0.3 * numbers * matrix.shape[1], 1.3 + 0.34 * matrix.shape[0])
    image = ax.imshow(values, cmap="viridis", vmax=vmax, vmin=vmin, aspect="auto" if numbers else "equal")
    ax.set_facecolor("#c8c8c8")
    ax.grid(False)
    for axis, labels in ((ax.yaxis, rows), (ax.xaxis, columns)):
        if labels is None:
            axis.set_major_locator(ticker.MaxNLocator(8, integer=True))
        else:
            axis.set_ticks(range(len(labels)), map(visible, labels), parse_math=False)
    ax.tick_params(length=0)
    if columns is not None and max((len(visible(label)) for label in columns), default=0) > 2:
        ax.tick_params("x", labelrotation=60)
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    if title:
        ax.set_title(title, parse_math=False)
    whole = np.array_equal(values, np.round(values))
    for (r, c), value in np.ndenumerate(values) if numbers else []:
        if np.isfinite(value):
            bright = image.norm(value) > 0.6
            color = "black" if bright else "white"
            ax.text(c, r, f"{value:.{0 if whole else 2}f}", ha="center", va="center", color=color, size=8)
    return ax.figure


def numpy(values) -> np.ndarray:
    """Numbers, an array or a tensor on any device, as an array."""
    return values.detach().cpu().float().numpy() if hasattr(values, "detach") else np.asarray(values)


def visible(token: str | bytes, any_font: bool = False) -> str:
    """A token so that one sees all of it: · is a space, ⏎ a line's end; what cannot be drawn is shown as bytes.

    any_font: a browser draws it, which has fonts for all languages; pictures have only the one of matplotlib.
    Example: visible(" the") == "·the"; visible(b"\\xe2\\x82") == "E2 82"
    """
    data = token if isinstance(token, bytes) else token.encode("utf-8", "replace")
    try:
        text = data.decode().replace(" ", "·").replace("\n", "⏎").replace("\t", "→")
    except UnicodeDecodeError:
        return data.hex(" ").upper()
    shows = text.isprintable() and (any_font or all(ord(c) in drawable() for c in text))
    return text if shows else data.hex(" ").upper()


@cache
def drawable() -> frozenset[int]:
    """Code points of the font that comes with matplotlib."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


# ---- live and recorded -----------------------------------------------------------------------------------------------


def plot_record(ax: Axes, record, arms=None, label: bool = True) -> None:
    """The recorded arms: for each a thin line, the mean over its seeds, within the interval of that mean."""
    for number, arm in enumerate(record.arms):
        if arms is None or arm in arms:
            color, style = CYCLE[number % len(CYCLE)], "--" if number >= len(CYCLE) else "-"
            x, mean, (low, high) = record.x(arm), record.mean(arm), record.band(arm)
            ax.plot(x, mean, style, color=color, linewidth=1)
            ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
            if label:
                label_end(ax, x, mean, arm, color)
    ax.set(xlabel=record.axes[0], ylabel=record.axes[1])


def plot_live(ax: Axes, x, y, label: str = "live", color: str = BLACK) -> None:
    """A curve that was measured just now: a thick line."""
    ax.plot(numpy(x), numpy(y), color=color, linewidth=3, solid_capstyle="round")
    label_end(ax, x, y, label, color)


# ---- views -----------------------------------------------------------------------------------------------------------


class View:
    """A page of HTML made of a template beside this file and of data; its subclasses say which.

    It has a static twin, `figure()`: what there is to see where no script runs.
    """

    template: str
    title: str
    height: int
    """Of the frame in a notebook, in CSS pixels."""

    def data(self) -> dict:
        """What the page shows, as JSON can hold it."""
        raise NotImplementedError

    def figure(self) -> Figure:
        raise NotImplementedError

    def page(self) -> str:
        """The whole page. The same data give the same bytes."""
        data = json.dumps(self.data(), ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        return (Path(__file__).parent / self.template).read_text(encoding="utf-8").replace("__DATA__", data)

    def save(self, path: str | Path) -> Path:
        """Write the page as a file, to open in a browser; of any size."""
        write_atomic(Path(path), self.page())
        return Path(path)

    def _repr_html_(self) -> str:
        frame = (f'<iframe title="{self.title}" sandbox="allow-scripts" style="width:100%;height:{self.height}px;'
                 f'border:1px solid #8888" srcdoc="{html.escape(self.page())}"></iframe>')  # fmt: skip
        if len(frame.encode()) <= MOST_BYTES:
            return frame
        size = f"{len(frame.encode()) / 1000:.0f} kB is too large for a notebook"
        return f"<p>{self.title}: {size}. Call <code>view.save('view.html')</code> and open that file in a browser.</p>"

    def __repr__(self) -> str:
        return f"{self.title}: run this cell to use it."


class AttentionView(View):
    """Who looks at whom, in every head. tokens: T strings (or byte strings); weights: (L, H, T, T), rows sum to one.

    Example: `record = {}; run.model(ids, record=record); AttentionView(tokens, [a[0] for a in record["attention"]])`
    """

    template, title, height = "attention_view.html", "Attention viewer", 380

    def __init__(self, tokens, weights):
        self.tokens = list(tokens)
        self.weights = np.stack([numpy(layer) for layer in weights])
        T = len(self.tokens)
        shape = self.weights.shape
        assert len(shape) == 4 and shape[2:] == (T, T), f"{T} tokens need weights (L, H, {T}, {T}), not {shape}"

    def data(self) -> dict:
        layers, heads = self.weights.shape[:2]
        causal = not np.triu(self.weights, 1).any()
        weights = self.weights[:, :, *np.tril_indices(len(self.tokens))] if causal else self.weights  # saves one half
        coded = base64.b64encode(np.rint(weights.clip(0, 1) * 255).astype(np.uint8).tobytes()).decode()
        tokens = [visible(token, any_font=True) for token in self.tokens]
        return {"tokens": tokens, "layers": layers, "heads": heads, "causal": causal, "weights": coded}

    def figure(self) -> Figure:
        """All heads as heat maps, a row of them for each layer."""
        layers, heads = self.weights.shape[:2]
        side = max(1.8, min(3.4, 0.19 * len(self.tokens)))
        fig, axes = figure(heads * side + 1, layers * side + 0.9, heads, layers, squeeze=False)
        for (layer, head), ax in np.ndenumerate(axes):
            rows, columns = self.tokens if head == 0 else [], self.tokens if layer == layers - 1 else []
            heatmap(self.weights[layer, head], rows, columns, f"layer {layer}, head {head}", ax, vmin=0, vmax=1)
            ax.tick_params(labelsize=7)
        fig.colorbar(axes[0, 0].images[0], ax=axes, label="weight", shrink=0.8)
        return fig


class Step(NamedTuple):
    """One merge while a text is encoded; the first step, before any merge, has rank -1 and no pair."""

    rank: int
    pair: tuple[bytes, ...]
    pieces: list[list[bytes]]
    """After the merge: for each chunk of the text its pieces."""


def merge_steps(text: str, tokenizer: Tokenizer) -> list[Step]:
    """The merges that turn the bytes of a text into tokens: at each step the pair that was learnt first, wherever it
    stands. The pieces of the last step are the tokens of `tokenizer.encode(text)`.

    Example: with the merges a·a, b·c learnt in this order, "aabc" walks a a b c → aa b c → aa bc.
    """
    import regex

    ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
    chunks = [[bytes([byte]) for byte in chunk.encode()] for chunk in regex.findall(tokenizer.pattern, text)]
    steps = [Step(-1, (), chunks)]
    while found := [ranks[pair] for pieces in chunks for pair in zip(pieces, pieces[1:]) if pair in ranks]:
        pair = tokenizer.merges[min(found)]
        chunks = [merge_pair(pieces, pair) for pieces in chunks]
        steps.append(Step(min(found), pair, chunks))
    return steps


def merge_pair(pieces: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    """Join every occurrence of a pair, from the left. Example: [a, a, a] with the pair (a, a) -> [aa, a]"""
    out, i = [], 0
    while i < len(pieces):
        hit = tuple(pieces[i : i + 2]) == pair
        out.append(pieces[i] + pieces[i + 1] if hit else pieces[i])
        i += 1 + hit
    return out


class MergeView(View):
    """Byte-pair encoding of a short text, merge by merge, and of any text that the learner types.

    tokenizer: a Tokenizer, or the pairs of byte strings that it learnt, in order.
    """

    template, title, height = "merge_view.html", "Merge stepper", 340
    most_rows = 24
    """Of the static twin; a longer way is shown at evenly spaced steps."""

    def __init__(self, text: str, tokenizer):
        self.text = text
        self.tokenizer = tokenizer if isinstance(tokenizer, Tokenizer) else Tokenizer(list(tokenizer))

    def data(self) -> dict:
        needed = {step.rank for step in merge_steps(self.text, self.tokenizer)} - {-1}
        shown, room = [], 0.8 * MOST_BYTES
        for a, b in self.tokenizer.merges:  # as many as the page has room for: a text of one's own needs them
            shown.append(f"{printable(a)} {printable(b)}")
            room -= len(html.escape(shown[-1]).encode()) + 2
            if room < 0:
                break
        merges = {rank: " ".join(map(printable, self.tokenizer.merges[rank])) for rank in needed if rank >= len(shown)}
        return {
            "text": self.text, "pattern": self.tokenizer.pattern, "merges": "\n".join(shown),
            "more": {str(rank): merges[rank] for rank in sorted(merges)}, "learnt": len(self.tokenizer.merges),
            "bytes": printable(bytes(range(256))), "alphabet": printable(self.tokenizer.alphabet),
        }  # fmt: skip

    def figure(self) -> Figure:
        """A row for each step: the pieces of the text, those just merged in colour; the pair and its rank; a count."""
        steps = merge_steps(self.text, self.tokenizer)
        kept = sorted({round(i) for i in np.linspace(0, len(steps) - 1, min(len(steps), self.most_rows))})
        size = len(self.text.encode()) + 0.4 * (len(steps[0].pieces) - 1)  # in bytes; a gap after each chunk
        fig, ax = figure(max(4, min(13, 2.6 + 0.24 * size)), 0.5 + 0.27 * len(kept))
        for y, number in enumerate(kept):
            step, x = steps[number], 0.0
            for pieces in step.pieces:
                for piece in pieces:
                    new = piece == b"".join(step.pair)
                    ax.barh(y, len(piece) - 0.12, 0.8, x + 0.06, color=SKY if new else "#f0f0f0",
                            edgecolor=BLACK if new else GREY, linewidth=1.2 if new else 0.5)  # fmt: skip
                    ax.text(x + len(piece) / 2, y, visible(piece), ha="center", va="center", size=8, parse_math=False)
                    x += len(piece)
                x += 0.4
            name = "bytes" if step.rank < 0 else f"{number}: {' + '.join(map(visible, step.pair))}  (rank {step.rank})"
            ax.text(-0.4, y, name, va="center", ha="right", size=8, parse_math=False)
            ax.text(size + 0.4, y, f"{sum(map(len, step.pieces))} pieces", va="center", size=8)
        ax.set(xlim=(0, size), ylim=(len(kept) - 0.5, -0.5))
        ax.axis("off")
        return fig
