"""What a kernel does about an index out of range, and a number that is not finite.

It sets a bit of `flag` (1) int64, the word of a device that says what went wrong
(`minigen/flags.py`). Threads may do so together, so it is done by an atomic; and only
then, so a run in which all is well never touches the word.
"""

from __future__ import annotations

import math

import numpy as np

from minigen import flags
from minigen.target import cuda, gpu_inline

_BAD_INDEX = np.int64(flags.BAD_INDEX)
_NOT_FINITE = np.int64(flags.NOT_FINITE)
_BAD_UNIFORM = np.int64(flags.BAD_UNIFORM)


@gpu_inline
def inside(index, n, flag):
    """Say whether an index is one of 0 .. n - 1; set the flag if it is not."""
    if index >= 0 and index < n:
        return True
    cuda.atomic.or_(flag, 0, _BAD_INDEX)
    return False


@gpu_inline
def finite(x, flag):
    """Say whether a float32 is a finite number; set the flag if it is not."""
    if math.isfinite(x):
        return True
    cuda.atomic.or_(flag, 0, _NOT_FINITE)
    return False


@gpu_inline
def refuse(flag):
    """Set the flag: something cannot be drawn of these numbers."""
    cuda.atomic.or_(flag, 0, _NOT_FINITE)


@gpu_inline
def inside_unit(u, flag):
    """Return a uniform that lies in 0 .. 1; 0 for any other, and set the flag."""
    if u >= np.float32(0) and u <= np.float32(1):
        return u
    cuda.atomic.or_(flag, 0, _BAD_UNIFORM)
    return np.float32(0)
