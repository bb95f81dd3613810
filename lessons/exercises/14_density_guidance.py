"""Exercises of lesson 14; `python lessons/check.py 14` says which are solved."""

import numpy as np


def guided_bell(mean_c, variance_c, mean_u, variance_u, weight) -> tuple:
    """Return mean and variance of p_c^w / p_u^(w-1), of one bell each: two numbers.

    All arguments are numbers; variances are above 0. Where the ratio grows without
    bound, or is flat, there is no bell: return (0.0, 0.0).
    """


def ratio_at(p_c: np.ndarray, p_u: np.ndarray, weight: float, step: float):
    """Return the guided density at n points: float64 (n).

    p_c, p_u: float64 (n), above 0: two densities at points that lie `step` apart.
    Scale the ratio so that its sum times step is 1.
    """


def draw_at(x: np.ndarray, p: np.ndarray, uniform: float) -> float:
    """Return the first point at which the area exceeds a share of the whole.

    x: float64 (n), rising; p: float64 (n), a density there, not scaled. The area up to
    point i is that under straight lines from x[0] to x[i]; the share is `uniform`, from
    0 to less than 1, of the area up to the last point.
    """
