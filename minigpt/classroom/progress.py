"""What the journals say: your own progress, a class on one page, and the wrong answers that no one has explained yet.

Every view is derived from journals on this machine. An instructor's folder holds one `journal.jsonl` a learner, named
as the learner likes; no names but those of the files appear anywhere.
"""
import ast
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Annotated, NamedTuple

import tyro

from ..config import UserError
from ..files import write_atomic
from ..report import escape
from . import bank, journal, lessons
from .check import build, examine, mutated
from .console import errors_as_sentences, say
from .learner import canonical, tidy
from .review import schedule

BEST = ("passed", "wrong", "error", "todo")
"""Statuses from the best to the least; none of them: not tried."""
PAUSE = 15
"""Minutes between two entries that count as work at most; a longer gap was a break."""

# ---- one learner -----------------------------------------------------------------------------------------------------


class Standing(NamedTuple):
    """How one learner stands with one exercise."""

    best: str
    """passed, wrong, error, todo, or empty: not tried."""
    latest: str
    attempts: int
    """Answers that were checked, right or wrong."""
    misses: int
    """Those that were not right, up to the first that was."""
    hints: int
    solution: bool
    minutes: float


def standings(past: list[dict]) -> dict[str, Standing]:
    """Exercise → how it stands, for each exercise that a journal names."""
    checks, hints, looked, minutes = defaultdict(list), defaultdict(set), set(), Counter()
    before = None
    for entry in past:
        name = entry.get("exercise")
        if entry["kind"] in ("check", "hint", "solution"):
            gap = (entry["time"] - before).total_seconds() / 60 if before else 0
            minutes[name] += min(max(gap, 0), PAUSE)
        before = entry["time"]
        if entry["kind"] == "check" and entry["status"] in BEST:
            checks[name].append(entry["status"])
        elif entry["kind"] == "hint":
            hints[name].add(entry["level"])
        elif entry["kind"] == "solution":
            looked.add(name)
    found = {}
    for name in minutes:
        said = [status for status in checks[name] if status != "todo"]
        misses = said.index("passed") if "passed" in said else len(said)
        best, latest = min(checks[name], key=BEST.index, default=""), checks[name][-1] if checks[name] else ""
        found[name] = Standing(best, latest, len(said), misses, len(hints[name]), name in looked, minutes[name])
    return found


def in_words(standing: Standing | None) -> str:
    """Example: "passed", "not tried", "passed once, now wrong" """
    if standing is None or not standing.best:
        return "not tried"
    return standing.best if standing.latest == standing.best else f"{standing.best} once, now {standing.latest}"


def plural(n: int, noun: str) -> str:
    """Example: plural(1, "hint") -> "1 hint"; plural(0, "hint") -> "0 hints" """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def lost(damaged: int) -> str:
    """What to say of lines that cannot be read."""
    return f"{plural(damaged, 'line')} could not be read and {'is' if damaged == 1 else 'are'} left out."


def report() -> str:
    """Your progress as a terminal shows it."""
    past, damaged = journal.parse(journal.contents())
    found, lines = standings(past), []
    for id in lessons.STEMS:
        exercises = lessons.statements(id).values()
        if not exercises:
            continue
        passed = sum(e.name in found and found[e.name].best == "passed" for e in exercises)
        title = f"{lessons.STEMS[id].replace('_', ' ')}: {passed} of {len(exercises)} passed"
        if not any(e.name in found for e in exercises):
            lines.append(f"{title} (not begun)")
            continue
        lines.append(title)
        for e in exercises:
            s = found.get(e.name)
            line = f"  {id}.{e.number} {e.name.partition('.')[2]:<32} {in_words(s):<24}"
            if s:
                extras = [plural(s.attempts, "attempt"), plural(s.hints, "hint"), f"{s.minutes:.0f} of {e.minutes} min"]
                line += " " + ", ".join(extras + ["solution seen"] * s.solution)
            lines.append(line.rstrip())
    guesses = [e["hit"] for e in past if e["kind"] == "reveal" and isinstance(e.get("hit"), bool)]
    due = sum(item.due <= datetime.now(UTC) for item in schedule(past))
    if guesses:
        lines.append(f"{sum(guesses)} of {plural(len(guesses), 'prediction')} hit.")
    if due:
        lines.append(f"{plural(due, 'question')} due: `python3 course.py review`.")
    if not past:
        lines.append("Your journal is empty: `python3 course.py start 00` begins it.")
    if damaged:
        lines.append(f"{lost(damaged)} Nothing else is missing.")
    return "\n".join(lines)


