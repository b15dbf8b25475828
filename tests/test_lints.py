"""What review of a lesson would otherwise have to remember: each rule a function from a page to its complaints.

A page is a notebook as it stands in its file. Each rule is run on all of ours, and on a planted violation that it must
catch. Budgets of time, and that pages are in step with their sources, are in test_notebooks.py.
"""
import ast
import io
import json
import re
import tokenize
from dataclasses import replace
from functools import cache

import pytest

from minigpt.classroom import build, lessons
from minigpt.classroom.build import EDITIONS, EXERCISE, LESSON, SOLUTION
from minigpt.classroom.learner import without_docstrings

# ---- reading a page --------------------------------------------------------------------------------------------------


def source_of(cell: dict) -> str:
    return "".join(cell["source"])


def code_cells(page: dict) -> list[dict]:
    return [cell for cell in page["cells"] if cell["cell_type"] == "code"]


def tags_of(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def prose(page: dict) -> str:
    """The markdown, without its blocks of code."""
    text = "\n\n".join(source_of(cell) for cell in page["cells"] if cell["cell_type"] == "markdown")
    return re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)


def blocks(page: dict) -> str:
    """The blocks of code inside the markdown."""
    text = "\n\n".join(source_of(cell) for cell in page["cells"] if cell["cell_type"] == "markdown")
    return "\n".join(re.findall(r"^```.*?^```", text, flags=re.S | re.M))


def printed(cell: dict) -> str:
    """What a cell wrote, and the values that it showed."""
    texts = (out.get("text") or out.get("data", {}).get("text/plain", "") for out in cell["outputs"])
    return "\n".join("".join(text) for text in texts)


def tree(cell: dict) -> ast.Module:
    """The syntax tree of a cell, empty where it is no Python (rule `python`)."""
    try:
        return ast.parse(source_of(cell))
    except SyntaxError:
        return ast.Module([], [])


