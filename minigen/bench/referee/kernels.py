"""Kernels that the referee is timed with: textbook ones, of no op of ours.

They use no warps, since Numba's simulator of a GPU has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minigen.target import cuda

F = np.float32
TILE = 8
SIDE = 64


@cuda.jit
def axpy(a, x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] += a * x[i]


@cuda.jit
def grid_stride(x, y):
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        y[i] = x[i] / (F(1) + math.exp(-x[i]))


@cuda.jit
def tree_sum(x, y):
    s = cuda.shared.array(128, np.float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    s[t] = x[i]
    half = cuda.blockDim.x // 2
    while half > 0:
        cuda.syncthreads()
        if t < half:
            s[t] += s[t + half]
        half //= 2
    if t == 0:
        y[cuda.blockIdx.x] = s[0]


@cuda.jit
def softmax(x, y):
    s = cuda.shared.array(64, np.float32)
    i, t, n = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    most = F(-1e30)
    for k in range(t, x.shape[1], n):
        most = max(most, x[i, k])
    s[t] = most
    cuda.syncthreads()
    for k in range(n):
        most = max(most, s[k])
    cuda.syncthreads()
    total = F(0)
    for k in range(t, x.shape[1], n):
        total += math.exp(x[i, k] - most)
    s[t] = total
    cuda.syncthreads()
    total = F(0)
    for k in range(n):
        total += s[k]
    for k in range(t, x.shape[1], n):
        y[i, k] = math.exp(x[i, k] - most) / total


@cuda.jit
def layer_norm(x, y):
    i = cuda.grid(1)
    if i < x.shape[0]:
        mean, square = F(0), F(0)
        for k in range(x.shape[1]):
            mean += x[i, k]
        mean /= F(x.shape[1])
        for k in range(x.shape[1]):
            square += (x[i, k] - mean) * (x[i, k] - mean)
        scale = F(1) / math.sqrt(square / F(x.shape[1]) + F(1e-5))
        for k in range(x.shape[1]):
            y[i, k] = (x[i, k] - mean) * scale


@cuda.jit
def transpose(x, y):
    s = cuda.shared.array((8, 9), np.float32)
    i, j = cuda.threadIdx.y, cuda.threadIdx.x
    s[i, j] = x[8 * cuda.blockIdx.y + i, 8 * cuda.blockIdx.x + j]
    cuda.syncthreads()
    y[8 * cuda.blockIdx.x + i, 8 * cuda.blockIdx.y + j] = s[j, i]


@cuda.jit
def matmul(a, b, c):
    i, j = cuda.grid(2)
    total = F(0)
    for k in range(a.shape[1]):
        total += a[i, k] * b[k, j]
    c[i, j] = total


@cuda.jit
def matmul_tiles(a, b, c):
    sa = cuda.shared.array((8, 8), np.float32)
    sb = cuda.shared.array((8, 8), np.float32)
    i, j = cuda.grid(2)
    u, v = cuda.threadIdx.x, cuda.threadIdx.y
    total = F(0)
    for tile in range(a.shape[1] // 8):
        sa[u, v] = a[i, 8 * tile + v]
        sb[u, v] = b[8 * tile + u, j]
        cuda.syncthreads()
        for k in range(8):
            total += sa[u, k] * sb[k, v]
        cuda.syncthreads()
    c[i, j] = total


@cuda.jit
def convolution(x, w, y):
    i = cuda.grid(1)
    if i < x.size:
        total = F(0)
        for k in range(w.size):
            if i + k < x.size:
                total += x[i + k] * w[k]
        y[i] = total


@cuda.jit
def laplace(x, y):
    i, j = cuda.grid(2)
    if 0 < i < x.shape[0] - 1 and 0 < j < x.shape[1] - 1:
        around = x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1]
        y[i, j] = F(0.25) * around


@cuda.jit
def histogram(ids, counts):
    i = cuda.grid(1)
    if i < ids.size:
        cuda.atomic.add(counts, ids[i], 1)


@cuda.jit
def prefix_sum(x, y):
    s = cuda.shared.array(128, np.float32)
    t = cuda.threadIdx.x
    i = cuda.grid(1)
    s[t] = x[i]
    step = 1
    while step < 128:
        cuda.syncthreads()
        more = s[t - step] if t >= step else F(0)
        cuda.syncthreads()
        s[t] += more
        step *= 2
    y[i] = s[t]


@cuda.jit
def mandelbrot(y):
    i, j = cuda.grid(2)
    if i < y.shape[0] and j < y.shape[1]:
        cr = F(-2) + F(3) * F(j) / F(y.shape[1])
        ci = F(-1) + F(2) * F(i) / F(y.shape[0])
        zr, zi, n = F(0), F(0), 0
        while n < 20 and zr * zr + zi * zi < F(4):
            zr, zi = zr * zr - zi * zi + cr, F(2) * zr * zi + ci
            n += 1
        y[i, j] = n


@cuda.jit
def forces(x, y):
    i = cuda.grid(1)
    fx, fy, fz = F(0), F(0), F(0)
    for k in range(x.shape[0]):
        dx, dy, dz = x[k, 0] - x[i, 0], x[k, 1] - x[i, 1], x[k, 2] - x[i, 2]
        r = dx * dx + dy * dy + dz * dz + F(1e-2)
        r = F(1) / (r * math.sqrt(r))
        fx += dx * r
        fy += dy * r
        fz += dz * r
    y[i, 0] = fx
    y[i, 1] = fy
    y[i, 2] = fz


@cuda.jit
def bitonic_sort(x):
    s = cuda.shared.array(128, np.float32)
    t = cuda.threadIdx.x
    s[t] = x[cuda.grid(1)]
    k = 2
    while k <= 128:
        j = k // 2
        while j > 0:
            cuda.syncthreads()
            other = t ^ j
            if other > t:
                a, b = s[t], s[other]
                if (a > b) == (t & k == 0):
                    s[t] = b
                    s[other] = a
            j //= 2
        k *= 2
    cuda.syncthreads()
    x[cuda.grid(1)] = s[t]


@cuda.jit
def gather(x, ids, y):
    i = cuda.blockIdx.x
    for k in range(cuda.threadIdx.x, x.shape[1], cuda.blockDim.x):
        y[i, k] = x[ids[i], k]


@cuda.jit
def attention(q, k, v, y):
    i = cuda.grid(1)
    if i < q.shape[0]:
        most, total = F(-1e30), F(0)
        acc = cuda.local.array(8, np.float32)
        for e in range(8):
            acc[e] = F(0)
        for n in range(k.shape[0]):
            score = F(0)
            for e in range(8):
                score += q[i, e] * k[n, e]
            new = max(most, score)
            scale, weight = math.exp(most - new), math.exp(score - new)
            total = total * scale + weight
            for e in range(8):
                acc[e] = acc[e] * scale + weight * v[n, e]
            most = new
        for e in range(8):
            y[i, e] = acc[e] / total


@dataclass(frozen=True)
class Case:
    """A launch: make(rng) returns its arguments."""

    kernel: Callable
    grid: tuple
    block: tuple
    make: Callable


def _case(kernel, grid, block, *arguments):
    """arguments: shapes of float32 arrays, numbers, or functions of a generator."""

    def make(rng):
        return [
            one(rng)
            if callable(one)
            else rng.standard_normal(one).astype(np.float32)
            if isinstance(one, tuple)
            else one
            for one in arguments
        ]

    return Case(kernel, grid, block, make)


def _ids(shape, below):
    return lambda rng: rng.integers(0, below, shape).astype(np.int32)


def _zeros(shape, dtype=np.int32):
    return lambda rng: np.zeros(shape, dtype)


CASES = {
    case.kernel.__name__: case
    for case in (
        _case(axpy, (8,), (128,), F(2), (1024,), (1024,)),
        _case(grid_stride, (4,), (64,), (1024,), (1024,)),
        _case(tree_sum, (8,), (128,), (1024,), (8,)),
        _case(softmax, (8,), (64,), (8, 128), (8, 128)),
        _case(layer_norm, (2,), (32,), (64, 32), (64, 32)),
        _case(transpose, (4, 4), (8, 8), (32, 32), (32, 32)),
        _case(matmul, (4, 4), (8, 8), (32, 32), (32, 32), (32, 32)),
        _case(matmul_tiles, (4, 4), (8, 8), (32, 32), (32, 32), (32, 32)),
        _case(convolution, (8,), (128,), (1024,), (9,), (1024,)),
        _case(laplace, (4, 4), (8, 8), (32, 32), (32, 32)),
        _case(histogram, (8,), (128,), _ids((1024,), 32), _zeros((32,))),
        _case(prefix_sum, (4,), (128,), (512,), (512,)),
        _case(mandelbrot, (4, 4), (8, 8), _zeros((32, 32))),
        _case(forces, (2,), (64,), (128, 3), (128, 3)),
        _case(bitonic_sort, (2,), (128,), (256,)),
        _case(gather, (32,), (32,), (64, 64), _ids((32,), 64), (32, 64)),
        _case(attention, (2,), (32,), (64, 8), (64, 8), (64, 8), (64, 8)),
    )
}
"""Each launch by the name of its kernel."""
