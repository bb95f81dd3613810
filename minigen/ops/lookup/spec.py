"""Specifications of what finds the nearest code."""

import numpy as np

from minigen.checking.spec import Spec, absolute, floats
from minigen.checking.tolerance import EPS
from minigen.ops.lookup import reference


def draw_unit(draw):
    """Draw x (n c)."""
    n, c, dtype, seed = *draw.sizes("nc"), draw.dtype(), draw.seed()
    return {"x": floats(seed, n, c, dtype=dtype)}


def unit_magnitude(x):
    """Return |result|: squares do not cancel."""
    return reference.unit(**absolute({"x": x}))


def draw_lookup(draw):
    """Draw z (n c) and codes (k c), integers at times: then there are ties."""
    n, k, c = draw.sizes("nkc")
    dtype, seed, ties = draw.dtype(), draw.seed(), draw.among(False, True)
    z, codes = floats(seed, n, c), floats(seed + 1, k, c)
    if ties:
        z, codes = np.round(z), np.round(codes)
    return {"z": z, "codes": codes.astype(dtype)}


def distances_magnitude(z, codes):
    """Return the terms of the squared distances, none of them cancelling."""
    case = absolute({"z": z, "codes": codes})
    return reference.distances(case["z"], -case["codes"])


def lookup_errors(z, codes, result):
    """Return how much farther the found codes are than the nearest ones.

    In eps of the terms of both distances, as far as rounding can decide between them;
    and infinity where it was a tie that could be seen, and not the lowest index.
    """
    inside = (result >= 0) & (result < len(codes))
    found = np.where(inside, result, 0).astype(np.int64)
    exact = reference.distances(z.astype(np.float64), codes.astype(np.float64))
    size = distances_magnitude(z, codes)
    farther = exact[np.arange(len(z)), found] - exact.min(-1)
    off = farther / (2 * EPS * size.max(-1) + np.finfo(np.float64).tiny)
    # integers have exact distances
    if not (z % 1).any() and not (codes.astype(np.float32) % 1).any():
        off = np.where(found == exact.argmin(-1), off, np.inf)
    return np.where(inside, off, np.inf)


SPECS = (
    Spec("unit", draw_unit, unit_magnitude, batched=("x",)),
    Spec(
        "distances",
        draw_lookup,
        distances_magnitude,
        batched=("z",),
        routes=({"k": 130},),
    ),
    Spec(
        "lookup", draw_lookup, judge=lookup_errors, batched=("z",), routes=({"k": 130},)
    ),
)
