"""Nearest code, a few vectors at a time.

Codes are held as columns, so that a vector register holds the same coordinate of
sixteen codes. The matrix of distances exists for a few vectors only. Unit rows are the
reference's: a codebook is small and is needed once.
"""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.scalar import fma
from minigen.cpu.sums import dot
from minigen.ops.lookup.reference import unit
from minigen.target import serial

__all__ = ["distances", "lookup", "unit"]

_VECTORS = 16  # vectors compared with all the codes at a time


@serial
def _distances(z, columns, out):
    # (n c), (c k) -> (n k)
    c, k = columns.shape
    squares = np.zeros(k, np.float32)
    for i in range(c):
        for j in range(k):
            squares[j] = fma(columns[i, j], columns[i, j], squares[j])
    for row in range(len(z)):
        square = dot(z[row], z[row])
        products = np.zeros(k, np.float32)
        for i in range(c):
            for j in range(k):
                products[j] = fma(z[row, i], columns[i, j], products[j])
        for j in range(k):
            out[row, j] = (square + squares[j]) - np.float32(2) * products[j]


def distances(z, codes):
    """(n c), (k c) -> (n k)"""
    out = buffers.empty((len(z), len(codes)))
    _distances(buffers.floats(z), buffers.floats(codes.T), out)
    return out


def lookup(z, codes):
    """(n c), (k c) -> (n)"""
    z, columns = buffers.floats(z), buffers.floats(codes.T)
    near = buffers.empty((min(_VECTORS, len(z)), len(codes)))
    nearest = buffers.empty(len(z), np.int64)
    for i in range(0, len(z), _VECTORS):
        some = z[i : i + _VECTORS]
        _distances(some, columns, near[: len(some)])
        nearest[i : i + _VECTORS] = near[: len(some)].argmin(1)
    return nearest
