"""What the journals say, on a planted lesson: one learner, a class, and wrong answers that become mutants."""
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
import tyro
from planted import BANK, WRONG, keep, line, write

from minigpt.classroom import bank, journal, learner
from minigpt.config import UserError

progress = importlib.import_module("minigpt.classroom.progress")  # the package gives the function of this name
NAME = "23.weighted_mean"
ROOT = Path(__file__).parent.parent


def checked(status, days=0.0, name=NAME, **fields):
    return line(
        "check",
        days,
        exercise=name,
        status=status,
        misconception=fields.pop("misconception", None),
        seconds=0.1,
        **fields,
    )


# ---- one learner


def test_progress_says_how_each_exercise_stands(root, capsys):
    minute = 1 / 1440
    keep(
        root,
        line("start", 1, lesson="23"),
        checked("wrong", 1 - 4 * minute),
        line("hint", 1 - 6 * minute, exercise=NAME, level=1),
        line("hint", 1 - 6 * minute, exercise=NAME, level=1),
        checked("passed", 1 - 9 * minute),
        checked("error", 0.5),
        line("solution", 0.5 - 2 * minute, exercise=NAME),
    )
    progress.progress()
    out = capsys.readouterr().out
    assert "1 of 2 passed" in out and "could not be read" not in out
    (row,) = [x for x in out.splitlines() if "23.1 weighted_mean" in x]
    assert all(said in row for said in ("passed once, now error", "2 attempts", "1 hint,", "solution seen")), row
    assert "23.2 last_weight" in out and "not tried" in out


def test_minutes_are_those_of_a_lesson(root, capsys):
    """A file is checked as a whole: whose pause was it?"""
    minute = 1 / 1440
    keep(
        root,
        line("start", 1, lesson="23"),
        *[checked(status, 1 - 9 * minute, name) for status, name in (("todo", NAME), ("wrong", "23.last_weight"))],
        checked("error", 0.5),  # half a day later: at most 15 minutes of it
        line("solution", 0.5 - 2 * minute, exercise=NAME),
        line("start", 0.5 - 60 * minute, lesson="23"),
        checked("passed", 0.5 - 63 * minute, "04.causal_mask"),
    )
    progress.progress()
    lines = capsys.readouterr().out.splitlines()
    assert [x for x in lines if " min" in x] == ["23 tensor and pipeline parallel: 0 of 2 passed, 26 min at work"]
    assert progress.minutes(journal.read()) == {"23": 9 + 15 + 2, "04": 3}


def test_the_last_line_says_where_the_journal_is(root, capsys, monkeypatch):
    for past in ([], [checked("passed")]):
        keep(root, *past)
        assert progress.progress_verb() == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"Your journal: {root / 'home' / 'journal.jsonl'}"
    monkeypatch.setenv("MINIGPT_STATIC", "1")  # a page that is stored
    progress.progress()
    assert "Your journal" not in capsys.readouterr().out


def test_progress_counts_predictions_and_what_is_due(root, capsys):
    keep(
        root,
        line("reveal", 4, id="23.p1", guess=1, truth=1, hit=True),
        line("reveal", 4, id="23.p3", guess=1, truth=2, hit=False),
        line("reveal", 4, id="23.p3", guess=None, truth=2, hit=None),
    )
    progress.progress()
    out = capsys.readouterr().out
    assert "1 of 2 predictions hit." in out and "3 questions due" in out and "0 of 2 passed (not begun)" in out


def test_progress_of_nothing(root, capsys):
    progress.progress()
    assert "journal is empty" in capsys.readouterr().out


def test_damaged_lines_are_counted_in_a_sentence(root, capsys):
    keep(root, checked("passed"), '{"half\n', '{"time": 3}\n')
    progress.progress()
    out = capsys.readouterr().out
    assert "2 lines could not be read and are left out." in out and "1 of 2 passed" in out


