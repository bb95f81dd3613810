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

from collections import defaultdict

import numpy as np

from minigen.errors import KernelError
from minigen.simt.sites import describe, describe_frame


class Cells:
    """The bookkeeping of one allocation; `Watched` arrays are windows on it.

    flat: its values, one axis. fresh: 1 for each cell that nobody has written. writers:
    the last write of each cell; readers, atomics: the reads and the atomic changes
    since; each as (thread, stamp, code, instruction). notes: what atomics hand on (see
    Machine.tell). reads, writes: how often each cell was, but for reads since the last
    write. own: one thread's, so nothing can race.
    """

    __slots__ = (
        *("machine", "flat", "name", "fresh", "own", "constant", "kind"),
        *("writers", "readers", "atomics", "notes", "reads", "writes"),
    )

    def __init__(self, machine, flat, name):
        self.machine, self.flat, self.name = machine, flat, name
        self.fresh, self.own, self.constant = bytearray(flat.size), False, False
        self.kind = flat.dtype.type
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
        self.flat[cell] = value
        self.fresh[cell] = 0
        if type(value) is np.float64 and self.kind in (np.float32, np.float16):
            self.machine.leaks[frame.f_code, frame.f_lasti] = True

    def _against(self, records, array, index, now, frame, before):
        ordered, thread = self.machine.ordered, self.machine.current
        for record in reversed(records):
            if record[0] is not thread and not ordered(record[0], record[1], thread):
                self._race(array, index, now, frame, before, record)

    def _race(self, array, index, now, frame, before, record):
        thread = self.machine.current
        other, _, code, instruction = record
        if other.block is thread.block:
            advice = "put a barrier between them"
        else:
            advice = "let one block do both, or an atomic, or a second kernel"
        raise KernelError(
            "race",
            f"on {self.name}{array.text(index)}: {other} {before} it, {thread} {now} "
            f"it, and nothing orders the two; {advice}\n"
            f"  {other} {before} it at {describe(code, instruction)}\n"
            f"  {thread} {now} it at {describe_frame(frame)}",
        )

    def _uninitialised(self, cell, array, index, frame):
        why = ", which nobody has written"
        try:
            self.fault("uninitialised", "reads", array, index, why, frame)
        except KernelError as fault:
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
