"""The selective scan: a linear recurrence whose coefficients depend on the token.

h_t = exp(delta_t A) h_{t-1} + delta_t x_t B_t,  y_t = C_t . h_t + D x_t,  A = -e^A_log

Source: Gu and Dao, arXiv 2312.00752, equations 2 and 4 (zero-order hold for A, first
order for delta B) and algorithm 2; state-spaces/mamba ops/selective_scan_interface.py
::selective_scan_ref.
"""

from __future__ import annotations

import numpy as np


def selective_scan(x, delta, A_log, B, C, D, state):
    """(b n c), (b n c), (c s), (b n r s), (b n r s), (c), (b c s) -> (b n c), (b c s)
    where A_log and D are weights, state is changed, r divides c

    Return y of every token, and the state h, which is updated in place.

    delta: step sizes, not negative. Each of the r groups of consecutive channels shares
    its B and C. A sequence may be cut anywhere if the state is passed on; a decode step
    is a sequence of one token.

    >>> one, state = np.ones((1, 2, 1)), np.zeros((1, 1, 1))
    >>> B = one[..., None]
    >>> y, _ = selective_scan(one, one, np.zeros((1, 1)), B, B, np.zeros(1), state)
    >>> y.ravel().round(4).tolist()  # 1, then e^-1 + 1
    [1.0, 1.3679]
    """
    A, D = -np.exp(A_log.astype(x.dtype)), D.astype(x.dtype)
    b, n, c = x.shape
    B, C = (np.repeat(each, c // each.shape[2], axis=2) for each in (B, C))
    y, h = np.empty_like(x), state
    for t in range(n):
        step, u = delta[:, t, :, None], x[:, t, :, None]
        h = np.exp(step * A) * h + step * u * B[:, t]
        y[:, t] = (C[:, t] * h).sum(-1) + D * x[:, t]
    state[...] = h
    return y, state
