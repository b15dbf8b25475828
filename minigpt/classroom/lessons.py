"""The lessons as they are written: one source each in the percent format, read here and nowhere else.

`notebooks/source/04.py` is the lesson, `solutions/source/04.py` its exercises with their solutions. The first cell of a
lesson is its front matter: TOML, which says what the lesson teaches and needs. From these two kinds of file come the
notebooks, the course map, the glossary, the hints, and the references of the checker.

The percent format is that of jupytext (a test compares this reader with it): `# %%` begins a code cell, `# %%
[markdown]` a text whose lines are comments, and `tags=["timing"]` may follow.
"""
import ast
import difflib
import json
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..config import UserError

ROOT = Path(__file__).resolve().parents[2]
LESSONS, SOLUTIONS, EXERCISES = ROOT / "notebooks", ROOT / "solutions", ROOT / "exercises"

# Parts and lessons in the order of the course; those without a source yet are on the map, but not built.
PARTS = {
    "0 Ready?": "primer_tensors_and_gradients 00_pretraining_in_ten_minutes",
    "I Text to tokens": "01_corpus 02_tokenizer 03_next_token",
    "II The model": "04_attention 05_gpt 06_modern_gpt 07_generation",
    "III Training": "08_training_loop 09_mixed_precision 10_speed 11_optimizers 12_evaluation 13_failure_museum",
    "IV Data": "14_data_recipe 15_what_it_learned",
    "V After pre-training": "16_finetuning 17_ship_it",
    "VI Scale": "18_scaling_laws 19_cost_of_a_frontier_run 20_mixture_of_experts 21_data_parallel 22_sharding "
                "23_tensor_and_pipeline_parallel 24_a_thousand_gpus",
}  # fmt: skip
STEMS = {stem.split("_")[0]: stem for stems in PARTS.values() for stem in stems.split()}
"""Number → name of the notebook: {"04": "04_attention"}."""

BEGIN, STUB, END = "### BEGIN SOLUTION", "### STUB", "### END SOLUTION"
AFTER = {BEGIN: (None,), STUB: (BEGIN,), END: (BEGIN, STUB)}
"""What each marker may follow; None: no solution is open."""
TODO = 'raise NotImplementedError("your code here")'


class Cell(NamedTuple):
    """One cell: kind "code", "markdown" or "raw"."""

    kind: str
    source: str
    tags: tuple[str, ...] = ()


def read_cells(path: Path) -> list[Cell]:
    """The cells of a percent-format file."""
    pieces = re.split(r"^# %%(.*)\n", path.read_text(encoding="utf-8"), flags=re.M)
    cells = []
    for header, body in zip(pieces[1::2], pieces[2::2]):
        kind, tags = (re.search(pattern, header) for pattern in (r"\[(\w+)\]", r"tags=(\[.*?\])"))
        kind = kind[1] if kind else "code"
        if kind != "code":
            body = re.sub(r"^# ?", "", body, flags=re.M)
        cells.append(Cell(kind, body.strip("\n"), tuple(json.loads(tags[1])) if tags else ()))
    return cells


def cut(source: str, where: str = "cell") -> str:
    """What the learner gets: each solution replaced by its stub, or by a line that says it is to do.

    Example: "def f(x):\\n    ### BEGIN SOLUTION\\n    return x\\n    ### STUB\\n    # return -x\\n    ### END SOLUTION"
    -> "def f(x):\\n    return -x"
    """
    return _choose(source, where, solved=False)


def solved(source: str, where: str = "cell") -> str:
    """The same source with its solutions, without the markers and the stubs."""
    return _choose(source, where, solved=True)


def _choose(source, where, solved):
    out, state, stub = [], None, []
    for line in source.splitlines():
        mark = line.strip()
        if mark in (BEGIN, STUB, END):
            if state not in AFTER[mark]:
                raise UserError(f"{where}: {mark!r} is out of place: solutions neither nest nor stay open.")
            if mark == END and not solved:
                out += stub or [line.replace(END, TODO)]
            state, stub = (None, []) if mark == END else (mark, stub)
        elif state == STUB:
            stub.append(re.sub(r"^(\s*)# ?", r"\1", line))
        elif state is None or solved:
            out.append(line)
    if state:
        raise UserError(f"{where}: {state!r} without {END!r}.")
    return "\n".join(out)


@dataclass(frozen=True)
class Lesson:
    """The front matter of a lesson."""

    id: str
    title: str
    question: str
    """The one question that the lesson answers."""
    able: tuple[str, ...]
    """What a learner can do afterwards; each completes "you can …"."""
    teaches: dict[str, str]
    """New terms, each with its definition: the glossary is made of these."""
    needs: tuple[str, ...]
    """Terms that an earlier lesson teaches."""
    reading: int
    """Minutes to read and run it."""
    exercises: int
    """Minutes for its exercises."""
    route: str
    """core or further."""
    paper: str
    """The one paper to read: authors, year, title, where."""

    @property
    def stem(self) -> str:
        return STEMS[self.id]


