"""What a piece of code depends on: the modules of minigpt that it imports, and what those say.

The build asks, so that a lesson is executed again when a module of its own has changed and no other; and so does the
key of the stand-in, which is trained again when anything has changed that trained it.
"""
import ast
import functools
import io
import tokenize
from pathlib import Path

from .. import _MODULE_OF
from . import _MODULE_OF as _CLASSROOM

PACKAGE = Path(__file__).resolve().parents[1]
VIEWS = "classroom.lens_view", "classroom.rope_view", "classroom.sampling_view"
SHELF = "classroom.shelf", "classroom.ladder", "classroom.museum", "classroom.exhibits", "classroom.speedrun"
SEEN = "classroom.viz", *VIEWS, *SHELF, "classroom.capstone", "classroom.ranks"
"""The parts of the classroom that outputs depend on: pictures and views, and what is taken off the shelf."""
BESIDE = {"text.pipeline", "text.fetch", "mirror"}
"""What only a crawl, the network or a far disk needs. Training imports it, but no lesson comes by there that does not
import it by itself."""


def modules(source: str, name: str = "") -> set[str]:
    """The modules of minigpt that a piece of code imports; of the classroom only those in SEEN.

    `name`: the module of minigpt that the code is, which is where its relative imports start.
    Example: "from minigpt import GPT\\nfrom minigpt.text.sources import read_text" -> {"model", "text.sources"}
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = ["minigpt", *name.split(".")][: -node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "minigpt":
            found.add(f"minigpt.{node.attr}")
    homes = _MODULE_OF | {f"classroom.{name}": f"classroom.{module}" for name, module in _CLASSROOM.items()}
    names = {name.removeprefix("minigpt.") for name in found if name.startswith("minigpt.")}
    names = {homes.get(name, name) for name in names}
    ours = {name for name in names if name in SEEN or not name.startswith("classroom")}
    return {name for name in ours if module_path(name).exists()}


def closure(name: str) -> set[str]:
    """A module of minigpt and all that it imports, directly or not, also inside functions; but for BESIDE.

    Example: closure("shards") -> {"shards", "config", "files"}
    """
    found, todo = set(), {name}
    while todo:
        found |= todo
        todo = {other for name in todo for other in modules(module_path(name).read_text("utf-8"), name)}
        todo -= found | BESIDE
    return found


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
