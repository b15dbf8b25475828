"""Records: their intervals are those of the textbook, an interrupted one goes on, and a live run must lie in its band.
The stand-in is trained once, by one process, and leaves the notebook's torch alone."""
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from minigpt.classroom import depends, shelf, viz
from minigpt.classroom.shelf import Record, live_sentence, model_from, recorded, redo
from minigpt.config import UserError

SCRIPT = '''
import pathlib, random
WHAT = "A noisy line at two slopes."
AXES = "step", "loss"
SEEDS = 0, 1, 2
LOG = pathlib.Path(__file__).with_name("log.txt")
STOP = pathlib.Path(__file__).with_name("stop")
def arms():
    return {"gentle": {"slope": 0.1}, "steep": {"slope": 0.7}}
def run(settings, seed):
    with LOG.open("a") as f: f.write(f"{settings['slope']} {seed}\\n")
    if STOP.exists() and LOG.read_text().count("\\n") == 4: raise KeyboardInterrupt
    noise = random.Random(f"{settings} {seed}").gauss(0, 1)
    x = list(range(1, 1001))
    return {"x": x, "y": [5 - settings["slope"] * i / 1000 + noise * i / 1e4 for i in x], "tokens": 7 * seed}
'''


@pytest.fixture
def shelves(tmp_path, monkeypatch):
    """An empty shelf with one script."""
    monkeypatch.setattr(shelf, "RECORDS", tmp_path / "records")
    monkeypatch.setenv("MINIGPT_RUNS", str(tmp_path / "runs"))
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "04_noise.py").write_text(SCRIPT, encoding="utf-8")
    return tmp_path / "records"


def runs_of(folder):
    return (folder / "log.txt").read_text().splitlines()


def test_a_record_is_made_and_read(shelves, capsys):
    assert redo("04.noise") == 0
    said, record = capsys.readouterr().out, recorded("04.noise")
    assert len(runs_of(shelves)) == 6 and "6 of 6: steep, seed 2" in said and "to go" in said
    assert record.arms == ["gentle", "steep"] and record.seeds == [0, 1, 2] and record.axes == ("step", "loss")
    assert record.what == "A noisy line at two slopes." and not record.stale
    assert record.curves("steep").shape == (3, 200) and record.x("steep")[[0, -1]].tolist() == [1, 1000]
    assert np.allclose(np.diff(record.mean("gentle"), n=2), 0, atol=1e-3)  # thinned, still a line
    assert record.numbers("gentle", "tokens").tolist() == [0, 7, 14]
    content = json.loads((shelves / "04_noise.json").read_text(encoding="utf-8"))
    assert {"command", "machine", "versions", "seconds", "date"} <= set(content)
    assert content["command"] == "python -m minigpt redo 04.noise" and content["versions"]["torch"]
    assert record.sentence().startswith("Recorded: 3 seeds") and "95 % interval" in record.sentence()
    assert len((shelves / "04_noise.json").read_bytes()) <= 100_000
    (shelves / "04_noise.py").write_bytes(SCRIPT.replace("\n", "\r\n").encode())  # as git may write it on Windows
    assert not record.stale
    (shelves / "04_noise.py").write_text(SCRIPT + "# changed\n", encoding="utf-8")
    assert record.stale


def test_an_interrupted_redo_goes_on(shelves):
    (shelves / "stop").touch()
    with pytest.raises(KeyboardInterrupt):
        redo("04.noise")
    (shelves / "stop").unlink()
    partial = shelves.parent / "runs" / "records" / "04.noise.jsonl"
    with partial.open("a") as file:
        file.write('{"script": "half a li')  # as a killed process leaves it
    redo("04.noise")
    assert len(runs_of(shelves)) == 7 and len(set(runs_of(shelves))) == 6  # only the interrupted one ran twice
    whole = recorded("04.noise").content["arms"]
    redo("04.noise")
    assert recorded("04.noise").content["arms"] == whole and not partial.exists()


def test_what_another_script_finished_does_not_count(shelves):
    (shelves / "stop").touch()
    with pytest.raises(KeyboardInterrupt):
        redo("04.noise")
    (shelves / "stop").unlink()
    (shelves / "log.txt").unlink()
    (shelves / "04_noise.py").write_text(SCRIPT.replace("0.7", "0.8"), encoding="utf-8")
    redo("04.noise")
    assert len(runs_of(shelves)) == 6


def made(ends, floor=0.0):
    arm = {"settings": None, "x": [1, 2], "y": [[9.0, end] for end in ends], "numbers": [{} for _ in ends]}
    return Record("04.noise", {"seeds": list(range(len(ends))), "floor": floor, "arms": {"a": arm}})


