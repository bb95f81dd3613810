"""Convolution on a GPU: patches times weights, and no patch is ever stored.

Each output pixel is the dot product of the k = 9c numbers under it, its patch, with a
row of weights: a matrix product, of which the patches are one side. `_conv3x3_naive`
does it as it is said, one thread for one output; every number then comes from memory
again for every output that it goes into. In the other kernels a block computes a tile
of 64 pixels by 64 features: it gathers 16 columns of 64 patches and of 64 rows of
weights into shared memory, where each number serves 64 times, and goes on to the next
16. A patch exists for as long as it is used: with the patches of a 256 x 256 x 128
image stored, there would be 302 MB of them.

Why these sizes: a thread holds 16 pixels x 2 features in registers. Per column that is
32 multiply-adds for 18 numbers from shared memory. The 16 are the same for a whole
warp, and lie side by side: they come in 4 loads of 16 bytes, so there are 6 loads,
which take 24 cycles for 4 warps where the sums take 32 (by arithmetic; not measured).
Tiles of 64 x 64 are many enough for small images too: 16 x 16 x 512 features make 32
blocks.

An image of 3 features would waste 61 of 64 columns of a tile. There a warp computes a
pixel: its lanes share out the channels.

A sum always runs over taps and channels in the same order, whatever the batch. Which
kernel is taken depends on the number of features alone.
"""

from __future__ import annotations

import numpy as np

from minigen.gpu.warps import warp_sum
from minigen.ops.intrinsics import widen
from minigen.target import cuda, gpu_inline, gpu_kernel

THREADS = 128
PIXELS = 64
FEATURES = 64
DEPTH = 16

# a multiple of 4, so that rows begin at 16 bytes, and none of 32, so that 16 neighbours
# that store into as many rows meet in pairs at a memory bank, and not all at one
PITCH = 68

# of a thread
ROWS = 16
LANES = 32

FEW = 4
"""Up to as many features a warp computes all of a pixel."""


