"""Rotary positions to play with: each pair of dimensions is a clock, and a position turns its hands.

    from minigpt.classroom.rope_view import RopeView
    show(RopeView(q, k, rope_frequencies(config)), alt="…")

Move the query or the key, and the hands turn against each other: the score changes. Move both by as much, and all hands
turn, but no angle between them changes: the score stays.
"""
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from .viz import BLUE, GREY, VERMILLION, View, figure, numpy


class RopeView(View):
    """A query and a key of D numbers, turned by their positions, and their score q · k / √D.

    q, k: (D,), pair i is dimensions (i, i + D/2), as in `minigpt.rotate`. frequencies: (D/2,), radians a position, as
    `minigpt.model.rope_frequencies` gives them. positions: where (query, key) stand at first, from 0 to `last`.

    Example: with q = k = [1, 0] and a frequency of 0.5 the score at distance d is cos(0.5 d) / √2.
    """

    template, title, height = "rope_view.html", "Rotary positions", 500
    most_clocks = 6
    """Of the static twin: its pairs are taken evenly from the fastest to the slowest."""
    shift = 100
    """How far both have moved in the second row of the static twin."""

    def __init__(self, q, k, frequencies, positions: Sequence[int] = (7, 3), last: int = 255):
        self.q, self.k, self.frequencies = numpy(q), numpy(k), numpy(frequencies)
        self.positions, self.last = tuple(int(p) for p in positions), last
        D = 2 * len(self.frequencies)
        shapes = self.q.shape, self.k.shape
        assert shapes == ((D,), (D,)), f"{D // 2} frequencies need vectors of {D} numbers, not {shapes[0]}, {shapes[1]}"
        assert len(self.positions) == 2 and all(0 <= p <= last for p in self.positions), (
            f"the positions of the query and the key lie between 0 and {last}, not at {self.positions}"
        )

    def data(self) -> dict:
        vectors = {"q": self.q, "k": self.k, "frequencies": self.frequencies}
        short = {name: [float(f"{value:.7g}") for value in values] for name, values in vectors.items()}
        return short | {"positions": self.positions, "last": self.last}

    def hands(self, m: float, n: float) -> np.ndarray:
        """The query's hands at position m and the key's at n: complex numbers (2, D/2), one for each pair."""
        half = len(self.frequencies)
        q, k = (v[:half] + 1j * v[half:] for v in (self.q, self.k))
        return np.stack([q * np.exp(1j * m * self.frequencies), k * np.exp(1j * n * self.frequencies)])

    def score(self, m: float, n: float) -> float:
        """q · k / √D, of the query turned to position m and the key turned to n."""
        q, k = self.hands(m, n)
        return float((q * k.conj()).real.sum() / math.sqrt(2 * len(q)))

    def figure(self) -> Figure:
        """The clocks of some pairs, a row at the first positions and a row with both moved on by `shift`."""
        half = len(self.frequencies)
        shown = np.unique(np.linspace(0, half - 1, min(half, self.most_clocks)).round().astype(int))
        fig, axes = figure(1.25 * len(shown) + 1.6, 3.4, len(shown), 2, squeeze=False)
        longest = abs(self.hands(0, 0)).max()
        for row, moved in zip(axes, (0, self.shift)):
            m, n = (p + moved for p in self.positions)
            for pair, ax in zip(shown, row):
                ax.add_patch(_circle())
                for hand, color, dashes in zip(self.hands(m, n)[:, pair], (BLUE, VERMILLION), ("-", (0, (2, 1)))):
                    end = hand / abs(hand) * (0.1 + 0.85 * abs(hand) / longest) if hand else 0j
                    ax.plot([0, end.real], [0, end.imag], color=color, linewidth=3, linestyle=dashes)
                ax.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal", xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
                ax.grid(False)
                if not moved:
                    ax.set_title(f"pair {pair}\n{np.degrees(self.frequencies[pair]):.3g}° a step", size=9)
            row[0].set_ylabel(f"query {m}, key {n}\nscore {self.score(m, n):.3f}", rotation=0, ha="right", va="center")
        axes[1, 0].text(-1, -1.4, "query: solid", color=BLUE, va="top")
        axes[1, 1 % len(shown)].text(-0.6, -1.4, "key: dashed", color=VERMILLION, va="top")
        return fig


def _circle():
    from matplotlib.patches import Circle

    return Circle((0, 0), 1, fill=False, edgecolor=GREY, linewidth=0.8)
