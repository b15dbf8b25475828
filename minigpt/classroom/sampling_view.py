"""A page to play with: one real distribution over the next token, and the four knobs of `sampling.filter_logits`."""
import base64

import numpy as np
from matplotlib.figure import Figure

from .viz import BLUE, GREY, View, figure, numpy, visible

OFF = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}


class SamplingView(View):
    """Which tokens may follow some prompts, and how temperature, top-k, top-p and min-p change that.

    logits: for each prompt the model's (V,) numbers for the token after it; tokenizer: names the tokens; knobs: how
    they stand at first, as in `sampling.filter_logits`. The page computes the same numbers as that function.

    Example: `SamplingView({"The king": model(tokens)[0, -1]}, tokenizer, temperature=0.7, top_p=0.9)`
    """

    template, title, height = "sampling_view.html", "Sampling playground", 560
    rows = 12
    """Tokens of each prompt in the static twin."""

    def __init__(self, logits, tokenizer, **knobs):
        self.logits = {prompt.replace("\n", "⏎"): numpy(row).astype("<f4") for prompt, row in logits.items()}
        self.tokens = [name_of(id, tokenizer) for id in range(tokenizer.vocab_size)]
        self.knobs = OFF | knobs
        assert self.knobs.keys() == OFF.keys(), f"the knobs are {', '.join(OFF)}, not {', '.join(knobs)}"
        for prompt, row in self.logits.items():
            assert row.shape == (V := len(self.tokens),), f"{prompt!r} needs logits ({V},), not {row.shape}"

    def data(self) -> dict:
        coded = {prompt: base64.b64encode(row.tobytes()).decode() for prompt, row in self.logits.items()}
        prompts = [{"name": prompt, "logits": logits} for prompt, logits in coded.items()]
        return {"tokens": "\n".join(self.tokens), "prompts": prompts, "knobs": self.knobs}

    def figure(self) -> Figure:
        """For each prompt the likeliest tokens: grey, the model's probabilities; blue, with the knobs as given."""
        import torch

        from ..sampling import probabilities

        fig, axes = figure(3.6 * len(self.logits), 0.6 + 0.28 * self.rows, len(self.logits), squeeze=False)
        for (prompt, row), ax in zip(self.logits.items(), axes[0]):
            before, now = (probabilities(torch.from_numpy(row), **knobs).numpy() for knobs in ({}, self.knobs))
            order = np.argsort(-row, kind="stable")[: self.rows]
            y = np.arange(len(order))
            ax.barh(y - 0.18, before[order], 0.34, color="#c8c8c8", edgecolor=GREY, linewidth=0.5)
            ax.barh(y + 0.18, now[order], 0.34, color=BLUE)
            ax.set_yticks(y, [visible(self.tokens[id]) for id in order], parse_math=False)
            ax.set(ylim=(len(order) - 0.5, -0.8), xlabel="probability")
            ax.set_title(f"… {prompt[-30:]}", size=10, parse_math=False)
            ax.grid(False)
            for top, (id, value) in enumerate(zip(order, now[order])):
                if not value:  # so that "out" is not said by a missing bar alone
                    ax.text(before[id], top, " out", va="center", size=7, color=GREY)
        settings = ", ".join(f"{name.replace('_', '-')} {value:g}" for name, value in self.knobs.items()
                             if value != OFF[name])  # fmt: skip
        fig.suptitle(f"grey: the model's probabilities · blue: {settings or 'all knobs off'}", size=10)
        return fig


def name_of(id: int, tokenizer) -> str:
    """A token as the page shows it, on one line. Example: " the" -> "·the" """
    special = {number: name for name, number in tokenizer.special_tokens.items()}
    return special.get(id) or visible(tokenizer.vocab[id], any_font=True)
