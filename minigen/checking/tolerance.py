"""One tolerance for every op: |result - reference64| <= 4 eps32 * magnitude.

The magnitude of an output is the sum of the absolute values of its terms:
`reference64(|inputs|)` for an op that is linear in each input. Float32 rounding moves
the result by at most a few eps32 of that, whatever the signs. Where an input enters
through a function (a softmax, a mean that is subtracted), the specification of the op
derives the magnitude from how far one eps32 of each input moves the output.
"""

from __future__ import annotations

import numpy as np

EPS = 2.0**-23
"""The spacing of float32 numbers just above one."""

TINY = 2.0**-126
"""The smallest normal float32: below it, flushing to zero is allowed."""

FACTOR = 4.0
"""The one constant: never raised to make a test pass."""


def errors(result, expected, magnitude) -> np.ndarray:
    """Return |result - expected| in units of eps32 * magnitude, for every element.

    The error is infinite if the result is NaN or infinite and should not be. Integers
    that differ are off by one at least, however large they are.
    """
    given, wanted = np.asarray(result), np.asarray(expected)
    assert given.shape == wanted.shape, (given.shape, wanted.shape)
    result, expected = given.astype(np.float64), wanted.astype(np.float64)
    allowed = EPS * np.asarray(magnitude, np.float64) + TINY
    least = 0.0 if "f" in given.dtype.kind + wanted.dtype.kind else 1.0
    with np.errstate(invalid="ignore"):
        off = np.maximum(np.abs(result - expected), least) / allowed
    off = np.where(np.isfinite(result), off, np.inf)
    return np.where(given == wanted, 0.0, off)
