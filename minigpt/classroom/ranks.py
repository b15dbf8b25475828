"""Several processes for a lesson: a function from a notebook, run by torchrun on as many ranks as you like.

    def work(rank, world):
        t = torch.full((2,), float(rank))
        dist.all_reduce(t)
        return t

    on_ranks(3, work)                    # [tensor([3., 3.]), tensor([3., 3.]), tensor([3., 3.])]

The ranks are real: processes with memory of their own, which talk through gloo, one thread each. All of this is what
you would write in a script and start by hand; `script_of` shows it.
"""
import ast
import inspect
import json
import linecache
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..config import UserError
from ..files import run_child

IMPORTS = """\
import json, math, os, sys, time, traceback
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
"""
MAIN = """

if __name__ == "__main__":
    from minigpt.classroom.ranks import decode, encode
    from minigpt.files import end_with_parent

    folder, rank, world = Path(sys.argv[1]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)
    end_with_parent()
    dist.init_process_group("gloo")
    try:
        found = {name}(rank, world, **decode((folder / "arguments.json").read_text()))
        (folder / f"{{rank}}.json").write_text(encode(found))
    except BaseException:
        (folder / f"{{rank}}.error").write_text(traceback.format_exc())
        raise
    dist.destroy_process_group()
"""


def on_ranks(world: int, function, *needs, timeout: float = 90, **arguments) -> list:
    """Run function(rank, world, **arguments) on `world` ranks; returns what each returned, by rank.

    needs       functions and classes that it calls and that are not in IMPORTS, or lines of code ("from minigpt import
                GPT"); everything travels as source text, so a cell may define it
    arguments   and results: numbers, text, lists, dicts, tensors and arrays (which come back as tensors)
    Raises RuntimeError with the words of the first rank that failed, or if they are not done after `timeout` seconds.
    """
    if world < 1:
        raise UserError(f"{world} ranks are none: give at least 1.")
    with tempfile.TemporaryDirectory(prefix="minigpt-ranks-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "ranks.py").write_text(script_of(function, *needs), encoding="utf-8")
        (folder / "arguments.json").write_text(encode(arguments))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}",
                   str(folder / "ranks.py"), str(folder)]  # fmt: skip
        try:
            returncode, said = run_child(command, timeout, OMP_NUM_THREADS="1")
        except subprocess.TimeoutExpired:
            late = [rank for rank in range(world) if not (folder / f"{rank}.json").exists()]
            raise RuntimeError(f"after {timeout:.0f} s rank {', '.join(map(str, late))} had not returned: do all ranks "
                               f"make the same collective calls, in the same order?") from None  # fmt: skip
        errors = sorted(folder.glob("*.error"), key=lambda file: file.stat().st_mtime_ns)
        if errors:
            raise RuntimeError(f"rank {errors[0].stem} failed:\n{errors[0].read_text().strip()}")
        if returncode:
            ours = [line for line in said.partition("multiprocessing/api.py")[0].splitlines()[:-1] if line.strip()]
            raise RuntimeError("the ranks failed:\n" + ("\n".join(ours) or said.strip())[-2000:])
        return [decode((folder / f"{rank}.json").read_text()) for rank in range(world)]


def script_of(function, *needs) -> str:
    """The script that `on_ranks` gives to torchrun."""
    parts = [need if isinstance(need, str) else source_of(need) for need in (*needs, function)]
    return IMPORTS + "\n\n\n".join(["", *parts]) + MAIN.format(name=function.__name__)


def source_of(thing) -> str:
    """The source text of a function or class, also of a class that a notebook's cell defines, which `inspect` cannot
    find: it is looked for in the cell of one of its methods."""
    try:
        return textwrap.dedent(inspect.getsource(thing)).rstrip()
    except (OSError, TypeError):
        methods = [part.__code__ for part in map(inspect.unwrap, map(unbound, vars(thing).values())) if
                   inspect.isfunction(part)]  # fmt: skip
        for code in methods:
            cell = "".join(linecache.getlines(code.co_filename))
            for node in ast.walk(ast.parse(cell)):
                if isinstance(node, ast.ClassDef) and node.name == thing.__name__:
                    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                    return "\n".join(cell.splitlines()[first - 1 : node.end_lineno])
        raise


def unbound(part):
    """The function inside a static method or class method."""
    return part.__func__ if isinstance(part, (staticmethod, classmethod)) else part


def encode(value) -> str:
    """JSON in which a tensor or array keeps its type: {"tensor": [...], "dtype": "float32"}. Floats keep every bit."""

    def plain(x):
        if isinstance(x, np.ndarray):
            x = torch.from_numpy(x)
        if isinstance(x, Tensor):
            x = x.detach().cpu()
            return {"tensor": x.tolist(), "dtype": str(x.dtype).removeprefix("torch."), "shape": list(x.shape)}
        if isinstance(x, np.generic):
            return x.item()
        raise TypeError(f"a {type(x).__name__} cannot travel between processes: use numbers, lists, dicts or tensors")

    return json.dumps(value, default=plain)


def decode(text: str):
    """The inverse of `encode`."""

    def rich(d):
        if set(d) == {"tensor", "dtype", "shape"}:
            return torch.tensor(d["tensor"], dtype=getattr(torch, d["dtype"])).reshape(d["shape"])
        return d

    return json.loads(text, object_hook=rich)


def timeline(ax, events: list[tuple[int, str, float, float]], colors: dict[str, str] | None = None) -> None:
    """Draw who does what when: one lane a rank, one bar an event (rank, kind, start, end), times in seconds.

    A kind has a colour and a hatch, both in the legend; time starts at 0 with the first event and is drawn in ms.
    """
    from .viz import CYCLE

    kinds = list(dict.fromkeys(kind for _, kind, _, _ in events))
    colors = colors or dict(zip(kinds, CYCLE))
    hatches = dict(zip(kinds, ("", "///", "...", "xxx", "\\\\\\", "++")))
    first = min(start for _, _, start, _ in events)
    for kind in kinds:
        rows = [(rank, start, end) for rank, k, start, end in events if k == kind]
        ax.barh([rank for rank, _, _ in rows], [1000 * (end - start) for _, start, end in rows],
                left=[1000 * (start - first) for _, start, _ in rows], height=0.7, color=colors[kind],
                hatch=hatches[kind], edgecolor="white", linewidth=0.5, label=kind)  # fmt: skip
    ranks = sorted({rank for rank, *_ in events})
    ax.set(yticks=ranks, yticklabels=[f"rank {rank}" for rank in ranks], xlabel="milliseconds")
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(kinds), frameon=False)
