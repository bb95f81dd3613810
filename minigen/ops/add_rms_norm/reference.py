"""Residual sum and RMSNorm in one op: the end of a branch and the start of the next.

Source: state-spaces/mamba ops/triton/layer_norm.py::rms_norm_ref (prenorm, the residual
kept in float32).
"""

from __future__ import annotations

from minigen.ops.rms_norm.reference import rms_norm


def add_rms_norm(x, residual, w, eps):
    """(b n d), (b n d), (d) -> (b n d), (b n d)
    where w is a weight

    Return rms_norm(x + residual), and x + residual.

    >>> import numpy as np
    >>> one = np.ones((1, 1, 2))
    >>> add_rms_norm(one, 2 * one, np.ones(2), 0.0)[1].tolist()
    [[[3.0, 3.0]]]
    """
    total = x + residual
    return rms_norm(total, w, eps), total