# ---- a class ---------------------------------------------------------------------------------------------------------


def journals(folder: Path) -> tuple[dict[str, list[dict]], int]:
    """Learner (the name of the file, without its ending) → entries; and how many lines are damaged in all."""
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    if not files:
        raise UserError(f"{folder} holds no journals: collect each learner's journal.jsonl in it, as any-name.jsonl.")
    found, damaged = {}, 0
    for file in files:
        try:
            found[file.stem], bad = journal.parse(file.read_bytes())
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}.") from None
        damaged += bad
    return found, damaged


def class_page(learners: dict[str, list[dict]], damaged: int) -> str:
    """The whole of class.html: how everyone stands, lesson by lesson, and which ideas stand in their way."""
    found = {learner: standings(past) for learner, past in learners.items()}
    known = {id: [e.name for e in lessons.statements(id).values()] for id in lessons.STEMS}
    tried = {name for standing in found.values() for name in standing}
    known = {id: names for id, names in known.items() if tried & set(names)}
    summary = f"{plural(len(learners), 'learner')}, {plural(len(tried), 'exercise')} tried."
    if damaged:
        summary += " " + lost(damaged)
    sections = [_ideas(learners), *(_heat_map(id, names, found) for id, names in known.items())]
    page = Template(Path(__file__).with_name("progress_page.html").read_text(encoding="utf-8"))
    return page.substitute(summary=summary, overview=_overview(known, found), body="\n".join(sections))


