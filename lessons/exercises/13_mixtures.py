"""Exercises of lesson 13; `python lessons/check.py 13` says which are solved."""

import numpy as np  # noqa: F401


def density(x, w, m, log_variance):
    """Return the density of a mixture at points x: float32 (n).

    x: float32 (n); w, m, log_variance: float32 (k), the weight, mean and logarithm of
    the variance of each component. The weights add up to one.
    """


def draw(u, normal, w, m, log_variance, temperature):
    """Return a number drawn from a mixture: a float.

    u: a uniform number from 0 to less than 1. It chooses the first component k with
    u < w_0 + ... + w_k, or the last one if rounding leaves none. normal: a number from
    N(0, 1); temperature: the factor of the deviations; w, m, log_variance: as above.
    """


def bits(densities):
    """Return the mean number of bits of a token: a float.

    densities: float64 (n f), the density of each of the f features of n tokens, given
    the features before it.
    """
