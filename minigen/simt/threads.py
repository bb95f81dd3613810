"""Threads, warps and blocks: which thread runs, and which wait for which.

Each CUDA thread is a greenlet: a Python function that can stop in the middle and go on
later. Only one runs at a time, until it has to wait for others. Then another one is
chosen, by the seed: the same seed gives the same schedule.

Every release of waiting threads gets a number, its stamp. Stamps show later whether two
accesses to memory were ordered (see cells.py).
"""

from __future__ import annotations

import math
import random
import threading

import numpy as np
from greenlet import getcurrent, greenlet

from minigen.errors import KernelError
from minigen.simt import faults

WARP = 32
ALL = 0xFFFFFFFF

# steps that a launch may go on for after a race
FORBEARANCE = 100000

# failures of compare-and-swap in a row, of all threads
PATIENCE = 20000


# greenlets that wait for work, of each thread of the operating system; and how many
# of them are kept from one launch to the next: a block's
KEPT = 1024
_idle = threading.local()


def _work(machine):
    # a greenlet costs more to make than a thread to run, so it lives on and on
    with np.errstate(all="ignore"):
        while True:
            following = machine.work()
            _idle.workers.append(getcurrent())
            machine = following.switch()


class Index:
    """Three coordinates, as in threadIdx and gridDim."""

    __slots__ = ("x", "y", "z")

    def __init__(self, x, y, z):
        self.x, self.y, self.z = x, y, z

    def __repr__(self):
        if self.z:
            return f"({self.x}, {self.y}, {self.z})"
        return f"({self.x}, {self.y})" if self.y else str(self.x)


class Thread:
    """One thread: its index, what it waits for, and what it knows of others.

    stamp: that of the last release; synced: {lane: stamp of the last meeting that put
    it before this thread}, for meetings of a part of the warp; fence: the stamp of the
    last fence; known: {thread or block: stamp up to which this thread knows, through an
    atomic, what it did}.
    """

    __slots__ = (
        *("index", "block", "warp", "lane", "stamp", "synced", "fence", "known"),
        *("worker", "done", "waits", "heard"),
    )

    def __init__(self, index, block, warp, lane, stamp):
        self.index, self.block, self.warp, self.lane = index, block, warp, lane
        self.stamp, self.synced, self.fence, self.known = stamp, None, None, {}
        self.worker, self.done, self.waits, self.heard = None, False, None, None

    def __repr__(self):
        return f"thread {self.index} of block {self.block.index}"


class Warp:
    """Up to 32 threads that can exchange values without memory.

    lanes: which it has, as a mask; meetings: {mask: {lane: value}} of those who wait;
    active: {site: threads} of those who ask which lanes are active.
    """

    __slots__ = ("threads", "lanes", "meetings", "active", "stamp")

    def __init__(self):
        self.threads, self.lanes, self.meetings, self.stamp = [], 0, {}, -1
        self.active = {}


class Block:
    """Threads that share memory and a barrier.

    arrays: {key: shared array}; sizes: [(key, bytes)] of them; bytes: all in all.
    """

    __slots__ = (
        *("index", "threads", "warps", "waiting", "values", "stamp"),
        *("arrays", "sizes", "bytes"),
    )

    def __init__(self, index):
        self.index, self.threads, self.warps, self.waiting = index, [], [], []
        self.values, self.stamp = [], -1
        self.arrays, self.sizes, self.bytes = {}, [], 0


