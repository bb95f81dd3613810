"""GELU: one pass."""

from __future__ import annotations

from minigen.ops import buffers, scalar
from minigen.target import serial

_of, _of_tanh = scalar.gelu, scalar.gelu_tanh


@serial
def _gelu(x, y):
    for i in range(x.size):
        y[i] = _of(x[i])


@serial
def _gelu_tanh(x, y):
    for i in range(x.size):
        y[i] = _of_tanh(x[i])


def gelu(x):
    # (b n d) -> (b n d)
    """Return x Phi(x) = x (1 + erf(x / sqrt(2))) / 2."""
    y = buffers.empty(x.shape)
    _gelu(buffers.floats(x).reshape(-1), y.reshape(-1))
    return y


def gelu_tanh(x):
    # (b n d) -> (b n d)
    """Return x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    y = buffers.empty(x.shape)
    _gelu_tanh(buffers.floats(x).reshape(-1), y.reshape(-1))
    return y
