"""Python twins of the intrinsics in minigen/ops/intrinsics.py, found by name."""

from __future__ import annotations

from sys import _getframe

import numpy as np

from minigen.simt import faults
from minigen.simt.memory import Watched, load
from minigen.simt.running import running
from minigen.simt.warps import exchange


def widen(v):
    """Return a float32, float16 or bfloat16 (as the uint16 of its bits) as float32."""
    if type(v) is np.uint16:
        return (np.uint32(v) << np.uint32(16)).view(np.float32)
    return np.float32(v)


def load16(array, i):
    """Return the 16 bytes from element i on, widened, as a tuple of float32.

    array: one axis. The first byte's address must be a multiple of 16.
    """
    count = 16 // array.itemsize
    misplaced = i % count
    if isinstance(array, Watched) and not misplaced:
        misplaced = array.address(i) % 16
    if misplaced:
        faults.stop(
            "alignment",
            f"{running.machine.current} loads 16 bytes from element {i}, which do not "
            f"begin at a multiple of 16 bytes (every {count} elements)",
        )
    frame = _getframe(1)
    return tuple(widen(load(array, i + k, frame)) for k in range(count))


def slct(yes, no, number):
    """Return `yes` where number is at least 0, else `no`."""
    return yes if number >= 0 else no


def mma_bf16(a, b, c):
    """Return c + a b for a 16 x 16 and a 16 x 8 matrix that a warp holds together.

    a: four uint32, b: two, each the bits of two bfloat16, the lower half first; c: four
    float32. With g = lane // 4 and t = lane % 4 a lane holds
    a: (g, 2t) (g + 8, 2t) (g, 2t + 8) (g + 8, 2t + 8), each with its right neighbour;
    b: (2t, g) (2t + 8, g), each with the one below; c: (g, 2t) (g, 2t + 1) (g + 8, 2t)
    (g + 8, 2t + 1). The sum is taken in float64 and rounded once; a tensor core rounds
    differently.

    Source: PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type".
    """
    lanes = exchange("mma_bf16", (a, b, c))
    if "product" not in lanes:
        lanes["product"] = _multiply(lanes)
    return lanes["product"][running.machine.current.lane]


def _pair(word):
    word = np.uint32(word)
    return (
        (word << np.uint32(16)).view(np.float32),
        (word & np.uint32(0xFFFF0000)).view(np.float32),
    )


def _multiply(lanes):
    left = np.empty((16, 16))
    right = np.empty((16, 8))
    sums = np.empty((16, 8))
    for lane, (a, b, c) in lanes.items():
        g, t = lane // 4, lane % 4
        for word, (row, column) in zip(
            a, ((0, 0), (8, 0), (0, 8), (8, 8)), strict=True
        ):
            left[g + row, column + 2 * t : column + 2 * t + 2] = _pair(word)
        for word, row in zip(b, (0, 8), strict=True):
            right[row + 2 * t : row + 2 * t + 2, g] = _pair(word)
        sums[g, 2 * t : 2 * t + 2] = c[:2]
        sums[g + 8, 2 * t : 2 * t + 2] = c[2:]
    result = (sums + left @ right).astype(np.float32)
    return {
        lane: (
            *result[lane // 4, 2 * (lane % 4) :][:2],
            *result[lane // 4 + 8, 2 * (lane % 4) :][:2],
        )  # fmt: skip
        for lane in range(32)
    }
