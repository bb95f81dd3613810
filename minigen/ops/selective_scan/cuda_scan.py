"""Parts of a scan: copies of tokens to shared memory, and the scan of a warp.

A step of a linear recurrence takes h to a h + b. Two steps, one after the other, are a
step again: first (a, b), then (c, d), takes h to c a h + (c b + d). This composition
is associative. So the steps of a sequence can be put together in pairs, pairs of pairs,
and so on, all pairs at once: log2 n rounds instead of n.

Source: Blelloch, "Prefix sums and their applications" (1990), section 1.4; Harris,
Sengupta and Owens, "Parallel prefix sum (scan) with CUDA", GPU Gems 3, chapter 39.
"""

from __future__ import annotations

import numpy as np

from minigen.gpu.warps import ALL
from minigen.target import cuda, gpu_inline

THREADS = 128
"""Threads side by side along the tokens, at most: of a short sequence fewer warps."""

TOKENS = 2
"""Consecutive tokens of a thread."""

SPAN = THREADS * TOKENS
"""Tokens that a block has before it at a time."""

WIDTH = 8
"""Channels, or states, that are staged at a time: 32 bytes, the least that is read."""

ROWS = 2
"""Rows of threads in a block, which share out the channels."""

OWN = WIDTH // ROWS
"""Channels of a thread."""

PITCH = SPAN + 4
"""Width of a row of tokens: so the cells that a warp fills lie in different banks."""


@gpu_inline
def number():
    """Return a thread's number in its block, and how many there are."""
    thread = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    # & tells the compiler that it is not negative, as a Python index may be
    return thread & (ROWS * THREADS - 1), ROWS * cuda.blockDim.x


@gpu_inline
def stage(array, at, stride, count, width, tile):
    """Fill tile[j, t] (WIDTH PITCH) with array[at + t stride + j].

    Zero where t is `count` or more, or j is `width` or more. Eight threads read 32
    bytes of a token, side by side.
    """
    thread, threads = number()
    j, t = thread & (WIDTH - 1), thread // WIDTH
    at += t * stride + j
    while t < TOKENS * cuda.blockDim.x:
        v = np.float32(0)
        if t < count and j < width:
            v = array[at]
        tile[j, t] = v
        t += threads // WIDTH
        at += threads // WIDTH * stride


@gpu_inline
def unstage(tile, array, at, stride, count, width):
    """Write tile[j, t] to array[at + t stride + j], for t < count and j < width."""
    thread, threads = number()
    j, t = thread & (WIDTH - 1), thread // WIDTH
    at += t * stride + j
    if j < width:
        while t < count:
            array[at] = tile[j, t]
            t += threads // WIDTH
            at += threads // WIDTH * stride


@gpu_inline
def join(a, b, distance):
    """Return (a, b) of a lane after those of the lane `distance` below it.

    The lowest lanes, which have no such lane, keep theirs.
    """
    lower_a = cuda.shfl_up_sync(ALL, a, distance)
    lower_b = cuda.shfl_up_sync(ALL, b, distance)
    if cuda.threadIdx.x & 31 >= distance:
        b = cuda.fma(a, lower_b, b)
        a = lower_a * a
    return a, b


@gpu_inline
def warp_scan(a, b):
    """Return to each lane (a, b) of all lanes up to its own, one after the other.

    After the first round a lane has composed two lanes, after the second four, after
    the fifth all 32. All lanes must call this.
    """
    a, b = join(a, b, 1)
    a, b = join(a, b, 2)
    a, b = join(a, b, 4)
    a, b = join(a, b, 8)
    return join(a, b, 16)


@gpu_inline
def before(value, nothing):
    """Return the value of the lane below; `nothing` to the lowest."""
    value = cuda.shfl_up_sync(ALL, value, 1)
    return value if cuda.threadIdx.x & 31 else nothing


def block_for(n):
    """Return the block for n tokens: whole warps along them, and ROWS of these.

    >>> block_for(1), block_for(65), block_for(10_000)
    ((32, 2), (64, 2), (128, 2))
    """
    return min(THREADS, 32 * -(-max(n, 1) // (32 * TOKENS))), ROWS
