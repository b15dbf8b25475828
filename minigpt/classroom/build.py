"""Make the notebooks and the pages about the course from their sources.

    python -m minigpt.classroom.build [--check] [--force] [--jobs N] [--instructor DIR] [NN…]

    notebooks/source/04.py  →  notebooks/04_attention.ipynb   executed
    solutions/source/04.py  →  solutions/04_attention.ipynb   executed; every check must pass
                            →  exercises/04_attention.ipynb   with holes, without outputs
    all front matters       →  docs/course.md, docs/glossary.md, docs/reading.md

A notebook is executed again when its code has changed or a module of minigpt that it imports has; when only its prose
has, it is written anew around the outputs that it has. `--check` writes nothing and names what is not up to date.

The same sources give the same bytes: ids of cells are hashes of what is in them, and a notebook keeps no times, no
versions and no widgets. Only cells tagged `timing` print something else each time; their outputs stay as they are for
as long as the code does. The build sees nothing of yours: runs/ and the journal are empty temporary folders.
"""
import argparse
import ast
import base64
import functools
import hashlib
import io
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import tokenize
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from .. import _MODULE_OF
from ..config import UserError
from ..files import write_atomic
from . import lessons
from .lessons import Cell, Lesson

PACKAGE = Path(__file__).resolve().parents[1]
STAFF = frozenset({"instructor", "slide"})
METADATA = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"}}  # fmt: skip
LIMIT = 120
"""Seconds that a lesson may take on two cores, where budgets.json does not say otherwise."""
ASSUMED = (
    "python", "function", "list", "dictionary", "class", "byte", "file", "command line",
    "tensor", "shape", "broadcasting", "matrix product", "dot product",
    "mean", "variance", "probability", "logarithm", "exponential", "derivative", "gradient", "chain rule",
)  # fmt: skip
"""Terms that nothing teaches: what `minigpt ready` asks about before lesson 00."""
CORE = "00 01 02 03 04 05 08 09 12 14 16 18 19 21".split()
READERS = "00 14 15 18 19".split()


class Edition(NamedTuple):
    """One of the forms in which a source is published."""

    folder: str
    source: str
    """Its source is in this folder's `source`."""
    without: frozenset[str]
    """Cells with one of these tags are left out."""
    expect: str
    """What every check must say: MINIGPT_EXPECT while the notebook runs."""
    executed: bool


LESSON = Edition("notebooks", "notebooks", STAFF, "", True)
SOLUTION = Edition("solutions", "solutions", STAFF | {"exercise-only"}, "passed", True)
EXERCISE = Edition("exercises", "solutions", STAFF | {"solution"}, "todo", False)
EDITIONS = (LESSON, SOLUTION, EXERCISE)


# ---- from a source to a notebook, without outputs --------------------------------------------------------------------


def source_of(id: str, edition: Edition) -> Path:
    return lessons.ROOT / edition.source / "source" / f"{id}.py"


def path_of(id: str, edition: Edition) -> Path:
    return lessons.ROOT / edition.folder / f"{lessons.STEMS[id]}.ipynb"


def page(id: str, edition: Edition) -> list[Cell]:
    """The cells of one edition: its tags cut, its solutions cut or shown, the front matter made into a title."""
    path, cells = source_of(id, edition), []
    for cell in lessons.read_cells(path):
        if edition.without.intersection(cell.tags):
            continue
        if cell.kind == "raw":
            cell = Cell("markdown", front_page(lessons.lesson(id)), cell.tags)
        elif cell.kind == "code":
            choose = lessons.cut if edition is EXERCISE else lessons.solved
            cell = cell._replace(source=choose(cell.source, path.name))
        elif edition is EXERCISE:
            cell = cell._replace(source=_without_third_hint(cell.source))
        cells.append(cell)
    return cells


def _without_third_hint(markdown: str) -> str:
    """The last hint nearly gives the answer, so it takes two attempts: `hint` knows how many there were."""
    name = re.match(r"## (\w+)\.\d+ (\w+):", markdown)
    call = f'`hint("{name[1]}.{name[2]}")`' if name else "`hint(…)`"
    told = f"<details><summary>Hint 3</summary>\n\nAfter two attempts of yours: {call}.\n\n</details>"
    return re.sub(r"<details><summary>Hint 3.*?</details>", lambda _: told, markdown, flags=re.S)


