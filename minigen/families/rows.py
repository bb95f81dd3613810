"""Rows of a table of weights: our name, the original's, and the original's shape."""

from __future__ import annotations


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


def rounding(d, f):
    """Return one description of how a width d gives a hidden width f."""
    h = int(2 * (4 * d) / 3)
    for multiple in (256, 128, 64, 32, 16, 8, 4, 2, 1):
        if -(-h // multiple) * multiple == f:
            return {"multiple_of": multiple}
    return {"multiple_of": f, "hidden_multiplier": f / h}
