"""Small matrix products in registers: the innermost loops of the convolutions."""

from __future__ import annotations

import numpy as np

from minigen.target import inline

WIDTH = 128
"""Columns of a panel. As it is a constant, LLVM can see that the rows of a panel do not
overlap, without which it would not use vector registers."""


@inline
def multiply_rows(a, b, out):
    # (n k), (m k) -> (n m)
    """Write out = a b^T, sixteen dot products at a time; n and m are multiples of four.

    A step of the inner loop loads four vectors of a and four of b and multiplies all
    sixteen pairs, so that arithmetic and not memory is what takes the time.
    """
    zero = np.float32(0)
    for j in range(0, b.shape[0], 4):
        for i in range(0, a.shape[0], 4):
            s00 = s01 = s02 = s03 = zero
            s10 = s11 = s12 = s13 = zero
            s20 = s21 = s22 = s23 = zero
            s30 = s31 = s32 = s33 = zero
            for k in range(a.shape[1]):
                b0, b1, b2, b3 = b[j, k], b[j + 1, k], b[j + 2, k], b[j + 3, k]
                v = a[i, k]
                s00 += v * b0
                s01 += v * b1
                s02 += v * b2
                s03 += v * b3
                v = a[i + 1, k]
                s10 += v * b0
                s11 += v * b1
                s12 += v * b2
                s13 += v * b3
                v = a[i + 2, k]
                s20 += v * b0
                s21 += v * b1
                s22 += v * b2
                s23 += v * b3
                v = a[i + 3, k]
                s30 += v * b0
                s31 += v * b1
                s32 += v * b2
                s33 += v * b3
            out[i, j], out[i, j + 1], out[i, j + 2], out[i, j + 3] = s00, s01, s02, s03
            i1, i2, i3 = i + 1, i + 2, i + 3
            out[i1, j], out[i1, j + 1], out[i1, j + 2], out[i1, j + 3] = (
                s10,
                s11,
                s12,
                s13,
            )
            out[i2, j], out[i2, j + 1], out[i2, j + 2], out[i2, j + 3] = (
                s20,
                s21,
                s22,
                s23,
            )
            out[i3, j], out[i3, j + 1], out[i3, j + 2], out[i3, j + 3] = (
                s30,
                s31,
                s32,
                s33,
            )


@inline
def multiply_panel(a, b, out):
    # (n k), (k*WIDTH), (n*WIDTH)
    """Write out = a b, where b and out are flat with rows of WIDTH numbers.

    n and k are multiples of four. Sixteen numbers of a are held in registers while four
    rows of b are added, so multiplied, to four rows of out: short sums need no final
    addition across a register, which is where `multiply_rows` loses time.
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
                sums[j] += a00 * b0 + a01 * b1 + a02 * b2 + a03 * b3
                sums[j + WIDTH] += a10 * b0 + a11 * b1 + a12 * b2 + a13 * b3
                sums[j + 2 * WIDTH] += a20 * b0 + a21 * b1 + a22 * b2 + a23 * b3
                sums[j + 3 * WIDTH] += a30 * b0 + a31 * b1 + a32 * b2 + a33 * b3
