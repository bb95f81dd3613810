"""Exercises of lesson 10; `python lessons/check.py 10` says which are solved."""

import numpy as np  # noqa: F401


def larger_from(state, layers, width):
    """Return the first token (counted from 1) from which on a cache is larger than a
    state of `state` bytes (an int).

    Each token adds a key and a value to each of `layers` layers. Both are vectors of
    `width` numbers of 4 bytes.
    """
    return state // (2 * 4 * layers * width) + 1


def step(H, A, delta, x, B, C, D):
    """Return y, float32 (p), and the new H, float32 (p s), after a head read one token.

    H: float32 (p s), the matrix before; A (a number below 0) and D: of the head; delta:
    the step of the token; x: float32 (p); B, C: float32 (s).
    """
    H = np.exp(delta * A) * H + delta * np.outer(x, B)
    return H @ C + D * x, H


def left(decays):
    """Return how much of what each token wrote is left in the end: float32 (n h).

    decays: float32 (n h), the share of the matrix of a head that stays when token t is
    read. What token t writes itself is written after that.
    """
    after = np.ones_like(decays)
    after[:-1] = np.cumprod(decays[:0:-1], axis=0)[::-1]
    return after
