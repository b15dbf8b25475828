"""Checkpoints that survive a crash at any moment: atomic, exact, checked, and free of pickle.

A checkpoint is a folder `checkpoints/step_000100/`:

    model-00001-of-00001.safetensors    tensors `model.<name>` and `optim.<name>.<slot>`, one for each parameter
    state.json                          everything else: step, data position, scaler, config, and the files' SHA-256

It is written under a temporary name, flushed to the disk, and renamed: whoever finds the name finds all of it. The file
`latest` names the newest; where it is missing or lies, the newest folder that passes its checksums is taken.
"""
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .config import UserError
from .files import sha256, sync_folder, write_atomic

TENSORS = "model-00001-of-00001.safetensors"


def state_hash(state: dict) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def save_checkpoint(folder: Path, tensors: dict[str, Tensor], state: dict, keep: int = 2) -> Path:
    """Write checkpoint `state["step"]` into `folder` and remove all but the newest `keep`.

    Raises OSError when the disk is full or gone; the checkpoints that were there are then untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step_{state['step']:06d}"
    temporary = folder / f".{final.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary / TENSORS)
        except SafetensorError as error:
            raise OSError(str(error)) from None
        with open(temporary / TENSORS, "rb+") as file:
            os.fsync(file.fileno())
        hashes = {TENSORS: sha256(temporary / TENSORS), "state": state_hash(state)}
        write_atomic(temporary / "state.json", json.dumps({"state": state, "sha256": hashes}, indent=1))
        if final.exists():
            shutil.rmtree(final)
        os.rename(temporary, final)
        sync_folder(folder)
        write_atomic(folder / "latest", final.name + "\n")
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for old in list_checkpoints(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def list_checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, newest first."""
    found = [p for p in folder.glob("step_*") if re.fullmatch(r"step_\d+", p.name) and p.is_dir()]
    return sorted(found, key=lambda p: int(p.name.removeprefix("step_")), reverse=True)


def load_checkpoint(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict]:
    """Read one checkpoint → (tensors, state). Whatever is missing, cut short or altered is a UserError naming it."""
    try:
        found = json.loads((path / "state.json").read_text())
        state, expected = found["state"], found["sha256"]
        if state_hash(state) != expected["state"] or sha256(path / TENSORS) != expected[TENSORS]:
            raise ValueError("its SHA-256 is not the one that was written")
        with safe_open(path / TENSORS, "pt", device=device) as file:
            return {name: file.get_tensor(name) for name in file.keys()}, state
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"checkpoint {path} is damaged ({type(error).__name__}: {error}).") from None


def load_latest(folder: Path, device: str = "cpu", warn=print) -> tuple[dict[str, Tensor], dict] | None:
    """The newest checkpoint that is whole, or None. Damaged ones are named by `warn` and passed over."""
    checkpoints = list_checkpoints(folder)
    for path in checkpoints:
        try:
            return load_checkpoint(path, device)
        except UserError as error:
            warn(f"{error} Trying the one before it.")
    if checkpoints:
        raise UserError(f"no checkpoint in {folder} can be read; delete the folder to start again.")
    return None
