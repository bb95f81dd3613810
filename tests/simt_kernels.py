"""Kernels for the tests of the player: a sum with its barrier, and without."""

import numpy as np

from minigen.simt.language import cuda


def summed(x, y):
    partial = cuda.shared.array(4, np.float32)
    t = cuda.threadIdx.x
    partial[t] = x[t] + x[t + 4]
    cuda.syncthreads()
    if t == 0:
        y[0] = partial[0] + partial[1] + partial[2] + partial[3]


def without_barrier(x, y):
    partial = cuda.shared.array(4, np.float32)
    t = cuda.threadIdx.x
    partial[t] = x[t] + x[t + 4]
    if t == 0:
        y[0] = partial[0] + partial[1] + partial[2] + partial[3]
