"""A second copy of a run: whatever happens to the mirror, training ends the same; and from the mirror it goes on bit
for bit. Folders stand for clouds; what a cloud does wrong is done by a file system of our own."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import fsspec
import pytest
import torch
from conftest import small_disk
from fsspec.implementations.local import LocalFileSystem
from safetensors.torch import load_file
from test_parallel import torchrun

from minigpt import checkpoint, mirror, train
from minigpt.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig, UserError

HERE = Path(__file__).parent
WORDS = "the sea was calm and no wind moved over a grey harbour where old boats slept until someone sang".split()


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "sea.txt"
    rng = random.Random(1)
    file.write_text(" ".join(rng.choice(WORDS) for _ in range(6000)))
    return file


def command(text, out, *flags) -> list[str]:
    shape = """--layers 2 --width 32 --heads 2 --kv-heads 1 --head-size 16 --mlp-width 48 --context 24 --vocab-size 300
        --batch-tokens 144 --steps 30 --tokens 0 --seed 3 --time-limit 0 --samples 1 --eval-every 9 --device cpu
        --precision fp32 --compile off --save-every 10""".split()
    return [sys.executable, "-m", "minigpt", "pretrain", "--text", str(text), "--out", str(out), *shape, "--resume",
            *map(str, flags)]  # fmt: skip


def run(text, out, seed=3, steps=30, **settings) -> str:
    """The same in this process, whose child copies; returns what was said."""
    shape = dict(layers=2, width=32, heads=2, kv_heads=1, head_size=16, mlp_width=48, context=24, vocab_size=300)
    settings = dict(device="cpu", precision="fp32", compile="off", out=str(out), samples=1, eval_every=9, resume=True,
                    save_every="10") | settings  # fmt: skip
    optim, said = OptimConfig(steps=steps, batch_tokens=144, seed=seed), []
    config = RunConfig(ModelConfig(**shape), DataConfig(text=(str(text),)), optim, TrainConfig(**settings))
    assert train.pretrain(config, say=said.append).status["status"] == "done"
    return "\n".join(said)


@pytest.fixture(scope="module")
def undisturbed(text, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    run(text, out)
    return out


def rows_of(out) -> list[dict]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "tokens_per_second")} for row in rows]


def assert_same_run(a, b):
    """Weights and optimizer bit for bit, and the metrics but for times."""
    ta, tb = (load_file(out / "checkpoints/step_000030/model-00001-of-00001.safetensors") for out in (a, b))
    assert ta.keys() == tb.keys() and all(torch.equal(ta[name], tb[name]) for name in ta)
    assert rows_of(a) == rows_of(b)


def whole_at(place: Path) -> list[str]:
    """Copies whose every file has the checksum that was written, newest first."""
    found = []
    for path in checkpoint.list_checkpoints(place / "checkpoints"):
        checkpoint.check(path)
        found.append(path.name)
    return found


def forget_the_end(place: Path, last: int) -> None:
    """As if the mirror had stopped after step `last`."""
    for path in checkpoint.list_checkpoints(place / "checkpoints"):
        if int(path.name[5:]) > last:
            shutil.rmtree(path)


# ---- there and back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "file://"])
def test_a_run_goes_on_from_its_mirror(text, undisturbed, tmp_path, capfd, kind):
    """The disk is lost after 20 of 30 steps; the same command on an empty one continues to the same bits."""
    place = tmp_path / "far" / "away"
    url = str(place) if kind == "folder" else f"file://{place}"
    said = run(text, tmp_path / "run", mirror=url)
    assert "not all of" not in said and "mirror:" not in capfd.readouterr().err
    assert whole_at(place) == ["step_000030", "step_000020"]
    for name in ("config.json", "metrics.jsonl", "status.json", "summary.json", "report.html", "environment.json",
                 "tokenizer/tokenizer.json"):  # fmt: skip
        assert (place / name).read_bytes() == (tmp_path / "run" / name).read_bytes(), name
    forget_the_end(place, 20)
    told = json.loads((place / "status.json").read_text())
    (place / "status.json").write_text(json.dumps(told | {"seconds": 5000.0}))  # of which 20 steps are a small part
    assert f"continuing from step_000020, brought back from {url}" in run(text, tmp_path / "again", mirror=url)
    assert json.loads((tmp_path / "again/status.json").read_text())["seconds"] > 5000  # nor what it has cost
    assert len(json.loads((tmp_path / "again/environment.json").read_text())) == 2  # its first start is not forgotten
    assert_same_run(undisturbed, tmp_path / "again")
    assert whole_at(place) == ["step_000030", "step_000020"]
    assert "is complete" in run(text, tmp_path / "third", mirror=url)  # a run that is done comes back as such
    assert_same_run(undisturbed, tmp_path / "third")
    assert (tmp_path / "third/report.html").exists()


def test_killed_and_its_disk_lost(text, undisturbed, tmp_path):
    slow = ["--eval-every", 1, "--eval-tokens", 100_000, "--samples", 30]  # so that it is killed before it is done
    process = subprocess.Popen(command(text, tmp_path / "run", "--mirror", tmp_path / "far", *slow),
                               stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # fmt: skip
    try:
        wait_until(lambda: whole_at(tmp_path / "far"), process)
    finally:
        process.kill()
        process.wait()
    shutil.rmtree(tmp_path / "run")
    assert "brought back" in run(text, tmp_path / "run", mirror=str(tmp_path / "far"))
    ta, tb = (load_file(out / "checkpoints/step_000030/model-00001-of-00001.safetensors")
              for out in (undisturbed, tmp_path / "run"))  # fmt: skip
    assert ta.keys() == tb.keys() and all(torch.equal(ta[name], tb[name]) for name in ta)


def wait_until(true, process=None, seconds=240):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process is None or process.poll() is None, "it has ended"
        try:
            if true():
                return
        except (OSError, UserError, ValueError):
            pass  # in the middle of being written
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def half_a_file(place):
    os.truncate(place / "model-00001-of-00001.safetensors", 1000)


def no_marker(place):
    (place / "state.json").unlink()


def half_a_marker(place):
    os.truncate(place / "state.json", 100)


def a_file_is_missing(place):
    (place / "model-00001-of-00001.safetensors").unlink()


@pytest.mark.parametrize("damage", [half_a_file, no_marker, half_a_marker, a_file_is_missing])
def test_a_torn_copy_is_passed_over(finished, tmp_path, damage):
    """Whatever of the newest copy is missing, the one before it is taken, with its metrics; none is an error."""
    place = shutil.copytree(finished, tmp_path / "far")
    damage(place / "checkpoints/step_000030")
    sentences, said = [], "is not finished" if damage is no_marker else "is damaged"
    mirror.bring_back(tmp_path / "run", str(place), True, sentences.append)
    assert len(sentences) == 2 and f"step_000030 at {place} {said}: it is passed over." in sentences[0]
    assert whole_at(tmp_path / "run") == ["step_000020"]
    assert max(row["step"] for row in rows_of(tmp_path / "run")) >= 20
    assert not (tmp_path / "run/summary.json").exists()  # it tells of step 30
    assert not (tmp_path / "run/checkpoints/step_000020/metrics.jsonl").exists()
    damage(place / "checkpoints/step_000020")
    if damage is no_marker:  # nothing was ever whole: there is nothing to lose by starting
        return mirror.bring_back(tmp_path / "new", str(place), True, sentences.append)
    with pytest.raises(UserError, match="no copy at .* can be read"):
        mirror.bring_back(tmp_path / "new", str(place), True, sentences.append)
    assert json.loads((tmp_path / "new/status.json").read_text())["retry"] is False


@pytest.fixture(scope="module")
def finished(undisturbed, tmp_path_factory) -> Path:
    """A mirror of the undisturbed run, made by the functions alone."""
    place = tmp_path_factory.mktemp("far") / "run"
    assert copy(undisturbed, str(place))
    assert whole_at(place) == ["step_000030", "step_000020"]
    return place


def copy(out: Path, url: str, keep: int = 2, said: list | None = None) -> bool:
    """As the process does at the end of a run."""
    ending = threading.Event()
    ending.set()
    return mirror.keep_copying(out, url, keep, ending, (said if said is not None else []).append)


def test_memory_is_as_good_as_a_folder(undisturbed, tmp_path):
    """A file system that is no disk: nothing but fsspec's own calls is used."""
    assert copy(undisturbed, "memory://bucket/run")
    mirror.bring_back(tmp_path / "run", "memory://bucket/run", True, lambda sentence: None)
    assert whole_at(tmp_path / "run") == ["step_000030"]
    assert (tmp_path / "run/metrics.jsonl").read_bytes() == (undisturbed / "metrics.jsonl").read_bytes()


