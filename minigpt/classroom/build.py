"""Make the notebooks and the pages about the course from their sources.

    python -m minigpt.classroom.build [--check] [--force] [--jobs N] [--instructor DIR] [NN…]

    notebooks/source/04.py  →  notebooks/04_attention.ipynb   executed
    solutions/source/04.py  →  solutions/04_attention.ipynb   executed; every check must pass
                            →  exercises/04_attention.ipynb   with holes, without outputs
    all front matters       →  docs/course.md, docs/glossary.md, docs/reading.md

A notebook is executed again when its code has changed, a module of minigpt that it imports, or what it takes off the
shelf; when only its prose has, it is written anew around the outputs that it has. `--check` writes nothing and names
what is not up to date.

The same sources give the same bytes: ids of cells are hashes of what is in them, and a notebook keeps no times, no
versions and no widgets. Only cells tagged `timing` print something else each time; their outputs stay as they are for
as long as the code does. The build sees nothing of yours: runs/ and the journal are empty temporary folders.
"""
import argparse
import ast
import functools
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..config import UserError
from ..files import write_atomic
from . import lessons
from .depends import PACKAGE, bare_code, closure, module_path, modules
from .lessons import Cell, Lesson
from .shelf import script_file

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
SOLUTION = Edition("solutions", "solutions", STAFF, "passed", True)
EXERCISE = Edition("exercises", "solutions", STAFF | {"solution"}, "todo", False)
EDITIONS = (LESSON, SOLUTION, EXERCISE)


# ---- from a source to a notebook, without outputs --------------------------------------------------------------------


def source_path(id: str, edition: Edition) -> Path:
    return lessons.ROOT / edition.source / "source" / f"{id}.py"


def path_of(id: str, edition: Edition) -> Path:
    return lessons.ROOT / edition.folder / f"{lessons.STEMS[id]}.ipynb"


def page(id: str, edition: Edition) -> list[Cell]:
    """The cells of one edition: its tags cut, its solutions cut or shown, the front matter made into a title."""
    path, cells = source_path(id, edition), []
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
    """A fingerprint of what the outputs come from: the code of the cells, that of the modules they import, the records
    they read, and for `model_from` all that trains the stand-in."""
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    try:
        records = [file for source in code for file in records_of(source)]
        texts = code + [file.read_text("utf-8") for file in records]
        scripts = [file.read_text("utf-8") for file in records if file.suffix == ".py"]  # a live run executes them
        used = {name for source in code + scripts for name in modules(source)}
        if any(calls(source, "model_from") for source in code):
            used |= closure("train")
    except SyntaxError as error:
        raise UserError(f"lesson {id}: {error.msg} in the line {(error.text or '').strip()!r}.") from None
    texts += [f"{name}\n{bare_code(module_path(name))}" for name in sorted(used)]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def records_of(source: str) -> list[Path]:
    """The records that a piece of code reads, `recorded("04.scale")`, each behind the script that made it."""
    found = []
    for name in [call.args[0].value for call in calls(source, "recorded")
                 if call.args and isinstance(call.args[0], ast.Constant)]:  # fmt: skip
        with suppress(UserError):  # no such record: executing the cell will say so
            script = script_file(str(name))
            found += [file for file in (script, script.with_suffix(".json")) if file.exists()]
    return found


def calls(source: str, name: str) -> list[ast.Call]:
    """The calls of a function in a piece of code, also as an attribute of something."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [node for node in nodes if ast.unparse(node.func).rpartition(".")[2] == name]


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
    return [job(id, edition, force) for id in ids for edition in EDITIONS if source_path(id, edition).exists()]


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
        made = {path_of(id, e) for id in lessons.STEMS for e in EDITIONS if source_path(id, e).exists()}
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
            cell |= {"execution_count": ran["execution_count"], "outputs": clean_outputs(ran["outputs"], runs)}
            if "timing" in cell["metadata"].get("tags", ()):  # the same code: its time measured again is no news
                cell["outputs"] = job.before.get(cell["id"], cell)["outputs"]
    return time.perf_counter() - started


def clean_outputs(outputs: list[dict], runs: Path) -> list[dict]:
    """Outputs without what differs between two builds: the folder that stood for runs/, and how a stream fell into
    pieces. (Pictures are the same by themselves: see `viz.png`.)"""
    cleaned = []
    for output in json.loads(json.dumps(outputs).replace(json.dumps(str(runs))[1:-1], "runs")):
        last = cleaned[-1] if cleaned else {}
        if output["output_type"] == "stream" and output["name"] == last.get("name"):
            last["text"] = "".join(last["text"] + output["text"]).splitlines(keepends=True)
        else:
            cleaned.append(output)
    return cleaned


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
            together = min(jobs, len(group))
            with ThreadPoolExecutor(together or 1) as pool:  # a thread waits, the work is in the kernels' processes
                times = pool.map(functools.partial(_execute, runs=Path(runs), alone=together == 1), group)
                for job, ran in zip(group, times):
                    failed += ran is None
                    if ran and job.edition is LESSON:
                        keep_time(job.id, *ran)
    for name, text in pages().items():
        path = lessons.ROOT / "docs" / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            write_atomic(path, text)
            print(f"wrote     docs/{name}")
    return failed


def _execute(job: Job, runs: Path, alone: bool) -> tuple[float, float | None] | None:
    """Execute a notebook and write it. Returns its seconds, and those of the probe around it, by which another machine
    can scale them: None where other jobs ran beside it, whose share of the cores nobody knows. If it failed: None."""
    probes = [probe()] if alone else []
    try:
        seconds = execute(job, runs, threads=2 if alone else 1)
    except Failed as error:
        print(f"FAILED    {error}\n", file=sys.stderr, flush=True)
        return None
    write_atomic(job.path, to_json(job.notebook))
    print(f"executed  {job.name} ({seconds:.0f} s)", flush=True)
    return seconds, (probes[0] + probe()) / 2 if alone else None


# ---- time budgets ----------------------------------------------------------------------------------------------------


def budgets() -> dict[str, dict]:
    """notebooks/budgets.json, by lesson: {"04": {"seconds", "limit", "probe"}}; see `_execute` for the probe."""
    path = lessons.LESSONS / "budgets.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def keep_time(id: str, seconds: float, probe: float | None) -> None:
    """Write a lesson's time into budgets.json, beside the limit that it has there."""
    kept = budgets()
    limit = kept.get(id, {}).get("limit", LIMIT)
    kept[id] = {"seconds": round(seconds, 1), "limit": limit, "probe": probe and round(probe, 3)}
    kept = {id: kept[id] for id in lessons.STEMS if id in kept}
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
