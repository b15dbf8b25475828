"""The journal: what is written comes back, whatever happens to the file in between."""
import json
import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from minigpt.classroom import journal

ROOT = Path(__file__).parent.parent


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
    age = datetime.now(timezone.utc) - datetime.fromisoformat(first["time"])
    assert abs(age.total_seconds()) < 60


def test_a_broken_line_costs_only_itself(home):
    for level in range(5):
        journal.append("hint", level=level)
    lines = (home / "journal.jsonl").read_bytes().splitlines()
    lines[1] = lines[1][:10]
    lines[2] = b"\xff\xfe\x00"
    lines[3] = b"[1, 2]"
    (home / "journal.jsonl").write_bytes(b"\n".join(lines) + b'\n{"time": "now", "ki')  # and a write that was cut short
    assert [entry["level"] for entry in journal.read()] == [0, 4]
    journal.append("hint", level=5)
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
    loop = "for i in range(300): journal.append('hint', who=sys.argv[1], i=i)"
    code = f"import sys; from minigpt.classroom import journal\n{loop}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    writers = [subprocess.Popen([sys.executable, "-c", code, who], env=environment) for who in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    lines = (home / "journal.jsonl").read_bytes().splitlines()
    assert len(lines) == 600 and all(json.loads(line) for line in lines)
    for who in "ab":
        assert [entry["i"] for entry in journal.read() if entry["who"] == who] == list(range(300))


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
