"""SiLU: one pass."""

from __future__ import annotations

from minigen.cpu import buffers, scalar
from minigen.target import serial

_of = scalar.silu


@serial
def _silu(x, y):
    for i in range(x.size):
        y[i] = _of(x[i])


@serial
def _gated_silu(x, y):
    n, f = y.shape
    for i in range(n):
        for k in range(f):
            y[i, k] = x[i, k] * _of(x[i, f + k])


def silu(x):
    """(b n d) -> (b n d)"""
    y = buffers.empty(x.shape)
    _silu(buffers.floats(x).reshape(-1), y.reshape(-1))
    return y


def gated_silu(x):
    """(b n 2f) -> (b n f)"""
    width = x.shape[-1]
    y = buffers.empty((*x.shape[:-1], width // 2))
    _gated_silu(buffers.floats(x).reshape(-1, width), y.reshape(-1, width // 2))
    return y
