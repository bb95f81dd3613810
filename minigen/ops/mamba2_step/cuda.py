"""A step of Mamba-2 on a GPU: one kernel from the convolution to the gated norm.

Nearly all memory traffic is the state: at 24 heads of 64 channels and 128 numbers each,
as in AiM-B, 786,432 bytes an image and layer are read, and as many written. The rest is
small: 14 KB of a projection, 28 KB of the state of the convolution.

`_mamba2_step` gives a block to each group of heads (AiM has one group) of each image,
since the norm is over a whole group. Its threads convolve the channels of the group
into shared memory; then each warp takes four rows of the state at a time, of which a
lane reads up to 16 numbers before it uses the first, so that 32 KB are in flight; then
the block normalises.

A single block runs on one multiprocessor, which reads about 64 bytes a cycle, some 110
bytes a nanosecond: no less than 7 microseconds for AiM-B, while the other 131 of an
H200 are idle. So below FEW blocks `_mamba2_step_head` gives each head a block of its
own, and `_mamba2_step_norm` does what must wait for all of them: it normalises, and
updates the convolution's state of B and C, which every head has read. Both ways do the
same arithmetic in the same order, so a result has the same bits. (All by arithmetic
from data sheets; not yet measured.)

In the kernels u is the projected input, x the state of the convolution, w0 its bias; dt
is the bias of the step sizes, A the logarithm of a head's rate, h the scan's state.

Shared memory holds ROOM channels, convolved, and HEADS heads: 32,768 + 3,072 bytes. A
group of AiM-1B, the widest, has 4,352 channels and 64 heads. A wider group goes head by
head; a head whose channels are more than ROOM, with B and C, is refused.
"""

from __future__ import annotations

import math

import numpy as np

from minigen.errors import ShapeError
from minigen.gpu.activations import silu, softplus
from minigen.gpu.warps import block_sum, warp_sum
from minigen.ops.intrinsics import widen
from minigen.target import cuda, gpu_inline, gpu_kernel

THREADS = 512
WARPS = THREADS // 32

ROWS, CELLS = 4, 4
"""Rows of the state that a warp takes at a time, and numbers of each for a lane."""

ROOM = 8192
"""The most channels of a block: those that it scans, and B and C."""

HEADS = 256
"""The most heads of a block."""

FEW = 16
"""Blocks below which each head gets its own. By arithmetic; not yet measured."""


@gpu_inline
def _convolve(u, w, w0, x, i, d, c, keep):
    # channel c of image i; if it is to keep it, the oldest input is forgotten for it
    newest = w.shape[1] - 1
    total = widen(w0[c])
    for j in range(newest):
        v = x[i, j + 1, c]
        if keep:
            x[i, j, c] = v
        total = cuda.fma(widen(w[c, j]), v, total)
    v = u[i, d + c]
    if keep:
        x[i, newest, c] = v
    return silu(cuda.fma(widen(w[c, newest]), v, total))


@gpu_inline
def _shared_channel(k, d, s, g, r):
    # of B and C of group g, s channels each, the k-th among all that are convolved
    return d + g * s + (k if k < s else k + (r - 1) * s)


@gpu_inline
def _take_in(u, w, w0, x, i, d, s, g, r, first, count, keep, signal):
    # signal: `count` channels from `first` on, then B and C of group g
    for k in range(cuda.threadIdx.x, count + 2 * s, THREADS):
        own = k < count
        c = first + k if own else _shared_channel(k - count, d, s, g, r)
        signal[k] = _convolve(u, w, w0, x, i, d, c, keep or own)


@gpu_inline
def _rates(u, dt, A, D, i, first, count, heads):
    # heads: step size, decay and D of `count` heads from `first` on
    at = u.shape[1] - dt.shape[0] + first
    for k in range(cuda.threadIdx.x, count, THREADS):
        step = softplus(u[i, at + k] + widen(dt[first + k]))
        heads[0, k] = step
        heads[1, k] = math.exp(-step * math.exp(widen(A[first + k])))
        heads[2, k] = widen(D[first + k])


@gpu_inline
def _scan(h, first, count, p, s, heads, signal):
    # `count` heads, whose rows of the state begin with row `first` of h; in `signal`
    # the result of a row takes the place of its channel
    held = cuda.local.array((ROWS, CELLS), np.float32)
    inputs = cuda.local.array(ROWS, np.float32)
    sums = cuda.local.array(ROWS, np.float32)
    lane, warp = cuda.threadIdx.x & 31, (cuda.threadIdx.x >> 5) & (WARPS - 1)
    shared = count * p
    j = 0
    while j < count:
        step, decay, skip = heads[0, j], heads[1, j], heads[2, j]
        row = ROWS * warp
        while row < p:
            at = j * p + row
            for q in range(ROWS):
                # if there are fewer, the last one is read again
                inputs[q] = step * signal[min(at + q, j * p + p - 1)]
                sums[q] = np.float32(0)
            k = lane
            while k < s:
                cell = (first + at) * s + k
                # all reads of a lane are in flight before the first number is used
                for q in range(ROWS):
                    for c in range(CELLS):
                        if row + q < p and k + 32 * c < s:
                            held[q, c] = h[cell + q * s + 32 * c]
                for c in range(CELLS):
                    if k + 32 * c < s:
                        B = signal[shared + k + 32 * c]
                        C = signal[shared + s + k + 32 * c]
                        for q in range(ROWS):
                            if row + q < p:
                                v = cuda.fma(decay, held[q, c], inputs[q] * B)
                                h[cell + q * s + 32 * c] = v
                                sums[q] = cuda.fma(v, C, sums[q])
                k += 32 * CELLS
            # all lanes have read the channels that are overwritten now
            cuda.syncwarp()
            for q in range(ROWS):
                total = warp_sum(sums[q])
                if lane == 0 and row + q < p:
                    signal[at + q] = cuda.fma(skip, signal[at + q], total)
            row += ROWS * WARPS
        j += 1


