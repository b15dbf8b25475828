"""Watching a run from outside, against files that change as training changes them, a server of the standard library,
and the services' own packages where they are installed."""
import http.server
import json
import os
import sys
import threading
import time
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from minigpt import follow
from minigpt.__main__ import main
from minigpt.config import RunConfig, UserError
from minigpt.files import write_atomic


def row(step, **facts):
    return {"step": step, "train_loss": 5.0 - step / 10, "seconds": step * 0.5, **facts}


def text_of(*rows) -> str:
    return "".join(json.dumps(r) + "\n" for r in rows)


def status(run, kind, reason="", retry=False):
    write_atomic(run / "status.json", json.dumps({"status": kind, "reason": reason, "retry": retry}) + "\n")


@pytest.fixture
def run(tmp_path):
    """A run that has been set up."""
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.json").write_text(RunConfig().to_json())
    status(out, "running")
    return out


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(follow, "POLL", 0.01)


# ---- reading ---------------------------------------------------------------------------------------------------------


def test_each_row_comes_once(tmp_path):
    """Half-written lines wait for their end; a file that is replaced by its beginning, as on resume, starts over; rows
    of one step are told apart by what they hold."""
    file = tmp_path / "metrics.jsonl"
    tail = follow.Tail(file)
    assert not list(tail.new_rows())  # not there yet
    file.write_text(text_of(row(1), row(2))[:-9])
    assert list(tail.new_rows()) == [row(1)]
    file.write_text(text_of(row(1), row(2)))
    assert list(tail.new_rows()) == [row(2)]
    assert not list(tail.new_rows())
    evaluation, sample = {"step": 3, "val_bpb": 2.0}, {"step": 3, "sample": "the é sea"}
    with open(file, "a", encoding="utf-8") as end:
        end.write(text_of(row(3), evaluation, sample, row(4), row(5)))
    assert list(tail.new_rows()) == [row(3), evaluation, sample, row(4), row(5)]
    write_atomic(file, text_of(row(1), row(2), row(3)))
    assert not list(tail.new_rows())
    with open(file, "a") as end:
        end.write(text_of(evaluation, sample, row(4), row(5), row(6)))
    assert list(tail.new_rows()) == [row(6)]
    write_atomic(file, text_of(*(row(n) for n in range(1, 9))))  # replaced by something longer
    assert list(tail.new_rows()) == [row(7), row(8)]
    with open(file, "a") as end:
        end.write('{"step": 9, "tra\n[]\n' + text_of(row(9)))  # what a crash may leave
    assert list(tail.new_rows()) == [row(9)]


def test_patience_is_ten_usual_intervals_and_five_minutes_at_least():
    assert follow.patience([]) == follow.patience([7.0]) == 1800
    assert follow.patience([0.5 * n for n in range(9)]) == 300
    assert follow.patience([0.0, 60.0, 120.0, 500.0, 560.0]) == 600  # a pause for a checkpoint is not usual
    assert follow.patience([50.0, 60.0, 20.0, 30.0, 40.0]) == 300  # a resume turns the clock back


def test_the_end(quick, run, capsys):
    """It waits for the run, prints every row, and ends with it."""
    moved = run.rename(run.with_name("later"))
    thread = threading.Thread(target=follow.follow, args=(run,), daemon=True)
    thread.start()
    time.sleep(0.1)
    moved.rename(run)
    (run / "metrics.jsonl").write_text(text_of(row(1)))
    time.sleep(0.1)
    with open(run / "metrics.jsonl", "a") as end:
        end.write(text_of(row(2), {"step": 2, "final": True, "val_bpb": 1.25}))
    status(run, "done")
    thread.join(10)
    assert not thread.is_alive()
    shown, said = capsys.readouterr()
    assert [line.split()[:4] for line in shown.splitlines()] == [
        ["step", "1", "train_loss", "4.9"], ["step", "2", "train_loss", "4.8"], ["step", "2", "final", "True"]]
    assert "val_bpb 1.25" in shown and f"waiting for a run in {run}" in said


@pytest.mark.parametrize("kind, retry, waited, ended", [
    ("running", True, 9999, False), ("done", False, 0, True), ("failed", False, 0, True), ("failed", True, 5, False),
    ("preempted", True, 599, False), ("preempted", True, 601, True), ("preempted", False, 0, True),
])  # fmt: skip
def test_when_it_ends(kind, retry, waited, ended):
    assert follow.has_ended({"status": kind, "retry": retry}, waited) is ended
    assert not follow.has_ended({}, waited)


