"""Notebooks are what their sources say, are built the same twice, and run as tests. On planted courses, and on ours."""
import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minigpt.classroom import build, depends, lessons, shelf
from minigpt.classroom.build import EXERCISE, LESSON, SOLUTION

OURS = Path(__file__).parent.parent

FRONT = '''# %% [raw]
# title = "Attention"
# question = "How can a position look back?"
# able = ["write attention", "read its picture"]
# needs = ["matrix product", "token"]
# reading = 60
# exercises = 90
# route = "core"
# paper = "Vaswani et al. (2017), Attention is all you need | NeurIPS"
# [teaches]
# "attention" = "a weighted mean of values"
# "Mask" = "what may not be seen"
'''
OF_00 = FRONT.replace('"matrix product", "token"', "").replace('"attention"', '"token"').replace('"Mask"', '"a run"')
LESSON_04 = FRONT + '''
# %% [markdown] tags=["instructor"]
# Aim: they draw the triangle. Timing: 20 minutes.

# %% [markdown] tags=["slide"]
# # One picture

# %% [markdown]
# ## 1. Look back

# %%
import os
from minigpt import ModelConfig
print(ModelConfig().width, os.environ["OMP_NUM_THREADS"], {"a", "b", "c"})

# %%
from minigpt.classroom import show
from minigpt.classroom.viz import figure
print("before")
fig, ax = figure()
_ = ax.plot([1, 4, 2])
show(fig, alt="a line that rises and falls")
print("after")

# %%
print("before")

# %% tags=["timing"]
import time
print(time.time_ns())
'''
SOLUTION_04 = '''# %% [markdown]
# # 04 · Attention: exercises

# %% tags=["setup"]
import os, sys
seen = os.environ["MINIGPT_EXPECT"]

# %% [markdown]
# ## 04.1 causal_mask: what may be seen
#
# *write · difficulty 1/5 · 5 min · core · idea: the triangle*
#
# Write it.
#
# <details><summary>Hint 1: a question</summary>
#
# Who sees whom?
#
# </details>
#
# <details><summary>Hint 3: elsewhere</summary>
#
# NEARLY_THE_ANSWER
#
# </details>

# %%
def causal_mask(n):
    ### BEGIN SOLUTION
    return [[j <= i for j in range(n)] for i in range(n)]  # SECRET
    ### END SOLUTION

# %%
status = "todo" if seen == "todo" else "passed"
assert seen in ("", status), seen

# %% [markdown] tags=["solution"]
# SECRET: why it works.

# %% [markdown] tags=["instructor"]
# Ask who drew the transposed one.
'''


@pytest.fixture
def course(tmp_path, monkeypatch):
    """An empty course in a temporary folder; call it with sources to plant them, and to clear what is cached."""

    def plant(**sources):
        lessons.lesson.cache_clear(), lessons.statements.cache_clear(), build.bare_code.cache_clear()
        for name, source in sources.items():
            folder, id = name.rsplit("_", 1)
            path = tmp_path / folder / "source" / f"{id}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, encoding="utf-8")
        return tmp_path

    monkeypatch.setattr(lessons, "ROOT", tmp_path)
    for name in ("LESSONS", "SOLUTIONS", "EXERCISES"):
        monkeypatch.setattr(lessons, name, tmp_path / getattr(lessons, name).name)
    monkeypatch.setenv("MINIGPT_EXPECT", "")
    plant()
    yield plant
    lessons.lesson.cache_clear(), lessons.statements.cache_clear(), build.bare_code.cache_clear()


def files(root: Path) -> dict[str, bytes]:
    made = (path for path in root.rglob("*") if path.is_file() and path.parent.name != "source")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in made}


def text_of(notebook: dict) -> str:
    return "\n".join("".join(cell["source"]) for cell in notebook["cells"])


def printed(notebook: dict) -> list[str]:
    return ["".join("".join(out.get("text", "")) for out in cell["outputs"]) for cell in build.code_cells(notebook)]


