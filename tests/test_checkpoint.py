"""Checkpoints: atomic, checked, pruned, and readable by the library that owns the format."""
import json
import os

import pytest
import torch
from safetensors.torch import load_file

from minigpt.checkpoint import TENSORS, list_checkpoints, load_checkpoint, load_latest, save_checkpoint
from minigpt.config import UserError
from minigpt.files import write_atomic


def some_tensors(step: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return {
        "model.a.weight": torch.randn(5, 3, generator=generator),
        "optim.a.weight.exp_avg": torch.randn(3, 5, generator=generator).T,  # not contiguous
        "optim.a.weight.step": torch.tensor(float(step)),
        "model.b": torch.randn(7, generator=generator).to(torch.bfloat16),
    }


def save(folder, step, **options):
    return save_checkpoint(folder, some_tensors(step), {"step": step, "note": "ü"}, **options)


def assert_is_step(loaded, step):
    tensors, state = loaded
    assert state["step"] == step and state["note"] == "ü"
    assert tensors.keys() == some_tensors(step).keys()
    assert all(torch.equal(tensors[name], value) for name, value in some_tensors(step).items())


def test_round_trip_and_format(tmp_path):
    path = save(tmp_path, 12)
    assert path.name == "step_000012" and (tmp_path / "latest").read_text() == "step_000012\n"
    assert_is_step(load_checkpoint(path), 12)
    assert load_file(path / TENSORS).keys() == some_tensors(12).keys()
    assert {p.name for p in path.iterdir()} == {TENSORS, "state.json"}


def test_keeps_the_newest(tmp_path):
    for step in (3, 20, 100):
        save(tmp_path, step, keep=2)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step_000100", "step_000020"]
    assert_is_step(load_latest(tmp_path), 100)


def test_the_same_step_twice_is_replaced(tmp_path):
    save(tmp_path, 5)
    save_checkpoint(tmp_path, {"model.x": torch.ones(2)}, {"step": 5})
    assert load_latest(tmp_path)[0].keys() == {"model.x"}


def flip(path):
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)


DAMAGE = {
    "one bit": lambda folder: flip(folder / TENSORS),
    "cut short": lambda folder: os.truncate(folder / TENSORS, 100),
    "no tensors": lambda folder: (folder / TENSORS).unlink(),
    "no state": lambda folder: (folder / "state.json").unlink(),
    "half a state": lambda folder: os.truncate(folder / "state.json", 20),
    "another step": lambda folder: (folder / "state.json").write_text(
        (folder / "state.json").read_text().replace('"step": 2', '"step": 3').replace('"step": 1', '"step": 3')),
    "another state": lambda folder: (folder / "state.json").write_text("[]"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_and_passed_over(tmp_path, kind):
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    DAMAGE[kind](newest)
    with pytest.raises(UserError, match="step_000002"):
        load_checkpoint(newest)
    said = []
    assert_is_step(load_latest(tmp_path, warn=said.append), 1)
    assert len(said) == 1 and "step_000002" in said[0] and "one before it" in said[0]
    DAMAGE[kind](tmp_path / "step_000001")
    with pytest.raises(UserError, match="no checkpoint in .* can be read"):
        load_latest(tmp_path, warn=said.append)


def test_nothing_there(tmp_path):
    assert load_latest(tmp_path / "nowhere") is None


def test_what_a_crash_leaves_is_ignored_and_swept(tmp_path):
    save(tmp_path, 1)
    leftover = tmp_path / ".step_000002.tmp"
    leftover.mkdir()
    (leftover / TENSORS).write_bytes(b"half")
    assert_is_step(load_latest(tmp_path), 1)
    save(tmp_path, 2)
    assert not leftover.exists()
    assert_is_step(load_latest(tmp_path), 2)


def test_a_failed_save_leaves_the_old_ones(tmp_path, monkeypatch):
    save(tmp_path, 1)
    full = OSError(28, "No space left on device")
    monkeypatch.setattr("minigpt.checkpoint.save_file", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest", "step_000001"]
    assert_is_step(load_latest(tmp_path), 1)


def test_write_atomic(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    write_atomic(file, json.dumps({"a": 1}))
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("pulled the plug")))
    with pytest.raises(OSError):
        write_atomic(file, "new")
    assert json.loads(file.read_text()) == {"a": 1}