def front_page(lesson: Lesson) -> str:
    """The first cell of a lesson, as markdown."""
    taught = {term.lower(): earlier.id for earlier in all_lessons() for term in earlier.teaches}
    needs = [f"{term} ({taught[term.lower()]})" if term.lower() in taught else term for term in lesson.needs]
    exercises = f"[{lesson.exercises} minutes of exercises](../exercises/{lesson.stem}.ipynb)"
    facts = {
        "You need": ", ".join(needs) or "nothing yet",
        "Time": f"{lesson.reading} minutes to read and run" + (f", {exercises}" if lesson.exercises else ""),
        "Route": "core" if lesson.route == "core" else "further: you may skip it without loss later",
        "Paper": lesson.paper,
    }
    return "\n".join([
        f"# {'Primer' if lesson.id == 'primer' else lesson.id} · {lesson.title}", "", f"**{lesson.question}**", "",
        "Afterwards you can", "", *(f"- {able}" for able in lesson.able), "",
        *(f"*{name}:* {fact}  " for name, fact in facts.items() if fact),
    ]).rstrip()  # fmt: skip


def notebook(id: str, edition: Edition) -> dict:
    """A notebook as it stands in its file (texts are lists of lines), with no outputs yet."""
    cells, seen = [], Counter()
    for kind, source, tags in page(id, edition):
        key = hashlib.sha1((kind + source).encode()).hexdigest()[:8]
        seen[key] += 1
        cell = {"cell_type": kind, "id": key if seen[key] == 1 else f"{key}-{seen[key]}",
                "metadata": {"tags": list(tags)} if tags else {},
                "source": source.splitlines(keepends=True)}  # fmt: skip
        cells.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    metadata = METADATA | ({"minigpt": {"made_from": made_from(cells, id)}} if edition.executed else {})
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def to_json(notebook: dict) -> str:
    """As Jupyter writes it, so that opening and saving a notebook changes nothing."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


# ---- what a notebook depends on --------------------------------------------------------------------------------------


def code_cells(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def made_from(cells: list[dict], id: str = "") -> str:
    """A fingerprint of what the outputs come from: the code of the cells, and that of the modules they import."""
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    try:
        used = {name for source in code for name in modules(source)}
    except SyntaxError as error:
        raise UserError(f"lesson {id}: {error.msg} in the line {(error.text or '').strip()!r}.") from None
    parts = code + [f"{name}\n{bare_code(module_path(name))}" for name in sorted(used)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def modules(source: str) -> set[str]:
    """The modules of minigpt that a piece of code names, without those of the classroom (but for `viz`, which draws).

    Example: "from minigpt import GPT\\nfrom minigpt.text.sources import read_text" -> {"model", "text.sources"}
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "minigpt":
            found.add(f"minigpt.{node.attr}")
    names = {name.removeprefix("minigpt.") for name in found if name.startswith("minigpt.")}
    names = {"classroom.viz" if name == "classroom.show" else _MODULE_OF.get(name, name) for name in names}
    ours = {name for name in names if not name.startswith("classroom") or name == "classroom.viz"}
    return {name for name in ours if module_path(name).exists()}


def module_path(name: str) -> Path:
    return PACKAGE.joinpath(*name.split(".")).with_suffix(".py")


@functools.cache
def bare_code(path: Path) -> str:
    """A module without its comments, docstrings and blank lines, so that mending those makes no lesson stale.

    Not `ast.dump`, which differs from one Python to the next.
    """
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    if "#" in source:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


# ---- what there is to do ---------------------------------------------------------------------------------------------


class Job(NamedTuple):
    """A notebook to make."""

    id: str
    edition: Edition
    notebook: dict
    """With the outputs of the old one, where they still hold."""
    execute: bool
    before: dict[str, dict]
    """The cells that the same code has produced before, by id."""

    @property
    def path(self) -> Path:
        return path_of(self.id, self.edition)

    @property
    def name(self) -> str:
        return f"{self.edition.folder}/{self.path.name}"

    @property
    def kept(self) -> bool:
        """Whether the file is as it should be."""
        return not self.execute and self.path.exists() and self.path.read_text("utf-8") == to_json(self.notebook)


