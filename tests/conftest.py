"""Settings of every test process; they must stand before anything imports torch, and reach the processes a test
starts. And the planted lesson, which three files of tests share."""
import os
import subprocess
from contextlib import contextmanager

import pytest
from hypothesis import settings

# The same examples in every run, so that a change is not blamed for what it did not do. Other ones, now and then:
# pytest --hypothesis-profile default
settings.register_profile("same", derandomize=True)
settings.load_profile("same")

# One torch thread per process when pytest-xdist runs two processes on two cores: twice as fast as two threads each.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the reference tokenizer must not fork threads under xdist
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for the network
os.environ.setdefault("MPLBACKEND", "Agg")


@contextmanager
def small_disk(folder, size: str):
    """A disk of its own, of this size, mounted at `folder`; the test is skipped where mounting is not allowed."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder with the lesson of planted.py, in which the classroom looks for its lessons and its journal."""
    from planted import forget, plant

    with monkeypatch.context() as patch:
        plant(tmp_path, patch)
        yield tmp_path
    forget()
