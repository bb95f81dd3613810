"""The scan of Mamba-2 on a GPU: token by token, or in chunks.

`_ssd_naive` goes from token to token, a thread a channel. `_ssd` goes the same way, but
gives a channel a warp, whose lanes share its states: 128 of them, as in Mamba-2, are
512 bytes side by side. That is for the single token that a model draws: there are no
other tokens to work on in parallel.

`ssd_chunked` (cuda_chunked.py) computes the same by products of matrices, in which a
number is used for 32 multiply-adds once it is read: so sequences take that.
"""

from __future__ import annotations

import math

import numpy as np

from minigen.gpu.warps import warp_sum
from minigen.ops.intrinsics import widen
from minigen.ops.ssd import cuda_chunked as chunked
from minigen.ops.ssd.cuda_chunked import (
    _ssd_chunked_left,
    _ssd_chunked_outputs,
    _ssd_chunked_scores,
    _ssd_chunked_states,
)
from minigen.target import cuda, gpu_kernel

THREADS, LANES = 128, 32


@gpu_kernel
def _ssd_naive(x, delta, A_log, B, C, D, f, state, y):
    """One block per 128 channels of x (b n d); B and C are (b n r s).
    A thread takes one channel through all tokens, f threads a head.
    Reads x 1, delta f, A_log b*f, B d//r, C d//r, D b*f, state n; writes y 1, state n.
    Shared memory: none.
    """
    b, n, d = x.shape
    unit = cuda.grid(1)
    if unit < b * d:
        image, k = unit // d, unit % d
        head, g = k // f, k // (d // B.shape[2])
        A, skip = -math.exp(widen(A_log[head])), widen(D[head])
        for t in range(n):
            v, step, total = x[image, t, k], delta[image, t, head], np.float32(0)
            decay = math.exp(step * A)
            for j in range(state.shape[2]):
                h = decay * state[image, k, j] + step * v * B[image, t, g, j]
                state[image, k, j] = h
                total += C[image, t, g, j] * h
            y[image, t, k] = total + skip * v


@gpu_kernel
def _ssd(x, delta, A_log, B, C, D, f, state, y):
    """One block per 4 channels of x (b n d); B and C are (b n r s).
    A warp takes one channel through all tokens, f threads a head; lanes share states.
    Reads x 32, delta f, A_log b*f, B d//r, C d//r, D b*f, state n; writes y 1, state n.
    Shared memory: none.
    """
    b, n, d = x.shape
    unit, lane = cuda.grid(1) // LANES, cuda.threadIdx.x & 31
    # all lanes of a warp have a channel, or none has: all or none reach the shuffles
    if unit < b * d:
        image, k = unit // d, unit % d
        head, g = k // (f // LANES), k // (d // B.shape[2])
        A, skip = -math.exp(widen(A_log[head])), widen(D[head])
        for t in range(n):
            v, step, total = x[image, t, k], delta[image, t, head], np.float32(0)
            decay = math.exp(step * A)
            j = lane
            while j < state.shape[2]:
                h = decay * state[image, k, j] + step * v * B[image, t, g, j]
                state[image, k, j] = h
                total += C[image, t, g, j] * h
                j += LANES
            total = warp_sum(total)
            if lane == 0:
                y[image, t, k] = total + skip * v


def ssd(device, x, delta, A_log, B, C, D, state):
    """(b n h p), (b n h), (h), (b n r s), (b n r s), (h), (b h p s)
    -> (b n h p), (b h p s)"""
    return _walk(device, _ssd, LANES, x, delta, A_log, B, C, D, state)


def ssd_naive(device, x, delta, A_log, B, C, D, state):
    """(b n h p), (b n h), (h), (b n r s), (b n r s), (h), (b h p s)
    -> (b n h p), (b h p s)

    Return the same from a kernel that gives a channel a single thread: to read.
    """
    return _walk(device, _ssd_naive, 1, x, delta, A_log, B, C, D, state)


def _walk(device, kernel, lanes, x, delta, A_log, B, C, D, state):
    b, n, h, p = x.shape
    y = device.empty(x.shape)
    rows = [array.reshape((b, n, h * p)) for array in (x, y)]
    cells = state.reshape((b, h * p, state.shape[3]))
    arguments = rows[0], delta, A_log, B, C, D, lanes * p, cells, rows[1]
    device.launch(kernel, -(-b * h * p * lanes // THREADS), THREADS, *arguments)
    return y, state


def ssd_chunked(device, x, delta, A_log, B, C, D, state, chunk):
    """(b n h p), (b n h), (h), (b n r s), (b n r s), (h), (b h p s)
    -> (b n h p), (b h p s)"""
    b, n, h, p = x.shape
    r, s = B.shape[2:]
    y = device.empty(x.shape)
    if n == 0:
        return y, state
    # chunks, tiles of tokens in a chunk, of channels, and of states
    chunk = min(chunk, n)
    m = -(-n // chunk)
    u, q, t = (-(-size // chunked.TILE) for size in (chunk, p, s))
    CB, decays = device.empty((b, n, r, chunk)), device.empty((b, m, h))
    left = device.empty((b, m, h, p * s))

    def launch(kernel, grid, *arguments):
        device.launch(kernel, grid, chunked.THREADS, *arguments)

    x, delta, B, C = (a.reshape(-1) for a in (x, delta, B, C))
    launch(_ssd_chunked_scores, (u * u, r * m, b), B, C, n, chunk, u, s, CB)
    sizes = n, chunk, p, r, s, q, t
    grid = h * q * t, m, b
    launch(_ssd_chunked_left, grid, x, delta, A_log, B, *sizes, decays, left)
    cells = state.reshape((b, h, p * s))
    blocks = -(-b * h * p * s // chunked.THREADS)
    launch(_ssd_chunked_states, blocks, decays, left, cells)
    given = x, delta, A_log, C, D, CB, left.reshape(-1)
    sizes = n, chunk, p, s, h // r * q, q, m * u, u
    launch(_ssd_chunked_outputs, (h * q, m * u, b), *given, *sizes, y.reshape(-1))
    return y, state
