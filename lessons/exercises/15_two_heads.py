"""Exercises of lesson 15; `python lessons/check.py 15` says which are solved."""

import numpy as np  # noqa: F401


def mean_before(x, noise, a, before):
    """Return the mean of x after a pass of MAR's head: float64 (n).

    x, noise: float64 (n), what stands there and the noise predicted in it: x is
    sqrt(a) token + sqrt(1 - a) noise. a, before: the share of the token's variance in x
    now, and after the pass (before > a). Of the token that this predicts, and of x, the
    mean takes (1 - a / before) sqrt(before) / (1 - a) and
    (1 - before) sqrt(a / before) / (1 - a).
    """


def guided(noise, between, weight):
    """Return the guided noise, and the variances that are used: float32 (b 1 c) each.

    noise, between: float32 (2b 1 c), for b rows with a class, then the same without.
    Guidance goes from the noise without a class `weight` times as far as to the noise
    with one. Variances are those with a class.
    """
