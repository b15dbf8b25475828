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
from ..files import child_environment, write_atomic
from ..report import escape
from . import bank, journal, lessons
from .check import build, examine, mutated, run
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
    """Different answers that were checked, up to the first that was right."""
    misses: int
    """Those that were not right."""
    hints: int
    solution: bool
    idea: str | None
    """The mutant behind the latest answer: its id, empty if none explains it; None if it is right, or there is none."""


def standings(past: list[dict]) -> dict[str, Standing]:
    """Exercise → how it stands, for each exercise that a journal names."""
    own = defaultdict(list)
    for entry in past:
        if entry["kind"] in ("check", "hint", "solution"):
            own[entry["exercise"]].append(entry)
    return {name: _standing(name, entries) for name, entries in own.items()}


def _standing(name: str, entries: list[dict]) -> Standing:
    checks = [entry for entry in entries if entry["kind"] == "check" and entry["status"] in BEST]
    said, tried = [entry["status"] for entry in checks], journal.attempts(entries, name)
    best, latest = min(said, key=BEST.index, default=""), said[-1] if said else ""
    misses = sum(entry["status"] != "passed" for entry in tried)
    hints = len({entry["level"] for entry in entries if entry["kind"] == "hint"})
    looked = any(entry["kind"] == "solution" for entry in entries)
    answer = next((entry for entry in reversed(checks) if entry["status"] != "todo"), {"status": "passed"})
    idea = None if answer["status"] == "passed" else _behind(answer)
    return Standing(best, latest, len(tried), misses, hints, looked, idea)


def _behind(answer: dict) -> str:
    """The id of the mutant that a wrong answer gave the results of; empty if there is none."""
    id = answer.get("misconception")
    return id if isinstance(id, str) else ""


def minutes(past: list[dict]) -> Counter[str]:
    """Lesson → minutes at work on its exercises. One exercise's cannot be told, as a file is checked as a whole."""
    found, before = Counter(), None
    for entry in past:
        if before and entry["kind"] in ("check", "hint", "solution"):
            gap = (entry["time"] - before).total_seconds() / 60
            found[entry["exercise"].partition(".")[0]] += min(max(gap, 0), PAUSE)
        before = entry["time"]
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
    found, took, lines = standings(past), minutes(past), []
    for id in lessons.STEMS:
        exercises = lessons.statements(id).values()
        if not exercises:
            continue
        passed = sum(e.name in found and found[e.name].best == "passed" for e in exercises)
        title = f"{lessons.STEMS[id].replace('_', ' ')}: {passed} of {len(exercises)} passed"
        if not any(e.name in found for e in exercises):
            lines.append(f"{title} (not begun)")
            continue
        lines.append(title + f", {took[id]:.0f} min at work" * (took[id] >= 1))
        for e in exercises:
            s = found.get(e.name)
            line = f"  {id}.{e.number} {e.name.partition('.')[2]:<32} {in_words(s):<24}"
            if s:
                extras = [plural(s.attempts, "attempt"), plural(s.hints, "hint")]
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
    if not os.environ.get("MINIGPT_STATIC"):  # no paths of a machine in a page that is stored
        lines.append(f"Your journal: {journal.path()}")
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
    sections = [*(_heat_map(id, names, found) for id, names in known.items()), _ideas(learners, found)]
    page = Template(Path(__file__).with_name("progress_page.html").read_text(encoding="utf-8"))
    return page.substitute(summary=summary, overview=_overview(known, found), body="\n".join(sections))


def _table(caption: str, columns: list[str], body: str) -> str:
    """A table that can be scrolled, by keyboard too."""
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    return (f'<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table><caption>{caption}</caption>'
            f"<thead><tr>{head}</tr></thead>{body}</table></div>")  # fmt: skip


def _row(name: str, cells: list[str]) -> str:
    """A row and its header, all of it HTML; the cells complete with <td>."""
    return f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>'


def _overview(known, found) -> str:
    rows = []
    for learner, standing in found.items():
        cells = []
        for names in known.values():
            passed = sum(name in standing and standing[name].best == "passed" for name in names)
            share = 100 * passed // len(names)
            cells.append(f'<td class="share" style="--share:{share}%">{passed} of {len(names)}</td>')
        rows.append(_row(escape(learner), cells))
    columns = ["learner", *(lessons.STEMS[id].replace("_", " ") for id in known)]
    return _table("Exercises passed, by learner and lesson", columns, f"<tbody>{''.join(rows)}</tbody>")


