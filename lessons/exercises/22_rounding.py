"""Exercises of lesson 22; `python lessons/check.py 22` says which are solved."""

import numpy as np

EPS = 2.0**-23
"""The distance from 1 to the next larger float32."""


def gap(value):
    """Return the distance from a float32 to the next one that is larger in size.

    value: float32, 1e-30 <= |value| <= 1e30. Do not ask np.spacing or np.nextafter.
    """


def in_pairs(x):
    """Return the sum of x, float32 (n) with n >= 1, as a float32.

    All additions are in float32, and each number goes through at most log2(n) + 1 of
    them. (np.sum is an answer, but write one of your own.)
    """


def of_segments(e):
    """Return the sums of all segments, float32 (n n): [l, m] = e[m+1] + ... + e[l].

    e: float32 (n). Where m > l it is -inf, where m = l it is 0. No segment may lose
    digits to numbers that lie outside of it.
    """
