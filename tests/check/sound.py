"""Kernels and functions that are right, as a student would write them.

`planted.py` breaks each of them in many ways, by exchanging a line.
"""

import math

import numba
import numpy as np

from minigen.ops.intrinsics import widen
from minigen.target import cuda

THREADS = 64


@cuda.jit
def rms_norm_tree(x, w, eps, y):
    """One block per row of x (n d).
    Threads stride along the row, then halve their sums in shared memory.
    Reads x 2, w n; writes y 1.
    Shared memory: 256 bytes.
    """
    sums = cuda.shared.array(64, np.float32)
    i, t, d = cuda.blockIdx.x, cuda.threadIdx.x, x.shape[1]
    total = np.float32(0)
    for k in range(t, d, cuda.blockDim.x):
        value = x[i, k]
        total += value * value
    sums[t] = total
    cuda.syncthreads()
    half = cuda.blockDim.x // 2
    while half > 0:
        if t < half:
            sums[t] += sums[t + half]
        cuda.syncthreads()
        half //= 2
    mean = sums[0] / np.float32(d)
    scale = np.float32(1) / math.sqrt(mean + eps)
    for k in range(t, d, cuda.blockDim.x):
        y[i, k] = widen(w[k]) * (x[i, k] * scale)


@cuda.jit
def rms_norm_warps(x, w, eps, y):
    partial = cuda.shared.array(32, np.float32)
    i, t, d = cuda.blockIdx.x, cuda.threadIdx.x, x.shape[1]
    lane, warp = t % 32, t // 32
    total = np.float32(0)
    for k in range(t, d, cuda.blockDim.x):
        total += x[i, k] * x[i, k]
    total += cuda.shfl_xor_sync(0xFFFFFFFF, total, 16)
    total += cuda.shfl_xor_sync(0xFFFFFFFF, total, 8)
    total += cuda.shfl_xor_sync(0xFFFFFFFF, total, 4)
    total += cuda.shfl_xor_sync(0xFFFFFFFF, total, 2)
    total += cuda.shfl_xor_sync(0xFFFFFFFF, total, 1)
    if lane == 0:
        partial[warp] = total
    cuda.syncthreads()
    total = np.float32(0)
    for j in range(cuda.blockDim.x // 32):
        total += partial[j]
    scale = np.float32(1) / math.sqrt(total / np.float32(d) + eps)
    for k in range(t, d, cuda.blockDim.x):
        y[i, k] = widen(w[k]) * (x[i, k] * scale)


@cuda.jit
def swiglu_cells(gate, up, y):
    i = cuda.grid(1)
    if i < y.size:
        one, g = np.float32(1), gate[i]
        small = math.exp(-abs(g))
        sigmoid = (small if g < np.float32(0) else one) / (one + small)
        y[i] = g * sigmoid * up[i]


@cuda.jit
def linear_naive(x, w, bias, biased, residual, added, y):
    i, j = cuda.blockIdx.x, 128 * cuda.blockIdx.y + cuda.threadIdx.x
    if j < y.shape[1]:
        total = np.float32(0)
        for k in range(x.shape[1]):
            total += x[i, k] * widen(w[j, k])
        if biased:
            total += widen(bias[j])
        y[i, j] = residual[i, j] + total if added else total


@numba.njit(error_model="numpy")
def rms_norm_njit(x, w, eps):
    y = np.empty(x.shape, np.float32)
    b, n, d = x.shape
    for i in range(b):
        for j in range(n):
            total = np.float32(0)
            for k in range(d):
                total += x[i, j, k] * x[i, j, k]
            scale = np.float32(1) / np.sqrt(total / np.float32(d) + np.float32(eps))
            for k in range(d):
                y[i, j, k] = w[k] * (x[i, j, k] * scale)
    return y


def rms_norm(x, w, eps):
    y = np.empty_like(x)
    mean = np.mean(x * x, axis=-1, keepdims=True)
    y[...] = w.astype(np.float32) * (x / np.sqrt(mean + np.float32(eps)))
    return y


def swiglu(gate, up):
    small = np.exp(-np.abs(gate))
    sigmoid = np.where(gate < 0, small, np.float32(1)) / (1 + small)
    return gate * sigmoid * up


def guide(logits, weight):
    conditional, unconditional = np.split(logits, 2)
    return unconditional + (conditional - unconditional) * np.float32(weight)


def embed(table, ids):
    return table[ids].astype(np.float32)


def rope2d(x, table, rows):
    cos, sin = table[rows][:, :, None, :, 0], table[rows][:, :, None, :, 1]
    x0, x1 = x[..., 0::2], x[..., 1::2]
    return np.stack([x0 * cos - x1 * sin, x1 * cos + x0 * sin], -1).reshape(x.shape)


def linear(x, w, bias, residual):
    y = x @ w.astype(np.float32).T
    y = y if bias is None else y + bias.astype(np.float32)
    return y if residual is None else residual + y


def append(cache, new, length):
    cache[:, length : length + new.shape[1]] = new
    return cache


@cuda.jit
def gated_silu(x, y):
    i, f = cuda.blockIdx.x, y.shape[1]
    k = 256 * cuda.blockIdx.y + cuda.threadIdx.x
    if k < f:
        value, gate = x[i, k], x[i, f + k]
        small = math.exp(-abs(gate))
        share = small if gate < np.float32(0) else np.float32(1)
        y[i, k] = value * gate * share / (np.float32(1) + small)


@cuda.jit
def columns(x, first, y):
    i, k = cuda.blockIdx.x, 256 * cuda.blockIdx.y + cuda.threadIdx.x
    if k < y.shape[1]:
        y[i, k] = x[i, first + k]


@cuda.jit
def modulate(x, shift, scale, y):
    t, i = cuda.blockIdx.x, cuda.blockIdx.z
    k = 256 * cuda.blockIdx.y + cuda.threadIdx.x
    if k < x.shape[2]:
        y[i, t, k] = x[i, t, k] * (np.float32(1) + scale[i, k]) + shift[i, k]


@cuda.jit
def add_rms_norm(x, residual, w, eps, y, total):
    i, d = cuda.blockIdx.x, x.shape[1]
    squares = np.float32(0)
    for k in range(d):
        value = x[i, k] + residual[i, k]
        squares += value * value
    scale = np.float32(1) / math.sqrt(squares / np.float32(d) + eps)
    for k in range(cuda.threadIdx.x, d, cuda.blockDim.x):
        total[i, k] = x[i, k] + residual[i, k]
        y[i, k] = widen(w[k]) * (total[i, k] * scale)


@cuda.jit
def causal_conv(x, w, bias, state, y):
    n, c, window = x.shape[1], x.shape[2], w.shape[1]
    i, row = cuda.blockIdx.z, cuda.threadIdx.y
    k = 32 * cuda.blockIdx.x + cuda.threadIdx.x
    t = cuda.blockDim.y * cuda.blockIdx.y + row
    if k < c and t < n:
        total = widen(bias[k])
        for j in range(window):
            at = t - window + 1 + j
            v = x[i, at, k] if at >= 0 else state[i, window + at, k]
            total += widen(w[k, j]) * v
        y[i, t, k] = total
    moves = cuda.blockIdx.y == 0 and row < window and k < c
    if moves:
        last = n - window + row
        kept = x[i, last, k] if last >= 0 else state[i, n + row, k]
    cuda.syncthreads()
    if moves:
        state[i, row, k] = kept


@cuda.jit
def step_size(x, bias, lowest, highest, y):
    cell, h = cuda.grid(1), x.shape[1]
    if cell < x.size:
        v = x[cell // h, cell % h] + widen(bias[cell % h])
        delta = v if v > np.float32(20) else math.log1p(math.exp(v))
        y[cell // h, cell % h] = min(max(delta, lowest), highest)


def add_rms_norm_numpy(x, residual, w, eps):
    total = x + residual
    mean = np.mean(total * total, axis=-1, keepdims=True)
    return w.astype(np.float32) * (total / np.sqrt(mean + np.float32(eps))), total


def gate_rms_norm(x, z, w, r, eps):
    small = np.exp(-np.abs(z))
    v = x * (z * (np.where(z < 0, small, np.float32(1)) / (1 + small)))
    groups = v.reshape(*v.shape[:-1], r, v.shape[-1] // r)
    mean = np.mean(groups * groups, axis=-1, keepdims=True)
    unit = groups / np.sqrt(mean + np.float32(eps))
    return w.astype(np.float32) * unit.reshape(v.shape)


def causal_conv_numpy(x, w, bias, state):
    n, window = x.shape[1], w.shape[1]
    w, seen = w.astype(np.float32), np.concatenate([state, x], axis=1)
    y = bias.astype(np.float32)
    for k in range(window):
        y = y + w[:, k] * seen[:, k + 1 : k + 1 + n]
    state[...] = seen[:, n:]
    return y, state
