"""The 3x3 convolution with its loops spelled out: to read before `cpu.py`.

A thread takes one row of pixels. Each output is the reference, number by number: the
sum over nine taps and all channels, of which those outside of the image are zero, so
they are left out. `python -m minigen bench rungs` prints what `cpu.py`, which gathers
patches, and `winograd.py`, which multiplies less, gain over it.
"""

from __future__ import annotations

from minigen.cpu import buffers
from minigen.target import kernel, prange


@kernel
def _convolve(x, w, bias, step, edge, y):
    # (b y x c), (f 3 3 c), (f) -> (b y x f)
    b, rows, columns, f = y.shape
    for unit in prange(b * rows):
        image, row = unit // rows, unit % rows
        for column in range(columns):
            for j in range(f):
                total = bias[j]
                for tap in range(9):
                    i = row * step + tap // 3 - edge
                    k = column * step + tap % 3 - edge
                    if 0 <= i < x.shape[1] and 0 <= k < x.shape[2]:
                        for c in range(x.shape[3]):
                            total += x[image, i, k, c] * w[j, tap // 3, tap % 3, c]
                y[image, row, column, j] = total


def conv3x3(x, w, bias):
    """(b y x c), (f 3 3 c), (f) -> (b y x f)

    Convolve with zeros around the image, which keeps its size.
    """
    return _run(x, w, bias, x.shape[1:3], 1, 1)


def conv3x3_add(x, w, bias, residual):
    """(b y x c), (f 3 3 c), (f), (b y x f) -> (b y x f)

    Return residual + conv3x3(x, w, bias).
    """
    return residual + conv3x3(x, w, bias)


def conv3x3_half(x, w, bias):
    """(b y x c), (f 3 3 c), (f) -> (b y/2 x/2 f)

    Convolve at every second row and column, which halves both sides (rounded down).

    One column of zeros is added on the right and one row at the bottom.
    """
    return _run(x, w, bias, (x.shape[1] // 2, x.shape[2] // 2), 2, 0)


def _run(x, w, bias, grid, step, edge):
    y = buffers.empty((len(x), *grid, len(w)))
    _convolve(*map(buffers.floats, (x, w, bias)), step, edge, y)
    return y
