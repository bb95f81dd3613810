"""The selective scan: a thread takes a channel of an image through all its tokens."""

from __future__ import annotations

import numpy as np

from minigen.errors import ShapeError
from minigen.ops import buffers
from minigen.ops.scalar import exp
from minigen.target import kernel, prange, serial


@serial
def _channel(x, delta, A, B, C, D, h, y):
    # x, delta, y (n); A, h (s); B, C (n s)
    for t in range(x.size):
        step, total = delta[t], np.float32(0)
        u = step * x[t]
        for k in range(h.size):
            h[k] = exp(step * A[k]) * h[k] + u * B[t, k]
            total += C[t, k] * h[k]
        y[t] = total + D * x[t]


@kernel
def _selective_scan(x, delta, A, B, C, D, state, y):
    b, _, c = x.shape
    r = B.shape[2]
    for unit in prange(b * c):
        i, k = unit // c, unit % c
        g = k // (c // r)
        b_i, c_i, y_i = B[i, :, g], C[i, :, g], y[i, :, k]
        _channel(x[i, :, k], delta[i, :, k], A[k], b_i, c_i, D[k], state[i, k], y_i)


def selective_scan(x, delta, A_log, B, C, D, state):
    # (b n c), (b n c), (c s), (b n r s), (b n r s), (c), (b c s) -> (b n c), (b c s)
    """Return y of every token, and the state h, which is moved on in place.

    delta: step sizes, not negative. Each of the r groups of consecutive channels shares
    its B and C: ShapeError where c does not divide into them.
    """
    b, n, c = x.shape
    r, s = B.shape[-2:]
    if c % r:
        raise ShapeError(f"{c} channels do not divide into {r} groups")
    buffers.expect("delta", delta, x.shape)
    buffers.expect("A_log", A_log, (c, s))
    buffers.expect("B", B, (b, n, r, s))
    buffers.expect("C", C, (b, n, r, s))
    buffers.expect("D", D, (c,))
    buffers.expect("state", state, (b, c, s))
    y, held = buffers.empty(x.shape), buffers.floats(state)
    A = -np.exp(buffers.floats(A_log))
    given = (buffers.floats(a) for a in (x, delta, A, B, C, D))
    _selective_scan(*given, held, y)
    return y, buffers.give_back(state, held)
