"""Wrong calls, made from right ones: of shapes, dtypes, orders, indices and numbers.

A case is a dict of arguments by name, as the specifications of `minigen.checking` draw
them. Each change returns in words what it did, or "" where it found nothing to do.
"""

from __future__ import annotations

import functools

import ml_dtypes
import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings

from minigen.calls import split
from minigen.checking.specs import SPECS
from minigen.checking.strategies import SMALL, cases
from tests.fuzz.pages import guarded

EXAMPLES = 20
"""Right calls of each function, of small sizes."""

LARGE = (
    {"b": 1, "n": 50, "m": 50, "h": 4, "e": 8, "d": 16, "f": 16},
    {"b": 1, "y": 32, "x": 32, "c": 128, "f": 128, "r": 2},
)
"""Sizes that other kernels are for, on a CPU."""

DTYPES = (
    "float16", "float64", "int8", "int32", "uint8", "uint16", "uint32", "uint64",
    "bool", "complex64", ">f4", ">f2", ">i8", "object", "U3", "M8[s]", "bfloat16",
)  # fmt: skip
ENTRIES = (-1, -2, 1000, 2**31, 2**32, -(2**31), 2**62, -(2**62))
LAYOUTS = ("C", "C", "C", "F", "gaps", "reversed", "rows", "read-only", "odd address")
NUMBERS = (0.75, 1, np.float64(1.5), True, None, "3", [1])
WHOLE = (-1, 0, 1, 2, 3, 7, -(2**31), 1.5, 2.0, True, None, "3", [1], np.int16(2))


@functools.cache
def right(name) -> tuple[dict, ...]:
    """Return right calls of a function of the table, always the same."""
    drawn, spec = [], SPECS[name]
    _draw(cases(spec, SMALL), EXAMPLES, drawn)
    for fixed in (*spec.routes, *LARGE):
        _draw(cases(spec, SMALL, fixed), 2, drawn)
    return tuple(drawn)


def is_large(case) -> bool:
    """Say whether an interpreter would take seconds for a case."""
    return any(v.size > 5000 for v in case.values() if isinstance(v, np.ndarray))


def _draw(strategy, count, drawn):
    @seed(0)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(case):
        drawn.append(case)

    draw()


def wrong(rng, signature) -> tuple[dict, str]:
    """Return a call that is wrong in some way, or right, and in which."""
    cases = right(signature.name)
    case = dict(cases[rng.integers(len(cases))])
    said = [
        CHANGES[rng.integers(len(CHANGES))](rng, signature, case)
        for _ in range(rng.choice((0, 1, 1, 1, 1, 2)))
    ]
    return case, "; ".join(filter(None, said)) or "nothing is wrong"


def arranged(rng, case) -> tuple[dict, str]:
    """Return a case whose arrays lie beside guards, with strides of many kinds."""
    placed, said = {}, []
    for name, value in case.items():
        if not isinstance(value, np.ndarray):
            placed[name] = value
            continue
        kind = str(rng.choice(LAYOUTS))
        placed[name] = _lay(value, kind, bool(rng.integers(2)))
        if kind != "C":
            said.append(f"{name} {kind}")
    return placed, ", ".join(said)


def _lay(value, kind, at_the_end):
    if value.ndim == 0:
        return value.copy()
    if kind == "F":
        return guarded(value.T, at_the_end).T
    if kind == "reversed":
        return guarded(value[::-1], at_the_end)[::-1]
    if kind in ("gaps", "rows"):
        axis = -1 if kind == "gaps" else 0
        wide = np.repeat(value, 2, axis)
        steps = [slice(None)] * value.ndim
        steps[axis] = slice(1, None, 2) if at_the_end else slice(0, None, 2)
        return guarded(wide, at_the_end)[tuple(steps)]
    if kind == "odd address" and value.size and not value.dtype.hasobject:
        bytes = np.frombuffer(b"?" + value.tobytes() + b"?", np.uint8)
        inside = guarded(bytes, at_the_end)[1:-1]
        return inside.view(value.dtype).reshape(value.shape)
    placed = guarded(value, at_the_end)
    placed.flags.writeable = kind != "read-only"
    return placed


def _arrays(signature, case):
    return [
        one
        for one in signature.arguments
        if one.sizes is not None and isinstance(case[one.name], np.ndarray)
    ]


def _one(rng, things):
    return things[rng.integers(len(things))] if things else None


def _other(rng, n):
    return int(rng.choice((0, 0, 1, n - 1 if n else 2, n + 1, 2 * n)))


def _resized(array, shape):
    return np.resize(_without_nan(array), shape)


