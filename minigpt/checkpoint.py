"""Checkpoints that survive a crash at any moment: atomic, exact, checked, and free of pickle.

A checkpoint is a folder `checkpoints/step_000100/`:

    model-00001-of-00001.safetensors    tensors `model.<name>` and `optim.<name>.<slot>`, one for each parameter
    state.json                          everything else: step, data position, scaler, config, and the files' SHA-256

It is written under a temporary name, flushed to the disk, and renamed: whoever finds the name finds all of it. The file
`latest` names the newest; where it is missing or lies, the newest folder that passes its checksums is taken.

Many ranks write the same folder with one file each, `shard-00001-model-…` and so on, through PyTorch's distributed
checkpoint and its safetensors storage: a file's header says where in the whole tensor each piece lies. So any number of
ranks can read what any other number wrote, each no more than its own pieces, and one process can read it whole.
"""
import hashlib
import json
import os
import re
import shutil
import warnings
from contextlib import contextmanager
from pathlib import Path

import torch
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
    with writing(folder, state) as temporary:
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary / TENSORS)
        except SafetensorError as error:
            raise OSError(str(error)) from None
        with open(temporary / TENSORS, "rb+") as file:
            os.fsync(file.fileno())
    return finish(folder, temporary, {TENSORS: sha256(temporary / TENSORS)}, state, keep)


def names_of(folder: Path, state: dict) -> tuple[Path, Path]:
    """The checkpoint's folder, and the one in which it is made."""
    final = folder / f"step_{state['step']:06d}"
    return final, folder / f".{final.name}.tmp"


@contextmanager
def writing(folder: Path, state: dict):
    """An empty temporary folder, which is removed again if the disk is full or gone."""
    temporary = names_of(folder, state)[1]
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        yield temporary
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def finish(folder: Path, temporary: Path, hashes: dict[str, str], state: dict, keep: int) -> Path:
    """Seal what is in the temporary folder with state.json, give it its name, and remove the oldest checkpoints."""
    final = names_of(folder, state)[0]
    try:
        sealed = {"state": state, "sha256": {**hashes, "state": state_hash(state)}}
        write_atomic(temporary / "state.json", json.dumps(sealed, indent=1))
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


def save_pieces(folder: Path, tensors: dict[str, Tensor], state: dict, keep: int, group) -> Path:
    """The same on all ranks of `group` at once, each with its pieces (DTensors; plain tensors are equal on all ranks).

    Raises OSError on every rank when one of them cannot write.
    """
    import torch.distributed as dist
    from torch.distributed.checkpoint import CheckpointException, HuggingFaceStorageWriter, save

    rank, (final, temporary) = dist.get_rank(group), names_of(folder, state)

    def all_well(problem: str | None, result=None) -> list:
        """The result of every rank; OSError on all if one has a problem."""
        found = [None] * dist.get_world_size(group)
        dist.all_gather_object(found, (problem, result), group=group)
        for who, (said, _) in enumerate(found):
            if said:
                if rank == 0:
                    shutil.rmtree(temporary, ignore_errors=True)
                raise OSError(f"rank {who}: {said}")
        return [result for _, result in found]

    def attempt(what) -> list:
        try:
            problem, result = None, what()
        except (OSError, CheckpointException) as error:
            problem, result = getattr(error, "strerror", None) or str(error).strip().splitlines()[-1], None
        return all_well(problem, result)

    def make():
        if rank == 0:
            with writing(folder, state):
                pass

    def see():
        if not temporary.is_dir():
            raise OSError(f"{folder} is not the folder that rank 0 sees: checkpoints need a disk that all hosts share")

    def hashes():
        return {file.name: sha256(file) for file in temporary.glob(f"shard-{rank + 1:05d}-*.safetensors")}

    attempt(make)
    attempt(see)
    attempt(lambda: save(tensors, storage_writer=HuggingFaceStorageWriter(str(temporary), save_distributed=True),
                         process_group=group) and None)  # fmt: skip
    everyone = {name: value for found in attempt(hashes) for name, value in found.items()}
    attempt(lambda: rank == 0 and finish(folder, temporary, everyone, state, keep) and None)
    return final


def list_checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, newest first."""
    found = [p for p in folder.glob("step_*") if re.fullmatch(r"step_\d+", p.name) and p.is_dir()]
    return sorted(found, key=lambda p: int(p.name.removeprefix("step_")), reverse=True)


def check(path: Path) -> dict:
    """The state of a checkpoint whose files are all as they were written; else a UserError naming it."""
    try:
        found = json.loads((path / "state.json").read_text())
        state, expected = found["state"], dict(found["sha256"])
        if state_hash(state) != expected.pop("state") or any(sha256(path / name) != h for name, h in expected.items()):
            raise ValueError("its SHA-256 is not the one that was written")
        return state
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"checkpoint {path} is damaged ({type(error).__name__}: {error}).") from None


def load_checkpoint(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict]:
    """Read one checkpoint → (tensors, state), however many ranks wrote it. Whatever is missing, cut short or altered is
    a UserError naming it."""
    state = check(path)
    return read_whole(path, device), state


def read_whole(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """All tensors of a checkpoint, each in one piece."""
    try:
        if (path / TENSORS).exists():
            with safe_open(path / TENSORS, "pt", device=device) as file:
                return {name: file.get_tensor(name) for name in file.keys()}
        tensors = {name: torch.empty(shape, dtype=dtype, device=device) for name, shape, dtype in contents(path)}
        read_into(path, tensors)
        return tensors
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"checkpoint {path} is damaged ({type(error).__name__}: {error}).") from None


def contents(path: Path) -> list[tuple[str, torch.Size, torch.dtype]]:
    """(name, shape, dtype) of each whole tensor in a checkpoint, from the headers of its files."""
    from torch.distributed.checkpoint import HuggingFaceStorageReader

    found = HuggingFaceStorageReader(str(path)).read_metadata().state_dict_metadata
    return [(name, entry.size, entry.properties.dtype) for name, entry in sorted(found.items())]


def read_into(path: Path, tensors: dict[str, Tensor], group=None) -> None:
    """Fill tensors from a checkpoint; of a DTensor each rank reads its own pieces. With a group, all ranks call it."""
    from torch.distributed.checkpoint import HuggingFaceStorageReader, load

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # alone, as we mean to
        load(tensors, storage_reader=HuggingFaceStorageReader(str(path)), process_group=group, no_dist=group is None)


def find_latest(folder: Path, warn=print) -> tuple[Path, dict] | None:
    """(folder, state) of the newest checkpoint that is whole, or None. Damaged ones are named by `warn` and passed
    over."""
    checkpoints = list_checkpoints(folder)
    for path in checkpoints:
        try:
            return path, check(path)
        except UserError as error:
            warn(f"{error} Trying the one before it.")
    if checkpoints:
        raise UserError(f"no checkpoint in {folder} can be read; delete the folder to start again.")
    return None


def load_latest(folder: Path, device: str = "cpu", warn=print) -> tuple[dict[str, Tensor], dict] | None:
    """The newest checkpoint that is whole: (tensors, state), or None."""
    found = find_latest(folder, warn)
    return None if found is None else (read_whole(found[0], device), found[1])