@gpu_kernel
def _conv3x3_naive(x, w, bias, height, width, y):
    """One block per pixel and 128 features of y (n f); x is (n c), w (f k).
    Each thread adds up one output, over the taps that lie within the image.
    Reads x f..f*9, w 0..n, bias n; writes y 1.
    Shared memory: none.
    """
    pixel = cuda.blockIdx.x
    feature = cuda.blockIdx.y * THREADS + cuda.threadIdx.x
    if feature < w.shape[0]:
        total = np.float32(0)
        for tap in range(9):
            row = pixel // width % height + tap // 3 - 1
            column = pixel % width + tap % 3 - 1
            if 0 <= row < height and 0 <= column < width:
                position = pixel + (tap // 3 - 1) * width + tap % 3 - 1
                for k in range(x.shape[1]):
                    total += x[position, k] * widen(w[feature, tap * x.shape[1] + k])
        y[pixel, feature] = total + widen(bias[feature])


@gpu_kernel
def _conv3x3_few(x, w, bias, height, width, y):
    """One block per 4 pixels of y (n f), a warp for each; x is (n c), w (f k).
    Lanes stride along the channels under every tap, then add up; f is at most 4.
    Reads x 1..9, w 0..(5 - f) * n, bias n; writes y 1.
    Shared memory: none.
    """
    lane = cuda.threadIdx.x % LANES
    pixel = cuda.blockIdx.x * (THREADS // LANES) + cuda.threadIdx.x // LANES
    c, f = x.shape[1], w.shape[0]
    sums = cuda.local.array(FEW, np.float32)
    for j in range(FEW):
        sums[j] = np.float32(0)
    # the same for a whole warp, as the shuffles demand
    if pixel < y.shape[0]:
        for tap in range(9):
            row = pixel // width % height + tap // 3 - 1
            column = pixel % width + tap % 3 - 1
            if 0 <= row < height and 0 <= column < width:
                position = pixel + (tap // 3 - 1) * width + tap % 3 - 1
                k = lane
                while k < c:
                    v = x[position, k]
                    # of fewer features the last one is taken again
                    for j in range(FEW):
                        sums[j] += v * widen(w[min(j, f - 1), tap * c + k])
                    k += LANES
        for j in range(FEW):
            total = warp_sum(sums[j])
            if lane == j and j < f:
                y[pixel, j] = total + widen(bias[j])


@gpu_inline
def _under(pixel, step, edge, height, width, rows, columns):
    """Return where the patch of a pixel begins, and which of its taps are in the image.

    The former is a position of x (m c), maybe outside; the latter has a bit for each of
    the 9 taps. rows, columns: sides of the output; height, width: of the input.
    """
    image = pixel // (rows * columns)
    top = pixel // columns % rows * step - edge
    left = pixel % columns * step - edge
    inside = 0
    for tap in range(9):
        row, column = top + tap // 3, left + tap % 3
        if 0 <= row < height and 0 <= column < width:
            inside |= 1 << tap
    return (image * height + top) * width + left, inside


@gpu_inline
def _multiply(x, w, n, width, first, inside, sums):
    """Fill `sums` (16 2) of every thread with its share of patches times weights.

    n: pixels in all; first, inside: of the tile's 64, as of `_under`. Goes tap by tap
    and channel by channel along the columns of w (f k).
    """
    patches = cuda.shared.array((DEPTH, PITCH), np.float32, alignment=16)
    weights = cuda.shared.array((DEPTH, PITCH), np.float32, alignment=16)
    thread = cuda.threadIdx.x
    lane, warp = thread % LANES, thread // LANES
    # 16 neighbours fetch a row's 16 columns, side by side in memory; 8 rows at a time
    column, begin = thread % DEPTH, thread // DEPTH
    tap, channel = 0, column
    for i in range(ROWS):
        for j in range(2):
            sums[i, j] = np.float32(0)
    for start in range(0, w.shape[1], DEPTH):
        while channel >= x.shape[1]:
            channel -= x.shape[1]
            tap += 1
        offset = tap // 3 * width + tap % 3
        for i in range(PIXELS * DEPTH // THREADS):
            p = begin + i * (THREADS // DEPTH)
            value = np.float32(0)
            # after the last column tap is 9 or more, and nobody has such a bit
            if inside[p] >> tap & 1:
                value = x[first[p] + offset, channel]
            patches[column, p] = value
        for i in range(FEATURES * DEPTH // THREADS):
            j = begin + i * (THREADS // DEPTH)
            feature = cuda.blockIdx.y * FEATURES + j
            value = np.float32(0)
            if feature < w.shape[0] and start + column < w.shape[1]:
                value = widen(w[feature, start + column])
            weights[column, j] = value
        channel += DEPTH
        cuda.syncthreads()
        # a warp all of whose pixels lie beyond the last has nothing to add up
        if cuda.blockIdx.x * PIXELS + warp * ROWS < n:
            # by two: the compiler unrolls what is inside, which saves index arithmetic
            for pair in range(0, min(DEPTH, w.shape[1] - start), 2):
                for k in range(pair, pair + 2):
                    near, far = weights[k, lane], weights[k, lane + LANES]
                    for i in range(ROWS):
                        v = patches[k, warp * ROWS + i]
                        sums[i, 0] += v * near
                        sums[i, 1] += v * far
        # nobody may fetch the next columns before all have used these
        cuda.syncthreads()


@gpu_inline
def _convolve(x, w, step, edge, height, width, rows, columns, n, sums):
    """Fill `sums` (16 2) of every thread for a 3x3 convolution; see `_under`."""
    first = cuda.shared.array(PIXELS, np.int32)
    inside = cuda.shared.array(PIXELS, np.int32)
    p = cuda.threadIdx.x
    pixel = cuda.blockIdx.x * PIXELS + p
    if p < PIXELS:
        begin, taps = _under(pixel, step, edge, height, width, rows, columns)
        first[p] = begin
        inside[p] = taps if pixel < n else 0
    cuda.syncthreads()
    _multiply(x, w, n, width, first, inside, sums)


@gpu_inline
def _write(sums, bias, y):
    lane, warp = cuda.threadIdx.x % LANES, cuda.threadIdx.x // LANES
    for j in range(2):
        feature = cuda.blockIdx.y * FEATURES + j * LANES + lane
        if feature < y.shape[1]:
            shift = widen(bias[feature])
            for i in range(ROWS):
                pixel = cuda.blockIdx.x * PIXELS + warp * ROWS + i
                if pixel < y.shape[0]:
                    y[pixel, feature] = sums[i, j] + shift


@gpu_inline
def _write_sum(sums, bias, residual, y):
    lane, warp = cuda.threadIdx.x % LANES, cuda.threadIdx.x // LANES
    for j in range(2):
        feature = cuda.blockIdx.y * FEATURES + j * LANES + lane
        if feature < y.shape[1]:
            shift = widen(bias[feature])
            for i in range(ROWS):
                pixel = cuda.blockIdx.x * PIXELS + warp * ROWS + i
                if pixel < y.shape[0]:
                    y[pixel, feature] = residual[pixel, feature] + (sums[i, j] + shift)


@gpu_kernel
def _conv3x3(x, w, bias, height, width, y):
    """One block per 64 x 64 tile of y (n f), pixels by features; x is (n c), w (f k).
    Threads gather 16 columns of patches of x, and of w, and add up 16 x 2 outputs each.
    Reads x 1..(f+63)//64*9, w (n+63)//64, bias (n+63)//64*4; writes y 1.
    Shared memory: 9216 bytes.
    """
    sums = cuda.local.array((ROWS, 2), np.float32)
    _convolve(x, w, 1, 1, height, width, height, width, y.shape[0], sums)
    _write(sums, bias, y)


@gpu_kernel
def _conv3x3_add(x, w, bias, residual, height, width, y):
    """One block per 64 x 64 tile of y (n f), pixels by features; x is (n c), w (f k).
    As `_conv3x3`, with the residual (n f) added at the end.
    Reads x 1..(f+63)//64*9, w (n+63)//64, bias (n+63)//64*4, residual 1; writes y 1.
    Shared memory: 9216 bytes.
    """
    sums = cuda.local.array((ROWS, 2), np.float32)
    _convolve(x, w, 1, 1, height, width, height, width, y.shape[0], sums)
    _write_sum(sums, bias, residual, y)


@gpu_kernel
def _conv3x3_half(x, w, bias, height, width, y):
    """One block per 64 x 64 tile of y (n f), pixels by features; x is (m c), w (f k).
    As `_conv3x3` at every second row and column; zeros on the right and at the bottom.
    Reads x 1..(f+63)//64*4, w (n+63)//64, bias (n+63)//64*4; writes y 1.
    Shared memory: 9216 bytes.
    """
    sums = cuda.local.array((ROWS, 2), np.float32)
    rows, columns = height // 2, width // 2
    _convolve(x, w, 2, 0, height, width, rows, columns, y.shape[0], sums)
    _write(sums, bias, y)


def conv3x3(device, x, w, bias):
    """(b y x c), (f 3 3 c), (f) -> (b y x f)

    For at most 4 features there is a kernel that wastes nothing on more.
    """
    sides = x.shape[1:3]
    rest = bias, *map(np.int32, sides)
    if w.shape[0] > FEW:
        return _launch(device, _conv3x3, x, w, rest, sides)
    return _launch(device, _conv3x3_few, x, w, rest, sides, (THREADS // LANES, FEW))


def conv3x3_add(device, x, w, bias, residual):
    """(b y x c), (f 3 3 c), (f), (b y x f) -> (b y x f)"""
    sides = x.shape[1:3]
    rest = bias, _rows(residual), *map(np.int32, sides)
    return _launch(device, _conv3x3_add, x, w, rest, sides)


def conv3x3_half(device, x, w, bias):
    """(b y x c), (f 3 3 c), (f) -> (b y/2 x/2 f)"""
    rest = bias, *map(np.int32, x.shape[1:3])
    sides = x.shape[1] // 2, x.shape[2] // 2
    return _launch(device, _conv3x3_half, x, w, rest, sides)


def conv3x3_naive(device, x, w, bias):
    """(b y x c), (f 3 3 c), (f) -> (b y x f)

    Return conv3x3(x, w, bias) with one thread for every output: slow, to read.
    """
    sides = x.shape[1:3]
    rest = bias, *map(np.int32, sides)
    return _launch(device, _conv3x3_naive, x, w, rest, sides, (1, THREADS))


def _launch(device, kernel, x, w, rest, sides, tile=(PIXELS, FEATURES)):
    # tile: pixels and features of a block; sides: of the output
    f, c = w.shape[0], x.shape[3]
    y = device.empty((x.shape[0], *sides, f))
    n = x.shape[0] * sides[0] * sides[1]
    if n:
        # half of a side of 1 is nothing, and there is nothing to launch
        grid = -(-n // tile[0]), -(-f // tile[1])
        arrays = x.reshape((-1, c)), w.reshape((f, -1)), *rest, y.reshape((n, f))
        device.launch(kernel, grid, THREADS, *arrays)
    return y


def _rows(residual):
    b, y, x, f = residual.shape
    return residual.reshape((b * y * x, f))
