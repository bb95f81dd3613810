"""Normal distributions on a GPU: a thread for each number, a block for each image."""

from __future__ import annotations

import math

import numpy as np

from minigen.gpu.activations import clip
from minigen.gpu.warps import block_sum
from minigen.ops.normal.reference import HIGHEST, LOWEST
from minigen.target import cuda, gpu_kernel

THREADS = 256

_LOWEST, _HIGHEST = np.float32(LOWEST), np.float32(HIGHEST)
_LOG_2_PI = np.float32(np.log(2 * np.pi))


@gpu_kernel
def _split_moments(moments, mean, log_variance):
    """One block per 256 cells of mean and log_variance (n c), halves of moments (n 2c).
    A thread takes one cell of each half.
    Reads moments 1; writes mean 1, log_variance 1.
    Shared memory: none.
    """
    cell, c = cuda.grid(1), mean.shape[1]
    if cell < mean.size:
        i, k = cell // c, cell % c
        mean[i, k] = moments[i, k]
        log_variance[i, k] = clip(moments[i, c + k], _LOWEST, _HIGHEST)


@gpu_kernel
def _sample_normal(mean, log_variance, noise, x):
    """One block per 256 cells of x.
    A thread takes one cell.
    Reads mean 1, log_variance 1, noise 1; writes x 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < x.size:
        x[i] = mean[i] + math.exp(np.float32(0.5) * log_variance[i]) * noise[i]


@gpu_kernel
def _normal_kl(mean, log_variance, total):
    """One block per row of mean and log_variance (b n): an image.
    Threads stride along the row, then add up their sums through shared memory.
    Reads mean 1, log_variance 1; writes total 1.
    Shared memory: 128 bytes.
    """
    partial = cuda.shared.array(32, np.float32)
    i, s = cuda.blockIdx.x, np.float32(0)
    for k in range(cuda.threadIdx.x, mean.shape[1], cuda.blockDim.x):
        m, v = mean[i, k], log_variance[i, k]
        s += m * m + math.exp(v) - np.float32(1) - v
    s = block_sum(s, partial)
    if cuda.threadIdx.x == 0:
        total[i] = np.float32(0.5) * s


@gpu_kernel
def _normal_nll(x, mean, log_variance, total):
    """One block per row of x, mean and log_variance (b n): an image.
    Threads stride along the row, then add up their sums through shared memory.
    Reads x 1, mean 1, log_variance 1; writes total 1.
    Shared memory: 128 bytes.
    """
    partial = cuda.shared.array(32, np.float32)
    i, s = cuda.blockIdx.x, np.float32(0)
    for k in range(cuda.threadIdx.x, x.shape[1], cuda.blockDim.x):
        v, off = log_variance[i, k], x[i, k] - mean[i, k]
        s += _LOG_2_PI + v + off * off * math.exp(-v)
    s = block_sum(s, partial)
    if cuda.threadIdx.x == 0:
        total[i] = np.float32(0.5) * s


def split_moments(device, moments):
    """(b y x 2c) -> (b y x c), (b y x c)"""
    width = moments.shape[-1]
    c = width // 2
    mean, log_variance = (device.empty((*moments.shape[:-1], c)) for _ in range(2))
    halves = mean.reshape((-1, c)), log_variance.reshape((-1, c))
    blocks = -(-mean.size // THREADS)
    rows = moments.reshape((-1, width))
    device.launch(_split_moments, blocks, THREADS, rows, *halves)
    return mean, log_variance


def sample_normal(device, mean, log_variance, noise):
    """(b ...), (b ...), (b ...) -> (b ...)"""
    x = device.empty(mean.shape)
    flat = (each.reshape(-1) for each in (mean, log_variance, noise, x))
    device.launch(_sample_normal, -(-x.size // THREADS), THREADS, *flat)
    return x


def normal_kl(device, mean, log_variance):
    """(b ...), (b ...) -> (b)

    Summed in float32, by 256 threads an image.
    """
    return _totals(device, _normal_kl, mean, log_variance)


def normal_nll(device, x, mean, log_variance):
    """(b ...), (b ...), (b ...) -> (b)

    Summed in float32, by 256 threads an image.
    """
    return _totals(device, _normal_nll, x, mean, log_variance)


def _totals(device, kernel, *arrays):
    b, *rest = arrays[0].shape
    total = device.empty((b,))
    rows = (each.reshape((b, math.prod(rest))) for each in arrays)
    device.launch(kernel, b, THREADS, *rows, total)
    return total