class Machine:
    """One launch: its threads, its schedule, its clock."""

    def __init__(self, function, grid, block):
        self.function, self.arguments = function, ()
        self.grid, self.block = Index(*grid), Index(*block)
        self.watch, self.dynamic, self.together = True, 0, False
        self.patience = math.inf
        # told of every access to memory, and of every thread that comes to a barrier
        self.note = None
        self.clock, self.stamp, self.barriers, self.shared_bytes = 0, -1, 0, 0
        self.current, self.ready, self.hub, self.error = None, [], None, None
        self.blocks, self.waiting, self.parked, self.asleep = [], [], [], []
        self.cuts, self.plain = {}, False
        # of arrays that a kernel makes: {(id of the code, instruction): name}, and
        # {(shape, dtype): one that nobody has written}
        self.names, self.templates = {}, {}
        self.leaks, self.known, self.failures, self.fences = {}, {}, 0, False
        # whether atomics added floats; and a fault that a barrier may explain better
        self.unordered, self.suspect, self.looped = False, None, False
        self.order, self.indices = _indices(self.grid), _indices(self.block)
        # how often the next thread is drawn, and not the one whose turn it is
        self.whim, self.random = 0, None

    def shuffle(self, seed):
        """Let a seed decide the order of blocks, and of threads at every switch."""
        dice = random.Random(seed)
        dice.shuffle(self.order)
        self.whim, self.random = dice.choice((0.05, 0.5, 1.0)), dice.random

    # running

    def run(self):
        """Run all threads of all blocks to their end, or raise what stopped them."""
        self.hub = getcurrent()
        if not hasattr(_idle, "workers"):
            _idle.workers = []
        count = len(self.order) if self.together else 1
        for i in range(0, len(self.order), count):
            self.blocks = [Block(index) for index in self.order[i : i + count]]
            for block in self.blocks:
                self._fill(block)
            self.ready.reverse()
            self._pick()
            # comes back when nobody is ready, or when one more worker is needed
            while self._begin():
                pass
            if self.suspect and self.asleep and self.error is None:
                self._wake()
            if self.error is not None:
                raise self.suspect or self.error
            if not self.parked:
                self._expect_all_done()
                self._part()
        del _idle.workers[KEPT:]
        if self.parked:
            raise self.suspect or self.parked[0]

    def _wake(self):
        # with what they read, whatever it is: do they come to the barrier?
        self.ready.extend(self.asleep)
        self.asleep, self.parked = [], []
        more = self._pick().worker.switch()
        while more:
            more = self._begin()

    def suspected(self, fault):
        """Let a race go on until it is clear whether a barrier explains it; or raise.

        Where a part of a block waits at a barrier that the others never come to, these
        run ahead and race. What is to be said then is where they do not come.
        """
        if self.suspect is not None:
            return
        block = self.current.block
        if (
            self.note is not None
            or not self.looped
            or not (block.waiting or self.asleep)
        ):
            raise fault
        self.suspect, self.patience = fault, min(self.patience, FORBEARANCE)

    def _expect_all_done(self):
        try:
            faults.expect_all_done(self.blocks)
        except KernelError as fault:
            if self.suspect is None or fault.kind == "divergent barrier":
                raise
        if self.suspect is not None:
            raise self.suspect

    def _fill(self, block):
        for linear, index in enumerate(self.indices):
            lane = linear % WARP
            if lane == 0:
                warp = Warp()
                block.warps.append(warp)
            thread = Thread(index, block, warp, lane, self.clock)
            warp.threads.append(thread)
            warp.lanes |= 1 << lane
            block.threads.append(thread)
        self.ready.extend(block.threads)

    def _part(self):
        # objects that name each other would wait for the garbage collector
        for block in self.blocks:
            for warp in block.warps:
                warp.threads.clear()
            block.threads.clear()

    def _pick(self):
        ready = self.ready
        if self.whim and self.random() < self.whim:
            i = int(self.random() * len(ready))
            ready[i], ready[-1] = ready[-1], ready[i]
        self.current = thread = ready.pop()
        return thread

    def _begin(self):
        worker = _idle.workers.pop() if _idle.workers else greenlet(_work)
        worker.parent = self.hub
        return worker.switch(self)

    def spend(self):
        """Count a step of the running thread that may be one of endlessly many."""
        self.patience -= 1
        if self.patience < 0:
            faults.endless()

    def wait(self, thread):
        """Let others run until `thread` is released."""
        if not self.ready and not self.converge():
            self.hub.switch()
            return
        chosen = self._pick()
        if chosen is thread:
            return
        if chosen.worker is not None:
            chosen.worker.switch()
        elif _idle.workers:
            self._begin()
        else:
            # a worker inherits the depth of its maker's stack, so the hub makes it
            self.hub.switch("one more")

    def interrupt(self):
        """Let a random draw decide whether others run first: any may at an atomic."""
        self.spend()
        if self.whim and self.random() < self.whim:
            self.give_way()

    def give_way(self):
        """Let others go first."""
        if self.ready:
            self.ready.insert(0, self.current)
            self.wait(self.current)

    def try_again(self, failed):
        """Note whether a compare-and-swap failed; whoever it waits for goes first."""
        self.failures = self.failures + 1 if failed else 0
        if self.failures > PATIENCE:
            faults.stop(
                "deadlock",
                f"compare-and-swap failed {PATIENCE} times in a row, here for "
                f"{self.current}; does the holder of the lock wait for somebody?",
            )
        if failed:
            if self.failures % 100 == 0:
                # the lock's holder may wait to hear who is active
                self.converge()
            self.give_way()

    def park(self, fault):
        """Stop the running thread; raise its fault when no other thread can run.

        What the others do meanwhile may explain it better.
        """
        self.parked.append(fault)
        self.asleep.append(self.current)
        self.current.waits = "a value that never came", None
        self.wait(self.current)

    def work(self):
        """Run threads from their beginning, one after another; return who goes on."""
        worker = getcurrent()
        try:
            while True:
                thread = self.current
                thread.worker = worker
                self.function(*self.arguments)
                thread.done, thread.worker = True, None
                if not self.ready and not self.converge():
                    return self.hub
                following = self._pick().worker
                if following is not None:
                    return following
        except Exception as error:
            self.error = error
            return self.hub

    # waiting

    def meet_block(self, site, what, value=None):
        """Wait for the whole block; return the values that its threads brought."""
        thread = self.current
        block = thread.block
        self.spend()
        if self.note is not None:
            self.note(thread, what, None, None, "", None)
        thread.waits = what, site
        block.values.append(value)
        block.waiting.append(thread)
        if len(block.waiting) == len(block.threads):
            self._release_block(block)
        self.wait(thread)
        return thread.heard

    def _release_block(self, block):
        faults.expect_same_barrier(block.waiting)
        self.barriers += 1
        values, waiting = block.values, block.waiting
        block.values, block.waiting = [], []
        self.clock += 1
        block.stamp = self.clock
        for warp in block.warps:
            warp.stamp = self.clock
        for thread in waiting:
            thread.stamp, thread.heard = self.clock, values
        self._share_known(waiting)
        self.ready.extend(reversed(waiting))

    def meet_grid(self, site):
        """Wait for all blocks of the launch."""
        thread = self.current
        self.spend()
        thread.waits = "grid sync", site
        self.waiting.append(thread)
        if len(self.waiting) == len(self.order) * len(thread.block.threads):
            self._release_grid()
        self.wait(thread)

    def _release_grid(self):
        faults.expect_same_barrier(self.waiting)
        self.barriers += 1
        self.clock += 1
        self.stamp = self.clock
        for block in self.blocks:
            block.stamp = self.clock
            for warp in block.warps:
                warp.stamp = self.clock
        for thread in self.waiting:
            thread.stamp = self.clock
        self.ready.extend(reversed(self.waiting))
        self.waiting = []

    def meet_warp(self, mask, site, what, value=None):
        """Wait for the lanes that a mask names; return {lane: value}."""
        thread = self.current
        warp = thread.warp
        self.spend()
        if mask != ALL:
            mask = self._check_mask(thread, mask, what)
        thread.waits = what, site, mask
        meeting = warp.meetings.get(mask)
        if meeting is None:
            meeting = warp.meetings[mask] = {}
        meeting[thread.lane] = value
        if len(meeting) == (mask & warp.lanes).bit_count():
            self._release_lanes(warp, mask, meeting)
        self.wait(thread)
        return meeting

    def meet_active(self, site):
        """Wait until no other lane can come here; return which are here, as a mask.

        A warp's lanes that take one branch run it together. Here each runs for itself,
        so those who ask meet when all others have ended or wait elsewhere.
        """
        thread = self.current
        self.spend()
        thread.waits = "activemask", site
        thread.warp.active.setdefault(site, []).append(thread)
        self.wait(thread)
        return thread.heard

    def converge(self):
        """Let those go on that asked which lanes are active; say if there are any.

        So may lanes that wait for nobody but lanes that have exited, in `syncwarp`: the
        PTX instruction waits for "all non-exited threads" of its mask.
        """
        for block in self.blocks:
            for warp in block.warps:
                for mask, meeting in [*warp.meetings.items()]:
                    if self._only_for_exited(warp, mask, meeting):
                        self._release_lanes(warp, mask, meeting)
                groups, warp.active = warp.active, {}
                for threads in groups.values():
                    mask = sum(1 << thread.lane for thread in threads)
                    for thread in threads:
                        thread.heard = mask
                    self.ready.extend(reversed(threads))
        return bool(self.ready)

    def _only_for_exited(self, warp, mask, meeting):
        first = warp.threads[next(iter(meeting))]
        return first.waits[0] == "syncwarp" and all(
            thread.done or thread.lane in meeting or not mask >> thread.lane & 1
            for thread in warp.threads
        )

    def _check_mask(self, thread, mask, what):
        mask = int(mask) & ALL
        if not mask >> thread.lane & 1:
            faults.stop(
                "mask",
                f"{thread}, lane {thread.lane}, calls {what} with mask 0x{mask:08x}, "
                "which does not name the lane itself; name every lane that takes part",
            )
        return mask

    def _release_lanes(self, warp, mask, meeting):
        del warp.meetings[mask]
        threads = [warp.threads[lane] for lane in meeting]
        faults.expect_same_instruction(threads, mask)
        # shuffles and votes exchange values only: they do not order memory
        if self.watch and threads[0].waits[0] == "syncwarp":
            self._stamp_lanes(warp, mask, threads)
        threads.reverse()
        self.ready.extend(threads)

    def _stamp_lanes(self, warp, mask, threads):
        self.clock += 1
        if mask & warp.lanes == warp.lanes:
            warp.stamp = self.clock
        else:
            # what one lane of the meeting knows, all of them know afterwards
            synced = {}
            for thread in threads:
                for lane, stamp in (thread.synced or {}).items():
                    if stamp > synced.get(lane, -1):
                        synced[lane] = stamp
            for thread in threads:
                synced[thread.lane] = self.clock
            for thread in threads:
                thread.synced = synced
        for thread in threads:
            thread.stamp = self.clock
        self._share_known(threads)

    def fence(self):
        """Note that an atomic which the running thread does next tells what it did."""
        self.clock += 1
        self.current.stamp = self.current.fence = self.clock
        self.fences = True

    def tell(self, notes):
        """Let an atomic hand on what was done before a fence.

        notes: {thread or block: stamp}, what earlier atomics on the cell passed on.
        """
        thread = self.current
        if not self.fences:
            return
        known = thread.known = _latest(thread.known, notes)
        notes.update(known)
        if thread.fence is not None:
            notes[thread], notes[thread.block] = thread.fence, thread.block.stamp

    def _share_known(self, threads):
        if self.fences:
            known = _latest(*(thread.known for thread in threads))
            for thread in threads:
                thread.known = known

    def ordered(self, other, stamp, thread):
        """Return whether what `other` did at `stamp` is over for `thread`."""
        if other is thread:
            return True
        known = thread.known
        if known and (
            stamp < known.get(other, -1) or stamp < known.get(other.block, -1)
        ):
            return True
        if other.warp is thread.warp:
            known = thread.synced.get(other.lane, -1) if thread.synced else -1
            return stamp < thread.warp.stamp or stamp < known
        if other.block is thread.block:
            return stamp < thread.block.stamp
        return stamp < self.stamp


def _latest(*notes):
    """Return the highest stamp of each key of some dicts, as a new dict."""
    latest = {}
    for note in notes:
        for who, stamp in note.items():
            if stamp > latest.get(who, -1):
                latest[who] = stamp
    return latest


def _indices(size):
    return [
        Index(x, y, z)
        for z in range(size.z)
        for y in range(size.y)
        for x in range(size.x)
    ]
