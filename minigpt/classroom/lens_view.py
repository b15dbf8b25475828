"""The logit lens as a page to play with: what a model would say if it stopped after each of its layers.

    record = {}
    model(torch.tensor([ids]), record=record)
    logits = torch.stack([model.logits(model.norm(x[0])) for x in record["residual"]])
    show(LensView(ids, logits, lambda i: tokenizer.decode_bytes([i])), alt="…")

Row 0 is the stream after the embedding, row n that after block n; the last row is the model's own answer. Reading the
rows below it so is the idea of nostalgebraist (2020); see Belrose et al. 2023 for what it misses.
"""
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from .viz import BLACK, View, figure, numpy, visible

TOP = 5
"""Tokens that each cell lists."""
MOST_COLUMNS = 12
"""Positions side by side in the static twin; a longer text goes on below."""


class LensView(View):
    """Heights × positions; each cell names the likeliest next token there, and how likely it is.

    ids: T token ids, the input. logits: (L + 1, T, V), after the embedding and after each block; V ≥ 5. name: id → a
    string or byte string. Only the likeliest tokens are kept, so that a page stays small: 20 tokens and 4 blocks make
    about 20 kB.

    Example: with ids [5, 2] and two blocks, logits are (3, 2, V), and the token that follows position 0 is 2.
    """

    template, title, height = "lens_view.html", "Logit lens", 470

    def __init__(self, ids: Sequence[int], logits, name: Callable[[int], str | bytes]):
        self.ids, self.name = [int(i) for i in ids], name
        logits = numpy(logits).astype(np.float64)
        T = len(self.ids)
        fits = logits.ndim == 3 and logits.shape[0] > 1 and logits.shape[1] == T and logits.shape[2] >= TOP
        assert fits, f"{T} tokens need logits (layers + 1, {T}, V) with V ≥ {TOP}, not {logits.shape}"
        shifted = np.exp(logits - logits.max(-1, keepdims=True))
        self.probabilities = shifted / shifted.sum(-1, keepdims=True)
        # of equal ones the smaller id first, in the page as here
        self.top = np.argsort(-self.probabilities, axis=-1, kind="stable")[..., :TOP]

    def data(self) -> dict:
        used = sorted({*self.ids, *self.top.flatten().tolist()})
        place = {id: n for n, id in enumerate(used)}
        p = self.probabilities
        columns = np.arange(len(self.ids))
        return {
            "words": [visible(self.name(id), any_font=True) for id in used],
            "ids": [place[id] for id in self.ids],
            "top": [[[place[id] for id in cell] for cell in row] for row in self.top.tolist()],
            "p": np.take_along_axis(p, self.top, -1).round(3).tolist(),
            # through all heights: the token that the model ends with, and the one that really came
            "final": p[:, columns, self.top[-1, :, 0]].round(3).tolist(),
            "next": p[:, columns[:-1], self.ids[1:]].round(3).tolist(),
        }

    def figure(self) -> Figure:
        """The grid, with the last height at the top; a long text is cut into bands, one below the other."""
        heights, T = self.probabilities.shape[:2]
        bands = -(-T // MOST_COLUMNS)
        columns = min(T, MOST_COLUMNS)
        fig, axes = figure(1.4 + 0.82 * columns, bands * (0.75 + 0.36 * heights), 1, bands, squeeze=False)
        for band, ax in enumerate(axes[:, 0]):
            shown = range(band * columns, min(T, (band + 1) * columns))
            best = self.probabilities[:, shown].max(-1)
            ax.imshow(best, cmap="Blues", vmin=0, vmax=1.4, aspect="auto", origin="lower")
            for height in range(heights):
                for x, t in enumerate(shown):
                    word = short(visible(self.name(int(self.top[height, t, 0]))))
                    ax.text(x, height, f"{word}\n{best[height, x]:.2f}", ha="center", va="center", size=7, color=BLACK,
                            parse_math=False)  # fmt: skip
            ax.set(xlim=(-0.5, columns - 0.5))
            ax.set_xticks(range(len(shown)), [short(visible(self.name(self.ids[t]))) for t in shown], parse_math=False)
            ax.set_yticks(range(heights), ["embedding", *(f"block {n}" for n in range(1, heights))])
            ax.tick_params(length=0, labelsize=8)
            ax.grid(False)
            for spine in ax.spines.values():
                spine.set_visible(False)
        axes[-1, 0].set_xlabel("token that the position holds; in the cells: what would come next, and how likely")
        return fig


def short(word: str, most: int = 9) -> str:
    """Example: short("·incomprehensible") -> "·incompr…" """
    return word if len(word) <= most else word[: most - 1] + "…"