def outside_functions(node: ast.AST):
    """The nodes that run when the cell runs."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            yield child
            yield from outside_functions(child)


def name_of(call: ast.Call) -> str:
    """Example: the call `viz.show(fig)` -> "viz.show"."""
    return ast.unparse(call.func)


def calls(page_or_cell, name: str) -> list[ast.Call]:
    """The calls of `name`, or of `anything.name`."""
    nodes = ast.walk(page_or_cell)
    return [n for n in nodes if isinstance(n, ast.Call) and name_of(n).split(".")[-1] == name]


# ---- prose -----------------------------------------------------------------------------------------------------------

FIGURE = re.compile(r"(?<![\w.])(?<!\w-)(?:\d{1,3}(?:[,\u202f\u2009]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)")
SOURCE = re.compile(r"\]\(|https?://|et al\.|arXiv|\([^()]*\b(?:1[6-9]|20)\d\d[a-z]?\)")
"""What counts as a source: a link, authors, arXiv, or a year in parentheses, in the same sentence."""
NO_FIGURES = re.compile(
    r"https?://\S+|\]\([^)]*\)|arXiv[: ]\d{4}\.\d{4,5}|\b\d+\.\d+\.\d+\b"  # addresses, papers, versions
    r"|\b(?:in|since|by|until|before|after) (?:1[6-9]\d\d|20[0-3]\d)\b|\((?:1[6-9]|20)\d\d\)"  # years
    r"|\b(?:\d\d|primer)\.p?\d+ (?:`|\w+:)|\b(?:turn|exercise|section|lesson|problem)s?\W{1,4}\d\d(?:\.p?\d+)?",
    flags=re.I,
)  # fmt: skip


def significant_digits(number: str) -> int:
    """Example: "1,024" -> 4, "200" -> 1, "0.120" -> 3"""
    digits = re.sub(r"[^\d.]", "", number)
    return len((digits if "." in digits else digits.rstrip("0")).replace(".", "").lstrip("0"))


def numbers_in(text: str) -> set[float]:
    """Every number of a text, however it groups its digits: "50_257", "50,257" or, in a list, 50 and 257."""
    whole = re.findall(r"\d[\d_,\u202f\u2009]*(?:\.\d+)?(?:e[+-]?\d+)?", text)
    parts = re.findall(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?|\.\d+", text)
    return {float(re.sub(r"[^\d.e+-]", "", number)) for number in whole + parts}


def figures_in_prose(page: dict) -> list[str]:
    """A number with three or more significant digits occurs in the code or its outputs, or carries a source."""
    code = "\n".join([blocks(page), *(source_of(cell) + "\n" + printed(cell) for cell in code_cells(page))])
    known, found = numbers_in(code), []
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*[-*|>#]|\s*\d+\. )", prose(page)):
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z*_`\"“])", paragraph):
            for number in [] if SOURCE.search(sentence) else FIGURE.findall(NO_FIGURES.sub(" ", sentence)):
                if significant_digits(number) >= 3 and float(re.sub(r"[^\d.]", "", number)) not in known:
                    found.append(f"{number} is neither computed nor sourced: {sentence.strip()[:60]!r}")
    return found


def headings(page: dict) -> list[str]:
    """One title, in the first cell; no level is jumped over."""
    first = re.sub(r"^```.*?^```", "", source_of(page["cells"][0]), flags=re.S | re.M)
    levels = [len(marks) for marks in re.findall(r"^(#{1,6}) \S", prose(page), flags=re.M)]
    found = [f"a heading of level {b} follows one of level {a}." for a, b in zip(levels, levels[1:]) if b > a + 1]
    one = levels.count(1) == 1 and re.match(r"# \S", first)
    return found if one else ["there must be one title, in the first cell.", *found]


# ---- pictures --------------------------------------------------------------------------------------------------------


def pictures(page: dict) -> list[str]:
    """Each picture is shown by `show(figure, alt)`, whose alt is at least 20 characters and printed below."""
    found = []
    for cell in code_cells(page):
        parsed = tree(cell)
        now = {id(node) for node in outside_functions(parsed)}
        all_shows = [call for call in calls(parsed, "show") if name_of(call) != "museum.show"]  # says its own words
        shows = [call for call in all_shows if name_of(call) in ("show", "viz.show")]
        found += [f"{name_of(call)} shows a picture without words: use viz.show." for call in all_shows
                  if call not in shows]  # fmt: skip
        for call in shows:
            alt = ([k.value for k in call.keywords if k.arg == "alt"] + call.args[1:2] + [None])[0]
            parts = alt.values if isinstance(alt, ast.JoinedStr) else [alt]
            words = "".join(str(part.value) for part in parts if isinstance(part, ast.Constant))
            if not isinstance(alt, (ast.JoinedStr, ast.Constant)):
                found.append(f"the alt text of {ast.unparse(call)[:50]!r} must be written there.")
            elif len(words) < 20:
                found.append(f"the alt text {words!r} is shorter than 20 characters.")
        if cell["execution_count"]:
            said = len(re.findall(r"^Figure: ", printed(cell), flags=re.M))
            images = sum("image/png" in out.get("data", {}) for out in cell["outputs"])
            if said < max(images, sum(id(call) in now for call in shows)):
                found.append(f"{images} pictures, but {said} printed sentences, in {source_of(cell)[:50]!r}.")
    return found


# ---- code ------------------------------------------------------------------------------------------------------------

NETWORK = re.compile(r"^(urllib\.request|requests|httpx|aiohttp|http\.client|socket|ftplib|huggingface_hub|datasets)\b")
DOWNLOADS = {"get_encoding", "encoding_for_model", "from_pretrained", "load_dataset", "load_state_dict_from_url",
             "hf_hub_download", "snapshot_download", "urlopen", "urlretrieve"}  # fmt: skip
WIDGETS = re.compile(r"^(tqdm\.(auto|notebook)|ipywidgets|rich)\b")


def python(page: dict) -> list[str]:
    """Cells are Python: no `!` and no `%`."""
    found = []
    for cell in code_cells(page):
        try:
            ast.parse(source_of(cell))
        except SyntaxError as error:
            found.append(f"not Python: {(error.text or '').strip()!r}")
        found += ["get_ipython: a magic in disguise" for _ in calls(tree(cell), "get_ipython")]
    return found


def semicolons(page: dict) -> list[str]:
    """No line ends in `;`: nbval does not honour it, so write `_ = …`."""
    found = []
    for cell in code_cells(page):
        try:
            tokens = list(tokenize.generate_tokens(io.StringIO(source_of(cell)).readline))
        except (SyntaxError, tokenize.TokenError):
            continue
        found += [f"a trailing ';' in {a.line.strip()!r}" for a, b in zip(tokens, tokens[1:])
                  if a.string == ";" and b.type in (tokenize.COMMENT, tokenize.NEWLINE)]  # fmt: skip
    return found


def offline(page: dict) -> list[str]:
    """No cell reaches for the network."""
    found = []
    for node in (node for cell in code_cells(page) for node in ast.walk(tree(cell))):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found += [f"imports {name}" for name in imported(node) if NETWORK.match(name)]
        elif isinstance(node, ast.Call) and name_of(node).split(".")[-1] in DOWNLOADS:
            found.append(f"{name_of(node)} downloads")
        elif isinstance(node, ast.Constant) and re.match(r"(https?|ftp)://", str(node.value)):
            found.append(f"an address in code: {node.value}")
    return found


def imported(node) -> list[str]:
    """The modules of an import. Example: `from tqdm import auto` -> ["tqdm.auto"]"""
    prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) and node.module else ""
    return [prefix + alias.name for alias in node.names]


def no_widgets(page: dict) -> list[str]:
    """Widgets are not saved: GitHub then refuses the page."""
    nodes = [node for cell in code_cells(page) for node in ast.walk(tree(cell))]
    names = [n for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)) for n in imported(node)]
    found = [f"imports {name}" for name in names if WIDGETS.match(name)]
    saved = [key for cell in code_cells(page) for out in cell["outputs"] for key in out.get("data", {})]
    found += [f"an output of kind {key}" for key in saved if "widget" in key]
    return found + ["metadata.widgets"] * ("widgets" in page["metadata"])


def short_cells(page: dict) -> list[str]:
    """A cell is one idea: at most 20 lines that are not blank, unless it is tagged `long`."""
    lengths = [(sum(bool(line.strip()) for line in source_of(cell).splitlines()), cell) for cell in code_cells(page)]
    return [f"a cell of {length} lines: {source_of(cell)[:50]!r}" for length, cell in lengths
            if length > 20 and "long" not in tags_of(cell)]  # fmt: skip


def narrow(page: dict) -> list[str]:
    """A line of code has at most 100 columns: longer ones run out of the page."""
    lines = [line for cell in code_cells(page) for line in source_of(cell).splitlines()]
    return [f"a line of {len(line)} columns: {line.strip()[:50]!r}" for line in lines if len(line) > 100]


def workers(page: dict) -> list[str]:
    """Data sets and workers live in minigpt: another process cannot import what a cell defines."""
    found = []
    for node in (node for cell in code_cells(page) for node in ast.walk(tree(cell))):
        if isinstance(node, ast.ClassDef) and any("Dataset" in ast.unparse(base) for base in node.bases):
            found.append(f"the data set {node.name} is defined in a cell.")
        if isinstance(node, ast.keyword) and node.arg == "num_workers" and getattr(node.value, "value", 1) != 0:
            found.append("num_workers must be 0.")
    return found


def tolerant(page: dict) -> list[str]:
    """An assertion about a fraction has a tolerance: sums differ between machines."""
    compares = [n for cell in code_cells(page) for a in ast.walk(tree(cell)) if isinstance(a, ast.Assert)
                for n in ast.walk(a.test) if isinstance(n, ast.Compare) and isinstance(n.ops[0], ast.Eq)]  # fmt: skip
    sides = [(n, side) for n in compares for side in (n.left, *n.comparators) if isinstance(side, ast.Constant)]
    return [f"no tolerance in {ast.unparse(n)!r}" for n, side in sides
            if isinstance(side.value, float) and side.value != int(side.value)]  # fmt: skip


# ---- outputs ---------------------------------------------------------------------------------------------------------


def clean_outputs(page: dict) -> list[str]:
    """Outputs are what a reader can use: no addresses of objects, no warnings, losses with at most three decimals."""
    found = []
    for cell in code_cells(page):
        for what, pattern in (("an address", r"\b0x[0-9a-f]{6,}"),
                              ("a loss with more than three decimals", r"\bloss\b\D{0,12}\d+\.\d{4,}")):  # fmt: skip
            found += [f"{what}: {line[:60]!r}" for line in printed(cell).splitlines() if re.search(pattern, line)]
        for out in cell["outputs"]:
            if out.get("name") == "stderr":
                found.append(f"on stderr: {''.join(out['text'])[:60]!r}")
            if out["output_type"] == "error" and "raises-exception" not in tags_of(cell):
                found.append(f"an error: {out.get('evalue')}")
    return found


def labelled(page: dict) -> list[str]:
    """A comparison of runs says whether it is live or recorded, over which seeds, and with which interval."""
    found, cells = [], code_cells(page)
    for i, cell in enumerate(cells):
        here, near = tree(cell), cells[i : i + 2]
        code = "\n".join(source_of(c) for c in near)
        if calls(here, "plot_record") and not re.search(r"print\(.*\.sentence\(\)", code):
            found.append("plot_record without print(record.sentence()) in this cell or the next.")
        if calls(here, "plot_live") and not re.search(r"print\(.*live_sentence\(", code):
            found.append("plot_live without print(live_sentence(…)) in this cell or the next.")
        loops = [n for n in ast.walk(here) if isinstance(n, (ast.For, ast.comprehension))]
        seeds = any(ast.unparse(loop.target) == "seed" for loop in loops)
        outputs = "\n".join(printed(c) for c in cells[i : i + 4])
        if seeds and cell["execution_count"] and not says_what_it_is(outputs):
            found.append("runs over seeds, but no line printed within three cells says live or recorded, seeds and "
                         f"interval (or ±): {source_of(cell)[:60]!r}")  # fmt: skip
        names = [target.id for n in ast.walk(here) if isinstance(n, ast.Assign) and calls(n.value, "recorded")
                 for target in n.targets if isinstance(target, ast.Name)]  # fmt: skip
        rest = "\n".join(source_of(c) for c in cells[i:])
        for name in names:
            found += [f"{name}.{use}() is never called: {why}" for use, why in (
                ("sentence", "say what kind of evidence it is."), ("live", "run the smallest arm beside the record."),
            ) if not re.search(rf"\b{name}\.{use}\(", rest)]  # fmt: skip
    if re.search(r"\brecorded: \d|\brecorded\b[^.\n]{0,30}\b\d+ seeds", prose(page), flags=re.I):
        found.append("the prose describes a record by hand: leave that to record.sentence().")
    return found


def says_what_it_is(text: str) -> bool:
    return any(re.search(r"\b(live|recorded)\b", line, flags=re.I) and re.search(r"\bseeds?\b", line)
               and re.search(r"±|\binterval\b|\bbetween\b", line) for line in text.splitlines())  # fmt: skip


# ---- one implementation ----------------------------------------------------------------------------------------------


def bare(node: ast.AST, name: bool = True) -> str:
    """A definition as text that two Pythons of the same version agree on, without docstrings, annotations and name."""
    node = without_docstrings(ast.parse(ast.unparse(node))).body[0]
    for inner in ast.walk(node):
        if isinstance(inner, ast.arg):
            inner.annotation = None
        if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inner.returns = None
    if not name:
        node.name = "_"
    return ast.dump(node)


@cache
def package() -> dict[str, dict[str, ast.AST]]:
    """name → {module: its definition there}, without the classroom and the tools that are no lesson's subject."""
    found = {}
    for path in sorted(build.PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(build.PACKAGE).with_suffix("").parts)
        if module.startswith("classroom") or module in ("__main__", "bench", "files", "report"):
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found.setdefault(node.name, {})[module] = node
    return found


