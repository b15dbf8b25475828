"""Children of ours: what they find in their environment, and that none outlives the process that started it."""
import os
import subprocess
import sys
import time

import pytest

from minigpt.files import child_environment, run_child

TOLD_BY_TORCHRUN = """LOCAL_RANK RANK GROUP_RANK ROLE_RANK ROLE_NAME LOCAL_WORLD_SIZE WORLD_SIZE GROUP_WORLD_SIZE
    ROLE_WORLD_SIZE MASTER_ADDR MASTER_PORT TORCHELASTIC_RESTART_COUNT TORCHELASTIC_MAX_RESTARTS TORCHELASTIC_RUN_ID
    TORCHELASTIC_USE_AGENT_STORE TORCHELASTIC_ERROR_FILE""".split()  # LocalElasticAgent._start_workers of PyTorch

# leaves its number, and then waits; `end` is how it ends with its parent
LEAF = "import os, sys, time; {end}; open(sys.argv[1] + '/' + str(os.getpid()), 'w').close(); time.sleep(60)"
ENDS = "from minigpt.files import end_with_parent; end_with_parent()"
# as torchrun does: a process in a session of its own, which inherits the standard input
BETWEEN = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]], start_new_session=True)"


def test_a_child_finds_the_package_and_is_no_rank(monkeypatch, tmp_path):
    for name in TOLD_BY_TORCHRUN:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("MY_RANK", "kept")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = child_environment(OMP_NUM_THREADS="7")
    assert not {*TOLD_BY_TORCHRUN} & {*found} and os.environ["RANK"] == "1"
    assert found["MY_RANK"] == "kept" and found["OMP_NUM_THREADS"] == "7" and found["PATH"] == os.environ["PATH"]
    (tmp_path / "minigpt.py").write_text("")  # another one, which must not be found first
    code = "import minigpt.files, sys; print(minigpt.files.__file__, sys.path[2:3])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path.parent, env=found, capture_output=True, text=True)
    assert done.stdout == f"{sys.modules['minigpt.files'].__file__} {[str(tmp_path)]}\n", done.stderr


def test_what_a_child_says_and_returns():
    code = "import sys; print('out'); print('error', file=sys.stderr); sys.exit(5)"
    code, said = run_child([sys.executable, "-u", "-c", code], 60)
    assert (code, said.split()) == (5, ["out", "error"])


@pytest.mark.parametrize("command", [[], ["-c", BETWEEN]])
def test_after_the_time_none_is_left(tmp_path, command):
    code = LEAF.format(end=ENDS)
    command = [sys.executable, *command, *([code] if command else ["-c", code]), str(tmp_path)]
    with pytest.raises(subprocess.TimeoutExpired):
        run_child(command, 8)
    (leaf,) = tmp_path.iterdir()
    assert gone(int(leaf.name))


def test_a_parent_that_is_killed_takes_its_children_along(tmp_path):
    parent = "import sys; from minigpt.files import run_child; run_child([sys.executable, *sys.argv[1:]], 60)"
    command = [sys.executable, "-c", parent, "-c", BETWEEN, LEAF.format(end=ENDS), str(tmp_path)]
    process = subprocess.Popen(command, env=child_environment())
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    (leaf,) = tmp_path.iterdir()
    process.kill()
    process.wait()
    assert gone(int(leaf.name))


def gone(pid: int, seconds: float = 20) -> bool:
    """Whether a process is over, or soon will be."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except OSError:
            return True
        time.sleep(0.05)
    return False
