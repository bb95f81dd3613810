"""Gated RMSNorm on a GPU: a block for each group of channels of each token."""

from __future__ import annotations

import math

import numpy as np

from minigen.gpu.activations import silu
from minigen.gpu.warps import block_sum
from minigen.ops.intrinsics import widen
from minigen.target import cuda, gpu_inline, gpu_kernel

THREADS = 256


@gpu_inline
def _scale(total, d, eps, partial):
    mean = block_sum(total, partial) / np.float32(d)
    return np.float32(1) / math.sqrt(mean + eps)


@gpu_kernel
def _gate_rms_norm(x, z, w, eps, y):
    """One block per row of x (n d): of a token, one of the groups of w (r d).
    Threads stride along the row, gate it, and add up their squares; then they scale.
    Reads x 1, z 1, w n//r, y 1; writes y 2.
    Shared memory: 128 bytes.
    """
    partial = cuda.shared.array(32, np.float32)
    i, d, g = cuda.blockIdx.x, x.shape[1], cuda.blockIdx.x % w.shape[0]
    total = np.float32(0)
    for k in range(cuda.threadIdx.x, d, cuda.blockDim.x):
        v = x[i, k] * silu(z[i, k])
        y[i, k] = v
        total += v * v
    scale = _scale(total, d, eps, partial)
    for k in range(cuda.threadIdx.x, d, cuda.blockDim.x):
        y[i, k] = widen(w[g, k]) * (y[i, k] * scale)


@gpu_kernel
def _rms_norm_gate(x, z, w, eps, y):
    """One block per row of x (n d): of a token, one of the groups of w (r d).
    Threads stride along the row, and add up their squares; then they scale and gate.
    Reads x 2, z 1, w n//r; writes y 1.
    Shared memory: 128 bytes.
    """
    partial = cuda.shared.array(32, np.float32)
    i, d, g = cuda.blockIdx.x, x.shape[1], cuda.blockIdx.x % w.shape[0]
    total = np.float32(0)
    for k in range(cuda.threadIdx.x, d, cuda.blockDim.x):
        v = x[i, k]
        total += v * v
    scale = _scale(total, d, eps, partial)
    for k in range(cuda.threadIdx.x, d, cuda.blockDim.x):
        y[i, k] = widen(w[g, k]) * (x[i, k] * scale) * silu(z[i, k])


def gate_rms_norm(device, x, z, w, r, eps):
    """(b n d), (b n d), (d) -> (b n d)"""
    return _launch(device, _gate_rms_norm, x, z, w, r, eps)


def rms_norm_gate(device, x, z, w, r, eps):
    """(b n d), (b n d), (d) -> (b n d)"""
    return _launch(device, _rms_norm_gate, x, z, w, r, eps)


def _launch(device, kernel, x, z, w, r, eps):
    d = x.shape[-1]
    y = device.empty(x.shape)
    x, z, rows, w = (array.reshape((-1, d // r)) for array in (x, z, y, w))
    device.launch(kernel, x.shape[0], THREADS, x, z, w, np.float32(eps), rows)
    return y