@pytest.mark.parametrize(
    "statuses, words, attempts, misses",
    [
        ([], "not tried", 0, 0),
        (["todo"], "todo", 0, 0),
        (["todo", "wrong", "error", "passed", "wrong"], "passed once, now wrong", 3, 2),
        (["error", "wrong"], "wrong", 2, 2),
        (["wrong", "error"], "wrong once, now error", 2, 2),
        (["passed"], "passed", 1, 0),
        (["nonsense", "passed"], "passed", 1, 0),
    ],
)
def test_standing(statuses, words, attempts, misses):
    time = datetime(2026, 1, 1, tzinfo=UTC)
    past = [{"time": time, "kind": "check", "exercise": NAME, "status": status} for status in statuses]
    standing = progress.standings(past).get(NAME)
    assert progress.in_words(standing) == words
    if standing:
        assert (standing.attempts, standing.misses) == (attempts, misses)


# ---- a class


class Page(HTMLParser):
    """Tables by caption: lists of rows, each the texts of its cells; and what a reader must not find."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.headers, self.tags, self.caption, self.cell = {}, [], [], "", None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "caption":
            self.caption = ""
        elif tag == "tr":
            self.tables.setdefault(self.caption, []).append([])
        if tag == "th":
            self.headers.append(dict(attributes).get("scope"))
        if tag in ("th", "td", "caption"):
            self.cell = ""

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data

    def handle_endtag(self, tag):
        if tag == "caption":
            self.caption = self.cell
        elif tag in ("th", "td"):
            self.tables[self.caption][-1].append(self.cell)
        if tag in ("th", "td", "caption"):
            self.cell = None


def journals(folder):
    folder.mkdir()
    (folder / "owl.jsonl").write_text(
        checked("wrong", misconception="by_number", answer="a")
        + checked("wrong", misconception="by_number", answer="a")
        + checked("wrong", misconception="by_number", answer="b")
        + checked("passed", answer="c")
        + checked("wrong", answer="b", misconception="by_number")
        + checked("passed", answer="c")
        + checked("wrong", name="23.last_weight", misconception="first")
        + checked("wrong", name="23.last_weight")
        + "{broken\n",
        encoding="utf-8",
    )
    (folder / "<script>alert(1)<&.jsonl").write_text(
        checked("wrong", misconception="<b>old</b>")
        + checked("wrong")
        + checked("error", misconception="by_number")
        + checked("wrong", name="99.<i>"),
        encoding="utf-8",
    )
    (folder / "new.jsonl").write_text("", encoding="utf-8")
    return folder


QUESTION = "What if all weights were 2?"


def ideas_advice(page):
    """What stands where no idea is known, in place of a question."""
    return page.tables["Ideas behind wrong answers, by exercise"][-1][-1]


def test_blue_is_passed_and_only_orange_has_depth(root):
    wrong = [checked("wrong", answer=str(n)) for n in range(3)]
    past = {"late": [*wrong, checked("passed")], "soon": [checked("passed")], "open": wrong, "little": wrong[:1]}
    page = progress.class_page({who: journal.parse("".join(x).encode())[0] for who, x in past.items()}, 0)
    cells = dict(re.findall(r'<td class="passed" style="(.*?)">(passed.*?)</td>', page))
    assert page.count('<td class="passed"') == 2 and "after 3 wrong" in str(cells)
    style = page[page.index("<style>") : page.index("</style>")]
    (blue,) = re.findall(r"\.passed { (.*?) }", style)
    assert "--heat" not in blue and "--heat" in re.search(r"\.open { (.*?) }", style)[1]
    assert re.findall(r'class="open" style="--heat:(\d)"', page) == ["3", "1"]
    # in the overview the blue is as long as the share: none for "0 of 2"
    assert re.findall(r"--share:(\d+)%\">(\d of 2)<", page) == [("50", "1 of 2")] * 2 + [("0", "0 of 2")] * 2


def test_what_is_still_to_do_has_no_colour(root):
    todo = journal.parse((checked("todo") + line("solution", exercise=NAME)).encode())[0]
    page = progress.class_page({"owl": todo}, 0)
    assert '<td class="none">todo, solution seen</td>' in page and 'class="open"' not in page


def test_the_class_page(root, capsys):
    folder = journals(root / "class")
    assert progress.progress_verb(class_=str(folder)) == 0
    assert str(folder / "class.html") in capsys.readouterr().out
    text = (folder / "class.html").read_text(encoding="utf-8")
    page = Page(text)
    heat = next(rows for caption, rows in page.tables.items() if "learners by exercises" in caption)
    assert heat == [
        ["learner", "23.1 weighted_mean", "23.2 last_weight"],
        ["<script>alert(1)<&", "wrong once, now error, 3 attempts by number", "not tried"],
        ["new", "not tried", "not tried"],
        ["owl", "passed after 2 wrong", "wrong, 2 attempts"],
    ]
    unknown, advice = "no known idea explains it", ideas_advice(page)
    assert page.tables["Ideas behind wrong answers, by exercise"] == [
        ["the result is what one gets when …", "still", "overcome", "a question to ask"],
        ["23.1 weighted_mean"],
        ["the sum is divided by the number of weights by number", "1<script>alert(1)<&", "1owl", QUESTION],
        ["<b>old</b>", "0", "1<script>alert(1)<&", ""],
        [unknown, "0", "1<script>alert(1)<&", advice],
        ["23.2 last_weight"],
        ["the first is taken first", "0", "1owl", "Which?"],
        [unknown, "1owl", "0", advice],
        ["99.<i>"],
        [unknown, "1<script>alert(1)<&", "0", advice],
    ]
    assert "progress --unexplained" in advice and text.index("learners by exercises") < text.index("Ideas in the way")
    assert text.count("<details><summary>1</summary>owl</details>") == 3  # named to those who ask
    overview = page.tables["Exercises passed, by learner and lesson"]
    assert overview[1:] == [["<script>alert(1)<&", "0 of 2"], ["new", "0 of 2"], ["owl", "1 of 2"]]
    assert "1 line could not be read and is left out." in text
    # nothing is fetched or run, every header says what it heads, every cell has words
    assert (
        not {"script", "img", "link", "iframe", "b", "i"} & set(page.tags)
        and "http:" not in text
        and "https:" not in text
    )
    assert "default-src 'none'" in text and "prefers-color-scheme: dark" in text and page.tags.count("h1") == 1
    assert set(page.headers) == {"col", "row", "rowgroup"} and all(
        cell for rows in (heat, overview) for row in rows for cell in row
    )


def test_what_others_wrote_cannot_turn_the_page_around():
    assert progress.escape("a\u202eb\x85c\ud800d\x00") == "a\ufffdb\ufffdc\ufffdd\ufffd"
    assert progress.escape("क्\u200dष\n\t<é") == "क्\u200dष\n\t&lt;é"  # a joiner is part of a word


def test_a_class_without_journals(root, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "absent"):
        for flags in ({}, {"unexplained": True}):
            with pytest.raises(UserError, match="holds no journals"):
                progress.progress_verb(class_=str(tmp_path / folder), **flags)
    (tmp_path / "empty/odd.jsonl").mkdir()
    with pytest.raises(UserError, match="odd.jsonl cannot be read"):
        progress.progress_verb(class_=str(tmp_path / "empty"))


def test_the_flags_of_the_verb(root, capsys):
    folder = journals(root / "class")
    assert tyro.cli(progress.progress_verb, args=["--class", str(folder)]) == 0
    assert (folder / "class.html").exists()


# ---- wrong answers that nobody has explained


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("def f(x):\n    y = x + 1\n    return y", "def g(a):\n\n  b = a+1  # why\n  return b", True),
        ("def f(x):\n    'doc'\n    return x", "def f(x: int) -> int:\n    return x", True),
        ("    def f(x):\n        return [i for i in x]", "def f(a):\n    return [k for k in a]", True),
        (
            "def f(x):\n    def h(z): return z\n    return h(x)",
            "def f(q):\n    def w(r): return r\n    return w(q)",
            True,
        ),
        ("def f(x, y):\n    return x - y", "def f(x, y):\n    return y - x", False),
        ("def f(x):\n    return math.exp(x)", "def f(x):\n    return cmath.exp(x)", False),
        ("def f(x):\n    return x.sum(1)", "def f(x):\n    return x.sum(0)", False),
        ("async def f(x):\n    'doc'\n    return x", "async def f(x):\n    return x", True),
    ],
)
def test_canonical(one, other, same):
    assert (learner.canonical(one) == learner.canonical(other)) is same


@pytest.mark.parametrize("code", ["def f(x:\n", "\0", "def \ud800({", "-" * 100_000 + "1", "(" * 1000 + ")" * 1000])
def test_code_that_cannot_be_parsed_is_left_out(root, capsys, code):
    assert learner.canonical(code) == learner.tidy(code) == ""
    keep(root, checked("wrong", code=code), checked("wrong", code=WRONG))
    assert progress.progress_verb(unexplained=True) == 0
    assert "1 wrong answer without" in capsys.readouterr().out


def test_wrong_answers_are_grouped_and_ranked(root, capsys):
    twice = "def weighted_mean(values, weights):\n    return max(values)\n"
    keep(
        root,
        checked("wrong", code=WRONG),
        checked("wrong", code=twice),
        checked("wrong", code=twice.replace("values", "v")),
    )
    keep(
        root,
        checked("wrong", code=WRONG, misconception="by_number"),
        checked("passed", code=WRONG),
        checked("wrong", code=5),
    )
    adopted = "def weighted_mean(v, w):\n    total = sum(a * b for a, b in zip(v, w))\n    return total\n"
    keep(root, checked("wrong", code=adopted))  # word for word a mutant: explained
    keep(root, checked("wrong", code=WRONG))  # checked again: no second time
    first, second = progress.wrong_answers({"you": journal.read()})
    assert (first.times, second.times) == (2, 1) and "max(v)" in first.code and first.id != second.id
    assert "Ada" not in second.code and "ada" not in second.code
    assert progress.progress_verb(unexplained=True) == 0
    out = capsys.readouterr().out
    assert out.index(first.id) < out.index(second.id) and "2 wrong answers without" in out
    command = out.splitlines()[-1]
    assert command.startswith(f"python3 course.py progress --adopt {first.id} --mutant ") and "--class" not in command
    both = progress.wrong_answers({"a": journal.read(), "b": journal.read()})
    assert [(u.times, u.learners) for u in both] == [(4, 2), (2, 2)] and [u.id for u in both] == [first.id, second.id]


def test_answers_that_raise_are_listed_too_and_the_last_line_is_a_command(root, capsys):
    raises = "def weighted_mean(values, weights):\n    return values[len(weights)]"
    folder = root / "my class"
    folder.mkdir()
    text = checked("error", code=raises) + checked("error") + checked("error", code=raises, misconception="by_number")
    (folder / "owl.jsonl").write_text(text, encoding="utf-8")
    assert progress.progress_verb(class_=str(folder), unexplained=True) == 0
    out = capsys.readouterr().out
    (answer,) = progress.wrong_answers(progress.journals(folder)[0])
    assert f"{answer.id}  {NAME}: 1 time, 1 learner, raises an error" in out and "values[len(weights)]" in out
    words = shlex.split(out.splitlines()[-1])
    assert words[:7] == ["python3", "course.py", "progress", "--adopt", answer.id, "--class", str(folder)]
    words[words.index("NAME")] = "No Name"  # the verb reads it as it stands; this refuses, and writes nothing
    with pytest.raises(UserError, match="--mutant 'No Name'"):
        tyro.cli(progress.progress_verb, args=words[3:])


# ---- a wrong answer becomes a mutant

A, B = "Mutant('a', 'é', '', 'm', 'q')", "Mutant('b', 'x', '', 'm', 'q')"
STYLES = {
    "hanging": f"EXERCISES = {{'f': Exercise(cases=c, mutants=(\n    {A},\n    {B},  # last\n))}}\n",
    "no comma, comment": "EXERCISES = {\n    'f': Exercise(\n        cases=c,\n        mutants=[\n"
    f"            {A},\n            {B}  # a, b\n        ],\n    ),\n}}\n",
    "aligned": f"F = Exercise(c,\n             ({A},\n              {B}), None)\n"
    "EXERCISES: dict = {'e': Exercise(c, ()), 'f': F}\n",
    "one line": f"EXERCISES = {{'é': 0, 'f': Exercise(c, mutants=({A}, {B}))}}\n",
    "by name": f"MUTANTS = (\n    {A}, {B},\n)\nF = Exercise(c, MUTANTS)\nEXERCISES = {{'f': F}}\n",
    "a single one": f"EXERCISES = {{'f': Exercise(c, mutants=({A},))}}\n",
    "none": "EXERCISES = {'f': Exercise(c, mutants=())}\n",
}


@pytest.mark.parametrize("style", STYLES)
def test_a_mutant_is_written_at_the_end_of_its_exercise(style):
    def mutants(source):
        space = {"Mutant": bank.Mutant, "c": None, "Exercise": lambda cases, mutants, twin=None: mutants}
        exec(source, space)
        return tuple(space["EXERCISES"]["f"])

    code = 'def f(x):\n    return "\\n" + \'"\' + """é""" + r"\\d"  # ' + "long " * 40 + "\n"
    new = bank.Mutant("new_one", "", code, 'it is "odd", ' + "and long " * 30, "Why\\not?\n")
    old, source = STYLES[style], progress.with_mutant(STYLES[style], "f", new)
    assert mutants(source) == (*mutants(old), new)
    assert max(map(len, source.splitlines())) <= max(120, *map(len, old.splitlines()))
    lines = iter(source.replace("\n", "").replace(" ", ""))
    assert all(c in lines for c in old.replace("\n", "").replace(" ", ""))  # all that was there still is, in its order
    again = progress.with_mutant(source, "f", new._replace(id="newer"))
    assert [m.id for m in mutants(again)] == [*(m.id for m in mutants(source)), "newer"]


@pytest.mark.parametrize(
    "source",
    [
        "EXERCISES = {'f': make('f')}\n",
        "EXERCISES = dict(f=Exercise(c, ()))\n",
        "x = 1\n",
        "EXERCISES = {'f': Exercise(c, A + B)}\n",
        "EXERCISES = {'f': Exercise(c, mutants=tuple(all()))}\n",
    ],
)
def test_a_bank_in_another_form_is_left_alone(source):
    with pytest.raises(UserError, match="by hand"):
        progress.with_mutant(source, "f", bank.Mutant("a", "", "b", "c", "d"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the package with the planted lesson, since adoption runs the checker in a process of its own."""
    root = tmp_path_factory.mktemp("copy")
    ignore = shutil.ignore_patterns("__pycache__", "[0-9][0-9].py")
    shutil.copytree(ROOT / "minigpt", root / "minigpt", ignore=ignore)
    write(root)
    return root


