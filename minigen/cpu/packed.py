"""Weights laid out for products: panels of 32 features, their inputs side by side.

A weight (f d) becomes (f/32 2 d 16): a panel has two halves, in which the 16 numbers
that meet one input of x stand side by side, a vector. So every number of x is
multiplied by whole vectors, and a product reads a half from end to end, or both at
once: two streams, which some processors fetch faster than one. A model's weights are
laid out once, when they are moved to this backend; its file stays as it is, and the
pages of it that were mapped are given back. So a process takes as much memory as
before; but what lay in these pages was shared by all processes that read the file, and
panels are each process's own.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.registers import LANES
from minigen.target import kernel, prange

WIDTH = 2 * LANES
"""Features of a panel: two halves of sixteen, each a vector."""

SMALL = 1 << 18
"""Numbers of a weight below which NumPy lays it out, in float32: so that a small model,
whatever the dtypes of its file, needs no kernel to be compiled for that, and one for
all its products."""


@dataclass(frozen=True, eq=False)
class Packed:
    """A weight (f ...) in panels, which stands for it wherever products read it.

    panels (f/32 2 d 16): float32, or of a large weight the bits of a float16 as int16,
    of a bfloat16 as uint16; d: the product of all axes but the first; beyond the last
    feature are zeros.
    shape, dtype: of the weight. `np.asarray` returns the weight itself, and so every
    method of an array, such as `w.T`, works on a copy of it: slowly, but for kernels of
    others that stand in the place of ours.
    """

    panels: np.ndarray
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """Return some rows, w[i:j]: a view if i and j are multiples of 32."""
        first, last, _ = rows.indices(len(self))
        last = max(first, last)
        shape = (last - first, *self.shape[1:])
        if first % WIDTH or (last % WIDTH and last != len(self)):
            return pack_weight(np.asarray(self)[rows])
        return Packed(
            self.panels[first // WIDTH : -(-last // WIDTH)], shape, self.dtype
        )

    def take(self, ids, axis=0, out=None, mode="raise"):
        """Return rows of a table (t d), as `np.take` does: ids (...) -> (... d)."""
        rows = self.panels[ids // WIDTH, ids % WIDTH // LANES, :, ids % LANES]
        return self._restored(np.ascontiguousarray(rows))

    def __array__(self, dtype=None, copy=None):
        rows = np.ascontiguousarray(self.panels.swapaxes(2, 3))
        rows = rows.reshape(-1, self.panels.shape[2])[: len(self)]
        weight = self._restored(rows).reshape(self.shape)
        return weight if dtype is None else weight.astype(dtype, copy=False)

    def _restored(self, numbers):
        # what panels hold, in the dtype of the weight
        if numbers.dtype == np.float32:
            return numbers.astype(self.dtype, copy=False)
        return numbers.view(self.dtype)


@kernel
def _pack(w, panels):
    # (f d) -> (f/32 2 d 16), by sixteen inputs, which are a line of the cache
    f, d = w.shape
    for unit in prange(2 * len(panels)):
        half = panels[unit // 2, unit % 2]
        first = LANES * np.int64(unit)
        for start in range(0, d, 16):
            for k in range(start, min(start + 16, d)):
                for c in range(min(LANES, f - first)):
                    half[k, c] = w[first + c, k]


def pack_weight(w, empty=buffers.lasting) -> Packed:
    """Return a weight (f ...) in panels: the same object if it is that already.

    w: float32, float16 or bfloat16; empty: makes the panels. Raises ShapeError for
    another dtype.
    """
    if isinstance(w, Packed):
        return w
    bits = buffers.weight(w).reshape(len(w), math.prod(w.shape[1:]))
    if bits.size < SMALL:
        bits = w.astype(np.float32, copy=False).reshape(bits.shape)
    f, d = bits.shape
    panels = empty((-(-f // WIDTH), 2, d, LANES), bits.dtype)
    if bits.size < SMALL:
        whole = buffers.padded(bits, WIDTH, 1).reshape(-1, 2, LANES, d)
        panels[...] = whole.swapaxes(2, 3)
    else:
        panels[f // WIDTH :] = 0
        _pack(bits.view(f"u{bits.itemsize}"), panels.view(f"u{bits.itemsize}"))
    _forget(bits)
    return Packed(panels, w.shape, w.dtype)


def _forget(array):
    # let go of a mapped file's pages in which an array lies; who needs them reads again
    data = array
    while isinstance(data, np.ndarray):
        data = data.base
    if not isinstance(data, mmap.mmap) or not hasattr(data, "madvise"):
        return
    page = mmap.PAGESIZE
    start = array.ctypes.data - np.frombuffer(data, np.uint8).ctypes.data
    first, last = -(-start // page) * page, (start + array.nbytes) // page * page
    if first < last:
        data.madvise(mmap.MADV_DONTNEED, first, last - first)
