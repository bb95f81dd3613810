"""Exercises of lesson 09; `python lessons/check.py 09` says which are solved."""

import numpy as np


def guided(p_class: np.ndarray, p_none: np.ndarray, weight: float) -> np.ndarray:
    """Return the guided probabilities of v tokens: float64 (v), 1 in all.

    p_class, p_none: float64 (v), all above 0: with the class and without. Guidance 1 is
    p_class, 0 is p_none.
    """
    p = p_none * (p_class / p_none) ** weight
    return p / p.sum()


def hotter(p: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities of v tokens at a temperature: float64 (v), 1 in all.

    p: float64 (v), at temperature 1, all above 0 and no two the same. Temperature 0
    takes the likeliest.
    """
    if temperature == 0:
        return (p == p.max()).astype(np.float64)
    powers = p ** (1 / temperature)
    return powers / powers.sum()


def nucleus(p: np.ndarray, top_p: float) -> np.ndarray:
    """Return which of v tokens `top_p` keeps: bool (v).

    p: float64 (v), no two the same. From the likeliest on, a token is kept as long as
    those before it hold at most top_p together: so the one that crosses top_p is kept.
    """
    order = np.argsort(-p)
    before = np.cumsum(p[order]) - p[order]
    kept = np.zeros(len(p), bool)
    kept[order] = before <= top_p
    return kept