def test_a_run_that_is_here_is_not_replaced(undisturbed, finished, tmp_path):
    out = shutil.copytree(undisturbed, tmp_path / "run")
    shutil.rmtree(out / "checkpoints/step_000030")
    mirror.bring_back(out, str(finished), True, lambda sentence: None)
    assert whole_at(out) == ["step_000020"]


# ---- a mirror that misbehaves ----------------------------------------------------------------------------------------


class Flaky(LocalFileSystem):
    """Fails at some of its writes, as a network does."""

    protocol = "flaky"
    fails_at = ()
    writes = 0

    def _open(self, path, mode="rb", **options):
        if mode == "wb":
            Flaky.writes += 1
            if Flaky.writes in Flaky.fails_at:
                raise ConnectionError("connection reset by peer")
        return super()._open(path, mode, **options)


@pytest.fixture
def flaky(monkeypatch):
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    monkeypatch.setattr(Flaky, "writes", 0)
    slept = []
    monkeypatch.setattr(mirror.time, "sleep", slept.append)
    yield slept


@pytest.mark.parametrize("at", range(1, 10))
def test_it_fails_twice_and_then_works(undisturbed, tmp_path, flaky, monkeypatch, at):
    """Wherever it fails, it says so once, waits twice as long each time, and in the end everything is there."""
    monkeypatch.setattr(Flaky, "fails_at", (at, at + 1))
    said = []
    assert copy(undisturbed, f"flaky://{tmp_path}/far", said=said)
    assert whole_at(tmp_path / "far") == ["step_000030", "step_000020"]
    assert sum("connection reset by peer" in sentence for sentence in said) in (1, 2)
    assert said[-1].endswith("works again.") and flaky in ([1.0, 2.0], [1.0, 1.0])


