"""GELU: one pass, a block of numbers a thread."""

from __future__ import annotations

from minigen.cpu import buffers, scalar
from minigen.target import kernel, prange, serial

_of, _of_tanh = scalar.gelu, scalar.gelu_tanh

_BLOCK = 1 << 14
"""The least numbers of a thread."""


@serial
def _gelu_block(x, y):
    for i in range(x.size):
        y[i] = _of(x[i])


@serial
def _gelu_tanh_block(x, y):
    for i in range(x.size):
        y[i] = _of_tanh(x[i])


@kernel
def _gelu(x, y):
    for block in prange((x.size + _BLOCK - 1) // _BLOCK):
        first = block * _BLOCK
        _gelu_block(x[first : first + _BLOCK], y[first : first + _BLOCK])


@kernel
def _gelu_tanh(x, y):
    for block in prange((x.size + _BLOCK - 1) // _BLOCK):
        first = block * _BLOCK
        _gelu_tanh_block(x[first : first + _BLOCK], y[first : first + _BLOCK])


def gelu(x):
    """(b n d) -> (b n d)"""
    y = buffers.empty(x.shape)
    run = _gelu if x.size > _BLOCK else _gelu_block
    run(buffers.floats(x).reshape(-1), y.reshape(-1))
    return y


def gelu_tanh(x):
    """(b n d) -> (b n d)"""
    y = buffers.empty(x.shape)
    run = _gelu_tanh if x.size > _BLOCK else _gelu_tanh_block
    run(buffers.floats(x).reshape(-1), y.reshape(-1))
    return y
