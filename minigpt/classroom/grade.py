"""Checking a file: all exercises of a lesson, as a notebook or a .py file has them, from the command line.

The learner's code runs in a process of its own, which is killed when an exercise takes too long, and started again for
those that are left.
"""
import contextlib
import json as json_
import os
import queue
import re
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import tyro

from ..config import UserError
from ..files import child_environment
from . import bank, lessons, proof
from .check import Result, examine, fingerprint, keep, known
from .console import say
from .learner import cells, load, source_of


def check_file(target: str, path: Path | None = None, limit: float = 20.0) -> list[Result]:
    """Check the exercises of a lesson ("04"), or one ("04.causal_mask"), as a notebook or .py file has them.

    `path`: by default the learner's copy in my/, else the page in exercises/. `limit`: seconds for each exercise; all
    run in one process beside this one, which is started again after one that hangs or ends it. UserError for an unknown
    exercise or a file that cannot be read.
    """
    names = _targets(target)
    path = _default_file(names[0].partition(".")[0]) if path is None else Path(path)
    cells(path)  # says what is wrong with the file, if it cannot be read
    found, skip = {}, {}
    while left := [name for name in names if name not in found]:
        _watch(path.resolve(), left, skip, limit, found)
    return [keep(found[name], "python3 course.py hint {}") for name in names]


def _targets(target):
    if not target:
        raise UserError("say what to check: a lesson (04), or an exercise (04.causal_mask).")
    if "." in target:
        return [lessons.exercise(target).name]
    names = [statement.name for statement in lessons.statements(lessons.number(target)).values()]
    if not names:
        raise UserError(f"lesson {lessons.number(target)} has no exercises yet.")
    return names


def _default_file(lesson):
    page = lessons.EXERCISES / f"{lessons.STEMS[lesson]}.ipynb"
    if found := next(filter(Path.exists, (lessons.my_copy(lesson), page)), None):
        return found
    raise UserError(f"there is no {page.name} in my/ or exercises/: give the file to check.")


COMMAND = [sys.executable, "-m", "minigpt.classroom.grade"]


def _watch(path, names, skip, limit, found):
    """Let a process check the exercises until one hangs or ends it. Fills `found`; for a statement at fault, `skip`."""
    environment = child_environment(MPLBACKEND="Agg", TQDM_DISABLE="1")
    command = [*COMMAND, json_.dumps({"path": str(path), "names": names, "skip": skip})]
    pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process = subprocess.Popen(command, cwd=path.parent, env=environment, **pipes)
    try:
        lines = queue.Queue()
        threading.Thread(target=_pass_on, args=(process.stdout, lines), daemon=True).start()
        event = {}
        while not found.keys() >= set(names):
            try:
                line = lines.get(timeout=limit if event else 120)  # the first event waits for torch to load
                fault = "" if line else f"it ended the whole process (exit code {process.wait()})."
            except queue.Empty:
                fault = f"did not finish within {limit:g} s: is there a loop without an end?"
            if fault:
                if "statement" in event:
                    skip[str(event["statement"])] = fault
                for name in [event["exercise"]] if "exercise" in event else [] if event else names:
                    found[name] = Result(name, "error", None, fault, limit, answer=event.get("answer"))
                return
            event = json_.loads(line)
            if "result" in event:
                result = Result(**event["result"])
                found[result.name] = result
    finally:
        process.kill()
        process.wait()


def _pass_on(stream, lines):
    for line in iter(stream.readline, b""):
        lines.put(line)
    lines.put(b"")


def _child(path: str, names: list[str], skip: dict[str, str]) -> int:
    """The other side of _watch: says in a line of JSON what it begins and what it found."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever the learner's code writes cannot mix with it

    def tell(**event):
        print(json_.dumps(event), file=channel, flush=True)

    for name in names:  # first: this time is not the learner's
        with contextlib.suppress(Exception):  # examine says it
            known(name)
    namespace, errors = load(Path(path), skip, lambda number: tell(statement=number))
    for name in names:
        function = name.partition(".")[2]
        answer = None
        with contextlib.suppress(Exception):  # examine says it
            answer = fingerprint(source_of(namespace[function]))
        tell(exercise=name, answer=answer)  # in time, for a function that never ends
        if function in errors:
            result = Result(name, "error", None, errors[function], 0.0)
        elif function not in namespace:
            result = Result(name, "todo", None, f"{Path(path).name} does not define {function} yet.", 0.0)
        else:
            result = examine(name, namespace[function])
        if (missing := re.search(r"NameError: name '(\w+)' is not defined", result.message)) and missing[1] in errors:
            result = result._replace(message=f"{result.message}\n{errors[missing[1]]}")
        tell(result=result._asdict())
    return 0


# The command line.

SHOWN = ("name", "status", "misconception", "message", "seconds")
"""What --json says of a result: not the code."""


def check_verb(
    target: tyro.conf.Positional[str] = "", file: tyro.conf.Positional[str] = "", json: bool = False,
    self_test: bool = False,
) -> int:  # fmt: skip
    """Check your exercises; --self-test checks the checker.

    Args:
        target: A lesson or an exercise: 04, or 04.causal_mask.
        file: A notebook or .py file; empty: your copy in my/, else exercises/.
        json: Print one JSON object and nothing else.
        self_test: Let every mutant and every variant of the bank through the checker.
    """
    if self_test:
        return _show_self_test(target, json)
    results = check_file(target, Path(file) if file else None)
    if json:
        print(json_.dumps({"results": [dict(zip(SHOWN, result)) for result in results]}))
    else:
        for result in results:
            say(f"{result.status:<7} {result.name}: " + textwrap.indent(result.message, " " * 8).lstrip())
        passed = sum(result.status == "passed" for result in results)
        print(f"{passed} of {len(results)} passed.")
    return 0 if all(result.status == "passed" for result in results) else 1


def _show_self_test(target, json):
    if "." in target:
        raise UserError(f"--self-test proves a whole lesson: give its number, {lessons.number(target)}.")
    ids = [lessons.number(target)] if target else [id for id in lessons.STEMS if bank.load(id).exercises]
    if target and not bank.load(ids[0]).exercises:
        raise UserError(f"lesson {ids[0]} has no bank.")
    start = time.perf_counter()
    found = proof.self_test(ids)
    found["seconds"] = round(time.perf_counter() - start, 2)
    if json:
        print(json_.dumps(found))
    else:
        print("\n".join(f"{key:<13} {value}" for key, value in found.items() if not isinstance(value, list)))
        for key in ("not_rejected", "misdiagnosed", "refused", "problems"):
            print("".join(f"{key.replace('_', ' ')}: {line}\n" for line in found[key]), end="")
    return 0 if proof.reached(found) else 1


if __name__ == "__main__":
    sys.exit(_child(**json_.loads(sys.argv[1])))
