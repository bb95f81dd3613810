"""How far off the ops of normal distributions may be: the magnitude of each result."""

from __future__ import annotations

import numpy as np


def sample_normal_magnitude(mean, log_variance, noise):
    """Return |mean| + deviation |noise|."""
    mean, log_variance, noise = _wide(mean, log_variance, noise)
    return abs(mean) + np.exp(log_variance / 2) * abs(noise)


def normal_kl_magnitude(mean, log_variance):
    """Return half the sum of all terms, none of them negative."""
    mean, log_variance = _wide(mean, log_variance)
    terms = mean * mean + np.exp(log_variance) + 1 + abs(log_variance)
    return terms.reshape(len(mean), -1).sum(1) / 2


def normal_nll_magnitude(x, mean, log_variance):
    """Return half the sum of all terms, none of them negative."""
    x, mean, log_variance = _wide(x, mean, log_variance)
    terms = np.log(2 * np.pi) + abs(log_variance)
    terms = terms + (x - mean) ** 2 * np.exp(-log_variance)
    return terms.reshape(len(x), -1).sum(1) / 2


def reverse_step_magnitude(x, noise, between, of_x, of_noise, lowest, highest):
    """Return the magnitudes of the mean and of the log-variance: no term cancels."""
    x, noise, between = (abs(each) for each in _wide(x, noise, between))
    share = (between + 1) / 2
    mean = abs(of_x) * x + abs(of_noise) * noise
    return mean, share * abs(highest) + (1 + share) * abs(lowest)


def _wide(*arrays):
    return [each.astype(np.float64) for each in arrays]
