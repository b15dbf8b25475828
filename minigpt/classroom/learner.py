"""Reading what a learner has written: a notebook or a .py file, without running it as a whole, and a function's source.

A broken statement costs the names that it would have defined and nothing else; a mistake of syntax ends where the next
line begins at the margin.
"""
import ast
import codeop
import contextlib
import inspect
import io
import json
import linecache
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config import UserError

EXECUTED = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign,
            ast.AugAssign, ast.If, ast.Try, ast.With)  # fmt: skip
"""Statements of a learner's file that are executed: what defines something. Calls (training, plots) are left alone."""
LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.Match)
"""These are left alone too, for they may train for hours; a name that is missing then says so."""
UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What parsing raises: for NUL and for lone surrogates the second, for what is nested too deep one of the last."""
_DEFINES = re.compile(r"^(?:async )?(?:def|class) (\w+)", flags=re.M)


def load_functions(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What a notebook or .py file defines, and for each name that could not be defined a sentence that says why.

    Not executed are expression statements, loops and lines for the notebook (% and !); a broken statement costs its
    own names only. UserError if the file cannot be read.
    """
    return load(path, {}, lambda number: None)


def load(path: Path, skip: dict[str, str], begin: Callable[[int], None]) -> tuple[dict[str, Any], dict[str, str]]:
    """`begin(n)` is called before statement n; `skip` maps the number of a statement to why it is not executed."""
    namespace, errors, number = {"__name__": "learner"}, {}, 0
    compiler = codeop.Compile()  # remembers `from __future__ import …`, as a notebook does
    for filename, first, source in cells(Path(path)):
        for tree, names, problem in _statements(source, filename, first):
            if isinstance(tree, EXECUTED):
                number += 1
                problem = skip.get(str(number))
                if problem is None:
                    begin(number)
                    problem = _attempt(tree, filename, namespace, compiler)
            elif isinstance(tree, LOOPS):
                names = names - namespace.keys()
                problem = "a loop or `match` outside of a function is not run when a file is checked"
            if problem is None:
                problems = {}
            else:
                line = tree.lineno if tree else problem[0]
                problems = dict.fromkeys(names, f"line {line}{place(filename)}: {problem if tree else problem[1]}")
            errors = {name: why for name, why in errors.items() if name not in names} | problems
    return namespace, errors