ADOPT = """
import json, sys
from minigpt.classroom.journal import read
from minigpt.classroom.progress import progress_verb, wrong_answers
from minigpt.config import UserError
ids = [answer.id for answer in wrong_answers({"you": read()})]
try:
    print("exit", progress_verb(adopt=ids[0] if ids else "gone", **json.load(sys.stdin)))
except UserError as error:
    print(error)
"""
PROVE = f"""
from minigpt.classroom.check import build, examine
from minigpt.classroom.proof import self_test
found = self_test(["23"])
named = examine({NAME!r}, build({NAME!r}, {WRONG!r}, "x")).misconception
print(named, found["mutants"], found["rejected"], found["diagnosed"])
"""
GIVEN = {"mutant": "by_values", "misconception": "the values are added up without weights", "question": "Which sum?"}


def python(copy, script, **given):
    """What a script prints that imports the copy."""
    environment = os.environ | {"PYTHONPATH": str(copy), "MINIGPT_HOME": str(copy / "home")}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, env=environment, cwd=copy)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def adopt(copy, code, bank_source=BANK, status="wrong", **given):
    """Adopt a wrong answer: (what is said, the bank's source after it)."""
    file, journal = copy / "minigpt/classroom/bank/23.py", copy / "home/journal.jsonl"
    file.write_text(bank_source, encoding="utf-8")
    journal.parent.mkdir(exist_ok=True)
    journal.write_text(checked(status, code=code), encoding="utf-8")
    said = python(copy, ADOPT, **GIVEN | given)
    assert len(journal.read_text(encoding="utf-8").splitlines()) == 1  # the proof leaves no trace there
    return said, file.read_text(encoding="utf-8")


