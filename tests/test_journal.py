"""The journal: what is written comes back, whatever happens to the file in between."""
import json
import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from planted import line

from minigpt.classroom import journal
from minigpt.files import child_environment


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGPT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_what_is_written_comes_back_in_order(home):
    assert journal.read() == []
    journal.append("start", lesson="04")
    journal.append("hint", exercise="04.x", level=2)
    first, second = journal.read()
    assert first["kind"] == "start" and first["lesson"] == "04"
    assert {key: second[key] for key in ("kind", "exercise", "level")} == {
        "kind": "hint",
        "exercise": "04.x",
        "level": 2,
    }
    age = datetime.now(timezone.utc) - first["time"]
    assert abs(age.total_seconds()) < 60


def test_a_broken_line_costs_only_itself(home):
    for level in range(5):
        journal.append("hint", exercise="04.x", level=level)
    lines = (home / "journal.jsonl").read_bytes().splitlines()
    lines[1] = lines[1][:10]
    lines[2] = b"\xff\xfe\x00"
    lines[3] = b"[1, 2]"
    (home / "journal.jsonl").write_bytes(b"\n".join(lines) + b'\n{"time": "now", "ki')  # and a write that was cut short
    assert [entry["level"] for entry in journal.read()] == [0, 4]
    journal.append("hint", exercise="04.x", level=5)
    assert [entry["level"] for entry in journal.read()] == [0, 4, 5]


def test_a_home_that_cannot_be_written_is_said_once(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MINIGPT_HOME", str(tmp_path / "file" / "home"))
    journal.append("start", lesson="04")
    journal.append("start", lesson="04")
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "MINIGPT_HOME" in said
    assert journal.read() == []


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_home(home, capsys):
    journal.append("start", lesson="04")
    (home / "journal.jsonl").chmod(0o400)
    journal.append("start", lesson="05")
    assert len(journal.read()) == 1 and "not kept" in capsys.readouterr().err


def test_two_processes_at_once_lose_nothing(home):
    loop = "for i in range(300): journal.append('hint', exercise=sys.argv[1], level=i)"
    code = f"import sys; from minigpt.classroom import journal\n{loop}"
    writers = [subprocess.Popen([sys.executable, "-c", code, who], env=child_environment()) for who in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    found, damaged = journal.parse(journal.contents())  # a line seen half written may cost an empty one, no more
    assert len(found) == 600 and damaged == 0
    for who in "ab":
        assert [entry["level"] for entry in journal.read() if entry["exercise"] == who] == list(range(300))


@pytest.mark.parametrize(
    "platform, variables, expected",
    [
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/minigpt"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/minigpt"),
        ("linux", {"HOME": "/h"}, "/h/.local/share/minigpt"),
        ("darwin", {"HOME": "/h"}, "/h/Library/Application Support/minigpt"),
    ],
)
def test_the_home_of_each_platform(platform, variables, expected, monkeypatch):
    for name in ("MINIGPT_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(journal.sys, "platform", platform)
    assert journal.home() == Path(expected)


GOOD = [
    line("check", exercise="23.weighted_mean", status="wrong"),
    line("hint", exercise="23.weighted_mean", level=2),
    line("start", lesson="23"),
    line("solution", exercise="23.weighted_mean"),
    line("reveal", id="23.p1", guess=3, truth=1, hit=False),
    line("review", item="recall:23.recall_sum", right=True),
    line("ready", topic="Python", verdict="go"),
]


@pytest.mark.parametrize("index", range(len(GOOD)))
@pytest.mark.parametrize(
    "damage",
    [
        lambda x: x[: len(x) // 2],
        lambda x: b"\xff\xfe" + x[2:],
        lambda x: b"[" * 100_000,
        lambda x: b"null",
        lambda x: b"[1]",
        lambda x: x.replace(b'"time": "2', b'"time": "x'),
        lambda x: x.replace(b'"kind": "', b'"kind": "un'),
        lambda x: b'{"time": 5, "kind": "check"}',
        lambda x: x.replace(b'"kind"', b'"kind": [], "was"'),
        lambda x: b'{"time": "2026-01-01", "kind": "hint", "exercise": ["a"], "level": {}}',
        lambda x: x[:-20] + b"\0" * 20,
        lambda x: x.replace(b"{", b'{"code": "def \\ud800({", ', 1),  # half a character
    ],
)
def test_a_damaged_line_loses_only_itself(index, damage):
    lines = [x.strip().encode() for x in GOOD]
    whole, none = journal.parse(b"\n".join(lines) + b"\n")
    assert len(whole) == len(GOOD) and none == 0
    lines[index] = damage(lines[index])
    found, damaged = journal.parse(b"\n".join(lines))
    assert found == whole[:index] + whole[index + 1 :] and damaged == 1


def test_times_are_comparable_whoever_wrote_them():
    zones = ["2026-03-01T10:00:00+00:00", "2026-03-01T10:00:00", "2026-03-01T12:00:00+02:00", "2026-03-01T10:00:00Z"]
    text = "\n".join(json.dumps({"time": time, "kind": "start", "lesson": "23"}) for time in zones)
    found, damaged = journal.parse(text.encode())
    assert len({entry["time"] for entry in found}) == 1 and len(found) == 4 and damaged == 0


def test_whatever_a_guess_is_the_journal_does_not_raise(home, capsys):
    ring = []
    ring.append(ring)
    journal.append("reveal", id="04.p1", guess=ring)
    journal.append("reveal", id="04.p1", guess={(1, 2): 3})
    assert "not kept" in capsys.readouterr().err and journal.read() == []
    journal.append("reveal", id="04.p1", guess="half of \ud83d")
    assert [entry["guess"] for entry in journal.read()] == ["half of ?"]


@pytest.mark.parametrize(
    "checks, count",
    [
        ("wrong:a wrong:a wrong:b passed:c wrong:d", "wrong:a wrong:b passed:c"),
        ("wrong:a error:b wrong:a", "wrong:a error:b"),
        ("todo:a wrong:b todo:a wrong:b", "wrong:b"),
        ("wrong:a passed:a passed:a", "wrong:a passed:a"),  # what it calls was mended
        ("wrong: wrong: error: passed: passed:", "wrong: wrong: error: passed:"),  # older lines hold no hash
    ],
)
def test_an_answer_that_is_checked_again_is_no_new_attempt(checks, count):
    def entry(check, exercise="23.f"):
        status, _, answer = check.partition(":")
        return {"kind": "check", "exercise": exercise, "status": status} | ({"answer": answer} if answer else {})

    past = [entry("passed:z", "23.other"), *map(entry, checks.split()), {"kind": "hint", "exercise": "23.f"}]
    assert journal.attempts(past, "23.f") == list(map(entry, count.split()))
    assert len(journal.attempts([entry("wrong:a") | {"answer": [1]}, entry("wrong:a")], "23.f")) == 2  # never raises
