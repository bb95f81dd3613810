"""Convolution as patches times weights; as loops it stands in `cpu_plain.py`.

The patch under each of a few output pixels is gathered into one row, so that a pixel
is the dot product of its patch with a row of weights. A tile of patches stays in the
second cache while all the weights pass by, and is forgotten after that: the whole image
is never gathered at once. Large 3x3 convolutions go to `winograd.py` instead; those of
single pixels are matrix products, which `linear` does.

Features, pixels and patches that do not fill a tile are filled up with zeros, so every
pixel takes the same path through the same code: its bits depend neither on the batch
nor on the number of threads.
"""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.tile import LANES, tile
from minigen.ops.conv2d import winograd
from minigen.target import inline, kernel, prange, serial

_PIXELS = 32  # pixels whose patches are gathered together

_four_by_four = tile(4, 4)


@inline
def _gather(x, first, grid, step, edge, patches):
    # (b y x c) -> (n k)
    """Copy the patch of every output pixel from `first` on; outside of x it is zero."""
    b, height, width, c = x.shape
    for i in range(patches.shape[0]):
        for k in range(patches.shape[1]):
            patches[i, k] = np.float32(0)
        image, place = divmod(first + i, grid[0] * grid[1])
        top = place // grid[1] * step - edge
        left = place % grid[1] * step - edge
        for t in range(9):
            row, column = top + t // 3, left + t % 3
            if image < b and 0 <= row < height and 0 <= column < width:
                for k in range(c):
                    patches[i, t * c + k] = x[image, row, column, k]


@serial
def _convolve_pixels(x, w, bias, residual, grid, step, edge, first, out):
    # (b y x c), (f k), (f), (n f) -> (n f)
    n, f = out.shape
    patches = np.empty((n, w.shape[1]), np.float32)
    _gather(x, first, grid, step, edge, patches)
    for j in range(0, f, 4):
        js = j, min(j + 1, f - 1), min(j + 2, f - 1), min(j + 3, f - 1)
        for i in range(0, n, 4):
            sums = _four_by_four(patches, (i, i + 1, i + 2, i + 3), w, js, js)
            for p in range(4):
                for c in range(min(4, f - j)):
                    out[i + p, j + c] = sums[4 * p + c]
    for i in range(n):
        # a residual of a single row is shared by all pixels
        r = min(first + i, residual.shape[0] - 1)
        for j in range(f):
            out[i, j] += residual[r, j] + bias[j]


@kernel
def _convolve(x, w, bias, residual, grid, step, edge, out):
    # (b y x c), (f k), (f), (n f) -> (n f)
    for block in prange((len(out) + _PIXELS - 1) // _PIXELS):
        first = block * _PIXELS
        pixels = out[first : first + _PIXELS]
        _convolve_pixels(x, w, bias, residual, grid, step, edge, first, pixels)


def conv3x3(x, w, bias):
    """(b y x c), (f 3 3 c), (f) -> (b y x f)"""
    return conv3x3_add(x, w, bias, _nothing(w))


def conv3x3_add(x, w, bias, residual):
    """(b y x c), (f 3 3 c), (f), (b y x f) -> (b y x f)"""
    if winograd.pays(x.shape, w.shape):
        return _winograd(x, w, bias, residual)
    return _patches(x, w, bias, residual, x.shape[1:3], 1, 1)


def conv3x3_half(x, w, bias):
    """(b y x c), (f 3 3 c), (f) -> (b y/2 x/2 f)

    Convolve at every second row and column, which halves both sides (rounded down).

    One column of zeros is added on the right and one row at the bottom.
    """
    grid = (x.shape[1] // 2, x.shape[2] // 2)
    return _patches(x, w, bias, _nothing(w), grid, 2, 0)


def _nothing(w):
    return np.zeros((1, len(w)), np.float32)


def _patches(x, w, bias, residual, grid, step, edge):
    f, n = len(w), len(x) * grid[0] * grid[1]
    out = buffers.empty((-(-n // 4) * 4, f))
    rows = buffers.padded(buffers.weight(w).reshape(f, -1), 1, LANES)
    x, bias = buffers.floats(x), buffers.floats(bias)
    residual = buffers.floats(residual).reshape(-1, f)
    _convolve(x, rows, bias, residual, grid, step, edge, out)
    return out[:n].reshape(len(x), *grid, f)


def _winograd(x, w, bias, residual):
    f, c = len(w), x.shape[3]
    u = buffers.empty((f // winograd.WIDTH, 16, c, winograd.WIDTH))
    winograd.transform_weights(buffers.floats(w), u)
    out = buffers.empty((*x.shape[:3], f))
    residual = buffers.floats(residual.reshape(-1, f))
    winograd.convolve(
        buffers.floats(x), u, buffers.floats(bias), residual, out.reshape(-1, f)
    )
    return out
