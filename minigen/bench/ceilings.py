"""The ceilings of this machine: the most that anything here reads and multiplies.

Both are the best of several ways, none of which is trusted to be the fastest: loops of
ours, NumPy, and OpenBLAS, whose large product no loop of ours may be taken for the
limit of. They are measured in a process of their own, with as many threads as what they
are the ceilings of.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np

from minigen.bench import machine, process
from minigen.kernel_cache import keep
from minigen.target import numba, prange
from minigen.threads import count
from minigen.words import say_json

READ = 64 << 20
"""Floats in the array that is read: far beyond every cache."""

ROWS = 64
"""Rows of it that a thread reads, one after the other."""

DEEP = 1024
"""Floats in a row of a tile: its rows stay in the first cache."""

TILES = 5000
"""Tiles that a thread multiplies."""

SQUARE = 2048
"""Rows and columns of OpenBLAS's product."""

LEAST = 1 << 20
"""Bytes of the smallest cache that is looked for."""

FASTER = 1.5
"""How many times as fast as memory a cache is read, at least."""


@dataclass(frozen=True)
class Ceilings:
    """Bytes read from memory a second, float operations a second, and the threads.

    reader, multiplier: the ways that reached them; cache: bytes beyond which nothing is
    read faster than memory is.
    """

    bandwidth: float
    peak: float
    threads: int
    reader: str = ""
    multiplier: str = ""
    cache: int = 0


def _compile(function):
    # for all threads; sums may be reordered, for here no bits matter
    return keep(numba.njit(parallel=True, error_model="numpy", fastmath=True)(function))


@_compile
def _one_sum(x, sums):
    for i in prange(x.shape[0]):
        s = np.float32(0)
        for k in range(x.shape[1]):
            s += x[i, k]
        sums[i] = s


