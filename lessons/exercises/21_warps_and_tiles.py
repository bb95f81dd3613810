"""Exercises of lesson 21; `python lessons/check.py 21` says which are solved."""

import numpy as np
from numba import cuda

ALL = 0xFFFFFFFF
"""The mask of all 32 lanes, for shuffles such as cuda.shfl_xor_sync(ALL, value, 16)."""


def sectors(cells):
    """Return how many sectors of 32 bytes hold the float32 cells of an array (an int).

    cells: int64 (n), places in the array, which begins where a sector begins.
    """


def answers(cells):
    """Return how often the slowest bank of shared memory must answer (an int).

    cells: int64 (n), places in a float32 array, which begins at bank 0. Place i lies in
    bank i % 32. A bank answers once for each different place that it is asked for.
    """


def warp_max():
    """Return a kernel (x, y) in which each lane of one warp writes max(x) to its cell.

    x, y: float32 (32). Neither shared memory nor a barrier may be used, and each cell
    of x may be read once.
    """