def plan(ids: list[str], force: bool = False) -> list[Job]:
    """One job for each notebook of these lessons, also for those that are up to date."""
    return [job(id, edition, force) for id in ids for edition in EDITIONS if source_of(id, edition).exists()]


def job(id: str, edition: Edition, force: bool = False) -> Job:
    """What is to be done for one notebook."""
    new, path, before = notebook(id, edition), path_of(id, edition), {}
    if not edition.executed:
        return Job(id, edition, new, False, before)
    try:
        old = json.loads(path.read_text("utf-8"))
        if old["metadata"]["minigpt"] == new["metadata"]["minigpt"]:
            before = {cell["id"]: cell for cell in code_cells(old) if cell["execution_count"]}
    except (OSError, ValueError, LookupError, TypeError):  # not there, or broken by a merge
        pass
    if force or not all(cell["id"] in before for cell in code_cells(new)):
        return Job(id, edition, new, True, before)
    for cell in code_cells(new):
        cell |= {name: before[cell["id"]][name] for name in ("outputs", "execution_count")}
    return Job(id, edition, new, False, before)


def stale(ids: list[str] | None = None) -> list[str]:
    """One sentence for each file that is not what its source says; without ids also for what belongs to no lesson."""
    todo = [job for job in plan(lessons.written() if ids is None else ids) if not job.kept]
    found = [f"{job.name} is not built." if not job.path.exists()
             else f"{job.name} is older than its source or than a module that it imports." if job.execute
             else f"{job.name} differs from its source." for job in todo]  # fmt: skip
    found += [f"docs/{name} differs from the lessons' front matter." for name, text in pages().items()
              if not (path := lessons.ROOT / "docs" / name).exists() or path.read_text("utf-8") != text]  # fmt: skip
    if ids is None:
        made = {path_of(id, edition) for id in lessons.STEMS for edition in EDITIONS if source_of(id, edition).exists()}
        there = {path for edition in EDITIONS for path in (lessons.ROOT / edition.folder).glob("*.ipynb")}
        found += [f"{path.parent.name}/{path.name} has no source." for path in sorted(there - made)]
    return found + curriculum(all_lessons())


# ---- executing -------------------------------------------------------------------------------------------------------


def environment(expect: str, scratch: Path, runs: Path, threads: int) -> dict[str, str]:
    """What the kernels of the build and of the tests find in their environment: nothing of yours.

    Args:
        expect: What each check must say: "todo", "passed", or "" for anything.
        scratch: A folder of this notebook alone.
        runs: Where runs/first is, if lesson 00 was there before.
        threads: Of torch: one each when two notebooks share two cores.
    """
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))  # cells run elsewhere
    return {
        "MINIGPT_HOME": str(scratch / "home"), "MINIGPT_RUNS": str(runs), "MINIGPT_STATIC": "1", "TQDM_DISABLE": "1",
        "MINIGPT_EXPECT": expect, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": path,
        "IPYTHONDIR": str(scratch / "ipython"),  # no start-up files of the author
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # an author's own choice would show no pictures
        "PYTHONHASHSEED": "0",  # a printed set keeps its order from one build to the next
    }  # fmt: skip


class Failed(Exception):
    """A cell raised, or the kernel died; the text says where."""


def execute(job: Job, runs: Path, threads: int) -> float:
    """Run a job's notebook, in place, in a kernel of its own. Returns the seconds it took."""
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpecManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellControlSignal, DeadKernelError
    from nbformat import ValidationError, v4

    node, started = v4.reads(json.dumps(job.notebook)), time.perf_counter()
    specs = KernelSpecManager(kernel_dirs=[])  # the Python that runs this, whatever kernels the machine has registered
    with tempfile.TemporaryDirectory(prefix="minigpt-build-", ignore_cleanup_errors=True) as scratch:
        manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
        client = NotebookClient(node, manager, timeout=300, record_timing=False,
                                resources={"metadata": {"path": str(job.path.parent)}})  # fmt: skip
        env = os.environ | environment(job.edition.expect, Path(scratch), runs, threads)
        try:
            client.execute(cleanup_kc=True, env=env, stderr=subprocess.DEVNULL)  # what the kernel says of itself
        except (CellControlSignal, DeadKernelError, ValidationError) as error:  # the last: an output that is none
            raise Failed(f"{job.name}: {re.sub(chr(27) + r'.*?m', '', str(error)).strip()}") from None
    for cell, ran in zip(job.notebook["cells"], json.loads(v4.writes(node))["cells"]):
        if cell["cell_type"] == "code":
            cell |= {"execution_count": ran["execution_count"], "outputs": tidy(ran["outputs"], runs)}
            if "timing" in cell["metadata"].get("tags", ()):  # the same code: its time measured again is no news
                cell["outputs"] = job.before.get(cell["id"], cell)["outputs"]
    return time.perf_counter() - started


