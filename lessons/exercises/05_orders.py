"""Exercises of lesson 05; `python lessons/check.py 05` says which are solved."""

import numpy as np  # noqa: F401


def diagonals(rows, columns):
    """Return an order along the diagonals of a grid: a list of all its positions.

    Position p is row p // columns, column p % columns. Cells whose row and column have
    the smaller sum come first; of those with the same sum, the one in the upper row.
    """


def step_of(groups, rows, columns):
    """Return the step that draws each cell: an int array (rows columns).

    groups: the positions of each step, a tuple of tuples; every cell is in one of them.
    """


def nearest(groups, columns):
    """Return for each step how near its two nearest cells are: an int array (s).

    groups: the positions of each of s steps. Two cells are as far apart as the larger
    of the differences of their rows and of their columns, so neighbours are 1 apart. A
    step of one cell has 0.
    """
