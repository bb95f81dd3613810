"""Normal distributions: one pass; an image is summed up in float64, in order."""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.scalar import exp
from minigen.ops.normal.reference import HIGHEST, LOWEST
from minigen.target import serial

_LOWEST, _HIGHEST = np.float32(LOWEST), np.float32(HIGHEST)
_LOG_2_PI = float(np.log(2 * np.pi))


@serial
def _split_moments(moments, mean, log_variance):
    n, c = mean.shape
    for i in range(n):
        for k in range(c):
            mean[i, k] = moments[i, k]
            log_variance[i, k] = min(max(moments[i, c + k], _LOWEST), _HIGHEST)


@serial
def _sample_normal(mean, log_variance, noise, x):
    for i in range(x.size):
        x[i] = mean[i] + exp(np.float32(0.5) * log_variance[i]) * noise[i]


@serial
def _normal_kl(mean, log_variance, total):
    b, n = mean.shape
    for i in range(b):
        s = 0.0
        for k in range(n):
            v = log_variance[i, k]
            s += mean[i, k] * mean[i, k] + exp(v) - np.float32(1) - v
        total[i] = 0.5 * s


@serial
def _normal_nll(x, mean, log_variance, total):
    b, n = mean.shape
    for i in range(b):
        s = n * _LOG_2_PI
        for k in range(n):
            v, off = log_variance[i, k], x[i, k] - mean[i, k]
            s += v + off * off * exp(-v)
        total[i] = 0.5 * s


def split_moments(moments):
    """(b y x 2c) -> (b y x c), (b y x c)"""
    c = moments.shape[-1] // 2
    mean, log_variance = (buffers.empty((*moments.shape[:-1], c)) for _ in range(2))
    rows = buffers.floats(moments).reshape(-1, 2 * c)
    _split_moments(rows, mean.reshape(-1, c), log_variance.reshape(-1, c))
    return mean, log_variance


def sample_normal(mean, log_variance, noise):
    """(b ...), (b ...), (b ...) -> (b ...)"""
    x = buffers.empty(mean.shape)
    _sample_normal(*map(_flat, (mean, log_variance, noise, x)))
    return x


def normal_kl(mean, log_variance):
    """(b ...), (b ...) -> (b)"""
    total = buffers.empty(len(mean))
    _normal_kl(_rows(mean), _rows(log_variance), total)
    return total


def normal_nll(x, mean, log_variance):
    """(b ...), (b ...), (b ...) -> (b)"""
    total = buffers.empty(len(x))
    _normal_nll(_rows(x), _rows(mean), _rows(log_variance), total)
    return total


def _flat(array):
    return buffers.floats(array).reshape(-1)


def _rows(array):
    return buffers.floats(array).reshape(len(array), -1)