def _table(caption: str, columns: list[str], rows: list[tuple[str, list[str]]]) -> str:
    """A table whose first column names its rows; the cells of `rows` are HTML, complete with <td>."""
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    body = "".join(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>' for name, cells in rows)
    return (f'<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table><caption>{caption}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>")  # fmt: skip


def _overview(known, found) -> str:
    rows = []
    for learner, standing in found.items():
        cells = []
        for names in known.values():
            passed = sum(name in standing and standing[name].best == "passed" for name in names)
            heat = 5 * passed // len(names)
            cells.append(f'<td class="share" style="--heat:{heat}">{passed} of {len(names)}</td>')
        rows.append((escape(learner), cells))
    columns = ["learner", *(lessons.STEMS[id].replace("_", " ") for id in known)]
    return _table("Exercises passed, by learner and lesson", columns, rows)


def _heat_map(id: str, names: list[str], found) -> str:
    numbers = {e.name: f"{id}.{e.number} {e.name.partition('.')[2]}" for e in lessons.statements(id).values()}
    rows = [(escape(learner), [_cell(standing.get(name)) for name in names]) for learner, standing in found.items()]
    title = lessons.STEMS[id].replace("_", " ")
    return f"<section><h2>{title}</h2>" + _table(
        f"Lesson {title}: learners by exercises", ["learner", *(escape(numbers[name]) for name in names)], rows
    ) + "</section>"  # fmt: skip


def _cell(standing: Standing | None) -> str:
    """Its status and wrong answers in words; blue where passed, orange where not, the deeper the more wrong answers."""
    if standing is None or not standing.best:
        return '<td class="none">not tried</td>'
    kind, said = "open", f"{in_words(standing)}, {plural(standing.attempts, 'attempt')}"
    if standing.best == "passed":
        kind, said = "passed", "passed" + f" after {standing.misses} wrong" * (standing.misses > 0)
        said += f", now {standing.latest}" * (standing.latest != "passed")
    said += ", solution seen" * standing.solution
    return f'<td class="{kind}" style="--heat:{min(standing.misses, 5)}">{said}</td>'


def _ideas(learners: dict[str, list[dict]]) -> str:
    """Exercises by misconceptions, the commonest first: what to talk about tomorrow."""
    times, who = Counter(), defaultdict(set)
    for learner, past in learners.items():
        for entry in past:
            if entry["kind"] == "check" and entry["status"] in ("wrong", "error"):
                key = entry["exercise"], *_idea(entry)
                times[key] += 1
                who[key].add(learner)
    rows = []
    for key, count in sorted(times.items(), key=lambda item: (-len(who[item[0]]), -item[1], item[0])):
        name, meaning, question = key
        cells = [meaning, len(who[key]), count, question]
        rows.append((escape(name), [f"<td>{escape(cell)}</td>" for cell in cells]))
    if not rows:
        return "<section><h2>Ideas in the way</h2><p>No wrong answers yet.</p></section>"
    columns = ["exercise", "the result is what one gets when …", "learners", "times", "a question to ask"]
    return "<section><h2>Ideas in the way</h2>" + _table("Exercises by misconceptions", columns, rows) + "</section>"


def _idea(entry: dict) -> tuple[str, str]:
    """The misconception behind a wrong answer and the question to ask; the id of a mutant that is gone stays."""
    id = entry.get("misconception")
    mutant = next((m for m in mutants_of(entry["exercise"]) if m.id == id), None)
    if mutant:
        return mutant.misconception, mutant.question
    return (id if isinstance(id, str) else "no known idea explains it"), ""


def mutants_of(name: str) -> tuple[bank.Mutant, ...]:
    """The known wrong ideas of an exercise; none for one that does not exist (any more)."""
    lesson, _, function = name.partition(".")
    exercise = bank.load(lesson).exercises.get(function) if lesson in lessons.STEMS else None
    return exercise.mutants if exercise else ()


# ---- wrong answers that nobody has explained -------------------------------------------------------------------------


class Unexplained(NamedTuple):
    """A wrong answer that no mutant explains: `times` it was given, by how many `learners`."""

    id: str
    exercise: str
    code: str
    times: int
    learners: int


def wrong_answers(learners: dict[str, list[dict]]) -> list[Unexplained]:
    """Wrong answers without an explanation, equal ones together, the most frequent first.

    Answers that a mutant of today's bank writes down are left out: someone has adopted them since. So is what cannot be
    parsed: it never ran. Nothing is run.
    """
    groups = defaultdict(list)
    for learner, past in learners.items():
        for e in past:
            wrong = e["kind"] == "check" and e["status"] == "wrong" and not e.get("misconception")
            if wrong and isinstance(e.get("code"), str) and (form := canonical(e["code"])):
                groups[e["exercise"], form].append((learner, e["code"]))
    found = []
    for (name, form), answers in groups.items():
        if form in {canonical(_text(name, mutant)) for mutant in mutants_of(name)}:
            continue
        id = hashlib.sha1(f"{name}\n{form}".encode()).hexdigest()[:6]
        found.append(Unexplained(id, name, tidy(answers[-1][1]), len(answers), len({who for who, _ in answers})))
    return sorted(found, key=lambda u: (-u.times, -u.learners, u.id))


def _text(name: str, mutant: bank.Mutant) -> str:
    return lessons.exercise(name).solution.replace(mutant.right, mutant.wrong) if mutant.right else mutant.wrong


# ---- a wrong answer becomes a mutant ---------------------------------------------------------------------------------


def make_mutant(answer: Unexplained, mutant: str, misconception: str, question: str) -> Path:
    """Write an unexplained answer into the bank as a mutant; returns the bank's file.

    The whole test of banks covers it from then on. UserError, and nothing is written: if the answer is right, or is
    explained by now, or does not run by itself, or would leave a diagnosis that is no longer unique.
    """
    lesson, _, function = answer.exercise.partition(".")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", mutant):
        raise UserError(f"--mutant {mutant!r}: name the wrong idea in a few words, like mask_after_softmax.")
    for flag, text in (("--misconception", misconception), ("--question", question)):
        if not text.strip():
            raise UserError(f"{flag} is missing: the learner reads it.")
    if any(m.id == mutant for m in mutants_of(answer.exercise)):
        raise UserError(f"{answer.exercise} has a mutant {mutant!r} already: choose another name.")
    path = Path(bank.__file__).with_name(f"{lesson}.py")
    new = bank.Mutant(mutant, "", f"{answer.code}\n", misconception.strip(), question.strip())
    source = with_mutant(path.read_text(encoding="utf-8"), function, new)
    _prove(answer, mutant, source)
    write_atomic(path, source)
    return path


def _prove(answer: Unexplained, mutant: str, source: str) -> None:
    """Run the answer against the bank as it is and as it would be: in a process of its own, for it is a stranger's."""
    with tempfile.TemporaryDirectory() as home:
        asked = json.dumps({"name": answer.exercise, "code": answer.code, "mutant": mutant, "source": source})
        environment = os.environ | {"MINIGPT_HOME": home, "PYTHONPATH": str(lessons.ROOT)}
        try:
            command = [sys.executable, "-m", __name__]
            done = subprocess.run(command, input=asked.encode(), capture_output=True, timeout=60, cwd=home,
                                  env=environment)  # fmt: skip
        except subprocess.TimeoutExpired:
            raise UserError(f"{answer.id} does not end within a minute: it cannot become a mutant.") from None
    try:
        objection = json.loads(done.stdout.decode().splitlines()[-1])["objection"]
    except (ValueError, LookupError):  # it has ended its process, say
        objection = "it does not run to its end."
    if objection:
        raise UserError(f"{answer.id} cannot become a mutant: {objection}")


def _objection(name: str, code: str, mutant: str, source: str) -> str:
    """Why an answer cannot become a mutant; empty if it can. Runs the answer."""
    def diagnoses():
        return {m.id: examine(name, build(name, mutated(name, m), m.id)).misconception for m in mutants_of(name)}

    result = examine(name, build(name, code, "answer"))
    if result.status == "passed":
        return "it is right."
    if result.status != "wrong":
        return f"it does not run by itself ({result.message.splitlines()[0]})."
    if result.misconception:
        return f"{result.misconception!r} explains it by now."
    before, lesson = diagnoses(), name.partition(".")[0]
    candidate = sys.modules[f"{bank.__name__}.{lesson}"]
    exec(compile(source, f"bank/{lesson}.py", "exec"), vars(candidate))
    bank.load.cache_clear()
    after = diagnoses()
    if after.pop(mutant, None) != mutant:
        return "another mutant gives the same results: its diagnosis would not be unique."
    lost = [id for id in before if after.get(id) != before[id]]
    return f"the mutant {lost[0]!r} would no longer be told from it." if lost else ""


def with_mutant(source: str, function: str, mutant: bank.Mutant) -> str:
    """A bank's source with one more mutant at the end of an exercise's; the rest of it stays byte for byte.

    UserError if the mutants of the exercise are not written out as a tuple or a list.
    """
    tree = ast.parse(source)
    values = {target.id: node.value for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
              if isinstance(target, ast.Name)}  # fmt: skip
    values |= {node.target.id: node.value for node in tree.body
               if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}  # fmt: skip

    def followed(node):
        return values.get(node.id) if isinstance(node, ast.Name) else node

    exercises = followed(values.get("EXERCISES"))
    pairs = zip(exercises.keys, exercises.values) if isinstance(exercises, ast.Dict) else ()
    call = next((followed(v) for k, v in pairs if isinstance(k, ast.Constant) and k.value == function), None)
    given = {}
    if isinstance(call, ast.Call):
        given = dict(zip(("cases", "mutants"), call.args)) | {k.arg: k.value for k in call.keywords}
    place = followed(given.get("mutants"))
    if not isinstance(place, (ast.Tuple, ast.List)) or ast.get_source_segment(source, place)[-1] not in ")]":
        raise UserError(f"the bank does not write the mutants of {function} out as a tuple or a list, so add this "
                        f"there by hand: {mutant!r}")  # fmt: skip
    before, after = _at(source, place.end_lineno, place.end_col_offset - 1)
    lines, last = source.splitlines(), place.elts[-1] if place.elts else None
    closing = re.match(r"\s*", lines[place.lineno - 1])[0]
    margin = re.match(r"\s*", lines[last.lineno - 1])[0] if last and last.lineno > place.lineno else closing + "    "
    if last:
        end, _ = _at(source, last.end_lineno, last.end_col_offset)
        tail = before[len(end) :]
        before = end + ("" if "," in re.sub("#.*", "", tail) else ",") + tail  # a comment may follow the last one
    before = before.rstrip()  # ends with a comma, a comment, or the opening parenthesis
    return f"{before}\n{textwrap.indent(_written(mutant), margin)}\n{closing}{after}"


def _at(source: str, line: int, column: int) -> tuple[str, str]:
    """A source split at a position of its syntax tree, whose columns count bytes."""
    lines = source.splitlines(keepends=True)
    head = "".join(lines[: line - 1]) + lines[line - 1].encode()[:column].decode()
    return head, source[len(head) :]


def _written(mutant: bank.Mutant) -> str:
    """The mutant as source, in lines that are not too long."""
    fields = (mutant.id, mutant.right, mutant.wrong, mutant.misconception, mutant.question)
    return "Mutant(\n" + "".join(textwrap.indent(_literal(text), "    ") + ",\n" for text in fields) + "),"


def _literal(text: str) -> str:
    """A string as Python source, no line of it too long: as a rule one for each line of the text."""
    pieces = [p for line in text.splitlines(keepends=True) for p in re.findall(r"(?s).{1,80}(?:\s|$)|.{1,80}", line)]
    quoted = [json.dumps(piece, ensure_ascii=False) for piece in pieces or [""]]
    return quoted[0] if len(quoted) == 1 else "(" + "\n ".join(quoted) + ")"


# ---- the command -----------------------------------------------------------------------------------------------------


@errors_as_sentences
def progress() -> None:
    """Print how you stand: lesson by lesson, each exercise with its status, attempts, hints and minutes."""
    print(report())


def progress_verb(
    class_: Annotated[str, tyro.conf.arg(name="class")] = "", unexplained: bool = False, adopt: str = "",
    mutant: str = "", misconception: str = "", question: str = "",
) -> int:  # fmt: skip
    """Show how you stand; or how a class stands, and which wrong answers nobody has explained.

    Args:
        class_: A folder of journals, one a learner: writes class.html there.
        unexplained: List the wrong answers that no known idea explains, the most frequent first.
        adopt: The id of such an answer, to be made a known wrong idea (with the next three). It is run: read it first.
        mutant: Its name in the bank, like mask_after_softmax.
        misconception: Completes "your result is what one gets when …".
        question: What the learner should ask themselves.
    """
    folder = Path(class_)
    if not adopt and (mutant or misconception or question):
        raise UserError("--mutant, --misconception and --question go with --adopt ID: see progress --unexplained.")
    if adopt or unexplained:
        found = wrong_answers(journals(folder)[0] if class_ else {"you": journal.read()})
        if adopt:
            answer = next((a for a in found if a.id == adopt), None)
            if answer is None:
                raise UserError(f"no unexplained answer has the id {adopt!r}: see progress --unexplained.")
            path = make_mutant(answer, mutant, misconception, question)
            print(f"{answer.exercise} knows {mutant} now: it is the last of its mutants in {path.name}.")
            return 0
        for a in found:
            say(f"{a.id}  {a.exercise}: {plural(a.times, 'time')}, {plural(a.learners, 'learner')}")
            print(textwrap.indent(a.code, "    ") + "\n")
        advice = " Name one: progress --adopt ID --mutant NAME --misconception … --question …" if found else ""
        print(f"{plural(len(found), 'wrong answer')} without an explanation.{advice}")
    elif class_:
        page = class_page(*journals(folder))
        try:
            write_atomic(folder / "class.html", page)
        except OSError as error:
            raise UserError(f"{folder / 'class.html'} cannot be written: {error.strerror}.") from None
        print(folder / "class.html")
    else:
        print(report())
    return 0


if __name__ == "__main__":  # the process of _prove
    print(json.dumps({"objection": _objection(**json.load(sys.stdin))}))