@_compile
def _four_sums(x, sums):
    for group in prange(x.shape[0] // 4):
        i = 4 * np.int64(group)
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        s = t = u = v = np.float32(0)
        for k in range(x.shape[1]):
            s += a[k]
            t += b[k]
            u += c[k]
            v += d[k]
        sums[i], sums[i + 1], sums[i + 2], sums[i + 3] = s, t, u, v


# a tile's sums and the rows that it multiplies are all in registers: nine sums are as
# many as AVX2 has room for, sixteen as NEON and AVX-512 have
@_compile
def _three_by_three(a, sums, tiles):
    for t in prange(sums.shape[0]):
        x0, x1, x2 = a[t, 0], a[t, 1], a[t, 2]
        y0, y1, y2 = a[t, 3], a[t, 4], a[t, 5]
        for _ in range(tiles):
            s00 = s01 = s02 = np.float32(0)
            s10 = s11 = s12 = np.float32(0)
            s20 = s21 = s22 = np.float32(0)
            for k in range(a.shape[2]):
                s00 += x0[k] * y0[k]
                s01 += x0[k] * y1[k]
                s02 += x0[k] * y2[k]
                s10 += x1[k] * y0[k]
                s11 += x1[k] * y1[k]
                s12 += x1[k] * y2[k]
                s20 += x2[k] * y0[k]
                s21 += x2[k] * y1[k]
                s22 += x2[k] * y2[k]
            sums[t] += s00 + s01 + s02 + s10 + s11 + s12 + s20 + s21 + s22
            # or LLVM would see that all tiles are the same
            a[t, 0, 0] = sums[t]


@_compile
def _four_by_four(a, sums, tiles):
    for t in prange(sums.shape[0]):
        x0, x1, x2, x3 = a[t, 0], a[t, 1], a[t, 2], a[t, 3]
        y0, y1, y2, y3 = a[t, 4], a[t, 5], a[t, 6], a[t, 7]
        for _ in range(tiles):
            s00 = s01 = s02 = s03 = np.float32(0)
            s10 = s11 = s12 = s13 = np.float32(0)
            s20 = s21 = s22 = s23 = np.float32(0)
            s30 = s31 = s32 = s33 = np.float32(0)
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
            a[t, 0, 0] = sums[t]


def readers(x: np.ndarray, pool: ThreadPoolExecutor) -> dict:
    """Return {way: function} of reading x (r n) once, on all threads."""
    sums, vector = np.zeros(len(x), np.float32), np.ones(x.shape[1], np.float32)
    parts = np.array_split(x, ROWS)
    return {
        "our loop of one sum": partial(_one_sum, x, sums),
        "our loop of four sums": partial(_four_sums, x, sums),
        "NumPy's max": lambda: list(pool.map(np.max, parts)),
        "OpenBLAS, matrix by vector": lambda: x @ vector,
    }


def multipliers(threads: int, square: int, tiles: int) -> dict:
    """Return {way: (function, its float operations)} of multiplying on all threads."""
    a = np.full((square, square), 1e-3, np.float32)
    y, sums = np.empty_like(a), np.zeros(threads, np.float32)
    found = {f"OpenBLAS, {square} cubed": (partial(np.matmul, a, a, y), 2 * square**3)}
    for function, side in ((_three_by_three, 3), (_four_by_four, 4)):
        rows = np.full((threads, 2 * side, DEEP), 1e-6, np.float32)
        call = partial(function, rows, sums, tiles)
        operations = threads * tiles * side * side * DEEP * 2
        found[f"our loop of {side} by {side} sums"] = call, operations
    return found


def reach(repeats: int, read: int, square: int, tiles: int) -> Ceilings:
    """Return the best of `repeats` runs of each way, in this process.

    read: floats that are read; square: side of OpenBLAS's product; tiles: of a loop.
    """
    threads = count()
    x = np.ones((ROWS * threads, read // (ROWS * threads)), np.float32)
    with ThreadPoolExecutor(threads) as pool:
        reading = {
            way: x.nbytes / _best(f, repeats) for way, f in readers(x, pool).items()
        }
        multiplying = {
            way: operations / _best(f, repeats)
            for way, (f, operations) in multipliers(threads, square, tiles).items()
        }
    reader, multiplier = (max(each, key=each.get) for each in (reading, multiplying))
    cache = held(machine.cache_bytes(), reading[reader], threads, repeats)
    return Ceilings(
        reading[reader], multiplying[multiplier], threads, reader, multiplier, cache
    )


def held(claimed: int, bandwidth: float, threads: int, repeats: int) -> int:
    """Return the bytes beyond which nothing is read faster than memory is.

    claimed: bytes of the last-level cache, as the system says; on a virtual machine
    most of these may be in use by others. bandwidth: of memory, in bytes a second. They
    are halved until what is read again and again is read FASTER; so the cache ends
    between that and twice as much, which is returned.
    """
    size = claimed
    while size > LEAST:
        x = np.ones((4 * threads, size // (16 * threads)), np.float32)
        read = partial(_four_sums, x, np.zeros(len(x), np.float32))
        if x.nbytes / _best(read, repeats) > FASTER * bandwidth:
            break
        size //= 2
    return min(claimed, 2 * size)


def measure(threads: int) -> Ceilings:
    """Return the ceilings on so many threads, measured in a new process."""
    with process.start("minigen.bench.ceilings", threads=threads) as measuring:
        return Ceilings(**process.read(measuring))


def better(a: Ceilings, b: Ceilings) -> Ceilings:
    """Return the higher of two measurements of each ceiling, of the same threads."""
    if b.bandwidth > a.bandwidth:
        a = replace(a, bandwidth=b.bandwidth, reader=b.reader)
    if b.peak > a.peak:
        a = replace(a, peak=b.peak, multiplier=b.multiplier)
    return a


def _best(f, repeats):
    f()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    say_json(asdict(reach(15, READ, SQUARE, TILES)), indent=None)
