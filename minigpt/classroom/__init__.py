"""The learner's side of minigpt. It may import anything; nothing imports it but the command line.

A lesson takes its tools from here: `from minigpt.classroom import check, hint, reveal, show`. Those that bring torch or
matplotlib with them load on first use.
"""
import importlib

# Three functions share their name with their module, and Python binds a module's name in its package when it is first
# imported: these must be there before anything asks for them.
from .check import check
from .progress import progress
from .review import review

_HOME = {
    "hints": "hint solution mine start",
    "review": "reveal",
    "viz": "show",
    "shelf": "recorded redo model_from",
    "ranks": "on_ranks",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}
__all__ = sorted(["check", "progress", "review", *_MODULE_OF])


def __getattr__(name):
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
