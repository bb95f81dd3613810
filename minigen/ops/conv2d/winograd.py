"""The 3x3 convolution with 16 products where the plain one takes 36.

Four neighbouring outputs share most of their sixteen inputs. Winograd's minimal
filtering adds and subtracts the inputs first, multiplies them by weights that were
added up once, and adds and subtracts the products: the same outputs from 16 products
for each channel.

Source: Lavin and Gray, arXiv 1509.09308, section 4.1, F(2x2, 3x3).
"""

from __future__ import annotations

import numpy as np

from minigen.cpu.packed import WIDTH
from minigen.cpu.products import meet, stack
from minigen.cpu.tile import LANES, widen
from minigen.target import inline, kernel, prange, serial

_SQUARES = 48  # squares of 2x2 outputs worked on together
_LEAST = 128  # channels and features that repay the transforms

_PIXELS = 1024  # in images with less, transforming the weights takes too long

# row t of the input transform: one input, plus or minus another
_ONE = (0, 1, 2, 1)
_OTHER = (2, 2, 1, 3)
_SIGN = (np.float32(-1), np.float32(1), np.float32(-1), np.float32(-1))


def pays(x, w):
    """Say whether a convolution of these shapes is faster this way than the plain way.

    It does not depend on the batch, so the kernel is batch-invariant.
    """
    _, height, width, c = x
    return height * width >= _PIXELS and c >= _LEAST and w[0] % _LEAST == 0


@inline
def _weights(a, b, c):
    half = np.float32(0.5)
    return a, half * (a + b + c), half * (a - b + c), c


@inline
def _outputs(a, b, c, d):
    return a + b + c, b - c - d


@serial
def _transform_weights(w, u):
    # (9c 16) -> (16 c 16)
    """Write G w G^T of the 16 features of half a panel."""
    c = w.shape[0] // 9
    for k in range(c):
        for j in range(LANES):
            p0, p1, p2, p3 = _weights(w[k, j], w[c + k, j], w[2 * c + k, j])
            q0, q1, q2, q3 = _weights(w[3 * c + k, j], w[4 * c + k, j], w[5 * c + k, j])
            r0, r1, r2, r3 = _weights(w[6 * c + k, j], w[7 * c + k, j], w[8 * c + k, j])
            u[0, k, j], u[4, k, j], u[8, k, j], u[12, k, j] = _weights(p0, q0, r0)
            u[1, k, j], u[5, k, j], u[9, k, j], u[13, k, j] = _weights(p1, q1, r1)
            u[2, k, j], u[6, k, j], u[10, k, j], u[14, k, j] = _weights(p2, q2, r2)
            u[3, k, j], u[7, k, j], u[11, k, j], u[15, k, j] = _weights(p3, q3, r3)


@inline
def _transform_inputs(x, square, d, v, i):
    # (b y x c) -> (16 n c)
    """Write B^T d B at v[:, i], where d are the 4x4 inputs of a square."""
    b, height, width, c = x.shape
    columns = (width + 1) // 2
    image, place = divmod(square, (height + 1) // 2 * columns)
    top, left = place // columns * 2 - 1, place % columns * 2 - 1
    for t in range(16):
        row, column = top + t // 4, left + t % 4
        if image < b and 0 <= row < height and 0 <= column < width:
            for k in range(c):
                d[t, k] = x[image, row, column, k]
        else:
            for k in range(c):
                d[t, k] = np.float32(0)
    for t in range(16):
        p, q, sign = 4 * _ONE[t // 4], 4 * _OTHER[t // 4], _SIGN[t // 4]
        r, s, turn = _ONE[t % 4], _OTHER[t % 4], _SIGN[t % 4]
        pr, ps, qr, qs, out = d[p + r], d[p + s], d[q + r], d[q + s], v[t, i]
        for k in range(c):
            out[k] = (pr[k] + turn * ps[k]) + sign * (qr[k] + turn * qs[k])


@inline
def _transform_outputs(m, i, y):
    # (16 n 32) -> (4 32)
    """Write A^T m A of square i, four rows of 32 features, to y."""
    for k in range(WIDTH):
        p0, p1 = _outputs(m[0, i, k], m[1, i, k], m[2, i, k], m[3, i, k])
        q0, q1 = _outputs(m[4, i, k], m[5, i, k], m[6, i, k], m[7, i, k])
        r0, r1 = _outputs(m[8, i, k], m[9, i, k], m[10, i, k], m[11, i, k])
        s0, s1 = _outputs(m[12, i, k], m[13, i, k], m[14, i, k], m[15, i, k])
        y[0, k], y[2, k] = _outputs(p0, q0, r0, s0)
        y[1, k], y[3, k] = _outputs(p1, q1, r1, s1)


@inline
def _write_square(y, square, first, bias, residual, grid, out):
    # (4 32), (f), (n f) -> (n f)
    """Add bias and residual to the outputs of a square that lie inside of the image."""
    height, width = grid
    columns = (width + 1) // 2
    image, place = divmod(square, (height + 1) // 2 * columns)
    for t in range(4):
        row, column = place // columns * 2 + t // 2, place % columns * 2 + t % 2
        if row < height and column < width:
            p = (image * height + row) * width + column
            r = min(p, residual.shape[0] - 1)
            for k in range(WIDTH):
                j = first + k
                out[p, j] = residual[r, j] + (bias[j] + y[t, k])


@serial
def _convolve_squares(x, u, bias, residual, first, count, out):
    # (b y x c), (f/32*16 2 c 16), (f), (n f) -> (n f)
    grid, c = x.shape[1:3], x.shape[3]
    d = np.empty((16, c), np.float32)
    v = np.empty((16, count, c), np.float32)
    stacked = np.empty((16, count * c), np.float32)
    m = np.empty((16, count, WIDTH), np.float32)
    y = np.empty((4, WIDTH), np.float32)
    for i in range(count):
        _transform_inputs(x, first + i, d, v, i)
    for t in range(16):
        stack(v[t], stacked[t])
    for panel in range(len(u) // 16):
        for t in range(16):
            meet(stacked[t], u, panel * 16 + t, m[t])
        for i in range(count):
            _transform_outputs(m, i, y)
            _write_square(y, first + i, panel * WIDTH, bias, residual, grid, out)


@kernel
def transform_weights(w, u):
    # (f/32 2 9c 16) -> (f/32*16 2 c 16); w: float32, or the bits of two bytes
    inputs = w.shape[2]
    for unit in prange(2 * len(w)):
        p, half = divmod(np.int64(unit), 2)
        wide = np.empty((inputs, LANES), np.float32)
        for k in range(0, wide.size, LANES):
            widen(w, np.int64(unit) * wide.size + k, wide, k)
        _transform_weights(wide, u[16 * p : 16 * p + 16, half])


@kernel
def convolve(x, u, bias, residual, out):
    # (b y x c), (f/32*16 2 c 16), (f), (n f) -> (n f)
    n = x.shape[0] * ((x.shape[1] + 1) // 2) * ((x.shape[2] + 1) // 2)
    for unit in prange((n + _SQUARES - 1) // _SQUARES):
        first = np.int64(unit) * _SQUARES
        count = min(_SQUARES, n - first)
        _convolve_squares(x, u, bias, residual, first, count, out)
