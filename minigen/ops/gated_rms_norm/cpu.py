"""Gated RMSNorm: a pass for the gate and the sum of squares, a pass for the result."""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.scalar import silu
from minigen.cpu.sums import dot
from minigen.target import serial


@serial
def _gate_rms_norm(x, z, w, eps, y):
    n, r, d = x.shape
    for i in range(n):
        for g in range(r):
            for k in range(d):
                y[i, g, k] = x[i, g, k] * silu(z[i, g, k])
            square = dot(y[i, g], y[i, g])
            scale = np.float32(1) / np.sqrt(square / np.float32(d) + eps)
            for k in range(d):
                y[i, g, k] = w[g, k] * (y[i, g, k] * scale)


@serial
def _rms_norm_gate(x, z, w, eps, y):
    n, r, d = x.shape
    for i in range(n):
        for g in range(r):
            square = dot(x[i, g], x[i, g])
            scale = np.float32(1) / np.sqrt(square / np.float32(d) + eps)
            for k in range(d):
                unit = w[g, k] * (x[i, g, k] * scale)
                y[i, g, k] = unit * silu(z[i, g, k])


def gate_rms_norm(x, z, w, r, eps):
    """(b n d), (b n d), (d) -> (b n d)"""
    return _run(_gate_rms_norm, x, z, w, r, eps)


def rms_norm_gate(x, z, w, r, eps):
    """(b n d), (b n d), (d) -> (b n d)"""
    return _run(_rms_norm_gate, x, z, w, r, eps)


def _run(kernel, x, z, w, r, eps):
    d = x.shape[-1]
    y = buffers.empty(x.shape)
    x, z = (buffers.floats(a).reshape(-1, r, d // r) for a in (x, z))
    w = buffers.floats(w).reshape(r, d // r)
    kernel(x, z, w, np.float32(eps), y.reshape(x.shape))
    return y
