"""Exercises of lesson 05; `python lessons/check.py 05` says which are solved."""

import numpy as np  # noqa: F401


def diagonals(rows, columns):
    """Return an order along the diagonals of a grid: a list of all its positions.

    Position p is row p // columns, column p % columns. Cells whose row and column have
    the smaller sum come first; of those with the same sum, the one in the upper row.
    """
    cells = [(y + x, y, x) for y in range(rows) for x in range(columns)]
    return [y * columns + x for _, y, x in sorted(cells)]


def step_of(groups, rows, columns):
    """Return the step that draws each cell: an int array (rows columns).

    groups: the positions of each step, a tuple of tuples; every cell is in one of them.
    """
    steps = np.empty(rows * columns, int)
    for step, group in enumerate(groups):
        steps[list(group)] = step
    return steps.reshape(rows, columns)


def nearest(groups, columns):
    """Return for each step how near its two nearest cells are: an int array (s).

    groups: the positions of each of s steps. Two cells are as far apart as the larger
    of the differences of their rows and of their columns, so neighbours are 1 apart. A
    step of one cell has 0.
    """
    found = []
    for group in groups:
        y, x = np.divmod(group, columns)
        apart = np.maximum(abs(y[:, None] - y), abs(x[:, None] - x))
        pairs = apart[np.triu_indices(len(group), 1)]
        found.append(pairs.min() if pairs.size else 0)
    return np.array(found)
