"""Convolution as patches times weights, sixteen sums at a time.

The patch under each of a few output pixels is gathered into one row, so that a pixel is
the dot product of its patch with a row of weights. A step of the inner loop loads four
vectors of patches and four of weights and multiplies all sixteen pairs. A tile of patches
stays in the second cache while all the weights pass by, and is forgotten after that: the
whole image is never gathered at once.

Features, pixels and patch lengths that do not fill a tile are filled up with zeros, so
every pixel takes the same path through the same code: its bits depend neither on the
batch nor on the number of threads.
"""

from __future__ import annotations

import numpy as np

from minigen.errors import ShapeError
from minigen.ops import buffers
from minigen.target import inline, kernel, prange

_PATCHES = 32  # pixels whose patches are gathered together
_LANES = 16  # floats in the widest vector register


@inline
def _gather(x, first, patches, rows, columns, side, step, edge):
    # (b y x c) -> (n k)
    """Copy the patch of every output pixel from `first` on; outside of x it is zero."""
    b, height, width, c = x.shape
    patches[:] = np.float32(0)
    for i in range(min(patches.shape[0], b * rows * columns - first)):
        image, pixel = divmod(first + i, rows * columns)
        top = pixel // columns * step - edge
        left = pixel % columns * step - edge
        for tap in range(side * side):
            row, column = top + tap // side, left + tap % side
            if 0 <= row < height and 0 <= column < width:
                for k in range(c):
                    patches[i, tap * c + k] = x[image, row, column, k]


@inline
def _multiply(patches, i, w, j, bias, residual, out, p):
    """Write out[p..p+3, j..j+3] = residual + bias + patches[i..i+3] . w[j..j+3]."""
    zero = np.float32(0)
    s00 = s01 = s02 = s03 = zero
    s10 = s11 = s12 = s13 = zero
    s20 = s21 = s22 = s23 = zero
    s30 = s31 = s32 = s33 = zero
    for k in range(patches.shape[1]):
        w0, w1, w2, w3 = w[j, k], w[j + 1, k], w[j + 2, k], w[j + 3, k]
        v = patches[i, k]
        s00 += v * w0
        s01 += v * w1
        s02 += v * w2
        s03 += v * w3
        v = patches[i + 1, k]
        s10 += v * w0
        s11 += v * w1
        s12 += v * w2
        s13 += v * w3
        v = patches[i + 2, k]
        s20 += v * w0
        s21 += v * w1
        s22 += v * w2
        s23 += v * w3
        v = patches[i + 3, k]
        s30 += v * w0
        s31 += v * w1
        s32 += v * w2
        s33 += v * w3
    _store(out, p, j, s00, s01, s02, s03, bias, residual)
    _store(out, p + 1, j, s10, s11, s12, s13, bias, residual)
    _store(out, p + 2, j, s20, s21, s22, s23, bias, residual)
    _store(out, p + 3, j, s30, s31, s32, s33, bias, residual)


@inline
def _store(out, p, j, s0, s1, s2, s3, bias, residual):
    # a residual of a single row is shared by all pixels
    r = min(p, residual.shape[0] - 1)
    out[p, j] = residual[r, j] + (bias[j] + s0)
    out[p, j + 1] = residual[r, j + 1] + (bias[j + 1] + s1)
    out[p, j + 2] = residual[r, j + 2] + (bias[j + 2] + s2)
    out[p, j + 3] = residual[r, j + 3] + (bias[j + 3] + s3)


@kernel
def _convolve(x, w, bias, residual, out, rows, columns, side, step, edge):
    # (b y x c), (f k), (f), (n f), (n f)
    n, f = out.shape
    for tile in prange((n + _PATCHES - 1) // _PATCHES):
        first = tile * _PATCHES
        count = min(_PATCHES, n - first)
        patches = np.empty((count, w.shape[1]), np.float32)
        _gather(x, first, patches, rows, columns, side, step, edge)
        for j in range(0, f, 4):
            for i in range(0, count, 4):
                _multiply(patches, i, w, j, bias, residual, out, first + i)


def conv1x1(x, w, bias):
    # (b y x c), (f c), (f) -> (b y x f)
    """Mix the channels of every position: out = x w^T + bias."""
    residual = np.zeros((1, len(w)), np.float32)
    return _run(x, w[:, None, None], bias, residual, x.shape[1:3], 1, 0)


def conv1x1_add(x, w, bias, residual):
    # (b y x c), (f c), (f), (b y x f) -> (b y x f)
    """Return residual + conv1x1(x, w, bias)."""
    buffers.expect("residual", residual, (*x.shape[:3], len(w)))
    return _run(x, w[:, None, None], bias, residual, x.shape[1:3], 1, 0)


def conv3x3(x, w, bias):
    # (b y x c), (f 3 3 c), (f) -> (b y x f)
    """Convolve with zeros around the image, which keeps its size."""
    residual = np.zeros((1, len(w)), np.float32)
    return _run(x, w, bias, residual, x.shape[1:3], 1, 1)


def conv3x3_add(x, w, bias, residual):
    # (b y x c), (f 3 3 c), (f), (b y x f) -> (b y x f)
    """Return residual + conv3x3(x, w, bias)."""
    buffers.expect("residual", residual, (*x.shape[:3], len(w)))
    return _run(x, w, bias, residual, x.shape[1:3], 1, 1)


def conv3x3_half(x, w, bias):
    # (b y x c), (f 3 3 c), (f) -> (b y/2 x/2 f)
    """Convolve at every second row and column, which halves both sides (rounded down).

    One column of zeros is added on the right and one row at the bottom.
    """
    residual = np.zeros((1, len(w)), np.float32)
    return _run(x, w, bias, residual, (x.shape[1] // 2, x.shape[2] // 2), 2, 0)


def _run(x, w, bias, residual, grid, step, edge):
    f, side, _, c = w.shape
    if w.ndim != 4 or x.ndim != 4 or c != x.shape[3]:
        raise ShapeError(f"x {x.shape} and w {w.shape} differ in their last axis")
    buffers.expect("bias", bias, (f,))
    n, wide = len(x) * grid[0] * grid[1], _up(f, 4)
    out = buffers.empty((_up(n, 4), wide))
    _convolve(
        buffers.floats(x),
        _filled(w.reshape(f, -1), wide, _up(side * side * c, _LANES)),
        _filled(bias[None], 1, wide)[0],
        _filled(residual.reshape(-1, f), 1, wide),
        out, *grid, side, step, edge,
    )  # fmt: skip
    return np.ascontiguousarray(out[:n, :f]).reshape(len(x), *grid, f)


def _up(size, multiple):
    return -(-size // multiple) * multiple


def _filled(array, rows, columns):
    # zeros below and to the right, up to the shape asked for
    array = buffers.floats(array)
    if array.shape[0] >= rows and array.shape[1] == columns:
        return array
    wider = np.zeros((max(rows, array.shape[0]), columns), np.float32)
    wider[: array.shape[0], : array.shape[1]] = array
    return wider
