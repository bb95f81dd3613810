"""GELU: x times the standard normal distribution function, and an approximation.

Source: Hendrycks and Gimpel, arXiv 1606.08415, section 2. Vision transformers use the
exact form, the inner head of ARINAR the one with tanh; they differ by up to 5e-4.
"""

from __future__ import annotations

import math

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])


def gelu(x):
    """(b n d) -> (b n d)

    Return x Phi(x) = x (1 + erf(x / sqrt(2))) / 2.

    >>> gelu(np.array([[[-1.0, 0.0, 1.0]]])).round(4).tolist()
    [[[-0.1587, 0.0, 0.8413]]]
    """
    half = x.dtype.type(0.5)
    return half * x * (1 + _erf(x * math.sqrt(0.5)).astype(x.dtype))


def gelu_tanh(x):
    """(b n d) -> (b n d)

    Return x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.

    >>> gelu_tanh(np.array([[[-1.0, 0.0, 1.0]]])).round(4).tolist()
    [[[-0.1588, 0.0, 0.8412]]]
    """
    half, cubic = x.dtype.type(0.5), x.dtype.type(0.044715)
    root = x.dtype.type(math.sqrt(2 / math.pi))
    return half * x * (1 + np.tanh(root * (x + cubic * x**3)))
