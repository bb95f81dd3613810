"""Mixtures of Gaussians on a GPU: a thread for each number that is asked for.

A mixture has a handful of components, so a thread goes over them itself, one after the
other as `cpu.py` does, and no thread waits for another. Only the probabilities of a row
of candidates, a thousand of them, are made by a block together.

A component is drawn by integers, as tokens are (`ops/draw/cuda.py`): a weight w
becomes floor(w 2**46), and loses nothing by it from 2**-23 on. So the component is the
reference's, unless u is within g 2**-46 above a sum of weights.
"""

from __future__ import annotations

import math

import numpy as np

from minigen.gpu.flag import inside, inside_unit, refuse
from minigen.gpu.warps import NOTHING, block_max, block_sum
from minigen.target import cuda, gpu_inline, gpu_kernel

THREADS = 256

_UNIT, _INFINITE = np.float32(2**46), np.float32(np.inf)


@gpu_kernel
def _mixture(x, g, weights, means, log_variances):
    """One block per THREADS cells of x (n d).
    A thread copies one of them, or makes a weight of it: g of the row share a sum.
    Reads x 1..2 * g; writes weights 1, means 1, log_variances 1.
    Shared memory: none.
    """
    at = cuda.grid(1)
    i, j, size = at // x.shape[1], at % x.shape[1], means.shape[1]
    if at < x.shape[0] * x.shape[1]:
        if j < size:
            means[i, j] = x[i, j]
        elif j < 2 * size:
            log_variances[i, j - size] = x[i, j]
        else:
            highest = NOTHING
            for k in range(g):
                highest = max(highest, x[i, 2 * size + k])
            own = total = np.float32(0)
            for k in range(g):
                weight = math.exp(x[i, 2 * size + k] - highest)
                total += weight
                if k == j - 2 * size:
                    own = weight
            weights[i, j - 2 * size] = own / total


@gpu_inline
def _power(x, at, weights, means, log_variances, i, k):
    # ln w_k + the logarithm of component k of row i at point `at`, but for a constant
    total = np.float32(0)
    for p in range(x.shape[1]):
        away, log = x[at, p] - means[i, k, p], log_variances[i, k, p]
        total += away * away * math.exp(-log) + log
    return math.log(weights[i, k]) - np.float32(0.5) * total


@gpu_kernel
def _log_likelihood(x, weights, means, log_variances, constant, y):
    """One block per THREADS points of x (n f); weights is (b g), y (b m).
    A thread asks all components of its row twice: for the highest, and for the sum.
    Reads x 2 * g, weights 2 * m, means 2 * m, log_variances 2 * m; writes y 1.
    Shared memory: none.
    """
    at, m = cuda.grid(1), y.shape[1]
    i, g = at // m, weights.shape[1]
    if at < x.shape[0]:
        highest = NOTHING
        for k in range(g):
            power = _power(x, at, weights, means, log_variances, i, k)
            highest = max(highest, power)
        total = np.float32(0)
        for k in range(g):
            power = _power(x, at, weights, means, log_variances, i, k)
            total += math.exp(power - highest)
        y[i, at % m] = highest + math.log(total) - constant


@gpu_kernel
def _draw_component(weights, uniforms, y, flag):
    """One block per THREADS cells of uniforms (b m).
    A thread counts the sums of weights, in integers, that its uniform reaches.
    Reads weights m, uniforms 1; writes y 1.
    Shared memory: none.
    """
    at, m = cuda.grid(1), uniforms.shape[1]
    i, j = at // m, at % m
    if at < uniforms.shape[0] * m:
        u = np.int64(inside_unit(uniforms[i, j], flag) * _UNIT)
        total = component = np.int64(0)
        highest, last = np.float32(0), weights.shape[1] - 1
        for k in range(last + 1):
            # a NaN is not at least 0 either
            weight = weights[i, k]
            weight = weight if weight >= np.float32(0) else _INFINITE
            highest = max(highest, weight)
            # no uniform is larger than a sum of 2
            total += np.int64(min(weight, np.float32(2)) * _UNIT)
            # none is below the uniform 0, as little as the first weight may be
            if total <= u and k < last and (u > 0 or highest == np.float32(0)):
                component += 1
        if highest == np.float32(0) or highest == _INFINITE:
            refuse(flag)
        y[i, j] = component


