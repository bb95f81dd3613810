"""One reverse step of diffusion: the distribution of a less noisy x.

Source: Ho et al., arXiv 2006.11239, equations 6, 7 and 15; Nichol and Dhariwal, arXiv
2102.09672, equation 15 (the variance between two bounds).
"""

from __future__ import annotations


def reverse_step(x, noise, between, of_x, of_noise, lowest, highest):
    """(b n c), (b n c), (b n c) -> (b n c), (b n c)

    Return mean and log-variance of x_{t-1}, given x (x_t) and the noise in it.

    The mean is of_x x + of_noise noise: `Schedule.step` has the coefficients. The
    log-variance is an interpolation: lowest at between = -1, highest at 1.

    >>> import numpy as np
    >>> one = np.ones((1, 1, 1))
    >>> mean, log_variance = reverse_step(one, 2 * one, 0 * one, 5.0, -1.0, -4.0, -2.0)
    >>> mean.item(), log_variance.item()
    (3.0, -3.0)
    """
    number = x.dtype.type
    mean = number(of_x) * x + number(of_noise) * noise
    share = (between + number(1)) / number(2)
    return mean, share * number(highest) + (number(1) - share) * number(lowest)
