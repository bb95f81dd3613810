"""Atomic operations: read and write one cell in a single step."""

from __future__ import annotations

import operator
from sys import _getframe
from types import SimpleNamespace

from minigen.simt.memory import Watched
from minigen.simt.running import running


def _increment(old, limit):
    return old + 1 if old < limit else 0


def _decrement(old, limit):
    return limit if old == 0 or old > limit else old - 1


def _exchange(old, value):
    return value


def _largest(old, value):
    # a nan stays, and none is stored
    return value if value > old else old


def _smallest(old, value):
    return value if value < old else old


def _largest_number(old, value):
    # of a number and a nan the number
    return value if value > old or old != old else old


def _smallest_number(old, value):
    return value if value < old or old != old else old


_FUNCTIONS = {
    "add": operator.add,
    "sub": operator.sub,
    "and_": operator.and_,
    "or_": operator.or_,
    "xor": operator.xor,
    "inc": _increment,
    "dec": _decrement,
    "exch": _exchange,
    "max": _largest,
    "min": _smallest,
    "nanmax": _largest_number,
    "nanmin": _smallest_number,
}


def _change(array, index, function, frame):
    """Replace a cell by function(cell), unless that is None; return what it was."""
    if isinstance(array, Watched):
        return array.change(index, function, frame)
    old = array[index]
    value = function(old)
    if value is not None:
        array[index] = value
    return old


def _atomic(name, function):
    sums = name in ("add", "sub")

    def atomic(array, index, value):
        machine = running.machine
        machine.interrupt()
        if sums and array.dtype.kind in "fc":
            # their sum depends on who comes first
            machine.unordered = True
        return _change(array, index, lambda old: function(old, value), _getframe(1))

    return atomic


def cas(array, index, old, value):
    """Store `value` if the cell holds `old`; return what it held."""
    running.machine.interrupt()
    found = _change(
        array, index, lambda now: value if now == old else None, _getframe(1)
    )
    running.machine.try_again(found != old)
    return found


def compare_and_swap(array, old, value):
    """As `cas`, on the first cell."""
    first = (0,) * array.ndim
    running.machine.interrupt()
    found = _change(
        array, first, lambda now: value if now == old else None, _getframe(1)
    )
    running.machine.try_again(found != old)
    return found


atomic = SimpleNamespace(
    **{name: _atomic(name, function) for name, function in _FUNCTIONS.items()},
    cas=cas,
    compare_and_swap=compare_and_swap,
)
