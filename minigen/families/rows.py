"""Rows of a table of weights: our name, the original's, and the original's shape."""

from __future__ import annotations

import math


def pair(ours, upstream, shape):
    """Yield the rows of a weight and its bias, which has the weight's first axis."""
    yield f"{ours}.w", f"{upstream}.weight", shape
    yield f"{ours}.bias", f"{upstream}.bias", shape[:1]


def conv(ours, upstream, f, c, kernel):
    """Yield the rows of a convolution from c to f channels."""
    yield from pair(ours, upstream, (f, c, kernel, kernel))


def prefixed(rows, ours, upstream):
    """Yield rows, our names and the original's each behind a prefix."""
    for here, there, shape in rows:
        yield f"{ours}{here}", f"{upstream}{there}", shape


def count(shapes, pattern):
    """Return how many names there are of a pattern with a number in it, from 0 on."""
    i = 0
    while pattern.format(i) in shapes:
        i += 1
    return i


def rounding(d, f, told):
    """Return one description of how a width d gives a hidden width f.

    told: fields of it that somebody told.
    """
    said = {n: told[n] for n in ("multiple_of", "hidden_multiplier") if n in told}
    h = int((said.get("hidden_multiplier") or 1) * int(2 * (4 * d) / 3))
    if "multiple_of" in said:
        return said
    for multiple in (256, 128, 64, 32, 16, 8, 4, 2, 1):
        if -(-h // multiple) * multiple == f:
            return {"multiple_of": multiple, **said}
    return {"multiple_of": f, "hidden_multiplier": f / h, **said}


def factor(*pairs):
    """Return the least number r, an integer if it can be, for which int(r d) is f.

    pairs: of d and f, or of several widths that have the same r.

    >>> factor((24, 96)), factor((49, 1)), factor((32, 85), (48, 128))
    (4.0, 0.020408163265306124, 2.6666666666666665)
    """
    least = max(f / d for d, f in pairs)
    for r in (float(int(least)), least, math.nextafter(least, math.inf)):
        if all(int(r * d) == f for d, f in pairs):
            return r
    raise ValueError(f"no factor of {pairs}")


def heads(width, unit=1):
    """Return how many heads a width has by the rule: 64 numbers a head, or more.

    unit: what the numbers of a head must be a multiple of.

    >>> heads(768), heads(200, unit=4), heads(48)
    (12, 2, 1)
    """
    counts = range(max(1, width // 64), 0, -1)
    return next((h for h in counts if width % (h * unit) == 0), 1)
