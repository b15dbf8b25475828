"""`on_ranks`: a function from a notebook on several real processes."""
import linecache
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from matplotlib.figure import Figure

from minigpt import UserError
from minigpt.classroom import on_ranks
from minigpt.classroom.ranks import decode, encode, script_of, source_of, timeline


def double(x):
    return x * 2


def add_up(rank, world, start):
    t = torch.full((3,), rank + start)
    dist.all_reduce(t)
    return {"sum": double(t), "world": world, "where": [rank, "here"]}


def fails(rank, world):
    if rank == 1:
        raise ValueError("rank one does not want to")
    dist.barrier()


def hangs(rank, world, folder):
    Path(folder, str(os.getpid())).touch()
    if rank == 0:
        dist.barrier()
    else:
        time.sleep(100)


def leaves_early(rank, world):
    dist.all_reduce(torch.ones(1))  # both have met
    if rank == 0:
        dist.barrier()


def test_ranks_talk_and_return():
    found = on_ranks(2, add_up, double, start=0.5)
    assert [torch.equal(row["sum"], torch.tensor([4.0, 4.0, 4.0])) for row in found] == [True, True]
    assert [(row["world"], row["where"]) for row in found] == [(2, [0, "here"]), (2, [1, "here"])]


def test_the_first_failure_is_told():
    with pytest.raises(RuntimeError, match=r"(?s)rank 1 failed.*rank one does not want to"):
        on_ranks(2, fails)


def test_a_rank_that_waits_for_ever_is_named_and_ended(tmp_path):
    with pytest.raises(RuntimeError, match="rank 0, 1 had not returned: do all ranks make the same collective"):
        on_ranks(2, hangs, timeout=15, folder=str(tmp_path))
    ranks = [int(file.name) for file in tmp_path.iterdir()]
    assert len(ranks) == 2
    for _ in range(100):
        if not any(map(lives, ranks)):
            return
        time.sleep(0.1)
    pytest.fail("a rank lives on")


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return True
    except ProcessLookupError:
        return False


def test_a_rank_whose_partner_has_left_fails():
    with pytest.raises(RuntimeError, match="(?s)rank 0 failed.*dist.barrier"):
        on_ranks(2, leaves_early)


def test_no_ranks():
    with pytest.raises(UserError, match="at least 1"):
        on_ranks(0, fails)


@pytest.mark.parametrize("value", [
    1, "a", [1.5, None], {"a": torch.randn(2, 3)}, [torch.arange(4)], torch.zeros(0, 5), torch.tensor(1 / 3),
    torch.rand(3, dtype=torch.float64),
])  # fmt: skip
def test_what_travels_keeps_every_bit(value):
    def same(a, b):
        if isinstance(a, torch.Tensor):
            return a.dtype == b.dtype and torch.equal(a, b)
        if isinstance(a, (list, dict)):
            keys = a if isinstance(a, dict) else range(len(a))
            return len(a) == len(b) and all(same(a[key], b[key]) for key in keys)
        return a == b

    assert same(value, decode(encode(value)))
    assert torch.equal(decode(encode(np.arange(6.0).reshape(2, 3))), torch.arange(6.0, dtype=torch.float64).view(2, 3))


def test_what_cannot_travel_is_named():
    with pytest.raises(TypeError, match="a set cannot travel"):
        encode({1, 2})


def test_the_script_is_what_one_would_write():
    script = script_of(add_up, double, "from minigpt import GPT")
    compile(script, "script", "exec")
    assert "dist.init_process_group" in script
    assert script.index("def double") < script.index("import GPT") < script.index("def add_up")


def test_a_class_of_a_notebook_travels():
    """A cell is compiled from text that only linecache knows."""
    cell = ("import torch\n\n\nclass Both(torch.autograd.Function):\n    @staticmethod\n    def forward(ctx, x):\n"
            "        return x + 1\n\n\ny = 3\n")  # fmt: skip
    linecache.cache["<cell 7>"] = len(cell), None, cell.splitlines(True), "<cell 7>"
    space = {"__name__": "__main__"}
    exec(compile(cell, "<cell 7>", "exec"), space)
    text = source_of(space["Both"])
    assert text.startswith("class Both") and text.endswith("return x + 1")


def test_timeline_draws_every_event():
    ax = Figure().add_subplot()
    timeline(ax, [(0, "compute", 1.0, 1.5), (1, "compute", 1.1, 1.4), (0, "wait", 1.5, 1.6)])
    bars = [bar for group in ax.containers for bar in group]
    assert sorted((round(bar.get_x()), round(bar.get_width())) for bar in bars) == [(0, 500), (100, 300), (500, 100)]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["compute", "wait"]