def one_implementation(page: dict) -> list[str]:
    """A name that is also in minigpt is the same code, or a declared teaching variant that is asserted to be equal."""
    found, cells = [], code_cells(page)
    imports = [node for cell in cells for node in ast.walk(tree(cell)) if isinstance(node, ast.ImportFrom)]
    aliases = {alias.asname for node in imports for alias in node.names if alias.asname and alias.name in package()}
    for i, cell in enumerate(cells):
        for node in tree(cell).body:
            real = package().get(getattr(node, "name", None))
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or not real:
                continue
            if any(bare(node) == bare(other) for other in real.values()):
                continue
            declared = re.search(rf"# teaching variant of minigpt\.([\w.]+)\.{node.name}\b", source_of(cell))
            if not declared or declared[1] not in real:
                where = " or ".join(f"minigpt.{module}.{node.name}" for module in real)
                found.append(f"{node.name} differs from {where}: declare it with `# teaching variant of {where}`.")
            elif not any(proves_equal(source_of(c), node.name, declared[1], aliases) for c in cells[i : i + 6]):
                real_name = f"minigpt.{declared[1]}.{node.name}"
                found.append(f"nothing within five cells asserts that {node.name} equals {real_name}.")
    return found


def proves_equal(code: str, name: str, module: str, aliases: set[str]) -> bool:
    """Whether a cell asserts something and names both: `attention`, and `minigpt.attention` or its alias here."""
    real = rf"\b(?:minigpt|minigpt\.{re.escape(module)}|{module.split('.')[-1]})\.{name}\b"
    real = "|".join([real, *(rf"\b{alias}\b" for alias in aliases)])
    return bool(re.search(r"\bassert", code) and re.search(real, code) and re.search(rf"(?<![\w.]){name}\b", code))


