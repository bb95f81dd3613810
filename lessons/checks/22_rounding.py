"""How the exercises of lesson 22 are checked: bounds of rounding errors."""

import numpy as np
from hypothesis import strategies as st

from checks import Exercise, rounding
from minigen.checking.spec import floats
from minigen.checking.strategies import seeds
from minigen.checking.tolerance import EPS
from minigen.ops.ssd.reference import segment_sums


@st.composite
def values(draw):
    """Draw numbers of all sizes that the exercise names, and powers of two."""
    digits = draw(st.one_of(st.just(1), st.integers(1, 2**24 - 1)))
    sign = draw(st.sampled_from((1, -1)))
    return np.float32(sign * digits * 2.0 ** draw(st.integers(-99, 75)))


@st.composite
def alike(draw):
    """Draw the same number 1 to 20 000 times: its roundings do not cancel."""
    n = draw(st.sampled_from((1, 2, 3, 100, 1000, 20_000)))
    return np.full(n, draw(st.integers(1, 9)) / 10, np.float32)


@st.composite
def uneven(draw):
    """Draw exponents of which the first may be a million times the others."""
    n, large = draw(st.integers(1, 9)), draw(st.sampled_from((1, 1e3, 1e6)))
    e = floats(draw(seeds), n).round(2)
    e[0] *= large
    return e


def adds_in_pairs(function, x):
    """The error is at most half an eps of the sum for each level of pairs."""
    found, exact = function(x), x.astype(np.float64).sum()
    if np.asarray(found).dtype != np.float32:
        return f"the result is {np.asarray(found).dtype}, not float32"
    allowed = (np.ceil(np.log2(len(x))) + 1) * EPS / 2 * exact
    if not abs(float(found) - exact) <= allowed:
        return (
            f"yours: {found}\nin truth: {exact}\noff by {abs(found - exact):.3g}, and "
            f"{allowed:.3g} is allowed"
        )


def sizes(e):
    """Return the sums of the sizes of what each segment adds up, (n n)."""
    found = segment_sums(abs(e[None, None].astype(np.float64)))[0, 0]
    return np.where(np.isinf(found), 0, found)


EXERCISES = [
    Exercise(
        "gap",
        {"value": values()},
        expected=lambda value: float(np.spacing(abs(value))),
    ),
    Exercise("in_pairs", {"x": alike()}, law=adds_in_pairs),
    Exercise(
        "of_segments",
        {"e": uneven()},
        expected=lambda e: segment_sums(e[None, None].astype(np.float64))[0, 0],
        tolerance=rounding(sizes),
    ),
]
