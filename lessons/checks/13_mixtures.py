"""How the exercises of lesson 13 are checked: by the ops that the model calls."""

import math

import numpy as np
from hypothesis import strategies as st

from checks import Exercise, rounding, shaped
from minigen.ops.mixture.reference import draw_component, draw_value, log_density


def with_weights(case):
    """Return a case whose w is made of numbers of any kind: above 0, in all 1."""
    w = np.exp(case["w"])
    return {**case, "w": w / w.sum()}


def mixtures(**others):
    """Return a strategy of mixtures of one to four components, and of others."""
    shapes = {"w": "k", "m": "k", "log_variance": "k"}
    few = {"k": st.integers(1, 4), "n": st.integers(1, 6)}
    return shaped(others | shapes, **few).map(with_weights)


def dense(x, w, m, log_variance):
    """Return the density by the model's op, in float64."""
    parts = (a.astype(float) for a in (w, m, log_variance))
    w, m, log_variance = (a.reshape(1, -1) for a in parts)
    given = x.astype(float).reshape(1, -1, 1), w, m[..., None], log_variance[..., None]
    return np.exp(log_density(*given))[0]


def sensitive(x, w, m, log_variance):
    """Return how far rounding may move a density, over eps: exp multiplies the error
    of a power by the power."""
    away = (x[:, None] - m) ** 2 / np.exp(log_variance)
    powers = (2 * abs(x[:, None]) + 2 * abs(m)) ** 2 / np.exp(log_variance) + away
    bells = np.exp(-away / 2 - log_variance / 2)
    return (w * bells * (4 + powers + abs(log_variance))).sum(1)


def drawn(u, normal, w, m, log_variance, temperature):
    """Return the number by the model's ops."""
    k = draw_component(w[None], np.array([[u]]))
    numbers = m.reshape(1, -1, 1), log_variance.reshape(1, -1, 1)
    normals = np.full((1, 1, 1), normal, np.float32)
    return float(draw_value(k, *numbers, normals, temperature)[0, 0, 0])


def reach(u, normal, w, m, log_variance, temperature):
    """Return the largest magnitude of a term of a draw."""
    deviation = np.exp(log_variance / 2) * (1 + abs(log_variance))
    return (abs(m) + abs(normal) * temperature * deviation).max()


def lengths(densities):
    """Return the bits of a token, one logarithm after the other."""
    tokens = [sum(math.log2(1 / p) for p in token) for token in densities.tolist()]
    return math.fsum(tokens) / len(tokens)


hundredths = st.integers(0, 99).map(lambda k: k / 100)
tenths = st.integers(-30, 30).map(lambda k: k / 10)
temperatures = st.sampled_from((0.3, 1.0, 1.5))
DRAW = mixtures(u=hundredths, normal=tenths, temperature=temperatures)
DENSITIES = shaped({"densities": "n f"}, f=st.integers(1, 5)).map(
    lambda case: {"densities": np.exp(case["densities"].astype(np.float64))}
)
EXERCISES = [
    Exercise("density", mixtures(x="n"), expected=dense, tolerance=rounding(sensitive)),
    Exercise("draw", DRAW, expected=drawn, tolerance=rounding(reach)),
    Exercise("bits", DENSITIES, expected=lengths, tolerance=1e-12),
]