@gpu_kernel
def _draw_value(components, means, log_variances, normals, stretch, y, flag):
    """One block per THREADS cells of normals (b m f).
    A thread makes one value, of the component of its point: flagged if there is none.
    Reads components f, means 0..m, log_variances 0..m, normals 0..1; writes y 1.
    Shared memory: none.
    """
    at, m, f = cuda.grid(1), normals.shape[1], normals.shape[2]
    i, j, p = at // (m * f), at // f % m, at % f
    if at < normals.shape[0] * m * f:
        k = components[i, j]
        value = np.float32(0)
        if inside(k, means.shape[1], flag):
            deviation = math.exp(np.float32(0.5) * log_variances[i, k, p]) * stretch
            value = means[i, k, p] + normals[i, j, p] * deviation
        y[i, j, p] = value


@gpu_kernel
def _candidate_probabilities(conditional, unconditional, weight, y):
    """One block per row of y (b m).
    Threads stride along it, and find its maximum and its sum together.
    Reads conditional 1, unconditional 1, y 2; writes y 3.
    Shared memory: 128 bytes.
    """
    partial = cuda.shared.array(32, np.float32)
    i, m = cuda.blockIdx.x, y.shape[1]
    highest = NOTHING
    for j in range(cuda.threadIdx.x, m, cuda.blockDim.x):
        ratio = (conditional[i, j] - unconditional[i, j]) * weight
        y[i, j] = ratio
        highest = max(highest, abs(ratio) if math.isinf(ratio) else ratio)
    highest = block_max(highest, partial)
    total = np.float32(0)
    for j in range(cuda.threadIdx.x, m, cuda.blockDim.x):
        power = math.exp(y[i, j] - highest)
        y[i, j] = power
        total += power
    total = block_sum(total, partial)
    for j in range(cuda.threadIdx.x, m, cuda.blockDim.x):
        y[i, j] = y[i, j] / total


def mixture(device, x, g):
    """(b n d) -> (b n g), (b n g f), (b n g f)"""
    d = x.shape[-1]
    f = (d - g) // (2 * g)
    n = x.size // d
    weights = device.empty((*x.shape[:-1], g))
    means = device.empty((*x.shape[:-1], g, f))
    log_variances = device.empty(means.shape)
    results = weights.reshape(n, g), means.reshape(n, g * f)
    results = *results, log_variances.reshape(n, g * f)
    _launch(device, _mixture, x.size, x.reshape(n, d), np.int32(g), *results)
    return weights, means, log_variances


def log_density(device, x, weights, means, log_variances):
    """(b m f), (b g), (b g f), (b g f) -> (b m)"""
    constant = 0.5 * x.shape[-1] * math.log(2 * math.pi)
    return _density(device, x, weights, means, log_variances, constant)


def log_likelihood(device, x, weights, means, log_variances):
    """(b m f), (b g), (b g f), (b g f) -> (b m)"""
    return _density(device, x, weights, means, log_variances, 0.0)


def draw_component(device, weights, uniforms):
    """(b g), (b m) -> (b m)

    Weights that cannot be drawn from, or a uniform outside of 0 .. 1, set the device's
    flag. How near this comes to the reference is said above.
    """
    y = device.empty(uniforms.shape, np.int64)
    _launch(device, _draw_component, y.size, weights, uniforms, y, device.flag)
    return y


def draw_value(device, components, means, log_variances, normals, stretch):
    """(b m), (b g f), (b g f), (b m f) -> (b m f)

    components: each in 0 .. g - 1; any other sets the device's flag.
    """
    b, _, f = means.shape
    y = device.empty(normals.shape)
    given = components, means, log_variances, normals, np.float32(stretch)
    _launch(device, _draw_value, y.size, *given, y, device.flag)
    return y


def candidate_probabilities(device, conditional, unconditional, weight):
    """(b m), (b m) -> (b m)"""
    y = device.empty(conditional.shape)
    given = conditional, unconditional, np.float32(weight - 1)
    device.launch(_candidate_probabilities, y.shape[0], THREADS, *given, y)
    return y


def _density(device, x, weights, means, log_variances, constant):
    b, m, f = x.shape
    y = device.empty((b, m))
    given = x.reshape(b * m, f), weights, means, log_variances, np.float32(constant)
    _launch(device, _log_likelihood, y.size, *given, y)
    return y


def _launch(device, kernel, cells, *arguments):
    device.launch(kernel, -(-cells // THREADS), THREADS, *arguments)