def test_two_builds_are_byte_identical(course, capsys):
    root = course(notebooks_00=OF_00 + "\n# %%\nprint('first')\n", notebooks_04=LESSON_04, solutions_04=SOLUTION_04)
    assert build.main([]) == 0
    out = capsys.readouterr().out
    assert out.index("notebooks/00_") < out.index("notebooks/04_")  # lesson 00 makes the run that others reopen
    once = files(root)
    assert {name for name in once if name.endswith(".ipynb")} == {
        "notebooks/00_pretraining_in_ten_minutes.ipynb", "notebooks/04_attention.ipynb",
        "solutions/04_attention.ipynb", "exercises/04_attention.ipynb"}  # fmt: skip
    assert build.main(["--check"]) == 0

    capsys.readouterr()
    assert build.main([]) == 0 and "executed" not in capsys.readouterr().out and files(root) == once
    assert build.main(["--force", "--jobs", "1"]) == 0
    assert capsys.readouterr().out.count("executed") == 3
    twice = files(root)
    kept = json.loads(twice.pop("notebooks/budgets.json")), json.loads(once.pop("notebooks/budgets.json"))
    # with one job at a time there are two threads, and the lesson says how many; nothing else may differ, and above all
    # not the cell tagged `timing`, which prints a clock
    attention = "notebooks/04_attention.ipynb"
    once[attention], twice[attention] = (
        re.sub(rb"256 \d", b"256", once[attention]), re.sub(rb"256 \d", b"256", twice[attention]))  # fmt: skip
    assert twice == once
    assert [book["04"]["probe"] is None for book in kept] == [False, True]  # True: beside its solutions
    assert all(0 < book["00"]["probe"] < 60 and book["04"]["limit"] == 120 for book in kept)

    notebook = json.loads(once[attention])
    assert list(notebook["metadata"]) == ["kernelspec", "language_info", "minigpt"]
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    assert all(not set(cell["metadata"]) - {"tags"} for cell in notebook["cells"])
    assert [cell["metadata"].get("tags") for cell in notebook["cells"]][-1] == ["timing"]
    names = [out.get("name", "png") for out in build.code_cells(notebook)[1]["outputs"]]
    assert names == ["stdout", "png", "stdout"]  # the order in which it was shown
    (png,) = re.findall(r'"image/png": "(.+?)"', once[attention].decode())
    assert b"Software" not in base64.b64decode(png) and base64.b64decode(png)[-8:-4] == b"IEND"
    import nbformat
    for name in once:
        if name.endswith(".ipynb"):
            nbformat.validate(nbformat.reads(once[name].decode(), as_version=4))
            # Jupyter, opening and saving it, changes no byte
            assert nbformat.writes(nbformat.reads(once[name].decode(), as_version=4)) + "\n" == once[name].decode()
            assert "\r" not in once[name].decode()


def test_outputs_do_not_depend_on_how_a_stream_fell_into_pieces():
    def stream(name, *lines):
        return {"output_type": "stream", "name": name, "text": list(lines)}

    shown = {"output_type": "display_data", "data": {"text/plain": ["x"]}, "metadata": {}}
    rest = [stream("stderr", "d\n"), shown, stream("stdout", "e\n")]
    pieces = [stream("stdout", "a\n", "b"), stream("stdout", "c\n"), *rest]
    whole = [stream("stdout", "a\n", "bc\n"), *rest]
    assert build.clean_outputs(pieces, Path("/r")) == whole == build.clean_outputs(whole, Path("/r"))


def test_outputs_do_not_name_the_folder_that_stood_for_runs(tmp_path):
    said = {"output_type": "stream", "name": "stdout", "text": [f"training {tmp_path}/first\n"]}
    assert build.clean_outputs([said], tmp_path)[0]["text"] == ["training runs/first\n"]


