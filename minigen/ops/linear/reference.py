"""y = x W^T: the linear layer of every model here, without a bias.

Source: PyTorch nn.Linear(bias=False); the weight is stored (out, in).
"""

from __future__ import annotations

import numpy as np


def linear(x, w):
    # (b n d), (f d) -> (b n f)
    # where w is a weight
    """Return y[b, n, f] = sum over d of x[b, n, d] w[f, d].

    >>> linear(np.array([[[1.0, 2.0]]]), np.array([[3.0, 4.0], [5.0, 6.0]]))
    array([[[11., 17.]]])
    """
    return np.matmul(x, w.astype(x.dtype, copy=False).T)


def linear_add(x, w, residual):
    # (b n d), (f d), (b n f) -> (b n f)
    # where w is a weight
    """Return residual + linear(x, w): the end of every residual branch.

    >>> linear_add(np.ones((1, 1, 2)), np.ones((1, 2)), np.full((1, 1, 1), 5.0))
    array([[[7.]]])
    """
    return residual + linear(x, w)
