"""The scan of Mamba-2: a thread takes a head of an image through all its tokens.

In chunks, a token looks back from itself, and adds up the exponents on its way: what it
finds at token m has decayed by exp of the sum so far. So nothing is ever subtracted
from a sum, and no table of decays is kept.
"""

from __future__ import annotations

import numpy as np

from minigen.errors import ShapeError
from minigen.ops import buffers
from minigen.ops.scalar import exp
from minigen.target import kernel, prange, serial


@serial
def _head(x, delta, A, B, C, D, h, y):
    # x, y (n p); delta (n); B, C (n s); h (p s)
    n, p = x.shape
    for t in range(n):
        step = delta[t]
        decay = exp(step * A)
        for i in range(p):
            u, total = step * x[t, i], np.float32(0)
            for k in range(h.shape[1]):
                v = decay * h[i, k] + u * B[t, k]
                h[i, k] = v
                total += v * C[t, k]
            y[t, i] = total + D * x[t, i]


@serial
def _dot(a, b):
    total = np.float32(0)
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@serial
def _chunk(x, delta, A, B, C, D, h, y):
    # one chunk of what `_head` takes
    n, p = x.shape
    for t in range(n):
        exponent = np.float32(0)
        for i in range(p):
            y[t, i] = D * x[t, i]
        for m in range(t, -1, -1):
            weight = _dot(C[t], B[m]) * exp(exponent) * delta[m]
            for i in range(p):
                y[t, i] += weight * x[m, i]
            exponent += delta[m] * A
        decay = exp(exponent)
        for i in range(p):
            y[t, i] += decay * _dot(C[t], h[i])
    exponent = np.float32(0)
    for m in range(n):
        exponent += delta[m] * A
    decay = exp(exponent)
    for i in range(p):
        for k in range(h.shape[1]):
            h[i, k] *= decay
    exponent = np.float32(0)
    for m in range(n - 1, -1, -1):
        weight = exp(exponent) * delta[m]
        for i in range(p):
            u = weight * x[m, i]
            for k in range(h.shape[1]):
                h[i, k] += u * B[m, k]
        exponent += delta[m] * A


@kernel
def _ssd(x, delta, A, B, C, D, state, y):
    b, _, h, _ = x.shape
    r = B.shape[2]
    for unit in prange(b * h):
        i, j = unit // h, unit % h
        g = j // (h // r)
        b_i, c_i, y_i = B[i, :, g], C[i, :, g], y[i, :, j]
        _head(x[i, :, j], delta[i, :, j], A[j], b_i, c_i, D[j], state[i, j], y_i)


@kernel
def _ssd_chunked(x, delta, A, B, C, D, chunk, state, y):
    b, n, h, _ = x.shape
    r = B.shape[2]
    for unit in prange(b * h):
        i, j = unit // h, unit % h
        g = j // (h // r)
        for first in range(0, n, chunk):
            end = min(first + chunk, n)
            x_i, delta_i = x[i, first:end, j], delta[i, first:end, j]
            b_i, c_i = B[i, first:end, g], C[i, first:end, g]
            y_i = y[i, first:end, j]
            _chunk(x_i, delta_i, A[j], b_i, c_i, D[j], state[i, j], y_i)


def ssd(x, delta, A_log, B, C, D, state):
    # (b n h p), (b n h), (h), (b n r s), (b n r s), (h), (b h p s)
    # -> (b n h p), (b h p s)
    """Return y of every token, one after the other, and the state, moved on in place.

    delta: step sizes, not negative. Each of the r groups of consecutive heads shares
    its B and C: ShapeError where h does not divide into them.
    """
    given, y, held = _prepare(x, delta, A_log, B, C, D, state)
    _ssd(*given, held, y)
    return y, buffers.give_back(state, held)


def ssd_chunked(x, delta, A_log, B, C, D, state, chunk):
    # (b n h p), (b n h), (h), (b n r s), (b n r s), (h), (b h p s)
    # -> (b n h p), (b h p s)
    """Return the same as `ssd`, `chunk` tokens at a time."""
    if chunk < 1:
        raise ShapeError(f"chunk is {chunk}; a chunk has at least one token")
    given, y, held = _prepare(x, delta, A_log, B, C, D, state)
    _ssd_chunked(*given, chunk, held, y)
    return y, buffers.give_back(state, held)


def _prepare(x, delta, A_log, B, C, D, state):
    b, n, h, p = x.shape
    r, s = B.shape[-2:]
    if h % r:
        raise ShapeError(f"{h} heads do not divide into {r} groups")
    buffers.expect("delta", delta, (b, n, h))
    buffers.expect("A_log", A_log, (h,))
    buffers.expect("B", B, (b, n, r, s))
    buffers.expect("C", C, (b, n, r, s))
    buffers.expect("D", D, (h,))
    buffers.expect("state", state, (b, h, p, s))
    A = -np.exp(buffers.floats(A_log))
    given = tuple(buffers.floats(a) for a in (x, delta, A, B, C, D))
    return given, buffers.empty(x.shape), buffers.floats(state)