def test_ids_are_hashes_of_what_is_in_the_cell(course):
    import hashlib

    course(notebooks_04=FRONT + "\n# %%\nx = 1\n\n# %%\nx = 1\n\n# %% [markdown]\n# x = 1\n")
    ids = [cell["id"] for cell in build.notebook("04", LESSON)["cells"]]
    assert ids[1] == hashlib.sha1(b"codex = 1").hexdigest()[:8] and ids[2] == ids[1] + "-2"
    assert ids[3] == hashlib.sha1(b"markdownx = 1").hexdigest()[:8]


def test_the_front_matter_becomes_the_title_cell(course):
    course(notebooks_00=OF_00, notebooks_04=LESSON_04)
    first = build.notebook("04", LESSON)["cells"][0]
    text = "".join(first["source"])
    assert first["cell_type"] == "markdown"
    assert text.startswith("# 04 · Attention\n\n**How can a position look back?**\n")
    assert "- write attention\n- read its picture\n" in text
    assert "matrix product, token (00)" in text and "60 minutes to read" in text
    assert "[90 minutes of exercises](../exercises/04_attention.ipynb)" in text
    assert "core" in text and "Vaswani et al. (2017)" in text


def test_learners_see_neither_solutions_nor_what_is_for_instructors(course, tmp_path):
    root = course(notebooks_04=LESSON_04, solutions_04=SOLUTION_04)
    lesson, solution, exercise = (build.notebook("04", edition) for edition in (LESSON, SOLUTION, EXERCISE))
    for notebook in lesson, solution, exercise:
        assert "Aim:" not in text_of(notebook) and "One picture" not in text_of(notebook)
        assert "Ask who" not in text_of(notebook) and "### " not in text_of(notebook)
    assert text_of(solution).count("SECRET") == 2 and "NEARLY_THE_ANSWER" in text_of(solution)
    assert "SECRET" not in text_of(exercise) and "NEARLY" not in text_of(exercise) and lessons.TODO in text_of(exercise)
    assert "Who sees whom?" in text_of(exercise) and 'hint("04.causal_mask")' in text_of(exercise)
    assert "seen = os.environ" in text_of(exercise)  # the set-up stays

    assert build.main(["--instructor", str(tmp_path / "staff")]) == 0
    staff = json.loads((tmp_path / "staff/04_attention.ipynb").read_text("utf-8"))
    kinds = [cell["metadata"]["slideshow"]["slide_type"] for cell in staff["cells"]]
    assert kinds[:3] == ["skip", "notes", "slide"] and set(kinds[3:]) == {"skip"}
    assert "Ask who" in (tmp_path / "staff/04_attention_solutions.ipynb").read_text("utf-8")
    assert build.main(["--instructor", str(root / "notebooks")]) == 2


def test_only_what_changed_is_executed(course, capsys):
    root = course(notebooks_04=OF_00 + "\n# %% [markdown]\n# ## prose\n\n# %%\nprint(6 * 7)\n")
    path = root / "notebooks/04_attention.ipynb"
    assert build.main(["--check"]) == 1
    assert capsys.readouterr().out.splitlines()[0] == "notebooks/04_attention.ipynb is not built."
    assert build.main(["04"]) == 0 and "executed" in capsys.readouterr().out
    assert printed(json.loads(path.read_text())) == ["42\n"]

    source = (root / "notebooks/source/04.py").read_text()
    course(notebooks_04=source.replace("prose", "better prose"))
    assert build.main(["--check"]) == 1 and "differs from its source" in capsys.readouterr().out
    assert build.main([]) == 0
    assert "wrote     notebooks" in capsys.readouterr().out and printed(json.loads(path.read_text())) == ["42\n"]

    course(notebooks_04=source.replace("6 * 7", "6 * 8"))
    assert build.main(["--check"]) == 1 and "is older than its source" in capsys.readouterr().out
    assert printed(json.loads(path.read_text())) == ["42\n"]  # --check writes nothing
    assert build.main([]) == 0 and printed(json.loads(path.read_text())) == ["48\n"]

    for spoil in (lambda text: text.replace('"48', '"49', 0).replace("prose", "PROSE"), lambda text: text[:-9],
                  lambda text: re.sub(r'"execution_count": \d', '"execution_count": null', text)):  # fmt: skip
        good = path.read_text()
        path.write_text(spoil(good))
        assert path.read_text() != good and build.stale()
        path.write_text(good)
    assert not build.stale()
    (root / "exercises").mkdir()
    (root / "exercises/99_gone.ipynb").write_text("{}")
    assert build.stale() == ["exercises/99_gone.ipynb has no source."]


