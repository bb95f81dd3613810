"""Mixtures of Gaussians: a density for every feature, to evaluate and to draw from.

The features of a group share one component; within it they are independent. All
functions take log-variances, which are the output of the head.

Source: arXiv 2503.02883 (ARINAR), section 3.2; Qinyu-Allen-Zhao/Arinar
model_head/arhead_gmm.py::get_gmm_params, ::sample_from_gmm, ::get_log_likelihood.
"""

from __future__ import annotations

import numpy as np

from minigen.ops.attention.reference import softmax
from minigen.ops.draw.reference import _expect_shares, _expect_weights


def mixture(x, g):
    """(b n d) -> (b n g), (b n g f), (b n g f)
    where g < d, 2 g divides d - g

    Return weights, means and log-variances of mixtures from the output x of a head.

    x: g f means, then g f log-variances, both component by component, then g logits.

    >>> weights, means, _ = mixture(np.array([[[1.0, 2.0, 0.0, 0.0, 5.0, 5.0]]]), 2)
    >>> weights.tolist(), means.tolist()
    ([[[0.5, 0.5]]], [[[[1.0], [2.0]]]])
    """
    f = (x.shape[-1] - g) // (2 * g)
    means, log_variances, logits = np.split(x, (g * f, 2 * g * f), axis=-1)
    shape = *x.shape[:-1], g, f  # (b n g f)
    return softmax(logits), means.reshape(shape), log_variances.reshape(shape)


def log_density(x, weights, means, log_variances):
    """(b m f), (b g), (b g f), (b g f) -> (b m)

    Return ln sum_k w_k prod_f N(x_f; mean_kf, variance_kf) of m points.

    >>> one = np.ones((1, 1))
    >>> log_density(np.zeros((1, 1, 1)), one, np.zeros((1, 1, 1)), np.zeros((1, 1, 1)))
    array([[-0.91893853]])
    """
    constant = x.dtype.type(0.5 * x.shape[-1] * np.log(2 * np.pi))
    return log_likelihood(x, weights, means, log_variances) - constant


def log_likelihood(x, weights, means, log_variances):
    """(b m f), (b g), (b g f), (b g f) -> (b m)

    Return log_density + f/2 ln 2 pi, which training maximises.

    >>> one = np.ones((1, 1))
    >>> zeros = np.zeros((1, 1, 1))
    >>> float(log_likelihood(zeros, one, zeros, zeros)[0, 0])
    0.0
    """
    away = x[:, :, None] - means[:, None]
    variance = np.exp(log_variances)[:, None]
    powers = -0.5 * (away * away / variance + log_variances[:, None]).sum(axis=-1)
    with np.errstate(divide="ignore"):
        powers = powers + np.log(weights)[:, None]
    highest = powers.max(axis=-1, keepdims=True)
    return (highest + np.log(np.exp(powers - highest).sum(-1, keepdims=True)))[..., 0]


def draw_component(weights, uniforms):
    """(b g), (b m) -> (b m)
    where uniforms are fractions

    Return int64 components by inverse distribution function, summed in float64.

    It is the number of k < g - 1 with w_0 + .. + w_k <= u. Raises NotFiniteError for
    weights, and InputError for a uniform, that `draw` would refuse.

    >>> draw_component(np.array([[0.25, 0.75]]), np.array([[0.2, 0.25, 1.0]])).tolist()
    [[0, 1, 1]]
    """
    _expect_weights(weights)
    _expect_shares(uniforms)
    c = np.cumsum(weights, axis=-1, dtype=np.float64)[:, None, :-1]
    return (c <= uniforms[..., None].astype(np.float64)).sum(axis=-1)


def draw_value(components, means, log_variances, normals, stretch):
    """(b m), (b g f), (b g f), (b m f) -> (b m f)
    where 0 <= components < g

    Return mean + normal * stretch * standard deviation of the drawn components.

    >>> two = np.array([[[3.0], [5.0]]])
    >>> draw_value(np.array([[1]]), two, 0 * two, np.array([[[2.0]]]), 0.5).tolist()
    [[[6.0]]]
    """
    image = np.arange(len(components))[:, None]
    mean = means[image, components]
    deviation = np.exp(log_variances[image, components] * means.dtype.type(0.5))
    return mean + normals * (deviation * means.dtype.type(stretch))


def candidate_probabilities(conditional, unconditional, weight):
    """(b m), (b m) -> (b m)
    where m >= 1

    Return softmax((weight - 1) (l_c - l_u)) over m candidates drawn from p_c.

    A candidate chosen with these probabilities has nearly the density p_c (p_c /
    p_u)^(weight - 1). A row becomes NaN everywhere if one of its powers is not finite.

    >>> l_c, l_u = np.log([[0.5, 0.5]]), np.log([[0.2, 0.6]])
    >>> candidate_probabilities(l_c, l_u, 2.0).round(3).tolist()
    [[0.75, 0.25]]
    """
    ratio = (conditional - unconditional) * conditional.dtype.type(weight - 1)
    p = softmax(ratio)
    return np.where(np.isfinite(ratio).all(-1, keepdims=True), p, p.dtype.type(np.nan))
