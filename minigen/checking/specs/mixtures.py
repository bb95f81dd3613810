"""How far off the ops of ARINAR may be: the magnitude of each result."""

from __future__ import annotations

import math

import numpy as np


def wide(*arrays):
    """Return the arrays in float64."""
    return [each.astype(np.float64) for each in arrays]


def standardise_magnitude(x, eps):
    """Return s (|x| + mean|x|) + |z| (1 + m), with z the result and s its scale.

    The mean is off by what its terms add up to, and so is every difference from it; m,
    the root mean square of the first term, is by how much that moves the scale.
    """
    (x,) = wide(x)
    away = x - x.mean(-1, keepdims=True)
    scale = 1 / np.sqrt((away * away).mean(-1, keepdims=True) + eps)
    spread = (abs(x) + abs(x).mean(-1, keepdims=True)) * scale
    moved = np.sqrt((spread * spread).mean(-1, keepdims=True))
    return spread + abs(away * scale) * (1 + moved)


def layer_norm_magnitude(x, w, bias, eps):
    """Return |w| times the magnitude of what is standardised, and |bias|."""
    return standardise_magnitude(x, eps) * abs(w) + abs(bias)


def softmax_magnitude(p, scores):
    """Return p (1 + |score| + max |score|): powers are moved by rounded exponents."""
    p, scores = wide(p, scores)
    largest = abs(scores).max(-1, keepdims=True)
    return p * (1 + abs(scores) + largest)


def log_likelihood_magnitude(x, weights, means, log_variances, constant=0.0):
    """Return the mean over components, by their share, of what their terms add up to.

    A difference from a mean is off by eps (|x| + |mean|), a variance by eps (1 + |ln
    variance|) of itself.
    """
    x, weights, means, log_variances = wide(x, weights, means, log_variances)
    away = x[:, :, None] - means[:, None]
    size = abs(x[:, :, None]) + abs(means[:, None])
    precision, logs = np.exp(-log_variances)[:, None], log_variances[:, None]
    squares = away * away * precision
    powers = np.log(weights)[:, None] - 0.5 * (squares + logs).sum(-1)
    moved = 2 * abs(away) * size * precision + (2 + abs(logs)) * squares + abs(logs)
    terms = abs(np.log(weights))[:, None] + 0.5 * moved.sum(-1)
    highest = powers.max(-1, keepdims=True)
    share = np.exp(powers - highest)
    total = share.sum(-1)
    of_all = (share * (terms + abs(powers) + abs(highest))).sum(-1) / total
    return of_all + abs(highest[..., 0]) + 1 + np.log(total) + constant


def log_density_magnitude(x, weights, means, log_variances):
    """Return the magnitude of the log-likelihood and the constant."""
    constant = 0.5 * x.shape[-1] * math.log(2 * math.pi)
    return log_likelihood_magnitude(x, weights, means, log_variances, constant)


def draw_value_magnitude(components, means, log_variances, normals, stretch):
    """Return |mean| + |normal stretch deviation| (2 + |ln deviation|)."""
    image = np.arange(len(components))[:, None]
    mean, logs = (a[image, components] for a in wide(means, log_variances))
    away = abs(normals.astype(np.float64) * stretch) * np.exp(0.5 * logs)
    return abs(mean) + away * (2 + 0.5 * abs(logs))


def candidate_magnitude(p, conditional, unconditional, weight):
    """Return the magnitude of a softmax of rounded differences."""
    conditional, unconditional = wide(conditional, unconditional)
    return softmax_magnitude(p, 2 * (conditional - unconditional) * (weight - 1))