def test_a_lesson_is_stale_when_a_module_that_it_imports_has_changed(course, tmp_path, monkeypatch):
    course(notebooks_04=FRONT + "\n# %%\nfrom minigpt import GPT\nfrom minigpt.classroom import check\n")
    monkeypatch.setattr(depends, "PACKAGE", tmp_path / "minigpt")
    (tmp_path / "minigpt/classroom").mkdir(parents=True)
    model = tmp_path / "minigpt/model.py"

    def made_from(source, of=model):
        of.write_text(source, encoding="utf-8")
        build.bare_code.cache_clear()
        return build.notebook("04", LESSON)["metadata"]["minigpt"]["made_from"]

    (tmp_path / "minigpt/classroom/check.py").write_text("x = 1")
    first = made_from('"""Doc."""\n\nclass GPT:\n    """Doc."""\n\n    x = "#1"  # why\n')
    assert made_from('"""Other."""\nclass GPT:\n    # because\n    x = "#1"\n') == first
    assert made_from('"""Other."""\nclass GPT:\n    x = "#2"\n') != first
    assert made_from('class GPT:\n    x = "#1"\n') == first
    assert made_from("x = 2", tmp_path / "minigpt/classroom/check.py") == first
    assert made_from("x = 2", tmp_path / "minigpt/optim.py") == first


def test_what_a_crawl_needs_makes_only_its_lessons_stale():
    assert not depends.closure("train") & depends.BESIDE and {"model", "corpus"} <= depends.closure("train")
    assert {"text.pages", "text.dedup"} <= depends.closure("text.pipeline")
    assert all(depends.module_path(name).exists() for name in depends.BESIDE)


@pytest.mark.parametrize("code, names", [
    ("from minigpt import GPT, train_bpe as t, config", {"model", "tokenizer", "config"}),
    ("from minigpt.text.sources import read_text", {"text.sources"}),
    ("import minigpt\nminigpt.generate(m)", {"sampling"}),
    ("def f():\n    import minigpt.optim as o", {"optim"}),
    ("from minigpt.text import sources", {"text.sources"}),
    ("from minigpt.classroom import check, hint\nimport numpy.random", set()),
])  # fmt: skip
def test_the_modules_that_code_names(code, names):
    assert build.modules(code) == names


@pytest.mark.parametrize("code, names", [
    ("from minigpt.classroom import show, check", {"classroom.viz"}),
    ("from minigpt.classroom.viz import heatmap", {"classroom.viz"}),
    ("from minigpt.classroom import recorded, hint", {"classroom.shelf"}),
    ("from minigpt.classroom import model_from as m", {"classroom.shelf"}),
    ("from minigpt.classroom.shelf import live_sentence", {"classroom.shelf"}),
    ("from minigpt.classroom.check import examine", set()),
])  # fmt: skip
def test_outputs_depend_on_two_parts_of_the_classroom(code, names):
    assert build.modules(code) == names