# ---- files and exercises ---------------------------------------------------------------------------------------------


def small(page: dict) -> list[str]:
    """Less than 400 kB: GitHub shows larger notebooks badly."""
    size = len(build.to_json(page).encode())
    return [f"{size / 1000:.0f} kB"] if size > 400_000 else []


RULES = (figures_in_prose, headings, pictures, python, semicolons, offline, no_widgets, short_cells, narrow, workers,
         tolerant, clean_outputs, labelled, one_implementation, small)  # fmt: skip


def exercise_rules(statements: list[lessons.Statement], known: set[str]) -> list[str]:
    """What the exercises of a lesson have in common. `known`: the code that the lesson or the package prints."""
    found = [f"{s.name} has {len(s.hints)} hints instead of three." for s in statements if len(s.hints) != 3]
    if [s.number for s in statements] != list(range(1, len(statements) + 1)):
        found.append("the exercises are not numbered from 1 in their order.")
    copied = [s.name for s in statements for node in ast.parse(s.solution).body
              if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and bare(node, name=False) in known]  # fmt: skip
    if len(copied) > 2:
        found.append(f"the solutions of {', '.join(copied)} are printed elsewhere: at most two may be.")
    if len(statements) < 6:  # lesson 00 only shows how it works
        return found
    if len(kinds := {s.kind for s in statements}) < 4:
        found.append(f"only {len(kinds)} kinds of exercise: {', '.join(sorted(kinds))}.")
    off = re.search(r"assistant\b.{0,9}\boff", statements[-1].text, flags=re.I)
    if "unaided" not in statements[-1].flags or not off:
        found.append("the last exercise must be `unaided`, and say: assistant off.")
    if not any("try first" in s.flags for s in statements):
        found.append("no exercise is marked `try first`.")
    return found


