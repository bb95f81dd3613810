"""Adaptive layer norm: shift and scale the input of a branch, gate its output.

Source: Peebles and Xie, arXiv 2212.09748, section 3.2 (adaLN); hp-l33/AiM
models/stage2/block.py::modulate.
"""

from __future__ import annotations


def modulate(x, shift, scale):
    """(b n d), (b 1 d), (b 1 d) -> (b n d)

    Return x (1 + scale) + shift: a scale of zero changes nothing.

    >>> import numpy as np
    >>> one = np.ones((1, 1, 1))
    >>> modulate(np.array([[[1.0], [2.0]]]), 10 * one, 2 * one).tolist()
    [[[13.0], [16.0]]]
    """
    return x * (1 + scale) + shift


def gate(x, weight):
    """(b n d), (b 1 d) -> (b n d)

    Return x weight. The weight is zero when training starts: the branch adds nothing.

    >>> import numpy as np
    >>> gate(np.array([[[1.0], [2.0]]]), np.array([[[3.0]]])).tolist()
    [[[3.0], [6.0]]]
    """
    return x * weight