def test_intervals_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for n in range(2, 12):
        ends = rng.normal(3, 2, n)
        low, high = (edge[-1] for edge in made(ends).band("a"))
        theirs = stats.t.interval(0.95, n - 1, ends.mean(), stats.sem(ends))
        assert np.allclose([low, high], theirs, atol=1e-3 * (high - low))
        # two independent samples, of n runs and of one: the difference of their means has this spread
        half = stats.t.ppf(0.975, n - 1) * ends.std(ddof=1) * np.hypot(1, 1 / np.sqrt(n))
        low, high = (edge[-1] for edge in made(ends).band("a", one_run=True))
        assert np.allclose([low, high], [ends.mean() - half, ends.mean() + half], atol=1e-3 * half)


def test_the_band_of_a_run_holds_95_of_100():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(2000):
        *ends, new = rng.normal(2, 0.3, 4)
        low, high = made(ends).band("a", one_run=True)
        hits += low[-1] <= new <= high[-1]
    assert abs(hits / 2000 - 0.95) < 0.02


def test_the_floor_widens_only_the_band_of_a_run():
    record = made([2.0, 2.0, 2.0], floor=0.25)
    assert [edge[-1] for edge in record.band("a")] == [2, 2]
    assert [edge[-1] for edge in record.band("a", one_run=True)] == [1.75, 2.25]
    assert record.end("a") == (1.75, 2.25)


def test_a_live_run_must_end_in_its_band(shelves):
    redo("04.noise")
    record = recorded("04.noise")
    curve = record.live()
    assert len(curve.x) == 1000 and curve.y[-1] == pytest.approx(record.curves("gentle")[0, -1], rel=1e-4)
    assert record.live("steep", seed=2).numbers == {"tokens": 14}
    assert live_sentence(record, "gentle", curve).startswith("Live: one run of the arm 'gentle'")
    (shelves / "04_noise.py").write_text(SCRIPT.replace("5 - ", "9 - "), encoding="utf-8")
    with pytest.raises(AssertionError, match=r"steep.*seed 1: this run ends at .* but the record expects"):
        record.live("steep", seed=1)


def test_a_plot_tells_live_from_recorded(shelves):
    redo("04.noise")
    record, (fig, ax) = recorded("04.noise"), viz.figure()
    viz.plot_record(ax, record)
    viz.plot_live(ax, [1, 2], [5, 4.9], "live, seed 0")
    *thin, thick = [line.get_linewidth() for line in ax.lines]
    assert len(thin) == 2 and max(thin) * 2 < thick and len(ax.collections) == 2
    assert [text.get_text() for text in ax.texts] == ["gentle", "steep", "live, seed 0"]
    low, high = record.band("steep")
    edges = ax.collections[1].get_paths()[0].vertices[:, 1]
    assert edges.min() == pytest.approx(low.min()) and edges.max() == pytest.approx(high.max())


def test_mistakes_are_one_sentence(shelves):
    with pytest.raises(UserError, match=r"no recorded experiment '04.nose'; there are: 04.noise\."):
        recorded("04.nose")
    with pytest.raises(UserError, match="not been recorded yet: python -m minigpt redo 04.noise"):
        recorded("04.noise")
    for change in (("SEEDS = 0, 1, 2", "SEEDS = 0,"), ('{"x": x,', '{"x": x[1:],'), ('"tokens"', '"y2": 0, "tokens"')):
        (shelves / "04_noise.py").write_text(SCRIPT.replace(*change), encoding="utf-8")
        if "y2" in change[1]:
            redo("04.noise")
            with pytest.raises(UserError, match="no arm 'flat': choose from gentle, steep"):
                recorded("04.noise").live("flat")
        else:
            with pytest.raises(UserError, match="two seeds|equally long"):
                redo("04.noise")


def test_records_in_the_repository_are_whole():
    for file in sorted(shelf.RECORDS.glob("*.json")):
        record = recorded(file.stem.replace("_", ".", 1))
        assert len(file.read_bytes()) <= 100_000 and len(record.seeds) >= 2
        assert not record.stale, f"python -m minigpt redo {record.name}"
        for arm in record.arms:
            assert record.curves(arm).shape == (len(record.seeds), len(record.x(arm)))
            low, high = record.band(arm, one_run=True)
            assert np.isfinite([low[-1], high[-1]]).all() and low[-1] < high[-1]


