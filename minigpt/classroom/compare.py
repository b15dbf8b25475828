"""Two results side by side: are they the same, and if not, what is the first thing to say about it?

Numbers are what they say, whether Python, numpy or a tensor of no dimension holds them; lists and tuples are sequences
alike; NaN equals NaN; whether gradients are recorded does not matter. Floats may differ by the tolerance, whole numbers
may not. torch is asked only if someone has loaded it.
"""
import math
import sys
from typing import Any, NamedTuple

KINDS = ("type", "shape", "dtype", "device", "nan", "value")
"""What may differ, in the order in which it is worth telling."""


class Difference(NamedTuple):
    """Reads "your result[0, 2] is 3, and should be 5": subject, verb and complement."""

    kind: str
    place: str
    is_: str
    should: str
    hint: str = ""

    def sentence(self, secret: bool = False) -> str:
        """For the learner; `secret`: without the expected value, where it is the answer itself."""
        should = "that is not right" if secret and self.kind == "value" else f"should {self.should}"
        return f"your result{self.place} {self.is_}, and {should}.{self.hint}"


def compare(got: Any, expected: Any, tolerance: float = 1e-5, loose: bool = False) -> Difference | None:
    """The first difference worth telling, or None. `tolerance` is relative to 1 + |expected|; `loose`: any dtype does.

    Example: compare([1, 2.0], (1, 2)) -> None; compare([1, 3], [1, 2]).sentence()
    -> "your result[1] is 3, and should be 2."
    """
    found = _differences(got, expected, tolerance, loose, "")
    try:
        return min(found, key=lambda difference: KINDS.index(difference.kind), default=None)
    except Exception as error:  # what a learner returns may raise when it is compared
        is_ = f"cannot be compared ({type(error).__name__}: {error})"
        return Difference("type", "", is_, f"be {kind_of(expected)}")


def data(value: Any) -> Any:
    """The part of a value that can be compared: what is not data (functions, modules, generators) becomes None."""
    if isinstance(value, dict):
        return {key: data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [data(item) for item in value]
    known = (str, bytes, bytearray, set, frozenset)
    return value if isinstance(value, known) or is_tensor(value) or is_array(value) or _is_number(value) else None


def is_tensor(value: Any) -> bool:
    """Without importing torch."""
    return "torch" in sys.modules and isinstance(value, sys.modules["torch"].Tensor)


def is_array(value: Any) -> bool:
    """A numpy array; without importing numpy."""
    return "numpy" in sys.modules and isinstance(value, sys.modules["numpy"].ndarray)


def _is_number(value):
    numpy = sys.modules.get("numpy")
    scalar = (bool, int, float, complex) + ((numpy.bool_, numpy.number) if numpy else ())
    return isinstance(value, scalar) or ((is_tensor(value) or is_array(value)) and value.ndim == 0)


def _differences(got, expected, tolerance, loose, place):
    """Every difference, found one after the other: at most one for an array, and a walk through what holds others."""
    if _is_number(expected):
        yield from _numbers(got, expected, tolerance, place)
    elif is_tensor(expected) or is_array(expected):
        yield from _arrays(got, expected, tolerance, loose, place)
    elif isinstance(expected, (list, tuple)):
        if not isinstance(got, (list, tuple)):
            yield _type(got, expected, place)
        elif len(got) != len(expected):
            yield Difference("shape", place, f"has {len(got)} item{'s' * (len(got) != 1)}", f"have {len(expected)}")
        else:
            for i, (ours, theirs) in enumerate(zip(got, expected)):
                yield from _differences(ours, theirs, tolerance, loose, f"{place}[{i}]")
    elif isinstance(expected, dict):
        if not isinstance(got, dict):
            yield _type(got, expected, place)
            return
        for key in expected:
            if key not in got:
                yield Difference("shape", place, f"lacks the key {key!r}", "have it")
        for key in got:
            if key in expected:
                yield from _differences(got[key], expected[key], tolerance, loose, f"{place}[{key!r}]")
            else:
                yield Difference("shape", place, f"has the key {key!r}", "not have it")
    elif isinstance(expected, (str, bytes)):
        if not isinstance(got, type(expected)):
            yield _type(got, expected, place)
        elif got != expected:
            i = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b), min(len(got), len(expected)))
            start = max(0, i - 15) if max(len(got), len(expected)) > 50 else 0
            place += f"[{start}:{start + 50}]" if start else ""
            yield Difference("value", place, f"is {got[start : start + 50]!r}", f"be {expected[start : start + 50]!r}")
    elif isinstance(expected, (set, frozenset)):
        if not isinstance(got, (set, frozenset)):
            yield _type(got, expected, place)
        elif got - expected:
            yield Difference("value", place, f"holds {short(min(got - expected, key=repr))}", "not hold it")
        elif expected - got:
            yield Difference("value", place, f"holds {len(got)} of its items", f"hold {len(expected)}")
    elif type(got) is not type(expected):
        yield _type(got, expected, place)
    elif got != expected:
        yield Difference("value", place, f"is {short(got)}", f"be {short(expected)}")


