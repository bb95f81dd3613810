"""Nearest-neighbour upsampling: each position is read once and written four times."""

from __future__ import annotations

from minigen.cpu import buffers


def upsample(x):
    """(b y x c) -> (b 2y 2x c)

    It only copies, and NumPy copies as fast as memory allows.
    """
    b, y, columns, c = x.shape
    out = buffers.empty((b, 2 * y, 2 * columns, c), x.dtype)
    out.reshape(b, y, 2, columns, 2, c)[:] = x[:, :, None, :, None, :]
    return out