def test_it_never_works(undisturbed, tmp_path, flaky, monkeypatch):
    monkeypatch.setattr(Flaky, "fails_at", range(1000))
    said = []
    assert not copy(undisturbed, f"flaky://{tmp_path}/far", said=said)
    assert flaky == [1.0, 2.0, 4.0] and len(said) == 1


def test_half_a_copy_has_no_marker(undisturbed, tmp_path, flaky, monkeypatch):
    """The process dies at any write: what is at the mirror then is either whole or not taken."""
    class Died(BaseException):
        pass

    for at in range(1, 14):
        place = tmp_path / f"far{at}"

        def dying(self, path, mode="rb", **options):
            if mode == "wb":
                Flaky.writes += 1
                if Flaky.writes == at:
                    file = LocalFileSystem._open(self, path, mode, **options)
                    file.write(b"half")
                    file.close()
                    raise Died
            return LocalFileSystem._open(self, path, mode, **options)

        monkeypatch.setattr(Flaky, "_open", dying)
        monkeypatch.setattr(Flaky, "writes", 0)
        with pytest.raises(Died):
            copy(undisturbed, f"flaky://{place}")
        whole = [p.name for p in checkpoint.list_checkpoints(place / "checkpoints") if (p / "state.json").exists()]
        assert whole == (["step_000030"] if at > 10 else []), at
        for name in whole:
            checkpoint.check(place / "checkpoints" / name)
        monkeypatch.setattr(Flaky, "writes", 1000)
        assert copy(undisturbed, f"flaky://{place}")  # and the next process finishes it
        assert whole_at(place) == ["step_000030", "step_000020"]


