"""A kernel that never ends: its loop forgets to step."""

import numpy as np
from numba import cuda


@cuda.jit
def tree(x, w, eps, y):
    s = cuda.shared.array(128, np.float32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    v = np.float32(0)
    k = t
    while k < x.shape[1]:
        v += np.float32(1)  # forgot k += 128, and the read
    s[t] = v
    cuda.syncthreads()
    y[i, t] = s[t]
