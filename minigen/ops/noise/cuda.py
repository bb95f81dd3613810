"""Random numbers for rows on a GPU: a thread makes one, from its own counters."""

from __future__ import annotations

import math

import numpy as np

from minigen.ops.uniforms import reference
from minigen.target import cuda, gpu_inline, gpu_kernel

THREADS = 128

_LOW, _TOP = reference._LOW, reference.TOP
# one Python function serves arrays on a CPU and words on a GPU
_rounds = gpu_inline(reference._rounds)


@gpu_inline
def _words(key, images, positions, step, first, i, j):
    image, position = np.uint64(images[i]) & _LOW, np.uint64(positions[i]) & _LOW
    last = (np.uint64(first) + np.uint64(j)) & _LOW
    k0, k1 = np.uint64(key[0]) & _LOW, np.uint64(key[1]) & _LOW
    return _rounds(image, np.uint64(step), position, last, k0, k1)


@gpu_inline
def _unit(word):
    # the centre of one of 2**24 parts of the unit interval
    top = np.float32(word >> np.uint64(8))
    return min(top + np.float32(0.5), _TOP) * np.float32(2**-24)


@gpu_kernel
def _uniforms_at(key, images, positions, step, first, u):
    """One block per THREADS numbers of u (b m).
    A thread runs ten rounds of Philox in registers and keeps the first of four words.
    Reads key b * m, images m, positions m; writes u 1.
    Shared memory: none.
    """
    cell, m = cuda.grid(1), u.shape[1]
    if cell < u.size:
        i, j = cell // m, cell % m
        u[i, j] = _unit(_words(key, images, positions, step, first, i, j)[0])


@gpu_kernel
def _normals_at(key, images, positions, step, first, z):
    """One block per THREADS numbers of z (b m).
    A thread makes a length and an angle of the second and the third of four words.
    Reads key b * m, images m, positions m; writes z 1.
    Shared memory: none.
    """
    cell, m = cuda.grid(1), z.shape[1]
    if cell < z.size:
        i, j = cell // m, cell % m
        words = _words(key, images, positions, step, first, i, j)
        length = math.sqrt(np.float32(-2) * math.log(_unit(words[1])))
        # the angle in half turns: a product with pi would move a cosine near zero
        z[i, j] = length * cuda.libdevice.cospif(np.float32(2) * _unit(words[2]))


def uniforms_at(device, key, images, positions, step, first, m):
    """(2), (b), (b) -> (b m)

    key (2) uint32; images, positions int64; step, first: modulo 2**32.
    """
    return _launch(device, _uniforms_at, key, images, positions, step, first, m)


def normals_at(device, key, images, positions, step, first, m):
    """(2), (b), (b) -> (b m)

    key (2) uint32; images, positions int64; step, first: modulo 2**32.
    """
    return _launch(device, _normals_at, key, images, positions, step, first, m)


def _launch(device, kernel, key, images, positions, step, first, m):
    y = device.empty((images.shape[0], m))
    counters = np.uint32(int(step) % 2**32), np.uint32(int(first) % 2**32)
    if y.size:
        blocks = -(-y.size // THREADS)
        device.launch(kernel, blocks, THREADS, key, images, positions, *counters, y)
    return y
