"""y = x W^T + bias with its loops spelled out: to read before `cpu/products.py`.

A thread takes a feature of every row, so that it reads a row of w once.
`python -m minigen bench rungs` prints what tiles and panels gain over that.
"""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.target import kernel, prange


@kernel
def _linear(x, w, y):
    # (n d), (f d) -> (n f)
    for j in prange(w.shape[0]):
        for i in range(x.shape[0]):
            total = np.float32(0)
            for k in range(x.shape[1]):
                total += x[i, k] * w[j, k]
            y[i, j] = total


def linear(x, w, bias=None, residual=None):
    """(b ... d), (f d), (f)?, (b ... f)? -> (b ... f)

    Return y[b, n, f] = sum over d of x[b, n, d] w[f, d], plus bias and residual.
    """
    f, d = w.shape
    y = buffers.empty((*x.shape[:-1], f))
    _linear(buffers.floats(x).reshape(-1, d), buffers.floats(w), y.reshape(-1, f))
    if bias is not None:
        y += bias.astype(np.float32)
    return y if residual is None else residual + y
