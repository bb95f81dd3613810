"""A draw from the guided density of one feature: a row at a time, in float64.

A row has a few hundred points; their powers are most of the work.
"""

from __future__ import annotations

import math

import numpy as np

from minigen.cpu import buffers
from minigen.ops.draw.reference import _expect_shares
from minigen.ops.guided_mixture.reference import (
    COLDEST,
    LARGEST,
    POINTS,
    REACH,
    _expect_density,
    _expect_mixture,
)
from minigen.target import serial

TINY = float(np.finfo(np.float64).tiny)
"""The least divisor, for a line under which there is no area."""


@serial
def _terms(weights, logs, spread):
    # of each component: the constant of its exponent, and half its precision; spread:
    # is added to the logarithm of its variance
    heights, precisions = np.empty(weights.size), np.empty(weights.size)
    for k in range(weights.size):
        height = math.log(weights[k]) if weights[k] > 0 else -np.inf
        heights[k] = height - 0.5 * (logs[k] + spread)
        precisions[k] = 0.5 * math.exp(-logs[k] - spread)
    return heights, precisions


@serial
def _log(x, means, terms, powers):
    heights, precisions = terms
    highest = -np.inf
    for k in range(means.size):
        away = x - means[k]
        powers[k] = heights[k] - away * away * precisions[k]
        highest = max(highest, powers[k])
    total = 0.0
    for k in range(means.size):
        total += math.exp(powers[k] - highest)
    y = highest + math.log(total)
    # in float32 that is -inf, and there is no ratio of two of them
    return np.nan if y < -LARGEST else y


@serial
def _points(means, logs, stretch, other_means, other_logs, x):
    g = means.size
    for k in range(g):
        deviation = math.exp(0.5 * logs[k]) * stretch
        for j in range(POINTS):
            t = 2 * REACH * j / (POINTS - 1) - REACH
            x[k * POINTS + j] = means[k] + deviation * t
    low, high = x[: g * POINTS].min(), x[: g * POINTS].max()
    for k in range(g):
        deviation = math.exp(0.5 * other_logs[k])
        for j in range(POINTS):
            t = 2 * REACH * j / (POINTS - 1) - REACH
            there = other_means[k] + deviation * t
            x[(g + k) * POINTS + j] = min(max(there, low), high)
    x.sort()


@serial
def _draw_row(conditional, other, u, weight, stretch, x, q, found):
    weights, means, logs = conditional
    _points(means, logs, stretch, other[1], other[2], x)
    plain, beside = _terms(weights, logs, 0.0), _terms(other[0], other[2], 0.0)
    stretched = _terms(weights, logs, 2 * math.log(stretch))
    powers = np.empty(weights.size)
    highest, largest = -np.inf, 0.0
    for j in range(x.size):
        ratio = _log(x[j], means, plain, powers) - _log(x[j], other[1], beside, powers)
        q[j] = _log(x[j], means, stretched, powers) + (weight - 1) * ratio
        highest, largest = max(highest, q[j]), max(largest, abs(q[j]))
    total = 0.0
    for j in range(x.size):
        q[j] = math.exp(q[j] - highest)
        if j > 0:
            total += (q[j] + q[j - 1]) / 2 * (x[j] - x[j - 1])
    found[0], found[1] = total, largest
    rest = u * total
    for j in range(1, x.size):
        width = x[j] - x[j - 1]
        area = (q[j] + q[j - 1]) / 2 * width
        if area > rest or (j == x.size - 1):
            if width == 0:
                return x[j]
            # the distance along the line that covers the rest of the area
            root = max(q[j - 1] ** 2 + 2 * rest * (q[j] - q[j - 1]) / width, 0.0)
            under = max(q[j - 1] + math.sqrt(root), TINY)
            return x[j - 1] + min(2 * rest / under, width)
        rest -= area
    return x[0]


@serial
def _draw_guided(conditional, other, uniforms, weight, stretch, y, found):
    weights, means, logs = conditional
    other_weights, other_means, other_logs = other
    b, g = weights.shape
    x, q = np.empty(2 * g * POINTS), np.empty(2 * g * POINTS)
    for i in range(b):
        row = weights[i], means[i], logs[i]
        beside = other_weights[i], other_means[i], other_logs[i]
        y[i] = _draw_row(row, beside, uniforms[i], weight, stretch, x, q, found[i])


def draw_guided(
    weights,
    means,
    logs,
    other_weights,
    other_means,
    other_logs,
    uniforms,
    weight,
    stretch,
):
    """(b g), (b g), (b g), (b g), (b g), (b g), (b) -> (b)"""
    arrays = weights, means, logs, other_weights, other_means, other_logs
    y, found = buffers.empty(uniforms.shape), np.empty((len(weights), 2))
    held = [np.ascontiguousarray(array, np.float64) for array in arrays]
    u = np.ascontiguousarray(uniforms, np.float64)
    stretch = max(float(stretch), COLDEST)
    _expect_mixture(*held[:3], 2 * math.log(stretch))
    _expect_mixture(*held[3:], 0.0)
    _expect_shares(u)
    _draw_guided(tuple(held[:3]), tuple(held[3:]), u, float(weight), stretch, y, found)
    _expect_density(*found.T)
    return y
