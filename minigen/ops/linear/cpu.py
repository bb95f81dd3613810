"""y = x W^T with a tile of four rows of x by four rows of w held in registers.

A step of the inner loop loads four vectors of x and four of w and multiplies all
sixteen pairs. The four rows of w stay in the first cache while every group of four rows
of x passes by, so a weight is read from memory once. Rows of x that are missing from a
last group of four are zeros: each row takes the same path through the same code,
whatever the batch, and its result has the same bits.
"""

from __future__ import annotations

import numpy as np

from minigen.errors import ShapeError
from minigen.ops import buffers
from minigen.target import inline, kernel, prange

_ROWS = 4


@inline
def _tile(x, i, w0, w1, w2, w3, y, j, residual, add):
    # sixteen sums in one loop
    x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
    zero = np.float32(0)
    s00 = s01 = s02 = s03 = zero
    s10 = s11 = s12 = s13 = zero
    s20 = s21 = s22 = s23 = zero
    s30 = s31 = s32 = s33 = zero
    for k in range(x0.shape[0]):
        a0, a1, a2, a3 = w0[k], w1[k], w2[k], w3[k]
        v = x0[k]
        s00 += v * a0
        s01 += v * a1
        s02 += v * a2
        s03 += v * a3
        v = x1[k]
        s10 += v * a0
        s11 += v * a1
        s12 += v * a2
        s13 += v * a3
        v = x2[k]
        s20 += v * a0
        s21 += v * a1
        s22 += v * a2
        s23 += v * a3
        v = x3[k]
        s30 += v * a0
        s31 += v * a1
        s32 += v * a2
        s33 += v * a3
    _store(y, i, j, s00, s01, s02, s03, residual, add)
    _store(y, i + 1, j, s10, s11, s12, s13, residual, add)
    _store(y, i + 2, j, s20, s21, s22, s23, residual, add)
    _store(y, i + 3, j, s30, s31, s32, s33, residual, add)


@inline
def _store(y, i, j, s0, s1, s2, s3, residual, add):
    # only what lies inside of y
    if i < y.shape[0]:
        last = y.shape[1] - j
        if add:
            s0 += residual[i, j]
            if last > 1:
                s1 += residual[i, j + 1]
            if last > 2:
                s2 += residual[i, j + 2]
            if last > 3:
                s3 += residual[i, j + 3]
        y[i, j] = s0
        if last > 1:
            y[i, j + 1] = s1
        if last > 2:
            y[i, j + 2] = s2
        if last > 3:
            y[i, j + 3] = s3


@kernel
def _linear(x, w, y, residual, add):
    f = w.shape[0]
    for block in prange((f + 3) // 4):
        j = 4 * block
        w0 = w[j]
        w1 = w[min(j + 1, f - 1)]
        w2 = w[min(j + 2, f - 1)]
        w3 = w[min(j + 3, f - 1)]
        for i in range(0, x.shape[0], 4):
            _tile(x, i, w0, w1, w2, w3, y, j, residual, add)


@kernel
def _linear_bits(x, w, y, residual, add, half):
    f, d = w.shape
    for block in prange((f + 3) // 4):
        j = 4 * block
        bits = np.empty((4, d), np.uint32)
        for r in range(4):
            row = w[min(j + r, f - 1)]
            if half:
                # a float16 needs its exponent moved, which a multiplication does
                for k in range(d):
                    u = np.uint32(row[k])
                    bits[r, k] = (u & np.uint32(0x8000)) << np.uint32(16) | (
                        u & np.uint32(0x7FFF)
                    ) << np.uint32(13)
                wide = bits[r].view(np.float32)
                for k in range(d):
                    wide[k] *= np.float32(2.0**112)
            else:
                # a bfloat16 is the upper half of a float32
                for k in range(d):
                    bits[r, k] = np.uint32(row[k]) << np.uint32(16)
        tile = bits.view(np.float32)
        for i in range(0, x.shape[0], 4):
            _tile(x, i, tile[0], tile[1], tile[2], tile[3], y, j, residual, add)


def linear(x, w):
    # (b n d), (f d) -> (b n f)
    """Return y[b, n, f] = sum over d of x[b, n, d] w[f, d].

    x is float32; w is float32, float16 or bfloat16. ShapeError if the widths differ.
    """
    y = buffers.empty((*x.shape[:-1], w.shape[0]))
    return _run(x, w, y, y, False)


def linear_add(x, w, residual):
    # (b n d), (f d), (b n f) -> (b n f)
    """Return residual + linear(x, w) as a new array."""
    y = buffers.empty((*x.shape[:-1], w.shape[0]))
    buffers.expect("residual", residual, y.shape)
    return _run(x, w, y, buffers.floats(residual), True)


def _run(x, w, y, residual, add):
    d, f = x.shape[-1], w.shape[0]
    if w.ndim != 2 or w.shape[1] != d:
        raise ShapeError(f"x {x.shape} and w {w.shape} differ in their last axis")
    flat = buffers.floats(x).reshape(-1, d)
    if flat.shape[0] % _ROWS:
        padded = np.zeros((-(-flat.shape[0] // _ROWS) * _ROWS, d), np.float32)
        padded[: flat.shape[0]] = flat
        flat = padded
    bits = buffers.weight(w)
    out, residual = y.reshape(-1, f), residual.reshape(-1, f)
    if bits.dtype == np.float32:
        _linear(flat, bits, out, residual, add)
    else:
        _linear_bits(flat, bits, out, residual, add, w.dtype == np.float16)
    return y
