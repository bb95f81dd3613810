"""The scan of Mamba-2: a thread takes a head of an image through all its tokens.

In chunks, a token goes back over the tokens before it, and adds up the exponents: the
input of token m has decayed by exp of the sum so far. So nothing is ever subtracted
from a sum, and no table of decays is kept.
"""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.scalar import exp, fma
from minigen.cpu.sums import dot, move_on, rates
from minigen.target import kernel, prange, serial


@serial
def _tokens(x, delta, A, B, C, D, place, span, state, y):
    # head j of image i, in group g, through the tokens first .. end
    (i, j, g), (first, end) = place, span
    p, s = state.shape[2:]
    decay = np.empty(s, np.float32)
    for t in range(first, end):
        step = delta[i, t, j]
        decay[:] = exp(step * A[j])
        for q in range(p):
            u = step * x[i, t, j, q]
            seen = move_on(state[i, j, q], decay, u, B[i, t, g], C[i, t, g])
            y[i, t, j, q] = seen + D[j] * x[i, t, j, q]


@serial
def _chunk(x, delta, A, B, C, D, place, span, state, y):
    # the same: first the results of the tokens, then the next state
    (i, j, g), (first, end) = place, span
    p, s = state.shape[2:]
    for t in range(first, end):
        for q in range(p):
            y[i, t, j, q] = D[j] * x[i, t, j, q]
        exponent = np.float32(0)
        for m in range(t, first - 1, -1):
            score = dot(C[i, t, g], B[i, m, g])
            weight = score * exp(exponent) * delta[i, m, j]
            for q in range(p):
                y[i, t, j, q] = fma(weight, x[i, m, j, q], y[i, t, j, q])
            exponent += delta[i, m, j] * A[j]
        decay = exp(exponent)
        for q in range(p):
            y[i, t, j, q] += decay * dot(state[i, j, q], C[i, t, g])
    # from the newest on, each decays by the steps after it, the old state by all
    exponent = np.float32(0)
    for m in range(first, end):
        exponent += delta[i, m, j] * A[j]
    decay = exp(exponent)
    for q in range(p):
        for k in range(s):
            state[i, j, q, k] *= decay
    exponent = np.float32(0)
    for m in range(end - 1, first - 1, -1):
        weight = exp(exponent) * delta[i, m, j]
        for q in range(p):
            u = weight * x[i, m, j, q]
            for k in range(s):
                state[i, j, q, k] = fma(u, B[i, m, g, k], state[i, j, q, k])
        exponent += delta[i, m, j] * A[j]


@kernel
def _ssd(x, delta, A, B, C, D, state, y):
    b, n, h, _ = x.shape
    r = B.shape[2]
    for unit in prange(b * h):
        i, j = unit // h, unit % h
        place = i, j, j // (h // r)
        _tokens(x, delta, A, B, C, D, place, (0, n), state, y)


@kernel
def _ssd_chunked(x, delta, A, B, C, D, chunk, state, y):
    b, n, h, _ = x.shape
    r = B.shape[2]
    for unit in prange(b * h):
        i, j = unit // h, unit % h
        place = i, j, j // (h // r)
        for first in range(0, n, chunk):
            span = first, min(first + chunk, n)
            _chunk(x, delta, A, B, C, D, place, span, state, y)


def ssd(x, delta, A_log, B, C, D, state):
    """(b n h p), (b n h), (h), (b n r s), (b n r s), (h), (b h p s)
    -> (b n h p), (b h p s)"""
    given, y, held = _prepare(x, delta, A_log, B, C, D, state)
    _ssd(*given, held, y)
    return y, buffers.give_back(state, held)


def ssd_chunked(x, delta, A_log, B, C, D, state, chunk):
    """(b n h p), (b n h), (h), (b n r s), (b n r s), (h), (b h p s)
    -> (b n h p), (b h p s)"""
    given, y, held = _prepare(x, delta, A_log, B, C, D, state)
    _ssd_chunked(*given, chunk, held, y)
    return y, buffers.give_back(state, held)


def _prepare(x, delta, A_log, B, C, D, state):
    A = rates(A_log)
    given = tuple(buffers.floats(a) for a in (x, delta, A, B, C, D))
    return given, buffers.empty(x.shape), buffers.floats(state)
