"""Exercises of lesson 22; `python lessons/check.py 22` says which are solved."""

import numpy as np

EPS = 2.0**-23
"""The distance from 1 to the next larger float32."""


def gap(value):
    """Return the distance from a float32 to the next one that is larger in size.

    value: float32, 1e-30 <= |value| <= 1e30. Do not ask np.spacing or np.nextafter.
    """
    # the largest power of two that is not above |value|
    _, exponent = np.frexp(abs(value))
    return EPS * 2.0 ** (int(exponent) - 1)


def in_pairs(x):
    """Return the sum of x, float32 (n) with n >= 1, as a float32.

    All additions are in float32, and each number goes through at most log2(n) + 1 of
    them. (np.sum is an answer, but write one of your own.)
    """
    if len(x) == 1:
        return x[0]
    half = len(x) // 2
    return np.float32(in_pairs(x[:half]) + in_pairs(x[half:]))


def of_segments(e):
    """Return the sums of all segments, float32 (n n): [l, m] = e[m+1] + ... + e[l].

    e: float32 (n). Where m > l it is -inf, where m = l it is 0. No segment may lose
    digits to numbers that lie outside of it.
    """
    sums = np.full((len(e), len(e)), -np.inf, np.float32)
    for m in range(len(e)):
        sums[m, m] = 0
        sums[m + 1 :, m] = np.cumsum(e[m + 1 :])
    return sums
