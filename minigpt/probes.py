"""What a model knows, asked without letting it talk: which of two texts does it find likelier?

    pairs     two sentences that differ in one point of grammar; the right one should be likelier      chance 1/2
    choices   a beginning and several ends; the right end should be likeliest, byte for byte           chance 1/options
    cloze     a beginning and the only right end; would the model have written it, taking the
              likeliest token each time?                                                               chance about 0

A probe is a file of questions, one JSON object a line. Files of BLiMP (pairs), HellaSwag and ARC (choices) and LAMBADA
(cloze) can be read as they are; other harnesses rewrite some of these texts first, so figures differ a little from
theirs. Sources: Warstadt et al. 2020, Zellers et al. 2019, Clark et al. 2018, Paperno et al. 2016.
"""
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .config import UserError
from .evaluate import token_losses
from .model import GPT
from .parallel import Layout, own_windows, sum_of_ranks
from .sampling import evaluating

BATCH_TOKENS = 8192
Rows = list[tuple[list[int], int]]
"""Of each option of each item, its tokens after <|endoftext|> and the prefix, and how many of them are only read."""


@dataclass(frozen=True)
class Item:
    """One question: what the model reads, the texts that are compared as its continuation, and which one is right."""

    prefix: str
    options: tuple[str, ...]
    answer: int = 0
    group: str = "all"
    """Questions are counted by group, such as a phenomenon of grammar, or how often a fact was met in training."""


def read_items(kind: str, path: str | Path) -> list[Item]:
    """The questions of a probe file, .jsonl. UserError naming the line that is not a question of this kind.

    pairs     {"good", "bad", "phenomenon"?}, or BLiMP's {"sentence_good", "sentence_bad", "UID"}
    choices   {"question" or "prefix", "options": […], "answer": number, "group"?}, HellaSwag's {"ctx", "endings",
              "label"}, or ARC's {"question": {"stem", "choices": [{"text", "label"}, …]}, "answerKey"}
    cloze     {"prefix", "answer", "group"?}, or LAMBADA's {"text"}, whose last word is asked for
    """
    items = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}.") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            items.append(FORMATS[kind](json.loads(line)))
        except KeyError as error:
            raise UserError(f"{path}, line {number}: there is no {error} in this question of {kind}.") from None
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            raise UserError(f"{path}, line {number} is not a question of {kind}: {error}.") from None
    if not items:
        raise UserError(f"there is no question in {path}.")
    return items


def pair(row: dict) -> Item:
    good, bad = (row[name if name in row else f"sentence_{name}"] for name in ("good", "bad"))
    return checked(Item("", (good, bad), 0, str(row.get("phenomenon", row.get("UID", "all")))))


def choice(row: dict) -> Item:
    if "endings" in row:
        prefix, options, answer = row["ctx"], row["endings"], int(row["label"])
    elif "prefix" in row:
        prefix, options, answer = row["prefix"], row["options"], row["answer"]
    elif isinstance(row["question"], dict):
        prefix, found = row["question"]["stem"], row["question"]["choices"]
        options, labels = [each["text"] for each in found], [each["label"] for each in found]
        answer = labels.index(row["answerKey"])
    else:
        prefix, options, answer = row["question"], row["options"], row["answer"]
    return checked(Item(prefix, tuple(spaced(prefix, option) for option in options), answer, group_of(row)))


def cloze(row: dict) -> Item:
    if "text" in row and "prefix" not in row:
        prefix, _, answer = row["text"].rstrip().rpartition(" ")
        return checked(Item(prefix, (" " + answer,)))
    return checked(Item(row["prefix"], (spaced(row["prefix"], row["answer"]),), 0, group_of(row)))


FORMATS: dict[str, Callable[[dict], Item]] = {"pairs": pair, "choices": choice, "cloze": cloze}


def group_of(row: dict) -> str:
    return str(row.get("group", row.get("exposures", "all")))


def spaced(prefix: str, option: str) -> str:
    """An end that continues the beginning with a space between them, where neither has one."""
    return option if not prefix or prefix[-1].isspace() or option[:1].isspace() else " " + option


def checked(item: Item) -> Item:
    """ValueError for what would be counted wrongly without a word."""
    if not all(isinstance(text, str) and text.strip() for text in item.options) or not isinstance(item.prefix, str):
        raise ValueError("texts must be strings that are not empty")
    if not isinstance(item.answer, int) or not 0 <= item.answer < len(item.options):
        raise ValueError(f"answer {item.answer!r} is none of its {len(item.options)} options, counted from 0")
    return item


