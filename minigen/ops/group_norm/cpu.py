"""Group norm in two passes over the image, with sums in float64.

The first pass adds up every image row by itself, and the rows are then added in their
order, so the result depends neither on the batch nor on the number of threads. With
float64 sums E[x^2] - E[x]^2 is safe: its cancellation costs float64 digits that
float32 pixels never had.
"""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.scalar import exp
from minigen.target import kernel, prange, serial


@serial
def _sum_rows(x, sums, squares):
    # (n x c) -> (n c), (n c)
    n, columns, c = x.shape
    for row in range(n):
        for k in range(c):
            sums[row, k] = squares[row, k] = 0.0
        for column in range(columns):
            for k in range(c):
                v = np.float64(x[row, column, k])
                sums[row, k] += v
                squares[row, k] += v * v


@serial
def _scale(x, mean, scale, bias, out):
    # (n x c), (b c), (b c), (c) -> (n x c)
    n, columns, c = x.shape
    rows = n // mean.shape[0]
    for row in range(n):
        image = row // rows
        for column in range(columns):
            for k in range(c):
                v = (x[row, column, k] - mean[image, k]) * scale[image, k] + bias[k]
                out[row, column, k] = v


@kernel
def _scale_swish(x, mean, scale, bias, out):
    # (n x c), (b c), (b c), (c) -> (n x c)
    n, columns, c = x.shape
    rows = n // mean.shape[0]
    for row in prange(n):
        image = row // rows
        for column in range(columns):
            for k in range(c):
                v = (x[row, column, k] - mean[image, k]) * scale[image, k] + bias[k]
                out[row, column, k] = v / (np.float32(1) + exp(-v))


def group_norm(x, w, bias, r, eps):
    """(b y x c), (c), (c) -> (b y x c)"""
    return _run(_scale, x, w, bias, r, eps)


def group_norm_swish(x, w, bias, r, eps):
    """(b y x c), (c), (c) -> (b y x c)"""
    return _run(_scale_swish, x, w, bias, r, eps)


def _run(scale_kernel, x, w, bias, r, eps):
    b, y, columns, c = x.shape
    flat = buffers.floats(x).reshape(b * y, columns, c)
    sums, squares = (buffers.empty((b * y, c), np.float64) for _ in range(2))
    _sum_rows(flat, sums, squares)
    # image by image, so that a batch cannot change the order of a sum
    moments = [
        _moments(sums[i : i + y], squares[i : i + y], r, columns, eps)
        for i in range(0, b * y, y)
    ]
    mean, inverse = np.repeat(moments, c // r, axis=2).swapaxes(0, 1)
    scale = (inverse * w.astype(np.float64)).astype(np.float32)
    out = buffers.empty(flat.shape)
    scale_kernel(flat, mean.astype(np.float32), scale, buffers.floats(bias), out)
    return out.reshape(x.shape)


def _moments(sums, squares, r, columns, eps):
    # (y c), (y c) -> (r), (r)
    """Return the mean of every group of one image, and 1 / its deviation."""
    count = sums.size * columns // r
    mean = sums.sum(0).reshape(r, -1).sum(1) / count
    square = squares.sum(0).reshape(r, -1).sum(1) / count
    variance = np.maximum(square - mean * mean, 0.0)
    return mean, 1 / np.sqrt(variance + eps)