def _type(got, expected, place):
    hint = " Is a `return` missing?" if got is None and not place else ""
    return Difference("type", place, f"is {kind_of(got)}", f"be {kind_of(expected)}", hint)


def _numbers(got, expected, tolerance, place):
    if is_tensor(got) and got.device.type != "cpu":
        yield Difference("device", place, f"is on the device {got.device}", "be on the cpu")
        return
    if not _is_number(got):
        sized = (is_tensor(got) or is_array(got)) and (is_tensor(expected) or is_array(expected))
        yield _shape(got, expected, place) if sized else _type(got, expected, place)
        return
    ours, theirs = (value.item() if hasattr(value, "item") else value for value in (got, expected))
    if isinstance(ours, bool) is not isinstance(theirs, bool):
        yield _type(got, expected, place)
    elif ours != ours and theirs == theirs:
        yield Difference("nan", place, "is NaN", "be a number")
    elif not _near(ours, theirs, tolerance):
        yield Difference("value", place, *_told(ours, theirs))


def _near(got, expected, tolerance):
    if got == expected or (got != got and expected != expected):
        return True
    if isinstance(expected, int):  # whole: a float may hold it, rounded as floats are
        return isinstance(got, float) and abs(got - expected) <= 1e-12 * abs(expected)
    return math.isfinite(abs(expected)) and abs(got - expected) <= tolerance * (1 + abs(expected))


def _arrays(got, expected, tolerance, loose, place):
    import numpy as np

    if type_name(got) != type_name(expected):
        yield _type(got, expected, place)
    elif got.shape != expected.shape:
        yield _shape(got, expected, place)
    elif got.dtype != expected.dtype and not loose:
        yield Difference("dtype", place, f"has dtype {_dtype(got)}", f"have {_dtype(expected)}")
    elif is_tensor(got) and got.device != expected.device:
        yield Difference("device", place, f"is on the device {got.device}", f"be on {expected.device}")
    else:
        ours, theirs = _numpy(got), _numpy(expected)
        with np.errstate(all="ignore"):
            right = (ours == theirs) | ((ours != ours) & (theirs != theirs))
            if theirs.dtype.kind in "fc":
                right |= np.isfinite(theirs) & (np.abs(ours - theirs) <= tolerance * (1 + np.abs(theirs)))
        wrong, nan = ~right, (ours != ours) & (theirs == theirs)
        if nan.any():
            yield Difference("nan", place + _first(nan), "is NaN", "be a number")
        elif wrong.any():
            at = tuple(indices[0] for indices in wrong.nonzero())
            yield Difference("value", place + _first(wrong), *_told(ours[at].item(), theirs[at].item()))


def _numpy(array):
    """As numpy, floats in double precision; tensors are taken off the tape."""
    if is_tensor(array):
        array = array.detach().to_dense() if array.layout != sys.modules["torch"].strided else array.detach()
        array = array.double() if array.is_floating_point() else array
        return array.cpu().resolve_conj().resolve_neg().numpy()
    return array.astype("float64") if array.dtype.kind == "f" else array


def _first(where):
    return str([int(indices[0]) for indices in where.nonzero()])


def _told(got, expected):
    told = [f"{x:.6g}" if isinstance(x, float) else repr(x) for x in (got, expected)]
    told = told if told[0] != told[1] else [repr(got), repr(expected)]
    return f"is {told[0]}", f"be {told[1]}"


def _shape(got, expected, place):
    return Difference("shape", place, f"has shape {tuple(got.shape)}", f"have {tuple(expected.shape)}")


def _dtype(array):
    return str(array.dtype).removeprefix("torch.")


def type_name(value: Any) -> str:
    """ "tensor" for all of its subclasses, else the name of its class."""
    return "tensor" if is_tensor(value) else "array" if is_array(value) else type(value).__name__


def kind_of(value: Any) -> str:
    """What a value is, in words: "a tensor of shape (2, 3)", "None", "a list"."""
    if value is None:
        return "None"
    if isinstance(value, bool):
        return "True or False"
    if _is_number(value):
        return "a number"
    name = {"str": "string", "dict": "dictionary"}.get(type_name(value), type_name(value))
    article = "an" if name[0].lower() in "aeiou" else "a"
    shape = f" of shape {tuple(value.shape)}" if is_tensor(value) or is_array(value) else ""
    return f"{article} {name}{shape}"


def short(value: Any, limit: int = 40) -> str:
    """A value on part of a line: itself if it fits, else its beginning; a tensor, what it is.

    A dictionary may be five times as long: which entry decides cannot be known, so a small one is told whole.
    """
    if is_tensor(value) or is_array(value):
        return f"{type_name(value)} {tuple(value.shape)}"
    if callable(value):
        return getattr(value, "__name__", type_name(value))
    text, limit = repr(value), limit * (5 if isinstance(value, dict) else 1)
    return text if len(text) <= limit else text[: limit - 1] + "…"
