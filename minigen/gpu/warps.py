"""What the threads of a warp, or of a block, know together: sums and maxima.

A warp is 32 threads with consecutive numbers, its lanes. A shuffle waits for all lanes
that its mask names, and hands a register from one to the other: in five rounds, each
with a partner half as far away, all 32 have met, and every lane holds the same bits,
since a sum of two does not depend on their order.
"""

from __future__ import annotations

import numpy as np

from minigen.target import cuda, gpu_inline

ALL = 0xFFFFFFFF
"""The mask of all 32 lanes."""

NOTHING = np.float32(-np.inf)
"""The largest of no numbers."""


@gpu_inline
def warp_sum(value):
    """Return the sum of `value` over the 32 lanes of a warp, to each of them."""
    value += cuda.shfl_xor_sync(ALL, value, 16)
    value += cuda.shfl_xor_sync(ALL, value, 8)
    value += cuda.shfl_xor_sync(ALL, value, 4)
    value += cuda.shfl_xor_sync(ALL, value, 2)
    value += cuda.shfl_xor_sync(ALL, value, 1)
    return value


@gpu_inline
def warp_max(value):
    """Return the largest `value` of the 32 lanes of a warp, to each of them."""
    value = max(value, cuda.shfl_xor_sync(ALL, value, 16))
    value = max(value, cuda.shfl_xor_sync(ALL, value, 8))
    value = max(value, cuda.shfl_xor_sync(ALL, value, 4))
    value = max(value, cuda.shfl_xor_sync(ALL, value, 2))
    value = max(value, cuda.shfl_xor_sync(ALL, value, 1))
    return value


@gpu_inline
def block_max(value, partial):
    """Return the largest `value` of a block of at most 32 warps, to every thread.

    partial: 32 float32 of shared memory, used as by `block_sum`.
    """
    lane, warp = cuda.threadIdx.x % 32, cuda.threadIdx.x // 32
    value = warp_max(value)
    if lane == 0:
        partial[warp] = value
    cuda.syncthreads()
    value = partial[lane] if lane < cuda.blockDim.x // 32 else NOTHING
    value = warp_max(value)
    # nobody may write the next maxima before all have read these
    cuda.syncthreads()
    return value


@gpu_inline
def block_sum(value, partial):
    """Return the sum of `value` over a block of at most 32 warps, to every thread.

    partial: 32 float32 of shared memory. All threads of the block must call this; the
    sum of each warp goes through `partial`, and every warp adds those up alike.
    """
    lane, warp = cuda.threadIdx.x % 32, cuda.threadIdx.x // 32
    value = warp_sum(value)
    if lane == 0:
        partial[warp] = value
    cuda.syncthreads()
    value = partial[lane] if lane < cuda.blockDim.x // 32 else np.float32(0)
    value = warp_sum(value)
    # nobody may write the next partial sums before all have read these
    cuda.syncthreads()
    return value
