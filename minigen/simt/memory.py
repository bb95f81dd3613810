"""Watched arrays: every index is checked, and every access goes through cells.py."""

from __future__ import annotations

import math
from operator import index as as_int
from sys import _getframe

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minigen.simt import pattern
from minigen.simt.cells import Cells


class Watched:
    """A view of Cells with the methods of a NumPy array that kernels need."""

    __slots__ = (
        "cells",
        "start",
        "shape",
        "strides",
        "ndim",
        "size",
        "before",
        "known",
    )

    def __init__(self, cells, start, shape, strides, before=()):
        # strides count cells; before: the indices that led here, for messages
        self.cells, self.start = cells, start
        self.shape, self.strides, self.ndim = shape, strides, len(shape)
        self.size, self.before = math.prod(shape), before
        # {index: cell - start} of indices found to be inside, for all of this shape
        self.known = cells.machine.known.setdefault((shape, strides), {})

    dtype = property(lambda self: self.cells.flat.dtype)
    itemsize = property(lambda self: self.cells.flat.itemsize)
    nbytes = property(lambda self: self.size * self.itemsize)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        try:
            cell = self.known.get(index)
        except TypeError:
            # a slice
            cell = None
        if cell is not None:
            cell += self.start
        else:
            cell = self.locate(index)
            if cell is None:
                return self._window(index)
        cells = self.cells
        if cells.own and not cells.fresh[cell]:
            return cells.flat[cell]
        return cells.read(cell, self, index, _getframe(1))

    def __setitem__(self, index, value):
        try:
            cell = self.known.get(index)
        except TypeError:
            # a slice
            cell = None
        if cell is not None:
            cell += self.start
        else:
            cell = self.locate(index)
            if cell is None:
                self._window(index).fill(value, _getframe(1))
                return
        cells = self.cells
        if cells.own and type(value) is cells.kind:
            cells.flat[cell] = value
            cells.fresh[cell] = 0
        else:
            cells.write(cell, value, self, index, _getframe(1))

    # the same on behalf of the line that `frame` stands at

    def read(self, index, frame):
        """Return one value."""
        return self.cells.read(self.locate(index), self, index, frame)

    def store(self, index, value, frame):
        """Write one value."""
        self.cells.write(self.locate(index), value, self, index, frame)

    def change(self, index, function, frame):
        """Replace one value by function(value) in one piece; return what it was."""
        return self.cells.change(self.locate(index), function, self, index, frame)

    def fill(self, value, frame):
        """Write one value, or an array of them, cell by cell."""
        if isinstance(value, Watched):
            value = value.copy(frame)
        values = np.broadcast_to(value, self.shape)
        for index in np.ndindex(*self.shape):
            self.store(index, values[index], frame)

    def copy(self, frame):
        """Return all values as a NumPy array, read cell by cell."""
        values = np.empty(self.shape, self.dtype)
        for index in np.ndindex(*self.shape):
            values[index] = self.read(index, frame)
        return values

    def address(self, index):
        """Return the address of the element that one index names."""
        start = self.cells.flat.__array_interface__["data"][0]
        return start + self.locate(index) * self.itemsize

    def counts(self):
        """Return how often each cell was read and written, in the array's shape."""
        cells = np.full(self.shape, self.start)
        for axis, (size, stride) in enumerate(
            zip(self.shape, self.strides, strict=True)
        ):
            steps = np.arange(size) * stride
            cells += steps.reshape(-1, *[1] * (self.ndim - axis - 1))
        reads, writes = self.cells.counts()
        return reads[cells], writes[cells]

    def reshape(self, *shape):
        """Return the same cells in another shape; the array must be contiguous."""
        shape = shape[0] if isinstance(shape[0], tuple) else shape
        if self.strides != _strides(self.shape):
            raise TypeError("reshape of an array that is not contiguous")
        if -1 in shape:
            known = -math.prod(shape)
            shape = tuple(self.size // known if n == -1 else n for n in shape)
        if math.prod(shape) != self.size:
            raise ValueError(f"cannot reshape {self.shape} into {shape}")
        return Watched(self.cells, self.start, shape, _strides(shape), self.before)

    def locate(self, index):
        """Return the cell of an index, or None if it names more than one."""
        if self.ndim == 2 and type(index) is tuple and len(index) == 2:
            # the commonest kind, without a loop
            i, j = index
            if type(i) is not slice and type(j) is not slice:
                i, j = as_int(i), as_int(j)
                rows, columns = self.shape
                if 0 <= i < rows and 0 <= j < columns:
                    step, stride = self.strides
                    self.known[index] = offset = i * step + j * stride
                    return self.start + offset
        indices = index if type(index) is tuple else (index,)
        if len(indices) != self.ndim:
            return None
        offset = 0
        for axis, i in enumerate(indices):
            if type(i) is slice:
                return None
            i = as_int(i)
            if not 0 <= i < self.shape[axis]:
                self._outside(index)
            offset += i * self.strides[axis]
        self.known[index] = offset
        return self.start + offset

    def _window(self, index):
        index = index if isinstance(index, tuple) else (index,)
        if len(index) > self.ndim:
            raise IndexError(f"{len(index)} indices into an array of {self.ndim} axes")
        start, shape, strides = self.start, [], []
        for axis, stride in enumerate(self.strides):
            size = self.shape[axis]
            i = index[axis] if axis < len(index) else slice(None)
            if isinstance(i, slice):
                first, last, step = i.indices(size)
                start += first * stride
                shape.append(len(range(first, last, step)))
                strides.append(stride * step)
            else:
                i = as_int(i)
                if not 0 <= i < size:
                    self._outside(index)
                start += i * stride
        before = (*self.before, index)
        return Watched(self.cells, start, tuple(shape), tuple(strides), before)

    def text(self, index):
        """Return an index as it would be written, after those that led here."""
        return "".join(_brackets(part) for part in (*self.before, index))

    def _outside(self, index):
        why = f", outside of its shape {self.shape}"
        self.cells.fault("bounds", "touches", self, index, why, _getframe(1))


def _brackets(index):
    index = index if isinstance(index, tuple) else (index,)
    return "[" + ", ".join(_index_text(i) for i in index) + "]"


def _index_text(i):
    if not isinstance(i, slice):
        return str(int(i))
    ends = ["" if end is None else str(int(end)) for end in (i.start, i.stop)]
    return ":".join(ends + ([str(int(i.step))] if i.step is not None else []))


def _strides(shape):
    strides, step = [], 1
    for size in reversed(shape):
        strides.insert(0, step)
        step *= size
    return tuple(strides)


def window(cells, shape):
    """Return all of some cells as an array of a shape."""
    return Watched(cells, 0, shape, _strides(shape))


def load(array, index, frame):
    """Return a cell of a watched or a plain array, for the line of `frame`."""
    return array.read(index, frame) if isinstance(array, Watched) else array[index]


def store(array, index, value, frame):
    """Write a cell of a watched or a plain array, for the line of `frame`."""
    if isinstance(array, Watched):
        array.store(index, value, frame)
    else:
        array[index] = value


def watch_all(machine, arguments):
    """Return the arrays among named arguments, watched: {name: Watched}.

    Arrays that share memory (and a dtype) share their bookkeeping too.
    """
    arrays = {n: a for n, a in arguments.items() if isinstance(a, np.ndarray)}
    watched, group, end = {}, [], 0
    for name in sorted(arrays, key=lambda name: _byte_bounds(arrays[name])[0]):
        first, last = _byte_bounds(arrays[name])
        same = group and arrays[group[0]].dtype == arrays[name].dtype
        if not (same and first < end):
            watched |= _watch_group(machine, {n: arrays[n] for n in group})
            group, end = [], 0
        group.append(name)
        end = max(end, last)
    watched |= _watch_group(machine, {n: arrays[n] for n in group})
    return {name: watched[name] for name in arrays}


def _watch_group(machine, arrays):
    if not arrays:
        return {}
    bounds = {name: _byte_bounds(array) for name, array in arrays.items()}
    lowest = min(first for first, _ in bounds.values())
    highest = max(last for _, last in bounds.values())
    base = next(array for name, array in arrays.items() if bounds[name][0] == lowest)
    size = base.itemsize
    # from its lowest address on, whatever the direction of its axes
    base = base[tuple(slice(None, None, -1 if s < 0 else 1) for s in base.strides)]
    count = (highest - lowest) // size if base.size else 0
    cells = Cells(machine, as_strided(base, (count,), (size,)), "/".join(arrays))
    cells.constant = not base.flags.writeable
    cells.fresh = bytearray(pattern.is_poison(cells.flat))
    return {
        name: Watched(
            cells,
            (array.__array_interface__["data"][0] - lowest) // size,
            array.shape,
            tuple(stride // size for stride in array.strides),
        )
        for name, array in arrays.items()
    }


def _byte_bounds(array):
    """Return the addresses of an array's first byte and of the one after its last."""
    first = array.__array_interface__["data"][0]
    if array.size == 0:
        return first, first
    reach = [(n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)]
    last = first + sum(r for r in reach if r > 0) + array.itemsize
    return first + sum(r for r in reach if r < 0), last
