"""Kernels that are no op of ours, right ones and wrong ones, with their references."""

import math

import numpy as np
from numba import cuda, float32, int32


@cuda.jit("void(float32[:], float32[:], float32, float32[:])")
def axpy(x, y, a, z):
    i = cuda.grid(1)
    if i < x.size:
        z[i] = a * x[i] + y[i]


@cuda.jit
def axpy_short(x, y, a, z):
    i = cuda.grid(1)
    if i < x.size - 1:
        z[i] = a * x[i] + y[i]


@cuda.jit
def axpy_unguarded(x, y, a, z):
    i = cuda.grid(1)
    z[i] = a * x[i] + y[i]


def axpy_reference(x, y, a):
    return a * x + y


@cuda.jit
def softmax(x, y):
    i = cuda.grid(1)
    if i < x.shape[0]:
        most = x[i, 0]
        for k in range(1, x.shape[1]):
            most = max(most, x[i, k])
        total = float32(0)
        for k in range(x.shape[1]):
            total += math.exp(x[i, k] - most)
        for k in range(x.shape[1]):
            y[i, k] = math.exp(x[i, k] - most) / total


@cuda.jit
def softmax_of_exp(x, y):
    i = cuda.grid(1)
    if i < x.shape[0]:
        total = float32(0)
        for k in range(x.shape[1]):
            total += math.exp(x[i, k] * float32(1.0001))
        for k in range(x.shape[1]):
            y[i, k] = math.exp(x[i, k]) / total


def softmax_reference(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@cuda.jit
def block_sums(x, y):
    s = cuda.shared.array(0, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    s[t] = x[i] if i < x.size else float32(0)
    cuda.syncthreads()
    step = cuda.blockDim.x // 2
    while step > 0:
        if t < step:
            s[t] += s[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        y[cuda.blockIdx.x] = s[0]


@cuda.jit
def block_sums_unsynced(x, y):
    s = cuda.shared.array(0, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    s[t] = x[i] if i < x.size else float32(0)
    step = cuda.blockDim.x // 2
    while step > 0:
        if t < step:
            s[t] += s[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        y[cuda.blockIdx.x] = s[0]


def block_sums_reference(x, m):
    return np.pad(x, (0, 16 * m - x.size)).reshape(m, 16).sum(-1)


@cuda.jit
def transpose(x, y):
    tile = cuda.shared.array((8, 9), float32)
    i = cuda.blockIdx.y * 8 + cuda.threadIdx.y
    j = cuda.blockIdx.x * 8 + cuda.threadIdx.x
    if i < x.shape[0] and j < x.shape[1]:
        tile[cuda.threadIdx.y, cuda.threadIdx.x] = x[i, j]
    cuda.syncthreads()
    i = cuda.blockIdx.x * 8 + cuda.threadIdx.y
    j = cuda.blockIdx.y * 8 + cuda.threadIdx.x
    if i < y.shape[0] and j < y.shape[1]:
        y[i, j] = tile[cuda.threadIdx.x, cuda.threadIdx.y]


def transpose_reference(x):
    return np.ascontiguousarray(x.T)


@cuda.jit
def histogram(ids, out):
    i = cuda.grid(1)
    if i < ids.size:
        cuda.atomic.add(out, ids[i], 1)


@cuda.jit
def histogram_raced(ids, out):
    i = cuda.grid(1)
    if i < ids.size:
        out[ids[i]] += 1


def histogram_reference(ids, out):
    out += np.bincount(ids, minlength=out.size)


@cuda.jit
def gather(x, ids, y):
    i = cuda.blockIdx.x
    for k in range(cuda.threadIdx.x, x.shape[1], cuda.blockDim.x):
        y[i, k] = x[ids[i], k]


def gather_reference(x, ids):
    return x[ids]


@cuda.jit
def mean_and_largest(x, mean, largest):
    i = cuda.grid(1)
    if i < x.shape[0]:
        total, most = float32(0), x[i, 0]
        for k in range(x.shape[1]):
            total += x[i, k]
            most = max(most, x[i, k])
        mean[i] = total / float32(x.shape[1])
        largest[i] = most


def mean_and_largest_reference(x):
    return x.mean(-1), x.max(-1)


@cuda.jit
def clip(x, least, most):
    i = cuda.grid(1)
    if i < x.size:
        x[i] = min(max(x[i], least), most)


def clip_reference(x, least, most):
    np.clip(x, least, most, out=x)


@cuda.jit
def writes_its_input(x, y):
    x_, y_, z_ = cuda.threadIdx.x, cuda.threadIdx.y, cuda.threadIdx.z
    i = cuda.blockIdx.x * 32 + (z_ * cuda.blockDim.y + y_) * cuda.blockDim.x + x_
    if i < x.size:
        y[i] = x[i]
        x[i] = 0


@cuda.jit
def in_float64(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = 0.1 * x[i] + 0.3 * math.exp(x[i])


def in_float64_reference(x):
    return 0.1 * x + 0.3 * np.exp(x)


@cuda.jit
def first_of_all(y, x, n):
    i = cuda.grid(1)
    if i < n:
        y[i] = x[i] + int32(10)


def first_of_all_reference(x, n):
    return x[:n] + 10


@cuda.jit
def copy(x, y):
    x_, y_, z_ = cuda.threadIdx.x, cuda.threadIdx.y, cuda.threadIdx.z
    i = cuda.blockIdx.x * 32 + (z_ * cuda.blockDim.y + y_) * cuda.blockDim.x + x_
    if i < x.size:
        y[i] = x[i]


def copy_reference(x):
    return x.copy()