def test_a_lesson_is_stale_when_what_it_takes_off_the_shelf_has_changed(course, tmp_path, monkeypatch):
    records, package = tmp_path / "records", tmp_path / "minigpt"
    monkeypatch.setattr(shelf, "RECORDS", records)
    monkeypatch.setattr(depends, "PACKAGE", package)
    (package / "classroom").mkdir(parents=True), records.mkdir()
    files = {"classroom/shelf": "x = 1", "train": "from . import optim", "optim": "def f():\n    from .config import x",
             "config": "x = 1", "shards": "x = 1", "bench": "x = 1"}  # fmt: skip
    for name, source in files.items():
        (package / f"{name}.py").write_text(source, encoding="utf-8")
    (records / "04_scale.py").write_text("from minigpt import shards", encoding="utf-8")
    (records / "04_scale.json").write_text("{}", encoding="utf-8")
    (records / "04_other.py").write_text("x = 1", encoding="utf-8")

    def changes(path, use):
        """Whether a lesson that uses something of the shelf is stale when a file has changed."""
        course(notebooks_04=f"{FRONT}\n# %%\nfrom minigpt.classroom import model_from, recorded\n\n# %%\n{use}\n")
        before, text = build.notebook("04", LESSON)["metadata"], path.read_text("utf-8")
        path.write_text(text + "\ny = 2", encoding="utf-8")
        build.bare_code.cache_clear()
        after = build.notebook("04", LESSON)["metadata"]
        path.write_text(text, encoding="utf-8")
        return before != after

    record, model, neither = "r = recorded('04.scale')", "run = shelf.model_from('00')", "recorded(), recorded('04.n')"
    for path, stale in {
        package / "classroom/shelf.py": {record, model, neither},  # which this lesson imports
        records / "04_scale.json": {record}, records / "04_scale.py": {record}, records / "04_other.py": set(),
        package / "shards.py": {record},  # which the record's live run executes
        package / "train.py": {model}, package / "optim.py": {model}, package / "config.py": {model},
        package / "bench.py": set(),
    }.items():  # fmt: skip
        assert {use for use in (record, model, neither) if changes(path, use)} == stale, path.name


def test_a_closure_holds_all_that_python_imports():
    command = "import sys, minigpt.train; print(*(name[8:] for name in sys.modules if name.startswith('minigpt.')))"
    imported = subprocess.run([sys.executable, "-c", command], cwd=OURS, capture_output=True, text=True).stdout.split()
    found = depends.closure("train").union(*map(depends.closure, depends.BESIDE))
    assert len(imported) > 9 and set(imported) - {"text"} <= found  # text: a package, and empty
    assert depends.closure("shards") == {"shards", "config", "files"} and "model" in depends.closure("accounting")


def test_each_lesson_has_a_probe_of_its_own(course, monkeypatch):
    course(notebooks_00=OF_00 + "\n# %%\nx = 1\n", notebooks_04=FRONT + "\n# %%\nx = 1\n", solutions_04=SOLUTION_04)
    monkeypatch.setattr(build, "execute", lambda job, runs, threads: {"00": 7.0, "04": 11.0}[job.id])
    for jobs, probe_of_04 in ("1", 6.0), ("2", None):
        probes = itertools.count(1.0, 2.0)  # before and after 00: 1 and 3; 04: 5 and 7, its solutions: 9 and 11
        monkeypatch.setattr(build, "probe", lambda: next(probes))
        assert build.main(["--force", "--jobs", jobs]) == 0
        assert build.budgets() == {"00": {"seconds": 7.0, "limit": 120, "probe": 2.0},
                                   "04": {"seconds": 11.0, "limit": 120, "probe": probe_of_04}}  # fmt: skip


def test_a_failing_cell_is_named_and_nothing_is_written(course, capsys):
    wrong = SOLUTION_04.replace('"todo" if seen == "todo" else "passed"', '"wrong"')
    root = course(notebooks_04=FRONT + "\n# %%\nprint(1)\n", solutions_04=wrong)
    assert build.main([]) == 1
    captured = capsys.readouterr()
    assert "FAILED    solutions/04_attention.ipynb" in captured.err and "AssertionError: passed" in captured.err
    assert "\x1b" not in captured.err
    assert not (root / "solutions/04_attention.ipynb").exists() and (root / "notebooks/04_attention.ipynb").exists()

    no_output = "from IPython.display import display\ndisplay({'image/png': {'alt': 1}}, raw=True)"
    course(notebooks_04=f"{FRONT}\n# %%\n{no_output}\n")
    before = files(root)
    assert build.main(["04"]) == 1 and "FAILED    notebooks/04_attention.ipynb" in capsys.readouterr().err
    assert files(root) == before | {name: text for name, text in files(root).items() if name.startswith("docs")}