def cells(path: Path) -> list[tuple[str, int, str]]:
    """(name for tracebacks, number of its first line, source) of each code cell; a .py file may have # %% lines."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix != ".ipynb":
            remember(text, f"<{path.name}>")
            starts = [0, *(m.start() for m in re.finditer(r"^# %%", text, flags=re.M)), len(text)]
            return [(f"<{path.name}>", text.count("\n", 0, a) + 1, text[a:b]) for a, b in zip(starts, starts[1:])]
        sources = [cell["source"] for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:  # not JSON, not UTF-8, not a notebook
        raise UserError(f"{path} is not a notebook or a Python file.") from error
    named = [(f"<cell {i}>", 1, "".join(source)) for i, source in enumerate(sources, 1)]  # a string, or a list of lines
    for filename, _, source in named:
        remember(source, filename)
    return named


def _statements(source, filename, first):
    """(syntax tree or None, the names that it defines, None or (line, what is wrong)) of each statement of a cell."""
    tree = _parsed(source) or _parsed(re.sub(r"^([ \t]*)[%!].*", r"\1pass", source, flags=re.M))
    for start, piece in [(0, tree)] if tree else _pieces(source):
        try:
            tree = ast.parse(piece) if isinstance(piece, str) else piece
        except UNPARSABLE as error:
            line, text = getattr(error, "lineno", None) or 1, getattr(error, "text", None)
            told = f"{type(error).__name__}: {getattr(error, 'msg', error)}" + (f": `{text.strip()}`" if text else "")
            yield None, _DEFINES.findall(piece), (first + start + line - 1, told)
            continue
        for node in tree.body:
            yield ast.increment_lineno(node, first + start - 1), _bound(node), None


def _pieces(source):
    """(line, text) of the parts of a source that cannot be parsed: a mistake ends where a line begins at the margin."""
    lines = source.splitlines(keepends=True)
    begins = [i for i, line in enumerate(lines) if re.match(r"(?!(?:else|elif|except|finally)\b)[A-Za-z_@]", line)]
    begins = [0, *(i for i in begins if i and not lines[i - 1].startswith("@")), len(lines)]
    return [(a, "".join(lines[a:b])) for a, b in zip(begins, begins[1:])]


def _parsed(source):
    with contextlib.suppress(*UNPARSABLE):
        return ast.parse(source)


def _bound(node) -> set[str]:
    names = set()
    for inner in ast.walk(node) if not hasattr(node, "name") else [node]:
        if isinstance(inner, ast.alias):
            names.add(inner.asname or inner.name.split(".")[0])
        elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            names.add(inner.id)
        elif hasattr(inner, "name") and isinstance(inner, ast.stmt):
            names.add(inner.name)
    return names


def _attempt(node, filename, namespace, compiler) -> str | None:
    """Execute one statement; what went wrong, if anything."""
    try:
        with contextlib.redirect_stdout(Printed()), contextlib.redirect_stderr(Printed()):
            exec(compiler(ast.Module([node], []), filename, "exec"), namespace)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = linecache.getline(filename, node.lineno).strip()
        return f"{type(error).__name__}: {error}: `{text}`"
    return None


def remember(source: str, filename: str) -> None:
    """Let tracebacks and inspect find a source that is in no file (no time of change: it is never looked for)."""
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)


def place(filename: str) -> str:
    """ " of code cell 5", if it is one of a notebook."""
    cell = re.match(r"<(cell \d+)>", filename)
    return f" of code {cell[1]}" if cell else ""


def file_of(function: Callable) -> str | None:
    """The name of the file or cell that a function or class was written in."""
    function = inspect.unwrap(function)
    inside = vars(function).values() if isinstance(function, type) else [function]
    return next((f.__code__.co_filename for f in inside if hasattr(f, "__code__")), None)


def source_of(function: Callable) -> str | None:
    """The source of a function or class, wherever it was written; None if that is not known."""
    with contextlib.suppress(SyntaxError, ValueError, TypeError, OSError, IndexError):
        if not isinstance(function, type):
            return textwrap.dedent(inspect.getsource(function))
        text = "".join(linecache.getlines(file_of(function)))  # inspect looks for a class in files only
        nodes = [node for node in ast.parse(text).body if getattr(node, "name", None) == function.__name__]
        return ast.get_source_segment(text, nodes[-1])
    return None


def without_docstrings(tree: ast.AST) -> ast.AST:
    """A tree without the docstrings of its functions and classes; it is changed itself."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    return tree


def tidy(code: str) -> str:
    """Code without comments and docstrings, which may tell who wrote it; empty if it cannot be parsed."""
    with contextlib.suppress(*UNPARSABLE):
        return ast.unparse(without_docstrings(ast.parse(textwrap.dedent(code))))
    return ""


def same_code(source: str | None, stub: str, name: str) -> bool:
    """Is the function still the stub, whatever its comments and docstring say?"""
    function = name.partition(".")[2]
    own, given = ([ast.dump(node) for node in ast.parse(tidy(code)).body if getattr(node, "name", None) == function][:1]
                  for code in (source or "", stub))  # fmt: skip
    return own != [] and own == given


def canonical(code: str) -> str:
    """A function without what does not change it: names of variables, comments, docstrings, annotations, layout.

    Example: canonical("def f(x):\\n    y = x + 1\\n    return y") == canonical("def g(a):\\n b = a + 1\\n return b")
    """
    tree, own = ast.parse(tidy(code)), {}
    nodes = list(ast.walk(tree))
    for node in nodes:
        name = (
            node.arg if isinstance(node, ast.arg) else
            node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else
            node.name if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else None
        )  # fmt: skip
        if name:
            own.setdefault(name, f"v{len(own)}")
    for node in nodes:
        if isinstance(node, ast.arg):
            node.arg, node.annotation = own[node.arg], None
        elif isinstance(node, ast.Name):
            node.id = own.get(node.id, node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            node.name = own[node.name]
            node.returns = None
    return ast.unparse(tree)


LINES = 20
"""What a learner's function prints is shown up to so many lines."""


class Printed(io.TextIOBase):
    """Keeps the first lines of what is written and counts the others, however many."""

    def __init__(self):
        self.kept, self.lines = "", 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.lines += text.count("\n")
        if len(self.kept) < 100 * LINES:
            self.kept += text[: 100 * LINES]
        return len(text)

    def shown(self) -> str:
        lines = self.kept.rstrip("\n").split("\n")[:LINES]
        more = self.lines - len(lines)
        return "\n".join(lines + [f"… {more} more"] * (more > 0))
