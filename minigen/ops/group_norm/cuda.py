"""Group norm on a GPU, in float32 alone, in three kernels.

On a GPU float64 is too slow, and in float32 E[x^2] - E[x]^2 cancels: of numbers around
1000 that differ by 1 no digit would be left. So every sum here is one of
differences. The positions of an image are cut into chunks of 32; `_group_norm_chunks`
finds mean and squared deviations of every channel in every chunk, the paper's two
formulas one after the other. `_group_norm_join` brings the chunks and channels of a
group together by

    mean = sum of n_i mean_i / n
    squares = sum of squares_i + sum of n_i (mean_i - mean)^2

(Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983). Both
find a mean in two steps: how far the numbers are from the first of them, on average;
then, since the first may be far off, how far they are from the mean so found. Where all
numbers are the same both are zero, so a constant image becomes exactly its bias.
The last kernel centres, scales and shifts.

Chunks are cut within an image and added up in a fixed order, so an image has the same
bits in whatever batch. A block is 128 channels of a chunk: neighbouring threads have
neighbouring channels. 32 positions because a 16 x 16 x 512 image then has 32 blocks,
256 x 256 x 128 has 2048, and the second reading of 16 KB hits the L1 cache.
"""

from __future__ import annotations

import math

import numpy as np

from minigen.gpu.activations import silu
from minigen.gpu.warps import block_sum
from minigen.ops.intrinsics import widen
from minigen.target import cuda, gpu_inline, gpu_kernel

THREADS = 128
CHUNK = 32

WARP, MOST = 32, 512
"""The least and the most threads that join a group: one for about eight means."""

AHEAD = 4
"""Numbers that a thread loads before it writes the first result."""


@gpu_kernel
def _group_norm_chunks(x, means, squares):
    """One block per 32 positions of an image of x (b n c) and 128 channels.
    Each thread has a channel, and goes down the positions twice: mean, then squares.
    Reads x 2; writes means 1, squares 1.
    Shared memory: none.
    """
    chunk, image = cuda.blockIdx.x, cuda.blockIdx.z
    channel = cuda.blockIdx.y * THREADS + cuda.threadIdx.x
    start = chunk * CHUNK
    stop = min(start + CHUNK, x.shape[1])
    if channel < x.shape[2]:
        size = np.float32(stop - start)
        first = x[image, start, channel]
        total = np.float32(0)
        i = start + 1
        while i < stop:
            total += x[image, i, channel] - first
            i += 1
        mean = first + total / size
        rest = total = np.float32(0)
        i = start
        while i < stop:
            away = x[image, i, channel] - mean
            rest += away
            total += away * away
            i += 1
        means[image, chunk, channel] = mean + rest / size
        squares[image, chunk, channel] = total


@gpu_kernel
def _group_norm_join(means, squares, n, eps, groups):
    """One block per group of an image: groups (b 2 r), means (b t c) of n positions.
    Threads share out chunks and channels of the group, and add up twice, as above.
    Reads means 2..MOST+2, squares 1; writes groups 1.
    Shared memory: 128 bytes.
    """
    partial = cuda.shared.array(32, np.float32)
    group, image = cuda.blockIdx.x, cuda.blockIdx.y
    width = means.shape[2] // groups.shape[2]
    count = np.float32(n) * np.float32(width)
    # a row of threads for the channels of a chunk, and as many rows as fit in a block
    columns = min(width, cuda.blockDim.x)
    rows = cuda.blockDim.x // columns
    row, column = cuda.threadIdx.x // columns, cuda.threadIdx.x % columns
    # threads that are left over start beyond the last chunk
    begin = row if row < rows else means.shape[1]
    first = means[image, 0, group * width]
    total = np.float32(0)
    for chunk in range(begin, means.shape[1], rows):
        size = np.float32(min(CHUNK, n - chunk * CHUNK))
        for channel in range(group * width + column, (group + 1) * width, columns):
            total += size * (means[image, chunk, channel] - first)
    middle = first + block_sum(total, partial) / count
    rest = total = np.float32(0)
    for chunk in range(begin, means.shape[1], rows):
        size = np.float32(min(CHUNK, n - chunk * CHUNK))
        for channel in range(group * width + column, (group + 1) * width, columns):
            away = means[image, chunk, channel] - middle
            rest += size * away
            total += squares[image, chunk, channel] + size * (away * away)
    middle += block_sum(rest, partial) / count
    variance = block_sum(total, partial) / count
    if cuda.threadIdx.x == 0:
        groups[image, 0, group] = middle
        groups[image, 1, group] = np.float32(1) / math.sqrt(variance + eps)