def test_adopting_writes_a_mutant_that_the_checker_names(copy):
    said, source = adopt(copy, WRONG)
    assert said.endswith("exit 0") and "knows by_values now" in said
    assert "ada" not in source.lower()  # who wrote it stays out of the bank
    assert python(copy, PROVE) == "by_values 4 4 4"
    new = source[source.index("            Mutant(\n") : source.index("        ),\n        twin=twin")]
    assert source.replace(new, "") == BANK and '"by_values"' in new


def test_an_answer_that_raises_can_be_adopted(copy):
    said, source = adopt(copy, "def weighted_mean(v, w):\n    return v[len(w)]\n", status="error")
    assert said.endswith("exit 0") and "by_values" in source


@pytest.mark.parametrize(
    "code, says",
    [
        ("def weighted_mean(v, w):\n    return sum(a * b for a, b in zip(v, w)) / math.fsum(w)\n", "it is right"),
        (
            "def weighted_mean(v, w):\n    out = 0\n    for a, b in zip(v, w):\n        out += a * b\n    return out\n",
            "'not_divided' explains it by now",
        ),
        ("def weighted_mean(v, w):\n    return helper(v, w)\n", "does not run by itself"),
        ("import os\ndef weighted_mean(v, w):\n    os._exit(0)\n", "does not run to its end"),
        (
            'def weighted_mean(v, w):\n    print(\'{"objection": ""}\')\n    return len(missing)\n',
            "does not run by itself",
        ),
        (
            "def weighted_mean(v, w):\n    total = sum(a * b for a, b in zip(v, w))\n    return total\n",
            "no unexplained answer",
        ),
    ],
)
def test_what_cannot_be_adopted_leaves_the_bank_as_it_was(copy, code, says):
    said, source = adopt(copy, code)
    assert says in said and source == BANK


