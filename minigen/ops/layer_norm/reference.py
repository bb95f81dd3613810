"""Layer norm: subtract a token's mean, divide by its standard deviation.

Source: Ba, Kiros, Hinton, arXiv 1607.06450, equation 4; PyTorch nn.LayerNorm (the
biased variance, eps inside the root).
"""

from __future__ import annotations

import numpy as np


def layer_norm(x, w, bias, eps):
    """(b n d), (d), (d) -> (b n d)
    where w and bias are weights

    Return w * standardise(x) + bias.

    >>> layer_norm(np.array([[[1.0, 3.0]]]), np.ones(2), np.full(2, 5.0), 0.0).tolist()
    [[[4.0, 6.0]]]
    """
    return standardise(x, eps) * w.astype(x.dtype) + bias.astype(x.dtype)


def standardise(x, eps):
    """(b n d) -> (b n d)

    Return (x - mean) / sqrt(variance + eps), both over the last axis.

    >>> standardise(np.array([[[1.0, 3.0]]]), 0.0).tolist()
    [[[-1.0, 1.0]]]
    """
    away = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(away * away, axis=-1, keepdims=True)
    return away / np.sqrt(variance + x.dtype.type(eps))
