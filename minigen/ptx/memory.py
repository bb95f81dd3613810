"""Memory: which array an address lies in, and at which of its bytes."""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

from minigen.ptx.numbers import S64, U8, U64

APART = 1024
"""Bytes between shared arrays, so that an index outside of one is in none."""

POISON = 0x7FC0DEAD
"""What shared memory holds, and a register that nothing was written to: a NaN."""


@dataclass
class Region:
    """Memory side by side: its first address, its bytes, and what to call it.

    size: of what may be touched. apart: of shared memory, the bytes from one block's
    copy to the next one's.
    """

    base: int
    size: int
    data: np.ndarray
    apart: int = 0
    views: dict = field(default_factory=dict)

    def cells(self, dtype):
        """Return the bytes as numbers of a type."""
        if dtype not in self.views:
            whole = len(self.data) // dtype.itemsize * dtype.itemsize
            self.views[dtype] = self.data[:whole].view(dtype)
        return self.views[dtype]


class Space:
    """Regions, and which of them was written or read as constant in a launch."""

    def __init__(self, regions):
        self.regions = sorted(regions, key=lambda region: region.base)
        self.bases = [region.base for region in self.regions]
        self.written, self.constant = set(), set()

    def locate(self, address, width, stop):
        """Return (lanes, region, offsets) of all addresses; lanes None: all of them.

        stop(kind, lane, why) is called for a lane whose `width` bytes lie in no region.
        """
        crooked = address & U64.type(width - 1) != 0
        if crooked.any():
            lane = int(np.argmax(crooked))
            stop("alignment", lane, f"not a multiple of {width}")
        n = bisect_right(self.bases, int(address[0])) - 1
        if n >= 0:
            region = self.regions[n]
            offset = address - U64.type(region.base)
            if region.size >= width and offset.max() <= region.size - width:
                return [(None, region, offset.view(S64))]
        which = np.searchsorted(np.array(self.bases, U64), address, "right") - 1
        bases = np.array([*self.bases, 0], U64)
        sizes = np.array([*(region.size for region in self.regions), 0], S64)
        offset = (address - bases[which]).view(S64)
        stray = (which < 0) | (offset < 0) | (offset > sizes[which] - width)
        if stray.any():
            lane = int(np.argmax(stray))
            stop("bounds", lane, self._near(int(address[lane])))
        parts = [(np.flatnonzero(which == n), n) for n in np.unique(which)]
        return [(lanes, self.regions[n], offset[lanes]) for lanes, n in parts]

    def _near(self, address):
        if not self.regions:
            return "there is no such memory"
        region = min(self.regions, key=lambda region: abs(address - region.base))
        which = f"array {self.regions.index(region)} of {len(self.regions)}"
        return f"byte {address - region.base} of {which}, which has {region.size}"


def memory_of(arrays):
    """Return the regions that arrays take up; those that overlap are one."""
    spans = sorted(
        (a.__array_interface__["data"][0], a.nbytes) for a in arrays if a.size
    )
    merged = []
    for base, size in spans:
        if merged and base < sum(merged[-1]):
            last, before = merged.pop()
            size, base = max(before, base + size - last), last
        merged.append((base, size))
    return [
        Region(
            base, size, np.frombuffer((ctypes.c_uint8 * size).from_address(base), U8)
        )
        for base, size in merged
    ]
