"""Memory: which array an address lies in, and at which of its bytes.

A global address is that of the NumPy array the kernel was given. Shared and local
arrays lie apart from each other, where no array of NumPy lies, and each block or thread
has a copy of its own behind the same address. So an address means the same in all
spaces, and a kernel may take any of them for a generic one.
"""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

from minigen.ptx.numbers import S64, U8, U32, U64

APART = 1024
"""Bytes between shared arrays, so that an index outside of one is in none."""

FIRST = {"shared": 1 << 56, "local": 1 << 57}
"""The first address of a space that is no memory of this process."""

POISON = 0x7FC0DEAD
"""What shared memory holds, and a register that nothing was written to: a NaN."""


@dataclass
class Region:
    """Memory side by side: its first address, its bytes, and what to call it.

    size: of what may be touched; apart: the bytes from one block's or thread's copy to
    the next one's, 0 if there is one copy; constant, written: whether the launch read
    it with ld.global.nc, and wrote it; shadow: see races.py.
    """

    base: int
    size: int
    data: np.ndarray
    space: str
    name: str
    apart: int = 0
    constant: bool = False
    written: bool = False
    shadow: object = None
    views: dict = field(default_factory=dict)

    def cells(self, dtype):
        """Return the bytes as numbers of a type."""
        if dtype not in self.views:
            whole = len(self.data) // dtype.itemsize * dtype.itemsize
            self.views[dtype] = self.data[:whole].view(dtype)
        return self.views[dtype]


class Memory:
    """All regions that a group of blocks may touch."""

    def __init__(self, regions):
        self.regions = sorted(regions, key=lambda region: region.base)
        self.bases = [region.base for region in self.regions]

    def locate(self, address, width, space, stop):
        """Return (lanes, region, offsets) of all addresses; lanes None: all of them.

        space: in which they must lie, None for any. stop(kind, lane, why) is called for
        a lane whose `width` bytes lie in no region.
        """
        if int(np.bitwise_or.reduce(address)) & (width - 1):
            crooked = address & U64.type(width - 1) != 0
            stop("alignment", int(np.argmax(crooked)), f"not a multiple of {width}")
        n = bisect_right(self.bases, int(address[0])) - 1
        if n >= 0:
            region = self.regions[n]
            offset = address - U64.type(region.base)
            fits = int(np.maximum.reduce(offset)) + width <= region.size
            if fits and space in (None, region.space):
                return [(None, region, offset.view(S64))]
        which = np.searchsorted(np.array(self.bases, U64), address, "right") - 1
        bases = np.array([*self.bases, 0], U64)
        sizes = np.array([*(region.size for region in self.regions), 0], S64)
        offset = (address - bases[which]).view(S64)
        stray = (which < 0) | (offset < 0) | (offset > sizes[which] - width)
        if space is not None:
            spaces = np.array([*(region.space for region in self.regions), ""])
            stray |= spaces[which] != space
        if stray.any():
            lane = int(np.argmax(stray))
            stop("bounds", lane, self._near(int(address[lane]), space))
        parts = [(np.flatnonzero(which == n), n) for n in np.unique(which)]
        return [(lanes, self.regions[n], offset[lanes]) for lanes, n in parts]

    def _near(self, address, space):
        known = [one for one in self.regions if space in (None, one.space)]
        if not known:
            return "there is no such memory"
        region = min(known, key=lambda one: abs(address - one.base))
        return f"byte {address - region.base} of {region.name}, which has {region.size}"


def arrays_of(arguments, names=()) -> list[Region]:
    """Return the regions that arrays take up; those that overlap are one."""
    spans = sorted(_spans(arguments, names))
    merged = []
    for base, size, name in spans:
        if merged and base < sum(merged[-1][:2]):
            last, before, first = merged.pop()
            size, base = max(before, base + size - last), last
            name = f"{first} and {name}"
        merged.append((base, size, name))
    return [_host(base, size, name) for base, size, name in merged]


def _spans(arguments, names):
    for n, a in enumerate(arguments):
        name = names[n] if n < len(names) else f"array {n}"
        if isinstance(a, tuple | list):
            yield from _spans(a, [f"{name}[{k}]" for k in range(len(a))])
        elif isinstance(a, np.ndarray | np.void) and a.nbytes:
            array = np.asarray(a)
            steps = zip(array.shape, array.strides, strict=True)
            reach = [(size - 1) * stride for size, stride in steps]
            low = sum(step for step in reach if step < 0)
            high = sum(step for step in reach if step > 0) + array.itemsize
            first = array.__array_interface__["data"][0]
            yield first + low, high - low, name


def _host(base, size, name):
    data = np.frombuffer((ctypes.c_uint8 * size).from_address(base), U8)
    return Region(base, size, data, "global", name)


def lay_out(variables) -> dict[str, int]:
    """Return the address of each variable of a module, and make its bytes."""
    found, ends = {}, dict(FIRST)
    for name, variable in variables.items():
        space = variable.space
        if variable.dynamic:
            # all names of dynamic shared memory are one address
            found[name] = FIRST["shared"] + (1 << 40)
        elif space in ends:
            ends[space] = -(-ends[space] // APART) * APART + APART
            found[name] = ends[space]
            ends[space] += variable.size
        else:
            if variable.data is None:
                variable.data = np.zeros(variable.size, U8)
            found[name] = variable.data.__array_interface__["data"][0]
    return found


def named_in(variables) -> list[Region]:
    """Return the regions of the constant and global variables of a module."""
    return [
        Region(
            one.data.__array_interface__["data"][0], one.size, one.data, one.space, n
        )
        for n, one in variables.items()
        if one.space in ("const", "global") and one.size
    ]


def copies(program, space, count, dynamic=0) -> list[Region]:
    """Return the regions of shared or local arrays for so many blocks or threads."""
    sizes = {}
    for name, one in program.variables.items():
        if one.space == space:
            size = dynamic if one.dynamic else one.size
            sizes[program.addresses[name]] = size, _short(name, one)
    regions = []
    for base, (size, name) in sizes.items():
        apart = -(-size // 16) * 16
        data = np.full(count * apart // 4, POISON, U32).view(U8)
        regions.append(Region(base, size, data, space, name, apart))
    return regions


def _short(name, variable):
    # Numba numbers its shared arrays
    if variable.space == "local":
        return "local memory"
    number = name.rpartition("_")[2]
    return f"shared array {number}" if number.isdigit() else name
