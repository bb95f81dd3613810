"""SiLU, also called swish: a number times its own sigmoid.

Source: Hendrycks and Gimpel, arXiv 1606.08415; the gated form: Shazeer, arXiv
2002.05202, in the halves of state-spaces/mamba modules/mlp.py::GatedMLP.
"""

from __future__ import annotations

import numpy as np


def silu(x):
    """(b n d) -> (b n d)

    Return x sigmoid(x) = x / (1 + exp(-x)).

    >>> silu(np.array([[[0.0, 1.0]]])).round(4).tolist()
    [[[0.0, 0.7311]]]
    """
    small = np.exp(-np.abs(x))
    return x * (np.where(x < 0, small, 1) / (1 + small))


def gated_silu(x):
    """(b n 2f) -> (b n f)

    Return value * silu(gate): the first half of the last axis, and the second.

    >>> gated_silu(np.array([[[5.0, 2.0, 0.0, 1.0]]])).round(4).tolist()
    [[[0.0, 1.4621]]]
    """
    value, gate = np.split(x, 2, axis=-1)
    return value * silu(gate)
