"""The ladder of baselines: one held-out text, and what every kind of model needs for it, in bits per byte.

Lesson 03 builds the lower rungs, from no knowledge at all to a small network; each later lesson may add one. A rung is
the end of an arm of a record whose name ends in ".ladder", or a figure of the learner's own:

    add("my first GPT", bits_per_byte(model, tokenizer, text()))
    fig, ax = figure()
    plot(ax)
"""
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes

from ..config import UserError
from ..files import write_atomic
from ..text.sources import builtin, held_out
from . import shelf
from .viz import BLACK, BLUE, GREY

MOST = 30_000
"""Characters of one document, so that no single book is most of the text."""
OWN = "yours"
"""Where the lesson's number would stand, for a rung that the learner added."""


class Rung(NamedTuple):
    """One model on the ladder, for example Rung("bigram", 3.56, 3.56, 3.56, "03")."""

    name: str
    bits_per_byte: float
    low: float
    """With `high`: the 95 % interval of the mean over seeds; one figure without seeds is its own interval."""
    high: float
    lesson: str
    """Whose record it is from, or "yours"."""


@cache
def text() -> str:
    """The held-out text of the ladder: the beginnings of the held-out books, one after the other, about 180 kB.

    Every training of this course holds the same books out, so that any of its models may be measured here. UserError
    where the books are not installed.
    """
    return "\n\n".join(d.text[:MOST] for d in builtin(["books"]) if held_out(d.id))


def rungs() -> list[Rung]:
    """All rungs that there are, the worst first: those of the records, and the learner's own."""
    found = [Rung(name, bits, bits, bits, OWN) for name, bits in own().items()]
    for file in sorted(shelf.RECORDS.glob("*_ladder.json")):
        record = shelf.recorded(file.stem.replace("_", ".", 1))
        for arm in record.arms:
            low, high = (band[-1] for band in record.band(arm))
            found.append(Rung(arm, float(record.mean(arm)[-1]), float(low), float(high), record.name.split(".")[0]))
    return sorted(found, key=lambda rung: (-rung.bits_per_byte, rung.name))


def add(name: str, bits_per_byte: float) -> None:
    """Keep a figure of the learner's own, measured on `text()`; the same name again replaces it.

    UserError for a name that a record has, an empty one, and a figure that is no positive number. Example: a model that
    knows nothing spends add("nothing", 8.0).
    """
    if not name.strip():
        raise UserError("a rung needs a name: ladder.add('my model', 2.1).")
    if not 0 < bits_per_byte < float("inf"):
        raise UserError(f"{name}: bits per byte must be a positive number, not {bits_per_byte}.")
    if any(rung.name == name and rung.lesson != OWN for rung in rungs()):
        raise UserError(f"the ladder has a rung {name!r} already, from a record: choose another name.")
    content = {"text": fingerprint(), "rungs": own() | {name: float(bits_per_byte)}}
    own_file().parent.mkdir(parents=True, exist_ok=True)
    write_atomic(own_file(), json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def own() -> dict[str, float]:
    """The learner's own figures, name → bits per byte; those measured on another version of the text are dropped."""
    if not own_file().exists():
        return {}
    try:
        content = json.loads(own_file().read_text(encoding="utf-8"))
        return {str(k): float(v) for k, v in content["rungs"].items()} if content["text"] == fingerprint() else {}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{own_file()} is damaged: delete it, and add your figures again.") from None


def own_file() -> Path:
    return shelf.runs_folder() / "ladder.json"


@cache
def fingerprint() -> str:
    """Of the text: figures from two texts cannot stand on one ladder."""
    return hashlib.sha256(text().encode()).hexdigest()[:16]


def plot(ax: Axes) -> None:
    """The rungs from the worst to the best, each a bar with its figure; the learner's own are dark, and say so."""
    shown = rungs()
    for y, rung in enumerate(shown):
        mine = rung.lesson == OWN
        ax.barh(y, rung.bits_per_byte, 0.66, color=BLUE if mine else "#bcd7e8", edgecolor=BLUE)
        if rung.high - rung.low > 0.005:  # what one can see
            ax.plot([rung.low, rung.high], [y, y], color=BLACK)
        ax.text(max(rung.bits_per_byte, rung.high) + 0.08, y, f"{rung.bits_per_byte:.2f}", va="center", color=BLACK)
        ax.text(0.1, y, OWN if mine else f"lesson {rung.lesson}", va="center", size=8, color="white" if mine else GREY)
    ax.set_yticks(range(len(shown)), [rung.name for rung in shown], parse_math=False)
    ax.set(ylim=(len(shown) - 0.4, -0.6), xlabel="bits per byte of the held-out text; lower is better")
    ax.grid(False)
