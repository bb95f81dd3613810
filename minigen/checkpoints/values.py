"""The element types of weights, and their values piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import ml_dtypes
import numpy as np

from minigen.errors import CheckpointError

DTYPES = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
}
"""Element types that the models compute with, and that files of ours are written in."""

PIECE = 2**24
"""Bytes of an array that are converted, hashed or written at a time."""


def weight_dtype(name: str, dtype: np.dtype) -> np.dtype:
    """Return the dtype that weight `name` is kept in: its own, float32 for float64."""
    if dtype == np.float64:
        return DTYPES["float32"]
    if dtype not in DTYPES.values():
        raise CheckpointError(
            f"its weight {name} is {dtype}; expected {', '.join(DTYPES)} or float64"
        )
    return dtype


def name_dtype(dtypes: Iterable[np.dtype]) -> str:
    """Return the dtype that all arrays have, "mixed", or "none" where there are none.

    >>> name_dtype([np.dtype("f4"), np.dtype("f4")]), name_dtype([])
    ('float32', 'none')
    """
    kinds = {str(dtype) for dtype in dtypes}
    return "mixed" if len(kinds) > 1 else next(iter(kinds), "none")


def cast(name: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return `array` in another float dtype, rounded to nearest even; NaN stays NaN.

    Raises CheckpointError, naming the weight, where a finite value becomes infinite.
    The two ties here fall on either side:

    >>> print(cast("w", np.float32([1.00390625, 1.01171875]), DTYPES["bfloat16"]))
    [1 1.01562]
    """
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        result = array.astype(dtype)
    lost = np.isinf(result) & np.isfinite(array)
    if lost.any():
        raise CheckpointError(
            f"its weight {name} holds {array[lost][0]}, which is beyond {dtype}; "
            "convert to bfloat16 or float32"
        )
    return result


def not_finite(name: str, array: np.ndarray) -> str:
    """Return how many numbers of a weight are NaN or infinity, and where: "" for none.

    >>> not_finite("head", np.array([[1.0, np.inf], [np.nan, 2.0]]))
    'head holds 2 numbers that are not finite, the first at [0, 1]: inf'
    """
    count, first, rows = 0, None, np.atleast_1d(array)
    if rows.dtype.kind in "iub" or not rows.size:
        return ""
    step = max(1, PIECE // (rows[:1].size * rows.itemsize))
    for start in range(0, len(rows), step):
        # of a NaN that signals, bfloat16 tells in a warning
        with np.errstate(invalid="ignore"):
            finite = np.isfinite(rows[start : start + step])
        if finite.all():
            continue
        if first is None:
            first = np.argwhere(~finite)[0] + [start, *[0] * (rows.ndim - 1)]
        count += int(finite.size - np.count_nonzero(finite))
    if first is None:
        return ""
    numbers = "1 number that is" if count == 1 else f"{count:,} numbers that are"
    at = first.tolist() if array.ndim else []
    return f"{name} holds {numbers} not finite, the first at {at}: {rows[tuple(first)]}"


def pieces(name: str, array: np.ndarray, dtype: np.dtype) -> Iterator[np.ndarray]:
    """Yield the bytes (n) uint8 of `array` in another dtype, about PIECE at a time.

    >>> sum(len(piece) for piece in pieces("w", np.ones((3, 5)), DTYPES["float16"]))
    30
    """
    rows = np.atleast_1d(array)
    if rows.size:
        count = max(1, PIECE // (rows[:1].size * rows.itemsize))
        for first in range(0, len(rows), count):
            piece = cast(name, rows[first : first + count], dtype)
            yield np.ascontiguousarray(piece).reshape(-1).view(np.uint8)
