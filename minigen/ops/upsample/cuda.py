"""Nearest-neighbour upsampling on a GPU: each number is read once and written to four
places. The time to write them is nearly all it takes."""

from __future__ import annotations

from minigen.target import cuda, gpu_kernel

THREADS = 128


@gpu_kernel
def _upsample(x, y):
    """One block per position of an image row of x (m x c); y is (2m 2x c).
    Threads stride along the channels, and write each to a square of four positions.
    Reads x 1; writes y 1.
    Shared memory: none.
    """
    row, column = cuda.blockIdx.x, cuda.blockIdx.y
    k = cuda.threadIdx.x
    while k < x.shape[2]:
        v = x[row, column, k]
        y[2 * row, 2 * column, k] = v
        y[2 * row, 2 * column + 1, k] = v
        y[2 * row + 1, 2 * column, k] = v
        y[2 * row + 1, 2 * column + 1, k] = v
        k += THREADS


def upsample(device, x):
    """(b y x c) -> (b 2y 2x c)"""
    b, rows, columns, c = x.shape
    y = device.empty((b, 2 * rows, 2 * columns, c))
    # rows of all images in a column: row 2i belongs to the image that row i does
    tall = x.reshape((b * rows, columns, c)), y.reshape((2 * b * rows, 2 * columns, c))
    device.launch(_upsample, (b * rows, columns), THREADS, *tall)
    return y