@gpu_inline
def _as_it_is(v):
    return v


@gpu_inline
def _normalise(x, groups, w, bias, finish, y):
    """Write finish((x - mean) * scale + shift) for this thread's channel."""
    image, channel = cuda.blockIdx.z, cuda.blockIdx.y * THREADS + cuda.threadIdx.x
    start = cuda.blockIdx.x * CHUNK
    stop = min(start + CHUNK, x.shape[1])
    values = cuda.local.array(AHEAD, np.float32)
    if channel < x.shape[2]:
        group = channel // (x.shape[2] // groups.shape[2])
        middle = groups[image, 0, group]
        scale = groups[image, 1, group] * widen(w[channel])
        shift = widen(bias[channel])
        for i in range(start, stop, AHEAD):
            for k in range(AHEAD):
                if i + k < stop:
                    values[k] = x[image, i + k, channel]
            for k in range(AHEAD):
                if i + k < stop:
                    v = (values[k] - middle) * scale + shift
                    y[image, i + k, channel] = finish(v)


@gpu_kernel
def _group_norm(x, groups, w, bias, y):
    """One block per 32 positions of an image, 128 channels: x (b n c), groups (b 2 r).
    Each thread has a channel: four numbers are read, then four are written.
    Reads x 1, groups (n+31)//32*(c//r), w (n+31)//32*b, bias (n+31)//32*b; writes y 1.
    Shared memory: none.
    """
    _normalise(x, groups, w, bias, _as_it_is, y)


@gpu_kernel
def _group_norm_swish(x, groups, w, bias, y):
    """One block per 32 positions of an image, 128 channels: x (b n c), groups (b 2 r).
    As `_group_norm`, with v sigmoid(v) at the end.
    Reads x 1, groups (n+31)//32*(c//r), w (n+31)//32*b, bias (n+31)//32*b; writes y 1.
    Shared memory: none.
    """
    _normalise(x, groups, w, bias, silu, y)


def group_norm(device, x, w, bias, r, eps):
    """(b y x c), (c), (c) -> (b y x c)"""
    return _launch(device, _group_norm, x, w, bias, r, eps)


def group_norm_swish(device, x, w, bias, r, eps):
    """(b y x c), (c), (c) -> (b y x c)"""
    return _launch(device, _group_norm_swish, x, w, bias, r, eps)


def _launch(device, kernel, x, w, bias, r, eps):
    b, rows, columns, c = x.shape
    n = rows * columns
    chunks = -(-n // CHUNK)
    grid = chunks, -(-c // THREADS), b
    x = x.reshape((b, n, c))
    means, squares = (device.empty((b, chunks, c)) for _ in range(2))
    groups = device.empty((b, 2, r))
    device.launch(_group_norm_chunks, grid, THREADS, x, means, squares)
    join = means, squares, np.int32(n), np.float32(eps), groups
    device.launch(_group_norm_join, (r, b), _joiners(chunks * c // r), *join)
    y = device.empty(x.shape)
    device.launch(kernel, grid, THREADS, x, groups, w, bias, y)
    return y.reshape((b, rows, columns, c))


def _joiners(count):
    # threads for so many means: whole warps, by the size of an image alone
    return min(max(-(-count // (8 * WARP)), 1) * WARP, MOST)
