"""How the exercises of lesson 14 are checked: by integration, and by exact sums."""

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from checks import Exercise

EPS = np.finfo(np.float64).eps

quarters = st.integers(-8, 8).map(lambda n: n / 4)
variances = st.sampled_from([1.0, 0.25, 0.5, 2.0])
weights = st.sampled_from([1.0, 2.0, 3.0, 6.0])


def bell(function, mean_c, variance_c, mean_u, variance_u, weight):
    """The logarithm of the ratio is that of the bell, but for a constant."""
    mean, variance = function(mean_c, variance_c, mean_u, variance_u, weight)
    x = np.arange(-2, 3.0)
    power = (weight - 1) * (x - mean_u) ** 2 / variance_u
    power = (power - weight * (x - mean_c) ** 2 / variance_c) / 2
    curve = np.diff(power, 2)[0]  # the same everywhere: minus one over the variance
    if curve > -1e-9:
        wrong = (mean, variance) != (0, 0)
        return "the ratio has no bound here, or is flat" if wrong else None
    if not variance > 0:
        return f"the variance is {variance}; the ratio is a bell here"
    off = np.ptp(power + (x - mean) ** 2 / variance / 2)
    size = abs(power).max() + ((x - mean) ** 2).max() / variance
    # a root of a rounded number is off by more, if bells nearly cancel
    if not off <= 64 * EPS * size * (1 + weight / variance_c * variance):
        return f"mean {mean}, variance {variance}: the logarithms differ by {off:.2g}"


@st.composite
def pairs(draw):
    """Two densities at a few points, and a weight."""
    n, rng = draw(st.integers(1, 5)), np.random.default_rng(draw(st.integers(0, 99)))
    p_c, p_u = (rng.integers(1, 9, n) / 8 for _ in range(2))
    step = draw(st.sampled_from([1.0, 0.5]))
    return {"p_c": p_c, "p_u": p_u, "weight": draw(weights), "step": step}


def ratio_at(p_c, p_u, weight, step):
    c, u = ([Fraction(v) for v in p] for p in (p_c, p_u))
    w = int(weight)
    ratio = [a**w / b ** (w - 1) for a, b in zip(c, u, strict=True)]
    return np.array([float(r / (sum(ratio) * Fraction(step))) for r in ratio])


@st.composite
def lines(draw):
    """Points, a density of whole numbers, and a share that no area is equal to."""
    n = draw(st.integers(2, 6))
    gaps = [draw(st.integers(1, 3)) for _ in range(n - 1)]
    p = [draw(st.integers(0, 5)) for _ in range(n)]
    p[draw(st.integers(0, n - 1))] += 1
    whole = sum(g * (a + b) for g, a, b in zip(gaps, p, p[1:], strict=False))
    share = (draw(st.integers(0, whole - 1)) + 0.5) / whole
    x = np.cumsum([draw(st.integers(-2, 2)), *gaps]).astype(float)
    return {"x": x, "p": np.array(p, float), "uniform": share}


def draw_at(x, p, uniform):
    areas = [0.0]
    for i in range(1, len(x)):
        areas.append(areas[-1] + (p[i] + p[i - 1]) / 2 * (x[i] - x[i - 1]))
    return next(x[i] for i in range(len(x)) if areas[i] > uniform * areas[-1])


EXERCISES = [
    Exercise(
        "guided_bell",
        {
            "mean_c": quarters,
            "variance_c": variances,
            "mean_u": quarters,
            "variance_u": variances,
            "weight": weights,
        },
        law=bell,
    ),
    # powers of up to 6 + 5, of numbers up to 8
    Exercise(
        "ratio_at",
        pairs(),
        ratio_at,
        lambda p_c, p_u, weight, step: 64 * EPS / step,
    ),
    Exercise("draw_at", lines(), draw_at),
]