def test_what_arrives_short_is_sent_again(undisturbed, tmp_path, flaky, monkeypatch):
    """A store that says yes and keeps half of it."""
    monkeypatch.setattr(Flaky, "fails_at", ())
    sizes = []

    def info(self, path, **options):
        found = LocalFileSystem.info(self, path, **options)
        if str(path).endswith(".safetensors") and len(sizes) < 2:
            sizes.append(found["size"])
            found = found | {"size": 10}
        return found

    monkeypatch.setattr(Flaky, "info", info)
    said = []
    assert copy(undisturbed, f"flaky://{tmp_path}/far", said=said)
    assert "did not arrive whole" in said[0] and len(whole_at(tmp_path / "far")) == 2


def test_the_newest_are_kept_and_a_damaged_one_is_not_copied(undisturbed, tmp_path):
    out, place, said = shutil.copytree(undisturbed, tmp_path / "run"), tmp_path / "far", []
    assert copy(out, str(place), keep=1)
    assert whole_at(place) == ["step_000030"]
    for step in (40, 50):
        shutil.copytree(out / "checkpoints/step_000030", out / f"checkpoints/step_{step:06d}")
    data = bytearray((out / "checkpoints/step_000050/model-00001-of-00001.safetensors").read_bytes())
    data[-1] ^= 1
    (out / "checkpoints/step_000050/model-00001-of-00001.safetensors").write_bytes(data)
    assert not copy(out, str(place), said=said)
    assert "step_000050" in said[0] and "damaged" in said[0] and len(said) == 1
    whole = [p.name for p in checkpoint.list_checkpoints(place / "checkpoints") if (p / "state.json").exists()]
    assert whole == ["step_000040", "step_000030"]


def test_one_copy_and_a_future_that_was_left(undisturbed, tmp_path):
    """With --keep 1 the old copy goes when the new one is whole. A run that had to go back replaces what it had."""
    out, place = shutil.copytree(undisturbed, tmp_path / "run"), tmp_path / "far"
    assert copy(out, str(place), keep=1)
    (out / "checkpoints/step_000030").rename(out / "checkpoints/step_000040")
    assert copy(out, str(place), keep=1) and whole_at(place) == ["step_000040"]
    (out / "checkpoints/step_000040").rename(out / "checkpoints/step_000035")
    assert copy(out, str(place), keep=2) and whole_at(place) == ["step_000035", "step_000020"]


def test_a_small_disk(text, undisturbed, tmp_path, capfd):
    """The mirror is full from the first checkpoint on: the run ends the same, and says what is missing."""
    with small_disk(tmp_path / "disk", "100k") as disk:
        said = run(text, tmp_path / "run", mirror=f"{disk}/far")
        assert f"not all of {tmp_path}/run is at the mirror {disk}/far" in said
        assert capfd.readouterr().err.count("No space left on device") == 1
        assert_same_run(undisturbed, tmp_path / "run")
        assert not any((p / "state.json").exists() for p in checkpoint.list_checkpoints(disk / "far/checkpoints"))


def copiers() -> list[int]:
    """Processes that copy, of those that this one has started."""
    found = []
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            if b"minigpt.mirror" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_the_mirror_is_killed(text, undisturbed, tmp_path):
    """kill -9 as soon as it is there: training does not notice, and at the end all is copied."""
    killed = []

    def kill():
        wait_until(copiers)
        killed.append(copiers()[0])
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    said = run(text, tmp_path / "run", mirror=str(tmp_path / "far"))
    thread.join()
    assert killed and "not all of" not in said and not copiers()
    assert_same_run(undisturbed, tmp_path / "run")
    assert whole_at(tmp_path / "far") == ["step_000030", "step_000020"]


