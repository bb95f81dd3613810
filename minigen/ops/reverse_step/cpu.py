"""One step of diffusion, backwards: one pass."""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.target import serial


@serial
def _reverse_step(
    x, noise, between, of_x, of_noise, lowest, highest, mean, log_variance
):
    for i in range(x.size):
        mean[i] = of_x * x[i] + of_noise * noise[i]
        share = (between[i] + np.float32(1)) * np.float32(0.5)
        log_variance[i] = share * highest + (np.float32(1) - share) * lowest


def reverse_step(x, noise, between, of_x, of_noise, lowest, highest):
    """(b n c), (b n c), (b n c) -> (b n c), (b n c)"""
    mean, log_variance = buffers.empty(x.shape), buffers.empty(x.shape)
    given = (buffers.floats(each).reshape(-1) for each in (x, noise, between))
    numbers = map(np.float32, (of_x, of_noise, lowest, highest))
    _reverse_step(*given, *numbers, mean.reshape(-1), log_variance.reshape(-1))
    return mean, log_variance
