"""Orders: lists of positions of a grid, the first to be decoded first.

Position p of a grid of (rows, columns) is row p // columns, column p % columns. Every
order is called with rows, columns, the seed of the run, the known positions and the
number of tokens of each step; most of them need rows and columns only, and leave the
others in `_`. A list holds every unknown position once; known ones are skipped.
"""

from __future__ import annotations

import math


def raster(rows, columns, *_):
    """Row by row, as text is read.

    >>> raster(2, 3)
    [0, 1, 2, 3, 4, 5]
    """
    return list(range(rows * columns))


def column(rows, columns, *_):
    """Column by column.

    >>> column(2, 3)
    [0, 3, 1, 4, 2, 5]
    """
    return [y * columns + x for x in range(columns) for y in range(rows)]


def spiral(rows, columns, *_):
    """From the centre outwards, turning clockwise.

    >>> spiral(3, 3)
    [4, 5, 8, 7, 6, 3, 0, 1, 2]
    """
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


def random(rows, columns, seed=0, *_):
    """Every order as likely as any other: a permutation that follows from the seed.

    >>> random(2, 3, seed=1) == random(2, 3, seed=1)
    True
    >>> sorted(random(2, 3, seed=1))
    [0, 1, 2, 3, 4, 5]
    """
    # not before it is used: NumPy comes with it
    from minigen import rng

    return rng.permutation(seed, rows * columns).tolist()


def halton(rows, columns, *_):
    """Spread out evenly at every moment: the Halton sequence in bases 2 and 3.

    Source: Besnier et al., "Halton scheduler for masked generative image transformer".

    >>> halton(4, 4)[:4]  # in the rows 2, 1, 3 and 0
    [9, 6, 12, 1]
    """
    seen = {}
    i = 1
    while len(seen) < rows * columns:
        y, x = int(_radical_inverse(i, 2) * rows), int(_radical_inverse(i, 3) * columns)
        seen.setdefault(y * columns + x)
        i += 1
    return list(seen)


def subsample(rows, columns, *_):
    """Coarse to fine: every eighth position each way, then every fourth, and so on.

    >>> subsample(4, 4)[:4]  # every second position each way, then all
    [0, 2, 8, 10]
    """
    stride = 1 << (max(rows, columns) - 1).bit_length()
    seen = {}
    while stride:
        for y in range(0, rows, stride):
            for x in range(0, columns, stride):
                seen.setdefault(y * columns + x)
        stride //= 2
    return list(seen)


def border(rows, columns, *_):
    """Rings, from the rim inwards: of each its corners, then the cells between them.

    The corners: top left and its opposite, top right and its opposite. The cells of a
    ring are numbered clockwise from the top left, and come in the order of the van der
    Corput sequence in base 2, which halves the widest gaps: neighbours come late.

    >>> border(3, 3)
    [0, 8, 2, 6, 1, 7, 5, 3, 4]
    """
    seen = {}
    for top in range((min(rows, columns) + 1) // 2):
        left, bottom, right = top, rows - 1 - top, columns - 1 - top
        corners = (top, left), (bottom, right), (top, right), (bottom, left)
        ring = [(top, x) for x in range(left, right)]
        ring += [(y, right) for y in range(top, bottom)]
        ring += [(bottom, x) for x in range(right, left, -1)]
        ring += [(y, left) for y in range(bottom, top, -1)]
        halves = (_radical_inverse(i, 2) for i in range(2 * len(ring)))
        spread = [ring[int(share * len(ring))] for share in halves]
        for y, x in (*corners, *spread):
            seen.setdefault(y * columns + x)
    return list(seen)


def locality(rows, columns, seed=0, known=(), counts=()):
    """Close to what is known, and far from each other in a step (LPD).

    counts: tokens of each step, if not given one. The score of a cell is the sum of 1 /
    distance of the known ones among its eight neighbours. A step takes cells of a score
    of at least 1, the highest first, but none beside another of this step. If these are
    too few, it goes on with the cell whose nearest of this step is farthest. Which of
    equals is first follows from the seed. The time grows with cells times steps.

    Source: "Locality-aware parallel decoding" (arXiv 2507.01957) and its code, with
    both thresholds 1, as there; the random numbers are ours.

    >>> order = locality(1, 5, known=[2], counts=[2, 2])  # beside the known one first
    >>> sorted(order[:2]), sorted(order[2:])
    ([1, 3], [0, 4])
    """
    import numpy as np

    from minigen import rng

    n = rows * columns
    ys, xs = np.divmod(np.arange(n), columns)
    # a frame around the grid, so that every cell has eight neighbours
    seen = np.zeros((rows + 2, columns + 2))
    for p in known:
        seen[ys[p] + 1, xs[p] + 1] = 1
    order = []
    for step, count in enumerate(counts or (1,) * (n - len(known))):
        if not count:
            continue
        straight = seen[:-2, 1:-1] + seen[2:, 1:-1] + seen[1:-1, :-2] + seen[1:-1, 2:]
        diagonal = seen[:-2, :-2] + seen[:-2, 2:] + seen[2:, :-2] + seen[2:, 2:]
        score = (straight + diagonal / math.sqrt(2)).ravel()
        cells = rng.permutation(seed, n, step=step)
        cells = cells[seen[ys[cells] + 1, xs[cells] + 1] == 0]
        near = cells[np.argsort(-score[cells], kind="stable")]
        beside, group = np.zeros_like(seen), []
        for p in near[: np.count_nonzero(score[cells] >= 1)]:
            if len(group) < count and not beside[ys[p] + 1, xs[p] + 1]:
                beside[ys[p] : ys[p] + 3, xs[p] : xs[p] + 3] = 1
                group.append(p)
        nearest = np.full(n, np.inf)
        for i in range(count):
            if i == len(group):
                group.append(cells[np.argmax(nearest[cells])])
            p = group[i]
            nearest = np.minimum(nearest, (ys - ys[p]) ** 2 + (xs - xs[p]) ** 2)
        seen[ys[group] + 1, xs[group] + 1] = 1
        order += group
    return [int(p) for p in order]


def random_each(rows, columns, seed, image):
    """A random order of one image, which follows from the seed and its number.

    >>> one, other = random_each(4, 4, 0, image=0), random_each(4, 4, 0, image=1)
    >>> one == other, sorted(one) == sorted(other)
    (False, True)
    """
    from minigen import rng

    return rng.permutation(seed, rows * columns, image=image).tolist()


ORDERS = {
    f.__name__: f
    for f in (raster, column, spiral, random, halton, subsample, border, locality)
}
"""Every order that is the same for all images of a run, by its name."""

PER_IMAGE = ("random-each", "confidence")
"""Orders whose positions differ from image to image: `Plan.per_image` names them."""


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