def test_a_run_that_was_refused(quick, tmp_path, capsys):
    """Its folder has nothing but a status."""
    status(tmp_path, "failed", "UserError: no text")
    assert main(["follow", "--run", str(tmp_path)]) == 0


# ---- messages --------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch):
    """A server on the loopback that keeps what it gets, and answers as told."""
    got, answers = [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.headers["Content-Type"], json.loads(body, parse_constant=lambda name: pytest.fail(name))))
            self.send_response(answers.pop(0) if answers else 204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as it:
        thread = threading.Thread(target=it.serve_forever, daemon=True)
        thread.start()
        slept = []
        monkeypatch.setattr(follow, "POLL", 0.0)
        monkeypatch.setattr(follow.time, "sleep", slept.append)
        it.url, it.got, it.answers, it.slept = f"http://127.0.0.1:{it.server_port}/hook?key=secret", got, answers, slept
        yield it
        it.shutdown()
        thread.join()


def test_the_end_is_told(server, run):
    rows = [row(1), {"step": 1, "val_bpb": 2.5}, row(2), {"step": 2, "final": True, "val_bpb": 1.25}]
    (run / "metrics.jsonl").write_text(text_of(*rows))
    status(run, "done")
    assert main(["follow", "--run", str(run), "--notify", server.url]) == 0
    assert server.got == [("application/json", {"run": "run", "status": "done", "reason": "", "step": 2,
                                                "val_bpb": 1.25})]  # fmt: skip


def test_the_address_may_come_by_the_environment(server, run, monkeypatch):
    status(run, "failed", "Diverged: 50 steps in a row were not finite")
    monkeypatch.setenv("MINIGPT_NOTIFY", server.url)
    assert main(["follow", "--run", str(run)]) == 0
    assert [message["reason"] for _, message in server.got] == ["Diverged: 50 steps in a row were not finite"]


def test_a_loss_that_is_not_finite_is_told_once(server, run):
    lost = [row(3, train_loss=float("nan")), {"step": 3, "val_bpb": float("nan")}, row(4, train_loss=float("inf"))]
    (run / "metrics.jsonl").write_text(text_of(row(1), row(2), *lost, row(5), row(6, train_loss=float("nan"))))
    status(run, "done")
    follow.follow(run, "stdout", server.url)
    said = [(message["reason"], message["val_bpb"]) for _, message in server.got]
    assert said == [("the loss is not finite at step 3", None), ("the loss is not finite at step 6", None), ("", None)]


def test_standing_still_is_told_once_each_time(run):
    """Here the clock is an argument: 500 s of silence where a line a minute is usual, then 700."""
    sent = []
    alarms = follow.Alarms(run, sent.append)
    for step in range(1, 6):
        alarms.see(row(step, seconds=60.0 * step))
    for quiet in (1.0, 500.0, 601.0, 700.0, 2.0, 3.0, 900.0):
        alarms.look({"status": "running"}, quiet)
    assert [message["reason"].split(" s")[0] for message in sent] == ["no new line for 601", "no new line for 900"]
    assert {message["status"] for message in sent} == {"stalled"} and sent[0]["step"] == 5
    alarms.look({"status": "preempted", "reason": "interrupted"}, 9999.0)
    alarms.look({"status": "running"}, 1.0)
    alarms.look({"status": "done"}, 1.0)
    assert [message["status"] for message in sent[2:]] == ["preempted", "done"]


def test_a_run_that_was_killed_is_noticed(server, run):
    """Its status says running for ever: the age of its files tells."""
    (run / "metrics.jsonl").write_text(text_of(row(1), row(2), row(3)))
    for name in ("metrics.jsonl", "status.json"):
        os.utime(run / name, (time.time() - 400,) * 2)
    thread = threading.Thread(target=follow.follow, args=(run, "stdout", server.url), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.got and time.monotonic() < deadline:
        pass
    status(run, "done")
    thread.join(20)
    assert [message["status"] for _, message in server.got] == ["stalled", "done"]
    assert server.got[0][1]["reason"] in ("no new line for 400 s (limit 300 s)", "no new line for 401 s (limit 300 s)")


def test_delivery_is_tried_again(server, capsys):
    server.answers[:] = [503, 429, 500, 200]
    assert follow.post(server.url, {"step": 1})
    assert len(server.got) == 4 and server.slept == [1.0, 2.0, 4.0] and not capsys.readouterr().err
    server.answers[:] = [404]
    assert not follow.post(server.url, {"step": 1}) and len(server.got) == 5
    said = capsys.readouterr().err
    assert "127.0.0.1 (it answers 404)" in said and "secret" not in said


def test_nobody_listens(monkeypatch, capsys):
    slept = []
    monkeypatch.setattr(follow.time, "sleep", slept.append)
    assert not follow.post("http://127.0.0.1:9/secret", {"step": 1})  # the discard port
    assert slept == [1.0, 2.0, 4.0, 8.0] and "refused" in (said := capsys.readouterr().err) and "secret" not in said


def test_a_server_that_never_answers(monkeypatch):
    import socket

    monkeypatch.setattr(follow, "TIMEOUT", 0.2)
    monkeypatch.setattr(follow, "TRIES", 2)
    monkeypatch.setattr(follow.time, "sleep", lambda seconds: None)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        assert not follow.post(f"http://127.0.0.1:{silent.getsockname()[1]}/", {"step": 1})
    assert time.monotonic() - start < 5


# ---- services --------------------------------------------------------------------------------------------------------

ROWS = [row(1), {"step": 2, "val_bpb": 2.0, "val_loss": 4.5}, {"step": 2, "sample": "the sea"},
        {"step": 3, "final": True, "val_bpb": 1.5}]  # fmt: skip


def fake(monkeypatch, name, **content):
    module = ModuleType(name)
    module.__dict__.update(content)
    module.__spec__ = ModuleSpec(name, None)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def ended(run):
    (run / "metrics.jsonl").write_text(text_of(*ROWS))
    status(run, "done")
    return run


def test_wandb(ended, monkeypatch):
    calls = []

    class There:
        def log(self, facts, step):
            calls.append((step, facts))

        def finish(self):
            calls.append("finish")

    def init(**options):
        calls.append(options)
        return There()

    fake(monkeypatch, "wandb", init=init)
    monkeypatch.setenv("WANDB_PROJECT", "sea")
    assert main(["follow", "--run", str(ended), "--to", "wandb"]) == 0
    options = calls.pop(0)
    assert (options["project"], options["name"]) == ("sea", "run") and options["config"]["model"]["layers"] == 4
    assert calls == [(1, {"train_loss": 4.9, "seconds": 0.5}), (2, {"val_bpb": 2.0, "val_loss": 4.5}),
                     (2, {"sample": "the sea"}), (3, {"val_bpb": 1.5}), "finish"]  # fmt: skip


def test_tensorboard_as_its_own_reader_sees_it(ended):
    pytest.importorskip("tensorboard", reason="needs the package tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # the second time starts over instead of writing all points twice
        assert main(["follow", "--run", str(ended), "--to", "tensorboard"]) == 0
    found = EventAccumulator(str(ended / "tensorboard"))
    found.Reload()
    points = {tag: [(e.step, round(e.value, 4)) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    assert points == {"train_loss": [(1, 4.9)], "seconds": [(1, 0.5)], "val_bpb": [(2, 2.0), (3, 1.5)],
                      "val_loss": [(2, 4.5)]}  # fmt: skip


def test_tensorboard_calls(ended, monkeypatch):
    calls = []

    class SummaryWriter:
        def __init__(self, folder):
            calls.append(folder)

        def add_scalar(self, key, value, step):
            calls.append((key, value, step))

        add_text = add_scalar

        def close(self):
            calls.append("close")

    fake(monkeypatch, "tensorboard")
    fake(monkeypatch, "torch.utils.tensorboard", SummaryWriter=SummaryWriter)
    follow.follow(ended, "tensorboard")
    assert calls == [str(ended / "tensorboard"), ("train_loss", 4.9, 1), ("seconds", 0.5, 1), ("val_bpb", 2.0, 2),
                     ("val_loss", 4.5, 2), ("sample", "the sea", 2), ("val_bpb", 1.5, 3), "close"]  # fmt: skip


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_a_package_that_is_missing(package, tmp_path, monkeypatch, capsys):
    """Said at once, also where the run is still to come."""
    monkeypatch.setattr(follow.importlib.util, "find_spec", lambda name: None)
    assert main(["follow", "--run", str(tmp_path / "later"), "--to", package]) == 2
    assert f"pip install {package}" in capsys.readouterr().err


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match="http"):
        follow.follow(tmp_path, "stdout", "file:///etc/passwd")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not a run folder"):
        follow.follow(tmp_path / "file")


def test_it_follows_without_torch():
    import subprocess

    code = "import sys, minigpt.follow; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