def printed_code(page: dict | None) -> set[str]:
    """Every function that a lesson or the package prints, also the methods, without its name."""
    trees = [tree(cell) for cell in code_cells(page)] if page else []
    trees += [node for modules in package().values() for node in modules.values()]
    nodes = [node for root in trees for node in ast.walk(root)]
    return {bare(node, name=False) for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


def leaks(solution_source: list[lessons.Cell], page: dict) -> list[str]:
    """Lines of a solution that the exercise page shows. (Not in exercises whose page gives the lines: order, fix.)"""
    shown, found = "\n".join(source_of(cell) for cell in page["cells"]), []
    given = any(f"*{kind} ·" in cell.source for kind in ("order", "fix") for cell in solution_source)
    for cell in solution_source:
        inside = False
        for line in cell.source.splitlines() if cell.kind == "code" else []:
            mark = line.strip()
            inside = mark == lessons.BEGIN or (inside and mark not in (lessons.STUB, lessons.END))
            if inside and len(mark) >= 25 and mark[-1] != ":" and mark in shown and not given:
                found.append(f"a line of a solution is on the exercise page: {mark!r}")
    return found


# ---- ours ------------------------------------------------------------------------------------------------------------

OURS = sorted(p for edition in EDITIONS for p in (lessons.ROOT / edition.folder).glob("*.ipynb"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", OURS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_our_pages_keep_the_rules(path, rule):
    page = json.loads(path.read_text("utf-8"))
    only_lessons = rule in (one_implementation, labelled)  # exercises ask for what the package has
    without_outputs = rule is figures_in_prose and path.parent.name == "exercises"  # the solutions have the same prose
    if not without_outputs and (path.parent.name == "notebooks" or not only_lessons):
        assert rule(page) == []


@pytest.mark.parametrize("id", lessons.written())
def test_our_exercises_keep_the_rules(id):
    path = build.path_of(id, LESSON)
    lesson = json.loads(path.read_text("utf-8")) if path.exists() else None
    assert exercise_rules(list(lessons.statements(id).values()), printed_code(lesson)) == []
    source = build.source_path(id, SOLUTION)
    if source.exists():
        cells, shown = exercises_of(lessons.read_cells(source)), build.notebook(id, EXERCISE)
        assert [leak for part in cells for leak in leaks(part, shown)] == []
        planned, asked = lessons.lesson(id).exercises, sum(s.minutes for s in lessons.statements(id).values())
        assert abs(planned - asked) <= 0.1 * asked, f"exercises of {asked} minutes, the front matter says {planned}"


def exercises_of(cells: list[lessons.Cell]) -> list[list[lessons.Cell]]:
    """The cells, split at the headers of exercises."""
    parts = [[]]
    for cell in cells:
        parts += [[]] if cell.kind == "markdown" and cell.source.startswith("## ") else []
        parts[-1].append(cell)
    return parts


# ---- planted violations ----------------------------------------------------------------------------------------------


def text(source: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def code(source: str, out: str = "", tags: tuple = (), png: int = 0, **output) -> dict:
    outputs = [{"output_type": "display_data", "data": {"image/png": "abc"}, "metadata": {}}] * png
    if out or output:
        outputs.append({"output_type": "stream", "name": "stdout", "text": out.splitlines(keepends=True)} | output)
    return {"cell_type": "code", "metadata": {"tags": list(tags)} if tags else {}, "execution_count": 1,
            "source": source.splitlines(keepends=True), "outputs": outputs}  # fmt: skip


def page(*cells: dict, **metadata) -> dict:
    cells = [text("# 04 · Title"), *cells]
    return {"cells": cells, "metadata": build.METADATA | metadata, "nbformat": 4, "nbformat_minor": 5}


ALT = "a lower triangle with equal rows"
SHOWN = f"Figure: {ALT}\n"
VARIANT = "# teaching variant of minigpt.model.attention\ndef attention(q, k, v):\n    return v"
RECORD = "record = recorded('04.scale')\nplot_record(ax, record)\nprint(record.sentence())\ncurve = record.live()"

GOOD = [
    page(),
    page(text("## a\n### b\n## c\n```\n# no heading\n#### nor this\n```\n"), code("# nor this\n1 % 2")),
    page(text("It falls to 1.79, with 50,257 tokens, half of 1,024, in 200 or 12,000 steps, to 10 %, 3.5, 0.05."),
         code("print(x)\nn = 50_257", "bits: 1.79\nof 512 1024")),
    page(text("GPT-3 has 175.4 parameters (Brown et al. 2020). It took 3,640 days, says [its paper](x).\n\n"
              "In 2017, as in 04.12 `f`, section 12, exercise 04.11, arXiv:1706.03762, torch 2.13.0, and gpt2-124m.")),
    page(text("## 05.10 parallel_block: two at once")),
    page(text("```python\nx = 0.1234\n```\nthat is 0.1234")),
    page(code(f"show(fig, alt='{ALT}')", SHOWN, png=1)),
    page(code(f"for i in range(2):\n    viz.show(f, '{ALT}')", SHOWN * 2, png=2)),
    page(code("show(fig, alt=f'a lower triangle of {n} rows')", "Figure: a lower triangle of 5 rows\n", png=1)),
    page(code(f"def draw():\n    show(fig, alt='{ALT}')", "")),
    page(code("x = [1, 2]; y = 3  # ;\ns = ';'"), code("z = (7\n% 4)")),
    page(code("import urllib.parse, tqdm\nfrom tqdm import tqdm\nx = 'see http in text'")),
    page(code("\n".join(["x = 1", ""] * 20)), code("\n".join(["x = 1"] * 30), tags=("long",))),
    page(code(f"x = '{'é' * 94}'"), text("x" * 101)),
    page(code("DataLoader(d, num_workers=0)\nassert abs(x - 0.5) < 1e-3 and n == 3 and y == 2.0")),
    page(code("x", "loss 1.234, 0.12345 of it", name="stdout")),
    page(code(RECORD, "Recorded: 3 seeds, 95 % interval")),
    page(code("runs = [learn(seed) for seed in range(3)]"), code("print(x)", "Live, 3 seeds: 0.91 ± 0.02")),
    page(code("plot_live(ax, x, y)"), code("print(live_sentence(record, 'a', curve))")),
    page(code(VARIANT), code("x = 1"), code("assert_close(attention(q, k, v), minigpt.attention(q, k, v, None)[0])")),
    page(code("from minigpt import attention as engine"), code(VARIANT), code("assert f(engine) == f(attention)")),
    page(code("def my_own(x):\n    return x")),
]  # fmt: skip

BAD = [
    (headings, page(text("# Another")), "one title"),
    (headings, {**page(), "cells": [text("## Not a title"), text("# Title")]}, "one title"),
    (headings, page(text("## a"), text("#### b")), "level 4 follows one of level 2"),
    (figures_in_prose, page(text("The loss is 10.77."), code("print(x)", "10.79")), "10.77 is neither computed"),
    (figures_in_prose, page(text("It has 50,257 tokens, and 3 of 7."), code("50, 258")), "50,257"),
    (figures_in_prose, page(text("So says arXiv. Yet it is 0.333.")), "0.333"),
    (figures_in_prose, page(text("- one (2019)\n- it took 1.25 hours")), "1.25"),
    (figures_in_prose, page(text("| a | 1,234 |\n|---|---|\n| b | 2 |")), "1,234"),
    (figures_in_prose, page(text("A head has `128` numbers")), "128"),
    (figures_in_prose, page(text("in 2048 steps")), "2048"),
    (pictures, page(code("show(fig, alt='a triangle')", "Figure: a triangle", png=1)), "shorter than 20"),
    (pictures, page(code("show(fig, alt=f'{a} and {b} and {c} {d}')", "Figure: x", png=1)), "shorter than 20"),
    (pictures, page(code("show(fig, describe(fig))", SHOWN, png=1)), "must be written there"),
    (pictures, page(code("show(fig)", SHOWN, png=1)), "must be written there"),
    (pictures, page(code(f"show(fig, alt='{ALT}')", "", png=1)), "1 pictures, but 0 printed"),
    (pictures, page(code("ax.plot(x)", "", png=1)), "1 pictures, but 0 printed"),
    (pictures, page(code("plt.show()")), "plt.show shows a picture"),
    (pictures, page(code("show(fig, alt=f'a lower triangle of {n} rows')", "")), "0 printed sentences"),
    (python, page(code("!pip install x")), "!pip install x"),
    (python, page(code("x = 1\n%timeit f(x)")), "%timeit"),
    (python, page(code("get_ipython().system('ls')")), "get_ipython"),
    (semicolons, page(code("ax.plot(x);")), "ax.plot(x);"),
    (semicolons, page(code("f(x);  # quiet\ny = 1")), "f(x);"),
    (offline, page(code("import urllib.request")), "imports urllib.request"),
    (offline, page(code("from urllib import request")), "imports urllib.request"),
    (offline, page(code("def f():\n    import requests")), "imports requests"),
    (offline, page(code("enc = tiktoken.get_encoding('gpt2')")), "tiktoken.get_encoding downloads"),
    (offline, page(code("GPT2.from_pretrained('gpt2')")), "downloads"),
    (offline, page(code("x = read('https://example.org/a.txt')")), "an address in code"),
    (no_widgets, page(code("from tqdm.auto import tqdm")), "tqdm.auto"),
    (no_widgets, page(code("from tqdm import auto")), "tqdm.auto"),
    (no_widgets, page(code("import ipywidgets as w")), "ipywidgets"),
    (no_widgets, page(widgets={"state": {}}), "metadata.widgets"),
    (no_widgets, page(code("x", output_type="display_data", data={"application/vnd.jupyter.widget-view+json": {}})),
     "widget-view"),
    (short_cells, page(code("\n".join(["x = 1"] * 21))), "a cell of 21 lines"),
    (narrow, page(code(f"x = 1\ny = '{'é' * 95}'")), "a line of 101 columns"),
    (workers, page(code("class Text(torch.utils.data.Dataset):\n    pass")), "the data set Text"),
    (workers, page(code("DataLoader(d, num_workers=2)")), "num_workers"),
    (tolerant, page(code("assert loss == 1.16")), "loss == 1.16"),
    (clean_outputs, page(code("x", "<torch._C.Generator at 0x7f96dc0fd760>")), "an address"),
    (clean_outputs, page(code("x", "loss: 1.23456")), "more than three decimals"),
    (clean_outputs, page(code("x", "UserWarning: no", name="stderr")), "on stderr"),
    (clean_outputs, page(code("x", output_type="error", evalue="no")), "an error"),
    (labelled, page(code("plot_record(ax, record)")), "plot_record without"),
    (labelled, page(code("plot_live(ax, x, y)\nprint('live')")), "plot_live without"),
    (labelled, page(code(RECORD.replace("curve = record.live()", ""))), "record.live() is never called"),
    (labelled, page(code("r = recorded('04.scale')\nr.live()")), "r.sentence() is never called"),
    (labelled, page(text("Recorded over 5 seeds, it falls.")), "the prose describes a record"),
    (labelled, page(code("runs = [learn(seed) for seed in range(3)]", "live, 3 seeds: 0.91")), "runs over seeds"),
    (labelled, page(code("for seed in range(3):\n    learn(seed)", "0.91 ± 0.01, 3 seeds")), "runs over seeds"),
    (one_implementation, page(code("def attention(q, k, v):\n    return v")), "differs from minigpt.model.attention"),
    (one_implementation, page(code(VARIANT.replace("model", "optim"))), "attention differs from"),
    (one_implementation, page(code(VARIANT), code("print(minigpt.attention, attention)")), "nothing within five cells"),
    (one_implementation, page(code(VARIANT), code("assert minigpt.attention")), "nothing within five cells asserts"),
    (one_implementation, page(code(VARIANT), code("assert attention(q, k, v)")), "nothing within five cells asserts"),
    (one_implementation, page(code("class GPT(nn.Module):\n    pass")), "GPT differs"),
    (small, page(code("x", "a" * 400_001)), "401 kB"),
]  # fmt: skip


@pytest.mark.parametrize("good", GOOD)
def test_no_rule_complains_of_what_is_right(good):
    assert {rule.__name__: rule(good) for rule in RULES if rule(good)} == {}


@pytest.mark.parametrize("rule, bad, fragment", BAD, ids=[f"{rule.__name__}: {fragment}" for rule, _, fragment in BAD])
def test_each_rule_catches_its_violation_and_no_other_does(rule, bad, fragment):
    complaints = rule(bad)
    assert len(complaints) >= 1 and any(fragment in complaint for complaint in complaints), complaints
    others = {other.__name__: other(bad) for other in RULES if other is not rule and other(bad)}
    assert set(others) <= ({"headings"} if rule is headings else set()), others


def test_every_rule_has_a_planted_violation():
    assert {rule for rule, _, _ in BAD} == set(RULES)


def test_the_same_code_as_in_the_package_is_no_variant():
    node = package()["attention"]["model"]
    source = ast.unparse(node)
    assert one_implementation(page(code(source))) == []
    assert one_implementation(page(code(re.sub(r'"""', '"""Another docstring. ', source, count=1)))) == []
    assert one_implementation(page(code(source.replace("softmax", "sigmoid")))) != []


EXERCISES = [
    lessons.Statement("04.f", number, "title", kind, 2, 5, flags, "idea", text, ("1", "2", "3"), "",
                      f"def f(x):\n    return x + {number}", "")  # fmt: skip
    for number, (kind, flags, text) in enumerate([
        ("write", ("core", "try first"), ""), ("fill", ("core",), ""), ("fix", ("core",), ""), ("order", ("core",), ""),
        ("write", ("further",), ""), ("write", ("further", "unaided"), "Assistant off."),
    ], 1)
]  # fmt: skip


def changed(index: int, **fields) -> list[lessons.Statement]:
    return [*EXERCISES[:index], replace(EXERCISES[index], **fields), *EXERCISES[index:][1:]]


@pytest.mark.parametrize("statements, fragment", [
    (EXERCISES, None),
    (EXERCISES[:3], None),
    (changed(2, hints=("1", "2")), "04.f has 2 hints"),
    (changed(3, number=7), "not numbered"),
    (changed(3, kind="write"), "only 3 kinds of exercise: fill, fix, write"),
    (changed(5, flags=("core",)), "the last exercise must be `unaided`"),
    (changed(5, text="On your own."), "assistant off"),
    (changed(0, flags=("core",)), "no exercise is marked `try first`"),
])  # fmt: skip
def test_exercise_rules_catch_their_violations(statements, fragment):
    found = exercise_rules(statements, set())
    assert found == [] if fragment is None else len(found) == 1 and fragment in found[0], found


def test_at_most_two_solutions_are_printed_elsewhere():
    plus = "def plus_three(x: int) -> int:\n    '''Doc.'''\n    return x + 3"
    lesson = page(code(f"{plus}\n\ndef f(x):\n    return x + 1"))
    assert exercise_rules(EXERCISES, printed_code(lesson)) == []
    lesson["cells"].append(code("def g(x):\n    return x + 5"))
    assert "solutions of 04.f, 04.f, 04.f are printed elsewhere" in exercise_rules(EXERCISES, printed_code(lesson))[0]


def test_a_leaked_line_of_a_solution_is_found():
    lines = ["def f(x):", lessons.BEGIN, "return x.softmax(-1) @ values_of(x)", lessons.STUB,
             "# return x.softmax(0) @ values_of(x)", lessons.END]  # fmt: skip
    solution = lessons.Cell("code", "\n    ".join(lines))
    assert leaks([solution], page(code(lessons.cut(solution.source)))) == []
    assert "values_of" in leaks([solution], page(text("Try `return x.softmax(-1) @ values_of(x)`.")))[0]
    given = lessons.Cell("markdown", "## 04.2 f: t\n*order · difficulty 2/5 · 5 min · core · idea: i*")
    assert leaks([given, solution], page(text("return x.softmax(-1) @ values_of(x)"))) == []
