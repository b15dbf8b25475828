"""What was done to a crawl, as one page, `data_report.html` in the data folder: what each step removed and why, with
samples of what went and of what stayed. Like report.html, it is a single file that needs nothing else.
"""
import json
from pathlib import Path

from .files import write_atomic
from .report import bar_chart, escape, figure, fill_page
from .shards import STEPS, read_manifest
from .text.steps import Statistics


def write_data_report(folder: Path) -> Path:
    """(Re)write the report of a data folder that was made of a crawl. Returns the file."""
    manifest = read_manifest(folder)
    steps = {name: Statistics.from_json(fields) for name, fields in json.loads((folder / STEPS).read_bytes()).items()}
    first, *_, last = steps.values()
    tokens = " and ".join(f"{split['tokens']:,} tokens to {verb} on" for verb, split in (
        ("train", manifest["splits"]["train"]), ("validate", manifest["splits"]["val"])))
    lede = (f'<p class="lede">Of {first.documents:,} pages ({megabytes(first.bytes)} of HTML), {last.kept:,} are left, '
            f"with {megabytes(last.kept_bytes)} of text: {tokens}.</p>")  # fmt: skip
    sections = {"Step by step": step_by_step(steps), "By domain": by_domain(manifest),
                "Samples of what is kept": samples(last), "Samples of what went": "".join(
                    f"<h3>{escape(name)}</h3>{samples(step)}" for name, step in steps.items() if step.removed)}
    file = folder / "data_report.html"
    write_atomic(file, fill_page(folder, "data set", lede, sections))
    return file


def megabytes(size: float) -> str:
    return f"{size / 1e6:,.2f} MB"


def step_by_step(steps: dict[str, Statistics]) -> str:
    """How much is left behind each step, as bars, and a row of a table for each reason."""
    kept = {name: {"MB": step.kept_bytes / 1e6} for name, step in steps.items()}
    first, *_, last = steps.values()
    words = (f"After reading there are {megabytes(first.kept_bytes)} of HTML, at the end "
             f"{megabytes(last.kept_bytes)} of text.")  # fmt: skip
    rows = []
    for name, step in steps.items():
        rows.append((name, "kept", step.kept, step.kept_bytes))
        rows += [("", f"removed: {reason}", count, step.removed_bytes[reason])
                 for reason, count in step.removed.most_common()]
        noted = {"changed": step.changed} | {key: n for key, n in step.counts.items() if not key.startswith("item ")}
        rows += [("", f"noted: {key}", count, "") for key, count in noted.items() if count]
    return figure("What is left behind each step", words, bar_chart, kept) + table_of(
        ("step", "what", "documents", "bytes"), rows)


def by_domain(manifest: dict) -> str:
    """Sizes of the splits, and the mixture where there is one."""
    mixture = manifest.get("mixture", {})
    rows = [(name, split, counts["documents"], counts["bytes"], counts["tokens"],
             f"{mixture[name]['epochs']:.2f}" if split == "train" and name in mixture else "")
            for split, part in manifest["splits"].items() for name, counts in part["domains"].items()]  # fmt: skip
    return table_of(("domain", "split", "documents", "bytes", "tokens", "epochs"), rows)


def table_of(heads, rows) -> str:
    """Rows of text and numbers as HTML."""
    cells = ["".join(f'<td class="number">{cell:,}</td>' if isinstance(cell, int) else f"<td>{escape(cell)}</td>"
                     for cell in row) for row in rows]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def samples(step: Statistics) -> str:
    """The beginnings of a few documents for each reason, chosen by a hash of their ids."""
    return "".join(
        f"<details><summary>{escape(reason)}</summary>" + "".join(
            f'<p class="note">{escape(id)}</p><pre>{escape(text)}</pre>' for _, id, text in chosen) + "</details>"
        for reason, chosen in sorted(step.samples.items()))  # fmt: skip
