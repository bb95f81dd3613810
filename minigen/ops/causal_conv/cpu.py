"""Causal convolution: one pass over the tokens, all channels of a token at a time."""

from __future__ import annotations

from minigen.cpu import buffers
from minigen.cpu.scalar import fma, silu
from minigen.target import inline, serial


@inline
def _sum_window(x, w, bias, state, i, t, y):
    # the newest input times the last weight; before x come the newest of the state
    c, window = w.shape
    for k in range(c):
        y[i, t, k] = bias[k]
    for j in range(window):
        at = t - (window - 1) + j
        if at >= 0:
            for k in range(c):
                y[i, t, k] = fma(w[k, j], x[i, at, k], y[i, t, k])
        else:
            for k in range(c):
                y[i, t, k] = fma(w[k, j], state[i, window + at, k], y[i, t, k])


@inline
def _remember(x, state):
    # from the oldest on: a later place is read before it is overwritten
    b, n, c = x.shape
    window = state.shape[1]
    for i in range(b):
        for j in range(window):
            at = n - window + j
            for k in range(c):
                state[i, j, k] = x[i, at, k] if at >= 0 else state[i, window + at, k]


@serial
def _causal_conv(x, w, bias, state, y):
    b, n, c = x.shape
    for i in range(b):
        for t in range(n):
            _sum_window(x, w, bias, state, i, t, y)
    _remember(x, state)


@serial
def _causal_conv_silu(x, w, bias, state, y):
    b, n, c = x.shape
    for i in range(b):
        for t in range(n):
            _sum_window(x, w, bias, state, i, t, y)
            for k in range(c):
                y[i, t, k] = silu(y[i, t, k])
    _remember(x, state)


def causal_conv(x, w, bias, state):
    """(b n c), (c w), (c), (b w c) -> (b n c), (b w c)"""
    return _run(_causal_conv, x, w, bias, state)


def causal_conv_silu(x, w, bias, state):
    """(b n c), (c w), (c), (b w c) -> (b n c), (b w c)"""
    return _run(_causal_conv_silu, x, w, bias, state)


def _run(kernel, x, w, bias, state):
    b, _, c = x.shape
    y, held = buffers.empty(x.shape), buffers.floats(state)
    kernel(buffers.floats(x), buffers.floats(w), buffers.floats(bias), held, y)
    return y, buffers.give_back(state, held)
