"""A step of Mamba-2: one kernel, in which a thread takes a head of an image.

Each thread convolves the channels of its head; B and C, which the heads of a group
share, are convolved once before. The norm waits for all heads of its group.
"""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.scalar import exp, fma, silu, softplus
from minigen.cpu.sums import dot, move_on
from minigen.target import kernel, prange, serial


@serial
def _convolve(x, w, bias, conv, i, first, end, out):
    # channels first .. end of image i; the oldest input in its state is dropped
    window = w.shape[1]
    for k in range(first, end):
        out[k] = bias[k]
    for j in range(window - 1):
        for k in range(first, end):
            conv[i, j, k] = conv[i, j + 1, k]
            out[k] = fma(w[k, j], conv[i, j + 1, k], out[k])
    for k in range(first, end):
        conv[i, window - 1, k] = x[k]
        out[k] = silu(fma(w[k, window - 1], x[k], out[k]))


@serial
def _head(x, B, C, step, A_log, D, i, j, state, y):
    # x, y (p), B, C (s): rows that lie in one piece, so that a vector can be loaded
    decay = np.full(B.size, exp(step * -exp(A_log)))
    for q in range(x.size):
        y[q] = move_on(state[i, j, q], decay, step * x[q], B, C) + D * x[q]


@serial
def _gate_norm(y, z, norm, eps):
    for k in range(y.size):
        y[k] = y[k] * silu(z[k])
    scale = np.float32(1) / np.sqrt(dot(y, y) / np.float32(y.size) + eps)
    for k in range(y.size):
        y[k] = norm[k] * (y[k] * scale)


@kernel
def _mamba2_step(
    projected, w, bias, dt_bias, A_log, D, norm, conv, state, r, eps, xBC, y
):
    b, h, p, s = state.shape
    d, c = h * p, w.shape[0]
    for i in range(b):
        _convolve(projected[i, d : d + c], w, bias, conv, i, d, c, xBC[i])
    for unit in prange(b * h):
        i, j = unit // h, unit % h
        own = slice(j * p, (j + 1) * p)
        _convolve(projected[i, d : d + c], w, bias, conv, i, j * p, (j + 1) * p, xBC[i])
        step = softplus(projected[i, d + c + j] + dt_bias[j])
        first = d + j // (h // r) * s
        B, C = xBC[i, first : first + s], xBC[i, first + r * s : first + (r + 1) * s]
        _head(xBC[i, own], B, C, step, A_log[j], D[j], i, j, state, y[i, own])
    for unit in range(b * r):
        i, own = unit // r, slice(unit % r * (d // r), (unit % r + 1) * (d // r))
        _gate_norm(y[i, own], projected[i, own], norm[own], eps)


def mamba2_step(projected, w, bias, dt_bias, A_log, D, norm, conv, state, r, eps):
    """(b 1 f), (c w), (c), (h), (h), (h), (d), (b w c), (b h p s)
    -> (b 1 d), (b w c), (b h p s)"""
    b, h, p, _ = state.shape
    d, c = h * p, w.shape[0]
    y, xBC = buffers.empty((b, 1, d)), buffers.empty((b, c))
    held_conv, held = buffers.floats(conv), buffers.floats(state)
    given = (buffers.floats(a) for a in (w, bias, dt_bias, A_log, D, norm))
    rows = buffers.floats(projected).reshape(b, d + c + h)
    out = np.float32(eps), xBC, y.reshape(b, d)
    _mamba2_step(rows, *given, held_conv, held, r, *out)
    return y, buffers.give_back(conv, held_conv), buffers.give_back(state, held)
