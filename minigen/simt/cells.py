"""The race detector of watched memory: who accessed which cell, and when.

Two accesses to one cell race if different threads made them, at least one is a write,
and nothing orders them. A barrier that both threads passed in between orders them. Each
barrier has a number, its stamp, from a clock that only increases, and an access records
the stamp of the last barrier before it. So access A happened before what thread B does
now if B has since passed a barrier together with A's thread, and the stamp of that
barrier is higher than A's. An atomic after a fence orders too: a thread that later does
an atomic on the same cell knows what was done before the fence.

If only barriers order, the result does not depend on the schedule: a race is found even
where it does no harm.
"""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np

from minigen.errors import KernelError
from minigen.simt.numbers import truncated
from minigen.simt.sites import describe, describe_frame, line_of, source

# an array's cell that a line changes, and the atomic that does so in one piece
CHANGE = re.compile(r"\]\s*([-+|&^])=|(?:=|\b)\s*(max|min)\(")
CHANGES = {"+": "add", "-": "sub", "|": "or_", "&": "and_", "^": "xor"}
CHANGES |= {"max": "max", "min": "min"}


class Cells:
    """The bookkeeping of one allocation; `Watched` arrays are windows on it.

    flat: its values, one axis. fresh: 1 for each cell that nobody has written. writers:
    the last write of each cell; readers, atomics: the reads and the atomic changes
    since; each as (thread, stamp, code, instruction). notes: what atomics hand on (see
    Machine.tell). reads, writes: how often each cell was, but for reads since the last
    write. own: one thread's, so nothing can race, and none of these is kept. kin: the
    cells of other dtypes that the same bytes are seen as; an access to one is checked
    against those to the others.
    """

    __slots__ = (
        *("machine", "flat", "name", "fresh", "own", "constant", "kind"),
        *("address", "stride", "kin"),
        *("writers", "readers", "atomics", "notes", "reads", "writes"),
    )

    def __init__(self, machine, flat, name, own=False):
        self.machine, self.flat, self.name = machine, flat, name
        self.fresh, self.own, self.constant = bytearray(flat.size), own, False
        self.kind, self.kin = flat.dtype.type, []
        self.address = flat.__array_interface__["data"][0]
        self.stride = flat.strides[0]
        if own:
            return
        self.writers, self.readers, self.atomics = {}, defaultdict(list), {}
        self.notes = defaultdict(dict)
        self.reads, self.writes = defaultdict(int), defaultdict(int)

    def read(self, cell, array, index, frame):
        """Return the value of a cell; array[index], in the line of `frame`, asks."""
        if self.fresh[cell]:
            self._uninitialised(cell, array, index, frame)
        if self.own:
            return self.flat[cell]
        thread = self._touch(cell, array, index, "reads", frame)
        if self.atomics and cell in self.atomics:
            self._against(self.atomics[cell], array, index, "reads", frame, "changed")
        self.readers[cell].append((thread, thread.stamp, frame.f_code, frame.f_lasti))
        if self.kin:
            self._against_kin(cell, array, index, "reads", frame)
        return self.flat[cell]

    def write(self, cell, value, array, index, frame):
        """Store a value in a cell, for array[index] = value in the line of `frame`."""
        self._store(cell, value, array, index, frame)
        if self.own:
            return
        thread = self._touch(cell, array, index, "writes", frame)
        if cell in self.readers:
            readers = self.readers.pop(cell)
            self._against(readers, array, index, "writes", frame, "read")
            self.reads[cell] += len(readers)
        if self.atomics and cell in self.atomics:
            atomics = self.atomics.pop(cell)
            self._against(atomics, array, index, "writes", frame, "changed")
        self.writers[cell] = thread, thread.stamp, frame.f_code, frame.f_lasti
        self.writes[cell] += 1
        if self.kin:
            self._against_kin(cell, array, index, "writes", frame)

    def viewed(self, dtype):
        """Return the same bytes as cells of another dtype."""
        for other in (self, *self.kin):
            if other.flat.dtype == dtype:
                return other
        made = Cells(self.machine, self.flat.view(dtype), self.name, self.own)
        made.constant = self.constant
        at = np.arange(made.flat.size) * made.stride // self.stride
        made.fresh = bytearray(np.frombuffer(self.fresh, np.uint8)[at])
        made.kin = [self, *self.kin]
        for other in made.kin:
            other.kin.append(made)
        return made

    def field(self, name):
        """Return one field of records as cells of their own."""
        for other in self.kin:
            if other.name == f"{self.name}.{name}":
                return other
        made = Cells(self.machine, self.flat[name], f"{self.name}.{name}", self.own)
        made.constant = self.constant
        made.fresh = bytearray(self.fresh)
        self.kin.append(made)
        return made

    def _overlapping(self, cell):
        # the cells of other dtypes in which this one's bytes are
        first = self.address + cell * self.stride
        for other in self.kin:
            start = (first - other.address) // other.stride
            end = -(-(first + self.flat.itemsize - other.address) // other.stride)
            for i in range(max(start, 0), min(end, other.flat.size)):
                yield other, i

    def _against_kin(self, cell, array, index, now, frame):
        for other, i in self._overlapping(cell):
            if i in other.writers:
                records = [other.writers[i]]
                self._against(records, array, index, now, frame, "wrote")
            if i in other.atomics:
                self._against(other.atomics[i], array, index, now, frame, "changed")
            if now != "reads" and i in other.readers:
                self._against(other.readers[i], array, index, now, frame, "read")

    def change(self, cell, function, array, index, frame):
        """Replace a cell by function(cell) in one piece; return what it was."""
        if self.fresh[cell]:
            self._uninitialised(cell, array, index, frame)
        old = self.flat[cell]
        value = function(old)
        if value is not None:
            self._store(cell, value, array, index, frame)
        if not self.own:
            if cell in self.writers:
                writers = [self.writers[cell]]
                self._against(writers, array, index, "changes", frame, "wrote")
            if cell in self.readers:
                readers = self.readers[cell]
                self._against(readers, array, index, "changes", frame, "read")
            self.machine.tell(self.notes[cell])
            thread = self.machine.current
            if self.machine.note is not None:
                self.machine.note(
                    thread, "changes", self, cell, array.text(index), frame
                )
            if self.kin:
                self._against_kin(cell, array, index, "changes", frame)
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

    def _touch(self, cell, array, index, now, frame):
        """Check an access against the last write of its cell; return its thread."""
        machine = self.machine
        machine.patience -= 1
        if machine.patience < 0:
            self._endless(array, index, now, frame)
        thread = machine.current
        if machine.note is not None:
            machine.note(thread, now, self, cell, array.text(index), frame)
        earlier = self.writers.get(cell)
        if earlier is not None:
            other, stamp, _, _ = earlier
            # nearly always a barrier of the block has come between
            block = thread.block
            if (stamp >= block.stamp or other.block is not block) and not (
                machine.ordered(other, stamp, thread)
            ):
                self._race(array, index, now, frame, "wrote", earlier)
        return thread

    def _store(self, cell, value, array, index, frame):
        if self.constant:
            self.fault(
                "type", "writes", array, index, ", which may only be read", frame
            )
        if isinstance(value, np.floating) and self.flat.dtype.kind in "iu":
            value = self._cut(value, frame)
        self.flat[cell] = value
        self.fresh[cell] = 0
        if self.kin:
            for other, i in self._overlapping(cell):
                other.fresh[i] = 0
        if type(value) is np.float64 and self.kind in (np.float32, np.float16):
            self.machine.leaks[frame.f_code, frame.f_lasti] = True

    def _cut(self, value, frame):
        # a float that an array of integers keeps: what is after the point is lost
        if self.name.startswith(("shared ", "local ")):
            self.machine.cuts[frame.f_code, frame.f_lasti] = self.name, self.flat.dtype
        width, signed = 8 * self.flat.itemsize, self.flat.dtype.kind == "i"
        return truncated(value, width, signed)

    def _against(self, records, array, index, now, frame, before):
        ordered, thread = self.machine.ordered, self.machine.current
        for record in reversed(records):
            if record[0] is thread or ordered(record[0], record[1], thread):
                if before == "changed":
                    # whoever knows of an atomic knows of all before it on the cell
                    return
            else:
                self._race(array, index, now, frame, before, record)

    def _race(self, array, index, now, frame, before, record):
        thread = self.machine.current
        other, _, code, instruction = record
        advice = self._missing_atomic(array, frame, code, instruction)
        if advice is None and other.block is thread.block:
            advice = "put a barrier between them"
        elif advice is None:
            advice = "let one block do both, or an atomic, or a second kernel"
        fault = KernelError(
            "race",
            f"on {self.name}{array.text(index)}: {other} {before} it, {thread} {now} "
            f"it, and nothing orders the two; {advice}\n"
            f"  {other} {before} it at {describe(code, instruction)}\n"
            f"  {thread} {now} it at {describe_frame(frame)}",
        )
        if other.block is not thread.block:
            raise self.machine.suspect or fault
        self.machine.suspected(fault)

    def _missing_atomic(self, array, frame, code, instruction):
        # the advice for threads that all change one cell in one line, or None
        if frame.f_code is not code or frame.f_lineno != line_of(code, instruction):
            return None
        found = CHANGE.search(source(code, frame.f_lineno))
        if found is None:
            return None
        word = CHANGES[found[1] or found[2]]
        return (
            "threads read it, change it and write it back, so that changes are lost; "
            f"use cuda.atomic.{word}, or let one thread do it"
        )

    def _uninitialised(self, cell, array, index, frame):
        why = ", which nobody has written"
        try:
            self.fault("uninitialised", "reads", array, index, why, frame)
        except KernelError as fault:
            if self.machine.suspect:
                return
            if self.own:
                raise
            # if another thread comes to write it now, it is a race
            thread = self.machine.current
            record = thread, thread.stamp, frame.f_code, frame.f_lasti
            self.readers[cell].append(record)
            self.machine.park(fault)

    def _endless(self, array, index, does, frame):
        why = ", and there seems to be no end to what the kernel reads and writes"
        self.fault("endless", does, array, index, why, frame)

    def fault(self, kind, does, array, index, why, frame):
        thread = self.machine.current
        raise KernelError(
            kind,
            f"{thread} {does} {self.name}{array.text(index)}{why}\n"
            f"  at {describe_frame(frame)}",
        )