def test_a_kernel_sees_nothing_of_the_authors(course, monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGPT_HOME", "/mine")
    monkeypatch.setenv("MINIGPT_RUNS", "/mine")
    code = (
        "import os, pathlib, sys\nimport minigpt\nfor name in ('HOME', 'RUNS'):\n"
        "    assert 'minigpt-' in os.environ['MINIGPT_' + name]\n"
        "assert not list(pathlib.Path(os.environ['MINIGPT_RUNS']).iterdir())\n"
        "assert os.environ['MINIGPT_STATIC'] == os.environ['TQDM_DISABLE'] == '1'\n"
        "assert os.environ['OMP_NUM_THREADS'] == '2'\nassert pathlib.Path.cwd().name == 'notebooks'\n"
        f"assert sys.executable == {sys.executable!r}"
    )
    course(notebooks_04=f"{FRONT}\n# %%\n{code}\n")
    assert build.main([]) == 0


@pytest.mark.parametrize("sources, arguments, sentence", [
    ({"notebooks_04": LESSON_04}, ["07"], "there is no source of lesson '07'"),
    ({"notebooks_04": LESSON_04}, ["--jobs", "0"], "--jobs must be at least 1"),
    ({"notebooks_04": "# %%\nprint(1)\n"}, [], "04.py: the first cell must be [raw] front matter"),
    ({"notebooks_04": FRONT + "\n# %%\nif:\n"}, [], "lesson 04: invalid syntax in the line 'if:'"),
    ({"notebooks_04": FRONT, "solutions_04": "# %%\n### BEGIN SOLUTION\n"}, [], "04.py: '### BEGIN SOLUTION' without"),
])  # fmt: skip
def test_mistakes_are_one_sentence(course, capsys, sources, arguments, sentence):
    course(**sources)
    assert build.main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert sentence in error and "\n" not in error


# ---- the generated pages ---------------------------------------------------------------------------------------------


def test_pages_are_made_of_the_front_matters(course):
    root = course(notebooks_00=OF_00, notebooks_04=FRONT)
    pages = build.pages()
    course_map, glossary, reading = (pages[name] for name in ("course.md", "glossary.md", "reading.md"))
    row = "| [04 Attention](../notebooks/04_attention.ipynb) | How can a position look back? | 60 min | 90 min | core |"
    assert row in course_map.splitlines()
    assert "| modern gpt | *not written yet* |" in course_map.replace("06 ", "")
    assert all(f"## {part}\n" in course_map for part in lessons.PARTS) and "00, 14, 15, 18, 19" in course_map
    assert "2 of 26 lessons are written" in course_map and "take 300 minutes" in course_map
    terms = re.findall(r"^\| \*\*(.+?)\*\*", glossary, flags=re.M)
    assert terms == ["a run", "attention", "Mask", "token"]
    assert reading.count("Attention is all you need \\| NeurIPS") == 2
    assert build.stale()[-3:] == [f"docs/{name} differs from the lessons' front matter." for name in pages]
    (root / "docs").mkdir()
    for name, text in pages.items():
        (root / "docs" / name).write_text(text, encoding="utf-8")
    assert not [sentence for sentence in build.stale() if "docs" in sentence]


@pytest.mark.parametrize("plant, sentence", [
    ((OF_00, FRONT), None),
    ((OF_00, FRONT.replace('"token"', '"Token"')), None),
    ((OF_00, FRONT.replace('"token"', '"softmax"')), "lesson 04 needs 'softmax', which no lesson before it teaches."),
    ((OF_00.replace("needs = []", 'needs = ["attention"]'), FRONT), "lesson 00 needs 'attention'"),
    ((OF_00, FRONT.replace('"Mask"', '"Token"')), "lesson 04 teaches 'Token', which lesson 00 has."),
    ((OF_00, FRONT.replace('"Mask"', '"tensor"')), "lesson 04 teaches 'tensor', which ASSUMED has."),
    ((OF_00, FRONT.replace('"core"', '"further"')), "lesson 04: its route is 'further'"),
])  # fmt: skip
def test_every_needed_term_is_taught_earlier(course, plant, sentence):
    course(notebooks_00=plant[0], notebooks_04=plant[1])
    found = build.curriculum(build.all_lessons())
    assert found == [] if sentence is None else len(found) == 1 and found[0].startswith(sentence), found


# ---- notebooks as tests ----------------------------------------------------------------------------------------------


def session(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """pytest in a folder with our configuration, as `course.py test` starts it."""
    shutil.copy(OURS / "conftest.py", folder)
    (folder / "pytest.ini").write_text("[pytest]\ntestpaths = tests notebooks solutions exercises\n"
                                       "addopts = --nbval-lax --nbval-current-env --nbval-cell-timeout=300\n")
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("PYTEST_", "MINIGPT_")) and name != "OMP_NUM_THREADS"}  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def save(path: Path, *cells: str) -> None:
    path.parent.mkdir(exist_ok=True)
    cells = [{"cell_type": "code", "id": f"c{i}", "metadata": {}, "source": source, "execution_count": 1, "outputs": []}
             for i, source in enumerate(cells)]  # fmt: skip
    path.write_text(json.dumps({"cells": cells, "metadata": build.METADATA, "nbformat": 4, "nbformat_minor": 5}))


