"""A draw from the guided density of one feature, by inverse distribution function.

Guidance draws from p_T (p_c / p_u)^(weight - 1): the conditional mixture p_c, with its
deviations stretched by a temperature, times a power of how much likelier it makes the
value than the unconditional p_u. The original chooses among 1000 candidates of p_T.
In one dimension there is a shorter way: the density at some hundred points, joined by
straight lines, whose areas are added up until they exceed a uniform number.

The points are those of each component, evenly spread over its reach: so a narrow
component has as many as a wide one. Nothing is drawn beyond the reach of p_T. There the
power may grow without bound, where p_u is the narrower: candidates end there too.

Source: arXiv 2503.02883 (ARINAR), section 3.3, for the density.
"""

from __future__ import annotations

import numpy as np

from minigen.ops.mixture.reference import log_density

REACH, POINTS = 4.0, 65
"""Standard deviations on both sides of a mean, and how many points they get."""

COLDEST = 1e-3
"""The least stretch: a density of points has no area."""


def draw_guided(
    weights,
    means,
    logs,
    other_weights,
    other_means,
    other_logs,
    uniforms,
    weight,
    stretch,
):
    # (b g), (b g), (b g), (b g), (b g), (b g), (b) -> (b)
    """Return one value of each row.

    weights, means, log-variances: of the conditional mixture, then of the other.

    >>> one, nothing = np.ones((1, 1)), np.zeros((1, 1))
    >>> draw_guided(one, nothing, nothing, one, nothing, nothing, np.array([0.5]), 3, 1)
    array([0.])
    """
    stretch = max(stretch, COLDEST)
    stretched = logs + logs.dtype.type(2 * np.log(stretch))
    x = _points(means, stretched, other_means, other_logs)
    conditional = _log(x, weights, means, logs)
    power = _log(x, weights, means, stretched) + (weight - 1) * (
        conditional - _log(x, other_weights, other_means, other_logs)
    )
    q = np.exp(power - power.max(axis=-1, keepdims=True))
    widths = np.diff(x)
    areas = np.cumsum((q[:, 1:] + q[:, :-1]) / 2 * widths, axis=-1)
    target = uniforms * areas[:, -1]
    i = (areas <= target[:, None]).sum(axis=-1).clip(max=areas.shape[1] - 1)
    rows = np.arange(len(x))
    rest = target - np.where(i > 0, areas[rows, i - 1], 0)
    first, last, width = q[rows, i], q[rows, i + 1], widths[rows, i]
    y = x[rows, i] + _under_a_line(rest, first, last, width)
    return y.astype(means.dtype)


def _points(means, logs, other_means, other_logs):
    # the sorted points of all components, none beyond the first mixture's
    t = np.linspace(-REACH, REACH, POINTS)
    flat = len(means), means.shape[1] * POINTS
    here = (means[..., None] + np.exp(0.5 * logs)[..., None] * t).reshape(flat)
    there = other_means[..., None] + np.exp(0.5 * other_logs)[..., None] * t
    ends = here.min(-1, keepdims=True), here.max(-1, keepdims=True)
    there = np.clip(there.reshape(flat), *ends)
    return np.sort(np.concatenate([here, there], axis=-1), axis=-1)


def _log(x, weights, means, logs):
    return log_density(x[..., None], weights, means[..., None], logs[..., None])


def _under_a_line(area, first, last, width):
    # how far one must go under a line from `first` to `last` to cover that area
    slope = (last - first) / np.maximum(width, np.finfo(width.dtype).tiny)
    root = np.sqrt(np.maximum(first * first + 2 * area * slope, 0))
    total = np.maximum(first + root, np.finfo(width.dtype).tiny)
    return np.minimum(2 * area / total, width)
