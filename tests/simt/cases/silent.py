"""A kernel that is right as C, and wrong as Numba compiles it."""

import numpy as np
from numba import cuda


@cuda.jit
def philox_as_in_c(key, images, positions, step, index, u):
    # as one writes it from the C code, where products and sums of uint32 wrap
    cell, m = cuda.grid(1), positions.shape[0]
    if cell < images.shape[0] * m:
        i, j = cell // m, cell % m
        c0, c1, c2, c3 = (
            np.uint32(images[i]),
            np.uint32(step),
            np.uint32(positions[j]),
            np.uint32(index),
        )
        k0, k1 = key[0], key[1]
        for _ in range(10):
            a, b = (
                np.uint64(c0) * np.uint64(0xD2511F53),
                np.uint64(c2) * np.uint64(0xCD9E8D57),
            )
            lo0, lo1 = c0 * np.uint32(0xD2511F53), c2 * np.uint32(0xCD9E8D57)
            c0, c1, c2, c3 = (
                np.uint32(b >> np.uint64(32)) ^ c1 ^ k0,
                lo1,
                np.uint32(a >> np.uint64(32)) ^ c3 ^ k1,
                lo0,
            )
            k0, k1 = k0 + np.uint32(0x9E3779B9), k1 + np.uint32(0xBB67AE85)
        top = np.float32(c0 >> np.uint32(8))
        u[i, j] = min(top + np.float32(0.5), np.float32(2**24 - 1)) * np.float32(2**-24)