def tidy(outputs: list[dict], runs: Path) -> list[dict]:
    """Outputs without what differs between two builds: the folder that stood for runs/, how a stream fell into pieces,
    and who made a picture."""
    tidied = []
    for output in json.loads(json.dumps(outputs).replace(json.dumps(str(runs))[1:-1], "runs")):
        last = tidied[-1] if tidied else {}
        if output["output_type"] == "stream" and output["name"] == last.get("name"):
            last["text"] = "".join(last["text"] + output["text"]).splitlines(keepends=True)
            continue
        if "image/png" in output.get("data", {}):
            output["data"]["image/png"] = bare_png("".join(output["data"]["image/png"]))
        tidied.append(output)
    return tidied


def bare_png(data: str) -> str:
    """A base64 PNG without its text chunks, where matplotlib writes its version."""
    png = base64.b64decode(data)
    kept, at = png[:8], 8
    while at < len(png):  # a chunk: its length, its type, its content, a checksum
        end = at + 12 + struct.unpack(">I", png[at : at + 4])[0]
        kept += b"" if png[at + 4 : at + 8] in (b"tEXt", b"iTXt", b"zTXt") else png[at:end]
        at = end
    return base64.b64encode(kept).decode()


def build(ids: list[str], force: bool = False, jobs: int = 2) -> int:
    """Make what is not up to date, `jobs` notebooks at a time; returns how many failed."""
    todo = [job for job in plan(ids, force) if not job.kept]
    for job in todo:
        job.path.parent.mkdir(parents=True, exist_ok=True)
        if not job.execute:
            write_atomic(job.path, to_json(job.notebook))
            print(f"wrote     {job.name}", flush=True)
    failed, todo = 0, [job for job in todo if job.execute]
    first = [job for job in todo if (job.id, job.edition) == ("00", LESSON)]  # later ones reopen the run that it makes
    with tempfile.TemporaryDirectory(prefix="minigpt-runs-", ignore_cleanup_errors=True) as runs:
        for group in first, [job for job in todo if job not in first]:
            # Alone, a notebook has both cores, and only then is its time one that counts.
            together = min(jobs, len(group))
            with ThreadPoolExecutor(together or 1) as pool:  # a thread waits, the work is in the kernels' processes
                threads = 2 if together == 1 else 1
                times = pool.map(functools.partial(_execute, runs=Path(runs), threads=threads), group)
                for job, seconds in zip(group, times):
                    failed += seconds is None
                    if seconds is not None and job.edition is LESSON:
                        keep_time(job.id, seconds, alone=together == 1)
    for name, text in pages().items():
        path = lessons.ROOT / "docs" / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            write_atomic(path, text)
            print(f"wrote     docs/{name}")
    return failed


def _execute(job: Job, runs: Path, threads: int) -> float | None:
    try:
        seconds = execute(job, runs, threads)
    except Failed as error:
        print(f"FAILED    {error}\n", file=sys.stderr, flush=True)
        return None
    write_atomic(job.path, to_json(job.notebook))
    print(f"executed  {job.name} ({seconds:.0f} s)", flush=True)
    return seconds


# ---- time budgets ----------------------------------------------------------------------------------------------------


def budgets() -> dict:
    """notebooks/budgets.json: {"probe_seconds": p, "lessons": {"04": {"seconds", "limit", "measured"}}}.

    `measured` is false for a lesson that shared the cores with another: its seconds are then only an upper bound.
    """
    path = lessons.LESSONS / "budgets.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {"probe_seconds": None, "lessons": {}}


