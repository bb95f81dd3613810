"""One step of diffusion, backwards, on a GPU: a thread for each cell."""

from __future__ import annotations

import numpy as np

from minigen.target import cuda, gpu_kernel

THREADS = 256


@gpu_kernel
def _reverse_step(
    x, noise, between, of_x, of_noise, lowest, highest, mean, log_variance
):
    """One block per 256 cells of x.
    A thread takes one cell, and makes both of its results.
    Reads x 1, noise 1, between 1; writes mean 1, log_variance 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < x.size:
        mean[i] = of_x * x[i] + of_noise * noise[i]
        share = (between[i] + np.float32(1)) * np.float32(0.5)
        log_variance[i] = share * highest + (np.float32(1) - share) * lowest


def reverse_step(device, x, noise, between, of_x, of_noise, lowest, highest):
    """(b n c), (b n c), (b n c) -> (b n c), (b n c)"""
    mean, log_variance = device.empty(x.shape), device.empty(x.shape)
    given = (each.reshape(-1) for each in (x, noise, between))
    numbers = map(np.float32, (of_x, of_noise, lowest, highest))
    made = mean.reshape(-1), log_variance.reshape(-1)
    blocks = -(-x.size // THREADS)
    device.launch(_reverse_step, blocks, THREADS, *given, *numbers, *made)
    return mean, log_variance
