"""Exercises of lesson 04; `python lessons/check.py 04` says which are solved."""

import numpy as np  # noqa: F401


def score(q, k, p, r, speeds):
    """Return the score (a float) of a query at position p and a key at position r.

    q, k: float32 (n 2), n pairs each; p, r: ints; speeds: float32 (n). At a position
    pair i is turned by the angle position * speeds[i], in radians: (x0, x1) becomes
    (x0 cos - x1 sin, x1 cos + x0 sin). The score is the sum of the products of what the
    query and the key become.
    """


def places(known, rows, columns):
    """Return in how many places of a grid some cells fit (an int).

    known: their positions (p is row p // columns, column p % columns), one at least.
    They may be moved by any number of rows and columns, all together, as long as all
    stay on the grid; not to be moved is one place.
    """


def certain_after(order, rows, columns):
    """Return after how many tokens of an order known cells fit in one place only.

    order: all positions of the grid, as for `places`, a list.
    """