def _without_nan(array):
    # a case holds NaN where nobody reads it: of another size or length, somebody may
    if array.dtype.kind == "f":
        array = np.where(array == array, array, array.dtype.type(1))
    return array


def an_axis(rng, signature, case):
    """Give one axis of one array another size."""
    one = _one(rng, [a for a in _arrays(signature, case) if case[a.name].ndim])
    if one is None:
        return ""
    shape = list(case[one.name].shape)
    axis = rng.integers(len(shape))
    shape[axis] = _other(rng, shape[axis])
    case[one.name] = _resized(case[one.name], shape)
    return f"{one.name} {tuple(shape)}"


def a_letter(rng, signature, case):
    """Give a letter another size, in all arrays and numbers."""
    known = sizes(signature, case)
    letter = _one(rng, sorted(known))
    if letter is None:
        return ""
    n = _other(rng, known[letter])
    case |= with_size(signature, case, letter, n)
    return f"{letter} = {n}"


def sizes(signature, case) -> dict:
    """Return the size of each letter in a case."""
    return {
        size.letter: n * size.over // size.times
        for a in _arrays(signature, case)
        for size, n in zip(a.sizes, split(a, case[a.name].shape)[0], strict=False)
        if size.letter
    }


def with_size(signature, case, letter, n) -> dict:
    """Return a case in which a letter has size n, in all arrays and numbers."""
    case = dict(case)
    for a in _arrays(signature, case):
        shape = list(case[a.name].shape)
        for axis, size in enumerate(a.sizes[: len(shape)]):
            if size.letter == letter:
                # those after `...` are the last ones
                after = a.more is not None and axis >= a.more
                axis -= len(a.sizes) if after else 0
                shape[axis] = size.times * n // size.over
        case[a.name] = _resized(case[a.name], shape)
    if letter in case and not isinstance(case[letter], np.ndarray):
        case[letter] = n
    return case


def an_axis_more(rng, signature, case):
    """Drop an axis of an array, or add one."""
    one = _one(rng, _arrays(signature, case))
    if one is None:
        return ""
    array = case[one.name]
    fewer = array.ndim and array.shape[0] and rng.integers(2)
    case[one.name] = array[0] if fewer else array[None]
    return f"{one.name} {case[one.name].shape}"


def a_dtype(rng, signature, case):
    """Give an array another dtype."""
    one = _one(rng, _arrays(signature, case))
    if one is None:
        return ""
    name = str(rng.choice(DTYPES))
    dtype = ml_dtypes.bfloat16 if name == "bfloat16" else np.dtype(name)
    try:
        with np.errstate(all="ignore"):
            # as the bits of a bfloat16, which a device takes for a weight
            bits = ml_dtypes.bfloat16 if name == "uint16" else dtype
            case[one.name] = case[one.name].astype(bits)
            if bits != dtype:
                case[one.name] = case[one.name].view(dtype)
    except (TypeError, ValueError):
        return ""
    return f"{one.name} of {name}"


def an_entry(rng, signature, case):
    """Put another number into an array of integers."""
    one = _one(rng, [a for a in _arrays(signature, case) if a.kind == "integer"])
    if one is None or not case[one.name].size or case[one.name].dtype.kind not in "iu":
        return ""
    array = case[one.name] = case[one.name].copy()
    limits, entry = np.iinfo(array.dtype), int(rng.choice(ENTRIES))
    array.flat[rng.integers(array.size)] = min(max(entry, limits.min), limits.max)
    return f"an entry of {one.name} {entry}"


def a_number(rng, signature, case):
    """Give another number, or what is none."""
    one = _one(rng, [a for a in signature.arguments if a.sizes is None])
    if one is None:
        return ""
    case[one.name] = _one(rng, NUMBERS if one.kind == "number" else WHOLE)
    if one.kind == "shape" and rng.integers(2):
        case[one.name] = ((2, -1), (2, 1.5), (0, 3), (2.0,), ("2",))[rng.integers(5)]
    case |= {a.name: _without_nan(case[a.name]) for a in _arrays(signature, case)}
    return f"{one.name} {case[one.name]!r}"


def no_array(rng, signature, case):
    """Give a list, a number or None for an array."""
    one = _one(rng, _arrays(signature, case))
    if one is None:
        return ""
    array = case[one.name]
    other = (None, array.tolist(), 1.5, np.float32(2), "text")[rng.integers(5)]
    case[one.name] = other
    return f"{one.name} a {type(other).__name__}"


CHANGES = (
    an_axis, an_axis, an_axis, a_letter, a_letter, a_letter, an_axis_more, a_dtype,
    a_dtype, an_entry, an_entry, a_number, a_number, no_array,
)  # fmt: skip
