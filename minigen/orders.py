"""Orders: lists of all positions of a grid, the first to be decoded first.

Position p of a grid of (rows, columns) is row p // columns, column p % columns. Every
order is given the seed of the run; only the random one uses it.
"""

from __future__ import annotations


def raster(rows, columns, seed=0):
    """Row by row, as text is read."""
    return list(range(rows * columns))


def column(rows, columns, seed=0):
    """Column by column."""
    return [y * columns + x for x in range(columns) for y in range(rows)]


def spiral(rows, columns, seed=0):
    """From the centre outwards, turning clockwise."""
    y, x = (rows - 1) // 2, (columns - 1) // 2
    dy, dx = 0, 1
    positions = []
    stride = 1
    while len(positions) < rows * columns:
        # two legs of each length: right then down, left then up
        for _ in range(2):
            begin, end = _inside(y, dy, rows, stride)
            left, right = _inside(x, dx, columns, stride)
            for i in range(max(begin, left), min(end, right)):
                positions.append((y + i * dy) * columns + x + i * dx)
            y, x = y + stride * dy, x + stride * dx
            dy, dx = dx, -dy
        stride += 1
    return positions


def random(rows, columns, seed=0):
    """Every order as likely as any other: a permutation that follows from the seed."""
    # not before it is used: NumPy comes with it
    from minigen import rng

    return rng.permutation(seed, rows * columns).tolist()


def halton(rows, columns, seed=0):
    """Spread out evenly at every moment: the Halton sequence in bases 2 and 3.

    Source: Besnier et al., "Halton scheduler for masked generative image transformer".
    """
    seen = {}
    i = 1
    while len(seen) < rows * columns:
        y, x = int(_radical_inverse(i, 2) * rows), int(_radical_inverse(i, 3) * columns)
        seen.setdefault(y * columns + x)
        i += 1
    return list(seen)


def subsample(rows, columns, seed=0):
    """Coarse to fine: every eighth position each way, then every fourth, and so on."""
    stride = 1 << (max(rows, columns) - 1).bit_length()
    seen = {}
    while stride:
        for y in range(0, rows, stride):
            for x in range(0, columns, stride):
                seen.setdefault(y * columns + x)
        stride //= 2
    return list(seen)


ORDERS = {f.__name__: f for f in (raster, column, spiral, random, halton, subsample)}
"""Every order, by its name."""


def _inside(start, direction, size, stride):
    # which of the steps 0 .. stride - 1 lie in 0 .. size - 1: the first, and the end
    if direction == 0:
        return (0, stride) if 0 <= start < size else (0, 0)
    first, last = -start * direction, (size - 1 - start) * direction
    return max(0, min(first, last)), min(stride, max(first, last) + 1)


def _radical_inverse(i, base):
    value, share = 0.0, 1.0
    while i:
        share /= base
        value += share * (i % base)
        i //= base
    return value
