"""SwiGLU: a gate through silu, times a second projection.

Source: Shazeer, arXiv 2002.05202, equation 6; hp-l33/ARPG models/arpg.py::FeedForward.
"""

from __future__ import annotations

import numpy as np


def swiglu(gate, up):
    """(b n f), (b n f) -> (b n f)

    Return silu(gate) * up, where silu(g) = g / (1 + exp(-g)).

    >>> swiglu(np.array([[[0.0, 1.0]]]), np.array([[[5.0, 2.0]]])).round(4).tolist()
    [[[0.0, 1.4621]]]
    """
    small = np.exp(-np.abs(gate))
    sigmoid = np.where(gate < 0, small, 1) / (1 + small)
    return gate * sigmoid * up
