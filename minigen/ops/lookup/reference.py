"""Nearest code by squared distance.

Source: van den Oord et al., arXiv 1711.00937, equation 2; unit rows as in Yu et al.,
arXiv 2110.04627, section 3.2; FoundationVision/LlamaGen vq_model.py::VectorQuantizer.
"""

import numpy as np


def unit(x):
    """(n c) -> (n c)
    where x is a weight

    Scale every row to length 1: x / max(|x|, 1e-12), in float32 at least.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    x = x.astype(np.float64 if x.dtype == np.float64 else np.float32, copy=False)
    length = np.sqrt((x * x).sum(-1, keepdims=True))
    return x / np.maximum(length, x.dtype.type(1e-12))


def distances(z, codes):
    """(n c), (k c) -> (n k)
    where codes is a weight

    Return all squared distances: |z|^2 + |code|^2 - 2 z.code.

    >>> distances(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 3.0]]))
    array([[25.,  1.]])
    """
    codes = codes.astype(z.dtype)
    squares = (z * z).sum(-1)[:, None] + (codes * codes).sum(-1)
    return squares - 2 * (z @ codes.T)


def lookup(z, codes):
    """(n c), (k c) -> (n)
    where codes is a weight

    Return the index of the nearest code of every row, the lowest on exact ties.

    >>> lookup(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 3.0]]))
    array([1])
    """
    return distances(z, codes).argmin(-1)