def keep_time(id: str, seconds: float, alone: bool) -> None:
    """Write a lesson's time into budgets.json; beside it the probe, so that another machine can scale it."""
    kept = budgets()
    limit = kept["lessons"].get(id, {}).get("limit", LIMIT)
    kept["lessons"][id] = {"seconds": round(seconds, 1), "limit": limit, "measured": alone}
    kept["lessons"] = {id: kept["lessons"][id] for id in lessons.STEMS if id in kept["lessons"]}
    if alone or kept["probe_seconds"] is None:
        kept["probe_seconds"] = round(probe(), 3)
    write_atomic(lessons.LESSONS / "budgets.json", json.dumps(kept, indent=1) + "\n")


def probe() -> float:
    """Seconds of a fixed piece of work (matrix products and softmax on two threads): how fast is this machine?

    About half a second on two EPYC cores; the best of three rounds, since a busy machine only ever adds time.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    a = torch.randn(768, 512, generator=torch.Generator().manual_seed(0))
    rounds = []
    for _ in range(3):
        started = time.perf_counter()
        for _ in range(8):
            torch.softmax(a @ a.T, dim=-1) @ a
        rounds.append(time.perf_counter() - started)
    torch.set_num_threads(threads)
    return 3 * min(rounds)


# ---- the pages about the course --------------------------------------------------------------------------------------


def all_lessons() -> list[Lesson]:
    """The front matters of the lessons that exist, in the order of the course."""
    return [lessons.lesson(id) for id in lessons.written()]


def curriculum(course: list[Lesson]) -> list[str]:
    """One sentence for each term that is needed before it is taught, or taught twice, and each route that is wrong."""
    found, taught = [], dict.fromkeys(ASSUMED, "ASSUMED")
    for lesson in course:
        found += [f"lesson {lesson.id} needs {term!r}, which no lesson before it teaches."
                  for term in lesson.needs if term.lower() not in taught]  # fmt: skip
        for term in lesson.teaches:
            if where := taught.get(term.lower()):
                found.append(f"lesson {lesson.id} teaches {term!r}, which {where} has.")
            taught[term.lower()] = f"lesson {lesson.id}"
        if lesson.route not in ("core", "further") or (lesson.route == "core") != (lesson.id in CORE):
            found.append(f"lesson {lesson.id}: its route is {lesson.route!r}, but the core path is {' '.join(CORE)}.")
    return found


def pages() -> dict[str, str]:
    """The generated pages of docs/, by the names of their files."""
    note = "<!-- Generated from the lessons' front matter by `python -m minigpt.classroom.build`; do not edit. -->\n"
    made = {"course.md": course_map, "glossary.md": glossary, "reading.md": reading_list}
    course = all_lessons()
    return {name: f"{note}{make(course)}\n" for name, make in made.items()}


def _link(lesson: Lesson) -> str:
    return f"[{lesson.id} {lesson.title}](../notebooks/{lesson.stem}.ipynb)"


def course_map(course: list[Lesson]) -> str:
    """All parts with their lessons, and the routes through them."""
    known = {lesson.id: lesson for lesson in course}
    names = {id: _link(known[id]) if id in known else stem.replace("_", " ") for id, stem in lessons.STEMS.items()}
    where = "Not sure where to start? `python -m minigpt ready` asks twelve questions in ten minutes."
    lines = ["# Course map", "", where, ""]
    for part, stems in lessons.PARTS.items():
        lines += [f"## {part}", "", "| lesson | question | read and run | exercises | route |", "|---|---|---|---|---|"]
        for id in (stem.split("_")[0] for stem in stems.split()):
            about = known.get(id)
            facts = (
                [about.question, f"{about.reading} min", f"{about.exercises} min", about.route] if about
                else ["*not written yet*", "", "", "core" if id in CORE else "further"]
            )  # fmt: skip
            lines.append(f"| {names[id]} | {' | '.join(facts)} |")
        lines.append("")
    minutes = sum(lesson.reading + lesson.exercises for lesson in course if lesson.id in CORE)
    unwritten = [id for id in lessons.STEMS if id not in known]
    lines += [
        "## Routes", "",
        f"- **Core path**: {', '.join(CORE)}; at most 30 hours. Its lessons that are written take {minutes} minutes, "
        "all their exercises included.",
        "- **Further**: the others; any of them may be skipped without loss later.",
        f"- **Reader's path**, without code, two hours: {', '.join(READERS)}.", "",
        f"{len(known)} of {len(lessons.STEMS)} lessons are written"
        + (f"; to come: {', '.join(unwritten)}." if unwritten else "."), "",
        "[Glossary](glossary.md) · [Reading list](reading.md)",
    ]  # fmt: skip
    return "\n".join(lines)


def glossary(course: list[Lesson]) -> str:
    """Every term that a lesson teaches, in alphabetical order."""
    terms = sorted(((term, meaning, lesson) for lesson in course for term, meaning in lesson.teaches.items()),
                   key=lambda row: (row[0].casefold(), row[0]))  # fmt: skip
    rows = [f"| **{term}** | {_cell(meaning)} | {_link(lesson)} |" for term, meaning, lesson in terms]
    return "\n".join(["# Glossary", "", "| term | meaning | taught in |", "|---|---|---|", *rows])


def reading_list(course: list[Lesson]) -> str:
    """The paper of each lesson."""
    rows = [f"| {_link(lesson)} | {_cell(lesson.paper)} |" for lesson in course if lesson.paper]
    return "\n".join(["# Reading list", "", "One paper a lesson.", "", "| lesson | paper |", "|---|---|", *rows])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# ---- the instructor's edition ----------------------------------------------------------------------------------------


def instructors(ids: list[str], folder: Path) -> None:
    """Write everything, also the cells for instructors and the slides, with the outputs of the learners' edition.

    In a slide show (`jupyter nbconvert --to slides`) the cells tagged `slide` are the slides and those tagged
    `instructor` the speaker's notes; the others are skipped.
    """
    if folder.resolve() in [(lessons.ROOT / edition.folder).resolve() for edition in EDITIONS]:
        raise UserError(f"--instructor {folder}: that folder is for learners; choose another.")
    folder.mkdir(parents=True, exist_ok=True)
    for job in plan(ids):
        if not job.edition.executed:
            continue
        outputs = {cell["id"]: cell for cell in code_cells(job.notebook)}
        whole = notebook(job.id, job.edition._replace(without=frozenset()))
        for cell in whole["cells"]:
            cell |= outputs.get(cell["id"], {}) if cell["cell_type"] == "code" else {}
            tags = cell["metadata"].get("tags", ())
            kind = "slide" if "slide" in tags else "notes" if "instructor" in tags else "skip"
            cell["metadata"] = cell["metadata"] | {"slideshow": {"slide_type": kind}}
        suffix = "" if job.edition is LESSON else "_solutions"
        write_atomic(folder / f"{job.path.stem}{suffix}.ipynb", to_json(whole))


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m minigpt.classroom.build", description=__doc__.splitlines()[0])
    parser.add_argument("lessons", nargs="*", metavar="NN", help="lessons; none: all that have a source")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if something is not up to date")
    parser.add_argument("--force", action="store_true", help="execute also what is up to date")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at a time; 1 measures the lessons' budgets")
    parser.add_argument("--instructor", type=Path, metavar="DIR", help="write the instructor's edition to DIR")
    args = parser.parse_args(argv)
    try:
        if unknown := set(args.lessons) - set(lessons.written()):
            raise UserError(f"there is no source of lesson {sorted(unknown)[0]!r} in {lessons.LESSONS / 'source'}.")
        if args.jobs < 1:
            raise UserError("--jobs must be at least 1.")
        ids = [id for id in lessons.written() if not args.lessons or id in args.lessons]
        if args.check:
            found = stale(ids if args.lessons else None)
            print("\n".join(found) or "all up to date")
            return 1 if found else 0
        if args.instructor:
            instructors(ids, args.instructor)
            return 0
        failed = build(ids, args.force, args.jobs)
        for sentence in curriculum(all_lessons()):
            print(f"warning: {sentence}", file=sys.stderr)
        return 1 if failed else 0
    except UserError as error:
        print(f"build: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