@cache
def lesson(id: str) -> Lesson:
    """A lesson's front matter; UserError names the field that is missing or unknown."""
    path = LESSONS / "source" / f"{id}.py"
    front = next(iter(read_cells(path)), Cell("", ""))
    if front.kind != "raw":
        raise UserError(f"{path.name}: the first cell must be [raw] front matter.")
    values = tomllib.loads(front.source)
    wrong = set(values) ^ (set(Lesson.__dataclass_fields__) - {"id"})
    if wrong:
        raise UserError(f"{path.name}: front matter: {sorted(wrong)[0]!r} is missing or unknown.")
    return Lesson(id, **{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


def number(text: str) -> str:
    """A lesson by its number, however it is written: "4", "04.causal_mask" and "04_attention" -> "04"."""
    if (id := _number(text)) not in STEMS:
        raise UserError(f"there is no lesson {text!r}: lessons are numbered like 04.")
    return id


def _number(text) -> str:
    found = re.fullmatch(r"([a-z]+|\d+)(?:[._].*)?", str(text))
    return found[1].zfill(2) if found else ""


def my_copy(id: str) -> Path:
    """The learner's copy of a lesson's exercises, in my/, which git leaves alone: where it is, or where it will be."""
    copies = [ROOT / "my" / f"{STEMS[id]}{suffix}" for suffix in (".ipynb", ".py")]
    return next(filter(Path.exists, copies), copies[0])


def written() -> list[str]:
    """The ids of the lessons that exist, in the order of the course."""
    return [id for id in STEMS if (LESSONS / "source" / f"{id}.py").exists()]


@dataclass(frozen=True)
class Statement:
    """An exercise as its page states it."""

    name: str
    """"04.causal_mask": the lesson, and the function that the learner writes."""
    number: int
    title: str
    kind: str
    """predict, order, fill, fix, write, measure or design."""
    difficulty: int
    """1 to 5."""
    minutes: int
    flags: tuple[str, ...]
    """Of core, further, try first, unaided, answered (its stub is a wrong answer, to be mended)."""
    idea: str
    text: str
    """Markdown, without the hints."""
    hints: tuple[str, ...]
    """Three: a question, the principle, the idea worked on another problem."""
    setup: str
    """Code that the page runs before it: imports and given functions."""
    solution: str
    stub: str


KINDS = ("predict", "order", "fill", "fix", "write", "measure", "design")
FLAGS = ("core", "further", "try first", "unaided", "answered")
_HEADER = re.compile(
    r"## (?P<lesson>\w+)\.(?P<number>\d+) (?P<name>\w+): (?P<title>.+)\n+"
    r"\*(?P<kind>\w+) · difficulty (?P<difficulty>[1-5])/5 · (?P<minutes>\d+) min · (?P<flags>.+?) · "
    r"idea: (?P<idea>.+)\*"
)
_HINT = re.compile(r"<details><summary>Hint [123].*?</summary>(.*?)</details>\s*", flags=re.S)


@cache
def statements(id: str) -> dict[str, Statement]:
    """The exercises of a lesson in their order, by the name of their function; empty if it has none."""
    path = SOLUTIONS / "source" / f"{id}.py"
    if not path.exists():
        return {}
    found, setup, header, text = {}, [], None, ""
    for cell in read_cells(path):
        if cell.kind == "markdown" and cell.source.startswith("## "):
            header, text = _HEADER.match(cell.source), cell.source
            if header is None and re.match(r"## \w+\.\d", cell.source):
                raise UserError(f"{path.name}: the header {cell.source.splitlines()[0]!r} is not as lessons.py says.")
        elif "setup" in cell.tags:
            setup.append(cell.source)
        elif cell.kind == "code" and header and header["name"] in defined(solved(cell.source, path.name)):
            name, flags = header["name"], tuple(header["flags"].split(" · "))
            if header["kind"] not in KINDS or set(flags) - set(FLAGS) or header["lesson"] != id:
                raise UserError(f"{path.name}: {name}: unknown kind or flag in {header[0]!r}.")
            found[name] = Statement(
                f"{id}.{name}", int(header["number"]), header["title"], header["kind"], int(header["difficulty"]),
                int(header["minutes"]), flags, header["idea"], _HINT.sub("", text).strip(),
                tuple(hint.strip() for hint in _HINT.findall(text)), "\n\n".join(setup), solved(cell.source, path.name),
                cut(cell.source, path.name),
            )  # fmt: skip
            header = None
    return found


def defined(source: str) -> list[str]:
    """Names of the functions and classes that a source defines at its top level."""
    return [node.name for node in ast.parse(source).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]


def find(name: str) -> Statement | None:
    """ "04.causal_mask", or "4.causal_mask" → its statement; None if there is none."""
    return statements(_number(name)).get(str(name).partition(".")[2])


def exercise(name: str) -> Statement:
    """The same; UserError names the nearest ones if there is none."""
    if found := find(name):
        return found
    known = [statement.name for id in STEMS for statement in statements(id).values()]
    same = [other for other in known if other.startswith(f"{_number(name)}.")]
    near = difflib.get_close_matches(str(name), known, 3, 0.4) or same
    hint = f"did you mean {' or '.join(near)}?" if near else f"names are like {next(iter(known), '04.x')}."
    raise UserError(f"there is no exercise {name!r}: {hint}")
