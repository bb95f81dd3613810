"""Watched arrays: every access is checked, counted, and held against earlier ones.

Two accesses to one cell race if two threads made them, at least one is a write, and
nothing put them in order. What puts them in order is a barrier that both threads passed
in between. Each barrier has a number, its stamp, from a clock that only goes up; an
access remembers the stamp of the last barrier before it. So access A came surely before
what thread B does now if B has since passed a barrier, together with A's thread, whose
stamp is higher than the one A remembers. Nothing depends on which thread happened to
run first: a race is found even in a schedule where it does no harm.
"""

from __future__ import annotations

from collections import defaultdict
from operator import index as as_int
from sys import _getframe

import numpy as np

from minigen.errors import KernelError
from minigen.simt import pattern
from minigen.simt.places import describe, outside


class Cells:
    """The bookkeeping of one allocation; `Watched` arrays are windows on it.

    flat: its values, one axis. fresh: which cells nobody has written (or None if all
    hold values). writers, readers: for each cell the last write, and the reads since,
    as (thread, stamp, code, instruction). atomics: like readers. reads, writes: how
    often, by cell.
    """

    __slots__ = ("machine", "flat", "name", "fresh", "private", "constant")
    __slots__ += ("writers", "readers", "atomics", "reads", "writes", "narrow")

    def __init__(self, machine, flat, name, fresh=None, private=False, constant=False):
        self.machine, self.flat, self.name = machine, flat, name
        self.fresh, self.private, self.constant = fresh, private, constant
        self.writers, self.readers, self.atomics = {}, defaultdict(list), {}
        self.reads, self.writes = defaultdict(int), defaultdict(int)
        self.narrow = flat.dtype.kind == "f" and flat.dtype.itemsize < 8

    def read(self, cell, where, frame):
        """Return the value of a cell; `where()` names the index in messages."""
        if self.fresh is not None and self.fresh[cell]:
            self._uninitialised(cell, where, frame)
        if not self.private:
            machine = self.machine
            thread = machine.current
            record = thread, thread.stamp, frame.f_code, frame.f_lasti
            earlier = self.writers.get(cell)
            if (
                earlier is not None
                and earlier[0] is not thread
                and not machine.ordered(earlier[0], earlier[1], thread)
            ):
                self._race(where, "reads", frame, "wrote", earlier)
            if self.atomics and cell in self.atomics:
                self._against(self.atomics[cell], where, "reads", frame, "changed")
            self.readers[cell].append(record)
        return self.flat[cell]

    def write(self, cell, value, where, frame):
        """Store a value in a cell."""
        self._store(cell, value, where, frame)
        if self.private:
            return
        machine = self.machine
        thread = machine.current
        earlier = self.writers.get(cell)
        if (
            earlier is not None
            and earlier[0] is not thread
            and not machine.ordered(earlier[0], earlier[1], thread)
        ):
            self._race(where, "writes", frame, "wrote", earlier)
        readers = self.readers.get(cell)
        if readers:
            self._against(readers, where, "writes", frame, "read")
            self.reads[cell] += len(readers)
            readers.clear()
        if self.atomics and cell in self.atomics:
            self._against(self.atomics.pop(cell), where, "writes", frame, "changed")
        self.writers[cell] = thread, thread.stamp, frame.f_code, frame.f_lasti
        self.writes[cell] += 1

    def change(self, cell, function, where, frame):
        """Replace a cell by function(cell) in one piece; return what it was."""
        if self.fresh is not None and self.fresh[cell]:
            self._uninitialised(cell, where, frame)
        old = self.flat[cell]
        value = function(old)
        if value is not None:
            self._store(cell, value, where, frame)
        if not self.private:
            machine = self.machine
            thread = machine.current
            earlier = self.writers.get(cell)
            if earlier is not None:
                self._against([earlier], where, "changes", frame, "wrote")
            self._against(self.readers.get(cell, ()), where, "changes", frame, "read")
            record = thread, thread.stamp, frame.f_code, frame.f_lasti
            self.atomics.setdefault(cell, []).append(record)
            self.reads[cell] += 1
            self.writes[cell] += 1
        return old

    def counts(self):
        """Return how often each cell was read, and how often written (flat int64)."""
        reads = np.zeros(self.flat.size, np.int64)
        writes = np.zeros(self.flat.size, np.int64)
        for cell, count in self.reads.items():
            reads[cell] += count
        for cell, records in self.readers.items():
            reads[cell] += len(records)
        for cell, count in self.writes.items():
            writes[cell] += count
        return reads, writes

    def _store(self, cell, value, where, frame):
        if self.constant:
            thread = self.machine.current
            self._fault("type", f"{thread} writes constant {self.name}{where()}", frame)
        self.flat[cell] = value
        if self.narrow and type(value) is np.float64:
            self.machine.leaks[frame.f_code, frame.f_lasti] = True
        if self.fresh is not None:
            self.fresh[cell] = 0

    def _against(self, records, where, now, frame, before):
        machine = self.machine
        thread = machine.current
        for record in reversed(records):
            if not machine.ordered(record[0], record[1], thread):
                self._race(where, now, frame, before, record)

    def _race(self, where, now, frame, before, record):
        thread = self.machine.current
        other, _, code, instruction = record
        self._fault(
            "race",
            f"on {self.name}{where()}: {other} {before} it, {thread} {now} it, and "
            f"nothing orders the two\n"
            f"  {other} at {describe(code, instruction)}",
            frame,
        )

    def _uninitialised(self, cell, where, frame):
        machine = self.machine
        thread = machine.current
        frame = outside(frame)
        fault = KernelError(
            "uninitialised",
            f"{thread} reads {self.name}{where()}, which nobody has written\n"
            f"  {thread} at {describe(frame.f_code, frame.f_lasti)}",
        )
        if self.private:
            raise fault
        # if another thread comes to write it now, it is a race
        record = thread, thread.stamp, frame.f_code, frame.f_lasti
        self.readers[cell].append(record)
        machine.park(fault)

    def _fault(self, kind, message, frame):
        frame = outside(frame)
        place = describe(frame.f_code, frame.f_lasti)
        raise KernelError(kind, f"{message}\n  {self.machine.current} at {place}")