@gpu_inline
def _gate_norm(v, at, u, norm, i, first, count, eps, partial, y):
    # y: `count` channels from `first` on, of the values in v from `at` on
    total = np.float32(0)
    for k in range(cuda.threadIdx.x, count, THREADS):
        value = v[at + k] * silu(u[i, first + k])
        v[at + k] = value
        total = cuda.fma(value, value, total)
    mean = block_sum(total, partial) / np.float32(count)
    scale = np.float32(1) / math.sqrt(mean + eps)
    out = i * norm.shape[0] + first
    for k in range(cuda.threadIdx.x, count, THREADS):
        y[out + k] = widen(norm[first + k]) * (v[at + k] * scale)


@gpu_kernel(threads=THREADS)
def _mamba2_step(u, w, w0, dt, A, D, norm, x, h, p, s, eps, y):
    """One block per group of heads (grid x) and image of u (b f).
    Threads convolve a channel each, warps take 4 rows of h, then all gate and norm.
    Reads u 1, w b, w0 b, dt b, A b, D b, norm b, x 0..1, h 1; writes x 1, h 1, y 1.
    Shared memory: 4 * (ROOM + 3 * HEADS + 32) bytes.
    """
    signal = cuda.shared.array(ROOM, np.float32)
    heads = cuda.shared.array((3, HEADS), np.float32)
    partial = cuda.shared.array(32, np.float32)
    g, i, r = cuda.blockIdx.x, cuda.blockIdx.y, cuda.gridDim.x
    d = norm.shape[0]
    count = d // r
    first = g * count
    _take_in(u, w, w0, x, i, d, s, g, r, first, count, True, signal)
    _rates(u, dt, A, D, i, first // p, count // p, heads)
    cuda.syncthreads()
    _scan(h, i * d + first, count // p, p, s, heads, signal)
    cuda.syncthreads()
    _gate_norm(signal, 0, u, norm, i, first, count, eps, partial, y)


@gpu_kernel(threads=THREADS)
def _mamba2_step_head(u, w, w0, dt, A, D, x, h, r, s, y):
    """One block per row of y (m p), which is a head of D (n) of an image of u (b f).
    As `_mamba2_step` up to its norm; but of x only the head's own channels move on.
    Reads u 0..n, w b..m, w0 b..m, dt b, A b, D b, x 0..n, h 1; writes x 0..1, h 1, y 1.
    Shared memory: 4 * (ROOM + 3) bytes.
    """
    signal = cuda.shared.array(ROOM, np.float32)
    heads = cuda.shared.array((3, 1), np.float32)
    j, i, p = cuda.blockIdx.x, cuda.blockIdx.y, y.shape[1]
    d = D.shape[0] * p
    g = j // (D.shape[0] // r)
    _take_in(u, w, w0, x, i, d, s, g, r, j * p, p, False, signal)
    _rates(u, dt, A, D, i, j, 1, heads)
    cuda.syncthreads()
    _scan(h, i * d + j * p, 1, p, s, heads, signal)
    cuda.syncthreads()
    for k in range(cuda.threadIdx.x, p, THREADS):
        y[i * D.shape[0] + j, k] = signal[k]


@gpu_kernel
def _mamba2_step_norm(u, norm, x, s, eps, y):
    """One block per group of heads (grid x) and image of u (b f).
    Threads gate and norm y, and forget the oldest input of B and C, a channel each.
    Reads u 0..1, norm b, x 0..1, y 2; writes x 0..1, y 2.
    Shared memory: 128 bytes.
    """
    partial = cuda.shared.array(32, np.float32)
    g, i, r = cuda.blockIdx.x, cuda.blockIdx.y, cuda.gridDim.x
    d, newest = norm.shape[0], x.shape[1] - 1
    count = d // r
    for k in range(cuda.threadIdx.x, 2 * s, THREADS):
        c = _shared_channel(k, d, s, g, r)
        for j in range(newest):
            x[i, j, c] = x[i, j + 1, c]
        x[i, newest, c] = u[i, d + c]
    _gate_norm(y, i * d + g * count, u, norm, i, g * count, count, eps, partial, y)


def mamba2_step(
    device, projected, w, bias, dt_bias, A_log, D, norm, conv, state, r, eps
):
    """(b 1 f), (c w), (c), (h), (h), (h), (d), (b w c), (b h p s)
    -> (b 1 d), (b w c), (b h p s)"""
    b, h, p, s = state.shape
    d, c = h * p, w.shape[0]
    if p + 2 * s > ROOM:
        raise ShapeError(
            f"a head of {p} channels with a state of {s} takes {p + 2 * s} numbers of "
            f"shared memory, a block has room for {ROOM}"
        )
    y = device.empty((b, 1, d))
    u, flat, eps = projected.reshape(b, d + c + h), y.reshape(-1), np.float32(eps)
    given, cells = (u, w, bias, dt_bias, A_log, D), state.reshape(-1)
    if r * b < FEW or d // r + 2 * s > ROOM or h // r > HEADS:
        rest = conv, cells, r, s, y.reshape(b * h, p)
        device.launch(_mamba2_step_head, (h, b), THREADS, *given, *rest)
        rest = u, norm, conv, s, eps, flat
        device.launch(_mamba2_step_norm, (r, b), THREADS, *rest)
    else:
        rest = norm, conv, cells, p, s, eps, flat
        device.launch(_mamba2_step, (r, b), THREADS, *given, *rest)
    return y, conv, state
