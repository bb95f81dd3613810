"""y = x W^T + bias: the linear layer of every model here.

Source: PyTorch nn.Linear; the weight is stored (out, in).
"""

from __future__ import annotations

import numpy as np


def linear(x, w, bias=None, residual=None):
    """(b ... d), (f d), (f)?, (b ... f)? -> (b ... f)
    where w and bias are weights

    Return y[b, n, f] = sum over d of x[b, n, d] w[f, d], plus bias and residual.

    bias: a number for each feature, or None; residual: an array to add the result to,
    such as a residual stream, or None.

    >>> x, w = np.array([[[1.0, 2.0]]]), np.array([[3.0, 4.0], [5.0, 6.0]])
    >>> linear(x, w)
    array([[[11., 17.]]])
    >>> linear(x, w, bias=np.array([0.0, 0.5]), residual=np.array([[[100.0, 200.0]]]))
    array([[[111. , 217.5]]])
    """
    y = np.matmul(x, w.astype(x.dtype, copy=False).T)
    if bias is not None:
        y = y + bias.astype(x.dtype)
    return y if residual is None else residual + y