class Watched:
    """A window on Cells with the face of a NumPy array, as far as kernels need it."""

    __slots__ = ("cells", "start", "shape", "strides", "ndim", "size", "before")

    def __init__(self, cells, start, shape, strides, before=()):
        # strides count cells; before: the indices that led here, for messages
        self.cells, self.start = cells, start
        self.shape, self.strides, self.ndim = shape, strides, len(shape)
        self.size, self.before = int(np.prod(shape)), before

    dtype = property(lambda self: self.cells.flat.dtype)
    itemsize = property(lambda self: self.cells.flat.itemsize)
    nbytes = property(lambda self: self.size * self.itemsize)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        cell = self.locate(index)
        if cell is None:
            return self._window(index)
        return self.cells.read(cell, lambda: self._name(index), _getframe(1))

    def __setitem__(self, index, value):
        cell = self.locate(index)
        if cell is not None:
            self.cells.write(cell, value, lambda: self._name(index), _getframe(1))
            return
        self._window(index).fill(value, _getframe(1))

    def read(self, index, frame):
        """Return one value, on behalf of the line that `frame` stands at."""
        return self.cells.read(self.locate(index), lambda: self._name(index), frame)

    def store(self, index, value, frame):
        """Write one value, on behalf of the line that `frame` stands at."""
        cell = self.locate(index)
        self.cells.write(cell, value, lambda: self._name(index), frame)

    def counts(self):
        """Return how often each cell was read and written, in the array's shape."""
        reads, writes = self.cells.counts()
        return reads.reshape(self.shape), writes.reshape(self.shape)

    def change(self, index, function, frame):
        """Change one cell atomically, on behalf of the line of `frame`."""
        cell = self.locate(index)
        return self.cells.change(cell, function, lambda: self._name(index), frame)

    def fill(self, value, frame):
        """Write one value, or an array of them, cell by cell."""
        values = np.broadcast_to(value, self.shape)
        for index in np.ndindex(*self.shape):
            cell = self.locate(index)
            name = self._name(index)
            self.cells.write(cell, values[index], lambda name=name: name, frame)

    def reshape(self, *shape):
        """Return the same cells in another shape; the array must be contiguous."""
        shape = shape[0] if isinstance(shape[0], tuple) else shape
        if self.strides != _strides(self.shape):
            raise TypeError("reshape of an array that is not contiguous")
        if -1 in shape:
            known = -int(np.prod(shape))
            shape = tuple(self.size // known if n == -1 else n for n in shape)
        if int(np.prod(shape)) != self.size:
            raise ValueError(f"cannot reshape {self.shape} into {shape}")
        return Watched(self.cells, self.start, shape, _strides(shape), self.before)

    def locate(self, index):
        """Return the cell of an index, or None if it names more than one."""
        shape, strides, cell = self.shape, self.strides, self.start
        if type(index) is not tuple:
            index = (index,)
        if len(index) != self.ndim:
            return None
        for i, size, stride in zip(index, shape, strides):
            if type(i) is not int:
                if isinstance(i, slice):
                    return None
                i = as_int(i)
            if not 0 <= i < size:
                self._outside(index)
            cell += i * stride
        return cell

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

    def _name(self, index):
        return "".join(_brackets(part) for part in (*self.before, index))

    def _outside(self, index):
        cells = self.cells
        thread = cells.machine.current
        cells._fault(
            "bounds",
            f"{thread} touches {cells.name}{self._name(index)}, outside of its shape "
            f"{self.shape}",
            _getframe(1),
        )


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


def watch_all(machine, arguments):
    """Return the arrays among named arguments, watched: {name: Watched}."""
    watched = {}
    for name, value in arguments.items():
        if isinstance(value, np.ndarray):
            flat = value.reshape(-1)
            poisoned = pattern.is_poison(flat)
            fresh = bytearray(poisoned) if poisoned.any() else None
            cells = Cells(machine, flat, name, fresh)
            watched[name] = window(cells, value.shape)
    return watched
