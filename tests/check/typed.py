"""Kernels whose types matter: integers of all widths, signs, casts, and constants.

Each is right as it stands; `planted_types.py` exchanges a few words.
"""

import math

import numpy as np
from numba import cuda, float32, int8, int32, uint8, uint32, uint64

from minigen.ops.intrinsics import load16

LANES = 8

TABLE = np.array([3.0, 1.0, 2.0], np.float32)


@cuda.jit
def mix(x, y):
    i = cuda.grid(1)
    if i < x.size:
        h = uint32(x[i] ^ (x[i] >> uint32(16)))
        h = uint32(h * uint32(0x85EBCA6B))
        y[i] = uint32(h ^ (h >> uint32(13)))


def mix_reference(x):
    h = x ^ (x >> np.uint32(16))
    h = h * np.uint32(0x85EBCA6B)
    return h ^ (h >> np.uint32(13))


@cuda.jit
def mean(x, y):
    sums = cuda.shared.array(LANES, int32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    total = 0
    for k in range(t, x.shape[1], LANES):
        total += x[i, k]
    sums[t] = total
    cuda.syncthreads()
    if t == 0:
        total = 0
        for j in range(LANES):
            total += sums[j]
        y[i] = float32(total) / float32(x.shape[1])


def mean_reference(x):
    return x.mean(1, dtype=np.float32)


@cuda.jit
def quantise(x, y):
    i = cuda.grid(1)
    if i < x.size:
        v = min(max(x[i] * float32(16), float32(-127)), float32(127))
        y[i] = int8(math.floor(v))


def quantise_reference(x):
    return np.floor(np.clip(x * np.float32(16), -127, 127)).astype(np.int8)


@cuda.jit
def distance(a, b, y):
    i = cuda.grid(1)
    if i < a.size:
        y[i] = uint8(abs(int32(a[i]) - int32(b[i])))


def distance_reference(a, b):
    return np.abs(a.astype(np.int32) - b).astype(np.uint8)


@cuda.jit
def before(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = x[i] - uint64(1)


def before_reference(x):
    return x - np.uint64(1)


@cuda.jit
def search(x, v, y):
    i = cuda.grid(1)
    if i < v.size:
        low, high = 0, x.size
        while low < high:
            mid = (low + high) // 2
            if x[mid] < v[i]:
                low = mid + 1
            else:
                high = mid
        y[i] = low


def search_reference(x, v):
    return np.searchsorted(x, v)


@cuda.jit
def pairs(x, y):
    own = cuda.local.array(4, float32)
    i = cuda.grid(1)
    if i < x.shape[0]:
        first = 0
        total = float32(0)
        for k in range(x.shape[1]):
            own[k % 4] = x[i, k]
            total += own[k % 4] * TABLE[k % 3]
        y[i] = total + float32(first)


def pairs_reference(x):
    return (x * TABLE[np.arange(x.shape[1]) % 3]).sum(1, dtype=np.float32)


@cuda.jit
def fours(x, y):
    i = 4 * cuda.grid(1)
    if i < x.size:
        a, b, c, d = load16(x, i)
        y[i], y[i + 1], y[i + 2], y[i + 3] = a + a, b + b, c + c, d + d


def fours_reference(x):
    return x + x


BY_ONES = ("(n + 7) // 8", 8)
SIGNED = {
    "mix": (
        "x (n) -> y (n)", *BY_ONES,
        {"dtypes": {"x": "uint32"}, "values": {"x": (0, 2**32 - 1)}},
    ),
    "mean": ("x (n d) -> y (n)", "n", LANES, {"dtypes": {"x": "uint8"}}),
    "quantise": ("x (n) -> y (n)", *BY_ONES, {"values": {"x": (-20, 20)}}),
    "distance": (
        "a (n), b (n) -> y (n)", *BY_ONES, {"dtypes": {"a": "uint8", "b": "uint8"}},
    ),
    "before": (
        "x (n) -> y (n)", *BY_ONES,
        {"dtypes": {"x": "uint64"}, "values": {"x": (2**60, 2**61)}},
    ),
    "search": (
        "x (t), v (n) -> y (n)", *BY_ONES,
        {"values": {"x": lambda dice, shape: np.sort(dice.standard_normal(shape))}},
    ),
    "pairs": ("x (n d) -> y (n)", *BY_ONES, {}),
    "fours": ("x (n) -> y (n)", "(n + 31) // 32", 8, {"sizes": {"n": (4, 8, 36)}}),
}  # fmt: skip
"""Of each kernel: its signature, its grid, its block, and options."""
