"""Notebooks as tests: pytest collects them through nbval, a kernel for each notebook and a test for each of its cells.

nbval runs with `--nbval-lax`, so that outputs are compared only where a cell is tagged `nbval-check-output`: losses and
pictures may differ between machines, and what must hold is asserted in the cells. tests/conftest.py is for the rest.
"""
import atexit
import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import pytest

EXPECT = {"exercises": "todo", "solutions": "passed"}
"""What every check must say in the notebooks of a folder."""

# One folder a session, whichever process makes it first: pytest-xdist's workers inherit it. In it, the runs are shared,
# so that a lesson can reopen what another has trained, and each notebook has a home of its own.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["MINIGPT_TEST_SESSION"] = tempfile.mkdtemp(prefix="minigpt-tests-")
    Path(os.environ["MINIGPT_TEST_SESSION"], "runs").mkdir()
    atexit.register(shutil.rmtree, os.environ["MINIGPT_TEST_SESSION"], ignore_errors=True)


def is_cell(item) -> bool:
    return type(item).__name__ == "IPyNbCell"  # nbval has no public name for it


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item):
    """The set-up of a notebook's first cell starts its kernel, which inherits the environment of that moment."""
    if not is_cell(item):
        return (yield)
    from minigpt.classroom.build import environment

    session = Path(os.environ["MINIGPT_TEST_SESSION"])
    threads = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
    folder = item.path.parent.name
    scratch = session / f"{folder}-{item.path.stem}"
    with mock.patch.dict(os.environ, environment(EXPECT.get(folder, ""), scratch, session / "runs", threads)):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    """Skip what comes after a failed cell: it would only fail for lack of the names. (Here, not in the set-up, where
    skipping breaks pytest's log capture.)"""
    failed = is_cell(item) and getattr(item.parent, "failed_cell", None)
    if failed:
        pytest.skip(f"{failed} of this notebook failed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if is_cell(item) and report.failed:
        item.parent.failed_cell = item.name
    return report
