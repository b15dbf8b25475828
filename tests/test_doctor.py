"""The doctor finds what is ill: drivers that are too old, kernels of another Python, a machine without torch; and it
tells how long a lesson takes on a machine that is twice as slow."""
import json
import os
import stat
import sys

import pytest

from minigpt.classroom import build, doctor, lessons
from minigpt.classroom.doctor import Check, LessonTime, driver, lesson_times
from minigpt.classroom.doctor import doctor as run_doctor

WELL = [Check(name, True, "") for name in ("Python", "torch", "Jupyter kernel", "memory")]


@pytest.mark.parametrize("version, cuda, ok", [
    (None, None, True), (None, "13.0", True),  # no NVIDIA GPU
    ("", "13.0", False), ("580.65.06", None, False),
    ("575.57", "13.0", False), ("580.65.06", "13.0", True),  # the oldest that CUDA's release notes name
    ("520.61", "12.8", False), ("525.60.13", "12.8", True), ("535.54", "13.1", False), ("450.80.02", "11.8", True),
])  # fmt: skip
def test_drivers(version, cuda, ok):
    found = driver(version, cuda)
    assert found.ok is ok and (ok or found.remedy)


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands in for nvidia-smi")
@pytest.mark.parametrize("script, version", [("echo 535.104.05; echo 535.104.05", "535.104.05"), ("exit 9", ""),
                                             ("echo 'NVIDIA-SMI has failed'; exit 1", "")])  # fmt: skip
def test_nvidia_smi_is_asked(script, version, tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + "/bin")
    assert doctor.nvidia_driver() == version
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert doctor.nvidia_driver() is None


def test_a_kernel_of_another_python_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    spec = tmp_path / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    for program, ok in ((sys.executable, True), ("python", True), (str(tmp_path / "other" / "python"), False)):
        command = [program, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": command, "display_name": "x", "language": "y"}))
        assert doctor.kernel().ok is ok
    assert "another Python" in doctor.kernel().found and "--sys-prefix" in doctor.kernel().remedy


def test_lessons_are_scaled_to_this_machine(monkeypatch):
    kept = {"00": {"seconds": 33.0, "limit": 120, "probe": 0.2}, "02": {"seconds": 61.0, "limit": 120, "probe": 0.4},
            "04": {"seconds": 50.0, "limit": 120, "probe": None}}  # fmt: skip
    monkeypatch.setattr(build, "budgets", lambda: kept)
    monkeypatch.setattr(build, "probe", lambda: 0.8)
    monkeypatch.setattr(lessons, "written", lambda: ["00", "02", "04"])
    times = {time.lesson: time.seconds for time in lesson_times(WELL)}
    assert times == {"00": 132, "02": 122, "04": None}  # each was timed when the machine was as fast as its probe says
    assert lesson_times(WELL)[1].minutes_reading == lessons.lesson("02").reading
    monkeypatch.setattr(build, "budgets", lambda: {})
    assert {time.seconds for time in lesson_times(WELL)} == {None}


@pytest.mark.parametrize("name", ["torch", "Jupyter kernel", "memory"])
def test_without_something_essential_no_lesson_runs(name):
    assert lesson_times([check._replace(ok=check.name != name) for check in WELL]) == []


def test_what_is_ill_is_printed_with_its_remedy(monkeypatch, capsys):
    checks = [Check("Python", True, "3.12"), Check("disk", False, "1 GiB free here", "free some space")]
    monkeypatch.setattr(doctor, "examine", lambda: checks)
    monkeypatch.setattr(doctor, "lesson_times", lambda found: [LessonTime("02", 122, 60), LessonTime("04", None, 50)])
    assert run_doctor() == 1
    said = capsys.readouterr().out
    assert "NO  disk" in said and "→ free some space" in said
    assert "02_tokenizer" in said and "122 s" in said and "not measured" in said
    assert run_doctor(json=True) == 1
    assert json.loads(capsys.readouterr().out) == {
        "checks": [{"name": "Python", "ok": True, "found": "3.12", "remedy": ""},
                   {"name": "disk", "ok": False, "found": "1 GiB free here", "remedy": "free some space"}],
        "lessons": [{"lesson": "02", "seconds": 122, "minutes_reading": 60},
                    {"lesson": "04", "seconds": None, "minutes_reading": 50}],
    }  # fmt: skip


def test_without_torch_the_doctor_still_speaks(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert run_doctor() == 1
    said = capsys.readouterr().out
    assert "NO  torch" in said and "No lesson runs here" in said


def test_this_machine(capsys):
    names = [check.name for check in doctor.examine()]
    assert names[:4] == ["Python", "torch", "device", "driver"]
    assert {"memory", "disk", "text", "Jupyter kernel"} <= set(names)
