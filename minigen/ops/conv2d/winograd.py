"""The 3x3 convolution with 16 products where the plain one takes 36.

Four neighbouring outputs share most of their sixteen inputs. Winograd's minimal
filtering adds and subtracts the inputs first, multiplies them by weights that were
added up once, and adds and subtracts the products: the same outputs from 16 products
for each channel.

Source: Lavin and Gray, arXiv 1509.09308, section 4.1, F(2x2, 3x3).
"""

from __future__ import annotations

import numpy as np

from minigen.cpu.scalar import fma
from minigen.target import inline, kernel, prange, serial

WIDTH = 128
"""Columns of a panel. As it is a constant, LLVM can see that the rows of a panel do not
overlap, without which it would not use vector registers."""

_SQUARES = 32  # squares of 2x2 outputs worked on together
_PAD = 16  # floats more a row, so that rows do not meet in the same cache lines

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
    return height * width >= _PIXELS and c >= WIDTH and c % 4 == 0 == w[0] % WIDTH


@inline
def _weights(a, b, c):
    half = np.float32(0.5)
    return a, half * (a + b + c), half * (a - b + c), c


@inline
def _outputs(a, b, c, d):
    return a + b + c, b - c - d


@serial
def _transform_weights(w, first, u):
    # (f 3 3 c) -> (16 c WIDTH)
    """Write G w G^T of WIDTH features from `first` on."""
    for k in range(w.shape[3]):
        for j in range(WIDTH):
            v = w[first + j]
            p0, p1, p2, p3 = _weights(v[0, 0, k], v[0, 1, k], v[0, 2, k])
            q0, q1, q2, q3 = _weights(v[1, 0, k], v[1, 1, k], v[1, 2, k])
            r0, r1, r2, r3 = _weights(v[2, 0, k], v[2, 1, k], v[2, 2, k])
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
def _multiply(a, b, out):
    # (n k), (k*WIDTH), (n*WIDTH)
    """Write out = a b, where b and out are flat with rows of WIDTH numbers.

    n and k are multiples of four. Sixteen numbers of a are held in registers while four
    rows of b, times these, are added to four rows of out. Unlike a dot product, a short
    sum needs no final addition across a register.
    """
    n, d = a.shape[0], b.size // WIDTH
    for j in range(n * WIDTH):
        out[j] = np.float32(0)
    for k in range(0, d, 4):
        rows = b[k * WIDTH : (k + 4) * WIDTH]
        for i in range(0, n, 4):
            sums = out[i * WIDTH : (i + 4) * WIDTH]
            a00, a01, a02, a03 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
            i1, i2, i3 = i + 1, i + 2, i + 3
            a10, a11, a12, a13 = a[i1, k], a[i1, k + 1], a[i1, k + 2], a[i1, k + 3]
            a20, a21, a22, a23 = a[i2, k], a[i2, k + 1], a[i2, k + 2], a[i2, k + 3]
            a30, a31, a32, a33 = a[i3, k], a[i3, k + 1], a[i3, k + 2], a[i3, k + 3]
            for j in range(WIDTH):
                b0, b1 = rows[j], rows[j + WIDTH]
                b2, b3 = rows[j + 2 * WIDTH], rows[j + 3 * WIDTH]
                s0, s1 = sums[j], sums[j + WIDTH]
                s2, s3 = sums[j + 2 * WIDTH], sums[j + 3 * WIDTH]
                s0 = fma(a03, b3, fma(a02, b2, fma(a01, b1, fma(a00, b0, s0))))
                s1 = fma(a13, b3, fma(a12, b2, fma(a11, b1, fma(a10, b0, s1))))
                s2 = fma(a23, b3, fma(a22, b2, fma(a21, b1, fma(a20, b0, s2))))
                s3 = fma(a33, b3, fma(a32, b2, fma(a31, b1, fma(a30, b0, s3))))
                sums[j], sums[j + WIDTH] = s0, s1
                sums[j + 2 * WIDTH], sums[j + 3 * WIDTH] = s2, s3


@inline
def _transform_outputs(m, i, y):
    # (16*n*WIDTH) -> (4*WIDTH)
    """Write A^T m A of square i, four rows of WIDTH features, to y."""
    step = _SQUARES * WIDTH
    at = m[i * WIDTH : 15 * step + (i + 1) * WIDTH]
    for k in range(WIDTH):
        p0, p1 = _outputs(at[k], at[k + step], at[k + 2 * step], at[k + 3 * step])
        q0, q1 = _outputs(
            at[k + 4 * step], at[k + 5 * step], at[k + 6 * step], at[k + 7 * step]
        )
        r0, r1 = _outputs(
            at[k + 8 * step], at[k + 9 * step], at[k + 10 * step], at[k + 11 * step]
        )
        s0, s1 = _outputs(
            at[k + 12 * step], at[k + 13 * step], at[k + 14 * step], at[k + 15 * step]
        )
        y[k], y[k + 2 * WIDTH] = _outputs(p0, q0, r0, s0)
        y[k + WIDTH], y[k + 3 * WIDTH] = _outputs(p1, q1, r1, s1)


@inline
def _write_square(y, square, first, bias, residual, grid, out):
    # (4*WIDTH), (f), (n f) -> (n f)
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
                out[p, j] = residual[r, j] + (bias[j] + y[t * WIDTH + k])


@serial
def _convolve_squares(x, u, bias, residual, first, count, out):
    # (b y x c), (f/WIDTH 16 c WIDTH), (f), (n f) -> (n f)
    grid, c = x.shape[1:3], x.shape[3]
    d = np.empty((16, c), np.float32)
    v = np.empty((16, _SQUARES, c + _PAD), np.float32)
    m = np.empty(16 * _SQUARES * WIDTH, np.float32)
    y = np.empty(4 * WIDTH, np.float32)
    for i in range(_SQUARES):
        _transform_inputs(x, first + i, d, v, i)
    for panel in range(len(u)):
        for t in range(16):
            products = m[t * _SQUARES * WIDTH : (t + 1) * _SQUARES * WIDTH]
            _multiply(v[t], u[panel, t].reshape(-1), products)
        for i in range(count):
            _transform_outputs(m, i, y)
            _write_square(y, first + i, panel * WIDTH, bias, residual, grid, out)


@kernel
def transform_weights(w, u):
    # (f 3 3 c) -> (f/WIDTH 16 c WIDTH)
    for panel in prange(len(u)):
        _transform_weights(w, panel * WIDTH, u[panel])


@kernel
def convolve(x, u, bias, residual, out):
    # (b y x c), (f/WIDTH 16 c WIDTH), (f), (n f) -> (n f)
    n = x.shape[0] * ((x.shape[1] + 1) // 2) * ((x.shape[2] + 1) // 2)
    for block in prange((n + _SQUARES - 1) // _SQUARES):
        first = block * _SQUARES
        count = min(_SQUARES, n - first)
        _convolve_squares(x, u, bias, residual, first, count, out)
