"""Mixtures of Gaussians: a row at a time, a component after the other.

Densities of points are most of the work: there a thread takes a row.
"""

from __future__ import annotations

import math

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.scalar import exp
from minigen.ops.draw.reference import _expect_shares, _expect_weights
from minigen.target import kernel, prange, serial


@serial
def _mixture(x, g, weights, means, log_variances):
    n, d = x.shape
    size = means.shape[1]
    for i in range(n):
        for k in range(size):
            means[i, k] = x[i, k]
            log_variances[i, k] = x[i, size + k]
        highest = x[i, 2 * size]
        for k in range(1, g):
            highest = max(highest, x[i, 2 * size + k])
        total = np.float32(0)
        for k in range(g):
            weights[i, k] = exp(x[i, 2 * size + k] - highest)
            total += weights[i, k]
        for k in range(g):
            weights[i, k] = weights[i, k] / total


@serial
def _log_likelihood_row(x, weights, means, log_variances, constant, y):
    m, f = x.shape
    g = weights.size
    powers, totals = np.empty((g, m), np.float32), np.zeros(m, np.float32)
    for j in range(m):
        y[j] = np.float32(-np.inf)
    # the points of a row side by side, so that a compiler can take sixteen at once
    for k in range(g):
        power, weight = powers[k], np.log(weights[k])
        for j in range(m):
            power[j] = np.float32(0)
        for p in range(f):
            mean, log_variance = means[k, p], log_variances[k, p]
            inverse = exp(-log_variance)
            for j in range(m):
                away = x[j, p] - mean
                power[j] += away * away * inverse + log_variance
        for j in range(m):
            power[j] = weight - np.float32(0.5) * power[j]
            y[j] = max(y[j], power[j])
    for k in range(g):
        power = powers[k]
        for j in range(m):
            totals[j] += exp(power[j] - y[j])
    for j in range(m):
        y[j] = y[j] + np.log(totals[j]) - constant


@kernel
def _log_likelihood(x, weights, means, log_variances, constant, y):
    for i in prange(len(y)):
        mixture = weights[i], means[i], log_variances[i]
        _log_likelihood_row(x[i], *mixture, constant, y[i])


@serial
def _draw_component(weights, uniforms, y):
    b, m = uniforms.shape
    for i in range(b):
        for j in range(m):
            c = 0.0
            component = 0
            for k in range(weights.shape[1] - 1):
                c += np.float64(weights[i, k])
                if c > uniforms[i, j]:
                    break
                component += 1
            y[i, j] = component


@serial
def _draw_value(components, means, log_variances, normals, stretch, y):
    b, m, f = normals.shape
    for i in range(b):
        for j in range(m):
            k = components[i, j]
            for p in range(f):
                deviation = exp(np.float32(0.5) * log_variances[i, k, p]) * stretch
                y[i, j, p] = means[i, k, p] + normals[i, j, p] * deviation


@serial
def _candidate_probabilities(conditional, unconditional, weight, y):
    b, m = y.shape
    for i in range(b):
        highest, finite = np.float32(-np.inf), True
        for j in range(m):
            ratio = (conditional[i, j] - unconditional[i, j]) * weight
            y[i, j] = ratio
            highest = max(highest, ratio)
            finite = finite and np.isfinite(ratio)
        total = np.float32(0 if finite else np.nan)
        for j in range(m):
            y[i, j] = exp(y[i, j] - highest)
            total += y[i, j]
        for j in range(m):
            y[i, j] = y[i, j] / total


def mixture(x, g):
    """(b n d) -> (b n g), (b n g f), (b n g f)"""
    d = x.shape[-1]
    f = (d - g) // (2 * g)
    weights = buffers.empty((*x.shape[:-1], g))
    means = buffers.empty((*x.shape[:-1], g, f))
    log_variances = buffers.empty(means.shape)
    _mixture(
        buffers.floats(x).reshape(-1, d),
        g,
        weights.reshape(-1, g),
        means.reshape(-1, g * f),
        log_variances.reshape(-1, g * f),
    )
    return weights, means, log_variances


def log_density(x, weights, means, log_variances):
    """(b m f), (b g), (b g f), (b g f) -> (b m)"""
    constant = 0.5 * x.shape[-1] * math.log(2 * math.pi)
    return _density(x, weights, means, log_variances, constant)


def log_likelihood(x, weights, means, log_variances):
    """(b m f), (b g), (b g f), (b g f) -> (b m)"""
    return _density(x, weights, means, log_variances, 0.0)


def draw_component(weights, uniforms):
    """(b g), (b m) -> (b m)"""
    _expect_weights(weights)
    _expect_shares(uniforms)
    y = buffers.empty(uniforms.shape, np.int64)
    _draw_component(
        buffers.floats(weights), np.ascontiguousarray(uniforms, np.float64), y
    )
    return y


def draw_value(components, means, log_variances, normals, stretch):
    """(b m), (b g f), (b g f), (b m f) -> (b m f)"""
    b, g, f = means.shape
    y = buffers.empty(normals.shape)
    _draw_value(
        buffers.integers(components),
        buffers.floats(means),
        buffers.floats(log_variances),
        buffers.floats(normals),
        np.float32(stretch),
        y,
    )
    return y


def candidate_probabilities(conditional, unconditional, weight):
    """(b m), (b m) -> (b m)"""
    y = buffers.empty(conditional.shape)
    likelihoods = buffers.floats(conditional), buffers.floats(unconditional)
    _candidate_probabilities(*likelihoods, np.float32(weight - 1), y)
    return y


def _density(x, weights, means, log_variances, constant):
    b, m, _ = x.shape
    y = buffers.empty((b, m))
    given = map(buffers.floats, (x, weights, means, log_variances))
    _log_likelihood(*given, np.float32(constant), y)
    return y