# ---- models ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch):
    """No runs and an empty cache."""
    monkeypatch.setenv("MINIGPT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def write_run(folder, status, bpb):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "status.json").write_text(json.dumps({"status": status}))
    (folder / "summary.json").write_text(json.dumps({"val_bpb": bpb, "parameters": 1_500_000}))


def test_the_learners_own_run_is_taken_when_it_is_done(home, monkeypatch, capsys):
    monkeypatch.setattr(shelf, "stand_in", lambda: home / "other")
    write_run(home / "other", "done", 2.5)
    for status, folder in (("running", "other"), ("done", "first")):
        write_run(home / "runs" / "first", status, 1.75)
        assert model_from("00").folder.name == folder
    stand_in, own = capsys.readouterr().out.splitlines()
    assert stand_in.startswith("The model is a stand-in, because runs/first is not there or not finished: 1.5 M param")
    assert stand_in.endswith("2.50 bits per byte.") and own == "The model is your own: runs/first, 1.75 bits per byte."
    with pytest.raises(UserError, match="lesson '01' leaves no model: choose from 00"):
        model_from("01")


FAKE = """import sys, time, json; from pathlib import Path
folder = Path(sys.argv[1]); time.sleep(0.5)
folder.mkdir(); (folder / "summary.json").write_text(json.dumps({"val_bpb": 2.5, "parameters": 7}))
with (folder.parent / "trained").open("a") as log: log.write("x")"""


def test_two_kernels_train_one_stand_in(home, monkeypatch):
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda c, **options: real([sys.executable, "-c", FAKE, c[-1]], **options))
    # kernels are processes; here threads stand for them, and in Python 3.11 ast.parse does not bear two at once
    monkeypatch.setattr(shelf, "stand_in_key", lambda: "00-planted")
    found = []
    threads = [threading.Thread(target=lambda: found.append(shelf.stand_in())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and len(found) == 3
    assert (found[0].parent / "trained").read_text() == "x"


def test_a_read_only_home_has_its_stand_in_elsewhere(home, monkeypatch):
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda c, **options: real([sys.executable, "-c", FAKE, c[-1]], **options))
    monkeypatch.setattr(shelf.tempfile, "gettempdir", lambda: str(home / "tmp"))
    (home / "cache").write_text("a file, where there should be a folder")
    assert shelf.stand_in().is_relative_to(home / "tmp")


def test_a_failed_training_is_one_sentence(home, monkeypatch):
    real = subprocess.run
    fail = [sys.executable, "-c", "raise SystemExit('noise\\nno space left')"]
    monkeypatch.setattr(subprocess, "run", lambda command, **options: real(fail, **options))
    with pytest.raises(UserError, match="could not be trained: no space left"):
        shelf.stand_in()


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_a_lock_falls_with_its_holder(tmp_path):
    code = f"""import time; from pathlib import Path; from minigpt.classroom.shelf import lock
with lock(Path({str(tmp_path / "l")!r})): print("locked", flush=True); time.sleep(60)"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        holder.kill()
    start = time.perf_counter()
    with shelf.lock(tmp_path / "l"):
        assert time.perf_counter() - start < 5


def test_the_key_changes_with_the_settings(monkeypatch):
    before = shelf.stand_in_key()
    assert before == shelf.stand_in_key()
    monkeypatch.setattr(shelf, "STAND_IN_TEXT", 1)
    assert shelf.stand_in_key() != before


@pytest.mark.parametrize("name, old, new, same", [
    ("config.py", "\nimport ", "\nimport abc, ", False), ("evaluate.py", "\nimport ", "\nimport abc, ", False),
    ("text/sources.py", "\nimport ", "\nimport abc, ", False), ("export.py", "\nimport ", "\nimport abc, ", True),
    ("sampling.py", '"""', '"""More. ', True),
])  # fmt: skip
def test_the_key_changes_with_all_that_training_imports(name, old, new, same, tmp_path, monkeypatch):
    before = shelf.stand_in_key()
    shutil.copytree(depends.PACKAGE, tmp_path / "minigpt", ignore=shutil.ignore_patterns("classroom", "__pycache__"))
    monkeypatch.setattr(depends, "PACKAGE", tmp_path / "minigpt")
    assert shelf.stand_in_key() == before
    depends.bare_code.cache_clear()
    file = tmp_path / "minigpt" / name
    assert old in (text := file.read_text("utf-8"))
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert (shelf.stand_in_key() == before) is same


@pytest.mark.slow
def test_the_stand_in_is_a_model(tmp_path, monkeypatch):
    """In the real cache, where the lessons find it."""
    import torch

    monkeypatch.setenv("MINIGPT_RUNS", str(tmp_path))
    before, rule = torch.get_rng_state(), torch.are_deterministic_algorithms_enabled()
    run = model_from("00")
    assert torch.equal(torch.get_rng_state(), before) and torch.are_deterministic_algorithms_enabled() == rule
    gzip = run.summary["compressors"]["text"]["gzip"]
    assert run.summary["val_bpb"] < gzip - 0.2 and run.config.train.precision == "fp32"
    assert [row for row in run.metrics if "sample" in row]
    record = {}
    run.model(torch.tensor([run.tokenizer.encode("The king said to his people that the king")]), record=record)
    assert len(record["attention"]) == run.config.model.layers
    assert model_from("00").folder == run.folder