@pytest.mark.parametrize("flag", ["mutant", "misconception", "question"])
def test_a_description_without_an_answer_is_refused(root, flag):
    for others in ({}, {"unexplained": True}):
        with pytest.raises(UserError, match="--adopt"):
            progress.progress_verb(**{flag: "x"}, **others)


@pytest.mark.parametrize(
    "given, says",
    [
        (dict(mutant="By Values"), "--mutant"),
        (dict(mutant=""), "--mutant"),
        (dict(misconception=" "), "--misconception"),
        (dict(question=""), "--question"),
        (dict(mutant="by_number"), "already"),
    ],
)
def test_what_is_missing_is_named(copy, given, says):
    said, source = adopt(copy, WRONG, **given)
    assert says in said and source == BANK


def test_an_ambiguous_diagnosis_is_refused(copy):
    """Two mutants give the same results and say different things: the answer is unexplained, a third no help."""
    same = """            Mutant("copy_1", "", "def weighted_mean(v, w):\\n    return sum(v) / sum(w)", "one", "?"),
            Mutant("copy_2", "", "def weighted_mean(v, w):\\n    return -sum(v) / -sum(w)", "another", "?"),
"""
    ambiguous = BANK.replace("        mutants=(\n", "        mutants=(\n" + same, 1)
    said, source = adopt(copy, "def weighted_mean(v, w):\n    s = sum(w)\n    return sum(v) / s\n", ambiguous)
    assert "would not be unique" in said and source == ambiguous
