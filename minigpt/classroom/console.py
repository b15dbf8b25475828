"""Talking to a person: in a terminal, or in a notebook, where a mistake is a sentence and never an exception."""
import functools
import re
import sys
from collections.abc import Callable

from ..config import UserError


def errors_as_sentences(function: Callable) -> Callable:
    """For what a notebook calls: a mistake is a sentence to read, not an exception to scroll through."""

    @functools.wraps(function)
    def guarded(*arguments, **options):
        try:
            return function(*arguments, **options)
        except AssertionError:  # the course's own tests ask check() for it
            raise
        except UserError as error:
            say(error)
        except Exception as error:
            name = function.__name__
            say(f"{name} cannot go on ({type(error).__name__}: {error}); help({name}) shows how it is called.")

    return guarded


def say(text: object) -> None:
    """Print, whatever is in the text: a lone surrogate (half a character) would raise."""
    print(str(text).encode("utf-8", "replace").decode())


def interactive() -> bool:
    """Whether there is anyone to ask."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        return True  # a notebook: its stdin is no terminal, yet input() opens a box
    return sys.stdin is not None and sys.stdin.isatty()


def ask(prompt: str) -> str | None:
    """What the person at the keyboard types; None where nobody sits, or where they end it (Ctrl-D, Ctrl-C)."""
    if not interactive():
        return None
    try:
        return input(prompt).strip()
    except (EOFError, OSError, KeyboardInterrupt, RuntimeError):  # the last: a notebook that is run without a person
        print()
        return None


def terminal(markdown: str) -> str:
    """Markdown as a terminal shows it, without marks of emphasis; code keeps its stars."""
    kept: list[str] = []
    holes = re.sub(r"```.*?```|`[^`\n]+`", lambda m: kept.append(m[0]) or f"\0{len(kept) - 1}\0", markdown, flags=re.S)
    bare = re.sub(r"\*\*(.+?)\*\*|(?<!\w)\*(\S.*?)\*(?!\w)", r"\1\2", holes)
    return re.sub("\0(\\d+)\0", lambda m: kept[int(m[1])], bare.strip())
