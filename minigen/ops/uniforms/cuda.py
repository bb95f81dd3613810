"""Random numbers on a GPU: every thread makes its own, from its own counters."""

from __future__ import annotations

import numpy as np

from minigen.ops.uniforms import reference
from minigen.target import cuda, gpu_inline, gpu_kernel

THREADS = 128

_LOW, _TOP = reference._LOW, reference.TOP
# one Python function serves arrays on a CPU and words on a GPU
_rounds = gpu_inline(reference._rounds)


@gpu_kernel
def _uniforms(key, images, positions, step, index, u):
    """One block per THREADS numbers of u (b m).
    A thread runs ten rounds of Philox in registers and keeps the first of four words.
    Reads key b * m, images m, positions b; writes u 1.
    Shared memory: none.
    """
    cell, m = cuda.grid(1), positions.shape[0]
    if cell < images.shape[0] * m:
        i, j = cell // m, cell % m
        image, position = np.uint64(images[i]) & _LOW, np.uint64(positions[j]) & _LOW
        k0, k1 = np.uint64(key[0]) & _LOW, np.uint64(key[1]) & _LOW
        words = _rounds(image, np.uint64(step), position, np.uint64(index), k0, k1)
        top = np.float32(words[0] >> np.uint64(8))
        # the topmost of the parts would round up to 1
        u[i, j] = min(top + np.float32(0.5), _TOP) * np.float32(2**-24)


def uniforms(device, key, images, positions, step, index):
    """(2), (b), (m) -> (b m)

    The reference's bits. key (2) uint32; images, positions int64; step, index: modulo
    2**32.
    """
    u = device.empty((images.shape[0], positions.shape[0]))
    counters = np.uint32(int(step) % 2**32), np.uint32(int(index) % 2**32)
    if u.size:
        blocks = -(-u.size // THREADS)
        device.launch(_uniforms, blocks, THREADS, key, images, positions, *counters, u)
    return u
