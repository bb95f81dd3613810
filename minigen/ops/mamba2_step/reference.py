"""A decode step of Mamba-2 between its two projections, in one op.

Source: Dao and Gu, arXiv 2405.21060, figure 6; state-spaces/mamba modules/mamba2.py
::Mamba2.step.
"""

from __future__ import annotations

import numpy as np

from minigen.ops.causal_conv.reference import causal_conv_silu
from minigen.ops.gated_rms_norm.reference import gate_rms_norm
from minigen.ops.ssd.reference import ssd
from minigen.ops.step_size.reference import step_size


def mamba2_step(projected, w, bias, dt_bias, A_log, D, norm, conv, state, r, eps):
    """(b 1 f), (c w), (c), (h), (h), (h), (d), (b w c), (b h p s)
    -> (b 1 d), (b w c), (b h p s)
    where w and bias and dt_bias and A_log and D and norm are weights, conv and state
    are changed, r divides h, d = h p, c = d + 2 r s, f = d + c + h

    Return the input of the output projection, and both states, updated in place.

    The projection of a token holds, side by side, the gate z (d = h p), the signal x
    (d), B and C (r s each), and a step size for every head: f in all. x, B and C (c in
    all) are convolved; then scan, gate and norm follow.

    >>> one, none = np.ones(1), np.zeros(1)
    >>> conv, state = np.zeros((1, 1, 3)), np.zeros((1, 1, 1, 1))
    >>> given = np.ones((1, 1, 5)), np.ones((3, 1)), np.zeros(3), none, none, none, one
    >>> y, conv, state = mamba2_step(*given, conv, state, 1, 1e-5)
    >>> conv.ravel().tolist(), y.ravel().round(3).tolist()
    ([1.0, 1.0, 1.0], [1.0])
    """
    b, h, p, s = state.shape
    d, c = h * p, w.shape[0]
    z, xBC, dt = np.split(projected, (d, d + c), axis=-1)  # (b 1 d), (b 1 c), (b 1 h)
    xBC, conv = causal_conv_silu(xBC, w, bias, conv)
    x, B, C = np.split(xBC, (d, d + r * s), axis=-1)
    x, B, C = x.reshape(b, 1, h, p), B.reshape(b, 1, r, s), C.reshape(b, 1, r, s)
    delta = step_size(dt, dt_bias, 0.0, np.inf)
    y, state = ssd(x, delta, A_log, B, C, D, state)
    y = gate_rms_norm(y.reshape(z.shape), z, norm, r, eps)  # (b 1 h p) -> (b 1 d)
    return y, conv, state
