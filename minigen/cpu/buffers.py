"""Arrays of the CPU kernels: their wrappers flatten, pad and allocate.

A kernel is compiled once for one dtype and layout. The wrapper converts its arguments
to these, and allocates the output. All of it costs microseconds.
"""

from __future__ import annotations

import math
import threading

import numpy as np

from minigen.errors import ShapeError

LARGE = 1 << 20
"""Arrays of at least this many bytes come from a pool, in multiples of this size."""

KEPT = 1 << 28
"""The largest number of bytes in the pool."""

LINE = 64
"""Bytes of a line of a cache."""

PAGE, ROOM = 1 << 21, 1 << 26
"""Bytes of a large page, and of the blocks that weights lie in."""

_POOL: list = []
_FREE: list = []
_TAKING = threading.Lock()

_FLOAT = np.dtype(np.float32)
_KINDS = {"float32": np.float32, "float16": np.int16, "bfloat16": np.uint16}


def empty(shape, dtype=np.float32):
    """Return a new array with undefined contents (tests put poison in it).

    Large ones lie in memory that an earlier one left. Fresh pages from the operating
    system would have to be cleared first, which takes longer than many a kernel that
    fills them.
    """
    dtype = np.dtype(dtype)
    size = (math.prod(shape) if isinstance(shape, tuple) else shape) * dtype.itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    block = _Block(-(-size // LARGE) * LARGE)
    return np.asarray(block)[:size].view(dtype).reshape(shape)


def lasting(shape, dtype):
    """Return a new array for a weight, with undefined contents.

    Weights lie side by side in large blocks: those the operating system can give in
    pages of 2 MiB, and then a processor that reads on and on seldom has to look up
    where the next page is.
    """
    used = math.prod(shape) * np.dtype(dtype).itemsize
    size = -(-used // LINE) * LINE
    with _TAKING:
        if not _FREE or len(_FREE[0]) < size:
            most = max(size, ROOM)
            room = np.empty(most + PAGE, np.uint8)
            _FREE[:] = [room[-room.ctypes.data % PAGE :][:most]]
        taken, _FREE[0] = _FREE[0][:size], _FREE[0][size:]
    return taken[:used].view(dtype).reshape(shape)


class _Block:
    """Memory of an array, which goes back to the pool when no view of it is left."""

    def __init__(self, size):
        self.bytes = _take(size)
        self.__array_interface__ = self.bytes.__array_interface__

    def __del__(self):
        if _kept() + len(self.bytes) <= KEPT:
            _POOL.append(self.bytes)


def _take(size):
    # the block of that size that came back last, or a new one: then the oldest go, so
    # that there is room for it
    with _TAKING:
        for n in reversed(range(len(_POOL))):
            if len(_POOL[n]) == size:
                return _POOL.pop(n)
        while _POOL and _kept() + size > KEPT:
            del _POOL[0]
    # no vector of sixteen numbers lies in two lines of a cache
    room = np.empty(size + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + size]


def _kept():
    return sum(map(len, _POOL))


def floats(array):
    """Return `array` as C-contiguous float32 that can be written to.

    The same object if it is that already. Numba compiles anew for what is read-only,
    such as a small weight in a mapped file, or not aligned: so that is copied.
    """
    if type(array) is np.ndarray and array.dtype is _FLOAT and array.flags.carray:
        return array
    return _own(np.ascontiguousarray(array, np.float32))


def integers(array):
    """Return `array` as C-contiguous int64 that can be written to, likewise."""
    return _own(np.ascontiguousarray(array, np.int64))


def weight(array):
    """Return a weight as kernels read it: float32, or the bits of its two bytes.

    Numba knows neither bfloat16 nor (on CPUs) float16; a bfloat16 arrives as uint16,
    a float16 as int16, and `cpu/tile.py` widens them. The result is read-only, as in a
    mapped file.
    """
    kind = _KINDS.get(array.dtype.name)
    if kind is None:
        raise ShapeError(
            f"a weight has dtype {array.dtype}, expected float32, float16 or bfloat16"
        )
    array = np.require(array, requirements="CA").view(kind)
    array.flags.writeable = False
    return array


def give_back(array, held):
    """Return `array` after what a kernel did in place to `held`, its `floats`.

    Where `held` had to be a copy, its values are written into `array`.
    """
    if held is not array:
        array[...] = held
    return array


def padded(array, *multiples):
    """Return `array` with zeros up to multiples along its last axes, or as it is.

    >>> padded(np.ones((3, 16), np.float32), 2, 16).shape
    (4, 16)
    """
    axes = array.ndim - len(multiples)
    shape = [-(-n // k) * k for n, k in zip(array.shape[axes:], multiples, strict=True)]
    if (*array.shape[:axes], *shape) == array.shape:
        return array
    out = np.zeros((*array.shape[:axes], *shape), array.dtype)
    out[tuple(slice(n) for n in array.shape)] = array
    out.flags.writeable = array.flags.writeable
    return out


def _own(array):
    return array if array.flags.behaved else array.copy()
