"""The step size delta of a selective state space: a softplus, within limits.

A step of zero leaves the state unchanged; a large one forgets the past and takes in the
token.

Source: Gu and Dao, arXiv 2312.00752, section 3.5.1; the limits: state-spaces/mamba
modules/mamba2.py (dt_limit).
"""

from __future__ import annotations

import numpy as np


def step_size(x, bias, lowest, highest):
    """(b n h), (h) -> (b n h)
    where bias is a weight

    Return softplus(x + bias) within lowest .. highest; softplus(v) = log(1 + e^v).

    softplus(v) is v above 20: so it is in float32, and here in float64 too.

    >>> step_size(np.array([[[-2.0, 0.0, 30.0]]]), np.zeros(3), 0.0, 25.0).round(3)
    array([[[ 0.127,  0.693, 25.   ]]])
    """
    v = x + bias.astype(x.dtype)
    delta = np.where(v > 20, v, np.log1p(np.exp(np.minimum(v, 20))))
    return np.clip(delta, x.dtype.type(lowest), x.dtype.type(highest))
