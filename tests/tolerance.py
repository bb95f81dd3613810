"""The tolerance of the property tests: that of `minigen check`."""

import numpy as np

from minigen.checking.tolerance import *  # noqa: F403
from minigen.checking.tolerance import FACTOR, errors


def worst(result, expected, magnitude) -> float:
    """Return the largest |result - expected| in units of eps32 * magnitude."""
    result = np.asarray(result, np.float64)
    assert result.shape == np.shape(expected), (result.shape, np.shape(expected))
    assert np.isfinite(result).all(), "the result holds NaN or infinity"
    return float(np.max(errors(result, expected, magnitude), initial=0.0))


def assert_close(result, expected, magnitude) -> None:
    """Assert |result - expected| <= 4 eps32 * magnitude everywhere."""
    ratio = worst(result, expected, magnitude)
    assert ratio <= FACTOR, (
        f"off by {ratio:.1f} eps32 of the magnitude, allowed {FACTOR}"
    )


def assert_same(result, expected) -> None:
    """Assert equality bit for bit, of shape, dtype and every element."""
    result, expected = np.asarray(result), np.asarray(expected)
    assert result.dtype == expected.dtype, (result.dtype, expected.dtype)
    assert result.shape == expected.shape, (result.shape, expected.shape)
    same = result.tobytes() == expected.tobytes()
    where = np.argwhere(~((result == expected) | (result != result)))[:3].tolist()
    assert same, f"not the same bits, first at {where}"
