"""What the wrappers of the CPU kernels do to arrays: check, flatten, allocate.

A kernel is compiled once for one dtype and layout; the wrapper brings its arguments
there and allocates the output. All of it costs microseconds.
"""

from __future__ import annotations

import numpy as np

from minigen.errors import ShapeError

_BITS = {"float32": None, "float16": np.uint16, "bfloat16": np.uint16}


def empty(shape, dtype=np.float32):
    """Return a new array with undefined contents (tests put poison in it)."""
    return np.empty(shape, dtype)


def floats(array, ndim=None):
    """Return `array` as C-contiguous float32, the same object if it is that already."""
    if ndim is not None and array.ndim != ndim:
        raise ShapeError(f"expected an array of {ndim} axes, got shape {array.shape}")
    return np.ascontiguousarray(array, np.float32)


def integers(array):
    """Return `array` as C-contiguous int64, the same object if it is that already."""
    return np.ascontiguousarray(array, np.int64)


def expect(name, array, shape):
    """Raise ShapeError unless `array` has exactly `shape`."""
    if array.shape != shape:
        raise ShapeError(f"{name} has shape {array.shape}, expected {shape}")


def weight(array):
    """Return a weight as kernels read it: float32, or the bits of its two bytes.

    Numba knows neither bfloat16 nor (on CPUs) float16, so both arrive as uint16.
    """
    if array.dtype == np.float32:
        return np.ascontiguousarray(array)
    bits = _BITS.get(array.dtype.name)
    if bits is None:
        raise ShapeError(
            f"a weight has dtype {array.dtype}, expected float32, float16 or bfloat16"
        )
    return np.ascontiguousarray(array).view(bits)
