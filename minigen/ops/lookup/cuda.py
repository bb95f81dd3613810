"""Nearest code on a GPU: each block compares a few vectors with all the codes.

A thread takes every 128th code and keeps the nearest so far, for each of four vectors;
then the lanes of a warp, and the warps of a block, compare their results. Of two
codes at the same distance the one with the lower index is nearer, wherever and in
whatever order they are compared, so the result is that of a search from the first code
on. The distances exist in registers only: for 256 vectors and 16384 codes there would
be 16.8 MB of them.

Four vectors a block: an image's 256 vectors make 64 blocks, and a code that is loaded
is used four times; where there are fewer vectors, the last one is compared again. 16384
codes of 8 channels are 512 KB, which 64 blocks read from the L2 cache, 32 MB in all.
Neighbouring threads have codes 32 bytes apart, each in a sector of its own: eight loads
in a row ask for the same 32 sectors, and the first one brings them.
"""

from __future__ import annotations

import math

import numpy as np

from minigen.gpu.warps import ALL, warp_sum
from minigen.ops.intrinsics import widen
from minigen.target import cuda, gpu_inline, gpu_kernel

THREADS = 128
LANES = 32
WARPS = THREADS // LANES

VECTORS = 4
"""Vectors that a block compares with the codes at a time."""

FARTHEST = np.float32(np.inf)
SHORTEST = np.float32(1e-12)


@gpu_kernel
def _unit(x, y):
    """One block per 4 rows of x (n c), a warp for each.
    Lanes stride along the row, add up the squares by shuffles, and divide.
    Reads x 2; writes y 1.
    Shared memory: none.
    """
    lane = cuda.threadIdx.x % LANES
    i = cuda.blockIdx.x * WARPS + cuda.threadIdx.x // LANES
    # the same for a whole warp, since shuffles need all lanes
    if i < x.shape[0]:
        total = np.float32(0)
        for k in range(lane, x.shape[1], LANES):
            v = widen(x[i, k])
            total += v * v
        length = math.sqrt(warp_sum(total))
        # max would take it in place of a NaN
        if length < SHORTEST:
            length = SHORTEST
        for k in range(lane, x.shape[1], LANES):
            y[i, k] = widen(x[i, k]) / length


@gpu_inline
def _squares(z, first, squares):
    """Fill `squares` with |z|^2 of the block's vectors, from `first` on."""
    last = z.shape[0] - 1
    for i in range(VECTORS):
        squares[i] = np.float32(0)
    k = 0
    while k < z.shape[1]:
        for i in range(VECTORS):
            v = z[min(first + i, last), k]
            squares[i] += v * v
        k += 1


@gpu_inline
def _measure(z, codes, first, j, squares, near):
    """Fill `near` with the squared distances of the block's vectors from code j."""
    square = np.float32(0)
    for i in range(VECTORS):
        near[i] = np.float32(0)
    k, last = 0, z.shape[0] - 1
    while k < codes.shape[1]:
        v = widen(codes[j, k])
        square += v * v
        for i in range(VECTORS):
            near[i] += z[min(first + i, last), k] * v
        k += 1
    for i in range(VECTORS):
        near[i] = (squares[i] + square) - np.float32(2) * near[i]


@gpu_kernel
def _distances(z, codes, y):
    """One block per 4 vectors of z (n c) and 128 of the codes (k c).
    Each thread has a code, and its distances from all four.
    Reads z 2 * k..8 * k, codes (n + 3) // 4; writes y 1.
    Shared memory: none.
    """
    first = cuda.blockIdx.x * VECTORS
    j = cuda.blockIdx.y * THREADS + cuda.threadIdx.x
    squares = cuda.local.array(VECTORS, np.float32)
    near = cuda.local.array(VECTORS, np.float32)
    if j < codes.shape[0]:
        _squares(z, first, squares)
        _measure(z, codes, first, j, squares, near)
        for i in range(VECTORS):
            if first + i < z.shape[0]:
                y[first + i, j] = near[i]


@gpu_inline
def _nearer(distance, index, other, its):
    """Return the nearer of two codes: (distance, index)."""
    if other < distance or (other == distance and its < index):
        return other, its
    return distance, index


@gpu_inline
def _meet(distance, index, lanes):
    """Return the nearer of the results of this lane and of the one `lanes` away."""
    other = cuda.shfl_xor_sync(ALL, distance, lanes)
    its = cuda.shfl_xor_sync(ALL, index, lanes)
    return _nearer(distance, index, other, its)


@gpu_kernel
def _lookup(z, codes, y):
    """One block per 4 vectors of z (n c); codes is (k c).
    Each thread takes every 128th code; what they found is compared by shuffles.
    Reads z THREADS + k..4 * (THREADS + k), codes (n + 3) // 4; writes y 1.
    Shared memory: 128 bytes.
    """
    nearest = cuda.shared.array((VECTORS, WARPS), np.float32)
    found = cuda.shared.array((VECTORS, WARPS), np.int32)
    first = cuda.blockIdx.x * VECTORS
    lane, warp = cuda.threadIdx.x % LANES, cuda.threadIdx.x // LANES
    squares = cuda.local.array(VECTORS, np.float32)
    near = cuda.local.array(VECTORS, np.float32)
    distances = cuda.local.array(VECTORS, np.float32)
    indices = cuda.local.array(VECTORS, np.int32)
    _squares(z, first, squares)
    for i in range(VECTORS):
        # what remains if no distance is finite, as in a search from code 0 on
        distances[i], indices[i] = FARTHEST, np.int32(0)
    j = cuda.threadIdx.x
    while j < codes.shape[0]:
        _measure(z, codes, first, j, squares, near)
        for i in range(VECTORS):
            distances[i], indices[i] = _nearer(
                distances[i], indices[i], near[i], np.int32(j)
            )
        j += THREADS
    for i in range(VECTORS):
        distance, index = _meet(distances[i], indices[i], 16)
        distance, index = _meet(distance, index, 8)
        distance, index = _meet(distance, index, 4)
        distance, index = _meet(distance, index, 2)
        distance, index = _meet(distance, index, 1)
        if lane == 0:
            nearest[i, warp], found[i, warp] = distance, index
    cuda.syncthreads()
    i = cuda.threadIdx.x
    if i < VECTORS and first + i < z.shape[0]:
        distance, index = nearest[i, 0], found[i, 0]
        for other in range(1, WARPS):
            distance, index = _nearer(
                distance, index, nearest[i, other], found[i, other]
            )
        y[first + i] = index


def unit(device, x):
    """(n c) -> (n c)"""
    y = device.empty(x.shape)
    device.launch(_unit, -(-x.shape[0] // WARPS), THREADS, x, y)
    return y


def distances(device, z, codes):
    """(n c), (k c) -> (n k)"""
    y = device.empty((z.shape[0], codes.shape[0]))
    grid = -(-z.shape[0] // VECTORS), -(-codes.shape[0] // THREADS)
    device.launch(_distances, grid, THREADS, z, codes, y)
    return y


def lookup(device, z, codes):
    """(n c), (k c) -> (n)"""
    y = device.empty(z.shape[:1], np.int64)
    device.launch(_lookup, -(-z.shape[0] // VECTORS), THREADS, z, codes, y)
    return y
