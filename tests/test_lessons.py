"""The sources of the lessons as the house reads them, against jupytext, and what it says of mistakes in them."""
import jupytext
import pytest

from minigpt.classroom import lessons
from minigpt.classroom.lessons import TODO, Cell, cut, solved
from minigpt.config import UserError

TRICKY = '''# %% [raw]
# title = "x # y"
# [teaches]
# "a" = "b"

# %% [markdown] tags=["instructor"]
# # Title · with a dot
#
# - list
#     - indented by four
#
# ```python
# # %% is no cell here
# x = 1
# ```
#
#
# `#` alone, and #no space, $a_{ij} \\\\times 2$, é 日本 🙂

# %%
x = 1  # %% not at the start of the line


def f():
    return """
a string with an empty line

"""


# a comment that ends the cell

# %% tags=["timing", "long"]
# a comment first
y = "# %%"

# %% [markdown]
# one line
# %%
# %% [markdown]
# # After an empty cell
#    three spaces

# %%
if x:
    pass
# trailing

'''


def as_jupytext_reads(text: str) -> list[Cell]:
    cells = jupytext.reads(text, fmt="py:percent").cells  # it keeps some empty first lines
    return [Cell(cell.cell_type, cell.source.strip("\n"), tuple(cell.metadata.get("tags", ()))) for cell in cells]


def test_cells_are_those_that_jupytext_finds(tmp_path):
    path = tmp_path / "99.py"
    path.write_text(TRICKY, encoding="utf-8")
    cells = lessons.read_cells(path)
    assert cells == as_jupytext_reads(TRICKY)
    assert [cell.kind for cell in cells] == ["raw", "markdown", "code", "code", "markdown", "code", "markdown", "code"]
    assert cells[1].tags == ("instructor",) and cells[3].tags == ("timing", "long") and cells[0].tags == ()


def test_cells_of_our_sources_are_those_that_jupytext_finds():
    paths = [*lessons.LESSONS.glob("source/*.py"), *lessons.SOLUTIONS.glob("source/*.py")]
    for path in paths:
        assert lessons.read_cells(path) == as_jupytext_reads(path.read_text(encoding="utf-8")), path


# ---- solutions, stubs and holes --------------------------------------------------------------------------------------

HOLE = """def f(x):
    y = x
    ### BEGIN SOLUTION
    y += 1
    ### STUB
    # y -= 1
    # # a comment
    ### END SOLUTION
    return y"""


def test_a_solution_is_cut_to_its_stub_or_to_a_todo():
    assert cut(HOLE) == "def f(x):\n    y = x\n    y -= 1\n    # a comment\n    return y"
    assert solved(HOLE) == "def f(x):\n    y = x\n    y += 1\n    return y"
    bare = "def f(x):\n    ### BEGIN SOLUTION\n    a = x\n    return a\n    ### END SOLUTION"
    assert cut(bare) == f"def f(x):\n    {TODO}" and solved(bare) == "def f(x):\n    a = x\n    return a"
    two = f"{bare}\n\n{bare.replace('f', 'g', 1)}"
    assert cut(two).count(TODO) == 2 and "return" not in cut(two)
    assert cut("x = 1") == solved("x = 1") == "x = 1" and cut("") == ""
    with pytest.raises(NotImplementedError):
        scope = {}
        exec(cut(bare), scope)
        scope["f"](1)


@pytest.mark.parametrize("marks", ["B", "E", "S", "BB", "BSE" + "E", "BSS", "BSB", "BES", "BEB", "SE"])
@pytest.mark.parametrize("choose", [cut, solved])
def test_markers_out_of_place_are_refused(marks, choose):
    name = {"B": lessons.BEGIN, "S": lessons.STUB, "E": lessons.END}
    with pytest.raises(UserError, match="04.py: '### (BEGIN|STUB|END)"):
        choose("\n".join(f"    {name[mark]}\n    x = 1" for mark in marks), "04.py")


# ---- front matter ----------------------------------------------------------------------------------------------------