def score(model: GPT, tokenizer, items: Sequence[Item], layout: Layout = Layout(), greedy: bool = False,
          rows: Rows | None = None) -> np.ndarray:  # fmt: skip
    """(options of all items, 3) float64: the log-probability of each option after its prefix in nats, its bytes, and
    with `greedy` whether each of its tokens is the model's likeliest (else 0).

    The prefix begins with <|endoftext|>. Prefix and option are turned into tokens together, as they would stand in a
    text; what all options of an item share in tokens is read, the rest is scored. Where both are longer than the
    context, the beginning of the prefix is cut off. Ranks share the work; each gets all of the result. Whoever asks the
    same items again and again passes `rows`, their tokens.
    """
    rows = rows or item_tokens(tokenizer, items, model.config.context)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    together = max(1, BATCH_TOKENS // len(rows[order[-1]][0]))
    batches = [order[i : i + together] for i in range(0, len(order), together)]
    found = np.zeros((len(rows), 3))
    for number in own_windows(list(range(len(batches))), layout):
        batch = batches[max(number, 0)]  # -1: this rank has no batch left, and computes one along with the others
        inputs, targets = to_rows([rows[i] for i in batch], tokenizer.eot)
        nats = token_losses(model, inputs, targets)
        if number < 0:
            continue
        scored = targets >= 0
        found[batch, 0] = -nats.sum(1)
        found[batch, 1] = np.where(scored, tokenizer.token_bytes[np.maximum(targets, 0)], 0).sum(1)
        if greedy:
            found[batch, 2] = (likeliest(model, inputs, scored) == targets).sum(1) == scored.sum(1)
    return sum_of_ranks(torch.from_numpy(found), layout).numpy()


def item_tokens(tokenizer, items: Sequence[Item], context: int) -> Rows:
    """(tokens, how many of them are only read) for each option, none longer than context + 1 tokens."""
    return [row for item in items for row in option_tokens(tokenizer, item, context)]


def option_tokens(tokenizer, item: Item, context: int) -> Iterator[tuple[list[int], int]]:
    """The same for the options of one item."""
    wholes = [[tokenizer.eot, *tokenizer.encode(item.prefix + option)] for option in item.options]
    prefix = [tokenizer.eot, *tokenizer.encode(item.prefix)]
    shared = min(next((i for i, (a, b) in enumerate(zip(prefix, whole)) if a != b), min(len(prefix), len(whole)))
                 for whole in wholes)  # fmt: skip
    for option, whole in zip(item.options, wholes):
        if len(whole) - shared > context:
            raise UserError(f"an option has {len(whole) - shared} tokens, more than the model's context of {context}: "
                            f"{option[:40]!r}…")  # fmt: skip
        cut = max(0, len(whole) - context - 1)
        yield whole[cut:], max(1, shared - cut)


def to_rows(rows: Rows, filler: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets, (rows, longest) int64; -100 where nothing is scored."""
    shape = len(rows), max(len(tokens) for tokens, _ in rows) - 1
    inputs, targets = np.full(shape, filler, np.int64), np.full(shape, -100, np.int64)
    for i, (tokens, read) in enumerate(rows):
        inputs[i, : len(tokens) - 1] = tokens[:-1]
        targets[i, read - 1 : len(tokens) - 1] = tokens[read:]
    return inputs, targets


def likeliest(model: GPT, inputs: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The token that the model finds likeliest at each of these places, int64, -1 elsewhere."""
    device = model.embed.weight.device
    with evaluating(model), torch.no_grad():
        x = model.hidden(torch.from_numpy(inputs).to(device))
        found = model.logits(x[torch.from_numpy(where).to(device)]).argmax(-1)
    tokens = np.full(inputs.shape, -1, np.int64)
    tokens[where] = found.cpu().numpy()
    return tokens


def probe(model: GPT, tokenizer, kind: str, items: Sequence[Item], layout: Layout = Layout(),
          rows: Rows | None = None) -> dict:  # fmt: skip
    """{"kind", "items", "accuracy", "interval": [low, high], "chance", "groups": {name: the same}} of a probe.

    pairs     accuracy by the log-probability of the whole sentence
    choices   by log-probability a byte (long ends are not punished for their length); "accuracy_sum": without dividing
    cloze     the share of ends of which each token is the likeliest; "nats": the mean cost of an end
    Of options that tie, one is drawn: half a point for a tie of two. The interval is Wilson's, at 95 % (Wilson 1927).
    """
    table = score(model, tokenizer, items, layout, greedy=kind == "cloze", rows=rows)
    parts = np.split(table, np.cumsum([len(item.options) for item in items])[:-1])
    marks = [outcome(kind, item, part, model.config.vocab_size) for item, part in zip(items, parts)]
    groups = {name: summary([mark for mark, item in zip(marks, items) if item.group == name])
              for name in dict.fromkeys(item.group for item in items)}  # fmt: skip
    return {"kind": kind, **summary(marks), "groups": groups}


def outcome(kind: str, item: Item, part: np.ndarray, vocab_size: int) -> dict[str, float]:
    """What one question adds to the averages."""
    logprob, size, greedy = part.T
    if kind == "cloze":
        return {"accuracy": greedy[0], "chance": 1 / vocab_size, "nats": -logprob[0]}
    right = lambda scores: float(scores[item.answer] == scores.max()) / (scores == scores.max()).sum()
    found = {"accuracy": right(logprob if kind == "pairs" else logprob / size), "chance": 1 / len(item.options)}
    return found | ({"accuracy_sum": right(logprob)} if kind == "choices" else {})


def summary(rows: list[dict[str, float]]) -> dict:
    means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    return {"items": len(rows), **means, "interval": wilson(means["accuracy"], len(rows))}


def as_text(found: dict) -> dict[str, str]:
    """What `probe` found, a line for all of it and for each group if there are several."""

    def line(row):
        low, high = row["interval"]
        return (f"{row['accuracy']:.3f} (95 %: {low:.3f} to {high:.3f}; chance {row['chance']:.3f}; "
                f"{row['items']:,} items)")  # fmt: skip

    groups = found["groups"].items() if len(found["groups"]) > 1 else ()
    return {found["kind"]: line(found)} | {f"  {name}": line(row) for name, row in groups}


def wilson(share: float, n: int, z: float = 1.96) -> list[float]:
    """The 95 % interval of a share that n independent questions gave; it never leaves [0, 1] (Wilson 1927).

    >>> [round(end, 3) for end in wilson(0.5, 100)]
    [0.404, 0.596]
    """
    middle, width = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return [max(0.0, (middle - width) / (1 + z * z / n)), min(1.0, (middle + width) / (1 + z * z / n))]
