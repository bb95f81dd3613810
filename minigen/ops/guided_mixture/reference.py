"""A draw from the guided density of one feature, by inverse distribution function.

Guidance draws from p_T (p_c / p_u)^(weight - 1). Here p_c and p_u are the conditional
and the unconditional mixture, and p_T is p_c with its deviations multiplied by a
temperature. The original chooses among 1000 candidates drawn from p_T. In one dimension
this is simpler: evaluate the density at some hundred points, interpolate linearly, and
add up areas until they exceed a uniform number.

Every component has the same number of points, evenly spaced around its mean: so a
narrow component is sampled as well as a wide one. Nothing is drawn beyond the points of
p_T. The power may grow without bound there if p_u is the narrower one; candidates do
not lie there either.

Source: arXiv 2503.02883 (ARINAR), section 3.3, for the density.
"""

from __future__ import annotations

import numpy as np

from minigen.errors import NotFiniteError
from minigen.ops.draw.reference import _expect_shares, _expect_weights
from minigen.ops.mixture.reference import log_density

REACH, POINTS = 4.0, 65
"""How far the points reach on both sides of a mean, in deviations, and their number."""

COLDEST = 1e-3
"""The smallest stretch: a density of width 0 has no area."""

FARTHEST, NARROWEST, WIDEST = 1e15, -87.0, 80.0
"""The size of a mean, and the log-variances (stretched or not), within which all that a
draw works out has a place in float32. Mixtures beyond are refused on every backend."""

LARGEST = float(np.finfo(np.float32).max)
"""The same of powers."""


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
    """(b g), (b g), (b g), (b g), (b g), (b g), (b) -> (b)

    Return one value of each row.

    The arrays are weights, means and log-variances of the conditional mixture, then of
    the unconditional one, then uniforms. Raises NotFiniteError for mixtures that are
    not finite, or too large or small for float32, and InputError for a uniform outside
    of 0 .. 1.

    >>> one, nothing = np.ones((1, 1)), np.zeros((1, 1))
    >>> draw_guided(one, nothing, nothing, one, nothing, nothing, np.array([0.5]), 3, 1)
    array([0.])
    """
    stretch = max(stretch, COLDEST)
    _expect_mixture(weights, means, logs, 2 * np.log(stretch))
    _expect_mixture(other_weights, other_means, other_logs, 0.0)
    _expect_shares(uniforms)
    stretched = logs + logs.dtype.type(2 * np.log(stretch))
    x = _points(means, stretched, other_means, other_logs)
    conditional = _log(x, weights, means, logs)
    power = _log(x, weights, means, stretched) + (weight - 1) * (
        conditional - _log(x, other_weights, other_means, other_logs)
    )
    highest = power.max(axis=-1, keepdims=True)
    q = np.exp(power - highest)
    widths = np.diff(x)
    areas = np.cumsum((q[:, 1:] + q[:, :-1]) / 2 * widths, axis=-1)
    _expect_density(areas[:, -1], abs(power).max(axis=-1))
    target = uniforms * areas[:, -1]
    i = (areas <= target[:, None]).sum(axis=-1).clip(max=areas.shape[1] - 1)
    rows = np.arange(len(x))
    rest = target - np.where(i > 0, areas[rows, i - 1], 0)
    first, last, width = q[rows, i], q[rows, i + 1], widths[rows, i]
    y = x[rows, i] + _under_a_line(rest, first, last, width)
    return y.astype(means.dtype)


def _expect_mixture(weights, means, logs, spread):
    """Raise NotFiniteError unless float32 has room for a mixture (b g).

    spread: what the logarithms of its variances grow by.
    """
    _expect_weights(weights)
    given = np.stack([logs, logs + spread])
    near = (abs(means) <= FARTHEST).all()
    if not (near and (given >= NARROWEST).all() and (given <= WIDEST).all()):
        raise NotFiniteError(
            f"a mixture has a mean beyond {FARTHEST:g}, or a log-variance outside "
            f"{NARROWEST:g} .. {WIDEST:g}, or NaN"
        )


def _expect_density(areas, highest):
    """Raise NotFiniteError unless densities have an area, and float32 their powers.

    areas: of all rows; highest: the size of the largest power of each.
    """
    if not (np.isfinite(areas).all() and (highest <= LARGEST).all()):
        raise NotFiniteError("a guided density is too large, or too small, for float32")


def _points(means, logs, other_means, other_logs):
    # the sorted points of all components, none beyond the first mixture's
    t = np.linspace(-REACH, REACH, POINTS)
    flat = len(means), means.shape[1] * POINTS  # the points of all components: (b n)
    here = (means[..., None] + np.exp(0.5 * logs)[..., None] * t).reshape(flat)
    there = other_means[..., None] + np.exp(0.5 * other_logs)[..., None] * t
    ends = here.min(-1, keepdims=True), here.max(-1, keepdims=True)
    there = np.clip(there.reshape(flat), *ends)
    return np.sort(np.concatenate([here, there], axis=-1), axis=-1)


def _log(x, weights, means, logs):
    y = log_density(x[..., None], weights, means[..., None], logs[..., None])
    # in float32 that is -inf, and there is no ratio of two of them
    return np.where(y < -LARGEST, y.dtype.type(np.nan), y)


def _under_a_line(area, first, last, width):
    # how far one must go under a line from `first` to `last` to cover that area
    slope = (last - first) / np.maximum(width, np.finfo(width.dtype).tiny)
    root = np.sqrt(np.maximum(first * first + 2 * area * slope, 0))
    total = np.maximum(first + root, np.finfo(width.dtype).tiny)
    return np.minimum(2 * area / total, width)
