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

    __slots__ = ("cells", "start", "shape", "steps", "ndim", "before", "known")

    def __init__(self, cells, start, shape, steps, before=()):
        # steps: how many cells on along each axis; before: the indices that led here,
        # for messages
        self.cells, self.start = cells, start
        self.shape, self.steps, self.ndim = shape, steps, len(shape)
        self.before = before
        # {index: cell - start} of indices found to be inside, for all of this shape
        self.known = cells.machine.known.setdefault((shape, steps), {})

    size = property(lambda self: math.prod(self.shape))
    dtype = property(lambda self: self.cells.flat.dtype)
    itemsize = property(lambda self: self.cells.flat.itemsize)
    nbytes = property(lambda self: self.size * self.itemsize)
    # in bytes, as NumPy has them
    strides = property(lambda self: tuple(n * self.cells.stride for n in self.steps))
    T = property(lambda self: self.transpose())
    flat = property(lambda self: self.ravel())
    real = property(lambda self: self._part(0))
    imag = property(lambda self: self._part(1))

    def __len__(self):
        return self.shape[0]

    def __iter__(self):
        for i in range(self.shape[0]):
            # the line that asks is the one that resumes this generator
            frame = _getframe(1)
            yield self.read((i,), frame) if self.ndim == 1 else self._window((i,))

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
        return self.cells.address + self.locate(index) * self.cells.stride

    def counts(self):
        """Return how often each cell was read and written, in the array's shape."""
        cells = np.full(self.shape, self.start)
        for axis, (size, stride) in enumerate(zip(self.shape, self.steps, strict=True)):
            steps = np.arange(size) * stride
            cells += steps.reshape(-1, *[1] * (self.ndim - axis - 1))
        reads, writes = self.cells.counts()
        return reads[cells], writes[cells]

    def reshape(self, *shape):
        """Return the same cells in another shape; the array must be contiguous."""
        shape = shape[0] if isinstance(shape[0], tuple) else shape
        if not self._contiguous():
            raise TypeError("reshape of an array that is not contiguous")
        if -1 in shape:
            known = -math.prod(shape)
            shape = tuple(self.size // known if n == -1 else n for n in shape)
        if math.prod(shape) != self.size:
            raise ValueError(f"cannot reshape {self.shape} into {shape}")
        return Watched(self.cells, self.start, shape, _strides(shape), self.before)

    def transpose(self, *axes):
        """Return the same cells with the axes in another order, by default the last
        one first."""
        axes = axes[0] if axes and isinstance(axes[0], tuple) else axes
        axes = axes or tuple(reversed(range(self.ndim)))
        shape, steps = (tuple(of[a] for a in axes) for of in (self.shape, self.steps))
        return Watched(self.cells, self.start, shape, steps, self.before)

    def ravel(self):
        """Return all cells on one axis: these if they are contiguous, else copies."""
        if self._contiguous():
            return self.reshape(self.size)
        return self.copy(_getframe(1)).reshape(-1)

    flatten = ravel

    def item(self, *index):
        """Return one value: of the index, or the only one."""
        index = index or (0,) * self.ndim
        return self.read(index, _getframe(1))

    def sum(self):
        """Return the sum of all values, added in their order in their own type."""
        values, total = self.copy(_getframe(1)).reshape(-1), self.dtype.type(0)
        if self.dtype.kind in "biu":
            total = np.uint64(0) if self.dtype.kind == "u" else np.int64(0)
        for value in values:
            total = total + total.dtype.type(value)
        return total

    def view(self, dtype):
        """Return the same bytes as values of another dtype."""
        dtype = pattern.as_dtype(dtype)
        old, new = self.itemsize, dtype.itemsize
        if dtype == self.dtype:
            return self
        if old == new:
            steps, shape, start = self.steps, self.shape, self.start
        else:
            if not self._contiguous() or self.shape[-1] * old % new:
                raise TypeError(f"a view of {self.shape} {self.dtype} as {dtype}")
            shape = (*self.shape[:-1], self.shape[-1] * old // new)
            steps, start = _strides(shape), self.start * old // new
        return Watched(self.cells.viewed(dtype), start, shape, steps, self.before)

    def _part(self, which):
        # the real or the imaginary parts
        if self.dtype.kind != "c":
            return self if which == 0 else np.zeros(self.shape, self.dtype)
        cells = self.cells.viewed(np.dtype(f"f{self.itemsize // 2}"))
        steps = tuple(2 * n for n in self.steps)
        return Watched(cells, 2 * self.start + which, self.shape, steps, self.before)

    def _contiguous(self):
        # an axis of one cell may have any step
        pairs = zip(self.steps, _strides(self.shape), self.shape, strict=True)
        return all(one == other or n == 1 for one, other, n in pairs)

    def locate(self, index):
        """Return the cell of an index, or None if it names more than one.

        A negative number counts from the end, as in Numba, but not in kernels that are
        compiled without (`target.gpu_kernel`).
        """
        if self.ndim == 2 and type(index) is tuple and len(index) == 2:
            # the commonest kind, without a loop
            i, j = index
            if _is_number(i) and _is_number(j):
                i, j = as_int(i), as_int(j)
                rows, columns = self.shape
                if 0 <= i < rows and 0 <= j < columns:
                    step, stride = self.steps
                    self.known[index] = offset = i * step + j * stride
                    return self.start + offset
        indices = index if type(index) is tuple else (index,)
        if len(indices) != self.ndim or not all(map(_is_number, indices)):
            return None
        offset = 0
        for axis, i in enumerate(indices):
            offset += self._inside(i, axis, index) * self.steps[axis]
        self.known[index] = offset
        return self.start + offset

    def _inside(self, i, axis, index):
        i, size = as_int(i), self.shape[axis]
        if not (0 if self.cells.machine.plain else -size) <= i < size:
            self._outside(index)
        return i + size if i < 0 else i

    def _window(self, index):
        index = index if isinstance(index, tuple) else (index,)
        given = sum(i is not None and i is not Ellipsis for i in index)
        if given > self.ndim:
            raise IndexError(f"{given} indices into an array of {self.ndim} axes")
        rest = (slice(None),) * (self.ndim - given)
        if Ellipsis in index:
            at = index.index(Ellipsis)
            full = (*index[:at], *rest, *index[at + 1 :])
        else:
            full = (*index, *rest)
        start, shape, steps, axis = self.start, [], [], 0
        for i in full:
            if i is None:
                shape.append(1)
                steps.append(0)
                continue
            size, step = self.shape[axis], self.steps[axis]
            if isinstance(i, slice):
                first, last, by = i.indices(size)
                start += first * step
                shape.append(len(range(first, last, by)))
                steps.append(step * by)
            else:
                start += self._inside(i, axis, index) * step
            axis += 1
        before = (*self.before, index)
        return Watched(self.cells, start, tuple(shape), tuple(steps), before)

    def text(self, index):
        """Return an index as it would be written, after those that led here."""
        return "".join(_brackets(part) for part in (*self.before, index))

    def _outside(self, index):
        why = f", outside of its shape {self.shape}"
        self.cells.fault("bounds", "touches", self, index, why, _getframe(1))


def _brackets(index):
    index = index if isinstance(index, tuple) else (index,)
    return "[" + ", ".join(_index_text(i) for i in index) + "]"


def _is_number(i):
    return i is not None and i is not Ellipsis and type(i) is not slice


def _index_text(i):
    if i is None or i is Ellipsis:
        return "None" if i is None else "..."
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
    if cells.flat.dtype.names:
        return Records(cells, 0, shape, _strides(shape))
    return Watched(cells, 0, shape, _strides(shape))


class Records:
    """A watched array of records: an array of its own for each field.

    So threads that write two fields of one record do not race.
    """

    def __init__(self, cells, start, shape, steps, before=()):
        self._all = cells, start, shape, steps, before
        self.shape, self.ndim, self.size = shape, len(shape), math.prod(shape)
        self.dtype = cells.flat.dtype
        self.strides = tuple(n * cells.stride for n in steps)
        self.itemsize = self.dtype.itemsize

    def __len__(self):
        return self.shape[0]

    def __getattr__(self, field):
        if field.startswith("_") or field not in self.dtype.names:
            raise AttributeError(f"a record of {self.dtype} has no {field}")
        return self[field]

    def __getitem__(self, index):
        cells, start, shape, steps, before = self._all
        if isinstance(index, str):
            return Watched(cells.field(index), start, shape, steps, before)
        first = Watched(cells.field(self.dtype.names[0]), start, shape, steps, before)
        if first.locate(index) is not None:
            return Record(self, index)
        part = first._window(index)
        return Records(cells, part.start, part.shape, part.steps, part.before)

    def __setitem__(self, index, value):
        frame = _getframe(1)
        for field in self.dtype.names:
            self[field].store(index, value[field], frame)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def counts(self):
        """Return how often a field of each record was read, and written."""
        pairs = [self[field].counts() for field in self.dtype.names]
        reads, writes = zip(*pairs, strict=True)
        return np.sum(reads, 0), np.sum(writes, 0)


class Record:
    """One record of an array: its fields, as attributes and by their names."""

    __slots__ = ("_of", "_index")

    def __init__(self, of, index):
        object.__setattr__(self, "_of", of)
        object.__setattr__(self, "_index", index)

    def __getitem__(self, field):
        return self._of[field].read(self._index, _getframe(1))

    def __setitem__(self, field, value):
        self._of[field].store(self._index, value, _getframe(1))

    def __getattr__(self, field):
        return self._of[field].read(self._index, _getframe(1))

    def __setattr__(self, field, value):
        self._of[field].store(self._index, value, _getframe(1))


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

    Those of a tuple are called after it: x[0], x[1]. Arrays that share memory (and a
    dtype) share their bookkeeping too.
    """
    arrays = {}
    for name, value in arguments.items():
        _gather(name, value, arrays)
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


def _gather(name, value, arrays):
    if isinstance(value, np.ndarray):
        arrays[name] = value
    elif isinstance(value, tuple):
        for i, one in enumerate(value):
            _gather(f"{name}[{i}]", one, arrays)


def put_back(name, value, watched):
    """Return an argument with the watched arrays in place of its own."""
    if isinstance(value, tuple):
        parts = [put_back(f"{name}[{i}]", v, watched) for i, v in enumerate(value)]
        # a named tuple takes them one by one
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return watched.get(name, value)


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
    view = Records if cells.flat.dtype.names else Watched
    return {
        name: view(
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
