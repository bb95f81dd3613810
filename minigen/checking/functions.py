"""One case tried on a function of NumPy arrays, in one of several ways."""

from __future__ import annotations

import contextlib
import os
import traceback
import types
from collections.abc import Callable
from unittest import mock

import numpy as np

from minigen.checking.report import Finding
from minigen.checking.spec import each
from minigen.checking.specs import Spec
from minigen.checking.verdict import in_place, judge, same_bits
from minigen.cpu import buffers
from minigen.simt.pattern import poison

LAYOUTS = ("gaps", "columns first", "read-only")
"""Layouts of the same values; a function must give the same result for each."""

EXACT = ("other order", "one thread")
"""Ways of calling a compiled function that must not change a bit of the result."""

_REFUSED = ("is read-only", "Cannot modify readonly")

_SAID = {
    "gaps": "where inputs are views with gaps, such as a[..., ::2] of another array",
    "columns first": "where inputs lie in memory columns first, such as a.T of another",
    "read-only": "where inputs may not be written to",
}


def try_function(
    spec: Spec, function: Callable, case, way="plain"
) -> tuple[Finding | None, float]:
    """Call a function with a case; return what is wrong or None, and the largest error.

    way: "plain", or one of LAYOUTS or EXACT, after the plain way was right.
    """
    finding, worst, result = _try(spec, function, case, "plain")
    if finding or way == "plain":
        return finding, worst
    if way in LAYOUTS:
        finding, worst, _ = _try(spec, function, case, way)
        if finding and finding.kind != "input changed":
            message = f"right on plain arrays, but not {_SAID[way]}:\n{finding.message}"
            return Finding("layout", message), worst
        return finding, worst
    if way == "one thread":
        with _one_thread():
            _, _, other = _try(spec, function, case, "plain")
        cell = same_bits(result, other)
        said = "one thread and several give other bits"
        return (cell and Finding("threads", f"{said}, first at {list(cell)}")), worst
    return _in_another_order(spec, function, case, result), worst


def other_order(spec: Spec, case):
    """Return a case whose independent rows are reversed, and how to undo that."""
    axis = spec.axis
    changed = {
        name: np.ascontiguousarray(np.flip(value, axis))
        if name in spec.batched and value is not None
        else value
        for name, value in case.items()
    }

    def back(result):
        return each(lambda one: np.flip(np.asarray(one), axis), result)

    return changed, back


def order_finding(cell) -> Finding | None:
    """Return the finding that a row depends on its batch, first seen at `cell`."""
    if cell is None:
        return None
    said = "rows in another order give other bits, so a row depends on its batch"
    return Finding("order", f"{said}; first at {list(cell)}")


def _in_another_order(spec, function, case, result):
    if not spec.batched:
        return None
    changed, back = other_order(spec, case)
    finding, _, other = _try(spec, function, changed, "plain")
    return finding or order_finding(same_bits(result, back(other)))


def _try(spec, function, case, way):
    given = {n: _arranged(v, way, n in spec.changes) for n, v in case.items()}
    before = {n: v.tobytes() for n, v in given.items() if isinstance(v, np.ndarray)}
    try:
        with _poisoned(function), np.errstate(all="ignore"):
            result = function(*given.values())
    except Exception as error:
        return _raised(error, function, given, before), np.inf, None
    # an array that is written in place is returned, and may be looked at later
    finding, worst = judge(spec, case, result)
    if finding is None:
        finding = in_place(spec, before, given, result, "function")
    return finding, worst, each(np.array, result)


def _arranged(value, way, writable):
    if not isinstance(value, np.ndarray):
        return value
    if way == "gaps" and value.ndim:
        wide = poison(np.empty((*value.shape[:-1], 2 * value.shape[-1]), value.dtype))
        wide[..., ::2] = value
        return wide[..., ::2]
    copy = np.array(value, order="F" if way == "columns first" else "C")
    copy.flags.writeable = writable or way != "read-only"
    return copy


def _raised(error, function, given, before):
    source = getattr(function, "py_func", function)
    file = getattr(getattr(source, "__code__", None), "co_filename", None)
    said = raised(error, file)
    changed = [n for n, bits in before.items() if given[n].tobytes() != bits]
    if any(word in said for word in _REFUSED) and not changed:
        return Finding("input changed", f"the function writes into an input\n{said}")
    return Finding("exception", said)


def raised(error, file=None) -> str:
    """Return an exception in words, with the last line of `file` that led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    last = ([f for f in frames if f.filename == file] or frames)[-1]
    text = " ".join(str(error).split())[:300]
    where = f"at {os.path.basename(last.filename)}:{last.lineno}: {last.line}"
    return f"{type(error).__name__}: {text}\n{where}"


@contextlib.contextmanager
def _poisoned(function):
    # what is allocated holds nothing but poison, so that what is not written is seen
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(buffers, "empty", _empty_floats))
        if isinstance(function, types.FunctionType) and not _compiles(function, set()):
            stack.enter_context(mock.patch.object(np, "empty", _empty))
            stack.enter_context(mock.patch.object(np, "empty_like", _empty_like))
        yield


_plain_empty, _plain_like = np.empty, np.empty_like


def _empty_floats(shape, dtype=np.float32):
    return poison(_plain_empty(shape, dtype))


def _empty(shape, dtype=float, *rest, **options):
    return poison(_plain_empty(shape, dtype, *rest, **options))


def _empty_like(*arguments, **options):
    out = _plain_like(*arguments, **options)
    return poison(out) if out.flags.c_contiguous else out


def _compiles(function, seen):
    # numba knows np.empty by what it is: where it may compile, that must stay
    if function in seen:
        return False
    seen.add(function)
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if hasattr(value, "py_func"):
            return True
        if isinstance(value, types.FunctionType) and _compiles(value, seen):
            return True
    return False


@contextlib.contextmanager
def _one_thread():
    from minigen.target import numba
    from minigen.threads import count

    before = count()
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(before)
