"""Random numbers for rows: ten rounds a number, a row a thread."""

from __future__ import annotations

import math

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.philox import LOW, counter, counters, rounds, unit
from minigen.target import kernel, prange, serial


@serial
def _uniform_row(image, position, step, first, k0, k1, u):
    for j in range(u.size):
        index = np.uint64(first + j) & LOW
        u[j] = unit(rounds(image, step, position, index, k0, k1)[0])


@serial
def _normal_row(image, position, step, first, k0, k1, z):
    for j in range(z.size):
        index = np.uint64(first + j) & LOW
        _, u, v, _ = rounds(image, step, position, index, k0, k1)
        length = math.sqrt(-2 * math.log(np.float64(unit(u))))
        z[j] = length * math.cos(2 * math.pi * np.float64(unit(v)))


@kernel
def _uniforms(images, positions, step, first, k0, k1, u):
    for i in prange(len(u)):
        _uniform_row(images[i], positions[i], step, first, k0, k1, u[i])


@kernel
def _normals(images, positions, step, first, k0, k1, z):
    for i in prange(len(z)):
        _normal_row(images[i], positions[i], step, first, k0, k1, z[i])


def uniforms_at(key, images, positions, step, first, m):
    """(2), (b), (b) -> (b m)"""
    return _run(_uniforms, key, images, positions, step, first, m)


def normals_at(key, images, positions, step, first, m):
    """(2), (b), (b) -> (b m)"""
    return _run(_normals, key, images, positions, step, first, m)


def _run(kernel, key, images, positions, step, first, m):
    y = buffers.empty((len(images), m))
    rows = counters(images), counters(positions)
    kernel(*rows, counter(step), np.int64(counter(first)), *map(counter, key), y)
    return y
