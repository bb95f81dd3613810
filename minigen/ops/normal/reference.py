"""Independent normal distributions, given by means and log-variances.

Source: Kingma and Welling, arXiv 1312.6114, section 2.4 and appendix B; the limits:
LTH14/mar models/vae.py::DiagonalGaussianDistribution.
"""

from __future__ import annotations

import math

import numpy as np

LOWEST, HIGHEST = -30.0, 20.0
"""The range that log-variances of an encoder are clamped to."""


def split_moments(moments):
    """(b y x 2c) -> (b y x c), (b y x c)

    Return means and log-variances, these clamped to LOWEST .. HIGHEST.

    >>> mean, log_variance = split_moments(np.array([[[[1.0, 99.0]]]]))
    >>> mean.item(), log_variance.item()
    (1.0, 20.0)
    """
    mean, log_variance = np.split(moments, 2, axis=-1)
    return mean, np.clip(log_variance, LOWEST, HIGHEST)


def sample_normal(mean, log_variance, noise):
    """(b ...), (b ...), (b ...) -> (b ...)

    Return mean + deviation * noise: a sample, if the noise is standard normal.

    >>> one = np.ones((1, 1, 1))
    >>> sample_normal(5 * one, 0 * one, -2 * one).item()
    3.0
    """
    return mean + np.exp(log_variance / 2) * noise


def normal_kl(mean, log_variance):
    """(b ...), (b ...) -> (b)

    Return the divergence KL(normal || standard normal) of each image, in nats.

    1/2 sum (mean^2 + variance - 1 - log-variance), summed in float64.

    >>> zero = np.zeros((1, 3, 2))
    >>> normal_kl(zero, zero).item(), normal_kl(zero + 1, zero).item()
    (0.0, 3.0)
    """
    terms = mean * mean + np.exp(log_variance) - 1 - log_variance
    return (_totals(terms) / 2).astype(mean.dtype)


def normal_nll(x, mean, log_variance):
    """(b ...), (b ...), (b ...) -> (b)

    Return -log of the density of each image x, in nats.

    1/2 sum (log 2 pi + log-variance + (x - mean)^2 / variance), summed in float64.

    >>> zero = np.zeros((1, 1, 1))  # log sqrt(2 pi) at the mean of a standard normal
    >>> normal_nll(zero, zero, zero).round(4).item()
    0.9189
    """
    terms = log_variance + (x - mean) ** 2 * np.exp(-log_variance)
    count = math.prod(x.shape[1:])
    return ((_totals(terms) + count * np.log(2 * np.pi)) / 2).astype(x.dtype)


def _totals(terms):
    flat = terms.reshape(len(terms), math.prod(terms.shape[1:]))  # (b n)
    return flat.sum(1, dtype=np.float64)
