"""The ceilings of this machine: bytes read and float operations in a second."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from minigen.target import kernel, prange
from minigen.threads import all_of_them, count

READ = 64 << 20  # floats in the array that is read: far beyond every cache
DEEP = 512  # floats in a row of the tile: twelve rows stay in the first cache
TILES = 20000


@dataclass(frozen=True)
class Ceilings:
    """Bytes read from memory a second, float operations a second, and the threads."""

    bandwidth: float
    peak: float
    threads: int


@kernel
def _read(x, sums):
    # sixteen streams a thread would not read faster: one sum vectorises
    for i in prange(x.shape[0]):
        s = np.float32(0)
        for k in range(x.shape[1]):
            s += x[i, k]
        sums[i] = s


@kernel
def _multiply(a, b, sums, tiles):
    # sixteen independent sums over eight loads: the multipliers are never idle
    for t in prange(sums.shape[0]):
        for n in range(tiles):
            i = 4 * (n % 2)
            s00 = s01 = s02 = s03 = np.float32(0)
            s10 = s11 = s12 = s13 = np.float32(0)
            s20 = s21 = s22 = s23 = np.float32(0)
            s30 = s31 = s32 = s33 = np.float32(0)
            x0, x1, x2, x3 = a[t, i], a[t, i + 1], a[t, i + 2], a[t, i + 3]
            y0, y1, y2, y3 = b[t, 0], b[t, 1], b[t, 2], b[t, 3]
            for k in range(a.shape[2]):
                s00 += x0[k] * y0[k]
                s01 += x0[k] * y1[k]
                s02 += x0[k] * y2[k]
                s03 += x0[k] * y3[k]
                s10 += x1[k] * y0[k]
                s11 += x1[k] * y1[k]
                s12 += x1[k] * y2[k]
                s13 += x1[k] * y3[k]
                s20 += x2[k] * y0[k]
                s21 += x2[k] * y1[k]
                s22 += x2[k] * y2[k]
                s23 += x2[k] * y3[k]
                s30 += x3[k] * y0[k]
                s31 += x3[k] * y1[k]
                s32 += x3[k] * y2[k]
                s33 += x3[k] * y3[k]
            sums[t] += s00 + s01 + s02 + s03 + s10 + s11 + s12 + s13
            sums[t] += s20 + s21 + s22 + s23 + s30 + s31 + s32 + s33


def measure(repeats: int = 25) -> Ceilings:
    """Return the best of `repeats` measurements of each ceiling, on all threads."""
    threads = count()
    x = np.ones((64 * threads, READ // (64 * threads)), np.float32)
    sums = np.zeros(len(x), np.float32)
    a = np.full((threads, 8, DEEP), 1e-3, np.float32)
    totals = np.zeros(threads, np.float32)
    with all_of_them():
        read = _best(lambda: _read(x, sums), repeats)
        work = _best(lambda: _multiply(a, a[:, :4].copy(), totals, TILES), repeats)
    operations = threads * TILES * 16 * DEEP * 2
    return Ceilings(x.nbytes / read, operations / work, threads)


def better(a: Ceilings, b: Ceilings) -> Ceilings:
    """Return the higher of two measurements of each ceiling, of the same threads."""
    return Ceilings(max(a.bandwidth, b.bandwidth), max(a.peak, b.peak), a.threads)


def _best(f, repeats):
    f()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return min(times)