FRONT = {
    "title": '"Attention"', "question": '"How?"', "able": '["write it"]', "needs": '["tensor"]', "reading": "60",
    "exercises": "90", "route": '"core"', "paper": '"Vaswani et al. (2017)"', "teaches": '{mask = "what is hidden"}',
}  # fmt: skip


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Plants lesson 04 and its exercises in a temporary folder."""

    def plant(lesson="", exercises=None):
        lessons.lesson.cache_clear(), lessons.statements.cache_clear()
        for folder, text in (("notebooks", lesson), ("solutions", exercises)):
            if text is not None:
                (tmp_path / folder / "source").mkdir(parents=True, exist_ok=True)
                (tmp_path / folder / "source/04.py").write_text(text, encoding="utf-8")

    monkeypatch.setattr(lessons, "LESSONS", tmp_path / "notebooks")
    monkeypatch.setattr(lessons, "SOLUTIONS", tmp_path / "solutions")
    yield plant
    lessons.lesson.cache_clear(), lessons.statements.cache_clear()


def front(**changed) -> str:
    lines = [f"# {name} = {value}" for name, value in (FRONT | changed).items() if value is not None]
    return "# %% [raw]\n" + "\n".join(lines) + "\n"


def test_front_matter_is_read(planted):
    planted(front())
    lesson = lessons.lesson("04")
    assert (lesson.id, lesson.stem, lesson.title, lesson.reading) == ("04", "04_attention", "Attention", 60)
    assert lesson.able == ("write it",) and lesson.teaches == {"mask": "what is hidden"}
    assert lessons.written() == ["04"]


@pytest.mark.parametrize("text, sentence", [
    ("# %%\nx = 1\n", "04.py: the first cell must be"),
    ("", "04.py: the first cell must be"),
    (front(question=None), "04.py: front matter: 'question' is missing or unknown"),
    (front(colour='"red"'), "04.py: front matter: 'colour' is missing or unknown"),
])  # fmt: skip
def test_mistakes_in_front_matter_are_one_sentence(planted, text, sentence):
    planted(text)
    with pytest.raises(UserError, match=sentence.replace("[", r"\[")):
        lessons.lesson("04")


# ---- exercises -------------------------------------------------------------------------------------------------------

EXERCISES = '''# %% [markdown]
# # Exercises

# %% tags=["setup"]
import math

# %% tags=["setup"]
given = 3

# %% [markdown]
# ## 04.1 causal_mask: who sees whom
#
# *write · difficulty 2/5 · 10 min · core · try first · idea: the triangle*
#
# Return it.
#
# <details><summary>Hint 1: a question</summary>
#
# One?
#
# </details>
# <details><summary>Hint 2</summary>Two.</details>
# <details><summary>Hint 3</summary>
# Three.
# </details>

# %%
def helper():
    return 0

# %%
def causal_mask(n):
    ### BEGIN SOLUTION
    return n
    ### STUB
    # return -n
    ### END SOLUTION

# %% [markdown]
# ## A heading of the text

# %%
def not_an_exercise():
    return 1
'''


def test_a_statement_is_put_together(planted):
    planted(front(), EXERCISES)
    (statement,) = lessons.statements("04").values()
    assert statement is lessons.exercise("04.causal_mask")
    assert (statement.name, statement.number, statement.title) == ("04.causal_mask", 1, "who sees whom")
    assert (statement.kind, statement.difficulty, statement.minutes) == ("write", 2, 10)
    assert statement.flags == ("core", "try first") and statement.idea == "the triangle"
    assert statement.hints == ("One?", "Two.", "Three.") and statement.text.endswith("Return it.")
    assert statement.setup == "import math\n\ngiven = 3"
    assert statement.solution == "def causal_mask(n):\n    return n"
    assert statement.stub == "def causal_mask(n):\n    return -n"
    assert lessons.statements("05") == {}


@pytest.mark.parametrize("right, wrong, sentence", [
    ("*write ·", "*scribble ·", "causal_mask: unknown kind or flag"),
    ("· try first ·", "· try last ·", "causal_mask: unknown kind or flag"),
    ("difficulty 2/5", "difficulty 9/5", "the header '## 04.1 causal_mask: who sees whom' is not as"),
    ("· idea: the triangle", "", "the header "),
    ("## 04.1 causal_mask", "## 05.1 causal_mask", "causal_mask: unknown kind or flag"),
    ("    ### END SOLUTION", "", "without '### END SOLUTION'"),
])  # fmt: skip
def test_mistakes_in_exercises_are_one_sentence(planted, right, wrong, sentence):
    assert right in EXERCISES
    planted(front(), EXERCISES.replace(right, wrong))
    with pytest.raises(UserError, match=sentence):
        lessons.statements("04")


def test_an_unknown_exercise_names_the_nearest(planted):
    planted(front(), EXERCISES)
    with pytest.raises(UserError, match=r"did you mean 04\.causal_mask\?"):
        lessons.exercise("04.casual_mask")
    with pytest.raises(UserError, match=r"no exercise '04\.zzz'.*04\.causal_mask"):
        lessons.exercise("04.zzz")


def test_a_lesson_by_its_number_however_it_is_written():
    assert {lessons.number(text) for text in ("4", "04", "04.x", "4.x", "04_attention", "04_attention.py", 4)} == {"04"}
    assert lessons.number("primer") == lessons.number("primer_tensors_and_gradients") == "primer"
    for text in ("", "25", "4x", "../04", "attention", "-4", "04 ", None):
        with pytest.raises(UserError, match="numbered like 04"):
            lessons.number(text)


def test_an_exercise_is_found_without_its_zero(planted):
    planted(front(), EXERCISES)
    assert lessons.exercise("4.causal_mask") is lessons.find("4_x.causal_mask") is lessons.find("04.causal_mask")
    assert lessons.find("04.casual_mask") is None
    with pytest.raises(UserError, match=r"did you mean 04\.causal_mask\?"):
        lessons.exercise("causal_mask")
    with pytest.raises(UserError, match="no exercise"):
        lessons.exercise(test_every_lesson_has_one_number_and_one_name)


def test_my_copy_is_the_notebook_or_the_file_that_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "ROOT", tmp_path)
    notebook, file = (tmp_path / "my" / f"04_attention{suffix}" for suffix in (".ipynb", ".py"))
    assert lessons.my_copy("04") == notebook
    file.parent.mkdir()
    file.write_text("")
    assert lessons.my_copy("04") == file
    notebook.write_text("")
    assert lessons.my_copy("04") == notebook


def test_every_lesson_has_one_number_and_one_name():
    stems = " ".join(lessons.PARTS.values()).split()
    assert len(stems) == len(lessons.STEMS) == 26
    assert list(lessons.STEMS)[1:] == [f"{number:02d}" for number in range(25)]
