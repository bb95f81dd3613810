"""Convolution as patches times weights; as loops it stands in `cpu_plain.py`.

The patches under a few dozen output pixels are gathered side by side, and each is the
row of a product (`cpu/products.py`). They stay in the second cache while all the
weights pass by, and are forgotten after that: the whole image is never gathered at
once. Large 3x3 convolutions go to `winograd.py` instead; those of single pixels are
matrix products, which `linear` does.

A pixel's bits depend neither on the batch nor on the number of threads.
"""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.packed import WIDTH, pack_weight
from minigen.cpu.products import product, stack, through
from minigen.cpu.registers import LANES
from minigen.ops.conv2d import winograd
from minigen.target import kernel, prange, serial

_PIXELS = 48  # pixels whose patches are gathered together, at most


@serial
def _gather(x, first, grid, step, edge, patches):
    # (b y x c) -> (n 9c): the patch of every output pixel from `first` on; outside of x
    # it is zero
    _, height, width, c = x.shape
    for i in range(len(patches)):
        image, place = divmod(first + i, grid[0] * grid[1])
        top = place // grid[1] * step - edge
        left = place % grid[1] * step - edge
        for t in range(9):
            row, column = top + t // 3, left + t % 3
            if 0 <= row < height and 0 <= column < width:
                for k in range(c):
                    patches[i, t * c + k] = x[image, row, column, k]
            else:
                for k in range(c):
                    patches[i, t * c + k] = np.float32(0)


@kernel
def _convolve(x, w, bias, residual, grid, step, edge, y):
    # (b y x c), (f/32 2 9c 16), (f), (n f) -> (n f)
    n, panels = len(y), (0, len(w))
    blocks = (n + _PIXELS - 1) // _PIXELS
    for unit in prange(blocks):
        block = np.int64(unit)
        first, last = block * n // blocks, (block + 1) * n // blocks
        patches = np.empty((last - first, w.shape[2]), np.float32)
        stacked = np.empty(patches.size, np.float32)
        _gather(x, first, grid, step, edge, patches)
        stack(patches, stacked)
        through(stacked, last - first, w, panels, first, residual, bias, True, y)


def conv3x3(x, w, bias):
    """(b y x c), (f 3 3 c), (f) -> (b y x f)"""
    return conv3x3_add(x, w, bias, _nothing(w))


def conv3x3_add(x, w, bias, residual):
    """(b y x c), (f 3 3 c), (f), (b y x f) -> (b y x f)"""
    if winograd.pays(x.shape, w.shape):
        return _winograd(x, w, bias, residual)
    if 9 * len(w) <= WIDTH:
        return _taps(x, w, bias, residual)
    return _patches(x, w, bias, residual, x.shape[1:3], 1, 1)


def conv3x3_half(x, w, bias):
    """(b y x c), (f 3 3 c), (f) -> (b y/2 x/2 f)"""
    grid = (x.shape[1] // 2, x.shape[2] // 2)
    return _patches(x, w, bias, _nothing(w), grid, 2, 0)


def _nothing(w):
    return np.zeros((1, len(w)), np.float32)


def _patches(x, w, bias, residual, grid, step, edge):
    f, panels = len(w), pack_weight(w, buffers.empty).panels
    out = buffers.empty((len(x), *grid, f))
    x, bias = buffers.floats(x), buffers.floats(bias)
    residual = buffers.floats(residual).reshape(-1, f)
    _convolve(x, panels, bias, residual, grid, step, edge, out.reshape(-1, f))
    return out


def _taps(x, w, bias, residual):
    # few features: all nine weights of each are in one panel, which every pixel meets
    # once, and nine shifted images are added up
    b, height, width, c = x.shape
    f = len(w)
    weights = np.asarray(w).reshape(f, 9, c).swapaxes(0, 1).reshape(9 * f, c)
    parts = product(x, weights).reshape(b, height, width, 9, f)
    out = buffers.empty((b, height, width, f))
    out[...] = residual + buffers.floats(bias)
    for t in range(9):
        down, right = t // 3 - 1, t % 3 - 1
        rows, columns = _overlap(height, down), _overlap(width, right)
        out[:, rows[0], columns[0]] += parts[:, rows[1], columns[1], t]
    return out


def _overlap(size, shift):
    # where an axis has something at a shift from it, and where that is
    here = slice(max(0, -shift), size - max(0, shift))
    return here, slice(max(0, shift), size - max(0, -shift))


def _winograd(x, w, bias, residual):
    f, c = len(w), x.shape[3]
    u = buffers.empty((f // WIDTH * 16, 2, c, LANES))
    winograd.transform_weights(pack_weight(w, buffers.empty).panels, u)
    out = buffers.empty((*x.shape[:3], f))
    residual = buffers.floats(residual.reshape(-1, f))
    winograd.convolve(
        buffers.floats(x), u, buffers.floats(bias), residual, out.reshape(-1, f)
    )
    return out