def _heat_map(id: str, names: list[str], found) -> str:
    rows = [_row(escape(learner), [_cell(standing.get(name)) for name in names]) for learner, standing in found.items()]
    title, columns = lessons.STEMS[id].replace("_", " "), ["learner", *(escape(_numbered(name)) for name in names)]
    table = _table(f"Lesson {title}: learners by exercises and ideas", columns, f"<tbody>{''.join(rows)}</tbody>")
    return f"<section><h2>{title}</h2>{table}</section>"


def _numbered(name: str) -> str:
    """Example: _numbered("04.causal_mask") -> "04.3 causal_mask"; an exercise that is gone keeps its name"""
    lesson, _, function = name.partition(".")
    known = lessons.statements(lesson) if lesson in lessons.STEMS else {}
    return f"{lesson}.{known[function].number} {function}" if function in known else name


def _cell(standing: Standing | None) -> str:
    """Its status in words and the idea in the way; blue where passed, else the deeper orange the more wrong answers."""
    said = in_words(standing)
    if standing is None or not standing.attempts:
        seen = ", solution seen" if standing and standing.solution else ""
        return f'<td class="none">{said}{seen}</td>'
    if standing.best == "passed":
        kind, said = "passed", "passed" + f" after {standing.misses} wrong" * (standing.misses > 0)
        said += f", now {standing.latest}" * (standing.latest != "passed")
    else:
        kind, said = "open", f"{said}, {plural(standing.attempts, 'attempt')}"
    said += ", solution seen" * standing.solution
    return f'<td class="{kind}" style="--heat:{min(standing.misses, 5)}">{said}{_small(standing.idea or "")}</td>'


def _small(id: str) -> str:
    """The name of an idea, as the heat maps and the table of ideas both show it."""
    return f" <small>{escape(id.replace('_', ' '))}</small>" if id else ""


UNKNOWN = "no known idea explains it"


def _ideas(learners: dict[str, list[dict]], found) -> str:
    """The ideas behind wrong answers, exercise by exercise: what to talk about tomorrow, and with whom."""
    who = defaultdict(lambda: defaultdict(set))
    for learner, past in learners.items():
        for entry in past:
            if entry["kind"] == "check" and entry["status"] in ("wrong", "error"):
                who[entry["exercise"]][_idea(entry["exercise"], _behind(entry))].add((learner, _behind(entry)))
    groups = []
    for name in sorted(who, key=_place):
        rows = []
        for idea, shown in who[name].items():
            had, ids = {learner for learner, _ in shown}, {id for _, id in shown} - {idea[0]}
            latest = {learner: found[learner][name].idea for learner in had}
            still = {learner for learner, id in latest.items() if id is not None and _idea(name, id) == idea}
            cells = [_names(still), _names(had - still), f"<td>{escape(idea[1])}</td>"]
            row = _row(escape(idea[0]) + "".join(map(_small, sorted(ids))), cells)
            rows.append(((idea[0] == UNKNOWN, -len(still), -len(had), idea), row))
        head = f'<tr><th scope="rowgroup" colspan="4">{escape(_numbered(name))}</th></tr>'
        groups.append(f"<tbody>{head}{''.join(row for _, row in sorted(rows))}</tbody>")
    if not groups:
        return "<section><h2>Ideas in the way</h2><p>No wrong answers yet.</p></section>"
    columns = ["the result is what one gets when …", "still", "overcome", "a question to ask"]
    table = _table("Ideas behind wrong answers, by exercise", columns, "".join(groups))
    return f'<section class="ideas"><h2>Ideas in the way</h2>{table}</section>'


def _place(name: str) -> tuple:
    """Sorts exercises as the course has them, those that are gone last."""
    lesson, _, function = name.partition(".")
    order = list(lessons.statements(lesson)) if lesson in lessons.STEMS else []
    return (0, lesson, order.index(function)) if function in order else (1, name, 0)


def _names(learners: set[str]) -> str:
    """How many, and behind it who: a page on a projector should not name anyone unasked."""
    if not learners:
        return "<td>0</td>"
    names = escape(", ".join(sorted(learners)))
    return f"<td><details><summary>{len(learners)}</summary>{names}</details></td>"


