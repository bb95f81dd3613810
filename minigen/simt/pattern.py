"""The pattern of uninitialised memory.

On a GPU new memory holds what was there before, often zeros, so a kernel that forgets
to write may pass its tests. Here it holds bits that no computation
makes by chance: a NaN with a payload of its own, or an odd integer.
"""

from __future__ import annotations

import numpy as np

# as text, so that no tool that draws test values from the numbers in a source can meet
# them; as bits of a bfloat16 the one of uint16 is a NaN too
_PATTERNS = {
    "f2": "7ead",
    "f4": "7fc0dead",
    "f8": "7ff8deadbeefdead",
    "i2": "7fad",
    "i4": "6baddead",
    "i8": "6baddeadbeefdead",
    "u2": "7fad",
    "u4": "ebaddead",
    "u8": "ebaddeadbeefdead",
}


def _pattern(dtype):
    text = _PATTERNS.get(f"{dtype.kind}{dtype.itemsize}")
    return None if text is None else int(text, 16)


def as_dtype(kind):
    """Return the NumPy dtype of a dtype, a NumPy scalar type, or a Numba type."""
    if isinstance(kind, type):
        # what nearly all kernels say, as each thread makes its arrays
        return np.dtype(kind)
    if type(kind).__module__.startswith("numba"):
        if isinstance(getattr(kind, "dtype", None), np.dtype):
            # of records
            return kind.dtype
        name = str(kind)
        return np.dtype("bool" if name.startswith("bool") else name)
    return np.dtype(kind)


def poison(array):
    """Fill an array in place with the pattern of its dtype; return it.

    Single bytes have no pattern (every value of theirs is an ordinary one) and are
    filled with 0xad.

    >>> array = poison(np.zeros(2, np.float32))
    >>> np.isnan(array).tolist(), is_poison(array).tolist()
    ([True, True], [True, True])
    """
    pattern = _pattern(array.dtype)
    if pattern is None:
        array.view(np.uint8)[...] = 0xAD
    else:
        array.view(f"u{array.dtype.itemsize}")[...] = pattern
    return array


def is_poison(array):
    """Return which cells still hold the pattern, as booleans of the array's shape.

    >>> array = poison(np.empty(3, np.int32))
    >>> array[1] = 7
    >>> is_poison(array).tolist()
    [True, False, True]
    """
    pattern = _pattern(array.dtype)
    if pattern is None:
        return np.zeros(array.shape, np.bool_)
    return array.view(f"u{array.dtype.itemsize}") == pattern


def fresh(shape, dtype):
    """Return a new array that holds nothing but the pattern."""
    return poison(np.empty(shape, dtype))
