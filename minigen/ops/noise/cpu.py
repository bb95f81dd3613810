"""Random numbers for rows: ten rounds a number, a row a thread."""

from __future__ import annotations

import math

import numpy as np

from minigen.cpu import buffers
from minigen.ops.uniforms import reference
from minigen.target import kernel, prange, serial

_LOW, _TOP, _BYTE = reference._LOW, reference.TOP, np.uint64(8)
_rounds = serial(reference._rounds)


@serial
def _unit(word):
    # the topmost of the parts would round up to 1
    top = np.float32(word >> _BYTE) + np.float32(0.5)
    return min(top, _TOP) * np.float32(2**-24)


@serial
def _uniform_row(image, position, step, first, k0, k1, u):
    for j in range(u.size):
        index = np.uint64(first + j) & _LOW
        u[j] = _unit(_rounds(image, step, position, index, k0, k1)[0])


@serial
def _normal_row(image, position, step, first, k0, k1, z):
    for j in range(z.size):
        index = np.uint64(first + j) & _LOW
        _, u, v, _ = _rounds(image, step, position, index, k0, k1)
        length = math.sqrt(-2 * math.log(np.float64(_unit(u))))
        z[j] = length * math.cos(2 * math.pi * np.float64(_unit(v)))


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
    k0, k1 = (np.uint64(int(word) & 0xFFFFFFFF) for word in key)
    rows = (
        np.ascontiguousarray(each).astype(np.uint64) & _LOW
        for each in (images, positions)
    )
    kernel(*rows, np.uint64(int(step) % 2**32), np.int64(int(first) % 2**32), k0, k1, y)
    return y
