"""The selective scan: a thread takes a channel of an image through all its tokens."""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.scalar import exp
from minigen.cpu.sums import move_on, rates
from minigen.target import kernel, prange, serial


@serial
def _channel(x, delta, A, B, C, D, place, state, y):
    # channel k of image i, in group g, through all tokens
    decay = np.empty(state.shape[2], np.float32)
    i, k, g = place
    for t in range(x.shape[1]):
        step = delta[i, t, k]
        u = step * x[i, t, k]
        for j in range(decay.size):
            decay[j] = exp(step * A[k, j])
        seen = move_on(state[i, k], decay, u, B[i, t, g], C[i, t, g])
        y[i, t, k] = seen + D[k] * x[i, t, k]


@kernel
def _selective_scan(x, delta, A, B, C, D, state, y):
    b, _, c = x.shape
    r = B.shape[2]
    for unit in prange(b * c):
        i, k = unit // c, unit % c
        _channel(x, delta, A, B, C, D, (i, k, k // (c // r)), state, y)


def selective_scan(x, delta, A_log, B, C, D, state):
    """(b n c), (b n c), (c s), (b n r s), (b n r s), (c), (b c s)
    -> (b n c), (b c s)
    """
    y, held = buffers.empty(x.shape), buffers.floats(state)
    A = rates(A_log)
    given = (buffers.floats(a) for a in (x, delta, A, B, C, D))
    _selective_scan(*given, held, y)
    return y, buffers.give_back(state, held)
