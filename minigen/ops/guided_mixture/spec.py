"""Specification of a draw from two mixtures under guidance."""

import math

import numpy as np

from minigen.checking.spec import Spec, in_float64
from minigen.checking.tolerance import EPS, FACTOR
from minigen.ops.guided_mixture import reference
from minigen.ops.mixture.spec import GUIDANCE, parameters


def draw_draw_guided(draw):
    """Draw two mixtures (b g) of one feature, uniforms (b), weight and stretch."""
    b, g, seed = *draw.sizes("bg"), draw.seed()
    names = "weights", "means", "logs"
    case = {}
    for i, prefix in enumerate(("", "other_")):
        parts = [part.reshape(b, g) for part in parameters(seed + i, b, g, 1)]
        case |= {f"{prefix}{n}": part for n, part in zip(names, parts, strict=True)}
    case["uniforms"] = np.random.default_rng(seed).random(b, np.float32)
    return case | {
        "weight": draw.among(*GUIDANCE),
        "stretch": draw.among(1.0, 0.7, 1.3),
    }


def draw_guided_errors(
    weights,
    means,
    logs,
    other_weights,
    other_means,
    other_logs,
    uniforms,
    weight,
    stretch,
    result,
):
    """Return how far the distribution function at a result is from its uniform.

    In eps of what moves that function: the powers of the density at the points, off by
    what their terms add up to, each as its stretch has area; and the points, as the
    density changes about them. The result itself may be off by FACTOR eps of its size.
    """
    stretch = max(stretch, reference.COLDEST)
    rows = zip(
        *in_float64(weights, means, logs, other_weights, other_means, other_logs),
        uniforms.astype(np.float64),
        np.asarray(result, np.float64),
        strict=True,
    )
    return np.array([_guided_row(row, weight, stretch) for row in rows])


def _guided_row(row, weight, stretch):
    w, m, v, other_w, other_m, other_v, u, y = row
    if not np.isfinite(y):
        return np.inf
    spread = 2 * math.log(stretch)
    x, size = _sized_points(m, v + spread, other_m, other_v, abs(spread))
    tempered, moved = _sized_log(x, size, w, m, v + spread, abs(spread))
    of_both = (
        _sized_log(x, size, w, m, v),
        _sized_log(x, size, other_w, other_m, other_v),
    )
    ratio = of_both[0][0] - of_both[1][0]
    power = tempered + (weight - 1) * ratio
    moved += abs(weight - 1) * (of_both[0][1] + of_both[1][1] + abs(ratio))
    moved += abs(power) + abs(power.max())
    q = np.exp(power - power.max())
    areas = (q[1:] + q[:-1]) / 2 * np.diff(x)
    total = areas.sum()
    change = np.zeros(x.size)
    change[1:-1] = abs(q[2:] - q[:-2]) / 2
    change[0], change[-1] = (q[0] + q[1]) / 2, (q[-1] + q[-2]) / 2
    allowed = (areas * np.maximum(moved[1:], moved[:-1])).sum() + (size * change).sum()
    allowed = 5 + allowed / total
    before = np.append(0.0, np.cumsum(areas))

    def below(value):
        # the share of the area below a value
        if value < x[0] or value >= x[-1]:
            return float(value >= x[-1])
        i = int(np.searchsorted(x, value, side="right")) - 1
        away = value - x[i]
        slope = (q[i + 1] - q[i]) / (x[i + 1] - x[i])
        return (before[i] + (q[i] + slope * away / 2) * away) / total

    slack = FACTOR * EPS * np.interp(y, x, size)
    return max(below(y - slack) - u, u - below(y + slack), 0.0) / (EPS * allowed)


def _sized_points(means, logs, other_means, other_logs, spread):
    # the sorted points of all components, and of what size what they are made of is
    t = np.linspace(-reference.REACH, reference.REACH, reference.POINTS)

    def of(means, logs, spread):
        away = np.exp(0.5 * logs)[:, None] * t
        size = abs(means)[:, None] + abs(away) * (2 + abs(logs)[:, None] / 2 + spread)
        return (means[:, None] + away).ravel(), size.ravel()

    (here, size), (there, its) = of(means, logs, spread), of(other_means, other_logs, 0)
    low, high = here.min(), here.max()
    its = np.where((there > low) & (there < high), its, size.max())
    x = np.append(here, there.clip(low, high))
    order = np.argsort(x, kind="stable")
    return x[order], np.append(size, its)[order]


def _sized_log(x, size, weights, means, logs, spread=0.0):
    # the logarithm of a mixture at points, and the magnitude of it
    away, precision = x[:, None] - means, np.exp(-logs)
    squares = away * away * precision
    powers = np.log(weights) - 0.5 * (squares + logs)
    highest = powers.max(-1, keepdims=True)
    share = np.exp(powers - highest)
    whole = share.sum(-1)
    moved = 2 * abs(away) * (size[:, None] + abs(means)) * precision
    moved = moved + (2 + abs(logs) + spread) * (1 + squares)
    terms = abs(np.log(weights)) + 0.5 * moved + abs(powers) + abs(highest)
    value = highest[:, 0] + np.log(whole)
    return value, (share * terms).sum(-1) / whole + abs(highest[:, 0]) + 1 + abs(value)


_GUIDED = "weights", "means", "logs", "other_weights", "other_means", "other_logs"

SPECS = (
    Spec(
        "draw_guided",
        draw_draw_guided,
        judge=draw_guided_errors,
        batched=(*_GUIDED, "uniforms"),
        # as many components as ARINAR's mixtures have
        routes=({"b": 1, "g": 4},),
    ),
)
