"""Exercises of lesson 20; `python lessons/check.py 20` says which are solved."""

import math

import numpy as np
from numba import cuda


def blocks_needed(cells, threads):
    """Return the smallest number of blocks of `threads` threads (an int, 1 or more)
    that together have a thread for each of `cells` cells (an int, 1 or more).
    """
    return -(-cells // threads)


def reverse():
    """Return a kernel (x) that reverses x, a float32 array (n), in place.

    It is launched with one block of n threads. Thread t fills cell t, and no cell may
    be overwritten before its number was read.
    """

    @cuda.jit
    def kernel(x):
        t = cuda.threadIdx.x
        mine = x[x.size - 1 - t]
        cuda.syncthreads()
        x[t] = mine

    return kernel


def one_adder():
    """Return the kernel `norm` below, completed: each thread leaves its sum of squares
    in `partial`, thread 0 alone adds them up into `total`, where all threads read it.

    x, y: float32 (n d); w: float32 (d). It is launched with n blocks of at most 64
    threads.
    """

    @cuda.jit
    def norm(x, w, eps, y):
        partial = cuda.shared.array(64, np.float32)
        total = cuda.shared.array(1, np.float32)
        i, t, step = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
        partial[t] = np.float32(0)
        for k in range(t, x.shape[1], step):
            partial[t] += x[i, k] * x[i, k]
        # what is missing stands here
        cuda.syncthreads()
        if t == 0:
            total[0] = np.float32(0)
            for other in range(step):
                total[0] += partial[other]
        cuda.syncthreads()
        scale = np.float32(1) / math.sqrt(total[0] / np.float32(x.shape[1]) + eps)
        for k in range(t, x.shape[1], step):
            y[i, k] = w[k] * (x[i, k] * scale)

    return norm
