"""Patterns of wrong numbers, each with a hint where to look for the mistake.

Each function returns a hint, or nothing if the numbers have not its pattern.
"""

from __future__ import annotations

import numpy as np

from minigen.checking.spec import is_floating


def appearance(case, result, expected, wrong) -> str:
    """Return the first hint that fits, or nothing. wrong: a mask of the wrong cells.

    >>> given, wanted = np.array([7, 44]), np.array([7, 300])
    >>> appearance({}, given, wanted, given != wanted).partition(":")[0]
    'each is off by a multiple of 256'
    """
    result, expected = np.asarray(result), np.asarray(expected)
    if {result.dtype.kind, expected.dtype.kind} <= {*"iu"}:
        word = _whole(result[wrong], expected[wrong])
        if word:
            return word
    result, expected = result.astype(np.float64), expected.astype(np.float64)
    for look in (_not_a_number, _from_here_on, _moved, _factor, _some_rows, _slight):
        word = look(case, result, expected, wrong)
        if word:
            return word
    return ""


def _whole(result, expected):
    # integers, in all their bits
    off = [int(one) - int(other) for one, other in zip(result, expected, strict=True)]
    for bits in (32, 16, 8):
        if all(one % 2**bits == 0 for one in off):
            return (
                f"each is off by a multiple of {2**bits}: is a number kept in {bits} "
                "bits on its way, or without its sign?"
            )
    if all(one == 1 for one in off) and (expected < 0).all():
        return "each is below 0 and too large by 1: a cast cuts off, floor rounds down"
    return ""


def _not_a_number(case, result, expected, wrong):
    if np.isfinite(result[wrong]).all():
        return ""
    for name, array in case.items():
        if is_floating(array) and array.ndim > 1 and array.size:
            highest = array.astype(np.float64).max(-1)
            if (highest < -87).any():
                return (
                    f"a row of {name} is below -87 everywhere, where exp is 0 in "
                    "float32: does a maximum start from 0? Start it from -inf"
                )
    largest = max(
        (np.nanmax(abs(a.astype(np.float64))) for a in case.values() if is_floating(a)),
        default=0.0,
    )
    if largest > 88:
        return (
            f"inputs reach {largest:.0f}, and exp overflows float32 above 88: take exp "
            "of what is at most 0"
        )
    return "NaN or infinity comes from a division by zero, or from what is no number"


def _from_here_on(case, result, expected, wrong):
    for axis in range(wrong.ndim - 1, -1, -1):
        others = tuple(i for i in range(wrong.ndim) if i != axis)
        indices = np.flatnonzero(wrong.any(others))
        first = int(indices[0])
        if first > 0 and len(indices) > 0.75 * (wrong.shape[axis] - first):
            which = "the last axis" if axis == wrong.ndim - 1 else f"axis {axis}"
            return (
                f"along {which} all is right before {first}, and wrong from there on: "
                "is the rest after whole blocks left out?"
            )
    return ""


def _moved(case, result, expected, wrong):
    if np.count_nonzero(wrong) < 2 or len(np.unique(expected)) < 3:
        return ""
    if np.allclose(result, expected, rtol=1e-3, atol=1e-30):
        return ""
    given, wanted = np.sort(result.ravel()), np.sort(expected.ravel())
    if np.allclose(given, wanted, rtol=1e-5, atol=1e-30):
        return (
            "the numbers are the right ones in the wrong places: is an index swapped?"
        )
    return ""


def _factor(case, result, expected, wrong):
    use = (expected != 0) & np.isfinite(result) & wrong
    if np.count_nonzero(use) < 2:
        return ""
    ratio = result[use] / expected[use]
    if np.ptp(ratio) < 1e-5 * abs(ratio).max():
        if abs(ratio[0] - 1) < 1e-3:
            return f"each is off by the same part of itself, {abs(ratio[0] - 1):.1e}"
        return (
            f"each is {ratio[0]:.6g} times what was expected: is a sum incomplete, or "
            "a factor wrong?"
        )
    last = np.argwhere(use)[:, :-1]
    by_row = {}
    for row, value in zip(map(tuple, last), ratio, strict=True):
        by_row.setdefault(row, []).append(value)
    rows = [v for v in by_row.values() if len(v) > 1]
    if rows and all(np.ptp(v) < 1e-5 * max(map(abs, v)) for v in rows):
        return (
            "in each row all are off by the same factor: is a sum over the row "
            "incomplete?"
        )
    return ""


def _some_rows(case, result, expected, wrong):
    if wrong.ndim < 2:
        return ""
    rows = wrong.reshape(-1, wrong.shape[-1]).any(-1)
    if rows.all() or len(rows) < 2:
        return ""
    named = ", ".join(map(str, np.flatnonzero(rows)[:5]))
    more = ", ..." if rows.sum() > 5 else ""
    return f"only in rows {named}{more} of {len(rows)}"


def _slight(case, result, expected, wrong):
    size = np.maximum(abs(expected), 1e-30)
    if (abs(result - expected) < 1e-3 * size).all():
        return "all are nearly right: a rounding too many, or a small term misplaced?"
    return ""