def test_notebooks_run_as_tests_beside_unit_tests(tmp_path):
    expect = "import os; seen = os.environ['MINIGPT_EXPECT']; assert seen == {!r}, seen"
    threads = "assert os.environ['OMP_NUM_THREADS'] == '1' and os.environ['MINIGPT_STATIC'] == '1'"
    home = ("home, runs = os.environ['MINIGPT_HOME'], os.environ['MINIGPT_RUNS']\n"
            "assert not os.path.exists(home); assert os.path.isdir(runs); os.makedirs(home); "
            "open(os.path.join(runs, str(os.getpid())), 'w')")  # fmt: skip
    save(tmp_path / "notebooks/04_a.ipynb", expect.format(""), threads, home, "x = 1", "assert x == 1")
    save(tmp_path / "solutions/04_a.ipynb", expect.format("passed"), threads, home)
    save(tmp_path / "exercises/04_a.ipynb", expect.format("todo"), threads, home)
    save(tmp_path / "exercises/05_b.ipynb", "x = 1", "x / 0", "1 / 0", "x = 2")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_unit.py").write_text(
        "import os\n\ndef test_one():\n    assert 'MINIGPT_EXPECT' not in os.environ\n\n"
        "def test_two():\n    assert 'MINIGPT_STATIC' not in os.environ\n")  # fmt: skip
    done = session(tmp_path, "-n", "2", "--dist", "loadscope")
    counts = re.findall(r"\d+ (?:failed|passed|skipped|errors?)", done.stdout.splitlines()[-1])  # warnings come and go
    assert counts == ["1 failed", "14 passed", "2 skipped"], done.stdout[-3000:] + done.stderr
    assert "FAILED exercises/05_b.ipynb::Cell 1" in done.stdout
    assert "Cell 1 of this notebook failed" in done.stdout and done.returncode == 1


# ---- ours ------------------------------------------------------------------------------------------------------------


def test_our_notebooks_are_up_to_date():
    assert build.stale() == [], "run `python -m minigpt.classroom.build`"


def test_check_takes_less_than_half_a_second_a_lesson():
    command, best, most = [sys.executable, "-m", "minigpt.classroom.build", "--check"], 99.0, len(lessons.written()) / 2
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run(command, cwd=OURS, capture_output=True)
        best = min(best, time.perf_counter() - started)
        if best < most:
            return
    pytest.fail(f"{best:.1f} s")


def test_every_lesson_is_within_its_budget():
    kept = build.budgets()
    assert set(kept) == set(lessons.written()), "a lesson without a budget, or a budget without a lesson"
    assert [f"{id}: {entry}" for id, entry in kept.items() if entry["seconds"] > entry["limit"]] == []
