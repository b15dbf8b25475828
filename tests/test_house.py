"""Rules of the house that code review would otherwise have to remember."""
import ast
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import minigpt

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "minigpt"
MODULES = sorted(PACKAGE.rglob("*.py"))

# from the ground up: a module imports only from those before it
FLOOR = """config files text.fetch text.sources text.world text.steps text.pages text.crawl text.words text.dedup
           text.quality text.privacy text.contamination text.pipeline tokenizer shards mixture corpus prepare model
           optim precision accounting parallel checkpoint export sampling speculative constrained batching moe
           evaluate probes report data_report mirror follow train preflight bench classroom.console classroom.lessons
           classroom.journal classroom.bank classroom.compare classroom.learner classroom.check classroom.proof
           classroom.grade classroom.hints classroom.capstone classroom.review classroom.ready classroom.progress
           classroom.viz classroom.lens_view classroom.sampling_view classroom.rope_view classroom.depends
           classroom.shelf classroom.exhibits classroom.museum classroom.speedrun classroom.ladder classroom.ranks
           classroom.build classroom.doctor __main__""".split()


AROUND_A_RUN = {"mirror", "follow", "preflight"}  # processes of their own, which nobody reads to learn how one trains
MAKES_TEXT = {"text.world", "text.crawl"}  # made-up corpora, outside the core: their size is that of what they tell


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def storey(path: Path) -> str:
    """A module's place on the floor; the banks, one a lesson, share that of their package."""
    return re.sub(r"^classroom\.bank\..*", "classroom.bank", name_of(path))


def imports_of(path: Path) -> set[str]:
    """The minigpt modules that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        parts = name_of(path).split(".")
        base = (["minigpt"] + parts[: len(parts) - node.level]) if node.level else (node.module or "").split(".")
        base += node.module.split(".") if node.level and node.module else []
        if base[0] != "minigpt":
            continue
        inside = ".".join(base[1:])
        names = [".".join(filter(None, [inside, alias.name])) for alias in node.names]
        found |= {name for name in [inside, *names] if name in FLOOR}
    return found


def test_a_module_imports_only_from_below():
    assert {storey(path) for path in MODULES} - {"__init__", "text", "classroom"} == set(FLOOR)
    for path in MODULES:
        if (name := storey(path)) in FLOOR:
            below = set(FLOOR[: FLOOR.index(name)])
            if path.parent.name == "bank" and path.stem != "__init__":  # of one lesson, loaded by its number when asked
                below = set(FLOOR[: FLOOR.index("classroom.speedrun")])
            assert imports_of(path) <= below, (name, imports_of(path) - below)


def lines_of_code(source: str) -> int:
    """Lines that are not blank, comment or docstring."""
    skip = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skip:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, node.end_lineno + 1))
    return len(lines)


def test_the_package_stays_small():
    assert lines_of_code('"""doc"""\n\nx = 1  # why\n# comment\ny = [\n    2,\n]\n') == 4
    size = {name_of(path): lines_of_code(path.read_text(encoding="utf-8"))
            for path in MODULES if "classroom" not in path.parts}  # fmt: skip
    text = {name for name in size if name.startswith("text")}
    for part, bound in ((set(size) - text - AROUND_A_RUN, 5500), (text - MAKES_TEXT, 1800), (AROUND_A_RUN, 900)):
        assert (total := sum(size[name] for name in part)) < bound, (total, sorted(part))


def test_lines_are_at_most_120_columns():
    for path in [*MODULES, ROOT / "course.py", *Path(__file__).parent.glob("*.py")]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert len(line) <= 120, f"{path.name}:{number}"


def test_public_functions_have_a_docstring():
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_" and len(node.body) > 3:
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_pickle_is_never_loaded():
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"pickle\.loads?\(|torch\.load\(|allow_pickle=True", source), path


def test_every_public_name_is_there():
    code = "import minigpt; [getattr(minigpt, name) for name in minigpt.__all__]; assert callable(minigpt.generate)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"train_bpe", "GPT", "pretrain", "Run", "from_hf", "to_hf", "bits_per_byte"} <= set(minigpt.__all__)


def test_importing_minigpt_imports_no_torch():
    code = "import sys, minigpt, minigpt.config, minigpt.shards, minigpt.tokenizer; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
