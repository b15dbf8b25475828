"""The command line: every mistake is one clear sentence and exit code 2, and help is instant."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minigpt.__main__ import VERBS, main

SMALL = """--layers 1 --width 32 --heads 1 --kv-heads 1 --head-size 32 --mlp-width 32 --context 16 --vocab-size 270
    --batch-tokens 64 --steps 3 --time-limit 0 --samples 1 --device cpu""".split()
SENTENCE = "All work and no play makes a dull boy, said the old man who had seen the sea. "


def fails(capfd, *argv) -> str:
    """The one sentence that a mistake prints."""
    assert main(list(argv)) == 2
    printed = capfd.readouterr()
    lines = [line for line in printed.err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("minigpt: ") and lines[0][-1] in ".?", printed.err
    assert "Traceback" not in printed.err
    return lines[0]


def pretrain(text, out, *flags):
    return ["pretrain", "--text", str(text), "--out", str(out), *SMALL, *flags]


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text(SENTENCE * 40)
    return file


def test_help_is_instant_and_imports_no_torch():
    for arguments in (["--help"], ["pretrain", "--help"]):
        times = []
        for _ in range(3):
            start = os.times()
            command = [sys.executable, "-X", "importtime", "-m", "minigpt", *arguments]
            done = subprocess.run(command, capture_output=True, text=True)
            end = os.times()  # of processors: other tests run beside this one
            times.append(end.children_user + end.children_system - start.children_user - start.children_system)
        assert done.returncode == 0 and "pretrain" in done.stdout
        assert not any(line.split("|")[-1].strip() in ("torch", "numpy") for line in done.stderr.splitlines())
        assert min(times) < 1.0  # 0.25 s on a quiet machine; the bar is 0.5


def test_every_verb_has_help(capfd):
    for verb in VERBS:
        with pytest.raises(SystemExit) as stop:
            main([verb, "--help"])
        assert stop.value.code == 0
        shown = " ".join(capfd.readouterr().out.split())
        assert "--preset" in shown if verb == "pretrain" else VERBS[verb].__doc__[:20] in shown


def test_wrong_words(capfd):
    assert "unknown verb 'pretrian'" in fails(capfd, "pretrian")
    assert "unknown preset 'huge'" in fails(capfd, "pretrain", "--preset", "huge")
    assert "did you mean --steps?" in fails(capfd, "pretrain", "--step", "3")
    assert "--depth" in fails(capfd, "pretrain", "--depth", "0")
    assert "unknown device" in fails(capfd, "pretrain", "--device", "gpu")


def test_wrong_text(capfd, tmp_path):
    def file(name, content: bytes):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    cases = {
        "missing.txt": (tmp_path / "missing.txt", "missing.txt"),
        "empty": (file("empty.txt", b""), "empty.txt"),
        "blank": (file("blank.txt", b" \n\n "), "blank.txt"),
        "short": (file("short.txt", b"too short"), "context"),
        "binary": (file("binary.txt", b"ab\0cd" * 99), "binary.txt"),
        "latin1": (file("latin1.txt", "caf\xe9 ".encode("latin-1") * 99), "latin1.txt"),
    }
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/picture.png").write_bytes(b"\x89PNG")
    cases["no text"] = (tmp_path / "folder", "folder")
    for n, (path, named) in enumerate(cases.values()):
        assert named in fails(capfd, *pretrain(path, tmp_path / f"run{n}"))


def test_wrong_numbers(capfd, tmp_path, text):
    assert "vocab" in fails(capfd, *pretrain(text, tmp_path / "a", "--vocab-size", "256"))
    assert "multiple of the context" in fails(capfd, *pretrain(text, tmp_path / "b", "--batch-tokens", "65"))
    assert "multiple of kv_heads" in fails(capfd, *pretrain(text, tmp_path / "c", "--heads", "3", "--kv-heads", "2"))
    assert "how long" in fails(capfd, *pretrain(text, tmp_path / "d", "--steps", "0", "--tokens", "0"))
    assert "--price" in fails(capfd, *pretrain(text, tmp_path / "f", "--max-cost", "3"))
    assert "--save-every" in fails(capfd, *pretrain(text, tmp_path / "g", "--save-every", "5h"))
    assert "needs --out" in fails(capfd, "pretrain", "--resume")
    assert main(pretrain(text, tmp_path / "e", "--steps", "many")) == 2  # tyro shows where in a box of its own
    assert "many" in (said := capfd.readouterr().err) and said.splitlines()[-1].startswith("minigpt: these flags")


def test_a_gpu_that_is_not_there(capfd, tmp_path, text):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    sentence = fails(capfd, *pretrain(text, tmp_path / "run", "--device", "cuda"))
    assert "no usable GPU" in sentence and "--device cpu" in sentence or "CUDA build" in sentence


def test_run_folders(capfd, tmp_path, text):
    assert main(pretrain(text, tmp_path / "run")) == 0
    capfd.readouterr()
    assert "--resume" in fails(capfd, *pretrain(text, tmp_path / "run"))
    assert "optim.seed" in fails(capfd, *pretrain(text, tmp_path / "run", "--resume", "--seed", "5"))
    assert "not a run folder" in fails(capfd, "sample", "--run", str(tmp_path))
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert "cannot write" in fails(capfd, *pretrain(text, blocked / "run"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_out(capfd, tmp_path, text):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "cannot write" in fails(capfd, *pretrain(text, tmp_path / "closed/run"))


def test_a_really_read_only_disk(tmp_path, text):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = sys.platform.startswith("linux") and os.geteuid() == 0 and not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(disk)], capture_output=True).returncode  # fmt: skip
    if not mounted:
        pytest.skip("mounting a read-only disk needs root")
    try:
        command = [sys.executable, "-m", "minigpt", *pretrain(text, disk / "run")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2 and "cannot write" in done.stderr and "Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_verbs_work_together(capfd, tmp_path, text, monkeypatch):
    """prepare → pretrain --data → evaluate, sample, chat, report."""
    assert main(["prepare", "--out", str(tmp_path / "data"), "--text", str(text), "--vocab-size", "270"]) == 0
    flags = [*SMALL, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    assert main(["pretrain", *flags]) == 0
    printed = capfd.readouterr().out
    assert "bits per byte on held-out text" in printed and "report.html" in printed

    def as_json(*argv):
        assert main([*argv, "--json"]) == 0
        return json.loads(capfd.readouterr().out)

    run = ["--run", str(tmp_path / "run")]
    assert as_json("evaluate", *run)["val_bpb"] > 0
    own = as_json("evaluate", *run, "--text", str(text))
    sliding = as_json("evaluate", *run, "--text", str(text), "--stride", "4")
    assert own["bytes"] == text.stat().st_size and sliding["bits_per_byte_sliding"] < own["bits_per_byte"]
    assert re.fullmatch("[a-c]{4}", as_json("sample", *run, "--pattern", "[a-c]{4}")["text"])
    first = as_json("sample", *run, "--prompt", "All ", "--max-tokens", "7")
    assert first == as_json("sample", *run, "--prompt", "All ", "--max-tokens", "7") and first["tokens"] <= 7
    lines = iter(["The old man", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    assert main(["chat", *run, "--max-tokens", "5"]) == 0
    assert "The old man" in capfd.readouterr().out
    (tmp_path / "run/report.html").unlink()
    assert main(["report", *run]) == 0
    assert "<svg" in (tmp_path / "run/report.html").read_text()
    assert "already holds a data set" in fails(capfd, "prepare", "--out", str(tmp_path / "data"), "--text", str(text))


def test_val_text_and_two_texts(capfd, tmp_path, text):
    other = Path(tmp_path / "other.txt")
    other.write_text("Something else entirely was written here for the sake of it. " * 9)
    assert main(pretrain(text, tmp_path / "run", "--val-text", str(other))) == 0
    assert json.loads((tmp_path / "run/summary.json").read_text())["domains"].keys() == {"other"}