def test_a_killed_run_takes_its_mirror_along(text, tmp_path):
    """Two of them must not write at once, when the run is started again."""
    process = subprocess.Popen(command(text, tmp_path / "run", "--mirror", tmp_path / "far", "--steps", 3000),
                               stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # fmt: skip
    children, found = Path(f"/proc/{process.pid}/task/{process.pid}/children"), []
    if not children.exists():
        process.kill()
        pytest.skip("needs /proc")
    wait_until(lambda: found.extend(p for p in children.read_text().split()
                                    if b"minigpt.mirror" in Path(f"/proc/{p}/cmdline").read_bytes()) or found)
    process.kill()
    process.wait()
    wait_until(lambda: not Path(f"/proc/{found[0]}").exists() or "Z" in Path(f"/proc/{found[0]}/stat").read_text(),
               seconds=5)  # fmt: skip


# ---- mistakes --------------------------------------------------------------------------------------------------------


def test_mistakes_are_one_sentence(undisturbed, finished, tmp_path, monkeypatch, flaky):
    def refused(url, resume=True, out="new"):
        with pytest.raises(UserError) as error:
            mirror.bring_back(tmp_path / out, str(url), resume, lambda sentence: None)
        assert str(error.value).count(". ") == 0 and str(error.value).endswith(".")
        return str(error.value)

    monkeypatch.setitem(sys.modules, "s3fs", None)
    assert "s3fs" in refused("s3://bucket/run")
    assert "nowhere" in refused("nowhere://bucket/run")
    assert "password" in refused("sftp://me:secret@host/run") and "secret" not in refused("sftp://me:secret@host/run")
    assert "a run at" in refused(finished, resume=False) and "run folder itself" in refused(tmp_path / "new")
    monkeypatch.setattr(Flaky, "ls", lambda *_, **__: (_ for _ in ()).throw(TimeoutError("no answer")))
    assert "cannot be read (no answer)" in refused(f"flaky://{tmp_path}/far") and flaky == [1.0, 2.0, 4.0]
    assert json.loads((tmp_path / "new/status.json").read_text())["retry"] is True  # it may answer later


def test_the_mirror_of_another_run_is_left_alone(text, finished, tmp_path, capfd):
    place = shutil.copytree(finished, tmp_path / "far")
    before = {p: p.stat().st_mtime_ns for p in place.rglob("*")}
    with pytest.raises(UserError, match="cannot change optim.seed"):
        run(text, tmp_path / "other", mirror=str(place), seed=9)
    run(text, tmp_path / "run", seed=9, steps=10)
    (tmp_path / "run/status.json").unlink()
    said = run(text, tmp_path / "run", mirror=str(place), seed=9, steps=10)  # it has checkpoints of its own
    assert "holds another run" in capfd.readouterr().err and "not all of" in said
    assert before == {p: p.stat().st_mtime_ns for p in place.rglob("*")}


def test_many_ranks_write_pieces_and_go_on_from_the_mirror(text, tmp_path):
    """Two ranks, pieces of checkpoints, one mirror; the disk is lost, and one process goes on."""
    flags = ["--mirror", tmp_path / "far", "--parallel", "fsdp"]
    for out, last in (("run", 20), ("again", 30)):
        ranks = torchrun(2, *command(text, tmp_path / out, *flags)[1:])
        done = subprocess.run(**ranks, capture_output=True, timeout=600)
        assert done.returncode == 0 and "not all of" not in done.stdout, done.stderr[-3000:]
        assert whole_at(tmp_path / "far") == ["step_000030", "step_000020"]
        forget_the_end(tmp_path / "far", last)
    assert "continuing from step_000020" in done.stdout
    names = {p.name for p in (tmp_path / "far/checkpoints/step_000020").iterdir()}
    assert len([n for n in names if n.startswith("shard-")]) == 2
    a, b = (checkpoint.load_checkpoint(tmp_path / out / "checkpoints/step_000030")[0] for out in ("run", "again"))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert rows_of(tmp_path / "run") == rows_of(tmp_path / "again")


def test_the_process_imports_no_torch():
    code = "import sys, minigpt.mirror as m; m.open_mirror('/tmp'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