def _idea(name: str, id: str) -> tuple[str, str]:
    """The misconception of a mutant and the question to ask; the id of one that is gone stays."""
    mutant = next((m for m in mutants_of(name) if m.id == id), None)
    if mutant:
        return mutant.misconception, mutant.question
    return (id, "") if id else (UNKNOWN, "The code is listed by: python3 course.py progress --unexplained --class DIR")


def mutants_of(name: str) -> tuple[bank.Mutant, ...]:
    """The known wrong ideas of an exercise; none for one that does not exist (any more)."""
    lesson, _, function = name.partition(".")
    exercise = bank.load(lesson).exercises.get(function) if lesson in lessons.STEMS else None
    return exercise.mutants if exercise else ()


# ---- wrong answers that nobody has explained -------------------------------------------------------------------------


class Unexplained(NamedTuple):
    """A wrong answer that no mutant explains: `times` it was given, by how many `learners`, and whether it `raises`."""

    id: str
    exercise: str
    code: str
    times: int
    learners: int
    raises: bool


def wrong_answers(learners: dict[str, list[dict]]) -> list[Unexplained]:
    """Wrong answers without an explanation, equal ones together, the most frequent first; what raises is one too.

    Answers that a mutant of today's bank writes down are left out: someone has adopted them since. So is what cannot be
    parsed: it never ran. Nothing is run.
    """
    groups = defaultdict(dict)
    for learner, past in learners.items():
        for e in past:
            wrong = e["kind"] == "check" and e["status"] in ("wrong", "error") and not e.get("misconception")
            if wrong and isinstance(e.get("code"), str) and (form := canonical(e["code"])):
                groups[e["exercise"], form][learner, tidy(e["code"])] = e["status"]  # once, however often checked
    found = []
    for (name, form), answers in groups.items():
        if form in {canonical(_text(name, mutant)) for mutant in mutants_of(name)}:
            continue
        id = hashlib.sha1(f"{name}\n{form}".encode()).hexdigest()[:6]
        (_, code), status = list(answers.items())[-1]
        found.append(Unexplained(id, name, code, len(answers), len({who for who, _ in answers}), status == "error"))
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
        try:
            command = [sys.executable, "-m", __name__]
            done = subprocess.run(command, input=asked.encode(), capture_output=True, timeout=60, cwd=home,
                                  env=child_environment(MINIGPT_HOME=home))  # fmt: skip
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

    function = build(name, code, "answer")
    result = examine(name, function)
    if result.status == "passed":
        return "it is right."
    outcomes, _ = run(function, bank.load(name.partition(".")[0]).exercises[name.partition(".")[2]])
    if result.status == "todo" or any(type(outcome.error) is NameError for outcome in outcomes):  # a helper is missing
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
    """Print how you stand: lesson by lesson, each exercise with its status, attempts and hints."""
    say(report())


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
        raise UserError("--mutant, --misconception and --question go with --adopt ID: "
                        "`python3 course.py progress --unexplained` lists them.")  # fmt: skip
    if adopt or unexplained:
        found = wrong_answers(journals(folder)[0] if class_ else {"you": journal.read()})
        if adopt:
            answer = next((a for a in found if a.id == adopt), None)
            if answer is None:
                raise UserError(f"no unexplained answer has the id {adopt!r}: "
                                "`python3 course.py progress --unexplained` lists them.")  # fmt: skip
            path = make_mutant(answer, mutant, misconception, question)
            print(f"{answer.exercise} knows {mutant} now: it is the last of its mutants in {path.name}.")
            return 0
        for a in found:
            raises = ", raises an error" * a.raises
            say(f"{a.id}  {a.exercise}: {plural(a.times, 'time')}, {plural(a.learners, 'learner')}{raises}")
            say(textwrap.indent(a.code, "    ") + "\n")
        print(f"{plural(len(found), 'wrong answer')} without an explanation.")
        if found:
            where = f' --class "{class_}"' if class_ else ""
            description = '--mutant NAME --misconception "…" --question "…"'
            say(f"Read one, then name its idea:\npython3 course.py progress --adopt {found[0].id}{where} {description}")
    elif class_:
        page = class_page(*journals(folder))
        try:
            write_atomic(folder / "class.html", page)
        except OSError as error:
            raise UserError(f"{folder / 'class.html'} cannot be written: {error.strerror}.") from None
        print(folder / "class.html")
    else:
        say(report())
    return 0


if __name__ == "__main__":  # the process of _prove
    print(json.dumps({"objection": _objection(**json.load(sys.stdin))}))
